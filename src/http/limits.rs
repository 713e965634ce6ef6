//! What a response says of where to go, when to come again, and how to say who calls.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{RateLimit, ResponseFields};
use crate::time::Timestamp;

use super::head::{Fields, Kind};

/// Longest host that is told.
const HOST: usize = 255;

/// Schemes of a challenge that are told.
const SCHEMES: usize = 4;

/// A limit that says when there is more as a moment, not as seconds, does so with a number beyond this (2001).
const MOMENT: u64 = 1_000_000_000;

/// Bytes of a path to which a form is redirected that are told.
const PATH: usize = 256;

/// What is told of the header fields of a response with this status that came at `time`. None where there is nothing.
pub(super) fn response_fields(
    fields: &Fields<'_>,
    status: Option<u16>,
    time: Option<Timestamp>,
) -> Option<ResponseFields> {
    let redirects = matches!(status, Some(301 | 302 | 303 | 307 | 308));
    let told = ResponseFields {
        redirects_to: fields.rare(Kind::Location).filter(|_| redirects).and_then(origin),
        redirect_path: None,
        sets_session: false,
        refuses: false,
        retry_after: fields.rare(Kind::RetryAfter).and_then(|value| retry_after(value, time)),
        rate_limit: rate_limit(fields, time),
        challenge: fields.rare(Kind::Challenge).and_then(challenge),
    };
    (!told.is_empty()).then_some(told)
}

/// Where the answer to a form that was sent to `path` leads, and whether it sets a cookie that is a session's by `is_session`.
/// The path is not masked.
pub(super) fn form_answer(
    fields: &Fields<'_>,
    path: &str,
    is_session: impl Fn(&[u8]) -> bool,
) -> (Option<String>, bool) {
    let leads = fields.rare(Kind::Location).and_then(|location| resolved(location, path));
    (leads, fields.all_rare(Kind::SetCookie).any(|cookie| sets(cookie, &is_session)))
}

/// The path of a reference that stands at a path (RFC 3986, section 5.2), without query.
fn resolved(location: &[u8], path: &str) -> Option<String> {
    let text = std::str::from_utf8(location).ok()?.trim();
    let text = text.split(['?', '#']).next()?;
    let at_host = match text.split_once("//") {
        Some((scheme, rest)) if scheme.is_empty() || scheme.ends_with(':') => {
            Some(rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/"))
        }
        _ => text.starts_with('/').then_some(text),
    };
    let mut all = match at_host {
        Some(own) => own.to_owned(),
        None if text.is_empty() => path.to_owned(),
        // An application's own scheme.
        None if text.split('/').next().is_some_and(|first| first.contains(':')) => return None,
        None => {
            let (folder, _) = path.rsplit_once('/').unwrap_or_default();
            let (mut folder, mut rest) = (folder, text);
            while let Some((dots, behind)) = rest.split_once('/').filter(|(dots, _)| matches!(*dots, "." | "..")) {
                if dots == ".." {
                    folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
                }
                rest = behind;
            }
            format!("{folder}/{rest}")
        }
    };
    all.truncate(all.floor_char_boundary(PATH));
    Some(all)
}

/// Whether a `Set-Cookie` (RFC 6265, section 4.1) sets a session, rather than that it ends one.
fn sets(cookie: &[u8], is_session: impl Fn(&[u8]) -> bool) -> bool {
    let mut parts = cookie.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let pair = parts.next().unwrap_or_default();
    let Some((name, value)) = memchr::memchr(b'=', pair).and_then(|equals| pair.split_at_checked(equals)) else {
        return false;
    };
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    let ends = |part: &[u8]| {
        let (name, value) = part.split_at(memchr::memchr(b'=', part).unwrap_or(part.len()));
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let of_1970 = || value.windows(4).any(|year| year == b"1970");
        name.eq_ignore_ascii_case(b"max-age") && (value.starts_with(b"-") || value == b"0")
            || name.eq_ignore_ascii_case(b"expires") && of_1970()
    };
    let empty = matches!(value, b"" | b"\"\"" | b"deleted" | b"deleteMe");
    !empty && is_session(name.trim_ascii()) && !parts.take(16).any(ends)
}

/// Scheme and host of an absolute reference (RFC 3986, section 4.3), or of one without a scheme that names a host.
fn origin(location: &[u8]) -> Option<Arc<str>> {
    let text = std::str::from_utf8(location).ok()?;
    let (scheme, rest) = match text.split_once("//")? {
        ("", rest) => ("", rest),
        (scheme, rest) => {
            let name = scheme.strip_suffix(':')?;
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return None;
            }
            (scheme, rest)
        }
    };
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if host.is_empty() || host.len() > HOST || !host.bytes().all(plain) {
        return None;
    }
    Some(format!("{scheme}//{host}").to_ascii_lowercase().into())
}

/// Seconds, or the moment less that of the response (RFC 9110, sections 5.6.7 and 10.2.3).
fn retry_after(value: &[u8], time: Option<Timestamp>) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if let Some(seconds) = whole(text) {
        return Some(seconds);
    }
    let moment = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    let nanos = i64::try_from(moment.as_nanosecond()).ok()?;
    Some(Timestamp::from_nanos(nanos).since(time?).as_secs())
}

/// A number of seconds or calls, of which only what is in front of `,` or `;` counts.
fn whole(text: &str) -> Option<u64> {
    let text = text.split([',', ';']).next()?.trim();
    let digits = !text.is_empty() && text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

fn rate_limit(fields: &Fields<'_>, time: Option<Timestamp>) -> Option<RateLimit> {
    let number = |kind| fields.rare(kind).and_then(|value| std::str::from_utf8(value).ok()).and_then(whole);
    let mut limit = RateLimit {
        limit: number(Kind::RateLimitLimit),
        remaining: number(Kind::RateLimitRemaining),
        reset: number(Kind::RateLimitReset),
    };
    // `RateLimit: "default";r=50;t=30`, and `limit=100, remaining=50, reset=30` of earlier drafts.
    if let Some(text) = fields.rare(Kind::RateLimit).and_then(|value| std::str::from_utf8(value).ok()) {
        for part in text.split([',', ';']).take(16) {
            let Some((name, value)) = part.split_once('=') else { continue };
            let place = match name.trim() {
                "r" | "remaining" => &mut limit.remaining,
                "t" | "reset" => &mut limit.reset,
                "limit" => &mut limit.limit,
                _ => continue,
            };
            *place = place.or(whole(value));
        }
    }
    if let (Some(reset), Some(time)) = (limit.reset.filter(|reset| *reset > MOMENT), time) {
        let now = Duration::from_nanos(time.nanos().max(0) as u64).as_secs();
        limit.reset = Some(reset.saturating_sub(now));
    }
    (limit != RateLimit::default()).then_some(limit)
}

/// The schemes of a list of challenges: the words that parameters, which have `=`, do not begin.
fn challenge(value: &[u8]) -> Option<Arc<str>> {
    let text = std::str::from_utf8(value).ok()?;
    let mut schemes: Vec<String> = Vec::new();
    for part in text.split(',').take(16) {
        let word = part.trim().split(' ').next().unwrap_or_default();
        let plain = !word.is_empty()
            && word.len() <= 32
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let word = word.to_ascii_lowercase();
        if plain && schemes.len() < SCHEMES && !schemes.contains(&word) {
            schemes.push(word);
        }
    }
    (!schemes.is_empty()).then(|| schemes.join(" ").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Head, Reading, read};

    fn told(status: u16, headers: &str) -> Option<ResponseFields> {
        let text = format!("HTTP/1.1 {status} X\r\n{headers}\r\n\r\n");
        let reading = Reading { header_limit: 100, is_api_key: &|_| false, is_own: None };
        let Some(Head::Response(head)) = read(text.as_bytes(), &reading) else { panic!("a response: {text}") };
        response_fields(&head.fields, head.status, Some(Timestamp::from_parts(1_772_460_000, 0)))
    }

    #[test]
    fn redirections_name_the_host_that_they_lead_to() {
        let origin = |location: &str| told(302, &format!("Location: {location}")).and_then(|told| told.redirects_to);
        assert_eq!(origin("HTTPS://Login.Example:8443/a?b=secret").as_deref(), Some("https://login.example:8443"));
        assert_eq!(origin("//cdn.example/x").as_deref(), Some("//cdn.example"));
        assert_eq!(origin("http://user:word@evil.example\\@h/").as_deref(), Some("http://evil.example"));
        for here in ["/login?next=//x", "login", "https://", "a//b", "https://a b/"] {
            assert_eq!(origin(here), None, "{here}");
        }
        assert_eq!(told(201, "Location: https://h.example/7"), None);
    }

    #[test]
    fn forms_are_told_where_they_lead() {
        let leads = |location: &str| resolved(location.as_bytes(), "/app/users/login");
        for (location, path) in [
            ("/login?error=1", "/login"),
            ("https://shop.example/login#top", "/login"),
            ("https://shop.example?x=//y", "/"),
            ("//shop.example/a//b", "/a//b"),
            ("", "/app/users/login"),
            ("?failed", "/app/users/login"),
            ("home", "/app/users/home"),
            ("../../home/", "/home/"),
            ("./login", "/app/users/login"),
            ("../../../../x", "/x"),
        ] {
            assert_eq!(leads(location).as_deref(), Some(path), "{location}");
        }
        assert_eq!(leads("shop.app:done"), None);
        assert!(leads(&format!("/{}", "\u{e4}".repeat(500))).is_some_and(|path| path.len() <= PATH));
        let sets = |cookie: &str| sets(cookie.as_bytes(), |name| name == b"sid");
        assert!(
            sets("sid=abc123; Path=/; HttpOnly; Max-Age=3600") && sets("sid=x; expires=Tue, 01 Jan 2030 00:00:00 GMT")
        );
        for none in [
            "sid=; Path=/",
            "sid=x; max-age=0",
            "sid=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "lang=de",
            "sid",
            "sid=deleted",
        ] {
            assert!(!sets(none), "{none}");
        }
    }

    #[test]
    fn when_to_come_again() {
        let retry = |value: &str| told(429, &format!("Retry-After: {value}")).and_then(|told| told.retry_after);
        assert_eq!(retry("120"), Some(120));
        assert_eq!(retry("Mon, 02 Mar 2026 14:01:30 GMT"), Some(90));
        assert_eq!(retry("Mon, 02 Mar 2026 13:00:00 GMT"), Some(0));
        assert_eq!(retry("soon"), None);
    }

    #[test]
    fn limits_in_their_three_forms() {
        let limit = |limit, remaining, reset| Some(RateLimit { limit, remaining, reset });
        let of = |headers: &str| told(200, headers).and_then(|told| told.rate_limit);
        assert_eq!(of("RateLimit: \"default\";r=50;t=30"), limit(None, Some(50), Some(30)));
        assert_eq!(of("RateLimit: limit=100, remaining=5, reset=9"), limit(Some(100), Some(5), Some(9)));
        let headers = "X-RateLimit-Limit: 60\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1772460030";
        assert_eq!(of(headers), limit(Some(60), Some(0), Some(30)));
        let headers = "RateLimit-Limit: 100;w=60\r\nRateLimit-Remaining: 7\r\nRateLimit-Reset: 12";
        assert_eq!(of(headers), limit(Some(100), Some(7), Some(12)));
        assert_eq!(of("X-RateLimit-Limxt: 5"), None);
    }

    #[test]
    fn challenges_are_told_by_their_schemes() {
        let of = |value: &str| told(401, &format!("WWW-Authenticate: {value}")).and_then(|told| told.challenge);
        let both = "Bearer realm=\"api, v1\", error=\"invalid_token\", Basic realm=\"x\"";
        assert!(of(both).is_some_and(|schemes| schemes.starts_with("bearer") && schemes.contains("basic")));
        assert_eq!(of("=="), None);
    }
}
