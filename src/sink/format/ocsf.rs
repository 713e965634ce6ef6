//! OCSF: Detection Finding, class 2004 of the category Findings.

use serde_json::{Value, json};

use crate::alert::{Alert, Confidence, Progress, Severity, Sighting};
use crate::time::Timestamp;

const VERSION: &str = "1.5.0";
const CATEGORY: u32 = 2;
const CLASS: u32 = 2004;

/// An alert as a finding: that of its incident, which is created, updated and closed.
pub(super) fn finding(alert: &Alert, sensor: &str) -> Value {
    let (activity_id, activity, status_id, status) = match alert.state {
        Progress::Open => (1, "Create", 1, "New"),
        Progress::Update => (2, "Update", 2, "In Progress"),
        Progress::Close => (3, "Close", 4, "Resolved"),
    };
    let (severity_id, severity) = match alert.severity {
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    };
    let (confidence_id, confidence) = match alert.confidence {
        Confidence::Low => (1, "Low"),
        Confidence::Medium => (2, "Medium"),
        Confidence::High => (3, "High"),
    };
    let accused = super::accused(alert);
    let observables: Vec<Value> =
        accused
            .iter()
            .map(|ip| json!({ "name": "evidences[].src_endpoint.ip", "type": "IP Address", "type_id": 2, "value": ip }))
            .chain(alert.host.iter().map(
                |host| json!({ "name": "evidences[].url.hostname", "type": "Hostname", "type_id": 1, "value": host }),
            ))
            .collect();
    json!({
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": CATEGORY,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "type_uid": CLASS * 100 + activity_id,
        "type_name": format!("Detection Finding: {activity}"),
        "time": milliseconds(alert.ts),
        "start_time": milliseconds(alert.first),
        "end_time": milliseconds(alert.last),
        "severity_id": severity_id,
        "severity": severity,
        "confidence_id": confidence_id,
        "confidence": confidence,
        "status_id": status_id,
        "status": status,
        "is_alert": true,
        "message": alert.summary,
        "count": alert.findings,
        "metadata": {
            "version": VERSION,
            "uid": alert.id,
            "sequence": alert.revision,
            "product": { "name": "apitap", "vendor_name": "apitap", "version": env!("CARGO_PKG_VERSION") },
            "log_provider": sensor,
        },
        "finding_info": {
            "uid": alert.incident,
            "title": alert.kind.help().trim(),
            "desc": alert.summary,
            "types": alert.techniques,
            "analytic": { "name": alert.kind, "uid": alert.kind, "type": "Statistical", "type_id": 3 },
            "attacks": alert.attack.iter().map(|id| attack(id)).collect::<Vec<_>>(),
            "first_seen_time": milliseconds(alert.first),
            "last_seen_time": milliseconds(alert.last),
            "modified_time": milliseconds(alert.ts),
        },
        "evidences": alert.evidence.iter().map(evidence).collect::<Vec<_>>(),
        "observables": observables,
        "unmapped": super::remainder(alert),
    })
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
