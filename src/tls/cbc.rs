//! AES in cipher block chaining with an HMAC, as TLS 1.2 has it (RFC 5246 6.2.3.2): over the content before it is
//! encrypted, or over what is encrypted (RFC 7366).

use aes::cipher::{Array, BlockModeDecrypt, InnerIvInit, KeyInit};
use aes::{Aes128Dec, Aes256Dec};
use ring::hmac;

use super::protection::vouches;
use super::schedule::hmac_algorithm;
use super::suite::Hash;

const BLOCK: usize = 16;

/// Keys of one direction.
pub(super) struct Cbc {
    cipher: Aes,
    mac_key: hmac::Key,
    mac_length: usize,
    encrypt_then_mac: bool,
}

enum Aes {
    Aes128(Aes128Dec),
    Aes256(Aes256Dec),
}

impl Cbc {
    /// None for a key of another length than AES has.
    pub(super) fn new(key: &[u8], hash: Hash, mac_key: &[u8], encrypt_then_mac: bool) -> Option<Cbc> {
        let cipher = match key.len() {
            16 => Aes::Aes128(Aes128Dec::new_from_slice(key).ok()?),
            _ => Aes::Aes256(Aes256Dec::new_from_slice(key).ok()?),
        };
        let mac_key = hmac::Key::new(hmac_algorithm(hash), mac_key);
        Some(Cbc { cipher, mac_key, mac_length: hash.length(), encrypt_then_mac })
    }

    /// Bytes of the shortest fragment: a vector, and what an empty content takes.
    pub(super) fn least_fragment(&self) -> usize {
        match self.encrypt_then_mac {
            true => 2 * BLOCK + self.mac_length,
            false => BLOCK + (self.mac_length + 1).next_multiple_of(BLOCK),
        }
    }

    /// Whether a fragment of so many bytes, not below the least, has whole blocks.
    pub(super) fn fits(&self, length: usize) -> bool {
        let code = if self.encrypt_then_mac { self.mac_length } else { 0 };
        (length - code).is_multiple_of(BLOCK)
    }

    /// Opens a fragment that fits into `out`, which is empty. `start` is what the code covers before the fragment, for a
    /// length.
    pub(super) fn open(&self, fragment: &[u8], start: impl Fn(usize) -> [u8; 13], out: &mut Vec<u8>) -> bool {
        let mut sealed = fragment;
        if self.encrypt_then_mac {
            let Some((before, code)) = fragment.split_at_checked(fragment.len() - self.mac_length) else {
                return false;
            };
            if !vouches(&self.mac_key, [&start(before.len()), before], code) {
                return false;
            }
            sealed = before;
        }
        let Some((vector, blocks)) = sealed.split_first_chunk::<BLOCK>() else { return false };
        out.extend_from_slice(blocks);
        self.decrypt(vector, out);
        let Some(length) = without_padding(out) else { return false };
        out.truncate(length);
        if self.encrypt_then_mac {
            return true;
        }
        let Some((content, code)) = length.checked_sub(self.mac_length).and_then(|end| out.split_at_checked(end))
        else {
            return false;
        };
        let vouched = vouches(&self.mac_key, [&start(content.len()), content], code);
        out.truncate(length - self.mac_length);
        vouched
    }

    fn decrypt(&self, vector: &[u8; BLOCK], bytes: &mut [u8]) {
        let (blocks, _) = Array::slice_as_chunks_mut(bytes);
        match &self.cipher {
            Aes::Aes128(aes) => cbc::Decryptor::inner_iv_init(aes, vector.into()).decrypt_blocks(blocks),
            Aes::Aes256(aes) => cbc::Decryptor::inner_iv_init(aes, vector.into()).decrypt_blocks(blocks),
        }
    }
}

/// Length of what lies before the padding: its last byte says how many others there are of the same value.
fn without_padding(bytes: &[u8]) -> Option<usize> {
    let &last = bytes.last()?;
    let length = bytes.len().checked_sub(usize::from(last) + 1)?;
    bytes.get(length..)?.iter().all(|&byte| byte == last).then_some(length)
}
