//! gzip members (RFC 1952) as a stream: our own header and trailer around a raw inflater that can be used again.
//!
//! The library's gzip decoder has to be built anew for each body, and an API answers with a hundred thousand small ones.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::content::{Sink, Stopped};

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// Ten bytes: magic, method, flags, time, extra flags, system.
    #[default]
    Fixed,
    /// Two bytes: the length of the extra field.
    ExtraLength,
    Extra(u16),
    Name,
    Comment,
    /// Two bytes: checksum of the header. Not verified.
    HeaderCheck,
    Data,
    /// Eight bytes: checksum and length of the data.
    Trailer,
    /// Behind a member something that is none: padding, which is left alone.
    Over,
}

const HAS_HEADER_CHECK: u8 = 2;
const HAS_EXTRA: u8 = 4;
const HAS_NAME: u8 = 8;
const HAS_COMMENT: u8 = 16;

/// Undoes gzip. Several members behind each other are one text.
pub(super) struct Gzip {
    part: Part,
    /// Flags of which the parts are still to come.
    flags: u8,
    /// The bytes of a part of fixed size, so far.
    gathered: [u8; 10],
    count: usize,
    members: u32,
    inflate: Decompress,
    check: Crc,
}

impl Default for Gzip {
    fn default() -> Self {
        Gzip {
            part: Part::Fixed,
            flags: 0,
            gathered: [0; 10],
            count: 0,
            members: 0,
            inflate: Decompress::new(false),
            check: Crc::new(),
        }
    }
}

impl Gzip {
    /// Ready for another body.
    pub(super) fn reset(&mut self) {
        self.part = Part::Fixed;
        self.count = 0;
        self.members = 0;
    }

    /// Decodes `bytes` through `scratch` into `sink`.
    pub(super) fn decode(&mut self, mut bytes: &[u8], scratch: &mut [u8], sink: &mut Sink<'_>) -> Result<(), Stopped> {
        while let Some(&first) = bytes.first() {
            let used = match self.part {
                Part::Over => return Ok(()),
                Part::Data => self.data(bytes, scratch, sink)?,
                Part::Name | Part::Comment => match memchr::memchr(0, bytes) {
                    Some(end) => {
                        self.next_part();
                        end + 1
                    }
                    None => bytes.len(),
                },
                Part::Extra(left) => {
                    let used = bytes.len().min(usize::from(left));
                    match left - used as u16 {
                        0 => self.next_part(),
                        left => self.part = Part::Extra(left),
                    }
                    used
                }
                Part::Fixed if self.count == 0 && self.members > 0 && first != 0x1f => {
                    self.part = Part::Over;
                    return Ok(());
                }
                Part::Fixed => self.gather(bytes, 10)?,
                Part::ExtraLength | Part::HeaderCheck => self.gather(bytes, 2)?,
                Part::Trailer => self.gather(bytes, 8)?,
            };
            bytes = bytes.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    /// Takes bytes of a part of `size` bytes, and acts on it when it is whole.
    fn gather(&mut self, bytes: &[u8], size: usize) -> Result<usize, Stopped> {
        let used = bytes.len().min(size - self.count);
        for (place, &byte) in self.gathered.iter_mut().skip(self.count).zip(&bytes[..used]) {
            *place = byte;
        }
        self.count += used;
        if self.count < size {
            return Ok(used);
        }
        self.count = 0;
        let word = |from: usize| {
            self.gathered.get(from..).and_then(<[u8]>::first_chunk).map_or(0, |&four| u32::from_le_bytes(four))
        };
        match (self.part, &self.gathered) {
            (Part::Fixed, [0x1f, 0x8b, 8, flags, ..]) => {
                self.flags = *flags;
                self.inflate.reset(false);
                self.check.reset();
                self.next_part();
            }
            (Part::Fixed, _) => return Err(Stopped::Damaged),
            (Part::ExtraLength, [low, high, ..]) => {
                match u16::from_le_bytes([*low, *high]) {
                    0 => self.next_part(),
                    length => self.part = Part::Extra(length),
                };
            }
            (Part::Trailer, _) => {
                if word(0) != self.check.sum() || word(4) != self.check.amount() {
                    return Err(Stopped::Damaged);
                }
                self.members = self.members.saturating_add(1);
                self.part = Part::Fixed;
            }
            _ => self.next_part(),
        }
        Ok(used)
    }

    /// The next part of the header that the flags announce, or the data.
    fn next_part(&mut self) {
        for (flag, part) in [
            (HAS_EXTRA, Part::ExtraLength),
            (HAS_NAME, Part::Name),
            (HAS_COMMENT, Part::Comment),
            (HAS_HEADER_CHECK, Part::HeaderCheck),
        ] {
            if self.flags & flag != 0 {
                self.flags &= !flag;
                self.part = part;
                return;
            }
        }
        self.part = Part::Data;
    }

    fn data(&mut self, bytes: &[u8], scratch: &mut [u8], sink: &mut Sink<'_>) -> Result<usize, Stopped> {
        let mut used = 0;
        loop {
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let rest = bytes.get(used..).unwrap_or_default();
            let status = self.inflate.decompress(rest, scratch, FlushDecompress::None).map_err(|_| Stopped::Damaged)?;
            let read = (self.inflate.total_in() - read) as usize;
            let written = (self.inflate.total_out() - written) as usize;
            used += read;
            let piece = scratch.get(..written).unwrap_or_default();
            if written > 0 {
                self.check.update(piece);
                sink(piece)?;
            }
            if status == Status::StreamEnd {
                self.part = Part::Trailer;
                return Ok(used);
            }
            if written < scratch.len() && (used >= bytes.len() || read == 0) {
                return Ok(bytes.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn decoded(gzip: &mut Gzip, wire: &[u8], size: usize) -> Result<Vec<u8>, Stopped> {
        let (mut out, mut scratch) = (Vec::new(), vec![0; 1000]);
        gzip.reset();
        for piece in wire.chunks(size) {
            gzip.decode(piece, &mut scratch, &mut |piece| {
                out.extend_from_slice(piece);
                Ok(())
            })?;
        }
        Ok(out)
    }

    #[test]
    fn members_with_every_header_field_in_pieces_of_any_size() {
        let body: Vec<u8> = (0..3_000u32).flat_map(|n| (n % 977).to_string().into_bytes()).collect();
        let mut encoder = flate2::GzBuilder::new()
            .extra(b"extra".to_vec())
            .filename("name")
            .comment("comment")
            .write(Vec::new(), flate2::Compression::default());
        encoder.write_all(&body).expect("memory takes it");
        let one = encoder.finish().expect("memory takes it");
        let wire = [&one[..], &one[..], b"\0\0 padding"].concat();
        let mut gzip = Gzip::default();
        for size in [1, 2, 7, 64, 100_000] {
            assert_eq!(decoded(&mut gzip, &wire, size).as_deref(), Ok(&[&body[..], &body[..]].concat()[..]), "{size}");
        }
        let mut wrong = one.clone();
        let place = wrong.len() - 5;
        wrong[place] ^= 1;
        assert_eq!(decoded(&mut gzip, &wrong, 50), Err(Stopped::Damaged), "the checksum is verified");
        assert_eq!(decoded(&mut gzip, b"no gzip at all", 50), Err(Stopped::Damaged));
    }
}
