//! Packets and conversations mirrored twice, and what only looks so.

use std::collections::BTreeSet;

use super::*;

const MILLISECOND: i64 = 1_000_000;

/// A segment of the one conversation these tests have, from client or server.
fn talk(from_client: bool, id: u16, sequence: u32, time_to_live: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let (source, destination, ports) =
        if from_client { (CLIENT, SERVER, (40_000, 80)) } else { (SERVER, CLIENT, (80, 40_000)) };
    let builder = PacketBuilder::ipv4(source, destination, time_to_live).tcp(ports.0, ports.1, sequence, 512).ack(1);
    builder.write(&mut packet, payload).expect("a vector takes all");
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet
}

/// Decodes raw IP or Ethernet frames at these times: which gave a segment, and its encapsulation's digest.
fn fates(frames: &[(u16, Vec<u8>, i64)]) -> Vec<Option<u64>> {
    let (mut decoder, mut counters) = (Stage::new(Settings::default()), Counters::new());
    let fates: Vec<_> = frames
        .iter()
        .map(|(link, data, time)| decode(&mut decoder, &frame(*link, data, *time), &mut counters))
        .map(|seen| seen.map(|seen| seen.digest))
        .collect();
    let duplicates = fates.iter().filter(|fate| fate.is_none()).count() as u64;
    assert_eq!(counters.value(Counter::DuplicatePackets), duplicates);
    fates
}

#[test]
fn a_packet_mirrored_twice_is_one() {
    let tagged = |id, ttl| ethernet(0x8100, &vlan(id, 0x0800, &talk(true, 5, 1000, ttl, b"data")));
    let routed = fates(&[(1, tagged(10, 64), 0), (1, tagged(20, 63), 2 * MILLISECOND), (1, tagged(10, 64), -1)]);
    assert!(routed[0].is_some() && routed[1..] == [None, None]);
    let plain = ethernet(0x0800, &talk(true, 5, 1000, 64, b"data"));
    let tunnelled = over_udp(4789, &[&[8, 0, 0, 0, 0, 0, 5, 0], &plain]);
    assert_eq!(fates(&[(1, tunnelled, 0), (1, plain, 10 * MILLISECOND)])[1], None);
}

#[test]
fn a_retransmission_is_not_a_duplicate() {
    let first = (101, talk(true, 5, 1000, 64, b"data"), 0);
    for other in [
        (101, talk(true, 6, 1000, 64, b"data"), 1),
        (101, talk(true, 5, 1000, 64, b"data"), 10 * MILLISECOND + 1),
        (101, talk(true, 5, 1000, 64, b"dat"), 1),
        (101, talk(true, 5, 1000, 64, b"Data"), 1),
        (101, talk(true, 5, 1001, 64, b"data"), 1),
        (101, talk(false, 5, 1000, 64, b"data"), 1),
    ] {
        assert!(fates(&[first.clone(), other])[1].is_some());
    }
}

#[test]
fn a_window_of_zero_parses_all() {
    let mut decoder = Stage::new(Settings { duplicate_window_ms: 0, ..Settings::default() });
    let packet = ipv4_tcp();
    for _ in 0..2 {
        assert!(decoder.decode(&frame(101, &packet, 0), &mut Counters::new()).is_some());
    }
}

/// Requests come on VLAN 10 first, responses on VLAN 20: what is left must still be one conversation.
#[test]
fn a_conversation_mirrored_twice_is_one() {
    let tagged = |id, packet: &[u8]| ethernet(0x8100, &vlan(id, 0x0800, packet));
    let mut frames = Vec::new();
    for turn in 0..20 {
        let (time, sequence) = (i64::from(turn) * 50 * MILLISECOND, u32::from(turn) * 4);
        let (request, response) = (talk(true, turn, sequence, 64, b"ask?"), talk(false, turn, sequence, 60, b"yes!"));
        frames.push((1, tagged(10, &request), time));
        frames.push((1, tagged(20, &request), time + MILLISECOND));
        frames.push((1, tagged(20, &response), time + 20 * MILLISECOND));
        frames.push((1, tagged(10, &response), time + 21 * MILLISECOND));
    }
    let fates = fates(&frames);
    assert_eq!(fates.iter().flatten().count(), 40);
    assert_eq!(fates.iter().flatten().collect::<BTreeSet<_>>().len(), 1);
}

/// The same addresses, ports and even sequence numbers on other tags are other connections.
#[test]
fn connections_on_several_vlans_stay_apart() {
    let mut frames = Vec::new();
    for turn in 0..10_u16 {
        for vlan_id in [1, 2, 3] {
            let data = talk(true, turn, u32::from(turn) * 4, 64, b"ask?");
            let time = i64::from(turn) * 500 * MILLISECOND + i64::from(vlan_id) * 50 * MILLISECOND;
            frames.push((1, ethernet(0x8100, &vlan(vlan_id, 0x0800, &data)), time));
        }
    }
    let fates = fates(&frames);
    assert_eq!(fates.iter().flatten().count(), 30);
    assert_eq!(fates.iter().flatten().collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn links_between_encapsulations_are_bounded_and_counted() {
    let settings = Settings { duplicate_links: 2, ..Settings::default() };
    let (mut decoder, mut counters) = (Stage::new(settings), Counters::new());
    for number in 0..10 {
        let mut packet = talk(true, 5, number, 64, b"data");
        packet[15] = number as u8;
        for vlan_id in [10, 20] {
            let data = ethernet(0x8100, &vlan(vlan_id, 0x0800, &packet));
            let _ = decoder.decode(&frame(1, &data, 0), &mut counters);
        }
    }
    assert_eq!(counters.value(Counter::DuplicatePackets), 10);
    assert_eq!(counters.value(Counter::EncapsulationLinksEvicted), 8);
}
