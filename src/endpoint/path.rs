//! A path cut into its segments, in one spelling.

/// Segments of a path that are looked at; what lies deeper is one `{rest}`.
pub const MAX_SEGMENTS: usize = 16;

/// Bytes of a segment that are looked at; longer ones are parameters whatever they hold.
pub(super) const MAX_SEGMENT_BYTES: usize = 64;

/// The segments of one path; the buffers are used again for the next.
///
/// Spellings that mean the same come out the same (RFC 3986, 6.2.2): percent-encoded unreserved characters are
/// decoded, other escapes get upper-case digits, `.` and `..` are resolved as far as the root and no further. Case is
/// kept. Empty segments are left out, and so are matrix parameters (`;jsessionid=1`, RFC 3986, 3.3) and whatever
/// follows `?` or `#`. At most [`MAX_SEGMENTS`] segments are kept, of each the first 65 bytes: work is linear in the
/// path and memory constant.
#[derive(Clone, Debug, Default)]
pub(super) struct Segments {
    text: String,
    /// Where each segment begins and ends in `text`.
    spans: Vec<(usize, usize)>,
    /// Segments beyond the limit.
    beyond: usize,
}

impl Segments {
    pub(super) fn set(&mut self, path: &str) {
        self.text.clear();
        self.spans.clear();
        self.beyond = 0;
        if self.set_plain(path) {
            self.text.push_str(path);
            return;
        }
        self.spans.clear();
        let path = memchr::memchr2(b'?', b'#', path.as_bytes()).and_then(|end| path.get(..end)).unwrap_or(path);
        let mut begin = 0;
        for end in memchr::memchr_iter(b'/', path.as_bytes()).chain([path.len()]) {
            let raw = path.get(begin..end).unwrap_or_default();
            begin = end + 1;
            let raw = memchr::memchr(b';', raw.as_bytes()).and_then(|end| raw.get(..end)).unwrap_or(raw);
            let start = self.text.len();
            normalise(raw, &mut self.text, start + MAX_SEGMENT_BYTES + 1);
            match self.text.get(start..).unwrap_or_default() {
                "" | "." => self.text.truncate(start),
                ".." => {
                    self.text.truncate(start);
                    self.up();
                }
                _ if self.spans.len() >= MAX_SEGMENTS => {
                    self.text.truncate(start);
                    self.beyond += 1;
                }
                _ => self.spans.push((start, self.text.len())),
            }
        }
    }

    /// Cuts a path that is in its usual spelling already, as almost all are, in one pass; false when it is none, and has
    /// too many or too long segments.
    fn set_plain(&mut self, path: &str) -> bool {
        let mut begin = 0;
        for (place, &byte) in path.as_bytes().iter().enumerate() {
            match byte {
                b'/' => {
                    if !self.push_plain(begin, place) {
                        return false;
                    }
                    begin = place + 1;
                }
                b'%' | b';' | b'?' | b'#' => return false,
                // It may be the first of a `.` or `..`.
                b'.' if place == begin => return false,
                _ => {}
            }
        }
        self.push_plain(begin, path.len())
    }

    #[inline]
    fn push_plain(&mut self, begin: usize, end: usize) -> bool {
        if end > begin {
            if end - begin > MAX_SEGMENT_BYTES || self.spans.len() >= MAX_SEGMENTS {
                return false;
            }
            self.spans.push((begin, end));
        }
        true
    }

    /// How many segments are kept.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// True when there were more than are kept.
    pub(super) fn more(&self) -> bool {
        self.beyond > 0
    }

    /// The segment at a place, from 0; empty beyond the last.
    #[inline]
    pub(super) fn at(&self, place: usize) -> &str {
        self.spans.get(place).and_then(|&(begin, end)| self.text.get(begin..end)).unwrap_or_default()
    }

    fn up(&mut self) {
        if self.beyond > 0 {
            self.beyond -= 1;
        } else if let Some((begin, _)) = self.spans.pop() {
            self.text.truncate(begin);
        }
    }
}

/// Appends `raw` in its usual spelling, as long as `out` is shorter than `limit`; the last character may go over.
fn normalise(raw: &str, out: &mut String, limit: usize) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    if raw.len() <= MAX_SEGMENT_BYTES && memchr::memchr(b'%', raw.as_bytes()).is_none() {
        out.push_str(raw);
        return;
    }
    let mut characters = raw.chars();
    while out.len() < limit {
        let Some(character) = characters.next() else { break };
        if character != '%' {
            out.push(character);
            continue;
        }
        let mut ahead = characters.clone();
        let digit = |character: Option<char>| character.and_then(|digit| digit.to_digit(16));
        let (Some(high), Some(low)) = (digit(ahead.next()), digit(ahead.next())) else {
            out.push('%');
            continue;
        };
        characters = ahead;
        match char::from((high * 16 + low) as u8) {
            decoded @ ('A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '.' | '_' | '~') => out.push(decoded),
            _ => {
                out.push('%');
                out.extend([high, low].iter().filter_map(|&digit| DIGITS.get(digit as usize)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(path: &str) -> Vec<String> {
        let mut segments = Segments::default();
        segments.set(path);
        (0..segments.len()).map(|place| segments.at(place).to_owned()).collect()
    }

    #[test]
    fn one_spelling() {
        for (path, expected) in [
            ("/a/b", &["a", "b"][..]),
            ("//a///b/", &["a", "b"]),
            ("/A/%62/%7euser", &["A", "b", "~user"]),
            ("/caf%c3%a9/100%/%zz", &["caf%C3%A9", "100%", "%zz"]),
            ("/a/./b/../c", &["a", "c"]),
            ("/../../etc", &["etc"]),
            ("/a/%2e%2E/b", &["b"]),
            ("/a;v=1/b;jsessionid=2;x/;only", &["a", "b"]),
            ("/a?b=/c", &["a"]),
            ("*", &["*"]),
            ("", &[]),
        ] {
            assert_eq!(of(path), expected, "{path}");
        }
    }

    #[test]
    fn hostile_paths_are_bounded() {
        let mut segments = Segments::default();
        segments.set(&"/a".repeat(10_000));
        assert_eq!((segments.len(), segments.more()), (MAX_SEGMENTS, true));
        segments.set(&format!("{}{}", "/a".repeat(10_000), "/..".repeat(9_999)));
        assert_eq!((segments.len(), segments.more()), (1, false));
        segments.set(&format!("/{}", "é".repeat(32 << 10)));
        assert!(segments.at(0).len() <= MAX_SEGMENT_BYTES + 4);
        assert_eq!(segments.at(1), "");
    }

    proptest! {
        #[test]
        fn plain_paths_are_cut_as_others_are(path in "(/[a-c.é]{0,3}){0,20}") {
            // A matrix parameter at the end is left out, and keeps the path from being plain.
            prop_assert_eq!(of(&path), of(&format!("{path};v=1")));
        }

        #[test]
        fn normal_is_normal(path in "([/%.;a-f0-9Aé]{0,60}){0,4}") {
            let once = of(&path);
            prop_assert!(once.len() <= MAX_SEGMENTS);
            // An escape that decodes to a percent sign stays an escape, so a second pass changes nothing.
            if !path.contains("%%") && once.iter().all(|segment| segment.len() <= MAX_SEGMENT_BYTES) {
                prop_assert_eq!(of(&once.join("/")).len() <= once.len(), true);
            }
        }
    }
}
