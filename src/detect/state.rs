//! All that the detector remembers: one value that serialises, so that it can be checkpointed and restored.

use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize};

use super::accounts::Accounts;
use super::beacon::Beacons;
use super::budget::Budget;
use super::campaign::{Kin, Newcomers};
use super::fields::Writes;
use super::flood::{Meters, Population};
use super::functions::Roles;
use super::incident::Incidents;
use super::lookup::Lookups;
use super::objects::Lately;
use super::principal::Principals;
use super::reset::Resets;
use super::returned::Returns;
use super::rules::DetectRules;
use super::settings::Settings;
use super::slow::Slow;
use crate::alert::{EVIDENCE_LIMIT, Family, Sighting};
use crate::call::Fingerprint;
use crate::endpoint::{EndpointId, HashKey, Merged, Templates};
use crate::model::{Distinct, Exponential, Extreme, Moments, Profile, Ring, Table, Touched, Walk};
use crate::time::Timestamp;

/// Seconds of traffic before which an alert's confidence is low.
const COLD: u64 = 600;

macro_rules! remembered {
    ($($(#[doc = $doc:literal])* $field:ident: $of:ty,)+) => {
        /// What the detector remembers.
        #[derive(Clone, Debug, Serialize)]
        pub struct State {
            $($(#[doc = $doc])* pub(super) $field: $of,)+
        }

        /// The same as an earlier run kept it, perhaps one of another version: what that did not know is absent, and what is not
        /// known any more is passed over.
        #[derive(Debug, Default, Deserialize)]
        #[serde(default)]
        pub struct Stored {
            $(#[serde(deserialize_with = "present")] $field: Option<$of>,)+
        }

        impl Stored {
            /// Lays it over a state that has seen nothing. Gives the names of what was not kept, and so begins anew.
            fn over(self, mut state: State) -> (State, Vec<&'static str>) {
                let mut absent = Vec::new();
                $(match self.$field {
                    Some(kept) => state.$field = kept,
                    None if OF_A_DAY.contains(&stringify!($field)) => {}
                    None => absent.push(stringify!($field)),
                })+
                (state, absent)
            }
        }
    };
}

/// What holds nothing from before today: that an older checkpoint lacks it is no loss.
const OF_A_DAY: [&str; 1] = ["accounts"];

/// What is there is present, be it nothing.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

remembered! {
    key: HashKey,
    templates: Templates,
    now: Timestamp,
    begin: Option<Timestamp>,
    calls: u64,
    budget: Budget,
    incidents: Incidents,
    clients: Table<IpAddr, Client>,
    endpoints: Table<EndpointId, Endpoint>,
    places: Table<u64, Timestamp>,
    parameters: Table<u64, Timestamp>,
    misses: Table<u64, Missed>,
    credentials: Table<Fingerprint, Holder>,
    principals: Principals,
    roles: Roles,
    people: Population,
    machines: Population,
    newcomers: Newcomers,
    /// Newcomers that called fast and long.
    swarm: Newcomers,
    /// Clients that failed to log in to several accounts, or to one that is attacked.
    guessers: Newcomers,
    accounts: Accounts,
    /// Clients that were accused of recon, by user agent.
    kin: Table<u64, Kin>,
    /// Failed logins by endpoint.
    logins: Table<u64, LoginFailures>,
    basic: Distinct,
    /// Connections that keep a server waiting.
    slow: Slow,
    /// Requests that are given up at once.
    resets: Table<IpAddr, Resets>,
    /// What is written where.
    writes: Writes,
    /// What is given where.
    returns: Returns,
    /// Who asks about whom.
    lookups: Lookups,
    /// Who comes back by the clock.
    beacons: Beacons,
}

impl Stored {
    /// The state of a run that goes on from it under these settings and rules, and the names of what was not kept; none where
    /// it was learned under another key, and means nothing.
    pub(super) fn resume(
        self,
        settings: &Settings,
        rules: &DetectRules,
        key: HashKey,
    ) -> Option<(State, Vec<&'static str>)> {
        (self.key == Some(key)).then(|| self.over(State::new(settings, rules, key)))
    }
}

impl State {
    pub(super) fn new(settings: &Settings, rules: &DetectRules, key: HashKey) -> State {
        let weight = rules.prior.weight;
        State {
            key,
            templates: Templates::new(settings.templates.clone(), key),
            now: Timestamp::ZERO,
            begin: None,
            calls: 0,
            budget: Budget::new(),
            incidents: Incidents::new(settings.incidents),
            clients: Table::new(settings.clients),
            endpoints: Table::new(settings.endpoints),
            places: Table::new(settings.endpoints),
            parameters: Table::new(settings.endpoints),
            misses: Table::new(settings.misses),
            credentials: Table::new(settings.credentials),
            principals: Principals::new(settings),
            roles: Roles::new(settings),
            people: Population::new(weight, &rules.meter, |rule| rule.person),
            machines: Population::new(weight, &rules.meter, |rule| rule.machine),
            newcomers: Newcomers::default(),
            swarm: Newcomers::default(),
            guessers: Newcomers::default(),
            accounts: Accounts::new(settings),
            kin: Table::new(settings.incidents),
            logins: Table::new(settings.login_endpoints),
            basic: Distinct::default(),
            slow: Slow::new(settings),
            resets: Table::new(settings.slow_clients),
            writes: Writes::new(settings),
            returns: Returns::new(settings),
            lookups: Lookups::new(settings),
            beacons: Beacons::new(settings),
        }
    }

    /// Whether so little traffic was seen that an alert's confidence is low.
    pub(super) fn is_cold(&self) -> bool {
        self.begin.is_none_or(|begin| self.now.since(begin).as_secs() < COLD)
    }

    /// What was known of endpoints whose templates are merged goes to what they are now: the best known of them goes on,
    /// the others are forgotten.
    pub(super) fn merge(&mut self, merged: &Merged) {
        for moved in &merged.moves {
            let from = EndpointId::of_template(&self.key, &merged.host, &moved.from, &moved.method);
            let to = EndpointId::of_template(&self.key, &merged.host, &moved.to, &moved.method);
            let Some(mut endpoint) = self.endpoints.remove(&from) else { continue };
            endpoint.template = moved.to.as_str().into();
            endpoint.parameterised = true;
            match self.endpoints.get_mut(&to) {
                Some(held) if held.successes >= endpoint.successes => {
                    held.successes += endpoint.successes;
                    held.accused |= endpoint.accused;
                }
                Some(held) => {
                    endpoint.successes += held.successes;
                    endpoint.accused |= held.accused;
                    *held = endpoint;
                }
                None => {
                    self.endpoints.insert(to, endpoint, |endpoint| endpoint.successes);
                }
            }
            let place = self.key.hash(&[merged.host.as_bytes(), moved.to.as_bytes()]);
            self.places.insert(place, self.now, |time| *time);
        }
    }

    /// Entries that gave way to others, of the tables that have no counter of their own.
    pub(super) fn evicted(&self) -> u64 {
        let by_hash = self.places.evicted() + self.parameters.evicted() + self.misses.evicted();
        let of_logins = self.logins.evicted() + self.kin.evicted();
        let parts = [
            self.principals.evicted(),
            self.roles.evicted(),
            self.writes.evicted(),
            self.returns.evicted(),
            self.lookups.evicted(),
            self.accounts.evicted(),
            self.beacons.evicted(),
            self.slow.evicted(),
        ];
        by_hash + of_logins + self.credentials.evicted() + parts.iter().sum::<u64>()
    }

    /// Fits the tables to the limits; gives how many clients and endpoints had to leave.
    pub(super) fn limit(&mut self, settings: &Settings) -> (usize, usize) {
        self.places.limit(settings.endpoints);
        self.parameters.limit(settings.endpoints);
        self.misses.limit(settings.misses);
        self.credentials.limit(settings.credentials);
        self.principals.limit(settings);
        self.roles.limit(settings);
        self.logins.limit(settings.login_endpoints);
        self.slow.limit(settings);
        self.resets.limit(settings.slow_clients);
        self.writes.limit(settings);
        self.returns.limit(settings);
        self.lookups.limit(settings);
        self.accounts.limit(settings);
        self.beacons.limit(settings);
        (self.clients.limit(settings.clients), self.endpoints.limit(settings.endpoints))
    }
}

/// User agents of a client, beside the first, of which first contacts are tested alone: the latest, and those of most
/// evidence.
const AGENTS: usize = 4;

/// How many people are believed to be behind a client of which little is seen.
const UNSEEN_PEOPLE: u64 = 4;

/// What one client did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Client {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) calls: u64,
    /// Bytes of a minute, requests and answers: for who looks on, no test asks for them.
    pub(super) bytes: Ring,
    /// Calls of which something was lost.
    pub(super) damaged: u64,
    /// An API key was accepted: it is counted among machines.
    pub(super) machine: bool,
    pub(super) credential: Option<Fingerprint>,
    pub(super) meters: Meters,
    pub(super) touched: Touched,
    pub(super) recon: Walk,
    /// The first user agent, and the same test for each of the others alone: what a tool does behind a busy address,
    /// or beside an honest life, is not hidden by the rest.
    pub(super) first_agent: u64,
    pub(super) recon_by_agent: Vec<(u64, Walk)>,
    pub(super) misses: Misses,
    pub(super) logins: Logins,
    pub(super) assigned: Assigned,
    /// Fields of answers that nobody else gets.
    pub(super) returned: Assigned,
    /// An alert named it.
    pub(super) accused: bool,
    pub(super) sightings: Vec<Sightings>,
    /// Visits to servers in TLS without keys at no regular time.
    pub(super) wanders: u32,
    /// The first two endpoints that were called, and whether there were more.
    pub(super) first_two: [Option<EndpointId>; 2],
    pub(super) roams: bool,
    pub(super) people: People,
    /// Objects asked for without being known, by template.
    pub(super) unknown: Vec<Unknown>,
}

/// The objects of one template that a client asked for of whom the server knows nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Unknown {
    pub(super) endpoint: EndpointId,
    pub(super) objects: Distinct,
    /// Of these, such as do not exist.
    pub(super) absences: Walk,
    pub(super) absent: u32,
}

impl Client {
    /// Reads a word of each line of memory that a call needs.
    #[inline]
    pub(super) fn warm(&self) -> u64 {
        self.calls ^ self.meters.warm() ^ self.touched.warm() ^ self.people.warm() ^ self.recon.nats().to_bits()
    }

    /// Bytes on the heap, about: texts of calls may be shared with others.
    pub(super) fn heap(&self) -> usize {
        let calls = self.sightings.iter().map(|held| sightings_bytes(&held.calls)).sum::<usize>();
        calls
            + self.sightings.capacity() * size_of::<Sightings>()
            + self.recon_by_agent.capacity() * size_of::<(u64, Walk)>()
            + self.touched.bytes()
            + self.people.bytes()
            + self.logins.attempts.bytes()
            + self.logins.guesses.bytes()
            + self.unknown.iter().map(|held| size_of::<Unknown>() + held.objects.bytes()).sum::<usize>()
    }

    /// How many people there may be behind it, at least one. Of whom half the calls are incomplete, the credentials are not
    /// known either: it may well be an office, or a program.
    pub(super) fn people(&self) -> u64 {
        let known = self.people.count();
        if self.damaged * 2 > self.calls { known.max(UNSEEN_PEOPLE) } else { known }
    }

    /// Share of its calls of which something was lost.
    pub(super) fn damaged_share(&self) -> f64 {
        self.damaged as f64 / self.calls.max(1) as f64
    }

    /// Notes which endpoint is called, as long as there are only two.
    pub(super) fn narrow(&mut self, endpoint: EndpointId) {
        if self.roams {
            return;
        }
        for held in &mut self.first_two {
            if *held.get_or_insert(endpoint) == endpoint {
                return;
            }
        }
        self.roams = true;
    }

    /// The test of first contacts that says most: of all calls, or of those of one user agent.
    pub(super) fn explored(&self) -> &Walk {
        let most = |one: &'_ Walk, other: &'_ Walk| one.nats() < other.nats();
        self.recon_by_agent.iter().fold(&self.recon, |best, (_, walk)| if most(best, walk) { walk } else { best })
    }

    /// One more first contact by a user agent, which takes the test a step on.
    pub(super) fn explore(&mut self, agent: u64, step: impl Fn(&mut Walk) -> f64) {
        step(&mut self.recon);
        if self.first_agent == 0 {
            self.first_agent = agent;
        }
        if agent == self.first_agent {
            return;
        }
        let place = match self.recon_by_agent.iter().position(|(held, _)| *held == agent) {
            Some(place) => place,
            None => {
                if self.recon_by_agent.len() >= AGENTS {
                    let least = |one: &(u64, Walk), other: &(u64, Walk)| one.1.nats().total_cmp(&other.1.nats());
                    if let Some((least, _)) = self.recon_by_agent.iter().enumerate().min_by(|a, b| least(a.1, b.1)) {
                        self.recon_by_agent.remove(least);
                    }
                }
                self.recon_by_agent.push((agent, Walk::default()));
                self.recon_by_agent.len() - 1
            }
        };
        if let Some((_, walk)) = self.recon_by_agent.get_mut(place) {
            step(walk);
        }
    }

    /// Whether its behaviour may not teach: an alert named it, or it is half way to one.
    pub(super) fn suspect(&self) -> bool {
        self.accused || self.explored().nats() > 5.0 || self.logins.walk.nats() > 6.0
    }

    /// What it is worth to remember it: evidence first, then the latest use.
    pub(super) fn worth(&self) -> (u32, Timestamp) {
        let nats = self.explored().nats().max(self.logins.walk.nats()).max(self.assigned.nats).max(self.returned.nats);
        (nats as u32 + 20 * u32::from(self.accused), self.last)
    }

    /// Remembers a call as evidence of a family.
    pub(super) fn sight(&mut self, family: Family, sighting: Sighting) {
        let place = match self.sightings.iter().position(|held| held.family == family as u8) {
            Some(place) => place,
            None => {
                self.sightings.push(Sightings { family: family as u8, first: Some(sighting.time), calls: Vec::new() });
                self.sightings.len() - 1
            }
        };
        if let Some(held) = self.sightings.get_mut(place) {
            // The first two say how it began, the others are the latest.
            if held.calls.len() >= EVIDENCE_LIMIT {
                held.calls.remove(2);
            }
            held.calls.push(sighting);
        }
    }

    /// Forgets the calls that were evidence of a family: what comes is another story.
    pub(super) fn forget(&mut self, family: Family) {
        self.sightings.retain(|held| held.family != family as u8);
    }

    /// The evidence of a family.
    pub(super) fn evidence(&self, family: Family) -> Option<&Sightings> {
        self.sightings.iter().find(|held| held.family == family as u8)
    }
}

/// Credentials that were accepted from one address in the last ten to twenty minutes: how many people an office behind
/// it has.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct People {
    epoch: i64,
    current: Distinct,
    previous: u64,
}

impl People {
    /// See [`Client::warm`].
    fn warm(&self) -> u64 {
        self.epoch as u64 ^ self.current.count()
    }

    /// Notes an accepted credential.
    pub(super) fn note(&mut self, time: Timestamp, credential: u64) {
        let epoch = time.nanos() / 600_000_000_000;
        if epoch != self.epoch {
            self.previous = if epoch == self.epoch + 1 { self.current.count() } else { 0 };
            self.current = Distinct::default();
            self.epoch = epoch;
        }
        self.current.insert(credential);
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.current.bytes()
    }

    /// True when none was accepted.
    pub(super) fn is_empty(&self) -> bool {
        self.current.count() == 0 && self.previous == 0
    }

    /// How many there are, at least one.
    pub(super) fn count(&self) -> u64 {
        self.current.count().max(self.previous).max(1)
    }
}

/// Calls that are evidence of a family.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sightings {
    pub(super) family: u8,
    pub(super) first: Option<Timestamp>,
    pub(super) calls: Vec<Sighting>,
}

/// What calls that are kept as evidence take.
fn sightings_bytes(calls: &Vec<Sighting>) -> usize {
    let targets = calls.iter().map(|call| call.target.len()).sum::<usize>();
    calls.capacity() * size_of::<Sighting>() + targets
}

/// Misses by technique, to name what prevails.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Misses {
    pub(super) paths: f64,
    pub(super) methods: f64,
    pub(super) parameters: f64,
    pub(super) probes: f64,
    pub(super) injections: f64,
    pub(super) forgeries: f64,
    /// How many of the first calls were distinct misses.
    pub(super) opening: u8,
}

/// Fields that nobody else writes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Assigned {
    pub(super) nats: f64,
    pub(super) fields: u32,
}

/// Attempts to log in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Logins {
    pub(super) walk: Walk,
    pub(super) failures: u64,
    pub(super) recent: Ring,
    /// Distinct attempts that failed, as far as they can be told apart.
    pub(super) attempts: Distinct,
    /// Further passwords for the same accounts.
    #[serde(default)]
    pub(super) guesses: Distinct,
    pub(super) successes: u64,
}

/// Failed logins of one endpoint that were no repetitions.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct LoginFailures {
    pub(super) hour: Ring,
    /// Counts of the hours that are over.
    pub(super) hours: Profile,
    pub(super) epoch: i64,
    pub(super) current: u64,
}

/// What is known of an endpoint that has answered well.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Endpoint {
    pub(super) host: Box<str>,
    pub(super) method: Box<str>,
    pub(super) template: Box<str>,
    pub(super) parameterised: bool,
    /// Its name says that only those who run the service should call it.
    pub(super) administrative: bool,
    pub(super) first: Timestamp,
    pub(super) successes: u64,
    pub(super) clients: Distinct,
    /// Answers that were inspected, weighted by client.
    pub(super) answers: f64,
    /// Good answers with and without credentials, weighted by client.
    pub(super) authenticated: f64,
    pub(super) anonymous: f64,
    /// Those of them with a credential that was in a cookie, which whoever comes may have been given.
    #[serde(default)]
    pub(super) in_cookies: f64,
    /// Callers without credentials that were refused.
    pub(super) refused: u64,
    pub(super) open: Walk,
    /// The test of answers to callers without credentials, of their calls alone.
    pub(super) unlocked: Walk,
    pub(super) classes: Vec<Exposure>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) next_parameter: u8,
    /// Objects asked for, denied, and not there.
    pub(super) asked: f64,
    pub(super) denied: f64,
    pub(super) absent: f64,
    #[serde(default)]
    pub(super) lately: Lately,
    /// Response sizes: logarithms, weighted by client.
    pub(super) sizes: Moments,
    /// The bytes that their mean comes to.
    #[serde(skip)]
    pub(super) usual_size: Exponential,
    pub(super) oversized: Distinct,
    pub(super) oversized_answers: u32,
    /// Seconds to its answers, logarithms.
    pub(super) latencies: Moments,
    /// Clients that repeat it, or make it work, half as much as would be worth an alert.
    pub(super) heavy_users: Distinct,
    /// Clients that send secrets in its URLs.
    pub(super) secrets: Distinct,
    pub(super) rate: Ring,
    pub(super) rate_extreme: Extreme,
    /// Callers of the last ten minutes that call nothing else.
    pub(super) single: Ring,
    /// An alert was about it.
    pub(super) accused: bool,
}

impl Endpoint {
    /// Whether it is suspected, or known, to return a class of data that it did not return before.
    pub(super) fn begins_to_give(&self, class: &str) -> bool {
        self.classes.iter().any(|exposure| {
            (exposure.alerted || (exposure.walk.nats() > 2.0 && exposure.clients.count() > 2))
                && *exposure.class == *class
        })
    }

    /// Bytes on the heap, about.
    pub(super) fn heap(&self) -> usize {
        let classes = self
            .classes
            .iter()
            .map(|exposure| exposure.class.len() + exposure.clients.bytes() + sightings_bytes(&exposure.sightings));
        let texts = self.host.len() + self.method.len() + self.template.len();
        let distinct = [&self.clients, &self.oversized, &self.heavy_users, &self.secrets].map(Distinct::bytes);
        texts
            + distinct.iter().sum::<usize>()
            + self.classes.capacity() * size_of::<Exposure>()
            + classes.sum::<usize>()
            + self.parameters.capacity() * size_of::<Parameter>()
    }

    /// Method and template.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.method, self.template)
    }
}

/// One class of sensitive data at an endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Exposure {
    pub(super) class: Box<str>,
    /// Weighted answers, and those of them that had it, before the present suspicion.
    pub(super) answers: f64,
    pub(super) held: f64,
    pub(super) walk: Walk,
    /// Clients that got it since the suspicion began.
    pub(super) clients: Distinct,
    pub(super) alerted: bool,
    pub(super) sightings: Vec<Sighting>,
}

/// A query parameter of an endpoint.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Parameter {
    pub(super) name: u64,
    pub(super) first: u64,
    /// A second client used it.
    pub(super) confirmed: bool,
}

/// Who missed a path: up to eight clients by their hashes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Missed {
    pub(super) clients: [u32; 8],
    pub(super) count: u8,
}

impl Missed {
    /// Notes a client and gives how many others there are.
    pub(super) fn note(&mut self, client: u64, teaches: bool) -> usize {
        let hash = (client as u32).max(1);
        let known = self.clients.iter().take(usize::from(self.count)).filter(|&&held| held != hash).count();
        if teaches
            && !self.clients.contains(&hash)
            && let Some(slot) = self.clients.get_mut(usize::from(self.count))
        {
            *slot = hash;
            self.count += 1;
        }
        known
    }
}

/// Who used a credential.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Holder {
    pub(super) client: IpAddr,
    /// User agents at the first address, by their hashes; 0 for none.
    pub(super) agents: [u64; 4],
    /// It is a program.
    pub(super) program: bool,
    pub(super) last: Timestamp,
    pub(super) calls: u32,
    /// Calls by somebody with another address and another user agent, while the first went on.
    pub(super) strange: u32,
    /// How often the first came back after one of them since then.
    pub(super) switches: u32,
    /// The last call was a strange one.
    pub(super) away: bool,
    /// Calls by the other right behind one of the first.
    pub(super) near: u32,
    /// When the strange ones began to be counted.
    pub(super) since: Timestamp,
}

impl Holder {
    /// Notes a user agent that belongs to the holder.
    pub(super) fn note(&mut self, agent: u64) {
        if !self.agents.contains(&agent)
            && let Some(free) = self.agents.iter_mut().find(|held| **held == 0)
        {
            *free = agent;
        }
    }
}
