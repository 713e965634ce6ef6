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
