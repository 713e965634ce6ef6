use super::*;
use crate::detect::survey::{Standings, Survey};

/// How clients stand, looked at by so many entries at a time.
fn standings(bench: &Bench, limit: usize, entries: usize) -> Standings {
    let mut survey = Survey::new(limit);
    (0..100_000).find_map(|_| survey.advance(&bench.detector, entries)).expect("it comes to an end")
}

/// A service with a past, a client that takes much, and one that looks for what is not there.
fn probed(misses: u32) -> Bench {
    let mut bench = Bench::lived_in();
    bench.wait(100);
    for number in 0..9 {
        bench.call(get(50, "/v1/products"));
        bench.call(Get { bytes: 2_000, ..get(number, "/v1/products") });
    }
    bench.call(Get { sent: 900_000, ..get(51, "/v1/products") });
    for number in 0..misses {
        bench.call(Get { status: Some(404), ..get(900, &format!("/admin/{}", word(number))) });
    }
    bench
}

#[test]
fn the_busiest_of_the_last_minute_are_named() {
    let bench = probed(3);
    let all = standings(&bench, 4, 1_000);
    assert_eq!((all.known, all.window_seconds, all.ts), (43, 60, bench.now));
    let named: Vec<_> = all.busiest.iter().map(|busy| (busy.ip, busy.calls)).collect();
    assert_eq!(named[..2], [(address(50), 9), (address(900), 3)]);
    assert!(named.contains(&(address(51), 1)), "by its bytes: {named:?}");
    let taken = all.busiest.iter().find(|busy| busy.ip == address(51)).expect("there");
    assert!((900_000..1_000_000).contains(&taken.bytes), "{taken:?}");
    assert!(all.busiest.len() <= 8);
    let mut later = bench;
    later.wait(120);
    later.call(get(1, "/v1/me"));
    let named: Vec<_> = standings(&later, 4, 1_000).busiest.iter().map(|busy| (busy.ip, busy.calls)).collect();
    assert_eq!(named, [(address(1), 1)], "what is over is over");
}

#[test]
fn evidence_and_open_incidents_are_told() {
    let few = probed(3);
    let all = standings(&few, 4, 1_000);
    let [one] = &all.suspicious[..] else { panic!("{:?}", all.suspicious) };
    assert_eq!((one.ip, one.incidents.len(), one.evidence.len()), (address(900), 0, 1));
    let evidence = &one.evidence[0];
    assert_eq!((&*evidence.test, evidence.family), ("first_contacts", crate::alert::Family::Recon));
    let share = evidence.decades / evidence.threshold_decades;
    assert!(one.share > 0.1 && one.share < 1.0 && (share - one.share).abs() < 0.01, "{one:?}");
    assert_eq!((one.first, one.last, one.calls), (Some(few.now), Some(few.now), 3));

    let many = probed(30);
    assert_eq!(many.alerts.len(), 1, "{:?}", many.kinds());
    let all = standings(&many, 4, 1_000);
    let one = &all.suspicious[0];
    assert!(one.ip == address(900) && one.share > 1.0, "{one:?}");
    let [incident] = &one.incidents[..] else { panic!("{one:?}") };
    assert_eq!((incident.incident.as_str(), &*incident.kind), (&*many.alerts[0].incident, many.alerts[0].kind.name()));
    assert_eq!(incident.severity, many.alerts[0].severity);
    assert!(incident.findings > many.alerts[0].findings, "those since are counted: {incident:?}");
}

#[test]
fn a_flood_is_told_while_it_lasts() {
    let mut bench = Bench::lived_in();
    for _ in 0..2_000 {
        bench.call(get(5, "/v1/products"));
    }
    let all = standings(&bench, 4, 1_000);
    let one = all.suspicious.iter().find(|one| one.ip == address(5)).expect("it is told");
    assert!(one.evidence.iter().any(|evidence| evidence.test == "calls"), "{one:?}");
    assert!(!one.incidents.is_empty(), "{one:?}");
}

#[test]
fn who_looks_on_changes_nothing() {
    let (mut seen, mut unseen) = (Bench::lived_in(), Bench::lived_in());
    let mut survey = Survey::new(3);
    let mut through = 0;
    for number in 0..400u32 {
        for bench in [&mut seen, &mut unseen] {
            bench.wait(u64::from(number % 7));
            bench.call(get(number % 60, "/v1/products"));
            bench.call(Get { status: Some(404), ..get(800 + number % 3, &format!("/admin/{}", word(number))) });
        }
        through += u32::from(survey.advance(&seen.detector, 1 + number as usize % 20).is_some());
    }
    assert!(through > 10, "{through}");
    assert!(!unseen.alerts.is_empty() && seen.alerts == unseen.alerts);
    let text = |bench: &Bench| serde_json::to_string(bench.detector.state()).expect("plain data");
    assert!(text(&seen) == text(&unseen), "a look changed the state");
}

#[test]
fn by_parts_it_is_the_same_and_it_begins_anew() {
    let bench = probed(30);
    let whole = standings(&bench, 4, 100_000);
    for entries in [1, 2, 7, 43, 44] {
        assert_eq!(standings(&bench, 4, entries), whole, "{entries}");
    }
    let mut survey = Survey::new(4);
    let mut looks = (0..200).filter_map(|_| survey.advance(&bench.detector, 20));
    assert!(looks.next().is_some_and(|first| first == whole) && looks.next().is_some_and(|second| second == whole));
}
