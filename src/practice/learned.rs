//! Keys under names that no rule knows: learned from how they are used.
//!
//! A header, a query parameter or a cookie carries a key when several clients send it, each the same value again and again and
//! nearly each another, and when calls without it (and without any other credential) are refused where calls with it are answered. From
//! then on a call with it has said who made it, for findings and for the posture.
//!
//! Browsers bear cookies that keep to one value each and have nothing to do with it. Those of analytics, consent and the like are known
//! by their names and are no candidates; of the others, one with which several clients were refused opens nothing.
//!
//! It does not become the call's credential. Who is behind a call decides whose evidence grows, and that must not change in the
//! middle of a run, with what happened to be learned by then; and a header that anybody may send would let its sender choose
//! whom it is compared with. The posture tells the names, to be put into `rules/credentials.toml`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::settings::Settings;
use super::{Found, Seen};
use crate::alert::Severity;
use crate::call::{CredentialPlace, KeyCandidate};
use crate::endpoint::HashKey;
use crate::model::{Distinct, Table};
use crate::stats::Counter;

/// Clients of a name that are told apart.
const HOLDERS: usize = 16;

/// Names of one endpoint that are told apart.
const NAMES: usize = 4;

/// Calls with one value after which a client is known to keep to it.
const STEADY: u32 = 3;

/// Such clients after which a name may be learned, and clients without it that were refused.
const ENOUGH: (usize, u64) = (5, 2);

/// One client that sends a name.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Holder {
    client: u64,
    value: u64,
    calls: u32,
}

/// One name at one service.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Name {
    service: Arc<str>,
    name: Arc<str>,
    place: CredentialPlace,
    holders: Vec<Holder>,
    calls: u64,
    /// Calls by which a client changed its value.
    changes: u64,
    /// Clients without it that were refused, and that were answered, where others sent it.
    refused: Distinct,
    answered: Distinct,
    /// Clients that were refused although they sent it; of cookies alone.
    in_vain: Distinct,
    learned: bool,
}

/// How an endpoint is called.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Called {
    names: Vec<u64>,
    keyed: Distinct,
    refused: bool,
    calls: u32,
}

/// Names, learned and not yet.
pub(super) struct Learned {
    names: Table<u64, Name>,
    endpoints: Table<u64, Called>,
    key: HashKey,
}

/// All of it, to be kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Memory {
    names: Table<u64, Name>,
    endpoints: Table<u64, Called>,
}

/// A name that was learned.
pub(super) struct LearnedName<'l> {
    pub(super) service: &'l str,
    pub(super) name: &'l str,
    pub(super) place: CredentialPlace,
    pub(super) calls: u64,
}

impl Name {
    /// Whether its use shows that it is a key.
    fn shows(&self) -> bool {
        let steady: Vec<u64> =
            self.holders.iter().filter(|holder| holder.calls >= STEADY).map(|holder| holder.value).collect();
        let mut distinct = steady.clone();
        distinct.sort_unstable();
        distinct.dedup();
        steady.len() >= ENOUGH.0
            && distinct.len() * 5 >= steady.len() * 4
            && self.changes * 10 <= self.calls
            && self.refused.count() >= ENOUGH.1
            && self.answered.count() * 4 <= self.refused.count()
            && self.in_vain.count() * 4 <= steady.len() as u64
    }
}

impl Learned {
    pub(super) fn new(settings: &Settings, key: HashKey) -> Learned {
        Learned { names: Table::new(settings.key_names), endpoints: Table::new(settings.endpoints), key }
    }

    pub(super) fn memory(&self) -> Memory {
        Memory { names: self.names.clone(), endpoints: self.endpoints.clone() }
    }

    /// Goes on from what was kept, up to the limits; gives how many entries are forgotten.
    pub(super) fn restore(&mut self, memory: Memory) -> usize {
        let Memory { mut names, mut endpoints } = memory;
        let forgotten = names.limit(self.names.capacity()) + endpoints.limit(self.endpoints.capacity());
        (self.names, self.endpoints) = (names, endpoints);
        forgotten
    }

    fn hash(&self, service: &str, candidate: &KeyCandidate) -> u64 {
        let place = self.key.pair(candidate.place as u64, 0);
        self.key.pair(place, self.key.hash(&[service.as_bytes(), candidate.name.as_bytes()]))
    }

    /// Whether a call says who made it by a name that was learned.
    pub(super) fn names<'c>(&self, seen: &Seen<'c>) -> Option<&'c KeyCandidate> {
        let candidates = &seen.call.key_candidates;
        if candidates.is_empty() {
            return None;
        }
        let service = seen.service();
        let learned = |candidate: &&KeyCandidate| {
            self.names.get(&self.hash(&service, candidate)).is_some_and(|name| name.learned)
        };
        candidates.iter().find(learned)
    }

    /// What was learned, by service and name.
    pub(super) fn all(&self) -> Vec<LearnedName<'_>> {
        let learned = self.names.iter().map(|(_, name)| name).filter(|name| name.learned);
        let mut all: Vec<_> = learned
            .map(|name| LearnedName { service: &name.service, name: &name.name, place: name.place, calls: name.calls })
            .collect();
        all.sort_by_key(|learned| (learned.service, learned.name, learned.place));
        all
    }

    /// Takes a call.
    pub(super) fn observe(&mut self, seen: &Seen<'_>, found: &mut Found<'_>) {
        let call = seen.call;
        if call.credential.is_some() || seen.login || call.completeness.recorder.is_some() {
            return;
        }
        if call.key_candidates.is_empty() {
            return self.without(seen, &[], found);
        }
        let service = seen.service();
        let mut sent = Vec::with_capacity(call.key_candidates.len());
        for candidate in &call.key_candidates {
            let hash = self.hash(&service, candidate);
            self.with(seen, candidate, hash, &service, found);
            sent.push(hash);
        }
        // What browsers bear by themselves does not say that nothing is missing.
        if call.key_candidates.iter().all(|candidate| candidate.place == CredentialPlace::Cookie) {
            self.without(seen, &sent, found);
        }
        if seen.good
            && let Some(candidate) = self.names(seen)
            && candidate.place == CredentialPlace::Query
        {
            let severity = if call.tls.is_none() { Kind::InUrl.severity() } else { Severity::Low };
            found.endpoint(seen, Kind::InUrl, severity, &[&candidate.name]);
        }
    }

    /// A call with a value that may be a key. Only what was answered well teaches.
    fn with(
        &mut self,
        seen: &Seen<'_>,
        candidate: &KeyCandidate,
        hash: u64,
        service: &Arc<str>,
        found: &mut Found<'_>,
    ) {
        if candidate.place == CredentialPlace::Cookie
            && is_refused(seen)
            && let Some(name) = self.names.get_mut(&hash)
        {
            name.in_vain.insert(seen.judged.client_hash);
        }
        if !seen.good || seen.judged.suspect {
            return;
        }
        let client = seen.judged.client_hash;
        if self.names.get(&hash).is_none() {
            let new = Name {
                service: service.clone(),
                name: candidate.name.clone(),
                place: candidate.place,
                holders: Vec::new(),
                calls: 0,
                changes: 0,
                refused: Distinct::default(),
                answered: Distinct::default(),
                in_vain: Distinct::default(),
                learned: false,
            };
            if self.names.insert(hash, new, |name| (name.learned, name.calls)).is_some() {
                found.counters.count(Counter::PracticeForgotten);
            }
        }
        let Some(name) = self.names.get_mut(&hash) else { return };
        name.calls += 1;
        let value = candidate.fingerprint.0;
        let full = name.holders.len() >= HOLDERS;
        match name.holders.iter_mut().find(|holder| holder.client == client) {
            Some(holder) if holder.value == value => holder.calls = holder.calls.saturating_add(1),
            Some(holder) => {
                name.changes += 1;
                *holder = Holder { client, value, calls: 1 };
            }
            None if !full => name.holders.push(Holder { client, value, calls: 1 }),
            None => {}
        }
        name.learned |= name.shows();
        let place = seen.endpoint.0;
        if self.endpoints.get(&place).is_none()
            && self.endpoints.insert(place, Called::default(), |called| called.calls).is_some()
        {
            found.counters.count(Counter::PracticeForgotten);
        }
        let Some(called) = self.endpoints.get_mut(&place) else { return };
        called.calls = called.calls.saturating_add(1);
        if !called.names.contains(&hash) && called.names.len() < NAMES {
            called.names.push(hash);
        }
        called.keyed.insert(client);
    }

    /// A call that says nothing of who made it, beyond cookies of these names.
    fn without(&mut self, seen: &Seen<'_>, sent: &[u64], found: &mut Found<'_>) {
        let Some(called) = self.endpoints.get_mut(&seen.endpoint.0) else { return };
        let refused = is_refused(seen);
        if !(refused || seen.good) || !seen.anonymous() {
            return;
        }
        called.refused |= refused;
        // A cookie under another name may be a key, too, until it was of no use to several.
        let alone = sent.iter().all(|hash| self.names.get(hash).is_some_and(|name| name.in_vain.count() >= ENOUGH.1));
        let (mut locked, several) = (false, called.keyed.count() >= 2);
        let mut named: Option<Arc<str>> = None;
        for hash in called.names.iter().filter(|hash| !sent.contains(hash)) {
            let Some(name) = self.names.get_mut(hash) else { continue };
            match refused {
                true => name.refused.insert(seen.judged.client_hash),
                // Another cookie of the same call may have opened it.
                false if !name.learned && sent.is_empty() => name.answered.insert(seen.judged.client_hash),
                false => false,
            };
            name.learned |= name.shows();
            if name.learned {
                locked = called.refused && several;
                named = Some(name.name.clone());
            }
        }
        let body = seen.call.response.body_bytes.max(seen.call.response.wire_bytes) > 0;
        if let (true, true, Some(name)) = (locked && alone && seen.good, body, named) {
            let detail = format!("others send {name}");
            let classes = seen.call.sensitive.response.iter().map(|held| &*held.class);
            let severity = if seen.call.sensitive.response.is_empty() { Severity::High } else { Severity::Critical };
            let details: Vec<&str> = std::iter::once(&*detail).chain(classes).collect();
            found.endpoint(seen, Kind::Missing, severity, &details);
        }
    }

    /// Endpoints are one from now on.
    pub(super) fn moved(&mut self, from: u64, to: u64) {
        let Some(gone) = self.endpoints.remove(&from) else { return };
        match self.endpoints.get_mut(&to) {
            Some(held) => {
                held.keyed.merge(&gone.keyed);
                held.refused |= gone.refused;
                held.calls = held.calls.saturating_add(gone.calls);
                let free = NAMES.saturating_sub(held.names.len());
                let new: Vec<u64> =
                    gone.names.into_iter().filter(|name| !held.names.contains(name)).take(free).collect();
                held.names.extend(new);
            }
            None => {
                self.endpoints.insert(to, gone, |called| called.calls);
            }
        }
    }
}

/// Whether a call was refused for who made it, or did not say.
fn is_refused(seen: &Seen<'_>) -> bool {
    matches!(seen.call.outcome(), Some(401 | 403))
}
