//! Slow attacks, and honest traffic that looks like them from far: made segment by segment, and through the whole program.

mod support;
#[path = "support/wire.rs"]
mod wire;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use support::{Folder, shared};
use wire::{CLIENT, SERVER, Wire, seconds};

const ATTACKER: [u8; 4] = [203, 0, 113, 9];

/// Seconds of each scenario.
const SPAN: f64 = 200.0;

/// People who use the service meanwhile.
fn population(random: &mut StdRng) -> Wire {
    let mut wire = Wire::default();
    let (mut at, mut port) = (0.0, 20_000);
    while at < SPAN {
        let client = [10, 2, 0, random.random_range(1..40)];
        let paths = ["/v1/orders", "/v1/basket", "/v1/articles", "/v1/shops", "/v1/prices", "/v1/me"];
        wire.call(seconds(at), client, port, paths[random.random_range(0..paths.len())]);
        at += random.random_range(0.1..1.2);
        port += 1;
    }
    wire
}

/// What a scenario came to: alerts, and the records of connections.
struct Outcome {
    alerts: Vec<Value>,
    connections: Vec<Value>,
}

/// Adds to a population and runs it, with one worker, with several, and over its own calls and connections.
fn run(name: &str, add: impl FnOnce(&mut Wire, &mut StdRng)) -> Outcome {
    let mut random = StdRng::seed_from_u64(11);
    let mut wire = population(&mut random);
    add(&mut wire, &mut random);
    let folder = Folder::new(name);
    wire.write(&folder.path("a.pcap"));
    let replayed = folder.run("replay", &["a.pcap", "--quiet", "--workers", "1"]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    let printed = folder.run("calls", &["a.pcap", "--quiet", "--workers", "1"]);
    assert_eq!(folder.run("calls", &["a.pcap", "--quiet", "--workers", "3"]).stdout, printed.stdout, "{name}");
    std::fs::write(folder.path("a.jsonl"), &printed.stdout).expect("a writable folder");
    assert_eq!(folder.run("detect", &["a.jsonl", "--quiet"]).stdout, replayed.stdout, "{name}");
    let connections: Vec<Value> =
        printed.lines().into_iter().filter(|line| line["schema"] == "apitap.connection.v1").collect();
    for connection in &connections {
        assert!(connection.get("method").is_none() && connection.get("status").is_none());
    }
    Outcome { alerts: replayed.lines(), connections }
}

impl Outcome {
    /// The attacker, and nobody else, is accused, and of this. How many of its connections were known then.
    fn accuses(&self, waits_for: &str) -> f64 {
        let kinds: Vec<_> = self.alerts.iter().map(|alert| (&alert["kind"], &alert["client"]["ip"])).collect();
        let attacker = std::net::IpAddr::from(ATTACKER).to_string();
        assert!(!kinds.is_empty(), "{} connections", self.connections.len());
        assert!(kinds.iter().all(|(kind, client)| *kind == "flood.slow" && **client == *attacker), "{:?}", self.told());
        let first = &self.alerts[0];
        assert!(first["evidence"].as_array().is_some_and(|calls| calls.len() == 5), "{first}");
        assert_eq!(first["evidence"][0]["waits_for"], waits_for, "{first}");
        assert!(first["evidence"][0].get("method").is_none());
        first["features"][0]["observed"].as_f64().expect("a number")
    }

    fn told(&self) -> Vec<String> {
        self.alerts.iter().map(|alert| format!("{} {}", alert["kind"], alert["summary"])).collect()
    }

    /// Nobody is accused of a slow attack.
    fn is_quiet(&self) {
        let told = self.told();
        assert!(!told.iter().any(|line| line.contains("flood.slow")), "{told:?}");
    }
}

#[test]
fn heads_that_never_end() {
    let outcome = run("slowloris", |wire, random| {
        for number in 0..50 {
            let mut at = 5.0 + f64::from(number) * 0.2;
            let mut connection = wire.open(seconds(at), ATTACKER, 40_000 + number);
            let head = b"GET / HTTP/1.1\r\nHost: api.example\r\n";
            wire.send(seconds(at + 0.01), &mut connection, CLIENT, head);
            while at < 150.0 {
                at += random.random_range(4.0..9.0);
                wire.send(seconds(at), &mut connection, CLIENT, b"X-a: b\r\n");
            }
        }
    });
    assert!(outcome.accuses("request_head") < 12.0);
    let parts = |number: u64| outcome.connections.iter().filter(|c| c["part"].as_u64().unwrap_or(0) == number).count();
    assert_eq!(parts(0), 50, "each is told of once");
    assert_eq!((parts(1), parts(2)), (50, 50), "and again after each minute");
    assert_eq!(outcome.connections[0]["calls"], 0);
    let last = outcome.connections.last().expect("a connection");
    assert_eq!(last["ended"], "capture_ended");
    assert!(last["waits"]["seconds"].as_f64() > Some(100.0), "{last}");
}

/// Connections that end in the middle of a request after so many seconds, and come again.
fn cut_short(name: &'static str, request: &'static [u8], after: f64, answer: &'static [u8]) -> Outcome {
    run(name, move |wire, random| {
        for number in 0..60 {
            let at = 5.0 + f64::from(number) * 2.0;
            let mut connection = wire.open(seconds(at), ATTACKER, 40_000 + number);
            wire.send(seconds(at + 0.01), &mut connection, CLIENT, request);
            let end = at + after + random.random_range(0.0..0.5);
            if !answer.is_empty() {
                wire.send(seconds(end), &mut connection, SERVER, answer);
            }
            match number % 3 {
                0 if answer.is_empty() => wire.reset(seconds(end + 0.01), &connection, CLIENT),
                _ => wire.close(seconds(end + 0.01), &mut connection),
            }
        }
    })
}

const HALF_A_HEAD: &[u8] = b"GET /v1/orders HTTP/1.1\r\nHost: api.example\r\nX-a: ";

#[test]
fn heads_that_end_with_their_connection() {
    let outcome = cut_short("given-up", HALF_A_HEAD, 4.0, b"");
    outcome.accuses("request_head");
    assert_eq!(outcome.connections.len(), 60, "each is told of once");
    assert!(outcome.connections.iter().any(|connection| connection["ended"] == "reset_by_client"));
    // Not even its first line.
    let outcome = cut_short("given-up-early", b"GET /v1/or", 4.0, b"");
    outcome.accuses("request_head");
    assert_eq!(outcome.connections.len(), 60);
    let timeout = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let outcome = cut_short("timed-out", HALF_A_HEAD, 1.0, timeout);
    outcome.accuses("request_head");
    assert_eq!(outcome.connections.len(), 60);
    let half = b"POST /v1/orders HTTP/1.1\r\nHost: api.example\r\nContent-Length: 8192\r\n\r\n{";
    cut_short("timed-out-body", half, 5.0, timeout).accuses("request_body");
}

#[test]
fn requests_that_are_broken_off_accuse_nobody() {
    // A program that is stopped at once, an upload that is broken off, and a connection that nobody used in time.
    let timeout = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let upload = b"PUT /v1/photos HTTP/1.1\r\nHost: api.example\r\nContent-Length: 900000\r\n\r\n0123456789abcdef";
    let whole = b"GET /v1/orders HTTP/1.1\r\nHost: api.example\r\n\r\n";
    let cases: [(&str, &[u8], f64, &[u8]); 4] = [
        ("stopped", HALF_A_HEAD, 0.2, b""),
        ("broken-off", upload, 8.0, b""),
        ("server-slow", whole, 8.0, timeout),
        ("unused", b"", 5.0, timeout),
    ];
    for (name, request, after, answer) in cases {
        let outcome = cut_short(name, request, after, answer);
        assert_eq!(outcome.connections.len(), 0, "{name}: {:?}", outcome.connections);
        outcome.is_quiet();
    }
}

#[test]
fn what_is_no_request_and_never_ends() {
    for (name, piece) in [("line-ends", &b"\r\n"[..]), ("no-http", b"\x03\x07\x01")] {
        let outcome = run(name, |wire, random| {
            for number in 0..50 {
                let mut at = 5.0 + f64::from(number) * 0.2;
                let mut connection = wire.open(seconds(at), ATTACKER, 40_000 + number);
                while at < 120.0 {
                    at += random.random_range(2.0..5.0);
                    wire.send(seconds(at), &mut connection, CLIENT, piece);
                }
            }
            // To a server that speaks something else, another says the same.
            for number in 0..50 {
                let mut at = 5.0 + f64::from(number) * 0.2;
                let mut connection = wire.open_to(seconds(at), [10, 9, 0, 1], 40_000 + number, ([10, 1, 0, 7], 9_000));
                while at < 120.0 {
                    at += random.random_range(2.0..5.0);
                    wire.send(seconds(at), &mut connection, CLIENT, piece);
                }
            }
        });
        outcome.accuses("request");
    }
}

/// Bodies of so many bytes each few seconds.
fn trickle(name: &'static str, bytes: usize, pause: std::ops::Range<f64>) -> Outcome {
    run(name, move |wire, random| {
        for number in 0..15 {
            let mut at = 5.0 + f64::from(number) * 0.3;
            let mut connection = wire.open(seconds(at), ATTACKER, 40_000 + number);
            let head = b"POST /v1/orders HTTP/1.1\r\nHost: api.example\r\nContent-Length: 8192\r\n\r\n";
            wire.send(seconds(at + 0.01), &mut connection, CLIENT, head);
            while at < 120.0 {
                at += random.random_range(pause.clone());
                wire.send(seconds(at), &mut connection, CLIENT, &vec![b'a'; bytes]);
            }
        }
    })
}

#[test]
fn bodies_that_come_byte_by_byte() {
    trickle("slow-post", 30, 5.0..10.0).accuses("request_body");
    // Are you dead yet?
    trickle("dead-yet", 1, 5.0..10.0).accuses("request_body");
}

#[test]
fn answers_that_nobody_takes() {
    let outcome = run("slow-read", |wire, random| {
        for number in 0..15 {
            let mut at = 5.0 + f64::from(number) * 0.3;
            let mut connection = wire.open(seconds(at), ATTACKER, 40_000 + number);
            connection.windows[CLIENT] = 1_024;
            let head = b"GET /v1/export HTTP/1.1\r\nHost: api.example\r\n\r\n";
            wire.send(seconds(at + 0.01), &mut connection, CLIENT, head);
            connection.windows[CLIENT] = 0;
            let answer = [&b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n"[..], &[b'x'; 900]].concat();
            wire.send(seconds(at + 0.02), &mut connection, SERVER, &answer);
            while at < 120.0 {
                at += random.random_range(3.0..6.0);
                connection.windows[CLIENT] = 64;
                wire.acknowledge(seconds(at), &connection, CLIENT);
                connection.windows[CLIENT] = 0;
                wire.send(seconds(at) + 50, &mut connection, SERVER, &[b'x'; 64]);
            }
        }
    });
    outcome.accuses("response_body");
    assert!(outcome.connections.iter().all(|connection| connection["waits"]["window_closed"] == true));
}

#[test]
fn connections_that_are_not_used() {
    let outcome = run("unused", |wire, _| {
        for number in 0..60 {
            wire.open(seconds(5.0 + f64::from(number) * 0.2), ATTACKER, 40_000 + number);
        }
    });
    outcome.accuses("idle");
    assert_eq!(outcome.connections.len(), 60);
}

#[test]
fn many_clients_with_one_connection_each_are_one_campaign() {
    let outcome = run("together", |wire, random| {
        for number in 0..60 {
            let mut at = 5.0 + f64::from(number) * 0.4;
            let mut connection = wire.open(seconds(at), [203, 0, 113, 10 + number], 40_000);
            wire.send(seconds(at + 0.01), &mut connection, CLIENT, b"GET / HTTP/1.1\r\nHost: api.example\r\n");
            while at < 150.0 {
                at += random.random_range(4.0..9.0);
                wire.send(seconds(at), &mut connection, CLIENT, b"X-a: b\r\n");
            }
        }
    });
    let kinds: Vec<_> = outcome.alerts.iter().map(|alert| (&alert["kind"], &alert["scope"])).collect();
    let campaign = |(kind, scope): &(&Value, &Value)| **kind == "flood.slow" && **scope == "campaign";
    assert!(!kinds.is_empty() && kinds.iter().all(campaign), "{:?}", outcome.told());
}

#[test]
fn slow_lines_accuse_nobody() {
    let outcome = run("uploads", |wire, random| {
        for number in 0..12 {
            let mut at = 5.0 + f64::from(number);
            let mut connection = wire.open(seconds(at), [198, 51, 100, 1 + number], 40_000);
            let head = b"PUT /v1/photos HTTP/1.1\r\nHost: api.example\r\nContent-Length: 900000\r\n\r\n";
            wire.send(seconds(at + 0.01), &mut connection, CLIENT, head);
            let tunnel = random.random_range(20.0..60.0);
            while at < 150.0 {
                // 500 to 1,000 bytes a second, and one of them is in a tunnel for 45 seconds.
                at += random.random_range(1.4..2.8);
                if number == 0 && (tunnel..tunnel + 45.0).contains(&at) {
                    at = tunnel + 45.0;
                }
                wire.send(seconds(at), &mut connection, CLIENT, &[b'a'; 1_400]);
            }
        }
        // A line that loses the second half of a head and sends it again, three and six seconds later.
        for number in 0..10 {
            let at = 5.0 + f64::from(number) * 3.0;
            let mut connection = wire.open(seconds(at), [198, 51, 100, 77], 41_000 + number);
            let head = b"GET /v1/orders/7 HTTP/1.1\r\nHost: api.example\r\n";
            wire.send(seconds(at + 0.01), &mut connection, CLIENT, head);
            wire.send(seconds(at + 9.0), &mut connection, CLIENT, b"Accept: */*\r\n\r\n");
            wire.send(seconds(at + 9.1), &mut connection, SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
            wire.close(seconds(at + 60.0), &mut connection);
        }
    });
    outcome.is_quiet();
    assert_eq!(outcome.connections.len(), 0, "{:?}", outcome.connections);
}

#[test]
fn pools_and_people_who_wait_accuse_nobody() {
    let outcome = run("waiting", |wire, random| {
        // The pool of a gateway: some connections were used, and some are kept for what may come.
        for number in 0..40 {
            let at = 1.0 + f64::from(number) * 0.1;
            let mut connection = wire.open(seconds(at), [10, 3, 0, 1], 42_000 + number);
            if number < 20 {
                for turn in 0..3 {
                    wire.exchange(seconds(at + f64::from(turn)), &mut connection, "/v1/orders/3");
                }
            }
        }
        // Long polling: an answer comes after most of a minute, again and again; one office has six of them.
        for number in 0..30 {
            let mut at = 2.0 + f64::from(number) * 0.5;
            let mut connection = wire.open(seconds(at), [10, 4, 0, 1 + number / 6], 43_000 + u16::from(number));
            while at < 140.0 {
                let head = b"GET /v1/news?wait=60 HTTP/1.1\r\nHost: api.example\r\n\r\n";
                wire.send(seconds(at), &mut connection, CLIENT, head);
                at += random.random_range(30.0..58.0);
                wire.send(seconds(at), &mut connection, SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
                at += 0.1;
            }
        }
        // Event streams and WebSockets that say little.
        for number in 0..30 {
            let mut at = 2.0 + f64::from(number) * 0.5;
            let mut connection = wire.open(seconds(at), [10, 5, 0, 1 + number / 6], 44_000 + u16::from(number));
            let socket = number % 2 == 0;
            let (head, answer): (&[u8], &[u8]) = match socket {
                true => (
                    b"GET /chat HTTP/1.1\r\nHost: api.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                ),
                false => (
                    b"GET /v1/events HTTP/1.1\r\nHost: api.example\r\nAccept: text/event-stream\r\n\r\n",
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
                ),
            };
            wire.send(seconds(at + 0.01), &mut connection, CLIENT, head);
            wire.send(seconds(at + 0.02), &mut connection, SERVER, answer);
            while at < 150.0 {
                at += random.random_range(10.0..20.0);
                wire.send(seconds(at), &mut connection, SERVER, if socket { b"\x81\x02hi" } else { b"data: hi\n\n" });
                if socket {
                    wire.send(seconds(at + 0.1), &mut connection, CLIENT, b"\x81\x82\0\0\0\0hi");
                }
            }
        }
    });
    outcome.is_quiet();
    let used = |connection: &&Value| connection["calls"] != 0 || connection["waits"]["for"] != "idle";
    assert_eq!(outcome.connections.iter().filter(used).count(), 0, "only what was never used is told of");
}

#[test]
fn slow_but_steady_readers_accuse_nobody() {
    let outcome = run("downloads", |wire, random| {
        for number in 0..8 {
            let mut at = 5.0 + f64::from(number) * 0.3;
            let mut connection = wire.open(seconds(at), [198, 51, 100, 8], 45_000 + number);
            let head = b"GET /v1/export HTTP/1.1\r\nHost: api.example\r\n\r\n";
            wire.send(seconds(at + 0.01), &mut connection, CLIENT, head);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n";
            wire.send(seconds(at + 0.02), &mut connection, SERVER, answer);
            // It is full now and then, and takes a kilobyte a second.
            while at < 150.0 {
                at += random.random_range(0.8..1.6);
                connection.windows[CLIENT] = if random.random_bool(0.5) { 0 } else { 1_400 };
                wire.send(seconds(at), &mut connection, SERVER, &[b'x'; 1_400]);
                connection.windows[CLIENT] = 1_400;
                wire.acknowledge(seconds(at + 0.5), &connection, CLIENT);
            }
        }
    });
    outcome.is_quiet();
    assert_eq!(outcome.connections.len(), 0, "{:?}", outcome.connections);
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Header block of a GET of `/`.
const GET: &[u8] = b"\x82\x86\x84\x41\x0bapi.example";

/// A connection of HTTP/2 on which streams of this size may come at first.
fn speak_http2(wire: &mut Wire, at: f64, client: [u8; 4], port: u16, window: u32) -> wire::Connection {
    let mut connection = wire.open(seconds(at), client, port);
    let settings = frame(4, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat());
    let begin = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat();
    wire.send(seconds(at + 0.001), &mut connection, CLIENT, &begin);
    wire.send(seconds(at + 0.002), &mut connection, SERVER, &frame(4, 0, 0, &[]));
    connection
}

/// Streams are asked for, and answered with so many bytes: the server stops where the window does.
fn ask_http2(wire: &mut Wire, at: f64, connection: &mut wire::Connection, streams: u32, bytes: usize) {
    for number in 0..streams {
        let (at, stream) = (at + 0.001 * f64::from(number), 2 * number + 1);
        wire.send(seconds(at), connection, CLIENT, &frame(1, 5, stream, GET));
        wire.send(seconds(at) + 100, connection, SERVER, &frame(1, 4, stream, b"\x88"));
        let mut left = bytes;
        while left > 0 {
            let piece = left.min(1_200);
            wire.send(seconds(at) + 200, connection, SERVER, &frame(0, 0, stream, &vec![b'x'; piece]));
            left -= piece;
        }
    }
}

#[test]
fn windows_of_http2_that_stay_closed() {
    let outcome = run("http2-read", |wire, random| {
        for number in 0..20 {
            let mut at = 5.0 + f64::from(number) * 0.3;
            let mut connection = speak_http2(wire, at, ATTACKER, 40_000 + number, 1_000);
            ask_http2(wire, at + 0.01, &mut connection, 1, 1_000);
            while at < 120.0 {
                at += random.random_range(3.0..6.0);
                wire.send(seconds(at), &mut connection, CLIENT, &frame(8, 0, 1, &[0, 0, 0, 16]));
                wire.send(seconds(at) + 50, &mut connection, SERVER, &frame(0, 0, 1, &[b'x'; 16]));
            }
        }
    });
    outcome.accuses("response_body");
    assert!(outcome.connections.iter().all(|connection| connection["waits"]["window_closed"] == true));
}

#[test]
fn windows_of_http2_that_change_often_and_stay_closed() {
    let outcome = run("http2-changes", |wire, _| {
        for number in 0..20 {
            let at = 5.0 + f64::from(number) * 0.3;
            let mut connection = speak_http2(wire, at, ATTACKER, 40_000 + number, 1_000);
            ask_http2(wire, at + 0.01, &mut connection, 3, 900);
            // The last of many changes leaves them shut.
            let change = |turn: u32| frame(4, 0, 0, &[&[0, 4][..], &(900 + turn % 2).to_be_bytes()].concat());
            let changes: Vec<u8> = (0..200).flat_map(change).collect();
            for piece in changes.chunks(1_200) {
                wire.send(seconds(at + 0.2), &mut connection, CLIENT, piece);
            }
        }
    });
    outcome.accuses("response_body");
}

#[test]
fn many_stalled_streams_count_more_than_one() {
    let outcome = run("http2-streams", |wire, _| {
        for number in 0..6 {
            let at = 5.0 + f64::from(number) * 0.3;
            let mut connection = speak_http2(wire, at, ATTACKER, 40_000 + number, 0);
            ask_http2(wire, at + 0.01, &mut connection, 100, 0);
        }
    });
    assert_eq!(outcome.connections.first().map(|connection| &connection["waits"]["streams"]), Some(&Value::from(100)));
    let attacker = std::net::IpAddr::from(ATTACKER).to_string();
    let found = |alert: &&Value| alert["kind"] == "flood.slow" && alert["client"]["ip"] == *attacker;
    assert!(outcome.alerts.iter().any(|alert| found(&alert)), "{:?}", outcome.told());
}

#[test]
fn header_blocks_of_http2_that_never_end() {
    let outcome = run("http2-head", |wire, random| {
        for number in 0..20 {
            let mut at = 5.0 + f64::from(number) * 0.3;
            let mut connection = speak_http2(wire, at, ATTACKER, 40_000 + number, 65_535);
            wire.send(seconds(at + 0.01), &mut connection, CLIENT, &frame(1, 1, 1, GET));
            while at < 120.0 {
                at += random.random_range(4.0..9.0);
                wire.send(seconds(at), &mut connection, CLIENT, &frame(9, 0, 1, b"\x40\x01a\x01b"));
            }
        }
    });
    outcome.accuses("request_head");
}

/// Requests in HTTP/2 that come in these frames, one a second, to a server that does this after so many seconds.
fn impatient_http2(name: &'static str, request: &[Vec<u8>], after: f64, answer: &[u8]) -> Outcome {
    pieces(name, request, after, answer, |wire, at, port| speak_http2(wire, at, ATTACKER, port, 65_535))
}

/// The same in HTTP/1.
fn impatient(name: &'static str, request: &[Vec<u8>], after: f64, answer: &[u8]) -> Outcome {
    pieces(name, request, after, answer, |wire, at, port| wire.open(seconds(at), ATTACKER, port))
}

/// Connections that are opened so, on which a request comes piece by piece, one a second.
fn pieces(
    name: &'static str,
    request: &[Vec<u8>],
    after: f64,
    answer: &[u8],
    open: impl Fn(&mut Wire, f64, u16) -> wire::Connection,
) -> Outcome {
    run(name, |wire, random| {
        for number in 0..60 {
            let at = 5.0 + f64::from(number) * 2.0;
            let mut connection = open(wire, at, 40_000 + number);
            for (part, bytes) in request.iter().enumerate() {
                wire.send(seconds(at + 0.01 + part as f64), &mut connection, CLIENT, bytes);
            }
            let end = at + after + random.random_range(0.0..0.5);
            if !answer.is_empty() {
                wire.send(seconds(end), &mut connection, SERVER, answer);
            }
            match number % 3 {
                0 => wire.reset(seconds(end + 0.01), &connection, CLIENT),
                _ => wire.close(seconds(end + 0.01), &mut connection),
            }
        }
    })
}

#[test]
fn http2_that_its_connection_ends_in() {
    // A header block that is not whole, and the client comes again.
    let outcome = impatient_http2("http2-given-up", &[frame(1, 1, 1, GET)], 4.0, b"");
    outcome.accuses("request_head");
    assert_eq!(outcome.connections.len(), 60, "each is told of once");
    // Bodies that the server breaks off, by a reset or by 408.
    let post = frame(1, 4, 1, b"\x83\x86\x84\x41\x0bapi.example");
    let dribs = [post.clone(), frame(0, 0, 1, b"{"), frame(0, 0, 1, b" ")];
    let timeout = frame(1, 5, 1, b"\x08\x03408");
    for (name, answer) in [("http2-reset", frame(3, 0, 1, &[0, 0, 0, 1])), ("http2-408", timeout)] {
        let outcome = impatient_http2(name, &dribs, 8.0, &answer);
        outcome.accuses("request_body");
        assert_eq!(outcome.connections.len(), 60, "{name}");
    }
    // And the connection stays open until the capture ends.
    let outcome = run("http2-open", |wire, _| {
        for number in 0..60 {
            let at = 5.0 + f64::from(number) * 2.0;
            let mut connection = speak_http2(wire, at, ATTACKER, 40_000 + number, 65_535);
            for (part, bytes) in dribs.iter().enumerate() {
                wire.send(seconds(at + 0.01 + part as f64), &mut connection, CLIENT, bytes);
            }
            wire.send(seconds(at + 8.0), &mut connection, SERVER, &frame(3, 0, 1, &[0, 0, 0, 1]));
        }
    });
    outcome.accuses("request_body");
    let told = |what: &str| outcome.connections.iter().filter(|c| c["waits"]["for"] == what).count();
    assert_eq!(told("request_body"), 60, "each is told of once");
    // A client that gives up what it let drip to the end, in either version.
    let dripping: Vec<Vec<u8>> =
        (0..13).map(|part| if part == 0 { post.clone() } else { frame(0, 0, 1, b" ") }).collect();
    let reset = frame(3, 0, 1, &[0, 0, 0, 8]);
    let given_up: Vec<Vec<u8>> = dripping.iter().cloned().chain([reset]).collect();
    for (name, request) in [("http2-drip", &dripping), ("http2-drip-reset", &given_up)] {
        let outcome = impatient_http2(name, request, 13.5, b"");
        outcome.accuses("request_body");
        assert_eq!(outcome.connections.len(), 60, "{name}");
    }
    let head = b"POST /v1/orders HTTP/1.1\r\nHost: api.example\r\nContent-Length: 8192\r\n\r\n".to_vec();
    let pieces: Vec<Vec<u8>> = std::iter::once(head).chain((0..12).map(|_| b"{".to_vec())).collect();
    impatient("drip", &pieces, 12.5, b"").accuses("request_body");
    // Stopped at once, broken off at once, an answer before the body, and an upload in good speed.
    let large = frame(0, 0, 1, &[b'x'; 9_000]);
    let quick = [post.clone(), large.clone(), large.clone(), large.clone(), large.clone(), large.clone(), large];
    let denied = frame(1, 5, 1, b"\x08\x03403");
    let reset = frame(3, 0, 1, &[0, 0, 0, 1]);
    /// Name, request, seconds, answer.
    type Case<'c> = (&'static str, &'c [Vec<u8>], f64, &'c [u8]);
    let cases: [Case<'_>; 4] = [
        ("http2-stopped", &[frame(1, 1, 1, GET)], 0.2, b""),
        ("http2-broken-off", &dribs[..1], 0.5, &reset),
        ("http2-denied", &dribs, 8.0, &denied),
        ("http2-upload", &quick, 7.0, &reset),
    ];
    for (name, request, after, answer) in cases {
        let outcome = impatient_http2(name, request, after, answer);
        assert_eq!(outcome.connections.len(), 0, "{name}: {:?}", outcome.connections);
        outcome.is_quiet();
    }
}

#[test]
fn uploads_that_the_server_holds_up_accuse_nobody() {
    // As many bytes as it lets come, and no more, since what is behind it stands still.
    let outcome = run("http2-held-up", |wire, _| {
        for number in 0..12u16 {
            let at = 5.0 + f64::from(number) * 0.3;
            let mut connection = speak_http2(wire, at, [198, 51, 100, 60], 42_000 + number, 65_535);
            for stream in 0..20u32 {
                let id = 2 * stream + 1;
                let head = frame(1, 4, id, b"\x83\x86\x84\x41\x0bapi.example");
                let begin = at + 0.1 + f64::from(stream) * 0.01;
                wire.send(seconds(begin), &mut connection, CLIENT, &head);
                for _ in 0..3 {
                    wire.send(seconds(begin) + 50, &mut connection, CLIENT, &frame(0, 0, id, &[b'x'; 1_092]));
                }
            }
            // And breaks some of them off in the end.
            for stream in 0..5 {
                wire.send(seconds(at + 25.0), &mut connection, SERVER, &frame(3, 0, 2 * stream + 1, &[0, 0, 0, 8]));
            }
        }
    });
    let told = outcome.connections.iter().filter(|c| c["waits"]["for"] == "request_body").count();
    assert_eq!(told, 0, "{:?}", outcome.connections.first());
    outcome.is_quiet();
}

#[test]
fn readers_of_http2_who_stop_now_and_then_accuse_nobody() {
    let outcome = run("http2-honest", |wire, random| {
        for number in 0..8u16 {
            let mut at = 5.0 + f64::from(number) * 0.3;
            let mut connection = speak_http2(wire, at, [198, 51, 100, 8], 45_000 + number, 4_800);
            ask_http2(wire, at + 0.01, &mut connection, 1, 4_800);
            // Its window is closed most of the time, and a kilobyte a second comes all the same.
            while at < 150.0 {
                at += random.random_range(1.0..2.0);
                let grant = [0, 1].map(|stream| frame(8, 0, stream, &2_400u32.to_be_bytes())).concat();
                wire.send(seconds(at), &mut connection, CLIENT, &grant);
                wire.send(seconds(at) + 50, &mut connection, SERVER, &frame(0, 0, 1, &[b'x'; 1_200]));
                wire.send(seconds(at) + 90, &mut connection, SERVER, &frame(0, 0, 1, &[b'x'; 1_200]));
            }
            wire.send(seconds(at + 1.0), &mut connection, CLIENT, &frame(8, 0, 1, &[0, 0, 9, 0]));
        }
        // A film that is paused.
        for number in 0..12 {
            let at = 5.0 + f64::from(number);
            let mut connection = speak_http2(wire, at, [198, 51, 100, 20 + number], 46_000, 6_000);
            ask_http2(wire, at + 0.01, &mut connection, 2, 6_000);
        }
        // Streams on which little comes.
        for number in 0..12u16 {
            let mut at = 5.0 + f64::from(number);
            let mut connection = speak_http2(wire, at, [198, 51, 100, 40], 47_000 + number, 65_535);
            ask_http2(wire, at + 0.01, &mut connection, 3, 20);
            while at < 150.0 {
                at += 20.0;
                wire.send(seconds(at), &mut connection, SERVER, &frame(0, 0, 1, b"data: hi\n\n"));
            }
        }
    });
    outcome.is_quiet();
    assert_eq!(outcome.connections.iter().filter(|c| c.get("part").is_none()).count(), 12, "{:?}", outcome.connections);
}

/// A record of TLS.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// Hellos of TLS 1.3, of the client or of the server.
fn hello(server: bool) -> Vec<u8> {
    let mut body = [&[3, 3][..], &[7; 32], &[0]].concat();
    match server {
        true => body.extend([0x13, 1, 0, 0, 6, 0, 43, 0, 2, 3, 4]),
        false => body.extend([0, 2, 0x13, 1, 1, 0, 0, 7, 0, 43, 0, 3, 2, 3, 4]),
    }
    let length = (body.len() as u32).to_be_bytes();
    record(22, &[&[if server { 2 } else { 1 }][..], &length[1..], &body].concat())
}

/// A handshake whose last part the client sends so many seconds late.
fn shake_hands(wire: &mut Wire, at: f64, client: [u8; 4], port: u16, late: f64) -> wire::Connection {
    let mut connection = wire.open(seconds(at), client, port);
    wire.send(seconds(at + 0.001), &mut connection, CLIENT, &hello(false));
    wire.send(seconds(at + 0.002), &mut connection, SERVER, &[hello(true), record(23, &[1; 900])].concat());
    wire.send(seconds(at + 0.003 + late), &mut connection, CLIENT, &[record(20, &[1]), record(23, &[2; 53])].concat());
    wire.send(seconds(at + 0.004 + late), &mut connection, SERVER, &record(23, &[3; 230]));
    connection
}

#[test]
fn handshakes_that_never_end() {
    let outcome = run("handshakes", |wire, _| {
        for number in 0..50 {
            let at = 5.0 + f64::from(number) * 0.2;
            let mut connection = wire.open(seconds(at), ATTACKER, 40_000 + number);
            wire.send(seconds(at + 0.01), &mut connection, CLIENT, &hello(false));
            let answer = [hello(true), record(23, &[1; 900])].concat();
            wire.send(seconds(at + 0.02), &mut connection, SERVER, &answer);
        }
    });
    assert!(outcome.accuses("handshake") < 12.0);
    let outcome = run("hellos", |wire, random| {
        for number in 0..50 {
            let mut at = 5.0 + f64::from(number) * 0.2;
            let mut connection = wire.open(seconds(at), ATTACKER, 40_000 + number);
            for piece in hello(false).chunks(6) {
                wire.send(seconds(at + 0.01), &mut connection, CLIENT, piece);
                at += random.random_range(4.0..9.0);
            }
        }
    });
    outcome.accuses("handshake");
}

#[test]
fn what_comes_in_dribs_through_tls() {
    let outcome = run("tls-dribs", |wire, random| {
        for number in 0..40 {
            let mut at = 5.0 + f64::from(number) * 0.2;
            let mut connection = shake_hands(wire, at, ATTACKER, 40_000 + number, 0.0);
            while at < 150.0 {
                at += random.random_range(4.0..9.0);
                wire.send(seconds(at), &mut connection, CLIENT, &record(23, &[9; 30]));
            }
        }
    });
    outcome.accuses("request");
}

#[test]
fn connections_in_tls_that_nobody_uses() {
    let outcome = run("tls-idle", |wire, _| {
        for number in 0..200 {
            shake_hands(wire, 5.0 + f64::from(number) * 0.1, ATTACKER, 40_000 + number, 0.0);
        }
    });
    // That they are opened so fast is a flood besides.
    let attacker = std::net::IpAddr::from(ATTACKER).to_string();
    assert!(outcome.alerts.iter().all(|alert| alert["client"]["ip"] == *attacker), "{:?}", outcome.told());
    assert!(outcome.alerts.iter().any(|alert| alert["kind"] == "flood.slow"), "{:?}", outcome.told());
    assert!(outcome.connections.iter().any(|connection| connection["waits"]["for"] == "idle"));
}

#[test]
fn connections_in_http2_on_which_nothing_was_asked_for() {
    let outcome = run("http2-idle", |wire, _| {
        for number in 0..100 {
            let at = 5.0 + f64::from(number) * 0.1;
            let mut connection = speak_http2(wire, at, ATTACKER, 40_000 + number, 65_535);
            wire.close(seconds(at + 60.0), &mut connection);
        }
    });
    outcome.accuses("idle");
}

#[test]
fn what_was_reset_waits_for_nothing() {
    let outcome = run("reset", |wire, _| {
        for number in 0..30 {
            let at = 5.0 + f64::from(number) * 0.2;
            let mut connection = wire.open(seconds(at), ATTACKER, 40_000 + number);
            let head = b"POST /v1/orders HTTP/1.1\r\nHost: api.example\r\nContent-Length: 8192\r\n\r\n{";
            wire.send(seconds(at + 0.01), &mut connection, CLIENT, head);
            wire.reset(seconds(at + 17.0), &connection, SERVER);
        }
    });
    assert_eq!(outcome.connections.len(), 0, "{:?}", outcome.connections.first());
    outcome.is_quiet();
}

#[test]
fn what_both_ends_have_closed_waits_for_nothing() {
    let outcome = run("closed", |wire, _| {
        for number in 0..30 {
            let at = 5.0 + f64::from(number) * 0.2;
            let mut connection = wire.open(seconds(at), [198, 51, 100, 70], 40_000 + number);
            wire.send(seconds(at + 0.01), &mut connection, CLIENT, b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n");
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
            wire.send(seconds(at + 0.02), &mut connection, SERVER, answer);
            // As many programs do with what they keep: just when it has been kept for too long.
            wire.close(seconds(at + 89.5), &mut connection);
        }
    });
    assert_eq!(outcome.connections.len(), 0, "{:?}", outcome.connections.first());
    outcome.is_quiet();
}

#[test]
fn answers_in_tls_that_nobody_takes() {
    let outcome = run("tls-read", |wire, random| {
        for number in 0..15 {
            let mut at = 5.0 + f64::from(number) * 0.3;
            let mut connection = shake_hands(wire, at, ATTACKER, 40_000 + number, 0.0);
            // A request as short as there are.
            wire.send(seconds(at + 0.01), &mut connection, CLIENT, &record(23, &[9; 60]));
            connection.windows[CLIENT] = 0;
            wire.send(seconds(at + 0.02), &mut connection, SERVER, &record(23, &[9; 900]));
            while at < 120.0 {
                at += random.random_range(3.0..6.0);
                connection.windows[CLIENT] = 0;
                wire.acknowledge(seconds(at), &connection, CLIENT);
            }
        }
    });
    outcome.accuses("response_body");
    assert!(outcome.connections.iter().any(|connection| connection["waits"]["window_closed"] == true));
}

/// The head of a request with a body in HTTP/2, and the first of it.
fn begin_body(stream: u32) -> Vec<u8> {
    [frame(1, 4, stream, b"\x83\x86\x84\x41\x0bapi.example"), frame(0, 0, stream, b"{")].concat()
}

#[test]
fn connections_that_are_idle_first_and_slow_later() {
    let outcome = run("http2-idle-first", |wire, _| {
        for number in 0..4 {
            let at = 5.0 + f64::from(number) * 0.3;
            let mut connection = speak_http2(wire, at, ATTACKER, 40_000 + number, 65_535);
            for stream in 0..100 {
                let begin = at + 45.0 + f64::from(stream) * 0.01;
                wire.send(seconds(begin), &mut connection, CLIENT, &begin_body(2 * stream + 1));
            }
        }
    });
    // What the streams came to when the capture ended is a flood besides.
    let attacker = std::net::IpAddr::from(ATTACKER).to_string();
    assert!(outcome.alerts.iter().all(|alert| alert["client"]["ip"] == *attacker), "{:?}", outcome.told());
    assert!(outcome.alerts.iter().any(|alert| alert["kind"] == "flood.slow"), "{:?}", outcome.told());
    let told = |what: &str| outcome.connections.iter().filter(|c| c["waits"]["for"] == what).count();
    assert!(told("idle") >= 4 && told("request_body") >= 4);
    let first = outcome.connections.iter().find(|c| c["waits"]["for"] == "request_body").expect("slow bodies");
    assert!(first["waits"].get("again").is_none(), "{first}");
}

#[test]
fn bodies_that_are_broken_off_one_after_another_on_one_connection() {
    let outcome = run("http2-one-connection", |wire, _| {
        let mut connection = speak_http2(wire, 5.0, ATTACKER, 40_000, 65_535);
        for stream in 0..240u32 {
            let at = 6.0 + f64::from(stream);
            wire.send(seconds(at), &mut connection, CLIENT, &begin_body(2 * stream + 1));
            if let Some(before) = stream.checked_sub(8) {
                let reset = frame(3, 0, 2 * before + 1, &[0, 0, 0, 8]);
                wire.send(seconds(at + 0.5), &mut connection, SERVER, &reset);
            }
        }
    });
    let first = outcome.alerts.first().expect("an alert");
    let attacker = std::net::IpAddr::from(ATTACKER).to_string();
    assert!(first["kind"] == "flood.slow" && first["client"]["ip"] == *attacker, "{:?}", outcome.told());
    assert_eq!(first["evidence"][0]["waits_for"], "request_body");
    assert!(outcome.connections.len() < 12, "{} records", outcome.connections.len());
}

#[test]
fn slow_and_silent_protocols_in_tls_accuse_nobody() {
    let outcome = run("tls-honest", |wire, random| {
        for number in 0..30u16 {
            let mut at = 2.0 + f64::from(number) * 0.5;
            let client = [10, 6, 0, 1 + (number / 3) as u8];
            let mut connection = shake_hands(wire, at, client, 44_000 + number, f64::from(number % 5));
            let kind = number % 3;
            while at < 150.0 {
                at += random.random_range(4.0..9.0);
                wire.send(seconds(at), &mut connection, CLIENT, &record(23, &[9; 40]));
                // Two of three are answered; the third is that of a log, to which nobody says anything.
                if kind < 2 {
                    wire.send(seconds(at + 0.1), &mut connection, SERVER, &record(23, &[9; 40]));
                }
            }
        }
        // Connections that are kept for later.
        for number in 0..30u16 {
            shake_hands(wire, 3.0 + f64::from(number) * 0.5, [10, 6, 1, 1], 45_000 + number, 0.0);
        }
    });
    outcome.is_quiet();
    let first = |c: &&Value| c.get("waits").is_some() && c["waits"].get("again").is_none();
    let told = |what: &str| outcome.connections.iter().filter(first).filter(|c| c["waits"]["for"] == what).count();
    assert_eq!(
        (told("request"), told("idle")),
        (10, 30),
        "the logs are told of, and what is kept for later, and no more"
    );
}

/// Answers that are sent again and again, and never acknowledged; after so many seconds they are, if at all.
fn deaf(wire: &mut Wire, at: f64, client: [u8; 4], port: u16, until: f64) {
    let mut connection = wire.open(seconds(at), client, port);
    let head = b"GET /v1/orders HTTP/1.1\r\nHost: api.example\r\n\r\n";
    wire.send(seconds(at + 0.01), &mut connection, CLIENT, head);
    let answer = [&b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"[..], &[b'x'; 900]].concat();
    wire.say(seconds(at + 0.02), &mut connection, SERVER, &answer);
    let mut pause = 0.2;
    while pause < until.min(40.0) {
        wire.repeat(seconds(at + 0.02 + pause), &mut connection, SERVER, &answer);
        pause = 2.0 * pause + 0.2;
    }
    if until < 40.0 {
        wire.acknowledge(seconds(at + until), &connection, CLIENT);
    }
}

#[test]
fn answers_that_nobody_acknowledges() {
    let outcome = run("deaf", |wire, _| {
        for number in 0..70 {
            deaf(wire, 5.0 + 1.5 * f64::from(number), ATTACKER, 40_000 + number, 60.0);
        }
    });
    outcome.accuses("response_body");
    assert!(outcome.connections.iter().all(|connection| connection["waits"]["unacknowledged"] == true));
}

#[test]
fn lines_that_break_off_accuse_nobody() {
    let outcome = run("broken-lines", |wire, _| {
        for number in 0..20u16 {
            // Each telephone loses six connections at once, or is gone for some seconds.
            let (phone, late) = ([198, 51, 100, 50 + (number / 6) as u8], f64::from(number % 2) * 50.0 + 8.0);
            deaf(wire, 20.0 + 0.1 * f64::from(number), phone, 40_000 + number, late);
        }
    });
    outcome.is_quiet();
    let deaf = |c: &&Value| c.get("part").is_none() && c["waits"]["unacknowledged"] == true;
    assert_eq!(outcome.connections.iter().filter(deaf).count(), 10);
}

#[test]
fn real_tools_are_found() {
    for name in ["slow-loris", "slow-body", "slow-read"] {
        let Some(capture) = shared(&format!("corpus/peers/{name}.pcap")) else { return };
        let folder = Folder::new(name);
        let path = capture.to_str().expect("UTF-8");
        let alerts = folder.run("replay", &[path, "--quiet"]).lines();
        assert!(alerts.iter().any(|alert| alert["kind"] == "flood.slow"), "{name}: {alerts:?}");
        let lines = folder.run("calls", &[path, "--quiet"]).lines();
        let told = |line: &&Value| line["schema"] == "apitap.connection.v1" && line.get("part").is_none();
        assert_eq!(lines.iter().filter(told).count(), 12, "{name}");
    }
}
