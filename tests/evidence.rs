//! The packets of incidents: whose they are, that they are the same in every replay, and what keeps them within bounds.

#[path = "support/disk.rs"]
mod disk;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use apitap::source::{Advance, Source, open};
use apitap::stats::Counter;
use apitap::time::Timestamp;
use disk::Disk;
use etherparse::{NetSlice, SlicedPacket};
use support::{Folder, Run, fixture, in_fragments};

const PROXY: [&str; 2] = ["--trusted-proxy", "10.20.0.5"];

fn replay(folder: &Folder, more: &[&str]) -> Run {
    let fixture = fixture();
    let run = folder.run("replay", &[&[&fixture, "--json-summary"], &PROXY[..], more].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    run
}

/// The frames of a capture, and the addresses in each.
fn frames(path: &Path) -> Vec<(Timestamp, Vec<u8>, BTreeSet<IpAddr>)> {
    let mut source = open(&[path.to_owned()], &Default::default());
    let mut frames = Vec::new();
    while source.advance().expect("a good capture") == Advance::Frame {
        let frame = source.frame();
        let packet = SlicedPacket::from_ethernet(frame.data).expect("a packet");
        let ends: [IpAddr; 2] = match packet.net {
            Some(NetSlice::Ipv4(ip)) => [ip.header().source_addr().into(), ip.header().destination_addr().into()],
            Some(NetSlice::Ipv6(ip)) => [ip.header().source_addr().into(), ip.header().destination_addr().into()],
            _ => continue,
        };
        frames.push((frame.time, frame.data.to_vec(), ends.into()));
    }
    frames
}

/// All files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let read = |entry: fs::DirEntry| {
        (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).expect("a readable file"))
    };
    entries.map(read).collect()
}

fn counter(run: &Run, counter: Counter) -> u64 {
    run.summary()["counters"][counter.name()].as_u64().unwrap_or(0)
}

/// Writes a capture in nanoseconds.
fn write(path: &Path, frames: &[(Timestamp, Vec<u8>)]) {
    let mut bytes = Vec::new();
    for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 1 << 18, 1] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    for (time, data) in frames {
        let (nanos, length) = (time.nanos(), data.len() as u32);
        for word in [(nanos / 1_000_000_000) as u32, (nanos % 1_000_000_000) as u32, length, length] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(data);
    }
    fs::write(path, bytes).expect("room");
}

#[test]
fn each_incident_has_the_packets_of_its_client() {
    let folder = Folder::new("evidence-whose");
    check_whose(&folder, Path::new(&fixture()));
}

#[test]
fn fragments_are_kept_like_whole_packets() {
    let folder = Folder::new("evidence-fragments");
    let all = frames(Path::new(&fixture()));
    let mut fragments = Vec::new();
    for ((time, data, _), id) in all.iter().zip((0..=u16::MAX).cycle()) {
        match data.len() {
            0..400 => fragments.push((*time, data.clone())),
            _ => fragments.extend(in_fragments(data, id).into_iter().map(|part| (*time, part))),
        }
    }
    assert!(fragments.len() > all.len() + 1_000);
    write(&folder.path("fragments.pcap"), &fragments);
    check_whose(&folder, &folder.path("fragments.pcap"));
}

/// Replays a capture, and holds the files against what is in it.
fn check_whose(folder: &Folder, capture: &Path) {
    let path = capture.display().to_string();
    let run = folder.run("replay", &[&[&path, "--json-summary", "--evidence", "kept"], &PROXY[..]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let all = frames(capture);
    // The last line of each incident of one client, and the time of its first.
    let mut incidents = BTreeMap::new();
    for alert in run.lines() {
        let text = |key: &str| alert[key].as_str().unwrap_or_default().to_owned();
        let time: Timestamp = serde_json::from_value(alert["ts"].clone()).expect("a time");
        let name = format!("kept/{}.pcapng", text("incident"));
        assert_eq!(alert["capture"]["file"].as_str(), Some(&*name));
        assert!(folder.path(&name).exists());
        if alert["scope"] == "client" {
            let client: IpAddr = serde_json::from_value(alert["client"]["ip"].clone()).expect("an address");
            incidents.entry(name).or_insert((client, time));
        }
    }
    assert!(incidents.len() > 10);
    let mut direct = 0;
    for (name, (client, opened)) in incidents {
        let kept = frames(&folder.path(&name));
        assert!(!kept.is_empty() && kept.is_sorted_by_key(|(time, ..)| *time), "{name}");
        if kept.iter().any(|(.., ends)| !ends.contains(&client)) {
            // Of a client behind the proxy.
            assert!(kept.iter().all(|(.., ends)| ends.contains(&"10.20.0.5".parse().expect("an address"))));
            continue;
        }
        direct += 1;
        let from = kept.first().map(|(time, ..)| *time).expect("not empty");
        assert!(from < opened);
        let expected = all.iter().filter(|(time, _, ends)| *time >= from && ends.contains(&client));
        assert!(kept.iter().eq(expected), "{name}");
    }
    assert!(direct > 5);
    assert_eq!(counter(&run, Counter::EvidenceFiles), files(&folder.path("kept")).len() as u64);
    assert_eq!(counter(&run, Counter::EvidencePacketsDropped), 0);
}

#[test]
fn workers_make_no_difference_and_alerts_are_as_without() {
    let folder = Folder::new("evidence-workers");
    let plain = replay(&folder, &["--workers", "1"]);
    let one = replay(&folder, &["--workers", "1", "--evidence", "kept"]);
    let expected = files(&folder.path("kept"));
    assert!(expected.len() > 10);
    let without = one.lines().into_iter().map(|mut alert| {
        assert!(alert.as_object_mut().expect("an object").remove("capture").is_some());
        alert
    });
    assert!(without.eq(plain.lines()));
    for workers in ["2", "3"] {
        fs::rename(folder.path("kept"), folder.path(&format!("before-{workers}"))).expect("it is there");
        let run = replay(&folder, &["--workers", workers, "--evidence", "kept"]);
        assert!(run.stdout == one.stdout, "{workers} workers");
        assert!(files(&folder.path("kept")) == expected, "{workers} workers");
    }
    // Again into the same folder: the same.
    replay(&folder, &["--evidence", "kept"]);
    assert!(files(&folder.path("kept")) == expected);
}

#[test]
fn files_keep_to_their_limits() {
    let folder = Folder::new("evidence-limits");
    let text = "[evidence]\nfolder = 'kept'\nincident_bytes = 20000\ntotal_bytes = 100000\n";
    fs::write(folder.path("apitap.toml"), text).expect("a file");
    let run = replay(&folder, &["--config", "apitap.toml", "--workers", "2"]);
    let kept = files(&folder.path("kept"));
    assert!((3..=25).contains(&kept.len()), "{}", kept.len());
    let blocks: usize = kept.values().map(|bytes| bytes.len().next_multiple_of(4096)).sum();
    assert!(blocks <= 100_000, "{blocks}");
    let full: Vec<_> = kept.values().filter(|bytes| bytes.len() > 15_000).collect();
    assert!(!full.is_empty() && full.iter().all(|bytes| bytes.len() <= 20_000));
    assert!(counter(&run, Counter::EvidencePacketsLeftOut) > 0);
    assert!(run.stderr.contains("beyond 20000 bytes are left out"), "{}", run.stderr);
    for name in kept.keys() {
        frames(&folder.path("kept").join(name));
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_said_and_nothing_else_changes() {
    let folder = Folder::new("evidence-broken");
    fs::write(folder.path("file"), "in the way").expect("a file");
    let plain = replay(&folder, &[]);
    let run = replay(&folder, &["--evidence", "file/kept"]);
    assert_eq!(run.lines().len(), plain.lines().len());
    assert!(run.stderr.contains("the packets of incidents cannot be kept"), "{}", run.stderr);
    assert!(counter(&run, Counter::EvidenceWritesFailed) > 0);
    assert!(counter(&run, Counter::EvidencePacketsDropped) > 0);
}

#[test]
fn a_full_disk_costs_packets_and_no_alert() {
    let folder = Folder::new("evidence-full");
    let Some(disk) = Disk::mount(folder.path("kept"), 256 << 10) else { return };
    let plain = replay(&folder, &["--evidence", "room"]);
    let all = files(&folder.path("room")).values().map(Vec::len).sum::<usize>();
    assert!(all > 512 << 10, "{all} bytes are no load for a disk of 256 KiB");
    let run = replay(&folder, &["--evidence", "kept"]);
    let alerts = |run: &Run, folder: &str| String::from_utf8_lossy(&run.stdout).replace(&format!("\"{folder}/"), "\"");
    assert_eq!(alerts(&run, "kept"), alerts(&plain, "room"));
    assert!(run.stderr.contains("No space left on device"), "{}", run.stderr);
    assert!(counter(&run, Counter::EvidenceWritesFailed) > 0 && counter(&run, Counter::EvidencePacketsDropped) > 0);
    let kept = counter(&run, Counter::EvidencePackets);
    let whole = counter(&plain, Counter::EvidencePackets);
    assert_eq!(kept + counter(&run, Counter::EvidencePacketsDropped), whole, "every packet is counted");
    // What is there is whole, and all that is counted as there.
    let names = files(disk.path());
    let there: usize = names.keys().map(|name| frames(&disk.path().join(name)).len()).sum();
    assert_eq!(there as u64, kept);
}

#[test]
fn a_run_that_goes_on_begins_second_files() {
    let folder = Folder::new("evidence-resume");
    let all = frames(Path::new(&fixture()));
    for (name, part) in [("first.pcap", &all[..all.len() / 2]), ("second.pcap", &all[all.len() / 2..])] {
        let part: Vec<_> = part.iter().map(|(time, data, _)| (*time, data.clone())).collect();
        write(&folder.path(name), &part);
    }
    let replay = |capture: &str| {
        let arguments = [capture, "--state", "state", "--resume", "--evidence", "kept", "--quiet"];
        let run = folder.run("replay", &[&arguments, &PROXY[..]].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run.lines()
    };
    let told = replay("first.pcap");
    let first = files(&folder.path("kept"));
    assert!(told.len() > 5 && first.len() > 3);
    let known: BTreeSet<&str> = told.iter().filter_map(|alert| alert["incident"].as_str()).collect();
    let mut updates = 0;
    for alert in replay("second.pcap") {
        let incident = alert["incident"].as_str().expect("an incident");
        let number = if known.contains(incident) { ".2" } else { "" };
        assert_eq!(alert["capture"]["file"].as_str(), Some(&*format!("kept/{incident}{number}.pcapng")));
        if known.contains(incident) {
            updates += 1;
            assert!(!frames(&folder.path(&format!("kept/{incident}.2.pcapng"))).is_empty());
        }
    }
    assert!(updates > 0);
    let second = files(&folder.path("kept"));
    assert!(first.iter().all(|(name, bytes)| second.get(name) == Some(bytes)), "earlier files stay as they are");
}

#[test]
fn wireshark_reads_them() {
    let folder = Folder::new("evidence-wireshark");
    if Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("skipped: tshark is not there");
        return;
    }
    let alerts = replay(&folder, &["--evidence", "kept"]).lines();
    for alert in alerts.iter().take(3) {
        let incident = alert["incident"].as_str().expect("an incident");
        let path = folder.path(&format!("kept/{incident}.pcapng"));
        let output = Command::new("tshark")
            .args(["-n", "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len", "-r"])
            .arg(&path)
            .output()
            .expect("tshark runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let kept = frames(&path);
        let text = String::from_utf8(output.stdout).expect("text");
        let expected = kept.iter().map(|(time, data, _)| {
            format!("{}.{:09}\t{}", time.nanos() / 1_000_000_000, time.nanos() % 1_000_000_000, data.len())
        });
        assert!(text.lines().eq(expected), "{incident}");
        let output = Command::new("capinfos").arg("-k").arg(&path).output().expect("capinfos runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(&format!("apitap incident {incident}")), "{text}");
    }
}
