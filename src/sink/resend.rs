//! Dead letters are sent again, through the sink as it is configured now; a sensor may write others meanwhile.
//!
//! Each file of letters is renamed (`….sending`) and read from its beginning; what stays is written to a second file (`….kept`).
//! When all of it has been tried, the second takes the place of the first, and goes back under the name that letters have.
//! Until then the first is whole: whoever is killed has lost nothing, and the next one begins with it again. What was sent by then
//! is sent twice, which its id tells. Memory is that of one delivery of the sink, and of the longest letter.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tokio::time::{sleep, timeout};

use super::appending;
use super::backoff::Backoff;
use super::delivery::Trouble;
use super::format::Notice;
use super::letters::{self, DeadLetters, Letter, Line};
use super::outbox::at;
use super::settings::{Settings, Type};
use super::target::Target;
use super::told::Message;

/// Attempts of one delivery before the receiver counts as away.
const ATTEMPTS: u32 = 3;

/// Longest pause between two of them: whoever asks for more is away.
const PAUSE: Duration = Duration::from_secs(20);

/// Different reasons that are told; further ones are told together.
const REASONS: usize = 5;

/// What came of the dead letters of a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resent {
    /// The sink.
    pub name: String,
    /// Letters that its receiver has now.
    pub sent: u64,
    /// Letters that stay.
    pub stay: u64,
    /// Why, and of how many.
    pub reasons: BTreeMap<String, u64>,
}

impl Resent {
    fn stays(&mut self, reason: &str) {
        self.stay += 1;
        let reason =
            if self.reasons.len() < REASONS || self.reasons.contains_key(reason) { reason } else { "other reasons" };
        *self.reasons.entry(reason.to_owned()).or_default() += 1;
    }
}

impl fmt::Display for Resent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sent + self.stay == 0 {
            return write!(f, "{}: no dead letters", self.name);
        }
        write!(f, "{}: {} sent, {} stay", self.name, self.sent, self.stay)?;
        for (at, (reason, count)) in self.reasons.iter().enumerate() {
            write!(f, "{} {count}: {reason}", if at == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

/// Sends the dead letters of a sink again. Its spool lies in `state`, below `spool`.
///
/// # Errors
///
/// Files that cannot be read, written or renamed, or belong to another user; another process that does the same now. All letters
/// are there still.
pub fn resend(settings: &Settings, state: &Path, sensor: &str) -> io::Result<Resent> {
    let folder = state.join("spool").join(settings.name());
    let resent = Resent { name: settings.name().to_owned(), ..Resent::default() };
    if settings.r#type == Type::Stdout || !folder.is_dir() {
        return Ok(resent);
    }
    own(&folder)?;
    let _lock = lock(&folder)?;
    let all = DeadLetters::new(&folder, settings.spool_bytes);
    let names = [all.older(), all.path().to_owned()];
    for name in &names {
        // What one that was killed had taken out.
        put_back(&extended(name, "sending"), name, all.path())?;
        remove(&extended(name, "kept"))?;
    }
    if !names.iter().any(|name| fs::metadata(name).is_ok_and(|held| held.len() > 0)) {
        return Ok(resent);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (target, away) = match Target::new(&appending_only(settings), sensor) {
        Ok(target) => (Some(target), None),
        Err(reason) => (None, Some(reason)),
    };
    let mut courier = Courier {
        target,
        away,
        backoff: Backoff::new(
            Duration::from_millis(settings.retry_milliseconds),
            PAUSE.min(Duration::from_secs(settings.retry_max_seconds)),
            Duration::from_secs(settings.retry_after_max_seconds),
        ),
        timeout: Duration::from_secs(u64::from(settings.timeout_seconds)),
        batch: settings.batch(),
        batch_bytes: settings.batch_bytes,
        resent,
    };
    let outcome = runtime.block_on(courier.all(&names, all.path()));
    // A name that is still being resolved has a thread of its own, which is not waited for.
    runtime.shutdown_background();
    outcome.map(|()| courier.resent)
}

/// A file that the sensor rotates is written here at its end alone.
fn appending_only(settings: &Settings) -> Settings {
    Settings { rotate_bytes: 0, rotate_hours: 0, ..settings.clone() }
}

/// Files that somebody else made here, the sensor could not write any more.
fn own(folder: &Path) -> io::Result<()> {
    let owner = fs::metadata(folder)?.uid();
    if owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let reason = format!("{} belongs to the user {owner}: run this as that user", folder.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

/// One at a time.
fn lock(folder: &Path) -> io::Result<File> {
    let path = folder.join("resend.lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| at(&path, &error))?;
    appending::lock(&file).map_err(|_| io::Error::other("its dead letters are being sent again by another process"))?;
    Ok(file)
}

fn extended(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path, &error)),
        _ => Ok(()),
    }
}

/// Gives letters the name back that they had, or adds them to those that are `written` now where others have it.
fn put_back(aside: &Path, name: &Path, written: &Path) -> io::Result<()> {
    if !aside.try_exists()? || renameat_with(CWD, aside, CWD, name, RenameFlags::NOREPLACE).is_ok() {
        return Ok(());
    }
    let mut end = appending::open(written, 0o600).map_err(|error| at(written, &error))?;
    let before = end.metadata()?.len();
    if let Err(error) = io::copy(&mut File::open(aside)?, &mut end).and_then(|_| end.sync_all()) {
        let _ = end.set_len(before);
        return Err(at(written, &error));
    }
    remove(aside)
}

/// Lines that are sent together, with what they were among the letters.
#[derive(Default)]
struct Batch {
    lines: Vec<Vec<u8>>,
    messages: Vec<Message>,
    natives: Vec<Vec<u8>>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, line: Vec<u8>, message: Message, native: Vec<u8>) {
        self.bytes += native.len();
        self.lines.push(line);
        self.messages.push(message);
        self.natives.push(native);
    }
}

struct Courier {
    target: Option<Target>,
    /// Why nothing can be sent any more.
    away: Option<String>,
    backoff: Backoff,
    timeout: Duration,
    batch: usize,
    batch_bytes: usize,
    resent: Resent,
}

impl Courier {
    async fn all(&mut self, names: &[PathBuf], written: &Path) -> io::Result<()> {
        let mut tried = Vec::new();
        let mut failed = None;
        for name in names {
            match self.file(name).await {
                Ok(true) => tried.push(name),
                Ok(false) => {}
                Err(error) => {
                    // All of it is in the first file still.
                    let put = put_back(&extended(name, "sending"), name, written);
                    failed = put.and_then(|()| remove(&extended(name, "kept"))).err().or(Some(error));
                    break;
                }
            }
        }
        // Until the receiver has everything, all letters are there.
        if let Some(target) = &mut self.target {
            target.close().await;
        }
        for name in tried {
            let (aside, kept) = (extended(name, "sending"), extended(name, "kept"));
            if fs::metadata(&kept)?.len() > 0 {
                fs::rename(&kept, &aside).map_err(|error| at(&aside, &error))?;
                put_back(&aside, name, written)?;
            } else {
                remove(&aside)?;
                remove(&kept)?;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Tries the letters of one file; false where there is none.
    async fn file(&mut self, name: &Path) -> io::Result<bool> {
        let (aside, kept) = (extended(name, "sending"), extended(name, "kept"));
        match fs::rename(name, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            renamed => renamed.map_err(|error| at(name, &error))?,
        }
        let file = File::open(&aside)?;
        // Whoever opened it under its name before has written once its lock was free, or sees afterwards that it has lost it.
        appending::lock(&file).map_err(|error| at(&aside, &error))?;
        appending::unlock(&file);
        let mut letters = BufReader::with_capacity(64 << 10, &file);
        let out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&kept);
        let mut out = BufWriter::new(out.map_err(|error| at(&kept, &error))?);
        let mut batch = Batch::default();
        while let Some(line) = letters::next_line(&mut letters, &mut out)? {
            let line = match line {
                Line::Whole(line) => line,
                Line::TooLong => {
                    self.resent.stays("unreadable: too long");
                    continue;
                }
                Line::Torn(bytes) => {
                    tracing::warn!(file = %name.display(), bytes, "the file ended in a torn line, which was cut off");
                    continue;
                }
            };
            if line.trim_ascii().is_empty() {
                continue;
            }
            match Letter::of(&line) {
                Letter::Whole(message, native) => {
                    if batch.bytes + native.len() > self.batch_bytes {
                        self.send(std::mem::take(&mut batch), &mut out).await?;
                    }
                    batch.add(line, *message, native);
                    if batch.lines.len() >= self.batch {
                        self.send(std::mem::take(&mut batch), &mut out).await?;
                    }
                }
                Letter::Unreadable(reason) => {
                    self.resent.stays(&reason);
                    keep(&line, &mut out)?;
                }
            }
        }
        self.send(batch, &mut out).await?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(true)
    }

    /// Sends lines, and writes down those that stay.
    async fn send(&mut self, batch: Batch, out: &mut impl Write) -> io::Result<()> {
        let notices: Vec<Notice<'_>> = batch.messages.iter().map(|message| message.told().into()).collect();
        let (mut from, mut step) = (0, notices.len());
        while from < notices.len() {
            let to = (from + step).min(notices.len());
            let some = notices.get(from..to).unwrap_or_default();
            let natives = batch.natives.get(from..to).unwrap_or_default();
            let lines = batch.lines.get(from..to).unwrap_or_default();
            match self.attempt(some, natives).await {
                Ok(()) => self.resent.sent += some.len() as u64,
                // There is one among them that is refused: which shows when each is sent by itself.
                Err(Trouble::Never { which: None, .. }) if some.len() > 1 => {
                    step = 1;
                    continue;
                }
                Err(Trouble::Never { reason, which }) => {
                    let refused = |at: usize| which.as_ref().is_none_or(|which| which.contains(&at));
                    for (at, native) in natives.iter().enumerate() {
                        if refused(at) {
                            self.resent.stays(&reason);
                            out.write_all(&letters::letter(native, &reason))?;
                        } else {
                            self.resent.sent += 1;
                        }
                    }
                }
                Err(Trouble::Later { reason, .. }) => {
                    for line in lines {
                        self.resent.stays(&reason);
                        keep(line, out)?;
                    }
                    self.away = Some(reason);
                }
            }
            from = to;
        }
        Ok(())
    }

    /// One delivery, tried a few times. Once the receiver has been away for all of them, there is none any more.
    async fn attempt(&mut self, notices: &[Notice<'_>], natives: &[Vec<u8>]) -> Result<(), Trouble> {
        if let Some(reason) = &self.away {
            return Err(Trouble::later(reason));
        }
        let Some(target) = &mut self.target else { return Err(Trouble::later("it cannot be sent to")) };
        self.backoff.reset();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let outcome = timeout(self.timeout, target.deliver(notices, natives)).await.unwrap_or_else(|_| {
                target.reset();
                Err(Trouble::later(format!("no answer within {} s", self.timeout.as_secs_f64())))
            });
            match outcome {
                Err(Trouble::Later { reason, after }) => {
                    let pause = self.backoff.next(after);
                    if attempts >= ATTEMPTS || pause > PAUSE {
                        return Err(Trouble::Later { reason, after });
                    }
                    sleep(pause).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// A letter stays as it was.
fn keep(line: &[u8], out: &mut impl Write) -> io::Result<()> {
    out.write_all(line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;

    fn settings(folder: &Path) -> Settings {
        let text = format!("type = 'file'\nname = 'it'\npath = '{}'\n", folder.join("it.jsonl").display());
        toml::from_str(&text).expect("settings")
    }

    fn alert(number: u32) -> Vec<u8> {
        serde_json::to_vec(&Alert { id: format!("{number:016x}"), ..Alert::sample() }).expect("plain data")
    }

    fn ids(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("whole lines"));
        lines.map(|line| line["id"].as_str().expect("an id").to_owned()).collect()
    }

    #[test]
    fn no_letter_is_lost_while_others_are_written() {
        const COUNT: u32 = 600;
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path());
        let spool = folder.path().join("spool").join("it");
        fs::create_dir_all(&spool).expect("a folder");
        let letters = DeadLetters::new(&spool, settings.spool_bytes);
        let mut sent = 0;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for number in 0..COUNT {
                    letters.write(&[&alert(number)], "no").expect("room");
                }
            });
            loop {
                let over = writer.is_finished();
                let resent = resend(&settings, folder.path(), "s").expect("files that can be written");
                assert_eq!((resent.stay, resent.reasons.len()), (0, 0));
                sent += resent.sent;
                if over {
                    break;
                }
            }
        });
        let expected: Vec<String> = (0..COUNT).map(|number| format!("{number:016x}")).collect();
        assert_eq!((sent, ids(&folder.path().join("it.jsonl"))), (u64::from(COUNT), expected), "each once, in order");
        assert!(!letters.path().exists());
    }

    #[test]
    fn what_was_taken_out_by_one_that_died_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path());
        let spool = folder.path().join("spool").join("it");
        fs::create_dir_all(&spool).expect("a folder");
        let letters = DeadLetters::new(&spool, settings.spool_bytes);
        letters.write(&[&alert(1), &alert(2)], "no").expect("room");
        fs::rename(letters.path(), extended(letters.path(), "sending")).expect("a rename");
        fs::write(extended(letters.path(), "kept"), b"{\"ti").expect("room");
        // Another was written since, and one stands in the older half.
        letters.write(&[&alert(3)], "no").expect("room");
        fs::write(extended(&letters.older(), "sending"), letters::letter(&alert(0), "no")).expect("room");
        let resent = resend(&settings, folder.path(), "s").expect("files that can be written");
        assert_eq!((resent.sent, resent.stay), (4, 0));
        let mut all = ids(&folder.path().join("it.jsonl"));
        all.sort();
        assert_eq!(all, (0..4).map(|number| format!("{number:016x}")).collect::<Vec<_>>());
        let left: Vec<_> = fs::read_dir(&spool)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        assert_eq!(left, ["resend.lock"]);
    }

    #[test]
    fn letters_that_stay_go_back_beside_those_that_came_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = folder.path().join("dead-letters.jsonl");
        let aside = extended(&name, "sending");
        fs::write(&aside, "old\n").expect("room");
        fs::write(&name, "new\ntor").expect("room");
        put_back(&aside, &name, &name).expect("room");
        assert_eq!(fs::read_to_string(&name).expect("text"), "new\nold\n");
        assert!(!aside.exists());
        put_back(&aside, &name, &name).expect("nothing is put back");
        fs::rename(&name, &aside).expect("a rename");
        put_back(&aside, &name, &name).expect("its place is free");
        assert_eq!(fs::read_to_string(&name).expect("text"), "new\nold\n");
    }

    #[test]
    fn one_at_a_time_and_many_reasons_are_told_together() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path());
        fs::create_dir_all(folder.path().join("spool").join("it")).expect("a folder");
        let held = lock(&folder.path().join("spool").join("it")).expect("free");
        let error = resend(&settings, folder.path(), "s").expect_err("another is at it");
        assert!(error.to_string().contains("another process"), "{error}");
        drop(held);
        let none = resend(&settings, folder.path(), "s").expect("free");
        assert_eq!(none.to_string(), "it: no dead letters");
        let mut resent = Resent { name: "it".into(), sent: 2, ..Resent::default() };
        (0..20).for_each(|number| resent.stays(&format!("reason {number}")));
        resent.stays("reason 1");
        assert_eq!((resent.stay, resent.reasons.len()), (21, REASONS + 1));
        assert_eq!((resent.reasons["reason 1"], resent.reasons["other reasons"]), (2, 15));
        assert!(resent.to_string().starts_with("it: 2 sent, 21 stay: 15: other reasons; 1: reason 0; 2: reason 1; "));
    }
}
