//! The patterns and priors in `rules/` (TOML): compiled into the program, replaced file by file from a folder, and, where a file is a list,
//! added to by another one there ([`ADDED`]).
//!
//! Each stage that is driven by rules states the shape of its file as a type; this module finds the text, parses it
//! and says which file, line and reason is wrong.

pub(crate) mod object;
pub(crate) mod probe;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use object::ObjectRules;
pub use probe::{ProbeKind, ProbeRule};

/// What is wrong with a rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The file, or its name in `rules/` for one that is compiled in.
    pub file: PathBuf,
    /// Line from 1, when one is to blame.
    pub line: Option<usize>,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.reason),
            None => write!(f, "{}: {}", self.file.display(), self.reason),
        }
    }
}

impl std::error::Error for RuleError {}

/// A file whose rules come behind those of the other, which may be the one that is compiled in.
pub const ADDED: (&str, &str) = ("sensitive.toml", "sensitive.local.toml");

/// The text of a rule file and where it came from.
#[derive(Clone, Debug)]
pub struct RuleFile {
    /// Where errors point to.
    pub path: PathBuf,
    /// TOML.
    pub text: String,
    /// The file that was added, and the line of `text` behind which it begins.
    added: Option<(PathBuf, usize)>,
}

impl RuleFile {
    /// A text that came from there.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> RuleFile {
        RuleFile { path: path.into(), text: text.into(), added: None }
    }

    /// `name` from `folder` when it is given and has that file, else the text that is compiled in; behind it what the folder adds
    /// to it ([`ADDED`]).
    ///
    /// # Errors
    ///
    /// A file that is there and cannot be read.
    pub fn find(folder: Option<&Path>, name: &str, compiled_in: &str) -> Result<RuleFile, RuleError> {
        let read = |name: &str| -> Result<Option<RuleFile>, RuleError> {
            let Some(path) = folder.map(|folder| folder.join(name)) else { return Ok(None) };
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok(Some(RuleFile::new(path, text))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(RuleError { file: path, line: None, reason: error.to_string() }),
            }
        };
        let mut file = read(name)?.unwrap_or_else(|| RuleFile::new(Path::new("rules").join(name), compiled_in));
        if name == ADDED.0
            && let Some(more) = read(ADDED.1)?
        {
            if !file.text.ends_with('\n') {
                file.text.push('\n');
            }
            file.added = Some((more.path, file.text.bytes().filter(|&byte| byte == b'\n').count()));
            file.text.push_str(&more.text);
        }
        Ok(file)
    }

    /// The file and the line in it, from 1, of a byte offset in the text.
    fn place_of(&self, offset: usize) -> (PathBuf, usize) {
        let line = self.line_of(offset);
        match &self.added {
            Some((path, before)) if line > *before => (path.clone(), line - before),
            _ => (self.path.clone(), line),
        }
    }

    /// The file of a byte offset in the text.
    pub(crate) fn path_of(&self, offset: usize) -> PathBuf {
        self.place_of(offset).0
    }

    /// The file as a `T`.
    ///
    /// # Errors
    ///
    /// What is no TOML or does not fit `T`, with the line.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, RuleError> {
        toml::from_str(&self.text).map_err(|error| match error.span() {
            Some(span) => self.error_at(span.start, error.message()),
            None => RuleError { file: self.path.clone(), line: None, reason: error.message().to_owned() },
        })
    }

    /// The line, from 1, of a byte offset in the text.
    pub fn line_of(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
    }

    /// An error at a byte offset of the text.
    pub fn error_at(&self, offset: usize, reason: impl Into<String>) -> RuleError {
        let (file, line) = self.place_of(offset);
        RuleError { file, line: Some(line), reason: reason.into() }
    }
}

/// One entry of a rule file, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The file.
    pub file: PathBuf,
    /// The entry's name in it.
    pub name: String,
    /// What it reports.
    pub class: String,
    /// What it is for.
    pub description: String,
}

/// A file of `rules/` and how a stage reads it. A stage adds its files to [`registered`].
pub(crate) struct Registered {
    /// The file's name.
    pub(crate) name: &'static str,
    /// Its text in the program.
    pub(crate) compiled_in: &'static str,
    /// Everything that is wrong with it, its own examples included.
    pub(crate) check: fn(&RuleFile) -> Vec<RuleError>,
    /// What it holds.
    pub(crate) list: fn(&RuleFile) -> Result<Vec<Listed>, Vec<RuleError>>,
}

/// Every rule file that some stage reads.
fn registered() -> impl Iterator<Item = &'static Registered> {
    crate::inspect::RULE_FILES.iter().chain(&crate::detect::RULE_FILES)
}

/// Checks every rule file: those of `folder` that are there, and else those compiled in. A file of `folder` that no
/// stage reads is an error, too: its name may be misspelt. No errors: all is well.
pub fn check(folder: Option<&Path>) -> Vec<RuleError> {
    let mut errors = folder.map(unknown_files).unwrap_or_default();
    for file in registered() {
        match RuleFile::find(folder, file.name, file.compiled_in) {
            Ok(text) => errors.extend((file.check)(&text)),
            Err(error) => errors.push(error),
        }
    }
    errors
}

/// What is not wrong with the rules, but had better be done: nothing shows what a rule without examples finds. None where the
/// file cannot be read, which [`check`] says.
pub fn warnings(folder: Option<&Path>) -> Vec<RuleError> {
    let (name, compiled_in) = (crate::inspect::RULE_FILES[0].name, crate::inspect::RULE_FILES[0].compiled_in);
    RuleFile::find(folder, name, compiled_in).map(|file| crate::inspect::without_examples(&file)).unwrap_or_default()
}

/// Every rule, in the order of the files.
///
/// # Errors
///
/// Files that cannot be read.
pub fn list(folder: Option<&Path>) -> Result<Vec<Listed>, Vec<RuleError>> {
    let mut all = Vec::new();
    for file in registered() {
        let text = RuleFile::find(folder, file.name, file.compiled_in).map_err(|error| vec![error])?;
        all.extend((file.list)(&text)?);
    }
    Ok(all)
}

/// Writes the files that are compiled in to a folder, which is made if it is not there.
///
/// # Errors
///
/// What keeps a file from being written; one that is there is not replaced.
pub fn export(folder: &Path) -> Result<Vec<PathBuf>, RuleError> {
    let wrong =
        |file: &Path, error: std::io::Error| RuleError { file: file.to_owned(), line: None, reason: error.to_string() };
    std::fs::create_dir_all(folder).map_err(|error| wrong(folder, error))?;
    let write = |file: &Registered| {
        let path = folder.join(file.name);
        let mut made = std::fs::File::create_new(&path).map_err(|error| wrong(&path, error))?;
        std::io::Write::write_all(&mut made, file.compiled_in.as_bytes()).map_err(|error| wrong(&path, error))?;
        Ok(path)
    };
    registered().map(write).collect()
}

/// The text of every rule file, by its name.
///
/// # Errors
///
/// A file that is there and cannot be read.
pub(crate) fn texts(folder: Option<&Path>) -> Result<Vec<(String, String)>, RuleError> {
    registered()
        .map(|file| Ok((file.name.to_owned(), RuleFile::find(folder, file.name, file.compiled_in)?.text)))
        .collect()
}

fn unknown_files(folder: &Path) -> Vec<RuleError> {
    let error = |error: std::io::Error| RuleError { file: folder.to_owned(), line: None, reason: error.to_string() };
    let entries = match std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(entries) => entries,
        Err(cause) => return vec![error(cause)],
    };
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    let known: Vec<&str> = registered().map(|file| file.name).chain([ADDED.1]).collect();
    paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_none_or(|name| !known.contains(&name)))
        .map(|file| RuleError {
            file,
            line: None,
            reason: format!("no such rule file; there are {}", known.join(", ")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_file_line_and_reason() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Shape {
            #[allow(dead_code, reason = "only its presence in the file matters here")]
            known: u32,
        }
        let file = RuleFile::new("some.toml", "known = 1\n\nunknwon = 2\n");
        let error = file.parse::<Shape>().expect_err("an unknown key");
        assert_eq!(error.line, Some(3));
        assert!(error.to_string().starts_with("some.toml:3: "), "{error}");
        assert!(error.reason.contains("unknwon"), "{error}");
    }

    /// A rule of somebody's own, with examples of which the second is wrong.
    const OWN: &str = r#"
[[rule]]
name = "badge"
class = "badge_number"
description = "Number of a badge"
leak = true
find = { literals = ["BADGE-"] }
pattern = 'BADGE-[0-9]{6}'
matches = ["BADGE-123456", "BADGE-12"]
rejects = []
"#;

    #[test]
    fn rules_of_ones_own_stand_beside_those_compiled_in() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(ADDED.1);
        std::fs::write(&path, OWN).expect("room");
        let errors = check(Some(folder.path()));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!((&errors[0].file, errors[0].line), (&path, Some(9)), "{errors:?}");
        std::fs::write(&path, OWN.replace(r#", "BADGE-12""#, "")).expect("room");
        assert_eq!(check(Some(folder.path())), []);
        // Of texts in which it must not find anything it has none.
        let warned = warnings(Some(folder.path()));
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert_eq!((&warned[0].file, warned[0].line), (&path, Some(3)));
        assert_eq!(warned[0].reason, "rule \"badge\" has no examples in `rejects`");
        assert_eq!(warnings(None), []);
        let all = list(Some(folder.path())).expect("well");
        assert_eq!(all.len(), list(None).expect("well").len() + 1);
        let own = all.iter().find(|rule| rule.name == "badge").expect("it is there");
        assert_eq!((own.class.as_str(), &own.file), ("badge_number", &path));
        // What stands there already stands in the way of nothing but itself.
        let written = export(&folder.path().join("all")).expect("room");
        assert_eq!(check(Some(&folder.path().join("all"))), []);
        assert!(export(&folder.path().join("all")).is_err_and(|error| error.file == written[0]));
    }
}
