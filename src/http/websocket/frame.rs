//! Frames (RFC 6455, section 5.2), and whether bytes behind a loss are such.

use crate::call::{Anomalies, Anomaly};

/// Bytes of the longest header: flags, length, eight more of length, four of the mask.
pub(super) const HEADER: usize = 14;

/// Bytes of the longest payload of a control frame.
pub(super) const LONGEST_CONTROL: u64 = 125;

/// What frames are (section 11.8).
pub(super) mod opcode {
    pub(in super::super) const CONTINUATION: u8 = 0;
    pub(in super::super) const TEXT: u8 = 1;
    pub(in super::super) const BINARY: u8 = 2;
    pub(in super::super) const CLOSE: u8 = 8;
    pub(in super::super) const PING: u8 = 9;
    pub(in super::super) const PONG: u8 = 10;
}

/// RSV1: the message is compressed (RFC 7692, section 6).
const COMPRESSED: u8 = 0x40;

/// RSV1 to RSV3.
const RESERVED: u8 = 0x70;

/// The key that each payload of a client is mixed with.
pub(super) type Key = [u8; 4];

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// It is the last of its message.
    pub(super) last: bool,
    reserved: u8,
    pub(super) opcode: u8,
    pub(super) key: Option<Key>,
    /// Bytes of the payload.
    pub(super) length: u64,
    /// Bytes of the header itself.
    pub(super) size: usize,
    /// The length is not written as short as it could be.
    stretched: bool,
}

/// What frames of one direction may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// They come from the client.
    pub(super) masked: bool,
    /// Messages may be compressed.
    pub(super) deflate: bool,
    /// An extension that is not known may use any reserved bit.
    pub(super) others: bool,
}

impl Header {
    /// Reads the header that `bytes` begin with; none where they end before it does.
    pub(super) fn parse(bytes: &[u8]) -> Option<Header> {
        let &[flags, second, ref rest @ ..] = bytes else { return None };
        let short = u64::from(second & 0x7f);
        let (length, more, least) = match short {
            126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 2, 126),
            127 => (u64::from_be_bytes(*rest.first_chunk()?), 8, 1 << 16),
            short => (short, 0, 0),
        };
        let masked = second & 0x80 != 0;
        let key = if masked { Some(*rest.get(more..)?.first_chunk()?) } else { None };
        Some(Header {
            last: flags & 0x80 != 0,
            reserved: flags & RESERVED,
            opcode: flags & 0x0f,
            key,
            length,
            size: 2 + more + if masked { 4 } else { 0 },
            stretched: length < least,
        })
    }

    pub(super) fn is_control(&self) -> bool {
        self.opcode & 8 != 0
    }

    /// It says that its message is compressed.
    pub(super) fn is_compressed(&self) -> bool {
        self.reserved & COMPRESSED != 0
    }

    /// The length is one that there cannot be (section 5.2: the highest bit is 0).
    pub(super) fn is_endless(&self) -> bool {
        self.length > i64::MAX as u64
    }

    /// What is odd about it.
    pub(super) fn oddities(&self, manner: Manner) -> Anomalies {
        let known = matches!(self.opcode, 0..=2 | 8..=10);
        let begins = matches!(self.opcode, opcode::TEXT | opcode::BINARY);
        let allowed = if manner.deflate && begins { COMPRESSED } else { 0 };
        let mut found = Anomalies::default();
        for (anomaly, holds) in [
            (Anomaly::UnmaskedClientFrame, manner.masked && self.key.is_none()),
            (Anomaly::MaskedServerFrame, !manner.masked && self.key.is_some()),
            (Anomaly::ReservedFrameBit, self.reserved & !allowed != 0 && !manner.others),
            (Anomaly::UnknownOpcode, !known),
            (Anomaly::FragmentedControlFrame, self.is_control() && !self.last),
            (Anomaly::LongControlFrame, self.is_control() && self.length > LONGEST_CONTROL),
            (Anomaly::OddFrameLength, self.stretched || self.is_endless()),
        ] {
            if holds {
                found.insert(anomaly);
            }
        }
        found
    }
}

/// Undoes the mask of a part of a payload that begins `at` so many bytes into it (section 5.3).
pub(super) fn unmask(bytes: &[u8], key: Key, at: u64, out: &mut Vec<u8>) {
    let mut turned = key;
    turned.rotate_left((at % 4) as usize);
    let wide = u64::from_ne_bytes([turned, turned].concat().try_into().unwrap_or_default());
    out.clear();
    out.reserve(bytes.len());
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        out.extend_from_slice(&(u64::from_ne_bytes(*word) ^ wide).to_ne_bytes());
    }
    out.extend(rest.iter().zip(turned.into_iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// How much it says that bytes where a sender began to write are whole frames to their last byte, in bits: how much less
/// likely other bytes would come out so. None where they are not.
///
/// Four for flags and kind, of which a sixteenth is in use, one for the mask; where the last frame ends says how long it
/// is; a text under the right key is UTF-8, under a wrong one seldom.
pub(super) fn evidence(bytes: &[u8], manner: Manner, buffer: &mut Vec<u8>) -> Option<u32> {
    let mut rest = bytes;
    let mut bits = 0u32;
    let mut ends = 0;
    while !rest.is_empty() {
        let header = Header::parse(rest)?;
        let behind = rest.get(header.size..)?;
        let length = usize::try_from(header.length).ok()?;
        let payload = behind.get(..length)?;
        if !header.oddities(manner).is_empty() {
            return None;
        }
        bits = bits.saturating_add(5);
        ends = if header.length < 126 { 7 } else { 16 };
        if header.opcode == opcode::TEXT && header.last && !header.is_compressed() && !manner.others {
            let plain = match header.key {
                Some(key) => {
                    unmask(payload, key, 0, buffer);
                    bits = bits.saturating_add((payload.len() / 2).min(16) as u32);
                    &buffer[..]
                }
                None => payload,
            };
            std::str::from_utf8(plain).ok()?;
        }
        rest = behind.get(length..)?;
    }
    Some(bits.saturating_add(ends))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLIENT: Manner = Manner { masked: true, deflate: false, others: false };
    const SERVER: Manner = Manner { masked: false, deflate: false, others: false };

    #[test]
    fn headers_of_every_length() {
        for (bytes, length, size) in [
            (&b"\x81\x05"[..], 5, 2),
            (b"\x82\x7e\x01\x00", 256, 4),
            (b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 65_536, 10),
        ] {
            let header = Header::parse(bytes).expect("a header");
            assert_eq!((header.length, header.size, header.key, header.last), (length, size, None, true));
            assert!(header.oddities(SERVER).is_empty());
            assert!(header.oddities(CLIENT).contains(Anomaly::UnmaskedClientFrame));
            assert!((0..bytes.len()).all(|cut| Header::parse(&bytes[..cut]).is_none()));
        }
        let masked = Header::parse(b"\x01\x83abcd").expect("a header");
        assert_eq!((masked.key, masked.last, masked.size), (Some(*b"abcd"), false, 6));
        assert!(masked.oddities(SERVER).contains(Anomaly::MaskedServerFrame));
    }

    #[test]
    fn oddities_of_each_kind() {
        let odd = |bytes: &[u8]| {
            let header = Header::parse(bytes).expect("a header");
            header.oddities(SERVER).iter().map(Anomaly::name).collect::<Vec<_>>()
        };
        assert_eq!(odd(b"\x83\x00"), ["unknown_opcode"]);
        assert_eq!(odd(b"\x8b\x00"), ["unknown_opcode"]);
        assert_eq!(odd(b"\xc1\x00"), ["reserved_frame_bit"]);
        assert_eq!(odd(b"\x09\x00"), ["fragmented_control_frame"]);
        assert_eq!(odd(b"\x89\x7e\x00\x7e"), ["long_control_frame"]);
        assert_eq!(odd(b"\x82\x7e\x00\x7d"), ["odd_frame_length"]);
        assert_eq!(odd(b"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"), ["odd_frame_length"]);
        let compressed = Header::parse(b"\xc1\x00").expect("a header");
        assert!(compressed.oddities(Manner { deflate: true, ..SERVER }).is_empty());
        let control = Header::parse(b"\xc9\x00").expect("a header");
        assert!(!control.oddities(Manner { deflate: true, ..SERVER }).is_empty());
        assert!(control.oddities(Manner { others: true, ..SERVER }).is_empty());
    }

    #[test]
    fn whole_frames_are_told_from_other_bytes() {
        let mut buffer = Vec::new();
        let hello = b"\x81\x05Hello";
        assert_eq!(evidence(hello, SERVER, &mut buffer), Some(12));
        assert_eq!(evidence(&[hello, &hello[..]].concat(), SERVER, &mut buffer), Some(17));
        assert_eq!(evidence(hello, CLIENT, &mut buffer), None);
        assert_eq!(evidence(&hello[..6], SERVER, &mut buffer), None);
        assert_eq!(evidence(b"\x81\x02\xff\xff", SERVER, &mut buffer), None);
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(evidence(&masked, CLIENT, &mut buffer), Some(14));
        assert_eq!(evidence(b"an ordinary text, of which no part is a frame", SERVER, &mut buffer), None);
    }

    proptest! {
        #[test]
        fn unmasking_in_pieces(bytes in prop::collection::vec(any::<u8>(), 0..90), key: Key, cut: prop::sample::Index) {
            let plain: Vec<u8> = bytes.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
            let cut = cut.index(bytes.len() + 1);
            let (mut one, mut other) = (Vec::new(), Vec::new());
            unmask(&bytes[..cut], key, 0, &mut one);
            unmask(&bytes[cut..], key, cut as u64, &mut other);
            prop_assert_eq!([one, other].concat(), plain);
        }
    }
}
