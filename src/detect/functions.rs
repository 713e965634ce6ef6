//! Auth, function by function: who calls what those with its role never call, or are refused.
//!
//! A role is what a JSON Web Token says that its bearer may do (issuer, scopes, roles and groups), whatever application it comes
//! with; where it says nothing, and for other credentials, the group of principals ([`super::principal`]). What a role calls
//! is learned from the first good answer that each of its members got from an endpoint, and from the first refusal (403) of those
//! who got none. A first success counts by how few of the others go there and how many of them were refused, little at an
//! ordinary endpoint, much at an administrative one (by words in `rules/detect.toml`). Refusals of one's own count where
//! others do not try.
//!
//! Nothing of a token is verified here, and anybody can write one. Therefore the server is asked: who has not yet been
//! answered well with a role is none of its members, and is neither counted nor compared.
//!
//! Rare is not forbidden, and what makes false alarms here are the people whose work is rare. Therefore: of small groups nothing
//! is known; who begins with administrative functions is one of their operators, and is compared with those; an endpoint
//! counts only from an hour after its first good answer on (after a deploy everybody is the first at something); and what nobody was
//! ever refused cannot pass alone, but for one thing: several administrative functions of another role, called with a token that
//! says that it is of a large role of which nobody ever went there. Where nothing is checked, nobody is refused.

use serde::{Deserialize, Serialize};

use super::budget::{Scales, Test};
use super::finding::Finding;
use super::observation::Observation;
use super::principal::{KNOWN_GROUP, Peers};
use super::settings::Settings;
use super::state::{Client, Endpoint};
use crate::alert::{Family, Sighting, Technique};
use crate::model::Table;

/// Seconds after its first good answer from which on an endpoint is known.
const KNOWN_ENDPOINT: u64 = 3_600;

/// Seconds, and first successes, after which a principal has shown what it does.
const SETTLED: (u64, u32) = (1_800, 5);

/// Logarithm of one in how many peers is few.
const FEW: f64 = 3.0;

/// What an administrative function's name is worth, in nats.
const NAMED: f64 = 2.0;

/// Part of the evidence of strangeness, and of refusals, that an ordinary endpoint gives.
const ORDINARY: [f64; 2] = [0.25, 0.5];

/// The most that strangeness alone may come to: less than any budget asks for.
const STRANGENESS_LIMIT: f64 = 9.0;

/// Administrative functions at which a principal is the first of its role from which on more counts, up to this.
const TRESPASSES: u32 = 3;
const TRESPASS_LIMIT: f64 = 18.0;

/// Members of a role whose silence says that its members have no business there.
const LARGE_ROLE: u64 = 100;

/// The most that one refusal counts, at an administrative endpoint and at another.
const OWN_REFUSAL: [f64; 2] = [2.0, 0.3];

/// Tells the first refusal at an endpoint from the first success.
const REFUSED: u64 = 0x0052_4546;

/// Tells being of a role from calling a function.
const MEMBER: u64 = 0x004d_454d;

/// What is known of one principal's way among functions.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Way {
    /// The role of its first good answer.
    home: u64,
    /// First successes.
    contacts: u32,
    /// Functions that counted as strange.
    strange: u32,
    /// Administrative functions at which it was the first of its role, which its token tells.
    #[serde(default)]
    trespasses: u32,
    /// It began with administrative functions.
    operator: bool,
    /// Evidence of going where few go, and of going where others, or itself, were refused.
    strangeness: f64,
    refusals: f64,
}

impl Way {
    /// The evidence.
    pub(super) fn nats(&self) -> f64 {
        let limit = if self.trespasses >= TRESPASSES { TRESPASS_LIMIT } else { STRANGENESS_LIMIT };
        self.strangeness.min(limit) + self.refusals
    }

    /// Adds evidence, or takes some away.
    fn add(&mut self, strangeness: f64, refusals: f64) {
        self.strangeness = (self.strangeness + strangeness).max(0.0);
        self.refusals = (self.refusals + refusals).max(0.0);
    }
}

/// Those of one role.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Role {
    /// Principals that were answered well with it.
    members: u64,
    /// Those of them that began with administrative functions.
    operators: u64,
}

/// How those of a role go to an endpoint.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Going {
    /// Principals that got an answer there.
    principals: u64,
    /// Principals that were refused and never got an answer.
    refused: u32,
    /// Operators among those that got one.
    operators: u32,
}

/// All roles.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Roles {
    roles: Table<u64, Role>,
    goings: Table<u64, Going>,
}

impl Roles {
    pub(super) fn new(settings: &Settings) -> Roles {
        Roles { roles: Table::new(settings.groups), goings: Table::new(settings.endpoints.saturating_mul(4)) }
    }

    /// Entries that gave way to others.
    pub(super) fn evicted(&self) -> u64 {
        self.roles.evicted() + self.goings.evicted()
    }

    pub(super) fn limit(&mut self, settings: &Settings) {
        self.roles.limit(settings.groups);
        self.goings.limit(settings.endpoints.saturating_mul(4));
    }
}

/// One of a role at a function.
struct Contact<'c> {
    role: &'c mut Role,
    going: &'c mut Going,
    endpoint: Option<&'c Endpoint>,
    refused: bool,
}

/// Takes one call of a principal.
#[inline]
pub(super) fn observe(
    seen: &Observation<'_>,
    client: &mut Client,
    peers: &mut Peers<'_>,
    roles: &mut Roles,
    endpoint: Option<&Endpoint>,
    scales: &mut Scales<'_>,
) {
    let refused = seen.status == Some(403);
    let claimed = seen.call.credential.as_ref().and_then(|credential| credential.role);
    let role = claimed.map_or(peers.own, |role| role.0);
    let home = peers.principal.way.home;
    if !(peers.first || refused || role != home) || seen.encrypted.is_some() {
        return;
    }
    let principal = &mut *peers.principal;
    let member = seen.key.pair(role, MEMBER);
    let (first, joins) = match (seen.good(), home) {
        (true, 0) => {
            principal.way.home = role;
            (peers.first, true)
        }
        // With a token that says something else it is somebody else.
        (true, _) if role != home => {
            let first = principal.touched.touch(seen.key.pair(role, seen.endpoint.0)) == 0;
            (first, first && principal.touched.touch(member) == 0)
        }
        (true, _) => (peers.first, false),
        (false, _) if role != home && principal.touched.count(member) == 0 => return,
        (false, _) => (false, false),
    };
    if !(first || refused) {
        return;
    }
    let Some(held) = roles.roles.entry(role, Role::default, |role| role.members) else { return };
    held.members += u64::from(joins);
    let place = seen.key.pair(role, seen.endpoint.0);
    let Some(going) = roles.goings.entry(place, Going::default, |going| going.principals) else { return };
    contact(seen, client, peers, Contact { role: held, going, endpoint, refused }, scales);
}

/// A first success, or a refusal.
fn contact(
    seen: &Observation<'_>,
    client: &mut Client,
    peers: &mut Peers<'_>,
    contact: Contact<'_>,
    scales: &mut Scales<'_>,
) {
    let Contact { role, going, endpoint, refused } = contact;
    let claimed = seen.call.credential.as_ref().is_some_and(|credential| credential.role.is_some());
    let suspect = client.suspect() || peers.principal.accused;
    let refusal = seen.key.pair(seen.endpoint.0, REFUSED);
    let principal = &mut *peers.principal;
    if refused {
        // Who has been answered there was refused an object, not the function.
        if principal.touched.count(seen.endpoint.0) > 0 || principal.touched.touch(refusal) > 0 {
            return;
        }
    } else if !suspect && principal.touched.count(refusal) > 0 {
        going.refused = going.refused.saturating_sub(1);
    }
    // Operators among them say nothing of the others.
    let led = f64::from(going.operators);
    let (members, others) = (role.members as f64, (going.principals as f64 - led).max(0.0));
    let denied = f64::from(going.refused);
    let known = denied > 0.0 || endpoint.is_some_and(|held| seen.time.since(held.first).as_secs() >= KNOWN_ENDPOINT);
    let named = match endpoint {
        Some(endpoint) => endpoint.administrative,
        None => seen.rules.is_administrative(&seen.place.host, &seen.place.template),
    };
    let rare = |by: f64| ((members + 1.0) / (by + 0.5)).ln();
    let age = seen.time.since(principal.first).as_secs();
    let settled = age >= SETTLED.0 && principal.way.contacts >= SETTLED.1;
    let begins = named && !refused && !settled && !principal.way.operator;

    if role.members >= KNOWN_GROUP && known {
        // What everybody does is no trial: it can only take evidence away.
        if named || refused || rare(others) > FEW {
            scales.tried(Test::Functions, 1.0);
        }
        let way = &mut principal.way;
        if refused {
            let most = if named { OWN_REFUSAL[0] } else { OWN_REFUSAL[1] };
            way.add(0.0, (rare(denied) - FEW).clamp(0.0, most));
        } else {
            // Where all who tried were refused, that one is not is hardly an accident; where some are let in, they may
            // become more.
            let company = if denied > 0.0 { ((denied + others + 1.0) / (others + 0.5)).ln() } else { 0.0 };
            let few = rare(others) - FEW;
            match (named, settled) {
                // What users are refused says nothing of operators.
                (true, _) if way.operator => {}
                (true, true) if others + led < 1.0 => {
                    way.add(few.max(0.0) + NAMED, 2.0 * company);
                    let elsewhere =
                        endpoint.is_some_and(|held| seen.time.since(held.first).as_secs() >= KNOWN_ENDPOINT);
                    way.trespasses += u32::from(claimed && elsewhere && role.members >= LARGE_ROLE);
                }
                (true, true) => way.add(few.max(0.0) + NAMED, company),
                // One decision: that there is one more operator.
                (true, false) => way.add(few.min(rare(role.operators as f64) - FEW).max(0.0) + NAMED, company),
                (false, true) if few > 0.0 => way.add(ORDINARY[0] * few, ORDINARY[1] * company),
                (false, true) => way.add(-0.5, -0.5),
                (false, false) => {}
            }
            way.strange += u32::from(few > 0.0);
        }
        if named || refused {
            client.sight(Family::Auth, Sighting::of(seen.call));
        }
        let way = principal.way;
        if scales.wants(Test::Functions, way.nats()) {
            let finding = Finding::new(Test::Functions, Technique::FunctionAccess, way.nats());
            let passed = scales.weigh(finding.compared(f64::from(way.strange), 0.0));
            if passed && !std::mem::replace(&mut principal.accused, true) && peers.first && !suspect {
                // What it taught its peers here is withdrawn.
                peers.uses.leave();
            }
        }
    }
    if suspect || principal.accused {
        return;
    }
    if refused {
        going.refused = going.refused.saturating_add(1);
        return;
    }
    going.principals += 1;
    principal.way.contacts = principal.way.contacts.saturating_add(1);
    if begins {
        principal.way.operator = true;
        role.operators += 1;
    }
    if principal.way.operator {
        going.operators = going.operators.saturating_add(1);
    }
}
