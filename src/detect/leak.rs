//! Leak: who takes far more than others and than itself, and which endpoint gives what it never gave.
//!
//! By principal: distinct sensitive values a day, and bytes beyond what answers usually have; their logarithms against
//! a normal distribution fitted to the principal's group (a place each) and against its own past. By endpoint: a sequential test for each
//! class of sensitive data, and one for answers without credentials, against the share that was ordinary before.

use std::f64::consts::LN_2;

use super::budget::{Scales, Test};
use super::finding::Finding;
use super::observation::{Observation, repeated};
use super::principal::{Peers, VOLUME_WINDOWS};
use super::state::{Client, Endpoint, Exposure};
use crate::alert::{EVIDENCE_LIMIT, Family, Sighting, Technique};
use crate::call::CredentialPlace;
use crate::model::{Distinct, Exponential, Moments, Walk, Window, ln_1p, tail};

/// Classes that are followed at an endpoint.
const CLASSES: usize = 16;

/// Deviation of the logarithm of a client's own highest volumes from day to day.
const OWN_DEVIATION: f64 = 0.6;

/// How many times the endpoint's mean an answer may have without being more than ordinary.
const ORDINARY: f64 = 4.0;

/// How many times the bytes of calls a connection in TLS may have: there may be many calls in it, and files among them.
const ENCRYPTED: f64 = 64.0;

/// Seconds after the day's first value from which on a read is a slow one.
const SLOW: u64 = 4 * 3_600;

/// One response below this is never called oversized.
const OVERSIZED_FLOOR: u64 = 65_536;

/// Eight responses to one client below this are never called oversized.
const OVERSIZED_MANY: u64 = 4_096;

/// Responses of an endpoint by which one client teaches its sizes.
const TEACHING: u16 = 16;

/// Takes one call, for what a principal took.
pub(super) fn principal(
    seen: &Observation<'_>,
    client: &mut Client,
    peers: &mut Peers<'_>,
    mut endpoint: Option<&mut Endpoint>,
    scales: &mut Scales<'_>,
) {
    let suspect = client.suspect() || peers.principal.accused;
    let found =
        [excess(seen, peers, endpoint.as_deref_mut(), suspect), values(seen, peers, endpoint.as_deref(), suspect)];
    for finding in found.into_iter().flatten() {
        if scales.weigh(finding) {
            peers.principal.accused = true;
            client.sight(Family::Leak, Sighting::of(seen.call));
        }
    }
}

/// Bytes of good answers beyond [`ORDINARY`] times what the endpoint's answers have: larger pages than anybody asks for.
/// How many answers of ordinary size somebody gets is for the tests of rates and objects.
fn excess(
    seen: &Observation<'_>,
    peers: &mut Peers<'_>,
    endpoint: Option<&mut Endpoint>,
    suspect: bool,
) -> Option<Finding> {
    let endpoint = endpoint.filter(|endpoint| seen.good() && seen.whole && endpoint.sizes.count() >= 8.0)?;
    let excess = beyond(seen.bytes(), endpoint.sizes.mean(), &mut endpoint.usual_size);
    let principal = &mut *peers.principal;
    let mut best: Option<Finding> = None;
    let scale = if seen.encrypted.is_some() { ENCRYPTED } else { 1.0 };
    let rings = principal.excess.iter_mut().zip(&mut principal.excess_extremes).zip(&mut principal.excess_steps);
    let priors = VOLUME_WINDOWS.iter().zip(match principal.machine {
        true => seen.rules.prior.bytes_machine,
        false => seen.rules.prior.bytes,
    });
    for (((ring, extreme), step), (&window, median)) in rings.zip(priors) {
        let median = scale * median;
        if excess == 0 && ring.sum(window, seen.time) == 0 {
            continue;
        }
        let sum = ring.add(window, seen.time, excess);
        extreme.note(window, seen.time, sum as f64, || 4.0 * median, suspect);
        if sum as f64 <= 4.0 * median || !step.due(sum) {
            continue;
        }
        let deviation = 1.5 * seen.rules.prior.volume_deviation;
        let crowd = tail::normal((sum as f64).ln_1p(), median.ln_1p(), deviation);
        let own = tail::normal((sum as f64).ln_1p(), extreme.settled().ln_1p().max(median.ln_1p()), OWN_DEVIATION);
        let nats = crowd.min(own);
        if nats > best.map_or(0.0, |finding| finding.nats) {
            let finding = Finding::new(Test::Excess, Technique::BulkRead, nats);
            best = Some(finding.compared(sum as f64, extreme.settled().max(median)).within(window.seconds()));
        }
    }
    best
}

/// What of an answer lies beyond [`ORDINARY`] times the size that answers have, whose logarithms' mean is given.
fn beyond(bytes: u64, mean: f64, usual: &mut Exponential) -> u64 {
    // Below 2^length - 1, which is at most 4 (e^mean - 1): an exponential is not needed to see that.
    let length = f64::from(u64::BITS - bytes.leading_zeros());
    if mean > 3.0 && LN_2 * length <= mean + 1.0 {
        return 0;
    }
    bytes.saturating_sub((ORDINARY * usual.exp_m1(mean)) as u64)
}

/// Distinct sensitive values in the answers of a day, weighted by class.
fn values(
    seen: &Observation<'_>,
    peers: &mut Peers<'_>,
    endpoint: Option<&Endpoint>,
    suspect: bool,
) -> Option<Finding> {
    if seen.call.sensitive.response.is_empty() || seen.status.is_none() {
        return None;
    }
    let Peers { principal, group, .. } = peers;
    let machine = principal.machine;
    let held = &mut principal.values;
    let day = Window::Day.bucket(seen.time) / crate::model::BUCKETS as i64;
    if held.day != day {
        held.day = day;
        held.seen = Distinct::default();
        held.weight = 0.0;
        held.since = seen.time;
    }
    for sensitive in &seen.call.sensitive.response {
        // What the endpoint has begun to give to everybody is the endpoint's leak, not the reader's.
        if endpoint.is_some_and(|endpoint| endpoint.begins_to_give(&sensitive.class)) {
            continue;
        }
        let (weight, _) = seen.rules.class(&sensitive.class);
        for value in sensitive.values.iter() {
            let before = held.seen.count();
            if held.seen.insert(seen.key.pair(value.0, 0)) {
                // Beyond the exact set the estimate moves in steps that are right on average.
                held.weight += weight * held.seen.count().saturating_sub(before) as f64;
            }
        }
    }
    let prior = &seen.rules.prior;
    let others = if held.taught > 0.0 { group.values.without(held.taught) } else { group.values };
    let usual = group.usual_values(others, machine, prior);
    if !suspect {
        let most = usual.mean() + 2.0 * usual.variance().sqrt().max(0.5);
        if held.taught == 0.0 {
            let value = held.logarithm.ln_1p(held.weight).min(most);
            group.values.enter(value);
            held.taught = value;
        } else if most > held.taught {
            let value = held.logarithm.ln_1p(held.weight).min(most);
            if value > held.taught {
                group.values.replace(held.taught, value);
                held.taught = value;
            }
        }
    }
    // A key is given out for a purpose, which its first hours show; nothing is known of it before.
    let known = held.extreme.settled() > 0.0;
    let least = || if machine { f64::INFINITY } else { 4.0 * usual.mean().exp_m1() };
    held.extreme.note(Window::Hour, seen.time, held.weight, least, suspect);
    if (machine && !known) || held.weight <= prior.values_floor || !held.step.due(held.weight as u64) {
        return None;
    }
    let (nats, expected) = compare(held.weight, &usual, held.extreme.settled());
    let slow = seen.time.since(held.since).as_secs() >= SLOW;
    let technique = if slow { Technique::SlowRead } else { Technique::BulkRead };
    let finding = Finding::new(Test::Values, technique, nats);
    Some(finding.compared(held.weight, expected).within(Window::Day.seconds()))
}

/// How improbable a volume is for the group and for the principal itself, whichever is the lesser, and what would
/// have been ordinary.
fn compare(volume: f64, moments: &Moments, settled: f64) -> (f64, f64) {
    let value = volume.ln_1p();
    let crowd = tail::normal(value, moments.mean(), moments.variance().sqrt().max(0.5));
    let own = tail::normal(value, settled.ln_1p().max(moments.mean()), OWN_DEVIATION);
    (crowd.min(own), settled.max(moments.mean().exp_m1()))
}

/// Takes one call, for what its endpoint gave. `touches` is how often the client had touched it.
pub(super) fn endpoint(
    seen: &Observation<'_>,
    client: &mut Client,
    endpoint: &mut Endpoint,
    touches: u16,
    scales: &mut Scales<'_>,
) {
    if seen.status.is_none() {
        return;
    }
    let weight = repeated(touches);
    if seen.whole && !seen.recorded && seen.encrypted.is_none() {
        classes(seen, endpoint, weight, scales);
        endpoint.answers += weight;
    }
    if seen.status == Some(401) && !seen.authenticated && !seen.recorded && touches == 0 {
        endpoint.refused += 1;
    }
    if endpoint.refused > 0 && !seen.authenticated && !seen.recorded && seen.encrypted.is_none() {
        unlocked(seen, endpoint, weight, scales);
    }
    if seen.good() {
        if seen.encrypted.is_none() {
            open(seen, endpoint, weight, scales);
        }
        oversized(seen, client, endpoint, touches, scales);
    }
    secrets(seen, client, endpoint, scales);
}

/// Classes of sensitive data that the endpoint did not return before.
fn classes(seen: &Observation<'_>, endpoint: &mut Endpoint, weight: f64, scales: &mut Scales<'_>) {
    for sensitive in &seen.call.sensitive.response {
        let known = endpoint.classes.iter().any(|exposure| *exposure.class == *sensitive.class);
        if known || (seen.rules.is_issued(&sensitive.class) && seen.rules.is_of_logins(&seen.call.path)) {
            continue;
        }
        if endpoint.classes.len() < CLASSES {
            endpoint.classes.push(Exposure {
                class: Box::from(&*sensitive.class),
                answers: endpoint.answers,
                held: 0.0,
                walk: Walk::default(),
                clients: Distinct::default(),
                alerted: false,
                sightings: Vec::new(),
            });
        }
    }
    for (place, exposure) in endpoint.classes.iter_mut().enumerate() {
        let held = seen.call.sensitive.response.iter().any(|sensitive| *sensitive.class == *exposure.class);
        // A refusal has nothing to give, and is no trial.
        if !held && !seen.good() {
            continue;
        }
        let honest = (exposure.held + 0.5) / (exposure.answers + 1.0);
        if honest < 0.25 {
            scales.tried(Test::Exposure, weight);
            exposure.walk.advance(held, weight, honest, 0.5);
        }
        if exposure.walk.nats() <= 0.0 {
            // No suspicion: this is what the endpoint does. What came in between belongs to it as well.
            let walked = std::mem::take(&mut exposure.walk);
            exposure.answers += walked.trials().max(weight);
            exposure.held += if walked.trials() > 0.0 {
                walked.failures()
            } else if held {
                weight
            } else {
                0.0
            };
            exposure.sightings.clear();
            exposure.clients = Distinct::default();
            continue;
        }
        if held {
            exposure.clients.insert(seen.client_hash);
        }
        if held && exposure.sightings.len() < EVIDENCE_LIMIT {
            exposure.sightings.push(Sighting::of(seen.call));
        }
        if held && scales.wants(Test::Exposure, exposure.walk.nats()) {
            let (_, grave) = seen.rules.class(&exposure.class);
            let finding = Finding::new(Test::Exposure, Technique::NewExposure, exposure.walk.nats());
            let expected = honest * exposure.walk.trials();
            let finding = finding.compared(exposure.walk.failures(), expected).of_endpoint();
            exposure.alerted |= scales.weigh(Finding { grave, class: Some(place), ..finding });
        }
    }
}

/// Good answers without credentials where there always were some.
fn open(seen: &Observation<'_>, endpoint: &mut Endpoint, weight: f64, scales: &mut Scales<'_>) {
    // Many calls of one client are one decision of the endpoint's.
    let weight = weight.powi(3);
    if seen.recorded {
        // Whether there was a credential is mostly unknown. It counts as none, which makes the endpoint look public.
        let anonymous = f64::from(u8::from(!seen.authenticated)) * weight;
        endpoint.anonymous += anonymous;
        endpoint.authenticated += weight - anonymous;
        return;
    }
    if seen.call.credential.as_ref().is_some_and(|credential| credential.place == CredentialPlace::Cookie) {
        endpoint.in_cookies += weight;
    }
    let honest = (endpoint.anonymous + 0.5) / (endpoint.anonymous + endpoint.authenticated + 1.0);
    if honest < 0.25 {
        scales.tried(Test::Unauthenticated, weight);
        endpoint.open.advance(!seen.authenticated, weight, honest, 0.5);
    }
    if endpoint.open.nats() > 0.0 {
        // An endpoint may well be open to all; it is a leak when it refused others, or gives sensitive data.
        let matters = endpoint.refused > 0 || !seen.call.sensitive.response.is_empty();
        if !seen.authenticated && matters && scales.wants(Test::Unauthenticated, endpoint.open.nats()) {
            let finding = Finding::new(Test::Unauthenticated, Technique::Unauthenticated, endpoint.open.nats());
            let expected = honest * endpoint.open.trials();
            scales.weigh(finding.compared(endpoint.open.failures(), expected).of_endpoint());
        }
        return;
    }
    let walked = std::mem::take(&mut endpoint.open);
    let anonymous = match walked.trials() > 0.0 {
        true => walked.failures(),
        false => f64::from(u8::from(!seen.authenticated)) * weight,
    };
    endpoint.anonymous += anonymous;
    endpoint.authenticated += walked.trials().max(weight) - anonymous;
}

/// Good answers to those without credentials where such as them were refused. Here only their calls are trials: those with
/// credentials, however many, say nothing of the lock.
fn unlocked(seen: &Observation<'_>, endpoint: &mut Endpoint, weight: f64, scales: &mut Scales<'_>) {
    let open = seen.good();
    let honest = (endpoint.anonymous + 0.5) / (endpoint.anonymous + endpoint.refused as f64 + 1.0);
    if !(open || seen.status == Some(401)) || honest >= 0.25 {
        return;
    }
    let weight = weight * weight;
    scales.tried(Test::Unauthenticated, weight);
    let nats = endpoint.unlocked.advance(open, weight, honest, 0.9);
    if open && scales.wants(Test::Unauthenticated, nats) {
        let finding = Finding::new(Test::Unauthenticated, Technique::Unauthenticated, nats);
        let expected = honest * endpoint.unlocked.trials();
        scales.weigh(finding.compared(endpoint.unlocked.failures(), expected).of_endpoint());
    }
}

/// A response that is far larger than the endpoint's are. When a second client gets such a one, the endpoint has changed,
/// and nobody is accused.
fn oversized(
    seen: &Observation<'_>,
    client: &mut Client,
    endpoint: &mut Endpoint,
    touches: u16,
    scales: &mut Scales<'_>,
) {
    let bytes = seen.bytes();
    if !seen.whole || (bytes == 0 && seen.recorded) {
        return; // not every record tells sizes
    }
    if seen.encrypted.is_some() {
        // What is in it may be one answer or a thousand.
        if touches < TEACHING {
            endpoint.sizes.enter(ln_1p(bytes));
        }
        return;
    }
    let known = endpoint.sizes.count();
    let mean = endpoint.sizes.mean();
    let threshold = scales.budget.threshold(Test::Oversized);
    // Few responses say little of how much they vary.
    let deviation = endpoint.sizes.variance().sqrt().max(0.5) + 1.0 / (1.0 + known).sqrt();
    let most = LN_2 * f64::from(u64::BITS - bytes.leading_zeros());
    if !tail::may_reach(threshold, most, mean, deviation) {
        if touches < TEACHING {
            endpoint.sizes.enter(ln_1p(bytes));
        }
        return;
    }
    let size = ln_1p(bytes);
    let nats = match tail::may_reach(threshold, size, mean, deviation) {
        true => tail::normal(size, mean, deviation),
        false => 0.0,
    };
    if known >= 4.0 && nats >= threshold {
        endpoint.oversized.insert(seen.client_hash);
        endpoint.oversized_answers += 1;
        let enough = bytes >= OVERSIZED_FLOOR || (bytes >= OVERSIZED_MANY && endpoint.oversized_answers >= 8);
        if endpoint.oversized.count() == 1 && enough {
            client.sight(Family::Leak, Sighting::of(seen.call));
            let finding = Finding::new(Test::Oversized, Technique::Oversized, nats);
            scales.weigh(finding.compared(bytes as f64, mean.exp_m1()));
        }
        // Such sizes become ordinary only when several clients get them.
        if endpoint.oversized.count() < 3 {
            return;
        }
    }
    if touches < TEACHING {
        endpoint.sizes.enter(size);
    }
}

/// Secrets among the query parameters. Where several clients send them it is how the endpoint was built, and the
/// endpoint is meant.
fn secrets(seen: &Observation<'_>, client: &mut Client, endpoint: &mut Endpoint, scales: &mut Scales<'_>) {
    if !seen.good() || !seen.secret {
        return;
    }
    endpoint.secrets.insert(seen.client_hash);
    client.sight(Family::Leak, Sighting::of(seen.call));
    let users = endpoint.secrets.count();
    // Not a matter of chance: the finding is the fact itself.
    let finding = Finding::new(Test::Secrets, Technique::SecretInUrl, 0.0);
    let finding = finding.compared(users as f64, 0.0);
    scales.fact(if users < 3 { finding } else { finding.of_endpoint() });
}
