//! Endpoint templates learned from the traffic.
//!
//! [`Templates`] keeps a bounded tree of path segments per host. Segments that name one object by their shape alone
//! (numbers, UUIDs, hashes, dates, …) are parameters at once. Words are kept apart until those below one parent are
//! seen to be one parameter; then they are merged, and the caller is told which template became which. The tree
//! depends on the sequence of calls and on nothing else.
//!
//! Nothing but a good answer teaches. Whoever calls [`Templates::learn`] leaves out suspects; beyond that, one client
//! creates a bounded number of segments that nobody else confirms, and counts for a third at most of the evidence that
//! words are one parameter. When words are one parameter:
//!
//! | rule | words below one parent | asks for |
//! | --- | --- | --- |
//! | beside a parameter | 1 or 2 | only GET, nothing below, answers within 4 or 10 % of the mean length of the parameter's, which are alike and longer than 200 bytes |
//! | few | 3 | only GET, nothing below, answers within 4 %, longer than 200 bytes, not all equal; one client alone can do this once |
//! | alike | 8 | only GET, nothing below, three quarters (of 16, three fifths) within a factor of 1.6 of the median; words that are merged already count |
//! | same subtrees | 12, or 1 once it is a parameter | most have words below that a quarter of the others have too; a client calls a quarter of them at most |
//! | locales | 3 | all look like `en` or `pt-BR`, with the same words below |
//! | many | 40 | either nothing below or the same words; a client calls a tenth of them at most, or their answers are alike |
//!
//! How many a client calls is asked once clients have called often enough, or there are three times as many words.
//! Names that are customary for operations (`me`, `search`, `latest`, …) are no objects by the first two.
//! Right behind the host and behind versions (`v1`, `api`) only the last two hold: there the words are the API's own. So a
//! site of 200 fixed pages below one folder becomes one parameter, as its pages have one handler as far as an observer can tell,
//! and the same pages right behind the host stay apart if every reader reads most of them. Words that
//! differ in methods or subtrees, or whose answers are of another size and which are called far more often
//! (`/products/search` beside `/products/blue-suede-shoes`), stay words beside the parameter.
//!
//! A parent whose unknown words are all answered with one length, whoever invents them, is a catch-all: those words
//! become `{rest}`, of however many segments, and only answers of another length teach there. What lies below the words has to
//! vary, in depth as well: the same below all of them (`/shops/{id}/menu`) says that they are a parameter, whatever is answered. So is a
//! service of which all pages of HTML, many and at several places, have one length to the byte: an application of one page, which
//! its server gives for whatever is asked for. There, words that several clients called are none of the API's either.
//!
//! The tree of merged siblings is that of Drain (He, Zhu, Zheng, Lyu 2017) for log lines, with answers instead of
//! tokens deciding on likeness.

mod inventory;
mod judge;
mod merge;
mod settings;
#[cfg(test)]
mod tests;
mod tree;

use serde::{Deserialize, Serialize};

pub use inventory::{Entry, Parameter};
pub use settings::Settings;

use super::path::MAX_SEGMENTS;
use super::shape::{self, Kind, Kinds};
use super::{HashKey, Place};
use crate::call::{Anomaly, Call};
use crate::model::{Distinct, Moments, Table};
use crate::time::Timestamp;
use tree::{Index, Label, NONE, Node, ROOT, Record, Tree, Uniform};

/// Nodes from the host to the deepest `{rest}`, the host included.
const DEEPEST: usize = MAX_SEGMENTS + 2;

/// Calls below a parent before its words are compared for the first time.
const FIRST_LOOK: u32 = 8;

/// Lengths of one template's answers that count whoever got them; later ones only a client's first.
const SAMPLES: f64 = 8.0;

/// Words that can be told apart below a parent whose words are objects.
const EXCEPTIONS: u8 = 8;

/// How a node stands in a template.
fn written(label: &Label) -> &str {
    match label {
        Label::Word(word) => word,
        Label::Parameter(_) => "{id}",
        Label::Rest => "{rest}",
        Label::Free => "",
    }
}

/// One good answer (2xx, 304 or 101) to a client that is not under suspicion.
#[derive(Clone, Copy, Debug)]
pub struct Success<'a> {
    /// As received; brought into one form here.
    pub host: &'a str,
    /// As received, without the query.
    pub path: &'a str,
    /// `HEAD` counts as `GET`; `OPTIONS`, `TRACE` and `CONNECT` teach nothing.
    pub method: &'a str,
    /// Keyed hash of who called.
    pub client: u64,
    /// The traffic's time.
    pub time: Timestamp,
    /// Bytes of the answer's body after decoding; 0 if it had none.
    pub length: u64,
    /// The body is a page of HTML.
    pub page: bool,
}

impl<'a> Success<'a> {
    /// Of a call, if it is one: its answer is certain to be its own and was good. `client` is the keyed hash of who
    /// made it; whether that is a suspect is the caller's to know.
    pub fn of(call: &'a Call, client: u64) -> Option<Success<'a>> {
        let certain = call.completeness.request
            && call.completeness.response
            && !call.anomalies.contains(Anomaly::UncertainPairing);
        // Of a body that was not seen whole the length says nothing.
        let whole = call.response.gap_bytes == 0 && !call.response.truncated && !call.response.capped;
        let head = call.method == "HEAD";
        // What goes on has taught already.
        let begins = call.completeness.part == 0;
        (certain && begins && call.is_good()).then(|| Success {
            host: call.host.as_deref().unwrap_or_default(),
            path: &call.path,
            method: call.verb(),
            client,
            time: call.end_time,
            length: if whole && !head { call.response.body_bytes } else { 0 },
            page: call.response.content_type.as_deref() == Some("text/html"),
        })
    }
}

/// Templates that are one from now on. State that is kept by endpoint is to be moved, or dropped; the new endpoint's
/// [`EndpointId`](super::EndpointId) follows from host, method and `to` as always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The host.
    pub host: String,
    /// Every endpoint that has another template now, sorted by its old template and method.
    pub moves: Vec<Move>,
    /// They were misses that the server answered well.
    pub catch_all: bool,
}

/// One endpoint's new template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    /// What it was.
    pub from: String,
    /// The method.
    pub method: String,
    /// What it is.
    pub to: String,
}

/// What was dropped, and how often it was learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tallies {
    /// Segments forgotten because there were too many.
    pub evicted: u64,
    /// Good answers that taught nothing because their client had created too much alone, or the path had too many
    /// methods.
    pub refused: u64,
    /// Merges of words into a parameter.
    pub merges: u64,
    /// Parents found to be catch-alls.
    pub catch_alls: u64,
}

/// What one client created and nobody confirmed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Unconfirmed {
    nodes: u32,
    since: Timestamp,
}

/// The templates of all hosts. See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Templates {
    settings: Settings,
    tree: Tree,
    unconfirmed: Table<u64, Unconfirmed>,
    tallies: Tallies,
    /// The place of the path that is being learned.
    #[serde(skip)]
    found: Place,
}

/// Where one more segment leads.
enum Step {
    Known(Index),
    /// An object of a parent that has none yet.
    Object(Kind),
    /// A word that is not known.
    Word,
}

impl Templates {
    /// Templates that know nothing. The key keeps strangers from choosing words that collide.
    pub fn new(settings: Settings, key: HashKey) -> Templates {
        Templates {
            unconfirmed: Table::new(settings.clients),
            tree: Tree::new(key),
            settings,
            tallies: Tallies::default(),
            found: Place::default(),
        }
    }

    /// Sets `place` to the present template of a path: the learned one as far as the path is known; beyond, words as
    /// they are and parameters by their shape. One look-up a segment, no allocation once the buffers have grown.
    pub fn place(&self, place: &mut Place, host: Option<&str>, path: &str) {
        place.set_host(host.unwrap_or_default());
        place.segments.set(path);
        place.template.clear();
        place.label = None;
        place.parameterised = false;
        place.catch_all = false;
        let mut at = self.tree.find(ROOT, &place.host);
        place.nodes.clear();
        place.nodes.extend(at);
        place.settled = at.is_some() && !place.segments.more();
        let count = place.segments.len();
        for number in 0..count {
            let segment = place.segments.at(number);
            let (step, catch_all) = match at.and_then(|index| self.tree.get(index)) {
                Some(node) => {
                    // Where words are parameters, the answer has a say in what is one.
                    place.settled &= !node.open;
                    (self.step(at, node, segment, number == 0 && count > 1, None), node.catch_all.is_some())
                }
                None => (unknown(segment, number == 0 && count > 1), false),
            };
            place.template.push('/');
            match step {
                Step::Known(index) => {
                    let label = self.tree.get(index).map_or("", |node| written(&node.label));
                    place.template.push_str(label);
                    place.parameterised |= label == "{id}";
                    at = Some(index);
                    place.nodes.push(index);
                }
                _ if catch_all => {
                    place.settled = false;
                    place.template.push_str("{rest}");
                    place.catch_all = true;
                    place.known = true;
                    return;
                }
                Step::Object(_) => {
                    place.template.push_str("{id}");
                    place.parameterised = true;
                    place.settled = false;
                    at = None;
                }
                Step::Word => {
                    place.settled = false;
                    place.template.push_str(segment);
                    at = None;
                }
            }
        }
        if place.segments.more() {
            place.template.push_str("/{rest}");
            place.parameterised = true;
            at = at.and_then(|index| self.tree.get(index)).and_then(|node| node.rest);
        } else if count == 0 {
            place.template.push('/');
        }
        place.known = at.and_then(|index| self.tree.get(index)).is_some_and(|node| !node.records.is_empty());
    }

    /// Learns from a good answer. When it makes templates one, says which.
    pub fn learn(&mut self, success: &Success<'_>) -> Option<Merged> {
        let mut place = std::mem::take(&mut self.found);
        self.place(&mut place, Some(success.host), success.path);
        let merged = self.learn_at(success, &place);
        self.found = place;
        merged
    }

    /// The same for who has asked for the place of that path since something was last learned: it is not sought again.
    pub fn learn_at(&mut self, success: &Success<'_>, place: &Place) -> Option<Merged> {
        let method = match success.method {
            "OPTIONS" | "TRACE" | "CONNECT" => return None,
            "HEAD" => "GET",
            method => method,
        };
        let mut path = Path::default();
        let learned = if place.settled {
            self.follow(place, &mut path);
            true
        } else {
            self.walk(success, place, &mut path)
        };
        if !learned || !self.record(success, method, &path) {
            self.tallies.refused += 1;
            return None;
        }
        path.nodes().iter().find_map(|&index| {
            let node = self.tree.get_mut(index)?;
            // Comparing costs a walk over the words: a constant share of it for each call, and for each new word.
            let words = node.words.len() as u32;
            if node.calls < FIRST_LOOK.max(2 * words) && node.fresh < FIRST_LOOK.max(words / 4) {
                return None;
            }
            (node.calls, node.fresh) = (0, 0);
            let verdict = judge::judge(&self.tree, &self.settings, index)?;
            self.merge(index, verdict)
        })
    }

    /// Compares all words with their siblings now, wherever they are: at the end of a capture, before the inventory is
    /// read. Costs a walk over all that is known.
    pub fn settle(&mut self) -> Vec<Merged> {
        let mut merged = Vec::new();
        let mut waiting = vec![ROOT];
        while let Some(index) = waiting.pop() {
            if index != ROOT {
                // Each merge takes words away, so this ends.
                while let Some(verdict) = judge::judge(&self.tree, &self.settings, index) {
                    merged.extend(self.merge(index, verdict));
                }
            }
            waiting.extend(self.tree.get(index).into_iter().flat_map(Node::below));
        }
        merged
    }

    /// What is known, sorted by host, template and method.
    pub fn endpoints(&self) -> impl Iterator<Item = Entry<'_>> {
        inventory::entries(&self.tree).into_iter()
    }

    /// What was dropped and learned.
    pub fn tallies(&self) -> Tallies {
        self.tallies
    }

    /// Segments in memory.
    pub fn nodes(&self) -> usize {
        self.tree.len()
    }

    /// Where `segment` leads from a node; `length` is that of the answer, if there is one.
    #[inline]
    fn step(&self, at: Option<Index>, node: &Node, segment: &str, first: bool, length: Option<u64>) -> Step {
        let Some(at) = at else { return unknown(segment, first) };
        // Only words are in the index, so what it has need not be looked at any closer; numbers need not be sought.
        let number = segment.starts_with(|letter: char| letter.is_ascii_digit());
        let known = if number { None } else { self.tree.find(at, segment) };
        let kind = if known.is_some() { None } else { shape::kind(segment, first) };
        if let Some(kind) = kind {
            return node.parameter.map_or(Step::Object(kind), Step::Known);
        }
        if let Some(child) = known.or_else(|| if number { self.tree.find(at, segment) } else { None }) {
            let alias = self.tree.get(child).is_some_and(|child| child.alias);
            return Step::Known(node.parameter.filter(|_| alias).unwrap_or(child));
        }
        match node.parameter {
            Some(parameter) if node.open && !self.is_exception(node, parameter, length) => Step::Known(parameter),
            _ => Step::Word,
        }
    }

    /// Whether an answer's length is far from those of the parameter that a word would be.
    fn is_exception(&self, node: &Node, parameter: Index, length: Option<u64>) -> bool {
        let Some(length) = length.filter(|&length| length > 0 && node.exceptions < EXCEPTIONS) else { return false };
        let Some(record) = self.tree.get(parameter).and_then(|node| node.record("GET")) else { return false };
        let apart = ((length as f64).ln() - record.lengths.mean()).abs();
        record.lengths.count() >= 3.0 && apart > (4.0 * record.lengths.variance().sqrt()).max(0.5)
    }

    /// Follows a path on which nothing is new.
    fn follow(&mut self, place: &Place, path: &mut Path) {
        let count = place.segments.len();
        for (number, &index) in place.nodes.iter().enumerate() {
            path.push(index);
            if let Some(number) = number.checked_sub(1) {
                self.note_value(index, place.segments.at(number), number == 0 && count > 1);
            }
        }
    }

    /// Notes the value of a parameter; of a word there is nothing to note.
    #[inline]
    fn note_value(&mut self, index: Index, segment: &str, first: bool) {
        if !self.tree.get(index).is_some_and(|node| matches!(node.label, Label::Parameter(_))) {
            return;
        }
        let hash = self.tree.key().hash(&[segment.as_bytes()]);
        if let Some(Node { label: Label::Parameter(kinds), values, .. }) = self.tree.get_mut(index) {
            kinds.insert(shape::kind(segment, first).unwrap_or(Kind::Slug));
            values.insert(hash);
        }
    }

    /// Follows a path and creates what is new of it; false when that is too much for its client.
    fn walk(&mut self, success: &Success<'_>, place: &Place, path: &mut Path) -> bool {
        let segments = &place.segments;
        let mut at = self.tree.find(ROOT, &place.host);
        if at.is_none() && self.may_create(success) {
            at = Some(self.create(ROOT, Label::Word(place.host.as_str().into()), success, path));
        }
        let Some(mut at) = at else { return false };
        path.push(at);
        let count = segments.len();
        // Where anything is answered, an answer without a body, as not modified, is that.
        let is_empty = success.length == 0 && matches!(success.method, "GET" | "HEAD");
        for number in 0..count {
            let segment = segments.at(number);
            let Some(node) = self.tree.get(at) else { return false };
            let step = self.step(Some(at), node, segment, number == 0 && count > 1, Some(success.length));
            let (constant, rest) = (node.catch_all, node.rest);
            at = match step {
                Step::Known(index) => index,
                _ if constant.is_some_and(|length| length == success.length || is_empty) => {
                    let Some(rest) = rest else { return false };
                    path.push(rest);
                    return true;
                }
                _ if !self.may_create(success) => return false,
                Step::Object(kind) => {
                    let mut kinds = Kinds::default();
                    kinds.insert(kind);
                    self.create(at, Label::Parameter(kinds), success, path)
                }
                Step::Word => {
                    if let Some(node) = self.tree.get_mut(at) {
                        node.exceptions = node.exceptions.saturating_add(u8::from(node.open));
                        node.fresh = node.fresh.saturating_add(1);
                    }
                    self.create(at, Label::Word(segment.into()), success, path)
                }
            };
            path.push(at);
            self.note_value(at, segment, number == 0 && count > 1);
        }
        if segments.more() {
            let rest = self.tree.get(at).and_then(|node| node.rest);
            if rest.is_none() && !self.may_create(success) {
                return false;
            }
            path.push(rest.unwrap_or_else(|| self.create(at, Label::Rest, success, path)));
        }
        true
    }

    /// Whether a client may create one more segment.
    fn may_create(&self, success: &Success<'_>) -> bool {
        self.unconfirmed.get(&success.client).is_none_or(|held| {
            let hours = success.time.since(held.since).as_secs() / 3_600;
            u64::from(held.nodes) < (self.settings.unconfirmed as u64).saturating_add(hours)
        })
    }

    fn create(&mut self, parent: Index, label: Label, success: &Success<'_>, path: &Path) -> Index {
        let limit = if parent == ROOT { self.settings.hosts } else { self.settings.children };
        let full = self.tree.get(parent).is_some_and(|node| node.words.len() >= limit.max(1));
        if full && matches!(label, Label::Word(_)) {
            self.tallies.evicted += self.tree.evict_below(parent, path.nodes());
        }
        if self.tree.len() >= self.settings.nodes.max(2 * DEEPEST) {
            self.tallies.evicted += self.tree.evict(path.nodes());
        }
        match self.unconfirmed.get_mut(&success.client) {
            Some(held) => held.nodes = held.nodes.saturating_add(1),
            None => {
                let held = Unconfirmed { nodes: 1, since: success.time };
                self.unconfirmed.insert(success.client, held, |held| held.nodes);
            }
        }
        self.tree.add(parent, label, success.client)
    }

    /// Notes a good answer at the end of a path, and on the way that it passed; false when it has too many methods.
    fn record(&mut self, success: &Success<'_>, method: &str, path: &Path) -> bool {
        for &index in path.nodes() {
            let Some(node) = self.tree.get_mut(index) else { continue };
            node.last = node.last.max(success.time);
            node.calls = node.calls.saturating_add(1);
            if success.length > 0 {
                node.lengths.merge(Uniform::Always(success.length));
            }
            if method != "GET" || (success.length > 0 && !success.page) {
                node.pages = Uniform::Varied;
            } else if success.length > 0 {
                node.pages.merge(Uniform::Always(success.length));
            }
            if !node.confirmed && node.creator != success.client {
                node.confirmed = true;
                if let Some(held) = self.unconfirmed.get_mut(&node.creator) {
                    held.nodes = held.nodes.saturating_sub(1);
                }
            }
        }
        let Some(node) = self.tree.get_mut(path.last()) else { return false };
        let new_page = success.page && success.length > 0 && method == "GET" && node.record("GET").is_none();
        let place = match node.records.iter().position(|record| *record.method == *method) {
            Some(place) => place,
            None if node.records.len() >= self.settings.methods => return false,
            None => {
                node.records.push(Record {
                    method: method.chars().take(32).collect::<String>().into(),
                    successes: 0,
                    clients: Distinct::default(),
                    first: success.time,
                    last: success.time,
                    lengths: Moments::default(),
                });
                node.records.len() - 1
            }
        };
        let Some(record) = node.records.get_mut(place) else { return false };
        record.successes = record.successes.saturating_add(1);
        record.first = record.first.min(success.time);
        record.last = record.last.max(success.time);
        let new = record.clients.insert(success.client);
        if success.length > 0 && (new || record.lengths.count() < SAMPLES) {
            record.lengths.enter((success.length as f64).ln());
        }
        if new_page && let Some(host) = path.nodes().first().and_then(|&host| self.tree.get_mut(host)) {
            host.shell.get_or_insert_default().note(success.length);
        }
        true
    }
}

fn unknown(segment: &str, first: bool) -> Step {
    shape::kind(segment, first).map_or(Step::Word, Step::Object)
}

/// The nodes of one path, the host first.
struct Path {
    nodes: [Index; DEEPEST],
    count: usize,
}

impl Default for Path {
    fn default() -> Self {
        Path { nodes: [NONE; DEEPEST], count: 0 }
    }
}

impl Path {
    fn push(&mut self, index: Index) {
        if let Some(slot) = self.nodes.get_mut(self.count) {
            *slot = index;
            self.count += 1;
        }
    }

    fn nodes(&self) -> &[Index] {
        self.nodes.get(..self.count).unwrap_or_default()
    }

    fn last(&self) -> Index {
        self.nodes().last().copied().unwrap_or(NONE)
    }
}
