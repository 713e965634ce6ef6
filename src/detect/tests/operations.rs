//! One URL with many operations.

use super::*;
use crate::alert::Family;
use crate::call::{Operation, OperationKind};

impl Bench {
    /// A call of GraphQL at one URL.
    fn ask(&mut self, client: u32, status: u16, operation: Operation) {
        let call = Call {
            flow: FlowId(2),
            position: self.position,
            end_time: self.now,
            client: Peer { ip: address(client), port: 1 },
            method: "POST".into(),
            host: Some("api.example".into()),
            target: "/graphql".into(),
            path: "/graphql".into(),
            status: Some(status),
            latency: Some(0.01),
            user_agent: Some("agent".into()),
            completeness: Completeness { request: true, response: true, ..Completeness::default() },
            operation: Some(Box::new(operation)),
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
