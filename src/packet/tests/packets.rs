//! A packet in every encapsulation.

use super::*;

/// Every encapsulation: its name, link type, frame, and the layers that it must give.
pub(super) fn encapsulations() -> Vec<(&'static str, u16, Vec<u8>, Vec<Layer>)> {
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
