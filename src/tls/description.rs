//! What is told of a connection in TLS, as its handshake reveals it.

use std::sync::Arc;

use super::fingerprint;
use super::hello::{ClientHello, ServerHello, is_tls13, version};
use crate::call::Tls;

/// Longest name of a server or a protocol that is kept.
const LONGEST: usize = 255;

/// What is known so far. Calls share it, so that it costs each of them a count.
#[derive(Debug, Default)]
pub(super) struct Described(Arc<Tls>);

impl Described {
    pub(super) const fn tls(&self) -> &Arc<Tls> {
        &self.0
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut Tls)) {
        change(Arc::make_mut(&mut self.0));
    }

    /// Takes the first hello of the client.
    pub(super) fn client(&mut self, hello: &ClientHello<'_>) {
        self.change(|tls| {
            tls.ja4 = Some(fingerprint::ja4(hello).into());
            tls.server_name = hello.server_name().and_then(|name| text(name.to_ascii_lowercase()));
            tls.early_data = hello.early_data();
        });
    }

    /// Takes the hello of the server; `resumed` tells that it goes on with a session from before.
    pub(super) fn server(&mut self, hello: &ServerHello<'_>, resumed: bool) {
        self.change(|tls| {
            tls.version = Some(version_text(hello.version()).into());
            tls.cipher = Some(format!("{:04x}", hello.cipher).into());
            tls.ja3s = Some(fingerprint::ja3s(hello).into());
            tls.application_protocol = hello.protocol().and_then(|name| text(name.to_vec()));
            tls.resumed = resumed;
        });
    }

    /// Takes the certificate that the client showed, in DER.
    pub(super) fn certificate(&mut self, certificate: &[u8]) {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let text: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.change(|tls| tls.client_certificate = Some(text.into()));
    }

    /// Takes the protocol that was agreed on.
    pub(super) fn protocol(&mut self, name: &[u8]) {
        self.change(|tls| tls.application_protocol = text(name.to_vec()));
    }
}

/// As text; none of what is empty, too long or not of printable ASCII characters.
fn text(name: Vec<u8>) -> Option<Arc<str>> {
    let printable = !name.is_empty() && name.len() <= LONGEST && name.iter().all(u8::is_ascii_graphic);
    String::from_utf8(name).ok().filter(|_| printable).map(Arc::from)
}

fn version_text(number: u16) -> &'static str {
    match number {
        version::SSL3 => "ssl3",
        0x0301 => "1.0",
        0x0302 => "1.1",
        version::TLS12 => "1.2",
        draft if is_tls13(draft) => "1.3",
        _ => "unknown",
    }
}
