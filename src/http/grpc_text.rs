//! The texts in a message of the protobuf wire format, without its schema
//! (<https://protobuf.dev/programming-guides/encoding/>).
//!
//! A field with a length may be a string, bytes, packed numbers or a message. What is printable UTF-8 is taken for text,
//! what parses to its end as fields for a message, and all else as it stands: to take too much costs nothing, since the
//! texts are only searched. What is no protobuf at all comes out as it stands too.

/// Messages within messages that are looked into; deeper ones come out as they stand.
const DEPTH: u32 = 16;

/// Fields that are looked at in one message and those within it; the rest comes out as it stands. So work is at most
/// [`DEPTH`] looks at each byte.
const FIELDS: u32 = 1 << 16;

/// Appends the texts of `message` to `out`, each with a line end behind it.
pub fn texts(message: &[u8], out: &mut Vec<u8>) {
    let mut left = FIELDS;
    walk(message, DEPTH, &mut left, out);
}

fn walk(message: &[u8], depth: u32, left: &mut u32, out: &mut Vec<u8>) {
    let mut rest = message;
    while !rest.is_empty() {
        let field = if *left > 0 { next(rest) } else { None };
        let Some((value, behind)) = field else {
            put(rest, out);
            return;
        };
        *left -= 1;
        rest = behind;
        match value {
            None | Some([]) => {}
            Some(value) if depth > 0 && !is_text(value) && is_message(value, left) => walk(value, depth - 1, left, out),
            Some(value) => put(value, out),
        }
    }
}

fn put(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// The value of the first field, if it is one with a length, and what stands behind the field. None when this is none.
fn next(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (tag, rest) = number(bytes)?;
    if tag >> 3 == 0 || tag > u64::from(u32::MAX) {
        return None;
    }
    match tag & 7 {
        0 => Some((None, number(rest)?.1)),
        1 => Some((None, rest.get(8..)?)),
        2 => {
            let (length, rest) = number(rest)?;
            let (value, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some((Some(value), behind))
        }
        5 => Some((None, rest.get(4..)?)),
        _ => None, // groups are long out of use, and would make a message of most texts
    }
}

/// A number in base 128.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(place + 1..)?));
        }
    }
    None
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r'))
        && std::str::from_utf8(bytes).is_ok()
}

fn is_message(bytes: &[u8], left: &mut u32) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some((_, behind)) = next(rest).filter(|_| *left > 0) else { return false };
        *left -= 1;
        rest = behind;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(message: &[u8]) -> String {
        let mut out = Vec::new();
        texts(message, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        assert!(value.len() < 128);
        [&[number << 3 | 2, value.len() as u8], value].concat()
    }

    #[test]
    fn strings_at_any_depth() {
        let inner = [field(1, b"ana@mail.example"), vec![0x10, 0x96, 0x01], field(3, "žluťoučký".as_bytes())].concat();
        let outer = [field(2, &inner), vec![0x1d, 1, 2, 3, 4], vec![0x21, 1, 2, 3, 4, 5, 6, 7, 8], field(5, b"end")];
        assert_eq!(found(&outer.concat()), "ana@mail.example\nžluťoučký\nend\n");
        let mut deep = field(1, b"deep");
        for _ in 0..30 {
            deep = field(1, &deep);
        }
        assert!(found(&deep).contains("deep"));
    }

    #[test]
    fn what_is_no_protobuf_comes_out_as_it_stands() {
        assert_eq!(found(b"{\"a\":\"ana@mail.example\"}"), "{\"a\":\"ana@mail.example\"}\n");
        let cut = &field(1, b"ana@mail.example")[..10];
        assert!(found(cut).contains("ana@mail"));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..24], 0..300)) {
            // No more than a line end for each byte is added.
            prop_assert!(found(&bytes).len() <= 6 * bytes.len() + 1);
        }
    }
}
