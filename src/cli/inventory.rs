//! `apitap apis`: learns the endpoints of captures, and prints them at the end.

use std::io::{self, Write};
use std::net::IpAddr;

use serde::Serialize;

use super::consumers::standard_output;
use crate::call::{Call, Record};
use crate::client::TrustedProxies;
use crate::endpoint::{Entry, HashKey, Parameter, Place, Settings, Success, Templates};
use crate::model::{Table, Touched, Walk};
use crate::pipeline::Consumer;
use crate::sink::Sink;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// Clients whose misses are remembered: at most 2 KiB each.
const CLIENTS: usize = 20_000;

/// Evidence, in nats, beyond which a client does not teach. The detector's own bar is the same.
const SUSPECT: f64 = 5.0;

/// The share of first contacts that may miss with an honest client.
const CEILING: f64 = 0.12;

/// Learns from calls; at the end prints.
pub(super) struct Inventory {
    templates: Templates,
    key: HashKey,
    proxies: TrustedProxies,
    clients: Table<IpAddr, Client>,
    place: Place,
    json: bool,
    suspects: u64,
}

/// How a client fares.
#[derive(Default)]
struct Client {
    walk: Walk,
    touched: Touched,
}

impl Inventory {
    pub(super) fn new(settings: Settings, key: HashKey, proxies: TrustedProxies, json: bool) -> Inventory {
        Inventory {
            templates: Templates::new(settings, key),
            key,
            proxies,
            clients: Table::new(CLIENTS),
            place: Place::default(),
            json,
            suspects: 0,
        }
    }

    /// What was dropped.
    pub(super) fn counters(&self) -> Counters {
        let mut counters = Counters::new();
        counters.add(Counter::SegmentsForgotten, self.templates.tallies().evicted);
        counters.add(Counter::CallsUntaught, self.templates.tallies().refused);
        counters.add(Counter::CallsOfSuspects, self.suspects);
        counters
    }

    fn call(&mut self, call: &Call) {
        let address = self.proxies.resolve(call);
        let octets = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        let success = Success::of(call, self.key.hash(&[&octets]));
        let missed = call.completeness.request && matches!(call.status, Some(403..=405));
        if success.is_none() && !missed {
            return;
        }
        self.templates.place(&mut self.place, call.host.as_deref(), &call.path);
        if self.clients.get(&address).is_none() {
            self.clients.insert(address, Client::default(), |client| client.walk.nats());
        }
        if let Some(client) = self.clients.get_mut(&address) {
            // A favourite page hides nothing, and one stale link is one miss.
            let before = f64::from(client.touched.touch(self.place.hash(&self.key)));
            let weight = if missed && before > 0.0 { 0.25 } else { (before + 1.0).powf(-0.35) };
            if client.walk.step(missed, weight, CEILING) > SUSPECT {
                self.suspects += 1;
                return;
            }
        }
        if let Some(success) = success {
            self.templates.learn_at(&success, &self.place);
        }
    }

    fn table(&self, out: &mut impl Write) -> io::Result<()> {
        let head = ["METHOD", "HOST", "TEMPLATE", "PARAMETERS", "CALLS", "CLIENTS", "FIRST", "LAST"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.templates.endpoints().map(|entry| cells(&entry)));
        let mut widths = [0; 8];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &rows {
            let mut line = String::new();
            for (place, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                // Counts are read from the right.
                let padded =
                    if matches!(place, 4 | 5) { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
                line.push_str(&padded);
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

impl Consumer for Inventory {
    fn records(&mut self, records: &mut Vec<Record>, _watermark: Timestamp) -> io::Result<()> {
        records.iter().filter_map(Record::call).for_each(|call| self.call(call));
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.templates.settle();
        if !self.json {
            let mut out = io::BufWriter::new(io::stdout().lock());
            self.table(&mut out)?;
            return out.flush();
        }
        let mut lines = standard_output();
        for entry in self.templates.endpoints() {
            lines.line(&Line::of(&entry))?;
        }
        lines.flush()
    }
}

/// An endpoint as one JSON object.
#[derive(Serialize)]
struct Line<'a> {
    method: &'a str,
    host: &'a str,
    template: &'a str,
    parameters: Vec<Described>,
    calls: u64,
    clients: u64,
    first: Timestamp,
    last: Timestamp,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    catch_all: bool,
}

/// A parameter of its template.
#[derive(Serialize)]
struct Described {
    types: Vec<&'static str>,
    values: u64,
}

impl<'a> Line<'a> {
    fn of(entry: &'a Entry<'a>) -> Line<'a> {
        let described = |parameter: &Parameter| Described {
            types: parameter.kinds().map(|kind| kind.name()).collect(),
            values: parameter.values,
        };
        Line {
            method: entry.method,
            host: entry.host,
            template: &entry.template,
            parameters: entry.parameters.iter().map(described).collect(),
            calls: entry.successes,
            clients: entry.clients,
            first: entry.first,
            last: entry.last,
            catch_all: entry.catch_all,
        }
    }
}

/// An endpoint as a row. Host and method come from the wire: control characters in them are shown, not obeyed.
fn cells(entry: &Entry<'_>) -> [String; 8] {
    let kinds = |parameter: &Parameter| parameter.kinds().map(|kind| kind.name()).collect::<Vec<_>>().join("|");
    let parameters = if entry.catch_all {
        "catch-all".to_owned()
    } else {
        entry.parameters.iter().map(kinds).collect::<Vec<_>>().join(" ")
    };
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.escape_debug().to_string() };
    [
        or_dash(entry.method),
        or_dash(entry.host),
        entry.template.clone(),
        or_dash(&parameters),
        entry.successes.to_string(),
        entry.clients.to_string(),
        second(entry.first),
        second(entry.last),
    ]
}

/// A time to the second.
fn second(time: Timestamp) -> String {
    let text = time.to_string();
    text.split_once('.').map_or(text.clone(), |(second, _)| format!("{second}Z"))
}
