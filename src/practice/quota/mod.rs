//! Quotas: who exceeds one, nearly does, or stays just below it window after window; and who goes on though a server said
//! when to come again.

mod settings;
pub mod suggest;
mod wait;

use std::fmt::Write;

use serde::{Deserialize, Serialize};
pub use settings::{Dimension, Quota};
pub(super) use wait::{Wait, Waiting};

use super::finding::Subject;
use super::kind::Kind;
use super::{Found, Seen};
use crate::endpoint::HashKey;
use crate::model::{Distinct, Table, Window};
use crate::stats::Counter;
use crate::time::Timestamp;

/// Windows one after another in which a quota is nearly used up, none of them exceeded, that are no chance.
const HOVERING: u32 = 5;

/// What is measured.
pub(super) const MEASURES: [&str; 4] = ["calls", "bytes", "seconds", "objects"];

/// What one use of a quota came to in a window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Used {
    calls: u64,
    bytes: u64,
    seconds: f64,
    objects: Distinct,
}

impl Used {
    /// Takes a call.
    pub(super) fn add(&mut self, seen: &Seen<'_>, object: u64) {
        let call = seen.call;
        self.calls += 1;
        let bytes = |message: &crate::call::Message| message.wire_bytes.max(message.body_bytes);
        self.bytes = self.bytes.saturating_add(bytes(&call.request)).saturating_add(bytes(&call.response));
        self.seconds += call.latency().map_or(0.0, |latency| latency.as_secs_f64());
        if seen.place.parameterised {
            self.objects.insert(object);
        }
    }

    /// By [`MEASURES`].
    pub(super) fn amounts(&self) -> [f64; 4] {
        [self.calls as f64, self.bytes as f64, self.seconds, self.objects.count() as f64]
    }
}

/// One use of one quota.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Use {
    /// The window that is being filled.
    window: i64,
    used: Used,
    last: Timestamp,
    /// It was said in this window that it is nearly used up.
    near: bool,
    /// The window before and those before it were nearly used up, and not exceeded.
    hovering: u32,
}

/// All quotas and their uses.
pub(super) struct Quotas {
    quotas: Vec<Quota>,
    uses: Table<u64, Use>,
    key: HashKey,
}

impl Quotas {
    pub(super) fn new(quotas: &[Quota], uses: usize, key: HashKey) -> Quotas {
        let mut quotas = quotas.to_vec();
        // As hosts of calls are.
        quotas.iter_mut().flat_map(|quota| &mut quota.services).for_each(|service| service.make_ascii_lowercase());
        quotas.iter_mut().flat_map(|quota| &mut quota.endpoints).for_each(|one| *one = Quota::endpoint(one));
        Quotas { quotas, uses: Table::new(uses), key }
    }

    /// All uses, to be kept, with the quotas that they are of.
    pub(super) fn memory(&self) -> (Vec<Quota>, Table<u64, Use>) {
        (self.quotas.clone(), self.uses.clone())
    }

    /// Goes on from what was kept, up to the limit; gives how many uses are forgotten. Those of other quotas mean nothing.
    pub(super) fn restore(&mut self, (quotas, mut uses): (Vec<Quota>, Table<u64, Use>)) -> usize {
        if quotas != self.quotas {
            return 0;
        }
        let forgotten = uses.limit(self.uses.capacity());
        self.uses = uses;
        forgotten
    }

    /// There are none.
    pub(super) fn is_empty(&self) -> bool {
        self.quotas.is_empty()
    }

    /// Takes a call.
    pub(super) fn call(&mut self, seen: &Seen<'_>, found: &mut Found<'_>) {
        if seen.call.outcome() == Some(429) {
            return;
        }
        for (number, quota) in self.quotas.iter().enumerate() {
            if covers(quota, seen) {
                take(number, quota, &mut self.uses, &self.key, seen, found);
            }
        }
    }
}

/// The window that a moment falls into.
pub(super) fn window_of(window: Window, time: Timestamp) -> i64 {
    time.nanos().div_euclid(window.seconds() as i64 * 1_000_000_000)
}

fn covers(quota: &Quota, seen: &Seen<'_>) -> bool {
    let client = quota.clients.is_empty() || quota.clients.iter().any(|network| network.contains(seen.judged.client));
    client
        && (quota.services.is_empty() || seen.is_of(&quota.services))
        && (quota.endpoints.is_empty() || seen.subject().endpoint.is_some_and(|one| quota.endpoints.contains(&one)))
}

/// The hash of a use, by the dimensions that tell uses apart.
pub(super) fn use_of(dimensions: &[Dimension], key: &HashKey, seen: &Seen<'_>) -> u64 {
    dimensions.iter().fold(0, |hash, dimension| {
        let part = match dimension {
            Dimension::Client => seen.judged.client_hash,
            // Who has none is told by the address: callers without a credential have nothing in common.
            Dimension::Credential => credential(seen).unwrap_or(seen.judged.client_hash),
            Dimension::Endpoint => seen.endpoint.0,
            Dimension::Service => key.hash(&[seen.place.host.as_bytes()]),
        };
        key.pair(hash, key.pair(part, *dimension as u64))
    })
}

/// Whom the credential stands for, or itself.
fn credential(seen: &Seen<'_>) -> Option<u64> {
    seen.call.credential.as_ref().map(|credential| credential.subject.unwrap_or(credential.fingerprint).0)
}

fn take(
    number: usize,
    quota: &Quota,
    uses: &mut Table<u64, Use>,
    key: &HashKey,
    seen: &Seen<'_>,
    found: &mut Found<'_>,
) {
    let hash = key.pair(use_of(&quota.per, key, seen), number as u64);
    let window = window_of(quota.window, seen.call.end_time);
    if uses.get(&hash).is_none() {
        let new = Use { window, used: Used::default(), last: seen.call.end_time, near: false, hovering: 0 };
        if uses.insert(hash, new, |one| one.last).is_some() {
            found.counters.count(Counter::PracticeForgotten);
        }
    }
    let Some(one) = uses.get_mut(&hash) else { return };
    let limits = [
        quota.calls.map(|calls| calls as f64),
        quota.bytes.map(|bytes| bytes as f64),
        quota.seconds,
        quota.objects.map(|objects| objects as f64),
    ];
    // The share of the limit that is used up most, and which one it is.
    let most = |used: &Used| {
        let shares = used.amounts().into_iter().zip(limits).zip(MEASURES).filter_map(|((amount, limit), measure)| {
            limit.map(|limit| (amount / limit.max(f64::MIN_POSITIVE), measure, limit))
        });
        shares.max_by(|one, other| one.0.total_cmp(&other.0))
    };
    if window > one.window {
        let share = most(&one.used).map_or(0.0, |(share, ..)| share);
        let follows = window == one.window + 1;
        one.hovering = if (quota.near..=1.0).contains(&share) { one.hovering.saturating_add(1) } else { 0 };
        let hovers = one.hovering >= HOVERING;
        if !follows {
            one.hovering = 0;
        }
        (one.window, one.used, one.near) = (window, Used::default(), false);
        if hovers {
            tell(Kind::QuotaHovering, quota, hash, None, seen, found);
        }
    }
    one.last = seen.call.end_time;
    let before = most(&one.used).map_or(0.0, |(share, ..)| share);
    one.used.add(seen, key.hash(&[seen.place.host.as_bytes(), seen.call.path.as_bytes()]));
    let Some((share, measure, limit)) = most(&one.used) else { return };
    let near = before < quota.near && (quota.near..=1.0).contains(&share) && !one.near;
    one.near |= near;
    if share > 1.0 {
        tell(Kind::QuotaBreach, quota, hash, Some((measure, limit)), seen, found);
    } else if near {
        tell(Kind::QuotaNear, quota, hash, Some((measure, limit)), seen, found);
    }
}

fn tell(kind: Kind, quota: &Quota, hash: u64, limit: Option<(&str, f64)>, seen: &Seen<'_>, found: &mut Found<'_>) {
    let subject = || {
        let mut about = format!("quota {}", quota.name);
        for dimension in &quota.per {
            let _ = match dimension {
                Dimension::Client => write!(about, ", client {}", seen.judged.client),
                Dimension::Credential => match credential(seen) {
                    Some(credential) => write!(about, ", credential {credential:016x}"),
                    None => write!(about, ", no credential, client {}", seen.judged.client),
                },
                Dimension::Endpoint | Dimension::Service => Ok(()),
            };
        }
        let by_endpoint = quota.per.contains(&Dimension::Endpoint);
        let service = if by_endpoint || quota.per.contains(&Dimension::Service) { seen.service() } else { "".into() };
        let endpoint = if by_endpoint { seen.subject().endpoint } else { None };
        Subject { service, endpoint, about: Some(about) }
    };
    let window = format!("{:?}", quota.window).to_lowercase();
    let detail = limit.map(|(measure, limit)| format!("{limit} {measure} in a {window}"));
    let details: Vec<&str> = detail.iter().map(String::as_str).collect();
    let proof = seen.proof(kind.severity(), &details);
    found.note(kind, hash, subject, &proof);
}
