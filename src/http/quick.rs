//! The pass that most heads take: start line and headers found in one go, with vectors of bytes.
//!
//! It takes what is written as everybody writes it: a method of capital letters, a target of ordinary characters,
//! HTTP/1.0 or 1.1, names of token characters right before their colons, lines that end in CR LF, no control bytes. Anything
//! else it leaves to httparse and, behind that, to the tolerant pass of [`super::head`]; what it does take comes out as
//! it would there.

use crate::call::Version;
use crate::lanes::{Lanes, with_lanes};

use super::head::{Fields, Reading, RequestHead, ResponseHead};

/// Bytes that are classified together.
const BLOCK: usize = 64;

/// Reads a request's head, and tells how long it is.
pub(super) fn request<'h>(bytes: &'h [u8], reading: &Reading<'_>) -> Option<(RequestHead<'h>, usize)> {
    let mut fields = Fields::default();
    let (line, length) = fields_of(bytes, reading, &mut fields)?;
    let (method, target, version) = request_line(line)?;
    Some((RequestHead::new((method, target, version), fields), length))
}

/// Method, target and version of a request line without its end.
#[inline]
pub(super) fn request_line(line: &[u8]) -> Option<(&[u8], &[u8], Version)> {
    let (line, version) = match line.split_last_chunk::<9>()? {
        (line, b" HTTP/1.1") => (line, Version::Http11),
        (line, b" HTTP/1.0") => (line, Version::Http10),
        _ => return None,
    };
    let space = line.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let (method, target) = line.split_at_checked(space)?;
    let target = target.strip_prefix(b" ")?;
    // None of these is to be percent-encoded, so that nothing is odd about the target.
    if method.is_empty() || target.is_empty() || !target.iter().all(|&byte| is_ordinary(byte)) {
        return None;
    }
    Some((method, target, version))
}

/// Reads a response's head, and tells how long it is.
pub(super) fn response<'h>(bytes: &'h [u8], reading: &Reading<'_>) -> Option<(ResponseHead<'h>, usize)> {
    let mut fields = Fields::default();
    let (line, length) = fields_of(bytes, reading, &mut fields)?;
    let (version, line) = match line.split_first_chunk::<9>()? {
        (b"HTTP/1.1 ", line) => (Version::Http11, line),
        (b"HTTP/1.0 ", line) => (Version::Http10, line),
        _ => return None,
    };
    let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] = line else { return None };
    if !matches!(reason, [] | [b' ', ..]) {
        return None;
    }
    let status = [a, b, c].iter().fold(0, |status, &&digit| status * 10 + u16::from(digit - b'0'));
    fields.check(version);
    Some((ResponseHead { status: Some(status), version, fields }, length))
}

/// Characters of targets: those of URIs (RFC 3986, section 2), escaped or not.
fn is_ordinary(byte: u8) -> bool {
    const ORDINARY: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let others = b"-._~:/?#[]@!$&'()*+,;=%";
        let mut place = 0;
        while place < others.len() {
            table[others[place] as usize] = true;
            place += 1;
        }
        table
    };
    ORDINARY[usize::from(byte)]
}

/// Hands the headers to `fields`; the start line, and the length of the head.
fn fields_of<'h>(bytes: &'h [u8], reading: &Reading<'_>, fields: &mut Fields<'h>) -> Option<(&'h [u8], usize)> {
    with_lanes!(lanes => fields_with(lanes, bytes, reading, fields))
}

/// A bit for each byte of a block.
struct Masks {
    feeds: u64,
    returns: u64,
    /// All that is no token character (RFC 9110, section 5.6.2).
    others: u64,
    /// Control bytes that no head should have, line ends apart.
    controls: u64,
}

#[inline(always)]
fn classify<L: Lanes>(lanes: L, block: &[u8; BLOCK]) -> Masks {
    // By the low nibble, a bit for each high nibble below 8 with which it makes a token character.
    const TOKENS: [u8; 16] = {
        let mut table = [0u8; 16];
        let mut byte = 0u8;
        while byte < 128 {
            let token = byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                );
            if token {
                table[(byte & 15) as usize] |= 1 << (byte >> 4);
            }
            byte += 1;
        }
        table
    };
    const HIGH: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0];
    let (tokens, high) = (lanes.table(&TOKENS), lanes.table(&HIGH));
    let [feed, back, tab, delete, last, zero] = [b'\n', b'\r', b'\t', 0x7f, 0x1f, 0].map(
        #[inline(always)]
        |byte| lanes.splat(byte),
    );
    let mut masks = Masks { feeds: 0, returns: 0, others: 0, controls: 0 };
    let mut at = 0;
    while at + L::WIDTH <= BLOCK {
        let bytes = lanes.load(&block[at..]);
        let (feeds, returns) = (lanes.equal(bytes, feed), lanes.equal(bytes, back));
        let fits =
            lanes.and(lanes.look_up(tokens, lanes.low_nibbles(bytes)), lanes.look_up(high, lanes.high_nibbles(bytes)));
        let low = lanes.equal(lanes.least(bytes, last), bytes);
        masks.feeds |= lanes.bits(feeds) << at;
        masks.returns |= lanes.bits(returns) << at;
        masks.others |= lanes.bits(lanes.equal(fits, zero)) << at;
        masks.controls |= (lanes.bits(lanes.or(low, lanes.equal(bytes, delete)))
            & !lanes.bits(lanes.or(lanes.or(feeds, returns), lanes.equal(bytes, tab))))
            << at;
        at += L::WIDTH;
    }
    masks
}

#[inline(always)]
fn fields_with<'h, L: Lanes>(
    lanes: L,
    bytes: &'h [u8],
    reading: &Reading<'_>,
    fields: &mut Fields<'h>,
) -> Option<(&'h [u8], usize)> {
    let mut start_line = None;
    // Where the line begins, and its colon once that is found.
    let (mut line, mut colon) = (0, None);
    let (mut count, mut base) = (0, 0);
    // Of the block before: its last line feeds, and whether it ended in a carriage return.
    let (mut feeds_before, mut return_before) = (0, 0);
    loop {
        let rest = bytes.get(base..).filter(|rest| !rest.is_empty())?;
        let mut padded = [0; BLOCK];
        let block = match rest.first_chunk() {
            Some(block) => block,
            None => {
                padded.get_mut(..rest.len())?.copy_from_slice(rest);
                &padded
            }
        };
        let masks = classify(lanes, block);
        // The head ends at a line feed two bytes behind another.
        let ends = masks.feeds & (masks.feeds << 2 | feeds_before);
        let inside = match ends {
            0 => u64::MAX,
            ends => ends ^ (ends - 1),
        };
        let feeds = masks.feeds & inside;
        let paired = (masks.returns << 1 | return_before) & inside == feeds;
        if !paired || masks.controls & inside != 0 {
            return None;
        }
        if ends != 0 && line < base && line + 1 == base + ends.trailing_zeros() as usize {
            // The empty line began in the block before.
            return Some((start_line?, line + 2));
        }
        let mut at = 0;
        loop {
            let behind = u64::MAX.checked_shl(at).unwrap_or(0) & inside;
            if start_line.is_some() && colon.is_none() {
                let others = masks.others & behind;
                if others == 0 {
                    break;
                }
                at = others.trailing_zeros();
                let place = base + at as usize;
                match bytes.get(place) {
                    Some(b':') if place > line => colon = Some(place),
                    // The empty line.
                    Some(b'\r') if place == line && ends != 0 => return Some((start_line?, place + 2)),
                    Some(b'\r') if place == line => break,
                    _ => return None,
                }
                at += 1;
                continue;
            }
            let feeds = feeds & behind;
            if feeds == 0 {
                break;
            }
            at = feeds.trailing_zeros();
            let feed = base + at as usize;
            let end = feed.checked_sub(1)?; // the carriage return
            match colon.take() {
                None => start_line = Some(bytes.get(line..end)?),
                Some(colon) => {
                    count += 1;
                    if count > reading.header_limit {
                        return None;
                    }
                    fields.take(bytes.get(line..colon)?, trimmed(bytes.get(colon + 1..end)?), reading);
                }
            }
            line = feed + 1;
            at += 1;
        }
        if ends != 0 {
            return None; // never: the empty line would have been met
        }
        (feeds_before, return_before) = (masks.feeds >> 62, masks.returns >> 63);
        base += BLOCK;
    }
}

/// Without spaces and tabs at either end.
#[inline]
pub(super) fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::super::head;
    use super::*;
    use crate::lanes::Portable;
    use proptest::prelude::*;

    fn reading() -> Reading<'static> {
        Reading {
            header_limit: 100,
            is_api_key: &|name| name.eq_ignore_ascii_case(b"x-api-key"),
            is_own: Some(|name| name.starts_with(b"X-")),
        }
    }

    proptest! {
        /// What it takes, httparse takes as well, and makes the same of it.
        #[test]
        fn agrees_with_httparse(
            start in prop_oneof![
                "(GET|POST|get|G T) /[a-z?%\"]{0,90} HTTP/1.[012]",
                "HTTP/1.[01] [0-9]{2,4}( [A-Za-z \t]{0,9})?",
            ],
            headers in prop::collection::vec(
                ("(Host|Content-Length|Cookie|X-API-Key|X-[A-Za-z]{1,70}|[a-z:@ ]{0,4})", "[ \t]{0,2}", "([ -~]{0,100}|[0-9]{1,3}|\x00|\x7f|é\t)"),
                0..9
            ),
            ends in prop::collection::vec(prop_oneof![9 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")], 10),
            plain in any::<bool>(),
            body in "[ -~\r\n]{0,90}",
        ) {
            let mut text = start;
            let mut ends = ends.into_iter().map(|end| if plain { "\r\n" } else { end });
            text.push_str(ends.next().unwrap_or("\r\n"));
            for ((name, space, value), end) in headers.iter().zip(&mut ends) {
                text.push_str(&format!("{name}:{space}{value}{end}"));
            }
            text.push_str("\r\n");
            text.push_str(&body);
            let bytes = text.as_bytes();
            let reading = reading();
            let mut fields = Fields::default();
            let portable = fields_with(Portable, bytes, &reading, &mut fields);
            prop_assert_eq!(portable, fields_of(bytes, &reading, &mut Fields::default()));
            match (request(bytes, &reading), response(bytes, &reading)) {
                (Some((quick, length)), None) => {
                    let (usual, usual_length) = head::usual_request(bytes, &reading).expect("httparse takes it");
                    prop_assert_eq!(length, usual_length);
                    prop_assert_eq!(format!("{quick:?}"), format!("{usual:?}"));
                }
                (None, Some((quick, length))) => {
                    let (usual, usual_length) = head::usual_response(bytes, &reading).expect("httparse takes it");
                    prop_assert_eq!(length, usual_length);
                    prop_assert_eq!(format!("{quick:?}"), format!("{usual:?}"));
                }
                (None, None) => {}
                both => prop_assert!(false, "{both:?}"),
            }
        }
    }

    #[test]
    fn takes_plain_heads_wherever_blocks_end() {
        for padding in 0..200 {
            let head =
                format!("GET /v1/{} HTTP/1.1\r\nHost: h\r\nX-Empty:\r\nCookie: a=b \r\n\r\n", "x".repeat(padding));
            let text = format!("{head}GET / HTTP/1.1\r\n\r\n");
            let reading = reading();
            let (quick, length) = request(text.as_bytes(), &reading).expect("a plain head");
            assert_eq!(
                (length, quick.fields.cookie, quick.fields.host),
                (head.len(), Some(&b"a=b"[..]), Some(&b"h"[..]))
            );
            for cut in 0..head.len() {
                assert!(request(&text.as_bytes()[..cut], &reading).is_none(), "{cut} of {}", head.len());
            }
        }
        let (quick, length) = response(b"HTTP/1.1 204\r\n\r\n", &reading()).expect("a plain head");
        assert_eq!((quick.status, length), (Some(204), 16));
    }
}
