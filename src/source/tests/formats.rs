//! Every format, byte order, resolution and compression.

use super::*;

#[test]
fn pcap_in_every_byte_order_and_resolution() {
    let micro = samples(20);
    let nano: Vec<_> = samples(20).into_iter().map(|sample| Sample { nanos: sample.nanos + 123, ..sample }).collect();
    for big in [false, true] {
        assert_eq!(read_well(&pcap_with(&micro, 0xa1b2_c3d4, big, 1, 65_535)), micro);
        assert_eq!(read_well(&pcap_with(&nano, 0xa1b2_3c4d, big, 1, 65_535)), nano);
    }
    assert_eq!(read_well(&pcap_with(&micro, 0xa1b2_cd34, false, 1, 65_535)), micro, "Kuznetzov's");
}

#[test]
fn pcap_link_type_is_without_the_bits_about_the_check_sequence() {
    let frames = read_well(&pcap_with(&samples(1), 0xa1b2_c3d4, true, 0x2400_0071, 0));
    assert_eq!(frames[0].link, 113);
}

#[test]
fn pcap_with_an_original_length_below_the_captured_one() {
    let sample = Sample { nanos: 0, link: 1, data: vec![1; 60], original_length: 0 };
    assert_eq!(read_well(&pcap(&[sample]))[0].original_length, 60);
}

#[test]
fn pcapng_time_resolutions_and_offsets() {
    let second = 1_772_460_000_u64;
    // Option if_tsresol, ticks, nanoseconds that they are.
    let cases: [(u8, u64, i64); 9] = [
        (0, second, 1_772_460_000_000_000_000),
        (3, second * 1000 + 5, 1_772_460_000_005_000_000),
        (6, second * 1_000_000 + 5, 1_772_460_000_000_005_000),
        (9, second * 1_000_000_000 + 5, 1_772_460_000_000_000_005),
        (10, second * 10_000_000_000 + 57, 1_772_460_000_000_000_005),
        (0x80, second, 1_772_460_000_000_000_000),
        (0x80 | 10, second * 1024 + 512, 1_772_460_000_500_000_000),
        (0x80 | 30, (second << 30) + (1 << 28), 1_772_460_000_250_000_000),
        (0x80 | 63, 1 << 62, 500_000_000),
    ];
    for big in [false, true] {
        for (option, ticks, nanos) in cases {
            for offset in [0_i64, 3600, -100] {
                let mut file = Pcapng::new(big);
                let offset_option = file.order.u64(offset as u64);
                file.interface(1, 0, &[(2, b"eth0"), (9, &[option]), (14, &offset_option)]);
                file.enhanced(0, ticks, b"abc", 3);
                let expected = (nanos + offset * 1_000_000_000).max(0);
                assert_eq!(read_well(&file.bytes)[0].nanos, expected, "{option:#x} {offset}");
            }
        }
    }
}

#[test]
fn pcapng_times_out_of_range_saturate() {
    let mut file = Pcapng::new(true);
    file.interface(1, 0, &[(9, &[0]), (14, &[0x7f, 255, 255, 255, 255, 255, 255, 255])]);
    file.interface(1, 0, &[(9, &[0]), (14, &[0x80, 0, 0, 0, 0, 0, 0, 0])]);
    file.enhanced(0, u64::MAX, b"late", 4).enhanced(1, 0, b"early", 5);
    let frames = read_well(&file.bytes);
    assert_eq!((frames[0].nanos, frames[1].nanos), (i64::MAX, 0));
}

#[test]
fn pcapng_resolutions_that_no_number_holds_are_errors() {
    for option in [20, 0x7f, 0x80 | 64, 0xff] {
        let mut file = Pcapng::new(false);
        file.interface(1, 0, &[(9, &[option])]);
        let (frames, error) = read_badly(&file.bytes);
        assert!(frames.is_empty() && error.reason.contains("resolution"), "{error}");
        assert_eq!(error.offset, Some(28));
    }
}

#[test]
fn pcapng_sections_have_their_own_interfaces_and_byte_order() {
    let mut file = Pcapng::new(false);
    file.interface(1, 0, &[]).interface(113, 0, &[]).enhanced(1, 1, b"one", 3).enhanced(0, 2, b"two", 3);
    file.section(true).interface(101, 0, &[]).enhanced(0, 3, b"three", 5);
    file.section(false).interface(276, 0, &[(9, &[9])]).enhanced(0, 4, b"four", 4);
    let seen: Vec<_> = read_well(&file.bytes).into_iter().map(|frame| (frame.link, frame.nanos, frame.data)).collect();
    let expected = [
        (113, 1000, b"one".to_vec()),
        (1, 2000, b"two".to_vec()),
        (101, 3000, b"three".to_vec()),
        (276, 4, b"four".to_vec()),
    ];
    assert_eq!(seen, expected);

    file.section(false).enhanced(0, 5, b"of no interface", 15);
    let (frames, error) = read_badly(&file.bytes);
    assert_eq!(frames.len(), 4);
    assert!(error.reason.contains("interface 0, where 0 are declared"), "{error}");
}

#[test]
fn pcapng_simple_and_obsolete_packets() {
    for big in [false, true] {
        let mut file = Pcapng::new(big);
        file.interface(1, 4, &[]);
        file.simple(b"none before", 11).obsolete(0, 7, b"obsolete", 9).simple(b"simpXXXX", 6).simple(b"ab", 2);
        let frames = read_well(&file.bytes);
        let sample =
            |nanos, data: &[u8], original_length| Sample { nanos, link: 1, data: data.to_vec(), original_length };
        let expected = [
            sample(0, b"none", 11),
            sample(7000, b"obsolete", 9),
            sample(7000, b"simp", 6), // the snap length of the interface
            sample(7000, b"ab", 2),   // without the padding
        ];
        assert_eq!(frames, expected);
    }
}

#[test]
fn pcapng_unknown_blocks_are_skipped_and_counted() {
    let mut file = Pcapng::new(true);
    file.interface(1, 0, &[]).block(0xbad, b"custom").enhanced(0, 1, b"one", 3);
    file.block(0x8000_0001, &[0; 40]).block(99, b"").block(10, b"decryption secrets").block(5, &[0; 12]);
    file.block(4, &[0; 4]).enhanced(0, 2, b"two", 3);
    assert_eq!(read_well(&file.bytes).len(), 2);
    let mut source = super::super::from_bytes("test", file.bytes, &Settings::default());
    while source.advance() != Ok(Advance::End) {}
    assert_eq!(skipped(&mut source), 3);
}

/// The secrets as they come between the frames, each with the number of frames before it.
fn secrets(mut source: impl Source) -> (Vec<(usize, String)>, usize) {
    let (mut secrets, mut frames) = (Vec::new(), 0);
    loop {
        match source.advance().expect("no failure") {
            Advance::Secrets => secrets.push((frames, String::from_utf8(source.secrets().to_vec()).expect("text"))),
            Advance::Frame => frames += 1,
            Advance::Idle(_) => panic!("a capture is never idle"),
            Advance::End => return (secrets, frames),
        }
    }
}

#[test]
fn pcapng_secrets_come_where_they_lie() {
    for big in [false, true] {
        let mut file = Pcapng::new(big);
        let block = |kind: u32, text: &str, order: Order| {
            let mut body = [order.u32(kind), order.u32(text.len() as u32)].concat();
            body.extend(text.as_bytes());
            body.resize(body.len().next_multiple_of(4), 0);
            body
        };
        let order = file.order;
        let (tls, wireguard) = (0x544c_534b, 0x5747_4b4c);
        file.block(10, &block(tls, "first", order)).interface(1, 0, &[]).enhanced(0, 5, b"one", 3);
        file.block(10, &block(wireguard, "other", order)).block(10, &block(tls, "second\n", order));
        file.block(10, &block(tls, "", order)).enhanced(0, 6, b"two", 3).block(10, &block(tls, "last", order));
        let expected = [(0, "first"), (1, "second\n"), (1, ""), (2, "last")].map(|(at, text)| (at, text.to_owned()));
        let settings = Settings::default();
        for bytes in [file.bytes.clone(), gzip(&file.bytes), zstd(&file.bytes)] {
            assert_eq!(secrets(super::super::from_bytes("test", bytes, &settings)), (expected.to_vec(), 2));
        }
        let mut damaged = Pcapng::new(big);
        damaged.block(10, &[order.u32(tls), order.u32(5), [0; 4]].concat());
        let mut source = super::super::from_bytes("test", damaged.bytes, &settings);
        assert!(source.advance().is_err_and(|error| error.reason.contains("secrets claim 5 bytes")));
        assert_eq!(source.advance(), Ok(Advance::End));
    }
}

#[test]
fn secrets_of_merged_captures_come_before_the_frames_behind_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, ticks: [u64; 2]| {
        let mut file = Pcapng::new(false);
        let order = file.order;
        let block = |text: &str| [&order.u32(0x544c_534b)[..], &order.u32(4), text.as_bytes()].concat();
        file.block(10, &block(&format!("{name}-0\n"))).interface(1, 0, &[]).enhanced(0, ticks[0], b"one", 3);
        file.block(10, &block(&format!("{name}-1\n"))).enhanced(0, ticks[1], b"two", 3);
        let path = folder.path().join(name);
        std::fs::write(&path, &file.bytes).expect("written");
        path
    };
    let paths = [write("a", [10, 40]), write("b", [20, 30])];
    let (secrets, frames) = secrets(super::super::open(&paths, &Settings::default()));
    let secrets: Vec<_> = secrets.iter().map(|(at, text)| (*at, text.trim_end())).collect();
    assert_eq!((secrets, frames), (vec![(0, "a-0"), (1, "a-1"), (1, "b-0"), (2, "b-1")], 4));
}

#[test]
fn compressed_captures() {
    let frames = samples(200);
    for capture in [pcap(&frames), pcapng(&frames)] {
        let (first, second) = capture.split_at(capture.len() / 3);
        assert_eq!(read_well(&gzip(&capture)), frames);
        assert_eq!(read_well(&zstd(&capture)), frames);
        assert_eq!(read_well(&[gzip(first), gzip(b""), gzip(second)].concat()), frames, "gzip members");
        assert_eq!(read_well(&[gzip(first), vec![0; 5], gzip(second), vec![0; 900]].concat()), frames, "padding");
        assert_eq!(read_well(&[zstd(first), zstd(b""), zstd(second)].concat()), frames, "zstd frames");
        let skippable = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        assert_eq!(read_well(&[&skippable[..], &zstd(&capture), &skippable].concat()), frames, "skippable frames");
    }
}

#[test]
fn compressed_parts_that_fill_a_buffer_to_the_byte() {
    // With the file header the frames make up 1024 bytes each, so that the parts end where the read buffer does.
    let frame = |number: i64| {
        let data = vec![number as u8; if number == 0 { 984 } else { 1008 }];
        Sample { nanos: number * 1000, link: 1, original_length: data.len() as u32, data }
    };
    let frames: Vec<_> = (0..512).map(frame).collect();
    let capture = pcap(&frames);
    for part in [256 << 10, 128 << 10, 64 << 10] {
        assert_eq!(read_well(&capture.chunks(part).flat_map(gzip).collect::<Vec<_>>()), frames);
        assert_eq!(read_well(&capture.chunks(part).flat_map(zstd).collect::<Vec<_>>()), frames);
        let padded = [gzip(&capture[..part]), vec![0; 3], gzip(&capture[part..])].concat();
        assert_eq!(read_well(&padded), frames);
    }
}

#[test]
fn a_stream_is_read_no_further_than_the_next_frame() {
    // A pipe that gives one frame and then blocks for ever must give that frame.
    struct Blocking(std::io::Cursor<Vec<u8>>);
    impl Read for Blocking {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.read(buffer)?;
            assert!(count > 0, "read on where a pipe would block");
            Ok(count)
        }
    }
    let frames = samples(3);
    // Small when compressed, and larger than any buffer when not.
    let zeros: Vec<_> = (0..3000)
        .map(|number| Sample { nanos: number * 1000, link: 1, data: vec![0; 1000], original_length: 1000 })
        .collect();
    for (frames, capture) in [
        (&frames, pcap(&frames)),
        (&frames, pcapng(&frames)),
        (&zeros, gzip(&pcap(&zeros))),
        (&zeros, zstd(&pcap(&zeros))),
    ] {
        let mut source =
            super::super::from_reader("pipe", Blocking(std::io::Cursor::new(capture)), &Settings::default());
        for frame in frames {
            assert_eq!(source.advance(), Ok(Advance::Frame));
            assert_eq!(source.frame().data, frame.data);
        }
    }
}

#[test]
fn large_frames_and_blocks() {
    let data = vec![0x5a; 9 << 20];
    let large = Sample { nanos: 5000, link: 1, original_length: data.len() as u32, data };
    let bytes = pcap_with(&[large.clone(), samples(1).remove(0)], 0xa1b2_c3d4, false, 1, 16 << 20);
    let settings = Settings::default();
    for frames in [
        drain(super::super::from_bytes("test", bytes.clone(), &settings)),
        drain(super::super::from_reader("test", std::io::Cursor::new(gzip(&bytes)), &settings)),
        drain(super::super::from_reader(
            "test",
            std::io::Cursor::new(pcapng(&[large, samples(1).remove(0)])),
            &settings,
        )),
    ] {
        assert_eq!((frames.0.len(), frames.0[0].data.len(), frames.1), (2, 9 << 20, vec![]));
    }
}

#[test]
fn settings_refuse_what_they_do_not_know() {
    assert_eq!(toml::from_str::<Settings>("").expect("all defaults"), Settings::default());
    let some: Settings = toml::from_str("max_open_files = 3\n[live]\npromiscuous = false").expect("known keys");
    assert_eq!((some.max_open_files, some.live.promiscuous), (3, false));
    assert!(toml::from_str::<Settings>("max_open_flies = 3").is_err());
}
