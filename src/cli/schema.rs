//! The JSON Schemas of what apitap prints.

use clap::ValueEnum;

/// What there is a schema of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Printed {
    /// A line of `apitap replay` or `watch` (`apitap.alert.v1`).
    Alert,
    /// A call, as `apitap calls` prints it (`apitap.call.v1`).
    Call,
    /// A connection among the calls (`apitap.connection.v1`).
    Connection,
    /// A line of `apitap doctor --json` (`apitap.check.v1`).
    Check,
    /// What `apitap top --json` prints, and `/status` answers (`apitap.status.v1`).
    Status,
}

impl Printed {
    /// The schema (JSON Schema, draft 2020-12).
    pub(super) const fn schema(self) -> &'static str {
        match self {
            Printed::Alert => include_str!("../../schemas/alert.json"),
            Printed::Call => include_str!("../../schemas/call.json"),
            Printed::Connection => include_str!("../../schemas/connection.json"),
            Printed::Check => include_str!("../../schemas/check.json"),
            Printed::Status => include_str!("../../schemas/status.json"),
        }
    }
}
