//! Connections in TLS of which nothing is known but who calls whom, and how much comes back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Bench, address};
use crate::alert::{Scope, Technique};
use crate::call::{Connection, FlowId, Peer, Tls, Traffic};

impl Bench {
    fn connection(&mut self, client: u32, name: &str, bytes: u64, part: u32) {
        self.talk(client, name, "t13d1516h2_8daaf6152771_e5627efa2ab1", (bytes, 3), part);
    }

    /// The record of a connection in which so many bytes and turns have come since the one before.
    fn talk(&mut self, client: u32, name: &str, ja4: &str, (bytes, turns): (u64, u64), part: u32) {
        let (before, turns_before) = (bytes * u64::from(part), turns * u64::from(part));
        self.flow += 1;
        let connection = Connection {
            flow: FlowId(self.flow),
            start_time: self.now,
            end_time: self.now,
            client: Peer { ip: address(client), port: 40_000 },
            server: Peer { ip: [10, 9, 9, 9].into(), port: 443 },
            handshake: true,
            sent: Traffic { segments: 5, bytes: 900, turns: turns_before + turns },
            received: Traffic { segments: 9, bytes: before + bytes, turns: turns_before + turns },
            received_before: before,
            turns_before,
            part,
            tls: Some(Arc::new(Tls { server_name: Some(name.into()), ja4: Some(ja4.into()), ..Tls::default() })),
            ..Connection::default()
        };
        self.detector.connection(&connection, &mut self.alerts);
    }

    /// An hour of thirty browsers, each of which opens six connections to a host at once, every two minutes.
    fn browsers() -> Bench {
        let mut bench = Bench::new();
        for _ in 0..30 {
            for person in 0..30 {
                for host in 0..6 {
                    bench.connection(person, ["api.example", "cdn.example"][host % 2], 20_000 + 7_000 * host as u64, 0);
                }
                bench.now = bench.now + Duration::from_secs(4);
            }
        }
        bench
    }
}

#[test]
fn browsers_and_pools_are_not_accused() {
    let mut bench = Bench::browsers();
    // A gateway opens its pool, which stays open and carries much.
    for _ in 0..32 {
        bench.connection(200, "api.example", 9_000, 0);
    }
    for minute in 1..30 {
        for _ in 0..32 {
            bench.connection(200, "api.example", 40_000, minute);
        }
        bench.wait(60);
    }
    // An office that begins to work.
    for person in 300..340 {
        for _ in 0..6 {
            bench.connection(person, "api.example", 30_000, 0);
        }
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
}

#[test]
fn a_flood_of_connections_is_found() {
    let mut bench = Bench::browsers();
    for second in 0..60 {
        for _ in 0..40 {
            bench.connection(77, "api.example", 5_000, 0);
        }
        bench.wait(1);
        if !bench.alerts.is_empty() {
            assert!(second < 30, "found after {second} s");
            break;
        }
    }
    assert_eq!(bench.kinds(), [("flood.volumetric", Some(address(77)))]);
    let alert = &bench.alerts[0];
    let sighting = alert.evidence.last().expect("what it rests on");
    assert_eq!(sighting.server_name.as_deref(), Some("api.example"));
    assert_eq!(sighting.ja4.as_deref(), Some("t13d1516h2_8daaf6152771_e5627efa2ab1"));
}

#[test]
fn a_bulk_read_in_one_connection_is_found() {
    let mut bench = Bench::browsers();
    for minute in 0..30 {
        bench.connection(77, "api.example", 200_000_000, minute);
        bench.wait(60);
    }
    assert_eq!(bench.kinds(), [("leak.bulk_read", Some(address(77)))]);
}

#[test]
fn a_flood_in_connections_that_are_kept_open_is_found() {
    let mut bench = Bench::browsers();
    for _ in 0..50 {
        bench.talk(77, "api.example", "t13d0000", (300_000, 1_500), 0);
    }
    let kinds = bench.kinds();
    assert!(!kinds.is_empty());
    assert!(kinds.iter().all(|&kind| kind == ("flood.volumetric", Some(address(77)))), "{kinds:?}");
}

#[test]
fn people_who_keep_a_connection_open_are_not_accused() {
    let mut bench = Bench::browsers();
    for minute in 0..60 {
        // A busy page in one connection each, and a line on which a message goes to and fro every second.
        for person in 100..103 {
            bench.talk(person, "app.example", "t13d1111", (90_000, 40), minute);
        }
        bench.talk(103, "chat.example", "t13d1111", (9_000, 60), minute);
        bench.wait(60);
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
}

#[test]
fn flooders_with_one_hello_are_one_campaign() {
    let mut bench = Bench::browsers();
    for client in 400..412 {
        for _ in 0..50 {
            bench.talk(client << 8, "api.example", "t13d2222", (300_000, 1_500), 0);
        }
    }
    let campaign = bench.alerts.iter().rfind(|alert| alert.kind == Technique::Distributed).expect("a campaign");
    assert_eq!(campaign.scope, Scope::Campaign);
    assert!(campaign.clients.len() >= 8 && campaign.summary.contains("t13d2222"), "{campaign:?}");
    let alone = bench.alerts.iter().filter(|alert| alert.kind == Technique::Volumetric);
    let alone: BTreeSet<_> = alone.filter_map(|alert| alert.client.map(|client| client.ip)).collect();
    assert!(alone.len() < 5, "{alone:?} are told alone");
}
