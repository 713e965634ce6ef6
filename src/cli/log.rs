//! Messages for the operator, on standard error: a line of text each, or a JSON object each.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::callsite::Identifier;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Messages from one place in the program within [`WINDOW`].
const LIMIT: u32 = 20;

/// See [`LIMIT`].
const WINDOW: Duration = Duration::from_secs(60);

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line of text.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Messages are written from now on. A second call changes nothing.
pub(super) fn start(format: LogFormat) {
    let registry = tracing_subscriber::registry().with(LevelFilter::INFO).with(RateLimit::default());
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    // It would say them on the standard error that has failed.
    let layer = layer.log_internal_errors(false);
    // Only where somebody has set it already, as a test might, does this fail.
    let _ = match format {
        LogFormat::Text => {
            let layer = layer.with_ansi(std::io::stderr().is_terminal());
            tracing::subscriber::set_global_default(registry.with(layer))
        }
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
            tracing::subscriber::set_global_default(registry.with(layer))
        }
    };
}

/// No place in the program says more than [`LIMIT`] things in [`WINDOW`]; how many were left out is said afterwards. There
/// are as many entries as places that say anything.
#[derive(Debug, Default)]
struct RateLimit(Mutex<HashMap<Identifier, Said>>);

#[derive(Debug)]
struct Said {
    since: Instant,
    count: u32,
}

impl RateLimit {
    /// Whether one more may be said at `now`; and how many were left out in the time that is over.
    fn allow(&self, place: Identifier, now: Instant) -> (bool, u32) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let said = all.entry(place).or_insert(Said { since: now, count: 0 });
        let mut left_out = 0;
        if now.duration_since(said.since) >= WINDOW {
            left_out = said.count.saturating_sub(LIMIT);
            *said = Said { since: now, count: 0 };
        }
        said.count = said.count.saturating_add(1);
        (said.count <= LIMIT, left_out)
    }
}

impl<S: Subscriber> Layer<S> for RateLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let (allowed, left_out) = self.allow(event.metadata().callsite(), Instant::now());
        if left_out > 0 {
            tracing::warn!(left_out, "messages of the kind that follows were left out in the last minute");
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Callsite;

    #[test]
    fn one_place_cannot_flood_the_log() {
        struct Place;
        impl Callsite for Place {
            fn set_interest(&self, _: tracing::subscriber::Interest) {}
            fn metadata(&self) -> &tracing::Metadata<'_> {
                unreachable!("nobody asks")
            }
        }
        static PLACE: Place = Place;
        let limit = RateLimit::default();
        let now = Instant::now();
        let place = || Identifier(&PLACE);
        let allowed = (0..100).filter(|_| limit.allow(place(), now).0).count();
        assert_eq!(allowed, LIMIT as usize);
        assert_eq!(limit.allow(place(), now + WINDOW), (true, 100 - LIMIT));
        assert_eq!(limit.allow(place(), now + WINDOW), (true, 0));
    }
}
