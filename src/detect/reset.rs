//! Rapid resets (CVE-2023-44487): requests in HTTP/2 that are given up as soon as they are made, which costs the client a
//! frame and the server its work.
//!
//! Counted are calls of connections on which the client resets most of what it asks for ([`Anomaly::RapidReset`]), and those of a client
//! that gives up most of what it asks for in a minute, on however many connections, if they were given
//! up within a tenth of a second: clients whose time-outs come while a server is slow give up later than that, and so do
//! people who go on to another page.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::budget::{Scales, Test};
use super::finding::Finding;
use super::observation::Observation;
use super::state::Client;
use crate::alert::{Family, Sighting, Technique};
use crate::call::{Anomaly, ResetBy};
use crate::model::{Extreme, Ring, Step, Table, Window, tail};
use crate::time::Timestamp;

/// The window in which they are counted.
const WINDOW: Window = Window::Minute;

/// The time within which a request is given up at once.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Requests given up in a minute below which nobody would want to read of them.
const FLOOR: u64 = 200;

/// Shape of the gamma distribution of a client's count around its own highest.
const OWN_SHAPE: f64 = 4.0;

/// What one client gave up.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Resets {
    ring: Ring,
    /// All calls in HTTP/2 since the first that it gave up.
    calls: Ring,
    extreme: Extreme,
    step: Step,
    last: Timestamp,
}

/// Takes one call.
pub(super) fn observe(
    seen: &Observation<'_>,
    client: &mut Client,
    table: &mut Table<IpAddr, Resets>,
    scales: &mut Scales<'_>,
) {
    let Some(http2) = &seen.call.http2 else { return };
    let at_once = seen.call.request_time.is_some_and(|time| seen.time.since(time) < AT_ONCE);
    if http2.reset_by != Some(ResetBy::Client) || !at_once {
        if !seen.goes_on()
            && let Some(held) = table.get_mut(&seen.client)
        {
            held.calls.add(WINDOW, seen.time, 1);
        }
        return;
    }
    let Some(held) = table.entry(seen.client, Resets::default, |held| held.last) else { return };
    held.last = seen.time;
    let usual = seen.rules.prior.resets;
    let calls = held.calls.add(WINDOW, seen.time, 1);
    let count = held.ring.add(WINDOW, seen.time, 1);
    if !seen.call.anomalies.contains(Anomaly::RapidReset) && count * 2 <= calls {
        return;
    }
    held.extreme.note(WINDOW, seen.time, count as f64, || usual, client.suspect());
    if count < FLOOR || !held.step.due(count) {
        return;
    }
    let people = client.people();
    let ordinary = held.extreme.settled().max(usual * people as f64);
    let crowd = tail::count(count / people, usual, usual + usual * usual);
    let own = tail::count(count, ordinary, ordinary + ordinary * ordinary / OWN_SHAPE);
    let finding = Finding::new(Test::Resets, Technique::Reset, crowd.min(own));
    if scales.weigh(finding.compared(count as f64, ordinary).within(WINDOW.seconds())) {
        client.sight(Family::Flood, Sighting::of(seen.call));
    }
}
