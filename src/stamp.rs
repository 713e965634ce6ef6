//! How files were found, to see later that others stand there.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Time of change, size and inode of each file; nothing of what is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp(BTreeMap<PathBuf, Option<(i64, i64, u64, u64)>>);

impl Stamp {
    /// As they are now.
    pub(crate) fn of(paths: impl IntoIterator<Item = PathBuf>) -> Stamp {
        let stamp = |path: &PathBuf| {
            std::fs::metadata(path).ok().map(|held| (held.mtime(), held.mtime_nsec(), held.size(), held.ino()))
        };
        Stamp(paths.into_iter().map(|path| (path.clone(), stamp(&path))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_written_replaced_or_removed_is_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        let stamp = || Stamp::of([path.clone()]);
        let none = stamp();
        std::fs::write(&path, "a").expect("room");
        let first = stamp();
        assert!(first != none && first == stamp());
        std::fs::write(&path, "abc").expect("room");
        let second = stamp();
        assert_ne!(second, first);
        let other = folder.path().join("other");
        std::fs::write(&other, "abc").and_then(|()| std::fs::rename(&other, &path)).expect("room");
        assert_ne!(stamp(), second);
        std::fs::remove_file(&path).expect("it is there");
        assert_eq!(stamp(), none);
    }
}
