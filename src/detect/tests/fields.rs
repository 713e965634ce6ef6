//! Fields that nobody else writes.

use std::sync::Arc;

use super::{Bench, address};
use crate::alert::Technique;
use crate::call::{BodyShape, Call, Completeness, Credential, CredentialKind, Fingerprint, Peer, Shape};

/// The shape of an object with these fields.
fn shape(fields: &[&str]) -> Arc<BodyShape> {
    let nodes = fields.iter().map(|field| format!(r#",{{"in":0,"field":"{field}","types":["string"]}}"#));
    let text = format!(r#"{{"nodes":[{{"types":["object"]}}{}]}}"#, nodes.collect::<String>());
    Arc::new(serde_json::from_str(&text).expect("a shape"))
}

/// A call with these bodies.
fn exchange(bench: &mut Bench, client: u32, method: &str, path: &str, shape: Shape) {
    let call = Call {
        position: client,
        end_time: bench.now,
        client: Peer { ip: address(client), port: 1 },
        method: method.into(),
        host: Some("api.example".into()),
        target: path.into(),
        path: path.into(),
        status: Some(200),
        user_agent: Some("Mozilla/5.0".into()),
        credential: Some(Credential::new(CredentialKind::Bearer, Fingerprint(u64::from(client)))),
        shape: Some(Box::new(shape)),
        completeness: Completeness { request: true, response: true, ..Completeness::default() },
        ..Call::default()
    };
    bench.detector.call(&call, &mut bench.alerts);
    bench.wait(10);
}

/// A write with these fields.
fn write(bench: &mut Bench, client: u32, path: &str, fields: &[&str]) {
    exchange(bench, client, "PUT", path, Shape { request: Some(shape(fields)), ..Shape::default() });
}

/// An answer with these fields.
fn read(bench: &mut Bench, client: u32, path: &str, fields: &[&str]) {
    exchange(bench, client, "GET", path, Shape { response: Some(shape(fields)), ..Shape::default() });
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

/// What answers usually have.
const PROFILE: [&str; 4] = ["id", "name", "city", "joined"];
const TEAM: [&str; 3] = ["id", "title", "members"];

/// Everybody reads profiles and teams; what they get may depend on the round and on who it is.
fn read_all(bench: &mut Bench, rounds: u32, more: fn(u32, u32) -> &'static [&'static str]) {
    for round in 0..rounds {
        for person in 0..40 {
            read(bench, person, "/v1/profile", &[&PROFILE, more(round, person)].concat());
            read(bench, person, "/v1/team", &TEAM);
        }
    }
}

#[test]
fn answers_with_what_nobody_else_gets_are_found() {
    let none: fn(u32, u32) -> &'static [&'static str] = |_, _| &[];
    // What says what somebody may do, and a view of its own with far more fields than others get.
    let privileges: &[&str] = &["id", "name", "password", "role", "is_admin", "credit_balance"];
    let view: &[&str] = &["id", "a_note", "b_note", "c_note", "d_note", "e_note", "f_note", "g_note", "h_note"];
    for extra in [privileges, view] {
        let mut bench = Bench::lived_in();
        read_all(&mut bench, 3, none);
        for path in ["/v1/profile", "/v1/team", "/v1/profile", "/v1/team"] {
            read(&mut bench, 900, path, extra);
            read_all(&mut bench, 1, none);
        }
        let alert = bench.only(Technique::ExcessFields);
        assert_eq!(alert.client.map(|client| client.ip), Some(address(900)));
        assert!(alert.owasp.iter().any(|id| id == "API3:2023"));
    }
}

#[test]
fn answers_after_a_deploy_and_objects_with_options_accuse_nobody() {
    let mut bench = Bench::lived_in();
    read_all(&mut bench, 3, |_, _| &[]);
    // A new version, which one client is the first to see at every endpoint, and all others after it.
    let version: &[&str] = &["id", "role", "plan", "balance", "verified", "tier", "a", "b", "c", "d"];
    for path in ["/v1/profile", "/v1/team"] {
        read(&mut bench, 5, path, version);
    }
    read_all(&mut bench, 3, |_, _| &["role", "plan", "balance", "verified", "tier", "a", "b", "c", "d"]);
    for path in ["/v1/profile", "/v1/team"] {
        read(&mut bench, 5, path, version);
    }
    // An object of one person that has what no other has, day after day.
    for _ in 0..30 {
        read(&mut bench, 7, "/v1/profile", &["id", "name", "nickname", "motto", "verified_until"]);
        read_all(&mut bench, 1, |_, _| &[]);
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
}

#[test]
fn fields_beyond_the_limits_are_counted() {
    let mut bench = Bench::new();
    let names: Vec<String> = (0..300).map(|number| format!("field_{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let left_out = |bench: &Bench| bench.detector.counters().value(crate::stats::Counter::FieldsLeftOut);
    write(&mut bench, 1, "/v1/profile", &names[..64]);
    read(&mut bench, 1, "/v1/profile", &names[..255]);
    assert_eq!(left_out(&bench), 0);
    // Of the first 127 fields 64 are remembered, and 73 are beyond.
    write(&mut bench, 1, "/v1/profile", &names[..200]);
    assert_eq!(left_out(&bench), 63 + 73);
    read(&mut bench, 1, "/v1/profile", &names);
    assert_eq!(left_out(&bench), 63 + 73 + 45);
}
