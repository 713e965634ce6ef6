//! Who goes on calling before the moment that a server named with `Retry-After` or `RateLimit`, or hammers on where it
//! named none.
//!
//! Who is told to wait is the client with its credential: neither others behind the same address know of it, nor others with
//! the same key. What is answered elsewhere in the meantime was not meant: it counts to go on at the same endpoint, and to be
//! refused at any.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::finding::Subject;
use super::super::kind::Kind;
use super::super::{Found, Seen};
use crate::endpoint::HashKey;
use crate::model::Table;
use crate::stats::Counter;
use crate::time::Timestamp;

/// Calls within one wait that are no accident.
const IGNORED: u32 = 3;

/// Refusals one after another, less than [`PAUSE`] apart, that are no accident where the server named no moment: of calls that
/// began [`GRACE`] after the first of them.
const HAMMERED: u32 = 20;

/// Who waits for as long has heard what it was told.
const PAUSE: Duration = Duration::from_secs(1);

/// Calls that were under way when the answer came, or that came right behind it, did not know of it.
const GRACE: Duration = Duration::from_secs(1);

/// The longest wait that counts.
const LONGEST: u64 = 86_400;

/// A client that was told to wait.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in super::super) struct Wait {
    from: Timestamp,
    until: Timestamp,
    ignored: u32,
    /// The endpoint that it was refused at.
    #[serde(default)]
    endpoint: u64,
    /// Refusals without a pause, and when the first and the last of them came.
    #[serde(default)]
    hammered: u32,
    #[serde(default)]
    first: Timestamp,
    #[serde(default)]
    last: Timestamp,
}

impl Wait {
    /// Notes what a call came to that `began` and ended at these moments; gives whether it hammers.
    fn hammers(&mut self, began: Timestamp, end: Timestamp, limited: bool, here: bool) -> bool {
        let pauses = began.since(self.last) >= PAUSE;
        if !limited {
            // What is answered elsewhere is no pause.
            if here || pauses {
                self.hammered = 0;
            }
            return false;
        }
        if pauses || self.hammered == 0 {
            (self.hammered, self.first) = (1, end);
        } else if began > self.first + GRACE {
            self.hammered = self.hammered.saturating_add(1);
        }
        self.last = self.last.max(end);
        self.hammered >= HAMMERED
    }
}

/// Clients that were told to wait, with their credentials, by service.
pub(in super::super) struct Waiting {
    known: Table<u64, Wait>,
    key: HashKey,
}

impl Waiting {
    pub(in super::super) fn new(limit: usize, key: HashKey) -> Waiting {
        Waiting { known: Table::new(limit), key }
    }

    /// All of them, to be kept.
    pub(in super::super) fn memory(&self) -> Table<u64, Wait> {
        self.known.clone()
    }

    /// Goes on from what was kept, up to the limit; gives how many clients are forgotten.
    pub(in super::super) fn restore(&mut self, mut known: Table<u64, Wait>) -> usize {
        let forgotten = known.limit(self.known.capacity());
        self.known = known;
        forgotten
    }

    /// Takes a call.
    pub(in super::super) fn call(&mut self, seen: &Seen<'_>, found: &mut Found<'_>) {
        let refused = seen.call.completeness.response && matches!(seen.call.outcome(), Some(429 | 503));
        let told = seen.call.response_fields.as_ref().filter(|_| seen.call.completeness.response).and_then(|fields| {
            let limit = fields.rate_limit.unwrap_or_default();
            let exhausted = if limit.remaining == Some(0) || refused { limit.reset } else { None };
            fields.retry_after.filter(|_| refused).or(exhausted)
        });
        let limited = refused && seen.call.outcome() == Some(429);
        if told.is_none() && !limited && self.known.is_empty() {
            return;
        }
        let service = self.key.hash(&[seen.place.host.as_bytes()]);
        let who =
            super::credential(seen).map_or(seen.judged.client_hash, |it| self.key.pair(seen.judged.client_hash, it));
        let hash = self.key.pair(who, service);
        let (begun, end) = (seen.call.start_time(), seen.call.end_time);
        if let Some(wait) = self.known.get_mut(&hash) {
            let goes_on = begun > wait.from + GRACE && begun < wait.until;
            if goes_on && (refused || wait.endpoint == seen.endpoint.0) {
                wait.ignored = wait.ignored.saturating_add(1);
            }
            let hammers = wait.hammers(begun, end, limited, wait.endpoint == seen.endpoint.0);
            if (goes_on && wait.ignored >= IGNORED) || hammers {
                tell(hash, seen, found);
            }
            if begun >= wait.until && !limited && wait.hammered == 0 {
                self.known.remove(&hash);
            }
        }
        let until = told.filter(|seconds| *seconds > 0).map(|seconds| end + Duration::from_secs(seconds.min(LONGEST)));
        if until.is_none() && !limited {
            return;
        }
        match (self.known.get_mut(&hash), until) {
            // What it did before it was told again still counts.
            (Some(wait), Some(until)) if begun < wait.until => wait.until = wait.until.max(until),
            (Some(wait), Some(until)) => {
                (wait.from, wait.until, wait.ignored, wait.endpoint) = (end, until, 0, seen.endpoint.0);
            }
            (Some(_), None) => {}
            (None, until) => {
                let (until, hammered) = (until.unwrap_or(end), u32::from(limited));
                let wait =
                    Wait { from: end, until, ignored: 0, endpoint: seen.endpoint.0, hammered, first: end, last: end };
                if self.known.insert(hash, wait, |wait| wait.until).is_some() {
                    found.counters.count(Counter::PracticeForgotten);
                }
            }
        }
    }
}

fn tell(hash: u64, seen: &Seen<'_>, found: &mut Found<'_>) {
    let subject =
        || Subject { service: seen.service(), endpoint: None, about: Some(format!("client {}", seen.judged.client)) };
    let proof = seen.proof(Kind::RetryIgnored.severity(), &[]);
    found.note(Kind::RetryIgnored, hash, subject, &proof);
}
