//! Finds runs of digits and single separators.
//!
//! Two neighbours can stand in a run when both are digits or separators and not both are separators; where seven such
//! pairs follow each other a run of eight bytes begins. Probing every few bytes instead reads less, but stumbles over
//! each id and hexadecimal hash.

use std::ops::Range;

use super::sieve::Masks;

/// Shortest run that is found.
pub(super) const SHORTEST_RUN: usize = 8;

pub(super) fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'+')
}

/// A bit for each byte of a block at which a run of [`SHORTEST_RUN`] begins or goes on for as long; `next` is the block
/// behind it.
#[inline]
pub(super) fn begins(block: &Masks, next: &Masks) -> u64 {
    if block.digits == 0 {
        return 0;
    }
    let wide = |block: u64, next: u64| u128::from(block) | u128::from(next) << 64;
    let digits = wide(block.digits, next.digits);
    let members = digits | wide(block.separators, next.separators);
    let pairs = members & members >> 1 & (digits | digits >> 1);
    // Two, four, and seven pairs in a row.
    let two = pairs & pairs >> 1;
    let four = two & two >> 2;
    (four & four >> 3) as u64
}

/// The runs of at least [`SHORTEST_RUN`] bytes among the places of `begins` (of the block at `at`) that begin in
/// `from..to`, in order. `done` is where the last one ended. A run that is longer than `limit` is left out.
#[inline]
pub(super) fn runs(
    bytes: &[u8],
    at: usize,
    mut begins: u64,
    [from, to]: [usize; 2],
    done: &mut usize,
    limit: usize,
    mut found: impl FnMut(Range<usize>),
) {
    while begins != 0 {
        let place = at + begins.trailing_zeros() as usize;
        if place < *done {
            // The rest of a run.
            begins &= u64::MAX.checked_shl((*done - at) as u32).unwrap_or(0);
            continue;
        }
        begins &= begins - 1;
        if place >= to {
            return;
        }
        // Of two neighbours in a run one is a digit.
        let is_digit = bytes.get(place).is_some_and(u8::is_ascii_digit);
        let run = run_around(bytes, if is_digit { place } else { place + 1 }, limit);
        *done = run.end.max(place + 1);
        if (from..to).contains(&run.start) && (SHORTEST_RUN..=limit).contains(&run.len()) {
            found(run);
        }
    }
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
    use super::super::sieve::{BLOCK, Sieve};
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
            let sieve = Sieve::default();
            for pair in places.windows(2) {
                let mut done = pair[0];
                for at in (pair[0]..pair[1]).step_by(BLOCK) {
                    let mut masks = [Masks::default(); 2];
                    sieve.classify(bytes, at, &mut masks);
                    let begins = begins(&masks[0], &masks[1]);
                    runs(bytes, at, begins, [pair[0], pair[1]], &mut done, 64, |run| found.push(run));
                }
            }
            prop_assert_eq!(found, slow(bytes, 64));
        }
    }
}
