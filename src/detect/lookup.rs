//! Recon, person by person: who asks an API about one e-mail address or telephone number after another.
//!
//! Somebody who looks up the people they know asks about few of them, and about the same again and again; who lists an API's
//! accounts asks about somebody else each time, at whatever pace, with an account or without. Counted are the
//! different people that one asker (a subject, a credential, or an address where there is none) asks one endpoint about in a week,
//! and compared, in logarithms, with those of the endpoint's other askers of the same group, a place each.
//!
//! Who does it for a living (answers customers, delivers parcels) is one of several who do, and does something else as
//! well between two lookups: where two such are known, a third is no news. What creates something (201), replaces it or logs
//! in asks about nobody. A POST counts where its path says that it looks something up, or where some are not found.

use serde::{Deserialize, Serialize};

use super::budget::{Scales, Test};
use super::finding::Finding;
use super::observation::Observation;
use super::settings::Settings;
use super::state::Client;
use crate::alert::{Family, Sighting, Technique};
use crate::call::CredentialKind;
use crate::model::{Distinct, Moments, Step, Table, ln_1p, tail};
use crate::time::Timestamp;

/// Seconds after which an asker's count begins anew.
const WEEK: u64 = 604_800;

/// Askers from which on they say what is usual at an endpoint.
const KNOWN: f64 = 5.0;

/// Lookups of an asker from which on they are kept as evidence.
const NOTED: u64 = 10;

/// Askers with other work, and many lookups, from which on that is somebody's work.
const TRADE: u64 = 2;

/// What one asker asked one endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Asker {
    since: Timestamp,
    last: Timestamp,
    /// The people that it asked about.
    asked: Distinct,
    /// Calls of the client before, and lookups since.
    before: u64,
    lookups: u64,
    /// What it has contributed to what is usual.
    taught: Option<f64>,
    tested: Step,
    accused: bool,
}

/// What is asked of one endpoint by one group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Asked {
    last: Timestamp,
    /// Logarithms of the people that each asks about.
    counts: Moments,
    /// Askers about many who have other work as well.
    trade: Distinct,
    lookups: u64,
    /// Lookups of somebody who is not there.
    absent: u64,
}

/// All lookups.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Lookups {
    askers: Table<u64, Asker>,
    endpoints: Table<u64, Asked>,
}

impl Lookups {
    pub(super) fn new(settings: &Settings) -> Lookups {
        Lookups { askers: Table::new(settings.lookups), endpoints: Table::new(settings.lookups / 16) }
    }

    /// Entries that gave way to others.
    pub(super) fn evicted(&self) -> u64 {
        self.askers.evicted() + self.endpoints.evicted()
    }

    pub(super) fn limit(&mut self, settings: &Settings) {
        self.askers.limit(settings.lookups);
        self.endpoints.limit(settings.lookups / 16);
    }
}

/// Takes one call.
#[inline]
pub(super) fn observe(seen: &Observation<'_>, client: &mut Client, lookups: &mut Lookups, scales: &mut Scales<'_>) {
    if seen.call.sensitive.request.is_empty() || seen.login || seen.recorded {
        return;
    }
    look_up(seen, client, lookups, scales);
}

/// The person that a call asks about, by hash; none where it is about nobody.
fn person(seen: &Observation<'_>) -> Option<u64> {
    let known = |class: &str| seen.rules.lookups.classes.iter().any(|held| held == class);
    let values = seen.call.sensitive.request.iter().filter(|sensitive| known(&sensitive.class));
    values
        .flat_map(|sensitive| sensitive.values.iter())
        .fold(None, |all, value| Some(seen.key.pair(all.unwrap_or_default(), value.0)))
}

fn look_up(seen: &Observation<'_>, client: &mut Client, lookups: &mut Lookups, scales: &mut Scales<'_>) {
    let missed = matches!(seen.status, Some(404 | 409 | 410 | 422));
    let answered = missed || (seen.good() && seen.status != Some(201));
    if !answered || !matches!(&*seen.call.method, "GET" | "HEAD" | "POST" | "QUERY" | "SEARCH") {
        return;
    }
    let Some(person) = person(seen) else { return };
    let credential = seen.call.credential.as_ref();
    let who = credential.map_or(seen.client_hash, |held| held.subject.unwrap_or(held.fingerprint).0);
    let group = credential.map_or(0, |held| held.group.map_or(held.kind as u64 + 1, |group| group.0));
    let prior = &seen.rules.prior;

    let Some(asked) = lookups.endpoints.entry(seen.key.pair(group, seen.endpoint.0), Asked::default, |held| held.last)
    else {
        return;
    };
    asked.last = seen.time;
    asked.lookups += 1;
    asked.absent += u64::from(missed);
    let calls = client.calls;
    let fresh = || Asker {
        since: seen.time,
        last: seen.time,
        asked: Distinct::default(),
        before: calls.saturating_sub(1),
        lookups: 0,
        taught: None,
        tested: Step::default(),
        accused: false,
    };
    let worth = |held: &Asker| (held.asked.count(), held.last);
    let Some(asker) = lookups.askers.entry(seen.key.pair(who, seen.endpoint.0), fresh, worth) else { return };
    if seen.time.since(asker.since).as_secs() >= WEEK {
        // What it taught stays: a week is as good as another.
        *asker = Asker { taught: asker.taught, accused: asker.accused, ..fresh() };
    }
    asker.last = seen.time;
    asker.lookups += 1;
    if !asker.asked.insert(person) {
        return;
    }
    // Behind an address without credentials there may be an office.
    let people = if credential.is_some() { 1 } else { client.people() };
    let count = asker.asked.count() / people;
    let works = 2 * asker.lookups <= calls - asker.before.min(calls);
    let suspect = client.suspect() || asker.accused;
    if !suspect {
        let others = asker.taught.map_or(asked.counts, |taught| asked.counts.without(taught));
        let most = match others.count() > 0.0 {
            true => others.mean() + 2.0 * others.variance().sqrt().max(0.5),
            false => f64::MAX,
        };
        let value = ln_1p(count).min(most.max(asker.taught.unwrap_or_default()));
        match asker.taught.replace(value) {
            Some(old) => asked.counts.replace(old, value),
            None => asked.counts.enter(value),
        }
        if works && count as f64 >= prior.lookups_floor / 2.0 {
            asked.trade.insert(seen.key.pair(who, 0));
        }
    }
    if count >= NOTED {
        client.sight(Family::Recon, Sighting::of(seen.call));
    }
    if (count as f64) < prior.lookups_floor || !asker.tested.due(count) {
        return;
    }
    let reads = seen.call.method != "POST" || asked.absent * 20 > asked.lookups || seen.rules.looks_up(&seen.call.path);
    if !reads || (works && asked.trade.count() > TRADE) {
        return;
    }
    // A program with a key has customers of its own.
    let machine = credential.is_some_and(|held| matches!(held.kind, CredentialKind::ApiKey | CredentialKind::Basic));
    let others = asker.taught.map_or(asked.counts, |taught| asked.counts.without(taught));
    let known = others.count() >= KNOWN && !machine;
    let usual = prior.lookups * if machine { 10.0 } else { 1.0 };
    let mut all = Moments::prior(4.0, usual.ln_1p(), 1.0);
    all.merge(&others);
    let mean = if known { all.mean() } else { all.mean().max(usual.ln_1p()) };
    let deviation = all.variance().sqrt().max(if known { 0.8 } else { 1.5 });
    let nats = tail::normal(ln_1p(count), mean, deviation);
    let finding = Finding::new(Test::Lookups, Technique::AccountEnumeration, nats);
    if scales.weigh(finding.compared(count as f64, mean.exp_m1()).within(WEEK)) && !asker.accused {
        asker.accused = true;
        if let Some(taught) = asker.taught.take() {
            asked.counts = asked.counts.without(taught);
        }
    }
}
