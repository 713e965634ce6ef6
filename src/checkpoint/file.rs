//! The form of a checkpoint on disk.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `APITAPCP` |
//! | 4 | version of the form, little-endian |
//! | … | a zstd frame of MessagePack; structures are maps by name, so that what a later version adds can be told apart |
//! | 32 | SHA-256 of all bytes before |
//!
//! A folder holds `detector.checkpoint`, the one before it as `detector.checkpoint.previous`, and `detector.checkpoint.damaged` if
//! there was one that could not be used. All have mode 0600: they hold the key of the detector's hashes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

use super::Checkpoint;

/// Version of the form that is written. Version 1 is the first; all up to this one can be read.
pub const VERSION: u32 = 1;

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
    let mut packed = zstd::Encoder::new(hashing, LEVEL)?;
    rmp_serde::encode::write_named(&mut packed, checkpoint).map_err(io::Error::other)?;
    let Hashing { mut writer, hash } = packed.finish()?;
    writer.write_all(hash.finish().as_ref())?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// Reads one checkpoint.
///
/// # Errors
///
/// A file that is not there ([`io::ErrorKind::NotFound`]), cannot be read, or is none ([`io::ErrorKind::InvalidData`], with the reason).
pub fn read(path: &Path) -> io::Result<Checkpoint> {
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
    let unpacked = zstd::Decoder::new(file.take(body))?;
    rmp_serde::decode::from_read(BufReader::with_capacity(256 << 10, unpacked))
        .map_err(|error| invalid(error.to_string()))
}

/// The newest checkpoint of `folder` that is whole, if there is one, and what has to be said about those that are not. Of these the
/// newest is put aside, so that it is not taken for the one before when another is written.
///
/// # Errors
///
/// A file that is there and cannot be read for another reason than damage.
pub fn newest(folder: &Path) -> io::Result<(Option<Checkpoint>, Vec<String>)> {
    let mut notes = Vec::new();
    let newest = folder.join(NAME);
    for path in [newest.clone(), previous(folder)] {
        match read(&path) {
            Ok(checkpoint) => {
                if !notes.is_empty() {
                    notes.push(format!("{}: used instead", path.display()));
                }
                return Ok((Some(checkpoint), notes));
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
