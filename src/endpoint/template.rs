//! A path with the segments that look like identifiers taken out.

use super::path::MAX_SEGMENTS;

/// Segments longer than this are parameters whatever they look like.
const LONGEST_LITERAL: usize = 40;

/// What a parameter is written as.
const PARAMETER: &str = "{id}";

/// Appends the template of `path` and tells whether it has a parameter. At most [`MAX_SEGMENTS`] segments of at most
/// 40 bytes each come out, whatever goes in. Empty segments are left out, so `//a/` is `/a`.
pub fn template(path: &str, out: &mut String) -> bool {
    let mut parameterised = false;
    let mut count = 0;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        out.push('/');
        count += 1;
        if count > MAX_SEGMENTS {
            out.push_str("{rest}");
            return true;
        }
        if is_parameter(segment) {
            out.push_str(PARAMETER);
            parameterised = true;
        } else {
            out.push_str(segment);
        }
    }
    if count == 0 {
        out.push('/');
    }
    parameterised
}

/// Whether a segment names an object rather than a collection: numbers, UUIDs, hashes, dates, whatever has digits
/// (but for versions such as `v2`), is long, or is a random-looking word.
fn is_parameter(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    if bytes.len() > LONGEST_LITERAL {
        return true;
    }
    if bytes.contains(&b'%') || !segment.is_ascii() || segment.contains(crate::inspect::MASK) {
        return true;
    }
    if bytes.iter().any(u8::is_ascii_digit) {
        return !is_version(bytes);
    }
    bytes.len() >= 16 && looks_random(bytes)
}

/// `v1`, `V12`, `v1.2`, `v2beta`, and names whose only digits are few and in the end (`oauth2`, `s3`, `base64`).
fn is_version(bytes: &[u8]) -> bool {
    let letters = bytes.iter().take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'.').count();
    if letters == 0 {
        return false;
    }
    let tail = bytes.get(letters..).unwrap_or_default();
    let digits = tail.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let suffix = tail.get(digits..).unwrap_or_default();
    if letters == 1 && matches!(bytes.first(), Some(b'v' | b'V')) {
        return digits <= 4 && suffix.len() <= 6 && !suffix.iter().any(u8::is_ascii_digit);
    }
    digits <= 2 && suffix.is_empty()
}

/// Long words of letters in which upper and lower case change as often as not, or vowels are missing: tokens.
fn looks_random(bytes: &[u8]) -> bool {
    if bytes.iter().any(|byte| matches!(byte, b'-' | b'_' | b'.')) {
        return false;
    }
    let vowels = bytes.iter().filter(|byte| b"aeiouyAEIOUY".contains(byte)).count();
    let changes = bytes
        .windows(2)
        .filter(|pair| matches!(pair, [one, two] if one.is_ascii_uppercase() != two.is_ascii_uppercase()))
        .count();
    vowels * 5 < bytes.len() || changes * 5 > bytes.len() * 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(path: &str) -> String {
        let mut out = String::new();
        template(path, &mut out);
        out
    }

    #[test]
    fn identifiers_become_parameters() {
        for (path, expected) in [
            ("/v1/orders/12345", "/v1/orders/{id}"),
            ("/v1/prices/SKU-003857", "/v1/prices/{id}"),
            ("/users/3f2504e0-4f89-11d3-9a0c-0305e82c3301/", "/users/{id}"),
            ("/reports/2026-03-02", "/reports/{id}"),
            ("/files/d41d8cd98f00b204e9800998ecf8427e", "/files/{id}"),
            ("/s/kJhGfDsAqWeRtYuIop", "/s/{id}"),
            ("/people/al***/orders", "/people/{id}/orders"),
            ("/v1/payment-methods", "/v1/payment-methods"),
            ("/v2.1/search/suggest", "/v2.1/search/suggest"),
            ("/oauth2/token", "/oauth2/token"),
            ("/v1beta/internationalization", "/v1beta/internationalization"),
            ("/robots.txt", "/robots.txt"),
            ("//a//b/", "/a/b"),
            ("/", "/"),
            ("*", "/*"),
            ("", "/"),
        ] {
            assert_eq!(of(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn templates_are_bounded_and_stable(path in "(/[ -~é]{0,60}){0,40}") {
            let once = of(&path);
            prop_assert!(once.len() <= (MAX_SEGMENTS + 1) * (LONGEST_LITERAL + 1));
            prop_assert!(once.starts_with('/'));
            prop_assert_eq!(of(&once), once.clone(), "a template is its own template");
        }
    }
}
