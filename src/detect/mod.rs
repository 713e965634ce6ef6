//! From calls to evidence: one file a detector.
//!
//! [`Detector`] takes calls in their total order and appends alerts. It knows the traffic's time only, draws nothing
//! at random, and keeps all that it remembers in one value ([`State`]) that serialises: stopped, restored and fed the rest, it
//! raises the same alerts as if it had never stopped.
//!
//! | file | asks |
//! | --- | --- |
//! | `recon` | who asks for what the API does not have |
//! | `objects` | who asks for more objects than their peers, or for those of others |
//! | `flood` | who calls far more often than clients of this sort and than itself |
//! | `leak` | who takes far more than others, and which endpoint gives what it never gave |
//! | `auth` | who tries credential after credential, or uses those of others |
//!
//! Thresholds come from one number, the false alarms a day that the operator will read. Evidence is kept in nats. Tests
//! that are made once a client and day ask for ln(clients × tests / budget); sequential tests, whose false alarms come by
//! the trial, for ln(trials a day / (budget × share)). Both are Bonferroni's bound, and honest only as far as the
//! populations are described well by their distributions: heterogeneous clients are what makes false alarms, not chance.

mod auth;
#[cfg(test)]
mod calibration;
mod finding;
mod flood;
mod incident;
mod leak;
mod objects;
mod observation;
mod pace;
mod principal;
mod recon;
mod rules;
mod settings;
mod state;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::alert::{Alert, Sighting, Suspect, Technique};
use crate::call::Call;
use crate::endpoint::{HashKey, Place, Success};
use crate::key::Key;
use crate::model::tail;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

use finding::Finding;
use objects::Thresholds;
use observation::{Agents, Observation};
pub(crate) use rules::RULE_FILES;
pub use rules::{AgentRules, COMPILED_IN, ClassRule, DetectRules, FILE, LoginRules, Prior, ProbeRules, SecretRules};
pub use settings::Settings;
pub use state::State;
use state::{Client, Endpoint, Newcomers};

/// Who really made a call: the address on the wire, or what trusted proxies vouch for.
pub type Resolver = Box<dyn Fn(&Call) -> IpAddr + Send>;

/// Tests that are made of a client in a day.
const TESTS: f64 = 20.0;

/// The share of the budget that each kind of sequential test may spend.
const SHARE: f64 = 0.25;

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

/// Seconds of traffic before which an alert's confidence is low.
const COLD: u64 = 600;

/// Calls in, alerts out.
pub struct Detector {
    settings: Settings,
    rules: DetectRules,
    resolver: Resolver,
    state: State,
    counters: Counters,
    place: Place,
    agents: Agents,
    findings: Vec<Finding>,
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
    /// A detector that has seen nothing. `resolver` tells who made a call; `|call| call.client.ip` trusts no proxy.
    pub fn new(
        settings: Settings,
        rules: DetectRules,
        resolver: impl Fn(&Call) -> IpAddr + Send + 'static,
    ) -> Detector {
        let state = State::new(&settings, &rules.prior, HashKey::default());
        Detector {
            settings,
            rules,
            resolver: Box::new(resolver),
            state,
            counters: Counters::new(),
            place: Place::default(),
            agents: Agents::default(),
            findings: Vec::new(),
        }
    }

    /// The same with the installation's key under its hashes, so that nobody can aim at its tables and sketches. To be
    /// called before the first call: what was learned under another key is forgotten.
    pub fn keyed(mut self, key: &Key) -> Detector {
        let (one, two) = (key.fingerprint("detect", b"0").0, key.fingerprint("detect", b"1").0);
        let mut bytes = [0; 16];
        for (byte, value) in bytes.iter_mut().zip(one.to_le_bytes().into_iter().chain(two.to_le_bytes())) {
            *byte = value;
        }
        self.state = State::new(&self.settings, &self.rules.prior, HashKey::new(bytes));
        self
    }

    /// Takes one call; calls come in the order of [`Call::order`]. Alerts that it raised are appended.
    pub fn call(&mut self, call: &Call, alerts: &mut Vec<Alert>) {
        self.counters.count(Counter::CallsDetected);
        self.state.now = self.state.now.max(call.end_time);
        self.state.begin.get_or_insert(call.end_time);
        if self.state.calls.is_multiple_of(RENEWAL) {
            self.renew();
        }
        self.state.calls += 1;
        if !call.completeness.request {
            return;
        }
        let mut place = std::mem::take(&mut self.place);
        self.state.templates.place(&mut place, call.host.as_deref(), &call.path);
        let address = (self.resolver)(call);
        let mut findings = std::mem::take(&mut self.findings);
        let agent = call.user_agent.as_deref().unwrap_or_default();
        let agent = self.agents.look_up(agent, &self.rules, &self.state.key);
        let seen = Observation::new(call, &self.rules, self.state.key, address, &place, agent);
        observe(&seen, &mut self.state, &mut self.counters, &mut findings);
        raise(&seen, &mut self.state, &mut self.counters, &findings, alerts);
        teach(&seen, &mut self.state);
        findings.clear();
        self.findings = findings;
        self.place = place;
    }

    /// The traffic's time has come to `time`. Nothing is due without a call yet.
    pub fn tick(&mut self, time: Timestamp, _alerts: &mut Vec<Alert>) {
        self.state.now = self.state.now.max(time);
    }

    /// There will be no more calls. Nothing is held back for the end yet.
    pub fn finish(&mut self, _alerts: &mut Vec<Alert>) {}

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// All that it remembers.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Goes on from a remembered state, fitted to the settings' limits. Counters go on from where they are.
    pub fn restore(&mut self, state: State) {
        self.state = state;
        let (clients, endpoints) = self.state.limit(&self.settings);
        self.counters.add(Counter::ClientsEvicted, clients as u64);
        self.counters.add(Counter::EndpointsEvicted, endpoints as u64);
    }

    /// Thresholds out of the budget and what was seen so far, and the short cuts that follow from them.
    fn renew(&mut self) {
        let state = &mut self.state;
        let budget = self.settings.false_alarms_per_day.max(1e-6);
        let days = state.begin.map_or(0.0, |begin| state.now.since(begin).as_secs_f64() / 86_400.0);
        let trials = self.rules.prior.trials.max(if days > 0.1 { state.trials / days } else { 0.0 });
        state.daily = ((state.clients.len().max(100) as f64) * TESTS / budget).ln().max(1.0);
        state.walk = (trials / (budget * SHARE)).ln().max(1.0);
        for population in [&mut state.people, &mut state.machines] {
            flood::renew(population, state.daily);
        }
    }
}

/// Lets a good answer to who is not under suspicion teach what endpoints there are.
fn teach(seen: &Observation<'_>, state: &mut State) {
    if !seen.good() || state.clients.get(&seen.client).is_none_or(Client::suspect) {
        return;
    }
    if let Some(success) = Success::of(seen.call, seen.client_hash)
        && let Some(merged) = state.templates.learn(&success)
    {
        state.merge(&merged);
    }
}

/// Shows one call to all detectors.
fn observe(seen: &Observation<'_>, state: &mut State, counters: &mut Counters, findings: &mut Vec<Finding>) {
    if state.clients.get(&seen.client).is_none() {
        let client = Client { first: seen.time, ..Client::default() };
        if state.clients.insert(seen.client, client, Client::worth).is_some() {
            counters.count(Counter::ClientsEvicted);
        }
    }
    let Some(client) = state.clients.get_mut(&seen.client) else { return };
    client.calls += 1;
    client.last = seen.time;
    client.damaged += u64::from(!seen.whole);
    // Whether a program sent a key a record does not say: it gets the benefit of the doubt.
    client.machine |= seen.good() && (seen.api_key() || (seen.recorded && seen.program));
    client.narrow(seen.endpoint);
    if seen.good()
        && let Some(credential) = seen.call.credential
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
            endpoint.successes += 1;
            endpoint.clients.insert(seen.client_hash);
        }
        leak::endpoint(seen, client, endpoint, touches, [state.walk, state.daily], findings);
        flood::crowd(seen, client, endpoint, state.walk, findings);
    }

    let population = if client.machine { &mut state.machines } else { &mut state.people };
    flood::observe(seen, client, population, state.daily, findings);
    flood::costly(seen, client, state.daily, findings);
    if let Some(mut peers) = state.principals.of(seen, client.suspect()) {
        pace::observe(seen, client, peers.principal, state.daily, findings);
        leak::principal(seen, client, &mut peers, endpoint.as_deref(), state.daily, findings);
        if let Some(endpoint) = endpoint.as_deref_mut() {
            let thresholds = Thresholds { walk: state.walk, daily: state.daily };
            objects::observe(seen, client, &mut peers, endpoint, thresholds, findings);
        }
    }
    if seen.login {
        let others = (&mut state.logins, &mut state.guessers);
        auth::login(seen, client, others, state.walk, state.daily, findings);
    }
    auth::credential(seen, client, &mut state.credentials, &mut state.basic, findings);
    let mut shared = recon::Shared {
        misses: &mut state.misses,
        places: &mut state.places,
        parameters: &mut state.parameters,
        trials: &mut state.trials,
        threshold: state.walk,
    };
    recon::observe(seen, client, endpoint, touches, &mut shared, findings);
    if client.misses.opening == OPENING {
        client.misses.opening += 1;
        state.newcomers.enter(seen.time, seen.client, Sighting::of(seen.call));
    }
    let age = seen.time.since(client.first).as_secs();
    let new = state.begin.is_some_and(|begin| client.first.since(begin).as_secs() >= STRANGERS);
    // A record that has no credential does not say that there was none.
    let anonymous = client.people.is_empty() && !seen.recorded;
    if new && client.calls == SWARM_CALLS && age <= SWARM_SECONDS && anonymous {
        state.swarm.enter(seen.time, seen.client, Sighting::of(seen.call));
    }
}

/// Makes alerts of what was found, one where there is one story.
fn raise(
    seen: &Observation<'_>,
    state: &mut State,
    counters: &mut Counters,
    findings: &[Finding],
    alerts: &mut Vec<Alert>,
) {
    let before = alerts.len();
    let now = state.now;
    let cold = state.begin.is_none_or(|begin| now.since(begin).as_secs() < COLD);
    for finding in findings {
        let endpoint = state.endpoints.get_mut(&seen.endpoint);
        if finding.endpoint {
            let Some(endpoint) = endpoint else { continue };
            if endpoint.due(finding) {
                alerts.push(incident::of_endpoint(endpoint, finding, Sighting::of(seen.call), now, cold));
            } else {
                counters.count(Counter::AlertsSuppressed);
            }
            continue;
        }
        let Some(client) = state.clients.get_mut(&seen.client) else { continue };
        if incident::due(client, finding, now, counters) {
            alerts.push(incident::of_client(seen.client, client, endpoint.as_deref(), finding, now, cold));
        }
    }
    let prior = &seen.rules.prior;
    let groups = [
        (&mut state.newcomers, Technique::Campaign, prior.probing_newcomers, 3_600),
        (&mut state.swarm, Technique::Distributed, prior.swarming_newcomers, 3_600),
        (&mut state.guessers, Technique::CredentialStuffing, prior.guessers, 86_400),
    ];
    for (newcomers, technique, expected, window) in groups {
        alerts.extend(campaign(newcomers, technique, (expected, window), state.walk, seen, cold));
    }
    counters.add(Counter::Alerts, (alerts.len() - before) as u64);
}

/// Newcomers of a window (its length in seconds) that began alike, when they are too many.
fn campaign(
    newcomers: &mut Newcomers,
    technique: Technique,
    (expected, window): (f64, u64),
    threshold: f64,
    seen: &Observation<'_>,
    cold: bool,
) -> Option<Alert> {
    let count = newcomers.fresh(seen.time, window)?;
    let nats = tail::count(count as u64, expected, expected);
    if count < 5 || nats < threshold || !newcomers.due(seen.time) {
        return None;
    }
    let feature = match technique {
        Technique::CredentialStuffing => "clients that failed to log in to several accounts",
        Technique::Distributed => "new clients that called fast and long without credentials",
        _ => "new clients that began with nothing but misses",
    };
    let finding = Finding::new(technique, nats, threshold, feature);
    let finding = finding.compared(count as f64, expected).within(window);
    let members = newcomers.members();
    let suspects = newcomers.named().iter().map(|&ip| Suspect { ip, credential: None }).collect();
    let calls = members.iter().map(|(_, _, call)| call.clone()).collect();
    Some(incident::of_campaign(suspects, calls, &finding, seen.time, cold))
}
