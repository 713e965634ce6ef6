//! Both directions of a connection, in pieces and with losses: no panic, and every call in its place.
#![no_main]

use std::time::Duration;

use apitap::http::{Http, Settings};
use apitap_fuzz::{INSPECTOR, Wire, calls};
use libfuzzer_sys::fuzz_target;

// Each line break of the form 0x01 C N begins a piece: C says who sends and what is lost, N how long the piece may be.
fuzz_target!(|bytes: &[u8]| {
    let settings = Settings { head_limit: 2048, pending_limit: 8, decoded_limit: 1 << 16, ..Settings::default() };
    let mut wire = Wire::new(Http::new(settings, INSPECTOR.clone()), 80);
    for piece in bytes.split(|&byte| byte == 1) {
        let (Some(&control), Some(&size)) = (piece.first(), piece.get(1)) else { continue };
        let own = usize::from(control & 1);
        for part in piece[2..].chunks(usize::from(size) + 1) {
            wire.wait(Duration::from_micros(if control & 2 == 0 { 10 } else { 30_000 }));
            wire.send(own, part, control & 4 != 0);
        }
    }
    for (place, call) in calls(&wire.finish()).enumerate() {
        assert_eq!(call.position as usize, place);
        assert!(call.completeness.request || call.completeness.response || call.http2.is_some());
        assert!(bodies_are_bounded(call));
    }
});

fn bodies_are_bounded(call: &apitap::call::Call) -> bool {
    call.request.body_bytes <= 1 << 20 && call.response.body_bytes <= 1 << 20
}
