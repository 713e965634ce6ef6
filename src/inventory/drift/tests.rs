use std::collections::BTreeMap;

use serde_json::json;

use super::*;

/// One that was called 48 times, by a JSON form of the rest.
fn endpoint(rest: serde_json::Value) -> Endpoint {
    let mut whole = json!({"method": "POST", "host": "shop.example", "template": "/v1/orders", "calls": 48, "bodies": 48,
        "request": {"required": true, "body": {"types": ["object"]}}});
    if let (Some(whole), serde_json::Value::Object(rest)) = (whole.as_object_mut(), rest) {
        whole.extend(rest);
    }
    serde_json::from_value(whole).expect("an endpoint")
}

fn told(before: &Endpoint, now: &Endpoint) -> Vec<String> {
    let line = |change: &Change| {
        let effect = if change.breaking { "!" } else { "-" };
        format!("{effect} {} {} {}", change.kind, change.what, change.detail).trim_end().to_owned()
    };
    changes(std::slice::from_ref(before), std::slice::from_ref(now)).iter().map(line).collect()
}

fn none() -> Vec<String> {
    Vec::new()
}

#[test]
fn enumerations_and_formats_of_fields_are_compared() {
    let with = |side: &str, field: serde_json::Value| {
        endpoint(json!({side: {"required": true, "body": {"types": ["object"], "fields": {"a": field}}}}))
    };
    let state = |words: &[&str]| json!({"types": ["string"], "formats": ["word"], "values": words});
    let date = json!({"types": ["string"], "formats": ["date"]});
    let word = json!({"types": ["string"], "formats": ["word"]});
    for (side, effect) in [("request", "-"), ("response", "!")] {
        let (old, new) = (with(side, state(&["open", "paid"])), with(side, state(&["open", "void"])));
        assert_eq!(told(&old, &new), [format!("{effect} field_values a open|paid became open|void")]);
        // What is gone breaks nobody.
        let fewer = with(side, state(&["open"]));
        assert_eq!(told(&old, &fewer), ["- field_values a open|paid became open"]);
        assert_eq!(told(&old, &with(side, word.clone())), none());
        assert_eq!(told(&old, &old), none());
        let (old, new) = (with(side, date.clone()), with(side, word.clone()));
        assert_eq!(told(&old, &new), ["! field_formats a date became word"]);
        // Of what is there at times, much more has to be seen.
        let at_times = |field: &serde_json::Value| {
            let mut field = field.clone();
            field["optional"] = true.into();
            field
        };
        assert_eq!(told(&with(side, at_times(&date)), &with(side, at_times(&word))), none());
    }
    // So has of what lies within such a field, or a list.
    let inner = |field: &serde_json::Value, around: &str| {
        let nested = match around {
            "list" => json!({"types": ["array"], "items": field}),
            "null" => json!({"types": ["null", "object"], "fields": {"b": field}}),
            _ => json!({"types": ["object"], "fields": {"b": field}}),
        };
        with("response", nested)
    };
    assert_eq!(told(&inner(&date, "object"), &inner(&word, "object")), ["! field_formats a.b date became word"]);
    for around in ["list", "null"] {
        assert_eq!(told(&inner(&date, around), &inner(&word, around)), none(), "{around}");
        let many = |field| Endpoint { calls: 400, ..inner(field, around) };
        assert_eq!(told(&many(&date), &many(&word)).len(), 1, "{around}");
    }
}

#[test]
fn parameters_that_take_other_values_are_told() {
    let with = |types: &[&str], words: &[&str], required: bool| {
        endpoint(json!({"parameters": [
            {"in": "query", "name": "q", "required": required, "types": types, "enumeration": words}]}))
    };
    let (digits, uuid) = (with(&["digits"], &[], true), with(&["uuid"], &[], true));
    assert_eq!(told(&digits, &uuid), ["! parameter_types q digits became uuid"]);
    assert_eq!(told(&with(&["word"], &[], true), &uuid), ["- parameter_types q word became uuid"]);
    assert_eq!(told(&digits, &with(&["digits", "uuid"], &[], true)), ["- parameter_types q digits became digits|uuid"]);
    // What few calls have may look like this today and like that tomorrow.
    let at_times = (with(&["digits"], &[], false), with(&["uuid"], &[], false));
    assert_eq!(told(&at_times.0, &at_times.1), ["- parameter_types q digits became uuid"]);
    let (both, one) = (with(&["word"], &["asc", "desc"], true), with(&["word"], &["asc"], true));
    assert_eq!(told(&both, &one), ["- parameter_values q asc|desc became asc"]);
    assert_eq!(told(&one, &both), ["- parameter_values q asc became asc|desc"]);
}

#[test]
fn a_body_that_every_request_has_now_is_told_where_that_is_no_chance() {
    let with = |bodies: u64, calls: u64| {
        let required = bodies == calls;
        let bytes = (bodies > 0).then(|| json!({"p50": 9.0, "p90": 9.0, "p99": 9.0}));
        endpoint(json!({"calls": calls, "bodies": bodies, "request": {"required": required, "bytes": bytes}}))
    };
    assert_eq!(told(&with(36, 48), &with(48, 48)), ["! body_required"]);
    assert_eq!(told(&with(0, 48), &with(48, 48)), ["! body_required"]);
    assert_eq!(told(&with(47, 48), &with(48, 48)), none(), "one in fifty lacked it");
    assert_eq!(told(&with(36, 48), &with(5, 5)), none(), "too few");
    assert_eq!(told(&with(48, 48), &with(36, 48)), none());
    // An earlier version did not count them, logs do not tell of them, and what was lost is not known.
    let uncounted = Endpoint { bodies: 0, ..with(36, 48) };
    assert_eq!(told(&uncounted, &with(48, 48)), none());
    let log = Endpoint { partial_heads: 48, ..with(0, 48) };
    assert_eq!(told(&log, &with(48, 48)), none());
    let lost = Endpoint { incomplete_share: 0.25, ..with(36, 48) };
    assert_eq!(told(&lost, &with(48, 48)), none());
}

#[test]
fn a_credential_that_is_demanded_now_breaks_who_has_none() {
    let with = |auth: &[(&str, u64)]| Endpoint {
        auth: auth.iter().map(|(kind, calls)| ((*kind).to_owned(), *calls)).collect::<BTreeMap<_, _>>(),
        ..endpoint(json!({}))
    };
    let (open, both, closed) = (with(&[("none", 48)]), with(&[("bearer", 9), ("none", 39)]), with(&[("bearer", 48)]));
    assert_eq!(told(&open, &closed), ["- auth_new bearer", "! auth_gone none"]);
    assert_eq!(told(&both, &closed), ["- auth_gone none"], "who had none may only not have called");
    assert_eq!(told(&open, &both), ["- auth_new bearer"]);
    assert_eq!(told(&closed, &open), ["- auth_new none", "- auth_gone bearer"]);
}

#[test]
fn an_inventory_of_an_earlier_version_is_read() {
    let line = r#"{"schema":"apitap.endpoint.v1","host":"h","servers":[],"method":"POST","template":"/a","parameters":[],
        "request":{"media":["application/json"],"required":true},"statuses":{"200":5},"auth":{},"http":["1.1"],"calls":5,
        "calls_per_hour":1.0,"clients":1,"first":"2026-03-02T14:00:00Z","last":"2026-03-02T14:00:00Z"}"#;
    let endpoint: Endpoint = serde_json::from_str(line).expect("it is read");
    assert_eq!((endpoint.bodies, endpoint.request.required), (0, true));
}
