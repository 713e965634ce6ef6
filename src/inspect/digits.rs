//! Finds runs of digits and single separators.
//!
//! Every byte is classified with vector instructions: two neighbours can stand in a run when both are digits or
//! separators and not both are separators, and where seven such pairs follow each other a run of eight bytes begins.
//! Probing every few bytes instead reads less, but stumbles over each id and hexadecimal hash.

use std::ops::Range;

use wide::u8x16;

/// Shortest run that is found.
pub(super) const SHORTEST_RUN: usize = 8;
/// Bytes that are looked at together: as many bits as a word has.
const WIDE: usize = 64;
/// Those of them at which a run may begin.
const BLOCK: usize = WIDE - SHORTEST_RUN;

pub(super) fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'+')
}

/// Calls `found` with each run of at least [`SHORTEST_RUN`] bytes that begins in `from..to`, in order. A run that is
/// longer than `limit` is left out.
#[inline]
pub(super) fn runs(bytes: &[u8], from: usize, to: usize, limit: usize, mut found: impl FnMut(Range<usize>)) {
    let (mut at, mut done) = (from, from);
    let mut padded = [0; WIDE];
    while at < to {
        let rest = &bytes[at..];
        let block = match rest.first_chunk::<WIDE>() {
            Some(block) => block,
            None => {
                padded[..rest.len()].copy_from_slice(rest);
                padded[rest.len()..].fill(0);
                &padded
            }
        };
        let mut begins = begins(block);
        while begins != 0 {
            let place = at + begins.trailing_zeros() as usize;
            begins &= begins - 1;
            if place < done || place >= to {
                continue;
            }
            // Of two neighbours in a run one is a digit.
            let run = run_around(bytes, if bytes[place].is_ascii_digit() { place } else { place + 1 }, limit);
            done = run.end.max(place + 1);
            if (from..to).contains(&run.start) && (SHORTEST_RUN..=limit).contains(&run.len()) {
                found(run);
            }
        }
        at += BLOCK;
    }
}

/// A bit for each of the first [`BLOCK`] bytes at which a run of [`SHORTEST_RUN`] begins or goes on for as long.
#[inline]
fn begins(block: &[u8; WIDE]) -> u64 {
    let (mut digits, mut separators) = (0u64, 0u64);
    for (place, sixteen) in block.as_chunks::<16>().0.iter().enumerate() {
        let bytes = u8x16::new(*sixteen);
        let value = bytes - u8x16::splat(b'0');
        let digit = value.min(u8x16::splat(9)).simd_eq(value);
        let separator = bytes.simd_eq(u8x16::splat(b' '))
            | bytes.simd_eq(u8x16::splat(b'-'))
            | bytes.simd_eq(u8x16::splat(b'.'))
            | bytes.simd_eq(u8x16::splat(b'+'));
        digits |= u64::from(digit.to_bitmask()) << (16 * place);
        separators |= u64::from(separator.to_bitmask()) << (16 * place);
    }
    let members = digits | separators;
    let pairs = members & members >> 1 & (digits | digits >> 1);
    // Two, four, and seven pairs in a row.
    let two = pairs & pairs >> 1;
    let four = two & two >> 2;
    four & four >> 3 & ((1 << BLOCK) - 1)
}

/// The run that the digit at `anchor` is part of, from its first digit to its last; cut off some bytes beyond `limit`
/// on either side.
fn run_around(bytes: &[u8], anchor: usize, limit: usize) -> Range<usize> {
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let is_separator = |at: usize| bytes.get(at).is_some_and(|&byte| is_separator(byte));
    let (mut start, mut end) = (anchor, anchor);
    while end - anchor <= limit {
        if is_digit(end) {
            end += 1;
        } else if end > anchor && is_separator(end) && is_digit(end + 1) {
            end += 2;
        } else {
            break;
        }
    }
    while anchor - start <= limit && start > 0 {
        if is_digit(start - 1) {
            start -= 1;
        } else if start > 1 && is_separator(start - 1) && is_digit(start - 2) {
            start -= 2;
        } else {
            break;
        }
    }
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by the definition.
    fn slow(bytes: &[u8], limit: usize) -> Vec<Range<usize>> {
        let mut runs = Vec::new();
        let mut start = 0;
        while start < bytes.len() {
            if !bytes[start].is_ascii_digit() {
                start += 1;
                continue;
            }
            let mut end = start + 1;
            loop {
                match (bytes.get(end), bytes.get(end + 1)) {
                    (Some(byte), _) if byte.is_ascii_digit() => end += 1,
                    (Some(&byte), Some(next)) if is_separator(byte) && next.is_ascii_digit() => end += 2,
                    _ => break,
                }
            }
            if (SHORTEST_RUN..=limit).contains(&(end - start)) {
                runs.push(start..end);
            }
            start = end;
        }
        runs
    }

    proptest! {
        #[test]
        fn runs_are_found_wherever_they_are(text in "([0-9]{1,12}|[0-9][ .+-]|[ .+-]{1,3}|[a-f\":,]{1,9}|[0-9 ]{1,90}){0,40}", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
            let bytes = text.as_bytes();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            let mut found = Vec::new();
            for pair in places.windows(2) {
                runs(bytes, pair[0], pair[1], 64, |run| found.push(run));
            }
            prop_assert_eq!(found, slow(bytes, 64));
        }
    }
}
