//! Lines of a file or stream, borrowed from its read buffer.

use memchr::memchr;

use crate::source::Input;

/// The next line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A line without its end.
    Whole(&'a [u8]),
    /// A line longer than the limit; it was skipped.
    TooLong,
}

/// An input, cut into lines.
pub(super) struct Lines {
    input: Input,
    limit: usize,
    /// Bytes of the window that belong to the line given last.
    given: usize,
    number: u64,
    /// Where the line given last begins, when the file ends without its end.
    torn: Option<u64>,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Lines {
    pub(super) fn new(input: Input, limit: usize) -> Lines {
        Lines { input, limit: limit.max(1), given: 0, number: 0, torn: None }
    }

    /// Number of the line given last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Where the line given last begins, in bytes of the (decompressed) file, when the file ends within it.
    pub(super) fn torn(&self) -> Option<u64> {
        self.torn
    }

    /// Why there are no more lines, when it is not that the file is over.
    pub(super) fn failure(&self) -> Option<String> {
        let damage = self.input.failure()?;
        Some(match damage.offset {
            Some(offset) => format!("at byte {offset}: {}", damage.reason),
            None => damage.reason,
        })
    }

    /// The next line; None at the end. What stands behind the last line end is a line too, unless the input was damaged
    /// there.
    pub(super) fn next(&mut self) -> Option<Line<'_>> {
        self.input.consume(std::mem::take(&mut self.given));
        if self.number == 0 && self.input.fill(BYTE_ORDER_MARK.len()).starts_with(BYTE_ORDER_MARK) {
            self.input.consume(BYTE_ORDER_MARK.len());
        }
        let (mut scanned, mut skipping) = (0, false);
        let end = loop {
            let window = self.input.window();
            let known = window.len();
            if let Some(found) = window.get(scanned..).and_then(|rest| memchr(b'\n', rest)) {
                break scanned + found + 1;
            }
            scanned = known;
            if known > self.limit {
                // Its beginning need not be kept.
                self.input.consume(known);
                (scanned, skipping) = (0, true);
            }
            if self.input.fill(scanned + 1).len() == scanned {
                break scanned;
            }
        };
        if end == 0 && !skipping {
            return None;
        }
        self.number += 1;
        let ended = end.checked_sub(1).and_then(|last| self.input.window().get(last)) == Some(&b'\n');
        if !ended && self.input.failure().is_some() {
            self.input.consume(end);
            return None;
        }
        self.given = end;
        self.torn = (!ended && !skipping).then(|| self.input.offset());
        let line = self.input.window().get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if skipping || line.len() > self.limit {
            return Some(Line::TooLong);
        }
        Some(Line::Whole(line.strip_suffix(b"\r").unwrap_or(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Settings;
    use std::io::{Cursor, Read};

    fn all(input: Input, limit: usize) -> Vec<Option<String>> {
        let mut lines = Lines::new(input, limit);
        let mut found = Vec::new();
        while let Some(line) = lines.next() {
            found.push(match line {
                Line::Whole(text) => Some(String::from_utf8_lossy(text).into_owned()),
                Line::TooLong => None,
            });
        }
        assert_eq!(lines.number(), found.len() as u64 + u64::from(lines.failure().is_some()));
        found
    }

    struct Bytewise(Cursor<Vec<u8>>);

    impl Read for Bytewise {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let most = buffer.len().min(1);
            self.0.read(&mut buffer[..most])
        }
    }

    #[test]
    fn lines_come_alike_from_memory_and_from_a_slow_pipe() {
        let text = b"\xef\xbb\xbfone\r\n\ntwo two two\nthree\n\xef\xbb\xbffour".to_vec();
        let wanted =
            [Some("one"), Some(""), None, Some("three"), Some("\u{feff}four")].map(|line| line.map(str::to_owned));
        let settings = Settings::default();
        assert_eq!(all(Input::from_bytes(text.clone().into(), &settings), 10), wanted);
        assert_eq!(all(Input::from_reader(Box::new(Bytewise(Cursor::new(text))), &settings), 10), wanted);
        assert_eq!(all(Input::from_bytes(Vec::new().into(), &settings), 10), []);
        assert_eq!(all(Input::from_bytes(vec![b'x'; 1 << 20].into(), &settings), 10), [None]);
        assert_eq!(all(Input::from_bytes(b"0123456789\r\n".to_vec().into(), &settings), 11).len(), 1);
    }

    #[test]
    fn a_line_that_was_cut_off_by_damage_is_not_given() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        std::io::Write::write_all(&mut encoder, b"one\ntwo\nthree\n").expect("memory");
        let mut bytes = encoder.finish().expect("memory");
        bytes.truncate(bytes.len() - 12);
        let settings = Settings::default();
        let mut lines = Lines::new(Input::from_bytes(bytes.into(), &settings), 100);
        let mut count = 0;
        while lines.next().is_some() {
            count += 1;
        }
        assert_eq!(count, 2);
        assert_eq!(lines.number(), 3);
        assert!(lines.failure().is_some_and(|reason| reason.starts_with("at byte 10")), "{:?}", lines.failure());
    }
}
