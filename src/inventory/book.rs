//! Facts by endpoint while calls come.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Settings;
use super::budget::Budget;
use super::events::{self, At, Event, Events};
use super::facts::Facts;
use super::graph::Calls;
use super::inside;
use super::report::Endpoint;
use super::settled::{Learning, Settled};
use crate::call::Call;
use crate::detect::Judged;
use crate::endpoint::{EndpointId, HashKey, Merged, Place};
use crate::export::selection::Selector;
use crate::model::Table;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// Operations that are told apart at one endpoint.
const OPERATIONS: usize = 256;

/// Proxies that are known as such; beyond, what clients ask of them is not told from what they ask of services.
const GATEWAYS: usize = 1_024;

/// An endpoint, and what is asked for there by other names.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) own: Facts,
    pub(super) operations: BTreeMap<Box<str>, Facts>,
}

impl Known {
    fn new(time: Timestamp) -> Known {
        Known { own: Facts::new(time), operations: BTreeMap::new() }
    }

    fn worth(&self) -> (u64, Timestamp) {
        self.operations.values().map(Facts::worth).fold(self.own.worth(), Ord::max)
    }
}

/// All that an inventory knows, as it is kept from one run to the next.
#[derive(Clone, Serialize, Deserialize)]
pub struct Memory {
    known: Table<EndpointId, Known>,
    edges: Table<u64, Calls>,
    span: Option<(Timestamp, Timestamp)>,
    events: Option<events::Memory>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("endpoints", &self.known.len()).finish_non_exhaustive()
    }
}

/// All endpoints.
pub(super) struct Book {
    known: Table<EndpointId, Known>,
    /// Operations that are remembered, over all endpoints.
    operations: usize,
    /// By client, host and gateway.
    edges: Table<u64, Calls>,
    /// Proxies that have spoken for clients.
    gateways: BTreeSet<IpAddr>,
    inside: Vec<IpNet>,
    /// What is new, where that is asked for.
    events: Option<Box<Events>>,
    /// Whose calls, and of which time.
    selector: Selector,
    limit: usize,
    key: HashKey,
    budget: Budget,
    settled: Settled,
    place: Place,
    counters: Counters,
    span: Option<(Timestamp, Timestamp)>,
}

impl Book {
    pub(super) fn new(settings: &Settings, key: HashKey) -> Book {
        Book {
            known: Table::new(settings.endpoints),
            operations: 0,
            edges: Table::new(settings.edges),
            gateways: BTreeSet::new(),
            inside: settings.inside.clone(),
            events: None,
            selector: Selector::default(),
            limit: settings.endpoints,
            key,
            budget: Budget::new(settings.schema_bytes),
            settled: Settled::new(settings.settled_bodies),
            place: Place::default(),
            counters: Counters::new(),
            span: None,
        }
    }

    /// All that it knows, to be kept.
    pub(super) fn memory(&self) -> Memory {
        Memory {
            known: self.known.clone(),
            edges: self.edges.clone(),
            span: self.span,
            events: self.events.as_ref().map(|events| events.memory()),
        }
    }

    /// Goes on from what was kept under the same key, fitted to the limits. What the schemas take is reckoned anew.
    pub(super) fn restore(&mut self, memory: Memory) {
        let Memory { mut known, mut edges, span, events } = memory;
        let forgotten = known.limit(self.known.capacity()) + edges.limit(self.edges.capacity());
        self.counters.add(Counter::InventoryForgotten, forgotten as u64);
        (self.known, self.edges, self.span) = (known, edges, span);
        let gateways: BTreeSet<_> = self.edges.iter().filter_map(|(_, edge)| edge.via).collect();
        self.gateways = gateways.into_iter().take(GATEWAYS).collect();
        let all = || self.known.iter().map(|(_, known)| known);
        self.operations = all().map(|known| known.operations.len()).sum();
        self.budget
            .restore(all().flat_map(|known| known.operations.values().chain([&known.own])).map(Facts::budgeted).sum());
        if let (Some(watching), Some(events)) = (&mut self.events, events) {
            watching.restore(events);
        }
    }

    /// Takes a call with what the detector made of it.
    pub(super) fn take(&mut self, call: &Call, judged: &Judged<'_>) {
        if let Some(merged) = judged.merged {
            self.merge(merged, |client| judged.suspects(client));
        }
        if !self.selector.is_within(call.end_time) {
            return;
        }
        let (first, last) = self.span.unwrap_or((call.end_time, call.end_time));
        self.span = Some((first.min(call.start_time()), last.max(call.end_time)));
        if !self.selector.has_client(judged.client) {
            return;
        }
        if judged.suspect {
            self.counters.count(Counter::CallsOfSuspects);
            return;
        }
        self.note_edge(call, judged);
        let method = match call.verb() {
            "OPTIONS" | "TRACE" | "CONNECT" => return,
            "HEAD" => "GET",
            method => method,
        };
        // A call that goes on is one call, however often it is reported.
        if call.completeness.open {
            return;
        }
        let learned = judged.good && (judged.merged.is_some() || !judged.place.known);
        let place = match learned {
            true => {
                judged.templates.place(&mut self.place, call.host.as_deref(), &call.path);
                &self.place
            }
            false => judged.place,
        };
        let id = match learned || judged.place.operation().is_some() {
            true => EndpointId::of_template(&self.key, &place.host, place.path(), method),
            false => judged.endpoint(),
        };
        if self.known.get(&id).is_none() {
            // What the templates did not learn is no endpoint.
            if !judged.good || !place.known {
                if matches!(call.status, Some(301 | 302 | 303 | 307 | 308)) {
                    self.counters.count(Counter::RedirectsUntaught);
                }
                return;
            }
            if let Some((_, gone)) = self.known.insert(id, Known::new(call.end_time), Known::worth) {
                self.counters.count(Counter::InventoryForgotten);
                self.operations -= gone.operations.len();
                gone.operations.values().chain([&gone.own]).for_each(|facts| facts.give_back(&mut self.budget));
            }
        }
        let Some(known) = self.known.get_mut(&id) else { return };
        let facts = match judged.place.operation() {
            None => &mut known.own,
            Some(name) => {
                if !known.operations.contains_key(name) {
                    if !judged.good {
                        return;
                    }
                    if known.operations.len() >= OPERATIONS || self.operations >= self.limit {
                        self.counters.count(Counter::InventoryForgotten);
                        return;
                    }
                    self.operations += 1;
                    known.operations.insert(name.into(), Facts::new(call.end_time));
                }
                let Some(facts) = known.operations.get_mut(name) else { return };
                facts
            }
        };
        facts.note(call);
        if judged.good {
            let Book { budget, settled, .. } = self;
            let learning = &mut Learning { caller: judged.client_hash, budget, settled };
            let dropped = facts.learn(call, judged.client, |client| judged.suspects(client), learning);
            self.counters.add(Counter::SchemaFieldsDropped, dropped);
            if !inside::contains(&self.inside, judged.client) {
                facts.note_outside(judged.client);
            }
            if let Some(events) = &mut self.events {
                let operation = judged.place.operation();
                events.learned(call, At { id, host: &place.host, method, template: place.path(), operation });
            }
        }
    }

    /// Takes from now on what is selected by client and time.
    pub(super) fn select(&mut self, selector: Selector) {
        self.selector = selector;
    }

    /// What is selected.
    pub(super) fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Tells from now on what is new, but for what is in `baseline`.
    pub(super) fn watch(&mut self, settings: events::Settings, baseline: Option<&[Endpoint]>) {
        self.events = Some(Box::new(Events::new(settings, self.key, baseline)));
    }

    /// What is new, where that is told.
    pub(super) fn events_mut(&mut self) -> Option<&mut Events> {
        self.events.as_deref_mut()
    }

    /// What was counted of what is new.
    pub(super) fn told(&self) -> Option<&Counters> {
        self.events.as_ref().map(|events| events.counters())
    }

    /// Appends what is new and due; at [`Timestamp::MAX`] all that is, in the time of the last call. What was forgotten
    /// since, and where only suspects were answered, is no news.
    pub(super) fn tell(&mut self, now: Timestamp, suspects: impl Fn(IpAddr) -> bool, told: &mut Vec<Event>) {
        let Some(events) = &mut self.events else { return };
        let last = self.span.map_or(Timestamp::ZERO, |(_, last)| last);
        while let Some(one) = events.next_due(now) {
            let id = EndpointId::of_template(&self.key, &one.host, &one.template, &one.method);
            let facts = self.known.get(&id).and_then(|known| match &one.operation {
                None => Some(&known.own),
                Some(name) => known.operations.get(name.as_str()),
            });
            let Some(facts) = facts.filter(|facts| !facts.is_of(&suspects)) else { continue };
            if let Some(one) = events.named(one) {
                told.push(events.tell(one, facts, if now == Timestamp::MAX { last } else { now }));
            }
        }
    }

    /// Notes that a client called a service.
    fn note_edge(&mut self, call: &Call, judged: &Judged<'_>) {
        if call.completeness.open {
            return;
        }
        let host = &judged.place.host;
        let wire = call.client.ip.to_canonical();
        let via = (wire != judged.client).then_some(wire);
        if let Some(via) = via
            && self.gateways.len() < GATEWAYS
        {
            self.gateways.insert(via);
        }
        // Who is asked by no name is known by the address alone, and what is asked of a gateway is not asked of the service yet.
        let server = Some(call.server.ip.to_canonical()).filter(|server| !server.is_unspecified());
        let told = server.filter(|server| host.is_empty() || (via.is_none() && self.gateways.contains(server)));
        let key = self.key.pair(judged.client_hash, self.key.hash(&[host.as_bytes(), &octets(via), &octets(told)]));
        let (authenticated, encrypted) = (u64::from(call.credential.is_some()), u64::from(call.tls.is_some()));
        let seen = u64::from(call.completeness.recorder.is_none());
        if let Some(edge) = self.edges.get_mut(&key) {
            edge.calls += 1;
            edge.authenticated += authenticated;
            edge.seen += seen;
            edge.encrypted += encrypted;
            edge.first = edge.first.min(call.end_time);
            edge.last = edge.last.max(call.end_time);
            return;
        }
        let edge = Calls {
            client: judged.client,
            via,
            host: host.as_str().into(),
            server,
            calls: 1,
            authenticated,
            seen,
            encrypted,
            first: call.end_time,
            last: call.end_time,
        };
        if self.edges.insert(key, edge, |edge| edge.calls).is_some() {
            self.counters.count(Counter::InventoryForgotten);
        }
    }

    /// Who called whom.
    pub(super) fn edges(&self) -> impl Iterator<Item = &Calls> {
        self.edges.iter().map(|(_, edge)| edge)
    }

    /// Templates are one from now on: so is what is known of them.
    pub(super) fn merge(&mut self, merged: &Merged, suspects: impl Fn(IpAddr) -> bool) {
        for moved in &merged.moves {
            let id = |template: &str| EndpointId::of_template(&self.key, &merged.host, template, &moved.method);
            let (from, to) = (id(&moved.from), id(&moved.to));
            let Some(gone) = self.known.remove(&from) else { continue };
            if let Some(events) = &mut self.events {
                events.merged(&merged.host, moved, &gone.own);
            }
            let Some(held) = self.known.get_mut(&to) else {
                // One has just left, so none has to.
                self.known.insert(to, gone, Known::worth);
                continue;
            };
            held.own.absorb(gone.own, &suspects, &mut self.budget);
            let mut room = OPERATIONS.saturating_sub(held.operations.len());
            for (name, facts) in gone.operations {
                match held.operations.get_mut(&name) {
                    Some(known) => {
                        self.operations -= 1;
                        known.absorb(facts, &suspects, &mut self.budget);
                    }
                    None if room > 0 => {
                        room -= 1;
                        held.operations.insert(name, facts);
                    }
                    None => {
                        self.operations -= 1;
                        self.counters.count(Counter::InventoryForgotten);
                    }
                }
            }
        }
    }

    /// What is known of an endpoint, which is forgotten with that.
    pub(super) fn remove(&mut self, host: &str, template: &str, method: &str) -> Option<Known> {
        self.known.remove(&EndpointId::of_template(&self.key, host, template, method))
    }

    /// Networks that are one's own.
    pub(super) fn inside(&self) -> &[IpNet] {
        &self.inside
    }

    /// Hours of traffic, at least a minute.
    pub(super) fn hours(&self) -> f64 {
        self.span.map_or(0.0, |(first, last)| last.since(first).as_secs_f64() / 3_600.0).max(1.0 / 60.0)
    }

    #[cfg(test)]
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(super) fn count(&mut self, counter: Counter, amount: u64) {
        self.counters.add(counter, amount);
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// An address as bytes to be hashed; that of nobody for none.
fn octets(address: Option<IpAddr>) -> [u8; 16] {
    match address {
        None => [0; 16],
        Some(IpAddr::V4(address)) => address.to_ipv6_mapped().octets(),
        Some(IpAddr::V6(address)) => address.octets(),
    }
}
