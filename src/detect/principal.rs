//! Who is behind a credential, with which others they are compared, and what they took.
//!
//! A principal is a subject where the credential names one, else the credential itself: an office behind one address is
//! many, somebody who moves from address to address is one, and so is a token that is renewed every hour. Principals of
//! one group (tokens of one issuer, client, scopes, roles and form of subject; keys of one form; one session cookie; of those
//! that do not say whom they stand for, all from private addresses or none) are each other's peers, endpoint by endpoint: what is a day's work for those who answer customers is a theft for
//! a customer.

use serde::{Deserialize, Serialize};

use super::functions::Way;
use super::observation::Observation;
use super::rules::Prior;
use super::settings::Settings;
use crate::call::{Credential, CredentialKind, Fingerprint};
use crate::endpoint::EndpointId;
use crate::model::{Distinct, Extreme, Logarithm, Moments, Ring, Step, Table, Touched, Walk, Window};
use crate::network::is_private;
use crate::time::Timestamp;

/// Windows in which bytes are counted.
pub(super) const VOLUME_WINDOWS: [Window; 3] = [Window::TenMinutes, Window::Hour, Window::Day];

/// Tells the principals and the group of what is encrypted from all others.
const ENCRYPTED: u64 = 0x0054_4c53;

/// Templates of which a principal's objects are followed at a time.
const TRACKS: usize = 6;

/// Members from which on a group says what its members do not do.
pub(super) const KNOWN_GROUP: u64 = 20;

/// Members below which a group is a role of its own, of which nothing is known.
pub(super) const OWN_ROLE: u64 = 5;

/// Programs of a group that are not a person's tool any more, and their share of it, the inverse of the least.
const PROGRAMS: u64 = 5;
const PROGRAMS_SHARE: u64 = 20;

/// What one principal did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Principal {
    pub(super) first: Timestamp,
    last: Timestamp,
    pub(super) group: u64,
    /// Calls with keys, or is a program in a group of programs: works through lists.
    pub(super) machine: bool,
    tracks: Vec<Track>,
    pub(super) touched: Touched,
    pub(super) way: Way,
    pub(super) values: Values,
    /// Bytes beyond what the endpoints' answers usually have.
    pub(super) excess: [Ring; VOLUME_WINDOWS.len()],
    pub(super) excess_extremes: [Extreme; VOLUME_WINDOWS.len()],
    pub(super) excess_steps: [Step; VOLUME_WINDOWS.len()],
    pub(super) pace: super::pace::Pace,
    /// An alert named it: it teaches nobody any more.
    pub(super) accused: bool,
}

/// Distinct sensitive values, by day.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Values {
    pub(super) day: i64,
    pub(super) seen: Distinct,
    /// When the first of them came.
    pub(super) since: Timestamp,
    /// Values so far, by the weights of their classes.
    pub(super) weight: f64,
    pub(super) extreme: Extreme,
    pub(super) step: Step,
    /// What it has contributed to its group.
    pub(super) taught: f64,
    #[serde(skip)]
    pub(super) logarithm: Logarithm,
}

/// The objects of one template that a principal asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Track {
    pub(super) endpoint: EndpointId,
    pub(super) objects: Distinct,
    pub(super) denials: Walk,
    pub(super) denied: u32,
    /// Objects that do not exist.
    pub(super) absences: Walk,
    pub(super) absent: u32,
    /// The last numeric identifier, and how many steps between neighbours there were.
    last: u64,
    steps: u32,
    /// How many numeric identifiers there were, the lowest and the highest.
    numbers: u32,
    lowest: u64,
    highest: u64,
    /// What it has contributed to its peers at this endpoint.
    pub(super) taught: Option<f64>,
}

/// What a group has in common.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Group {
    /// Principals seen so far.
    pub(super) members: u64,
    /// Those of them that came with the user agent of a program.
    programs: u64,
    /// Logarithms of weighted values a day, a place a principal.
    pub(super) values: Moments,
    #[serde(skip)]
    usual: Logarithm,
}

/// How a group uses an endpoint.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Use {
    /// Principals that got an answer there.
    principals: u64,
    /// Logarithms of objects asked for, a place a principal.
    pub(super) objects: Moments,
}

/// All principals and groups.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Principals {
    table: Table<u64, Principal>,
    groups: Table<u64, Group>,
    uses: Table<u64, Use>,
}

/// A principal among its peers.
pub(super) struct Peers<'p> {
    pub(super) principal: &'p mut Principal,
    pub(super) group: &'p mut Group,
    /// How the group uses the endpoint that was called.
    pub(super) uses: &'p mut Use,
    /// It is the principal's first good answer there, as far as is remembered.
    pub(super) first: bool,
    /// The group's hash.
    pub(super) own: u64,
}

impl Principals {
    pub(super) fn new(settings: &Settings) -> Principals {
        Principals {
            table: Table::new(settings.credentials),
            groups: Table::new(settings.groups),
            uses: Table::new(settings.endpoints.saturating_mul(4)),
        }
    }

    /// Entries that gave way to others.
    pub(super) fn evicted(&self) -> u64 {
        self.table.evicted() + self.groups.evicted() + self.uses.evicted()
    }

    pub(super) fn limit(&mut self, settings: &Settings) {
        self.table.limit(settings.credentials);
        self.groups.limit(settings.groups);
        self.uses.limit(settings.endpoints.saturating_mul(4));
    }

    /// Reads the index of a principal, for whoever needs it soon.
    #[inline]
    pub(super) fn warm(&self, key: u64) {
        self.table.warm(&key);
    }

    /// Reads a principal, for whoever needs it soon.
    #[inline]
    pub(super) fn warm_values(&self, key: u64) {
        if let Some(principal) = self.table.get(&key) {
            let tracks = principal.tracks.iter().fold(0, |sum, track| sum ^ track.endpoint.0);
            let values = principal.values.seen.warm();
            std::hint::black_box(
                tracks ^ values ^ principal.touched.warm() ^ u64::from(principal.accused) ^ principal.group,
            );
        }
    }

    /// The way of a principal among functions.
    #[cfg(test)]
    pub(super) fn way(&self, key: u64) -> Way {
        self.table.get(&key).map(|principal| principal.way).unwrap_or_default()
    }

    /// Who made a call, if the server knew them: it was answered well, or forbidden, or asked for what is not there by who
    /// had been answered well.
    pub(super) fn of(&mut self, seen: &Observation<'_>, suspect: bool) -> Option<Peers<'_>> {
        // Of what is encrypted the client answers for itself; all that can be read in it is how much there is.
        let itself = || Credential::new(CredentialKind::Other, Fingerprint(seen.key.pair(seen.client_hash, ENCRYPTED)));
        let encrypted;
        let credential = match seen.encrypted {
            Some(_) => {
                encrypted = Credential { group: Some(Fingerprint(seen.key.pair(0, ENCRYPTED))), ..itself() };
                &encrypted
            }
            None => seen.call.credential.as_ref()?,
        };
        // In a record a key in the query may be that of an application, and who its users are is unknown.
        if seen.recorded && credential.kind == CredentialKind::ApiKey {
            return None;
        }
        let key = credential.subject.unwrap_or(credential.fingerprint).0;
        let known = || self.table.get(&key).is_some();
        if !seen.good() && seen.status != Some(403) && !(seen.absent() && known()) {
            return None;
        }
        let kind = seen.key.pair(credential.kind as u64, 0);
        let group = credential.group.map_or(kind, |group| group.0);
        // Of credentials that do not say whom they stand for, those from within (staff, other services) are for other work than
        // those of the public.
        let own = match credential.subject.is_none() && is_private(seen.client) {
            true => seen.key.pair(group, 1),
            false => group,
        };
        let nobody = || Group { members: 0, programs: 0, values: Moments::default(), usual: Logarithm::default() };
        let group = self.groups.entry(own, nobody, |group| group.members)?;
        let program = seen.program;
        let joins = || {
            group.members += 1;
            group.programs += u64::from(program);
            Principal { first: seen.time, group: own, ..Principal::default() }
        };
        let principal = self.table.entry(key, joins, Principal::worth)?;
        principal.last = seen.time;
        principal.machine = credential.kind == CredentialKind::ApiKey || (program && group.has_programs());
        let place = seen.key.pair(own, seen.endpoint.0);
        let uses = self.uses.entry(place, Use::default, |uses| uses.principals)?;
        let first = seen.good() && principal.touched.touch(seen.endpoint.0) == 0;
        if first && !suspect && !principal.accused {
            uses.principals += 1;
        }
        Some(Peers { principal, group, uses, first, own })
    }
}

impl Group {
    /// Whether a program in it is one of several that are meant to be there: a lone one among people is a person with a tool.
    fn has_programs(&self) -> bool {
        2 * self.programs > self.members || self.has_several_programs()
    }

    /// Whether there are so many of them that they are known as such.
    pub(super) fn has_several_programs(&self) -> bool {
        self.programs >= PROGRAMS && PROGRAMS_SHARE * self.programs >= self.members
    }
}

impl Principal {
    /// What it is worth to remember it: evidence first, then the latest use.
    fn worth(&self) -> (u32, Timestamp) {
        let tracks = self.tracks.iter().map(Track::nats).fold(0.0, f64::max);
        (tracks.max(self.way.nats()) as u32 + 20 * u32::from(self.accused), self.last)
    }

    /// Reads what is known of the objects of a template, for whoever needs it soon.
    #[inline]
    pub(super) fn warm_objects(&self, endpoint: EndpointId) {
        if let Some(track) = self.tracks.iter().find(|track| track.endpoint == endpoint) {
            std::hint::black_box(track.objects.warm());
        }
    }

    /// The track of a template; the shortest one makes room when there are too many.
    pub(super) fn track(&mut self, endpoint: EndpointId) -> Option<&mut Track> {
        if let Some(place) = self.tracks.iter().position(|track| track.endpoint == endpoint) {
            return self.tracks.get_mut(place);
        }
        if self.tracks.len() >= TRACKS {
            let worth = |track: &Track| (track.nats() * 1000.0) as u64 + track.objects.count();
            let place = (0..self.tracks.len()).min_by_key(|&place| self.tracks.get(place).map_or(0, worth))?;
            self.tracks.swap_remove(place);
        }
        self.tracks.push(Track {
            endpoint,
            objects: Distinct::default(),
            denials: Walk::default(),
            denied: 0,
            absences: Walk::default(),
            absent: 0,
            last: 0,
            steps: 0,
            numbers: 0,
            lowest: u64::MAX,
            highest: 0,
            taught: None,
        });
        self.tracks.last_mut()
    }
}

impl Track {
    /// Evidence of its sequential tests.
    fn nats(&self) -> f64 {
        self.denials.nats().max(self.absences.nats())
    }

    /// A numeric identifier, of an object that was not asked for before.
    pub(super) fn number(&mut self, number: u64) {
        self.steps += u32::from(matches!(number.abs_diff(self.last), 1..=2));
        self.last = number;
        self.numbers = self.numbers.saturating_add(1);
        self.lowest = self.lowest.min(number);
        self.highest = self.highest.max(number);
    }

    /// Three steps in four between neighbours are a list that is walked; so is a range of which a third was asked for,
    /// in whatever order.
    pub(super) fn ordered(&self) -> bool {
        let count = self.objects.count();
        let numbers = u64::from(self.numbers);
        let dense = numbers >= 8 && numbers * 4 > count * 3 && self.highest.abs_diff(self.lowest) < 3 * numbers;
        u64::from(self.steps) * 4 > count * 3 || dense
    }
}

impl Group {
    /// The day's values of its members, of whom `others` were seen: in a role of its own next to nothing is known.
    pub(super) fn usual_values(&mut self, others: Moments, machine: bool, prior: &Prior) -> Moments {
        let own_role = self.members < OWN_ROLE;
        let median = if machine || own_role { prior.values_machine } else { prior.values };
        let deviation = prior.volume_deviation * if own_role { 1.5 } else { 1.0 };
        let mut usual = Moments::prior(4.0, self.usual.ln_1p(median), deviation * deviation);
        usual.merge(&others);
        usual
    }
}

impl Use {
    /// Takes back what a principal taught that was accused since.
    pub(super) fn withdraw(&mut self, taught: f64) {
        self.objects = self.objects.without(taught);
        self.leave();
    }

    /// One of them does not count any more.
    pub(super) fn leave(&mut self) {
        self.principals = self.principals.saturating_sub(1);
    }

    /// How improbable it is that one of the group comes here at all, in nats.
    pub(super) fn strangeness(&self, group: &Group) -> f64 {
        if group.members < KNOWN_GROUP {
            return 0.0;
        }
        let others = self.principals.saturating_sub(1) as f64;
        (group.members as f64 / (others + 0.5)).ln().max(0.0)
    }
}
