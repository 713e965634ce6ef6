//! What the operator says is meant to be there: values of these classes, in these fields, at these endpoints.
//!
//! Of a value its field is known where it is found, and its endpoint where the call is put together. So values in a field that
//! an allowance names are counted under a name of their own, and come to what they are, or to nothing, once host and path of the
//! call are known.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::context::field_name;
use super::names::Names;
use super::rules::Compiled;
use crate::call::{Call, Sensitive};

/// Between the name of a class and the number of an allowance: in no name of a class.
const MARK: char = '\u{1}';

/// One allowance, `[[inspect.allow]]`. What is left out stands for anything; at least one of the lists is to be given.
///
/// ```toml
/// [[inspect.allow]]
/// classes = ["phone", "email"]
/// fields = ["support_contact"]
/// hosts = ["shop.example"]
/// paths = ["/v1/stores/*", "/v1/imprint"]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Allowance {
    /// Classes of sensitive values, as `apitap rules list` names them.
    pub classes: Vec<String>,
    /// Names of fields: of JSON, forms, XML, columns of tables, parameters. Without regard to case, `-` and `_`.
    pub fields: Vec<String>,
    /// Hosts, lower case, without the port.
    pub hosts: Vec<String>,
    /// Paths, in which `*` stands for one segment and, at the end, `**` for all that follows.
    pub paths: Vec<String>,
}

/// All allowances, ready for use.
#[derive(Debug, Default)]
pub(super) struct Allowances {
    all: Vec<(Allowance, Names)>,
    /// Classes of values in fields that an allowance names: number of the class, number of the allowance, name.
    fields: Vec<(u16, usize, Arc<str>)>,
    /// How many classes there are besides.
    classes: u16,
}

impl Allowances {
    pub(super) fn new(all: &[Allowance], compiled: &Compiled) -> Allowances {
        let mut fields = Vec::new();
        for (number, one) in all.iter().enumerate().filter(|(_, one)| !one.fields.is_empty()) {
            for (class, known) in (0u16..).zip(&compiled.classes) {
                if one.classes.is_empty() || one.classes.iter().any(|name| **name == *known.name) {
                    fields.push((class, number, format!("{}{MARK}{number}", known.name).into()));
                }
            }
        }
        let names = |one: &Allowance| (one.clone(), Names::of(one.fields.iter().map(String::as_str)));
        Allowances { all: all.iter().map(names).collect(), fields, classes: compiled.classes.len() as u16 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The class that a value at `start` counts for: its own, or that of its field.
    #[inline]
    pub(super) fn class_of(&self, class: u16, bytes: &[u8], start: usize) -> u16 {
        if self.fields.is_empty() {
            return class;
        }
        let Some(name) = field_name(bytes, start) else { return class };
        let fits = |(of, number, _): &(u16, usize, Arc<str>)| {
            *of == class && self.all.get(*number).is_some_and(|(_, names)| names.has(name))
        };
        let place = self.fields.iter().position(fits).and_then(|place| u16::try_from(place).ok());
        place.map_or(class, |place| self.classes.saturating_add(place))
    }

    /// The name of a class that stands for a field.
    pub(super) fn name(&self, class: u16) -> Option<&Arc<str>> {
        self.fields.get(usize::from(class.checked_sub(self.classes)?)).map(|(.., name)| name)
    }

    /// Takes out of a call what is meant to be there.
    pub(super) fn settle(&self, call: &mut Call, merge: impl Fn(&mut Vec<Sensitive>, &[Sensitive])) {
        let host = call.host.as_deref().map(host_of).unwrap_or_default();
        let path = call.path.as_str();
        let here = |one: &Allowance| {
            (one.hosts.is_empty() || one.hosts.iter().any(|known| known.eq_ignore_ascii_case(host)))
                && (one.paths.is_empty() || one.paths.iter().any(|pattern| fits(pattern, path)))
        };
        for list in [&mut call.sensitive.request, &mut call.sensitive.response] {
            if list.is_empty() {
                continue;
            }
            let mut left: Vec<Sensitive> = Vec::with_capacity(list.len());
            for mut found in std::mem::take(list.edit()) {
                let name = found.class.clone();
                let (class, number) = match name.split_once(MARK) {
                    Some((class, number)) => (class, number.parse::<usize>().ok()),
                    None => (&*name, None),
                };
                let of_field = number.and_then(|number| self.all.get(number)).is_some_and(|(one, _)| here(one));
                let of_class = |(one, _): &(Allowance, Names)| {
                    let says = !one.classes.is_empty() || !one.hosts.is_empty() || !one.paths.is_empty();
                    says && one.fields.is_empty()
                        && (one.classes.is_empty() || one.classes.iter().any(|known| known == class))
                        && here(one)
                };
                if of_field || self.all.iter().any(of_class) {
                    continue;
                }
                if number.is_some() {
                    found.class = class.into();
                }
                merge(&mut left, &[found]);
            }
            *list = left.into();
        }
    }
}

/// A host without its port.
fn host_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a path is of a pattern.
fn fits(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (Some("**"), _) => return pattern.next().is_none(),
            (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{Inspector, Rules, Scans, Settings, Side};
    use crate::key::Key;

    #[test]
    fn patterns_of_paths() {
        for (pattern, path, wanted) in [
            ("/v1/stores/*", "/v1/stores/7", true),
            ("/v1/stores/*", "/v1/stores/7/staff", false),
            ("/v1/**", "/v1/stores/7/staff", true),
            ("/v1/**", "/v2/stores", false),
            ("/v1", "/v1", true),
            ("/v1", "/v1/", false),
        ] {
            assert_eq!(fits(pattern, path), wanted, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_allowed_is_not_told_and_all_else_is() {
        let told = |allow: &str, path: &str| {
            let rules = Rules::load(None).expect("the rules that are compiled in");
            let settings: Settings = toml::from_str(allow).expect("allowances");
            let inspector = Inspector::new(&rules, settings, Key::from_bytes([7; 16]));
            let idle = &mut Scans::default();
            let mut scan = inspector.begin(Side::Response, Some("application/json"), idle).expect("JSON");
            let body = br#"{"Support-Contact":"help@shop1.example","owner":"ana@mail2.example","iban":"DE44500105175407324931"}"#;
            inspector.data(&mut scan, body, true);
            let mut call = Call { host: Some("Shop.example:8080".into()), path: path.into(), ..Call::default() };
            inspector.merge(&mut call.sensitive.response, &inspector.finish(scan, idle).sensitive);
            inspector.settle(&mut call);
            let all = call.sensitive.response.iter().map(|found| format!("{} {}", found.class, found.count));
            all.collect::<Vec<_>>().join(", ")
        };
        let store = "/v1/stores/7";
        assert_eq!(told("", store), "email 2, iban 1");
        let field = "[[allow]]\nclasses = [\"email\"]\nfields = [\"support_contact\"]";
        assert_eq!(told(field, store), "email 1, iban 1");
        let there = format!("{field}\nhosts = [\"shop.example\"]\npaths = [\"/v1/stores/*\"]");
        assert_eq!(told(&there, store), "email 1, iban 1");
        // Elsewhere it is what it is.
        assert_eq!(told(&there, "/v1/users/7"), "email 2, iban 1");
        assert_eq!(told("[[allow]]\nclasses = [\"email\"]\npaths = [\"/v1/stores/*\"]", store), "iban 1");
        assert_eq!(told("[[allow]]\nclasses = [\"phone\"]", store), "email 2, iban 1");
        assert_eq!(told("[[allow]]", store), "email 2, iban 1", "what says nothing allows nothing");
        assert_eq!(told("[[allow]]\nfields = [\"iban\"]", store), "email 2");
    }
}
