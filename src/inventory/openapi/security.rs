//! How calls said who calls, as security schemes.
//!
//! A kind of credential that has names (a key in a header or the query, a session in a cookie) is a scheme for each name: what an endpoint asks
//! for is what its own calls had.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::report::{Endpoint, Parameter};

/// The member of a scheme that says that its name is not known: where calls had the key is not said by it.
pub(in super::super) const UNNAMED: &str = "x-apitap-unnamed";

/// Kinds of credentials that have names, where they are looked for, first where is customary, and the name that is.
const NAMED: [(&str, &[&str], &str); 2] =
    [("api_key", &["header", "query"], "X-API-Key"), ("cookie", &["cookie"], "session")];

/// Where a key is, and its name; both empty where that is not known.
type Name = (String, String);

/// The schemes of a document.
#[derive(Debug, Default)]
pub(super) struct Schemes {
    /// By kind and name, with how many endpoints have the name.
    names: BTreeMap<(&'static str, Name), (String, usize)>,
    written: Map<String, Value>,
}

impl Schemes {
    /// Of all endpoints of a document.
    pub(super) fn of(endpoints: &[&Endpoint]) -> Schemes {
        let mut schemes = Schemes::default();
        for kind in endpoints.iter().flat_map(|endpoint| endpoint.auth.keys()).collect::<BTreeSet<_>>() {
            let scheme = match kind.as_str() {
                "basic" | "bearer" => json!({"type": "http", "scheme": kind}),
                "other" => {
                    json!({"type": "http", "scheme": "other", "description": "A scheme that is neither Basic nor Bearer"})
                }
                _ => continue,
            };
            schemes.written.insert(kind.clone(), scheme);
        }
        for (kind, places, usual) in NAMED {
            let mut counts: BTreeMap<Name, usize> = BTreeMap::new();
            for endpoint in endpoints.iter().filter(|endpoint| endpoint.auth.contains_key(kind)) {
                for name in names(endpoint, kind, places) {
                    *counts.entry(name).or_default() += 1;
                }
            }
            let mut all: Vec<_> = counts.into_iter().collect();
            all.sort_by_key(|(name, count)| (name.1.is_empty(), Reverse(*count), name.clone()));
            for (name, count) in all {
                let identifier = schemes.identifier(kind, &name.1);
                let scheme = match (name.0.as_str(), name.1.as_str()) {
                    (_, "") => json!({"type": "apiKey", "in": places.first(), "name": usual, UNNAMED: true,
                        "description": "The name is the customary one; what was observed had it elsewhere"}),
                    (place, name) => json!({"type": "apiKey", "in": place, "name": name}),
                };
                schemes.written.insert(identifier.clone(), scheme);
                schemes.names.insert((kind, name), (identifier, count));
            }
        }
        schemes
    }

    /// What an endpoint asks for: one of these; nothing where nobody said who calls.
    pub(super) fn security(&self, endpoint: &Endpoint) -> Option<Value> {
        let mut all = Vec::new();
        for kind in endpoint.auth.keys() {
            match NAMED.iter().find(|(named, ..)| named == kind) {
                Some(&(kind, places, _)) => {
                    let named = self.named(endpoint, kind, places);
                    all.extend(named.into_iter().map(|(identifier, _)| json!({identifier: []})));
                }
                None if kind == "none" => all.push(json!({})),
                None => all.push(json!({kind: []})),
            }
        }
        endpoint.auth.keys().any(|kind| kind != "none").then(|| all.into())
    }

    /// Whether a parameter of an endpoint is one of the keys that it asks for.
    pub(super) fn has(&self, endpoint: &Endpoint, parameter: &Parameter) -> bool {
        let kinds = NAMED.iter().filter(|(kind, ..)| endpoint.auth.contains_key(*kind));
        let mut named = kinds.flat_map(|(kind, places, _)| self.named(endpoint, kind, places));
        named.any(|(_, (place, name))| place == parameter.place && name == parameter.name)
    }

    /// The schemes of a kind of which an endpoint asks for one, with their names.
    fn named(&self, endpoint: &Endpoint, kind: &'static str, places: &[&str]) -> Vec<(&str, Name)> {
        let all = names(endpoint, kind, places).into_iter();
        let known = all.filter_map(|name| {
            let (identifier, count) = self.names.get(&(kind, name.clone()))?;
            Some((identifier.as_str(), *count, name))
        });
        let known: Vec<_> = known.collect();
        // Of several that every call has, one says it.
        let always = known.iter().filter(|(.., (place, name))| is_always(endpoint, place, name));
        match always.max_by_key(|(identifier, count, _)| (*count, Reverse(*identifier))) {
            Some((identifier, _, name)) => vec![(identifier, name.clone())],
            None => known.into_iter().map(|(identifier, _, name)| (identifier, name)).collect(),
        }
    }

    /// As they are written.
    pub(super) fn into_value(self) -> Value {
        self.written.into()
    }

    /// A name for a scheme: of the first of a kind that kind.
    fn identifier(&self, kind: &str, name: &str) -> String {
        let plain: String = name.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '_' }).collect();
        let wanted = match self.written.contains_key(kind) {
            true if plain.is_empty() => format!("{kind}_elsewhere"),
            true => format!("{kind}_{plain}"),
            false => kind.to_owned(),
        };
        let others = (2..).map(|number| format!("{wanted}_{number}"));
        let mut all = std::iter::once(wanted.clone()).chain(others);
        // There are fewer schemes than numbers.
        all.find(|one| !self.written.contains_key(one)).unwrap_or(wanted)
    }
}

/// Names under which an endpoint's calls had a kind of credential; an empty one where not all of them are known by name.
fn names(endpoint: &Endpoint, kind: &str, places: &[&str]) -> Vec<Name> {
    let of_kind = endpoint.parameters.iter().filter(|one| one.credential && places.contains(&one.place.as_str()));
    let mut names: Vec<_> = of_kind.map(|one| (one.place.clone(), one.name.clone())).collect();
    let alone = endpoint.auth.keys().all(|other| other == kind || other == "none");
    let enough = match names.as_slice() {
        [] => false,
        [(place, name)] => !alone || endpoint.auth.contains_key("none") || is_always(endpoint, place, name),
        _ => true,
    };
    if !enough {
        names.push(Name::default());
    }
    names
}

/// Whether every call has a parameter.
fn is_always(endpoint: &Endpoint, place: &str, name: &str) -> bool {
    endpoint.parameters.iter().any(|one| one.place == place && one.name == name && one.required)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_asks_for_what_its_calls_had() {
        let endpoint = |auth: &[&str], keys: &[(&str, &str, bool)]| Endpoint {
            auth: auth.iter().map(|kind| ((*kind).to_owned(), 4)).collect(),
            parameters: keys
                .iter()
                .map(|(place, name, required)| Parameter {
                    place: (*place).into(),
                    name: (*name).into(),
                    required: *required,
                    credential: true,
                    ..Parameter::default()
                })
                .collect(),
            ..Endpoint::default()
        };
        let all = [
            endpoint(&["api_key"], &[("header", "x-api-key", true)]),
            endpoint(&["api_key", "none"], &[("header", "x-api-key", false)]),
            endpoint(&["api_key"], &[("header", "x-token", true)]),
            endpoint(&["api_key"], &[("header", "x-token", false), ("header", "x-api-key", false)]),
            // Of logs, which do not say where it was.
            endpoint(&["api_key"], &[]),
            endpoint(&["bearer", "cookie"], &[("cookie", "sid", false)]),
            endpoint(&["cookie"], &[("cookie", "sid", true), ("cookie", "sso", true)]),
            endpoint(&["api_key"], &[("query", "api_key", true)]),
            endpoint(&["api_key"], &[("query", "api_key", true), ("header", "x-api-key", true)]),
            endpoint(&["none"], &[("query", "token", false)]),
        ];
        let schemes = Schemes::of(&all.iter().collect::<Vec<_>>());
        let expected = [
            json!([{"api_key": []}]),
            json!([{"api_key": []}, {}]),
            json!([{"api_key_x_token": []}]),
            json!([{"api_key_x_token": []}, {"api_key": []}]),
            json!([{"api_key_elsewhere": []}]),
            json!([{"bearer": []}, {"cookie": []}]),
            json!([{"cookie": []}]),
            json!([{"api_key_api_key": []}]),
            json!([{"api_key": []}]),
        ];
        for (one, expected) in all.iter().zip(expected) {
            assert_eq!(schemes.security(one), Some(expected));
        }
        assert_eq!(schemes.security(&all[9]), None);
        let has = |number: usize| schemes.has(&all[number], &all[number].parameters[0]);
        assert_eq!([0, 7, 8, 9].map(has), [true, true, false, false], "what a scheme names is no parameter besides");
        let written = schemes.into_value();
        assert_eq!(written["cookie"], json!({"type": "apiKey", "in": "cookie", "name": "sid"}));
        assert_eq!(written["api_key_api_key"], json!({"type": "apiKey", "in": "query", "name": "api_key"}));
        assert_eq!(written["api_key_x_token"], json!({"type": "apiKey", "in": "header", "name": "x-token"}));
        assert_eq!(
            (&written["api_key_elsewhere"]["name"], &written["api_key_elsewhere"][UNNAMED]),
            (&json!("X-API-Key"), &json!(true))
        );
    }
}
