//! Files that another process is still writing: what is there is read whole, and where it is torn is said.

mod support;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use apitap::source::{Advance, Source};
use support::{Folder, Run, fixture};

/// The beginning of the capture that comes with the program, uncompressed, with the offset at which each frame ends.
fn capture() -> (Vec<u8>, Vec<usize>) {
    let mut source = apitap::source::open(&[PathBuf::from(fixture())], &Default::default());
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for word in [0xa1b2_3c4d, 0x0004_0002, 0, 0, 262_144, 1] {
        bytes.extend(u32::to_le_bytes(word));
    }
    for _ in 0..20_000 {
        assert_eq!(source.advance(), Ok(Advance::Frame));
        let frame = source.frame();
        let (nanos, length) = (frame.time.nanos(), frame.data.len() as i64);
        for word in [nanos / 1_000_000_000, nanos % 1_000_000_000, length, length] {
            bytes.extend((word as u32).to_le_bytes());
        }
        bytes.extend(frame.data);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn frames(run: &Run) -> usize {
    run.summary()["counters"]["frames"].as_u64().expect("a count") as usize
}

/// Appends as a capturing program does, in pieces that end anywhere, while something else goes on.
fn append(path: &Path, bytes: &[u8], piece: usize) {
    let mut file = OpenOptions::new().append(true).open(path).expect("it is there");
    for piece in bytes.chunks(piece) {
        file.write_all(piece).expect("room on the disk");
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn a_capture_that_grows_is_read_up_to_where_it_ends() {
    let folder = Folder::new("growing-capture");
    let (bytes, ends) = capture();
    let (path, prefix) = (folder.path("growing.pcap"), folder.path("prefix.pcap"));
    let mut grew = 0;
    for (begin, piece) in [(24, 4_093), (ends[5_000] + 7, 997), (ends[9_999], 65_521)] {
        std::fs::write(&path, &bytes[..begin]).expect("a capture");
        let process = folder
            .apitap("calls", &["--workers", "2", "--json-summary", "growing.pcap"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let run = std::thread::scope(|scope| {
            scope.spawn(|| append(&path, &bytes[begin..], piece));
            Run::of(process.wait_with_output().expect("it ends"))
        });
        let count = frames(&run);
        let end = count.checked_sub(1).map_or(24, |last| ends[last]);
        assert!(end + 16 + 2_000 > begin, "all that was there is read");
        grew += usize::from(end > begin);
        // Either there was nothing behind the last frame, or a part of the next, and where that begins is said.
        match run.code {
            Some(0) => assert!(!run.stderr.contains("apitap:"), "{}", run.stderr),
            _ => {
                let said = format!("growing.pcap: at byte {end}: the capture ends within a frame: ");
                assert!(run.code == Some(1) && run.stderr.contains(&said), "{said} in {}", run.stderr);
            }
        }
        std::fs::write(&prefix, &bytes[..end]).expect("a capture");
        let again = folder.run("calls", &["--workers", "1", "--json-summary", "prefix.pcap"]);
        assert!(again.code == Some(0) && again.stdout == run.stdout, "the calls are those of {count} frames");
    }
    println!("{grew} of 3 were read beyond what was there at first");
}

#[test]
fn where_a_capture_is_torn_is_said() {
    let folder = Folder::new("torn-capture");
    let (bytes, ends) = capture();
    std::fs::write(folder.path("whole.pcap"), &bytes[..ends[999]]).expect("a capture");
    let whole = folder.run("calls", &["whole.pcap"]);
    assert_eq!(whole.code, Some(0));
    for behind in [1, 15, 16, 40] {
        std::fs::write(folder.path("torn.pcap"), &bytes[..ends[999] + behind]).expect("a capture");
        let torn = folder.run("calls", &["torn.pcap"]);
        let said = format!("torn.pcap: at byte {}: the capture ends within a frame: {behind} of ", ends[999]);
        assert!(torn.code == Some(1) && torn.stderr.contains(&said), "{said} in {}", torn.stderr);
        assert!(torn.stdout == whole.stdout, "what is whole is told");
    }
}

#[test]
fn where_a_file_of_calls_is_torn_is_said() {
    let folder = Folder::new("torn-calls");
    let (bytes, ends) = capture();
    std::fs::write(folder.path("whole.pcap"), &bytes[..ends[4_999]]).expect("a capture");
    let calls = folder.run("calls", &["whole.pcap"]).stdout;
    let begins: Vec<usize> =
        calls.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    let last = begins[begins.len() - 2];
    File::create(folder.path("calls.jsonl")).and_then(|mut file| file.write_all(&calls[..last + 50])).expect("a file");
    let run = folder.run("detect", &["--json-summary", "calls.jsonl"]);
    let said = format!("the file ends within this line, which begins at byte {last}");
    assert!(run.code == Some(1) && run.stderr.contains(&said), "{said} in {}", run.stderr);
    assert_eq!(run.summary()["counters"]["records"], begins.len() - 1, "all before it are read");
    // Without the end of the last line alone nothing is missing.
    std::fs::write(folder.path("calls.jsonl"), &calls[..calls.len() - 1]).expect("a file");
    let run = folder.run("detect", &["--json-summary", "calls.jsonl"]);
    assert_eq!((run.code, &run.summary()["counters"]["records"]), (Some(0), &begins.len().into()), "{}", run.stderr);
}
