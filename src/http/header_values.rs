//! What heads give away: sensitive values in header fields of the API's own and in cookies, and of answers in the addresses of
//! other pages.
//!
//! Those of requests have a place of their own ([`crate::call::Digest::request_head`]): what a program sends along with each of its
//! calls, its user's address in a cookie perhaps, is not what it asks for, and would look as if it asked for one person after
//! another where many share an address.

use super::Shared;
use super::head::{Fields, Kind};
use crate::call::SensitiveClasses;
use crate::inspect::Side;

/// Gives what is found in the head of a request.
#[inline]
pub(super) fn request(fields: &Fields<'_>, shared: &mut Shared) -> SensitiveClasses {
    let mut found = SensitiveClasses::default();
    if (fields.own.is_empty() && fields.cookie.is_none()) || !shared.inspector.is_enabled() {
        return found;
    }
    let Shared { inspector, clean, .. } = shared;
    let cookies = fields.cookie.map(|value| (&b"cookie"[..], value));
    for field in fields.own.iter().copied().chain(cookies) {
        clean.header(inspector, Side::Request, field, &mut found);
    }
    found
}

/// Adds what is found in the head of a response.
#[inline]
pub(super) fn response(into: &mut SensitiveClasses, fields: &Fields<'_>, shared: &mut Shared) {
    if (fields.own.is_empty() && fields.rare.is_empty()) || !shared.inspector.is_enabled() {
        return;
    }
    let Shared { inspector, clean, .. } = shared;
    let cookies = fields.all_rare(Kind::SetCookie).map(|value| (&b"set-cookie"[..], value));
    let address = fields.rare(Kind::Location).map(|value| (&b"location"[..], value));
    for field in fields.own.iter().copied().chain(cookies).chain(address) {
        clean.header(inspector, Side::Response, field, into);
    }
}
