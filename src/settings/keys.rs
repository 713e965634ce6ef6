//! Every key that there is, found in the types of the settings themselves: its name, what its doc says, its default.

use schemars::Schema;
use serde_json::{Map, Value};

use super::Settings;
use crate::stats::Counter;

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A text, or one of several words.
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list.
    List,
    /// A table of names that the operator chooses.
    Map,
}

/// One key.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The tables that it lies in, and its name: `["tls", "keylog", "files"]`. Of keys of sinks the first is `sink`.
    pub path: Vec<String>,
    /// What it says, its unit and what it costs, as the operator reads it.
    pub doc: String,
    /// What it takes.
    pub takes: Takes,
    /// Its default; null where there is none.
    pub default: Value,
}

/// A table of keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The tables that it lies in, and its name; the first one has none.
    pub path: Vec<String>,
    /// What it is about.
    pub doc: String,
    /// It may be there several times: `[[sink]]`.
    pub repeated: bool,
    /// Its keys, in the order of the alphabet.
    pub keys: Vec<Key>,
}

impl Key {
    /// The path with points.
    pub fn dotted(&self) -> String {
        self.path.join(".")
    }

    /// The environment variable that sets it: `APITAP_TLS__KEYLOG__FILES`. Of a sink its name stands behind `SINK`.
    pub fn variable(&self) -> String {
        let path: Vec<String> = self.path.iter().map(|part| part.to_uppercase()).collect();
        match path.split_first() {
            Some((first, rest)) if first == "SINK" => format!("APITAP_SINK__NAME__{}", rest.join("__")),
            _ => format!("APITAP_{}", path.join("__")),
        }
    }
}

/// All tables, the one without a name first.
pub fn tables() -> Vec<Table> {
    let schema: Value = schemars::schema_for!(Settings).into();
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    let mut tables = Vec::new();
    walk(&schema, &schema, &defaults, &[], String::new(), false, &mut tables);
    tables
}

/// All keys.
pub fn keys() -> Vec<Key> {
    tables().into_iter().flat_map(|table| table.keys).collect()
}

fn walk(
    schema: &Value,
    root: &Value,
    defaults: &Value,
    path: &[String],
    doc: String,
    repeated: bool,
    tables: &mut Vec<Table>,
) {
    let place = tables.len();
    tables.push(Table { path: path.to_vec(), doc, repeated, keys: Vec::new() });
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    for (name, property) in properties {
        let doc = described(property, root);
        let inner = resolve(property, root);
        let path: Vec<String> = path.iter().chain([name]).cloned().collect();
        let default = defaults.get(name).cloned().unwrap_or_default();
        if inner.get("properties").is_some() {
            walk(inner, root, &default, &path, doc, false, tables);
            continue;
        }
        if let Some(items) =
            inner.get("items").map(|items| resolve(items, root)).filter(|items| items.get("properties").is_some())
        {
            // What a list of tables holds by default is none; each has the defaults of its type.
            let defaults = serde_json::to_value(crate::sink::Settings::default()).unwrap_or_default();
            walk(items, root, &defaults, &path, doc, true, tables);
            continue;
        }
        if let Some(table) = tables.get_mut(place) {
            table.keys.push(Key { path, doc, takes: takes(inner), default });
        }
    }
}

/// What a reference stands for, and what an option may be when it is something.
fn resolve<'r>(schema: &'r Value, root: &'r Value) -> &'r Value {
    if let Some(pointer) = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix('#')) {
        return root.pointer(pointer).map_or(schema, |inner| resolve(inner, root));
    }
    let several = schema.get("anyOf").and_then(Value::as_array);
    let some = several.and_then(|all| all.iter().find(|one| one.get("type").is_none_or(|kind| kind != "null")));
    some.map_or(schema, |inner| resolve(inner, root))
}

fn takes(schema: &Value) -> Takes {
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |kind: &str| kinds.contains(&kind);
    match () {
        () if is("integer") || is("number") => Takes::Number,
        () if is("boolean") => Takes::Boolean,
        () if is("array") => Takes::List,
        () if is("object") => Takes::Map,
        () => Takes::Text,
    }
}

/// The doc of a property, or that of its type where it has none, as text without the marks of Rust's documentation.
fn described(property: &Value, root: &Value) -> String {
    let own = property.get("description").and_then(Value::as_str);
    let text = own.or_else(|| resolve(property, root).get("description").and_then(Value::as_str)).unwrap_or_default();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some((before, link)) = rest.split_once("[`") {
        plain.push_str(before);
        let Some((name, behind)) = link.split_once("`]") else {
            rest = link;
            continue;
        };
        let counter = name.strip_prefix("Counter::");
        let counted = counter.and_then(|name| Counter::ALL.iter().find(|counter| format!("{counter:?}") == name));
        plain.push('`');
        plain.push_str(counted.map_or(name, |counter| counter.name()));
        plain.push('`');
        rest = match behind.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, behind)) => behind,
            None => behind,
        };
    }
    plain.push_str(rest);
    plain
}

/// The schema of the configuration, for editors.
pub fn schema() -> Schema {
    schemars::schema_for!(Settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented_and_has_its_place() {
        let keys = keys();
        assert!(keys.len() > 150, "{}", keys.len());
        for key in &keys {
            assert!(key.doc.len() > 15, "{}: {:?}", key.dotted(), key.doc);
            assert!(!key.doc.contains("[`"), "{}: {}", key.dotted(), key.doc);
        }
        let find = |path: &str| keys.iter().find(|key| key.dotted() == path).unwrap_or_else(|| panic!("{path}"));
        assert_eq!(find("workers").variable(), "APITAP_WORKERS");
        assert_eq!(find("tls.keylog.files").variable(), "APITAP_TLS__KEYLOG__FILES");
        assert_eq!((find("tls.keylog.files").takes, find("output.quiet").takes), (Takes::List, Takes::Boolean));
        assert_eq!((find("source.live.filter").takes, find("workers").takes), (Takes::Text, Takes::Number));
        assert_eq!(find("sink.headers").takes, Takes::Map);
        assert_eq!(find("sink.url").variable(), "APITAP_SINK__NAME__URL");
        assert!(find("packet.fragment_bytes").doc.contains("`fragments_dropped`"));
        // No setting hides: all that is written when settings are is a key.
        fn leaves(value: &Value, path: String, known: &[String], out: &mut Vec<String>) {
            match value {
                Value::Object(map) if !known.contains(&path) => {
                    for (name, value) in map {
                        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                        leaves(value, path, known, out);
                    }
                }
                _ => out.push(path),
            }
        }
        let known: Vec<String> = keys.iter().map(Key::dotted).collect();
        let mut written = Vec::new();
        leaves(&serde_json::to_value(Settings::default()).expect("plain data"), String::new(), &known, &mut written);
        written.retain(|path| path != "sink");
        for path in &written {
            assert!(known.contains(path), "{path}");
        }
        let besides: Vec<_> =
            known.iter().filter(|path| !written.contains(path) && !path.starts_with("sink.")).collect();
        assert!(besides.is_empty(), "{besides:?}");
    }
}
