//! The detector on the evaluation range's call lists, which know no bodies: what they show must be found, and an
//! uneventful day must stay quiet. Skips when the range is not there.

mod support;

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use apitap::alert::Alert;
use apitap::call::{Call, Completeness, Credential, CredentialKind, Fingerprint, FlowId, Message, Peer};
use apitap::detect::{DetectRules, Detector, Settings};
use apitap::sink::{JsonLines, Sink};
use apitap::time::Timestamp;

/// A line of the synthesiser's `--calls`.
#[derive(serde::Deserialize)]
struct Line {
    ts: f64,
    ip: IpAddr,
    cred: String,
    host: String,
    method: String,
    target: String,
    status: Option<u16>,
    req: u64,
    resp: u64,
    ua: String,
}

fn hash(text: &str) -> u64 {
    use std::hash::Hasher;
    let mut hasher = siphasher::sip::SipHasher13::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

fn call(line: Line, position: u32) -> Call {
    let (path, query) = line.target.split_once('?').unwrap_or((&line.target, ""));
    let names = query.split('&').filter(|pair| !pair.is_empty());
    // The list does not say of what kind a credential is; programs of partners are told by their host.
    let kind = if line.host.starts_with("partner") { CredentialKind::ApiKey } else { CredentialKind::Bearer };
    let credential = (!line.cred.is_empty()).then(|| Credential::new(kind, Fingerprint(hash(&line.cred))));
    let time = Timestamp::from_nanos((line.ts * 1e6).round() as i64 * 1000);
    Call {
        flow: FlowId(u64::from(position)),
        request_time: Some(time),
        response_time: Some(time),
        end_time: time,
        client: Peer { ip: line.ip, port: 40_000 },
        query_names: names.map(|pair| pair.split('=').next().unwrap_or_default().into()).collect(),
        path: path.to_owned(),
        method: line.method,
        host: Some(line.host.into()),
        status: line.status,
        request: Message { wire_bytes: line.req, body_bytes: line.req, ..Message::default() },
        response: Message { wire_bytes: line.resp, body_bytes: line.resp, ..Message::default() },
        user_agent: Some(line.ua.into()),
        completeness: Completeness { request: true, response: line.status.is_some(), ..Completeness::default() },
        credential,
        target: line.target,
        ..Call::default()
    }
}

fn calls(path: &Path) -> impl Iterator<Item = Call> + use<> {
    let file = std::fs::File::open(path).expect("a call list");
    BufReader::new(flate2::read::GzDecoder::new(file))
        .lines()
        .zip(0..)
        .map(|(line, position)| call(serde_json::from_str(&line.expect("a readable line")).expect("a call"), position))
}

fn detector() -> Detector {
    Detector::new(Settings::default(), DetectRules::default(), |call| Some(call.client.ip))
}

fn alerts(path: &Path) -> Vec<Alert> {
    let (mut detector, mut alerts) = (detector(), Vec::new());
    for call in calls(path) {
        detector.call(&call, &mut alerts);
    }
    detector.finish(&mut alerts);
    alerts
}

fn capture(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("APITAP_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = shared.join("range/captures").join(name);
    if !path.exists() {
        println!("skipped: no {}", path.display());
        return None;
    }
    Some(path)
}

fn lines(alerts: &[Alert]) -> Vec<u8> {
    let mut sink = JsonLines::new(Vec::new());
    alerts.iter().for_each(|alert| sink.write(alert).expect("memory"));
    sink.writer().clone()
}

/// The alerts of the whole program over a capture.
fn replayed(name: &str, capture: &Path) -> Vec<Alert> {
    let folder = support::Folder::new(name);
    let run = folder.run("replay", &[capture.to_str().expect("UTF-8"), "--trusted-proxy", "10.20.0.5"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    run.lines().into_iter().map(|line| serde_json::from_value(line).expect("an alert")).collect()
}

#[test]
fn minutes_show_all_families() {
    let Some(path) = capture("minutes-1.pcap.gz") else { return };
    let labels = path.with_file_name("minutes-1.labels.json");
    let labels: serde_json::Value =
        serde_json::from_reader(BufReader::new(std::fs::File::open(labels).expect("labels"))).expect("JSON");
    let alerts = replayed("minutes", &path);
    for (family, least) in [("recon", 9), ("flood", 6), ("leak", 3)] {
        let found = labels["actors"].as_array().expect("actors").iter().filter(|actor| {
            let has = |list: &str, text: &str| {
                actor[list].as_array().is_some_and(|list| list.iter().any(|item| item.as_str() == Some(text)))
            };
            actor["kind"] == family
                && alerts.iter().any(|alert| {
                    let kind = alert.kind.name().split('.').next().unwrap_or_default();
                    let named = alert.client.iter().chain(&alert.clients);
                    has("accept", kind) && named.map(|client| client.ip.to_string()).any(|ip| has("ips", &ip))
                })
        });
        let found = found.count();
        assert!(found >= least, "{found} actors of {family}, at least {least} were found when this was written");
    }
}

#[test]
fn a_quiet_day_stays_quiet() {
    let Some(path) = capture("quiet-1.pcap.gz") else { return };
    let alerts = replayed("quiet", &path);
    assert!(alerts.len() < 10, "{}", String::from_utf8_lossy(&lines(&alerts)));
}

#[test]
fn two_runs_agree_and_so_does_one_that_was_stopped_and_restored() {
    let Some(path) = capture("minutes-1.calls.jsonl.gz") else { return };
    let whole = lines(&alerts(&path));
    let (mut running, mut found) = (detector(), Vec::new());
    for (position, call) in calls(&path).enumerate() {
        if position % 5_000 == 4_999 {
            let text = serde_json::to_string(running.state()).expect("plain data");
            running = detector();
            running.restore(serde_json::from_str(&text).expect("what was written reads back"));
        }
        running.call(&call, &mut found);
    }
    assert!(lines(&found) == whole, "the alerts differ");
}

/// A development aid: `RANGE_CALLS=a.calls.jsonl.gz:… cargo test --test detect -- --ignored` writes `a.alerts.jsonl`
/// beside each list, for the range's scorer.
#[test]
#[ignore = "writes files, for use with the range's scorer"]
fn write_alerts() {
    let lists = std::env::var("RANGE_CALLS").expect("RANGE_CALLS: call lists, separated by colons");
    for list in lists.split(':') {
        let begin = std::time::Instant::now();
        let alerts = alerts(Path::new(list));
        println!("{list}: {} alerts in {:?}", alerts.len(), begin.elapsed());
        std::fs::write(list.replace(".calls.jsonl.gz", ".alerts.jsonl"), lines(&alerts)).expect("a place to write");
    }
}
