//! Decompression ahead of the reader, on a thread of its own.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Settings;
use super::decompress::Supply;

/// Decompressed bytes handed over at a time.
const PORTION: usize = 128 << 10;

/// Decompressed bytes after which a thread is worth its start: a look at the first frame of a capture needs none.
const HERE_FIRST: u64 = 1 << 20;

/// The decompressed bytes of a stream, as [`Supply`] gives them. Compressed ones come from a thread of their own once
/// there are many; what is read is the same.
pub(super) struct Decompressed {
    side: Side,
    /// Bytes given so far.
    given: u64,
    ahead: usize,
}

enum Side {
    Here(Box<Supply>),
    Ahead(Ahead),
}

/// The reader's end of the way from the thread.
struct Ahead {
    portions: Receiver<Result<Portion, String>>,
    used: Sender<Vec<u8>>,
    current: Portion,
    /// How much of the current portion was given.
    position: usize,
    taken: Arc<AtomicU64>,
}

#[derive(Default)]
struct Portion {
    bytes: Vec<u8>,
    length: usize,
}

impl Decompressed {
    pub(super) fn new(raw: Box<dyn Read + Send>, settings: &Settings) -> Decompressed {
        let side = Side::Here(Box::new(Supply::new(raw, settings)));
        Decompressed { side, given: 0, ahead: settings.decompress_ahead_bytes / PORTION }
    }

    /// Bytes taken from the stream, before decompression.
    pub(super) fn taken(&self) -> u64 {
        match &self.side {
            Side::Here(supply) => supply.taken(),
            Side::Ahead(ahead) => ahead.taken.load(Ordering::Relaxed),
        }
    }

    /// Reads some bytes into `output`, which is not empty; none at the end of the stream.
    ///
    /// # Errors
    ///
    /// Why nothing more can be read, as one clause.
    pub(super) fn read(&mut self, output: &mut [u8]) -> Result<usize, String> {
        let count = match &mut self.side {
            Side::Here(supply) => supply.read(output)?,
            Side::Ahead(ahead) => ahead.read(output)?,
        };
        self.given += count as u64;
        if self.given >= HERE_FIRST && self.ahead > 0 {
            self.go_ahead();
        }
        Ok(count)
    }

    #[cold]
    fn go_ahead(&mut self) {
        let ahead = std::mem::take(&mut self.ahead); // once
        let Side::Here(supply) = &mut self.side else { return };
        if !supply.is_compressed() {
            return;
        }
        let (send, portions) = bounded(ahead);
        let (used, reuse) = bounded(ahead + 1);
        let taken = Arc::new(AtomicU64::new(supply.taken()));
        let (give, start) = bounded::<Box<Supply>>(1);
        let progress = taken.clone();
        let run = move || {
            if let Ok(supply) = start.recv() {
                decompress(*supply, &send, &reuse, &progress);
            }
        };
        if thread::Builder::new().name("decompressor".to_owned()).spawn(run).is_err() {
            return; // goes on here, slower
        }
        let next = Side::Ahead(Ahead { portions, used, current: Portion::default(), position: 0, taken });
        if let Side::Here(supply) = std::mem::replace(&mut self.side, next) {
            let _ = give.send(supply); // the thread waits for it
        }
    }
}

impl Ahead {
    fn read(&mut self, output: &mut [u8]) -> Result<usize, String> {
        if self.position == self.current.length {
            let Ok(portion) = self.portions.recv() else { return Ok(0) };
            let used = std::mem::replace(&mut self.current, portion?);
            self.position = 0;
            let _ = self.used.try_send(used.bytes); // a full queue only means that it is freed
        }
        let rest = self.current.bytes.get(self.position..self.current.length).unwrap_or_default();
        let count = rest.len().min(output.len());
        if let (Some(to), Some(from)) = (output.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.position += count;
        Ok(count)
    }
}

/// Hands on what `supply` gives, until it ends or nobody listens. What there is goes at once: a pipe that a live
/// capture writes to must not wait for a full portion.
fn decompress(
    mut supply: Supply,
    portions: &Sender<Result<Portion, String>>,
    reuse: &Receiver<Vec<u8>>,
    taken: &AtomicU64,
) {
    loop {
        let mut bytes = reuse.try_recv().unwrap_or_default();
        bytes.resize(PORTION, 0);
        let result = supply.read(&mut bytes);
        taken.store(supply.taken(), Ordering::Relaxed);
        let portion = match result {
            Ok(0) => return,
            Ok(length) => Ok(Portion { bytes, length }),
            Err(reason) => Err(reason),
        };
        let over = portion.is_err();
        if portions.send(portion).is_err() || over {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    fn all(mut from: Decompressed, step: usize) -> (Vec<u8>, Option<String>) {
        let (mut bytes, mut output) = (Vec::new(), vec![0; step]);
        loop {
            match from.read(&mut output) {
                Ok(0) => return (bytes, None),
                Ok(count) => bytes.extend_from_slice(output.get(..count).unwrap_or_default()),
                Err(reason) => return (bytes, Some(reason)),
            }
        }
    }

    #[test]
    fn a_thread_changes_neither_bytes_nor_errors() {
        let plain: Vec<u8> = (0..6_000_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let whole = gzip.finish().unwrap();
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle..middle + 64].fill(0xff);
        let cut = whole[..whole.len() - 9].to_vec();
        for (capture, fails) in [(whole, false), (damaged, true), (cut, true)] {
            let read = |ahead: usize, step| {
                let settings = Settings { decompress_ahead_bytes: ahead, ..Settings::default() };
                all(Decompressed::new(Box::new(Cursor::new(capture.clone())), &settings), step)
            };
            let here = read(0, 100_000);
            assert_eq!(here.1.is_some(), fails);
            assert!(here == read(1 << 20, 100_000) && here == read(PORTION, 999_999));
        }
    }

    #[test]
    fn a_reader_that_goes_away_ends_the_thread() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&vec![7; 16 << 20]).unwrap();
        let bytes = gzip.finish().unwrap();
        let mut from = Decompressed::new(Box::new(Cursor::new(bytes)), &Settings::default());
        let mut output = vec![0; 1 << 20];
        while matches!(from.side, Side::Here(_)) {
            assert!(from.read(&mut output).unwrap() > 0);
        }
        let Side::Ahead(ahead) = &from.side else { panic!() };
        let thread_holds = Arc::downgrade(&ahead.taken);
        drop(from);
        while thread_holds.strong_count() > 0 {
            thread::yield_now();
        }
    }
}
