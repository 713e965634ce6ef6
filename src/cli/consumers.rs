//! What takes the records: a printer, or the detector with its alerts.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Stdout};

use crate::alert::Alert;
use crate::call::Record;
use crate::checkpoint::Keeper;
use crate::detect::{BudgetReport, Detector};
use crate::pipeline::Consumer;
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
}

impl Detecting {
    /// `keeper`: keeps what the detector learns.
    pub(super) fn new(detector: Detector, keeper: Option<Keeper>) -> Detecting {
        Detecting {
            detector,
            lines: standard_output(),
            alerts: Vec::new(),
            keeper,
            unkept: None,
            kinds: BTreeMap::new(),
        }
    }

    /// What the detector and the keeper counted.
    pub(super) fn counters(&self) -> Counters {
        let mut counters = self.detector.counters().clone();
        if let Some(keeper) = &self.keeper {
            counters.merge(keeper.counters());
        }
        counters
    }

    /// What the tests cost of the budget of false alarms.
    pub(super) fn budget(&self) -> BudgetReport {
        self.detector.budget()
    }

    /// Takes one record.
    pub(super) fn record(&mut self, record: &Record) -> io::Result<()> {
        if self.keeper.as_mut().is_some_and(|keeper| !keeper.is_new(record)) {
            return Ok(());
        }
        self.detector.record(record, &mut self.alerts);
        if !self.alerts.is_empty() {
            self.print()?;
        }
        self.keep(Some(record));
        Ok(())
    }

    /// All up to `last` is taken and told.
    fn keep(&mut self, last: Option<&Record>) {
        if let Some(keeper) = &mut self.keeper
            && let Some(note) = keeper.taken(last, &self.detector)
        {
            eprintln!("apitap: {note}");
        }
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
    fn records(&mut self, records: &mut Vec<Record>, watermark: Timestamp) -> io::Result<()> {
        if let Some(keeper) = &mut self.keeper {
            records.retain(|record| keeper.is_new(record));
        }
        self.detector.records(records, &mut self.alerts);
        self.detector.tick(watermark, &mut self.alerts);
        self.print()?;
        self.keep(records.last());
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.detector.finish(&mut self.alerts);
        self.print()?;
        self.unkept = self.keeper.as_mut().and_then(|keeper| keeper.finish(&self.detector).err());
        Ok(())
    }
}
