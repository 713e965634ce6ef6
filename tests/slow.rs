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
