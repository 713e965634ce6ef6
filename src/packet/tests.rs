//! Hand-built packets in every encapsulation, whole and cut at every byte; real captures; mutated packets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;
use crate::time::Timestamp;

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

fn decode(decoder: &mut Decoder, frame: &Frame<'_>, counters: &mut Counters) -> Option<Seen> {
    decoder.decode(frame, counters).map(|segment| Seen {
        source: segment.source.to_string(),
        destination: segment.destination.to_string(),
        layers: segment.encapsulation.layers().copied().collect(),
        digest: segment.encapsulation.digest(),
        sequence: segment.sequence,
        flags: segment.flags,
        payload: segment.payload.to_vec(),
        missing: segment.missing,
    })
}

/// Decodes one frame alone: the segment, or the name of the reason.
fn one(link: u16, data: &[u8]) -> Result<Seen, &'static str> {
    let (mut decoder, mut counters) = (Decoder::new(Settings::default()), Counters::new());
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

/// Every encapsulation: its name, link type, frame, and the layers that it must give.
fn encapsulations() -> Vec<(&'static str, u16, Vec<u8>, Vec<Layer>)> {
    let (p4, p6) = (ipv4_tcp(), ipv6_tcp());
    let e4 = ethernet(0x0800, &p4);
    let (outer, ip4, ip6) = (outer4(), Layer::Ip { outer: outer4() }, Layer::Ip { outer: outer6() });
    let gre = |key| Layer::Gre { outer, key };
    let vxlan = |vni| Layer::Vxlan { outer, vni };
    let erspan = |session| Layer::Erspan { outer, session };
    let mut all = plain_links(&p4, &p6);
    all.extend([
        ("vlan", 1, ethernet(0x8100, &vlan(0x6007, 0x0800, &p4)), vec![Layer::Vlan { id: 7 }]),
        ("priority tag", 1, ethernet(0x8100, &vlan(0x6000, 0x0800, &p4)), vec![]),
        (
            "qinqinq",
            1,
            ethernet(0x88a8, &vlan(5, 0x9100, &vlan(6, 0x8100, &vlan(7, 0x86dd, &p6)))),
            vec![Layer::Vlan { id: 5 }, Layer::Vlan { id: 6 }, Layer::Vlan { id: 7 }],
        ),
        (
            "mpls",
            1,
            ethernet(0x8847, &[&[0, 1, 0xd0, 64, 0, 2, 1, 64][..], &p4].concat()),
            vec![Layer::Mpls { label: 29 }, Layer::Mpls { label: 32 }],
        ),
        ("mpls, ipv6", 1, ethernet(0x8847, &[&[0, 1, 0xd1, 64][..], &p6].concat()), vec![Layer::Mpls { label: 29 }]),
        (
            "mpls pseudo-wire",
            1,
            ethernet(0x8847, &[&[0, 1, 0xd1, 64][..], &e4].concat()),
            vec![Layer::Mpls { label: 29 }],
        ),
        (
            "mpls pseudo-wire, control word",
            1,
            ethernet(0x8847, &[&[0, 1, 0xd1, 64, 0, 0, 0, 9][..], &e4].concat()),
            vec![Layer::Mpls { label: 29 }],
        ),
        (
            "pppoe",
            1,
            ethernet(0x8864, &[&[0x11, 0, 0, 9, 0, p4.len() as u8 + 2, 0, 0x21][..], &p4, b"padding"].concat()),
            vec![Layer::Pppoe { session: 9 }],
        ),
        ("gre", 1, over_gre([0, 0, 8, 0], &[&p4]), vec![gre(None)]),
        (
            "gre, checksum, key and sequence",
            1,
            over_gre([0xb0, 0, 0x86, 0xdd], &[&[1, 2, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1], &p6]),
            vec![gre(Some(5))],
        ),
        ("gre, bridged ethernet", 1, over_gre([0x20, 0, 0x65, 0x58], &[&[0, 0, 0, 5], &e4]), vec![gre(Some(5))]),
        (
            "gre, pptp",
            1,
            over_gre(
                [0x30, 0x81, 0x88, 0x0b],
                &[&[0, p4.len() as u8 + 4, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 3, 0, 0x21], &p4],
            ),
            vec![gre(Some(7))],
        ),
        ("gre, wccp 2", 1, over_gre([0, 0, 0x88, 0x3e], &[&[0, 0, 0, 0], &p4]), vec![gre(None)]),
        (
            "gre, mpls",
            1,
            over_gre([0, 0, 0x88, 0x47], &[&[0, 1, 0xd1, 64], &p4]),
            vec![gre(None), Layer::Mpls { label: 29 }],
        ),
        ("erspan I", 1, over_gre([0, 0, 0x88, 0xbe], &[&e4]), vec![erspan(None)]),
        (
            "erspan II",
            1,
            over_gre([0x10, 0, 0x88, 0xbe], &[&[0, 0, 0, 1, 0x10, 1, 0x08, 3, 0, 0, 0, 0], &e4]),
            vec![erspan(Some(3))],
        ),
        (
            "erspan III with a platform header",
            1,
            over_gre(
                [0x10, 0, 0x22, 0xeb],
                &[&[0, 0, 0, 1, 0x20, 1, 0x08, 3, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8], &e4],
            ),
            vec![erspan(Some(3))],
        ),
        ("vxlan", 1, over_udp(4789, &[&[8, 0, 0, 0, 0, 0, 5, 0], &e4]), vec![vxlan(5)]),
        ("vxlan, linux", 1, over_udp(8472, &[&[8, 0, 0, 0, 1, 0, 5, 0], &e4]), vec![vxlan(0x01_0005)]),
        ("vxlan-gpe", 1, over_udp(4790, &[&[0x0c, 0, 0, 2, 0, 0, 5, 0], &p6]), vec![vxlan(5)]),
        (
            "geneve with options",
            1,
            over_udp(6081, &[&[2, 0, 0x65, 0x58, 0, 0, 5, 0, 1, 2, 3, 1, 9, 9, 9, 9], &e4]),
            vec![Layer::Geneve { outer, vni: 5 }],
        ),
        (
            "gtp",
            1,
            over_udp(2152, &[&[0x30, 0xff, 0, p4.len() as u8, 0, 0, 0, 5], &p4]),
            vec![Layer::Gtp { outer, teid: 5 }],
        ),
        (
            "gtp, sequence and extension headers",
            1,
            over_udp(
                2152,
                &[
                    &[0x36, 0xff, 0, p6.len() as u8 + 12, 0, 0, 0, 5],
                    &[0, 1, 0, 0x85, 1, 0x10, 9, 0x85, 1, 0x10, 9, 0],
                    &p6,
                ],
            ),
            vec![Layer::Gtp { outer, teid: 5 }],
        ),
        ("4 in 4", 1, ethernet(0x0800, &ipv4(4, &p4)), vec![ip4]),
        ("6 in 4", 1, ethernet(0x0800, &ipv4(41, &p6)), vec![ip4]),
        ("4 in 6", 1, ethernet(0x86dd, &ipv6(4, &p4)), vec![ip6]),
        ("6 in 6", 1, ethernet(0x86dd, &ipv6(41, &p6)), vec![ip6]),
        ("mpls in ip", 101, ipv4(137, &[&[0, 1, 0xd1, 64][..], &p4].concat()), vec![ip4, Layer::Mpls { label: 29 }]),
        ("mpls in udp", 1, over_udp(6635, &[&[0, 1, 0xd1, 64], &p4]), vec![ip4, Layer::Mpls { label: 29 }]),
        ("etherip", 101, ipv4(97, &[&[0x30, 0][..], &e4].concat()), vec![ip4]),
        ("ayiya", 1, over_udp(5072, &[&[0x42, 0x52, 0x11, 41, 0, 0, 0, 0], &[1; 16], &[2; 20], &p6]), vec![ip4]),
        (
            "teredo",
            1,
            over_udp(3544, &[&[0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9, 9, 9, 9, 9, 9], &p6]),
            vec![ip4],
        ),
        (
            "a tag in vxlan in 4 in 6",
            1,
            ethernet(
                0x86dd,
                &ipv6(
                    4,
                    &ipv4(
                        17,
                        &udp(
                            5,
                            4789,
                            &[&[8, 0, 0, 0, 0, 0, 5, 0][..], &ethernet(0x8100, &vlan(7, 0x0800, &p4))].concat(),
                        ),
                    ),
                ),
            ),
            vec![ip6, vxlan(5), Layer::Vlan { id: 7 }],
        ),
    ]);
    all
}

/// The link types, without anything around IP.
fn plain_links(p4: &[u8], p6: &[u8]) -> Vec<(&'static str, u16, Vec<u8>, Vec<Layer>)> {
    let all: Vec<(&'static str, u16, Vec<u8>)> = vec![
        ("ethernet", 1, ethernet(0x0800, p4)),
        ("ethernet, ipv6", 1, ethernet(0x86dd, p6)),
        (
            "802.3 with snap",
            1,
            ethernet(p4.len() as u16 + 8, &[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], p4, b"padding"].concat()),
        ),
        ("802.3 with llc", 1, ethernet(p4.len() as u16 + 3, &[&[6, 6, 3][..], p4].concat())),
        ("null", 0, [&[2, 0, 0, 0][..], p4].concat()),
        ("null, other order, ipv6", 0, [&[0, 0, 0, 30][..], p6].concat()),
        ("loop", 108, [&[0, 0, 0, 24][..], p6].concat()),
        ("ppp", 9, [&[0xff, 3, 0, 0x21][..], p4].concat()),
        ("ppp in hdlc", 50, [&[0xff, 3, 0, 0x57][..], p6].concat()),
        ("ppp with direction", 204, [&[1, 0xff, 3, 0, 0x21][..], p4].concat()),
        ("pppd", 166, [&[0, 3, 0, 0x21][..], p4].concat()),
        ("cisco hdlc", 104, [&[0x0f, 0, 8, 0][..], p4].concat()),
        ("sll", 113, [&[0; 14][..], &[0x86, 0xdd], p6].concat()),
        ("sll2", 276, [&[8, 0][..], &[0; 18], p4].concat()),
        ("raw", 101, p6.to_vec()),
        ("raw as dlt 12", 12, p4.to_vec()),
        ("raw as dlt 14", 14, p4.to_vec()),
        ("ipv4", 228, p4.to_vec()),
        ("ipv6", 229, p6.to_vec()),
        ("nflog", 239, [&[2, 0, 0, 0, 6, 0, 1, 0, 0, 0, 0, 0, p4.len() as u8 + 4, 0, 9, 0][..], p4].concat()),
    ];
    all.into_iter().map(|(name, link, data)| (name, link, data, vec![])).collect()
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
            let (mut decoder, mut counters) = (Decoder::new(Settings::default()), Counters::new());
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
    let (mut decoder, mut counters) = (Decoder::new(Settings::default()), Counters::new());
    for link in [40_000, 105, 1, 105] {
        assert!(decoder.decode(&frame(link, &[0; 4], 0), &mut counters).is_none());
    }
    let found: Vec<_> = decoder.unknown_link_types().into_iter().map(|kind| (kind.name, kind.frames)).collect();
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
    let mut flat = Decoder::new(Settings { depth: 0, ..Settings::default() });
    assert!(flat.decode(&frame(101, &nest(0), 0), &mut Counters::new()).is_some());
    assert!(flat.decode(&frame(101, &nest(1), 0), &mut Counters::new()).is_none());
}

#[test]
fn configured_vxlan_ports() {
    let data = over_udp(5555, &[&[8, 0, 0, 0, 0, 0, 5, 0], &ethernet(0x0800, &ipv4_tcp())]);
    assert_eq!(one(1, &data), Err("not_tcp"));
    let mut decoder = Decoder::new(Settings { vxlan_ports: vec![5555], ..Settings::default() });
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
    let mut decoder = Decoder::new(Settings { verify_checksums: true, ..Settings::default() });
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
    let (mut decoder, mut counters) = (Decoder::new(Settings::default()), Counters::new());
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
    let mut decoder = Decoder::new(Settings { duplicate_window_ms: 0, ..Settings::default() });
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
        let (mut decoder, mut counters) = (Decoder::new(Settings::default()), Counters::new());
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
    let (mut decoder, mut counters) = (Decoder::new(Settings::default()), Counters::new());
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
    decoder.finish(&mut counters);
    assert_eq!(counters.value(Counter::FragmentsTimedOut), 0);
}

/// A capture in classic pcap: link type, and frames by time, bytes and length on the wire.
fn read_capture(file: &[u8]) -> Option<(u16, Vec<(i64, &[u8], u32)>)> {
    let magic: [u8; 4] = file.get(..4)?.try_into().ok()?;
    let (is_big, is_nano) = match magic {
        [0xd4, 0xc3, 0xb2, 0xa1] => (false, false),
        [0x4d, 0x3c, 0xb2, 0xa1] => (false, true),
        [0xa1, 0xb2, 0xc3, 0xd4] => (true, false),
        [0xa1, 0xb2, 0x3c, 0x4d] => (true, true),
        _ => return None,
    };
    let word = |at: usize| {
        let bytes: [u8; 4] = file.get(at..at + 4)?.try_into().ok()?;
        Some(if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let (mut at, mut frames) = (24, Vec::new());
    while let (Some(seconds), Some(fraction), Some(length), Some(original)) =
        (word(at), word(at + 4), word(at + 8), word(at + 12))
    {
        let Some(data) = file.get(at + 16..at + 16 + length as usize) else { break };
        let nanos = i64::from(seconds) * 1_000_000_000 + i64::from(fraction) * if is_nano { 1 } else { 1000 };
        frames.push((nanos, data, original.max(length)));
        at += 16 + length as usize;
    }
    Some((word(20)? as u16, frames))
}

fn corpus() -> Option<Vec<(String, Vec<u8>)>> {
    let shared = std::env::var_os("APITAP_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")), PathBuf::from);
    let folders = std::fs::read_dir(shared.join("corpus")).ok()?;
    let files = folders.flatten().filter_map(|folder| std::fs::read_dir(folder.path()).ok()).flatten().flatten();
    let captures = files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|kind| kind == "pcap"));
    let mut all: Vec<_> = captures
        .filter_map(|path| {
            let folder = path.parent()?.file_name()?.to_str()?;
            Some((format!("{folder}/{}", path.file_stem()?.to_str()?), std::fs::read(&path).ok()?))
        })
        .collect();
    all.sort();
    Some(all)
}

/// What decoding a capture came to: counters, segments with payload, and the flows by encapsulation.
fn decode_capture(file: &[u8]) -> Option<(Counters, u64, BTreeMap<u64, u64>)> {
    let (link, frames) = read_capture(file)?;
    let (mut decoder, mut counters) = (Decoder::new(Settings::default()), Counters::new());
    let (mut with_payload, mut digests) = (0, BTreeMap::new());
    for (nanos, data, original_length) in frames {
        counters.count(Counter::Frames);
        let mut frame = frame(link, data, nanos);
        frame.original_length = original_length;
        if let Some(segment) = decoder.decode(&frame, &mut counters) {
            with_payload += u64::from(!segment.payload.is_empty());
            *digests.entry(segment.encapsulation.digest()).or_default() += 1;
        }
    }
    decoder.finish(&mut counters);
    Some((counters, with_payload, digests))
}

#[test]
fn the_conformance_captures() {
    let Some(captures) = corpus() else {
        println!("skipped: no conformance captures; set APITAP_SHARED");
        return;
    };
    let is_verbose = std::env::var_os("APITAP_VERBOSE").is_some();
    let mut known = BTreeMap::new();
    for (name, file) in captures {
        let Some((counters, with_payload, digests)) = decode_capture(&file) else { continue };
        let value = |counter| counters.value(counter);
        let fates: u64 = [
            Counter::Segments,
            Counter::DuplicatePackets,
            Counter::UnknownLinkType,
            Counter::NotIp,
            Counter::NotTcp,
            Counter::MalformedPackets,
            Counter::TunnelTooDeep,
        ]
        .into_iter()
        .map(value)
        .sum();
        let held = value(Counter::Fragments);
        assert!(
            fates <= value(Counter::Frames) + held && fates + held >= value(Counter::Frames),
            "{name}: {counters:?}"
        );
        assert_eq!(value(Counter::UnknownLinkType), 0, "{name}");
        if is_verbose {
            let counted = serde_json::to_string(&counters).expect("a map of numbers");
            println!("{name}\t{with_payload}\t{}\t{counted}", digests.len());
        }
        known.insert(name, (with_payload, digests));
    }
    // One connection untagged, one on VLAN 42, one on 10 in 20: the same addresses, ports and even packets.
    let (_, collisions) = &known["zeek/vlan-collisions"];
    assert_eq!(collisions.len(), 3);
    assert_eq!(collisions.values().collect::<BTreeSet<_>>().len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever is done to a packet: no panic, one fate, and a payload that lies within the frame.
    #[test]
    fn mutated_packets(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
        verify in any::<bool>(),
    ) {
        let all = encapsulations();
        let (_, link, mut data, _) = which.get(&all).clone();
        for (place, value) in changes {
            let place = place.index(data.len());
            data[place] = value;
        }
        if is_cut {
            data.truncate(cut.index(data.len()));
        }
        let mut decoder = Decoder::new(Settings { verify_checksums: verify, ..Settings::default() });
        let mut counters = Counters::new();
        if let Some(seen) = decode(&mut decoder, &frame(link, &data, 0), &mut counters) {
            prop_assert!(seen.payload.is_empty() || data.windows(seen.payload.len()).any(|part| part == seen.payload));
        }
        let losses = counters.value(Counter::FragmentsDropped) + counters.value(Counter::FragmentsOverlapping);
        let total: u64 = counters.nonzero().map(|(_, value)| value).sum();
        prop_assert_eq!(total - losses, 1);
    }

    /// Bytes without any sense, of every link type.
    #[test]
    fn noise(link in prop::sample::select(vec![0_u16, 1, 9, 12, 50, 101, 104, 108, 113, 166, 204, 228, 229, 239, 276]),
             data in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut counters = Counters::new();
        let _ = decode(&mut Decoder::new(Settings::default()), &frame(link, &data, 0), &mut counters);
    }
}
