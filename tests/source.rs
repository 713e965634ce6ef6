//! The capture readers against other readers, over real captures; and a live interface that goes away.

use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use apitap::source::{Advance, Live, Settings, Source, SourceError, from_bytes, from_reader, live, open};
use apitap::stats::{Counter, Counters};
use pcap_parser::{Block, PcapBlockOwned, PcapError};

/// What is compared of a frame: captured bytes and original length.
type Seen = (Vec<u8>, u32);

fn corpus() -> Vec<PathBuf> {
    let shared = std::env::var_os("APITAP_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let folder = shared.join("corpus");
    let mut captures = Vec::new();
    for inner in folder.read_dir().into_iter().flatten().flatten() {
        for entry in inner.path().read_dir().into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|end| end == "pcap" || end == "pcapng") {
                captures.push(entry.path());
            }
        }
    }
    if captures.is_empty() {
        println!("skipped: no captures in {}", folder.display());
    }
    captures.sort();
    captures
}

fn drain(mut source: impl Source) -> (Vec<Seen>, Vec<SourceError>) {
    let (mut frames, mut errors) = (Vec::new(), Vec::new());
    loop {
        match source.advance() {
            Ok(Advance::Frame) => frames.push((source.frame().data.to_vec(), source.frame().original_length)),
            Ok(Advance::End) => return (frames, errors),
            Ok(Advance::Secrets) => {}
            Ok(Advance::Idle(_)) => panic!("a capture file is never idle"),
            Err(error) => errors.push(error),
        }
    }
}

/// The frames that `pcap-parser`'s own reader finds.
fn with_pcap_parser(path: &Path) -> Vec<Seen> {
    let file = File::open(path).expect("a capture of the corpus");
    let mut reader = pcap_parser::create_reader(1 << 20, file).expect("a capture of the corpus");
    let mut frames = Vec::new();
    loop {
        match reader.next() {
            Ok((length, block)) => {
                match block {
                    PcapBlockOwned::Legacy(frame) => frames.push((frame.data.to_vec(), frame.origlen)),
                    PcapBlockOwned::NG(Block::EnhancedPacket(frame)) => {
                        frames.push((frame.data[..frame.caplen as usize].to_vec(), frame.origlen));
                    }
                    PcapBlockOwned::NG(Block::SimplePacket(frame)) => {
                        let captured = frame.data.len().min(frame.origlen as usize);
                        frames.push((frame.data[..captured].to_vec(), frame.origlen));
                    }
                    _ => {}
                }
                reader.consume(length);
            }
            Err(PcapError::Incomplete(_)) => {
                if reader.reader_exhausted() || reader.refill().is_err() {
                    return frames;
                }
            }
            Err(_) => return frames,
        }
    }
}

#[test]
fn corpus_frames_equal_those_of_pcap_parser() {
    let settings = Settings::default();
    for path in corpus() {
        let (frames, errors) = drain(open(std::slice::from_ref(&path), &settings));
        let others: Vec<_> = with_pcap_parser(&path)
            .into_iter()
            .map(|(data, length)| (data.clone(), length.max(data.len() as u32)))
            .collect();
        assert!(frames == others, "{}: {} and {} frames, {errors:?}", path.display(), frames.len(), others.len());
    }
}

#[test]
fn corpus_is_the_same_mapped_streamed_and_compressed() {
    let settings = Settings::default();
    for path in corpus() {
        let bytes = std::fs::read(&path).expect("a capture of the corpus");
        if bytes.len() > 4 << 20 {
            continue; // for time's sake; the others cover the code
        }
        let reasons = |errors: Vec<SourceError>| errors.into_iter().map(|e| (e.offset, e.reason)).collect::<Vec<_>>();
        let with_map = Settings { memory_map: true, ..settings.clone() };
        let (mapped, errors) = drain(open(std::slice::from_ref(&path), &with_map));
        let errors = reasons(errors);
        let packed = zstd::encode_all(&bytes[..], 1).expect("memory takes all");
        for (seen, told) in [
            drain(from_reader("stream", Cursor::new(bytes.clone()), &settings)),
            drain(from_bytes("zstd", packed, &settings)),
            drain(from_bytes("memory", bytes, &settings)),
        ] {
            assert!(mapped == seen, "{}", path.display());
            assert_eq!(errors, reasons(told), "{}", path.display());
        }
    }
}

/// The times in nanoseconds of the frames that tcpdump reads; none when it is not there or refuses the capture.
fn with_tcpdump(path: &Path) -> Option<Vec<i64>> {
    let output = Command::new("tcpdump")
        .args(["-nn", "-tt", "-q", "--nano", "-r"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let time = |line: &str| {
        // A damaged fraction may be above a second, and is printed as it is.
        let (seconds, fraction) = line.split_once(' ')?.0.split_once('.')?;
        Some(seconds.parse::<i64>().ok()? * 1_000_000_000 + fraction.parse::<i64>().ok()?)
    };
    // Continuation lines are indented.
    let starts_with_digit = |line: &&str| line.starts_with(|first: char| first.is_ascii_digit());
    Some(text.lines().filter(starts_with_digit).filter_map(time).collect())
}

#[test]
fn corpus_times_equal_those_of_tcpdump() {
    let settings = Settings::default();
    let mut compared = 0;
    let captures = corpus();
    for path in &captures {
        let Some(others) = with_tcpdump(path) else { continue };
        let mut source = open(std::slice::from_ref(path), &settings);
        let mut times = Vec::new();
        loop {
            match source.advance() {
                Ok(Advance::Frame) => times.push(source.frame().time.nanos()),
                Ok(Advance::Secrets) => {}
                _ => break,
            }
        }
        assert_eq!(times, others, "{}", path.display());
        compared += 1;
    }
    println!("{compared} of {} captures compared with tcpdump", captures.len());
}

/// Runs `ip`, true when it succeeds.
fn ip(arguments: &str) -> bool {
    let status = Command::new("ip").args(arguments.split(' ')).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn an_interface_that_goes_away_is_waited_for() {
    // Without the kernel's dummy driver there may still be virtual Ethernet.
    let pair = "link add apitap0 type veth peer name apitap1";
    if !ip(pair) {
        return println!("skipped: no right to make interfaces, or no `ip`");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let down = Live::open("apitap0", None, &live::Settings::default(), stop.clone()).err();
    assert!(ip("link set apitap0 up") && ip("link set apitap1 up"));
    let opened = Live::open("apitap0", None, &live::Settings::default(), stop.clone());
    let mut live = match opened {
        Ok(live) => live,
        Err(error) => {
            ip("link del apitap0");
            return println!("skipped: {error}");
        }
    };
    let turn = |live: &mut Live| {
        assert!(!matches!(live.advance(), Ok(Advance::End)), "an end without an error");
        let mut counters = Counters::new();
        live.report(&mut counters);
        (counters.value(Counter::InterfaceOutages), counters.value(Counter::InterfacesDown))
    };
    assert!(ip("link del apitap0"));
    assert!((0..50).any(|_| turn(&mut live) == (1, 1)), "the interface is gone and nobody said so");
    println!("while down: {down:?}");
    assert!(ip(pair) && ip("link set apitap0 up") && ip("link set apitap1 up"));
    assert!((0..100).any(|_| turn(&mut live) == (1, 0)), "it is there again");
    assert!(ip("link del apitap0"));
    assert!((0..50).any(|_| turn(&mut live) == (2, 1)), "and gone again");
    // Frames of another kind would be taken for what they are not.
    if ip("tuntap add apitap0 mode tun") {
        let error = (0..100).find_map(|_| live.advance().err());
        ip("tuntap del apitap0 mode tun");
        let error = error.expect("another kind");
        assert!(error.name == "apitap0" && error.reason.contains("another kind"), "{error}");
        assert!(live.lost().load(Ordering::Relaxed));
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(live.advance(), Ok(Advance::End));
}
