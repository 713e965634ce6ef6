//! Recon, object by object: who asks for more of an API's objects than their peers, for those they may not have, or for
//! one after the other.
//!
//! An object is a path of a template with parameters, or what is looked up by an address or a number in the query. The
//! count of the former is compared with that of peers at the same endpoint; that none of them comes there at all is evidence as
//! well. Denials, and objects that do not exist, are sequential tests of their own against the share of them that the
//! endpoint answers so.

use super::budget::{Scales, Test};
use super::finding::Finding;
use super::observation::{Observation, repeated};
use super::principal::{OWN_ROLE, Peers};
use super::rules::Prior;
use super::state::{Client, Endpoint};
use crate::alert::{Family, Sighting, Technique};
use crate::model::{Moments, ln_1p, tail};

/// Strangeness, in nats, from which on few objects are enough: none of ninety peers comes here.
const STRANGE: f64 = 4.5;

/// How many times the evidence of the number of objects its strangeness may be.
const STRANGE_MULTIPLE: f64 = 3.0;

/// Takes one call of a principal to an endpoint that is known.
pub(super) fn observe(
    seen: &Observation<'_>,
    client: &mut Client,
    peers: &mut Peers<'_>,
    endpoint: &mut Endpoint,
    scales: &mut Scales<'_>,
) {
    let looked_up = seen.call.method == "GET" && !seen.call.sensitive.request.is_empty();
    if !seen.place.parameterised && !looked_up {
        return;
    }
    // What everybody may read without credentials is public: crawlers may have all of it.
    if endpoint.anonymous > 0.1 * endpoint.authenticated {
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
    let Some(track) = principal.track(seen.endpoint) else { return };
    if !track.objects.insert(object) {
        return;
    }
    let denied = seen.status == Some(403);
    let absent = seen.absent();
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
    if let Some(number) = last_number(&seen.call.path) {
        track.number(number);
    }
    let (denials, absences) = (track.denials.nats(), track.absences.nats());
    let walk = denials.max(absences);
    let others = track.taught.map_or(uses.objects, |taught| uses.objects.without(taught));
    let own_role = machine || group.members < OWN_ROLE;
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
    let reads = matches!(&*seen.call.method, "GET" | "HEAD");
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
    let floor = match strange {
        _ if strange > STRANGE => in_strange,
        _ if ordered || lonely => in_order,
        _ => in_none,
    };
    let strange = strange.min(STRANGE_MULTIPLE * nats);
    // Who writes what it reads does a job. How many people somebody asks about where its peers ask as well is for the
    // test of lookups.
    let crowded = reads && (seen.place.parameterised || lonely) && count as f64 >= floor && nats > 2.0;
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

/// The last number in a path, when its last parameter is one.
fn last_number(path: &str) -> Option<u64> {
    path.as_bytes().rsplit(|&byte| byte == b'/').find_map(|segment| {
        let begin = segment.iter().position(u8::is_ascii_digit)?;
        segment.get(begin..)?.iter().try_fold(0u64, |number, &byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        })
    })
}
