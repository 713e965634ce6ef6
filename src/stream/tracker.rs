//! The state machine over all flows: finds the flow of a segment, puts its data in order, and ends flows in time.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use super::flow::{Flow, Half, NONE, Stage};
use super::hold::Piece;
use super::table::{Table, second_of};
use super::{Close, Direction, End, FlowInfo, Gap, Handler, Interest, MAX_TIMEOUT, Run, Settings, TICK};
use crate::call::FlowId;
use crate::metrics::Occupancy;
use crate::packet::{Flags, Layer, Segment};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// All flows of one worker.
pub struct Tracker<H: Handler> {
    settings: Settings,
    handler: H,
    table: Table<H::State>,
    now: Timestamp,
    /// Next second whose slot of the wheel is due.
    next_second: u64,
    /// Flows that have a hole, oldest first, with the id that tells whether the entry is still theirs.
    holed: std::collections::VecDeque<(u32, FlowId)>,
    held: usize,
    no_layers: Arc<[Layer]>,
    counters: Counters,
}

/// How far beyond the data seen an acknowledgment is believed: the largest window (RFC 7323, section 2.3).
const FAR: i64 = 1 << 30;

/// Windows below this are as good as closed. They are not scaled, so that some of them may be worth more; who takes what is
/// sent all the same is not slow.
const CLOSED_WINDOW: u16 = 8;

/// What of a segment concerns one direction's data.
struct Data<'a> {
    offset: i64,
    bytes: &'a [u8],
    missing: u32,
    acknowledged: Option<u64>,
    time: Timestamp,
    urgent: bool,
}

impl<H: Handler> Tracker<H> {
    /// No flows yet. Time-outs beyond [`MAX_TIMEOUT`] are shortened to it.
    pub fn new(settings: Settings, handler: H) -> Self {
        Tracker {
            settings,
            handler,
            table: Table::new(),
            now: Timestamp::ZERO,
            next_second: 0,
            holed: Default::default(),
            held: 0,
            no_layers: Arc::from([]),
            counters: Counters::new(),
        }
    }

    /// The handler, to take what it has made.
    pub fn handler(&mut self) -> &mut H {
        &mut self.handler
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Flows in the table.
    pub fn flows(&self) -> usize {
        self.table.len()
    }

    /// The flows, and what is held behind holes.
    pub fn tables(&self) -> [Occupancy; 2] {
        let (bytes, each) = self.table.bytes();
        let limit = u64::from(self.settings.max_flows);
        [
            Occupancy {
                table: "flows",
                entries: self.table.len() as u64,
                limit,
                bytes: bytes as u64,
                budget: limit * each as u64,
            },
            Occupancy {
                table: "held_segments",
                bytes: self.held as u64,
                budget: self.settings.held_total as u64,
                ..Occupancy::default()
            },
        ]
    }

    /// Bytes held behind holes, bookkeeping included.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes one segment. The caller has moved the clock: what the time of a packet is worth is its to judge.
    pub fn segment(&mut self, segment: &Segment<'_>) {
        let layers = segment.encapsulation.digest();
        let acknowledgment = segment.flags.has(Flags::ACK).then_some(segment.acknowledgment);
        let found = self.table.find(segment.source, segment.destination, layers, |flow, direction| {
            flow.fits(direction, segment.sequence, acknowledgment)
        });
        let at = match found {
            Some(at) => at,
            None => match self.open(segment) {
                Some(at) => at,
                None => return,
            },
        };
        let at = if segment.flags.has(Flags::SYN) || self.restarting(at, segment) {
            match self.synchronise(at, segment) {
                Some(at) => at,
                None => return,
            }
        } else {
            at
        };
        self.absorb(at, segment);
    }

    /// Moves the clock on; fires the time-outs that are due, in the order of their seconds.
    pub fn tick(&mut self, now: Timestamp) {
        if now <= self.now {
            return;
        }
        let ended = second_of(now + Duration::from_nanos(1)).saturating_sub(1); // the last whole second at or before now
        if self.now == Timestamp::ZERO {
            self.next_second = ended;
        }
        if ended < self.next_second {
            self.now = now;
            return;
        }
        // A jump over the whole wheel comes past each slot once.
        let wheel = MAX_TIMEOUT.as_secs() + 1;
        let first = self.next_second;
        for second in first..=ended.min(first + wheel) {
            let moment = Timestamp::from_parts(second, 0).max(self.now);
            self.now = moment;
            self.next_second = second + 1;
            self.expire_half_open(moment);
            self.recheck_holes(moment);
            self.expire(second, moment);
        }
        self.next_second = ended + 1;
        self.now = now;
    }

    /// Ends every flow: the capture is over.
    pub fn finish(&mut self) {
        for at in self.table.all() {
            self.end(at, End::CaptureEnded, self.now);
        }
    }

    /// A new flow for a segment that has none, unless the segment promises nothing: an acknowledgment, a FIN or a
    /// reset alone makes no entry, so that floods of them are free.
    fn open(&mut self, segment: &Segment<'_>) -> Option<u32> {
        let syn = segment.flags.has(Flags::SYN);
        let data = !segment.payload.is_empty() || segment.missing > 0;
        if !syn && (!data || segment.flags.has(Flags::RST)) {
            return None;
        }
        if syn && segment.flags.has(Flags::RST) {
            return None;
        }
        self.make_room(syn, segment);
        let stage = if syn { Stage::HalfOpen } else { Stage::Open };
        let id = flow_id(segment);
        let mut flow = Flow {
            info: FlowInfo {
                id,
                source: segment.source,
                destination: segment.destination,
                encapsulation: match segment.encapsulation.is_empty() {
                    true => self.no_layers.clone(),
                    false => segment.encapsulation.layers().copied().collect(),
                },
                start: segment.time,
                opened_by: syn.then_some(match segment.flags.has(Flags::ACK) {
                    true => Direction::Backward, // this is the answer; who opened is the other end
                    false => Direction::Forward,
                }),
                seen: [false; 2],
                traffic: Default::default(),
                speaks: None,
                closed_windows: [false; 2],
                finished: [false; 2],
                acknowledged: [0; 2],
                alarm: Default::default(),
            },
            halves: Default::default(),
            state: None,
            stage,
            unwanted: false,
            listed: false,
            last: segment.time,
            previous: NONE,
            following: NONE,
            slot: NONE,
        };
        for half in &mut flow.halves {
            half.layers = segment.encapsulation.digest();
        }
        let [forward, backward] = &mut flow.halves;
        forward.set_base(segment.sequence.wrapping_add(u32::from(syn)), syn);
        if segment.flags.has(Flags::ACK) {
            backward.set_base(segment.acknowledgment, false);
        }
        self.counters.count(Counter::Flows);
        if !syn {
            self.counters.count(Counter::FlowsMidstream);
        }
        let check = self.now + self.idle_timeout();
        Some(self.table.insert(flow, check))
    }

    fn make_room(&mut self, syn: bool, segment: &Segment<'_>) {
        let alike = self.settings.max_flows_alike.max(1) as usize;
        if let Some(at) = self.table.crowded(segment.source, segment.destination, alike) {
            self.counters.count(Counter::FlowsEvicted);
            self.end(at, End::Evicted, self.now);
        }
        if syn
            && self.table.half_open_count() >= self.settings.max_half_open.max(1)
            && let Some((at, _)) = self.table.oldest_half_open()
        {
            self.counters.count(Counter::HalfOpenEvicted);
            self.end(at, End::Evicted, self.now);
        }
        if self.table.len() >= self.settings.max_flows.max(1) as usize
            && let Some(at) = self.table.victim(self.next_second)
        {
            self.counters.count(Counter::FlowsEvicted);
            self.end(at, End::Evicted, self.now);
        }
    }

    /// True when a segment without SYN confirms a SYN that came into the live flow: data or an acknowledgment right
    /// behind it.
    fn restarting(&mut self, at: u32, segment: &Segment<'_>) -> bool {
        let Some(flow) = self.table.flow(at) else { return false };
        let direction = flow.direction(segment.source);
        flow.halves[direction.index()].restart.is_some_and(|isn| segment.sequence == isn.wrapping_add(1))
    }

    /// Deals with a SYN for a known flow, and with what confirms one. Gives the flow that the segment belongs to now.
    fn synchronise(&mut self, at: u32, segment: &Segment<'_>) -> Option<u32> {
        let flow = self.table.flow(at)?;
        let direction = flow.direction(segment.source);
        let (own, peer) = (direction.index(), direction.opposite().index());
        let syn = segment.flags.has(Flags::SYN);
        let answer = syn && segment.flags.has(Flags::ACK);

        if let Some(isn) = flow.halves[if answer { peer } else { own }].restart {
            let confirmed = match (syn, answer) {
                (true, true) => segment.acknowledgment == isn.wrapping_add(1),
                (true, false) => false,
                (false, _) => true, // `restarting` compared the numbers
            };
            if confirmed {
                return self.reopen(at, if answer { direction.opposite() } else { direction }, isn, segment);
            }
        }
        if !syn {
            return Some(at);
        }
        let half = &mut flow.halves[own];
        // Before its SYN and its data are seen, a half is wherever its SYN says.
        let fresh = !half.synchronised && half.next == 0 && !half.holds();
        let known = half.synchronised && half.began_with(segment.sequence);
        let peer_half = &flow.halves[peer];
        let answers = peer_half.based && peer_half.place(segment.acknowledgment) >= 0 && peer_half.synchronised;
        if known || (fresh && (!answer || answers || !peer_half.synchronised)) {
            flow.halves[own].set_base(segment.sequence.wrapping_add(1), true);
            let opener = if answer { direction.opposite() } else { direction };
            flow.info.opened_by.get_or_insert(opener);
            if flow.stage == Stage::Closing && flow.info.seen == [false; 2] {
                // Resets and FINs before the handshake was over were not of this connection.
                for half in &mut flow.halves {
                    (half.reset, half.finish, half.closed) = (false, None, false);
                }
                flow.info.finished = [false; 2];
                let check = self.now + self.idle_timeout();
                self.table.set_stage(at, Stage::Open, check);
            }
            return Some(at);
        }
        if answer {
            return None; // a stray, or the answer to a SYN that was not seen: data will tell
        }
        let half = &mut flow.halves[own];
        if flow.stage == Stage::Open {
            half.restart = Some(segment.sequence);
            return None;
        }
        self.counters.count(Counter::FlowsReused);
        self.end(at, End::Reused, self.now);
        self.open(segment)
    }

    /// Ends the flow at `at` and begins another of the same ends, whose SYN from `opener` had the number `isn`.
    fn reopen(&mut self, at: u32, opener: Direction, isn: u32, segment: &Segment<'_>) -> Option<u32> {
        let (source, destination) = self.table.flow(at)?.info.ends(opener);
        self.counters.count(Counter::FlowsReused);
        self.end(at, End::Reused, self.now);
        let syn = Segment {
            source,
            destination,
            sequence: isn,
            acknowledgment: 0,
            flags: Flags::SYN,
            payload: &[],
            missing: 0,
            ..*segment
        };
        let at = self.open(&syn)?;
        match segment.flags.has(Flags::SYN) {
            true => self.synchronise(at, segment),
            false => Some(at),
        }
    }

    /// Takes acknowledgment, data, FIN and RST of a segment into its flow.
    fn absorb(&mut self, at: u32, segment: &Segment<'_>) {
        let now = self.now;
        let Some(flow) = self.table.flow(at) else { return };
        let direction = flow.direction(segment.source);
        let (own, peer) = (direction.index(), direction.opposite().index());
        flow.last = now;
        flow.info.traffic[own].segments += 1;
        let syn = segment.flags.has(Flags::SYN);
        let start = segment.sequence.wrapping_add(u32::from(syn));

        // Of a SYN and a reset the window says nothing.
        if segment.window < CLOSED_WINDOW && segment.flags.0 & (Flags::SYN | Flags::RST).0 == 0 {
            if !std::mem::replace(&mut flow.info.closed_windows[own], true) {
                let Flow { info, state, .. } = flow;
                self.handler.window_closed(info, state, direction, now);
            }
        } else {
            flow.info.closed_windows[own] = false;
        }
        // What the sender says that it has received.
        let mut acknowledged = None;
        if segment.flags.has(Flags::ACK) && !segment.flags.has(Flags::RST) {
            let half = &mut flow.halves[peer];
            if !half.based {
                half.set_base(segment.acknowledgment, false);
            }
            let place = half.place(segment.acknowledgment);
            // What lies far beyond what was sent acknowledges another connection.
            if place <= half.next as i64 + FAR {
                let place = place.max(0) as u64;
                flow.info.acknowledged[peer] = flow.info.acknowledged[peer].max(place);
                acknowledged = Some(place);
            }
        }
        let has_data = !segment.payload.is_empty() || segment.missing > 0;
        let half = &mut flow.halves[own];
        let unsure = !half.synchronised && !flow.info.seen[own] && half.next == 0;
        if has_data && (!half.based || (unsure && half.place(start) < 0)) {
            // What the peer had acknowledged was not the beginning.
            half.set_base(start, false);
        }
        if !half.based {
            return;
        }

        let offset = half.place(start);
        if flow.stage == Stage::HalfOpen && (has_data || (!syn && segment.flags.has(Flags::ACK))) {
            self.handler.opened(&flow.info, now);
            flow.info.alarm.take_fresh(now); // the new stage heeds it
            let check = now + self.idle_timeout();
            self.table.set_stage(at, Stage::Open, check);
        }
        if has_data {
            self.data(
                at,
                direction,
                Data {
                    offset,
                    bytes: segment.payload,
                    missing: segment.missing,
                    acknowledged,
                    time: segment.time,
                    urgent: segment.flags.has(Flags::URG) && segment.urgent > 0,
                },
            );
        }
        let length = segment.payload.len() as u64 + u64::from(segment.missing);
        if segment.flags.has(Flags::FIN) {
            let Some(flow) = self.table.flow(at) else { return };
            let half = &mut flow.halves[own];
            let finish = offset.saturating_add_unsigned(length);
            if finish >= half.next as i64 && half.finish.is_none() {
                half.finish = Some(finish as u64);
            }
        }
        if segment.flags.has(Flags::RST) {
            self.reset(at, direction, offset);
        }
        for direction in [direction.opposite(), direction] {
            if self.table.flow(at).is_some_and(|flow| flow.halves[direction.index()].unsettled()) {
                self.settle(at, direction);
            }
        }
        self.heed(at);
    }

    /// Sees to it that a flow whose handler has asked to be woken is looked at by then.
    #[inline]
    fn heed(&mut self, at: u32) {
        let now = self.now;
        let Some(flow) = self.table.flow(at).filter(|flow| flow.info.alarm.take_fresh(now)) else { return };
        if flow.stage != Stage::HalfOpen {
            let check = flow.last + self.settings.timeout(flow.stage);
            self.table.postpone(at, check);
        }
    }

    fn reset(&mut self, at: u32, direction: Direction, offset: i64) {
        let (now, check) = (self.now, self.now + seconds(self.settings.close_timeout));
        let Some(flow) = self.table.flow(at) else { return };
        let half = &mut flow.halves[direction.index()];
        // A reset far from what the receiver expects would not be taken (RFC 5961); resets with number 0 answer
        // connection attempts.
        let distance = offset - half.next as i64;
        if flow.stage != Stage::HalfOpen && !(-1..=1 << 20).contains(&distance) && half.next > 0 {
            self.counters.count(Counter::SegmentsOutOfWindow);
            return;
        }
        let again = std::mem::replace(&mut half.reset, true);
        if !half.closed && !again {
            let Flow { info, state, .. } = flow;
            self.handler.close(info, state, direction, Close::Reset, now, &mut self.counters);
        }
        self.table.set_stage(at, Stage::Closing, check);
    }

    /// Puts the data of one segment where it belongs.
    fn data(&mut self, at: u32, direction: Direction, data: Data<'_>) {
        let Some(flow) = self.table.flow(at) else { return };
        let own = direction.index();
        let peer_reset = flow.halves[direction.opposite().index()].reset;
        let half = &mut flow.halves[own];
        flow.info.seen[own] = true;
        let next = half.next as i64;
        let span = data.bytes.len() as i64 + i64::from(data.missing);
        let (mut offset, mut bytes, mut missing) = (data.offset, data.bytes, data.missing);
        if offset < next {
            self.counters.count(Counter::SegmentsRetransmitted);
            if offset >= flow.info.acknowledged[own] as i64 {
                let Flow { info, state, .. } = flow;
                self.handler.repeated(info, state, direction, self.now);
            }
            if offset + span <= next {
                return;
            }
            let cut = ((next - offset) as usize).min(bytes.len());
            missing -= (next - offset - cut as i64) as u32; // at most `span`, which is more than is cut
            bytes = &bytes[cut..];
            offset = next;
        }
        if let Some(finish) = half.finish
            && offset >= finish as i64
        {
            self.counters.count(Counter::SegmentsOutOfWindow);
            return;
        }
        if peer_reset && flow.stage == Stage::Closing {
            // It goes on although it was reset: the reset was not taken.
            flow.halves[direction.opposite().index()].reset = false;
            self.counters.count(Counter::ResetsIgnored);
            let check = self.now + self.idle_timeout();
            self.table.set_stage(at, Stage::Open, check);
        }
        let Some(flow) = self.table.flow(at) else { return };
        let half = &mut flow.halves[own];
        if flow.unwanted {
            half.next = half.next.max((offset + bytes.len() as i64 + i64::from(missing)) as u64);
            let next = half.next;
            flow.info.come_to(direction, next);
            return;
        }
        let offset = offset as u64;
        if offset == half.next && !half.holds() {
            let run = Run {
                direction,
                offset,
                acknowledged: data.acknowledged,
                time: data.time,
                now: self.now,
                bytes,
                conflicting: false,
                urgent: data.urgent,
            };
            hand_on(flow, &mut self.handler, &mut self.counters, run, missing);
            self.drop_unwanted(at);
            return;
        }
        let held = half.hold.get_or_insert_default();
        let piece = |bytes, missing| Piece {
            bytes,
            missing,
            acknowledged: data.acknowledged,
            time: data.time,
            conflicting: false,
            urgent: data.urgent,
        };
        let inserted = held.insert(offset, bytes, missing, piece);
        let over = held.cost() > self.settings.held_per_direction;
        self.held += inserted.cost;
        self.counters.count(Counter::SegmentsReordered);
        if inserted.repeated {
            self.counters.count(Counter::SegmentsRetransmitted);
        }
        if inserted.conflicting {
            self.counters.count(Counter::SegmentsConflicting);
        }
        held.hole_since.get_or_insert(self.now);
        if !flow.listed {
            flow.listed = true;
            self.holed.push_back((at, flow.info.id));
        }
        self.release(at, direction);
        if over {
            self.counters.count(Counter::GapsByBudget);
            self.give_up(at, direction);
        }
        while self.held > self.settings.held_total {
            let Some((oldest, id)) = self.holed.pop_front() else { break };
            let Some(flow) = self.table.flow(oldest).filter(|flow| flow.info.id == id) else { continue };
            flow.listed = false;
            for direction in [Direction::Forward, Direction::Backward] {
                while self.table.flow(oldest).is_some_and(|flow| flow.halves[direction.index()].holds()) {
                    self.counters.count(Counter::GapsByBudget);
                    self.give_up(oldest, direction);
                }
            }
            self.heed(oldest);
        }
    }

    /// Hands on held data that is in order now.
    fn release(&mut self, at: u32, direction: Direction) {
        let Some(flow) = self.table.flow(at) else { return };
        let own = direction.index();
        let Some(mut hold) = flow.halves[own].hold.take() else { return };
        let before = hold.cost();
        let moved = flow.halves[own].next;
        while let Some((start, piece)) = hold.take_until(flow.halves[own].next) {
            let skip = (flow.halves[own].next - start) as usize;
            let Some(bytes) = piece.bytes.get(skip..) else { continue };
            let run = Run {
                direction,
                offset: start + skip as u64,
                acknowledged: piece.acknowledged,
                time: piece.time,
                now: self.now,
                bytes,
                conflicting: piece.conflicting,
                urgent: piece.urgent,
            };
            hand_on(flow, &mut self.handler, &mut self.counters, run, piece.missing);
            if flow.unwanted {
                self.held -= before;
                self.drop_unwanted(at);
                return;
            }
        }
        self.held -= before - hold.cost();
        let half = &mut flow.halves[own];
        if half.next != moved {
            (hold.hole_since, hold.hole_acknowledged) = (None, None);
        }
        if !hold.is_empty() {
            hold.hole_since.get_or_insert(self.now);
            half.hold = Some(hold);
        }
    }

    /// Frees what a flow holds that nobody wants any more.
    fn drop_unwanted(&mut self, at: u32) {
        let Some(flow) = self.table.flow(at).filter(|flow| flow.unwanted) else { return };
        for hold in flow.halves.iter_mut().filter_map(|half| half.hold.take()) {
            self.held -= hold.cost();
        }
    }

    /// Makes a gap of the hole before the first held data, and hands that on.
    fn give_up(&mut self, at: u32, direction: Direction) {
        let now = self.now;
        let Some(flow) = self.table.flow(at) else { return };
        let half = &mut flow.halves[direction.index()];
        let Some(first) = half.hold.as_ref().and_then(|hold| hold.first()) else { return };
        let offset = half.next;
        if let Some(length) = first.checked_sub(offset).filter(|&length| length > 0) {
            half.next = first;
            let gap = Gap { direction, offset, length, now };
            report_gap(flow, &mut self.handler, &mut self.counters, gap);
        }
        self.release(at, direction);
    }

    /// Looks whether a hole can be given up, and whether the direction or the flow is finished.
    fn settle(&mut self, at: u32, direction: Direction) {
        let now = self.now;
        let (grace, patience) =
            (Duration::from_millis(self.settings.reorder_grace.into()), seconds(self.settings.hole_timeout));
        let own = direction.index();
        loop {
            let Some(flow) = self.table.flow(at) else { return };
            let half = &mut flow.halves[own];
            let Some(hold) = half.hold.as_mut() else { break };
            let Some(first) = hold.first() else { break };
            if hold.hole_acknowledged.is_none() && flow.info.acknowledged[own] >= first {
                hold.hole_acknowledged = Some(now);
            }
            let older = |since: Option<Timestamp>, than| since.is_some_and(|since| now.since(since) >= than);
            if !older(hold.hole_acknowledged, grace) && !older(hold.hole_since, patience) {
                break;
            }
            self.give_up(at, direction);
        }
        let Some(flow) = self.table.flow(at) else { return };
        let half = &mut flow.halves[own];
        if !half.closed && half.finish.is_some_and(|finish| half.next >= finish) {
            half.closed = true;
            let Flow { info, state, .. } = flow;
            info.finished[own] = true;
            self.handler.close(info, state, direction, Close::Finished, now, &mut self.counters);
            if flow.halves.iter().all(|half| half.closed) && flow.stage != Stage::Closing {
                self.table.set_stage(at, Stage::Closing, now + seconds(self.settings.close_timeout));
            }
        }
    }

    fn recheck_holes(&mut self, _now: Timestamp) {
        for _ in 0..self.holed.len() {
            let Some((at, id)) = self.holed.pop_front() else { return };
            if self.table.flow(at).is_none_or(|flow| flow.info.id != id) {
                continue;
            }
            self.settle(at, Direction::Forward);
            self.settle(at, Direction::Backward);
            self.heed(at);
            let Some(flow) = self.table.flow(at) else { continue };
            flow.listed = flow.halves.iter().any(Half::holds);
            if flow.listed {
                self.holed.push_back((at, id));
            }
        }
    }

    fn expire_half_open(&mut self, now: Timestamp) {
        let timeout = seconds(self.settings.half_open_timeout);
        while let Some((at, start)) = self.table.oldest_half_open() {
            if (start + timeout).round_up(TICK) > now {
                return;
            }
            self.end(at, End::TimedOut, now);
        }
    }

    fn expire(&mut self, second: u64, now: Timestamp) {
        while let Some(at) = self.table.due(second) {
            let Some(flow) = self.table.flow(at) else { return };
            if flow.info.alarm.ring(now) {
                let Flow { info, state, .. } = flow;
                self.handler.wake(info, state, now, &mut self.counters);
                info.alarm.take_fresh(now); // heeded below
            }
            let end = if flow.stage == Stage::Closing { End::Closed } else { End::TimedOut };
            let mut due = (flow.last + self.settings.timeout(flow.stage)).round_up(TICK);
            // Where one end has hung up, the other hardly goes on after so long; and what is one packet, which anybody may send,
            // takes no more room than others.
            let is_met = flow.info.seen == [true; 2] || flow.halves.iter().all(|half| half.synchronised);
            let is_whole = flow.stage == Stage::Open && is_met && flow.info.finished == [false; 2];
            if due <= now && is_whole && self.handler.cannot_resume(flow.state.as_deref()) {
                let longer = self.settings.long_idle_timeout.max(self.settings.idle_timeout);
                // Step by step: where there is no room, those that are due next go first.
                let step = now + seconds(self.settings.idle_timeout.max(1));
                due = (flow.last + seconds(longer)).round_up(TICK).min(step.round_up(TICK));
            }
            if due > now {
                self.table.postpone(at, due);
            } else {
                self.end(at, end, now);
            }
        }
    }

    /// Gives up what is missing of a flow, tells the handler, and forgets it.
    fn end(&mut self, at: u32, end: End, now: Timestamp) {
        for direction in [Direction::Forward, Direction::Backward] {
            while self.table.flow(at).is_some_and(|flow| flow.halves[direction.index()].holds()) {
                self.give_up(at, direction);
            }
            let Some(flow) = self.table.flow(at) else { return };
            let half = &flow.halves[direction.index()];
            let acknowledged = flow.info.acknowledged[direction.index()];
            // Data that was acknowledged and never seen at all, with nothing behind it.
            let known = half.finish.unwrap_or(acknowledged).min(acknowledged);
            if half.based && !flow.unwanted && flow.info.seen[direction.index()] && known > half.next {
                let gap = Gap { direction, offset: half.next, length: known - half.next, now };
                if end != End::Evicted {
                    report_gap(flow, &mut self.handler, &mut self.counters, gap);
                }
            }
        }
        let Some(mut flow) = self.table.remove(at) else { return };
        match (flow.stage, flow.info.seen) {
            (Stage::HalfOpen, _) => self.counters.count(Counter::FlowsHalfOpen),
            (_, [true, false] | [false, true]) => self.counters.count(Counter::FlowsOneSided),
            _ => {}
        }
        self.handler.end(&flow.info, flow.state.take(), end, now, &mut self.counters);
    }

    fn idle_timeout(&self) -> Duration {
        seconds(self.settings.idle_timeout)
    }
}

impl Settings {
    /// How long a flow of this stage stays without a segment.
    fn timeout(&self, stage: Stage) -> Duration {
        seconds(if stage == Stage::Closing { self.close_timeout } else { self.idle_timeout })
    }
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into()).min(MAX_TIMEOUT)
}

/// Hands a run on, and the gap behind it that the capture's snap length made.
fn hand_on<H: Handler>(
    flow: &mut Flow<H::State>,
    handler: &mut H,
    counters: &mut Counters,
    run: Run<'_>,
    missing: u32,
) {
    let half = &mut flow.halves[run.direction.index()];
    half.next = run.offset + run.bytes.len() as u64;
    let offset = half.next;
    flow.info.come_to(run.direction, offset + u64::from(missing));
    if !run.bytes.is_empty() && handler.data(&flow.info, &mut flow.state, run, counters) == Interest::Unwanted {
        flow.unwanted = true;
    }
    if missing > 0 {
        flow.halves[run.direction.index()].next += u64::from(missing);
        let gap = Gap { direction: run.direction, offset, length: missing.into(), now: run.now };
        report_gap(flow, handler, counters, gap);
    }
}

fn report_gap<H: Handler>(flow: &mut Flow<H::State>, handler: &mut H, counters: &mut Counters, gap: Gap) {
    counters.count(Counter::Gaps);
    counters.add(Counter::GapBytes, gap.length);
    let Flow { info, state, .. } = flow;
    info.come_to(gap.direction, gap.offset + gap.length);
    handler.gap(info, state, gap, counters);
}

/// The flow's name: derived from what every run over the same capture sees alike. The hash is not keyed, so that
/// runs on different machines agree; nothing but naming depends on it.
fn flow_id(segment: &Segment<'_>) -> FlowId {
    let mut hasher = SipHasher13::new();
    segment.source.hash(&mut hasher);
    segment.destination.hash(&mut hasher);
    segment.encapsulation.digest().hash(&mut hasher);
    segment.time.hash(&mut hasher);
    segment.sequence.hash(&mut hasher);
    FlowId(hasher.finish())
}
