//! Operation of a sensor: what can be set and is, what it tells while it runs, and another configuration meanwhile.

#[path = "support/receivers.rs"]
mod receivers;
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use receivers::{Reply, Service};
use serde_json::Value;
use support::{Folder, Run, check, strict};

#[test]
fn the_defaults_are_a_file_that_changes_nothing() {
    let folder = Folder::new("config-defaults");
    let printed = folder.run("config", &["--defaults"]);
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    std::fs::write(folder.path("all.toml"), &printed.stdout).expect("a file");
    let value = |run: support::Run| {
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let text = String::from_utf8(run.stdout).expect("text");
        text.lines().map(|line| line.split('#').next().unwrap_or_default().trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(value(folder.run("config", &["--config", "all.toml"])), value(folder.run("config", &[])));
    let schema = folder.run("config", &["--schema"]);
    let schema: Value = serde_json::from_slice(&schema.stdout).expect("JSON");
    let file: Value = toml::from_str(&std::fs::read_to_string(folder.path("all.toml")).expect("a file")).expect("TOML");
    assert!(jsonschema::is_valid(&schema, &file));
}

#[test]
fn who_set_what_is_told() {
    let folder = Folder::new("config-origins");
    let text =
        "workers = 3\n[stream]\nmax_flows = 7\n[[sink]]\ntype = 'webhook'\nname = 'siem'\nurl = 'http://127.0.0.1:1'\n";
    std::fs::write(folder.path("apitap.toml"), text).expect("a file");
    let mut process = folder.apitap("config", &["--config", "apitap.toml", "--false-alarms-per-day", "2"]);
    process
        .env("APITAP_STREAM__IDLE_TIMEOUT", "99")
        .env("APITAP_QUIET", "true")
        .env("APITAP_SINK__SIEM__TOKEN", "hunter2");
    let run = Run::of(process.output().expect("it starts"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let text = String::from_utf8(run.stdout).expect("text");
    for (key, origin) in [
        ("workers = 3", "file apitap.toml"),
        ("max_flows = 7", "file apitap.toml"),
        ("idle_timeout = 99", "environment APITAP_STREAM__IDLE_TIMEOUT"),
        ("quiet = true", "environment APITAP_QUIET"),
        ("false_alarms_per_day = 2.0", "flag --false-alarms-per-day"),
        ("token = \"(set)\"", "environment APITAP_SINK__SIEM__TOKEN"),
        ("url = \"http://127.0.0.1:1\"", "file apitap.toml"),
        ("half_open_timeout = ", "default"),
    ] {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key} in {text}"));
        assert!(line.ends_with(&format!("# {origin}")), "{line}");
    }
    assert!(!text.contains("hunter2"));
    std::fs::write(folder.path("apitap.toml"), "[stream]\nmax_flow = 7\n").expect("a file");
    let run = folder.run("replay", &["--config", "apitap.toml", "-"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("apitap.toml:2: unknown key `max_flow`; did you mean `max_flows`?"), "{}", run.stderr);
}

/// `apitap watch` on the loopback interface, ended with the test.
struct Watch {
    process: Child,
    said: Arc<Mutex<String>>,
}

impl Watch {
    fn start(folder: &Folder, arguments: &[&str]) -> Watch {
        Watch::printing(folder, arguments, Stdio::piped())
    }

    fn printing(folder: &Folder, arguments: &[&str], output: Stdio) -> Watch {
        let mut process =
            folder.apitap("watch", arguments).stdout(output).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, kept) = (process.stderr.take().expect("a pipe"), said.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut said = kept.lock().expect("no panic");
                said.push_str(&line);
                said.push('\n');
            }
        });
        Watch { process, said }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_raw(self.process.id() as i32).expect("an id");
        rustix::process::kill_process(id, signal).expect("it runs");
    }

    fn said(&self) -> String {
        self.said.lock().expect("no panic").clone()
    }

    /// Waits until it has said something; false after 15 seconds.
    fn says(&self, text: &str) -> bool {
        soon(|| self.said().contains(text))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn soon(mut holds: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(15);
    while Instant::now() < until {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

/// `apitap top`, without the folder's key, which it knows nothing of.
fn top(folder: &Folder, arguments: &[&str]) -> Run {
    let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_apitap"));
    process.arg("top").args(arguments).current_dir(folder.path("")).env_remove("APITAP_CONFIG");
    Run::of(process.output().expect("it starts"))
}

/// Looks with `apitap top` into a sensor that sees the calls to a port.
fn look_into(folder: &Folder, listen: &str, port: u16) {
    for number in 0..20 {
        get(&format!("127.0.0.1:{port}"), &format!("/items/{number}?q=%1b%5b2J")).expect("an answer");
    }
    let validator = strict(folder, "status");
    let mut last = Value::Null;
    let known = soon(|| {
        let run = top(folder, &["--address", listen, "--json"]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        last = run.lines().pop().expect("an object");
        check(&validator, &last);
        let busiest = &last["clients"]["busiest"][0];
        busiest["calls"].as_u64() >= Some(20)
            && busiest["bytes"].as_u64() > Some(1_000)
            && last["packets"]["total"].as_u64() > Some(20) // told once a second by another thread
    });
    assert!(known, "{last}");
    assert_eq!((&last["clients"]["busiest"][0]["ip"], &last["clients"]["known"]), (&"127.0.0.1".into(), &1.into()));
    assert_eq!(last["health"], "ok", "{last}");
    // The configuration says where it is.
    let run = top(folder, &["--config", "apitap.toml", "--once", "--width", "100"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let text = String::from_utf8(run.stdout).expect("text");
    assert!(text.contains("Busiest clients of 1 in 60 s") && text.contains("127.0.0.1"), "{text}");
    assert!(text.contains("kernel buffer full") && text.contains("packets/s"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100 && !line.contains(char::is_control)), "{text}");
}

#[test]
fn top_says_what_is_wrong() {
    let folder = Folder::new("operate-top");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").to_string();
    let run = top(&folder, &["--address", &free, "--once"]);
    assert_eq!((run.code, run.stdout.as_slice()), (Some(1), &b""[..]));
    assert!(run.stderr.contains("nobody listens there") && run.stderr.contains("apitap watch"), "{}", run.stderr);
    let service = Service::start(0, |_, _| Reply(200, "content-type: application/json\r\n", "{\"ok\":true}".into()));
    let run = top(&folder, &["--address", &format!("127.0.0.1:{}", service.port), "--json"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("what listens there is no apitap"), "{}", run.stderr);
    let run = top(&folder, &["--address", &free]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("--once"), "{}", run.stderr);
    std::fs::write(folder.path("apitap.toml"), "[metrics]\nlisten = ''\n").expect("a file");
    let run = top(&folder, &["--config", "apitap.toml", "--once"]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("[metrics]"), "{}", run.stderr);
    assert_eq!(top(&folder, &["--address", "nowhere"]).code, Some(2));
}

/// In a terminal that `script` makes: the alternate screen is left however it ends.
#[test]
fn top_gives_the_terminal_back() {
    if std::process::Command::new("script").arg("--version").output().is_err() {
        return eprintln!("skipped: script (util-linux) is not installed");
    }
    let folder = Folder::new("operate-terminal");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let line = format!("stty size; {} top --address {free}; echo ended $?; stty -a", env!("CARGO_BIN_EXE_apitap"));
    for ending in ["q", "\u{3}"] {
        let mut process = std::process::Command::new("script");
        process.args(["-qfec", &line, "typed"]).current_dir(folder.path("")).env("TERM", "xterm");
        let mut child = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut stdout, kept) = (child.stdout.take().expect("a pipe"), shown.clone());
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                kept.lock().expect("no panic").extend_from_slice(&buffer[..count]);
            }
        });
        let text = || String::from_utf8_lossy(&shown.lock().expect("no panic")).into_owned();
        let mut stdin = child.stdin.take().expect("a pipe");
        assert!(soon(|| text().contains("\u{1b}[?1049h")), "the alternate screen: {:?}", text());
        stdin.write_all(ending.as_bytes()).expect("it reads");
        let ended = soon(|| text().contains("ended 0"));
        drop(stdin);
        let _ = child.kill();
        let _ = child.wait();
        reader.join().expect("no panic");
        assert!(ended, "{:?}", text());
        let (_, after) = text().split_once("\u{1b}[?1049l").map(|(a, b)| (a.to_owned(), b.to_owned())).expect("left");
        assert!(after.contains(" icanon") && after.contains(" echo "), "{after:?}");
    }
}

#[test]
fn a_running_sensor_tells_and_listens() {
    let root = rustix::process::geteuid().is_root();
    if !root {
        return eprintln!("skipped: listening to an interface needs root");
    }
    let folder = Folder::new("operate-watch");
    let service = Service::start(0, |_, _| Reply(200, "content-type: application/json\r\n", "{\"ok\":true}".into()));
    let listen = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").to_string();
    let config = |more: &str| {
        std::fs::write(folder.path("apitap.toml"), format!("[metrics]\nlisten = '{listen}'\n{more}")).expect("a file");
    };
    config("");
    let filter = format!("tcp port {}", service.port);
    let mut watch = Watch::start(
        &folder,
        &["-i", "lo", "-f", &filter, "--config", "apitap.toml", "--state", "state", "--workers", "1"],
    );
    let up = soon(|| get(&listen, "/health").is_some());
    if !up && watch.said().contains("lo") {
        return eprintln!("skipped: the loopback interface cannot be listened to: {}", watch.said());
    }
    assert!(up, "{}", watch.said());
    let call = |number: usize| {
        get(&format!("127.0.0.1:{}", service.port), &format!("/items/{number}")).expect("an answer");
    };
    // Counters come at most a second later.
    let mut number = 0;
    let seen = soon(|| {
        number += 1;
        call(number);
        let text = get(&listen, "/metrics").expect("it listens");
        metric(&text, "apitap_frames_total") > 0.0
            && metric(&text, "apitap_calls_total") > 0.0
            && metric(&text, "apitap_calls_detected_total") > 0.0
            && metric(&text, "apitap_table_entries{table=\"clients\"}") == 1.0
    });
    assert!(seen, "{}", get(&listen, "/metrics").unwrap_or_default());
    let text = get(&listen, "/metrics").expect("it listens");
    for table in ["flows", "clients", "texts", "recalled_bodies"] {
        let of = |name: &str| metric(&text, &format!("apitap_table_{name}{{table=\"{table}\"}}"));
        assert!(
            of("bytes") > 0.0 && of("bytes") < of("budget_bytes"),
            "{table}: {} {}",
            of("bytes"),
            of("budget_bytes")
        );
    }
    assert!(metric(&text, "apitap_table_entries{table=\"flows\"}") > 0.0, "{text}");
    let health = get(&listen, "/health").expect("it listens");
    assert!(health.starts_with("HTTP/1.1 200 ") && health.contains("\"status\":\"ok\""), "{health}");

    look_into(&folder, &listen, service.port);

    // A change of the file is noticed, and takes effect as a whole.
    config(
        "[[sink]]\ntype = 'file'\npath = 'state/alerts.jsonl'\n[detect]\nfalse_alarms_per_day = 5.0\n[stream]\nmax_flows = 77\n",
    );
    let reloaded = soon(|| {
        call(0);
        watch.said().contains("configuration reloaded: detect.false_alarms_per_day, sink")
    });
    assert!(reloaded, "{}", watch.said());
    assert!(watch.says("takes effect at the next start only: stream.max_flows"), "{}", watch.said());
    let text = get(&listen, "/metrics").expect("it listens");
    assert!(text.contains("apitap_sink_up{sink=\"file\",type=\"file\"} 1\n"), "{text}");
    let budget =
        soon(|| metric(&get(&listen, "/metrics").expect("it listens"), "apitap_budget_false_alarms_per_day") == 5.0);
    assert!(budget);

    // Where a confined sensor cannot write there is no sink.
    config("[[sink]]\ntype = 'file'\npath = 'elsewhere.jsonl'\n[detect]\nfalse_alarms_per_day = 9.0\n");
    let confined = watch.says(": confined, it can write only where its configuration said at its start")
        || watch.said().contains("lacks: Landlock");
    assert!(confined, "{}", watch.said());

    // A wrong one changes nothing, and says so.
    config("[[sink]]\ntype = 'file'\n[detect]\nfalse_alarms_per_day = 9.0\n");
    watch.signal(rustix::process::Signal::HUP);
    assert!(watch.says("the configuration stays as it was: sink file: type file needs `path`"), "{}", watch.said());
    call(0);
    let text = get(&listen, "/metrics").expect("it listens");
    assert!(text.contains("apitap_sink_up{sink=\"file\",type=\"file\"} 1\n"));
    assert_eq!(metric(&text, "apitap_budget_false_alarms_per_day"), 5.0);
    assert_eq!(metric(&text, "apitap_configuration_refused"), 1.0);
    let health = get(&listen, "/health").expect("it listens");
    assert!(health.starts_with("HTTP/1.1 200 ") && health.contains("\"status\":\"configuration_refused\""), "{health}");
    config("[[sink]]\ntype = 'file'\npath = 'state/alerts.jsonl'\n[detect]\nfalse_alarms_per_day = 5.0\n");
    assert!(
        soon(|| get(&listen, "/health").is_some_and(|health| health.contains("\"status\":\"ok\""))),
        "it is well again"
    );
    // What runs for months is not to hold huge pages of which it uses a little.
    let status = std::fs::read_to_string(format!("/proc/{}/status", watch.process.id())).expect("it runs");
    assert!(status.contains("THP_enabled:\t0\n") || !status.contains("THP_enabled"), "{status}");

    watch.signal(rustix::process::Signal::TERM);
    let status = watch.process.wait().expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", watch.said());
    assert!(watch.says(" calls, "), "the summary: {}", watch.said());
}

#[test]
fn folders_that_it_makes_are_given_to_the_user_as_whom_it_goes_on() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: listening to an interface needs root");
    }
    let folder = Folder::new("operate-user");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(""), open).expect("it is ours");
    let listen = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").to_string();
    let config = format!("[metrics]\nlisten = '{listen}'\n[evidence]\nfolder = 'made/evidence'\n");
    std::fs::write(folder.path("apitap.toml"), config).expect("a file");
    let arguments =
        ["-i", "lo", "-f", "tcp port 1", "--config", "apitap.toml", "--state", "made/state", "--user", "nobody"];
    let mut watch = Watch::start(&folder, &arguments);
    let up = soon(|| get(&listen, "/health").is_some());
    if !up && (watch.said().contains("lo:") || watch.said().contains("there is no user")) {
        return eprintln!("skipped: {}", watch.said());
    }
    assert!(up, "{}", watch.said());
    assert!(soon(|| folder.path("made/state/detector.lock").exists()), "{}", watch.said());
    watch.signal(rustix::process::Signal::TERM);
    assert_eq!(watch.process.wait().expect("it ends").code(), Some(0), "{}", watch.said());
    for made in ["made/state", "made/state/detector.checkpoint", "made/evidence"] {
        assert_ne!(std::fs::metadata(folder.path(made)).expect(made).uid(), 0, "{made}");
    }
}

#[test]
fn an_output_that_nobody_reads_holds_nothing_up_and_loses_nothing() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: listening to an interface needs root");
    }
    let folder = Folder::new("operate-unread");
    let service = Service::start(0, |_, _| Reply(404, "", String::new()));
    let listen = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").to_string();
    std::fs::write(folder.path("apitap.toml"), format!("[metrics]\nlisten = '{listen}'\n")).expect("a file");
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&[b'x'; 65_535]).and_then(|()| writer.write_all(b"\n")).expect("it holds so much, and no more");
    let filter = format!("tcp port {}", service.port);
    let arguments = ["-i", "lo", "-f", &filter, "--config", "apitap.toml", "--state", "state", "--workers", "1"];
    let mut watch = Watch::printing(&folder, &arguments, writer.into());
    let up = soon(|| get(&listen, "/health").is_some());
    if !up && watch.said().contains("lo") {
        return eprintln!("skipped: the loopback interface cannot be listened to: {}", watch.said());
    }
    let told = |name: &str| metric(&get(&listen, "/metrics").expect("it listens"), name);
    let waits = "apitap_sink_spooled{sink=\"standard.output\",type=\"stdout\"}";
    let mut number = 0;
    let mut guess = || {
        for _ in 0..20 {
            number += 1;
            get(&format!("127.0.0.1:{}", service.port), &format!("/hidden-{}/{number}", number * 7_919));
        }
    };
    let spooled = soon(|| {
        guess();
        told(waits) > 0.0
    });
    assert!(spooled, "{}", watch.said());
    let before = told("apitap_calls_detected_total");
    let goes_on = soon(|| {
        guess();
        told("apitap_calls_detected_total") > before + 40.0
    });
    assert!(goes_on, "{}", watch.said());
    // Whoever reads again has all of it, whole.
    let read = std::thread::spawn(move || BufReader::new(reader).lines().map_while(Result::ok).collect::<Vec<_>>());
    assert!(soon(|| told(waits) == 0.0), "{}", watch.said());
    watch.signal(rustix::process::Signal::TERM);
    assert_eq!(watch.process.wait().expect("it ends").code(), Some(0), "{}", watch.said());
    let lines = read.join().expect("no panic");
    let alerts: Vec<Value> =
        lines.iter().skip(1).map(|line| serde_json::from_str(line).expect("whole lines of JSON")).collect();
    assert!(alerts.iter().any(|alert| alert["client"]["ip"] == "127.0.0.1"), "{alerts:?}");
}
