//! What is new while calls come: an endpoint, or a sensitive field of one, each told once.
//!
//! | file | owns |
//! | --- | --- |
//! | `baseline` | what was known before, from an inventory that was saved |
//! | `tests` | what is told, and what is not |
//!
//! Nothing is told in the time of learning. What is new then waits a while before it is told: whoever scans is found out by
//! then, and words that turn out to be one parameter with what is known are nothing new. All of that goes by the time of
//! the records, so that any number of workers tells the same.

mod baseline;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hasher;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::report::{self, Endpoint, Operation};
use super::review::{Review, Silence};
use super::services::is_address;
use crate::call::{BodyShape, Call, FlowId, Peer, Sensitive, Within};
use crate::endpoint::{EndpointId, HashKey, Move};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;
use baseline::Baseline;
pub(super) use baseline::covers;

/// The version of the JSON form.
pub const SCHEMA: &str = "apitap.event.v1";

const ENDPOINT_NEW: &str = "endpoint_new";
const SENSITIVE_NEW: &str = "sensitive_new";

/// What can be new, each kind with what it is as one sentence.
pub const KINDS: [(&str, &str); 2] = [
    (ENDPOINT_NEW, "An endpoint answers well that did not before."),
    (SENSITIVE_NEW, "An endpoint has sensitive data of a class, or in a field, that it did not have before."),
];

/// Servers whose names are remembered; 100 bytes each.
const SERVERS: usize = 16_384;

/// When and how much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Seconds of the traffic's time, from the first record on, in which all that is there is known. With a baseline there
    /// is no such time.
    pub learning_seconds: u64,
    /// Seconds that what is new waits before it is told.
    pub settle_seconds: u64,
    /// Endpoints and sensitive fields that are known to have been told, or to be nothing new; 16 bytes each, 16 MiB with
    /// the default. Beyond, nothing new is told any more, and counted.
    pub known: usize,
    /// Events that wait; 400 bytes each. Beyond, the one that has waited longest is told at once.
    pub waiting: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { learning_seconds: 86_400, settle_seconds: 600, known: 1 << 20, waiting: 4_096 }
    }
}

/// Something new.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// [`SCHEMA`].
    pub schema: String,
    /// The traffic's time at which it was told.
    pub ts: Timestamp,
    /// `endpoint_new` or `sensitive_new`.
    pub kind: String,
    /// The service.
    pub host: String,
    /// The method.
    pub method: String,
    /// The path's template.
    pub template: String,
    /// What is asked for there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// `request` or `response`, where it is about a field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<String>,
    /// The path of the field (`items[].mail`); the message as a whole where it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The classes of sensitive data: of the field, or of all that is new with an endpoint.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub sensitive: BTreeSet<String>,
    /// Good answers so far.
    pub calls: u64,
    /// Clients that got them.
    pub clients: u64,
    /// Good answers so far to clients from outside.
    #[serde(skip_serializing_if = "is_zero")]
    pub outside_calls: u64,
    /// Good answers so far by the credential that the request had.
    pub auth: BTreeMap<String, u64>,
    /// When it was there for the first time.
    pub first: Timestamp,
    /// The call that had it first.
    pub flow: FlowId,
    /// Its place in the flow.
    pub position: u32,
    /// Finds the flow in other tools.
    pub community_id: String,
}

impl Event {
    /// 16 hexadecimal digits derived from what is new: the same whenever it is told.
    pub fn subject_id(&self) -> String {
        format!("{:016x}", self.hashed().finish())
    }

    /// 16 hexadecimal digits derived from what is new and the call that had it first, by which a receiver knows a line that
    /// comes again.
    pub fn line_id(&self) -> String {
        let mut hasher = self.hashed();
        hasher.write_i64(self.first.nanos());
        hasher.write_u64(self.flow.0);
        hasher.write_u32(self.position);
        format!("{:016x}", hasher.finish())
    }

    /// SipHash-1-3 without a key: it names, it hides nothing.
    fn hashed(&self) -> siphasher::sip::SipHasher13 {
        let mut hasher = siphasher::sip::SipHasher13::new();
        let (protocol, operation) =
            self.operation.as_ref().map_or(("", ""), |one| (one.protocol.as_str(), one.name.as_str()));
        let (side, field) = (self.side.as_deref().unwrap_or_default(), self.field.as_deref().unwrap_or_default());
        let parts = [SCHEMA, &self.kind, &self.host, &self.method, &self.template, protocol, operation, side, field];
        // Of a field its class is a part of what is new; of an endpoint the classes are what it was found to have so far.
        let classes = self.sensitive.iter().map(String::as_str).filter(|_| self.field.is_some());
        for part in parts.into_iter().chain(classes) {
            hasher.write(part.as_bytes());
            hasher.write_u8(0);
        }
        hasher
    }

    /// What is new, as a plain sentence.
    pub fn summary(&self) -> String {
        let Event { method, template, host, .. } = self;
        let operation = self.operation.as_ref().map(|operation| format!(" ({})", operation.name)).unwrap_or_default();
        let endpoint = format!("{method} {template} of {host}{operation}");
        let classes = self.sensitive.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let Some(field) = &self.field else {
            let with = if classes.is_empty() { classes } else { format!(", with {classes}") };
            return format!("{endpoint} is new{with}.");
        };
        let side = if self.side.as_deref() == Some("request") { "requests" } else { "answers" };
        let place = if field.is_empty() { String::new() } else { format!("{field} in ") };
        format!("{classes} is new in {place}{side} of {endpoint}.")
    }

    /// One for tests.
    #[cfg(test)]
    pub(crate) fn sample() -> Event {
        Event {
            schema: SCHEMA.into(),
            ts: Timestamp::from_parts(1_772_460_600, 5),
            kind: SENSITIVE_NEW.into(),
            host: "shop.example".into(),
            method: "GET".into(),
            template: "/v1/orders/{id}".into(),
            side: Some("response".into()),
            field: Some("items[].mail".into()),
            sensitive: BTreeSet::from(["email".to_owned()]),
            calls: 3,
            clients: 2,
            first: Timestamp::from_parts(1_772_460_000, 5),
            ..Event::default()
        }
    }
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Where something is new.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Waiting {
    pub(super) host: String,
    pub(super) method: String,
    pub(super) template: String,
    pub(super) operation: Option<String>,
    /// Side, path and class of what is sensitive; none for an endpoint.
    field: Option<(bool, String, String)>,
    server: Peer,
    first: Timestamp,
    flow: FlowId,
    position: u32,
    community_id: String,
}

/// What is known and what waits, as it is kept from one run to the next.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    known: Vec<u64>,
    waiting: Vec<(Timestamp, u64, Waiting)>,
    names: Vec<(Peer, Option<Box<str>>)>,
    started: Option<Timestamp>,
}

/// An endpoint at which a call was answered well.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    pub(super) id: EndpointId,
    pub(super) host: &'a str,
    pub(super) method: &'a str,
    pub(super) template: &'a str,
    pub(super) operation: Option<&'a str>,
}

/// What is known, and what waits to be told.
#[derive(Debug)]
pub(super) struct Events {
    settings: Settings,
    key: HashKey,
    baseline: Option<Baseline>,
    /// What people say is no news.
    review: Option<Review>,
    /// Keys of endpoints and fields that are no news.
    known: HashSet<u64, ahash::RandomState>,
    /// By when it is due and its key.
    waiting: BTreeMap<(Timestamp, u64), Waiting>,
    due: HashMap<u64, Timestamp, ahash::RandomState>,
    /// The one name by which each server is asked; none where there are several.
    names: HashMap<Peer, Option<Box<str>>, ahash::RandomState>,
    started: Option<Timestamp>,
    counters: Counters,
}

impl Events {
    pub(super) fn new(settings: Settings, key: HashKey, baseline: Option<&[Endpoint]>) -> Events {
        Events {
            settings,
            key,
            baseline: baseline.map(Baseline::new),
            review: None,
            known: HashSet::default(),
            waiting: BTreeMap::new(),
            due: HashMap::default(),
            names: HashMap::default(),
            started: None,
            counters: Counters::new(),
        }
    }

    /// Tells from now on nothing that people say is none.
    pub(super) fn respect(&mut self, review: Review) {
        self.review = Some(review);
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What is known and what waits, to be kept.
    pub(super) fn memory(&self) -> Memory {
        Memory {
            known: self.known.iter().copied().collect(),
            waiting: self.waiting.iter().map(|(&(due, key), one)| (due, key, one.clone())).collect(),
            names: self.names.iter().map(|(&server, name)| (server, name.clone())).collect(),
            started: self.started,
        }
    }

    /// Goes on from what was kept. More than is to be known is left out, and what waits has its time then.
    pub(super) fn restore(&mut self, memory: Memory) {
        let Memory { mut known, waiting, mut names, started } = memory;
        if known.len() > self.settings.known {
            known.sort_unstable(); // which of them go does not depend on the order in which they were kept
            known.truncate(self.settings.known);
        }
        self.known = known.into_iter().collect();
        self.due = waiting.iter().map(|&(due, key, _)| (key, due)).collect();
        self.waiting = waiting.into_iter().map(|(due, key, one)| ((due, key), one)).collect();
        names.sort_unstable();
        names.truncate(SERVERS);
        self.names = names.into_iter().collect();
        self.started = started;
    }

    fn key_of(&self, id: EndpointId, operation: Option<&str>) -> u64 {
        match operation {
            None => id.0,
            Some(name) => self.key.pair(id.0, self.key.hash(&[name.as_bytes()])),
        }
    }

    fn field_key(&self, endpoint: u64, response: bool, path: &str, class: &str) -> u64 {
        let side: &[u8] = if response { b"response" } else { b"request" };
        self.key.pair(endpoint, self.key.hash(&[side, path.as_bytes(), class.as_bytes()]))
    }

    /// True when it is new, and can be remembered.
    fn is_new(&mut self, key: u64) -> bool {
        if self.known.len() >= self.settings.known && !self.known.contains(&key) {
            self.counters.count(Counter::EventsUntold);
            return false;
        }
        self.known.insert(key)
    }

    /// A call of somebody who is not under suspicion was answered well.
    pub(super) fn learned(&mut self, call: &Call, at: At<'_>) {
        let started = *self.started.get_or_insert(call.end_time);
        self.note_name(call.server, at.host);
        let learning = match &self.baseline {
            Some(_) => false,
            None => call.end_time < started + Duration::from_secs(self.settings.learning_seconds),
        };
        let endpoint = self.key_of(at.id, at.operation);
        if self.is_new(endpoint) && !learning && !self.baseline.as_ref().is_some_and(|baseline| baseline.has(&at)) {
            self.wait(endpoint, call, at, None);
        }
        if call.sensitive.is_empty() {
            return;
        }
        let shape = call.shape.as_deref();
        let sides = [
            (false, &call.sensitive.request, shape.and_then(|shape| shape.request.as_deref())),
            (false, &call.sensitive.request_head, None),
            (true, &call.sensitive.response, shape.and_then(|shape| shape.response.as_deref())),
        ];
        for (response, found, body) in sides {
            self.classes(call, at, endpoint, learning, (response, found, body));
        }
    }

    /// Looks for sensitive data that is new.
    fn classes(
        &mut self,
        call: &Call,
        at: At<'_>,
        endpoint: u64,
        learning: bool,
        (response, found, body): (bool, &[Sensitive], Option<&BodyShape>),
    ) {
        let fields = body.map(BodyShape::sensitive_places).unwrap_or_default();
        let whole = found.iter().map(|found| (&found.class, None));
        // A class of which the field is known needs no telling of the message.
        let whole = whole.filter(|(class, _)| !fields.iter().any(|(_, known)| known == *class));
        let each = fields.iter().map(|(place, class)| (class, Some(*place)));
        for (class, place) in whole.chain(each) {
            let steps = place.zip(body).map(|(place, body)| body.way(place)).unwrap_or_default();
            let path = path(&steps);
            let key = self.field_key(endpoint, response, &path, class);
            if !self.is_new(key) || learning || self.due.contains_key(&endpoint) {
                continue;
            }
            let had = |baseline: &Baseline| baseline.has_class(&at, response, &steps, class);
            if !self.baseline.as_ref().is_some_and(had) {
                self.wait(key, call, at, Some((response, path, class.to_string())));
            }
        }
    }

    fn wait(&mut self, key: u64, call: &Call, at: At<'_>, field: Option<(bool, String, String)>) {
        let due = call.end_time + Duration::from_secs(self.settings.settle_seconds);
        let waiting = Waiting {
            host: at.host.to_owned(),
            method: at.method.to_owned(),
            template: at.template.to_owned(),
            operation: at.operation.map(str::to_owned),
            field,
            server: call.server,
            first: call.end_time,
            flow: call.flow,
            position: call.position,
            community_id: call.community_id.to_string(),
        };
        self.waiting.insert((due, key), waiting);
        self.due.insert(key, due);
    }

    /// Endpoints are one from now on; `gone` is what was known of the one that is no more.
    pub(super) fn merged(&mut self, host: &str, moved: &Move, gone: &Facts) {
        let id = |template: &str| EndpointId::of_template(&self.key, host, template, &moved.method);
        let (from, to) = (id(&moved.from).0, id(&moved.to).0);
        let was_known = self.known.contains(&to);
        // What waits of it waits of the other, unless that is no news.
        let of_it = |one: &Waiting| one.host == host && one.template == moved.from && one.method == moved.method;
        let keys: Vec<_> =
            self.waiting.iter().filter(|(_, one)| one.operation.is_none() && of_it(one)).map(|(key, _)| *key).collect();
        let mut news = BTreeSet::new();
        for (due, key) in keys {
            let Some(mut one) = self.waiting.remove(&(due, key)) else { continue };
            self.due.remove(&key);
            let new_key = match &one.field {
                None => to,
                Some((response, path, class)) => self.field_key(to, *response, path, class),
            };
            let known = if one.field.is_none() { was_known } else { self.known.contains(&new_key) };
            if !known && !self.due.contains_key(&new_key) {
                one.template.clone_from(&moved.to);
                self.waiting.insert((due, new_key), one);
                self.due.insert(new_key, due);
            }
            news.insert(new_key);
        }
        if self.known.contains(&from) {
            self.is_new(to);
        }
        for key in news {
            self.is_new(key);
        }
        for (response, message) in [(false, gone.message(false)), (true, gone.message(true))] {
            for class in &message.sensitive {
                let key = self.field_key(to, response, "", class);
                self.is_new(key);
            }
            let mut fields = Vec::new();
            if let Some(body) = &message.body {
                body.walk(&mut |path, schema| {
                    fields.extend(schema.sensitive.iter().map(|class| (path.to_owned(), class.clone())));
                });
            }
            for (path, class) in fields {
                let key = self.field_key(to, response, &path, &class);
                self.is_new(key);
            }
        }
    }

    /// What is due at a time, or has to make room: gives one after the other, the longest waiting first.
    pub(super) fn next_due(&mut self, now: Timestamp) -> Option<Waiting> {
        let (&(due, key), _) = self.waiting.first_key_value()?;
        if due > now && self.waiting.len() <= self.settings.waiting {
            return None;
        }
        self.due.remove(&key);
        self.waiting.remove(&(due, key))
    }

    /// By the name of the server, where it was asked for by an address; none if it is known by that, or a review says that it
    /// is no news.
    pub(super) fn named(&mut self, one: Waiting) -> Option<Waiting> {
        let one = self.renamed(one)?;
        let silenced = match (self.silence(&one), &one.field) {
            (Silence::All, _) | (Silence::Classes, Some(_)) => true,
            (Silence::Classes, None) | (Silence::None, _) => false,
        };
        if silenced {
            self.counters.count(Counter::EventsReviewed);
        }
        (!silenced).then_some(one)
    }

    /// What people say of where something is new.
    fn silence(&self, one: &Waiting) -> Silence {
        let Some(review) = &self.review else { return Silence::None };
        // The protocol does not matter to a review.
        let operation = one.operation.clone().map(|name| Operation { protocol: String::new(), name });
        let (host, method, template) = (one.host.clone(), one.method.clone(), one.template.clone());
        review.silence(&Endpoint { host, method, template, operation, ..Endpoint::default() })
    }

    fn renamed(&mut self, mut one: Waiting) -> Option<Waiting> {
        if !is_address(&one.host) {
            return Some(one);
        }
        let Some(Some(name)) = self.names.get(&one.server) else { return Some(one) };
        one.host = name.to_string();
        let id = EndpointId::of_template(&self.key, &one.host, &one.template, &one.method);
        let endpoint = self.key_of(id, one.operation.as_deref());
        let key = match &one.field {
            None => endpoint,
            Some((response, path, class)) => self.field_key(endpoint, *response, path, class),
        };
        let operation = one.operation.as_deref();
        let at = At { id, host: &one.host, method: &one.method, template: &one.template, operation };
        let before = one.field.is_none() && self.baseline.as_ref().is_some_and(|baseline| baseline.has(&at));
        (self.is_new(key) && !before).then_some(one)
    }

    fn note_name(&mut self, server: Peer, host: &str) {
        if is_address(host) {
            return;
        }
        match self.names.get_mut(&server) {
            Some(Some(known)) if **known == *host => {}
            Some(known) => *known = None,
            None => {
                if self.names.len() < SERVERS {
                    self.names.insert(server, Some(host.into()));
                }
            }
        }
    }

    /// It is told.
    pub(super) fn tell(&mut self, one: Waiting, facts: &Facts, now: Timestamp) -> Event {
        self.counters.count(Counter::Events);
        let silence = self.silence(&one);
        let (side, field, classes) = match one.field {
            Some((response, path, class)) => {
                let side = if response { "response" } else { "request" };
                (Some(side.to_owned()), Some(path), BTreeSet::from([class]))
            }
            None if silence == Silence::Classes => (None, None, BTreeSet::new()),
            None => {
                let all = facts.sensitive.iter().flatten().map(|class| class.to_string());
                (None, None, all.collect())
            }
        };
        let protocol = facts.protocol.map_or("", report::protocol).to_owned();
        Event {
            schema: SCHEMA.to_owned(),
            ts: now,
            kind: if field.is_some() { SENSITIVE_NEW } else { ENDPOINT_NEW }.to_owned(),
            host: one.host,
            method: if facts.is_of_heads() { "HEAD".to_owned() } else { one.method },
            template: one.template,
            operation: one.operation.map(|name| Operation { protocol, name }),
            side,
            field,
            sensitive: classes,
            calls: facts.calls,
            clients: facts.distinct.count(),
            outside_calls: facts.outside,
            auth: facts.credentials(),
            first: one.first,
            flow: one.flow,
            position: one.position,
            community_id: one.community_id,
        }
    }
}

/// The path of a field, as [`report::Schema::walk`] writes it.
fn path(steps: &[Within<'_>]) -> String {
    let mut path = String::new();
    for step in steps {
        let (name, point) = match step {
            Within::Body => continue,
            Within::Field(name) => (*name, true),
            Within::Entry => ("*", true),
            Within::Item => ("[]", false),
        };
        if point && !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
    }
    path
}
