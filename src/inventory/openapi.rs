//! The inventory as an OpenAPI document (version 3.1, with schemas of JSON Schema 2020-12).
//!
//! A document has one map of paths. Where there are several services, each path says at which of them it was seen, and
//! what was seen at several is one description that fits all of them. Examples are made up by format; no observed
//! value is in the document but the words of enumerations.

mod security;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::report::{Endpoint, Parameter, Schema};
use crate::call::{Format, Type};
use crate::detect::ENCRYPTED;
use security::Schemes;
pub(super) use security::UNNAMED;

/// Methods that a path can have.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Where a path has its operations with other methods: version 3.2 has a map for them, named the same without `x-`.
pub(super) const OTHERS: &str = "x-additionalOperations";

/// Names for the parameters of a template, from left to right: of `/users/{id}/orders/{id}` `user_id` and `order_id`.
pub fn names(template: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut before = "";
    for segment in template.split('/') {
        if segment == "{id}" {
            let mut stem: String =
                before.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
            if stem.len() > 3 && stem.ends_with('s') && !stem.ends_with("ss") {
                stem.pop();
            }
            let stem = if stem.is_empty() { "id".to_owned() } else { format!("{stem}_id") };
            let mut name = stem.clone();
            let mut number = 2;
            while names.contains(&name) {
                name = format!("{stem}_{number}");
                number += 1;
            }
            names.push(name);
        } else {
            before = segment;
        }
    }
    names
}

/// The template with the names of its parameters.
fn named(template: &str) -> String {
    let mut names = names(template).into_iter();
    let parts = template.split('/').map(|segment| match segment {
        "{id}" => names.next().map_or_else(|| segment.to_owned(), |name| format!("{{{name}}}")),
        _ => segment.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The document.
pub fn document(endpoints: &[Endpoint]) -> Value {
    // What is in a connection that nobody can look into is not known.
    let endpoints: Vec<_> = endpoints.iter().filter(|endpoint| endpoint.method != ENCRYPTED).collect();
    let services: BTreeSet<_> = endpoints.iter().map(|endpoint| endpoint.host.as_str()).collect();
    let mut paths: BTreeMap<String, BTreeMap<String, Endpoint>> = BTreeMap::new();
    let mut at: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut operations: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for &endpoint in &endpoints {
        let method = endpoint.method.to_ascii_lowercase();
        let method = if METHODS.contains(&method.as_str()) { method } else { endpoint.method.clone() };
        let path = named(&endpoint.template);
        at.entry(path.clone()).or_default().extend(addresses(endpoint));
        if let Some(operation) = &endpoint.operation {
            let told = json!({"protocol": operation.protocol, "name": operation.name, "calls": endpoint.calls});
            operations.entry((path.clone(), method.clone())).or_default().push(told);
        }
        let held = paths.entry(path).or_default();
        match held.get_mut(&method) {
            Some(known) => known.merge(endpoint.clone()),
            None => {
                held.insert(method, endpoint.clone());
            }
        }
    }
    // What was seen at several services is one operation, so what it asks for has to fit all of them.
    let all: Vec<&Endpoint> = paths.values().flat_map(BTreeMap::values).collect();
    let mut written = Map::new();
    let mut identifiers = Identifiers::default();
    let schemes = Schemes::of(&all);
    for (path, methods) in &paths {
        let (mut item, mut others) = (Map::new(), Map::new());
        for (method, endpoint) in methods {
            let of = operations.remove(&(path.clone(), method.clone())).unwrap_or_default();
            let mut operation = operation(method, endpoint, of, path.ends_with("{rest}"), &schemes);
            operation["operationId"] = identifiers.next(method, path).into();
            match METHODS.contains(&method.as_str()) {
                true => drop(item.insert(method.clone(), operation)),
                false => drop(others.insert(method.clone(), operation)),
            }
        }
        if !others.is_empty() {
            item.insert(OTHERS.to_owned(), others.into());
        }
        if services.len() > 1 {
            item.insert("servers".to_owned(), servers(at.get(path)));
        }
        written.insert(path.clone(), item.into());
    }
    let title = match services.first() {
        Some(host) if services.len() == 1 && !host.is_empty() => (*host).to_owned(),
        _ => "APIs seen in traffic".to_owned(),
    };
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": "observed",
            "description": "Rebuilt from observed traffic by apitap: what was not called is not in it.",
        },
        "paths": written,
        "components": {"securitySchemes": schemes.into_value()},
    });
    if services.len() == 1 {
        let all: BTreeSet<_> = endpoints.iter().flat_map(|endpoint| addresses(endpoint)).collect();
        document["servers"] = servers(Some(&all));
    }
    document
}

/// Where an endpoint was asked for, in TLS or not.
fn addresses(endpoint: &Endpoint) -> BTreeSet<String> {
    let port = |server: &String| server.rsplit_once(':').map(|(_, port)| port.to_owned());
    let encrypted: BTreeSet<_> = endpoint.tls_servers.iter().collect();
    // One that answers in TLS answers so alone, unless it is said that it does not.
    let clear = endpoint.servers.iter().filter(|server| !encrypted.contains(server));
    let clear: BTreeSet<_> = clear.chain(&endpoint.clear_servers).filter_map(port).collect();
    let encrypted: BTreeSet<_> = encrypted.into_iter().filter_map(port).collect();
    // What is no name of a host could not be asked for.
    let good = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | '[' | ']' | ':');
    let host: String = endpoint.host.chars().map(|letter| if good(letter) { letter } else { '-' }).collect();
    let host = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host,
    };
    let host = if host.is_empty() { "localhost".to_owned() } else { host };
    let mut all = BTreeSet::new();
    for (scheme, usual, ports) in [("http", "80", &clear), ("https", "443", &encrypted)] {
        let url = |port: &String| match port == usual {
            true => format!("{scheme}://{host}"),
            false => format!("{scheme}://{host}:{port}"),
        };
        all.extend(ports.iter().map(url));
    }
    if all.is_empty() {
        all.insert(format!("http://{host}"));
    }
    all
}

fn servers(addresses: Option<&BTreeSet<String>>) -> Value {
    addresses.into_iter().flatten().map(|url| json!({"url": url})).collect::<Vec<_>>().into()
}

/// Identifiers of operations: paths that differ may be the same in letters and digits, and each has its own.
#[derive(Default)]
struct Identifiers {
    taken: HashSet<String>,
    /// Those that were wanted again, by the number that was tried last, so that none is tried twice.
    numbers: HashMap<String, usize>,
}

impl Identifiers {
    fn next(&mut self, method: &str, path: &str) -> String {
        let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
        let wanted = format!("{method}{}", path.chars().map(plain).collect::<String>());
        if self.taken.insert(wanted.clone()) {
            return wanted;
        }
        let number = self.numbers.entry(wanted.clone()).or_insert(1);
        loop {
            *number += 1;
            let other = format!("{wanted}_{number}");
            if self.taken.insert(other.clone()) {
                return other;
            }
        }
    }
}

fn operation(method: &str, endpoint: &Endpoint, operations: Vec<Value>, rest: bool, schemes: &Schemes) -> Value {
    let mut written = Map::new();
    // What says who calls is told as such; in a query only where a scheme has its name, for it may be more than that.
    let told = endpoint.parameters.iter().filter(|parameter| match parameter.place.as_str() {
        "query" => !parameter.credential || !schemes.has(endpoint, parameter),
        _ => !parameter.credential,
    });
    let mut parameters: Vec<Value> = told.map(parameter).collect();
    if rest {
        let schema = json!({"type": "string"});
        parameters.push(json!({"name": "rest", "in": "path", "required": true, "schema": schema}));
    }
    if !parameters.is_empty() {
        written.insert("parameters".to_owned(), parameters.into());
    }
    let request = &endpoint.request;
    // A body with a GET has no meaning (RFC 9110, section 9.3.1).
    if !matches!(method, "get" | "head" | "delete" | "trace") && (request.bytes.is_some() || request.body.is_some()) {
        let content = content(&request.media, request.body.as_ref());
        written.insert("requestBody".to_owned(), json!({"required": request.required, "content": content}));
    }
    written.insert("responses".to_owned(), responses(endpoint));
    if let Some(security) = schemes.security(endpoint) {
        written.insert("security".to_owned(), security);
    }
    let mut seen = json!({
        "calls": endpoint.calls,
        "clients": endpoint.clients,
        "first": endpoint.first,
        "last": endpoint.last,
    });
    if let Some(reviewed) = &endpoint.reviewed {
        seen["reviewed"] = json!(reviewed);
    }
    if endpoint.catch_all {
        seen["catch_all"] = true.into();
    }
    if !operations.is_empty() {
        seen["operations"] = operations.into();
    }
    written.insert("x-apitap".to_owned(), seen);
    written.into()
}

fn parameter(parameter: &Parameter) -> Value {
    let mut schema = match parameter.place.as_str() {
        "path" => path_schema(&parameter.types),
        _ => query_schema(&parameter.types),
    };
    if !parameter.enumeration.is_empty() {
        schema["enum"] = json!(parameter.enumeration);
    }
    if parameter.many {
        schema = json!({"type": "array", "items": schema});
    }
    json!({"name": parameter.name, "in": parameter.place, "required": parameter.required, "schema": schema})
}

/// By the kinds of values in a path.
fn path_schema(kinds: &[String]) -> Value {
    if are_all(kinds, &["int"]) {
        return json!({"type": "integer"});
    }
    if are_all(kinds, &["int", "number"]) {
        return json!({"type": "number"});
    }
    match kinds {
        [kind] if matches!(kind.as_str(), "uuid" | "email" | "date") => text(Some(kind)),
        _ => json!({"type": "string", "minLength": 1}),
    }
}

/// By the formats of values in a query.
fn query_schema(formats: &[String]) -> Value {
    if are_all(formats, &["digits"]) {
        return json!({"type": "integer"});
    }
    if are_all(formats, &["digits", "decimal"]) {
        return json!({"type": "number"});
    }
    if are_all(formats, &["boolean"]) {
        return json!({"type": "boolean"});
    }
    match formats {
        [format] => text(written_format(format)),
        _ => text(None),
    }
}

/// Whether there are names, and all are among those that are known.
fn are_all(names: &[String], known: &[&str]) -> bool {
    !names.is_empty() && names.iter().all(|name| known.contains(&name.as_str()))
}

/// A format that JSON Schema or OpenAPI has.
fn written_format(format: &str) -> Option<&str> {
    ["uuid", "date", "date-time", "email", "ipv4", "ipv6", "uri", "binary"].into_iter().find(|known| *known == format)
}

/// A text, with an example that is made up.
fn text(format: Option<&str>) -> Value {
    let Some(format) = format else { return json!({"type": "string"}) };
    if format == "binary" {
        return json!({"type": "string", "format": format});
    }
    let example = match format {
        "uuid" => "00000000-0000-4000-8000-000000000000",
        "date" => "2000-01-31",
        "date-time" => "2000-01-31T12:00:00Z",
        "email" => "user@example.com",
        "ipv4" => "192.0.2.1",
        "ipv6" => "2001:db8::1",
        _ => "https://example.com/",
    };
    json!({"type": "string", "format": format, "examples": [example]})
}

fn responses(endpoint: &Endpoint) -> Value {
    let mut responses = Map::new();
    for &status in endpoint.statuses.keys() {
        let good = (200..300).contains(&status);
        let mut response = json!({"description": description(status)});
        let told = !endpoint.response.media.is_empty() || endpoint.response.body.is_some();
        if good && !matches!(status, 204 | 205) && told {
            response["content"] = content(&endpoint.response.media, endpoint.response.body.as_ref());
        }
        responses.insert(status.to_string(), response);
    }
    if responses.is_empty() {
        responses.insert("default".to_owned(), json!({"description": "No status was seen"}));
    }
    responses.into()
}

fn description(status: u16) -> &'static str {
    match status / 100 {
        1 => "Interim",
        2 => "Good",
        3 => "Redirection or not modified",
        4 => "The client is at fault",
        _ => "The server is at fault",
    }
}

fn content(media: &[String], body: Option<&Schema>) -> Value {
    let mut content = Map::new();
    for media in media {
        let shaped = media.ends_with("json") || media.contains("form");
        let schema = body.filter(|_| shaped).map_or_else(|| json!({}), schema);
        content.insert(media.clone(), json!({"schema": schema}));
    }
    if content.is_empty() {
        content.insert("*/*".to_owned(), json!({"schema": body.map_or_else(|| json!({}), schema)}));
    }
    content.into()
}

/// As JSON Schema.
pub fn schema(of: &Schema) -> Value {
    let mut types: Vec<&str> = of.types.iter().map(Type::name).collect();
    if of.types.contains(Type::Number) {
        types.retain(|name| *name != "integer");
    }
    // Where it is an object or a list at times and something else at others, each is described by itself.
    let told = types.iter().filter(|name| **name != "null").count();
    let mut written = match told > 1 && types.iter().any(|name| matches!(*name, "array" | "object")) {
        true => {
            let each = types.iter().map(|name| Value::Object(of_types(of, &[name])));
            Map::from_iter([("oneOf".to_owned(), each.collect::<Vec<_>>().into())])
        }
        false => of_types(of, &types),
    };
    if !of.sensitive.is_empty() {
        written.insert("x-sensitive".to_owned(), json!(of.sensitive));
    }
    written.into()
}

/// What is said of those values that are of these types.
fn of_types(of: &Schema, types: &[&str]) -> Map<String, Value> {
    let mut written = Map::new();
    match types {
        [] => {}
        [one] => {
            written.insert("type".to_owned(), (*one).into());
        }
        several => {
            written.insert("type".to_owned(), several.into());
        }
    }
    if types.contains(&"string") {
        let texts: Vec<Format> = of.formats.iter().filter(|format| !format.is_of_numbers()).collect();
        if let [one] = texts.as_slice()
            && let Some(format) = written_format(one.name())
            && let Value::Object(text) = text(Some(format))
        {
            written.extend(text.into_iter().filter(|(key, _)| key != "type"));
        }
        if !of.values.is_empty() && types.iter().all(|one| matches!(*one, "string" | "null")) {
            let mut values: Vec<Value> = of.values.iter().map(|value| json!(value)).collect();
            if types.contains(&"null") {
                values.push(Value::Null);
            }
            written.insert("enum".to_owned(), values.into());
        }
    } else if of.formats.contains(Format::Int64) && !of.formats.contains(Format::Large) && types.contains(&"integer") {
        written.insert("format".to_owned(), "int64".into());
    }
    if !of.fields.is_empty() && types.contains(&"object") {
        let fields: Map<_, _> = of.fields.iter().map(|(name, field)| (name.clone(), schema(field))).collect();
        written.insert("properties".to_owned(), fields.into());
        let required: Vec<_> = of.fields.iter().filter(|(_, field)| !field.optional).map(|(name, _)| name).collect();
        if !required.is_empty() {
            written.insert("required".to_owned(), json!(required));
        }
    }
    if let Some(entries) = of.entries.as_ref().filter(|_| types.contains(&"object")) {
        written.insert("additionalProperties".to_owned(), schema(entries));
    }
    if let Some(items) = of.items.as_ref().filter(|_| types.contains(&"array")) {
        written.insert("items".to_owned(), schema(items));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_path_have_names_that_differ() {
        for (template, expected) in [
            ("/v1/users/{id}", "/v1/users/{user_id}"),
            ("/v1/users/{id}/orders/{id}", "/v1/users/{user_id}/orders/{order_id}"),
            ("/{id}/{id}", "/{id}/{id_2}"),
            ("/a/{id}/a/{id}", "/a/{a_id}/a/{a_id_2}"),
            ("/chat.post/{id}/{rest}", "/chat.post/{chat_post_id}/{rest}"),
            ("/class/{id}", "/class/{class_id}"),
        ] {
            assert_eq!(named(template), expected);
        }
    }

    #[test]
    fn identifiers_of_operations_differ_where_their_letters_do_not() {
        let endpoint = |method: &str, template: &str| Endpoint {
            method: method.into(),
            template: template.into(),
            ..Endpoint::default()
        };
        let all = [("GET", "/a-b"), ("GET", "/a.b"), ("GET", "/a_b"), ("GET", "/a_b_2"), ("PUT", "/a_b")];
        let document = document(&all.map(|(method, template)| endpoint(method, template)));
        let id = |method: &str, path: &str| document["paths"][path][method]["operationId"].clone();
        let all = all.map(|(method, path)| id(&method.to_ascii_lowercase(), path));
        assert_eq!(all, ["get_a_b", "get_a_b_2", "get_a_b_3", "get_a_b_2_2", "put_a_b"]);
    }

    #[test]
    fn servers_are_named_as_they_were_asked() {
        let text = |servers: &[&str]| -> Vec<String> { servers.iter().map(|one| (*one).to_owned()).collect() };
        let mut one = Endpoint {
            host: "a.example".into(),
            method: "GET".into(),
            template: "/".into(),
            calls: 1,
            servers: text(&["10.0.0.1:443", "10.0.0.1:80", "10.0.0.1:8080"]),
            tls_servers: text(&["10.0.0.1:443", "10.0.0.1:8080"]),
            clear_servers: text(&["10.0.0.1:8080"]),
            ..Endpoint::default()
        };
        let urls = |one: &Endpoint| {
            let document = document(std::slice::from_ref(one));
            let all = document["servers"].as_array().expect("servers").clone();
            all.iter().map(|server| server["url"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let all = ["http://a.example", "http://a.example:8080", "https://a.example", "https://a.example:8080"];
        assert_eq!(urls(&one), all);
        // One that was asked in clear only, elsewhere, was asked both ways.
        one.merge(Endpoint { servers: text(&["10.0.0.1:443"]), calls: 1, ..one.clone() }.without_tls());
        assert!(urls(&one).contains(&"http://a.example:443".to_owned()), "{:?}", urls(&one));
        let before: Endpoint =
            serde_json::from_str(r#"{"host":"a.example","servers":["10.0.0.1:8443"]}"#).expect("an old form");
        assert_eq!(urls(&before), ["http://a.example:8443"]);
    }

    impl Endpoint {
        fn without_tls(mut self) -> Endpoint {
            self.tls_servers.clear();
            self.clear_servers.clear();
            self
        }
    }

    #[test]
    fn schemas_are_those_of_json_schema() {
        let text = r#"{"types":["object"],"fields":{
            "id":{"types":["integer"],"formats":["int64"]},
            "price":{"types":["integer","number"]},
            "grains":{"types":["integer"],"formats":["int64","large"]},
            "mail":{"types":["null","string"],"formats":["email"],"optional":true,"sensitive":["email"]},
            "state":{"types":["string"],"formats":["word"],"values":["open","paid"]},
            "by_day":{"types":["object"],"entries":{"types":["integer"]}},
            "owner":{"types":["null","integer","string","object"],"formats":["int64","uuid"],
                "fields":{"id":{"types":["integer"]},"name":{"types":["string"],"optional":true}}},
            "tags":{"types":["array"],"items":{"types":["string"],"formats":["uuid","word"]}}}}"#;
        let of: Schema = serde_json::from_str(text).expect("a schema");
        let expected = json!({
            "type": "object",
            "required": ["by_day", "grains", "id", "owner", "price", "state", "tags"],
            "properties": {
                "id": {"type": "integer", "format": "int64"},
                "price": {"type": "number"},
                "grains": {"type": "integer"},
                "mail": {"type": ["null", "string"], "format": "email", "examples": ["user@example.com"],
                    "x-sensitive": ["email"]},
                "state": {"type": "string", "enum": ["open", "paid"]},
                "by_day": {"type": "object", "additionalProperties": {"type": "integer"}},
                "owner": {"oneOf": [
                    {"type": "null"},
                    {"type": "integer", "format": "int64"},
                    {"type": "string", "format": "uuid", "examples": ["00000000-0000-4000-8000-000000000000"]},
                    {"type": "object", "required": ["id"],
                        "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}}
                ]},
                "tags": {"type": "array", "items": {"type": "string"}}
            }
        });
        assert_eq!(schema(&of), expected);
    }
}
