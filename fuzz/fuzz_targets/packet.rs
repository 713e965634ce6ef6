//! The packet decoder: any bytes as several frames of one link type.
//!
//! Input: link type (index), options, then frames, each of a length (two bytes, little end first), milliseconds since
//! the one before, bytes that were not captured, and its data.
#![no_main]

use apitap::packet::{Decoder, Duplicates, Settings};
use apitap::source::{Frame, LinkType};
use apitap::stats::{Counter, Counters};
use apitap::time::Timestamp;
use libfuzzer_sys::fuzz_target;

const LINKS: [u16; 16] = [1, 0, 9, 12, 50, 101, 104, 105, 108, 113, 166, 204, 228, 229, 239, 276];

fuzz_target!(|data: &[u8]| {
    let [link, options, rest @ ..] = data else { return };
    let link = LinkType(LINKS[usize::from(link % 16)]);
    let settings = Settings {
        verify_checksums: options & 1 != 0,
        depth: usize::from(options >> 1 & 0x0f),
        duplicate_packets: 256,
        duplicate_links: 256,
        fragment_bytes: 20_000,
        fragment_packets: 8,
        fragment_pieces: 16,
        ..Settings::default()
    };
    let mut duplicates = Duplicates::new(&settings, 1);
    let mut decoder = Decoder::new(settings);
    let (mut counters, mut rest, mut nanos) = (Counters::new(), rest, 0);
    while let [low, high, delay, missing, behind @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(behind.len());
        let (data, next) = behind.split_at(length);
        rest = next;
        nanos += i64::from(*delay) * 1_000_000;
        let original_length = (length + usize::from(*missing)) as u32;
        let frame = Frame { time: Timestamp::from_nanos(nanos), link, data, original_length };
        counters.count(Counter::Frames);
        let segment = decoder.decode(&frame, &mut counters);
        if let Some(segment) =
            segment.and_then(|found| duplicates.admit(&found, frame.time, &mut counters).segment(found))
        {
            assert!(segment.payload.len() <= 65_535.max(data.len()));
            assert!(segment.missing <= u32::from(*missing));
        }
    }
    decoder.finish(&mut counters);
    assert!(counters.value(Counter::Segments) <= counters.value(Counter::Frames));
});
