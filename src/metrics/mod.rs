//! A look inside while it runs: what all threads have counted so far, as metrics for Prometheus, as a state of health, and with
//! how the clients stand as one [`Status`].
//!
//! Nobody waits for whoever looks. Each thread puts a copy of its counters on a [`Board`] once a second ([`Publisher`]), and a
//! thread of its own (`server`) writes what is there when it is asked. How the clients stand is looked at while somebody asks
//! ([`Lookout`]). Without a board, in every replay, nothing is copied.

mod lookout;
mod loss;
mod server;
mod status;
mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::detect::BudgetReport;
use crate::detect::survey::Standings;
use crate::sink::Monitor;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

pub use lookout::Lookout;
pub use loss::Loss;
pub use server::{Server, serve};
pub use status::{CLIENTS, Clients, Dropped, Rate, SCHEMA, Status, Usage};
pub use text::{TYPE, exposition};

/// How often a thread tells what it has counted.
const PERIOD: Duration = Duration::from_secs(1);

/// Time without news from a thread after which what it has counted is taken to grow no more.
const LATE: Duration = Duration::from_secs(3);

/// How long after a question the standings of clients are kept up to date.
const ASKED: Duration = Duration::from_secs(5);

/// Time without news from the detector after which the sensor does not count as well: on a silent interface it comes at
/// least each second.
const STUCK: Duration = Duration::from_secs(30);

/// How `watch` can be looked into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address and port at which `watch` tells metrics (`/metrics`, in the format of Prometheus), health (`/health`), and what
    /// `apitap top` shows (`/status`, which names clients), to whoever can reach it; empty for none. Two copies of all counters,
    /// 2 KiB for each thread, and 1 MiB while somebody asks how clients stand.
    pub listen: String,
    /// Share of the packets of a minute (by the traffic's time) that `watch` may lose, in the kernel's buffer, the interface or
    /// between its own threads; beyond, that is an alert (`sensor.loss`). 0 for none.
    pub loss_share: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { listen: "127.0.0.1:9464".into(), loss_share: 0.01 }
    }
}

/// A table that is bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Its name.
    pub table: &'static str,
    /// Entries that are held.
    pub entries: u64,
    /// Entries that it may hold; 0 for a table that is bounded by its bytes alone.
    pub limit: u64,
    /// Memory that it takes, in bytes: an estimate, in which what lies behind its entries is taken from some of them.
    pub bytes: u64,
    /// Memory that it may take by the settings, in bytes.
    pub budget: u64,
}

impl Occupancy {
    /// Adds what another thread has of the same tables.
    fn merge(tables: &mut Vec<Occupancy>, more: &[Occupancy]) {
        for more in more {
            match tables.iter_mut().find(|held| held.table == more.table) {
                Some(held) => {
                    held.entries += more.entries;
                    held.limit += more.limit;
                    held.bytes += more.bytes;
                    held.budget += more.budget;
                }
                None => tables.push(*more),
            }
        }
    }
}

/// What the detector's thread tells.
#[derive(Clone, Debug, Default)]
pub struct DetectorView {
    /// Alerts by kind.
    pub kinds: BTreeMap<String, u64>,
    /// Seconds that it took to look at records.
    pub seconds: f64,
    /// The traffic's time.
    pub now: Timestamp,
    /// What was spent of the budget of false alarms.
    pub budget: Option<BudgetReport>,
    /// Its tables.
    pub tables: Vec<Occupancy>,
}

/// What one thread has told.
#[derive(Debug, Default)]
struct Part {
    counters: Counters,
    /// When it told them.
    told: Option<Instant>,
    /// What it had told before, and when.
    before: Counters,
    told_before: Option<Instant>,
    tables: Vec<Occupancy>,
}

impl Part {
    fn publish(&mut self, counters: &Counters, now: Instant) {
        std::mem::swap(&mut self.before, &mut self.counters);
        self.counters.clone_from(counters);
        self.told_before = self.told.replace(now);
    }

    /// Seconds between the last two times that it told something, and what is late now; none before there were two.
    fn seconds(&self, now: Instant) -> Option<f64> {
        let (told, before) = (self.told?, self.told_before?);
        let late = now.saturating_duration_since(told) > LATE;
        let until = if late { now } else { told };
        Some(until.saturating_duration_since(before).as_secs_f64()).filter(|&seconds| seconds > 0.0)
    }
}

#[derive(Debug, Default)]
struct Parts {
    threads: Vec<Part>,
    detector: DetectorView,
    sinks: Option<Monitor>,
    /// When the detector told something last.
    heard: Option<Instant>,
    /// Why the configuration as it is in the files is not in effect.
    refused: Option<String>,
    /// How clients stood, and when that was looked at.
    standings: Option<(Instant, Arc<Standings>)>,
}

/// What all threads have told of themselves.
#[derive(Debug)]
pub struct Board {
    parts: Mutex<Parts>,
    begun: Instant,
    /// Until when somebody wants to know how clients stand, in milliseconds since `begun`.
    wanted: AtomicU64,
}

impl Default for Board {
    fn default() -> Self {
        Board { parts: Mutex::default(), begun: Instant::now(), wanted: AtomicU64::new(0) }
    }
}

/// How fast counters grow, a second: by what each thread told last and before.
#[derive(Clone, Debug)]
pub struct Rates(Vec<f64>);

impl Rates {
    fn of(parts: &[Part], now: Instant) -> Rates {
        let mut rates = vec![0.0; Counter::ALL.len()];
        for (part, seconds) in parts.iter().filter_map(|part| Some((part, part.seconds(now)?))) {
            for (rate, &counter) in rates.iter_mut().zip(Counter::ALL) {
                *rate += part.counters.value(counter).saturating_sub(part.before.value(counter)) as f64 / seconds;
            }
        }
        Rates(rates)
    }

    /// That of one.
    pub fn of_counter(&self, counter: Counter) -> f64 {
        self.0.get(counter as usize).copied().unwrap_or_default()
    }
}

/// All of it at a moment.
#[derive(Clone, Debug)]
pub struct View {
    /// The counters of all threads together.
    pub counters: Counters,
    /// How fast they grow, a second.
    pub rates: Rates,
    /// The detector.
    pub detector: DetectorView,
    /// The tables of all threads together.
    pub tables: Vec<Occupancy>,
    /// The sinks.
    pub sinks: Vec<crate::sink::Status>,
    /// Seconds since the detector told something last; none before its first news.
    pub silent_seconds: Option<f64>,
    /// Why the configuration as it is in the files is not in effect.
    pub refused: Option<String>,
}

/// Seconds that the oldest line of a sink waits from which on its receiver is missed.
const SINK_LAG: f64 = 60.0;

/// How it stands with a sensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// All goes on.
    #[default]
    Ok,
    /// All is seen, but the receiver of a sink has not taken anything for a minute: its lines wait.
    SinkFailing,
    /// It goes on as before: what its files say now was refused.
    ConfigurationRefused,
    /// Its interface is down or away: it goes on by itself when that is up, and to start it again would not help.
    InterfaceDown,
    /// It does not go on.
    Stuck,
}

impl View {
    /// Whether all goes on, and what does not.
    pub fn health(&self) -> (Health, Vec<String>) {
        let mut complaints = Vec::new();
        let failing = |sink: &&crate::sink::Status| sink.failure.is_some() && sink.lag_seconds >= SINK_LAG;
        for sink in self.sinks.iter().filter(failing) {
            let reason = sink.failure.as_deref().unwrap_or_default();
            let waits = sink.queued + sink.spooled;
            let complaint =
                format!("sink {}: {waits} lines wait, for {:.0} seconds: {reason}", sink.name, sink.lag_seconds);
            complaints.push((Health::SinkFailing, complaint));
        }
        if let Some(reason) = &self.refused {
            complaints.push((Health::ConfigurationRefused, format!("the configuration stays as it was: {reason}")));
        }
        if self.counters.value(Counter::InterfacesDown) > 0 {
            complaints.push((Health::InterfaceDown, "the interface is down or was removed".to_owned()));
        }
        if let Some(silent) = self.silent_seconds.filter(|&silent| silent > STUCK.as_secs_f64()) {
            complaints.push((Health::Stuck, format!("nothing from the detector for {silent:.0} seconds")));
        }
        let health = complaints.iter().map(|&(health, _)| health).max().unwrap_or(Health::Ok);
        (health, complaints.into_iter().map(|(_, complaint)| complaint).collect())
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for the counters of one more thread.
    pub fn publisher(board: &Arc<Board>) -> Publisher {
        let mut parts = board.lock();
        parts.threads.push(Part::default());
        Publisher { board: board.clone(), part: parts.threads.len() - 1, next: Instant::now() }
    }

    /// The detector's thread tells of itself.
    pub fn tell(&self, detector: DetectorView) {
        let mut parts = self.lock();
        parts.detector = detector;
        parts.heard = Some(Instant::now());
    }

    /// The sinks are these.
    pub fn watch_sinks(&self, sinks: Monitor) {
        self.lock().sinks = Some(sinks);
    }

    /// The configuration as it is in the files was refused for this reason, or is in effect.
    pub fn refuse(&self, reason: Option<String>) {
        self.lock().refused = reason;
    }

    /// Somebody wants to know how clients stand, for the next seconds.
    pub fn ask(&self) {
        let until = self.begun.elapsed() + ASKED;
        self.wanted.fetch_max(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether somebody does.
    pub fn is_asked(&self) -> bool {
        match self.wanted.load(Ordering::Relaxed) {
            0 => false, // nobody ever did: no clock is read
            until => self.begun.elapsed().as_millis() < u128::from(until),
        }
    }

    /// How clients stand.
    pub fn tell_standings(&self, standings: Standings) {
        self.lock().standings = Some((Instant::now(), Arc::new(standings)));
    }

    /// How clients stood when that was last looked at, and when it was.
    pub fn standings(&self) -> Option<(Instant, Arc<Standings>)> {
        self.lock().standings.clone()
    }

    /// All that was told.
    pub fn view(&self) -> View {
        let parts = self.lock();
        let mut counters = Counters::new();
        parts.threads.iter().for_each(|part| counters.merge(&part.counters));
        let mut tables = Vec::new();
        parts.threads.iter().for_each(|part| Occupancy::merge(&mut tables, &part.tables));
        Occupancy::merge(&mut tables, &parts.detector.tables);
        View {
            counters,
            rates: Rates::of(&parts.threads, Instant::now()),
            tables,
            detector: parts.detector.clone(),
            sinks: parts.sinks.as_ref().map(Monitor::statuses).unwrap_or_default(),
            silent_seconds: parts.heard.map(|heard| heard.elapsed().as_secs_f64()),
            refused: parts.refused.clone(),
        }
    }
}

/// One thread's place on the board.
#[derive(Debug)]
pub struct Publisher {
    board: Arc<Board>,
    part: usize,
    next: Instant,
}

impl Publisher {
    /// Whether it is time to tell; at most once a second.
    pub fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = now >= self.next;
        if due {
            self.next = now + PERIOD;
        }
        due
    }

    /// The one that there may be, when it is time for it to tell.
    pub fn due(publisher: &mut Option<Publisher>) -> Option<&Publisher> {
        let publisher = publisher.as_mut()?;
        publisher.is_due().then_some(publisher)
    }

    /// Replaces what this thread has counted.
    pub fn publish(&self, counters: &Counters) {
        if let Some(part) = self.board.lock().threads.get_mut(self.part) {
            part.publish(counters, Instant::now());
        }
    }

    /// Replaces what is known of this thread's tables.
    pub fn publish_tables(&self, tables: Vec<Occupancy>) {
        if let Some(part) = self.board.lock().threads.get_mut(self.part) {
            part.tables = tables;
        }
    }

    /// The board.
    pub fn board(&self) -> &Board {
        &self.board
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up_and_replace_what_they_said() {
        let board = Arc::new(Board::default());
        let (one, mut two) = (Board::publisher(&board), Board::publisher(&board));
        let counters = |frames| {
            let mut counters = Counters::new();
            counters.add(Counter::Frames, frames);
            counters
        };
        one.publish(&counters(5));
        two.publish(&counters(7));
        one.publish(&counters(6));
        assert_eq!(board.view().counters.value(Counter::Frames), 13);
        assert!(two.is_due() && !two.is_due());
        let flows = |entries| Occupancy { table: "flows", entries, limit: 10, bytes: 100 * entries, budget: 1_000 };
        one.publish_tables(vec![flows(2)]);
        two.publish_tables(vec![flows(9)]);
        one.publish_tables(vec![flows(3)]);
        board
            .tell(DetectorView { tables: vec![Occupancy { table: "clients", ..flows(1) }], ..DetectorView::default() });
        let both = Occupancy { table: "flows", entries: 12, limit: 20, bytes: 1_200, budget: 2_000 };
        assert_eq!(board.view().tables, [both, Occupancy { table: "clients", ..flows(1) }]);
        assert_eq!(board.view().health(), (Health::Ok, Vec::new()), "nothing is known yet");
        let mut stuck = View { silent_seconds: Some(31.0), ..board.view() };
        assert_eq!(stuck.health().0, Health::Stuck);
        stuck.counters.set(Counter::InterfacesDown, 1);
        assert!(stuck.health().0 == Health::Stuck && stuck.health().1.len() == 2);
        stuck.silent_seconds = Some(1.0);
        assert_eq!(stuck.health().0, Health::InterfaceDown);
        let sink = |lag_seconds, failure: &str| crate::sink::Status {
            name: "siem".into(),
            spooled: 7,
            lag_seconds,
            failure: Some(failure.into()).filter(|_| !failure.is_empty()),
            ..Default::default()
        };
        for (sink, health) in [
            (sink(61.0, "refused"), Health::SinkFailing),
            (sink(3.0, "refused"), Health::Ok), // once may be chance
            (sink(61.0, ""), Health::Ok),       // much is to be done
        ] {
            let view = View { sinks: vec![sink], ..board.view() };
            let (told, complaints) = view.health();
            assert_eq!(told, health);
            assert!(told == Health::Ok || complaints[0].contains("siem: 7 lines"), "{complaints:?}");
        }
    }
}
