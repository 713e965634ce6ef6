//! Values that may be keys under names that no rule knows: whether they are, only their use shows ([`crate::practice`]).

use super::credential::{decoded, query_pairs};
use super::shape::{format, head};
use crate::call::{CredentialPlace, KeyCandidate};

/// Candidates of one request.
const TOLD: usize = 4;

/// Bytes of a value that may be a key.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=256;

/// Bits for each byte (Shannon) that such a value has at least: what is drawn from sixteen letters or more, once it is as long.
const BITS: f64 = 2.8;

/// Parts of names of headers that tell one call from another, or say what was negotiated, whoever calls. Lower case.
const OF_CALLS: [&str; 17] = [
    "request",
    "trace",
    "correlation",
    "version",
    "cache",
    "ratelimit",
    "rate-limit",
    "response",
    "powered",
    "frame",
    "content",
    "robots",
    "xss",
    "runtime",
    "csrf",
    "xsrf",
    "idempotency",
];

/// Beginnings of names of cookies that tell browsers apart for analytics, advertisers and protection against robots, or keep
/// what somebody chose. Lower case.
const OF_BROWSERS: [&str; 42] = [
    "_ga",
    "_gid",
    "_gat",
    "_gac",
    "_gcl",
    "__utm",
    "_utm",
    "_fbp",
    "_fbc",
    "_hj",
    "_pk_",
    "_uet",
    "_clck",
    "_clsk",
    "_mkto",
    "_scid",
    "_ttp",
    "_tt_",
    "_pin",
    "_rdt",
    "_li",
    "__gads",
    "__gpi",
    "__hs",
    "__qca",
    "__cf",
    "_cf",
    "cf_",
    "ajs_",
    "amp_",
    "amplitude",
    "mp_",
    "optimizely",
    "intercom",
    "hubspot",
    "visid_incap",
    "incap_ses",
    "nlbi_",
    "awsalb",
    "bm_",
    "ak_bmsc",
    "datadome",
];

/// Parts of names of cookies that are no key, whatever their values look like: what somebody chose or agreed to, what protects a
/// form, and what tells a browser or a visit from another without saying whose it is. Lower case.
const OF_VISITS: [&str; 23] = [
    "consent",
    "cookie",
    "gdpr",
    "ccpa",
    "privacy",
    "csrf",
    "xsrf",
    "forgery",
    "locale",
    "lang",
    "theme",
    "currency",
    "timezone",
    "visit",
    "analytics",
    "track",
    "experiment",
    "variant",
    "utm",
    "campaign",
    "referr",
    "nonce",
    "route",
];

/// Whether a header of this name may carry a key: it is one of the API's own, and not one that differs from call to call.
pub(super) fn is_name(name: &[u8]) -> bool {
    let has = |part: &str| name.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()));
    head::is_own(name) && !OF_CALLS.iter().any(|part| has(part))
}

/// Whether a cookie of this name may carry a key.
fn is_cookie_name(name: &[u8]) -> bool {
    let begins = |part: &str| name.get(..part.len()).is_some_and(|start| start.eq_ignore_ascii_case(part.as_bytes()));
    let has = |part: &str| name.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()));
    !OF_BROWSERS.iter().any(|part| begins(part)) && !OF_VISITS.iter().any(|part| has(part))
}

/// Whether a value looks drawn rather than chosen.
fn is_drawn(value: &[u8]) -> bool {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~+/=".contains(byte);
    if !LENGTH.contains(&value.len()) || !value.iter().all(token) || !value.iter().any(u8::is_ascii_digit) {
        return false;
    }
    let mut counts = [0u32; 256];
    value.iter().for_each(|&byte| counts[usize::from(byte)] += 1); // a byte lies within 256
    let length = value.len() as f64;
    let parts = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / length);
    parts.map(|part| -part * part.log2()).sum::<f64>() >= BITS
}

/// The candidates of a request: of its headers that may carry one, of its query and of its cookies. `text` makes their names,
/// `hash` their fingerprints, `known` says which names the rules know.
pub(super) fn of(
    headers: &[(&[u8], &[u8])],
    target: &str,
    cookies: &[u8],
    mut text: impl FnMut(&[u8]) -> std::sync::Arc<str>,
    hash: impl Fn(&[u8]) -> crate::call::Fingerprint,
    known: impl Fn(&[u8]) -> bool,
) -> Vec<KeyCandidate> {
    let headers = headers.iter().filter(|(name, value)| is_name(name) && is_drawn(value.trim_ascii()));
    let mut all: Vec<KeyCandidate> = headers
        .take(TOLD)
        .map(|(name, value)| KeyCandidate {
            place: CredentialPlace::Header,
            name: text(&name.to_ascii_lowercase()),
            fingerprint: hash(value.trim_ascii()),
        })
        .collect();
    for (name, value) in query_pairs(target) {
        if all.len() >= TOLD {
            break;
        }
        if value.len() < *LENGTH.start() || format::is_data(name) || known(name) {
            continue;
        }
        let value = decoded(value);
        if is_drawn(&value) {
            all.push(KeyCandidate { place: CredentialPlace::Query, name: text(name), fingerprint: hash(&value) });
        }
    }
    for (name, value) in head::cookies(cookies) {
        if all.len() >= TOLD {
            break;
        }
        if is_drawn(value) && is_cookie_name(name) {
            all.push(KeyCandidate { place: CredentialPlace::Cookie, name: text(name), fingerprint: hash(value) });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_words_numbers_and_what_is_of_each_call() {
        for value in ["8f14e45fceea167a5a36dedd4bea2543", "Zk3vQ9xW2pLr7TbN", "acme_live_9sK2mQ7xVb4RtY1n"] {
            assert!(is_drawn(value.as_bytes()), "{value}");
        }
        for value in
            ["", "short1", "a-long-name-of-words", "1111111111111111", "2026-03-02T14:00:00Z", "has a blank 1234567"]
        {
            assert!(!is_drawn(value.as_bytes()), "{value}");
        }
        for name in ["X-Acme-Pass", "acme-client"] {
            assert!(is_name(name.as_bytes()), "{name}");
        }
        for name in ["acme_pass", "partner", "device"] {
            assert!(is_cookie_name(name.as_bytes()), "{name}");
        }
        for name in
            ["_ga", "_GID", "euconsent-v2", "XSRF-TOKEN", "csrftoken", "NEXT_LOCALE", "AWSALB", "__cf_bm", "visitor"]
        {
            assert!(!is_cookie_name(name.as_bytes()), "{name}");
        }
        for name in ["X-Request-Id", "traceparent", "Idempotency-Key", "X-CSRF-Token", "User-Agent", "Accept"] {
            assert!(!is_name(name.as_bytes()), "{name}");
        }
    }
}
