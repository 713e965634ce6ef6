//! A capture of two implementations that were not consulted when apitap's was written: `ws` of Node serves, `websockets` of
//! Python calls. What is expected is what the server logged.

mod support;

use support::Folder;

#[test]
fn websockets_as_their_server_logged_them() {
    let folder = Folder::new("websocket");
    let capture = format!("{}/fixtures/websocket.pcap", env!("CARGO_MANIFEST_DIR"));
    let run = folder.run("calls", &[&capture, "--json-summary"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let calls = run.lines();
    assert_eq!(calls.len(), 2);
    for (call, target, sent, received, code) in [
        // Compressed: the server with a window of 1 KiB, the client each message for itself; text in fragments, binary.
        (&calls[0], "/feed?tenant=7", [14, 78_196], [14, 4_277], 4002),
        // Not compressed, and broken off.
        (&calls[1], "/plain", [30, 770], [30, 2_960], 1006),
    ] {
        assert_eq!((&call["target"], &call["status"]), (&target.into(), &101.into()));
        let told = &call["websocket"];
        for (way, [messages, bytes]) in [("request", sent), ("response", received)] {
            assert_eq!((&told[way]["messages"], &told[way]["bytes"]), (&messages.into(), &bytes.into()), "{call}");
            assert!(told[way].get("undecoded").is_none(), "{call}");
        }
        assert_eq!(told["close_code"], code);
        assert!(call.get("anomalies").is_none(), "{call}");
        assert_eq!(call["sensitive"]["response"][0]["class"], "email");
    }
    assert_eq!(
        (&calls[0]["websocket"]["subprotocol"], &calls[0]["websocket"]["deflate"]),
        (&"graphql-transport-ws".into(), &true.into())
    );
    assert_eq!((&calls[0]["operation"]["name"], &calls[0]["operation"]["count"]), (&"OnCustomer".into(), &12.into()));
    assert_eq!(run.summary()["counters"]["websocket_messages"], 88);
}
