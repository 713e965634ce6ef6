//! A long run on a live interface: traffic without end, attackers who come and go, and a receiver of alerts that is away half the
//! time. Nothing may grow, nothing may be lost, and what the sensor did not see it must have counted.
//!
//! `cargo test --release --test soak -- --ignored --nocapture` takes two hours, or `APITAP_SOAK_SECONDS`. Needs root, iproute2,
//! nginx, python3 and tcpreplay. `APITAP_SOAK_CAPTURE` names the capture that is sent again and again, `APITAP_SOAK_RATE` how many
//! packets a second.

#[path = "support/namespaces.rs"]
mod namespaces;
#[path = "support/receivers.rs"]
mod receivers;
mod support;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use namespaces::{Ended, Namespaces, ip, missing, nginx};
use receivers::{Reply, Service};
use serde_json::Value;
use support::{Folder, Run, fixture};

/// Says to the process inside the namespace which one it is in, and where the client is.
const INSIDE: &str = "APITAP_SOAK_INSIDE";

/// One after the other, and again and again, addresses ask for what is not there: the same ten, so that what is remembered of
/// them has been seen whole within the first ten minutes.
const ATTACKERS: &str = r#"
import http.client, time, sys
begin, seconds, number = time.monotonic(), float(sys.argv[1]), 0
while time.monotonic() - begin < seconds:
    address = "10.99.0.%d" % (10 + number % 10)
    link = http.client.HTTPConnection("10.99.0.2", 8080, source_address=(address, 0), timeout=10)
    for guess in range(600):
        link.request("GET", "/hidden/%d-%d/%d" % (number % 10, guess, guess * 7919))
        link.getresponse().read()
        time.sleep(0.03)
    link.close()
    number += 1
    time.sleep(2)
"#;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// How the receiver fares in a second of the run.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    Away,
    Failing,
    Limiting,
}

fn mood(second: u64) -> Mood {
    match second % 360 {
        60..120 => Mood::Away,
        180..240 => Mood::Failing,
        300..360 => Mood::Limiting,
        _ => Mood::Well,
    }
}

/// A receiver of alerts that others may interrupt, and the ids of those that it took.
struct Receiver {
    port: u16,
    service: Option<Service>,
    taken: Arc<Mutex<BTreeSet<String>>>,
    mood: Arc<Mutex<Mood>>,
}

impl Receiver {
    fn new() -> Receiver {
        let mut receiver =
            Receiver { port: 0, service: None, taken: Default::default(), mood: Arc::new(Mutex::new(Mood::Well)) };
        receiver.turn(Mood::Well);
        receiver
    }

    fn turn(&mut self, mood: Mood) {
        *self.mood.lock().expect("no panic") = mood;
        if mood == Mood::Away {
            self.service = None;
        } else if self.service.is_none() {
            let (taken, mood) = (self.taken.clone(), self.mood.clone());
            let service = Service::start(self.port, move |_, request| match *mood.lock().expect("no panic") {
                Mood::Failing => Reply(503, "", String::new()),
                Mood::Limiting => Reply(429, "retry-after: 2\r\n", String::new()),
                Mood::Well | Mood::Away => {
                    let alert: Value = serde_json::from_slice(&request.body).expect("JSON");
                    taken.lock().expect("no panic").insert(id(&alert));
                    Reply(200, "", String::new())
                }
            });
            self.port = service.port;
            self.service = Some(service);
        }
    }
}

/// Anonymous memory that is resident, in KiB: the kernel's buffer of packets is not the program's to grow.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux tells");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Packets that the interface has sent and received.
fn passed(interface: &str) -> u64 {
    let count = |what: &str| {
        let text = std::fs::read_to_string(format!("/sys/class/net/{interface}/statistics/{what}_packets"));
        text.expect("an interface").trim().parse::<u64>().expect("a number")
    };
    count("rx") + count("tx")
}

#[test]
#[ignore = "takes two hours"]
fn nothing_grows_and_nothing_is_lost() {
    if let Ok(client) = std::env::var(INSIDE) {
        return inside(&client);
    }
    if let Some(reason) = missing(&["nginx", "python3", "tcpreplay"]) {
        eprintln!("skipped: {reason}");
        return;
    }
    let folder = Folder::new("soak-server");
    let spaces = Namespaces::new();
    ip(&format!("-n {} link set lo up", spaces.server));
    for last in 10..20 {
        ip(&format!("-n {} addr add 10.99.0.{last}/24 dev veth0", spaces.client));
    }
    let _nginx = nginx(&folder, &spaces.server);
    // The receiver listens on the loopback of the sensor's namespace, and so does this test.
    let status = Command::new("ip")
        .args(["netns", "exec", &spaces.server])
        .arg(std::env::current_exe().expect("a program"))
        .args(["--ignored", "--exact", "--nocapture", "nothing_grows_and_nothing_is_lost"])
        .env(INSIDE, &spaces.client)
        .status();
    assert!(status.expect("ip runs").success());
}

fn inside(client: &str) {
    let seconds = number("APITAP_SOAK_SECONDS", 7_200);
    let folder = Folder::new("soak");
    let mut receiver = Receiver::new();
    let config = format!(
        "[detect]\nincident_quiet_hours = 0.05\n[[sink]]\ntype = 'stdout'\n[[sink]]\ntype = 'webhook'\nurl = 'http://127.0.0.1:{}/hook'\n[[sink]]\ntype = 'file'\npath = 'alerts.jsonl'\n",
        receiver.port
    );
    std::fs::write(folder.path("apitap.toml"), config).expect("a file");
    let arguments = ["-i", "veth1", "--json-summary", "--config", "apitap.toml", "--state", "state", "--workers", "2"];
    let printed = std::fs::File::create(folder.path("printed.jsonl")).expect("a file");
    let mut sensor = folder.apitap("watch", &arguments);
    sensor.stdout(printed).stderr(Stdio::piped());
    let mut sensor = sensor.spawn().expect("apitap starts");
    std::thread::sleep(Duration::from_secs(2));
    let (begin, before) = (Instant::now(), passed("veth1"));

    let capture = std::env::var("APITAP_SOAK_CAPTURE").unwrap_or_else(|_| fixture());
    let rate = number("APITAP_SOAK_RATE", 20_000).to_string();
    let mut load = Command::new("ip");
    load.args(["netns", "exec", client, "tcpreplay", "-q", "-i", "veth0", "--loop", "0", "--pps", &rate]);
    load.args(["--timer", "nano", "--pps-multi", "20"]).arg(&capture); // sleeps in between
    let load = Ended(load.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("tcpreplay starts"));
    let mut attackers = Command::new("ip");
    attackers.args(["netns", "exec", client, "python3", "-c", ATTACKERS, &seconds.to_string()]);
    let attackers = Ended(attackers.spawn().expect("python starts"));

    let mut memory = Vec::new();
    let settle = (seconds / 12).min(600);
    while begin.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_secs(1));
        let at = begin.elapsed().as_secs();
        receiver.turn(mood(at));
        if at % (seconds / 120).clamp(1, 60) > 0 {
            continue;
        }
        let (kib, taken) = (resident(sensor.id()), receiver.taken.lock().expect("no panic").len());
        eprintln!("{at} s: {kib} KiB resident, {} packets passed, {taken} alerts taken", passed("veth1") - before);
        if at >= settle {
            memory.push(kib);
        }
        assert!(sensor.try_wait().expect("known").is_none(), "the sensor has ended");
    }
    drop((load, attackers));
    receiver.turn(Mood::Well); // so that what waits is delivered
    std::thread::sleep(Duration::from_secs(30));
    let interrupted = Command::new("kill").args(["-INT", &sensor.id().to_string()]).status();
    assert!(interrupted.is_ok_and(|status| status.success()));
    let run = Run::of(sensor.wait_with_output().expect("it ends"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let offered = passed("veth1") - before;

    let summary = run.summary();
    eprintln!("{summary}");
    let counter = |name: &str| summary["counters"][name].as_u64().unwrap_or(0);
    let told = counter("frames") + counter("kernel_drops") + counter("interface_drops");
    eprintln!("{offered} packets passed, {told} read or counted as lost");
    // Neighbours and routers are looked for while the sensor starts and ends.
    assert!(told.abs_diff(offered) < 50, "{told} of {offered}");

    let printed = ids(&std::fs::read_to_string(folder.path("printed.jsonl")).expect("what it printed"));
    let filed = ids(&std::fs::read_to_string(folder.path("alerts.jsonl")).expect("what it filed"));
    let received = receiver.taken.lock().expect("no panic").clone();
    let missing: Vec<_> = printed.iter().filter(|id| !received.contains(*id)).collect();
    eprintln!("{} alerts printed, {} filed, {} received", printed.len(), filed.len(), received.len());
    assert!(printed.len() as u64 >= seconds / 120, "few alerts: {}", printed.len());
    assert!(missing.is_empty(), "lost: {missing:?}");
    assert_eq!(printed, filed);

    let (least, most) = (memory.iter().min().expect("readings"), memory.iter().max().expect("readings"));
    eprintln!("resident after {settle} s: {least} to {most} KiB");
    assert!(most * 100 <= least * 105, "memory is not flat: {least} to {most} KiB");
}

fn id(alert: &Value) -> String {
    alert["id"].as_str().expect("an id").to_owned()
}

fn ids(lines: &str) -> BTreeSet<String> {
    lines.lines().map(|line| id(&serde_json::from_str(line).expect("JSON"))).collect()
}
