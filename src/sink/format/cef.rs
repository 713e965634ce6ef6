//! ArcSight's Common Event Format: seven fields between bars, then `key=value` pairs.

use std::fmt::Write;

use super::Notice;
use crate::alert::Severity;

/// A notice as one line.
pub(super) fn line(notice: &Notice<'_>, sensor: &str) -> String {
    let severity = match notice.severity {
        None => 1,
        Some(Severity::Low) => 3,
        Some(Severity::Medium) => 5,
        Some(Severity::High) => 8,
        Some(Severity::Critical) => 10,
    };
    let mut line = String::from("CEF:0|apitap|apitap|");
    for field in [env!("CARGO_PKG_VERSION"), notice.kind, notice.help] {
        header(&mut line, field);
        line.push('|');
    }
    let _ = write!(line, "{severity}|");
    let mut pairs = Pairs { line, first: true };
    let milliseconds = |time: crate::time::Timestamp| time.nanos().div_euclid(1_000_000).to_string();
    pairs.add("rt", &milliseconds(notice.ts));
    pairs.add("start", &milliseconds(notice.first));
    pairs.add("end", &milliseconds(notice.last));
    pairs.add("externalId", &notice.id);
    pairs.add("dvchost", sensor);
    pairs.add("cat", notice.kind);
    if let Some(client) = notice.client {
        // The dictionary has an address of version 4 there, and one of version 6 among the custom fields.
        match client {
            std::net::IpAddr::V4(ip) => pairs.add("src", &ip.to_string()),
            std::net::IpAddr::V6(ip) => pairs.labelled("c6a2", "Source IPv6 Address", &ip.to_string()),
        }
    }
    if let Some(host) = notice.host {
        pairs.add("dhost", host);
    }
    if let Some((method, path)) = notice.endpoint {
        pairs.add("requestMethod", method);
        pairs.add("request", path);
    }
    pairs.add("cnt", &notice.count.to_string());
    pairs.add("msg", &notice.summary);
    pairs.labelled("cs1", notice.subject_name(), &notice.subject);
    pairs.labelled("cs2", "state", notice.state);
    pairs.labelled("cs3", "confidence", notice.confidence_name().unwrap_or_default());
    pairs.labelled("cs4", "attack", &notice.attack.join(","));
    pairs.labelled("cs5", "owasp", &notice.owasp.join(","));
    let listed: Vec<String> = notice.listed().iter().map(ToString::to_string).collect();
    pairs.labelled("cs6", "clients", &listed.join(","));
    if let Some(decades) = notice.evidence_decades {
        pairs.labelled("cfp1", "evidenceDecades", &decades.to_string());
    }
    if let Some(revision) = notice.revision {
        pairs.labelled("cn1", "revision", &revision.to_string());
    }
    pairs.line
}

struct Pairs {
    line: String,
    first: bool,
}

impl Pairs {
    fn add(&mut self, key: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        if !std::mem::take(&mut self.first) {
            self.line.push(' ');
        }
        self.line.push_str(key);
        self.line.push('=');
        for letter in value.chars() {
            match letter {
                '\\' => self.line.push_str("\\\\"),
                '=' => self.line.push_str("\\="),
                '\n' => self.line.push_str("\\n"),
                '\r' => self.line.push_str("\\r"),
                letter => self.line.push(letter),
            }
        }
    }

    fn labelled(&mut self, key: &str, label: &str, value: &str) {
        if !value.is_empty() {
            self.add(&format!("{key}Label"), label);
            self.add(key, value);
        }
    }
}

/// A field of the header: bars and backslashes are escaped, and there are no ends of lines.
fn header(line: &mut String, field: &str) {
    for letter in field.chars() {
        match letter {
            '\\' => line.push_str("\\\\"),
            '|' => line.push_str("\\|"),
            '\n' | '\r' => line.push(' '),
            letter => line.push(letter),
        }
    }
}
