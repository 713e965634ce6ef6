//! Hostile loads: each ends well, in the memory that its settings allow, with work that grows as the load does; what the limits
//! cost is counted by name, honest calls beside it are seen as ever, and nobody honest is accused.
//!
//! Each load is run twice, the second time twice as large. Here they are small, under small limits; the same with millions and the
//! defaults' limits is `cargo test --test hostile -- --ignored --test-threads 1 --nocapture`, which prints what each came to.

#[path = "support/load.rs"]
mod load;
mod support;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ChildStdin;

use flate2::Compression;
use flate2::write::GzEncoder;
use load::{ACK, CLIENT, Outcome, SERVER, SERVICE, SYN, Talk, feed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::Folder;

type Wire = load::Wire<io::BufWriter<ChildStdin>>;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What the program takes with nothing to do: code, rules, tables that are made whole, buffers. A debug build's 35 MiB, and half as much.
const IDLE: u64 = 56 * MIB;

/// A load of a size, and what it has to come to.
struct Attack<'a> {
    name: &'a str,
    command: &'a str,
    arguments: &'a [&'a str],
    configuration: String,
    /// What the settings say the tables take at worst, in bytes, beside [`IDLE`].
    worst: u64,
    size: u32,
}

impl Attack<'_> {
    /// Runs it once and twice as large; `check` gets what came of each, and its size.
    fn run(
        &self,
        load: impl Fn(&mut Wire, &mut StdRng, u32) -> io::Result<()>,
        check: impl Fn(&Outcome, u32),
    ) -> [Outcome; 2] {
        let folder = Folder::new(self.name);
        let outcomes = [self.size, 2 * self.size].map(|size| {
            let outcome = feed(&folder, self.command, self.arguments, &self.configuration, |wire| {
                load(wire, &mut StdRng::seed_from_u64(5), size)
            });
            println!(
                "{} {size}: {:.2} s of processor, {} MiB of {} MiB, {} honest calls, {}",
                self.name,
                outcome.cpu,
                outcome.peak / MIB,
                (IDLE + self.worst) / MIB,
                outcome.honest,
                outcome.summary["counters"],
            );
            assert!(outcome.peak <= IDLE + self.worst, "{} {size}: {} bytes", self.name, outcome.peak);
            if self.command == "replay" {
                outcome.accuses_nobody_honest();
            }
            check(&outcome, size);
            outcome
        });
        let [once, twice] = &outcomes;
        assert!(twice.cpu <= 3.0 * once.cpu + 0.3, "{}: {} s, then {} s", self.name, once.cpu, twice.cpu);
        outcomes
    }
}

/// Somebody, somewhere, who is none of the people.
fn anybody(random: &mut StdRng) -> SocketAddrV4 {
    let address = 0x2000_0000 + random.random_range(0..0x8000_0000_u32);
    SocketAddrV4::new(Ipv4Addr::from(address), random.random_range(1_024..65_000))
}

/// Limits of the detector, and what they come to at worst, by the documentation of its settings and of the templates'.
struct Limits {
    configuration: &'static str,
    worst: u64,
}

/// Limits that are reached soon.
const SMALL: Limits = Limits {
    configuration: "[detect]\nclients = 2000\nendpoints = 500\nmisses = 4096\ncredentials = 2000\nincidents = 256\n\
         slow_clients = 1000\nlookups = 2000\naccounts = 2000\nwritten_endpoints = 100\nreturned_endpoints = 100\n[endpoint]\nnodes = 4096\nclients = 2000\n",
    worst: 2_000 * 16 * KIB
        + 500 * 48 * KIB
        + 4_096 * 128
        + 2_000 * 8_400
        + 256 * 32 * KIB
        + 1_000 * 3 * KIB
        + 2_000 * 700
        + 100 * 7 * KIB
        + 4_096 * 2_560
        + 2_000 * 64,
};

/// The defaults.
const DEFAULT: Limits = Limits { configuration: "", worst: 3_690 * MIB + 161 * MIB };

fn syn_flood(size: u32, limits: &Limits, flows: u32, half_open: u32) {
    let attack = Attack {
        name: "syn-flood",
        command: "replay",
        arguments: &[],
        configuration: format!("[stream]\nmax_flows = {flows}\nmax_half_open = {half_open}\n{}", limits.configuration),
        worst: u64::from(flows) * 500 + limits.worst,
        size,
    };
    let load = |wire: &mut Wire, random: &mut StdRng, size: u32| {
        for _ in 0..size {
            wire.segment(&[], [anybody(random), SERVER], [random.random(), 0], SYN, &[])?;
            wire.wait(200);
            wire.honest_calls()?;
        }
        Ok(())
    };
    attack.run(load, |outcome, size| {
        assert_eq!(outcome.counter("calls"), outcome.honest);
        let lost = outcome.counter("half_open_evicted") + outcome.counter("flows_half_open");
        assert!(lost >= u64::from(size), "{}", outcome.summary);
        assert!(outcome.counter("half_open_evicted") >= u64::from(size - 2 * half_open), "{}", outcome.summary);
    });
}

#[test]
fn a_syn_flood() {
    syn_flood(60_000, &SMALL, 8_000, 4_000);
}

/// First fragments of packets that never end, and, every other time, one more of the thousands of pieces of one packet.
fn fragment_flood(size: u32, limits: &Limits, bytes: u32, packets: u32) {
    let attack = Attack {
        name: "fragment-flood",
        command: "replay",
        arguments: &[],
        configuration: format!(
            "[packet]\nfragment_bytes = {bytes}\nfragment_packets = {packets}\n{}",
            limits.configuration
        ),
        // Fragments that may be duplicates have 32,768 places.
        worst: u64::from(bytes) + 2 * 32_768 * 64 + limits.worst,
        size,
    };
    let load = |wire: &mut Wire, random: &mut StdRng, size: u32| {
        let content = [7; 512];
        for number in 0..size {
            let from = *anybody(random).ip();
            if number % 2 == 0 {
                wire.packet(&[], [from, *SERVER.ip()], 6, 0x2000, &[&content, &number.to_be_bytes(), &[0; 4]])?;
            } else {
                // Every second unit of eight bytes, all of one packet: holes without end.
                let offset = 2 * random.random_range(0..4_000_u16);
                let mut frame = Vec::from([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 28, 0, 9]);
                frame.extend((0x2000 | offset).to_be_bytes());
                frame.extend([64, 6, 0, 0, 203, 0, 113, 7, 10, 1, 0, 1]);
                frame.extend(u64::from(number).to_be_bytes());
                wire.frame(&frame)?;
            }
            wire.wait(200);
            wire.honest_calls()?;
        }
        Ok(())
    };
    attack.run(load, |outcome, size| {
        assert_eq!(outcome.counter("calls"), outcome.honest);
        assert_eq!(outcome.counter("fragments"), u64::from(size));
        let lost = outcome.counter("fragments_dropped");
        assert!(lost >= u64::from(size) - 2 * u64::from(packets), "{}", outcome.summary);
    });
}

#[test]
fn a_fragment_flood() {
    fragment_flood(40_000, &SMALL, 1 << 20, 1_024);
}

/// Connections without end, most of them left open, some with a request that nobody answers, some taken up in the middle.
fn churn(size: u32, limits: &Limits, flows: u32) {
    let attack = Attack {
        name: "churn",
        command: "replay",
        arguments: &[],
        configuration: format!("[stream]\nmax_flows = {flows}\n{}", limits.configuration),
        // A flow with a request keeps that, about 1 KiB, and 4 KiB of what reads it.
        worst: u64::from(flows) * (500 + 5 * 1_024) + 64 * MIB + limits.worst,
        size,
    };
    let load = |wire: &mut Wire, random: &mut StdRng, size: u32| {
        let request = b"GET /v1/orders HTTP/1.1\r\nHost: api.example\r\nUser-Agent: app/1.0\r\n\r\n";
        for number in 0..size {
            let from = anybody(random);
            match number % 4 {
                0 => drop(wire.open(from, SERVER)?),
                1 => {
                    let mut talk = wire.open(from, SERVER)?;
                    wire.say(&mut talk, CLIENT, request)?;
                }
                2 => wire.say(&mut Talk::midstream(from, SERVER), CLIENT, &number.to_be_bytes().repeat(20))?,
                _ => {
                    let mut talk = wire.open(from, SERVER)?;
                    wire.close(&mut talk)?;
                }
            }
            wire.wait(400);
            wire.honest_calls()?;
        }
        Ok(())
    };
    attack.run(load, |outcome, size| {
        let (calls, unanswered) = (outcome.counter("calls"), u64::from(size / 4));
        assert_eq!(calls, outcome.honest + unanswered, "{}", outcome.summary);
        assert_eq!(outcome.counter("calls_without_response"), unanswered);
        assert!(outcome.counter("flows_evicted") >= u64::from(size / 4 * 3) - u64::from(flows), "{}", outcome.summary);
    });
}

#[test]
fn flows_without_end() {
    churn(20_000, &SMALL, 4_000);
}

/// Clients that a proxy vouches for, each of them new, while one of them looks around, once in a while.
fn spoofed_clients(size: u32, limits: &Limits, probes: u32) {
    const MAPPER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
    let attack = Attack {
        name: "spoofed-clients",
        command: "replay",
        arguments: &["--trusted-proxy", "10.9.0.1"],
        configuration: limits.configuration.to_owned(),
        worst: limits.worst,
        size,
    };
    let load = |wire: &mut Wire, random: &mut StdRng, size: u32| {
        // A service with a past.
        for _ in 0..4_000 {
            wire.honest_call()?;
            wire.wait(500_000);
        }
        let proxy = SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 1), 40_000);
        let mut talk = wire.open(proxy, SERVER)?;
        let mut call = |wire: &mut Wire, client: Ipv4Addr, path: &str, status: &str| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: api.example\r\nX-Forwarded-For: {client}\r\n\r\n");
            wire.say(&mut talk, CLIENT, request.as_bytes())?;
            let response = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}");
            wire.say(&mut talk, SERVICE, response.as_bytes())
        };
        // One probe in ten minutes, whatever the size.
        let pause = 600_000_000 * u64::from(probes) / u64::from(size);
        for number in 0..size {
            if number % (size / probes) == size / probes / 2 {
                let word: String = (0..6).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect();
                call(wire, MAPPER, &format!("/{word}/{}", number / (size / probes)), "404 Not Found")?;
            }
            let path = ["/v1/orders", "/v1/articles", "/v1/shops", "/v1/prices"][random.random_range(0..4)];
            call(wire, *anybody(random).ip(), path, "200 OK")?;
            wire.wait(pause);
            if number % 20 == 0 {
                wire.honest_call()?;
            }
        }
        Ok(())
    };
    attack.run(load, |outcome, size| {
        assert_eq!(outcome.counter("calls"), outcome.honest + u64::from(size + probes), "{}", outcome.summary);
        assert!(outcome.counter("clients_evicted") > 0, "{}", outcome.summary);
        let accused = outcome.accused();
        let found = accused.iter().any(|(address, kind)| *address == MAPPER && kind.starts_with("recon."));
        assert!(found, "{accused:?}");
        let others: Vec<_> = accused.iter().filter(|(address, _)| *address != MAPPER).collect();
        assert!(others.is_empty(), "{others:?}");
    });
}

#[test]
fn spoofed_clients_while_a_slow_attacker_works() {
    spoofed_clients(12_000, &SMALL, 24);
}

/// Heads of more than 64 KiB, of many lines, of one, and some that never end, in segments of a few bytes, many at a time.
fn large_heads(size: u32, limits: &Limits, limit: usize) {
    const SIDE_BY_SIDE: u32 = 64;
    let attack = Attack {
        name: "heads",
        command: "replay",
        arguments: &[],
        configuration: format!("[http]\nhead_limit = {limit}\n{}", limits.configuration),
        // A buffer that grows may be twice as large as what is in it.
        worst: u64::from(SIDE_BY_SIDE) * 2 * limit as u64 + 16 * MIB + limits.worst,
        size,
    };
    let load = |wire: &mut Wire, random: &mut StdRng, size: u32| {
        for _ in 0..size.div_ceil(SIDE_BY_SIDE) {
            let mut talks = Vec::new();
            for number in 0..SIDE_BY_SIDE {
                let mut head = b"GET /v1/orders HTTP/1.1\r\nHost: api.example\r\n".to_vec();
                while head.len() < 70 << 10 {
                    match number % 4 {
                        0 => write!(head, "X-{:06x}: {}\r\n", random.random_range(0..1 << 24), head.len())?,
                        1 => head.extend_from_slice(b"a:\r\n"),
                        2 => head.extend_from_slice(if head.ends_with(b"\n") { b"Cookie: a=" } else { b"bbbbbbbb" }),
                        _ => head.extend_from_slice(b"\r\n folded"),
                    }
                }
                if number % 8 < 4 {
                    head.extend_from_slice(b"\r\n\r\n");
                }
                talks.push((wire.open(anybody(random), SERVER)?, head));
            }
            for at in (0..72 << 10).step_by(1_024) {
                for (number, (talk, head)) in talks.iter_mut().enumerate() {
                    let Some(part) = head.get(at..(at + 1_024).min(head.len())) else { continue };
                    // One in eight dribbles.
                    let grain = if number % 8 == 7 { 64 } else { 1_024 };
                    wire.say_in(talk, CLIENT, part, grain)?;
                    wire.wait(5);
                }
            }
            for (mut talk, _) in talks {
                wire.say(&mut talk, SERVICE, b"HTTP/1.1 431 Too Large\r\nContent-Length: 0\r\n\r\n")?;
                wire.close(&mut talk)?;
            }
            wire.wait(1_000_000);
            wire.honest_calls()?;
        }
        Ok(())
    };
    attack.run(load, |outcome, size| {
        let sent = u64::from(size.div_ceil(SIDE_BY_SIDE) * SIDE_BY_SIDE);
        assert!(outcome.counter("calls") >= outcome.honest + sent / 2, "{}", outcome.summary);
        assert!(outcome.counter("heads_too_large") >= sent / 2, "{}", outcome.summary);
    });
}

#[test]
fn heads_of_64_kib() {
    large_heads(64, &SMALL, 32 << 10);
}

/// A request line that comes byte by byte, as many at a time as fit into a head.
fn long_lines(size: u32, limits: &Limits) {
    let attack = Attack {
        name: "long-lines",
        command: "replay",
        arguments: &[],
        configuration: limits.configuration.to_owned(),
        worst: 2 * MIB + limits.worst,
        size,
    };
    let load = |wire: &mut Wire, random: &mut StdRng, size: u32| {
        let mut talk = wire.open(anybody(random), SERVER)?;
        let line = format!("GET /{} HTTP/1.1\r\nHost: api.example\r\n\r\n", "a".repeat(size as usize));
        wire.say_in(&mut talk, CLIENT, line.as_bytes(), 1)?;
        wire.say(&mut talk, SERVICE, b"HTTP/1.1 414 Too Long\r\nContent-Length: 0\r\n\r\n")?;
        wire.close(&mut talk)?;
        wire.honest_call()
    };
    attack.run(load, |outcome, _| assert_eq!(outcome.counter("calls"), outcome.honest + 1));
}

#[test]
fn long_lines_byte_by_byte() {
    long_lines(100 << 10, &SMALL);
}

/// Requests that nobody answers cost the same however many of them may wait.
#[test]
fn pipelines_without_answers() {
    let folder = Folder::new("pipelines");
    let cost = |limit: u32| {
        let configuration = format!("[http]\npending_limit = {limit}\n");
        let outcome = feed(&folder, "calls", &[], &configuration, |wire| {
            let mut talk = wire.open(SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 7), 4_096), SERVER)?;
            let request = b"GET / HTTP/1.1\r\n\r\n";
            wire.say(&mut talk, CLIENT, request)?;
            wire.say(&mut talk, SERVICE, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            for _ in 0..400 {
                wire.say(&mut talk, CLIENT, &request.repeat(70))?;
                wire.wait(1_000);
            }
            Ok(())
        });
        assert_eq!(outcome.counter("calls"), 1 + 400 * 70);
        assert_eq!(outcome.counter("pending_requests_dropped"), u64::from(400 * 70 - limit));
        println!("pipelines {limit}: {:.2} s, {} MiB", outcome.cpu, outcome.peak / MIB);
        outcome.cpu
    };
    let (few, many) = (cost(64), cost(4_096));
    assert!(many <= 2.0 * few + 0.3, "{few} s, and {many} s where more may wait");
}

/// Where the next head has to be looked for, what begins like many heads and is none costs no more than anything else.
#[test]
fn beginnings_of_heads_behind_a_loss() {
    let folder = Folder::new("beginnings");
    let cost = |word: &str| {
        let outcome = feed(&folder, "calls", &[], "", |wire| {
            let mut talk = wire.open(SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 7), 4_096), SERVER)?;
            wire.say(&mut talk, CLIENT, b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n")?;
            wire.say(&mut talk, SERVICE, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")?;
            let part = word.repeat(60_000 / word.len());
            for _ in 0..300 {
                wire.say_in(&mut talk, SERVICE, part.as_bytes(), part.len())?;
                wire.wait(20_000);
            }
            wire.honest_call()
        });
        assert_eq!(outcome.counter("calls"), 2);
        assert!(outcome.counter("bytes_skipped") > 300 * 59_000, "{}", outcome.summary);
        println!("beginnings {word:?}: {:.2} s", outcome.cpu);
        outcome.cpu
    };
    let (other, beginnings) = (cost("HTTP/1.1 2OO "), cost("HTTP/1.1 200 "));
    assert!(beginnings <= 2.0 * other + 0.3, "{other} s, and {beginnings} s for what may begin a head");
}

/// Chunked bodies whose chunks have no end: the data, the size, its extension, the trailers; and sizes that are no numbers.
fn endless_chunks(size: u32, limits: &Limits) {
    let attack = Attack {
        name: "chunks",
        command: "replay",
        arguments: &[],
        configuration: limits.configuration.to_owned(),
        worst: 24 * MIB + limits.worst,
        size,
    };
    let load = |wire: &mut Wire, random: &mut StdRng, size: u32| {
        let head = b"POST /v1/orders HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: chunked\r\n\r\n";
        let sorts: [(&[u8], &[u8]); 7] = [
            (b"ffffffffffffffff\r\n", b"data "),
            (b"7fffffffffffffff\r\n", b"data "),
            (b"0", b"0"),
            (b"5;", b"a=b;"),
            (b"5\r\nhello\r\n", b"1\r\na\r\n"),
            (b"0\r\n", b"X-Trailer: more\r\n"),
            (b"-1\r\n", b"\0\r\n\xff"),
        ];
        for (sort, (begin, more)) in sorts.iter().enumerate() {
            let mut talk = wire.open(anybody(random), SERVER)?;
            wire.say(&mut talk, CLIENT, head)?;
            wire.say(&mut talk, CLIENT, begin)?;
            let part = more.repeat((16 << 10) / more.len());
            for number in 0..size {
                // Where lines are what does not end, in small segments, too.
                wire.say_in(&mut talk, CLIENT, &part, if sort < 2 || number % 8 > 0 { 1_400 } else { 100 })?;
                wire.wait(20_000);
                wire.honest_calls()?;
            }
        }
        Ok(())
    };
    attack.run(load, |outcome, _| {
        // The server answers none of them, so each is a call without a response, or no call.
        let calls = outcome.counter("calls") - outcome.counter("calls_without_response");
        assert_eq!(calls, outcome.honest, "{}", outcome.summary);
        assert!(
            outcome.counter("calls_without_response") + outcome.counter("calls_anomalous") >= 4,
            "{}",
            outcome.summary
        );
    });
}

#[test]
fn chunks_without_end() {
    endless_chunks(60, &SMALL);
}

/// Packets whose time stands still, as after a clock was set back: what is of one moment cannot be held until that is over.
fn stopped_clock(size: u32, workers: &str) -> Outcome {
    let folder = Folder::new("stopped-clock");
    let outcome = feed(&folder, "calls", &["--workers", workers], "", |wire| {
        let mut talk = wire.open(SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 7), 4_096), SERVER)?;
        for _ in 0..size {
            wire.say(&mut talk, CLIENT, b"GET /v1/orders HTTP/1.1\r\nHost: api.example\r\n\r\n")?;
            wire.say(&mut talk, SERVICE, b"HTTP/1.1 204 No Content\r\n\r\n")?;
        }
        Ok(())
    });
    println!("stopped-clock {size}: {} MiB, {}", outcome.peak / MIB, outcome.summary["counters"]);
    assert_eq!(outcome.counter("calls"), u64::from(size));
    assert_eq!(outcome.run.lines().len(), size as usize);
    // 65,536 records of 2 KiB, twice while they are handed on.
    assert!(outcome.peak <= IDLE + 2 * 128 * MIB, "{} bytes", outcome.peak);
    outcome
}

#[test]
fn a_clock_that_stands_still() {
    for workers in ["1", "2"] {
        let outcome = stopped_clock(80_000, workers);
        assert!(outcome.counter("records_unordered") > 65_536, "{}", outcome.summary);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

/// Answers and requests that decode to far more than they are.
fn bombs(size: u32, limits: &Limits, decoded: usize) {
    let attack = Attack {
        name: "bombs",
        command: "replay",
        arguments: &[],
        configuration: format!("[http]\ndecoded_limit = {decoded}\ndecoded_ratio = 500\n{}", limits.configuration),
        // Decoders of one connection at a time: 8 MiB each for zstd, of at most four encodings.
        worst: 4 * 8 * MIB + 24 * MIB + limits.worst,
        size,
    };
    let zeros = vec![b'0'; 2 * decoded];
    let gzipped = gzip(&zeros);
    let twice = gzip(&gzipped);
    let zstd = zstd::bulk::compress(&zeros, 3).expect("compresses");
    let bodies =
        [("gzip", &gzipped), ("gzip, gzip", &twice), ("zstd", &zstd), ("gzip, gzip, gzip, gzip, gzip, gzip", &twice)];
    let load = |wire: &mut Wire, random: &mut StdRng, size: u32| {
        for number in 0..size {
            let (encoding, body) = bodies[number as usize % bodies.len()];
            let message = format!(
                "Content-Type: application/json\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let request = format!("POST /v1/orders HTTP/1.1\r\nHost: api.example\r\n{message}");
            let response = format!("HTTP/1.1 200 OK\r\n{message}");
            // No body is that of another, or it would be remembered.
            let mut body = body.clone();
            body.extend(number.to_be_bytes());
            let body = &body[..body.len() - 4];
            wire.call(anybody(random), &[request.as_bytes(), body].concat(), &[response.as_bytes(), body].concat())?;
            wire.wait(500_000);
            wire.honest_calls()?;
        }
        Ok(())
    };
    attack.run(load, |outcome, size| {
        assert_eq!(outcome.counter("calls"), outcome.honest + u64::from(size), "{}", outcome.summary);
        let stopped = outcome.counter("bodies_truncated") + outcome.counter("bodies_undecodable");
        assert!(stopped + outcome.counter("bodies_recalled") >= u64::from(size), "{}", outcome.summary);
    });
}

#[test]
fn bombs_in_gzip_and_zstd() {
    bombs(40, &SMALL, 1 << 20);
}

/// Bodies of brackets and more brackets, with their shapes asked for.
fn deep_bodies(size: u32, limits: &Limits) {
    let attack = Attack {
        name: "deep",
        command: "replay",
        arguments: &[],
        configuration: format!("[inspect]\nshapes = true\n{}", limits.configuration),
        worst: 24 * MIB + 100 * 7 * 1_024 + limits.worst,
        size,
    };
    let load = |wire: &mut Wire, random: &mut StdRng, size: u32| {
        let parts: [&[u8]; 6] = [b"[", b"{\"a\":", b"[{\"a\":[", b"\"\\u", b"{\"query\":\"{a", b"{a(b:[{"];
        for number in 0..size {
            let part = parts[number as usize % parts.len()];
            let mut body = part.repeat((200 << 10) / part.len());
            body.extend(number.to_be_bytes());
            let kind = if number % 12 < 6 { "application/json" } else { "application/graphql" };
            let message = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
            let request = format!("POST /graphql HTTP/1.1\r\nHost: api.example\r\n{message}");
            let response = format!("HTTP/1.1 200 OK\r\n{message}");
            wire.call(anybody(random), &[request.as_bytes(), &body].concat(), &[response.as_bytes(), &body].concat())?;
            wire.wait(500_000);
            wire.honest_calls()?;
        }
        Ok(())
    };
    attack.run(load, |outcome, size| {
        assert_eq!(outcome.counter("calls"), outcome.honest + u64::from(size), "{}", outcome.summary);
        assert!(outcome.counter("operations_unread") >= u64::from(size / 3), "{}", outcome.summary);
    });
}

#[test]
fn deep_json() {
    deep_bodies(24, &SMALL);
}

/// Calls as lines, among them what nests as deep as a line can be long.
#[test]
fn deep_lines() {
    let folder = Folder::new("deep-lines");
    let mut lines = Vec::new();
    for part in ["[", "{\"a\":", "{\"schema\":\"apitap.call.v1\",\"client\":["] {
        lines.extend(part.repeat((1 << 20) / part.len()).bytes());
        lines.push(b'\n');
    }
    lines.extend(b"{\"method\":\"GET\"}\n");
    std::fs::write(folder.path("deep.jsonl"), lines).expect("a writable folder");
    let run = folder.run("detect", &["deep.jsonl", "--json-summary"]);
    assert!(run.code.is_some_and(|code| code < 2), "{:?} {}", run.code, run.stderr);
}

/// Keys as somebody would choose them who knows the usual hashes without a key: multiples of large powers of two, a bit at a
/// time, texts that differ where a sample of them does not look.
#[derive(Clone, Copy, PartialEq)]
enum Keys {
    Random,
    Chosen,
}

/// The cost of `load` with chosen keys is that with random ones, or at most so many times as much.
fn chosen_keys_cost_no_more(
    name: &str,
    times: f64,
    arguments: &[&str],
    configuration: &str,
    load: impl Fn(&mut Wire, Keys) -> io::Result<()>,
) {
    let folder = Folder::new(name);
    let cost = |keys| {
        let outcome = feed(&folder, "replay", arguments, configuration, |wire| load(wire, keys));
        println!("{name}: {:.2} s, {} MiB, {}", outcome.cpu, outcome.peak / MIB, outcome.summary["counters"]);
        outcome.cpu
    };
    let (random, chosen) = (cost(Keys::Random), cost(Keys::Chosen));
    assert!(chosen <= times * random + 0.3, "{name}: {random} s with random keys, {chosen} s with chosen ones");
}

/// The number turned round, so that it differs from its neighbours in the highest bits alone.
fn high(number: u32) -> u32 {
    number.reverse_bits()
}

fn colliding_flows(size: u32) {
    chosen_keys_cost_no_more("collide-flows", 2.0, &[], "", |wire, keys| {
        let mut random = StdRng::seed_from_u64(6);
        for number in 0..size {
            let (client, server) = match keys {
                Keys::Random => (anybody(&mut random), SERVER),
                // The ends cancel each other out in a sum, and in an exclusive or.
                Keys::Chosen => (
                    SocketAddrV4::new(Ipv4Addr::from(high(number) ^ 0x2000_0000), 4_096),
                    SocketAddrV4::new(Ipv4Addr::from(high(number)), 4_097),
                ),
            };
            wire.say(&mut Talk::midstream(client, server), CLIENT, &number.to_be_bytes().repeat(8))?;
            wire.wait(20);
        }
        Ok(())
    });
}

#[test]
fn flows_that_collide() {
    colliding_flows(40_000);
}

/// One pair of ends in ever other VLANs: nothing of it but the tags tells the flows apart.
fn flows_alike(size: u32) {
    // Those that are kept, 64 by default, are looked through: a constant, where it was all of them.
    chosen_keys_cost_no_more("flows-alike", 4.0, &[], "", |wire, keys| {
        let mut random = StdRng::seed_from_u64(6);
        for number in 0..size {
            let tags = [
                0x88,
                0xa8,
                (number >> 20) as u8,
                (number >> 12) as u8,
                0x81,
                0,
                (number >> 8 & 15) as u8,
                number as u8,
            ];
            let client = match keys {
                Keys::Random => anybody(&mut random),
                Keys::Chosen => SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 7), 4_096),
            };
            // Each far from the others, so that it fits none of them.
            let sequence = number.wrapping_mul(0x9e37_79b1);
            wire.segment(&tags, [client, SERVER], [sequence, !sequence], ACK, &number.to_be_bytes().repeat(8))?;
            wire.wait(20);
        }
        Ok(())
    });
}

#[test]
fn flows_of_the_same_ends() {
    flows_alike(20_000);
}

fn colliding_fragments(size: u32) {
    chosen_keys_cost_no_more("collide-fragments", 2.0, &[], "[packet]\nfragment_packets = 16384\n", |wire, keys| {
        let mut random = StdRng::seed_from_u64(6);
        for number in 0..size {
            let ends = match keys {
                Keys::Random => [*anybody(&mut random).ip(), *SERVER.ip()],
                Keys::Chosen => [Ipv4Addr::from(high(number) ^ 0x2000_0000), Ipv4Addr::from(high(number))],
            };
            wire.packet(&[], ends, 6, 0x2000, &[&number.to_be_bytes().repeat(8)])?;
            wire.wait(20);
        }
        Ok(())
    });
}

#[test]
fn fragments_that_collide() {
    colliding_fragments(40_000);
}

/// Clients, hosts, paths, user agents, credentials and bodies.
fn colliding_texts(size: u32) {
    let arguments = &["--trusted-proxy", "10.9.0.1"];
    chosen_keys_cost_no_more("collide-texts", 2.0, arguments, "[inspect]\nshapes = true\n", |wire, keys| {
        let proxy = SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 1), 40_000);
        let mut talk = wire.open(proxy, SERVER)?;
        let mut random = StdRng::seed_from_u64(6);
        for number in 0..size {
            let (client, number) = match keys {
                Keys::Random => (*anybody(&mut random).ip(), random.random_range(0..1 << 24)),
                Keys::Chosen => (Ipv4Addr::from(high(number)), number),
            };
            // What differs stands where samples of the beginning, the middle and the end do not look.
            let text = |length: usize| format!("{}{number:08x}{}", "a".repeat(length / 4), "z".repeat(length * 3 / 4));
            let body = format!("{{\"{}\": \"{}\"}}", text(24), text(900));
            let request = format!(
                "POST /{}/{} HTTP/1.1\r\nHost: {}.example\r\nX-Forwarded-For: {client}\r\nUser-Agent: {}\r\n\
                 Authorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                text(8),
                text(16),
                text(12),
                text(120),
                text(64),
                body.len(),
            );
            wire.say(&mut talk, CLIENT, request.as_bytes())?;
            let response =
                format!("HTTP/1.1 200 OK\r\nServer: {}\r\nContent-Length: {}\r\n\r\n{body}", text(40), body.len());
            wire.say(&mut talk, SERVICE, response.as_bytes())?;
            wire.wait(1_000);
        }
        Ok(())
    });
}

#[test]
fn texts_that_collide() {
    colliding_texts(4_000);
}

mod full_size {
    //! What the issue asks for: millions, with the limits as they are by default. In minutes.

    use super::*;

    #[test]
    #[ignore = "takes minutes"]
    fn spoofed() {
        spoofed_clients(500_000, &DEFAULT, 24);
    }

    #[test]
    #[ignore = "takes minutes"]
    fn syns() {
        syn_flood(1_000_000, &DEFAULT, 1 << 20, 1 << 16);
    }

    #[test]
    #[ignore = "takes minutes"]
    fn fragments() {
        fragment_flood(1_000_000, &DEFAULT, 8 << 20, 4_096);
    }

    #[test]
    #[ignore = "takes minutes"]
    fn flows() {
        churn(500_000, &DEFAULT, 1 << 18);
    }

    #[test]
    #[ignore = "takes minutes"]
    fn heads() {
        large_heads(1_024, &DEFAULT, 64 << 10);
    }

    #[test]
    #[ignore = "takes minutes"]
    fn chunks() {
        endless_chunks(2_000, &DEFAULT);
    }

    #[test]
    #[ignore = "takes minutes"]
    fn encodings() {
        bombs(60, &DEFAULT, 64 << 20);
    }

    #[test]
    #[ignore = "takes minutes"]
    fn depths() {
        deep_bodies(200, &DEFAULT);
    }

    #[test]
    #[ignore = "takes minutes"]
    fn collisions() {
        colliding_flows(500_000);
        flows_alike(500_000);
        colliding_fragments(500_000);
        colliding_texts(40_000);
    }
}
