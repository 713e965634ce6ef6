use super::super::{Inspector, Rules, Scans, Settings, Side};
use super::field::{FIELD, TOLD};
use super::*;
use crate::key::Key;
use proptest::prelude::*;

fn inspector(settings: Settings) -> Inspector {
    let rules = Rules::load(None).unwrap_or_else(|errors| panic!("{}", errors[0]));
    Inspector::new(&rules, settings, Key::from_bytes([7; 16]))
}

/// What is found in a body, the gap being where a piece is none.
fn found(inspector: &Inspector, side: Side, media: &str, pieces: &[Option<&[u8]>]) -> Option<Arc<RequestValues>> {
    let mut idle = Scans::default();
    let mut scan = inspector.begin(side, Some(media), &mut idle).expect("it is looked at");
    for piece in pieces {
        match piece {
            Some(piece) => inspector.data(&mut scan, piece, false),
            None => inspector.gap(&mut scan),
        }
    }
    inspector.finish(scan, &mut idle).values
}

fn probes(media: &str, body: &str) -> Vec<(String, String)> {
    let inspector = inspector(Settings::default());
    let whole = found(&inspector, Side::Request, media, &[Some(body.as_bytes())]);
    // However it is cut.
    for cut in 0..body.len() {
        let (one, two) = body.as_bytes().split_at(cut);
        assert_eq!(found(&inspector, Side::Request, media, &[Some(one), Some(two)]), whole, "cut at {cut}");
    }
    let probes = whole.iter().flat_map(|values| &values.probes);
    probes.map(|probe| (probe.field.to_string(), probe.rule.to_string())).collect()
}

fn account(media: &str, body: &str) -> Option<String> {
    let found = found(&inspector(Settings::default()), Side::Request, media, &[Some(body.as_bytes())])?;
    found.default_account.as_deref().map(str::to_owned)
}

/// What a body asks for.
fn object(media: &str, body: &str) -> Option<u64> {
    let inspector = inspector(Settings::default());
    let whole = found(&inspector, Side::Request, media, &[Some(body.as_bytes())]);
    for cut in 0..body.len() {
        let (one, two) = body.as_bytes().split_at(cut);
        assert_eq!(found(&inspector, Side::Request, media, &[Some(one), Some(two)]), whole, "cut at {cut}");
    }
    Some(whole?.object?.0)
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn fields_of_json_and_forms_are_told_with_their_rules() {
    let body = r#"{"filter":{"name":"x' OR '1'='1","page":3},"items":[{"url":"http:\/\/169.254.169.254/"},{"id":7}],
        "text":"\u007b\u007b7*7}}","user":{"$ne":null},"18374655":"; cat /etc/hosts","path":"/etc/passwd"}"#;
    let told = probes(JSON, body);
    for (field, rule) in [
        ("filter.name", "sql_condition"),
        ("items[].url", "metadata_service"),
        ("text", "template"),
        ("user", "entity"),
        ("*", "command"),
        ("path", "foreign_file"),
    ] {
        assert!(told.iter().any(|(held, name)| held == field && name == rule), "{field} {rule}: {told:?}");
    }
    let told =
        probes(FORM, "q=x%27+UNION+SELECT+null,null&host=127.0.0.1%3B+id&twice=%2527%20or%201%3D1--%20&plain=a+b");
    for field in ["q", "host"] {
        assert!(told.iter().any(|(held, _)| held == field), "{field}: {told:?}");
    }
    assert!(told.iter().all(|(field, _)| field != "plain"), "{told:?}");
    let outermost = probes(JSON, r#"["<script>alert(1)</script>", "x"]"#);
    assert_eq!(outermost, [("[]".to_owned(), "script".to_owned())]);
}

#[test]
fn ordinary_values_passwords_and_answers_tell_nothing() {
    let plain = r#"{"name":"O'Brien","when":"2026-03-02T14:00:00Z","url":"https://a.example/x?y=1","price":"$5",
        "note":"salt & pepper; \"quoted\"","password":"x' OR '1'='1","client_secret":"; cat /etc/passwd"}"#;
    assert_eq!(probes(JSON, plain), []);
    let inspector = inspector(Settings::default());
    let body: &[u8] = br#"{"q":"x' OR '1'='1"}"#;
    assert_eq!(found(&inspector, Side::Response, JSON, &[Some(body)]), None);
    assert_eq!(found(&inspector, Side::Request, "text/plain", &[Some(body)]), None);
    // Behind a gap nobody knows whose value it is.
    assert_eq!(found(&inspector, Side::Request, JSON, &[Some(br#"{"a":"b"#), None, Some(body)]), None);
}

#[test]
fn long_texts_are_marked_as_such() {
    let text = "This is what I tried, and it does not do what the manual says. ".repeat(5);
    let body = format!(r#"{{"comment":"{text} ; cat /etc/hosts"}}"#);
    let found = found(&inspector(Settings::default()), Side::Request, JSON, &[Some(body.as_bytes())]);
    let found = found.expect("a command");
    assert!(found.probes.iter().all(|probe| probe.prose), "{found:?}");
}

#[test]
fn accounts_that_everybody_tries_are_named_beside_a_password() {
    for (media, body, wanted) in [
        (JSON, r#"{"username":"Admin","password":"hunter2"}"#, Some("admin")),
        (JSON, r#"{"password":"a","user_name":"root"}"#, Some("root")),
        (JSON, r#"{"credentials":{"login":"guest","passwd":"guest"}}"#, Some("guest")),
        (JSON, r#"{"email":"test@example.com","password":"x"}"#, Some("test")),
        (FORM, "user=postgres&remember=1&pwd=postgres", Some("postgres")),
        (FORM, "user%5Blogin%5D=root&user%5Bpassword%5D=toor", Some("root")),
        (FORM, "j_username=tomcat&j_password=s3cret", Some("tomcat")),
        (FORM, "log=admin&pwd=x&wp-submit=Log+In", Some("admin")),
        // Its twins.
        (FORM, "user%5B%5D=root&pwd=x", None),
        (JSON, r#"{"username":"ana","password":"hunter2"}"#, None),
        (JSON, r#"{"username":"admin"}"#, None),
        (JSON, r#"{"username":"admin","password":""}"#, None),
        (JSON, r#"{"email":"admin@shop.example","password":"x"}"#, None),
        (FORM, "user=ana&pwd=admin", None),
    ] {
        assert_eq!(account(media, body).as_deref(), wanted, "{body}");
    }
    let named = |body: &str| {
        let found = found(&inspector(Settings::default()), Side::Request, JSON, &[Some(body.as_bytes())]);
        found.and_then(|values| values.account)
    };
    let ana = named(r#"{"customerNo":"700001","pin":"1234"}"#);
    assert!(ana.is_some() && ana == named(r#"{"pin":"9999","customerNo":"700001"}"#));
    assert_ne!(ana, named(r#"{"customerNo":"700002","pin":"1234"}"#));
    assert_eq!(named(r#"{"customerNo":"700001"}"#), None, "no login");
    let found = found(
        &inspector(Settings::default()),
        Side::Request,
        JSON,
        &[Some(br#"{"username":"admin","password":"hunter2"}"#)],
    );
    assert!(!format!("{found:?}").contains("hunter2"));
}

#[test]
fn limits_hold() {
    let few = inspector(Settings { probed_values: 3, ..Settings::default() });
    let body = format!(r#"{{{}"q":"x' OR '1'='1"}}"#, r#""a":"it's","#.repeat(3));
    let mut idle = Scans::default();
    let mut scan = few.begin(Side::Request, Some(JSON), &mut idle).expect("JSON");
    few.data(&mut scan, body.as_bytes(), true);
    let findings = few.finish(scan, &mut idle);
    assert!(findings.values.is_none() && findings.capped);
    let none = inspector(Settings { probed_values: 0, ..Settings::default() });
    assert_eq!(found(&none, Side::Request, JSON, &[Some(br#"{"q":"x' OR '1'='1"}"#)]), None);
    // Deep, long and endless.
    let all = inspector(Settings::default());
    let deep = format!("{}{}", r#"{"a":["#.repeat(3_000), r#"{"q":"x' OR '1'='1"}"#);
    let told = found(&all, Side::Request, JSON, &[Some(deep.as_bytes())]).expect("a value");
    assert!(told.probes.iter().all(|probe| probe.field.len() <= FIELD), "{told:?}");
    let deep = format!("{}{}", "<a>".repeat(3_000), "<q>x' OR '1'='1</q>");
    let told = found(&all, Side::Request, XML, &[Some(deep.as_bytes())]).expect("a value");
    assert!(told.probes.iter().all(|probe| probe.field.len() <= FIELD), "{told:?}");
    let many: String = (0..50).map(|number| format!("{}'--&", format_args!("f{}=x", "a".repeat(number)))).collect();
    let told = found(&all, Side::Request, FORM, &[Some(many.as_bytes())]).expect("values");
    assert_eq!(told.probes.len(), TOLD);
}

const PARTS: &str = "multipart/form-data";
const XML: &str = "text/xml";

/// A multipart form of these heads and contents.
fn parts(parts: &[(&str, &str)]) -> String {
    let part = |(head, content): &(&str, &str)| {
        format!("--b0undary\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    };
    format!("{}--b0undary--\r\n", parts.iter().map(part).collect::<String>())
}

#[test]
fn fields_and_file_names_of_multipart_forms_are_told() {
    let body = parts(&[
        ("name=\"q\"", "x' OR '1'='1"),
        ("name=pic; filename=\"../../../etc/passwd\"", "; cat /etc/hosts"),
        ("name=\"doc\"; filename*=UTF-8''%3Cscript%3Ealert(1)%3C/script%3E", "{{7*7}}"),
        ("name=\"plain\"", "O'Brien & sons\r\n--b0und"),
        ("name=\"password\"", "x' OR '1'='1"),
        ("name=\"none\"; filename=\"\"", "http://169.254.169.254/"),
    ]);
    let told = probes(PARTS, &body);
    let told: Vec<_> = told.iter().map(|(field, rule)| (field.as_str(), rule.as_str())).collect();
    assert_eq!(
        told,
        [
            ("q", "sql_condition"),
            ("pic.filename", "foreign_file"),
            ("doc.filename", "script"),
            ("none", "metadata_service")
        ]
    );
    let login = parts(&[("name=\"user\"", "admin"), ("name=\"password\"", "hunter2")]);
    assert_eq!(account(PARTS, &login).as_deref(), Some("admin"));
    assert_eq!(account(PARTS, &parts(&[("name=\"user\"", "admin"), ("name=\"password\"", "")])), None);
    assert_eq!(probes(PARTS, "no boundary; cat /etc/hosts\r\n"), []);
}

#[test]
fn texts_and_attributes_of_xml_are_told() {
    let body = r#"<?xml version="1.0"?><!-- ; cat /etc/hosts -->
        <s:Envelope xmlns:s="file:///etc/passwd"><s:Body>
          <m:find by="1' OR 1=1" m:kind='&#123;{7*7}}'>
            <m:name>x&apos; OR &#x27;1'='1</m:name>
            <path><![CDATA[../../../etc/]]><!-- - -->passwd</path>
            <empty/><note>salt &amp; pepper &unknown; 5 &lt; 6 --></note>
            tail ; whoami
            <password>x' OR '1'='1</password>
          </m:find></s:Body></s:Envelope>"#;
    let told = probes(XML, body);
    let told: Vec<_> = told.iter().map(|(field, rule)| (field.as_str(), rule.as_str())).collect();
    assert_eq!(
        told,
        [
            ("Envelope.Body.find.@by", "sql_condition"),
            ("Envelope.Body.find.@kind", "template"),
            ("Envelope.Body.find.name", "sql_condition"),
            ("Envelope.Body.find.path", "foreign_file"),
            ("Envelope.Body.find", "command"),
        ]
    );
    let outside = r#"<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>"#;
    let told = probes("application/soap+xml", outside);
    for rule in ["entity", "odd_scheme", "foreign_file"] {
        assert!(told.iter().any(|(field, held)| field == "!DOCTYPE" && held == rule), "{rule}: {told:?}");
    }
    let login = |name: &str| {
        account(XML, &format!("<login>\n <userName>\n {name}\n </userName>\n <Password>\n s3cret</Password></login>"))
    };
    assert_eq!(login("root").as_deref(), Some("root"));
    assert_eq!(login("ana"), None);
    let attributes = r#"<login user="root" password="s3cret"/>"#;
    assert_eq!(account(XML, attributes).as_deref(), Some("root"));
}

#[test]
fn bodies_that_do_not_say_what_they_are_are_read_as_they_begin() {
    for body in [
        "\u{feff} {\"q\":\"x' OR '1'='1\"}",
        "\r\n[{\"q\":\"x' OR '1'='1\"}]",
        "q=x'+OR+'1'%3D'1",
        "page=1&q=x%27%20OR%20%271%27=%271",
        "<q>x' OR '1'='1</q>",
    ] {
        let told = probes("", body);
        assert!(matches!(&*told, [(_, rule)] if rule == "sql_condition"), "{body}: {told:?}");
    }
    let long = format!("{}=; cat /etc/hosts", "a".repeat(FIRST_NAME + 1));
    for body in
        ["; cat /etc/hosts", "a text; cat /etc/hosts", "=; cat /etc/hosts", "", "\u{7f}a=; cat /etc/hosts", &long]
    {
        assert_eq!(probes("", body), [], "{body}");
    }
    assert_eq!(account("", "user=root&pwd=root").as_deref(), Some("root"));
}

proptest! {
    #[test]
    fn nothing_panics_and_cuts_change_nothing(
        body in prop::collection::vec(
            prop::sample::select(b"{}[],:\"\\u0027abc$%2+&='<. >/!?-;#x\r\n".to_vec()),
            0..200,
        ),
        before in prop::sample::select(vec!["", "<a b='", "<a><![CDATA[", "<!DOCTYPE a [", "<!--", "--a\r\n\r\n\r\n", "a="]),
        cut in 0usize..220,
        media in prop::sample::select(vec![JSON, FORM, PARTS, XML, ""]),
    ) {
        let inspector = inspector(Settings::default());
        let body = [before.as_bytes(), &body].concat();
        let (one, two) = body.split_at(cut.min(body.len()));
        let whole = found(&inspector, Side::Request, media, &[Some(&body)]);
        prop_assert_eq!(found(&inspector, Side::Request, media, &[Some(one), Some(two)]), whole);
    }
}

#[test]
fn identifiers_in_bodies_are_told_as_one_fingerprint() {
    let body =
        |id: &str, more: &str| object(JSON, &format!(r#"{{"account":{{"accountId":{id}}},"amount":12.50{more}}}"#));
    let one = body("1042", "");
    assert!(one.is_some());
    assert_eq!(body("\"1042\"", ""), one, "a number or a text");
    assert_eq!(body("1042", r#","note":"for you","page":77,"date":"2026-03-01"}"#), one);
    assert_ne!(body("1043", ""), one);
    assert_ne!(body("1042", r#","order_id":7"#), one);
    // A word is no identifier, nor is what says who asks, or what numbers the call.
    assert_eq!(body("\"savings\"", ""), None);
    assert_eq!(object(JSON, r#"{"client_id":"7713","session_id":"a93771"}"#), None);
    let rpc = |id: u32, of: u32| {
        object(JSON, &format!(r#"{{"id":{id},"jsonrpc":"2.0","method":"get","params":{{"account":{of}}}}}"#))
    };
    assert_eq!(rpc(7, 1042), rpc(8, 1042));
    assert_ne!(rpc(7, 1042), rpc(7, 1043));
    assert_ne!(object(JSON, r#"{"id":7,"x":1}"#), object(JSON, r#"{"id":8,"x":1}"#));
    assert_eq!(object("application/xml", r#"<a MessageID="urn:7"><b Id="9">text</b></a>"#), None);
    assert_ne!(object(FORM, "order_id=7&x=1"), object(FORM, "order_id=8&x=1"));
    // What GraphQL's variables are called is the program's own affair.
    let variables =
        |value: &str| object(JSON, &format!(r#"{{"query":"query T{{x}}","variables":{{"n":{value},"first":20}}}}"#));
    assert!(variables("\"15073701408\"").is_some());
    assert_eq!(variables("15073701408"), variables("\"15073701408\""));
    assert_ne!(variables("15073701408"), variables("15073701409"));
    for no in [
        "\"2026-03-01\"",
        "\"2026-03-01T10:00:00Z\"",
        "1500",
        "\"a word\"",
        "\"1.2500000\"",
        "1764345600",
        "1764345600000",
        "20261128",
        "true",
        "null",
    ] {
        assert_eq!(variables(no), None, "{no}");
    }
    // Only so many are looked at.
    let list = |numbers: std::ops::Range<u32>| {
        let ids: Vec<String> = numbers.map(|number| (1000 + number).to_string()).collect();
        object(JSON, &format!(r#"{{"ids":[{}]}}"#, ids.join(",")))
    };
    assert_ne!(list(0..3), list(0..4));
    assert_eq!(list(0..64), list(0..90));
}
