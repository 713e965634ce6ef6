//! `multipart/form-data` (RFC 7578) as it streams: what its parts are called, and what they hold.
//!
//! What stands between parts the body's own first line says, so that no parameter of the media type is needed. Text before
//! that line is passed over, as RFC 2046 (section 5.1.1) has it.

use std::ops::Range;

/// Bytes of a part's head that are kept, and of text before the first part.
const HEAD: usize = 1_024;

/// Bytes of the longest line between parts (RFC 2046, section 5.1.1: 70, with the hyphens before it).
const BOUNDARY: usize = 72;

/// Bytes that are taken at a time, so that what is held stays small whatever comes at once.
const PIECE: usize = 1_024;

/// What comes in a body.
pub(super) enum Event<'b> {
    /// A part begins: the name of its field, and of a file what it is called. Without their quotes, else as they are sent.
    Begin { name: &'b [u8], file: &'b [u8] },
    /// Bytes of what it holds.
    Data(&'b [u8]),
    /// It is over; where in the body it stood.
    End(Range<u64>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first line between parts: bytes that were passed over.
    #[default]
    Before,
    /// In the head of a part.
    Head,
    /// In what it holds: how many bytes are still those of the line end that the head ends with.
    Content(usize),
    /// Behind the last part.
    Over,
    /// This is no such body.
    Malformed,
    /// The head of a part is longer than what is kept.
    TooLong,
}

/// Splits a body into its parts; used again for the next. Holds at most 3 KiB.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// A line end and what each part ends with; empty until the first line is there.
    boundary: Vec<u8>,
    held: Vec<u8>,
    /// Bytes of the body before those.
    at: u64,
    /// Where the part's content began.
    begin: u64,
    passed: usize,
    state: State,
}

impl Splitter {
    /// Ready for another body.
    pub(super) fn begin(&mut self) {
        self.boundary.clear();
        self.held.clear();
        (self.at, self.begin, self.passed, self.state) = (0, 0, 0, State::Before);
    }

    /// The next bytes.
    pub(super) fn data(&mut self, bytes: &[u8], mut give: impl FnMut(Event<'_>)) {
        for piece in bytes.chunks(PIECE) {
            if matches!(self.state, State::Over | State::Malformed | State::TooLong) {
                return;
            }
            self.held.extend_from_slice(piece);
            while self.step(&mut give) {}
        }
    }

    /// Takes so many bytes off what is held.
    fn take(&mut self, count: usize) {
        self.held.drain(..count);
        self.at += count as u64;
    }

    /// This is no such body, as far as it came.
    pub(super) fn is_malformed(&self) -> bool {
        matches!(self.state, State::Malformed | State::Before)
    }

    /// All parts were read.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Takes one thing off what is held; false when more is needed.
    fn step(&mut self, give: &mut impl FnMut(Event<'_>)) -> bool {
        match self.state {
            State::Before => self.before(),
            State::Head if self.held.starts_with(b"--") => {
                self.state = State::Over;
                false
            }
            State::Head => {
                let Some(end) = memchr::memmem::find(&self.held, b"\r\n\r\n") else {
                    if self.held.len() > HEAD {
                        self.state = State::TooLong;
                    }
                    return false;
                };
                let (name, file) = disposition(self.held.get(..end).unwrap_or_default());
                give(Event::Begin { name, file });
                self.take(end + 2); // the boundary of an empty part begins with the second line end
                self.begin = self.at + 2;
                self.state = State::Content(2);
                true
            }
            State::Content(line_end) => {
                let end = memchr::memmem::find(&self.held, &self.boundary);
                let length = end.unwrap_or_else(|| (self.held.len() + 1).saturating_sub(self.boundary.len()));
                let left = line_end.min(length);
                if length > left {
                    give(Event::Data(self.held.get(left..length).unwrap_or_default()));
                }
                self.state = State::Content(line_end - left);
                self.take(length);
                if end.is_none() {
                    return false;
                }
                give(Event::End(self.begin..self.at));
                self.take(self.boundary.len());
                self.state = State::Head;
                true
            }
            State::Over | State::Malformed | State::TooLong => false,
        }
    }

    /// Looks for the first line between parts.
    fn before(&mut self) -> bool {
        let Some(end) = memchr::memmem::find(&self.held, b"\r\n") else {
            if self.passed + self.held.len() > HEAD {
                self.state = State::Malformed;
            }
            return false;
        };
        let line = self.held.get(..end).unwrap_or_default().trim_ascii_end();
        if line.starts_with(b"--") && (3..=BOUNDARY).contains(&line.len()) {
            self.boundary.extend_from_slice(b"\r\n");
            self.boundary.extend_from_slice(line);
            self.take(end); // the head of the part begins with the line end
            self.state = State::Head;
            return true;
        }
        self.passed += end + 2;
        self.take(end + 2);
        if self.passed > HEAD {
            self.state = State::Malformed;
        }
        self.state == State::Before
    }
}

/// The name of a part's field, and of a file what it is called, by the part's `Content-Disposition` (RFC 7578, section 4.2).
fn disposition(head: &[u8]) -> (&[u8], &[u8]) {
    const FIELD: &[u8] = b"content-disposition:";
    let lines = head.split(|&byte| byte == b'\n');
    let mut values = lines.filter_map(|line| {
        let (field, value) = line.split_at_checked(FIELD.len())?;
        field.eq_ignore_ascii_case(FIELD).then_some(value)
    });
    let (mut name, mut file): (&[u8], &[u8]) = (&[], &[]);
    let mut rest = values.next().unwrap_or_default();
    while let Some(semicolon) = memchr::memchr(b';', rest) {
        rest = rest.get(semicolon + 1..).unwrap_or_default().trim_ascii_start();
        let equals = memchr::memchr2(b'=', b';', rest).filter(|&place| rest.get(place) == Some(&b'='));
        let Some((key, behind)) = equals.and_then(|place| rest.split_at_checked(place)) else { continue };
        let value;
        (value, rest) = parameter(behind.get(1..).unwrap_or_default());
        if key.trim_ascii().eq_ignore_ascii_case(b"name") {
            name = value;
        } else if key.trim_ascii().eq_ignore_ascii_case(b"filename") {
            file = value;
        } else if key.trim_ascii().eq_ignore_ascii_case(b"filename*") && file.is_empty() {
            // Behind its character set and language (RFC 8187).
            file = value.splitn(3, |&byte| byte == b'\'').nth(2).unwrap_or(value);
        }
    }
    (name, file)
}

/// The value that a text begins with, without quotes, and what is behind it.
fn parameter(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = memchr::memchr(b';', text).unwrap_or(text.len());
        let (value, behind) = text.split_at(end);
        return (value.trim_ascii_end(), behind);
    };
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', quoted.get(at..).unwrap_or_default()) {
        at += found;
        if quoted.get(at) == Some(&b'"') {
            return (quoted.get(..at).unwrap_or_default(), quoted.get(at + 1..).unwrap_or_default());
        }
        at += 2;
    }
    (quoted, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, file names and contents of the parts.
    fn parts(pieces: &[&[u8]]) -> Vec<(String, String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (mut splitter, mut all, mut content) = (Splitter::default(), Vec::new(), Vec::new());
        let mut open = None;
        for piece in pieces {
            splitter.data(piece, |event| match event {
                Event::Begin { name, file } => open = Some((text(name), text(file))),
                Event::Data(bytes) => content.extend_from_slice(bytes),
                Event::End(_) => {
                    let (name, file) = open.take().expect("a part that began");
                    all.push((name, file, text(&std::mem::take(&mut content))));
                }
            });
            assert!(splitter.held.len() <= HEAD + PIECE + BOUNDARY, "{}", splitter.held.len());
        }
        all
    }

    #[test]
    fn parts_are_told_however_they_are_cut() {
        let body = b"a preamble\r\n--xyz \r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--xyz\r\n\
            content-disposition: form-data; filename=\"x\\\";.png\"; name=pic\r\nContent-Type: image/png\r\n\r\n\x89\r\n-\r\n\
            --xyz\r\nContent-Disposition: form-data; name=\"b\"; filename*=UTF-8''%2e%2e%2fx\r\n\r\n\r\n--xyz\r\n\r\nbare\r\n--xyz--\r\nrest";
        let own = |name: &str, file: &str, content: &str| (name.to_owned(), file.to_owned(), content.to_owned());
        let expected = [
            own("a", "", "one"),
            own("pic", "x\\\";.png", "\u{fffd}\r\n-"),
            own("b", "%2e%2e%2fx", ""),
            own("", "", "bare"),
        ];
        assert_eq!(parts(&[body]), expected);
        for cut in 0..body.len() {
            let (one, two) = body.split_at(cut);
            assert_eq!(parts(&[one, two]), expected, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(parts(&bytes), expected);
    }

    #[test]
    fn what_is_held_stays_small() {
        let long = [b"--x\r\n\r\n".as_slice(), &[b'a'; 100_000]].concat();
        assert_eq!(parts(&[&long]), []);
        let mut splitter = Splitter::default();
        let mut length = 0;
        splitter.data(&[&long, b"\r\n--x--".as_slice()].concat(), |event| {
            if let Event::Data(bytes) = event {
                length += bytes.len();
            }
        });
        assert_eq!((length, splitter.is_over()), (100_000, true));
        for (body, malformed) in [(vec![b'a'; 5_000], true), ([b"--x\r\n".as_slice(), &[b'h'; 5_000]].concat(), false)]
        {
            let mut splitter = Splitter::default();
            splitter.data(&body, |_| panic!("there is no part"));
            assert_eq!((splitter.is_malformed(), splitter.is_over()), (malformed, false));
            assert!(splitter.held.len() <= HEAD + 2 * PIECE);
        }
    }
}
