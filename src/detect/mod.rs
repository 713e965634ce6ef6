//! From calls to evidence: one file a detector.
//!
//! [`Detector`] takes records (calls, and now and then a connection) in their total order and appends alerts. It knows the traffic's time only, draws nothing
//! at random, and keeps all that it remembers in one value ([`State`]) that serialises: stopped, restored and fed the rest, it
//! raises the same alerts as if it had never stopped.
//!
//! | file | asks |
//! | --- | --- |
//! | `recon` | who asks for what the API does not have |
//! | `objects` | who asks for more objects than their peers, or for those of others |
//! | `lookup` | who asks about one e-mail address or telephone number after another |
//! | `probes` | who sends values that are meant for somebody else than the service |
//! | `functions` | who calls what its peers never call, or are refused |
//! | `flood` | who calls far more often than clients of this sort and than itself |
//! | `slow` | who keeps a server waiting on many connections |
//! | `reset` | who gives up what it asks for as soon as it has asked |
//! | `leak` | who takes far more than others, and which endpoint gives what it never gave |
//! | `pace` | which program calls several times faster than it always did |
//! | `encrypted` | the same of connections in TLS that keep what is in them |
//! | `beacon` | who comes back by the clock in such connections |
//! | `fields` | who writes fields that nobody else writes |
//! | `returned` | whose answers have fields that nobody else's have |
//! | `login` | which calls are attempts to log in, and how they came out; the others ask it |
//! | `accounts` | which account many try to log in to |
//! | `auth` | who tries credential after credential, or uses those of others |
//!
//! Whoever looks on is told by the [`survey`] how clients stand.
//!
//! All of them bring evidence, in nats, to the `budget`, whose thresholds come from one number, the false alarms a day
//! that the operator will read. Tests that are made once a client and day ask for ln(clients × tests / budget);
//! sequential tests, whose false alarms come by the trial, for ln(trials a day / (budget × share)). Both are Bonferroni's
//! bound, and honest only as far as the populations are described well by their distributions: heterogeneous clients
//! are what makes false alarms, not chance. What passes goes to the `incident` that it belongs to, for which `report` and
//! `sentence` find the words.

mod accounts;
mod auth;
mod beacon;
mod body;
mod budget;
#[cfg(test)]
mod calibration;
mod campaign;
mod encrypted;
mod fields;
mod finding;
mod flood;
mod functions;
mod incident;
mod leak;
mod login;
mod lookup;
mod objects;
mod observation;
mod pace;
mod principal;
mod probes;
mod recon;
mod report;
mod reset;
mod returned;
mod rules;
mod sentence;
mod settings;
mod slow;
mod state;
pub mod survey;
#[cfg(test)]
mod tests;
mod trace;
mod warm;

use std::net::IpAddr;
use std::time::Duration;

use crate::alert::{Alert, Family, Sighting, Technique};
use crate::call::{Call, Connection, Message, Record};
use crate::endpoint::{EndpointId, HashKey, Merged, Place, Success, Templates};
use crate::key::Key;
use crate::metrics::Occupancy;
use crate::model::{BUCKETS, Table, Window, tail};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

use budget::Scales;
pub use budget::{BudgetReport, Test, TestReport};
use campaign::{Kin, Newcomers};
use encrypted::Encrypted;
pub(crate) use encrypted::METHOD as ENCRYPTED;
use finding::Finding;
pub use flood::Quantity;
use incident::{Due, Subject};
pub use login::Logins;
use observation::{Agents, Observation, Trait};
use report::Report;
pub(crate) use rules::RULE_FILES;
pub use rules::{
    AgentRules, AssignmentRules, COMPILED_IN, ClassRule, DetectRules, FILE, FunctionRules, LoginRules, LookupRules,
    MeterRule, Prior, ProbeKind, ProbeRule, ProbeRules, SecretRules,
};
pub use settings::Settings;
use state::{Client, Endpoint};
pub use state::{State, Stored};
pub use trace::{Curve, Move, Trace};

/// What the detector made of one call.
pub struct Judged<'j> {
    /// Who made it.
    pub client: IpAddr,
    /// The keyed hash of who made it.
    pub client_hash: u64,
    /// Who made it is under suspicion, and teaches nothing.
    pub suspect: bool,
    /// What was asked for exists and was given.
    pub good: bool,
    /// What was asked for, by the templates before the call.
    pub place: &'j Place,
    /// Templates that the call made one.
    pub merged: Option<&'j Merged>,
    /// The templates after the call.
    pub templates: &'j Templates,
    seen: &'j Observation<'j>,
    state: &'j State,
}

/// How an endpoint is called that answers well: calls with a credential and without, of which a client's later ones count
/// less; and clients without one that were refused (401).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Access {
    /// Good answers to calls with a credential.
    pub authenticated: f64,
    /// Those of them with one in a cookie, which whoever comes may have been given.
    pub in_cookies: f64,
    /// Good answers to calls without, as far as they are ordinary.
    pub anonymous: f64,
    /// Clients without a credential that were refused.
    pub refused: u64,
}

impl Access {
    /// Whether it is ordinary that calls without a credential are answered well: more than a quarter of all are.
    pub fn is_open(&self) -> bool {
        self.anonymous >= 0.25 * (self.anonymous + self.authenticated).max(f64::MIN_POSITIVE)
    }
}

impl std::fmt::Debug for Judged<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judged")
            .field("client", &self.client)
            .field("suspect", &self.suspect)
            .field("good", &self.good)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Judged<'_> {
    /// Method and place in one, with the label of an operation.
    pub(crate) fn endpoint(&self) -> EndpointId {
        self.seen.endpoint
    }

    /// Whether a client is under suspicion, by all that it has done so far ([`Detector::suspects`]).
    pub(crate) fn suspects(&self, client: IpAddr) -> bool {
        self.state.clients.get(&client).is_some_and(Client::suspect)
    }

    /// How its endpoint is called, this call included.
    pub fn access(&self) -> Access {
        self.state.endpoints.get(&self.seen.endpoint).map_or_else(Access::default, |endpoint| Access {
            authenticated: endpoint.authenticated,
            in_cookies: endpoint.in_cookies,
            anonymous: endpoint.anonymous,
            refused: endpoint.refused,
        })
    }

    /// The call said who made it, by a credential or by a parameter that the rules call a secret.
    pub fn authenticated(&self) -> bool {
        self.seen.authenticated
    }

    /// It is another's record, or header fields of it are unknown: what is absent may have been there.
    pub fn recorded(&self) -> bool {
        self.seen.recorded
    }

    /// It goes on with a call that was taken before.
    pub fn goes_on(&self) -> bool {
        self.seen.goes_on()
    }

    /// Its path is one at which credentials are given out, renewed or given up.
    pub fn of_logins(&self) -> bool {
        self.seen.rules.is_of_logins(&self.seen.call.path)
    }

    /// What came of its attempts to log in, where it is one.
    pub fn logins(&self) -> Option<Logins> {
        self.seen.login.then(|| login::outcome(self.seen))
    }

    /// Whether a parameter of this name is a secret by the rules.
    pub fn is_secret(&self, name: &str) -> bool {
        self.seen.rules.is_secret(name)
    }
}

/// Who really made a call: the address on the wire, or what trusted proxies vouch for; none where that was lost.
pub type Resolver = Box<dyn Fn(&Call) -> Option<IpAddr> + Send>;

/// Records that are looked ahead at.
const AHEAD: usize = 16;

/// Calls after which thresholds and short cuts are worked out anew.
const RENEWAL: u64 = 1024;

/// Distinct misses among a newcomer's first [`FIRST_CALLS`] calls for it to be suspected of a campaign: more than the
/// links of an old page that lead nowhere.
const OPENING: u8 = 4;

/// The first calls of a newcomer.
const FIRST_CALLS: u64 = 5;

/// Calls that a newcomer without a credential makes within [`SWARM_SECONDS`] of its first to be suspected of a swarm: no
/// person looks around so fast for so long.
const SWARM_CALLS: u64 = 40;

/// See [`SWARM_CALLS`].
const SWARM_SECONDS: u64 = 180;

/// Seconds of traffic in which everybody is seen for the first time, and nobody is a newcomer.
const STRANGERS: u64 = 60;

/// Tells those who have something in common in what is encrypted from all others.
const ENCRYPTED_KIN: u64 = 0x0054_4c53;

/// Members that a campaign has at least.
const CAMPAIGN: usize = 5;

/// Calls in, alerts out.
pub struct Detector {
    settings: Settings,
    /// How long nothing comes of an incident before it closes.
    quiet: Duration,
    rules: DetectRules,
    resolver: Resolver,
    state: State,
    counters: Counters,
    place: Place,
    agents: Agents,
    findings: Vec<Finding>,
    trace: Option<Trace>,
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector")
            .field("settings", &self.settings)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Detector {
    /// A detector that has seen nothing. `resolver` tells who made a call; `|call| Some(call.client.ip)` trusts no proxy.
    pub fn new(
        settings: Settings,
        rules: DetectRules,
        resolver: impl Fn(&Call) -> Option<IpAddr> + Send + 'static,
    ) -> Detector {
        let state = State::new(&settings, &rules, HashKey::default());
        Detector {
            quiet: settings.incident_quiet(),
            settings,
            rules,
            resolver: Box::new(resolver),
            state,
            counters: Counters::new(),
            place: Place::default(),
            agents: Agents::default(),
            findings: Vec::new(),
            trace: None,
        }
    }

    /// The same with a trace of what moves the tests of one client.
    pub fn tracing(mut self, client: IpAddr) -> Detector {
        self.trace = Some(Trace::new(client));
        self
    }

    /// What moved the tests of the client that is traced.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// What the tests have cost of the budget of false alarms.
    pub fn budget(&self) -> BudgetReport {
        self.state.budget.report(&self.settings, self.days())
    }

    /// Days of traffic so far.
    fn days(&self) -> f64 {
        self.state.begin.map_or(0.0, |begin| self.state.now.since(begin).as_secs_f64() / 86_400.0)
    }

    /// The same with the installation's key under its hashes, so that nobody can aim at its tables and sketches. To be
    /// called before the first call: what was learned under another key is forgotten.
    pub fn keyed(mut self, key: &Key) -> Detector {
        let (one, two) = (key.fingerprint("detect", b"0").0, key.fingerprint("detect", b"1").0);
        let mut bytes = [0; 16];
        for (byte, value) in bytes.iter_mut().zip(one.to_le_bytes().into_iter().chain(two.to_le_bytes())) {
            *byte = value;
        }
        self.state = State::new(&self.settings, &self.rules, HashKey::new(bytes));
        self
    }

    /// The key under its hashes.
    pub(crate) fn hash_key(&self) -> HashKey {
        self.state.key
    }

    /// Takes records, in the order of [`Record::order`]. Alerts that they raised are appended.
    ///
    /// What is remembered of a client is seldom in the processor's caches. Looking at it for several calls first, which
    /// do not wait for each other, takes a third off the time of a million clients; it changes nothing else.
    pub fn records(&mut self, records: &[Record], alerts: &mut Vec<Alert>) {
        self.judge(records, alerts, |_, _| {});
    }

    /// The same; `tell` hears what was made of each call, but for those of which it is not known who made them.
    pub fn judge(&mut self, records: &[Record], alerts: &mut Vec<Alert>, mut tell: impl FnMut(&Call, &Judged<'_>)) {
        for part in records.chunks(AHEAD) {
            let mut addresses = [None; AHEAD];
            for (address, record) in addresses.iter_mut().zip(part) {
                *address = record.call().and_then(&self.resolver);
            }
            warm::look_ahead(&self.state, part, &addresses);
            for (record, address) in part.iter().zip(addresses) {
                match record {
                    Record::Call(call) => self.take(call, address, alerts, &mut tell),
                    Record::Connection(connection) => self.connection(connection, alerts),
                }
            }
        }
    }

    /// Whether a client is under suspicion, by all that it has done so far. Who was forgotten is not.
    pub fn suspects(&self, client: IpAddr) -> bool {
        self.state.clients.get(&client).is_some_and(Client::suspect)
    }

    /// The templates of the endpoints that answered well.
    pub fn templates(&self) -> &Templates {
        &self.state.templates
    }

    /// Compares all words with their siblings now: at the end, before the templates are read. Costs a walk over all that
    /// is known.
    pub fn settle(&mut self) -> Vec<Merged> {
        let all = self.state.templates.settle();
        all.iter().for_each(|merged| self.state.merge(merged));
        all
    }

    /// Takes one record; records come in the order of [`Record::order`]. Alerts that it raised are appended.
    pub fn record(&mut self, record: &Record, alerts: &mut Vec<Alert>) {
        match record {
            Record::Call(call) => self.call(call, alerts),
            Record::Connection(connection) => self.connection(connection, alerts),
        }
    }

    /// Takes one call, as [`Detector::record`].
    pub fn call(&mut self, call: &Call, alerts: &mut Vec<Alert>) {
        let address = (self.resolver)(call);
        self.take(call, address, alerts, &mut |_, _| {});
    }

    /// The same; `tell` hears what was made of it.
    pub fn judge_call(&mut self, call: &Call, alerts: &mut Vec<Alert>, mut tell: impl FnMut(&Call, &Judged<'_>)) {
        let address = (self.resolver)(call);
        self.take(call, address, alerts, &mut tell);
    }

    /// Takes one connection, as [`Detector::record`].
    pub fn connection(&mut self, connection: &Connection, alerts: &mut Vec<Alert>) {
        self.counters.count(Counter::ConnectionsDetected);
        self.come_to(connection.end_time, alerts);
        if connection.waits.is_some() {
            self.waiting(connection, alerts);
        }
        // What came back until then counts all the same.
        if let Some(encrypted) = Encrypted::of(connection) {
            let address = (self.resolver)(&encrypted.anonymous());
            self.look_at(&encrypted.call, Some((encrypted.first, encrypted.calls)), address, alerts, &mut |_, _| {});
        }
    }

    /// Takes a connection that keeps a server waiting.
    fn waiting(&mut self, connection: &Connection, alerts: &mut Vec<Alert>) {
        if self.state.calls == 0 {
            self.renew(); // or nothing could be enough before the first call
        }
        // A proxy says of whom a connection is with the calls on it: as long as there is none, that is lost.
        let message = Message { gap_bytes: 1, ..Message::default() };
        let silent = Call { client: connection.client, server: connection.server, request: message, ..Call::default() };
        let Some(address) = (self.resolver)(&silent) else {
            self.counters.count(Counter::ClientsUnknown);
            return;
        };
        let before = alerts.len();
        let bench = slow::Bench {
            prior: &self.rules.prior,
            counters: &mut self.counters,
            findings: &mut self.findings,
            trace: self.trace.as_mut().filter(|trace| trace.client == address),
            cold: self.state.is_cold(),
        };
        slow::observe(connection, address, &mut self.state, bench, alerts);
        self.findings.clear();
        campaigns(connection.end_time, &self.rules.prior, self.quiet, &mut self.state, alerts);
        self.counters.add(Counter::IncidentsClosedEarly, self.state.incidents.closed_early());
        self.counters.add(Counter::Alerts, (alerts.len() - before) as u64);
    }

    /// The traffic's time has come to that of a record.
    fn come_to(&mut self, time: Timestamp, alerts: &mut Vec<Alert>) {
        self.state.now = self.state.now.max(time);
        self.state.begin.get_or_insert(time);
        self.close(alerts);
    }

    fn take(
        &mut self,
        call: &Call,
        address: Option<IpAddr>,
        alerts: &mut Vec<Alert>,
        tell: &mut impl FnMut(&Call, &Judged<'_>),
    ) {
        self.counters.count(Counter::CallsDetected);
        self.come_to(call.end_time, alerts);
        self.look_at(call, None, address, alerts, tell);
    }

    /// Shows a call, or what stands for one, to the detectors.
    fn look_at(
        &mut self,
        call: &Call,
        encrypted: Option<(bool, u64)>,
        address: Option<IpAddr>,
        alerts: &mut Vec<Alert>,
        tell: &mut impl FnMut(&Call, &Judged<'_>),
    ) {
        if self.state.calls.is_multiple_of(RENEWAL) {
            self.renew();
        }
        self.state.calls += 1;
        if call.completeness.response {
            self.state.slow.heard(call.server, call.end_time);
        }
        if !call.completeness.request {
            return;
        }
        let Some(address) = address else {
            self.counters.count(Counter::ClientsUnknown);
            return;
        };
        let mut place = std::mem::take(&mut self.place);
        self.state.templates.place(&mut place, call.host.as_deref(), &call.path);
        if let Some(operation) = &call.operation {
            place.ask(operation);
        }
        let mut findings = std::mem::take(&mut self.findings);
        let agent = self.agents.look_up(call.user_agent.as_ref(), &self.rules, &self.state.key);
        let mut seen = Observation::new(call, &self.rules, self.state.key, address, &place, agent);
        if let Some((first, calls)) = encrypted {
            (seen.encrypted, seen.calls) = (Some(first), calls);
        }
        let mut trace = self.trace.as_mut().filter(|trace| trace.client == address);
        if let Some(trace) = &mut trace {
            trace.begin(Sighting::of(call), format!("{} {}", call.method, place.template));
        }
        observe(&seen, &mut self.state, &mut self.counters, &mut findings, trace);
        raise(&seen, self.quiet, &mut self.state, &mut self.counters, &findings, alerts);
        let merged = teach(&seen, &mut self.state);
        tell(
            call,
            &Judged {
                client: address,
                client_hash: seen.client_hash,
                suspect: self.state.clients.get(&address).is_none_or(Client::suspect),
                good: seen.good(),
                place: &place,
                merged: merged.as_ref(),
                templates: &self.state.templates,
                seen: &seen,
                state: &self.state,
            },
        );
        findings.clear();
        self.findings = findings;
        self.place = place;
    }

    /// The traffic's time has come to `time`. Nothing is due without a record: what is read from records alone, without
    /// the times of packets in between, must give the same.
    pub fn tick(&mut self, time: Timestamp, _alerts: &mut Vec<Alert>) {
        self.state.now = self.state.now.max(time);
    }

    /// There will be no more records. Incidents stay open: that the input ends does not end them.
    pub fn finish(&mut self, _alerts: &mut Vec<Alert>) {}

    /// The last line of each incident that is open, the one that was quiet longest first.
    pub fn open_incidents(&self) -> impl Iterator<Item = &Alert> {
        self.state.incidents.lines()
    }

    /// How full its largest tables are.
    pub fn tables(&self) -> Vec<Occupancy> {
        // With what an entry may take at worst, as the settings say.
        fn table<K: Copy + Eq + std::hash::Hash, V>(
            name: &'static str,
            table: &Table<K, V>,
            each: usize,
            heap: impl Fn(&V) -> usize,
        ) -> Occupancy {
            Occupancy {
                table: name,
                entries: table.len() as u64,
                limit: table.capacity() as u64,
                bytes: table.bytes(heap) as u64,
                budget: (table.capacity() * each) as u64,
            }
        }
        let state = &self.state;
        vec![
            table("clients", &state.clients, 16 << 10, state::Client::heap),
            table("endpoints", &state.endpoints, 48 << 10, state::Endpoint::heap),
            table("misses", &state.misses, 128, |_| 0),
            table("credentials", &state.credentials, 128, |_| 0),
            table("login_endpoints", &state.logins, 256, |_| 0),
            state.accounts.occupancy(),
            table("resets", &state.resets, 256, |_| 0),
            state.incidents.occupancy(),
        ]
    }

    /// Goes on under other settings, rules and proxies. Of the settings those take effect that size no table:
    /// `false_alarms_per_day` and `incident_quiet_hours`. What was learned stays; the populations keep the priors that they
    /// began with.
    pub fn reload(
        &mut self,
        settings: &Settings,
        rules: DetectRules,
        resolver: impl Fn(&Call) -> Option<IpAddr> + Send + 'static,
    ) {
        self.settings.false_alarms_per_day = settings.false_alarms_per_day;
        self.settings.incident_quiet_hours = settings.incident_quiet_hours;
        self.quiet = self.settings.incident_quiet();
        self.rules = rules;
        self.resolver = Box::new(resolver);
        self.agents = Agents::default();
        if self.state.calls > 0 {
            self.renew();
        }
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        counters.set(Counter::EntriesEvicted, self.state.evicted());
        counters
    }

    /// All that it remembers.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Goes on from a remembered state, fitted to the settings' limits. Counters go on from where they are. Gives the names of what
    /// was not kept, and begins anew; none for a state that was learned under another key, which means nothing here and is not taken.
    pub fn restore(&mut self, stored: Stored) -> Option<Vec<&'static str>> {
        let (state, absent) = stored.resume(&self.settings, &self.rules, self.state.key)?;
        self.state = state;
        let (clients, endpoints) = self.state.limit(&self.settings);
        self.counters.add(Counter::ClientsEvicted, clients as u64);
        self.counters.add(Counter::EndpointsEvicted, endpoints as u64);
        Some(absent)
    }

    /// Thresholds out of the budget and what was seen so far, and the short cuts that follow from them.
    fn renew(&mut self) {
        let days = self.days();
        let state = &mut self.state;
        state.budget.renew(&self.settings, &self.rules.prior, days, state.clients.len());
        let threshold = state.budget.threshold(Test::Calls);
        for population in [&mut state.people, &mut state.machines] {
            population.renew(threshold);
        }
    }

    /// Closes incidents of which nothing came for long.
    fn close(&mut self, alerts: &mut Vec<Alert>) {
        let State { incidents, clients, now, .. } = &mut self.state;
        let before = alerts.len();
        incidents.close(*now, self.quiet, alerts, |client, family| {
            if let Some(client) = clients.get_mut(&client) {
                client.forget(family);
            }
        });
        self.counters.add(Counter::Alerts, (alerts.len() - before) as u64);
    }
}

/// Lets a good answer to who is not under suspicion teach what endpoints there are.
fn teach(seen: &Observation<'_>, state: &mut State) -> Option<Merged> {
    if !seen.good() || state.clients.get(&seen.client).is_none_or(Client::suspect) {
        return None;
    }
    let success = Success::of(seen.call, seen.client_hash)?;
    let merged = state.templates.learn_at(&success, seen.place)?;
    state.merge(&merged);
    Some(merged)
}

/// Shows one call to all detectors.
fn observe(
    seen: &Observation<'_>,
    state: &mut State,
    counters: &mut Counters,
    findings: &mut Vec<Finding>,
    trace: Option<&mut Trace>,
) {
    let mut scales = Scales { budget: &mut state.budget, findings, trace, time: seen.time };
    let full = state.clients.is_full();
    let newcomer = || {
        counters.add(Counter::ClientsEvicted, u64::from(full));
        Client { first: seen.time, ..Client::default() }
    };
    let Some(client) = state.clients.entry(seen.client, newcomer, Client::worth) else { return };
    let day = |time: Timestamp| Window::Day.bucket(time) / BUCKETS as i64;
    if client.calls == 0 || day(client.last) != day(seen.time) {
        scales.budget.client_day();
    }
    client.last = seen.time;
    client.bytes.add(Window::Minute, seen.time, seen.carried());
    if !seen.goes_on() {
        client.calls += 1;
        client.damaged += u64::from(!seen.whole);
    }
    // Whether a program sent a key a record does not say: it gets the benefit of the doubt.
    client.machine |= seen.good() && (seen.api_key() || (seen.recorded && seen.program));
    client.narrow(seen.endpoint);
    if seen.good()
        && let Some(credential) = &seen.call.credential
    {
        client.people.note(seen.time, seen.key.pair(credential.fingerprint.0, 0));
    }

    // Only good answers teach that an endpoint is there, and only to who is not under suspicion.
    if seen.good() && !client.suspect() && state.endpoints.get(&seen.endpoint).is_none() {
        state.places.insert(seen.place_hash, seen.time, |time| *time);
        let endpoint = Endpoint {
            host: seen.place.host.as_str().into(),
            method: if seen.call.method == "HEAD" { "GET".into() } else { seen.call.method.as_str().into() },
            template: seen.place.template.as_str().into(),
            parameterised: seen.place.parameterised,
            administrative: seen.rules.is_administrative(&seen.place.host, &seen.place.template),
            first: seen.time,
            ..Endpoint::default()
        };
        if state.endpoints.insert(seen.endpoint, endpoint, |endpoint| endpoint.successes).is_some() {
            counters.count(Counter::EndpointsEvicted);
        }
    }
    let mut endpoint = state.endpoints.get_mut(&seen.endpoint);
    let mut touches = 0;
    if let Some(endpoint) = endpoint.as_deref_mut() {
        touches = client.touched.touch(seen.endpoint.0);
        if seen.good() {
            endpoint.successes += u64::from(!seen.goes_on());
            endpoint.clients.insert(seen.client_hash);
        }
        leak::endpoint(seen, client, endpoint, touches, &mut scales);
        if !seen.goes_on() && seen.encrypted.is_none() {
            flood::crowd(seen, client, state.begin, endpoint, &mut scales);
        }
    }

    let population = if client.machine { &mut state.machines } else { &mut state.people };
    flood::observe(seen, client, population, endpoint.as_deref_mut(), &mut scales);
    if let Some(mut peers) = state.principals.of(seen, client.suspect()) {
        peers.principal.warm_objects(seen.endpoint);
        client.machine |= seen.good() && seen.program && peers.group.has_several_programs();
        if !seen.goes_on() && seen.encrypted.is_none() {
            pace::observe(seen, client, peers.principal, &mut scales);
        }
        leak::principal(seen, client, &mut peers, endpoint.as_deref_mut(), &mut scales);
        functions::observe(seen, client, &mut peers, &mut state.roles, endpoint.as_deref(), &mut scales);
        if let Some(endpoint) = endpoint.as_deref_mut() {
            objects::observe(seen, client, &mut peers, endpoint, &mut scales);
        }
    } else if let Some(endpoint) = endpoint.as_deref_mut().filter(|_| !seen.goes_on() && seen.encrypted.is_none()) {
        objects::unknown(seen, client, endpoint, &mut scales);
    }
    if seen.goes_on() {
        // What else there is to a call was taken with its first record.
        return;
    }
    if let Some(first) = seen.encrypted {
        beacon::observe(seen, first, client, &mut state.beacons, counters, &mut scales);
    }
    if seen.login {
        let others =
            auth::Others { endpoints: &mut state.logins, guessers: &mut state.guessers, accounts: &mut state.accounts };
        auth::login(seen, client, others, &mut scales);
    }
    lookup::observe(seen, client, &mut state.lookups, &mut scales);
    fields::observe(seen, client, &mut state.writes, counters, &mut scales);
    returned::observe(seen, client, &mut state.returns, counters, &mut scales);
    reset::observe(seen, client, &mut state.resets, &mut scales);
    auth::credential(seen, client, &mut state.credentials, &mut state.basic, &mut scales);
    let probed = {
        let (endpoint, misses) = (endpoint.as_deref(), &mut state.misses);
        probes::observe(seen, client, &mut probes::Shared { endpoint, misses, scales: &mut scales })
    };
    let (misses, places, parameters) = (&mut state.misses, &mut state.places, &mut state.parameters);
    let mut shared = recon::Shared { misses, places, parameters, probed };
    recon::observe(seen, client, endpoint, touches, &mut shared, &mut scales);
    if client.misses.opening == OPENING {
        client.misses.opening += 1;
        state.newcomers.enter(seen.time, seen.client, Sighting::of(seen.call));
    }
    let age = seen.time.since(client.first).as_secs();
    let new = state.begin.is_some_and(|begin| client.first.since(begin).as_secs() >= STRANGERS);
    // A record that has no credential does not say that there was none.
    let anonymous = client.people.is_empty() && !seen.recorded && seen.encrypted.is_none();
    if new && client.calls == SWARM_CALLS && age <= SWARM_SECONDS && anonymous {
        state.swarm.enter(seen.time, seen.client, Sighting::of(seen.call));
    }
}

/// Makes alerts of what was found.
fn raise(
    seen: &Observation<'_>,
    quiet: Duration,
    state: &mut State,
    counters: &mut Counters,
    findings: &[Finding],
    alerts: &mut Vec<Alert>,
) {
    let before = alerts.len();
    let now = state.now;
    let cold = state.is_cold();
    for finding in findings {
        let named = report::names_endpoint(finding.technique).then_some(seen.endpoint.0);
        if finding.endpoint {
            let Some(endpoint) = state.endpoints.get_mut(&seen.endpoint) else { continue };
            let class = finding.class.and_then(|place| endpoint.classes.get(place));
            let class = class.map(|exposure| seen.key.hash(&[exposure.class.as_bytes()]));
            endpoint.accused |= finding.class.is_none();
            let subject = Subject::Endpoint(seen.endpoint, finding.technique);
            match state.incidents.note(subject, finding, class, now) {
                Some(due) => {
                    let report = Report::of_endpoint(endpoint, finding, Sighting::of(seen.call), now, cold);
                    state.incidents.tell(subject, due, finding, class, report, alerts);
                }
                None => counters.count(Counter::AlertsSuppressed),
            }
            continue;
        }
        if let Some(client) = state.clients.get_mut(&seen.client) {
            client.accused |= !finding.technique.is_weakness();
        }
        let subject = Subject::Client(seen.client, finding.technique.family());
        let tells_kin = finding.test == Test::FirstContacts
            || (seen.encrypted.is_some() && finding.technique.family() == Family::Flood);
        if tells_kin && !state.incidents.is_open(subject) && belongs(seen, quiet, state, finding, cold, alerts) {
            counters.count(Counter::AlertsSuppressed);
            continue;
        }
        let Some(client) = state.clients.get(&seen.client) else { continue };
        match state.incidents.note(subject, finding, named, now) {
            Some(due) => {
                let population = if client.machine { &state.machines } else { &state.people };
                let endpoint = state.endpoints.get(&seen.endpoint);
                let report = Report::of_client(seen.client, client, population, endpoint, finding, now, cold);
                state.incidents.tell(subject, due, finding, named, report, alerts);
            }
            None => counters.count(Counter::AlertsSuppressed),
        }
    }
    campaigns(seen.time, &seen.rules.prior, quiet, state, alerts);
    counters.add(Counter::IncidentsClosedEarly, state.incidents.closed_early());
    counters.add(Counter::Alerts, (alerts.len() - before) as u64);
}

/// Whether what is found of a client is part of a campaign's story, which is then told again if that is due.
fn belongs(
    seen: &Observation<'_>,
    quiet: Duration,
    state: &mut State,
    finding: &Finding,
    cold: bool,
    alerts: &mut Vec<Alert>,
) -> bool {
    let now = state.now;
    let encrypted = seen.encrypted.is_some();
    if !encrypted && state.newcomers.holds(seen.client, now, quiet) {
        state.incidents.goes_on(Subject::Campaign(Technique::Campaign, 0), now);
        return true;
    }
    let technique = if encrypted { Technique::Distributed } else { Technique::Campaign };
    let finding = Finding { technique, ..*finding };
    let mut together = false;
    for (hash, common) in seen.traits() {
        // In what is encrypted the hello is all that programs have in common, and stands for the agent as well.
        if encrypted && !matches!(common, Trait::Hello(_) | Trait::Network(..)) {
            continue;
        }
        let hash = if encrypted { seen.key.pair(hash, ENCRYPTED_KIN) } else { hash };
        if state.kin.get(&hash).is_none() {
            state.kin.insert(hash, Kin::default(), Kin::last);
        }
        let Some(kin) = state.kin.get_mut(&hash) else { continue };
        let campaign = Subject::Campaign(technique, hash);
        let (one_story, due) = kin.join(seen.client, &Sighting::of(seen.call), now, quiet, CAMPAIGN);
        if due && !together {
            let report = Report::of_kin(kin, common, &finding, now, cold);
            let due = state.incidents.note(campaign, &finding, None, now).unwrap_or(Due::Joined);
            state.incidents.tell(campaign, due, &finding, None, report, alerts);
        } else if one_story {
            state.incidents.goes_on(campaign, now);
        }
        together |= one_story;
    }
    together
}

/// Tells of newcomers that began alike, when they are too many.
fn campaigns(time: Timestamp, prior: &Prior, quiet: Duration, state: &mut State, alerts: &mut Vec<Alert>) {
    if ![&state.newcomers, &state.swarm, &state.guessers, &state.slow.campaign].into_iter().any(Newcomers::is_fresh) {
        return;
    }
    let (now, cold) = (state.now, state.is_cold());
    // Of many clients more are on slow lines.
    let slow_clients = prior.slow_clients * (state.clients.len() as f64 / prior.clients).max(1.0);
    let groups = [
        (&mut state.newcomers, Test::Newcomers, Technique::Campaign, prior.probing_newcomers, 3_600),
        (&mut state.swarm, Test::Swarm, Technique::Distributed, prior.swarming_newcomers, 3_600),
        (&mut state.guessers, Test::Guessers, Technique::CredentialStuffing, prior.guessers, 86_400),
        (&mut state.slow.campaign, Test::SlowClients, Technique::Slow, slow_clients, 3_600),
    ];
    for (newcomers, test, technique, expected, window) in groups {
        let subject = Subject::Campaign(technique, 0);
        let threshold = state.budget.threshold(test);
        let Some(count) = newcomers.fresh(time, window) else { continue };
        state.budget.tried(test);
        let nats = tail::count(count as u64, expected, expected);
        if count < CAMPAIGN || nats < threshold {
            continue;
        }
        state.budget.pass(test);
        if !newcomers.due(time, quiet) {
            state.incidents.goes_on(subject, now);
            continue;
        }
        let finding = Finding { threshold, ..Finding::new(test, technique, nats) };
        let finding = finding.compared(count as f64, expected).within(window);
        let report = Report::of_newcomers(newcomers, &finding, now, cold);
        let due = state.incidents.note(subject, &finding, None, now).unwrap_or(Due::Joined);
        state.incidents.tell(subject, due, &finding, None, report, alerts);
    }
}
