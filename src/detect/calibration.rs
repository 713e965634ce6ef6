//! Whether the budget of false alarms is kept, and how near the number of calls to an alert is to the least possible.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::budget::Test;
use super::observation::repeated;
use super::tests::{Bench, Get, address, get};

/// Clients of the simulated service.
const CLIENTS: u32 = 300;

/// Days that are simulated.
const DAYS: u32 = 12;

/// Calls of a client a day.
const CALLS: u32 = 40;

/// What one honest client is like.
#[derive(Clone, Copy)]
struct Habits {
    /// Share of first contacts with paths that are not there. A page that is visited for the j-th time is a first contact
    /// of weight j^-0.35, as who knows their way seldom explores.
    misses: f64,
    /// Share of calls that ask for an object that is not there.
    absent: f64,
    /// Share of logins that fail.
    failures: f64,
    /// Calls a day, in multiples of [`CALLS`].
    busy: f64,
}

/// Lets honest clients live for some days; gives the alerts and the client-days.
fn live(random: &mut StdRng, mut habits: impl FnMut(&mut StdRng) -> Habits) -> (Vec<String>, u32) {
    let mut bench = Bench::new();
    let clients: Vec<Habits> = (0..CLIENTS).map(|_| habits(random)).collect();
    let mut fresh = 0u32;
    let mut visits = vec![[0u16; 25]; CLIENTS as usize];
    for _ in 0..DAYS {
        // All calls of a day, in the order of their times.
        let mut calls: Vec<(u32, u32)> = Vec::new();
        for (client, habits) in (0..).zip(&clients) {
            let count = (f64::from(CALLS) * habits.busy) as u32;
            calls.extend((0..count).map(|_| (random.random_range(0..86_400), client)));
        }
        calls.sort_unstable();
        let mut past = 0;
        for (second, client) in calls {
            bench.wait(u64::from(second - past));
            past = second;
            let habits = clients[client as usize];
            fresh += 1;
            let token = Some(u64::from(client));
            let page = random.random_range(0..25);
            let before = &mut visits[client as usize][page];
            *before += 1;
            if random.random_bool(habits.misses * repeated(*before - 1)) {
                let path = format!("/old/{}", letters(fresh));
                bench.call(Get { status: Some(404), token, ..get(client, &path) });
            } else if random.random_bool(0.05) {
                // Two attempts in three are with one's own account, the rest with a mistyped one.
                let failed = random.random_bool(habits.failures);
                let status = Some(if failed { 401 } else { 200 });
                let sent = 100 + if random.random_bool(0.3) { random.random_range(0..20) } else { 0 };
                bench.call(Get { method: "POST", status, sent, ..get(client, "/v1/login") });
            } else if random.random_bool(0.3) {
                let path = format!("/v1/orders/{}", 1_000 * client + random.random_range(0..8));
                let status = Some(if random.random_bool(habits.absent) { 404 } else { 200 });
                bench.call(Get { status, token, ..get(client, &path) });
            } else {
                let path = format!("/v1/{}", letters(page as u32));
                bench.call(Get { token, ..get(client, &path) });
            }
        }
        bench.wait(u64::from(86_400 - past));
    }
    eprintln!("{} alerts in {} client-days", bench.alerts.len(), CLIENTS * DAYS);
    let told = bench.alerts.iter().map(|alert| format!("{} {}", alert.kind.name(), alert.summary)).collect();
    (told, CLIENTS * DAYS)
}

/// A word of the number's digits in base 26: nothing that looks like a parameter.
fn letters(number: u32) -> String {
    let letter = |digit: u32| char::from(b'a' + (number / 26u32.pow(digit) % 26) as u8);
    (0..6).rev().map(letter).collect()
}

/// The default budget is one false alarm a day.
const MOST: usize = DAYS as usize;

#[test]
fn clients_that_are_all_alike_stay_within_the_budget() {
    let mut random = StdRng::seed_from_u64(11);
    let (alerts, days) = live(&mut random, |_| Habits { misses: 0.05, absent: 0.04, failures: 0.15, busy: 1.0 });
    assert!(alerts.len() <= MOST, "{} in {days} client-days: {:?}", alerts.len(), alerts.first());
}

#[test]
fn clients_that_differ_stay_within_the_budget() {
    let mut random = StdRng::seed_from_u64(12);
    // Skewed as people are: most never miss, some are clumsy, a few do ten times as much as the others.
    let (alerts, days) = live(&mut random, |random| {
        let skewed = |random: &mut StdRng, most: f64| most * random.random::<f64>().powi(3);
        Habits {
            misses: skewed(random, 0.12),
            absent: skewed(random, 0.15),
            failures: skewed(random, 0.35),
            busy: 0.2 + skewed(random, 10.0),
        }
    });
    assert!(alerts.len() <= MOST, "{} in {days} client-days: {:?}", alerts.len(), alerts.first());
}

/// Evidence, in nats, that a call of a prober gives against the clumsiest honest client in the mean: Kullback and Leibler's
/// divergence.
fn divergence(hostile: f64, honest: f64) -> f64 {
    hostile * (hostile / honest).ln() + (1.0 - hostile) * ((1.0 - hostile) / (1.0 - honest)).ln()
}

#[test]
fn a_prober_is_found_within_three_times_the_least_possible_calls() {
    let mut random = StdRng::seed_from_u64(13);
    // One call an hour and one a second: the pace does not matter.
    for (share, pause) in [(0.95, 1), (0.95, 3_600), (0.7, 60), (0.5, 600)] {
        let mut calls = Vec::new();
        for trial in 0..20 {
            let mut bench = Bench::lived_in();
            let client = 5_000 + trial;
            let found = (1..400).find(|&number| {
                let path = format!("/{}", letters(random.random_range(0..300_000_000)));
                let missed = random.random_bool(share);
                bench.call(match missed {
                    true => Get { status: Some(404), ..get(client, &path) },
                    false => get(client, ["/v1/me", "/v1/products", "/v1/public", "/v1/stores"][number % 4]),
                });
                bench.now = bench.now + Duration::from_secs(pause);
                bench.alerts.iter().any(|alert| alert.client.is_some_and(|suspect| suspect.ip == address(client)))
            });
            let found = found.unwrap_or(400) as f64;
            let threshold = bench.detector.state.budget.threshold(Test::FirstContacts);
            calls.push(found * divergence(share, bench.detector.rules.prior.miss_ceiling) / threshold);
        }
        let mean = calls.iter().sum::<f64>() / calls.len() as f64;
        eprintln!("{share} of calls miss, one in {pause} s: {mean:.2} times the bound");
        assert!(mean <= 3.0, "{share} of calls miss, one in {pause} s: {mean:.2} times the bound");
    }
}
