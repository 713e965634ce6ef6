//! Alerts to whoever reads them.
//!
//! | file | owns |
//! | --- | --- |
//! | `settings`, `filter` | the tables `[[sink]]`: where to, which alerts, how |
//! | `format` | native, ECS, OCSF, EVE, CEF |
//! | `outlets` | all sinks of a run |
//! | `outbox`, `spool` | what one sink has yet to deliver: on disk, and a bounded queue behind a full one |
//! | `delivery`, `backoff` | a sink's thread: in order, at least once, later and later, dead letters |
//! | `target` | the receiver: `file`, `syslog`, `services` over `http`, `kafka`; `secure` is TLS |
//! | `probe` | whether the receiver is there |
//!
//! Sinks stand outside the path from frame to alert, so they know the wall clock: for time-outs, rotation and back-off. What
//! they send is the same in every run; an alert's `id` tells a receiver what came twice.

mod backoff;
mod delivery;
mod file;
mod filter;
pub mod format;
mod http;
#[cfg(feature = "kafka")]
mod kafka;
mod outbox;
mod outlets;
mod probe;
mod secure;
mod services;
mod settings;
mod spool;
mod syslog;
mod target;

pub use outbox::Status;
pub use outlets::{Left, Monitor, Outlets, SINK_LIMIT, check};
pub use probe::{Probe, probe};
pub use settings::{Body, Compression, Secret, Settings, Transport, Type};

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

/// One JSON object a line. Each line reaches the writer in one piece.
#[derive(Debug)]
pub struct JsonLines<W> {
    writer: W,
    line: Vec<u8>,
}

impl<W: Write + Send> JsonLines<W> {
    /// Writes to `writer`.
    pub fn new(writer: W) -> Self {
        JsonLines { writer, line: Vec::new() }
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
        self.line.clear();
        print(&mut self.line)?;
        self.line.push(b'\n');
        self.writer.write_all(&self.line)
    }

    /// The writer, for whoever wants to look at what was written.
    pub fn into_inner(self) -> W {
        self.writer
    }
}

impl<W: Write + Send> Sink for JsonLines<W> {
    fn write(&mut self, alert: &Alert) -> io::Result<()> {
        self.line(alert)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
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
        let text = sink.into_inner();
        assert_eq!(text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count(), 2);
        assert_eq!(text.last(), Some(&b'\n'));
        Ok(())
    }

    #[test]
    fn a_closed_pipe_is_told_apart() {
        let error = JsonLines::new(Closed).write(&Alert::sample()).expect_err("nobody reads");
        assert!(is_closed(&error));
        assert!(!is_closed(&io::Error::other("disk full")));
    }
}
