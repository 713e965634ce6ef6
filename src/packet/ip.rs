//! IPv4 (RFC 791) and IPv6 with its extension headers (RFC 8200).
//!
//! Headers are read through etherparse's slices; only the walk along the IPv6 extension headers is our own, because
//! the place of the fragment header and the rarer kinds of header matter here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{IpAuthHeaderSlice, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice};

use super::bytes::Bytes;
use super::checksum;
use crate::stats::Counter;

/// Protocol numbers (IANA) that are looked into.
pub(super) mod number {
    pub(crate) const IPV4: u8 = 4;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const IPV6: u8 = 41;
    pub(crate) const GRE: u8 = 47;
    pub(crate) const ETHER_IP: u8 = 97;
    pub(crate) const MPLS: u8 = 137;
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION_OPTIONS: u8 = 60;
    pub(super) const MOBILITY: u8 = 135;
    pub(super) const HOST_IDENTITY: u8 = 139;
    pub(super) const SHIM6: u8 = 140;
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Identification: 16 bits of IPv4, 32 of IPv6.
    pub(super) id: u32,
    /// Of the payload's first byte in the whole packet's payload.
    pub(super) offset: u32,
    /// False for the last fragment.
    pub(super) more: bool,
}

/// Source and destination address of one packet, as numbers.
///
/// Copying an [`IpAddr`] from one structure to the next moves a byte and an array at odd addresses, which stalls the
/// processor's store buffer for longer than the rest of the decoding takes; whole words do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Addresses {
    /// 4 or 6; a word, so that no compiler puts an enum's tag beside it and copies the rest byte by byte.
    pub(super) version: u64,
    pub(super) source: u128,
    pub(super) destination: u128,
}

impl Addresses {
    /// True for IPv4, whose addresses are the lowest 32 bits.
    #[inline]
    pub(super) fn is_ipv4(&self) -> bool {
        self.version == 4
    }

    /// The source.
    #[inline]
    pub(super) fn source(&self) -> IpAddr {
        self.address(self.source)
    }

    /// The destination.
    #[inline]
    pub(super) fn destination(&self) -> IpAddr {
        self.address(self.destination)
    }

    /// Source and destination.
    pub(super) fn pair(&self) -> [IpAddr; 2] {
        [self.source(), self.destination()]
    }

    #[inline]
    fn address(&self, bits: u128) -> IpAddr {
        if self.is_ipv4() { Ipv4Addr::from_bits(bits as u32).into() } else { Ipv6Addr::from_bits(bits).into() }
    }
}

/// One IP packet, or a fragment of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'d> {
    /// Whence and where; with a routing header the last destination.
    pub(super) addresses: Addresses,
    /// The IPv4 identification; 0 with IPv6, which has none outside of fragments.
    pub(super) id: u32,
    /// What the payload is, by protocol number.
    pub(super) number: u8,
    /// Behind all headers, without what the link layer padded.
    pub(super) payload: Bytes<'d>,
    /// Set when this is a fragment.
    pub(super) fragment: Option<Place>,
}

/// Reads an IPv4 header, and the authentication header behind it.
#[inline]
pub(super) fn version_4(bytes: Bytes<'_>, verify: bool) -> Result<Packet<'_>, Counter> {
    let header = Ipv4HeaderSlice::from_slice(bytes.captured).map_err(|_| Counter::MalformedPackets)?;
    let header_length = header.slice().len();
    let bytes = match usize::from(header.total_len()) {
        // Segmentation offload: the card was to fill it in, for each of the packets it makes of this one.
        0 => bytes,
        length if length < header_length => return Err(Counter::MalformedPackets),
        length => bytes.limit(length),
    };
    if verify && !checksum::ipv4_header(header.slice()) {
        return Err(Counter::BadChecksum);
    }
    let fragment = header.is_fragmenting_payload().then(|| Place {
        id: u32::from(header.identification()),
        offset: u32::from(header.fragments_offset().value()) * 8,
        more: header.more_fragments(),
    });
    let mut packet = Packet {
        addresses: Addresses {
            version: 4,
            source: u128::from(u32::from_be_bytes(header.source())),
            destination: u128::from(u32::from_be_bytes(header.destination())),
        },
        id: u32::from(header.identification()),
        number: header.protocol().0,
        payload: bytes.skip(header_length)?,
        fragment,
    };
    if packet.number == number::AUTHENTICATION && fragment.is_none() {
        authentication(&mut packet)?;
    }
    Ok(packet)
}

/// Reads an IPv6 header and the extension headers behind it, up to a fragment header that means it.
pub(super) fn version_6(bytes: Bytes<'_>) -> Result<Packet<'_>, Counter> {
    let header = Ipv6HeaderSlice::from_slice(bytes.captured).map_err(|_| Counter::MalformedPackets)?;
    let payload = bytes.skip(header.slice().len())?;
    let mut packet = Packet {
        addresses: Addresses {
            version: 6,
            source: u128::from_be_bytes(header.source()),
            destination: u128::from_be_bytes(header.destination()),
        },
        id: 0,
        number: header.next_header().0,
        payload: match usize::from(header.payload_length()) {
            // Segmentation offload again, or a jumbogram (RFC 2675), which is all there is either way.
            0 => payload,
            length => payload.limit(length),
        },
        fragment: None,
    };
    extensions(&mut packet)?;
    Ok(packet)
}

/// Walks along extension headers, of a packet as it came or of one put together from fragments.
///
/// Each header takes at least eight bytes off the payload, so the walk ends.
pub(super) fn extensions(packet: &mut Packet<'_>) -> Result<(), Counter> {
    loop {
        match packet.number {
            number::ROUTING => {
                let header = raw_extension(packet)?;
                if let Some(last) = last_hop(header) {
                    packet.addresses.destination = last;
                }
            }
            number::HOP_BY_HOP
            | number::DESTINATION_OPTIONS
            | number::MOBILITY
            | number::HOST_IDENTITY
            | number::SHIM6 => {
                raw_extension(packet)?;
            }
            number::AUTHENTICATION => authentication(packet)?,
            number::FRAGMENT => {
                let header = Ipv6FragmentHeaderSlice::from_slice(packet.payload.captured)
                    .map_err(|_| Counter::MalformedPackets)?;
                packet.number = header.next_header().0;
                packet.payload = packet.payload.skip(header.slice().len())?;
                if header.is_fragmenting_payload() {
                    packet.fragment = Some(Place {
                        id: header.identification(),
                        offset: u32::from(header.fragment_offset().value()) * 8,
                        more: header.more_fragments(),
                    });
                    return Ok(());
                }
            }
            _ => return Ok(()),
        }
    }
}

/// Takes off a header of the common form: next header, length in units of eight bytes.
fn raw_extension<'d>(packet: &mut Packet<'d>) -> Result<&'d [u8], Counter> {
    let header = Ipv6RawExtHeaderSlice::from_slice(packet.payload.captured).map_err(|_| Counter::MalformedPackets)?;
    let (start, _) = packet.payload.captured.split_at_checked(header.slice().len()).ok_or(Counter::MalformedPackets)?;
    packet.number = header.next_header().0;
    packet.payload = packet.payload.skip(start.len())?;
    Ok(start)
}

/// Takes off an authentication header (RFC 4302), whose length counts in units of four bytes.
fn authentication(packet: &mut Packet<'_>) -> Result<(), Counter> {
    let header = IpAuthHeaderSlice::from_slice(packet.payload.captured).map_err(|_| Counter::MalformedPackets)?;
    packet.number = header.next_header().0;
    packet.payload = packet.payload.skip(header.slice().len())?;
    Ok(())
}

/// The final destination in a routing header that has segments left: types 0 (RFC 2460), 2 (RFC 6275) and 4 (segment
/// routing, RFC 8754).
fn last_hop(header: &[u8]) -> Option<u128> {
    let (kind, left) = (*header.get(2)?, *header.get(3)?);
    if left == 0 {
        return None;
    }
    let address = match kind {
        0 => header.get(header.len().checked_sub(16).filter(|&start| start >= 8)?..)?,
        // Segment routing lists its segments backwards.
        2 | 4 => header.get(8..)?,
        _ => return None,
    };
    Some(u128::from_be_bytes(*address.first_chunk::<16>()?))
}
