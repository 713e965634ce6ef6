//! Forms: `application/x-www-form-urlencoded`, and `multipart/form-data` (RFC 7578) as it streams.

use super::super::parts::{Event, Splitter};
use super::draft::{Draft, NONE};
use super::format::{self, LOOKED_AT};
use crate::call::{Edge, Format, Type};

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

/// Parts of a multipart form.
#[derive(Debug)]
pub(super) struct Parts {
    splitter: Splitter,
    name: Vec<u8>,
    /// The part that is being read is a file.
    file: bool,
    /// The beginning of its value.
    value: Vec<u8>,
    any: bool,
    previous: u32,
}

impl Parts {
    pub(super) fn new() -> Parts {
        Parts {
            splitter: Splitter::default(),
            name: Vec::new(),
            file: false,
            value: Vec::new(),
            any: false,
            previous: NONE,
        }
    }

    pub(super) fn data(&mut self, bytes: &[u8], draft: &mut Draft) {
        let Parts { splitter, name, file, value, any, previous } = self;
        splitter.data(bytes, |event| match event {
            Event::Begin { name: called, file: of_file } => {
                name.clear();
                name.extend_from_slice(called);
                *file = !of_file.is_empty();
                value.clear();
            }
            Event::Data(bytes) => {
                let room = LOOKED_AT.saturating_sub(value.len());
                value.extend_from_slice(bytes.get(..bytes.len().min(room)).unwrap_or_default());
            }
            Event::End(place) => {
                if !*any {
                    draft.value(draft.root(), Type::Object, None);
                }
                *any = true;
                let format = if *file { Format::Binary } else { format::of(value) };
                let node = field(draft, previous, name, value, Some(format));
                draft.spans.add(place.start.min(place.end), place.end, node);
            }
        });
    }

    pub(super) fn finish(&mut self, draft: &mut Draft) {
        draft.malformed |= self.splitter.is_malformed();
        draft.incomplete |= !self.splitter.is_over();
    }
}
