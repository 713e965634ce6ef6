//! What bodies ask for, and that hostile ones cost nothing but a look.

mod forms;

use std::io::Write;

use proptest::prelude::*;

use super::super::Settings;
use super::super::tests::Talk;
use super::{Carrier, Interner, Pool, Tap, graphql, json, multipart, of_action, of_body, of_target, soap};
use crate::call::{Operation, OperationKind, Protocol, Unread};
use crate::stats::Counter;

fn json(body: &str) -> Option<Operation> {
    of_body(Carrier::Json, body.as_bytes(), None, "/graphql", &mut Interner::default())
}

fn elsewhere(body: &str) -> Option<Operation> {
    of_body(Carrier::Json, body.as_bytes(), None, "/v1/search", &mut Interner::default())
}

fn label(operation: &Operation) -> String {
    let mut out = String::new();
    operation.label(&mut out);
    out
}

#[test]
fn a_document_says_what_it_asks_for() {
    let document = r#"
        # a comment { with } brackets
        query Both($a: [Int!]! = [1, 2], $b: In = {x: "} {"}) @live(if: $a) {
          a: item(id: 1, deep: {list: [")", """ block " \""" } """]}) { name, parent { name } }
          item(id: -1.5e+3) @include(if: $b) { ...F }
          ... on Query @skip(if: false) { items { id } }
          ... { others }
          ...G
        }
        fragment F on Item { id owner { x: id boss { id } } }
        fragment G on Query { __typename }
    "#;
    let found = graphql::find(document, None).expect("a document");
    assert_eq!((found.kind, found.name), (OperationKind::Query, Some("Both")));
    assert_eq!(found.fields, ["item", "items", "others", "__typename"]);
    assert_eq!((found.depth, found.aliases, found.introspection), (4, 2, false));
    let found = graphql::find(
        "mutation { a: login(n: 1) { t: token } b: login(n: 2) { t: token } ...F } fragment F on M { c: login }",
        None,
    );
    assert_eq!(found.map(|found| (found.fields, found.repeats, found.aliases)), Some((vec!["login"], 2, 5)));
}

#[test]
fn an_operation_is_chosen_by_name_or_by_being_alone() {
    let two = "query One { item } mutation Two { rename }";
    assert_eq!(graphql::find(two, Some("Two")).map(|found| found.kind), Some(OperationKind::Mutation));
    assert_eq!(graphql::find(two, None), None);
    assert_eq!(graphql::find(two, Some("Three")), None);
    assert_eq!(graphql::find("{ item }", Some("")).map(|found| found.name), Some(None));
}

#[test]
fn what_is_no_document_is_none() {
    let not = [
        "",
        "shoes",
        "query",
        "query shoes",
        "query Syntax {",
        "{}",
        "{ a { } }",
        "{ a(b: ] ) }",
        "{ a(b: [) ] }",
        "{ a } }",
        "{ a: }",
        "{ \"a\" }",
        "{ a(b: \"x) }",
        "{ ... on }",
        "fragment on on X { a }",
        "type Query { a: Int }",
        "{ a } %",
        "{ a(b: ..) }",
    ];
    for text in not {
        assert_eq!(graphql::find(text, None), None, "{text}");
    }
}

#[test]
fn fragments_multiply_without_being_followed_twice() {
    // Each of 40 fragments brings the next in twice: 2^40 aliases, in linear time.
    let mut document = "{ ...F0 }".to_owned();
    for number in 0..40 {
        let next = number + 1;
        document.push_str(&format!(" fragment F{number} on T {{ a: b {{ ...F{next} }} c: d {{ ...F{next} }} }}"));
    }
    document.push_str(" fragment F40 on T { __type }");
    let found = graphql::find(&document, None).expect("a document");
    assert_eq!((found.aliases, found.depth, found.introspection), (u32::MAX, 41, true));
    assert_eq!(found.fields, ["b", "d"]);
    let circle = "{ ...A } fragment A on T { a ...B } fragment B on T { b { ...A } }";
    assert_eq!(graphql::find(circle, None).map(|found| found.fields), Some(vec!["a", "b"]));
}

#[test]
fn hostile_nesting_is_read_without_recursion() {
    for (open, close) in [("a{", "}"), ("...{", "}"), ("a(b:[", "])"), ("a(b:{c:", "})")] {
        let deep = 100_000;
        let nested = format!("{{{}a{}}}", open.repeat(deep), close.repeat(deep));
        let _ = graphql::find(&nested, None);
        let _ = graphql::find(&open.repeat(deep), None);
    }
    let nested = format!("{{{}a{}}}", "a{".repeat(50_000), "}".repeat(50_000));
    assert_eq!(graphql::find(&nested, None).map(|found| found.depth), Some(50_001));
    let mut chain = String::from("{ ...F0 }");
    for number in 0..20_000 {
        chain.push_str(&format!("fragment F{number} on T{{a{{...F{}}}}}", number + 1));
    }
    assert!(graphql::find(&chain, None).is_some_and(|found| found.depth >= 64));
    for open in ["[", "{\"query\":", "{\"a\":[", "{\"params\":{\"extensions\":"] {
        let _ = json(&open.repeat(100_000));
    }
    let envelope = r#"<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Header>"#;
    assert_eq!(soap::find(format!("{envelope}{}", "<a>".repeat(100_000)).as_bytes()), Some(soap::Found::Cut));
}

#[test]
fn bodies_of_graphql() {
    let found = json(r#"{"query": "query Items { items { id } }", "operationName": "Items", "variables": {"a": 5}}"#);
    let found = found.expect("an operation");
    assert_eq!(label(&found), "query Items {items}");
    assert_eq!((found.protocol, found.depth, found.unread), (Protocol::GraphQl, 2, None));
    let escaped = elsewhere(r#"{"\u0071uery": "{ \u005f_schema { types { name } } }"}"#).expect("an operation");
    assert!(escaped.introspection);
    let persisted = elsewhere(
        r#"{"operationName":"Feed","variables":{},"extensions":{"persistedQuery":{"version":1,"sha256Hash":"ab"}}}"#,
    );
    assert_eq!(persisted.map(|found| label(&found)).as_deref(), Some("Feed"));
    let batch = json(
        r#"[{"query":"query A { item }"}, {"query":"mutation B { rename }"}, {"query":"query A { item }"},
            {"query":"query C { x: items { id } }"}]"#,
    )
    .expect("a batch");
    assert_eq!((batch.count, batch.aliases, batch.depth), (4, 1, 2));
    let others: Vec<&str> = batch.others.iter().map(|other| &**other).collect();
    assert_eq!(others, ["mutation B {rename}", "query C {items}"]);
    assert_eq!(label(&batch), "{batch}");
    let same = json(r#"[{"query":"query A { item }"}, {"query":"query A { item }"}]"#).expect("a batch");
    assert_eq!((same.count, label(&same).as_str()), (2, "query A {item}"));
}

#[test]
fn what_is_not_certain_is_not_said() {
    let broken = json(r#"{"query": "query Syntax {"}"#);
    assert_eq!(broken, Some(Operation::unread(Protocol::GraphQl, Unread::Malformed)));
    // Other APIs search for words.
    for body in
        [r#"{"query": "shoes"}"#, r#"{"query": {"match": {}}}"#, r#"{"query": "{}"}"#, r#"{"method": "card", "id": 7}"#]
    {
        assert_eq!(elsewhere(body), None, "{body}");
    }
    let cut = br#"{"query": "query Items { items { id } }", "variables": {"text": "long"#;
    let texts = &mut Interner::default();
    let found = of_body(Carrier::Json, cut, Some(Unread::TooLarge), "/api", texts).expect("an operation");
    assert_eq!((label(&found).as_str(), found.unread), ("query Items {items}", Some(Unread::TooLarge)));
    let within = br#"{"query": "query Items { ite"#;
    assert_eq!(of_body(Carrier::Json, within, Some(Unread::TooLarge), "/api", texts), None);
    let found = of_body(Carrier::Json, within, Some(Unread::TooLarge), "/api/GraphQL", texts);
    assert_eq!(found, Some(Operation::unread(Protocol::GraphQl, Unread::TooLarge)));
}

#[test]
fn bodies_of_json_rpc() {
    let one = elsewhere(r#"{"jsonrpc": "2.0", "method": "user.get", "params": ["secret"], "id": 1}"#).expect("one");
    assert_eq!((one.protocol, label(&one).as_str(), one.count), (Protocol::JsonRpc, "user.get", 1));
    let old = elsewhere(r#"{"method": "getinfo", "params": [], "id": 1}"#).expect("of the first version");
    assert_eq!(label(&old), "getinfo");
    let batch = elsewhere(
        r#"[{"jsonrpc":"2.0","method":"add","id":1},{"jsonrpc":"2.0","method":"add"},{"jsonrpc":"2.0","method":"sub"}]"#,
    );
    assert_eq!(batch.map(|batch| (batch.count, batch.others)), Some((3, vec!["sub".into()])));
    let broken = elsewhere(r#"{"jsonrpc": "2.0", "method":"#);
    assert_eq!(broken, Some(Operation::unread(Protocol::JsonRpc, Unread::Malformed)));
    // What is no name may be a value.
    for method in ["ann@example.org", "4111 1111 1111 1111", "4111111111111111", "", "a b"] {
        let body = format!(r#"{{"jsonrpc": "2.0", "method": "{method}", "id": 1}}"#);
        assert_eq!(elsewhere(&body), Some(Operation::unread(Protocol::JsonRpc, Unread::Malformed)), "{method}");
    }
    let long = elsewhere(&format!(r#"{{"jsonrpc":"2.0","method":"{}"}}"#, "é".repeat(5_000))).expect("one");
    assert_eq!(long.name.map(|name| name.len()), Some(128));
}

#[test]
fn bodies_of_soap() {
    let envelope = |inside: &str| {
        format!(
            "\u{feff}<?xml version='1.0'?><!-- <e:Body><no/> -->\n<e:Envelope a='>' \
             xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\">{inside}</e:Envelope>"
        )
    };
    for (inside, expected) in [
        ("<e:Body><n:get_item xmlns:n='x'><n>0</n></n:get_item></e:Body>", soap::Found::Method("get_item")),
        ("<e:Header><Body><no/></Body><x/></e:Header><e:Body a='/>'> <Größe/></e:Body>", soap::Found::Method("Größe")),
        ("<e:Body><![CDATA[<no>]]><yes></e:Body>", soap::Found::Method("yes")),
        ("<e:Body></e:Body>", soap::Found::Empty),
        ("<e:Body/>", soap::Found::Empty),
        ("<e:Header></e:Header>", soap::Found::Malformed),
        ("<!DOCTYPE x><e:Body><no/></e:Body>", soap::Found::Malformed),
    ] {
        assert_eq!(soap::find(envelope(inside).as_bytes()), Some(expected), "{inside}");
    }
    assert_eq!(soap::find(b"<feed><Body><x/></Body></feed>"), Some(soap::Found::Other));
    let other = Some(soap::Found::Other);
    assert_eq!(soap::find(b"<Envelope><Body><x/></Body></Envelope>"), other, "of another namespace");
    for none in [&b""[..], b"text", b"</a>", b"<a", b"<!x><a/>", b"< a/>", b"\xff\xfe<\0a\0"] {
        assert_eq!(soap::find(none), None, "{none:?}");
    }
}

#[test]
fn documents_in_targets() {
    let at = |target: &str, path: &str| of_target(target, path, 16 << 10, &mut Interner::default());
    let target = "/graphql?query=query%20Get%20%7B+item(id%3A%201)%20%7B%20id%20%7D%20%7D&operationName=Get";
    assert_eq!(at(target, "/graphql").map(|found| label(&found)).as_deref(), Some("query Get {item}"));
    assert_eq!(at("/search?query=shoes", "/search"), None);
    assert_eq!(at("/search?query={a}", "/search").map(|found| label(&found)).as_deref(), Some("query {a}"));
    assert_eq!(at("/graphql?query=%ff", "/graphql").and_then(|found| found.unread), Some(Unread::Malformed));
    let long = format!("/graphql?query={{{}}}", "a,".repeat(20_000));
    assert_eq!(at(&long, "/graphql").and_then(|found| found.unread), Some(Unread::TooLarge));
}

fn post(media: &str, extra: &str, body: &[u8]) -> Vec<u8> {
    post_to("/graphql", &format!("Content-Type: {media}\r\n{extra}"), body)
}

fn post_to(path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

#[test]
fn calls_have_operations_however_their_bodies_come() {
    let body = br#"{"query": "query Items { items { id } }", "variables": {"first": 5}}"#;
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    zipped.write_all(body).expect("into memory");
    let zipped = zipped.finish().expect("into memory");
    for size in [1, 7, 60, 1_460] {
        let mut talk = Talk::new(size);
        // Three times, so that the last are known bodies.
        for _ in 0..3 {
            for (extra, body) in [("", &body[..]), ("Content-Encoding: gzip\r\n", &zipped)] {
                talk.send(true, &post("application/json; charset=utf-8", extra, body));
                talk.send(false, ANSWER);
            }
            talk.send(true, b"PUT /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"query\": \"{ a}\"}");
            talk.send(false, ANSWER);
        }
        let calls = talk.calls();
        let labels: Vec<_> = calls.iter().map(|call| call.operation.as_deref().map(label)).collect();
        let expected = [Some("query Items {items}".to_owned()), Some("query Items {items}".to_owned()), None];
        assert_eq!(labels, expected.iter().cycle().take(9).cloned().collect::<Vec<_>>(), "{size}");
    }
}

#[test]
fn a_body_that_is_too_large_or_over_the_budget_says_so() {
    let large = format!(r#"{{"query": "query Items {{ items }}", "variables": {{"text": "{}"}}}}"#, "x".repeat(80_000));
    for (settings, expected) in [
        (Settings::default(), Unread::TooLarge),
        (Settings { operation_held_bytes: 1_000, ..Settings::default() }, Unread::Incomplete),
    ] {
        let mut talk = Talk::with(1_460, settings);
        talk.send(true, &post("application/json", "", large.as_bytes()));
        talk.send(false, ANSWER);
        talk.send(true, &post("application/json", "", br#"{"query": "{ later }"}"#));
        talk.send(false, ANSWER);
        let calls = talk.calls();
        assert_eq!(talk.count(Counter::OperationsUnread), 1);
        assert_eq!(calls[0].operation.as_ref().and_then(|operation| operation.unread), Some(expected));
        assert_eq!(calls[1].operation.as_deref().map(label).as_deref(), Some("query {later}"), "room is given back");
    }
}

#[test]
fn taps_give_back_what_they_hold() {
    let pool = Pool::new(100, 150);
    let fill = |bytes: &[u8]| {
        let mut tap = Tap::new(Some("application/json"), &pool).expect("JSON");
        tap.data(bytes, false);
        tap
    };
    let long = [&b"{\"query\""[..], &[b' '; 200]].concat();
    let one = fill(&long);
    assert!(matches!(one.read(true), Some((_, bytes, Some(Unread::TooLarge))) if bytes.len() == 100));
    assert!(matches!(fill(&long).read(true), Some((_, bytes, Some(Unread::Incomplete))) if bytes.len() == 50));
    drop(one);
    assert!(matches!(fill(&long).read(true), Some((_, bytes, Some(Unread::TooLarge))) if bytes.len() == 100));
    assert!(fill(b"no JSON").read(true).is_none());
    assert!(Tap::new(Some("text/html"), &pool).is_none() && Tap::new(None, &pool).is_none());
}

/// A form of GraphQL with a file of so many bytes.
fn form(operations: &str, file: usize) -> String {
    format!(
        "--XyZ\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{operations}\r\n--XyZ\r\nContent-Disposition: \
         form-data; name=\"map\"\r\n\r\n{{\"0\":[\"variables.file\"]}}\r\n--XyZ\r\nContent-Disposition: form-data; name=\"0\"; \
         filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n{}\r\n--XyZ--\r\n",
        "x".repeat(file)
    )
}

#[test]
fn forms_carry_operations_before_files() {
    let operations =
        r#"{"query":"mutation Up($file: Upload!) { upload(file: $file) { id } }","variables":{"file":null}}"#;
    for (size, file) in [(1, 10), (700, 10), (1_460, 100_000)] {
        let mut talk = Talk::new(size);
        talk.send(true, &post("multipart/form-data; boundary=XyZ", "", form(operations, file).as_bytes()));
        talk.send(false, ANSWER);
        let other = form(operations, file).replace("name=\"operations\"", "name=\"description\"");
        talk.send(true, &post("multipart/form-data; boundary=XyZ", "", other.as_bytes()));
        talk.send(false, ANSWER);
        let calls = talk.calls();
        let operation = calls[0].operation.as_deref().expect("an operation");
        assert_eq!((label(operation).as_str(), operation.unread), ("mutation Up {upload}", None), "{size} {file}");
        assert!(calls[1].operation.is_none());
        assert_eq!(talk.count(Counter::OperationsUnread), 0);
    }
    let long = form(&operations.replace("null", &format!("\"{}\"", "x".repeat(80_000))), 10);
    let mut talk = Talk::new(1_460);
    talk.send(true, &post("multipart/form-data; boundary=XyZ", "", long.as_bytes())).send(false, ANSWER);
    let unread = talk.calls()[0].operation.as_ref().and_then(|operation| operation.unread);
    assert_eq!(unread, Some(Unread::TooLarge));
}

#[test]
fn parts_of_forms() {
    let part = |body: &str| multipart::operations(body.as_bytes()).map(|(part, whole)| (part.to_vec(), whole));
    let content = "Content-Disposition: form-data; name=operations";
    assert_eq!(part(&format!("--b\n{content}\n\n{{}}\n--b--")), Some((b"{}".to_vec(), true)));
    assert_eq!(part(&format!("preamble\r\n--b\r\n{content}\r\n\r\n{{\"--b\": ")), Some((b"{\"--b\":".to_vec(), false)));
    let second = "--b\r\nX: y\r\n\r\na--b\r\n--b\r\ncONTENT-disposition:x;  name=\"operations\" \r\n\r\n[]\r\n--b--";
    assert_eq!(part(second), Some((b"[]".to_vec(), true)));
    for none in ["", "--", "--\n", "--b", "--b\n", "--b\nX: y", "--b\nX: y\n\n", "--b\nX: y\n\na\n--b", "a--b\n\n"] {
        assert_eq!(part(none), None, "{none:?}");
    }
}

fn envelope(body: &str) -> String {
    format!("<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>{body}</s:Body></s:Envelope>")
}

#[test]
fn actions_name_what_bodies_do_not() {
    let named = |media: &str, extra: &str, body: &str| {
        let mut talk = Talk::new(1_460);
        talk.send(true, &post(media, extra, body.as_bytes())).send(false, ANSWER);
        talk.calls()[0].operation.as_ref().map(|operation| operation.name.as_deref().map(str::to_owned))
    };
    let name = |name: &str| Some(Some(name.to_owned()));
    let action = "SOAPAction: \"http://example.org/orders/GetOrder\"\r\n";
    assert_eq!(named("text/xml", action, &envelope("<m:Get/>")), name("Get"), "the body is what is answered");
    assert_eq!(named("text/xml", action, &envelope("")), name("GetOrder"));
    assert_eq!(named("text/xml; charset=utf-8", "soapaction: urn:x#Add\r\n", &envelope("")[..70]), name("Add"));
    assert_eq!(named("text/xml", action, &envelope("<x:EncryptedData/>")), name("GetOrder"));
    assert_eq!(named("text/xml", action, "<feed/>"), None, "no envelope");
    assert_eq!(named("text/xml", "SOAPAction: \"\"\r\n", &envelope("")), Some(None));
    assert_eq!(
        named("text/xml", "SOAPAction: \"a b@c\"\r\n", &envelope("")),
        Some(None),
        "what is no name may be a value"
    );
    assert_eq!(named("application/json", action, "{}"), None);
    let kind = "application/soap+xml; charset=utf-8; action=\"urn:orders:Cancel\"";
    assert_eq!(named(kind, "", &envelope("<s:Body/>")), name("Body"));
    assert_eq!(named(kind, "", &envelope("")), name("Cancel"));
    let attached = "multipart/related; type=\"application/xop+xml\"; boundary=b; action=\"http://a/Store\"";
    assert_eq!(named(attached, "", "--b\r\n\r\n--b--"), name("Store"));
    assert_eq!(named("multipart/related; boundary=b", "", "--b\r\n\r\n--b--"), None);
}

fn answer(status: &str, media: &str, extra: &str, body: &[u8]) -> Vec<u8> {
    let mut message =
        format!("HTTP/1.1 {status}\r\nContent-Type: {media}\r\n{extra}Content-Length: {}\r\n\r\n", body.len())
            .into_bytes();
    message.extend_from_slice(body);
    message
}

#[test]
fn answers_say_how_operations_came_out() {
    let failed = br#"{"errors":[{"message":"no","extensions":{"code":"FORBIDDEN"}}],"data":null}"#;
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    zipped.write_all(failed).expect("into memory");
    let zipped = zipped.finish().expect("into memory");
    let unknown = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}"#;
    let fault = envelope("<s:Fault><faultcode>s:Client</faultcode><faultstring>no</faultstring></s:Fault>");
    let json = "application/json";
    for size in [1, 9, 1_460] {
        let mut talk = Talk::new(size);
        for _ in 0..3 {
            talk.send(true, &post(json, "", br#"{"query": "{ a }"}"#));
            talk.send(false, &answer("200 OK", json, "", failed));
            talk.send(true, &post(json, "", br#"{"query": "{ a }"}"#));
            talk.send(false, &answer("200 OK", json, "Content-Encoding: gzip\r\n", &zipped));
            talk.send(true, &post(json, "", br#"{"jsonrpc":"2.0","method":"guess","id":1}"#));
            talk.send(false, &answer("200 OK", json, "", unknown));
            talk.send(true, &post("text/xml", "", envelope("<m:Get/>").as_bytes()));
            talk.send(false, &answer("500 Internal Server Error", "text/xml", "", fault.as_bytes()));
            talk.send(true, &post(json, "", br#"{"query": "{ a }"}"#));
            talk.send(false, &answer("200 OK", json, "", br#"{"data":{"a":1}}"#));
            // The same words in the answer to what is no operation.
            talk.send(true, &post(json, "", br#"{"a": 1}"#));
            talk.send(false, &answer("200 OK", json, "", failed));
        }
        let calls = talk.calls();
        let outcomes: Vec<_> = calls.iter().filter_map(|call| call.outcome()).collect();
        assert_eq!(outcomes, [403, 403, 404, 400, 200, 200].repeat(3), "{size}");
        let code =
            |at: usize| calls[at].operation.as_ref().and_then(|o| o.error.as_ref()?.code.as_deref().map(str::to_owned));
        assert_eq!(
            [0, 1, 2, 3].map(code),
            ["FORBIDDEN", "FORBIDDEN", "-32601", "Client"].map(|code| Some(code.to_owned()))
        );
        assert!(calls[0].status == Some(200) && !calls[0].is_good() && calls[4].is_good());
    }
}

#[test]
fn an_answer_with_a_hole_says_nothing_of_how_it_came_out() {
    let mut talk = Talk::new(1_460);
    talk.send(true, &post("application/json", "", br#"{"query": "{ a }"}"#));
    let whole = answer("200 OK", "application/json", "", br#"{"errors":[{"message":"................"}]}"#);
    let at = whole.len() - 15;
    talk.send(false, &whole[..at]).lose(false, 5).send(false, &whole[at + 5..]).pause();
    talk.close(true).close(false);
    let calls = talk.calls();
    assert_eq!(calls[0].outcome(), Some(200));
    assert!(calls[0].operation.as_ref().is_some_and(|operation| operation.error.is_none()));
}

proptest! {
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let texts = &mut Interner::default();
        for carrier in [Carrier::Json, Carrier::Undeclared, Carrier::Document, Carrier::Xml, Carrier::Multipart] {
            let _ = of_body(carrier, &bytes, None, "/graphql", texts);
        }
        let _ = of_target(&String::from_utf8_lossy(&bytes), "/graphql", 100, texts);
        let _ = of_action("text/xml", Some(&bytes), &bytes, texts);
        let _ = soap::fault(&bytes);
    }

    #[test]
    fn no_document_panics(parts in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "(", ")", "[", "]", "...", " on ", " F ", ":", "@", "$", "!", "\"", "\"\"\"", "\\", "#", "\n", "query ",
        "mutation ", "fragment ", "a", "1", "-", "é", "\u{feff}", "=", "|", "&", ",", "__schema",
    ]), 0..60)) {
        let document = parts.concat();
        let _ = graphql::find(&document, None);
        let _ = graphql::find(&format!("{{ a {document} }}"), Some("F"));
    }

    #[test]
    fn no_envelope_panics(parts in prop::collection::vec(prop::sample::select(vec![
        "<", ">", "/", "</", "<e:Body>", "</e:Body>", "<!--", "-->", "<![CDATA[", "]]>", "<?", "?>", "<!", "\"", "'", " ",
        "<a/>", "</>", "é", "&amp;", "<!DOCTYPE", "[", "]>", "<!E",
    ]), 0..40)) {
        let inside = parts.concat();
        let _ = soap::find(inside.as_bytes());
        let root = r#"<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope">"#;
        let _ = soap::find(format!("{root}{inside}").as_bytes());
        let _ = soap::fault(format!("{root}<e:Body><e:Fault><Value>{inside}").as_bytes());
    }

    #[test]
    fn beginnings_of_bodies_say_nothing_else(at in 0usize..150) {
        let body = r#"[{"query":"query A($x: Int) { item(id: $x) { id } }","variables":{"x":1}},{"jsonrpc":"2.0","method":"add","params":[1]}]"#;
        let at = at.min(body.len() - 1);
        let found = of_body(Carrier::Json, &body.as_bytes()[..at], Some(Unread::TooLarge), "/api", &mut Interner::default());
        if let Some(found) = found {
            prop_assert_eq!(found.unread, Some(Unread::TooLarge));
            prop_assert!(found.name.is_none() || found.name.as_deref() == Some("A"));
        }
    }
}

/// Of a name that comes twice the last counts.
#[test]
fn members_are_read_as_servers_read_them() {
    let body = json::read(br#"{"query": "{ a }", "query": "{ b }", "id": null}"#);
    assert_eq!(body.objects[0].query.as_deref(), Some("{ b }"));
    assert!(body.objects[0].whole && body.objects[0].id.is_some() && body.stopped.is_none());
    let body = json::read(br#"{"query": "{ a }"} behind"#);
    assert_eq!(body.stopped, Some(json::Stopped::Malformed));
}
