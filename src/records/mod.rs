//! Records from lines of text: apitap's own, and what other sensors and servers write down of HTTP.
//!
//! | file | owns |
//! | --- | --- |
//! | `lines` | lines out of files and streams, decompressed |
//! | `apitap` | apitap's own lines: calls and connections |
//! | `zeek` | Zeek's `http.log`, tab-separated or JSON |
//! | `eve` | Suricata's EVE events of the type `http` |
//! | `combined` | access logs in the common and combined formats (Apache, nginx) and what is often added to them |
//! | `entry` | what all of these know, made into a [`Call`] with the functions of inspection |
//! | `file` | one file: its format recognised, its lines read, its calls in order as far as the look-ahead reaches |
//! | `merge` | several files as one, by time |
//!
//! What a log leaves out is unknown. A call out of a log says whose record it is ([`crate::call::Recorder`]), and the
//! detectors draw nothing from what such a call lacks. Targets are masked as apitap masks what it hears itself. An
//! account that a log names has the fingerprint that the same account has in apitap's own calls, since of Basic
//! credentials only the name is fingerprinted; passwords are not read.
//!
//! Trade-offs: behind a log an office at one address looks like one busy person, since sessions and tokens are
//! unknown. Zeek writes when a request began and not when it was over, Suricata when it logged it, Apache when the
//! request came, nginx when it was done: each is taken as the time of the call. Access logs know whole seconds.

mod apitap;
mod combined;
mod entry;
mod eve;
mod file;
mod lines;
mod merge;
mod print;
#[cfg(test)]
mod tests;
mod text;
mod zeek;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[allow(unused_imports, reason = "for the documentation")]
use crate::call::Call;
pub use merge::Records;
pub use print::RecordPrinter;

/// How files of calls and logs are read. Worst-case memory: for each of `max_open_files`, `look_ahead` calls at about
/// 1 KiB (the texts of a hostile log as long as `line_limit` allows), twice `line_limit`, and the decompressor's
/// window, see [`crate::source::Settings::zstd_window_log`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What the files hold; None: recognised, file by file, from their first lines.
    pub format: Option<Format>,
    /// Longest line in bytes. Longer ones count as unreadable. The read buffer of a file grows to twice this at most, and
    /// only for lines that really are as long.
    pub line_limit: usize,
    /// Calls of one log that are held until those before them may have come, at about 1 KiB each. 0 takes each as it
    /// comes. apitap's own lines are in order and are never held.
    pub look_ahead: usize,
    /// Seconds of the log's time that a call is held at most, however few calls there are.
    pub look_ahead_seconds: u64,
    /// Most files open at once, which is how many may overlap in time. Those beyond are left out, each with an error.
    pub max_open_files: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { format: None, line_limit: 4 << 20, look_ahead: 8192, look_ahead_seconds: 120, max_open_files: 64 }
    }
}

/// What the lines of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// apitap's own lines, calls and connections.
    Apitap,
    /// Zeek's `http.log`: tab-separated with its header lines, or JSON.
    Zeek,
    /// Suricata's EVE events.
    Eve,
    /// Access log: common or combined.
    Combined,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 4] = [Format::Apitap, Format::Zeek, Format::Eve, Format::Combined];

    /// Its name on the command line and in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Apitap => "apitap",
            Format::Zeek => "zeek",
            Format::Eve => "eve",
            Format::Combined => "combined",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        Format::ALL.into_iter().find(|format| format.name() == text).ok_or_else(|| {
            let names: Vec<_> = Format::ALL.iter().map(|format| format.name()).collect();
            format!("{text:?} is none of {}", names.join(", "))
        })
    }
}

/// Why a file, or a line of it, could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The file as given, `-` for standard input.
    pub name: String,
    /// The line, from 1, when that means something.
    pub line: Option<u64>,
    /// What is wrong, as one clause.
    pub reason: String,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}: line {line}: {}", self.name, self.reason),
            None => write!(f, "{}: {}", self.name, self.reason),
        }
    }
}

impl std::error::Error for RecordError {}
