//! What a specification promises and demands: credentials, bodies, parameters, formats, what is only read or written.

use std::fmt::Write;

use serde_json::{Value, json};

use super::super::super::report::{Endpoint, Message, Parameter};
use super::super::{Specification, check};
use super::{endpoint, found};

/// One that has one operation, with what it is described by.
fn one(method: &str, operation: &Value, components: &Value) -> String {
    let mut paths = serde_json::Map::new();
    paths.insert(method.to_owned(), operation.clone());
    json!({"openapi": "3.1.0", "paths": {"/a": paths}, "components": components}).to_string()
}

fn json_of(schema: &Value) -> Value {
    json!({"application/json": {"schema": schema}})
}

fn parameter(place: &str, name: &str, types: &[&str]) -> Parameter {
    Parameter {
        place: place.into(),
        name: name.into(),
        types: types.iter().map(|one| (*one).to_owned()).collect(),
        ..Parameter::default()
    }
}

#[test]
fn what_is_only_read_or_written_is_on_one_side() {
    let user = json!({"type": "object", "required": ["id", "name", "password", "token"], "properties": {
        "id": {"type": "integer", "readOnly": true}, "name": {"type": "string"},
        "password": {"type": "string", "writeOnly": true},
        "token": {"allOf": [{"$ref": "#/components/schemas/Token"}], "description": "referred to"}}});
    let operation = json!({"requestBody": {"content": json_of(&json!({"$ref": "#/components/schemas/User"}))},
        "responses": {"200": {"content": json_of(&json!({"$ref": "#/components/schemas/User"}))}}});
    let schemas = json!({"User": user, "Token": {"type": "string", "writeOnly": true}});
    let text = one("post", &operation, &json!({"schemas": schemas}));
    let object = |fields: Value| serde_json::from_value(json!({"types": ["object"], "fields": fields})).ok();
    let (number, word) = (json!({"types": ["integer"]}), json!({"types": ["string"]}));
    let mut seen = endpoint("POST", "/a", "{}");
    seen.request.body = object(json!({"name": word, "password": word, "token": word}));
    seen.response.body = object(json!({"id": number, "name": word}));
    assert_eq!(found(&text, &[seen.clone()]), Vec::<String>::new());
    // What is demanded of both is demanded still, and what must not be answered is told where there is something in it.
    let secret = json!({"types": ["string"], "sensitive": ["secret"]});
    seen.request.body = object(json!({"id": number, "password": word}));
    seen.response.body = object(json!({"name": word, "password": secret, "token": {"types": ["null"]}}));
    let expected = [
        "field_missing POST shop.example/a name",
        "field_missing POST shop.example/a token",
        "field_missing POST shop.example/a id",
        "field_unspecified POST shop.example/a password",
        "field_types POST shop.example/a token",
    ];
    assert_eq!(found(&text, &[seen.clone()]), expected);
    let told = check(&[Specification::parse(&text).expect("a specification")], &[seen]);
    let password = told.iter().find(|finding| finding.what == "password").expect("told above");
    assert!(password.detail.contains("writeOnly") && password.sensitive.contains("secret"), "{password:?}");
}

#[test]
fn credentials_are_held_against_the_schemes_that_are_demanded() {
    let schemes = json!({
        "basic": {"type": "http", "scheme": "Basic"}, "bearer": {"type": "http", "scheme": "bearer"},
        "digest": {"type": "http", "scheme": "digest"},
        "head": {"type": "apiKey", "in": "header", "name": "X-Auth"}, "query": {"type": "apiKey", "in": "query", "name": "code"},
        "cookie": {"type": "apiKey", "in": "cookie", "name": "token_x"},
        "bare": {"type": "apiKey", "in": "header", "name": "Authorization"},
        "oauth": {"type": "oauth2", "flows": {}}, "mtls": {"type": "mutualTLS"}});
    let seen = |auth: &[(&str, u64)], parameters: &[(&str, &str, bool)]| {
        let mut seen = Endpoint { parameters: Vec::new(), ..endpoint("GET", "/a", "{}") };
        seen.auth = auth.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
        for (place, name, required) in parameters {
            seen.parameters.push(Parameter { required: *required, ..parameter(place, name, &[]) });
        }
        seen
    };
    let told = |security: Value, seen: Endpoint| -> Option<String> {
        let operation = json!({"security": security, "responses": {"200": {}}});
        let text = one("get", &operation, &json!({"securitySchemes": schemes}));
        let all = check(&[Specification::parse(&text).expect("a specification")], &[seen]);
        all.into_iter().find(|finding| finding.kind == "auth_missing").map(|finding| finding.detail)
    };
    let none = || seen(&[("none", 10)], &[]);
    for (security, seen, expected) in [
        // Keys that only the specification knows.
        (json!([{"head": []}]), seen(&[("none", 10)], &[("header", "x-auth", true)]), None),
        (json!([{"query": []}]), seen(&[("none", 10)], &[("query", "code", true)]), None),
        (json!([{"cookie": []}]), seen(&[("none", 10)], &[("cookie", "token_x", true)]), None),
        (
            json!([{"cookie": []}]),
            seen(&[("none", 10)], &[("query", "token_x", true)]),
            Some("10 of 10 calls have not: cookie token_x"),
        ),
        (json!([{"head": []}]), none(), Some("10 of 10 calls have not: header x-auth")),
        (
            json!([{"head": []}]),
            seen(&[("none", 10)], &[("header", "x-auth", false)]),
            Some("at least 1 of 10 calls have not: header x-auth"),
        ),
        // Another credential than the one that is demanded.
        (json!([{"bearer": []}]), seen(&[("cookie", 10)], &[]), Some("10 of 10 calls have not: bearer")),
        (json!([{"bearer": []}]), seen(&[("bearer", 8), ("api_key", 2)], &[]), Some("2 of 10 calls have not: bearer")),
        (json!([{"basic": []}]), seen(&[("basic", 10)], &[]), None),
        (json!([{"digest": []}]), seen(&[("other", 10)], &[]), None),
        (json!([{"digest": []}]), seen(&[("basic", 10)], &[]), Some("10 of 10 calls have not: another scheme")),
        (json!([{"oauth": ["read"]}]), seen(&[("bearer", 10)], &[]), None),
        (json!([{"oauth": ["read"]}]), none(), Some("10 of 10 calls have not: bearer")),
        (json!([{"bearer": []}]), seen(&[("api_key", 10)], &[("query", "access_token", true)]), None),
        (json!([{"bare": []}]), seen(&[("other", 6), ("bearer", 4)], &[]), None),
        (json!([{"bare": []}]), none(), Some("10 of 10 calls have not: header authorization")),
        // What cannot be seen, or is not there.
        (json!([{"mtls": []}]), none(), None),
        (json!([{"unknown": []}]), none(), None),
        // Alternatives, and what goes together.
        (json!([]), none(), None),
        (json!([{"bearer": []}, {}]), none(), None),
        (json!([{"bearer": []}, {"basic": []}]), seen(&[("bearer", 4), ("basic", 6)], &[]), None),
        (
            json!([{"bearer": []}, {"basic": []}]),
            seen(&[("bearer", 4), ("basic", 5), ("none", 1)], &[]),
            Some("at least 1 of 10 calls have not: bearer or basic"),
        ),
        (
            json!([{"bearer": [], "head": []}]),
            seen(&[("bearer", 10)], &[]),
            Some("10 of 10 calls have not: bearer and header x-auth"),
        ),
        (json!([{"bearer": [], "head": []}]), seen(&[("bearer", 10)], &[("header", "x-auth", true)]), None),
        (json!([{"bearer": []}, {"mtls": []}]), none(), None),
        // What logs leave out.
        (json!([{"bearer": []}]), Endpoint { partial_heads: 10, ..none() }, None),
        (
            json!([{"head": []}]),
            Endpoint { partial_heads: 4, ..none() },
            Some("at least 6 of 10 calls have not: header x-auth"),
        ),
    ] {
        assert_eq!(told(security.clone(), seen).as_deref(), expected, "{security}");
    }
}

#[test]
fn values_of_parameters_are_held_against_their_schemas() {
    let word = json!({"type": "string", "enum": ["asc", "desc"]});
    let text = |parameters: Value| one("get", &json!({"parameters": parameters, "responses": {"200": {}}}), &json!({}));
    let query = |name: &str, schema: Value| json!({"in": "query", "name": name, "schema": schema});
    let all = json!([
        query("limit", json!({"type": "integer"})), query("sort", word), query("on", json!({"type": "boolean"})),
        query("day", json!({"type": "string", "format": "date"})), query("ids", json!({"type": "array", "items": {"type": "integer"}})),
        query("share", json!({"type": ["number", "null"]})), query("any", json!(true)),
        {"in": "query", "name": "filter", "content": json_of(&json!({"type": "integer"}))},
        {"in": "header", "name": "X-Count", "schema": {"type": "integer"}}]);
    let mut seen = endpoint("GET", "/a", "{}");
    let typed = |all: &[(&str, &str, &[&str])]| -> Vec<Parameter> {
        all.iter().map(|(place, name, types)| parameter(place, name, types)).collect()
    };
    seen.parameters = typed(&[
        ("query", "limit", &["digits", "empty"]),
        ("query", "sort", &["word"]),
        ("query", "on", &["boolean"]),
        ("query", "day", &["date"]),
        ("query", "ids", &["text"]),
        ("query", "share", &["decimal", "digits"]),
        ("query", "any", &["word"]),
        ("query", "filter", &["text"]),
        ("header", "x-count", &["digits"]),
    ]);
    seen.parameters[1].enumeration = vec!["asc".into()];
    assert_eq!(found(&text(all.clone()), &[seen.clone()]), Vec::<String>::new());
    seen.parameters = typed(&[
        ("query", "limit", &["digits", "word"]),
        ("query", "sort", &["digits", "word"]),
        ("query", "on", &["digits"]),
        ("query", "day", &["word"]),
        ("header", "x-count", &["uuid"]),
    ]);
    let expected = [
        "parameter_types GET shop.example/a limit",
        "parameter_values GET shop.example/a sort",
        "parameter_types GET shop.example/a on",
        "parameter_formats GET shop.example/a day",
        "parameter_types GET shop.example/a header x-count",
    ];
    assert_eq!(found(&text(all.clone()), &[seen.clone()]), expected);
    seen.parameters = typed(&[("query", "sort", &["word"])]);
    seen.parameters[0].enumeration = vec!["asc".into(), "sideways".into()];
    let told = check(&[Specification::parse(&text(all)).expect("a specification")], &[seen.clone()]);
    let told: Vec<_> = told.iter().map(|one| (one.kind.as_str(), one.what.as_str(), one.detail.as_str())).collect();
    assert_eq!(told, [("parameter_values", "sort", "sideways")]);
    // In version 2.0 a parameter is its own schema.
    let swagger = json!({"swagger": "2.0", "paths": {"/a": {"get": {"parameters": [
        {"in": "query", "name": "sort", "type": "string", "enum": ["asc", "desc"], "required": true},
        {"in": "query", "name": "limit", "type": "integer"}], "responses": {"200": {"description": ""}}}}}});
    seen.parameters.push(parameter("query", "limit", &["word"]));
    seen.parameters[0].required = true;
    let expected = ["parameter_values GET shop.example/a sort", "parameter_types GET shop.example/a limit"];
    assert_eq!(found(&swagger.to_string(), &[seen]), expected);
}

#[test]
fn bodies_are_there_where_they_are_specified_and_nowhere_else() {
    let mut seen = endpoint("POST", "/a", r#"{"types":["object"]}"#);
    seen.request.media = vec!["application/json".into()];
    seen.request.bytes = Some(Default::default());
    let text = |request: Value, responses: Value| {
        let mut operation = json!({"responses": responses});
        if !request.is_null() {
            operation["requestBody"] = request;
        }
        one("post", &operation, &json!({}))
    };
    let (bare, body) = (json!({"200": {}}), json!({"content": json_of(&json!({}))}));
    let both = ["body_unspecified POST shop.example/a", "body_unspecified POST shop.example/a"];
    assert_eq!(found(&text(Value::Null, bare.clone()), &[seen.clone()]), both);
    let good = json!({"200": body});
    assert_eq!(found(&text(body.clone(), good.clone()), &[seen.clone()]), Vec::<String>::new());
    // What is said of all other answers says nothing of good ones; nor is a text a body that teaches anything.
    assert_eq!(found(&text(body.clone(), json!({"default": {}})), &[seen.clone()]), Vec::<String>::new());
    seen.response.body = None;
    assert_eq!(found(&text(body.clone(), bare), &[seen.clone()]), Vec::<String>::new());

    let demanded = json!({"required": true, "content": json_of(&json!({}))});
    let missing = |seen: &Endpoint| -> Vec<String> {
        let all = check(
            &[Specification::parse(&text(demanded.clone(), good.clone())).expect("a specification")],
            std::slice::from_ref(seen),
        );
        all.iter().map(|one| format!("{} {}", one.kind, one.detail)).collect()
    };
    assert_eq!(missing(&seen), ["body_missing at times"]);
    assert_eq!(missing(&Endpoint { incomplete_share: 0.1, ..seen.clone() }), Vec::<String>::new());
    seen.request.required = true;
    assert_eq!(missing(&seen), Vec::<String>::new());
    seen.request = Default::default();
    assert_eq!(missing(&Endpoint { incomplete_share: 0.1, ..seen.clone() }), ["body_missing always"]);
    assert_eq!(missing(&Endpoint { partial_heads: 10, ..seen.clone() }), Vec::<String>::new());
}

#[test]
fn formats_of_fields_are_held_against_what_texts_look_like() {
    let properties = json!({"when": {"type": "string", "format": "date"}, "id": {"type": "string", "format": "uuid"},
        "small": {"type": "integer", "format": "int32"}, "long": {"type": "integer", "format": "int64"},
        "state": {"type": "string", "const": "on"}, "either": {"oneOf": [{"type": "integer"}, {"type": "string", "format": "date"}]},
        "mail": {"type": "string", "format": "email"}, "free": {"anyOf": [{"type": "string", "format": "date"}, {"type": "string"}]}});
    let schema = json!({"type": "object", "properties": properties});
    let operation = json!({"responses": {"200": {"content": json_of(&schema)}}});
    let text = one("get", &operation, &json!({}));
    let seen = |fields: &str| endpoint("GET", "/a", &format!(r#"{{"types":["object"],"fields":{{{fields}}}}}"#));
    let fitting = r#""when":{"types":["string"],"formats":["date"]},"id":{"types":["string"],"formats":["uuid"]},
        "small":{"types":["integer"]},"long":{"types":["integer"],"formats":["int64"]},"state":{"types":["string"],"values":["on"]},
        "either":{"types":["integer","string"],"formats":["int64","date"]},"mail":{"types":["string"],"formats":["email","text"]},
        "free":{"types":["string"],"formats":["word"]}"#;
    assert_eq!(found(&text, &[seen(fitting)]), Vec::<String>::new());
    let others = r#""when":{"types":["string"],"formats":["date","word"]},"id":{"types":["string"],"formats":["digits"]},
        "small":{"types":["integer"],"formats":["int64"]},"long":{"types":["integer"],"formats":["int64","large"]},
        "state":{"types":["string"],"formats":["digits"]},"either":{"types":["string"],"formats":["word"]},
        "mail":{"types":["string"],"formats":["word"]}"#;
    let expected = [
        "field_formats GET shop.example/a either",
        "field_formats GET shop.example/a id",
        "field_formats GET shop.example/a long",
        "field_formats GET shop.example/a mail",
        "field_formats GET shop.example/a small",
        "field_values GET shop.example/a state",
        "field_formats GET shop.example/a when",
    ];
    assert_eq!(found(&text, &[seen(others)]), expected);
}

#[test]
fn forms_write_numbers_as_texts() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}, "on": {"type": "boolean"}}});
    let body = json!({"content": {"application/x-www-form-urlencoded": {"schema": schema}}});
    let text =
        one("post", &json!({"requestBody": body, "responses": {"200": {"content": json_of(&json!({}))}}}), &json!({}));
    let mut seen = endpoint("POST", "/a", "{}");
    seen.request.media = vec!["application/x-www-form-urlencoded".into()];
    let fields = r#"{"types":["object"],"fields":{"n":{"types":["string"],"formats":["digits"]},
        "on":{"types":["string"],"formats":["word"]}}}"#;
    seen.request.body = serde_json::from_str(fields).ok();
    assert_eq!(found(&text, &[seen]), ["field_types POST shop.example/a on"]);
}

#[test]
fn what_is_left_out_of_the_inventory_is_not_unused() {
    let text = r#"{"openapi":"3.1.0","paths":{"/a":{"get":{"responses":{"default":{}}},"options":{},"trace":{},"put":{},"head":{}}}}"#;
    assert_eq!(found(text, &[endpoint("GET", "/a", "{}")]), ["unused PUT /a"]);
}

#[test]
fn large_specifications_in_yaml_are_read_and_bombs_are_not() {
    let mut text = String::from("openapi: 3.0.3\npaths:\n");
    for number in 0..6_000 {
        let _ = writeln!(
            text,
            "  /things-{number}:\n    get:\n      tags: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]"
        );
        let _ = writeln!(
            text,
            "      parameters: [{{name: a, in: query}}, {{name: b, in: query}}, {{name: c, in: query}}]"
        );
        let _ = writeln!(text, "      responses: {{'200': {{description: good}}, '404': {{description: gone}}}}");
    }
    let read = Specification::parse(&text).map(|one| one.operations.len());
    assert_eq!(read.map_err(|error| error.to_string()), Ok(6_000));
    let mut bomb = String::from("openapi: 3.0.3\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let above = format!("*a{}", level - 1);
        let _ = writeln!(bomb, "a{level}: &a{level} [{}]", vec![above; 10].join(", "));
    }
    assert!(Specification::parse(&bomb).is_err());
    let wide = format!("openapi: 3.0.3\na: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 90].join(", "));
    assert!(Specification::parse(&wide).is_err(), "90 MiB of a text that is written once");
}

#[test]
fn media_types_of_requests_are_held_against_those_that_are_specified() {
    let answers = json!({"200": {"description": ""}});
    let body =
        |media: &str| one("post", &json!({"requestBody": {"content": {media: {}}}, "responses": answers}), &json!({}));
    let seen = |media: &str| {
        let mut seen = endpoint("POST", "/a", "{}");
        seen.response.body = None;
        seen.request.media = vec![media.into()];
        seen.request.bytes = Some(Default::default());
        seen
    };
    let told = ["media_unspecified POST shop.example/a application/json"];
    assert_eq!(found(&body("application/xml"), &[seen("application/json")]), told);
    for specified in ["application/json; charset=utf-8", "application/*", "*/*"] {
        assert_eq!(found(&body(specified), &[seen("application/json")]), [""; 0], "{specified}");
    }
    // Where there was no body, what was said of it does not matter.
    let bare = Endpoint { request: Message { bytes: None, ..seen("application/json").request }, ..seen("") };
    assert_eq!(found(&body("application/xml"), &[bare]), [""; 0]);
}

#[test]
fn swagger_2_says_once_for_all_which_media_types_and_in_parameters_what_forms_have() {
    let text = |operation: &Value| {
        json!({"swagger": "2.0", "consumes": ["application/xml"], "produces": ["application/xml; charset=utf-8"],
            "paths": {"/a": {"post": operation}}})
        .to_string()
    };
    let seen = |media: &str, fields: Value| {
        let mut seen = endpoint("POST", "/a", "{}");
        seen.request.media = vec![media.into()];
        seen.request.bytes = Some(Default::default());
        seen.request.required = true;
        seen.request.body = serde_json::from_value(json!({"types": ["object"], "fields": fields})).ok();
        seen
    };
    let answer = json!({"200": {"description": "", "schema": {"type": "object"}}});
    let body = json!([{"in": "body", "name": "b", "schema": {"type": "object"}}]);
    let (json, both) = ("application/json", ["media_unspecified POST shop.example/a application/json"; 2]);
    let operation = json!({"parameters": body, "responses": answer});
    assert_eq!(found(&text(&operation), &[seen(json, json!({}))]), both);
    let own = json!({"parameters": body, "responses": answer, "consumes": [json], "produces": [json]});
    assert_eq!(found(&text(&own), &[seen(json, json!({}))]), [""; 0]);
    // A form is sent as forms are.
    let form = json!({"responses": {"200": {"description": ""}}, "produces": [json], "parameters": [
        {"in": "formData", "name": "user", "type": "integer", "required": true},
        {"in": "formData", "name": "state", "type": "string", "enum": ["open"]},
        {"in": "formData", "name": "tags", "type": "array", "items": {"type": "string"}},
        {"in": "formData", "name": "picture", "type": "file"}]});
    let texts = |format: &str, words: &[&str]| json!({"types": ["string"], "formats": [format], "values": words});
    let fields = |user: Value| json!({"user": user, "state": texts("word", &["void"]), "tags": texts("word", &[]), "picture": texts("binary", &[])});
    for form_media in ["application/x-www-form-urlencoded", "multipart/form-data"] {
        let mut sent = seen(form_media, fields(texts("word", &[])));
        sent.response.body = None;
        let expected = ["field_values POST shop.example/a state", "field_types POST shop.example/a user"];
        assert_eq!(found(&text(&form), &[sent.clone()]), expected, "{form_media}");
        sent.request.body =
            serde_json::from_value(json!({"types": ["object"], "fields": {"user": texts("digits", &[])}})).ok();
        assert_eq!(found(&text(&form), &[sent]), [""; 0], "{form_media}");
    }
}
