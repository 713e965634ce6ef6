//! What takes the records: a printer, or the detector with its alerts.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Stdout, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::notify;
use super::reload::{Change, Slot};
use crate::alert::Alert;
use crate::call::Record;
use crate::checkpoint::{Keeper, Learned};
use crate::detect::{BudgetReport, Detector};
use crate::evidence::Witness;
use crate::export::har;
use crate::export::selection::Selector;
use crate::inventory::Inventory;
use crate::inventory::events::Event;
use crate::metrics::{DetectorView, Lookout, Loss, Publisher};
use crate::pipeline::Consumer;
use crate::practice::Practice;
use crate::practice::finding::Finding;
use crate::practice::posture::{Incidents, Posture};
use crate::records::RecordPrinter;
use crate::sink::{JsonLines, Outlets, Sink, Told};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// JSON lines on standard output.
pub(super) fn standard_output() -> JsonLines<Stdout> {
    JsonLines::gathering(io::stdout(), 256 << 10)
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
    lines: JsonLines<Stdout>,
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

/// How long a sink that is no longer wanted may go on before its place is taken.
const CHANGE: Duration = Duration::from_millis(500);

/// What is needed only while it listens to an interface.
struct Live {
    publisher: Publisher,
    slot: Arc<Slot>,
    loss: Loss,
    lookout: Lookout,
    /// Time that the detector took.
    busy: Duration,
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

    fn detector_mut(&mut self) -> &mut Detector {
        match self {
            Engine::Plain(detector) => detector,
            Engine::Watching(inventory) => inventory.detector_mut(),
        }
    }

    /// All that was learned, with what the practices remember.
    fn learned(&self, practice: Option<&Practice>) -> Learned {
        let inventory = match self {
            Engine::Plain(_) => None,
            Engine::Watching(inventory) => Some(inventory.memory()),
        };
        Learned { detector: self.detector().state().clone(), inventory, practice: practice.map(Practice::memory) }
    }
}

/// Detects, and hands the alerts to the sinks; what is new and what is not as it should be, too, where that is asked for.
pub(super) struct Detecting {
    engine: Engine,
    /// What is not as it should be, where that was asked for.
    practice: Option<Practice>,
    outlets: Outlets,
    lines: JsonLines<Stdout>,
    alerts: Vec<Alert>,
    events: Vec<Event>,
    findings: Vec<Finding>,
    keeper: Option<Keeper>,
    /// What kept the last checkpoint from being written.
    unkept: Option<io::Error>,
    live: Option<Live>,
    /// Where packets of incidents are kept.
    witness: Option<Witness>,
    /// Alerts raised by kind.
    pub(super) kinds: BTreeMap<String, u64>,
}

impl Detecting {
    pub(super) fn new(detector: Detector, outlets: Outlets) -> Detecting {
        Detecting::with(Engine::Plain(detector), outlets)
    }

    /// Tells what is new as well.
    pub(super) fn watching(inventory: Inventory, outlets: Outlets) -> Detecting {
        Detecting::with(Engine::Watching(inventory), outlets)
    }

    fn with(engine: Engine, outlets: Outlets) -> Detecting {
        Detecting {
            engine,
            practice: None,
            outlets,
            lines: standard_output(),
            alerts: Vec::new(),
            events: Vec::new(),
            findings: Vec::new(),
            keeper: None,
            unkept: None,
            live: None,
            witness: None,
            kinds: BTreeMap::new(),
        }
    }

    /// The same with what the detector learns kept.
    pub(super) fn keeping(self, keeper: Option<Keeper>) -> Detecting {
        Detecting { keeper, ..self }
    }

    /// The same with findings among the alerts.
    pub(super) fn finding(self, practice: Option<Practice>) -> Detecting {
        Detecting { practice, ..self }
    }

    /// The same while it is looked into, may be given another configuration, and may lose a share of the packets.
    pub(super) fn live(mut self, publisher: Publisher, slot: Arc<Slot>, share: f64) -> Detecting {
        publisher.board().watch_sinks(self.outlets.monitor());
        let (loss, lookout) = (Loss::new(share), Lookout::default());
        self.live = Some(Live { publisher, slot, loss, lookout, busy: Duration::ZERO });
        self
    }

    /// Packets of incidents are kept, of those too that an earlier run told.
    pub(super) fn witness(&mut self, mut witness: Witness) {
        self.engine.detector().open_incidents().for_each(|alert| witness.remember(alert));
        self.witness = Some(witness);
    }

    /// Waits until the packets of incidents are written; gives what was counted of them.
    pub(super) fn finish_evidence(&mut self) -> Counters {
        self.witness.take().map(Witness::finish).unwrap_or_default()
    }

    /// What detector, keeper, inventory and practices counted.
    pub(super) fn counters(&self) -> Counters {
        let mut counters = match &self.engine {
            Engine::Plain(detector) => detector.counters(),
            Engine::Watching(inventory) => inventory.all_counters(),
        };
        if let Some(keeper) = &self.keeper {
            counters.merge(keeper.counters());
        }
        if let Some(practice) = &self.practice {
            counters.merge(practice.counters());
        }
        counters
    }

    /// Where the alerts go, and what kept the last checkpoint from being written.
    pub(super) fn into_parts(self) -> (Outlets, Option<io::Error>) {
        (self.outlets, self.unkept)
    }

    /// What the tests cost of the budget of false alarms.
    pub(super) fn budget(&self) -> BudgetReport {
        self.engine.detector().budget()
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

    fn take(&mut self, record: &Record) -> io::Result<()> {
        let Detecting { engine, practice, alerts, events, findings, .. } = self;
        match (engine, practice) {
            (Engine::Plain(detector), None) => detector.record(record, alerts),
            (Engine::Plain(detector), Some(practice)) => take(record, detector, practice, alerts, findings),
            (Engine::Watching(inventory), None) => inventory.watched(record, events, alerts, |_, _| {}),
            (Engine::Watching(inventory), Some(practice)) => {
                inventory.watched(record, events, alerts, |call, judged| practice.take(call, judged, findings));
                if let Record::Connection(connection) = record {
                    practice.connection(connection, findings);
                }
            }
        }
        let told = self.alerts.is_empty() && self.events.is_empty() && self.findings.is_empty();
        if told { Ok(()) } else { self.print() }
    }

    /// All up to `last` is taken and told.
    fn keep(&mut self, last: Option<&Record>) {
        let Detecting { engine, practice, keeper, .. } = self;
        if let Some(keeper) = keeper
            && let Some(note) = keeper.taken(last, || engine.learned(practice.as_ref()))
        {
            tracing::warn!("{note}");
        }
    }

    /// Writes the last checkpoint, where there are any; true if another run can go on from it.
    fn keep_last(&mut self) -> bool {
        let Some(keeper) = &mut self.keeper else { return false };
        self.unkept = keeper.finish(self.engine.learned(self.practice.as_ref())).err();
        self.unkept.is_none()
    }

    /// What is new was so before the record that raised the alerts.
    fn print(&mut self) -> io::Result<()> {
        let Detecting { outlets, lines, .. } = self;
        let mut tell = |told: Told<'_>| outlets.write(told, |line| lines.line_of(|bytes| bytes.write_all(line)));
        for event in self.events.drain(..) {
            tell(Told::Event(&event))?;
        }
        for mut alert in self.alerts.drain(..) {
            if let Some(witness) = &mut self.witness {
                witness.alert(&mut alert);
            }
            *self.kinds.entry(alert.kind.name().to_owned()).or_default() += 1;
            tell(Told::Alert(&alert))?;
        }
        for finding in self.findings.drain(..) {
            tell(Told::Finding(&finding))?;
        }
        // An alert is rare and somebody waits for it.
        self.lines.flush()
    }

    /// Takes another configuration: the sinks first, since they alone may refuse it.
    fn change(&mut self, change: Change) {
        let Change { settings, rules, proxies, changed } = change;
        if changed.iter().any(|key| key == "sink")
            && let Err(reason) = self.outlets.reload(&settings.sink, CHANGE)
        {
            tracing::error!("the configuration stays as it was: {reason}");
            if let Some(live) = &self.live {
                live.slot.undo();
                live.publisher.board().refuse(Some(reason));
            }
            return;
        }
        if let Some(live) = &self.live {
            live.publisher.board().refuse(None);
        }
        if let Some(witness) = &mut self.witness {
            witness.trust(proxies.clone());
        }
        self.engine.detector_mut().reload(&settings.detect, rules, move |call| proxies.known(call));
        tracing::info!("configuration reloaded: {}", changed.join(", "));
    }

    /// Tells the board how things stand, once a second.
    fn tell(&mut self, since: Instant, watermark: Timestamp) {
        let Some(live) = &mut self.live else { return };
        live.busy += since.elapsed();
        live.lookout.step(live.publisher.board(), self.engine.detector());
        if !live.publisher.is_due() {
            return;
        }
        let counters = self.counters();
        let Some(live) = &mut self.live else { return };
        let detector = self.engine.detector();
        live.publisher.publish(&counters);
        live.publisher.board().tell(DetectorView {
            kinds: self.kinds.clone(),
            seconds: live.busy.as_secs_f64(),
            now: watermark,
            budget: Some(detector.budget()),
            tables: detector.tables(),
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
                    notify::reloaded();
                }
                Some(Instant::now())
            }
            None => None,
        };
        if let Some(witness) = &mut self.witness {
            records.iter().for_each(|record| witness.record(record));
        }
        if let Some(keeper) = &mut self.keeper {
            records.retain(|record| keeper.is_new(record));
        }
        match &mut self.engine {
            Engine::Plain(detector) if self.practice.is_none() => detector.records(records, &mut self.alerts),
            // What is found and what is new is due by the records: each is taken by itself, so that batches make no difference.
            _ => records.iter().try_for_each(|record| self.take(record))?,
        }
        self.engine.detector_mut().tick(watermark, &mut self.alerts);
        if let Some(since) = since {
            self.tell(since, watermark);
        }
        self.print()?;
        if let Some(witness) = &mut self.witness {
            witness.told(watermark);
        }
        self.keep(records.last());
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.engine.detector_mut().finish(&mut self.alerts);
        self.print()?;
        let kept = self.keep_last();
        // What waits to be told is told by the run that goes on, when it is due: as if there had been no end in between.
        if let Engine::Watching(inventory) = &mut self.engine
            && !kept
        {
            inventory.finish(&mut self.events);
        }
        self.print()?;
        // That settles the templates, which a run that goes on from the checkpoint is not to find done.
        if let Some(practice) = &mut self.practice {
            self.findings.append(&mut practice.finish(self.engine.detector_mut()));
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
        let mut counters = self.detector.counters();
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
