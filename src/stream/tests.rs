//! Reassembly under a seeded bad network, and one by one the things that go wrong.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::packet::{Encapsulation, Flags, Layer, Segment};
use crate::stats::Counter;

const CLIENT: &str = "10.0.0.1:40000";
const SERVER: &str = "10.0.0.2:80";

/// Records what it is handed, per flow.
#[derive(Default)]
struct Recorder {
    flows: Vec<Record>,
}

#[derive(Default, Debug, Clone)]
struct Record {
    id: FlowId,
    /// Received bytes of each direction, gaps as zeroes.
    bytes: [Vec<u8>; 2],
    gaps: [Vec<(u64, u64)>; 2],
    closed: [bool; 2],
    end: Option<End>,
    midstream: bool,
}

impl Recorder {
    fn of(&mut self, flow: &FlowInfo) -> &mut Record {
        let at = match self.flows.iter().position(|record| record.id == flow.id) {
            Some(at) => at,
            None => {
                self.flows.push(Record { id: flow.id, ..Record::default() });
                self.flows.len() - 1
            }
        };
        self.flows[at].midstream = flow.midstream();
        &mut self.flows[at]
    }
}

impl Handler for Recorder {
    type State = ();

    fn data(&mut self, flow: &FlowInfo, _: &mut Option<Box<()>>, run: Run<'_>, _: &mut Counters) -> Interest {
        let bytes = &mut self.of(flow).bytes[run.direction.index()];
        assert_eq!(bytes.len() as u64, run.offset, "runs follow each other");
        assert!(!run.bytes.is_empty());
        bytes.extend_from_slice(run.bytes);
        Interest::Wanted
    }

    fn gap(&mut self, flow: &FlowInfo, _: &mut Option<Box<()>>, gap: Gap, _: &mut Counters) {
        let record = self.of(flow);
        let d = gap.direction.index();
        assert_eq!(record.bytes[d].len() as u64, gap.offset, "gaps follow runs");
        record.bytes[d].resize((gap.offset + gap.length) as usize, 0);
        record.gaps[d].push((gap.offset, gap.length));
    }

    fn close(
        &mut self,
        flow: &FlowInfo,
        _: &mut Option<Box<()>>,
        direction: Direction,
        _: Close,
        _: Timestamp,
        _: &mut Counters,
    ) {
        self.of(flow).closed[direction.index()] = true;
    }

    fn end(&mut self, flow: &FlowInfo, _: Option<Box<()>>, end: End, _: Timestamp, _: &mut Counters) {
        self.of(flow).end = Some(end);
    }
}

/// One segment to be.
#[derive(Clone, Debug)]
struct Wire {
    at: u64,
    from_client: bool,
    sequence: u32,
    acknowledgment: Option<u32>,
    flags: Flags,
    payload: Vec<u8>,
    vlan: Option<u16>,
}

fn wire(at: u64, from_client: bool, sequence: u32, acknowledgment: Option<u32>, payload: &[u8]) -> Wire {
    let flags = if acknowledgment.is_some() { Flags::ACK } else { Flags::default() };
    Wire { at, from_client, sequence, acknowledgment, flags, payload: payload.to_vec(), vlan: None }
}

impl Wire {
    fn with(mut self, flags: Flags) -> Wire {
        self.flags = self.flags | flags;
        self
    }

    fn on_vlan(mut self, id: u16) -> Wire {
        self.vlan = Some(id);
        self
    }
}

fn tracker(settings: Settings) -> Tracker<Recorder> {
    Tracker::new(settings, Recorder::default())
}

fn feed(tracker: &mut Tracker<Recorder>, wires: &[Wire]) {
    for wire in wires {
        let (client, server): (SocketAddr, SocketAddr) = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
        let (source, destination) = if wire.from_client { (client, server) } else { (server, client) };
        let mut encapsulation = Encapsulation::default();
        if let Some(id) = wire.vlan {
            encapsulation.push(Layer::Vlan { id });
        }
        let time = Timestamp::from_parts(1_000, 0) + Duration::from_micros(wire.at);
        tracker.tick(time);
        tracker.segment(&Segment {
            time,
            source,
            destination,
            encapsulation: &encapsulation,
            sequence: wire.sequence,
            acknowledgment: wire.acknowledgment.unwrap_or(0),
            flags: wire.flags,
            window: u16::MAX,
            urgent: 0,
            payload: &wire.payload,
            missing: 0,
            fingerprint: 0,
        });
    }
}

fn run(wires: &[Wire]) -> (Vec<Record>, Counters) {
    let mut tracker = tracker(Settings::default());
    feed(&mut tracker, wires);
    tracker.finish();
    assert_eq!(tracker.held(), 0, "what was held is given back");
    assert_eq!(tracker.flows(), 0);
    (tracker.handler().flows.clone(), tracker.counters().clone())
}

fn handshake(client_isn: u32, server_isn: u32) -> Vec<Wire> {
    vec![
        wire(0, true, client_isn, None, b"").with(Flags::SYN),
        wire(1, false, server_isn, Some(client_isn.wrapping_add(1)), b"").with(Flags::SYN),
        wire(2, true, client_isn.wrapping_add(1), Some(server_isn.wrapping_add(1)), b""),
    ]
}

#[test]
fn in_order_with_sequence_wrap() {
    let mut wires = handshake(u32::MAX - 3, 7);
    wires.push(wire(3, true, u32::MAX - 2, Some(8), b"abcdef"));
    wires.push(wire(4, true, 3, Some(8), b"ghi"));
    let (flows, counters) = run(&wires);
    assert_eq!(flows[0].bytes[0], b"abcdefghi");
    assert!(flows[0].gaps[0].is_empty() && !flows[0].midstream);
    assert_eq!(counters.value(Counter::Segments), 0, "segments are counted where they are decoded");
}

#[test]
fn a_hole_becomes_a_gap_only_when_it_was_received_and_more_was_sent() {
    let mut wires = handshake(100, 200);
    wires.push(wire(10, false, 201, Some(101), b"one"));
    // "two" is lost; the client acknowledges it, and "three" proves that the server sent beyond it.
    wires.push(wire(20, true, 101, Some(207), b""));
    wires.push(wire(30_000, false, 207, Some(101), b"three"));
    wires.push(wire(45_000, true, 101, Some(212), b""));
    let mut tracker = tracker(Settings::default());
    feed(&mut tracker, &wires);
    assert_eq!(tracker.handler().flows[0].bytes[1], b"one", "the grace for reordering is not over");
    feed(&mut tracker, &[wire(90_000, true, 101, Some(212), b"")]);
    assert_eq!(tracker.handler().flows[0].gaps[1], [(3, 3)]);
    assert_eq!(tracker.handler().flows[0].bytes[1], b"one\0\0\0three");
}

#[test]
fn acknowledging_what_was_never_sent_blinds_nobody() {
    let mut wires = handshake(100, 200);
    wires.push(wire(10, true, 101, Some(201 + 5_000), b"request"));
    wires.push(wire(5_000_000, true, 108, Some(201 + 5_000), b""));
    wires.push(wire(5_000_010, false, 201, Some(108), b"response"));
    let (flows, _) = run(&wires);
    assert_eq!(flows[0].bytes[1].get(..8), Some(&b"response"[..]));
    assert_eq!(flows[0].gaps[1].first().map(|gap| gap.0), Some(8), "only at the end is the rest called missing");
}

#[test]
fn a_hole_nobody_acknowledges_is_given_up_in_time() {
    let wires =
        [wire(0, false, 1, None, b"aa"), wire(10, false, 5, None, b"cc"), wire(6_000_000, false, 7, None, b"dd")];
    let (flows, counters) = run(&wires);
    assert_eq!(flows[0].bytes[0], b"aa\0\0ccdd");
    assert_eq!(counters.value(Counter::FlowsOneSided), 1);
    assert_eq!(counters.value(Counter::FlowsMidstream), 1);
    assert_eq!(counters.value(Counter::GapBytes), 2);
}

#[test]
fn the_budget_bounds_what_is_held() {
    let settings = Settings { held_per_direction: 10_000, held_total: 20_000, ..Settings::default() };
    let mut tracker = tracker(settings);
    feed(&mut tracker, &[wire(0, true, 0, Some(0), b"x")]);
    for turn in 0..2_000u32 {
        feed(&mut tracker, &[wire(1 + u64::from(turn), true, 10 + turn * 3, Some(0), b"y")]);
        assert!(tracker.held() <= 20_000 + 100, "{}", tracker.held());
    }
    assert!(tracker.counters().value(Counter::GapsByBudget) > 0);
    tracker.finish();
    assert_eq!(tracker.held(), 0);
}

#[test]
fn a_reset_that_nobody_heeds_ends_nothing() {
    let mut wires = handshake(100, 200);
    wires.push(wire(10, true, 101, Some(201), b"request"));
    wires.push(wire(20, true, 108, None, b"").with(Flags::RST));
    wires.push(wire(30, false, 201, Some(108), b"response"));
    wires.push(wire(40, true, 108, Some(209), b"more"));
    let (flows, counters) = run(&wires);
    assert_eq!(flows.len(), 1);
    assert_eq!(flows[0].bytes, [b"requestmore".to_vec(), b"response".to_vec()]);
    assert_eq!(counters.value(Counter::ResetsIgnored), 1);
}

#[test]
fn resets_and_answers_before_the_handshake_are_forgotten() {
    let wires = [
        wire(0, true, 100, None, b"").with(Flags::SYN),
        wire(1, false, 0, Some(101), b"").with(Flags::RST),
        wire(2, false, 0, Some(101), b"").with(Flags::FIN),
        wire(3, true, 101, None, b"").with(Flags::RST),
        wire(4, false, 900, Some(101), b"").with(Flags::SYN),
        wire(5, true, 101, Some(901), b"request"),
        wire(6, false, 901, Some(108), b"response"),
    ];
    let (flows, _) = run(&wires);
    assert_eq!(flows.len(), 1);
    assert_eq!(flows[0].bytes, [b"request".to_vec(), b"response".to_vec()]);
}

#[test]
fn ports_are_used_again() {
    let mut wires = handshake(100, 200);
    wires.push(wire(10, true, 101, Some(201), b"first"));
    wires.extend(handshake(50_000, 70_000).into_iter().map(|mut wire| {
        wire.at += 1_000;
        wire
    }));
    wires.push(wire(2_000, true, 50_001, Some(70_001), b"second"));
    let (flows, counters) = run(&wires);
    assert_eq!(flows.iter().map(|flow| flow.bytes[0].as_slice()).collect::<Vec<_>>(), [&b"first"[..], b"second"]);
    assert_eq!(flows[0].end, Some(End::Reused));
    assert_eq!(counters.value(Counter::FlowsReused), 1);
}

#[test]
fn a_forged_syn_ends_nothing() {
    let mut wires = handshake(100, 200);
    wires.push(wire(10, true, 101, Some(201), b"be"));
    wires.push(wire(11, true, 9_999_999, None, b"").with(Flags::SYN));
    wires.push(wire(12, true, 103, Some(201), b"fore"));
    let (flows, _) = run(&wires);
    assert_eq!(flows.len(), 1);
    assert_eq!(flows[0].bytes[0], b"before");
}

#[test]
fn vlans_are_connections_of_their_own_unless_they_are_two_sides_of_one() {
    let mut apart = Vec::new();
    for (turn, id) in [(0, 10), (1, 20), (2, 30)] {
        for wire in handshake(1_000_000 * (turn + 1), 7_777_777 * (turn + 1)) {
            apart.push(wire.on_vlan(id));
        }
    }
    for (turn, id) in [(0u32, 10), (1, 20), (2, 30)] {
        let (client, server) = (1_000_000 * (turn + 1) + 1, 7_777_777 * (turn + 1) + 1);
        apart.push(wire(9, true, client, Some(server), &[b'a' + turn as u8]).on_vlan(id));
    }
    let (flows, _) = run(&apart);
    let bytes: Vec<_> = flows.iter().map(|flow| flow.bytes[0].clone()).collect();
    assert_eq!(bytes, [b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);

    let mut asymmetric = handshake(100, 200);
    asymmetric.push(wire(10, true, 101, Some(201), b"question"));
    asymmetric.push(wire(11, false, 201, Some(109), b"answer"));
    for wire in &mut asymmetric {
        wire.vlan = Some(if wire.from_client { 10 } else { 20 });
    }
    let (flows, _) = run(&asymmetric);
    assert_eq!(flows.len(), 1);
    assert_eq!(flows[0].bytes, [b"question".to_vec(), b"answer".to_vec()]);
}

#[test]
fn half_open_floods_are_cheap_and_bounded() {
    let settings = Settings { max_half_open: 100, ..Settings::default() };
    let mut tracker = tracker(settings);
    let mut encapsulation = Encapsulation::default();
    encapsulation.clear();
    let server: SocketAddr = SERVER.parse().unwrap();
    for turn in 0..5_000u32 {
        let time = Timestamp::from_parts(1_000, u64::from(turn));
        tracker.tick(time);
        tracker.segment(&Segment {
            time,
            source: SocketAddr::new(std::net::Ipv4Addr::from(turn).into(), 1),
            destination: server,
            encapsulation: &encapsulation,
            sequence: turn,
            acknowledgment: 0,
            flags: Flags::SYN,
            window: u16::MAX,
            urgent: 0,
            payload: &[],
            missing: 0,
            fingerprint: 0,
        });
        assert!(tracker.flows() <= 100);
    }
    assert_eq!(tracker.counters().value(Counter::HalfOpenEvicted), 4_900);
    tracker.tick(Timestamp::from_parts(2_000, 0));
    assert_eq!(tracker.flows(), 0);
}

#[test]
fn idle_flows_end_on_the_tick() {
    let mut tracker = tracker(Settings { idle_timeout: 10, ..Settings::default() });
    feed(&mut tracker, &[wire(500_000, true, 1, None, b"x")]);
    tracker.tick(Timestamp::from_parts(1_010, 999_999_999));
    assert_eq!(tracker.flows(), 1);
    tracker.tick(Timestamp::from_parts(1_011, 0));
    assert_eq!(tracker.flows(), 0);
    assert_eq!(tracker.handler().flows[0].end, Some(End::TimedOut));
}

/// A byte of the client's stream by its place.
fn byte_at(place: usize) -> u8 {
    (place.wrapping_mul(31) ^ (place >> 8)) as u8 | 1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Cut, overlapped, duplicated and reordered at will, the stream comes out whole as long as every byte comes once.
    #[test]
    fn a_bad_network_changes_nothing(
        isn in any::<u32>(),
        cuts in prop::collection::vec((1usize..400, 0usize..60), 1..40),
        order in prop::collection::vec(any::<u16>(), 120),
        copies in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut wires = Vec::new();
        let mut start = 0usize;
        for &(length, back) in &cuts {
            let from = start.saturating_sub(back);
            let payload: Vec<u8> = (from..start + length).map(byte_at).collect();
            wires.push(wire(0, true, isn.wrapping_add(1).wrapping_add(from as u32), Some(201), &payload));
            start += length;
        }
        for copy in &copies {
            wires.push(wires[copy.index(wires.len())].clone());
        }
        // Reordering: each segment may fall back by a few places.
        let mut keyed: Vec<_> = wires.into_iter().enumerate()
            .map(|(place, wire)| (place * 2 + usize::from(order[place % order.len()] % 12), wire)).collect();
        keyed.sort_by_key(|(key, _)| *key);
        let mut all = handshake(isn, 200);
        all.extend(keyed.into_iter().enumerate().map(|(turn, (_, mut wire))| { wire.at = 10 + turn as u64; wire }));
        let (flows, counters) = run(&all);
        prop_assert_eq!(&flows[0].bytes[0], &(0..start).map(byte_at).collect::<Vec<_>>());
        prop_assert_eq!(counters.value(Counter::Gaps), 0);
    }

    /// Whatever is lost, what comes out is what was sent, with gaps exactly where it is not known.
    #[test]
    fn losses_are_gaps_and_nothing_else(
        lengths in prop::collection::vec(1usize..300, 2..40),
        lost in prop::collection::vec(any::<bool>(), 40),
        pace in 1u64..50_000,
    ) {
        let mut wires = handshake(5, 200);
        let mut start = 0usize;
        for (turn, &length) in lengths.iter().enumerate() {
            let payload: Vec<u8> = (start..start + length).map(byte_at).collect();
            let at = 10 + pace * turn as u64;
            if !lost[turn] {
                wires.push(wire(at, true, 6 + start as u32, Some(201), &payload));
            }
            start += length;
            wires.push(wire(at + 1, false, 201, Some(6 + start as u32), b""));
        }
        let (flows, _) = run(&wires);
        for (place, &byte) in flows[0].bytes[0].iter().enumerate() {
            let in_gap = flows[0].gaps[0].iter().any(|&(at, length)| (at..at + length).contains(&(place as u64)));
            prop_assert_eq!(byte, if in_gap { 0 } else { byte_at(place) });
        }
        let missing: u64 = flows[0].gaps[0].iter().map(|gap| gap.1).sum();
        let dropped: usize = lengths.iter().zip(&lost).filter(|(_, lost)| **lost).map(|(length, _)| length).sum();
        prop_assert!(missing as usize <= dropped);
    }

    /// Any sequence of segments: no panic, and what is held is always given back.
    #[test]
    fn any_sequence_of_segments(segments in prop::collection::vec(
        (0u64..3_000_000, any::<bool>(), 0u32..300, prop::option::of(0u32..300), 0u8..64, 0usize..40), 1..120)) {
        let wires: Vec<_> = segments.iter().map(|&(at, from_client, sequence, acknowledgment, flags, length)| Wire {
            at, from_client, sequence, acknowledgment,
            flags: Flags(flags), payload: vec![b'z'; length], vlan: None,
        }).collect();
        run(&wires);
    }
}

/// A byte that asks for nothing.
const NEVER: u8 = 255;

/// Asks to be woken by what the bytes say: each the number of tenths of a second from now.
#[derive(Default)]
struct Sleeper {
    /// Ports of the flows that were woken, with seconds since the beginning.
    woken: Vec<(u16, u64)>,
    opened: usize,
    /// How often each flow asks again when it is woken, after a minute.
    again: usize,
}

impl Handler for Sleeper {
    type State = usize;

    fn data(&mut self, flow: &FlowInfo, _: &mut Option<Box<usize>>, run: Run<'_>, _: &mut Counters) -> Interest {
        for &tenths in run.bytes.iter().filter(|&&tenths| tenths != NEVER) {
            flow.wake_at(run.now + Duration::from_millis(100) * u32::from(tenths));
        }
        Interest::Wanted
    }

    fn gap(&mut self, _: &FlowInfo, _: &mut Option<Box<usize>>, _: Gap, _: &mut Counters) {}

    fn close(
        &mut self,
        _: &FlowInfo,
        _: &mut Option<Box<usize>>,
        _: Direction,
        _: Close,
        _: Timestamp,
        _: &mut Counters,
    ) {
    }

    fn opened(&mut self, _: &FlowInfo, _: Timestamp) {
        self.opened += 1;
    }

    fn wake(&mut self, flow: &FlowInfo, state: &mut Option<Box<usize>>, now: Timestamp, _: &mut Counters) {
        assert_eq!(now.round_up(TICK), now);
        self.woken.push((flow.source.port(), now.since(Timestamp::from_parts(1_000, 0)).as_secs()));
        let times = state.get_or_insert_default();
        **times += 1;
        if **times <= self.again {
            flow.wake_at(now + Duration::from_secs(60));
        }
    }

    fn end(&mut self, _: &FlowInfo, _: Option<Box<usize>>, _: End, _: Timestamp, _: &mut Counters) {}
}

/// A segment of the client with this port, so many milliseconds after the beginning.
fn asks(tracker: &mut Tracker<Sleeper>, port: u16, at: u64, payload: &[u8]) {
    let time = Timestamp::from_parts(1_000, 0) + Duration::from_millis(at);
    tracker.tick(time);
    let source = SocketAddr::from(([10, 0, 0, 1], port));
    tracker.segment(&Segment {
        time,
        source,
        destination: SERVER.parse().unwrap(),
        encapsulation: &Encapsulation::NONE,
        sequence: 1 + at as u32,
        acknowledgment: 1,
        flags: Flags::ACK,
        window: u16::MAX,
        urgent: 0,
        payload,
        missing: 0,
        fingerprint: 0,
    });
}

#[test]
fn a_handler_is_woken_on_the_tick_that_it_asked_for_or_the_next() {
    for step in [100, 1_000, 7_300, 60_000] {
        let mut tracker = Tracker::new(Settings::default(), Sleeper::default());
        asks(&mut tracker, 1, 100, &[50]); // at 5.1 s
        asks(&mut tracker, 2, 100, &[9]); // at 1 s
        asks(&mut tracker, 3, 100, &[250, 70, 90]); // the earliest: at 7.1 s
        asks(&mut tracker, 4, 100, &[NEVER]); // it never asks
        asks(&mut tracker, 5, 100, &[0]); // at once: on the next tick
        asks(&mut tracker, 6, 100, &[254]); // at 25.5 s, and then sooner: at 2.2 s
        asks(&mut tracker, 6, 101, &[20]);
        let mut at = 200;
        while at < 60_000 {
            at += step;
            tracker.tick(Timestamp::from_parts(1_000, 0) + Duration::from_millis(at));
        }
        let woken = &mut tracker.handler().woken;
        woken.sort_unstable();
        assert_eq!(*woken, [(1, 6), (2, 1), (3, 8), (5, 1), (6, 3)], "{step}");
    }
}

#[test]
fn who_asks_again_and_again_is_over_none_the_less() {
    let mut tracker = Tracker::new(Settings::default(), Sleeper { again: 100, ..Sleeper::default() });
    asks(&mut tracker, 1, 0, &[10]);
    asks(&mut tracker, 2, 0, &[254]);
    tracker.tick(Timestamp::from_parts(1_299, 0));
    assert_eq!(tracker.flows(), 2);
    tracker.tick(Timestamp::from_parts(1_302, 0));
    assert_eq!(tracker.flows(), 0, "the time-out is not moved");
    let of = |tracker: &mut Tracker<Sleeper>, port| -> Vec<u64> {
        tracker.handler().woken.iter().filter(|woken| woken.0 == port).map(|woken| woken.1).collect()
    };
    assert_eq!(of(&mut tracker, 1), [1, 61, 121, 181, 241]);
    assert_eq!(of(&mut tracker, 2), [26, 86, 146, 206, 266]);
}

#[test]
fn who_is_only_to_be_woken_is_not_evicted_first() {
    let settings = Settings { max_flows: 20, ..Settings::default() };
    let mut tracker = Tracker::new(settings, Sleeper::default());
    for port in 1..=10 {
        asks(&mut tracker, port, u64::from(port), b"x"); // asks for a moment 12 s from now
    }
    for port in 11..=30 {
        asks(&mut tracker, port, 1_000 + u64::from(port), &[NEVER]);
    }
    assert_eq!(tracker.flows(), 20);
    assert_eq!(tracker.counters().value(Counter::FlowsEvicted), 10);
    tracker.tick(Timestamp::from_parts(1_020, 0));
    let sleepers = tracker.handler().woken.iter().filter(|woken| woken.0 <= 10).count();
    assert_eq!(sleepers, 10, "those that came later and did not ask had to leave");
}

#[test]
fn a_handshake_opens_a_flow_once() {
    let mut tracker = Tracker::new(Settings::default(), Sleeper::default());
    let (client, server): (SocketAddr, SocketAddr) = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
    for (at, wire) in handshake(10, 20).into_iter().chain([wire(9, true, 11, Some(21), b"\x64")]).enumerate() {
        let time = Timestamp::from_parts(1_000, 0) + Duration::from_millis(at as u64);
        tracker.tick(time);
        let (source, destination) = if wire.from_client { (client, server) } else { (server, client) };
        tracker.segment(&Segment {
            time,
            source,
            destination,
            encapsulation: &Encapsulation::NONE,
            sequence: wire.sequence,
            acknowledgment: wire.acknowledgment.unwrap_or(0),
            flags: wire.flags,
            window: u16::MAX,
            urgent: 0,
            payload: &wire.payload,
            missing: 0,
            fingerprint: 0,
        });
    }
    assert_eq!(tracker.handler().opened, 1);
}

#[test]
fn flows_alike_but_for_their_layers_are_few() {
    let settings = Settings { max_flows_alike: 8, ..Settings::default() };
    let mut tracker = tracker(settings);
    // One conversation in both directions, and a flood of others of the same ends, each on a VLAN of its own.
    feed(&mut tracker, &handshake(100, 200).into_iter().map(|wire| wire.on_vlan(1)).collect::<Vec<_>>());
    feed(&mut tracker, &[wire(10, true, 101, Some(201), b"request").on_vlan(1)]);
    feed(&mut tracker, &[wire(11, false, 201, Some(108), b"response").on_vlan(1)]);
    for vlan in 2..1_000 {
        let far = u32::from(vlan) * 0x0020_0001;
        feed(&mut tracker, &[wire(20 + u64::from(vlan), true, far, Some(!far), b"alike").on_vlan(vlan)]);
        assert!(tracker.flows() <= 8);
    }
    assert_eq!(tracker.counters().value(Counter::FlowsEvicted), 999 - 8);
    feed(&mut tracker, &[wire(2_000, true, 108, Some(209), b" again").on_vlan(1)]);
    assert_eq!(tracker.handler().flows[0].bytes[0], b"request again", "it is still there");
    assert_eq!(tracker.handler().flows[0].end, None);
}
