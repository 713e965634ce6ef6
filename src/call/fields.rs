//! What the header fields of a response say that is neither content nor framing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a server says of the limit that a client is under: `RateLimit` and `RateLimit-Policy`
/// (draft-ietf-httpapi-ratelimit-headers), and the `X-RateLimit-…` fields that were before them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RateLimit {
    /// Calls of a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Calls that are left of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u64>,
    /// Seconds until there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<u64>,
}

/// What of a response's header fields is told, and how a password was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResponseFields {
    /// Where `Location` of a redirection leads: scheme and host in lower case, such as `https://login.example`. Absent where it
    /// names no host, which is the one that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirects_to: Option<Arc<str>>,
    /// Where a redirection leads that answers a POST or PUT with 302 or 303, as forms are answered: its path, without query and
    /// masked as targets are, of at most 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_path: Option<Arc<str>>,
    /// Such a redirection sets a session cookie (`session_cookies` of `rules/credentials.toml`), other than to end a session.
    #[serde(skip_serializing_if = "super::is_false")]
    pub sets_session: bool,
    /// The JSON body of the answer to a password says that it was refused, whatever the status says.
    #[serde(skip_serializing_if = "super::is_false")]
    pub refuses: bool,
    /// `Retry-After` (RFC 9110, section 10.2.3), as seconds from the response on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The limit that the client is under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Schemes of `WWW-Authenticate` (RFC 9110, section 11.6.1), lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Arc<str>>,
}

impl ResponseFields {
    /// Nothing is told.
    pub fn is_empty(&self) -> bool {
        *self == ResponseFields::default()
    }
}
