//! Each format against a golden file, and that against the format's schema or grammar.
//!
//! `APITAP_WRITE_GOLDEN=1 cargo test --lib sink::format` writes the golden files anew.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Format, eve};
use crate::alert::{Alert, Technique};

const SENSOR: &str = "sensor.example";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sinks").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(fixture(name)).expect("a fixture")
}

fn alerts() -> Vec<Alert> {
    read("native.jsonl").lines().map(|line| serde_json::from_str(line).expect("an alert")).collect()
}

/// All alerts in a format; versions of the program make no difference.
fn written(format: Format) -> String {
    let mut text = String::new();
    for alert in alerts() {
        let native = serde_json::to_vec(&alert).expect("plain data");
        text.push_str(&String::from_utf8(format.write(&alert, &native, SENSOR)).expect("text"));
        text.push('\n');
    }
    text.replace(&format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION")), "\"version\":\"VERSION\"")
        .replace(&format!("|apitap|{}|", env!("CARGO_PKG_VERSION")), "|apitap|VERSION|")
}

fn golden(format: Format, name: &str) -> String {
    let text = written(format);
    if format != Format::Native && std::env::var_os("APITAP_WRITE_GOLDEN").is_some() {
        std::fs::write(fixture(name), &text).expect("a fixture to write");
    }
    assert!(text == read(name), "{name} is no longer what is written; see the head of this file");
    text
}

fn validate(text: &str, schema: &str) {
    let schema: Value = serde_json::from_str(schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).expect("JSON");
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| format!("{} at {}", error, error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?} in {line}");
    }
}

#[test]
fn native() {
    assert!(golden(Format::Native, "native.jsonl").lines().count() >= 5);
    validate(&read("native.jsonl"), include_str!("../../../schemas/alert.json"));
}

#[test]
fn ecs() {
    validate(&golden(Format::Ecs, "ecs.jsonl"), &read("ecs.schema.json"));
}

#[test]
fn ocsf() {
    let text = golden(Format::Ocsf, "ocsf.jsonl");
    validate(&text, &read("ocsf.schema.json"));
    // The lines of an incident are one finding: created, updated, closed.
    let values: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let story: Vec<_> = values
        .iter()
        .filter(|value| value.pointer("/finding_info/uid") == Some(&"49667f88b0fed87d".into()))
        .map(|value| (value["activity_id"].as_i64(), value["type_uid"].as_i64(), value["status_id"].as_i64()))
        .collect();
    let expected = [(1, 200_401, 1), (2, 200_402, 2), (3, 200_403, 4)];
    assert_eq!(story, expected.map(|(activity, kind, status)| (Some(activity), Some(kind), Some(status))));
}

#[test]
fn eve() {
    validate(&golden(Format::Eve, "eve.jsonl"), &read("eve.schema.json"));
    let numbers: HashSet<u64> = Technique::ALL.iter().map(|&kind| eve::signature(kind)).collect();
    assert_eq!(numbers.len(), Technique::ALL.len(), "each kind has a number of its own");
}

/// Takes a line apart as the standard says: seven fields between bars that are not escaped, then pairs whose values end
/// before the next key.
fn cef_fields(line: &str) -> Option<(Vec<String>, Vec<(String, String)>)> {
    let mut fields = vec![String::new()];
    let mut letters = line.chars();
    while fields.len() < 8 {
        match letters.next()? {
            '\\' => match letters.next()? {
                escaped @ ('\\' | '|') => fields.last_mut()?.push(escaped),
                _ => return None,
            },
            '|' => fields.push(String::new()),
            letter => fields.last_mut()?.push(letter),
        }
    }
    let extension = letters.as_str();
    let key = regex::Regex::new(r"(?:^| )([A-Za-z0-9_]+)=").expect("a pattern");
    let places: Vec<_> =
        key.captures_iter(extension).filter_map(|found| Some((found.get(0)?, found.get(1)?))).collect();
    let mut pairs = Vec::new();
    for (at, (whole, name)) in places.iter().enumerate() {
        let end = places.get(at + 1).map_or(extension.len(), |(next, _)| next.start());
        let raw = extension.get(whole.end()..end)?;
        let mut value = String::new();
        let mut letters = raw.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => match letters.next()? {
                    'n' => value.push('\n'),
                    'r' => value.push('\r'),
                    escaped @ ('\\' | '=') => value.push(escaped),
                    _ => return None,
                },
                '=' => return None,
                letter => value.push(letter),
            }
        }
        pairs.push((name.as_str().to_owned(), value));
    }
    fields.pop();
    Some((fields, pairs))
}

#[test]
fn cef() {
    let text = golden(Format::Cef, "cef.txt");
    for (line, alert) in text.lines().zip(alerts()) {
        let (header, pairs) = cef_fields(line).unwrap_or_else(|| panic!("the grammar: {line}"));
        assert_eq!(header.first().map(String::as_str), Some("CEF:0"));
        assert_eq!(header.get(4).map(String::as_str), Some(alert.kind.name()));
        let severity: u8 = header.get(6).and_then(|severity| severity.parse().ok()).expect("a number");
        assert!(severity <= 10);
        let value = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        assert_eq!(value("msg"), Some(alert.summary.as_str()), "{line}");
        assert_eq!(value("externalId"), Some(alert.id.as_str()));
        let labelled = pairs.iter().filter(|(name, _)| name.ends_with("Label"));
        for (label, _) in labelled {
            assert!(value(label.trim_end_matches("Label")).is_some(), "{label} without a value");
        }
        let mut names: Vec<_> = pairs.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), pairs.len(), "each key once");
    }
}

#[test]
fn bars_and_backslashes_are_escaped() {
    let alert = Alert { host: Some("a=b|c\\d\r\n".into()), ..Alert::sample() };
    let line = String::from_utf8(Format::Cef.write(&alert, b"", "s")).expect("text");
    let (_, pairs) = cef_fields(&line).expect("the grammar");
    assert!(pairs.contains(&("dhost".to_owned(), "a=b|c\\d\r\n".to_owned())));
    assert!(!line.contains('\n'));
}
