//! The packets of incidents: those of the last seconds before an incident was told, and those from then on, a pcapng file each.
//!
//! A reader copies every frame that holds a TCP segment ([`Tap`]); the consumer says what the detector told, and which calls went
//! over which connections ([`Witness`]). Both go over one bounded queue to a thread of its own, which keeps the frames in a ring
//! (`ring`), knows which are an incident's (`watch`), puts them into blocks (`pcapng`), and writes and deletes files (`store`).
//! Without a folder there is neither thread nor tap, and no frame is copied.
//!
//! **Whose packets.** All that go to or come from the address of who is accused. A client behind a trusted proxy has no address on the
//! wire: of the proxy's connections those packets are kept that were seen from the beginning of one of the client's calls to its
//! end. So are those of the calls that an alert shows when it accuses nobody. Packets are those that hold TCP, with all that is around
//! it, copies of mirrors included; of a proxy's packet in fragments only the fragment that completed it, since no other has ports.
//!
//! **The same files in every replay.** What is told comes later than the frames that it rests on, by how much nobody can say. So all is
//! put in one order, that of the traffic's time: a frame is passed on only when the detector has come beyond it, and what was told is
//! heeded between the frames between which it belongs. Nothing depends on threads or on how queues are cut.

mod pcapng;
mod recorder;
mod ring;
mod store;
mod tap;
#[cfg(test)]
mod tests;
mod watch;
mod witness;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::bounded;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::client::TrustedProxies;
use crate::metrics::Board;

use recorder::Recorder;
pub use tap::Tap;
pub use witness::Witness;

/// Messages that wait for the recorder: batches of frames of at most half a mebibyte each, 8 MiB.
const QUEUE: usize = 16;

/// Which packets of incidents are kept, and for how long.
///
/// Worst-case memory is `ring_bytes`, half of it again for packets that the detector has not come to (live), `calls` × 1 KiB,
/// `incidents` × 256 clients × 0.3 KiB, and 9 MiB for what is on its way: with the defaults 190 MiB; in a replay 3 MiB for each worker
/// in place of that half. For each file in the folder 0.2 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Folder for the packets of incidents, a pcapng file each; made if it is not there. None: no packets are kept.
    pub folder: Option<PathBuf>,
    /// Bytes of the packets that are held back in case an incident is told, each at 96 bytes more than it has: the memory that
    /// they take. Half as much again may wait for a detector that is behind.
    pub ring_bytes: usize,
    /// Seconds of the traffic's time for which packets are held back, as far as `ring_bytes` reaches.
    pub ring_seconds: u64,
    /// Bytes of one incident's file, at least 4096; what comes beyond is left out, counted as
    /// `evidence_packets_left_out`, and the file ends with a word on it.
    pub incident_bytes: u64,
    /// Bytes of all files in the folder, counted in blocks of 4 KiB. Beyond, the file of the incident that closed first is deleted, then
    /// that of the one to which packets are added no more for the longest time; without any such, packets are left out.
    pub total_bytes: u64,
    /// Seconds for which packets of an incident's clients are still kept after it was last told.
    pub after_seconds: u64,
    /// Incidents to which packets are added at a time, at 0.3 KiB for each of their clients. Beyond, the one that would end first ends
    /// (`evidence_incidents_forgotten`).
    pub incidents: usize,
    /// Calls of the last `ring_seconds` that are remembered with their connections, to find those of clients behind proxies; 1 KiB
    /// each. Beyond, the first ones are forgotten (`evidence_calls_forgotten`).
    pub calls: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            folder: None,
            ring_bytes: 64 << 20,
            ring_seconds: 30,
            incident_bytes: 16 << 20,
            total_bytes: 1 << 30,
            after_seconds: 300,
            incidents: 256,
            calls: 65_536,
        }
    }
}

/// Makes the folder, if it is not there, for its owner alone.
///
/// # Errors
///
/// When it cannot be made.
pub fn make_folder(folder: &Path) -> std::io::Result<()> {
    store::make_folder(folder)
}

/// Starts to keep packets; none when the settings name no folder. `live`, who is behind loses packets instead of holding others up.
///
/// That the folder cannot be made or written to is said and counted, and ends nothing.
///
/// # Errors
///
/// When the system has no more threads.
pub fn start(
    settings: &Settings,
    proxies: TrustedProxies,
    live: bool,
    board: Option<&Arc<Board>>,
) -> std::io::Result<Option<(Tap, Witness)>> {
    let Some(folder) = settings.folder.clone() else { return Ok(None) };
    let (send, messages) = bounded(QUEUE);
    let recorder = Recorder::new(settings, folder.clone(), live, board.map(Board::publisher));
    let thread = std::thread::Builder::new().name("evidence".into()).spawn(move || recorder.run(&messages))?;
    Ok(Some((Tap::new(send.clone(), live), Witness::new(send, live, proxies, folder, thread))))
}
