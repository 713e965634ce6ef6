//! The reader's side: frames are copied, and handed on in batches.

use std::net::{IpAddr, SocketAddr};

use crossbeam_channel::{Sender, TrySendError};

use super::recorder::Message;
use super::ring::{Batch, FRAME_COST};
use crate::packet::Segment;
use crate::source::Frame;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// Bytes of a batch that is full.
const BATCH_BYTES: usize = 512 << 10;

/// Copies the frames of one reader.
#[derive(Debug)]
pub struct Tap {
    send: Sender<Message>,
    live: bool,
    batch: Batch,
}

/// For another reader.
impl Clone for Tap {
    fn clone(&self) -> Tap {
        Tap::new(self.send.clone(), self.live)
    }
}

impl Tap {
    pub(super) fn new(send: Sender<Message>, live: bool) -> Tap {
        Tap { send, live, batch: Batch::default() }
    }

    /// Takes the frame of a segment, at the traffic's time `now`; true when enough has gathered to be handed on.
    pub fn take(&mut self, frame: &Frame<'_>, segment: &Segment<'_>, now: Timestamp) -> bool {
        self.frame(frame, segment.source, segment.destination, now)
    }

    /// Takes the frame of a fragment, of which no more is known than whence and where it went; otherwise as [`Tap::take`].
    pub fn take_fragment(&mut self, frame: &Frame<'_>, ends: (IpAddr, IpAddr), now: Timestamp) -> bool {
        self.frame(frame, SocketAddr::new(ends.0, 0), SocketAddr::new(ends.1, 0), now)
    }

    fn frame(&mut self, frame: &Frame<'_>, source: SocketAddr, destination: SocketAddr, now: Timestamp) -> bool {
        self.batch.push(frame, [source, destination], now);
        self.batch.bytes.len() + self.batch.frames.len() * FRAME_COST >= BATCH_BYTES
    }

    /// Hands on what has gathered. Must come before the segments of these frames are handed on, so that nobody can tell of them before.
    pub fn hand_on(&mut self, counters: &mut Counters) {
        if self.batch.frames.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        if !self.live {
            let _ = self.send.send(Message::Frames(batch)); // the recorder ends last
            return;
        }
        if let Err(TrySendError::Full(Message::Frames(batch))) = self.send.try_send(Message::Frames(batch)) {
            counters.add(Counter::EvidencePacketsDropped, batch.frames.len() as u64);
        }
    }
}
