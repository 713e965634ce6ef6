//! Three incidents that became known, in traffic that a generator makes of a seed: how many clients there are, what they do, at
//! what pace and how often the attacker does it differ from seed to seed. Each has a twin in which nothing happens but
//! what looks most like it.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::{Bench, Get, address, get};
use crate::alert::{Alert, Scope};
use crate::call::CredentialKind;

/// Seconds of a day.
const DAY: u32 = 86_400;

/// Seeds of each scenario.
const SEEDS: std::ops::Range<u64> = 1..13;

/// Clients from here on are not honest.
const HOSTILE: u32 = 5_000;

/// Calls to be made, each at its second.
#[derive(Default)]
struct Traffic<'a>(Vec<(u32, Get<'a>)>);

impl<'a> Traffic<'a> {
    fn at(&mut self, second: f64, call: Get<'a>) {
        self.0.push((second.max(0.0) as u32, call));
    }

    /// Makes the calls in the order of their times.
    fn play(mut self) -> Bench {
        self.0.sort_by_key(|&(second, call)| (second, call.client));
        let (mut bench, mut past) = (Bench::new(), 0);
        for (second, call) in self.0 {
            bench.wait(u64::from(second - past));
            past = second;
            bench.call(call);
        }
        bench
    }
}

/// A second of a working day.
fn office_hours(random: &mut StdRng, day: u32) -> f64 {
    f64::from(day * DAY) + random.random_range(8.0 * 3_600.0..19.0 * 3_600.0)
}

fn by_kind(bench: &Bench) -> Vec<(&'static str, Option<String>)> {
    let who = |alert: &Alert| alert.client.map(|client| client.ip.to_string()).or(alert.endpoint.clone());
    bench.alerts.iter().map(|alert| (alert.kind.name(), who(alert))).collect()
}

/// What a service of lookups is like.
struct Directory {
    method: &'static str,
    path: &'static str,
    class: &'static str,
    tokens: bool,
    days: u32,
    people: u32,
}

impl Directory {
    fn of(random: &mut StdRng) -> Directory {
        let get = random.random_bool(0.5);
        let paths = ["/v1/users/lookup", "/api/contacts/search", "/account/exists", "/1.1/users/find"];
        Directory {
            method: if get { "GET" } else { "POST" },
            path: paths.choose(random).copied().unwrap_or_default(),
            class: if random.random_bool(0.5) { "email" } else { "phone" },
            tokens: random.random_bool(0.6),
            days: random.random_range(3..6),
            people: random.random_range(40..140),
        }
    }

    fn token(&self, client: u32) -> Option<u64> {
        self.tokens.then_some(u64::from(client))
    }

    fn ask(&self, client: u32, person: u64, there: bool) -> Get<'static> {
        Get {
            method: self.method,
            status: Some(if there { 200 } else { 404 }),
            token: self.token(client),
            asks: Some((self.class, person)),
            ..get(client, self.path)
        }
    }

    /// People who look up the few whom they know, again and again.
    fn live(&self, random: &mut StdRng, traffic: &mut Traffic<'_>) {
        for client in 0..self.people {
            // One in ten knows many.
            let known = if random.random_bool(0.1) { random.random_range(12..36) } else { random.random_range(1..9) };
            for day in 0..self.days {
                for _ in 0..random.random_range(3..14) {
                    let time = office_hours(random, day);
                    let path = ["/v1/me", "/v1/feed", "/v1/messages"].choose(random).copied().unwrap_or_default();
                    traffic.at(time, Get { token: self.token(client), ..get(client, path) });
                }
                for _ in 0..random.random_range(0..6) {
                    let person = u64::from(client) * 1_000 + random.random_range(0..known);
                    traffic.at(office_hours(random, day), self.ask(client, person, random.random_bool(0.85)));
                }
            }
        }
    }
}

#[test]
fn accounts_that_are_looked_up_by_address_for_days() {
    for seed in SEEDS {
        let mut random = StdRng::seed_from_u64(seed);
        let directory = Directory::of(&mut random);
        let mut traffic = Traffic::default();
        directory.live(&mut random, &mut traffic);
        let members = random.random_range(1..5);
        let rate = random.random_range(10.0..30.0); // an hour, by each
        let there = random.random_range(0.2..0.95);
        for client in HOSTILE..HOSTILE + members {
            let mut fresh = u64::from(client) * 1_000_000;
            for day in 1..directory.days {
                let begin = f64::from(day * DAY) + 9.0 * 3_600.0;
                let mut time = begin;
                while time < begin + 9.0 * 3_600.0 {
                    fresh += 1;
                    traffic.at(time, directory.ask(client, fresh, random.random_bool(there)));
                    time += 3_600.0 / rate * random.random_range(0.3..1.7);
                }
            }
        }
        let bench = traffic.play();
        for client in HOSTILE..HOSTILE + members {
            assert!(
                bench.alerts.iter().any(|alert| alert.client.is_some_and(|found| found.ip == address(client))),
                "seed {seed}: {client} of {members} is not among {:?}",
                by_kind(&bench)
            );
        }
        let honest = |alert: &&Alert| alert.client.is_none_or(|found| found.ip < address(HOSTILE));
        let wrong: Vec<_> = bench.alerts.iter().filter(honest).map(|alert| &alert.summary).collect();
        assert!(wrong.is_empty(), "seed {seed}: {wrong:?}");
    }
}

#[test]
fn who_looks_people_up_for_a_living_is_not_accused() {
    for seed in SEEDS {
        let mut random = StdRng::seed_from_u64(seed);
        let directory = Directory::of(&mut random);
        let mut traffic = Traffic::default();
        directory.live(&mut random, &mut traffic);
        // Those who answer customers look up who writes to them, open the record and write into it.
        for agent in 1_000..1_000 + random.random_range(4..8) {
            let mut fresh = u64::from(agent) * 1_000_000;
            for day in 0..directory.days {
                for _ in 0..random.random_range(25..60) {
                    fresh += 1;
                    let time = office_hours(&mut random, day);
                    traffic.at(time, directory.ask(agent, fresh, random.random_bool(0.95)));
                    let token = directory.token(agent);
                    traffic.at(time + 4.0, Get { token, ..get(agent, "/v1/tickets") });
                    traffic.at(time + 40.0, Get { token, method: "POST", ..get(agent, "/v1/tickets") });
                }
            }
        }
        // A letter with a link for each of its readers, and people who register: one address each.
        for day in 0..directory.days {
            for reader in 0..60 {
                let person = u64::from(day * 100 + reader);
                let asks = Some(("email", person));
                let client = 2_000 + day * 100 + reader;
                let time = office_hours(&mut random, day);
                traffic.at(time, Get { asks, ..get(client, "/v1/newsletter/confirm") });
                traffic.at(time + 9.0, Get { asks, method: "POST", status: Some(201), ..get(client, "/v1/accounts") });
            }
        }
        // A shop's server that creates accounts for its customers.
        for order in 0..400 {
            let call =
                Get { token: Some(77), kind: CredentialKind::ApiKey, method: "POST", ..get(4_000, "/v1/orders") };
            let asks = Some(("email", 9_000_000 + order));
            traffic.at(order as f64 * 500.0, Get { asks, agent: "okhttp/4", status: Some(201), ..call });
        }
        let bench = traffic.play();
        assert!(bench.alerts.is_empty(), "seed {seed}: {:?}", by_kind(&bench));
    }
}

/// Users of records with a login, for some days.
fn records<'a>(random: &mut StdRng, traffic: &mut Traffic<'a>, paths: &'a [String], days: u32, users: u32) {
    for user in 0..users {
        let own = random.random_range(1..6);
        for day in 0..days {
            for _ in 0..random.random_range(2..20) {
                let record = user as usize * 6 + random.random_range(0..own);
                let time = office_hours(random, day);
                let token = Some(u64::from(user));
                traffic.at(time, Get { token, bytes: random.random_range(300..900), ..get(user, &paths[record]) });
                if random.random_bool(0.3) {
                    traffic.at(time + 5.0, Get { token, ..get(user, "/v1/me") });
                }
                // A login that has run out.
                if random.random_bool(0.02) {
                    traffic.at(time - 9.0, Get { status: Some(401), ..get(user, &paths[record]) });
                }
            }
        }
    }
}

fn record_paths() -> Vec<String> {
    (0..6_000u32).map(|number| format!("/v1/records/{}", 20_000 + number)).collect()
}

#[test]
fn records_that_are_answered_without_a_login_after_a_deploy() {
    let paths = record_paths();
    for seed in SEEDS {
        let mut random = StdRng::seed_from_u64(seed);
        let mut traffic = Traffic::default();
        let (days, users) = (random.random_range(3..6), random.random_range(15..90));
        records(&mut random, &mut traffic, &paths, days, users);
        let deploy = f64::from((days - 1) * DAY) + random.random_range(6.0 * 3_600.0..12.0 * 3_600.0);
        // Crawlers, old bookmarks: now and then somebody comes without a login.
        for _ in 0..random.random_range(8..40) {
            let time = random.random_range(0.0..deploy);
            let path = &paths[random.random_range(0..600)];
            traffic.at(time, Get { status: Some(401), ..get(3_000 + random.random_range(0..9), path) });
        }
        let (comers, pause) = (random.random_range(1..5), random.random_range(60.0..1_800.0));
        let mut time = deploy;
        let calls = (f64::from(days * DAY) - deploy) / pause;
        for _ in 0..calls as u32 {
            time += pause * random.random_range(0.5..1.5);
            let client = HOSTILE + random.random_range(0..comers);
            traffic.at(time, get(client, &paths[random.random_range(0..5_000)]));
        }
        let bench = traffic.play();
        let opened = bench.alerts.iter().filter(|alert| alert.kind.name() == "leak.unauthenticated");
        assert!(
            opened.clone().any(|alert| alert.endpoint.as_deref() == Some("GET /v1/records/{id}")),
            "seed {seed}: {comers} every {pause:.0} s, {:?}",
            by_kind(&bench)
        );
        assert!(opened.clone().all(|alert| alert.scope == Scope::Endpoint), "the endpoint is meant");
        let accused = |alert: &Alert| alert.client.is_some_and(|found| found.ip < address(HOSTILE));
        assert!(!bench.alerts.iter().any(accused), "seed {seed}: {:?}", by_kind(&bench));
    }
}

#[test]
fn records_that_always_were_open_or_stay_closed_are_no_leak() {
    let paths = record_paths();
    let open: Vec<String> = (0..600).map(|number| format!("/v1/notices/{}", 70_000 + number)).collect();
    for seed in SEEDS {
        let mut random = StdRng::seed_from_u64(seed);
        let mut traffic = Traffic::default();
        let (days, users) = (random.random_range(3..6), random.random_range(15..90));
        records(&mut random, &mut traffic, &paths, days, users);
        for _ in 0..random.random_range(100..400) {
            let time = random.random_range(0.0..f64::from(days * DAY));
            let client = 3_000 + random.random_range(0..30);
            traffic.at(time, Get { status: Some(401), ..get(client, &paths[random.random_range(0..600)]) });
            // Of these some come with a login and others without.
            let token = random.random_bool(0.6).then_some(u64::from(client));
            let client = random.random_range(0..users + 30);
            traffic.at(time + 3.0, Get { token, ..get(client, &open[random.random_range(0..40)]) });
        }
        let bench = traffic.play();
        assert!(bench.alerts.is_empty(), "seed {seed}: {:?}", by_kind(&bench));
    }
}

/// The agents of the users' own programs.
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0";

#[test]
fn a_bulk_download_with_a_stolen_credential() {
    let paths = record_paths();
    for seed in SEEDS {
        let mut random = StdRng::seed_from_u64(seed);
        let mut traffic = Traffic::default();
        let (days, users) = (random.random_range(4..7), random.random_range(20..80));
        records(&mut random, &mut traffic, &paths, days, users);
        let holder = u64::from(random.random_range(0..users));
        let agent = ["curl/8.5", "python-requests/2.32", BROWSER].choose(&mut random).copied().unwrap_or_default();
        // At night as well as by day.
        let begin = f64::from((days - 1) * DAY) + random.random_range(0.0..16.0 * 3_600.0);
        let (count, hours) = (random.random_range(400..2_500), random.random_range(0.5..5.0));
        let sensitive = random.random_bool(0.5);
        for number in 0..count {
            let time = begin + f64::from(number) / f64::from(count) * hours * 3_600.0;
            let call = Get { token: Some(holder), agent, ..get(HOSTILE, &paths[500 + number as usize * 2 % 5_000]) };
            traffic.at(time, Get { class: sensitive.then_some("email"), fresh: 1, ..call });
        }
        let bench = traffic.play();
        let named: Vec<_> = bench
            .alerts
            .iter()
            .filter(|alert| alert.client.is_some_and(|found| found.ip == address(HOSTILE)))
            .map(|alert| alert.kind.name())
            .collect();
        println!("seed {seed}: {count} in {hours:.1} h with {agent}: {named:?}");
        assert!(!named.is_empty(), "seed {seed}: {count} in {hours:.1} h, {:?}", by_kind(&bench));
        assert!(
            bench.alerts.iter().all(|alert| alert.client.is_none_or(|found| found.ip == address(HOSTILE))),
            "seed {seed}: {:?}",
            by_kind(&bench)
        );
    }
}

#[test]
fn a_holder_who_moves_and_an_export_of_every_night_are_no_theft() {
    let paths = record_paths();
    for seed in SEEDS {
        let mut random = StdRng::seed_from_u64(seed);
        let mut traffic = Traffic::default();
        let (days, users) = (random.random_range(4..7), random.random_range(20..80));
        records(&mut random, &mut traffic, &paths, days, users);
        for mover in 0..random.random_range(3..9u32) {
            // From another address on the last day, with the same browser or with a telephone, as much as ever.
            let agent = if random.random_bool(0.5) { "Mozilla/5.0" } else { "ShopApp/7.2 (iOS 18.1)" };
            for _ in 0..random.random_range(4..25) {
                let time = office_hours(&mut random, days - 1);
                let path = &paths[mover as usize * 6 + random.random_range(0..6)];
                traffic.at(time, Get { token: Some(u64::from(mover)), agent, ..get(1_000 + mover, path) });
            }
        }
        // An export that runs each night from one of two machines.
        let batch = random.random_range(300..900);
        for night in 0..days {
            let client = 2_000 + night % 2;
            for number in 0..batch {
                let time = f64::from(night * DAY) + 2.0 * 3_600.0 + f64::from(number) * 7.0;
                let call = Get { token: Some(999_999), kind: CredentialKind::ApiKey, ..get(client, "/") };
                traffic.at(time, Get { path: &paths[number as usize * 3], agent: "okhttp/4", ..call });
            }
        }
        let bench = traffic.play();
        assert!(bench.alerts.is_empty(), "seed {seed}: {:?}", by_kind(&bench));
    }
}
