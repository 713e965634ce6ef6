//! Whom a credential stands for, and which others are of its like.
//!
//! A JSON Web Token says in clear whom it stands for and what it may do. Nothing is verified: a forged token is refused
//! by the server, and what is learned here comes from calls that were accepted. Only keyed hashes leave.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use crate::call::{Claims, Credential};
use crate::key::Domain;
use crate::time::Timestamp;

/// Longest claims of a token that are read; real ones have a few hundred bytes.
const CLAIMS_LIMIT: usize = 8 << 10;

/// Longest header of a token that is read.
const HEADER_LIMIT: usize = 4 << 10;

/// Scopes and roles that are compared, at most.
const GRANTS: usize = 64;

/// Audiences, and scopes and roles, that are told, at most, and bytes of each.
const AUDIENCE: usize = 8;
const SCOPES: usize = 32;
const TOLD: usize = 128;

/// The latest moment that is told apart, in seconds since 1970: the year 2255.
const LATEST: f64 = 9_000_000_000.0;

/// The claims that say who and what for (RFC 7519; `scope` by RFC 8693, `scp`, `roles`, `azp` as common issuers write
/// them, and `realm_access.roles` as Keycloak does).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Payload {
    iss: Option<Value>,
    aud: Option<Value>,
    exp: Option<Value>,
    iat: Option<Value>,
    sub: Option<Value>,
    client_id: Option<Value>,
    azp: Option<Value>,
    scope: Option<Value>,
    scp: Option<Value>,
    role: Option<Value>,
    roles: Option<Value>,
    groups: Option<Value>,
    realm_access: Option<Value>,
}

/// The one parameter of a token's header that matters here (RFC 7515, section 4.1.1).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Header {
    alg: Option<Value>,
}

/// Subject and group of a token, as texts to be hashed, and what it says of itself in clear.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) subject: Option<String>,
    pub(super) group: String,
    /// Whose functions it may call.
    pub(super) role: Option<String>,
    pub(super) claims: Option<Claims>,
}

/// What a bearer token says of itself. A token that is no JWT has no subject, and shares its group with all of its
/// prefix and length.
pub(super) fn of_bearer(token: &[u8]) -> Identity {
    read(token).unwrap_or_else(|| without_claims("bearer", token))
}

/// The same under another scheme: that of tokens that are bound to a key (RFC 9449), or one of a framework's own. What is
/// no JWT may be anything, a signature as well, and shares its group with all of these.
pub(super) fn of_token(value: &[u8]) -> Identity {
    read(value).unwrap_or_else(|| of_account("account", b""))
}

/// What an opaque key says of itself: its prefix and its length; and its claims, if it is a token after all.
pub(super) fn opaque(kind: &str, value: &[u8]) -> Identity {
    let claims = read(value).and_then(|identity| identity.claims);
    Identity { claims, ..without_claims(kind, value) }
}

fn without_claims(kind: &str, value: &[u8]) -> Identity {
    let group = format!("{kind} {} {}", String::from_utf8_lossy(prefix(value)), value.len().min(512));
    Identity { group, ..Identity::default() }
}

/// Of an account's name: itself and its form.
pub(super) fn of_account(kind: &str, name: &[u8]) -> Identity {
    Identity { group: format!("{kind} {}", form(&String::from_utf8_lossy(name))), ..Identity::default() }
}

/// What a JSON Web Token in its compact form says. None of anything else.
fn read(token: &[u8]) -> Option<Identity> {
    let mut parts = token.split(|&byte| byte == b'.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if !header.starts_with(b"ey") || !payload.starts_with(b"ey") || payload.len() > CLAIMS_LIMIT {
        return None;
    }
    let payload: Payload = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let header = header.get(..header.len().min(HEADER_LIMIT)).and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
    let header: Header = header.and_then(|header| serde_json::from_slice(&header).ok()).unwrap_or_default();
    Some(of_payload(&header, &payload, signature.is_empty()))
}

fn of_payload(header: &Header, payload: &Payload, bare: bool) -> Identity {
    let text = |value: &Option<Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let (issuer, subject) = (text(&payload.iss), text(&payload.sub));
    let mut grants: Vec<&str> = Vec::new();
    let realm = payload.realm_access.as_ref().and_then(|realm| realm.get("roles"));
    let claims = [&payload.scope, &payload.scp, &payload.role, &payload.roles, &payload.groups];
    for claim in claims.into_iter().filter_map(Option::as_ref).chain(realm) {
        match claim {
            Value::String(list) => grants.extend(list.split_ascii_whitespace()),
            Value::Array(list) => grants.extend(list.iter().filter_map(Value::as_str)),
            _ => {}
        }
    }
    grants.sort_unstable();
    grants.dedup();
    grants.truncate(GRANTS);
    let role = (!grants.is_empty()).then(|| format!("role\n{issuer}\n{}", grants.join(" ")));
    let group = format!(
        "jwt\n{issuer}\n{}\n{}\n{}\n{}",
        text(&payload.client_id),
        text(&payload.azp),
        grants.join(" "),
        form(&subject)
    );
    let audience: Vec<&str> = match &payload.aud {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let algorithm = text(&header.alg);
    let claims = Claims {
        token: true,
        unsigned: bare || algorithm.eq_ignore_ascii_case("none"),
        algorithm: told(&algorithm),
        issuer: told(&issuer),
        audience: audience.into_iter().filter_map(told).take(AUDIENCE).collect(),
        scopes: grants.iter().copied().filter_map(told).take(SCOPES).collect(),
        issued: payload.iat.as_ref().and_then(moment),
        expires: payload.exp.as_ref().and_then(moment),
        default_account: None,
    };
    let subject = (!subject.is_empty()).then(|| format!("{issuer}\n{subject}"));
    Identity { subject, group, role, claims: Some(claims) }
}

/// A text that is told as it is: short, printable, and not the address of a person or of a service's account.
fn told(text: &str) -> Option<Arc<str>> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#+=&,*|".contains(&byte);
    (!text.is_empty() && text.len() <= TOLD && text.bytes().all(plain)).then(|| text.into())
}

/// A `NumericDate` (RFC 7519, section 2); some issuers write it as a text.
fn moment(value: &Value) -> Option<Timestamp> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    let seconds = seconds.filter(|seconds| *seconds >= 0.0)?;
    Some(Timestamp::from_parts(seconds.min(LATEST) as u64, 0))
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
    /// Puts the hashes of subject, group and role on a credential.
    pub(super) fn name(&self, credential: &mut Credential, subjects: &Domain, groups: &Domain) {
        credential.subject = self.subject.as_ref().map(|subject| subjects.fingerprint(subject.as_bytes()));
        credential.group = Some(groups.fingerprint(self.group.as_bytes()));
        credential.role = self.role.as_ref().map(|role| groups.fingerprint(role.as_bytes()));
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
        assert_eq!((&one.subject, &one.group), (&again.subject, &again.group));
        assert!(one.subject != other.subject && one.group == other.group);
        assert_ne!(one.group, staff.group);
        // Of one role, whatever application they come with.
        let role = |claims: &str| of_bearer(&token(claims)).role;
        let web = role(r#"{"iss":"https://id","sub":"u1","azp":"web","realm_access":{"roles":["clerk","user"]}}"#);
        assert_eq!(web, role(r#"{"iss":"https://id","sub":"x@y","client_id":"app","scp":"user","role":"clerk"}"#));
        assert_ne!(web, role(r#"{"iss":"https://id","sub":"u1","roles":["user"]}"#));
        assert_eq!((web.is_some(), role(r#"{"iss":"https://id","sub":"u1"}"#)), (true, None));
    }

    #[test]
    fn what_a_token_says_of_itself() {
        let text = r#"{"iss":"https://id.example","sub":"user-1","aud":["shop","ana@mail.example"],"iat":100,"exp":3700.5,
            "scope":"write read","roles":["admin"]}"#;
        let claims = of_bearer(&token(text)).claims.expect("a token");
        assert_eq!(claims.algorithm.as_deref(), Some("RS256"));
        assert_eq!(claims.issuer.as_deref(), Some("https://id.example"));
        // What looks like a person's address is not told.
        assert_eq!(claims.audience, ["shop".into()]);
        assert_eq!(claims.scopes, ["admin", "read", "write"].map(Arc::from));
        assert_eq!(claims.expires, Some(Timestamp::from_parts(3700, 0)));
        assert_eq!(claims.issued, Some(Timestamp::from_parts(100, 0)));
        assert!(claims.token && !claims.unsigned);
        let of = |header: &str, signature: &str| {
            let [header, payload] = [header, r#"{"sub":"u"}"#].map(|part| URL_SAFE_NO_PAD.encode(part));
            of_bearer(format!("{header}.{payload}.{signature}").as_bytes()).claims.expect("a token")
        };
        assert!(of(r#"{"alg":"none"}"#, "").unsigned && of(r#"{"alg":"NONE"}"#, "c2ln").unsigned);
        assert!(of(r#"{"alg":"HS256"}"#, "").unsigned && !of(r#"{"alg":"HS256"}"#, "c2ln").unsigned);
        assert_eq!(of(r#"{"alg":7}"#, "c2ln").algorithm.as_deref(), Some("7"));
        let far = of_bearer(&token(r#"{"exp":1e300,"iat":-5}"#)).claims.expect("a token");
        assert_eq!((far.expires, far.issued), (Some(Timestamp::from_parts(9_000_000_000, 0)), None));
        let text = of_bearer(&token(r#"{"exp":"3700","iat":"soon"}"#)).claims.expect("a token");
        assert_eq!((text.expires, text.issued), (Some(Timestamp::from_parts(3_700, 0)), None));
    }

    #[test]
    fn what_is_no_token_has_a_group_at_most() {
        for text in ["", "abc", "ey.ey.x", "eyJ9.eyJ9", "ey.ey", "a.b.c.d"] {
            assert_eq!(of_bearer(text.as_bytes()).subject, None, "{text}");
        }
        assert_eq!(opaque("api_key", b"pk_0123456789abcdef").group, "api_key pk_ 19");
        assert_eq!(opaque("api_key", b"8f14e45f-ceea-467a-9a36-dedd4bea2543").group, "api_key  36");
        assert_eq!(of_account("basic", b"svc17").group, "basic svc#");
        assert_eq!(of_token(b"a5b21c").group, of_account("account", b"").group);
        let token = token(r#"{"iss":"https://id","sub":"user-1"}"#);
        assert_eq!(of_token(&token), of_bearer(&token));
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
