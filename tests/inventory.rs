//! The inventory as it is used: its forms, what other tools make of its OpenAPI, drift, specifications, order.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
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
    fs::write(folder.path("before.jsonl"), "{}").expect("a file");
    let wrong = folder.run("apis", &[&capture[..], "--diff", "before.jsonl"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("before.jsonl") && wrong.stderr.contains("line 1"), "{}", wrong.stderr);
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
