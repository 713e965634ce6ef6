//! ArcSight's Common Event Format: seven fields between bars, then `key=value` pairs.

use std::fmt::Write;

use crate::alert::{Alert, Severity};

/// An alert as one line.
pub(super) fn line(alert: &Alert, sensor: &str) -> String {
    let severity = match alert.severity {
        Severity::Low => 3,
        Severity::Medium => 5,
        Severity::High => 8,
        Severity::Critical => 10,
    };
    let mut line = String::from("CEF:0|apitap|apitap|");
    for field in [env!("CARGO_PKG_VERSION"), alert.kind.name(), alert.kind.help().trim()] {
        header(&mut line, field);
        line.push('|');
    }
    let _ = write!(line, "{severity}|");
    let mut pairs = Pairs { line, first: true };
    let milliseconds = |time: crate::time::Timestamp| time.nanos().div_euclid(1_000_000).to_string();
    pairs.add("rt", &milliseconds(alert.ts));
    pairs.add("start", &milliseconds(alert.first));
    pairs.add("end", &milliseconds(alert.last));
    pairs.add("externalId", &alert.id);
    pairs.add("dvchost", sensor);
    pairs.add("cat", alert.kind.name());
    if let Some(client) = &alert.client {
        // The dictionary has an address of version 4 there, and one of version 6 among the custom fields.
        match client.ip {
            std::net::IpAddr::V4(ip) => pairs.add("src", &ip.to_string()),
            std::net::IpAddr::V6(ip) => pairs.labelled("c6a2", "Source IPv6 Address", &ip.to_string()),
        }
    }
    if let Some(host) = &alert.host {
        pairs.add("dhost", host);
    }
    if let Some((method, path)) = super::endpoint(alert) {
        pairs.add("requestMethod", method);
        pairs.add("request", path);
    }
    pairs.add("cnt", &alert.findings.to_string());
    pairs.add("msg", &alert.summary);
    pairs.labelled("cs1", "incident", &alert.incident);
    pairs.labelled("cs2", "state", &name(&alert.state));
    pairs.labelled("cs3", "confidence", &name(&alert.confidence));
    pairs.labelled("cs4", "attack", &alert.attack.join(","));
    pairs.labelled("cs5", "owasp", &alert.owasp.join(","));
    let accused: Vec<String> = super::accused(alert).iter().map(ToString::to_string).collect();
    if !alert.clients.is_empty() {
        pairs.labelled("cs6", "clients", &accused.join(","));
    }
    pairs.labelled("cfp1", "evidenceDecades", &alert.evidence_decades.to_string());
    pairs.labelled("cn1", "revision", &alert.revision.to_string());
    pairs.line
}

/// The JSON name of a value of an enumeration.
fn name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
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
