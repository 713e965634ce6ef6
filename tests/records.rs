//! The same traffic as other sensors and servers would have logged it: what they can know must be found, what they
//! cannot know must accuse nobody.

mod support;

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use support::{Folder, fixture};

const PROXY: [&str; 2] = ["--trusted-proxy", "10.20.0.5"];

/// The calls of the bundled capture.
fn calls(folder: &Folder) -> Vec<Value> {
    folder.run("calls", &[&fixture()[..], "--quiet"]).lines()
}

fn moment(text: &Value) -> jiff::Timestamp {
    text.as_str().expect("a time").parse().expect("RFC 3339")
}

fn hops(call: &Value) -> Option<String> {
    let hops = call["forwarding"]["x_forwarded_for"].as_array()?;
    Some(hops.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
}

fn has_request(call: &&Value) -> bool {
    call["completeness"]["request"] == true
}

fn zeek(call: &Value) -> String {
    let time = call.get("request_time").unwrap_or(&call["end_time"]);
    let mut line = json!({
        "ts": moment(time).as_microsecond() as f64 / 1e6,
        "uid": format!("C{}", call["flow"].as_str().expect("a flow")),
        "id.orig_h": call["client"]["ip"], "id.orig_p": call["client"]["port"],
        "id.resp_h": call["server"]["ip"], "id.resp_p": call["server"]["port"],
        "trans_depth": call["position"].as_u64().expect("a place") + 1,
        "method": call["method"], "host": call["host"], "uri": call["target"], "version": call["version"],
        "user_agent": call["user_agent"],
        "request_body_len": call["request"]["body_bytes"], "response_body_len": call["response"]["body_bytes"],
        "tags": [],
    });
    if let Some(status) = call.get("status") {
        line["status_code"] = status.clone();
    }
    if let Some(hops) = hops(call) {
        line["proxied"] = json!([format!("X-FORWARDED-FOR -> {hops}")]);
    }
    line.to_string()
}

fn zeek_tabs(calls: &[Value]) -> String {
    let fields = [
        "ts",
        "uid",
        "id.orig_h",
        "id.orig_p",
        "id.resp_h",
        "id.resp_p",
        "trans_depth",
        "method",
        "host",
        "uri",
        "version",
        "user_agent",
        "request_body_len",
        "response_body_len",
        "status_code",
        "proxied",
    ];
    let mut text = format!(
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\thttp\n#fields\t{}\n",
        fields.join("\t")
    );
    for call in calls.iter().filter(has_request) {
        let line: Value = serde_json::from_str(&zeek(call)).expect("JSON");
        let row = fields.map(|field| match &line[field] {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.replace('\\', "\\\\").replace('\t', "\\x09"),
            Value::Array(list) => list[0].as_str().expect("a text").replace(',', "\\x2c"),
            Value::Number(number) if field == "ts" => format!("{:.6}", number.as_f64().expect("a number")),
            other => other.to_string(),
        });
        text.push_str(&row.join("\t"));
        text.push('\n');
    }
    text
}

fn eve(call: &Value) -> String {
    let mut http = json!({
        "hostname": call["host"], "url": call["target"], "http_method": call["method"],
        "protocol": format!("HTTP/{}", call["version"].as_str().expect("a version")),
        "length": call["response"]["body_bytes"],
        "request_headers": [{"name": "Accept", "value": "*/*"}],
    });
    for (name, value) in [("status", call.get("status")), ("http_user_agent", call.get("user_agent"))] {
        if let Some(value) = value {
            http[name] = value.clone();
        }
    }
    if let Some(hops) = hops(call) {
        http["request_headers"] = json!([{"name": "X-Forwarded-For", "value": hops}]);
    }
    let time = moment(&call["end_time"]).strftime("%Y-%m-%dT%H:%M:%S.%6f+0000").to_string();
    let flow = u64::from_str_radix(call["flow"].as_str().expect("a flow"), 16).expect("hexadecimal");
    json!({
        "timestamp": time, "flow_id": flow, "event_type": "http", "proto": "TCP", "tx_id": call["position"],
        "src_ip": call["client"]["ip"], "src_port": call["client"]["port"],
        "dest_ip": call["server"]["ip"], "dest_port": call["server"]["port"], "http": http,
    })
    .to_string()
}

fn combined(call: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").replace('\\', "\\x5C").replace('"', "\\x22");
    let status = call.get("status").map_or("499".to_owned(), Value::to_string);
    format!(
        "{}:80 {} - - [{}] \"{} {} HTTP/{}\" {status} {} \"-\" \"{}\" \"{}\"",
        text(&call["host"]),
        text(&call["client"]["ip"]),
        moment(&call["end_time"]).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        text(&call["method"]),
        text(&call["target"]),
        text(&call["version"]),
        call["response"]["wire_bytes"],
        text(&call["user_agent"]),
        hops(call).unwrap_or_else(|| "-".into()),
    )
}

fn text_of(calls: &[Value], line: fn(&Value) -> String) -> String {
    calls.iter().filter(has_request).map(|call| line(call) + "\n").collect()
}

/// Kind and client, or endpoint, of each alert.
fn subjects(alerts: &[Value]) -> BTreeSet<String> {
    let text = |alert: &Value| format!("{} {} {}", alert["kind"], alert["client"]["ip"], alert["endpoint"]["template"]);
    alerts.iter().map(text).collect()
}

#[test]
fn the_same_traffic_as_others_log_it_shows_the_same_recon() {
    let folder = Folder::new("records");
    let calls = calls(&folder);
    let whole = subjects(&folder.run("replay", &[&fixture()[..], PROXY[0], PROXY[1]]).lines());
    let recon = |subjects: &BTreeSet<String>| {
        subjects.iter().filter(|subject| subject.contains("recon.path_enumeration")).cloned().collect::<Vec<_>>()
    };
    assert!(!recon(&whole).is_empty());
    fs::write(folder.path("zeek.log"), text_of(&calls, zeek)).expect("a file");
    fs::write(folder.path("tabs.log"), zeek_tabs(&calls)).expect("a file");
    fs::write(folder.path("eve.json"), text_of(&calls, eve)).expect("a file");
    fs::write(folder.path("access.log"), text_of(&calls, combined)).expect("a file");
    for (name, format) in [("zeek.log", "zeek"), ("tabs.log", "zeek"), ("eve.json", "eve"), ("access.log", "combined")]
    {
        let run = folder.run("detect", &[name, PROXY[0], PROXY[1], "--json-summary"]);
        assert_eq!(run.code, Some(0), "{name}: {}", run.stderr);
        let counters = &run.summary()["counters"];
        assert_eq!(counters["calls_unreadable"], Value::Null, "{name}: {counters}");
        assert_eq!(counters["records"].as_u64(), Some(calls.iter().filter(has_request).count() as u64), "{name}");
        let found = subjects(&run.lines());
        assert_eq!(recon(&found), recon(&whole), "{name}");
        let accused: Vec<_> = found.difference(&whole).collect();
        assert!(accused.is_empty(), "{name} accuses for what it does not know: {accused:?}");
        let named = folder.run("detect", &[name, PROXY[0], PROXY[1], "--format", format]);
        assert!(named.stdout == run.stdout, "{name}: recognised and named differ");
    }
    assert_eq!(folder.run("detect", &["zeek.log", PROXY[0], PROXY[1]]).stdout, {
        folder.run("detect", &["tabs.log", PROXY[0], PROXY[1]]).stdout
    });
}

#[test]
fn disorder_and_two_workers_give_the_same_alerts() {
    let folder = Folder::new("workers");
    let calls = calls(&folder);
    let lines: Vec<String> = calls.iter().filter(has_request).map(eve).collect();
    fs::write(folder.path("whole.json"), lines.join("\n")).expect("a file");
    let whole = folder.run("detect", &["whole.json", PROXY[0], PROXY[1]]);
    assert!(!whole.stdout.is_empty());

    // Each line moves by up to some hundred places.
    let mut moved: Vec<_> = lines.iter().enumerate().map(|(place, line)| (place + place * 7919 % 397, line)).collect();
    moved.sort_by_key(|(place, _)| *place);
    let moved: Vec<&str> = moved.into_iter().map(|(_, line)| line.as_str()).collect();
    fs::write(folder.path("moved.json"), moved.join("\r\n")).expect("a file");
    let run = folder.run("detect", &["moved.json", PROXY[0], PROXY[1], "--json-summary"]);
    assert!(run.stdout == whole.stdout, "disorder changes the alerts");
    assert_eq!(run.summary()["counters"]["records_late"], Value::Null);

    for worker in 0..3 {
        let part: Vec<_> = moved.iter().skip(worker).step_by(3).copied().collect();
        let packed = zstd::encode_all(part.join("\n").as_bytes(), 1).expect("memory");
        fs::write(folder.path(&format!("{worker}.zst")), packed).expect("a file");
    }
    let parts = folder.run("detect", &["2.zst", "0.zst", "1.zst", PROXY[0], PROXY[1]]);
    assert!(parts.stdout == whole.stdout, "workers change the alerts");

    let mut command = folder.apitap("detect", &["-", PROXY[0], PROXY[1]]);
    command.stdin(fs::File::open(folder.path("moved.json")).expect("a file"));
    let piped = support::Run::of(command.output().expect("the binary starts"));
    assert!(piped.stdout == whole.stdout, "a pipe changes the alerts");
}

#[test]
fn apitaps_own_lines_in_parts_are_those_of_the_whole() {
    let folder = Folder::new("own-lines");
    let whole = folder.run("replay", &[&fixture()[..], PROXY[0], PROXY[1]]);
    let lines = folder.run("calls", &[&fixture()[..], "--quiet"]).stdout;
    let lines: Vec<&[u8]> = lines.split_inclusive(|&byte| byte == b'\n').collect();
    for part in 0..2 {
        fs::write(
            folder.path(&part.to_string()),
            lines.iter().skip(part).step_by(2).copied().collect::<Vec<_>>().concat(),
        )
        .expect("a file");
    }
    assert!(folder.run("detect", &["1", "0", PROXY[0], PROXY[1]]).stdout == whole.stdout);
    fs::write(folder.path("bad"), [lines[0], b"{\"schema\":\"apitap.call.v1\"\n", lines[1]].concat()).expect("a file");
    let bad = folder.run("detect", &["bad", "absent", "--format", "apitap"]);
    assert_eq!(bad.code, Some(1));
    assert!(bad.stderr.contains("bad: line 2: ") && bad.stderr.contains("absent: "), "{}", bad.stderr);
}
