//! The inventory: which APIs there are, what they take and give, and who calls them.
//!
//! | file | owns |
//! | --- | --- |
//! | `book` | facts by endpoint while calls come |
//! | `facts` | what is known of one endpoint |
//! | `schema`, `words`, `budget`, `settled` | what its bodies look like, enumerations, what they may cost, which teach nothing more |
//! | [`report`] | what is told, as plain data |
//! | `services` | one service behind several names |
//! | [`openapi`] | the same as an OpenAPI document |
//! | [`graph`] | who calls whom |
//! | [`review`], `inside` | what people say of them, and which addresses are their own |
//! | [`events`] | what is new, while calls come |
//! | [`drift`] | what changed between two of them |
//! | [`spec`] | the same held against specifications |
//!
//! [`Inventory`] takes records in their total order. It runs the detector over them, since that knows who is under
//! suspicion: only what answered well to others gets in, and what in the end only suspects were answered at leaves
//! again. The templates are the detector's.

mod book;
mod budget;
pub mod drift;
pub mod events;
mod facts;
pub mod graph;
mod inside;
pub mod openapi;
pub mod report;
pub mod review;
mod schema;
mod services;
mod settled;
pub mod spec;
#[cfg(test)]
mod tests;
mod words;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::call::{Call, Peer, Record};
use crate::detect::{Detector, Judged};
use crate::endpoint::Entry;
use crate::export::selection::Selector;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

use book::Book;
pub use book::Memory;
use events::Event;
use facts::{CALLERS, Facts};
use report::{Endpoint, Operation, Parameter, Quantiles, rounded};
use review::Review;

/// What the inventory may cost, beside the detector and its templates. At worst `endpoints` × 32 KiB + `schema_bytes` +
/// `edges` × 400 bytes: 665 MiB with the defaults, of which an endpoint takes 4 KiB in the usual case. Telling it at the end
/// takes about twice `schema_bytes` besides, since a field that is told is larger than one that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Endpoints of which more is remembered than that they are there, operations included. Beyond, of sixteen the one
    /// that the fewest clients called leaves and is counted.
    pub endpoints: usize,
    /// Bytes of all schemas together. Beyond, further fields are left out and counted, and schemas marked as incomplete.
    pub schema_bytes: usize,
    /// Bodies that have nothing more to teach and are remembered, so that they need not be merged again when they come again: 8 bytes
    /// each, rounded up to a power of two, at least two. The inventory is the same.
    pub settled_bodies: usize,
    /// Pairs of a client and a service that are remembered, to tell who calls whom; at worst 400 bytes each. Beyond, of
    /// sixteen the one with the fewest calls leaves and is counted.
    pub edges: usize,
    /// Networks that are one's own; whoever calls from elsewhere calls from outside. By default those that are not to be
    /// reached from anywhere.
    #[schemars(with = "Vec<String>")]
    #[serde(deserialize_with = "crate::network::list")]
    pub inside: Vec<IpNet>,
    /// When something new is told, where that is asked for.
    pub events: events::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            endpoints: 16_384,
            schema_bytes: 128 << 20,
            settled_bodies: 4096,
            edges: 65_536,
            inside: inside::private(),
            events: events::Settings::default(),
        }
    }
}

/// Calls in, endpoints out.
pub struct Inventory {
    detector: Detector,
    book: Book,
    alerts: Vec<Alert>,
}

impl std::fmt::Debug for Inventory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inventory").field("detector", &self.detector).finish_non_exhaustive()
    }
}

impl Inventory {
    /// One that knows nothing, with a detector that has seen nothing. The detector's key keeps strangers from choosing what
    /// collides.
    pub fn new(settings: &Settings, detector: Detector) -> Inventory {
        let book = Book::new(settings, detector.hash_key());
        Inventory { detector, book, alerts: Vec::new() }
    }

    /// Takes records, in the order of [`Record::order`].
    pub fn records(&mut self, records: &[Record]) {
        let Inventory { detector, book, alerts } = self;
        detector.judge(records, alerts, |call, judged| book.take(call, judged));
        alerts.clear();
    }

    /// Takes one record; records come in the order of [`Record::order`].
    pub fn record(&mut self, record: &Record) {
        let Inventory { detector, book, alerts } = self;
        match record {
            Record::Call(call) => detector.judge_call(call, alerts, |call, judged| book.take(call, judged)),
            Record::Connection(connection) => detector.connection(connection, alerts),
        }
        alerts.clear();
    }

    /// Takes from now on only the calls that are selected by client and time; the detector still sees all of them.
    pub fn select(&mut self, selector: Selector) {
        self.book.select(selector);
    }

    /// What is selected.
    pub fn selector(&self) -> &Selector {
        self.book.selector()
    }

    /// Tells from now on what is new, but for what is in `baseline`.
    pub fn watch(&mut self, settings: &Settings, baseline: Option<&[Endpoint]>) {
        self.book.watch(settings.events, baseline);
    }

    /// Tells no longer what people say is none of their concern. Behind [`Inventory::watch`].
    pub fn review(&mut self, review: Review) {
        if let Some(events) = self.book.events_mut() {
            events.respect(review);
        }
    }

    /// All that it knows beside the detector, to be kept.
    pub fn memory(&self) -> Memory {
        self.book.memory()
    }

    /// Goes on from what an earlier run kept, under the same key. Before the first record, and behind [`Inventory::watch`].
    pub fn restore(&mut self, memory: Memory) {
        self.book.restore(memory);
    }

    /// Takes one record, as [`Inventory::record`]; appends what is told by then of what is new, and the alerts that the
    /// record raised.
    /// `tell` hears what was made of a call.
    pub fn watched(
        &mut self,
        record: &Record,
        events: &mut Vec<Event>,
        alerts: &mut Vec<Alert>,
        mut tell: impl FnMut(&Call, &Judged<'_>),
    ) {
        self.tell(record.end_time(), events);
        let Inventory { detector, book, .. } = self;
        match record {
            Record::Call(call) => detector.judge_call(call, alerts, |call, judged| {
                book.take(call, judged);
                tell(call, judged);
            }),
            Record::Connection(connection) => detector.connection(connection, alerts),
        }
    }

    /// Appends what is new and still waits: there are to be no more records, and nobody goes on from what is known now.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        self.tell(Timestamp::MAX, events);
    }

    /// Appends what is due.
    fn tell(&mut self, now: Timestamp, told: &mut Vec<Event>) {
        let Inventory { detector, book, .. } = self;
        book.tell(now, |client| detector.suspects(client), told);
    }

    /// The detector that runs along.
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    /// The same.
    pub fn detector_mut(&mut self) -> &mut Detector {
        &mut self.detector
    }

    /// What is known, sorted by host, template, method and operation, which is forgotten with that: there are to be no more calls.
    pub fn report(&mut self) -> Vec<Endpoint> {
        for merged in self.detector.settle() {
            self.book.merge(&merged, |client| self.detector.suspects(client));
        }
        let mut all = Vec::new();
        let mut left_out = 0;
        for entry in self.detector.templates().endpoints() {
            // What is told is larger than what is kept: it takes its place.
            let Some(known) = self.book.remove(entry.host, &entry.template, entry.method) else {
                // Of what is not known, it is not known whose calls and when they were.
                if !self.book.selector().selection().is_of_calls() {
                    all.push(of_entry(&entry));
                }
                continue;
            };
            let parts = known.operations.iter().map(|(name, facts)| (Some(&**name), facts));
            let own = (known.own.calls > 0).then_some((None, &known.own));
            for (name, facts) in own.into_iter().chain(parts) {
                if facts.is_of(|caller| self.detector.suspects(caller)) {
                    left_out += 1;
                    continue;
                }
                all.push(described(&entry, facts, name, self.book.hours()));
            }
        }
        self.book.count(Counter::EndpointsOfSuspects, left_out);
        services::join(all, self.detector.templates())
    }

    /// Who calls whom, among the services of this report.
    pub fn graph(&self, endpoints: &[Endpoint]) -> graph::Graph {
        let calls = self.book.edges().filter(|edge| !self.detector.suspects(edge.client));
        graph::Graph::of(calls, endpoints, self.book.inside(), self.book.hours())
    }

    /// What was counted, of the detector what concerns the inventory.
    pub fn counters(&self) -> Counters {
        let mut counters = self.own_counters();
        let detected = self.detector.counters();
        for counter in [Counter::CallsDetected, Counter::ClientsEvicted, Counter::ClientsUnknown] {
            counters.add(counter, detected.value(counter));
        }
        counters
    }

    /// What was counted, of the detector all.
    pub fn all_counters(&self) -> Counters {
        let mut counters = self.own_counters();
        counters.merge(&self.detector.counters());
        counters
    }

    fn own_counters(&self) -> Counters {
        let mut counters = self.book.counters().clone();
        let tallies = self.detector.templates().tallies();
        counters.add(Counter::SegmentsForgotten, tallies.evicted);
        counters.add(Counter::CallsUntaught, tallies.refused);
        if let Some(told) = self.book.told() {
            counters.merge(told);
        }
        counters
    }
}

/// An endpoint of which only its template is known: the rest was forgotten.
fn of_entry(entry: &Entry<'_>) -> Endpoint {
    Endpoint {
        schema: report::SCHEMA.to_owned(),
        host: entry.host.to_owned(),
        method: entry.method.to_owned(),
        template: entry.template.clone(),
        catch_all: entry.catch_all,
        parameters: path_parameters(entry),
        calls: entry.successes,
        clients: entry.clients,
        first: entry.first,
        last: entry.last,
        ..Endpoint::default()
    }
}

fn path_parameters(entry: &Entry<'_>) -> Vec<Parameter> {
    let names = openapi::names(&entry.template);
    let parameters = entry.parameters.iter().zip(names);
    parameters
        .map(|(parameter, name)| Parameter {
            place: "path".to_owned(),
            name,
            types: parameter.kinds().map(|kind| kind.name().to_owned()).collect(),
            required: true,
            values: parameter.values,
            credential: false,
            many: false,
            enumeration: Vec::new(),
        })
        .collect()
}

fn described(entry: &Entry<'_>, facts: &Facts, name: Option<&str>, hours: f64) -> Endpoint {
    let grpc = || Operation { protocol: "grpc".to_owned(), name: entry.template.trim_start_matches('/').to_owned() };
    let operation = match (name, facts.protocol) {
        (Some(name), protocol) => {
            Some(Operation { protocol: protocol.map_or("", report::protocol).to_owned(), name: name.to_owned() })
        }
        (None, _) => (facts.grpc && !entry.template.contains('{')).then(grpc),
    };
    let mut parameters = path_parameters(entry);
    for ((place, _), known) in facts::PLACES.iter().zip(&facts.parameters) {
        let of = if *place == "query" { facts.calls } else { facts.whole_heads };
        let mut known: Vec<_> = known.iter().collect();
        known.sort_by(|one, other| one.name.cmp(&other.name));
        parameters.extend(known.into_iter().map(|parameter| Parameter {
            place: (*place).to_owned(),
            name: parameter.name.to_string(),
            types: parameter.formats.iter().map(|format| format.name().to_owned()).collect(),
            required: of > 0 && parameter.calls == of,
            values: 0,
            credential: parameter.is_credential(),
            many: parameter.is_list(),
            enumeration: parameter.words.as_ref().and_then(|words| words.closed()).unwrap_or_default(),
        }));
    }
    let both = facts.clear_servers.iter().filter(|server| facts.tls_servers.contains(server));
    let few = facts.distinct.count() <= CALLERS as u64;
    Endpoint {
        method: if facts.is_of_heads() { "HEAD" } else { entry.method }.to_owned(),
        servers: sockets(facts.servers.iter()),
        tls_servers: sockets(facts.tls_servers.iter()),
        clear_servers: sockets(both),
        operation,
        parameters,
        request: facts.message(false),
        response: facts.message(true),
        statuses: facts.statuses.iter().copied().collect(),
        outcomes: facts.outcomes.iter().copied().collect(),
        auth: facts.credentials(),
        partial_heads: facts.partial_heads,
        refused: facts.refused,
        http: ["0.9", "1.0", "1.1", "2"]
            .iter()
            .zip(facts.versions)
            .filter(|(_, seen)| *seen)
            .map(|(version, _)| (*version).to_owned())
            .collect(),
        calls: facts.calls,
        bodies: facts.with_body,
        calls_per_hour: rounded(facts.calls as f64 / hours),
        clients: facts.distinct.count(),
        callers: if few { facts.callers.clone() } else { Vec::new() },
        outside_calls: facts.outside,
        outsiders: facts.outsiders.clone(),
        first: facts.first,
        last: facts.last,
        latency: facts.latency.quantiles().map(Quantiles::of),
        incomplete_share: rounded(facts.incomplete as f64 / facts.seen.max(1) as f64),
        ..of_entry(entry)
    }
}

/// Addresses and ports, sorted.
fn sockets<'p>(of: impl Iterator<Item = &'p Peer>) -> Vec<String> {
    let mut all: Vec<_> = of.map(|peer| std::net::SocketAddr::new(peer.ip, peer.port).to_string()).collect();
    all.sort_unstable();
    all
}
