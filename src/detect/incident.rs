//! From a finding to an alert: words, evidence, and one alert where there is one story.

use std::net::IpAddr;

use super::finding::Finding;
use super::state::{Client, Endpoint, Incident};
use crate::alert::{Alert, Confidence, EVIDENCE_LIMIT, SCHEMA, Scope, Severity, Sighting, Suspect, Technique};
use crate::call::Fingerprint;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// How much more must have been observed for a second alert.
const GROWTH: f64 = 10.0;

/// Seconds after which a new incident begins.
const FORGOTTEN: u64 = 86_400;

/// Whether an alert of this finding is due for this client, which is then remembered.
///
/// Misses are one story however they are named: their techniques share one incident.
pub(super) fn due(client: &mut Client, finding: &Finding, now: Timestamp, counters: &mut Counters) -> bool {
    let story = |technique: Technique| match technique {
        Technique::MethodProbing | Technique::ParameterDiscovery | Technique::SchemaProbing => {
            Technique::PathEnumeration
        }
        Technique::Loop => Technique::Volumetric,
        other => other,
    };
    let held = client.incidents.iter_mut().find(|incident| story(incident.technique) == story(finding.technique));
    match held {
        Some(incident) => {
            let grown = finding.observed >= GROWTH * incident.observed;
            if !grown && now.since(incident.time).as_secs() < FORGOTTEN {
                incident.time = now;
                counters.count(Counter::AlertsSuppressed);
                return false;
            }
            *incident = Incident { technique: finding.technique, observed: finding.observed, time: now };
        }
        None => client.incidents.push(Incident { technique: finding.technique, observed: finding.observed, time: now }),
    }
    true
}

/// The alert of a finding about a client.
pub(super) fn of_client(
    address: IpAddr,
    client: &Client,
    endpoint: Option<&Endpoint>,
    finding: &Finding,
    now: Timestamp,
    cold: bool,
) -> Alert {
    let sightings = client.evidence(finding.technique.family());
    let calls = sightings.map_or(Vec::new(), |held| held.calls.clone());
    let first = sightings.and_then(|held| held.first);
    let credential = common(&calls);
    let damaged = client.damaged * 5 > client.calls;
    let subject = address.to_string();
    let about = endpoint.filter(|_| names_endpoint(finding.technique));
    let mut alert = base(finding, &subject, calls, first, now, cold || damaged);
    alert.scope = Scope::Client;
    alert.client = Some(Suspect { ip: address, credential });
    alert.endpoint = about.map(name);
    alert.host = about.map(|endpoint| endpoint.host.to_string());
    alert.summary = sentence(finding, &subject, alert.endpoint.as_deref(), None);
    alert
}

/// The alert of a finding about an endpoint.
pub(super) fn of_endpoint(endpoint: &Endpoint, finding: &Finding, call: Sighting, now: Timestamp, cold: bool) -> Alert {
    let exposure = finding.class.and_then(|place| endpoint.classes.get(place));
    let calls = exposure.map_or_else(|| vec![call], |exposure| exposure.sightings.clone());
    let title = name(endpoint);
    let class = exposure.map(|exposure| &*exposure.class);
    let subject = format!("{} {title} {}", endpoint.host, class.unwrap_or_default());
    let mut alert = base(finding, &subject, calls, None, now, cold);
    alert.scope = Scope::Endpoint;
    alert.summary = sentence(finding, &subject, Some(&title), class);
    alert.endpoint = Some(title);
    alert.host = Some(endpoint.host.to_string());
    alert
}

/// The alert of a campaign.
pub(super) fn of_campaign(
    members: Vec<Suspect>,
    calls: Vec<Sighting>,
    finding: &Finding,
    now: Timestamp,
    cold: bool,
) -> Alert {
    let mut alert = base(finding, "campaign", calls, None, now, cold);
    alert.scope = Scope::Campaign;
    let count = members.len();
    let what = match finding.technique {
        Technique::CredentialStuffing => {
            format!("{count} clients failed to log in to several accounts each, many of them within one day")
        }
        Technique::Distributed => {
            format!(
                "{count} clients that were never seen before called fast and long without credentials, many of them within one hour"
            )
        }
        _ => format!(
            "{count} clients that were never seen before began with nothing but requests for paths that do not exist, many of them within one hour"
        ),
    };
    alert.summary = format!("{what}; {:.1} would be ordinary.", finding.expected);
    alert.clients = members;
    alert
}

fn base(
    finding: &Finding,
    subject: &str,
    mut calls: Vec<Sighting>,
    first: Option<Timestamp>,
    now: Timestamp,
    doubtful: bool,
) -> Alert {
    calls.truncate(EVIDENCE_LIMIT);
    let begin = calls.first();
    let first = first.or(begin.map(|call| call.time)).unwrap_or(now);
    let last = calls.last().map_or(now, |call| call.time);
    let (flow, position) = begin.map(|call| (call.flow, call.position)).unwrap_or_default();
    Alert {
        ts: now,
        id: Alert::derive_id(finding.technique, subject, first, flow, position),
        schema: SCHEMA.to_owned(),
        kind: finding.technique,
        severity: if finding.grave { Severity::Critical } else { finding.technique.severity() },
        confidence: match doubtful {
            true => Confidence::Low,
            false if finding.nats > 1.5 * finding.threshold => Confidence::High,
            false => Confidence::Medium,
        },
        scope: Scope::Client,
        client: None,
        clients: Vec::new(),
        endpoint: None,
        host: None,
        summary: String::new(),
        feature: finding.feature.to_owned(),
        window: finding.window,
        observed: rounded(finding.observed),
        expected: rounded(finding.expected),
        evidence_decades: rounded(finding.nats / std::f64::consts::LN_10),
        first,
        last,
        evidence: calls,
    }
}

/// To three decimals: more would say nothing.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The credential that all calls came with.
fn common(calls: &[Sighting]) -> Option<Fingerprint> {
    let first = calls.first()?.credential?;
    calls.iter().all(|call| call.credential == Some(first)).then_some(first)
}

fn names_endpoint(technique: Technique) -> bool {
    matches!(
        technique,
        Technique::ObjectEnumeration
            | Technique::Oversized
            | Technique::SecretInUrl
            | Technique::CredentialStuffing
            | Technique::Login
    )
}

fn name(endpoint: &Endpoint) -> String {
    format!("{} {}", endpoint.method, endpoint.template)
}

/// What happened, as a sentence.
fn sentence(finding: &Finding, client: &str, endpoint: Option<&str>, class: Option<&str>) -> String {
    let (observed, expected) = (finding.observed, finding.expected);
    let endpoint = endpoint.unwrap_or("an endpoint");
    let class = class.unwrap_or("sensitive data");
    let window = finding.window.map_or(String::from("in all"), |seconds| match seconds {
        60 => "in one minute".into(),
        600 => "in 10 minutes".into(),
        3_600 => "in one hour".into(),
        86_400 => "in one day".into(),
        other => format!("in {other} seconds"),
    });
    match finding.technique {
        Technique::PathEnumeration => format!(
            "{client} keeps asking for paths that do not exist: {observed:.1} first contacts missed (weighted) where {expected:.1} would be ordinary."
        ),
        Technique::MethodProbing => format!(
            "{client} keeps trying methods that the paths do not have: {observed:.1} first contacts missed (weighted) where {expected:.1} would be ordinary."
        ),
        Technique::ParameterDiscovery => format!(
            "{client} keeps trying query parameters that nobody else uses: {observed:.1} (weighted) where {expected:.1} would be ordinary."
        ),
        Technique::SchemaProbing => format!(
            "{client} looks for API descriptions, configuration or secrets that are not there: {observed:.1} misses (weighted) where {expected:.1} would be ordinary."
        ),
        Technique::ObjectEnumeration if finding.feature == "distinct objects denied" => format!(
            "{client} was denied {observed:.0} different objects of {endpoint}, where {expected:.1} would be ordinary: it tries identifiers that are not its own."
        ),
        Technique::ObjectEnumeration if finding.feature == "distinct objects that do not exist" => format!(
            "{client} asked for {observed:.0} objects of {endpoint} that do not exist, where {expected:.1} would be ordinary: it tries identifiers."
        ),
        Technique::ObjectEnumeration => format!(
            "{client} asked for {observed:.0} different objects of {endpoint}, where other clients ask for about {expected:.0}."
        ),
        Technique::Campaign => String::new(),
        Technique::Volumetric if finding.feature == "calls at several times its own pace" => format!(
            "{client}, a program with a steady pace, made {observed:.0} calls {window}, where {expected:.1} would be ordinary for it, and keeps on."
        ),
        Technique::Expensive => format!(
            "{client} made {observed:.0} calls {window} that make the server work or send long; about {expected:.1} would be ordinary."
        ),
        Technique::Volumetric => {
            format!("{client} made {observed:.0} calls {window}; at most about {expected:.0} would be ordinary.")
        }
        Technique::Loop => format!(
            "{client} repeats one and the same call: {observed:.0} calls {window}; at most about {expected:.0} would be ordinary."
        ),
        Technique::Distributed => format!(
            "{observed:.0} clients that call nothing else came to {endpoint} {window}, and it is called at least three times as often as ever."
        ),
        Technique::Login => {
            format!("{client} failed to log in {observed:.0} times {window}; about {expected:.0} would be ordinary.")
        }
        Technique::BulkRead => format!(
            "{client} took {observed:.0} {} {window}; about {expected:.0} would be ordinary.",
            finding.feature.trim_end_matches(" taken")
        ),
        Technique::NewExposure => format!(
            "{endpoint} returns {class}, which it did not before: in {observed:.1} answers (weighted) where {expected:.1} would be ordinary."
        ),
        Technique::Oversized => format!(
            "{client} got a response of {observed:.0} bytes from {endpoint}, whose responses have about {expected:.0}."
        ),
        Technique::SecretInUrl if finding.endpoint => {
            format!("{observed:.0} clients send secrets in the URL of {endpoint}, where logs and proxies keep them.")
        }
        Technique::SecretInUrl => {
            format!("{client} sends a secret in the URL of {endpoint}, where logs and proxies keep it.")
        }
        Technique::Unauthenticated => {
            format!("{endpoint} answers without credentials, though all calls to it had credentials before.")
        }
        Technique::CredentialStuffing if finding.endpoint => format!(
            "{observed:.0} logins that differ failed at {endpoint} {window}, of all clients together, where {expected:.0} would be ordinary: many addresses try a few accounts each."
        ),
        Technique::CredentialStuffing => format!(
            "{client} failed to log in {observed:.0} times with attempts that differ: it tries one set of credentials after another."
        ),
        Technique::TokenReuse => format!(
            "{client} made {observed:.0} calls with a credential that another client, with another user agent, is using at the same time."
        ),
        Technique::Cleartext => {
            format!("{client} sends a password in clear with its calls (Basic authentication without TLS).")
        }
    }
}
