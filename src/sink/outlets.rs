//! All sinks of a run: standard output, which whoever runs apitap reads, and those with an outbox and a thread each.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::delivery::Delivery;
use super::filter::Filter;
use super::letters::DeadLetters;
use super::outbox::{Outbox, Status, at};
use super::printing::{self, Output, Printing};
use super::settings::{Settings, Type};
use super::spool::Spool;
use super::target::Target;
use super::told::Told;
use crate::stamp::Stamp;

/// Most sinks: each has a thread.
pub const SINK_LIMIT: usize = 64;

/// Where what a run tells goes.
#[derive(Debug)]
pub struct Outlets {
    spools: PathBuf,
    sensor: String,
    output: Arc<Output>,
    /// The thread that prints, where whoever tells does not.
    printing: Option<Delivery>,
    sent: Vec<Sent>,
    monitor: Monitor,
}

#[derive(Debug)]
struct Sent {
    settings: Settings,
    /// Its secrets and certificates as they were read.
    files: Stamp,
    filter: Filter,
    delivery: Delivery,
}

impl Sent {
    /// Whether it is this sink, with the secrets and certificates that are there now.
    fn is(&self, settings: &Settings) -> bool {
        self.settings == *settings && self.files == Stamp::of(settings.files().cloned())
    }
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
    /// Lines that wait in its spool for the next run.
    pub spooled: u64,
    /// Lines that were in memory alone, and are lost.
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
        let before = || settings.iter().take(at);
        if before().any(|other| other.name() == sink.name()) {
            return Err(format!("two sinks are called {}; give each a `name`", sink.name()));
        }
        // Variables of the environment write both alike, and a secret would go to whoever comes first.
        let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '.'], "_");
        if let Some(other) = before().find(|other| plain(other.name()) == plain(sink.name())) {
            let names = (other.name(), sink.name());
            return Err(format!("the sinks {} and {} have one name in the environment; rename one", names.0, names.1));
        }
        let file = |sink: &Settings| sink.path.clone().filter(|_| sink.r#type == Type::File);
        if let Some(other) = before().find(|other| file(other).is_some() && file(other) == file(sink)) {
            return Err(format!("the sinks {} and {} write to one file; give each its own", other.name(), sink.name()));
        }
    }
    Ok(())
}

impl Outlets {
    /// Opens all sinks; what none of them takes is printed as native JSON. Spools lie in `state`, below `spool`.
    ///
    /// # Errors
    ///
    /// What keeps one of them from ever working.
    pub fn open(settings: &[Settings], state: &Path, sensor: String) -> Result<Outlets, String> {
        check(settings)?;
        let mut outlets = Outlets {
            spools: state.join("spool"),
            sensor,
            output: Arc::default(),
            printing: None,
            sent: Vec::new(),
            monitor: Monitor::default(),
        };
        outlets.output.print(Output::printed(settings)?);
        for sink in settings.iter().filter(|sink| sink.r#type != Type::Stdout) {
            outlets.add(sink)?;
        }
        outlets.show();
        outlets.say_left_behind();
        Ok(outlets)
    }

    /// Lines that wait for a sink that the configuration has no more, or under another name.
    fn say_left_behind(&self) {
        let Ok(folders) = std::fs::read_dir(&self.spools) else { return };
        for folder in folders.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name == printing::NAME || self.sent.iter().any(|sent| sent.settings.name() == name) {
                continue;
            }
            // What another process has open is its own.
            let lines = Spool::open(&folder, u64::MAX, false).map_or(0, |spool| spool.pending());
            if lines > 0 {
                tracing::warn!(
                    folder = %folder.display(),
                    lines,
                    "lines wait in the spool of a sink that is not configured: a sink of the name of the folder delivers them"
                );
            }
        }
    }

    /// The same where nobody may wait for the reader of standard output: a thread prints, and what it has not printed is in a
    /// spool of its own, with the limits that the first sink of type `stdout` has. Where the disk has none, it waits in memory.
    ///
    /// # Errors
    ///
    /// As [`Outlets::open`]; no thread, or no standard output.
    pub fn open_unattended(settings: &[Settings], state: &Path, sensor: String) -> Result<Outlets, String> {
        let mut outlets = Outlets::open(settings, state, sensor)?;
        let wrong = |error: io::Error| format!("standard output: {error}");
        let to = io::stdout().as_fd().try_clone_to_owned().map_err(wrong)?;
        let table = settings.iter().find(|sink| sink.r#type == Type::Stdout).cloned().unwrap_or_default();
        // It is a pipe on this machine: who reads it again should not be waited for.
        let table = Settings { name: Some(printing::NAME.into()), retry_max_seconds: 1, ..table };
        let folder = outlets.spools.join(table.name());
        let spool = Spool::open(&folder, table.spool_bytes, table.sync);
        if let Err(error) = &spool {
            tracing::warn!(
                "standard output has no spool, what is not printed waits in memory: {}: {error}",
                folder.display()
            );
        }
        let outbox = Outbox::new(table.name(), table.r#type.name(), table.queue, table.spool_bytes, spool.ok());
        let target = Target::Printing(Box::new(Printing::new(to, outlets.output.clone(), &outlets.sensor)));
        let letters = DeadLetters::new(&folder, table.spool_bytes);
        outlets.printing = Some(Delivery::start(Arc::new(outbox), target, letters, &table).map_err(wrong)?);
        outlets.show();
        Ok(outlets)
    }

    /// Adds a sink that has an outbox.
    fn add(&mut self, settings: &Settings) -> Result<(), String> {
        let filter = Filter::new(settings)?;
        let wrong = |reason: String| format!("sink {}: {reason}", settings.name());
        let files = Stamp::of(settings.files().cloned());
        let target = Target::new(settings, &self.sensor).map_err(wrong)?;
        let folder = self.spools.join(settings.name());
        let spool = Spool::open(&folder, settings.spool_bytes, settings.sync).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => wrong(format!(
                "another apitap uses its spool {}; give this one a state folder of its own (--state)",
                folder.display()
            )),
            _ => wrong(format!("its spool {}: {error}", folder.display())),
        })?;
        let letters = DeadLetters::new(&folder, settings.spool_bytes);
        let outbox =
            Outbox::new(settings.name(), settings.r#type.name(), settings.queue, settings.spool_bytes, Some(spool));
        let delivery =
            Delivery::start(Arc::new(outbox), target, letters, settings).map_err(|error| wrong(error.to_string()))?;
        self.sent.push(Sent { settings: settings.clone(), files, filter, delivery });
        Ok(())
    }

    /// The state of the sinks, for other threads.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    fn deliveries(&self) -> impl Iterator<Item = &Delivery> {
        self.printing.iter().chain(self.sent.iter().map(|sent| &sent.delivery))
    }

    fn show(&self) {
        let outboxes = self.deliveries().map(|delivery| delivery.outbox.clone()).collect();
        *self.monitor.0.lock().unwrap_or_else(PoisonError::into_inner) = outboxes;
    }

    /// Hands a line to the sinks that take it, and writes it to `print` for standard output. What is printed is in the
    /// spools before.
    ///
    /// # Errors
    ///
    /// Those of `print`; a reader that has gone, where a thread prints and there is no other sink.
    pub fn write(&self, told: Told<'_>, print: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let native = told.native()?;
        for sent in self.sent.iter().filter(|sent| sent.filter.takes(told)) {
            sent.delivery.outbox.push(&native);
        }
        let Some(printing) = &self.printing else {
            return self.output.write(told, &native, &self.sensor, print);
        };
        if self.output.takes(told) {
            printing.outbox.push(&native);
        }
        if self.sent.is_empty() && self.output.is_closed() {
            return Err(io::ErrorKind::BrokenPipe.into());
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
            // A sensor that has confined itself cannot write wherever its configuration says since.
            if let Some(path) = sink.path.as_deref().filter(|_| !self.sent.iter().any(|sent| sent.is(sink))) {
                super::file::open(path).map_err(|error| {
                    let hint = match error.kind() {
                        io::ErrorKind::PermissionDenied => ": confined, it can write only where its configuration said at its start, [confinement] `write` included",
                        _ => "",
                    };
                    format!("sink {}: {}{hint}", sink.name(), at(path, &error))
                })?;
            }
        }
        let printed = Output::printed(settings)?;
        for sink in settings {
            Filter::new(sink)?;
        }
        let (stay, mut end): (Vec<Sent>, Vec<Sent>) =
            std::mem::take(&mut self.sent).into_iter().partition(|sent| settings.iter().any(|sink| sent.is(sink)));
        self.sent = stay;
        let deadline = Instant::now() + limit;
        end.iter().for_each(|sent| sent.delivery.end(deadline));
        end.iter_mut().for_each(|sent| sent.delivery.join());
        let (ended, held): (Vec<Sent>, Vec<Sent>) = end.into_iter().partition(|sent| sent.delivery.is_over());
        // Spools are free once nobody sees their outboxes any more.
        let before: Vec<Settings> = ended.iter().map(|sent| sent.settings.clone()).collect();
        drop(ended);
        self.show();
        let trouble = match held.first() {
            Some(sent) => Some(format!("sink {}: it is held up and cannot be changed now", sent.settings.name())),
            None => self.add_new(settings, deadline),
        };
        let Some(mut trouble) = trouble else {
            self.output.print(printed);
            self.show();
            return Ok(());
        };
        for sent in held {
            sent.delivery.go_on();
            self.sent.push(sent);
        }
        for sink in &before {
            if let Err(reason) = self.add(sink) {
                trouble = format!("{trouble}; {reason}");
            }
        }
        self.show();
        Err(trouble)
    }

    /// Adds those that are not there; none of them when one cannot work, and why.
    fn add_new(&mut self, settings: &[Settings], deadline: Instant) -> Option<String> {
        let stayed = self.sent.len();
        for sink in settings.iter().filter(|sink| sink.r#type != Type::Stdout) {
            if self.sent.iter().any(|sent| sent.is(sink)) {
                continue;
            }
            if let Err(reason) = self.add(sink) {
                let mut added = self.sent.split_off(stayed);
                added.iter().for_each(|sent| sent.delivery.end(deadline));
                added.iter_mut().for_each(|sent| sent.delivery.join());
                return Some(reason);
            }
        }
        None
    }

    /// There will be no more lines. Waits until all sinks have theirs, at most for `limit`, and tells what is left.
    pub fn finish(mut self, limit: Duration) -> Vec<Left> {
        let deadline = Instant::now() + limit;
        self.deliveries().for_each(|delivery| delivery.end(deadline));
        let sent = self.sent.iter_mut().map(|sent| &mut sent.delivery);
        self.printing.iter_mut().chain(sent).for_each(Delivery::join);
        let left = self.deliveries().map(|delivery| {
            let outbox = &delivery.outbox;
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
        self.deliveries().for_each(|delivery| delivery.end(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;
    use crate::inventory::events::Event;
    use crate::practice::finding::Finding;
    use std::io::Read;
    use std::net::TcpListener;

    const LIMIT: Duration = Duration::from_millis(200);

    fn file(path: &Path, keep: usize) -> Settings {
        let text = format!("type = 'file'\nname = 'it'\npath = '{}'\nkeep_files = {keep}\n", path.display());
        toml::from_str(&text).expect("settings")
    }

    fn lines(path: &Path) -> usize {
        std::fs::read_to_string(path).unwrap_or_default().lines().count()
    }

    fn told(outlets: &Outlets) {
        outlets.write(Told::Alert(&Alert::sample()), |_| Ok(())).expect("nothing is printed");
    }

    /// Looks again and again until it is so.
    fn soon(mut is: impl FnMut() -> bool) -> bool {
        (0..1_000).any(|_| {
            is() || {
                std::thread::sleep(Duration::from_millis(5));
                false
            }
        })
    }

    #[test]
    fn a_changed_sink_goes_on_with_its_spool_and_a_wrong_one_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alerts.jsonl");
        let mut outlets = Outlets::open(&[file(&path, 3)], folder.path(), "s".into()).expect("sinks");
        let monitor = outlets.monitor();
        told(&outlets);
        outlets.reload(&[file(&path, 4)], LIMIT).expect("it is free to change");
        told(&outlets);
        assert!(soon(|| lines(&path) == 2));
        // A new one whose spool is another's, and a change of the old one: neither.
        let other = Spool::open(&folder.path().join("spool").join("taken"), 1 << 20, false).expect("a spool");
        let taken = Settings { name: Some("taken".into()), ..file(&folder.path().join("b.jsonl"), 3) };
        let error = outlets.reload(&[file(&path, 5), taken.clone()], LIMIT).expect_err("it is taken");
        assert!(error.contains("sink taken"), "{error}");
        told(&outlets);
        assert!(soon(|| lines(&path) == 3));
        assert_eq!(monitor.statuses().len(), 1);
        drop(other);
        outlets.reload(&[file(&path, 5), taken], LIMIT).expect("both are free");
        assert_eq!(monitor.statuses().len(), 2);
        assert!(outlets.finish(Duration::from_secs(5)).is_empty());
    }

    #[test]
    fn a_sink_whose_secret_was_replaced_begins_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let token = folder.path().join("token");
        std::fs::write(&token, "a").expect("room");
        let text = format!("type = 'webhook'\nurl = 'http://127.0.0.1:9/'\ntoken_file = '{}'\n", token.display());
        let hook: Settings = toml::from_str(&text).expect("settings");
        let mut outlets = Outlets::open(std::slice::from_ref(&hook), folder.path(), "s".into()).expect("sinks");
        let outbox = |outlets: &Outlets| outlets.sent[0].delivery.outbox.clone();
        let first = outbox(&outlets);
        outlets.reload(std::slice::from_ref(&hook), LIMIT).expect("as before");
        assert!(Arc::ptr_eq(&first, &outbox(&outlets)), "it goes on");
        drop(first);
        std::fs::write(&token, "bcd").expect("room");
        let first = outbox(&outlets);
        let spool = Arc::downgrade(&first);
        drop(first);
        outlets.reload(&[hook], LIMIT).expect("its spool is free");
        assert!(spool.upgrade().is_none(), "there is another");
    }

    #[test]
    fn where_nothing_can_be_written_there_can_be_no_sink() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut outlets = Outlets::open(&[], folder.path(), "s".into()).expect("no sinks");
        let nowhere = folder.path().join("nowhere").join("alerts.jsonl");
        let error = outlets.reload(&[file(&nowhere, 3)], LIMIT).expect_err("there is no such folder");
        assert!(error.contains("nowhere"), "{error}");
    }

    #[test]
    fn a_receiver_that_does_not_answer_can_be_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = silent.local_addr().expect("an address");
        let text = format!("type = 'webhook'\nname = 'it'\nurl = 'http://{at}/'\n");
        let hook: Settings = toml::from_str(&text).expect("settings");
        let mut outlets = Outlets::open(&[hook], folder.path(), "s".into()).expect("sinks");
        told(&outlets);
        let (mut connection, _) = silent.accept().expect("it calls");
        assert!(connection.read(&mut [0; 64]).expect("a request") > 0);
        // What it had not taken is for the next.
        let path = folder.path().join("alerts.jsonl");
        outlets.reload(&[file(&path, 3)], LIMIT).expect("it ends without an answer");
        assert!(soon(|| lines(&path) == 1));
    }

    /// The schemas of what is printed when one of each is told, and of what a file sink called `it` gets.
    fn told_of_each(folder: &Path, sinks: &str) -> (Vec<String>, Vec<String>) {
        #[derive(serde::Deserialize)]
        struct Tables {
            #[serde(default)]
            sink: Vec<Settings>,
        }
        let path = folder.join("it.jsonl");
        let _ = std::fs::remove_file(&path);
        let tables: Tables = toml::from_str(&sinks.replace("PATH", &path.display().to_string())).expect("sinks");
        let outlets = Outlets::open(&tables.sink, folder, "s".into()).expect("sinks");
        let (event, alert, finding) = (Event::sample(), Alert::sample(), Finding::sample());
        let mut printed = Vec::new();
        for told in [Told::Event(&event), Told::Alert(&alert), Told::Finding(&finding)] {
            let print = |line: &[u8]| {
                printed.push(String::from_utf8_lossy(line).into_owned());
                Ok(())
            };
            outlets.write(told, print).expect("memory takes all");
        }
        assert!(outlets.finish(Duration::from_secs(5)).is_empty());
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let name = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let schema = line["schema"].as_str().or(line["event"]["dataset"].as_str()).expect("a schema");
            schema.trim_start_matches("apitap.").to_owned()
        };
        (printed.iter().map(|line| name(line)).collect(), kept.lines().map(name).collect())
    }

    #[test]
    fn what_no_sink_takes_is_printed() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = "[[sink]]\ntype = 'file'\nname = 'it'\npath = 'PATH'\n";
        let told = |sinks: &str| told_of_each(folder.path(), sinks);
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let all = ["event.v1", "alert.v1", "finding.v1"];
        assert_eq!(told(""), (names(&all), Vec::new()));
        assert_eq!(told(file), (names(&["event.v1", "finding.v1"]), names(&["alert.v1"])));
        // It is the class that counts: what a filter leaves out is not wanted.
        let others = format!("{file}takes = ['findings', 'events']\nkinds = ['endpoint_new', 'quota.*']\n");
        assert_eq!(told(&others), (names(&["alert.v1"]), Vec::new()));
        let takes = format!("{file}takes = ['alerts', 'findings', 'events']\n");
        assert_eq!(told(&takes), (Vec::new(), names(&all)));
        let stdout = format!("[[sink]]\ntype = 'stdout'\nformat = 'ecs'\ntakes = ['events']\n{file}");
        assert_eq!(told(&stdout), (names(&["event", "finding.v1"]), names(&["alert.v1"])));
    }

    #[test]
    fn what_is_printed_is_the_native_form() {
        let folder = tempfile::tempdir().expect("a folder");
        let outlets = Outlets::open(&[], folder.path(), "s".into()).expect("no sinks");
        let (event, finding) = (Event::sample(), Finding::sample());
        let mut printed = Vec::new();
        for told in [Told::Event(&event), Told::Finding(&finding)] {
            outlets
                .write(told, |line| {
                    printed.push(line.to_vec());
                    Ok(())
                })
                .expect("memory takes all");
        }
        let native = [serde_json::to_vec(&event), serde_json::to_vec(&finding)].map(|line| line.expect("plain data"));
        assert_eq!(printed, native);
    }
}
