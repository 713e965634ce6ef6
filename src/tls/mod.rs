//! TLS as the packets show it, and what is in it where its secrets are known: between the runs of `stream` and the calls of
//! `http`.
//!
//! | file | owns |
//! | --- | --- |
//! | `codec` | numbers and vectors of the presentation language |
//! | `record` | records out of runs, and where the next one begins after a loss |
//! | `handshake` | messages out of records |
//! | [`hello`] | what the two ends propose and choose |
//! | [`fingerprint`] | which program speaks, by its hello |
//! | [`keylog`] | secrets by connection, from key logs |
//! | [`suite`] | cipher suites whose records can be opened |
//! | [`schedule`] | from secrets to keys |
//! | [`open`] | opening the records of one direction, with their numbers |
//! | `protection` | how one record is protected |
//! | `aead`, `cbc` | the ciphers |
//! | `half` | one direction: which keys it has come to, and where its plaintext stands |
//! | `description` | what is told of a connection |
//! | `waiting` | records that wait for their keys |
//! | `session` | both directions: records to plaintext |
//!
//! TLS is recognised by content on any port, at the beginning of a connection, behind a CONNECT, and behind a beginning in
//! clear (STARTTLS). Without its secrets a connection still says who calls whom, how much, and by which program: see
//! [`crate::call::Tls`]. With them, what is in it is read by the same code as what comes in clear.
//!
//! Secrets and plaintext stay in memory: neither is printed, and errors say nothing of them.

mod aead;
mod cbc;
mod codec;
mod description;
pub mod fingerprint;
mod half;
mod handshake;
pub mod hello;
pub mod keylog;
pub mod open;
mod protection;
mod record;
pub mod schedule;
mod session;
pub mod suite;
mod waiting;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use record::{begins_with_hello, is_ssl2_hello, looks_encrypted};
pub(crate) use session::{Context, Event, Session, Sink};

/// Limits of TLS. Worst-case memory a connection: about 1 KiB, the record under way in each direction (18 KiB), a message of
/// `handshake_bytes` in each, and `waiting_bytes`; with keys 2 KiB more.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Key logs.
    pub keylog: keylog::Settings,
    /// The opening of records.
    pub open: open::Settings,
    /// Bytes of one handshake message that are kept until it is whole. What is larger is passed over and counted.
    pub handshake_bytes: usize,
    /// Bytes of records of one connection that wait for its keys, where there are key logs. Beyond, the connection is given
    /// up: it is told of as one without keys.
    pub waiting_bytes: usize,
    /// Bytes of records that wait in all connections of a worker: the worst case of their memory.
    pub waiting_total: usize,
    /// Seconds that records wait for keys.
    pub waiting_seconds: u32,
    /// Seconds of traffic after which a connection that keeps what is in it is told of while it is open, and again after as
    /// many if something has come since. 0 tells of it at its end alone.
    pub report_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            keylog: keylog::Settings::default(),
            open: open::Settings::default(),
            handshake_bytes: 64 << 10,
            waiting_bytes: 256 << 10,
            waiting_total: 64 << 20,
            waiting_seconds: 10,
            report_seconds: 60,
        }
    }
}
