//! Ways of honest clients that look like an attack, and their twins.

use super::floods::half_a_day;
use super::*;

/// Whom alerts of this technique accuse.
fn accused(bench: &Bench, technique: Technique) -> Vec<Option<IpAddr>> {
    let alerts = bench.alerts.iter().filter(|alert| alert.kind == technique);
    alerts.map(|alert| alert.client.map(|client| client.ip)).collect()
}

#[test]
fn who_guesses_objects_without_being_known_answers_for_it_by_the_address() {
    let ask = |client: u32, each: &dyn Fn(u64) -> u16| {
        let mut bench = half_a_day();
        for number in 0..40 {
            bench.call(get(number as u32, &format!("/v1/coupons/{}", 7_000 + number)));
        }
        for number in 0..120 {
            bench.call(Get {
                status: Some(each(number)),
                ..get(client, &format!("/v1/coupons/{}", 50_000 + 31 * number))
            });
            bench.wait(20);
        }
        accused(&bench, Technique::ObjectEnumeration)
    };
    assert_eq!(ask(900, &|_| 404), [Some(address(900))]);
    // A crawler whose list has grown old, and a row of links that died together.
    assert_eq!(ask(901, &|number| if number % 5 == 0 { 404 } else { 200 }), []);
    assert_eq!(ask(902, &|number| if (30..70).contains(&number) { 404 } else { 200 }), []);
}

#[test]
fn what_telephones_ask_every_site_for_is_no_campaign() {
    let look_ups =
        ["/apple-touch-icon.png", "/apple-touch-icon-precomposed.png", "/favicon.ico", "/sitemap.xml", "/ads.txt"];
    let others = ["/banner.png", "/hero.webp", "/legacy/app.css", "/legacy/app.js", "/legacy/font.woff"];
    for paths in [look_ups, others] {
        let mut bench = half_a_day();
        for client in 500..620 {
            bench.call(get(client, "/v1/products"));
            for path in paths {
                bench.call(miss(client, path));
            }
            bench.wait(60);
        }
        let kinds = bench.kinds();
        assert!(kinds.iter().all(|(kind, _)| *kind != "recon.campaign"), "{kinds:?}");
        if paths == look_ups {
            assert_eq!(kinds, []);
        }
    }
}

#[test]
fn a_long_honest_life_makes_nobody_suspicious_sooner() {
    let mut bench = half_a_day();
    let stranger = 800;
    for number in 0..150 {
        for client in [number % 40, stranger] {
            bench.call(get(client as u32, &format!("/v1/things{number}")));
        }
        bench.wait(20);
    }
    for number in 0..4 {
        bench.call(miss(stranger as u32, &format!("/v2/things{number}")));
        bench.wait(20);
    }
    assert_eq!(bench.kinds(), []);
    // A scan is one all the same.
    for number in 0..8 {
        bench.call(miss(stranger as u32, &format!("/old{number}/backup")));
        bench.wait(20);
    }
    assert_eq!(accused(&bench, Technique::PathEnumeration), [Some(address(stranger as u32))]);
    let summary = &bench.alerts[0].features[0];
    assert!(summary.observed > summary.expected, "{summary:?}");
}

#[test]
fn passwords_that_are_tried_for_one_account() {
    let guess = |client: u32, most: u64, body: &dyn Fn(u64) -> u64| {
        let mut bench = half_a_day();
        for number in 0..most {
            bench.call(Get {
                method: "POST",
                status: Some(401),
                sent: 60,
                body: Some(body(number)),
                asks: Some(("email", 7)),
                ..get(client, "/v1/login")
            });
            bench.wait(60);
        }
        accused(&bench, Technique::CredentialStuffing)
    };
    assert_eq!(guess(900, 200, &|number| number), [Some(address(900))]);
    // A daemon with an old password, and somebody who has forgotten theirs.
    assert_eq!(guess(901, 400, &|_| 3), []);
    assert_eq!(guess(902, 15, &|number| number), []);
}

#[test]
fn programs_beside_people_are_known_once_there_are_several() {
    // Tokens of people and of programs have one form.
    let mut bench = half_a_day();
    let one = |client: u32| Get { token: Some(u64::from(client)), group: Some(5), ..get(client, "") };
    for person in 0..40 {
        for number in 0..2 {
            let path = format!("/v1/tickets/{}", 100 * person + number);
            bench.call(Get { path: &path, ..one(person) });
            bench.wait(5);
        }
    }
    for program in 300..308 {
        let path = format!("/v1/tickets/{program}");
        bench.call(Get { path: &path, agent: "acme-sync/1.0 python", ..one(program) });
    }
    for number in 0..90 {
        let path = format!("/v1/tickets/9{:08}", 77_777 * number % 100_000_000);
        bench.call(Get { path: &path, agent: "acme-sync/1.0 python", ..one(307) });
        bench.wait(3);
    }
    assert_eq!(accused(&bench, Technique::ObjectEnumeration), []);
    // A person who asks for as many is no program.
    for number in 0..120 {
        let path = format!("/v1/tickets/8{:08}", 77_777 * number % 100_000_000);
        bench.call(Get { path: &path, ..one(20) });
        bench.wait(3);
    }
    assert_eq!(accused(&bench, Technique::ObjectEnumeration), [Some(address(20))]);
}

#[test]
fn a_device_that_asks_for_those_of_others_is_seen_and_a_partner_that_reads_a_list_is_not() {
    // Each of the others asks for so many objects of its own; one with a key like theirs asks for many.
    let accused_of = |own: &dyn Fn(u32) -> u64, many: u64| {
        let mut bench = half_a_day();
        let key = |client: u32| Get {
            token: Some(5_000 + u64::from(client)),
            kind: CredentialKind::ApiKey,
            ..get(client, "")
        };
        for round in 0..2 {
            for device in 0..120u32 {
                for object in 0..own(device) {
                    let path = format!("/v1/devices/{}", 10_000_000 + 7_919 * (u64::from(device) * 400 + object));
                    bench.call(Get {
                        path: &path,
                        status: Some(if round == 0 { 200 } else { 304 }),
                        ..key(100 + device)
                    });
                }
                bench.wait(7);
            }
        }
        for object in 0..many {
            let path = format!("/v1/devices/{}", 500_000_000 + 104_729 * object);
            bench.call(Get { path: &path, ..key(900) });
            bench.wait(11);
        }
        accused(&bench, Technique::ObjectEnumeration)
    };
    assert_eq!(accused_of(&|_| 1, 150), [Some(address(900))]);
    assert_eq!(accused_of(&|_| 1, 12), []);
    // Partners read lists of all lengths.
    assert_eq!(accused_of(&|partner| [1, 2, 5, 14, 40, 90][partner as usize % 6], 150), []);
}

#[test]
fn a_service_that_refuses_everybody_accuses_nobody() {
    for status in [403, 404] {
        let mut bench = half_a_day();
        let mut number = 0;
        let mut ask = |bench: &mut Bench, client: u32, status: u16| {
            number += 1;
            let path = format!("/v1/tickets/{}", 1_000_000 + 7_919 * number);
            bench.call(Get { token: Some(u64::from(client)), status: Some(status), ..get(client, &path) });
            bench.wait(3);
        };
        for _ in 0..4 {
            (0..40).for_each(|person| ask(&mut bench, person, 200));
        }
        for _ in 0..20 {
            (0..40).for_each(|person| ask(&mut bench, person, status));
        }
        assert_eq!(accused(&bench, Technique::ObjectEnumeration), [], "{status}");
        // It is over, and somebody guesses.
        for _ in 0..2 {
            (0..40).for_each(|person| ask(&mut bench, person, 200));
        }
        for _ in 0..40 {
            ask(&mut bench, 7, status);
        }
        assert_eq!(accused(&bench, Technique::ObjectEnumeration), [Some(address(7))], "{status}");
    }
}

#[test]
fn objects_that_the_query_names_are_objects() {
    let ask = |client: u32, parameter: &str, each: &dyn Fn(u64) -> (u64, u16)| {
        let mut bench = Bench::lived_in();
        for round in 0..3 {
            for person in 0..40u32 {
                let path = format!("/v1/statement?account={}&page={round}", 4_000 + person);
                bench.call(Get { token: Some(u64::from(person)), ..get(person, &path) });
            }
            bench.wait(60);
        }
        for number in 0..90 {
            let (object, status) = each(number);
            let path = format!("/v1/statement?{parameter}={object}&page=1");
            bench.call(Get { token: Some(900), status: Some(status), ..get(client, &path) });
            bench.wait(40);
        }
        accused(&bench, Technique::ObjectEnumeration)
    };
    let one_after_the_other = |number| (4_000 + number, 200);
    assert_eq!(ask(900, "account", &one_after_the_other), [Some(address(900))]);
    assert_eq!(ask(901, "filter[accountId]", &one_after_the_other), [Some(address(901))]);
    assert_eq!(
        ask(902, "account", &|number| (9_000 + 31 * number, if number < 45 { 403 } else { 200 })),
        [Some(address(902))]
    );
    // Pages are no objects, and one's own are few.
    assert_eq!(ask(903, "after_id", &one_after_the_other), []);
    assert_eq!(ask(904, "width", &one_after_the_other), []);
    assert_eq!(ask(905, "account", &|number| (4_000 + number % 3, 200)), []);
}
