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
use crate::records::RecordPrinter;
use crate::sink::{JsonLines, Outlets, Sink};
use crate::stats::{Counter, Counters};
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
    keeper: Option<Keeper>,
    /// What kept the last checkpoint from being written.
    pub(super) unkept: Option<io::Error>,
    /// Alerts raised by kind.
    pub(super) kinds: BTreeMap<String, u64>,
}

impl Detecting {
    /// `keeper`: keeps what the detector learns.
    pub(super) fn new(detector: Detector, keeper: Option<Keeper>, outlets: Outlets) -> Detecting {
        Detecting {
            detector,
            outlets,
            lines: standard_output(),
            alerts: Vec::new(),
            live: None,
            keeper,
            unkept: None,
            kinds: BTreeMap::new(),
        }
    }

    /// The same while it is looked into, may be given another configuration, and may lose a share of the packets.
    pub(super) fn live(mut self, publisher: Publisher, slot: Arc<Slot>, share: f64) -> Detecting {
        publisher.board().watch_sinks(self.outlets.monitor());
        self.live = Some(Live { publisher, slot, loss: Loss::new(share), busy: Duration::ZERO });
        self
    }

    /// What the detector and the keeper counted.
    pub(super) fn counters(&self) -> Counters {
        let mut counters = self.detector.counters().clone();
        if let Some(keeper) = &self.keeper {
            counters.merge(keeper.counters());
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
            self.outlets.write(&alert, |line| self.lines.line_of(|bytes| bytes.write_all(line)))?;
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
        if let Some(keeper) = &mut self.keeper {
            records.retain(|record| keeper.is_new(record));
        }
        self.detector.records(records, &mut self.alerts);
        self.detector.tick(watermark, &mut self.alerts);
        if let Some(since) = since {
            self.tell(since, watermark);
        }
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
