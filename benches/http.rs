//! Cost of HTTP/1 heads, as the http stage takes them from a connection in order: `cargo bench --bench http`. Per head.
//!
//! A round is 1,024 requests and their answers, each head in a segment of its own, on one connection that stays open.

use std::net::SocketAddr;
use std::sync::Arc;

use apitap::call::FlowId;
use apitap::http::{self, Http};
use apitap::inspect::{Inspector, Rules};
use apitap::key::Key;
use apitap::stats::Counters;
use apitap::stream::{Direction, FlowInfo, Handler, Run};
use apitap::time::Timestamp;
use divan::Bencher;
use divan::counter::ItemsCount;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CALLS: usize = 1024;

fn main() {
    divan::main();
}

/// Takes the heads in turn, a request and its response each.
fn run(bencher: Bencher<'_, '_>, heads: &[[String; 2]]) {
    let rules = Rules::load(None).expect("the compiled-in rules are well");
    let inspector = Arc::new(Inspector::new(&rules, Default::default(), Key::from_bytes([1; 16])));
    let mut http = Http::new(http::Settings::default(), inspector);
    let flow = FlowInfo {
        id: FlowId(1),
        source: SocketAddr::from(([10, 0, 0, 1], 40_000)),
        destination: SocketAddr::from(([10, 0, 0, 2], 8080)),
        encapsulation: Arc::from([]),
        start: Timestamp::from_nanos(1_772_460_000_000_000_000),
        opened_by: Some(Direction::Forward),
        seen: [true; 2],
        traffic: Default::default(),
        speaks: None,
        closed_windows: [false; 2],
        finished: [false; 2],
        acknowledged: [0; 2],
        alarm: Default::default(),
    };
    let (mut state, mut counters, mut offsets, mut time) = (None, Counters::new(), [0; 2], flow.start);
    bencher.counter(ItemsCount::new(2 * heads.len())).bench_local(|| {
        for [request, response] in heads {
            for (direction, head) in [(Direction::Forward, request), (Direction::Backward, response)] {
                time = Timestamp::from_nanos(time.nanos() + 1_000);
                let run = Run {
                    direction,
                    offset: offsets[direction.index()],
                    acknowledged: Some(offsets[direction.opposite().index()]),
                    time,
                    now: time,
                    bytes: head.as_bytes(),
                    conflicting: false,
                    urgent: false,
                };
                http.data(&flow, &mut state, run, &mut counters);
                offsets[direction.index()] += head.len() as u64;
            }
        }
        let mut records = std::mem::take(http.records());
        assert_eq!(records.len(), heads.len());
        http.recycle(&mut records);
    });
}

fn response(number: usize) -> String {
    let (minute, second) = (number / 60 % 60, number % 60);
    format!(
        "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Thu, 26 Nov 2026 10:{minute:02}:{second:02} GMT\r\n\
        Content-Type: application/json\r\nContent-Length: 0\r\nConnection: keep-alive\r\nX-Request-Id: {number:016x}\r\n\r\n"
    )
}

/// A program that asks for one thing after another with a token of its own: 6 headers.
#[divan::bench]
fn program(bencher: Bencher<'_, '_>) {
    let heads = |number: usize| {
        let request = format!(
            "GET /v1/products/{number}?page={} HTTP/1.1\r\nHost: shop-api.example\r\nUser-Agent: shop-mobile/4.2 (Android 14)\r\n\
            Accept: application/json\r\nAccept-Encoding: gzip\r\nAuthorization: Bearer c29tZSB0b2tlbiBvZiBhIHByb2dyYW0gMTIz\r\n\
            Connection: keep-alive\r\n\r\n",
            number % 9
        );
        [request, response(number)]
    };
    run(bencher, &(0..CALLS).map(heads).collect::<Vec<_>>());
}

/// Many users' browsers behind one proxy, each with a token, addresses and an agent of its own: 12 headers.
#[divan::bench]
fn browsers(bencher: Bencher<'_, '_>) {
    let heads = |number: usize| {
        let request = format!(
            "GET /api/orders/{number}/items HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 203.0.113.{}\r\n\
            User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.{number} (KHTML, like Gecko)\r\n\
            Accept: application/json, text/plain, */*\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n\
            Authorization: Bearer {:032x}\r\nReferer: https://shop.example/orders/{number}\r\nSec-Fetch-Dest: empty\r\n\
            Sec-Fetch-Mode: cors\r\nCookie: session={:024x}; theme=dark\r\nConnection: keep-alive\r\n\r\n",
            number % 250,
            number * 7919,
            number * 104_729
        );
        [request, response(number)]
    };
    run(bencher, &(0..CALLS).map(heads).collect::<Vec<_>>());
}
