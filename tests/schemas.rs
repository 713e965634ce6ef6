//! What is printed keeps to the schemas that `apitap schema` prints, and has nothing that they do not tell of.

mod support;

use support::{Folder, check, fixture, shared, strict};

/// Checks all records of captures; gives how many calls and connections there were.
fn records(folder: &Folder, captures: &[String]) -> (usize, usize) {
    let (call, connection) = (strict(folder, "call"), strict(folder, "connection"));
    let (mut calls, mut connections) = (0, 0);
    for chunk in captures.chunks(50) {
        let mut arguments = vec!["--quiet", "--shapes"];
        arguments.extend(chunk.iter().map(String::as_str));
        for line in folder.run("calls", &arguments).lines() {
            match line["schema"].as_str() {
                Some("apitap.call.v1") => {
                    check(&call, &line);
                    calls += 1;
                }
                _ => {
                    check(&connection, &line);
                    connections += 1;
                }
            }
        }
    }
    (calls, connections)
}

#[test]
fn alerts_keep_to_their_schema() {
    let folder = Folder::new("schema-alerts");
    let validator = strict(&folder, "alert");
    let arguments = ["--quiet", "--trusted-proxy", "10.20.0.5", "--evidence", "kept", &fixture()];
    let lines = folder.run("replay", &arguments).lines();
    assert!(lines.len() >= 3);
    lines.iter().for_each(|line| check(&validator, line));
    assert!(lines[0]["capture"]["file"].is_string());
    let mut wrong = lines[0].clone();
    wrong["severity"] = "odd".into();
    assert!(!validator.is_valid(&wrong));
    wrong = lines[0].clone();
    wrong["unheard_of"] = 1.into();
    assert!(!validator.is_valid(&wrong));
}

#[test]
fn calls_and_connections_keep_to_theirs() {
    let folder = Folder::new("schema-calls");
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let tls = fixtures.join("tls/python-node.pcap").display().to_string();
    let (calls, connections) =
        records(&folder, &[fixture(), fixtures.join("websocket.pcap").display().to_string(), tls]);
    assert!(calls > 100 && connections > 0, "{calls} {connections}");
}

#[test]
fn so_do_findings_and_events() {
    let folder = Folder::new("schema-news");
    let arguments =
        ["--quiet", "--trusted-proxy", "10.20.0.5", "--findings", "--events", "--learning", "60", &fixture()];
    let lines = folder.run("replay", &arguments).lines();
    for (name, schema) in [("finding", "apitap.finding.v1"), ("event", "apitap.event.v1")] {
        let validator = strict(&folder, name);
        let all: Vec<_> = lines.iter().filter(|line| line["schema"] == schema).collect();
        assert!(!all.is_empty(), "{name}");
        all.iter().for_each(|line| check(&validator, line));
        refuses(&validator, all[0]);
    }
}

#[test]
fn so_does_what_is_told_of_the_inventory() {
    let folder = Folder::new("schema-inventory");
    let capture = fixture();
    let apis = |arguments: &[&str]| {
        let run = folder.run("apis", &[&["--trusted-proxy", "10.20.0.5", &capture], arguments].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let all = serde_json::Deserializer::from_slice(&run.stdout).into_iter();
        all.map(|value| value.expect("a JSON value")).collect::<Vec<serde_json::Value>>()
    };
    let review =
        "[[endpoint]]\nservice = \"**\"\nowner = \"us\"\nnote = \"all of it\"\ninternal = true\nsensitive = true\n";
    std::fs::write(folder.path("review.toml"), review).expect("a file");
    let mut endpoints = apis(&["--json", "--review", "review.toml"]);
    keeps(&folder, "endpoint", &endpoints);
    assert!(endpoints.iter().all(|one| one["reviewed"]["owner"] == "us"));
    keeps(&folder, "conformance", &apis(&["--json", "--review", "review.toml", "--findings"]));
    keeps(&folder, "graph", &apis(&["--graph", "json"]));

    // Before, there was another endpoint, and others had neither fields nor parameters.
    endpoints[0]["template"] = "/gone".into();
    for one in endpoints.iter_mut().skip(1).step_by(2) {
        let known = one.as_object_mut().expect("an endpoint");
        known.insert("parameters".to_owned(), serde_json::json!([]));
        known.remove("response");
    }
    let text: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    std::fs::write(folder.path("before.jsonl"), text.join("\n")).expect("a file");
    keeps(&folder, "change", &apis(&["--json", "--diff", "before.jsonl"]));

    let specification = r#"{"openapi":"3.1.0","security":[{"key":[]}],"paths":{"/v1/products":{"get":{
        "parameters":[{"in":"query","name":"absent","required":true}],
        "responses":{"200":{"content":{"application/json":{"schema":{"type":"object","additionalProperties":false,
        "required":["other"]}}}}}}},"/never":{"get":{}}},
        "components":{"securitySchemes":{"key":{"type":"apiKey","in":"query","name":"k"}}}}"#;
    std::fs::write(folder.path("spec.json"), specification).expect("a file");
    keeps(&folder, "conformance", &apis(&["--json", "--spec", "spec.json"]));
}

/// That there are lines of some kind, that all keep to their schema, and that it says what they are.
fn keeps(folder: &Folder, of: &str, lines: &[serde_json::Value]) {
    let validator = strict(folder, of);
    assert!(!lines.is_empty(), "{of}");
    lines.iter().for_each(|line| check(&validator, line));
    refuses(&validator, &lines[0]);
}

/// That a schema has no room for what it does not name, nor for another version.
fn refuses(validator: &jsonschema::Validator, line: &serde_json::Value) {
    for key in ["unheard_of", "schema"] {
        let mut wrong = line.clone();
        wrong[key] = "odd".into();
        assert!(!validator.is_valid(&wrong), "{key}: {wrong}");
    }
}

#[test]
fn so_do_those_of_the_corpus() {
    let Some(corpus) = shared("corpus") else { return };
    let folder = Folder::new("schema-corpus");
    let mut captures = Vec::new();
    let mut folders = vec![corpus];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(at).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains(".pcap") {
                captures.push(path.display().to_string());
            }
        }
    }
    captures.sort();
    // One by one would take long, and all together would put flows of different captures into one.
    let (calls, _) = records(&folder, &captures);
    assert!(calls > 1_000, "{calls}");
}
