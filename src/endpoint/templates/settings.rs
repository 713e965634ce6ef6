//! What the operator may set.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Limits of the learned templates, and how much evidence it takes to learn.
///
/// Worst-case memory is `nodes` × 2.5 KiB (two methods a path, each called by more than 64 clients; a path has one in
/// the usual case, of fewer clients, and costs about 400 bytes) + `clients` × 64 bytes: 161 MiB with the defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Path segments that are remembered, over all hosts. Beyond, the least used of sixteen leaves and is counted
    /// ([`Tallies::evicted`](super::Tallies::evicted)).
    pub nodes: usize,
    /// Hosts that are remembered. Beyond, the least used of sixteen leaves with all its paths, and is counted.
    pub hosts: usize,
    /// Words that are told apart below one parent. Beyond, the least used of sixteen leaves and is counted.
    pub children: usize,
    /// Methods that are told apart at one path; calls with others are counted as refused.
    pub methods: usize,
    /// Clients whose share of what is not yet confirmed is remembered; 64 bytes each.
    pub clients: usize,
    /// Segments that one client may create before a second client confirms them. One more every hour. What goes beyond
    /// is refused and counted ([`Tallies::refused`](super::Tallies::refused)).
    pub unconfirmed: usize,
    /// Words below one parent with answers of one size that make it a parameter. One client counts for a third of
    /// them at most, here and below, as long as no second client called the same.
    pub alike: usize,
    /// Words below one parent with the same words below them that make it a parameter.
    pub same_subtrees: usize,
    /// Words below one parent that make it a parameter whatever they answer, when each client calls few of them. The
    /// only rule for words right behind the host or a version.
    pub many: usize,
    /// Words below one parent, called by one client each, all answered with the same number of bytes, that make it a
    /// catch-all.
    pub catch_all: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            nodes: 65_536,
            hosts: 4_096,
            children: 512,
            methods: 16,
            clients: 16_384,
            unconfirmed: 256,
            alike: 8,
            same_subtrees: 12,
            many: 40,
            catch_all: 24,
        }
    }
}
