//! Whom a credential stands for, and which others are of its like.
//!
//! A JSON Web Token says in clear whom it stands for and what it may do. Nothing is verified: a forged token is refused
//! by the server, and what is learned here comes from calls that were accepted. Only keyed hashes leave.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use crate::key::Domain;

/// Longest claims of a token that are read; real ones have a few hundred bytes.
const CLAIMS_LIMIT: usize = 8 << 10;

/// Scopes and roles that are compared, at most.
const GRANTS: usize = 64;

/// The claims that say who and what for (RFC 7519; `scope` by RFC 8693, `scp`, `roles`, `azp` as common issuers write
/// them).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Claims {
    iss: Option<Value>,
    sub: Option<Value>,
    client_id: Option<Value>,
    azp: Option<Value>,
    scope: Option<Value>,
    scp: Option<Value>,
    role: Option<Value>,
    roles: Option<Value>,
    groups: Option<Value>,
}

/// Subject and group of a token, as texts to be hashed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) subject: Option<String>,
    pub(super) group: String,
}

/// What a bearer token says of itself. A token that is no JWT has no subject, and shares its group with all of its
/// prefix and length.
pub(super) fn of_bearer(token: &[u8]) -> Identity {
    claims(token).map_or_else(|| opaque("bearer", token), |claims| of_claims(&claims))
}

/// What an opaque key says of itself: its prefix and its length.
pub(super) fn opaque(kind: &str, value: &[u8]) -> Identity {
    let prefix = prefix(value);
    Identity { subject: None, group: format!("{kind} {} {}", String::from_utf8_lossy(prefix), value.len().min(512)) }
}

/// Of an account's name: itself and its form.
pub(super) fn of_account(kind: &str, name: &[u8]) -> Identity {
    Identity { subject: None, group: format!("{kind} {}", form(&String::from_utf8_lossy(name))) }
}

fn claims(token: &[u8]) -> Option<Claims> {
    let mut parts = token.split(|&byte| byte == b'.');
    let (header, claims) = (parts.next()?, parts.next()?);
    parts.next()?;
    if !header.starts_with(b"ey") || !claims.starts_with(b"ey") || claims.len() > CLAIMS_LIMIT {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

fn of_claims(claims: &Claims) -> Identity {
    let text = |value: &Option<Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let (issuer, subject) = (text(&claims.iss), text(&claims.sub));
    let mut grants: Vec<&str> = Vec::new();
    for claim in [&claims.scope, &claims.scp, &claims.role, &claims.roles, &claims.groups].into_iter().flatten() {
        match claim {
            Value::String(list) => grants.extend(list.split_ascii_whitespace()),
            Value::Array(list) => grants.extend(list.iter().filter_map(Value::as_str)),
            _ => {}
        }
    }
    grants.sort_unstable();
    grants.dedup();
    grants.truncate(GRANTS);
    let group = format!(
        "jwt\n{issuer}\n{}\n{}\n{}\n{}",
        text(&claims.client_id),
        text(&claims.azp),
        grants.join(" "),
        form(&subject)
    );
    Identity { subject: (!subject.is_empty()).then(|| format!("{issuer}\n{subject}")), group }
}

/// The form of a name: runs of digits as `#`, hexadecimal identifiers as `*`, of an e-mail address the domain only.
fn form(name: &str) -> String {
    let name = name.get(..256).unwrap_or(name);
    if let Some((_, domain)) = name.split_once('@') {
        return format!("@{domain}");
    }
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    let hexadecimal = name.bytes().filter(|byte| byte.is_ascii_hexdigit() || *byte == b'-').count();
    if name.len() >= 16 && digits > 0 && hexadecimal == name.len() {
        return "*".to_owned();
    }
    let mut form = String::with_capacity(name.len());
    for letter in name.chars() {
        let letter = if letter.is_ascii_digit() { '#' } else { letter };
        if letter != '#' || !form.ends_with('#') {
            form.push(letter);
        }
    }
    form
}

/// What stands before the random part of a key such as `sk_live_…`: up to the last `_` or `-` of its first 16 bytes.
fn prefix(value: &[u8]) -> &[u8] {
    let head = value.get(..16).unwrap_or(value);
    let end = head.iter().rposition(|byte| matches!(byte, b'_' | b'-')).map_or(0, |place| place + 1);
    let prefix = value.get(..end).unwrap_or_default();
    // A UUID has dashes as well.
    if prefix.iter().any(u8::is_ascii_digit) { &[] } else { prefix }
}

impl Identity {
    /// The hashes of both.
    pub(super) fn hashes(
        &self,
        subjects: &Domain,
        groups: &Domain,
    ) -> (Option<crate::call::Fingerprint>, crate::call::Fingerprint) {
        let subject = self.subject.as_ref().map(|subject| subjects.fingerprint(subject.as_bytes()));
        (subject, groups.fingerprint(self.group.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Vec<u8> {
        format!("eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims)).into_bytes()
    }

    #[test]
    fn tokens_of_one_subject_and_of_one_role() {
        let one = of_bearer(&token(r#"{"iss":"https://id","sub":"user-4711","exp":1,"scope":"read write"}"#));
        let again = of_bearer(&token(r#"{"iss":"https://id","sub":"user-4711","exp":2,"scope":"write read"}"#));
        let other = of_bearer(&token(r#"{"iss":"https://id","sub":"user-98","exp":2,"scope":"write read"}"#));
        let staff = of_bearer(&token(r#"{"iss":"https://id","sub":"user-99","exp":2,"roles":["admin"]}"#));
        assert_eq!(one, again);
        assert!(one.subject != other.subject && one.group == other.group);
        assert_ne!(one.group, staff.group);
    }

    #[test]
    fn what_is_no_token_has_a_group_at_most() {
        for text in ["", "abc", "ey.ey.x", "eyJ9.eyJ9", "ey.ey", "a.b.c.d"] {
            assert_eq!(of_bearer(text.as_bytes()).subject, None, "{text}");
        }
        assert_eq!(opaque("api_key", b"pk_0123456789abcdef").group, "api_key pk_ 19");
        assert_eq!(opaque("api_key", b"8f14e45f-ceea-467a-9a36-dedd4bea2543").group, "api_key  36");
        assert_eq!(of_account("basic", b"svc17").group, "basic svc#");
    }

    #[test]
    fn forms_of_names() {
        for (name, wanted) in [
            ("u1234", "u#"),
            ("agent-7b", "agent-#b"),
            ("ana.bo@mail.example", "@mail.example"),
            ("8f14e45f-ceea-467a-9a36-dedd4bea2543", "*"),
            ("svc-sync", "svc-sync"),
        ] {
            assert_eq!(form(name), wanted);
        }
    }
}
