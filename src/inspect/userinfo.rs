//! Passwords in URLs: `scheme://user:password@host` (RFC 3986, section 3.2.1), found from the `@` backwards.

use std::ops::Range;

/// Bytes of user and password together, and of a scheme: with what is between them no more than what a candidate sees.
const REACH: usize = 160;
const SCHEME: usize = 24;

/// Bytes of a password.
const LENGTH: std::ops::RangeInclusive<usize> = 3..=128;

/// Where scheme and password are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Userinfo {
    pub(super) scheme: Range<usize>,
    pub(super) password: Range<usize>,
}

/// What stands before the `@` at `at`, if it is user and password of a URL. Most are the local parts of e-mail addresses, and
/// are done with after a few bytes.
pub(super) fn before(bytes: &[u8], at: usize) -> Option<Userinfo> {
    let floor = at.saturating_sub(REACH);
    let authority = bytes.get(floor..at)?;
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b"/@\"'<>\\".contains(byte) || byte.is_ascii_control();
    let begin = floor + authority.iter().rposition(ends)? + 1;
    let left = bytes.get(..begin)?.strip_suffix(b"://")?;
    let colon = begin + memchr::memchr(b':', bytes.get(begin..at)?)?;
    let password = colon + 1..at;
    let host = bytes.get(at + 1)?;
    if !LENGTH.contains(&password.len()) || !(host.is_ascii_alphanumeric() || *host == b'[') {
        return None;
    }
    let part = |byte: &&u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(byte);
    let mut length = left.iter().rev().take(SCHEME).take_while(part).count();
    let before = left.get(..left.len() - length).and_then(|rest| rest.last());
    if before == Some(&b'\\') {
        length = length.saturating_sub(1); // the letter of an escaped line end
    }
    let scheme = left.len() - length..left.len();
    bytes.get(scheme.start)?.is_ascii_lowercase().then_some(Userinfo { scheme, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_and_password_of_urls() {
        let found = |text: &str| {
            let found = before(text.as_bytes(), text.find('@')?)?;
            Some(format!("{} {}", &text[found.scheme], &text[found.password]))
        };
        for (text, wanted) in [
            ("postgresql+asyncpg://svc:3f9a2b7c@db:5432/x", Some("postgresql+asyncpg 3f9a2b7c")),
            (r#"{"u":"https://a:b:c%40@[::1]/x"}"#, Some("https b:c%40")),
            (r"see\nredis://:s3cret@cache", Some("redis s3cret")),
            ("jdbc:mysql://svc:abc$1@db", Some("mysql abc$1")),
            ("http://ana@mail.example", None),
            ("http://a.example/b:c@d", None),
            ("mailto:ana@mail.example", None),
            ("://a:bcd@e", None),
            ("x://a:b@e", None),
            ("x://a:bcd@", None),
            ("x://a:bcd@/", None),
            ("@", None),
        ] {
            assert_eq!(found(text).as_deref(), wanted, "{text}");
        }
        let far = format!("x://{}:abc@e", "u".repeat(REACH));
        assert_eq!(found(&far), None);
    }
}
