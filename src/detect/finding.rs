//! What a detector hands over when a test is passed: plain numbers; words are made of them only when an alert is due.

use crate::alert::Technique;

/// A test that was passed by a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    pub(super) technique: Technique,
    /// Evidence, and what the budget asked for.
    pub(super) nats: f64,
    pub(super) threshold: f64,
    pub(super) observed: f64,
    pub(super) expected: f64,
    /// Length of the window in seconds, for tests that have one.
    pub(super) window: Option<u64>,
    /// What was measured.
    pub(super) feature: &'static str,
    /// The endpoint is meant, not the client.
    pub(super) endpoint: bool,
    /// Data of the worst classes.
    pub(super) grave: bool,
    /// The place of the class among the endpoint's classes, for an exposure.
    pub(super) class: Option<usize>,
}

impl Finding {
    /// One about the client, without a window.
    pub(super) fn new(technique: Technique, nats: f64, threshold: f64, feature: &'static str) -> Finding {
        Finding {
            technique,
            nats,
            threshold,
            observed: 0.0,
            expected: 0.0,
            window: None,
            feature,
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
