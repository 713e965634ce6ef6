//! What heads give away: sensitive values in header fields of the API's own, in cookies, and in the addresses of other pages.

use super::Shared;
use super::head::{Fields, Kind};
use crate::call::SensitiveClasses;
use crate::inspect::Side;

/// Adds what is found in the head of a request.
#[inline]
pub(super) fn request(into: &mut SensitiveClasses, fields: &Fields<'_>, shared: &mut Shared) {
    if !shared.inspector.is_enabled() {
        return;
    }
    let Shared { inspector, clean, .. } = shared;
    let named = [(&b"cookie"[..], fields.cookie), (&b"referer"[..], fields.referer)];
    let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
    for field in fields.own.iter().copied().chain(named) {
        clean.header(inspector, Side::Request, field, into);
    }
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
