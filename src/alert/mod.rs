//! From evidence to alerts: who, what, how sure, against what, and what to look at.
//!
//! An alert is one JSON object a line in the stable form [`SCHEMA`]: fields are added, never renamed or given another
//! meaning without a new schema. Nothing in it is drawn or taken from a clock, so that a replay prints the same
//! bytes; no credential and no sensitive value is in it in clear.

mod technique;

use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use technique::{Family, Technique};

use crate::call::{Awaited, Call, Connection, Fingerprint, FlowId};
use crate::time::Timestamp;

/// The version of the JSON form.
pub const SCHEMA: &str = "apitap.alert.v1";

/// Calls that an alert shows at most.
pub const EVIDENCE_LIMIT: usize = 5;

/// Measurements that an alert shows at most.
pub const FEATURE_LIMIT: usize = 3;

/// Bytes of a target that an alert shows at most.
pub const TARGET_LIMIT: usize = 256;

/// How bad it is if it is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Posture: worth putting right.
    Low,
    /// Somebody tries.
    Medium,
    /// Somebody succeeds, or a service suffers.
    High,
    /// Data of the worst classes is out.
    Critical,
}

/// How much the alert rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The population is hardly known yet (cold start), or much of this client's traffic was lost to the sensor.
    Low,
    /// The evidence passed the threshold that the budget of false alarms sets.
    Medium,
    /// The evidence passed it by far (half as much again, in nats).
    High,
}

/// Whom or what an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// A client.
    Client,
    /// An endpoint; no client is accused.
    Endpoint,
    /// A group of clients that act as one.
    Campaign,
    /// The sensor itself.
    Sensor,
}

/// Who is accused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Suspect {
    /// The client's address: on the wire, or behind trusted proxies.
    pub ip: IpAddr,
    /// Keyed fingerprint of the credential, when all evidence had the same one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credential: Option<Fingerprint>,
}

/// One call, or connection, that an alert rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// When the call ended.
    pub time: Timestamp,
    /// Request method; absent for a connection without a call.
    #[serde(skip_serializing_if = "str::is_empty", default)]
    pub method: Arc<str>,
    /// Host as sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<Arc<str>>,
    /// Target, secrets masked, at most [`TARGET_LIMIT`] bytes of it; absent for a connection without a call.
    #[serde(skip_serializing_if = "str::is_empty", default)]
    pub target: Arc<str>,
    /// Status of the response, when it was seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
    /// The flow that carried it.
    pub flow: FlowId,
    /// Its place among the calls of the flow.
    pub position: u32,
    /// Finds the flow in Zeek and Suricata.
    pub community_id: Arc<str>,
    /// Who sent it on the wire: the client, or the last proxy before the server.
    pub source: IpAddr,
    /// The credential that came with it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credential: Option<Fingerprint>,
    /// JA4 of the client's hello, where it came in TLS.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ja4: Option<Arc<str>>,
    /// The server's name that the client asked for in TLS.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub server_name: Option<Arc<str>>,
    /// What a connection without a call waits for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waits_for: Option<Awaited>,
}

impl Sighting {
    /// What an alert shows of a connection.
    pub fn of_connection(connection: &Connection) -> Sighting {
        Sighting {
            time: connection.end_time,
            method: Arc::default(),
            host: None,
            target: Arc::default(),
            status: None,
            flow: connection.flow,
            position: connection.position,
            community_id: connection.community_id.clone(),
            source: connection.client.ip,
            credential: None,
            ja4: connection.tls.as_ref().and_then(|tls| tls.ja4.clone()),
            server_name: connection.tls.as_ref().and_then(|tls| tls.server_name.clone()),
            waits_for: connection.waits.map(|wait| wait.awaited),
        }
    }

    /// What an alert shows of `call`.
    pub fn of(call: &Call) -> Sighting {
        let mut end = call.target.len().min(TARGET_LIMIT);
        while !call.target.is_char_boundary(end) {
            end -= 1;
        }
        Sighting {
            time: call.end_time,
            method: call.method.as_str().into(),
            host: call.host.clone(),
            target: call.target.get(..end).unwrap_or_default().into(),
            status: call.status,
            flow: call.flow,
            position: call.position,
            community_id: call.community_id.clone(),
            source: call.client.ip,
            credential: call.credential.as_ref().map(|credential| credential.fingerprint),
            ja4: call.tls.as_ref().and_then(|tls| tls.ja4.clone()),
            server_name: call.tls.as_ref().and_then(|tls| tls.server_name.clone()),
            waits_for: None,
        }
    }
}

/// Where the packets of an incident are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// A pcapng file.
    pub file: String,
}

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// The evidence was enough for the first time.
    Open,
    /// Ten times as much was observed as when it was last told, or another technique or endpoint came to it.
    Update,
    /// There was no evidence any more for the time that the setting `incident_quiet_hours` gives.
    Close,
}

/// One measurement that speaks against who is accused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// What was measured, in a few words: the unit of `observed` and `expected`.
    pub feature: String,
    /// What was measured.
    pub observed: f64,
    /// What would have been ordinary.
    pub expected: f64,
    /// The window of `observed` in seconds; absent for evidence that adds up whatever the pace.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub window: Option<u64>,
    /// Evidence in decades: 6 is a chance of one in a million if nothing were wrong.
    pub evidence_decades: f64,
}

/// One line for the analyst: an incident opens, is updated or closes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// When the evidence was enough, in the traffic's time; when it closes, the moment from which it counts as over.
    pub ts: Timestamp,
    /// 16 hexadecimal digits derived from `incident` and `revision`: the same in every replay.
    pub id: String,
    /// [`SCHEMA`].
    pub schema: String,
    /// 16 hexadecimal digits derived from what the incident is about and its first evidence; all lines of one incident
    /// have the same.
    pub incident: String,
    /// Where the incident stands.
    pub state: Progress,
    /// Which line of the incident this is, from 0.
    pub revision: u32,
    /// Family and technique that this line is about.
    pub kind: Technique,
    /// All techniques of the incident so far, in the order in which they came.
    pub techniques: Vec<Technique>,
    /// Identifiers of these techniques in the OWASP API Security Top 10, with its year.
    pub owasp: Vec<String>,
    /// Identifiers of these techniques in MITRE ATT&CK.
    pub attack: Vec<String>,
    /// How bad it is if it is true, at worst so far.
    pub severity: Severity,
    /// How much the alert rests on.
    pub confidence: Confidence,
    /// Whom or what it is about.
    pub scope: Scope,
    /// Who is accused; absent when it is about an endpoint.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client: Option<Suspect>,
    /// The members of a campaign that have evidence of their own.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub clients: Vec<Suspect>,
    /// Method and path template, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub endpoint: Option<String>,
    /// Host of the endpoint.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<String>,
    /// What happened, as a plain sentence.
    pub summary: String,
    /// The strongest measurements of the incident so far, at most [`FEATURE_LIMIT`].
    pub features: Vec<Feature>,
    /// Evidence of this line's test in decades.
    pub evidence_decades: f64,
    /// What the test had to reach, by the budget of false alarms.
    pub threshold_decades: f64,
    /// How many times the tests of the incident were passed so far.
    pub findings: u64,
    /// Share of the client's calls of which the sensor missed a part; absent when it missed none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub incomplete_share: Option<f64>,
    /// Time of the first call of the evidence.
    pub first: Timestamp,
    /// Time of the last call of the evidence.
    pub last: Timestamp,
    /// Up to [`EVIDENCE_LIMIT`] calls to look at, in order.
    pub evidence: Vec<Sighting>,
    /// Where the packets of the incident are; absent when none are kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub capture: Option<Capture>,
}

#[cfg(test)]
impl Alert {
    /// One for tests.
    pub(crate) fn sample() -> Alert {
        Alert {
            ts: Timestamp::from_parts(1_772_460_000, 5),
            id: alert_id("0011223344556677", 0),
            schema: SCHEMA.into(),
            incident: "0011223344556677".into(),
            state: Progress::Open,
            revision: 0,
            kind: Technique::PathEnumeration,
            techniques: vec![Technique::PathEnumeration],
            owasp: vec!["API9:2023".into()],
            attack: vec!["T1595.003".into()],
            severity: Severity::Medium,
            confidence: Confidence::High,
            scope: Scope::Client,
            client: Some(Suspect { ip: IpAddr::from([192, 0, 2, 1]), credential: None }),
            clients: Vec::new(),
            endpoint: None,
            host: None,
            summary: "line\nbreaks are escaped".into(),
            features: vec![Feature {
                feature: "first contacts that missed".into(),
                observed: 7.0,
                expected: 0.5,
                window: None,
                evidence_decades: 5.5,
            }],
            evidence_decades: 5.5,
            threshold_decades: 5.4,
            findings: 1,
            incomplete_share: None,
            first: Timestamp::ZERO,
            last: Timestamp::ZERO,
            evidence: Vec::new(),
            capture: None,
        }
    }
}

/// An id of an incident out of what it is about (`subject`), its first technique and the first call of its evidence.
///
/// SipHash-1-3 without a key: it names, it hides nothing.
pub fn incident_id(kind: Technique, subject: &str, first: Timestamp, flow: FlowId, position: u32) -> String {
    let mut hasher = siphasher::sip::SipHasher13::new();
    for part in [SCHEMA, kind.name(), subject] {
        hasher.write(part.as_bytes());
        hasher.write_u8(0);
    }
    hasher.write_i64(first.nanos());
    hasher.write_u64(flow.0);
    hasher.write_u32(position);
    format!("{:016x}", hasher.finish())
}

/// An id of one line of an incident.
pub fn alert_id(incident: &str, revision: u32) -> String {
    let mut hasher = siphasher::sip::SipHasher13::new();
    hasher.write(incident.as_bytes());
    hasher.write_u32(revision);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_stable() {
        let call = Call { method: "GET".into(), target: "é".repeat(200), status: Some(404), ..Call::default() };
        let sighting = Sighting::of(&call);
        assert_eq!(sighting.target.len(), TARGET_LIMIT);
        let alert = Alert { evidence: vec![sighting], ..Alert::sample() };
        let text = serde_json::to_string(&alert).expect("plain data");
        for part in [
            r#""ts":"2026-03-02T14:00:00.000000005Z""#,
            r#""schema":"apitap.alert.v1""#,
            r#""state":"open""#,
            r#""kind":"recon.path_enumeration""#,
            r#""severity":"medium""#,
            r#""scope":"client""#,
            r#""client":{"ip":"192.0.2.1"}"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(serde_json::from_str::<Alert>(&text).expect("what was written reads back"), alert);
    }

    #[test]
    fn ids_tell_incidents_and_their_lines_apart() {
        let id = |kind, subject: &str, flow| incident_id(kind, subject, Timestamp::ZERO, FlowId(flow), 0);
        let one = id(Technique::PathEnumeration, "192.0.2.1", 1);
        assert_eq!(one, id(Technique::PathEnumeration, "192.0.2.1", 1));
        assert_ne!(one, id(Technique::MethodProbing, "192.0.2.1", 1));
        assert_ne!(one, id(Technique::PathEnumeration, "192.0.2.2", 1));
        assert_ne!(one, id(Technique::PathEnumeration, "192.0.2.1", 2));
        assert_ne!(alert_id(&one, 0), alert_id(&one, 1));
    }
}
