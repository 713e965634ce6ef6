//! Which literals there are, by which six bytes each is found, and whether one really stands where the sieve says.
//!
//! Of each literal the window of six bytes is chosen that is rarest in ordinary text. The windows are spread over the
//! sieve's buckets so that those in one bucket resemble each other: a bucket lets through every mixture of its windows'
//! nibbles.

use std::collections::{BTreeMap, HashMap};

use super::sieve::{BUCKETS, Nibbles, WINDOW};

/// Longest literal.
pub(super) const LONGEST: usize = 64;
/// Shortest literal.
pub(super) const SHORTEST: usize = 3;
/// Literals up to which a better bucket is looked for.
const IMPROVED: usize = 2000;
const SLOT_BITS: u32 = 12;

/// The bytes by which a literal is found: all six, or the first three to five and any others.
type Window = [Option<u8>; WINDOW];

/// A window in a literal.
#[derive(Clone, Debug)]
struct Known {
    slot: usize,
    literal: u16,
    /// Where the window is in the literal.
    offset: u8,
}

/// The literals, ready to be recognised.
#[derive(Debug)]
pub(super) struct Literals {
    texts: Vec<Box<[u8]>>,
    /// By literal, the rules that it is a candidate of.
    pub(super) rules: Vec<Vec<u16>>,
    /// By the hash of a window's first three bytes: where its windows begin among `windows`; one more for the end.
    starts: Vec<u32>,
    windows: Vec<Known>,
    pub(super) nibbles: Nibbles,
}

/// A hash of the first three bytes.
#[inline]
fn slot(bytes: [u8; 3]) -> usize {
    let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
    (word.wrapping_mul(0x9e37_79b1) >> (32 - SLOT_BITS)) as usize
}

impl Literals {
    /// From each literal and its rules; at most 65,535 literals of [`SHORTEST`] to [`LONGEST`] bytes.
    pub(super) fn new(literals: BTreeMap<String, Vec<u16>>) -> Literals {
        let (mut texts, mut rules, mut known, mut windows) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (literal, (text, its_rules)) in (0u16..=u16::MAX).zip(literals) {
            let text = text.into_bytes();
            let rarity = |window: &[u8]| window.iter().map(|&byte| frequency(byte)).product::<f64>();
            let rarest = text
                .windows(WINDOW)
                .enumerate()
                .min_by(|(_, one), (_, other)| rarity(one).total_cmp(&rarity(other)))
                .map_or(0, |(offset, _)| offset);
            let mut window = [None; WINDOW];
            for (place, &byte) in window.iter_mut().zip(text.iter().skip(rarest)) {
                *place = Some(byte);
            }
            if let [Some(one), Some(two), Some(three), ..] = window {
                known.push(Known { slot: slot([one, two, three]), literal, offset: rarest as u8 });
                windows.push(window);
            }
            texts.push(text.into());
            rules.push(its_rules);
        }
        known.sort_by_key(|known| (known.slot, known.literal));
        let starts =
            (0..=1usize << SLOT_BITS).map(|slot| known.partition_point(|known| known.slot < slot) as u32).collect();
        Literals { texts, rules, starts, windows: known, nibbles: spread(windows) }
    }

    /// Calls `found` with number and start of each literal whose window is at `at`.
    #[inline]
    pub(super) fn at(&self, bytes: &[u8], at: usize, mut found: impl FnMut(usize, usize)) {
        let Some(&window) = bytes.get(at..).and_then(|rest| rest.first_chunk::<3>()) else { return };
        let slot = slot(window);
        let (Some(&first), Some(&end)) = (self.starts.get(slot), self.starts.get(slot + 1)) else { return };
        for known in self.windows.get(first as usize..end as usize).unwrap_or_default() {
            let literal = usize::from(known.literal);
            if let Some(start) = at.checked_sub(usize::from(known.offset))
                && let Some(text) = self.texts.get(literal)
                && bytes.get(start..).is_some_and(|rest| rest.starts_with(text))
            {
                found(literal, start);
            }
        }
    }
}

/// The windows of one bucket, as the sieve sees them: by place, the low and the high nibbles that fit, a bit each.
#[derive(Clone, Copy, Default)]
struct Bucket([(u16, u16); WINDOW]);

impl Bucket {
    fn with(mut self, window: &Window) -> Bucket {
        for ((low, high), byte) in self.0.iter_mut().zip(window) {
            match byte {
                Some(byte) => {
                    *low |= 1 << (byte & 15);
                    *high |= 1 << (byte >> 4);
                }
                None => (*low, *high) = (u16::MAX, u16::MAX),
            }
        }
        self
    }

    /// How often it lets something through in ordinary text.
    fn rate(&self, rates: &mut Rates) -> f64 {
        self.0.iter().map(|&place| rates.of(place)).product()
    }
}

/// How often bytes of these nibbles stand in ordinary text: what was worked out is kept, since it is asked for again and
/// again.
#[derive(Default)]
struct Rates(HashMap<(u16, u16), f64, ahash::RandomState>);

impl Rates {
    fn of(&mut self, nibbles: (u16, u16)) -> f64 {
        *self.0.entry(nibbles).or_insert_with_key(|(low, high)| {
            let fits = |byte: &u8| low >> (byte & 15) & 1 == 1 && high >> (byte >> 4) & 1 == 1;
            (0..=255u8).filter(fits).map(frequency).sum()
        })
    }
}

/// Spreads windows over buckets, similar ones together: neighbours in their order first, then twice each to where it
/// adds least.
fn spread(mut windows: Vec<Window>) -> Nibbles {
    windows.sort_unstable();
    let mut rates = Rates::default();
    let mut homes: Vec<usize> = (0..windows.len()).map(|place| place * BUCKETS / windows.len()).collect();
    let mut buckets = [Bucket::default(); BUCKETS];
    for (window, &home) in windows.iter().zip(&homes) {
        if let Some(bucket) = buckets.get_mut(home) {
            *bucket = bucket.with(window);
        }
    }
    let rounds = if windows.len() <= IMPROVED { 2 } else { 0 };
    for place in (0..rounds).flat_map(|_| 0..windows.len()) {
        let (Some(window), Some(&home)) = (windows.get(place), homes.get(place)) else { continue };
        let mates = windows.iter().zip(&homes).enumerate().filter(|(other, (_, at))| *other != place && **at == home);
        let rest = mates.fold(Bucket::default(), |bucket, (_, (window, _))| bucket.with(window));
        if let Some(bucket) = buckets.get_mut(home) {
            *bucket = rest;
        }
        let mut cost = |bucket: &Bucket| bucket.with(window).rate(&mut rates) - bucket.rate(&mut rates);
        let best = buckets.iter().map(&mut cost).enumerate().min_by(|(_, one), (_, other)| one.total_cmp(other));
        let best = best.map_or(home, |(best, _)| best);
        if let (Some(bucket), Some(home)) = (buckets.get_mut(best), homes.get_mut(place)) {
            *bucket = bucket.with(window);
            *home = best;
        }
    }
    let mut nibbles = Nibbles::default();
    for (number, Bucket(places)) in buckets.iter().enumerate() {
        for (place, (low, high)) in places.iter().enumerate() {
            for nibble in 0..16 {
                nibbles.low[place][nibble] |= u8::from(low >> nibble & 1 == 1) << number;
                nibbles.high[place][nibble] |= u8::from(high >> nibble & 1 == 1) << number;
            }
        }
    }
    nibbles
}

/// How common a byte is in JSON, HTML and prose, roughly.
fn frequency(byte: u8) -> f64 {
    let parts = match byte {
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | b' ' | b'"' => 40.0,
        b'd' | b'l' | b'c' | b'u' | b'm' | b'p' | b'0'..=b'9' | b',' | b':' | b'/' | b'.' | b'-' => 20.0,
        b'a'..=b'z' | b'_' | b'<' | b'>' | b'=' => 10.0,
        b'A'..=b'Z' => 4.0,
        b'!'..=b'~' => 2.0,
        _ => 0.5,
    };
    parts / 1200.0
}

#[cfg(test)]
mod tests {
    use super::super::sieve::{BLOCK, Masks, Sieve};
    use super::*;

    #[test]
    fn every_literal_is_found_at_every_place_once() {
        let words = ["abc", "abcd", "$6$", "-----BEGIN ", "AKIA", "cdab"];
        let literals = Literals::new(words.iter().map(|word| ((*word).to_owned(), vec![1])).collect());
        let sieve = Sieve::new([].into_iter(), literals.nibbles);
        for word in words {
            for before in 0..150 {
                for behind in [0, 1, 2, 3, 50] {
                    let text = format!("{}{word}{}", "x".repeat(before), "y".repeat(behind));
                    let mut masks = [Masks::default(); 4];
                    sieve.classify(text.as_bytes(), 0, &mut masks);
                    let mut found = Vec::new();
                    for place in 0..text.len() {
                        if masks[place / BLOCK].windows >> (place % BLOCK) & 1 == 1 {
                            literals.at(text.as_bytes(), place, |literal, start| {
                                found.push((literals.texts[literal].to_vec(), start));
                            });
                        }
                    }
                    let wanted = words.iter().filter_map(|word| Some((word.as_bytes().to_vec(), text.find(word)?)));
                    let mut wanted: Vec<_> = wanted.collect();
                    wanted.sort();
                    found.sort();
                    assert_eq!(found, wanted, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn buckets_let_little_through() {
        let words =
            ["eyJhbGci", "AKIA", "ghp_", "sk_live_", "xoxb-", "$2a$", "postgres://", "ecret", ".java:", "ORA-0"];
        let literals = Literals::new(words.iter().map(|word| ((*word).to_owned(), vec![1])).collect());
        let sieve = Sieve::new([].into_iter(), literals.nibbles);
        let prose =
            "The quick brown fox, aged 42, jumps over 7 lazy dogs; {\"id\": 12000, \"name\": \"fay\"}. ".repeat(40);
        let mut masks = [Masks::default(); 50];
        sieve.classify(prose.as_bytes(), 0, &mut masks);
        let count: u32 = masks.iter().map(|masks| masks.windows.count_ones()).sum();
        assert!(count < prose.len() as u32 / 50, "{count} of {}", prose.len());
    }
}
