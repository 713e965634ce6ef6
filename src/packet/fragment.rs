//! IP packets that came in fragments (RFC 791, section 3.2; RFC 8200, section 4.5), put together under a budget.
//!
//! **Overlaps.** IPv4: the first copy wins; a later fragment fills only the holes, and where it says something else
//! about bytes already held, that is counted. IPv6: an exact copy of a fragment is ignored, any other overlap drops the
//! whole packet with all fragments still to come (RFC 5722).
//!
//! **Contradictions.** A fragment that ends beyond the packet's end, that gives it another end, that is empty, that
//! reaches beyond 65,535 bytes, or was cut by the snap length, is dropped and counted; the others stay.
//!
//! **Bounds.** Bytes held, with what the bookkeeping costs, unfinished packets, and pieces a packet are limited by
//! [`Settings`]; the unfinished packet that began first gives way. Pieces are held as they came, so that a fragment at
//! a high offset costs no more than its own bytes. Time-outs run on packet time, from a packet's first fragment, and
//! fire when the next fragment comes.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;

use super::Settings;
use super::duplicate::{window, write_addresses};
use super::ip::{Addresses, Packet, Place};
use super::recent::{Known, Recent};
use crate::metrics::Occupancy;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// An IP packet put together: its addresses, and what its payload is.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) addresses: Addresses,
    pub(super) id: u32,
    pub(super) number: u8,
    pub(super) payload: Vec<u8>,
}

/// What an unfinished packet costs beside its pieces, in bytes: key, entry, place in the order.
const PACKET_COST: usize = 256;

/// What a piece costs beside its bytes: its place in the list, the allocator's overhead.
const PIECE_COST: usize = 64;

/// No IP payload is longer.
const LONGEST: u32 = 65_535;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    addresses: Addresses,
    id: u32,
    /// IPv4 tells packets apart by it; IPv6 does not.
    number: Option<u8>,
    encapsulation: u64,
}

#[derive(Debug)]
struct Piece {
    start: u32,
    bytes: Box<[u8]>,
}

impl Piece {
    fn end(&self) -> u32 {
        self.start + self.bytes.len() as u32
    }
}

#[derive(Debug)]
struct Unfinished {
    began: Timestamp,
    order: u64,
    /// By the first fragment, for IPv6; all have it with IPv4.
    number: Option<u8>,
    /// Where the payload ends, once the last fragment came.
    end: Option<u32>,
    /// Ascending, without overlaps.
    pieces: Vec<Piece>,
    held: u32,
    fragments: u32,
    cost: usize,
    /// An IPv6 packet with an overlap: nothing of it is believed any more.
    poisoned: bool,
}

/// The unfinished packets.
pub(super) struct Fragments {
    /// Fragments of the last milliseconds, by all that is in them.
    recent: Recent,
    key: RandomState,
    /// The latest time of a fragment.
    now: Timestamp,
    bytes: usize,
    packets: usize,
    pieces: usize,
    timeout: Duration,
    unfinished: HashMap<Key, Unfinished, RandomState>,
    /// The same packets in the order in which they began.
    order: BTreeMap<u64, Key>,
    next: u64,
    cost: usize,
}

impl Fragments {
    pub(super) fn new(settings: &Settings) -> Self {
        Fragments {
            recent: Recent::new(window(settings), settings.duplicate_packets),
            key: RandomState::new(),
            now: Timestamp::ZERO,
            bytes: settings.fragment_bytes,
            packets: settings.fragment_packets.max(1),
            pieces: settings.fragment_pieces.max(2),
            timeout: Duration::from_secs(settings.fragment_timeout_seconds),
            unfinished: HashMap::with_hasher(RandomState::new()),
            order: BTreeMap::new(),
            next: 0,
            cost: 0,
        }
    }

    /// Unfinished packets, and what they take.
    pub(super) fn occupancy(&self) -> Occupancy {
        Occupancy {
            table: "fragments",
            entries: self.unfinished.len() as u64,
            limit: self.packets as u64,
            bytes: self.cost as u64,
            budget: self.bytes as u64,
        }
    }

    /// True when this fragment was seen already, in the same encapsulation.
    pub(super) fn seen(
        &mut self,
        time: Timestamp,
        packet: &Packet<'_>,
        place: Place,
        encapsulation: u64,
        counters: &mut Counters,
    ) -> bool {
        if self.recent.is_off() {
            return false;
        }
        let payload = packet.payload.captured;
        let mut hasher = self.key.build_hasher();
        write_addresses(&mut hasher, &packet.addresses);
        hasher.write_u64(u64::from(place.id) << 32 | u64::from(place.offset) << 1 | u64::from(place.more));
        hasher.write_u64(encapsulation);
        hasher.write_usize(payload.len());
        hasher.write(payload);
        self.now = self.now.max(time);
        match self.recent.find_or_put(hasher.finish(), 0, time.nanos(), self.now.nanos()) {
            Known::Before(_) => {
                counters.count(Counter::DuplicatePackets);
                return true;
            }
            Known::InPlaceOfAnother => counters.count(Counter::DuplicatesForgotten),
            Known::New => {}
        }
        false
    }

    /// Takes a fragment; gives the packet that it completes. Losses are counted; the fragment itself is not.
    pub(super) fn take(
        &mut self,
        time: Timestamp,
        packet: &Packet<'_>,
        place: Place,
        encapsulation: u64,
        counters: &mut Counters,
    ) -> Option<Whole> {
        self.expire(time, counters);
        let is_ipv4 = packet.addresses.is_ipv4();
        let Some((start, end)) = extent(packet, place, is_ipv4) else {
            counters.count(Counter::FragmentsDropped);
            return None;
        };
        let (addresses, id) = (packet.addresses, place.id);
        let key = Key { addresses, id, number: is_ipv4.then_some(packet.number), encapsulation };
        let unfinished = self.unfinished.entry(key).or_insert_with(|| {
            self.order.insert(self.next, key);
            self.next += 1;
            self.cost += PACKET_COST;
            Unfinished::new(time, self.next - 1)
        });
        let before = unfinished.cost;
        let outcome = unfinished.add(start, end, packet, place, is_ipv4, self.pieces);
        self.cost = (self.cost + unfinished.cost).saturating_sub(before);
        if outcome.conflicting {
            counters.count(Counter::FragmentsOverlapping);
        }
        counters.add(Counter::FragmentsDropped, u64::from(outcome.dropped));
        if unfinished.is_complete() {
            let unfinished = self.remove(&key)?;
            counters.count(Counter::FragmentsReassembled);
            let number = unfinished.number.unwrap_or(packet.number);
            return Some(Whole { addresses, id, number, payload: unfinished.join() });
        }
        while self.cost > self.bytes || self.unfinished.len() > self.packets {
            let Some((_, &oldest)) = self.order.first_key_value() else { break };
            let Some(evicted) = self.remove(&oldest) else { break };
            counters.add(Counter::FragmentsDropped, u64::from(evicted.fragments));
        }
        None
    }

    /// Counts what is unfinished when the traffic ends, and forgets it.
    pub(super) fn finish(&mut self, counters: &mut Counters) {
        let lost = self.unfinished.values().filter(|unfinished| !unfinished.poisoned).count();
        counters.add(Counter::FragmentsTimedOut, lost as u64);
        self.unfinished.clear();
        self.order.clear();
        self.cost = 0;
    }

    fn expire(&mut self, now: Timestamp, counters: &mut Counters) {
        while let Some((_, &oldest)) = self.order.first_key_value() {
            match self.unfinished.get(&oldest) {
                Some(unfinished) if now.since(unfinished.began) <= self.timeout => break,
                _ => {}
            }
            let Some(expired) = self.remove(&oldest) else { break };
            if !expired.poisoned {
                counters.count(Counter::FragmentsTimedOut);
            }
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Unfinished> {
        let removed = self.unfinished.remove(key)?;
        self.order.remove(&removed.order);
        self.cost = self.cost.saturating_sub(PACKET_COST + removed.cost);
        Some(removed)
    }
}

/// First byte and end of a fragment in its packet; `None` when it cannot be part of any.
fn extent(packet: &Packet<'_>, place: Place, is_ipv4: bool) -> Option<(u32, u32)> {
    let mut length = u32::try_from(packet.payload.captured.len()).ok()?;
    if place.more && !length.is_multiple_of(8) {
        // IPv4 stacks take the whole units; IPv6 discards (RFC 8200, section 4.5).
        length = if is_ipv4 { length & !7 } else { 0 };
    }
    let end = place.offset.checked_add(length)?;
    (packet.payload.missing == 0 && length > 0 && end <= LONGEST).then_some((place.offset, end))
}

/// What adding a fragment came to.
#[derive(Debug, Default)]
struct Outcome {
    conflicting: bool,
    dropped: u32,
}

impl Unfinished {
    fn new(began: Timestamp, order: u64) -> Self {
        Unfinished {
            began,
            order,
            number: None,
            end: None,
            pieces: Vec::new(),
            held: 0,
            fragments: 0,
            cost: 0,
            poisoned: false,
        }
    }

    fn is_complete(&self) -> bool {
        // Pieces do not overlap and none reaches beyond the end: as many bytes as that leave no hole.
        !self.poisoned && self.end == Some(self.held)
    }

    fn add(&mut self, start: u32, end: u32, packet: &Packet<'_>, place: Place, is_ipv4: bool, most: usize) -> Outcome {
        let dropped = Outcome { conflicting: false, dropped: 1 };
        if self.poisoned {
            return dropped;
        }
        let reach = self.pieces.last().map_or(0, Piece::end);
        let fits = match self.end {
            Some(known) => end <= known && (place.more || end == known),
            None => place.more || end >= reach,
        };
        let Some(bytes) = packet.payload.captured.get(..(end - start) as usize).filter(|_| fits) else {
            return dropped;
        };
        // The pieces that the fragment touches: from the first that ends behind its start, as long as they start
        // before its end.
        let first = self.pieces.partition_point(|piece| piece.end() <= start);
        let touched = self.pieces.get(first..).unwrap_or(&[]).iter().take_while(|piece| piece.start < end);
        let mut conflicting = false;
        let mut holes: Vec<(u32, u32)> = Vec::new();
        let mut position = start;
        let (mut overlaps, mut exact) = (false, false);
        for piece in touched {
            overlaps = true;
            exact = piece.start == start && piece.end() == end;
            if piece.start > position {
                holes.push((position, piece.start));
            }
            let (from, to) = (piece.start.max(start), piece.end().min(end));
            let held = piece.bytes.get((from - piece.start) as usize..(to - piece.start) as usize);
            conflicting |= held != bytes.get((from - start) as usize..(to - start) as usize);
            position = to;
        }
        if position < end {
            holes.push((position, end));
        }
        if overlaps && !is_ipv4 && (!exact || conflicting) {
            return self.poison(conflicting);
        }
        if self.pieces.len() + holes.len() > most {
            return Outcome { conflicting, dropped: 1 };
        }
        self.fragments += 1;
        if !place.more {
            self.end = Some(end);
        }
        if start == 0 && self.number.is_none() {
            self.number = Some(packet.number);
        }
        self.fill(start, bytes, &holes);
        Outcome { conflicting, dropped: 0 }
    }

    /// Puts the parts of a fragment that are new into its holes.
    fn fill(&mut self, start: u32, bytes: &[u8], holes: &[(u32, u32)]) {
        for &(from, to) in holes {
            let Some(new) = bytes.get((from - start) as usize..(to - start) as usize) else { continue };
            let place = self.pieces.partition_point(|piece| piece.start < from);
            self.pieces.insert(place, Piece { start: from, bytes: new.into() });
            self.held += to - from;
            self.cost += PIECE_COST + new.len();
        }
    }

    fn poison(&mut self, conflicting: bool) -> Outcome {
        let dropped = self.fragments + 1;
        self.poisoned = true;
        self.pieces = Vec::new();
        (self.fragments, self.held, self.cost) = (0, 0, 0);
        Outcome { conflicting, dropped }
    }

    fn join(self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(self.held as usize);
        self.pieces.iter().for_each(|piece| payload.extend_from_slice(&piece.bytes));
        payload
    }
}

#[cfg(test)]
#[path = "fragment_tests.rs"]
mod tests;
