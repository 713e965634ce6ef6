//! One connection: its two halves and where it is kept.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use ahash::RandomState;

use super::hold::Hold;
use super::{Direction, FlowInfo};
use crate::time::Timestamp;

/// A hash of addresses and ports, the same for both directions.
#[inline]
pub(crate) fn hash_ends(key: &RandomState, source: SocketAddr, destination: SocketAddr) -> u64 {
    let mut hasher = key.build_hasher();
    match (source, destination) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
            let side = |end: SocketAddrV4| u64::from(end.ip().to_bits()) << 16 | u64::from(end.port());
            let (source, destination) = (side(source), side(destination));
            let (low, high) = (source.min(destination), source.max(destination));
            hasher.write_u64(low);
            hasher.write_u64(high);
        }
        _ => {
            let side = |end: SocketAddr| match end.ip() {
                IpAddr::V4(address) => (u128::from(address.to_bits()), end.port()),
                IpAddr::V6(address) => (address.to_bits(), end.port()),
            };
            let (source, destination) = (side(source), side(destination));
            let (low, high) = (source.min(destination), source.max(destination));
            hasher.write_u128(low.0);
            hasher.write_u128(high.0);
            hasher.write_u64(u64::from(low.1) << 16 | u64::from(high.1));
        }
    }
    hasher.finish()
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
    /// Offset of the FIN.
    pub(super) finish: Option<u64>,
    /// A reset was sent by this end.
    pub(super) reset: bool,
    /// The handler was told that this direction is over.
    pub(super) closed: bool,
    /// Sequence number of a SYN that came into the live flow and is not confirmed.
    pub(super) restart: Option<u32>,
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

    /// True when a hole may have to be given up, or the end may have been reached.
    #[inline]
    pub(super) fn unsettled(&self) -> bool {
        self.hold.is_some() || self.finish.is_some()
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
    /// The direction of a segment between these ends; none when it belongs to another connection.
    #[inline]
    pub(super) fn direction_between(&self, source: SocketAddr, destination: SocketAddr) -> Option<Direction> {
        if self.info.source == source && self.info.destination == destination {
            return Some(Direction::Forward);
        }
        (self.info.source == destination && self.info.destination == source).then_some(Direction::Backward)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_no_larger_than_the_settings_say() {
        let size = size_of::<Option<Flow<()>>>();
        assert!(size <= 344, "{size} bytes");
    }
}
