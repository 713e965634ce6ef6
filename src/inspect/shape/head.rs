//! Headers of the API's own, and cookies: their names, and what their values look like.

use std::sync::Arc;

use super::{draft, format};
use crate::call::{Format, NAME_LIMIT, NamedShape};

/// Cookies of one call that are told apart.
const COOKIES: usize = 32;

/// Headers that say nothing of the API: those of HTTP and its extensions (IANA's registry of field names), of browsers,
/// of proxies and of tracing. Sorted.
const USUAL: [&str; 90] = [
    "a-im",
    "accept",
    "accept-charset",
    "accept-datetime",
    "accept-encoding",
    "accept-language",
    "alt-used",
    "authorization",
    "b3",
    "baggage",
    "cache-control",
    "cdn-loop",
    "connection",
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "cookie",
    "cookie2",
    "date",
    "device-memory",
    "digest",
    "dnt",
    "downlink",
    "early-data",
    "ect",
    "expect",
    "forwarded",
    "from",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "last-event-id",
    "max-forwards",
    "mime-version",
    "origin",
    "origin-agent-cluster",
    "pragma",
    "priority",
    "proxy-authorization",
    "proxy-connection",
    "purpose",
    "range",
    "referer",
    "repr-digest",
    "rtt",
    "save-data",
    "service-worker",
    "service-worker-navigation-preload",
    "te",
    "trace-id",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "uber-trace-id",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "viewport-width",
    "want-content-digest",
    "want-digest",
    "want-repr-digest",
    "warning",
    "width",
    "x-client-ip",
    "x-cloud-trace-context",
    "x-cluster-client-ip",
    "x-host",
    "x-moz",
    "x-original-host",
    "x-original-uri",
    "x-purpose",
    "x-real-ip",
    "x-scheme",
];

/// Beginnings of names of the same.
const FAMILIES: [&str; 11] = [
    "access-control-",
    "cf-",
    "fastly-",
    "sec-",
    "signature",
    "x-amzn-trace-",
    "x-b3-",
    "x-datadog-",
    "x-envoy-",
    "x-forwarded",
    "x-original-forwarded",
];

/// What nearly every head has beside what is asked for by name, so that most names need not be looked up: by their length.
fn is_common(name: &[u8]) -> bool {
    let names: &[&[u8]] = match name.len() {
        3 => &[b"age"],
        4 => &[b"date", b"etag", b"vary"],
        5 => &[b"allow"],
        6 => &[b"server", b"accept"],
        7 => &[b"expires", b"alt-svc"],
        10 => &[b"connection", b"keep-alive"],
        12 => &[b"x-powered-by"],
        13 => &[b"last-modified", b"accept-ranges", b"cache-control"],
        15 => &[b"accept-encoding", b"accept-language", b"x-frame-options", b"referrer-policy"],
        16 => &[b"x-xss-protection"],
        18 => &[b"permissions-policy"],
        22 => &[b"x-content-type-options"],
        23 => &[b"content-security-policy"],
        25 => &[b"strict-transport-security"],
        _ => return false,
    };
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether a header says something of the API: its name is a name, and not one of those that any client may send anywhere.
pub(crate) fn is_own(name: &[u8]) -> bool {
    if is_common(name) {
        return false;
    }
    let mut lower = [0; NAME_LIMIT];
    let Some(lower) = lower.get_mut(..name.len()) else { return false };
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    let lower = &*lower;
    is_name(lower)
        && USUAL.binary_search_by(|known| known.as_bytes().cmp(lower)).is_err()
        && !FAMILIES.iter().any(|family| lower.starts_with(family.as_bytes()))
}

/// Whether it may be the name of a header or cookie, rather than data.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !format::is_data(name)
}

/// The pairs of a `Cookie` header (RFC 6265, section 4.2.1) whose names are names.
pub(crate) fn cookies(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    header
        .split(|&byte| byte == b';')
        .filter_map(|pair| {
            let pair = pair.trim_ascii();
            let equals = memchr::memchr(b'=', pair)?;
            let (name, value) = pair.split_at_checked(equals)?;
            Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
        })
        .filter(|(name, _)| is_name(name))
        .take(COOKIES)
}

/// What a header or cookie looks like.
pub(crate) fn named(name: Arc<str>, value: &[u8], credential: bool, secret: impl Fn(&[u8]) -> bool) -> NamedShape {
    if credential {
        return NamedShape { name, credential, ..NamedShape::default() };
    }
    let found = format::of(value.get(..format::LOOKED_AT).unwrap_or(value));
    let word = (found == Format::Word && value.len() <= draft::WORD_BYTES && !secret(name.as_bytes()))
        .then(|| String::from_utf8_lossy(value).into());
    NamedShape { name, format: [found].into_iter().collect(), credential, word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_api_are_told_from_those_of_everybody() {
        assert!(USUAL.is_sorted(), "it is searched");
        for name in ["X-Request-Id", "api-version", "Stripe-Version", "Idempotency-Key", "x-tenant", "X-Requested-With"]
        {
            assert!(is_own(name.as_bytes()), "{name}");
        }
        let long = "x".repeat(65);
        for name in [
            "Accept",
            "HOST",
            "Sec-Fetch-Mode",
            "X-Forwarded-Proto",
            "x-b3-traceid",
            "x-4711-0815",
            "",
            "ETag",
            "Server",
            &long,
        ] {
            assert!(!is_own(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn cookies_are_pairs_whose_names_are_names() {
        let header = b"theme=dark; sid=abc=; 4711=x; _ga_ABC1234567=GS1; odd; lang = de ;";
        let all: Vec<_> = cookies(header).collect();
        let text = |text: &'static str| text.as_bytes();
        let expected =
            [("theme", "dark"), ("sid", "abc="), ("lang", "de")].map(|(name, value)| (text(name), text(value)));
        assert_eq!(all, expected);
    }

    #[test]
    fn values_stay_where_they_are() {
        let none = |_: &[u8]| false;
        let plain = named("x-region".into(), b"west", false, none);
        assert_eq!((plain.word.as_deref(), plain.format.contains(Format::Word)), (Some("west"), true));
        assert_eq!(named("pin".into(), b"west", false, |_| true).word, None);
        assert!(named("sid".into(), b"west", true, none).format.is_empty());
        let text = serde_json::to_string(&plain).expect("plain data");
        assert_eq!(text, r#"{"name":"x-region","format":["word"]}"#);
    }
}
