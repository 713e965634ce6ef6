//! Auth: who tries one set of credentials after another, and whose credentials are used by others or sent in clear.

use super::accounts::Accounts;
use super::budget::{Scales, Test};
use super::campaign::Newcomers;
use super::finding::Finding;
use super::login::{self, Logins};
use super::observation::Observation;
use super::state::{Client, Holder, LoginFailures};
use crate::alert::{Family, Sighting, Technique};
use crate::call::{CredentialKind, Fingerprint, Recorder};
use crate::model::{Distinct, Moments, Table, Window, tail};

/// Seconds within which two users of a credential are there at the same time.
const TOGETHER: u64 = 600;

/// Failed logins in ten minutes below which there is no flood: a daemon with an old password tries as often.
const FLOOD_FLOOR: u64 = 100;

/// Failed logins an hour, of all clients together, below which there is no attack.
const TOGETHER_FLOOR: u64 = 40;

/// Seconds within which a stranger's calls have to be made.
const DAY: u64 = 86_400;

/// Calls of a stranger with a credential before it is called stolen: of a program, and of what looks like a person.
const STRANGE_CALLS: [u32; 2] = [5, 15];

/// Calls that the holder makes alone before a second user of its credential is a stranger.
const ALONE: u32 = 12;

/// Seconds of silence after which a call is not of the holder's session.
const BREATH: u64 = 90;

/// How often the holder comes back after calls of a stranger that looks like a person.
const SWITCHES: u32 = 5;

/// Calls of such a stranger between two of the holder, in the mean.
const BURST: u32 = 6;

/// Further passwords that somebody tries for accounts that they failed to log in to before, up to which they have forgotten them.
const FORGOTTEN: u64 = 12;

/// The same, up to which they have mistyped it.
const RETYPED: u64 = 3;

/// Accounts that a client fails to log in to for it to be suspected of guessing with others.
const ACCOUNTS: u64 = 3;

/// What is known of the logins of others.
pub(super) struct Others<'o> {
    pub(super) endpoints: &'o mut Table<u64, LoginFailures>,
    pub(super) guessers: &'o mut Newcomers,
    pub(super) accounts: &'o mut Accounts,
}

/// Takes a call to a login.
pub(super) fn login(seen: &Observation<'_>, client: &mut Client, mut others: Others<'_>, scales: &mut Scales<'_>) {
    let Logins { failed, succeeded, unclear } = login::outcome(seen);
    if failed > 0 {
        client.sight(Family::Auth, Sighting::of(seen.call));
    }
    // What does not say that it failed gets the benefit of the doubt.
    for _ in 0..succeeded + unclear {
        attempt(seen, client, None, &mut others, scales);
    }
    for number in 0..failed {
        attempt(seen, client, Some(number), &mut others, scales);
    }
}

/// Takes one attempt of a call; of one that failed, which of these it was.
fn attempt(
    seen: &Observation<'_>,
    client: &mut Client,
    failed: Option<u32>,
    others: &mut Others<'_>,
    scales: &mut Scales<'_>,
) {
    let logins = &mut client.logins;
    let mut weight = 1.0_f64;
    let mut recent = 0;
    let (mut fresh, mut other, mut attacked) = (false, false, false);
    if let Some(number) = failed {
        // Accounts are told apart by their names where these stand beside a password, or by what inspection found in the
        // request, else by its length. The same attempt again and again is a forgotten daemon: it adds nothing. Another
        // password for the same account adds something once there were more than a person forgets.
        let named = seen.call.request_values.as_ref().and_then(|values| values.account).filter(|_| number == 0);
        let accounts = seen.call.sensitive.request.iter().flat_map(|sensitive| sensitive.values.iter());
        let account = named.or_else(|| accounts.take(number as usize + 1).last().copied());
        let attempt = match (account, number) {
            (Some(value), _) => value.0,
            (None, 0) => seen.call.request.body_bytes,
            (None, _) => seen.key.pair(seen.call.request.body_bytes, number.into()),
        };
        if let (Some(account), Some(body)) = (account, seen.call.request.body_fingerprint) {
            attacked = others.accounts.tried(seen, account.0, seen.key.pair(body.0, number.into()));
        }
        fresh = logins.attempts.insert(seen.key.pair(seen.endpoint.0, attempt));
        if !fresh {
            let body = seen.call.request.body_fingerprint;
            other = body.is_some_and(|body| logins.guesses.insert(seen.key.pair(attempt, body.0)));
            weight = match account {
                _ if other && logins.guesses.count() > FORGOTTEN => 0.4,
                None if logins.attempts.count() >= 6 => 0.4,
                _ => 0.0,
            };
            other &= logins.guesses.count() > RETYPED;
        }
        let guessed = logins.guesses.count() > FORGOTTEN;
        if logins.attempts.count() < 3 && !guessed {
            weight = 0.0;
        }
        logins.failures += 1;
        recent = logins.recent.add(Window::TenMinutes, seen.time, 1);
    }
    let ceiling: f64 = seen.rules.prior.login_ceiling;
    scales.tried(Test::Logins, weight);
    let nats = logins.walk.advance(failed.is_some(), weight, ceiling, (2.5 * ceiling).min(0.95));
    let failures = logins.failures;
    if failed.is_none() {
        logins.successes += 1;
        return;
    }
    let several = fresh && logins.attempts.count() == ACCOUNTS && failures > 2 * logins.successes;
    // A fleet that was not told of a new password tries one account as well: who logged in before is of the fleet.
    if several || (attacked && client.logins.successes == 0) {
        others.guessers.enter(seen.time, seen.client, Sighting::of(seen.call));
    }
    // Who is suspected already says nothing of the others.
    if (fresh || other) && !client.suspect() {
        together(seen, others.endpoints, scales);
    }
    if scales.wants(Test::Logins, nats) {
        let finding = Finding::new(Test::Logins, Technique::CredentialStuffing, nats);
        scales.weigh(finding.compared(failures as f64, ceiling * client.logins.walk.trials()));
    }
    // A person fails a few times, an office of people now and then at once: 5, with a standard deviation of 6.
    if recent < FLOOD_FLOOR {
        return;
    }
    let finding = Finding::new(Test::LoginRate, Technique::Login, tail::count(recent, 5.0, 36.0));
    if scales.weigh(finding.compared(recent as f64, 5.0).within(600)) {
        client.sight(Family::Flood, Sighting::of(seen.call));
    }
}

/// Failed logins of all clients together, hour by hour: many addresses that try a few accounts each.
fn together(seen: &Observation<'_>, endpoints: &mut Table<u64, LoginFailures>, scales: &mut Scales<'_>) {
    let key = seen.endpoint.0;
    if endpoints.get(&key).is_none() {
        endpoints.insert(key, LoginFailures::default(), |held| held.hours.highest());
    }
    let Some(held) = endpoints.get_mut(&key) else { return };
    let count = held.hour.add(Window::Hour, seen.time, 1);
    let epoch = Window::Hour.bucket(seen.time) / crate::model::BUCKETS as i64;
    if epoch != held.epoch {
        if held.epoch > 0 {
            // An attack teaches little: twice what was known at most, and hours in between had none.
            let most = 2.0 * held.hours.highest().max(TOGETHER_FLOOR as f64 / 4.0);
            held.hours.enter(held.epoch, (held.current as f64).min(most));
            for hour in (held.epoch + 1..epoch).take(24) {
                held.hours.enter(hour, 0.0);
            }
        }
        held.epoch = epoch;
        held.current = 0;
    }
    held.current = held.current.max(count);
    // Where nights are quieter than days, they are compared with nights.
    let usual = held.hours.at(epoch);
    if count < TOGETHER_FLOOR || (count as f64) < 3.0 * usual.highest {
        return;
    }
    // Before there is a history: four an hour, give or take six.
    let mut hours = Moments::prior(6.0, 4.0, 36.0);
    hours.merge(&usual.moments);
    let nats = tail::count(count, hours.mean(), hours.variance());
    let finding = Finding::new(Test::LoginsTogether, Technique::CredentialStuffing, nats);
    scales.weigh(finding.compared(count as f64, hours.mean()).within(3_600).of_endpoint());
}

/// Takes a call with a credential: whether a second client, with another user agent, uses it while the first goes on.
pub(super) fn credential(
    seen: &Observation<'_>,
    client: &mut Client,
    holders: &mut Table<Fingerprint, Holder>,
    basic: &mut Distinct,
    scales: &mut Scales<'_>,
) {
    let Some(credential) = &seen.call.credential else { return };
    if !seen.good() {
        return;
    }
    // Of what a server logged nobody knows how it came there.
    let heard = seen.call.completeness.recorder != Some(Recorder::Server);
    if credential.kind == CredentialKind::Basic && heard {
        basic.insert(seen.client_hash);
        client.sight(Family::Auth, Sighting::of(seen.call));
        let finding = Finding::new(Test::Cleartext, Technique::Cleartext, 0.0);
        scales.fact(finding.compared(basic.count() as f64, 0.0));
    }
    // Keys of programs are shared by design: by the machines of a cluster.
    if matches!(credential.kind, CredentialKind::Basic | CredentialKind::ApiKey) {
        return;
    }
    let (agent, program) = (seen.agent, seen.program);
    let Some(holder) = holders.get_mut(&credential.fingerprint) else {
        let agents = [agent, 0, 0, 0];
        let holder = Holder {
            client: seen.client,
            agents,
            program,
            last: seen.time,
            calls: 1,
            strange: 0,
            switches: 0,
            away: false,
            near: 0,
            since: seen.time,
        };
        holders.insert(credential.fingerprint, holder, |holder| holder.last);
        return;
    };
    if holder.client == seen.client {
        holder.last = seen.time;
        holder.calls = holder.calls.saturating_add(1);
        holder.switches += u32::from(std::mem::take(&mut holder.away));
        holder.note(agent);
        return;
    }
    // Who is there from the beginning belongs to it: the browser inside an application, on another address.
    if holder.strange == 0 && holder.calls < ALONE && !program {
        holder.note(agent);
        return;
    }
    // A person's browser and application may share a token, and move to another address together.
    if holder.program || holder.calls < 3 || holder.agents.contains(&agent) {
        return;
    }
    // What belongs to one person's session comes in one breath with it; a thief calls when the holder is silent, too.
    let silent = seen.time.since(holder.last).as_secs();
    holder.near += u32::from(silent < BREATH);
    if silent < TOGETHER && (program || silent >= BREATH) {
        if seen.time.since(holder.since).as_secs() > DAY {
            (holder.since, holder.strange, holder.switches, holder.near) = (seen.time, 0, 0, 0);
        }
        holder.strange = holder.strange.saturating_add(1);
        holder.away = true;
        client.sight(Family::Auth, Sighting::of(seen.call));
        let [of_program, of_person] = STRANGE_CALLS;
        // Who has only moved does not come back to where they were; who has two devices lays one aside for the other,
        // and makes many calls before they come back.
        let (enough, switches, apart) = if program {
            (of_program, 1, true)
        } else {
            (of_person, SWITCHES, holder.strange >= holder.near && holder.strange <= BURST * holder.switches)
        };
        if holder.strange >= enough && holder.switches >= switches && apart {
            let finding = Finding::new(Test::TokenUse, Technique::TokenReuse, 0.0);
            scales.fact(finding.compared(f64::from(holder.strange), 0.0));
        }
    }
}
