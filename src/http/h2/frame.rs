//! Frames of HTTP/2 (RFC 9113, sections 4 and 6), and where one begins after a loss.
//!
//! A frame has no mark that says where it begins. But its header is nine bytes of which most are determined: each kind
//! has few flags, most kinds a fixed length, and some only stream 0. [`find`] adds up how many bits were not free in
//! a run of frames that follow each other, and believes it where chance, and what chance is not (zeros, text), cannot
//! explain it.

/// What a client sends first (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's header.
pub(crate) const HEADER: usize = 9;

/// Largest payload that a peer may send unasked (RFC 9113, section 6.5.2).
pub(crate) const INITIAL_FRAME_SIZE: u32 = 16_384;

pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
    /// RFC 9218.
    pub(crate) const PRIORITY_UPDATE: u8 = 16;
}

pub(crate) mod flag {
    pub(crate) const ACK: u8 = 0x01;
    pub(crate) const END_STREAM: u8 = 0x01;
    pub(crate) const END_HEADERS: u8 = 0x04;
    pub(crate) const PADDED: u8 = 0x08;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of payload behind it.
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) reserved: bool,
    pub(crate) stream: u32,
}

impl Header {
    pub(crate) fn parse(bytes: &[u8; HEADER]) -> Header {
        let [a, b, c, kind, flags, stream @ ..] = *bytes;
        let stream = u32::from_be_bytes(stream);
        Header {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            reserved: stream >> 31 != 0,
            stream: stream & 0x7fff_ffff,
        }
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Header> {
        bytes.first_chunk().map(Header::parse)
    }

    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// False where a peer would end the connection: this is no frame, or not where one begins.
    pub(crate) fn is_valid(self) -> bool {
        let zero = self.stream == 0;
        match self.kind {
            kind::DATA | kind::HEADERS | kind::CONTINUATION => !zero,
            kind::PUSH_PROMISE => !zero && self.length >= 4,
            kind::PRIORITY => !zero && self.length == 5,
            kind::RST_STREAM => !zero && self.length == 4,
            kind::SETTINGS => zero && self.length.is_multiple_of(6) && (!self.has(flag::ACK) || self.length == 0),
            kind::PING => zero && self.length == 8,
            kind::GOAWAY => zero && self.length >= 8,
            kind::WINDOW_UPDATE => self.length == 4,
            _ => true, // extensions are to be ignored (section 4.1)
        }
    }

    /// How many of its bits were not free, where it stands where nobody knows whether a frame begins. None where it
    /// says something that no common peer sends.
    fn evidence(self, largest: u32, known: &dyn Fn(u32) -> bool) -> Option<u32> {
        let (defined, length) = match self.kind {
            kind::DATA => (flag::END_STREAM | flag::PADDED, 10),
            kind::HEADERS => (flag::END_STREAM | flag::END_HEADERS | flag::PADDED | flag::PRIORITY, 10),
            kind::CONTINUATION => (flag::END_HEADERS, 10),
            kind::PUSH_PROMISE => (flag::END_HEADERS | flag::PADDED, 10),
            kind::SETTINGS => (flag::ACK, 18),
            kind::PING => (flag::ACK, 24),
            kind::GOAWAY => (0, 14),
            kind::PRIORITY | kind::RST_STREAM | kind::WINDOW_UPDATE => (0, 24),
            kind::PRIORITY_UPDATE if self.stream == 0 => (0, 14),
            _ => return None,
        };
        if self.flags & !defined != 0 || self.reserved || self.length > largest || !self.is_valid() {
            return None;
        }
        if matches!(self.kind, kind::HEADERS | kind::CONTINUATION) && self.length == 0 {
            return None;
        }
        let stream = match self.stream {
            0 => 31,
            // The number of a stream counts up from 1: whoever has come beyond a million has been at it for long.
            stream if known(stream) => 20,
            stream if stream < 1 << 20 => 11,
            _ => 0,
        };
        Some(8 + (8 - defined.count_ones()) + length + 1 + stream)
    }
}

/// What the next bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plausible {
    bits: u32,
    /// Another kind than DATA is among them.
    telling: bool,
}

/// Frames that are looked at in a row: enough to be sure, and few enough to be cheap at every byte.
const ROW: usize = 6;

/// Bits that make a frame believed where a segment begins, as most frames' writers do; elsewhere it takes more.
const AT_START: u32 = 44;
const INSIDE: u32 = 64;

/// Bits that it is worth that the last frame ends where the segment ends.
const FITS: u32 = 12;

/// Looks at the frames that follow each other from the beginning of `bytes` on.
fn look(bytes: &[u8], largest: u32, known: &dyn Fn(u32) -> bool) -> Option<Plausible> {
    let mut found = Plausible { bits: 0, telling: false };
    let mut rest = bytes;
    for _ in 0..ROW {
        let Some(header) = Header::read(rest) else { break };
        found.bits += header.evidence(largest, known)?;
        let payload = rest.get(HEADER..).unwrap_or_default();
        let length = header.length as usize;
        if header.kind == kind::HEADERS && !begins_block(payload.get(..length).unwrap_or(payload), header) {
            return None;
        }
        found.telling |= header.kind != kind::DATA;
        match payload.get(length..) {
            Some([]) => {
                found.bits += FITS;
                break;
            }
            Some(behind) => rest = behind,
            None => break,
        }
    }
    Some(found)
}

/// True when a header block can begin so: with a size update, a pseudo-header field, or an entry of the dynamic table.
/// Trailers begin with a literal that has its name.
fn begins_block(payload: &[u8], header: Header) -> bool {
    let mut skip = 0;
    if header.has(flag::PADDED) {
        skip += 1;
    }
    if header.has(flag::PRIORITY) {
        skip += 5;
    }
    match payload.get(skip) {
        None => true, // not here yet
        Some(0x00 | 0x10 | 0x40) => payload.get(skip + 1).is_none_or(|&length| length & 0x7f > 0),
        Some(0x20..=0x3f) => true,
        // Static entries 1 to 14 are pseudo-header fields, 62 and beyond dynamic.
        Some(&byte @ 0x80..) => (0x81..=0x8e).contains(&byte) || byte >= 0x80 + 62,
        Some(&byte @ 0x41..=0x7f) => (0x41..=0x4e).contains(&byte) || byte >= 0x40 + 62,
        Some(&byte) => (0x01..=0x0f).contains(&byte) || (0x11..=0x1f).contains(&byte),
    }
}

/// A cheap look at bytes that begin a segment of a flow of which nothing is known: true when they are frames of HTTP/2.
pub(crate) fn may_begin(bytes: &[u8]) -> bool {
    // Frames of up to 16 KiB have a first byte of 0, and hardly another protocol's messages do.
    match bytes {
        [0, _, _, kind, ..] if *kind <= kind::CONTINUATION => {
            look(bytes, INITIAL_FRAME_SIZE, &|_| false).is_some_and(|found| found.telling && found.bits >= AT_START)
        }
        [b'P', ..] => bytes.starts_with(PREFACE),
        _ => false,
    }
}

/// The first place where frames begin, in bytes that begin where their sender began to write.
pub(crate) fn find(bytes: &[u8], largest: u32, known: &dyn Fn(u32) -> bool) -> Option<usize> {
    let high = (largest >> 16) as u8;
    (0..bytes.len().saturating_sub(HEADER - 1)).find(|&at| {
        let rest = &bytes[at..];
        if rest[0] > high || rest[3] > kind::PRIORITY_UPDATE {
            return false;
        }
        let enough = if at == 0 { AT_START } else { INSIDE };
        look(rest, largest, known).is_some_and(|found| found.bits >= enough)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u32, kind: u8, flags: u8, stream: u32) -> Vec<u8> {
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes
    }

    #[test]
    fn beginnings_are_recognised() {
        assert!(may_begin(PREFACE));
        assert!(may_begin(&frame(0, kind::SETTINGS, 0, 0)));
        assert!(may_begin(&[frame(4, kind::WINDOW_UPDATE, 0, 3), vec![0, 0, 1, 0]].concat()));
        assert!(may_begin(&[frame(3, kind::HEADERS, 5, 7), vec![0x82, 0x86, 0x84]].concat()));
        for other in [
            &[0; 64][..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x00\x00\x00\x54\xfeSMB@\x00\x00\x00\x00\x00\x00\x00",
            &[0, 0, 5, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4, 5],
            &[0, 0, 3, 1, 5, 0, 0, 0, 7, 0x90, 1, 2],
        ] {
            assert!(!may_begin(other), "{other:x?}");
        }
    }

    #[test]
    fn frames_are_found_behind_the_rest_of_one() {
        let next = [frame(3, kind::HEADERS, 4, 7), vec![0x88, 0xbe, 0xbf], frame(2, kind::DATA, 1, 7), vec![9, 9]];
        for tail in [&b"the rest of a body"[..], &[0; 50]] {
            let bytes = [tail, &next.concat()].concat();
            assert_eq!(find(&bytes, INITIAL_FRAME_SIZE, &|_| false), Some(tail.len()));
        }
        assert_eq!(find(&[0; 5_000], INITIAL_FRAME_SIZE, &|_| true), None);
    }
}
