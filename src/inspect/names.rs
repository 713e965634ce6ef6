//! Names of headers, parameters and fields, and how they are compared.

/// Names without regard to case, `-` and `_`: `authToken`, `auth_token` and `Auth-Token` are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// Folded: lower case, without `-` and `_`. By the letter that they begin with.
    names: Vec<Box<[u8]>>,
    /// By the first letter, where its names begin and end.
    groups: [(usize, usize); 32],
    /// By the length of a name as it is written, a bit for each letter that such a name begins with: most names are none of
    /// these at a glance.
    initials: Vec<u32>,
    /// By the first letter, a bit for each letter that a name ends with.
    finals: [u32; 32],
}

/// Names of this length and longer are looked at together.
const LONG_NAME: usize = 63;

/// `-` and `_` in a name beyond which it is none of those that are known.
const SEPARATORS: usize = 5;

/// The place of a letter among 32, without regard to case, and its bit.
#[inline]
fn letter(byte: Option<&u8>) -> (usize, u32) {
    let place = byte.copied().unwrap_or(0) & 31;
    (usize::from(place), 1 << place)
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'-' | b'_')
}

impl Names {
    /// These.
    pub(crate) fn of<'n>(names: impl Iterator<Item = &'n str>) -> Names {
        let names = names.map(|name| folded(name.as_bytes()).collect::<Box<[u8]>>());
        let mut names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
        names.sort_by_key(|name| letter(name.first()).0);
        let mut groups = [(0, 0); 32];
        let mut initials = vec![0; LONG_NAME + 1];
        let mut finals = [0; 32];
        for (at, name) in names.iter().enumerate() {
            let ((first, bit), (_, last)) = (letter(name.first()), letter(name.last()));
            // However many separators it is written with.
            let lengths = name.len().min(LONG_NAME)..=(name.len() + SEPARATORS).min(LONG_NAME);
            initials.get_mut(lengths).unwrap_or_default().iter_mut().for_each(|letters| *letters |= bit);
            finals[first] |= last; // of 32
            let (begin, end) = &mut groups[first];
            (*begin, *end) = (if *end == 0 { at } else { *begin }, at + 1);
        }
        Names { names, groups, initials, finals }
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether it is one of them.
    #[inline]
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        let ends = |name: &[u8]| matches!(name, [first, .., last] if is_separator(*first) || is_separator(*last));
        let name = if ends(name) { trimmed(name) } else { name };
        let ((first, bit), (_, last)) = (letter(name.first()), letter(name.last()));
        self.initials.get(name.len().min(LONG_NAME)).is_some_and(|letters| letters & bit != 0)
            && self.finals.get(first).is_some_and(|letters| letters & last != 0)
            && self.has_exactly(name, first)
    }

    #[inline(never)]
    fn has_exactly(&self, name: &[u8], first: usize) -> bool {
        let (begin, end) = self.groups.get(first).copied().unwrap_or_default();
        let group = self.names.get(begin..end).unwrap_or_default();
        let mut buffer = [0; LONG_NAME];
        let mut length = 0;
        for byte in folded(name) {
            let Some(place) = buffer.get_mut(length) else {
                return group.iter().any(|known| folded(name).eq(known.iter().copied()));
            };
            *place = byte;
            length += 1;
        }
        let name = buffer.get(..length).unwrap_or_default();
        group.iter().any(|known| **known == *name)
    }
}

/// A name without the separators that it begins and ends with.
fn trimmed(name: &[u8]) -> &[u8] {
    let begin = name.iter().position(|&byte| !is_separator(byte)).unwrap_or(name.len());
    let end = name.iter().rposition(|&byte| !is_separator(byte)).map_or(begin, |last| last + 1);
    name.get(begin..end).unwrap_or_default()
}

/// The bytes of a name by which it is compared.
fn folded(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter().filter(|byte| !is_separator(**byte)).map(u8::to_ascii_lowercase)
}

/// Names that say something else behind a dot or in brackets: `sort.key`, `country[code]`.
const WHOLE: [&[u8]; 2] = [b"key", b"code"];

/// The part of a parameter's name that says what its value is: `password` of `user.password` and `user[password]`, `apiKey`
/// of `apiKey[]` and `apiKey[0]`.
pub(crate) fn leaf(name: &[u8]) -> &[u8] {
    let mut whole = name;
    while let Some((outer, within)) = brackets(whole)
        && within.iter().all(u8::is_ascii_digit)
    {
        whole = outer;
    }
    let inner = brackets(whole).map_or(whole, |(_, within)| within);
    let part = memchr::memrchr(b'.', inner).and_then(|dot| inner.get(dot + 1..)).unwrap_or(inner);
    let is_whole = || WHOLE.iter().any(|known| part.eq_ignore_ascii_case(known));
    if part.len() < whole.len() && is_whole() { whole } else { part }
}

/// What stands before the last brackets of a name, and in them.
fn brackets(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let (outer, within) = name.strip_suffix(b"]")?.split_at(memchr::memrchr(b'[', name)?);
    Some((outer, within.get(1..)?))
}

/// The words of a name that capitals divide: `adminUsers` has `admin` and `Users`.
pub(crate) fn humps(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let begin = rest.find(|letter: char| !letter.is_ascii_uppercase()).unwrap_or(rest.len());
        let end = rest[begin..].find(|letter: char| letter.is_ascii_uppercase()).map_or(rest.len(), |end| begin + end);
        let (word, behind) = rest.split_at(end);
        rest = behind;
        (!word.is_empty()).then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_however_their_words_are_joined() {
        let names = Names::of(["api_key", "X-Auth-Token", "_session_id", "samlresponse"].into_iter());
        for name in ["api_key", "apiKey", "API-KEY", "apikey", "x_auth_token", "XAuthToken", "-x--auth-token-"] {
            assert!(names.has(name.as_bytes()), "{name}");
        }
        for name in ["sessionId", "_session_id", "SAMLResponse", "saml_response"] {
            assert!(names.has(name.as_bytes()), "{name}");
        }
        for name in ["", "-", "api_keys", "apikez", "my_api_key", "api.key", "a-p-i-k-e-y-s", "xauthtokem"] {
            assert!(!names.has(name.as_bytes()), "{name}");
        }
        assert!(!Names::default().has(b"a") && !Names::default().has(b""));
        let long = "a".repeat(70);
        let names = Names::of([long.as_str()].into_iter());
        assert!(names.has(long.as_bytes()) && !names.has(&long.as_bytes()[1..]));
    }

    #[test]
    fn what_the_name_of_a_parameter_says() {
        for (name, wanted) in [
            ("user.password", "password"),
            ("user[password]", "password"),
            ("user[login][password]", "password"),
            ("apiKey[]", "apiKey"),
            ("a.tokens[0][1]", "tokens"),
            ("token", "token"),
            ("sort.key", "sort.key"),
            ("country[code]", "country[code]"),
            ("code[]", "code"),
            ("[]", ""),
            ("]", "]"),
            ("a]", "a]"),
            ("[", "["),
            ("", ""),
        ] {
            assert_eq!(leaf(name.as_bytes()), wanted.as_bytes(), "{name}");
        }
    }
}
