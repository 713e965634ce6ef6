//! The clock that stamps packets is set, by hours: what is told stays what it is, and nothing waits for hours to pass.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use apitap::source::{Advance, Source};
use support::{Folder, Run, fixture};

const HOUR: i64 = 3_600;

/// The capture that comes with the program, with the clock set by so many seconds from this share of its frames on (in percent), again
/// and again.
fn write_capture(path: &Path, settings: &[(usize, i64)]) {
    let mut source = apitap::source::open(&[PathBuf::from(fixture())], &Default::default());
    let mut frames = Vec::new();
    while source.advance().expect("it is well") == Advance::Frame {
        let frame = source.frame();
        frames.push((frame.time.nanos(), frame.link.0, frame.data.to_vec()));
    }
    let mut file = Vec::new();
    let link = frames.first().map_or(1, |frame| u32::from(frame.1));
    for word in [0xa1b2_3c4d, 0x0004_0002, 0, 0, 262_144, link] {
        file.extend(u32::to_le_bytes(word));
    }
    for (number, (nanos, _, data)) in frames.iter().enumerate() {
        let set: i64 =
            settings.iter().filter(|(share, _)| number * 100 >= share * frames.len()).map(|(_, by)| by).sum();
        let nanos = nanos + set * 1_000_000_000;
        let length = data.len() as i64;
        for word in [nanos / 1_000_000_000, nanos % 1_000_000_000, length, length] {
            file.extend((word as u32).to_le_bytes());
        }
        file.extend(data);
    }
    std::fs::write(path, file).expect("a capture");
}

/// Who is accused of what family: alone, and at all.
fn accused(run: &Run) -> [BTreeSet<String>; 2] {
    let mut accused = [BTreeSet::new(), BTreeSet::new()];
    for alert in run.lines() {
        let family = alert["kind"].as_str().and_then(|kind| kind.split('.').next()).expect("a kind").to_owned();
        let name = |client: &serde_json::Value| Some(format!("{family} {}", client["ip"].as_str()?));
        accused[0].extend(name(&alert["client"]));
        accused[1].extend(alert["clients"].as_array().into_iter().flatten().chain([&alert["client"]]).filter_map(name));
    }
    accused
}

fn replay(folder: &Folder, capture: &str, workers: &str) -> Run {
    let begin = Instant::now();
    let run = folder.run("replay", &["--trusted-proxy", "10.20.0.5", "--workers", workers, "--json-summary", capture]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(begin.elapsed() < Duration::from_secs(120));
    run
}

#[test]
fn alerts_stay_what_they_are_when_the_clock_is_set() {
    let folder = Folder::new("clock-set");
    let plain = replay(&folder, &fixture(), "1");
    let [alone, named] = accused(&plain);
    assert!(alone.len() >= 10 && named.len() > alone.len(), "{alone:?}");
    let calls = plain.summary()["counters"]["calls"].as_u64().expect("a count");
    for (name, settings, back, forward) in [
        ("back", vec![(50, -3 * HOUR)], 1, 0),
        ("a little back", vec![(50, -30)], 1, 0),
        ("forward", vec![(50, 5 * HOUR)], 0, 1),
        ("back and right again", vec![(40, -2 * HOUR), (60, 2 * HOUR)], 1, 0),
        ("forward and right again", vec![(40, 2 * HOUR), (60, -2 * HOUR)], 1, 1),
        ("back and further back", vec![(30, -HOUR), (60, -4 * HOUR)], 2, 0),
    ] {
        write_capture(&folder.path("set.pcap"), &settings);
        let one = replay(&folder, "set.pcap", "1");
        let two = replay(&folder, "set.pcap", "2");
        assert!(one.stdout == two.stdout, "{name}: other alerts of two workers");
        let now = accused(&one);
        if forward == 0 {
            assert_eq!(now, [alone.clone(), named.clone()], "{name}");
        } else {
            // As behind a pause of hours: who is of a campaign may be told otherwise, nobody is let off or accused in vain.
            assert!(alone.is_subset(&now[1]), "{name}: {:?} are let off", alone.difference(&now[1]));
            assert!(now[0].is_subset(&named), "{name}: {:?} are accused in vain", now[0].difference(&named));
        }
        for run in [&one, &two] {
            let counters = &run.summary()["counters"];
            let count = |counter: &str| counters[counter].as_u64().unwrap_or(0);
            // One that was on its way may be given up, and then comes in two parts.
            let difference = count("calls").abs_diff(calls);
            assert!(difference <= 20 * forward, "{name}: {difference} calls");
            assert_eq!((count("clock_jumps_back"), count("clock_jumps_forward")), (back, forward), "{name}");
        }
    }
}

/// A clock that is set back by an hour does not hold calls back for an hour: they come as before, and their times go on.
#[test]
fn calls_come_in_time_after_the_clock_was_set_back() {
    let folder = Folder::new("clock-calls");
    write_capture(&folder.path("plain.pcap"), &[]);
    write_capture(&folder.path("set.pcap"), &[(50, -HOUR)]);
    let times = |capture: &str| {
        let run = folder.run("calls", &["--workers", "2", capture]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let seconds = |call: &serde_json::Value, key: &str| {
            let text = call[key].as_str()?;
            Some(text.parse::<apitap::time::Timestamp>().expect("a time").seconds())
        };
        run.lines().iter().map(|call| (seconds(call, "request_time"), seconds(call, "end_time"))).collect::<Vec<_>>()
    };
    let (plain, set) = (times("plain.pcap"), times("set.pcap"));
    assert_eq!(plain.len(), set.len());
    for (plain, set) in plain.iter().zip(&set) {
        for (plain, set) in [(plain.0, set.0), (plain.1, set.1)] {
            let apart = plain.zip(set).map_or(0.0, |(plain, set)| (plain - set).abs());
            assert!(apart < 1.0, "{plain:?} {set:?}");
        }
    }
    assert!(set.windows(2).all(|pair| pair[0].1 <= pair[1].1), "they are in the order of their ends");
}
