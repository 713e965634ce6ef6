//! Another configuration while `watch` runs: on SIGHUP, and when the files change.
//!
//! A thread of its own looks at the files every two seconds, reads them and checks them as at the start; what is wrong is
//! said, and all stays as it was. What is well goes into a [`Slot`], from which the detector's thread takes it between two
//! batches of records. What cannot be changed while it runs is said by name.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Failure, notify};
use crate::client::TrustedProxies;
use crate::detect::{self, DetectRules};
use crate::metrics::Board;
use crate::rules::RuleFile;
use crate::settings::{Settings, differences};
use crate::sink::Settings as Sink;
use crate::stamp::Stamp;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Keys that take effect while it runs; the file of rules for the detector does, too.
const RELOADABLE: [&str; 6] = [
    "sink",
    "rules",
    "client.trusted_proxies",
    "detect.false_alarms_per_day",
    "detect.incident_quiet_hours",
    "output.sink_wait_seconds",
];

/// Another configuration, checked.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) settings: Settings,
    pub(super) rules: DetectRules,
    pub(super) proxies: TrustedProxies,
    /// The keys that differ and take effect, for the message.
    pub(super) changed: Vec<String>,
}

/// Where a change waits for the detector's thread.
#[derive(Debug, Default)]
pub(super) struct Slot {
    waits: AtomicBool,
    change: Mutex<Option<Box<Change>>>,
    /// The last change could not take effect.
    undone: AtomicBool,
}

impl Slot {
    fn put(&self, change: Change) {
        *self.change.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(change));
        self.waits.store(true, Ordering::Release);
    }

    /// The change that was taken last could not take effect: whoever reads the files next compares with what was before.
    pub(super) fn undo(&self) {
        self.undone.store(true, Ordering::Release);
    }

    /// The change that waits, if any. Costs a look at a flag.
    pub(super) fn take(&self) -> Option<Box<Change>> {
        if !self.waits.load(Ordering::Relaxed) || !self.waits.swap(false, Ordering::Acquire) {
            return None;
        }
        self.change.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What was before a change.
struct Before {
    settings: Settings,
    texts: Vec<(String, String)>,
    secrets: Stamp,
}

/// What is watched, and how it is read.
pub(super) struct Watched {
    /// The configuration file.
    file: Option<PathBuf>,
    /// The settings as they are.
    settings: Settings,
    /// The secrets and certificates of its sinks as they were found.
    secrets: Stamp,
    /// Settings, rules and secrets before the last change.
    before: Option<Before>,
    /// Reads the file, the environment and the flags again.
    read: Box<dyn Fn() -> Result<Settings, Failure> + Send>,
}

/// Starts the thread; it lives as long as the process. What is refused is told on the board.
pub(super) fn start(mut watched: Watched, slot: Arc<Slot>, board: Arc<Board>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut hang_up = {
        let _inside = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?
    };
    let texts = crate::rules::texts(watched.settings.rules.as_deref()).unwrap_or_default();
    std::thread::Builder::new().name("reload".into()).spawn(move || {
        runtime.block_on(async {
            let (mut texts, mut stamp) = (texts, watched.stamp());
            loop {
                let asked = tokio::select! {
                    signal = hang_up.recv() => signal.is_some(),
                    () = tokio::time::sleep(LOOK) => false,
                };
                let found = watched.stamp();
                if !asked && found == stamp {
                    continue;
                }
                stamp = found;
                if asked {
                    notify::reloading();
                }
                if slot.undone.swap(false, Ordering::Acquire) {
                    watched.go_back(&mut texts);
                }
                match watched.again(&mut texts) {
                    Ok(Some(change)) => {
                        slot.put(change);
                        continue; // who takes it says that it is done
                    }
                    Ok(None) => {
                        board.refuse(None);
                        if asked {
                            tracing::info!("the configuration is as it was");
                        }
                    }
                    Err(reason) => {
                        tracing::error!("the configuration stays as it was: {reason}");
                        board.refuse(Some(reason));
                    }
                }
                if asked {
                    notify::reloaded();
                }
            }
        });
    })?;
    Ok(())
}

impl Watched {
    /// These settings, read from this file.
    pub(super) fn new(
        file: Option<PathBuf>,
        settings: Settings,
        read: impl Fn() -> Result<Settings, Failure> + Send + 'static,
    ) -> Watched {
        let mut watched = Watched { file, settings, secrets: Stamp::default(), before: None, read: Box::new(read) };
        watched.secrets = watched.secrets();
        watched
    }

    /// The last change did not take effect.
    fn go_back(&mut self, texts: &mut Vec<(String, String)>) {
        if let Some(Before { settings, texts: before, secrets }) = self.before.take() {
            self.settings = settings;
            *texts = before;
            self.secrets = secrets;
        }
    }

    /// The files of the configuration as they are now.
    fn stamp(&self) -> Stamp {
        let mut paths: Vec<PathBuf> = self.file.clone().into_iter().collect();
        if let Some(Ok(entries)) = self.settings.rules.as_deref().map(std::fs::read_dir) {
            let files = entries.flatten().map(|entry| entry.path());
            paths.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")));
        }
        paths.extend(self.settings.sink.iter().flat_map(Sink::files).cloned());
        Stamp::of(paths)
    }

    /// The secrets and certificates of the sinks as they are now.
    fn secrets(&self) -> Stamp {
        Stamp::of(self.settings.sink.iter().flat_map(Sink::files).cloned())
    }

    /// Reads and checks everything; none when nothing differs that takes effect.
    fn again(&mut self, texts: &mut Vec<(String, String)>) -> Result<Option<Change>, String> {
        let told = |failure: Failure| match failure {
            Failure::Usage(reason) | Failure::Failed(reason) => reason,
        };
        let settings = (self.read)().map_err(told)?;
        settings.check()?;
        let folder = settings.rules.as_deref();
        let wrong = crate::rules::check(folder);
        if !wrong.is_empty() {
            return Err(wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
        }
        let fresh = crate::rules::texts(folder).map_err(|error| error.to_string())?;
        let file = RuleFile::find(folder, detect::FILE, detect::COMPILED_IN).map_err(|error| error.to_string())?;
        let rules = DetectRules::load(&file).map_err(|error| error.to_string())?;

        let (mut changed, mut kept): (Vec<String>, Vec<String>) =
            differences(&self.settings, &settings).into_iter().partition(|key| RELOADABLE.contains(&key.as_str()));
        for (name, text) in &fresh {
            if texts.iter().any(|(held, before)| held == name && before != text) {
                if name == detect::FILE { &mut changed } else { &mut kept }.push(format!("rules/{name}"));
            }
        }
        if !kept.is_empty() {
            tracing::warn!("takes effect at the next start only: {}", kept.join(", "));
        }
        // What takes effect later only is not said again at each change.
        let mut before = Before {
            settings: std::mem::replace(&mut self.settings, settings.clone()),
            texts: std::mem::replace(texts, fresh),
            secrets: Stamp::default(),
        };
        // Of the sinks that there are now: where they are as before, so are the files that are looked at.
        let found = self.secrets();
        before.secrets = std::mem::replace(&mut self.secrets, found);
        // A token that was replaced is in none of the settings.
        if before.secrets != self.secrets && !changed.iter().any(|key| key == "sink") {
            changed.push("sink".into());
        }
        if changed.is_empty() {
            return Ok(None);
        }
        self.before = Some(before);
        Ok(Some(Change { proxies: TrustedProxies::new(&settings.client), settings, rules, changed }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn watched(folder: &Path) -> Watched {
        let path = folder.join("apitap.toml");
        let file = path.clone();
        let read = move || Settings::read(&file).map_err(Failure::from);
        Watched::new(Some(path), read().unwrap_or_default(), read)
    }

    #[test]
    fn a_secret_that_was_replaced_is_a_change_of_its_sink() {
        let folder = tempfile::tempdir().expect("a folder");
        let token = folder.path().join("token");
        std::fs::write(&token, "a").expect("a file");
        let text = format!("[[sink]]\ntype = 'webhook'\nurl = 'http://a/'\ntoken_file = '{}'\n", token.display());
        std::fs::write(folder.path().join("apitap.toml"), text).expect("a file");
        let mut watched = watched(folder.path());
        let mut texts = crate::rules::texts(None).expect("compiled in");
        let stamp = watched.stamp();
        assert!(watched.again(&mut texts).expect("well").is_none(), "nothing differs");
        std::fs::write(&token, "bcd").expect("a file");
        assert_ne!(watched.stamp(), stamp, "it is noticed");
        let changed = |change: Option<Change>| change.map(|change| change.changed);
        let before = std::fs::read_to_string(folder.path().join("apitap.toml")).expect("text");
        assert_eq!(changed(watched.again(&mut texts).expect("well")), Some(vec!["sink".to_owned()]));
        assert!(watched.again(&mut texts).expect("well").is_none(), "it is in effect");
        watched.go_back(&mut texts);
        assert_eq!(changed(watched.again(&mut texts).expect("well")), Some(vec!["sink".to_owned()]));
        // Another sink with a secret is one change, and not a second one when something else is.
        let more = before.clone() + &before.replace("type =", "name = 'b'\ntype =");
        std::fs::write(folder.path().join("apitap.toml"), more).expect("a file");
        assert_eq!(changed(watched.again(&mut texts).expect("well")), Some(vec!["sink".to_owned()]));
        assert!(watched.again(&mut texts).expect("well").is_none(), "it is in effect");
        std::fs::write(folder.path().join("apitap.toml"), "").expect("a file");
        assert_eq!(changed(watched.again(&mut texts).expect("well")), Some(vec!["sink".to_owned()]));
        assert!(watched.again(&mut texts).expect("well").is_none(), "it is in effect");
    }

    #[test]
    fn all_or_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |text: &str| std::fs::write(folder.path().join("apitap.toml"), text).expect("a file");
        write("");
        let mut watched = watched(folder.path());
        let mut texts = crate::rules::texts(None).expect("compiled in");
        let stamp = watched.stamp();
        assert!(watched.again(&mut texts).expect("well").is_none(), "nothing differs");

        write("[detect]\nfalse_alarms_per_day = 3.0\n[stream]\nmax_flows = 7\n");
        assert_ne!(watched.stamp(), stamp);
        let change = watched.again(&mut texts).expect("well").expect("it differs");
        assert_eq!(change.changed, ["detect.false_alarms_per_day"], "tables keep their size");
        assert_eq!(change.settings.detect.false_alarms_per_day, 3.0);

        let before = watched.settings.clone();
        for wrong in ["[detect]\nfalse_alarm = 1\n", "[[sink]]\ntype = 'file'\n", "nonsense"] {
            write(wrong);
            assert!(watched.again(&mut texts).is_err(), "{wrong}");
            assert!(differences(&watched.settings, &before).is_empty(), "the old one stays");
        }
        write("[[sink]]\ntype = 'stdout'\n[detect]\nfalse_alarms_per_day = 3.0\n[stream]\nmax_flows = 7\n");
        let slot = Slot::default();
        assert!(slot.take().is_none());
        slot.put(watched.again(&mut texts).expect("well").expect("it differs"));
        assert_eq!(slot.take().map(|change| change.changed.clone()), Some(vec!["sink".to_owned()]));
        assert!(slot.take().is_none());
        assert!(watched.again(&mut texts).expect("well").is_none(), "it is in effect");
        // Had it not come into effect, it would still be new.
        watched.go_back(&mut texts);
        assert_eq!(
            watched.again(&mut texts).expect("well").map(|change| change.changed),
            Some(vec!["sink".to_owned()])
        );
    }
}
