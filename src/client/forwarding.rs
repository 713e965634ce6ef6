//! The headers in which proxies say who was before them: `X-Forwarded-For`, `Forwarded` (RFC 7239), `X-Real-IP`.

use std::net::{IpAddr, SocketAddr};

use crate::call::Forwarding;

/// Hops that are kept, the last ones: those are the ones that trusted proxies wrote.
const HOPS: usize = 16;
/// Characters of one hop that are kept: an IPv6 address in brackets with zone and port is shorter.
const HOP_BYTES: usize = 64;

/// What the headers of a request say, in the order in which they were received, from their raw values. At most 16 hops
/// of each kind, the last ones, with at most 64 characters each; control characters and bytes that are no UTF-8 come
/// out as U+FFFD.
pub fn forwarding<'a>(
    x_forwarded_for: impl Iterator<Item = &'a [u8]>,
    forwarded: impl Iterator<Item = &'a [u8]>,
    x_real_ip: Option<&'a [u8]>,
) -> Forwarding {
    let mut result = Forwarding::default();
    for value in x_forwarded_for {
        append(&mut result.x_forwarded_for, split(value, b','));
    }
    for value in forwarded {
        append(&mut result.forwarded, split(value, b',').filter_map(for_parameter));
    }
    result.x_real_ip = x_real_ip.map(<[u8]>::trim_ascii).filter(|value| !value.is_empty()).map(text);
    result
}

/// The address in one hop: bare, with a port, in brackets, in quotes. IPv4-mapped IPv6 comes out as IPv4. None for
/// `unknown`, obfuscated names (RFC 7239, 6.3) and whatever else is no address.
pub(super) fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim().trim_matches('"');
    if let Ok(address) = hop.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = hop.parse::<SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    let bare = match hop.strip_prefix('[') {
        // An obfuscated port, or none behind the bracket.
        Some(inner) => inner.split_once(']')?.0,
        // IPv4 with an obfuscated port.
        None => hop.split_once(':')?.0,
    };
    // The zone of a link-local address means nothing here.
    let bare = bare.split_once('%').map_or(bare, |(address, _)| address);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Adds hops and drops the first ones beyond the limit.
fn append<'a>(hops: &mut Vec<String>, values: impl DoubleEndedIterator<Item = &'a [u8]>) {
    let mut last: Vec<String> =
        values.rev().map(<[u8]>::trim_ascii).filter(|value| !value.is_empty()).take(HOPS).map(text).collect();
    last.reverse();
    let excess = (hops.len() + last.len()).saturating_sub(HOPS).min(hops.len());
    hops.drain(..excess);
    hops.append(&mut last);
}

/// The value of `for=` in one element of `Forwarded`.
fn for_parameter(element: &[u8]) -> Option<&[u8]> {
    split(element, b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        let value = pair[equals + 1..].trim_ascii();
        let value = value.strip_prefix(b"\"").map_or(value, |quoted| quoted.strip_suffix(b"\"").unwrap_or(quoted));
        pair[..equals].trim_ascii().eq_ignore_ascii_case(b"for").then_some(value)
    })
}

/// The parts between separators that stand in no quotes.
fn split(value: &[u8], separator: u8) -> std::vec::IntoIter<&[u8]> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (place, &byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => {
                parts.push(&value[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    parts.push(&value[start..]);
    parts.into_iter()
}

fn text(value: &[u8]) -> String {
    let head = &value[..value.len().min(4 * HOP_BYTES)];
    String::from_utf8_lossy(head)
        .chars()
        .map(|character| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character })
        .take(HOP_BYTES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(x_forwarded_for: &[&str], forwarded: &[&str]) -> Forwarding {
        forwarding(
            x_forwarded_for.iter().map(|text| text.as_bytes()),
            forwarded.iter().map(|text| text.as_bytes()),
            Some(b" 9.9.9.9 "),
        )
    }

    #[test]
    fn hops_are_listed_oldest_first() {
        let found = of(&["1.1.1.1, 2.2.2.2", "", "3.3.3.3,"], &["for=a;by=b", r#"proto=http, FOR = "[::1]:80" ; x=y"#]);
        assert_eq!(found.x_forwarded_for, ["1.1.1.1", "2.2.2.2", "3.3.3.3"]);
        assert_eq!(found.forwarded, ["a", "[::1]:80"]);
        assert_eq!(found.x_real_ip.as_deref(), Some("9.9.9.9"));
        assert_eq!(of(&[], &[r#"for="a,b;c", for=d"#]).forwarded, ["a,b;c", "d"]);
    }

    #[test]
    fn the_last_sixteen_are_kept() {
        let many: Vec<String> = (0..40).map(|hop| format!("10.0.0.{hop}")).collect();
        let joined = many.join(",");
        assert_eq!(of(&[&joined], &[]).x_forwarded_for, many[24..]);
        let lines: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(of(&lines, &[]).x_forwarded_for, many[24..]);
        assert_eq!(of(&["1.1.1.1", &joined], &[]).x_forwarded_for, many[24..]);
        assert_eq!(of(&[&"x".repeat(5000)], &[]).x_forwarded_for, ["x".repeat(HOP_BYTES)]);
    }

    #[test]
    fn addresses_in_every_spelling() {
        for (hop, wanted) in [
            ("203.0.113.7", Some("203.0.113.7")),
            ("203.0.113.7:80", Some("203.0.113.7")),
            ("203.0.113.7:_port", Some("203.0.113.7")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:_p", Some("2001:db8::1")),
            ("\"[2001:db8::1]:4711\"", Some("2001:db8::1")),
            ("[fe80::1%eth0]", Some("fe80::1")),
            ("::ffff:203.0.113.7", Some("203.0.113.7")),
            ("unknown", None),
            ("_hidden", None),
            ("", None),
            ("[", None),
            ("203.0.113.700", None),
        ] {
            assert_eq!(address(hop).map(|address| address.to_string()).as_deref(), wanted, "{hop:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_headers_stay_bounded(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..40)) {
            let found = forwarding(values.iter().map(Vec::as_slice), values.iter().map(Vec::as_slice), values.first().map(Vec::as_slice));
            for hops in [&found.x_forwarded_for, &found.forwarded] {
                prop_assert!(hops.len() <= HOPS);
                prop_assert!(hops.iter().all(|hop| hop.chars().count() <= HOP_BYTES));
                hops.iter().for_each(|hop| { address(hop); });
            }
        }
    }
}
