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
        self.send(client, request, headers, "", status, answer);
    }

    /// The same with a body of JSON.
    fn send(&mut self, client: [u8; 4], request: &str, headers: &str, body: &str, status: &str, answer: &str) {
        self.post(client, request, headers, (Some("application/json"), body), status, answer);
    }

    /// The same with a body of this media type, or of none that is declared.
    fn post(
        &mut self,
        client: [u8; 4],
        request: &str,
        headers: &str,
        (media, body): (Option<&str>, &str),
        status: &str,
        answer: &str,
    ) {
        self.at += 1.0;
        self.port += 1;
        let at = seconds(self.at);
        let mut connection = self.wire.open_to(at, client, self.port, self.server);
        let content = match body.len() {
            0 => String::new(),
            length => {
                let declared = media.map(|media| format!("Content-Type: {media}\r\n")).unwrap_or_default();
                format!("{declared}Content-Length: {length}\r\n")
            }
        };
        let head = format!("{request} HTTP/1.1\r\nHost: shop.example\r\n{headers}{content}\r\n{body}");
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
        for piece in answer.as_bytes().chunks(32_000) {
            self.wire.send(at + 500, &mut connection, SERVER, piece);
        }
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
    assert_eq!(row(told, "advice", "encrypt_and_sign")["stand"], "not_visible", "nothing is in TLS");
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
    let calls = folder.run("calls", &["a.pcap", "--quiet", "--shapes"]);
    fs::write(folder.path("a.jsonl"), &calls.stdout).expect("a writable folder");
    assert_eq!(folder.run("posture", &["a.jsonl", "--calls", "--quiet", "--json"]).stdout, json.stdout);
    // What nothing was looked into for is not well.
    assert_eq!(row(told, "owasp", "API3:2023")["stand"], "well");
    assert_eq!(row(told, "owasp", "API10:2023")["stand"], "not_visible");
    let calls = folder.run("calls", &["a.pcap", "--quiet"]);
    fs::write(folder.path("b.jsonl"), &calls.stdout).expect("a writable folder");
    let without = &folder.run("posture", &["b.jsonl", "--calls", "--quiet", "--json"]).lines()[0];
    assert_eq!(row(without, "owasp", "API3:2023")["stand"], "not_visible");
    let mut traffic = Traffic::new();
    traffic.people();
    traffic.call([10, 0, 0, 7], "GET /v1/rates", "", "200", r#"{"total":7}"#);
    traffic.wire.write(&folder.path("c.pcap"));
    fs::write(folder.path("estate.toml"), "[practice]\nestate = [\"10.0.0.7/32\"]\n").expect("a writable folder");
    let outbound = &folder.run("posture", &["c.pcap", "--quiet", "--json", "--config", "estate.toml"]).lines()[0];
    assert_ne!(row(outbound, "owasp", "API10:2023")["stand"], "not_visible");
    let mut traffic = Traffic::new();
    traffic.people();
    traffic.wire.write(&folder.path("b.pcap"));
    assert_eq!(folder.run("posture", &["b.pcap", "--quiet", "--fail-on-finding"]).code, Some(0));
}

#[test]
fn where_nobody_bears_a_credential_it_is_not_well() {
    let folder = Folder::new("practice-nobody");
    let mut traffic = Traffic::new();
    for client in 0..20 {
        traffic.call([198, 51, 100, client], "GET /v1/orders/7", "", "200", r#"{"total":7}"#);
    }
    traffic.wire.write(&folder.path("a.pcap"));
    let told = folder.run("posture", &["a.pcap", "--quiet", "--json"]).lines().remove(0);
    let rows = told["advice"].as_array().expect("rows");
    let authenticate = rows.iter().find(|row| row["id"] == "authenticate").expect("a row");
    assert_eq!(authenticate["stand"], "not_visible", "{told}");
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

/// Kinds of what a capture shows: of findings in the end, or of alerts.
fn shown(name: &str, configuration: &str, alerts: bool, make: &dyn Fn(&mut Traffic)) -> Vec<String> {
    let folder = Folder::new(name);
    let mut traffic = Traffic::new();
    traffic.people();
    make(&mut traffic);
    traffic.wire.write(&folder.path("a.pcap"));
    fs::write(folder.path("a.toml"), configuration).expect("a writable folder");
    let run = folder.run("replay", &["a.pcap", "--findings", "--quiet", "--config", "a.toml"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let secrets = ["hunter2", "sk_live_4f9aQ2", "BEGIN PRIVATE"];
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    let wanted = |line: &&Value| match alerts {
        true => line["schema"] == "apitap.alert.v1",
        false => line["state"] == "total",
    };
    run.lines().iter().filter(wanted).map(|line| line["kind"].as_str().expect("a kind").to_owned()).collect()
}

/// A client beside the usual ones.
const ODD: [u8; 4] = [198, 51, 100, 90];

/// The body of a multipart form with these fields, parted by this word.
fn parts(boundary: &str, fields: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    format!("{}--{boundary}--\r\n", fields.iter().map(part).collect::<String>())
}

/// A kind, a configuration, what raises it and what nearly does.
type Pair = (&'static str, &'static str, fn(&mut Traffic, bool));

#[test]
fn each_finding_has_a_capture_that_raises_it_and_a_twin_that_does_not() {
    let pairs: [Pair; 32] = [
        ("credential.missing", "", |traffic, raises| {
            // Nobody was refused before, but nobody came without either, of many; the twin has some that always do.
            for round in 0..15 {
                forty(traffic, |traffic, client, person, headers| {
                    traffic.call(client, &format!("GET /v1/parcels/{}", person + round), headers, "200", "{}");
                    if !raises && person % 20 == 0 {
                        let other = [203, 0, 113, person + round];
                        traffic.call(other, &format!("GET /v1/parcels/{person}"), "", "200", "{}");
                    }
                });
            }
            traffic.call(ODD, "GET /v1/parcels/7", "", "200", r#"{"parcel":7}"#);
        }),
        ("credential.missing", "", |traffic, raises| {
            // A word under a name that has keys elsewhere says nothing of who calls; a key does.
            for client in 0..8u8 {
                let key = format!("Authorization: {}\r\n", usual(u32::from(client)));
                traffic.call([198, 51, 100, client], "GET /v1/stock/17", &key, "200", r#"{"left":7}"#);
            }
            traffic.call([198, 51, 100, 60], "GET /v1/stock/17", "", "401", "{}");
            let key = if raises { "name" } else { "Zk3vQ9xW2pLr7TbNf8e1" };
            traffic.call(ODD, &format!("GET /v1/stock/17?key={key}"), "", "200", r#"{"left":7}"#);
        }),
        ("credential.in_url", "", |traffic, raises| {
            let words =
                ["key=created_at_desc", "session=2024-spring-term", "auth=shakespeare", "pass=day", "sid=159106"];
            let keys =
                ["key=Zk3vQ9xW2pLr7TbNf8e1", "session=8f14e45f-ceea-467a-9a36-dedd4bea2543", "token=eyJhbGciOiJub25l"];
            for query in if raises { &keys[..] } else { &words[..] } {
                traffic.call(ODD, &format!("GET /v1/stock?{query}"), "", "200", "{}");
            }
        }),
        ("exposure.secret", "", |traffic, raises| {
            // It was so from the first call on.
            forty(traffic, |traffic, client, person, headers| {
                let secret = if raises { "x7Kq2mB9vLpR4tYw8sZcN1dF" } else { "********" };
                let answer = format!(r#"{{"user":{person},"api_secret":"{secret}"}}"#);
                traffic.call(client, "GET /v1/settings", headers, "200", &answer);
            });
        }),
        ("exposure.secret", "", |traffic, raises| {
            // What makes a key answers with it, and need not again.
            let request = if raises { "GET /v1/keys/7" } else { "POST /v1/keys" };
            traffic.call(ODD, request, "", "200", r#"{"api_key":"x7Kq2mB9vLpR4tYw8sZcN1dF"}"#);
        }),
        ("exposure.error_detail", "", |traffic, raises| {
            let trace = r#"Traceback (most recent call last):\n  File \"/srv/app.py\", line 7, in get\nKeyError: 7"#;
            let detail = if raises { trace } else { "an internal error, number 7" };
            traffic.call(ODD, "GET /v1/orders/7", "", "500", &format!(r#"{{"error":"{detail}"}}"#));
        }),
        ("quota.retry_ignored", "", |traffic, raises| {
            // Who is told to wait is one of those behind an address; the others know nothing of it.
            let headers = |user: u32| format!("Authorization: {}\r\n", usual(user));
            traffic.call(ODD, "GET /v1/orders/7", &headers(1), "429", "Retry-After: 60\r\n\n{}");
            for user in 0..6 {
                let user = if raises { 1 } else { 20 + user };
                traffic.call(ODD, "GET /v1/orders/7", &headers(user), "200", "{}");
            }
        }),
        ("quota.retry_ignored", "", |traffic, raises| {
            // Elsewhere it was not told to wait, unless it is refused there as well.
            let headers = format!("Authorization: {}\r\n", usual(9));
            traffic.call(ODD, "GET /v1/search", &headers, "429", "Retry-After: 60\r\n\n{}");
            for _ in 0..6 {
                traffic.call(ODD, "GET /v1/orders/7", &headers, if raises { "429" } else { "200" }, "{}");
            }
        }),
        ("quota.retry_ignored", "", |traffic, raises| {
            // No moment is named; to come again at once and again is no way to wait all the same.
            let headers = format!("Authorization: {}\r\n", usual(9));
            for _ in 0..40 {
                traffic.at -= if raises { 0.7 } else { -1.0 };
                traffic.call(ODD, "GET /v1/orders/7", &headers, "429", "{}");
            }
        }),
        ("credential.missing", "", |traffic, raises| {
            traffic.call(ODD, "GET /v1/orders/7", "", "401", "{}");
            traffic.call(ODD, "GET /v1/orders/7", "", if raises { "200" } else { "401" }, r#"{"total":7}"#);
        }),
        ("credential.default_account", "", |traffic, raises| {
            let body = r#"{"username":"admin","password":"hunter2"}"#;
            traffic.send(ODD, "POST /v1/login", "", body, if raises { "200" } else { "401" }, r#"{"ok":1}"#);
        }),
        ("credential.default_account", "", |traffic, raises| {
            // A form, whose answer leads on, or back to where it was sent from.
            let form = (Some("application/x-www-form-urlencoded"), "username=admin&password=hunter2");
            let to = if raises { "/account" } else { "/login?error=1" };
            traffic.post(ODD, "POST /login", "", form, "302", &format!("Location: {to}\r\n\n"));
        }),
        ("credential.default_account", "", |traffic, raises| {
            // Back to the same page, with a session or without.
            let form =
                (Some("multipart/form-data; boundary=b0"), &*parts("b0", &[("user", "root"), ("password", "hunter2")]));
            let cookie = if raises { "Set-Cookie: sid=4f9aQ2b7c1d8; HttpOnly\r\n" } else { "Set-Cookie: lang=de\r\n" };
            traffic.post(ODD, "POST /login", "", form, "303", &format!("Location: /login\r\n{cookie}\n"));
        }),
        ("credential.missing", "", |traffic, raises| {
            // Keys in a cookie that no rule names. In the twin it is one that every browser bears, whoever is refused.
            for round in 0..5u8 {
                for client in 0..8u8 {
                    let key = format!("Cookie: theme=dark; acme_pass=Zk3vQ9xW2pLr7TbN{client}f8e1\r\n");
                    traffic.call([198, 51, 100, client], "GET /v1/stock/17", &key, "200", r#"{"left":7}"#);
                }
                let cookie = format!("Cookie: acme_pass=Ab5cQ9xW2pLr7TbN{round}f8e1\r\n");
                let headers = if raises { "" } else { &cookie };
                traffic.call([198, 51, 100, 60 + round], "GET /v1/stock/17", headers, "401", "{}");
            }
            traffic.call(ODD, "GET /v1/stock/17", "", "200", r#"{"left":7}"#);
        }),
        ("credential.missing", "", |traffic, raises| {
            // Keys under a name that no rule knows; the twin's are one and the same, and say nothing of who calls.
            for round in 0..5u8 {
                for client in 0..8u8 {
                    let one = if raises { client } else { 0 };
                    let key = format!("X-Acme-Pass: Zk3vQ9xW2pLr7TbN{one}f8e1\r\n");
                    traffic.call([198, 51, 100, client], "GET /v1/stock/17", &key, "200", r#"{"left":7}"#);
                }
                traffic.call([198, 51, 100, 60 + round], "GET /v1/stock/17", "", "401", "{}");
            }
            traffic.call(ODD, "GET /v1/stock/17", "", "200", r#"{"left":7}"#);
        }),
        ("credential.unsigned", "", |traffic, raises| {
            let header = if raises { r#"{"alg":"none"}"# } else { r#"{"alg":"HS256"}"# };
            let held = token(header, r#"{"sub":"user-77","iat":1772460000,"exp":1772463600}"#);
            traffic.call(ODD, "GET /v1/orders/7", &format!("Authorization: {held}\r\n"), "200", "{}");
        }),
        ("credential.expired", "", |traffic, raises| {
            // An hour before the capture, or a minute and a half, by which clocks differ.
            let expires = if raises { 1_772_456_400 } else { 1_772_459_910 };
            let held = token(r#"{"alg":"RS256"}"#, &format!(r#"{{"sub":"u","iat":1772452800,"exp":{expires}}}"#));
            traffic.call(ODD, "GET /v1/orders/7", &format!("Authorization: {held}\r\n"), "200", "{}");
        }),
        ("credential.long_lived", "", |traffic, raises| {
            let expires = 1_772_460_000 + if raises { 90_000 } else { 82_800 };
            let held = token(r#"{"alg":"RS256"}"#, &format!(r#"{{"sub":"u","iat":1772460000,"exp":{expires}}}"#));
            traffic.call(ODD, "GET /v1/orders/7", &format!("Authorization: {held}\r\n"), "200", "{}");
        }),
        ("credential.basic_in_clear", "", |traffic, raises| {
            let headers = match raises {
                true => format!("Authorization: Basic {}\r\n", STANDARD.encode("ana:hunter2")),
                false => "Authorization: Digest username=\"ana\", realm=\"x\", response=\"0f3a\"\r\n".to_owned(),
            };
            traffic.call(ODD, "GET /v1/orders/7", &headers, "200", "{}");
        }),
        (
            "transport.clear_across_boundary",
            "[practice]\nencrypted = [\"10.1.0.0/16 -> 10.2.0.0/16\"]\n",
            |traffic, raises| {
                let headers = format!("Authorization: {}\r\n", usual(9));
                let from = if raises { [10, 1, 0, 3] } else { [10, 3, 0, 3] };
                traffic.call(from, "GET /v1/orders/7", &headers, "200", "{}");
            },
        ),
        ("gateway.bypass", "[gateway]\naddresses = [\"10.9.0.5\"]\nexempt = [\"10.8.0.0/24\"]\n", |traffic, raises| {
            traffic.server = ([10, 2, 0, 7], 8080);
            let headers = format!("Authorization: {}\r\n", usual(9));
            for from in [[10, 9, 0, 5], if raises { [10, 1, 0, 3] } else { [10, 8, 0, 3] }] {
                traffic.call(from, "GET /v1/orders/7", &headers, "200", "{}");
            }
        }),
        ("credential.in_url", "", |traffic, raises| match raises {
            true => traffic.call(ODD, "GET /v1/orders/7?api_key=sk_live_4f9aQ2b7c1", "", "200", "{}"),
            false => traffic.call(ODD, "GET /v1/orders/7", "X-API-Key: sk_live_4f9aQ2b7c1\r\n", "200", "{}"),
        }),
        ("credential.implicit_flow", "", |traffic, raises| {
            let kind = if raises { "token" } else { "code&code_challenge=abc" };
            let request = format!("GET /oauth2/authorize?client_id=x&response_type={kind}");
            traffic.call(ODD, &request, "", "302", "Location: https://shop.example/callback\r\n\n");
        }),
        ("credential.no_pkce", "", |traffic, raises| {
            let challenge = if raises { "" } else { "&code_challenge=abc" };
            let request = format!("GET /oauth2/authorize?client_id=x&response_type=code{challenge}");
            traffic.call(ODD, &request, "", "302", "Location: https://shop.example/callback\r\n\n");
        }),
        ("signature.missing", "", |traffic, raises| {
            for user in 0..6u8 {
                let signed = "Signature-Input: sig1=(\"@method\");keyid=\"robot\"\r\nSignature: sig1=:MEUC:\r\n";
                let headers = format!("Authorization: {}\r\n{signed}", usual(u32::from(user)));
                traffic.call([198, 51, 100, user], "GET /v1/payments/7", &headers, "200", "{}");
            }
            let headers = format!("Authorization: {}\r\n", usual(9));
            traffic.call(ODD, "GET /v1/payments/8", &headers, if raises { "200" } else { "401" }, "{}");
        }),
        ("outbound.clear", "", |traffic, raises| {
            traffic.server = if raises { ([203, 0, 113, 4], 80) } else { ([10, 7, 0, 4], 80) };
            traffic.call([10, 2, 0, 9], "GET /v2/rates", "", "200", "{}");
        }),
        ("outbound.redirect", "", |traffic, raises| {
            traffic.server = ([203, 0, 113, 4], 80);
            let to = if raises { "https://collect.evil.example/x" } else { "https://eu.shop.example/x" };
            traffic.call([10, 2, 0, 9], "GET /v2/rates", "", "302", &format!("Location: {to}\r\n\n"));
        }),
        ("outbound.secret", "", |traffic, raises| {
            traffic.server = ([203, 0, 113, 4], 80);
            let key = "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\\nMzEf\\n";
            let body = if raises { format!(r#"{{"key":"{key}"}}"#) } else { r#"{"key":"none"}"#.to_owned() };
            traffic.send([10, 2, 0, 9], "POST /v2/rates", "", &body, "200", "{}");
        }),
        ("quota.breach", QUOTA, |traffic, raises| ask(traffic, if raises { 12 } else { 10 })),
        ("quota.near", QUOTA, |traffic, raises| ask(traffic, if raises { 10 } else { 8 })),
        (
            "quota.hovering",
            "[[quota]]\nname = \"few\"\nclients = [\"198.51.100.90\"]\nwindow = \"minute\"\ncalls = 10\n",
            |traffic, raises| {
                for minute in 1..10 {
                    traffic.at = f64::from(minute) * 60.0;
                    ask(traffic, if raises { 10 } else { 7 });
                }
            },
        ),
        ("quota.retry_ignored", "", |traffic, raises| {
            let headers = format!("Authorization: {}\r\n", usual(9));
            traffic.call(ODD, "GET /v1/orders/7", &headers, "429", "Retry-After: 60\r\n\n{}");
            traffic.at += if raises { 0.0 } else { 61.0 };
            ask(traffic, 5);
        }),
    ];
    for (number, (kind, configuration, make)) in pairs.into_iter().enumerate() {
        for raises in [true, false] {
            let name = format!("practice-pair-{number}-{raises}");
            let kinds = shown(&name, configuration, false, &|traffic| make(traffic, raises));
            assert_eq!(kinds.iter().any(|found| found == kind), raises, "{number}, {kind}: {kinds:?}");
        }
    }
}

/// A quota that is nearly used up by nine calls.
const QUOTA: &str = "[[quota]]\nname = \"few\"\nper = [\"client\", \"service\"]\nclients = [\"198.51.100.90\"]\n\
                     window = \"hour\"\ncalls = 10\n";

/// So many good calls of one client.
fn ask(traffic: &mut Traffic, count: u32) {
    for _ in 0..count {
        let headers = format!("Authorization: {}\r\n", usual(9));
        traffic.call(ODD, "GET /v1/orders/7", &headers, "200", "{}");
    }
}

/// Forty people who do this one after another.
fn forty(traffic: &mut Traffic, mut act: impl FnMut(&mut Traffic, [u8; 4], u8, &str)) {
    for person in 0..40 {
        let headers = format!("Authorization: {}\r\n", usual(u32::from(person)));
        act(traffic, [198, 51, 100, person], person, &headers);
    }
}

/// Those of one role, whom Keycloak gave it, at some functions.
fn of_role(traffic: &mut Traffic, user: u8, role: &str, request: &str, status: &str) {
    let claims = format!(
        r#"{{"iss":"https://id.example","sub":"u-{user}","azp":"app-{}","realm_access":{{"roles":["{role}"]}},"iat":1772460000,"exp":1772474400}}"#,
        user % 6
    );
    let headers = format!("Authorization: {}\r\n", token(r#"{"alg":"RS256"}"#, &claims));
    traffic.call([198, 51, 101, user], request, &headers, status, "{}");
}

/// Forty people who use two functions, and one who sends odd values to fields of theirs, or in the twin what only resembles such.
/// `write` puts a value into a field.
fn probing(traffic: &mut Traffic, raises: bool, media: Option<&str>, write: impl Fn(&str, &str) -> String) {
    for path in ["/v1/search", "/v1/comments"] {
        forty(traffic, |traffic, client, person, headers| {
            for (field, value) in [("sort", "price"), ("author", &*format!("O'Brien {person}"))] {
                traffic.post(client, &format!("POST {path}"), headers, (media, &write(field, value)), "200", "{}");
            }
        });
    }
    let probes = ["x' OR '1'='1", "1; DROP TABLE users", "1' AND SLEEP(5)-- ", "{{7*7}}", "; cat /etc/hosts"];
    let plain = ["O'Brien & sons", "drop; table", "good sleep", "{{name}}", "salt; pepper"];
    let headers = format!("Authorization: {}\r\n", usual(9));
    for field in ["sort", "author", "note"] {
        for value in if raises { probes } else { plain } {
            for path in ["/v1/search", "/v1/comments"] {
                traffic.post(ODD, &format!("POST {path}"), &headers, (media, &write(field, value)), "200", "{}");
            }
        }
    }
}

/// A value as forms and XML write it.
fn escaped(value: &str, escapes: &[(char, &str)]) -> String {
    let escape = |letter: char| escapes.iter().find(|(known, _)| *known == letter).map(|(_, text)| *text);
    value.chars().map(|letter| escape(letter).map_or_else(|| letter.to_string(), str::to_owned)).collect()
}

/// One who tries account after account with passwords, among people who log in once; `log_in` makes one attempt.
fn guessing(traffic: &mut Traffic, mut log_in: impl FnMut(&mut Traffic, [u8; 4], u32, bool), fails: bool) {
    forty(traffic, |traffic, client, person, headers| {
        log_in(traffic, client, u32::from(person), false);
        traffic.call(client, "GET /v1/me", headers, "200", "{}");
    });
    for number in 0..40 {
        log_in(traffic, ODD, 1_000 + number, fails);
    }
}

/// People who look at their own records and those of a few others, and one with the token of one of them, who reads all that there
/// are, or in the twin asks as often for the few; `seconds` lie between two calls.
fn with_a_stolen_token(traffic: &mut Traffic, raises: bool, seconds: f64) {
    let read = |traffic: &mut Traffic, client, headers: &str, record: u32| {
        let answer = format!(r#"{{"id":{record},"email":"mara.{record}@webmail.net","city":"b"}}"#);
        traffic.call(client, &format!("GET /v1/customers/{record}"), headers, "200", &answer);
        traffic.at += seconds - 1.0;
    };
    for round in 0..3 {
        forty(traffic, |traffic, client, person, headers| {
            read(traffic, client, headers, u32::from(person) * 3 + round);
        });
    }
    let headers = format!("User-Agent: python-requests/2.32\r\nAuthorization: {}\r\n", usual(9));
    for number in 0..1_500 {
        read(traffic, ODD, &headers, if raises { 7_000 + number } else { 27 + number % 3 });
    }
}

#[test]
fn each_detector_of_the_practices_has_a_capture_that_raises_it_and_a_twin_that_does_not() {
    const SHAPES: &str = "[inspect]\nshapes = true\n";
    let pairs: [Pair; 20] = [
        ("recon.injection_probing", "", |traffic, raises| {
            probing(traffic, raises, Some("application/json"), |field, value| {
                format!(r#"{{"filter":{{"name":"shoes"}},"page":1,"{field}":"{value}"}}"#)
            });
        }),
        ("recon.injection_probing", "", |traffic, raises| {
            let media = Some("multipart/form-data; boundary=b0undary");
            probing(traffic, raises, media, |field, value| parts("b0undary", &[("page", "1"), (field, value)]));
        }),
        ("recon.injection_probing", "", |traffic, raises| {
            let escapes = [('<', "&lt;"), ('&', "&amp;"), ('\'', "&apos;")];
            probing(traffic, raises, Some("application/soap+xml"), |field, value| {
                let (text, body) = (escaped(value, &escapes), "http://www.w3.org/2003/05/soap-envelope");
                format!(
                    r#"<s:Envelope xmlns:s="{body}"><s:Body><find {field}='{text}'><name>{text}</name></find></s:Body></s:Envelope>"#
                )
            });
        }),
        ("recon.injection_probing", "", |traffic, raises| {
            // Nothing says what it is: JSON, and a form.
            probing(traffic, raises, None, |field, value| format!(r#"{{"page":1,"{field}":"{value}"}}"#));
        }),
        ("recon.injection_probing", "", |traffic, raises| {
            let escapes = [('&', "%26"), (' ', "+"), (';', "%3B"), ('=', "%3D")];
            probing(traffic, raises, None, |field, value| format!("page=1&{field}={}", escaped(value, &escapes)));
        }),
        ("auth.credential_stuffing", "", |traffic, raises| {
            // Forms that lead back to themselves, or on.
            let log_in = |traffic: &mut Traffic, client, number, fails| {
                let body = format!("user=u{number:07}%40webmail.net&password=hunter2");
                let form = (Some("application/x-www-form-urlencoded"), &*body);
                let to = if fails { "https://shop.example/login?failed" } else { "https://shop.example/account" };
                traffic.post(client, "POST /login", "", form, "302", &format!("Location: {to}\r\n\n"));
            };
            guessing(traffic, log_in, raises);
        }),
        ("auth.credential_stuffing", "", |traffic, raises| {
            // Several accounts in a call: 40 calls would be few.
            let log_in = |traffic: &mut Traffic, client, number: u32, fails| {
                if number > 1_002 {
                    return;
                }
                let one = |account: u32| {
                    let result = match fails {
                        true => r#""error":{"code":-32001,"message":"no"}"#,
                        false => r#""result":{"ok":1}"#,
                    };
                    let params =
                        format!(r#""params":{{"email":"u{number}x{account}@webmail.net","password":"hunter2"}}"#);
                    (
                        format!(r#"{{"jsonrpc":"2.0","id":{account},"method":"auth.login",{params}}}"#),
                        format!(r#"{{"jsonrpc":"2.0","id":{account},{result}}}"#),
                    )
                };
                let (asked, answered): (Vec<_>, Vec<_>) = (0..if number < 1_000 { 1 } else { 12 }).map(one).unzip();
                let (asked, answered) = (format!("[{}]", asked.join(",")), format!("[{}]", answered.join(",")));
                traffic.send(client, "POST /rpc", "", &asked, "200", &answered);
            };
            guessing(traffic, log_in, raises);
        }),
        ("leak.unauthenticated", "", |traffic, raises| {
            forty(traffic, |traffic, client, person, headers| {
                traffic.call(client, &format!("GET /v1/records/{person}"), headers, "200", r#"{"record":7}"#);
            });
            let anybody = |traffic: &mut Traffic, from: u8, status: &str| {
                let client = [203, 0, 113, from];
                traffic.call(client, &format!("GET /v1/records/{from}"), "", status, r#"{"record":7}"#);
            };
            (0..5).for_each(|from| anybody(traffic, from, "401"));
            // A deploy, after which the door is open, or still shut.
            (10..40).for_each(|from| anybody(traffic, from, if raises { "200" } else { "401" }));
        }),
        ("leak.new_exposure", "", |traffic, raises| {
            let profile = |traffic: &mut Traffic, more: &dyn Fn(u8) -> String| {
                forty(traffic, |traffic, client, person, headers| {
                    let answer = format!(r#"{{"name":"a","city":"b"{}}}"#, more(person));
                    traffic.call(client, "GET /v1/profile", headers, "200", &answer);
                });
            };
            (0..3).for_each(|_| profile(traffic, &|_| String::new()));
            // Numbers of cards, or such whose last digit is wrong.
            profile(traffic, &|person| {
                let body = format!("4539{:011}", u64::from(person) * 7_654_321);
                let sum: u32 = body
                    .bytes()
                    .rev()
                    .enumerate()
                    .map(|(place, digit)| {
                        let digit = u32::from(digit - b'0') * if place % 2 == 0 { 2 } else { 1 };
                        digit / 10 + digit % 10
                    })
                    .sum();
                let check = (10 - sum % 10 + u32::from(!raises)) % 10;
                format!(r#","card_number":"{body}{check}""#)
            });
        }),
        ("auth.token_reuse", "", |traffic, raises| {
            // A program beside the browser of the holder. In the twin that browser itself, on another address.
            let (browser, program) = ("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", "python-requests/2.32");
            let ask = |traffic: &mut Traffic, client, agent: &str, page: u32| {
                let headers = format!("User-Agent: {agent}\r\nAuthorization: {}\r\n", usual(77));
                traffic.call(client, &format!("GET /v1/orders/{page}"), &headers, "200", "{}");
            };
            let holder = [198, 51, 100, 77];
            (0..20).for_each(|page| ask(traffic, holder, browser, page));
            for page in 0..12 {
                ask(traffic, ODD, if raises { program } else { browser }, page);
                ask(traffic, holder, browser, page);
            }
        }),
        ("recon.account_enumeration", "", |traffic, raises| {
            let ask = |traffic: &mut Traffic, client, headers: &str, person: u32, there: bool| {
                let (status, answer) = if there { ("200", r#"{"user":7}"#) } else { ("404", "{}") };
                let body = format!(r#"{{"email":"mara{person}@webmail.net"}}"#);
                traffic.send(client, "POST /v1/users/lookup", headers, &body, status, answer);
            };
            forty(traffic, |traffic, client, person, headers| {
                for number in 0..4 {
                    ask(traffic, client, headers, u32::from(person) * 10 + number % 3, number > 0);
                    traffic.call(client, "GET /v1/me", headers, "200", "{}");
                }
            });
            // The twin asks as often, about the few whom they know.
            let headers = format!("Authorization: {}\r\n", usual(9));
            for number in 0..240 {
                let person = if raises { 5_000 + number } else { 5_000 + number % 12 };
                ask(traffic, ODD, &headers, person, number % 3 > 0);
            }
        }),
        ("recon.request_forgery_probing", "", |traffic, raises| {
            forty(traffic, |traffic, client, person, headers| {
                let body = format!(r#"{{"url":"https://site{person}.example/hook"}}"#);
                traffic.send(client, "POST /v1/webhooks", headers, &body, "201", "{}");
            });
            let headers = format!("Authorization: {}\r\n", usual(9));
            for field in ["url", "image", "callback", "avatar"] {
                for value in
                    ["http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:6379/", "file:///etc/passwd"]
                {
                    let value = if raises { value } else { "https://a.example/x/../y" };
                    let body = format!(r#"{{"{field}":"{value}"}}"#);
                    traffic.send(ODD, "POST /v1/webhooks", &headers, &body, "422", "{}");
                }
            }
        }),
        ("auth.mass_assignment", SHAPES, |traffic, raises| {
            for _ in 0..3 {
                forty(traffic, |traffic, client, _, headers| {
                    for path in ["/v1/profile", "/v1/team"] {
                        traffic.send(
                            client,
                            &format!("PUT {path}"),
                            headers,
                            r#"{"name":"a","city":"b"}"#,
                            "200",
                            "{}",
                        );
                    }
                });
            }
            let headers = format!("Authorization: {}\r\n", usual(9));
            let (odd, usual) = (["role", "is_admin", "balance", "verified"], ["motto", "nickname", "colour", "pet"]);
            for path in ["/v1/profile", "/v1/team"] {
                for field in if raises { odd } else { usual } {
                    let body = format!(r#"{{"name":"a","{field}":"x"}}"#);
                    traffic.send(ODD, &format!("PUT {path}"), &headers, &body, "200", "{}");
                }
            }
        }),
        ("leak.excess_fields", SHAPES, |traffic, raises| {
            let all = |traffic: &mut Traffic, more: &str| {
                forty(traffic, |traffic, client, _, headers| {
                    for path in ["/v1/profile", "/v1/team"] {
                        let answer = format!(r#"{{"id":7,"name":"a","city":"b"{more}}}"#);
                        traffic.call(client, &format!("GET {path}"), headers, "200", &answer);
                    }
                });
            };
            let more = r#","role":"user","is_admin":false,"credit":7,"verified":true,"plan":"x""#;
            let headers = format!("Authorization: {}\r\n", usual(9));
            let own = format!(r#"{{"id":7,"name":"a","city":"b"{more}}}"#);
            (0..2).for_each(|_| all(traffic, ""));
            for _ in 0..3 {
                for path in ["/v1/profile", "/v1/team"] {
                    traffic.call(ODD, &format!("GET {path}"), &headers, "200", &own);
                }
                // The twin: a new version, which all others get after the first.
                all(traffic, if raises { "" } else { more });
            }
        }),
        ("leak.bulk_read", "", |traffic, raises| with_a_stolen_token(traffic, raises, 1.0)),
        ("leak.slow_read", "", |traffic, raises| with_a_stolen_token(traffic, raises, 40.0)),
        ("leak.oversized", "", |traffic, raises| {
            (0..3).for_each(|_| {
                forty(traffic, |traffic, client, person, headers| {
                    let answer = format!(r#"{{"names":"{}"}}"#, "n".repeat(200 + 7 * usize::from(person)));
                    traffic.call(client, "GET /v1/products", headers, "200", &answer);
                });
            });
            let answer = format!(r#"{{"names":"{}"}}"#, "n".repeat(if raises { 300_000 } else { 900 }));
            traffic.call(ODD, "GET /v1/products", &format!("Authorization: {}\r\n", usual(9)), "200", &answer);
        }),
        ("leak.secret_in_url", "", |traffic, raises| match raises {
            true => traffic.call(ODD, "GET /v1/orders/7?api_key=sk_live_4f9aQ2b7c1", "", "200", "{}"),
            false => traffic.call(ODD, "GET /v1/orders/7?page=2", "X-API-Key: sk_live_4f9aQ2b7c1\r\n", "200", "{}"),
        }),
        ("auth.cleartext", "", |traffic, raises| {
            let headers = match raises {
                true => format!("Authorization: Basic {}\r\n", STANDARD.encode("ana:hunter2")),
                false => "Authorization: Digest username=\"ana\", realm=\"x\", response=\"0f3a\"\r\n".to_owned(),
            };
            traffic.call(ODD, "GET /v1/orders/7", &headers, "200", "{}");
        }),
        ("auth.function_access", "", |traffic, raises| {
            for page in ["me", "feed", "cart", "search", "messages", "offers", "help"] {
                (0..60).for_each(|user| of_role(traffic, user, "user", &format!("GET /v1/{page}"), "200"));
            }
            for page in ["export", "users"] {
                of_role(traffic, 200, "operator", &format!("GET /v1/admin/{page}"), "200");
            }
            traffic.at += 7_200.0;
            for page in ["export", "users"] {
                (10..40).for_each(|user| of_role(traffic, user, "user", &format!("GET /v1/admin/{page}"), "403"));
            }
            // The twin is one of those who may.
            let role = if raises { "user" } else { "operator" };
            for page in ["export", "users"] {
                of_role(traffic, if raises { 7 } else { 201 }, role, &format!("GET /v1/admin/{page}"), "200");
            }
        }),
    ];
    for (number, (kind, configuration, make)) in pairs.into_iter().enumerate() {
        for raises in [true, false] {
            let name = format!("practice-detector-{number}-{raises}");
            let kinds = shown(&name, configuration, true, &|traffic| make(traffic, raises));
            assert_eq!(kinds.iter().any(|found| found == kind), raises, "{kind}: {kinds:?}");
        }
    }
}
