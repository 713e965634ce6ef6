//! Operations in other forms than the usual ones: documents that the server has, types that say something else, encodings, and
//! what stands behind more than is kept.

use super::super::super::tests::Talk;
use super::super::{Interner, of_target, soap};
use super::{ANSWER, elsewhere, envelope, json, label, post_to};
use crate::call::{Operation, Protocol, Unread};

const HASH: &str = "3f2a9bd1c04e77a8";

/// What the request of a call says that it asks for.
fn asked(size: usize, request: &[u8]) -> Option<Operation> {
    let mut talk = Talk::new(size);
    talk.send(true, request).send(false, ANSWER);
    talk.calls()[0].operation.as_deref().cloned()
}

/// What an attack by entities looks like: the declarations are passed over, and nothing in them is an element.
#[test]
fn document_types_before_envelopes_are_passed_over() {
    let envelope = envelope("<m:Get/>");
    for (declared, passed) in [
        ("<!DOCTYPE x>", true),
        ("<!DOCTYPE x SYSTEM \"http://a/>\">", true),
        ("<?xml version='1.0'?>\n<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>\n%e; ]>", true),
        ("<!DOCTYPE x [<!-- ' > ]> --><?p ' > ?><!ENTITY a '<s:Envelope>]>'><!ELEMENT x (#PCDATA)>] >", true),
        ("<!DOCTYPE x [<!ENTITY a 'b'>", false),
        ("<!DOCTYPE x [<!ENTITY a 'b>]>", false),
        ("<!DOCTYPE x [<!-- ]>", false),
        ("<!ELEMENT x>", false),
    ] {
        let found = passed.then_some(soap::Found::Method("Get"));
        assert_eq!(soap::find(format!("{declared}{envelope}").as_bytes()), found, "{declared}");
    }
    for deep in ["<", "<!DOCTYPE x [<!-- -->", "<!DOCTYPE x [<a \"\"", "<!DOCTYPE x><!DOCTYPE x>"] {
        let _ = soap::find(format!("<!DOCTYPE {}", deep.repeat(100_000)).as_bytes());
    }
}

/// Clients send a hash in place of the document, or what the server calls it.
#[test]
fn documents_that_the_server_has_are_told_apart() {
    let named = |found: Option<Operation>| {
        found.map(|found| {
            assert_eq!((found.protocol, found.unread, found.count), (Protocol::GraphQl, None, 1));
            found.name.as_deref().map(str::to_owned)
        })
    };
    let name = |name: &str| Some(Some(name.to_owned()));
    let extensions = format!("{{\"persistedQuery\":{{\"version\":1,\"sha256Hash\":\"{HASH}\"}}}}");
    for body in [
        format!(r#"{{"variables":{{"a":1}},"extensions":{extensions}}}"#),
        format!(r#"{{"query":"","operationName":null,"extensions":{extensions}}}"#),
    ] {
        assert_eq!(named(elsewhere(&body)), name("3f2a9bd1c04e"), "{body}");
    }
    let body = format!(r#"{{"operationName":"Feed","extensions":{extensions}}}"#);
    assert_eq!(named(elsewhere(&body)), name("Feed"));
    // With the document beside it this is what counts.
    let both = json(&format!(r#"{{"query":"query A {{ a }}","extensions":{extensions}}}"#));
    assert_eq!(both.map(|found| label(&found)).as_deref(), Some("query A {a}"));
    assert_eq!(named(elsewhere(r#"{"extensions":{"persistedQuery":{"version":1}}}"#)), Some(None));
    assert_eq!(elsewhere(r#"{"extensions":{"sha256Hash":"3f2a"}}"#), None);
    for (body, expected) in [
        (r#"{"documentId":"sha256:3f2a9bd1c04e77a8","variables":{}}"#, name("3f2a9bd1c04e")),
        (r#"{"documentId":"web/1.2.0/ItemsQuery"}"#, name("ItemsQuery")),
        (r#"{"doc_id":"7950326061742207","variables":{}}"#, name("795032606174")),
        (r#"{"id":"web~1.0~9Zx_81-Qk3jd71ks","variables":{}}"#, name("9Zx_81-Qk3jd")),
        (r#"{"id":17,"variables":{}}"#, name("17")),
        (r#"{"documentId":"3f2a9bd1c04e77a8","operationName":"Zed"}"#, name("Zed")),
        // What is no name may be a value.
        (r#"{"documentId":"ann@example.org"}"#, Some(None)),
        (r#"{"documentId":"eins zwei"}"#, Some(None)),
        (r#"{"id":{"a":1}}"#, None),
        (r#"{"a":1}"#, None),
    ] {
        assert_eq!(named(json(body)), expected, "{body}");
        assert_eq!(elsewhere(body), None, "{body}");
    }
    let rpc = json(r#"{"jsonrpc":"2.0","method":"add","params":[1],"id":7}"#);
    assert_eq!(rpc.map(|found| found.protocol), Some(Protocol::JsonRpc));
}

#[test]
fn targets_name_documents_that_the_server_has() {
    let at = |target: &str, path: &str| {
        let found = of_target(&format!("{path}?{target}"), path, 16 << 10, &mut Interner::default());
        found.map(|found| (found.name.as_deref().map(str::to_owned), found.unread))
    };
    let name = |name: &str| Some((Some(name.to_owned()), None));
    let extensions = format!(
        "extensions=%7B%22persistedQuery%22%3A%7B%22version%22%3A1%2C%22sha256Hash%22%3A%22{HASH}%22%7D%7D&variables=%7B%7D"
    );
    for path in ["/graphql", "/api"] {
        assert_eq!(at(&format!("operationName=Op7&{extensions}"), path), name("Op7"));
        assert_eq!(at(&extensions, path), name("3f2a9bd1c04e"));
        assert_eq!(at(&format!("query=&{extensions}"), path), name("3f2a9bd1c04e"));
    }
    for (target, expected) in [
        ("operationName=Op7", name("Op7")),
        ("documentId=3f2a9bd1c04e77a8", name("3f2a9bd1c04e")),
        ("id=3f2a9bd1c04e77a8&variables={}", name("3f2a9bd1c04e")),
        ("id=3f2a9bd1c04e77a8", None),
        ("extensions={}&variables={}", None),
        ("operationName=a%20b", None),
    ] {
        assert_eq!(at(target, "/graphql"), expected, "{target}");
        assert_eq!(at(target, "/api/orders"), None, "{target}");
    }
    assert_eq!(at("query=", "/graphql"), Some((None, Some(Unread::Malformed))));
    let deep = format!("extensions={}", "{\"persistedQuery\":".repeat(900));
    assert_eq!(at(&deep, "/graphql"), None);
}

#[test]
fn a_byte_order_mark_before_json_is_no_damage() {
    let found = json("\u{feff}{\"query\": \"query Items { items }\"}").expect("an operation");
    assert_eq!((label(&found).as_str(), found.unread), ("query Items {items}", None));
    let found = elsewhere("\u{feff}{\"jsonrpc\": \"2.0\", \"method\": \"add\", \"id\": 1}").expect("a call");
    assert_eq!((label(&found).as_str(), found.unread), ("add", None));
}

#[test]
fn json_is_looked_at_under_types_that_programs_say_by_habit() {
    let types = ["text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "application/vnd.acme.v2+json", ""];
    let fields = types.map(|media| format!("Content-Type: {media}\r\n")).into_iter().chain([String::new()]);
    for fields in fields {
        let label_of =
            |body: &str| asked(1_460, &post_to("/graphql", &fields, body.as_bytes())).map(|found| label(&found));
        for (body, expected) in [
            (r#" {"query":"query Items { items }"}"#, Some("query Items {items}")),
            ("\u{feff}\n[{\"query\":\"{ a }\"},{\"query\":\"{ b }\"}]", Some("{batch}")),
            (r#"{"jsonrpc":"2.0","method":"add","id":1}"#, Some("add")),
            (r#"{"method":"getinfo","params":[],"id":1}"#, Some("getinfo")),
            // Only what speaks for itself.
            (r#"{"query":"shoes"}"#, None),
            (r#"{"query":"query Syntax {"}"#, None),
            (r#"{"documentId":"3f2a9bd1c04e77a8"}"#, None),
            (r#"{"method":"card","id":7}"#, None),
            ("query={a}&b={%22jsonrpc%22:1}", None),
            ("query", None),
        ] {
            assert_eq!(label_of(body).as_deref(), expected, "{fields} {body}");
        }
        let long = format!(r#"{{"id":1,"params":["{}"],"method":"add"}}"#, "x".repeat(80_000));
        assert_eq!(asked(1_460, &post_to("/rpc", &fields, long.as_bytes())), None);
    }
    let octets = post_to("/graphql", "Content-Type: application/octet-stream\r\n", br#"{"query":"{ a }"}"#);
    assert_eq!(asked(1_460, &octets), None);
}

/// What says what is asked for may stand behind more than is kept.
#[test]
fn operations_behind_much_else_are_told_of() {
    let fields = "Content-Type: application/json\r\n";
    let long = "x".repeat(80_000);
    let unread = |protocol| Some(Operation::unread(protocol, Unread::TooLarge));
    let named = Operation::unread(Protocol::JsonRpc, Unread::TooLarge);
    let named = Some(Operation { name: Some("add".into()), ..named });
    for (path, body, expected) in [
        ("/graphql", format!(r#"{{"variables":{{"a":"{long}"}},"query":"{{ a }}"}}"#), unread(Protocol::GraphQl)),
        ("/api", format!(r#"{{"variables":{{"a":"{long}"}},"query":"{{ a }}"}}"#), None),
        // What is known by a hash may come with its document, which is what counts.
        (
            "/graphql",
            format!(r#"{{"id":"3f2a","variables":{{"a":"{long}"}},"query":"{{ a }}"}}"#),
            unread(Protocol::GraphQl),
        ),
        (
            "/api",
            format!(
                r#"{{"extensions":{{"persistedQuery":{{"sha256Hash":"3f2a"}}}},"variables":"{long}","query":"{{ a }}"}}"#
            ),
            unread(Protocol::GraphQl),
        ),
        (
            "/rpc",
            format!(r#"{{"params":["{long}"],"jsonrpc":"2.0","method":"add","id":1}}"#),
            unread(Protocol::JsonRpc),
        ),
        (
            "/api",
            format!(r#"{{"id":1,"params":["{long}"],"jsonrpc":"2.0","method":"add"}}"#),
            unread(Protocol::JsonRpc),
        ),
        ("/api", format!(r#"{{"jsonrpc":"2.0","params":["{long}"],"method":"add"}}"#), unread(Protocol::JsonRpc)),
        ("/api", format!(r#"{{"method":"add","params":["{long}"],"id":1}}"#), named),
        // Other APIs have some of these words too.
        ("/api", format!(r#"{{"params":["{long}"],"jsonrpc":"2.0","method":"add","id":1}}"#), None),
        ("/api", format!(r#"{{"id":1,"name":"a","params":["{long}"]}}"#), None),
        ("/api", format!(r#"{{"id":1,"method":"card","items":["{long}"]}}"#), None),
        ("/rpc", format!(r#"["{long}"]"#), None),
    ] {
        for size in [700, 1_460] {
            assert_eq!(asked(size, &post_to(path, fields, body.as_bytes())), expected, "{path} {}", &body[..40]);
        }
    }
}

#[test]
fn a_body_goes_through_the_tap_with_its_mark_and_its_ids() {
    let fields = "Content-Type: application/json\r\n";
    for size in [1, 1_460] {
        let marked = post_to("/api", fields, "\u{feff}{\"query\":\"query Q { a }\"}".as_bytes());
        assert_eq!(asked(size, &marked).map(|found| label(&found)).as_deref(), Some("query Q {a}"));
        let known = post_to("/graphql", fields, br#"{"id":"3f2a9bd1c04e77a8"}"#);
        assert_eq!(asked(size, &known).map(|found| label(&found)).as_deref(), Some("3f2a9bd1c04e"));
        let get = b"GET /graphql?operationName=Op7&variables=%7B%7D HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(asked(size, get).map(|found| label(&found)).as_deref(), Some("Op7"));
    }
}

/// The action that is announced counts for what cannot be read, which servers may well read.
#[test]
fn envelopes_in_other_forms_do_not_lose_their_operations() {
    let wide = |text: &str, mark: bool, unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let mark = if mark { "\u{feff}" } else { "" };
        format!("{mark}{text}").encode_utf16().flat_map(unit).collect()
    };
    let get = format!("<?xml version='1.0' encoding='UTF-16'?>{}", envelope("<m:Größe/>"));
    let external =
        format!("<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>{}", envelope("<m:Get>&e;</m:Get>"));
    let action = "SOAPAction: \"urn:Announced\"\r\n";
    for (body, alone, announced) in [
        (wide(&get, true, u16::to_le_bytes), Some("Größe"), Some("Größe")),
        (wide(&get, true, u16::to_be_bytes), Some("Größe"), Some("Größe")),
        (wide(&get, false, u16::to_le_bytes), Some("Größe"), Some("Größe")),
        (wide(&get, false, u16::to_be_bytes), Some("Größe"), Some("Größe")),
        (external.into_bytes(), Some("Get"), Some("Get")),
        (b"\x4c\x6f\xa7\x94\x93".to_vec(), None, Some("Announced")),
        (b"<!DOCTYPE x [".to_vec(), None, Some("Announced")),
        // XML that can be read, and is no envelope.
        (b"<Other><Envelope/></Other>".to_vec(), None, None),
        (wide("<feed/>", true, u16::to_le_bytes), None, None),
    ] {
        for size in [1, 1_460] {
            for (fields, expected) in [("", alone), (action, announced)] {
                let fields = format!("Content-Type: text/xml; charset=utf-16\r\n{fields}");
                let found = asked(size, &post_to("/ws", &fields, &body));
                assert_eq!(found.as_ref().and_then(|found| found.name.as_deref()), expected, "{body:?}");
            }
        }
    }
}
