//! Values that are meant for somebody else than the service, and those that only look odd.

use super::{Bench, Get, address, get, word};
use crate::alert::Technique;

/// A value as it is sent.
fn encoded(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn ask(bench: &mut Bench, client: u32, path: &str, value: &str, status: u16) {
    let path = format!("{path}={}", encoded(value));
    bench.call(Get { token: Some(u64::from(client)), status: Some(status), ..get(client, &path) });
}

/// The service of all tests, with a search and a parameter that takes URLs.
fn service() -> Bench {
    let mut bench = Bench::lived_in();
    for person in 0..40 {
        ask(&mut bench, person, "/v1/products?q", &word(person), 200);
        ask(&mut bench, person, "/v1/preview?url", &format!("https://{}.example/a.png", word(person)), 200);
        bench.wait(20);
    }
    bench
}

#[test]
fn injections_of_several_sorts_are_found_whatever_the_pace() {
    for pause in [1, 3_600] {
        let mut bench = service();
        let values = [
            "shoes'",
            "' OR '1'='1",
            "x'--",
            "1 UNION SELECT null,null",
            "1' AND SLEEP(5)-- ",
            "{{7*7}}",
            "; cat /etc/passwd",
            "<script>alert(1)</script>",
            "../../../etc/passwd",
        ];
        for value in values {
            ask(&mut bench, 900, "/v1/products?q", value, 200);
            bench.wait(pause);
        }
        let alert = bench.only(Technique::InjectionProbing);
        assert_eq!(alert.client.map(|client| client.ip), Some(address(900)));
        assert!(alert.owasp.iter().any(|id| id == "API8:2023"));
    }
}

#[test]
fn one_address_inside_after_another_is_a_sweep() {
    for pause in [1, 3_600] {
        let mut bench = service();
        for host in 1..20 {
            ask(&mut bench, 900, "/v1/preview?url", &format!("http://10.0.0.{host}:8080/"), 200);
            bench.wait(pause);
        }
        let alert = bench.only(Technique::RequestForgeryProbing);
        assert_eq!(alert.client.map(|client| client.ip), Some(address(900)));
    }
    // One address, whatever is asked of it; a few of somebody who works on the service; what the parameter is for.
    let mut bench = service();
    for page in 0..60 {
        ask(&mut bench, 900, "/v1/preview?url", &format!("http://10.0.0.7:8080/page/{page}?x={page}"), 200);
    }
    for host in ["localhost:3000", "localhost:8080", "127.0.0.1:9000"] {
        ask(&mut bench, 901, "/v1/preview?url", &format!("http://{host}/"), 200);
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
    let mut bench = service();
    for host in 1..40 {
        for person in 0..10 {
            let url = format!("http://10.0.{person}.{host}/hook");
            ask(&mut bench, 700 + person, "/v1/preview?url", &url, 200);
        }
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
}

#[test]
fn four_sorts_in_one_parameter_are_enough_and_one_sort_is_not() {
    let mut bench = service();
    for value in ["' OR '1'='1", "1 UNION SELECT null,null", "{{7*7}}", "; cat /etc/passwd"] {
        ask(&mut bench, 900, "/v1/products?q", value, 200);
        bench.wait(60);
    }
    bench.only(Technique::InjectionProbing);
    let mut bench = service();
    for number in 0..300 {
        ask(&mut bench, 900, "/v1/products?q", &format!("{number}' OR '1'='{number}"), 200);
        bench.wait(60);
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
}

#[test]
fn filters_that_a_service_takes_accuse_nobody_on_its_first_day() {
    let mut bench = Bench::new();
    for round in 0..20 {
        for person in 0..12 {
            for (place, path) in
                ["/v1/orders", "/v1/products", "/v1/carts", "/v1/shops", "/v1/people"].iter().enumerate()
            {
                let filter = format!("{{\"price\":{{\"$gt\":{}}}}}", 10 * person + round + place as u32);
                ask(&mut bench, person, &format!("{path}?filter"), &filter, 200);
            }
            bench.wait(5);
        }
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
}

#[test]
fn addresses_inside_are_found() {
    let mut bench = service();
    let values = [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:8080/",
        "file:///etc/passwd",
        "/proc/self/environ",
    ];
    for path in ["/v1/preview?url", "/v1/products?image", "/v1/products?callback"] {
        for value in values {
            ask(&mut bench, 900, path, value, 400);
            bench.wait(600);
        }
    }
    let alert = bench.only(Technique::RequestForgeryProbing);
    assert_eq!(alert.client.map(|client| client.ip), Some(address(900)));
    assert!(alert.owasp.iter().any(|id| id == "API7:2023"));
}

#[test]
fn twice_encoded_values_are_read() {
    let mut bench = service();
    let before = bench.recon(900);
    ask(&mut bench, 900, "/v1/products?q", &encoded("' OR 1=1-- "), 200);
    assert!(bench.recon(900) > before);
}

#[test]
fn what_people_write_and_what_a_service_takes_by_design_accuse_nobody() {
    let mut bench = service();
    let texts =
        ["O'Brien", "\"salt & pepper\"", "rock 'n' roll -- live", "C# (beginners)", "50% off; new", "a|b", "${price}"];
    for round in 0..30 {
        for person in 0..40u32 {
            let text = texts[(round + person as usize) % texts.len()];
            ask(&mut bench, person, "/v1/products?q", text, 200);
            if person % 4 == 0 {
                // A page that shows what is at an address, of which many are inside.
                ask(&mut bench, person, "/v1/preview?url", &format!("http://10.0.{round}.{person}/a.png"), 200);
            }
        }
        bench.wait(60);
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
    // One odd value of one client.
    ask(&mut bench, 901, "/v1/products?q", "' OR '1'='1", 200);
    for _ in 0..200 {
        ask(&mut bench, 902, "/v1/preview?url", "http://169.254.169.254/", 400);
        bench.wait(60);
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
    assert!(bench.recon(901) < 4.0 && bench.recon(902) < 4.0);
}

/// A write whose fields fit these rules.
fn post(bench: &mut Bench, client: u32, path: &str, probes: &[(&str, &str, bool)], status: u16) {
    let token = Some(u64::from(client));
    bench.call(Get { method: "POST", token, status: Some(status), probes, ..get(client, path) });
}

/// The same service with forms that people fill in without anything odd.
fn forms() -> Bench {
    let mut bench = service();
    for person in 0..40 {
        for path in ["/v1/search", "/v1/comments", "/v1/webhooks"] {
            post(&mut bench, person, path, &[], 200);
        }
        bench.wait(20);
    }
    bench
}

#[test]
fn values_in_bodies_are_found_whatever_the_pace() {
    for pause in [1, 3_600] {
        let mut bench = forms();
        for (path, field) in [("/v1/search", "filter.name"), ("/v1/search", "sort"), ("/v1/comments", "author")] {
            for rule in ["sql_condition", "sql_statement", "sql_time", "template", "command"] {
                post(&mut bench, 900, path, &[(field, rule, false)], if rule == "command" { 500 } else { 200 });
                bench.wait(pause);
            }
        }
        let alert = bench.only(Technique::InjectionProbing);
        assert_eq!(alert.client.map(|client| client.ip), Some(address(900)));
    }
    let mut bench = forms();
    for field in ["url", "callback.url", "image"] {
        for rule in ["metadata_service", "inner_address", "odd_scheme", "foreign_file"] {
            post(&mut bench, 900, "/v1/webhooks", &[(field, rule, false)], 422);
            bench.wait(600);
        }
    }
    assert_eq!(bench.only(Technique::RequestForgeryProbing).client.map(|client| client.ip), Some(address(900)));
}

#[test]
fn boxes_for_comments_programs_and_urls_accuse_nobody() {
    let rules = ["script", "template", "command", "sql_condition", "sql_statement", "sql_end", "sql_time", "entity"];
    // From its first day on people paste programs into comments and snippets, a few rules in each, some of them all day long.
    let mut bench = Bench::lived_in();
    for round in 0..12 {
        for person in 0..40usize {
            let (one, two) = (rules[(round + person) % 8], rules[(round * 3 + person) % 8]);
            if person % 3 == 0 || person == 1 {
                post(&mut bench, person as u32, "/v1/comments", &[("text", one, person % 2 == 0)], 201);
                post(&mut bench, person as u32, "/v1/snippets", &[("source", one, false), ("source", two, false)], 201);
            }
            if person % 4 == 0 {
                post(&mut bench, person as u32, "/v1/webhooks", &[("url", "inner_address", false)], 201);
            }
            bench.call(Get { token: Some(person as u64), ..get(person as u32, "/v1/me") });
            bench.wait(30);
        }
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
    // Where nobody did before, one who writes about programs at length.
    let mut bench = forms();
    for rule in rules {
        post(&mut bench, 7, "/v1/comments", &[("text", rule, true)], 201);
        bench.wait(600);
    }
    // And one odd value, again and again.
    for _ in 0..200 {
        post(&mut bench, 901, "/v1/search", &[("filter.name", "sql_condition", false)], 200);
        bench.wait(60);
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
    assert!(bench.recon(7) < 4.0 && bench.recon(901) < 4.0, "{} {}", bench.recon(7), bench.recon(901));
}

#[test]
fn values_in_paths_are_found_and_names_in_other_scripts_are_not() {
    let mut bench = service();
    let names = ["caf%C3%A9", "O%27Brien", "salt%20%26%20pepper", "%D1%87%D0%B0%D0%B9", "50%25", "a:b", "item(7)"];
    for round in 0..6 {
        for person in 0..40usize {
            let path = format!("/v1/orders/{}", names[(round + person) % names.len()]);
            bench.call(Get { token: Some(person as u64), ..get(person as u32, &path) });
            bench.wait(5);
        }
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
    let before = bench.recon(3);
    assert!(before < 1.0, "{before}");
    for value in [
        "1' OR '1'='1",
        "1'--",
        "1 UNION SELECT null,null",
        "1 AND SLEEP(5)-- ",
        "{{7*7}}",
        "1; id",
        "<script>alert(1)</script>",
        "../../../etc/passwd",
        "http://169.254.169.254/",
    ] {
        let path = format!("/v1/orders/{}", encoded(value));
        bench.call(Get { token: Some(900), status: Some(404), ..get(900, &path) });
        bench.wait(1_800);
    }
    let alert = bench.only(Technique::InjectionProbing);
    assert_eq!(alert.client.map(|client| client.ip), Some(address(900)));
}
