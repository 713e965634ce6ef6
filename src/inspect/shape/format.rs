//! What a text looks like.

use crate::call::{Format, NAME_LIMIT};

/// Bytes of a text that are looked at; of a longer one the beginning says what it can.
pub(crate) const LOOKED_AT: usize = 128;

/// Bytes of the longest word.
const WORD_LIMIT: usize = 32;

/// The format of a text, or of the first [`LOOKED_AT`] bytes of a longer one.
pub(crate) fn of(text: &[u8]) -> Format {
    let Some(&first) = text.first() else { return Format::Empty };
    if text.len() >= LOOKED_AT {
        return of_long(text);
    }
    // One pass says which of the others are worth a try: what each byte is, and what some are.
    let (mut all, mut any, mut digits) = (u8::MAX, 0, 0);
    for &byte in text {
        let what = BYTES[usize::from(byte)]; // a byte lies within 256
        all &= what;
        any |= what;
        digits += usize::from(what & DIGIT);
    }
    if all & DIGIT != 0 {
        return Format::Digits;
    }
    if any & DIGIT != 0
        && let Some(format) = of_digits(text, all, any, digits)
    {
        return format;
    }
    if text.len() >= 16 && all & HEXADECIMAL != 0 {
        return Format::Hexadecimal;
    }
    if any & AT != 0 && is_email(text) {
        return Format::Email;
    }
    if any & COLON != 0 && is_uri(text) {
        return Format::Uri;
    }
    if any & COLON != 0 && is_ipv6(text) {
        return Format::Ipv6;
    }
    if first == b'/' && !text.contains(&b' ') {
        return Format::Path;
    }
    if all & WORD == 0 {
        return Format::Text;
    }
    if first == b'e' && text.starts_with(b"eyJ") && text.iter().filter(|byte| **byte == b'.').count() == 2 {
        return Format::Jwt;
    }
    if matches!(text, b"true" | b"false" | b"True" | b"False") {
        return Format::Boolean;
    }
    match (first.is_ascii_alphabetic(), digits) {
        _ if text.len() > WORD_LIMIT => Format::Text,
        (true, 0 | 1) => Format::Word,
        (_, 2..) => Format::Code,
        _ => Format::Text,
    }
}

/// What has digits, and something else.
fn of_digits(text: &[u8], all: u8, any: u8, digits: usize) -> Option<Format> {
    if all & NUMBER != 0 && is_decimal(text, digits) {
        // A number with a plus before it is one that is dialled, as often as not.
        let whole = text.first() != Some(&b'+') && !text.contains(&b'.');
        return Some(if whole { Format::Digits } else { Format::Decimal });
    }
    if is_uuid(text) {
        return Some(Format::Uuid);
    }
    if any & POINT != 0 && all & NUMBER != 0 && is_ipv4(text) {
        return Some(Format::Ipv4);
    }
    match text {
        [b'0'..=b'9', b'0'..=b'9', ..] => dated(text),
        _ => None,
    }
}

/// What a byte is, as flags.
const DIGIT: u8 = 1;
/// See [`DIGIT`].
const HEXADECIMAL: u8 = 2;
/// See [`DIGIT`]; a byte of a word, with points and colons.
const WORD: u8 = 4;
/// See [`DIGIT`].
const POINT: u8 = 8;
/// See [`DIGIT`].
const COLON: u8 = 16;
/// See [`DIGIT`].
const AT: u8 = 32;
/// See [`DIGIT`]; a digit, a point or a sign.
const NUMBER: u8 = 64;

const BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut number = 0;
    while number < 256 {
        let byte = number as u8;
        table[number] = (byte.is_ascii_digit() as u8 * DIGIT)
            | (byte.is_ascii_hexdigit() as u8 * HEXADECIMAL)
            | ((byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':')) as u8 * WORD)
            | ((byte == b'.') as u8 * POINT)
            | ((byte == b':') as u8 * COLON)
            | ((byte == b'@') as u8 * AT)
            | ((byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+')) as u8 * NUMBER);
        number += 1;
    }
    table
};

/// Whether the name of a member is data rather than the name of a field: it is long, has characters that names seldom
/// have, or looks like an identifier of an object.
pub(crate) fn is_data(name: &[u8]) -> bool {
    let usual = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'$' | b'@' | b':' | b'#' | b'/')
    };
    if name.is_empty() || name.len() > NAME_LIMIT || !name.iter().all(|&byte| usual(byte)) {
        return true;
    }
    let digits = name.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 0 && name.len() < 16 {
        return matches!(of(name), Format::Email | Format::Path);
    }
    digits >= 4
        || digits * 2 > name.len()
        || matches!(
            of(name),
            Format::Uuid
                | Format::Date
                | Format::DateTime
                | Format::Time
                | Format::Email
                | Format::Ipv4
                | Format::Ipv6
                | Format::Uri
                | Format::Path
                | Format::Hexadecimal
                | Format::Jwt
        )
}

fn of_long(text: &[u8]) -> Format {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if text.starts_with(b"eyJ") && text.iter().all(token) {
        Format::Jwt
    } else if is_uri(text) {
        Format::Uri
    } else if text.iter().all(u8::is_ascii_hexdigit) {
        Format::Hexadecimal
    } else {
        Format::Text
    }
}

/// Of digits, points and signs.
fn is_decimal(text: &[u8], digits: usize) -> bool {
    let points = text.iter().filter(|byte| **byte == b'.').count();
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    points <= 1 && digits + points + sign == text.len() && text.last() != Some(&b'.')
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A number of two digits within bounds.
fn two(text: &[u8], from: usize, bounds: std::ops::RangeInclusive<u8>) -> bool {
    match (text.get(from), text.get(from + 1)) {
        (Some(tens @ b'0'..=b'9'), Some(ones @ b'0'..=b'9')) => bounds.contains(&((tens - b'0') * 10 + ones - b'0')),
        _ => false,
    }
}

/// `2026-03-02`, `2026-03-02T10:00:00.5Z`, `10:00:00`.
fn dated(text: &[u8]) -> Option<Format> {
    let date = |text: &[u8]| {
        two(text, 0, 16..=29)
            && two(text, 2, 0..=99)
            && text.get(4) == Some(&b'-')
            && two(text, 5, 1..=12)
            && text.get(7) == Some(&b'-')
            && two(text, 8, 1..=31)
    };
    let time = |text: &[u8]| two(text, 0, 0..=23) && text.get(2) == Some(&b':') && two(text, 3, 0..=59);
    if date(text) {
        return match text.get(10) {
            None => Some(Format::Date),
            Some(b'T' | b't') if time(text.get(11..)?) => {
                // Seconds, perhaps a fraction, and the offset, which is no part of many that look alike.
                let rest = text.get(16..)?;
                let seconds = rest.first() == Some(&b':') && two(rest, 1, 0..=60);
                let rest = rest.get(3..)?;
                let fraction = match rest.first() {
                    Some(b'.') => 1 + rest.get(1..)?.iter().take_while(|byte| byte.is_ascii_digit()).count(),
                    _ => 0,
                };
                let offset = rest.get(fraction..)?;
                let named = matches!(offset, b"Z" | b"z");
                let counted =
                    offset.len() == 6 && matches!(offset.first(), Some(b'+' | b'-')) && time(offset.get(1..)?);
                (seconds && fraction != 1 && (named || counted)).then_some(Format::DateTime)
            }
            Some(_) => None,
        };
    }
    (time(text) && matches!(text.len(), 5 | 8..=18)).then_some(Format::Time)
}

fn is_ipv4(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<std::net::Ipv4Addr>().is_ok())
}

fn is_ipv6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}

fn is_email(text: &[u8]) -> bool {
    let Some(at) = memchr::memchr(b'@', text) else { return false };
    let (local, domain) = (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
    let usual = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'<' | b'>' | b',' | b';' | b'"');
    let host = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !local.is_empty() && local.iter().all(usual) && domain.contains(&b'.') && domain.iter().all(host)
}

fn is_uri(text: &[u8]) -> bool {
    let scheme = text.iter().take(16).take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'+').count();
    let rest = text.get(scheme..).unwrap_or_default();
    scheme > 1 && (rest.starts_with(b"://") || (rest.starts_with(b":") && text.starts_with(b"data:")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        for (text, expected) in [
            ("", Format::Empty),
            ("0", Format::Digits),
            ("4111111111111111", Format::Digits),
            ("-12", Format::Digits),
            ("+4930123", Format::Decimal),
            ("-1.5", Format::Decimal),
            ("19.99", Format::Decimal),
            ("true", Format::Boolean),
            ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", Format::Uuid),
            ("2026-03-02", Format::Date),
            ("2026-13-02", Format::Code),
            ("2026-03-02T10:00:00.250Z", Format::DateTime),
            ("2026-03-02T10:00:00+01:00", Format::DateTime),
            ("2026-03-02T10:00:00", Format::Code),
            ("2026-03-02 10:00:00", Format::Text),
            ("10:30", Format::Time),
            ("ana@example.com", Format::Email),
            ("@ana", Format::Text),
            ("192.0.2.7", Format::Ipv4),
            ("192.0.2.700", Format::Code),
            ("2001:db8::1", Format::Ipv6),
            ("https://example.com/a?b=c", Format::Uri),
            ("data:image/png;base64,iVBOR", Format::Uri),
            ("/media/1-2.jpg", Format::Path),
            ("d41d8cd98f00b204e9800998ecf8427e", Format::Hexadecimal),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", Format::Jwt),
            ("shipped", Format::Word),
            ("out_of-stock", Format::Word),
            ("SKU-000269", Format::Code),
            ("two words", Format::Text),
            ("Grüße", Format::Text),
        ] {
            assert_eq!(of(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(of("a long story ".repeat(20).as_bytes()), Format::Text);
        assert_eq!(of(&b"eyJ0".repeat(64)), Format::Jwt);
    }

    #[test]
    fn keys_that_are_data() {
        for name in ["id", "first_name", "sha256", "$ref", "@type", "xml:lang", "line2", "internationalizationCode"] {
            assert!(!is_data(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "4711",
            "ana@example.com",
            "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            "2026-03-02",
            "Ada Adler",
            "SKU-000269",
            "/v1/users",
            "d41d8cd98fabcdef",
            "naïve",
        ] {
            assert!(is_data(name.as_bytes()), "{name}");
        }
    }
}
