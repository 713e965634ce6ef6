//! Records sealed here: ciphers that rustls does not have, losses, and tampering.

use aes::cipher::{BlockModeEncrypt, KeyIvInit};
use ccm::aead::{Aead as _, KeyInit, Payload};
use ccm::consts::{U8, U12, U16};
use proptest::prelude::*;
use ring::hmac;

use super::*;
use crate::tls::schedule::hmac_algorithm;
use crate::tls::suite::{Cipher, Hash};

const MASTER: [u8; 48] = [0x5a; 48];
const RANDOMS: Randoms<'static> = Randoms { client: &[1; 32], server: &[2; 32] };

/// Of TLS 1.2, with or without encrypt-then-MAC, and of TLS 1.3.
const SUITES: [(u16, bool); 19] = [
    (0xc02f, false), // AES-128-GCM
    (0xc030, false), // AES-256-GCM
    (0xcca8, false), // ChaCha20-Poly1305
    (0xc0ac, false), // AES-128-CCM
    (0xc0ad, false), // AES-256-CCM
    (0xc0ae, false), // AES-128-CCM-8
    (0xc0af, false), // AES-256-CCM-8
    (0x002f, false), // AES-128-CBC, SHA-1
    (0x0035, true),  // AES-256-CBC, SHA-1
    (0x003c, true),  // AES-128-CBC, SHA-256
    (0x003d, false), // AES-256-CBC, SHA-256
    (0xc028, false), // AES-256-CBC, SHA-384
    (0xc024, true),
    (0x1301, false),
    (0x1302, false),
    (0x1303, false),
    (0x1304, false),
    (0x1305, false),
    (0xc023, false), // AES-128-CBC, SHA-256
];

/// One side of a connection; it seals what an opener is to open.
struct Sealer {
    suite: Suite,
    keys: Keys,
    traffic: Secret,
    encrypt_then_mac: bool,
    sequence: u64,
    /// How the sent part of nonces comes from the number.
    sent: fn(u64) -> u64,
}

impl Sealer {
    fn pair(number: u16, encrypt_then_mac: bool) -> (Sealer, Opener) {
        let suite = Suite::of(number).unwrap();
        let traffic = Secret::new(&[0xa5; 48][..suite.hash.length()]).unwrap();
        let master = Secret::new(&MASTER).unwrap();
        let (keys, opener) = match suite.tls13 {
            true => (Keys::tls13(&suite, &traffic), Opener::tls13(&suite, &traffic, &settings())),
            false => (
                Keys::tls12(&suite, &master, &RANDOMS, Sender::Server),
                Opener::tls12(&suite, &master, &RANDOMS, Sender::Server, encrypt_then_mac, &settings()),
            ),
        };
        let sent = |sequence| sequence;
        (Sealer { suite, keys, traffic, encrypt_then_mac, sequence: 0, sent }, opener.unwrap())
    }

    fn update(&mut self) {
        self.traffic = self.traffic.updated(self.suite.hash);
        self.keys = Keys::tls13(&self.suite, &self.traffic);
        self.sequence = 0;
    }

    /// Outer content type and fragment.
    fn seal(&mut self, content_type: u8, content: &[u8], padding: usize) -> (u8, Vec<u8>) {
        let number = self.sequence.to_be_bytes();
        self.sequence += 1;
        let mut nonce = self.keys.iv;
        let mut xored = self.keys.iv;
        xored[4..].iter_mut().zip(number).for_each(|(byte, part)| *byte ^= part);
        let additional = |length: usize| {
            let length = (length as u16).to_be_bytes();
            [&number[..], &[content_type, 3, 3], &length].concat()
        };
        if self.suite.tls13 {
            let inner = [content, &[content_type], &vec![0; padding]].concat();
            let tag = if self.suite.cipher == Cipher::Aes128Ccm8 { 8 } else { 16 };
            let length = ((inner.len() + tag) as u16).to_be_bytes();
            return (23, self.aead(xored, &[&[23, 3, 3], &length[..]].concat(), &inner));
        }
        let fragment = match self.suite.cipher {
            Cipher::Aes128Cbc(hash) | Cipher::Aes256Cbc(hash) => self.cbc(hash, &additional, content, padding),
            Cipher::Chacha20Poly1305 => self.aead(xored, &additional(content.len()), content),
            _ => {
                let sent = (self.sent)(self.sequence - 1).to_be_bytes();
                nonce[4..].copy_from_slice(&sent);
                [sent.to_vec(), self.aead(nonce, &additional(content.len()), content)].concat()
            }
        };
        (content_type, fragment)
    }

    fn aead(&self, nonce: [u8; 12], aad: &[u8], msg: &[u8]) -> Vec<u8> {
        let (key, payload) = (self.keys.key(), Payload { msg, aad });
        let nonce = nonce.into();
        let sealed = match self.suite.cipher {
            Cipher::Aes128Ccm => {
                ccm::Ccm::<aes::Aes128, U16, U12>::new_from_slice(key).unwrap().encrypt(&nonce, payload)
            }
            Cipher::Aes128Ccm8 => {
                ccm::Ccm::<aes::Aes128, U8, U12>::new_from_slice(key).unwrap().encrypt(&nonce, payload)
            }
            Cipher::Aes256Ccm => {
                ccm::Ccm::<aes::Aes256, U16, U12>::new_from_slice(key).unwrap().encrypt(&nonce, payload)
            }
            Cipher::Aes256Ccm8 => {
                ccm::Ccm::<aes::Aes256, U8, U12>::new_from_slice(key).unwrap().encrypt(&nonce, payload)
            }
            cipher => {
                let algorithm = match cipher {
                    Cipher::Aes128Gcm => &ring::aead::AES_128_GCM,
                    Cipher::Aes256Gcm => &ring::aead::AES_256_GCM,
                    _ => &ring::aead::CHACHA20_POLY1305,
                };
                let key = ring::aead::LessSafeKey::new(ring::aead::UnboundKey::new(algorithm, key).unwrap());
                let mut bytes = msg.to_vec();
                let nonce = ring::aead::Nonce::assume_unique_for_key(nonce.into());
                key.seal_in_place_append_tag(nonce, ring::aead::Aad::from(aad), &mut bytes).unwrap();
                return bytes;
            }
        };
        sealed.unwrap()
    }

    /// `padding` more blocks than needed.
    fn cbc(&self, hash: Hash, additional: &dyn Fn(usize) -> Vec<u8>, content: &[u8], padding: usize) -> Vec<u8> {
        let mac_key = hmac::Key::new(hmac_algorithm(hash), self.keys.mac_key());
        let code = |bytes: &[u8]| hmac::sign(&mac_key, &[&additional(bytes.len()), bytes].concat()).as_ref().to_vec();
        let mut plain = content.to_vec();
        if !self.encrypt_then_mac {
            plain.extend(code(content));
        }
        let pad = 15 - plain.len() % 16 + 16 * padding.min(15);
        plain.extend(vec![pad as u8; pad + 1]);
        let vector = [self.sequence as u8; 16];
        let (blocks, []) = aes::cipher::Array::slice_as_chunks_mut(&mut plain) else { unreachable!() };
        match self.suite.cipher {
            Cipher::Aes128Cbc(_) => {
                cbc::Encryptor::<aes::Aes128>::new_from_slices(self.keys.key(), &vector)
                    .unwrap()
                    .encrypt_blocks(blocks);
            }
            _ => {
                cbc::Encryptor::<aes::Aes256>::new_from_slices(self.keys.key(), &vector)
                    .unwrap()
                    .encrypt_blocks(blocks);
            }
        }
        let mut fragment = [&vector[..], &plain].concat();
        if self.encrypt_then_mac {
            fragment.extend(code(&fragment));
        }
        fragment
    }
}

/// Opens a record; gives content type, content and how many are missing.
fn open(opener: &mut Opener, (outer, fragment): &(u8, Vec<u8>)) -> Result<(u8, Vec<u8>, u64), OpenError> {
    let mut out = Vec::new();
    let opened = opener.open(*outer, 0x0303, fragment, &mut out)?;
    Ok((opened.content_type, opened.content.to_vec(), opened.missing))
}

#[test]
fn every_cipher_opens_what_was_sealed() {
    for (number, encrypt_then_mac) in SUITES {
        let (mut sealer, mut opener) = Sealer::pair(number, encrypt_then_mac);
        for length in [0, 1, 15, 16, 17, 47, 48, 255, 4096, 16384] {
            let content: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
            let record = sealer.seal(if length == 1 { 21 } else { 23 }, &content, length % 3);
            let kind = if length == 1 { 21 } else { 23 };
            assert_eq!(open(&mut opener, &record), Ok((kind, content, 0)), "{number:04x}, {length} bytes");
        }
    }
}

#[test]
fn after_a_loss_the_number_is_found() {
    for (number, encrypt_then_mac) in SUITES {
        // ChaCha20 and CBC of TLS 1.2 are opened whole for each number.
        for missing in [1_u64, 2, 30, 100] {
            let (mut sealer, mut opener) = Sealer::pair(number, encrypt_then_mac);
            assert!(open(&mut opener, &sealer.seal(23, b"before", 0)).is_ok());
            let mut lost = 0;
            for at in 0..missing {
                lost += 5 + sealer.seal(23, &vec![7; 100 + at as usize % 9], 0).1.len() as u64;
            }
            let record = sealer.seal(23, &[9; 1000], 0);
            assert_eq!(open(&mut opener, &record), Err(OpenError::Refused), "nobody said that any is missing");
            opener.lost(lost);
            assert_eq!(open(&mut opener, &record), Ok((23, vec![9; 1000], missing)), "{number:04x}, {missing} missing");
            let next = sealer.seal(23, b"next", 0);
            assert_eq!(open(&mut opener, &next), Ok((23, b"next".to_vec(), 0)));
        }
    }
}

#[test]
fn thousands_of_lost_records_are_bridged_where_one_block_tells() {
    for number in [0x1301, 0x1302, 0x1303] {
        let (mut sealer, mut opener) = Sealer::pair(number, false);
        assert!(open(&mut opener, &sealer.seal(23, b"before", 0)).is_ok());
        sealer.sequence += 3000;
        opener.lost(3000 * 1422);
        let record = sealer.seal(23, &[3; 1400], 0);
        assert_eq!(open(&mut opener, &record), Ok((23, vec![3; 1400], 3000)), "{number:04x}");
    }
}

#[test]
fn the_sent_part_of_a_nonce_tells_the_number_however_it_is_made() {
    let ways: [fn(u64) -> u64; 3] = [
        |sequence| sequence,
        |sequence| sequence.wrapping_add(u64::MAX - 5),
        |sequence| sequence ^ 0x1234_5678_9abc_def0,
    ];
    for way in ways {
        let (mut sealer, mut opener) = Sealer::pair(0xc02f, false);
        sealer.sent = way;
        assert!(open(&mut opener, &sealer.seal(22, b"finished", 0)).is_ok());
        sealer.sequence += 1_000_000;
        opener.lost(16_000_000_000);
        let record = sealer.seal(23, &[3; 16384], 0);
        assert_eq!(open(&mut opener, &record), Ok((23, vec![3; 16384], 1_000_000)));
    }
}

#[test]
fn keys_that_changed_in_a_loss_are_found() {
    for number in [0x1301, 0x1303, 0x1304] {
        let (mut sealer, mut opener) = Sealer::pair(number, false);
        assert!(open(&mut opener, &sealer.seal(23, b"before", 0)).is_ok());
        let lost = sealer.seal(22, &[24, 0, 0, 1, 0], 0).1.len();
        sealer.update();
        let more = sealer.seal(23, &[1; 100], 0).1.len();
        opener.lost((lost + more + 10) as u64);
        let record = sealer.seal(23, b"behind", 0);
        assert_eq!(open(&mut opener, &record), Ok((23, b"behind".to_vec(), 2)));
        sealer.update();
        opener.update();
        assert_eq!(open(&mut opener, &sealer.seal(23, b"told", 0)), Ok((23, b"told".to_vec(), 0)));
    }
}

/// Garbage behind feigned losses: the units are spent once, and each record costs one opening from then on.
#[test]
fn garbage_cannot_buy_work() {
    for number in [0x1301, 0xcca8, 0x002f] {
        let (mut sealer, mut opener) = Sealer::pair(number, false);
        let (mut spent, garbage) = (0, (23, vec![0xee; 1024]));
        for _ in 0..200 {
            let before = opener.units;
            opener.lost(u64::MAX / 2);
            assert_eq!(open(&mut opener, &garbage), Err(OpenError::Refused));
            spent += before - opener.units;
        }
        assert!(spent <= settings().search_units);
        // What is in order is still opened, and pays for a little more.
        assert!(open(&mut opener, &sealer.seal(23, b"next", 0)).is_ok());
        assert!(opener.units >= REFILL && opener.units <= REFILL + 8, "{}", opener.units);
    }
}

#[test]
fn padding_without_content_is_told_apart() {
    let (mut sealer, mut opener) = Sealer::pair(0x1301, false);
    let record = sealer.seal(0, &[], 20);
    assert_eq!(open(&mut opener, &record), Err(OpenError::NoContentType));
    assert!(open(&mut opener, &sealer.seal(23, b"next", 0)).is_ok(), "it has taken its number");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_byte_can_be_changed(
        suite in 0..SUITES.len(), content in prop::collection::vec(any::<u8>(), 0..200), padding in 0..3_usize,
        at in any::<prop::sample::Index>(), flip in 1..=255_u8, lost in any::<bool>(),
    ) {
        let (number, encrypt_then_mac) = SUITES[suite];
        let (mut sealer, mut opener) = Sealer::pair(number, encrypt_then_mac);
        let record = sealer.seal(23, &content, padding);
        let mut changed = record.clone();
        let at = at.index(changed.1.len());
        changed.1[at] ^= flip;
        if lost {
            opener.lost(3000);
        }
        prop_assert_eq!(open(&mut opener, &changed), Err(OpenError::Refused));
        let mut cut = record.clone();
        cut.1.pop();
        prop_assert!(open(&mut opener, &cut).is_err());
        prop_assert_eq!(open(&mut opener, &record), Ok((23, content, 0)));
    }

    #[test]
    fn any_bytes_are_refused(suite in 0..SUITES.len(), fragment in prop::collection::vec(any::<u8>(), 0..400), lost in any::<u64>()) {
        let (number, encrypt_then_mac) = SUITES[suite];
        let (_, mut opener) = Sealer::pair(number, encrypt_then_mac);
        opener.lost(lost);
        prop_assert!(open(&mut opener, &(23, fragment)).is_err());
    }
}
