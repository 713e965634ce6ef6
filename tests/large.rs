//! An inventory of many endpoints with wide bodies stays within the memory that its settings allow, and says what had no room.
//!
//! Here it is small, under a small limit; ten thousand endpoints of a thousand fields under the defaults are
//! `cargo test --test large -- --ignored --nocapture`, which prints what each run came to.

#[path = "support/load.rs"]
mod load;
mod support;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use load::{Outcome, feed};
use support::Folder;

const MIB: u64 = 1 << 20;

/// Words of a level of a path: fewer than become one parameter.
const WORDS: [&str; 6] = ["orders", "users", "items", "shops", "notes", "carts"];

/// Two calls each to so many endpoints, 216 a service, with bodies of so many fields.
fn estate(folder: &Folder, endpoints: u32, fields: u32, configuration: &str) -> Outcome {
    let letters = |number: u32| [number / 676, number / 26, number].map(|place| char::from(b'a' + (place % 26) as u8));
    let names: Vec<String> = (0..fields).map(|field| letters(field).iter().collect()).collect();
    feed(folder, "apis", &["--json"], configuration, |wire| -> io::Result<()> {
        for number in 0..2 * endpoints {
            let endpoint = number / 2;
            let word = |level: u32| WORDS[(endpoint / WORDS.len().pow(level) as u32) as usize % WORDS.len()];
            let service: String = letters(endpoint / 216).iter().collect();
            let path = format!("/{}/{}/{}", word(2), word(1), word(0));
            let request = format!("GET {path} HTTP/1.1\r\nHost: {service}.example\r\n\r\n");
            let of = |(place, name): (usize, &String)| {
                format!("\"{name}_{service}\":{}", ["7", "true", "\"a b\""][place % 3])
            };
            let body: Vec<String> = names.iter().enumerate().map(of).collect();
            let body = format!("{{{}}}", body.join(","));
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
            let client =
                SocketAddrV4::new(Ipv4Addr::from(load::HONEST + number % 3_001), 10_000 + (number % 50_000) as u16);
            wire.call(client, request.as_bytes(), format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes())?;
            wire.wait(20_000);
        }
        Ok(())
    })
}

/// Runs it with a field each and with many, and compares what they took.
fn stays_within(endpoints: u32, fields: u32, schema_bytes: u64) {
    let folder = Folder::new(&format!("large-{endpoints}"));
    let configuration = format!("[inventory]\nschema_bytes = {schema_bytes}\n");
    let runs = [1, fields].map(|fields| {
        let outcome = estate(&folder, endpoints, fields, &configuration);
        let lines = outcome.run.lines();
        let told: usize =
            lines.iter().map(|one| one["response"]["body"]["fields"].as_object().map_or(0, serde_json::Map::len)).sum();
        let dropped = outcome.counter("schema_fields_dropped");
        println!(
            "{endpoints} endpoints of {fields} fields: {} MiB at most, {:.1} s of processor, {} endpoints told with {told} fields, \
             {dropped} left out",
            outcome.peak / MIB,
            outcome.cpu,
            lines.len(),
        );
        assert_eq!(lines.len() as u32, endpoints);
        assert!(told as u64 + dropped >= u64::from(endpoints) * u64::from(fields), "none is lost uncounted");
        let incomplete = lines.iter().filter(|one| one["response"]["incomplete"] == true).count();
        assert_eq!(incomplete > 0, dropped > 0);
        (outcome.peak, dropped)
    });
    let [(narrow, none), (wide, dropped)] = runs;
    assert_eq!(none, 0);
    assert!(dropped > 0, "the limit is reached");
    // What schemas are kept in, twice that while they are told, and buffers for bodies.
    assert!(wide <= narrow + 3 * schema_bytes + 16 * MIB, "{} MiB, then {} MiB", narrow / MIB, wide / MIB);
}

#[test]
fn many_wide_endpoints() {
    stays_within(500, 1_000, 8 * MIB);
}

#[test]
#[ignore = "takes minutes in a debug build"]
fn many_wide_endpoints_in_full_size() {
    stays_within(10_000, 1_000, 128 * MIB);
}
