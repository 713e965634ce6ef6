//! Captures of the corpus, whole and damaged in every way that comes to mind, through the whole program but for its command
//! line: no panic, and nothing that takes long for its size.
//!
//! A few hundred damaged ones each time; `MUTATIONS=100000 cargo test --test mutations -- --ignored --nocapture` is for a
//! quiet hour. One that fails is named by its capture and its number, from which it is made again, and left in the system's
//! folder for temporary files.

mod support;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use apitap::call::Record;
use apitap::detect::{self, DetectRules, Detector};
use apitap::inspect::{self, Inspector, Rules};
use apitap::inventory::Inventory;
use apitap::key::Key;
use apitap::pipeline::{self, Consumer};
use apitap::records::RecordPrinter;
use apitap::rules::RuleFile;
use apitap::source::{Settings, from_bytes};
use apitap::time::Timestamp;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// Larger captures are left whole: what is in them is in smaller ones.
const LARGEST: usize = 48 << 10;

/// Processor time that a damaged capture may take: a machine that is busy with something else is no finding.
const LONGEST: Duration = Duration::from_secs(1);

static INSPECTOR: LazyLock<Arc<Inspector>> = LazyLock::new(|| {
    let rules = Rules::load(None).expect("the compiled-in rules are well");
    let settings = inspect::Settings { shapes: true, ..Default::default() };
    Arc::new(Inspector::new(&rules, settings, Key::from_bytes([1; 16])))
});

static RULES: LazyLock<DetectRules> = LazyLock::new(|| {
    let file = RuleFile::find(None, detect::FILE, detect::COMPILED_IN).expect("it is compiled in");
    DetectRules::load(&file).expect("the compiled-in rules are well")
});

/// Prints what it gets as lines, and gives it to an inventory with its detector.
struct All(Inventory, RecordPrinter, Vec<u8>);

impl Consumer for All {
    fn records(&mut self, records: &mut Vec<Record>, _: Timestamp) -> io::Result<()> {
        for record in records.iter() {
            self.2.clear();
            self.1.print(record, &mut self.2)?;
        }
        self.0.records(records);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A capture through all stages; the number of its calls.
fn run(bytes: Vec<u8>) -> u64 {
    let opened = from_bytes("a mutation", bytes, &Settings { zstd_window_log: 20, ..Settings::default() });
    let settings = detect::Settings { clients: 1_000, endpoints: 1_000, ..Default::default() };
    let detector = Detector::new(settings, RULES.clone(), |call| Some(call.client.ip));
    let inventory = Inventory::new(&Default::default(), detector);
    let mut consumer = All(inventory, RecordPrinter::default(), Vec::new());
    let mut sources: Vec<Box<dyn apitap::source::Source>> = vec![Box::new(opened)];
    let mut settings = pipeline::Settings::default();
    settings.http.recall_bytes = 64 << 10;
    let stop = AtomicBool::new(false);
    let outcome = pipeline::run(&mut sources, &settings, &INSPECTOR, &mut consumer, &stop, &mut |_, _| {});
    assert!(outcome.output.is_none());
    outcome.counters.value(apitap::stats::Counter::Calls)
}

/// Where a capture's records begin and end; of pcapng, its blocks.
fn records(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let word = |at: usize| bytes.get(at..at + 4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")));
    let classic = word(0) != Some(0x0a0d_0d0a);
    let (mut at, mut all) = (if classic { 24 } else { 0 }, Vec::new());
    while let Some(length) = if classic { word(at + 8).map(|length| length.saturating_add(16)) } else { word(at + 4) } {
        let end = at.saturating_add(length as usize);
        if end > bytes.len() || length < 12 {
            break;
        }
        all.push(at..end);
        at = end;
    }
    all
}

/// Bytes that parsers stumble over.
const ODD: [&[u8]; 16] = [
    b"\r\n\r\n",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"ffffffffffffffff\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\0\0\x05\x09\x04\0\0\0\x01aaaaa",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
    b"\x28\xb5\x2f\xfd\x04\x00",
    b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
    b"\x81\xfe\xff\xff",
    b"[[[[[[[[{\"a\":[",
    b"%00%ff%25",
];

/// A capture damaged in one to eight ways.
fn mutate(capture: &[u8], other: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = capture.to_vec();
    for _ in 0..1 << random.random_range(0..4) {
        let records = records(&bytes);
        let Some(record) = records.choose(random).cloned() else { return bytes };
        // A place within, behind the record's own header most times.
        let from = (record.start + if random.random_ratio(9, 10) { 16 } else { 0 }).min(record.end - 1);
        let at = random.random_range(from..record.end);
        match random.random_range(0..13) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = *[0, 1, 0x7f, 0x80, 0xff].choose(random).expect("five"),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(record)),
            4 => {
                let copy = bytes[record.clone()].to_vec();
                bytes.splice(record.end..record.end, copy);
            }
            5 => {
                // To somewhere else.
                let to = records.choose(random).map_or(0, |record| record.start);
                let copy: Vec<u8> = bytes.drain(record.clone()).collect();
                let to = if to >= record.end { to - copy.len() } else { to };
                bytes.splice(to..to, copy);
            }
            6 => {
                // A length, of the record, of IP, of TCP, of whatever is there.
                let value = *[0, 1, 19, 20, 255, 256, 1_500, 65_535].choose(random).expect("eight") as u16;
                let place = record.start + *[8, 12, 32, 30, 46, 62].choose(random).expect("six");
                if let Some(field) = bytes.get_mut(place..place + 2) {
                    field.copy_from_slice(&if place < record.start + 16 {
                        value.to_le_bytes()
                    } else {
                        value.to_be_bytes()
                    });
                }
            }
            7 | 8 => {
                let odd = ODD.choose(random).expect("some");
                let end = (at + odd.len()).min(record.end);
                bytes[at..end].copy_from_slice(&odd[..end - at]);
            }
            9 => {
                // What another capture has.
                let length = random.random_range(1..200).min(record.end - at).min(other.len());
                let there = random.random_range(0..=other.len() - length);
                bytes[at..at + length].copy_from_slice(&other[there..there + length]);
            }
            10 => {
                let value = bytes[at];
                let end = (at + random.random_range(1..64)).min(record.end);
                bytes[at..end].fill(value);
            }
            11 => {
                // Another time.
                if let Some(time) = bytes.get_mut(record.start..record.start + 4) {
                    time.copy_from_slice(&random.random::<u32>().to_le_bytes());
                }
            }
            _ => {
                // Two parts of it change places.
                let to = random.random_range(from..record.end);
                let length = random.random_range(1..64).min(record.end - at.max(to));
                for step in 0..length {
                    bytes.swap(at + step, to + step);
                }
            }
        }
    }
    bytes
}

/// What has not ended by then never will.
const HANGS: Duration = Duration::from_secs(600);

/// What is being run, since when.
type Current = Arc<Mutex<Option<(String, Instant)>>>;

/// Says aloud what takes so long, while it does: a hang can be told of in no other way.
fn watch(current: &Current) {
    let current = current.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(5));
            if let Some((name, since)) = &*current.lock().unwrap_or_else(PoisonError::into_inner)
                && since.elapsed() > HANGS
            {
                eprintln!("hangs: {name} has taken {:?}", since.elapsed());
                std::process::exit(1);
            }
        }
    });
}

/// How long this thread had the processor; where the system does not tell, the time since `begin`.
fn processor_time(begin: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| begin.elapsed(), Duration::from_nanos)
}

/// Runs it under supervision: the number of its calls, or what went wrong.
fn supervised(name: String, bytes: &[u8], longest: Duration, current: &Current) -> Result<u64, String> {
    let tell = |state| *current.lock().unwrap_or_else(PoisonError::into_inner) = state;
    let begin = Instant::now();
    let before = processor_time(begin);
    tell(Some((name.clone(), begin)));
    // One worker is this thread.
    let calls = catch_unwind(AssertUnwindSafe(|| run(bytes.to_vec())));
    tell(None);
    let took = processor_time(begin).saturating_sub(before);
    match calls {
        Err(_) => Err(format!("{name} panics")),
        Ok(_) if took > longest => Err(format!("{name} takes {took:?} for {} bytes", bytes.len())),
        Ok(calls) => Ok(calls),
    }
}

fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
    let Some(root) = support::shared("corpus") else { return Vec::new() };
    let mut captures = Vec::new();
    for folder in root.read_dir().expect("a folder").flatten().filter(|entry| entry.path().is_dir()) {
        for entry in folder.path().read_dir().expect("a folder").flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|end| end == "pcap" || end == "pcapng") {
                let bytes = std::fs::read(&path).expect("a capture of the corpus");
                captures.push((path, bytes));
            }
        }
    }
    captures.sort();
    captures
}

/// Leaves what failed where it can be looked at.
fn keep(name: &str, bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("apitap-mutation-{}.pcap", name.replace([' ', '/'], "-")));
    let _ = std::fs::write(&path, bytes);
    path
}

/// Damages each small capture in turn until there were so many.
fn run_mutations(count: u64, seed: u64) {
    let captures: Vec<_> = corpus().into_iter().filter(|(_, bytes)| bytes.len() <= LARGEST).collect();
    if captures.is_empty() {
        return;
    }
    let current = Current::default();
    watch(&current);
    let (mut failures, mut calls, begin) = (Vec::new(), 0, Instant::now());
    for number in 0..count {
        let (path, capture) = &captures[number as usize % captures.len()];
        let mut random = StdRng::seed_from_u64(seed ^ number);
        let other = &captures.choose(&mut random).expect("there are some").1;
        let bytes = mutate(capture, other, &mut random);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        match supervised(format!("{stem} {number}"), &bytes, LONGEST, &current) {
            Ok(found) => calls += found,
            Err(failure) => {
                failures.push(format!("{failure}: {}", keep(&format!("{stem} {number}"), &bytes).display()))
            }
        }
        if number % 5_000 == 4_999 {
            println!("{} mutations in {:?}, {calls} calls, {} failures", number + 1, begin.elapsed(), failures.len());
        }
    }
    println!("{count} mutations in {:?}, {calls} calls, {} failures", begin.elapsed(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(calls > count / 4, "{calls} calls: nothing gets beyond the first parser");
}

#[test]
fn a_few_hundred_mutations() {
    run_mutations(600, 1 << 40);
}

#[test]
#[ignore = "takes long: MUTATIONS of them, 100,000 by default, from the one numbered SEED on"]
fn a_hundred_thousand_mutations() {
    let of = |name, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    run_mutations(of("MUTATIONS", 100_000), of("SEED", 0) << 32);
}

#[test]
fn whole_captures() {
    let current = Current::default();
    watch(&current);
    let mut failures = Vec::new();
    for (path, bytes) in corpus() {
        // A second for each MiB; a build that is not optimised takes ten times as long.
        let longest = LONGEST * (1 + (bytes.len() >> 20) as u32) * if cfg!(debug_assertions) { 10 } else { 1 };
        failures.extend(supervised(path.display().to_string(), &bytes, longest, &current).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
