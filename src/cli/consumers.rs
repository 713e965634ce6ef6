//! What takes the records: a printer, or the detector with its alerts.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Stdout, Write};

use crate::alert::Alert;
use crate::call::Record;
use crate::detect::{BudgetReport, Detector};
use crate::pipeline::Consumer;
use crate::records::RecordPrinter;
use crate::sink::{JsonLines, Outlets, Sink};
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

/// Detects, and hands the alerts to the sinks.
pub(super) struct Detecting {
    detector: Detector,
    outlets: Outlets,
    lines: JsonLines<BufWriter<Stdout>>,
    alerts: Vec<Alert>,
    /// Alerts raised by kind.
    pub(super) kinds: BTreeMap<String, u64>,
}

impl Detecting {
    pub(super) fn new(detector: Detector, outlets: Outlets) -> Detecting {
        Detecting { detector, outlets, lines: standard_output(), alerts: Vec::new(), kinds: BTreeMap::new() }
    }

    pub(super) fn counters(&self) -> &crate::stats::Counters {
        self.detector.counters()
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
        self.detector.record(record, &mut self.alerts);
        if self.alerts.is_empty() { Ok(()) } else { self.print() }
    }

    fn print(&mut self) -> io::Result<()> {
        for alert in self.alerts.drain(..) {
            *self.kinds.entry(alert.kind.name().to_owned()).or_default() += 1;
            self.outlets.write(&alert, |line| self.lines.line_of(|bytes| bytes.write_all(line)))?;
        }
        // An alert is rare and somebody waits for it.
        self.lines.flush()
    }
}

impl Consumer for Detecting {
    fn records(&mut self, records: &mut Vec<Record>, watermark: Timestamp) -> io::Result<()> {
        self.detector.records(records, &mut self.alerts);
        self.detector.tick(watermark, &mut self.alerts);
        self.print()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.detector.finish(&mut self.alerts);
        self.print()
    }
}
