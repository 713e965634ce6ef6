//! A finding as it is told: one fact about an endpoint, a service or a client, however many calls show it.
//!
//! One JSON object a line in the stable form [`SCHEMA`]: fields are added, never renamed or given another meaning without a
//! new schema. Nothing in it is drawn or taken from a clock; no credential and no sensitive value is in it in clear.

use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use crate::alert::{Severity, Sighting};
use crate::time::Timestamp;

/// The version of the JSON form.
pub const SCHEMA: &str = "apitap.finding.v1";

/// Which line about a finding it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It holds for the first time.
    New,
    /// Ten times as many calls show it as when it was last told, or it is worse.
    Update,
    /// What it came to in the end.
    Total,
}

impl State {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            State::New => "new",
            State::Update => "update",
            State::Total => "total",
        }
    }
}

/// One fact, as a line for the operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// When it was told, in the traffic's time.
    pub ts: Timestamp,
    /// 16 hexadecimal digits derived from what it is about: the same in every run, and in all lines about it.
    pub id: String,
    /// [`SCHEMA`].
    pub schema: String,
    /// Which line this is.
    pub state: State,
    /// What it is.
    pub kind: Kind,
    /// How bad it is, at worst so far.
    pub severity: Severity,
    /// Identifiers in the OWASP API Security Top 10, with its year.
    pub owasp: Vec<String>,
    /// The service: the host that requests name, or the server's address where they name none.
    pub service: String,
    /// Method and path template, where it is about an endpoint.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub endpoint: Option<String>,
    /// The client, credential or quota that it is about, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub about: Option<String>,
    /// What was found, as a plain sentence.
    pub summary: String,
    /// More exactly, in a few words each; sorted.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub details: Vec<String>,
    /// Calls, or connections in TLS, that show it.
    pub count: u64,
    /// Clients that made them.
    pub client_count: u64,
    /// The first few of these.
    pub clients: Vec<IpAddr>,
    /// Time of the first.
    pub first: Timestamp,
    /// Time of the last.
    pub last: Timestamp,
    /// A few calls to look at, the first ones.
    pub examples: Vec<Sighting>,
    /// What to do about it.
    pub remedy: String,
}

impl Finding {
    /// 16 hexadecimal digits of this line alone, by which a receiver knows one that comes again: all lines about a finding
    /// have its `id`, and are told apart by how far it had come.
    pub fn line_id(&self) -> String {
        let mut hasher = siphasher::sip::SipHasher13::new();
        for part in [SCHEMA, &self.id, self.state.name()] {
            hasher.write(part.as_bytes());
            hasher.write_u8(0);
        }
        hasher.write_u64(self.count);
        hasher.write_u8(self.severity as u8);
        format!("{:016x}", hasher.finish())
    }

    /// One for tests.
    #[cfg(test)]
    pub(crate) fn sample() -> Finding {
        let kind = Kind::Missing;
        Finding {
            ts: Timestamp::from_parts(1_772_460_000, 5),
            id: "8899aabbccddeeff".into(),
            schema: SCHEMA.into(),
            state: State::New,
            kind,
            severity: Severity::High,
            owasp: vec!["API2:2023".into()],
            service: "shop.example".into(),
            endpoint: Some("GET /v1/orders/{id}".into()),
            about: None,
            summary: "GET /v1/orders/{id} of shop.example: data is given out without a credential.".into(),
            details: Vec::new(),
            count: 1,
            client_count: 1,
            clients: vec![IpAddr::from([192, 0, 2, 1])],
            first: Timestamp::ZERO,
            last: Timestamp::ZERO,
            examples: Vec::new(),
            remedy: kind.remedy().to_owned(),
        }
    }
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Subject {
    pub(super) service: Arc<str>,
    pub(super) endpoint: Option<String>,
    pub(super) about: Option<String>,
}

impl Subject {
    /// The id of a finding about it. SipHash-1-3 without a key: it names, it hides nothing.
    pub(super) fn id(&self, kind: Kind) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new();
        let (endpoint, about) = (self.endpoint.as_deref(), self.about.as_deref());
        for part in [SCHEMA, kind.name(), &self.service, endpoint.unwrap_or_default(), about.unwrap_or_default()] {
            hasher.write(part.as_bytes());
            hasher.write_u8(0);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_about_a_finding_has_an_id_of_its_own() {
        let new = Finding::sample();
        let later = Finding { ts: Timestamp::from_parts(1_772_470_000, 0), ..new.clone() };
        assert_eq!(new.line_id(), later.line_id());
        let update = Finding { state: State::Update, count: 10, ..new.clone() };
        let more = Finding { count: 100, ..update.clone() };
        let worse = Finding { severity: Severity::Critical, ..update.clone() };
        let total = Finding { state: State::Total, ..update.clone() };
        let other = Finding { id: "8899aabbccddeefe".into(), ..new.clone() };
        let ids: std::collections::BTreeSet<_> =
            [&new, &update, &more, &worse, &total, &other].map(Finding::line_id).into();
        assert_eq!(ids.len(), 6);
        for state in [State::New, State::Update, State::Total] {
            assert_eq!(serde_json::to_value(state).expect("plain data"), state.name());
        }
    }
}
