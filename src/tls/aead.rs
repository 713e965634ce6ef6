//! Ciphers that authenticate: GCM and ChaCha20-Poly1305 by `ring`, CCM by RustCrypto, which is slower and rare.

use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher, StreamCipherSeek};
use aes::{Aes128Enc, Aes256Enc};
use ccm::aead::AeadInOut;
use ccm::consts::{U8, U12, U16};
use ring::aead::{AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::suite::Cipher;

/// A cipher with its key.
pub(super) enum Aead {
    /// GCM, ChaCha20-Poly1305.
    Ring(Box<LessSafeKey>),
    Ccm128(Box<ccm::Ccm<Aes128Enc, U16, U12>>),
    Ccm128Short(Box<ccm::Ccm<Aes128Enc, U8, U12>>),
    Ccm256(Box<ccm::Ccm<Aes256Enc, U16, U12>>),
    Ccm256Short(Box<ccm::Ccm<Aes256Enc, U8, U12>>),
}

impl Aead {
    /// None for a key of another length, and for CBC.
    pub(super) fn new(cipher: Cipher, key: &[u8]) -> Option<Aead> {
        let ring = |algorithm| {
            let key = UnboundKey::new(algorithm, key).ok()?;
            Some(Aead::Ring(Box::new(LessSafeKey::new(key))))
        };
        match cipher {
            Cipher::Aes128Gcm => ring(&AES_128_GCM),
            Cipher::Aes256Gcm => ring(&AES_256_GCM),
            Cipher::Chacha20Poly1305 => ring(&CHACHA20_POLY1305),
            Cipher::Aes128Ccm => Some(Aead::Ccm128(Box::new(ccm::Ccm::new_from_slice(key).ok()?))),
            Cipher::Aes128Ccm8 => Some(Aead::Ccm128Short(Box::new(ccm::Ccm::new_from_slice(key).ok()?))),
            Cipher::Aes256Ccm => Some(Aead::Ccm256(Box::new(ccm::Ccm::new_from_slice(key).ok()?))),
            Cipher::Aes256Ccm8 => Some(Aead::Ccm256Short(Box::new(ccm::Ccm::new_from_slice(key).ok()?))),
            Cipher::Aes128Cbc(_) | Cipher::Aes256Cbc(_) => None,
        }
    }

    /// Bytes of the tag at the end of what is sealed.
    pub(super) fn tag_length(&self) -> usize {
        match self {
            Aead::Ccm128Short(_) | Aead::Ccm256Short(_) => 8,
            _ => 16,
        }
    }

    /// Opens `bytes`, what is sealed with its tag, in place and without the tag. Where false, what is in `bytes` has no
    /// meaning.
    pub(super) fn open(&self, nonce: [u8; 12], additional: &[u8], bytes: &mut Vec<u8>) -> bool {
        match self {
            Aead::Ring(key) => {
                let additional = ring::aead::Aad::from(additional);
                let opened = key.open_in_place(Nonce::assume_unique_for_key(nonce), additional, bytes);
                let Ok(length) = opened.map(|content| content.len()) else { return false };
                bytes.truncate(length);
                true
            }
            Aead::Ccm128(key) => key.decrypt_in_place(&nonce.into(), additional, bytes).is_ok(),
            Aead::Ccm128Short(key) => key.decrypt_in_place(&nonce.into(), additional, bytes).is_ok(),
            Aead::Ccm256(key) => key.decrypt_in_place(&nonce.into(), additional, bytes).is_ok(),
            Aead::Ccm256Short(key) => key.decrypt_in_place(&nonce.into(), additional, bytes).is_ok(),
        }
    }
}

/// One byte of the key stream of these ciphers, for many nonces: all of them are stream ciphers under their tag.
pub(super) struct Keystream {
    generator: Generator,
    position: usize,
}

enum Generator {
    Gcm128(Box<Aes128Enc>),
    Gcm256(Box<Aes256Enc>),
    Ccm128(Box<Aes128Enc>),
    Ccm256(Box<Aes256Enc>),
    Chacha20([u8; 32]),
}

impl Keystream {
    /// For the byte at `position` of the content; none for CBC.
    pub(super) fn new(cipher: Cipher, key: &[u8], position: usize) -> Option<Keystream> {
        let aes128 = || Aes128Enc::new_from_slice(key).ok().map(Box::new);
        let aes256 = || Aes256Enc::new_from_slice(key).ok().map(Box::new);
        let generator = match cipher {
            Cipher::Aes128Gcm => Generator::Gcm128(aes128()?),
            Cipher::Aes256Gcm => Generator::Gcm256(aes256()?),
            Cipher::Aes128Ccm | Cipher::Aes128Ccm8 => Generator::Ccm128(aes128()?),
            Cipher::Aes256Ccm | Cipher::Aes256Ccm8 => Generator::Ccm256(aes256()?),
            Cipher::Chacha20Poly1305 => Generator::Chacha20(key.try_into().ok()?),
            Cipher::Aes128Cbc(_) | Cipher::Aes256Cbc(_) => return None,
        };
        Some(Keystream { generator, position })
    }

    pub(super) fn byte(&self, nonce: [u8; 12]) -> u8 {
        let (block, within) = (self.position / 16, self.position % 16);
        match &self.generator {
            Generator::Gcm128(aes) => encrypted(&**aes, gcm_counter(nonce, block), within),
            Generator::Gcm256(aes) => encrypted(&**aes, gcm_counter(nonce, block), within),
            Generator::Ccm128(aes) => encrypted(&**aes, ccm_counter(nonce, block), within),
            Generator::Ccm256(aes) => encrypted(&**aes, ccm_counter(nonce, block), within),
            Generator::Chacha20(key) => {
                let mut byte = [0];
                let mut chacha = chacha20::ChaCha20::new(key.into(), &nonce.into());
                // Its first block makes the key of the tag (RFC 8439 2.8).
                if chacha.try_seek(64 + self.position as u64).is_ok() {
                    chacha.apply_keystream(&mut byte);
                }
                byte[0]
            }
        }
    }
}

fn encrypted<C>(aes: &C, block: [u8; 16], within: usize) -> u8
where
    C: BlockCipherEncrypt<BlockSize = U16>,
{
    let mut block = block.into();
    aes.encrypt_block(&mut block);
    block.get(within).copied().unwrap_or_default()
}

/// The counter of a block of the content; the first is of the tag (NIST SP 800-38D 7.1).
fn gcm_counter(nonce: [u8; 12], block: usize) -> [u8; 16] {
    let mut counter = [0; 16];
    counter[..12].copy_from_slice(&nonce);
    counter[12..].copy_from_slice(&(block as u32 + 2).to_be_bytes());
    counter
}

/// The same with a length of three bytes, and so of the counter (RFC 3610 2.3).
fn ccm_counter(nonce: [u8; 12], block: usize) -> [u8; 16] {
    let mut counter = [0; 16];
    counter[12..].copy_from_slice(&(block as u32 + 1).to_be_bytes()); // of three bytes, as records are short
    counter[0] = 2;
    counter[1..13].copy_from_slice(&nonce);
    counter
}
