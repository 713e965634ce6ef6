//! How calls said who calls, as security schemes.
//!
//! A kind of credential that has names (a key in a header, a session in a cookie) is a scheme for each name: what an endpoint asks
//! for is what its own calls had.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::report::Endpoint;

/// The member of a scheme that says that its name is not known: where calls had the key is not said by it.
pub(in super::super) const UNNAMED: &str = "x-apitap-unnamed";

/// Kinds of credentials that have names, where they are looked for, and the name that is customary.
const NAMED: [(&str, &str, &str); 2] = [("api_key", "header", "X-API-Key"), ("cookie", "cookie", "session")];

/// The schemes of a document.
#[derive(Debug, Default)]
pub(super) struct Schemes {
    /// By kind and name, with how many endpoints have the name. The customary name of what has none is empty.
    names: BTreeMap<(&'static str, String), (String, usize)>,
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
        for (kind, place, usual) in NAMED {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for endpoint in endpoints.iter().filter(|endpoint| endpoint.auth.contains_key(kind)) {
                for name in names(endpoint, kind, place) {
                    *counts.entry(name).or_default() += 1;
                }
            }
            let mut all: Vec<_> = counts.into_iter().collect();
            all.sort_by_key(|(name, count)| (name.is_empty(), Reverse(*count), name.clone()));
            for (name, count) in all {
                let identifier = schemes.identifier(kind, &name);
                let scheme = match name.as_str() {
                    "" => json!({"type": "apiKey", "in": place, "name": usual, UNNAMED: true,
                        "description": "The name is the customary one; what was observed had it elsewhere"}),
                    name => json!({"type": "apiKey", "in": place, "name": name}),
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
                Some(&(kind, place, _)) => {
                    let mut named: Vec<_> = names(endpoint, kind, place)
                        .into_iter()
                        .filter_map(|name| {
                            self.names
                                .get(&(kind, name.clone()))
                                .map(|known| (known, is_always(endpoint, place, &name)))
                        })
                        .collect();
                    // Of several that every call has, one says it.
                    if let Some(one) = named
                        .iter()
                        .filter(|(_, always)| *always)
                        .max_by_key(|((id, count), _)| (*count, Reverse(id)))
                        .copied()
                    {
                        named = vec![one];
                    }
                    all.extend(named.into_iter().map(|((identifier, _), _)| json!({identifier: []})));
                }
                None if kind == "none" => all.push(json!({})),
                None => all.push(json!({kind: []})),
            }
        }
        endpoint.auth.keys().any(|kind| kind != "none").then(|| all.into())
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
fn names(endpoint: &Endpoint, kind: &str, place: &str) -> Vec<String> {
    let of_kind = endpoint.parameters.iter().filter(|one| one.credential && one.place == place);
    let mut names: Vec<_> = of_kind.map(|one| one.name.clone()).collect();
    let alone = endpoint.auth.keys().all(|other| other == kind || other == "none");
    let enough = match names.as_slice() {
        [] => false,
        [one] => !alone || endpoint.auth.contains_key("none") || is_always(endpoint, place, one),
        _ => true,
    };
    if !enough {
        names.push(String::new());
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
    use crate::inventory::report::Parameter;

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
            // In the query, where a key is not told from other parameters.
            endpoint(&["api_key"], &[]),
            endpoint(&["bearer", "cookie"], &[("cookie", "sid", false)]),
            endpoint(&["cookie"], &[("cookie", "sid", true), ("cookie", "sso", true)]),
            endpoint(&["none"], &[]),
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
        ];
        for (one, expected) in all.iter().zip(expected) {
            assert_eq!(schemes.security(one), Some(expected));
        }
        assert_eq!(schemes.security(&all[7]), None);
        let written = schemes.into_value();
        assert_eq!(written["cookie"], json!({"type": "apiKey", "in": "cookie", "name": "sid"}));
        assert_eq!(written["api_key_x_token"], json!({"type": "apiKey", "in": "header", "name": "x-token"}));
        assert_eq!(
            (&written["api_key_elsewhere"]["name"], &written["api_key_elsewhere"][UNNAMED]),
            (&json!("X-API-Key"), &json!(true))
        );
    }
}
