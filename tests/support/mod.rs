//! What the integration tests share: the real binary in a temporary folder, and the shared material if it is there.

#![allow(dead_code, unreachable_pub, reason = "each test crate includes it as a module and uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own for one test, removed at the end, with a key in it so that runs agree.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("apitap-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        std::fs::write(path.join("test.key"), [7; 16]).expect("a key file");
        Folder(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The binary with these arguments and the folder's key: the one that `APITAP_BINARY` names, as one that was installed, or else
    /// the one that was built with the tests.
    pub fn apitap(&self, command: &str, arguments: &[&str]) -> Command {
        let built = || env!("CARGO_BIN_EXE_apitap").into();
        let mut process = Command::new(std::env::var_os("APITAP_BINARY").unwrap_or_else(built));
        process.arg(command).args(arguments).arg("--key-file").arg(self.path("test.key")).current_dir(&self.0);
        process
    }

    /// Runs it to its end.
    pub fn run(&self, command: &str, arguments: &[&str]) -> Run {
        Run::of(self.apitap(command, arguments).output().expect("the binary starts"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a run printed and how it ended.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Run {
    pub fn of(output: Output) -> Run {
        Run {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output as JSON values.
    pub fn lines(&self) -> Vec<serde_json::Value> {
        self.stdout
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("a JSON value a line"))
            .collect()
    }

    /// The summary of a run with `--json-summary`.
    pub fn summary(&self) -> serde_json::Value {
        let line = self.stderr.lines().find(|line| line.starts_with('{')).expect("a summary");
        serde_json::from_str(line).expect("a JSON summary")
    }
}

/// The capture that comes with the program.
pub fn fixture() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/three-families.pcap.zst").display().to_string()
}

/// A schema as printed, but without room for what it does not name.
pub fn strict(folder: &Folder, of: &str) -> jsonschema::Validator {
    let mut process = Command::new(env!("CARGO_BIN_EXE_apitap"));
    let output = process.args(["schema", of]).current_dir(folder.path("")).output().expect("the binary starts");
    assert!(output.status.success());
    let mut schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    fn close(schema: &mut serde_json::Value) {
        match schema {
            serde_json::Value::Object(map) => {
                if map.contains_key("properties") {
                    map.insert("additionalProperties".into(), false.into());
                }
                map.values_mut().for_each(close);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(close),
            _ => {}
        }
    }
    close(&mut schema);
    jsonschema::validator_for(&schema).expect("a schema")
}

/// That a value keeps to a schema.
pub fn check(validator: &jsonschema::Validator, line: &serde_json::Value) {
    let errors: Vec<String> =
        validator.iter_errors(line).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?} in {line}");
}

/// An Ethernet frame as IPv4 fragments of at most 256 bytes.
pub fn in_fragments(frame: &[u8], id: u16) -> Vec<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let payload = &frame[34..14 + length];
    let count = payload.len().div_ceil(256);
    let part = |(place, bytes): (usize, &[u8])| {
        let more = if place + 1 < count { 0x2000 } else { 0 };
        let mut part = frame[..34].to_vec();
        part[16..18].copy_from_slice(&(bytes.len() as u16 + 20).to_be_bytes());
        part[18..20].copy_from_slice(&id.to_be_bytes());
        part[20..22].copy_from_slice(&((place * 32) as u16 | more).to_be_bytes());
        part.extend(bytes);
        part
    };
    payload.chunks(256).enumerate().map(part).collect()
}

/// A file or folder of the shared material; None, with a word why, where it is absent.
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("APITAP_SHARED") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}
