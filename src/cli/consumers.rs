//! What takes the records: a printer, or the detector with its alerts.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Stdout, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::reload::{Change, Slot};

use crate::alert::Alert;
use crate::call::Record;
use crate::checkpoint::Keeper;
use crate::detect::{BudgetReport, Detector};
use crate::metrics::{DetectorView, Loss, Publisher};
use crate::pipeline::Consumer;
use crate::practice::Practice;
use crate::practice::finding::Finding;
use crate::practice::posture::{Incidents, Posture};
use crate::records::RecordPrinter;
use crate::sink::{JsonLines, Outlets, Sink};
use crate::stats::Counter;
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

/// How long a sink that is no longer wanted may go on before its place is taken.
const CHANGE: Duration = Duration::from_millis(500);

/// What is needed only while it listens to an interface.
struct Live {
    publisher: Publisher,
    slot: Arc<Slot>,
    loss: Loss,
    /// Time that the detector took.
    busy: Duration,
}

/// Detects, and hands the alerts to the sinks.
pub(super) struct Detecting {
    detector: Detector,
    outlets: Outlets,
    lines: JsonLines<BufWriter<Stdout>>,
    alerts: Vec<Alert>,
    live: Option<Live>,
    /// Alerts raised by kind.
    pub(super) kinds: BTreeMap<String, u64>,
    /// What is not as it should be, where that was asked for.
    practice: Option<Practice>,
    findings: Vec<Finding>,
}

impl Detecting {
    pub(super) fn new(detector: Detector, outlets: Outlets) -> Detecting {
        Detecting {
            detector,
            outlets,
            lines: standard_output(),
            alerts: Vec::new(),
            live: None,
            kinds: BTreeMap::new(),
        }
    }

    /// The same while it is looked into, may be given another configuration, and may lose a share of the packets.
    pub(super) fn live(mut self, publisher: Publisher, slot: Arc<Slot>, share: f64) -> Detecting {
        publisher.board().watch_sinks(self.outlets.monitor());
        self.live = Some(Live { publisher, slot, loss: Loss::new(share), busy: Duration::ZERO });
        self
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

    /// Where the alerts go.
    pub(super) fn outlets(self) -> Outlets {
        self.outlets
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
            self.outlets.write(&alert, |line| self.lines.line_of(|bytes| bytes.write_all(line)))?;
        }
        for finding in self.findings.drain(..) {
            self.lines.line(&finding)?;
        }
        // An alert is rare and somebody waits for it.
        self.lines.flush()
    }
}

impl Detecting {
    /// Takes another configuration: the sinks first, since they alone may refuse it.
    fn change(&mut self, change: Change) {
        let Change { settings, rules, proxies, changed } = change;
        if changed.iter().any(|key| key == "sink")
            && let Err(reason) = self.outlets.reload(&settings.sink, CHANGE)
        {
            return tracing::error!("the configuration stays as it was: {reason}");
        }
        self.detector.reload(&settings.detect, rules, move |call| proxies.known(call));
        tracing::info!("configuration reloaded: {}", changed.join(", "));
    }

    /// Tells the board how things stand, once a second.
    fn tell(&mut self, since: Instant, watermark: Timestamp) {
        let Some(live) = &mut self.live else { return };
        live.busy += since.elapsed();
        if !live.publisher.is_due() {
            return;
        }
        live.publisher.publish(self.detector.counters());
        live.publisher.board().tell(DetectorView {
            kinds: self.kinds.clone(),
            seconds: live.busy.as_secs_f64(),
            now: watermark,
            budget: Some(self.detector.budget()),
            tables: self.detector.tables(),
        });
        let counters = live.publisher.board().view().counters;
        let lost = [Counter::KernelDrops, Counter::InterfaceDrops, Counter::SegmentsDropped];
        let lost = lost.map(|counter| counters.value(counter)).iter().sum();
        self.alerts.extend(live.loss.observe(watermark, counters.value(Counter::Frames), lost));
    }
}

impl Consumer for Detecting {
    fn records(&mut self, records: &mut Vec<Record>, watermark: Timestamp) -> io::Result<()> {
        let since = match &self.live {
            Some(live) => {
                if let Some(change) = live.slot.take() {
                    self.change(*change);
                }
                Some(Instant::now())
            }
            None => None,
        };
        self.detector.records(records, &mut self.alerts);
        self.detector.tick(watermark, &mut self.alerts);
        if let Some(since) = since {
            self.tell(since, watermark);
        }
        self.print()
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
