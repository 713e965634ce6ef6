//! Specifications in several files: what their references lead to is gathered into one document.
//!
//! Only files are read, by relative references, and only below the folder of the specification; nothing is ever fetched.
//! Each file is read once, so that references in circles end. In the gathered document the files stand in a member of
//! their own, and references to them are written as references to its places.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::document::{LARGEST, parse_value};

/// Files beside the first.
const FILES: usize = 1024;

/// Reasons that are kept why references lead nowhere.
const REASONS: usize = 16;

/// The member in which the files stand, by number.
const MEMBER: &str = "x-apitap-files";

/// A specification being gathered.
struct Gathering {
    /// What may be read.
    folder: PathBuf,
    /// Files that were met, by where they are: their number, or why there is none. The first is the specification itself.
    known: BTreeMap<PathBuf, Result<usize, String>>,
    /// By number: where it is, and what it holds as long as its own references were not looked at.
    waiting: Vec<(PathBuf, Value)>,
    files: usize,
    /// Bytes that may still be read.
    room: u64,
    reasons: Vec<String>,
}

/// The document of a file with all files that it refers to, why some could not be had, a reason each, and those that it is of.
pub(super) fn gather(path: &Path, mut document: Value, bytes: u64) -> (Value, Vec<String>, Vec<PathBuf>) {
    let alone = || vec![path.to_owned()];
    let Ok(own) = path.canonicalize() else { return (document, Vec::new(), alone()) };
    let Some(folder) = own.parent().map(Path::to_owned) else { return (document, Vec::new(), alone()) };
    let mut gathering = Gathering {
        known: BTreeMap::from([(own.clone(), Ok(0))]),
        folder,
        waiting: Vec::new(),
        files: 0,
        room: LARGEST.saturating_sub(bytes),
        reasons: Vec::new(),
    };
    gathering.rewrite(&own, 0, &mut document);
    let mut files = Map::new();
    while let Some((path, mut value)) = gathering.waiting.pop() {
        let Some(Ok(number)) = gathering.known.get(&path).cloned() else { continue };
        gathering.rewrite(&path, number, &mut value);
        files.insert(number.to_string(), value);
    }
    if let Value::Object(document) = &mut document
        && !files.is_empty()
    {
        document.insert(MEMBER.to_owned(), files.into());
    }
    let read = gathering.known.into_iter().filter(|(_, number)| number.is_ok()).map(|(path, _)| path).collect();
    (document, gathering.reasons, read)
}

impl Gathering {
    /// Makes all references of a file's value references within the gathered document.
    fn rewrite(&mut self, path: &Path, number: usize, value: &mut Value) {
        let mut waiting = vec![value];
        while let Some(value) = waiting.pop() {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(reference)) = map.get_mut("$ref")
                        && let Some(other) = self.reference(path, number, reference)
                    {
                        *reference = other;
                    }
                    waiting.extend(map.values_mut());
                }
                Value::Array(list) => waiting.extend(list),
                _ => {}
            }
        }
    }

    /// A reference as it is written in the gathered document; none where it stays as it is.
    fn reference(&mut self, path: &Path, number: usize, reference: &str) -> Option<String> {
        let (file, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let target = match file {
            "" => number,
            file => match self.file(path, file) {
                Ok(target) => target,
                Err(reason) => {
                    let told = format!("{reference:?}: {reason}");
                    if self.reasons.len() < REASONS && !self.reasons.contains(&told) {
                        self.reasons.push(told);
                    }
                    return None;
                }
            },
        };
        Some(match target {
            0 => format!("#{fragment}"),
            target => format!("#/{MEMBER}/{target}{fragment}"),
        })
    }

    /// The number of the file that a file refers to.
    fn file(&mut self, path: &Path, file: &str) -> Result<usize, String> {
        if file.contains("://") || file.starts_with("//") || file.starts_with("urn:") {
            return Err("only files are read, nothing is fetched".to_owned());
        }
        let file = percent_encoding::percent_decode_str(file).decode_utf8().map_err(|error| error.to_string())?;
        if Path::new(&*file).is_absolute() {
            return Err("only relative references are followed".to_owned());
        }
        let place = path.parent().unwrap_or(&self.folder).join(&*file);
        let place = place.canonicalize().map_err(|error| error.to_string())?;
        if !place.starts_with(&self.folder) {
            return Err(format!("it leads out of {}", self.folder.display()));
        }
        if let Some(known) = self.known.get(&place) {
            return known.clone();
        }
        let read = self.read(&place);
        self.known.insert(place.clone(), read.as_ref().map(|_| self.files).map_err(Clone::clone));
        self.waiting.push((place, read?));
        Ok(self.files)
    }

    /// Reads one more file.
    fn read(&mut self, place: &Path) -> Result<Value, String> {
        if self.files >= FILES {
            return Err(format!("there are more than {FILES} files"));
        }
        let file = std::fs::metadata(place).map_err(|error| error.to_string())?;
        if !file.is_file() {
            return Err("it is no file".to_owned());
        }
        self.room = self.room.checked_sub(file.len()).ok_or("all files together are larger than 64 MiB")?;
        let text = std::fs::read_to_string(place).map_err(|error| error.to_string())?;
        let value = parse_value(&text)?;
        self.files += 1;
        Ok(value)
    }
}
