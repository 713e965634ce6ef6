//! Alerts, findings and events to whoever reads them.
//!
//! | file | owns |
//! | --- | --- |
//! | `told` | what there is to tell: alerts, findings, events of the inventory |
//! | `settings`, `filter` | the tables `[[sink]]`: where to, which lines, how |
//! | `format` | native, ECS, OCSF, EVE, CEF |
//! | `outlets` | all sinks of a run |
//! | `printing` | standard output, and the thread that prints for a sensor |
//! | `outbox`, `spool` | what one sink has yet to deliver: on disk, and a bounded queue behind a full one |
//! | `delivery`, `backoff` | a sink's thread: in order, at least once, later and later |
//! | `letters`, `resend` | what was refused for good: dead letters, and how they are sent again |
//! | `appending` | files that several processes write at their ends |
//! | `target` | the receiver: `file`, `syslog`, `services` over `http`, `kafka`; `secure` is TLS |
//! | `probe` | whether the receiver is there |
//!
//! Sinks stand outside the path from frame to alert, so they know the wall clock: for time-outs, rotation and back-off. What
//! they send is the same in every run; a line's id tells a receiver what came twice.

mod appending;
mod backoff;
mod delivery;
mod file;
mod filter;
pub mod format;
mod http;
#[cfg(feature = "kafka")]
mod kafka;
mod letters;
mod outbox;
mod outlets;
mod printing;
mod probe;
mod resend;
mod secure;
mod services;
mod settings;
mod spool;
mod syslog;
mod target;
mod told;

pub use outbox::Status;
pub use outlets::{Left, Monitor, Outlets, SINK_LIMIT, check};
pub use probe::{Probe, probe};
pub use resend::{Resent, resend};
pub use settings::{Body, Compression, Secret, Settings, Transport, Type};
pub use told::{Class, Told};

use std::io::{self, Write};

use crate::alert::Alert;

/// Where alerts go.
pub trait Sink: Send {
    /// Hands over one alert.
    ///
    /// # Errors
    ///
    /// What kept it from being written. [`is_closed`] tells the one that is no failure: the reader has gone, the run
    /// should end as it would at the end of the input, and exit well.
    fn write(&mut self, alert: &Alert) -> io::Result<()>;

    /// Sees to it that all alerts handed over so far are out of this process.
    ///
    /// # Errors
    ///
    /// As [`Sink::write`].
    fn flush(&mut self) -> io::Result<()>;
}

/// True when the reader has closed its end (`apitap replay … | head -1`), which ends a run and is no error.
pub fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// JSON objects, a line each. A line reaches the writer in one piece, alone or with others.
#[derive(Debug)]
pub struct JsonLines<W: Write> {
    writer: W,
    /// Whole lines that were not written yet.
    lines: Vec<u8>,
    /// Bytes from which on they are.
    gather: usize,
}

impl<W: Write> JsonLines<W> {
    /// Writes to `writer`, each line by itself.
    pub fn new(writer: W) -> Self {
        JsonLines::gathering(writer, 0)
    }

    /// Writes to `writer` when there are so many bytes, or it is flushed or dropped.
    pub fn gathering(writer: W, bytes: usize) -> Self {
        JsonLines { writer, lines: Vec::new(), gather: bytes }
    }

    /// Writes any value as one line.
    ///
    /// # Errors
    ///
    /// As [`Sink::write`].
    pub fn line(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        self.line_of(|line| Ok(serde_json::to_writer(line, value)?))
    }

    /// Writes what `print` appends as one line.
    ///
    /// # Errors
    ///
    /// As [`Sink::write`], and those of `print`.
    pub fn line_of(&mut self, print: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
        let before = self.lines.len();
        if let Err(error) = print(&mut self.lines) {
            self.lines.truncate(before);
            return Err(error);
        }
        self.lines.push(b'\n');
        if self.lines.len() < self.gather { Ok(()) } else { self.hand_over() }
    }

    /// What a writer refused is not offered again: it may have some of it.
    fn hand_over(&mut self) -> io::Result<()> {
        let written = self.writer.write_all(&self.lines);
        self.lines.clear();
        written
    }

    /// The writer, for whoever wants to look at what was written.
    pub fn writer(&self) -> &W {
        &self.writer
    }
}

impl<W: Write + Send> Sink for JsonLines<W> {
    fn write(&mut self, alert: &Alert) -> io::Result<()> {
        self.line(alert)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over()?;
        self.writer.flush()
    }
}

impl<W: Write> Drop for JsonLines<W> {
    /// A run that broke off has printed what it had.
    fn drop(&mut self) {
        let _ = self.hand_over().and_then(|()| self.writer.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn one_alert_one_line() -> io::Result<()> {
        let mut sink = JsonLines::new(Vec::new());
        sink.write(&Alert::sample())?;
        sink.write(&Alert::sample())?;
        sink.flush()?;
        let text = sink.writer();
        assert_eq!(text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count(), 2);
        assert_eq!(text.last(), Some(&b'\n'));
        Ok(())
    }

    #[test]
    fn lines_are_gathered_whole() {
        /// What was written at once, each time.
        #[derive(Clone, Default)]
        struct Times(std::sync::Arc<std::sync::Mutex<Vec<String>>>);
        impl Write for Times {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().expect("not poisoned").push(String::from_utf8_lossy(bytes).into_owned());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let times = Times::default();
        let mut lines = JsonLines::gathering(times.clone(), 6);
        for number in [10, 20, 30] {
            lines.line(&number).expect("memory");
        }
        lines
            .line_of(|line| {
                line.extend_from_slice(b"half");
                Err(io::Error::other("it cannot be printed"))
            })
            .expect_err("what cannot be printed");
        for number in [40, 50] {
            lines.line(&number).expect("memory");
        }
        drop(lines);
        assert_eq!(*times.0.lock().expect("not poisoned"), ["10\n20\n", "30\n40\n", "50\n"]);
    }

    #[test]
    fn a_closed_pipe_is_told_apart() {
        let error = JsonLines::new(Closed).write(&Alert::sample()).expect_err("nobody reads");
        assert!(is_closed(&error));
        assert!(!is_closed(&io::Error::other("disk full")));
    }
}
