//! What a run came to, on standard error.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::detect::BudgetReport;
use crate::pipeline::Outcome;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// The counters that the first lines of the summary already tell.
const TOLD: [Counter; 6] =
    [Counter::Frames, Counter::FrameBytes, Counter::Segments, Counter::Flows, Counter::Calls, Counter::Alerts];

/// All that the summary tells; its JSON form is this structure.
#[derive(Debug, Serialize)]
pub(super) struct Summary<'s> {
    pub(super) counters: &'s Counters,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) alerts: &'s BTreeMap<String, u64>,
    /// What the tests cost of the budget of false alarms; absent where nothing was detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) budget: Option<&'s BudgetReport>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) unknown_links: &'s [(String, u64)],
    /// Time of the first and the last packet.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// Wall time of the run in seconds: for speed only, nothing in the output depends on it.
    pub(super) elapsed: f64,
    /// Highest resident memory of the process, where the system tells it.
    pub(super) peak_memory_bytes: Option<u64>,
}

impl<'s> Summary<'s> {
    pub(super) fn of(
        outcome: &'s Outcome,
        alerts: &'s BTreeMap<String, u64>,
        budget: Option<&'s BudgetReport>,
        elapsed: Duration,
    ) -> Summary<'s> {
        Summary {
            counters: &outcome.counters,
            alerts,
            budget,
            unknown_links: &outcome.unknown_links,
            span: outcome.span,
            elapsed: elapsed.as_secs_f64(),
            peak_memory_bytes: peak_memory(),
        }
    }

    /// As one JSON object.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As text for people.
    pub(super) fn text(&self) -> String {
        let value = |counter| self.counters.value(counter);
        let speed = |count: u64| count as f64 / self.elapsed.max(1e-9);
        let mut lines = vec![format!(
            "{} packets, {}, {} flows, {} calls, {} alerts",
            thousands(value(Counter::Frames)),
            bytes(value(Counter::FrameBytes)),
            thousands(value(Counter::Flows)),
            thousands(value(Counter::Calls).max(value(Counter::CallsDetected))),
            thousands(self.alerts.values().sum()),
        )];
        if let Some((first, last)) = self.span {
            lines.push(format!("traffic from {first} to {last} ({:.1} s)", last.since(first).as_secs_f64()));
        }
        lines.push(format!(
            "took {:.2} s: {} packets/s, {}/s, {} of memory at most",
            self.elapsed,
            thousands(speed(value(Counter::Frames)) as u64),
            bytes(speed(value(Counter::FrameBytes)) as u64),
            self.peak_memory_bytes.map_or("unknown".to_owned(), bytes),
        ));
        for (kind, count) in self.alerts {
            lines.push(format!("  alert  {kind:<32} {}", thousands(*count)));
        }
        lines.extend(self.budget.map(spending));
        for (name, count) in self.unknown_links {
            lines.push(format!("  link type not understood: {name}, {} frames", thousands(*count)));
        }
        for (counter, count) in self.counters.nonzero().filter(|(counter, _)| !TOLD.contains(counter)) {
            lines.push(format!("  {:<28} {:>14}  {}", counter.name(), thousands(count), counter.help().trim()));
        }
        lines.join("\n")
    }
}

/// What the budget of false alarms was spent on.
fn spending(budget: &BudgetReport) -> String {
    let mut text = format!(
        "budget {} false alarms a day; {:.3} to be expected of {:.2} days, {} client-days",
        budget.false_alarms_per_day,
        budget.expected_false_alarms,
        budget.days,
        thousands(budget.client_days),
    );
    for test in budget.tests.iter().filter(|test| test.expected_false_alarms > 0.0 || test.passed > 0) {
        let trials = thousands(test.trials.round() as u64);
        let _ = write!(
            text,
            "\n  test   {:<20} {trials:>12} trials, {:.4} false alarms to be expected at {:.2} decades, passed {}",
            test.test.name(),
            test.expected_false_alarms,
            test.threshold_decades,
            thousands(test.passed),
        );
    }
    text
}

/// The high-water mark of resident memory, from Linux's `/proc`.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// A number with its thousands apart.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut amount, mut unit) = (number as f64, 0);
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{number} B") } else { format!("{amount:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(thousands(12), "12");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(7), "7 B");
    }
}
