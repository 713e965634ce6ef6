//! The findings so far: each once, with what it came to.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::finding::{Finding, SCHEMA, State, Subject};
use super::kind::Kind;
use crate::alert::{Severity, Sighting};
use crate::call::{Call, Connection};
use crate::endpoint::{EndpointId, HashKey, Merged};
use crate::model::{Distinct, Table};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// Calls that a finding shows.
pub(super) const EXAMPLES: usize = 3;

/// Clients that a finding names.
pub(super) const CLIENTS: usize = 5;

/// Words on a finding that are told apart.
const DETAILS: usize = 12;

/// A finding is told again when so many times as many calls show it.
const GROWTH: u64 = 10;

/// What shows a finding: one call, or one connection.
pub(super) struct Proof<'p> {
    pub(super) time: Timestamp,
    pub(super) client: IpAddr,
    pub(super) client_hash: u64,
    pub(super) severity: Severity,
    /// What is particular about it.
    pub(super) details: &'p [&'p str],
    pub(super) shown: Shown<'p>,
}

/// What is shown of it.
#[derive(Clone, Copy)]
pub(super) enum Shown<'p> {
    Call(&'p Call),
    Connection(&'p Connection),
}

impl Shown<'_> {
    fn sighting(self) -> Sighting {
        match self {
            Shown::Call(call) => Sighting::of(call),
            Shown::Connection(connection) => Sighting::of_connection(connection),
        }
    }
}

/// One finding, while calls come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Held {
    id: u64,
    kind: Kind,
    severity: Severity,
    pub(super) subject: Subject,
    details: BTreeSet<Arc<str>>,
    pub(super) count: u64,
    distinct: Distinct,
    clients: Vec<IpAddr>,
    first: Timestamp,
    last: Timestamp,
    examples: Vec<Sighting>,
    /// How many calls showed it, and how bad it was, when it was last told.
    told: Option<(u64, Severity)>,
}

impl Held {
    pub(super) fn new(kind: Kind, subject: Subject, time: Timestamp) -> Held {
        Held {
            id: subject.id(kind),
            kind,
            severity: Severity::Low,
            subject,
            details: BTreeSet::new(),
            count: 0,
            distinct: Distinct::default(),
            clients: Vec::new(),
            first: time,
            last: time,
            examples: Vec::new(),
            told: None,
        }
    }

    /// Takes what shows it.
    pub(super) fn note(&mut self, proof: &Proof<'_>) {
        self.count += 1;
        self.severity = self.severity.max(proof.severity);
        self.last = self.last.max(proof.time);
        if self.distinct.insert(proof.client_hash)
            && self.clients.len() < CLIENTS
            && let Err(place) = self.clients.binary_search(&proof.client)
        {
            self.clients.insert(place, proof.client);
        }
        for &detail in proof.details {
            if self.details.len() < DETAILS && !self.details.contains(detail) {
                self.details.insert(detail.into());
            }
        }
        if self.examples.len() < EXAMPLES {
            self.examples.push(proof.shown.sighting());
        }
    }

    /// The line about it, if one is due.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<Finding> {
        let state = match self.told {
            None => State::New,
            Some((count, severity)) if self.count >= count.saturating_mul(GROWTH) || self.severity > severity => {
                State::Update
            }
            Some(_) => return None,
        };
        self.told = Some((self.count, self.severity));
        Some(self.tell(state, now))
    }

    /// The line about it.
    pub(super) fn tell(&self, state: State, now: Timestamp) -> Finding {
        Finding {
            ts: now,
            id: format!("{:016x}", self.id),
            schema: SCHEMA.to_owned(),
            state,
            kind: self.kind,
            severity: self.severity,
            owasp: self.kind.owasp().iter().map(|id| format!("{id}:2023")).collect(),
            service: self.subject.service.to_string(),
            endpoint: self.subject.endpoint.clone(),
            about: self.subject.about.clone(),
            summary: self.summary(),
            details: self.details.iter().map(|detail| detail.to_string()).collect(),
            count: self.count,
            client_count: self.distinct.count(),
            clients: self.clients.clone(),
            first: self.first,
            last: self.last,
            examples: self.examples.clone(),
            remedy: self.kind.remedy().to_owned(),
        }
    }

    fn summary(&self) -> String {
        let mut text = match (&self.subject.endpoint, &self.subject.about) {
            (Some(endpoint), _) => format!("{endpoint} of {}", self.subject.service),
            (None, Some(about)) if self.subject.service.is_empty() => about.clone(),
            (None, Some(about)) => format!("{about} at {}", self.subject.service),
            (None, None) => self.subject.service.to_string(),
        };
        text.push_str(": ");
        let help = self.kind.help().trim().trim_end_matches('.');
        let mut letters = help.chars();
        text.extend(letters.next().map(|letter| letter.to_ascii_lowercase()));
        text.push_str(letters.as_str());
        if !self.details.is_empty() {
            let details: Vec<&str> = self.details.iter().map(|detail| &**detail).collect();
            text.push_str(&format!(" ({})", details.join(", ")));
        }
        text.push('.');
        text
    }

    /// Adds what came of the same elsewhere.
    fn absorb(&mut self, other: Held) {
        self.count += other.count;
        self.severity = self.severity.max(other.severity);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.distinct.merge(&other.distinct);
        self.clients.extend(other.clients);
        self.clients.sort_unstable();
        self.clients.dedup();
        self.clients.truncate(CLIENTS);
        self.details.extend(other.details);
        while self.details.len() > DETAILS {
            self.details.pop_last();
        }
        self.examples.extend(other.examples);
        self.examples.sort_by_key(|sighting| (sighting.time, sighting.flow, sighting.position));
        self.examples.truncate(EXAMPLES);
        self.told = self.told.max(other.told);
    }
}

/// All findings.
pub(super) struct Book {
    held: Table<u64, Held>,
    key: HashKey,
}

impl Book {
    pub(super) fn new(limit: usize, key: HashKey) -> Book {
        Book { held: Table::new(limit), key }
    }

    /// Takes what shows a finding about what has this hash.
    pub(super) fn note(
        &mut self,
        kind: Kind,
        about: u64,
        subject: impl FnOnce() -> Subject,
        proof: &Proof<'_>,
        counters: &mut Counters,
    ) -> Option<Finding> {
        let key = self.key.pair(about, kind as u64);
        if self.held.get(&key).is_none() {
            let new = Held::new(kind, subject(), proof.time);
            if self.held.insert(key, new, |held| (held.severity, held.count)).is_some() {
                counters.count(Counter::FindingsForgotten);
            }
        }
        let held = self.held.get_mut(&key)?;
        held.note(proof);
        held.due(proof.time)
    }

    /// Templates are one from now on: so are the findings about them.
    pub(super) fn merge(&mut self, merged: &Merged) {
        for moved in &merged.moves {
            let id = |template: &str| EndpointId::of_template(&self.key, &merged.host, template, &moved.method);
            let (from, to) = (id(&moved.from), id(&moved.to));
            for &kind in Kind::ALL {
                let (from, to) = (self.key.pair(from.0, kind as u64), self.key.pair(to.0, kind as u64));
                let Some(mut gone) = self.held.remove(&from) else { continue };
                if let Some(held) = self.held.get_mut(&to) {
                    held.absorb(gone);
                    continue;
                }
                gone.subject.endpoint = Some(format!("{} {}", moved.method, moved.to));
                // One has just left, so none has to.
                self.held.insert(to, gone, |held| (held.severity, held.count));
            }
        }
    }

    /// All of them, to be kept.
    pub(super) fn memory(&self) -> Table<u64, Held> {
        self.held.clone()
    }

    /// Goes on from what was kept, up to the limit; gives how many findings are forgotten.
    pub(super) fn restore(&mut self, mut held: Table<u64, Held>) -> usize {
        let forgotten = held.limit(self.held.capacity());
        self.held = held;
        forgotten
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.iter().map(|(_, held)| held)
    }
}
