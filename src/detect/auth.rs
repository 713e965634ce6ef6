//! Auth: who tries one set of credentials after another, and whose credentials are used by others or sent in clear.

use super::finding::Finding;
use super::observation::Observation;
use super::state::{Client, Holder};
use crate::alert::{Family, Sighting, Technique};
use crate::call::{CredentialKind, Fingerprint};
use crate::model::{Distinct, Table, Window, tail};

/// Seconds within which two users of a credential are there at the same time.
const TOGETHER: u64 = 600;

/// Failed logins in ten minutes below which there is no flood: a daemon with an old password tries as often.
const FLOOD_FLOOR: u64 = 100;

/// Calls of a stranger with a credential before it is called stolen.
const STRANGE_CALLS: u32 = 5;

/// Takes a call to a login.
pub(super) fn login(seen: &Observation<'_>, client: &mut Client, walk: f64, daily: f64, findings: &mut Vec<Finding>) {
    let failed = match seen.status {
        Some(200..=399) => false,
        Some(400 | 401 | 403 | 422 | 429) => true,
        _ => return,
    };
    let logins = &mut client.logins;
    let mut weight: f64 = 1.0;
    let mut recent = 0;
    if failed {
        // Accounts are told apart by what inspection found in the request, else by its length. The same attempt
        // again and again is a forgotten daemon: it adds nothing.
        let account = seen.call.sensitive.request.iter().flat_map(|sensitive| &sensitive.values).next();
        let attempt = account.map_or(seen.call.request.body_bytes, |value| value.0);
        if !logins.attempts.insert(seen.key.pair(seen.endpoint.0, attempt)) {
            weight = if account.is_some() || logins.attempts.count() < 6 { 0.0 } else { 0.4 };
        }
        if logins.attempts.count() < 3 {
            weight = 0.0;
        }
        logins.failures += 1;
        recent = logins.recent.add(Window::TenMinutes, seen.time, 1);
    }
    let ceiling = seen.rules.prior.login_ceiling;
    let nats = logins.walk.advance(failed, weight, ceiling, (2.5 * ceiling).min(0.95));
    let failures = logins.failures;
    if !failed {
        return;
    }
    client.sight(Family::Auth, Sighting::of(seen.call));
    if nats >= walk {
        let finding = Finding::new(Technique::CredentialStuffing, nats, walk, "failed logins that differ");
        findings.push(finding.compared(failures as f64, ceiling * client.logins.walk.trials()));
    }
    // A person fails a few times, an office of people now and then at once: 5, with a standard deviation of 6.
    let flood = tail::count(recent, 5.0, 36.0);
    if flood >= daily && recent >= FLOOD_FLOOR {
        client.sight(Family::Flood, Sighting::of(seen.call));
        let finding = Finding::new(Technique::Login, flood, daily, "failed logins");
        findings.push(finding.compared(recent as f64, 5.0).within(600));
    }
}

/// Takes a call with a credential: whether a second client, with another user agent, uses it while the first goes on.
pub(super) fn credential(
    seen: &Observation<'_>,
    client: &mut Client,
    holders: &mut Table<Fingerprint, Holder>,
    basic: &mut Distinct,
    findings: &mut Vec<Finding>,
) {
    let Some(credential) = seen.call.credential else { return };
    if !seen.good() {
        return;
    }
    if credential.kind == CredentialKind::Basic {
        basic.insert(seen.client_hash);
        client.sight(Family::Auth, Sighting::of(seen.call));
        findings.push(
            Finding::new(Technique::Cleartext, 20.0, 10.0, "clients that send passwords in clear")
                .compared(basic.count() as f64, 0.0),
        );
    }
    // Keys of programs are shared by design: by the machines of a cluster.
    if matches!(credential.kind, CredentialKind::Basic | CredentialKind::ApiKey) {
        return;
    }
    let agent = || seen.key.hash(&[seen.call.user_agent.as_deref().unwrap_or_default().as_bytes()]);
    let Some(holder) = holders.get_mut(&credential.fingerprint) else {
        let program = seen.rules.is_program(seen.call.user_agent.as_deref().unwrap_or_default());
        let holder = Holder { client: seen.client, agent: agent(), program, last: seen.time, calls: 1, strange: 0 };
        holders.insert(credential.fingerprint, holder, |holder| holder.last);
        return;
    };
    if holder.client == seen.client {
        holder.last = seen.time;
        holder.calls = holder.calls.saturating_add(1);
        return;
    }
    // A person's browser and application may share a token; a program beside them does not fit.
    if holder.program || holder.calls < 3 || holder.agent == agent() {
        return;
    }
    let program = seen.rules.is_program(seen.call.user_agent.as_deref().unwrap_or_default());
    if program && seen.time.since(holder.last).as_secs() < TOGETHER {
        holder.strange = holder.strange.saturating_add(1);
        client.sight(Family::Auth, Sighting::of(seen.call));
        if holder.strange >= STRANGE_CALLS {
            let finding = Finding::new(Technique::TokenReuse, 15.0, 12.0, "calls with another client's credential");
            findings.push(finding.compared(f64::from(holder.strange), 0.0));
        }
    }
}
