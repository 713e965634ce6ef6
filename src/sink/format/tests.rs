//! Each format against a golden file, and that against the format's schema or grammar.
//!
//! `APITAP_WRITE_GOLDEN=1 cargo test --lib sink::format` writes the golden files anew.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Format, Notice, eve};
use crate::alert::Alert;
use crate::sink::told::{Class, Message, Told};

const SENSOR: &str = "sensor.example";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sinks").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(fixture(name)).expect("a fixture")
}

/// What is written: which native lines, and how the golden files are called.
#[derive(Clone, Copy)]
struct Sort {
    class: Class,
    prefix: &'static str,
}

const SORTS: [Sort; 3] = [
    Sort { class: Class::Alerts, prefix: "" },
    Sort { class: Class::Findings, prefix: "finding-" },
    Sort { class: Class::Events, prefix: "event-" },
];

impl Sort {
    fn messages(self) -> Vec<Message> {
        let text = read(&format!("{}native.jsonl", self.prefix));
        let messages: Vec<Message> = text.lines().map(|line| Message::read(line.as_bytes()).expect("a line")).collect();
        assert!(messages.iter().all(|message| message.told().class() == self.class));
        messages
    }

    /// All lines in a format; versions of the program make no difference.
    fn written(self, format: Format) -> String {
        let mut text = String::new();
        for message in self.messages() {
            let native = message.told().native().expect("plain data");
            text.push_str(&String::from_utf8(format.write(&message.told().into(), &native, SENSOR)).expect("text"));
            text.push('\n');
        }
        text.replace(&format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION")), "\"version\":\"VERSION\"")
            .replace(&format!("|apitap|{}|", env!("CARGO_PKG_VERSION")), "|apitap|VERSION|")
    }

    fn golden(self, format: Format, name: &str) -> String {
        let (text, name) = (self.written(format), format!("{}{name}", self.prefix));
        if format != Format::Native && std::env::var_os("APITAP_WRITE_GOLDEN").is_some() {
            std::fs::write(fixture(&name), &text).expect("a fixture to write");
        }
        assert!(text == read(&name), "{name} is no longer what is written; see the head of this file");
        text
    }
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
    for sort in SORTS {
        assert!(sort.golden(Format::Native, "native.jsonl").lines().count() >= 4);
    }
    validate(&read("native.jsonl"), include_str!("../../../schemas/alert.json"));
}

#[test]
fn ecs() {
    for sort in SORTS {
        let text = sort.golden(Format::Ecs, "ecs.jsonl");
        validate(&text, &read("ecs.schema.json"));
        // What it is, in the terms of the schema, with the types that each category is expected to have.
        for line in text.lines() {
            let event: Value = serde_json::from_str::<Value>(line).expect("JSON")["event"].take();
            let told =
                [&event["kind"], &event["category"][0], &event["type"][0]].map(|value| value.as_str().expect("text"));
            let expected = match sort.class {
                Class::Alerts => ["alert", "intrusion_detection", "info"],
                Class::Findings => ["state", "configuration", "info"],
                Class::Events if event["action"] == "endpoint-new" => ["event", "api", "creation"],
                Class::Events => ["event", "api", "change"],
            };
            assert_eq!(told, expected);
            assert_eq!(event["dataset"], format!("apitap.{}", sort.class.one()));
        }
    }
}

#[test]
fn ocsf() {
    let mut values = Vec::new();
    for sort in SORTS {
        let text = sort.golden(Format::Ocsf, "ocsf.jsonl");
        validate(&text, &read("ocsf.schema.json"));
        values.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
    }
    let story = |id: &str| -> Vec<_> {
        let lines = values.iter().filter(|value| value.pointer("/finding_info/uid") == Some(&id.into()));
        let number = |value: &Value, key: &str| value[key].as_i64().expect("a number");
        lines
            .map(|value| (number(value, "activity_id"), number(value, "type_uid"), number(value, "status_id")))
            .collect()
    };
    // The lines of an incident are one finding: created, updated, closed.
    assert_eq!(story("49667f88b0fed87d"), [(1, 200_401, 1), (2, 200_402, 2), (3, 200_403, 4)]);
    // So are those of a finding: it is created, and updated, at the end too.
    let Some(Message::Finding(finding)) = SORTS[1].messages().into_iter().next() else { panic!("findings") };
    assert_eq!(story(&finding.id), [(1, 200_401, 1), (2, 200_402, 1), (2, 200_402, 1)]);
}

#[test]
fn eve() {
    for sort in SORTS {
        validate(&sort.golden(Format::Eve, "eve.jsonl"), &read("eve.schema.json"));
    }
    let kinds: Vec<&str> = Class::ALL.into_iter().flat_map(Class::kinds).collect();
    let numbers: HashSet<u64> = kinds.iter().map(|kind| eve::signature(kind)).collect();
    assert_eq!(numbers.len(), kinds.len(), "each kind has a number of its own");
}

#[test]
fn each_line_has_an_id_of_its_own_in_all_formats() {
    for sort in SORTS {
        let (ecs, ocsf) = (sort.written(Format::Ecs), sort.written(Format::Ocsf));
        let ids = |text: &str, path: &str| -> Vec<String> {
            let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            lines.map(|line| line.pointer(path).and_then(Value::as_str).expect("an id").to_owned()).collect()
        };
        let all = ids(&ecs, "/event/id");
        assert_eq!(ids(&ocsf, "/metadata/uid"), all);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "{all:?}");
        assert!(all.iter().all(|id| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit())), "{all:?}");
    }
}

/// Takes a line apart as the standard says: seven fields between bars that are not escaped, then pairs whose values end
/// before the next key.
#[allow(clippy::type_complexity, reason = "the two parts of a line")]
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
    for sort in SORTS {
        let text = sort.golden(Format::Cef, "cef.txt");
        for (line, message) in text.lines().zip(sort.messages()) {
            cef_line(line, &message.told().into());
        }
    }
}

fn cef_line(line: &str, notice: &Notice<'_>) {
    let (header, pairs) = cef_fields(line).unwrap_or_else(|| panic!("the grammar: {line}"));
    assert_eq!(header.first().map(String::as_str), Some("CEF:0"));
    assert_eq!(header.get(4).map(String::as_str), Some(notice.kind));
    let severity: u8 = header.get(6).and_then(|severity| severity.parse().ok()).expect("a number");
    assert!(severity <= 10);
    let value = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    assert_eq!(value("msg"), Some(&*notice.summary), "{line}");
    assert_eq!(value("externalId"), Some(&*notice.id));
    let labelled = pairs.iter().filter(|(name, _)| name.ends_with("Label"));
    for (label, _) in labelled {
        assert!(value(label.trim_end_matches("Label")).is_some(), "{label} without a value");
    }
    let mut names: Vec<_> = pairs.iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), pairs.len(), "each key once");
}

#[test]
fn bars_and_backslashes_are_escaped() {
    let alert = Alert { host: Some("a=b|c\\d\r\n".into()), ..Alert::sample() };
    let line = String::from_utf8(Format::Cef.write(&Told::Alert(&alert).into(), b"", "s")).expect("text");
    let (_, pairs) = cef_fields(&line).expect("the grammar");
    assert!(pairs.contains(&("dhost".to_owned(), "a=b|c\\d\r\n".to_owned())));
    assert!(!line.contains('\n'));
}
