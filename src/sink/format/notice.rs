//! What all formats tell of, whether it is an alert, a finding or an event: each is looked at once, here.

use std::borrow::Cow;
use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::alert::{Alert, Confidence, Progress, Severity, Sighting};
use crate::inventory::events::{self, Event};
use crate::practice::finding::Finding;
use crate::sink::told::{Class, Told};
use crate::time::Timestamp;

/// A line in the terms that other schemas have.
#[derive(Clone, Debug)]
pub struct Notice<'a> {
    told: Told<'a>,
    /// The name of its kind.
    pub(in crate::sink) kind: &'a str,
    /// What the kind is, as one sentence.
    pub(super) help: &'static str,
    /// What the kind belongs to.
    pub(in crate::sink) family: &'a str,
    /// How bad it is; none where nothing is bad about it.
    pub(in crate::sink) severity: Option<Severity>,
    /// How much it rests on, where it rests on a test.
    pub(super) confidence: Option<Confidence>,
    /// What happened, as a plain sentence.
    pub(super) summary: Cow<'a, str>,
    pub(in crate::sink) ts: Timestamp,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// Of this line alone: by it a receiver knows one that comes again.
    pub(in crate::sink) id: Cow<'a, str>,
    /// Of all lines about the same: the incident, the finding, what is new.
    pub(in crate::sink) subject: Cow<'a, str>,
    pub(in crate::sink) state: &'static str,
    /// The one who is accused.
    pub(in crate::sink) client: Option<IpAddr>,
    /// All addresses that are accused, or that showed what was found.
    pub(super) clients: Vec<IpAddr>,
    pub(in crate::sink) host: Option<&'a str>,
    /// Method and path template.
    pub(super) endpoint: Option<(&'a str, &'a str)>,
    pub(super) owasp: &'a [String],
    pub(super) attack: &'a [String],
    /// Names of all kinds that it is about.
    pub(super) kinds: Vec<&'a str>,
    pub(super) sightings: &'a [Sighting],
    /// Community ids of the flows that show it, in order.
    pub(super) communities: Vec<&'a str>,
    pub(super) count: u64,
    /// Which line about its subject it is, where that is counted.
    pub(super) revision: Option<u32>,
    pub(super) evidence_decades: Option<f64>,
    /// What to do about it.
    pub(super) remedy: Option<&'a str>,
}

impl<'a> From<Told<'a>> for Notice<'a> {
    fn from(told: Told<'a>) -> Notice<'a> {
        match told {
            Told::Alert(alert) => of_alert(alert),
            Told::Finding(finding) => of_finding(finding),
            Told::Event(event) => of_event(event),
        }
    }
}

impl Notice<'_> {
    pub(in crate::sink) const fn class(&self) -> Class {
        self.told.class()
    }

    /// What its subject is called.
    pub(in crate::sink) const fn subject_name(&self) -> &'static str {
        match self.told {
            Told::Alert(_) => "incident",
            Told::Finding(_) => "finding",
            Told::Event(_) => "subject",
        }
    }

    /// The severity in a word.
    pub(in crate::sink) const fn severity_name(&self) -> &'static str {
        match self.severity {
            None => "informational",
            Some(Severity::Low) => "low",
            Some(Severity::Medium) => "medium",
            Some(Severity::High) => "high",
            Some(Severity::Critical) => "critical",
        }
    }

    /// The confidence in a word.
    pub(super) const fn confidence_name(&self) -> Option<&'static str> {
        match self.confidence {
            None => None,
            Some(Confidence::Low) => Some("low"),
            Some(Confidence::Medium) => Some("medium"),
            Some(Confidence::High) => Some("high"),
        }
    }

    /// All addresses that are accused: nobody is by a finding or an event.
    pub(super) fn accused(&self) -> &[IpAddr] {
        match self.told {
            Told::Alert(_) => &self.clients,
            Told::Finding(_) | Told::Event(_) => &[],
        }
    }

    /// The addresses where it is about more than the one who is accused.
    pub(super) fn listed(&self) -> &[IpAddr] {
        match self.told {
            Told::Alert(alert) if alert.clients.is_empty() => &[],
            _ => &self.clients,
        }
    }

    /// What apitap says and other schemas have no place for.
    pub(super) fn remainder(&self) -> Value {
        let native = match self.told {
            Told::Alert(alert) => serde_json::to_value(alert),
            Told::Finding(finding) => serde_json::to_value(finding),
            Told::Event(event) => serde_json::to_value(event),
        };
        let mut rest = Map::new();
        if let Ok(Value::Object(native)) = native {
            const TOLD: [&str; 3] = ["ts", "summary", "first"];
            rest.extend(native.into_iter().filter(|(key, _)| !TOLD.contains(&key.as_str())));
        }
        Value::Object(rest)
    }
}

/// What stands before the point in the name of a kind.
fn group(kind: &str) -> &str {
    kind.split_once('.').map_or(kind, |(group, _)| group)
}

fn communities(sightings: &[Sighting]) -> Vec<&str> {
    let mut communities: Vec<&str> = sightings.iter().map(|sighting| &*sighting.community_id).collect();
    communities.dedup();
    communities
}

fn of_alert(alert: &Alert) -> Notice<'_> {
    let mut clients: Vec<IpAddr> = Vec::new();
    for suspect in alert.client.iter().chain(&alert.clients) {
        if !clients.contains(&suspect.ip) {
            clients.push(suspect.ip);
        }
    }
    Notice {
        told: Told::Alert(alert),
        kind: alert.kind.name(),
        help: alert.kind.help().trim(),
        family: group(alert.kind.name()),
        severity: Some(alert.severity),
        confidence: Some(alert.confidence),
        summary: Cow::Borrowed(&alert.summary),
        ts: alert.ts,
        first: alert.first,
        last: alert.last,
        id: Cow::Borrowed(&alert.id),
        subject: Cow::Borrowed(&alert.incident),
        state: match alert.state {
            Progress::Open => "open",
            Progress::Update => "update",
            Progress::Close => "close",
        },
        client: alert.client.map(|client| client.ip),
        clients,
        host: alert.host.as_deref(),
        endpoint: alert.endpoint.as_deref().and_then(|endpoint| endpoint.split_once(' ')),
        owasp: &alert.owasp,
        attack: &alert.attack,
        kinds: alert.techniques.iter().map(|technique| technique.name()).collect(),
        sightings: &alert.evidence,
        communities: communities(&alert.evidence),
        count: alert.findings,
        revision: Some(alert.revision),
        evidence_decades: Some(alert.evidence_decades),
        remedy: None,
    }
}

fn of_finding(finding: &Finding) -> Notice<'_> {
    Notice {
        told: Told::Finding(finding),
        kind: finding.kind.name(),
        help: finding.kind.help().trim(),
        family: group(finding.kind.name()),
        severity: Some(finding.severity),
        confidence: None,
        summary: Cow::Borrowed(&finding.summary),
        ts: finding.ts,
        first: finding.first,
        last: finding.last,
        id: Cow::Owned(finding.line_id()),
        subject: Cow::Borrowed(&finding.id),
        state: finding.state.name(),
        client: None,
        clients: finding.clients.clone(),
        host: Some(finding.service.as_str()).filter(|service| !service.is_empty()),
        endpoint: finding.endpoint.as_deref().and_then(|endpoint| endpoint.split_once(' ')),
        owasp: &finding.owasp,
        attack: &[],
        kinds: vec![finding.kind.name()],
        sightings: &finding.examples,
        communities: communities(&finding.examples),
        count: finding.count,
        revision: None,
        evidence_decades: None,
        remedy: Some(&finding.remedy),
    }
}

fn of_event(event: &Event) -> Notice<'_> {
    let known = events::KINDS.iter().find(|(name, _)| *name == event.kind);
    Notice {
        told: Told::Event(event),
        kind: &event.kind,
        help: known.map_or("Something is new.", |(_, help)| help),
        family: "inventory",
        severity: None,
        confidence: None,
        summary: Cow::Owned(event.summary()),
        ts: event.ts,
        first: event.first,
        last: event.ts,
        id: Cow::Owned(event.line_id()),
        subject: Cow::Owned(event.subject_id()),
        state: "new",
        client: None,
        clients: Vec::new(),
        host: Some(event.host.as_str()).filter(|host| !host.is_empty()),
        endpoint: Some((event.method.as_str(), event.template.as_str())).filter(|(method, _)| !method.is_empty()),
        owasp: &[],
        attack: &[],
        kinds: vec![&event.kind],
        sightings: &[],
        communities: Some(event.community_id.as_str()).filter(|id| !id.is_empty()).into_iter().collect(),
        count: event.calls,
        revision: None,
        evidence_decades: None,
        remedy: None,
    }
}
