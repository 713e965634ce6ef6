//! Dead letters that are sent again: none is lost, whatever goes wrong.

#[path = "support/receivers.rs"]
mod receivers;
mod support;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use receivers::{Reply, Service};
use serde_json::{Value, json};
use support::{Folder, Run, fixture};

fn ok() -> Reply {
    Reply(200, "", String::new())
}

fn no() -> Reply {
    Reply(400, "", "no such field".into())
}

/// `apitap resend` with the configuration and the state of a folder.
fn command(folder: &Folder, names: &[&str]) -> Command {
    let mut process = Command::new(std::env::var_os("APITAP_BINARY").unwrap_or(env!("CARGO_BIN_EXE_apitap").into()));
    process.args(["resend", "--config", "apitap.toml", "--state", "state"]).args(names).current_dir(folder.path(""));
    process
}

fn resend(folder: &Folder, names: &[&str]) -> Run {
    Run::of(command(folder, names).output().expect("the binary starts"))
}

fn configure(folder: &Folder, config: &str) {
    std::fs::write(folder.path("apitap.toml"), config).expect("a file");
}

/// Alerts, findings and events of the capture that comes with the program, as they are printed.
fn lines(folder: &Folder) -> Vec<String> {
    let options =
        ["--quiet", "--state", "plain", "--trusted-proxy", "10.20.0.5", "--findings", "--events", "--learning", "60"];
    let run = folder.run("replay", &[&options[..], &[&fixture()]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    String::from_utf8(run.stdout).expect("JSON").lines().map(str::to_owned).collect()
}

/// A dead letter about a line, as a sensor writes it.
fn letter(line: &str) -> String {
    let told: Value = serde_json::from_str(line).expect("JSON");
    let class = told["schema"].as_str().and_then(|schema| schema.split('.').nth(1)).expect("a schema").to_owned();
    json!({ "time": "2026-03-02T14:00:00Z", "reason": "400 Bad Request", class: told }).to_string() + "\n"
}

/// Puts dead letters beside the spool of a sink.
fn bury(folder: &Folder, sink: &str, name: &str, letters: &[String]) {
    let spool = folder.path(&format!("state/spool/{sink}"));
    std::fs::create_dir_all(&spool).expect("a folder");
    std::fs::write(spool.join(name), letters.concat()).expect("room");
}

fn letters(folder: &Folder, sink: &str) -> String {
    let read = |name: &str| std::fs::read_to_string(folder.path(&format!("state/spool/{sink}/{name}")));
    read("dead-letters.jsonl.1").unwrap_or_default() + &read("dead-letters.jsonl").unwrap_or_default()
}

/// Files of dead letters that are there, whole or in work.
fn files(folder: &Folder, sink: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path(&format!("state/spool/{sink}"))).expect("a spool");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    names.filter(|name| name.starts_with("dead-letters")).collect()
}

#[test]
fn what_was_refused_is_taken_once_the_receiver_takes_it() {
    let folder = Folder::new("resend");
    let well = Arc::new(AtomicBool::new(false));
    let takes = well.clone();
    let service = Service::start(0, move |_, _| if takes.load(Ordering::Relaxed) { ok() } else { no() });
    configure(
        &folder,
        &format!("[[sink]]\ntype = 'webhook'\nname = 'hook'\nurl = '{}'\ntakes = ['alerts']\n", service.url()),
    );
    let options =
        ["--quiet", "--config", "apitap.toml", "--state", "state", "--trusted-proxy", "10.20.0.5", &fixture()];
    let run = folder.run("replay", &options);
    assert_eq!((run.code, run.stdout.as_slice()), (Some(0), b"".as_slice()), "{}", run.stderr);
    let told: Vec<String> = lines(&folder).into_iter().filter(|line| line.contains("apitap.alert.v1")).collect();
    assert_eq!(letters(&folder, "hook").lines().count(), told.len());

    // It refuses them still.
    let run = resend(&folder, &[]);
    let count = told.len();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let said = format!("hook: 0 sent, {count} stay: {count}: 400 Bad Request no such field\n");
    assert_eq!(String::from_utf8_lossy(&run.stdout), said, "{}", run.stderr);
    assert_eq!(letters(&folder, "hook").lines().count(), count);

    well.store(true, Ordering::Relaxed);
    let before = service.requests().len();
    let run = resend(&folder, &["hook"]);
    assert_eq!(String::from_utf8_lossy(&run.stdout), format!("hook: {count} sent, 0 stay\n"), "{}", run.stderr);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let requests = &service.requests()[before..];
    let bodies: Vec<String> = requests.iter().map(|request| request.text()).collect();
    assert_eq!(bodies, told, "in order, and to the byte");
    for (request, line) in requests.iter().zip(&told) {
        let id = serde_json::from_str::<Value>(line).expect("JSON")["id"].clone();
        assert_eq!(request.header("idempotency-key"), id.as_str());
    }
    assert_eq!(files(&folder, "hook"), [""; 0]);
    let run = resend(&folder, &[]);
    assert_eq!((run.code, run.stdout.as_slice()), (Some(0), b"hook: no dead letters\n".as_slice()));
    assert_eq!(service.requests().len(), before + count);
}

#[test]
fn what_is_refused_or_unreadable_stays_and_the_others_go() {
    let folder = Folder::new("resend-some");
    let told = lines(&folder);
    let schemas: BTreeSet<_> = told
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["schema"].clone().to_string())
        .collect();
    assert_eq!(schemas.len(), 3, "alerts, findings and events: {schemas:?}");
    let all: Vec<String> = told.iter().map(|line| letter(line)).collect();
    let (older, newer) = all.split_at(all.len() / 3);
    let poison = told[5].clone();
    let refused = poison.clone();
    let service = Service::start(0, move |_, request| if request.text().contains(&refused) { no() } else { ok() });
    configure(
        &folder,
        &format!(
            "[[sink]]\ntype = 'stdout'\n[[sink]]\ntype = 'webhook'\nname = 'hook'\nbody = 'lines'\nbatch = 4\nurl = '{}'\n\
             [[sink]]\ntype = 'file'\nname = 'file'\npath = 'file.jsonl'\n",
            service.url()
        ),
    );
    let odd = "{\"time\":\"x\",\"reason\":\"y\",\"alert\":{\"schema\":\"apitap.alert.v9\"}}\n".to_owned();
    bury(&folder, "hook", "dead-letters.jsonl.1", older);
    bury(&folder, "hook", "dead-letters.jsonl", &[newer, std::slice::from_ref(&odd)].concat());
    bury(&folder, "file", "dead-letters.jsonl.1", older);
    // The last one is torn: who wrote it has what it is about in the spool still.
    bury(&folder, "file", "dead-letters.jsonl", &[newer, &["{\"time\":".to_owned()]].concat());
    let run = resend(&folder, &[]);
    let said = format!(
        "hook: {} sent, 2 stay: 1: 400 Bad Request no such field; 1: unreadable: the schema \"apitap.alert.v9\" is not known\n\
         file: {} sent, 0 stay\n",
        told.len() - 1,
        told.len()
    );
    assert_eq!((run.code, String::from_utf8_lossy(&run.stdout).into_owned()), (Some(1), said), "{}", run.stderr);
    assert!(run.stderr.contains("torn line"), "{}", run.stderr);
    assert_eq!(std::fs::read_to_string(folder.path("file.jsonl")).expect("a file"), told.join("\n") + "\n");
    assert_eq!(files(&folder, "file"), [""; 0]);
    let left = letters(&folder, "hook");
    let left: Vec<&str> = left.lines().collect();
    assert_eq!(left.len(), 2);
    let again: Value = serde_json::from_str(left[0]).expect("JSON");
    let class = ["alert", "finding", "event"].into_iter().find(|class| again.get(class).is_some()).expect("a class");
    assert_eq!(again[class], serde_json::from_str::<Value>(&poison).expect("JSON"));
    assert_eq!(again["reason"], "400 Bad Request no such field");
    assert_eq!(left[1], odd.trim_end());
    let taken: BTreeSet<String> = service
        .requests()
        .iter()
        .filter(|request| !request.text().contains(&poison))
        .flat_map(|request| request.text().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(taken.len(), told.len() - 1);
}

#[test]
fn a_receiver_that_is_away_changes_nothing() {
    let folder = Folder::new("resend-away");
    let told = lines(&folder);
    let all: Vec<String> = told.iter().take(20).map(|line| letter(line)).collect();
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    configure(
        &folder,
        &format!(
            "[[sink]]\ntype = 'webhook'\nname = 'hook'\nurl = 'http://127.0.0.1:{port}'\nretry_milliseconds = 10\n\
             [[sink]]\ntype = 'stdout'\n"
        ),
    );
    bury(&folder, "hook", "dead-letters.jsonl.1", &all[..9]);
    bury(&folder, "hook", "dead-letters.jsonl", &all[9..]);
    let run = resend(&folder, &[]);
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.code == Some(1) && text.starts_with("hook: 0 sent, 20 stay: 20: "), "{text} {}", run.stderr);
    assert_eq!(letters(&folder, "hook"), all.concat());
    assert_eq!(files(&folder, "hook").len(), 2);
    for (name, reason) in [("nobody", "no sink nobody"), ("stdout", "standard output")] {
        let run = resend(&folder, &[name]);
        assert_eq!(run.code, Some(2));
        assert!(run.stderr.contains(reason), "{}", run.stderr);
    }
}

#[test]
fn killed_at_any_moment_no_letter_is_lost() {
    let folder = Folder::new("resend-kill");
    let alert = lines(&folder).into_iter().find(|line| line.contains("apitap.alert.v1")).expect("an alert");
    let held = serde_json::from_str::<Value>(&alert).expect("JSON")["id"].as_str().expect("an id").to_owned();
    let ids: BTreeSet<String> = (0..240).map(|number| format!("{number:016x}")).collect();
    let all: Vec<String> = ids.iter().map(|id| letter(&alert.replace(&held, id))).collect();
    // Every eighth is refused for good.
    let refused = |text: &str| {
        let id = serde_json::from_str::<Value>(text).expect("JSON")["id"].as_str().expect("an id").to_owned();
        u64::from_str_radix(&id, 16).expect("a number").is_multiple_of(8)
    };
    let service = Service::start(0, move |_, request| {
        std::thread::sleep(Duration::from_millis(2));
        if refused(&request.text()) { no() } else { ok() }
    });
    configure(&folder, &format!("[[sink]]\ntype = 'webhook'\nname = 'hook'\nurl = '{}'\n", service.url()));
    bury(&folder, "hook", "dead-letters.jsonl.1", &all[..100]);
    bury(&folder, "hook", "dead-letters.jsonl", &all[100..]);
    let mut killed = 0;
    for round in 1..=10_u64 {
        let mut process = command(&folder, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(60 * round));
        process.kill().expect("it runs, or has ended");
        killed += usize::from(process.wait().expect("it has ended").code().is_none());
    }
    assert!(killed > 3, "{killed}");
    let run = resend(&folder, &[]);
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.code == Some(1) && text.contains("no such field"), "{text} {}", run.stderr);
    let number = |id: &String| u64::from_str_radix(id, 16).expect("a number");
    let stay: BTreeSet<String> = letters(&folder, "hook")
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("JSON")["alert"]["id"].as_str().expect("an id").to_owned()
        })
        .collect();
    assert_eq!(stay, ids.iter().filter(|id| number(id).is_multiple_of(8)).cloned().collect());
    let taken: BTreeSet<String> = service
        .requests()
        .iter()
        .map(|request| request.header("idempotency-key").expect("an id").to_owned())
        .filter(|id| !number(id).is_multiple_of(8))
        .collect();
    assert_eq!(taken, ids.iter().filter(|id| !number(id).is_multiple_of(8)).cloned().collect());
    let left = files(&folder, "hook");
    assert!(left.iter().all(|name| !name.ends_with("sending") && !name.ends_with("kept")), "{left:?}");
}
