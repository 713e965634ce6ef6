//! Calls that go on for long, of which there is a record a minute.

use super::*;
use crate::call::WebSocket;

impl Bench {
    /// A record of a WebSocket: the one of this number.
    fn part(&mut self, client: u32, part: u32, method: &str, bytes: u64) {
        let call = Call {
            flow: FlowId(u64::from(client)),
            position: self.position,
            end_time: self.now,
            client: Peer { ip: address(client), port: 1 },
            method: method.into(),
            host: Some("api.example".into()),
            target: "/feed".into(),
            path: "/feed".into(),
            status: Some(if method == "CONNECT" { 200 } else { 101 }),
            latency: Some(0.02),
            response: Message { wire_bytes: bytes, ..Message::default() },
            user_agent: Some("agent".into()),
            completeness: Completeness { request: true, response: true, open: true, part, ..Completeness::default() },
            websocket: Some(Box::new(WebSocket::default())),
            ..Call::default()
        };
        self.position += 1;
        self.detector.call(&call, &mut self.alerts);
    }
}

#[test]
fn a_websocket_is_one_call_of_one_endpoint_however_long_it_lasts() {
    let mut bench = Bench::new();
    for minute in 0..600 {
        for client in 0..20 {
            // Some speak HTTP/2.
            bench.part(client, minute, if client % 2 == 0 { "GET" } else { "CONNECT" }, 40_000);
        }
        // One opens another each minute, and has hundreds open in the end.
        for part in 0..minute.min(300) {
            bench.part(20, part, "GET", 40_000);
        }
        bench.wait(60);
    }
    let state = bench.detector.state();
    let titles: Vec<_> = state.endpoints.iter().map(|(_, endpoint)| endpoint.title()).collect();
    assert_eq!(titles, ["GET /feed"], "an upgrade is a good answer");
    assert_eq!(state.clients.get(&address(3)).map(|client| client.calls), Some(1));
    assert_eq!(state.clients.get(&address(20)).map(|client| client.calls), Some(599));
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
}
