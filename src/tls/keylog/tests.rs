//! Lines good and bad, what is visible when, and files that grow.

use std::fs;
use std::io::Write;
use std::time::Instant;

use proptest::prelude::*;

use std::sync::Arc;

use super::feed::{self, Follower};
use super::*;

const RANDOM: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1F";

fn random() -> [u8; 32] {
    std::array::from_fn(|at| at as u8)
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_parts(seconds, 0)
}

fn counted(log: &KeyLog, counter: Counter) -> u64 {
    let mut counters = Counters::new();
    log.report(&mut counters);
    counters.value(counter)
}

/// A line of the label, for the connection of this number.
fn line(label: &str, connection: u32, byte: u8, length: usize) -> String {
    format!("{label} {connection:064x} {}\n", format!("{byte:02x}").repeat(length))
}

fn connection(number: u32) -> [u8; 32] {
    let mut random = [0; 32];
    random[28..].copy_from_slice(&number.to_be_bytes());
    random
}

#[test]
fn every_label_finds_its_place() {
    let log = KeyLog::default();
    assert_eq!(log.find(&random(), at(1)), None);
    let text = format!(
        "# a comment\n\r\n\
         CLIENT_RANDOM {RANDOM} {a}{a}{a}\r\n\
         CLIENT_EARLY_TRAFFIC_SECRET {RANDOM} {b}{b}\n\
         CLIENT_HANDSHAKE_TRAFFIC_SECRET {RANDOM} {b}{b}{b}\n  \
         SERVER_HANDSHAKE_TRAFFIC_SECRET {RANDOM}  {c}{c}\n\
         CLIENT_TRAFFIC_SECRET_0 {RANDOM} {d}{d}\n\
         EXPORTER_SECRET {RANDOM} {d}{d}\n\
         EARLY_EXPORTER_MASTER_SECRET {RANDOM} ignored\n\
         SERVER_TRAFFIC_SECRET_0 {RANDOM} {e}{e}",
        a = "a1".repeat(16),
        b = "B2".repeat(16),
        c = "c3".repeat(16),
        d = "d4".repeat(16),
        e = "e5".repeat(16),
    );
    log.add(text.as_bytes(), KeyLog::ALWAYS);
    let secrets = log.find(&random(), Timestamp::ZERO).unwrap();
    let bytes = |secret: Option<&Secret>| secret.map(|secret| secret.bytes().to_vec());
    assert_eq!(bytes(secrets.master.as_ref()), Some(vec![0xa1; 48]));
    assert_eq!(bytes(secrets.client_early.as_ref()), Some(vec![0xb2; 32]));
    assert_eq!(bytes(secrets.handshake(Sender::Client)), Some(vec![0xb2; 48]));
    assert_eq!(bytes(secrets.handshake(Sender::Server)), Some(vec![0xc3; 32]));
    assert_eq!(bytes(secrets.traffic(Sender::Client)), Some(vec![0xd4; 32]));
    assert_eq!(bytes(secrets.traffic(Sender::Server)), Some(vec![0xe5; 32]));
    assert_eq!(counted(&log, Counter::KeylogSecrets), 6);
    assert_eq!(counted(&log, Counter::KeylogLinesUnreadable), 0);
    assert_eq!(log.find(&[0; 32], at(9)), None);
}

#[test]
fn what_is_no_line_is_counted() {
    let good = "aa".repeat(32);
    let lines = [
        "CLIENT_RANDOM".to_owned(),
        format!("CLIENT_RANDOM {RANDOM}"),
        format!("CLIENT_RANDOM {RANDOM} {good}"), // 32 bytes are no master secret
        format!("CLIENT_TRAFFIC_SECRET_0 {RANDOM} {good}a"),
        format!("CLIENT_TRAFFIC_SECRET_0 {RANDOM} {good}{good}{good}"),
        format!("CLIENT_TRAFFIC_SECRET_0 {RANDOM} {}", "zz".repeat(32)),
        format!("CLIENT_TRAFFIC_SECRET_0 {RANDOM} {}", "+1".repeat(32)),
        format!("CLIENT_TRAFFIC_SECRET_0 {RANDOM}00 {good}"),
        format!("CLIENT_TRAFFIC_SECRET_0 {} {good}", &RANDOM[..62]),
        format!("CLIENT_TRAFFIC_SECRET_0 {RANDOM} {good} more"),
        format!("client_random {RANDOM} {good}"),
        "\u{0}\u{1} binary \u{7f}".to_owned(),
    ];
    let log = KeyLog::default();
    log.add(lines.join("\n").as_bytes(), KeyLog::ALWAYS);
    assert_eq!(counted(&log, Counter::KeylogLinesUnreadable), lines.len() as u64);
    assert_eq!(log.find(&random(), at(1)), None);
    assert_eq!(format!("{log:?}"), "KeyLog(..)");
}

#[test]
fn a_secret_of_a_capture_is_visible_behind_it_alone() {
    let log = KeyLog::default();
    log.add(line("CLIENT_HANDSHAKE_TRAFFIC_SECRET", 1, 1, 32).as_bytes(), Some(at(10)));
    log.add(line("CLIENT_TRAFFIC_SECRET_0", 1, 2, 32).as_bytes(), Some(at(20)));
    log.add(line("CLIENT_TRAFFIC_SECRET_0", 1, 3, 32).as_bytes(), Some(at(15)));
    assert_eq!(log.find(&connection(1), at(10)), None);
    let seen = |now| log.find(&connection(1), now).map(|secrets| secrets.client_traffic);
    assert_eq!(seen(at(11)), Some(None));
    assert_eq!(seen(at(20)), Some(None));
    let first = Secret::new(&[2; 32]);
    assert_eq!(seen(at(21)), Some(first), "and the first of two stays");
}

#[test]
fn those_that_came_first_are_forgotten() {
    let log = KeyLog::new(&Settings { max_connections: 3, ..Settings::default() });
    for number in 0..10 {
        log.add(line("CLIENT_RANDOM", number, 7, 48).as_bytes(), KeyLog::ALWAYS);
        log.add(line("CLIENT_TRAFFIC_SECRET_0", number, 7, 48).as_bytes(), KeyLog::ALWAYS);
    }
    let known: Vec<_> = (0..10).filter(|&number| log.find(&connection(number), at(1)).is_some()).collect();
    assert_eq!(known, [7, 8, 9]);
    assert_eq!(counted(&log, Counter::KeylogEvicted), 7);
}

#[test]
fn whole_files_and_one_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    let long = "x".repeat(300_000);
    let text: String = (0..2000).map(|number| line("CLIENT_RANDOM", number, 7, 48)).collect();
    fs::write(&one, format!("{long}\n{text}{long}")).unwrap();
    fs::write(&two, line("CLIENT_RANDOM", 5000, 7, 48).trim_end()).unwrap();
    let log = KeyLog::default();
    feed::read(&[one.clone(), two], &log).unwrap();
    assert!((0..2000).chain([5000]).all(|number| log.find(&connection(number), at(1)).is_some()));
    assert_eq!(counted(&log, Counter::KeylogSecrets), 2001);
    assert_eq!(counted(&log, Counter::KeylogLinesUnreadable), 2, "the two long ones");
    let missing = folder.path().join("missing");
    let error = feed::read(&[one, missing.clone()], &log).unwrap_err();
    assert!(error.to_string().contains(&missing.display().to_string()));
}

fn wait_for(log: &KeyLog, number: u32) {
    let begun = Instant::now();
    while log.find(&connection(number), at(1)).is_none() {
        assert!(begun.elapsed().as_secs() < 20, "connection {number}");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn append(path: &std::path::Path, text: &str) {
    fs::OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_file_is_followed_as_it_comes_grows_is_cut_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let log = Arc::new(KeyLog::default());
    let settings = Settings { files: vec![path.clone()], poll_milliseconds: 5, ..Settings::default() };
    let follower = Follower::start(&settings, log.clone()).unwrap();
    assert!(log.find(&connection(1), at(1)).is_none());
    append(&path, &line("CLIENT_RANDOM", 1, 7, 48));
    wait_for(&log, 1);
    let (begin, end) = (line("CLIENT_RANDOM", 2, 7, 48), line("CLIENT_RANDOM", 3, 7, 48));
    append(&path, &begin[..50]);
    std::thread::sleep(std::time::Duration::from_millis(30));
    append(&path, &format!("{}{end}", &begin[50..]));
    wait_for(&log, 2);
    wait_for(&log, 3);
    fs::write(&path, line("CLIENT_RANDOM", 4, 7, 48)).unwrap();
    wait_for(&log, 4);
    let other = folder.path().join("other");
    append(&other, &(10..20).map(|number| line("CLIENT_RANDOM", number, 7, 48)).collect::<String>());
    fs::rename(&other, &path).unwrap();
    wait_for(&log, 19);
    append(&path, &line("CLIENT_RANDOM", 20, 7, 48));
    wait_for(&log, 20);
    drop(follower);
    assert_eq!(counted(&log, Counter::KeylogLinesUnreadable), 0);
}

#[test]
fn a_pipe_without_a_writer_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    if !std::process::Command::new("mkfifo").arg(&path).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no mkfifo");
        return;
    }
    let log = Arc::new(KeyLog::default());
    let settings = Settings { files: vec![path.clone()], poll_milliseconds: 5, ..Settings::default() };
    let begun = Instant::now();
    let _follower = Follower::start(&settings, log.clone()).unwrap();
    assert!(begun.elapsed().as_secs() < 5);
    for number in [1, 2] {
        append(&path, &line("CLIENT_RANDOM", number, 7, 48)); // each a writer that comes and goes
        wait_for(&log, number);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_lines_or_not(text in prop::collection::vec(any::<u8>(), 0..2000)) {
        let log = KeyLog::default();
        log.add(&text, KeyLog::ALWAYS);
        prop_assert_eq!(counted(&log, Counter::KeylogSecrets), 0);
    }

    #[test]
    fn a_damaged_line_gives_its_secret_or_nothing(at in 0..176_usize, byte in any::<u8>()) {
        let good = line("CLIENT_RANDOM", 1, 7, 48);
        let mut text = good.clone().into_bytes();
        text[at] = byte;
        let log = KeyLog::default();
        log.add(&text, KeyLog::ALWAYS);
        if text != good.as_bytes() && let Some(secrets) = log.find(&connection(1), Timestamp::MAX) {
            prop_assert_eq!(secrets.master.map(|secret| secret.bytes().len()), Some(48));
        }
    }
}
