//! What an installation needs: the checks of `apitap doctor`, what systemd is told, and files that come with the package.

#[path = "support/receivers.rs"]
mod receivers;
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use receivers::{Reply, Service};
use serde_json::Value;
use support::{Folder, Run};

fn skip() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: listening to an interface needs root");
    }
    !root
}

/// The repository's own file.
fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Runs the checks; gives them by what was looked at and which one.
fn examined(folder: &Folder, arguments: &[&str]) -> (Run, Vec<Value>) {
    let schema: Value =
        serde_json::from_slice(&std::fs::read(own("schemas/check.json")).expect("a file")).expect("JSON");
    let mut closed = schema.clone();
    closed["additionalProperties"] = false.into();
    let validator = jsonschema::validator_for(&closed).expect("a schema");
    let mut all = vec!["--json"];
    all.extend(arguments);
    let run = folder.run("doctor", &all);
    let checks = run.lines();
    for check in &checks {
        assert!(validator.is_valid(check), "{check}");
        assert_eq!(check["verdict"] == "ok", check["advice"].is_null(), "{check}");
    }
    (run, checks)
}

fn verdict<'c>(checks: &'c [Value], check: &str, subject: Option<&str>) -> &'c str {
    let same = |line: &&Value| line["check"] == check && subject.is_none_or(|subject| line["subject"] == subject);
    let line = checks.iter().find(same).unwrap_or_else(|| panic!("{check} {subject:?} in {checks:?}"));
    line["verdict"].as_str().expect("text")
}

#[test]
fn doctor_says_what_is_well_and_what_is_not() {
    if skip() {
        return;
    }
    let folder = Folder::new("doctor");
    let receiver = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (open, closed) = (receiver.local_addr().expect("an address"), {
        let freed = TcpListener::bind("127.0.0.1:0").expect("a free port");
        freed.local_addr().expect("an address")
    });
    let sinks = format!(
        "state = 'state'\n[evidence]\nfolder = 'evidence'\n[source.live]\ninterface = 'lo'\nbuffer_bytes = 8388608\n[[sink]]\ntype = 'syslog'\nname = 'there'\naddress = '{open}'\n\
         [[sink]]\ntype = 'file'\npath = 'alerts.jsonl'\n"
    );
    std::fs::write(folder.path("well.toml"), &sinks).expect("a file");
    let (run, checks) = examined(&folder, &["--config", "well.toml", "--listen", "0"]);
    assert_eq!(run.code, Some(0), "{} {checks:?}", run.stderr);
    for (check, subject) in [
        ("privileges", None),
        ("interface", Some("lo")),
        ("capture", Some("lo")),
        ("buffer", Some("lo")),
        ("key", None),
        ("rules", None),
        ("state", Some("state")),
        ("evidence", Some("evidence")),
        ("sink", Some("there")),
        ("sink", Some("file")),
    ] {
        assert_eq!(verdict(&checks, check, subject), "ok", "{checks:?}");
    }
    let buffer = checks.iter().find(|line| line["check"] == "buffer").expect("a check");
    assert_eq!(buffer["found"], "8.0 MiB of the kernel");
    verdict(&checks, "clock", None);
    verdict(&checks, "confinement", None);
    verdict(&checks, "offloads", Some("lo"));
    verdict(&checks, "disk", None);
    verdict(&checks, "metrics", None);
    for made in ["state", "alerts.jsonl", "evidence"] {
        assert!(!folder.path(made).exists(), "{made} was made");
    }

    let dead = format!("{sinks}[[sink]]\ntype = 'webhook'\nname = 'gone'\nurl = 'http://{closed}/hook'\n");
    std::fs::write(folder.path("dead.toml"), dead).expect("a file");
    let (run, checks) = examined(&folder, &["--config", "dead.toml", "--interface", "no-such-if"]);
    assert_eq!(run.code, Some(1));
    assert_eq!(verdict(&checks, "interface", Some("no-such-if")), "failed");
    assert_eq!(verdict(&checks, "sink", Some("gone")), "failed");
    assert!(run.stderr.contains("2 failed"), "{}", run.stderr);

    std::fs::write(folder.path("wrong.toml"), "[stream]\nmax_flow = 1\n").expect("a file");
    let (run, checks) = examined(&folder, &["--config", "wrong.toml"]);
    assert_eq!((run.code, checks.len()), (Some(1), 1));
    assert!(checks[0]["found"].as_str().expect("text").contains("did you mean `max_flows`"), "{checks:?}");

    let text = folder.run("doctor", &["--config", "wrong.toml"]);
    assert!(
        String::from_utf8_lossy(&text.stdout).starts_with("failed   configuration: "),
        "{text:?}",
        text = text.stdout
    );
}

#[test]
fn doctor_hears_what_comes() {
    if skip() {
        return;
    }
    let folder = Folder::new("doctor-traffic");
    let service = Service::start(0, |_, _| Reply(200, "", "{}".into()));
    let filter = format!("tcp port {}", service.port);
    let silence = examined(&folder, &["-i", "lo", "-f", &filter, "--listen", "1", "--state", "state"]).1;
    assert_eq!(verdict(&silence, "traffic", Some("lo")), "warning", "{silence:?}");
    let port = service.port;
    let talk = std::thread::spawn(move || {
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            request(port);
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let heard = examined(&folder, &["-i", "lo", "-f", &filter, "--listen", "2", "--state", "state"]).1;
    talk.join().expect("no panic");
    assert_eq!(verdict(&heard, "traffic", Some("lo")), "ok", "{heard:?}");
}

fn request(port: u16) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.write_all(b"GET /items/1 HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").expect("it reads");
    let _ = stream.read_to_end(&mut Vec::new());
}

/// `apitap watch` under a service manager that the test plays.
struct Managed {
    process: Child,
    socket: UnixDatagram,
}

impl Managed {
    fn start(folder: &Folder, arguments: &[&str], watchdog: Duration) -> Managed {
        let path = folder.path("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
        let process = folder
            .apitap("watch", arguments)
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        Managed { process, socket }
    }

    /// What it tells within this time.
    fn tells(&self, within: Duration) -> Vec<String> {
        let until = Instant::now() + within;
        let (mut told, mut buffer) = (Vec::new(), [0; 4096]);
        while Instant::now() < until {
            if let Ok(length) = self.socket.recv(&mut buffer) {
                told.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        }
        told
    }

    /// Waits until it tells something that begins so; gives the whole of it.
    fn waits(&self, beginning: &str) -> String {
        let until = Instant::now() + Duration::from_secs(20);
        let mut buffer = [0; 4096];
        while Instant::now() < until {
            if let Ok(length) = self.socket.recv(&mut buffer) {
                let told = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if told.starts_with(beginning) {
                    return told;
                }
            }
        }
        panic!("nothing that begins with {beginning}");
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_raw(self.process.id() as i32).expect("an id");
        rustix::process::kill_process(id, signal).expect("it runs");
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn systemd_is_told_how_it_goes() {
    if skip() {
        return;
    }
    for workers in ["1", "2"] {
        let folder = Folder::new(&format!("notify-{workers}"));
        std::fs::write(folder.path("apitap.toml"), "state = 'state'\n[metrics]\nlisten = ''\n").expect("a file");
        // Nothing comes here: the watchdog is fed all the same.
        let arguments =
            ["-i", "lo", "-f", "tcp port 1", "--config", "apitap.toml", "--workers", workers, "--json-summary"];
        let mut watch = Managed::start(&folder, &arguments, Duration::from_millis(500));
        assert_eq!(watch.waits("READY=1"), "READY=1\nSTATUS=listening on lo\n");
        let fed = watch.tells(Duration::from_secs(3)).iter().filter(|told| *told == "WATCHDOG=1\n").count();
        assert!(fed >= 6, "{fed}");

        watch.signal(rustix::process::Signal::HUP);
        assert!(watch.waits("RELOADING=1").contains("MONOTONIC_USEC="));
        watch.waits("READY=1");
        let changed = "state = 'state'\n[metrics]\nlisten = ''\n[detect]\nfalse_alarms_per_day = 3.0\n";
        std::fs::write(folder.path("apitap.toml"), changed).expect("a file");
        watch.signal(rustix::process::Signal::HUP);
        watch.waits("RELOADING=1");
        watch.waits("READY=1");

        watch.signal(rustix::process::Signal::TERM);
        watch.waits("STOPPING=1");
        assert!(watch.process.wait().expect("it ends").success());
    }
}

#[test]
fn a_sensor_that_hangs_does_not_feed_the_watchdog() {
    if skip() {
        return;
    }
    let folder = Folder::new("notify-hangs");
    let service = Service::start(0, |_, _| Reply(200, "content-type: application/json\r\n", "{\"ok\":true}".into()));
    let filter = format!("tcp port {}", service.port);
    let arguments = ["-i", "lo", "-f", &filter, "--calls", "--quiet", "--workers", "1"];
    let mut watch = Managed::start(&folder, &arguments, Duration::from_millis(400));
    watch.waits("WATCHDOG=1");
    // Nobody reads the calls: behind a full pipe (64 KiB) it waits.
    for _ in 0..300 {
        request(service.port);
    }
    std::thread::sleep(Duration::from_secs(1));
    watch.tells(Duration::from_millis(300));
    assert_eq!(watch.tells(Duration::from_secs(2)), Vec::<String>::new());
    // When somebody reads again it goes on.
    let mut pipe = watch.process.stdout.take().expect("a pipe");
    std::thread::spawn(move || std::io::copy(&mut pipe, &mut std::io::sink()));
    watch.waits("WATCHDOG=1");
}

/// The fenced blocks of one language in a text of Markdown.
fn fences(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == format!("```{language}") {
            let block: Vec<_> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

#[test]
fn configurations_that_are_shown_are_ones() {
    let folder = Folder::new("recipes");
    let recipes = std::fs::read_to_string(own("packaging/recipes.md")).expect("a file");
    let mut texts = fences(&recipes, "toml");
    assert!(texts.len() >= 8, "{}", texts.len());
    texts.push(std::fs::read_to_string(own("packaging/apitap.toml")).expect("a file"));
    for text in texts {
        let path = folder.path("apitap.toml");
        std::fs::write(&path, &text).expect("a file");
        let settings = apitap::settings::Settings::read(&path).unwrap_or_else(|error| panic!("{error} in\n{text}"));
        apitap::sink::check(&settings.sink).unwrap_or_else(|error| panic!("{error} in\n{text}"));
    }
}

/// What the unit starts is what the program knows.
#[test]
fn the_unit_starts_what_there_is() {
    let unit = std::fs::read_to_string(own("packaging/apitap.service")).expect("a file");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/apitap ")).expect("a start");
    let folder = Folder::new("unit");
    let mut arguments: Vec<&str> = start.split(' ').collect();
    let configuration = own("packaging/apitap.toml").display().to_string();
    for argument in &mut arguments {
        if *argument == "/etc/apitap/apitap.toml" {
            *argument = &configuration;
        }
    }
    // The configuration names no interface, which is the first thing that is missing.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_apitap"))
        .args(&arguments)
        .current_dir(folder.path(""))
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("name an interface"), "{said}");
    assert!(unit.contains("\nRestartPreventExitStatus=2\n"), "what is wrong stays wrong");
}
