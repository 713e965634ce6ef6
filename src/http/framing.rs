//! Where a body ends (RFC 9112, section 6), and the chunked coding (section 7.1).

use memchr::memchr;

/// How long the body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks, the last of which is empty, then trailers.
    Chunked(Chunks),
    /// Until the connection closes.
    UntilClose,
}

/// Where in the chunked coding the reader stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chunks {
    /// In the line with the size. So far: the size, whether a digit was seen, whether the digits are over; bytes read.
    Size { size: u64, digits: bool, extension: bool, read: u32 },
    /// In the data; bytes left.
    Data(u64),
    /// At the line end behind the data.
    DataEnd,
    /// In the trailers; true when the current line is empty so far; bytes read.
    Trailers { empty: bool, read: u32 },
    /// Behind them.
    Done,
}

impl Default for Chunks {
    fn default() -> Self {
        Chunks::Size { size: 0, digits: false, extension: false, read: 0 }
    }
}

/// Longest line with a chunk's size and extensions, and longest trailer section, in bytes.
const LINE_LIMIT: u32 = 64 << 10;

/// What a step through the coding came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes were framing.
    Framing(usize),
    /// So many bytes are data of the body.
    Data(usize),
    /// This is no chunked coding.
    Malformed,
}

impl Chunks {
    /// Looks at the next bytes (at least one).
    pub(crate) fn step(&mut self, bytes: &[u8]) -> Step {
        match self {
            Chunks::Size { size, digits, extension, read } => {
                for (at, &byte) in bytes.iter().enumerate() {
                    *read += 1;
                    if *read > LINE_LIMIT {
                        return Step::Malformed;
                    }
                    if byte == b'\n' {
                        if !*digits {
                            return Step::Malformed;
                        }
                        *self =
                            if *size == 0 { Chunks::Trailers { empty: true, read: 0 } } else { Chunks::Data(*size) };
                        return Step::Framing(at + 1);
                    }
                    if *extension {
                        continue;
                    }
                    match (byte as char).to_digit(16) {
                        Some(digit) if *size >> 59 == 0 => {
                            *size = *size << 4 | u64::from(digit);
                            *digits = true;
                        }
                        Some(_) => return Step::Malformed,
                        None if *digits && matches!(byte, b';' | b' ' | b'\t' | b'\r') => *extension = true,
                        None if matches!(byte, b' ' | b'\t') => {}
                        None => return Step::Malformed,
                    }
                }
                Step::Framing(bytes.len())
            }
            Chunks::Data(left) => {
                let now = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= now as u64;
                if *left == 0 {
                    *self = Chunks::DataEnd;
                }
                Step::Data(now)
            }
            Chunks::DataEnd => match bytes[0] {
                b'\r' => Step::Framing(1),
                b'\n' => {
                    *self = Chunks::default();
                    Step::Framing(1)
                }
                _ => Step::Malformed,
            },
            Chunks::Trailers { empty, read } => {
                let (line, ended) = match memchr(b'\n', bytes) {
                    Some(at) => (&bytes[..at], true),
                    None => (bytes, false),
                };
                let blank = *empty && line.iter().all(|&byte| byte == b'\r');
                *read = read.saturating_add(line.len() as u32 + 1);
                if *read > LINE_LIMIT {
                    return Step::Malformed;
                }
                *empty = if ended { true } else { blank };
                let used = line.len() + usize::from(ended);
                if ended && blank {
                    *self = Chunks::Done;
                }
                Step::Framing(used)
            }
            Chunks::Done => Step::Framing(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], piece: usize) -> Option<(Vec<u8>, usize)> {
        let (mut chunks, mut body, mut at) = (Chunks::default(), Vec::new(), 0);
        while at < bytes.len() && chunks != Chunks::Done {
            let end = (at + piece).min(bytes.len());
            match chunks.step(&bytes[at..end]) {
                Step::Framing(used) => at += used,
                Step::Data(used) => {
                    body.extend_from_slice(&bytes[at..at + used]);
                    at += used;
                }
                Step::Malformed => return None,
            }
        }
        (chunks == Chunks::Done).then_some((body, at))
    }

    #[test]
    fn chunks_extensions_and_trailers_however_cut() {
        let wire = b"5;name=\"v\"\r\nhello\r\n6 \r\n world\r\n0\r\nX-Sum: 1\r\n\r\nHTTP/1.1";
        for piece in 1..wire.len() {
            assert_eq!(decode(wire, piece), Some((b"hello world".to_vec(), wire.len() - 8)), "pieces of {piece}");
        }
        assert_eq!(decode(b"0\r\n\r\n", 9), Some((Vec::new(), 5)));
        assert_eq!(decode(b"zz\r\n", 9), None);
        assert_eq!(decode(b"ffffffffffffffffff\r\n", 99), None);
        assert_eq!(decode(b"\r\n", 9), None);
        // Neither zeros, blanks, an extension nor trailers may go on for ever.
        for endless in ["0", " ", "5;a=", "0\r\nX-A: "] {
            let (first, last) = endless.split_at(endless.len() - 1);
            let line = [first.as_bytes(), &last.as_bytes().repeat(LINE_LIMIT as usize + 2)].concat();
            for piece in [1, 1_400] {
                assert_eq!(decode(&line, piece), None, "{endless}");
            }
        }
    }
}
