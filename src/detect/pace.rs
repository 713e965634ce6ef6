//! Flood, slow: a program that calls several times faster than it always did.
//!
//! A program has a pace of its own, and keeps it for days. Its clock are its own calls: the time that sixteen of them
//! take, in logarithms, against the mean and the spread of all such times before. That holds at any pace, and who is
//! irregular by nature has a wide spread and is not accused. Blocks that are too fast add up as in a CUSUM; they teach
//! nothing meanwhile.

use serde::{Deserialize, Serialize};

use super::budget::{Scales, Test};
use super::finding::Finding;
use super::observation::Observation;
use super::principal::Principal;
use crate::alert::{Family, Sighting, Technique};
use crate::model::{Moments, tail};
use crate::time::Timestamp;

/// Calls of a block.
const BLOCK: u8 = 16;

/// Blocks before there is a pace to compare with.
const KNOWN: f64 = 8.0;

/// Least standard deviation of the logarithm of a block's time: sixteen exponential gaps have a quarter.
const LEAST_DEVIATION: f64 = 0.35;

/// Blocks in a row that have to be too fast.
const SUSTAINED: f64 = 4.0;

/// Seconds that they take at least: a page that loads a hundred things at once is no pace.
const LASTING: u64 = 60;

/// How many times faster is worth an alert.
const FASTER: f64 = 2.5;

/// The pace of one principal.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Pace {
    begin: Timestamp,
    calls: u8,
    /// Logarithms of seconds a block.
    blocks: Moments,
    nats: f64,
    /// When the blocks began that are too fast.
    since: Timestamp,
}

/// Takes one call of a program.
pub(super) fn observe(
    seen: &Observation<'_>,
    client: &mut super::state::Client,
    principal: &mut Principal,
    scales: &mut Scales<'_>,
) {
    let threshold = scales.budget.threshold(Test::Pace);
    // Retries while the server fails are the server's doing.
    if !principal.machine || seen.status.is_none_or(|status| status >= 500 || status == 429) {
        return;
    }
    let pace = &mut principal.pace;
    if pace.calls == 0 {
        pace.begin = seen.time;
    }
    pace.calls += 1;
    if pace.calls <= BLOCK {
        return;
    }
    let begin = pace.begin;
    let seconds = seen.time.since(begin).as_secs_f64().max(1e-3);
    pace.calls = 1;
    pace.begin = seen.time;
    let value = seconds.ln();
    let (mean, deviation) = (pace.blocks.mean(), pace.blocks.variance().sqrt().max(LEAST_DEVIATION));
    let known = pace.blocks.count() >= KNOWN;
    let faster = (mean - value).exp();
    // Of few blocks the spread is not known well.
    let deviation = deviation * (1.0 + 4.0 / pace.blocks.count().max(1.0));
    let nats = if known && faster >= FASTER { tail::normal(-value, -mean, deviation) } else { 0.0 };
    if nats > 1.0 {
        if pace.nats == 0.0 {
            pace.since = begin;
        }
        // A burst is no pace: it takes several blocks in a row.
        pace.nats += (nats - 1.0).min(threshold / SUSTAINED);
    } else {
        pace.nats = 0.0;
        pace.blocks.enter(value);
    }
    let lasting = seen.time.since(pace.since).as_secs() >= LASTING;
    if !lasting || !scales.wants(Test::Pace, 1.001 * pace.nats) {
        return;
    }
    // Four blocks at the most that one may count add up to the threshold but for rounding.
    let finding = Finding::new(Test::Pace, Technique::Ramp, 1.001 * pace.nats);
    let usual = f64::from(BLOCK) * seconds / mean.exp();
    if scales.weigh(finding.compared(f64::from(BLOCK), usual).within(seconds.ceil() as u64)) {
        client.sight(Family::Flood, Sighting::of(seen.call));
    }
}
