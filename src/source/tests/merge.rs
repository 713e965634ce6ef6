//! Several captures as one.

use std::path::PathBuf;

use super::super::open;
use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a temporary folder"))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("a file in it");
        path
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }
}

fn at(nanos: i64, name: &str) -> Sample {
    Sample { nanos: nanos * 1000, link: 1, data: name.as_bytes().to_vec(), original_length: name.len() as u32 }
}

fn names(frames: &[Sample]) -> Vec<String> {
    frames.iter().map(|frame| String::from_utf8_lossy(&frame.data).into_owned()).collect()
}

fn merge(paths: &[PathBuf]) -> (Vec<String>, Vec<SourceError>) {
    let (frames, errors) = drain(open(paths, &Settings::default()));
    (names(&frames), errors)
}

#[test]
fn frames_come_in_order_of_time() {
    let folder = Folder::new();
    let one = folder.write("one", &pcap(&[at(1, "a1"), at(4, "a4"), at(9, "a9")]));
    let two = folder.write("two", &gzip(&pcapng(&[at(2, "b2"), at(3, "b3"), at(10, "b10")])));
    let three = folder.write("three", &zstd(&pcap(&[at(5, "c5"), at(6, "c6"), at(7, "c7"), at(8, "c8")])));
    let expected = ["a1", "b2", "b3", "a4", "c5", "c6", "c7", "c8", "a9", "b10"];
    for paths in [[&one, &two, &three], [&three, &two, &one], [&two, &three, &one]] {
        let (seen, errors) = merge(&paths.map(PathBuf::clone));
        assert_eq!((seen, errors), (expected.map(String::from).to_vec(), vec![]));
    }
}

#[test]
fn ties_go_to_the_capture_that_began_first_then_to_the_earlier_argument() {
    let folder = Folder::new();
    let late = folder.write("a-late", &pcap(&[at(5, "late5"), at(6, "late6")]));
    let early = folder.write("b-early", &pcap(&[at(1, "early1"), at(5, "early5"), at(6, "early6")]));
    let twin = folder.write("c-twin", &pcap(&[at(5, "twin5"), at(6, "twin6")]));
    let (seen, _) = merge(&[twin.clone(), late.clone(), early.clone()]);
    assert_eq!(seen, ["early1", "early5", "twin5", "late5", "early6", "twin6", "late6"]);
    let (seen, _) = merge(&[late, early, twin]);
    assert_eq!(seen, ["early1", "early5", "late5", "twin5", "early6", "late6", "twin6"]);
}

#[test]
fn within_a_capture_the_order_stays() {
    let folder = Folder::new();
    let one = folder.write("one", &pcap(&[at(5, "a5"), at(2, "a2"), at(7, "a7")]));
    let two = folder.write("two", &pcap(&[at(3, "b3"), at(6, "b6")]));
    assert_eq!(merge(&[one, two]).0, ["b3", "a5", "a2", "b6", "a7"]);
}

#[test]
fn unreadable_files_do_not_stop_the_others() {
    let folder = Folder::new();
    let frames: Vec<_> = (0..6).map(|number| at(number, &format!("good{number}"))).collect();
    let good = folder.write("good", &pcap(&frames));
    let text = folder.write("notes.txt", b"no capture");
    let empty = folder.write("empty", b"");
    let mut cut = pcap(&[at(2, "cut2"), at(3, "cut3")]);
    cut.truncate(cut.len() - 1);
    let cut = folder.write("cut", &cut);
    let missing = folder.path().join("missing");
    let (seen, errors) = merge(&[text, missing, cut.clone(), good, empty, PathBuf::from("-"), PathBuf::from("-")]);
    assert_eq!(seen, ["good0", "good1", "good2", "cut2", "good3", "good4", "good5"]);
    let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let expect = |words: [&str; 2]| {
        assert!(told.iter().any(|line| words.iter().all(|word| line.contains(word))), "{words:?}: {told:?}")
    };
    expect(["notes.txt", "no pcap or pcapng"]);
    expect(["missing", "cannot be opened: No such file"]);
    expect(["empty: ", "is empty"]);
    expect(["-: ", "named twice"]);
    expect(["cut: at byte 44", "3 of 4 bytes"].map(|word| if word.starts_with('3') { "within a frame" } else { word }));
}

#[test]
fn one_unreadable_file_alone() {
    let folder = Folder::new();
    let (seen, errors) = merge(&[folder.path().join("missing")]);
    assert_eq!((seen.len(), errors.len()), (0, 1));
    let (seen, errors) = merge(&[folder.write("empty", b"")]);
    assert_eq!((seen.len(), errors.len()), (0, 1));
    assert_eq!(merge(&[]), (vec![], vec![]));
}

#[test]
fn a_folder_is_its_files_without_hidden_ones() {
    let folder = Folder::new();
    folder.write("b.pcap", &pcap(&[at(1, "b")]));
    folder.write("a.pcap", &pcap(&[at(1, "a")]));
    folder.write("header-only.pcap", &pcap(&[]));
    folder.write(".hidden", b"no capture");
    std::fs::create_dir(folder.path().join("inner")).expect("a folder");
    std::fs::write(folder.path().join("inner/c.pcap"), b"no capture").expect("a file");
    assert_eq!(merge(&[folder.path()]), (vec!["a".into(), "b".into()], vec![]));

    folder.write("readme.txt", b"no capture");
    let (seen, errors) = merge(&[folder.path()]);
    assert_eq!((seen.len(), errors.len()), (2, 1));
    let (seen, errors) = merge(&[Folder::new().path()]);
    assert!(seen.is_empty() && errors[0].reason.contains("without files"));
}

#[test]
fn files_of_a_folder_come_in_natural_order() {
    let folder = Folder::new();
    for name in ["part10", "part9", "part1", "part09", "part", "part1b", "other2"] {
        folder.write(name, &pcap(&[at(1, name)]));
    }
    assert_eq!(merge(&[folder.path()]).0, ["other2", "part", "part1", "part1b", "part09", "part9", "part10"]);
}

/// Writes `frames` as captures of about equal length.
fn slice(folder: &Folder, frames: &[Sample], count: usize) {
    for (number, part) in frames.chunks(frames.len().div_ceil(count)).enumerate() {
        let bytes = match number % 4 {
            0 => pcap(part),
            1 => gzip(&pcap(part)),
            2 => pcapng(part),
            _ => zstd(&pcap_with(part, 0xa1b2_3c4d, true, 1, 0)),
        };
        folder.write(&format!("slice{number}"), &bytes);
    }
}

#[test]
fn ten_slices_equal_the_whole() {
    let mut frames = samples(1000);
    for frame in &mut frames {
        frame.nanos = frame.nanos / 50_000_000 * 50_000_000; // forty frames each at the same time
    }
    let folder = Folder::new();
    slice(&folder, &frames, 10);
    assert_eq!(drain(open(&[folder.path()], &Settings::default())), (frames.clone(), vec![]));
    // As a shell would sort them, and worse.
    let mut paths: Vec<_> = (0..10).map(|number| folder.path().join(format!("slice{number}"))).collect();
    paths.reverse();
    assert_eq!(drain(open(&paths, &Settings::default())), (frames, vec![]));
}

#[test]
fn slices_in_time_are_open_one_after_the_other() {
    let folder = Folder::new();
    let frames = samples(2000);
    slice(&folder, &frames, 400);
    let mut source = open(&[folder.path()], &Settings { max_open_files: 1, ..Settings::default() });
    let (mut count, mut most) = (0, 0);
    while source.advance().expect("no failure") == Advance::Frame {
        assert_eq!(source.frame().data, frames[count].data);
        count += 1;
        most = most.max(source.open_count());
    }
    assert_eq!((count, most, source.open_count()), (2000, 1, 0));
}

#[test]
fn more_overlapping_captures_than_may_be_open_are_left_out() {
    let folder = Folder::new();
    for number in 0..5 {
        let name = format!("f{number}");
        folder.write(&name, &pcap(&[at(number, &name), at(100 + number, &name)]));
    }
    folder.write("later", &pcap(&[at(1000, "later")]));
    let settings = Settings { max_open_files: 3, ..Settings::default() };
    let (frames, errors) = drain(open(&[folder.path()], &settings));
    assert_eq!(names(&frames), ["f0", "f1", "f2", "f0", "f1", "f2", "later"]);
    assert_eq!(errors.len(), 2);
    assert!(errors[0].name.ends_with("f3") && errors[0].reason.contains("max_open_files"), "{errors:?}");
}

#[test]
fn more_files_than_may_be_named_are_left_out() {
    let folder = Folder::new();
    let paths: Vec<_> = (0..4).map(|n| folder.write(&format!("f{n}"), &pcap(&[at(n, "x")]))).collect();
    let settings = Settings { max_files: 3, ..Settings::default() };
    let (frames, errors) = drain(open(&paths, &settings));
    assert_eq!((frames.len(), errors.len()), (3, 1));
    assert!(errors[0].name.ends_with("f3") && errors[0].reason.contains("max_files (3)"), "{errors:?}");
    let (frames, errors) = drain(open(&[folder.path()], &settings));
    assert_eq!((frames.len(), errors.len()), (0, 1));
}

#[test]
fn skipped_blocks_are_counted_once_over_all_captures() {
    let folder = Folder::new();
    for (name, ticks) in [("one", 1), ("two", 2)] {
        let mut file = Pcapng::new(false);
        file.interface(1, 0, &[]).block(99, b"unknown").enhanced(0, ticks, b"frame", 5).block(98, b"unknown");
        folder.write(name, &file.bytes);
    }
    let mut file = Pcapng::new(false);
    folder.write("without frames", &file.block(99, b"unknown").bytes);
    let mut source = open(&[folder.path()], &Settings::default());
    while source.advance().expect("no failure") == Advance::Frame {}
    assert_eq!(skipped(&mut source), 5);
    let size = |name: &str| folder.path().join(name).metadata().expect("a file").len();
    let all = size("one") + size("two") + size("without frames");
    assert_eq!(source.progress(), Some((all, all)));
}

#[test]
fn a_named_pipe_is_read_once() {
    let folder = Folder::new();
    let pipe = folder.path().join("pipe");
    match std::process::Command::new("mkfifo").arg(&pipe).status() {
        Ok(status) if status.success() => {}
        other => return println!("skipped: mkfifo does not work here ({other:?})"),
    }
    let file = folder.write("file", &pcap(&[at(2, "file2"), at(4, "file4")]));
    let writer = {
        let pipe = pipe.clone();
        std::thread::spawn(move || std::fs::write(pipe, gzip(&pcap(&[at(1, "pipe1"), at(3, "pipe3")]))))
    };
    let (seen, errors) = merge(&[file, pipe]);
    assert_eq!((seen.join(" "), errors), ("pipe1 file2 pipe3 file4".into(), vec![]));
    writer.join().expect("no panic").expect("written");
}

#[test]
fn a_file_is_the_same_mapped_or_read() {
    let folder = Folder::new();
    let frames = samples(300);
    let path = folder.write("file", &pcap(&frames));
    for memory_map in [true, false] {
        let settings = Settings { memory_map, ..Settings::default() };
        assert_eq!(drain(open(std::slice::from_ref(&path), &settings)), (frames.clone(), vec![]));
    }
}

#[test]
fn a_mapped_file_reads_the_same_across_pages_given_back() {
    let data = vec![7; 60_000];
    let frames: Vec<_> = (0..1200_i64)
        .map(|number| Sample { nanos: number * 1000, link: 1, data: data.clone(), original_length: 60_000 })
        .collect();
    let folder = Folder::new();
    let path = folder.write("large", &pcap(&frames));
    assert_eq!(drain(open(&[path], &Settings { memory_map: true, ..Settings::default() })).0, frames);
}
