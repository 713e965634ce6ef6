//! TLS over captures of programs that apitap shares no code with (OpenSSL under Python, Node.js): with keys, without, with keys
//! that come late, with losses and with damage.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use apitap::call::{Call, Connection, Record};
use apitap::http::{self, Http};
use apitap::inspect::{Inspector, Rules};
use apitap::key::Key;
use apitap::packet::{self, Decoder};
use apitap::source::{Frame, LinkType};
use apitap::stats::{Counter, Counters};
use apitap::stream::{self, Tracker};
use apitap::time::{Clock, Timestamp};
use apitap::tls;
use apitap::tls::keylog::KeyLog;
use support::Folder;

const CAPTURES: [&str; 5] = ["python-node", "python-node-tls12", "hello-retry", "connect-tunnel", "renegotiation"];

/// A frame: its time, and where its bytes lie in the file.
type Place = (Timestamp, std::ops::Range<usize>);

struct Capture {
    bytes: Vec<u8>,
    frames: Vec<Place>,
    keys: Vec<u8>,
}

fn path(name: &str, end: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls");
    folder.join(format!("{name}.{end}")).to_str().expect("a path in UTF-8").to_owned()
}

/// The stages up to the records.
struct Sensor {
    decoder: Decoder,
    tracker: Tracker<Http>,
    clock: Clock,
    counters: Counters,
}

impl Sensor {
    /// One that has these keys, or may expect some.
    fn new(keys: &Arc<KeyLog>, expected: bool) -> Sensor {
        let rules = Rules::load(None).expect("the compiled-in rules are well");
        let inspector = Arc::new(Inspector::new(&rules, Default::default(), Key::from_bytes([1; 16])));
        let mut settings = tls::Settings::default();
        if expected {
            settings.keylog.files.push("/dev/null".into());
        }
        let http = Http::new(http::Settings::default(), inspector).with_tls(settings, keys.clone());
        Sensor {
            decoder: Decoder::new(packet::Settings::default()),
            tracker: Tracker::new(stream::Settings::default(), http),
            clock: Clock::default(),
            counters: Counters::new(),
        }
    }

    fn frame(&mut self, time: Timestamp, data: &[u8]) {
        let frame = Frame { time, link: LinkType(1), data, original_length: data.len() as u32 };
        let now = self.clock.observe(time);
        if let Some(segment) = self.decoder.decode(&frame, &mut self.counters) {
            self.tracker.tick(now);
            self.tracker.segment(&segment);
        }
    }

    fn tick(&mut self, now: Timestamp) {
        self.tracker.tick(now);
    }

    fn finish(&mut self, records: &mut Vec<Record>) {
        self.tracker.finish();
        records.append(self.tracker.handler().records());
        records.sort_by_key(Record::order);
    }

    fn counters(&self) -> &Counters {
        self.tracker.counters()
    }
}

impl Capture {
    fn of(name: &str) -> Capture {
        let bytes = std::fs::read(path(name, "pcap")).expect("a bundled capture");
        let keys = std::fs::read(path(name, "keys")).expect("its key log");
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let (mut at, mut frames) = (24, Vec::new());
        while at + 16 <= bytes.len() {
            let time = Timestamp::from_parts(number(at).into(), u64::from(number(at + 4)) * 1_000);
            let length = number(at + 8) as usize;
            frames.push((time, at + 16..at + 16 + length));
            at += 16 + length;
        }
        Capture { bytes, frames, keys }
    }

    /// What comes of those frames that `pick` keeps, with the keys from the start.
    fn read(&self, pick: impl Fn(usize, &mut Vec<u8>) -> bool) -> (Vec<Record>, Counters) {
        self.read_later(pick, |_| 0)
    }

    /// The same, where frames come so many seconds later than they did.
    fn read_later(
        &self,
        pick: impl Fn(usize, &mut Vec<u8>) -> bool,
        later: impl Fn(usize) -> u64,
    ) -> (Vec<Record>, Counters) {
        let keys = Arc::new(KeyLog::default());
        keys.add(&self.keys, KeyLog::ALWAYS);
        let mut sensor = Sensor::new(&keys, true);
        for (place, (time, range)) in self.frames.iter().enumerate() {
            let mut data = self.bytes[range.clone()].to_vec();
            if pick(place, &mut data) {
                sensor.frame(*time + Duration::from_secs(later(place)), &data);
            }
        }
        let mut records = Vec::new();
        sensor.finish(&mut records);
        (records, sensor.counters().clone())
    }
}

fn calls(records: &[Record]) -> Vec<&Call> {
    records.iter().filter_map(Record::call).collect()
}

fn connections(records: &[Record]) -> Vec<&Connection> {
    let mut found = Vec::new();
    for record in records {
        if let Record::Connection(connection) = record {
            found.push(&**connection);
        }
    }
    found
}

fn lines(records: &[Record]) -> Vec<(String, String, Option<u16>)> {
    calls(records).iter().map(|call| (call.method.clone(), call.target.clone(), call.status)).collect()
}

fn expected(name: &str) -> Vec<(&'static str, &'static str, Option<u16>)> {
    match name {
        "hello-retry" => vec![("GET", "/retried", Some(200))],
        "renegotiation" => vec![("GET", "/file.txt", Some(200))],
        "connect-tunnel" => {
            vec![("CONNECT", "api.test:9441", Some(200)), ("GET", "/through", Some(200)), ("POST", "/echo", Some(200))]
        }
        _ => vec![
            ("GET", "/a?n=1", Some(200)),
            ("POST", "/echo", Some(200)),
            ("GET", "/big", Some(200)),
            ("GET", "/missing", Some(404)),
        ],
    }
}

#[test]
fn with_keys_calls_are_read_as_if_they_came_in_clear() {
    for name in CAPTURES {
        let (records, counters) = Capture::of(name).read(|_, _| true);
        let found = lines(&records);
        let found: Vec<_> = found.iter().map(|(method, target, status)| (&method[..], &target[..], *status)).collect();
        assert_eq!(found, expected(name), "{name}");
        for call in calls(&records) {
            let Some(tls) = call.tls.as_ref() else {
                assert_eq!(call.method, "CONNECT");
                continue;
            };
            assert!(tls.decrypted && tls.server_name.as_deref() == Some("api.test"), "{tls:?}");
            assert!(tls.ja4.is_some() && tls.ja3s.is_some() && tls.cipher.is_some());
        }
        for counter in [Counter::TlsRecordsRefused, Counter::TlsRecordsMissing, Counter::TlsGivenUp] {
            assert_eq!(counters.value(counter), 0, "{name}: {}", counter.name());
        }
        assert_eq!(counters.value(Counter::BytesSkipped), 0, "{name}");
        assert_eq!(counters.value(Counter::TlsRenegotiations), u64::from(name == "renegotiation"));
        let post = calls(&records).into_iter().find(|call| call.method == "POST").map(|call| call.request.body_bytes);
        assert!(post.is_none_or(|bytes| bytes == 5_000), "{name}: {post:?}");
    }
}

#[test]
fn a_connection_that_is_silent_for_long_is_read_when_it_goes_on() {
    // Before a tunnel is open it is a call in HTTP/1, whose server had 300 seconds to answer.
    for name in CAPTURES.into_iter().filter(|name| *name != "connect-tunnel") {
        let capture = Capture::of(name);
        let whole = lines(&capture.read(|_, _| true).0);
        for part in 1..8 {
            let from = capture.frames.len() * part / 8;
            let (records, _) = capture.read_later(|_, _| true, |place| if place < from { 0 } else { 1_000 });
            // What is under way then may be told of in parts.
            let mut found = lines(&records);
            found.dedup();
            assert_eq!(found, whole, "{name} {part}");
        }
    }
}

#[test]
fn without_keys_a_connection_says_who_calls_whom() {
    let capture = Capture::of("python-node");
    let keys = Arc::new(KeyLog::default());
    let mut sensor = Sensor::new(&keys, false);
    for (time, range) in &capture.frames {
        sensor.frame(*time, &capture.bytes[range.clone()]);
    }
    let mut records = Vec::new();
    sensor.finish(&mut records);
    assert!(calls(&records).is_empty());
    let connections = connections(&records);
    let [connection] = connections[..] else { panic!("{} connections", connections.len()) };
    let tls = connection.tls.as_ref().expect("its handshake was seen");
    assert_eq!(tls.version.as_deref(), Some("1.3"));
    assert_eq!(tls.server_name.as_deref(), Some("api.test"));
    assert!(!tls.decrypted && tls.application_protocol.is_none());
    assert_eq!(connection.server.port, 9441);
    assert!(connection.sent.bytes > 5_000 && connection.received.bytes > 20_000, "{connection:?}");
}

#[test]
fn keys_that_come_late_are_waited_for() {
    for name in CAPTURES {
        let capture = Capture::of(name);
        let known = expected(name).len();
        for late in 0..capture.frames.len() {
            let keys = Arc::new(KeyLog::default());
            let mut sensor = Sensor::new(&keys, true);
            for (place, (time, range)) in capture.frames.iter().enumerate() {
                if place == late {
                    keys.add(&capture.keys, KeyLog::ALWAYS);
                }
                sensor.frame(*time, &capture.bytes[range.clone()]);
            }
            let mut records = Vec::new();
            sensor.finish(&mut records);
            assert_eq!(calls(&records).len(), known, "{name}: keys before frame {late}");
        }
    }
}

#[test]
fn who_waits_in_vain_gives_up_and_says_so() {
    let capture = Capture::of("python-node");
    let keys = Arc::new(KeyLog::default());
    let mut sensor = Sensor::new(&keys, true);
    for (time, range) in &capture.frames {
        sensor.frame(*time, &capture.bytes[range.clone()]);
    }
    let last = capture.frames.last().expect("frames").0;
    sensor.tick(last + std::time::Duration::from_secs(4));
    assert_eq!(sensor.counters().value(Counter::TlsGivenUp), 0);
    let mut records = Vec::new();
    sensor.finish(&mut records);
    assert_eq!(sensor.counters().value(Counter::TlsGivenUp), 1);
    assert!(sensor.counters().value(Counter::TlsRecordsDropped) > 10);
    assert_eq!(connections(&records).len(), 1);
}

/// Whatever frame is lost: nothing is told that was not there, and what is behind is found again.
#[test]
fn a_lost_frame_costs_what_was_in_it() {
    for name in ["python-node", "python-node-tls12"] {
        let capture = Capture::of(name);
        let whole = lines(&capture.read(|_, _| true).0);
        let mut found = 0;
        for lost in 0..capture.frames.len() {
            let (records, counters) = capture.read(|place, _| place != lost);
            for call in calls(&records) {
                let same = |(method, target, status): &(String, String, Option<u16>)| {
                    (call.method.is_empty() || (*method == call.method && *target == call.target))
                        && (call.status.is_none() || *status == call.status)
                };
                assert!(whole.iter().any(same), "{name}: without frame {lost}: {} {}", call.method, call.target);
                found += usize::from(!call.method.is_empty() && call.status.is_some());
            }
            assert_eq!(counters.value(Counter::TlsRecordsRefused), 0, "{name}: without frame {lost}");
        }
        // A loss costs one call of four, if it is not in the handshake.
        let share = found as f64 / (whole.len() * capture.frames.len()) as f64;
        assert!(share > 0.75, "{name}: {share}");
    }
}

#[test]
fn damage_is_survived() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for name in CAPTURES {
        let capture = Capture::of(name);
        let whole = lines(&capture.read(|_, _| true).0);
        for _ in 0..60 {
            let damaged: Vec<(usize, usize, u8)> = (0..1 + draw(8))
                .map(|_| {
                    let place = draw(capture.frames.len());
                    (place, draw(capture.frames[place].1.len()), draw(256) as u8)
                })
                .collect();
            let (records, _) = capture.read(|place, data| {
                for &(_, at, byte) in damaged.iter().filter(|damage| damage.0 == place && damage.1 >= 54) {
                    data[at] = byte; // behind the headers, so that it reaches TLS
                }
                true
            });
            for (method, target, status) in lines(&records).into_iter().filter(|line| line.0 != "CONNECT") {
                let there = whole.iter().any(|line| {
                    (line.0 == method && line.1 == target || method.is_empty())
                        && (status.is_none() || line.2 == status)
                });
                assert!(there || name == "connect-tunnel", "{name}: {method} {target} {status:?} was never sent");
            }
        }
    }
}

#[test]
fn the_program_takes_key_logs_and_agrees_with_itself_however_many_work() {
    let folder = Folder::new("tls");
    for name in CAPTURES {
        let (capture, keys) = (path(name, "pcap"), path(name, "keys"));
        let runs: Vec<_> = ["1", "3"]
            .iter()
            .map(|workers| folder.run("calls", &[&capture, "--keylog", &keys, "--workers", workers]))
            .collect();
        assert_eq!(runs[0].code, Some(0), "{}", runs[0].stderr);
        assert_eq!(runs[0].stdout, runs[1].stdout, "{name}");
        assert_eq!(runs[0].lines().len(), expected(name).len(), "{name}");
        for secret in
            std::fs::read_to_string(&keys).expect("its key log").split_whitespace().filter(|word| word.len() > 64)
        {
            let printed = String::from_utf8_lossy(&runs[0].stdout);
            assert!(!printed.contains(secret) && !runs[0].stderr.contains(secret));
        }
    }
    let run = folder.run("calls", &[&path("python-node", "pcap"), "--keylog", "/nowhere/keys"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("/nowhere/keys"), "{}", run.stderr);
}
