//! Reassembly of fragments: overlaps, contradictions, bounds, time.

use proptest::prelude::*;

use super::*;
use crate::packet::bytes::Bytes;

/// The table under test, with its counters and a clock.
struct Table {
    fragments: Fragments,
    counters: Counters,
    now: Timestamp,
}

impl Table {
    fn new(settings: Settings) -> Self {
        Table { fragments: Fragments::new(&settings), counters: Counters::new(), now: Timestamp::from_parts(1000, 0) }
    }

    fn take(&mut self, is_ipv4: bool, id: u32, offset: u32, more: bool, data: &[u8]) -> Option<Vec<u8>> {
        let addresses = Addresses { version: if is_ipv4 { 4 } else { 6 }, source: 1, destination: 2 };
        let place = Place { id, offset, more };
        let packet = Packet { addresses, id, number: 6, payload: Bytes::whole(data), fragment: Some(place) };
        let whole = self.fragments.take(self.now, &packet, place, 0, &mut self.counters);
        self.check();
        whole.map(|whole| whole.payload)
    }

    fn v4(&mut self, id: u32, offset: u32, more: bool, data: &[u8]) -> Option<Vec<u8>> {
        self.take(true, id, offset, more, data)
    }

    fn v6(&mut self, id: u32, offset: u32, more: bool, data: &[u8]) -> Option<Vec<u8>> {
        self.take(false, id, offset, more, data)
    }

    fn value(&self, counter: Counter) -> u64 {
        self.counters.value(counter)
    }

    /// What must hold after every fragment.
    fn check(&self) {
        let fragments = &self.fragments;
        assert_eq!(fragments.unfinished.len(), fragments.order.len());
        assert!(fragments.cost <= fragments.bytes && fragments.unfinished.len() <= fragments.packets);
        let cost: usize = fragments.unfinished.values().map(|unfinished| PACKET_COST + unfinished.cost).sum();
        assert_eq!(fragments.cost, cost);
        for unfinished in fragments.unfinished.values() {
            let pieces = &unfinished.pieces;
            assert!(pieces.len() <= fragments.pieces);
            assert!(pieces.windows(2).all(|pair| pair[0].end() <= pair[1].start));
            assert_eq!(unfinished.held as usize, pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>());
        }
    }
}

fn table() -> Table {
    Table::new(Settings::default())
}

#[test]
fn any_order() {
    let mut table = table();
    assert_eq!(table.v4(1, 16, false, b"tail"), None);
    assert_eq!(table.v4(1, 8, true, b"middle78"), None);
    assert_eq!(table.v4(1, 0, true, b"first678").as_deref(), Some(&b"first678middle78tail"[..]));
    assert_eq!(table.fragments.cost, 0);
    assert_eq!(table.value(Counter::FragmentsReassembled), 1);
}

#[test]
fn ipv4_keeps_the_first_copy() {
    let mut table = table();
    assert_eq!(table.v4(1, 8, true, b"AAAAAAAA"), None);
    assert_eq!(table.v4(1, 0, true, b"aaaaaaaabbbbbbbbcccccccc"), None);
    assert_eq!(table.value(Counter::FragmentsOverlapping), 1);
    assert_eq!(table.v4(1, 8, true, b"AAAAAAAAcccccccc"), None);
    assert_eq!(table.value(Counter::FragmentsOverlapping), 1);
    assert_eq!(table.v4(1, 24, false, b"d").as_deref(), Some(&b"aaaaaaaaAAAAAAAAccccccccd"[..]));
    assert_eq!(table.value(Counter::FragmentsDropped), 0);
}

#[test]
fn ipv6_drops_a_packet_with_an_overlap() {
    let mut table = table();
    assert_eq!(table.v6(1, 0, true, b"aaaaaaaabbbbbbbb"), None);
    // An exact copy is none.
    assert_eq!(table.v6(1, 0, true, b"aaaaaaaabbbbbbbb"), None);
    assert_eq!(table.v6(1, 8, true, b"bbbbbbbb"), None);
    assert_eq!(table.v6(1, 16, false, b"c"), None);
    assert_eq!(table.v6(1, 0, true, b"aaaaaaaabbbbbbbb"), None);
    assert_eq!(table.value(Counter::FragmentsDropped), 5);
    assert_eq!(table.value(Counter::FragmentsOverlapping), 0);
    // A copy in other words.
    assert_eq!(table.v6(2, 0, true, b"aaaaaaaa"), None);
    assert_eq!(table.v6(2, 0, true, b"aaaaaaab"), None);
    assert_eq!(table.v6(2, 8, false, b"c"), None);
    assert_eq!(table.value(Counter::FragmentsOverlapping), 1);
}

#[test]
fn contradictions_are_dropped_and_the_rest_stays() {
    let mut table = table();
    assert_eq!(table.v4(1, 8, false, b"end"), None);
    for (offset, more, data) in [
        (16, true, &b"beyond78"[..]),
        (8, false, b"other"),
        (0, false, b"12345678"),
        (0, true, b""),
        (0, true, b"seven77"),
        (65_528, false, b"too far."),
    ] {
        assert_eq!(table.v4(1, offset, more, data), None);
    }
    assert_eq!(table.value(Counter::FragmentsDropped), 6);
    // What is beyond the last whole unit of eight bytes does not count, as with IPv4 stacks.
    assert_eq!(table.v4(1, 0, true, b"12345678xx").as_deref(), Some(&b"12345678end"[..]));
    assert_eq!(table.v6(1, 0, true, b"12345678xx"), None);
    assert_eq!(table.value(Counter::FragmentsDropped), 7);
    // A last fragment before what is there already.
    assert_eq!(table.v4(2, 16, true, b"12345678"), None);
    assert_eq!(table.v4(2, 0, false, b"12345678"), None);
    assert_eq!(table.value(Counter::FragmentsDropped), 8);
}

#[test]
fn the_oldest_gives_way() {
    let mut table = Table::new(Settings { fragment_packets: 3, ..Settings::default() });
    for id in 0..4 {
        assert_eq!(table.v4(id, 0, true, b"12345678"), None);
    }
    assert_eq!(table.value(Counter::FragmentsDropped), 1);
    assert!(table.v4(1, 8, false, b"x").is_some());
    assert!(table.v4(0, 8, false, b"x").is_none());
    let mut table = Table::new(Settings { fragment_bytes: 4000, ..Settings::default() });
    for id in 0..10 {
        assert_eq!(table.v4(id, 0, true, &[0; 1400]), None);
    }
    assert_eq!(table.value(Counter::FragmentsDropped), 8);
    assert!(table.v4(9, 1400, false, b"x").is_some());
    // One that is larger than all of the budget.
    assert_eq!(table.v4(20, 0, true, &[0; 8000]), None);
    assert!(table.fragments.unfinished.is_empty());
}

#[test]
fn pieces_are_bounded() {
    let mut table = Table::new(Settings { fragment_pieces: 4, ..Settings::default() });
    for place in 0..100 {
        assert_eq!(table.v4(1, place * 16, true, b"12345678"), None);
    }
    assert_eq!(table.value(Counter::FragmentsDropped), 96);
}

#[test]
fn time_outs_run_on_packet_time() {
    let mut table = table();
    assert_eq!(table.v4(1, 0, true, b"12345678"), None);
    table.now = table.now + Duration::from_secs(30);
    assert_eq!(table.v4(2, 0, true, b"12345678"), None);
    assert!(table.v4(1, 8, false, b"x").is_some());
    table.now = table.now + Duration::from_nanos(30_000_000_001);
    assert!(table.v4(2, 8, false, b"x").is_none());
    assert_eq!(table.value(Counter::FragmentsTimedOut), 1);
    table.fragments.finish(&mut table.counters);
    assert_eq!(table.value(Counter::FragmentsTimedOut), 2);
    assert_eq!(table.fragments.cost, 0);
}

#[test]
fn a_flood_of_tiny_fragments_stays_within_its_budget() {
    let mut table = Table::new(Settings { fragment_bytes: 50_000, fragment_packets: 100, ..Settings::default() });
    let mut state = 7_u64;
    for _ in 0..5_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = state >> 20;
        table.take(draw & 1 == 0, (draw >> 1) as u32 % 300, (draw >> 16) as u32 % 8000 * 8, true, b"12345678");
    }
    assert!(table.value(Counter::FragmentsDropped) > 1000);
}

proptest! {
    /// Against a plain array in which the first byte written stays.
    #[test]
    fn ipv4_against_a_model(parts in prop::collection::vec((0_u32..12, 1_u32..6, any::<u8>()), 1..40), length in 1_u32..90) {
        let mut table = table();
        let mut model: Vec<Option<u8>> = vec![None; length as usize];
        let mut end_is_known = false;
        for (offset, units, fill) in parts {
            let start = offset * 8;
            if start >= length {
                continue;
            }
            let end = (start + units * 8).min(length);
            let more = end < length;
            let data = vec![fill; (end - start) as usize];
            let whole = table.v4(1, start, more, &data);
            end_is_known |= !more;
            model[start as usize..end as usize].iter_mut().for_each(|byte| *byte = byte.or(Some(fill)));
            if end_is_known && model.iter().all(Option::is_some) {
                let expected: Vec<u8> = model.iter().copied().flatten().collect();
                prop_assert_eq!(whole, Some(expected));
                return Ok(());
            }
            prop_assert_eq!(whole, None);
        }
    }
}
