//! Fields that nobody else writes.

use std::sync::Arc;

use super::{Bench, address};
use crate::alert::Technique;
use crate::call::{BodyShape, Call, Completeness, Credential, CredentialKind, Fingerprint, Peer, Shape};

/// A write with these fields.
fn write(bench: &mut Bench, client: u32, path: &str, fields: &[&str]) {
    let nodes = fields.iter().map(|field| format!(r#",{{"in":0,"field":"{field}","types":["string"]}}"#));
    let text = format!(r#"{{"nodes":[{{"types":["object"]}}{}]}}"#, nodes.collect::<String>());
    let shape: BodyShape = serde_json::from_str(&text).expect("a shape");
    let call = Call {
        position: client,
        end_time: bench.now,
        client: Peer { ip: address(client), port: 1 },
        method: "PUT".into(),
        host: Some("api.example".into()),
        target: path.into(),
        path: path.into(),
        status: Some(200),
        user_agent: Some("Mozilla/5.0".into()),
        credential: Some(Credential::new(CredentialKind::Bearer, Fingerprint(u64::from(client)))),
        shape: Some(Box::new(Shape { request: Some(Arc::new(shape)), ..Shape::default() })),
        completeness: Completeness { request: true, response: true, ..Completeness::default() },
        ..Call::default()
    };
    bench.detector.call(&call, &mut bench.alerts);
    bench.wait(10);
}

/// People who change their profiles and their teams.
fn lived_in() -> Bench {
    let mut bench = Bench::lived_in();
    for round in 0..4 {
        for person in 0..40 {
            let optional: &[&str] =
                if (person + round) % 13 == 0 { &["name", "phone", "bio"] } else { &["name", "phone"] };
            write(&mut bench, person, "/v1/profile", optional);
            write(&mut bench, person, "/v1/team", &["title", "members"]);
        }
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
    bench
}

#[test]
fn privileges_that_nobody_else_writes_are_mass_assignment() {
    let mut bench = lived_in();
    for (path, field) in [
        ("/v1/profile", "role"),
        ("/v1/profile", "isAdmin"),
        ("/v1/profile", "account_balance"),
        ("/v1/team", "permissions"),
        ("/v1/team", "verified"),
    ] {
        write(&mut bench, 900, path, &["name", field]);
        bench.wait(1_800);
    }
    let alert = bench.only(Technique::MassAssignment);
    assert_eq!(alert.client.map(|client| client.ip), Some(address(900)));
    assert!(alert.owasp.iter().any(|id| id == "API3:2023"));
}

#[test]
fn what_is_new_for_all_and_what_is_seldom_used_accuse_nobody() {
    let mut bench = lived_in();
    // A new version: the first of many, with two privileges in one form, and somebody with every option.
    for person in 0..40 {
        write(&mut bench, person, "/v1/profile", &["name", "phone", "role", "verified", "theme", "locale"]);
    }
    write(&mut bench, 3, "/v1/team", &["title", "members", "colour", "motto", "place", "day", "hour", "badge", "song"]);
    write(&mut bench, 4, "/v1/team", &["title", "status"]);
    // An endpoint of which little is known.
    for person in 0..5 {
        write(&mut bench, person, "/v1/grants", &["role", "is_admin", "permissions"]);
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
}
