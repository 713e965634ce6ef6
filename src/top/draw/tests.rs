use std::net::IpAddr;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::alert::{Family, Severity};
use crate::detect::survey::{Evidence, OpenIncident, Standings};
use crate::metrics::{Clients, Dropped, Rate};
use crate::time::Timestamp;

fn address(number: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, number])
}

fn rate(total: u64, per_second: f64) -> Rate {
    Rate { total, per_second }
}

fn busy(number: u8, calls: u64, bytes: u64) -> Busy {
    Busy { ip: address(number), calls, bytes }
}

fn suspicious(number: u8, share: f64, incidents: Vec<OpenIncident>) -> Suspicious {
    let evidence = Evidence {
        test: "first_contacts".into(),
        family: Family::Recon,
        decades: 5.25 * share,
        threshold_decades: 5.25,
    };
    let last = Some(Timestamp::from_parts(1_772_460_000 + u64::from(number), 0));
    Suspicious { ip: address(number), share, first: None, last, calls: 7, evidence: vec![evidence], incidents }
}

fn incident(endpoint: &str) -> OpenIncident {
    OpenIncident {
        incident: "abc".into(),
        kind: "recon.path_enumeration".into(),
        severity: Severity::High,
        decades: 7.0,
        threshold_decades: 5.25,
        findings: 3,
        first: Timestamp::ZERO,
        last: Timestamp::ZERO,
        endpoint: Some(endpoint.into()),
        host: None,
    }
}

fn status() -> Status {
    let table = |table: &str, entries, limit, bytes, budget_bytes| Usage {
        table: table.into(),
        entries,
        limit,
        bytes,
        budget_bytes,
    };
    let standings = Standings {
        known: 1_234,
        window_seconds: 60,
        busiest: vec![busy(1, 900, 10_000), busy(2, 800, 9_000_000), busy(3, 5, 500)],
        suspicious: vec![suspicious(9, 1.33, vec![incident("GET /v1/{id}")]), suspicious(3, 0.4, Vec::new())],
        ..Standings::default()
    };
    Status {
        schema: crate::metrics::SCHEMA.into(),
        version: "7.8.9".into(),
        ts: Timestamp::from_parts(1_772_460_000, 5),
        packets: rate(5_000_000, 12_345.0),
        bytes: rate(1, 3.0e8),
        flows: rate(10, 2.0),
        calls: rate(10, 42.0),
        alerts: rate(17, 0.0),
        drops: vec![
            Dropped { stage: "source".into(), cause: "kernel_buffer_full".into(), rate: rate(31_000, 12.0) },
            Dropped { stage: "detect".into(), cause: "detector_behind".into(), rate: rate(0, 0.0) },
        ],
        resident_bytes: Some(300 << 20),
        tables: vec![
            table("flows", 345, 1_000, 1 << 20, 1 << 30),
            table("clients", 1_234, 100_000, 95 << 20, 100 << 20),
            table("texts", 0, 0, 7, 100),
        ],
        sinks: vec![
            sink::Status { name: "siem".into(), lag_seconds: 12.0, spooled: 40, queued: 2, ..Default::default() },
            sink::Status {
                name: "far".into(),
                dropped: 3,
                spool_bytes: 1_536,
                failure: Some("refused".into()),
                ..Default::default()
            },
        ],
        clients: Some(Clients { age_seconds: 0.5, standings }),
        ..Status::default()
    }
}

fn screen(status: Status) -> Screen {
    let mut screen = Screen::new("127.0.0.1:9464".parse().expect("an address"));
    screen.take(Ok(status));
    screen
}

/// The lines of a terminal.
fn shown(screen: &Screen, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| screen.draw(frame.area(), frame.buffer_mut())).expect("it is drawn");
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(width));
    lines.map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()).collect()
}

#[test]
fn all_that_is_known_is_shown() {
    let lines = shown(&screen(status()), 160, 40);
    assert_eq!(lines[0], "apitap 7.8.9  2026-03-02T14:00:00Z  ok  at 127.0.0.1:9464");
    assert_eq!(lines[1], "12k packets/s   286 MiB/s   42 calls/s   345 flows, 2 new/s   17 alerts   300 MiB of memory");
    let text = lines.join("\n");
    for words in [
        "source kernel buffer full", // drops
        "12    31k",
        "clients              1.2k    95 MiB   95 %", // memory, the fullest first
        "siem",
        "far (down)",
        "1.5 KiB",
        "Busiest clients of 1234 in 60 s",
        "192.0.2.2",
        "8.6 MiB",
        "recon.path_enumeration (high) GET /v1/{id}",
        "first contacts 7.0/5.2",
        "133 %",
    ] {
        let words: Vec<_> = words.split_whitespace().collect();
        let held = |line: &String| {
            let line: Vec<_> = line.split_whitespace().collect();
            line.windows(words.len()).any(|part| part == words)
        };
        assert!(lines.iter().any(held), "{words:?} in\n{text}");
    }
    let order = |one: &str, other: &str| text.find(one).expect(one) < text.find(other).expect(other);
    assert!(order("192.0.2.1 ", "192.0.2.2 ") && order("192.0.2.9 ", "192.0.2.3 40"), "{text}");
}

#[test]
fn the_plain_text_has_every_row_and_fits_its_width() {
    let mut status = status();
    let clients = status.clients.as_mut().expect("clients");
    clients.standings.busiest = (0..100).map(|number| busy(number, 500 - u64::from(number), 1)).collect();
    clients.standings.suspicious = (100..200).map(|number| suspicious(number, 0.5, Vec::new())).collect();
    let text = super::super::text(&screen(status), 100);
    for number in 0..200 {
        assert!(text.contains(&format!("{} ", address(number))), "{number} in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100 && !line.ends_with(' ')));
    assert!(text.contains("texts") && text.contains("kernel buffer full"), "{text}");
}

#[test]
fn tables_are_chosen_sorted_and_moved_through() {
    let mut screen = screen(status()).interactive();
    let first = |screen: &Screen| {
        let lines = shown(screen, 120, 40);
        let title = lines.iter().position(|line| line.starts_with("Busiest")).expect("its title");
        lines[title + 2].split_whitespace().next().map(str::to_owned).expect("a client")
    };
    assert_eq!(first(&screen), "192.0.2.1");
    assert!(shown(&screen, 120, 40)[2].contains("by calls"), "{:#?}", shown(&screen, 120, 40));
    screen.sort(1);
    assert_eq!(first(&screen), "192.0.2.2", "by bytes");
    screen.scroll(1);
    assert_eq!(first(&screen), "192.0.2.1");
    screen.scroll(50);
    assert_eq!(first(&screen), "192.0.2.3", "the last stays");
    screen.scroll(-50);
    screen.sort(-1);
    assert_eq!(first(&screen), "192.0.2.1");
    screen.choose(-1);
    assert_eq!(screen.focus, Focus::Tables);
    screen.sort(-1);
    let lines = shown(&screen, 120, 40);
    assert!(lines[2].contains("by entries"), "{lines:#?}");
    screen.choose(2);
    assert_eq!(screen.focus, Focus::Suspicious);
}

#[test]
fn a_small_terminal_shows_what_fits_and_nothing_panics() {
    let mut screen = screen(status()).interactive();
    let lines = shown(&screen, 80, 24);
    let names = screen.status.iter().flat_map(|status| status.tables.iter().map(|table| table.table.clone()));
    let names: Vec<String> = names.take(3).collect();
    for word in names.iter().map(String::as_str).chain([
        "packets/s",
        "Drops",
        "Sinks",
        "192.0.2.1",
        "Most suspicious",
        "192.0.2.9",
    ]) {
        assert!(lines.iter().any(|line| line.contains(word)), "{word} in {lines:#?}");
    }
    for focus in 0..3 {
        for (width, height) in [(1, 1), (1, 40), (3, 2), (20, 5), (80, 9), (300, 3), (200, 100)] {
            shown(&screen, width, height);
        }
        screen.choose(focus);
    }
}

#[test]
fn what_came_from_outside_moves_no_cursor() {
    let mut status = status();
    let hostile = "a\u{1b}[2J\u{9b}31m\r\n\u{202e}b";
    status.version = hostile.into();
    status.complaints = vec![hostile.into()];
    status.drops[0].stage = hostile.into();
    status.drops[0].cause = hostile.into();
    status.tables[0].table = hostile.into();
    status.sinks[0].name = hostile.into();
    let standings = &mut status.clients.as_mut().expect("clients").standings;
    standings.suspicious = vec![suspicious(9, 1.0, vec![incident(hostile)])];
    standings.suspicious[0].incidents[0].kind = hostile.into();
    standings.suspicious[0].evidence[0].test = hostile.into();
    let text = super::super::text(&screen(status.clone()), 200);
    let obeyed = |letter: char| (letter.is_control() && letter != '\n') || letter == '\u{202e}';
    assert!(!text.contains(obeyed), "{text:?}");
    assert!(text.matches("a\u{fffd}[2J").count() >= 7, "{text}");
    let json = super::super::json(&status).expect("plain data");
    assert!(!json.contains(obeyed));
    assert_eq!(serde_json::from_str::<Status>(&json).expect("the same"), status);
}

#[test]
fn a_sensor_that_is_gone_is_told_beside_what_it_said_last() {
    let mut screen = screen(status());
    let gone = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    screen.take(Err(Trouble::Nobody("127.0.0.1:9464".parse().expect("an address"), gone)));
    let lines = shown(&screen, 160, 40);
    assert!(lines[2].contains("nobody listens there"), "{lines:#?}");
    assert!(lines[1].contains("12k packets/s"));
    screen.take(Ok(Status { clients: None, health: Health::Stuck, ..status() }));
    let lines = shown(&screen, 160, 40);
    assert!(lines[0].contains("stuck") && lines[2].is_empty(), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("Clients: the detector has not come")), "{lines:#?}");
}
