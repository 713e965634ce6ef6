//! `apitap watch` on a real interface: two network namespaces, a real server, a real client, and the server's own
//! access log as the truth; and a capture sent again, with `apitap calls` as the truth. Needs root, iproute2, nginx and
//! python3, or tcpreplay; says why it skips where one is missing.

#[path = "support/namespaces.rs"]
mod namespaces;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use apitap::source::{Advance, Source};
use namespaces::{Namespaces, ip, missing, nginx, wait_for};
use support::{Folder, Run, fixture, in_fragments};

const CALLS: usize = 8_000;
const CALLS_A_SECOND: usize = 1_000;

fn counted(lines: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

/// Starts `apitap watch` on the server's interface; what it prints goes to the file.
fn watch(folder: &Folder, namespace: &str, options: &[&str]) -> (Child, PathBuf) {
    let output = folder.path("calls.jsonl");
    let mut inner = folder.apitap("watch", &["-i", "veth1", "--json-summary"]);
    inner.args(options);
    let mut watch = Command::new("ip");
    watch.args(["netns", "exec", namespace]).arg(inner.get_program()).args(inner.get_args());
    watch.stdout(fs::File::create(&output).expect("a file")).stderr(Stdio::piped());
    let watch = watch.spawn().expect("apitap starts");
    std::thread::sleep(Duration::from_secs(1));
    (watch, output)
}

/// Ends it as a user does.
fn interrupt(watch: Child) -> Run {
    // `ip netns exec` becomes the program, so this is apitap's own process.
    let interrupted = Command::new("kill").args(["-INT", &watch.id().to_string()]).status().expect("kill runs");
    let run = Run::of(watch.wait_with_output().expect("apitap ends"));
    assert!(interrupted.success(), "it has ended by itself: {}", run.stderr);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    run
}

/// An Ethernet frame in VXLAN. Each direction comes from another end, and `entropy` chooses the port, as the kernel does.
fn in_vxlan(frame: &[u8], entropy: u16) -> Vec<u8> {
    let (udp, ip) = ((frame.len() + 16) as u16, (frame.len() + 36) as u16);
    let [from, to] = if frame[26..30] < frame[30..34] { [1, 2] } else { [2, 1] };
    let mut all = vec![2, 0, 0, 0, 9, to, 2, 0, 0, 0, 9, from, 8, 0, 0x45, 0];
    all.extend(ip.to_be_bytes());
    all.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 0, from, 10, 9, 0, to]);
    all.extend((49_152 + entropy % 16_384).to_be_bytes());
    all.extend(4_789_u16.to_be_bytes());
    all.extend(udp.to_be_bytes());
    all.extend([0, 0, 8, 0, 0, 0, 0, 0, 5, 0]);
    all.extend(frame);
    all
}

/// The beginning of the capture that comes with the program, its flows in turn plain, in VXLAN, in fragments, and in
/// fragments in VXLAN; how many frames.
fn write_capture(path: &Path) -> usize {
    let mut source = apitap::source::open(&[PathBuf::from(fixture())], &Default::default());
    let mut frames = Vec::new();
    for number in 0..20_000_u16 {
        assert_eq!(source.advance(), Ok(Advance::Frame));
        let frame = source.frame().data.to_vec();
        assert_eq!(frame[12..15], [8, 0, 0x45], "IPv4 without options");
        let ports = [34, 36].map(|at| u16::from_be_bytes([frame[at], frame[at + 1]]));
        match (ports[0] ^ ports[1]) % 4 {
            0 => frames.push(frame),
            1 => frames.push(in_vxlan(&frame, ports[0].wrapping_mul(7))),
            2 => frames.extend(in_fragments(&frame, number)),
            // A tunnel that looks at the ports of the first fragment sends the others another way.
            _ => frames.extend(
                (0..).zip(in_fragments(&frame, number)).map(|(at, part)| in_vxlan(&part, ports[1].wrapping_add(at))),
            ),
        }
    }
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1_u32] {
        file.extend(word.to_le_bytes());
    }
    for (number, frame) in (0..).zip(&frames) {
        let microseconds = 50 * number;
        let length = frame.len() as u32;
        for word in [1_772_460_000 + microseconds / 1_000_000, microseconds % 1_000_000, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    fs::write(path, file).expect("a capture");
    frames.len()
}

/// What a call is, apart from when it was.
fn essence(call: &serde_json::Value) -> String {
    let parts = ["community_id", "position", "method", "host", "target", "status", "completeness", "encapsulation"];
    parts.map(|part| call[part].to_string()).join(" ")
}

#[test]
fn several_readers_and_workers_see_what_one_sees() {
    if let Some(reason) = missing(&["tcpreplay"]) {
        eprintln!("skipped: {reason}");
        return;
    }
    let folder = Folder::new("fanout");
    let capture = folder.path("sent.pcap");
    let frames = write_capture(&capture);
    let replayed = folder.run("calls", &[capture.to_str().expect("a name"), "--workers", "1", "--json-summary"]);
    let expected = counted(replayed.lines().iter().map(essence));
    assert!(expected.values().sum::<usize>() > 1_000);
    let spaces = Namespaces::new();
    for (readers, workers) in [("1", "1"), ("1", "3"), ("2", "2"), ("3", "2")] {
        let options = ["--calls", "-f", "ip", "--readers", readers, "--workers", workers];
        let (watch, output) = watch(&folder, &spaces.server, &options);
        let sent = Command::new("ip")
            .args(["netns", "exec", &spaces.client, "tcpreplay", "-q", "-i", "veth0", "--pps", "20000"])
            .arg(&capture)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
        // At once: what the kernel has captured by now is still read.
        let run = interrupt(watch);
        let name = format!("{readers} readers, {workers} workers: {}", run.stderr);
        let counters = &run.summary()["counters"];
        assert_eq!(counters["frames"], frames, "{name}");
        assert_eq!(counters["readers"].to_string(), readers, "{name}");
        for lost in ["kernel_drops", "segments_dropped", "calls_dropped", "fragments_timed_out"] {
            assert_eq!(counters[lost], serde_json::Value::Null, "{name}");
        }
        for same in ["segments", "fragments", "fragments_reassembled", "flows", "calls"] {
            assert_eq!(counters[same], replayed.summary()["counters"][same], "{same} with {name}");
        }
        let printed = fs::read_to_string(&output).expect("what apitap printed");
        let seen = counted(printed.lines().map(|line| essence(&serde_json::from_str(line).expect("a call a line"))));
        assert!(seen == expected, "other calls with {name}");
    }
}

#[test]
fn watch_sees_every_call_that_the_server_logged() {
    if let Some(reason) = missing(&["nginx", "python3"]) {
        eprintln!("skipped: {reason}");
        return;
    }
    let folder = Folder::new("live");
    let spaces = Namespaces::new();
    let _nginx = nginx(&folder, &spaces.server);

    let options = ["--calls", "-f", "tcp port 8080"];
    let (watch, output) = watch(&folder, &spaces.server, &options);

    spaces.calls(CALLS, CALLS_A_SECOND);
    std::thread::sleep(Duration::from_secs(1));
    let run = interrupt(watch);

    let log = fs::read_to_string(folder.path("access.log")).expect("the server's log");
    let logged = counted(log.lines().map(str::to_owned));
    let calls = fs::read_to_string(&output).expect("what apitap printed");
    let seen = counted(calls.lines().map(|line| {
        let call: serde_json::Value = serde_json::from_str(line).expect("a call a line");
        format!("{} {}", call["target"].as_str().unwrap_or_default(), call["status"])
    }));
    assert_eq!(logged.values().sum::<usize>(), CALLS);
    assert_eq!(seen, logged);
    assert_eq!(run.summary()["counters"]["kernel_drops"], serde_json::Value::Null);
}

/// How many calls were printed.
fn printed(output: &Path) -> usize {
    let text = fs::read_to_string(output).expect("what apitap printed");
    text.lines().filter(|line| line.contains("\"status\":")).count()
}

#[test]
fn an_interface_that_goes_down_and_up_ends_nothing() {
    if let Some(reason) = missing(&["nginx", "python3"]) {
        eprintln!("skipped: {reason}");
        return;
    }
    let folder = Folder::new("live-down");
    let spaces = Namespaces::new();
    let _nginx = nginx(&folder, &spaces.server);
    for (readers, workers) in [("1", "1"), ("1", "2"), ("2", "2")] {
        let options = ["--calls", "-f", "tcp port 8080", "--readers", readers, "--workers", workers];
        let (watch, output) = watch(&folder, &spaces.server, &options);
        spaces.calls(40, 200);
        ip(&format!("-n {} link set veth1 down", spaces.server));
        std::thread::sleep(Duration::from_secs(1));
        ip(&format!("-n {} link set veth1 up", spaces.server));
        spaces.calls(40, 200);
        std::thread::sleep(Duration::from_secs(1));
        let run = interrupt(watch);
        let name = format!("{readers} readers, {workers} workers: {}", run.stderr);
        let counters = &run.summary()["counters"];
        assert_eq!((&counters["interface_outages"], &counters["interfaces_down"]), (&1.into(), &().into()), "{name}");
        assert_eq!(counters["readers"].to_string(), readers, "{name}");
        assert!(run.stderr.contains("interface veth1 went down"), "{name}");
        assert!(run.stderr.contains("interface veth1 is up again"), "{name}");
        assert_eq!(printed(&output), 80, "{name}");
    }
}

#[test]
fn an_interface_that_is_made_anew_is_listened_to_again() {
    if let Some(reason) = missing(&["nginx", "python3"]) {
        eprintln!("skipped: {reason}");
        return;
    }
    let folder = Folder::new("live-anew");
    let spaces = Namespaces::new();
    let _nginx = nginx(&folder, &spaces.server);
    for workers in ["1", "2"] {
        let options = ["--calls", "-f", "tcp port 8080", "--readers", "1", "--workers", workers];
        let (watch, output) = watch(&folder, &spaces.server, &options);
        spaces.calls(40, 200);
        for _ in 0..2 {
            ip(&format!("-n {} link del veth1", spaces.server));
            std::thread::sleep(Duration::from_secs(1));
            spaces.join();
            std::thread::sleep(Duration::from_secs(2));
            spaces.calls(40, 200);
        }
        std::thread::sleep(Duration::from_secs(1));
        let run = interrupt(watch);
        assert!(run.stderr.contains("confined: no capabilities"), "{}", run.stderr);
        let counters = &run.summary()["counters"];
        let outages = (&counters["interface_outages"], &counters["interfaces_down"], &counters["interface_drops"]);
        assert_eq!(outages, (&2.into(), &().into(), &().into()), "{}", run.stderr);
        assert!(run.stderr.contains("interface veth1 was removed"), "{}", run.stderr);
        assert_eq!(printed(&output), 120, "{}", run.stderr);
    }
    // Readers that share packets cannot, and say so when there is something to listen to.
    let (mut watch, output) = watch(&folder, &spaces.server, &["--calls", "--readers", "2", "--workers", "2"]);
    spaces.calls(40, 200);
    std::thread::sleep(Duration::from_secs(1));
    ip(&format!("-n {} link del veth1", spaces.server));
    std::thread::sleep(Duration::from_secs(1));
    assert!(watch.try_wait().expect("known").is_none(), "it waits");
    spaces.join();
    let run = Run::of(watch.wait_with_output().expect("apitap ends"));
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    assert_eq!(run.stderr.matches("start apitap again").count(), 1, "{}", run.stderr);
    assert_eq!(printed(&output), 40, "what came before is told");
}

#[test]
fn an_outage_is_seen_from_outside() {
    if let Some(reason) = missing(&["python3"]) {
        eprintln!("skipped: {reason}");
        return;
    }
    let folder = Folder::new("live-health");
    let spaces = Namespaces::new();
    ip(&format!("-n {} link set lo up", spaces.server));
    let (watch, _) = watch(&folder, &spaces.server, &["--workers", "1"]);
    let get = |path: &str| {
        let program =
            format!("import urllib.request as u; print(u.urlopen('http://127.0.0.1:9464{path}').read().decode())");
        let got = Command::new("ip").args(["netns", "exec", &spaces.server, "python3", "-c", &program]).output();
        String::from_utf8(got.expect("python runs").stdout).expect("text")
    };
    wait_for(|| get("/health").contains(r#""status":"ok""#), "health");
    ip(&format!("-n {} link set veth1 down", spaces.server));
    wait_for(|| get("/health").contains(r#""status":"interface_down""#), "the outage");
    wait_for(|| get("/metrics").contains("\napitap_interfaces_down 1\n"), "the outage as a metric");
    ip(&format!("-n {} link set veth1 up", spaces.server));
    wait_for(|| get("/health").contains(r#""status":"ok""#), "the end of the outage");
    assert!(get("/metrics").contains("\napitap_interface_outages_total 1\n"));
    interrupt(watch);
}
