//! The program as it is used: the bundled capture, exit codes, pipes, damaged and split input.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::process::Stdio;

use support::{Folder, fixture};

const PROXY: [&str; 2] = ["--trusted-proxy", "10.20.0.5"];

/// The bundled capture, decompressed.
fn plain() -> Vec<u8> {
    zstd::stream::decode_all(fs::File::open(fixture()).expect("the bundled capture")).expect("zstd")
}

/// The frames of a classic little-endian capture: where each begins and ends.
fn frames(capture: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut at = 24;
    let mut all = Vec::new();
    while at + 16 <= capture.len() {
        let length = u32::from_le_bytes(capture[at + 8..at + 12].try_into().expect("four bytes")) as usize;
        all.push(at..at + 16 + length);
        at += 16 + length;
    }
    all
}

#[test]
fn the_bundled_capture_shows_all_three_families_and_runs_agree_to_the_byte() {
    let folder = Folder::new("families");
    let arguments = [&fixture()[..], PROXY[0], PROXY[1], "--json-summary"];
    let first = folder.run("replay", &arguments);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let kinds: BTreeSet<_> = first
        .lines()
        .iter()
        .map(|alert| alert["kind"].as_str().expect("a kind").split('.').next().unwrap_or_default().to_owned())
        .collect();
    for family in ["recon", "flood", "leak"] {
        assert!(kinds.contains(family), "{family} is missing in {kinds:?}");
    }
    let calls = first.summary()["counters"]["calls"].as_u64();
    assert!(calls > Some(10_000), "{calls:?}");
    assert_eq!(folder.run("replay", &arguments).stdout, first.stdout);
    let failing = folder.run("replay", &[&fixture()[..], "--fail-on-alert"]);
    assert_eq!(failing.code, Some(3));
}

#[test]
fn slices_of_a_capture_and_its_calls_give_the_same_alerts() {
    let folder = Folder::new("slices");
    let capture = plain();
    let frames = frames(&capture);
    fs::create_dir(folder.path("parts")).expect("a folder");
    for (number, part) in frames.chunks(frames.len().div_ceil(10)).enumerate() {
        let mut bytes = capture[..24].to_vec();
        part.iter().for_each(|frame| bytes.extend_from_slice(&capture[frame.clone()]));
        fs::write(folder.path(&format!("parts/{number:02}.pcap")), bytes).expect("a slice");
    }
    fs::write(folder.path("whole.pcap"), &capture).expect("a file");
    let whole = folder.run("replay", &["whole.pcap", PROXY[0], PROXY[1]]);
    assert!(!whole.stdout.is_empty());
    assert_eq!(folder.run("replay", &["parts", PROXY[0], PROXY[1]]).stdout, whole.stdout);

    let calls = folder.run("calls", &["whole.pcap"]);
    fs::write(folder.path("calls.jsonl"), calls.stdout).expect("a file");
    assert_eq!(folder.run("detect", &["calls.jsonl", PROXY[0], PROXY[1]]).stdout, whole.stdout);
}

#[test]
fn a_capture_cut_off_gives_what_is_readable_then_the_error() {
    let folder = Folder::new("cut");
    let capture = plain();
    let frames = frames(&capture);
    let half = frames[frames.len() / 2].end;
    fs::write(folder.path("good.pcap"), &capture[..half]).expect("a file");
    fs::write(folder.path("cut.pcap"), &capture[..half + 20]).expect("a file");
    fs::write(folder.path("nonsense.pcap"), b"this is no capture at all").expect("a file");
    let good = folder.run("calls", &["good.pcap"]);
    let cut = folder.run("calls", &["cut.pcap"]);
    assert_eq!((good.code, cut.code), (Some(0), Some(1)));
    assert_eq!(good.stdout, cut.stdout);
    let error = cut.stderr.lines().last().unwrap_or_default();
    assert!(error.contains("cut.pcap") && error.contains(&format!("byte {half}")), "{error}");
    let among = folder.run("calls", &["nonsense.pcap", "good.pcap", "absent.pcap"]);
    assert_eq!(among.code, Some(1));
    assert_eq!(among.stdout, good.stdout);
    assert!(among.stderr.contains("nonsense.pcap") && among.stderr.contains("absent.pcap"), "{}", among.stderr);
}

#[test]
fn standard_input_and_a_closed_pipe() {
    let folder = Folder::new("pipe");
    let mut command = folder.apitap("calls", &["-", "--quiet"]);
    command.stdin(fs::File::open(fixture()).expect("the bundled capture")).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut some = [0; 1000];
    child.stdout.take().expect("a pipe").read_exact(&mut some).expect("calls");
    // The reader is gone now.
    let run = support::Run::of(child.wait_with_output().expect("it ends"));
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
}

#[test]
fn usage_rules_and_completions() {
    let folder = Folder::new("usage");
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_apitap"));
        support::Run::of(command.args(arguments).output().expect("the binary starts"))
    };
    assert_eq!(run(&["replay"]).code, Some(2));
    assert_eq!(run(&["replay", "x", "--trusted-proxy", "nobody"]).code, Some(2));
    assert_eq!(run(&["rules", "check"]).code, Some(0));
    assert!(run(&["rules", "list", "--json"]).lines().len() > 20);
    assert!(!run(&["completions", "bash"]).stdout.is_empty());
    assert!(run(&["interfaces"]).code.is_some_and(|code| code <= 1));

    fs::create_dir(folder.path("rules")).expect("a folder");
    fs::write(folder.path("rules/detect.toml"), "[login]\npaths = 3\n").expect("a file");
    let wrong = run(&["rules", "check", "--rules", &folder.path("rules").display().to_string()]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("detect.toml:2"), "{}", wrong.stderr);

    fs::write(folder.path("apitap.toml"), "[stream]\nmax_flow = 3\n").expect("a file");
    let wrong = folder.run("calls", &["x", "--config", "apitap.toml"]);
    assert!(wrong.code == Some(1) && wrong.stderr.contains("apitap.toml:2"), "{}", wrong.stderr);

    fs::write(folder.path("apitap.toml"), "[[inspect.allow]]\nclasses = [\"email\", \"emial\"]\n").expect("a file");
    let wrong = folder.run("calls", &[&fixture()[..], "--config", "apitap.toml"]);
    let said = wrong.stderr.contains("unknown class `emial`; did you mean `email`?");
    assert!(wrong.code == Some(2) && said, "{}", wrong.stderr);

    let rule = "[[rule]]\nname = \"badge\"\ndescription = \"\"\nleak = true\nfind = { byte = \"#\" }\n";
    fs::remove_file(folder.path("rules/detect.toml")).expect("it is there");
    fs::write(folder.path("rules/sensitive.local.toml"), rule).expect("a file");
    let warned = run(&["rules", "check", "--rules", &folder.path("rules").display().to_string()]);
    let said = warned.stderr.contains("sensitive.local.toml:2: rule \"badge\" has no examples");
    assert!(warned.code == Some(0) && said, "{}", warned.stderr);
}

#[test]
fn a_flood_of_a_million_handshakes_stays_within_the_budget() {
    let folder = Folder::new("syn-flood");
    let mut capture = plain()[..24].to_vec();
    capture.reserve(1_000_000 * 70);
    for number in 0..1_000_000u32 {
        let mut frame = [0u8; 54];
        frame[12] = 0x08; // IPv4
        frame[14] = 0x45;
        frame[17] = 40; // total length
        frame[22] = 64;
        frame[23] = 6; // TCP
        frame[26..30].copy_from_slice(&(0x0b00_0000 + number).to_be_bytes());
        frame[30..34].copy_from_slice(&[10, 0, 0, 1]);
        frame[34..38].copy_from_slice(&[0x9c, 0x40, 0, 80]);
        frame[38..42].copy_from_slice(&number.to_be_bytes());
        frame[46] = 0x50;
        frame[47] = 0x02; // SYN
        let (seconds, micros) = (1_700_000_000 + number / 200_000, number % 200_000 * 5);
        for field in [seconds, micros, 54, 54] {
            capture.extend_from_slice(&field.to_le_bytes());
        }
        capture.extend_from_slice(&frame);
    }
    fs::write(folder.path("flood.pcap"), capture).expect("a file");
    let run = folder.run("calls", &["flood.pcap", "--json-summary"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let summary = run.summary();
    assert_eq!(summary["counters"]["flows"], 1_000_000);
    assert_eq!(summary["counters"]["half_open_evicted"], 1_000_000 - 65_536);
    let peak = summary["peak_memory_bytes"].as_u64().expect("a figure");
    assert!(peak < 128 << 20, "{peak} bytes");
}

#[test]
fn the_inventory_of_the_bundled_capture() {
    let folder = Folder::new("apis");
    let arguments = [&fixture()[..], PROXY[0], PROXY[1], "--json"];
    let run = folder.run("apis", &arguments);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let lines = run.lines();
    let find = |method: &str, template: &str| {
        lines.iter().find(|line| line["method"] == method && line["template"] == template).unwrap_or_else(|| {
            panic!("{method} {template} is missing in {}", String::from_utf8_lossy(&run.stdout));
        })
    };
    let product = find("GET", "/v1/products/{id}");
    assert_eq!(product["host"], "shop-api.example");
    assert_eq!(product["parameters"][0]["types"][0], "int");
    assert!(product["calls"].as_u64() >= product["clients"].as_u64() && product["clients"].as_u64() > Some(1));
    assert!(product["first"].as_str() < product["last"].as_str());
    let orders = find("GET", "/v1/orders/{id}");
    let parameters = orders["parameters"].as_array().expect("parameters");
    assert_eq!(parameters.iter().filter(|parameter| parameter["in"] == "path").count(), 1, "{parameters:?}");
    // Attackers of this capture ask for hundreds of paths that are not there.
    assert!((40..80).contains(&lines.len()), "{}", lines.len());
    assert_eq!(folder.run("apis", &arguments).stdout, run.stdout);

    let table = folder.run("apis", &[&fixture()[..], PROXY[0], PROXY[1]]);
    let text = String::from_utf8(table.stdout).expect("UTF-8");
    assert_eq!(text.lines().count(), lines.len() + 1);
    assert!(text.starts_with("METHOD") && text.contains("/v1/products/{id}"), "{text}");
}

#[test]
fn an_explanation_tells_the_alerts_of_a_client_and_what_moved_its_tests() {
    let folder = Folder::new("explain");
    let alerts = folder.run("replay", &[&fixture()[..], PROXY[0], PROXY[1], "--json-summary"]);
    let budget = &alerts.summary()["budget"];
    assert!(budget["expected_false_alarms"].as_f64() > Some(0.0), "{budget}");
    let alerts = alerts.lines();
    let first = alerts.iter().find(|alert| alert["kind"] == "recon.path_enumeration").expect("a scan");
    let client = first["client"]["ip"].as_str().expect("an address");
    let arguments = [&fixture()[..], PROXY[0], PROXY[1], "--client", client];

    let json = folder.run("explain", &[&arguments[..], &["--json"]].concat());
    assert_eq!(json.code, Some(0), "{}", json.stderr);
    let told = &json.lines()[0];
    let named = |alert: &&serde_json::Value| {
        alert["client"]["ip"] == client
            || alert["clients"].as_array().is_some_and(|all| all.iter().any(|member| member["ip"] == client))
    };
    assert_eq!(
        told["alerts"].as_array().expect("alerts").iter().collect::<Vec<_>>(),
        alerts.iter().filter(named).collect::<Vec<_>>()
    );
    let curve = told["curves"].as_array().expect("curves").iter().find(|curve| curve["test"] == "first_contacts");
    let curve = curve.expect("the test that was passed");
    assert_eq!(curve["passed"], first["ts"]);
    assert_eq!(curve["moves"].as_array().map(Vec::len), Some(5), "{curve}");

    let text = folder.run("explain", &arguments);
    let text = String::from_utf8(text.stdout).expect("UTF-8");
    assert!(text.contains("first contacts that missed") && text.contains('█'), "{text}");

    // The same from calls, and nothing of who never called.
    let calls = folder.run("calls", &[&fixture()[..], "--quiet"]);
    fs::write(folder.path("calls.jsonl"), &calls.stdout).expect("a file");
    let again = folder.run("explain", &["calls.jsonl", "--calls", PROXY[0], PROXY[1], "--client", client]);
    assert_eq!(String::from_utf8(again.stdout).expect("UTF-8"), text);
    let nobody = folder.run("explain", &[&fixture()[..], "--client", "203.0.113.9"]);
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.stderr.contains("203.0.113.9"), "{}", nobody.stderr);
}

#[test]
fn the_number_of_workers_changes_nothing() {
    let folder = Folder::new("workers");
    // The bundled capture, and the same with every seventh frame lost.
    let capture = plain();
    let mut damaged = capture[..24].to_vec();
    for (number, frame) in frames(&capture).into_iter().enumerate() {
        if number % 7 != 3 {
            damaged.extend_from_slice(&capture[frame]);
        }
    }
    fs::write(folder.path("damaged.pcap"), damaged).expect("a capture");
    for input in [fixture(), "damaged.pcap".to_owned()] {
        for command in ["replay", "calls"] {
            let run = |workers: &str| folder.run(command, &[&input, "--workers", workers, "--json-summary"]);
            // What is remembered of bodies is each worker's own, and told apart from everything else.
            let told = |run: &support::Run| {
                let mut summary = run.summary();
                let counters = summary["counters"].as_object_mut().expect("counters");
                assert!(counters.remove("bodies_recalled").is_some_and(|count| count.as_u64() > Some(0)));
                summary
            };
            let one = run("1");
            assert!(one.code == Some(0) && !one.stdout.is_empty(), "{}", one.stderr);
            for workers in ["2", "5"] {
                let several = run(workers);
                assert!(several.stdout == one.stdout, "{command} of {input} with {workers} workers");
                for part in ["counters", "alerts", "budget", "span"] {
                    assert_eq!(told(&several)[part], told(&one)[part], "{part}: {command} of {input}");
                }
            }
        }
    }
    let none = folder.run("replay", &[&fixture(), "--workers", "0"]);
    assert_eq!(none.code, Some(2), "{}", none.stderr);
}
