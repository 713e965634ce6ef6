//! What in the inventory does not fit the specifications.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::report::Endpoint;
use super::document::{Operation, Segment, Specification};
use super::schema::Comparison;

/// The version of the JSON form.
pub const SCHEMA: &str = "apitap.conformance.v1";

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// [`SCHEMA`].
    pub schema: String,
    /// What it is: `shadow` (answers, and is not specified), `zombie` (deprecated, and still answers), `unused`
    /// (specified, and was not called), `auth_missing` (a credential is demanded, and calls without were answered),
    /// `field_unspecified`, `field_missing`, `field_types`, `field_values` of a body, `parameter_unspecified`,
    /// `parameter_missing` of the query, `status_unspecified`, `media_unspecified`.
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

/// Findings, and of what.
struct Findings {
    all: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, kind: &str, endpoint: &str, side: Option<&str>, what: &str, detail: String) -> &mut Finding {
        self.all.push(Finding {
            schema: SCHEMA.to_owned(),
            kind: kind.to_owned(),
            endpoint: endpoint.to_owned(),
            side: side.map(str::to_owned),
            what: what.to_owned(),
            detail,
            sensitive: BTreeSet::new(),
        });
        let last = self.all.len() - 1;
        &mut self.all[last] // just pushed
    }
}

/// Holds an inventory against specifications: findings in the order of the endpoints, then what was not called.
///
/// A specification whose servers name hosts that were seen speaks of those only; any other of all services.
pub fn check(specifications: &[Specification], endpoints: &[Endpoint]) -> Vec<Finding> {
    let hosts: BTreeSet<&str> = endpoints.iter().map(|endpoint| endpoint.host.as_str()).collect();
    let mut used = BTreeSet::new();
    let mut findings = Findings { all: Vec::new() };
    for endpoint in endpoints {
        let segments: Vec<&str> = endpoint.template.split('/').filter(|segment| !segment.is_empty()).collect();
        let mut best: Option<(u32, usize, usize)> = None;
        let mut methods = BTreeSet::new();
        for (number, specification) in specifications.iter().enumerate() {
            for (place, operation) in specification.operations.iter().enumerate() {
                let named = operation.hosts.iter().any(|host| hosts.contains(host.as_str()));
                if named && !operation.hosts.contains(&endpoint.host) {
                    continue;
                }
                let fits = operation.paths.iter().filter_map(|path| fit(path, &segments)).max();
                let Some(fits) = fits else { continue };
                let same =
                    operation.method == endpoint.method || (operation.method == "HEAD" && endpoint.method == "GET");
                if !same {
                    methods.insert(operation.method.as_str());
                    continue;
                }
                used.insert((number, place));
                if best.is_none_or(|(known, ..)| fits > known) {
                    best = Some((fits, number, place));
                }
            }
        }
        let title = endpoint.title();
        let specified = best.and_then(|(_, number, place)| {
            let specification = specifications.get(number)?;
            Some((specification, specification.operations.get(place)?))
        });
        match specified {
            Some((specification, operation)) => compare(specification, operation, endpoint, &title, &mut findings),
            None => {
                let methods: Vec<_> = methods.into_iter().collect();
                let detail = match methods.is_empty() {
                    true => format!("{} calls of {} clients", endpoint.calls, endpoint.clients),
                    false => format!("the path is specified with {}", methods.join(", ")),
                };
                let classes = endpoint.request.sensitive.union(&endpoint.response.sensitive).cloned().collect();
                findings.add("shadow", &title, None, "", detail).sensitive = classes;
            }
        }
    }
    for (number, specification) in specifications.iter().enumerate() {
        for (place, operation) in specification.operations.iter().enumerate() {
            if !used.contains(&(number, place)) && !operation.deprecated {
                findings.add("unused", &format!("{} {}", operation.method, operation.path), None, "", String::new());
            }
        }
    }
    findings.all
}

/// How well a template fits a path: more for each word that is the same. None when it does not.
///
/// A parameter that was learned may stand for words that are written down one by one: that is the weakest fit.
fn fit(path: &[Segment], template: &[&str]) -> Option<u32> {
    let mut sum = 1;
    let mut left = path.iter();
    for (number, segment) in template.iter().enumerate() {
        if *segment == "{rest}" && number + 1 == template.len() {
            return Some(sum);
        }
        sum += match left.next()? {
            Segment::Word(word) if word == segment => 100,
            Segment::Word(_) if *segment == "{id}" => 0,
            Segment::Word(_) => return None,
            Segment::Parameter(..) if *segment == "{id}" => 10,
            Segment::Parameter(before, behind) => {
                let whole = segment.len() > before.len() + behind.len();
                if !whole || !segment.starts_with(before.as_str()) || !segment.ends_with(behind.as_str()) {
                    return None;
                }
                1
            }
        };
    }
    left.next().is_none().then_some(sum)
}

fn compare(
    specification: &Specification,
    operation: &Operation,
    endpoint: &Endpoint,
    title: &str,
    findings: &mut Findings,
) {
    if operation.deprecated {
        let detail = format!("{} calls of {} clients, last {}", endpoint.calls, endpoint.clients, endpoint.last);
        findings.add("zombie", title, None, "", detail);
    }
    let anonymous = endpoint.auth.get("none").copied().unwrap_or_default();
    if operation.secured && anonymous > 0 {
        findings.add("auth_missing", title, None, "", format!("{anonymous} of {} calls", endpoint.calls));
    }
    for parameter in endpoint.parameters.iter().filter(|parameter| parameter.place == "query") {
        // GraphQL's own.
        let own = endpoint.operation.is_some();
        if !operation.query.contains_key(&parameter.name) && !own {
            findings.add("parameter_unspecified", title, None, &parameter.name, parameter.types.join("|"));
        }
    }
    for name in operation.query.iter().filter(|(_, required)| **required).map(|(name, _)| name) {
        let always = endpoint
            .parameters
            .iter()
            .any(|parameter| parameter.place == "query" && parameter.name == *name && parameter.required);
        if !always {
            findings.add("parameter_missing", title, None, name, "good calls lack it".to_owned());
        }
    }
    for &status in endpoint.statuses.keys() {
        if find_status(operation, status).is_none() {
            findings.add("status_unspecified", title, None, &status.to_string(), String::new());
        }
    }
    if let Some(body) = endpoint.request.body.as_ref().filter(|_| !operation.request.is_empty()) {
        let schemas: Vec<&Value> = operation.request.values().collect();
        misfits(specification, &schemas, body, "request", title, findings);
    }
    let good: Vec<_> = endpoint
        .statuses
        .keys()
        .filter(|status| (200..300).contains(*status))
        .filter_map(|status| find_status(operation, *status))
        .collect();
    if let Some(body) = endpoint.response.body.as_ref() {
        let schemas: Vec<&Value> = good.iter().flat_map(|content| content.values()).collect();
        if !schemas.is_empty() {
            misfits(specification, &schemas, body, "response", title, findings);
        }
    }
    let known: BTreeSet<&str> = good.iter().flat_map(|content| content.keys()).map(String::as_str).collect();
    for media in &endpoint.response.media {
        let covered = |known: &&str| {
            let family = media.split('/').next().unwrap_or_default();
            *known == media || *known == "*/*" || known.strip_suffix("/*") == Some(family)
        };
        if !known.is_empty() && !known.iter().any(covered) {
            findings.add("media_unspecified", title, Some("response"), media, String::new());
        }
    }
}

/// What is specified of a status: by itself, its class, or the default.
fn find_status(operation: &Operation, status: u16) -> Option<&std::collections::BTreeMap<String, Value>> {
    let class = format!("{}XX", status / 100);
    [status.to_string().as_str(), class.as_str(), "DEFAULT"].iter().find_map(|name| operation.responses.get(*name))
}

fn misfits(
    specification: &Specification,
    schemas: &[&Value],
    body: &super::super::report::Schema,
    side: &str,
    title: &str,
    findings: &mut Findings,
) {
    for misfit in Comparison::of(specification, schemas, body) {
        let finding = findings.add(misfit.kind, title, Some(side), &misfit.path, misfit.detail);
        finding.sensitive = misfit.sensitive;
    }
}
