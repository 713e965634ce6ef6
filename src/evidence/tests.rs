//! What is kept, by the recorder alone.

use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::Arc;

use super::Settings;
use super::recorder::{Message, Recorder, Told};
use super::ring::{Batch, Ends};
use super::watch::{Line, LineKind, Span};
use crate::call::FlowId;
use crate::source::{Advance, Frame, LinkType, Source};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

const ATTACKER: &str = "198.51.100.7:4000";
const OTHER: &str = "192.0.2.1:4000";
const PROXY: &str = "10.0.0.2:5000";
const SERVER: &str = "10.0.0.1:80";

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_nanos(1_000_000_000_000 + (seconds * 1e9) as i64)
}

/// Frames to the server: when, and from whom.
fn batch(frames: &[(f64, &str)]) -> Batch {
    let mut batch = Batch::default();
    for &(second, from) in frames {
        // What is in a frame says nothing to the recorder.
        let data = format!("{second} {from}");
        let frame = Frame {
            time: at(second),
            link: LinkType(1),
            data: data.as_bytes(),
            original_length: data.len() as u32 + 9,
        };
        batch.push(&frame, [from, SERVER].map(|end| end.parse().expect("an end")), at(second));
    }
    batch
}

fn line(incident: u64, second: f64, kind: LineKind, clients: &[&str]) -> Line {
    let clients: Vec<IpAddr> = clients.iter().map(|client| client.parse().expect("an address")).collect();
    Line {
        incident: format!("{incident:016x}").into(),
        file: super::store::name(&format!("{incident:016x}")).into(),
        time: at(second),
        kind,
        addresses: clients.clone(),
        clients,
        sightings: Vec::new(),
    }
}

fn call(position: u32, client: &str, from: f64, to: f64) -> Span {
    let [proxy, server] = [PROXY, SERVER].map(|end| end.parse().expect("an end"));
    Span {
        flow: FlowId(1),
        position,
        client: Some(client.parse().expect("an address")),
        ends: Ends::new(proxy, server),
        start: at(from),
        end: at(to),
    }
}

fn told(second: f64, calls: Vec<Span>, lines: Vec<Line>) -> Message {
    Message::Told(Told { watermark: at(second), calls, lines })
}

fn record(folder: &Path, settings: &Settings, messages: Vec<Message>) -> Counters {
    let mut recorder = Recorder::new(settings, folder.to_owned(), false, None);
    messages.into_iter().for_each(|message| recorder.take(message));
    recorder.finish()
}

/// What is in a file, as the program's own reader has it.
fn read(path: &Path) -> Vec<String> {
    let mut source = crate::source::open(&[path.to_owned()], &Default::default());
    let mut frames = Vec::new();
    while source.advance().expect("a good file") == Advance::Frame {
        let frame = source.frame();
        let text = String::from_utf8(frame.data.to_vec()).expect("text");
        let second: f64 = text.split(' ').next().and_then(|second| second.parse().ok()).expect("a second");
        assert_eq!((frame.time, frame.link), (at(second), LinkType(1)));
        assert_eq!(frame.original_length as usize, frame.data.len() + 9);
        frames.push(text);
    }
    frames
}

fn file(folder: &Path, incident: u64) -> std::path::PathBuf {
    folder.join(format!("{incident:016x}.pcapng"))
}

#[test]
fn packets_before_and_after_are_kept_and_those_of_others_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings { ring_seconds: 30, after_seconds: 100, ..Settings::default() };
    let frames = [
        (1.0, ATTACKER),
        (50.0, ATTACKER),
        (55.0, OTHER),
        (60.0, ATTACKER),
        (61.0, OTHER),
        (160.0, ATTACKER),
        (160.1, ATTACKER),
        (200.0, ATTACKER),
        (310.0, ATTACKER),
    ];
    let kept = |seconds: &[f64]| seconds.iter().map(|second| format!("{second} {ATTACKER}")).collect::<Vec<_>>();
    // The update at 210 finds what was not kept any more in the ring: that of 200, not that of 160.1.
    let lines =
        || vec![line(7, 60.0, LineKind::Opens, &["198.51.100.7"]), line(7, 210.0, LineKind::GoesOn, &["198.51.100.7"])];
    let messages = vec![Message::Frames(batch(&frames)), told(500.0, Vec::new(), lines())];
    let counters = record(folder.path(), &settings, messages);
    let path = file(folder.path(), 7);
    assert_eq!(read(&path), kept(&[50.0, 60.0, 160.0, 200.0, 310.0]));
    assert_eq!(counters.value(Counter::EvidencePackets), 5);
    assert_eq!(counters.value(Counter::EvidenceFiles), 1);
    let metadata = path.metadata().expect("a file");
    assert_eq!(metadata.mode() & 0o777, 0o600);
    assert_eq!(counters.value(Counter::EvidenceBytes), metadata.len());
    let bytes = std::fs::read(&path).expect("a file");
    assert!(bytes.windows(32).any(|held| held == b"apitap incident 0000000000000007"));

    // However the queues are cut, and however late it is told: the same bytes.
    for (step, late) in [(1, 1.0), (2, 400.0), (4, 20.0)] {
        let again = tempfile::tempdir().expect("a folder");
        let mut messages = Vec::new();
        let mut lines = lines();
        for chunk in frames.chunks(step) {
            messages.push(Message::Frames(batch(chunk)));
            let watermark = chunk.last().map_or(0.0, |(second, _)| second - late);
            let due = lines.iter().take_while(|line| line.time < at(watermark)).count();
            messages.push(told(watermark, Vec::new(), lines.drain(..due).collect()));
        }
        messages.push(told(500.0, Vec::new(), lines));
        record(again.path(), &settings, messages);
        assert!(std::fs::read(file(again.path(), 7)).expect("a file") == bytes, "cut by {step}");
    }
}

#[test]
fn of_a_proxys_connection_only_the_clients_calls_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let times: Vec<(f64, &str)> = (1..=12).map(|second| (f64::from(second), PROXY)).collect();
    let (accused, other) = ("198.51.100.7", "192.0.2.1");
    let calls = vec![
        call(0, other, 1.0, 2.0),
        call(1, accused, 3.0, 4.0),
        call(2, other, 5.0, 6.0),
        call(3, accused, 7.0, 8.5),
        // Told after its beginning; two at once.
        call(4, accused, 8.2, 10.0),
        call(5, other, 11.0, 12.0),
    ];
    let lines = vec![line(1, 9.0, LineKind::Opens, &[accused])];
    let messages = vec![Message::Frames(batch(&times)), told(100.0, calls.clone(), lines)];
    record(folder.path(), &Settings::default(), messages);
    let kept = |seconds: &[i32]| seconds.iter().map(|second| format!("{second} {PROXY}")).collect::<Vec<_>>();
    assert_eq!(read(&file(folder.path(), 1)), kept(&[3, 4, 7, 8, 9, 10]));

    // Nobody is accused: what the alert shows.
    let messages = vec![
        Message::Frames(batch(&times)),
        told(100.0, calls, vec![Line { sightings: vec![(FlowId(1), 2)], ..line(2, 9.0, LineKind::Opens, &[]) }]),
    ];
    record(folder.path(), &Settings::default(), messages);
    assert_eq!(read(&file(folder.path(), 2)), kept(&[5, 6]));
}

#[test]
fn who_comes_by_both_ways_is_kept_once_and_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let frames = [(1.0, PROXY), (2.0, ATTACKER), (3.0, PROXY), (4.0, PROXY), (5.0, ATTACKER), (6.0, PROXY)];
    let accused = ["198.51.100.7"];
    let messages = vec![
        Message::Frames(batch(&frames)),
        told(3.0, Vec::new(), vec![line(1, 2.5, LineKind::Opens, &accused)]),
        told(100.0, vec![call(1, accused[0], 3.0, 4.0)], Vec::new()),
    ];
    record(folder.path(), &Settings::default(), messages);
    let expected = [(2, ATTACKER), (3, PROXY), (4, PROXY), (5, ATTACKER)];
    assert_eq!(read(&file(folder.path(), 1)), expected.map(|(second, from)| format!("{second} {from}")));
}

#[test]
fn the_ring_holds_so_many_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let frames: Vec<(f64, &str)> = (1..=1_000).map(|number| (f64::from(number) / 100.0, ATTACKER)).collect();
    let settings = Settings { ring_bytes: 20_000, ..Settings::default() };
    let opens = vec![line(1, 10.0, LineKind::Opens, &["198.51.100.7"])];
    record(folder.path(), &settings, vec![Message::Frames(batch(&frames)), told(100.0, Vec::new(), opens)]);
    let kept = read(&file(folder.path(), 1));
    let cost = super::ring::FRAME_COST + "10.00 198.51.100.7:4000".len();
    assert!((20_000 / cost..=20_000 / (cost - 3)).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last(), Some(&format!("10 {ATTACKER}")));
}

#[test]
fn a_file_that_is_full_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let frames: Vec<(f64, &str)> = (1..=1_000).map(|number| (f64::from(number) / 100.0, ATTACKER)).collect();
    let settings = Settings { incident_bytes: 8_192, ..Settings::default() };
    let opens = vec![line(1, 5.0, LineKind::Opens, &["198.51.100.7"])];
    let counters =
        record(folder.path(), &settings, vec![Message::Frames(batch(&frames)), told(100.0, Vec::new(), opens)]);
    let path = file(folder.path(), 1);
    let bytes = std::fs::read(&path).expect("a file");
    assert!((7_900..=8_192).contains(&bytes.len()), "{}", bytes.len());
    assert!(String::from_utf8_lossy(&bytes[bytes.len() - 200..]).contains("the limit of 8192 bytes was reached"));
    let kept = read(&path).len() as u64;
    assert!(kept > 50);
    assert_eq!(counters.value(Counter::EvidencePackets), kept);
    assert_eq!(counters.value(Counter::EvidencePacketsLeftOut), 1_000 - kept);
}

#[test]
fn what_closed_first_makes_room() {
    let folder = tempfile::tempdir().expect("a folder");
    // Room for three files of a block each.
    let settings = Settings { total_bytes: 3 * 4_096, after_seconds: 10, ring_seconds: 5, ..Settings::default() };
    let client = |number: u64| format!("198.51.100.{number}");
    let from: Vec<String> = (0..9).map(|number| format!("{}:4000", client(number))).collect();
    let frames = |second: f64| Message::Frames(batch(&from.iter().map(|end| (second, &**end)).collect::<Vec<_>>()));
    let opens = |number: u64, second| line(number, second, LineKind::Opens, &[&client(number)]);
    let closes = |number: u64, second| line(number, second, LineKind::Closes, &[]);
    let there = || (1..9).filter(|&number| file(folder.path(), number).exists()).collect::<Vec<u64>>();
    let mut recorder = Recorder::new(&settings, folder.path().to_owned(), false, None);
    let mut tell = |second: f64, lines| {
        recorder.take(frames(second));
        recorder.take(told(second + 0.5, Vec::new(), lines));
        there()
    };
    assert_eq!(tell(1.0, vec![opens(1, 1.0), opens(2, 1.0), opens(3, 1.0)]), [1, 2, 3]);
    // All go on: no room.
    assert_eq!(tell(2.0, vec![opens(4, 2.0)]), [1, 2, 3]);
    assert_eq!(tell(3.0, vec![closes(3, 3.0), opens(5, 3.0)]), [1, 2, 5]);
    // Of 1 and 2 nothing is kept any more from 11 on, and nothing is in the ring from 16 on; they are open.
    assert_eq!(tell(18.0, vec![]), [1, 2, 5]);
    assert_eq!(tell(19.0, vec![closes(2, 18.5), opens(6, 19.0)]), [1, 5, 6]);
    assert_eq!(tell(20.0, vec![opens(7, 20.0)]), [5, 6, 7]);
    let counters = recorder.finish();
    assert_eq!(counters.value(Counter::EvidenceFilesDeleted), 3);
    assert!(counters.value(Counter::EvidencePacketsLeftOut) > 0);
    for number in there() {
        assert!(!read(&file(folder.path(), number)).is_empty());
    }
    // A later run counts what is there.
    let messages = vec![frames(1.0), told(1.5, Vec::new(), vec![opens(8, 1.0)])];
    let counters = record(folder.path(), &settings, messages);
    assert_eq!(counters.value(Counter::EvidenceFilesDeleted), 1);
    assert_eq!(there().len(), 3);
    assert_eq!(there().last(), Some(&8));
}

#[test]
fn a_folder_that_cannot_be_written_to_is_counted_and_ends_nothing() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("file");
    std::fs::write(&folder, "in the way").expect("a file");
    let frames: Vec<(f64, &str)> = (1..=10).map(|second| (f64::from(second), ATTACKER)).collect();
    let opens = vec![line(1, 5.0, LineKind::Opens, &["198.51.100.7"])];
    let counters =
        record(&folder, &Settings::default(), vec![Message::Frames(batch(&frames)), told(100.0, Vec::new(), opens)]);
    assert_eq!(counters.value(Counter::EvidencePacketsDropped), 10);
    assert!(counters.value(Counter::EvidenceWritesFailed) >= 2);
    assert_eq!(counters.value(Counter::EvidencePackets), 0);
}

#[test]
fn a_file_that_somebody_took_away_begins_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recorder = Recorder::new(&Settings::default(), folder.path().to_owned(), false, None);
    recorder.take(Message::Frames(batch(&[(1.0, ATTACKER)])));
    recorder.take(told(1.5, Vec::new(), vec![line(1, 1.0, LineKind::Opens, &["198.51.100.7"])]));
    let path = file(folder.path(), 1);
    assert_eq!(read(&path).len(), 1);
    std::fs::remove_file(&path).expect("it is there");
    for second in [2.0, 3.0] {
        recorder.take(Message::Frames(batch(&[(second, ATTACKER)])));
        recorder.take(told(second + 0.5, Vec::new(), Vec::new()));
    }
    let counters = recorder.finish();
    assert_eq!(counters.value(Counter::EvidencePacketsDropped), 1);
    assert_eq!(read(&path), [format!("3 {ATTACKER}")]);
}

#[test]
fn earlier_files_stay_and_links_are_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let frames = || Message::Frames(batch(&[(1.0, ATTACKER), (2.0, ATTACKER)]));
    let opens = || vec![line(1, 1.0, LineKind::Opens, &["198.51.100.7"])];
    record(folder.path(), &Settings::default(), vec![frames(), told(9.0, Vec::new(), opens())]);
    let path = file(folder.path(), 1);
    let first = std::fs::read(&path).expect("a file");
    // Read again from the beginning: the same file.
    record(folder.path(), &Settings::default(), vec![frames(), told(9.0, Vec::new(), opens())]);
    assert!(std::fs::read(&path).expect("a file") == first);
    // Gone on with: another one.
    let name: Arc<str> = super::store::free_name(folder.path(), &format!("{:016x}", 1)).into();
    assert_eq!(&*name, "0000000000000001.2.pcapng");
    let remembered = Line { file: name.clone(), ..line(1, 0.5, LineKind::Remembered, &["198.51.100.7"]) };
    record(folder.path(), &Settings::default(), vec![told(0.7, Vec::new(), vec![remembered]), frames()]);
    assert!(std::fs::read(&path).expect("a file") == first);
    assert_eq!(read(&folder.path().join(&*name)).len(), 2);

    let elsewhere = folder.path().join("elsewhere");
    std::fs::write(&elsewhere, "precious").expect("a file");
    symlink(&elsewhere, file(folder.path(), 2)).expect("a link");
    let opens = vec![line(2, 1.0, LineKind::Opens, &["198.51.100.7"])];
    record(folder.path(), &Settings::default(), vec![frames(), told(9.0, Vec::new(), opens)]);
    assert_eq!(std::fs::read(&elsewhere).expect("a file"), b"precious");
    assert_eq!(read(&file(folder.path(), 2)).len(), 2);
}

#[test]
fn incidents_and_calls_beyond_the_limits_are_forgotten_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings { incidents: 1, calls: 2, ..Settings::default() };
    let frames: Vec<(f64, &str)> =
        (1..=9).flat_map(|second| [(f64::from(second), ATTACKER), (f64::from(second), OTHER)]).collect();
    let lines = vec![line(1, 3.0, LineKind::Opens, &["198.51.100.7"]), line(2, 5.0, LineKind::Opens, &["192.0.2.1"])];
    let counters =
        record(folder.path(), &settings, vec![Message::Frames(batch(&frames)), told(99.0, Vec::new(), lines)]);
    assert_eq!(read(&file(folder.path(), 1)).len(), 5);
    assert_eq!(read(&file(folder.path(), 2)).len(), 9);
    assert_eq!(counters.value(Counter::EvidenceIncidentsForgotten), 1);

    let frames: Vec<(f64, &str)> = (1..=9).map(|second| (f64::from(second), PROXY)).collect();
    let accused = "198.51.100.7";
    let calls = (1..=4).map(|number| call(number, accused, f64::from(number), f64::from(number) + 0.5)).collect();
    let lines = vec![line(3, 8.0, LineKind::Opens, &[accused])];
    let counters = record(folder.path(), &settings, vec![Message::Frames(batch(&frames)), told(99.0, calls, lines)]);
    assert_eq!(read(&file(folder.path(), 3)), [3, 4].map(|second| format!("{second} {PROXY}")));
    assert_eq!(counters.value(Counter::EvidenceCallsForgotten), 2);
}

#[test]
fn a_live_detector_that_is_behind_does_not_make_the_ring_grow() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings { ring_bytes: 100_000, ..Settings::default() };
    let mut recorder = Recorder::new(&settings, folder.path().to_owned(), true, None);
    let mut most = 0;
    for second in 0..200 {
        let frames: Vec<_> = (0..100).map(|number| (f64::from(second) + f64::from(number) / 100.0, ATTACKER)).collect();
        recorder.take(Message::Frames(batch(&frames)));
        most = most.max(recorder.ring_bytes());
    }
    assert!((100_000..=165_000).contains(&most), "{most}");
}
