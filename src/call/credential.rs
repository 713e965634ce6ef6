//! Who a request says is calling, and what it says of that.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Fingerprint;
use crate::time::Timestamp;

/// How a request says who is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// `Authorization: Basic` (RFC 7617).
    Basic,
    /// `Authorization: Bearer` (RFC 6750).
    Bearer,
    /// `Authorization` with another scheme, or a signature of the message alone.
    Other,
    /// A key in a header such as `X-API-Key`, or in a query parameter.
    ApiKey,
    /// A session cookie.
    Cookie,
}

/// Where in a request a credential stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialPlace {
    /// In a header other than `Cookie`.
    #[default]
    Header,
    /// In a cookie.
    Cookie,
    /// In the query of the target, where logs and proxies keep it.
    Query,
}

/// How a request is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// AWS Signature Version 4, in `Authorization` or in the query.
    AwsSigv4,
    /// HTTP Message Signatures (RFC 9421), or the drafts before them.
    HttpMessage,
    /// Another scheme that has a signature or a message authentication code (Hawk, OAuth 1, vendors' own).
    Other,
}

impl Signature {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Signature::AwsSigv4 => "aws_sigv4",
            Signature::HttpMessage => "http_message",
            Signature::Other => "other",
        }
    }
}

/// What a credential says of itself. Nothing of it is verified. Texts are cut out of tokens that anybody may have written:
/// they are printable, short, and without what looks like a person's address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Claims {
    /// It is a JSON Web Token (RFC 7519).
    pub token: bool,
    /// `alg` of the token's header (RFC 7515, section 4.1.1).
    pub algorithm: Option<Arc<str>>,
    /// The token has no signature: its algorithm is `none`, or the part of the signature is empty.
    pub unsigned: bool,
    /// `iss`.
    pub issuer: Option<Arc<str>>,
    /// `aud`, at most eight.
    pub audience: Vec<Arc<str>>,
    /// `scope`, `scp`, `role`, `roles`, `groups` and `realm_access.roles`, sorted, at most 32.
    pub scopes: Vec<Arc<str>>,
    /// `iat`.
    pub issued: Option<Timestamp>,
    /// `exp`.
    pub expires: Option<Timestamp>,
    /// The account's name, where it is one of those in `rules/credentials.toml` that everybody tries first.
    pub default_account: Option<Arc<str>>,
}

/// Who is calling, as a keyed fingerprint of the credential; the credential itself is never kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct Credential {
    /// What it is.
    pub kind: CredentialKind,
    /// Keyed hash of its value.
    pub fingerprint: Fingerprint,
    /// Keyed hash of whom it stands for, where it says so: the issuer and subject of a JSON Web Token (RFC 7519), which
    /// stay when tokens rotate, or the name of an account.
    pub subject: Option<Fingerprint>,
    /// Keyed hash of what it has in common with those of its like: its kind, and a token's client, scopes, roles and the
    /// form of its subject (`user-4711` and `user-4712` are of one form). Clients of one group are compared with
    /// each other.
    pub group: Option<Fingerprint>,
    /// Keyed hash of what a JSON Web Token says that its bearer may do: its issuer, scopes, roles and groups, where it has any.
    /// Clients of one role may call the same functions, whatever application they come with.
    pub role: Option<Fingerprint>,
    /// Where it was found; a header is left out in JSON.
    pub place: CredentialPlace,
    /// How the request is signed, with this credential or beside it.
    pub signature: Option<Signature>,
    /// What it says of itself, where that is more than who it is. In JSON these stand beside the rest.
    pub claims: Option<Arc<Claims>>,
}

impl Credential {
    /// One of which no more is known than its value.
    pub fn new(kind: CredentialKind, fingerprint: Fingerprint) -> Credential {
        Credential {
            kind,
            fingerprint,
            subject: None,
            group: None,
            role: None,
            place: CredentialPlace::Header,
            signature: None,
            claims: None,
        }
    }
}

/// The JSON form, in which claims stand beside what else there is.
#[derive(Serialize, Deserialize)]
struct Form {
    kind: CredentialKind,
    fingerprint: Fingerprint,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    subject: Option<Fingerprint>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    group: Option<Fingerprint>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    role: Option<Fingerprint>,
    #[serde(skip_serializing_if = "is_header", default)]
    place: CredentialPlace,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    signature: Option<Signature>,
    #[serde(skip_serializing_if = "super::is_false", default)]
    token: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    algorithm: Option<Arc<str>>,
    #[serde(skip_serializing_if = "super::is_false", default)]
    unsigned: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    issuer: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    audience: Vec<Arc<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    scopes: Vec<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    issued: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    default_account: Option<Arc<str>>,
}

pub(super) fn is_header(place: &CredentialPlace) -> bool {
    *place == CredentialPlace::Header
}

impl From<Form> for Credential {
    fn from(form: Form) -> Credential {
        let claims = Claims {
            token: form.token,
            algorithm: form.algorithm,
            unsigned: form.unsigned,
            issuer: form.issuer,
            audience: form.audience,
            scopes: form.scopes,
            issued: form.issued,
            expires: form.expires,
            default_account: form.default_account,
        };
        Credential {
            kind: form.kind,
            fingerprint: form.fingerprint,
            subject: form.subject,
            group: form.group,
            role: form.role,
            place: form.place,
            signature: form.signature,
            claims: (claims != Claims::default()).then(|| Arc::new(claims)),
        }
    }
}

impl From<Credential> for Form {
    fn from(credential: Credential) -> Form {
        let claims = credential.claims.as_deref().cloned().unwrap_or_default();
        Form {
            kind: credential.kind,
            fingerprint: credential.fingerprint,
            subject: credential.subject,
            group: credential.group,
            role: credential.role,
            place: credential.place,
            signature: credential.signature,
            token: claims.token,
            algorithm: claims.algorithm,
            unsigned: claims.unsigned,
            issuer: claims.issuer,
            audience: claims.audience,
            scopes: claims.scopes,
            issued: claims.issued,
            expires: claims.expires,
            default_account: claims.default_account,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Call, CredentialKind};

    #[test]
    fn claims_stand_beside_the_rest_and_read_back() {
        let plain = Credential::new(CredentialKind::Bearer, Fingerprint(7));
        let text = serde_json::to_string(&plain).expect("plain data");
        assert_eq!(text, r#"{"kind":"bearer","fingerprint":"0000000000000007"}"#);
        assert_eq!(serde_json::from_str::<Credential>(&text).expect("what was written"), plain);
        let claims = Claims {
            token: true,
            algorithm: Some("RS256".into()),
            scopes: vec!["read".into()],
            expires: Some(Timestamp::from_parts(1_772_460_000, 0)),
            ..Claims::default()
        };
        let full = Credential {
            place: CredentialPlace::Query,
            signature: Some(Signature::AwsSigv4),
            claims: Some(Arc::new(claims)),
            ..plain
        };
        let call = Call { credential: Some(full), ..Call::default() };
        let text = serde_json::to_string(&call).expect("plain data");
        assert!(text.contains(r#""place":"query","signature":"aws_sigv4","token":true,"algorithm":"RS256""#), "{text}");
        assert!(text.contains(r#""expires":"2026-03-02T14:00:00.000000000Z"}"#), "{text}");
        assert_eq!(serde_json::from_str::<Call>(&text).expect("what was written"), call);
    }
}
