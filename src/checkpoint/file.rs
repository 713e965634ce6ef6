//! The form of a checkpoint on disk.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `APITAPCP` |
//! | 4 | version of the form, little-endian |
//! | … | a zstd frame: from version 2 on sections (see `sections`), in version 1 a map of `taken` and `detector` |
//! | 32 | SHA-256 of all bytes before |
//!
//! | section | version | what |
//! | --- | --- | --- |
//! | `taken` | 1 | the last record that the detector had taken |
//! | `detector` | 1 | what the detector remembers |
//! | `inventory` | 1 | the inventory, and what of it was told |
//! | `practice` | 1 | findings of practices, and what they rest on |
//!
//! All is MessagePack, in which structures are maps by name: fields that are absent begin anew, and those that are not known are passed
//! over. Only what is written otherwise than before under the same name raises a section's version, and only another order of bytes
//! around the sections that of the form. A section that is not known, or of a version that is not, is passed over, and that is said;
//! without `taken` and `detector` it is no checkpoint.
//!
//! A folder holds `detector.checkpoint`, the one before it as `detector.checkpoint.previous`, and `detector.checkpoint.damaged` if
//! there was one that could not be used. All have mode 0600: they hold the key of the detector's hashes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::sections::{self, Section, Sections};
use super::{Checkpoint, Kept, Order, Rest};
use crate::detect::Stored;

/// Version of the form that is written. Version 1 is the first; all up to this one can be read.
pub const VERSION: u32 = 2;

/// Names and versions of the sections.
const TAKEN: (&str, u32) = ("taken", 1);
const DETECTOR: (&str, u32) = ("detector", 1);
const INVENTORY: (&str, u32) = ("inventory", 1);
const PRACTICE: (&str, u32) = ("practice", 1);

/// The newest checkpoint of a folder.
pub const NAME: &str = "detector.checkpoint";

const MAGIC: &[u8; 8] = b"APITAPCP";
const HEAD: usize = MAGIC.len() + 4;

/// Level of compression: the fastest that zstd calls normal; others cost more time than the disk saves.
const LEVEL: i32 = 1;

/// Where the checkpoint before the newest is kept.
pub fn previous(folder: &Path) -> PathBuf {
    folder.join(format!("{NAME}.previous"))
}

fn damaged(folder: &Path) -> PathBuf {
    folder.join(format!("{NAME}.damaged"))
}

/// A writer that hashes what passes.
struct Hashing<W> {
    writer: W,
    hash: Context,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Writes a checkpoint into `folder`, in the place of the one that is there, which is kept as the one before. Gives its length.
///
/// # Errors
///
/// What kept it from being written; the one that is there stays the newest.
pub fn write(folder: &Path, checkpoint: &Checkpoint) -> io::Result<u64> {
    let draft = folder.join(format!("{NAME}.new"));
    let result = draw(&draft, checkpoint).and_then(|length| {
        let newest = folder.join(NAME);
        match fs::rename(&newest, previous(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(&draft, &newest)?;
        File::open(folder)?.sync_all()?;
        Ok(length)
    });
    if result.is_err() {
        let _ = fs::remove_file(&draft); // it takes room that may be what is missing
    }
    result
}

fn draw(path: &Path, checkpoint: &Checkpoint) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut hashing = Hashing { writer: BufWriter::with_capacity(256 << 10, file), hash: Context::new(&SHA256) };
    hashing.write_all(MAGIC)?;
    hashing.write_all(&VERSION.to_le_bytes())?;
    let mut sections = Sections::new(zstd::Encoder::new(hashing, LEVEL)?);
    let Checkpoint { taken, learned } = checkpoint;
    put(&mut sections, TAKEN, taken)?;
    put(&mut sections, DETECTOR, &learned.detector)?;
    if let Some(inventory) = &learned.inventory {
        put(&mut sections, INVENTORY, inventory)?;
    }
    if let Some(practice) = &learned.practice {
        put(&mut sections, PRACTICE, practice)?;
    }
    let Hashing { mut writer, hash } = sections.finish()?.finish()?;
    writer.write_all(hash.finish().as_ref())?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// Writes one section.
fn put<W: Write>(sections: &mut Sections<W>, (name, version): (&str, u32), what: &impl Serialize) -> io::Result<()> {
    sections.begin(name, version)?;
    rmp_serde::encode::write_named(sections, what).map_err(io::Error::other)?;
    sections.end()
}

/// Reads one checkpoint.
///
/// # Errors
///
/// A file that is not there ([`io::ErrorKind::NotFound`]), cannot be read, or is none ([`io::ErrorKind::InvalidData`], with the reason).
pub fn read(path: &Path) -> io::Result<Kept> {
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let body = length
        .checked_sub((HEAD + SHA256_OUTPUT_LEN) as u64)
        .ok_or_else(|| invalid(format!("{length} bytes are too few for a checkpoint")))?;
    let mut head = [0; HEAD];
    file.read_exact(&mut head)?;
    let version = match head.split_first_chunk::<8>() {
        Some((MAGIC, version)) => version.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)),
        _ => return Err(invalid("it does not begin as a checkpoint does".into())),
    };
    if !(1..=VERSION).contains(&version) {
        return Err(invalid(format!("its form is version {version}; this apitap knows those up to {VERSION}")));
    }
    let mut hash = Context::new(&SHA256);
    hash.update(&head);
    let mut rest = BufReader::with_capacity(256 << 10, file);
    let mut buffer = [0; 16 << 10];
    let mut left = body;
    while left > 0 {
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let part = buffer.get_mut(..wanted).unwrap_or_default();
        rest.read_exact(part)?;
        hash.update(part);
        left -= wanted as u64;
    }
    let mut known = [0; SHA256_OUTPUT_LEN];
    rest.read_exact(&mut known)?;
    if hash.finish().as_ref() != known {
        return Err(invalid("its checksum is wrong".into()));
    }
    let mut file = File::open(path)?;
    file.read_exact(&mut head)?;
    let mut unpacked = BufReader::with_capacity(256 << 10, zstd::Decoder::new(file.take(body))?);
    match version {
        1 => first_form(&mut unpacked),
        _ => second_form(&mut unpacked),
    }
    .map_err(|error| invalid(error.to_string()))
}

/// Version 1: one map.
fn first_form<R: Read>(reader: &mut R) -> io::Result<Kept> {
    #[derive(Deserialize)]
    struct First {
        taken: Option<Order>,
        detector: Stored,
    }
    let First { taken, detector } = rmp_serde::decode::from_read(reader).map_err(io::Error::other)?;
    Ok(Kept { taken, detector, rest: Rest::default(), notes: Vec::new() })
}

/// Version 2: sections.
fn second_form<R: Read>(reader: &mut R) -> io::Result<Kept> {
    let (mut taken, mut detector, mut rest, mut notes) = (None, None, Rest::default(), Vec::new());
    while let Some(mut section) = sections::next(reader)? {
        let known = match &*section.name {
            "taken" => get(&mut section, TAKEN).map(|read| taken = Some(read)),
            "detector" => get(&mut section, DETECTOR).map(|read| detector = Some(read)),
            "inventory" => get(&mut section, INVENTORY).map(|read| rest.inventory = Some(read)),
            "practice" => get(&mut section, PRACTICE).map(|read| rest.practice = Some(read)),
            _ => Err("this apitap does not know it".to_owned()),
        };
        if let Err(reason) = known {
            notes.push(format!("its section `{}` is not used: {reason}", section.name));
        }
        section.skip()?;
    }
    let absent = |name: &str| {
        let why: Vec<_> = notes.iter().filter(|note| note.contains(&format!("`{name}`"))).cloned().collect();
        io::Error::other(if why.is_empty() { format!("it has no section `{name}`") } else { why.join("; ") })
    };
    let taken = taken.ok_or_else(|| absent(TAKEN.0))?;
    let detector = detector.ok_or_else(|| absent(DETECTOR.0))?;
    Ok(Kept { taken, detector, rest, notes })
}

/// Reads what is in a section.
fn get<R: Read, T: DeserializeOwned>(section: &mut Section<'_, R>, (_, version): (&str, u32)) -> Result<T, String> {
    if section.version > version {
        return Err(format!("it is of version {}; this apitap knows those up to {version}", section.version));
    }
    rmp_serde::decode::from_read(section).map_err(|error| error.to_string())
}

/// The newest checkpoint of `folder` that is whole, if there is one, and what has to be said about those that are not. Of these the
/// newest is put aside, so that it is not taken for the one before when another is written.
///
/// # Errors
///
/// A file that is there and cannot be read for another reason than damage.
pub fn newest(folder: &Path) -> io::Result<(Option<Kept>, Vec<String>)> {
    let mut notes = Vec::new();
    let newest = folder.join(NAME);
    for path in [newest.clone(), previous(folder)] {
        match read(&path) {
            Ok(mut kept) => {
                if !notes.is_empty() {
                    notes.push(format!("{}: used instead", path.display()));
                }
                notes.extend(kept.notes.drain(..).map(|note| format!("{}: {note}", path.display())));
                return Ok((Some(kept), notes));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                notes.push(format!("{}: cannot be used: {error}", path.display()));
                if path == newest {
                    fs::rename(&path, damaged(folder))?;
                    notes.push(format!("it is kept as {}", damaged(folder).display()));
                }
            }
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    }
    if !notes.is_empty() {
        notes.push("there is no other: what was learned before is lost".into());
    }
    Ok((None, notes))
}
