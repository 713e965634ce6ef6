//! What the handshake of TLS says of a connection, and how far the sensor could follow it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{is_false, is_zero_32};

/// What both ends said of the connection that they agreed on. What was not seen is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// The version that was agreed on, as `1.3`, `1.2`, `1.1`, `1.0` or `ssl3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Arc<str>>,
    /// The cipher suite that was agreed on, by its number (IANA, TLS Cipher Suites) in four hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher: Option<Arc<str>>,
    /// The name that the client asked for (RFC 6066, section 3), in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<Arc<str>>,
    /// The protocol that was agreed on inside (RFC 7301), as `h2` or `http/1.1`. TLS 1.3 says it under encryption, so that
    /// it is known with keys only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_protocol: Option<Arc<str>>,
    /// JA4 of the client's hello: clients of one program have the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ja4: Option<Arc<str>>,
    /// JA3S of the server's hello.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ja3s: Option<Arc<str>>,
    /// SHA-256 of the certificate that the client showed (RFC 5246, section 7.4.6), in hexadecimal digits. TLS 1.3 sends it under
    /// encryption, so that it is known with keys only. In a session that is resumed it is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<Arc<str>>,
    /// It goes on with a session from before.
    #[serde(skip_serializing_if = "is_false")]
    pub resumed: bool,
    /// The client sent data with its first flight (RFC 8446, section 2.3).
    #[serde(skip_serializing_if = "is_false")]
    pub early_data: bool,
    /// Handshakes within the connection, behind the first.
    #[serde(skip_serializing_if = "is_zero_32")]
    pub renegotiations: u32,
    /// Its records were opened with keys from a key log.
    #[serde(skip_serializing_if = "is_false")]
    pub decrypted: bool,
    /// It was taken up without its beginning: nothing is known of its handshake.
    #[serde(skip_serializing_if = "is_false")]
    pub beginning_unseen: bool,
}
