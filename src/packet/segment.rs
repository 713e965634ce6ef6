//! What the packet stage hands to reassembly.

use std::net::SocketAddr;

use super::Encapsulation;
use crate::time::Timestamp;

/// The TCP flags that matter here, as on the wire (RFC 9293, section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Flags = Flags(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Flags = Flags(0x02);
    /// Reset the connection.
    pub const RST: Flags = Flags(0x04);
    /// Push.
    pub const PSH: Flags = Flags(0x08);
    /// The acknowledgment number is significant.
    pub const ACK: Flags = Flags(0x10);
    /// The urgent pointer is significant.
    pub const URG: Flags = Flags(0x20);

    /// True when all of `other` are set.
    #[inline]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// One TCP segment, as captured.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// When it was captured.
    pub time: Timestamp,
    /// Who sent it, by the innermost IP header.
    pub source: SocketAddr,
    /// Whom it is for.
    pub destination: SocketAddr,
    /// What was around the innermost IP header.
    pub encapsulation: &'a Encapsulation,
    /// Sequence number of the first payload byte (of the SYN itself when that is set).
    pub sequence: u32,
    /// Acknowledgment number; meaningful with [`Flags::ACK`].
    pub acknowledgment: u32,
    /// Control bits.
    pub flags: Flags,
    /// Urgent pointer; meaningful with [`Flags::URG`].
    pub urgent: u16,
    /// The payload as far as it was captured.
    pub payload: &'a [u8],
    /// Payload bytes that were on the wire behind `payload` and were not captured (snap length).
    pub missing: u32,
    /// The same in all copies of this packet, wherever it was mirrored, and in no other: what [`Duplicates`] goes by.
    ///
    /// [`Duplicates`]: super::Duplicates
    pub fingerprint: u64,
}
