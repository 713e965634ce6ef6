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

/// A run of three bytes in a literal.
#[derive(Clone, Debug)]
struct Gram {
    bytes: u32,
    /// Where it is in the literal.
    offset: u8,
    literal: u16,
}

/// The literals, ready to be found.
#[derive(Debug)]
pub(super) struct Literals {
    texts: Vec<Box<[u8]>>,
    /// By literal, the rules that it is a candidate of.
    pub(super) rules: Vec<Vec<u16>>,
    /// By hash: 1 where a gram is.
    table: Box<[u8; 1 << TABLE_BITS]>,
    /// Sorted by their bytes.
    grams: Vec<Gram>,
}

#[inline]
fn hash(three: u32) -> usize {
    (three.wrapping_mul(0x9e37_79b1) >> (32 - TABLE_BITS)) as usize
}

#[inline]
fn three(bytes: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*bytes) & 0x00ff_ffff
}

impl Literals {
    /// From each literal and its rules; at most 65,535 literals of [`SHORTEST`] to [`LONGEST`] bytes.
    pub(super) fn new(literals: BTreeMap<String, Vec<u16>>) -> Literals {
        let (mut texts, mut rules, mut grams) = (Vec::new(), Vec::new(), Vec::new());
        for (literal, (text, its_rules)) in (0u16..=u16::MAX).zip(literals) {
            let text = text.into_bytes();
            let mut add = |bytes: [u8; 3], offset: usize| {
                let [one, two, three] = bytes;
                let bytes = u32::from_le_bytes([one, two, three, 0]);
                grams.push(Gram { bytes, offset: offset as u8, literal });
            };
            if let [one, two, three] = *text {
                add([one, two, three], 0);
                (b' '..=b'~').for_each(|next| add([two, three, next], 1));
            } else if let Some((offset, window)) = text
                .windows(4)
                .enumerate()
                .min_by_key(|(_, window)| window.iter().map(|&byte| frequency(byte)).sum::<u32>())
                && let [one, two, three, four] = *window
            {
                add([one, two, three], offset);
                add([two, three, four], offset + 1);
            }
            texts.push(text.into());
            rules.push(its_rules);
        }
        grams.sort_by_key(|gram| (gram.bytes, gram.literal, gram.offset));
        let mut table = Box::new([0; 1 << TABLE_BITS]);
        for gram in &grams {
            table[hash(gram.bytes)] = 1;
        }
        Literals { texts, rules, table, grams }
    }

    /// Calls `found` with number and start of each literal that is given away by a place in `from..to` of `bytes`,
    /// which begin at position `base` of the message. A literal begins less than [`LONGEST`] bytes before its place and
    /// ends less than [`LONGEST`] bytes behind it.
    #[inline]
    pub(super) fn find(&self, bytes: &[u8], base: u64, from: usize, to: usize, mut found: impl FnMut(usize, usize)) {
        let mut at = from + ((base + from as u64) & 1) as usize;
        let known = |four: &[u8; 4]| self.table[hash(three(four))];
        // Eight places at a time; a chunk of 16 bytes is read with two bytes of the next one.
        while at + 20 <= bytes.len() && at + 16 <= to {
            let Some(chunk) = bytes[at..].first_chunk::<20>() else { break };
            let mut any = 0;
            for place in 0..8 {
                let start = 2 * place;
                any |= known(&[chunk[start], chunk[start + 1], chunk[start + 2], chunk[start + 3]]);
            }
            if any != 0 {
                for place in 0..8 {
                    let start = 2 * place;
                    if known(&[chunk[start], chunk[start + 1], chunk[start + 2], chunk[start + 3]]) != 0 {
                        self.compare(bytes, at + start, &mut found);
                    }
                }
            }
            at += 16;
        }
        while at < to && at + 3 <= bytes.len() {
            if known(&[bytes[at], bytes[at + 1], bytes[at + 2], 0]) != 0 {
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
        let first = self.grams.partition_point(|known| known.bytes < gram);
        for known in self.grams[first..].iter().take_while(|known| known.bytes == gram) {
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
