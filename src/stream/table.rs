//! The flow table: a slab of flows found by a keyed hash of addresses and ports, a first-in-first-out list of half-open
//! flows, and a timer wheel of whole seconds for all others.
//!
//! A segment only writes the time into its flow. The wheel looks at a flow when its time-out could have come, and moves
//! it on if it has been active since: a flow is touched once a time-out, not once a packet. A flow whose handler is to be
//! woken before that stands in the slot of that second.

use std::net::SocketAddr;

use ahash::RandomState;
use hashbrown::HashTable;

use super::flow::{Flow, NONE, Stage, hash_ends};
use super::{Direction, MAX_TIMEOUT};
use crate::time::Timestamp;

/// Slots of the wheel, one a second.
const SLOTS: usize = MAX_TIMEOUT.as_secs() as usize + 1;

/// How many flows are compared to find one to evict.
const EVICTION_SAMPLE: usize = 8;

/// How many are looked at for that: those that are next only because their handler is to be woken are passed over.
const EVICTION_LOOK: usize = 64;

#[derive(Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

const EMPTY: List = List { first: NONE, last: NONE };

pub(super) struct Table<S> {
    hasher: RandomState,
    index: HashTable<u32>,
    flows: Vec<Option<Flow<S>>>,
    free: Vec<u32>,
    half_open: List,
    half_open_count: u32,
    wheel: Vec<List>,
}

impl<S> Table<S> {
    pub(super) fn new() -> Self {
        Table {
            // Keys are an attacker's choice, so the hash is keyed at random; the order of entries is never used.
            hasher: RandomState::new(),
            index: HashTable::new(),
            flows: Vec::new(),
            free: Vec::new(),
            half_open: EMPTY,
            half_open_count: 0,
            wheel: vec![EMPTY; SLOTS],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes of its flows and their index, and what a flow takes at worst.
    pub(super) fn bytes(&self) -> (usize, usize) {
        let (flow, state) = (size_of::<Option<Flow<S>>>(), size_of::<S>());
        let index = self.index.allocation_size() + self.free.capacity() * size_of::<u32>();
        let flows = self.flows.capacity() * flow + self.len() * state;
        // A place in the index is free for each that is taken, at worst, and has a byte beside its number.
        (
            flows + index + self.wheel.len() * size_of::<List>(),
            flow + state + 2 * (size_of::<u32>() + 1) + size_of::<u32>(),
        )
    }

    pub(super) fn half_open_count(&self) -> u32 {
        self.half_open_count
    }

    #[inline]
    pub(super) fn flow(&mut self, at: u32) -> Option<&mut Flow<S>> {
        self.flows.get_mut(at as usize)?.as_mut()
    }

    fn peek(&self, at: u32) -> Option<&Flow<S>> {
        self.flows.get(at as usize)?.as_ref()
    }

    /// The flow of these ends whose direction arrives in these layers, else one whose numbers fit.
    #[inline]
    pub(super) fn find(
        &self,
        source: SocketAddr,
        destination: SocketAddr,
        layers: u64,
        fits: impl Fn(&Flow<S>, Direction) -> bool,
    ) -> Option<u32> {
        let hash = hash_ends(&self.hasher, source, destination);
        let flow_at = |at: u32| {
            let flow = self.flows.get(at as usize)?.as_ref()?;
            Some((flow, flow.direction_between(source, destination)?))
        };
        let exact =
            |&at: &u32| flow_at(at).is_some_and(|(flow, direction)| flow.halves[direction.index()].layers == layers);
        if let Some(&at) = self.index.find(hash, exact) {
            return Some(at);
        }
        let fitting = |&at: &u32| flow_at(at).is_some_and(|(flow, direction)| fits(flow, direction));
        self.index.find(hash, fitting).copied()
    }

    /// Of the flows of these ends, in whatever layers, when there are `most` of them: the one that was quiet longest among those of
    /// which one direction alone was seen, else among all.
    pub(super) fn crowded(&self, source: SocketAddr, destination: SocketAddr, most: usize) -> Option<u32> {
        let hash = hash_ends(&self.hasher, source, destination);
        let mut count = 0;
        let mut least: Option<(bool, Timestamp, u32)> = None;
        for &at in self.index.iter_hash(hash) {
            let Some(flow) = self.peek(at) else { continue };
            if flow.direction_between(source, destination).is_some() {
                count += 1;
                let worth = (flow.info.seen == [true; 2], flow.last, at);
                least = Some(least.map_or(worth, |least| least.min(worth)));
            }
        }
        least.filter(|_| count >= most).map(|(_, _, at)| at)
    }

    /// Adds a flow in the list of its stage. The caller has made room.
    pub(super) fn insert(&mut self, flow: Flow<S>, check: Timestamp) -> u32 {
        let hash = hash_of(&self.hasher, &flow);
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.flows.push(None);
                (self.flows.len() - 1) as u32
            }
        };
        self.flows[at as usize] = Some(flow);
        let (flows, hasher) = (&self.flows, &self.hasher);
        // Every index in the table is that of a flow, so the zero is never used.
        self.index
            .insert_unique(hash, at, |&other| flows[other as usize].as_ref().map_or(0, |flow| hash_of(hasher, flow)));
        self.link(at, check);
        at
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<Flow<S>> {
        self.unlink(at);
        let flow = self.flows.get_mut(at as usize)?.take()?;
        let hash = hash_of(&self.hasher, &flow);
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == at) {
            entry.remove();
        }
        self.free.push(at);
        Some(flow)
    }

    /// Moves a flow to another stage and has it looked at by `check`.
    pub(super) fn set_stage(&mut self, at: u32, stage: Stage, check: Timestamp) {
        self.unlink(at);
        if let Some(flow) = self.flow(at) {
            flow.stage = stage;
        }
        self.link(at, check);
    }

    /// The oldest half-open flow.
    pub(super) fn oldest_half_open(&self) -> Option<(u32, Timestamp)> {
        let at = self.half_open.first;
        self.peek(at).map(|flow| (at, flow.info.start))
    }

    /// First flow of the slot of the wheel for this second.
    pub(super) fn due(&self, second: u64) -> Option<u32> {
        Some(self.wheel[slot_of(second)].first).filter(|&at| at != NONE)
    }

    /// Has a flow looked at by `check` (later than now), or when its handler is to be woken.
    pub(super) fn postpone(&mut self, at: u32, check: Timestamp) {
        self.unlink(at);
        self.link(at, check);
    }

    /// The least recently active of a few flows that are next to be looked at, from the slot of `second` on.
    pub(super) fn victim(&self, second: u64) -> Option<u32> {
        if self.len() == self.half_open_count as usize {
            return self.oldest_half_open().map(|(at, _)| at);
        }
        // Those that are due come before those that are only to be woken.
        let mut best: Option<(bool, Timestamp, u32)> = None;
        let (mut seen, mut compared) = (0, 0);
        for slot in (0..SLOTS as u64).map(|step| slot_of(second + step)) {
            let mut at = self.wheel[slot].first;
            while let Some(flow) = self.peek(at) {
                let alarm = flow.info.alarm.time();
                let woken = alarm != Timestamp::MAX && slot_of(second_of(alarm)) == slot;
                if best.is_none_or(|(least, last, _)| (woken, flow.last) < (least, last)) {
                    best = Some((woken, flow.last, at));
                }
                compared += usize::from(!woken);
                seen += 1;
                if compared == EVICTION_SAMPLE || seen == EVICTION_LOOK {
                    return best.map(|(_, _, at)| at);
                }
                at = flow.following;
            }
        }
        best.map(|(_, _, at)| at)
    }

    /// All flows, in the order of the slab.
    pub(super) fn all(&self) -> Vec<u32> {
        (0..self.flows.len() as u32).filter(|&at| self.flows[at as usize].is_some()).collect()
    }

    fn list(&mut self, slot: u32) -> &mut List {
        if slot == NONE { &mut self.half_open } else { &mut self.wheel[slot as usize] }
    }

    fn link(&mut self, at: u32, check: Timestamp) {
        let Some(flow) = self.peek(at) else { return };
        let half_open = flow.stage == Stage::HalfOpen;
        let slot = if half_open { NONE } else { slot_of(second_of(check.min(flow.info.alarm.time()))) as u32 };
        self.half_open_count += u32::from(half_open);
        let list = self.list(slot);
        let previous = list.last;
        list.last = at;
        if previous == NONE {
            list.first = at;
        } else if let Some(flow) = self.flow(previous) {
            flow.following = at;
        }
        if let Some(flow) = self.flow(at) {
            (flow.previous, flow.following, flow.slot) = (previous, NONE, slot);
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some(flow) = self.peek(at) else { return };
        let (previous, following, slot) = (flow.previous, flow.following, flow.slot);
        self.half_open_count -= u32::from(slot == NONE);
        match self.flow(previous) {
            Some(flow) => flow.following = following,
            None => self.list(slot).first = following,
        }
        match self.flow(following) {
            Some(flow) => flow.previous = previous,
            None => self.list(slot).last = previous,
        }
    }
}

fn hash_of<S>(key: &RandomState, flow: &Flow<S>) -> u64 {
    hash_ends(key, flow.info.source, flow.info.destination)
}

/// The second of a time, rounded up.
pub(super) fn second_of(time: Timestamp) -> u64 {
    (time.nanos() as u64).div_ceil(1_000_000_000)
}

fn slot_of(second: u64) -> usize {
    (second % SLOTS as u64) as usize
}
