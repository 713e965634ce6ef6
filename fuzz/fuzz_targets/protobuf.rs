//! Messages of protobuf of any bytes: bounded, and what stands beside the damage comes out.
#![no_main]

use apitap::http::grpc_text::texts;
use libfuzzer_sys::fuzz_target;

const TEXT: &[u8] = b"ana@mail.example";

/// Longer inputs may have more fields than are looked at.
const MOST: usize = 4_096;

/// A field of a length that needs two bytes at most.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let length = [value.len() as u8 & 0x7f | 0x80, (value.len() >> 7) as u8];
    [&[number << 3 | 2][..], &length, value].concat()
}

fuzz_target!(|bytes: &[u8]| {
    let bytes = &bytes[..bytes.len().min(MOST)];
    let mut out = Vec::new();
    texts(bytes, &mut out);
    // A line end for each value, which has two bytes before it; for the rest at each depth, one.
    assert!(out.len() <= bytes.len() + 17);
    out.clear();
    texts(&[field(1, bytes), field(2, TEXT), bytes.to_vec()].concat(), &mut out);
    let line = [TEXT, b"\n"].concat();
    assert!(out.windows(line.len()).any(|found| found == line));
});
