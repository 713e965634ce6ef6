//! What takes the records: a printer, or the detector with its alerts.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Stdout};

use crate::alert::Alert;
use crate::call::Record;
use crate::checkpoint::Keeper;
use crate::detect::{BudgetReport, Detector};
use crate::pipeline::Consumer;
use crate::practice::Practice;
use crate::practice::finding::Finding;
use crate::practice::posture::{Incidents, Posture};
use crate::records::RecordPrinter;
use crate::sink::{JsonLines, Sink};
use crate::stats::Counters;
use crate::time::Timestamp;

/// JSON lines on standard output.
pub(super) fn standard_output() -> JsonLines<BufWriter<Stdout>> {
    JsonLines::new(BufWriter::with_capacity(256 << 10, io::stdout()))
}

/// Prints the records.
pub(super) struct Printer {
    lines: JsonLines<BufWriter<Stdout>>,
    print: RecordPrinter,
    live: bool,
}

impl Printer {
    /// `live`: show each record as soon as it is there.
    pub(super) fn new(live: bool) -> Printer {
        Printer { lines: standard_output(), print: RecordPrinter::default(), live }
    }
}

impl Consumer for Printer {
    fn records(&mut self, records: &mut Vec<Record>, _watermark: Timestamp) -> io::Result<()> {
        for record in records.iter() {
            self.lines.line_of(|line| self.print.print(record, line))?;
        }
        if self.live { self.lines.flush() } else { Ok(()) }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.lines.flush()
    }
}

/// Detects, and prints the alerts.
pub(super) struct Detecting {
    detector: Detector,
    lines: JsonLines<BufWriter<Stdout>>,
    alerts: Vec<Alert>,
    keeper: Option<Keeper>,
    /// What kept the last checkpoint from being written.
    pub(super) unkept: Option<io::Error>,
    /// Alerts printed by kind.
    pub(super) kinds: BTreeMap<String, u64>,
    /// What is not as it should be, where that was asked for.
    practice: Option<Practice>,
    findings: Vec<Finding>,
}

impl Detecting {
    pub(super) fn new(detector: Detector) -> Detecting {
        Detecting {
            detector,
            lines: standard_output(),
            alerts: Vec::new(),
            kinds: BTreeMap::new(),
            practice: None,
            findings: Vec::new(),
        }
    }

    /// The same with findings among the alerts.
    pub(super) fn with(self, practice: Option<Practice>) -> Detecting {
        Detecting { practice, ..self }
    }

    pub(super) fn counters(&self) -> Counters {
        let mut counters = self.detector.counters().clone();
        if let Some(practice) = &self.practice {
            counters.merge(practice.counters());
        }
        counters
    }

    /// What the tests cost of the budget of false alarms.
    pub(super) fn budget(&self) -> BudgetReport {
        self.detector.budget()
    }

    /// Takes one record.
    pub(super) fn record(&mut self, record: &Record) -> io::Result<()> {
        match &mut self.practice {
            Some(practice) => take(record, &mut self.detector, practice, &mut self.alerts, &mut self.findings),
            None => self.detector.record(record, &mut self.alerts),
        }
        if self.alerts.is_empty() && self.findings.is_empty() { Ok(()) } else { self.print() }
    }

    fn print(&mut self) -> io::Result<()> {
        for alert in self.alerts.drain(..) {
            *self.kinds.entry(alert.kind.name().to_owned()).or_default() += 1;
            self.lines.write(&alert)?;
        }
        for finding in self.findings.drain(..) {
            self.lines.line(&finding)?;
        }
        // An alert is rare and somebody waits for it.
        self.lines.flush()
    }
}

impl Consumer for Detecting {
    fn records(&mut self, records: &mut Vec<Record>, watermark: Timestamp) -> io::Result<()> {
        if self.practice.is_some() {
            records.iter().try_for_each(|record| self.record(record))?;
        } else {
            self.detector.records(records, &mut self.alerts);
        }
        self.detector.tick(watermark, &mut self.alerts);
        self.print()?;
        self.keep(records.last());
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.detector.finish(&mut self.alerts);
        if let Some(practice) = &mut self.practice {
            self.findings.append(&mut practice.finish(&mut self.detector));
        }
        self.print()
    }
}

/// Shows a record to the detector, and what it made of it to the practices.
fn take(
    record: &Record,
    detector: &mut Detector,
    practice: &mut Practice,
    alerts: &mut Vec<Alert>,
    findings: &mut Vec<Finding>,
) {
    match record {
        Record::Call(call) => detector.judge_call(call, alerts, |call, judged| practice.take(call, judged, findings)),
        Record::Connection(connection) => {
            detector.connection(connection, alerts);
            practice.connection(connection, findings);
        }
    }
}

/// Detects and finds, and tells the posture at the end.
pub(super) struct Posing {
    detector: Detector,
    practice: Practice,
    incidents: Incidents,
    alerts: Vec<Alert>,
    findings: Vec<Finding>,
    json: bool,
    /// What it came to.
    posture: Option<Posture>,
}

impl Posing {
    pub(super) fn new(detector: Detector, practice: Practice, json: bool) -> Posing {
        Posing {
            detector,
            practice,
            incidents: Incidents::default(),
            alerts: Vec::new(),
            findings: Vec::new(),
            json,
            posture: None,
        }
    }

    pub(super) fn counters(&self) -> Counters {
        let mut counters = self.detector.counters().clone();
        counters.merge(self.practice.counters());
        counters
    }

    /// Whether something is to be put right.
    pub(super) fn found(&self) -> bool {
        self.posture.as_ref().is_some_and(Posture::calls_for_attention)
    }

    /// Takes one record.
    pub(super) fn record(&mut self, record: &Record) {
        take(record, &mut self.detector, &mut self.practice, &mut self.alerts, &mut self.findings);
        self.alerts.drain(..).for_each(|alert| self.incidents.note(&alert));
        self.findings.clear();
    }
}

impl Consumer for Posing {
    fn records(&mut self, records: &mut Vec<Record>, _watermark: Timestamp) -> io::Result<()> {
        records.iter().for_each(|record| self.record(record));
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let posture = self.practice.posture(&mut self.detector, &self.incidents);
        let mut lines = standard_output();
        if self.json {
            lines.line(&posture)?;
        } else {
            lines.line_of(|line| {
                line.extend_from_slice(posture.text().trim_end().as_bytes());
                Ok(())
            })?;
        }
        self.posture = Some(posture);
        lines.flush()
    }
}
