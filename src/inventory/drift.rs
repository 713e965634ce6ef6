//! What changed between two inventories, and whether that breaks who relies on it.
//!
//! Both are what was observed: what is gone may only not have been called. What a client may have relied on and is no
//! longer there, or what it must now do and did not have to, is breaking; the rest is harmless. What concerns security is
//! marked besides.
//!
//! A new word in an enumeration of answers breaks clients that know all others; one that is gone, or comes in requests, breaks
//! nobody by itself. A format that was kept to and is not any more breaks who relies on it, or sends it.
//!
//! Which words are one parameter is learned, so the same endpoint may have a template in one inventory and words in the other:
//! those are compared with it together.

#[cfg(test)]
mod tests;
mod texts;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::events::covers;
use super::facts::CALLERS;
use super::report::{Endpoint, Message, Operation, Parameter, Schema};
use crate::call::{Format, Formats, Type, Types};
use crate::model::EXACT_LIMIT;
use texts::{Seen, Words};

/// The version of the JSON form.
pub const SCHEMA: &str = "apitap.change.v1";

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// [`SCHEMA`].
    pub schema: String,
    /// What changed: `endpoint_new`, `endpoint_gone`, `parameter_new`, `parameter_gone`, `parameter_required`,
    /// `parameter_types`, `parameter_values`, `body_required`, `media_new`, `media_gone`, `field_new`, `field_gone`, `field_required`,
    /// `field_optional`, `field_types`, `field_values`, `field_formats`,
    /// `sensitive_new`, `sensitive_gone`, `status_new`, `status_gone`, `outcome_new`, `outcome_gone`, `auth_new`, `auth_gone`,
    /// `caller_new`, `caller_gone`, and `callers_unlisted` where there are more than are listed by their addresses and their number changed.
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
        let effect = match (self.breaking, self.security) {
            (true, _) => "breaking",
            (false, true) => "security",
            (false, false) => "harmless",
        };
        write!(f, "{effect}  {}  {}", self.kind, self.endpoint.escape_debug())?;
        for part in [self.side.as_deref().unwrap_or_default(), &self.what, &self.detail] {
            if !part.is_empty() {
                write!(f, "  {}", part.escape_debug())?;
            }
        }
        if self.security && self.breaking { write!(f, "  (security)") } else { Ok(()) }
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

/// Host, template, method and operation.
type Key = (String, String, String, Option<Operation>);

/// Endpoints as they are compared.
type Known = BTreeMap<Key, Endpoint>;

/// Puts the endpoints that are only in `words` under a template that is in `templates`, of which they are paths, if the template
/// did not stand beside them there: then they were told from its objects.
fn gather(words: &mut Known, templates: &Known) {
    // By host, method and operation: the templates with parameters.
    let mut wide: BTreeMap<_, Vec<(&Key, &Endpoint)>> = BTreeMap::new();
    for (key, endpoint) in templates {
        let (host, template, method, operation) = key;
        if template.contains('{') && words.get(key).is_none_or(|known| takes_more_words(known, endpoint)) {
            wide.entry((host, method, operation)).or_default().push((key, endpoint));
        }
    }
    let fits = |key: &Key, endpoint: &Endpoint| {
        let (host, template, method, operation) = key;
        // Whatever a server has for all that it does not have, it may have for this by now; but not something else.
        let same = |wide: &Endpoint| {
            !wide.catch_all || endpoint.response.media.iter().all(|media| wide.response.media.contains(media))
        };
        let all = wide.get(&(host, method, operation)).filter(|_| !templates.contains_key(key))?;
        all.iter()
            .find(|((_, wide, ..), found)| wide != template && covers(wide, template) && same(found))
            .map(|(wide, _)| (*wide).clone())
    };
    let moves: Vec<(Key, Key)> =
        words.iter().filter_map(|(key, endpoint)| Some((key.clone(), fits(key, endpoint)?))).collect();
    for (from, to) in moves {
        let Some(mut endpoint) = words.remove(&from) else { continue };
        endpoint.template.clone_from(&to.1);
        // What stood there were its objects.
        endpoint.parameters.retain(|parameter| parameter.place != "path");
        let objects = templates.get(&to).into_iter().flat_map(|wide| &wide.parameters);
        endpoint.parameters.extend(objects.filter(|parameter| parameter.place == "path").cloned());
        match words.get_mut(&to) {
            Some(known) => known.merge(endpoint),
            None => {
                words.insert(to, endpoint);
            }
        }
    }
}

/// Whether a template takes words as objects that did not before.
fn takes_more_words(before: &Endpoint, now: &Endpoint) -> bool {
    let path = |endpoint: &Endpoint| -> Vec<bool> {
        let all = endpoint.parameters.iter().filter(|parameter| parameter.place == "path");
        all.map(|parameter| parameter.types.iter().any(|kind| kind == "slug")).collect()
    };
    path(before).iter().zip(path(now)).any(|(before, now)| now && !before)
}

/// The changes from one inventory to another, in the order of their endpoints.
pub fn changes(before: &[Endpoint], now: &[Endpoint]) -> Vec<Change> {
    let by_key = |all: &'_ [Endpoint]| -> Known {
        all.iter()
            .map(|endpoint| {
                let (host, template, _, operation) = endpoint.key();
                let method = endpoint.verb().to_owned();
                ((host.to_owned(), template.to_owned(), method, operation.cloned()), endpoint.clone())
            })
            .collect()
    };
    let (mut before, mut now) = (by_key(before), by_key(now));
    gather(&mut before, &now);
    gather(&mut now, &before);
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
    path_parameters(before, now, changes);
    let seen = Seen { before: before.calls, now: now.calls };
    parameters(&before.parameters, &now.parameters, seen, changes);
    body(before, now, changes);
    let bodies = |of: &Endpoint| if of.request.required { of.calls } else { of.bodies };
    let sent = Seen { before: bodies(before), now: bodies(now) };
    messages("request", (&before.request, &now.request), sent, changes);
    messages("response", (&before.response, &now.response), seen, changes);
    let statuses = |of: &Endpoint| of.statuses.keys().copied().collect::<BTreeSet<u16>>();
    changes.sets("status", None, &statuses(before), &statuses(now));
    let outcomes = |of: &Endpoint| of.outcomes.keys().copied().collect::<BTreeSet<u16>>();
    changes.sets("outcome", None, &outcomes(before), &outcomes(now));
    credentials(before, now, changes);
    let callers = |of: &Endpoint| of.callers.iter().copied().collect::<BTreeSet<_>>();
    let known = |of: &Endpoint| !of.callers.is_empty();
    if known(before) && known(now) {
        changes.sets("caller", None, &callers(before), &callers(now));
    } else if is_other_number(before.clients, now.clients) {
        // Of many, nobody is known by the address.
        let detail = format!("{} became {}; more than {CALLERS} are not listed", before.clients, now.clients);
        changes.add("callers_unlisted", false, None, "", detail);
    }
}

/// Ways to say who calls.
fn credentials(before: &Endpoint, now: &Endpoint, changes: &mut Changes<'_>) {
    let kinds = |of: &Endpoint| of.auth.keys().cloned().collect::<BTreeSet<String>>();
    let (old, new) = (kinds(before), kinds(now));
    for kind in new.difference(&old) {
        changes.add("auth_new", false, None, kind, String::new());
    }
    let calls = |of: &Endpoint, kind: &str| of.auth.get(kind).copied().unwrap_or_default();
    let another: u64 = new.difference(&old).map(|kind| calls(now, kind)).sum();
    let all: u64 = now.auth.values().sum();
    for kind in old.difference(&new) {
        // Where everybody has one that nobody had, it is demanded now; otherwise who had none may only not have called.
        let demanded = kind == "none" && another == all && all > 0;
        changes.add("auth_gone", demanded, None, kind, String::new());
    }
}

/// Bodies that requests had at times, or never, and always have now. By chance all have one in a thousand cases at most.
fn body(before: &Endpoint, now: &Endpoint, changes: &mut Changes<'_>) {
    const LEAST: u64 = 8;
    const CHANCE: f64 = 0.001;
    let (old, new) = (&before.request, &now.request);
    // An earlier version did not count them, and logs do not tell of them.
    let known = before.bodies > 0 || old.bytes.is_none();
    let whole = before.partial_heads == 0 && now.partial_heads == 0;
    if !new.required || old.required || !known || !whole || before.calls.min(now.calls) < LEAST {
        return;
    }
    // Of what was not seen as a whole, the body may be what is missing.
    let with = before.bodies as f64 / before.calls as f64 + before.incomplete_share;
    if with.powf(now.calls as f64) < CHANCE {
        changes.add("body_required", true, Some("request"), "", String::new());
    }
}

/// Whether two numbers of callers differ by more than estimates of the same do.
fn is_other_number(before: u64, now: u64) -> bool {
    match before.max(now) <= EXACT_LIMIT as u64 {
        true => before != now,
        false => before.abs_diff(now) as f64 > 0.2 * before.max(now) as f64,
    }
}

/// Parameters of the path, which have no names of their own, by their places.
fn path_parameters(before: &Endpoint, now: &Endpoint, changes: &mut Changes<'_>) {
    // Kinds that others are not taken for by chance, and what earlier versions did not tell from one of them.
    const FIRM: [&str; 5] = ["int", "uuid", "hash", "date", "email"];
    let path = |of: &Endpoint| -> Vec<Parameter> {
        of.parameters.iter().filter(|parameter| parameter.place == "path").cloned().collect()
    };
    const NARROW: [(&str, &str); 4] = [("number", "int"), ("digits", "int"), ("month", "date"), ("date-time", "date")];
    let wide = |kind: &str| NARROW.iter().find(|(narrow, _)| *narrow == kind).map(|(_, wide)| (*wide).to_owned());
    let widened = |of: &BTreeSet<&String>| -> BTreeSet<String> {
        of.iter().map(|kind| wide(kind).unwrap_or_else(|| (*kind).clone())).collect()
    };
    for (old, new) in path(before).iter().zip(&path(now)) {
        let (was, is): (BTreeSet<_>, BTreeSet<_>) = (old.types.iter().collect(), new.types.iter().collect());
        if is.is_subset(&was) || was.is_empty() {
            continue;
        }
        // Who knows the old ones finds nothing by them any more.
        let (known, found) = (widened(&was), widened(&is));
        let breaking = known.is_disjoint(&found) && known.iter().all(|kind| FIRM.contains(&kind.as_str()));
        changes.add("parameter_types", breaking, None, &told(new), format!("{} became {}", list(&was), list(&is)));
    }
}

fn parameters(before: &[Parameter], now: &[Parameter], seen: Seen, changes: &mut Changes<'_>) {
    // Those of a path are compared by their places; what says who calls is told of as a credential.
    let by_name = |all: &'_ [Parameter]| -> BTreeMap<String, Parameter> {
        // A key in a query is a parameter besides: what it is called is what callers have to write.
        let told_of = |one: &&Parameter| one.place != "path" && (one.place == "query" || !one.credential);
        let all = all.iter().filter(told_of);
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
        let Words { new: more, gone } = texts::words(&old.enumeration, &new.enumeration, seen);
        if more || gone {
            let detail = format!("{} became {}", old.enumeration.join("|"), new.enumeration.join("|"));
            changes.add("parameter_values", false, None, name, detail);
        }
        let always = old.required && new.required;
        let turn = texts::turn(texts::named(&old.types), texts::named(&new.types), seen, always);
        let (old, new): (BTreeSet<_>, BTreeSet<_>) = (old.types.iter().collect(), new.types.iter().collect());
        if !new.is_subset(&old) {
            let detail = format!("{} became {}", list(&old), list(&new));
            // Who sends what was taken sends what nobody sends any more.
            changes.add("parameter_types", turn.is_some_and(|turn| turn.breaking), None, name, detail);
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

/// All places of a body by their paths, each with whether all bodies have it.
fn places(body: &Schema) -> BTreeMap<String, (&Schema, bool)> {
    let mut places: BTreeMap<String, (&Schema, bool)> = BTreeMap::new();
    // What lies within others comes behind them.
    body.walk(&mut |path, schema| {
        let several = path.ends_with("[]") || path == "*" || path.ends_with(".*");
        let within = around(path).is_none_or(|around| places.get(around).is_some_and(|(_, always)| *always));
        let always = within && !several && !schema.optional && !schema.types.contains(Type::Null);
        places.insert(path.to_owned(), (schema, always));
    });
    places
}

fn messages(side: &str, (before, now): (&Message, &Message), seen: Seen, changes: &mut Changes<'_>) {
    let response = side == "response";
    let media = |of: &Message| of.media.iter().cloned().collect::<BTreeSet<String>>();
    let (old, new) = (media(before), media(now));
    for name in new.difference(&old) {
        changes.add("media_new", false, Some(side), name, String::new());
    }
    // A client that sent the one can go on with the other only if it is told; one that reads answers cannot go on.
    for name in old.difference(&new) {
        changes.add("media_gone", response && !new.is_empty(), Some(side), name, String::new());
    }
    let mut classes = (before.sensitive.clone(), now.sensitive.clone());
    if let (Some(old), Some(new)) = (&before.body, &now.body) {
        let (fields, later) = (places(old), places(new));
        for (path, (new, always_now)) in &later {
            let Some((old, always)) = fields.get(path) else {
                // Of what is new as a whole, the parts need no telling.
                if around(path).is_none_or(|around| fields.contains_key(around)) {
                    let detail = if new.optional { "optional" } else { "required" };
                    changes.add("field_new", !response && !new.optional, Some(side), path, detail.to_owned());
                }
                continue;
            };
            field(side, path, old, new, changes);
            content(side, path, (old, new), (seen, *always && *always_now), changes);
        }
        for path in fields.keys().filter(|path| !later.contains_key(*path)) {
            if around(path).is_none_or(|around| later.contains_key(around)) {
                changes.add("field_gone", response, Some(side), path, String::new());
            }
        }
        // Where the field is known, the message need not be told.
        for (path, (new, _)) in &later {
            for class in &new.sensitive {
                let was = fields.get(path).is_some_and(|(old, _)| old.sensitive.contains(class));
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

/// Texts of a field: which words there are, and what they look like.
fn content(
    side: &str,
    path: &str,
    (old, new): (&Schema, &Schema),
    (seen, always): (Seen, bool),
    changes: &mut Changes<'_>,
) {
    let Words { new: more, gone } = texts::words(&old.values, &new.values, seen);
    if more || gone {
        let detail = format!("{} became {}", old.values.join("|"), new.values.join("|"));
        changes.add("field_values", more && side == "response", Some(side), path, detail);
    }
    if let Some(turn) = texts::turn(old.formats, new.formats, seen, always) {
        let names = |formats: Formats| formats.iter().map(Format::name).collect::<Vec<_>>().join("|");
        let detail = format!("{} became {}", names(old.formats), names(new.formats));
        changes.add("field_formats", turn.breaking, Some(side), path, detail);
    }
}
