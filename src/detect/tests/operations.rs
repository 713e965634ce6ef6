//! One URL with many operations.

use super::*;
use crate::alert::Family;
use crate::call::{Operation, OperationError, OperationKind, Protocol, RequestValues};

impl Bench {
    /// A call of GraphQL at one URL.
    fn ask(&mut self, client: u32, status: u16, operation: Operation) {
        self.ask_for(client, status, Some(operation), "/graphql", None);
    }

    /// A call whose body asks for this object, with a token of the client's own.
    fn ask_for(&mut self, client: u32, status: u16, operation: Option<Operation>, path: &str, object: Option<u64>) {
        let call = Call {
            flow: FlowId(2),
            position: self.position,
            end_time: self.now,
            client: Peer { ip: address(client), port: 1 },
            method: "POST".into(),
            host: Some("api.example".into()),
            target: path.into(),
            path: path.into(),
            status: Some(status),
            credential: object.map(|_| Credential::new(CredentialKind::Bearer, Fingerprint(client.into()))),
            request_values: object.map(|object| {
                std::sync::Arc::new(RequestValues { object: Some(Fingerprint(object)), ..RequestValues::default() })
            }),
            latency: Some(0.01),
            user_agent: Some("agent".into()),
            completeness: Completeness { request: true, response: true, ..Completeness::default() },
            operation: operation.map(Box::new),
            ..Call::default()
        };
        self.position += 1;
        self.detector.call(&call, &mut self.alerts);
    }
}

fn query(name: &str, field: &str) -> Operation {
    Operation {
        kind: Some(OperationKind::Query),
        name: Some(name.into()),
        fields: vec![field.into()],
        ..Operation::default()
    }
}

fn introspection(number: u32) -> Operation {
    Operation { introspection: true, ..query(&format!("Q{number}"), "__schema") }
}

#[test]
fn one_url_with_many_operations_is_many_endpoints() {
    let mut bench = Bench::new();
    for round in 0..5 {
        for number in 0..300 {
            bench.ask(number % 7, 200, query(&format!("Screen{number}"), "items"));
        }
        bench.ask(round, 200, Operation::unread(crate::call::Protocol::GraphQl, crate::call::Unread::TooLarge));
        bench.wait(600);
    }
    let state = bench.detector.state();
    assert_eq!(state.endpoints.len(), 301);
    let titled = |title: &str| state.endpoints.iter().any(|(_, endpoint)| endpoint.title() == title);
    assert!(titled("POST /graphql query Screen7 {items}") && titled("POST /graphql"));
    assert!(bench.alerts.iter().all(|alert| alert.kind.family() != Family::Recon), "{:?}", bench.kinds());
}

#[test]
fn each_login_of_a_batch_is_an_attempt() {
    // Alone, so many calls are few; what several aliases ask for fails together.
    let error = |failed| (failed > 0).then_some(OperationError { status: 401, code: None });
    let batch = |count, failed| Operation {
        protocol: Protocol::JsonRpc,
        name: Some("auth.login".into()),
        count,
        failed: if count > 1 { failed } else { 0 },
        error: error(failed),
        ..Operation::default()
    };
    let aliases = |repeats, failed| Operation {
        kind: Some(OperationKind::Mutation),
        fields: vec!["login".into()],
        repeats,
        error: error(failed),
        ..Operation::default()
    };
    let accused = |operation: Operation| {
        let mut bench = Bench::lived_in();
        for _ in 0..2 {
            bench.ask(900, 200, operation.clone());
            bench.wait(60);
        }
        bench.alerts.iter().any(|alert| alert.kind == Technique::CredentialStuffing)
    };
    assert!(accused(batch(30, 30)) && accused(aliases(29, 30)));
    for harmless in [batch(1, 1), batch(30, 0), aliases(0, 1), aliases(29, 0)] {
        assert!(!accused(harmless.clone()), "{harmless:?}");
    }
    // A batch of several sorts does not say which of them failed.
    assert!(!accused(Operation { others: vec!["items".into()], ..batch(30, 30) }));
}

#[test]
fn introspection_is_schema_probing_answered_or_not() {
    for status in [200, 400] {
        let mut bench = Bench::lived_in();
        for number in 0..40 {
            bench.ask(900, status, introspection(number));
            bench.wait(60);
        }
        let alert = bench.only(Technique::SchemaProbing);
        assert_eq!(alert.client.as_ref().map(|client| client.ip), Some(address(900)));
    }
}

#[test]
fn a_developer_who_looks_at_the_schema_is_nobody_to_accuse() {
    let mut bench = Bench::lived_in();
    for round in 0..40 {
        bench.ask(3, 200, introspection(0));
        for number in 0..5 {
            bench.ask(3, 200, query(&format!("Screen{number}"), "items"));
        }
        bench.wait(30 + round);
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
}

/// A method of JSON-RPC, and how it came out although HTTP said 200.
fn method(name: &str, status: u16) -> Operation {
    let error = (status != 200).then(|| OperationError { status, code: Some("-1".into()) });
    Operation { protocol: Protocol::JsonRpc, name: Some(name.into()), error, ..Operation::default() }
}

#[test]
fn guessing_methods_is_seen_although_every_answer_is_200() {
    let mut bench = Bench::lived_in();
    for round in 0..40 {
        for person in 0..5 {
            bench.ask(person, 200, method("order.list", 200));
        }
        bench.ask(900, 200, method(&format!("admin.try{round}"), 404));
        bench.wait(60);
    }
    let alert = bench.only(Technique::PathEnumeration);
    assert_eq!(alert.client.as_ref().map(|client| client.ip), Some(address(900)));
}

#[test]
fn one_stale_method_and_a_server_that_fails_accuse_nobody() {
    let mut bench = Bench::lived_in();
    for round in 0..60 {
        bench.ask(3, 200, method("order.old", 404));
        bench.ask(4, 200, method("order.list", 200));
        bench.ask(5, 200, method(&format!("order.get{}", round % 9), if round % 4 == 0 { 500 } else { 200 }));
        bench.wait(60);
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
}

#[test]
fn a_batch_fails_where_half_of_it_does() {
    let batch = |failed: u32, name: String| Operation { count: 10, failed, ..method(&name, 404) };
    let mut bench = Bench::lived_in();
    for round in 0..40 {
        // One old name among ten that are there, whatever the page.
        bench.ask(3, 200, batch(1, format!("page.get{round}")));
        // One name that is there among ten that are guessed.
        bench.ask(900, 200, batch(9, format!("admin.try{round}")));
        bench.wait(60);
    }
    let alert = bench.only(Technique::PathEnumeration);
    assert_eq!(alert.client.as_ref().map(|client| client.ip), Some(address(900)));
    assert_eq!(bench.alerts.len(), 1, "{:?}", bench.kinds());
}

#[test]
fn objects_that_bodies_name_are_objects() {
    let rpc = |name: &str| Operation { protocol: Protocol::JsonRpc, name: Some(name.into()), ..Operation::default() };
    let found = |operation: Option<Operation>, path: &str, each: &dyn Fn(u64) -> u64| {
        let mut bench = Bench::lived_in();
        for _ in 0..3 {
            for person in 0..40 {
                bench.ask_for(person, 200, operation.clone(), path, Some(4_000 + u64::from(person)));
            }
            bench.wait(60);
        }
        for number in 0..120 {
            bench.ask_for(900, 200, operation.clone(), path, Some(each(number)));
            bench.wait(30);
        }
        bench.kinds().iter().any(|(kind, _)| *kind == Technique::ObjectEnumeration.name())
    };
    let others = |number| 9_000 + 31 * number;
    assert!(found(Some(query("Transactions", "transactions")), "/graphql", &others));
    assert!(found(Some(rpc("account.getStatement")), "/rpc", &others));
    assert!(found(None, "/api/getStatement", &others));
    // A few of its own, and what is written rather than read.
    assert!(!found(Some(query("Transactions", "transactions")), "/graphql", &|number| 9_000 + number % 3));
    assert!(!found(Some(rpc("account.transfer")), "/rpc", &others));
    assert!(!found(None, "/api/payments", &others));
}
