//! Values of header fields: those of the API's own, addresses, and cookies.
//!
//! Tokens have their place in heads, and who holds one is asked of credentials: what a rule calls a secret by its name, sessions, and
//! JSON Web Tokens are passed over here. What is left has no business there.

use super::credential::decoded;
use super::find::Window;
use super::tally::Tally;
use super::{Inspector, Side};
use crate::call::SensitiveClasses;

/// Bytes of a value that are looked at.
pub(crate) const LONGEST: usize = 4096;

/// How a JSON Web Token begins: `{"` in base64 (RFC 7519, section 3.1).
const TOKEN: &[u8] = b"eyJ";

/// What is found in the value of a header, whose parts have the names that they have there, or that of the header.
pub(super) fn found(inspector: &Inspector, side: Side, name: &[u8], value: &[u8]) -> SensitiveClasses {
    let compiled = inspector.compiled();
    let value = value.get(..LONGEST).unwrap_or(value);
    let mut lines = Vec::new();
    let mut add = |name: &[u8], value: &[u8]| {
        let value = value.trim_ascii();
        let rules = &compiled.credentials;
        if value.is_empty() || value.starts_with(TOKEN) || rules.is_secret(name) || rules.is_session_cookie(name) {
            return;
        }
        lines.extend_from_slice(name);
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(&decoded(value));
        lines.push(b'\n');
    };
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    let (separators, most): (&[u8], usize) = match () {
        // Behind the cookie there is what a browser is to do with it (RFC 6265, section 4.1.1).
        () if is("set-cookie") => (b";", 1),
        () if is("cookie") => (b";", usize::MAX),
        () if is("location") => (b"?#&", usize::MAX),
        () => (b"", 1),
    };
    for part in value.split(|byte| separators.contains(byte)).take(most) {
        match memchr::memchr(b'=', part).filter(|_| !separators.is_empty()) {
            Some(at) => add(part[..at].trim_ascii(), &part[at + 1..]),
            None => add(name, part),
        }
    }
    if lines.is_empty() {
        return SensitiveClasses::default();
    }
    let mut tally = Tally::default();
    let window = Window { bytes: &lines, base: 0, open_left: false, open_right: false };
    inspector.finder(side).scan(&mut tally, &window, 0, lines.len());
    tally.findings(compiled, &inspector.allowances, inspector.settings.distinct_limit).sensitive
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Rules;
    use crate::key::Key;

    #[test]
    fn values_of_headers_and_no_tokens() {
        let rules = Rules::load(None).expect("the compiled-in rules are well");
        let inspector = Inspector::new(&rules, Default::default(), Key::from_bytes([7; 16]));
        let classes = |side, name: &str, value: &str| -> Vec<String> {
            let found = found(&inspector, side, name.as_bytes(), value.as_bytes());
            found.iter().map(|sensitive| sensitive.class.to_string()).collect()
        };
        let card = "4539 1488 0343 6467";
        assert_eq!(classes(Side::Response, "X-Card", card), ["payment_card"]);
        assert_eq!(classes(Side::Response, "X-Customer-Email", "ada.lovelace@corp.example.net"), ["email"]);
        assert_eq!(classes(Side::Request, "X-Customer-Email", "ada.lovelace@corp.example.net"), ["email"]);
        assert_eq!(
            classes(Side::Response, "Set-Cookie", "mail=ada.lovelace@corp.example.net; Path=/; Secure"),
            ["email"]
        );
        let cookies = "theme=dark; mail=ada.lovelace@corp.example.net; session=4539148803436467";
        assert_eq!(classes(Side::Request, "Cookie", cookies), ["email"]);
        let address = "https://shop.example/reset?mail=ada.lovelace%40corp.example.net#top";
        assert_eq!(classes(Side::Response, "Location", address), ["email"]);
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
        for (name, value) in [
            ("Set-Cookie", format!("id={token}; HttpOnly")),
            ("Set-Cookie", format!("session={token}")),
            ("Location", format!("https://app.example/cb#id_token={token}&state=1")),
            ("X-Request-Id", "7f3b0c9e-5f7a-4f43-9f1d-3d1b8f1c2a77".to_owned()),
            ("X-CSRF-Token", "p9aD81mX0qLr7Zt2Vb6Nc4Hy".to_owned()),
            ("Set-Cookie", "theme=dark; Path=/".to_owned()),
        ] {
            assert!(classes(Side::Response, name, &value).is_empty(), "{name}: {value}");
        }
    }
}
