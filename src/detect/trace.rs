//! What moved the tests of one client, for who has to decide whether to believe an alert.

use std::net::IpAddr;

use serde::Serialize;

use super::budget::Test;
use super::finding::Finding;
use crate::alert::{Sighting, Technique};
use crate::time::Timestamp;

/// Calls that a test names as those that moved it most.
const MOVES: usize = 5;

/// Points that a curve has at most; beyond, every other one is dropped.
const POINTS: usize = 4_096;

/// Curves that are held at most, those of the strongest evidence.
const CURVES: usize = 64;

/// The evidence of one client over time. Worst-case memory about 6 MiB.
#[derive(Clone, Debug, Serialize)]
pub struct Trace {
    /// Whose it is.
    pub client: IpAddr,
    /// Calls of the client.
    pub calls: u64,
    /// Of its first and its last call.
    pub span: Option<(Timestamp, Timestamp)>,
    /// A curve for each test, and for each endpoint where the test is about one.
    pub curves: Vec<Curve>,
    #[serde(skip)]
    current: Option<(Sighting, String)>,
}

/// How the evidence of one test went.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// The test.
    pub test: Test,
    /// What it measures.
    pub measure: &'static str,
    /// The endpoint, where the test is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Evidence in decades, when it was highest.
    pub highest_decades: f64,
    /// What it had to reach, at last.
    pub threshold_decades: f64,
    /// When it was reached for the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<Timestamp>,
    /// The technique that it would have been called.
    pub kind: Technique,
    /// What was measured when the evidence was highest, what would have been ordinary, and the window in seconds.
    pub observed: f64,
    /// See `observed`.
    pub expected: f64,
    /// See `observed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
    /// Times, and evidence in decades from then on.
    pub points: Vec<(Timestamp, f64)>,
    /// The calls that added most until the test was passed, in the order in which they came.
    pub moves: Vec<Move>,
    #[serde(skip)]
    stride: u32,
    #[serde(skip)]
    skipped: u32,
    #[serde(skip)]
    last: f64,
}

/// A call that moved a test.
#[derive(Clone, Debug, Serialize)]
pub struct Move {
    /// Evidence that it added, in decades.
    pub added_decades: f64,
    /// Evidence after it.
    pub decades: f64,
    /// The call.
    pub call: Sighting,
}

impl Trace {
    pub(super) fn new(client: IpAddr) -> Trace {
        Trace { client, calls: 0, span: None, curves: Vec::new(), current: None }
    }

    /// A call of the client begins to be tested.
    pub(super) fn begin(&mut self, call: Sighting, endpoint: String) {
        self.calls += 1;
        let first = self.span.map_or(call.time, |(first, _)| first);
        self.span = Some((first, call.time));
        self.current = Some((call, endpoint));
    }

    /// A connection of the client begins to be tested.
    pub(super) fn begin_connection(&mut self, connection: Sighting) {
        let first = self.span.map_or(connection.time, |(first, _)| first);
        self.span = Some((first, connection.time));
        self.current = Some((connection, String::new()));
    }

    /// What a test came to after that call.
    pub(super) fn note(&mut self, time: Timestamp, finding: &Finding) {
        let Some((call, endpoint)) = &self.current else { return };
        let about = matches!(
            finding.test,
            Test::Objects | Test::ObjectDenials | Test::ObjectAbsences | Test::Oversized | Test::Secrets
        );
        let endpoint = about.then(|| endpoint.clone());
        let decades = finding.nats / std::f64::consts::LN_10;
        let place = match self.curves.iter().position(|held| held.test == finding.test && held.endpoint == endpoint) {
            Some(place) => place,
            None => {
                if finding.nats <= 0.0 {
                    return;
                }
                if self.curves.len() >= CURVES {
                    let least = |one: &Curve, other: &Curve| one.highest_decades.total_cmp(&other.highest_decades);
                    let least = self.curves.iter().enumerate().min_by(|one, other| least(one.1, other.1));
                    if let Some((least, _)) = least {
                        self.curves.remove(least);
                    }
                }
                self.curves.push(Curve::new(finding, endpoint));
                self.curves.len() - 1
            }
        };
        if let Some(curve) = self.curves.get_mut(place) {
            curve.note(time, decades, finding, call);
        }
    }
}

impl Curve {
    /// One for tests.
    #[cfg(test)]
    pub(crate) fn of_points(test: Test, kind: Technique, threshold: f64, points: Vec<(Timestamp, f64)>) -> Curve {
        let highest = points.iter().map(|(_, decades)| *decades).fold(0.0, f64::max);
        let curve = Curve::new(&Finding::new(test, kind, highest), None);
        Curve { highest_decades: highest, threshold_decades: threshold, points, ..curve }
    }

    fn new(finding: &Finding, endpoint: Option<String>) -> Curve {
        Curve {
            test: finding.test,
            measure: finding.test.measure(),
            endpoint,
            highest_decades: 0.0,
            threshold_decades: 0.0,
            passed: None,
            kind: finding.technique,
            observed: 0.0,
            expected: 0.0,
            window: None,
            points: Vec::new(),
            moves: Vec::new(),
            stride: 1,
            skipped: 0,
            last: 0.0,
        }
    }

    fn note(&mut self, time: Timestamp, decades: f64, finding: &Finding, call: &Sighting) {
        self.threshold_decades = finding.threshold.min(1e6) / std::f64::consts::LN_10;
        let before = self.passed.is_none();
        if finding.nats >= finding.threshold {
            self.passed.get_or_insert(time);
        }
        if decades > self.highest_decades {
            (self.highest_decades, self.kind) = (decades, finding.technique);
            (self.observed, self.expected, self.window) = (finding.observed, finding.expected, finding.window);
        }
        let added = decades - std::mem::replace(&mut self.last, decades);
        // What it took to pass is what has to be believed; what came later adds nothing to that.
        if added > 0.0 && before {
            self.moves.push(Move { added_decades: added, decades, call: call.clone() });
            if self.moves.len() > MOVES {
                // The first of the least goes, so that of equal calls the latest stay beside the first.
                let weight = |one: &Move, other: &Move| one.added_decades.total_cmp(&other.added_decades);
                let least = self.moves.iter().enumerate().skip(1).min_by(|one, other| weight(one.1, other.1));
                if let Some((least, _)) = least {
                    self.moves.remove(least);
                }
            }
        }
        self.skipped += 1;
        if self.skipped < self.stride {
            return;
        }
        self.skipped = 0;
        self.points.push((time, decades));
        if self.points.len() >= POINTS {
            let mut place = 0;
            self.points.retain(|_| {
                place += 1;
                place % 2 == 0
            });
            self.stride = self.stride.saturating_mul(2);
        }
    }
}
