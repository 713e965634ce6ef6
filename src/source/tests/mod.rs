//! Captures built in memory, and the tests that read them.

mod damage;
mod formats;
mod live;
mod merge;

use std::io::{Read, Write};

use super::{Advance, Settings, Source, SourceError};
use crate::stats::{Counter, Counters};

/// A frame as a test writes it and reads it back.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sample {
    nanos: i64,
    link: u16,
    data: Vec<u8>,
    original_length: u32,
}

/// `count` frames of different lengths, whole microseconds apart; every third is cut off.
fn samples(count: usize) -> Vec<Sample> {
    let sample = |number: usize| {
        let data: Vec<u8> = (0..number * 7 % 90).map(|byte| (byte * 31 + number) as u8).collect();
        let original_length = data.len() as u32 + if number % 3 == 2 { 100 } else { 0 };
        Sample { nanos: 1_772_460_000_000_000_000 + number as i64 * 1_250_000, link: 1, data, original_length }
    };
    (0..count).map(sample).collect()
}

/// Writes numbers in one byte order.
#[derive(Clone, Copy)]
struct Order {
    big: bool,
}

impl Order {
    fn u16(self, value: u16) -> [u8; 2] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u64(self, value: u64) -> [u8; 8] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

/// A pcap file with the given magic number, link type field and snap length.
fn pcap_with(frames: &[Sample], magic: u32, big: bool, network: u32, snap_length: u32) -> Vec<u8> {
    let order = Order { big };
    let mut bytes = Vec::new();
    bytes.extend(order.u32(magic));
    bytes.extend(order.u16(2));
    bytes.extend(order.u16(4));
    bytes.extend([0; 8]);
    bytes.extend(order.u32(snap_length));
    bytes.extend(order.u32(network));
    let unit = if magic == 0xa1b2_3c4d { 1 } else { 1000 };
    for frame in frames {
        bytes.extend(order.u32((frame.nanos / 1_000_000_000) as u32));
        bytes.extend(order.u32((frame.nanos % 1_000_000_000 / unit) as u32));
        bytes.extend(order.u32(frame.data.len() as u32));
        bytes.extend(order.u32(frame.original_length));
        if magic == 0xa1b2_cd34 {
            bytes.extend([9; 8]); // interface, protocol, packet type, padding
        }
        bytes.extend(&frame.data);
    }
    bytes
}

fn pcap(frames: &[Sample]) -> Vec<u8> {
    pcap_with(frames, 0xa1b2_c3d4, false, 1, 262_144)
}

/// Writes a pcapng file block by block.
struct Pcapng {
    order: Order,
    bytes: Vec<u8>,
}

impl Pcapng {
    /// Begins with a section header.
    fn new(big: bool) -> Pcapng {
        let mut file = Pcapng { order: Order { big }, bytes: Vec::new() };
        file.section(big);
        file
    }

    fn section(&mut self, big: bool) -> &mut Self {
        self.order = Order { big };
        let order = self.order;
        let mut body = order.u32(0x1a2b_3c4d).to_vec();
        body.extend(order.u16(1));
        body.extend(order.u16(0));
        body.extend(order.u64(u64::MAX));
        self.block(0x0a0d_0d0a, &body)
    }

    fn interface(&mut self, link: u16, snap_length: u32, options: &[(u16, &[u8])]) -> &mut Self {
        let order = self.order;
        let mut body = order.u16(link).to_vec();
        body.extend([0; 2]);
        body.extend(order.u32(snap_length));
        for &(code, value) in options {
            body.extend(order.u16(code));
            body.extend(order.u16(value.len() as u16));
            body.extend(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            body.extend([0; 4]);
        }
        self.block(1, &body)
    }

    fn enhanced(&mut self, interface: u32, ticks: u64, data: &[u8], original_length: u32) -> &mut Self {
        let number = self.order.u32(interface);
        self.timed(6, number, ticks, data, original_length)
    }

    fn obsolete(&mut self, interface: u16, ticks: u64, data: &[u8], original_length: u32) -> &mut Self {
        let [a, b] = self.order.u16(interface);
        self.timed(2, [a, b, 0, 7], ticks, data, original_length)
    }

    fn timed(&mut self, kind: u32, interface: [u8; 4], ticks: u64, data: &[u8], original_length: u32) -> &mut Self {
        let order = self.order;
        let mut body = interface.to_vec();
        body.extend(order.u32((ticks >> 32) as u32));
        body.extend(order.u32(ticks as u32));
        body.extend(order.u32(data.len() as u32));
        body.extend(order.u32(original_length));
        body.extend(data);
        self.block(kind, &body)
    }

    fn simple(&mut self, data: &[u8], original_length: u32) -> &mut Self {
        let mut body = self.order.u32(original_length).to_vec();
        body.extend(data);
        self.block(3, &body)
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> &mut Self {
        let length = self.order.u32(12 + body.len().next_multiple_of(4) as u32);
        self.bytes.extend(self.order.u32(kind));
        self.bytes.extend(length);
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend(length);
        self
    }
}

/// A pcapng file with one interface in microseconds.
fn pcapng(frames: &[Sample]) -> Vec<u8> {
    let mut file = Pcapng::new(false);
    file.interface(1, 0, &[]);
    for frame in frames {
        file.enhanced(0, frame.nanos as u64 / 1000, &frame.data, frame.original_length);
    }
    file.bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("memory takes all")
}

/// Gives at most so many bytes at a time.
struct Trickle<R>(R, usize);

impl<R: Read> Read for Trickle<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(buffer.len());
        self.0.read(&mut buffer[..count])
    }
}

/// All that a source gives: frames and errors.
fn drain(mut source: impl Source) -> (Vec<Sample>, Vec<SourceError>) {
    let (mut frames, mut errors) = (Vec::new(), Vec::new());
    loop {
        match source.advance() {
            Ok(Advance::Frame) => {
                let frame = source.frame();
                assert!(frame.original_length as usize >= frame.data.len());
                frames.push(Sample {
                    nanos: frame.time.nanos(),
                    link: frame.link.0,
                    data: frame.data.to_vec(),
                    original_length: frame.original_length,
                });
            }
            Ok(Advance::Secrets) => panic!("none of these captures has secrets"),
            Ok(Advance::End) => break,
            Ok(Advance::Idle(_)) => panic!("a capture file is never idle"),
            Err(error) => errors.push(error),
        }
    }
    assert_eq!(source.advance(), Ok(Advance::End), "the end stays the end");
    assert!(source.frame().data.is_empty());
    if let Some((read, all)) = source.progress() {
        assert!(read <= all);
        assert!(read == all || !errors.is_empty(), "{read} of {all}");
    }
    (frames, errors)
}

/// The same from bytes, read in all the ways there are, which must agree.
fn read(bytes: &[u8]) -> (Vec<Sample>, Vec<SourceError>) {
    let settings = Settings::default();
    let whole = drain(super::from_bytes("test", bytes.to_vec(), &settings));
    let streamed = drain(super::from_reader("test", std::io::Cursor::new(bytes.to_vec()), &settings));
    assert_eq!(whole, streamed, "from memory and as a stream");
    let trickled = drain(super::from_reader("test", Trickle(std::io::Cursor::new(bytes.to_vec()), 1), &settings));
    assert_eq!(whole, trickled, "from memory and byte by byte");
    whole
}

fn read_well(bytes: &[u8]) -> Vec<Sample> {
    let (frames, errors) = read(bytes);
    assert_eq!(errors, []);
    frames
}

/// The one error that reading ends with.
fn read_badly(bytes: &[u8]) -> (Vec<Sample>, SourceError) {
    let (frames, mut errors) = read(bytes);
    assert_eq!(errors.len(), 1, "{errors:?}");
    (frames, errors.remove(0))
}

fn skipped(source: &mut impl Source) -> u64 {
    let mut counters = Counters::new();
    source.report(&mut counters);
    source.report(&mut counters); // totals: a second report changes nothing
    counters.value(Counter::BlocksSkipped)
}
