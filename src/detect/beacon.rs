//! Leak, by the clock: who comes back to a server at regular intervals, in connections that keep what is in them.
//!
//! Malware that waits for orders, and what carries data out bit by bit, comes as rarely as it likes, but it comes like a clock: no rate
//! shows it, its regularity does. One client's connections to one server, with one fingerprint of TLS, are a series; those
//! that begin within [`APART`] of the one before are one visit. Each visit is a trial of a sequential test: it is *regular* if it comes, after
//! the one before, within an eighth of the median of the last eight intervals, is over before half of that, is small and as large as
//! the others were. An exponential distribution has at most 13 percent of its intervals there, a logarithmic normal one with
//! a deviation of a half 23; the prior's `regular_ceiling` is what an honest client may have. Intervals that are much longer say nothing: the
//! client slept, or a visit was not seen.
//!
//! That a client is regular is no crime: health checks, pollers and monitoring are. So the question is who began to be,
//! where others are not.
//!
//! * What a client has done since it was first seen is its habit, and so it stays, outages included: the run must have begun an hour and
//!   [`WANDERS`] visits at no regular time after the client was first seen. What was there before the capture cannot be told
//!   from a program's purpose.
//! * A page that is left open comes back by the clock as well. It does so in a program that others use at this server too, by its fingerprint; such
//!   visits must go on for longer than any working day ([`OVERNIGHT`]).
//! * At least [`PEERS`] other clients must have been at the same server often enough to show whether they are regular. Of a server that only one
//!   client goes to nothing can be said.
//! * Evidence is divided by one more than the others that are regular there, and is never more than [`CEILING`] times what is asked
//!   for: where two others are, a third is no news.
//!
//! Jitter of up to an eighth to both sides is found (a sleep that is shortened by up to a fifth, say), more is not. Nor is what a person's own
//! connections to the same server, by the same program, lie between; it is found once the person rests.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::budget::{Scales, Test};
use super::finding::Finding;
use super::observation::Observation;
use super::settings::Settings;
use super::state::Client;
use crate::alert::{Family, Sighting, Technique};
use crate::model::{Distinct, Table, Walk};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// Connections that are less apart are of one visit: browsers open several, and click by click more.
const APART: Duration = Duration::from_secs(8);

/// The last visits, by which the next is foretold.
const REMEMBERED: usize = 8;

/// Intervals that are known before the next is foretold.
const FORETELL: usize = 3;

/// How far from what was foretold an interval may be, as a part of it.
const TOLERANCE: f64 = 1.0 / 8.0;

/// Times what was foretold from which on an interval says nothing.
const PAUSE: f64 = 1.75;

/// How far from the others a visit's size may be, as a part of them, and in any case.
const SIZE_TOLERANCE: (f64, f64) = (0.25, 256.0);

/// Bytes both ways beyond which a visit is not small.
const SMALL: f64 = 65_536.0;

/// How often an attacker's visit is regular.
const HOSTILE: f64 = 0.9;

/// What evidence there may be at most, in multiples of what is asked for.
const CEILING: f64 = 2.5;

/// Part of what is asked for from which on a client is regular at a server.
const REGULAR: f64 = 0.75;

/// Intervals after which a client has shown whether it is regular.
const SHOWN: u32 = 12;

/// Other clients that have shown it.
const PEERS: u64 = 8;

/// Regular visits that are worth an alert.
const VISITS: u32 = 24;

/// The time that they take at least.
const LASTING: Duration = Duration::from_secs(2 * 3_600);

/// The same of a program that others use there too: who leaves a page open closes it in the evening.
const OVERNIGHT: Duration = Duration::from_secs(16 * 3_600);

/// Programs of which it is known how many clients use them at one server.
const PROGRAMS: usize = 16;

/// Clients that make a program one that others use there too.
const USERS: usize = 3;

/// Visits at no regular time before a client is known for something else.
const WANDERS: u32 = 24;

/// The time before which what a client does is what it always did.
const ACQUAINTED: Duration = Duration::from_secs(3_600);

/// One client's visits to one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Series {
    /// When the last visit began, and its latest connection.
    begin: Timestamp,
    latest: Timestamp,
    /// When the last connection was known to be open.
    end: Timestamp,
    /// Seconds between the last visits.
    intervals: [f32; REMEMBERED],
    /// Bytes of the last visits.
    sizes: [f32; REMEMBERED],
    /// Intervals so far.
    count: u32,
    walk: Walk,
    run: Run,
    verdict: Option<Verdict>,
}

/// Visits since there was last no evidence.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Run {
    since: Timestamp,
    regular: u32,
    irregular: u32,
    /// What the client was known for when it began.
    wanders: u32,
}

/// What was made of a series once it was regular.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Verdict {
    /// It has been so since the client was first seen.
    Habit,
    /// The client was known for something else.
    Begun,
}

impl Series {
    fn begun(begin: Timestamp, end: Timestamp, size: f32) -> Series {
        let mut sizes = [0.0; REMEMBERED];
        sizes[0] = size;
        Series {
            begin,
            latest: begin,
            end,
            intervals: [0.0; REMEMBERED],
            sizes,
            count: 0,
            walk: Walk::default(),
            run: Run { since: begin, ..Run::default() },
            verdict: None,
        }
    }

    /// What it is worth to remember it: a verdict first, since it would be another tomorrow, then evidence, then the latest
    /// use.
    fn worth(&self) -> (Option<Verdict>, u32, Timestamp) {
        (self.verdict, self.walk.nats() as u32, self.latest)
    }

    /// Interval and size of the next visit, by the last ones; none before enough are known.
    fn foretold(&self) -> Option<(f64, f64)> {
        let known = (self.count as usize).min(REMEMBERED);
        let of = |values: &[f32; REMEMBERED]| values.get(..known).map(median);
        if known < FORETELL { None } else { Some((of(&self.intervals)?, of(&self.sizes)?)) }
    }

    /// Remembers a visit `seconds` after the one before.
    fn remember(&mut self, seconds: f64, size: f32) {
        // The remainder lies within.
        let place = self.count as usize % REMEMBERED;
        self.intervals[place] = seconds as f32;
        self.sizes[(place + 1) % REMEMBERED] = size;
        self.count = self.count.saturating_add(1);
    }
}

/// The middle of a few values, the lower one of two.
fn median(values: &[f32]) -> f64 {
    let mut sorted = [0.0f32; REMEMBERED];
    let known = values.len().min(REMEMBERED);
    let (Some(sorted), Some(values)) = (sorted.get_mut(..known), values.get(..known)) else { return 0.0 };
    sorted.copy_from_slice(values);
    sorted.sort_by(f32::total_cmp);
    sorted.get(known.saturating_sub(1) / 2).copied().map_or(0.0, f64::from)
}

/// Who goes to one server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Visited {
    last: Timestamp,
    /// Clients that went there often enough to show whether they are regular.
    shown: Distinct,
    /// Those of them that were, at some time.
    regular: Distinct,
    /// The first [`PROGRAMS`] that came often enough for their visits to be foretold.
    programs: Vec<Program>,
}

/// A fingerprint of TLS, and the first clients that had it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Program {
    hash: u64,
    users: [u64; USERS],
    count: u8,
}

impl Visited {
    /// Notes who uses a program; true once it is one that others use too. Of those beyond the first nothing is known.
    fn uses(&mut self, hash: u64, client: u64) -> bool {
        let place = match self.programs.iter().position(|program| program.hash == hash) {
            Some(place) => place,
            None if self.programs.len() < PROGRAMS => {
                self.programs.push(Program { hash, users: [0; USERS], count: 0 });
                self.programs.len() - 1
            }
            None => return false,
        };
        let Some(program) = self.programs.get_mut(place) else { return false };
        let count = usize::from(program.count);
        let known = program.users.iter().take(count).any(|user| *user == client);
        if let Some(free) = program.users.get_mut(count).filter(|_| !known) {
            *free = client;
            program.count += 1;
        }
        usize::from(program.count) == USERS
    }
}

/// All visits in what is encrypted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Beacons {
    series: Table<u64, Series>,
    servers: Table<u64, Visited>,
}

impl Beacons {
    pub(super) fn new(settings: &Settings) -> Beacons {
        Beacons { series: Table::new(settings.beacons), servers: Table::new(settings.beacons / 16) }
    }

    /// Servers that gave way to others; series are counted as they do.
    pub(super) fn evicted(&self) -> u64 {
        self.servers.evicted()
    }

    pub(super) fn limit(&mut self, settings: &Settings) {
        self.series.limit(settings.beacons);
        self.servers.limit(settings.beacons / 16);
    }
}

/// Takes one record of a connection in TLS that keeps what is in it; `first` if it is the first of its connection.
pub(super) fn observe(
    seen: &Observation<'_>,
    first: bool,
    client: &mut Client,
    beacons: &mut Beacons,
    counters: &mut Counters,
    scales: &mut Scales<'_>,
) {
    let call = seen.call;
    let (start, end) = (call.request_time.unwrap_or(call.end_time), call.end_time);
    let program = call.tls.as_ref().and_then(|tls| tls.ja4.as_deref()).unwrap_or_default();
    let program = seen.key.hash(&[program.as_bytes()]);
    let key = seen.key.pair(seen.key.pair(seen.client_hash, seen.place_hash), program);
    let bytes = call.request.wire_bytes.saturating_add(call.response.wire_bytes);
    let size = bytes as f32;
    let Some(series) = beacons.series.get_mut(&key) else {
        if first && beacons.series.insert(key, Series::begun(start, end, size), Series::worth).is_some() {
            counters.count(Counter::SeriesEvicted);
        }
        return;
    };
    let over = series.end;
    series.end = series.end.max(end);
    if !first || start < series.begin {
        return;
    }
    let apart = start.since(series.latest);
    series.latest = series.latest.max(start);
    if apart < APART {
        return;
    }
    let before = std::mem::replace(&mut series.begin, start);
    let interval = start.since(before).as_secs_f64();
    let foretold = series.foretold();
    series.remember(interval, size);
    let Some((period, usual)) = foretold else { return };
    let Some(visited) = beacons.servers.entry(seen.place_hash, Visited::default, |held| held.last) else { return };
    visited.last = seen.time;
    let common = visited.uses(program, seen.client_hash);
    if series.count >= SHOWN {
        visited.shown.insert(seen.client_hash);
    }
    let idle = series.walk.nats() == 0.0;
    if interval > PAUSE * period {
        client.wanders = client.wanders.saturating_add(u32::from(idle));
        return;
    }

    let on_time = (interval - period).abs() <= TOLERANCE * period;
    let (part, least) = SIZE_TOLERANCE;
    let alike = (f64::from(size) - usual).abs() <= (part * usual).max(least) && f64::from(size) <= SMALL;
    let regular = on_time && alike && start.since(over).as_secs_f64() >= interval / 2.0;
    let threshold = scales.budget.threshold(Test::Beacons);
    if idle {
        series.run = Run { since: before, wanders: client.wanders, ..Run::default() };
        // What it does while it is under no suspicion is what it is known for.
        client.wanders = client.wanders.saturating_add(u32::from(!regular));
    }
    scales.tried(Test::Beacons, 1.0);
    let honest = seen.rules.prior.regular_ceiling.min(HOSTILE);
    // More than may count is no better than it: no step is made then.
    if !regular || series.walk.nats() < CEILING * threshold {
        series.walk.advance(regular, 1.0, honest, HOSTILE);
    }
    let count = if regular { &mut series.run.regular } else { &mut series.run.irregular };
    *count = count.saturating_add(1);
    let nats = series.walk.nats().min(CEILING * threshold);
    if nats < REGULAR * threshold {
        return;
    }
    visited.regular.insert(seen.client_hash);

    let lasted = start.since(series.run.since);
    if series.run.regular < VISITS || lasted < if common { OVERNIGHT } else { LASTING } {
        return;
    }
    let known = series.run.wanders >= WANDERS && series.run.since.since(client.first) >= ACQUAINTED;
    let verdict = *series.verdict.get_or_insert(if known { Verdict::Begun } else { Verdict::Habit });
    // The client itself is in both.
    let peers = visited.shown.count().saturating_sub(1);
    let others = visited.regular.count().saturating_sub(1);
    if verdict == Verdict::Habit || !regular || peers < PEERS {
        return;
    }
    let run = series.run;
    let ordinary = honest * f64::from(run.regular.saturating_add(run.irregular));
    let finding = Finding::new(Test::Beacons, Technique::Beacon, nats / (1 + others) as f64);
    if scales.weigh(finding.compared(f64::from(run.regular), ordinary).within(lasted.as_secs())) {
        client.sight(Family::Leak, Sighting::of(call));
    }
}
