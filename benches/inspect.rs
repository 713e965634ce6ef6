//! What inspection costs: `cargo bench --bench inspect`.
//!
//! The JSON resembles what user APIs answer: an e-mail address, a telephone number, a hexadecimal id and prose in each
//! record of some 270 bytes.

use apitap::inspect::{CredentialHeaders, Inspector, KnownCredentials, Rules, Scans, Settings, Side};
use apitap::key::Key;
use divan::Bencher;
use divan::counter::BytesCount;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn main() {
    divan::main();
}

const PIECE: usize = 16 * 1024;

fn inspector() -> Inspector {
    let rules = Rules::load(None).expect("the compiled-in rules are right");
    Inspector::new(&rules, Settings { body_limit: u64::MAX, ..Settings::default() }, Key::from_bytes([7; 16]))
}

fn records(bytes: usize) -> Vec<u8> {
    const NAMES: [&str; 8] = ["ana", "bo", "cy", "dee", "eli", "fay", "gus", "hal"];
    let mut random = StdRng::seed_from_u64(7);
    let mut text = String::from("[");
    let mut number = 0;
    while text.len() < bytes {
        let name = NAMES[random.random_range(0..8)];
        let notes: Vec<&str> = (0..random.random_range(3..40)).map(|_| NAMES[random.random_range(0..8)]).collect();
        text.push_str(&format!(
            r#"{{"id": {number}, "uuid": "{:032x}", "name": "{name}{number}", "email": "{name}{number}@example.com", "phone": "+1-202-555-{:04}", "balance": {}.{}, "tags": ["{name}", "cy"], "notes": "{}"}}, "#,
            random.random::<u128>(),
            random.random_range(0..10_000),
            random.random_range(0..10_000),
            random.random_range(10..100),
            notes.join(" "),
        ));
        number += 1;
    }
    text.into_bytes()
}

fn whole(bencher: Bencher<'_, '_>, body: &[u8]) {
    let inspector = inspector();
    let mut idle = Scans::default();
    bencher.counter(BytesCount::new(body.len())).bench_local(|| {
        let mut scan = inspector.begin(Side::Response, Some("application/json"), &mut idle).expect("JSON is looked at");
        for piece in body.chunks(PIECE) {
            inspector.data(&mut scan, piece, false);
        }
        inspector.finish(scan, &mut idle)
    });
}

#[divan::bench]
fn json_of_users(bencher: Bencher<'_, '_>) {
    whole(bencher, &records(1 << 20));
}

#[divan::bench]
fn prose(bencher: Bencher<'_, '_>) {
    whole(bencher, &b"The quick brown fox jumps over the lazy dog, and nobody knows why it should. ".repeat(1 << 14));
}

#[divan::bench]
fn numbers(bencher: Bencher<'_, '_>) {
    let mut random = StdRng::seed_from_u64(7);
    let text: Vec<String> = (0..60_000).map(|_| random.random_range(0..u64::MAX >> 10).to_string()).collect();
    whole(bencher, text.join(",").as_bytes());
}

#[divan::bench(args = ["AKIA", "@a.b", "eyJhbGci", "4539148803436467,", "-----BEGIN ", "secret=", "1 ", "A1 "])]
fn hostile(bencher: Bencher<'_, '_>, pattern: &str) {
    whole(bencher, pattern.repeat((1 << 20) / pattern.len()).as_bytes());
}

#[divan::bench]
fn small_body(bencher: Bencher<'_, '_>) {
    whole(bencher, &records(1200));
}

#[divan::bench(args = ["/v1/orders?page=2&sort=-created", "/v1/users/8f14e45f-ceea-467a-9a36-dedd4bea2543/orders"])]
fn target(bencher: Bencher<'_, '_>, target: &str) {
    let inspector = inspector();
    bencher.bench_local(|| inspector.target(divan::black_box(target)).1.len());
}

#[divan::bench]
fn credential(bencher: Bencher<'_, '_>) {
    let inspector = inspector();
    let headers = CredentialHeaders {
        authorization: Some(b"Bearer 0123456789abcdef0123456789abcdef"),
        target: "/v1/orders?page=2",
        ..CredentialHeaders::default()
    };
    let mut known = KnownCredentials::default();
    bencher.bench_local(|| inspector.credential(divan::black_box(&headers), &mut known));
}
