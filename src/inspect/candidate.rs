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

/// Whether a header of this name may carry a key: it is one of the API's own, and not one that differs from call to call.
pub(super) fn is_name(name: &[u8]) -> bool {
    let has = |part: &str| name.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()));
    head::is_own(name) && !OF_CALLS.iter().any(|part| has(part))
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

/// The candidates of a request: of its headers that may carry one, and of its query. `text` makes their names, `hash` their
/// fingerprints, `known` says which names the rules know.
pub(super) fn of(
    headers: &[(&[u8], &[u8])],
    target: &str,
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
        for name in ["X-Request-Id", "traceparent", "Idempotency-Key", "X-CSRF-Token", "User-Agent", "Accept"] {
            assert!(!is_name(name.as_bytes()), "{name}");
        }
    }
}
