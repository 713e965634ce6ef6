//! The Huffman code of HPACK (RFC 7541, section 5.2 and appendix B).
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their symbols, and shorter codes
//! come first. So the lengths are all of appendix B that has to be written down; the rest is made by the compiler.

/// Bits that the first table is asked with: all of ASCII's letters, digits and common signs are shorter.
const QUICK_BITS: u32 = 9;

/// Longest code.
const LONGEST: usize = 30;

/// The symbol that ends a string; it must not occur in one.
const END_OF_STRING: u16 = 256;

/// Length of each symbol's code in bits (RFC 7541, appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The code as a decoder wants it.
struct Code {
    /// Symbols in the order of their codes.
    symbols: [u16; 257],
    /// By length: the first code, how many there are, and where its symbol stands.
    first: [u32; LONGEST + 1],
    count: [u32; LONGEST + 1],
    place: [u32; LONGEST + 1],
    /// Symbol and length by the next [`QUICK_BITS`] bits; length 0 where the code is longer.
    quick: [(u8, u8); 1 << QUICK_BITS],
}

static CODE: Code = code();

const fn code() -> Code {
    let mut code = Code {
        symbols: [0; 257],
        first: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        place: [0; LONGEST + 1],
        quick: [(0, 0); 1 << QUICK_BITS],
    };
    let (mut length, mut next, mut placed) = (1, 0u32, 0);
    while length <= LONGEST {
        next <<= 1;
        code.first[length] = next;
        code.place[length] = placed as u32;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                code.symbols[placed] = symbol as u16;
                placed += 1;
                if length <= QUICK_BITS as usize {
                    let spare = QUICK_BITS as usize - length;
                    let mut filler = 0;
                    while filler < 1 << spare {
                        code.quick[((next as usize) << spare) + filler] = (symbol as u8, length as u8);
                        filler += 1;
                    }
                }
                next += 1;
                code.count[length] += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    code
}

/// These bytes are no Huffman code: the end of string is in it, or it is not padded with ones to a whole byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Appends the decoded string, which is at most 8/5 as long as `bytes`.
///
/// # Errors
///
/// [`Malformed`]; what came before is appended.
pub fn decode(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let begin = out.len();
    out.resize(begin + bytes.len() * 8 / 5 + SYMBOLS_A_LOOK, 0);
    let mut written = begin;
    let result = symbols(bytes, out, &mut written);
    out.truncate(written);
    result
}

/// Symbols that are read of eight bytes at a time: behind up to seven bits that were read before, so many of the quick
/// table's are surely whole.
const SYMBOLS_A_LOOK: usize = 6;

/// Writes the symbols to `out` from `written` on, which is to have room for them and [`SYMBOLS_A_LOOK`] more.
fn symbols(bytes: &[u8], out: &mut [u8], written: &mut usize) -> Result<(), Malformed> {
    let mut at = 0;
    while let Some(room) = out.get_mut(*written..).and_then(|rest| rest.first_chunk_mut::<SYMBOLS_A_LOOK>()) {
        let rest = bytes.get(at / 8..).unwrap_or_default();
        let word = rest.first_chunk().copied().unwrap_or_else(|| {
            // As if the padding went on.
            let mut last = [0xff; 8];
            last.iter_mut().zip(rest).for_each(|(place, &byte)| *place = byte);
            last
        });
        // The next bits, from the most significant on.
        let mut bits = u64::from_be_bytes(word) << (at % 8) | ((1 << (at % 8)) - 1);
        let left = bytes.len() * 8 - at;
        let (mut used, mut count) = (0, 0);
        for place in room {
            let (symbol, length) = CODE.quick[(bits >> (64 - QUICK_BITS)) as usize];
            if length == 0 || used + usize::from(length) > left {
                break;
            }
            *place = symbol;
            count += 1;
            bits <<= length;
            used += usize::from(length);
        }
        *written += count;
        at += used;
        if count > 0 {
            continue;
        }
        let (symbol, length) = long(bits).unwrap_or((END_OF_STRING, LONGEST as u32));
        if length as usize > left {
            // Padding: less than a byte, the beginning of the end of string, which is all ones.
            return if left < 8 && bits.leading_ones() as usize >= left { Ok(()) } else { Err(Malformed) };
        }
        if symbol == END_OF_STRING {
            return Err(Malformed);
        }
        out[*written] = symbol as u8;
        *written += 1;
        at += length as usize;
    }
    Err(Malformed) // never for want of room: no symbol has less than five bits
}

/// A symbol whose code is longer than the quick table's.
fn long(bits: u64) -> Option<(u16, u32)> {
    (QUICK_BITS as usize + 1..=LONGEST).find_map(|length| {
        let number = (bits >> (64 - length)) as u32;
        let at = number.checked_sub(CODE.first[length]).filter(|&at| at < CODE.count[length])?;
        let symbol = CODE.symbols.get((CODE.place[length] + at) as usize)?;
        Some((*symbol, length as u32))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::new();
        decode(bytes, &mut out).map(|()| out)
    }

    #[test]
    fn the_examples_of_the_rfc() {
        let www = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&www).as_deref(), Ok(&b"www.example.com"[..]));
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).as_deref(), Ok(&b"no-cache"[..]));
        assert_eq!(decoded(&[]).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn padding_is_short_and_all_ones() {
        assert_eq!(decoded(&[0xff]), Err(Malformed), "a byte of padding");
        assert_eq!(decoded(&[0x1f]).as_deref(), Ok(&b"a"[..]));
        assert_eq!(decoded(&[0x1e]), Err(Malformed), "padding with a zero in it");
        assert_eq!(decoded(&[0x1f, 0xff]), Err(Malformed));
        assert_eq!(decoded(&[0xff; 4]), Err(Malformed), "the end of string");
    }

    proptest! {
        #[test]
        fn what_others_encode(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut encoded = Vec::new();
            httlib_huffman::encode(&text, &mut encoded).expect("any bytes can be encoded");
            prop_assert_eq!(decoded(&encoded), Ok(text));
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut out = Vec::new();
            let _ = decode(&bytes, &mut out);
            prop_assert!(out.len() <= bytes.len() * 8 / 5);
        }
    }
}
