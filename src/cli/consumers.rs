//! What takes the records: a printer, or the detector with its alerts.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Stdout, Write};

use clap::ValueEnum;

use crate::alert::Alert;
use crate::call::Record;
use crate::detect::{BudgetReport, Detector};
use crate::export::har;
use crate::export::selection::Selector;
use crate::inventory::Inventory;
use crate::inventory::events::Event;
use crate::pipeline::Consumer;
use crate::records::RecordPrinter;
use crate::sink::{JsonLines, Sink};
use crate::stats::Counters;
use crate::time::Timestamp;

/// JSON lines on standard output.
pub(super) fn standard_output() -> JsonLines<BufWriter<Stdout>> {
    JsonLines::new(BufWriter::with_capacity(256 << 10, io::stdout()))
}

/// How calls are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CallFormat {
    /// A JSON object a line.
    #[default]
    Json,
    /// One HAR 1.2 archive.
    Har,
}

/// Prints the records.
pub(super) struct Printer {
    lines: JsonLines<BufWriter<Stdout>>,
    print: RecordPrinter,
    live: bool,
    selector: Option<Selector>,
    archive: Option<Archive>,
}

/// A HAR archive that is being written.
struct Archive {
    out: BufWriter<Stdout>,
    any: bool,
}

impl Printer {
    /// `live`: show each record as soon as it is there.
    pub(super) fn new(live: bool) -> Printer {
        let print = RecordPrinter::default();
        Printer { lines: standard_output(), print, live, selector: None, archive: None }
    }

    /// Of these only.
    pub(super) fn selecting(self, selector: Selector) -> Printer {
        Printer { selector: Some(selector), ..self }
    }

    /// In this form.
    pub(super) fn written(mut self, format: CallFormat) -> io::Result<Printer> {
        if format == CallFormat::Har {
            let mut out = BufWriter::with_capacity(256 << 10, io::stdout());
            out.write_all(har::begin().as_bytes())?;
            self.archive = Some(Archive { out, any: false });
        }
        Ok(self)
    }

    /// Prints one record, if it is selected.
    pub(super) fn record(&mut self, record: &Record) -> io::Result<()> {
        if self.selector.as_mut().is_some_and(|selector| !selector.takes(record)) {
            return Ok(());
        }
        let Some(archive) = &mut self.archive else {
            return self.lines.line_of(|line| self.print.print(record, line));
        };
        // An archive holds calls.
        let Some(entry) = record.call().and_then(har::entry) else { return Ok(()) };
        archive.out.write_all(if archive.any { b",\n" } else { b"\n" })?;
        archive.any = true;
        Ok(serde_json::to_writer(&mut archive.out, &entry)?)
    }
}

impl Consumer for Printer {
    fn records(&mut self, records: &mut Vec<Record>, _watermark: Timestamp) -> io::Result<()> {
        records.iter().try_for_each(|record| self.record(record))?;
        if self.live { self.lines.flush() } else { Ok(()) }
    }

    fn finish(&mut self) -> io::Result<()> {
        if let Some(archive) = &mut self.archive {
            archive.out.write_all(har::END.as_bytes())?;
            return archive.out.flush();
        }
        self.lines.flush()
    }
}

/// Who detects.
#[allow(clippy::large_enum_variant, reason = "there is one")]
enum Engine {
    Plain(Detector),
    /// With what is new.
    Watching(Inventory),
}

/// Detects, and prints the alerts, and what is new where that is asked for.
pub(super) struct Detecting {
    engine: Engine,
    lines: JsonLines<BufWriter<Stdout>>,
    alerts: Vec<Alert>,
    events: Vec<Event>,
    /// Alerts printed by kind.
    pub(super) kinds: BTreeMap<String, u64>,
}

impl Detecting {
    pub(super) fn new(detector: Detector) -> Detecting {
        Detecting::with(Engine::Plain(detector))
    }

    /// Tells what is new as well.
    pub(super) fn watching(inventory: Inventory) -> Detecting {
        Detecting::with(Engine::Watching(inventory))
    }

    fn with(engine: Engine) -> Detecting {
        Detecting { engine, lines: standard_output(), alerts: Vec::new(), events: Vec::new(), kinds: BTreeMap::new() }
    }

    pub(super) fn counters(&self) -> Counters {
        match &self.engine {
            Engine::Plain(detector) => detector.counters().clone(),
            Engine::Watching(inventory) => inventory.all_counters(),
        }
    }

    /// What the tests cost of the budget of false alarms.
    pub(super) fn budget(&self) -> BudgetReport {
        self.detector().budget()
    }

    fn detector(&self) -> &Detector {
        match &self.engine {
            Engine::Plain(detector) => detector,
            Engine::Watching(inventory) => inventory.detector(),
        }
    }

    /// Takes one record.
    pub(super) fn record(&mut self, record: &Record) -> io::Result<()> {
        match &mut self.engine {
            Engine::Plain(detector) => detector.record(record, &mut self.alerts),
            Engine::Watching(inventory) => inventory.watched(record, &mut self.events, &mut self.alerts),
        }
        if self.alerts.is_empty() && self.events.is_empty() { Ok(()) } else { self.print() }
    }

    /// What is new was so before the record that raised the alerts.
    fn print(&mut self) -> io::Result<()> {
        for event in self.events.drain(..) {
            self.lines.line(&event)?;
        }
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
        match &mut self.engine {
            Engine::Plain(detector) => {
                detector.records(records, &mut self.alerts);
                detector.tick(watermark, &mut self.alerts);
            }
            // What is new is due by the records: each is taken by itself, so that batches make no difference.
            Engine::Watching(_) => records.iter().try_for_each(|record| self.record(record))?,
        }
        self.print()
    }

    fn finish(&mut self) -> io::Result<()> {
        match &mut self.engine {
            Engine::Plain(detector) => detector.finish(&mut self.alerts),
            Engine::Watching(inventory) => inventory.finish(&mut self.events),
        }
        self.print()
    }
}
