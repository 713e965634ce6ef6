//! How many calls a second the detector alone takes on one core: `cargo bench --bench detect`.
//!
//! Generated calls of 10,000 (or the first argument's) clients over 60 endpoints, each with a credential of its own, made
//! before the clock starts. `cargo bench --bench detect -- 1000000` for a million.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use apitap::call::{Call, Completeness, Credential, CredentialKind, Fingerprint, FlowId, Message, Peer, Record};
use apitap::detect::{DetectRules, Detector, Settings};
use apitap::time::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CALLS: usize = 200_000;
/// With a million clients nearly all of them come in these rounds.
const ROUNDS: u32 = 20;

fn main() {
    let clients = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(10_000);
    let mut random = StdRng::seed_from_u64(1);
    let mut records: Vec<Record> = (0..CALLS).map(|position| call(&mut random, clients, position).into()).collect();
    let most = 2 * clients as usize;
    let settings = Settings { clients: most, credentials: most, ..Settings::default() };
    let mut detector = Detector::new(settings, DetectRules::default(), |call| Some(call.client.ip));
    let (mut alerts, mut spent) = (Vec::new(), Duration::ZERO);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        detector.records(&records, &mut alerts);
        spent += begin.elapsed();
        // Other clients make the same calls ten minutes later.
        for record in &mut records {
            let Record::Call(call) = record else { continue };
            call.end_time = call.end_time + Duration::from_secs(600);
            made_by(call, random.random_range(0..clients));
        }
    }
    let speed = f64::from(ROUNDS) * CALLS as f64 / spent.as_secs_f64();
    println!("{clients} clients: {speed:.0} calls/s, {} alerts", alerts.len());
}

fn call(random: &mut StdRng, clients: u32, position: usize) -> Call {
    let client = random.random_range(0..clients);
    let status = if random.random_bool(0.98) { 200 } else { 404 };
    let path = match random.random_range(0..60) {
        even if even % 2 == 0 => {
            format!("/v1/things{}/{}", "abcdefgh".repeat(1 + even / 8), random.random_range(0..9_999))
        }
        odd => format!("/v1/collection/{}", "klmnopqr".repeat(1 + odd / 16)),
    };
    let mut call = Call {
        position: position as u32,
        end_time: Timestamp::from_nanos(1_772_460_000_000_000_000 + position as i64 * 3_000_000),
        method: "GET".into(),
        host: Some("api.example:8080".into()),
        target: path.clone(),
        path,
        status: Some(status),
        response: Message { wire_bytes: random.random_range(100..2_000), ..Message::default() },
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64)".into()),
        completeness: Completeness { request: true, response: true, ..Completeness::default() },
        ..Call::default()
    };
    made_by(&mut call, client);
    call
}

fn made_by(call: &mut Call, client: u32) {
    call.flow = FlowId(u64::from(client));
    call.client = Peer { ip: IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + client)), port: 1 };
    call.credential = Some(Credential::new(CredentialKind::Bearer, Fingerprint(u64::from(client))));
}
