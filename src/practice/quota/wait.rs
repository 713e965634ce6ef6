//! Who goes on calling before the moment that a server named with `Retry-After` or `RateLimit`.

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
}

/// Clients that were told to wait, by client and service.
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
        let told = seen.call.response_fields.as_ref().filter(|_| seen.call.completeness.response).and_then(|fields| {
            let refused = matches!(seen.call.outcome(), Some(429 | 503));
            let limit = fields.rate_limit.unwrap_or_default();
            let exhausted = if limit.remaining == Some(0) || refused { limit.reset } else { None };
            fields.retry_after.filter(|_| refused).or(exhausted)
        });
        if told.is_none() && self.known.is_empty() {
            return;
        }
        let service = self.key.hash(&[seen.place.host.as_bytes()]);
        let hash = self.key.pair(seen.judged.client_hash, service);
        let begun = seen.call.start_time();
        if let Some(wait) = self.known.get_mut(&hash) {
            if begun >= wait.until {
                self.known.remove(&hash);
            } else if begun > wait.from + GRACE {
                wait.ignored = wait.ignored.saturating_add(1);
                if wait.ignored >= IGNORED {
                    tell(hash, seen, found);
                }
            }
        }
        let Some(seconds) = told.filter(|seconds| *seconds > 0) else { return };
        let (from, until) = (seen.call.end_time, seen.call.end_time + Duration::from_secs(seconds.min(LONGEST)));
        match self.known.get_mut(&hash) {
            // What it did before it was told again still counts.
            Some(wait) => wait.until = wait.until.max(until),
            None => {
                if self.known.insert(hash, Wait { from, until, ignored: 0 }, |wait| wait.until).is_some() {
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
