//! What was learned outlives a run: stopped and started again, and killed at any moment.

#[path = "support/disk.rs"]
mod disk;
#[path = "support/receivers.rs"]
mod receivers;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use disk::Disk;
use receivers::{Reply, Service};
use support::{Folder, Run, fixture};

/// Calls that the checkpoint among the fixtures holds.
const FIRST_FORM_CALLS: u64 = 1_000;

/// The calls of the bundled capture, a line each.
fn calls(folder: &Folder) -> Vec<String> {
    let run = folder.run("calls", &[&fixture(), "--quiet"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    String::from_utf8(run.stdout).expect("JSON").lines().map(|line| format!("{line}\n")).collect()
}

/// Alerts by id.
fn by_id(alerts: &[u8]) -> BTreeMap<String, String> {
    let lines = std::str::from_utf8(alerts).expect("JSON").lines();
    let id =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["id"].as_str().map(str::to_owned);
    lines.map(|line| (id(line).expect("an id"), line.to_owned())).collect()
}

#[test]
fn a_run_in_parts_gives_the_alerts_of_one_run() {
    let folder = Folder::new("parts");
    let calls = calls(&folder);
    fs::write(folder.path("all"), calls.concat()).expect("room");
    let whole = folder.run("detect", &["all", "--quiet"]);
    assert!(whole.lines().len() > 3, "{}", whole.stderr);
    let mut parts = Vec::new();
    for (number, part) in calls.chunks(calls.len().div_ceil(7)).enumerate() {
        // Each file has the last calls of the one before once more.
        let again = number * calls.len().div_ceil(7);
        let name = format!("part{number}");
        fs::write(folder.path(&name), calls[again.saturating_sub(100)..again].concat() + &part.concat()).expect("room");
        let run = folder.run("detect", &[&name, "--state", "state", "--resume", "--json-summary"]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let counters = &run.summary()["counters"];
        assert_eq!(counters["records_passed_over"].as_u64().unwrap_or(0), if number > 0 { 100 } else { 0 });
        assert_eq!(counters["checkpoints_written"].as_u64(), Some(1));
        parts.extend(run.stdout);
    }
    assert!(parts == whole.stdout, "a stop and a start make a difference");
    // All is known by now: nothing is told a second time.
    assert_eq!(folder.run("detect", &["all", "--state", "state", "--resume", "--quiet"]).stdout, b"");
}

#[test]
fn a_capture_in_parts_is_gone_on_with() {
    let folder = Folder::new("captures");
    let fixture = fixture();
    let arguments = [&fixture[..], "--state", "state", "--resume", "--json-summary"];
    let first = folder.run("replay", &arguments);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(first.lines().len() > 3);
    let second = folder.run("replay", &arguments);
    assert_eq!(second.stdout, b"", "all of it was told");
    assert!(second.summary()["counters"]["records_passed_over"].as_u64() > Some(10_000));
    // Without being asked to, a replay begins anew.
    assert_eq!(folder.run("replay", &[&fixture, "--state", "state", "--quiet"]).stdout, first.stdout);
}

#[test]
fn killed_again_and_again_it_loses_no_alert() {
    let folder = Folder::new("killed");
    let calls = calls(&folder);
    fs::write(folder.path("all"), calls.concat()).expect("room");
    let whole = by_id(&folder.run("detect", &["all", "--quiet"]).stdout);
    fs::write(folder.path("settings.toml"), "[checkpoint]\ninterval_seconds = 1\n").expect("room");
    let arguments = ["-", "--state", "state", "--resume", "--quiet", "--config", "settings.toml"];
    let mut told = Vec::new();
    let mut written = 0;
    for round in 1..=5 {
        let mut process = folder
            .apitap("detect", &arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary starts");
        let mut stdin = process.stdin.take().expect("a pipe");
        let stdout = process.stdout.take().expect("a pipe");
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines();
            lines.map_while(Result::ok).map(|line| line + "\n").collect::<String>()
        });
        // From the beginning each time, a part more, and slowly enough that a checkpoint is due in between.
        let share = calls.len() * round / 5;
        stdin.write_all(calls[..share / 2].concat().as_bytes()).expect("it reads");
        let rest = &calls[share / 2..share];
        for part in rest.chunks(rest.len().div_ceil(25)) {
            stdin.write_all(part.concat().as_bytes()).expect("it reads");
            std::thread::sleep(Duration::from_millis(100));
        }
        if round < 5 {
            process.kill().expect("it runs"); // SIGKILL
        }
        drop(stdin);
        process.wait().expect("it ends");
        told.extend(reader.join().expect("lines").into_bytes());
        written += u32::from(folder.path("state").join("detector.checkpoint").exists());
    }
    assert!(written > 1, "no checkpoint was there when it was killed");
    // One may be told twice, with the same id and the same words.
    let told = by_id(&told);
    let missing: Vec<_> = whole.iter().filter(|(id, line)| told.get(*id) != Some(*line)).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    assert_eq!(told.len(), whole.len(), "told what one run does not tell");
}

/// With sinks beside it, one of which is often refused: what was printed before a kill has reached them, or does after it.
#[test]
fn killed_in_a_replay_it_goes_on_and_its_sinks_lose_nothing() {
    let folder = Folder::new("killed-sinks");
    let packed = fs::File::open(fixture()).expect("the fixture");
    let capture = zstd::decode_all(packed).expect("a capture");
    fs::write(folder.path("all.pcap"), &capture).expect("room");
    let whole = by_id(&folder.run("replay", &["all.pcap", "--quiet"]).stdout);
    assert!(whole.len() > 3);
    let service = Service::start(0, |number, _| match number.is_multiple_of(3) {
        true => Reply(503, "", String::new()),
        false => Reply(200, "", String::new()),
    });
    let settings = format!(
        "[checkpoint]\ninterval_seconds = 1\n[[sink]]\ntype = 'stdout'\n[[sink]]\ntype = 'file'\npath = 'alerts.jsonl'\n\
         rotate_bytes = 0\n[[sink]]\ntype = 'webhook'\nurl = 'http://127.0.0.1:{}/'\nretry_milliseconds = 5\n",
        service.port
    );
    fs::write(folder.path("settings.toml"), settings).expect("room");
    let arguments = ["-", "--state", "state", "--resume", "--quiet", "--config", "settings.toml"];
    let mut printed = Vec::new();
    let mut written = 0;
    for round in 1..=5 {
        let out = fs::File::create(folder.path("printed")).expect("room");
        let mut process = folder.apitap("replay", &arguments);
        let mut process = process.stdin(Stdio::piped()).stdout(out).spawn().expect("the binary starts");
        let mut stdin = process.stdin.take().expect("a pipe");
        let share = capture.len() * round / 5;
        stdin.write_all(&capture[..share / 2]).expect("it reads");
        let rest = &capture[share / 2..share];
        for part in rest.chunks(rest.len().div_ceil(25)) {
            stdin.write_all(part).expect("it reads");
            std::thread::sleep(Duration::from_millis(100));
        }
        if round < 5 {
            process.kill().expect("it runs"); // SIGKILL
        }
        drop(stdin);
        let status = process.wait().expect("it ends");
        assert!(round < 5 || status.success());
        let text = fs::read_to_string(folder.path("printed")).expect("what it printed");
        // The last line may have been cut.
        printed.extend(text.split_inclusive('\n').filter(|line| line.ends_with('\n')).flat_map(str::bytes));
        written += u32::from(folder.path("state").join("detector.checkpoint").exists());
    }
    assert!(written > 1, "no checkpoint was there when it was killed");
    let filed = by_id(&fs::read(folder.path("alerts.jsonl")).expect("a file"));
    let received = service.requests();
    let taken = received.iter().enumerate().filter(|(number, _)| !number.is_multiple_of(3));
    let taken = by_id(&taken.flat_map(|(_, request)| [&request.body[..], b"\n"].concat()).collect::<Vec<_>>());
    for (place, told) in [("standard output", by_id(&printed)), ("file", filed), ("webhook", taken)] {
        let missing: Vec<_> = whole.keys().filter(|id| !told.contains_key(*id)).collect();
        assert!(missing.is_empty(), "{place} has lost {missing:?}");
        assert_eq!(told.len(), whole.len(), "{place} has what one run does not tell");
    }
}

#[test]
fn a_full_disk_costs_checkpoints_and_no_alert() {
    let folder = Folder::new("full");
    let Some(disk) = Disk::mount(folder.path("state"), 2 << 20) else { return };
    let calls = calls(&folder);
    fs::write(folder.path("all"), calls.concat()).expect("room");
    let whole = folder.run("detect", &["all", "--quiet"]);
    fs::write(folder.path("settings.toml"), "[checkpoint]\ninterval_seconds = 1\n").expect("room");
    let arguments = ["-", "--state", "state", "--resume", "--json-summary", "--config", "settings.toml"];
    // Into a file: nobody would read a pipe while the calls are written.
    let start = || {
        let printed = fs::File::create(folder.path("printed")).expect("room");
        let mut process = folder.apitap("detect", &arguments);
        process.stdin(Stdio::piped()).stdout(printed).stderr(Stdio::piped());
        process.spawn().expect("the binary starts")
    };
    let end = |process: std::process::Child| {
        let run = Run::of(process.wait_with_output().expect("it ends"));
        Run { stdout: fs::read(folder.path("printed")).expect("what it printed"), ..run }
    };
    let told = |text: &str| text.lines().filter(|line| line.contains("no checkpoint can be written")).count();
    let half = calls.len() / 2;
    disk.fill();
    let mut process = start();
    let mut stdin = process.stdin.take().expect("a pipe");
    for (place, part) in calls.chunks(calls.len().div_ceil(60)).enumerate() {
        if place == 30 {
            disk.empty();
        }
        stdin.write_all(part.concat().as_bytes()).expect("it reads");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(stdin);
    let run = end(process);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout == whole.stdout, "a full disk makes a difference");
    assert_eq!(told(&run.stderr), 1, "it is said, and said once: {}", run.stderr);
    assert!(run.stderr.contains("checkpoints are written again"), "{}", run.stderr);
    let counters = &run.summary()["counters"];
    assert!(counters["checkpoints_failed"].as_u64() > Some(0) && counters["checkpoints_written"].as_u64() > Some(0));
    assert_eq!(folder.run("detect", &["all", "--state", "state", "--resume", "--quiet"]).stdout, b"", "it was kept");

    // One that ends on a full disk says what it forgets, and the checkpoint before is as it was.
    for name in ["detector.checkpoint", "detector.checkpoint.previous"] {
        let _ = fs::remove_file(disk.path().join(name));
    }
    fs::write(folder.path("half"), calls[..half].concat()).expect("room");
    assert_eq!(folder.run("detect", &["half", "--state", "state", "--resume", "--quiet"]).code, Some(0));
    disk.fill();
    let mut process = start();
    let mut stdin = process.stdin.take().expect("a pipe");
    stdin.write_all(calls[half..].concat().as_bytes()).expect("it reads");
    drop(stdin);
    let run = end(process);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("what was learned could not be kept"), "{}", run.stderr);
    disk.empty();
    let again = folder.run("detect", &["all", "--state", "state", "--resume", "--quiet"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(!run.stdout.is_empty() && again.stdout == run.stdout, "what was told on the full disk is told again");
}

#[test]
fn a_damaged_checkpoint_is_said_and_the_one_before_is_used() {
    let folder = Folder::new("damaged");
    let calls = calls(&folder);
    let half = calls.len() / 2;
    fs::write(folder.path("one"), calls[..half].concat()).expect("room");
    fs::write(folder.path("two"), calls[half..].concat()).expect("room");
    let arguments = ["--state", "state", "--resume", "--json-summary"];
    let run = |name: &str| folder.run("detect", &[&[name][..], &arguments].concat());
    let (_, second) = (run("one"), run("two"));
    let path = folder.path("state").join("detector.checkpoint");
    let mut bytes = fs::read(&path).expect("written");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("room");
    let again = run("two");
    assert!(again.stderr.contains("checksum is wrong"), "{}", again.stderr);
    assert!(again.stdout == second.stdout, "it went on from the one before");
}

/// Lines of what a run printed, but for what findings came to at its end, which are given apart.
fn told(run: &Run) -> (Vec<String>, Vec<String>) {
    let text = std::str::from_utf8(&run.stdout).expect("JSON");
    text.lines().map(str::to_owned).partition(|line| !line.contains(r#""state":"total""#))
}

#[test]
fn news_and_findings_are_told_once_over_all_runs() {
    let folder = Folder::new("news");
    let run = folder.run("calls", &[&fixture(), "--quiet", "--shapes"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let calls: Vec<_> = String::from_utf8(run.stdout).expect("JSON").lines().map(|line| format!("{line}\n")).collect();
    fs::write(folder.path("all"), calls.concat()).expect("room");
    fs::write(folder.path("settings.toml"), "[inventory.events]\nsettle_seconds = 60\n").expect("room");
    let arguments =
        ["--resume", "--events", "--learning", "120", "--findings", "--json-summary", "--config", "settings.toml"];
    let detect = |name: &str, state: &str| {
        let run = folder.run("detect", &[&[name, "--state", state], &arguments[..]].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run
    };
    let whole = detect("all", "whole");
    let (lines, totals) = told(&whole);
    let of = |schema: &str| lines.iter().filter(|line| line.contains(schema)).count();
    let (events, findings) = (of("apitap.event.v1"), of("apitap.finding.v1"));
    assert!(events > 3 && findings > 3 && totals.len() > 3, "{events} {findings} {lines:#?}");
    let mut parts = Vec::new();
    let mut last = Vec::new();
    for (number, part) in calls.chunks(calls.len().div_ceil(9)).enumerate() {
        let name = format!("part{number}");
        fs::write(folder.path(&name), part.concat()).expect("room");
        let run = detect(&name, "parts");
        assert!(!run.stderr.contains("begins anew"), "{}", run.stderr);
        let (lines, totals) = told(&run);
        parts.extend(lines);
        last = totals;
    }
    let differing: Vec<_> = lines.iter().zip(&parts).filter(|(one, other)| one != other).take(2).collect();
    assert!(differing.is_empty() && parts.len() == lines.len(), "{} {} {differing:#?}", lines.len(), parts.len());
    assert_eq!(last, totals, "what findings came to over all runs");
    // What is not asked for in one run is not kept by it, and that is said.
    fs::write(folder.path("none"), "").expect("room");
    assert_eq!(folder.run("detect", &["none", "--state", "parts", "--resume", "--quiet"]).code, Some(0));
    let run = detect("none", "parts");
    assert!(run.stderr.contains("no inventory: it begins anew"), "{}", run.stderr);
    assert!(run.stderr.contains("no findings of practices: it begins anew"), "{}", run.stderr);
}

/// Written by the last version of the first form, from the first calls of the bundled capture.
#[test]
fn the_first_form_is_gone_on_with() {
    let folder = Folder::new("first-form");
    let calls = calls(&folder);
    fs::write(folder.path("all"), calls.concat()).expect("room");
    let whole = folder.run("detect", &["all", "--quiet"]);
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/checkpoint/form-1.checkpoint");
    fs::create_dir(folder.path("state")).expect("a folder");
    fs::copy(old, folder.path("state").join("detector.checkpoint")).expect("room");
    let run = folder.run("detect", &["all", "--state", "state", "--resume", "--json-summary"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.summary()["counters"]["records_passed_over"].as_u64(), Some(FIRST_FORM_CALLS));
    assert!(!run.stderr.contains("cannot be used") && !run.stderr.contains("anew"), "{}", run.stderr);
    // The alerts of what it held were told by then; all others come as if there had been one run.
    let (whole, rest) = (by_id(&whole.stdout), by_id(&run.stdout));
    assert!(!rest.is_empty() && rest.len() < whole.len());
    assert!(rest.iter().all(|(id, line)| whole.get(id) == Some(line)), "{rest:#?}");
    // Gone on with, it is kept in the present form.
    let again = folder.run("detect", &["all", "--state", "state", "--resume", "--quiet"]);
    assert_eq!(again.stdout, b"");
}
