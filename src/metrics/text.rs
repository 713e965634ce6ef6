//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write;

use super::{Occupancy, View};
use crate::stats::Counter;

/// Its media type.
pub const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Counters that are sizes rather than counts that grow.
const GAUGES: [Counter; 3] = [Counter::Readers, Counter::KernelBufferBytes, Counter::InterfacesDown];

/// What was lost, by stage and cause: of packets, segments and calls.
pub(super) const DROPS: [(Counter, &str, &str); 5] = [
    (Counter::KernelDrops, "source", "kernel_buffer_full"),
    (Counter::InterfaceDrops, "source", "interface"),
    (Counter::FragmentsDropped, "packet", "fragment_budget"),
    (Counter::SegmentsDropped, "stream", "workers_behind"),
    (Counter::CallsDropped, "detect", "detector_behind"),
];

/// All metrics.
pub fn exposition(view: &View) -> String {
    let mut text = String::with_capacity(32 << 10);
    family(&mut text, "apitap_build_info", "gauge", "The version that runs.");
    sample(&mut text, "apitap_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    if let Some(bytes) = resident() {
        family(&mut text, "apitap_resident_memory_bytes", "gauge", "Memory of the process.");
        sample(&mut text, "apitap_resident_memory_bytes", &[], bytes as f64);
    }
    for &counter in Counter::ALL {
        let gauge = GAUGES.contains(&counter);
        let name = format!("apitap_{}{}", counter.name(), if gauge { "" } else { "_total" });
        family(&mut text, &name, if gauge { "gauge" } else { "counter" }, counter.help());
        sample(&mut text, &name, &[], view.counters.value(counter) as f64);
    }
    family(&mut text, "apitap_drops_total", "counter", "What was lost because a stage was behind, by stage and cause.");
    for (counter, stage, cause) in DROPS {
        sample(
            &mut text,
            "apitap_drops_total",
            &[("stage", stage), ("cause", cause)],
            view.counters.value(counter) as f64,
        );
    }
    let name = "apitap_configuration_refused";
    family(
        &mut text,
        name,
        "gauge",
        "Whether the configuration as it is in the files was refused, and an older one is in effect.",
    );
    sample(&mut text, name, &[], f64::from(u8::from(view.refused.is_some())));
    tables(&mut text, view);
    detector(&mut text, view);
    sinks(&mut text, view);
    text
}

fn tables(text: &mut String, view: &View) {
    type Reads = fn(&Occupancy) -> Option<u64>;
    const METRICS: [(&str, &str, Reads); 4] = [
        ("apitap_table_entries", "Entries of the tables.", |table| (table.limit > 0).then_some(table.entries)),
        ("apitap_table_limit", "Entries that the tables may hold.", |table| (table.limit > 0).then_some(table.limit)),
        ("apitap_table_bytes", "Memory of the tables, estimated.", |table| Some(table.bytes)),
        ("apitap_table_budget_bytes", "Memory that the tables may take by the settings.", |table| Some(table.budget)),
    ];
    for (name, help, value) in METRICS {
        family(text, name, "gauge", help);
        for table in &view.tables {
            if let Some(value) = value(table) {
                sample(text, name, &[("table", table.table)], value as f64);
            }
        }
    }
}

fn detector(text: &mut String, view: &View) {
    let detector = &view.detector;
    family(text, "apitap_incident_lines_total", "counter", "Alerts by kind.");
    for (kind, count) in &detector.kinds {
        sample(text, "apitap_incident_lines_total", &[("kind", kind)], *count as f64);
    }
    family(text, "apitap_detector_seconds_total", "counter", "Time that the detector took.");
    sample(text, "apitap_detector_seconds_total", &[], detector.seconds);
    family(text, "apitap_traffic_time_seconds", "gauge", "The traffic's time, in seconds since 1970.");
    sample(text, "apitap_traffic_time_seconds", &[], detector.now.seconds());
    let Some(budget) = &detector.budget else { return };
    family(text, "apitap_budget_false_alarms_per_day", "gauge", "The budget of false alarms.");
    sample(text, "apitap_budget_false_alarms_per_day", &[], budget.false_alarms_per_day);
    family(text, "apitap_budget_expected_false_alarms", "gauge", "False alarms to be expected of all tests so far.");
    sample(text, "apitap_budget_expected_false_alarms", &[], budget.expected_false_alarms);
    family(text, "apitap_test_trials", "gauge", "Trials of each test, weighted.");
    for test in &budget.tests {
        sample(text, "apitap_test_trials", &[("test", test.test.name())], test.trials);
    }
    family(text, "apitap_test_passed_total", "counter", "How often each test was passed.");
    for test in &budget.tests {
        sample(text, "apitap_test_passed_total", &[("test", test.test.name())], test.passed as f64);
    }
}

fn sinks(text: &mut String, view: &View) {
    type Reads = fn(&crate::sink::Status) -> f64;
    const METRICS: [(&str, &str, &str, Reads); 11] = [
        (
            "apitap_sink_alerts_total",
            "counter",
            "Lines (alerts, findings, events) that passed a sink's filter.",
            |sink| sink.taken as f64,
        ),
        ("apitap_sink_delivered_total", "counter", "Lines that a receiver has.", |sink| sink.delivered as f64),
        ("apitap_sink_retries_total", "counter", "Attempts that failed and were repeated.", |sink| sink.retries as f64),
        ("apitap_sink_rejected_total", "counter", "Lines refused for good (dead letters).", |sink| {
            sink.rejected as f64
        }),
        ("apitap_sink_dropped_total", "counter", "Lines lost: spool and queue were full.", |sink| sink.dropped as f64),
        ("apitap_sink_damaged_bytes_total", "counter", "Bytes of a spool that were damaged.", |sink| {
            sink.damaged_bytes as f64
        }),
        ("apitap_sink_spooled", "gauge", "Lines that wait on disk.", |sink| sink.spooled as f64),
        ("apitap_sink_queued", "gauge", "Lines that wait in memory.", |sink| sink.queued as f64),
        ("apitap_sink_spool_bytes", "gauge", "Bytes of a spool.", |sink| sink.spool_bytes as f64),
        ("apitap_sink_spool_limit_bytes", "gauge", "Bytes that a spool may have.", |sink| sink.spool_limit as f64),
        ("apitap_sink_lag_seconds", "gauge", "How long the oldest line has waited.", |sink| sink.lag_seconds),
    ];
    for (name, kind, help, value) in METRICS {
        family(text, name, kind, help);
        for sink in &view.sinks {
            sample(text, name, &[("sink", &sink.name), ("type", &sink.r#type)], value(sink));
        }
    }
    family(text, "apitap_sink_up", "gauge", "1 while a sink's last attempt was well.");
    for sink in &view.sinks {
        let up = if sink.failure.is_none() { 1.0 } else { 0.0 };
        sample(text, "apitap_sink_up", &[("sink", &sink.name), ("type", &sink.r#type)], up);
    }
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let help = help.trim().replace('\\', "\\\\").replace('\n', " ");
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn sample(text: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    text.push_str(name);
    for (at, (label, of)) in labels.iter().enumerate() {
        text.push(if at == 0 { '{' } else { ',' });
        let escaped = of.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{label}=\"{escaped}\"");
    }
    let _ = writeln!(text, "{} {value}", if labels.is_empty() { "" } else { "}" });
}

/// Resident memory, from Linux's `/proc`.
pub(super) fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Board, DetectorView};
    use std::collections::{HashMap, HashSet};
    use std::sync::Arc;

    /// Takes an exposition apart by its grammar: families, and samples by name with their labels.
    fn parse(text: &str) -> HashMap<String, f64> {
        let mut typed = HashSet::new();
        let mut samples = HashMap::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a kind");
                assert!(["counter", "gauge"].contains(&kind), "{line}");
                assert!(typed.insert(name.to_owned()), "{name} twice");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            } else if !line.starts_with("# HELP ") {
                let (name, value) = line.rsplit_once(' ').expect("a value");
                let family = name.split('{').next().expect("a name");
                assert!(typed.contains(family), "{line}");
                assert!(family.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'));
                assert!(samples.insert(name.to_owned(), value.parse().expect("a number")).is_none(), "{line}");
            }
        }
        samples
    }

    #[test]
    fn all_that_is_known_is_there() {
        let board = Arc::new(Board::default());
        let publisher = Board::publisher(&board);
        let mut counters = crate::stats::Counters::new();
        counters.add(Counter::Frames, 1_000_000_007);
        counters.add(Counter::KernelDrops, 3);
        publisher.publish(&counters);
        board.tell(DetectorView {
            kinds: [("recon.\"odd\\".to_owned(), 2)].into(),
            tables: vec![
                Occupancy { table: "clients", entries: 5, limit: 10, bytes: 70, budget: 100 },
                Occupancy { table: "texts", bytes: 7, budget: 8, ..Occupancy::default() },
            ],
            ..DetectorView::default()
        });
        let mut view = board.view();
        view.sinks.push(crate::sink::Status {
            name: "siem".into(),
            r#type: "splunk".into(),
            spooled: 7,
            ..Default::default()
        });
        let samples = parse(&exposition(&view));
        let value = |name: &str| samples.get(name).copied();
        assert_eq!(value("apitap_frames_total"), Some(1_000_000_007.0));
        assert_eq!(value("apitap_drops_total{stage=\"source\",cause=\"kernel_buffer_full\"}"), Some(3.0));
        assert_eq!(value("apitap_table_entries{table=\"clients\"}"), Some(5.0));
        assert_eq!(value("apitap_table_bytes{table=\"clients\"}"), Some(70.0));
        assert_eq!(value("apitap_table_budget_bytes{table=\"texts\"}"), Some(8.0));
        assert_eq!(value("apitap_table_entries{table=\"texts\"}"), None, "bounded by its bytes alone");
        assert_eq!(value("apitap_sink_spooled{sink=\"siem\",type=\"splunk\"}"), Some(7.0));
        assert_eq!(value("apitap_sink_up{sink=\"siem\",type=\"splunk\"}"), Some(1.0));
        assert_eq!(value("apitap_incident_lines_total{kind=\"recon.\\\"odd\\\\\"}"), Some(2.0));
        for counter in Counter::ALL {
            let of = |suffix| value(&format!("apitap_{}{suffix}", counter.name()));
            assert!(of("_total").or(of("")).is_some(), "{}", counter.name());
        }
    }

    /// The dashboard asks for nothing that is not there.
    #[test]
    fn the_dashboard_fits() {
        let dashboard: serde_json::Value =
            serde_json::from_str(include_str!("../../dashboards/grafana.json")).expect("JSON");
        let mut view = Arc::new(Board::default()).view();
        view.sinks.push(crate::sink::Status::default());
        view.detector.budget = Some(crate::detect::BudgetReport {
            false_alarms_per_day: 1.0,
            days: 0.0,
            client_days: 0,
            expected_false_alarms: 0.0,
            tests: Vec::new(),
        });
        let text = exposition(&view);
        let mut asked = 0;
        for panel in dashboard["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let query = target["expr"].as_str().expect("a query");
                for name in query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
                    if name.starts_with("apitap_") {
                        assert!(text.contains(&format!("# TYPE {name} ")), "{name} in {query}");
                        asked += 1;
                    }
                }
            }
        }
        assert!(asked > 15, "{asked}");
    }
}
