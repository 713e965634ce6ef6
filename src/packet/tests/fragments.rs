//! Fragments in and around tunnels, through the whole decoder.

use super::*;

/// A packet in IPv4 fragments of at most `size` bytes of payload each.
fn fragments(packet: &[u8], id: u16, size: usize) -> Vec<Vec<u8>> {
    let (header, payload) = packet.split_at(20);
    let count = payload.len().div_ceil(size);
    let part = |(place, chunk): (usize, &[u8])| {
        let mut header = header.to_vec();
        let more = if place + 1 < count { 0x2000 } else { 0 };
        let offset = (place * size / 8) as u16 | more;
        header[2..4].copy_from_slice(&(chunk.len() as u16 + 20).to_be_bytes());
        header[4..6].copy_from_slice(&id.to_be_bytes());
        header[6..8].copy_from_slice(&offset.to_be_bytes());
        [&header[..], chunk].concat()
    };
    payload.chunks(size).enumerate().map(part).collect()
}

#[test]
fn fragments_in_and_around_tunnels() {
    let inner = fragments(&ipv4_tcp(), 7, 16);
    let around = |parts: &[Vec<u8>]| -> Vec<Vec<u8>> {
        let vxlan = |part: &Vec<u8>| [&[8, 0, 0, 0, 0, 0, 5, 0][..], &ethernet(0x0800, part)].concat();
        parts.iter().map(|part| ipv4(17, &udp(5, 4789, &vxlan(part)))).collect()
    };
    let inside: Vec<_> = around(&inner);
    let outside = fragments(&around(&[ipv4_tcp()])[0], 8, 24);
    // Both: every inner fragment's tunnel packet is cut in its turn.
    let both: Vec<_> = (0..).zip(around(&inner)).flat_map(|(id, packet)| fragments(&packet, id, 24)).collect();
    for (parts, layers, wholes) in [(inner, 0, 1), (inside, 1, 1), (outside, 1, 1), (both, 1, 4 + 1)] {
        let (mut decoder, mut counters) = (Stage::new(Settings::default()), Counters::new());
        let mut found = Vec::new();
        for (time, part) in parts.iter().enumerate() {
            found.extend(decode(&mut decoder, &frame(101, part, time as i64), &mut counters));
        }
        let [seen] = &found[..] else { panic!("{} segments of {} parts", found.len(), parts.len()) };
        assert_eq!((seen.layers.len(), &*seen.payload), (layers, PAYLOAD));
        assert_eq!(counters.value(Counter::FragmentsReassembled), wholes);
        assert_eq!(counters.value(Counter::Segments), 1);
    }
}

#[test]
fn ipv6_fragments_any_order_mirrored_twice() {
    let packet = ipv6_tcp();
    let parts: Vec<Vec<u8>> = packet[40..]
        .chunks(16)
        .enumerate()
        .map(|(place, chunk)| {
            let offset = (place * 16) as u16 | u16::from((place + 1) * 16 < packet.len() - 40);
            [&[60, 0, 0, 0, 0, 0, 0, 0, 6, 0][..], &offset.to_be_bytes(), &[0, 0, 0, 9], chunk].concat()
        })
        .map(|rest| ipv6(60, &[&[44, 0, 0, 0, 0, 0, 0, 0][..], &rest[8..]].concat()))
        .collect();
    let (mut decoder, mut counters) = (Stage::new(Settings::default()), Counters::new());
    let found: Vec<_> = parts
        .iter()
        .rev()
        .flat_map(|part| [part, part])
        .filter_map(|part| decode(&mut decoder, &frame(101, part, 0), &mut counters))
        .collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].payload, PAYLOAD);
    assert_eq!(counters.value(Counter::DuplicatePackets), parts.len() as u64);
    assert_eq!(counters.value(Counter::Fragments), 2 * parts.len() as u64);
    decoder.decoder.finish(&mut counters);
    assert_eq!(counters.value(Counter::FragmentsTimedOut), 0);
}

#[test]
fn decoders_side_by_side_put_one_packet_together() {
    let first = Decoder::new(Settings::default());
    let mut decoders = [first.beside(), first];
    let (mut duplicates, mut counters) = (Duplicates::new(&Settings::default(), 1), Counters::new());
    let parts = fragments(&ipv4_tcp(), 7, 16);
    let mut found = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let segment = decoders[number % 2].decode(&frame(101, part, number as i64), &mut counters);
        found.extend(segment.map(Seen::from));
    }
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].payload, PAYLOAD);
    // A packet that comes to both is one, as one in a tunnel besides may.
    for decoder in &mut decoders {
        let packet = ipv4_tcp();
        let segment = decoder.decode(&frame(101, &packet, 100), &mut counters).expect("a segment");
        let _ = duplicates.admit(&segment, Timestamp::from_nanos(100), &mut counters);
    }
    assert_eq!((counters.value(Counter::Segments), counters.value(Counter::DuplicatePackets)), (1, 1));
    assert!(decoders[0].decode(&frame(101, &parts[0], 1_000_000_000), &mut counters).is_none());
    decoders[1].finish(&mut counters);
    assert_eq!(counters.value(Counter::FragmentsTimedOut), 1);
}
