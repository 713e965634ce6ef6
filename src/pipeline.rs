//! Wires the stages to threads; the only place that knows how many there are.
//!
//! With one worker, one thread reads, decodes, reassembles and makes records, and takes the records in their total order
//! ([`Record::order`]) to what the command is about (detects, prints). Live, that is done on a thread of its own, to
//! which batches of records travel over a bounded queue; a full one drops whole batches, counted, since the wire does
//! not wait (`alone`). With several workers the flows are divided among them. Live, a reader feeds them and a consumer takes what
//! they give, each on a thread of its own, and several readers may share an interface (`shards`). In a replay the workers do that
//! besides, so that there are no more threads than processors (`team`).
//!
//! What makes runs identical: a record's end time is a moment of packet time at which the worker completed it, so records
//! leave a worker in ascending end time; those of the same moment are put in order and let go once the watermark, the
//! traffic's time, has passed them. Nothing depends on how batches are cut.

mod alone;
mod assembly;
mod front;
mod merge;
mod parcel;
mod shards;
mod team;
#[cfg(test)]
mod tests;
mod timeline;
mod worker;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::call::Record;
use crate::evidence::Tap;
use crate::inspect::Inspector;
use crate::metrics::Board;
use crate::source::{Source, SourceError};
use crate::stats::Counters;
use crate::time::Timestamp;
use crate::tls::{self, keylog::KeyLog};
use crate::{http, packet, stream};

/// Live, how long one thread waits for the next before it drops what that has no room for, and the packet time after
/// which a thread without records says how far it is.
const PATIENCE: Duration = Duration::from_millis(100);

/// Is told now and then how far a source is, and what was counted of it.
pub type Progress<'p> = dyn FnMut(&dyn Source, &Counters) + Send + 'p;

/// Settings of the stages before the seam.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Decoding.
    pub packet: packet::Settings,
    /// Reassembly.
    pub stream: stream::Settings,
    /// HTTP.
    pub http: http::Settings,
    /// TLS.
    pub tls: tls::Settings,
    /// Secrets of connections in TLS; those in captures are added to them.
    pub keys: Arc<KeyLog>,
    /// Live: a full queue drops what it has no room for instead of holding the reader back.
    pub live: bool,
    /// Workers among whom the flows are divided.
    pub workers: usize,
    /// Where the threads tell once a second what they have counted, if anybody looks.
    pub board: Option<Arc<Board>>,
    /// What copies the frames, where packets of incidents are kept. The consumer is then told of every step of the traffic's time.
    pub evidence: Option<Tap>,
    /// Processors over which the threads are spread, one each, when there are enough.
    pub cpus: Vec<u16>,
}

/// Takes the records in their order. Live, it runs on a thread of its own.
pub trait Consumer: Send {
    /// The next records, and the traffic's time up to which there will be no more.
    ///
    /// # Errors
    ///
    /// When its output fails; the run ends then.
    fn records(&mut self, records: &mut Vec<Record>, watermark: Timestamp) -> io::Result<()>;

    /// There are no more records.
    ///
    /// # Errors
    ///
    /// When its output fails.
    fn finish(&mut self) -> io::Result<()>;
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What the stages up to the seam counted.
    pub counters: Counters,
    /// What could not be read.
    pub errors: Vec<SourceError>,
    /// Link types that were not understood, by name, with the number of their frames.
    pub unknown_links: Vec<(String, u64)>,
    /// Time of the first and the last frame.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Why the output failed, if it did.
    pub output: Option<io::Error>,
}

/// Runs sources, which are parts of the same traffic, through all stages into `consumer`, until they end or `stop` is
/// set. `progress` is told now and then how far the first one is.
pub fn run(
    sources: &mut [Box<dyn Source>],
    settings: &Settings,
    inspector: &Arc<Inspector>,
    consumer: &mut dyn Consumer,
    stop: &AtomicBool,
    progress: &mut Progress<'_>,
) -> Outcome {
    let mut outcome = match sources {
        [source] if settings.workers <= 1 => alone::run(source.as_mut(), settings, inspector, consumer, stop, progress),
        [source] if !settings.live => team::run(source.as_mut(), settings, inspector, consumer, stop, progress),
        sources => shards::run(sources, settings, inspector, consumer, stop, progress),
    };
    settings.keys.report(&mut outcome.counters);
    outcome
}
