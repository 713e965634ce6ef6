//! Where values come from: defaults, the file, environment variables; flags come last and are laid over by the commands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use toml::Table;

use super::Settings;
use super::keys::{Key, Takes, keys};
use crate::rules::{RuleError, RuleFile};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// This flag.
    Flag(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Settings, and for each key that somebody set who did. Keys of sinks have the sink's name behind `sink`.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// By dotted path.
    pub origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Where a key's value comes from.
    pub fn origin(&self, dotted: &str) -> Origin {
        self.origins.get(dotted).cloned().unwrap_or(Origin::Default)
    }
}

/// Reads the file, if there is one, and lays the environment over it.
///
/// # Errors
///
/// What is wrong, with file and line or the variable's name, and for a key that is not known the nearest that is.
pub fn load(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Loaded, RuleError> {
    let mut loaded = Loaded::default();
    let mut table = Table::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|error| RuleError {
            file: path.to_owned(),
            line: None,
            reason: error.to_string(),
        })?;
        let file = RuleFile::new(path, text);
        loaded.settings = file.parse().map_err(explained)?;
        table = file.parse()?;
        note(&table, String::new(), &Origin::File(path.to_owned()), &mut loaded.origins);
    }
    let mut variables: Vec<(String, String)> = environment.filter(|(name, _)| name.starts_with("APITAP_")).collect();
    variables.sort();
    if variables.is_empty() {
        return Ok(loaded);
    }
    let keys = keys();
    // Others may well have a variable of such a name, as Kubernetes makes them for a service that is called apitap.
    variables.retain(|(name, _)| name.contains("__") || keys.iter().any(|key| key.variable() == *name));
    for (name, text) in variables {
        let blame = |reason: String| RuleError { file: PathBuf::from(format!("${name}")), line: None, reason };
        let dotted = set(&mut table, &keys, &name, &text).map_err(blame)?;
        loaded.settings = Settings::deserialize(toml::Value::Table(table.clone()))
            .map_err(|error| blame(error.message().to_owned()))?;
        loaded.origins.insert(dotted, Origin::Environment(name));
    }
    Ok(loaded)
}

/// Puts the value of a variable into the table; gives the dotted path of its key.
fn set(table: &mut Table, keys: &[Key], variable: &str, text: &str) -> Result<String, String> {
    let parts: Vec<&str> = variable.trim_start_matches("APITAP_").split("__").collect();
    let sink = (parts.first() == Some(&"SINK") && parts.len() == 3).then(|| parts.get(1).copied().unwrap_or_default());
    let wanted = match sink {
        Some(_) => format!("APITAP_SINK__NAME__{}", parts.get(2).copied().unwrap_or_default()),
        None => variable.to_owned(),
    };
    let Some(key) = keys.iter().find(|key| key.variable() == wanted) else {
        let nearest = nearest(&wanted, keys.iter().map(Key::variable));
        return Err(match nearest {
            Some(nearest) => format!("there is no such setting; did you mean {nearest}?"),
            None => "there is no such setting; `apitap config --defaults` lists them".into(),
        });
    };
    let value = value(key.takes, text)?;
    let Some((name, tables)) = key.path.split_last() else { return Err("no key".into()) };
    if let Some(sink) = sink {
        let sinks = table.get_mut("sink").and_then(toml::Value::as_array_mut);
        let found = sinks.into_iter().flatten().filter_map(toml::Value::as_table_mut).find(|table| {
            let of = |key: &str| table.get(key).and_then(toml::Value::as_str);
            of("name").or(of("type")).is_some_and(|name| name.to_uppercase().replace('-', "_") == sink)
        });
        let Some(found) = found else {
            return Err(format!("the file has no sink that is called {}", sink.to_lowercase()));
        };
        let named =
            found.get("name").or(found.get("type")).and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        found.insert(name.clone(), value);
        return Ok(format!("sink.{named}.{name}"));
    }
    let mut at = table;
    for part in tables {
        let inner = at.entry(part.clone()).or_insert_with(|| toml::Value::Table(Table::new()));
        at = inner.as_table_mut().ok_or("the file has another kind of value there")?;
    }
    at.insert(name.clone(), value);
    Ok(key.dotted())
}

/// The text of a variable as the value that its key takes. Lists are written as in TOML, or with commas.
fn value(takes: Takes, text: &str) -> Result<toml::Value, String> {
    let parsed = || toml::from_str::<Table>(&format!("v = {text}")).ok().and_then(|mut table| table.remove("v"));
    match takes {
        Takes::Text => Ok(toml::Value::String(text.to_owned())),
        Takes::Number | Takes::Boolean => {
            parsed().ok_or_else(|| format!("{text:?} is neither a number nor true or false"))
        }
        Takes::Map => parsed().ok_or_else(|| format!("{text:?} is no table; write {{ name = \"value\" }}")),
        Takes::List => Ok(parsed().filter(toml::Value::is_array).unwrap_or_else(|| {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            toml::Value::Array(
                items
                    .map(|item| match item.parse::<i64>() {
                        Ok(number) => toml::Value::Integer(number),
                        Err(_) => toml::Value::String(item.to_owned()),
                    })
                    .collect(),
            )
        })),
    }
}

/// Notes the origin of each key of a file.
fn note(table: &Table, path: String, origin: &Origin, origins: &mut BTreeMap<String, Origin>) {
    for (name, value) in table {
        let dotted = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            toml::Value::Table(inner) => {
                note(inner, dotted.clone(), origin, origins);
                origins.insert(dotted, origin.clone()); // for keys that are tables themselves
            }
            toml::Value::Array(items) if name == "sink" && path.is_empty() => {
                for sink in items.iter().filter_map(toml::Value::as_table) {
                    let of = |key: &str| sink.get(key).and_then(toml::Value::as_str);
                    let named = of("name").or(of("type")).unwrap_or_default();
                    note(sink, format!("sink.{named}"), origin, origins);
                }
            }
            _ => {
                origins.insert(dotted, origin.clone());
            }
        }
    }
}

/// Adds to an error about a key that is not known what was probably meant.
pub(crate) fn explained(mut error: RuleError) -> RuleError {
    let names: Vec<&str> = error.reason.split('`').skip(1).step_by(2).collect();
    if !error.reason.starts_with("unknown field") && !error.reason.starts_with("unknown variant") {
        return error;
    }
    let Some((&unknown, known)) = names.split_first() else { return error };
    let what = if error.reason.starts_with("unknown field") { "key" } else { "value" };
    let elsewhere = || keys().into_iter().find(|key| key.path.last().is_some_and(|name| name == unknown));
    let reason = match (nearest(unknown, known.iter().map(|&name| name.to_owned())), elsewhere()) {
        (Some(near), _) => format!("unknown {what} `{unknown}`; did you mean `{near}`?"),
        (None, Some(key)) if what == "key" && key.path.len() > 1 => {
            let table = key.path.get(..key.path.len() - 1).unwrap_or_default().join(".");
            let table = if table == "sink" { "[[sink]]".to_owned() } else { format!("[{table}]") };
            format!("unknown key `{unknown}` here; it belongs to {table}")
        }
        _ => format!("unknown {what} `{unknown}`; there are {}", known.join(", ")),
    };
    error.reason = reason;
    error
}

/// The name that is nearest, if it is near: at most a third of its letters differ.
pub(crate) fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let near = known.map(|known| (distance(name, &known), known)).min()?;
    (near.0 <= name.chars().count().div_ceil(3)).then_some(near.1)
}

/// Letters to insert, remove, change or swap with their neighbour to make one of the other (optimal string alignment). Names
/// are short: those beyond 64 letters are not compared.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().take(64).collect(), other.chars().take(64).collect());
    let width = other.len() + 1;
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..width).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, with) in other.iter().enumerate() {
            let at = |line: &[usize], place: usize| line.get(place).copied().unwrap_or(usize::MAX / 2);
            let changed = at(&above, column) + usize::from(letter != with);
            let mut least = changed.min(at(&above, column + 1) + 1).min(at(&line, column) + 1);
            let swapped =
                row > 0 && column > 0 && one.get(row - 1) == Some(with) && other.get(column - 1) == Some(letter);
            if swapped {
                least = least.min(at(&before, column - 1) + 1);
            }
            line.push(least);
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(0)
}

/// The value at a dotted path of settings that were written as JSON.
pub(crate) fn at<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, name| value.get(name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("a file");
        let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        load(Some(file.path()), variables).map_err(|error| error.to_string())
    }

    #[test]
    fn each_layer_covers_the_one_before() {
        let loaded = load_text(
            "workers = 3\n[stream]\nmax_flows = 7\n[[sink]]\ntype = 'webhook'\nname = 'my-hook'\nurl = 'http://a'\n",
            &[
                ("APITAP_STREAM__IDLE_TIMEOUT", "9"),
                ("APITAP_STREAM__MAX_FLOWS", "8"),
                ("APITAP_CLIENT__TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1/32"),
                ("APITAP_SINK__MY_HOOK__TOKEN", "123"),
                ("APITAP_SHARED", "no setting"),
                ("HOME", "/a__b"),
            ],
        )
        .expect("well");
        let settings = &loaded.settings;
        assert_eq!((settings.workers, settings.stream.max_flows, settings.stream.idle_timeout), (Some(3), 8, 9));
        assert_eq!(settings.client.trusted_proxies.len(), 2);
        assert_eq!(settings.sink.first().and_then(|sink| sink.token.as_ref()).map(|token| token.reveal()), Some("123"));
        assert!(matches!(loaded.origin("workers"), Origin::File(_)));
        assert_eq!(loaded.origin("stream.max_flows"), Origin::Environment("APITAP_STREAM__MAX_FLOWS".into()));
        assert!(matches!(loaded.origin("sink.my-hook.url"), Origin::File(_)));
        assert_eq!(loaded.origin("sink.my-hook.token"), Origin::Environment("APITAP_SINK__MY_HOOK__TOKEN".into()));
        assert_eq!(loaded.origin("stream.held_total"), Origin::Default);
    }

    #[test]
    fn keys_outside_tables_have_variables_too() {
        let quota = "[{ name = 'a', per = ['client'], window = 'hour', calls = 5 }]";
        let loaded = load_text("workers = 3\n", &[("APITAP_WORKERS", "2"), ("APITAP_QUOTA", quota)]).expect("well");
        assert_eq!((loaded.settings.workers, loaded.settings.quota.len()), (Some(2), 1));
        assert_eq!(loaded.origin("workers"), Origin::Environment("APITAP_WORKERS".into()));
        // What Kubernetes sets for a service that is called so.
        assert!(load_text("", &[("APITAP_PORT", "tcp://10.0.0.1:9"), ("APITAP_SERVICE_HOST", "10.0.0.1")]).is_ok());
    }

    #[test]
    fn mistakes_come_with_what_was_meant() {
        for (text, named) in [
            ("\n[stream]\nmax_flow = 1\n", ":3: unknown key `max_flow`; did you mean `max_flows`?"),
            ("wrokers = 1\n", ":1: unknown key `wrokers`; did you mean `workers`?"),
            ("max_flows = 1\n", "unknown key `max_flows` here; it belongs to [stream]"),
            ("[[sink]]\ntype = 'stdot'\n", "unknown value `stdot`; did you mean `stdout`?"),
            ("[[sink]]\ntype = 'stdout'\nfromat = 'cef'\n", "unknown key `fromat`; did you mean `format`?"),
            ("[stream]\nmax_flows = 'many'\n", ":2: "),
        ] {
            let error = load_text(text, &[]).expect_err(text);
            assert!(error.contains(named), "{text}: {error}");
        }
        for (variable, value, named) in [
            ("APITAP_STREAM__MAX_FLOW", "1", "did you mean APITAP_STREAM__MAX_FLOWS?"),
            ("APITAP_STREAM__MAX_FLOWS", "many", "$APITAP_STREAM__MAX_FLOWS"),
            ("APITAP_STREAM__MAX_FLOWS", "-1", "$APITAP_STREAM__MAX_FLOWS"),
            ("APITAP_SINK__NOBODY__URL", "http://a", "no sink that is called nobody"),
        ] {
            let error = load_text("", &[(variable, value)]).expect_err(variable);
            assert!(error.contains(named), "{variable}: {error}");
        }
    }

    #[test]
    fn letters_that_differ() {
        for (one, other, count) in [("", "abc", 3), ("abc", "acb", 1), ("abc", "abc", 0), ("kitten", "sitting", 3)] {
            assert_eq!(distance(one, other), count, "{one} {other}");
        }
    }
}
