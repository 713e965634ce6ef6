//! What is known of one endpoint, or of one operation at it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use sketches_ddsketch::{Config, DDSketch};

use super::budget::Budget;
use super::schema::Schema;
use super::words::Words;
use crate::call::{Call, CredentialKind, Formats, ParameterShape, Peer, Protocol, Sensitive};
use crate::model::Distinct;
use crate::time::Timestamp;

/// Callers that are told by their addresses.
pub(super) const CALLERS: usize = 32;

/// Status codes, media types, servers and classes of sensitive values that are told apart.
const FEW: usize = 32;

/// Parameters of the query that are told apart.
const PARAMETERS: usize = 64;

/// Relative error of quantiles.
const ERROR: f64 = 0.05;

/// Bins of a sketch, 8 bytes each: five decades and a half at this error; beyond, the lowest share one.
const BINS: u32 = 128;

/// Ways to say who calls: none, or one of [`CredentialKind`].
pub(super) const AUTH: [Option<CredentialKind>; 6] = [
    None,
    Some(CredentialKind::Basic),
    Some(CredentialKind::Bearer),
    Some(CredentialKind::Other),
    Some(CredentialKind::ApiKey),
    Some(CredentialKind::Cookie),
];

/// Quantiles of one measure (DDSketch: Masson, Rim, Lee 2019).
#[derive(Clone)]
pub(super) struct Sketch(Option<Box<DDSketch>>);

impl Sketch {
    fn note(&mut self, value: f64) {
        let sketch = self.0.get_or_insert_with(|| Box::new(DDSketch::new(Config::new(ERROR, BINS, 1e-6))));
        sketch.add(value);
    }

    fn absorb(&mut self, other: Sketch) {
        match (&mut self.0, other.0) {
            // All sketches have one configuration, so it does not fail.
            (Some(mine), Some(theirs)) => drop(mine.merge(&theirs)),
            (mine, theirs) => *mine = mine.take().or(theirs),
        }
    }

    /// The median, the 90th and the 99th percentile; none where nothing was measured.
    pub(super) fn quantiles(&self) -> Option<[f64; 3]> {
        let sketch = self.0.as_ref()?;
        let at = |share| sketch.quantile(share).ok().flatten();
        Some([at(0.5)?, at(0.9)?, at(0.99)?])
    }
}

/// A parameter of the query.
#[derive(Clone)]
pub(super) struct Parameter {
    pub(super) name: Arc<str>,
    /// Good calls that had it.
    pub(super) calls: u64,
    pub(super) formats: Formats,
    /// None once its values are no enumeration.
    pub(super) words: Option<Words>,
}

/// What is known. At worst 24 KiB beside the schemas: 3 KiB of sketches, the rest parameters with their words.
#[derive(Clone)]
pub(super) struct Facts {
    /// Good answers.
    pub(super) calls: u64,
    /// Calls by clients that are not under suspicion, whatever came of them, and those of them of which something is
    /// missing.
    pub(super) seen: u64,
    pub(super) incomplete: u64,
    pub(super) statuses: Vec<(u16, u64)>,
    /// The first callers that were answered well, sorted, and how many there are.
    pub(super) callers: Vec<IpAddr>,
    pub(super) distinct: Distinct,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) latency: Sketch,
    pub(super) request_bytes: Sketch,
    pub(super) response_bytes: Sketch,
    /// Good calls by who they say is calling, as [`AUTH`].
    pub(super) auth: [u64; AUTH.len()],
    pub(super) refused: u64,
    /// Versions of HTTP: 0.9, 1.0, 1.1, 2.
    pub(super) versions: [bool; 4],
    pub(super) servers: Vec<Peer>,
    pub(super) request_media: Vec<Arc<str>>,
    pub(super) response_media: Vec<Arc<str>>,
    pub(super) sensitive: [BTreeSet<Arc<str>>; 2],
    pub(super) query: Vec<Parameter>,
    pub(super) request: Schema,
    pub(super) response: Schema,
    /// Good calls that had a body in the request.
    pub(super) with_body: u64,
    pub(super) grpc: bool,
    pub(super) protocol: Option<Protocol>,
}

impl Facts {
    pub(super) fn new(time: Timestamp) -> Facts {
        Facts {
            calls: 0,
            seen: 0,
            incomplete: 0,
            statuses: Vec::new(),
            callers: Vec::new(),
            distinct: Distinct::default(),
            first: time,
            last: time,
            latency: Sketch(None),
            request_bytes: Sketch(None),
            response_bytes: Sketch(None),
            auth: [0; AUTH.len()],
            refused: 0,
            versions: [false; 4],
            servers: Vec::new(),
            request_media: Vec::new(),
            response_media: Vec::new(),
            sensitive: Default::default(),
            query: Vec::new(),
            request: Schema::default(),
            response: Schema::default(),
            with_body: 0,
            grpc: false,
            protocol: None,
        }
    }

    /// Any call by a client that is not under suspicion.
    pub(super) fn note(&mut self, call: &Call) {
        self.seen += 1;
        let whole = call.completeness.response
            && call.request.gap_bytes + call.response.gap_bytes == 0
            && !call.request.truncated
            && !call.response.truncated;
        self.incomplete += u64::from(!whole);
        if let Some(status) = call.status {
            self.refused += u64::from(matches!(call.outcome(), Some(401 | 403)) && call.credential.is_none());
            self.answers(status, 1);
        }
    }

    /// A good answer. Gives the fields of schemas and the parameters that had no room.
    pub(super) fn learn(&mut self, call: &Call, caller: IpAddr, caller_hash: u64, budget: &mut Budget) -> u64 {
        self.calls += 1;
        self.first = self.first.min(call.end_time);
        self.last = self.last.max(call.end_time);
        if self.distinct.insert(caller_hash)
            && self.callers.len() < CALLERS
            && let Err(place) = self.callers.binary_search(&caller)
        {
            self.callers.insert(place, caller);
        }
        if let Some(latency) = call.latency() {
            self.latency.note(latency.as_secs_f64());
        }
        self.versions[call.version as usize % 4] = true;
        let kind = call.credential.as_ref().map(|credential| credential.kind);
        if let Some(place) = AUTH.iter().position(|known| *known == kind) {
            self.auth[place] += 1;
        }
        if !self.servers.contains(&call.server) && self.servers.len() < FEW {
            self.servers.push(call.server);
        }
        self.grpc |= call.grpc.is_some();
        if let Some(operation) = &call.operation {
            self.protocol = Some(operation.protocol);
        }
        if call.request.body_bytes > 0 {
            self.with_body += 1;
            self.request_bytes.note(call.request.body_bytes as f64);
        }
        keep_media(&mut self.request_media, call.request.content_type.as_ref());
        if call.method != "HEAD" {
            if call.response.body_bytes > 0 {
                self.response_bytes.note(call.response.body_bytes as f64);
            }
            keep_media(&mut self.response_media, call.response.content_type.as_ref());
        }
        for (known, found) in self.sensitive.iter_mut().zip([&call.sensitive.request, &call.sensitive.response]) {
            keep_classes(known, found);
        }
        let mut dropped = self.parameters(call, caller_hash, budget);
        if let Some(shape) = &call.shape {
            for (schema, body) in [(&mut self.request, &shape.request), (&mut self.response, &shape.response)] {
                if let Some(body) = body {
                    dropped += schema.add(body, caller_hash, budget);
                }
            }
        }
        dropped
    }

    /// So many answers with this status.
    fn answers(&mut self, status: u16, count: u64) {
        if let Some((_, known)) = self.statuses.iter_mut().find(|(known, _)| *known == status) {
            *known += count;
        } else if self.statuses.len() < FEW {
            self.statuses.push((status, count));
        }
    }

    fn parameters(&mut self, call: &Call, caller: u64, budget: &mut Budget) -> u64 {
        let mut dropped = 0;
        let shapes = call.shape.as_ref().map_or(&[][..], |shape| &shape.query);
        for (number, name) in call.query_names.iter().enumerate() {
            // One that comes twice is had once.
            if call.query_names.iter().take(number).any(|before| before == name) {
                continue;
            }
            let place = match self.query.iter().position(|known| known.name == *name) {
                Some(place) => place,
                None if self.query.len() < PARAMETERS && name.len() <= crate::call::NAME_LIMIT => {
                    let words = Some(Words::default());
                    self.query.push(Parameter { name: name.clone(), calls: 0, formats: Formats::default(), words });
                    self.query.len() - 1
                }
                None => {
                    dropped += 1;
                    continue;
                }
            };
            let Some(parameter) = self.query.get_mut(place) else { continue };
            parameter.calls += 1;
            if let Some(ParameterShape { format, word }) = shapes.get(number) {
                parameter.formats.extend(*format);
                let mut noted = |words: &mut Words| word.as_ref().is_some_and(|word| words.note(word, caller, budget));
                if !parameter.words.as_mut().is_none_or(&mut noted) {
                    parameter.words = None;
                }
            }
        }
        dropped
    }

    /// Adds what is known of another endpoint that is the same one.
    pub(super) fn absorb(&mut self, other: Facts, budget: &mut Budget) {
        other.give_back(budget);
        self.first = if self.calls == 0 { other.first } else { self.first.min(other.first) };
        self.last = self.last.max(other.last);
        self.calls += other.calls;
        self.seen += other.seen;
        self.incomplete += other.incomplete;
        self.refused += other.refused;
        self.with_body += other.with_body;
        self.grpc |= other.grpc;
        self.protocol = self.protocol.or(other.protocol);
        for (status, count) in other.statuses {
            self.answers(status, count);
        }
        self.distinct.merge(&other.distinct);
        self.callers.extend(other.callers);
        self.callers.sort_unstable();
        self.callers.dedup();
        self.callers.truncate(CALLERS);
        self.latency.absorb(other.latency);
        self.request_bytes.absorb(other.request_bytes);
        self.response_bytes.absorb(other.response_bytes);
        self.auth.iter_mut().zip(other.auth).for_each(|(mine, theirs)| *mine += theirs);
        self.versions.iter_mut().zip(other.versions).for_each(|(mine, theirs)| *mine |= theirs);
        for server in other.servers {
            if !self.servers.contains(&server) && self.servers.len() < FEW {
                self.servers.push(server);
            }
        }
        other.request_media.iter().for_each(|media| keep_media(&mut self.request_media, Some(media)));
        other.response_media.iter().for_each(|media| keep_media(&mut self.response_media, Some(media)));
        for (mine, theirs) in self.sensitive.iter_mut().zip(other.sensitive) {
            mine.extend(theirs.into_iter().take(FEW.saturating_sub(mine.len())));
        }
        for parameter in other.query {
            if let Some(known) = self.query.iter_mut().find(|known| known.name == parameter.name) {
                known.calls += parameter.calls;
                known.formats.extend(parameter.formats);
                known.words = match (known.words.take(), parameter.words) {
                    (Some(mut mine), Some(theirs)) => mine.absorb(&theirs, budget).then_some(mine),
                    _ => None,
                };
            } else if self.query.len() < PARAMETERS {
                self.query.push(parameter);
            }
        }
        self.request.absorb(&other.request, budget);
        self.response.absorb(&other.response, budget);
    }

    /// Gives back what its schemas took.
    pub(super) fn give_back(&self, budget: &mut Budget) {
        budget.give_back(self.request.bytes() + self.response.bytes());
    }

    /// What it is worth to remember it.
    pub(super) fn worth(&self) -> (u64, Timestamp) {
        (self.distinct.count(), self.last)
    }
}

fn keep_media(known: &mut Vec<Arc<str>>, media: Option<&Arc<str>>) {
    if let Some(media) = media
        && known.len() < FEW
        && !known.iter().any(|other| Arc::ptr_eq(other, media) || other == media)
    {
        known.push(media.clone());
    }
}

fn keep_classes(known: &mut BTreeSet<Arc<str>>, found: &[Sensitive]) {
    for class in found.iter().map(|found| &found.class) {
        if known.len() < FEW && !known.contains(class) {
            known.insert(class.clone());
        }
    }
}
