//! How clients stand, for whoever looks on: the busiest and the most suspicious.
//!
//! A [`Survey`] goes through the detector's tables by and by, as many entries at a time as who asks can spare, and only reads:
//! whether and when there is one changes nothing that the detector does. What it gives is bounded, and is plain data with a stable
//! JSON form.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::budget::Test;
use super::flood;
use super::incident::{Open, Subject};
use super::report::rounded;
use super::state::Client;
use super::{Detector, State};
use crate::alert::{Family, Severity, TARGET_LIMIT};
use crate::model::Window;
use crate::time::Timestamp;

/// The window in which calls and bytes are counted.
const WINDOW: Window = Window::Minute;

/// Evidence from this part of what a test asks for on makes a client worth telling of.
const TELLING: f64 = 0.1;

/// How clients stand at a moment of the traffic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standings {
    /// The traffic's time.
    pub ts: Timestamp,
    /// Clients that are remembered.
    pub known: u64,
    /// Seconds in which calls and bytes are counted: the present sixth of them, and the five before.
    pub window_seconds: u64,
    /// Those with the most calls and those with the most bytes, as many each as was asked for, the most calls first.
    pub busiest: Vec<Busy>,
    /// Those with an open incident, or with a tenth and more of the evidence that a test asks for; the strongest evidence
    /// first.
    pub suspicious: Vec<Suspicious>,
}

/// What a client does now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Busy {
    /// Its address: on the wire, or behind trusted proxies.
    pub ip: IpAddr,
    /// Calls, connections in TLS without keys included.
    pub calls: u64,
    /// Bytes of requests and answers, heads included.
    pub bytes: u64,
}

/// What speaks against a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspicious {
    /// Its address: on the wire, or behind trusted proxies.
    pub ip: IpAddr,
    /// The strongest evidence, that of open incidents included, in parts of what its test asks for: from 1 on it is enough.
    pub share: f64,
    /// When it was first seen; absent for one that is not remembered but for its incidents.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first: Option<Timestamp>,
    /// When it was last seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last: Option<Timestamp>,
    /// Calls so far.
    pub calls: u64,
    /// Evidence test by test, the strongest first.
    pub evidence: Vec<Evidence>,
    /// Its incidents that are open.
    pub incidents: Vec<OpenIncident>,
}

/// What one test has against a client. Tests that are about credentials rather than addresses (objects, values, bytes, functions)
/// are known here by their incidents only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The test.
    pub test: String,
    /// What it finds.
    pub family: Family,
    /// Evidence in decades: 6 is a chance of one in a million if nothing were wrong.
    pub decades: f64,
    /// What is asked for.
    pub threshold_decades: f64,
}

/// An incident that is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenIncident {
    /// Its id in the alerts.
    pub incident: String,
    /// The kind of its last line.
    pub kind: String,
    /// How bad it is if it is true.
    pub severity: Severity,
    /// Evidence in decades, as it was last told.
    pub decades: f64,
    /// What was asked for.
    pub threshold_decades: f64,
    /// Findings so far.
    pub findings: u64,
    /// Of the first finding.
    pub first: Timestamp,
    /// Of the last finding.
    pub last: Timestamp,
    /// The endpoint, where it is about one; at most 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub endpoint: Option<String>,
    /// Its host; at most 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<String>,
}

/// The few of the highest score; of equals those of the lower address. Memory: as many entries as are kept.
#[derive(Debug)]
struct Highest<T> {
    limit: usize,
    held: BTreeMap<(u64, Reverse<IpAddr>), T>,
}

impl<T> Highest<T> {
    fn new(limit: usize) -> Highest<T> {
        Highest { limit, held: BTreeMap::new() }
    }

    /// Keeps an entry, if it is one of them.
    fn note(&mut self, score: u64, ip: IpAddr, make: impl FnOnce() -> T) {
        let place = (score, Reverse(ip));
        if self.held.len() >= self.limit {
            match self.held.first_key_value() {
                Some((least, _)) if *least < place => self.held.pop_first(),
                _ => return,
            };
        }
        self.held.insert(place, make());
    }

    /// The highest first.
    fn take(&mut self) -> impl Iterator<Item = T> {
        std::mem::take(&mut self.held).into_values().rev()
    }
}

/// A walk over all clients, and over all incidents.
#[derive(Debug)]
pub struct Survey {
    client: usize,
    incident: usize,
    calls: Highest<Busy>,
    bytes: Highest<Busy>,
    suspicious: Highest<Suspicious>,
}

impl Survey {
    /// One that tells of `limit` clients a list. Memory at most 4 KiB for each.
    pub fn new(limit: usize) -> Survey {
        Survey {
            client: 0,
            incident: 0,
            calls: Highest::new(limit),
            bytes: Highest::new(limit),
            suspicious: Highest::new(limit),
        }
    }

    /// Looks at up to `entries` more; gives what all came to when it is through, and begins anew then. A client that moves to
    /// another place meanwhile is looked at twice or not at all.
    pub fn advance(&mut self, detector: &Detector, entries: usize) -> Option<Standings> {
        let state = &detector.state;
        let mut left = entries.max(1);
        for (&ip, client) in state.clients.entries_from(self.client).take(left) {
            self.client += 1;
            left -= 1;
            self.look_at(ip, client, detector);
        }
        if left == 0 {
            return None;
        }
        for open in state.incidents.entries_from(self.incident).take(left) {
            self.incident += 1;
            left -= 1;
            self.accuse(&open, detector);
        }
        (left > 0).then(|| self.conclude(state))
    }

    fn look_at(&mut self, ip: IpAddr, client: &Client, detector: &Detector) {
        let now = detector.state.now;
        if now.since(client.last) <= Duration::from_secs(WINDOW.seconds()) {
            let bytes = { client.bytes }.sum(WINDOW, now); // of a copy: to look at it must not roll it
            let busy = Busy { ip, calls: client.meters.minute(now), bytes };
            if busy.calls > 0 {
                self.calls.note(busy.calls, ip, || busy.clone());
            }
            if busy.bytes > 0 {
                self.bytes.note(busy.bytes, ip, || busy);
            }
        }
        let share = tests(client, detector).map(|(_, nats, threshold)| nats / threshold).fold(0.0, f64::max);
        if share >= TELLING {
            self.suspicious.note(score(share), ip, || suspicious(ip, Some(client), share, detector));
        }
    }

    /// An incident is looked at after all clients: who has one is told of however little else there is.
    fn accuse(&mut self, open: &Open<'_>, detector: &Detector) {
        let Subject::Client(ip, _) = open.subject else { return };
        let place = self.suspicious.held.keys().find(|(_, held)| held.0 == ip).copied();
        let mut one = match place.and_then(|place| self.suspicious.held.remove(&place)) {
            Some(one) => one,
            None => {
                let client = detector.state.clients.get(&ip);
                let shares = client.into_iter().flat_map(|client| tests(client, detector));
                let share = shares.map(|(_, nats, threshold)| nats / threshold).fold(0.0, f64::max);
                suspicious(ip, client, share, detector)
            }
        };
        let alert = open.alert;
        one.share = rounded(one.share.max(alert.evidence_decades / alert.threshold_decades.max(f64::MIN_POSITIVE)));
        one.incidents.push(OpenIncident {
            incident: alert.incident.clone(),
            kind: alert.kind.name().to_owned(),
            severity: alert.severity,
            decades: alert.evidence_decades,
            threshold_decades: alert.threshold_decades,
            findings: open.findings,
            first: alert.first,
            last: open.last,
            endpoint: alert.endpoint.as_deref().map(short),
            host: alert.host.as_deref().map(short),
        });
        self.suspicious.note(score(one.share), ip, || one);
    }

    fn conclude(&mut self, state: &State) -> Standings {
        let mut busiest: Vec<Busy> = self.calls.take().chain(self.bytes.take()).collect();
        busiest.sort_by_key(|busy| (Reverse((busy.calls, busy.bytes)), busy.ip));
        let mut told = BTreeSet::new();
        busiest.retain(|busy| told.insert(busy.ip));
        let mut suspicious: Vec<Suspicious> = self.suspicious.take().collect();
        for one in &mut suspicious {
            one.incidents.sort_by_key(|incident| Reverse((incident.severity, incident.last)));
        }
        (self.client, self.incident) = (0, 0);
        Standings {
            ts: state.now,
            known: state.clients.len() as u64,
            window_seconds: WINDOW.seconds(),
            busiest,
            suspicious,
        }
    }
}

/// Evidence and threshold of each test that a client carries itself, in nats.
fn tests<'a>(client: &'a Client, detector: &'a Detector) -> impl Iterator<Item = (Test, f64, f64)> + 'a {
    let state = &detector.state;
    let population = if client.machine { &state.machines } else { &state.people };
    let walks = [
        (Test::FirstContacts, client.explored().nats()),
        (Test::Logins, client.logins.walk.nats()),
        (Test::Fields, client.assigned.nats),
        (Test::Returned, client.returned.nats),
    ];
    let counts = flood::standing(client, population, &detector.rules.meter, state.now);
    let all = walks.into_iter().filter(|(_, nats)| *nats > 0.0).chain(counts);
    all.map(|(test, nats)| (test, nats, state.budget.threshold(test)))
}

fn suspicious(ip: IpAddr, client: Option<&Client>, share: f64, detector: &Detector) -> Suspicious {
    let mut strongest: BTreeMap<Test, (f64, f64)> = BTreeMap::new();
    for (test, nats, threshold) in client.into_iter().flat_map(|client| tests(client, detector)) {
        let held = strongest.entry(test).or_insert((nats, threshold));
        held.0 = held.0.max(nats);
    }
    let decades = |nats: f64| rounded(nats.min(1e6) / std::f64::consts::LN_10);
    let mut evidence: Vec<_> = strongest
        .into_iter()
        .filter(|(_, (nats, threshold))| nats / threshold >= TELLING)
        .map(|(test, (nats, threshold))| Evidence {
            test: test.name().to_owned(),
            family: test.family(),
            decades: decades(nats),
            threshold_decades: decades(threshold),
        })
        .collect();
    let share_of = |evidence: &Evidence| evidence.decades / evidence.threshold_decades.max(f64::MIN_POSITIVE);
    evidence.sort_by(|one, other| share_of(other).total_cmp(&share_of(one)));
    Suspicious {
        ip,
        share: rounded(share),
        first: client.map(|client| client.first),
        last: client.map(|client| client.last),
        calls: client.map_or(0, |client| client.calls),
        evidence,
        incidents: Vec::new(),
    }
}

/// A share as a whole number, to be ordered by.
fn score(share: f64) -> u64 {
    (share * 1e6) as u64
}

/// What is too long is cut.
fn short(text: &str) -> String {
    text.get(..text.floor_char_boundary(TARGET_LIMIT)).unwrap_or_default().to_owned()
}
