//! From secrets to keys: the pseudorandom function of TLS 1.2 (RFC 5246 5) and the key schedule of TLS 1.3
//! (RFC 8446 7).

use std::fmt;

use ring::hmac;

use super::suite::{Hash, Suite};

/// Bytes of the longest secret: a master secret, or a traffic secret of SHA-384.
pub const MAX_SECRET: usize = 48;

/// Bytes of the longest key block: two keys of HMAC-SHA-384 and two of AES-256; or two keys of 32 bytes and two
/// vectors of 12.
const MAX_KEY_BLOCK: usize = 2 * (48 + 32);

/// A master secret or traffic secret, of up to [`MAX_SECRET`] bytes. Printing it in debug output shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret {
    bytes: [u8; MAX_SECRET],
    length: u8,
}

impl Secret {
    /// Of these bytes; none when there are more than [`MAX_SECRET`].
    pub fn new(bytes: &[u8]) -> Option<Secret> {
        let mut secret = Secret { bytes: [0; MAX_SECRET], length: bytes.len() as u8 };
        secret.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(secret)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The traffic secret that follows this one after a KeyUpdate (RFC 8446 7.2).
    pub(super) fn updated(&self, hash: Hash) -> Secret {
        let mut next = Secret { bytes: [0; MAX_SECRET], length: hash.length() as u8 };
        expand_label(hash, self, b"traffic upd", next.bytes.get_mut(..hash.length()).unwrap_or_default());
        next
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Which side sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Who sent the ClientHello.
    Client,
    /// Who answered it.
    Server,
}

/// What the records of one direction are protected with; what a cipher has no use for is empty or zero.
#[derive(Clone)]
pub(super) struct Keys {
    key: [u8; 32],
    key_length: usize,
    mac_key: [u8; MAX_SECRET],
    mac_key_length: usize,
    /// The vector of TLS 1.3 and ChaCha20, or the four bytes that nonces of TLS 1.2 begin with.
    pub(super) iv: [u8; 12],
}

impl Keys {
    /// Of TLS 1.3 (RFC 8446 7.3).
    pub(super) fn tls13(suite: &Suite, traffic: &Secret) -> Keys {
        let mut keys = Keys::empty(suite);
        let length = keys.key_length;
        expand_label(suite.hash, traffic, b"key", keys.key.get_mut(..length).unwrap_or_default());
        expand_label(suite.hash, traffic, b"iv", &mut keys.iv);
        keys
    }

    /// Of TLS 1.2 (RFC 5246 6.3), for what `sender` sends.
    pub(super) fn tls12(suite: &Suite, master: &Secret, randoms: &Randoms<'_>, sender: Sender) -> Keys {
        let (mac, key, iv) = (suite.cipher.mac_key_length(), suite.cipher.key_length(), suite.cipher.fixed_iv_length());
        let mut block = [0; MAX_KEY_BLOCK];
        let length = 2 * (mac + key + iv);
        let seed = [&randoms.server[..], &randoms.client[..]];
        prf(suite.hash, master, b"key expansion", &seed, block.get_mut(..length).unwrap_or_default());
        // Client's before server's: HMAC keys, then keys, then vectors.
        let nth = usize::from(sender == Sender::Server);
        let part = |before: usize, length: usize| {
            let start = 2 * before + nth * length;
            block.get(start..start + length).unwrap_or_default()
        };
        let mut keys = Keys::empty(suite);
        copy(&mut keys.mac_key, part(0, mac));
        copy(&mut keys.key, part(mac, key));
        copy(&mut keys.iv, part(mac + key, iv));
        keys
    }

    fn empty(suite: &Suite) -> Keys {
        Keys {
            key: [0; 32],
            key_length: suite.cipher.key_length(),
            mac_key: [0; MAX_SECRET],
            mac_key_length: suite.cipher.mac_key_length(),
            iv: [0; 12],
        }
    }

    pub(super) fn key(&self) -> &[u8] {
        self.key.get(..self.key_length).unwrap_or_default()
    }

    pub(super) fn mac_key(&self) -> &[u8] {
        self.mac_key.get(..self.mac_key_length).unwrap_or_default()
    }
}

/// The random values of the two hellos.
#[derive(Clone, Copy, Debug)]
pub struct Randoms<'a> {
    /// Of the ClientHello.
    pub client: &'a [u8; 32],
    /// Of the ServerHello.
    pub server: &'a [u8; 32],
}

/// The hash as `ring` calls it for an HMAC.
pub(super) fn hmac_algorithm(hash: Hash) -> hmac::Algorithm {
    match hash {
        Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha384 => hmac::HMAC_SHA384,
    }
}

/// `HKDF-Expand-Label(secret, label, "", output.len())` (RFC 8446 7.1), of at most one digest, which is all that keys,
/// vectors and secrets take.
fn expand_label(hash: Hash, secret: &Secret, label: &[u8], output: &mut [u8]) {
    let key = hmac::Key::new(hmac_algorithm(hash), secret.bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(&(output.len() as u16).to_be_bytes());
    context.update(&[(PREFIX.len() + label.len()) as u8]);
    context.update(PREFIX);
    context.update(label);
    context.update(&[0, 1]); // no context; the first block of HKDF-Expand (RFC 5869 2.3)
    copy(output, context.sign().as_ref());
}

/// What the labels of TLS 1.3 begin with.
const PREFIX: &[u8] = b"tls13 ";

/// `PRF(secret, label, seed)` (RFC 5246 5), the seed in parts.
fn prf(hash: Hash, secret: &Secret, label: &[u8], seed: &[&[u8]], output: &mut [u8]) {
    let key = hmac::Key::new(hmac_algorithm(hash), secret.bytes());
    let sign = |before: &[u8], seeded: bool| {
        let mut context = hmac::Context::with_key(&key);
        context.update(before);
        if seeded {
            context.update(label);
            seed.iter().for_each(|part| context.update(part));
        }
        context.sign()
    };
    let mut chain = sign(&[], true);
    for part in output.chunks_mut(hash.length()) {
        copy(part, sign(chain.as_ref(), true).as_ref());
        chain = sign(chain.as_ref(), false);
    }
}

/// As many bytes as both have.
fn copy(to: &mut [u8], from: &[u8]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that were sent to the list of the working group when TLS 1.2 was new.
    #[test]
    fn the_pseudorandom_function_gives_the_published_vectors() {
        let vectors = [
            (
                Hash::Sha256,
                "9bbe436ba940f017b17652849a71db35",
                "a0ba9f936cda311827a6f796ffd5198c",
                "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af\
                 0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701\
                 87347b66",
            ),
            (
                Hash::Sha384,
                "b80b733d6ceefcdc71566ea48e5567df",
                "cd665cf6a8447dd6ff8b27555edb7465",
                "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0\
                 e534cb400fed2700884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d918425\
                 9b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee691c8f3a26854308d5eaa3be85e099070\
                 3d73e56f",
            ),
        ];
        for (hash, secret, seed, expected) in vectors {
            let (secret, expected) = (Secret::new(&hex(secret)).unwrap(), hex(expected));
            let mut output = vec![0; expected.len()];
            prf(hash, &secret, b"test label", &[&hex(seed)], &mut output);
            assert_eq!(output, expected, "{hash:?}");
        }
    }

    #[test]
    fn keys_of_the_simple_trace_of_rfc8448() {
        let suite = Suite::of(0x1301).unwrap();
        let cases = [
            // client_handshake_traffic_secret, server_handshake_traffic_secret
            (
                "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21",
                "dbfaa693d1762c5b666af5d950258d01",
                "5bd3c71b836e0b76bb73265f",
            ),
            (
                "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38",
                "3fce516009c21727d0f2e4e86ee403bc",
                "5d313eb2671276ee13000b30",
            ),
        ];
        for (secret, key, iv) in cases {
            let keys = Keys::tls13(&suite, &Secret::new(&hex(secret)).unwrap());
            assert_eq!((keys.key(), &keys.iv[..]), (&hex(key)[..], &hex(iv)[..]));
        }
    }

    #[test]
    fn secrets_have_a_longest() {
        assert!(Secret::new(&[1; MAX_SECRET]).is_some_and(|secret| secret.bytes() == [1; MAX_SECRET]));
        assert!(Secret::new(&[1; MAX_SECRET + 1]).is_none());
        assert!(Secret::new(&[1; 256]).is_none());
    }

    fn hex(text: &str) -> Vec<u8> {
        let value = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
        text.as_bytes().chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
    }
}
