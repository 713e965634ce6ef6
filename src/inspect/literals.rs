//! Finds many literals at once, at a fraction of a nanosecond a byte.
//!
//! Of each literal a window of four bytes is chosen, the one that is rarest in ordinary text. It holds two runs of
//! three bytes, one of which begins at an even position of the message, wherever the literal stands. So every second
//! position is looked up, by a hash of three bytes, in a table that fits the first cache; what is in it is compared.
//! A vector search (Teddy) would be faster for a dozen literals and is slower for a hundred.
//!
//! Which position gives a literal away depends on its place in the message only, not on how the message is cut.

use std::collections::BTreeMap;

/// Longest literal.
pub(super) const LONGEST: usize = 64;
/// Shortest literal.
pub(super) const SHORTEST: usize = 3;
const TABLE_BITS: u32 = 15;

/// Bytes that are looked at together.
const CHUNK: usize = 18;

/// Eight bytes from a constant offset, which the compiler turns into one load.
#[inline]
fn eight(chunk: &[u8; CHUNK + 2], from: usize) -> u64 {
    chunk[from..].first_chunk::<8>().map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// A run of three bytes in a literal.
#[derive(Clone, Debug)]
struct Gram {
    bytes: u32,
    /// Where it is in the literal.
    offset: u8,
    literal: u16,
    /// The fourth byte of its window, and how far before the end of the gram and one more it is: 0 right behind the
    /// gram, 4 right before it.
    beside_byte: u8,
    beside: u8,
    slot: usize,
}

/// The literals, ready to be found.
#[derive(Debug)]
pub(super) struct Literals {
    texts: Vec<Box<[u8]>>,
    /// By literal, the rules that it is a candidate of.
    pub(super) rules: Vec<Vec<u16>>,
    /// By hash: the tag where a gram is, else 0.
    table: Box<[u8; 1 << TABLE_BITS]>,
    /// By hash: the first gram.
    starts: Box<[u32; 1 << TABLE_BITS]>,
    /// Sorted by their hash.
    grams: Vec<Gram>,
}

/// A table of constant size, so that no look-up needs a check of its bounds.
fn fixed<T: Copy + Default>(entries: Vec<T>) -> Box<[T; 1 << TABLE_BITS]> {
    entries.into_boxed_slice().try_into().unwrap_or_else(|_| Box::new([T::default(); 1 << TABLE_BITS]))
}

/// The hash of three bytes, given with any fourth one on top: the multiplier shifts that one out.
#[inline]
fn hash(four: u32) -> u32 {
    four.wrapping_mul(0x3779_b100)
}

#[inline]
fn slot(hash: u32) -> usize {
    (hash >> (32 - TABLE_BITS)) as usize
}

/// Other bits of the hash, for a second look; neither 0 nor [`SEVERAL`].
#[inline]
fn tag(hash: u32) -> u8 {
    ((hash >> 9) as u8) & 0x7f | 1
}

/// The tag of a slot that grams of different tags share.
const SEVERAL: u8 = 0x80;

impl Literals {
    /// From each literal and its rules; at most 65,535 literals of [`SHORTEST`] to [`LONGEST`] bytes.
    pub(super) fn new(literals: BTreeMap<String, Vec<u16>>) -> Literals {
        let (mut texts, mut rules, mut grams) = (Vec::new(), Vec::new(), Vec::new());
        for (literal, (text, its_rules)) in (0u16..=u16::MAX).zip(literals) {
            let text = text.into_bytes();
            let mut add = |window: [u8; 4], second: bool, offset: usize| {
                let [one, two, three, four] = window;
                let gram = if second { [two, three, four, 0] } else { [one, two, three, 0] };
                let bytes = u32::from_le_bytes(gram);
                grams.push(Gram {
                    bytes,
                    offset: (offset + usize::from(second)) as u8,
                    literal,
                    beside_byte: if second { one } else { four },
                    beside: if second { 4 } else { 0 },
                    slot: slot(hash(bytes)),
                });
            };
            if let [one, two, three] = *text {
                for next in b' '..=b'~' {
                    add([one, two, three, next], false, 0);
                    add([one, two, three, next], true, 0);
                }
            } else {
                let rarity = |window: &[u8]| window.iter().map(|&byte| frequency(byte)).sum::<u32>();
                let rarest = text.windows(4).enumerate().min_by_key(|(_, window)| rarity(window));
                if let Some((offset, &[one, two, three, four])) = rarest {
                    add([one, two, three, four], false, offset);
                    add([one, two, three, four], true, offset);
                }
            }
            texts.push(text.into());
            rules.push(its_rules);
        }
        grams.sort_by_key(|gram: &Gram| (gram.slot, gram.bytes, gram.literal, gram.offset));
        let (mut table, mut starts) = (vec![0; 1 << TABLE_BITS], vec![0; 1 << TABLE_BITS]);
        for (place, gram) in grams.iter().enumerate() {
            let tag = tag(hash(gram.bytes));
            let entry = &mut table[gram.slot];
            if *entry == 0 {
                starts[gram.slot] = place as u32;
            }
            *entry = if *entry == 0 || *entry == tag { tag } else { SEVERAL };
        }
        Literals { texts, rules, table: fixed(table), starts: fixed(starts), grams }
    }

    /// Calls `found` with number and start of each literal that is given away by a place in `from..to` of `bytes`,
    /// which begin at position `base` of the message. A literal begins less than [`LONGEST`] bytes before its place and
    /// ends less than [`LONGEST`] bytes behind it.
    #[inline]
    pub(super) fn find(&self, bytes: &[u8], base: u64, from: usize, to: usize, mut found: impl FnMut(usize, usize)) {
        let mut at = from + ((base + from as u64) & 1) as usize;
        let entry = |four: u32| {
            let hash = hash(four);
            (self.table[slot(hash)], tag(hash))
        };
        // Three loads of eight bytes hold the three bytes of nine places.
        while at + CHUNK + 2 <= bytes.len() && at + CHUNK <= to {
            let Some(chunk) = bytes[at..].first_chunk::<{ CHUNK + 2 }>() else { break };
            let (one, two, three) = (eight(chunk, 0), eight(chunk, 6), eight(chunk, 12));
            let fours = [
                one as u32,
                (one >> 16) as u32,
                (one >> 32) as u32,
                two as u32,
                (two >> 16) as u32,
                (two >> 32) as u32,
                three as u32,
                (three >> 16) as u32,
                (three >> 32) as u32,
            ];
            if fours.iter().fold(0, |any, &four| any | entry(four).0) != 0 {
                for (place, &four) in fours.iter().enumerate() {
                    let (found_tag, tag) = entry(four);
                    if found_tag == tag || found_tag == SEVERAL {
                        self.compare(bytes, at + 2 * place, &mut found);
                    }
                }
            }
            at += CHUNK;
        }
        while at < to && at + 3 <= bytes.len() {
            if entry(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], 0])).0 != 0 {
                self.compare(bytes, at, &mut found);
            }
            at += 2;
        }
    }

    /// The literals that have what is at `at` as a gram, and stand there.
    #[cold]
    fn compare(&self, bytes: &[u8], at: usize, found: &mut impl FnMut(usize, usize)) {
        let Some(&[one, two, three]) = bytes.get(at..at + 3).and_then(|gram| gram.first_chunk::<3>()) else { return };
        let gram = u32::from_le_bytes([one, two, three, 0]);
        let slot = slot(hash(gram));
        let first = self.starts[slot] as usize;
        for known in self.grams[first..].iter().take_while(|known| known.slot == slot) {
            // The byte before or behind the gram tells most apart without a look at the whole literal.
            let beside = (at + 3).checked_sub(usize::from(known.beside)).and_then(|place| bytes.get(place));
            if known.bytes != gram || beside != Some(&known.beside_byte) {
                continue;
            }
            let literal = usize::from(known.literal);
            if let Some(start) = at.checked_sub(usize::from(known.offset))
                && bytes[start..].starts_with(&self.texts[literal])
            {
                found(literal, start);
            }
        }
    }
}

/// How common a byte is in JSON, HTML and prose, roughly, in units of its logarithm.
fn frequency(byte: u8) -> u32 {
    match byte {
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | b' ' | b'"' => 10,
        b'd' | b'l' | b'c' | b'u' | b'm' | b'p' | b'0'..=b'9' | b',' | b':' | b'/' | b'.' | b'-' => 8,
        b'a'..=b'z' | b'_' | b'<' | b'>' | b'=' => 6,
        b'A'..=b'Z' => 4,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_literal_is_found_at_every_place_once() {
        let words = ["abc", "abcd", "$6$", "-----BEGIN ", "AKIA", "cdab"];
        let literals = Literals::new(words.iter().map(|word| ((*word).to_owned(), vec![1])).collect());
        for word in words {
            for before in 0..70 {
                for behind in [0, 1, 2, 3, 50] {
                    let text = format!("{}{word}{}", "x".repeat(before), "y".repeat(behind));
                    for (base, cut) in [(0, 0), (1, 0), (0, before), (0, before + 1), (3, before + 2), (0, text.len())]
                    {
                        let mut found = Vec::new();
                        let mut note = |literal: usize, start| found.push((literals.texts[literal].to_vec(), start));
                        literals.find(text.as_bytes(), base, 0, cut, &mut note);
                        literals.find(text.as_bytes(), base, cut, text.len(), &mut note);
                        let wanted = words.iter().filter_map(|word| Some((word.as_bytes().to_vec(), text.find(word)?)));
                        let mut wanted: Vec<_> = wanted.collect();
                        wanted.sort();
                        found.sort();
                        // Three bytes at the very end have no byte behind them to tell by.
                        if !(word.len() == 3 && behind == 0) {
                            assert_eq!(found, wanted, "{text:?} {base} {cut}");
                        }
                    }
                }
            }
        }
    }
}
