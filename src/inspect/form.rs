//! Bodies of `application/x-www-form-urlencoded`, decoded as they stream: `email=ana%40b.io` holds an address.

/// Bytes that are decoded at a time.
const PIECE: usize = 512;

/// What was read of an escape at the end of the last piece.
#[derive(Debug, Default)]
pub(super) struct FormDecoder {
    pending: [u8; 2],
    count: usize,
}

impl FormDecoder {
    /// Hands on `bytes` with `%XX` undone and `+` as a space, in pieces.
    pub(super) fn decode(&mut self, bytes: &[u8], mut give: impl FnMut(&[u8])) {
        let mut piece = [0u8; PIECE + 4];
        let mut length = 0;
        for &byte in bytes {
            if length >= PIECE {
                give(&piece[..length]);
                length = 0;
            }
            let mut put = |byte: u8| {
                piece[length] = byte;
                length += 1;
            };
            match (self.count, byte) {
                (0, b'%') => {
                    self.pending[0] = byte;
                    self.count = 1;
                }
                (0, b'+') => put(b' '),
                (0, _) => put(byte),
                (1, _) if byte.is_ascii_hexdigit() => {
                    self.pending[1] = byte;
                    self.count = 2;
                }
                (2, _) if byte.is_ascii_hexdigit() => {
                    let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
                    put(digit(self.pending[1]) << 4 | digit(byte));
                    self.count = 0;
                }
                (count, _) => {
                    // No escape after all; this byte may begin one.
                    self.pending.iter().take(count).for_each(|&byte| put(byte));
                    self.count = 0;
                    match byte {
                        b'%' => {
                            self.pending[0] = byte;
                            self.count = 1;
                        }
                        b'+' => put(b' '),
                        _ => put(byte),
                    }
                }
            }
        }
        give(&piece[..length]);
    }

    /// Hands on what looked like the beginning of an escape.
    pub(super) fn finish(&mut self, mut give: impl FnMut(&[u8])) {
        give(&self.pending[..self.count]);
        self.count = 0;
    }

    /// Forgets it: bytes are missing.
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(pieces: &[&[u8]]) -> String {
        let (mut decoder, mut all) = (FormDecoder::default(), Vec::new());
        for piece in pieces {
            decoder.decode(piece, |decoded| all.extend_from_slice(decoded));
        }
        decoder.finish(|rest| all.extend_from_slice(rest));
        String::from_utf8_lossy(&all).into_owned()
    }

    #[test]
    fn escapes_are_undone_across_pieces() {
        let text = b"a=b%40c+d&e=100%&f=%2&g=%%41%zz%4";
        let whole = decoded(&[text]);
        assert_eq!(whole, "a=b@c d&e=100%&f=%2&g=%A%zz%4");
        for cut in 0..=text.len() {
            assert_eq!(decoded(&[&text[..cut], &text[cut..]]), whole, "cut at {cut}");
        }
        let long = "%41+".repeat(1000);
        assert_eq!(decoded(&[long.as_bytes()]), "A ".repeat(1000));
    }
}
