//! Flood: who calls far more often than clients of this sort and than itself, or makes the server work far more.
//!
//! Meters count calls, identical calls in a row, calls that cost much, seconds that the server worked, and minutes with bursts,
//! in sliding windows, against two predictive distributions, both gamma-Poisson and so negative binomial: one fitted to the
//! highest counts of the population's clients (a place each, shrunk to the prior), one around this client's own
//! highest count of the past. A count must be improbable under both: an office behind one address is used to many
//! calls, and so is a population of busy clients. Clients whose API key was accepted are a population of their own, since
//! programs work through lists at paces that no person has. What several others do as much of at the same endpoint
//! (polling for news, waiting for an answer) is how it is used, and no flood.

use serde::{Deserialize, Serialize};

use super::budget::{Scales, Test};
use super::finding::Finding;
use super::observation::Observation;
use super::rules::MeterRule;
use super::state::{Client, Endpoint};
use crate::alert::{Family, Sighting, Technique};
use crate::model::{Extreme, Moments, Ring, Step, Window, tail};
use crate::time::Timestamp;

/// Shape of the gamma distribution of a client's rate around its own highest count: a standard deviation of one half.
const OWN_SHAPE: f64 = 4.0;

/// How many times the population's mean a client's count may settle at once.
const FIRST_STEP: f64 = 4.0;

/// Other clients that do at least half the floor at an endpoint, from which on that is how it is used.
const USUAL_HERE: u64 = 3;

/// Seconds to an answer below which the server has hardly worked.
const WORK: f64 = 0.05;

/// How many times its usual time an endpoint's answer counts at most: that the service is slow is nobody's flood.
const SLOW: f64 = 3.0;

/// Seconds that one answer counts at most.
const LONGEST: f64 = 10.0;

/// Of calls that are the same, and that the server had no time for (429) or was not there for (502, 503, 504), one in so many
/// counts: a program tries again, which will end with the failure.
const TRIES: u64 = 4;

/// Which part of the floor of a minute's calls makes it one of a burst.
const BURST: f64 = 3.0;

/// What a meter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Calls.
    Calls,
    /// Calls that are the same as the one before.
    Repeats,
    /// Calls that cost much.
    CostlyCalls,
    /// Seconds from requests to answers.
    ServerSeconds,
    /// Minutes with bursts of calls.
    BusyMinutes,
}

impl Quantity {
    /// What tests it.
    const fn test(self) -> Test {
        match self {
            Quantity::Calls => Test::Calls,
            Quantity::Repeats => Test::Repeats,
            Quantity::CostlyCalls => Test::CostlyCalls,
            Quantity::ServerSeconds => Test::ServerTime,
            Quantity::BusyMinutes => Test::BusyMinutes,
        }
    }
}

/// Where each meter is found. Calls and repeats are not counted by the day: a client that is steady, and new, would be
/// accused, and by the time that its past explains the count it would explain an attack's as well.
pub(super) const METERS: [(Quantity, Window); 11] = [
    (Quantity::Calls, Window::TenSeconds),
    (Quantity::Calls, Window::Minute),
    (Quantity::Calls, Window::TenMinutes),
    (Quantity::Calls, Window::Hour),
    (Quantity::Repeats, Window::Hour),
    (Quantity::CostlyCalls, Window::TenMinutes),
    (Quantity::CostlyCalls, Window::Hour),
    (Quantity::CostlyCalls, Window::Day),
    (Quantity::CostlyCalls, Window::Week),
    (Quantity::ServerSeconds, Window::Hour),
    (Quantity::BusyMinutes, Window::Day),
];

/// The first meter of each quantity, in the order of [`METERS`].
const FIRST: [usize; 6] = [0, 4, 5, 9, 10, 11];

/// The meter of the calls of a minute.
const MINUTE: usize = 1;

/// The bit of the meter of the calls of an hour, and those of all that not every client has.
const HOUR: u16 = 1 << 3;
/// See [`HOUR`].
const RARE: u16 = (1 << METERS.len()) - (1 << 4);

/// How long a sensor sees the clients of an estate for the first time.
const ACQUAINTED: std::time::Duration = std::time::Duration::from_secs(3_600);

/// Seconds of the shortest window in which what goes on in encrypted connections is counted.
const TOLD_WITHIN: u64 = 600;

/// Milliseconds, in which seconds are kept.
const MILLISECONDS: u64 = 1_000;

/// One count of one client in one window.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Meter {
    pub(super) ring: Ring,
    extreme: Extreme,
    step: Step,
}

/// All meters of a client.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Meters {
    pub(super) meters: [Meter; METERS.len()],
    last_target: u64,
    /// Calls in a row that were the same.
    run: u64,
    /// When the present burst ends.
    burst: Timestamp,
    /// The meters, a bit each, in whose population it has its place.
    placed: u16,
}

impl Meters {
    /// The calls of the minute that ends at `now`.
    pub(super) fn minute(&self, now: Timestamp) -> u64 {
        self.meters.get(MINUTE).map_or(0, |meter| {
            let mut ring = meter.ring; // a copy: to look at it must not roll it
            ring.sum(Window::Minute, now)
        })
    }

    /// Reads a word of each meter.
    #[inline]
    pub(super) fn warm(&self) -> u64 {
        self.meters.iter().take(4).fold(self.last_target, |sum, meter| sum ^ meter.ring.warm())
    }
}

/// What clients of a sort do at most in a day.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Population {
    pub(super) moments: [Moments; METERS.len()],
    /// Counts below which no test can be passed: a short cut that is renewed now and then.
    limits: [u64; METERS.len()],
    /// What they were worked out for: the moments, and the threshold.
    renewed: [(Moments, f64); METERS.len()],
}

impl Population {
    /// Rates as if exponential: nine in ten are below mean × ln 10. `highest` is what one client in ten exceeds.
    pub(super) fn new(weight: f64, rules: &[MeterRule], highest: impl Fn(&MeterRule) -> f64) -> Population {
        let mut moments = [Moments::default(); METERS.len()];
        for (moments, rule) in moments.iter_mut().zip(rules) {
            let mean = highest(rule) / std::f64::consts::LN_10;
            *moments = Moments::prior(weight, mean, mean + mean * mean);
        }
        Population { moments, limits: [0; METERS.len()], renewed: Default::default() }
    }

    /// Renews the counts below which the tests need not be made: where the population's tail is half the threshold. As
    /// the other half is to spare, a threshold that has moved by a hundredth is as good as the same.
    pub(super) fn renew(&mut self, threshold: f64) {
        for ((moments, limit), renewed) in self.moments.iter().zip(&mut self.limits).zip(&mut self.renewed) {
            if renewed.0 == *moments && (renewed.1 - threshold).abs() <= 0.01 * threshold {
                continue;
            }
            *renewed = (*moments, threshold);
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
}

/// Takes one call.
pub(super) fn observe(
    seen: &Observation<'_>,
    client: &mut Client,
    population: &mut Population,
    mut endpoint: Option<&mut Endpoint>,
    scales: &mut Scales<'_>,
) {
    if seen.encrypted == Some(false) {
        // A connection is counted once, and then what goes on in it.
        if seen.calls > 0 {
            count(Quantity::Calls, seen.calls, seen, client, population, None, scales);
        }
    } else if !seen.goes_on() {
        calls(seen, client, population, endpoint.as_deref_mut(), scales);
    }
    // Of what was lost neither times nor sizes are known; what is encrypted may be many calls.
    if !seen.good() || !seen.whole || seen.encrypted.is_some() {
        return;
    }
    // How long a stream goes on is no work of the server's, and how soon it began was told with its first record.
    let latency = seen.call.latency.filter(|_| !seen.goes_on()).unwrap_or_default();
    if latency >= WORK {
        let seconds = work(latency, endpoint.as_deref_mut());
        let amount = (seconds * MILLISECONDS as f64) as u64;
        count(Quantity::ServerSeconds, amount, seen, client, population, endpoint.as_deref_mut(), scales);
    }
    if seen.bytes() >= seen.rules.cost.bytes || latency >= seen.rules.cost.seconds {
        count(Quantity::CostlyCalls, 1, seen, client, population, endpoint, scales);
    }
}

/// Counts one call.
fn calls(
    seen: &Observation<'_>,
    client: &mut Client,
    population: &mut Population,
    endpoint: Option<&mut Endpoint>,
    scales: &mut Scales<'_>,
) {
    let meters = &mut client.meters;
    let repeated = seen.encrypted.is_none() && meters.last_target == seen.target_hash;
    meters.run = if repeated { meters.run + 1 } else { 0 };
    meters.last_target = seen.target_hash;

    let minute = count(Quantity::Calls, seen.calls, seen, client, population, None, scales);
    let people = client.people();
    let floor = seen.rules.meter.get(MINUTE).map_or(f64::INFINITY, |rule| rule.floor) / BURST;
    let usual = population.limits.get(MINUTE).copied().unwrap_or_default();
    if minute >= (floor as u64).max(usual / 2) * people && seen.time >= client.meters.burst {
        client.meters.burst = seen.time + std::time::Duration::from_secs(60);
        count(Quantity::BusyMinutes, 1, seen, client, population, None, scales);
    }
    let tries_again = matches!(seen.status, Some(429 | 502..=504));
    if repeated && (!tries_again || client.meters.run.is_multiple_of(TRIES)) {
        count(Quantity::Repeats, 1, seen, client, population, endpoint, scales);
    }
}

/// Seconds that an answer counts, which teach what is usual at the endpoint.
fn work(latency: f64, endpoint: Option<&mut Endpoint>) -> f64 {
    let Some(endpoint) = endpoint else { return latency.min(LONGEST) };
    let usual = endpoint.latencies.mean().exp();
    let known = endpoint.latencies.count() >= 8.0;
    let seconds = if known { latency.min(SLOW * usual) } else { latency };
    if endpoint.latencies.count() < 4_096.0 {
        endpoint.latencies.enter(seconds.ln());
    }
    seconds.min(LONGEST)
}

/// Adds to the meters of a quantity and tests them; gives the count of the second of them, which is the minute's of calls.
fn count(
    quantity: Quantity,
    amount: u64,
    seen: &Observation<'_>,
    client: &mut Client,
    population: &mut Population,
    endpoint: Option<&mut Endpoint>,
    scales: &mut Scales<'_>,
) -> u64 {
    let [from, to] = [quantity as usize, quantity as usize + 1].map(|place| FIRST.get(place).copied().unwrap_or(0));
    let suspect = client.suspect();
    let people = client.people();
    let Meters { meters, run, placed, .. } = &mut client.meters;
    let mut best: Option<Finding> = None;
    let (mut minute, mut most) = (0, 0.0_f64);
    let held = meters.iter_mut().zip(&mut population.moments);
    let fixed = METERS.iter().zip(&population.limits).zip(&seen.rules.meter);
    for (place, ((meter, moments), ((&(_, window), &limit), rule))) in held.zip(fixed).enumerate().take(to).skip(from) {
        // What is told once a minute did not come in the last ten seconds.
        let amount = match seen.encrypted {
            Some(first) if window.seconds() < TOLD_WITHIN => u64::from(first),
            _ => amount,
        };
        let mut count = meter.ring.add(window, seen.time, amount);
        if quantity == Quantity::ServerSeconds {
            count /= MILLISECONDS;
        }
        if window == Window::Minute {
            minute = count;
        }
        let least = || FIRST_STEP * moments.mean();
        if let Some((old, new)) = meter.extreme.note(window, seen.time, count as f64, least, suspect) {
            let known = *placed & (1 << place) != 0;
            *placed |= 1 << place;
            teach(moments, known.then_some(old / people as f64), new / people as f64);
        }
        if endpoint.is_some() {
            most = most.max(count as f64 / (rule.floor * people as f64));
        }
        if count <= limit.max(rule.floor as u64) * people || !meter.step.due(count) {
            continue;
        }
        let (nats, usual) = improbability(count, people, meter, moments);
        if nats > best.map_or(0.0, |finding| finding.nats) {
            let technique = match quantity {
                Quantity::Calls if *run * 10 > count * 9 => Technique::Loop,
                Quantity::Calls if meter.ring.rises(window, seen.time) => Technique::Ramp,
                Quantity::Calls => Technique::Volumetric,
                Quantity::Repeats => Technique::Loop,
                Quantity::CostlyCalls | Quantity::ServerSeconds => Technique::Expensive,
                Quantity::BusyMinutes => Technique::Pulse,
            };
            let finding = Finding::new(quantity.test(), technique, nats);
            best = Some(finding.compared(count as f64, usual).within(window.seconds()));
        }
    }
    // Who is known by the calls of an hour, and has nothing of what is rare, has its place there too.
    if *placed & HOUR != 0 && *placed & RARE != RARE {
        for (place, moments) in population.moments.iter_mut().enumerate() {
            if *placed & (1 << place) == 0 {
                *placed |= 1 << place;
                moments.enter(0.0);
            }
        }
    }
    let usual_here = endpoint.is_some_and(|endpoint| {
        if most >= 0.5 && !suspect {
            endpoint.heavy_users.insert(seen.client_hash);
        }
        best.is_some() && endpoint.heavy_users.count() > USUAL_HERE
    });
    if let Some(finding) = best.filter(|_| !usual_here)
        && scales.weigh(finding)
    {
        client.sight(Family::Flood, Sighting::of(seen.call));
    }
    minute
}

/// How improbable a count is for the population and for the client's own past, in nats, and what would be usual.
fn improbability(count: u64, people: u64, meter: &Meter, moments: &Moments) -> (f64, f64) {
    let crowd = tail::count(count / people, moments.mean(), moments.variance());
    let expected = meter.extreme.settled().max(moments.mean());
    let usual = expected * people as f64;
    let spread = usual + usual * usual / OWN_SHAPE;
    let own = tail::count(count, usual, spread);
    (crowd.min(own), usual)
}

/// What the counts of a client come to at `now`, test by test and window by window, as far as they may be worth something.
/// Only a copy of a meter is rolled.
pub(super) fn standing<'a>(
    client: &'a Client,
    population: &'a Population,
    rules: &'a [MeterRule],
    now: Timestamp,
) -> impl Iterator<Item = (Test, f64)> + 'a {
    let people = client.people();
    let fixed = METERS.iter().zip(&population.limits).zip(rules);
    let held = client.meters.meters.iter().zip(&population.moments).zip(fixed);
    held.filter_map(move |((meter, moments), ((&(quantity, window), &limit), rule))| {
        let mut ring = meter.ring;
        let mut count = ring.sum(window, now);
        if quantity == Quantity::ServerSeconds {
            count /= MILLISECONDS;
        }
        let telling = count > limit.max(rule.floor as u64) * people;
        telling.then(|| (quantity.test(), improbability(count, people, meter, moments).0))
    })
}

/// A client's place in the population goes from `old`, if it has one, to `new`, cut off where one client would weigh too
/// much.
fn teach(moments: &mut Moments, old: Option<f64>, new: f64) {
    let most = 5.0 * moments.mean() + 10.0;
    match old {
        Some(old) => moments.replace(old.min(most), new.min(most)),
        None => moments.enter(new.min(most)),
    }
}

/// New callers that keep to one or two endpoints, at three times the rate that the endpoint is used to: a crowd that
/// came for this only. A flash sale brings people who look around. Who was there when the sensor `began`, or soon after, is no
/// newcomer: to a sensor that knows nobody everybody is new, and every rate higher than ever.
pub(super) fn crowd(
    seen: &Observation<'_>,
    client: &Client,
    began: Option<Timestamp>,
    endpoint: &mut Endpoint,
    scales: &mut Scales<'_>,
) {
    let count = endpoint.rate.add(Window::TenMinutes, seen.time, 1);
    let usual = endpoint.rate_extreme.settled();
    endpoint.rate_extreme.note(Window::TenMinutes, seen.time, count as f64, || 30.0, endpoint.accused);
    // The sixth call tells that a client came for these one or two endpoints.
    if client.calls != 6 || client.roams || seen.time.since(client.first).as_secs() > 600 {
        return;
    }
    if began.is_none_or(|began| client.first.since(began) < ACQUAINTED) {
        return;
    }
    let single = endpoint.single.add(Window::TenMinutes, seen.time, 1);
    scales.tried(Test::Crowd, 1.0);
    if single >= 8 && count as f64 >= 3.0 * usual {
        let finding = Finding::new(Test::Crowd, Technique::Distributed, tail::count(single, 1.0, 2.0));
        scales.weigh(finding.compared(single as f64, 1.0).within(600).of_endpoint());
    }
}
