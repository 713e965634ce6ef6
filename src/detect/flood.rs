//! Flood: who calls far more often than clients of this sort and than itself.
//!
//! Counts in sliding windows against two predictive distributions, both gamma-Poisson and so negative binomial: one
//! fitted to the highest counts of the population's clients (a place each, shrunk to the prior), one around this
//! client's own highest count of the past. A count must be improbable under both: an office behind one address is used
//! to many calls, and so is a population of busy clients. Clients whose API key was accepted are a population of
//! their own, since programs work through lists at paces that no person has.

use super::budget::{Scales, Test};
use super::finding::Finding;
use super::observation::Observation;
use super::state::{Client, Endpoint, Population, RATE_WINDOWS};
use crate::alert::{Family, Sighting, Technique};
use crate::model::{Moments, Window, tail};

/// Shape of the gamma distribution of a client's rate around its own highest count: a standard deviation of one half.
const OWN_SHAPE: f64 = 4.0;

/// How many times the population's mean a client's count may settle at once.
const FIRST_STEP: f64 = 4.0;

/// Takes one call.
pub(super) fn observe(
    seen: &Observation<'_>,
    client: &mut Client,
    population: &mut Population,
    scales: &mut Scales<'_>,
) {
    let repeats = u64::from(client.last_target == seen.target_hash);
    client.last_target = seen.target_hash;
    let repeats = client.repeats.add(Window::TenMinutes, seen.time, repeats);
    let suspect = client.suspect();
    let people = client.people.count();
    let mut best: Option<Finding> = None;
    let windows =
        client.rates.iter_mut().zip(&mut client.rate_extremes).zip(&mut client.rate_steps).zip(&mut population.rates);
    let fixed = RATE_WINDOWS.iter().zip(&population.rate_limits).zip(&seen.rules.prior.calls_floor);
    for ((((ring, extreme), step), moments), ((&window, &limit), &floor)) in windows.zip(fixed) {
        let count = ring.add(window, seen.time, 1);
        let least = || FIRST_STEP * moments.mean();
        if let Some((old, new)) = extreme.note(window, seen.time, count as f64, least, suspect) {
            teach(moments, old / people as f64, new / people as f64);
        }
        if count <= limit.max(floor as u64) * people || !step.due(count) {
            continue;
        }
        let each = count / people;
        let crowd = tail::count(each, moments.mean(), moments.variance());
        let expected = extreme.settled().max(moments.mean());
        let usual = expected * people as f64;
        let spread = usual + usual * usual / OWN_SHAPE;
        let own = tail::count(count, usual, spread);
        let nats = crowd.min(own);
        if nats > best.map_or(0.0, |finding| finding.nats) {
            let repeating = window == Window::TenMinutes && repeats * 10 > count * 9;
            let technique = if repeating { Technique::Loop } else { Technique::Volumetric };
            let finding = Finding::new(Test::Calls, technique, nats);
            best = Some(finding.compared(count as f64, usual).within(window.seconds()));
        }
    }
    if let Some(finding) = best
        && scales.weigh(finding)
    {
        client.sight(Family::Flood, Sighting::of(seen.call));
    }
}

/// Windows in which calls that cost much are counted.
const COST_WINDOWS: [Window; 2] = [Window::TenMinutes, Window::Hour];

/// Takes one call that cost much: the server worked or sent long. A few of these are as many ordinary ones.
pub(super) fn costly(seen: &Observation<'_>, client: &mut Client, scales: &mut Scales<'_>) {
    let cost = &seen.rules.cost;
    let slow = seen.call.latency.is_some_and(|seconds| seconds >= cost.seconds);
    if !seen.good() || (seen.bytes() < cost.bytes && !slow) {
        return;
    }
    let people = client.people.count();
    let mut best: Option<Finding> = None;
    let rings = client.costs.iter_mut().zip(&mut client.cost_steps).zip(COST_WINDOWS);
    for (((ring, step), window), (&usual, &floor)) in rings.zip(cost.calls.iter().zip(&cost.calls_floor)) {
        let count = ring.add(window, seen.time, 1);
        if count <= floor as u64 * people || !step.due(count) {
            continue;
        }
        let mean = usual / std::f64::consts::LN_10;
        let nats = tail::count(count / people, mean, mean + mean * mean);
        if nats > best.map_or(0.0, |finding| finding.nats) {
            let finding = Finding::new(Test::CostlyCalls, Technique::Expensive, nats);
            best = Some(finding.compared(count as f64, mean * people as f64).within(window.seconds()));
        }
    }
    if let Some(finding) = best
        && scales.weigh(finding)
    {
        client.sight(Family::Flood, Sighting::of(seen.call));
    }
}

/// A client's place in the population goes from `old` (0: it has none) to `new`, cut off where one client would weigh
/// too much.
fn teach(moments: &mut Moments, old: f64, new: f64) {
    let most = 5.0 * moments.mean() + 10.0;
    if old > 0.0 {
        moments.replace(old.min(most), new.min(most));
    } else {
        moments.enter(new.min(most));
    }
}

/// Renews the counts below which the tests need not be made: where the population's tail is half the threshold.
pub(super) fn renew(population: &mut Population, threshold: f64) {
    for (moments, limit) in population.rates.iter().zip(&mut population.rate_limits) {
        let (mut low, mut high) = (0, 1_000_000);
        while low < high {
            let middle = (low + high) / 2;
            if tail::count(middle, moments.mean(), moments.variance()) >= threshold / 2.0 {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        *limit = low;
    }
}

/// New callers that keep to one or two endpoints, at three times the rate that the endpoint is used to: a crowd that
/// came for this only. A flash sale brings people who look around.
pub(super) fn crowd(seen: &Observation<'_>, client: &Client, endpoint: &mut Endpoint, scales: &mut Scales<'_>) {
    let count = endpoint.rate.add(Window::TenMinutes, seen.time, 1);
    let usual = endpoint.rate_extreme.settled();
    endpoint.rate_extreme.note(Window::TenMinutes, seen.time, count as f64, || 30.0, endpoint.accused);
    // The sixth call tells that a client came for these one or two endpoints.
    if client.calls != 6 || client.roams || seen.time.since(client.first).as_secs() > 600 {
        return;
    }
    let single = endpoint.single.add(Window::TenMinutes, seen.time, 1);
    scales.tried(Test::Crowd, 1.0);
    if single >= 8 && count as f64 >= 3.0 * usual {
        let finding = Finding::new(Test::Crowd, Technique::Distributed, tail::count(single, 1.0, 2.0));
        scales.weigh(finding.compared(single as f64, 1.0).within(600).of_endpoint());
    }
}
