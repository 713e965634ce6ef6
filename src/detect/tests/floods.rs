//! Floods at every pace, and what only looks like one.

use super::*;

#[test]
fn a_flood_is_found_and_an_office_is_not() {
    let mut bench = Bench::lived_in();
    // 80 people of an office, two calls a minute each.
    for round in 0..15 {
        for person in 0..80 {
            bench.call(Get { token: Some(5_000 + person), ..get(800, "/v1/products") });
        }
        bench.wait(20 + round % 2);
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
    for number in 0..300 {
        bench.call(Get { token: Some(900), ..get(900, &format!("/v1/products?q={}", word(number))) });
        if number % 20 == 0 {
            bench.wait(1);
        }
    }
    let alert = bench.only(Technique::Volumetric);
    assert_eq!(alert.client.map(|client| client.ip), Some(address(900)));
    let feature = &alert.features[0];
    assert!(feature.observed > 3.0 * feature.expected && feature.window.is_some());
    assert!(bench.detector.counters().value(Counter::AlertsSuppressed) > 0, "one story is one alert");
}

/// A service with four hours of people in its past, a few calls each now and then.
pub(super) fn half_a_day() -> Bench {
    let mut bench = Bench::lived_in();
    for _ in 0..24 {
        for person in 0..40 {
            bench.call(Get { token: Some(u64::from(person)), latency: 0.1, ..get(person, "/v1/products") });
            bench.call(Get { token: Some(u64::from(person)), ..get(person, "/v1/me") });
            bench.wait(15);
        }
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
    bench
}

/// Goes on like that with one client that does something every `pause` seconds, until the first alert; gives how often
/// it did.
fn until_alerted(bench: &mut Bench, pause: u64, most: u64, mut act: impl FnMut(&mut Bench, u64)) -> Option<u64> {
    (1..=most).find(|&number| {
        act(bench, number);
        bench.wait(pause);
        if number % 7 == 0 {
            let person = (number % 40) as u32;
            bench.call(Get { token: Some(u64::from(person)), ..get(person, "/v1/me") });
        }
        !bench.alerts.is_empty()
    })
}

#[test]
fn one_call_without_end_is_a_loop_at_any_pace() {
    let mut bench = half_a_day();
    let found = until_alerted(&mut bench, 10, 1_000, |bench, _| {
        bench.call(Get { token: Some(3), ..get(3, "/v1/cart") });
    });
    assert!(found.is_some_and(|calls| (120..400).contains(&calls)), "{found:?}");
    assert_eq!(bench.only(Technique::Loop).client.map(|client| client.ip), Some(address(3)));
}

#[test]
fn trying_again_while_a_server_is_away_is_no_loop_for_long() {
    for (pause, found) in [(10_u64, false), (2, true)] {
        let mut bench = half_a_day();
        let alerted = until_alerted(&mut bench, pause, 1_000, |bench, _| {
            bench.call(Get { status: Some(502), token: Some(3), ..get(3, "/v1/cart") });
        });
        assert_eq!(alerted.is_some(), found, "{pause} s: {alerted:?} {:?}", bench.kinds());
    }
}

#[test]
fn what_asks_for_something_else_each_time_is_no_loop() {
    // All that such an API does is POST to one path; what is asked for stands in the body.
    let ask = |body: fn(u64) -> Option<u64>| {
        let mut bench = half_a_day();
        let mut round = 0;
        until_alerted(&mut bench, 10, 1_000, |bench, _| {
            round += 1;
            bench.call(Get { method: "POST", sent: 80, body: body(round), token: Some(3), ..get(3, "/v1/search") });
        })
    };
    assert!(ask(|_| Some(7)).is_some_and(|calls| (120..400).contains(&calls)));
    assert_eq!(ask(Some), None);
    assert_eq!(ask(|_| None), None, "nobody knows what it asks for");
}

#[test]
fn what_several_poll_is_made_to_be_polled() {
    let mut bench = half_a_day();
    let found = until_alerted(&mut bench, 10, 1_000, |bench, _| {
        for person in 3..9 {
            bench.call(Get { token: Some(u64::from(person)), ..get(person, "/v1/news") });
        }
    });
    assert_eq!(found, None, "{:?}", bench.kinds());
}

#[test]
fn work_for_the_server_is_counted_by_its_time() {
    let mut bench = half_a_day();
    let found = until_alerted(&mut bench, 10, 1_500, |bench, number| {
        let path = format!("/v1/products?q={}", word(number as u32));
        bench.call(Get { token: Some(3), latency: 0.3, ..get(3, &path) });
    });
    assert!(found.is_some(), "never");
    assert_eq!(bench.only(Technique::Expensive).client.map(|client| client.ip), Some(address(3)));
}

#[test]
fn a_slow_service_is_nobodys_flood() {
    let mut bench = half_a_day();
    let found = until_alerted(&mut bench, 10, 1_500, |bench, number| {
        for person in 0..40 {
            // All answers take fifty times as long as they did.
            if (number + u64::from(person)) % 4 == 0 {
                bench.call(Get { token: Some(u64::from(person)), latency: 5.0, ..get(person, "/v1/products") });
            }
        }
    });
    assert_eq!(found, None, "{:?}", bench.kinds());
}

#[test]
fn bursts_with_hours_between_them_are_a_pulse() {
    let mut bench = half_a_day();
    let found = until_alerted(&mut bench, 3_600, 30, |bench, number| {
        for call in 0..100 {
            let path = format!("/v1/products?q={}", word((100 * number + call) as u32));
            bench.call(Get { token: Some(3), ..get(3, &path) });
            if call % 2 == 0 {
                bench.wait(1);
            }
        }
    });
    assert!(found.is_some_and(|bursts| bursts <= 20), "{found:?}");
    bench.only(Technique::Pulse);
}
