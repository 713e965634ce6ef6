//! Escapes of JSON that hide values, undone as a body streams: `\/` is how PHP writes a slash, `\u002B` how ASP.NET writes a plus
//! sign, `\u00df` how many write what is not ASCII (RFC 8259, section 7).
//!
//! `\"`, `\\`, `\n` and the other escapes of one letter stay as they are: the rules read them so, and a text in a text keeps its
//! quotes. What is no escape stays as it is, too, so that any text may be given.

use std::ops::Range;

/// Bytes that are decoded at a time.
const PIECE: usize = 512;

/// Bytes of the longest escape: a pair of surrogates.
const LONGEST: usize = 12;

/// Bytes of `\u` and its four digits.
const UNIT: usize = 6;

/// Undoes the escapes of one body.
#[derive(Debug, Default)]
pub(super) struct EscapeDecoder {
    /// The beginning of what may be an escape.
    held: [u8; LONGEST],
    count: usize,
    places: Places,
}

/// Where decoded bytes stood, as far back as values may still be found: worst-case memory 16 bytes for each byte of the last
/// 2 KiB.
#[derive(Debug, Default)]
struct Places {
    /// They are asked for.
    kept: bool,
    /// A decoded position, and by how much those from there on are less than where they stood; ascending.
    shifts: Vec<(u64, u64)>,
    /// The same before the first of these.
    before: u64,
    /// Spans that were told already.
    told: usize,
}

/// A piece of decoded bytes.
struct Piece {
    bytes: [u8; PIECE + LONGEST],
    length: usize,
    /// Its position among all that are decoded.
    position: u64,
}

impl Piece {
    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }

    fn end(&self) -> u64 {
        self.position + self.length as u64
    }

    fn give(&mut self, give: &mut impl FnMut(&mut EscapeDecoder, &[u8]), decoder: &mut EscapeDecoder) {
        give(decoder, self.bytes.get(..self.length).unwrap_or_default());
        self.position = self.end();
        self.length = 0;
    }
}

/// Where the first escape begins that is to be undone, or may turn out to be one; none where all is plain.
pub(super) fn first(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr(b'\\', bytes.get(at..)?)?;
        match bytes.get(at + 1) {
            Some(b'/' | b'u') | None => return Some(at),
            Some(_) => at += 2,
        }
    }
}

impl EscapeDecoder {
    /// Ready for another body.
    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.places.kept = false;
        self.places.shifts.clear();
        (self.places.before, self.places.told) = (0, 0);
    }

    /// Keeps in mind where decoded bytes stood.
    pub(super) fn keep_places(&mut self) {
        self.places.kept = true;
    }

    /// Nothing is held that may be the beginning of an escape.
    pub(super) fn is_idle(&self) -> bool {
        self.count == 0
    }

    /// Hands on `bytes` with their escapes undone, in pieces; the first one has this position among all that are handed on.
    pub(super) fn decode(&mut self, bytes: &[u8], position: u64, mut give: impl FnMut(&mut EscapeDecoder, &[u8])) {
        let mut piece = Piece { bytes: [0; PIECE + LONGEST], length: 0, position };
        let mut rest = bytes;
        while let Some((&byte, behind)) = rest.split_first() {
            if piece.length >= PIECE {
                piece.give(&mut give, self);
            }
            if self.count > 0 {
                if self.step(byte, &mut piece) {
                    rest = behind;
                }
                continue;
            }
            let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len()).min(PIECE - piece.length);
            let (now, later) = rest.split_at(plain);
            piece.put(now);
            rest = later;
            if plain == 0 && byte == b'\\' {
                (self.held[0], self.count) = (byte, 1);
                rest = behind;
            }
        }
        piece.give(&mut give, self);
    }

    /// Hands on what looked like the beginning of an escape.
    pub(super) fn finish(&mut self, mut give: impl FnMut(&mut EscapeDecoder, &[u8])) {
        let (held, count) = (self.held, std::mem::take(&mut self.count));
        give(self, held.get(..count).unwrap_or_default());
    }

    /// Looks at the byte behind what is held; false when it is to be looked at again, with what is held then.
    fn step(&mut self, byte: u8, piece: &mut Piece) -> bool {
        match (self.count, byte) {
            (1, b'/') => self.put(b"/", 2, piece),
            (1, b'u') | (7, b'u') | (UNIT, b'\\') => self.hold(byte),
            (1, _) => {
                piece.put(&[b'\\', byte]);
                self.count = 0;
            }
            (2..=5 | 8..=11, _) if byte.is_ascii_hexdigit() => {
                self.hold(byte);
                if self.count == UNIT || self.count == LONGEST {
                    self.unit(piece);
                }
            }
            // No pair after all, or no escape: what comes behind the first may be one of its own.
            (UNIT..=11, _) => {
                self.give_up(UNIT, piece);
                return false;
            }
            _ => {
                self.give_up(self.count, piece);
                return false;
            }
        }
        true
    }

    /// One or two units are whole.
    fn unit(&mut self, piece: &mut Piece) {
        let number = |at: usize| {
            let digits = self.held.get(at + 2..at + UNIT).unwrap_or_default();
            digits.iter().fold(0u32, |sum, &digit| sum << 4 | char::from(digit).to_digit(16).unwrap_or(0))
        };
        let first = number(0);
        let decoded = match (self.count, first) {
            // The first of a pair: the second is to come.
            (UNIT, 0xd800..=0xdbff) => return,
            (UNIT, _) => char::from_u32(first),
            _ => match number(UNIT) {
                second @ 0xdc00..=0xdfff => char::from_u32(0x1_0000 + ((first & 0x3ff) << 10 | (second & 0x3ff))),
                _ => {
                    self.give_up(UNIT, piece);
                    return self.unit(piece);
                }
            },
        };
        match decoded {
            Some(character) => self.put(character.encode_utf8(&mut [0; 4]).as_bytes(), self.count, piece),
            None => self.give_up(self.count, piece),
        }
    }

    fn hold(&mut self, byte: u8) {
        if let Some(place) = self.held.get_mut(self.count) {
            *place = byte;
            self.count += 1;
        }
    }

    /// The first bytes that are held stay as they are.
    fn give_up(&mut self, count: usize, piece: &mut Piece) {
        piece.put(self.held.get(..count).unwrap_or_default());
        self.held.copy_within(count.min(self.count)..self.count, 0);
        self.count = self.count.saturating_sub(count);
    }

    /// These stand for so many bytes, which are held.
    fn put(&mut self, bytes: &[u8], stood_for: usize, piece: &mut Piece) {
        piece.put(bytes);
        self.count = 0;
        let last = self.places.shifts.last().map_or(self.places.before, |(_, shift)| *shift);
        let shift = last + (stood_for as u64).saturating_sub(bytes.len() as u64);
        if self.places.kept {
            self.places.shifts.push((piece.end(), shift));
        }
    }

    /// Where a decoded byte stood.
    pub(super) fn stood(&self, position: u64) -> u64 {
        let Places { shifts, before, .. } = &self.places;
        let behind = shifts.partition_point(|(from, _)| *from <= position);
        position + behind.checked_sub(1).and_then(|place| shifts.get(place)).map_or(*before, |(_, shift)| *shift)
    }

    /// Makes of decoded positions those where they stood, in all spans that came since the last time; none to come lies before
    /// `from`.
    pub(super) fn settle(&mut self, spans: &mut [(u16, Range<u64>)], from: u64) {
        if self.places.shifts.is_empty() && self.places.before == 0 {
            self.places.told = spans.len();
            return;
        }
        for (_, range) in spans.iter_mut().skip(self.places.told) {
            *range = self.stood(range.start)..self.stood(range.end);
        }
        let Places { shifts, before, told, .. } = &mut self.places;
        *told = spans.len();
        let over = shifts.partition_point(|(place, _)| *place <= from);
        if let Some((_, shift)) = shifts.drain(..over).next_back() {
            *before = shift;
        }
    }

    /// The spans were taken.
    pub(super) fn taken(&mut self) {
        self.places.told = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut decoder, mut all) = (EscapeDecoder::default(), Vec::new());
        for piece in pieces {
            let position = all.len() as u64;
            decoder.decode(piece, position, |_, decoded| all.extend_from_slice(decoded));
        }
        decoder.finish(|_, rest| all.extend_from_slice(rest));
        all
    }

    #[test]
    fn slashes_and_characters_are_undone_and_nothing_else() {
        for (text, wanted) in [
            (r"https:\/\/a.example\/b", "https://a.example/b"),
            (r"\u002B49 \u00df \u20ac \ud83d\ude00", "+49 ß € 😀"),
            (r#"\n\"\\\t\b"#, r#"\n\"\\\t\b"#),
            // Behind a backslash that is escaped nothing is.
            (r"\\/ \\u0041 \\\/ \\\u0041", r"\\/ \\u0041 \\/ \\A"),
            (r"C:\users\ada \u12 \u00g0 \u", r"C:\users\ada \u12 \u00g0 \u"),
            (r"\ud83d \ud83d\n \ud83d\u0041 \ude00 \ud83d\ud83d\ude00", r"\ud83d \ud83d\n \ud83dA \ude00 \ud83d😀"),
            (r"\u\u0041 \u00\/ \ud83d\/ \ud83d\ude0\u0041", r"\uA \u00/ \ud83d/ \ud83d\ude0A"),
            (r"\", r"\"),
            (r"\ud83d\u", r"\ud83d\u"),
        ] {
            let all = decoded(&[text.as_bytes()]);
            assert_eq!(String::from_utf8_lossy(&all), wanted, "{text}");
            for cut in 0..=text.len() {
                let (one, two) = text.as_bytes().split_at(cut);
                assert_eq!(decoded(&[one, two]), all, "{text} cut at {cut}");
            }
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(decoded(&bytes), all, "{text}");
        }
        let long = r"a\/\u0041".repeat(1000);
        assert_eq!(decoded(&[long.as_bytes()]), "a/A".repeat(1000).as_bytes());
    }

    #[test]
    fn what_is_to_be_undone_is_seen_at_a_glance() {
        for (text, wanted) in [
            ("", None),
            ("plain", None),
            (r#"\"a\" \n \\u0041 \\/"#, None),
            (r"ab\/", Some(2)),
            (r"a\nb\u0041", Some(4)),
            (r"ab\", Some(2)),
        ] {
            assert_eq!(first(text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn where_decoded_bytes_stood() {
        let mut decoder = EscapeDecoder::default();
        decoder.keep_places();
        let text = r"ab\/cd\u00dfef";
        let mut all = Vec::new();
        decoder.decode(text.as_bytes(), 0, |_, decoded| all.extend_from_slice(decoded));
        assert_eq!(all, "ab/cdßef".as_bytes());
        let stood: Vec<u64> = (0..=9).map(|position| decoder.stood(position)).collect();
        assert_eq!(stood, [0, 1, 2, 4, 5, 6, 7, 12, 13, 14]);
        let mut spans = vec![(0, 3..5), (1, 5..8)];
        decoder.settle(&mut spans, 7);
        assert_eq!(spans, [(0, 4..6), (1, 6..13)]);
        assert_eq!((decoder.stood(8), decoder.places.shifts.len()), (13, 0));
        decoder.taken();
        decoder.settle(&mut spans[..1], 8);
        assert_eq!(spans[0], (0, 9..11));
    }
}
