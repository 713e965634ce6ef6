//! OCSF: Detection Finding, class 2004 of the category Findings.

use serde_json::{Value, json};

use super::Notice;
use crate::alert::{Confidence, Severity, Sighting};
use crate::sink::told::Class;
use crate::time::Timestamp;

const VERSION: &str = "1.5.0";
const CATEGORY: u32 = 2;
const CLASS: u32 = 2004;

/// A notice as a finding: an incident is created, updated and closed, what is not as it should be is created and updated, what
/// is new is created.
pub(super) fn finding(notice: &Notice<'_>, sensor: &str) -> Value {
    let (activity_id, activity, status_id, status) = match (notice.class(), notice.state) {
        (Class::Alerts, "update") => (2, "Update", 2, "In Progress"),
        (Class::Alerts, "close") => (3, "Close", 4, "Resolved"),
        // Nobody has said of it yet that it is looked into.
        (Class::Findings, "update" | "total") => (2, "Update", 1, "New"),
        _ => (1, "Create", 1, "New"),
    };
    let (severity_id, severity) = match notice.severity {
        None => (1, "Informational"),
        Some(Severity::Low) => (2, "Low"),
        Some(Severity::Medium) => (3, "Medium"),
        Some(Severity::High) => (4, "High"),
        Some(Severity::Critical) => (5, "Critical"),
    };
    let confidence = notice.confidence.map(|confidence| match confidence {
        Confidence::Low => (1, "Low"),
        Confidence::Medium => (2, "Medium"),
        Confidence::High => (3, "High"),
    });
    let (analytic, analytic_id) = match notice.class() {
        Class::Alerts => ("Statistical", 3),
        Class::Findings => ("Rule", 1),
        Class::Events => ("Behavioral", 2),
    };
    let observables: Vec<Value> =
        notice
            .clients
            .iter()
            .map(|ip| json!({ "name": "evidences[].src_endpoint.ip", "type": "IP Address", "type_id": 2, "value": ip }))
            .chain(notice.host.iter().map(
                |host| json!({ "name": "evidences[].url.hostname", "type": "Hostname", "type_id": 1, "value": host }),
            ))
            .collect();
    let mut finding = json!({
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": CATEGORY,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "type_uid": CLASS * 100 + activity_id,
        "type_name": format!("Detection Finding: {activity}"),
        "time": milliseconds(notice.ts),
        "start_time": milliseconds(notice.first),
        "end_time": milliseconds(notice.last),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "is_alert": notice.class() == Class::Alerts,
        "message": notice.summary,
        "count": notice.count,
        "metadata": {
            "version": VERSION,
            "uid": notice.id,
            "product": { "name": "apitap", "vendor_name": "apitap", "version": env!("CARGO_PKG_VERSION") },
            "log_provider": sensor,
        },
        "finding_info": {
            "uid": notice.subject,
            "title": notice.help,
            "desc": notice.summary,
            "types": notice.kinds,
            "analytic": { "name": notice.kind, "uid": notice.kind, "type": analytic, "type_id": analytic_id },
            "attacks": notice.attack.iter().map(|id| attack(id)).collect::<Vec<_>>(),
            "first_seen_time": milliseconds(notice.first),
            "last_seen_time": milliseconds(notice.last),
            "modified_time": milliseconds(notice.ts),
        },
        "evidences": notice.sightings.iter().map(evidence).collect::<Vec<_>>(),
        "observables": observables,
        "unmapped": notice.remainder(),
    });
    if let (Some(revision), Some(metadata)) =
        (notice.revision, finding.get_mut("metadata").and_then(Value::as_object_mut))
    {
        metadata.insert("sequence".into(), revision.into());
    }
    let Some(fields) = finding.as_object_mut() else { return finding };
    if let Some((id, name)) = confidence {
        fields.insert("confidence_id".into(), id.into());
        fields.insert("confidence".into(), name.into());
    }
    if let Some(remedy) = notice.remedy {
        fields.insert("remediation".into(), json!({ "desc": remedy }));
    }
    finding
}

fn milliseconds(time: Timestamp) -> i64 {
    time.nanos().div_euclid(1_000_000)
}

fn attack(id: &str) -> Value {
    match id.split_once('.') {
        Some((technique, _)) => json!({ "technique": { "uid": technique }, "sub_technique": { "uid": id } }),
        None => json!({ "technique": { "uid": id } }),
    }
}

fn evidence(sighting: &Sighting) -> Value {
    let mut evidence = json!({
        "src_endpoint": { "ip": sighting.source },
        "connection_info": { "direction": "Inbound", "direction_id": 1, "protocol_name": "tcp", "protocol_num": 6,
            "community_uid": sighting.community_id },
        "data": sighting,
    });
    if let Some(fields) = evidence.as_object_mut().filter(|_| !sighting.target.is_empty()) {
        let path = sighting.target.split('?').next().unwrap_or_default();
        let mut url = json!({ "path": path });
        if let (Some(host), Some(parts)) = (&sighting.host, url.as_object_mut()) {
            parts.insert("hostname".into(), json!(host));
        }
        fields.insert("url".into(), url);
    }
    evidence
}
