//! Who goes on calling before the moment that a server named with `Retry-After` or `RateLimit`, or hammers on where it
//! named none.
//!
//! Who is told to wait is the credential, else the client: others behind the same address know nothing of it. What is answered
//! elsewhere in the meantime was not meant: it counts to go on at the same endpoint, and to be refused at any.

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

/// Refusals one after another, less than [`PAUSE`] apart, that are no accident where the server named no moment.
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
    /// Refusals without a pause, and when the last of them came.
    #[serde(default)]
    hammered: u32,
    #[serde(default)]
    last: Timestamp,
}

/// Clients that were told to wait, by credential or client, and service.
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
        let hash = self.key.pair(super::credential(seen).unwrap_or(seen.judged.client_hash), service);
        let (begun, end) = (seen.call.start_time(), seen.call.end_time);
        if let Some(wait) = self.known.get_mut(&hash) {
            let goes_on = begun > wait.from + GRACE && begun < wait.until;
            if goes_on && (refused || wait.endpoint == seen.endpoint.0) {
                wait.ignored = wait.ignored.saturating_add(1);
            }
            wait.hammered = match limited && begun.since(wait.last) < PAUSE {
                true => wait.hammered.saturating_add(1),
                false => u32::from(limited),
            };
            wait.last = if limited { end } else { wait.last };
            if (goes_on && wait.ignored >= IGNORED) || (limited && wait.hammered >= HAMMERED) {
                tell(hash, seen, found);
            }
            if begun >= wait.until && !limited {
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
                let wait = Wait { from: end, until, ignored: 0, endpoint: seen.endpoint.0, hammered, last: end };
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
