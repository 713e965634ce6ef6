//! Recon, value by value: parameters that carry what is meant for somebody else than the service: addresses inside, metadata
//! services, files, and the syntax of databases, templates and shells.
//!
//! What such values look like is said in `rules/detect.toml`, and never decides. A value is a miss of the test of first
//! contacts ([`super::recon`]) once for each parameter and rule, less by each other client that sends the like there: what a
//! parameter takes by design is no discovery. So one odd value proves next to nothing, and a few of different sorts do.

use std::borrow::Cow;

use super::budget::Scales;
use super::observation::Observation;
use super::recon;
use super::rules::ProbeKind;
use super::state::{Client, Missed};
use crate::alert::{Family, Sighting};
use crate::model::Table;

/// Parameters of a call that are looked at.
const PARAMETERS: usize = 16;

/// Bytes of a value that are looked at.
const VALUE: usize = 1_024;

/// Bytes without which no value is out of the ordinary.
const MARKS: [bool; 256] = {
    let (mut marks, mut place) = ([false; 256], 0);
    let list = b"%'\"<>{}$`|;()\\:";
    while place < list.len() {
        marks[list[place] as usize] = true;
        place += 1;
    }
    marks
};

/// Takes one call; gives whether a value of it is such a one.
#[inline]
pub(super) fn observe(
    seen: &Observation<'_>,
    client: &mut Client,
    misses: &mut Table<u64, Missed>,
    scales: &mut Scales<'_>,
) -> bool {
    // The names of the parameters are there when there is a query.
    if seen.call.query_names.is_empty() || seen.status.is_none() {
        return false;
    }
    let (target, path) = (&seen.call.target, seen.call.path.len());
    // Behind the path, unless the target is absolute.
    let query = match target.as_bytes().get(path) {
        Some(b'?') => target.get(path + 1..).unwrap_or_default(),
        _ => target.split_once('?').map_or("", |(_, query)| query),
    };
    let mut last = 0;
    let odd = query
        .bytes()
        .any(|byte| MARKS[usize::from(byte)] || (std::mem::replace(&mut last, byte) == b'.' && byte == b'.'));
    odd && values(seen, query, client, misses, scales)
}

/// Looks at the values of a query that has something out of the ordinary.
fn values(
    seen: &Observation<'_>,
    query: &str,
    client: &mut Client,
    misses: &mut Table<u64, Missed>,
    scales: &mut Scales<'_>,
) -> bool {
    let mut probed = false;
    for pair in query.split('&').take(PARAMETERS) {
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        let cut = value.as_bytes().get(..VALUE).unwrap_or(value.as_bytes());
        for rule in seen.rules.probed(&decoded(cut)) {
            probed = true;
            let parameter = seen.key.pair(seen.endpoint.0, seen.key.hash(&[name.as_bytes(), rule.name.as_bytes()]));
            let again = client.touched.touch(parameter);
            let teaches = !client.suspect();
            let others = match misses.get_mut(&parameter) {
                Some(missed) => missed.note(seen.client_hash, teaches),
                None => {
                    let mut missed = Missed::default();
                    missed.note(seen.client_hash, teaches);
                    misses.insert(parameter, missed, |missed| missed.count);
                    0
                }
            };
            if again > 0 {
                continue;
            }
            let weight = rule.weight / (1.0 + others as f64);
            match rule.kind {
                ProbeKind::Injection => client.misses.injections += weight,
                ProbeKind::RequestForgery => client.misses.forgeries += weight,
            }
            client.sight(Family::Recon, Sighting::of(seen.call));
            recon::step(seen, client, true, weight, scales);
            recon::report(client, scales);
        }
    }
    probed
}

/// A value without its encoding, which may have been applied twice.
fn decoded(value: &[u8]) -> Cow<'_, str> {
    let spaced = |value: &[u8]| value.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect::<Vec<u8>>();
    let once: Cow<'_, [u8]> = percent_encoding::percent_decode(value).into();
    let once: Cow<'_, [u8]> = if value.contains(&b'+') { spaced(&once).into() } else { once };
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
