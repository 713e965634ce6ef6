//! Pairs of names and values: `application/x-www-form-urlencoded`.

use std::borrow::Cow;

use super::field::{Against, Fields};

/// Reads a form.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// Behind a name and `=`.
    in_value: bool,
}

impl Pairs {
    pub(super) fn begin(&mut self) {
        self.in_value = false;
    }

    /// The next bytes.
    pub(super) fn data(&mut self, bytes: &[u8], fields: &mut Fields, against: Against<'_>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = match self.in_value {
                false => memchr::memchr2(b'&', b'=', rest),
                true => memchr::memchr(b'&', rest),
            };
            let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
            match self.in_value {
                false => fields.keep_name(part),
                true => fields.keep(part),
            }
            match behind.first() {
                Some(b'=') => {
                    fields.text_is_name(0, decoded, false, against);
                    self.in_value = true;
                }
                Some(_) => self.over(fields, against),
                None => {}
            }
            rest = behind.get(1..).unwrap_or_default();
        }
    }

    /// A field is over.
    pub(super) fn over(&mut self, fields: &mut Fields, against: Against<'_>) {
        if std::mem::take(&mut self.in_value) {
            fields.text_is_value(decoded, against);
        }
        fields.over();
    }
}

/// A text as forms write it, decoded.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    match text.contains(&b'+') {
        true => super::super::shape::form_decoded(text),
        false => percent_encoding::percent_decode(text).into(),
    }
}
