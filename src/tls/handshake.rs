//! Handshake messages (RFC 8446, section 4) out of records: one message may span many of them, and one record hold many
//! messages. Those that are of no interest (certificates of servers) are passed over by their length, without being kept.

/// Types of messages (IANA, TLS HandshakeType).
pub(super) mod kind {
    /// RFC 8446, section 4.1.2.
    pub(crate) const CLIENT_HELLO: u8 = 1;
    /// RFC 8446, section 4.1.3.
    pub(crate) const SERVER_HELLO: u8 = 2;
    /// RFC 8446, section 4.5.
    pub(crate) const END_OF_EARLY_DATA: u8 = 5;
    /// RFC 8446, section 4.3.1.
    pub(crate) const ENCRYPTED_EXTENSIONS: u8 = 8;
    /// RFC 8446, section 4.4.2; RFC 5246, section 7.4.2.
    pub(crate) const CERTIFICATE: u8 = 11;
    /// RFC 8446, section 4.4.4.
    pub(crate) const FINISHED: u8 = 20;
    /// RFC 8446, section 4.6.3.
    pub(crate) const KEY_UPDATE: u8 = 24;
}

/// Bytes of a message's type and length.
const HEADER: usize = 4;

/// One message, or the beginning of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u8,
    /// Its body, header excluded; empty where it was passed over.
    pub(super) body: &'a [u8],
    /// It was kept, and is whole.
    pub(super) whole: bool,
}

/// Puts messages together.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// The beginning of a message, header included.
    held: Vec<u8>,
    /// Bytes of a message that are still to be passed over.
    passing: usize,
    /// Its type, told once it is over.
    passed: u8,
}

impl Messages {
    /// Takes the content of a record. `take` is given each message that is over by then; messages that `wanted` refuses or that
    /// are larger than `limit` are passed over. Tells whether one was too large.
    pub(super) fn record(
        &mut self,
        mut bytes: &[u8],
        limit: usize,
        wanted: impl Fn(u8) -> bool,
        mut take: impl FnMut(Message<'_>),
    ) -> bool {
        let mut too_large = false;
        loop {
            if self.passing > 0 {
                let passed = self.passing.min(bytes.len());
                bytes = &bytes[passed..];
                self.passing -= passed;
                if self.passing > 0 {
                    return too_large;
                }
                take(Message { kind: self.passed, body: &[], whole: false });
            }
            // The header, out of what is held and what comes.
            if !self.held.is_empty() && self.held.len() < HEADER {
                let missing = (HEADER - self.held.len()).min(bytes.len());
                self.held.extend_from_slice(&bytes[..missing]);
                bytes = &bytes[missing..];
            }
            let begun = if self.held.is_empty() { bytes } else { &self.held };
            let Some(&[kind, a, b, c]) = begun.first_chunk() else {
                if self.held.is_empty() {
                    self.held.extend_from_slice(bytes);
                }
                return too_large;
            };
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let large = length > limit;
            if large || !wanted(kind) {
                too_large |= large && wanted(kind);
                if self.held.is_empty() {
                    bytes = &bytes[HEADER..];
                }
                self.held = Vec::new();
                (self.passing, self.passed) = (length, kind);
                if length == 0 {
                    take(Message { kind, body: &[], whole: false });
                }
                continue;
            }
            let size = HEADER + length;
            if self.held.is_empty() {
                let Some((message, rest)) = bytes.split_at_checked(size) else {
                    self.held.extend_from_slice(bytes);
                    return too_large;
                };
                bytes = rest;
                take(Message { kind, body: &message[HEADER..], whole: true });
                continue;
            }
            let missing = (size - self.held.len()).min(bytes.len());
            self.held.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.held.len() < size {
                return too_large;
            }
            let message = std::mem::take(&mut self.held);
            take(Message { kind, body: &message[HEADER..], whole: true });
        }
    }

    /// A record of so many bytes of messages was lost. Tells whether it is still known where the next message begins.
    pub(super) fn lose(&mut self, length: usize) -> bool {
        if self.passing > length {
            self.passing -= length;
            return true;
        }
        *self = Messages::default();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: u8 = 11;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = (body.len() as u32).to_be_bytes();
        [&[kind, a, b, c][..], body].concat()
    }

    fn read(messages: &mut Messages, bytes: &[u8], found: &mut Vec<(u8, Vec<u8>, bool)>) -> bool {
        let wanted = |kind| kind != CERTIFICATE;
        messages.record(bytes, 64, wanted, |message| found.push((message.kind, message.body.to_vec(), message.whole)))
    }

    #[test]
    fn messages_come_out_alike_however_they_are_cut() {
        let stream = [
            message(kind::SERVER_HELLO, b"hello"),
            message(CERTIFICATE, &[1; 500]),
            message(14, b""),
            message(CERTIFICATE, b""),
            message(kind::FINISHED, &[2; 12]),
        ]
        .concat();
        let expected = [(2, b"hello".to_vec(), true), (11, vec![], false), (14, vec![], true), (11, vec![], false)];
        for size in [1, 2, 3, 4, 5, 7, 100, 1000] {
            let (mut messages, mut found) = (Messages::default(), Vec::new());
            for piece in stream.chunks(size) {
                assert!(!read(&mut messages, piece, &mut found));
                assert!(messages.held.len() <= 64 + HEADER);
            }
            assert_eq!(found[..4], expected, "pieces of {size}");
            assert_eq!(found[4], (20, vec![2; 12], true));
        }
    }

    #[test]
    fn what_is_too_large_is_passed_over() {
        let stream = [message(kind::CLIENT_HELLO, &[1; 65]), message(kind::FINISHED, b"f")].concat();
        let (mut messages, mut found) = (Messages::default(), Vec::new());
        assert!(read(&mut messages, &stream, &mut found));
        assert_eq!(found, [(1, vec![], false), (20, b"f".to_vec(), true)]);
    }

    #[test]
    fn a_loss_in_a_certificate_loses_nothing_else() {
        let certificate = message(CERTIFICATE, &[1; 500]);
        let (mut messages, mut found) = (Messages::default(), Vec::new());
        read(&mut messages, &certificate[..100], &mut found);
        assert!(messages.lose(100));
        read(&mut messages, &certificate[200..], &mut found);
        read(&mut messages, &message(14, b""), &mut found);
        assert_eq!(found, [(11, vec![], false), (14, vec![], true)]);
    }
}
