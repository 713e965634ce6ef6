//! One story is one incident: it opens, is told again when it grows tenfold or turns to something else, and closes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::report::{Report, rounded};
use super::sentence;
use crate::alert::{
    Alert, FEATURE_LIMIT, Family, Feature, Progress, SCHEMA, Severity, Technique, alert_id, incident_id,
};
use crate::endpoint::EndpointId;
use crate::metrics::Occupancy;
use crate::model::Table;
use crate::time::Timestamp;

/// How much more must have been observed for an incident to be told again.
const GROWTH: f64 = 10.0;

/// Chapters of an incident: techniques, and what they are about. Beyond, growth alone is told.
const CHAPTERS: usize = 16;

/// Endpoints that one technique of a client names one by one.
const ENDPOINTS: usize = 3;

/// What an incident is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Subject {
    /// What a client does, a family each.
    Client(IpAddr, Family),
    /// What an endpoint does.
    Endpoint(EndpointId, Technique),
    /// Many clients that do the same; of several such campaigns each has something in common, by its hash.
    Campaign(Technique, u64),
}

/// An incident that is open.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Incident {
    chapters: Vec<Chapter>,
    /// The strongest measurements.
    features: Vec<Feature>,
    findings: u64,
    /// Of the last finding.
    last: Timestamp,
    /// The last line.
    alert: Alert,
}

/// An incident that is open, for who looks on.
pub(super) struct Open<'i> {
    pub(super) subject: Subject,
    /// The last line.
    pub(super) alert: &'i Alert,
    pub(super) findings: u64,
    /// Of the last finding.
    pub(super) last: Timestamp,
}

/// What was told of an incident, and how much had been observed then.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Chapter {
    technique: Technique,
    aspect: Option<u64>,
    observed: f64,
}

/// Why a line is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Opens,
    Grows,
    Turns,
    /// Others joined a campaign.
    Joined,
}

/// What an incident takes at worst.
const WORST: usize = 24 << 10;

/// All incidents that are open. Worst-case memory 24 KiB each: five calls, and 256 members of a campaign.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Incidents {
    open: Table<Subject, Incident>,
    /// The same by the time of their last finding.
    quiet: BTreeSet<(Timestamp, Subject)>,
    capacity: usize,
    /// Closed because there was no room.
    closed_early: u64,
}

impl Incidents {
    /// How many are open, and may be.
    pub(super) fn occupancy(&self) -> Occupancy {
        let heap = |incident: &Incident| {
            let alert = &incident.alert;
            let features = incident.features.capacity() + alert.features.capacity();
            incident.chapters.capacity() * size_of::<Chapter>()
                + features * size_of::<Feature>()
                + size_of_val(&*alert.evidence)
                + alert.clients.capacity() * size_of::<IpAddr>()
                + alert.summary.len()
        };
        let quiet = self.quiet.len() * 2 * size_of::<(Timestamp, Subject)>();
        Occupancy {
            table: "incidents",
            entries: self.open.len() as u64,
            limit: self.capacity as u64,
            bytes: (self.open.bytes(heap) + quiet) as u64,
            budget: (self.capacity * WORST) as u64,
        }
    }

    pub(super) fn new(capacity: usize) -> Incidents {
        let capacity = capacity.max(1);
        Incidents { open: Table::new(capacity), quiet: BTreeSet::new(), capacity, closed_early: 0 }
    }

    /// A finding about `subject`: gives why a line is due, if one is. `aspect` is what is told apart within a technique: the
    /// endpoint, or the class of data, by its hash.
    pub(super) fn note(
        &mut self,
        subject: Subject,
        finding: &Finding,
        aspect: Option<u64>,
        now: Timestamp,
    ) -> Option<Due> {
        let Some(incident) = self.open.get_mut(&subject) else { return Some(Due::Opens) };
        self.quiet.remove(&(incident.last, subject));
        self.quiet.insert((now, subject));
        incident.last = now;
        incident.measure(finding);
        let same = |chapter: &Chapter| chapter.technique == finding.technique;
        let told = |chapter: &&mut Chapter| same(chapter) && chapter.aspect == aspect;
        if let Some(chapter) = incident.chapters.iter_mut().find(told) {
            if finding.observed < GROWTH * chapter.observed {
                return None;
            }
            chapter.observed = finding.observed;
            // Classes of data grow together, call by call: one line tells of all of them.
            let told_now = incident.alert.ts == now && incident.alert.state == Progress::Update;
            return (!told_now).then_some(Due::Grows);
        }
        let aspects = incident.chapters.iter().filter(|chapter| same(chapter)).count();
        let limit = if matches!(subject, Subject::Endpoint(..)) { CHAPTERS } else { ENDPOINTS };
        if incident.chapters.len() >= CHAPTERS || aspects >= limit {
            return None;
        }
        incident.chapters.push(Chapter { technique: finding.technique, aspect, observed: finding.observed });
        Some(Due::Turns)
    }

    /// How many closed for want of room since this was last asked.
    pub(super) fn closed_early(&mut self) -> u64 {
        std::mem::take(&mut self.closed_early)
    }

    /// The last line of each that is open.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Alert> {
        self.quiet.iter().filter_map(|(_, subject)| Some(&self.open.get(subject)?.alert))
    }

    /// Those that are open, from a place in their table on: what each is about, its last line, and what came of it since.
    pub(super) fn entries_from(&self, place: usize) -> impl Iterator<Item = Open<'_>> {
        self.open.entries_from(place).map(|(&subject, incident)| Open {
            subject,
            alert: &incident.alert,
            findings: incident.findings,
            last: incident.last,
        })
    }

    /// Whether it is open.
    pub(super) fn is_open(&self, subject: Subject) -> bool {
        self.open.get(&subject).is_some()
    }

    /// A campaign goes on without anything new to tell.
    pub(super) fn goes_on(&mut self, subject: Subject, now: Timestamp) {
        if let Some(incident) = self.open.get_mut(&subject) {
            self.quiet.remove(&(incident.last, subject));
            self.quiet.insert((now, subject));
            incident.last = now;
        }
    }

    /// Makes the line that is due. To open an incident when there is no room closes the one that was quiet longest.
    pub(super) fn tell(
        &mut self,
        subject: Subject,
        due: Due,
        finding: &Finding,
        aspect: Option<u64>,
        report: Report,
        alerts: &mut Vec<Alert>,
    ) {
        let now = report.now;
        if due == Due::Opens {
            if self.open.len() >= self.capacity
                && let Some(&(last, quietest)) = self.quiet.first()
            {
                self.end(last, quietest, now, &sentence::crowded_out(), alerts);
                self.closed_early += 1;
            }
            let chapter = Chapter { technique: finding.technique, aspect, observed: finding.observed };
            let mut incident = Incident {
                chapters: vec![chapter],
                features: Vec::new(),
                findings: 0,
                last: now,
                alert: first_line(finding, &report),
            };
            incident.measure(finding);
            self.open.insert(subject, incident, |_| 0u8);
            self.quiet.insert((now, subject));
        }
        let Some(incident) = self.open.get_mut(&subject) else { return };
        incident.write(due, finding, report);
        alerts.push(incident.alert.clone());
    }

    /// Closes what was quiet for `quiet` at `now`; gives the client incidents among them.
    pub(super) fn close(
        &mut self,
        now: Timestamp,
        quiet: Duration,
        alerts: &mut Vec<Alert>,
        mut closed: impl FnMut(IpAddr, Family),
    ) {
        while let Some(&(last, subject)) = self.quiet.first()
            && now.since(last) >= quiet
        {
            self.end(last, subject, last + quiet, &sentence::over(quiet), alerts);
            if let Subject::Client(client, family) = subject {
                closed(client, family);
            }
        }
    }

    fn end(&mut self, last: Timestamp, subject: Subject, time: Timestamp, why: &str, alerts: &mut Vec<Alert>) {
        self.quiet.remove(&(last, subject));
        let Some(incident) = self.open.remove(&subject) else { return };
        let mut alert = incident.alert;
        alert.ts = time;
        alert.state = Progress::Close;
        alert.revision += 1;
        alert.id = alert_id(&alert.incident, alert.revision);
        alert.findings = incident.findings;
        alert.last = last;
        alert.summary = format!("{why} {}", sentence::plain(&alert.summary));
        alerts.push(alert);
    }
}

impl Incident {
    /// Keeps the strongest measurement of each sort.
    fn measure(&mut self, finding: &Finding) {
        self.findings += 1;
        let feature = feature(finding);
        match self.features.iter_mut().find(|held| held.feature == feature.feature) {
            Some(held) if held.evidence_decades <= feature.evidence_decades => *held = feature,
            Some(_) => {}
            None => self.features.push(feature),
        }
        strongest(&mut self.features);
    }

    /// Writes the next line.
    fn write(&mut self, due: Due, finding: &Finding, report: Report) {
        let alert = &mut self.alert;
        if due != Due::Opens {
            alert.state = Progress::Update;
            alert.revision += 1;
            alert.id = alert_id(&alert.incident, alert.revision);
        }
        alert.ts = report.now;
        alert.kind = finding.technique;
        if !alert.techniques.contains(&finding.technique) {
            alert.techniques.push(finding.technique);
            let year = |id: &&str| format!("{id}:2023");
            add(&mut alert.owasp, finding.technique.owasp().iter().map(year));
            add(&mut alert.attack, finding.technique.attack().iter().map(|&id| id.to_owned()));
        }
        let severity = if finding.grave { Severity::Critical } else { finding.technique.severity() };
        alert.severity = alert.severity.max(severity);
        alert.confidence = report.confidence;
        alert.scope = report.scope;
        alert.client = report.client;
        alert.clients = report.clients;
        alert.endpoint = report.endpoint;
        alert.host = report.host;
        alert.summary = sentence::told(due, &report.sentence);
        alert.evidence_decades = rounded(finding.nats / std::f64::consts::LN_10);
        alert.threshold_decades = rounded(finding.threshold / std::f64::consts::LN_10);
        alert.findings = self.findings;
        alert.incomplete_share = report.incomplete_share;
        alert.first = alert.first.min(report.first);
        alert.last = report.last;
        alert.evidence = report.evidence;
        alert.features = self.features.clone();
        alert.features.extend(report.context);
        strongest(&mut alert.features);
    }
}

/// A line that opens an incident, of which [`Incident::write`] fills in the rest.
fn first_line(finding: &Finding, report: &Report) -> Alert {
    let (flow, position) = report.evidence.first().map(|call| (call.flow, call.position)).unwrap_or_default();
    let incident = incident_id(finding.technique, &report.subject, report.first, flow, position);
    Alert {
        ts: report.now,
        id: alert_id(&incident, 0),
        schema: SCHEMA.to_owned(),
        incident,
        state: Progress::Open,
        revision: 0,
        kind: finding.technique,
        techniques: Vec::new(),
        owasp: Vec::new(),
        attack: Vec::new(),
        severity: Severity::Low,
        confidence: report.confidence,
        scope: report.scope,
        client: None,
        clients: Vec::new(),
        endpoint: None,
        host: None,
        summary: String::new(),
        features: Vec::new(),
        evidence_decades: 0.0,
        threshold_decades: 0.0,
        findings: 0,
        incomplete_share: None,
        first: report.first,
        last: report.last,
        evidence: Vec::new(),
        capture: None,
    }
}

fn add(list: &mut Vec<String>, ids: impl Iterator<Item = String>) {
    for id in ids {
        if !list.contains(&id) {
            list.push(id);
        }
    }
}

/// A finding as a measurement.
pub(super) fn feature(finding: &Finding) -> Feature {
    Feature {
        feature: finding.test.measure().to_owned(),
        observed: rounded(finding.observed),
        expected: rounded(finding.expected),
        window: finding.window,
        evidence_decades: rounded(finding.nats / std::f64::consts::LN_10),
    }
}

/// Keeps the strongest measurements, one of each sort, the strongest first.
fn strongest(features: &mut Vec<Feature>) {
    features.sort_by(|one, other| other.evidence_decades.total_cmp(&one.evidence_decades));
    let mut place = 0;
    while place < features.len() {
        let (before, rest) = features.split_at(place);
        let again = rest.first().is_some_and(|feature| before.iter().any(|held| held.feature == feature.feature));
        if again {
            features.remove(place);
        } else {
            place += 1;
        }
    }
    features.truncate(FEATURE_LIMIT);
}
