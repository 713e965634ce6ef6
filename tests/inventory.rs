//! The inventory as it is used: its forms, what other tools make of its OpenAPI, drift, specifications, order.

#[path = "support/load.rs"]
mod load;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;

use load::{HONEST, Wire};
use serde_json::{Value, json};
use support::{Folder, fixture};

const PROXY: [&str; 2] = ["--trusted-proxy", "10.20.0.5"];

/// A Python that has this module: the one that `APITAP_PYTHON` names, or `python3`. None, with a word why, where neither has.
fn python(module: &str) -> Option<String> {
    let python = std::env::var("APITAP_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if found.is_ok_and(|found| found.status.success()) {
        return Some(python);
    }
    println!("skipped: {python} has no module {module}; APITAP_PYTHON may name another");
    None
}

fn endpoints(lines: &[Value]) -> BTreeSet<String> {
    lines.iter().map(|line| format!("{} {} {}", line["method"], line["host"], line["template"])).collect()
}

#[test]
fn endpoints_have_parameters_bodies_statuses_and_callers() {
    let folder = Folder::new("inventory");
    let run = folder.run("apis", &[&fixture()[..], PROXY[0], PROXY[1], "--json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let lines = run.lines();
    let product =
        lines.iter().find(|line| line["method"] == "GET" && line["template"] == "/v1/products/{id}").expect("products");
    assert_eq!(product["schema"], "apitap.endpoint.v1");
    assert_eq!(product["parameters"][0]["in"], "path");
    assert_eq!(product["parameters"][0]["name"], "product_id");
    assert!(product["statuses"]["200"].as_u64() > Some(10), "{product}");
    assert_eq!(product["response"]["media"][0], "application/json");
    let fields = &product["response"]["body"]["fields"];
    assert_eq!(fields["id"]["types"][0], "integer", "{product}");
    assert_eq!(fields["name"]["types"][0], "string");
    assert!(product["latency"]["p50"].as_f64() > Some(0.0) && product["http"][0] == "1.1");
    assert!(product["servers"][0].as_str().is_some_and(|server| server.ends_with(":8080")), "{product}");
    // The same to the byte, however many workers.
    let two = folder.run("apis", &[&fixture()[..], PROXY[0], PROXY[1], "--json", "--workers", "3"]);
    assert_eq!(two.stdout, run.stdout);
    let one = folder.run("apis", &[&fixture()[..], PROXY[0], PROXY[1], "--json", "--service", "identity-api.example"]);
    assert!(one.lines().iter().all(|line| line["host"] == "identity-api.example") && !one.stdout.is_empty());
}

#[test]
fn no_value_of_the_traffic_is_told() {
    let folder = Folder::new("values");
    let calls = folder.run("calls", &[&fixture()[..], "--shapes"]);
    assert!(calls.lines().iter().any(|call| call["shape"]["response"]["nodes"].is_array()));
    let shapes: String = calls.lines().iter().map(|call| call["shape"].to_string()).collect();
    let apis = folder.run("apis", &[&fixture()[..], PROXY[0], PROXY[1], "--format", "openapi"]);
    let text = String::from_utf8(apis.stdout).expect("UTF-8");
    // Mail addresses and article numbers are in many bodies of this capture.
    for value in [".example\"", "SKU-0", "@mail"] {
        assert!(!shapes.contains(value), "{value} is in a shape");
    }
    for value in ["SKU-0", "@mail", " Street"] {
        assert!(!text.contains(value), "{value} is in the document");
    }
}

#[test]
fn calls_in_any_order_give_the_same_endpoints() {
    let folder = Folder::new("order");
    let calls = folder.run("calls", &[&fixture()[..], "--shapes"]);
    let text = String::from_utf8(calls.stdout).expect("UTF-8");
    let mut lines: Vec<&str> = text.lines().collect();
    fs::write(folder.path("in-order.jsonl"), lines.join("\n")).expect("a file");
    // A fixed permutation: by a hash of the place.
    let mut places: Vec<(u64, &str)> = (0u64..)
        .zip(&lines)
        .map(|(place, line)| (place.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ place << 7, *line))
        .collect();
    places.sort_unstable();
    lines = places.into_iter().map(|(_, line)| line).collect();
    fs::write(folder.path("shuffled.jsonl"), lines.join("\n")).expect("a file");
    let of = |file: &str| {
        let run = folder.run("apis", &["--calls", file, PROXY[0], PROXY[1], "--json"]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        endpoints(&run.lines())
    };
    let direct = folder.run("apis", &[&fixture()[..], PROXY[0], PROXY[1], "--json"]);
    assert_eq!(of("in-order.jsonl"), endpoints(&direct.lines()));
    assert_eq!(of("shuffled.jsonl"), of("in-order.jsonl"));
}

#[test]
fn the_document_is_valid_and_other_tools_read_it() {
    let folder = Folder::new("openapi");
    for (file, service) in [("all.json", None), ("shop.json", Some("shop-api.example"))] {
        let capture = fixture();
        let mut arguments = vec![&capture[..], PROXY[0], PROXY[1], "--format", "openapi"];
        arguments.extend(service.iter().flat_map(|service| ["--service", *service]));
        let run = folder.run("apis", &arguments);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let document: Value = serde_json::from_slice(&run.stdout).expect("one document");
        assert_eq!(document["openapi"], "3.1.0");
        assert!(document["paths"]["/v1/products/{product_id}"]["get"]["responses"]["200"].is_object(), "{document}");
        fs::write(folder.path(file), &run.stdout).expect("a file");
    }
    if let Some(python) = python("openapi_spec_validator") {
        for file in ["all.json", "shop.json"] {
            let run = Command::new(&python).args(["-m", "openapi_spec_validator"]).arg(folder.path(file)).output();
            let run = run.expect("it starts");
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
        }
    }
    if let Some(python) = python("schemathesis") {
        let script = "import schemathesis, sys\n\
            schema = schemathesis.openapi.from_path(sys.argv[1])\n\
            names = [operation.ok().label for operation in schema.get_all_operations()]\n\
            print(len(names))";
        for file in ["all.json", "shop.json"] {
            let run = Command::new(&python).args(["-c", script]).arg(folder.path(file)).output().expect("it starts");
            let count: usize = String::from_utf8_lossy(&run.stdout).trim().parse().unwrap_or_default();
            assert!(run.status.success() && count > 20, "{count}: {}", String::from_utf8_lossy(&run.stderr));
        }
    }
}

#[test]
fn what_was_seen_fits_the_document_that_was_made_of_it() {
    let folder = Folder::new("self");
    let capture = fixture();
    let document = folder.run("apis", &[&capture[..], PROXY[0], PROXY[1], "--format", "openapi"]);
    fs::write(folder.path("made.json"), &document.stdout).expect("a file");
    let checked =
        folder.run("apis", &[&capture[..], PROXY[0], PROXY[1], "--spec", "made.json", "--fail-on-finding", "--json"]);
    assert_eq!((checked.code, checked.lines()), (Some(0), Vec::new()), "{}", checked.stderr);

    // Without a path, with another deprecated, and with a field fewer.
    let mut document: Value = serde_json::from_slice(&document.stdout).expect("one document");
    let paths = document["paths"].as_object_mut().expect("paths");
    paths.remove("/v1/cart");
    paths["/v1/products/{product_id}"]["get"]["deprecated"] = true.into();
    let fields = &mut paths["/v1/products"]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    fields["properties"].as_object_mut().expect("fields").remove("total");
    fields["required"] = serde_json::json!([]);
    fs::write(folder.path("other.json"), document.to_string()).expect("a file");
    let checked =
        folder.run("apis", &[&capture[..], PROXY[0], PROXY[1], "--spec", "other.json", "--fail-on-finding", "--json"]);
    assert_eq!(checked.code, Some(3), "{}", checked.stderr);
    let kinds: BTreeSet<_> = checked
        .lines()
        .iter()
        .map(|finding| {
            format!("{} {}", finding["kind"].as_str().unwrap_or_default(), finding["what"].as_str().unwrap_or_default())
        })
        .collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["field_unspecified total", "shadow ", "zombie "]);
    let absent = folder.run("apis", &[&capture[..], "--spec", "absent.yaml"]);
    assert_eq!(absent.code, Some(1));
    assert!(absent.stderr.contains("absent.yaml"), "{}", absent.stderr);
}

#[test]
fn an_inventory_is_saved_and_compared_with() {
    let folder = Folder::new("drift");
    let capture = fixture();
    let saved = folder.run("apis", &[&capture[..], PROXY[0], PROXY[1], "--json", "--save", "before.jsonl"]);
    assert_eq!(fs::read(folder.path("before.jsonl")).ok(), Some(saved.stdout.clone()));
    let same = folder.run("apis", &[&capture[..], PROXY[0], PROXY[1], "--diff", "before.jsonl"]);
    assert_eq!((same.code, same.stdout.len()), (Some(0), 0), "{}", same.stderr);

    // Before, there was one more endpoint, and one less.
    let text = String::from_utf8(saved.stdout).expect("UTF-8");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let removed = lines.remove(0);
    lines.push(removed.replacen("\"template\":\"/", "\"template\":\"/gone-", 1));
    fs::write(folder.path("before.jsonl"), lines.join("\n")).expect("a file");
    let changed = folder
        .run("apis", &[&capture[..], PROXY[0], PROXY[1], "--diff", "before.jsonl", "--json", "--fail-on-finding"]);
    assert_eq!(changed.code, Some(3), "{}", changed.stderr);
    let kinds: Vec<_> =
        changed.lines().iter().map(|change| (change["kind"].clone(), change["breaking"].clone())).collect();
    assert!(
        kinds.contains(&("endpoint_gone".into(), true.into()))
            && kinds.contains(&("endpoint_new".into(), false.into()))
    );
    // An endpoint that is answered without a credential since concerns security.
    let secured = text.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).expect("a line");
        let auth = line["auth"].as_object_mut().expect("credentials");
        if let Some(none) = auth.remove("none") {
            auth.insert("basic".to_owned(), none);
        }
        line.to_string()
    });
    fs::write(folder.path("before.jsonl"), secured.collect::<Vec<_>>().join("\n")).expect("a file");
    let opened = folder
        .run("apis", &[&capture[..], PROXY[0], PROXY[1], "--diff", "before.jsonl", "--json", "--fail-on-finding"]);
    assert_eq!(opened.code, Some(3), "{}", opened.stderr);
    assert!(opened.lines().iter().all(|change| change["breaking"] == false));
    fs::write(folder.path("before.jsonl"), "{}").expect("a file");
    let wrong = folder.run("apis", &[&capture[..], "--diff", "before.jsonl"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("before.jsonl") && wrong.stderr.contains("line 1"), "{}", wrong.stderr);
}

#[test]
fn what_a_run_reads_is_not_saved_over() {
    let folder = Folder::new("saving");
    let calls = (0..12).map(|_| (get("/v1/things"), "{}".to_owned()));
    capture(&folder, "a.pcap", calls).expect("a capture");
    let specification = r##"{"openapi":"3.1.0","paths":{"/v1/things":{"get":{"responses":{"200":{"content":
        {"application/json":{"schema":{"$ref":"thing.json#/thing"}}}}}}}}}"##;
    for (name, text) in [("spec.json", specification), ("thing.json", r#"{"thing":{}}"#), ("review.toml", "")] {
        fs::write(folder.path(name), text).expect("a file");
    }
    fs::create_dir(folder.path("captures")).expect("a folder");
    fs::copy(folder.path("a.pcap"), folder.path("captures/a.pcap")).expect("a copy");
    std::os::unix::fs::symlink("review.toml", folder.path("link.toml")).expect("a link");
    fs::copy(folder.path("a.pcap"), folder.path("b.jsonl.new")).expect("a copy");
    let names = ["a.pcap", "spec.json", "thing.json", "review.toml", "captures/a.pcap", "b.jsonl.new"];
    let held = || names.map(|name| fs::read(folder.path(name)).expect("it is there"));
    let before = held();
    for (arguments, told) in [
        (&["a.pcap", "--save", "a.pcap"][..], "the input a.pcap"),
        (&["a.pcap", "--save", "./captures/../a.pcap"], "the input a.pcap"),
        (&["captures", "--save", "captures/a.pcap"], "the input captures"),
        (&["a.pcap", "--spec", "spec.json", "--save", "spec.json"], "--spec spec.json"),
        (&["a.pcap", "--spec", "spec.json", "--save", "thing.json"], "thing.json"),
        (&["a.pcap", "--review", "review.toml", "--save", "review.toml"], "--review review.toml"),
        (&["a.pcap", "--review", "review.toml", "--save", "link.toml"], "--review review.toml"),
        (&["b.jsonl.new", "--save", "b.jsonl"], "the input b.jsonl.new"),
        (&["a.pcap", "--save", "captures"], "what is there is no file"),
    ] {
        let run = folder.run("apis", arguments);
        assert_eq!((run.code, run.stdout.len()), (Some(2), 0), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains("--save") && run.stderr.contains(told), "{arguments:?}: {}", run.stderr);
    }
    assert!(before == held(), "nothing has changed");
    // What it is compared with may be replaced, and so may what an earlier run saved.
    for arguments in [&["a.pcap", "--save", "c.jsonl"][..], &["a.pcap", "--diff", "c.jsonl", "--save", "c.jsonl"]] {
        let run = folder.run("apis", arguments);
        assert_eq!(run.code, Some(0), "{arguments:?}: {}", run.stderr);
    }
}

#[test]
fn what_people_say_is_respected_and_their_file_is_left_alone() {
    let folder = Folder::new("review");
    let capture = fixture();
    let made = folder.run("apis", &[&capture[..], PROXY[0], PROXY[1], "--review-template"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let all = folder.run("apis", &[&capture[..], PROXY[0], PROXY[1], "--json"]).lines();
    let template = String::from_utf8(made.stdout).expect("UTF-8");
    assert_eq!(template.matches("[[endpoint]]").count(), all.len());
    fs::write(folder.path("all.toml"), &template).expect("a file");
    let none = folder.run("apis", &[&capture[..], PROXY[0], PROXY[1], "--review", "all.toml", "--review-template"]);
    assert_eq!((none.code, none.stdout.len()), (Some(0), 0), "{}", none.stderr);

    let text = "# what people wrote\n[[endpoint]]\nservice = \"identity-api.*\"\nignore = true\n\n\
        [[endpoint]]\nservice = \"shop-api.example\"\nowner = \"shop\"\ninternal = true\n\n\
        [[endpoint]]\nservice = \"nowhere.example\"\nowner = \"nobody\"\n";
    fs::write(folder.path("review.toml"), text).expect("a file");
    let review = [&capture[..], PROXY[0], PROXY[1], "--review", "review.toml"];
    let told = folder.run("apis", &[&review[..], &["--json", "--fail-on-finding"]].concat());
    assert_eq!(told.code, Some(3), "clients are outside: {}", told.stderr);
    assert!(told.stderr.contains("internal_called  GET shop-api.example/v1/products"), "{}", told.stderr);
    assert!(told.stderr.contains("review.toml:11: no endpoint fits this entry"), "{}", told.stderr);
    let lines = told.lines();
    assert!(!lines.is_empty() && lines.iter().all(|line| line["host"] != "identity-api.example"));
    assert!(
        lines.iter().filter(|line| line["host"] == "shop-api.example").all(|one| one["reviewed"]["owner"] == "shop")
    );
    let findings = folder.run("apis", &[&review[..], &["--findings", "--json"]].concat()).lines();
    assert!(findings.iter().any(|finding| finding["kind"] == "internal_called"));
    assert_eq!(findings.iter().filter(|finding| finding["kind"] == "entry_unmatched").count(), 1);
    let table = folder.run("apis", &review);
    let head = String::from_utf8_lossy(&table.stdout).lines().next().unwrap_or_default().to_owned();
    assert!(head.ends_with("OWNER  NOTE"), "{head}");
    assert_eq!(fs::read_to_string(folder.path("review.toml")).expect("it is there"), text);

    fs::write(folder.path("review.toml"), "[[endpoint]]\nservice = \"a\"\nowner = 3\n").expect("a file");
    let wrong = folder.run("apis", &review);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("review.toml:3: owner: "), "{}", wrong.stderr);
}

#[test]
fn what_is_new_is_the_same_with_any_number_of_workers_and_out_of_calls() {
    let folder = Folder::new("events");
    let capture = fixture();
    let options = [PROXY[0], PROXY[1], "--events", "--learning", "60"];
    let one = folder.run("replay", &[&[&capture[..], "--workers", "1"], &options[..]].concat());
    assert_eq!(one.code, Some(0), "{}", one.stderr);
    let is_event = |line: &&Value| line["schema"] == "apitap.event.v1";
    let lines = one.lines();
    let events: Vec<_> = lines.iter().filter(is_event).collect();
    assert!(!events.is_empty(), "endpoints that come late are in this capture");
    let three = folder.run("replay", &[&[&capture[..], "--workers", "3"], &options[..]].concat());
    assert_eq!(three.stdout, one.stdout);
    let calls = folder.run("calls", &[&capture[..], "--shapes"]);
    fs::write(folder.path("calls.jsonl"), calls.stdout).expect("a file");
    let detected = folder.run("detect", &[&["calls.jsonl"], &options[..]].concat());
    assert_eq!(detected.stdout, one.stdout);
    // Alerts are what they are without.
    let plain = folder.run("replay", &[&capture[..], PROXY[0], PROXY[1]]).lines();
    let alerts: Vec<_> = lines.iter().filter(|line| !is_event(line)).cloned().collect();
    assert_eq!(alerts, plain);
    // Each once, and none of what is known.
    let keys: BTreeSet<_> = events
        .iter()
        .map(|one| {
            format!(
                "{}{}{}{}{}{}",
                one["kind"], one["host"], one["method"], one["template"], one["field"], one["operation"]
            )
        })
        .collect();
    assert_eq!(keys.len(), events.len());
    folder.run("apis", &[&capture[..], PROXY[0], PROXY[1], "--save", "known.jsonl"]);
    let known =
        folder.run("replay", &[&capture[..], PROXY[0], PROXY[1], "--events", "--baseline", "known.jsonl"]).lines();
    let news: Vec<_> = known.iter().filter(is_event).collect();
    assert!(news.is_empty(), "{news:#?}");
}

/// Writes a capture of calls to `api.example`, half a second after one another: each with a method, a path, the header lines and
/// the body of the request, and a JSON answer.
fn capture(folder: &Folder, name: &str, calls: impl IntoIterator<Item = (String, String)>) -> io::Result<()> {
    let mut wire = Wire::new(io::BufWriter::new(fs::File::create(folder.path(name))?))?;
    for (number, (request, answer)) in (0u32..).zip(calls) {
        wire.wait(500_000);
        let client = SocketAddrV4::new(Ipv4Addr::from(HONEST + 1 + number % 12), 20_000 + number as u16);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
        wire.call(client, request.as_bytes(), format!("{head}{}\r\n\r\n{answer}", answer.len()).as_bytes())?;
    }
    Ok(())
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: api.example\r\n\r\n")
}

fn post(path: &str, media: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: api.example\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// The document of a capture, which the capture has to fit.
fn fitting_document(folder: &Folder, capture: &str) -> Value {
    let document = folder.run("apis", &[capture, "--format", "openapi"]);
    fs::write(folder.path("made.json"), &document.stdout).expect("a file");
    let checked = folder.run("apis", &[capture, "--spec", "made.json", "--json"]);
    assert_eq!((checked.code, checked.lines()), (Some(0), Vec::new()), "{}", checked.stderr);
    serde_json::from_slice(&document.stdout).expect("one document")
}

/// What a document changed by `change` has against a capture: kind and field.
fn misfits(folder: &Folder, capture: &str, document: &Value, change: impl FnOnce(&mut Value)) -> Vec<(String, String)> {
    let mut document = document.clone();
    change(&mut document);
    fs::write(folder.path("changed.json"), document.to_string()).expect("a file");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let checked = folder.run("apis", &[capture, "--spec", "changed.json", "--json"]).lines();
    checked.iter().map(|finding| (text(&finding["kind"]), text(&finding["what"]))).collect()
}

#[test]
fn what_may_be_null_and_what_is_one_of_several() {
    let folder = Folder::new("one-of");
    let bodies = [
        r#"{"id":1,"note":null,"owner":"Ann Adler","lines":[1]}"#,
        r#"{"id":2,"note":"left at the door","owner":{"id":7,"name":"Ann Adler"},"lines":[{"sku":"a b"}]}"#,
        r#"{"id":3,"note":null,"owner":null,"lines":[]}"#,
        r#"{"id":4,"note":"call first","owner":{"id":7}}"#,
    ];
    let calls = (0..48).map(|number| (get(&format!("/v1/orders/{number}")), bodies[number % 4].to_owned()));
    capture(&folder, "orders.pcap", calls).expect("a file");
    let lines = folder.run("apis", &["orders.pcap", "--json"]).lines();
    assert_eq!(endpoints(&lines).len(), 1, "{lines:?}");
    let body = &lines[0]["response"]["body"];
    let fields = &body["fields"];
    assert_eq!(fields["id"], json!({"types": ["integer"]}), "{body}");
    assert_eq!(fields["note"]["types"], json!(["null", "string"]));
    assert_eq!(fields["owner"]["types"], json!(["null", "string", "object"]));
    assert_eq!(fields["owner"]["optional"], Value::Null, "it is always there");
    assert_eq!(fields["owner"]["fields"]["name"]["optional"], true, "{body}");
    assert_eq!(
        (&fields["lines"]["optional"], &fields["lines"]["items"]["types"]),
        (&json!(true), &json!(["integer", "object"]))
    );

    let document = fitting_document(&folder, "orders.pcap");
    let schema = |document: &mut Value| {
        document["paths"]["/v1/orders/{order_id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            .take()
    };
    let written = schema(&mut document.clone());
    assert_eq!(written["properties"]["note"], json!({"type": ["null", "string"]}));
    let object = json!({"type": "object", "required": ["id"], "properties": {
        "id": {"type": "integer"}, "name": {"type": "string"}}});
    assert_eq!(written["properties"]["owner"], json!({"oneOf": [{"type": "null"}, {"type": "string"}, object]}));
    assert_eq!(written["required"], json!(["id", "note", "owner"]));
    let at = "/paths/~1v1~1orders~1{order_id}/get/responses/200/content/application~1json/schema/properties";
    let changed = |field: &str, schema: Value| {
        misfits(&folder, "orders.pcap", &document, |document| {
            document.pointer_mut(at).expect("fields")[field] = schema;
        })
    };
    let found = |kind: &str, field: &str| vec![(kind.to_owned(), field.to_owned())];
    assert_eq!(changed("note", json!({"type": "string"})), found("field_types", "note"));
    assert_eq!(changed("owner", json!({"oneOf": [{"type": "string"}, object]})), found("field_types", "owner"));
    let named = json!({"type": "object", "required": ["id", "name"], "properties": object["properties"]});
    let parts = json!({"anyOf": [{"type": "string"}, {"type": "null"}, named]});
    assert_eq!(changed("owner", parts), found("field_missing", "owner.name"));
}

#[test]
fn forms_have_fields() {
    let folder = Folder::new("forms");
    let calls = (0..60).map(|number| {
        let request = match number % 2 {
            0 => {
                let topic = ["sales", "help"][number / 12 % 2];
                let note = if number % 4 == 0 { "&note=call+me" } else { "" };
                let body = format!("name=Ann+Adler&mail=ann{number}%40mail.example&topic={topic}&count={number}{note}");
                post("/v1/contacts", "application/x-www-form-urlencoded", &body)
            }
            _ => {
                let part = |name: &str, rest: &str, value: &str| {
                    format!("--XyZ{number}\r\nContent-Disposition: form-data; name=\"{name}\"{rest}\r\n\r\n{value}\r\n")
                };
                let file = "; filename=\"a.png\"\r\nContent-Type: image/png";
                let mut body = part("album", "", "4711") + &part("picture", file, "\u{0}PNG bytes");
                if number % 4 == 1 {
                    body += &part("title", "", "at the sea");
                }
                body += &format!("--XyZ{number}--\r\n");
                post("/v1/pictures", &format!("multipart/form-data; boundary=XyZ{number}"), &body)
            }
        };
        (request, r#"{"ok":true}"#.to_owned())
    });
    capture(&folder, "forms.pcap", calls).expect("a file");
    let lines = folder.run("apis", &["forms.pcap", "--json"]).lines();
    let told = |template: &str| {
        let one = lines.iter().find(|one| one["template"] == template).expect("an endpoint");
        (
            one["request"]["media"][0].clone(),
            one["request"]["required"].clone(),
            one["request"]["body"]["fields"].clone(),
        )
    };
    let (media, required, fields) = told("/v1/contacts");
    assert_eq!((media, required), (json!("application/x-www-form-urlencoded"), json!(true)), "{lines:?}");
    assert_eq!(fields["count"]["formats"], json!(["digits"]), "{fields}");
    assert_eq!(fields["topic"]["values"], json!(["help", "sales"]));
    assert_eq!((&fields["mail"]["formats"], &fields["mail"]["sensitive"]), (&json!(["email"]), &json!(["email"])));
    assert_eq!((&fields["note"]["optional"], &fields["name"]["optional"]), (&json!(true), &Value::Null));
    assert!(fields["name"]["values"].is_null(), "{fields}");
    let (media, required, fields) = told("/v1/pictures");
    assert_eq!((media, required), (json!("multipart/form-data"), json!(true)), "{lines:?}");
    assert_eq!(fields["picture"]["formats"], json!(["binary"]));
    assert_eq!(fields["album"]["formats"], json!(["digits"]), "{fields}");
    assert_eq!((&fields["title"]["optional"], &fields["album"]["optional"]), (&json!(true), &Value::Null));

    let document = fitting_document(&folder, "forms.pcap");
    let schema = &document["paths"]["/v1/pictures"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"];
    assert_eq!(schema["properties"]["picture"], json!({"type": "string", "format": "binary"}), "{document}");
    assert_eq!(schema["required"], json!(["album", "picture"]));
    let at = "/paths/~1v1~1contacts/post/requestBody/content/application~1x-www-form-urlencoded/schema/properties";
    let found = misfits(&folder, "forms.pcap", &document, |document| {
        document.pointer_mut(at).and_then(Value::as_object_mut).expect("fields").remove("note");
    });
    assert_eq!(found, [("field_unspecified".to_owned(), "note".to_owned())]);
}

/// A name of letters only, one of 676.
fn name(number: usize) -> String {
    [number / 26 % 26, number % 26].iter().map(|&place| char::from(b'a' + place as u8)).collect()
}

#[test]
fn maps_are_told_from_records() {
    let folder = Folder::new("maps");
    let list = |pairs: &mut dyn Iterator<Item = (String, String)>| {
        let pairs: Vec<_> = pairs.map(|(name, value)| format!("\"{name}\":{value}")).collect();
        pairs.join(",")
    };
    let calls = (0..120).map(|number: usize| {
        // Keys that are data; names that many objects have a few of each; a wide record; a record of which much is optional.
        let by_id = list(&mut (0..3).map(|more| ((4_000 + number * 3 + more).to_string(), r#"{"n":1}"#.to_owned())));
        let rates =
            list(&mut (0..6).map(|more| (format!("rate_{}", name(number * 7 + more * 5)), format!("{more}.5"))));
        let wide = list(&mut (0..90).map(|more| (format!("flag_{}", name(more)), "true".to_owned())));
        let sparse = list(&mut (0..8).filter(|more| (number + more).is_multiple_of(3)).map(|more| {
            let value = if more % 2 == 0 { "1".to_owned() } else { r#""at the door""#.to_owned() };
            (format!("part_{}", name(more)), value)
        }));
        let body = format!(r#"{{"by_id":{{{by_id}}},"rates":{{{rates}}},"wide":{{{wide}}},"sparse":{{{sparse}}}}}"#);
        (get("/v1/overview"), body)
    });
    capture(&folder, "maps.pcap", calls).expect("a file");
    let lines = folder.run("apis", &["maps.pcap", "--json"]).lines();
    let fields = &lines[0]["response"]["body"]["fields"];
    let width = |field: &str| fields[field]["fields"].as_object().map_or(0, serde_json::Map::len);
    assert_eq!(fields["by_id"]["entries"]["fields"]["n"]["types"], json!(["integer"]), "{fields}");
    assert_eq!((fields["rates"]["entries"]["types"].clone(), width("rates")), (json!(["number"]), 0), "{fields}");
    assert_eq!((fields["wide"]["entries"].clone(), width("wide")), (Value::Null, 90));
    assert!(fields["wide"]["fields"].as_object().expect("fields").values().all(|field| field["optional"].is_null()));
    assert_eq!((fields["sparse"]["entries"].clone(), width("sparse")), (Value::Null, 8));
    assert!(fields["sparse"]["fields"].as_object().expect("fields").values().all(|field| field["optional"] == true));

    let document = fitting_document(&folder, "maps.pcap");
    let schema = &document["paths"]["/v1/overview"]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    let entries = json!({"type": "object", "additionalProperties": {"type": "number"}});
    assert_eq!(schema["properties"]["rates"], entries, "{schema}");
}

/// Calls by endpoint.
fn tally(lines: &[Value]) -> BTreeMap<String, u64> {
    let key = |one: &Value| format!("{} {}{} {}", one["method"], one["host"], one["template"], one["operation"]);
    lines.iter().map(|one| (key(one), one["calls"].as_u64().expect("a number"))).collect()
}

#[test]
fn a_selection_says_whose_calls_and_which_endpoints() {
    let folder = Folder::new("selection");
    let capture = fixture();
    let run = |more: &[&str]| folder.run("apis", &[&[&capture[..], PROXY[0], PROXY[1], "--json"], more].concat());
    let all = run(&["--save", "all.jsonl"]).lines();

    // Of a client: what it was answered well, and no more calls than it made.
    let caller = all.iter().find_map(|one| one["callers"][1].as_str()).expect("one with several callers");
    let of_client = run(&["--client", caller]).lines();
    assert!(!of_client.is_empty() && of_client.len() < all.len());
    assert!(of_client.iter().all(|one| one["callers"] == json!([caller]) && one["clients"] == 1), "{of_client:?}");
    let had = |one: &&Value| one["callers"].as_array().is_some_and(|callers| callers.contains(&json!(caller)));
    let whole = tally(&all);
    let part = tally(&of_client);
    assert!(
        all.iter().filter(had).all(|one| tally(std::slice::from_ref(one)).keys().all(|key| part.contains_key(key)))
    );
    assert!(part.iter().all(|(key, calls)| calls <= &whole[key]));
    assert!(tally(&run(&["--client", "203.0.113.250"]).lines()).is_empty());

    // What was over before a time and what was over then or later are all.
    let time = "2026-03-02T14:16:00";
    let at = format!("{time}Z");
    let (before, since) = (run(&["--until", &at]).lines(), run(&["--since", &at]).lines());
    assert!(before.iter().all(|one| one["last"].as_str() < Some(time)) && !before.is_empty());
    assert!(since.iter().all(|one| one["first"].as_str() >= Some(time)) && !since.is_empty());
    let (before, since) = (tally(&before), tally(&since));
    let sum = |key: &String| before.get(key).unwrap_or(&0) + since.get(key).unwrap_or(&0);
    assert!(whole.iter().all(|(key, calls)| sum(key) == *calls), "{whole:?}\n{before:?}\n{since:?}");

    // By answers and services endpoints are told or not, as they are.
    let missing = run(&["--status", "404"]).lines();
    assert!(!missing.is_empty() && missing.len() < all.len());
    assert!(all.iter().all(|one| missing.contains(one) != one["statuses"]["404"].is_null()));
    let shop = run(&["--service", "shop-*"]).lines();
    assert!(!shop.is_empty() && all.iter().all(|one| shop.contains(one) == (one["host"] == "shop-api.example")));

    // What is not told is neither gone nor not called.
    let same = run(&["--diff", "all.jsonl", "--service", "shop-api.example", "--endpoint", "/v1/**"]);
    assert_eq!((same.code, same.lines()), (Some(0), Vec::new()), "{}", same.stderr);
    let document = folder.run("apis", &[&capture[..], PROXY[0], PROXY[1], "--format", "openapi"]);
    fs::write(folder.path("made.json"), &document.stdout).expect("a file");
    let found = run(&["--spec", "made.json", "--endpoint", "GET /v1/cart"]);
    assert_eq!((found.code, found.lines()), (Some(0), Vec::new()), "{}", found.stderr);
    for wrong in [&["--status", "none"][..], &["--status", "404", "--diff", "all.jsonl"]] {
        assert_eq!(run(wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn what_people_say_is_no_news_while_calls_come() {
    let folder = Folder::new("reviewed-events");
    let capture = fixture();
    let options = [&capture[..], PROXY[0], PROXY[1]];
    let text = "[[endpoint]]\nservice = \"identity-api.example\"\nignore = true\n\n\
        [[endpoint]]\nservice = \"shop-api.example\"\nsensitive = false\n";
    fs::write(folder.path("review.toml"), text).expect("a file");
    let review = ["--review", "review.toml"];
    let saved = folder.run("apis", &[&options[..], &review, &["--save", "known.jsonl", "--json"]].concat());
    assert_eq!(saved.code, Some(0), "{}", saved.stderr);
    let shown = saved.lines();
    assert!(shown.iter().all(|line| line["host"] != "identity-api.example"));
    // What is left out, and what is no secret, is saved all the same.
    let known: Vec<Value> = fs::read_to_string(folder.path("known.jsonl"))
        .expect("it is there")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line"))
        .collect();
    assert!(known.len() > shown.len());
    let of_shop = |lines: &[Value]| {
        lines
            .iter()
            .filter(|line| line["host"] == "shop-api.example")
            .filter(|line| line["request"]["sensitive"].is_array() || line["response"]["sensitive"].is_array())
            .count()
    };
    assert!(of_shop(&known) > 0 && of_shop(&shown) == 0, "{} {}", of_shop(&known), of_shop(&shown));
    let events = |more: &[&str]| {
        let run = folder.run("replay", &[&options[..], &["--events"], more].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let lines = run.lines().into_iter();
        lines.filter(|line| line["schema"] == "apitap.event.v1").collect::<Vec<_>>()
    };
    assert_eq!(events(&["--baseline", "known.jsonl"]), Vec::<Value>::new());
    // Against an empty baseline all is new but what the review takes away.
    fs::write(folder.path("empty.jsonl"), "").expect("a file");
    let all = events(&["--baseline", "empty.jsonl"]);
    let fewer = events(&[&["--baseline", "empty.jsonl"], &review[..]].concat());
    let count = |events: &[Value], host: &str| events.iter().filter(|event| event["host"] == host).count();
    assert!(count(&all, "identity-api.example") > 0 && count(&fewer, "identity-api.example") == 0);
    assert!(count(&fewer, "shop-api.example") > 0);
    let with_classes = |events: &[Value]| {
        events.iter().filter(|event| event["host"] == "shop-api.example" && event["sensitive"].is_array()).count()
    };
    assert!(with_classes(&all) > 0 && with_classes(&fewer) == 0);
    // With and without the review there is no difference to what was saved.
    for more in [&["--diff", "known.jsonl"][..], &["--diff", "known.jsonl", "--review", "review.toml"]] {
        let same = folder.run("apis", &[&options[..], more].concat());
        assert_eq!((same.code, same.stdout.len()), (Some(0), 0), "{}", String::from_utf8_lossy(&same.stdout));
    }
    let idle = folder.run("replay", &[&options[..], &review].concat());
    assert!(idle.stderr.contains("--events"), "{}", idle.stderr);
}
