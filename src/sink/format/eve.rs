//! Suricata's EVE: an event of type `alert`.

use std::hash::Hasher;

use jiff::fmt::strtime;
use serde_json::{Value, json};

use crate::alert::{Alert, Severity, Technique};
use crate::time::Timestamp;

/// An alert as Suricata would write it, as far as it can be told: the last call of the evidence stands for all.
pub(super) fn event(alert: &Alert, sensor: &str) -> Value {
    let mut event = json!({
        "timestamp": time(alert.ts),
        "event_type": "alert",
        "host": sensor,
        "proto": "TCP",
        "alert": {
            "action": "allowed",
            "gid": 1,
            "signature_id": signature(alert.kind),
            "rev": 1,
            "signature": format!("apitap {}: {}", alert.kind.name(), alert.kind.help().trim()),
            "category": alert.kind.family(),
            // 1 is the worst.
            "severity": match alert.severity {
                Severity::Critical | Severity::High => 1,
                Severity::Medium => 2,
                Severity::Low => 3,
            },
            "metadata": {
                "incident": [alert.incident],
                "state": [alert.state],
                "severity": [alert.severity],
                "confidence": [alert.confidence],
                "mitre_technique_id": alert.attack,
                "owasp_api": alert.owasp,
            },
        },
        "apitap": super::remainder(alert),
    });
    let Some(fields) = event.as_object_mut() else { return event };
    if let Some(ip) = super::accused(alert).first() {
        fields.insert("src_ip".into(), json!(ip));
    }
    if let Some(sighting) = alert.evidence.last() {
        fields.insert("community_id".into(), json!(sighting.community_id));
        if !sighting.method.is_empty() {
            let mut http = json!({ "http_method": sighting.method, "url": sighting.target });
            if let Some(http) = http.as_object_mut() {
                http.extend(sighting.host.iter().map(|host| ("hostname".to_owned(), json!(host))));
                http.extend(sighting.status.map(|status| ("status".to_owned(), json!(status))));
            }
            fields.insert("app_proto".into(), "http".into());
            fields.insert("http".into(), http);
        }
    }
    event
}

/// In the range that is free for local use, the same for a kind in all versions: from its name.
pub(super) fn signature(kind: Technique) -> u64 {
    let mut hasher = siphasher::sip::SipHasher13::new();
    hasher.write(kind.name().as_bytes());
    1_000_000 + hasher.finish() % 1_000_000
}

/// `2026-03-02T14:00:00.000000+0000`.
fn time(time: Timestamp) -> String {
    let Ok(zoned) = jiff::Timestamp::from_nanosecond(i128::from(time.nanos())) else { return time.to_string() };
    strtime::format("%Y-%m-%dT%H:%M:%S.%6f+0000", zoned).unwrap_or_else(|_| time.to_string())
}
