//! Cost of reassembly: a segment in order, out of order, and among how many flows; and of a whole small HTTP call.
//!
//! The argument is the number of concurrent flows; each round sends one segment (or a call) in each of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use apitap::http::{self, Http};
use apitap::inspect::{Inspector, Rules};
use apitap::key::Key;
use apitap::packet::{Encapsulation, Flags, Segment};
use apitap::stats::Counters;
use apitap::stream::{Close, Direction, End, FlowInfo, Gap, Handler, Interest, Run, Settings, Tracker};
use apitap::time::Timestamp;
use divan::Bencher;
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

/// Counts the bytes.
#[derive(Default)]
struct Sum(u64);

impl Handler for Sum {
    type State = ();

    fn data(&mut self, _: &FlowInfo, _: &mut Option<Box<()>>, run: Run<'_>, _: &mut Counters) -> Interest {
        self.0 += run.bytes.len() as u64;
        Interest::Wanted
    }
    fn gap(&mut self, _: &FlowInfo, _: &mut Option<Box<()>>, _: Gap, _: &mut Counters) {}
    fn close(&mut self, _: &FlowInfo, _: &mut Option<Box<()>>, _: Direction, _: Close, _: Timestamp, _: &mut Counters) {
    }
    fn end(&mut self, _: &FlowInfo, _: Option<Box<()>>, _: End, _: Timestamp, _: &mut Counters) {}
}

/// The client's and the server's end of a flow.
fn ends(flow: u32) -> [SocketAddr; 2] {
    let client = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + flow / 4));
    [SocketAddr::new(client, 40_000 + (flow % 4) as u16), SocketAddr::from(([10, 255, 0, 1], 8080))]
}

/// Sends segments of many flows, and keeps their sequence numbers.
struct Traffic {
    sent: [u32; 2],
    nanos: i64,
}

impl Traffic {
    fn new() -> Traffic {
        Traffic { sent: [1, 1], nanos: 1_000_000_000_000 }
    }

    /// One segment in each of these flows.
    fn round<H: Handler>(
        &mut self,
        tracker: &mut Tracker<H>,
        flows: Range<u32>,
        from_client: bool,
        flags: Flags,
        payload: &[u8],
        ahead: u32,
    ) {
        for flow in flows {
            self.nanos += 300;
            let time = Timestamp::from_nanos(self.nanos);
            let [client, server] = ends(flow);
            let (source, destination) = if from_client { (client, server) } else { (server, client) };
            let own = usize::from(!from_client);
            tracker.tick(time);
            tracker.segment(&Segment {
                time,
                source,
                destination,
                encapsulation: &Encapsulation::NONE,
                sequence: self.sent[own].wrapping_add(ahead),
                acknowledgment: self.sent[1 - own],
                flags,
                urgent: 0,
                payload,
                missing: 0,
                fingerprint: 0,
            });
        }
    }

    fn advance(&mut self, from_client: bool, length: usize) {
        let own = usize::from(!from_client);
        self.sent[own] = self.sent[own].wrapping_add(length as u32);
    }

    fn open<H: Handler>(&mut self, tracker: &mut Tracker<H>, flows: u32) {
        self.round(tracker, 0..flows, true, Flags::SYN, b"", 0);
        self.advance(true, 1);
        self.round(tracker, 0..flows, false, Flags::SYN | Flags::ACK, b"", 0);
        self.advance(false, 1);
    }
}

fn settings() -> Settings {
    Settings {
        max_flows: 1 << 21,
        max_half_open: 1 << 21,
        half_open_timeout: 3_600,
        idle_timeout: 3_600,
        ..Settings::default()
    }
}

/// Calls after which they are taken from the handler.
const TAKEN: usize = 1_000;

const FLOWS: [u32; 3] = [1_000, 100_000, 1_000_000];

#[divan::bench(args = FLOWS, sample_count = 5)]
fn in_order(bencher: Bencher<'_, '_>, flows: u32) {
    let mut tracker = Tracker::new(settings(), Sum::default());
    let mut traffic = Traffic::new();
    traffic.open(&mut tracker, flows);
    let payload = [b'x'; 500];
    bencher.counter(ItemsCount::new(flows)).bench_local(|| {
        traffic.round(&mut tracker, 0..flows, true, Flags::ACK, &payload, 0);
        traffic.advance(true, payload.len());
    });
    assert!(tracker.handler().0 > 0 && tracker.flows() == flows as usize);
}

#[divan::bench(args = [1_000, 100_000], sample_count = 5)]
fn two_swapped(bencher: Bencher<'_, '_>, flows: u32) {
    let mut tracker = Tracker::new(settings(), Sum::default());
    let mut traffic = Traffic::new();
    traffic.open(&mut tracker, flows);
    let payload = [b'x'; 500];
    bencher.counter(ItemsCount::new(2 * flows)).bench_local(|| {
        traffic.round(&mut tracker, 0..flows, true, Flags::ACK, &payload, payload.len() as u32);
        traffic.round(&mut tracker, 0..flows, true, Flags::ACK, &payload, 0);
        traffic.advance(true, 2 * payload.len());
    });
    assert!(tracker.handler().0 > 0 && tracker.held() == 0);
}

/// A GET with nine headers and an answer of 200 bytes of JSON; per call.
#[divan::bench(args = FLOWS, sample_count = 3)]
fn http_call(bencher: Bencher<'_, '_>, flows: u32) {
    let rules = Rules::load(None).expect("the compiled-in rules are well");
    let inspector = Arc::new(Inspector::new(&rules, Default::default(), Key::from_bytes([1; 16])));
    let mut tracker = Tracker::new(settings(), Http::new(http::Settings::default(), inspector));
    let mut traffic = Traffic::new();
    traffic.open(&mut tracker, flows);
    let request = "GET /v1/products/4711?page=2 HTTP/1.1\r\nHost: shop-api.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
        Accept: application/json\r\nAccept-Encoding: gzip\r\nAccept-Language: en\r\nConnection: keep-alive\r\n\
        X-Request-Id: 5f1b\r\nCache-Control: no-cache\r\nReferer: https://shop.example/\r\n\r\n";
    let body = format!("{{\"name\":\"{}\"}}", "blue suede shoes ".repeat(11));
    let response = format!(
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut completed = 0;
    bencher.counter(ItemsCount::new(flows)).bench_local(|| {
        for first in (0..flows).step_by(TAKEN) {
            let some = first..flows.min(first + TAKEN as u32);
            traffic.round(&mut tracker, some.clone(), true, Flags::ACK, request.as_bytes(), 0);
            // The answer acknowledges the request, though the sum of what was sent is moved on for all flows later.
            traffic.sent[0] = traffic.sent[0].wrapping_add(request.len() as u32);
            traffic.round(&mut tracker, some, false, Flags::ACK, response.as_bytes(), 0);
            traffic.sent[0] = traffic.sent[0].wrapping_sub(request.len() as u32);
            let mut records = std::mem::take(tracker.handler().records());
            completed += records.len() as u64;
            tracker.handler().recycle(&mut records);
        }
        traffic.advance(true, request.len());
        traffic.advance(false, response.len());
    });
    assert!(completed > 0);
    let resident = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = resident.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned();
    println!("{flows} flows with HTTP: {resident}");
}
