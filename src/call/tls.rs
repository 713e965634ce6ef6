//! What the handshake of TLS says of a connection, in clear.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What both ends said before they began to encrypt. What was not seen is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// The version that was agreed on, as `1.3`, `1.2`, `1.1`, `1.0` or `ssl3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Arc<str>>,
    /// The name that the client asked for (RFC 6066, section 3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<Arc<str>>,
    /// The protocol that was agreed on inside (RFC 7301), as `h2` or `http/1.1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_protocol: Option<Arc<str>>,
    /// JA4 of the client's hello: clients of one program have the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ja4: Option<Arc<str>>,
    /// JA4S of the server's hello.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ja4s: Option<Arc<str>>,
}
