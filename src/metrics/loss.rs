//! A sensor that loses packets does not see what happens: beyond a share of them that is an alert of its own.

use std::time::Duration;

use crate::alert::{Alert, Confidence, Feature, Progress, SCHEMA, Scope, Severity, Technique, alert_id, incident_id};
use crate::call::FlowId;
use crate::time::Timestamp;

/// Traffic time over which a share is taken.
const WINDOW: Duration = Duration::from_secs(60);

/// Packets, lost ones included, of which a share says something.
const ENOUGH: u64 = 1_000;

/// Time without such a loss after which the incident closes.
const QUIET: Duration = Duration::from_secs(3_600);

/// Watches what was lost. It knows counts and the traffic's time only: the same counts at the same times give the same
/// alerts.
#[derive(Clone, Debug)]
pub struct Loss {
    share: f64,
    /// When the window began, and what had been counted then: packets read, and lost.
    begin: Option<(Timestamp, u64, u64)>,
    open: Option<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    incident: String,
    revision: u32,
    first: Timestamp,
    last: Timestamp,
    findings: u64,
    /// The worst share so far, and that which was last told.
    worst: f64,
    told: f64,
}

impl Loss {
    /// With the share of packets that may be lost, from 0 to 1; 0 never says anything.
    pub fn new(share: f64) -> Loss {
        Loss { share, begin: None, open: None }
    }

    /// At a moment of the traffic so many packets were read and so many were lost, all in all.
    pub fn observe(&mut self, now: Timestamp, read: u64, lost: u64) -> Option<Alert> {
        if self.share.is_nan() || self.share <= 0.0 {
            return None;
        }
        let (begin, read_before, lost_before) = *self.begin.get_or_insert((now, read, lost));
        if now.since(begin) < WINDOW {
            return None;
        }
        self.begin = Some((now, read, lost));
        let lost = lost.saturating_sub(lost_before);
        let all = read.saturating_sub(read_before) + lost;
        let share = lost as f64 / all.max(1) as f64;
        if all >= ENOUGH && share > self.share {
            return self.found(begin, now, lost, all, share);
        }
        let closes = self.open.as_ref().is_some_and(|open| now.since(open.last) >= QUIET);
        let mut open = self.open.take_if(|_| closes)?;
        open.revision += 1;
        let summary = "The sensor has lost no more packets than it may for an hour.".to_owned();
        Some(self.alert(&open, Progress::Close, open.last + QUIET, summary))
    }

    /// More was lost than may be: told at first, and when it is ten times as bad as it was told.
    fn found(&mut self, begin: Timestamp, now: Timestamp, lost: u64, all: u64, share: f64) -> Option<Alert> {
        let summary = format!(
            "The sensor lost {:.1} % of the packets of the last {} seconds ({lost} of {all}): what happened in them it did not see.",
            share * 100.0,
            now.since(begin).as_secs()
        );
        let state = match &mut self.open {
            Some(open) => {
                open.last = now;
                open.findings += 1;
                open.worst = open.worst.max(share);
                if share < open.told * 10.0 {
                    return None;
                }
                open.revision += 1;
                open.told = share;
                Progress::Update
            }
            empty => {
                let incident = incident_id(Technique::Loss, "sensor", begin, FlowId(0), 0);
                *empty = Some(Open {
                    incident,
                    revision: 0,
                    first: begin,
                    last: now,
                    findings: 1,
                    worst: share,
                    told: share,
                });
                Progress::Open
            }
        };
        let open = self.open.as_ref()?;
        Some(self.alert(open, state, now, summary))
    }

    fn alert(&self, open: &Open, state: Progress, ts: Timestamp, summary: String) -> Alert {
        let feature = Feature {
            feature: "share of packets lost".into(),
            observed: open.worst,
            expected: self.share,
            window: Some(WINDOW.as_secs()),
            evidence_decades: 0.0,
        };
        Alert {
            ts,
            id: alert_id(&open.incident, open.revision),
            schema: SCHEMA.into(),
            incident: open.incident.clone(),
            state,
            revision: open.revision,
            kind: Technique::Loss,
            techniques: vec![Technique::Loss],
            owasp: Vec::new(),
            attack: Vec::new(),
            severity: Severity::Medium,
            confidence: Confidence::High,
            scope: Scope::Sensor,
            client: None,
            clients: Vec::new(),
            endpoint: None,
            host: None,
            summary,
            features: vec![feature],
            evidence_decades: 0.0,
            threshold_decades: 0.0,
            findings: open.findings,
            incomplete_share: None,
            first: open.first,
            last: open.last,
            evidence: Vec::new(),
            capture: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(count: u64) -> Timestamp {
        Timestamp::from_parts(1_772_460_000 + 60 * count, 0)
    }

    #[test]
    fn a_loss_opens_grows_and_closes() {
        let mut loss = Loss::new(0.01);
        let (mut read, mut lost) = (0, 0);
        let mut told = Vec::new();
        for minute in 0..200 {
            read += 10_000;
            lost += match minute {
                10..20 => 200,
                20 => 5_000,
                60 => 50, // half a percent
                _ => 0,
            };
            told.extend(loss.observe(minutes(minute), read, lost));
        }
        let story: Vec<_> = told.iter().map(|alert| (alert.state, alert.revision, alert.ts)).collect();
        let expected =
            [(Progress::Open, 0, minutes(10)), (Progress::Update, 1, minutes(20)), (Progress::Close, 2, minutes(80))];
        assert_eq!(story, expected);
        assert!(told.iter().all(|alert| alert.incident == told[0].incident && alert.scope == Scope::Sensor));
        assert!(told[0].summary.contains("2.0 %") && told[0].summary.contains("200 of 10200"), "{}", told[0].summary);
        let schema = serde_json::from_str(include_str!("../../schemas/alert.json")).expect("JSON");
        for alert in &told {
            assert!(jsonschema::is_valid(&schema, &serde_json::to_value(alert).expect("plain data")));
        }
    }

    #[test]
    fn little_traffic_and_a_share_of_nothing_say_nothing() {
        let mut loss = Loss::new(0.01);
        assert!((0..9).all(|minute| loss.observe(minutes(minute), minute, minute * 900).is_none()));
        let mut off = Loss::new(0.0);
        assert!((0..9).all(|minute| off.observe(minutes(minute), minute, minute * 90_000).is_none()));
    }
}
