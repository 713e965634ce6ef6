//! Standard output, of which each line is printed by whoever tells it, or by a thread of its own where nobody may wait for the
//! reader: a sensor goes on when what stands behind a pipe does not read, or has gone.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::time::sleep;

use super::delivery::Trouble;
use super::filter::Filter;
use super::format::{Format, Notice};
use super::settings::{Settings, Type};
use super::told::{Class, Message, Told};

/// The name of standard output among the sinks, and of its spool: no sink can be called so.
pub(super) const NAME: &str = "standard.output";

/// Bytes that a pipe takes without waiting once it has said that it takes any (POSIX: `PIPE_BUF` is at least 512, Linux: 4096).
const PIECE: usize = 4_096;

/// How soon a reader that was slow is tried again.
const LOOK: Duration = Duration::from_millis(20);

/// Which lines are printed, and how.
#[derive(Debug)]
pub(super) struct Printed {
    filter: Filter,
    format: Format,
}

/// All of that, and whether somebody reads it.
#[derive(Debug, Default)]
pub(super) struct Output {
    printed: Mutex<Vec<Printed>>,
    closed: AtomicBool,
}

impl Output {
    /// What sinks of the type take, and as native JSON what no sink takes.
    ///
    /// # Errors
    ///
    /// A filter that is none.
    pub(super) fn printed(settings: &[Settings]) -> Result<Vec<Printed>, String> {
        let own = settings.iter().filter(|sink| sink.r#type == Type::Stdout);
        let mut all: Vec<Printed> = own
            .map(|sink| Ok(Printed { filter: Filter::new(sink)?, format: sink.format() }))
            .collect::<Result<_, String>>()?;
        let untaken = |class: &Class| !settings.iter().any(|sink| sink.takes.contains(class));
        let takes: Vec<Class> = Class::ALL.into_iter().filter(untaken).collect();
        if !takes.is_empty() {
            let rest = Settings { takes, ..Settings::default() };
            all.push(Printed { filter: Filter::new(&rest)?, format: Format::Native });
        }
        Ok(all)
    }

    /// From now on this is printed.
    pub(super) fn print(&self, printed: Vec<Printed>) {
        *self.lock() = printed;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Printed>> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a line is printed at all.
    pub(super) fn takes(&self, told: Told<'_>) -> bool {
        self.lock().iter().any(|printed| printed.filter.takes(told))
    }

    /// Whether the reader has gone.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Gives the lines, without their ends, that are printed of one that is told.
    ///
    /// # Errors
    ///
    /// Those of `print`.
    pub(super) fn write(
        &self,
        told: Told<'_>,
        native: &[u8],
        sensor: &str,
        mut print: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        for printed in self.lock().iter().filter(|printed| printed.filter.takes(told)) {
            match printed.format {
                Format::Native => print(native)?,
                format => print(&format.write(&Notice::from(told), native, sensor))?,
            }
        }
        Ok(())
    }
}

/// Standard output as the receiver of a thread.
pub(super) struct Printing {
    to: OwnedFd,
    output: Arc<Output>,
    sensor: String,
    /// What is left of lines that were begun.
    rest: VecDeque<u8>,
    /// Of what was told they are: it is the beginning of the next batch, unless that is done.
    begun: Vec<Vec<u8>>,
}

impl Printing {
    pub(super) fn new(to: OwnedFd, output: Arc<Output>, sensor: &str) -> Printing {
        Printing { to, output, sensor: sensor.to_owned(), rest: VecDeque::new(), begun: Vec::new() }
    }

    /// Prints; whoever gives up waiting for it may go on with the same batch later, of which no line comes twice.
    pub(super) async fn deliver(&mut self, native: &[Vec<u8>]) -> Result<(), Trouble> {
        self.drain().await?;
        let same = self.begun.iter().zip(native).take_while(|(begun, native)| begun == native).count();
        for native in native.get(same..).unwrap_or_default() {
            let message = Message::read(native).map_err(Trouble::never)?;
            let rest = &mut self.rest;
            let line = |line: &[u8]| {
                rest.extend(line);
                rest.push_back(b'\n');
                Ok(())
            };
            let written = self.output.write(message.told(), native, &self.sensor, line);
            written.map_err(|error| Trouble::later(error.to_string()))?;
            self.begun.push(native.clone());
            self.drain().await?;
        }
        self.begun.clear();
        Ok(())
    }

    async fn drain(&mut self) -> Result<(), Trouble> {
        while !self.rest.is_empty() {
            if !self.is_ready() {
                sleep(LOOK).await;
                continue;
            }
            let (piece, _) = self.rest.as_slices();
            match rustix::io::write(&self.to, piece.get(..PIECE).unwrap_or(piece)) {
                Ok(count) => {
                    self.rest.drain(..count);
                    self.output.closed.store(false, Ordering::Relaxed);
                }
                Err(rustix::io::Errno::PIPE) => {
                    self.output.closed.store(true, Ordering::Relaxed);
                    return Err(Trouble::later("its reader has gone"));
                }
                Err(rustix::io::Errno::AGAIN) => sleep(LOOK).await,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Trouble::later(error.to_string())),
            }
        }
        Ok(())
    }

    /// Whether something can be written, or an error waits to be told, without a wait.
    fn is_ready(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.to, PollFlags::OUT)], Some(&now)).is_ok_and(|count| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;
    use std::io::{BufRead, BufReader};
    use tokio::time::timeout;

    fn alert(number: usize) -> Vec<u8> {
        serde_json::to_vec(&Alert { id: format!("{number:016x}"), ..Alert::sample() }).expect("plain data")
    }

    fn printing() -> (Printing, Arc<Output>, io::PipeReader) {
        let (reader, writer) = io::pipe().expect("a pipe");
        let output = Arc::new(Output::default());
        output.print(Output::printed(&[]).expect("no sinks"));
        (Printing::new(writer.into(), output.clone(), "s"), output, reader)
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(future)
    }

    #[test]
    fn a_reader_that_sleeps_gets_each_line_once_and_whole() {
        let (mut printing, output, reader) = printing();
        let all: Vec<Vec<u8>> = (0..300).map(alert).collect();
        // A pipe holds 64 KiB.
        let patience = Duration::from_millis(100);
        assert!(now(async { timeout(patience, printing.deliver(&all[..200])).await }).is_err());
        let read = std::thread::spawn(move || {
            BufReader::new(reader).split(b'\n').take(300).collect::<io::Result<Vec<_>>>().expect("a pipe")
        });
        // More has come meanwhile, so that the batch is longer.
        assert_eq!(now(printing.deliver(&all)), Ok(()));
        assert!(read.join().expect("no panic") == all);
        assert!(!output.is_closed());
    }

    #[test]
    fn a_reader_that_has_gone_is_noticed() {
        let (mut printing, output, reader) = printing();
        drop(reader);
        assert_eq!(now(printing.deliver(&[alert(0)])), Err(Trouble::later("its reader has gone")));
        assert!(output.is_closed());
    }
}
