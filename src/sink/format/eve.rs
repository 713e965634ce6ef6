//! Suricata's EVE: an event of type `alert`.

use std::hash::Hasher;

use jiff::fmt::strtime;
use serde_json::{Value, json};

use super::Notice;
use crate::alert::Severity;
use crate::sink::told::Class;
use crate::time::Timestamp;

/// A notice as Suricata would write it, as far as it can be told: the last call that shows it stands for all.
pub(super) fn event(notice: &Notice<'_>, sensor: &str) -> Value {
    let mut metadata = json!({
        notice.subject_name(): [notice.subject],
        "state": [notice.state],
        "mitre_technique_id": notice.attack,
        "owasp_api": notice.owasp,
    });
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("severity".into(), json!([notice.severity_name()]));
        metadata.extend(notice.confidence_name().map(|confidence| ("confidence".to_owned(), json!([confidence]))));
    }
    let mut event = json!({
        "timestamp": time(notice.ts),
        "event_type": "alert",
        "host": sensor,
        "proto": "TCP",
        "alert": {
            "action": "allowed",
            "gid": 1,
            "signature_id": signature(notice.kind),
            "rev": 1,
            "signature": format!("apitap {}: {}", notice.kind, notice.help),
            "category": notice.family,
            // 1 is the worst.
            "severity": match notice.severity {
                Some(Severity::Critical | Severity::High) => 1,
                Some(Severity::Medium) => 2,
                Some(Severity::Low) => 3,
                None => 4,
            },
            "metadata": metadata,
        },
        "apitap": notice.remainder(),
    });
    let Some(fields) = event.as_object_mut() else { return event };
    if let Some(ip) = notice.accused().first() {
        fields.insert("src_ip".into(), json!(ip));
    }
    if let Some(community) = notice.communities.last() {
        fields.insert("community_id".into(), json!(community));
    }
    let http = match (notice.sightings.last().filter(|sighting| !sighting.method.is_empty()), notice.endpoint) {
        (Some(sighting), _) => {
            let mut http = json!({ "http_method": sighting.method, "url": sighting.target });
            if let Some(http) = http.as_object_mut() {
                http.extend(sighting.host.iter().map(|host| ("hostname".to_owned(), json!(host))));
                http.extend(sighting.status.map(|status| ("status".to_owned(), json!(status))));
            }
            http
        }
        // No call of an event is kept: the endpoint stands for it.
        (None, Some((method, path))) if notice.class() == Class::Events => {
            let mut http = json!({ "http_method": method, "url": path });
            if let Some(http) = http.as_object_mut() {
                http.extend(notice.host.map(|host| ("hostname".to_owned(), json!(host))));
            }
            http
        }
        _ => return event,
    };
    fields.insert("app_proto".into(), "http".into());
    fields.insert("http".into(), http);
    event
}

/// In the range that is free for local use, the same for a kind in all versions: from its name.
pub(super) fn signature(kind: &str) -> u64 {
    let mut hasher = siphasher::sip::SipHasher13::new();
    hasher.write(kind.as_bytes());
    1_000_000 + hasher.finish() % 1_000_000
}

/// `2026-03-02T14:00:00.000000+0000`.
fn time(time: Timestamp) -> String {
    let Ok(zoned) = jiff::Timestamp::from_nanosecond(i128::from(time.nanos())) else { return time.to_string() };
    strtime::format("%Y-%m-%dT%H:%M:%S.%6f+0000", zoned).unwrap_or_else(|_| time.to_string())
}
