//! What a sensor needs of its machine, looked at before it runs: `apitap doctor`.
//!
//! | file | looks at |
//! | --- | --- |
//! | `interface` | the interface: there, up, capture with the buffer that was asked for, what comes |
//! | `offloads` | what the network card does to frames, and its ring |
//! | `system` | privileges, clock, confinement |
//! | `storage` | key, rules, folders and the room on their disks |
//!
//! Each check says what was found and, unless all is well, what to do. Nothing is changed and no alert is sent: the interface is opened as
//! `watch` would open it and closed again, and sinks are looked for by [`sink::probe`].

mod interface;
mod offloads;
mod storage;
mod system;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::settings::Settings;
use crate::sink::{self, Probe, Type};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It runs, and something is lost or unknown.
    Warning,
    /// It would not run, or its alerts would not arrive.
    Failed,
}

impl Verdict {
    /// As it is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "failed",
        }
    }
}

/// One check (`apitap.check.v1`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `apitap.check.v1`.
    pub schema: &'static str,
    /// What was looked at.
    pub check: &'static str,
    /// Which one, where there may be several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Check {
    /// A check that found all well.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Check {
        Check {
            schema: "apitap.check.v1",
            check,
            subject: None,
            verdict: Verdict::Ok,
            found: found.into(),
            advice: None,
        }
    }

    /// One with which it runs, less well.
    pub fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
        Check { verdict: Verdict::Warning, advice: Some(advice.into()), ..Check::ok(check, found) }
    }

    /// One with which it does not run.
    pub fn failed(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
        Check { verdict: Verdict::Failed, advice: Some(advice.into()), ..Check::ok(check, found) }
    }

    /// Of this one.
    fn of(self, subject: impl Into<String>) -> Check {
        Check { subject: Some(subject.into()), ..self }
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:<8} {}", self.verdict.name(), self.check)?;
        if let Some(subject) = &self.subject {
            write!(f, " {subject}")?;
        }
        write!(f, ": {}", self.found)?;
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

/// What to look at.
#[derive(Debug)]
pub struct Subject<'s> {
    /// The settings of the run to come.
    pub settings: &'s Settings,
    /// The interface, if any was named.
    pub interface: Option<&'s str>,
    /// The filter.
    pub filter: Option<&'s str>,
    /// The state folder.
    pub state: PathBuf,
    /// How long to listen for packets; not at all when it is zero.
    pub listen: Duration,
}

/// Makes all checks, and hands each to `tell` as soon as it is known.
pub fn examine(subject: &Subject<'_>, tell: &mut dyn FnMut(Check)) {
    system::privileges(tell);
    match subject.interface {
        Some(name) => {
            interface::examine(name, subject, tell);
            if name != interface::ANY {
                offloads::examine(name, subject.settings.source.live.snap_length, tell);
            }
        }
        None => tell(Check::failed(
            "interface",
            "none is named",
            "name one with --interface, or with `interface` of table [source.live]; `apitap interfaces` lists them",
        )),
    }
    system::clock(tell);
    storage::examine(subject, tell);
    sinks(subject, tell);
    if !subject.settings.metrics.listen.is_empty() {
        tell(metrics(&subject.settings.metrics.listen));
    }
    system::confinement(&subject.settings.confinement, tell);
}

/// Whether the address at which metrics are told can be had.
fn metrics(listen: &str) -> Check {
    let check = match std::net::TcpListener::bind(listen) {
        Ok(_) => Check::ok("metrics", "the address is free"),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Check::warning(
            "metrics",
            "the address is taken",
            "if that is not the apitap that runs already, name another one in `listen` of table [metrics]",
        ),
        Err(error) => Check::failed("metrics", error.to_string(), "correct `listen` of table [metrics]"),
    };
    check.of(listen)
}

fn sinks(subject: &Subject<'_>, tell: &mut dyn FnMut(Check)) {
    let settings = subject.settings;
    if let Err(reason) = sink::check(&settings.sink) {
        return tell(Check::failed("sinks", reason, "correct the configuration"));
    }
    if settings.sink.is_empty() {
        return tell(Check::ok("sinks", "none is set: alerts are printed on standard output"));
    }
    for sink in &settings.sink {
        let check = match sink::probe(sink, &settings.output.sensor()) {
            Probe::Well(found) => Check::ok("sink", found),
            Probe::Doubtful(found) => Check::warning("sink", found, "see at the receiver whether alerts arrive"),
            Probe::Failed(reason) => {
                let advice = match sink.r#type {
                    Type::File => "make the folder, and give it to the user as whom apitap runs",
                    _ => "alerts would wait in its spool: correct the address, the credentials or the receiver",
                };
                Check::failed("sink", reason, advice)
            }
        };
        tell(check.of(sink.name()));
    }
}

/// A number of bytes for people.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 100.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_one_line() {
        let check = Check::warning("ring", "512 of 4096", "ethtool -G eth1 rx 4096").of("eth1");
        assert_eq!(check.to_string(), "warning  ring eth1: 512 of 4096; ethtool -G eth1 rx 4096");
        assert_eq!(Check::ok("clock", "synchronised").to_string(), "ok       clock: synchronised");
        assert!(Verdict::Failed > Verdict::Warning && Verdict::Warning > Verdict::Ok);
        assert_eq!([bytes(12), bytes(1536), bytes(256 << 20)], ["12 bytes", "1.5 KiB", "256 MiB"]);
    }

    #[test]
    fn the_address_of_metrics_is_tried() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("an address").to_string();
        assert_eq!(metrics(&address).verdict, Verdict::Warning);
        drop(taken);
        assert_eq!(metrics(&address).verdict, Verdict::Ok);
        assert_eq!(metrics("192.0.2.1:1").verdict, Verdict::Failed);
        assert_eq!(metrics("nowhere").verdict, Verdict::Failed);
    }

    #[test]
    fn each_sink_is_looked_for() {
        let settings = Settings {
            sink: vec![
                toml::from_str("type = 'stdout'").expect("a table"),
                toml::from_str("type = 'file'\npath = '/nowhere/at/all/a.jsonl'").expect("a table"),
            ],
            ..Settings::default()
        };
        let subject = Subject {
            settings: &settings,
            interface: None,
            filter: None,
            state: std::env::temp_dir(),
            listen: Duration::ZERO,
        };
        let mut checks = Vec::new();
        sinks(&subject, &mut |check| checks.push((check.subject, check.verdict)));
        assert_eq!(checks, [(Some("stdout".into()), Verdict::Ok), (Some("file".into()), Verdict::Failed)]);
    }
}
