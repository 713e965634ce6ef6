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
