//! Conversations through the stream stage: what was said comes out as calls, however it was cut, and what was lost
//! loses nothing else.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{Http, Settings};
use crate::call::{Anomaly, Call, Connection, Record, Version};
use crate::inspect::{Inspector, Rules};
use crate::key::Key;
use crate::packet::{Encapsulation, Flags, Segment};
use crate::stats::Counter;
use crate::stream::{self, Tracker};
use crate::time::Timestamp;

const CLIENT: &str = "10.0.0.1:40000";
const SERVER: &str = "10.0.0.2:8080";

/// One connection that is spoken step by step.
pub(super) struct Talk {
    tracker: Tracker<Http>,
    sent: [u32; 2],
    micros: u64,
    /// Largest segment.
    size: usize,
    calls: Vec<Box<Call>>,
}

impl Talk {
    pub(super) fn new(size: usize) -> Talk {
        Talk::with(size, Settings::default())
    }

    pub(super) fn with(size: usize, settings: Settings) -> Talk {
        let http = Http::new(settings, Arc::new(inspector()));
        let mut talk = Talk {
            tracker: Tracker::new(stream::Settings::default(), http),
            sent: [1_000, 2_000],
            micros: 0,
            size,
            calls: Vec::new(),
        };
        talk.segment(true, Flags::SYN, b"");
        talk.sent[0] += 1;
        talk.segment(false, Flags::SYN | Flags::ACK, b"");
        talk.sent[1] += 1;
        talk.segment(true, Flags::ACK, b"");
        talk
    }

    /// One that is taken up without its handshake.
    pub(super) fn midstream(size: usize) -> Talk {
        let http = Http::new(Settings::default(), Arc::new(inspector()));
        let tracker = Tracker::new(stream::Settings::default(), http);
        Talk { tracker, sent: [1_000, 2_000], micros: 0, size, calls: Vec::new() }
    }

    /// What was counted.
    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.tracker.counters().value(counter)
    }

    /// Time passes.
    pub(super) fn wait(&mut self, seconds: u64) -> &mut Talk {
        self.micros += seconds * 1_000_000;
        self
    }

    /// Sends bytes, of which the segments for which `lost` says so are missed.
    pub(super) fn send_lossy(&mut self, from_client: bool, bytes: &[u8], lost: &mut dyn FnMut() -> bool) {
        for piece in bytes.chunks(self.size) {
            if !lost() {
                self.segment(from_client, Flags::ACK, piece);
            }
            self.sent[usize::from(!from_client)] += piece.len() as u32;
        }
        self.segment(!from_client, Flags::ACK, b"");
    }

    fn segment(&mut self, from_client: bool, flags: Flags, payload: &[u8]) {
        let (client, server): (SocketAddr, SocketAddr) = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
        let (source, destination) = if from_client { (client, server) } else { (server, client) };
        self.micros += 10;
        let time = Timestamp::from_parts(1_000, 0) + Duration::from_micros(self.micros);
        let own = usize::from(!from_client);
        self.tracker.tick(time);
        self.tracker.segment(&Segment {
            time,
            source,
            destination,
            encapsulation: &Encapsulation::NONE,
            sequence: self.sent[own],
            acknowledgment: self.sent[1 - own],
            flags,
            window: u16::MAX,
            urgent: 0,
            payload,
            missing: 0,
            fingerprint: 0,
        });
    }

    pub(super) fn send(&mut self, from_client: bool, bytes: &[u8]) -> &mut Talk {
        for piece in bytes.chunks(self.size) {
            self.segment(from_client, Flags::ACK, piece);
            self.sent[usize::from(!from_client)] += piece.len() as u32;
        }
        self.segment(!from_client, Flags::ACK, b"");
        self
    }

    pub(super) fn client(&mut self, text: &str) -> &mut Talk {
        self.send(true, text.as_bytes())
    }

    pub(super) fn server(&mut self, text: &str) -> &mut Talk {
        self.send(false, text.as_bytes())
    }

    /// So many bytes are sent and acknowledged, and the capture misses them.
    pub(super) fn lose(&mut self, from_client: bool, length: usize) -> &mut Talk {
        self.sent[usize::from(!from_client)] += length as u32;
        self.segment(!from_client, Flags::ACK, b"");
        self.micros += 100_000;
        self
    }

    pub(super) fn pause(&mut self) -> &mut Talk {
        self.micros += 100_000;
        self.segment(true, Flags::ACK, b"");
        self.segment(false, Flags::ACK, b"");
        self
    }

    pub(super) fn close(&mut self, from_client: bool) -> &mut Talk {
        self.segment(from_client, Flags::ACK | Flags::FIN, b"");
        self.sent[usize::from(!from_client)] += 1;
        self
    }

    /// What was told of the connection.
    pub(super) fn connections(&mut self) -> Vec<Connection> {
        self.tracker.finish();
        let records = self.tracker.handler().records().drain(..);
        let connection = |record| if let Record::Connection(connection) = record { Some(*connection) } else { None };
        records.filter_map(connection).collect()
    }

    pub(super) fn calls(&mut self) -> Vec<Box<Call>> {
        self.tracker.finish();
        let records = self.tracker.handler().records().drain(..);
        self.calls.extend(records.filter_map(Record::into_call));
        std::mem::take(&mut self.calls)
    }
}

fn inspector() -> Inspector {
    let rules = Rules::load(None).expect("the compiled-in rules are well");
    Inspector::new(&rules, Default::default(), Key::from_bytes([7; 16]))
}

/// Method, target and status of calls, as one text each.
pub(super) fn lines(calls: &[Box<Call>]) -> Vec<String> {
    let status = |call: &Call| call.status.map_or("-".to_owned(), |status| status.to_string());
    calls.iter().map(|call| format!("{} {} {}", call.method, call.target, status(call))).collect()
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn varied(talk: &mut Talk) -> Vec<Box<Call>> {
    talk.client("POST /a?x=1&y HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    talk.server("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n");
    talk.server("4;ext=1\r\nwiki\r\n5\r\npedia\r\n0\r\nTrailer: yes\r\n\r\n");
    talk.client("HEAD /b HTTP/1.1\r\nHost: h\r\n\r\n").server("HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n");
    talk.client("DELETE /c HTTP/1.1\r\nHost: h\r\n\r\n").server("HTTP/1.1 204 No Content\r\n\r\n");
    talk.client(&(get("/d") + &get("/e"))).server(&(answer("one") + &answer("two!")));
    talk.client(&get("/f")).server("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n");
    talk.client(&get("/g")).server("HTTP/1.1 200 OK\r\n\r\nuntil the end");
    talk.close(false);
    talk.calls()
}

#[test]
fn all_kinds_of_bodies_in_one_connection() {
    let calls = varied(&mut Talk::new(1460));
    let expected =
        ["POST /a?x=1&y 201", "HEAD /b 200", "DELETE /c 204", "GET /d 200", "GET /e 200", "GET /f 304", "GET /g 200"];
    assert_eq!(lines(&calls), expected);
    assert_eq!(calls[0].response.body_bytes, 9);
    assert_eq!(calls[0].request.body_bytes, 3);
    assert!(calls[0].query_names.iter().map(|name| &**name).eq(["x", "y"]));
    assert_eq!(calls[6].response.body_bytes, 13);
    assert!(calls.iter().all(|call| call.anomalies.is_empty() && !call.response.truncated), "{calls:#?}");
    assert!(calls.iter().enumerate().all(|(place, call)| call.position as usize == place));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn however_it_is_cut(size in 1usize..90) {
        let strip = |calls: Vec<Box<Call>>| calls.into_iter().map(|mut call| {
            (call.request_time, call.response_time, call.latency) = (None, None, None);
            call.end_time = Timestamp::ZERO;
            call.flow = Default::default();
            call
        }).collect::<Vec<_>>();
        prop_assert_eq!(strip(varied(&mut Talk::new(size))), strip(varied(&mut Talk::new(1460))));
    }

    #[test]
    fn any_bytes(parts in prop::collection::vec((any::<bool>(), prop::sample::select(vec![
        "GET / HTTP/1.1\r\n", "Host: h\r\n", "\r\n", "HTTP/1.1 200 OK\r\n", "Content-Length: 5\r\n", "hello", "0\r\n",
        "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n", "HTTP/1.1 101 X\r\n", "Upgrade: x\r\n", "CONNECT a:1 HTTP/1.1\r\n",
        "Content-Encoding: gzip\r\n", "\x1f\u{8b}\x08", "\n", " ", "HTTP/1.1 100 C\r\n\r\n",
    ])), 0..60), size in 1usize..40) {
        let mut talk = Talk::new(size);
        for (from_client, part) in parts {
            talk.send(from_client, part.as_bytes());
        }
        talk.calls();
    }
}

#[test]
fn a_gap_in_a_body_of_known_length_loses_no_call() {
    let mut talk = Talk::new(1460);
    talk.client(&get("/1")).server("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").lose(false, 900);
    talk.server(&"x".repeat(100)).client(&get("/2")).server(&answer("ok"));
    let calls = talk.calls();
    assert_eq!(lines(&calls), ["GET /1 200", "GET /2 200"]);
    assert_eq!(calls[0].response.gap_bytes, 900);
    assert!(!calls[0].response.truncated);
    assert_eq!(calls[1].response.gap_bytes, 0);
}

#[test]
fn a_lost_response_is_nobody_elses() {
    let mut talk = Talk::new(1460);
    talk.client(&get("/1")).server(&answer("a"));
    talk.client(&get("/2")).lose(false, 150);
    talk.client(&get("/3")).server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").pause();
    talk.client(&get("/4")).server(&answer("d")).pause();
    let calls = talk.calls();
    assert_eq!(lines(&calls), ["GET /1 200", "GET /2 -", "GET /3 404", "GET /4 200"]);
    assert!(!calls[1].completeness.response);
}

#[test]
fn a_lost_request_takes_no_others_response() {
    let mut talk = Talk::new(1460);
    talk.client(&get("/1")).server(&answer("a"));
    talk.lose(true, get("/2").len()).server("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
    talk.client(&get("/3")).pause().server(&answer("c")).pause();
    let calls = talk.calls();
    let mut seen = lines(&calls);
    seen.sort();
    assert_eq!(seen, ["  500", "GET /1 200", "GET /3 200"]);
}

#[test]
fn a_response_whose_request_was_lost_answers_no_earlier_one() {
    let mut talk = Talk::new(1_000);
    talk.client(&get("/0")).server(&answer("zero")).client(&get("/1"));
    // The answer to /1 is lost, and the next request with it; its answer is seen.
    talk.lose(false, 90).lose(true, 60).server(&answer("two"));
    talk.client(&get("/3")).server(&answer("three"));
    let calls = talk.calls();
    assert_eq!(lines(&calls), ["GET /0 200", "GET /1 -", "  200", "GET /3 200"]);
}

#[test]
fn tunnels_and_upgrades_end_http() {
    let mut talk = Talk::new(1460);
    talk.client("GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    talk.server("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
    talk.client("GET /not HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(lines(&talk.calls()), ["GET /chat 101"]);

    let mut talk = Talk::new(1460);
    talk.client("CONNECT db:443 HTTP/1.1\r\nHost: db:443\r\n\r\n").server("HTTP/1.1 200 Established\r\n\r\n");
    talk.client("\x16\x03\x01 something else").client(&get("/inside")).server(&answer("plain"));
    let calls = talk.calls();
    assert_eq!(lines(&calls), ["CONNECT db:443 200", "GET /inside 200"]);
    assert!(calls[1].anomalies.contains(Anomaly::HttpAfterUpgrade));
}

#[test]
fn old_odd_and_ambiguous() {
    let mut talk = Talk::new(1460);
    talk.client("GET /old\r\n").server("<html>hello</html>").close(false);
    let calls = talk.calls();
    assert_eq!(lines(&calls), ["GET /old -"]);
    assert_eq!((calls[0].version, calls[0].response.body_bytes), (Version::Http09, 18));

    let mut talk = Talk::new(1460);
    talk.client("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    talk.server(&answer("")).client("GET /y HTTP/1.1\nHost: h\n\n").server(&answer(""));
    let calls = talk.calls();
    assert_eq!(lines(&calls), ["POST /x 200", "GET /y 200"]);
    assert!(calls[0].anomalies.contains(Anomaly::LengthAndTransferEncoding));
    assert!(calls[1].anomalies.contains(Anomaly::BareLineFeed));
}

#[test]
fn half_of_a_call_is_a_call() {
    let mut talk = Talk::new(1460);
    talk.client(&get("/1"));
    let calls = talk.calls();
    assert_eq!(lines(&calls), ["GET /1 -"]);
    assert!(calls[0].completeness.one_sided);

    let mut talk = Talk::new(1460);
    talk.server(&answer("hello")).close(false);
    let calls = talk.calls();
    assert_eq!(lines(&calls), ["  200"]);
    assert_eq!(calls[0].client.port, 40000);

    let mut talk = Talk::new(1460);
    talk.client(&get("/1")).server("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nonly this");
    let calls = talk.calls();
    assert!(calls[0].response.truncated);
    assert_eq!(calls[0].response.body_bytes, 9);
}

#[test]
fn heads_are_bounded() {
    let mut talk = Talk::with(1460, Settings { head_limit: 8 << 10, ..Settings::default() });
    let huge = format!("GET /big HTTP/1.1\r\nHost: h\r\nX-Fill: {}\r\n\r\n", "f".repeat(20 << 10));
    talk.client(&huge).server(&answer("a")).client(&get("/next")).server(&answer("b"));
    let calls = talk.calls();
    assert_eq!(lines(&calls), ["GET /big 200", "GET /next 200"]);
    assert!(calls[0].anomalies.contains(Anomaly::HeadTooLarge));
}

fn encoded(coding: &str, body: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        "raw" => {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::stream::encode_all(body, 3).unwrap(),
        _ => panic!("{coding}"),
    }
}

fn talk_encoded(names: &str, wire: &[u8], size: usize) -> Box<Call> {
    let mut talk = Talk::new(size);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {names}\r\nContent-Length: {}\r\n\r\n", wire.len());
    talk.client(&get("/z")).server(&head).send(false, wire).client(&get("/after")).server(&answer(""));
    let mut calls = talk.calls();
    assert_eq!(lines(&calls), ["GET /z 200", "GET /after 200"]);
    calls.remove(0)
}

#[test]
fn encodings_are_undone() {
    let body: Vec<u8> = (0..50_000u32).flat_map(|n| (n % 977).to_string().into_bytes()).collect();
    for size in [37, 1460] {
        for (names, coding) in [("gzip", "gzip"), ("deflate", "deflate"), ("deflate", "raw"), ("zstd", "zstd")] {
            let call = talk_encoded(names, &encoded(coding, &body), size);
            assert_eq!(call.response.body_bytes, body.len() as u64, "{coding}");
            assert!(call.anomalies.is_empty(), "{coding}: {:?}", call.anomalies);
        }
        let stacked = encoded("gzip", &encoded("zstd", &body));
        assert_eq!(talk_encoded("zstd, gzip", &stacked, size).response.body_bytes, body.len() as u64);
    }
    // An uncompressed metablock of eleven bytes (RFC 7932, section 9.2).
    let brotli = [&[0x0b, 0x05, 0x80][..], b"hello world", &[0x03]].concat();
    let call = talk_encoded("br", &brotli, 1460);
    assert_eq!(call.response.body_bytes, 11, "{:?}", call.anomalies);
}

#[test]
fn heads_of_both_sides_are_looked_into_and_told_apart() {
    let head = |fields: &str| format!("GET /me HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let answer = "HTTP/1.1 200 OK\r\nX-Card: 4539 1488 0343 6467\r\nContent-Length: 0\r\n\r\n";
    // The same again, which is known by then.
    let asked = [
        head("Cookie: theme=dark; mail=ada.lovelace@corp.example.net\r\n"),
        head("X-Customer: ada.lovelace@corp.example.net\r\nAuthorization: Bearer 1234567890abcdef\r\n"),
        head("X-Request-Id: 7f3b0c9e-5f7a-4f43-9f1d-3d1b8f1c2a77\r\nCookie: session=4539148803436467\r\n"),
    ];
    let mut talk = Talk::new(1460);
    for _ in 0..2 {
        for head in &asked {
            talk.send(true, head.as_bytes());
            talk.send(false, answer.as_bytes());
        }
    }
    for (call, found) in talk.calls().iter().zip([true, true, false].repeat(2)) {
        let classes =
            |found: &[crate::call::Sensitive]| found.iter().map(|one| one.class.to_string()).collect::<Vec<_>>();
        assert_eq!(classes(&call.sensitive.request_head), if found { vec!["email"] } else { vec![] });
        assert_eq!(classes(&call.sensitive.response), ["payment_card"]);
        assert!(call.sensitive.request.is_empty());
    }
    assert_eq!(talk.count(Counter::HeadsInspectedInPart), 0);
}

#[test]
fn heads_that_are_looked_into_in_part_are_counted() {
    let many: String = (0..40).map(|number| format!("X-Own-{number}: abcdefgh{number}\r\n")).collect();
    let cookies: String = (0..40).map(|number| format!("Set-Cookie: c{number}=abcdefgh\r\n")).collect();
    let long = format!("Cookie: c={}\r\n", "a".repeat(5_000));
    let mut talk = Talk::new(1460);
    for (asks, answers, counted) in [(&*many, "", 1), (&*long, "", 2), ("", &*many, 3), ("", &*cookies, 4), ("", "", 4)]
    {
        talk.send(true, format!("GET /me HTTP/1.1\r\nHost: h\r\n{asks}\r\n").as_bytes());
        talk.send(false, format!("HTTP/1.1 200 OK\r\n{answers}Content-Length: 0\r\n\r\n").as_bytes());
        assert_eq!(talk.count(Counter::HeadsInspectedInPart), counted);
    }
}

#[test]
fn bombs_and_damage_are_marked() {
    let bomb = encoded("zstd", &vec![0; 300 << 20]);
    let call = talk_encoded("zstd", &bomb, 1460);
    assert!(call.response.capped && call.response.body_bytes <= 65 << 20, "{}", call.response.body_bytes);
    assert!(call.anomalies.contains(Anomaly::ExpansionRatio));
    let mut damaged = encoded("gzip", b"hello hello hello");
    damaged[4..].fill(0xff);
    assert!(talk_encoded("gzip", &damaged, 1460).anomalies.contains(Anomaly::MalformedEncoding));
    let anomalies = talk_encoded("rot13", b"uryyb", 1460).anomalies;
    assert!(anomalies.contains(Anomaly::UnknownEncoding) && !anomalies.contains(Anomaly::MalformedEncoding));
}

#[test]
fn thousands_of_calls_in_one_connection() {
    let mut talk = Talk::new(1460);
    for turn in 0..5_000 {
        talk.client(&get(&format!("/{turn}"))).server(&answer("x"));
    }
    let calls = talk.calls();
    assert_eq!(calls.len(), 5_000);
    assert!(calls.iter().all(|call| call.status == Some(200)));
}

/// Bodies that come again and again: whole, encoded, parting ways with what is known, with a hole, cut short.
fn repetitive(recall_bytes: usize, size: usize) -> Vec<Box<Call>> {
    let settings = Settings { recall_bytes, ..Settings::default() };
    let mut talk = Talk::with(size, settings);
    let record =
        |n: usize| format!("{{\"id\":{n},\"email\":\"ana{n}@mail{n}.example\",\"phone\":\"+1-202-555-{n:04}\"}},");
    let body: String = (0..90).map(record).collect();
    let head = |length: usize, more: &str| format!("HTTP/1.1 200 OK\r\n{more}Content-Length: {length}\r\n\r\n");
    let gzip = encoded("gzip", body.as_bytes());
    for round in 0..5 {
        talk.client(&get("/whole")).server(&answer(&body));
        let encoded = [head(gzip.len(), "Content-Encoding: gzip\r\n").as_bytes(), &gzip].concat();
        talk.client(&get("/encoded")).send(false, &encoded);
        for at in [300, 2_500, body.len() - 200] {
            let other = format!("{}bob{round}@mail.example{}", &body[..at], &body[at + 20..]);
            talk.client(&get("/other")).server(&answer(&other));
        }
        talk.client(&get("/hole")).server(&(head(body.len(), "") + &body[..2_900]));
        talk.lose(false, 500).server(&body[3_400..]);
    }
    talk.client(&get("/cut")).server(&(head(body.len(), "") + &body[..2_900])).close(false);
    talk.calls()
}

#[test]
fn what_is_remembered_changes_no_call() {
    for size in [150, 700, 1_448, 9_000] {
        let calls = repetitive(0, size);
        assert_eq!(calls.len(), 5 * 6 + 1);
        assert!(calls[0].sensitive.response.iter().any(|found| found.count == 90), "{:?}", calls[0]);
        for recall_bytes in [8 << 10, 64 << 10, 4 << 20] {
            assert_eq!(repetitive(recall_bytes, size), calls, "{recall_bytes} bytes, segments of {size}");
        }
    }
}

#[test]
fn an_event_stream_is_counted_and_reported_once_a_minute() {
    for gzip in [false, true] {
        let mut talk = Talk::new(1460);
        let coding = if gzip { "Content-Encoding: gzip\r\n" } else { "" };
        talk.client(&get("/events")).server(&format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n{coding}Transfer-Encoding: chunked\r\n\r\n"
        ));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        for round in 10..25 {
            let text = format!("id: {round}\ndata: ana@mail.example\n\n");
            let mut piece = text.into_bytes();
            if gzip {
                encoder.write_all(&piece).and_then(|()| encoder.flush()).expect("memory takes it");
                piece = std::mem::take(encoder.get_mut());
            }
            talk.wait(10).send(false, &[format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat());
        }
        talk.server("0\r\n\r\n").client(&get("/next")).server(&answer("ok"));
        let calls = talk.calls();
        assert_eq!(lines(&calls), ["GET /events 200", "GET /events 200", "GET /events 200", "GET /next 200"]);
        let parts: Vec<_> = calls[..3].iter().map(|call| (call.completeness.part, call.events)).collect();
        assert_eq!(parts, [(0, Some(6)), (1, Some(6)), (2, Some(3))]);
        assert!(calls[0].completeness.open && calls[1].completeness.open && !calls[2].completeness.open);
        let found: u32 = calls.iter().flat_map(|call| &call.sensitive.response).map(|found| found.count).sum();
        let bytes: u64 = calls[..3].iter().map(|call| call.response.body_bytes).sum();
        assert_eq!((found, bytes), (15, 15 * 31));
        assert!(calls.iter().all(|call| call.anomalies.is_empty() && !call.response.capped));
        assert_eq!(calls[3].events, None);
    }
}

#[test]
fn a_request_is_told_once_however_many_parts_its_answer_has() {
    let mut talk = Talk::new(1460);
    talk.client(&format!("POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: 9000\r\n\r\n{}", "x".repeat(9_000)));
    talk.server("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..15 {
        talk.wait(10).server("6\r\ndata\n\n\r\n");
    }
    talk.server("0\r\n\r\n");
    let told: Vec<_> = talk.calls().iter().map(|call| (call.request.body_bytes, call.events)).collect();
    assert_eq!(told, [(9_000, Some(6)), (0, Some(6)), (0, Some(3))]);
}

#[test]
fn what_has_an_end_is_not_reported_before_it() {
    let mut talk = Talk::new(1460);
    talk.client(&get("/large")).server("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n");
    for _ in 0..20 {
        talk.wait(10).server(&"x".repeat(100));
    }
    assert_eq!(lines(&talk.calls()), ["GET /large 200"]);
}

/// A talk whose parameters and bodies are looked at for what they look like.
fn shaping() -> Talk {
    let rules = Rules::load(None).expect("the compiled-in rules are well");
    let settings = crate::inspect::Settings { shapes: true, ..Default::default() };
    let http = Http::new(Settings::default(), Arc::new(Inspector::new(&rules, settings, Key::from_bytes([7; 16]))));
    let tracker = Tracker::new(stream::Settings::default(), http);
    let mut talk = Talk { tracker, sent: [1_000, 2_000], micros: 0, size: 1460, calls: Vec::new() };
    talk.pause();
    talk
}

#[test]
fn headers_of_the_api_and_cookies_have_shapes_where_those_are_asked_for() {
    let head = |id: u32| {
        format!(
            "GET /a HTTP/1.1\r\nHost: h\r\nUser-Agent: curl\r\nAccept: */*\r\nX-Region: west\r\nApi-Version: 2026-03-0{id}\r\n\
             X-API-Key: 0123456789abcdef\r\nCookie: theme=dark; sid=0123456789\r\nX-Request-Id: {id}\r\n\r\n"
        )
    };
    let mut talk = shaping();
    for id in 1..6 {
        talk.client(&head(id)).server(&answer("x"));
    }
    let calls = talk.calls();
    assert_eq!(calls.len(), 5);
    let expected = concat!(
        r#"{"headers":[{"name":"x-api-key","credential":true},{"name":"x-region","format":["word"]},"#,
        r#"{"name":"api-version","format":["date"]},{"name":"x-request-id","format":["digits"]}],"#,
        r#""cookies":[{"name":"theme","format":["word"]},{"name":"sid","credential":true}]}"#
    );
    for call in &calls {
        assert_eq!(serde_json::to_string(&call.shape).expect("plain data"), expected);
    }
    let mut plain = Talk::new(1460);
    plain.client(&head(1)).server(&answer("x"));
    assert!(plain.calls().iter().all(|call| call.shape.is_none()));
}

#[test]
fn bodies_of_requests_have_fingerprints_however_they_come() {
    let of = |size: usize, body: &str, head: &str| {
        let mut talk = Talk::new(size);
        talk.client(&format!("POST /s HTTP/1.1\r\nHost: h\r\n{head}\r\n\r\n{body}")).server(&answer("yes"));
        let call = talk.calls().remove(0);
        assert_eq!(call.response.body_fingerprint, None);
        call.request.body_fingerprint
    };
    let whole = of(1460, "one and two", "Content-Length: 11");
    assert!(whole.is_some());
    assert_eq!(of(3, "one and two", "Content-Length: 11"), whole);
    let chunked = "4\r\none \r\n7\r\nand two\r\n0\r\n\r\n";
    assert_eq!(of(5, chunked, "Transfer-Encoding: chunked"), whole);
    assert_ne!(of(1460, "one and ten", "Content-Length: 11"), whole);
    assert_eq!(of(1460, "", "Content-Length: 0"), None);
    // Of what is not all there nobody knows what it asks for.
    let mut talk = Talk::new(1460);
    talk.client("POST /s HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\none ").lose(true, 3).client("two!");
    talk.server(&answer("yes"));
    assert_eq!(talk.calls().remove(0).request.body_fingerprint, None);
}

#[test]
fn answers_to_passwords_may_refuse_with_200() {
    let refuses = |request: &str, media: &str, body: &str| {
        let mut talk = Talk::new(1460);
        let json = "Content-Type: application/json\r\n";
        talk.client(&format!(
            "POST /in HTTP/1.1\r\nHost: h\r\n{json}Content-Length: {}\r\n\r\n{request}",
            request.len()
        ));
        let length = body.len();
        talk.server(&format!("HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n{body}"));
        let call = talk.calls().remove(0);
        call.response_fields.is_some_and(|told| told.refuses)
    };
    let login = r#"{"user":"ana","password":"x"}"#;
    assert!(refuses(login, "application/json", r#"{"success":false}"#));
    assert!(refuses(login, "application/problem+json; charset=utf-8", r#"{"error":"no"}"#));
    assert!(!refuses(login, "application/json", r#"{"success":true,"token":"abc"}"#));
    assert!(!refuses(login, "text/plain", r#"{"success":false}"#));
    assert!(!refuses(r#"{"user":"ana"}"#, "application/json", r#"{"success":false}"#), "no password was given");
}

#[test]
fn memory_for_calls_is_there_as_far_as_it_is_allowed() {
    let mut http = Http::new(Settings { idle_calls: 100, ..Settings::default() }, Arc::new(inspector()));
    http.reserve_calls(40);
    assert_eq!(http.shared.idle.len(), 40);
    http.reserve_calls(4_000);
    assert_eq!(http.shared.idle.len(), 100);
}
