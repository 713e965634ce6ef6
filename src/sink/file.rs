//! A file of lines that is rotated by size and by time, compressed, and kept for a while.
//!
//! `alerts.jsonl` becomes `alerts-20260302T140000.000Z.jsonl`, then `….jsonl.gz` or `….jsonl.zst`. Where the process died in
//! between, the next one goes on: a half compressed file is made anew. One process rotates; another that adds lines
//! (`apitap resend`) gets on with it by [`appending`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{Access, access};

use super::appending;
use super::delivery::Trouble;
use super::format::{Format, Notice};
use super::outbox::at;
use super::probe::Probe;
use super::settings::{Compression, Settings};

/// How often it is looked whether a file is old enough to be rotated or removed.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// A file that is rotated.
pub(super) struct RotatedFile {
    path: PathBuf,
    format: Format,
    sensor: String,
    sync: bool,
    rotate_bytes: u64,
    rotate_after: Option<Duration>,
    compression: Compression,
    keep_files: usize,
    keep: Option<Duration>,
    open: Option<Open>,
    kept_house: Option<Instant>,
}

pub(super) struct Open {
    file: File,
    bytes: u64,
    since: SystemTime,
    inode: (u64, u64),
}

impl RotatedFile {
    /// From checked settings.
    ///
    /// # Errors
    ///
    /// A path without a file's name.
    pub(super) fn new(settings: &Settings, sensor: &str) -> Result<RotatedFile, String> {
        let path = settings.path.clone().unwrap_or_default();
        if path.file_name().is_none() {
            return Err(format!("`path` {}: no name of a file", path.display()));
        }
        let hours = |count: u64| (count > 0).then(|| Duration::from_secs(count.saturating_mul(3_600)));
        Ok(RotatedFile {
            path,
            format: settings.format(),
            sensor: sensor.to_owned(),
            sync: settings.sync,
            rotate_bytes: settings.rotate_bytes,
            rotate_after: hours(settings.rotate_hours),
            compression: settings.compression,
            keep_files: settings.keep_files,
            keep: hours(settings.keep_days.saturating_mul(24)),
            open: None,
            kept_house: None,
        })
    }

    /// Writes lines: all of them or, where the disk is full, none.
    pub(super) fn deliver(&mut self, notices: &[Notice<'_>], native: &[Vec<u8>]) -> Result<(), Trouble> {
        let mut bytes = Vec::new();
        for (notice, native) in notices.iter().zip(native) {
            bytes.extend_from_slice(&self.format.write(notice, native, &self.sensor));
            bytes.push(b'\n');
        }
        self.write(&bytes).map_err(|error| {
            self.open = None;
            Trouble::later(at(&self.path, &error).to_string())
        })
    }

    /// Whether it could be written to and rotated. It is neither made nor touched.
    pub(super) fn probe(&self) -> Probe {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed =
            |path: &Path, reason: &dyn std::fmt::Display| Probe::Failed(format!("{}: {reason}", path.display()));
        if let Err(error) = access(folder, Access::EXISTS | Access::WRITE_OK | Access::EXEC_OK) {
            return failed(folder, &io::Error::from(error));
        }
        match fs::metadata(&self.path) {
            Ok(held) if held.is_dir() => return failed(&self.path, &"a folder stands in its place"),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return failed(&self.path, &error),
            Err(_) => {}
            Ok(_) => {
                if let Err(error) = access(&self.path, Access::READ_OK | Access::WRITE_OK) {
                    return failed(&self.path, &io::Error::from(error));
                }
            }
        }
        Probe::Well(format!("{} can be written", self.path.display()))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.follow();
        self.held()?;
        let full = |open: &Open| open.bytes > 0 && open.bytes + bytes.len() as u64 > self.rotate_bytes;
        // One that an earlier process filled, too.
        if self.rotate_bytes > 0 && self.open.as_ref().is_some_and(full) {
            self.rotate()?;
            self.held()?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let written = open.file.write_all(bytes).and_then(|()| if self.sync { open.file.sync_data() } else { Ok(()) });
        match written {
            Ok(()) => open.bytes += bytes.len() as u64,
            Err(_) => {
                let _ = open.file.set_len(open.bytes);
            }
        }
        appending::unlock(&open.file);
        written
    }

    /// The file that stands under its name is open, with its lock held and its length known.
    fn held(&mut self) -> io::Result<()> {
        if let Some(open) = &mut self.open {
            appending::lock(&open.file)?;
            if appending::stands(&open.file, &self.path)? {
                open.bytes = appending::cut_torn(&open.file, &self.path)?;
                return Ok(());
            }
        }
        self.open = Some(open(&self.path)?);
        Ok(())
    }

    /// There was nothing to write for a second: what is due by time.
    pub(super) fn idle(&mut self) {
        if self.kept_house.is_some_and(|when| when.elapsed() < HOUSEKEEPING) {
            return;
        }
        self.kept_house = Some(Instant::now());
        if self.open.is_none() && self.path.exists() {
            self.open = open(&self.path).ok();
            self.open.iter().for_each(|open| appending::unlock(&open.file));
        }
        let old = |open: &Open| {
            open.bytes > 0 && self.rotate_after.is_some_and(|limit| open.since.elapsed().is_ok_and(|age| age >= limit))
        };
        let outcome = if self.open.as_ref().is_some_and(old) { self.rotate() } else { self.keep_house() };
        if let Err(error) = outcome {
            tracing::warn!(file = %self.path.display(), "rotation: {error}");
        }
    }

    /// There will be no more.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Lets go of a file that somebody else moved or removed.
    fn follow(&mut self) {
        let same = |open: &Open| fs::metadata(&self.path).is_ok_and(|held| (held.dev(), held.ino()) == open.inode);
        if self.open.as_ref().is_some_and(|open| !same(open)) {
            self.open = None;
        }
        let old = |open: &Open| {
            open.bytes > 0 && self.rotate_after.is_some_and(|limit| open.since.elapsed().is_ok_and(|age| age >= limit))
        };
        if self.open.as_ref().is_some_and(old)
            && let Err(error) = self.rotate()
        {
            tracing::warn!(file = %self.path.display(), "rotation: {error}");
        }
    }

    /// Moves the file aside, when whoever writes to it has done so.
    fn rotate(&mut self) -> io::Result<()> {
        if let Some(open) = &self.open {
            appending::lock(&open.file)?;
            if !appending::stands(&open.file, &self.path)? {
                self.open = None;
                return Ok(());
            }
        }
        let (stem, suffix) = self.names();
        let aside = loop {
            // To the millisecond, so that names sort by time and none comes twice.
            let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S.%3fZ").to_string();
            let path = self.path.with_file_name(format!("{stem}-{time}{suffix}"));
            if ![path.clone(), extended(&path, "gz"), extended(&path, "zst")].iter().any(|path| path.exists()) {
                break path;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let renamed = fs::rename(&self.path, &aside);
        self.open.iter().for_each(|open| appending::unlock(&open.file));
        renamed?;
        self.open = None;
        self.keep_house()
    }

    /// Compresses what was rotated, and removes what is kept long enough.
    fn keep_house(&self) -> io::Result<()> {
        let (stem, suffix) = self.names();
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut rotated = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let Some(rest) = name.strip_prefix(&format!("{stem}-")) else { continue };
            let whole = rest.trim_end_matches(".gz").trim_end_matches(".zst");
            let Some(time) = whole.trim_end_matches(".part").strip_suffix(suffix.as_str()) else { continue };
            let is_time = time.len() >= 16 && time.bytes().all(|byte| byte.is_ascii_digit() || b"TZ.".contains(&byte));
            if !is_time {
                continue;
            }
            if name.ends_with(".part") {
                fs::remove_file(entry.path())?; // half compressed by a process that died
            } else {
                rotated.push((time.to_owned(), entry.path()));
            }
        }
        let extension = match self.compression {
            Compression::None => None,
            Compression::Gzip => Some("gz"),
            Compression::Zstd => Some("zst"),
        };
        rotated.sort();
        let excess = if self.keep_files == 0 { 0 } else { rotated.len().saturating_sub(self.keep_files) };
        let mut kept = Vec::new();
        let mut failed = None;
        // What goes makes room before anything is compressed: on a full disk nothing else does.
        for (at, (_, path)) in rotated.into_iter().enumerate() {
            let age = fs::metadata(&path).and_then(|held| held.modified()).ok().and_then(|time| time.elapsed().ok());
            let old = self.keep.is_some_and(|limit| age.is_some_and(|age| age >= limit));
            if at < excess || old {
                failed = fs::remove_file(&path).err().or(failed);
            } else {
                kept.push(path);
            }
        }
        for path in kept {
            let plain = path.extension().is_none_or(|held| held != "gz" && held != "zst");
            if let Some(extension) = extension.filter(|_| plain) {
                failed = compress(&path, extension).err().or(failed);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// The name before and behind the time: `alerts` and `.jsonl`.
    fn names(&self) -> (String, String) {
        let part = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        let suffix = part(self.path.extension()).map(|suffix| format!(".{suffix}")).unwrap_or_default();
        (part(self.path.file_stem()).unwrap_or_default(), suffix)
    }
}

/// Opens the file at its end, without a line that was torn, and with its lock held.
pub(super) fn open(path: &Path) -> io::Result<Open> {
    let file = appending::open(path, 0o640)?;
    let held = file.metadata()?;
    let since = held.created().or_else(|_| held.modified()).unwrap_or_else(|_| SystemTime::now());
    let bytes = if held.is_file() { held.len() } else { 0 };
    Ok(Open { file, bytes, since, inode: (held.dev(), held.ino()) })
}

fn extended(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// Compresses a file beside it, and removes it when the compressed one is whole and on disk.
fn compress(path: &Path, extension: &str) -> io::Result<PathBuf> {
    let (whole, part) = (extended(path, extension), extended(path, "part"));
    let mut input = io::BufReader::with_capacity(256 << 10, File::open(path)?);
    let output = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&part)?;
    let copied = (|| {
        let file = match extension {
            "gz" => {
                let mut encoder = flate2::write::GzEncoder::new(output, flate2::Compression::default());
                io::copy(&mut input, &mut encoder)?;
                encoder.finish()?
            }
            _ => {
                let mut encoder = zstd::Encoder::new(output, 0)?;
                io::copy(&mut input, &mut encoder)?;
                encoder.finish()?
            }
        };
        file.sync_all()
    })();
    if let Err(error) = copied {
        let _ = fs::remove_file(&part);
        return Err(at(&part, &error));
    }
    fs::rename(&part, &whole)?;
    fs::remove_file(path)?;
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;
    use crate::sink::told::Told;

    fn file(folder: &Path, text: &str) -> RotatedFile {
        let mut settings: Settings = toml::from_str(&format!("type = 'file'\n{text}")).expect("settings");
        settings.path = Some(folder.join("alerts.jsonl"));
        RotatedFile::new(&settings, "sensor").expect("a file")
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    fn deliver(file: &mut RotatedFile, count: usize) {
        for number in 0..count {
            let alert = Alert::sample();
            file.deliver(&[Told::Alert(&alert).into()], &[format!("{number:099}").into_bytes()]).expect("room");
        }
    }

    #[test]
    fn what_goes_makes_room_though_nothing_can_be_compressed() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = file(folder.path(), "compression = 'gzip'\nkeep_files = 2");
        for day in 1..=4 {
            fs::write(folder.path().join(format!("alerts-2026030{day}T000000.000000Z.jsonl")), "x\n")?;
        }
        // In place of a disk without room.
        fs::create_dir(folder.path().join("alerts-20260305T000000.000000Z.jsonl"))?;
        assert!(file.keep_house().is_err());
        let rotated: Vec<String> = names(folder.path()).into_iter().filter(|name| name.contains('Z')).collect();
        assert_eq!(rotated, ["alerts-20260304T000000.000000Z.jsonl.gz", "alerts-20260305T000000.000000Z.jsonl"]);
        Ok(())
    }

    #[test]
    fn size_rotates_and_retention_removes() -> io::Result<()> {
        for (compression, extension) in [("none", ""), ("gzip", ".gz"), ("zstd", ".zst")] {
            let folder = tempfile::tempdir()?;
            let text = format!("rotate_bytes = 1000\ncompression = '{compression}'\nkeep_files = 3");
            let mut file = file(folder.path(), &text);
            fs::write(folder.path().join("alerts-of-others.jsonl"), "stays")?;
            deliver(&mut file, 55);
            let names = names(folder.path());
            assert_eq!(names.len(), 5, "{names:?}");
            let (rotated, rest): (Vec<&String>, _) = names.iter().partition(|name| name.contains("Z"));
            assert_eq!(rest, ["alerts-of-others.jsonl", "alerts.jsonl"]);
            assert!(rotated.iter().all(|name| name.ends_with(&format!(".jsonl{extension}"))), "{rotated:?}");
            assert_eq!(fs::read(folder.path().join("alerts.jsonl"))?.len(), 500);
            // The newest of the rotated ones has the lines before those of the file.
            let newest = fs::read(folder.path().join(rotated.last().expect("some")))?;
            let text = match extension {
                ".gz" => io::read_to_string(flate2::read::GzDecoder::new(newest.as_slice()))?,
                ".zst" => io::read_to_string(zstd::Decoder::new(newest.as_slice())?)?,
                _ => String::from_utf8(newest).expect("text"),
            };
            assert_eq!(text.lines().last().map(|line| line.trim_start_matches('0')), Some("49"));
        }
        Ok(())
    }

    #[test]
    fn another_may_add_lines_while_one_rotates() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let deliver = |name: &str, keys: &str| {
            let mut file = file(folder.path(), keys);
            for number in 0..400 {
                let line = format!("{name}{number:050}");
                let alert = Alert::sample();
                file.deliver(&[Told::Alert(&alert).into()], &[line.into_bytes()]).expect("room");
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| deliver("one", "rotate_bytes = 1000\nkeep_files = 0\ncompression = 'gzip'"));
            scope.spawn(|| deliver("other", "rotate_bytes = 0\nrotate_hours = 0"));
        });
        let mut text = String::new();
        for name in names(folder.path()) {
            let file = File::open(folder.path().join(&name))?;
            text.push_str(&match name.ends_with(".gz") {
                true => io::read_to_string(flate2::read::GzDecoder::new(file))?,
                false => io::read_to_string(file)?,
            });
        }
        let mut lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 800);
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 800);
        Ok(())
    }

    #[test]
    fn age_rotates() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut file = file(folder.path(), "rotate_hours = 1\nkeep_days = 1");
        deliver(&mut file, 1);
        if let Some(open) = &mut file.open {
            open.since -= Duration::from_secs(3_601);
        }
        deliver(&mut file, 1);
        assert_eq!(names(folder.path()).len(), 2);
        let old = File::open(folder.path().join(names(folder.path()).first().expect("a rotated file")))?;
        old.set_modified(SystemTime::now() - Duration::from_secs(86_401))?;
        file.idle();
        assert_eq!(names(folder.path()), ["alerts.jsonl"]);
        Ok(())
    }

    #[test]
    fn what_was_torn_or_moved_is_noticed() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("alerts.jsonl");
        fs::write(&path, "whole\ntor")?;
        fs::write(folder.path().join("alerts-20260302T140000.000Z.jsonl.part"), "half")?;
        let mut file = file(folder.path(), "rotate_bytes = 0");
        deliver(&mut file, 1);
        file.idle();
        assert_eq!(fs::read_to_string(&path)?, format!("whole\n{:099}\n", 0));
        assert_eq!(names(folder.path()), ["alerts.jsonl"]);
        fs::rename(&path, folder.path().join("moved"))?;
        deliver(&mut file, 1);
        assert_eq!(fs::read_to_string(&path)?, format!("{:099}\n", 0));
        let mut nowhere = RotatedFile { path: folder.path().join("no/such"), ..file };
        nowhere.open = None;
        assert!(nowhere.deliver(&[Told::Alert(&Alert::sample()).into()], &[b"a".to_vec()]).is_err());
        Ok(())
    }
}
