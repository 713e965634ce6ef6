//! The shape of bodies: which fields there are and what their values look like, read as the body streams.
//!
//! | file | owns |
//! | --- | --- |
//! | `format` | what a text looks like, and which keys are data |
//! | `json` | JSON, a byte at a time |
//! | `form` | forms, multipart ones too |
//! | `draft` | the nodes of the shape so far |
//! | `spans` | where values stood |
//! | `head` | headers of the API's own, and cookies |
//!
//! No value is kept but words of at most 24 bytes, sixteen of a field, which stay in memory: a closed set of words that
//! many callers got is an enumeration, any other is forgotten by the inventory. Keys that look like data (numbers,
//! identifiers, addresses, what is long or has spaces) are no names of fields: what stands behind them is one node.

mod draft;
mod form;
pub(crate) mod format;
pub(crate) mod head;
mod json;
mod spans;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use draft::Draft;
use json::Json;

use crate::call::{BodyShape, Format, ParameterShape};

/// What the shape of one body may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Nodes that are kept.
    pub(super) nodes: usize,
    /// Lists and objects within each other.
    pub(super) depth: usize,
}

/// What a body is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Pairs,
    Parts,
}

impl Kind {
    /// By the media type, in lower case.
    pub(super) fn of(media: &str) -> Option<Kind> {
        match media {
            "application/json" | "text/json" | "application/x-ndjson" | "application/jsonl" => Some(Kind::Json),
            "application/x-www-form-urlencoded" => Some(Kind::Pairs),
            "multipart/form-data" => Some(Kind::Parts),
            _ => media.ends_with("+json").then_some(Kind::Json),
        }
    }
}

#[derive(Debug)]
enum Reader {
    Json,
    Pairs(form::Pairs),
    Parts(Box<form::Parts>),
}

/// Reads the shape of one body; used again for the next.
#[derive(Debug)]
pub(super) struct Walker {
    reader: Reader,
    json: Json,
    draft: Draft,
}

impl Walker {
    pub(super) fn new() -> Walker {
        Walker { reader: Reader::Json, json: Json::default(), draft: Draft::default() }
    }

    /// Ready for a body of this kind.
    pub(super) fn begin(&mut self, kind: Kind, limits: Limits) {
        self.draft.clear(limits);
        self.json.clear(limits.depth);
        self.reader = match kind {
            Kind::Json => Reader::Json,
            Kind::Pairs => Reader::Pairs(form::Pairs::new()),
            Kind::Parts => Reader::Parts(Box::new(form::Parts::new())),
        };
    }

    /// The next bytes.
    pub(super) fn data(&mut self, bytes: &[u8]) {
        match &mut self.reader {
            Reader::Json => self.json.data(bytes, &mut self.draft),
            Reader::Pairs(pairs) => pairs.data(bytes, &mut self.draft),
            Reader::Parts(parts) => parts.data(bytes, &mut self.draft),
        }
    }

    /// Bytes are missing, or not looked at.
    pub(super) fn gap(&mut self) {
        self.json.gap(&mut self.draft);
        self.draft.spans.close();
        self.draft.incomplete = true;
    }

    /// Sensitive values were found at these places of the body, and will not be before `done` any more.
    pub(super) fn mark(&mut self, found: impl Iterator<Item = (u16, Range<u64>)>, done: u64) {
        self.draft.mark(found, done);
    }

    /// There is no more. See [`Draft::shape`].
    pub(super) fn finish(
        &mut self,
        class: impl Fn(u16) -> Option<Arc<str>>,
        secret: impl Fn(&[u8]) -> bool,
    ) -> Option<Arc<BodyShape>> {
        match &mut self.reader {
            Reader::Json => self.json.finish(&mut self.draft),
            Reader::Pairs(pairs) => pairs.over(&mut self.draft),
            Reader::Parts(parts) => parts.finish(&mut self.draft),
        }
        self.draft.mark(std::iter::empty(), 0);
        self.draft.shape(class, secret).map(Arc::new)
    }
}

/// A value as forms write it, decoded.
pub(super) fn form_decoded(value: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    form::decoded(value)
}

/// What the parameters of a query look like, in order, as [`crate::call::Call::query_names`] has them.
pub(super) fn parameters(
    query: &str,
    count: usize,
    secret: impl Fn(&[u8]) -> bool,
    key: impl Fn(&[u8], &[u8]) -> bool,
) -> impl Iterator<Item = ParameterShape> {
    let parts = query.as_bytes().split(|&byte| byte == b'&').filter(|part| !part.is_empty()).take(count);
    parts.map(move |part| {
        let end = part.iter().position(|&byte| byte == b'=').unwrap_or(part.len());
        let (name, value) = (part.get(..end).unwrap_or_default(), part.get(end + 1..).unwrap_or_default());
        let [name, decoded] = [name, value].map(|text| {
            let plain = !text.iter().any(|byte| matches!(byte, b'%' | b'+'));
            if plain { text.into() } else { form::decoded(text) }
        });
        let format = format::of(decoded.get(..format::LOOKED_AT).unwrap_or(&decoded));
        let word = (format == Format::Word && decoded.len() <= draft::WORD_BYTES && !secret(&name))
            .then(|| String::from_utf8_lossy(&decoded).into());
        ParameterShape { format: [format].into_iter().collect(), credential: key(&name, &decoded), word }
    })
}
