//! The conformance captures, when they are there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::*;

/// Nanoseconds, bytes, length on the wire.
type Captured<'c> = (i64, &'c [u8], u32);

/// Reads a capture in classic pcap: link type and frames.
fn read_capture(file: &[u8]) -> Option<(u16, Vec<Captured<'_>>)> {
    let magic: [u8; 4] = file.get(..4)?.try_into().ok()?;
    let (is_big, is_nano) = match magic {
        [0xd4, 0xc3, 0xb2, 0xa1] => (false, false),
        [0x4d, 0x3c, 0xb2, 0xa1] => (false, true),
        [0xa1, 0xb2, 0xc3, 0xd4] => (true, false),
        [0xa1, 0xb2, 0x3c, 0x4d] => (true, true),
        _ => return None,
    };
    let word = |at: usize| {
        let bytes: [u8; 4] = file.get(at..at + 4)?.try_into().ok()?;
        Some(if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let (mut at, mut frames) = (24, Vec::new());
    while let (Some(seconds), Some(fraction), Some(length), Some(original)) =
        (word(at), word(at + 4), word(at + 8), word(at + 12))
    {
        let Some(data) = file.get(at + 16..at + 16 + length as usize) else { break };
        let nanos = i64::from(seconds) * 1_000_000_000 + i64::from(fraction) * if is_nano { 1 } else { 1000 };
        frames.push((nanos, data, original.max(length)));
        at += 16 + length as usize;
    }
    Some((word(20)? as u16, frames))
}

fn corpus() -> Option<Vec<(String, Vec<u8>)>> {
    let shared = std::env::var_os("APITAP_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")), PathBuf::from);
    let folders = std::fs::read_dir(shared.join("corpus")).ok()?;
    let files = folders.flatten().filter_map(|folder| std::fs::read_dir(folder.path()).ok()).flatten().flatten();
    let captures = files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|kind| kind == "pcap"));
    let mut all: Vec<_> = captures
        .filter_map(|path| {
            let folder = path.parent()?.file_name()?.to_str()?;
            Some((format!("{folder}/{}", path.file_stem()?.to_str()?), std::fs::read(&path).ok()?))
        })
        .collect();
    all.sort();
    Some(all)
}

/// What decoding a capture came to: counters, segments with payload, and the flows by encapsulation.
fn decode_capture(file: &[u8]) -> Option<(Counters, u64, BTreeMap<u64, u64>)> {
    let (link, frames) = read_capture(file)?;
    let (mut decoder, mut counters) = (Stage::new(Settings::default()), Counters::new());
    let (mut with_payload, mut digests) = (0, BTreeMap::new());
    for (nanos, data, original_length) in frames {
        counters.count(Counter::Frames);
        let mut frame = frame(link, data, nanos);
        frame.original_length = original_length;
        if let Some(segment) = decoder.decode(&frame, &mut counters) {
            with_payload += u64::from(!segment.payload.is_empty());
            *digests.entry(segment.encapsulation.digest()).or_default() += 1;
        }
    }
    decoder.decoder.finish(&mut counters);
    Some((counters, with_payload, digests))
}

#[test]
fn the_conformance_captures() {
    let Some(captures) = corpus() else {
        println!("skipped: no conformance captures; set APITAP_SHARED");
        return;
    };
    let is_verbose = std::env::var_os("APITAP_VERBOSE").is_some();
    let mut known = BTreeMap::new();
    for (name, file) in captures {
        let Some((counters, with_payload, digests)) = decode_capture(&file) else { continue };
        let value = |counter| counters.value(counter);
        let fates: u64 = [
            Counter::Segments,
            Counter::DuplicatePackets,
            Counter::UnknownLinkType,
            Counter::NotIp,
            Counter::NotTcp,
            Counter::MalformedPackets,
            Counter::TunnelTooDeep,
        ]
        .into_iter()
        .map(value)
        .sum();
        let held = value(Counter::Fragments);
        assert!(
            fates <= value(Counter::Frames) + held && fates + held >= value(Counter::Frames),
            "{name}: {counters:?}"
        );
        assert_eq!(value(Counter::UnknownLinkType), 0, "{name}");
        if is_verbose {
            let counted = serde_json::to_string(&counters).expect("a map of numbers");
            println!("{name}\t{with_payload}\t{}\t{counted}", digests.len());
        }
        known.insert(name, (with_payload, digests));
    }
    // One connection untagged, one on VLAN 42, one on 10 in 20: the same addresses, ports and even packets.
    let (_, collisions) = &known["zeek/vlan-collisions"];
    assert_eq!(collisions.len(), 3);
    assert_eq!(collisions.values().collect::<BTreeSet<_>>().len(), 1);
}
