//! What is called: host, method and the path with its parameters taken out.
//!
//! [`Templates`] learns from good answers which segments of a path are parameters. [`template()`] is a pure
//! function of the path, which the detectors use for now: a segment that looks like an identifier becomes `{id}`.
//! [`EndpointId`] is all that the detectors know an endpoint by.

mod path;
mod shape;
mod template;
mod templates;

use serde::{Deserialize, Serialize};

use crate::call::Operation;
use crate::key::Key;

pub use path::MAX_SEGMENTS;
pub use shape::{Kind, Kinds};
pub use template::template;
pub use templates::{Entry, Merged, Move, Parameter, Settings, Success, Tallies, Templates};

/// Whether a segment of a path is a token or a code by its shape; of a long one, its beginning.
pub(crate) fn is_token(segment: &str) -> bool {
    let begin = segment.get(..path::MAX_SEGMENT_BYTES).unwrap_or(segment);
    shape::kind(begin, false) == Some(Kind::Token)
}

/// Names an endpoint: a keyed hash of host, method and template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct EndpointId(pub u64);

/// Host and template of a call, without its method; the buffers are used again for the next call.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Lower case, without the port; empty when the request had none.
    pub host: String,
    /// The path with its parameters taken out.
    pub template: String,
    /// True when the template has a parameter.
    pub parameterised: bool,
    /// The template has answered well to some method. Of learned templates only.
    pub known: bool,
    /// The path is none that the server has; it answers whatever is asked for there. Of learned templates only.
    pub catch_all: bool,
    /// Where the label of an operation begins in the template, behind a space.
    label: Option<usize>,
    segments: path::Segments,
    /// The nodes of the tree of templates that the path led through, from the host on, if it led to the end in the way
    /// that any answer would lead.
    nodes: Vec<u32>,
    settled: bool,
    /// The host came as it stands here.
    plain: bool,
}

impl Place {
    /// Sets it to that of a call.
    pub fn set(&mut self, host: Option<&str>, path: &str) {
        self.set_host(host.unwrap_or_default());
        self.template.clear();
        self.parameterised = template(path, &mut self.template);
        (self.known, self.catch_all, self.label) = (false, false, None);
    }

    /// The template without the label of an operation.
    pub fn path(&self) -> &str {
        self.label.and_then(|label| self.template.get(..label)).unwrap_or(&self.template)
    }

    /// Sets the host, by what a request says. One after the other most say the same.
    fn set_host(&mut self, host: &str) {
        if self.plain && self.host == host {
            return;
        }
        self.host.clear();
        self.plain = normalise_host(host, &mut self.host);
    }

    /// The label of the operation that was asked for.
    pub fn operation(&self) -> Option<&str> {
        self.template.get(self.label? + 1..)
    }

    /// Sets it to that of an operation at this place: its label becomes part of the template, so that one URL with a
    /// thousand operations is a thousand places. What is not known of an operation leaves the place as it is, and where
    /// there is nothing whatever is asked for, no operation is told apart.
    ///
    /// [`Templates`] know paths only: when they make paths one, operations there are learned anew.
    pub fn ask(&mut self, operation: &Operation) {
        if self.catch_all {
            return;
        }
        let path = self.template.len();
        self.template.push(' ');
        operation.label(&mut self.template);
        if self.template.len() == path + 1 {
            self.template.truncate(path);
        } else {
            self.label = Some(path);
        }
    }

    /// The hash of host and template.
    pub fn hash(&self, key: &HashKey) -> u64 {
        key.hash(&[self.host.as_bytes(), self.template.as_bytes()])
    }
}

impl EndpointId {
    /// Of a method (`GET` for `HEAD`, which asks for what a `GET` would get) at a place.
    pub fn of(key: &HashKey, place: &Place, method: &str) -> EndpointId {
        EndpointId::of_template(key, &place.host, &place.template, method)
    }

    /// The same, by host and template: for those that [`Merged`] tells of.
    pub fn of_template(key: &HashKey, host: &str, template: &str, method: &str) -> EndpointId {
        EndpointId::at(key, key.hash(&[host.as_bytes(), template.as_bytes()]), method)
    }

    /// The same, by [`Place::hash`].
    #[inline]
    pub fn at(key: &HashKey, place: u64, method: &str) -> EndpointId {
        EndpointId(key.pair(place, method_hash(key, method)))
    }
}

/// A number for each of the usual methods, the keyed hash of any other.
#[inline]
pub(crate) fn method_hash(key: &HashKey, method: &str) -> u64 {
    match method {
        "GET" | "HEAD" => 1,
        "POST" => 2,
        "PUT" => 3,
        "DELETE" => 4,
        "PATCH" => 5,
        other => key.hash(&[other.as_bytes()]),
    }
}

/// The key of the hashes that the tables after the call are built on: who calls must not be able to choose them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashKey([u8; 16]);

impl HashKey {
    /// From 16 bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        HashKey(bytes)
    }

    /// From the installation's key, for one purpose.
    pub fn derived(key: &Key, purpose: &str) -> Self {
        let (one, two) = (key.fingerprint(purpose, b"0").0, key.fingerprint(purpose, b"1").0);
        let mut bytes = [0; 16];
        for (byte, value) in bytes.iter_mut().zip(one.to_le_bytes().into_iter().chain(two.to_le_bytes())) {
            *byte = value;
        }
        HashKey(bytes)
    }

    /// The keyed hash of some byte strings, their borders included: a folded multiplication for each 16 bytes (Wang Yi
    /// 2019), a third of the work of SipHash-1-3 for a host and a template. Nobody outside sees what comes of it.
    #[inline]
    pub fn hash(&self, parts: &[&[u8]]) -> u64 {
        let (low, high) = self.words();
        let mut hash = high;
        for part in parts {
            let mut chunks = part.chunks_exact(16);
            for chunk in &mut chunks {
                hash = fold(word(chunk, 0) ^ low, word(chunk, 8) ^ hash);
            }
            let (one, two) = tail(chunks.remainder());
            // The length tells where a part ends, and zeros at its end from nothing.
            hash = fold(one ^ low, two ^ hash) ^ (part.len() as u64).wrapping_mul(high | 1);
        }
        fold(hash ^ low, high)
    }

    /// The key, with constants of many bits so that one of zeros does no harm.
    #[inline]
    fn words(&self) -> (u64, u64) {
        (word(&self.0, 0) ^ 0x9e37_79b9_7f4a_7c15, word(&self.0, 8) ^ 0xd1b5_4a32_d192_ed03)
    }

    /// The keyed hash of two words, which are keyed hashes themselves, addresses, or few: two folded multiplications (Wang Yi 2019),
    /// a tenth of the work of [`HashKey::hash`]. Nobody outside sees what comes of it.
    #[inline]
    pub fn pair(&self, one: u64, two: u64) -> u64 {
        let (low, high) = self.words();
        fold(fold(one ^ low, two ^ high) ^ high, low | 1)
    }
}

/// The two halves of a product, one over the other.
#[inline]
fn fold(one: u64, two: u64) -> u64 {
    let product = u128::from(one) * u128::from(two);
    product as u64 ^ (product >> 64) as u64
}

/// The eight bytes that begin at a place; 0 where there are fewer.
#[inline]
fn word(bytes: &[u8], from: usize) -> u64 {
    bytes.get(from..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_le_bytes(*word))
}

/// All of fewer than 16 bytes in two words, which may overlap: with the number of bytes they say all.
#[inline]
fn tail(bytes: &[u8]) -> (u64, u64) {
    let half = |from: usize| {
        bytes.get(from..).and_then(<[u8]>::first_chunk).map_or(0, |half| u64::from(u32::from_le_bytes(*half)))
    };
    match bytes.len() {
        8.. => (word(bytes, 0), word(bytes, bytes.len() - 8)),
        4.. => (half(0), half(bytes.len() - 4)),
        _ => (bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)), 0),
    }
}

/// Appends `host` in lower case, without port, trailing dot and user information. True when that is how it came.
fn normalise_host(host: &str, out: &mut String) -> bool {
    // Most are in that form already.
    let usual = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
    if host.len() <= 255 && host.bytes().all(usual) && !host.ends_with('.') {
        out.push_str(host);
        return true;
    }
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host).trim();
    let port = match host.rfind(']') {
        Some(bracket) => host.get(bracket..).and_then(|rest| rest.find(':')).map(|colon| bracket + colon),
        None => host.find(':'),
    };
    let name = port.and_then(|colon| host.get(..colon)).unwrap_or(host).trim_end_matches('.');
    out.extend(name.chars().take(255).map(|letter| letter.to_ascii_lowercase()));
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Protocol, Unread};

    #[test]
    fn hosts_are_normalised() {
        for (host, expected) in [
            ("Shop.Example:8080", "shop.example"),
            ("shop.example.", "shop.example"),
            ("[2001:DB8::1]:443", "[2001:db8::1]"),
            ("user@shop.example", "shop.example"),
            ("", ""),
        ] {
            let mut out = String::new();
            normalise_host(host, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn operations_are_places_of_their_own() {
        let at = |operation: Operation| {
            let mut place = Place::default();
            place.set(Some("shop.example"), "/rpc/7");
            place.ask(&operation);
            place.template
        };
        let protocol = Protocol::JsonRpc;
        assert_eq!(at(Operation { protocol, name: Some("add".into()), ..Operation::default() }), "/rpc/{id} add");
        assert_eq!(at(Operation::unread(protocol, Unread::TooLarge)), "/rpc/{id}");
    }

    #[test]
    fn borders_count_in_hashes() {
        let key = HashKey::default();
        assert_ne!(key.hash(&[b"ab", b"c"]), key.hash(&[b"a", b"bc"]));
        assert_ne!(key.pair(1, 2), key.pair(2, 1));
    }

    #[test]
    fn every_bit_of_every_byte_counts_in_hashes() {
        let key = HashKey::default();
        let mut seen = std::collections::BTreeSet::new();
        let mut texts = 0;
        for length in 0..70 {
            let plain = vec![0u8; length];
            assert!(seen.insert(key.hash(&[&plain])), "zeros count: {length}");
            texts += 1;
            for bit in 0..8 * length {
                let mut text = plain.clone();
                text[bit / 8] ^= 1 << (bit % 8);
                assert!(seen.insert(key.hash(&[&text])), "{bit} of {length}");
                texts += 1;
            }
        }
        assert_eq!(seen.len(), texts);
        // Each bit of the result is set in half of them.
        for bit in 0..64 {
            let set = seen.iter().filter(|hash| *hash >> bit & 1 == 1).count();
            assert!(set.abs_diff(texts / 2) < texts / 20, "{bit}: {set} of {texts}");
        }
    }
}
