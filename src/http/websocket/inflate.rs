//! Messages decompressed (RFC 7692, section 7.2.2), by decoders of which a worker has so many.
//!
//! A decoder that begins anew in the middle of a direction is safe: what a message refers to is counted backwards from where
//! it stands, and a reference beyond what this decoder has read is an error, never a wrong text. So behind a loss messages
//! that stand alone are read, and the others counted. The same holds behind a block that says it is the last (section
//! 7.2.3.4): what is behind it is read as far as it does not refer to what is before.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use flate2::{Decompress, FlushDecompress, Status};

use super::super::content::{Sink, Stopped};

/// What a sender leaves out at the end of each message: the end of an empty block.
pub(super) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Decoders that are kept to be used again, about 48 KiB each.
const IDLE: usize = 64;

/// The decoders of a worker.
pub(crate) struct Pool(Rc<Shared>);

struct Shared {
    /// Decoders in use, and how many may be.
    used: Cell<usize>,
    limit: usize,
    idle: RefCell<Vec<Decompress>>,
}

impl Pool {
    pub(crate) fn new(limit: usize) -> Pool {
        Pool(Rc::new(Shared { used: Cell::new(0), limit, idle: RefCell::default() }))
    }

    /// A decoder at the beginning of its stream; none where there are too many.
    pub(super) fn take(&self) -> Option<Inflater> {
        let shared = self.0.clone();
        if shared.used.get() >= shared.limit {
            return None;
        }
        shared.used.set(shared.used.get() + 1);
        let mut inflate = shared.idle.borrow_mut().pop().unwrap_or_else(|| Decompress::new(false));
        inflate.reset(false);
        Some(Inflater { inflate: Some(inflate), shared })
    }
}

/// The decoder of one direction.
pub(super) struct Inflater {
    inflate: Option<Decompress>,
    shared: Rc<Shared>,
}

impl Drop for Inflater {
    fn drop(&mut self) {
        self.shared.used.set(self.shared.used.get().saturating_sub(1));
        let mut idle = self.shared.idle.borrow_mut();
        if let Some(inflate) = self.inflate.take().filter(|_| idle.len() < IDLE) {
            idle.push(inflate);
        }
    }
}

impl Inflater {
    /// Decodes the next bytes of a message through `scratch` into `sink`.
    pub(super) fn data(&mut self, mut bytes: &[u8], scratch: &mut [u8], sink: &mut Sink<'_>) -> Result<(), Stopped> {
        let Some(inflate) = &mut self.inflate else { return Err(Stopped::Damaged) };
        loop {
            let (read, written) = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress(bytes, scratch, FlushDecompress::None).map_err(|_| Stopped::Damaged)?;
            let read = (inflate.total_in() - read) as usize;
            let written = (inflate.total_out() - written) as usize;
            bytes = bytes.get(read..).unwrap_or_default();
            if written > 0 {
                sink(scratch.get(..written).unwrap_or_default())?;
            }
            if status == Status::StreamEnd {
                inflate.reset(false);
                if bytes.is_empty() {
                    return Ok(());
                }
            } else if written < scratch.len() && (bytes.is_empty() || read == 0) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(inflater: &mut Inflater, message: &[u8]) -> Result<Vec<u8>, Stopped> {
        let (mut out, mut scratch) = (Vec::new(), vec![0; 300]);
        for piece in [message, &TAIL] {
            inflater.data(piece, &mut scratch, &mut |piece| {
                out.extend_from_slice(piece);
                Ok(())
            })?;
        }
        Ok(out)
    }

    /// The examples of RFC 7692, section 7.2.3.
    #[test]
    fn examples_of_the_rfc() {
        let pool = Pool::new(1);
        let mut inflater = pool.take().expect("the first");
        // 7.2.3.1, and 7.2.3.2 with the window that it left behind.
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(decoded(&mut inflater, &hello).as_deref(), Ok(&b"Hello"[..]));
        assert_eq!(decoded(&mut inflater, &[0xf2, 0x00, 0x11, 0x00, 0x00]).as_deref(), Ok(&b"Hello"[..]));
        // 7.2.3.3: not compressed.
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        assert_eq!(decoded(&mut inflater, &stored).as_deref(), Ok(&b"Hello"[..]));
        // 7.2.3.4: a block that says it is the last.
        let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        assert_eq!(decoded(&mut inflater, &last).as_deref(), Ok(&b"Hello"[..]));
        // 7.2.3.5: two blocks.
        let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(decoded(&mut inflater, &two).as_deref(), Ok(&b"Hello"[..]));
        // 7.2.3.6: an empty message.
        assert_eq!(decoded(&mut inflater, &[0]).as_deref(), Ok(&b""[..]));
        assert!(pool.take().is_none(), "there is but one");
        drop(inflater);
        let mut inflater = pool.take().expect("it was given back");
        // What the second message of 7.2.3.2 refers to is not there.
        assert_eq!(decoded(&mut inflater, &[0xf2, 0x00, 0x11, 0x00, 0x00]), Err(Stopped::Damaged));
    }
}
