//! Who comes back by the clock in connections that cannot be read, and who does so honestly.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Bench, address};
use crate::call::{Connection, FlowId, Peer, Tls, Traffic};
use crate::time::Timestamp;

const BROWSER: &str = "t13d1516h2_8daaf6152771_e5627efa2ab1";
const PROGRAM: &str = "t13d190900_9dc949149365_97f8aa674fd9";
const SERVERS: [&str; 3] = ["api.example", "cdn.example", "updates.example"];

/// A connection, before it is known when it comes.
struct Visit {
    /// Seconds from the beginning.
    at: f64,
    lasts: f64,
    client: u32,
    server: String,
    program: &'static str,
    bytes: u64,
}

/// Hours of a service, and who goes to it.
struct Day {
    random: StdRng,
    visits: Vec<Visit>,
    hours: f64,
    /// What comes by the clock is a page of a browser.
    page: bool,
}

impl Day {
    /// Twenty-four people who go to three servers when they like, with a few connections each time.
    fn of_people(seed: u64, hours: f64) -> Day {
        let mut day = Day { random: StdRng::seed_from_u64(seed), visits: Vec::new(), hours, page: false };
        for client in 0..24 {
            let mut at = day.exponential(300.0);
            while at < hours * 3_600.0 {
                let server = SERVERS[day.random.random_range(0..SERVERS.len())];
                for _ in 0..day.random.random_range(1..6) {
                    let bytes = (day.exponential(1.0) * 20_000.0) as u64 + 600;
                    let (at, lasts) = (at + day.random.random_range(0.0..2.0), day.random.random_range(0.2..40.0));
                    day.visits.push(Visit { at, lasts, client, server: server.into(), program: BROWSER, bytes });
                }
                at += day.exponential(180.0);
            }
        }
        day
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.random.random::<f64>()).ln()
    }

    /// A client that comes every `period` seconds from `from` hours on, give or take a part.
    fn clock(&mut self, client: u32, server: &str, from: f64, period: f64, jitter: f64) {
        let mut at = from * 3_600.0 + self.random.random_range(0.0..period);
        while at < self.hours * 3_600.0 {
            let bytes = 1_500 + self.random.random_range(0..80);
            let program = if self.page { BROWSER } else { PROGRAM };
            self.visits.push(Visit { at, lasts: 0.3, client, server: server.into(), program, bytes });
            at += period * (1.0 + jitter * self.random.random_range(-1.0..1.0));
        }
    }

    /// What comes of it.
    fn live(mut self) -> Bench {
        let mut bench = Bench::new();
        let begin = bench.now;
        let time = |seconds: f64| begin + Duration::from_secs_f64(seconds);
        self.visits.sort_by(|one, other| (one.at + one.lasts).total_cmp(&(other.at + other.lasts)));
        for visit in &self.visits {
            bench.visit(visit, time(visit.at), time(visit.at + visit.lasts));
        }
        bench
    }
}

impl Bench {
    fn visit(&mut self, visit: &Visit, start_time: Timestamp, end_time: Timestamp) {
        self.flow += 1;
        self.now = end_time;
        let connection = Connection {
            flow: FlowId(self.flow),
            start_time,
            end_time,
            client: Peer { ip: address(visit.client), port: 40_000 },
            server: Peer { ip: [10, 9, 9, 9].into(), port: 443 },
            handshake: true,
            sent: Traffic { segments: 5, bytes: 700, turns: 3 },
            received: Traffic { segments: 9, bytes: visit.bytes, turns: 3 },
            tls: Some(Arc::new(Tls {
                server_name: Some(visit.server.as_str().into()),
                ja4: Some(visit.program.into()),
                ..Tls::default()
            })),
            ..Connection::default()
        };
        self.detector.connection(&connection, &mut self.alerts);
    }
}

#[test]
fn a_beacon_is_found_where_nobody_else_is_regular() {
    for seed in 1..6 {
        for (period, jitter, hours, within) in
            [(20.0, 0.05, 6.0, 5.5), (60.0, 0.1, 8.0, 5.5), (300.0, 0.1, 10.0, 6.5), (1_800.0, 0.02, 22.0, 18.0)]
        {
            let mut day = Day::of_people(seed, hours);
            day.clock(7, "api.example", 3.0, period, jitter);
            let bench = day.live();
            let case = format!("seed {seed}, every {period} s");
            assert_eq!(bench.kinds(), [("leak.beacon", Some(address(7)))], "{case}");
            let alert = &bench.alerts[0];
            let hours = alert.ts.since(Timestamp::from_parts(1_772_460_000, 0)).as_secs_f64() / 3_600.0;
            assert!(hours < within, "{case}: after {hours:.1} h");
            assert_eq!(alert.host.as_deref(), Some("api.example"), "{case}");
            let sighting = alert.evidence.first().expect("a connection to look at");
            assert_eq!(sighting.ja4.as_deref(), Some(PROGRAM), "{case}");
            let told = alert.summary.split_once("one every ").and_then(|(_, told)| told.split_once(' '));
            let told: f64 = told.and_then(|(seconds, _)| seconds.parse().ok()).expect("a period");
            // Visits that were not as foretold are not among those that are told.
            assert!((0.95..1.2).contains(&(told / period)), "{case}: {}", alert.summary);
        }
    }
}

#[test]
fn people_and_who_comes_at_random_are_not_accused() {
    for seed in 1..6 {
        let mut day = Day::of_people(seed, 12.0);
        // A program that comes as often, but not by the clock.
        let mut at = 3.0 * 3_600.0;
        while at < 12.0 * 3_600.0 {
            let (server, bytes) = ("api.example".into(), 1_500);
            day.visits.push(Visit { at, lasts: 0.3, client: 7, server, program: PROGRAM, bytes });
            at += day.exponential(60.0);
        }
        let bench = day.live();
        assert!(bench.alerts.is_empty(), "seed {seed}: {:?}", bench.kinds());
    }
}

#[test]
fn pollers_and_monitoring_are_not_accused() {
    for seed in 1..6 {
        let mut day = Day::of_people(seed, 12.0);
        // A health check that was always there, and stands still for a while.
        day.clock(100, "api.example", 0.0, 30.0, 0.02);
        day.visits.retain(|visit| visit.client != 100 || !(4.0..5.0).contains(&(visit.at / 3_600.0)));
        // An update brings all people a program that asks for news.
        for person in 0..24 {
            day.clock(person, "updates.example", 3.0, 120.0, 0.05);
        }
        // Three of the people watch a service from now on.
        for person in 3..6 {
            day.clock(person, "cdn.example", 4.0, 60.0, 0.02);
        }
        // And one goes to a server that nobody else goes to.
        day.clock(9, "alone.example", 3.0, 60.0, 0.02);
        let bench = day.live();
        assert!(bench.alerts.is_empty(), "seed {seed}: {:?}", bench.kinds());
    }
}

#[test]
fn one_more_where_another_is_regular_takes_twice_as_long() {
    for seed in 1..6 {
        let mut day = Day::of_people(seed, 12.0);
        day.clock(100, "api.example", 0.0, 600.0, 0.02);
        day.clock(7, "api.example", 3.0, 600.0, 0.05);
        let bench = day.live();
        assert_eq!(bench.kinds(), [("leak.beacon", Some(address(7)))], "seed {seed}");
    }
}

#[test]
fn a_page_that_is_left_open_is_closed_in_the_evening() {
    for seed in 1..4 {
        for (until, found) in [(11.0, false), (30.0, true)] {
            let mut day = Day::of_people(seed, 30.0);
            // The people rest after ten hours.
            day.visits.retain(|visit| visit.at < 10.0 * 3_600.0);
            // Nobody works beside the page, whose visits would lie between.
            day.visits.retain(|visit| visit.client != 7 || visit.server != "api.example" || visit.at < 3.0 * 3_600.0);
            day.page = true;
            day.clock(7, "api.example", 3.0, 300.0, 0.02);
            day.visits.retain(|visit| visit.at < until * 3_600.0);
            let bench = day.live();
            let expected: &[_] = if found { &[("leak.beacon", Some(address(7)))] } else { &[] };
            assert_eq!(bench.kinds(), expected, "seed {seed}, until {until}");
        }
    }
}
