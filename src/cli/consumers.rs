//! What takes the calls: a printer, or the detector with its alerts.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Stdout};

use crate::alert::Alert;
use crate::call::Call;
use crate::detect::{BudgetReport, Detector};
use crate::pipeline::Consumer;
use crate::records::CallPrinter;
use crate::sink::{JsonLines, Sink};
use crate::time::Timestamp;

/// JSON lines on standard output.
pub(super) fn standard_output() -> JsonLines<BufWriter<Stdout>> {
    JsonLines::new(BufWriter::with_capacity(256 << 10, io::stdout()))
}

/// Prints the calls.
pub(super) struct Printer {
    lines: JsonLines<BufWriter<Stdout>>,
    print: CallPrinter,
    live: bool,
}

impl Printer {
    /// `live`: show each call as soon as it is there.
    pub(super) fn new(live: bool) -> Printer {
        Printer { lines: standard_output(), print: CallPrinter::default(), live }
    }
}

impl Consumer for Printer {
    fn calls(&mut self, calls: &mut Vec<Box<Call>>, _watermark: Timestamp) -> io::Result<()> {
        for call in calls.iter() {
            self.lines.line_of(|line| self.print.print(call, line))?;
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
    /// Alerts printed by kind.
    pub(super) kinds: BTreeMap<String, u64>,
}

impl Detecting {
    pub(super) fn new(detector: Detector) -> Detecting {
        Detecting { detector, lines: standard_output(), alerts: Vec::new(), kinds: BTreeMap::new() }
    }

    pub(super) fn counters(&self) -> &crate::stats::Counters {
        self.detector.counters()
    }

    /// What the tests cost of the budget of false alarms.
    pub(super) fn budget(&self) -> BudgetReport {
        self.detector.budget()
    }

    /// Takes one call.
    pub(super) fn call(&mut self, call: &Call) -> io::Result<()> {
        self.detector.call(call, &mut self.alerts);
        if self.alerts.is_empty() { Ok(()) } else { self.print() }
    }

    fn print(&mut self) -> io::Result<()> {
        for alert in self.alerts.drain(..) {
            *self.kinds.entry(alert.kind.name().to_owned()).or_default() += 1;
            self.lines.write(&alert)?;
        }
        // An alert is rare and somebody waits for it.
        self.lines.flush()
    }
}

impl Consumer for Detecting {
    fn calls(&mut self, calls: &mut Vec<Box<Call>>, watermark: Timestamp) -> io::Result<()> {
        self.detector.calls(calls, &mut self.alerts);
        self.detector.tick(watermark, &mut self.alerts);
        self.print()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.detector.finish(&mut self.alerts);
        self.print()
    }
}
