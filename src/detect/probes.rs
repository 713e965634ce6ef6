//! Recon, value by value: parameters that carry what is meant for somebody else than the service: addresses inside, metadata
//! services, files, and the syntax of databases, templates and shells.
//!
//! What such values look like is said in `rules/detect.toml`, and never decides. A value is a miss of the test of first
//! contacts ([`super::recon`]), and a rarer one than a path that is not there (`probe_ceiling`): once for each parameter and rule,
//! less by each other client that sends the like there, half where others were served who sent it to a parameter of this name elsewhere
//! at the host, and less where few called the endpoint before: what a parameter takes by design is no discovery. Further values of the sort count less and less. So one
//! odd value, or one sort of them, proves little, and a few of different sorts do; and so does one address inside after
//! another (`sweeps`).
//!
//! Parameters are those of the query, segments of the path that a template leaves open, and fields of the request's body (and
//! what files are called in it), of which the inspection says which rules their values fit ([`crate::call::RequestValues`]). People write what they like into
//! bodies: a field counts by how many called the endpoint well before, less by each other client of whom any rule was seen
//! in that field, a quarter where it stands in a long text, and what comes in one call is one decision. A box for comments,
//! searches or programs is harmless as soon as a few use it; what a field of many callers never had counts nearly whole.

use std::borrow::Cow;

use super::budget::Scales;
use super::observation::Observation;
use super::recon;
use super::rules::{ProbeKind, ProbeRule};
use super::state::{Client, Endpoint, Missed};
use crate::alert::{Family, Sighting};
use crate::call::RequestValues;
use crate::model::Table;
use crate::rules::probe::{MARKS, is_marked};

/// Parameters of a call that are looked at.
const PARAMETERS: usize = 16;

/// Bytes of a value that are looked at.
const VALUE: usize = 1_024;

/// Callers of an endpoint that say as much of a field as nobody does of one that is new.
const UNKNOWN: f64 = 10.0;

/// The same of a parameter of a query or a path, into which people do not write what they like.
const UNKNOWN_QUERY: f64 = 3.0;

/// Part of the evidence where a value is a long text.
const PROSE: f64 = 0.15;

/// Values of a sort in one parameter that count, and by which power further ones count less.
const SORT: (f64, f64) = (4.0, 2.0);

/// The same of addresses inside: one after another they are a sweep.
const SWEEP: (f64, f64) = (12.0, 0.5);

/// Tells fields of bodies, and segments of paths, from parameters of queries.
const BODY: u64 = 0x0042_4f44;
/// See [`BODY`].
const PATH: u64 = 0x0050_4154;

/// What is shared over all clients.
pub(super) struct Shared<'s, 'a> {
    pub(super) endpoint: Option<&'s Endpoint>,
    /// Who sent what to which parameter.
    pub(super) misses: &'s mut Table<u64, Missed>,
    pub(super) scales: &'s mut Scales<'a>,
}

/// Takes one call; gives whether a value of it is such a one.
#[inline]
pub(super) fn observe(seen: &Observation<'_>, client: &mut Client, shared: &mut Shared<'_, '_>) -> bool {
    if seen.status.is_none() {
        return false;
    }
    let mut probed = false;
    // The names of the parameters are there when there is a query.
    if !seen.call.query_names.is_empty() {
        probed |= query(seen, client, shared);
    }
    // Of a path that is not known the miss is that it was asked for.
    if seen.place.parameterised && seen.place.known && path_is_odd(&seen.call.path) {
        probed |= path(seen, client, shared);
    }
    if let Some(values) = &seen.call.request_values {
        probed |= body(seen, values, client, shared);
    }
    probed
}

/// Looks at the values of a query.
fn query(seen: &Observation<'_>, client: &mut Client, shared: &mut Shared<'_, '_>) -> bool {
    let query = seen.query();
    if !is_marked(query.as_bytes()) {
        return false;
    }
    let mut probed = false;
    for pair in query.split('&').take(PARAMETERS) {
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        let cut = value.as_bytes().get(..VALUE).unwrap_or(value.as_bytes());
        let value = decoded(cut, true);
        for rule in seen.rules.probed(&value) {
            probed = true;
            let anywhere = seen.key.hash(&[name.as_bytes(), rule.name.as_bytes()]);
            let value = seen.key.hash(&[rule.told_apart(&value).as_bytes()]);
            let belief = belief(seen, rule, anywhere, value, client, shared);
            count(seen, rule, belief * known(shared, UNKNOWN_QUERY), client, shared);
        }
    }
    probed
}

/// Whether a path may have an odd segment. Colons and brackets are usual in paths; what is nothing without an encoding has a
/// percent sign.
#[inline]
fn path_is_odd(path: &str) -> bool {
    let usual = |byte: u8| matches!(byte, b':' | b'(' | b')');
    path.bytes().any(|byte| MARKS[usize::from(byte)] && !usual(byte)) // a byte lies within 256
}

/// Looks at the segments of the path that the template leaves open.
fn path(seen: &Observation<'_>, client: &mut Client, shared: &mut Shared<'_, '_>) -> bool {
    let open = seen.place.path().split('/').filter(|segment| !segment.is_empty());
    let given = seen.call.path.split('/').filter(|segment| !segment.is_empty());
    let mut probed = false;
    for ((place, name), value) in (0u64..).zip(open).zip(given).take(PARAMETERS) {
        if !name.starts_with('{') || !path_is_odd(value) {
            continue;
        }
        let cut = value.as_bytes().get(..VALUE).unwrap_or(value.as_bytes());
        let value = decoded(cut, false);
        // What is left of an encoded name in another script is nothing odd.
        if !value.bytes().any(|byte| byte == b'/' || MARKS[usize::from(byte)]) && !value.contains("..") {
            continue;
        }
        for rule in seen.rules.probed(&value) {
            probed = true;
            // A segment has no name that it would have elsewhere.
            let segment = seen.key.pair(seen.endpoint.0, seen.key.pair(PATH, place));
            let here = seen.key.pair(segment, seen.key.hash(&[rule.name.as_bytes()]));
            let value = seen.key.hash(&[rule.told_apart(&value).as_bytes()]);
            let belief = belief(seen, rule, here, value, client, shared);
            count(seen, rule, belief * known(shared, UNKNOWN_QUERY), client, shared);
        }
    }
    probed
}

/// Looks at what the fields of a body are said to have.
fn body(seen: &Observation<'_>, values: &RequestValues, client: &mut Client, shared: &mut Shared<'_, '_>) -> bool {
    let known = known(shared, UNKNOWN);
    let mut strongest: Option<(f64, &ProbeRule)> = None;
    let mut unusual = false;
    // Calls that an earlier version printed do not tell values apart: what else is sent makes another body.
    let sent = seen.call.request.body_fingerprint.as_ref().map_or(0, |print| print.0);
    for probe in &values.probes {
        // The call may have been printed under other rules.
        let Some(rule) = seen.rules.probe.iter().find(|rule| rule.name == *probe.rule) else { continue };
        let name = seen.key.pair(BODY, seen.key.hash(&[probe.field.as_bytes()]));
        let anything = note(seen, seen.key.pair(seen.endpoint.0, name), client, shared);
        let anywhere = seen.key.pair(name, seen.key.hash(&[rule.name.as_bytes()]));
        let value = probe.value.map_or(sent, |value| value.0);
        let belief = belief(seen, rule, anywhere, value, client, shared);
        let prose = if probe.prose { PROSE } else { 1.0 };
        let weight = known * prose * belief / (1.0 + anything as f64);
        unusual |= known * prose / (1.0 + anything as f64) > 0.5;
        if strongest.is_none_or(|(most, held)| weight * rule.weight > most * held.weight) {
            strongest = Some((weight, rule));
        }
    }
    if let Some((weight, rule)) = strongest {
        count(seen, rule, weight, client, shared);
    }
    unusual
}

/// Notes that a client sent something to a parameter; gives how many others did, as far as is remembered.
fn note(seen: &Observation<'_>, parameter: u64, client: &Client, shared: &mut Shared<'_, '_>) -> usize {
    let teaches = !client.suspect();
    if let Some(missed) = shared.misses.get_mut(&parameter) {
        return missed.note(seen.client_hash, teaches);
    }
    let mut missed = Missed::default();
    missed.note(seen.client_hash, teaches);
    shared.misses.insert(parameter, missed, |missed| missed.count);
    0
}

/// How much is believed of an endpoint's parameters by how many called it well before.
fn known(shared: &Shared<'_, '_>, unknown: f64) -> f64 {
    let callers = shared.endpoint.map_or(0, |endpoint| endpoint.clients.count()) as f64;
    callers / (callers + unknown)
}

/// How much one more value counts that fits a rule: 1 the first time, nothing if the client sent it before, and less the more
/// other clients sent the like here or elsewhere, and the more values of the sort the client sent already. `anywhere` is the
/// parameter's name, if it has one, with the rule.
fn belief(
    seen: &Observation<'_>,
    rule: &ProbeRule,
    anywhere: u64,
    value: u64,
    client: &mut Client,
    shared: &mut Shared<'_, '_>,
) -> f64 {
    let here = seen.key.pair(seen.endpoint.0, anywhere);
    let senders = note(seen, here, client, shared);
    // Elsewhere only what was answered well tells how the service is used, and it leaves half of the belief.
    let at_host = seen.key.pair(anywhere, seen.key.hash(&[seen.place.host.as_bytes()]));
    let served = if shared.endpoint.is_some() && seen.good() { note(seen, at_host, client, shared) } else { 0 };
    let others = senders.max(served.min(1));
    let (most, power) = if rule.sweeps { SWEEP } else { SORT };
    // A sweep is of different addresses: one that was sent before is no further one.
    if rule.sweeps && client.touched.touch(seen.key.pair(here, value)) > 0 {
        return 0.0;
    }
    let again = f64::from(client.touched.touch(here));
    // What is remembered of a client has little room.
    if again >= most || (!rule.sweeps && client.touched.touch(seen.key.pair(here, value)) > 0) {
        return 0.0;
    }
    let elsewhere = if again == 0.0 { f64::from(client.touched.touch(anywhere)) } else { 0.0 };
    1.0 / ((1.0 + others as f64) * (1.0 + again).powf(power) * (1.0 + elsewhere))
}

/// Counts a value of a rule, of which so much is believed, as a miss.
fn count(seen: &Observation<'_>, rule: &ProbeRule, belief: f64, client: &mut Client, shared: &mut Shared<'_, '_>) {
    let weight = rule.weight * belief;
    if weight == 0.0 {
        return;
    }
    match rule.kind {
        ProbeKind::Injection => client.misses.injections += weight,
        ProbeKind::RequestForgery => client.misses.forgeries += weight,
    }
    client.sight(Family::Recon, Sighting::of(seen.call));
    recon::rare(seen, client, weight, shared.scales);
    recon::report(client, shared.scales);
}

/// A value without its encoding, which may have been applied twice; `spaces` where a plus is one.
fn decoded(value: &[u8], spaces: bool) -> Cow<'_, str> {
    let spaced = |value: &[u8]| value.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect::<Vec<u8>>();
    let once: Cow<'_, [u8]> = percent_encoding::percent_decode(value).into();
    let once: Cow<'_, [u8]> = if spaces && value.contains(&b'+') { spaced(&once).into() } else { once };
    let escaped = once
        .windows(3)
        .any(|part| matches!(part, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()));
    let twice: Cow<'_, [u8]> =
        if escaped { percent_encoding::percent_decode(&once).collect::<Vec<u8>>().into() } else { once };
    match twice {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
    }
}
