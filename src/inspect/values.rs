//! Values of request bodies, one by one: texts of JSON, fields of forms (`application/x-www-form-urlencoded`,
//! `multipart/form-data`), texts and attributes of XML.
//!
//! | file | owns |
//! | --- | --- |
//! | `field` | what is asked of a value, and what is told of it |
//! | `json` | JSON texts |
//! | `form` | pairs of names and values |
//! | `parts` | parts of a multipart form |
//! | `xml` | elements and attributes |
//!
//! Two things are asked of them. Is a value meant for somebody else than the service ([`crate::rules::ProbeRule`])? And, where
//! one field names an account and another is a password, is the account one that everybody tries first? What leaves is the
//! path of the field and the name of the rule, or the name of the account as the rules have it. Values of fields that are
//! secrets by their names are not even collected: passwords are odd by design.
//!
//! A body is read as it comes, once; held are the beginning of one value and the names that lead to it. What it is made of its
//! media type says; where it has none, its beginning does, as servers that are asked to parse it would have it. What is
//! declared to be anything else (plain text, octets) is not read, nor are the contents of files.

mod field;
mod form;
mod json;
mod parts;
#[cfg(test)]
mod tests;
mod xml;

use std::sync::Arc;

pub(super) use self::field::Against;
use self::field::Fields;
use self::form::Pairs;
use self::json::Json;
use self::parts::Parts;
use self::xml::Xml;
use super::shape::Kind;
use crate::call::RequestValues;

/// Bytes of the longest name by which a body of no declared type is known for a form.
const FIRST_NAME: usize = 64;

/// How the values of a body are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Syntax {
    Json = 1,
    Pairs,
    Parts,
    Xml,
    /// It does not say.
    Unknown,
}

impl Syntax {
    /// By the media type, in lower case and without parameters; none for what is not read.
    pub(super) fn of(media: Option<&str>) -> Option<Syntax> {
        let Some(media) = media.filter(|media| !media.is_empty()) else { return Some(Syntax::Unknown) };
        match Kind::of(media) {
            Some(Kind::Json) => Some(Syntax::Json),
            Some(Kind::Pairs) => Some(Syntax::Pairs),
            Some(Kind::Parts) => Some(Syntax::Parts),
            None => (matches!(media, "application/xml" | "text/xml") || media.ends_with("+xml")).then_some(Syntax::Xml),
        }
    }
}

/// Reads one body; used again for the next.
#[derive(Debug, Default)]
pub(super) struct ValueReader {
    syntax: Option<Syntax>,
    fields: Fields,
    json: Json,
    pairs: Pairs,
    parts: Parts,
    xml: Xml,
    /// The beginning of a body that does not say what it is.
    beginning: Vec<u8>,
}

impl ValueReader {
    /// Ready for a body that is written so.
    pub(super) fn begin(&mut self, syntax: Syntax) {
        self.syntax = Some(syntax);
        self.fields.begin();
        self.json.begin();
        self.pairs.begin();
        self.parts.begin();
        self.xml.begin();
        self.beginning.clear();
    }

    /// The next bytes.
    pub(super) fn data(&mut self, bytes: &[u8], against: Against<'_>) {
        match self.syntax {
            Some(Syntax::Json) => self.json.data(bytes, &mut self.fields, against),
            Some(Syntax::Pairs) => self.pairs.data(bytes, &mut self.fields, against),
            Some(Syntax::Parts) => self.parts.data(bytes, &mut self.fields, against),
            Some(Syntax::Xml) => self.xml.data(bytes, &mut self.fields, against),
            Some(Syntax::Unknown) => self.guess(bytes, against),
            None => {}
        }
    }

    /// Bytes are missing: where it goes on is not known.
    pub(super) fn gap(&mut self) {
        self.syntax = None;
    }

    /// What was found, if anything was, and whether a limit was reached.
    pub(super) fn finish(&mut self, against: Against<'_>) -> (Option<Arc<RequestValues>>, bool) {
        if self.syntax == Some(Syntax::Pairs) {
            self.pairs.over(&mut self.fields, against);
        }
        self.fields.finish()
    }

    /// Looks at how a body begins that does not say what it is: as JSON, as XML, or with a name and `=`.
    fn guess(&mut self, bytes: &[u8], against: Against<'_>) {
        for (place, &byte) in bytes.iter().enumerate() {
            let first = self.beginning.is_empty();
            let syntax = match byte {
                // Blanks, and the mark of UTF-8.
                b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf if first => continue,
                b'{' | b'[' if first => Some(Syntax::Json),
                b'<' if first => Some(Syntax::Xml),
                b'=' if !first => Some(Syntax::Pairs),
                b'_' | b'.' | b'-' | b'[' | b']' | b'%' | b'+' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z'
                    if self.beginning.len() < FIRST_NAME =>
                {
                    self.beginning.push(byte);
                    continue;
                }
                _ => None,
            };
            self.syntax = syntax;
            let beginning = std::mem::take(&mut self.beginning);
            self.data(&beginning, against);
            self.data(bytes.get(place..).unwrap_or_default(), against);
            self.beginning = beginning;
            return;
        }
    }
}
