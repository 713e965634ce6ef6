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
//! - What is new in the inventory, and findings of practices, are told once, over all runs.
//! - What one version kept a later one reads: what it did not know yet begins anew, and that is said.
//! - Flows that were under way are not kept. What they were in the middle of is picked up as at any other start.
//! - Neither the time at which a checkpoint is written nor that it is written changes an alert.
//!
//! Memory: while a checkpoint is written, what the detector remembers is held twice, and so are the inventory and what the practices
//! remember, where they are kept.

pub mod file;
mod keeper;
mod sections;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::FlowId;
use crate::detect::{State, Stored};
use crate::time::Timestamp;
use crate::{inventory, practice};

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

/// What was learned.
#[derive(Clone, Debug)]
pub struct Learned {
    /// What the detector remembers.
    pub detector: State,
    /// The inventory, and what of it was told; where what is new is told.
    pub inventory: Option<inventory::Memory>,
    /// What the practices remember, where findings are told.
    pub practice: Option<practice::Memory>,
}

/// What a checkpoint holds, as it is written.
#[derive(Debug)]
pub struct Checkpoint {
    /// The last record that the detector had taken.
    pub taken: Option<Order>,
    /// What was learned until then.
    pub learned: Learned,
}

/// The same as it is read, perhaps from another version.
#[derive(Debug)]
pub struct Kept {
    /// The last record that the detector had taken.
    pub taken: Option<Order>,
    /// What the detector remembered.
    pub detector: Stored,
    /// The rest.
    pub rest: Rest,
    /// What has to be said of it.
    pub notes: Vec<String>,
}

/// What a checkpoint holds beside the detector.
#[derive(Debug, Default)]
pub struct Rest {
    /// The inventory.
    pub inventory: Option<inventory::Memory>,
    /// What the practices remembered.
    pub practice: Option<practice::Memory>,
}

#[cfg(test)]
mod tests;
