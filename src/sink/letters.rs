//! Dead letters: what receivers refused for good, JSON lines with `time`, `reason` and the native `alert`, `finding` or `event`.
//!
//! They stand beside the spool in `dead-letters.jsonl`, and those before them, once that is full, in `dead-letters.jsonl.1`:
//! half of what may be kept in each. [`mod@super::resend`] takes them out while others are written.

use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::appending;
use super::outbox::at;
use super::told::{Class, Message, class_of};

/// Longest letter that is looked into: twice what the longest line is. A longer one stays where it is.
const LETTER_LIMIT: u64 = 2 * super::spool::PAYLOAD_LIMIT as u64;

/// Where the letters of a sink are, and how many bytes each of the two files may have.
#[derive(Debug)]
pub(super) struct DeadLetters {
    path: PathBuf,
    limit: u64,
}

impl DeadLetters {
    /// In the folder of a spool of so many bytes.
    pub(super) fn new(folder: &Path, spool_bytes: u64) -> DeadLetters {
        DeadLetters { path: folder.join("dead-letters.jsonl"), limit: spool_bytes / 2 }
    }

    /// The file that is written.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file with those before.
    pub(super) fn older(&self) -> PathBuf {
        self.path.with_extension("jsonl.1")
    }

    /// Adds lines in native form. When it returns they are on disk, or none is.
    pub(super) fn write(&self, payloads: &[&[u8]], reason: &str) -> io::Result<()> {
        let mut lines = Vec::new();
        for payload in payloads {
            lines.extend_from_slice(&letter(payload, reason));
        }
        let mut file = appending::open(&self.path, 0o600).map_err(|error| at(&self.path, &error))?;
        let held = file.metadata()?.len();
        if held > 0 && held + lines.len() as u64 > self.limit {
            // The older half of what may be kept makes room.
            fs::rename(&self.path, self.older())?;
            file = appending::open(&self.path, 0o600).map_err(|error| at(&self.path, &error))?;
        }
        let before = file.metadata()?.len();
        if let Err(error) = file.write_all(&lines) {
            let _ = file.set_len(before);
            return Err(at(&self.path, &error));
        }
        Ok(())
    }
}

/// One letter, with the end of its line.
pub(super) fn letter(payload: &[u8], reason: &str) -> Vec<u8> {
    let told = serde_json::from_slice::<Value>(payload)
        .unwrap_or_else(|_| String::from_utf8_lossy(payload).into_owned().into());
    // What is none of this version stands where alerts do.
    let class = class_of(payload).unwrap_or(Class::Alerts).one();
    let letter = serde_json::json!({ "time": jiff::Timestamp::now().to_string(), "reason": reason, class: told });
    format!("{letter}\n").into_bytes()
}

/// A letter that was read.
#[derive(Debug)]
pub(super) enum Letter {
    /// What it is about, and that in native form.
    Whole(Box<Message>, Vec<u8>),
    /// It cannot be put into a format; why.
    Unreadable(String),
}

impl Letter {
    /// From a line.
    pub(super) fn of(line: &[u8]) -> Letter {
        read(line).map_or_else(Letter::Unreadable, |(message, native)| Letter::Whole(Box::new(message), native))
    }
}

fn read(line: &[u8]) -> Result<(Message, Vec<u8>), String> {
    let unreadable = |error: serde_json::Error| format!("unreadable: {error}");
    let mut fields: Map<String, Value> = serde_json::from_slice(line).map_err(unreadable)?;
    let told = Class::ALL.into_iter().find_map(|class| fields.remove(class.one()));
    let payload = match told.ok_or("unreadable: no dead letter")? {
        Value::String(text) => text.into_bytes(),
        value => value.to_string().into_bytes(),
    };
    let message = Message::read(&payload)?;
    // As it was written at first, but for what a later version may have added.
    let native = message.told().native().map_err(unreadable)?;
    let all = serde_json::from_slice::<Value>(&native).map_err(unreadable)?
        == serde_json::from_slice::<Value>(&payload).map_err(unreadable)?;
    Ok((message, if all { native } else { payload }))
}

/// A line of a file of letters.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its end.
    Whole(Vec<u8>),
    /// It was too long to be held, and was copied.
    TooLong,
    /// The file ended in a part of a line, of so many bytes: whoever wrote it died, and has what it is about still.
    Torn(u64),
}

/// The next line, if there is one. One that is too long is copied to `kept`, with its end.
pub(super) fn next_line(letters: &mut impl BufRead, kept: &mut impl Write) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let count = letters.by_ref().take(LETTER_LIMIT).read_until(b'\n', &mut line)? as u64;
    if count == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_some() {
        return Ok(Some(Line::Whole(line)));
    }
    if count < LETTER_LIMIT {
        // Whoever wrote one by hand may have left out the end.
        let whole = matches!(Letter::of(&line), Letter::Whole(..));
        return Ok(Some(if whole { Line::Whole(line) } else { Line::Torn(count) }));
    }
    kept.write_all(&line)?;
    loop {
        let piece = letters.fill_buf()?;
        let end = memchr::memchr(b'\n', piece);
        let length = end.unwrap_or(piece.len());
        kept.write_all(piece.get(..length).unwrap_or_default())?;
        let over = end.is_some() || length == 0;
        letters.consume(length + usize::from(end.is_some()));
        if over {
            kept.write_all(b"\n")?;
            return Ok(Some(Line::TooLong));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;
    use crate::inventory::events::Event;
    use crate::practice::finding::Finding;
    use crate::sink::told::Told;

    #[test]
    fn what_is_a_letter_is_read_back_to_the_byte() {
        let (alert, finding, event) = (Alert::sample(), Finding::sample(), Event::sample());
        for told in [Told::Alert(&alert), Told::Finding(&finding), Told::Event(&event)] {
            let native = told.native().expect("plain data");
            let line = letter(&native, "400 no");
            let value: Value = serde_json::from_slice(&line).expect("JSON");
            assert!(value[told.class().one()]["schema"].is_string(), "{value}");
            match Letter::of(line.trim_ascii_end()) {
                Letter::Whole(message, read) => assert_eq!((message.told().class(), read), (told.class(), native)),
                Letter::Unreadable(reason) => panic!("{reason}"),
            }
        }
        // What a later version added is sent as it was.
        let mut later = serde_json::to_value(&alert).expect("plain data");
        later["unheard_of"] = 1.into();
        match Letter::of(&letter(later.to_string().as_bytes(), "no")) {
            Letter::Whole(_, native) => assert_eq!(native, later.to_string().into_bytes()),
            Letter::Unreadable(reason) => panic!("{reason}"),
        }
        for (line, reason) in [
            (letter(b"torn{", "no"), "unreadable: expected"),
            (letter(br#"{"schema":"apitap.alert.v9"}"#, "no"), "apitap.alert.v9"),
            (b"{}".to_vec(), "no dead letter"),
            (b"nonsense".to_vec(), "unreadable: expected"),
        ] {
            assert!(matches!(Letter::of(&line), Letter::Unreadable(told) if told.contains(reason)), "{reason}");
        }
    }

    #[test]
    fn lines_are_read_one_by_one_and_what_is_too_long_is_passed_on() {
        let long = "x".repeat(LETTER_LIMIT as usize + 100_000);
        let whole = String::from_utf8(letter(b"{}", "no")).expect("text");
        let text = format!("a\n\n{long}\nb\n{whole}{{\"time");
        let (mut letters, mut kept) = (text.as_bytes(), Vec::new());
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut letters, &mut kept).expect("memory") {
            lines.push(line);
        }
        let bytes = |text: &str| Line::Whole(text.as_bytes().to_vec());
        assert_eq!(lines, [bytes("a"), bytes(""), Line::TooLong, bytes("b"), bytes(whole.trim_end()), Line::Torn(6)]);
        assert_eq!(kept.len(), long.len() + 1);
        // A letter without the end of its line is one all the same.
        let alert = letter(&serde_json::to_vec(&Alert::sample()).expect("plain data"), "no");
        let mut letters = alert.trim_ascii_end();
        assert!(matches!(next_line(&mut letters, &mut kept), Ok(Some(Line::Whole(_)))));
    }

    #[test]
    fn the_older_half_makes_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let letters = DeadLetters::new(folder.path(), 2_000);
        for number in 0..40 {
            letters.write(&[format!("{{\"number\":{number}}}").as_bytes()], "no").expect("room");
        }
        let text = |path: &Path| fs::read_to_string(path).expect("text");
        let both = text(&letters.older()) + &text(letters.path());
        assert!(both.len() <= 2_000 && both.len() > 1_000, "{}", both.len());
        let numbers: Vec<u64> = both
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).expect("JSON")["alert"]["number"].as_u64().expect("a number")
            })
            .collect();
        assert_eq!(numbers, (40 - numbers.len() as u64..40).collect::<Vec<_>>());
    }
}
