//! Sinks as their receivers see them: nothing lost, in order, known by id, whatever goes wrong.

#[path = "support/receivers.rs"]
mod receivers;
mod support;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use receivers::{Reply, Request, Service, Stream, counted};
use serde_json::Value;
use support::{Folder, Run, fixture};

fn ok() -> Reply {
    Reply(200, "", "{\"errors\":false}".into())
}

/// Replays the capture that comes with the program under a configuration.
fn replay(folder: &Folder, config: &str) -> Run {
    std::fs::write(folder.path("apitap.toml"), config).expect("a file");
    folder.run(
        "replay",
        &["--quiet", "--config", "apitap.toml", "--state", "state", "--trusted-proxy", "10.20.0.5", &fixture()],
    )
}

fn id(value: &Value) -> String {
    value.get("id").and_then(Value::as_str).unwrap_or_else(|| panic!("an id in {value}")).to_owned()
}

fn ids(run: &Run) -> Vec<String> {
    run.lines().iter().map(id).collect()
}

fn ids_of_lines(text: &str) -> Vec<String> {
    text.lines().map(|line| id(&serde_json::from_str(line).expect("JSON"))).collect()
}

/// The ids of alerts that came one in a request, those that were answered well only.
fn ids_of_requests(requests: &[Request]) -> Vec<String> {
    requests.iter().map(|request| id(&serde_json::from_slice(&request.body).expect("JSON"))).collect()
}

/// In order of their first coming.
fn distinct(ids: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    ids.iter().filter(|id| seen.insert(id.as_str())).cloned().collect()
}

fn spooled(folder: &Folder, sink: &str) -> usize {
    let entries = std::fs::read_dir(folder.path(&format!("state/spool/{sink}"))).expect("a spool");
    entries.filter(|entry| entry.as_ref().expect("an entry").file_name().to_string_lossy().ends_with(".spool")).count()
}

#[test]
fn every_sink_gets_what_is_printed() {
    let folder = Folder::new("sinks-all");
    let plain = folder.run("replay", &["--quiet", "--state", "state", "--trusted-proxy", "10.20.0.5", &fixture()]);
    let expected = ids(&plain);
    assert!(expected.len() >= 3);
    let services: Vec<Service> = (0..4).map(|_| Service::start(0, |_, _| ok())).collect();
    let syslog = Stream::start(|mut stream, keep| {
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut part) {
            keep(&part[..count]);
        }
    });
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
    datagrams.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
    let config = format!(
        "[[sink]]\ntype = 'stdout'\n\
         [[sink]]\ntype = 'file'\npath = 'alerts.jsonl'\n\
         [[sink]]\ntype = 'webhook'\nurl = '{}/hook?a=b'\ntoken = 'secret'\nheaders = {{ X-Site = 'one' }}\n\
         [[sink]]\ntype = 'elasticsearch'\nurl = '{}'\nformat = 'native'\nusername = 'me'\npassword = 'secret'\nbatch = 2\n\
         [[sink]]\ntype = 'splunk'\nurl = '{}'\ntoken = 'secret'\ngzip = true\n\
         [[sink]]\ntype = 'loki'\nurl = '{}'\n\
         [[sink]]\ntype = 'syslog'\naddress = '127.0.0.1:{}'\n\
         [[sink]]\ntype = 'syslog'\nname = 'udp'\ntransport = 'udp'\nformat = 'cef'\naddress = '{}'\n\
         [[sink]]\ntype = 'file'\nname = 'some'\npath = 'some.jsonl'\nkinds = ['recon.*']\n",
        services[0].url(),
        services[1].url(),
        services[2].url(),
        services[3].url(),
        syslog.port,
        datagrams.local_addr().expect("an address"),
    );
    let run = replay(&folder, &config);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert_eq!(run.stdout, plain.stdout, "standard output is as without sinks");

    let text = std::fs::read_to_string(folder.path("alerts.jsonl")).expect("a file");
    assert_eq!(text.as_bytes(), plain.stdout);
    let some = std::fs::read_to_string(folder.path("some.jsonl")).expect("a file");
    let recon =
        plain.lines().into_iter().filter(|line| line["kind"].as_str().is_some_and(|kind| kind.starts_with("recon.")));
    assert_eq!(ids_of_lines(&some), recon.map(|line| id(&line)).collect::<Vec<_>>());
    assert!(!some.is_empty() && some.len() < text.len());

    let hook = services[0].requests();
    assert_eq!(ids_of_requests(&hook), expected);
    assert!(hook.iter().all(|request| request.path == "/hook?a=b" && request.header("x-site") == Some("one")));
    assert!(hook.iter().all(|request| request.header("authorization") == Some("Bearer secret")));
    let keys: Vec<_> =
        hook.iter().map(|request| request.header("idempotency-key").unwrap_or_default().to_owned()).collect();
    assert_eq!(keys, expected);

    let mut bulk = Vec::new();
    for request in services[1].requests() {
        assert_eq!((request.path.as_str(), request.header("authorization")), ("/_bulk", Some("Basic bWU6c2VjcmV0")));
        let text = request.text();
        assert!(text.lines().count() <= 4);
        bulk.extend(text.lines().step_by(2).map(|line| {
            let action: Value = serde_json::from_str(line).expect("JSON");
            action.pointer("/create/_id").and_then(Value::as_str).expect("an id").to_owned()
        }));
    }
    assert_eq!(bulk, expected);

    let mut events = Vec::new();
    for request in services[2].requests() {
        assert_eq!(request.path, "/services/collector/event");
        assert_eq!(request.header("authorization"), Some("Splunk secret"));
        let body = std::io::read_to_string(flate2::read::GzDecoder::new(request.body.as_slice())).expect("gzip");
        events.extend(body.lines().map(|line| {
            let event: Value = serde_json::from_str(line).expect("JSON");
            id(event.get("event").expect("an event"))
        }));
    }
    assert_eq!(events, expected);

    let mut pushed = Vec::new();
    for request in services[3].requests() {
        let push: Value = serde_json::from_slice(&request.body).expect("JSON");
        for stream in push["streams"].as_array().expect("streams") {
            for value in stream["values"].as_array().expect("values") {
                pushed.extend(ids_of_lines(value[1].as_str().expect("a line")));
            }
        }
    }
    pushed.sort();
    let mut sorted = expected.clone();
    sorted.sort();
    assert_eq!(pushed, sorted);

    let messages: Vec<String> = syslog.bytes().iter().flat_map(|bytes| counted(bytes)).collect();
    assert_eq!(
        messages
            .iter()
            .map(|text| ids_of_lines(text.split_once("] ").expect("a message").1)[0].clone())
            .collect::<Vec<_>>(),
        expected
    );
    let mut datagram = [0; 65_536];
    for id in &expected {
        let count = datagrams.recv(&mut datagram).expect("a datagram");
        let text = String::from_utf8_lossy(&datagram[..count]).into_owned();
        assert!(text.contains(&format!("externalId={id} ")) && text.contains(" CEF:0|apitap|"), "{text}");
    }
}

#[test]
fn a_sink_that_is_down_loses_nothing_and_holds_nobody_up() {
    let folder = Folder::new("sinks-down");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let config = format!(
        "[output]\nsink_wait_seconds = 1\n[[sink]]\ntype = 'stdout'\n[[sink]]\ntype = 'file'\npath = 'alerts.jsonl'\n\
         [[sink]]\ntype = 'webhook'\nurl = 'http://127.0.0.1:{port}'\nretry_milliseconds = 50\n"
    );
    let down = replay(&folder, &config);
    let expected = ids(&down);
    assert_eq!(down.code, Some(0), "{}", down.stderr);
    let said = format!("sink webhook: {} lines stay in its spool", expected.len());
    assert!(down.stderr.contains(&said), "{}", down.stderr);
    assert_eq!(ids_of_lines(&std::fs::read_to_string(folder.path("alerts.jsonl")).expect("a file")), expected);

    // The next run has first what the earlier one left, then the same again: its ids tell.
    let service = Service::start(port, |_, _| ok());
    let again = replay(&folder, &config.replace("sink_wait_seconds = 1", "sink_wait_seconds = 20"));
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let got = ids_of_requests(&service.requests());
    let twice: Vec<String> = expected.iter().chain(&expected).cloned().collect();
    assert_eq!(got, twice);
    assert_eq!(spooled(&folder, "webhook"), 0);
}

#[test]
fn failures_are_repeated_and_waits_respected() {
    let folder = Folder::new("sinks-429");
    let service = Service::start(0, |number, _| match number {
        0 => Reply(500, "", String::new()),
        1 => Reply(429, "retry-after: 1\r\n", String::new()),
        2 => Reply(503, "", "busy".into()),
        _ => ok(),
    });
    let run = replay(
        &folder,
        &format!(
            "[[sink]]\ntype = 'stdout'\n[[sink]]\ntype = 'webhook'\nurl = '{}'\nretry_milliseconds = 20\n",
            service.url()
        ),
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let requests = service.requests();
    let got = ids_of_requests(&requests);
    assert_eq!(distinct(&got), ids(&run));
    assert_eq!(got.len(), ids(&run).len() + 3, "what was taken is not sent again");
    assert!(requests[2].at.duration_since(requests[1].at) >= Duration::from_secs(1));
}

#[test]
fn what_is_refused_for_good_is_a_dead_letter() {
    let folder = Folder::new("sinks-400");
    let plain = folder.run("replay", &["--quiet", "--state", "state", "--trusted-proxy", "10.20.0.5", &fixture()]);
    let expected = ids(&plain);
    let poison = expected[1].clone();
    let refused = poison.clone();
    let service = Service::start(0, move |_, request| match request.text().contains(&refused) {
        true => Reply(400, "", "no such field".into()),
        false => ok(),
    });
    let run = replay(&folder, &format!("[[sink]]\ntype = 'webhook'\nbody = 'array'\nurl = '{}'\n", service.url()));
    assert_eq!((run.code, run.stdout.as_slice()), (Some(0), b"".as_slice()), "{}", run.stderr);
    let mut taken = Vec::new();
    for request in service.requests().iter().filter(|request| !request.text().contains(&poison)) {
        let alerts: Vec<Value> = serde_json::from_slice(&request.body).expect("JSON");
        taken.extend(alerts.iter().map(id));
    }
    let others: Vec<String> = expected.iter().filter(|id| **id != poison).cloned().collect();
    assert_eq!(taken, others);
    let letters = std::fs::read_to_string(folder.path("state/spool/webhook/dead-letters.jsonl")).expect("a file");
    let letter: Value = serde_json::from_str(letters.trim()).expect("one letter");
    assert_eq!(id(&letter["alert"]), poison);
    assert!(letter["reason"].as_str().is_some_and(|reason| reason.contains("400") && reason.contains("no such field")));
    assert!(run.stderr.contains("dead letters"), "{}", run.stderr);
}

#[test]
fn a_slow_sink_holds_nobody_up() {
    let folder = Folder::new("sinks-slow");
    let service = Service::start(0, |_, _| {
        std::thread::sleep(Duration::from_millis(700));
        ok()
    });
    let started = Instant::now();
    let run = replay(
        &folder,
        &format!(
            "[output]\nsink_wait_seconds = 2\n[[sink]]\ntype = 'stdout'\n[[sink]]\ntype = 'file'\npath = 'alerts.jsonl'\n\
             [[sink]]\ntype = 'webhook'\nname = 'slow'\nurl = '{}'\n",
            service.url()
        ),
    );
    let expected = ids(&run);
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    assert_eq!(ids_of_lines(&std::fs::read_to_string(folder.path("alerts.jsonl")).expect("a file")), expected);
    // What it had when the time was up, and what it has yet to get, are all there are.
    let first = distinct(&ids_of_requests(&service.requests()));
    assert_eq!(first.as_slice(), expected.get(..first.len()).expect("in order"));
    let run = replay(
        &folder,
        &format!("[[sink]]\ntype = 'webhook'\nname = 'slow'\nurl = '{}'\nkinds = ['auth.*']\n", service.url()),
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let got = distinct(&ids_of_requests(&service.requests()));
    assert_eq!(got, expected);
}

#[test]
fn a_full_disk_loses_nothing() {
    let folder = Folder::new("sinks-full");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    // A spool of one alert or two, and a file that takes nothing.
    let config = |wait: u32, file: &str| {
        format!(
            "[output]\nsink_wait_seconds = {wait}\n[[sink]]\ntype = 'stdout'\n\
             [[sink]]\ntype = 'file'\npath = '{file}'\nretry_milliseconds = 20\n\
             [[sink]]\ntype = 'webhook'\nurl = 'http://127.0.0.1:{port}'\nretry_milliseconds = 20\nspool_bytes = 4000\n"
        )
    };
    let run = replay(&folder, &config(1, "/dev/full"));
    assert_eq!(run.code, Some(1), "alerts in memory alone are lost, and that is said: {}", run.stderr);
    let expected = ids(&run);
    assert!(run.stderr.contains("spool is full") && run.stderr.contains("are lost"), "{}", run.stderr);
    assert!(run.stderr.contains("No space left on device"), "{}", run.stderr);
    assert!(run.stderr.contains(&format!("sink file: {} lines stay", expected.len())), "{}", run.stderr);

    let service = Service::start(port, |_, _| ok());
    let again = replay(&folder, &config(20, "alerts.jsonl"));
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let file = ids_of_lines(&std::fs::read_to_string(folder.path("alerts.jsonl")).expect("a file"));
    assert_eq!(file, expected.iter().chain(&expected).cloned().collect::<Vec<_>>());
    let got: HashSet<String> = ids_of_requests(&service.requests()).into_iter().collect();
    assert_eq!(got, expected.into_iter().collect());
}

#[test]
fn a_damaged_spool_gives_what_is_whole() {
    let folder = Folder::new("sinks-damage");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let config = |wait: u32, kinds: &str| {
        format!(
            "[output]\nsink_wait_seconds = {wait}\n[[sink]]\ntype = 'stdout'\n\
             [[sink]]\ntype = 'webhook'\nurl = 'http://127.0.0.1:{port}'\nretry_milliseconds = 20\nkinds = ['{kinds}']\n"
        )
    };
    let expected = ids(&replay(&folder, &config(0, "*")));
    let path = folder.path("state/spool/webhook/00000000000000000001.spool");
    let mut bytes = std::fs::read(&path).expect("a spool");
    // A bit of the first alert flips, and the last is torn.
    bytes[100] ^= 1;
    bytes.truncate(bytes.len() - 7);
    std::fs::write(&path, bytes).expect("a spool");
    let service = Service::start(port, |_, _| ok());
    let run = replay(&folder, &config(20, "auth.cleartext"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("torn") && run.stderr.contains("passed over"), "{}", run.stderr);
    assert_eq!(ids_of_requests(&service.requests()), expected[1..expected.len() - 1]);
}

#[test]
fn killed_at_any_moment_nothing_printed_is_lost() {
    let folder = Folder::new("sinks-kill");
    let refused = Arc::new(Mutex::new(0_usize));
    let count = refused.clone();
    let service = Service::start(0, move |number, _| {
        std::thread::sleep(Duration::from_millis(5));
        if number.is_multiple_of(3) {
            *count.lock().expect("no panic") += 1;
            return Reply(503, "", String::new());
        }
        ok()
    });
    let config = format!(
        "[[sink]]\ntype = 'stdout'\n[[sink]]\ntype = 'file'\npath = 'alerts.jsonl'\nrotate_bytes = 0\n\
         [[sink]]\ntype = 'webhook'\nurl = '{}'\nretry_milliseconds = 5\n",
        service.url()
    );
    std::fs::write(folder.path("apitap.toml"), &config).expect("a file");
    let arguments =
        ["--quiet", "--config", "apitap.toml", "--state", "state", "--trusted-proxy", "10.20.0.5", &fixture()];
    let started = Instant::now();
    let whole = ids(&folder.run("replay", &arguments));
    let length = started.elapsed();
    let mut printed = HashSet::new();
    for round in 0..12_u32 {
        let mut process = folder
            .apitap("replay", &arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdout = process.stdout.take().expect("a pipe");
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok()).map(|line| id(&line)).collect::<Vec<_>>()
        });
        if round % 3 == 2 {
            // Right behind an alert that was printed: the worst moment there is.
            std::thread::sleep(length.mul_f64(0.5 + 0.04 * f64::from(round)));
        } else {
            std::thread::sleep(length.mul_f64(0.08 * f64::from(round + 1)));
        }
        process.kill().expect("it runs, or has ended");
        process.wait().expect("it has ended");
        printed.extend(reader.join().expect("no panic"));
    }
    let last = folder.run("replay", &arguments);
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    assert!(!last.stderr.contains("damaged"), "{}", last.stderr);
    printed.extend(ids(&last));
    let answered: HashSet<String> = service
        .requests()
        .iter()
        .enumerate()
        .filter(|(number, _)| !number.is_multiple_of(3))
        .map(|(_, request)| id(&serde_json::from_slice(&request.body).expect("whole alerts only")))
        .collect();
    assert!(*refused.lock().expect("no panic") > 0);
    assert_eq!(answered, whole.iter().cloned().collect(), "every alert has reached it");
    assert!(printed.is_subset(&answered));
    let file = ids_of_lines(&std::fs::read_to_string(folder.path("alerts.jsonl")).expect("a file"));
    assert!(printed.is_subset(&file.into_iter().collect()));
    assert_eq!((spooled(&folder, "webhook"), spooled(&folder, "file")), (0, 0));
}

#[test]
fn syslog_over_tls() {
    let folder = Folder::new("sinks-tls");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sinks/tls");
    let config = server_config(&fixtures);
    let receiver = Stream::start(move |mut stream, keep| {
        let mut connection = rustls::ServerConnection::new(config.clone()).expect("a configuration");
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = tls.read(&mut part) {
            keep(&part[..count]);
        }
    });
    let sink = |keys: &str| {
        format!(
            "[output]\nsink_wait_seconds = 3\n[[sink]]\ntype = 'stdout'\n[[sink]]\ntype = 'syslog'\ntransport = 'tls'\n\
             address = '127.0.0.1:{}'\nca_file = '{}'\nretry_milliseconds = 50\n{keys}\n",
            receiver.port,
            fixtures.join("ca.pem").display()
        )
    };
    // Whoever answers by another name gets nothing.
    let run = replay(&folder, &sink("server_name = 'other.example'"));
    let expected = ids(&run);
    assert!(run.stderr.contains("certificate") && run.stderr.contains("stay in its spool"), "{}", run.stderr);
    assert!(receiver.bytes().iter().all(Vec::is_empty));
    let run = replay(&folder, &sink("server_name = 'receiver.example'"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let messages: Vec<String> = receiver.bytes().iter().flat_map(|bytes| counted(bytes)).collect();
    let got: Vec<String> =
        messages.iter().map(|text| ids_of_lines(text.split_once("] ").expect("a message").1)[0].clone()).collect();
    assert_eq!(distinct(&got), expected);
}

fn server_config(fixtures: &Path) -> Arc<rustls::ServerConfig> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = vec![CertificateDer::from_pem_file(fixtures.join("receiver.pem")).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(fixtures.join("receiver.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(config.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("a pair"))
}

#[test]
fn findings_and_events_go_to_the_sinks_that_take_them() {
    let folder = Folder::new("sinks-classes");
    let replay = |config: &str| {
        std::fs::write(folder.path("apitap.toml"), config).expect("a file");
        let options = ["--quiet", "--config", "apitap.toml", "--state", "state", "--trusted-proxy", "10.20.0.5"];
        let asked = ["--findings", "--events", "--learning", "60", &fixture()];
        let run = folder.run("replay", &[&options[..], &asked].concat());
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{config}");
        String::from_utf8(run.stdout).expect("JSON")
    };
    let kept = |name: &str| std::fs::read_to_string(folder.path(name)).expect("a file");
    let plain = replay("");
    let of = |schemas: &[&str]| -> String {
        let named = |line: &&str| schemas.iter().any(|schema| line.contains(&format!("\"schema\":\"{schema}\"")));
        plain.lines().filter(named).map(|line| format!("{line}\n")).collect()
    };
    let (alerts, findings, events) = ("apitap.alert.v1", "apitap.finding.v1", "apitap.event.v1");
    assert!([alerts, findings, events].iter().all(|schema| of(&[schema]).lines().count() > 3), "{plain}");
    assert_eq!(of(&[alerts, findings, events]), plain);

    // Each to its sink, in the order in which they are printed else; what none takes is printed.
    let config = "[[sink]]\ntype = 'file'\nname = 'alerts'\npath = 'alerts.jsonl'\n\
         [[sink]]\ntype = 'file'\nname = 'others'\npath = 'others.jsonl'\ntakes = ['findings', 'events']\n\
         [[sink]]\ntype = 'file'\nname = 'elastic'\npath = 'ecs.jsonl'\nformat = 'ecs'\ntakes = ['events', 'findings']\n\
         kinds = ['endpoint_new', 'credential.in_url']\nseverity = 'medium'\n";
    assert_eq!(replay(config), "");
    assert_eq!(kept("alerts.jsonl"), of(&[alerts]));
    assert_eq!(kept("others.jsonl"), of(&[findings, events]));
    let ecs: Vec<Value> = kept("ecs.jsonl").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let chosen = of(&[findings, events]);
    let chosen: Vec<&str> = chosen
        .lines()
        .filter(|line| ["endpoint_new", "credential.in_url"].iter().any(|kind| line.contains(kind)))
        .collect();
    assert_eq!(ecs.len(), chosen.len());
    let ids: HashSet<&str> = ecs.iter().map(|line| line["event"]["id"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), ecs.len(), "each line has one of its own");
    for sink in ["alerts", "others", "elastic"] {
        assert_eq!(spooled(&folder, sink), 0, "{sink}");
    }
    let printed = replay("[[sink]]\ntype = 'file'\nname = 'findings'\npath = 'findings.jsonl'\ntakes = ['findings']\n");
    assert_eq!((printed, kept("findings.jsonl")), (of(&[alerts, events]), of(&[findings])));
}

#[test]
fn mistakes_are_told_before_anything_runs() {
    let folder = Folder::new("sinks-wrong");
    for (config, named) in [
        ("[[sink]]\ntype = 'webhook'\n", "needs `url`"),
        ("[[sink]]\ntype = 'file'\npath = 'a'\n[[sink]]\ntype = 'file'\npath = 'b'\n", "two sinks are called file"),
        ("[[sink]]\ntype = 'stdout'\nkinds = ['recn.*']\n", "recn.*"),
        ("[[sink]]\ntype = 'stdout'\nkinds = ['quota.*']\n", "findings, which `takes` does not name"),
        ("[[sink]]\ntype = 'webhook'\nurl = 'https://a'\nca_file = 'nowhere.pem'\n", "nowhere.pem"),
    ] {
        let run = replay(&folder, config);
        assert_eq!((run.code, run.stdout.as_slice()), (Some(2), b"".as_slice()), "{config}");
        assert!(run.stderr.contains(named), "{config}: {}", run.stderr);
    }
}
