//! What the detector has learned, kept on disk from one run to the next.
//!
//! Evidence adds up over days, and a sensor is restarted now and then: without its state a slow attacker would begin anew with each
//! restart. [`mod@file`] is the form on disk, [`Keeper`] writes it now and then and goes on from it.
//!
//! # What holds
//!
//! - A checkpoint is whole or it is not used: it is written aside, synchronised, and renamed into place, and ends with a checksum.
//! - The one before is kept. When the newest is damaged, that is said, it is put aside, and the one before is used.
//! - An alert is told before a checkpoint holds that it was told. Killed in between, the next run tells it again, with the same ids.
//! - Records that a checkpoint holds already are passed over when they come again: a replay that was killed can be started again over
//!   the same captures, and gives the alerts that were missing.
//! - Flows that were under way are not kept. What they were in the middle of is picked up as at any other start.
//! - Neither the time at which a checkpoint is written nor that it is written changes an alert.
//!
//! Memory: while a checkpoint is written, what the detector remembers is held twice.

pub mod file;
mod keeper;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::FlowId;
use crate::detect::State;
use crate::time::Timestamp;

pub use keeper::Keeper;

/// A record's place in the total order in which they reach the detector.
pub type Order = (Timestamp, FlowId, u32);

/// How often a checkpoint is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Seconds between two checkpoints. When copying the state takes long, as many more as keep that below two hundredths of the time.
    /// 0 writes one at the end alone.
    pub interval_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { interval_seconds: 60 }
    }
}

/// What a checkpoint holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last record that the detector had taken.
    pub taken: Option<Order>,
    /// What the detector remembers.
    pub detector: State,
}

#[cfg(test)]
mod tests;
