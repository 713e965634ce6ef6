//! What the operator may set.

use serde::Deserialize;

/// Budget and limits of the detector.
///
/// Worst-case memory is `clients` × 20 KiB + `endpoints` × 48 KiB + `misses` × 128 bytes + `credentials` × 128 bytes: with the
/// defaults 2.9 GiB when all clients and endpoints are as suspicious as can be, and about 0.3 GiB when they are quiet.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many false alarms a day the operator will read. It is divided among all tests and clients.
    pub false_alarms_per_day: f64,
    /// Clients that are remembered; 2 KiB each when quiet, at most 20 KiB with evidence of all
    /// families (calls with the longest targets). Beyond, the least suspicious of sixteen leaves and is
    /// counted (`clients_evicted`).
    pub clients: usize,
    /// Endpoints that are remembered; 2 KiB each, at most 48 KiB while sixteen new classes of data
    /// are suspected. Beyond, one of the least called leaves and is counted
    /// (`endpoints_evicted`).
    pub endpoints: usize,
    /// Missed paths whose callers are remembered; 128 bytes each. Beyond, the one that was missed by the fewest leaves.
    pub misses: usize,
    /// Credentials whose users are remembered, 128 bytes each, and principals behind them, 1 KiB each when quiet and at
    /// most 8 KiB. Beyond, the longest unused and least suspicious leaves.
    pub credentials: usize,
    /// Endpoints whose failed logins are counted; 256 bytes each. Beyond, the one that failed least leaves.
    pub login_endpoints: usize,
    /// Learning of endpoint templates: the table `[endpoint]` of the configuration.
    #[serde(skip)]
    pub templates: crate::endpoint::Settings,
    /// Groups of principals that are remembered; 64 bytes each. Beyond, one of the fewest members leaves.
    pub groups: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            false_alarms_per_day: 1.0,
            clients: 100_000,
            endpoints: 20_000,
            misses: 65_536,
            credentials: 100_000,
            login_endpoints: 256,
            templates: crate::endpoint::Settings::default(),
            groups: 4_096,
        }
    }
}
