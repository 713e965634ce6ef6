//! Tunnels behind an IP header: GRE and ERSPAN, and those that run over UDP.
//!
//! A tunnel over UDP is guessed by its port and then checked against its header. A guess that does not hold is no
//! error: the packet just carries no TCP, as most of UDP.

use std::net::IpAddr;

use super::bytes::Bytes;
use super::link::{Content, ether_type};
use super::{Layer, Settings};
use crate::stats::Counter;

/// What a tunnel holds.
pub(super) struct Inside<'d> {
    /// The layer it is.
    pub(super) layer: Layer,
    /// What its payload begins with.
    pub(super) content: Content,
    /// The payload.
    pub(super) bytes: Bytes<'d>,
}

type Opened<'d> = Result<Inside<'d>, Counter>;

/// Ports that tunnels have by their standards, or by custom.
mod port {
    pub(super) const GTP_USER: u16 = 2152;
    pub(super) const TEREDO: u16 = 3544;
    pub(super) const VXLAN: u16 = 4789;
    pub(super) const VXLAN_GPE: u16 = 4790;
    pub(super) const AYIYA: u16 = 5072;
    pub(super) const GENEVE: u16 = 6081;
    pub(super) const MPLS: u16 = 6635;
    /// What Linux used before VXLAN had a number.
    pub(super) const VXLAN_LINUX: u16 = 8472;
}

/// Opens a UDP datagram that is a tunnel's; [`Counter::NotTcp`] when it is none.
///
/// VXLAN and its kin are known by the destination port, their source port being a hash of what is inside. GTP-U, AYIYA
/// and Teredo may have theirs on either end.
pub(super) fn udp<'d>(settings: &Settings, outer: [IpAddr; 2], bytes: Bytes<'d>) -> Opened<'d> {
    let (header, rest) = bytes.header::<8>()?;
    let source = u16::from_be_bytes([header[0], header[1]]);
    let destination = u16::from_be_bytes([header[2], header[3]]);
    let rest = match usize::from(u16::from_be_bytes([header[4], header[5]])) {
        // Offload, as with IP.
        0 => rest,
        length => rest.limit(length.checked_sub(8).ok_or(Counter::NotTcp)?),
    };
    match destination {
        port::VXLAN | port::VXLAN_LINUX => return vxlan(outer, rest),
        port::VXLAN_GPE => return vxlan_gpe(outer, rest),
        port::GENEVE => return geneve(outer, rest),
        port::MPLS => return Ok(plain(outer, Content::of(ether_type::MPLS), rest)),
        other if settings.vxlan_ports.contains(&other) => return vxlan(outer, rest),
        _ => {}
    }
    let either = |port| source == port || destination == port;
    if either(port::GTP_USER) {
        gtp(outer, rest)
    } else if either(port::AYIYA) {
        ayiya(outer, rest)
    } else if either(port::TEREDO) {
        teredo(outer, rest)
    } else {
        Err(Counter::NotTcp)
    }
}

/// A tunnel that has no identifier of its own.
pub(super) fn plain(outer: [IpAddr; 2], content: Content, bytes: Bytes<'_>) -> Inside<'_> {
    Inside { layer: Layer::Ip { outer }, content, bytes }
}

/// EtherIP (RFC 3378): version 3 in the upper four bits, the rest zero.
pub(super) fn ether_ip(outer: [IpAddr; 2], bytes: Bytes<'_>) -> Opened<'_> {
    match bytes.header::<2>()? {
        ([0x30, 0x00], rest) => Ok(plain(outer, Content::ETHERNET, rest)),
        _ => Err(Counter::NotTcp),
    }
}

/// GRE: version 0 (RFC 2784, RFC 2890) and the version 1 of PPTP (RFC 2637), and ERSPAN inside it.
pub(super) fn gre(outer: [IpAddr; 2], bytes: Bytes<'_>) -> Opened<'_> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGMENT: u16 = 0x0080;
    const VERSION: u16 = 0x0007;
    let (header, mut rest) = bytes.header::<4>()?;
    let flags = u16::from_be_bytes([header[0], header[1]]);
    let protocol = u16::from_be_bytes([header[2], header[3]]);
    let key;
    match flags & VERSION {
        0 => {
            // Source routing went out of use with RFC 1701.
            if flags & ROUTING != 0 {
                return Err(Counter::NotTcp);
            }
            if flags & CHECKSUM != 0 {
                rest = rest.skip(4)?;
            }
            (key, rest) = optional_u32(flags & KEY != 0, rest)?;
            (_, rest) = optional_u32(flags & SEQUENCE != 0, rest)?;
        }
        1 if protocol == ether_type::PPP => {
            let (call, behind) = rest.header::<4>()?;
            let length = usize::from(u16::from_be_bytes([call[0], call[1]]));
            key = Some(u32::from(u16::from_be_bytes([call[2], call[3]])));
            (_, rest) = optional_u32(flags & SEQUENCE != 0, behind)?;
            (_, rest) = optional_u32(flags & ACKNOWLEDGMENT != 0, rest)?;
            rest = rest.limit(length);
        }
        _ => return Err(Counter::NotTcp),
    }
    let inside = |content, bytes| Ok(Inside { layer: Layer::Gre { outer, key }, content, bytes });
    match protocol {
        0x88be if flags & SEQUENCE == 0 => {
            Ok(Inside { layer: Layer::Erspan { outer, session: None }, content: Content::ETHERNET, bytes: rest })
        }
        0x88be | 0x22eb => erspan(outer, rest),
        // WCCP: version 2 puts four bytes of its own before the packet, version 1 does not.
        0x883e => match rest.version() {
            Some(4) => inside(Content::IPV4, rest),
            _ => inside(Content::IPV4, rest.skip(4)?),
        },
        ether_type::PPP => inside(Content::PPP, rest),
        // Keep-alives have protocol 0; lengths, as in Ethernet, there are none.
        0..=0x05ff => Err(Counter::NotTcp),
        protocol => inside(Content::of(protocol), rest),
    }
}

/// The four bytes of an optional field, when it is there.
fn optional_u32(present: bool, bytes: Bytes<'_>) -> Result<(Option<u32>, Bytes<'_>), Counter> {
    if !present {
        return Ok((None, bytes));
    }
    let (field, rest) = bytes.header::<4>()?;
    Ok((Some(u32::from_be_bytes(*field)), rest))
}

/// ERSPAN types II and III (draft-foschiano-erspan), told apart by their version: some send type III under type II's
/// protocol number.
fn erspan(outer: [IpAddr; 2], bytes: Bytes<'_>) -> Opened<'_> {
    let (header, rest) = bytes.header::<8>()?;
    let layer = Layer::Erspan { outer, session: Some(u16::from_be_bytes([header[2], header[3]]) & 0x03ff) };
    match header[0] >> 4 {
        1 => Ok(Inside { layer, content: Content::ETHERNET, bytes: rest }),
        2 => {
            let (more, rest) = rest.header::<4>()?;
            let content = match (more[2] >> 2) & 0x1f {
                0 => Content::ETHERNET,
                2 => Content::IP,
                _ => return Err(Counter::NotTcp),
            };
            let bytes = if more[3] & 1 == 1 { rest.skip(8)? } else { rest };
            Ok(Inside { layer, content, bytes })
        }
        _ => Err(Counter::NotTcp),
    }
}

/// VXLAN (RFC 7348): the I flag must be set.
fn vxlan(outer: [IpAddr; 2], bytes: Bytes<'_>) -> Opened<'_> {
    let (header, bytes) = bytes.header::<8>()?;
    if header[0] & 0x08 == 0 {
        return Err(Counter::NotTcp);
    }
    Ok(Inside {
        layer: Layer::Vxlan { outer, vni: u24(header[4], header[5], header[6]) },
        content: Content::ETHERNET,
        bytes,
    })
}

/// VXLAN with the generic protocol extension (draft-ietf-nvo3-vxlan-gpe): the P flag announces a next protocol.
fn vxlan_gpe(outer: [IpAddr; 2], bytes: Bytes<'_>) -> Opened<'_> {
    let (header, _) = bytes.header::<8>()?;
    let mut inside = vxlan(outer, bytes)?;
    if header[0] & 0x04 != 0 {
        inside.content = match header[3] {
            1 => Content::IPV4,
            2 => Content::IPV6,
            3 => Content::ETHERNET,
            5 => Content::of(ether_type::MPLS),
            _ => return Err(Counter::NotTcp),
        };
    }
    Ok(inside)
}

/// GENEVE (RFC 8926), over its options.
fn geneve(outer: [IpAddr; 2], bytes: Bytes<'_>) -> Opened<'_> {
    let (header, rest) = bytes.header::<8>()?;
    let (version, options) = (header[0] >> 6, usize::from(header[0] & 0x3f) * 4);
    let protocol = u16::from_be_bytes([header[2], header[3]]);
    if version != 0 || protocol < 0x0600 {
        return Err(Counter::NotTcp);
    }
    Ok(Inside {
        layer: Layer::Geneve { outer, vni: u24(header[4], header[5], header[6]) },
        content: Content::of(protocol),
        bytes: rest.skip(options)?,
    })
}

/// GTP-U version 1 (3GPP TS 29.281): a G-PDU, over its extension headers.
fn gtp(outer: [IpAddr; 2], bytes: Bytes<'_>) -> Opened<'_> {
    const EXTENSION: u8 = 0x04;
    const OPTIONAL: u8 = 0x07;
    const USER_DATA: u8 = 0xff;
    let (header, rest) = bytes.header::<8>()?;
    // Version 1, protocol type GTP (not GTP').
    if header[0] & 0xf0 != 0x30 || header[1] != USER_DATA {
        return Err(Counter::NotTcp);
    }
    let teid = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let mut rest = rest.limit(usize::from(u16::from_be_bytes([header[2], header[3]])));
    if header[0] & OPTIONAL != 0 {
        // Sequence number, N-PDU number, type of the first extension header.
        let (optional, behind) = rest.header::<4>()?;
        rest = behind;
        let mut next = if header[0] & EXTENSION != 0 { optional[3] } else { 0 };
        while next != 0 {
            // The length counts units of four bytes, itself and the next header's type included.
            let length = usize::from(*rest.captured.first().ok_or(Counter::MalformedPackets)?) * 4;
            let last = length.checked_sub(1).ok_or(Counter::MalformedPackets)?;
            next = *rest.captured.get(last).ok_or(Counter::MalformedPackets)?;
            rest = rest.skip(length)?;
        }
    }
    Ok(Inside { layer: Layer::Gtp { outer, teid }, content: Content::IP, bytes: rest })
}

/// AYIYA (draft-massar-v6ops-ayiya): identity and signature have lengths of their own.
fn ayiya(outer: [IpAddr; 2], bytes: Bytes<'_>) -> Opened<'_> {
    const FORWARD: u8 = 1;
    let (header, rest) = bytes.header::<8>()?;
    let identity = 1_usize << (header[0] >> 4);
    let signature = usize::from(header[1] >> 4) * 4;
    if header[2] & 0x0f != FORWARD {
        return Err(Counter::NotTcp);
    }
    let content = match header[3] {
        super::ip::number::IPV4 => Content::IPV4,
        super::ip::number::IPV6 => Content::IPV6,
        _ => return Err(Counter::NotTcp),
    };
    Ok(plain(outer, content, rest.skip(identity + signature)?))
}

/// Teredo (RFC 4380, section 5.1.1): authentication and origin may stand before the packet.
fn teredo(outer: [IpAddr; 2], bytes: Bytes<'_>) -> Opened<'_> {
    let mut rest = bytes;
    if rest.u16_at(0) == Some(0x0001) {
        let (header, behind) = rest.header::<4>()?;
        // Then nonce (8) and confirmation (1).
        rest = behind.skip(usize::from(header[2]) + usize::from(header[3]) + 9)?;
    }
    if rest.u16_at(0) == Some(0x0000) {
        rest = rest.skip(8)?;
    }
    Ok(plain(outer, Content::IPV6, rest))
}

fn u24(high: u8, middle: u8, low: u8) -> u32 {
    u32::from_be_bytes([0, high, middle, low])
}
