//! Link layers: what a frame begins with, by its `LINKTYPE_` number, down to a network protocol.
//!
//! The numbers and the pseudo-headers are those of the registry at <https://www.tcpdump.org/linktypes.html>.

use std::borrow::Cow;

use super::bytes::Bytes;
use crate::source::LinkType;
use crate::stats::Counter;

/// What a run of bytes begins with: an EtherType (up to 1,500 it is a length, and LLC follows), or one of the constants
/// beyond them. A word rather than an enum, for the reason given at [`super::ip::Addresses`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content(u32);

impl Content {
    /// Ethernet II or IEEE 802.3, from the destination address on.
    pub(super) const ETHERNET: Content = Content(0x1_0000);
    /// IEEE 802.2 logical link control.
    pub(super) const LLC: Content = Content(0x1_0001);
    /// PPP, from the (perhaps left out) address and control field on.
    pub(super) const PPP: Content = Content(0x1_0002);
    /// IPv4 or IPv6, by its first four bits.
    pub(super) const IP: Content = Content(0x1_0003);
    /// IPv4, and nothing else will do.
    pub(super) const IPV4: Content = Content(ether_type::IPV4 as u32);
    /// IPv6, and nothing else will do.
    pub(super) const IPV6: Content = Content(ether_type::IPV6 as u32);

    /// The payload of this EtherType.
    #[inline]
    pub(super) const fn of(ether_type: u16) -> Content {
        Content(ether_type as u32)
    }

    /// The EtherType, or 0xffff (which is reserved) when it is none.
    #[inline]
    pub(super) fn ether_type(self) -> u16 {
        u16::try_from(self.0).unwrap_or(u16::MAX)
    }
}

/// EtherTypes (IEEE 802 numbers, IANA) that lead on to IP.
pub(super) mod ether_type {
    pub(crate) const IPV4: u16 = 0x0800;
    pub(crate) const IPV6: u16 = 0x86dd;
    pub(crate) const VLAN: u16 = 0x8100;
    pub(crate) const SERVICE_VLAN: u16 = 0x88a8;
    pub(crate) const OLD_SERVICE_VLAN: u16 = 0x9100;
    pub(crate) const OLD_SERVICE_VLAN_2: u16 = 0x9200;
    pub(crate) const MPLS: u16 = 0x8847;
    pub(crate) const MPLS_MULTICAST: u16 = 0x8848;
    pub(crate) const PPPOE_SESSION: u16 = 0x8864;
    pub(crate) const PPP: u16 = 0x880b;
    pub(crate) const BRIDGED_ETHERNET: u16 = 0x6558;
}

/// What nearly all frames are.
pub(super) const ETHERNET: LinkType = LinkType(1);

/// Takes the frame's link header off; [`Counter::UnknownLinkType`] when it is none of ours.
pub(super) fn open(link: LinkType, bytes: Bytes<'_>) -> Result<(Content, Bytes<'_>), Counter> {
    match link.0 {
        1 => Ok((Content::ETHERNET, bytes)),
        0 | 108 => null(bytes),
        9 | 50 => Ok((Content::PPP, bytes)),
        // DLT_RAW has had several values, which some programs write as they are.
        12 | 14 | 101 => Ok((Content::IP, bytes)),
        104 => cisco_hdlc(bytes),
        113 => cooked(bytes),
        // The direction stands in the place of the address byte, or before it.
        166 => Ok((Content::PPP, bytes.skip(2)?)),
        204 => Ok((Content::PPP, bytes.skip(1)?)),
        228 => Ok((Content::IPV4, bytes)),
        229 => Ok((Content::IPV6, bytes)),
        239 => netfilter_log(bytes),
        276 => cooked_2(bytes),
        _ => Err(Counter::UnknownLinkType),
    }
}

/// Ethernet II, and 802.3 by the length in the place of the type.
#[inline]
pub(super) fn ethernet(bytes: Bytes<'_>) -> Result<(Content, Bytes<'_>), Counter> {
    let (header, rest) = bytes.header::<14>()?;
    Ok((Content::of(u16::from_be_bytes([header[12], header[13]])), rest))
}

/// 802.2 LLC: SNAP with an EtherType, or the old number of IP.
pub(super) fn llc(bytes: Bytes<'_>) -> Result<(Content, Bytes<'_>), Counter> {
    let (header, rest) = bytes.header::<3>()?;
    match header {
        [0xaa, 0xaa, 0x03] => {
            let (snap, rest) = rest.header::<5>()?;
            match snap {
                // 00-00-00 is RFC 1042, 00-00-f8 IEEE 802.1H.
                [0x00, 0x00, 0x00 | 0xf8, high, low] => Ok((Content::of(u16::from_be_bytes([*high, *low])), rest)),
                _ => Err(Counter::NotIp),
            }
        }
        [0x06, 0x06, 0x03] => Ok((Content::IPV4, rest)),
        _ => Err(Counter::NotIp),
    }
}

/// PPP (RFC 1661), with or without the HDLC address and control (RFC 1662), the protocol in two bytes or in one.
pub(super) fn ppp(bytes: Bytes<'_>) -> Result<(Content, Bytes<'_>), Counter> {
    let bytes = match bytes.captured {
        [0xff, 0x03, ..] => bytes.skip(2)?,
        // Cisco's HDLC under the number of PPP: unicast or broadcast address.
        [0x0f | 0x8f, 0x00, ..] => return cisco_hdlc(bytes),
        _ => bytes,
    };
    let (protocol, rest) = match bytes.captured {
        // Only the last byte of a protocol number is odd: a compressed one has no other.
        [odd, ..] if odd & 1 == 1 => (u16::from(*odd), bytes.skip(1)?),
        _ => {
            let (number, rest) = bytes.header::<2>()?;
            (u16::from_be_bytes(*number), rest)
        }
    };
    match protocol {
        0x0021 => Ok((Content::IPV4, rest)),
        0x0057 => Ok((Content::IPV6, rest)),
        0x0281 | 0x0283 => Ok((Content::of(ether_type::MPLS), rest)),
        _ => Err(Counter::NotIp),
    }
}

/// BSD's loopback header: the address family, in the capturing machine's byte order (`null`) or in network order.
fn null(bytes: Bytes<'_>) -> Result<(Content, Bytes<'_>), Counter> {
    let (family, rest) = bytes.header::<4>()?;
    let little = u32::from_le_bytes(*family);
    let family = if little > 0xffff { little.swap_bytes() } else { little };
    match family {
        2 => Ok((Content::IPV4, rest)),
        // Linux, Windows, NetBSD and OpenBSD, FreeBSD, Darwin.
        10 | 23 | 24 | 28 | 30 => Ok((Content::IPV6, rest)),
        _ => Err(Counter::NotIp),
    }
}

fn cisco_hdlc(bytes: Bytes<'_>) -> Result<(Content, Bytes<'_>), Counter> {
    let (header, rest) = bytes.header::<4>()?;
    Ok((Content::of(u16::from_be_bytes([header[2], header[3]])), rest))
}

/// Linux cooked capture: packet type, hardware type, address, protocol.
fn cooked(bytes: Bytes<'_>) -> Result<(Content, Bytes<'_>), Counter> {
    let (header, rest) = bytes.header::<16>()?;
    Ok((cooked_protocol([header[14], header[15]])?, rest))
}

/// Linux cooked capture, version 2: the protocol comes first.
fn cooked_2(bytes: Bytes<'_>) -> Result<(Content, Bytes<'_>), Counter> {
    let (header, rest) = bytes.header::<20>()?;
    Ok((cooked_protocol([header[0], header[1]])?, rest))
}

fn cooked_protocol(protocol: [u8; 2]) -> Result<Content, Counter> {
    match u16::from_be_bytes(protocol) {
        // 802.2 LLC; below the EtherTypes are the kernel's own numbers, not lengths.
        0x0004 => Ok(Content::LLC),
        0..=0x05ff => Err(Counter::NotIp),
        protocol => Ok(Content::of(protocol)),
    }
}

/// Netfilter log: attributes of type, length and value, one of which is the packet.
fn netfilter_log(bytes: Bytes<'_>) -> Result<(Content, Bytes<'_>), Counter> {
    const PAYLOAD: u16 = 9;
    let (header, mut rest) = bytes.header::<4>()?;
    let content = match header[0] {
        2 => Content::IPV4,
        10 => Content::IPV6,
        _ => return Err(Counter::NotIp),
    };
    loop {
        let (attribute, value) = rest.header::<4>()?;
        let [length, kind] = [[attribute[0], attribute[1]], [attribute[2], attribute[3]]];
        // The capturing machine's byte order, which the file does not tell: kinds are small numbers.
        let in_order = |bytes| {
            if u16::from_le_bytes(kind) > 0xff { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
        };
        let (length, kind) = (usize::from(in_order(length)), in_order(kind) & 0x7fff);
        let value_length = length.checked_sub(4).ok_or(Counter::MalformedPackets)?;
        if kind == PAYLOAD {
            return Ok((content, value.limit(value_length)));
        }
        rest = value.skip(value_length.next_multiple_of(4))?;
    }
}

/// The registry's name of a link type, without `LINKTYPE_`; the number when it is not in our table.
pub fn link_name(link: LinkType) -> Cow<'static, str> {
    match NAMES.binary_search_by_key(&link.0, |&(number, _)| number).ok().and_then(|place| NAMES.get(place)) {
        Some(&(_, name)) => Cow::Borrowed(name),
        None => Cow::Owned(link.0.to_string()),
    }
}

/// Names of the link types that one meets, ascending by number.
const NAMES: &[(u16, &str)] = &[
    (0, "NULL"),
    (1, "ETHERNET"),
    (3, "AX25"),
    (6, "IEEE802_5"),
    (7, "ARCNET_BSD"),
    (8, "SLIP"),
    (9, "PPP"),
    (10, "FDDI"),
    (12, "RAW"),
    (14, "RAW"),
    (50, "PPP_HDLC"),
    (51, "PPP_ETHER"),
    (99, "SYMANTEC_FIREWALL"),
    (100, "ATM_RFC1483"),
    (101, "RAW"),
    (104, "C_HDLC"),
    (105, "IEEE802_11"),
    (107, "FRELAY"),
    (108, "LOOP"),
    (109, "ENC"),
    (113, "LINUX_SLL"),
    (114, "LTALK"),
    (117, "PFLOG"),
    (119, "IEEE802_11_PRISM"),
    (122, "IP_OVER_FC"),
    (123, "SUNATM"),
    (127, "IEEE802_11_RADIOTAP"),
    (129, "ARCNET_LINUX"),
    (138, "APPLE_IP_OVER_IEEE1394"),
    (139, "MTP2_WITH_PHDR"),
    (140, "MTP2"),
    (141, "MTP3"),
    (142, "SCCP"),
    (143, "DOCSIS"),
    (144, "LINUX_IRDA"),
    (147, "USER0"),
    (148, "USER1"),
    (149, "USER2"),
    (150, "USER3"),
    (151, "USER4"),
    (162, "USER15"),
    (163, "IEEE802_11_AVS"),
    (165, "BACNET_MS_TP"),
    (166, "PPP_PPPD"),
    (169, "GPRS_LLC"),
    (177, "LINUX_LAPD"),
    (182, "MFR"),
    (187, "BLUETOOTH_HCI_H4"),
    (189, "USB_LINUX"),
    (192, "PPI"),
    (195, "IEEE802_15_4_WITHFCS"),
    (197, "ERF"),
    (201, "BLUETOOTH_HCI_H4_WITH_PHDR"),
    (203, "LAPD"),
    (204, "PPP_WITH_DIR"),
    (205, "C_HDLC_WITH_DIR"),
    (206, "FRELAY_WITH_DIR"),
    (209, "IPMB_LINUX"),
    (215, "IEEE802_15_4_NONASK_PHY"),
    (220, "USB_LINUX_MMAPPED"),
    (224, "FC_2"),
    (225, "FC_2_WITH_FRAME_DELIMS"),
    (226, "IPNET"),
    (227, "CAN_SOCKETCAN"),
    (228, "IPV4"),
    (229, "IPV6"),
    (230, "IEEE802_15_4_NOFCS"),
    (231, "DBUS"),
    (235, "DVB_CI"),
    (236, "MUX27010"),
    (239, "NFLOG"),
    (240, "NETANALYZER"),
    (241, "NETANALYZER_TRANSPARENT"),
    (242, "IPOIB"),
    (243, "MPEG_2_TS"),
    (245, "NFC_LLCP"),
    (247, "INFINIBAND"),
    (248, "SCTP"),
    (249, "USBPCAP"),
    (251, "BLUETOOTH_LE_LL"),
    (252, "WIRESHARK_UPPER_PDU"),
    (253, "NETLINK"),
    (254, "BLUETOOTH_LINUX_MONITOR"),
    (258, "PKTAP"),
    (259, "EPON"),
    (264, "ISO_14443"),
    (266, "USB_DARWIN"),
    (271, "VSOCK"),
    (274, "ETHERNET_MPACKET"),
    (276, "LINUX_SLL2"),
    (279, "EBHSCR"),
    (280, "VPP_DISPATCH"),
    (283, "IEEE802_15_4_TAP"),
    (288, "USB_2_0"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ascending() {
        assert!(NAMES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(link_name(LinkType(105)), "IEEE802_11");
        assert_eq!(link_name(LinkType(60_000)), "60000");
    }

    #[test]
    fn loopback_families_in_both_byte_orders() {
        for (family, content) in [(2_u32, Content::IPV4), (24, Content::IPV6), (28, Content::IPV6), (30, Content::IPV6)]
        {
            assert_eq!(open(LinkType(0), Bytes::whole(&family.to_le_bytes())).map(|(found, _)| found), Ok(content));
            assert_eq!(open(LinkType(0), Bytes::whole(&family.to_be_bytes())).map(|(found, _)| found), Ok(content));
            assert_eq!(open(LinkType(108), Bytes::whole(&family.to_be_bytes())).map(|(found, _)| found), Ok(content));
        }
        assert!(open(LinkType(0), Bytes::whole(&[0, 0, 0, 1])).is_err());
    }

    #[test]
    fn ppp_in_its_spellings() {
        for start in
            [&[0xff, 0x03, 0x00, 0x21, 0x45][..], &[0x00, 0x21, 0x45], &[0x21, 0x45], &[0xff, 0x03, 0x21, 0x45]]
        {
            let (content, rest) = ppp(Bytes::whole(start)).expect("PPP");
            assert_eq!((content, rest.captured), (Content::IPV4, &[0x45][..]));
        }
        assert!(matches!(ppp(Bytes::whole(&[0x0f, 0, 0x08, 0])), Ok((Content::IPV4, _))));
        assert!(matches!(ppp(Bytes::whole(&[0xc0, 0x21, 1])), Err(Counter::NotIp)));
    }

    #[test]
    fn netfilter_log_in_both_byte_orders() {
        let little = [2, 0, 0, 0, 5, 0, 10, 0, b'x', 0, 0, 0, 6, 0, 9, 0, 0x45, 0x00];
        let big = [2, 0, 0, 0, 0, 5, 0, 10, b'x', 0, 0, 0, 0, 6, 0, 9, 0x45, 0x00];
        for frame in [&little, &big] {
            let (content, rest) = open(LinkType(239), Bytes::whole(frame)).expect("a packet");
            assert_eq!((content, rest.captured), (Content::IPV4, &[0x45, 0x00][..]));
        }
        assert!(open(LinkType(239), Bytes::whole(&[2, 0, 0, 0, 0, 0, 0, 0])).is_err());
    }
}
