//! A disk of one's own, small enough to be full.

#![allow(dead_code, unreachable_pub, reason = "each test crate includes it as a module and uses a part of it")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory, taken away at the end.
pub struct Disk(PathBuf);

impl Disk {
    /// One of so many bytes in a new folder; none, and the reason printed, where nothing can be mounted.
    pub fn mount(folder: PathBuf, bytes: u64) -> Option<Disk> {
        std::fs::create_dir(&folder).expect("a new folder");
        let size = format!("size={bytes}");
        let run = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder).output();
        match run {
            Ok(run) if run.status.success() => Some(Disk(folder)),
            Ok(run) => {
                eprintln!("skipped: mounting needs root: {}", String::from_utf8_lossy(&run.stderr));
                None
            }
            Err(error) => {
                eprintln!("skipped: mount: {error}");
                None
            }
        }
    }

    /// Takes all the room that there is.
    pub fn fill(&self) {
        let mut file = File::create(self.ballast()).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    /// Gives it back.
    pub fn empty(&self) {
        std::fs::remove_file(self.ballast()).expect("it is there");
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
