//! Auth, field by field: who writes fields that no other caller writes, above all those that say what somebody may do.
//!
//! A field of a request's body that is new at an endpoint where many write is evidence by how many wrote without it (Laplace:
//! the next of n does what none of them did once in n + 2 times), once a client, where the answer was good. Names that give
//! privileges (`rules/detect.toml`) count whole, others next to nothing; what comes new in one call is one decision, as after
//! a deploy. A second client that sends a field makes it ordinary.
//!
//! Needs the shapes of bodies on the calls (`shapes` in the table `[inspect]`); without them this costs a look at a pointer.

use serde::{Deserialize, Serialize};

use super::body;
use super::budget::{Scales, Test};
use super::finding::Finding;
use super::observation::Observation;
use super::settings::Settings;
use super::state::{Client, Parameter};
use crate::alert::{Family, Sighting, Technique};
use crate::call::BodyShape;
use crate::endpoint::EndpointId;
use crate::model::{Distinct, Table};
use crate::stats::{Counter, Counters};

/// Fields of an endpoint that are remembered.
const FIELDS: usize = 64;

/// Places of a body that are looked at.
const PLACES: usize = 128;

/// Good writes, and writers, from which on an endpoint's fields are known.
const KNOWN: (u64, u64) = (20, 10);

/// The most that one field proves, in nats.
const MOST: f64 = 7.0;

/// Part of it where the name gives no privilege.
const ORDINARY: f64 = 0.1;

/// What is written at one endpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Written {
    writes: u64,
    writers: Distinct,
    fields: Vec<Parameter>,
}

/// What is written where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Writes(Table<EndpointId, Written>);

impl Writes {
    pub(super) fn new(settings: &Settings) -> Writes {
        Writes(Table::new(settings.written_endpoints))
    }

    /// Entries that gave way to others.
    pub(super) fn evicted(&self) -> u64 {
        self.0.evicted()
    }

    pub(super) fn limit(&mut self, settings: &Settings) {
        self.0.limit(settings.written_endpoints);
    }
}

/// Takes one call.
#[inline]
pub(super) fn observe(
    seen: &Observation<'_>,
    client: &mut Client,
    writes: &mut Writes,
    counters: &mut Counters,
    scales: &mut Scales<'_>,
) {
    let Some(shape) = seen.call.shape.as_ref().and_then(|shape| shape.request.as_ref()) else { return };
    let writes_what = matches!(&*seen.call.method, "POST" | "PUT" | "PATCH");
    if !writes_what || !seen.good() || shape.incomplete || shape.malformed {
        return;
    }
    written(seen, shape, client, writes, counters, scales);
}

fn written(
    seen: &Observation<'_>,
    shape: &BodyShape,
    client: &mut Client,
    writes: &mut Writes,
    counters: &mut Counters,
    scales: &mut Scales<'_>,
) {
    let suspect = client.suspect();
    let Some(held) = writes.0.entry(seen.endpoint, Written::default, |held| held.writes) else { return };
    let known = held.writes >= KNOWN.0 && held.writers.count() >= KNOWN.1;
    let writers = held.writers.count();
    let mut news: Vec<f64> = Vec::new();
    let mut unknown = 0;
    let beyond = body::fields(shape, &seen.key, PLACES, |field, name| {
        let full = held.fields.len() >= FIELDS;
        match held.fields.iter_mut().find(|known| known.name == field) {
            Some(known) if known.confirmed || known.first == seen.client_hash => return,
            Some(known) => {
                known.confirmed |= !suspect;
                return;
            }
            None if !suspect && !full => {
                held.fields.push(Parameter { name: field, first: seen.client_hash, confirmed: false });
            }
            // Where there are more fields than are remembered, a new one says nothing.
            None if full => {
                unknown += 1;
                return;
            }
            None => {}
        }
        if known && client.touched.touch(seen.key.pair(seen.endpoint.0, field)) == 0 {
            let part = if seen.rules.is_privilege(name) { 1.0 } else { ORDINARY };
            news.push(part * ((writers + 2) as f64).ln().min(MOST));
        }
    });
    counters.add(Counter::FieldsLeftOut, beyond + unknown);
    if !suspect {
        held.writes += 1;
        held.writers.insert(seen.client_hash);
    }
    if news.is_empty() {
        return;
    }
    scales.tried(Test::Fields, 1.0);
    news.sort_by(|one, other| other.total_cmp(one));
    let evidence: f64 = (1u32..).zip(&news).map(|(place, nats)| nats / f64::from(place * place)).sum();
    client.assigned.nats += evidence;
    client.assigned.fields = client.assigned.fields.saturating_add(news.len() as u32);
    client.sight(Family::Auth, Sighting::of(seen.call));
    if scales.wants(Test::Fields, client.assigned.nats) {
        let finding = Finding::new(Test::Fields, Technique::MassAssignment, client.assigned.nats);
        scales.weigh(finding.compared(f64::from(client.assigned.fields), 0.0));
    }
}
