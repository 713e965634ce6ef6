//! Forms: `application/x-www-form-urlencoded`, and `multipart/form-data` (RFC 7578) as it streams.

use super::draft::{Draft, NONE};
use super::format::{self, LOOKED_AT};
use crate::call::{Edge, Format, Type};

/// Bytes of a part's head that are kept.
const HEAD: usize = 1024;

/// Bytes of the longest line between parts (RFC 2046, section 5.1.1: 70, with the hyphens before it).
const BOUNDARY: usize = 72;

/// A field of a form, with the beginning of its value. Gives its node.
fn field(draft: &mut Draft, previous: &mut u32, name: &[u8], value: &[u8], format: Option<Format>) -> u32 {
    let name = percent_encoding::percent_decode(name).collect::<Vec<u8>>();
    let node = if format::is_data(&name) {
        draft.inner(draft.root(), Edge::Entry)
    } else {
        *previous = draft.field(draft.root(), 1, *previous, &name);
        *previous
    };
    let decoded = decoded(value);
    let found = format.unwrap_or_else(|| format::of(&decoded));
    draft.value(node, Type::String, Some(found));
    match found {
        Format::Word => draft.word(node, &decoded),
        Format::Empty => {}
        _ => draft.no_words(node),
    }
    node
}

/// A value as forms write it, decoded.
pub(super) fn decoded(value: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    let spaced: Vec<u8> = value.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_encoding::percent_decode(&spaced).collect::<Vec<u8>>().into()
}

/// Pairs of names and values.
#[derive(Debug)]
pub(super) struct Pairs {
    name: Vec<u8>,
    value: Vec<u8>,
    in_value: bool,
    any: bool,
    previous: u32,
    /// Where the value began, and where the reader is, in bytes of the decoded form, which is what is searched; bytes of an
    /// escape that is not whole yet.
    begin: u64,
    at: u64,
    escape: u64,
}

impl Pairs {
    pub(super) fn new() -> Pairs {
        Pairs {
            name: Vec::new(),
            value: Vec::new(),
            in_value: false,
            any: false,
            previous: NONE,
            begin: 0,
            at: 0,
            escape: 0,
        }
    }

    pub(super) fn data(&mut self, bytes: &[u8], draft: &mut Draft) {
        for &byte in bytes {
            if byte == b'&' {
                self.over(draft);
            }
            self.go_on(byte);
            match byte {
                b'&' => {}
                b'=' if !self.in_value => (self.in_value, self.begin) = (true, self.at),
                _ => {
                    let part = if self.in_value { &mut self.value } else { &mut self.name };
                    if part.len() < LOOKED_AT {
                        part.push(byte);
                    }
                }
            }
        }
    }

    /// Goes on by a byte, as the decoder does (`inspect::form`).
    fn go_on(&mut self, byte: u8) {
        (self.at, self.escape) = match (self.escape, byte) {
            (0, b'%') => (self.at, 1),
            (1, _) if byte.is_ascii_hexdigit() => (self.at, 2),
            (2, _) if byte.is_ascii_hexdigit() => (self.at + 1, 0),
            (held, b'%') => (self.at + held, 1),
            (held, _) => (self.at + held + 1, 0),
        };
    }

    pub(super) fn over(&mut self, draft: &mut Draft) {
        if !self.name.is_empty() || self.in_value {
            if !self.any {
                draft.value(draft.root(), Type::Object, None);
            }
            self.any = true;
            let node = field(draft, &mut self.previous, &self.name, &self.value, None);
            if self.in_value {
                draft.spans.add(self.begin, self.at + self.escape, node);
            }
        }
        self.name.clear();
        self.value.clear();
        self.in_value = false;
    }
}

/// Parts between lines.
#[derive(Debug)]
pub(super) struct Parts {
    /// A line end and what each part ends with; empty until the first line is there.
    boundary: Vec<u8>,
    held: Vec<u8>,
    /// The name of the part that is being read, and the beginning of its value.
    part: Option<(Vec<u8>, bool)>,
    value: Vec<u8>,
    over: bool,
    any: bool,
    previous: u32,
    /// Where the value began, and where what is held begins, in bytes of the body.
    begin: u64,
    at: u64,
}

impl Parts {
    pub(super) fn new() -> Parts {
        Parts {
            boundary: Vec::new(),
            held: Vec::new(),
            part: None,
            value: Vec::new(),
            over: false,
            any: false,
            previous: NONE,
            begin: 0,
            at: 0,
        }
    }

    /// Takes so many bytes off what is held.
    fn take(&mut self, count: usize) {
        self.held.drain(..count);
        self.at += count as u64;
    }

    pub(super) fn data(&mut self, bytes: &[u8], draft: &mut Draft) {
        // So that what is held stays small whatever comes at once.
        for piece in bytes.chunks(4096) {
            if self.over {
                return;
            }
            self.held.extend_from_slice(piece);
            while self.step(draft) {}
        }
    }

    /// Takes one thing off what is held; false when more is needed.
    fn step(&mut self, draft: &mut Draft) -> bool {
        if self.boundary.is_empty() {
            let Some(end) = memchr::memmem::find(&self.held, b"\r\n") else {
                self.over |= self.held.len() > BOUNDARY;
                draft.malformed |= self.over;
                return false;
            };
            if !self.held.starts_with(b"--") || !(3..=BOUNDARY).contains(&end) {
                self.over = true;
                draft.malformed = true;
                return false;
            }
            self.boundary = [b"\r\n", self.held.get(..end).unwrap_or_default()].concat();
            self.take(end);
            return true;
        }
        if self.part.is_some() {
            return self.value(draft);
        }
        if self.held.starts_with(b"--") {
            self.over = true;
            return false;
        }
        match memchr::memmem::find(&self.held, b"\r\n\r\n") {
            Some(end) => {
                let head = self.held.get(..end).unwrap_or_default();
                self.part = Some((parameter(head, b"name=\"").to_vec(), !parameter(head, b"filename=\"").is_empty()));
                self.value.clear();
                self.take(end + 2); // the boundary of an empty part begins with the second line end
                self.begin = self.at + 2;
                true
            }
            None => {
                self.over |= self.held.len() > HEAD;
                draft.incomplete |= self.over;
                false
            }
        }
    }

    /// Reads on in a part's value.
    fn value(&mut self, draft: &mut Draft) -> bool {
        let end = memchr::memmem::find(&self.held, &self.boundary);
        let length = end.unwrap_or_else(|| self.held.len().saturating_sub(self.boundary.len()));
        let room = (LOOKED_AT + 2).saturating_sub(self.value.len());
        let value = self.held.get(..length).unwrap_or_default();
        self.value.extend_from_slice(value.get(..value.len().min(room)).unwrap_or_default());
        self.take(length);
        if end.is_none() {
            return false;
        }
        let end = self.at;
        self.take(self.boundary.len());
        let Some((name, file)) = self.part.take() else { return false };
        if !self.any {
            draft.value(draft.root(), Type::Object, None);
        }
        self.any = true;
        let value = std::mem::take(&mut self.value);
        let text = value.get(2..).unwrap_or_default(); // behind the line end of the head
        let format = if file { Format::Binary } else { format::of(text) };
        let node = field(draft, &mut self.previous, &name, text, Some(format));
        draft.spans.add(self.begin, end, node);
        self.value = value;
        true
    }

    pub(super) fn finish(&mut self, draft: &mut Draft) {
        draft.incomplete |= !self.over;
    }
}

/// The value of a parameter of a part's `Content-Disposition`, without the quotes.
fn parameter<'h>(head: &'h [u8], begins: &[u8]) -> &'h [u8] {
    // `filename` ends in `name`: what is before must be no letter.
    let mut from = 0;
    while let Some(found) = memchr::memmem::find(head.get(from..).unwrap_or_default(), begins) {
        let start = from + found;
        from = start + begins.len();
        if start == 0 || !head.get(start - 1).is_some_and(u8::is_ascii_alphabetic) {
            let rest = head.get(from..).unwrap_or_default();
            return rest.split(|&byte| byte == b'"').next().unwrap_or_default();
        }
    }
    &[]
}
