//! What services of the estate do at third parties: calls in clear, redirections that lead elsewhere, secrets that are sent.

use super::exposure::SECRETS;
use super::kind::Kind;
use super::settings::in_estate;
use super::{Found, Seen};
use crate::alert::Severity;
use crate::inspect::IN_TARGET;

/// Whether a call goes from the estate to a third party.
pub(super) fn is_outbound(seen: &Seen<'_>, found: &Found<'_>) -> bool {
    let estate = &found.settings.estate;
    in_estate(estate, seen.call.client.ip) && !in_estate(estate, seen.call.server.ip)
}

/// Takes a call to a third party.
pub(super) fn observe(seen: &Seen<'_>, found: &mut Found<'_>) {
    let call = seen.call;
    if call.tls.is_none() && call.completeness.recorder.is_none() && call.completeness.response {
        let carries = call.credential.is_some() || !call.sensitive.is_empty();
        let (severity, details) = match carries {
            true => (Severity::High, &["with a credential or sensitive data"][..]),
            false => (Kind::OutboundClear.severity(), &[][..]),
        };
        found.endpoint(seen, Kind::OutboundClear, severity, details);
    }
    let secrets: Vec<&str> = call
        .sensitive
        .request
        .iter()
        .chain(call.sensitive.request_head.iter())
        .map(|found| &*found.class)
        // By these a service would say who it is in a header, where nothing is looked for. A key in the query is how this third
        // party wants to know who calls.
        .filter(|class| SECRETS.contains(class) || (*class == IN_TARGET && call.credential.is_none()))
        .collect();
    if !secrets.is_empty() {
        found.endpoint(seen, Kind::OutboundSecret, Kind::OutboundSecret.severity(), &secrets);
    }
    if let Some(origin) = call.response_fields.as_ref().and_then(|fields| fields.redirects_to.as_deref()) {
        let (scheme, host) = origin.split_once("//").unwrap_or(("", origin));
        if !is_of(host, &seen.place.host) {
            let to_clear = scheme == "http:" && call.tls.is_some();
            let severity = if to_clear { Severity::High } else { Kind::OutboundRedirect.severity() };
            found.endpoint(seen, Kind::OutboundRedirect, severity, &[origin]);
        }
    }
}

/// Whether a host is another, or one of the two lies below the other, whatever the port.
fn is_of(host: &str, asked: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let below = |one: &str, other: &str| one.strip_suffix(other).is_some_and(|rest| rest.ends_with('.'));
    // A name of one label (`com`) has nothing of its own below it.
    name == asked || (asked.contains('.') && below(name, asked)) || (name.contains('.') && below(asked, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_one_name() {
        for (host, asked, same) in [
            ("api.example:8443", "api.example", true),
            ("www.api.example", "api.example", true),
            ("pay.example", "api.pay.example", true),
            ("evil-api.example", "api.example", false),
            ("evil.example", "api.example", false),
            ("com", "api.com", false),
        ] {
            assert_eq!(is_of(host, asked), same, "{host} {asked}");
        }
    }
}
