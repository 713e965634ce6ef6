//! The TCP header (RFC 9293), read laxly where the snap length cut it.

use std::net::SocketAddr;

use etherparse::TcpHeaderSlice;

use super::Flags;
use super::bytes::Bytes;
use super::ip::{Addresses, Packet};
use crate::stats::Counter;

/// A TCP segment of the innermost IP packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tcp<'d> {
    pub(super) addresses: Addresses,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    /// The IPv4 identification.
    pub(super) id: u32,
    /// The header as captured, options included.
    pub(super) header: &'d [u8],
    pub(super) sequence: u32,
    pub(super) acknowledgment: u32,
    pub(super) flags: Flags,
    pub(super) window: u16,
    pub(super) urgent: u16,
    pub(super) payload: Bytes<'d>,
}

impl Tcp<'_> {
    /// Address and port of the sender.
    #[inline]
    pub(super) fn source(&self) -> SocketAddr {
        SocketAddr::new(self.addresses.source(), self.source_port)
    }

    /// Address and port of the receiver.
    #[inline]
    pub(super) fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.addresses.destination(), self.destination_port)
    }
}

/// Bytes of a header without options.
const FIXED: usize = 20;

/// Reads the segment in an IP packet.
#[inline]
pub(super) fn read<'d>(packet: &Packet<'d>) -> Result<Tcp<'d>, Counter> {
    let bytes = packet.payload;
    if let Ok(header) = TcpHeaderSlice::from_slice(bytes.captured) {
        return Ok(Tcp {
            addresses: packet.addresses,
            source_port: header.source_port(),
            destination_port: header.destination_port(),
            id: packet.id,
            sequence: header.sequence_number(),
            acknowledgment: header.acknowledgment_number(),
            flags: flags(bytes.captured),
            window: header.window_size(),
            urgent: header.urgent_pointer(),
            payload: bytes.skip(header.slice().len())?,
            header: bytes.captured.get(..header.slice().len()).unwrap_or(bytes.captured),
        });
    }
    cut_in_the_options(packet)
}

/// All that matters of a header whose options the snap length cut is there; all of its payload is missing.
fn cut_in_the_options<'d>(packet: &Packet<'d>) -> Result<Tcp<'d>, Counter> {
    let bytes = packet.payload;
    let (header, _) = bytes.header::<FIXED>()?;
    let length = usize::from(header[12] >> 4) * 4;
    if length < FIXED || length <= bytes.captured.len() || length > bytes.wire_length() {
        return Err(Counter::MalformedPackets);
    }
    let word = |high: usize| {
        bytes
            .captured
            .get(high..)
            .and_then(|bytes| bytes.first_chunk::<4>())
            .map_or(0, |word| u32::from_be_bytes(*word))
    };
    Ok(Tcp {
        addresses: packet.addresses,
        source_port: u16::from_be_bytes([header[0], header[1]]),
        destination_port: u16::from_be_bytes([header[2], header[3]]),
        id: packet.id,
        header: bytes.captured,
        sequence: word(4),
        acknowledgment: word(8),
        flags: flags(bytes.captured),
        window: u16::from_be_bytes([header[14], header[15]]),
        urgent: u16::from_be_bytes([header[18], header[19]]),
        payload: Bytes { captured: &[], missing: bytes.wire_length() - length },
    })
}

/// The six control bits of RFC 793; those of explicit congestion notification do not concern reassembly.
#[inline]
fn flags(header: &[u8]) -> Flags {
    Flags(header.get(13).copied().unwrap_or(0) & 0x3f)
}
