//! The posture: the advice and the OWASP API Security Top 10 of 2023, each row with what was seen of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::kind::{Advice, Kind};
use super::tally::Tally;
use crate::alert::{Alert, Progress, Technique};
use crate::call::CredentialPlace;
use crate::time::Timestamp;

/// The version of the JSON form.
pub const SCHEMA: &str = "apitap.posture.v1";

/// Findings that a row of a table shows.
const SHOWN: usize = 3;

/// How a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stand {
    /// Something is to be put right.
    Attention,
    /// It was looked for, and there is nothing.
    Well,
    /// It cannot be told from this traffic, or by a sensor that only listens.
    NotVisible,
}

impl Stand {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Stand::Attention => "attention",
            Stand::Well => "well",
            Stand::NotVisible => "not visible",
        }
    }
}

/// A row of either table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `authenticate` and the like, or `API1:2023` and the like.
    pub id: String,
    /// For people.
    pub name: String,
    /// How it stands.
    pub stand: Stand,
    /// What was seen, or why nothing can be.
    pub evidence: Vec<String>,
    /// What looks for it: kinds of findings and of alerts.
    pub covered_by: Vec<String>,
    /// Findings by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub findings: BTreeMap<String, u64>,
    /// Incidents of the detector by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub alerts: BTreeMap<String, u64>,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Posture {
    /// [`SCHEMA`].
    pub schema: String,
    /// Time of the first and the last call.
    pub span: Option<(Timestamp, Timestamp)>,
    /// What was counted.
    pub traffic: Tally,
    /// The advice.
    pub advice: Vec<Row>,
    /// The OWASP API Security Top 10 of 2023.
    pub owasp: Vec<Row>,
    /// All findings, the gravest first.
    pub findings: Vec<Finding>,
}

/// Incidents that are told apart; beyond, those of a technique that was not yet seen in them count once more. 24 bytes each.
const INCIDENTS: usize = 65_536;

/// Incidents by technique, while alerts come.
#[derive(Clone, Debug, Default)]
pub struct Incidents {
    counts: BTreeMap<Technique, u64>,
    seen: BTreeSet<(u64, Technique)>,
}

impl Incidents {
    /// Takes an alert; each incident counts once for each of its techniques.
    pub fn note(&mut self, alert: &Alert) {
        if alert.state == Progress::Close {
            return;
        }
        let incident = u64::from_str_radix(&alert.incident, 16).unwrap_or_default();
        let key = (incident, alert.kind);
        if self.seen.contains(&key) {
            return;
        }
        if self.seen.len() < INCIDENTS {
            self.seen.insert(key);
        }
        *self.counts.entry(alert.kind).or_default() += 1;
    }
}

/// What is configured that a row depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Configured {
    /// There are gateways.
    pub gateways: bool,
    /// There are quotas.
    pub quotas: bool,
    /// There are ways on which everything is to be encrypted.
    pub boundaries: bool,
}

impl Posture {
    /// Of what was found in all calls.
    pub fn of(
        findings: Vec<Finding>,
        incidents: &Incidents,
        traffic: Tally,
        span: Option<(Timestamp, Timestamp)>,
        configured: Configured,
    ) -> Posture {
        let advice = Advice::ALL.iter().map(|&advice| advice_row(advice, &findings, incidents, &traffic, configured));
        let advice = advice.collect();
        let owasp = OWASP.iter().map(|risk| risk_row(risk, &findings, incidents, &traffic, configured)).collect();
        Posture { schema: SCHEMA.to_owned(), span, traffic, advice, owasp, findings }
    }

    /// Something is to be put right.
    pub fn calls_for_attention(&self) -> bool {
        self.advice.iter().chain(&self.owasp).any(|row| row.stand == Stand::Attention)
    }

    /// Both tables, for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (title, rows) in [("ADVICE", &self.advice), ("OWASP API SECURITY TOP 10, 2023", &self.owasp)] {
            let label = |row: &Row| match row.id.starts_with("API") {
                true => format!("{}  {}", row.id.trim_end_matches(":2023"), row.name),
                false => row.name.clone(),
            };
            let width = rows.iter().map(|row| label(row).chars().count()).max().unwrap_or(0).max(title.len());
            let _ = writeln!(text, "{title:<width$}  {:<11}  EVIDENCE", "STAND");
            for row in rows {
                let mut lines = row.evidence.iter();
                let first = lines.next().map_or("", String::as_str);
                let _ = writeln!(text, "{:<width$}  {:<11}  {first}", label(row), row.stand.text());
                for line in lines {
                    let _ = writeln!(text, "{:<width$}  {:<11}  {line}", "", "");
                }
            }
            text.push('\n');
        }
        text
    }
}

/// Technique of the detector, or kind of finding, as what covers a row.
fn covers(findings: &[Finding], incidents: &Incidents, kinds: &[Kind], techniques: &[Technique]) -> Row {
    let mut row = Row {
        id: String::new(),
        name: String::new(),
        stand: Stand::Well,
        evidence: Vec::new(),
        covered_by: Vec::new(),
        findings: BTreeMap::new(),
        alerts: BTreeMap::new(),
    };
    row.covered_by.extend(kinds.iter().map(|kind| kind.name().to_owned()));
    row.covered_by.extend(techniques.iter().map(|technique| technique.name().to_owned()));
    for &kind in kinds {
        let of_kind: Vec<&Finding> = findings.iter().filter(|finding| finding.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        row.stand = Stand::Attention;
        row.findings.insert(kind.name().to_owned(), of_kind.len() as u64);
        let calls: u64 = of_kind.iter().map(|finding| finding.count).sum();
        row.evidence.push(format!("{}: {} found by {}", kind.name(), of_kind.len(), many(calls, "call")));
        row.evidence.extend(of_kind.iter().take(SHOWN).map(|finding| format!("  {}", finding.summary.escape_debug())));
        if of_kind.len() > SHOWN {
            row.evidence.push(format!("  and {} more", of_kind.len() - SHOWN));
        }
    }
    for technique in techniques {
        if let Some(count) = incidents.counts.get(technique) {
            row.stand = Stand::Attention;
            row.alerts.insert(technique.name().to_owned(), *count);
            row.evidence.push(format!("{}: {}", technique.name(), many(*count, "incident")));
        }
    }
    row
}

fn many(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// What of the detector's speaks to a piece of advice.
fn techniques_of(advice: Advice) -> Vec<Technique> {
    let of = |wanted: &[Technique]| wanted.to_vec();
    match advice {
        Advice::Authenticate => of(&[Technique::Unauthenticated, Technique::CredentialStuffing, Technique::Login]),
        Advice::EncryptAndSign => of(&[Technique::Cleartext, Technique::SecretInUrl]),
        Advice::TieTokens => of(&[Technique::TokenReuse]),
        Advice::Gateway => Vec::new(),
        Advice::Quotas => {
            Technique::ALL.iter().copied().filter(|technique| technique.owasp().contains(&"API4")).collect()
        }
        Advice::TrackLeaks => of(&[
            Technique::BulkRead,
            Technique::SlowRead,
            Technique::Beacon,
            Technique::NewExposure,
            Technique::Oversized,
        ]),
        Advice::Observe => {
            Technique::ALL.iter().copied().filter(|technique| technique.name().starts_with("recon.")).collect()
        }
    }
}

fn advice_row(
    advice: Advice,
    findings: &[Finding],
    incidents: &Incidents,
    traffic: &Tally,
    configured: Configured,
) -> Row {
    let kinds: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| kind.advice() == advice).collect();
    let mut row = covers(findings, incidents, &kinds, &techniques_of(advice));
    row.id = match serde_json::to_value(advice) {
        Ok(serde_json::Value::String(name)) => name,
        _ => advice.text().to_owned(),
    };
    row.name = advice.text().to_owned();
    let mut facts = Vec::new();
    let mut visible = traffic.calls > 0;
    match advice {
        Advice::Authenticate => {
            facts.push(format!("{} with a credential", share(traffic.authenticated, traffic.good, "good answer")));
            let kinds: Vec<_> = traffic.credentials.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
            facts.extend((!kinds.is_empty()).then(|| kinds.join(", ")));
            for key in &traffic.learned_keys {
                let (list, what) = match key.place {
                    CredentialPlace::Query => ("query_parameters", "parameter"),
                    CredentialPlace::Cookie => ("session_cookies", "cookie"),
                    CredentialPlace::Header => ("api_key_headers", "header"),
                };
                facts.push(format!(
                    "the {what} {} of {} carries keys, by its use in {}: name it in {list} of rules/credentials.toml",
                    key.name.escape_debug(),
                    key.service.escape_debug(),
                    many(key.calls, "call")
                ));
            }
            if traffic.authenticated == 0 {
                facts.push(
                    "no call with a credential of a kind that is known was answered well: what asks for none cannot be told".to_owned(),
                );
                visible = false;
            }
        }
        Advice::EncryptAndSign => {
            let all = traffic.calls;
            facts.push(format!("{} in TLS, {} signed", share(traffic.encrypted, all, "call"), traffic.signed));
            facts.push(format!(
                "{} keep what is in them",
                many(traffic.encrypted_connections, "connection in TLS record")
            ));
            if !configured.boundaries {
                facts.push("no way is marked as one to be encrypted: [practice] encrypted".to_owned());
            }
            let in_tls = traffic.encrypted + traffic.encrypted_connections > 0;
            if !in_tls {
                facts.push("nothing is in TLS: behind what ends it, nothing can be told of the way before".to_owned());
            }
            visible = in_tls || traffic.signed > 0 || (visible && configured.boundaries);
        }
        Advice::TieTokens => {
            facts.push(format!("{} with a subject", share(traffic.tokens_with_subject, traffic.tokens, "token")));
            facts.push(format!("{} expire", share(traffic.tokens_that_expire, traffic.tokens, "token")));
            if 2 * traffic.tokens_expired > traffic.tokens {
                let expired = share(traffic.tokens_expired, traffic.tokens, "token");
                facts.push(format!("{expired} had expired: the times of this capture may have been rewritten"));
            }
            facts.push(format!("{} to endpoints that give out tokens", many(traffic.token_requests, "call")));
            if traffic.tokens == 0 {
                facts.push("credentials of this traffic do not say whom they stand for".to_owned());
                visible = false;
            }
        }
        Advice::Gateway => {
            if configured.gateways {
                facts.push(format!("{} by the gateway", share(traffic.by_gateway, traffic.calls, "call")));
            } else {
                facts.push("no gateway is known: [gateway] addresses".to_owned());
                visible = false;
            }
        }
        Advice::Quotas => {
            facts.push(format!("{} tell a limit, {} are 429", many(traffic.limits_told, "answer"), traffic.limited));
            if !configured.quotas {
                facts.push("no quota is set: [[quota]]; apitap quotas suggest proposes some".to_owned());
            }
            visible &= configured.quotas || traffic.limits_told + traffic.limited > 0;
        }
        Advice::TrackLeaks => {
            let classes: Vec<_> = traffic.sensitive.iter().map(|(class, count)| format!("{class} {count}")).collect();
            facts.push(match classes.is_empty() {
                true => "no answer holds sensitive values".to_owned(),
                false => format!("answers with sensitive values: {}", classes.join(", ")),
            });
        }
        Advice::Observe => {
            let seen = traffic.calls - traffic.incomplete;
            facts.push(format!("{} seen whole", share(seen, traffic.calls, "call")));
        }
    }
    facts.append(&mut row.evidence);
    row.evidence = facts;
    if row.stand == Stand::Well && !visible {
        row.stand = Stand::NotVisible;
    }
    row
}

fn share(part: u64, all: u64, what: &str) -> String {
    match all {
        0 => format!("no {what}"),
        _ => format!("{part} of {} ({:.1} %)", many(all, what), 100.0 * part as f64 / all as f64),
    }
}

/// A risk, and what of it no sensor on the wire sees.
struct Risk {
    id: &'static str,
    name: &'static str,
    unseen: &'static str,
}

const OWASP: [Risk; 10] = [
    Risk {
        id: "API1",
        name: "Broken Object Level Authorization",
        unseen: "whose an object is stands in the service; what is seen is who asks for objects that peers do not",
    },
    Risk {
        id: "API2",
        name: "Broken Authentication",
        unseen: "how passwords and keys are kept and tokens verified stands in the service",
    },
    Risk {
        id: "API3",
        name: "Broken Object Property Level Authorization",
        unseen: "which fields a caller may have or set stands in the service",
    },
    Risk {
        id: "API4",
        name: "Unrestricted Resource Consumption",
        unseen: "what a call costs beyond its time and its bytes stands in the service",
    },
    Risk {
        id: "API5",
        name: "Broken Function Level Authorization",
        unseen: "which roles there are stands in the service; what is seen is what credentials say of themselves",
    },
    Risk {
        id: "API6",
        name: "Unrestricted Access to Sensitive Business Flows",
        unseen: "which flows hurt when they are automated is for the business to say",
    },
    Risk {
        id: "API7",
        name: "Server Side Request Forgery",
        unseen: "what a service fetches for a caller is seen where its outbound traffic is captured",
    },
    Risk {
        id: "API8",
        name: "Security Misconfiguration",
        unseen: "patches, permissions and settings that do not show in answers",
    },
    Risk {
        id: "API9",
        name: "Improper Inventory Management",
        unseen: "what is never called; apitap apis --spec tells what answers and is not specified",
    },
    Risk {
        id: "API10",
        name: "Unsafe Consumption of APIs",
        unseen: "whether what third parties answer is checked stands in the service",
    },
];

/// Why nothing of the traffic could have shown a risk.
fn unasked(risk: &Risk, traffic: &Tally, configured: Configured) -> Option<&'static str> {
    match risk.id {
        "API1" if traffic.parameterised == 0 => Some("no call names an object"),
        "API2" | "API5" if traffic.authenticated == 0 => Some(
            "no call with a credential of a kind that is known was answered well: what asks for none cannot be told",
        ),
        "API9" if !configured.gateways => Some(
            "what there should be is not known here: apitap apis --spec holds the traffic against a specification, \
             [gateway] addresses says which way it should take",
        ),
        "API3" if traffic.shaped == 0 => Some(
            "no body was looked into for its fields: none is of JSON or a form, or the calls were recorded without shapes",
        ),
        "API10" if traffic.outbound == 0 => Some("there is no call of the estate to a third party ([practice] estate)"),
        _ => None,
    }
}

fn risk_row(risk: &Risk, findings: &[Finding], incidents: &Incidents, traffic: &Tally, configured: Configured) -> Row {
    let kinds: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| kind.owasp().contains(&risk.id)).collect();
    let techniques: Vec<Technique> =
        Technique::ALL.iter().copied().filter(|technique| technique.owasp().contains(&risk.id)).collect();
    let mut row = covers(findings, incidents, &kinds, &techniques);
    row.id = format!("{}:2023", risk.id);
    row.name = risk.name.to_owned();
    if row.covered_by.is_empty() {
        row.stand = Stand::NotVisible;
        row.evidence.push(format!("nothing looks for it: {}", risk.unseen));
    } else if traffic.calls == 0 && row.stand == Stand::Well {
        row.stand = Stand::NotVisible;
        row.evidence.push("there is no call that can be read; give the keys of TLS with --keylog".to_owned());
    } else if let Some(reason) = unasked(risk, traffic, configured).filter(|_| row.stand == Stand::Well) {
        row.stand = Stand::NotVisible;
        row.evidence.push(reason.to_owned());
    } else if row.stand == Stand::Well {
        row.evidence.push(format!("nothing found by {}", row.covered_by.join(", ")));
        row.evidence.push(format!("not seen: {}", risk.unseen));
    }
    row
}
