//! What a single segment looks like: a word of the API, or by its shape alone the name of one object.

use serde::{Deserialize, Serialize};

use super::path::MAX_SEGMENT_BYTES;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// What the values of a path parameter look like.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[doc = $doc])+ $variant,)+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant),+];

            /// Its name in the inventory.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name),+ }
            }
        }
    };
}

kinds! {
    /// Decimal digits, with a sign perhaps.
    Int = "int",
    /// 8-4-4-4-12 hexadecimal digits (RFC 9562).
    Uuid = "uuid",
    /// 16 or more hexadecimal digits.
    Hash = "hash",
    /// A calendar date (RFC 3339, full-date).
    Date = "date",
    /// An e-mail address.
    Email = "email",
    /// Random-looking letters and digits, codes such as `SKU-000269`, and what was masked, of which it is not known.
    Token = "token",
    /// A file whose name is one of the above: `4711.pdf`.
    File = "file",
    /// Words, learned to be many.
    Slug = "slug",
    /// Whatever is long or has characters beyond those of RFC 3986's `pchar`, escaped or not.
    Text = "text",
    /// Decimal digits with a fraction, and a sign perhaps. What was kept by earlier versions has it as `int`.
    Number = "number",
    /// Decimal digits with a zero before them, which a number would lose: a code. In what was kept before, `int`.
    Digits = "digits",
    /// A month. In what was kept before, `date`, and so is what has a time.
    Month = "month",
    /// A calendar date with a time.
    DateTime = "date-time",
}

/// A set of [`Kind`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds(u16);

impl Kinds {
    /// Adds one.
    pub fn insert(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u16;
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Kinds) {
        self.0 |= other.0;
    }

    /// Those in the set, in the order of [`Kind::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.iter().copied().filter(move |&kind| self.0 & (1 << kind as u16) != 0)
    }
}

/// The kind of object that a segment names by its shape; none for words, which have to be learned. `first` is the
/// segment behind the host with more to come: a small number there is a version (`/2/statuses`), not an object.
pub(super) fn kind(segment: &str, first: bool) -> Option<Kind> {
    let bytes = segment.as_bytes();
    if bytes.len() > MAX_SEGMENT_BYTES {
        return Some(Kind::Text);
    }
    // What is everywhere, and what is anywhere.
    let (mut all, mut any) = (u8::MAX, 0);
    for &byte in bytes {
        let what = BYTES[usize::from(byte)]; // a byte lies within 256
        all &= what;
        any |= what;
    }
    if all & PLAIN == 0 {
        return Some(Kind::Text);
    }
    // The usual word ends here, and the usual number.
    if bytes.len() < 16 && any & (DIGIT | MARK) == 0 {
        return None;
    }
    if all & DIGIT != 0 {
        return (!(first && bytes.len() <= 2)).then(|| of_digits(bytes));
    }
    if any & MARK != 0 {
        let email = segment.split_once('@').map(|(name, domain)| !name.is_empty() && domain.contains('.'));
        // What was masked names somebody or something: of two that begin alike it is not known that they are one.
        if segment.contains(crate::inspect::MASK) {
            return Some(if email == Some(true) { Kind::Email } else { Kind::Token });
        }
        if let Some(email) = email {
            return email.then_some(Kind::Email);
        }
    }
    if any & SEPARATOR != 0
        && let Some((stem, extension)) = segment.rsplit_once('.')
        && !stem.is_empty()
        && (2..=5).contains(&extension.len())
        && extension.starts_with(|letter: char| letter.is_ascii_alphabetic())
    {
        return stem_kind(stem.as_bytes(), false).map(|_| Kind::File);
    }
    stem_kind(bytes, first)
}

/// What the letters of a segment are, counted in one pass.
#[derive(Default)]
struct Survey {
    digits: usize,
    hexadecimal: usize,
    vowels: usize,
    /// Hyphens, underscores and dots.
    separators: usize,
    /// Changes between lower case, upper case and digits.
    changes: usize,
}

/// What a byte is: the low two bits are its class (digit, lower, upper, other), the others flags.
const VOWEL: u8 = 4;
/// See [`VOWEL`].
const HEXADECIMAL: u8 = 8;
/// See [`VOWEL`].
const SEPARATOR: u8 = 16;
/// See [`VOWEL`]; a character of a plain segment.
const PLAIN: u8 = 32;
/// See [`VOWEL`].
const DIGIT: u8 = 64;
/// See [`VOWEL`]; `@` and `*`, of which something may follow.
const MARK: u8 = 128;
/// See [`VOWEL`].
const OTHER: u8 = 3;

const BYTES: [u8; 256] = {
    let mut table = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        let letter = byte as u8;
        let class = match letter {
            b'0'..=b'9' => 0,
            b'a'..=b'z' => 1,
            b'A'..=b'Z' => 2,
            _ => OTHER,
        };
        let vowel = matches!(letter.to_ascii_lowercase(), b'a' | b'e' | b'i' | b'o' | b'u' | b'y');
        let separator = matches!(letter, b'-' | b'_' | b'.');
        table[byte] = class
            | (vowel as u8 * VOWEL)
            | (letter.is_ascii_hexdigit() as u8 * HEXADECIMAL)
            | (separator as u8 * SEPARATOR)
            | (is_plain(letter) as u8 * PLAIN)
            | ((class == 0) as u8 * DIGIT)
            | (matches!(letter, b'@' | b'*') as u8 * MARK);
        byte += 1;
    }
    table
};

impl Survey {
    fn of(bytes: &[u8]) -> Survey {
        let mut survey = Survey::default();
        let mut before = OTHER;
        for &byte in bytes {
            let what = BYTES[usize::from(byte)]; // a byte lies within 256
            let class = what & OTHER;
            survey.digits += usize::from(class == 0);
            survey.vowels += usize::from(what & VOWEL != 0);
            survey.hexadecimal += usize::from(what & HEXADECIMAL != 0);
            survey.separators += usize::from(what & SEPARATOR != 0);
            survey.changes += usize::from(class != before && class != OTHER && before != OTHER);
            before = class;
        }
        survey
    }
}

fn stem_kind(bytes: &[u8], first: bool) -> Option<Kind> {
    let survey = Survey::of(bytes);
    let digits = survey.digits;
    if digits == bytes.len() {
        return (!(first && digits <= 2)).then(|| of_digits(bytes));
    }
    // All of these have digits, and the usual long word has none.
    if digits > 0 {
        if is_date(bytes) {
            return Some(match bytes.len() {
                7 => Kind::Month,
                10 => Kind::Date,
                _ => Kind::DateTime,
            });
        }
        if is_number(bytes) {
            return Some(if bytes.contains(&b'.') { Kind::Number } else { Kind::Int });
        }
    }
    if is_uuid(bytes) {
        return Some(Kind::Uuid);
    }
    if bytes.len() >= 16 && survey.hexadecimal == bytes.len() {
        return Some(Kind::Hash);
    }
    ((digits > 0 && is_code(bytes)) || is_random(bytes.len(), &survey)).then_some(Kind::Token)
}

/// Characters of `pchar` (RFC 3986, 3.3) but for `%`.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\''
        | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@')
}

/// What digits alone are.
fn of_digits(bytes: &[u8]) -> Kind {
    match bytes {
        [b'0', _, ..] => Kind::Digits,
        _ => Kind::Int,
    }
}

/// Signed numbers and fractions. `1.0` and `2.1` are versions; other fractions have more digits or a sign.
fn is_number(bytes: &[u8]) -> bool {
    let unsigned = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let dots = unsigned.iter().filter(|byte| **byte == b'.').count();
    let plain = unsigned.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    plain && unsigned.len() > dots && dots <= 1 && (dots == 0 || unsigned.len() > 5 || unsigned.len() < bytes.len())
}

fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `2026-03`, `2026-03-02`, `2026-03-02T10:00:00Z`.
fn is_date(bytes: &[u8]) -> bool {
    let number = |range: std::ops::Range<usize>| {
        let part = bytes.get(range)?;
        part.iter().all(u8::is_ascii_digit).then(|| part.iter().fold(0, |sum, byte| sum * 10 + u32::from(byte - b'0')))
    };
    let month = matches!(number(0..4), Some(1900..=2200))
        && bytes.get(4) == Some(&b'-')
        && matches!(number(5..7), Some(1..=12));
    match bytes.len() {
        7 => month,
        10.. => {
            month
                && bytes.get(7) == Some(&b'-')
                && matches!(number(8..10), Some(1..=31))
                && matches!(bytes.get(10), None | Some(b'T' | b't' | b'_'))
        }
        _ => false,
    }
}

/// A running number with letters before or behind it: `SKU-000269`, `order_12345`, `INV20031`, `12:cancel`.
fn is_code(bytes: &[u8]) -> bool {
    // A number and what is to be done with it (`12:cancel`, AIP-136).
    if let Some(colon) = memchr::memchr(b':', bytes)
        && let (number, [_, verb @ ..]) = bytes.split_at(colon)
        && !number.is_empty()
        && number.iter().all(u8::is_ascii_digit)
        && verb.first().is_some_and(u8::is_ascii_alphabetic)
    {
        return true;
    }
    let parts = bytes.split(|byte| b"-_.:~".contains(byte));
    let several = bytes.iter().any(|byte| b"-_.:~".contains(byte));
    let mut longest = 0;
    for part in parts {
        if several && part.len() >= 3 && part.iter().all(u8::is_ascii_digit) {
            return true;
        }
        let runs = part.split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len);
        longest = longest.max(runs.max().unwrap_or(0));
    }
    longest >= 5
}

/// Letters and digits that change as in a random string.
fn is_random(length: usize, survey: &Survey) -> bool {
    if survey.digits >= 2 && length >= 10 && survey.changes > length / 3 {
        return true;
    }
    if length < 16 {
        return false;
    }
    survey.changes * 5 > length * 3 || (survey.separators == 0 && survey.vowels * 6 < length)
}

/// Whether a segment is a version or the like, below which endpoints rather than objects are to be expected:
/// `v1`, `V12`, `v1.2`, `v2beta1`, `1.0`, `2`, `api`, `rest`.
pub(super) fn is_prefix(segment: &str) -> bool {
    if matches!(segment, "api" | "rest" | "API") {
        return true;
    }
    let rest = segment.strip_prefix(['v', 'V']).unwrap_or(segment);
    let numbers = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let suffix = rest.get(numbers..).unwrap_or_default();
    let suffix = suffix.trim_end_matches(|digit: char| digit.is_ascii_digit());
    (1..=5).contains(&numbers) && matches!(suffix, "" | "alpha" | "beta" | "rc" | "preview")
}

/// `en`, `pt-BR`, `zh_Hans`: a language, perhaps with a region or a script (RFC 5646).
pub(super) fn is_locale(segment: &str) -> bool {
    let (language, region) = segment.split_once(['-', '_']).unwrap_or((segment, "XX"));
    language.len() == 2
        && language.bytes().all(|byte| byte.is_ascii_lowercase())
        && matches!(region.len(), 2 | 4)
        && region.bytes().all(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        for (segment, expected) in [
            ("12345", Some(Kind::Int)),
            ("0", Some(Kind::Int)),
            ("-12", Some(Kind::Int)),
            ("52.520008", Some(Kind::Number)),
            ("-1.5", Some(Kind::Number)),
            ("00420", Some(Kind::Digits)),
            ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", Some(Kind::Uuid)),
            ("d41d8cd98f00b204e9800998ecf8427e", Some(Kind::Hash)),
            ("507f1f77bcf86cd799439011", Some(Kind::Hash)),
            ("2026-03-02", Some(Kind::Date)),
            ("2026-03", Some(Kind::Month)),
            ("2026-03-02T10:00:00Z", Some(Kind::DateTime)),
            ("bob@example.com", Some(Kind::Email)),
            ("SKU-000269", Some(Kind::Token)),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", Some(Kind::Token)),
            ("dQw4w9WgXcQ", Some(Kind::Token)),
            ("kJhGfDsAqWeRtYuIop", Some(Kind::Token)),
            ("al***", Some(Kind::Token)),
            ("+49***", Some(Kind::Token)),
            ("id,eyJh***", Some(Kind::Token)),
            ("to:al***@example.com", Some(Kind::Email)),
            ("12:cancel", Some(Kind::Token)),
            ("7:undelete", Some(Kind::Token)),
            ("4711.pdf", Some(Kind::File)),
            ("d41d8cd98f00b204e9800998ecf8427e.png", Some(Kind::File)),
            ("caf%C3%A9", Some(Kind::Text)),
            ("{id}", Some(Kind::Text)),
            ("a b", Some(Kind::Text)),
            ("\u{1b}[31m", Some(Kind::Text)),
            ("users", None),
            ("blue-suede-shoes", None),
            ("payment-methods", None),
            ("internationalization", None),
            ("getUserByIdAndName", None),
            ("sha256", None),
            ("oauth2", None),
            ("x509", None),
            ("v1", None),
            ("v2.1", None),
            ("1.0", None),
            ("robots.txt", None),
            ("openapi.json", None),
            ("chat.postMessage", None),
            ("@alice", None),
            ("does-not-exist-3", None),
            ("*", None),
            ("a*.html", None),
            ("stock:reserve", None),
            ("12:30", None),
        ] {
            assert_eq!(kind(segment, false), expected, "{segment}");
        }
        assert_eq!(kind(&"a".repeat(65), false), Some(Kind::Text));
        assert_eq!(kind("2", true), None);
        assert_eq!(kind("2024", true), Some(Kind::Int));
    }

    #[test]
    fn prefixes_and_locales() {
        assert!(["v1", "V12", "v2.1", "v2beta1", "1.0", "2", "api"].into_iter().all(is_prefix));
        assert!(!["users", "vet", "v", "1234567", "v1users"].into_iter().any(is_prefix));
        assert!(["en", "pt-BR", "zh_Hans"].into_iter().all(is_locale));
        assert!(!["users", "e", "en-", "EN", "en-GB-x"].into_iter().any(is_locale));
    }
}
