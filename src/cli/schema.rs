//! The JSON Schemas of what apitap prints.

use clap::ValueEnum;

/// What there is a schema of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Printed {
    /// A line of `apitap replay` or `watch` (`apitap.alert.v1`).
    Alert,
    /// One of them with `--findings`, and a finding of a posture (`apitap.finding.v1`).
    Finding,
    /// One of them with `--events` (`apitap.event.v1`).
    Event,
    /// A call, as `apitap calls` prints it (`apitap.call.v1`).
    Call,
    /// A connection among the calls (`apitap.connection.v1`).
    Connection,
    /// An endpoint, as `apitap apis --json` prints it and `--save` writes it (`apitap.endpoint.v1`).
    Endpoint,
    /// A line of `apitap apis --diff` with `--json` (`apitap.change.v1`).
    Change,
    /// A line of `apitap apis --spec` with `--json`, or of `--review` with `--findings` (`apitap.conformance.v1`).
    Conformance,
    /// What `apitap apis --graph json` prints (`apitap.graph.v1`).
    Graph,
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
            Printed::Finding => include_str!("../../schemas/finding.json"),
            Printed::Event => include_str!("../../schemas/event.json"),
            Printed::Call => include_str!("../../schemas/call.json"),
            Printed::Connection => include_str!("../../schemas/connection.json"),
            Printed::Endpoint => include_str!("../../schemas/endpoint.json"),
            Printed::Change => include_str!("../../schemas/change.json"),
            Printed::Conformance => include_str!("../../schemas/conformance.json"),
            Printed::Graph => include_str!("../../schemas/graph.json"),
            Printed::Check => include_str!("../../schemas/check.json"),
            Printed::Status => include_str!("../../schemas/status.json"),
        }
    }
}
