//! What is known of one endpoint, or of one operation at it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sketches_ddsketch::{Config, DDSketch};

use super::budget::Budget;
use super::report::{self, Message, Quantiles};
use super::schema::Schema;
use super::settled::Learning;
use super::words::Words;
use crate::call::{Call, CredentialKind, Digest, Formats, NAME_LIMIT, NamedShape, ParameterShape, Peer, Protocol};
use crate::model::Distinct;
use crate::time::Timestamp;

/// Callers that are told by their addresses.
pub(super) const CALLERS: usize = 32;

/// Callers from outside that are told.
pub(super) const OUTSIDERS: usize = 8;

/// Status codes, media types, servers and classes of sensitive values that are told apart.
const FEW: usize = 32;

/// Where parameters stand beside the path, and how many are told apart there.
pub(super) const PLACES: [(&str, usize); 3] = [("query", 64), ("header", 24), ("cookie", 24)];

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
#[derive(Clone, Serialize, Deserialize)]
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

/// A parameter of the query, a header or a cookie.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Parameter {
    pub(super) name: Arc<str>,
    /// Good calls that had it.
    pub(super) calls: u64,
    pub(super) formats: Formats,
    /// It says who calls.
    pub(super) credential: bool,
    /// Values of it in a query that say who calls, where others of that name may not.
    #[serde(default)]
    keys: u64,
    /// Calls that had it several times.
    #[serde(default)]
    repeats: u64,
    /// None once its values are no enumeration.
    pub(super) words: Option<Words>,
}

/// What is known. At worst 32 KiB beside the schemas: 3 KiB of sketches, the rest parameters with their names.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Facts {
    /// Good answers.
    pub(super) calls: u64,
    /// Calls by clients that are not under suspicion, whatever came of them, and those of them of which something is
    /// missing.
    pub(super) seen: u64,
    pub(super) incomplete: u64,
    pub(super) statuses: Vec<(u16, u64)>,
    /// What came of them where their bodies or trailers say otherwise.
    pub(super) outcomes: Vec<(u16, u64)>,
    /// The first callers that were answered well, sorted, and how many there are. Where there are more than are kept, those
    /// who are found to be suspects give way to others.
    pub(super) callers: Vec<IpAddr>,
    pub(super) distinct: Distinct,
    /// Good answers to clients from outside, and the first of those.
    pub(super) outside: u64,
    pub(super) outsiders: Vec<IpAddr>,
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
    /// Those of them that answered in TLS, and those that answered outside of it.
    pub(super) tls_servers: Vec<Peer>,
    pub(super) clear_servers: Vec<Peer>,
    pub(super) request_media: Vec<Arc<str>>,
    pub(super) response_media: Vec<Arc<str>>,
    /// Classes of sensitive values in requests and answers, sorted.
    pub(super) sensitive: [Vec<Arc<str>>; 2],
    /// As [`PLACES`].
    pub(super) parameters: [Vec<Parameter>; PLACES.len()],
    /// Good calls of whose headers none was unknown.
    pub(super) whole_heads: u64,
    /// Good calls of whose requests not all headers are known, those that others wrote down among them.
    pub(super) partial_heads: u64,
    pub(super) request: Schema,
    pub(super) response: Schema,
    /// Good calls that had a body in the request.
    pub(super) with_body: u64,
    /// Good calls that asked for the head alone.
    heads: u64,
    pub(super) grpc: bool,
    pub(super) protocol: Option<Protocol>,
}

impl Default for Facts {
    fn default() -> Self {
        Facts::new(Timestamp::ZERO)
    }
}

impl Facts {
    pub(super) fn new(time: Timestamp) -> Facts {
        Facts {
            calls: 0,
            seen: 0,
            incomplete: 0,
            statuses: Vec::new(),
            outcomes: Vec::new(),
            callers: Vec::new(),
            distinct: Distinct::default(),
            outside: 0,
            outsiders: Vec::new(),
            first: time,
            last: time,
            latency: Sketch(None),
            request_bytes: Sketch(None),
            response_bytes: Sketch(None),
            auth: [0; AUTH.len()],
            refused: 0,
            versions: [false; 4],
            servers: Vec::new(),
            tls_servers: Vec::new(),
            clear_servers: Vec::new(),
            request_media: Vec::new(),
            response_media: Vec::new(),
            sensitive: Default::default(),
            parameters: Default::default(),
            whole_heads: 0,
            partial_heads: 0,
            request: Schema::default(),
            response: Schema::default(),
            with_body: 0,
            heads: 0,
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
            add(&mut self.statuses, status, 1);
            if let Some(outcome) = call.outcome().filter(|outcome| *outcome != status) {
                add(&mut self.outcomes, outcome, 1);
            }
        }
    }

    /// A good answer to a client from outside.
    pub(super) fn note_outside(&mut self, caller: IpAddr) {
        self.outside += 1;
        if self.outsiders.len() < OUTSIDERS && !self.outsiders.contains(&caller) {
            self.outsiders.push(caller);
        }
    }

    /// A good answer. Gives the fields of schemas and the parameters that had no room.
    pub(super) fn learn(
        &mut self,
        call: &Call,
        caller: IpAddr,
        suspects: impl Fn(IpAddr) -> bool,
        learning: &mut Learning<'_>,
    ) -> u64 {
        self.calls += 1;
        self.first = self.first.min(call.end_time);
        self.last = self.last.max(call.end_time);
        self.distinct.insert(learning.caller);
        self.note_caller(caller, suspects);
        if let Some(latency) = call.latency() {
            self.latency.note(latency.as_secs_f64());
        }
        self.versions[call.version as usize % 4] = true;
        let kind = call.credential.as_ref().map(|credential| credential.kind);
        if let Some(place) = AUTH.iter().position(|known| *known == kind) {
            self.auth[place] += 1;
        }
        // Logs may not say which server it was.
        if !call.server.ip.is_unspecified() {
            keep_server(&mut self.servers, call.server);
            keep_server(if call.tls.is_some() { &mut self.tls_servers } else { &mut self.clear_servers }, call.server);
        }
        self.partial_heads += u64::from(!is_whole_head(call));
        self.grpc |= call.grpc.is_some();
        if let Some(operation) = &call.operation {
            self.protocol = Some(operation.protocol);
        }
        if call.request.body_bytes > 0 {
            self.with_body += 1;
            self.request_bytes.note(call.request.body_bytes as f64);
            keep_media(&mut self.request_media, call.request.content_type.as_ref());
        }
        if call.method == "HEAD" {
            self.heads += 1;
        } else {
            if call.response.body_bytes > 0 {
                self.response_bytes.note(call.response.body_bytes as f64);
            }
            keep_media(&mut self.response_media, call.response.content_type.as_ref());
        }
        let Digest { request, request_head, response } = &call.sensitive;
        for (side, found) in [(0, request), (0, request_head), (1, response)] {
            let known = &mut self.sensitive[side];
            found.iter().for_each(|found| keep_class(known, &found.class));
        }
        let mut dropped = self.parameters(call, learning.caller, learning.budget);
        if let Some(shape) = &call.shape {
            for (schema, body) in [(&mut self.request, &shape.request), (&mut self.response, &shape.response)] {
                if let Some(body) = body {
                    dropped += schema.add(body, learning);
                }
            }
        }
        dropped
    }

    /// Keeps a caller; beyond [`CALLERS`] in the place of one who has come under suspicion since. Of those one is looked at with
    /// each call, so that many suspects who came first are gone after as many calls of others.
    fn note_caller(&mut self, caller: IpAddr, suspects: impl Fn(IpAddr) -> bool) {
        let Err(place) = self.callers.binary_search(&caller) else { return };
        if self.callers.len() < CALLERS {
            self.callers.insert(place, caller);
            return;
        }
        let turn = self.calls as usize % CALLERS;
        if let Some(held) = self.callers.get_mut(turn)
            && suspects(*held)
        {
            *held = caller;
            self.callers.sort_unstable();
        }
    }

    /// Whether only suspects were answered well, who were not yet under suspicion then: as far as is known all of them, and
    /// where they are too many to be known nobody else came since.
    pub(super) fn is_of(&self, suspects: impl Fn(IpAddr) -> bool) -> bool {
        self.callers.iter().all(|caller| suspects(*caller))
    }

    /// Whether nobody asked for more than the head of what a GET would get.
    pub(super) fn is_of_heads(&self) -> bool {
        self.heads > 0 && self.heads == self.calls
    }

    /// Good calls by who they say is calling.
    pub(super) fn credentials(&self) -> BTreeMap<String, u64> {
        let counts = AUTH.iter().zip(self.auth).filter(|(_, count)| *count > 0);
        counts.map(|(kind, count)| (report::credential(*kind).to_owned(), count)).collect()
    }

    /// What requests, or answers, look like.
    pub(super) fn message(&self, response: bool) -> Message {
        let (media, bytes, schema) = match response {
            false => (&self.request_media, &self.request_bytes, &self.request),
            true => (&self.response_media, &self.response_bytes, &self.response),
        };
        let mut media: Vec<_> = media.iter().map(|one| one.to_string()).collect();
        media.sort_unstable();
        Message {
            media,
            bytes: bytes.quantiles().map(Quantiles::of),
            body: schema.report(),
            required: !response && self.with_body > 0 && self.with_body == self.calls,
            incomplete: schema.incomplete,
            sensitive: self.sensitive[usize::from(response)].iter().map(|class| class.to_string()).collect(),
        }
    }

    /// Notes the parameters. Gives those that had no room.
    fn parameters(&mut self, call: &Call, caller: u64, budget: &mut Budget) -> u64 {
        let mut dropped = 0;
        let [query, headers, cookies] = &mut self.parameters;
        let [most_query, most_headers, most_cookies] = PLACES.map(|(_, most)| most);
        let shape = call.shape.as_deref();
        let shapes = shape.map_or(&[][..], |shape| &shape.query);
        for (number, name) in call.query_names.iter().enumerate() {
            // One that comes twice is had once, and is a list.
            let before = call.query_names.iter().take(number).filter(|before| *before == name).count();
            let again = before > 0;
            match find(query, most_query, name) {
                Some(parameter) => {
                    parameter.calls += u64::from(!again);
                    parameter.repeats += u64::from(before == 1);
                    if let Some(ParameterShape { format, credential, word }) = shapes.get(number) {
                        parameter.keys += u64::from(*credential && !again);
                        parameter.looks(*format, word.as_ref(), caller, budget);
                    }
                }
                None => dropped += u64::from(!again),
            }
        }
        // Where some headers are not known, those that are there say what they look like, and not who else has them.
        let whole = u64::from(call.completeness.unknown_fields == 0);
        self.whole_heads += whole;
        let Some(shape) = shape else { return dropped };
        for (known, most, found) in [(headers, most_headers, &*shape.headers), (cookies, most_cookies, &*shape.cookies)]
        {
            for (number, NamedShape { name, format, credential, word }) in found.iter().enumerate() {
                if found.iter().take(number).any(|before| before.name == *name) {
                    continue;
                }
                match find(known, most, name) {
                    Some(parameter) => {
                        parameter.calls += whole;
                        parameter.credential |= credential;
                        parameter.looks(*format, word.as_ref(), caller, budget);
                    }
                    None => dropped += 1,
                }
            }
        }
        dropped
    }

    /// Adds what is known of another endpoint that is the same one.
    pub(super) fn absorb(&mut self, other: Facts, suspects: impl Fn(IpAddr) -> bool, budget: &mut Budget) {
        other.give_back(budget);
        self.first = if self.calls == 0 { other.first } else { self.first.min(other.first) };
        self.last = self.last.max(other.last);
        self.calls += other.calls;
        self.seen += other.seen;
        self.incomplete += other.incomplete;
        self.refused += other.refused;
        self.with_body += other.with_body;
        self.heads += other.heads;
        self.grpc |= other.grpc;
        self.protocol = self.protocol.or(other.protocol);
        for (status, count) in other.statuses {
            add(&mut self.statuses, status, count);
        }
        for (status, count) in other.outcomes {
            add(&mut self.outcomes, status, count);
        }
        self.distinct.merge(&other.distinct);
        self.callers.extend(other.callers);
        self.callers.sort_unstable();
        self.callers.dedup();
        if self.callers.len() > CALLERS {
            self.callers.sort_by_cached_key(|caller| suspects(*caller));
            self.callers.truncate(CALLERS);
            self.callers.sort_unstable();
        }
        self.outside += other.outside;
        for outsider in other.outsiders {
            if self.outsiders.len() < OUTSIDERS && !self.outsiders.contains(&outsider) {
                self.outsiders.push(outsider);
            }
        }
        self.latency.absorb(other.latency);
        self.request_bytes.absorb(other.request_bytes);
        self.response_bytes.absorb(other.response_bytes);
        self.auth.iter_mut().zip(other.auth).for_each(|(mine, theirs)| *mine += theirs);
        self.versions.iter_mut().zip(other.versions).for_each(|(mine, theirs)| *mine |= theirs);
        for (mine, theirs) in [
            (&mut self.servers, other.servers),
            (&mut self.tls_servers, other.tls_servers),
            (&mut self.clear_servers, other.clear_servers),
        ] {
            theirs.into_iter().for_each(|server| keep_server(mine, server));
        }
        self.partial_heads += other.partial_heads;
        other.request_media.iter().for_each(|media| keep_media(&mut self.request_media, Some(media)));
        other.response_media.iter().for_each(|media| keep_media(&mut self.response_media, Some(media)));
        for (mine, theirs) in self.sensitive.iter_mut().zip(other.sensitive) {
            theirs.iter().for_each(|class| keep_class(mine, class));
        }
        self.whole_heads += other.whole_heads;
        for ((mine, theirs), (_, most)) in self.parameters.iter_mut().zip(other.parameters).zip(PLACES) {
            for parameter in theirs {
                if let Some(known) = mine.iter_mut().find(|known| known.name == parameter.name) {
                    known.calls += parameter.calls;
                    known.formats.extend(parameter.formats);
                    known.credential |= parameter.credential;
                    known.keys += parameter.keys;
                    known.repeats += parameter.repeats;
                    known.words = match (known.words.take(), parameter.words) {
                        (Some(mut mine), Some(theirs)) => mine.absorb(&theirs, budget).then_some(mine),
                        _ => None,
                    };
                } else if mine.len() < most {
                    mine.push(parameter);
                }
            }
        }
        self.request.absorb(&other.request, budget);
        self.response.absorb(&other.response, budget);
    }

    /// What it takes of the budget.
    pub(super) fn budgeted(&self) -> usize {
        let words = self.parameters.iter().flatten().filter_map(|parameter| parameter.words.as_ref());
        self.request.bytes_with_words() + self.response.bytes_with_words() + words.map(Words::bytes).sum::<usize>()
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

impl Parameter {
    /// Whether it says who calls: by its name, or by most of its values.
    pub(super) fn is_credential(&self) -> bool {
        self.credential || self.keys > self.calls / 2
    }

    /// Whether it is a list: one call in fifty has it several times. One that a client once sent twice is none.
    pub(super) fn is_list(&self) -> bool {
        self.repeats > self.calls / 50
    }

    /// What one value of it looks like.
    fn looks(&mut self, format: Formats, word: Option<&Arc<str>>, caller: u64, budget: &mut Budget) {
        self.formats.extend(format);
        if let Some(words) = &mut self.words
            && !word.is_some_and(|word| words.note(word, caller, budget))
        {
            self.words = None;
        }
    }
}

/// The parameter of a name, which is new if there is room for it.
fn find<'p>(known: &'p mut Vec<Parameter>, most: usize, name: &Arc<str>) -> Option<&'p mut Parameter> {
    let place = match known.iter().position(|known| Arc::ptr_eq(&known.name, name) || known.name == *name) {
        Some(place) => place,
        None if known.len() < most && name.len() <= NAME_LIMIT => {
            known.push(Parameter {
                name: name.clone(),
                calls: 0,
                formats: Formats::default(),
                credential: false,
                keys: 0,
                repeats: 0,
                words: Some(Words::default()),
            });
            known.len() - 1
        }
        None => return None,
    };
    known.get_mut(place)
}

/// So many more answers with this status.
fn add(known: &mut Vec<(u16, u64)>, status: u16, count: u64) {
    if let Some((_, held)) = known.iter_mut().find(|(held, _)| *held == status) {
        *held += count;
    } else if known.len() < FEW {
        known.push((status, count));
    }
}

fn keep_server(known: &mut Vec<Peer>, server: Peer) {
    if !known.contains(&server) && known.len() < FEW {
        known.push(server);
    }
}

/// Whether all headers of a request are known: who writes calls down leaves most of them out.
fn is_whole_head(call: &Call) -> bool {
    call.completeness.unknown_fields == 0 && call.completeness.recorder.is_none()
}

fn keep_media(known: &mut Vec<Arc<str>>, media: Option<&Arc<str>>) {
    if let Some(media) = media
        && known.len() < FEW
        && !known.iter().any(|other| Arc::ptr_eq(other, media) || other == media)
    {
        known.push(media.clone());
    }
}

fn keep_class(known: &mut Vec<Arc<str>>, class: &Arc<str>) {
    // Most are the one text that the rules have.
    if known.len() < FEW
        && !known.iter().any(|other| Arc::ptr_eq(other, class))
        && let Err(place) = known.binary_search(class)
    {
        known.insert(place, class.clone());
    }
}
