//! Where an inventory is saved: never onto what the run reads.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Failure;

/// Files of a folder that are looked at; of a larger one only the file of the same name.
const FILES: usize = 65_536;

/// What is to be saved.
pub(super) struct Target<'p> {
    path: &'p Path,
    /// The files that saving replaces: the one that is written first, and the one whose place it takes, where they are there.
    replaced: Vec<Metadata>,
}

impl<'p> Target<'p> {
    /// What saving to a path replaces.
    ///
    /// # Errors
    ///
    /// Something that is no file lies there.
    pub(super) fn of(path: &'p Path) -> Result<Target<'p>, Failure> {
        let there: Vec<_> = [path.to_owned(), draft(path)].iter().filter_map(|one| fs::metadata(one).ok()).collect();
        match there.iter().all(Metadata::is_file) {
            true => Ok(Target { path, replaced: there }),
            false => Err(Failure::Usage(format!("--save {}: what is there is no file", path.display()))),
        }
    }

    /// Fails where something that the run reads would be replaced: a file, by whatever name, or one in a folder that is read.
    ///
    /// # Errors
    ///
    /// It would.
    pub(super) fn spare(&self, what: &str, read: &Path) -> Result<(), Failure> {
        let read = if read == Path::new("-") { Path::new("/dev/stdin") } else { read };
        if self.replaced.is_empty() || !self.replaces(read) {
            return Ok(());
        }
        let (save, read) = (self.path.display(), read.display());
        Err(Failure::Usage(format!("--save {save}: it would replace what this run reads ({what} {read})")))
    }

    fn replaces(&self, read: &Path) -> bool {
        // One file has one place on one device, whatever leads there.
        let place = |of: &Metadata| (of.dev(), of.ino());
        let same = |path: &Path| {
            fs::metadata(path).is_ok_and(|read| self.replaced.iter().any(|known| place(known) == place(&read)))
        };
        if !read.is_dir() {
            return same(read);
        }
        let own = [self.path.to_owned(), draft(self.path)];
        let names = own.iter().filter_map(|path| path.file_name()).map(|name| read.join(name));
        let all = fs::read_dir(read).into_iter().flatten().flatten().take(FILES).map(|entry| entry.path());
        names.chain(all).any(|path| same(&path))
    }
}

/// Where an inventory is written before it takes the place of the one before.
pub(super) fn draft(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}
