//! Settings as a TOML file for people: every key with its doc and its default, or as it is and who set it.

use std::fmt::Write;

use serde_json::Value;

use super::Settings;
use super::keys::{Table, tables};
use super::layers::{Loaded, at};

/// Columns of a comment.
const WIDTH: usize = 110;

/// Every key with its doc, its unit, what it costs, and its default. What it gives is a configuration file that changes
/// nothing.
pub fn defaults() -> String {
    let mut text = String::from(
        "# Every setting of apitap with its default. A file needs only what differs. Each key can be set by an environment\n\
         # variable, too: APITAP_ and its path in capital letters, tables parted by two underscores\n\
         # (APITAP_STREAM__MAX_FLOWS=100000); a key of a sink has the sink's name in it (APITAP_SINK__SPLUNK__TOKEN=...). Flags\n\
         # come before variables, and those before the file.\n",
    );
    for table in tables() {
        begin(&mut text, &table, table.repeated);
        for key in &table.keys {
            comment(&mut text, &key.doc);
            let name = key.path.last().map_or("", String::as_str);
            // A key without a default, and a table that is not there by default, are shown and not set.
            let aside = table.repeated || key.default.is_null();
            let shown = if key.default.is_null() { "…".to_owned() } else { toml(&key.default) };
            let _ = writeln!(text, "{}{name} = {shown}\n", if aside { "# " } else { "" });
        }
    }
    text
}

/// The settings as they are, and for each key who set it.
pub fn effective(loaded: &Loaded) -> String {
    let values = serde_json::to_value(&loaded.settings).unwrap_or_default();
    let mut text = String::new();
    for table in tables() {
        if table.repeated {
            for sink in &loaded.settings.sink {
                text.push_str("\n[[sink]]\n");
                let values = serde_json::to_value(sink).unwrap_or_default();
                for key in &table.keys {
                    let Some(name) = key.path.last() else { continue };
                    let origin = loaded.origin(&format!("sink.{}.{name}", sink.name()));
                    line(&mut text, name, values.get(name), &origin.to_string());
                }
            }
            continue;
        }
        if !table.path.is_empty() {
            let _ = writeln!(text, "\n[{}]", table.path.join("."));
        }
        for key in &table.keys {
            let name = key.path.last().map_or("", String::as_str);
            line(&mut text, name, at(&values, &key.path), &loaded.origin(&key.dotted()).to_string());
        }
    }
    text
}

fn line(text: &mut String, name: &str, value: Option<&Value>, origin: &str) {
    let _ = match value {
        None | Some(Value::Null) => writeln!(text, "{:<48} # {origin}", format!("# {name} is not set")),
        Some(value) => writeln!(text, "{:<48} # {origin}", format!("{name} = {}", toml(value))),
    };
}

fn begin(text: &mut String, table: &Table, aside: bool) {
    text.push('\n');
    if table.path.is_empty() {
        return;
    }
    comment(text, &table.doc);
    let name = table.path.join(".");
    let _ = if aside { writeln!(text, "# [[{name}]]\n") } else { writeln!(text, "[{name}]\n") };
}

/// Text in lines behind `# `.
fn comment(text: &mut String, doc: &str) {
    let mut line = String::from("#");
    for word in doc.split_whitespace() {
        if line.len() + word.len() >= WIDTH && line.len() > 1 {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    if line.len() > 1 {
        let _ = writeln!(text, "{line}");
    }
}

/// A value as TOML writes it in a line.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let parts: Vec<String> = map
                .iter()
                .map(|(name, value)| format!("{} = {}", toml(&Value::String(name.clone())), toml(value)))
                .collect();
            if parts.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", parts.join(", ")) }
        }
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        // Digits in groups of three: counts are long.
        Value::Number(number) => number.to_string(),
        other => other.to_string(), // texts of JSON are texts of TOML
    }
}

/// Whether two settings are the same, key by key; gives the keys that differ. Secrets count as the same only when they are.
pub fn differences(one: &Settings, other: &Settings) -> Vec<String> {
    let (left, right) =
        (serde_json::to_value(one).unwrap_or_default(), serde_json::to_value(other).unwrap_or_default());
    let mut keys: Vec<String> = tables()
        .into_iter()
        .filter(|table| !table.repeated)
        .flat_map(|table| table.keys)
        .filter(|key| at(&left, &key.path) != at(&right, &key.path))
        .map(|key| key.dotted())
        .collect();
    if one.sink != other.sink {
        keys.push("sink".into());
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_file_changes_nothing() {
        let text = defaults();
        let read: Settings = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(differences(&read, &Settings::default()), Vec::<String>::new());
        // With its marks taken away each sink's key reads back, too.
        let sink = text.split("# [[sink]]").nth(1).expect("sinks are shown");
        let sink = sink.split("\n[").next().expect("a table");
        let mut shown = 0;
        for line in sink.lines() {
            let Some((name, value)) = line.strip_prefix("# ").and_then(|line| line.split_once(" = ")) else { continue };
            if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && value != "…" {
                let one =
                    format!("type = 'stdout'\n{}", if name == "type" { String::new() } else { line[2..].to_owned() });
                let read: crate::sink::Settings =
                    toml::from_str(&one).unwrap_or_else(|error| panic!("{line}: {error}"));
                assert_eq!(read, crate::sink::Settings::default(), "{line}");
                shown += 1;
            }
        }
        assert!(shown > 20, "{shown}");
        assert!(text.lines().all(|line| line.chars().count() <= 130), "lines that can be read");
    }

    #[test]
    fn what_is_effective_says_who_set_it() {
        let mut loaded = Loaded::default();
        loaded.settings.stream.max_flows = 5;
        loaded.settings.sink =
            vec![toml::from_str("type = 'webhook'\nurl = 'http://a'\ntoken = 'hunter2'").expect("a sink")];
        loaded.origins.insert("stream.max_flows".into(), super::super::Origin::Environment("A".into()));
        let text = effective(&loaded);
        let line = text.lines().find(|line| line.starts_with("max_flows")).expect("the key");
        assert!(line.ends_with("# environment A") && line.contains("= 5"), "{line}");
        assert!(!text.contains("hunter2") && text.contains("token = \"(set)\""), "secrets stay");
        let read: Settings = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.stream.max_flows, 5);
    }
}
