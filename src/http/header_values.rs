//! What heads give away: sensitive values in header fields of the API's own and in cookies, and of answers in the addresses of
//! other pages.
//!
//! Those of requests have a place of their own ([`crate::call::Digest::request_head`]): what a program sends along with each of its
//! calls, its user's address in a cookie perhaps, is not what it asks for, and would look as if it asked for one person after
//! another where many share an address.

use super::Shared;
use super::head::{Fields, Kind};
use crate::call::SensitiveClasses;
use crate::inspect::{LONGEST, Side};
use crate::stats::{Counter, Counters};

/// Adds what is found in the head of a request.
#[inline]
pub(super) fn request(into: &mut SensitiveClasses, fields: &Fields<'_>, shared: &mut Shared, counters: &mut Counters) {
    if !fields.own.is_empty() || fields.cookie.is_some() {
        let cookies = fields.cookie.map(|value| (&b"cookie"[..], value));
        look(into, Side::Request, fields, cookies.into_iter(), shared, counters);
    }
}

/// Adds what is found in the head of a response.
#[inline]
pub(super) fn response(into: &mut SensitiveClasses, fields: &Fields<'_>, shared: &mut Shared, counters: &mut Counters) {
    if !fields.own.is_empty() || !fields.rare.is_empty() {
        let cookies = fields.all_rare(Kind::SetCookie).map(|value| (&b"set-cookie"[..], value));
        let address = fields.rare(Kind::Location).map(|value| (&b"location"[..], value));
        look(into, Side::Response, fields, cookies.chain(address), shared, counters);
    }
}

/// Looks into the fields of the API's own, and `further` ones.
fn look<'h>(
    into: &mut SensitiveClasses,
    side: Side,
    fields: &Fields<'h>,
    further: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    shared: &mut Shared,
    counters: &mut Counters,
) {
    let Shared { inspector, clean, .. } = shared;
    if !inspector.is_enabled() {
        return;
    }
    let mut in_part = fields.passed_over;
    for field in fields.own.iter().copied().chain(further) {
        in_part |= field.1.len() > LONGEST;
        clean.header(inspector, side, field, into);
    }
    counters.add(Counter::HeadsInspectedInPart, u64::from(in_part));
}
