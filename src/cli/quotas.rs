//! `apitap quotas suggest`: takes the calls of captures, and proposes limits at the end.

use std::io;

use clap::ValueEnum;

use super::consumers::standard_output;
use crate::alert::Alert;
use crate::call::Record;
use crate::detect::Detector;
use crate::pipeline::Consumer;
use crate::practice::Dimension;
use crate::practice::quota::suggest::{Suggesting, toml};
use crate::sink::Sink;
use crate::stats::Counters;
use crate::time::Timestamp;

/// By what uses are told apart, beside the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Per {
    /// The client's address.
    Client,
    /// The credential.
    Credential,
    /// Method and path template.
    Endpoint,
}

impl Per {
    pub(super) fn dimension(self) -> Dimension {
        match self {
            Per::Client => Dimension::Client,
            Per::Credential => Dimension::Credential,
            Per::Endpoint => Dimension::Endpoint,
        }
    }
}

/// A share above 0 and up to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if share > 0.0 && share <= 1.0 { Ok(share) } else { Err("above 0 and up to 1".to_owned()) }
}

/// A factor from 1 to 1000.
pub(super) fn factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (1.0..=1000.0).contains(&factor) { Ok(factor) } else { Err("from 1 to 1000".to_owned()) }
}

/// Takes calls; at the end prints what is proposed.
pub(super) struct Proposing {
    detector: Detector,
    suggesting: Suggesting,
    alerts: Vec<Alert>,
    json: bool,
}

impl Proposing {
    pub(super) fn new(detector: Detector, suggesting: Suggesting, json: bool) -> Proposing {
        Proposing { detector, suggesting, alerts: Vec::new(), json }
    }

    pub(super) fn counters(&self) -> Counters {
        let mut counters = self.detector.counters();
        counters.merge(self.suggesting.counters());
        counters
    }

    /// Takes one record.
    pub(super) fn record(&mut self, record: &Record) {
        let Proposing { detector, suggesting, alerts, .. } = self;
        match record {
            Record::Call(call) => detector.judge_call(call, alerts, |call, judged| suggesting.take(call, judged)),
            Record::Connection(connection) => detector.connection(connection, alerts),
        }
        alerts.clear();
    }
}

impl Consumer for Proposing {
    fn records(&mut self, records: &mut Vec<Record>, _watermark: Timestamp) -> io::Result<()> {
        records.iter().for_each(|record| self.record(record));
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let all = self.suggesting.suggestions(&self.detector);
        let mut lines = standard_output();
        if self.json {
            all.iter().try_for_each(|one| lines.line(one))?;
        } else if !all.is_empty() {
            lines.line_of(|line| {
                line.extend_from_slice(toml(&all).trim_end().as_bytes());
                Ok(())
            })?;
        }
        lines.flush()
    }
}
