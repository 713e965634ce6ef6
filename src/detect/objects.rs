//! Recon, object by object: who asks for more of an API's objects than their peers, for those they may not have, or for
//! one after the other.
//!
//! An object is a path of a template with parameters, or what the query or the body of another names: an identifier
//! (`/order?id=1042`, the variables of GraphQL), an address or a number of somebody. The count of those that are read is compared
//! with that of peers at the same endpoint; that none of them comes there at all is evidence as well. Denials, and objects that do
//! not exist, are sequential tests of their own against the share of them that the endpoint answers so. Where most of those who
//! got what they asked for before are refused, it is the service that fails ([`Lately`]).

use serde::{Deserialize, Serialize};

use super::budget::{Scales, Test};
use super::finding::Finding;
use super::observation::{Observation, repeated};
use super::principal::{OWN_ROLE, Peers};
use super::rules::Prior;
use super::state::{Client, Endpoint, Unknown};
use crate::alert::{Family, Sighting, Technique};
use crate::call::OperationKind;
use crate::model::{Moments, ln_1p, tail};
use crate::rules::object::is_identifier;

/// Peers at an endpoint from which on it is known well what is ordinary there.
const MANY: f64 = 20.0;

/// Peers of an API key at an endpoint from which on it is known well what is ordinary there, and the logarithm of how few objects they
/// ask for in the mean: devices of one make ask for their own, and what they do differs less than what other programs do.
const MACHINES: f64 = 64.0;
/// See [`MACHINES`].
const FEW: f64 = 1.6;

/// Objects that do not exist, of whom nothing is known, below which it may be a list that has grown old; and the share of all that
/// were asked for, the inverse of the least.
const GUESSED: (u32, u64) = (60, 2);

/// Share of those who got what they asked for before, one after the other, that an endpoint refuses when it fails.
const FAILS: f64 = 0.6;

/// Callers, one after the other, after which it is known.
const CALLERS: usize = 8;

/// Templates of which what a client asks for without being known is followed.
const UNKNOWN: usize = 2;

/// Strangeness, in nats, from which on few objects are enough: none of ninety peers comes here.
const STRANGE: f64 = 4.5;

/// Parameters of a query that are looked at for identifiers.
const PARAMETERS: usize = 16;

/// How many times the evidence of the number of objects its strangeness may be.
const STRANGE_MULTIPLE: f64 = 3.0;

/// How an endpoint answers those who got what they asked for before, one after the other: the shares of them that it refuses of
/// late. Who was refused from the beginning, be they many, says nothing of the service.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Lately {
    /// The last of them, each once, and where the next one goes.
    clients: [u64; CALLERS],
    next: u8,
    denied: f64,
    absent: f64,
}

impl Lately {
    fn note(&mut self, client: u64, denied: bool, absent: bool) {
        if self.clients.contains(&client) {
            return;
        }
        if let Some(place) = self.clients.get_mut(usize::from(self.next)) {
            *place = client;
        }
        self.next = (self.next + 1) % CALLERS as u8;
        for (share, refused) in [(&mut self.denied, denied), (&mut self.absent, absent)] {
            *share += (f64::from(u8::from(refused)) - *share) / CALLERS as f64;
        }
    }

    /// What it refuses now says nothing of who asks.
    fn excuses(&self, denied: bool, absent: bool) -> bool {
        (denied && self.denied >= FAILS) || (absent && self.absent >= FAILS)
    }
}

/// Takes one call of a principal to an endpoint that is known.
pub(super) fn observe(
    seen: &Observation<'_>,
    client: &mut Client,
    peers: &mut Peers<'_>,
    endpoint: &mut Endpoint,
    scales: &mut Scales<'_>,
) {
    let looked_up = seen.call.method == "GET" && !seen.call.sensitive.request.is_empty();
    // What everybody may read without credentials is public: crawlers may have all of it.
    if endpoint.anonymous > 0.1 * endpoint.authenticated {
        return;
    }
    let identified = identified(seen);
    if !seen.place.parameterised && !looked_up && identified.is_none() {
        return;
    }
    let prior = &seen.rules.prior;
    let Peers { principal, group, uses, .. } = peers;
    let (machine, accused) = (principal.machine, principal.accused);
    let suspect = client.suspect() || accused;
    let object = seen
        .call
        .sensitive
        .request
        .iter()
        .flat_map(|sensitive| sensitive.values.iter())
        .fold(seen.key.hash(&[seen.call.path.as_bytes()]), |object, value| seen.key.pair(object, value.0));
    let object = identified.as_ref().map_or(object, |identified| seen.key.pair(object, identified.hash));
    let reads = reads(seen);
    // That nothing comes of what is written says little of who writes it: events are sent to a service that was moved.
    let asks = reads || !identified.as_ref().is_some_and(|identified| identified.in_body);
    let (denied, absent) = (seen.status == Some(403) && asks, seen.absent() && asks);
    let Some(track) = principal.track(seen.endpoint) else { return };
    if !suspect && track.objects.count() > u64::from(track.denied) + u64::from(track.absent) {
        endpoint.lately.note(seen.client_hash, denied, absent);
    }
    if endpoint.lately.excuses(denied, absent) || !track.objects.insert(object) {
        return;
    }
    let honest = (endpoint.denied + 30.0 * prior.denial) / (endpoint.asked + 30.0);
    let honest = honest.clamp(prior.denial, prior.denial_ceiling);
    let count = track.objects.count();
    let weight = if denied { 1.0 } else { repeated(count.saturating_sub(1)) };
    scales.tried(Test::ObjectDenials, weight);
    track.denials.advance(denied, weight, honest, (5.0 * honest).clamp(0.2, 0.9));
    track.denied += u32::from(denied);
    // Each object is asked for once, so that what exists hides nothing of what does not. Lists grow old.
    let gone = (endpoint.absent + 30.0 * prior.absence) / (endpoint.asked + 30.0);
    let least = prior.absence * if machine { 3.0 } else { 1.0 };
    let gone = gone.clamp(least, least.max(prior.absence_ceiling));
    // Who has a role of their own may well be a tester, who asks for what is not there.
    if group.members >= OWN_ROLE {
        scales.tried(Test::ObjectAbsences, 1.0);
        track.absences.advance(absent, 1.0, gone, (4.0 * gone).clamp(0.4, 0.9));
        track.absent += u32::from(absent);
    }
    if !suspect {
        endpoint.asked += weight;
        endpoint.denied += f64::from(u8::from(denied)) * weight;
        endpoint.absent += f64::from(u8::from(absent)) * weight;
    }
    let of_path = || last_number(&seen.call.path, &seen.place.template);
    if let Some(number) = identified.as_ref().map_or_else(of_path, |identified| identified.number) {
        track.number(number);
    }
    let (denials, absences) = (track.denials.nats(), track.absences.nats());
    let walk = denials.max(absences);
    let others = track.taught.map_or(uses.objects, |taught| uses.objects.without(taught));
    let alike = seen.api_key() && others.count() >= MACHINES && others.mean() <= FEW;
    let own_role = group.members < OWN_ROLE || (machine && !alike);
    if !suspect && count <= 64 {
        // Its place reaches two deviations above the others' at most.
        let most =
            if others.count() > 0.0 { others.mean() + 2.0 * others.variance().sqrt().max(0.5) } else { f64::MAX };
        let value = ln_1p(count).min(most);
        match track.taught.replace(value) {
            Some(old) => uses.objects.replace(old, value),
            None => uses.objects.enter(value),
        }
    }
    // Most of what follows is for those few who ask for many.
    let few = !reads || prior.objects_floor.iter().all(|&floor| (count as f64) < floor);
    let tests = [Test::Objects, Test::ObjectDenials, Test::ObjectAbsences];
    if few && !tests.into_iter().any(|test| scales.wants(test, walk)) {
        if denied || absent {
            client.sight(Family::Recon, Sighting::of(seen.call));
        }
        return;
    }
    let (nats, expected) = crowd(count, own_role, &others, prior);
    let ordered = track.ordered();
    let order = if ordered { 3.0 } else { 0.0 };
    // To be where none of one's peers is proves something only together with asking for much.
    let strange = uses.strangeness(group);
    let lonely = strange > 3.0;
    let [in_order, in_none, in_strange] = prior.objects_floor;
    // Of many peers it is known well how few others ask for.
    let in_none = if !own_role && others.count() >= MANY { in_none.min(2.0 * in_order) } else { in_none };
    let floor = match strange {
        _ if strange > STRANGE => in_strange,
        _ if ordered || lonely => in_order,
        _ => in_none,
    };
    let strange = strange.min(STRANGE_MULTIPLE * nats);
    // Who writes what it reads does a job. How many people somebody asks about where its peers ask as well is for the
    // test of lookups.
    let named = seen.place.parameterised || identified.is_some();
    let crowded = reads && (named || lonely) && count as f64 >= floor && nats > 2.0;
    let total = walk + if crowded { nats + order + strange } else { 0.0 };
    let count = count as f64;
    let (test, observed, expected) = match () {
        () if walk <= nats => (Test::Objects, count, expected),
        () if denials >= absences => (Test::ObjectDenials, f64::from(track.denied), count * honest),
        () => (Test::ObjectAbsences, f64::from(track.absent), count * gone),
    };
    let wanted = scales.wants(test, total);
    let finding = Finding::new(test, Technique::ObjectEnumeration, total).compared(observed, expected);
    let passed = wanted && scales.weigh(finding);
    if denied || absent || passed {
        client.sight(Family::Recon, Sighting::of(seen.call));
    }
    if !passed {
        return;
    }
    // What it taught its peers until now is withdrawn.
    if !accused && let Some(taught) = track.taught.take() {
        uses.withdraw(taught);
    }
    principal.accused = true;
}

/// Takes one call of nobody that the server knows, to an endpoint that is known: who asks for one object after another that does
/// not exist, with no credential or with one that was never answered well, answers for it by the address.
pub(super) fn unknown(seen: &Observation<'_>, client: &mut Client, endpoint: &mut Endpoint, scales: &mut Scales<'_>) {
    let absent = seen.absent();
    if seen.place.catch_all || seen.recorded || !(absent || seen.good()) || endpoint.lately.excuses(false, absent) {
        return;
    }
    let identified = identified(seen);
    let asks = match &identified {
        Some(identified) => !identified.in_body || reads(seen),
        None => seen.place.parameterised,
    };
    if !asks {
        return;
    }
    let suspect = client.suspect();
    let held = match client.unknown.iter().position(|held| held.endpoint == seen.endpoint) {
        Some(place) => place,
        // Most that comes there exists: nothing is remembered of it.
        None if !absent => {
            endpoint.asked += f64::from(u8::from(!suspect));
            return;
        }
        None => {
            if client.unknown.len() >= UNKNOWN {
                let least = |one: &&Unknown, other: &&Unknown| one.absences.nats().total_cmp(&other.absences.nats());
                let least = client.unknown.iter().min_by(least).map(|held| held.endpoint);
                client.unknown.retain(|held| Some(held.endpoint) != least);
            }
            let new = Unknown { endpoint: seen.endpoint, ..Unknown::default() };
            client.unknown.push(new);
            client.unknown.len() - 1
        }
    };
    let Some(held) = client.unknown.get_mut(held) else { return };
    let object = seen.key.hash(&[seen.call.path.as_bytes()]);
    if !held.objects.insert(identified.map_or(object, |identified| seen.key.pair(object, identified.hash))) {
        return;
    }
    let prior = &seen.rules.prior;
    let gone = (endpoint.absent + 30.0 * prior.absence) / (endpoint.asked + 30.0);
    let gone = gone.clamp(prior.absence, prior.absence_ceiling);
    scales.tried(Test::ObjectAbsences, 1.0);
    held.absences.advance(absent, 1.0, gone, (4.0 * gone).clamp(0.4, 0.9));
    held.absent += u32::from(absent);
    let (nats, missed, count) = (held.absences.nats(), held.absent, held.objects.count());
    if !suspect {
        endpoint.asked += 1.0;
        endpoint.absent += f64::from(u8::from(absent));
    }
    if absent {
        client.sight(Family::Recon, Sighting::of(seen.call));
    }
    // Links grow old together, and devices are set up one after the other.
    let guessed = missed >= GUESSED.0 && GUESSED.1 * u64::from(missed) >= count;
    if guessed && scales.wants(Test::ObjectAbsences, nats) {
        let finding = Finding::new(Test::ObjectAbsences, Technique::ObjectEnumeration, nats);
        scales.weigh(finding.compared(f64::from(missed), count as f64 * gone));
    }
}

/// How improbable it is among peers to ask for so many objects, and how many are ordinary.
fn crowd(count: u64, own_role: bool, peers: &Moments, prior: &Prior) -> (f64, f64) {
    let usual = if own_role { prior.objects_machine } else { prior.objects };
    let mut all = Moments::prior(4.0, usual.ln_1p(), 1.0);
    all.merge(peers);
    // Of a role of its own nothing is known.
    let deviation = all.variance().sqrt().max(if own_role { 1.5 } else { 0.8 });
    let mean = if own_role { all.mean().max(usual.ln_1p()) } else { all.mean() };
    (tail::normal(ln_1p(count), mean, deviation), mean.exp_m1())
}

/// What a query says of the object that is asked for.
struct Identified {
    hash: u64,
    number: Option<u64>,
    in_body: bool,
}

/// Whether a call only reads, whatever its method is.
fn reads(seen: &Observation<'_>) -> bool {
    let named = |name: &str| seen.rules.objects.read(name);
    match (&*seen.call.method, &seen.call.operation) {
        (_, Some(operation)) => match operation.kind {
            Some(kind) => kind == OperationKind::Query,
            None => operation.name.as_deref().is_some_and(named),
        },
        ("GET" | "HEAD", None) => true,
        ("POST", None) => named(seen.place.path()),
        _ => false,
    }
}

/// The identifiers in the query, or the body, of a call whose path has no parameter.
fn identified(seen: &Observation<'_>) -> Option<Identified> {
    if seen.place.parameterised || seen.login {
        return None;
    }
    let in_body = || {
        let object = seen.call.request_values.as_ref()?.object?;
        Some(Identified { hash: object.0, number: None, in_body: true })
    };
    match (in_query(seen), in_body()) {
        (Some(query), Some(body)) => Some(Identified { hash: seen.key.pair(query.hash, body.hash), ..body }),
        (query, body) => query.or(body),
    }
}

/// The identifiers in the query of a call.
fn in_query(seen: &Observation<'_>) -> Option<Identified> {
    if seen.call.query_names.is_empty() {
        return None;
    }
    let pairs = seen.query().split('&').take(PARAMETERS).filter_map(|pair| pair.split_once('='));
    let named = |name: &str| seen.rules.objects.name(name.as_bytes());
    let mut objects = pairs.filter(|(name, value)| is_identifier(value.as_bytes()) && named(name));
    let of = |(name, value): (&str, &str)| Identified {
        hash: seen.key.hash(&[name.as_bytes(), b"=", value.as_bytes()]),
        number: number(value),
        in_body: false,
    };
    let first = of(objects.next()?);
    Some(objects.map(of).fold(first, |all, next| Identified { hash: seen.key.pair(all.hash, next.hash), ..next }))
}

/// The number that the last parameter of a path is, or ends in behind letters (`INV-2026-0017`, `user42`). Digits among letters are
/// no number: those of a UUID or a hash say nothing of what comes next.
fn last_number(path: &str, template: &str) -> Option<u64> {
    let (mut path, mut template) = (path, template);
    loop {
        let (above, segment) = last_segment(path);
        let (above_known, known) = last_segment(template);
        if known.starts_with('{') {
            return number(segment);
        }
        (path, template) = (above?, above_known?);
    }
}

/// The last segment of a path, and what is above it.
#[inline]
fn last_segment(path: &str) -> (Option<&str>, &str) {
    match memchr::memrchr(b'/', path.as_bytes()) {
        Some(slash) => (path.get(..slash), path.get(slash + 1..).unwrap_or_default()),
        None => (None, path),
    }
}

/// The number that an identifier is, or ends in.
fn number(identifier: &str) -> Option<u64> {
    let digits = identifier.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let mut number = digits.bytes().filter(|byte| !matches!(byte, b'-' | b'_' | b'.')).peekable();
    number.peek()?;
    number.try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_objects_are_those_of_the_last_parameter() {
        for (path, template, number) in [
            ("/v1/orders/1042", "/v1/orders/{id}", Some(1042)),
            ("/v1/orders/1042/items", "/v1/orders/{id}/items", Some(1042)),
            ("/v1/invoices/INV-2026-0017", "/v1/invoices/{id}", Some(20_260_017)),
            ("/users/user42", "/users/{id}", Some(42)),
            // Neither the version of the API nor what a hash has among its letters.
            ("/v1/cases/9f1b2c3d-5f7a-4f43-9f1d-3d1b8f1c2a77", "/v1/cases/{id}", None),
            ("/v1/cases/blue-suede-shoes", "/v1/cases/{id}", None),
            ("/v1/status", "/v1/status", None),
            ("/v1/orders/99999999999999999999999", "/v1/orders/{id}", None),
        ] {
            assert_eq!(last_number(path, template), number, "{path}");
        }
    }
}
