//! What the messages of a handshake agree on.

use super::super::Settings;
use super::super::codec::Reader;
use super::super::half::Epoch;
use super::super::handshake::{Message, kind};
use super::super::hello::{ClientHello, EncryptedExtensions, ServerHello, is_tls13};
use super::{Early, Session};
use crate::stats::{Counter, Counters};
use crate::stream::Direction;

impl Session {
    /// Takes handshake messages, in clear or opened.
    pub(super) fn messages(&mut self, d: usize, bytes: &[u8], settings: &Settings, counters: &mut Counters) {
        const WANTED: [u8; 3] = [kind::CLIENT_HELLO, kind::SERVER_HELLO, kind::ENCRYPTED_EXTENSIONS];
        let mut messages = std::mem::take(&mut self.halves[d].messages);
        let of_client = self.client.is_some_and(|client| client.index() == d);
        let wanted = |kind| WANTED.contains(&kind) || (kind == kind::CERTIFICATE && of_client);
        let take = |message: Message<'_>| self.message(d, message, counters);
        let too_large = messages.record(bytes, settings.handshake_bytes, wanted, take);
        if too_large {
            counters.count(Counter::TlsMessagesTooLarge);
        }
        self.halves[d].messages = messages;
    }

    fn message(&mut self, d: usize, message: Message<'_>, counters: &mut Counters) {
        let tls13 = self.version.is_some_and(is_tls13);
        let epoch = self.halves[d].epoch;
        match message.kind {
            kind::CLIENT_HELLO if message.whole => match ClientHello::parse(message.body) {
                Some(hello) => self.client_hello(d, &hello, counters),
                None => counters.count(Counter::TlsHellosUnread),
            },
            kind::SERVER_HELLO if message.whole => match ServerHello::parse(message.body) {
                Some(hello) => self.server_hello(d, &hello, counters),
                None => counters.count(Counter::TlsHellosUnread),
            },
            kind::CLIENT_HELLO | kind::SERVER_HELLO => counters.count(Counter::TlsHellosUnread),
            kind::ENCRYPTED_EXTENSIONS if message.whole && epoch == Epoch::Handshake => {
                let extensions = EncryptedExtensions::parse(message.body);
                if let Some(protocol) = extensions.protocol() {
                    self.described.protocol(protocol);
                }
                if self.early == Early::Offered {
                    self.early = if extensions.early_data() { Early::Accepted } else { Early::Refused };
                    if self.early == Early::Refused {
                        counters.count(Counter::TlsEarlyDataRefused);
                    }
                }
            }
            kind::CERTIFICATE if message.whole => {
                if let Some(certificate) = first_certificate(message.body, tls13) {
                    self.described.certificate(certificate);
                }
            }
            kind::END_OF_EARLY_DATA if epoch == Epoch::Early => self.halves[d].enter(Epoch::Handshake),
            kind::FINISHED if tls13 && epoch == Epoch::Handshake => {
                self.halves[d].enter(Epoch::Data);
                if self.early == Early::Offered && self.client.is_some_and(|client| client.index() != d) {
                    self.early = Early::Accepted; // its extensions were lost
                }
            }
            kind::KEY_UPDATE if tls13 && epoch == Epoch::Data => {
                if let Some(opener) = &mut self.halves[d].opener {
                    opener.update();
                }
            }
            _ => {}
        }
    }

    fn client_hello(&mut self, d: usize, hello: &ClientHello<'_>, counters: &mut Counters) {
        if self.client.is_some_and(|client| client.index() != d) {
            counters.count(Counter::TlsHellosUnread); // the server has answered it, or the other end has sent one
            return;
        }
        let again = self.client_random.is_some();
        self.client = Some(if d == 0 { Direction::Forward } else { Direction::Backward });
        self.client_random = Some(*hello.random);
        if !again {
            self.described.client(hello);
            self.session_id = hello.resumes().then(|| hello.session_id.into());
            if hello.early_data() {
                self.early = Early::Offered;
                self.halves[d].enter(Epoch::Early);
            }
        } else if !std::mem::take(&mut self.retried) {
            counters.count(Counter::TlsRenegotiations);
            self.described.change(|tls| tls.renegotiations = tls.renegotiations.saturating_add(1));
            self.server_random = None;
        }
    }

    fn server_hello(&mut self, d: usize, hello: &ServerHello<'_>, counters: &mut Counters) {
        if self.client.is_some_and(|client| client.index() == d) {
            return;
        }
        let client = self.client.get_or_insert(if d == 0 { Direction::Backward } else { Direction::Forward }).index();
        self.version = Some(hello.version());
        if self.client_random.is_none() && self.described.tls().version.is_none() {
            counters.count(Counter::TlsBeginningsUnseen);
            self.described.change(|tls| tls.beginning_unseen = true);
        }
        if hello.is_retry() {
            self.retried = true;
            if self.early == Early::Offered {
                self.early = Early::Refused;
            }
            return;
        }
        let first = self.server_random.is_none() && self.described.tls().version.is_none();
        self.cipher = hello.cipher;
        self.encrypt_then_mac = hello.encrypt_then_mac();
        self.server_random = Some(*hello.random);
        let tls13 = is_tls13(hello.version());
        if first {
            let resumed = if tls13 { hello.pre_shared_key() } else { self.proposed(hello.session_id) };
            self.described.server(hello, resumed);
        }
        if !tls13 || !first {
            return;
        }
        self.halves[d].enter(Epoch::Handshake);
        if self.early == Early::Offered && !hello.pre_shared_key() {
            self.early = Early::Refused;
        }
        if self.early == Early::None {
            self.halves[client].enter(Epoch::Handshake);
        }
    }

    /// The client proposed to go on with the session of this id.
    fn proposed(&self, session_id: &[u8]) -> bool {
        !session_id.is_empty() && self.session_id.as_deref() == Some(session_id)
    }
}

/// The first certificate of a message, which is its sender's own (RFC 5246, section 7.4.2; RFC 8446, section 4.4.2). None of a
/// client that has none to show.
fn first_certificate(body: &[u8], tls13: bool) -> Option<&[u8]> {
    let mut message = Reader::new(body);
    if tls13 {
        message.vector8()?; // the context of a request for it
    }
    let certificate = message.vector24()?.vector24()?.rest();
    (!certificate.is_empty()).then_some(certificate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_certificate_of_a_message_is_its_senders() {
        // A list of two, and in TLS 1.3 a context before it and extensions behind each.
        let tls12 = [0, 0, 11, 0, 0, 3, 1, 2, 3, 0, 0, 2, 4, 5];
        assert_eq!(first_certificate(&tls12, false), Some(&[1, 2, 3][..]));
        let tls13 = [1, 9, 0, 0, 8, 0, 0, 3, 1, 2, 3, 0, 0];
        assert_eq!(first_certificate(&tls13, true), Some(&[1, 2, 3][..]));
        assert_eq!(first_certificate(&[0, 0, 0], false), None, "a client that has none");
        for end in 0..9 {
            assert_eq!(first_certificate(&tls12[..end], false), None);
        }
    }
}
