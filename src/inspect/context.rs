//! What stands around a value: the name of its field, or the words before it.
//!
//! Digits alone prove little; `"order_number"` or `"cvv"` beside them prove much. Names are compared by words, so that
//! `cardNo`, `card_no` and `Card-No` are one.

use std::ops::Range;
use std::sync::OnceLock;

use aho_corasick::AhoCorasick;

/// Bytes before a value in which words count when it has no field name.
pub(super) const TEXT_REACH: usize = 48;
/// Bytes before and behind a value in which `nearby` words count.
pub(super) const NEARBY_REACH: usize = 96;
/// Longest field name that is read.
const NAME_LIMIT: usize = 64;
/// Bytes before a value in which the name of its field is said otherwise: in the head of a part of a form, or beside it.
const OUTER_REACH: usize = 128;
/// Longest text in the form in which words are compared: each byte may get a break before it.
const NORMAL_LIMIT: usize = 2 * NEARBY_REACH + 2;

/// A set of words; empty for "no condition". What finds them is built when a candidate first asks: most sets never are.
#[derive(Debug, Default)]
pub(super) struct Words {
    patterns: Vec<Vec<u8>>,
    automaton: OnceLock<Option<AhoCorasick>>,
}

impl Words {
    pub(super) fn new(words: &[String]) -> Result<Words, String> {
        let mut patterns = Vec::with_capacity(words.len());
        for word in words {
            let mut normal = Normal::default();
            normal.push(word.as_bytes());
            let whole = normal.text();
            let inner = whole.strip_prefix(b"_").unwrap_or(whole);
            let inner = inner.strip_suffix(b"_").unwrap_or(inner);
            if inner.is_empty() {
                return Err(format!("{word:?} has no letter or digit"));
            }
            // Short ones occur in the middle of everything ("tel" in "hotel").
            patterns.push(if inner.len() <= 3 { whole.to_vec() } else { inner.to_vec() });
        }
        Ok(Words { patterns, automaton: OnceLock::new() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// True when one of the words is in `text`.
    fn is_in(&self, text: &Normal) -> bool {
        if self.is_empty() {
            return false;
        }
        // Words of at most a few hundred bytes are far from the 2³¹ states at which one cannot be built.
        let automaton = self.automaton.get_or_init(|| AhoCorasick::new(&self.patterns).ok());
        automaton.as_ref().is_some_and(|automaton| automaton.is_match(text.text()))
    }
}

/// Lower-case words, each between underscores.
struct Normal {
    bytes: [u8; NORMAL_LIMIT],
    length: usize,
}

impl Default for Normal {
    fn default() -> Self {
        Normal { bytes: [0; NORMAL_LIMIT], length: 0 }
    }
}

impl Normal {
    fn of(text: &[u8]) -> Normal {
        let mut normal = Normal::default();
        normal.push(text);
        normal
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn put(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn push(&mut self, text: &[u8]) {
        #[derive(Clone, Copy, PartialEq)]
        enum Kind {
            Break,
            Lower,
            Upper,
            Digit,
        }
        let kind = |byte: u8| match byte {
            b'a'..=b'z' => Kind::Lower,
            b'A'..=b'Z' => Kind::Upper,
            b'0'..=b'9' => Kind::Digit,
            _ => Kind::Break,
        };
        let mut before = Kind::Break;
        self.put(b'_');
        for (place, &byte) in text.iter().enumerate() {
            let now = kind(byte);
            // An upper-case letter begins a word behind anything else, and as the last one of several.
            let begins = match (before, now) {
                (Kind::Break, _) | (_, Kind::Break) => false,
                (Kind::Upper, Kind::Upper) => text.get(place + 1).is_some_and(|&next| kind(next) == Kind::Lower),
                (Kind::Upper, Kind::Lower) => false,
                (one, other) => one != other,
            };
            if begins || (now == Kind::Break && before != Kind::Break) {
                self.put(b'_');
            }
            if now != Kind::Break {
                self.put(byte.to_ascii_lowercase());
            }
            before = now;
        }
        if before != Kind::Break {
            self.put(b'_');
        }
    }
}

/// The conditions of a rule on what is around a value.
pub(super) struct Conditions<'r> {
    pub(super) context: &'r Words,
    pub(super) nearby: &'r Words,
    pub(super) not_context: &'r Words,
}

impl Conditions<'_> {
    /// True when what stands around `value` fits.
    pub(super) fn hold(&self, bytes: &[u8], value: &Range<usize>) -> bool {
        let wanted = !self.context.is_empty() || !self.nearby.is_empty();
        if !wanted && self.not_context.is_empty() {
            return true;
        }
        let name = field_name(bytes, value.start).map(Normal::of);
        if name.as_ref().is_some_and(|name| self.not_context.is_in(name)) {
            return false;
        }
        if !wanted {
            return true;
        }
        let fits = match &name {
            Some(name) => self.context.is_in(name),
            None => {
                let text = &bytes[value.start.saturating_sub(TEXT_REACH)..value.start];
                // A list of numbers has no words.
                text.iter().any(u8::is_ascii_alphabetic) && self.context.is_in(&Normal::of(text))
            }
        };
        fits || (!self.nearby.is_empty() && {
            let before = &bytes[value.start.saturating_sub(NEARBY_REACH)..value.start];
            let behind = &bytes[value.end..bytes.len().min(value.end + NEARBY_REACH)];
            self.nearby.is_in(&Normal::of(before)) || self.nearby.is_in(&Normal::of(behind))
        })
    }
}

/// Elements of HTML that say nothing of what is in them.
const FORMATTING: [&[u8]; 14] =
    [b"td", b"th", b"b", b"i", b"p", b"span", b"div", b"a", b"li", b"dd", b"strong", b"em", b"code", b"pre"];

/// The name of the field that the value at `start` is in: a JSON or form name, `name: value`, `<name>value`, or that of a part of
/// a form. What is only called a value has the name that is said beside it, or that it lies in.
pub(super) fn field_name(bytes: &[u8], start: usize) -> Option<&[u8]> {
    let start = bytes.get(..start).and_then(|before| before.strip_suffix(CDATA)).map_or(start, <[u8]>::len);
    let before = |at: usize| at.checked_sub(1).and_then(|previous| bytes.get(previous)).copied();
    let floor = start.saturating_sub(NAME_LIMIT);
    let skip = |mut at: usize, ignored: &[u8]| {
        while at > floor && before(at).is_some_and(|byte| ignored.contains(&byte)) {
            at -= 1;
        }
        at
    };
    let value = skip(start, b"+(\"'\\ \t[");
    match before(value)? {
        b':' | b'=' => {
            let end = skip(value - 1, b"\"'\\ \t]");
            let mut begin = end;
            while begin > floor && before(begin).is_some_and(is_name_byte) {
                begin -= 1;
            }
            let name = bytes.get(begin..end).filter(|name| !name.is_empty())?;
            if name.eq_ignore_ascii_case(b"value") {
                return outer_name(bytes.get(start.saturating_sub(OUTER_REACH)..begin)?).or(Some(name));
            }
            Some(name)
        }
        b'\n' => part_name(bytes.get(start.saturating_sub(OUTER_REACH)..value)?),
        b'>' => {
            let tag = &bytes[floor..value - 1];
            let open = tag.iter().rposition(|&byte| byte == b'<')?;
            let name = tag[open + 1..].split(|byte| byte.is_ascii_whitespace()).next()?;
            let fits = !name.is_empty() && name[0] != b'/' && !FORMATTING.contains(&name);
            fits.then_some(name)
        }
        _ => None,
    }
}

/// How a section begins in which XML is text.
const CDATA: &[u8] = b"<![CDATA[";

/// The name that is said in front of a field called value: `"name":"ssn","value":`, `"ssn":{"value":`, `name="ssn" value=`.
fn outer_name(before: &[u8]) -> Option<&[u8]> {
    const NAMES: [&[u8]; 6] = [b"name", b"key", b"field", b"label", b"attribute", b"property"];
    let before = without(before, |byte| matches!(byte, b'"' | b'\'' | b'\\')).trim_ascii_end();
    if let Some(outer) = before.strip_suffix(b"{") {
        return quoted(outer.trim_ascii_end().strip_suffix(b":")?).map(|(_, name)| name);
    }
    let (left, name) = quoted(before.strip_suffix(b",").unwrap_or(before))?;
    let left = left.trim_ascii_end().strip_suffix(b":").or_else(|| left.strip_suffix(b"="))?;
    let left = without(left, |byte| matches!(byte, b'"' | b'\'' | b'\\' | b' '));
    let is_word = |word: &&[u8]| {
        let before = left.len().checked_sub(word.len() + 1).and_then(|at| left.get(at));
        let end = left.get(left.len().saturating_sub(word.len())..).unwrap_or_default();
        end.eq_ignore_ascii_case(word) && !before.is_some_and(u8::is_ascii_alphanumeric)
    };
    NAMES.iter().any(is_word).then_some(name)
}

/// What stands before a quoted name at the end of a text, and the name.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_quote = |byte: u8| matches!(byte, b'"' | b'\'' | b'\\');
    let text = text.trim_ascii_end();
    let inner = without(text, is_quote);
    let name = inner.iter().rev().take_while(|&&byte| is_name_byte(byte) || byte == b' ').count();
    let (left, name) = inner.split_at(inner.len() - name);
    let outer = without(left, is_quote);
    (inner.len() < text.len() && outer.len() < left.len() && !name.is_empty()).then_some((outer, name))
}

/// A text without the bytes at its end of which this is true.
fn without(text: &[u8], of: impl Fn(u8) -> bool) -> &[u8] {
    text.get(..text.iter().rposition(|&byte| !of(byte)).map_or(0, |last| last + 1)).unwrap_or_default()
}

/// The name of a part of a form (RFC 7578, section 4.2) whose head ends a text.
fn part_name(head: &[u8]) -> Option<&[u8]> {
    let head = head.strip_suffix(b"\r\n\r\n")?;
    let head = memchr::memmem::rfind(head, b"\r\n\r\n").and_then(|end| head.get(end..)).unwrap_or(head);
    let name = head.get(memchr::memmem::rfind(head, b" name=\"")? + 7..)?;
    name.get(..memchr::memchr(b'"', name)?).filter(|name| !name.is_empty() && name.len() <= NAME_LIMIT)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'$' | b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> String {
        String::from_utf8(Normal::of(text.as_bytes()).text().to_vec()).expect("ASCII")
    }

    #[test]
    fn names_are_cut_into_words() {
        assert_eq!(normal("cardNo"), "_card_no_");
        assert_eq!(normal("Card-No"), "_card_no_");
        assert_eq!(normal("SSNNumber"), "_ssn_number_");
        assert_eq!(normal("cvv2 x"), "_cvv_2_x_");
        assert_eq!(normal(""), "_");
        assert!(normal(&"aB".repeat(2000)).len() <= NORMAL_LIMIT);
    }

    #[test]
    fn the_field_of_a_value() {
        let name = |text: &str| {
            let start = text.find('7').expect("a 7 begins the value");
            field_name(text.as_bytes(), start).map(|name| String::from_utf8_lossy(name).into_owned())
        };
        assert_eq!(name(r#"{"a":1, "cardNo" : "7"}"#).as_deref(), Some("cardNo"));
        assert_eq!(name(r#"{"a":"{\"pan\":\"7\"}"}"#).as_deref(), Some("pan"));
        assert_eq!(name("x=1&pan=7").as_deref(), Some("pan"));
        assert_eq!(name("<a><pan kind='x'>7</pan>").as_deref(), Some("pan"));
        assert_eq!(name("<b>7").as_deref(), None);
        assert_eq!(name(r#"{"pans":["7"]}"#).as_deref(), Some("pans"));
        assert_eq!(name("call 7").as_deref(), None);
        assert_eq!(name("Phone: +7").as_deref(), Some("Phone"));
        assert_eq!(name("7").as_deref(), None);
        assert_eq!(name(": 7").as_deref(), None);
        assert_eq!(name("<ns2:pan>7</ns2:pan>").as_deref(), Some("ns2:pan"));
        assert_eq!(name("<pan><![CDATA[7]]></pan>").as_deref(), Some("pan"));
        assert_eq!(name(r#"{"name":"ssn","value":"7"}"#).as_deref(), Some("ssn"));
        assert_eq!(name(r#"{"Name": "card no", "Value": 7}"#).as_deref(), Some("card no"));
        assert_eq!(name(r#"{"a":"{\"key\":\"ssn\",\"value\":\"7\"}"}"#).as_deref(), Some("ssn"));
        assert_eq!(name(r#"<input name="ssn" value="7">"#).as_deref(), Some("ssn"));
        assert_eq!(name(r#"{"ssn":{"value":"7"}}"#).as_deref(), Some("ssn"));
        for text in [r#"{"value":"7"}"#, r#"{"surname":"ssn","value":"7"}"#, r#"{"a":1,"value":"7"}"#, "value=7"] {
            assert_eq!(name(text).as_deref(), Some("value"), "{text}");
        }
        let part = "--X\r\nContent-Disposition: form-data; name=\"ssn\"\r\n";
        assert_eq!(name(&format!("{part}\r\n7")).as_deref(), Some("ssn"));
        assert_eq!(name(&format!("{part}Content-Type: text/plain\r\n\r\n7")).as_deref(), Some("ssn"));
        assert_eq!(name(&format!("{part}\r\nx\r\n7")).as_deref(), None);
        assert_eq!(name("a\r\n\r\n7").as_deref(), None);
    }

    #[test]
    fn short_words_are_whole_words() {
        let words = Words::new(&["tel".into(), "phone".into()]).expect("words");
        assert!(words.is_in(&Normal::of(b"homeTel")));
        assert!(!words.is_in(&Normal::of(b"hotel")));
        assert!(words.is_in(&Normal::of(b"telephones")));
        assert!(Words::new(&["_".into()]).is_err());
    }
}
