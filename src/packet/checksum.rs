//! The Internet checksum (RFC 1071), verified only when asked: where the sending machine itself captures, the card
//! has yet to fill it in.

use super::ip::{Addresses, number};

/// True when an IPv4 header, options included, sums up.
pub(super) fn ipv4_header(header: &[u8]) -> bool {
    fold(sum(0, header)) == 0xffff
}

/// True when a TCP segment, all of which was captured, sums up with its pseudo-header.
pub(super) fn tcp(addresses: &Addresses, segment: &[u8]) -> bool {
    let mut total = u64::from(number::TCP) + segment.len() as u64;
    // Zeros in front of an IPv4 address add nothing.
    for address in [addresses.source, addresses.destination] {
        total = sum(total, &address.to_be_bytes());
    }
    fold(sum(total, segment)) == 0xffff
}

fn sum(start: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let total = words.iter().fold(start, |total, word| total + u64::from(u16::from_be_bytes(*word)));
    match rest {
        [last] => total + (u64::from(*last) << 8),
        _ => total,
    }
}

fn fold(mut total: u64) -> u64 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard() {
        // RFC 1071, section 3: the bytes 00 01 f2 03 f4 f5 f6 f7 sum up to ddf2.
        assert_eq!(fold(sum(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
        assert_eq!(fold(sum(0, &[0x12])), 0x1200);
    }
}
