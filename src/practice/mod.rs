//! The practices: what of a call is not as it should be, whoever makes it.
//!
//! | file | asks |
//! | --- | --- |
//! | `credential` | who is answered without a credential, or with one that should be worth nothing; where they are sent, and signed |
//! | `exposure` | what answers hold that no caller needs |
//! | `learned` | which keys come under names that no rule knows |
//! | `gateway` | who reaches a service around the gateway |
//! | `outbound` | what services do at third parties |
//! | [`quota`] | who exceeds quotas, nearly does, or does not wait when told to |
//! | `book` | keeps each finding once, by endpoint, service or client |
//! | [`finding`] | what is told, as plain data |
//! | [`kind`] | what there is to find, how grave it is, and what to do |
//!
//! [`Practice`] takes records in their total order, with what the detector made of them: the templates and the count of who
//! calls an endpoint with a credential are the detector's. These are facts, not statistics: one call that shows something
//! is enough, and a finding stays one however many calls show it.

mod book;
mod credential;
mod exposure;
pub mod finding;
mod gateway;
pub mod kind;
mod learned;
mod outbound;
pub mod posture;
pub mod quota;
mod settings;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::alert::Severity;
use crate::call::{Anomaly, Call, Connection, Signature};
use crate::detect::{Access, Detector, Judged};
use crate::endpoint::{EndpointId, HashKey, Merged, Place};
use crate::model::Table;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

use book::{Book, Held, Proof, Shown};
use finding::{Finding, State, Subject};
use gateway::{Server, Servers};
pub use kind::{Advice, Kind};
use learned::Learned;
use posture::{Configured, Incidents, Posture};
pub use quota::{Dimension, Quota};
use quota::{Quotas, Use, Wait, Waiting};
pub use settings::{Boundary, Gateway, Network, Settings};
pub use tally::{LearnedKey, Tally};

/// Records in, findings out.
pub struct Practice {
    settings: Settings,
    book: Book,
    /// By endpoint.
    signing: Table<u64, Signing>,
    learned: Learned,
    servers: Servers,
    quotas: Quotas,
    waiting: Waiting,
    key: HashKey,
    place: Place,
    counters: Counters,
    tally: Tally,
    span: Option<(Timestamp, Timestamp)>,
}

impl std::fmt::Debug for Practice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Practice").field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// All that the practices remember, as it is kept from one run to the next. What an earlier version did not keep is absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    findings: Option<Table<u64, Held>>,
    signing: Option<Table<u64, Signing>>,
    learned: Option<learned::Memory>,
    servers: Option<(Gateway, Table<u64, Server>)>,
    quotas: Option<(Vec<Quota>, Table<u64, Use>)>,
    waits: Option<Table<u64, Wait>>,
    tally: Tally,
    span: Option<(Timestamp, Timestamp)>,
}

/// Who signs calls to an endpoint.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Signing {
    calls: u32,
    signer: u64,
    several: bool,
    signature: Signature,
}

/// Where findings go.
struct Found<'f> {
    settings: &'f Settings,
    book: &'f mut Book,
    counters: &'f mut Counters,
    out: &'f mut Vec<Finding>,
}

/// A call as the practices see it.
struct Seen<'s> {
    call: &'s Call,
    judged: &'s Judged<'s>,
    place: &'s Place,
    endpoint: EndpointId,
    good: bool,
    /// Credentials are given out, renewed or given up at its path.
    login: bool,
    access: Access,
    /// It has a key under a name that was learned.
    keyed: bool,
}

impl<'s> Seen<'s> {
    fn new(call: &'s Call, judged: &'s Judged<'s>, place: &'s Place, endpoint: EndpointId) -> Seen<'s> {
        let (login, access) = (judged.of_logins(), judged.access());
        Seen { call, judged, place, endpoint, good: judged.good, login, access, keyed: false }
    }

    /// It did not say who made it, as far as that can be known.
    fn anonymous(&self) -> bool {
        let certificate = self.call.tls.as_ref().is_some_and(|tls| tls.client_certificate.is_some());
        !self.judged.authenticated() && !self.keyed && !certificate && !self.partly_unknown()
    }

    /// What is absent in its request may have been there.
    fn partly_unknown(&self) -> bool {
        self.judged.recorded()
            || self.call.request.gap_bytes > 0
            || self.call.completeness.one_sided
            || self.call.anomalies.contains(Anomaly::HeadTooLarge)
            || self.call.anomalies.contains(Anomaly::TooManyHeaders)
    }

    /// Names of its query's parameters that are secrets.
    fn secret_parameters(&self) -> impl Iterator<Item = &str> {
        self.call.query_names.iter().map(|name| &**name).filter(|name| self.judged.is_secret(name))
    }

    /// Its service is one of these.
    fn is_of(&self, services: &[String]) -> bool {
        match self.place.host.as_str() {
            "" => services.iter().any(|service| service.parse() == Ok(self.call.server.ip)),
            host => services.iter().any(|service| service == host),
        }
    }

    fn service(&self) -> Arc<str> {
        match self.place.host.as_str() {
            "" => self.call.server.ip.to_string().into(),
            host => host.into(),
        }
    }

    fn subject(&self) -> Subject {
        let method = if self.call.verb() == "HEAD" { "GET" } else { self.call.verb() };
        let endpoint = Some(format!("{method} {}", self.place.template));
        Subject { service: self.service(), endpoint, about: None }
    }

    fn proof<'p>(&'p self, severity: Severity, details: &'p [&'p str]) -> Proof<'p> {
        Proof {
            time: self.call.end_time,
            client: self.judged.client,
            client_hash: self.judged.client_hash,
            severity,
            details,
            shown: Shown::Call(self.call),
        }
    }
}

impl Practice {
    /// One that has seen nothing. The key keeps strangers from choosing what collides.
    pub fn new(settings: &Settings, gateway: &Gateway, quotas: &[Quota], key: HashKey) -> Practice {
        Practice {
            settings: settings.clone(),
            book: Book::new(settings.findings, key),
            signing: Table::new(settings.endpoints),
            learned: Learned::new(settings, key),
            servers: Servers::new(settings.servers, gateway.clone(), key),
            quotas: Quotas::new(quotas, settings.quota_uses, key),
            waiting: Waiting::new(settings.quota_uses, key),
            key,
            place: Place::default(),
            counters: Counters::new(),
            tally: Tally::default(),
            span: None,
        }
    }

    /// All that it remembers, to be kept: findings, and what is told of them, and what they rest on.
    pub fn memory(&self) -> Memory {
        Memory {
            findings: Some(self.book.memory()),
            signing: Some(self.signing.clone()),
            learned: Some(self.learned.memory()),
            servers: Some(self.servers.memory()),
            quotas: Some(self.quotas.memory()),
            waits: Some(self.waiting.memory()),
            tally: self.tally.clone(),
            span: self.span,
        }
    }

    /// Goes on from what an earlier run kept, fitted to the settings' limits, under the same key. Before the first call.
    pub fn restore(&mut self, memory: Memory) {
        let Memory { findings, signing, learned, servers, quotas, waits, tally, span } = memory;
        let findings = findings.map_or(0, |findings| self.book.restore(findings));
        self.counters.add(Counter::FindingsForgotten, findings as u64);
        let mut forgotten = 0;
        if let Some(mut signing) = signing {
            forgotten += signing.limit(self.signing.capacity());
            self.signing = signing;
        }
        forgotten += learned.map_or(0, |learned| self.learned.restore(learned));
        forgotten += servers.map_or(0, |servers| self.servers.restore(servers));
        forgotten += quotas.map_or(0, |quotas| self.quotas.restore(quotas));
        forgotten += waits.map_or(0, |waits| self.waiting.restore(waits));
        self.counters.add(Counter::PracticeForgotten, forgotten as u64);
        (self.tally, self.span) = (tally, span);
    }

    /// Takes a call with what the detector made of it, in the order of [`crate::call::Record::order`]. Findings of which a line
    /// is due are appended.
    pub fn take(&mut self, call: &Call, judged: &Judged<'_>, out: &mut Vec<Finding>) {
        self.come_to(call.start_time(), call.end_time);
        if let Some(merged) = judged.merged {
            self.merge(merged);
        }
        if judged.goes_on() {
            return;
        }
        let before = out.len();
        let mut own = std::mem::take(&mut self.place);
        let place = match judged.good && (judged.merged.is_some() || !judged.place.known) {
            true => {
                judged.templates.place(&mut own, call.host.as_deref(), &call.path);
                if let Some(operation) = &call.operation {
                    own.ask(operation);
                }
                &own
            }
            false => judged.place,
        };
        let mut seen = Seen::new(call, judged, place, EndpointId::of(&self.key, place, call.verb()));
        seen.keyed = self.learned.names(&seen).is_some();
        self.tally.note(&seen, self.servers.is_gateway(call.client.ip));
        let found = &mut Found { settings: &self.settings, book: &mut self.book, counters: &mut self.counters, out };
        self.learned.observe(&seen, found);
        credential::observe(&seen, found);
        credential::signatures(&seen, &mut self.signing, found);
        credential::boundaries(&seen, found);
        if outbound::is_outbound(&seen, found) {
            self.tally.outbound += 1;
            outbound::observe(&seen, found);
        } else {
            exposure::observe(&seen, found);
        }
        self.quotas.call(&seen, found);
        self.waiting.call(&seen, found);
        if !self.servers.is_idle() {
            self.servers.call(call, &seen.service(), found);
        }
        self.counters.add(Counter::Findings, (out.len() - before) as u64);
        self.place = own;
    }

    /// Takes a connection.
    pub fn connection(&mut self, connection: &Connection, out: &mut Vec<Finding>) {
        self.come_to(connection.start_time, connection.end_time);
        self.tally.connection(connection);
        let before = out.len();
        let found = &mut Found { settings: &self.settings, book: &mut self.book, counters: &mut self.counters, out };
        self.servers.connection(connection, found);
        self.counters.add(Counter::Findings, (out.len() - before) as u64);
    }

    /// There will be no more records: what all findings came to, the gravest first, then by kind, service, endpoint and who
    /// it is about.
    pub fn finish(&mut self, detector: &mut Detector) -> Vec<Finding> {
        for merged in detector.settle() {
            self.merge(&merged);
        }
        let now = self.span.map_or(Timestamp::ZERO, |(_, last)| last);
        let mut all: Vec<Finding> = self.all().map(|held| held.tell(State::Total, now)).collect();
        all.sort_by(|one, other| {
            let place = |finding: &Finding| (std::cmp::Reverse(finding.severity), finding.kind);
            let name = |finding: &Finding| (finding.service.clone(), finding.endpoint.clone(), finding.about.clone());
            place(one).cmp(&place(other)).then_with(|| name(one).cmp(&name(other)))
        });
        all
    }

    /// The posture, at the end.
    pub fn posture(&mut self, detector: &mut Detector, incidents: &Incidents) -> Posture {
        let findings = self.finish(detector);
        let configured = Configured {
            gateways: !self.servers.is_idle(),
            quotas: !self.quotas.is_empty(),
            boundaries: !self.settings.encrypted.is_empty(),
        };
        let mut tally = self.tally.clone();
        tally.learned_keys = self.learned.all().iter().map(LearnedKey::of).collect();
        Posture::of(findings, incidents, tally, self.span, configured)
    }

    fn come_to(&mut self, start: Timestamp, end: Timestamp) {
        let (first, last) = self.span.unwrap_or((start, end));
        self.span = Some((first.min(start), last.max(end)));
    }

    fn all(&self) -> impl Iterator<Item = &Held> {
        self.book.iter().chain(self.servers.iter())
    }

    fn merge(&mut self, merged: &Merged) {
        self.book.merge(merged);
        for moved in &merged.moves {
            let id = |template: &str| EndpointId::of_template(&self.key, &merged.host, template, &moved.method).0;
            let (from, to) = (id(&moved.from), id(&moved.to));
            self.learned.moved(from, to);
            let Some(gone) = self.signing.remove(&from) else { continue };
            match self.signing.get_mut(&to) {
                Some(held) => {
                    held.several |= gone.several || gone.signer != held.signer;
                    held.calls = held.calls.saturating_add(gone.calls);
                }
                None => {
                    self.signing.insert(to, gone, |signing| signing.calls);
                }
            }
        }
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
