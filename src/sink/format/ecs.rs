//! Elastic Common Schema.

use serde_json::{Value, json};

use super::Notice;
use crate::alert::Severity;
use crate::sink::told::Class;

/// The version of the schema that the fields are of.
const VERSION: &str = "8.17.0";

/// A notice as an event: of kind `alert`, of kind `state` for what was found to be so, of kind `event` for what is new.
pub(super) fn event(notice: &Notice<'_>, sensor: &str) -> Value {
    let (kind, category, r#type, action) = match notice.class() {
        Class::Alerts => ("alert", "intrusion_detection", "info", format!("incident-{}", notice.state)),
        Class::Findings => ("state", "configuration", "info", format!("finding-{}", notice.state)),
        // An endpoint comes into being; of one that was there something is otherwise than before.
        Class::Events if notice.kind.starts_with("endpoint") => {
            ("event", "api", "creation", notice.kind.replace('_', "-"))
        }
        Class::Events => ("event", "api", "change", notice.kind.replace('_', "-")),
    };
    let mut event = json!({
        "@timestamp": notice.ts,
        "ecs": { "version": VERSION },
        "message": notice.summary,
        "event": {
            "kind": kind,
            "category": [category],
            "type": [r#type],
            "action": action,
            "id": notice.id,
            "provider": "apitap",
            "module": "apitap",
            "dataset": format!("apitap.{}", notice.class().one()),
            "reason": notice.summary,
            "start": notice.first,
            "end": notice.last,
        },
        "rule": {
            "id": notice.kind,
            "name": notice.help,
            "category": notice.family,
            "ruleset": "apitap",
        },
        "observer": {
            "vendor": "apitap",
            "product": "apitap",
            "type": "ids",
            "version": env!("CARGO_PKG_VERSION"),
            "hostname": sensor,
        },
        "apitap": notice.remainder(),
    });
    // The numbers that Elastic Security gives its rules' severities.
    let severity = notice.severity.map(|severity| match severity {
        Severity::Low => 21,
        Severity::Medium => 47,
        Severity::High => 73,
        Severity::Critical => 99,
    });
    if let (Some(severity), Some(fields)) = (severity, event.get_mut("event").and_then(Value::as_object_mut)) {
        fields.insert("severity".into(), severity.into());
    }
    let Some(fields) = event.as_object_mut() else { return event };
    if let Some(client) = notice.client {
        fields.insert("source".into(), json!({ "ip": client, "address": client }));
    }
    if !notice.clients.is_empty() {
        fields.insert("related".into(), json!({ "ip": notice.clients }));
    }
    if !notice.attack.is_empty() {
        fields.insert("threat".into(), threat(notice.attack));
    }
    if let Some(host) = notice.host {
        let mut url = json!({ "domain": host });
        if let (Some((method, path)), Some(parts)) = (notice.endpoint, url.as_object_mut()) {
            parts.insert("path".into(), path.into());
            fields.insert("http".into(), json!({ "request": { "method": method } }));
        }
        fields.insert("url".into(), url);
    }
    if !notice.communities.is_empty() {
        fields.insert("network".into(), json!({ "transport": "tcp", "community_id": notice.communities }));
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
