//! What sinks are told: alerts, findings, and events of the inventory.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alert::{self, Alert, Severity, Technique};
use crate::inventory::events::{self, Event};
use crate::practice::Kind;
use crate::practice::finding::{self, Finding};

/// What a sink can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Lines of incidents.
    Alerts,
    /// What is not as it should be, whoever calls (`--findings`).
    Findings,
    /// What is new in the inventory (`--events`).
    Events,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 3] = [Class::Alerts, Class::Findings, Class::Events];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Alerts => "alerts",
            Class::Findings => "findings",
            Class::Events => "events",
        }
    }

    /// One of it, in a word.
    pub const fn one(self) -> &'static str {
        match self {
            Class::Alerts => "alert",
            Class::Findings => "finding",
            Class::Events => "event",
        }
    }

    /// The names of its kinds.
    pub(super) fn kinds(self) -> Vec<&'static str> {
        match self {
            Class::Alerts => Technique::ALL.iter().map(|kind| kind.name()).collect(),
            Class::Findings => Kind::ALL.iter().map(|kind| kind.name()).collect(),
            Class::Events => events::KINDS.iter().map(|(name, _)| *name).collect(),
        }
    }
}

/// One line for the sinks.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// An incident opens, is updated or closes.
    Alert(&'a Alert),
    /// A fact that is to be put right.
    Finding(&'a Finding),
    /// Something new.
    Event(&'a Event),
}

impl<'a> Told<'a> {
    /// What it is.
    pub const fn class(self) -> Class {
        match self {
            Told::Alert(_) => Class::Alerts,
            Told::Finding(_) => Class::Findings,
            Told::Event(_) => Class::Events,
        }
    }

    /// The name of its kind.
    pub fn kind(self) -> &'a str {
        match self {
            Told::Alert(alert) => alert.kind.name(),
            Told::Finding(finding) => finding.kind.name(),
            Told::Event(event) => &event.kind,
        }
    }

    /// How bad it is; nothing is bad about an event.
    pub const fn severity(self) -> Option<Severity> {
        match self {
            Told::Alert(alert) => Some(alert.severity),
            Told::Finding(finding) => Some(finding.severity),
            Told::Event(_) => None,
        }
    }

    /// Its native form.
    ///
    /// # Errors
    ///
    /// None for plain data.
    pub fn native(self) -> serde_json::Result<Vec<u8>> {
        match self {
            Told::Alert(alert) => serde_json::to_vec(alert),
            Told::Finding(finding) => serde_json::to_vec(finding),
            Told::Event(event) => serde_json::to_vec(event),
        }
    }
}

/// A line that was read back from its native form.
#[derive(Debug)]
pub(super) enum Message {
    Alert(Box<Alert>),
    Finding(Box<Finding>),
    Event(Box<Event>),
}

impl Message {
    /// By the `schema` that it names.
    ///
    /// # Errors
    ///
    /// What is none of this version: a later one may have written it.
    pub(super) fn read(native: &[u8]) -> Result<Message, String> {
        let wrong = |error: serde_json::Error| format!("unreadable: {error}");
        match class_of(native)? {
            Class::Alerts => serde_json::from_slice(native).map(|alert| Message::Alert(Box::new(alert))),
            Class::Findings => serde_json::from_slice(native).map(|finding| Message::Finding(Box::new(finding))),
            Class::Events => serde_json::from_slice(native).map(|event| Message::Event(Box::new(event))),
        }
        .map_err(wrong)
    }

    /// The line.
    pub(super) fn told(&self) -> Told<'_> {
        match self {
            Message::Alert(alert) => Told::Alert(alert),
            Message::Finding(finding) => Told::Finding(finding),
            Message::Event(event) => Told::Event(event),
        }
    }
}

/// What a line in native form is.
///
/// # Errors
///
/// What is none of this version.
pub(super) fn class_of(native: &[u8]) -> Result<Class, String> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        schema: Cow<'a, str>,
    }
    let named: Named<'_> = serde_json::from_slice(native).map_err(|error| format!("unreadable: {error}"))?;
    match &*named.schema {
        alert::SCHEMA => Ok(Class::Alerts),
        finding::SCHEMA => Ok(Class::Findings),
        events::SCHEMA => Ok(Class::Events),
        other => Err(format!("unreadable: the schema {other:?} is not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_by_its_schema() {
        let (alert, finding, event) = (Alert::sample(), Finding::sample(), Event::sample());
        for told in [Told::Alert(&alert), Told::Finding(&finding), Told::Event(&event)] {
            let native = told.native().expect("plain data");
            let message = Message::read(&native).expect("what was written");
            assert_eq!(message.told().class(), told.class());
            assert_eq!(message.told().native().expect("plain data"), native);
            assert!(told.class().kinds().contains(&told.kind()), "{}", told.kind());
        }
        for (native, reason) in [
            (&br#"{"schema":"apitap.alert.v2"}"#[..], "apitap.alert.v2"),
            (br#"{"schema":"apitap.alert.v1"}"#, "missing field"),
            (br#"{"kind":"endpoint_new"}"#, "schema"),
            (b"torn", "expected"),
        ] {
            let error = Message::read(native).expect_err("none of this version");
            assert!(error.starts_with("unreadable: ") && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn no_kind_is_of_two_classes() {
        let mut all: Vec<_> = Class::ALL.into_iter().flat_map(Class::kinds).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
