//! What a detector brings to the scales: plain numbers; words are made of them only when an alert is due.

use super::budget::Test;
use crate::alert::Technique;

/// Evidence of one test after a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    pub(super) test: Test,
    pub(super) technique: Technique,
    /// Evidence.
    pub(super) nats: f64,
    /// What was asked for; the scales set it.
    pub(super) threshold: f64,
    pub(super) observed: f64,
    pub(super) expected: f64,
    /// Length of the window in seconds, for tests that have one.
    pub(super) window: Option<u64>,
    /// The endpoint is meant, not the client.
    pub(super) endpoint: bool,
    /// Data of the worst classes.
    pub(super) grave: bool,
    /// The place of the class among the endpoint's classes, for an exposure.
    pub(super) class: Option<usize>,
}

impl Finding {
    /// One about the client, without a window.
    pub(super) fn new(test: Test, technique: Technique, nats: f64) -> Finding {
        Finding {
            test,
            technique,
            nats,
            threshold: f64::MAX,
            observed: 0.0,
            expected: 0.0,
            window: None,
            endpoint: false,
            grave: false,
            class: None,
        }
    }

    pub(super) fn compared(self, observed: f64, expected: f64) -> Finding {
        Finding { observed, expected, ..self }
    }

    pub(super) fn within(self, seconds: u64) -> Finding {
        Finding { window: Some(seconds), ..self }
    }

    pub(super) fn of_endpoint(self) -> Finding {
        Finding { endpoint: true, ..self }
    }
}
