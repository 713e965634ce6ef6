//! Captures that are cut off, damaged, or none at all.

use proptest::prelude::*;

use super::*;

/// Ends of the records of a capture, the end of its header first.
fn boundaries(build: impl Fn(&[Sample]) -> Vec<u8>, frames: &[Sample]) -> Vec<usize> {
    (0..=frames.len()).map(|count| build(&frames[..count]).len()).collect()
}

fn cut_everywhere(build: impl Fn(&[Sample]) -> Vec<u8>, clean: &[usize]) {
    let frames = samples(9);
    let whole = build(&frames);
    let ends = boundaries(&build, &frames);
    for cut in 0..whole.len() {
        let (seen, errors) = read(&whole[..cut]);
        let expected = ends.iter().filter(|&&end| end <= cut).count().saturating_sub(1);
        assert_eq!(seen, frames[..expected], "cut at {cut}");
        let boundary = ends.contains(&cut) || clean.contains(&cut);
        assert_eq!(errors.len(), usize::from(!boundary), "cut at {cut}: {errors:?}");
        if let Some(error) = errors.first() {
            let record = ends.iter().chain(clean).filter(|&&end| end <= cut).max().copied().unwrap_or(0);
            assert!(cut == 0 || error.offset == Some(record as u64), "cut at {cut}: {error}");
            assert_eq!(error.name, "test");
        }
    }
}

#[test]
fn cut_at_every_byte() {
    cut_everywhere(pcap, &[]);
    cut_everywhere(|frames| pcap_with(frames, 0xa1b2_3c4d, true, 1, 0), &[]);
    cut_everywhere(|frames| pcap_with(frames, 0xa1b2_cd34, false, 1, 0), &[]);
    cut_everywhere(pcapng, &[28]); // behind the section header
}

/// What a decoder gives of `bytes` before it fails, byte by byte so that nothing is lost with the error.
fn decodable(mut decoder: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while let Ok(1) = decoder.read(&mut byte) {
        bytes.extend(byte);
    }
    bytes
}

fn damaged_compression(whole: &[u8], decode: impl Fn(&[u8]) -> Vec<u8>) {
    let settings = Settings::default();
    let read = |bytes: Vec<u8>| drain(super::super::from_bytes("test", bytes, &settings));
    for cut in 4..whole.len() {
        let (frames, errors) = read(whole[..cut].to_vec());
        let readable = decode(&whole[..cut]);
        assert_eq!(frames, read(readable.clone()).0, "cut at {cut}");
        assert_eq!(errors.len(), 1, "cut at {cut}: {errors:?}");
        assert_eq!(errors[0].offset.unwrap_or(0), readable.len() as u64, "cut at {cut}: {}", errors[0]);
    }
    for at in 4..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x10;
        let (frames, _) = read(bytes.clone());
        let expected = read(decode(&bytes)).0;
        assert!(frames.len() >= expected.len(), "damaged at {at}: {} of {}", frames.len(), expected.len());
    }
}

#[test]
fn damaged_compression_gives_all_that_can_be_decompressed() {
    let capture = pcap(&samples(60));
    damaged_compression(&gzip(&capture), |bytes| decodable(flate2::read::GzDecoder::new(bytes)));
    damaged_compression(&zstd(&capture), |bytes| {
        decodable(zstd::stream::read::Decoder::new(bytes).expect("a decoder").single_frame())
    });
}

#[test]
fn compressed_captures_larger_than_the_buffers_lose_nothing_when_cut() {
    // Each byte of the packed capture unpacks to about a thousand, and the read buffer ends within a frame.
    let frames: Vec<_> =
        (0..300).map(|_| Sample { nanos: 0, link: 1, data: vec![0; 1000], original_length: 1000 }).collect();
    let packed = gzip(&pcap(&frames));
    for cut in packed.len() / 2..packed.len() {
        let mut decoder = flate2::Decompress::new_gzip(15);
        let mut readable = vec![0; 1 << 20];
        let result = decoder.decompress(&packed[..cut], &mut readable, flate2::FlushDecompress::None);
        let readable = decoder.total_out() as usize;
        let broken = Trickle(std::io::Cursor::new(packed[..cut].to_vec()), 1);
        let (seen, errors) = drain(super::super::from_reader("test", broken, &Settings::default()));
        assert_eq!(seen.len(), (readable - 24) / 1016, "cut at {cut}: {errors:?}, {result:?}");
        assert_eq!(errors[0].offset, Some(readable as u64), "cut at {cut}: {errors:?}");
    }
}

#[test]
fn damage_behind_many_blocks_loses_none_of_them() {
    // Incompressible, so that it is several blocks of zstd and of deflate.
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let frames: Vec<_> = (0..800)
        .map(|number| Sample {
            nanos: number * 1000,
            link: 1,
            data: (0..1000).map(|_| noise()).collect(),
            original_length: 1000,
        })
        .collect();
    let capture = pcap(&frames);
    for mut bytes in [gzip(&capture), zstd(&capture)] {
        let cut = bytes.len() * 9 / 10;
        bytes.truncate(cut);
        bytes.extend([0xff; 4096]);
        let (seen, errors) =
            drain(super::super::from_bytes("test", bytes, &Settings { max_open_files: 1, ..Settings::default() }));
        assert_eq!(errors.len(), 1);
        assert!(seen.len() > 800 * 6 / 10, "{} of 800: {errors:?}", seen.len());
        assert_eq!(seen[..600], frames[..600]);
    }
}

#[test]
fn a_bad_zstd_block_header_does_not_lose_the_block_before_it() {
    let frames = samples(3);
    let capture = pcap(&frames);
    let raw_block = (capture.len() as u32) << 3; // not the last
    let frame_header = [0, 0x58]; // no checksum, no content size, a window of 2 MiB
    let bytes = [&[0x28, 0xb5, 0x2f, 0xfd][..], &frame_header, &raw_block.to_le_bytes()[..3], &capture, &[0xff; 8]];
    let (seen, error) = read_badly(&bytes.concat());
    assert_eq!(seen, frames);
    assert!(error.reason.contains("zstd data is damaged"), "{error}");
}

#[test]
fn trailing_bytes_behind_compressed_data_are_an_error() {
    let frames = samples(5);
    for packed in [gzip(&pcap(&frames)), zstd(&pcap(&frames))] {
        let (seen, error) = read_badly(&[&packed[..], b"garbage"].concat());
        assert_eq!(seen, frames);
        assert!(error.reason.contains("damaged"), "{error}");
    }
}

#[test]
fn a_zstd_window_above_the_limit_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("an encoder");
    encoder.window_log(24).expect("a window");
    encoder.write_all(&pcap(&samples(3))).expect("memory takes all");
    let bytes = encoder.finish().expect("memory takes all");
    assert_eq!(read_well(&bytes).len(), 3);
    let settings = Settings { zstd_window_log: 20, ..Settings::default() };
    let (frames, errors) = drain(super::super::from_bytes("test", bytes, &settings));
    assert!(frames.is_empty() && errors[0].reason.contains("zstd_window_log"), "{errors:?}");
}

#[test]
fn what_is_no_capture_is_told_by_name() {
    assert_eq!(read_badly(b"").1.to_string(), "test: is empty");
    assert_eq!(read_badly(&gzip(b"")).1.to_string(), "test: is empty");
    for (bytes, word) in [
        (&b"GET / HTTP/1.1"[..], "begins with 47 45 54 20"),
        (b"\xa1", "less than four bytes"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh91AY", "bzip2"),
        (b"\xd4\xc3\xb2\xa1\x02", "within the file header"),
        (&gzip(&gzip(&pcap(&samples(1)))), "compressed twice"),
    ] {
        let error = read_badly(bytes).1;
        assert!(error.reason.contains(word), "{error}");
    }
}

#[test]
fn claimed_lengths_above_the_limits_are_damage() {
    let mut capture = pcap(&samples(3));
    let third = capture.len() - 16 - samples(3)[2].data.len();
    for claimed in [262_145_u32, 20 << 20, u32::MAX] {
        capture[third + 8..third + 12].copy_from_slice(&claimed.to_le_bytes());
        for tail in [0, 300_000] {
            let mut bytes = capture.clone();
            bytes.resize(bytes.len() + tail, 0);
            let (frames, errors) = drain(super::super::from_bytes("test", bytes, &Settings::default()));
            assert_eq!(frames.len(), 2);
            assert!(errors[0].reason.contains(&format!("claims {claimed} bytes")), "{errors:?}");
            assert_eq!(errors[0].offset, Some(third as u64));
        }
    }
    for (claimed, word) in [(13_u32, "claims 13"), (8, "claims 8"), (0, "claims 0"), (32 << 20, "max_block_bytes")] {
        let mut file = Pcapng::new(false);
        file.interface(1, 0, &[]).enhanced(0, 1, b"good", 4);
        file.bytes.extend(6_u32.to_le_bytes());
        file.bytes.extend(claimed.to_le_bytes());
        file.bytes.extend([0; 64]);
        let (frames, error) = read_badly(&file.bytes);
        assert_eq!(frames.len(), 1);
        assert!(error.reason.contains(word), "{error}");
    }
}

#[test]
fn pcapng_contradictions_are_damage() {
    let good = pcapng(&samples(2));
    let mut lengths = good.clone();
    *lengths.last_mut().expect("not empty") ^= 1;
    assert!(read_badly(&lengths).1.reason.contains("two lengths"));

    let mut version = good.clone();
    version[12] = 9;
    assert!(read_badly(&version).1.reason.contains("version 9.0"));

    let mut order = good.clone();
    order[8] ^= 1;
    assert!(read_badly(&order).1.reason.contains("byte-order magic"));

    let mut captured = good;
    captured[28 + 20 + 20] = 200;
    assert!(read_badly(&captured).1.reason.contains("more than its block has"));

    let mut file = Pcapng::new(false);
    file.interface(1, 0, &[(9, b"")]);
    assert!(read_badly(&file.bytes).1.reason.contains("shorter than its kind"));

    let mut file = Pcapng::new(true);
    file.block(1, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 200, 1, 2, 3, 4]);
    assert!(read_badly(&file.bytes).1.reason.contains("option is longer"));
}

#[test]
fn interfaces_are_bounded() {
    let mut file = Pcapng::new(false);
    for _ in 0..5 {
        file.interface(1, 0, &[]);
    }
    let settings = Settings { max_interfaces: 4, ..Settings::default() };
    let (_, errors) = drain(super::super::from_bytes("test", file.bytes, &settings));
    assert!(errors[0].reason.contains("max_interfaces (4)"), "{errors:?}");
}

proptest! {
    #[test]
    fn mutated_captures_end(
        which in 0_usize..6,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let frames = samples(12);
        let mut bytes = match which {
            0 => pcap(&frames),
            1 => pcap_with(&frames, 0xa1b2_3c4d, true, 1, 0),
            2 => pcapng(&frames),
            3 => {
                let mut file = Pcapng::new(true);
                file.interface(1, 40, &[(9, &[0x8a]), (14, &[0, 0, 0, 0, 0, 0, 0, 9])]).simple(b"simple", 6);
                file.obsolete(0, 77, b"obsolete", 8).block(77, b"unknown").section(false).interface(1, 0, &[(9, &[9])]);
                file.enhanced(0, 99, b"enhanced", 8);
                file.bytes
            }
            4 => gzip(&pcap(&frames)),
            _ => zstd(&pcapng(&frames)),
        };
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        let (_, errors) = read(&bytes);
        prop_assert!(errors.len() <= 1);
    }

    #[test]
    fn noise_behind_a_magic_number_ends(noise in proptest::collection::vec(any::<u8>(), 0..400), which in 0_usize..6) {
        let magic: &[u8] = [
            &[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0][..],
            &[0xa1, 0xb2, 0x3c, 0x4d],
            &[0x0a, 0x0d, 0x0d, 0x0a],
            &[0x1f, 0x8b, 8, 0],
            &[0x28, 0xb5, 0x2f, 0xfd],
            &[0x50, 0x2a, 0x4d, 0x18],
        ][which];
        read(&[magic, &noise].concat());
    }
}
