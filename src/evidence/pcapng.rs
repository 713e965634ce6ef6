//! Blocks of pcapng (draft-ietf-opsawg-pcapng, sections 4.1 to 4.4), in little-endian order and with nanoseconds.

use crate::source::LinkType;
use crate::time::Timestamp;

/// Block types.
mod block {
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE: u32 = 1;
    pub(super) const STATISTICS: u32 = 5;
    pub(super) const PACKET: u32 = 6;
}

/// Option codes.
mod option {
    pub(super) const END: u16 = 0;
    pub(super) const COMMENT: u16 = 1;
    pub(super) const APPLICATION: u16 = 4;
    pub(super) const RESOLUTION: u16 = 9;
}

const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// Bytes of the block of an interface.
pub(super) const INTERFACE_LENGTH: usize = 32;

/// Bytes of the block of a packet of which `captured` bytes are there.
pub(super) fn packet_length(captured: usize) -> usize {
    32 + captured.next_multiple_of(4)
}

/// The beginning of a file.
pub(super) fn section(out: &mut Vec<u8>, comment: &str) {
    block(out, block::SECTION, |out| {
        out.extend_from_slice(&BYTE_ORDER.to_le_bytes());
        out.extend_from_slice(&[1, 0, 0, 0]); // version 1.0
        out.extend_from_slice(&u64::MAX.to_le_bytes()); // how long the section is, nobody knows yet
        option(out, option::COMMENT, comment.as_bytes());
        option(out, option::APPLICATION, concat!("apitap ", env!("CARGO_PKG_VERSION")).as_bytes());
        option(out, option::END, &[]);
    });
}

/// An interface, which stands for a link type: its packets were captured as far as they are there.
pub(super) fn interface(out: &mut Vec<u8>, link: LinkType) {
    block(out, block::INTERFACE, |out| {
        out.extend_from_slice(&u32::from(link.0).to_le_bytes());
        out.extend_from_slice(&[0; 4]); // no limit
        option(out, option::RESOLUTION, &[9]);
        option(out, option::END, &[]);
    });
}

/// A packet.
pub(super) fn packet(out: &mut Vec<u8>, interface: u32, time: Timestamp, original_length: u32, data: &[u8]) {
    block(out, block::PACKET, |out| {
        out.extend_from_slice(&interface.to_le_bytes());
        moment(out, time);
        out.extend_from_slice(&(data.len() as u32).to_le_bytes());
        out.extend_from_slice(&original_length.to_le_bytes());
        padded(out, data);
    });
}

/// A word about the first interface, behind all packets.
pub(super) fn remark(out: &mut Vec<u8>, time: Timestamp, comment: &str) {
    block(out, block::STATISTICS, |out| {
        out.extend_from_slice(&0u32.to_le_bytes());
        moment(out, time);
        option(out, option::COMMENT, comment.as_bytes());
        option(out, option::END, &[]);
    });
}

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = ((out.len() - start + 4) as u32).to_le_bytes();
    out.extend_from_slice(&length);
    out[start + 4..start + 8].copy_from_slice(&length);
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    padded(out, value);
}

fn moment(out: &mut Vec<u8>, time: Timestamp) {
    let nanos = time.nanos() as u64;
    out.extend_from_slice(&((nanos >> 32) as u32).to_le_bytes());
    out.extend_from_slice(&(nanos as u32).to_le_bytes());
}

fn padded(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_said() {
        let mut out = Vec::new();
        interface(&mut out, LinkType(1));
        assert_eq!(out.len(), INTERFACE_LENGTH);
        for length in [0, 1, 3, 4, 61] {
            let mut out = Vec::new();
            packet(&mut out, 0, Timestamp::ZERO, 99, &vec![7; length]);
            assert_eq!(out.len(), packet_length(length));
        }
    }
}
