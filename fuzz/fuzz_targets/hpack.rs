//! Header blocks of any bytes, with losses between them: bounded, and never wrong about what came since a loss.
//!
//! Input: pieces of a length (one byte; 0 is a loss) and so many bytes of a block.
#![no_main]

use apitap::http::h2::hpack::{Decoder, Limits, List, Text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { list_bytes: 2000, list_fields: 40, table_bytes: 1500, table_entries: 20 };
    // The second begins later, and must agree with the first wherever it knows something.
    let (mut first, mut second) = (Decoder::new(limits), Decoder::new(limits));
    let (mut one, mut two) = (List::default(), List::default());
    let mut rest = bytes;
    while let Some((&length, behind)) = rest.split_first() {
        let (block, next) = behind.split_at(usize::from(length).min(behind.len()));
        rest = next;
        if block.is_empty() {
            second.lose();
            continue;
        }
        one.clear();
        two.clear();
        let (a, b) = (first.decode(block, &mut one), second.decode(block, &mut two));
        assert!(one.fields().count() <= 40);
        let agrees = |a: Text<'_>, b: Text<'_>| a.known().zip(b.known()).is_none_or(|(a, b)| a == b);
        for ((name, value), (other_name, other_value)) in one.fields().zip(two.fields()) {
            // Where the list was cut they may be out of step.
            assert!(one.cut || two.cut || a.is_err() || (agrees(name, other_name) && agrees(value, other_value)));
        }
        if a.is_err() || b.is_err() {
            // A peer would end the connection.
            return;
        }
    }
});
