use super::super::report::{Endpoint, Message, Parameter, Schema};
use super::*;

mod promises;

fn endpoint(method: &str, template: &str, response: &str) -> Endpoint {
    let body: Schema = serde_json::from_str(response).expect("a schema");
    Endpoint {
        host: "shop.example".into(),
        method: method.into(),
        template: template.into(),
        calls: 10,
        clients: 3,
        statuses: [(200, 10)].into(),
        auth: [("bearer".to_owned(), 10)].into(),
        response: Message { media: vec!["application/json".into()], body: Some(body), ..Message::default() },
        ..Endpoint::default()
    }
}

pub(super) fn found(text: &str, endpoints: &[Endpoint]) -> Vec<String> {
    let specification = Specification::parse(text).expect("a specification");
    let all = check(&[specification], endpoints);
    all.iter().map(|one| format!("{} {} {}", one.kind, one.endpoint, one.what).trim().to_owned()).collect()
}

const ORDER: &str = r#"{"types":["object"],"fields":{"id":{"types":["integer"]},"note":{"types":["null","string"],"optional":true},
    "mail":{"types":["string"],"sensitive":["email"]},"state":{"types":["string"],"values":["open","paid"]}}}"#;

const OPENAPI: &str = r##"
openapi: 3.0.3
info: {title: shop, version: "1"}
servers:
  - url: https://shop.example/{stage}
    variables: {stage: {default: v1, enum: [v1, v2]}}
security: [{token: []}]
paths:
  /orders/{orderId}:
    parameters: [{$ref: "#/components/parameters/Order"}]
    get:
      responses:
        "200":
          $ref: "#/components/responses/Order"
    delete:
      deprecated: true
      security: []
      responses: {"204": {description: gone}}
  /orders/latest:
    get: {responses: {"200": {description: the last}}}
  /never:
    get: {responses: {default: {description: nothing}}}
components:
  securitySchemes:
    token: {type: http, scheme: bearer}
  parameters:
    Order: {name: orderId, in: path, required: true, schema: {type: string}}
  responses:
    Order:
      description: an order
      content:
        application/json: {schema: {$ref: "#/components/schemas/Order"}}
  schemas:
    Base: {type: object, required: [id, total], properties: {id: {type: integer}, total: {type: number}}}
    Order:
      allOf:
        - $ref: "#/components/schemas/Base"
        - type: object
          properties: {note: {type: string, nullable: true}, state: {type: string, enum: [open, closed]}}
"##;

#[test]
fn what_is_not_as_specified() {
    let mut order = endpoint("GET", "/v1/orders/{id}", ORDER);
    order.auth.insert("none".into(), 2);
    order.statuses.insert(418, 1);
    order.parameters.push(Parameter { place: "query".into(), name: "debug".into(), ..Parameter::default() });
    let mut gone = endpoint("DELETE", "/v1/orders/{id}", "{}");
    gone.statuses = [(204, 1)].into();
    let all = [
        order,
        gone,
        endpoint("GET", "/v1/orders/latest", "{}"),
        endpoint("PATCH", "/v1/orders/{id}", "{}"),
        endpoint("GET", "/v1/admin/dump", ORDER),
    ];
    let expected = [
        "auth_missing GET shop.example/v1/orders/{id}",
        "parameter_unspecified GET shop.example/v1/orders/{id} debug",
        "status_unspecified GET shop.example/v1/orders/{id} 418",
        "field_missing GET shop.example/v1/orders/{id} total",
        "field_unspecified GET shop.example/v1/orders/{id} mail",
        "field_values GET shop.example/v1/orders/{id} state",
        "zombie DELETE shop.example/v1/orders/{id}",
        "shadow PATCH shop.example/v1/orders/{id}",
        "shadow GET shop.example/v1/admin/dump",
        "unused GET /never",
    ];
    assert_eq!(found(OPENAPI, &all), expected);
    let specification = Specification::parse(OPENAPI).expect("a specification");
    assert_eq!(specification.unresolved, 0);
    let extra = check(&[specification], &all).into_iter().find(|one| one.what == "mail").expect("an extra field");
    assert_eq!(extra.sensitive.into_iter().collect::<Vec<_>>(), ["email"]);
}

#[test]
fn swagger_2() {
    let text = r##"{"swagger":"2.0","host":"shop.example:8080","basePath":"/v1/","paths":{"/orders/{id}.json":{"get":{"responses":
        {"200":{"description":"","schema":{"$ref":"#/definitions/O"}}}}}},"definitions":{"O":{"type":"object","properties":
        {"id":{"type":"integer"},"note":{"type":"string","x-nullable":true},"mail":{"type":"string"},"state":{"type":"string"}},
        "additionalProperties":false}}}"##;
    assert_eq!(found(text, &[endpoint("GET", "/v1/orders/7.json", ORDER)]), Vec::<String>::new());
    let elsewhere = Endpoint { host: "other.example".into(), ..endpoint("GET", "/v1/orders/7.json", ORDER) };
    let both = [endpoint("GET", "/v1/orders/7.json", ORDER), elsewhere];
    assert_eq!(found(text, &both), ["shadow GET other.example/v1/orders/7.json"]);
}

#[test]
fn alternatives_cycles_and_references_that_lead_nowhere() {
    let text = r##"{"openapi":"3.1.0","paths":{"/a":{"get":{"responses":{"200":{"content":{"application/json":{"schema":
        {"$ref":"#/components/schemas/Tree"}}}}}}},
        "/b":{"get":{"responses":{"2XX":{"content":{"application/*":{"schema":{"$ref":"other.yaml#/B"}}}}}}},
        "/c":{"get":{"responses":{"200":{"content":{"application/json":{"schema":{"oneOf":[
        {"type":"object","required":["x"],"properties":{"x":{"type":"integer"}}},
        {"type":"object","required":["y"],"properties":{"y":{"type":"string"}}},{"type":"null"}]}}}}}}}},
        "components":{"schemas":{"Loop":{"allOf":[{"$ref":"#/components/schemas/Loop"}]},
        "Tree":{"type":["object","null"],"properties":{"left":{"$ref":"#/components/schemas/Tree"},
        "loop":{"$ref":"#/components/schemas/Loop"}}}}}}"##;
    let tree = r#"{"types":["object"],"fields":{"left":{"types":["object"],"fields":{"left":{"types":["null"]},"odd":{"types":["integer"]}}},"loop":{"types":["string"]}}}"#;
    let either = r#"{"types":["object"],"fields":{"x":{"types":["integer"],"optional":true},"y":{"types":["boolean","string"],"optional":true}}}"#;
    let all = [endpoint("GET", "/a", tree), endpoint("GET", "/b", ORDER), endpoint("GET", "/c", either)];
    let expected = ["field_unspecified GET shop.example/a left.odd", "field_types GET shop.example/c y"];
    assert_eq!(found(text, &all), expected);
    assert_eq!(Specification::parse(text).map(|one| one.unresolved).ok(), Some(1));
}

#[test]
fn what_is_no_specification_is_refused() {
    for text in ["", "{}", "a: [", "openapi: 2.0", "{\"openapi\":\"4.0.0\"}", "just words"] {
        assert!(Specification::parse(text).is_err(), "{text}");
    }
}

#[test]
fn what_was_observed_fits_what_is_made_of_it() {
    let all = [endpoint("GET", "/v1/orders/{id}", ORDER), endpoint("POST", "/v1/orders/{id}/items/{id}", "{}")];
    let document = super::super::openapi::document(&all).to_string();
    assert_eq!(found(&document, &all), Vec::<String>::new());
}

#[test]
fn references_lead_to_files_below_the_folder_and_to_no_others() {
    let folder = std::env::temp_dir().join(format!("apitap-spec-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("api/schemas")).expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("a file");
    let root = "openapi: 3.0.3\npaths:\n  /orders/{id}: {$ref: 'orders.yaml#/one'}\n  /x: {$ref: '../out.yaml'}\n  \
                /y: {$ref: 'https://example.com/y.yaml'}\n  /z: {$ref: 'absent.yaml'}\ncomponents:\n  schemas:\n    \
                Money: {type: number}\n";
    write("api/openapi.yaml", root);
    let orders = "one:\n  get:\n    responses:\n      '200':\n        content:\n          application/json:\n            \
                  schema: {$ref: 'schemas/order.json'}\nowner: {type: string}\n";
    write("api/orders.yaml", orders);
    // It refers to itself, to the file before it and to the first one.
    let order = r##"{"type":"object","additionalProperties":false,"properties":{"owner":{"$ref":"../orders.yaml#/owner"},
        "parts":{"type":"array","items":{"$ref":"#"}},"total":{"$ref":"../openapi.yaml#/components/schemas/Money"}}}"##;
    write("api/schemas/order.json", order);
    write("out.yaml", "get: {}\n");
    let specification = Specification::read(&folder.join("api/openapi.yaml")).expect("a specification");
    std::fs::remove_dir_all(&folder).expect("it is there");
    assert_eq!((specification.unresolved, specification.unread.len()), (3, 3), "{:?}", specification.unread);
    for (reference, reason) in [("../out", "leads out"), ("https:", "nothing is fetched"), ("absent", "No such file")] {
        let told = specification.unread.iter().any(|one| one.contains(reference) && one.contains(reason));
        assert!(told, "{reference}: {:?}", specification.unread);
    }
    let body = r#"{"types":["object"],"fields":{"owner":{"types":["string"]},"total":{"types":["string"]},
        "parts":{"types":["array"],"items":{"types":["object"],"fields":{"odd":{"types":["null"]}}}}}}"#;
    let mut seen = Endpoint {
        method: "GET".into(),
        host: "h".into(),
        template: "/orders/{id}".into(),
        statuses: [(200, 1)].into(),
        calls: 1,
        ..Endpoint::default()
    };
    seen.response.body = Some(serde_json::from_str(body).expect("a schema"));
    let told: Vec<_> =
        check(&[specification], &[seen]).iter().map(|finding| format!("{} {}", finding.kind, finding.what)).collect();
    assert_eq!(told, ["field_unspecified parts[].odd", "field_types total"]);
}

#[test]
fn headers_cookies_and_keys_are_held_against_what_is_specified() {
    let text = r#"{"openapi":"3.1.0","paths":{"/a":{"get":{"parameters":[
        {"in":"header","name":"X-Tenant","required":true},{"in":"header","name":"Accept-Language","required":true},
        {"in":"cookie","name":"region","required":true},{"in":"query","name":"page"}],"responses":{"200":{}}}}},
        "components":{"securitySchemes":{"k":{"type":"apiKey","in":"query","name":"key"},
        "h":{"type":"apiKey","in":"header","name":"X-Secret"}}}}"#;
    let specification = Specification::parse(text).expect("a specification");
    let parameter = |place: &str, name: &str, required| super::super::report::Parameter {
        place: place.into(),
        name: name.into(),
        required,
        ..Default::default()
    };
    let mut seen =
        Endpoint { method: "GET".into(), template: "/a".into(), statuses: [(200, 1)].into(), ..Endpoint::default() };
    let told = |seen: &Endpoint| -> Vec<String> {
        let all = check(std::slice::from_ref(&specification), std::slice::from_ref(seen));
        all.iter().map(|finding| format!("{} {}", finding.kind, finding.what)).collect()
    };
    assert!(told(&seen).is_empty(), "no header was seen at all: {:?}", told(&seen));
    seen.parameters = vec![
        parameter("query", "key", true),
        parameter("header", "x-secret", true),
        parameter("header", "x-debug", false),
        parameter("header", "x-tenant", false),
        parameter("cookie", "theme", true),
    ];
    let expected = [
        "parameter_unspecified header x-debug",
        "parameter_missing cookie region",
        "parameter_missing header x-tenant",
    ];
    assert_eq!(told(&seen), expected);
}

#[test]
fn what_was_written_of_methods_that_openapi_has_no_place_for_is_read_again() {
    let other = endpoint("SUBSCRIBE", "/events/{id}", ORDER);
    let encrypted = endpoint("TLS", "/", "{}");
    let all = [other, encrypted, endpoint("GET", "/events/{id}", ORDER)];
    let document = crate::inventory::openapi::document(&all);
    assert_eq!(document["paths"].as_object().map(serde_json::Map::len), Some(1), "{document}");
    assert_eq!(found(&document.to_string(), &all), Vec::<String>::new());
    let none = r#"{"openapi":"3.2.0","paths":{"/events/{id}":{"additionalOperations":{"NOTIFY":{}}}}}"#;
    let expected = [
        "shadow SUBSCRIBE shop.example/events/{id}",
        "shadow GET shop.example/events/{id}",
        "unused NOTIFY /events/{id}",
    ];
    assert_eq!(found(none, &all), expected);
}

#[test]
fn what_is_demanded_of_objects_holds_whatever_else_may_come() {
    let text = |parts: &str| {
        format!(
            r#"{{"openapi":"3.1.0","paths":{{"/a":{{"get":{{"responses":{{"200":{{"content":{{"application/json":{{"schema":{{"oneOf":[{parts}]}}}}}}}}}}}}}}}}}}"#
        )
    };
    let seen = [endpoint(
        "GET",
        "/a",
        r#"{"types":["null","string","object"],"values":["gone"],
        "fields":{"x":{"types":["integer"]},"more":{"types":["integer"]}}}"#,
    )];
    let object = r#"{"type":"object","required":["x","y"],"properties":{"x":{}},"additionalProperties":false}"#;
    let (null, word) = (r#"{"type":"null"}"#, r#"{"type":"string","enum":["open"]}"#);
    let expected = [
        "field_values GET shop.example/a",
        "field_missing GET shop.example/a y",
        "field_unspecified GET shop.example/a more",
    ];
    for parts in [[object, null, word], [null, word, object], [word, object, null]] {
        assert_eq!(found(&text(&parts.join(",")), &seen), expected);
    }
}
