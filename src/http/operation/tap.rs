//! The beginning of a body, kept until the body is over.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use crate::call::Unread;

use super::{Carrier, multipart, soap, speaks_graphql, without_mark};

/// One of these is in every JSON body that names an operation: the member's name, or an escape that may hide it.
static WORDS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::new([r#""query""#, r#""jsonrpc""#, r#""persistedQuery""#, r#""params""#, r"\u00"]).ok()
});

/// Buffers that are kept to be used again.
const IDLE: usize = 16;

/// Bytes within which the first part of a form has its name.
const FIRST_PART: usize = 512;

/// What a worker's taps share.
pub(crate) struct Pool(Rc<Shared>);

struct Shared {
    /// Bytes that all taps hold, and how many they may.
    held: Cell<usize>,
    limit: usize,
    /// Bytes of one body.
    each: usize,
    idle: RefCell<Vec<Vec<u8>>>,
}

impl Pool {
    /// For so many bytes of one body, and of all.
    pub(crate) fn new(each: usize, limit: usize) -> Pool {
        Pool(Rc::new(Shared { held: Cell::new(0), limit, each, idle: RefCell::default() }))
    }
}

/// The beginning of one body.
pub(crate) struct Tap {
    carrier: Carrier,
    kept: Vec<u8>,
    shared: Rc<Shared>,
    state: State,
    /// It is kept whatever it says: it goes where GraphQL is spoken, where a document may be called by an `id`, a word of every
    /// API's bodies, or it answers who gave a password.
    any: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing came yet.
    Fresh,
    /// What came is kept.
    Keeping,
    /// No more is kept.
    Missing(Unread),
    /// It names no operation.
    Nothing,
    /// It is not what its media type says, or its beginning was lost.
    Unreadable,
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut kept = std::mem::take(&mut self.kept);
        self.shared.held.set(self.shared.held.get().saturating_sub(kept.len()));
        let mut idle = self.shared.idle.borrow_mut();
        if idle.len() < IDLE && (1..=2 * self.shared.each).contains(&kept.capacity()) {
            kept.clear();
            idle.push(kept);
        }
    }
}

impl Tap {
    /// For a body of this media type; none where it cannot carry an operation.
    pub(crate) fn new(media: Option<&str>, pool: &Pool) -> Option<Tap> {
        if pool.0.each == 0 {
            return None;
        }
        Some(Tap::begin(Carrier::of(media?)?, false, pool))
    }

    /// For the body of a request of this media type to this path; none where it cannot carry an operation.
    pub(crate) fn request(media: Option<&str>, path: &str, pool: &Pool) -> Option<Tap> {
        if pool.0.each == 0 {
            return None;
        }
        let carrier = Carrier::of_request(media)?;
        Some(Tap::begin(carrier, carrier == Carrier::Json && speaks_graphql(path), pool))
    }

    /// For the body of a JSON answer, whatever it says.
    pub(crate) fn answer(pool: &Pool) -> Option<Tap> {
        (pool.0.each > 0).then(|| Tap::begin(Carrier::Json, true, pool))
    }

    fn begin(carrier: Carrier, any: bool, pool: &Pool) -> Tap {
        Tap { carrier, kept: Vec::new(), shared: pool.0.clone(), state: State::Fresh, any }
    }

    /// What it may be.
    pub(crate) fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// The next decoded bytes; `last` when it is known that there are no more.
    pub(crate) fn data(&mut self, bytes: &[u8], last: bool) {
        match self.state {
            _ if bytes.is_empty() => return,
            State::Missing(_) | State::Nothing | State::Unreadable => return,
            State::Fresh => {
                if !may_begin(self.carrier, bytes) {
                    self.state = State::Unreadable;
                    return;
                }
                // Most bodies come in one piece and name nothing: they are not copied.
                if last && bytes.len() <= self.shared.each && !self.may_name(bytes) {
                    let readable = self.carrier != Carrier::Xml || is_other_xml(bytes);
                    self.state = if readable { State::Nothing } else { State::Unreadable };
                    return;
                }
                self.state = State::Keeping;
                self.kept = self.shared.idle.borrow_mut().pop().unwrap_or_default();
            }
            State::Keeping => {}
        }
        let (room, held) = (self.shared.each.saturating_sub(self.kept.len()), self.shared.held.get());
        let left = self.shared.limit.saturating_sub(held);
        let piece = &bytes[..bytes.len().min(room).min(left)];
        self.shared.held.set(held + piece.len());
        self.kept.extend_from_slice(piece);
        if piece.len() < bytes.len() {
            self.state = State::Missing(if room <= left { Unread::TooLarge } else { Unread::Incomplete });
        }
    }

    /// Bytes were lost.
    pub(crate) fn gap(&mut self) {
        self.state = match self.state {
            // Not even the beginning is there.
            State::Fresh => State::Unreadable,
            State::Keeping => State::Missing(Unread::Incomplete),
            known => known,
        };
    }

    /// What there is of the body, why there is no more of it, and what it may be; none where it names no operation. What
    /// names one may stand behind what there is. `whole` says that nothing of it was lost besides what the tap knows.
    pub(crate) fn read(&self, whole: bool) -> Option<(Carrier, &[u8], Option<Unread>)> {
        let missing = match self.state {
            State::Fresh | State::Nothing | State::Unreadable => return None,
            State::Keeping => (!whole).then_some(Unread::Incomplete),
            State::Missing(reason) => Some(reason),
        };
        (missing.is_some() || self.may_name(&self.kept)).then_some((self.carrier, &self.kept, missing))
    }

    /// It is XML, and no envelope of SOAP.
    pub(crate) fn is_other_xml(&self) -> bool {
        self.carrier == Carrier::Xml
            && match self.state {
                State::Fresh | State::Unreadable => false,
                State::Nothing => true,
                State::Keeping | State::Missing(_) => is_other_xml(&self.kept),
            }
    }

    fn may_name(&self, bytes: &[u8]) -> bool {
        self.any || may_name(self.carrier, bytes)
    }
}

/// Whether XML has a first element that can be read and is no envelope.
fn is_other_xml(bytes: &[u8]) -> bool {
    soap::find(&soap::text(bytes)) == Some(soap::Found::Other)
}

/// Whether a body that begins so can be what its media type says.
fn may_begin(carrier: Carrier, bytes: &[u8]) -> bool {
    if "\u{feff}".as_bytes().starts_with(bytes) {
        return true; // a part of the mark
    }
    let bytes = without_mark(bytes).trim_ascii_start();
    match (carrier, bytes.first()) {
        (Carrier::Document, _) | (_, None) => true,
        (Carrier::Json | Carrier::Undeclared, first) => matches!(first, Some(b'{' | b'[')),
        // As a character of one byte, or of two behind a byte order mark or not.
        (Carrier::Xml, first) => matches!(first, Some(b'<' | 0 | 0xfe | 0xff)),
        (Carrier::Multipart, first) => matches!(first, Some(b'-')) && may_carry(bytes),
    }
}

/// Whether a form that begins so may carry an operation: the part that does comes first.
fn may_carry(bytes: &[u8]) -> bool {
    bytes.len() < FIRST_PART || memchr::memmem::find(bytes, multipart::OPERATIONS).is_some()
}

/// Whether a word is in a body without which it names no operation.
fn may_name(carrier: Carrier, bytes: &[u8]) -> bool {
    match carrier {
        Carrier::Json | Carrier::Undeclared | Carrier::Multipart => {
            WORDS.as_ref().is_none_or(|words| words.is_match(bytes))
        }
        Carrier::Document => true,
        Carrier::Xml => soap::is_wide(bytes) || memchr::memmem::find(bytes, b"Envelope").is_some(),
    }
}
