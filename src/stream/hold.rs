//! Data behind a hole, held until the hole is filled or given up.

use std::collections::BTreeMap;

use crate::time::Timestamp;

/// Counted for each piece beside its bytes: the map's and the allocator's share.
pub(super) const PIECE_OVERHEAD: usize = 64;

/// One held segment, or what is left of it.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Box<[u8]>,
    /// Bytes behind `bytes` that the capture cut off.
    pub(super) missing: u32,
    pub(super) acknowledged: Option<u64>,
    pub(super) time: Timestamp,
    pub(super) conflicting: bool,
    pub(super) urgent: bool,
}

impl Piece {
    fn span(&self) -> u64 {
        self.bytes.len() as u64 + u64::from(self.missing)
    }

    fn cost(&self) -> usize {
        self.bytes.len() + PIECE_OVERHEAD
    }
}

/// What came of [`Hold::insert`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Inserted {
    /// By how much the held cost grew.
    pub(super) cost: usize,
    /// Some of it was held already.
    pub(super) repeated: bool,
    /// Some of it was held already, with other content.
    pub(super) conflicting: bool,
}

/// Non-overlapping pieces by their offset in the stream. The first copy of a byte is kept.
#[derive(Debug, Default)]
pub(super) struct Hold {
    pieces: BTreeMap<u64, Piece>,
    cost: usize,
    /// When the hole before them was first seen.
    pub(super) hole_since: Option<Timestamp>,
    /// When that hole was first seen acknowledged.
    pub(super) hole_acknowledged: Option<Timestamp>,
}

impl Hold {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes held, bookkeeping included.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Offset of the first held byte.
    pub(super) fn first(&self) -> Option<u64> {
        self.pieces.first_key_value().map(|(&offset, _)| offset)
    }

    /// Takes the first piece if it begins at or before `offset`.
    pub(super) fn take_until(&mut self, offset: u64) -> Option<(u64, Piece)> {
        let entry = self.pieces.first_entry().filter(|entry| *entry.key() <= offset)?;
        let (start, piece) = entry.remove_entry();
        self.cost -= piece.cost();
        Some((start, piece))
    }

    /// Holds what of `bytes` (and of the `missing` bytes behind them) is not held yet. The work is linear in the
    /// pieces that it overlaps, each of which shrinks what is left.
    pub(super) fn insert(
        &mut self,
        mut offset: u64,
        mut bytes: &[u8],
        mut missing: u32,
        like: impl Fn(Box<[u8]>, u32) -> Piece,
    ) -> Inserted {
        let mut result = Inserted::default();
        loop {
            // Trim what a piece at or before `offset` covers.
            if let Some((&start, piece)) = self.pieces.range_mut(..=offset).next_back() {
                let covered = (start + piece.span()).saturating_sub(offset);
                if covered > 0 {
                    result.repeated = true;
                    let skip = (offset - start) as usize;
                    let known = piece.bytes.get(skip..).unwrap_or_default();
                    let both = known.len().min(bytes.len());
                    if known[..both] != bytes[..both] {
                        result.conflicting = true;
                        piece.conflicting = true;
                    }
                    let cut = usize::try_from(covered).unwrap_or(usize::MAX).min(bytes.len());
                    missing = missing.saturating_sub(u32::try_from(covered - cut as u64).unwrap_or(u32::MAX));
                    bytes = &bytes[cut..];
                    offset += covered;
                    if bytes.is_empty() {
                        return result;
                    }
                    continue; // another piece may begin right there
                }
            }
            if bytes.is_empty() {
                return result;
            }
            // Store up to the next piece, go on with what lies behind that point.
            let room = self.pieces.range(offset + 1..).next().map_or(u64::MAX, |(&next, _)| next - offset);
            let whole = bytes.len() as u64 <= room;
            let (now, rest) = if whole { (bytes, &bytes[..0]) } else { bytes.split_at(room as usize) };
            let behind =
                if whole { missing.min(u32::try_from(room - now.len() as u64).unwrap_or(u32::MAX)) } else { 0 };
            let piece = like(now.into(), behind);
            result.cost += piece.cost();
            self.cost += piece.cost();
            self.pieces.insert(offset, piece);
            if rest.is_empty() {
                return result;
            }
            offset += now.len() as u64;
            bytes = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(bytes: Box<[u8]>, missing: u32) -> Piece {
        Piece { bytes, missing, acknowledged: None, time: Timestamp::ZERO, conflicting: false, urgent: false }
    }

    fn drain(hold: &mut Hold) -> Vec<(u64, Vec<u8>)> {
        let mut out = Vec::new();
        while let Some((offset, piece)) = hold.take_until(u64::MAX) {
            out.push((offset, piece.bytes.to_vec()));
        }
        assert_eq!(hold.cost(), 0);
        out
    }

    #[test]
    fn the_first_copy_wins_around_islands() {
        let mut hold = Hold::default();
        hold.insert(10, b"abc", 0, piece);
        hold.insert(16, b"xyz", 0, piece);
        let result = hold.insert(8, b"..ABCdefXYZ!!", 0, piece);
        assert!(result.repeated && result.conflicting);
        let expected: [(u64, &[u8]); 5] = [(8, b".."), (10, b"abc"), (13, b"def"), (16, b"xyz"), (19, b"!!")];
        assert_eq!(drain(&mut hold), expected.map(|(offset, bytes)| (offset, bytes.to_vec())));
    }

    proptest! {
        #[test]
        fn every_byte_is_that_of_its_first_copy(segments in prop::collection::vec((0u64..60, 1usize..20), 1..40)) {
            let mut hold = Hold::default();
            let mut first = std::collections::BTreeMap::new();
            for (turn, &(offset, length)) in segments.iter().enumerate() {
                hold.insert(offset, &vec![turn as u8; length], 0, piece);
                for at in offset..offset + length as u64 {
                    first.entry(at).or_insert(turn as u8);
                }
            }
            let mut held = std::collections::BTreeMap::new();
            for (offset, bytes) in drain(&mut hold) {
                for (step, byte) in bytes.into_iter().enumerate() {
                    prop_assert!(held.insert(offset + step as u64, byte).is_none());
                }
            }
            prop_assert_eq!(held, first);
        }
    }
}
