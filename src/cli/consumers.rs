//! What takes the records: a printer, or the detector with its alerts.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Stdout, Write};

use clap::ValueEnum;

use crate::alert::Alert;
use crate::call::Record;
use crate::checkpoint::Keeper;
use crate::detect::{BudgetReport, Detector};
use crate::endpoint::HashKey;
use crate::export::har;
use crate::export::selection::Selector;
use crate::inventory::events::Event;
use crate::inventory::report::Endpoint;
use crate::inventory::{Inventory, Settings};
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

impl Engine {
    fn detector(&self) -> &Detector {
        match self {
            Engine::Plain(detector) => detector,
            Engine::Watching(inventory) => inventory.detector(),
        }
    }
}

/// Detects, and prints the alerts, and what is new where that is asked for.
pub(super) struct Detecting {
    engine: Engine,
    lines: JsonLines<BufWriter<Stdout>>,
    alerts: Vec<Alert>,
    events: Vec<Event>,
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
            engine: Engine::Plain(detector),
            lines: standard_output(),
            alerts: Vec::new(),
            events: Vec::new(),
            keeper,
            unkept: None,
            kinds: BTreeMap::new(),
        }
    }

    /// Tells what is new as well, but for what is in `baseline`.
    pub(super) fn watching(self, settings: &Settings, key: HashKey, baseline: Option<&[Endpoint]>) -> Detecting {
        let engine = match self.engine {
            Engine::Plain(detector) => {
                let mut inventory = Inventory::new(settings, detector, key);
                inventory.watch(settings, baseline);
                Engine::Watching(inventory)
            }
            watching => watching,
        };
        Detecting { engine, ..self }
    }

    /// What the detector and the keeper counted, and what the inventory did.
    pub(super) fn counters(&self) -> Counters {
        let mut counters = match &self.engine {
            Engine::Plain(detector) => detector.counters().clone(),
            Engine::Watching(inventory) => inventory.all_counters(),
        };
        if let Some(keeper) = &self.keeper {
            counters.merge(keeper.counters());
        }
        counters
    }

    /// What the tests cost of the budget of false alarms.
    pub(super) fn budget(&self) -> BudgetReport {
        self.detector().budget()
    }

    fn detector(&self) -> &Detector {
        self.engine.detector()
    }

    /// Takes one record.
    pub(super) fn record(&mut self, record: &Record) -> io::Result<()> {
        if self.keeper.as_mut().is_some_and(|keeper| !keeper.is_new(record)) {
            return Ok(());
        }
        self.take(record)?;
        self.keep(Some(record));
        Ok(())
    }

    /// Takes one record, and prints what comes of it.
    fn take(&mut self, record: &Record) -> io::Result<()> {
        match &mut self.engine {
            Engine::Plain(detector) => detector.record(record, &mut self.alerts),
            Engine::Watching(inventory) => inventory.watched(record, &mut self.events, &mut self.alerts),
        }
        if self.alerts.is_empty() && self.events.is_empty() { Ok(()) } else { self.print() }
    }

    /// All up to `last` is taken and told.
    fn keep(&mut self, last: Option<&Record>) {
        let detector = self.engine.detector();
        if let Some(keeper) = &mut self.keeper
            && let Some(note) = keeper.taken(last, detector)
        {
            eprintln!("apitap: {note}");
        }
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
        if let Some(keeper) = &mut self.keeper {
            records.retain(|record| keeper.is_new(record));
        }
        match &mut self.engine {
            Engine::Plain(detector) => {
                detector.records(records, &mut self.alerts);
                detector.tick(watermark, &mut self.alerts);
            }
            // What is new is due by the records: each is taken by itself, so that batches make no difference.
            Engine::Watching(_) => records.iter().try_for_each(|record| self.take(record))?,
        }
        self.print()?;
        self.keep(records.last());
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        match &mut self.engine {
            Engine::Plain(detector) => detector.finish(&mut self.alerts),
            Engine::Watching(inventory) => inventory.finish(&mut self.events),
        }
        self.print()?;
        let detector = self.engine.detector();
        self.unkept = self.keeper.as_mut().and_then(|keeper| keeper.finish(detector).err());
        Ok(())
    }
}
