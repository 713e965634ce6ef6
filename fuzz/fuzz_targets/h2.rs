//! Both directions of an HTTP/2 connection, with losses and without a beginning: no panic, no stream twice, all bounded.
//!
//! Input: options, then pieces of a control byte (direction, loss, a frame's header to be made, minutes between), a length
//! and so many bytes.
#![no_main]

use std::time::Duration;

use apitap::http::{Http, Settings};
use apitap_fuzz::{INSPECTOR, Wire, calls};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&options, mut rest)) = bytes.split_first() else { return };
    let settings = Settings {
        decoded_limit: 1 << 16,
        http2_list_bytes: 2_000,
        http2_block_bytes: 1_500,
        http2_continuations: 3,
        http2_table_bytes: 1_000,
        http2_table_entries: 10,
        http2_streams: 6,
        http2_decoders: 2,
        http2_resets: 2,
        grpc_message_bytes: 300,
        grpc_held_bytes: 500,
        ..Settings::default()
    };
    let mut wire = Wire::new(Http::new(settings, INSPECTOR.clone()), 80);
    if options & 1 == 0 {
        wire.open();
        wire.send(0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false);
    }
    while let [control, length, behind @ ..] = rest {
        let (payload, next) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = next;
        wire.wait(Duration::from_micros(if control & 8 == 0 { 10 } else { 70_000_000 }));
        let own = usize::from(control & 1);
        let framed;
        let part = match (control & 4 == 0, payload) {
            // The first bytes say kind, flags and stream.
            (true, [kind, flags, stream, payload @ ..]) => {
                let head = [0, 0, payload.len() as u8, kind % 12, *flags, 0, 0, 0, *stream];
                framed = [&head[..], payload].concat();
                &framed[..]
            }
            _ => payload,
        };
        wire.send(own, part, control & 2 != 0);
        wire.acknowledge(1 - own);
    }
    for (place, call) in calls(&wire.finish()).enumerate() {
        assert_eq!(call.position as usize, place);
        let said = !call.method.is_empty() || call.completeness.request || call.completeness.response;
        assert!(said && call.request.body_bytes <= 1 << 20 && call.response.body_bytes <= 1 << 20);
        assert!(call.completeness.request || call.target.is_empty());
    }
});
