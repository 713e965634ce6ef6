//! Recon: who asks for what the API does not have.
//!
//! First contacts are the trials of a sequential test ([`crate::model::Walk`]): a hit when the thing is there, a miss when it is not.
//! Time does not appear, so one probe an hour adds up as one a second does. A path that was asked for before is no new
//! trial: a stale link is one miss however often it is followed. A path that unrelated clients miss as well is a
//! broken deploy and counts less by each of them.

use super::budget::{Scales, Test};
use super::finding::Finding;
use super::observation::{Observation, repeated};
use super::state::{Client, Endpoint, Missed, Parameter};
use crate::alert::{Family, Sighting, Technique};
use crate::model::{ORDINARY, Table};
use crate::time::Timestamp;

/// What counts a path that user agents ask for by themselves.
const LOOK_UP: f64 = 0.1;

/// Query parameters that are remembered of an endpoint.
const PARAMETERS: usize = 32;

/// Query parameters of a call that are looked at.
const PARAMETERS_A_CALL: usize = 8;

/// What recon shares over all clients.
pub(super) struct Shared<'a> {
    pub(super) misses: &'a mut Table<u64, Missed>,
    /// Paths that have answered well to some method.
    pub(super) places: &'a mut Table<u64, Timestamp>,
    /// Query parameters that several clients use somewhere.
    pub(super) parameters: &'a mut Table<u64, Timestamp>,
    /// The call carries what is meant for somebody else than the service: that it is answered well is no sign of knowing
    /// the way.
    pub(super) probed: bool,
}

/// Takes one call. `touches` is how often the client had touched the endpoint.
pub(super) fn observe(
    seen: &Observation<'_>,
    client: &mut Client,
    endpoint: Option<&mut Endpoint>,
    touches: u16,
    shared: &mut Shared<'_>,
    scales: &mut Scales<'_>,
) {
    let Some(status) = seen.status else { return };
    match endpoint {
        // A server that answers whatever is asked for has nothing there.
        Some(_) if seen.place.catch_all => missing(seen, client, 404, shared, scales),
        // It may well be answered; who uses an API does not ask what it has.
        Some(_) if seen.introspects() => missing(seen, client, status, shared, scales),
        Some(endpoint) => {
            if seen.good() && !shared.probed {
                step(seen, client, false, repeated(touches), scales);
                if scales.trace.is_some() {
                    scales.watch(evidence(client));
                }
            }
            if matches!(status, 101 | 200..=299 | 400 | 422) {
                parameters(seen, client, endpoint, shared, scales);
            }
        }
        None => missing(seen, client, status, shared, scales),
    }
}

/// A call to something that has never answered well, or for the schema, which counts the same.
fn missing(seen: &Observation<'_>, client: &mut Client, status: u16, shared: &mut Shared<'_>, scales: &mut Scales<'_>) {
    let method_exists = shared.places.get(&seen.place_hash).is_some();
    let introspects = seen.introspects();
    let kind = match status {
        _ if introspects => 1.0,
        404 | 410 if method_exists => return,
        404 | 410 => 1.0,
        // A method that is not there may be a slip, of testers more than of others.
        405 | 501 => 0.75,
        // It may well be there for others, and nobody has been seen to succeed yet.
        403 => 0.5,
        401 if !seen.login => 0.25,
        // Who asks GraphQL for fields that it does not have does not know it.
        400 if seen.is_unknown_to_schema() => 0.75,
        _ => return,
    };
    let exact = seen.key.pair(seen.endpoint.0, seen.key.hash(&[seen.call.path.as_bytes()]));
    if client.touched.touch(exact) > 0 {
        return;
    }
    let again = client.touched.touch(seen.endpoint.0);
    let teaches = !client.suspect();
    let others = match shared.misses.get_mut(&seen.endpoint.0) {
        Some(missed) => missed.note(seen.client_hash, teaches),
        None => {
            let mut missed = Missed::default();
            missed.note(seen.client_hash, teaches);
            shared.misses.insert(seen.endpoint.0, missed, |missed| missed.count);
            0
        }
    };
    let company = 1.0 / (1.0 + others.saturating_sub(1) as f64);
    // Other objects of a template that is not there say less and less.
    let by_itself = if seen.rules.is_look_up(&seen.call.path) { LOOK_UP } else { 1.0 };
    let weight = kind * by_itself * company / (1.0 + f64::from(again)).powi(2);
    if introspects || seen.rules.is_probe(&seen.call.target) {
        client.misses.probes += weight;
    } else if status == 405 || method_exists {
        client.misses.methods += weight;
    } else {
        client.misses.paths += weight;
    }
    // What many miss, they were told to ask for.
    if again == 0 && company >= 0.5 && client.calls <= super::FIRST_CALLS {
        client.misses.opening = client.misses.opening.saturating_add(1);
    }
    client.sight(Family::Recon, Sighting::of(seen.call));
    step(seen, client, true, weight, scales);
    report(client, scales);
}

/// A first contact.
pub(super) fn step(seen: &Observation<'_>, client: &mut Client, failed: bool, weight: f64, scales: &mut Scales<'_>) {
    scales.tried(Test::FirstContacts, weight);
    let ceiling = seen.rules.prior.miss_ceiling;
    client.explore(seen.agent, |walk| walk.step(failed, weight, ceiling));
}

/// A first contact that missed as hardly any of an honest client does, whatever else it missed.
pub(super) fn rare(seen: &Observation<'_>, client: &mut Client, weight: f64, scales: &mut Scales<'_>) {
    scales.tried(Test::FirstContacts, weight);
    let ceiling = seen.rules.prior.probe_ceiling;
    client.explore(seen.agent, |walk| walk.advance(true, weight, ceiling, 0.9));
}

/// Weighs what the first contacts have come to.
pub(super) fn report(client: &Client, scales: &mut Scales<'_>) {
    if scales.wants(Test::FirstContacts, client.explored().nats()) {
        scales.weigh(evidence(client));
    }
}

/// The evidence so far, under the name of what prevails among the misses.
fn evidence(client: &Client) -> Finding {
    let walk = client.explored();
    let misses = &client.misses;
    let (mut technique, mut most) = (Technique::PathEnumeration, misses.paths);
    for (other, count) in [
        (Technique::MethodProbing, misses.methods),
        (Technique::ParameterDiscovery, misses.parameters),
        (Technique::SchemaProbing, misses.probes),
        (Technique::InjectionProbing, misses.injections),
        (Technique::RequestForgeryProbing, misses.forgeries),
    ] {
        if count > most {
            (technique, most) = (other, count);
        }
    }
    Finding::new(Test::FirstContacts, technique, walk.nats()).compared(walk.failures(), expected(walk.trials()))
}

/// How many first contacts of so many the most ordinary client misses.
pub(super) fn expected(contacts: f64) -> f64 {
    contacts * ORDINARY
}

/// Names of query parameters: new ones that nobody else uses are misses where the endpoint is well known.
fn parameters(
    seen: &Observation<'_>,
    client: &mut Client,
    endpoint: &mut Endpoint,
    shared: &mut Shared<'_>,
    scales: &mut Scales<'_>,
) {
    let known = endpoint.successes >= 30 && endpoint.clients.count() >= 5;
    for name in seen.call.query_names.iter().take(PARAMETERS_A_CALL) {
        let name = seen.key.hash(&[name.as_bytes()]);
        match endpoint.parameters.iter_mut().find(|parameter| parameter.name == name) {
            Some(parameter) if parameter.confirmed => {
                // What is usual at one endpoint is no discovery at another.
                if shared.parameters.get(&name).is_none() {
                    shared.parameters.insert(name, seen.time, |time| *time);
                }
                continue;
            }
            Some(parameter) if parameter.first != seen.client_hash => {
                if seen.good() && !client.suspect() {
                    parameter.confirmed = true;
                }
                continue;
            }
            Some(_) => {}
            None if seen.good() && !client.suspect() => {
                let parameter = Parameter { name, first: seen.client_hash, confirmed: false };
                learn(endpoint, parameter);
            }
            None => {}
        }
        if !known
            || shared.parameters.get(&name).is_some()
            || client.touched.touch(seen.key.pair(seen.endpoint.0, name)) > 0
        {
            continue;
        }
        client.misses.parameters += 1.0;
        client.sight(Family::Recon, Sighting::of(seen.call));
        step(seen, client, true, 1.0, scales);
        report(client, scales);
    }
}

/// Remembers a parameter; when there is no room, in place of an unconfirmed one.
fn learn(endpoint: &mut Endpoint, parameter: Parameter) {
    if endpoint.parameters.len() < PARAMETERS {
        endpoint.parameters.push(parameter);
        return;
    }
    for _ in 0..PARAMETERS {
        endpoint.next_parameter = (endpoint.next_parameter + 1) % PARAMETERS as u8;
        if let Some(held) = endpoint.parameters.get_mut(usize::from(endpoint.next_parameter))
            && !held.confirmed
        {
            *held = parameter;
            return;
        }
    }
}
