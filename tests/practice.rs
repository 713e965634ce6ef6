//! Findings and the posture as they are used: from packets, with any number of workers, over printed calls.

mod support;
#[path = "support/wire.rs"]
mod wire;

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use support::{Folder, Run, fixture};
use wire::{CLIENT, SERVER, Wire, seconds};

/// A token with this header and these claims.
fn token(header: &str, claims: &str) -> String {
    format!("Bearer {}.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// A usual one of this user: valid for an hour from 2026-03-02T14:00:00Z on.
fn usual(user: u32) -> String {
    let claims =
        r#"{"iss":"https://id.example","sub":"user-NUMBER","scope":"orders:read","iat":1772460000,"exp":1772463600}"#;
    token(r#"{"alg":"RS256"}"#, &claims.replace("NUMBER", &user.to_string()))
}

/// Calls one after another, each on a connection of its own.
struct Traffic {
    wire: Wire,
    at: f64,
    port: u16,
    server: ([u8; 4], u16),
}

impl Traffic {
    fn new() -> Traffic {
        Traffic { wire: Wire::default(), at: 0.0, port: 20_000, server: ([10, 2, 0, 1], 8080) }
    }

    fn call(&mut self, client: [u8; 4], request: &str, headers: &str, status: &str, answer: &str) {
        self.at += 1.0;
        self.port += 1;
        let at = seconds(self.at);
        let mut connection = self.wire.open_to(at, client, self.port, self.server);
        let head = format!("{request} HTTP/1.1\r\nHost: shop.example\r\n{headers}\r\n");
        self.wire.send(at + 100, &mut connection, CLIENT, head.as_bytes());
        // Further header lines stand before an empty one.
        let (extra, body) = match answer.split_once("\n\n") {
            Some((extra, body)) => (format!("{extra}\n"), body),
            None => (String::new(), answer),
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{extra}Content-Length: {length}\r\n\r\n{body}"
        );
        self.wire.send(at + 500, &mut connection, SERVER, answer.as_bytes());
        self.wire.close(at + 900, &mut connection);
    }

    /// Ten users who call as they should.
    fn people(&mut self) {
        for user in 0..10u8 {
            let headers = format!("Authorization: {}\r\n", usual(u32::from(user)));
            self.call([198, 51, 100, user], &format!("GET /v1/orders/{user}"), &headers, "200", r#"{"total":7}"#);
        }
    }
}

/// What a capture shows: findings of `replay` in the end, alike for any number of workers and over printed calls.
fn findings(name: &str, configuration: &str, make: impl FnOnce(&mut Traffic)) -> Vec<Value> {
    let folder = Folder::new(name);
    let mut traffic = Traffic::new();
    traffic.people();
    make(&mut traffic);
    traffic.wire.write(&folder.path("a.pcap"));
    fs::write(folder.path("a.toml"), configuration).expect("a writable folder");
    let run = |command: &str, file: &str, more: &[&str]| {
        folder.run(command, &[&[file, "--findings", "--quiet", "--config", "a.toml"], more].concat())
    };
    let replayed = run("replay", "a.pcap", &["--workers", "1"]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    assert_eq!(run("replay", "a.pcap", &["--workers", "2"]).stdout, replayed.stdout, "{name}");
    let calls = folder.run("calls", &["a.pcap", "--quiet"]);
    fs::write(folder.path("a.jsonl"), &calls.stdout).expect("a writable folder");
    assert_eq!(run("detect", "a.jsonl", &[]).stdout, replayed.stdout, "{name}");
    // Without the flag the alerts are what they were.
    let plain = folder.run("replay", &["a.pcap", "--quiet", "--config", "a.toml"]);
    let alerts: Vec<_> = replayed.lines().into_iter().filter(|line| line["schema"] == "apitap.alert.v1").collect();
    assert_eq!(plain.lines(), alerts, "{name}");
    replayed.lines().into_iter().filter(|line| line["state"] == "total").collect()
}

fn kinds(findings: &[Value]) -> Vec<&str> {
    findings.iter().map(|finding| finding["kind"].as_str().expect("a kind")).collect()
}

#[test]
fn tokens_on_the_wire_and_what_is_found_of_them() {
    let order = "GET /v1/orders/77";
    let all = findings("practice-tokens", "", |traffic| {
        let ask = |traffic: &mut Traffic, authorization: String| {
            let headers = format!("Authorization: {authorization}\r\n");
            traffic.call([198, 51, 100, 77], order, &headers, "200", r#"{"total":7}"#);
        };
        let over = r#"{"sub":"user-77","iat":1772370000,"exp":1772373600}"#;
        ask(traffic, token(r#"{"alg":"RS256"}"#, over));
        ask(traffic, token(r#"{"alg":"none"}"#, r#"{"sub":"user-77","iat":1772460000,"exp":1772463600}"#));
        ask(traffic, token(r#"{"alg":"HS256"}"#, r#"{"sub":"user-77"}"#));
        ask(traffic, format!("Basic {}", STANDARD.encode("Admin:hunter2")));
    });
    assert_eq!(
        kinds(&all),
        [
            "credential.unsigned",
            "credential.expired",
            "credential.default_account",
            "credential.long_lived",
            "credential.basic_in_clear"
        ]
    );
    assert_eq!(all[1]["details"][0], "days late");
    assert_eq!(all[2]["details"][0], "admin");
    let text: String = all.iter().map(Value::to_string).collect();
    for secret in ["hunter2", "user-77", "eyJ"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    // The same calls, refused.
    let refused = findings("practice-refused", "", |traffic| {
        for authorization in [
            token(r#"{"alg":"none"}"#, r#"{"sub":"user-77","exp":1772373600}"#),
            format!("Basic {}", STANDARD.encode("admin:a")),
        ] {
            let headers = format!("Authorization: {authorization}\r\n");
            traffic.call([198, 51, 100, 77], order, &headers, "401", "WWW-Authenticate: Bearer realm=\"x\"\r\n\n{}");
        }
    });
    assert_eq!(kinds(&refused), [""; 0]);
}

#[test]
fn calls_show_the_claims_that_matter() {
    let folder = Folder::new("practice-claims");
    let mut traffic = Traffic::new();
    traffic.people();
    let signed = "Signature-Input: sig1=(\"@method\");created=1772460000;keyid=\"robot\"\r\nSignature: sig1=:MEUC:\r\n";
    traffic.call(
        [198, 51, 100, 50],
        "GET /v1/rates",
        signed,
        "429",
        "Retry-After: 120\r\nX-RateLimit-Remaining: 0\r\n\n{}",
    );
    let target = "GET /files/7?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7/20260302/eu/s3/aws4_request&X-Amz-Signature=0123456789abcdef";
    traffic.call([198, 51, 100, 51], target, "", "302", "Location: https://cdn.example/files/7\r\n\n{}");
    traffic.wire.write(&folder.path("a.pcap"));
    let calls = folder.run("calls", &["a.pcap", "--quiet"]).lines();
    let credential = &calls[0]["credential"];
    assert_eq!(credential["expires"], "2026-03-02T15:00:00.000000000Z", "{credential}");
    assert_eq!((&credential["algorithm"], &credential["issuer"]), (&"RS256".into(), &"https://id.example".into()));
    assert_eq!(credential["scopes"], serde_json::json!(["orders:read"]));
    assert_eq!(calls[10]["credential"]["signature"], "http_message");
    assert_eq!(calls[10]["response_fields"], serde_json::json!({"retry_after": 120, "rate_limit": {"remaining": 0}}));
    assert_eq!(
        (&calls[11]["credential"]["signature"], &calls[11]["credential"]["place"]),
        (&"aws_sigv4".into(), &"query".into())
    );
    assert_eq!(calls[11]["response_fields"]["redirects_to"], "https://cdn.example");
}

#[test]
fn the_way_around_the_gateway_and_ways_to_be_encrypted() {
    let configuration =
        "[gateway]\naddresses = [\"10.9.0.5\"]\n[practice]\nencrypted = [\"10.1.0.0/16 -> 10.2.0.0/16\"]\n";
    let headers = format!("Authorization: {}\r\n", usual(3));
    let all = findings("practice-gateway", configuration, |traffic| {
        traffic.call([10, 9, 0, 5], "GET /v1/orders/3", &headers, "200", "{}");
        traffic.call([10, 1, 0, 3], "GET /v1/orders/3", &headers, "200", "{}");
    });
    assert_eq!(kinds(&all), ["transport.clear_across_boundary", "gateway.bypass"]);
    assert_eq!(all[1]["about"], "server 10.2.0.1:8080");
    assert_eq!(all[1]["count"], 11, "ten came before the gateway was seen to call it");
    let twin = findings("practice-gateway-twin", "", |traffic| {
        traffic.call([10, 9, 0, 5], "GET /v1/orders/3", &headers, "200", "{}");
        traffic.call([10, 1, 0, 3], "GET /v1/orders/3", &headers, "200", "{}");
    });
    assert_eq!(kinds(&twin), [""; 0]);
}

#[test]
fn the_posture_of_a_capture() {
    let folder = Folder::new("practice-posture");
    let mut traffic = Traffic::new();
    traffic.people();
    traffic.call([198, 51, 100, 77], "GET /v1/orders/7", "", "401", "{}");
    traffic.call([198, 51, 100, 78], "GET /v1/orders/7", "", "200", r#"{"total":7}"#);
    traffic.wire.write(&folder.path("a.pcap"));
    let json = folder.run("posture", &["a.pcap", "--quiet", "--json", "--fail-on-finding"]);
    assert_eq!(json.code, Some(3), "{}", json.stderr);
    let told = &json.lines()[0];
    assert_eq!(told["schema"], "apitap.posture.v1");
    let row = |told: &Value, table: &str, id: &str| {
        let rows = told[table].as_array().expect("rows");
        rows.iter().find(|row| row["id"] == id).cloned().unwrap_or_else(|| panic!("{id} in {told}"))
    };
    assert_eq!(row(told, "advice", "authenticate")["stand"], "attention");
    assert_eq!(row(told, "advice", "authenticate")["findings"]["credential.missing"], 1);
    assert_eq!(row(told, "advice", "tie_tokens")["stand"], "well");
    assert_eq!(row(told, "advice", "gateway")["stand"], "not_visible");
    assert_eq!(row(told, "owasp", "API2:2023")["stand"], "attention");
    assert_eq!(row(told, "owasp", "API1:2023")["stand"], "well");
    assert_eq!((told["advice"].as_array().map(Vec::len), told["owasp"].as_array().map(Vec::len)), (Some(7), Some(10)));
    assert_eq!(told["traffic"]["authenticated"], 10);
    let text = folder.run("posture", &["a.pcap", "--quiet"]);
    assert_eq!(text.code, Some(0));
    let text = String::from_utf8(text.stdout).expect("UTF-8");
    assert!(text.contains("10 of 11 good answers (90.9 %) with a credential"), "{text}");
    assert!(text.contains("GET /v1/orders/{id} of shop.example"), "{text}");
    assert!(!text.contains("had expired"), "{text}");
    // Over printed calls the same, and with nothing to be put right no exit code.
    let calls = folder.run("calls", &["a.pcap", "--quiet"]);
    fs::write(folder.path("a.jsonl"), &calls.stdout).expect("a writable folder");
    assert_eq!(folder.run("posture", &["a.jsonl", "--calls", "--quiet", "--json"]).stdout, json.stdout);
    let mut traffic = Traffic::new();
    traffic.people();
    traffic.wire.write(&folder.path("b.pcap"));
    assert_eq!(folder.run("posture", &["b.pcap", "--quiet", "--fail-on-finding"]).code, Some(0));
}

#[test]
fn quotas_are_proposed_that_honest_clients_stay_below() {
    let folder = Folder::new("practice-quotas");
    let suggest = |more: &[&str]| -> Run {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_apitap"));
        command.args(["quotas", "suggest", &fixture(), "--trusted-proxy", "10.20.0.5", "--quiet", "--key-file"]);
        Run::of(command.arg(folder.path("test.key")).args(more).output().expect("the binary starts"))
    };
    let run = suggest(&["--json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let lines = run.lines();
    assert!(!lines.is_empty());
    for line in &lines {
        assert!(line["honest_share_over"].as_f64() <= Some(0.01), "{line}");
        assert!(line["limit"].as_f64() >= line["half"].as_f64(), "{line}");
    }
    assert!(lines.iter().any(|line| line["suspects_share_over"].as_f64() > Some(0.0)), "the floods of this capture");
    assert_eq!(suggest(&["--json", "--workers", "3"]).stdout, run.stdout);
    // What is proposed can be set as it is, and nobody honest exceeds it.
    let toml = suggest(&[]);
    fs::write(folder.path("quotas.toml"), &toml.stdout).expect("a writable folder");
    let findings = folder.run(
        "replay",
        &[&fixture(), "--trusted-proxy", "10.20.0.5", "--quiet", "--findings", "--config", "quotas.toml"],
    );
    assert_eq!(findings.code, Some(0), "{}", findings.stderr);
    let breaches =
        findings.lines().into_iter().filter(|line| line["kind"] == "quota.breach" && line["state"] == "total");
    assert!(breaches.count() > 0);
    assert_eq!(suggest(&["--share", "0"]).code, Some(2));
}

#[test]
fn a_capture_whose_times_were_rewritten_is_told_of() {
    let folder = Folder::new("practice-rewritten");
    let mut traffic = Traffic::new();
    for user in 0..10u8 {
        let over = token(r#"{"alg":"RS256"}"#, r#"{"sub":"user-1","iat":1600000000,"exp":1600003600}"#);
        let headers = format!("Authorization: {over}\r\n");
        traffic.call([198, 51, 100, user], "GET /v1/orders/1", &headers, "200", "{}");
    }
    traffic.wire.write(&folder.path("a.pcap"));
    let text = String::from_utf8(folder.run("posture", &["a.pcap", "--quiet"]).stdout).expect("UTF-8");
    let told = "10 of 10 tokens (100.0 %) had expired: the times of this capture may have been rewritten";
    assert!(text.contains(told), "{text}");
}
