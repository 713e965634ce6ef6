//! Standard output that a closed pipe ends quietly.

use std::io::{self, BufWriter, Stdout, Write};

/// JSON lines on standard output, buffered.
pub(super) struct Lines {
    out: BufWriter<Stdout>,
    line: Vec<u8>,
}

impl Lines {
    pub(super) fn stdout() -> Lines {
        Lines { out: BufWriter::with_capacity(256 << 10, io::stdout()), line: Vec::with_capacity(4096) }
    }

    /// Writes a value as one line.
    pub(super) fn write(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Whether an error of the output is worth telling: a reader that has seen enough is not.
pub(super) fn is_failure(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::BrokenPipe
}
