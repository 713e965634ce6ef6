//! All sinks of a run: standard output, which whoever runs apitap reads, and those with an outbox and a thread each.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::delivery::{DeadLetters, Delivery};
use super::filter::Filter;
use super::format::Format;
use super::outbox::{Outbox, Status};
use super::settings::{Settings, Type};
use super::spool::Spool;
use super::target::Target;
use crate::alert::Alert;

/// Most sinks: each has a thread.
pub const SINK_LIMIT: usize = 64;

/// Where a run's alerts go.
#[derive(Debug)]
pub struct Outlets {
    spools: PathBuf,
    sensor: String,
    printed: Vec<Printed>,
    sent: Vec<Sent>,
    monitor: Monitor,
}

/// Standard output with a filter and a format.
#[derive(Debug)]
struct Printed {
    filter: Filter,
    format: Format,
}

#[derive(Debug)]
struct Sent {
    settings: Settings,
    filter: Filter,
    delivery: Delivery,
}

/// Sees what the sinks come to, from any thread.
#[derive(Clone, Debug, Default)]
pub struct Monitor(Arc<Mutex<Vec<Arc<Outbox>>>>);

impl Monitor {
    /// The state of each sink but standard output.
    pub fn statuses(&self) -> Vec<Status> {
        let outboxes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outboxes.iter().map(|outbox| outbox.status()).collect()
    }
}

/// What a sink has not delivered at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The sink.
    pub name: String,
    /// Alerts that wait in its spool for the next run.
    pub spooled: u64,
    /// Alerts that were in memory alone, and are lost.
    pub lost: u64,
    /// Its spool.
    pub folder: PathBuf,
}

/// Checks a list of sinks as a whole.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn check(settings: &[Settings]) -> Result<(), String> {
    if settings.len() > SINK_LIMIT {
        return Err(format!("{} sinks; at most {SINK_LIMIT}", settings.len()));
    }
    for (at, sink) in settings.iter().enumerate() {
        sink.check()?;
        if settings.iter().take(at).any(|other| other.name() == sink.name()) {
            return Err(format!("two sinks are called {}; give each a `name`", sink.name()));
        }
    }
    Ok(())
}

impl Outlets {
    /// Opens all sinks; without any, alerts are printed as native JSON. Spools lie in `state`, below `spool`.
    ///
    /// # Errors
    ///
    /// What keeps one of them from ever working.
    pub fn open(settings: &[Settings], state: &Path, sensor: String) -> Result<Outlets, String> {
        check(settings)?;
        let mut outlets = Outlets {
            spools: state.join("spool"),
            sensor,
            printed: Vec::new(),
            sent: Vec::new(),
            monitor: Monitor::default(),
        };
        if settings.is_empty() {
            let filter = Filter::new(&Settings::default())?;
            outlets.printed.push(Printed { filter, format: Format::Native });
        }
        for sink in settings {
            outlets.add(sink)?;
        }
        outlets.show();
        Ok(outlets)
    }

    fn add(&mut self, settings: &Settings) -> Result<(), String> {
        let filter = Filter::new(settings)?;
        if settings.r#type == Type::Stdout {
            self.printed.push(Printed { filter, format: settings.format() });
            return Ok(());
        }
        let wrong = |reason: String| format!("sink {}: {reason}", settings.name());
        let target = Target::new(settings, &self.sensor).map_err(wrong)?;
        let folder = self.spools.join(settings.name());
        let spool = Spool::open(&folder, settings.spool_bytes, settings.sync).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => wrong(format!(
                "another apitap uses its spool {}; give this one a state folder of its own (--state)",
                folder.display()
            )),
            _ => wrong(format!("its spool {}: {error}", folder.display())),
        })?;
        let letters = DeadLetters::new(folder.join("dead-letters.jsonl"), settings.spool_bytes / 2);
        let outbox =
            Outbox::new(settings.name(), settings.r#type.name(), settings.queue, settings.spool_bytes, Some(spool));
        let delivery =
            Delivery::start(Arc::new(outbox), target, letters, settings).map_err(|error| wrong(error.to_string()))?;
        self.sent.push(Sent { settings: settings.clone(), filter, delivery });
        Ok(())
    }

    /// The state of the sinks, for other threads.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    fn show(&self) {
        let outboxes = self.sent.iter().map(|sent| sent.delivery.outbox.clone()).collect();
        *self.monitor.0.lock().unwrap_or_else(PoisonError::into_inner) = outboxes;
    }

    /// Hands an alert to the sinks that take it, and writes it to `print` for standard output. What is printed is in the
    /// spools before.
    ///
    /// # Errors
    ///
    /// Those of `print`.
    pub fn write(&self, alert: &Alert, mut print: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let native = serde_json::to_vec(alert)?;
        for sent in self.sent.iter().filter(|sent| sent.filter.takes(alert)) {
            sent.delivery.outbox.push(&native);
        }
        for printed in self.printed.iter().filter(|printed| printed.filter.takes(alert)) {
            match printed.format {
                Format::Native => print(&native)?,
                format => print(&format.write(alert, &native, &self.sensor))?,
            }
        }
        Ok(())
    }

    /// Takes another list of sinks: those that are as before go on undisturbed, those that are gone or changed end within
    /// `limit`, new ones begin. All or nothing: when one of the new ones cannot work, all stay as they are.
    ///
    /// # Errors
    ///
    /// What is wrong with the new list.
    pub fn reload(&mut self, settings: &[Settings], limit: Duration) -> Result<(), String> {
        check(settings)?;
        for sink in settings.iter().filter(|sink| sink.r#type != Type::Stdout) {
            Target::new(sink, &self.sensor).map_err(|reason| format!("sink {}: {reason}", sink.name()))?;
            let folder = self.spools.join(sink.name());
            std::fs::create_dir_all(&folder)
                .map_err(|error| format!("sink {}: its spool {}: {error}", sink.name(), folder.display()))?;
        }
        let (stay, mut end): (Vec<Sent>, Vec<Sent>) =
            std::mem::take(&mut self.sent).into_iter().partition(|sent| settings.contains(&sent.settings));
        let deadline = Instant::now() + limit;
        end.iter().for_each(|sent| sent.delivery.end(deadline));
        end.iter_mut().for_each(|sent| sent.delivery.join());
        drop(end);
        self.sent = stay;
        self.printed.clear();
        if settings.is_empty() {
            let filter = Filter::new(&Settings::default())?;
            self.printed.push(Printed { filter, format: Format::Native });
        }
        let mut trouble = Vec::new();
        for sink in settings
            .iter()
            .filter(|sink| !self.sent.iter().any(|sent| sent.settings == **sink))
            .cloned()
            .collect::<Vec<_>>()
        {
            trouble.extend(self.add(&sink).err());
        }
        self.show();
        if trouble.is_empty() { Ok(()) } else { Err(trouble.join("; ")) }
    }

    /// There will be no more alerts. Waits until all sinks have theirs, at most for `limit`, and tells what is left.
    pub fn finish(mut self, limit: Duration) -> Vec<Left> {
        let deadline = Instant::now() + limit;
        self.sent.iter().for_each(|sent| sent.delivery.end(deadline));
        self.sent.iter_mut().for_each(|sent| sent.delivery.join());
        let left = self.sent.iter().map(|sent| {
            let outbox = &sent.delivery.outbox;
            let lost = outbox.unsafe_waiting();
            Left {
                name: outbox.name().to_owned(),
                spooled: outbox.waiting().saturating_sub(lost),
                lost,
                folder: self.spools.join(outbox.name()),
            }
        });
        left.filter(|left| left.spooled + left.lost > 0).collect()
    }
}

impl Drop for Outlets {
    /// Whoever did not wait: threads end by themselves, and spools keep what is theirs.
    fn drop(&mut self) {
        let now = Instant::now();
        self.sent.iter().for_each(|sent| sent.delivery.end(now));
    }
}
