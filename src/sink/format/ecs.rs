//! Elastic Common Schema.

use serde_json::{Value, json};

use crate::alert::{Alert, Progress, Severity};

/// The version of the schema that the fields are of.
const VERSION: &str = "8.17.0";

/// An alert as an event of kind `alert`.
pub(super) fn event(alert: &Alert, sensor: &str) -> Value {
    let accused = super::accused(alert);
    let mut event = json!({
        "@timestamp": alert.ts,
        "ecs": { "version": VERSION },
        "message": alert.summary,
        "event": {
            "kind": "alert",
            "category": ["intrusion_detection"],
            "type": ["info"],
            "action": match alert.state {
                Progress::Open => "incident-open",
                Progress::Update => "incident-update",
                Progress::Close => "incident-close",
            },
            "id": alert.id,
            "provider": "apitap",
            "module": "apitap",
            "dataset": "apitap.alert",
            "reason": alert.summary,
            // The numbers that Elastic Security gives its rules' severities.
            "severity": match alert.severity {
                Severity::Low => 21,
                Severity::Medium => 47,
                Severity::High => 73,
                Severity::Critical => 99,
            },
            "start": alert.first,
            "end": alert.last,
        },
        "rule": {
            "id": alert.kind.name(),
            "name": alert.kind.help().trim(),
            "category": alert.kind.family(),
            "ruleset": "apitap",
        },
        "observer": {
            "vendor": "apitap",
            "product": "apitap",
            "type": "ids",
            "version": env!("CARGO_PKG_VERSION"),
            "hostname": sensor,
        },
        "apitap": super::remainder(alert),
    });
    let Some(fields) = event.as_object_mut() else { return event };
    if let [first, ..] = accused.as_slice() {
        if alert.client.is_some() {
            fields.insert("source".into(), json!({ "ip": first, "address": first }));
        }
        fields.insert("related".into(), json!({ "ip": accused }));
    }
    if !alert.attack.is_empty() {
        fields.insert("threat".into(), threat(&alert.attack));
    }
    if let Some(host) = &alert.host {
        let mut url = json!({ "domain": host });
        if let (Some((method, path)), Some(parts)) = (super::endpoint(alert), url.as_object_mut()) {
            parts.insert("path".into(), path.into());
            fields.insert("http".into(), json!({ "request": { "method": method } }));
        }
        fields.insert("url".into(), url);
    }
    let mut communities: Vec<&str> = alert.evidence.iter().map(|sighting| sighting.community_id.as_ref()).collect();
    communities.dedup();
    if !communities.is_empty() {
        fields.insert("network".into(), json!({ "transport": "tcp", "community_id": communities }));
    }
    event
}

/// Techniques of MITRE ATT&CK: `T1595.003` is a subtechnique of `T1595`.
fn threat(attack: &[String]) -> Value {
    let mut techniques: Vec<&str> = Vec::new();
    let mut subtechniques: Vec<&str> = Vec::new();
    for id in attack {
        let whole = id.split_once('.').map_or(id.as_str(), |(whole, _)| whole);
        if !techniques.contains(&whole) {
            techniques.push(whole);
        }
        if whole != id {
            subtechniques.push(id);
        }
    }
    let mut technique = json!({ "id": techniques });
    if let Some(technique) = technique.as_object_mut().filter(|_| !subtechniques.is_empty()) {
        technique.insert("subtechnique".into(), json!({ "id": subtechniques }));
    }
    json!({ "framework": "MITRE ATT&CK", "technique": technique })
}
