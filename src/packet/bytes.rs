//! Captured bytes, and how many more there were.

use crate::stats::Counter;

/// A part of a packet from some header on: the bytes captured, and how many more followed on the wire.
///
/// Every way to take something off it checks the length, so that no header can reach beyond its packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'d> {
    /// What was captured.
    pub(super) captured: &'d [u8],
    /// Bytes behind these on the wire that the snap length cut off.
    pub(super) missing: usize,
}

impl<'d> Bytes<'d> {
    /// All of a packet that was captured whole.
    #[cfg(test)]
    pub(super) fn whole(captured: &'d [u8]) -> Self {
        Bytes { captured, missing: 0 }
    }

    /// Length on the wire.
    #[inline]
    pub(super) fn wire_length(self) -> usize {
        self.captured.len().saturating_add(self.missing)
    }

    /// A header of `N` bytes and what is behind it.
    #[inline]
    pub(super) fn header<const N: usize>(self) -> Result<(&'d [u8; N], Bytes<'d>), Counter> {
        match self.captured.split_first_chunk::<N>() {
            Some((header, captured)) => Ok((header, Bytes { captured, missing: self.missing })),
            None => Err(Counter::MalformedPackets),
        }
    }

    /// What is behind a header of `length` bytes, all of which must have been captured.
    #[inline]
    pub(super) fn skip(self, length: usize) -> Result<Bytes<'d>, Counter> {
        match self.captured.get(length..) {
            Some(captured) => Ok(Bytes { captured, missing: self.missing }),
            None => Err(Counter::MalformedPackets),
        }
    }

    /// The first `length` bytes on the wire: cuts off padding. More than there is leaves it as it is.
    #[inline]
    pub(super) fn limit(self, length: usize) -> Bytes<'d> {
        match self.captured.get(..length) {
            Some(captured) => Bytes { captured, missing: 0 },
            None => Bytes { captured: self.captured, missing: self.missing.min(length - self.captured.len()) },
        }
    }

    /// The two bytes at `offset`, in network order.
    #[inline]
    pub(super) fn u16_at(self, offset: usize) -> Option<u16> {
        self.captured.get(offset..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// The upper half of the first byte: the version, if this is IP.
    #[inline]
    pub(super) fn version(self) -> Option<u8> {
        self.captured.first().map(|byte| byte >> 4)
    }
}
