//! Slow floods: who keeps a server waiting on many connections at a time.
//!
//! Connections that wait for the rest of a head or a body, whose answers nobody takes, or that nobody uses, come here one
//! by one ([`Connection`]); each is told of for being conspicuous, which one of a telephone in a tunnel may well be. They
//! are counted for each client in ten minutes, by how seldom honest clients make them, against a geometric distribution around what clients
//! have on average and against what this client is used to: the same two questions as of floods of calls. A client that
//! made but one, where many others do the same, belongs to a campaign.
//!
//! What is seen of TLS without keys is less: a handshake that does not end counts as a head that does not, but dribs of data to
//! which the server says nothing count half and make no campaign, since there are protocols that are like that. What is not
//! acknowledged counts as little as what is not used: a line that broke off looks the same.
//!
//! Connections without a byte, or with a few that are no HTTP, count only on servers that were heard to speak HTTP: pools of
//! other protocols open theirs before they need them. Who is behind a trusted proxy is unknown as long as there is no call, so its connections accuse nobody.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::budget::{Scales, Test};
use super::campaign::Newcomers;
use super::finding::Finding;
use super::incident::Subject;
use super::report::Report;
use super::rules::Prior;
use super::settings::Settings;
use super::state::{Client, State};
use super::trace::Trace;
use crate::alert::{Alert, EVIDENCE_LIMIT, Family, Sighting, Technique};
use crate::call::{Awaited, Connection, Peer};
use crate::model::{Extreme, Ring, Step, Table, Window, tail};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// The window in which connections are counted.
const WINDOW: Window = Window::TenMinutes;

/// Parts in which a connection is counted.
const PARTS: u64 = 20;

/// Slow connections below which nobody would want to read of them.
const FLOOR: u64 = 5;

/// What a client's count may settle at once.
const FIRST_STEP: f64 = 4.0;

/// What one client weighs at most in what is usual.
const WEIGHT: f64 = 3.0;

/// Shape of the gamma distribution of a client's count around its own highest.
const OWN_SHAPE: f64 = 4.0;

/// Slow connections from which on a client may be one of a campaign.
const JOINS: u64 = 2;

/// What one client does.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Sluggish {
    first: Timestamp,
    last: Timestamp,
    ring: Ring,
    extreme: Extreme,
    step: Step,
    /// It was shown to the campaign since `first`.
    joined: bool,
    sightings: Vec<Sighting>,
}

impl Sluggish {
    /// What it is worth to remember it: evidence first, then the latest use.
    fn worth(&self) -> (usize, Timestamp) {
        (self.sightings.len(), self.last)
    }
}

/// All that is remembered of slow connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Slow {
    clients: Table<IpAddr, Sluggish>,
    /// Highest counts of all clients together.
    total: f64,
    /// Servers that were heard to answer in HTTP.
    servers: Table<Peer, Timestamp>,
    /// Clients that do the same, each of them too little to be accused alone.
    pub(super) campaign: Newcomers,
}

impl Slow {
    pub(super) fn new(settings: &Settings) -> Slow {
        Slow {
            clients: Table::new(settings.slow_clients),
            total: 0.0,
            servers: Table::new(settings.servers),
            campaign: Newcomers::default(),
        }
    }

    /// Servers that gave way to others; clients are counted as they do.
    pub(super) fn evicted(&self) -> u64 {
        self.servers.evicted()
    }

    pub(super) fn limit(&mut self, settings: &Settings) {
        self.clients.limit(settings.slow_clients);
        self.servers.limit(settings.servers);
    }

    /// A server has answered.
    #[inline]
    pub(super) fn heard(&mut self, server: Peer, time: Timestamp) {
        match self.servers.get_mut(&server) {
            Some(last) => *last = time,
            None => {
                self.servers.insert(server, time, |last| *last);
            }
        }
    }

    /// Slow connections that a client has in ten minutes on average: of all clients, most have none.
    fn usual(&self, prior: &Prior, clients: usize) -> f64 {
        (prior.slow_connections * prior.clients + self.total) / (prior.clients + clients as f64)
    }
}

/// What a connection counts, in [`PARTS`]: who opens them in advance, or keeps them for later, is no attacker yet.
fn weight(connection: &Connection) -> u64 {
    let Some(wait) = connection.waits else { return 0 };
    match wait.awaited {
        Awaited::RequestHead | Awaited::Handshake => PARTS,
        // Of many streams of one connection each keeps the server busy; but they are of one mind.
        Awaited::RequestBody => PARTS * streams(wait.streams),
        Awaited::ResponseHead | Awaited::ResponseBody if wait.window_closed => PARTS * streams(wait.streams),
        // A telephone that has no line any more does the same.
        Awaited::ResponseHead | Awaited::ResponseBody if wait.unacknowledged => PARTS * 3 / 10,
        // A protocol in which the server has nothing to say may well be like that.
        Awaited::Request => PARTS / 2,
        Awaited::ResponseHead | Awaited::ResponseBody => 0,
        // What was called in TLS is not seen.
        Awaited::Idle if connection.calls == 0 && !is_secret(connection) => PARTS * 3 / 10,
        Awaited::Idle => PARTS / 10,
    }
}

/// It is in TLS that keeps what is in it.
fn is_secret(connection: &Connection) -> bool {
    connection.tls.as_ref().is_some_and(|tls| !tls.decrypted)
}

/// What so many streams of one connection count: a page that is left alone has a few.
fn streams(count: u32) -> u64 {
    u64::from(1 + (count / 4).max(1).ilog2())
}

/// What the test of a connection needs beside the state.
pub(super) struct Bench<'a> {
    pub(super) prior: &'a Prior,
    pub(super) counters: &'a mut Counters,
    pub(super) findings: &'a mut Vec<Finding>,
    pub(super) trace: Option<&'a mut Trace>,
    /// Little traffic was seen so far.
    pub(super) cold: bool,
}

/// Takes one connection of the client at `address`.
pub(super) fn observe(
    connection: &Connection,
    address: IpAddr,
    state: &mut State,
    bench: Bench<'_>,
    alerts: &mut Vec<Alert>,
) {
    let Bench { prior, counters, findings, mut trace, cold } = bench;
    let subject = Subject::Client(address, Family::Flood);
    let (now, weight) = (state.now, weight(connection));
    let unspoken = matches!(connection.waits, Some(wait) if wait.awaited == Awaited::Idle
        || (wait.awaited == Awaited::Request && connection.tls.is_none()));
    if weight == 0 || (unspoken && state.slow.servers.get(&connection.server).is_none()) {
        return;
    }
    if connection.waits.is_some_and(|wait| wait.again) {
        state.incidents.goes_on(subject, now);
        return;
    }
    let usual = state.slow.usual(prior, state.clients.len());
    let client = state.clients.get(&address);
    let (people, suspect) = client.map_or((1, false), |client| (client.people.count(), client.suspect()));
    let newcomer = || Sluggish { first: now, ..Sluggish::default() };
    let full = state.slow.clients.is_full() && state.slow.clients.get(&address).is_none();
    counters.add(Counter::ClientsEvicted, u64::from(full));
    let Some(held) = state.slow.clients.entry(address, newcomer, Sluggish::worth) else { return };
    if now.since(held.last) >= Duration::from_secs(WINDOW.seconds()) {
        held.sightings.clear();
        (held.first, held.joined) = (now, false);
    }
    held.last = now;
    let sighting = Sighting::of_connection(connection);
    // The first two say how it began, the others are the latest.
    if held.sightings.len() >= EVIDENCE_LIMIT {
        held.sightings.remove(2);
    }
    held.sightings.push(sighting.clone());
    if let Some(trace) = &mut trace {
        trace.begin_connection(sighting.clone());
    }
    let count = held.ring.add(WINDOW, now, weight) / PARTS;
    if let Some((old, new)) = held.extreme.note(WINDOW, now, count as f64, || FIRST_STEP, suspect) {
        state.slow.total += new.min(WEIGHT) - old.min(WEIGHT);
    }
    let head = connection.waits.is_some_and(|wait| wait.awaited == Awaited::RequestHead);
    // Who writes to a server that has nothing to say is not like others who do because they do.
    let joins = connection.waits.is_some_and(|wait| wait.awaited != Awaited::Request);
    if joins && !held.joined && count >= if head { 1 } else { JOINS } {
        held.joined = true;
        state.slow.campaign.enter(now, address, sighting);
    }
    if count < FLOOR || !held.step.due(count) {
        return;
    }
    let ordinary = held.extreme.settled().max(usual * people as f64);
    let crowd = tail::count(count / people, usual, usual + usual * usual);
    let own = tail::count(count, ordinary, ordinary + ordinary * ordinary / OWN_SHAPE);
    let finding = Finding::new(Test::SlowConnections, Technique::Slow, crowd.min(own));
    let finding = finding.compared(count as f64, ordinary).within(WINDOW.seconds());
    let mut scales = Scales { budget: &mut state.budget, findings, trace, time: now };
    if !scales.weigh(finding) {
        return;
    }
    let Some(finding) = findings.pop() else { return };
    let (first, evidence) = (held.first, held.sightings.clone());
    if let Some(client) = state.clients.get_mut(&address) {
        client.accused = true;
    }
    match state.incidents.note(subject, &finding, None, now) {
        Some(due) => {
            let damaged = state.clients.get(&address).map(Client::damaged_share);
            let report = Report::of_connections(address, damaged, first, evidence, &finding, now, cold);
            state.incidents.tell(subject, due, &finding, None, report, alerts);
        }
        None => counters.count(Counter::AlertsSuppressed),
    }
}
