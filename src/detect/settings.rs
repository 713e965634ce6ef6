//! What the operator may set.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Budget and limits of the detector.
///
/// Worst-case memory is `clients` × 16 KiB + `endpoints` × 48 KiB + `misses` × 128 bytes + `credentials` × 8.2 KiB + `incidents` × 32 KiB + `slow_clients` × 3 KiB + `accounts` × 120 bytes + `lookups` × 0.7 KiB + `beacons` × 0.3 KiB + `written_endpoints` × 2 KiB + `returned_endpoints` × 5 KiB: with the
/// defaults 3.6 GiB when all clients and endpoints are as suspicious as can be, and about 0.3 GiB when they are quiet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many false alarms a day the operator will read. It is divided among all tests and clients.
    pub false_alarms_per_day: f64,
    /// Clients that are remembered; 2 KiB each when quiet, at most 16 KiB with evidence of all
    /// families. Beyond, the least suspicious of sixteen leaves and is
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
    /// Accounts that somebody failed to log in to on the present day; 120 bytes each. Beyond, one of an earlier day, or that the fewest
    /// tried, leaves.
    pub accounts: usize,
    /// Incidents that are open at a time, 24 KiB each, and traits by which accused clients are held together, 8 KiB each. Beyond, the one that was quiet longest closes early, and says so.
    pub incidents: usize,
    /// Hours without evidence after which an incident closes. Longer than a night between two working days, so that who
    /// comes back each morning is one incident.
    pub incident_quiet_hours: f64,
    /// Learning of endpoint templates: the table `[endpoint]` of the configuration.
    #[serde(skip)]
    pub templates: crate::endpoint::Settings,
    /// Clients whose slow connections are counted, and as many that give up requests at once; 256 bytes each, and 2 KiB with
    /// connections as evidence. Beyond, the one with the least evidence leaves and is counted (`clients_evicted`).
    pub slow_clients: usize,
    /// Servers that are remembered to speak HTTP; 64 bytes each. Beyond, one that was not heard for long leaves.
    pub servers: usize,
    /// Groups of principals, and roles, that are remembered; 64 bytes each, 32 for a role. Beyond, one of the fewest members leaves.
    pub groups: usize,
    /// Endpoints of which the fields that are written are remembered, where calls have shapes; 2 KiB each, with 64 fields. Beyond,
    /// the one that is written least leaves. Fields that are not remembered are counted (`fields_left_out`), here and below.
    pub written_endpoints: usize,
    /// Endpoints of which the fields of answers are remembered, where calls have shapes; 5 KiB each, with 256 fields and 32 of which
    /// it is not known yet. Beyond, the one that answered least leaves.
    pub returned_endpoints: usize,
    /// Askers of lookups that are remembered, an endpoint each; 128 bytes each, and at most 640 when they ask about many people.
    /// Beyond, the one that asked about the fewest leaves. For each sixteen of them one endpoint is remembered, 640 bytes.
    pub lookups: usize,
    /// Series of connections in TLS without keys that are remembered, of one client, server and fingerprint each; 200 bytes each. Beyond, one that is not regular, or was not
    /// heard of for longest, leaves and is counted (`series_evicted`). For each sixteen of them one server is remembered, at most 1.8 KiB.
    pub beacons: usize,
}

impl Settings {
    /// Checks what can be checked of each value alone.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let budget = self.false_alarms_per_day;
        if !(budget > 0.0 && budget.is_finite()) {
            return Err(format!("detect.false_alarms_per_day = {budget}: it is a number above 0"));
        }
        let quiet = self.incident_quiet_hours;
        if !(quiet > 0.0 && quiet.is_finite()) {
            return Err(format!("detect.incident_quiet_hours = {quiet}: it is a number above 0"));
        }
        let tables = [
            ("clients", self.clients),
            ("endpoints", self.endpoints),
            ("incidents", self.incidents),
            ("credentials", self.credentials),
            ("groups", self.groups),
        ];
        match tables.iter().find(|(_, size)| *size == 0) {
            Some((name, _)) => Err(format!("detect.{name} = 0: nothing could be remembered; give 1 or more")),
            None => Ok(()),
        }
    }

    /// `incident_quiet_hours`, at least a minute.
    pub(super) fn incident_quiet(&self) -> Duration {
        let seconds = (self.incident_quiet_hours * 3_600.0).clamp(60.0, 1e9);
        Duration::from_secs_f64(if seconds.is_finite() { seconds } else { 72_000.0 })
    }
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
            accounts: 65_536,
            incidents: 4_096,
            incident_quiet_hours: 20.0,
            templates: crate::endpoint::Settings::default(),
            slow_clients: 16_384,
            servers: 4_096,
            groups: 4_096,
            written_endpoints: 4_096,
            returned_endpoints: 4_096,
            lookups: 65_536,
            beacons: 65_536,
        }
    }
}
