//! The inventory as it is told: one record an endpoint, plain data with a stable JSON form.
//!
//! `apitap apis --json` prints a line each, `--save` writes them, `--diff` reads them back. Fields are added, never
//! renamed or given another meaning without a new [`SCHEMA`]. No value of the traffic is in it but addresses, names and
//! the words of enumerations.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::call::{CredentialKind, Formats, Protocol, Types};
use crate::time::Timestamp;

/// The version of the JSON form.
pub const SCHEMA: &str = "apitap.endpoint.v1";

/// One endpoint, or one operation at it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// [`SCHEMA`].
    pub schema: String,
    /// The service: the host that requests name, or the server's address where they name none; lower case, no port.
    pub host: String,
    /// Addresses and ports that answered.
    pub servers: Vec<String>,
    /// Those of them that answered in TLS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls_servers: Vec<String>,
    /// Those of `tls_servers` that answered outside of TLS, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clear_servers: Vec<String>,
    /// Other names by which the same servers were asked: their addresses, or none (an empty text).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The method: `GET` for HEAD, too, unless nobody asked for more.
    pub method: String,
    /// The path's template: `{id}` for a parameter, `{rest}` for all that follows.
    pub template: String,
    /// What is asked for in GraphQL, JSON-RPC, SOAP or gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The server answers whatever is asked for here.
    #[serde(skip_serializing_if = "is_false")]
    pub catch_all: bool,
    /// Parameters: those of the path from left to right, then those of the query, headers of the API's own, and cookies,
    /// each by name.
    pub parameters: Vec<Parameter>,
    /// What requests carry.
    #[serde(skip_serializing_if = "Message::is_empty")]
    pub request: Message,
    /// What good answers carry.
    #[serde(skip_serializing_if = "Message::is_empty")]
    pub response: Message,
    /// Answers to clients that are not under suspicion, by status code.
    pub statuses: BTreeMap<u16, u64>,
    /// Those of them whose bodies (GraphQL, JSON-RPC, SOAP) or trailers (gRPC) say otherwise than their status code, by what they say
    /// ([`Call::outcome`](crate::call::Call::outcome)). What failed is no good answer, and says nothing of what good answers carry.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub outcomes: BTreeMap<u16, u64>,
    /// Good answers by the credential that the request had; `none` for none.
    pub auth: BTreeMap<String, u64>,
    /// Good answers to requests of which not all headers are known, as logs leave them out: which credential they had is
    /// not known either.
    #[serde(skip_serializing_if = "is_zero")]
    pub partial_heads: u64,
    /// Calls without a credential that were refused (401, 403).
    #[serde(skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// Versions of HTTP.
    pub http: Vec<String>,
    /// Good answers.
    pub calls: u64,
    /// Good answers to requests that had a body.
    #[serde(skip_serializing_if = "is_zero")]
    pub bodies: u64,
    /// Good answers an hour, over the time of all traffic.
    pub calls_per_hour: f64,
    /// Clients that got them; an estimate beyond [`EXACT_LIMIT`](crate::model::EXACT_LIMIT).
    pub clients: u64,
    /// Their addresses, if they are few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub callers: Vec<IpAddr>,
    /// Good answers to clients outside the networks of [`Settings::inside`](super::Settings::inside), and the first such
    /// clients.
    #[serde(skip_serializing_if = "is_zero")]
    pub outside_calls: u64,
    #[allow(missing_docs, reason = "said above")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outsiders: Vec<IpAddr>,
    /// What people say of it, where they were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reviewed: Option<super::review::Reviewed>,
    /// Time of the first good answer.
    pub first: Timestamp,
    /// Time of the last.
    pub last: Timestamp,
    /// Seconds from request to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Quantiles>,
    /// Share of its calls of which something is missing.
    #[serde(skip_serializing_if = "is_none_at_all")]
    pub incomplete_share: f64,
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_none_at_all(value: &f64) -> bool {
    *value == 0.0
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Operation {
    /// In which protocol: `graphql`, `jsonrpc`, `soap`, `grpc`.
    pub protocol: String,
    /// What it is called.
    pub name: String,
}

/// The name of a protocol.
pub(super) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::GraphQl => "graphql",
        Protocol::JsonRpc => "jsonrpc",
        Protocol::Soap => "soap",
    }
}

/// The name of a kind of credential.
pub(super) fn credential(kind: Option<CredentialKind>) -> &'static str {
    match kind {
        None => "none",
        Some(CredentialKind::Basic) => "basic",
        Some(CredentialKind::Bearer) => "bearer",
        Some(CredentialKind::Other) => "other",
        Some(CredentialKind::ApiKey) => "api_key",
        Some(CredentialKind::Cookie) => "cookie",
    }
}

/// A parameter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameter {
    /// `path`, `query`, `header` or `cookie`.
    #[serde(rename = "in")]
    pub place: String,
    /// Its name; those of a path have none of their own.
    pub name: String,
    /// What its values look like: of a path by [`Kind`](crate::endpoint::Kind), of the others by
    /// [`Format`](crate::call::Format); none of headers and cookies that say who calls.
    pub types: Vec<String>,
    /// Every call has it.
    pub required: bool,
    /// Different values of a parameter of a path.
    #[serde(skip_serializing_if = "is_zero")]
    pub values: u64,
    /// It says who calls: a key, or a session.
    #[serde(skip_serializing_if = "is_false")]
    pub credential: bool,
    /// A call had it several times: it is a list, and the rest is said of the items.
    #[serde(skip_serializing_if = "is_false")]
    pub many: bool,
    /// All its values, where they are few words that many callers share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub enumeration: Vec<String>,
}

/// Requests, or answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// Media types.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<String>,
    /// Bytes of bodies that there are, decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Quantiles>,
    /// What bodies look like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Schema>,
    /// Every call has a body; of requests.
    #[serde(skip_serializing_if = "is_false")]
    pub required: bool,
    /// Not all fields of the bodies are told.
    #[serde(skip_serializing_if = "is_false")]
    pub incomplete: bool,
    /// Classes of sensitive values.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub sensitive: BTreeSet<String>,
}

impl Message {
    fn is_empty(&self) -> bool {
        *self == Message::default()
    }
}

/// Quantiles with a relative error of 5 percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// The median.
    pub p50: f64,
    /// Nine in ten are no more.
    pub p90: f64,
    /// 99 in a hundred are no more.
    pub p99: f64,
}

impl Quantiles {
    /// To three digits: more would be noise.
    pub(super) fn of([p50, p90, p99]: [f64; 3]) -> Quantiles {
        Quantiles { p50: rounded(p50), p90: rounded(p90), p99: rounded(p99) }
    }

    fn most(self, other: Quantiles) -> Quantiles {
        Quantiles { p50: self.p50.max(other.p50), p90: self.p90.max(other.p90), p99: self.p99.max(other.p99) }
    }
}

/// A number to three significant digits.
pub(super) fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    format!("{value:.2e}").parse().unwrap_or(value)
}

/// What values look like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Schema {
    /// Their types; several where one of them will do, and none of which nothing was seen.
    pub types: Types,
    /// Formats of texts and numbers.
    #[serde(skip_serializing_if = "Formats::is_empty")]
    pub formats: Formats,
    /// It is a field that objects may lack.
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Fields of objects.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Schema>,
    /// What stands behind keys that are data: the object is a map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<Box<Schema>>,
    /// Items of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Box<Schema>>,
    /// All texts, where they are few words that many callers share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Classes of sensitive values.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub sensitive: BTreeSet<String>,
}

impl Schema {
    /// Adds what fits another schema.
    pub fn merge(&mut self, other: Schema) {
        let Schema { types, formats, optional, fields, entries, items, values, sensitive } = other;
        let object = crate::call::Type::Object;
        let (both, mine, theirs) = (self.types.contains(object) && types.contains(object), &mut self.fields, fields);
        if both {
            mine.iter_mut()
                .filter(|(name, _)| !theirs.contains_key(*name))
                .for_each(|(_, field)| field.optional = true);
        }
        for (name, mut field) in theirs {
            match mine.get_mut(&name) {
                Some(known) => known.merge(field),
                None => {
                    field.optional |= both;
                    mine.insert(name, field);
                }
            }
        }
        for (mine, theirs) in [(&mut self.entries, entries), (&mut self.items, items)] {
            match (mine.as_mut(), theirs) {
                (Some(mine), Some(theirs)) => mine.merge(*theirs),
                (None, theirs) => *mine = theirs,
                (Some(_), None) => {}
            }
        }
        // Of an enumeration with a text that is none, nothing is left.
        let closed = |types: Types, values: &[String]| !types.contains(crate::call::Type::String) || !values.is_empty();
        if closed(self.types, &self.values) && closed(types, &values) {
            self.values.extend(values);
            self.values.sort_unstable();
            self.values.dedup();
        } else {
            self.values.clear();
        }
        self.types.extend(types);
        self.formats.extend(formats);
        self.optional |= optional;
        self.sensitive.extend(sensitive);
    }

    /// Shows each place with its path: `items[].price`, `by_day.*`; the body itself has an empty one.
    pub fn walk<'s>(&'s self, show: &mut dyn FnMut(&str, &'s Schema)) {
        self.walk_from(&mut String::new(), show);
    }

    fn walk_from<'s>(&'s self, path: &mut String, show: &mut dyn FnMut(&str, &'s Schema)) {
        show(path, self);
        let length = path.len();
        let mut inner = |step: &str, point: bool, schema: &'s Schema, path: &mut String| {
            if point && length > 0 {
                path.push('.');
            }
            path.push_str(step);
            schema.walk_from(path, show);
            path.truncate(length);
        };
        for (name, field) in &self.fields {
            inner(name, true, field, path);
        }
        if let Some(entries) = &self.entries {
            inner("*", true, entries, path);
        }
        if let Some(items) = &self.items {
            inner("[]", false, items, path);
        }
    }
}

impl Endpoint {
    /// What it is called: method, host, template and operation.
    pub fn key(&self) -> (&str, &str, &str, Option<&Operation>) {
        (&self.host, &self.template, &self.method, self.operation.as_ref())
    }

    /// The method by which it is the same endpoint: who asks for the head alone asks for what a GET would get.
    pub(super) fn verb(&self) -> &str {
        if self.method == "HEAD" { "GET" } else { &self.method }
    }

    /// Method, host and template in one text.
    pub fn title(&self) -> String {
        let operation = self.operation.as_ref().map(|operation| format!(" {}", operation.name)).unwrap_or_default();
        format!("{} {}{}{operation}", self.method, self.host, self.template)
    }

    /// Adds servers, those of them that answered in TLS, and those of these that answered outside of it, too.
    fn merge_servers(&mut self, [servers, tls, clear]: [Vec<String>; 3]) {
        // A server that is in one list only may be in the other one with the same call from elsewhere.
        let outside = |of: &[String], tls: &[String]| -> Vec<String> {
            of.iter().filter(|server| !tls.contains(server)).cloned().collect()
        };
        let mut clear: BTreeSet<_> = clear.into_iter().chain(std::mem::take(&mut self.clear_servers)).collect();
        clear.extend(outside(&self.servers, &self.tls_servers));
        clear.extend(outside(&servers, &tls));
        for (mine, theirs) in [(&mut self.servers, servers), (&mut self.tls_servers, tls)] {
            let all: BTreeSet<_> = mine.drain(..).chain(theirs).collect();
            mine.extend(all);
        }
        self.clear_servers = clear.into_iter().filter(|server| self.tls_servers.contains(server)).collect();
    }

    /// Adds what is known of the same endpoint by another name.
    pub fn merge(&mut self, other: Endpoint) {
        if self.method != other.method && self.verb() == other.verb() {
            self.method = self.verb().to_owned();
        }
        self.merge_servers([other.servers, other.tls_servers, other.clear_servers]);
        self.partial_heads += other.partial_heads;
        self.bodies += other.bodies;
        self.catch_all |= other.catch_all;
        let (mine, theirs) = (self.calls, other.calls);
        let known: BTreeSet<_> = other.parameters.iter().map(|one| (one.place.clone(), one.name.clone())).collect();
        for parameter in &mut self.parameters {
            parameter.required &= theirs == 0 || known.contains(&(parameter.place.clone(), parameter.name.clone()));
        }
        for mut parameter in other.parameters {
            let same = |one: &&mut Parameter| one.place == parameter.place && one.name == parameter.name;
            match self.parameters.iter_mut().find(same) {
                Some(known) => {
                    known.required &= parameter.required;
                    known.credential |= parameter.credential;
                    known.many |= parameter.many;
                    known.values = known.values.max(parameter.values);
                    for kind in parameter.types {
                        if !known.types.contains(&kind) {
                            known.types.push(kind);
                        }
                    }
                    if known.enumeration.is_empty() || parameter.enumeration.is_empty() {
                        known.enumeration.clear();
                    }
                    known.enumeration.extend(parameter.enumeration);
                    known.enumeration.sort_unstable();
                    known.enumeration.dedup();
                }
                None => {
                    parameter.required &= mine == 0 || parameter.place == "path";
                    self.parameters.push(parameter);
                }
            }
        }
        self.request.required = (self.request.required || mine == 0) && (other.request.required || theirs == 0);
        for (mine, theirs) in [(&mut self.request, other.request), (&mut self.response, other.response)] {
            for media in theirs.media {
                if let Err(place) = mine.media.binary_search(&media) {
                    mine.media.insert(place, media);
                }
            }
            mine.bytes = match (mine.bytes, theirs.bytes) {
                (Some(mine), Some(theirs)) => Some(mine.most(theirs)),
                (mine, theirs) => mine.or(theirs),
            };
            match (&mut mine.body, theirs.body) {
                (Some(mine), Some(theirs)) => mine.merge(theirs),
                (mine, theirs) => *mine = mine.take().or(theirs),
            }
            mine.incomplete |= theirs.incomplete;
            mine.sensitive.extend(theirs.sensitive);
        }
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (status, count) in other.outcomes {
            *self.outcomes.entry(status).or_default() += count;
        }
        for (kind, count) in other.auth {
            *self.auth.entry(kind).or_default() += count;
        }
        self.refused += other.refused;
        self.http.extend(other.http);
        self.http.sort_unstable();
        self.http.dedup();
        self.incomplete_share = rounded(
            (self.incomplete_share * mine as f64 + other.incomplete_share * theirs as f64)
                / ((mine + theirs).max(1) as f64),
        );
        let few = |clients: u64, callers: &[IpAddr]| clients == callers.len() as u64;
        let all = few(self.clients, &self.callers) && few(other.clients, &other.callers);
        self.callers.extend(other.callers);
        self.callers.sort_unstable();
        self.callers.dedup();
        if all && self.callers.len() <= super::facts::CALLERS {
            self.clients = self.callers.len() as u64;
        } else {
            self.clients = self.clients.max(other.clients);
            self.callers.clear();
        }
        self.outside_calls += other.outside_calls;
        for outsider in other.outsiders {
            if !self.outsiders.contains(&outsider) && self.outsiders.len() < super::facts::OUTSIDERS {
                self.outsiders.push(outsider);
            }
        }
        self.reviewed = self.reviewed.take().or(other.reviewed);
        self.first = if mine == 0 { other.first } else { self.first.min(other.first) };
        self.last = self.last.max(other.last);
        self.calls += theirs;
        self.calls_per_hour = rounded(self.calls_per_hour + other.calls_per_hour);
        self.latency = match (self.latency, other.latency) {
            (Some(mine), Some(theirs)) => Some(mine.most(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
    }
}
