use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::Settings;
use super::super::report::Operation;
use super::super::tests::{answering, call, inventory};
use super::Event;
use crate::call::{Call, Record};
use crate::inventory::review::Review;
use crate::stats::Counter;
use crate::time::Timestamp;

const LEARNING: u64 = 1_000;

/// What is told of these calls, when learning lasts [`LEARNING`] seconds.
fn told(calls: &[Call], baseline: Option<&[super::super::report::Endpoint]>) -> Vec<Event> {
    told_beside(calls, baseline, None).0
}

/// The same in the light of a review, and how much is no news because of it.
fn told_beside(
    calls: &[Call],
    baseline: Option<&[super::super::report::Endpoint]>,
    review: Option<Review>,
) -> (Vec<Event>, u64) {
    let mut settings = Settings::default();
    settings.events.learning_seconds = LEARNING;
    let mut inventory = inventory(&settings);
    inventory.watch(&settings, baseline);
    if let Some(review) = review {
        inventory.review(review);
    }
    let (mut events, mut alerts) = (Vec::new(), Vec::new());
    for one in calls {
        inventory.watched(&Record::from(one.clone()), &mut events, &mut alerts, |_, _| {});
    }
    inventory.finish(&mut events);
    let reviewed = inventory.counters().value(Counter::EventsReviewed);
    (events, reviewed)
}

fn lines(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| {
        let field = event.field.as_deref().unwrap_or("-");
        let classes: Vec<_> = event.sensitive.iter().map(String::as_str).collect();
        format!("{} {} {}{} {field} {}", event.kind, event.method, event.host, event.template, classes.join(","))
    };
    events.iter().map(line).collect()
}

const PLAIN: &str = r#"{"items":[{"id":1,"name":"x y"}]}"#;
const WITH_MAIL: &str = r#"{"items":[{"id":1,"name":"x y","mail":"ana@example.com"}]}"#;

/// A day of calls: the first thousand seconds the same, then what is new.
fn day() -> Vec<Call> {
    let mut calls: Vec<_> =
        (0..100).map(|number| answering(call(number % 8, 10 * number, "GET", "/v1/orders/1"), PLAIN)).collect();
    for number in 0..20 {
        let second = 1_100 + 100 * number;
        calls.push(answering(call(number % 8, second, "GET", "/v1/orders/2"), WITH_MAIL));
        calls.push(answering(call(number % 8, second + 1, "GET", "/v1/users/3"), WITH_MAIL));
    }
    calls
}

#[test]
fn what_is_new_is_told_once_and_after_learning() {
    let events = told(&day(), None);
    let expected = [
        "sensitive_new GET shop.example/v1/orders/{id} items[].mail email",
        "endpoint_new GET shop.example/v1/users/{id} - email",
    ];
    assert_eq!(lines(&events), expected);
    let waited = events[0].ts.since(events[0].first).as_secs();
    assert!((600..700).contains(&waited), "{waited}");
    assert_eq!((events[1].calls > 3, events[1].auth["none"] > 3), (true, true));
    // All of it within the time of learning.
    let early: Vec<_> = day().into_iter().take(104).collect();
    assert_eq!(told(&early[..100], None), Vec::new());
    let text = serde_json::to_string(&events[0]).expect("plain data");
    assert!(text.starts_with(r#"{"schema":"apitap.event.v1","ts":"#), "{text}");
    assert_eq!(serde_json::from_str::<Event>(&text).expect("what was written"), events[0]);
}

#[test]
fn what_is_in_the_baseline_is_not_new() {
    let all = day();
    let mut known = inventory(&Settings::default());
    let records: Vec<_> = all.iter().cloned().map(Record::from).collect();
    known.records(&records);
    let whole = known.report();
    assert_eq!(told(&all, Some(&whole)), Vec::new());
    let orders: Vec<_> = whole.iter().filter(|one| one.template.contains("orders")).cloned().collect();
    assert_eq!(lines(&told(&all, Some(&orders))), ["endpoint_new GET shop.example/v1/users/{id} - email"]);
    let mut plain = whole.clone();
    for one in &mut plain {
        let body = one.response.body.as_mut().and_then(|body| body.fields.get_mut("items")?.items.as_mut());
        body.expect("items").fields.remove("mail");
    }
    let expected = [
        "sensitive_new GET shop.example/v1/users/{id} items[].mail email",
        "sensitive_new GET shop.example/v1/orders/{id} items[].mail email",
    ];
    let mut found = lines(&told(&all, Some(&plain)));
    found.sort_by(|one, other| other.cmp(one));
    assert_eq!(found, expected);
}

#[test]
fn who_only_scans_makes_no_news() {
    let mut calls: Vec<_> = (0..200).map(|number| call(number % 10, 10 * number, "GET", "/v1/home")).collect();
    for number in 0..200u32 {
        let (one, two) = (char::from(b'a' + (number % 20) as u8), char::from(b'a' + (number / 20) as u8));
        let mut probe = call(99, 2_000 + number, "GET", &format!("/probe{one}{two}"));
        if number % 10 != 0 {
            probe.status = Some(404);
        }
        calls.push(probe);
    }
    assert_eq!(told(&calls, None), Vec::new());
}

#[test]
fn what_is_asked_for_by_address_is_no_news_where_it_is_known_by_name() {
    let mut calls: Vec<_> = (0..100).map(|number| call(number % 8, 11 * number, "GET", "/v1/items/7")).collect();
    for number in 0..20 {
        let host: Option<Arc<str>> = if number % 2 == 0 { Some("10.0.0.1:8080".into()) } else { None };
        let path = if number % 4 < 2 { "/v1/items/9" } else { "/healthz" };
        calls.push(Call { host, ..call(number % 8, 1_200 + number, "GET", path) });
    }
    assert_eq!(lines(&told(&calls, None)), ["endpoint_new GET shop.example/healthz - "]);
}

#[test]
fn words_that_become_a_known_parameter_are_no_news() {
    let product = |number: u32, second: u32| {
        let word = format!(
            "/products/{}{}",
            ["blue", "red", "old", "new"][number as usize % 4],
            char::from(b'a' + (number / 4 % 20) as u8)
        );
        let body = format!(r#"{{"name":"{}","price":1.5}}"#, "x".repeat(250 + number as usize % 30));
        let mut one = answering(call(number % 30, second, "GET", &word), &body);
        one.response.body_bytes = 260 + u64::from(number % 30);
        one
    };
    // All but the last words come while it learns.
    let mut calls: Vec<_> = (0..240).map(|number| product(number % 60, 4 * number)).collect();
    calls.extend((0..80).map(|number| product(number, 1_000 + 10 * number)));
    assert_eq!(told(&calls, None), Vec::new());
}

#[test]
fn limits_are_kept_and_counted() {
    let events = super::Settings { learning_seconds: 0, settle_seconds: 1_000_000, known: 40, waiting: 5 };
    let settings = Settings { events, ..Settings::default() };
    let mut inventory = inventory(&settings);
    inventory.watch(&settings, None);
    let (mut events, mut alerts) = (Vec::new(), Vec::new());
    for number in 0..200u32 {
        let target = format!("/{}/{}", char::from(b'a' + (number % 20) as u8), char::from(b'a' + (number / 20) as u8));
        inventory.watched(&call(number % 100, number, "GET", &target).into(), &mut events, &mut alerts, |_, _| {});
    }
    let counters = inventory.counters();
    assert!(counters.value(crate::stats::Counter::EventsUntold) > 100);
    assert!((30..=40).contains(&events.len()), "those that had no room to wait were told: {}", events.len());
}

#[test]
fn ids_and_sentences_say_what_is_new() {
    let field = Event::sample();
    assert_eq!(field.summary(), "email is new in items[].mail in answers of GET /v1/orders/{id} of shop.example.");
    let whole = Event { field: Some(String::new()), side: Some("request".into()), ..field.clone() };
    assert_eq!(whole.summary(), "email is new in requests of GET /v1/orders/{id} of shop.example.");
    let operation = Some(Operation { protocol: "graphql".into(), name: "query Orders".into() });
    let endpoint = Event { kind: "endpoint_new".into(), side: None, field: None, operation, ..field.clone() };
    assert_eq!(endpoint.summary(), "GET /v1/orders/{id} of shop.example (query Orders) is new, with email.");
    // The same thing that comes anew is another line about it; how often it came by then makes no difference.
    let again = Event { first: Timestamp::from_parts(1_772_470_000, 0), ..field.clone() };
    assert_eq!((again.subject_id(), again.line_id() != field.line_id()), (field.subject_id(), true));
    let later = Event { calls: 9, ts: Timestamp::from_parts(1_772_470_000, 0), ..field.clone() };
    assert_eq!(later.line_id(), field.line_id());
    let class = Event { sensitive: BTreeSet::from(["iban".to_owned()]), ..field.clone() };
    let subjects: BTreeSet<_> = [&field, &whole, &endpoint, &class].map(|event| event.subject_id()).into();
    assert_eq!(subjects.len(), 4);
    let grown = Event { sensitive: BTreeSet::new(), ..endpoint.clone() };
    assert_eq!(grown.subject_id(), endpoint.subject_id());
}

#[test]
fn what_people_say_is_no_news() {
    let said = |what: &str| {
        let text = format!("[[endpoint]]\nservice = \"shop.example\"\ntemplate = \"/v1/users/{{id}}\"\n{what}\n");
        let review = Review::parse(std::path::Path::new("review.toml"), text).expect("a review");
        let (events, reviewed) = told_beside(&day(), None, Some(review));
        (lines(&events), reviewed)
    };
    let orders = "sensitive_new GET shop.example/v1/orders/{id} items[].mail email";
    let users = "endpoint_new GET shop.example/v1/users/{id} - email";
    let plain = "endpoint_new GET shop.example/v1/users/{id} - ";
    let expected =
        |all: &[&str], reviewed: u64| (all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>(), reviewed);
    assert_eq!(said("ignore = true"), expected(&[orders], 1));
    assert_eq!(said("sensitive = false"), expected(&[orders, plain], 0));
    assert_eq!(said("sensitive = true"), expected(&[orders, users], 0));
    // Of a field alone.
    let text = "[[endpoint]]\ntemplate = \"/v1/orders/*\"\nsensitive = false\n".to_owned();
    let review = Review::parse(std::path::Path::new("review.toml"), text).expect("a review");
    let (events, reviewed) = told_beside(&day(), None, Some(review));
    assert_eq!((lines(&events), reviewed), expected(&[users], 1));
}
