//! Key, rules, and the folders that are written to: whether they can be, and whether their disks have the room that the settings allow
//! to be filled.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use rustix::fs::{Access, access, statvfs};

use super::{Check, Subject, bytes};
use crate::key::Key;
use crate::settings::Settings;
use crate::sink::Type;

/// What is left on a disk at least, beside what apitap may fill.
const RESERVE: u64 = 64 << 20;

pub(super) fn examine(subject: &Subject<'_>, tell: &mut dyn FnMut(Check)) {
    let settings = subject.settings;
    tell(key(settings, &subject.state));
    tell(rules(settings.rules.as_deref()));
    let user = settings.confinement.user.as_deref();
    tell(folder("state", &subject.state, user, "--state"));
    if let Some(evidence) = &settings.evidence.folder {
        tell(folder("evidence", evidence, user, "--evidence"));
    }
    let mut disks = BTreeMap::<u64, Disk>::new();
    for (folder, most) in filled(settings, &subject.state) {
        // What is not there yet will be on the disk of what it is made in.
        let Some((there, held)) = ancestor(&folder) else { continue };
        let disk = disks.entry(held.dev()).or_default();
        disk.there = there;
        if !disk.folders.contains(&folder) {
            disk.folders.push(folder);
        }
        disk.most = disk.most.zip(most).map(|(sum, most)| sum.saturating_add(most));
    }
    for disk in disks.values() {
        tell(room(disk));
    }
}

/// A disk and what the settings allow to be filled of it.
#[derive(Debug)]
struct Disk {
    /// A folder of it that is there.
    there: PathBuf,
    folders: Vec<PathBuf>,
    /// None: without a limit.
    most: Option<u64>,
}

impl Default for Disk {
    fn default() -> Self {
        Disk { there: PathBuf::new(), folders: Vec::new(), most: Some(0) }
    }
}

/// The folders that are written to, with what may be filled of each; none where there is no limit.
fn filled(settings: &Settings, state: &Path) -> Vec<(PathBuf, Option<u64>)> {
    // Two checkpoints and a third while it is written stay small beside the spools.
    let mut filled = vec![(state.to_owned(), Some(0))];
    let evidence = &settings.evidence;
    filled.extend(evidence.folder.iter().map(|folder| (folder.clone(), Some(evidence.total_bytes))));
    for sink in settings.sink.iter().filter(|sink| sink.r#type != Type::Stdout) {
        // The spool, and half of it for dead letters.
        filled.push((state.join("spool"), Some(sink.spool_bytes.saturating_add(sink.spool_bytes / 2))));
        let Some(path) = &sink.path else { continue };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let bounded = sink.rotate_bytes > 0 && sink.keep_files > 0;
        filled.push((folder.to_owned(), bounded.then(|| sink.rotate_bytes.saturating_mul(sink.keep_files as u64 + 1))));
    }
    filled
}

fn room(disk: &Disk) -> Check {
    let folders: Vec<_> = disk.folders.iter().map(|folder| folder.display().to_string()).collect();
    let held = match statvfs(&disk.there) {
        Ok(held) => held,
        Err(error) => {
            return Check::warning("disk", io::Error::from(error).to_string(), "look at the disk")
                .of(folders.join(", "));
        }
    };
    judge_room(held.f_bavail.saturating_mul(held.f_frsize), disk.most).of(folders.join(", "))
}

fn judge_room(free: u64, most: Option<u64>) -> Check {
    let found = format!("{} are free", bytes(free));
    if free < RESERVE {
        return Check::failed("disk", found, "make room: neither spools nor checkpoints can be written on a full disk");
    }
    match most {
        None => Check::warning(
            "disk",
            format!("{found}, files may grow without a limit"),
            "set `rotate_bytes` and `keep_files` of the sink",
        ),
        Some(most) if free - RESERVE < most => Check::warning(
            "disk",
            format!("{found}, spools and files may fill {}", bytes(most)),
            "make room, or lower `spool_bytes`, `rotate_bytes` or `keep_files` of the sinks, or `total_bytes` of the evidence",
        ),
        Some(0) => Check::ok("disk", found),
        Some(most) => Check::ok("disk", format!("{found}, spools and files may fill {}", bytes(most))),
    }
}

/// The folder itself, or the nearest above it that is there.
fn ancestor(folder: &Path) -> Option<(PathBuf, fs::Metadata)> {
    let absolute = std::path::absolute(folder).ok()?;
    absolute.ancestors().find_map(|path| Some((path.to_owned(), fs::metadata(path).ok()?)))
}

fn key(settings: &Settings, state: &Path) -> Check {
    let (path, advice) = match &settings.key_file {
        Some(path) => (path.clone(), "name a file with 16 bytes with --key-file"),
        None => (
            state.join("key"),
            "take it from a backup; without it fingerprints of earlier alerts match none of the new ones",
        ),
    };
    let subject = path.display().to_string();
    match Key::read(&path) {
        Ok(_) => Check::ok("key", "it can be read"),
        Err(error) if error.kind() == io::ErrorKind::NotFound && settings.key_file.is_none() => {
            Check::ok("key", "it will be made at the first start")
        }
        Err(error) => Check::failed("key", error.to_string(), advice),
    }
    .of(subject)
}

fn rules(folder: Option<&Path>) -> Check {
    let wrong = crate::rules::check(folder);
    let check = match wrong.first() {
        None => Check::ok("rules", "all are well"),
        Some(first) => Check::failed(
            "rules",
            format!("{} are wrong, the first: {first}", wrong.len()),
            "apitap rules check names all of them",
        ),
    };
    match folder {
        Some(folder) => check.of(folder.display().to_string()),
        None => check,
    }
}

/// Whether a folder, which a flag names, can be written, by the user as whom it goes on, too.
fn folder(check: &'static str, folder: &Path, user: Option<&str>, flag: &str) -> Check {
    let subject = folder.display().to_string();
    let examined = || {
        let other = format!("name another one with {flag}");
        let Some((there, held)) = ancestor(folder) else {
            return Check::failed(check, "there is no folder above it either", other);
        };
        if !held.is_dir() {
            return Check::failed(check, format!("{} is no folder", there.display()), other);
        }
        if let Err(error) = access(&there, Access::WRITE_OK | Access::EXEC_OK) {
            let found = format!("{}: {}", there.display(), io::Error::from(error));
            return Check::failed(check, found, format!("give this user the folder, or {other}"));
        }
        if let Some(name) = user.filter(|_| Uid::effective().is_root())
            && let Ok(Some(user)) = User::from_name(name)
            && user.uid.as_raw() != held.uid()
        {
            let found = format!("{} does not belong to {name}, as whom it goes on", there.display());
            return Check::failed(check, found, format!("chown -R {name} {}", folder.display()));
        }
        let exists = there == std::path::absolute(folder).unwrap_or_default();
        Check::ok(check, if exists { "it can be written" } else { "it can be made" })
    };
    examined().of(subject)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn room_against_what_may_be_filled() {
        assert_eq!(judge_room(10 << 30, Some(1 << 30)).verdict, Verdict::Ok);
        assert_eq!(judge_room(1 << 30, Some(1 << 30)).verdict, Verdict::Warning);
        assert_eq!(judge_room(10 << 30, None).verdict, Verdict::Warning);
        assert_eq!(judge_room(1 << 20, Some(0)).verdict, Verdict::Failed);
    }

    #[test]
    fn what_the_sinks_may_fill() {
        let settings: Settings = toml::from_str(
            "[[sink]]\ntype = 'file'\npath = '/var/log/apitap/a.jsonl'\nrotate_bytes = 100\nkeep_files = 4\nspool_bytes = 1000\n\
             [[sink]]\ntype = 'file'\npath = '/var/log/apitap/b.jsonl'\nkeep_files = 0\n[[sink]]\ntype = 'stdout'\n\
             [evidence]\nfolder = '/var/lib/evidence'\ntotal_bytes = 70\n",
        )
        .expect("settings");
        let filled = filled(&settings, Path::new("/var/lib/apitap"));
        assert_eq!(filled.len(), 6);
        assert_eq!(filled[1], ("/var/lib/evidence".into(), Some(70)));
        assert_eq!(filled[2], ("/var/lib/apitap/spool".into(), Some(1_500)));
        assert_eq!(filled[3], ("/var/log/apitap".into(), Some(500)));
        assert_eq!(filled[5], ("/var/log/apitap".into(), None));
    }

    #[test]
    fn folders_and_keys() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let state = |path: &Path| super::folder("state", path, None, "--state");
        assert_eq!(state(folder.path()).found, "it can be written");
        assert_eq!(state(&at("a/b/c")).found, "it can be made");
        assert!(!at("a").exists());
        std::fs::write(at("file"), "").expect("a file");
        assert_eq!(state(&at("file/state")).verdict, Verdict::Failed);
        let settings = Settings::default();
        assert_eq!(key(&settings, folder.path()).verdict, Verdict::Ok);
        assert!(!at("key").exists(), "it is not made");
        std::fs::write(at("key"), "short").expect("a file");
        assert_eq!(key(&settings, folder.path()).verdict, Verdict::Failed);
        let settings = Settings { key_file: Some(at("none")), ..settings };
        assert_eq!(key(&settings, folder.path()).verdict, Verdict::Failed);
        assert_eq!(rules(None).verdict, Verdict::Ok);
    }
}
