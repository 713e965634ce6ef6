//! Who may call which function, with populations of users, operators and clerks that a seed makes.

use std::fmt::Write;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Bench, Get, address, get};
use crate::alert::Technique;

/// Seconds of a day.
const DAY: u32 = 86_400;

/// Who is not honest.
const INTRUDER: u32 = 7;

/// Operators from here on.
const OPERATORS: u32 = 1_000;

/// What operators call.
const ADMINISTRATION: [&str; 6] = [
    "/v1/admin/users",
    "/v1/admin/settings",
    "/v1/admin/export",
    "/v1/admin/roles",
    "/v1/admin/refunds",
    "/v1/admin/jobs",
];

/// A name of letters only.
fn letters(number: usize) -> String {
    [number / 26 % 26, number % 26, number / 7 % 26].iter().fold(String::new(), |mut name, &letter| {
        let _ = write!(name, "{}", char::from(b'a' + letter as u8));
        name
    })
}

/// An estate of users and operators, all with tokens of one kind.
struct Estate {
    random: StdRng,
    calls: Vec<(u32, Get<'static>)>,
    users: u32,
    days: u32,
}

impl Estate {
    fn new(seed: u64) -> Estate {
        let mut random = StdRng::seed_from_u64(seed);
        let (users, days) = (random.random_range(80..300), random.random_range(3..5));
        Estate { random, calls: Vec::new(), users, days }
    }

    fn time(&mut self, day: u32) -> u32 {
        day * DAY + self.random.random_range(8 * 3_600..19 * 3_600)
    }

    fn add(&mut self, time: u32, client: u32, path: &'static str, status: u16) {
        let token = Some(u64::from(client));
        self.calls.push((time, Get { token, status: Some(status), ..get(client, path) }));
    }

    /// What users do each day; some of them do rare things now and then.
    fn live(&mut self, rare: &[&'static str]) {
        for user in 0..self.users {
            for day in 0..self.days {
                for _ in 0..self.random.random_range(2..12) {
                    let pages =
                        ["/v1/me", "/v1/feed", "/v1/cart", "/v1/search", "/v1/messages", "/v1/offers", "/v1/help"];
                    let (time, page) = (self.time(day), pages[self.random.random_range(0..pages.len())]);
                    self.add(time, user, page, 200);
                }
                if self.random.random_bool(0.05) && !rare.is_empty() {
                    let (time, page) = (self.time(day), rare[self.random.random_range(0..rare.len())]);
                    self.add(time, user, page, 200);
                }
            }
        }
    }

    /// Operators begin their day with what they are there for; `from` is the day of their first.
    fn operate(&mut self, operators: std::ops::Range<u32>, from: u32) {
        for operator in operators {
            for day in from..self.days {
                let mut time = self.time(day);
                for _ in 0..self.random.random_range(3..15) {
                    let page = ADMINISTRATION[self.random.random_range(0..ADMINISTRATION.len())];
                    self.add(time, OPERATORS + operator, page, 200);
                    time += self.random.random_range(5..200);
                    self.add(time, OPERATORS + operator, "/v1/me", 200);
                }
            }
        }
    }

    /// Users who once followed a link that was not for them.
    fn refuse(&mut self, count: u32, page: &'static str) {
        for _ in 0..count {
            let user = self.random.random_range(INTRUDER + 1..self.users);
            let day = self.random.random_range(0..self.days);
            let time = self.time(day);
            self.add(time, user, page, 403);
        }
    }

    fn play(mut self) -> Bench {
        self.calls.sort_by_key(|&(time, call)| (time, call.client));
        let (mut bench, mut past) = (Bench::new(), 0);
        for (time, call) in self.calls {
            bench.wait(u64::from(time - past));
            past = time;
            bench.call(call);
        }
        bench
    }
}

/// What speaks against a user at the end.
fn nats(bench: &Bench, user: u32) -> f64 {
    bench.detector.state.principals.way(u64::from(user)).nats()
}

#[test]
fn a_user_who_gets_into_the_administration_is_found() {
    for seed in 1..9 {
        let mut estate = Estate::new(seed);
        estate.live(&[]);
        let operators = estate.random.random_range(0..5);
        estate.operate(0..operators, 0);
        let refused = estate.random.random_range(15..50);
        for page in [ADMINISTRATION[0], ADMINISTRATION[2]] {
            estate.refuse(refused, page);
        }
        // It tries some doors, at a pace that nobody would notice, and one is open.
        let mut time = (estate.days - 1) * DAY + 20 * 3_600;
        for (page, status) in [(0, 403), (1, 403), (3, 403), (2, 200), (4, 200), (0, 200)] {
            estate.add(time, INTRUDER, ADMINISTRATION[page], status);
            time += estate.random.random_range(60..2_400);
        }
        let bench = estate.play();
        let named = |kind: Technique| {
            let mut found = bench.alerts.iter().filter(move |alert| alert.kind == kind);
            found.any(|alert| alert.client.is_some_and(|client| client.ip == address(INTRUDER)))
        };
        assert!(named(Technique::FunctionAccess), "seed {seed}: {:?}", bench.kinds());
        let innocent = |alert: &&crate::alert::Alert| alert.client.is_none_or(|client| client.ip != address(INTRUDER));
        assert_eq!(bench.alerts.iter().filter(innocent).count(), 0, "seed {seed}: {:?}", bench.kinds());
    }
}

#[test]
fn one_success_counts_by_how_many_were_refused_and_what_it_is_called() {
    let evidence = |page: &'static str, refused: u32| {
        let mut estate = Estate::new(4);
        estate.live(&[]);
        estate.operate(0..1, 0);
        estate.add(9 * 3_600, OPERATORS, "/v1/reports", 200);
        estate.refuse(refused, page);
        estate.add(estate.days * DAY - 60, INTRUDER, page, 200);
        nats(&estate.play(), INTRUDER)
    };
    let [ordinary, locked] = [0, 40].map(|refused| evidence("/v1/reports", refused));
    let [named, forbidden] = [0, 40].map(|refused| evidence("/v1/admin/export", refused));
    assert!(ordinary < 1.0, "{ordinary}");
    assert!(locked > ordinary + 0.5 && named > ordinary + 2.0, "{ordinary} {locked} {named}");
    assert!(forbidden > named + 3.0, "{named} {forbidden}");
}

#[test]
fn a_function_that_the_role_is_always_refused_needs_one_success() {
    let mut estate = Estate::new(6);
    estate.users = 220;
    estate.live(&[]);
    estate.refuse(60, ADMINISTRATION[2]);
    estate.add(estate.days * DAY - 60, INTRUDER, ADMINISTRATION[2], 200);
    let bench = estate.play();
    assert_eq!(bench.kinds(), [("auth.function_access", Some(address(INTRUDER)))]);
}

#[test]
fn operators_rare_functions_and_a_deploy_accuse_nobody() {
    let names: Vec<&'static str> =
        (0..60).map(|number| &*Box::leak(format!("/v1/{}", letters(number * 31)).into_boxed_str())).collect();
    let (rare, fresh) = names.split_at(40);
    for seed in 1..9 {
        let mut estate = Estate::new(seed);
        estate.live(rare);
        let operators = estate.random.random_range(2..6);
        estate.operate(0..operators, 0);
        // One more begins on the last day; another is known as a user only, until a week's report is due.
        estate.operate(operators..operators + 1, estate.days - 1);
        let time = (estate.days - 1) * DAY + 17 * 3_600;
        for (page, later) in ADMINISTRATION.into_iter().take(3).zip([0, 40, 90]) {
            estate.add(time + later, 3, page, 200);
        }
        estate.refuse(12, "/v1/reports/all");
        estate.add(9 * 3_600, OPERATORS, "/v1/reports/all", 200);
        // After a deploy everybody calls what is new, an administrative page among it.
        let deploy = (estate.days - 1) * DAY + 9 * 3_600;
        for user in 0..estate.users {
            for page in fresh.iter().copied().chain(["/v1/admin/banner"]) {
                if estate.random.random_bool(0.4) {
                    let time = deploy + estate.random.random_range(0..8 * 3_600);
                    estate.add(time, user, page, 200);
                }
            }
        }
        let users = estate.users;
        let bench = estate.play();
        assert!(bench.alerts.is_empty(), "seed {seed}: {:?}", bench.kinds());
        let most = (0..users).map(|user| nats(&bench, user)).fold(0.0, f64::max);
        assert!(most < 10.0, "seed {seed}: {most}");
    }
}

#[test]
fn where_nobody_is_ever_refused_a_few_functions_of_another_role_are_enough() {
    // Users by what their tokens say, and operators; nobody checks anything. `said` tells the role of a client.
    let play = |seed: u64, users: u32, pages: usize, said: fn(u32) -> Option<u64>| {
        let mut estate = Estate::new(seed);
        estate.users = users;
        estate.live(&[]);
        estate.operate(0..3, 0);
        let end = estate.days * DAY;
        for (page, before) in ADMINISTRATION.into_iter().take(pages).zip([3_000, 2_400, 1_900, 700, 500, 90]) {
            estate.add(end - before, INTRUDER, page, 200);
        }
        for (_, call) in &mut estate.calls {
            call.role = said(call.client);
        }
        estate.play()
    };
    let apart = |client: u32| Some(if client >= OPERATORS { 2 } else { 1 });
    for seed in 1..6 {
        let bench = play(seed, 180, 5, apart);
        let found = bench.alerts.iter().map(|alert| (alert.kind, alert.client.map(|client| client.ip)));
        let mut found: Vec<_> = found.collect();
        found.dedup(); // one story
        assert_eq!(found, [(Technique::FunctionAccess, Some(address(INTRUDER)))], "seed {seed}");
        // One or two of them, a small role, one role for all, and tokens that say nothing.
        for (users, pages, said) in
            [(180, 2, apart as fn(u32) -> Option<u64>), (60, 5, apart), (180, 5, |_| Some(1)), (180, 5, |_| None)]
        {
            let bench = play(seed, users, pages, said);
            assert!(bench.alerts.is_empty(), "seed {seed}, {users}, {pages}: {:?}", bench.kinds());
        }
    }
}

#[test]
fn of_a_small_group_nothing_is_known() {
    let mut estate = Estate::new(5);
    estate.users = 15;
    estate.live(&[]);
    estate.refuse(10, ADMINISTRATION[0]);
    for page in ADMINISTRATION {
        estate.add(estate.days * DAY - 60, INTRUDER, page, 200);
    }
    let bench = estate.play();
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
    assert_eq!(nats(&bench, INTRUDER), 0.0);
}

/// Sixty users of one role with six applications, ten clerks of another, and who else calls; `tokens` says with which group
/// and role.
fn roles(tokens: impl Fn(u32) -> (Option<u64>, Option<u64>), others: impl Fn(&mut Estate)) -> Bench {
    let mut estate = Estate::new(9);
    (estate.users, estate.days) = (60, 3);
    estate.live(&[]);
    estate.operate(0..10, 0);
    others(&mut estate);
    for (_, call) in &mut estate.calls {
        (call.group, call.role) = tokens(call.client);
    }
    estate.play()
}

/// What tokens say: users of ten an application, operators of their own.
fn said(client: u32) -> (Option<u64>, Option<u64>) {
    if (OPERATORS..2 * OPERATORS).contains(&client) {
        (Some(77), Some(2))
    } else {
        (Some(u64::from(client % 6)), Some(1))
    }
}

/// A user whom the administration lets in, where others were refused.
fn intrude(estate: &mut Estate) {
    estate.refuse(40, ADMINISTRATION[2]);
    let end = estate.days * DAY;
    for (page, status, before) in [(0, 403, 3_000), (1, 403, 2_000), (2, 200, 1_000), (4, 200, 500)] {
        estate.add(end - before, INTRUDER, ADMINISTRATION[page], status);
    }
}

#[test]
fn those_of_one_role_are_peers_whatever_application_they_use() {
    let bench = roles(said, intrude);
    assert!(!bench.alerts.is_empty());
    assert!(bench.kinds().iter().all(|kind| *kind == ("auth.function_access", Some(address(INTRUDER)))));
    // Its twins: tokens that say nothing of roles, with which ten of an application are too few to know anything of; and one
    // whose role goes there.
    let bench = roles(|client| (said(client).0, None), intrude);
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
    let clerk = |client| if client == INTRUDER { (Some(1), Some(2)) } else { said(client) };
    let bench = roles(clerk, intrude);
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
}

#[test]
fn a_role_that_somebody_only_claims_says_nothing() {
    let page = "/v1/reports";
    let evidence = |refused: fn(&mut Estate)| {
        let bench = roles(said, |estate| {
            refused(estate);
            estate.add(9 * 3_600, OPERATORS, "/v1/reports", 200);
            let end = estate.days * DAY;
            estate.add(end - 60, INTRUDER, page, 200);
        });
        nats(&bench, INTRUDER)
    };
    let none = evidence(|_| {});
    let members = evidence(|estate| estate.refuse(40, "/v1/reports"));
    // Forged tokens of two hundred that there are not, all refused.
    let forged = evidence(|estate| {
        for client in 0..200 {
            let time = estate.time(1);
            estate.add(time, 2 * OPERATORS + client, "/v1/reports", 403);
        }
    });
    assert!(members > none + 0.5, "{none} {members}");
    assert!((forged - none).abs() < 0.1, "{none} {forged}");
}
