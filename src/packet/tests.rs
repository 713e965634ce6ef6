//! Hand-built packets in every encapsulation, whole and cut at every byte; real captures; mutated packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;

use super::*;
use crate::time::Timestamp;

mod captures;
mod fragments;
mod hostile;
mod mirrors;
mod packets;

use packets::encapsulations;

const CLIENT: [u8; 4] = [10, 1, 0, 1];
const SERVER: [u8; 4] = [10, 2, 0, 2];
const PAYLOAD: &[u8] = b"GET /users/1 HTTP/1.1\r\nHost: api\r\n\r\n";

/// A segment as owned data, to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    source: String,
    destination: String,
    layers: Vec<Layer>,
    digest: u64,
    sequence: u32,
    flags: Flags,
    payload: Vec<u8>,
    missing: u32,
}

fn frame(link: u16, data: &[u8], nanos: i64) -> Frame<'_> {
    Frame {
        time: Timestamp::from_nanos(nanos),
        link: LinkType(link),
        data,
        original_length: u32::try_from(data.len()).expect("small"),
    }
}

impl From<Segment<'_>> for Seen {
    fn from(segment: Segment<'_>) -> Seen {
        Seen {
            source: segment.source.to_string(),
            destination: segment.destination.to_string(),
            layers: segment.encapsulation.layers().copied().collect(),
            digest: segment.encapsulation.digest(),
            sequence: segment.sequence,
            flags: segment.flags,
            payload: segment.payload.to_vec(),
            missing: segment.missing,
        }
    }
}

/// The whole stage, as on one thread.
struct Stage {
    decoder: Decoder,
    duplicates: Duplicates,
    now: Timestamp,
}

impl Stage {
    fn new(settings: Settings) -> Stage {
        let duplicates = Duplicates::new(&settings, 1);
        Stage { decoder: Decoder::new(settings), duplicates, now: Timestamp::ZERO }
    }

    fn decode<'a>(&'a mut self, frame: &Frame<'a>, counters: &mut Counters) -> Option<Segment<'a>> {
        self.now = self.now.max(frame.time);
        let segment = self.decoder.decode(frame, counters)?;
        self.duplicates.admit(&segment, self.now, counters).segment(segment)
    }
}

fn decode(decoder: &mut Stage, frame: &Frame<'_>, counters: &mut Counters) -> Option<Seen> {
    decoder.decode(frame, counters).map(Seen::from)
}

/// Decodes one frame alone: the segment, or the name of the reason.
fn one(link: u16, data: &[u8]) -> Result<Seen, &'static str> {
    let (mut decoder, mut counters) = (Stage::new(Settings::default()), Counters::new());
    let seen = decode(&mut decoder, &frame(link, data, 0), &mut counters);
    let counted: Vec<_> = counters.nonzero().map(|(counter, value)| (counter.name(), value)).collect();
    assert_eq!(counted.len(), 1, "one fate: {counted:?}");
    assert_eq!(counted[0].1, 1);
    assert_eq!(seen.is_some(), counted[0].0 == "segments");
    seen.ok_or(counted[0].0)
}

fn ipv4_tcp() -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(CLIENT, SERVER, 64).tcp(40_000, 80, 1000, 512).psh().ack(77);
    builder.write(&mut packet, PAYLOAD).expect("a vector takes all");
    packet
}

fn v6(last: u16) -> [u8; 16] {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).octets()
}

fn ipv6_tcp() -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6(v6(1), v6(2), 64).tcp(40_000, 80, 1000, 512).psh().ack(77);
    builder.write(&mut packet, PAYLOAD).expect("a vector takes all");
    packet
}

/// An IPv4 packet around `payload`.
fn ipv4(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = etherparse::Ipv4Header::new(
        payload.len() as u16,
        64,
        etherparse::IpNumber(number),
        [192, 0, 2, 1],
        [192, 0, 2, 2],
    )
    .expect("short enough");
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], payload].concat()
}

fn ipv6(number: u8, payload: &[u8]) -> Vec<u8> {
    let header = etherparse::Ipv6Header {
        payload_length: payload.len() as u16,
        next_header: etherparse::IpNumber(number),
        hop_limit: 64,
        source: v6(0x11),
        destination: v6(0x22),
        ..Default::default()
    };
    [&header.to_bytes()[..], payload].concat()
}

fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16 + 8;
    [&source.to_be_bytes(), &destination.to_be_bytes(), &length.to_be_bytes(), &[0, 0][..], payload].concat()
}

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &ether_type.to_be_bytes(), payload].concat()
}

fn vlan(id: u16, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], &ether_type.to_be_bytes(), payload].concat()
}

fn outer4() -> [IpAddr; 2] {
    [Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(192, 0, 2, 2).into()]
}

fn outer6() -> [IpAddr; 2] {
    [Ipv6Addr::from(v6(0x11)).into(), Ipv6Addr::from(v6(0x22)).into()]
}

/// Ethernet, IPv4, UDP to `port`, then `parts`.
fn over_udp(port: u16, parts: &[&[u8]]) -> Vec<u8> {
    ethernet(0x0800, &ipv4(17, &udp(50_000, port, &parts.concat())))
}

/// Ethernet, IPv4, GRE of these first four bytes, then `parts`.
fn over_gre(header: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    ethernet(0x0800, &ipv4(47, &[&header[..], &parts.concat()].concat()))
}

#[test]
fn every_encapsulation_gives_its_segment() {
    for (name, link, data, layers) in encapsulations() {
        let seen = one(link, &data).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        assert_eq!(seen.layers, layers, "{name}");
        assert!(["10.1.0.1:40000", "[2001:db8::1]:40000"].contains(&&*seen.source), "{name}: {}", seen.source);
        assert!(["10.2.0.2:80", "[2001:db8::2]:80"].contains(&&*seen.destination), "{name}");
        assert_eq!((seen.sequence, seen.flags, seen.missing), (1000, Flags::PSH | Flags::ACK, 0), "{name}");
        assert_eq!(seen.payload, PAYLOAD, "{name}");
    }
}

#[test]
fn every_encapsulation_cut_anywhere() {
    for (name, link, data, layers) in encapsulations() {
        for cut in 0..data.len() {
            // As a snap length does it: the rest was on the wire.
            let (mut decoder, mut counters) = (Stage::new(Settings::default()), Counters::new());
            let mut snapped = frame(link, &data[..cut], 0);
            snapped.original_length = data.len() as u32;
            if let Some(seen) = decode(&mut decoder, &snapped, &mut counters) {
                assert_eq!(seen.layers, layers, "{name} at {cut}");
                assert_eq!(seen.payload.len() + seen.missing as usize, PAYLOAD.len(), "{name} at {cut}");
                assert!(PAYLOAD.starts_with(&seen.payload), "{name} at {cut}");
            }
            assert_eq!(counters.nonzero().count(), 1, "{name} at {cut}");
            // As if that had been all.
            let _ = one(link, &data[..cut]);
        }
    }
}

#[test]
fn padding_is_no_payload() {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(CLIENT, SERVER, 64).tcp(1, 2, 3, 4).write(&mut packet, b"").expect("a vector takes all");
    let seen = one(1, &ethernet(0x0800, &[&packet[..], &[0; 6]].concat())).expect("TCP");
    assert_eq!((seen.payload.len(), seen.missing), (0, 0));
}

#[test]
fn a_total_length_of_zero_is_offload() {
    let mut packet = ipv4_tcp();
    packet[2..4].fill(0);
    assert_eq!(one(101, &packet).expect("TCP").payload, PAYLOAD);
    let mut packet = ipv6_tcp();
    packet[4..6].fill(0);
    assert_eq!(one(101, &packet).expect("TCP").payload, PAYLOAD);
}

#[test]
fn reasons_are_told() {
    let p4 = ipv4_tcp();
    assert_eq!(one(105, &p4), Err("unknown_link_type"));
    assert_eq!(one(1, &ethernet(0x0806, &[0; 28])), Err("not_ip"));
    assert_eq!(one(1, &ethernet(0x0800, &ipv4(1, b"ping"))), Err("not_tcp"));
    assert_eq!(one(1, &over_udp(53, &[b"question"])), Err("not_tcp"));
    assert_eq!(one(1, &ethernet(0x0800, &p4[..19])), Err("malformed_packets"));
    // An IPv6 packet does not travel as IPv4.
    assert_eq!(one(1, &ethernet(0x0800, &ipv6_tcp())), Err("malformed_packets"));
    // What only looked like a tunnel, and what no TCP is inside of.
    assert_eq!(one(1, &over_udp(4789, &[&[8, 0, 0, 0, 0, 0, 5, 0], b"nothing"])), Err("not_tcp"));
    assert_eq!(one(1, &over_udp(4789, &[&[8, 0, 0, 0, 0, 0, 5, 0], &ethernet(0x0806, &[0; 28])])), Err("not_tcp"));
    assert_eq!(one(1, &over_udp(6081, &[&[0x3f, 0, 0x65, 0x58, 0, 0, 5, 0], &[0; 40]])), Err("not_tcp"));
    // GTP whose extension header says that it has no length.
    let header = [0x34, 0xff, 0, 80, 0, 0, 0, 5, 0, 0, 0, 0x85, 0, 0, 0, 0];
    assert_eq!(one(1, &over_udp(2152, &[&header, &p4])), Err("not_tcp"));
    // GRE keep-alive.
    assert_eq!(one(1, &over_gre([0, 0, 0, 0], &[])), Err("not_tcp"));
    // A data offset below the header, and one beyond the packet.
    for offset in [0x40, 0xf0] {
        let mut packet = ipv4_tcp();
        packet[32] = offset;
        packet.truncate(60);
        packet[2..4].copy_from_slice(&60_u16.to_be_bytes());
        assert_eq!(one(101, &packet), Err("malformed_packets"));
    }
}

#[test]
fn unknown_link_types_are_named_in_order() {
    let (mut decoder, mut counters) = (Stage::new(Settings::default()), Counters::new());
    for link in [40_000, 105, 1, 105] {
        assert!(decoder.decode(&frame(link, &[0; 4], 0), &mut counters).is_none());
    }
    let found: Vec<_> = decoder.decoder.unknown_link_types().into_iter().map(|kind| (kind.name, kind.frames)).collect();
    assert_eq!(found, [("IEEE802_11".into(), 2), ("40000".into(), 1)]);
}

#[test]
fn depth_is_bounded() {
    let nest = |depth: usize| {
        let mut data = ipv4_tcp();
        for _ in 0..depth {
            data = ipv4(4, &data);
        }
        data
    };
    assert_eq!(one(101, &nest(8)).expect("TCP").layers.len(), 8);
    assert_eq!(one(101, &nest(9)), Err("tunnel_too_deep"));
    let labels = [&[0, 1, 0xd0, 64].repeat(1000)[..], &[0, 1, 0xd1, 64], &ipv4_tcp()].concat();
    assert_eq!(one(1, &ethernet(0x8847, &labels)), Err("tunnel_too_deep"));
    let mut flat = Stage::new(Settings { depth: 0, ..Settings::default() });
    assert!(flat.decode(&frame(101, &nest(0), 0), &mut Counters::new()).is_some());
    assert!(flat.decode(&frame(101, &nest(1), 0), &mut Counters::new()).is_none());
}

#[test]
fn configured_vxlan_ports() {
    let data = over_udp(5555, &[&[8, 0, 0, 0, 0, 0, 5, 0], &ethernet(0x0800, &ipv4_tcp())]);
    assert_eq!(one(1, &data), Err("not_tcp"));
    let mut decoder = Stage::new(Settings { vxlan_ports: vec![5555], ..Settings::default() });
    assert!(decoder.decode(&frame(1, &data, 0), &mut Counters::new()).is_some());
}

#[test]
fn extension_headers() {
    let tcp = &ipv6_tcp()[40..];
    let chain = [
        &[43, 0, 1, 4, 0, 0, 0, 0][..],                                             // hop by hop
        &[60, 2, 4, 1, 0, 0, 0, 0],                                                 // segment routing, one left:
        &v6(0x99),                                                                  // the last destination
        &[135, 0, 1, 4, 0, 0, 0, 0],                                                // destination options
        &[51, 0, 0, 0, 0, 0, 0, 0],                                                 // mobility
        &[44, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2], // authentication
        &[6, 0, 0, 0, 0, 0, 0, 9], // a fragment header that does not mean it
        tcp,
    ]
    .concat();
    let seen = one(101, &ipv6(0, &chain)).expect("TCP");
    assert_eq!(seen.destination, "[2001:db8::99]:80");
    assert_eq!(seen.payload, PAYLOAD);
    // As many as fit.
    let chain = [&[60, 0, 0, 0, 0, 0, 0, 0].repeat(8000)[..], &[6, 0, 0, 0, 0, 0, 0, 0], tcp].concat();
    assert!(one(101, &ipv6(60, &chain)).is_ok());
    assert_eq!(one(101, &ipv6(50, tcp)), Err("not_tcp"));
    // IPv4 has the authentication header only.
    let header = [6, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2];
    assert!(one(101, &ipv4(51, &[&header[..], tcp].concat())).is_ok());
}

#[test]
fn checksums_only_when_asked() {
    let mut decoder = Stage::new(Settings { verify_checksums: true, ..Settings::default() });
    let mut counters = Counters::new();
    for good in [ipv4_tcp(), ipv6_tcp()] {
        assert!(decoder.decode(&frame(101, &good, 0), &mut counters).is_some());
        // Not to be verified when cut.
        let mut snapped = frame(101, &good[..good.len() - 1], 1_000_000_000);
        snapped.original_length = good.len() as u32;
        assert!(decoder.decode(&snapped, &mut counters).is_some());
        let mut bad = good.clone();
        *bad.last_mut().expect("bytes") ^= 1;
        assert!(decoder.decode(&frame(101, &bad, 2_000_000_000), &mut counters).is_none());
        assert!(one(101, &bad).is_ok());
    }
    let mut bad = ipv4_tcp();
    bad[10] ^= 1;
    assert!(decoder.decode(&frame(101, &bad, 0), &mut counters).is_none());
    assert!(one(101, &bad).is_ok());
    assert_eq!(counters.value(Counter::BadChecksum), 3);
}
