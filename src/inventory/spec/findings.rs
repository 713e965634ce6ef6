//! What in the inventory does not fit the specifications.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::report::{Endpoint, Message, Parameter};
use super::document::{Operation, Specification};
use super::index::Index;
use super::path;
use super::schema::{Comparison, Side};
use crate::detect::ENCRYPTED;
use crate::inspect::shape::head::{is_name, is_own};

/// The version of the JSON form.
pub const SCHEMA: &str = "apitap.conformance.v1";

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// [`SCHEMA`].
    pub schema: String,
    /// What it is: `shadow` (answers, and is not specified), `zombie` (deprecated, and still answers), `unused`
    /// (specified, and was not called), `auth_missing` (a credential is demanded, and calls without it were answered),
    /// `body_unspecified` (there is a body where none is specified), `body_missing` (requests lack the one that is required),
    /// `field_unspecified`, `field_missing`, `field_types`, `field_values`, `field_formats` of a body, `parameter_unspecified`,
    /// `parameter_missing`, `parameter_types`, `parameter_values`, `parameter_formats`, `status_unspecified`,
    /// `media_unspecified`. Of a review: `internal_called` (from outside),
    /// `sensitive_unexpected` (a class that is not among those said to be there), `sensitive_open` (calls without a
    /// credential were answered), `entry_unmatched` (no endpoint fits an entry).
    pub kind: String,
    /// Method, host, template and operation of what was seen; method and path of what was not.
    pub endpoint: String,
    /// `request` or `response`, where it is about one of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub side: Option<String>,
    /// The parameter, the path of the field, the status, the media type.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub what: String,
    /// More of it.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub detail: String,
    /// Classes of sensitive data that are in it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub sensitive: BTreeSet<String>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}  {}", self.kind, self.endpoint.escape_debug())?;
        for part in [self.side.as_deref().unwrap_or_default(), &self.what, &self.detail] {
            if !part.is_empty() {
                write!(f, "  {}", part.escape_debug())?;
            }
        }
        match self.sensitive.is_empty() {
            true => Ok(()),
            false => {
                let classes: Vec<_> = self.sensitive.iter().map(String::as_str).collect();
                write!(f, "  (sensitive: {})", classes.join(", "))
            }
        }
    }
}

impl Finding {
    /// One that is about an endpoint as a whole.
    pub(in super::super) fn new(kind: &str, endpoint: &str, what: &str, detail: String) -> Finding {
        Finding {
            schema: SCHEMA.to_owned(),
            kind: kind.to_owned(),
            endpoint: endpoint.to_owned(),
            side: None,
            what: what.to_owned(),
            detail,
            sensitive: BTreeSet::new(),
        }
    }

    /// Method and path of an operation that was not called, if it is about one.
    pub fn unused(&self) -> Option<(&str, &str)> {
        self.endpoint.split_once(' ').filter(|_| self.kind == "unused")
    }

    /// It asks for nothing to be done: something was not called.
    pub fn is_harmless(&self) -> bool {
        matches!(self.kind.as_str(), "unused" | "entry_unmatched")
    }
}

/// Findings, and of what.
struct Findings {
    all: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, kind: &str, endpoint: &str, side: Option<&str>, what: &str, detail: String) -> &mut Finding {
        self.all.push(Finding { side: side.map(str::to_owned), ..Finding::new(kind, endpoint, what, detail) });
        let last = self.all.len() - 1;
        &mut self.all[last] // just pushed
    }
}

/// Holds an inventory against specifications: findings in the order of the endpoints, then what was not called.
///
/// A specification whose servers name hosts that were seen speaks of those only; any other of all services.
pub fn check(specifications: &[Specification], endpoints: &[Endpoint]) -> Vec<Finding> {
    let hosts: BTreeSet<&str> = endpoints.iter().map(|endpoint| endpoint.host.as_str()).collect();
    let index = Index::of(specifications);
    // Where no header of an API's own was seen anywhere, they may have been left out, as logs do.
    let of_head = |parameter: &Parameter| matches!(parameter.place.as_str(), "header" | "cookie");
    let heads = endpoints.iter().any(|endpoint| endpoint.parameters.iter().any(of_head));
    // Where it was seen what anything looks like, headers were looked at, too.
    let has_shape = |endpoint: &Endpoint| {
        let (request, response) = (&endpoint.request.body, &endpoint.response.body);
        let typed = |parameter: &Parameter| parameter.place == "query" && !parameter.types.is_empty();
        request.is_some() || response.is_some() || endpoint.parameters.iter().any(typed)
    };
    let seen = Seen { heads, shaped: heads || endpoints.iter().any(has_shape) };
    let mut used = BTreeSet::new();
    let mut findings = Findings { all: Vec::new() };
    // What is in a connection that nobody can look into is not known.
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.method != ENCRYPTED) {
        let steps = path::steps(endpoint);
        let mut best: Option<((u32, bool), usize, usize)> = None;
        let (mut methods, mut refused) = (BTreeSet::new(), BTreeSet::new());
        let (mut called, mut guesses) = (Vec::new(), Vec::new());
        let mut words = false;
        for ((number, place), fit) in index.find(&steps).0 {
            let Some(specification) = specifications.get(number) else { continue };
            let Some(operation) = specification.operations.get(place) else { continue };
            let named = operation.hosts.iter().any(|host| hosts.contains(host.as_str()));
            if named && !operation.hosts.contains(&endpoint.host) {
                continue;
            }
            words |= fit.guessed;
            let takes = path::takes(specification, operation, &steps);
            // HEAD asks for what GET gets, and one that is called with both is told as GET.
            let exact = operation.method == endpoint.method;
            let both = |method: &str| matches!(method, "GET" | "HEAD");
            let same = exact || both(&operation.method) && both(&endpoint.method);
            match (takes, same) {
                (true, true) => {}
                (true, false) => {
                    methods.insert(operation.method.as_str());
                    continue;
                }
                (false, same) => {
                    refused.extend(same.then_some(operation.path.as_str()));
                    continue;
                }
            }
            if fit.guessed { &mut guesses } else { &mut called }.push((number, place));
            if best.is_none_or(|(known, ..)| (fit.points, exact) > known) {
                best = Some(((fit.points, exact), number, place));
            }
        }
        // Where a parameter is specified, it is that which was called, and not each word beside it.
        used.extend(if called.is_empty() { guesses } else { called });
        used.extend(best.map(|(_, number, place)| (number, place)));
        let title = endpoint.title();
        let specified = best.and_then(|(_, number, place)| {
            let specification = specifications.get(number)?;
            Some((specification, specification.operations.get(place)?))
        });
        match specified {
            Some((specification, operation)) => {
                for (name, kind, detail) in path::misfits(specification, operation, &steps, words) {
                    findings.add(&format!("parameter_{kind}"), &title, None, &format!("path {name}"), detail);
                }
                compare(specification, operation, endpoint, (&title, seen), &mut findings);
            }
            None => {
                let list = |all: BTreeSet<&str>| all.into_iter().collect::<Vec<_>>().join(", ");
                let detail = match (methods.is_empty(), refused.is_empty()) {
                    (_, false) => format!("{} is specified, and takes other values", list(refused)),
                    (false, true) => format!("the path is specified with {}", list(methods)),
                    (true, true) => format!("{} calls of {} clients", endpoint.calls, endpoint.clients),
                };
                let classes = endpoint.request.sensitive.union(&endpoint.response.sensitive).cloned().collect();
                findings.add("shadow", &title, None, "", detail).sensitive = classes;
            }
        }
    }
    for (number, specification) in specifications.iter().enumerate() {
        for (place, operation) in specification.operations.iter().enumerate() {
            // Calls with such methods are about what is there, and are not in the inventory.
            let left_out = matches!(operation.method.as_str(), "OPTIONS" | "TRACE" | "CONNECT");
            if !used.contains(&(number, place)) && !operation.deprecated && !left_out {
                findings.add("unused", &format!("{} {}", operation.method, operation.path), None, "", String::new());
            }
        }
    }
    findings.all
}

/// What was looked at in calls.
#[derive(Clone, Copy)]
struct Seen {
    /// Headers or cookies of an API's own were seen.
    heads: bool,
    /// They would have been.
    shaped: bool,
}

fn compare(
    specification: &Specification,
    operation: &Operation,
    endpoint: &Endpoint,
    (title, seen): (&str, Seen),
    findings: &mut Findings,
) {
    if operation.deprecated {
        let detail = format!("{} calls of {} clients, last {}", endpoint.calls, endpoint.clients, endpoint.last);
        findings.add("zombie", title, None, "", detail);
    }
    if let Some(lack) = operation.security.lack(endpoint, seen.shaped) {
        let least = if lack.or_more { "at least " } else { "" };
        let detail = format!("{least}{} of {} calls have not: {}", lack.calls, lack.of, operation.security);
        findings.add("auth_missing", title, None, "", detail);
    }
    parameters(specification, operation, endpoint, (title, seen), findings);
    for &status in endpoint.statuses.keys() {
        if find_status(operation, status).is_none() {
            findings.add("status_unspecified", title, None, &status.to_string(), String::new());
        }
    }
    if let Some(body) = endpoint.request.body.as_ref().filter(|_| !operation.request.is_empty()) {
        let schemas: Vec<&Value> = operation.request.values().map(Arc::as_ref).collect();
        let forms = endpoint.request.media.iter().all(|media| media.contains("form"));
        let side = if forms && !endpoint.request.media.is_empty() { Side::Form } else { Side::Request };
        misfits(specification, &schemas, body, side, title, findings);
    }
    let good: Vec<_> = endpoint
        .statuses
        .keys()
        .filter(|status| (200..300).contains(*status))
        .filter_map(|status| find_status(operation, *status))
        .collect();
    if let Some(body) = endpoint.response.body.as_ref() {
        let schemas: Vec<&Value> = good.iter().flat_map(|content| content.values()).map(Arc::as_ref).collect();
        if !schemas.is_empty() {
            misfits(specification, &schemas, body, Side::Response, title, findings);
        }
    }
    bodies(operation, endpoint, title, findings);
    let known: Vec<&str> = good.iter().flat_map(|content| content.keys()).map(String::as_str).collect();
    media("response", &endpoint.response, &known, title, findings);
    // What a request without a body says of it is no promise.
    if endpoint.request.bytes.is_some() || endpoint.request.body.is_some() {
        let known: Vec<&str> = operation.request.keys().map(String::as_str).collect();
        media("request", &endpoint.request, &known, title, findings);
    }
}

/// Media types beyond those that are specified, where some are.
fn media(side: &str, message: &Message, known: &[&str], title: &str, findings: &mut Findings) {
    for media in &message.media {
        let family = media.split('/').next().unwrap_or_default();
        let covered = |known: &&str| *known == media || *known == "*/*" || known.strip_suffix("/*") == Some(family);
        if !known.is_empty() && !known.iter().any(covered) {
            findings.add("media_unspecified", title, Some(side), media, String::new());
        }
    }
}

/// Whether there are bodies where some are specified, and none where not.
fn bodies(operation: &Operation, endpoint: &Endpoint, title: &str, findings: &mut Findings) {
    let (request, response) = (&endpoint.request, &endpoint.response);
    let shaped = |message: &Message| message.body.as_ref().is_some_and(|body| !body.types.is_empty());
    // Where a body has no meaning (RFC 9110, section 9.3), versions before 3.1 do not let one be specified.
    let meant = !matches!(operation.method.as_str(), "GET" | "HEAD" | "DELETE" | "TRACE");
    if operation.request.is_empty() && meant && (request.bytes.is_some() || shaped(request)) {
        let finding = findings.add("body_unspecified", title, Some("request"), "", request.media.join(", "));
        finding.sensitive = request.sensitive.clone();
    }
    // Logs do not tell of bodies, and of what was not seen as a whole it is not known whether there was one.
    let known = endpoint.calls > 0 && endpoint.partial_heads == 0;
    let (always, whole) = (request.bytes.is_none(), endpoint.incomplete_share == 0.0);
    let share = endpoint.incomplete_share;
    if operation.body_required && !request.required && known && (whole || (always && share < 1.0)) {
        let detail = if always { "always" } else { "at times" };
        findings.add("body_missing", title, Some("request"), "", detail.to_owned());
    }
    // What is said of all other answers says little of good ones.
    let good = || endpoint.statuses.keys().filter(|status| (200..300).contains(*status));
    let bare = |status: &u16| find_specific(operation, *status).is_some_and(|content| content.is_empty());
    if shaped(response) && good().next().is_some() && good().all(bare) {
        let finding = findings.add("body_unspecified", title, Some("response"), "", response.media.join(", "));
        finding.sensitive = response.sensitive.clone();
    }
}

/// Parameters beyond those of the path. Cookies that are not specified are none of the API's: browsers send what they have.
fn parameters(
    specification: &Specification,
    operation: &Operation,
    endpoint: &Endpoint,
    (title, Seen { heads, .. }): (&str, Seen),
    findings: &mut Findings,
) {
    let told = |place: &str, name: &str| if place == "query" { name.to_owned() } else { format!("{place} {name}") };
    let named = |parameter: &Parameter| (parameter.place.clone(), parameter.name.clone());
    let seen: BTreeMap<_, _> =
        endpoint.parameters.iter().map(|parameter| (named(parameter), parameter.required)).collect();
    for parameter in endpoint.parameters.iter().filter(|parameter| matches!(&*parameter.place, "query" | "header")) {
        let known = operation.parameters.contains_key(&named(parameter))
            || specification.keys.contains(&named(parameter))
            // GraphQL's own.
            || (endpoint.operation.is_some() && parameter.place == "query");
        if !known && (!parameter.credential || parameter.place == "query") {
            let what = told(&parameter.place, &parameter.name);
            findings.add("parameter_unspecified", title, None, &what, parameter.types.join("|"));
        }
    }
    for parameter in &endpoint.parameters {
        let looked_at = !parameter.credential || parameter.place == "query";
        let Some(known) = operation.parameters.get(&named(parameter)).filter(|_| looked_at) else { continue };
        let what = told(&parameter.place, &parameter.name);
        for (kind, detail) in Comparison::of_parameter(specification, known, parameter) {
            findings.add(&format!("parameter_{kind}"), title, None, &what, detail);
        }
    }
    for (key, _) in operation.parameters.iter().filter(|(_, known)| known.required) {
        let (place, name) = key;
        // Of headers that everybody sends, none is told.
        let visible = match place.as_str() {
            "query" => true,
            "header" => heads && is_own(name.as_bytes()),
            _ => heads && is_name(name.as_bytes()),
        };
        if visible && !seen.get(key).copied().unwrap_or_default() {
            findings.add("parameter_missing", title, None, &told(place, name), "good calls lack it".to_owned());
        }
    }
}

/// Schemas of a body by media type.
type Content = BTreeMap<String, Arc<Value>>;

/// What is specified of a status: by itself, its class, or the default.
fn find_status(operation: &Operation, status: u16) -> Option<&Content> {
    find_specific(operation, status).or_else(|| operation.responses.get("DEFAULT"))
}

/// What is specified of a status by itself, or its class.
fn find_specific(operation: &Operation, status: u16) -> Option<&Content> {
    let class = || operation.responses.get(format!("{}XX", status / 100).as_str());
    operation.responses.get(status.to_string().as_str()).or_else(class)
}

fn misfits(
    specification: &Specification,
    schemas: &[&Value],
    body: &super::super::report::Schema,
    side: Side,
    title: &str,
    findings: &mut Findings,
) {
    let told = if side == Side::Response { "response" } else { "request" };
    for misfit in Comparison::of(specification, schemas, body, side) {
        let kind = format!("field_{}", misfit.kind);
        let finding = findings.add(&kind, title, Some(told), &misfit.path, misfit.detail);
        finding.sensitive = misfit.sensitive;
    }
}
