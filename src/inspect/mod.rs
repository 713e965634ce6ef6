//! Looks into messages while http streams them, and leaves a small digest on the call.
//!
//! A body is walked once, in pieces as they arrive, and never held: a [`Scan`] keeps its last bytes only, so that
//! values that straddle two pieces are found. What is sensitive is said in `rules/sensitive.toml`, who calls in
//! `rules/credentials.toml`. Values leave as keyed fingerprints, never in clear.
//!
//! Trade-offs: a rule sees at most a few hundred bytes around a candidate; text in UTF-16, values with entities of XML and
//! what lies inside archives, images or base64 is not found; payment cards without separators need a field's name
//! or words beside them, because one order number in forty passes for a card by chance.

mod allow;
mod candidate;
#[cfg(test)]
mod carrier_tests;
mod context;
mod credential;
mod csv;
mod digits;
mod escape;
mod find;
mod form;
#[cfg(test)]
mod generated_tests;
mod header;
mod identity;
mod literals;
mod media;
mod names;
mod national;
mod parts;
mod pattern;
mod registry;
mod rules;
pub(crate) mod shape;
mod sieve;
mod tally;
mod target;
#[cfg(test)]
mod tests;
mod userinfo;
mod validate;
mod values;

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::allow::Allowance;
use self::allow::Allowances;
pub(crate) use self::credential::IN_TARGET;
pub use self::credential::{CredentialHeaders, KnownCredentials};
use self::csv::TableDecoder;
use self::escape::EscapeDecoder;
use self::find::{AHEAD, BEFORE, Finder, Window};
use self::form::FormDecoder;
pub(crate) use self::header::LONGEST;
use self::media::{has_prefix, is_opaque, is_table};
pub(crate) use self::names::{Names, humps, leaf};
pub(crate) use self::registry::RULE_FILES;
use self::rules::Compiled;
pub(crate) use self::rules::without_examples;
pub use self::rules::{Class, Rules};
use self::shape::{Kind, Limits, Walker};
use self::tally::Tally;
pub(crate) use self::target::MASK;
pub use self::validate::Validator;
use self::values::{Against, Syntax, ValueReader};
use crate::call::{
    BodyShape, Call, Credential, Fingerprint, KeyCandidate, NamedShape, ParameterShape, RequestValues, Sensitive,
    SensitiveClasses,
};
use crate::key::{Domain, Key};

/// Unseen candidates gather for so many bytes before they are looked at: tiny pieces cost less so.
const SLACK: usize = 512;
/// A gap is as far as this in the positions of a message: no match reaches over it.
const GAP: u64 = 1 << 32;

/// Scans that are kept to be used again; one takes up to 16 KiB.
const IDLE_SCANS: usize = 64;

/// Which message of a call is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// The request.
    Request,
    /// The response.
    #[default]
    Response,
}

/// What inspection may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Look into bodies at all. Targets are masked in any case.
    pub enabled: bool,
    /// Decoded bytes of one body that are looked at; what lies behind is marked as capped. Costs no memory.
    pub body_limit: u64,
    /// Distinct values of one class whose fingerprints are kept for one message, the smallest ones; 8 bytes each. At
    /// worst a message under way takes 4 KiB for its last bytes and, for each class that is in it, 8 bytes times
    /// this: with 20 classes and 64 values 14 KiB.
    pub distinct_limit: usize,
    /// Candidates of one rule in one body whose pattern may fail before the rule gives up on this body, which is then
    /// marked as capped. Bounds what a body of nothing but beginnings of secrets can cost.
    pub candidate_limit: u32,
    /// Tell the shape of parameters and bodies ([`crate::call::Shape`]); `apitap apis` asks for it. Needs `enabled`.
    pub shapes: bool,
    /// Fields, items and entries of one body that are told apart; beyond, the shape is marked as incomplete. At worst a
    /// message under way takes 130 bytes for each, and 128 KiB for the places of its last values and escapes: with 2,048 nodes
    /// 388 KiB.
    pub shape_nodes: usize,
    /// Lists and objects within each other that are looked into; 32 bytes each.
    pub shape_depth: usize,
    /// Values of one request body (texts of JSON and XML, attributes, fields of forms and names of files) that are out of the
    /// ordinary and are held against the `[[probe]]` rules, each in its first KiB; beyond, the message is marked as capped.
    /// 0: none. Costs a body under way 3 KiB, one of `multipart/form-data` 6 KiB.
    pub probed_values: u32,
    /// Tell of requests without a credential what may be a key under a name that no rule knows
    /// ([`crate::call::KeyCandidate`]): such names are learned.
    pub key_candidates: bool,
    /// Sensitive values that are meant to be where they are, and are not told.
    pub allow: Vec<Allowance>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            enabled: true,
            body_limit: 1 << 20,
            distinct_limit: 64,
            candidate_limit: 4096,
            shapes: false,
            shape_nodes: 2048,
            shape_depth: 32,
            probed_values: 256,
            key_candidates: true,
            allow: Vec::new(),
        }
    }
}

/// What was found in one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// By class, sorted by name.
    pub sensitive: SensitiveClasses,
    /// A limit was reached: there may be more.
    pub capped: bool,
    /// What the body looks like, where that was asked for and it is of a kind that has a shape.
    pub shape: Option<Arc<BodyShape>>,
    /// What values of a request's body say.
    pub values: Option<Arc<RequestValues>>,
}

impl Findings {
    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        let values = self.sensitive.iter().map(|found| size_of_val(&*found.values));
        let shape = self.shape.as_ref().map_or(0, |shape| shape.bytes());
        let said = self.values.as_ref().map_or(0, |values| values.bytes());
        size_of_val(&*self.sensitive) + values.sum::<usize>() + shape + said
    }
}

/// Scans that are done, to be used again: their tables are made once. A worker has its own.
#[derive(Debug, Default)]
pub struct Scans(Vec<Box<Scan>>);

impl Scans {
    /// Takes a scan back that is done with.
    pub fn give_back(&mut self, mut scan: Box<Scan>) {
        if self.0.len() < IDLE_SCANS {
            scan.clear();
            self.0.push(scan);
        }
    }
}

/// One message being looked at.
#[derive(Debug, Default)]
pub struct Scan {
    side: Side,
    form: Option<FormDecoder>,
    table: Option<Box<TableDecoder>>,
    escapes: EscapeDecoder,
    /// Bytes offered so far, before forms and tables are decoded.
    seen: u64,
    /// More was offered than is looked at.
    cut: bool,
    /// The last bytes, from `base` on.
    tail: Vec<u8>,
    /// Position of the tail's first byte.
    base: u64,
    /// Place in the tail up to which candidates have been looked at.
    next: usize,
    /// The tail begins right behind a gap.
    open_left: bool,
    tally: Tally,
    /// Kept from message to message; in use when `walked`.
    walker: Option<Box<Walker>>,
    /// The shape is to be read.
    walks: Option<Kind>,
    walked: bool,
    /// Kept from message to message; in use when `valued`.
    reader: Option<Box<ValueReader>>,
    /// Values are to be read.
    reads: Option<Syntax>,
    valued: bool,
}

/// Compiled rules, key and settings. One is shared by all workers.
#[derive(Clone, Debug)]
pub struct Inspector {
    compiled: Arc<Compiled>,
    settings: Settings,
    credential_domains: credential::Domains,
    /// The fingerprints' keys, by class.
    domains: Vec<Domain>,
    /// The key of the fingerprints of whole bodies.
    body_domain: Domain,
    /// The key of the fingerprints of what bodies ask for.
    object_domain: Domain,
    /// The class of credentials in targets.
    parameter_class: Option<u16>,
    allowances: Arc<Allowances>,
}

impl Inspector {
    /// From rules, settings and the installation's key.
    pub fn new(rules: &Rules, settings: Settings, key: Key) -> Inspector {
        let compiled = rules.compiled.clone();
        let parameter_class = (0u16..)
            .zip(&compiled.classes)
            .find(|(_, class)| *class.name == *compiled.credentials.parameter_class)
            .map(|(number, _)| number);
        let domains = compiled.classes.iter().map(|class| key.domain(&class.name)).collect();
        let credential_domains = credential::Domains::new(&key);
        let allowances = Arc::new(Allowances::new(&settings.allow, &compiled));
        Inspector {
            compiled,
            settings,
            credential_domains,
            domains,
            body_domain: key.domain("request body"),
            object_domain: key.domain("object"),
            parameter_class,
            allowances,
        }
    }

    /// The fingerprint of a body by its checksum. Without the key it says nothing of what was in it.
    pub(crate) fn body_fingerprint(&self, checksum: u32) -> Fingerprint {
        self.body_domain.fingerprint(&checksum.to_be_bytes())
    }

    /// Adds the findings of one part of a message (its body) to those of another (its target), both sorted by class.
    pub fn merge(&self, into: &mut SensitiveClasses, from: &SensitiveClasses) {
        if into.is_empty() {
            into.clone_from(from);
        } else if !from.is_empty() {
            self.add(into.edit(), from);
        }
    }

    fn add(&self, into: &mut Vec<Sensitive>, from: &[Sensitive]) {
        for found in from {
            match into.binary_search_by(|known| known.class.cmp(&found.class)) {
                Ok(at) => {
                    let known = &mut into[at];
                    known.count = known.count.saturating_add(found.count);
                    let mut values = [&known.values[..], &found.values[..]].concat();
                    values.sort_unstable();
                    values.dedup();
                    values.truncate(self.settings.distinct_limit);
                    known.values = values.into();
                }
                Err(at) => into.insert(at, found.clone()),
            }
        }
    }

    /// Takes out of a call what is meant to be there. To be called once for each record of a call, when all is on it.
    pub fn settle(&self, call: &mut Call) {
        if !self.allowances.is_empty() && !call.sensitive.is_empty() {
            self.allowances.settle(call, |list, found| self.add(list, found));
        }
    }

    /// Begins looking at one body. None when inspection is off, or for a media type that holds no text: images, video,
    /// audio, fonts, archives. An unknown or absent type is looked at; where it is absent, the values of a request are read by
    /// how the body begins.
    pub fn begin(&self, side: Side, content_type: Option<&str>, idle: &mut Scans) -> Option<Box<Scan>> {
        if !self.settings.enabled || content_type.is_some_and(is_opaque) {
            return None;
        }
        let form = content_type.is_some_and(|kind| has_prefix(kind, "application/x-www-form-urlencoded"));
        let mut scan = idle.0.pop().unwrap_or_default();
        scan.side = side;
        scan.form = form.then(FormDecoder::default);
        scan.table = content_type.is_some_and(is_table).then(Box::default);
        if let Some(kind) = content_type.filter(|_| self.settings.shapes).and_then(Kind::of) {
            scan.walks = Some(kind);
            scan.tally.spans = Some(Vec::new());
            scan.escapes.keep_places();
        }
        if side == Side::Request && self.settings.probed_values > 0 {
            scan.reads = Syntax::of(content_type);
        }
        Some(scan)
    }

    /// The next decoded bytes of the body, in order. Values that straddle two pieces are found.
    ///
    /// `last` says that nothing comes behind them, as far as that is known: then they are looked at where they lie.
    pub fn data(&self, scan: &mut Scan, bytes: &[u8], last: bool) {
        let room = usize::try_from(self.settings.body_limit.saturating_sub(scan.seen)).unwrap_or(usize::MAX);
        scan.cut |= bytes.len() > room;
        let bytes = &bytes[..bytes.len().min(room)];
        scan.seen += bytes.len() as u64;
        if let Some(walker) = self.walker(scan) {
            walker.data(bytes);
        }
        if let Some(reader) = scan.reader() {
            reader.data(bytes, self.against());
        }
        if let Some(mut table) = scan.table.take() {
            table.decode(bytes, |piece| self.feed(scan, piece));
            scan.table = Some(table);
            return self.mark(scan);
        }
        match scan.form.take() {
            None if last && !scan.cut && scan.escapes.is_idle() && escape::first(bytes).is_none() => {
                self.end(scan, bytes);
            }
            None => self.feed(scan, bytes),
            Some(mut form) => {
                form.decode(bytes, |piece| self.feed(scan, piece));
                scan.form = Some(form);
            }
        }
        self.mark(scan);
    }

    /// A hole of known or unknown length: nothing matches across it.
    pub fn gap(&self, scan: &mut Scan) {
        if let Some(form) = &mut scan.form {
            form.clear();
        }
        if let Some(mut table) = scan.table.take() {
            table.clear(|piece| self.feed(scan, piece));
            scan.table = Some(table);
        }
        self.unescaped(scan);
        self.flush(scan, true);
        self.mark(scan);
        if let Some(walker) = self.walker(scan) {
            walker.gap();
        }
        if let Some(reader) = scan.reader() {
            reader.gap();
        }
        scan.base += scan.tail.len() as u64 + GAP;
        scan.tail.clear();
        scan.next = 0;
        scan.open_left = true;
    }

    /// False once more came than is looked at: nothing need be fed any more.
    pub fn wants_more(&self, scan: &Scan) -> bool {
        !scan.cut
    }

    /// The end of the body.
    pub fn finish(&self, mut scan: Box<Scan>, idle: &mut Scans) -> Findings {
        if let Some(mut form) = scan.form.take() {
            form.finish(|piece| self.feed(&mut scan, piece));
        }
        if let Some(mut table) = scan.table.take() {
            table.finish(|piece| self.feed(&mut scan, piece));
        }
        self.unescaped(&mut scan);
        let cut = scan.cut;
        self.flush(&mut scan, cut);
        self.mark(&mut scan);
        let mut findings = scan.tally.findings(&self.compiled, &self.allowances, self.settings.distinct_limit);
        findings.capped |= cut;
        if let Some(walker) = self.walker(&mut scan) {
            if cut {
                walker.gap();
            }
            let class = |number: u16| self.compiled.classes.get(usize::from(number)).map(|class| class.name.clone());
            findings.shape = walker.finish(class, |name| self.compiled.credentials.is_secret(name));
        }
        if let Some(reader) = scan.reader() {
            let (values, capped) = reader.finish(self.against());
            findings.values = values;
            findings.capped |= capped;
        }
        idle.give_back(scan);
        findings
    }

    /// The target as it may be printed, and what was found in it. Recognised secrets and values of credential
    /// parameters are masked: an eighth of them, at most four bytes, stays, then `***`. Borrowed when nothing is.
    pub fn target<'t>(&self, target: &'t str) -> (Cow<'t, str>, SensitiveClasses) {
        target::masked(self, target)
    }

    /// Whether anything is looked for.
    #[inline]
    pub(crate) fn is_enabled(&self) -> bool {
        self.settings.enabled
    }

    /// What is found in the value of a header field that is no credential.
    pub(crate) fn header(&self, side: Side, name: &[u8], value: &[u8]) -> SensitiveClasses {
        header::found(self, side, name, value)
    }

    /// Appends what the parameters of a query look like, as many as there are names ([`crate::call::Call::query_names`]).
    pub(crate) fn parameters(&self, query: &str, count: usize, into: &mut Vec<ParameterShape>) {
        let rules = &self.compiled.credentials;
        let parameters =
            shape::parameters(query, count, |name| rules.is_secret(name), |name, value| rules.is_key(name, value));
        into.extend(parameters);
    }

    /// Whether a header is one of the API's own, where shapes are asked for.
    #[inline]
    pub(crate) fn own_headers(&self) -> Option<fn(&[u8]) -> bool> {
        (self.settings.shapes && self.settings.enabled).then_some(shape::head::is_own)
    }

    /// Which headers of a head are looked at beside those of HTTP and of the rules: the API's own; where nothing is looked into,
    /// those of requests that may be a key.
    #[inline]
    pub(crate) fn further_headers(&self, request: bool) -> Option<fn(&[u8]) -> bool> {
        match self.settings.enabled {
            true => Some(shape::head::is_own),
            false => (request && self.settings.key_candidates).then_some(candidate::is_name),
        }
    }

    /// What may be a key of a request that has no credential; `text` makes names.
    pub(crate) fn key_candidates(
        &self,
        headers: &[(&[u8], &[u8])],
        target: &str,
        cookies: Option<&[u8]>,
        text: impl FnMut(&[u8]) -> Arc<str>,
    ) -> Vec<KeyCandidate> {
        let cookies = cookies.unwrap_or_default();
        if !self.settings.key_candidates || (headers.is_empty() && !target.contains('=') && cookies.is_empty()) {
            return Vec::new();
        }
        let (rules, domains) = (&self.compiled.credentials, &self.credential_domains);
        candidate::of(headers, target, cookies, text, |value| domains.key(value), |name| rules.is_secret(name))
    }

    /// The credential of a request that has none by the names that the rules know, and these candidates.
    pub(crate) fn likely_credential(&self, candidates: &[KeyCandidate]) -> Option<Credential> {
        self.compiled.credentials.likely(candidates, &self.credential_domains)
    }

    /// What headers of the API's own look like, and the one that carries a key; `text` makes their names.
    pub(crate) fn headers(
        &self,
        own: &[(&[u8], &[u8])],
        api_key: Option<&[u8]>,
        mut text: impl FnMut(&[u8]) -> Arc<str>,
    ) -> Vec<NamedShape> {
        let secret = |name: &[u8]| self.compiled.credentials.is_secret(name);
        let key = api_key.filter(|name| shape::head::is_name(name)).map(|name| NamedShape {
            name: text(name),
            credential: true,
            ..NamedShape::default()
        });
        let mut all: Vec<_> = key.into_iter().collect();
        all.extend(own.iter().map(|(name, value)| shape::head::named(text(name), value, false, secret)));
        all
    }

    /// What cookies look like; `text` makes their names. Those whose names are data are left out.
    pub(crate) fn cookies(&self, cookies: &[u8], mut text: impl FnMut(&[u8]) -> Arc<str>) -> Vec<NamedShape> {
        let rules = &self.compiled.credentials;
        let named = |(name, value): (&[u8], &[u8])| {
            let credential = rules.is_session_cookie(name);
            shape::head::named(text(name), value, credential, |name| rules.is_secret(name))
        };
        shape::head::cookies(cookies).map(named).collect()
    }

    /// Whether a cookie of this name is a session by the rules.
    pub(crate) fn is_session_cookie(&self, name: &[u8]) -> bool {
        self.compiled.credentials.is_session_cookie(name)
    }

    /// Who calls. In order of preference: `Authorization`, an API key header, a session cookie, a query parameter.
    pub fn credential(&self, headers: &CredentialHeaders<'_>, known: &mut KnownCredentials) -> Option<Credential> {
        self.compiled.credentials.credential(headers, &self.credential_domains, known)
    }

    /// True for a header that carries an API key by the rules; without regard to case.
    #[inline]
    pub fn is_api_key_header(&self, name: &[u8]) -> bool {
        self.compiled.credentials.is_api_key_header(name)
    }

    pub(self) fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// Counts the value of a credential parameter.
    fn add_parameter(&self, finder: &Finder<'_>, tally: &mut Tally, value: &[u8]) {
        if let Some(class) = self.parameter_class {
            finder.add(tally, class, value);
        }
    }

    /// What values of bodies are held against.
    fn against(&self) -> Against<'_> {
        let accounts = self.credential_domains.accounts();
        Against { rules: &self.compiled, limit: self.settings.probed_values, accounts, objects: &self.object_domain }
    }

    fn finder(&self, side: Side) -> Finder<'_> {
        let (compiled, domains, settings, allowances) =
            (&*self.compiled, &*self.domains, &self.settings, &*self.allowances);
        Finder { compiled, domains, settings, allowances, side }
    }

    /// The next bytes, whose escapes are undone if there are any.
    fn feed(&self, scan: &mut Scan, bytes: &[u8]) {
        let plain = match scan.escapes.is_idle() {
            true => escape::first(bytes).unwrap_or(bytes.len()),
            false => 0,
        };
        let (plain, escaped) = bytes.split_at(plain);
        if !plain.is_empty() {
            self.search(scan, plain);
        }
        if !escaped.is_empty() {
            let position = scan.end();
            let mut escapes = std::mem::take(&mut scan.escapes);
            escapes.decode(escaped, position, |escapes, piece| self.search_decoded(scan, escapes, piece));
            scan.escapes = escapes;
        }
    }

    /// What looked like the beginning of an escape was none: nothing comes behind it.
    fn unescaped(&self, scan: &mut Scan) {
        let mut escapes = std::mem::take(&mut scan.escapes);
        escapes.finish(|escapes, piece| self.search_decoded(scan, escapes, piece));
        scan.escapes = escapes;
    }

    fn search_decoded(&self, scan: &mut Scan, escapes: &mut EscapeDecoder, piece: &[u8]) {
        self.search(scan, piece);
        if let Some(spans) = &mut scan.tally.spans {
            escapes.settle(spans, scan.base);
        }
    }

    /// Looks at all candidates behind which enough is known, and keeps what the others need.
    fn search(&self, scan: &mut Scan, bytes: &[u8]) {
        if bytes.len() <= BEFORE + AHEAD {
            scan.tail.extend_from_slice(bytes);
            let ready = scan.tail.len().saturating_sub(AHEAD);
            if ready >= scan.next + SLACK {
                self.look(scan, ready, false);
                scan.forget();
            }
            return;
        }
        let (start, open_left) = (scan.end(), scan.open_left && scan.tail.is_empty());
        let ready = bytes.len() - AHEAD;
        self.body(scan, bytes, ready);
        let keep = ready.saturating_sub(BEFORE);
        scan.tail.clear();
        scan.tail.extend_from_slice(&bytes[keep..]);
        scan.base = start + keep as u64;
        scan.next = ready - keep;
        scan.open_left = open_left && keep == 0;
    }

    /// Looks at all that is left, of which these are the last bytes.
    fn end(&self, scan: &mut Scan, bytes: &[u8]) {
        if bytes.len() <= BEFORE + AHEAD && !scan.tail.is_empty() {
            scan.tail.extend_from_slice(bytes);
            self.flush(scan, false);
        } else {
            self.body(scan, bytes, bytes.len());
        }
        scan.tail.clear();
        scan.next = 0;
    }

    /// Looks at the candidates of a large piece up to `ready`: those that need what came before together with that,
    /// the others where they lie.
    fn body(&self, scan: &mut Scan, bytes: &[u8], ready: usize) {
        let start = scan.end();
        let mut head = 0;
        let open_left = scan.open_left && scan.tail.is_empty();
        if !scan.tail.is_empty() {
            head = BEFORE;
            scan.tail.extend_from_slice(&bytes[..BEFORE + AHEAD]);
            let known = scan.tail.len() - AHEAD;
            self.look(scan, known, false);
        }
        let window = Window { bytes, base: start, open_left, open_right: false };
        self.finder(scan.side).scan(&mut scan.tally, &window, head, ready);
    }

    /// Looks at the candidates of the tail up to `to`.
    fn look(&self, scan: &mut Scan, to: usize, open_right: bool) {
        if scan.next < to {
            let window = Window { bytes: &scan.tail, base: scan.base, open_left: scan.open_left, open_right };
            self.finder(scan.side).scan(&mut scan.tally, &window, scan.next, to);
            scan.next = to;
        }
    }

    /// What reads the shape of the body, if anything does; begun at its first use, since most bodies are known.
    fn walker<'s>(&self, scan: &'s mut Scan) -> Option<&'s mut Walker> {
        let kind = scan.walks?;
        let walker = scan.walker.get_or_insert_with(|| Box::new(Walker::new()));
        if !std::mem::replace(&mut scan.walked, true) {
            walker.begin(kind, Limits { nodes: self.settings.shape_nodes, depth: self.settings.shape_depth });
        }
        Some(walker)
    }

    /// Tells the shape where sensitive values were found.
    fn mark(&self, scan: &mut Scan) {
        if !scan.walked {
            return;
        }
        let (Some(walker), Some(spans)) = (scan.walker.as_mut(), scan.tally.spans.as_mut()) else { return };
        scan.escapes.settle(spans, scan.base);
        scan.escapes.taken();
        let class = |rule: u16| self.compiled.rules.get(usize::from(rule)).map_or(0, |rule| rule.class);
        let found = spans.drain(..).map(|(rule, range)| (class(rule), range));
        walker.mark(found, scan.escapes.stood(scan.base + scan.next as u64));
    }

    fn flush(&self, scan: &mut Scan, open_right: bool) {
        let all = scan.tail.len();
        self.look(scan, all, open_right);
    }
}

impl Scan {
    /// Whose message it is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The position behind the last byte that is held.
    fn end(&self) -> u64 {
        self.base + self.tail.len() as u64
    }

    /// True when bytes are looked at as they come: this is no form.
    pub fn is_plain(&self) -> bool {
        self.form.is_none() && self.table.is_none() && self.walks.is_none_or(|kind| kind == Kind::Json)
    }

    /// True when the body's shape is read.
    pub fn walks(&self) -> bool {
        self.walks.is_some()
    }

    /// How values of the body are read, by number, at most 5; 0 where they are not.
    pub fn reads(&self) -> u8 {
        self.reads.map_or(0, |syntax| syntax as u8)
    }

    /// What reads values, if anything does; begun at its first use, since most bodies are known.
    fn reader(&mut self) -> Option<&mut ValueReader> {
        let syntax = self.reads?;
        let reader = self.reader.get_or_insert_default();
        if !std::mem::replace(&mut self.valued, true) {
            reader.begin(syntax);
        }
        Some(reader)
    }

    /// Ready for another message.
    fn clear(&mut self) {
        self.form = None;
        self.table = None;
        self.escapes.clear();
        self.seen = 0;
        self.cut = false;
        self.tail.clear();
        self.base = 0;
        self.next = 0;
        self.open_left = false;
        self.tally.clear();
        (self.walks, self.walked) = (None, false);
        (self.reads, self.valued) = (None, false);
    }

    /// Drops what no candidate to come needs.
    fn forget(&mut self) {
        let keep = self.next.saturating_sub(BEFORE);
        if keep > 0 {
            self.tail.drain(..keep);
            self.base += keep as u64;
            self.next -= keep;
            self.open_left = false;
        }
    }
}
