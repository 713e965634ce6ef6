//! One connection: its two halves and where it is kept.

use std::net::SocketAddr;

use super::hold::Hold;
use super::{Direction, FlowInfo};
use crate::time::Timestamp;

/// Addresses and ports in ascending order, so that both directions have one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    low: SocketAddr,
    high: SocketAddr,
}

impl Ends {
    pub(super) fn of(source: SocketAddr, destination: SocketAddr) -> Ends {
        if source <= destination {
            Ends { low: source, high: destination }
        } else {
            Ends { low: destination, high: source }
        }
    }
}

/// One direction of a flow.
#[derive(Debug, Default)]
pub(super) struct Half {
    /// Sequence number of stream offset 0; meaningful when `based`.
    base: u32,
    /// The beginning is known: from a SYN, from the first segment, or from what the peer acknowledged.
    pub(super) based: bool,
    /// Its SYN was seen.
    pub(super) synchronised: bool,
    /// Offset of the next byte to hand on.
    pub(super) next: u64,
    /// Highest offset that the peer acknowledged.
    pub(super) acknowledged: u64,
    /// Offset of the FIN.
    pub(super) finish: Option<u64>,
    /// A reset was sent by this end.
    pub(super) reset: bool,
    /// The handler was told that this direction is over.
    pub(super) closed: bool,
    /// Sequence number of a SYN that came into the live flow and is not confirmed.
    pub(super) restart: Option<u32>,
    /// When the hole at `next` was first seen, and when it was first seen acknowledged.
    pub(super) hole_since: Option<Timestamp>,
    pub(super) hole_acknowledged: Option<Timestamp>,
    /// Data behind a hole.
    pub(super) hold: Option<Box<Hold>>,
    /// Digest of the layers in which this direction arrives.
    pub(super) layers: u64,
}

impl Half {
    /// Sets the sequence number of offset 0.
    pub(super) fn set_base(&mut self, sequence: u32, synchronised: bool) {
        self.base = sequence;
        self.based = true;
        self.synchronised = synchronised;
    }

    /// The stream offset of a sequence number: the one nearest to `next`, negative before the beginning.
    #[inline]
    pub(super) fn place(&self, sequence: u32) -> i64 {
        let expected = self.base.wrapping_add(self.next as u32);
        self.next as i64 + i64::from(sequence.wrapping_sub(expected) as i32)
    }

    /// True when the SYN of this direction had this sequence number.
    pub(super) fn began_with(&self, sequence: u32) -> bool {
        self.based && self.base == sequence.wrapping_add(1)
    }

    pub(super) fn holds(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| !hold.is_empty())
    }
}

/// Where a flow is on its way; decides in which list it is kept and which time-out is its.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A SYN, or SYN and SYN-ACK, were seen.
    HalfOpen,
    /// Data or the end of the handshake was seen.
    Open,
    /// Finished on both sides, or reset.
    Closing,
}

/// No link.
pub(super) const NONE: u32 = u32::MAX;

/// One entry of the table.
#[derive(Debug)]
pub(super) struct Flow<S> {
    pub(super) ends: Ends,
    pub(super) info: FlowInfo,
    pub(super) halves: [Half; 2],
    pub(super) state: Option<Box<S>>,
    pub(super) stage: Stage,
    /// Not reassembled any more.
    pub(super) unwanted: bool,
    /// On the list of flows with a hole.
    pub(super) listed: bool,
    pub(super) last: Timestamp,
    /// Neighbours in the half-open list or in a slot of the wheel.
    pub(super) previous: u32,
    pub(super) following: u32,
    /// Slot of the wheel; [`NONE`] for the half-open list.
    pub(super) slot: u32,
}

impl<S> Flow<S> {
    /// The direction of a segment from `source`.
    #[inline]
    pub(super) fn direction(&self, source: SocketAddr) -> Direction {
        if self.info.source == source { Direction::Forward } else { Direction::Backward }
    }

    /// True when a segment in other layers belongs to this connection by its numbers: it repeats the SYN, or is
    /// within a window of what is expected in its own direction and acknowledges what the other direction has.
    /// By chance, one in four million would.
    pub(super) fn fits(&self, direction: Direction, sequence: u32, acknowledgment: Option<u32>) -> bool {
        const WINDOW: i64 = 1 << 20;
        let near = |half: &Half, number: u32| (half.place(number) - half.next as i64).abs() <= WINDOW;
        let own = &self.halves[direction.index()];
        let peer = &self.halves[direction.opposite().index()];
        match acknowledgment {
            None => own.synchronised && own.began_with(sequence),
            Some(number) => peer.based && near(peer, number) && (!own.based || near(own, sequence)),
        }
    }
}
