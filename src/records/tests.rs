//! What each format gives, and what hostile lines do not do.

use std::io::Cursor;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::*;
use crate::call::{Call, CredentialKind, Recorder, Version};
use crate::inspect::{Inspector, Rules};
use crate::key::Key;
use crate::source;
use crate::stats::{Counter, Counters};

static INSPECTOR: LazyLock<Arc<Inspector>> = LazyLock::new(|| {
    let rules = Rules::load(None).expect("the compiled-in rules are well");
    Arc::new(Inspector::new(&rules, crate::inspect::Settings::default(), Key::from_bytes([1; 16])))
});

struct Found {
    calls: Vec<Call>,
    errors: Vec<String>,
    counters: Counters,
}

fn collect(mut records: Records) -> Found {
    let (mut calls, mut errors) = (Vec::new(), Vec::new());
    loop {
        match records.next() {
            Ok(Some(record)) => calls.extend(record.call().cloned()),
            Ok(None) => break,
            Err(error) => errors.push(error.to_string()),
        }
    }
    Found { calls, errors, counters: records.counters().clone() }
}

fn read_with(text: impl Into<Vec<u8>>, settings: &Settings) -> Found {
    let source = source::Settings::default();
    collect(Records::from_reader("t", Cursor::new(text.into()), settings, &source, INSPECTOR.clone()))
}

fn read(text: impl Into<Vec<u8>>) -> Found {
    read_with(text, &Settings::default())
}

/// The only call of a text that is read without errors.
fn one(text: &str) -> Call {
    let mut found = read(text);
    assert_eq!(found.errors, Vec::<String>::new(), "{text}");
    assert_eq!(found.calls.len(), 1, "{text}");
    found.calls.remove(0)
}

fn skipped(text: &str) -> Vec<(&'static str, u64)> {
    let found = read(text);
    assert!(found.calls.is_empty(), "{text}");
    found.counters.nonzero().map(|(counter, count)| (counter.name(), count)).collect()
}

const ZEEK: &str = r##"{"ts":1772460000.360701,"uid":"CHhAvVGS1DHFjwGM9","id.orig_h":"192.0.2.7","id.orig_p":49152,"id.resp_h":"10.0.0.1","id.resp_p":80,"trans_depth":2,"method":"GET","host":"api.example","uri":"/v1/orders/7?page=2&access_token=abcdefgh12345678","version":"1.1","user_agent":"curl/8","request_body_len":3,"response_body_len":120,"status_code":200,"status_msg":"OK","tags":[],"username":"ana","password":"<unset>","proxied":["X-FORWARDED-FOR -> 203.0.113.9, 192.0.2.1","VIA -> x"],"resp_fuids":["F"],"resp_mime_types":["text/JSON"]}"##;

const ZEEK_TSV: &str = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\thttp\n#open\t2026-03-02-14-00-00\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\ttrans_depth\tmethod\thost\turi\treferrer\tversion\tuser_agent\torigin\trequest_body_len\tresponse_body_len\tstatus_code\tstatus_msg\ttags\tusername\tpassword\tproxied\tresp_mime_types\n#types\ttime\tstring\taddr\tport\taddr\tport\tcount\tstring\tstring\tstring\tstring\tstring\tstring\tstring\tcount\tcount\tcount\tstring\tset[enum]\tstring\tstring\tset[string]\tvector[string]\n1772460000.360701\tCHhAvVGS1DHFjwGM9\t192.0.2.7\t49152\t10.0.0.1\t80\t2\tGET\tapi.example\t/v1/orders/7?page=2&access_token=abcdefgh12345678\t-\t1.1\tcurl/8\t-\t3\t120\t200\tOK\t(empty)\tana\t-\tX-FORWARDED-FOR -> 203.0.113.9\\x2c 192.0.2.1,VIA -> x\ttext/JSON\n#close\t2026-03-02-15-00-00\n";

const EVE: &str = r#"{"timestamp":"2026-03-02T15:00:00.360701+0100","flow_id":1234,"in_iface":"eth0","event_type":"http","src_ip":"192.0.2.7","src_port":49152,"dest_ip":"10.0.0.1","dest_port":80,"proto":"TCP","tx_id":1,"community_id":"1:abc=","http":{"hostname":"api.example","http_port":8080,"url":"\/v1\/orders\/7?page=2&access_token=abcdefgh12345678","http_user_agent":"curl\/8","http_content_type":"application\/json","http_method":"GET","protocol":"HTTP\/1.1","status":200,"length":120,"xff":"203.0.113.9"}}"#;

const COMBINED: &str = r#"192.0.2.7 - ana [02/Mar/2026:15:00:00 +0100] "GET /v1/orders/7?page=2&access_token=abcdefgh12345678 HTTP/1.1" 200 120 "https://example/?token=hidden" "curl/8 \x22q\x22 \"r\"""#;

#[test]
fn zeek_in_both_forms() {
    let json = one(ZEEK);
    assert_eq!(json.end_time.to_string(), "2026-03-02T14:00:00.360701000Z");
    assert_eq!(json.request_time, Some(json.end_time));
    assert_eq!((json.client.ip.to_string().as_str(), json.client.port), ("192.0.2.7", 49152));
    assert_eq!((json.server.ip.to_string().as_str(), json.server.port), ("10.0.0.1", 80));
    assert!(json.community_id.starts_with("1:"), "{}", json.community_id);
    assert_eq!((json.method.as_str(), json.path.as_str(), json.status), ("GET", "/v1/orders/7", Some(200)));
    assert_eq!(json.query_names.iter().map(|name| &**name).collect::<Vec<_>>(), ["page", "access_token"]);
    assert_eq!((json.position, json.request.body_bytes, json.response.body_bytes), (1, 3, 120));
    assert_eq!(json.response.content_type.as_deref(), Some("text/json"));
    assert_eq!(json.forwarding.x_forwarded_for, ["203.0.113.9", "192.0.2.1"]);
    assert_eq!(json.credential.as_ref().map(|credential| credential.kind), Some(CredentialKind::Basic));
    assert_eq!(json.completeness.recorder, Some(Recorder::Sensor));
    assert!(json.completeness.request && json.completeness.response && json.anomalies.is_empty());
    assert_eq!(one(ZEEK_TSV), json);
    let text = ZEEK.replace("1772460000.360701", "\"2026-03-02T14:00:00.360701Z\"");
    assert_eq!(one(&text), json);
    assert_eq!(one(&ZEEK.replace("1772460000.360701", "1772460000360.701")), json);
}

#[test]
fn no_secret_of_a_log_is_in_a_call() {
    for text in [ZEEK, ZEEK_TSV, EVE, COMBINED, &COMBINED.replace("abcdefgh", r"\x61bcdefgh")] {
        let call = one(text);
        let printed = serde_json::to_string(&call).expect("plain data");
        assert!(!printed.contains("efgh12345678") && !printed.contains("hidden"), "{printed}");
        assert!(call.target.contains("access_token=ab***"), "{}", call.target);
        assert!(!call.sensitive.request.is_empty());
    }
}

#[test]
fn an_account_has_the_fingerprint_that_it_has_on_the_wire() {
    let headers = crate::inspect::CredentialHeaders {
        authorization: Some(b"Basic YW5hOnNlY3JldA=="), // ana:secret
        ..Default::default()
    };
    let heard = INSPECTOR.credential(&headers, &mut Default::default());
    assert!(heard.is_some());
    assert_eq!(one(ZEEK).credential, heard);
    assert_eq!(one(COMBINED).credential, heard);
    assert_ne!(one(&COMBINED.replace("- ana", "- bob")).credential, heard);
    // Without an account it is the key in the query.
    let key = one(&COMBINED.replace("- ana", "- -")).credential.map(|credential| credential.kind);
    assert_eq!(key, Some(CredentialKind::ApiKey));
}

#[test]
fn zeek_rows_follow_their_header() {
    let header = "#fields\turi\tid.orig_h\tts\tid.resp_h\tmethod\textra\n";
    let row = "/a\\x09b\\\\c\\xff\t192.0.2.7\t5.5\t10.0.0.1\tGET\t-\n";
    let call = one(&format!("{header}{row}"));
    assert_eq!(call.target, "/a\tb\\c\\xff");
    assert_eq!((call.status, call.completeness.response), (None, false));
    assert_eq!(call.host, None);
    let found = read(format!("{header}/a\t192.0.2.7\n{row}"));
    assert_eq!(found.calls.len(), 1);
    assert_eq!(found.errors, ["t: line 2: 2 fields where #fields names 6"]);
    let comma = "#separator ,\n#unset_field,NONE\n#fields,ts,id.orig_h,id.resp_h,uri,method,host\n5,1.1.1.1,2.2.2.2,/,GET,NONE\n";
    assert_eq!(one(comma).host, None);
    assert_eq!(read("#fields\tts\tquery\n").errors.len(), 1);
    let twice = format!("{ZEEK_TSV}{ZEEK_TSV}");
    assert_eq!(read(twice).calls.len(), 2);
}

#[test]
fn zeek_records_that_are_no_requests() {
    let without = ZEEK.replace(r#""method":"GET","#, "");
    assert_eq!(skipped(&without), [("records", 1), ("records_without_request", 1)]);
    let named = ZEEK.replace("192.0.2.7", "client.example");
    assert_eq!(skipped(&named), [("records", 1), ("records_unattributed", 1)]);
    assert_eq!(skipped(&ZEEK.replace("1772460000.360701", "-1")), [("calls_unreadable", 1)]);
    assert!(!one(&ZEEK.replace(r#""status_code":200,"#, "")).completeness.response);
}

#[test]
fn eve_events_and_others() {
    let call = one(EVE);
    assert_eq!(call.end_time.to_string(), "2026-03-02T14:00:00.360701000Z");
    assert_eq!((call.host.as_deref(), &*call.community_id), (Some("api.example:8080"), "1:abc="));
    assert_eq!((call.position, call.status, call.response.body_bytes), (1, Some(200), 120));
    assert_eq!(call.response.content_type.as_deref(), Some("application/json"));
    assert_eq!(call.forwarding.x_forwarded_for, ["203.0.113.9"]);
    assert_eq!(one(&EVE.replace("\":", "\": ")), call);
    let other = r#"{"timestamp":"2026-03-02T15:00:00.360701+0100","event_type":"dns","src_ip":"1.1.1.1","dns":{}}"#;
    let alert = EVE.replace(r#""event_type":"http""#, r#""event_type":"alert","alert":{"x":"http"}"#);
    let found = read(format!("{other}\n{alert}\n{EVE}\n{other}"));
    assert_eq!((found.calls.len(), found.errors.len()), (1, 0));
    assert_eq!(found.counters.value(Counter::RecordsOther), 3);
    assert_eq!(found.counters.value(Counter::Records), 4);
    let headers = r#","request_headers":[{"name":"Authorization","value":"Bearer abcdefghijkl"},{"name":"X-Forwarded-For","value":"9.9.9.9"},{"name":"x-forwarded-for","value":"8.8.8.8"}]}}"#;
    let call = one(&EVE.replace("}}", headers));
    assert_eq!(call.credential.map(|credential| credential.kind), Some(CredentialKind::Bearer));
    assert_eq!(call.forwarding.x_forwarded_for, ["9.9.9.9", "8.8.8.8"]);
    assert_eq!(skipped(&EVE.replace("\"url\"", "\"urn\"")), [("records", 1), ("records_without_request", 1)]);
}

#[test]
fn access_logs() {
    let call = one(COMBINED);
    assert_eq!(call.end_time.to_string(), "2026-03-02T14:00:00.000000000Z");
    assert_eq!((call.request_time, call.latency, &*call.community_id), (None, None, ""));
    assert_eq!((call.method.as_str(), call.path.as_str(), call.status), ("GET", "/v1/orders/7", Some(200)));
    assert_eq!((call.response.wire_bytes, call.flow.0), (120, 1));
    assert_eq!(call.user_agent.as_deref(), Some("curl/8 \"q\" \"r\""));
    assert_eq!(call.completeness.recorder, Some(Recorder::Server));

    let common = one(r#"2001:db8::7 - - [10/Oct/2000:13:55:36 -0700] "HEAD /a%20b HTTP/1.0" 304 -"#);
    assert_eq!(common.end_time.to_string(), "2000-10-10T20:55:36.000000000Z");
    assert_eq!((common.version, common.response.wire_bytes), (Version::Http10, 0));
    assert_eq!((common.credential, common.user_agent), (None, None));

    let vhost = one(&format!("shop.example:8443 {COMBINED}"));
    assert_eq!((vhost.host.as_deref(), vhost.server.port), (Some("shop.example:8443"), 8443));
    assert_eq!((vhost.client, vhost.credential), (call.client, call.credential));
    assert_eq!(one(&format!("shop.example:443 {COMBINED}")).host.as_deref(), Some("shop.example"));
    assert_eq!(one(&format!("198.51.100.1 {COMBINED}")).client, call.client);

    let name = COMBINED.replace("- ana", "- ana [x] 9.9.9.9 - bo");
    assert_eq!(one(&name).client, call.client);
    assert_eq!(
        one(&COMBINED.replace("- ana", "- \"\"").replace("&access_token=abcdefgh12345678", "")).credential,
        None
    );
}

#[test]
fn additions_to_access_logs() {
    let more = |text: &str| one(&format!("{COMBINED} {text}"));
    let call = more(r#""203.0.113.9, 10.0.0.2" 0.125"#);
    assert_eq!(call.forwarding.x_forwarded_for, ["203.0.113.9", "10.0.0.2"]);
    assert_eq!(call.latency, Some(0.125));
    assert_eq!(call.request_time.map(|time| time.to_string()).as_deref(), Some("2026-03-02T13:59:59.875000000Z"));
    assert_eq!(more(r#""-" "1.500""#).latency, Some(1.5));
    for other in ["0.12", "1.2345", "17", "-", "a.bcd", ".123", "10.0.0.1", "0.125 [upstream]", r#""unfinished"#] {
        let call = more(other);
        assert_eq!((call.latency, call.request_time), (None, None), "{other}");
    }
    assert!(more(r#""-" "unknown""#).forwarding.is_empty());
    assert!(more(r#""evil, stuff""#).forwarding.is_empty());
}

#[test]
fn access_log_lines_that_are_no_calls() {
    let line = |request: &str, rest: &str| format!(r#"192.0.2.7 - - [02/Mar/2026:15:00:00 +0100] "{request}" {rest}"#);
    for request in ["", "-", r"\x16\x03\x01\x00\xee", "GET", "\\\"quoted\\\" x HTTP/1.1"] {
        let wanted = [("records", 1), ("records_without_request", 1)];
        assert_eq!(skipped(&line(request, "400 150")), wanted, "{request}");
    }
    let host = COMBINED.replace("192.0.2.7", "dsl-7.provider.example");
    assert_eq!(skipped(&host), [("records", 1), ("records_unattributed", 1)]);
    let gone = one(&line("GET / HTTP/2.0", "499 0"));
    assert_eq!((gone.status, gone.completeness.response, gone.version), (None, false, Version::Http2));
    assert_eq!(one(&line("GET /old", "200 5")).version, Version::Http09);
    assert_eq!(one(&line("GET /a b HTTP/1.1", "200 5")).target, "/a b");
    for broken in ["200", "x 5", "200 5x", ""] {
        let found = read(format!("{COMBINED}\n{}", line("GET / HTTP/1.1", broken)));
        assert_eq!((found.calls.len(), found.errors.len()), (1, 1), "{broken}");
        assert!(found.errors[0].starts_with("t: line 2: "), "{:?}", found.errors);
    }
    for time in [
        "32/Mar/2026:15:00:00 +0100",
        "02/Mrz/2026:15:00:00 +0100",
        "",
        "02/Mar/2026:15:00:00",
        "1/Jan/1960:00:00:00 +0000",
    ] {
        let found = read_with(
            COMBINED.replace("02/Mar/2026:15:00:00 +0100", time),
            &Settings { format: Some(Format::Combined), ..Settings::default() },
        );
        assert!(found.calls.is_empty() && found.errors[0].contains("is no time"), "{:?}", found.errors);
    }
}

#[test]
fn formats_are_recognised_behind_a_broken_line_and_not_at_any_price() {
    let own = serde_json::to_string(&Call { method: "GET".into(), ..Call::default() }).expect("plain data");
    for text in [ZEEK, EVE, COMBINED, &own] {
        let found = read(format!("\u{feff}half of a line\"}}\r\n\r\n{text}\r\n"));
        assert_eq!((found.calls.len(), found.errors.len()), (1, 1), "{text}");
        assert!(found.errors[0].starts_with("t: line 1: of no known format"), "{:?}", found.errors);
    }
    let nonsense = read("what is this\n".repeat(100_000));
    assert_eq!(nonsense.counters.value(Counter::CallsUnreadable), 64);
    assert_eq!(nonsense.errors.len(), 1);
    assert_eq!(read("").errors, Vec::<String>::new());
    let forced = read_with(COMBINED, &Settings { format: Some(Format::Zeek), ..Settings::default() });
    let torn = "the file ends within this line, which begins at byte 0";
    assert_eq!(forced.errors, [format!("t: line 1: a row without a #fields line before it; {torn}")]);
    assert_eq!(read(own.replace("call.v1", "call.v9")).errors.len(), 1);
}

fn at(second: u32) -> String {
    format!(
        "192.0.2.7 - - [02/Mar/2026:15:{:02}:{:02} +0100] \"GET /{second} HTTP/1.1\" 200 1\n",
        second / 60 % 60,
        second % 60
    )
}

fn paths(found: &Found) -> Vec<&str> {
    found.calls.iter().map(|call| &call.path[1..]).collect()
}

#[test]
fn disorder_is_undone_as_far_as_the_look_ahead_reaches() {
    let text = [3, 1, 2, 5, 4, 4, 0].map(at).concat();
    let all = read(text.clone());
    assert_eq!(paths(&all), ["0", "1", "2", "3", "4", "4", "5"]);
    assert_eq!(all.counters.value(Counter::RecordsLate), 0);
    let two = read_with(text.clone(), &Settings { look_ahead: 2, ..Settings::default() });
    assert_eq!(paths(&two), ["1", "2", "3", "4", "0", "4", "5"]);
    assert_eq!(two.counters.value(Counter::RecordsLate), 1);
    let none = read_with(text, &Settings { look_ahead: 0, ..Settings::default() });
    assert_eq!(paths(&none), ["3", "1", "2", "5", "4", "4", "0"]);
    assert_eq!(none.counters.value(Counter::RecordsLate), 5);
    // By time: 30 seconds are held, so what is 40 seconds late comes late.
    let text = [0, 50, 10, 55, 60, 20].map(at).concat();
    let found = read_with(text, &Settings { look_ahead_seconds: 30, ..Settings::default() });
    assert_eq!(paths(&found), ["0", "10", "20", "50", "55", "60"]);
    assert_eq!(found.counters.value(Counter::RecordsLate), 0);
    let text = [0, 20, 40, 60, 5, 80].map(at).concat();
    let found = read_with(text, &Settings { look_ahead_seconds: 30, ..Settings::default() });
    assert_eq!(paths(&found), ["0", "20", "5", "40", "60", "80"]);
    assert_eq!(found.counters.value(Counter::RecordsLate), 1);
}

#[test]
fn several_files_are_merged_and_what_is_wrong_with_each_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    };
    let odd: String = (0..50).map(|number| at(2 * number + 1)).collect();
    let even: String = (0..50).map(|number| at(2 * number)).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, even.as_bytes()).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let zstd = zstd::encode_all(odd.as_bytes(), 1).expect("memory");
    let inputs = [
        write("odd.zst", &zstd),
        write("even.gz", &gzip),
        write("cut.gz", &gzip[..gzip.len() - 9]),
        write("empty", b""),
        folder.path().join("absent"),
        folder.path().to_owned(),
    ];
    let source = source::Settings::default();
    let open = |inputs: &[std::path::PathBuf], settings: &Settings| {
        collect(Records::open(inputs, settings, &source, INSPECTOR.clone()))
    };
    let both = open(&inputs[..2], &Settings::default());
    assert_eq!(both.errors, Vec::<String>::new());
    assert_eq!(paths(&both), (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!((both.counters.value(Counter::Records), both.counters.value(Counter::RecordsLate)), (100, 0));
    let all = open(&inputs, &Settings::default());
    assert!(all.calls.len() > 100 && all.calls.is_sorted_by_key(|call| call.end_time));
    assert_eq!(all.errors.len(), 3, "{:?}", all.errors);
    let cut = all.errors.iter().find(|error| error.contains("cut.gz")).expect("it is told");
    assert!(cut.contains(": line ") && cut.contains("at byte ") && cut.contains("ends too early"), "{cut}");
    let few = open(&inputs[..2], &Settings { max_open_files: 1, ..Settings::default() });
    assert_eq!((few.calls.len(), few.errors.len()), (50, 1));
    let reversed = [inputs[1].clone(), inputs[0].clone()];
    assert_eq!(open(&reversed, &Settings::default()).calls, both.calls);
}

#[test]
fn long_lines_are_skipped_whole() {
    let settings = Settings { line_limit: 1000, ..Settings::default() };
    let found = read_with(format!("{COMBINED}\n{}\n{COMBINED}\n", "x".repeat(700_000)), &settings);
    assert_eq!(found.calls.len(), 2);
    assert_eq!(found.errors, ["t: line 2: longer than line_limit allows"]);
    assert_eq!(found.counters.value(Counter::CallsUnreadable), 1);
}

#[test]
fn names_of_formats() {
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
        assert_eq!(
            toml::from_str::<Settings>(&format!("format = {:?}", format.name())).expect("TOML").format,
            Some(format)
        );
    }
    assert!("nginx".parse::<Format>().is_err());
}

/// A line of some format with a piece of it replaced.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let lines = [ZEEK, ZEEK_TSV, EVE, COMBINED];
    (0..lines.len(), any::<prop::sample::Index>(), 0..40usize, prop::collection::vec(any::<u8>(), 0..12)).prop_map(
        move |(which, place, length, new)| {
            let mut line = lines[which].as_bytes().to_vec();
            let start = place.index(line.len());
            let end = (start + length).min(line.len());
            line.splice(start..end, new);
            line
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_end_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        which in 0..5usize,
    ) {
        let format = Format::ALL.get(which).copied();
        let found = read_with(bytes, &Settings { format, line_limit: 100, ..Settings::default() });
        prop_assert!(found.calls.len() < 400);
    }

    #[test]
    fn damaged_lines_give_sound_calls_or_none(lines in prop::collection::vec(damaged(), 1..4), which in 0..5usize) {
        let format = Format::ALL.get(which).copied();
        let found = read_with(lines.join(&b'\n'), &Settings { format, ..Settings::default() });
        for call in &found.calls {
            prop_assert!(call.completeness.recorder.is_some() && call.completeness.request);
            prop_assert!(call.anomalies.is_empty());
            let text = serde_json::to_string(call).expect("plain data");
            prop_assert_eq!(&serde_json::from_str::<Call>(&text).expect("what was written reads back"), call);
        }
    }
}

#[test]
fn calls_and_connections_come_in_one_order() {
    use crate::call::{Awaited, Connection, Record, Wait};
    use crate::time::Timestamp;
    let time = |second: u64| Timestamp::from_parts(1_772_460_000 + second, 0);
    let call = Call { end_time: time(1), host: Some("apitap.connection.v1".into()), ..Call::default() };
    let waits = Some(Wait { awaited: Awaited::RequestHead, seconds: 20.0, bytes: 9, ..Wait::default() });
    let connection = Connection { end_time: time(2), waits, open: true, ..Connection::default() };
    let written: Vec<Record> = vec![call.clone().into(), connection.into(), Call { end_time: time(3), ..call }.into()];
    let (mut printer, mut text) = (RecordPrinter::default(), Vec::new());
    for record in &written {
        printer.print(record, &mut text).expect("plain data");
        text.push(b'\n');
    }
    let read = |text: &[u8]| {
        let source = source::Settings::default();
        let reader = Cursor::new(text.to_vec());
        let mut records = Records::from_reader("t", reader, &Settings::default(), &source, INSPECTOR.clone());
        let mut found = Vec::new();
        while let Some(record) = records.next().expect("lines of apitap") {
            found.push(record.clone());
        }
        found
    };
    assert_eq!(read(&text), written);
    // The keys in another order, as other programs write them.
    let sorted: Vec<String> = String::from_utf8_lossy(&text)
        .lines()
        .map(|line| {
            let object: std::collections::BTreeMap<String, serde_json::Value> =
                serde_json::from_str(line).expect("an object");
            serde_json::to_string(&object).expect("plain data") + "\n"
        })
        .collect();
    assert_eq!(read(sorted.concat().as_bytes()), written);
    let (first, rest) = written.split_at(1);
    let mut lines = String::new();
    for record in rest.iter().chain(first) {
        let mut line = Vec::new();
        printer.print(record, &mut line).expect("plain data");
        lines += &(String::from_utf8_lossy(&line) + "\n").replace("connection.v1\",\"flow", "connection.v9\",\"flow");
    }
    let found = read_with(lines, &Settings::default());
    assert_eq!(found.counters.value(Counter::CallsUnreadable), 1, "a schema of the future");
    assert!(found.errors.iter().any(|error| error.contains("apitap.connection.v9")), "{:?}", found.errors);
}
