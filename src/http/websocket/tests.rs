//! WebSockets through the stream stage: what was said comes out, however it was cut, and what was lost makes nothing up.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::super::Settings;
use super::super::tests::{Talk, lines};
use super::inflate::TAIL;
use crate::call::{Anomaly, Call, OperationKind, WebSocket};
use crate::stats::Counter;
use crate::time::Timestamp;

const LAST: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A frame of the server.
fn frame(flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![flags];
    match payload.len() {
        short @ 0..126 => bytes.push(short as u8),
        long @ 126..65_536 => {
            bytes.push(126);
            bytes.extend((long as u16).to_be_bytes());
        }
        long => {
            bytes.push(127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

/// The same of a client.
fn masked(flags: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = frame(flags, payload);
    let head = bytes.len() - payload.len();
    bytes[1] |= 0x80;
    for (byte, key) in bytes[head..].iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
    bytes.splice(head..head, key);
    bytes
}

/// One end that compresses its messages.
struct Deflater {
    compress: Compress,
    alone: bool,
}

impl Deflater {
    fn new(alone: bool) -> Deflater {
        Deflater { compress: Compress::new(Compression::default(), false), alone }
    }

    fn message(&mut self, text: &[u8]) -> Vec<u8> {
        if self.alone {
            self.compress.reset();
        }
        let mut out = Vec::with_capacity(text.len() + 200);
        self.compress.compress_vec(text, &mut out, FlushCompress::Sync).expect("there is room");
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        out
    }
}

/// Opens a WebSocket; `more` are headers of the answer.
fn open(talk: &mut Talk, more: &str) {
    talk.client(
        "GET /chat?room=1 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    talk.server(&format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n{more}\r\n"
    ));
}

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const ALONE: &str =
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";

fn one(talk: &mut Talk) -> (Box<Call>, WebSocket) {
    let mut calls = talk.calls();
    assert_eq!(lines(&calls), ["GET /chat?room=1 101"]);
    let call = calls.remove(0);
    let websocket = *call.websocket.clone().expect("a WebSocket");
    (call, websocket)
}

fn finds(call: &Call, response: bool) -> Vec<&str> {
    let list = if response { &call.sensitive.response } else { &call.sensitive.request };
    list.iter().map(|found| &*found.class).collect()
}

/// The examples of RFC 6455, section 5.7.
#[test]
fn examples_of_the_rfc() {
    let mut talk = Talk::new(1460);
    open(&mut talk, "");
    talk.send(false, &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    talk.send(true, &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    talk.send(false, &[0x01, 0x03, 0x48, 0x65, 0x6c]).send(false, &[0x80, 0x02, 0x6c, 0x6f]);
    talk.send(false, &[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    talk.send(true, &[0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    talk.send(false, &[&[0x82, 0x7e, 0x01, 0x00][..], &[7; 256]].concat());
    talk.send(false, &[&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0][..], &[7; 65_536]].concat());
    let (call, websocket) = one(&mut talk);
    let (request, response) = (websocket.request, websocket.response);
    assert_eq!((request.messages, request.bytes, request.text, request.pongs), (1, 5, 1, 1));
    assert_eq!((response.messages, response.bytes, response.text, response.pings), (4, 65_802, 2, 1));
    assert_eq!((response.largest, response.compressed, websocket.close_code), (65_536, 0, None));
    assert!(call.anomalies.is_empty(), "{:?}", call.anomalies);
    assert_eq!((call.request.wire_bytes, call.request.body_bytes), (22, 5));
    assert!(call.completeness.request && call.completeness.response && call.response.truncated);
}

/// All kinds of frames, compressed or not, in both directions.
fn varied(talk: &mut Talk, headers: &str) -> Vec<Box<Call>> {
    open(talk, headers);
    let alone = headers == ALONE;
    let (mut client, mut server) = (Deflater::new(alone), Deflater::new(alone));
    let mut of = |from_client: bool, text: &[u8]| match headers {
        "" => (0, text.to_vec()),
        _ if from_client => (COMPRESSED, client.message(text)),
        _ => (COMPRESSED, server.message(text)),
    };
    for round in 0..4 {
        let text = format!("{{\"round\":{round},\"mail\":\"ana{round}@mail.example\",\"é\":\"€\"}}");
        let (flag, payload) = of(true, text.as_bytes());
        talk.send(true, &masked(LAST | flag | TEXT, &payload));
        // In three fragments, with a Ping between them.
        let (flag, payload) = of(false, text.as_bytes());
        let third = payload.len() / 3;
        talk.send(false, &[frame(flag | TEXT, &payload[..third]), frame(0, &payload[third..third + 2])].concat());
        talk.send(false, &frame(LAST | PING, b"there?")).send(true, &masked(LAST | PONG, b"there?"));
        talk.send(false, &frame(LAST, &payload[third + 2..]));
    }
    let (flag, payload) = of(false, &b"0123456789abcdef".repeat(500));
    talk.send(false, &frame(LAST | flag | BINARY, &payload));
    talk.send(true, &masked(LAST | TEXT, b""));
    talk.send(true, &masked(LAST | CLOSE, b"\x03\xe8bye")).send(false, &frame(LAST | CLOSE, b"\x03\xe8bye"));
    talk.close(true).close(false);
    talk.calls()
}

fn strip(calls: Vec<Box<Call>>) -> Vec<Box<Call>> {
    let strip = |mut call: Box<Call>| {
        (call.request_time, call.response_time, call.latency) = (None, None, None);
        call.end_time = Timestamp::ZERO;
        call.flow = Default::default();
        call
    };
    calls.into_iter().map(strip).collect()
}

#[test]
fn compressed_or_not_it_says_the_same_however_it_is_cut() {
    for headers in ["Sec-WebSocket-Protocol: chat.v1\r\n", DEFLATE, ALONE] {
        let plain = !headers.contains("deflate");
        let headers = if plain { "" } else { headers };
        let whole = varied(&mut Talk::new(1460), headers);
        assert_eq!(lines(&whole), ["GET /chat?room=1 101"]);
        let call = &whole[0];
        let websocket = call.websocket.as_deref().expect("a WebSocket");
        let (request, response) = (websocket.request, websocket.response);
        let compressed = if plain { (0, 0) } else { (4, 5) };
        assert_eq!((request.messages, request.bytes, request.text, request.pongs), (5, 4 * 49, 5, 4), "{headers}");
        assert_eq!((response.messages, response.bytes, response.text, response.pings), (5, 8_000 + 4 * 49, 4, 4));
        assert_eq!((request.compressed, response.compressed, response.undecoded), (compressed.0, compressed.1, 0));
        assert_eq!((websocket.deflate, websocket.close_code, response.largest), (!plain, Some(1000), 8_000));
        assert_eq!((finds(call, false), finds(call, true)), (vec!["email"], vec!["email"]));
        assert!(call.sensitive.response[0].count == 4 && call.sensitive.request[0].count == 4);
        assert!(call.anomalies.is_empty() && !call.response.truncated, "{:?}", call.anomalies);
        assert_eq!((call.request.body_bytes, call.response.body_bytes), (4 * 49, 8_000 + 4 * 49));
        let whole = strip(whole);
        for size in 1..80 {
            assert_eq!(strip(varied(&mut Talk::new(size), headers)), whole, "in pieces of {size}");
        }
    }
}

#[test]
fn the_subprotocol_and_codes_of_the_end() {
    for (payload, code) in [(&b"\x0f\xa1"[..], 4001), (b"", 1005)] {
        let mut talk = Talk::new(1460);
        open(&mut talk, "Sec-WebSocket-Protocol: chat.v1\r\n");
        talk.send(false, &frame(LAST | CLOSE, payload)).send(true, &masked(LAST | CLOSE, b"\x03\xe9"));
        let (_, websocket) = one(&mut talk);
        assert_eq!((websocket.subprotocol.as_deref(), websocket.close_code), (Some("chat.v1"), Some(code)));
    }
    let mut talk = Talk::new(1460);
    open(&mut talk, "");
    talk.send(true, &masked(LAST | TEXT, b"and gone")).close(true).close(false);
    let (call, websocket) = one(&mut talk);
    assert_eq!((websocket.close_code, call.response.truncated), (Some(1006), true));
}

#[test]
fn a_loss_within_a_frame_costs_nothing_else() {
    let mut talk = Talk::new(100);
    open(&mut talk, "");
    let long = masked(LAST | TEXT, &b"0123456789".repeat(100));
    let head = long.len() - 1_000;
    talk.send(true, &long[..head + 203]).lose(true, 333).send(true, &long[head + 536..]);
    talk.send(true, &masked(LAST | TEXT, b"mail of bob@mail.example")).send(false, &frame(LAST | TEXT, b"ok"));
    talk.send(true, &masked(LAST | CLOSE, b"\x03\xe8"));
    let (call, websocket) = one(&mut talk);
    assert_eq!((websocket.request.messages, websocket.request.bytes, websocket.request.skipped), (2, 1_024, 0));
    assert_eq!((call.request.gap_bytes, finds(&call, false)), (333, vec!["email"]));
    assert_eq!((websocket.response.messages, websocket.close_code), (1, Some(1000)));
    assert!(call.anomalies.is_empty(), "{:?}", call.anomalies);
}

#[test]
fn behind_a_loss_messages_that_stand_alone_are_decoded_and_others_counted() {
    for (headers, undecoded) in [(ALONE, 1), (DEFLATE, 3)] {
        let mut talk = Talk::new(1460);
        open(&mut talk, headers);
        let mut server = Deflater::new(headers == ALONE);
        let mut send = |talk: &mut Talk, text: &str, lost: usize| {
            let bytes = frame(LAST | COMPRESSED | TEXT, &server.message(text.as_bytes()));
            let (before, behind) = bytes.split_at(bytes.len() / 2);
            talk.send(false, before).lose(false, lost).send(false, &behind[lost..]);
        };
        send(&mut talk, "a text of which there is more to come", 0);
        send(&mut talk, "a text of which a part is lost on its way, the very middle of it", 5);
        send(&mut talk, "a text of which there is more to come", 0);
        send(&mut talk, "a text of which a part is lost on its way, the very middle of it", 0);
        send(&mut talk, "0123456789 zyxwv", 0);
        let (call, websocket) = one(&mut talk);
        let told = websocket.response;
        assert_eq!((told.messages, told.undecoded), (5, undecoded), "{headers}");
        assert!(call.anomalies.is_empty() && call.response.gap_bytes == 5, "{:?}", call.anomalies);
        assert_eq!(talk.count(Counter::WebSocketMessagesUndecoded), undecoded);
    }
}

#[test]
fn behind_a_lost_boundary_frames_are_found_when_it_is_certain() {
    let mut talk = Talk::new(1460);
    open(&mut talk, "");
    talk.send(false, &frame(LAST | TEXT, b"before"));
    talk.lose(false, 50);
    let (mut found, mut bytes) = (0, 0);
    for round in 0..20 {
        let text = format!("message {round} behind the loss");
        talk.send(false, &frame(LAST | TEXT, text.as_bytes()));
        found += 1;
        bytes += text.len() as u64 + 2;
    }
    talk.send(false, &frame(LAST | CLOSE, b"\x03\xe8"));
    let (call, websocket) = one(&mut talk);
    let told = websocket.response;
    assert_eq!((told.messages, told.text), (1 + found - 3, 18), "four in a row are needed");
    assert_eq!((told.bytes + 2 * (found - 3) + told.skipped, call.response.gap_bytes), (bytes + 6, 50));
    assert_eq!((talk.count(Counter::WebSocketsLost), websocket.close_code), (1, Some(1000)));
    assert_eq!(talk.count(Counter::BytesSkipped), told.skipped);

    // What is no frame, however long it is looked at, is none.
    let mut talk = Talk::new(700);
    open(&mut talk, "");
    talk.lose(false, 50);
    talk.send(false, &b"the middle of a long message that says nothing of where the next begins. ".repeat(100));
    let (_, websocket) = one(&mut talk);
    assert_eq!((websocket.response.messages, websocket.response.skipped, websocket.close_code), (0, 7_300, None));
}

#[test]
fn odd_frames_are_marked_and_read_on() {
    let odd = |from_client: bool, headers: &str, bytes: &[u8]| {
        let mut talk = Talk::new(1460);
        open(&mut talk, headers);
        talk.send(from_client, bytes);
        let behind = if from_client { masked(LAST | TEXT, b"on") } else { frame(LAST | TEXT, b"on") };
        talk.send(from_client, &behind);
        let (call, websocket) = one(&mut talk);
        let told = if from_client { websocket.request } else { websocket.response };
        assert!(told.messages > 0 && told.skipped == 0, "{told:?}");
        call.anomalies.iter().collect::<Vec<_>>()
    };
    assert_eq!(odd(true, "", &frame(LAST | TEXT, b"bare")), [Anomaly::UnmaskedClientFrame]);
    assert_eq!(odd(false, "", &masked(LAST | TEXT, b"secret")), [Anomaly::MaskedServerFrame]);
    assert_eq!(odd(false, "", &frame(LAST | 0x20 | TEXT, b"x")), [Anomaly::ReservedFrameBit]);
    assert_eq!(odd(false, "Sec-WebSocket-Extensions: x\r\n", &frame(LAST | 0x20 | TEXT, b"\xff")), []);
    assert_eq!(odd(true, "", &masked(LAST | 5, b"what")), [Anomaly::UnknownOpcode]);
    assert_eq!(odd(true, "", &masked(PING, b"half")), [Anomaly::FragmentedControlFrame]);
    assert_eq!(odd(true, "", &masked(LAST | PING, &[b'x'; 130])), [Anomaly::LongControlFrame]);
    assert_eq!(odd(false, "", &frame(LAST, b"of nothing")), [Anomaly::OddFragmentation]);
    assert_eq!(odd(false, "", &frame(TEXT, b"never ends")), [Anomaly::OddFragmentation]);
    assert_eq!(odd(false, "", &[LAST | TEXT, 126, 0, 2, b'o', b'k']), [Anomaly::OddFrameLength]);
    assert_eq!(odd(false, "", &frame(LAST | TEXT, b"\xc3(")), [Anomaly::InvalidUtf8]);
    assert_eq!(odd(false, "", &[frame(TEXT, b"\xe2\x82"), frame(LAST, b"\xac")].concat()), []);
    assert_eq!(odd(false, "", &frame(LAST | TEXT, b"\xe2\x82")), [Anomaly::InvalidUtf8]);
    assert_eq!(odd(false, DEFLATE, &frame(LAST | COMPRESSED | TEXT, b"\xff\xff\xff")), [Anomaly::MalformedEncoding]);

    let mut talk = Talk::new(1460);
    open(&mut talk, "");
    talk.send(false, &[LAST | TEXT, 127, 0x80, 0, 0, 0, 0, 0, 0, 1, b'x', b'y']);
    let (call, websocket) = one(&mut talk);
    assert!(call.anomalies.contains(Anomaly::OddFrameLength) && websocket.response.skipped == 2);
}

#[test]
fn limits_hold_and_are_counted() {
    let settings = |limit, decoders| Settings {
        decoded_limit: limit,
        decoded_ratio: 100,
        websocket_decoders: decoders,
        ..Settings::default()
    };
    let cases = [(1 << 20, 1, 0), (100_000, 1, 1), (1 << 20, 0, 2)];
    for (limit, decoders, undecoded) in cases {
        let mut talk = Talk::with(1460, settings(limit, decoders));
        open(&mut talk, ALONE);
        let mut server = Deflater::new(true);
        let mut random = StdRng::seed_from_u64(1);
        let noise: Vec<u8> = (0..200_000).map(|_| random.random_range(b'a'..=b'z')).collect();
        talk.send(false, &frame(LAST | COMPRESSED | TEXT, &server.message(&noise)));
        talk.send(false, &frame(LAST | COMPRESSED | TEXT, &server.message(b"short")));
        let (call, websocket) = one(&mut talk);
        assert_eq!((websocket.response.messages, websocket.response.undecoded), (2, undecoded), "{limit} {decoders}");
        assert_eq!(call.response.capped, undecoded > 0);
        assert_eq!(talk.count(Counter::WebSocketMessagesUndecoded), undecoded);
    }
    let mut talk = Talk::with(1460, settings(1 << 30, 1));
    open(&mut talk, DEFLATE);
    talk.send(false, &frame(LAST | COMPRESSED | TEXT, &Deflater::new(false).message(&vec![b'x'; 3_000_000])));
    let (call, websocket) = one(&mut talk);
    assert!(call.anomalies.contains(Anomaly::ExpansionRatio) && websocket.response.undecoded == 1);
    assert!(call.response.body_bytes < 400_000, "{}", call.response.body_bytes);
}

#[test]
fn nothing_is_guessed_where_no_upgrade_was_seen() {
    let mut talk = Talk::midstream(1460);
    for _ in 0..9 {
        talk.send(false, &frame(LAST | TEXT, b"a message")).send(true, &masked(LAST | TEXT, b"an answer"));
    }
    assert!(talk.calls().is_empty());
    // The answer alone says enough.
    let mut talk = Talk::new(1460);
    talk.lose(true, 90);
    talk.server("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
    talk.send(true, &masked(LAST | TEXT, b"hello")).send(false, &frame(LAST | TEXT, b"you too"));
    let calls = talk.calls();
    assert_eq!(lines(&calls), ["  101"]);
    let websocket = calls[0].websocket.as_deref().expect("a WebSocket");
    assert_eq!((websocket.request.bytes, websocket.response.bytes), (5, 7));
    assert!(!calls[0].completeness.request && websocket.request.skipped == 0);
}

#[test]
fn frames_behind_the_answer_in_one_segment_and_a_refusal() {
    let mut talk = Talk::new(1460);
    talk.client("GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    talk.server("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    talk.client("GET /b HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    talk.send(false, &[&head[..], &frame(LAST | TEXT, b"welcome")].concat()).close(false).close(true);
    let calls = talk.calls();
    assert_eq!(lines(&calls), ["GET /a 403", "GET /b 101"]);
    assert_eq!((calls[0].position, calls[1].position), (0, 1));
    assert!(calls[0].websocket.is_none());
    assert_eq!(calls[1].websocket.as_deref().map(|websocket| websocket.response.bytes), Some(7));
}

#[test]
fn one_that_stays_open_is_reported_once_a_minute() {
    let mut talk = Talk::new(1460);
    open(&mut talk, DEFLATE);
    let mut server = Deflater::new(false);
    for _ in 0..15 {
        let payload = server.message(b"mail to ana@mail.example");
        talk.wait(10).send(false, &frame(LAST | COMPRESSED | TEXT, &payload));
    }
    talk.send(true, &masked(LAST | CLOSE, b"\x03\xe8")).send(false, &frame(LAST | CLOSE, b"\x03\xe8"));
    talk.close(true).close(false);
    let calls = talk.calls();
    let parts: Vec<_> = calls.iter().map(|call| (call.completeness.open, call.completeness.part)).collect();
    assert_eq!(parts, [(true, 0), (true, 1), (false, 2)]);
    let told: Vec<_> = calls.iter().filter_map(|call| call.websocket.as_deref()).collect();
    assert_eq!(told.iter().map(|told| told.response.messages).sum::<u64>(), 15);
    assert_eq!(told.iter().map(|told| told.close_code).collect::<Vec<_>>(), [None, None, Some(1000)]);
    let found: u32 = calls.iter().flat_map(|call| &call.sensitive.response).map(|found| found.count).sum();
    let bytes: u64 = calls.iter().map(|call| call.response.body_bytes).sum();
    assert_eq!((found, bytes), (15, 15 * 24));
    assert!(calls.iter().all(|call| call.method == "GET" && call.status == Some(101)));
    assert!(calls[1..].iter().all(|call| call.request.head_bytes == 0));
}

#[test]
fn one_that_has_fallen_silent_is_reported_too() {
    let mut talk = Talk::new(1460);
    open(&mut talk, "");
    talk.send(false, &frame(LAST | TEXT, b"the only message"));
    talk.wait(250).pause();
    let calls = talk.calls();
    let parts: Vec<_> = calls.iter().map(|call| (call.completeness.open, call.completeness.part)).collect();
    assert_eq!(parts, [(true, 0), (false, 1)]);
    assert_eq!(calls[0].end_time.since(calls[0].start_time()).as_secs(), 60);
    let told: Vec<_> = calls.iter().filter_map(|call| Some(call.websocket.as_deref()?.response.messages)).collect();
    assert_eq!(told, [1, 0]);
}

#[test]
fn operations_over_a_websocket() {
    let mut talk = Talk::new(40);
    open(&mut talk, "Sec-WebSocket-Protocol: graphql-transport-ws\r\n");
    talk.send(true, &masked(LAST | TEXT, br#"{"type":"connection_init","payload":{"token":"x"}}"#));
    talk.send(false, &frame(LAST | TEXT, br#"{"type":"connection_ack"}"#));
    let subscribe = br#"{"id":"1","type":"subscribe","payload":{"query":"subscription OnItem { item { id } }"}}"#;
    let query = br#"{"id":"2","payload":{"query":"query Items { items { id } }"},"type":"start"}"#;
    talk.send(true, &masked(LAST | TEXT, subscribe)).send(true, &masked(LAST | TEXT, query));
    talk.send(true, &masked(LAST | TEXT, subscribe))
        .send(true, &masked(LAST | TEXT, br#"{"id":"1","type":"complete"}"#));
    let (call, _) = one(&mut talk);
    let operation = call.operation.as_deref().expect("an operation");
    assert_eq!((operation.kind, operation.name.as_deref()), (Some(OperationKind::Subscription), Some("OnItem")));
    assert_eq!((operation.count, &*operation.others), (3, &["query Items {items}".into()][..]));

    let mut talk = Talk::new(1460);
    open(&mut talk, "");
    talk.send(true, &masked(LAST | TEXT, br#"{"jsonrpc":"2.0","id":7,"result":"the client's own answer"}"#));
    talk.send(
        true,
        &masked(LAST | TEXT, br#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#),
    );
    let (call, _) = one(&mut talk);
    let operation = call.operation.as_deref().expect("an operation");
    assert_eq!((operation.name.as_deref(), operation.count), (Some("eth_subscribe"), 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What losses leave is a part of what was said: no message more, no text that was none, whatever was lost.
    #[test]
    fn losses_make_nothing_up(seed: u64, size in 20usize..200, headers in prop::sample::select(vec!["", DEFLATE, ALONE])) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut talk = Talk::new(size);
        open(&mut talk, headers);
        let mut ends = [Deflater::new(headers == ALONE), Deflater::new(headers == ALONE)];
        let (mut sent, mut bytes) = ([0; 2], [0; 2]);
        for _ in 0..60 {
            let from = random.random_range(0..2);
            let text = "mail to ana@mail.example ".repeat(random.random_range(1..12));
            let (flag, payload) = match headers {
                "" => (0, text.clone().into_bytes()),
                _ => (COMPRESSED, ends[from].message(text.as_bytes())),
            };
            sent[from] += 1;
            bytes[from] += text.len() as u64;
            let cut = random.random_range(0..=payload.len());
            let pieces = [(flag | TEXT, &payload[..cut]), (LAST, &payload[cut..])];
            for (flags, piece) in pieces {
                let frame = if from == 0 { masked(flags, piece) } else { frame(flags, piece) };
                talk.send_lossy(from == 0, &frame, &mut || random.random_bool(0.03));
            }
            if random.random_bool(0.2) {
                talk.pause();
            }
        }
        let (call, websocket) = one(&mut talk);
        for (told, sent, bytes) in [(websocket.request, sent[0], bytes[0]), (websocket.response, sent[1], bytes[1])] {
            prop_assert!(told.messages <= sent && told.bytes <= bytes + 16 * sent, "{:?} of {}", told, sent);
            prop_assert_eq!(told.messages, told.text);
        }
        prop_assert!(call.anomalies.is_empty(), "{:?}", call.anomalies);
        let classes = [finds(&call, false), finds(&call, true)].concat();
        prop_assert!(classes.iter().all(|class| *class == "email"), "{:?}", classes);
    }

    #[test]
    fn any_frames(parts in prop::collection::vec((any::<[bool; 2]>(), any::<u8>(), 0usize..300, any::<u8>()), 0..40), deflate: bool) {
        let mut talk = Talk::new(61);
        open(&mut talk, if deflate { DEFLATE } else { "" });
        for ([from_client, lost], flags, length, seed) in parts {
            let payload: Vec<u8> = (0..length).map(|at| seed.wrapping_mul(at as u8)).collect();
            let bytes = if seed % 2 == 0 { masked(flags, &payload) } else { frame(flags, &payload) };
            talk.send_lossy(from_client, &bytes, &mut || lost);
        }
        one(&mut talk);
    }
}
