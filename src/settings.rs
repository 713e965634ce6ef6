//! Everything that can be set, in one place: a TOML file with one table a stage.
//!
//! A file has only what differs from the defaults; a key that no stage knows is an error. Flags and environment
//! variables come before the file.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::rules::{RuleError, RuleFile};

/// The configuration file, whole.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Reading of capture files, and live capture.
    pub source: crate::source::Settings,
    /// Links, tunnels, fragments, duplicates.
    pub packet: crate::packet::Settings,
    /// Flows and reassembly.
    pub stream: crate::stream::Settings,
    /// TLS, and key logs.
    pub tls: crate::tls::Settings,
    /// HTTP.
    pub http: crate::http::Settings,
    /// Files of calls, and logs of other sensors and servers.
    pub records: crate::records::Settings,
    /// Bodies, targets, credentials.
    pub inspect: crate::inspect::Settings,
    /// Proxies that are believed.
    pub client: crate::client::Settings,
    /// Learned templates of endpoints.
    pub endpoint: crate::endpoint::Settings,
    /// Windows, budgets, tables of the detector.
    pub detect: crate::detect::Settings,
    /// What is kept of what was learned.
    pub checkpoint: crate::checkpoint::Settings,
    /// What a live run gives up.
    pub confinement: crate::confinement::Settings,
    /// The inventory of APIs.
    pub inventory: crate::inventory::Settings,
    /// What is printed.
    pub output: Output,
    /// Folder whose rule files replace those compiled in.
    pub rules: Option<PathBuf>,
    /// Folder of the installation's key.
    pub state: Option<PathBuf>,
    /// File with the key, instead of the one in the state folder.
    pub key_file: Option<PathBuf>,
    /// Threads among which the flows are divided; by default one for each core, live one on two cores or less, and else one
    /// less than there are. Up to 8 MiB each; live up to 20 MiB for each reader.
    pub workers: Option<usize>,
}

/// What is printed, and how a run ends.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Output {
    /// No summary on standard error.
    pub quiet: bool,
    /// The summary as one JSON object.
    pub json_summary: bool,
    /// Exit with 3 when there was an alert.
    pub fail_on_alert: bool,
    /// `watch` prints the calls instead of alerts.
    pub calls: bool,
}

impl Settings {
    /// Reads a configuration file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is no TOML, or has a key that is not known: with the line.
    pub fn read(path: &Path) -> Result<Settings, RuleError> {
        let text = std::fs::read_to_string(path).map_err(|error| RuleError {
            file: path.to_owned(),
            line: None,
            reason: error.to_string(),
        })?;
        RuleFile { path: path.to_owned(), text }.parse()
    }
}
