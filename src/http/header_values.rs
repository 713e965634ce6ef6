//! What the heads of answers give away: sensitive values in header fields of the API's own, in cookies that are set, and in the
//! addresses of other pages.
//!
//! Those of requests are not looked at: what a program sends along with each of its calls, its user's address in a cookie perhaps, is
//! not what it asks for, and would look as if it asked for one person after another where many share an address.

use super::Shared;
use super::head::{Fields, Kind};
use crate::call::SensitiveClasses;
use crate::inspect::Side;

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
