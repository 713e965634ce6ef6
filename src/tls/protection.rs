//! How one record is protected: nonces, additional data, tags and codes.
//!
//! Checks take as long as they take: who only listens answers nobody, so that there is no oracle in how fast or why
//! a record was refused.

use ring::hmac;

use super::aead::{Aead, Keystream};
use super::cbc::Cbc;
use super::schedule::{Keys, Secret};
use super::suite::{Cipher, Suite};

/// Content type of all protected records of TLS 1.3: application data (RFC 8446 5.2).
const APPLICATION_DATA: u8 = 23;

/// A record as it came.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) content_type: u8,
    pub(super) version: u16,
    pub(super) fragment: &'a [u8],
}

/// The protection of one direction, under one set of keys.
pub(super) enum Protection {
    /// TLS 1.3: the nonce is the vector and the number, the content type is within (RFC 8446 5.2).
    Tls13 { aead: Aead, suite: Suite, traffic: Secret, keys: Box<Keys> },
    /// ChaCha20 of TLS 1.2: the nonce is the vector and the number (RFC 7905 2).
    Implicit { aead: Aead, iv: [u8; 12] },
    /// GCM and CCM of TLS 1.2: eight bytes of the nonce are sent (RFC 5288 3, RFC 6655 3).
    Explicit { aead: Aead, salt: [u8; 4], last: Option<Last> },
    /// CBC with an HMAC.
    Cbc(Box<Cbc>),
}

/// Number and sent part of the nonce of the last record that opened.
#[derive(Clone, Copy)]
pub(super) struct Last {
    sequence: u64,
    sent: u64,
}

/// Bytes of a nonce that are sent with each record.
const SENT: usize = 8;

impl Protection {
    pub(super) fn tls13(suite: &Suite, traffic: Secret) -> Option<Protection> {
        let keys = Box::new(Keys::tls13(suite, &traffic));
        Some(Protection::Tls13 { aead: Aead::new(suite.cipher, keys.key())?, suite: *suite, traffic, keys })
    }

    pub(super) fn tls12(suite: &Suite, keys: Keys, encrypt_then_mac: bool) -> Option<Protection> {
        let [a, b, c, d, ..] = keys.iv;
        Some(match suite.cipher {
            Cipher::Aes128Cbc(hash) | Cipher::Aes256Cbc(hash) => {
                Protection::Cbc(Box::new(Cbc::new(keys.key(), hash, keys.mac_key(), encrypt_then_mac)?))
            }
            cipher @ Cipher::Chacha20Poly1305 => {
                Protection::Implicit { aead: Aead::new(cipher, keys.key())?, iv: keys.iv }
            }
            cipher => Protection::Explicit { aead: Aead::new(cipher, keys.key())?, salt: [a, b, c, d], last: None },
        })
    }

    /// What follows a KeyUpdate; none in TLS 1.2.
    pub(super) fn updated(&self) -> Option<Protection> {
        match self {
            Protection::Tls13 { suite, traffic, .. } => Protection::tls13(suite, traffic.updated(suite.hash)),
            _ => None,
        }
    }

    /// Bytes of the shortest fragment there can be.
    pub(super) fn least_fragment(&self) -> usize {
        match self {
            Protection::Tls13 { aead, .. } => 1 + aead.tag_length(),
            Protection::Implicit { aead, .. } => aead.tag_length(),
            Protection::Explicit { aead, .. } => SENT + aead.tag_length(),
            Protection::Cbc(cbc) => cbc.least_fragment(),
        }
    }

    /// Whether a record has the form that this protection gives.
    pub(super) fn fits(&self, record: &Record<'_>) -> bool {
        let length = record.fragment.len();
        length >= self.least_fragment()
            && match self {
                Protection::Tls13 { .. } => record.content_type == APPLICATION_DATA,
                Protection::Cbc(cbc) => cbc.fits(length),
                _ => true,
            }
    }

    /// Opens a record under a number: true when it is vouched for, and `out` is what was protected.
    pub(super) fn attempt(&mut self, sequence: u64, record: &Record<'_>, out: &mut Vec<u8>) -> bool {
        let Record { content_type, version, fragment } = *record;
        out.clear();
        match self {
            Protection::Tls13 { aead, keys, .. } => {
                let additional = header(content_type, version, fragment.len());
                out.extend_from_slice(fragment);
                aead.open(nonce(&keys.iv, sequence), &additional, out)
            }
            Protection::Implicit { aead, iv } => {
                let length = fragment.len() - aead.tag_length();
                out.extend_from_slice(fragment);
                aead.open(nonce(iv, sequence), &additional(sequence, content_type, version, length), out)
            }
            Protection::Explicit { aead, salt, last } => {
                let Some((sent, sealed)) = fragment.split_first_chunk::<SENT>() else { return false };
                let length = sealed.len() - aead.tag_length();
                let mut nonce = [0; 12];
                nonce[..4].copy_from_slice(salt);
                nonce[4..].copy_from_slice(sent);
                out.extend_from_slice(sealed);
                let opened = aead.open(nonce, &additional(sequence, content_type, version, length), out);
                if opened {
                    *last = Some(Last { sequence, sent: u64::from_be_bytes(*sent) });
                }
                opened
            }
            Protection::Cbc(cbc) => {
                let start = |length: usize| additional(sequence, content_type, version, length);
                cbc.open(fragment, start, out)
            }
        }
    }

    /// Content type and length of the content of what [`Protection::attempt`] opened; none when TLS 1.3 finds no type in it
    /// (RFC 8446 5.4).
    pub(super) fn content(&self, outer: u8, opened: &[u8]) -> Option<(u8, usize)> {
        match self {
            Protection::Tls13 { .. } => {
                let length = opened.iter().rposition(|&byte| byte != 0)?;
                Some((*opened.get(length)?, length))
            }
            _ => Some((outer, opened.len())),
        }
    }

    /// Numbers that the sent part of the nonce suggests. How it is made is up to the sender: it counts from zero or from
    /// anywhere, or is the number under a mask.
    pub(super) fn hints(&self, record: &Record<'_>) -> [Option<u64>; 2] {
        let Protection::Explicit { last, .. } = self else { return [None; 2] };
        let Some(sent) = record.fragment.first_chunk::<SENT>() else { return [None; 2] };
        let sent = u64::from_be_bytes(*sent);
        match last {
            Some(last) => {
                [Some(last.sequence.wrapping_add(sent.wrapping_sub(last.sent))), Some(last.sequence ^ last.sent ^ sent)]
            }
            None => [Some(sent), None],
        }
    }

    /// For TLS 1.3, what tells cheaply which numbers a record cannot have.
    pub(super) fn glimpse(&self, record: &Record<'_>) -> Option<Glimpse> {
        let Protection::Tls13 { aead, suite, keys, .. } = self else { return None };
        let position = record.fragment.len().checked_sub(aead.tag_length() + 1)?;
        let sealed = *record.fragment.get(position)?;
        Some(Glimpse { keystream: Keystream::new(suite.cipher, keys.key(), position)?, iv: keys.iv, sealed })
    }
}

/// The last byte of what a record of TLS 1.3 protects: a content type, or padding.
pub(super) struct Glimpse {
    keystream: Keystream,
    iv: [u8; 12],
    sealed: u8,
}

impl Glimpse {
    pub(super) fn plausible(&self, sequence: u64) -> bool {
        // Padding, alert, handshake, application data: four of 256.
        matches!(self.sealed ^ self.keystream.byte(nonce(&self.iv, sequence)), 0 | 21..=23)
    }
}

/// RFC 8446 5.3.
fn nonce(iv: &[u8; 12], sequence: u64) -> [u8; 12] {
    let mut nonce = *iv;
    nonce.iter_mut().skip(4).zip(sequence.to_be_bytes()).for_each(|(byte, number)| *byte ^= number);
    nonce
}

/// Header of a record: the additional data of TLS 1.3 (RFC 8446 5.2).
fn header(content_type: u8, version: u16, length: usize) -> [u8; 5] {
    let ([a, b], [c, d]) = (version.to_be_bytes(), (length as u16).to_be_bytes());
    [content_type, a, b, c, d]
}

/// Number and header, with the length of the content: the additional data of TLS 1.2, and what its codes begin with
/// (RFC 5246 6.2.3).
fn additional(sequence: u64, content_type: u8, version: u16, length: usize) -> [u8; 13] {
    let mut bytes = [0; 13];
    bytes[..8].copy_from_slice(&sequence.to_be_bytes());
    bytes[8..].copy_from_slice(&header(content_type, version, length));
    bytes
}

/// Whether an HMAC over `parts` begins with, and is, `code`.
pub(super) fn vouches(key: &hmac::Key, parts: [&[u8]; 2], code: &[u8]) -> bool {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref() == code
}
