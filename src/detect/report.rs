//! Who, where and what to look at: all of an alert that is not the incident's course.

use std::net::IpAddr;

use super::budget::Test;
use super::campaign::{Kin, Newcomers};
use super::finding::Finding;
use super::flood::{METERS, Population, Quantity};
use super::incident::feature;
use super::observation::Trait;
use super::sentence;
use super::state::{Client, Endpoint};
use crate::alert::{Confidence, EVIDENCE_LIMIT, Feature, Scope, Sighting, Suspect, Technique};
use crate::call::Fingerprint;
use crate::model::tail;
use crate::time::Timestamp;

/// Evidence, in nats, from which on a measurement that did not pass is told beside those that did.
const TELLING: f64 = 3.0;

/// How much more than the threshold is high confidence.
const HIGH: f64 = 1.5;

/// Share of a client's calls that may be incomplete before the confidence is low.
const DAMAGED: f64 = 0.2;

/// What the lines of an incident say beside its course.
pub(super) struct Report {
    pub(super) now: Timestamp,
    /// What the incident is about, for its id.
    pub(super) subject: String,
    pub(super) scope: Scope,
    pub(super) client: Option<Suspect>,
    pub(super) clients: Vec<Suspect>,
    pub(super) endpoint: Option<String>,
    pub(super) host: Option<String>,
    pub(super) sentence: String,
    pub(super) confidence: Confidence,
    pub(super) incomplete_share: Option<f64>,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) evidence: Vec<Sighting>,
    /// What else speaks against the client.
    pub(super) context: Vec<Feature>,
}

impl Report {
    fn new(scope: Scope, finding: &Finding, mut evidence: Vec<Sighting>, now: Timestamp, cold: bool) -> Report {
        evidence.truncate(EVIDENCE_LIMIT);
        Report {
            now,
            subject: String::new(),
            scope,
            client: None,
            clients: Vec::new(),
            endpoint: None,
            host: None,
            sentence: String::new(),
            confidence: match cold {
                true => Confidence::Low,
                false if finding.nats > HIGH * finding.threshold => Confidence::High,
                false => Confidence::Medium,
            },
            incomplete_share: None,
            first: evidence.first().map_or(now, |call| call.time),
            last: evidence.last().map_or(now, |call| call.time),
            evidence,
            context: Vec::new(),
        }
    }

    /// Of a finding about a client.
    pub(super) fn of_client(
        address: IpAddr,
        client: &Client,
        population: &Population,
        endpoint: Option<&Endpoint>,
        finding: &Finding,
        now: Timestamp,
        cold: bool,
    ) -> Report {
        let sightings = client.evidence(finding.technique.family());
        let calls = sightings.map_or(Vec::new(), |held| held.calls.clone());
        let damaged = client.damaged_share();
        let about = endpoint.filter(|_| names_endpoint(finding.technique));
        let mut report = Report::new(Scope::Client, finding, calls, now, cold || damaged > DAMAGED);
        report.client = Some(Suspect { ip: address, credential: common(&report.evidence) });
        report.first = sightings.and_then(|held| held.first).unwrap_or(report.first);
        report.incomplete_share = (client.damaged > 0).then(|| rounded(damaged));
        report.subject = address.to_string();
        report.endpoint = about.map(Endpoint::title);
        report.host = about.map(|endpoint| endpoint.host.to_string());
        report.sentence = sentence::of(finding, &report.subject, report.endpoint.as_deref(), None);
        report.context = context(client, population, now);
        report
    }

    /// Of connections of a client, of which `damaged` is the share of calls that are incomplete, if it made any.
    pub(super) fn of_connections(
        address: IpAddr,
        damaged: Option<f64>,
        first: Timestamp,
        connections: Vec<Sighting>,
        finding: &Finding,
        now: Timestamp,
        cold: bool,
    ) -> Report {
        let damaged = damaged.filter(|&share| share > 0.0);
        let doubtful = cold || damaged.is_some_and(|share| share > DAMAGED);
        let mut report = Report::new(Scope::Client, finding, connections, now, doubtful);
        report.client = Some(Suspect { ip: address, credential: None });
        report.first = first;
        report.incomplete_share = damaged.map(rounded);
        report.subject = address.to_string();
        report.sentence = sentence::of(finding, &report.subject, None, None);
        report
    }

    /// Of a finding about an endpoint.
    pub(super) fn of_endpoint(
        endpoint: &Endpoint,
        finding: &Finding,
        call: Sighting,
        now: Timestamp,
        cold: bool,
    ) -> Report {
        let exposure = finding.class.and_then(|place| endpoint.classes.get(place));
        let calls = exposure.map_or_else(|| vec![call], |exposure| exposure.sightings.clone());
        let class = exposure.map(|exposure| &*exposure.class);
        let title = endpoint.title();
        let mut report = Report::new(Scope::Endpoint, finding, calls, now, cold);
        report.subject = format!("{} {title} {}", endpoint.host, class.unwrap_or_default());
        report.sentence = sentence::of(finding, &report.subject, Some(&title), class);
        report.endpoint = Some(title);
        report.host = Some(endpoint.host.to_string());
        report
    }

    /// Of a campaign of newcomers.
    pub(super) fn of_newcomers(newcomers: &Newcomers, finding: &Finding, now: Timestamp, cold: bool) -> Report {
        let calls = newcomers.members().iter().map(|(_, _, call)| call.clone()).collect();
        let mut report = Report::of_campaign(newcomers.named(), calls, finding, now, cold);
        report.sentence = sentence::of_newcomers(finding, report.clients.len());
        report
    }

    /// Of clients that have something in common.
    pub(super) fn of_kin(kin: &Kin, common: Trait, finding: &Finding, now: Timestamp, cold: bool) -> Report {
        let mut report = Report::of_campaign(kin.members(), kin.calls().to_vec(), finding, now, cold);
        report.sentence = sentence::of_kin(finding, report.clients.len(), &common);
        report
    }

    fn of_campaign(members: &[IpAddr], calls: Vec<Sighting>, finding: &Finding, now: Timestamp, cold: bool) -> Report {
        let mut report = Report::new(Scope::Campaign, finding, calls, now, cold);
        report.subject = "campaign".to_owned();
        report.clients = members.iter().map(|&ip| Suspect { ip, credential: None }).collect();
        report
    }
}

/// What else speaks against a client, though it may not have passed.
fn context(client: &Client, population: &Population, now: Timestamp) -> Vec<Feature> {
    let mut features = Vec::new();
    let mut tell = |finding: Finding| {
        if finding.nats >= TELLING {
            features.push(feature(&finding));
        }
    };
    let walk = client.explored();
    let missed = Finding::new(Test::FirstContacts, Technique::PathEnumeration, walk.nats());
    tell(missed.compared(walk.failures(), super::recon::expected(walk.trials())));
    let logins = &client.logins;
    let failed = Finding::new(Test::Logins, Technique::CredentialStuffing, logins.walk.nats());
    tell(failed.compared(logins.failures as f64, 0.0));
    let people = client.people();
    for ((meter, moments), (quantity, window)) in client.meters.meters.iter().zip(&population.moments).zip(METERS) {
        if quantity != Quantity::Calls {
            continue;
        }
        // A copy: to look at it must not roll it.
        let mut ring = meter.ring;
        let count = ring.sum(window, now);
        let nats = tail::count(count / people, moments.mean(), moments.variance());
        let calls = Finding::new(Test::Calls, Technique::Volumetric, nats);
        tell(calls.compared(count as f64, moments.mean() * people as f64).within(window.seconds()));
    }
    features
}

/// To three decimals: more would say nothing.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The credential that all calls came with.
fn common(calls: &[Sighting]) -> Option<Fingerprint> {
    let first = calls.first()?.credential?;
    calls.iter().all(|call| call.credential == Some(first)).then_some(first)
}

/// Whether a technique is about an endpoint, though a client is accused.
pub(super) fn names_endpoint(technique: Technique) -> bool {
    matches!(
        technique,
        Technique::ObjectEnumeration
            | Technique::AccountEnumeration
            | Technique::FunctionAccess
            | Technique::MassAssignment
            | Technique::ExcessFields
            | Technique::Oversized
            | Technique::SecretInUrl
            | Technique::CredentialStuffing
            | Technique::Login
            | Technique::Beacon
    )
}
