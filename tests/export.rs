//! Calls for other tools: selections of them, and HAR archives as those who read them expect.

mod support;

use serde_json::Value;
use support::{Folder, fixture};

const PROXY: [&str; 2] = ["--trusted-proxy", "10.20.0.5"];

/// What HAR 1.2 asks of an object: names, each with its kind; `?` behind the name of what may be absent.
fn check(value: &Value, shape: &[(&str, &str)], place: &str) {
    let object = value.as_object().unwrap_or_else(|| panic!("{place} is no object: {value}"));
    for &(name, kind) in shape {
        let (name, optional) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
        let Some(field) = object.get(name) else {
            assert!(optional, "{place}.{name} is missing");
            continue;
        };
        let fits = match kind {
            "text" => field.is_string(),
            "number" => field.is_number(),
            "integer" => field.is_i64() || field.is_u64(),
            "object" => field.is_object(),
            "list" => field.is_array(),
            // ISO 8601, with the offset.
            "time" => {
                field.as_str().is_some_and(|text| text.len() >= 20 && &text[10..11] == "T" && text.ends_with('Z'))
            }
            kind => panic!("{kind}"),
        };
        assert!(fits, "{place}.{name} is no {kind}: {field}");
    }
    for name in object.keys().filter(|name| !name.starts_with('_')) {
        let known = shape.iter().any(|(known, _)| known.trim_end_matches('?') == name);
        assert!(known, "{place}.{name} is no field of HAR 1.2");
    }
}

fn pairs(list: &Value, place: &str) {
    for pair in list.as_array().unwrap_or_else(|| panic!("{place}: {list}")) {
        check(pair, &[("name", "text"), ("value", "text"), ("comment?", "text")], place);
    }
}

/// Checks an archive against HAR 1.2, and gives its entries.
fn entries(text: &[u8]) -> Vec<Value> {
    let archive: Value = serde_json::from_slice(text).expect("one JSON document");
    check(&archive, &[("log", "object")], "archive");
    let log = &archive["log"];
    let parts =
        [("version", "text"), ("creator", "object"), ("browser?", "object"), ("pages?", "list"), ("entries", "list")];
    check(log, &parts, "log");
    assert_eq!(log["version"], "1.2");
    check(&log["creator"], &[("name", "text"), ("version", "text")], "creator");
    let entries = log["entries"].as_array().cloned().unwrap_or_default();
    for entry in &entries {
        let parts = [
            ("startedDateTime", "time"),
            ("time", "number"),
            ("request", "object"),
            ("response", "object"),
            ("cache", "object"),
            ("timings", "object"),
            ("serverIPAddress?", "text"),
            ("connection?", "text"),
        ];
        check(entry, &parts, "entry");
        let parts = [
            ("method", "text"),
            ("url", "text"),
            ("httpVersion", "text"),
            ("cookies", "list"),
            ("headers", "list"),
            ("queryString", "list"),
            ("postData?", "object"),
            ("headersSize", "integer"),
            ("bodySize", "integer"),
        ];
        check(&entry["request"], &parts, "request");
        let parts = [
            ("status", "integer"),
            ("statusText", "text"),
            ("httpVersion", "text"),
            ("cookies", "list"),
            ("headers", "list"),
            ("content", "object"),
            ("redirectURL", "text"),
            ("headersSize", "integer"),
            ("bodySize", "integer"),
        ];
        check(&entry["response"], &parts, "response");
        let parts = [("size", "integer"), ("mimeType", "text"), ("compression?", "integer"), ("comment?", "text")];
        check(&entry["response"]["content"], &parts, "content");
        if let Some(data) = entry["request"].get("postData") {
            let parts = [("mimeType", "text"), ("params", "list"), ("text", "text"), ("comment?", "text")];
            check(data, &parts, "postData");
        }
        for (list, place) in [
            (&entry["request"]["headers"], "headers"),
            (&entry["request"]["queryString"], "queryString"),
            (&entry["request"]["cookies"], "cookies"),
            (&entry["response"]["headers"], "headers"),
        ] {
            pairs(list, place);
        }
        let names = ["blocked?", "dns?", "connect?", "ssl?", "send", "wait", "receive"];
        check(&entry["timings"], &names.map(|name| (name, "number")), "timings");
        let sum: f64 = ["send", "wait", "receive"].iter().filter_map(|name| entry["timings"][name].as_f64()).sum();
        assert!((entry["time"].as_f64().unwrap_or(-1.0) - sum).abs() < 0.01, "{entry}");
        let url = entry["request"]["url"].as_str().unwrap_or_default();
        assert!(url.starts_with("http://") && url.bytes().all(|byte| byte.is_ascii_graphic()), "{url}");
    }
    entries
}

#[test]
fn an_archive_is_valid_and_holds_no_values() {
    let folder = Folder::new("har");
    let run = folder.run("calls", &[&fixture(), "--format", "har"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let all = entries(&run.stdout);
    let calls = folder.run("calls", &[&fixture()]).lines();
    let calls: Vec<_> = calls.iter().filter(|line| line["schema"] == "apitap.call.v1").collect();
    assert_eq!(all.len(), calls.len());
    for (entry, call) in all.iter().zip(&calls) {
        assert_eq!(entry["request"]["method"], call["method"]);
        assert_eq!(entry["response"]["content"]["size"], call["response"]["body_bytes"]);
        assert_eq!(entry["_apitap"]["flow"], call["flow"]);
    }
    let secured = all.iter().filter_map(|entry| entry["request"]["headers"].as_array()).flatten();
    let values: Vec<_> = secured.filter(|header| header["name"] == "Authorization").map(|one| &one["value"]).collect();
    assert!(!values.is_empty() && values.iter().all(|value| **value == "Bearer ***"), "{:?}", values.first());
    let other = folder.run("calls", &[&fixture(), "--format", "har", "--workers", "3"]);
    assert_eq!(other.stdout, run.stdout);
    let none = folder.run("calls", &[&fixture(), "--format", "har", "--service", "nowhere"]);
    assert_eq!((none.code, entries(&none.stdout).len()), (Some(0), 0));
}

#[test]
fn calls_are_selected() {
    let folder = Folder::new("selection");
    let capture = fixture();
    let all = folder.run("calls", &[&capture[..]]);
    std::fs::write(folder.path("calls.jsonl"), &all.stdout).expect("a file");
    let count = |options: &[&str]| {
        let run = folder.run("calls", &[&[&capture[..], PROXY[0], PROXY[1]], options].concat());
        assert_eq!(run.code, Some(0), "{options:?}: {}", run.stderr);
        let again = folder.run("calls", &[&["calls.jsonl", "--calls", PROXY[0], PROXY[1]], options].concat());
        assert_eq!(again.stdout, run.stdout, "{options:?} out of printed calls: {}", again.stderr);
        run.lines().len()
    };
    let lines = all.lines();
    let expected = |fits: &dyn Fn(&Value) -> bool| lines.iter().filter(|line| fits(line)).count();
    let status = |line: &Value| line["status"].as_u64().unwrap_or_default();
    let path = |line: &Value| line["path"].as_str().unwrap_or_default().to_owned();
    assert_eq!(count(&[]), lines.len());
    assert_eq!(count(&["--status", "4xx"]), expected(&|line| (400..500).contains(&status(line))));
    assert_eq!(count(&["--status", "404,5xx"]), expected(&|line| status(line) == 404 || status(line) >= 500));
    assert_eq!(count(&["--service", "identity-api.*"]), expected(&|line| line["host"] == "identity-api.example"));
    let product = |line: &Value| path(line).starts_with("/v1/products/") && path(line).matches('/').count() == 3;
    let products = expected(&|line| line["method"] == "GET" && product(line));
    assert!(products > 10);
    assert_eq!(count(&["--endpoint", "GET /v1/products/{id}"]), products);
    let middle = lines[lines.len() / 2]["end_time"].as_str().expect("a time").to_owned();
    let before = expected(&|line| line["end_time"].as_str().is_some_and(|time| time < middle.as_str()));
    assert_eq!((count(&["--until", &middle]), count(&["--since", &middle])), (before, lines.len() - before));
    let scanner = count(&["--client", "198.19.182.153"]);
    assert!(scanner > 0 && scanner < lines.len());
    let wrong = folder.run("calls", &[&capture[..], "--status", "abc"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("is no status"), "{}", wrong.stderr);
}
