//! Everything that can be set, in one place: a TOML file with one table a stage.
//!
//! A file has only what differs from the defaults; a key that no stage knows is an error. Flags come before environment
//! variables, and those before the file (`layers`). `keys` finds every key in the types themselves, `document` writes them.

mod document;
mod keys;
mod layers;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::RuleError;
pub use document::{defaults, differences, effective};
pub use keys::{Key, Table, Takes, keys, schema, tables};
pub(crate) use layers::nearest;
pub use layers::{Loaded, Origin, load};

/// The configuration file, whole.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
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
    /// The packets of incidents.
    pub evidence: crate::evidence::Settings,
    /// What a live run gives up.
    pub confinement: crate::confinement::Settings,
    /// The inventory of APIs.
    pub inventory: crate::inventory::Settings,
    /// What is held against the practices.
    pub practice: crate::practice::Settings,
    /// Gateways that services are behind.
    pub gateway: crate::practice::Gateway,
    /// What clients may use in a window of time: a table `[[quota]]` each, with `name`, `per`, `clients`, `services`, `endpoints`,
    /// `window`, `calls` and more; `apitap quotas suggest` writes some. None: nothing is limited.
    pub quota: Vec<crate::practice::Quota>,
    /// How `watch` can be looked into.
    pub metrics: crate::metrics::Settings,
    /// What is printed.
    pub output: Output,
    /// Where alerts go: a table `[[sink]]` each. None: JSON lines on standard output.
    pub sink: Vec<crate::sink::Settings>,
    /// Folder whose rule files replace those compiled in.
    pub rules: Option<PathBuf>,
    /// Folder of the installation's key, and of the sinks' spools.
    pub state: Option<PathBuf>,
    /// File with the key, instead of the one in the state folder.
    pub key_file: Option<PathBuf>,
    /// Threads among which the flows are divided; by default one for each core, live one on two cores or less, and else one
    /// less than there are. Up to 8 MiB each; live up to 20 MiB for each reader.
    pub workers: Option<usize>,
}

/// What is printed, and how a run ends.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Output {
    /// No summary on standard error.
    pub quiet: bool,
    /// The summary as one JSON object.
    pub json_summary: bool,
    /// Exit with 3 when there was an alert.
    pub fail_on_alert: bool,
    /// Print findings among the alerts.
    pub findings: bool,
    /// `watch` prints the calls instead of alerts.
    pub calls: bool,
    /// Seconds that the end of a run waits for sinks that have not delivered everything; what they have not is in their
    /// spools.
    pub sink_wait_seconds: u64,
    /// How messages are written on standard error: `text`, `json`.
    pub log_format: crate::cli::LogFormat,
    /// Name of this sensor in alerts of other formats than the native one. Default: that of the machine.
    pub sensor: Option<String>,
}

impl Default for Output {
    fn default() -> Self {
        Output {
            quiet: false,
            json_summary: false,
            fail_on_alert: false,
            calls: false,
            findings: false,
            sink_wait_seconds: 30,
            log_format: crate::cli::LogFormat::Text,
            sensor: None,
        }
    }
}

impl Output {
    /// The sensor's name.
    pub fn sensor(&self) -> String {
        let machine = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.sensor.clone().unwrap_or_else(machine)
    }
}

impl Settings {
    /// Reads a configuration file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is no TOML, or has a key that is not known: with the line.
    pub fn read(path: &Path) -> Result<Settings, RuleError> {
        load(Some(path), std::iter::empty()).map(|loaded| loaded.settings)
    }

    /// Checks values that no type can tell to be wrong: of the sinks, the quotas, the detector, and sizes without which nothing
    /// would be seen.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), String> {
        crate::sink::check(&self.sink)?;
        self.quota.iter().try_for_each(crate::practice::Quota::check)?;
        let mut names: Vec<&str> = self.quota.iter().map(|quota| quota.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("two quotas are called {}; findings could not tell them apart", pair[0]));
        }
        let sizes =
            [("stream.max_flows", self.stream.max_flows as usize), ("http.header_limit", self.http.header_limit)];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(format!("{name} = 0: no call would come together; give 1 or more"));
        }
        self.stream.check()?;
        self.detect.check()
    }
}
