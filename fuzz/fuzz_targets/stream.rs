//! Sequences of segments: runs and gaps must follow each other without a hole, and all that is held must be given back.
#![no_main]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use apitap::packet::{Encapsulation, Flags, Layer, Segment};
use apitap::stats::Counters;
use apitap::stream::{Close, Direction, End, FlowInfo, Gap, Handler, Interest, Run, Settings, Tracker};
use apitap::time::Timestamp;
use libfuzzer_sys::fuzz_target;

struct Check;

impl Handler for Check {
    type State = [u64; 2];

    fn data(&mut self, _: &FlowInfo, state: &mut Option<Box<[u64; 2]>>, run: Run<'_>, _: &mut Counters) -> Interest {
        let next = &mut state.get_or_insert_default()[run.direction.index()];
        assert_eq!(*next, run.offset);
        assert!(!run.bytes.is_empty());
        *next += run.bytes.len() as u64;
        if run.bytes[0] == 0xff { Interest::Unwanted } else { Interest::Wanted }
    }

    fn gap(&mut self, _: &FlowInfo, state: &mut Option<Box<[u64; 2]>>, gap: Gap, _: &mut Counters) {
        let next = &mut state.get_or_insert_default()[gap.direction.index()];
        assert_eq!(*next, gap.offset);
        assert!(gap.length > 0);
        *next += gap.length;
    }

    fn close(&mut self, _: &FlowInfo, _: &mut Option<Box<[u64; 2]>>, _: Direction, _: Close, _: Timestamp, _: &mut Counters) {}

    fn end(&mut self, _: &FlowInfo, _: Option<Box<[u64; 2]>>, _: End, _: Timestamp, _: &mut Counters) {}
}

fuzz_target!(|bytes: &[u8]| {
    let settings = Settings {
        max_flows: 4,
        max_half_open: 3,
        held_per_direction: 600,
        held_total: 1000,
        idle_timeout: 5,
        half_open_timeout: 3,
        ..Settings::default()
    };
    let mut tracker = Tracker::new(settings, Check);
    let mut time = Timestamp::from_parts(1_000, 0);
    for step in bytes.chunks_exact(8) {
        let ends = |host: u8| SocketAddr::new(Ipv4Addr::new(10, 0, 0, host).into(), 80);
        let (client, server) = (ends(step[0] >> 1 & 3), ends(9));
        let (source, destination) = if step[0] & 1 == 0 { (client, server) } else { (server, client) };
        let mut encapsulation = Encapsulation::default();
        if step[0] & 8 != 0 {
            encapsulation.push(Layer::Vlan { id: u16::from(step[0] >> 6) });
        }
        time = time + Duration::from_millis(u64::from(step[1]) * u64::from(step[1]));
        tracker.tick(time);
        let payload = [step[7]; 64];
        tracker.segment(&Segment {
            time,
            source,
            destination,
            encapsulation: &encapsulation,
            sequence: u32::from(step[2]).wrapping_sub(20).wrapping_mul(if step[0] & 16 != 0 { 1 } else { 0x0100_0001 }),
            acknowledgment: u32::from(step[3]).wrapping_sub(20),
            flags: Flags(step[4]),
            urgent: 0,
            payload: &payload[..usize::from(step[5] % 65)],
            missing: u32::from(step[6] / 128) * u32::from(step[6] % 16),
            fingerprint: 0,
        });
        assert!(tracker.flows() <= 4);
        assert!(tracker.held() <= 1000 + 256);
    }
    tracker.finish();
    assert_eq!((tracker.flows(), tracker.held()), (0, 0));
});
