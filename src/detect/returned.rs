//! Leak, field by field: whose answers have fields that nobody else's have, above all those that say what somebody may do, and
//! whose answers have far more of them than the endpoint's usually do.
//!
//! That a field is new proves nothing, since after a deploy somebody is the first to get it, and some objects have what others
//! have not. So a field waits, once it came in an answer to one client of an endpoint that many read, until eight others
//! got answers without it. Is it in a further answer to the first then, and in none to anybody else, it is evidence by how
//! many read without it (Laplace, as in [`super::fields`]), once a client. Names that give privileges, or are secrets
//! (`rules/detect.toml`), count whole, others next to nothing, unless there are as many as half of what answers have: another view
//! of the same objects. What comes in one answer counts less and less. A second client that gets a field makes it ordinary.
//!
//! Needs the shapes of bodies on the calls (`shapes` in the table `[inspect]`); without them this costs a look at a pointer.

use serde::{Deserialize, Serialize};

use super::body;
use super::budget::{Scales, Test};
use super::finding::Finding;
use super::observation::Observation;
use super::settings::Settings;
use super::state::{Client, Missed};
use crate::alert::{Family, Sighting, Technique};
use crate::call::BodyShape;
use crate::endpoint::EndpointId;
use crate::model::{Distinct, Table};
use crate::stats::{Counter, Counters};

/// Fields of an endpoint that are known, and that wait.
const FIELDS: [usize; 2] = [256, 32];

/// Places of a body that are looked at.
const PLACES: usize = 256;

/// Good answers, and readers, from which on an endpoint's fields are known.
const KNOWN: (u64, u64) = (20, 10);

/// Others that got answers without a field before it says something.
const WITHOUT: u8 = 8;

/// Structures of answers that are remembered for having no field that is not known: most answers are of one of a few.
const PLAIN: usize = 4;

/// The most that one field proves, in nats.
const MOST: f64 = 7.0;

/// Part of it where the name says nothing: of a few, and of a view of its own.
const ORDINARY: [f64; 2] = [0.1, 0.7];

/// Fields that a view of its own has at least.
const VIEW: usize = 6;

/// A field that one client alone has got so far.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Waiting {
    name: u64,
    first: u64,
    without: Missed,
}

/// What is given at one endpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Returned {
    answers: u64,
    readers: Distinct,
    known: Vec<u64>,
    waiting: Vec<Waiting>,
    /// Numbers of structures of which all fields are known, the last one first; 0 for none. Worked out again where it is lost.
    #[serde(skip)]
    plain: [u64; PLAIN],
}

impl Returned {
    /// An answer to a client without any of the fields that wait for others: had they been in it, they would be known.
    fn note(&mut self, client: u64) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.first != client) {
            waiting.without.note(client, true);
        }
        self.answers += 1;
        self.readers.insert(client);
    }
}

/// What is given where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Returns(Table<EndpointId, Returned>);

impl Returns {
    pub(super) fn new(settings: &Settings) -> Returns {
        Returns(Table::new(settings.returned_endpoints))
    }

    /// Entries that gave way to others.
    pub(super) fn evicted(&self) -> u64 {
        self.0.evicted()
    }

    pub(super) fn limit(&mut self, settings: &Settings) {
        self.0.limit(settings.returned_endpoints);
    }
}

/// Takes one call.
#[inline]
pub(super) fn observe(
    seen: &Observation<'_>,
    client: &mut Client,
    returns: &mut Returns,
    counters: &mut Counters,
    scales: &mut Scales<'_>,
) {
    let Some(shape) = seen.call.shape.as_ref().and_then(|shape| shape.response.as_ref()) else { return };
    if !seen.good() || !seen.whole || shape.incomplete || shape.malformed {
        return;
    }
    returned(seen, shape, client, returns, counters, scales);
}

fn returned(
    seen: &Observation<'_>,
    shape: &BodyShape,
    client: &mut Client,
    returns: &mut Returns,
    counters: &mut Counters,
    scales: &mut Scales<'_>,
) {
    let suspect = client.suspect();
    let Some(held) = returns.0.entry(seen.endpoint, Returned::default, |held| held.answers) else { return };
    let (settled, readers) = (held.answers >= KNOWN.0 && held.readers.count() >= KNOWN.1, held.readers.count() as f64);
    // What is known stays known. Of such an answer nothing is told but that others' fields were not in it.
    let plain = held.plain.iter().position(|known| *known == shape.structure && *known != 0);
    if let Some(place) = plain {
        if place > 0 {
            held.plain[..=place].rotate_right(1); // just found there
        }
        if !suspect {
            held.note(seen.client_hash);
        }
        return;
    }
    // Fields of this answer that are not known, and whether their names matter.
    let mut odd: Vec<(u64, bool)> = Vec::new();
    let mut fields = 0;
    let mut left_out = body::fields(shape, &seen.key, PLACES, |field, name| {
        fields += 1;
        if !held.known.contains(&field) {
            odd.push((field, seen.rules.is_privilege(name) || seen.rules.is_secret(name)));
        }
    });
    if odd.is_empty() && left_out == 0 {
        held.plain.rotate_right(1);
        held.plain[0] = shape.structure;
    }
    let usual = fields - odd.len();
    let mut due: Vec<bool> = Vec::new();
    for &(field, matters) in &odd {
        let place = held.waiting.iter().position(|waiting| waiting.name == field);
        match place.and_then(|place| held.waiting.get(place)).copied() {
            Some(waiting) if waiting.first == seen.client_hash => {
                let counted = seen.key.pair(seen.endpoint.0, field);
                if waiting.without.count >= WITHOUT && client.touched.touch(counted) == 0 {
                    due.push(matters);
                }
            }
            Some(_) if suspect => {}
            Some(_) => {
                held.waiting.swap_remove(place.unwrap_or_default());
                left_out += know(&mut held.known, field);
            }
            None if suspect => {}
            // Where there are more fields than are remembered, a new one says nothing.
            None if !settled => left_out += know(&mut held.known, field),
            None if held.waiting.len() < FIELDS[1] && held.known.len() < FIELDS[0] => {
                held.waiting.push(Waiting { name: field, first: seen.client_hash, without: Missed::default() });
            }
            None => left_out += 1,
        }
    }
    counters.add(Counter::FieldsLeftOut, left_out);
    if !suspect {
        held.note(seen.client_hash);
    }
    if due.is_empty() {
        return;
    }
    scales.tried(Test::Returned, 1.0);
    let view = due.len() >= VIEW && due.len() * 2 >= usual;
    due.sort_by_key(|matters| !matters);
    let most = (readers + 2.0).ln().min(MOST);
    let part = |matters: bool| if matters { 1.0 } else { ORDINARY[usize::from(view)] };
    let evidence: f64 = (1u32..).zip(&due).map(|(place, &matters)| most * part(matters) / f64::from(place)).sum();
    client.returned.nats += evidence.min(2.0 * MOST);
    client.returned.fields = client.returned.fields.saturating_add(due.len() as u32);
    client.sight(Family::Leak, Sighting::of(seen.call));
    if scales.wants(Test::Returned, client.returned.nats) {
        let finding = Finding::new(Test::Returned, Technique::ExcessFields, client.returned.nats);
        scales.weigh(finding.compared(f64::from(client.returned.fields), 0.0));
    }
}

/// Remembers a field, if there is room; gives how many were left out.
fn know(known: &mut Vec<u64>, field: u64) -> u64 {
    let room = known.len() < FIELDS[0];
    if room {
        known.push(field);
    }
    u64::from(!room)
}
