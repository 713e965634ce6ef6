//! JSON (RFC 8259) as it streams: structure and types, one look at each byte, strings by leaps.

use super::draft::{Draft, NONE};
use super::format::{self, LOOKED_AT};
use crate::call::{Edge, Format, Type};

/// Bytes of the longest number or literal.
const SCALAR: usize = 64;

/// What is expected next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Value,
    /// A value, or the end of a list without any.
    FirstItem,
    /// A name, or the end of an object without any.
    FirstName,
    Name,
    Colon,
    /// A comma, or the end of what is open.
    Behind,
    Text {
        name: bool,
        escaped: bool,
    },
    Scalar,
    /// It is no JSON, or too much of it is missing.
    Failed,
}

/// A list or an object that is open.
#[derive(Clone, Copy, Debug)]
struct Open {
    node: u32,
    list: bool,
    /// Which object of its node it is.
    object: u32,
    /// The field before.
    previous: u32,
    /// That of the value to come.
    inner: u32,
}

/// Reads one body.
#[derive(Debug, Default)]
pub(super) struct Json {
    state: State,
    open: Vec<Open>,
    depth: usize,
    /// Levels beyond the depth that is kept; each closes as it opened or is taken to.
    beyond: u32,
    /// The text or scalar that is being read: its beginning.
    held: Vec<u8>,
    escapes: bool,
    /// Where it began, and where the reader is, in bytes of the body.
    begin: u64,
    at: u64,
}

impl Json {
    /// Ready for another body.
    pub(super) fn clear(&mut self, depth: usize) {
        self.state = State::Value;
        self.open.clear();
        self.depth = depth;
        self.beyond = 0;
        self.held.clear();
        (self.begin, self.at, self.escapes) = (0, 0, false);
    }

    /// The next bytes.
    pub(super) fn data(&mut self, bytes: &[u8], draft: &mut Draft) {
        let mut place = 0;
        while let Some(&byte) = bytes.get(place) {
            match self.state {
                State::Text { name, escaped } => {
                    let rest = bytes.get(place..).unwrap_or_default();
                    place += self.text(rest, name, escaped, self.at + place as u64, draft);
                    continue;
                }
                State::Scalar => {
                    if !matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n') {
                        self.hold(&[byte]);
                        place += 1;
                        continue;
                    }
                    // The byte is looked at once more, as what comes behind the scalar.
                    self.scalar(self.at + place as u64, draft);
                    continue;
                }
                State::Failed => break,
                _ => {}
            }
            if byte == b'"' && matches!(self.state, State::FirstName | State::Name) {
                let rest = bytes.get(place + 1..).unwrap_or_default();
                if let Some(length) = self.usual_name(rest, draft) {
                    place += 1 + length;
                    continue;
                }
            }
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                self.token(byte, self.at + place as u64, draft);
            }
            place += 1;
        }
        self.at += bytes.len() as u64;
    }

    /// Bytes are missing: where it goes on is not known.
    pub(super) fn gap(&mut self, draft: &mut Draft) {
        draft.incomplete = true;
        self.state = State::Failed;
    }

    /// There is no more.
    pub(super) fn finish(&mut self, draft: &mut Draft) {
        if self.state == State::Scalar {
            self.scalar(self.at, draft);
        }
        // Between values there may be an end: a body of several is a stream of them.
        let over = self.state == State::Value && self.open.is_empty() && self.beyond == 0;
        if !over && self.state != State::Failed {
            draft.incomplete = true;
        }
    }

    fn token(&mut self, byte: u8, at: u64, draft: &mut Draft) {
        match (self.state, byte) {
            (State::FirstName | State::Name, b'"') => self.begin_text(true, at),
            (State::Colon, b':') => self.state = State::Value,
            (State::FirstName | State::Behind, b'}') | (State::FirstItem | State::Behind, b']') => {
                self.close(byte == b']', draft);
            }
            (State::Behind, b',') => {
                let list = self.beyond == 0 && self.open.last().is_some_and(|open| open.list);
                // Beyond the depth nobody knows what is open: either may come.
                self.state = if list { State::Value } else { State::Name };
                if self.beyond > 0 {
                    self.state = State::Value;
                }
            }
            (State::Value | State::FirstItem, b'{') => self.begin(false, draft),
            (State::Value | State::FirstItem, b'[') => self.begin(true, draft),
            (State::Value | State::FirstItem, b'"') => self.begin_text(false, at),
            (State::Value | State::FirstItem, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                self.held.clear();
                self.held.push(byte);
                self.begin = at;
                self.state = State::Scalar;
            }
            // Beyond the depth a text may turn out to be a name.
            (State::Behind, b':') if self.beyond > 0 => self.state = State::Value,
            (State::Value, 0xef | 0xbb | 0xbf) if at < 3 => {} // a byte order mark
            _ => self.fail(draft),
        }
    }

    fn fail(&mut self, draft: &mut Draft) {
        draft.malformed = true;
        self.state = State::Failed;
    }

    /// The node of the value that comes now.
    fn node(&self, draft: &Draft) -> u32 {
        match self.open.last() {
            _ if self.beyond > 0 => NONE,
            Some(open) => open.inner,
            None => draft.root(),
        }
    }

    fn begin(&mut self, list: bool, draft: &mut Draft) {
        let node = self.node(draft);
        let object = draft.value(node, if list { Type::Array } else { Type::Object }, None);
        self.state = if list { State::FirstItem } else { State::FirstName };
        if self.open.len() >= self.depth {
            draft.incomplete = true;
            self.beyond = self.beyond.saturating_add(1);
            self.state = if list { State::FirstItem } else { State::FirstName };
            return;
        }
        let inner = if list { draft.inner(node, Edge::Item) } else { NONE };
        self.open.push(Open { node, list, object, previous: NONE, inner });
    }

    fn close(&mut self, list: bool, draft: &mut Draft) {
        if self.beyond > 0 {
            self.beyond -= 1;
            self.state = State::Behind;
            return;
        }
        match self.open.pop() {
            Some(open) if open.list == list => self.value_over(),
            _ => self.fail(draft),
        }
    }

    /// A value is over: what may come behind it.
    fn value_over(&mut self) {
        let outermost = self.open.is_empty() && self.beyond == 0;
        self.state = if outermost { State::Value } else { State::Behind };
    }

    /// Reads a name and the quote behind it where it is the field that came here last time, as in most lists; gives how many
    /// bytes that were.
    #[inline]
    fn usual_name(&mut self, rest: &[u8], draft: &mut Draft) -> Option<usize> {
        let open = self.open.last_mut().filter(|_| self.beyond == 0)?;
        let (field, length) = draft.usual_field(open.node, open.object, open.previous, rest)?;
        (open.previous, open.inner) = (field, field);
        self.state = State::Colon;
        Some(length + 1)
    }

    fn begin_text(&mut self, name: bool, at: u64) {
        self.held.clear();
        self.escapes = false;
        self.begin = at + 1;
        self.state = State::Text { name, escaped: false };
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = LOOKED_AT.max(SCALAR) - self.held.len().min(LOOKED_AT.max(SCALAR));
        self.held.extend_from_slice(bytes.get(..bytes.len().min(room)).unwrap_or_default());
    }

    /// Reads on in a text; gives how many bytes were read.
    fn text(&mut self, bytes: &[u8], name: bool, escaped: bool, at: u64, draft: &mut Draft) -> usize {
        if escaped {
            // Of what is escaped the format can no longer be told, and nobody needs it.
            self.state = State::Text { name, escaped: false };
            return 1;
        }
        let Some(end) = memchr::memchr2(b'"', b'\\', bytes) else {
            self.hold(bytes);
            return bytes.len();
        };
        let text = bytes.get(..end).unwrap_or_default();
        if bytes.get(end) == Some(&b'\\') {
            self.hold(text);
            self.escapes = true;
            self.state = State::Text { name, escaped: true };
            return end + 1;
        }
        let over = at + end as u64;
        if self.held.is_empty() {
            // As most: in one piece, and not copied.
            self.text_over(text, name, over, draft);
        } else {
            self.hold(text);
            let held = std::mem::take(&mut self.held);
            self.text_over(&held, name, over, draft);
            self.held = held;
        }
        end + 1
    }

    fn text_over(&mut self, text: &[u8], name: bool, end: u64, draft: &mut Draft) {
        if name {
            self.name(text, draft);
            self.state = State::Colon;
            return;
        }
        let node = self.node(draft);
        if node != NONE {
            let text = text.get(..LOOKED_AT).unwrap_or(text);
            let format = if self.escapes { Format::Text } else { format::of(text) };
            draft.value(node, Type::String, Some(format));
            match format {
                Format::Word => draft.word(node, text),
                Format::Empty => {}
                _ => draft.no_words(node),
            }
            draft.spans.add(self.begin, end, node);
        }
        self.value_over();
        if self.beyond > 0 {
            self.state = State::Behind;
        }
    }

    /// The name of a member: the node of its value.
    fn name(&mut self, name: &[u8], draft: &mut Draft) {
        if self.beyond > 0 {
            return;
        }
        let Some(open) = self.open.last_mut() else { return };
        let data = self.escapes || format::is_data(name);
        open.inner = if data {
            draft.inner(open.node, Edge::Entry)
        } else {
            let field = draft.field(open.node, open.object, open.previous, name);
            open.previous = field;
            field
        };
    }

    fn scalar(&mut self, end: u64, draft: &mut Draft) {
        let held = std::mem::take(&mut self.held);
        let (kind, format) = match held.as_slice() {
            b"null" => (Type::Null, None),
            b"true" | b"false" => (Type::Boolean, None),
            number if number.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')) => {
                let whole = number.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'-'));
                let text = std::str::from_utf8(number).unwrap_or_default(); // digits and signs are ASCII
                match whole {
                    true if number.len() < 10 || text.parse::<i32>().is_ok() => (Type::Integer, None),
                    true if text.parse::<i64>().is_ok() => (Type::Integer, Some(Format::Int64)),
                    true => (Type::Integer, Some(Format::Large)),
                    false => (Type::Number, None),
                }
            }
            _ => {
                self.held = held;
                return self.fail(draft);
            }
        };
        self.held = held;
        let node = self.node(draft);
        if node != NONE {
            draft.value(node, kind, format);
            if matches!(kind, Type::Integer | Type::Number) {
                draft.spans.add(self.begin, end, node);
            }
        }
        self.value_over();
        if self.beyond > 0 {
            self.state = State::Behind;
        }
    }
}
