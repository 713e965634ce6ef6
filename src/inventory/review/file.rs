//! The file: a list of entries in TOML.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::super::report::Endpoint;
use crate::glob::Glob;
use crate::rules::{RuleError, RuleFile};

/// What an entry says of sensitive data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Marked {
    /// What is there is sensitive, or is not, whatever is recognised.
    All(bool),
    /// These classes are known to be there.
    Classes(BTreeSet<String>),
}

impl<'de> Deserialize<'de> for Marked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Marked;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or a list of classes such as [\"email\"]")
            }

            fn visit_bool<E: Error>(self, all: bool) -> Result<Marked, E> {
                Ok(Marked::All(all))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Marked, A::Error> {
                let mut classes = BTreeSet::new();
                while let Some(class) = list.next_element()? {
                    classes.insert(class);
                }
                Ok(Marked::Classes(classes))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    endpoint: Vec<Spanned<WrittenEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    service: Option<Spanned<String>>,
    method: Option<Spanned<String>>,
    template: Option<Spanned<String>>,
    operation: Option<Spanned<String>>,
    owner: Option<String>,
    note: Option<String>,
    ignore: Option<bool>,
    internal: Option<bool>,
    sensitive: Option<Marked>,
}

/// An entry.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its line in the file, from 1.
    pub(super) line: usize,
    service: Option<Glob>,
    method: Option<Glob>,
    template: Option<Glob>,
    operation: Option<Glob>,
    /// As written.
    title: String,
    pub(super) owner: Option<String>,
    pub(super) note: Option<String>,
    pub(super) ignore: Option<bool>,
    pub(super) internal: Option<bool>,
    pub(super) sensitive: Option<Marked>,
}

impl Entry {
    /// Whether it speaks of an endpoint.
    pub(super) fn fits(&self, endpoint: &Endpoint) -> bool {
        let fits = |glob: &Option<Glob>, text: &str| glob.as_ref().is_none_or(|glob| glob.fits(text));
        let operation = endpoint.operation.as_ref().map_or("", |operation| &operation.name);
        fits(&self.service, &endpoint.host)
            && (fits(&self.method, &endpoint.method) || fits(&self.method, endpoint.verb()))
            && fits(&self.template, &endpoint.template)
            && fits(&self.operation, operation)
    }

    /// Service, method and template, where it names just one of each.
    pub(super) fn exact(&self) -> Option<(String, String, String)> {
        let literal = |glob: &Option<Glob>| glob.as_ref()?.literal();
        Some((literal(&self.service)?, literal(&self.method)?, literal(&self.template)?))
    }

    /// What it names, as written.
    pub(super) fn title(&self) -> String {
        self.title.clone()
    }
}

/// The entries of a file.
pub(super) fn entries(path: &Path, text: String) -> Result<Vec<Entry>, RuleError> {
    let file = RuleFile::new(path, text);
    let written: Written = file.parse().map_err(|error| named(&file, error))?;
    written.endpoint.into_iter().map(|entry| Entry::of(&file, entry)).collect()
}

/// An error that says what key it is about.
fn named(file: &RuleFile, mut error: RuleError) -> RuleError {
    let line = error.line.and_then(|line| file.text.lines().nth(line.saturating_sub(1)));
    let key = line.and_then(|line| line.split_once('=')).map_or("", |(key, _)| key.trim());
    if !key.is_empty() && !error.reason.contains(&format!("`{key}`")) {
        error.reason = format!("{key}: {}", error.reason);
    }
    error
}

impl Entry {
    fn of(file: &RuleFile, entry: Spanned<WrittenEntry>) -> Result<Entry, RuleError> {
        let start = entry.span().start;
        let entry = entry.into_inner();
        let names = [
            ("service", &entry.service),
            ("method", &entry.method),
            ("template", &entry.template),
            ("operation", &entry.operation),
        ];
        for (key, name) in names {
            if let Some(name) = name.as_ref().filter(|name| name.get_ref().is_empty()) {
                let reason = format!("{key}: it is empty; leave it out where any will do");
                return Err(file.error_at(name.span().start, reason));
            }
        }
        if names.iter().all(|(_, name)| name.is_none()) {
            let reason = "an entry has none of the keys service, method, template and operation: it would fit all";
            return Err(file.error_at(start, reason));
        }
        let text = |name: &Option<Spanned<String>>| name.as_ref().map(|name| name.get_ref().clone());
        let [service, method, template, operation] =
            [&entry.service, &entry.method, &entry.template, &entry.operation].map(text);
        let any = |text: &Option<String>| text.clone().unwrap_or_else(|| "*".to_owned());
        let mut title = format!("{} {}", any(&method), any(&service));
        title.push_str(template.as_deref().unwrap_or("/**"));
        if let Some(operation) = &operation {
            title.push(' ');
            title.push_str(operation);
        }
        // Hosts are told in lower case, methods as they are sent.
        let lower = service.map(|service| service.to_ascii_lowercase());
        let glob = |text: Option<String>| text.as_deref().map(Glob::new);
        Ok(Entry {
            line: file.line_of(start),
            service: glob(lower),
            // A HEAD asks for what a GET would get: they are one endpoint.
            method: glob(method.map(|method| if method == "HEAD" { "GET".to_owned() } else { method })),
            template: glob(template),
            operation: glob(operation),
            title,
            owner: entry.owner,
            note: entry.note,
            ignore: entry.ignore,
            internal: entry.internal,
            sensitive: entry.sensitive,
        })
    }
}
