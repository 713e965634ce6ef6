//! Cost of opening records of TLS, and of finding their numbers after a loss; and of a look into a key log.
//!
//! Records hold 16 KiB, as large transfers have them, or 1 KiB, as many answers of APIs have.

use std::fmt::Write;

use apitap::time::Timestamp;
use apitap::tls::keylog::{self, KeyLog};
use apitap::tls::open::{Opener, Settings};
use apitap::tls::schedule::{Randoms, Secret, Sender};
use apitap::tls::suite::Suite;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;

fn main() {
    divan::main();
}

const RECORDS: u64 = 64;

/// `HKDF-Expand-Label` of one block, so that the bench can seal for itself.
fn expand(secret: &[u8], label: &[u8], length: usize, hash: hmac::Algorithm) -> Vec<u8> {
    let info = [&(length as u16).to_be_bytes()[..], &[6 + label.len() as u8], b"tls13 ", label, &[0, 1]].concat();
    hmac::sign(&hmac::Key::new(hash, secret), &info).as_ref()[..length].to_vec()
}

/// Fragments of TLS 1.3 with these numbers, and who opens them.
fn sealed(number: u16, numbers: impl Iterator<Item = u64>, content: usize) -> (Vec<Vec<u8>>, Opener) {
    let suite = Suite::of(number).expect("a suite of TLS 1.3");
    let (algorithm, hash) = match number {
        0x1301 => (&AES_128_GCM, hmac::HMAC_SHA256),
        0x1302 => (&AES_256_GCM, hmac::HMAC_SHA384),
        _ => (&CHACHA20_POLY1305, hmac::HMAC_SHA256),
    };
    let secret = vec![7; suite.hash.length()];
    let key = expand(&secret, b"key", suite.cipher.key_length(), hash);
    let vector = expand(&secret, b"iv", 12, hash);
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &key).expect("of its length"));
    let seal = |number: u64| {
        let mut nonce: [u8; 12] = vector[..].try_into().expect("of its length");
        nonce[4..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, part)| *byte ^= part);
        let mut bytes = vec![b'x'; content];
        bytes.push(23);
        let [high, low] = (bytes.len() as u16 + 16).to_be_bytes();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, Aad::from([23, 3, 3, high, low]), &mut bytes).expect("short enough");
        bytes
    };
    let secret = Secret::new(&secret).expect("of its length");
    (numbers.map(seal).collect(), Opener::tls13(&suite, &secret, &Settings::default()).expect("of TLS 1.3"))
}

/// AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305.
#[divan::bench(args = [(0x1301, 16_384), (0x1301, 1_024), (0x1302, 16_384), (0x1303, 16_384)])]
fn records_in_order(bencher: Bencher, (suite, content): (u16, usize)) {
    bencher
        .counter(BytesCount::new(RECORDS * content as u64))
        .with_inputs(|| (sealed(suite, 0..RECORDS, content), Vec::with_capacity(20_000)))
        .bench_local_refs(|((fragments, opener), out)| {
            for fragment in fragments {
                assert!(opener.open(23, 0x0303, fragment, out).is_ok());
            }
        });
}

/// The first record behind so many lost ones.
#[divan::bench(args = [(0x1301, 10), (0x1301, 1_000), (0x1301, 4_000), (0x1303, 1_000)])]
fn a_record_behind_a_loss(bencher: Bencher, (suite, missing): (u16, u64)) {
    bencher.with_inputs(|| (sealed(suite, [missing].into_iter(), 1_024), Vec::with_capacity(20_000))).bench_local_refs(
        |((fragments, opener), out)| {
            opener.lost(missing * 1_046);
            for fragment in fragments {
                assert!(opener.open(23, 0x0303, fragment, out).is_ok());
            }
        },
    );
}

/// All that garbage behind a feigned loss can cost at once.
#[divan::bench(args = [0x1301, 0x1303, 0xcca8, 0x003d])]
fn a_search_in_vain(bencher: Bencher, suite: u16) {
    let opener = || {
        let suite = Suite::of(suite).expect("a suite");
        let secret = |length| Secret::new(&vec![7; length]).expect("not too long");
        match suite.tls13 {
            true => Opener::tls13(&suite, &secret(suite.hash.length()), &Settings::default()),
            false => {
                let randoms = Randoms { client: &[1; 32], server: &[2; 32] };
                Opener::tls12(&suite, &secret(48), &randoms, Sender::Client, false, &Settings::default())
            }
        }
    };
    let garbage = vec![0xee; 16_384];
    bencher.with_inputs(|| (opener().expect("of its version"), Vec::with_capacity(20_000))).bench_local_refs(
        |(opener, out)| {
            opener.lost(u64::MAX / 2);
            assert!(opener.open(23, 0x0303, &garbage, out).is_err());
        },
    );
}

#[divan::bench]
fn looks_into_a_key_log_of_100_000(bencher: Bencher) {
    let log = KeyLog::new(&keylog::Settings::default());
    let mut text = String::new();
    for number in 0..100_000 {
        let _ = writeln!(text, "CLIENT_RANDOM {number:064x} {}", "5a".repeat(48));
    }
    log.add(text.as_bytes(), KeyLog::ALWAYS);
    let randoms: Vec<[u8; 32]> = (0..1_000_u32)
        .map(|number| {
            let mut random = [0; 32];
            random[28..].copy_from_slice(&(number * 97).to_be_bytes());
            random
        })
        .collect();
    bencher
        .counter(ItemsCount::new(randoms.len()))
        .bench_local(|| randoms.iter().filter(|random| log.find(random, Timestamp::ZERO).is_some()).count());
}
