use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;

use super::*;
use crate::call::{Call, Completeness, Peer, Record};
use crate::detect::{DetectRules, Detector};
use crate::key::Key;
use crate::stats::Counter;

fn detector(key: u8) -> Detector {
    let rules = DetectRules::default();
    let detector = Detector::new(crate::detect::Settings::default(), rules, |call| Some(call.client.ip));
    detector.keyed(&Key::from_bytes([key; crate::key::KEY_BYTES]))
}

fn record(second: u64) -> Record {
    let end_time = Timestamp::from_parts(second, 0);
    Record::Call(Box::new(Call {
        client: Peer { ip: Ipv4Addr::new(10, 0, 0, second as u8).into(), port: 40_000 },
        path: "/a".into(),
        target: "/a".into(),
        status: Some(200),
        completeness: Completeness { request: true, response: true, ..Completeness::default() },
        end_time,
        ..Call::default()
    }))
}

/// What is kept of a detector alone.
fn learned(detector: &Detector) -> Learned {
    Learned { detector: detector.state().clone(), inventory: None, practice: None }
}

/// A run over the seconds given, as a consumer does it.
fn run(folder: &std::path::Path, key: u8, seconds: std::ops::Range<u64>) -> (Keeper, Detector, Vec<String>) {
    let mut keeper = Keeper::new(folder, &Settings::default()).expect("a folder of its own");
    let mut detector = detector(key);
    let (_, notes) = keeper.resume(&mut detector).expect("readable");
    for record in seconds.map(record) {
        if keeper.is_new(&record) {
            detector.record(&record, &mut Vec::new());
            assert_eq!(keeper.taken(Some(&record), || learned(&detector)), None);
        }
    }
    keeper.finish(learned(&detector)).expect("room");
    (keeper, detector, notes)
}

fn seen(detector: &Detector) -> u64 {
    detector.counters().value(Counter::CallsDetected)
}

fn text(detector: &Detector) -> String {
    serde_json::to_string(detector.state()).expect("plain data")
}

#[test]
fn a_run_goes_on_where_the_one_before_stood() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(run(folder.path(), 1, 0..50));
    let (keeper, detector, notes) = run(folder.path(), 1, 30..80);
    assert_eq!((seen(&detector), keeper.counters().value(Counter::RecordsPassedOver)), (30, 20));
    assert_eq!(notes, [""; 0]);
    let other = tempfile::tempdir().expect("a folder");
    let (_, whole, _) = run(other.path(), 1, 0..80);
    assert!(text(&detector) == text(&whole), "a stop and a start make a difference");
}

#[test]
fn what_another_key_learned_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(run(folder.path(), 1, 0..50));
    let (_, detector, notes) = run(folder.path(), 2, 30..80);
    assert_eq!((seen(&detector), notes.len()), (50, 1), "{notes:?}");
}

#[test]
fn one_run_at_a_time_has_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let held = run(folder.path(), 1, 0..5);
    let refused = Keeper::new(folder.path(), &Settings::default()).expect_err("it is held");
    assert!(refused.to_string().contains("another apitap"), "{refused}");
    drop(held);
    run(folder.path(), 1, 5..9);
}

#[test]
fn of_damaged_checkpoints_the_one_before_is_used_and_nothing_panics() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(run(folder.path(), 1, 0..20));
    drop(run(folder.path(), 1, 20..40));
    let newest = folder.path().join(file::NAME);
    let good = fs::read(&newest).expect("written");
    for place in (0..good.len()).step_by(good.len() / 60 + 1) {
        let mut bad = good.clone();
        bad[place] ^= 0x20;
        fs::write(&newest, &bad).expect("room");
        let (found, notes) = file::newest(folder.path()).expect("readable");
        let taken = found.expect("the one before").taken.expect("records").0;
        assert_eq!((taken, notes.len()), (Timestamp::from_parts(19, 0), 3), "byte {place}: {notes:?}");
        assert!(!newest.exists(), "the damaged one is put aside");
    }
    for length in [0, 7, 12, 43, 44, good.len() - 1] {
        fs::write(&newest, &good[..length]).expect("room");
        assert!(file::read(&newest).is_err(), "{length} bytes");
    }
    // Both damaged: it begins anew, and says so.
    fs::write(file::previous(folder.path()), b"APITAPCP").expect("room");
    let (_, detector, notes) = run(folder.path(), 1, 0..5);
    assert_eq!(seen(&detector), 5);
    assert!(notes.iter().any(|note| note.contains("lost")), "{notes:?}");
    // A form that is not known yet is no reason to write over it.
    let mut later = good.clone();
    later[8] = file::VERSION as u8 + 1;
    fs::write(&newest, &later).expect("room");
    let error = file::read(&newest).expect_err("a later form");
    assert!(error.to_string().contains("version 3"), "{error}");
}

#[test]
fn what_cannot_be_written_is_said_and_the_last_good_one_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(run(folder.path(), 1, 0..20));
    let draft = folder.path().join(format!("{}.new", file::NAME));
    fs::create_dir(&draft).expect("something in the way");
    let mut keeper = Keeper::new(folder.path(), &Settings::default()).expect("a folder of its own");
    let mut detector = detector(1);
    keeper.resume(&mut detector).expect("readable");
    assert!(keeper.finish(learned(&detector)).is_err());
    assert_eq!(keeper.counters().value(Counter::CheckpointsFailed), 1);
    let (found, notes) = file::newest(folder.path()).expect("readable");
    assert!(found.is_some() && notes.is_empty());
}

/// A checkpoint of the form 2 with these sections, written as `file` describes it.
fn second_form(folder: &std::path::Path, sections: &[(&str, u32, Vec<u8>)]) {
    let mut body = sections::Sections::new(Vec::new());
    for (name, version, bytes) in sections {
        body.begin(name, *version).expect("room");
        body.write_all(bytes).expect("room");
        body.end().expect("room");
    }
    let mut bytes = b"APITAPCP\x02\0\0\0".to_vec();
    bytes.extend(zstd::encode_all(&body.finish().expect("room")[..], 1).expect("room"));
    bytes.extend(ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref());
    fs::write(folder.join(file::NAME), bytes).expect("room");
}

fn packed(what: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(what).expect("plain data")
}

/// What a detector remembers, as values that a test may change.
fn remembered(seconds: std::ops::Range<u64>) -> serde_json::Value {
    let mut detector = detector(1);
    seconds.map(record).for_each(|record| detector.record(&record, &mut Vec::new()));
    rmp_serde::from_slice(&packed(detector.state())).expect("names and numbers")
}

#[test]
fn what_other_versions_kept_is_read_as_far_as_it_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = packed(&Some(record(49).order()));
    // A later version: with sections, fields and tests that are not known.
    let mut state = remembered(0..50);
    state["unheard_of"] = serde_json::json!({"a": [1, 2]});
    state["budget"]["trials"]["unheard_of"] = 7.0.into();
    let detector_section = ("detector", 1, packed(&state));
    second_form(
        folder.path(),
        &[
            ("weather", 3, vec![0xc1; 200_000]),
            ("taken", 1, taken.clone()),
            detector_section.clone(),
            ("practice", 9, vec![0xc1, 7]),
            ("inventory", 1, vec![0xc1, 7]),
        ],
    );
    let (_, resumed, notes) = run(folder.path(), 1, 40..60);
    assert_eq!(seen(&resumed), 10);
    let told = |word: &str| notes.iter().filter(|note| note.contains(word)).count();
    assert_eq!(
        (told("`weather` is not used"), told("version 9"), told("`inventory` is not used")),
        (1, 1, 1),
        "{notes:?}"
    );

    // An earlier one: without a table, without a test, and without a field of a client.
    let mut state = remembered(0..50);
    let fields = state.as_object_mut().expect("fields");
    assert!(fields.remove("beacons").is_some());
    for column in ["thresholds", "trials", "spent"] {
        assert!(fields["budget"][column].as_object_mut().expect("tests").remove("beacons").is_some(), "{column}");
    }
    for entry in fields["clients"]["entries"].as_array_mut().expect("clients") {
        assert!(entry[1].as_object_mut().expect("a client").remove("bytes").is_some());
    }
    second_form(folder.path(), &[("taken", 1, taken.clone()), ("detector", 1, packed(&state))]);
    let (_, resumed, notes) = run(folder.path(), 1, 40..60);
    assert_eq!((seen(&resumed), notes.len()), (10, 1), "{notes:?}");
    assert!(notes[0].contains("beacons begin anew"), "{notes:?}");
    assert!(resumed.budget().tests.iter().all(|test| test.threshold_decades > 0.0), "nothing passes unasked");

    // One without a detector, or with one that is not understood, is none.
    for broken in [vec![("taken", 1, taken.clone())], vec![("taken", 1, taken), ("detector", 1, vec![0xc1])]] {
        second_form(folder.path(), &broken);
        let error = file::read(&folder.path().join(file::NAME)).expect_err("no detector").to_string();
        assert!(error.contains("`detector`"), "{error}");
    }
}
