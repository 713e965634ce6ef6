//! What changed between two inventories, and whether that breaks who relies on it.
//!
//! Both are what was observed: what is gone may only not have been called. What a client may have relied on and is no
//! longer there, or what it must now do and did not have to, is breaking; the rest is harmless. What concerns security is
//! marked besides.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::report::{Endpoint, Message, Parameter, Schema};
use crate::call::{Type, Types};

/// The version of the JSON form.
pub const SCHEMA: &str = "apitap.change.v1";

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// [`SCHEMA`].
    pub schema: String,
    /// What changed: `endpoint_new`, `endpoint_gone`, `parameter_new`, `parameter_gone`, `parameter_required`,
    /// `parameter_types`, `field_new`, `field_gone`, `field_required`, `field_optional`, `field_types`, `sensitive_new`,
    /// `sensitive_gone`, `status_new`, `status_gone`, `outcome_new`, `outcome_gone`, `auth_new`, `auth_gone`, `caller_new`, `caller_gone`.
    pub kind: String,
    /// It breaks who relied on what was.
    pub breaking: bool,
    /// It concerns security: another class of sensitive data, calls without a credential.
    pub security: bool,
    /// Method, host, template and operation.
    pub endpoint: String,
    /// `request` or `response`, where it is about one of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub side: Option<String>,
    /// What changed there: a parameter, the path of a field (`items[].price`), a class, a status, a caller.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub what: String,
    /// What it was and what it is.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub detail: String,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let effect = if self.breaking { "breaking" } else { "harmless" };
        write!(f, "{effect}  {}  {}", self.kind, self.endpoint.escape_debug())?;
        for part in [self.side.as_deref().unwrap_or_default(), &self.what, &self.detail] {
            if !part.is_empty() {
                write!(f, "  {}", part.escape_debug())?;
            }
        }
        if self.security { write!(f, "  (security)") } else { Ok(()) }
    }
}

/// The changes of one endpoint.
struct Changes<'c> {
    all: &'c mut Vec<Change>,
    endpoint: String,
}

impl Changes<'_> {
    fn add(&mut self, kind: &str, breaking: bool, side: Option<&str>, what: &str, detail: String) {
        let security = kind == "sensitive_new" || (kind == "auth_new" && what == "none");
        self.all.push(Change {
            schema: SCHEMA.to_owned(),
            kind: kind.to_owned(),
            breaking,
            security,
            endpoint: self.endpoint.clone(),
            side: side.map(str::to_owned),
            what: what.to_owned(),
            detail,
        });
    }

    /// What is in one of two sets only.
    fn sets<T: Ord + ToString>(&mut self, name: &str, side: Option<&str>, before: &BTreeSet<T>, now: &BTreeSet<T>) {
        for new in now.difference(before) {
            self.add(&format!("{name}_new"), false, side, &new.to_string(), String::new());
        }
        for gone in before.difference(now) {
            self.add(&format!("{name}_gone"), false, side, &gone.to_string(), String::new());
        }
    }
}

/// The changes from one inventory to another, in the order of their endpoints.
pub fn changes(before: &[Endpoint], now: &[Endpoint]) -> Vec<Change> {
    let by_key = |all: &'_ [Endpoint]| -> BTreeMap<_, _> {
        all.iter()
            .map(|endpoint| {
                let (host, template, method, operation) = endpoint.key();
                ((host.to_owned(), template.to_owned(), method.to_owned(), operation.cloned()), endpoint.clone())
            })
            .collect()
    };
    let (before, now) = (by_key(before), by_key(now));
    let keys: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let mut all = Vec::new();
    for key in keys {
        match (before.get(key), now.get(key)) {
            (Some(gone), None) => {
                let mut changes = Changes { all: &mut all, endpoint: gone.title() };
                changes.add("endpoint_gone", true, None, "", format!("last seen {}", gone.last));
            }
            (None, Some(new)) => {
                let mut changes = Changes { all: &mut all, endpoint: new.title() };
                changes.add("endpoint_new", false, None, "", format!("first seen {}", new.first));
                let classes: BTreeSet<_> = new.request.sensitive.iter().chain(&new.response.sensitive).collect();
                for class in classes {
                    changes.add("sensitive_new", false, None, class, String::new());
                }
            }
            (Some(before), Some(now)) => {
                compare(before, now, &mut Changes { all: &mut all, endpoint: now.title() });
            }
            (None, None) => {}
        }
    }
    all
}

fn compare(before: &Endpoint, now: &Endpoint, changes: &mut Changes<'_>) {
    parameters(&before.parameters, &now.parameters, changes);
    messages("request", &before.request, &now.request, changes);
    messages("response", &before.response, &now.response, changes);
    let statuses = |of: &Endpoint| of.statuses.keys().copied().collect::<BTreeSet<u16>>();
    changes.sets("status", None, &statuses(before), &statuses(now));
    let outcomes = |of: &Endpoint| of.outcomes.keys().copied().collect::<BTreeSet<u16>>();
    changes.sets("outcome", None, &outcomes(before), &outcomes(now));
    let kinds = |of: &Endpoint| of.auth.keys().cloned().collect::<BTreeSet<String>>();
    changes.sets("auth", None, &kinds(before), &kinds(now));
    // Of many, not all are known.
    let callers = |of: &Endpoint| of.callers.iter().copied().collect::<BTreeSet<_>>();
    let known = |of: &Endpoint| !of.callers.is_empty();
    if known(before) && known(now) {
        changes.sets("caller", None, &callers(before), &callers(now));
    }
}

fn parameters(before: &[Parameter], now: &[Parameter], changes: &mut Changes<'_>) {
    // Those of a path are its template; what says who calls is told of as a credential.
    let by_name = |all: &'_ [Parameter]| -> BTreeMap<String, Parameter> {
        let all = all.iter().filter(|parameter| parameter.place != "path" && !parameter.credential);
        all.map(|parameter| (told(parameter), parameter.clone())).collect()
    };
    let (before, now) = (by_name(before), by_name(now));
    for (name, new) in &now {
        let Some(old) = before.get(name) else {
            let detail = if new.required { "required" } else { "optional" };
            changes.add("parameter_new", new.required, None, name, detail.to_owned());
            continue;
        };
        if new.required && !old.required {
            changes.add("parameter_required", true, None, name, String::new());
        }
        let (old, new): (BTreeSet<_>, BTreeSet<_>) = (old.types.iter().collect(), new.types.iter().collect());
        if !new.is_subset(&old) {
            let detail = format!("{} became {}", list(&old), list(&new));
            changes.add("parameter_types", false, None, name, detail);
        }
    }
    for name in before.keys().filter(|name| !now.contains_key(*name)) {
        changes.add("parameter_gone", false, None, name, String::new());
    }
}

/// A parameter as it is told of: by its name, with what it is where that is not the query's.
fn told(parameter: &Parameter) -> String {
    match parameter.place.as_str() {
        "query" => parameter.name.clone(),
        place => format!("{place} {}", parameter.name),
    }
}

fn list(all: &BTreeSet<&String>) -> String {
    all.iter().map(|one| one.as_str()).collect::<Vec<_>>().join("|")
}

fn messages(side: &str, before: &Message, now: &Message, changes: &mut Changes<'_>) {
    let response = side == "response";
    let mut classes = (before.sensitive.clone(), now.sensitive.clone());
    if let (Some(old), Some(new)) = (&before.body, &now.body) {
        let (mut fields, mut later) = (BTreeMap::new(), BTreeMap::new());
        old.walk(&mut |path, schema| {
            fields.insert(path.to_owned(), schema);
        });
        new.walk(&mut |path, schema| {
            later.insert(path.to_owned(), schema);
        });
        for (path, new) in &later {
            let Some(old) = fields.get(path) else {
                // Of what is new as a whole, the parts need no telling.
                if around(path).is_none_or(|around| fields.contains_key(around)) {
                    let detail = if new.optional { "optional" } else { "required" };
                    changes.add("field_new", !response && !new.optional, Some(side), path, detail.to_owned());
                }
                continue;
            };
            field(side, path, old, new, changes);
        }
        for path in fields.keys().filter(|path| !later.contains_key(*path)) {
            if around(path).is_none_or(|around| later.contains_key(around)) {
                changes.add("field_gone", response, Some(side), path, String::new());
            }
        }
        // Where the field is known, the message need not be told.
        for (path, new) in &later {
            for class in &new.sensitive {
                let was = fields.get(path).is_some_and(|old| old.sensitive.contains(class));
                if !was {
                    changes.add("sensitive_new", false, Some(side), path, class.clone());
                }
                classes.0.insert(class.clone());
            }
        }
    }
    changes.sets("sensitive", Some(side), &classes.0, &classes.1);
}

/// The path of what a field lies in.
fn around(path: &str) -> Option<&str> {
    if let Some(list) = path.strip_suffix("[]") {
        return Some(list);
    }
    match path.rfind('.') {
        Some(point) => path.get(..point),
        None => (!path.is_empty()).then_some(""),
    }
}

fn field(side: &str, path: &str, old: &Schema, new: &Schema, changes: &mut Changes<'_>) {
    let response = side == "response";
    if old.optional && !new.optional {
        changes.add("field_required", !response, Some(side), path, String::new());
    }
    if !old.optional && new.optional {
        changes.add("field_optional", response, Some(side), path, String::new());
    }
    // Numbers without a fraction are numbers.
    let plain = |types: Types| {
        let mut types = types;
        if types.contains(Type::Integer) {
            types.insert(Type::Number);
        }
        types
    };
    let covered = |one: Type| old.types.contains(one) || (one == Type::Integer && old.types.contains(Type::Number));
    let gained = new.types.iter().any(|one| !covered(one) && one != Type::Number);
    let fraction = new.types.contains(Type::Number) && !old.types.contains(Type::Number);
    let lost = old.types.iter().any(|one| !plain(new.types).contains(one));
    if gained || fraction || lost {
        let names = |types: Types| types.iter().map(Type::name).collect::<Vec<_>>().join("|");
        let breaking =
            if response { (gained || fraction) && !old.types.is_empty() } else { lost && !new.types.is_empty() };
        let detail = format!("{} became {}", names(old.types), names(new.types));
        changes.add("field_types", breaking, Some(side), path, detail);
    }
}
