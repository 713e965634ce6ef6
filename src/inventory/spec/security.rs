//! What a specification demands of who calls, and whether calls had it.
//!
//! Requirements are alternatives, each of several schemes that go together (OpenAPI 3.1, Security Requirement Object). Of
//! an endpoint it is known how many calls had which kind of credential and whether all had a parameter, not which call had
//! what; so it is reckoned how many calls can have had what is demanded at most.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::facts::PLACES;
use super::super::openapi::UNNAMED;
use super::super::report::Endpoint;
use super::document::Specification;
use crate::inspect::shape::head::{is_name, is_own};

/// One scheme, as far as it can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scheme {
    /// A key in a parameter: `query`, `header` (its name in lower case) or `cookie`, and the name.
    Key(String, String),
    /// A key under a name that is not known, as the inventory's own document has it: of this kind of credential.
    Kind(&'static str),
    Basic,
    Bearer,
    /// Another scheme of the header `Authorization`.
    Other,
    /// One that does not show in calls (`mutualTLS`), or that nobody knows: it is taken to hold.
    Unseen,
}

/// What is demanded of the calls of an operation: one of the alternatives, all schemes of it. None of them demands nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Security {
    alternatives: Vec<Vec<Scheme>>,
}

/// What calls lack.
#[derive(Debug)]
pub(super) struct Lack {
    /// Calls that had nothing of what is demanded, at least.
    pub(super) calls: u64,
    /// There may be more of them.
    pub(super) or_more: bool,
    pub(super) of: u64,
}

impl Security {
    /// Reads requirements.
    pub(super) fn of(specification: &Specification, schemes: &Map<String, Value>, written: &Value) -> Arc<Security> {
        let all = written.as_array().into_iter().flatten().filter_map(Value::as_object);
        let scheme = |name: &String| {
            let known = schemes.get(name).and_then(|scheme| specification.resolve(scheme));
            known.map_or(Scheme::Unseen, Scheme::of)
        };
        Arc::new(Security { alternatives: all.map(|one| one.keys().map(scheme).collect()).collect() })
    }

    /// What the calls of an endpoint lack; none where all may have had what is demanded. `shaped` says that names of
    /// headers and cookies were looked at.
    pub(super) fn lack(&self, endpoint: &Endpoint, shaped: bool) -> Option<Lack> {
        let calls: u64 = endpoint.auth.values().sum();
        // An empty requirement among them makes it optional.
        if self.alternatives.is_empty() || self.alternatives.iter().any(Vec::is_empty) {
            return None;
        }
        let most = |schemes: &Vec<Scheme>| {
            let each = schemes.iter().map(|scheme| scheme.had(endpoint, calls, shaped));
            each.min_by_key(|had| had.calls).unwrap_or_default()
        };
        let had: Vec<Had> = self.alternatives.iter().map(most).collect();
        let together = had.iter().map(|had| had.calls).fold(0, u64::saturating_add);
        let lacking = calls.checked_sub(together).filter(|lacking| *lacking > 0)?;
        // The same calls may have had several, and what is known of one may be too much.
        let several = had.iter().filter(|had| had.calls > 0).count() > 1;
        let together = self.alternatives.iter().any(|schemes| schemes.len() > 1);
        let or_more = lacking < calls && (several || together || had.iter().any(|had| had.at_most));
        Some(Lack { calls: lacking, or_more, of: calls })
    }
}

impl std::fmt::Display for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, schemes) in self.alternatives.iter().enumerate() {
            f.write_str(if number > 0 { " or " } else { "" })?;
            for (number, scheme) in schemes.iter().enumerate() {
                f.write_str(if number > 0 { " and " } else { "" })?;
                match scheme {
                    Scheme::Key(place, name) => write!(f, "{place} {name}")?,
                    Scheme::Kind(kind) => f.write_str(kind)?,
                    Scheme::Basic => f.write_str("basic")?,
                    Scheme::Bearer => f.write_str("bearer")?,
                    Scheme::Other => f.write_str("another scheme")?,
                    Scheme::Unseen => f.write_str("what cannot be seen")?,
                }
            }
        }
        Ok(())
    }
}

/// How many calls had something.
#[derive(Clone, Copy, Debug, Default)]
struct Had {
    calls: u64,
    /// Or fewer.
    at_most: bool,
}

impl Scheme {
    fn of(written: &Value) -> Scheme {
        let text = |name: &str| written.get(name).and_then(Value::as_str).unwrap_or_default();
        match text("type") {
            "apiKey" if written.get(UNNAMED).is_some() => {
                Scheme::Kind(if text("in") == "cookie" { "cookie" } else { "api_key" })
            }
            "apiKey" if matches!(text("in"), "query" | "cookie") => Scheme::Key(text("in").into(), text("name").into()),
            "apiKey" if text("in") == "header" => Scheme::Key("header".into(), text("name").to_ascii_lowercase()),
            "http" => match text("scheme").to_ascii_lowercase().as_str() {
                "basic" => Scheme::Basic,
                "bearer" => Scheme::Bearer,
                "" => Scheme::Unseen,
                _ => Scheme::Other,
            },
            // Of version 2.0.
            "basic" => Scheme::Basic,
            "oauth2" | "openIdConnect" => Scheme::Bearer,
            _ => Scheme::Unseen,
        }
    }

    /// How many of an endpoint's calls had it.
    fn had(&self, endpoint: &Endpoint, calls: u64, shaped: bool) -> Had {
        let kind = |name: &str| endpoint.auth.get(name).copied().unwrap_or_default();
        // What is not known of a head may be what is demanded.
        let unknown = endpoint.partial_heads;
        let exactly = |had: u64| Had { calls: had.saturating_add(unknown).min(calls), at_most: unknown > 0 };
        match self {
            Scheme::Unseen => exactly(calls),
            Scheme::Kind(one) => exactly(kind(one)),
            Scheme::Basic => exactly(kind("basic")),
            Scheme::Other => exactly(kind("other")),
            Scheme::Bearer => {
                // It may come as a parameter, too (RFC 6750, section 2.3).
                let inside = of_parameter(endpoint, "query", "access_token", calls);
                let had = exactly(kind("bearer").saturating_add(inside.calls));
                Had { at_most: had.at_most || inside.at_most, ..had }
            }
            Scheme::Key(place, name) => match (place.as_str(), name.as_str()) {
                ("header", "authorization") => exactly(["basic", "bearer", "other"].map(kind).iter().sum()),
                ("header", name) if !is_own(name.as_bytes()) => exactly(calls),
                ("cookie", name) if !is_name(name.as_bytes()) => exactly(calls),
                ("header" | "cookie", _) if !shaped => exactly(calls),
                ("query", name) if name.len() > crate::call::NAME_LIMIT => exactly(calls),
                (place, name) => {
                    let had = of_parameter(endpoint, place, name, calls);
                    let all = exactly(had.calls);
                    if place == "query" { had } else { Had { at_most: had.at_most || all.at_most, ..all } }
                }
            },
        }
    }
}

/// How many of an endpoint's calls had a parameter.
fn of_parameter(endpoint: &Endpoint, place: &str, name: &str, calls: u64) -> Had {
    let mut here = endpoint.parameters.iter().filter(|parameter| parameter.place == place);
    if let Some(known) = here.clone().find(|parameter| parameter.name == name) {
        // Whoever has a credential is not among those that have none.
        let none = endpoint.auth.get("none").copied().filter(|_| known.credential).unwrap_or_default();
        let had = if known.required { calls } else { calls.saturating_sub(none.max(1)) };
        return Had { calls: had, at_most: !known.required };
    }
    // Where there are too many of them, not all are told apart.
    let most = PLACES.iter().find(|(known, _)| *known == place).map_or(0, |(_, most)| *most);
    let full = here.by_ref().count() >= most;
    Had { calls: if full { calls } else { 0 }, at_most: full }
}
