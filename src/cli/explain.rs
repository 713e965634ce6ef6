//! `apitap explain`: the evidence of one client over time, for who has to decide whether to believe an alert.

use std::io::{self, Write};
use std::net::IpAddr;

use serde::Serialize;

use super::consumers::standard_output;
use crate::alert::{Alert, Sighting};
use crate::call::Record;
use crate::detect::{Curve, Detector, Trace};
use crate::pipeline::Consumer;
use crate::sink::Sink;
use crate::stats::Counters;
use crate::time::Timestamp;

/// Characters of a curve.
const COLUMNS: usize = 60;

/// Heights of a curve.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Curves that never came to this part of what was asked are told in one line.
const WORTH: f64 = 0.25;

/// Alerts that are kept; beyond, the latest are left out, and counted.
const ALERTS: usize = 1_000;

/// Detects, and tells of one client at the end.
pub(super) struct Explaining {
    detector: Detector,
    client: IpAddr,
    json: bool,
    raised: Vec<Alert>,
    alerts: Vec<Alert>,
    left_out: u64,
}

/// The JSON form.
#[derive(Serialize)]
struct Explanation<'e> {
    #[serde(flatten)]
    trace: &'e Trace,
    alerts: &'e [Alert],
    alerts_left_out: u64,
}

impl Explaining {
    pub(super) fn new(detector: Detector, client: IpAddr, json: bool) -> Explaining {
        let detector = detector.tracing(client);
        Explaining { detector, client, json, raised: Vec::new(), alerts: Vec::new(), left_out: 0 }
    }

    pub(super) fn counters(&self) -> Counters {
        self.detector.counters()
    }

    /// Whether there was a call or a connection of the client.
    pub(super) fn seen(&self) -> bool {
        self.detector.trace().is_some_and(|trace| trace.span.is_some())
    }

    /// Takes one record.
    pub(super) fn record(&mut self, record: &Record) {
        self.detector.record(record, &mut self.raised);
        self.keep();
    }

    fn keep(&mut self) {
        for alert in self.raised.drain(..) {
            let named = alert.client.iter().chain(&alert.clients).any(|suspect| suspect.ip == self.client);
            if named && self.alerts.len() < ALERTS {
                self.alerts.push(alert);
            } else if named {
                self.left_out += 1;
            }
        }
    }
}

impl Consumer for Explaining {
    fn records(&mut self, records: &mut Vec<Record>, watermark: Timestamp) -> io::Result<()> {
        for record in records.iter() {
            self.record(record);
        }
        self.detector.tick(watermark, &mut self.raised);
        self.keep();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.detector.finish(&mut self.raised);
        self.keep();
        let Some(trace) = self.detector.trace().filter(|trace| trace.span.is_some()) else { return Ok(()) };
        if self.json {
            let explanation = Explanation { trace, alerts: &self.alerts, alerts_left_out: self.left_out };
            let mut lines = standard_output();
            lines.line(&explanation)?;
            return lines.flush();
        }
        let mut output = io::stdout().lock();
        output.write_all(text(trace, &self.alerts, self.left_out).as_bytes())?;
        output.flush()
    }
}

/// For people.
fn text(trace: &Trace, alerts: &[Alert], left_out: u64) -> String {
    let mut lines = Vec::new();
    let span = trace.span.unwrap_or_default();
    let seconds = span.1.since(span.0).as_secs_f64();
    lines.push(format!("{}: {} calls from {} to {} ({})", trace.client, trace.calls, span.0, span.1, length(seconds)));
    lines.push(String::new());
    lines.push(match alerts.len() {
        0 => "No alert named this client.".to_owned(),
        _ => "Alerts that name it:".to_owned(),
    });
    for alert in alerts {
        let state = format!("{:?}", alert.state).to_lowercase();
        lines.push(format!("  {}  {state:<6}  {}: {}", alert.ts, alert.kind.name(), alert.summary));
    }
    if left_out > 0 {
        lines.push(format!("  and {left_out} more"));
    }
    lines.push(String::new());
    let ratio = |curve: &Curve| curve.highest_decades / curve.threshold_decades.max(1e-9);
    let mut curves: Vec<&Curve> = trace.curves.iter().collect();
    curves.sort_by(|one, other| ratio(other).total_cmp(&ratio(one)));
    let (told, faint): (Vec<&Curve>, Vec<&Curve>) = curves.into_iter().partition(|curve| ratio(curve) >= WORTH);
    lines.push(
        "Evidence, test by test, in decades (6: a chance of one in a million if nothing were wrong), the strongest first:"
            .to_owned(),
    );
    for curve in told {
        describe(curve, span, &mut lines);
    }
    if !faint.is_empty() {
        lines.push(String::new());
        lines.push(format!("Below {:.0} % of what they ask for:", 100.0 * WORTH));
        for curve in faint {
            lines.push(format!("  {}: {:.2} of {:.2}", title(curve), curve.highest_decades, curve.threshold_decades));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn describe(curve: &Curve, span: (Timestamp, Timestamp), lines: &mut Vec<String>) {
    lines.push(String::new());
    lines.push(format!("{} ({})", title(curve), curve.kind.name()));
    let passed = curve.passed.map_or(", not passed".to_owned(), |time| format!(", passed {time}"));
    lines.push(format!("  |{}| full height: {:.1}", sparkline(curve, span), top(curve)));
    lines.push(format!("  highest {:.2}, asked {:.2}{passed}", curve.highest_decades, curve.threshold_decades));
    let window = curve.window.map_or(String::new(), |seconds| format!(" in {}", length(seconds as f64)));
    lines.push(format!("  observed {:.1}{window} where {:.1} would be ordinary", curve.observed, curve.expected));
    let until = if curve.passed.is_some() { ", until it was passed" } else { "" };
    lines.push(format!("  calls that moved it most{until}:"));
    for moved in &curve.moves {
        lines.push(format!("    +{:<5.2} to {:<5.2} {}", moved.added_decades, moved.decades, brief(&moved.call)));
    }
}

fn title(curve: &Curve) -> String {
    let family = format!("{:?}", curve.test.family()).to_lowercase();
    let endpoint = curve.endpoint.as_ref().map_or(String::new(), |endpoint| format!(" at {endpoint}"));
    format!("{family}: {}{endpoint}", curve.measure)
}

/// A call in one line.
fn brief(call: &Sighting) -> String {
    let status = call.status.map_or("-".to_owned(), |status| status.to_string());
    let host = call.host.as_deref().unwrap_or_default();
    format!("{}  {} {host}{}  {status}  flow {} #{}", call.time, call.method, call.target, call.flow, call.position)
}

/// What the full height of a curve stands for: twice what is asked at most, so that one sees where it was passed.
fn top(curve: &Curve) -> f64 {
    curve.highest_decades.clamp(curve.threshold_decades, 2.0 * curve.threshold_decades).max(1e-9)
}

/// The highest evidence of each part of the client's time; between two points the first one holds.
fn sparkline(curve: &Curve, span: (Timestamp, Timestamp)) -> String {
    let whole = span.1.since(span.0).as_secs_f64().max(1e-9);
    let top = top(curve);
    let mut columns = [0.0_f64; COLUMNS];
    let column = |time: Timestamp| {
        let place = time.since(span.0).as_secs_f64() / whole * COLUMNS as f64;
        (place as usize).min(COLUMNS - 1)
    };
    let mut points = curve.points.iter().peekable();
    while let Some(&(time, decades)) = points.next() {
        let end = points.peek().map_or(COLUMNS - 1, |(next, _)| column(*next));
        for value in columns.iter_mut().take(end + 1).skip(column(time)) {
            *value = value.max(decades);
        }
    }
    let bar = |value: f64| {
        let height = (value / top * (BARS.len() - 1) as f64).ceil() as usize;
        BARS.get(height.min(BARS.len() - 1)).copied().unwrap_or(' ')
    };
    columns.iter().map(|&value| bar(value)).collect()
}

/// A length of time for people.
fn length(seconds: f64) -> String {
    match seconds {
        _ if seconds < 120.0 => format!("{seconds:.1} s"),
        _ if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        _ if seconds < 172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Technique;
    use crate::detect::Test;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_parts(second, 0)
    }

    #[test]
    fn a_curve_holds_until_the_next_point() {
        let curve = Curve::of_points(
            Test::FirstContacts,
            Technique::PathEnumeration,
            8.0,
            vec![(at(0), 1.0), (at(30), 4.0), (at(59), 8.0)],
        );
        let line: Vec<char> = sparkline(&curve, (at(0), at(60))).chars().collect();
        assert_eq!(line.len(), COLUMNS);
        assert_eq!((line[0], line[29], line[30], line[58], line[59]), ('▁', '▁', '▄', '▄', '█'));
    }

    #[test]
    fn lengths_for_people() {
        assert_eq!([length(1.0), length(600.0), length(36_000.0)], ["1.0 s", "10 min", "10.0 h"]);
    }
}
