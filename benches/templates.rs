//! What it costs to place a call, and to learn from it: `cargo bench --bench templates`.
//!
//! Paths of three to five segments over 60 endpoints with numbers, UUIDs and slugs, called by 1,000 clients.

use apitap::endpoint::{HashKey, Place, Settings, Success, Templates};
use apitap::time::Timestamp;
use divan::Bencher;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn main() {
    divan::main();
}

const CALLS: usize = 10_000;

fn calls() -> Vec<(String, u64)> {
    let mut random = StdRng::seed_from_u64(1);
    let path = |random: &mut StdRng| {
        let name = "abcdefgh".repeat(1 + random.random_range(0..5));
        match random.random_range(0..3) {
            0 => format!("/v1/things{name}/{}", random.random_range(0..9_999)),
            1 => format!("/v1/kinds{name}/red-{}-shoes", "klmnopqr".repeat(random.random_range(0..4))),
            _ => format!("/v1/orders{name}/3f2504e0-4f89-11d3-9a0c-0305e82c33{:02}/items", random.random_range(10..99)),
        }
    };
    (0..CALLS).map(|_| (path(&mut random), random.random_range(0..1_000))).collect()
}

fn learn(templates: &mut Templates, calls: &[(String, u64)]) {
    for (position, (path, client)) in calls.iter().enumerate() {
        let time = Timestamp::from_parts(position as u64, 0);
        let (host, method, length) = ("api.example:8080", "GET", 500 + position as u64 % 90);
        templates.learn(&Success { host, path, method, client: *client, time, length, page: false });
    }
}

#[divan::bench]
fn place(bencher: Bencher<'_, '_>) {
    let calls = calls();
    let mut templates = Templates::new(Settings::default(), HashKey::default());
    learn(&mut templates, &calls);
    let mut place = Place::default();
    bencher.counter(divan::counter::ItemsCount::new(CALLS)).bench_local(|| {
        for (path, _) in &calls {
            templates.place(&mut place, Some("api.example:8080"), path);
        }
    });
}

#[divan::bench]
fn learn_known(bencher: Bencher<'_, '_>) {
    let calls = calls();
    let mut templates = Templates::new(Settings::default(), HashKey::default());
    learn(&mut templates, &calls);
    bencher.counter(divan::counter::ItemsCount::new(CALLS)).bench_local(|| learn(&mut templates, &calls));
}

#[divan::bench]
fn pure_function(bencher: Bencher<'_, '_>) {
    let calls = calls();
    let mut place = Place::default();
    bencher.counter(divan::counter::ItemsCount::new(CALLS)).bench_local(|| {
        for (path, _) in &calls {
            place.set(Some("api.example:8080"), path);
        }
    });
}
