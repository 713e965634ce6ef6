//! Who really calls: the address on the wire, or the hop that trusted proxies vouch for.
