//! What requests say: parameters of path and query, keys among them, and methods.

use serde_json::{Value, json};

use super::super::facts;
use super::super::spec::{Specification, check};
use super::*;

/// As many calls of a dozen clients, each a second after another, of whose queries it is known what they look like.
fn asked(count: u32, method: &str, target: impl Fn(u32) -> String) -> Vec<Call> {
    let one = |number: u32| {
        let mut one = call(number % 12, number, method, &target(number));
        let mut shape = Shape::default();
        let query = one.target.split_once('?').map_or("", |(_, query)| query);
        inspector().parameters(query, one.query_names.len(), &mut shape.query);
        one.shape = Some(Box::new(shape));
        one
    };
    (0..count).map(one).collect()
}

/// What the document says of the parameters of a path's operation, by name.
fn written(all: &[Endpoint], path: &str, method: &str) -> Value {
    let document = openapi::document(all);
    let parameters = document["paths"][path][method]["parameters"].as_array().cloned().unwrap_or_default();
    let named = parameters.into_iter().map(|one| (one["name"].as_str().unwrap_or_default().to_owned(), one));
    named.map(|(name, one)| (name, one["schema"].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn found(document: &Value, all: &[Endpoint]) -> Vec<String> {
    let specification = Specification::parse(&document.to_string()).expect("a specification");
    let told = check(&[specification], all);
    told.iter().map(|one| format!("{} {} {}", one.kind, one.what, one.detail).trim().to_owned()).collect()
}

#[test]
fn what_comes_several_times_is_a_list() {
    let target = |number: u32| {
        let other = if number.is_multiple_of(2) { "&tag=blue" } else { "" };
        format!("/v1/orders?tag=red{other}&ids[]={number}&ids[]={}&page={number}", number + 1)
    };
    let all = report(&asked(120, "GET", target));
    let told: Vec<_> = all[0].parameters.iter().map(|one| (one.name.as_str(), one.required, one.many)).collect();
    assert_eq!(told, [("ids[]", true, true), ("page", true, false), ("tag", true, true)]);
    let expected = json!({
        "ids[]": {"type": "array", "items": {"type": "integer"}},
        "page": {"type": "integer"},
        "tag": {"type": "array", "items": {"type": "string", "enum": ["blue", "red"]}},
    });
    assert_eq!(written(&all, "/v1/orders", "get"), expected);
    assert_eq!(found(&openapi::document(&all), &all), Vec::<String>::new());
    // One that somebody else has once stays a list.
    let alone = report(&asked(120, "GET", |_| "/v1/orders?tag=red&page=1".to_owned()));
    let mut both = all[0].clone();
    both.merge(alone[0].clone());
    let many: Vec<_> = both.parameters.iter().filter(|one| one.many).map(|one| one.name.as_str()).collect();
    assert_eq!(many, ["ids[]", "tag"]);
}

#[test]
fn lists_are_held_against_their_items() {
    let all = report(&asked(120, "GET", |number| {
        let color = if number % 2 == 0 { "blue" } else { "red" };
        format!("/v1/orders?tag={color}&tag=old&id={number}")
    }));
    let specified = |parameters: Value| {
        let operation = json!({"parameters": parameters, "responses": {"200": {"description": ""}}});
        found(&json!({"openapi": "3.1.0", "paths": {"/v1/orders": {"get": operation}}}), &all)
    };
    let list = |items: Value| json!({"type": "array", "items": items});
    let query = |name: &str, schema: Value| json!({"in": "query", "name": name, "schema": schema});
    let id = query("id", list(json!({"type": "integer"})));
    let words = json!({"type": "string", "enum": ["blue", "old", "red"]});
    assert_eq!(specified(json!([id, query("tag", list(words))])), Vec::<String>::new());
    let fewer = json!({"type": "string", "enum": ["blue", "old"]});
    assert_eq!(specified(json!([id, query("tag", list(fewer))])), ["parameter_values tag red"]);
    let numbers = list(json!({"type": "integer"}));
    let wrong = ["parameter_types tag word where integer is specified"];
    assert_eq!(specified(json!([id, query("tag", numbers.clone())])), wrong);
    let single = ["parameter_types tag array where string is specified"];
    assert_eq!(specified(json!([id, query("tag", json!({"type": "string"}))])), single);
    // Where a list is written as one value, or may be something else, its items are not told apart.
    let mut joined = query("tag", numbers.clone());
    joined["explode"] = false.into();
    assert_eq!(specified(json!([id, joined])), Vec::<String>::new());
    let either = json!({"anyOf": [numbers, {"type": "object"}]});
    assert_eq!(specified(json!([id, query("tag", either)])), Vec::<String>::new());
    let swagger = |format: &str| {
        let tag = json!({"in": "query", "name": "tag", "type": "array", "items": {"type": "integer"},
            "collectionFormat": format});
        let id = json!({"in": "query", "name": "id", "type": "integer"});
        let operation = json!({"parameters": [tag, id], "responses": {"200": {"description": ""}}});
        found(&json!({"swagger": "2.0", "paths": {"/v1/orders": {"get": operation}}}), &all)
    };
    assert_eq!((swagger("multi"), swagger("csv")), (wrong.map(str::to_owned).to_vec(), Vec::new()));
}

#[test]
fn parameters_of_paths_have_the_types_of_their_values() {
    let text = json!({"type": "string", "minLength": 1});
    let day = json!({"type": "string", "format": "date", "examples": ["2000-01-31"]});
    let all: [(&dyn Fn(u32) -> String, Value); 7] = [
        (&|number| format!("{}", 100 + number), json!({"type": "integer"})),
        (&|number| format!("-{}", 100 + number), json!({"type": "integer"})),
        (&|number| format!("{}.{:05}", number % 50, 10_001 + number), json!({"type": "number"})),
        (
            &|number| if number % 2 == 0 { format!("{number}.12345") } else { format!("{}", 100 + number) },
            json!({"type": "number"}),
        ),
        (&|number| format!("2026-03-{:02}", 1 + number % 28), day),
        (
            &|number| if number % 2 == 0 { format!("2026-03-{:02}", 1 + number % 28) } else { "2026-03".to_owned() },
            text.clone(),
        ),
        (&|number| format!("{:06}", 100 + number), text),
    ];
    for (value, expected) in all {
        let all = report(&asked(60, "GET", |number| format!("/v1/things/{}", value(number))));
        assert_eq!(written(&all, "/v1/things/{thing_id}", "get")["thing_id"], expected, "{}", value(1));
    }
    let below = report(&asked(60, "GET", |number| format!("/v1/things?from=-{number}&to={number}.5")));
    let expected = json!({"from": {"type": "integer"}, "to": {"type": "number"}});
    assert_eq!(written(&below, "/v1/things", "get"), expected);
}

#[test]
fn what_earlier_versions_did_not_tell_apart_breaks_nothing() {
    let of = |kinds: &[&str]| Endpoint {
        method: "GET".into(),
        template: "/{id}".into(),
        parameters: vec![Parameter {
            place: "path".into(),
            types: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            ..Parameter::default()
        }],
        ..Endpoint::default()
    };
    for (before, now, expected) in [
        (&["int"][..], &["number"][..], "- parameter_types path  int became number"),
        (&["int"], &["digits", "int"], "- parameter_types path  int became digits|int"),
        (&["date"], &["month"], "- parameter_types path  date became month"),
        (&["int"], &["date-time"], "! parameter_types path  int became date-time"),
        (&["month"], &["uuid"], "! parameter_types path  month became uuid"),
    ] {
        assert_eq!(super::told(&[of(before)], &[of(now)]), [expected]);
    }
}

#[test]
fn a_key_in_the_query_is_a_scheme_and_no_parameter() {
    let key = |number: u32| format!("9sK2mQ7xVb4RtY1n{:02}", number % 12);
    let with_key = |count: u32, target: &dyn Fn(u32) -> String| {
        let mut calls = asked(count, "GET", target);
        for one in &mut calls {
            one.credential = Some(Credential::new(CredentialKind::ApiKey, Fingerprint(u64::from(one.position % 12))));
        }
        calls
    };
    let all = report(&with_key(60, &|number| format!("/v1/orders?api_key={}&page={number}", key(number))));
    let told: Vec<_> = all[0].parameters.iter().map(|one| (one.name.as_str(), one.credential)).collect();
    assert_eq!(told, [("api_key", true), ("page", false)]);
    let document = openapi::document(&all);
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(*schemes, json!({"api_key": {"type": "apiKey", "in": "query", "name": "api_key"}}));
    assert_eq!(document["paths"]["/v1/orders"]["get"]["security"], json!([{"api_key": []}]));
    assert_eq!(written(&all, "/v1/orders", "get"), json!({"page": {"type": "integer"}}));
    assert_eq!(found(&document, &all), Vec::<String>::new());
    // Where it is not specified at all, it is told all the same.
    let bare = json!({"openapi": "3.1.0", "paths": {"/v1/orders": {"get": {
        "parameters": [{"in": "query", "name": "page", "schema": {"type": "integer"}}],
        "responses": {"200": {"description": ""}}}}}});
    assert_eq!(found(&bare, &all), ["parameter_unspecified api_key code"]);
    // An inventory of before has it as any parameter.
    let mut before = all.clone();
    before[0].parameters[0].credential = false;
    assert_eq!(super::told(&before, &all), Vec::<String>::new());
    // A word under a name that keys have as well is a parameter.
    let words =
        report(&asked(60, "GET", |number| format!("/v1/orders?key={}", ["name", "price"][number as usize % 2])));
    assert_eq!(words[0].parameters.iter().map(|one| one.credential).collect::<Vec<_>>(), [false]);
    assert_eq!(written(&words, "/v1/orders", "get")["key"]["type"], "string");
}

#[test]
fn one_word_is_no_choice() {
    let all = report(&asked(120, "GET", |number| {
        format!("/v1/orders?mode=fast&sort={}", ["asc", "desc"][number as usize % 2])
    }));
    let expected = json!({"mode": {"type": "string"}, "sort": {"type": "string", "enum": ["asc", "desc"]}});
    assert_eq!(written(&all, "/v1/orders", "get"), expected);
}

#[test]
fn what_is_asked_for_by_heads_alone_is_told_so() {
    let mut heads = asked(40, "HEAD", |_| "/v1/ping".to_owned());
    heads.iter_mut().for_each(|one| one.response.body_bytes = 0);
    let mut both = heads.clone();
    both.extend(asked(40, "GET", |_| "/v1/ping".to_owned()).into_iter().skip(39));
    let (alone, both) = (report(&heads), report(&both));
    assert_eq!((alone[0].method.as_str(), both[0].method.as_str()), ("HEAD", "GET"));
    assert!(openapi::document(&alone)["paths"]["/v1/ping"]["head"].is_object());
    // It is one endpoint all the same: for drift, for who reviews it, and for a specification.
    let changes = [super::told(&alone, &both), super::told(&both, &alone)].concat();
    assert_eq!(changes, ["- media_new application/json", "- media_gone application/json"]);
    let text = "[[endpoint]]\nservice = \"shop.example\"\nmethod = \"GET\"\ntemplate = \"/v1/ping\"\nowner = \"us\"";
    let review = review::Review::parse(std::path::Path::new("review.toml"), text.to_owned()).expect("it is well");
    assert!(review.knows(&alone[0]) && review.knows(&both[0]));
    let document = |methods: &[&str]| {
        let operation = |method: &&str| ((*method).to_owned(), json!({"responses": {"200": {"description": ""}}}));
        let operations: serde_json::Map<_, _> = methods.iter().map(operation).collect();
        json!({"openapi": "3.1.0", "paths": {"/v1/ping": operations}})
    };
    for methods in [&["get"][..], &["head"], &["get", "head"]] {
        assert_eq!(found(&document(methods), &alone), Vec::<String>::new(), "{methods:?}");
    }
    assert_eq!(found(&document(&["post"]), &alone)[0], "shadow  the path is specified with POST");
    let mut marked = document(&["get", "head"]);
    marked["paths"]["/v1/ping"]["head"]["deprecated"] = true.into();
    assert!(found(&marked, &alone)[0].starts_with("zombie"), "what is specified of HEAD is what counts");
    assert_eq!(found(&marked, &both), Vec::<String>::new());
}

#[test]
fn what_earlier_versions_kept_is_read() {
    let kept = r#"{"name":"tag","calls":7,"formats":["word"],"credential":false,"words":null}"#;
    let parameter: facts::Parameter = serde_json::from_str(kept).expect("as it was kept");
    assert_eq!((parameter.calls, parameter.is_list(), parameter.is_credential()), (7, false, false));
    let mut known = serde_json::to_value(Facts::new(Timestamp::ZERO)).expect("plain data");
    known.as_object_mut().expect("a map").remove("heads").expect("it is kept");
    known["calls"] = 7.into();
    assert!(!serde_json::from_value::<Facts>(known).expect("as it was kept").is_of_heads());
    let saved = r#"{"schema":"apitap.endpoint.v1","method":"GET","parameters":[{"in":"query","name":"tag","types":["word"],"required":true}]}"#;
    let endpoint: Endpoint = serde_json::from_str(saved).expect("as it was saved");
    assert!(endpoint.parameters[0].required && !endpoint.parameters[0].many);
}
