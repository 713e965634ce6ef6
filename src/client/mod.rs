//! Who really calls: the address on the wire, or the hop that trusted proxies vouch for.
use crate::call::Forwarding;
/// stub
pub fn forwarding<'a>(
    _x: impl Iterator<Item = &'a [u8]>,
    _f: impl Iterator<Item = &'a [u8]>,
    _r: Option<&'a [u8]>,
) -> Forwarding {
    Forwarding::default()
}
