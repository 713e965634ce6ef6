//! All that there is to see of a running sensor, as one JSON object: what `/status` answers and `apitap top` shows.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::text::{DROPS, resident};
use super::{Health, Occupancy, View};
use crate::detect::survey::Standings;
use crate::sink;
use crate::stats::Counter;
use crate::time::Timestamp;

/// The version of the JSON form: fields are added, never renamed or given another meaning without a new one.
pub const SCHEMA: &str = "apitap.status.v1";

/// Clients that each list has at most.
pub const CLIENTS: usize = 100;

/// A sensor at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: String,
    /// The version that runs.
    pub version: String,
    /// The traffic's time, as far as the detector has come.
    pub ts: Timestamp,
    /// How it stands with it.
    pub health: Health,
    /// What is not well, for people.
    pub complaints: Vec<String>,
    /// Packets read.
    pub packets: Rate,
    /// Captured bytes of these.
    pub bytes: Rate,
    /// Flows begun.
    pub flows: Rate,
    /// Calls completed.
    pub calls: Rate,
    /// Lines of alerts.
    pub alerts: Rate,
    /// What was lost because a stage was behind.
    pub drops: Vec<Dropped>,
    /// Memory of the process in bytes, where the system tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    /// Tables that are bounded.
    pub tables: Vec<Usage>,
    /// Where alerts go, beside standard output.
    pub sinks: Vec<sink::Status>,
    /// Clients; absent where the detector did not come to look at them in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients>,
}

/// A count and how fast it grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rate {
    /// Since the start.
    pub total: u64,
    /// A second, over the last second or so.
    pub per_second: f64,
}

/// What was lost at one stage for one cause.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dropped {
    /// source, packet, stream, detect.
    pub stage: String,
    /// Why.
    pub cause: String,
    /// How much: packets, fragments, segments, calls.
    #[serde(flatten)]
    pub rate: Rate,
}

/// How full a table is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Its name.
    pub table: String,
    /// Entries that are held.
    pub entries: u64,
    /// Entries that it may hold; 0 for a table that is bounded by its bytes alone.
    pub limit: u64,
    /// Memory that it takes, estimated.
    pub bytes: u64,
    /// Memory that it may take by the settings.
    pub budget_bytes: u64,
}

/// How clients stand, and how long ago that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Clients {
    /// Seconds since then.
    pub age_seconds: f64,
    /// How they stood.
    #[serde(flatten)]
    pub standings: Standings,
}

impl Clients {
    /// The first `limit` of each list.
    pub(super) fn of((looked, standings): (Instant, Arc<Standings>), limit: usize) -> Clients {
        let mut standings = Arc::unwrap_or_clone(standings);
        // Those with the most calls, and those with the most bytes.
        let mut bytes: Vec<u64> = standings.busiest.iter().map(|busy| busy.bytes).collect();
        bytes.sort_unstable_by(|one, other| other.cmp(one));
        let least = limit.checked_sub(1).and_then(|last| bytes.get(last)).copied().unwrap_or_default();
        let mut place = 0;
        let mut more = limit;
        standings.busiest.retain(|busy| {
            place += 1;
            let much = busy.bytes >= least && more > 0;
            more -= usize::from(much);
            place <= limit || much
        });
        standings.suspicious.truncate(limit);
        Clients { age_seconds: (looked.elapsed().as_secs_f64() * 1e3).round() / 1e3, standings }
    }
}

impl Status {
    /// What a view comes to.
    pub(super) fn of(view: &View, clients: Option<Clients>) -> Status {
        let rate = |counter: Counter| Rate {
            total: view.counters.value(counter),
            per_second: (view.rates.of_counter(counter) * 1e3).round() / 1e3,
        };
        let (health, complaints) = view.health();
        Status {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ts: view.detector.now,
            health,
            complaints,
            packets: rate(Counter::Frames),
            bytes: rate(Counter::FrameBytes),
            flows: rate(Counter::Flows),
            calls: rate(Counter::Calls),
            alerts: rate(Counter::Alerts),
            drops: DROPS
                .iter()
                .map(|&(counter, stage, cause)| Dropped {
                    stage: stage.to_owned(),
                    cause: cause.to_owned(),
                    rate: rate(counter),
                })
                .collect(),
            resident_bytes: resident(),
            tables: view.tables.iter().map(Usage::of).collect(),
            sinks: view.sinks.clone(),
            clients,
        }
    }
}

impl Usage {
    fn of(table: &Occupancy) -> Usage {
        Usage {
            table: table.table.to_owned(),
            entries: table.entries,
            limit: table.limit,
            bytes: table.bytes,
            budget_bytes: table.budget,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::survey::Busy;
    use crate::metrics::Board;
    use std::net::Ipv4Addr;

    fn busy(number: u8, calls: u64, bytes: u64) -> Busy {
        Busy { ip: Ipv4Addr::new(10, 0, 0, number).into(), calls, bytes }
    }

    #[test]
    fn of_the_busiest_both_the_callers_and_the_takers_stay() {
        let busiest = vec![busy(1, 90, 1), busy(2, 80, 2), busy(3, 70, 700), busy(4, 60, 3), busy(5, 1, 900)];
        let standings = Arc::new(Standings { busiest, ..Standings::default() });
        let of = |limit| {
            let clients = Clients::of((Instant::now(), standings.clone()), limit).standings.busiest;
            clients.iter().map(|busy| busy.calls).collect::<Vec<_>>()
        };
        assert_eq!(of(0), [0; 0]);
        assert_eq!(of(1), [90, 1]);
        assert_eq!(of(2), [90, 80, 70, 1]);
        assert_eq!(of(9), [90, 80, 70, 60, 1]);
    }

    #[test]
    fn rates_are_of_the_time_between_two_tellings() {
        let board = Arc::new(Board::default());
        let publisher = Board::publisher(&board);
        let mut counters = crate::stats::Counters::new();
        counters.add(Counter::Frames, 1_000);
        publisher.publish(&counters);
        let status = Status::of(&board.view(), None);
        assert_eq!(status.packets, Rate { total: 1_000, per_second: 0.0 }, "nothing is known of the time before");
        std::thread::sleep(std::time::Duration::from_millis(200));
        counters.add(Counter::Frames, 1_000);
        publisher.publish(&counters);
        let rate = Status::of(&board.view(), None).packets;
        assert_eq!(rate.total, 2_000);
        assert!((2_000.0..5_001.0).contains(&rate.per_second), "{rate:?}");
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut view = Arc::new(Board::default()).view();
        view.sinks.push(sink::Status { name: "siem".into(), r#type: "splunk".into(), ..Default::default() });
        view.tables.push(Occupancy { table: "clients", entries: 1, limit: 2, bytes: 3, budget: 4 });
        let standings = Standings { busiest: vec![busy(1, 2, 3)], known: 1, ..Standings::default() };
        let status = Status::of(&view, Some(Clients { age_seconds: 0.5, standings }));
        let text = serde_json::to_string(&status).expect("plain data");
        assert_eq!(serde_json::from_str::<Status>(&text).expect("the same"), status);
        let newer = text.replacen('{', "{\"unheard_of\":[1],", 1);
        assert_eq!(serde_json::from_str::<Status>(&newer).expect("what a later version adds"), status);
    }
}
