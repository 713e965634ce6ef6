use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::call::{Call, Credential, CredentialKind, Fingerprint, FlowId, Message as CallMessage, Peer, Shape};
use crate::detect::{COMPILED_IN, DetectRules, FILE};
use crate::rules::RuleFile;
use crate::time::Timestamp;

mod requests;

const HOST: &str = "shop.example";

pub(super) fn inventory(settings: &Settings) -> Inventory {
    let file = RuleFile::new(FILE, COMPILED_IN);
    let rules = DetectRules::load(&file).expect("the rules that are compiled in");
    let detector = Detector::new(crate::detect::Settings::default(), rules, |call| Some(call.client.ip));
    Inventory::new(settings, detector)
}

/// A good answer to client `number`, a second after another.
pub(super) fn call(client: u32, second: u32, method: &str, target: &str) -> Call {
    let time = |nanos| Timestamp::from_parts(1_772_460_000 + u64::from(second), nanos);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let names = query.split('&').filter(|part| !part.is_empty());
    let mut call = Call {
        flow: FlowId(u64::from(client)),
        position: second,
        method: method.to_owned(),
        host: Some(HOST.into()),
        target: target.to_owned(),
        path: path.to_owned(),
        query_names: names.map(|part| part.split('=').next().unwrap_or_default().into()).collect(),
        status: Some(200),
        client: Peer { ip: IpAddr::from([192, 0, 2, client as u8]), port: 4711 },
        server: Peer { ip: IpAddr::from([10, 0, 0, 1]), port: 8080 },
        request_time: Some(time(0)),
        response_time: Some(time(20_000_000)),
        end_time: time(30_000_000),
        response: CallMessage {
            body_bytes: 300,
            content_type: Some("application/json".into()),
            ..CallMessage::default()
        },
        ..Call::default()
    };
    (call.completeness.request, call.completeness.response) = (true, true);
    call
}

fn inspector() -> &'static crate::inspect::Inspector {
    static INSPECTOR: std::sync::OnceLock<crate::inspect::Inspector> = std::sync::OnceLock::new();
    INSPECTOR.get_or_init(|| {
        let rules = crate::inspect::Rules::load(None).expect("the rules that are compiled in");
        let settings = crate::inspect::Settings { shapes: true, ..Default::default() };
        crate::inspect::Inspector::new(&rules, settings, crate::key::Key::from_bytes([1; crate::key::KEY_BYTES]))
    })
}

/// The same with a body in the answer.
pub(super) fn answering(call: Call, body: &str) -> Call {
    let inspector = inspector();
    let idle = &mut crate::inspect::Scans::default();
    let mut scan = inspector.begin(crate::inspect::Side::Response, Some("application/json"), idle).expect("JSON");
    inspector.data(&mut scan, body.as_bytes(), true);
    let findings = inspector.finish(scan, idle);
    let shape = Shape { response: findings.shape, ..Shape::default() };
    let mut call = Call { shape: Some(Box::new(shape)), ..call };
    call.sensitive.response = findings.sensitive;
    call
}

fn take(inventory: &mut Inventory, calls: &[Call]) {
    let records: Vec<_> = calls.iter().cloned().map(Record::from).collect();
    inventory.records(&records);
}

fn report(calls: &[Call]) -> Vec<Endpoint> {
    let mut inventory = inventory(&Settings::default());
    take(&mut inventory, calls);
    inventory.report()
}

#[test]
fn what_an_endpoint_takes_and_gives() {
    let calls: Vec<_> = (0..60)
        .map(|number| {
            let state = if number % 5 == 0 { "paid" } else { "open" };
            let note = if number % 2 == 0 { r#","note":null"# } else { "" };
            let body = format!(
                r#"{{"id":{number},"state":"{state}","name":"Name{}","mail":"ana{number}@example.com"{note}}}"#,
                letter(number)
            );
            let mut call = answering(call(number % 12, number, "GET", &format!("/v1/orders/{number}?page=2")), &body);
            if number % 12 != 0 {
                let fingerprint = Fingerprint(u64::from(number % 12));
                call.credential = Some(Credential::new(CredentialKind::Bearer, fingerprint));
            }
            call
        })
        .collect();
    let all = report(&calls);
    assert_eq!(all.len(), 1, "{all:?}");
    let one = &all[0];
    assert_eq!((one.method.as_str(), one.template.as_str(), one.host.as_str()), ("GET", "/v1/orders/{id}", HOST));
    assert_eq!((one.calls, one.clients, one.callers.len()), (60, 12, 12));
    assert_eq!(one.servers, ["10.0.0.1:8080"]);
    assert_eq!(
        one.auth.iter().map(|(kind, count)| (kind.as_str(), *count)).collect::<Vec<_>>(),
        [("bearer", 55), ("none", 5)]
    );
    let parameters: Vec<_> =
        one.parameters.iter().map(|one| (one.place.as_str(), one.name.as_str(), one.required)).collect();
    assert_eq!(parameters, [("path", "order_id", true), ("query", "page", true)]);
    assert!(one.latency.is_some_and(|latency| (latency.p50 - 0.02).abs() <= 0.001), "{:?}", one.latency);
    let body = one.response.body.as_ref().expect("a body");
    assert_eq!(body.fields.keys().collect::<Vec<_>>(), ["id", "mail", "name", "note", "state"]);
    assert_eq!(body.fields["state"].values, ["open", "paid"]);
    assert!(body.fields["name"].values.is_empty(), "names are no enumeration");
    assert!(body.fields["note"].optional && !body.fields["id"].optional);
    assert_eq!(body.fields["mail"].sensitive.iter().collect::<Vec<_>>(), ["email"]);
    assert!(body.fields["id"].sensitive.is_empty() && one.response.sensitive.contains("email"));
}

fn letter(number: u32) -> char {
    char::from(b'a' + (number % 20) as u8)
}

#[test]
fn calls_in_tls_and_redirections_are_told_apart() {
    let calls: Vec<_> = (0..40)
        .map(|number| {
            let mut one = call(number % 8, number, "GET", "/v1/home");
            if number % 2 == 0 {
                one.server.port = 443;
                one.tls = Some(Arc::default());
            }
            if number % 10 == 9 {
                one = Call { method: "POST".into(), status: Some(302), path: "/login".into(), ..one };
            }
            one
        })
        .collect();
    let mut inventory = inventory(&Settings::default());
    take(&mut inventory, &calls);
    let all = inventory.report();
    assert_eq!(all.iter().map(|one| one.template.as_str()).collect::<Vec<_>>(), ["/v1/home"]);
    assert_eq!(all[0].servers, ["10.0.0.1:443", "10.0.0.1:8080"]);
    assert_eq!((&all[0].tls_servers[..], all[0].clear_servers.len()), (&["10.0.0.1:443".to_owned()][..], 0));
    assert_eq!(inventory.counters().value(Counter::RedirectsUntaught), 4);
}

#[test]
fn who_only_scans_adds_nothing() {
    let mut calls: Vec<_> = (0..200).map(|number| call(number % 10, number, "GET", "/v1/home")).collect();
    for number in 0..200 {
        let mut probe = call(99, 200 + number, "GET", &format!("/probe{}{}", letter(number), letter(number / 20)));
        // Before anything is held against it, and after, it is answered well now and then.
        if number % 10 != 0 {
            probe.status = Some(404);
        }
        calls.push(probe);
    }
    let mut inventory = inventory(&Settings::default());
    take(&mut inventory, &calls);
    let all = inventory.report();
    assert_eq!(all.iter().map(|one| one.template.as_str()).collect::<Vec<_>>(), ["/v1/home"]);
    assert!(inventory.counters().value(Counter::CallsOfSuspects) > 100);
    assert!(inventory.counters().value(Counter::EndpointsOfSuspects) >= 1);
}

#[test]
fn what_failed_with_a_good_status_teaches_no_answers() {
    use crate::call::{Operation, OperationError, Protocol};
    let asked = |number: u32, error: Option<u16>, body: &str| {
        let mut one = answering(call(number % 12, number, "POST", "/rpc"), body);
        let error = error.map(|status| OperationError { status, code: None });
        let operation =
            Operation { protocol: Protocol::JsonRpc, name: Some("add".into()), error, ..Operation::default() };
        one.operation = Some(Box::new(operation));
        one
    };
    let mut calls: Vec<_> = (0..60).map(|number| asked(number, None, r#"{"result":{"sum":3}}"#)).collect();
    calls.extend((60..72).map(|number| asked(number, Some(403), r#"{"error":{"mail":"ann@example.com"}}"#)));
    let all = report(&calls);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((all[0].calls, &all[0].statuses, &all[0].outcomes), (60, &[(200, 72)].into(), &[(403, 12)].into()));
    let body = all[0].response.body.as_ref().expect("a body");
    assert_eq!(body.fields.keys().collect::<Vec<_>>(), ["result"]);
    assert!(all[0].response.sensitive.is_empty());
    // Nobody else fails there: that is new.
    let before = report(&calls[..60]);
    let changes = drift::changes(&before, &all);
    assert!(changes.iter().any(|change| change.kind == "outcome_new" && change.what == "403"), "{changes:?}");
}

#[test]
fn operations_are_endpoints() {
    use crate::call::{Operation, Protocol};
    let mut calls = Vec::new();
    for number in 0..40 {
        let mut one = call(number % 8, number, "POST", "/rpc");
        let name = if number % 2 == 0 { "add" } else { "list" };
        let operation = Operation { protocol: Protocol::JsonRpc, name: Some(name.into()), ..Operation::default() };
        one.operation = Some(Box::new(operation));
        calls.push(one);
    }
    let all = report(&calls);
    let told: Vec<_> = all
        .iter()
        .map(|one| (one.template.as_str(), one.operation.as_ref().map(|one| one.name.as_str()), one.calls))
        .collect();
    assert_eq!(told, [("/rpc", Some("add"), 20), ("/rpc", Some("list"), 20)]);
    let document = openapi::document(&all);
    let operations = &document["paths"]["/rpc"]["post"]["x-apitap"]["operations"];
    assert_eq!(operations.as_array().map(Vec::len), Some(2), "{document}");
}

#[test]
fn words_that_become_one_parameter_take_what_is_known_with_them() {
    let mut calls = Vec::new();
    for number in 0..240 {
        let word = format!("/products/{}{}", ["blue", "red", "old", "new"][number as usize % 4], letter(number / 4));
        let body = format!(r#"{{"name":"{}","price":1.5}}"#, "x".repeat(250 + number as usize % 30));
        let mut one = answering(call(number % 30, number, "GET", &word), &body);
        one.response.body_bytes = 260 + u64::from(number % 30);
        calls.push(one);
    }
    let all = report(&calls);
    assert_eq!(all.len(), 1, "{:?}", all.iter().map(Endpoint::title).collect::<Vec<_>>());
    assert_eq!((all[0].template.as_str(), all[0].calls), ("/products/{id}", 240));
    let body = all[0].response.body.as_ref().expect("a body");
    assert!(body.fields.values().all(|field| !field.optional), "{body:?}");
}

#[test]
fn one_service_is_asked_by_name_and_by_address() {
    let mut calls: Vec<_> = (0..40).map(|number| call(number % 8, number, "GET", "/v1/items/7")).collect();
    for number in 0..40 {
        let host: Option<Arc<str>> = if number % 2 == 0 { Some("10.0.0.1:8080".into()) } else { None };
        let path = if number % 4 < 2 { "/v1/items/9" } else { "/healthz" };
        calls.push(Call { host, ..call(number % 8, 40 + number, "GET", path) });
    }
    let all = report(&calls);
    let told: Vec<_> = all.iter().map(|one| (one.host.as_str(), one.template.as_str(), one.calls)).collect();
    assert_eq!(told, [(HOST, "/healthz", 20), (HOST, "/v1/items/{id}", 60)]);
    assert_eq!(all[0].aliases, ["", "10.0.0.1"]);
}

#[test]
fn schemas_keep_to_their_budget() {
    let settings = Settings { schema_bytes: 200_000, ..Settings::default() };
    let mut inventory = inventory(&settings);
    let fields: Vec<_> = (0..1000)
        .map(|number| format!(r#""field_{}{}{}":1"#, letter(number), letter(number / 20), letter(number / 400)))
        .collect();
    let body = format!("{{{}}}", fields.join(","));
    let wide = answering(call(1, 0, "GET", "/x"), &body).shape;
    for endpoint in 0..40 {
        let target = format!("/{}/{}", ["a", "b"][endpoint as usize % 2], letter(endpoint / 2));
        let call = Call { shape: wide.clone(), ..call(endpoint % 8, endpoint, "GET", &target) };
        take(&mut inventory, &[call]);
    }
    assert!(inventory.book.budget().held() <= 200_000);
    assert!(inventory.counters().value(Counter::SchemaFieldsDropped) > 10_000);
    let all = inventory.report();
    // Twenty siblings that nothing tells apart are one template.
    assert_eq!(all.len(), 2);
    assert!(all.iter().any(|one| one.response.incomplete));
}

#[test]
fn a_report_is_read_back_as_it_was_written() {
    let calls: Vec<_> = (0..30)
        .map(|number| {
            answering(
                call(number % 6, number, "GET", "/v1/items?sort=price"),
                r#"{"items":[{"id":1}],"2026-03-02":{}}"#,
            )
        })
        .collect();
    let all = report(&calls);
    for one in &all {
        let text = serde_json::to_string(one).expect("plain data");
        assert_eq!(serde_json::from_str::<Endpoint>(&text).expect("what was written"), *one);
    }
}

#[test]
fn drift_tells_breaking_changes_from_harmless_ones() {
    let day = |body: &str, targets: &[&str], secured: bool| {
        let mut calls = Vec::new();
        for number in 0..40 {
            for target in targets {
                let mut one = answering(call(number % 8, number, "GET", target), body);
                if secured {
                    let fingerprint = Fingerprint(u64::from(number % 8));
                    one.credential = Some(Credential::new(CredentialKind::Bearer, fingerprint));
                }
                calls.push(one);
            }
        }
        report(&calls)
    };
    let before =
        day(r#"{"id":1,"total":1.5,"by":{"name":"x y"},"old":true}"#, &["/v1/orders/1?page=1", "/v1/gone"], true);
    let body = r#"{"id":"a b","total":2,"by":{"name":null,"mail":"ana@example.com"},"new":{"deep":1}}"#;
    let now = day(body, &["/v1/orders/1?page=1&size=5", "/v1/fresh"], false);
    let found: Vec<_> = drift::changes(&before, &now)
        .iter()
        .map(|change| format!("{} {} {}", if change.breaking { "!" } else { "-" }, change.kind, change.what))
        .collect();
    for expected in [
        "! endpoint_gone ",
        "- endpoint_new ",
        "! parameter_new size",
        "! field_types id",
        "- field_new new",
        "- field_new by.mail",
        "! field_gone old",
        "! field_types by.name",
        "- sensitive_new by.mail",
        "- auth_new none",
        "- auth_gone bearer",
    ] {
        assert!(found.iter().any(|one| one == expected), "{expected} is missing in {found:#?}");
    }
    assert!(!found.iter().any(|one| one.ends_with("total") || one.contains("new.deep")), "{found:#?}");
    assert!(drift::changes(&before, &before).is_empty());
}

#[test]
fn headers_and_cookies_are_parameters() {
    use crate::call::{Format, NamedShape};
    let named = |name: &str, format, word: Option<&str>, credential| NamedShape {
        name: name.into(),
        format: [format].into_iter().collect(),
        credential,
        word: word.map(Into::into),
    };
    let calls: Vec<_> = (0..60)
        .map(|number| {
            let mut one = call(number % 12, number, "GET", "/v1/orders");
            let region = if number % 2 == 0 { "west" } else { "east" };
            let mut shape = Shape {
                headers: vec![
                    named("api-version", Format::Date, None, false),
                    named("x-region", Format::Word, Some(region), false),
                    named("x-api-key", Format::Hexadecimal, None, true),
                ],
                ..Shape::default()
            };
            if number % 3 == 0 {
                shape.cookies = [named("theme", Format::Word, Some("dark"), false)].into();
            }
            if number == 30 {
                // Of a head that is partly unknown, nothing is missing.
                one.completeness.unknown_fields = 1;
                shape.headers.truncate(1);
            }
            one.shape = Some(Box::new(shape));
            one
        })
        .collect();
    let all = report(&calls);
    let told: Vec<_> = all[0]
        .parameters
        .iter()
        .map(|one| (one.place.as_str(), one.name.as_str(), one.required, one.credential, one.enumeration.len()))
        .collect();
    let expected = [
        ("header", "api-version", true, false, 0),
        ("header", "x-api-key", true, true, 0),
        ("header", "x-region", true, false, 2),
        ("cookie", "theme", false, false, 0),
    ];
    assert_eq!(told, expected);
    let document = openapi::document(&all);
    let written = &document["paths"]["/v1/orders"]["get"]["parameters"];
    assert_eq!(written.as_array().map(Vec::len), Some(3), "keys are no parameters: {written}");
    assert_eq!(written[1]["schema"]["enum"], serde_json::json!(["east", "west"]));
    let fewer: Vec<_> = calls.iter().cloned().map(|call| Call { shape: None, ..call }).collect();
    let changes: Vec<_> =
        drift::changes(&report(&fewer), &all).iter().map(|change| format!("{} {}", change.kind, change.what)).collect();
    let expected = ["parameter_new cookie theme", "parameter_new header api-version", "parameter_new header x-region"];
    assert_eq!(changes, expected);
}

#[test]
fn what_was_masked_is_a_parameter() {
    let mut calls = Vec::new();
    for number in 0..60 {
        let name = format!("{}{}***", letter(number), letter(number / 2));
        calls.push(call(number % 8, number, "GET", &format!("/people/{name}/orders")));
    }
    let all = report(&calls);
    let told: Vec<_> = all.iter().map(|one| (one.template.as_str(), one.calls)).collect();
    assert_eq!(told, [("/people/{id}/orders", 60)]);
    assert_eq!(all[0].parameters[0].types, ["token"]);
}

#[test]
fn who_asks_by_no_name_is_told_of_all_the_same() {
    let nameless = |server: &str| {
        let server: Peer = Peer { ip: server.parse().expect("an address"), port: 80 };
        let calls: Vec<_> =
            (0..20).map(|number| Call { host: None, server, ..call(number % 4, number, "GET", "/x") }).collect();
        let mut inventory = inventory(&Settings::default());
        take(&mut inventory, &calls);
        let all = inventory.report();
        let graph = inventory.graph(&all);
        let calls = graph.edges.iter().map(|edge| (edge.to.clone(), edge.calls));
        (all[0].host.clone(), all[0].servers.len(), calls.collect::<Vec<_>>())
    };
    let edges = |to: &str| vec![(to.to_owned(), 5); 4];
    assert_eq!(nameless("10.0.0.9"), ("10.0.0.9".to_owned(), 1, edges("10.0.0.9")));
    // A log may not say which server it is of.
    assert_eq!(nameless("0.0.0.0"), ("unknown".to_owned(), 0, edges("unknown")));
}

#[test]
fn what_only_suspects_touched_stays_out_however_many_they_are() {
    let mut calls: Vec<_> = (0..200).map(|number| call(number % 10, number, "GET", "/v1/home")).collect();
    // Each is answered well before anything is held against it; another one is asked for by somebody else too.
    for scanner in 0..80 {
        calls.push(call(100 + scanner, 200 + scanner, "GET", "/debug/vars"));
        calls.push(call(100 + scanner, 200 + scanner, "GET", "/v1/shared"));
    }
    for scanner in 0..80 {
        for probe in 0..20 {
            let target = format!("/probe{}{}{}", letter(scanner), letter(scanner / 20), letter(probe));
            calls.push(Call { status: Some(404), ..call(100 + scanner, 300 + 20 * scanner + probe, "GET", &target) });
        }
    }
    for number in 0..40 {
        calls.push(call(number % 10, 2_000 + number, "GET", "/v1/shared"));
    }
    let mut inventory = inventory(&Settings::default());
    take(&mut inventory, &calls);
    let all = inventory.report();
    assert_eq!(all.iter().map(|one| one.template.as_str()).collect::<Vec<_>>(), ["/v1/home", "/v1/shared"]);
}

/// What is told of a change, without where.
fn told(before: &[Endpoint], now: &[Endpoint]) -> Vec<String> {
    let line = |change: &drift::Change| {
        let effect = if change.breaking { "!" } else { "-" };
        format!("{effect} {} {} {}", change.kind, change.what, change.detail).trim_end().to_owned()
    };
    drift::changes(before, now).iter().map(line).collect()
}

#[test]
fn words_that_became_a_template_are_not_gone() {
    let endpoint = |template: &str, kinds: &[&str]| Endpoint {
        host: HOST.into(),
        method: "GET".into(),
        template: template.into(),
        calls: 9,
        parameters: kinds
            .iter()
            .map(|kind| report::Parameter {
                place: "path".into(),
                types: vec![(*kind).to_owned()],
                ..report::Parameter::default()
            })
            .collect(),
        ..Endpoint::default()
    };
    let words = ["blue", "red", "old"].map(|word| endpoint(&format!("/products/{word}"), &[]));
    let wide = [endpoint("/products/{id}", &["slug"])];
    assert_eq!(told(&words, &wide), Vec::<String>::new());
    assert_eq!(told(&wide, &words), Vec::<String>::new());
    // Beside numbers, too, and what is below goes with them.
    let numbers = endpoint("/products/{id}", &["int"]);
    let before = [&words[..], std::slice::from_ref(&numbers)].concat();
    assert_eq!(told(&before, &wide), Vec::<String>::new());
    assert_eq!(told(&[endpoint("/a/b/c", &[])], &[endpoint("/a/{id}/c", &["slug"])]), Vec::<String>::new());
    // What was told apart from the objects is gone if it is not there, and what is told apart now is new.
    let apart = [wide[0].clone(), endpoint("/products/search", &[])];
    assert_eq!(told(&apart, &wide), ["! endpoint_gone  last seen 1970-01-01T00:00:00.000000000Z"]);
    assert_eq!(told(&wide, &apart), ["- endpoint_new  first seen 1970-01-01T00:00:00.000000000Z"]);
    // Numbers that became UUIDs break who knows them.
    let uuids = [endpoint("/products/{id}", &["uuid"])];
    assert_eq!(told(&[numbers], &uuids), ["! parameter_types path  int became uuid"]);
}

#[test]
fn many_callers_other_media_and_calls_without_credentials_are_told() {
    let day = |clients: std::ops::Range<u32>, media: &str, secured: bool| {
        let calls: Vec<_> = clients
            .cycle()
            .take(240)
            .enumerate()
            .map(|(number, client)| {
                let mut one = call(client, number as u32, "GET", "/v1/orders");
                one.response.content_type = Some(media.into());
                if secured {
                    one.credential = Some(Credential::new(CredentialKind::Bearer, Fingerprint(u64::from(client))));
                }
                one
            })
            .collect();
        report(&calls)
    };
    let before = day(0..50, "application/json", true);
    assert_eq!(told(&before, &before), Vec::<String>::new());
    let unlisted = "- callers_unlisted  50 became 60; more than 32 are not listed";
    assert_eq!(told(&before, &day(100..160, "application/json", true)), [unlisted]);
    let media = ["- media_new application/xml", "! media_gone application/json"];
    assert_eq!(told(&before, &day(0..50, "application/xml", true)), media);
    let open = drift::changes(&before, &day(0..50, "application/json", false));
    let open = open.iter().find(|change| change.kind == "auth_new").expect("it answers without");
    assert!(open.security && open.to_string().starts_with("security  auth_new"), "{open}");
}
