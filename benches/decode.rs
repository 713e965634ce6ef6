//! Cost of the packet stage: one frame decoded, duplicate recognition included.
//!
//! Each round decodes 4,096 frames of distinct content, 1 µs apart, so that the tables work as under 1 Mpps.

use apitap::packet::{Decoder, Duplicates, Settings};
use apitap::source::{Frame, LinkType};
use apitap::stats::Counters;
use apitap::time::Timestamp;
use divan::Bencher;
use divan::counter::ItemsCount;
use etherparse::PacketBuilder;

const FRAMES: usize = 4096;

fn main() {
    divan::main();
}

/// Frames of many conversations, with 200 bytes of payload, each made of an IPv4 packet by `wrap`.
fn frames(wrap: impl Fn(Vec<u8>) -> Vec<u8>) -> Vec<Vec<u8>> {
    let packet = |number: usize| {
        let [high, low] = (number as u16).to_be_bytes();
        let builder = PacketBuilder::ipv4([10, 0, high, low], [10, 1, 0, low], 64)
            .tcp(40_000 + low as u16, 80, number as u32 * 7919, 512)
            .ack(1);
        let mut data = Vec::new();
        builder.write(&mut data, &[low; 200]).expect("a vector takes all");
        wrap(data)
    };
    (0..FRAMES).map(packet).collect()
}

fn ethernet(ether_type: u16, tag: &[u8], packet: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &ether_type.to_be_bytes(), tag, packet].concat()
}

fn run(bencher: Bencher<'_, '_>, settings: Settings, frames: &[Vec<u8>]) {
    let mut duplicates = Duplicates::new(&settings, 1);
    let (mut decoder, mut counters, mut time) = (Decoder::new(settings), Counters::new(), 0);
    bencher.counter(ItemsCount::new(frames.len())).bench_local(|| {
        let mut bytes = 0;
        for data in frames {
            time += 1000;
            let frame = Frame {
                time: Timestamp::from_nanos(time),
                link: LinkType(1),
                data,
                original_length: data.len() as u32,
            };
            // 4,096 frames take 4 ms: shorter than the window, so equal frames must not come again too soon.
            let segment = decoder.decode(&frame, &mut counters);
            if let Some(segment) =
                segment.and_then(|found| duplicates.admit(&found, frame.time, &mut counters).segment(found))
            {
                bytes += segment.payload.len();
            }
        }
        time += 20_000_000;
        bytes
    });
}

#[divan::bench]
fn ethernet_ipv4_tcp(bencher: Bencher<'_, '_>) {
    run(bencher, Settings::default(), &frames(|packet| ethernet(0x0800, &[], &packet)));
}

#[divan::bench]
fn ethernet_ipv4_tcp_without_duplicates(bencher: Bencher<'_, '_>) {
    let settings = Settings { duplicate_window_ms: 0, ..Settings::default() };
    run(bencher, settings, &frames(|packet| ethernet(0x0800, &[], &packet)));
}

/// The same few frames again and again: the decoder's own work, without waiting for the packets' memory.
#[divan::bench]
fn ethernet_ipv4_tcp_in_cache(bencher: Bencher<'_, '_>) {
    let frames = frames(|packet| ethernet(0x0800, &[], &packet));
    run(bencher, Settings::default(), &frames[..64]);
}

#[divan::bench]
fn vlan(bencher: Bencher<'_, '_>) {
    run(bencher, Settings::default(), &frames(|packet| ethernet(0x8100, &[0, 7, 8, 0], &packet)));
}

#[divan::bench]
fn vxlan(bencher: Bencher<'_, '_>) {
    let wrap = |packet: Vec<u8>| {
        let inner = [&[8, 0, 0, 0, 0, 0, 5, 0][..], &ethernet(0x0800, &[], &packet)].concat();
        let mut outer = Vec::new();
        let builder = PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64).udp(50_000, 4789);
        builder.write(&mut outer, &inner).expect("a vector takes all");
        ethernet(0x0800, &[], &outer)
    };
    run(bencher, Settings::default(), &frames(wrap));
}
