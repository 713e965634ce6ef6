//! `apitap doctor`: the checks, a line each.

use std::process::ExitCode;

use super::consumers::standard_output;
use crate::doctor::{Check, Subject, Verdict, examine};
use crate::sink::{Sink, is_closed};

/// What the checks came to.
#[derive(Debug, Default)]
pub(super) struct Examination {
    json: bool,
    /// Warnings and failures.
    counts: [usize; 2],
}

impl Examination {
    /// `json`: an object a line.
    pub(super) fn new(json: bool) -> Examination {
        Examination { json, ..Examination::default() }
    }

    /// Makes all checks and prints each as it comes.
    pub(super) fn run(&mut self, subject: &Subject<'_>) -> std::io::Result<()> {
        let mut failed = None;
        examine(subject, &mut |check| {
            if failed.is_none() {
                failed = self.tell(&check).err();
            }
        });
        match failed {
            Some(error) if !is_closed(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Prints a check.
    pub(super) fn tell(&mut self, check: &Check) -> std::io::Result<()> {
        match check.verdict {
            Verdict::Ok => {}
            Verdict::Warning => self.counts[0] += 1,
            Verdict::Failed => self.counts[1] += 1,
        }
        let mut lines = standard_output();
        if self.json {
            lines.line(check)?;
        } else {
            lines.line_of(|line| std::io::Write::write_all(line, check.to_string().as_bytes()))?;
        }
        lines.flush()
    }

    /// 1 when a check failed. What it came to goes to standard error unless it is to be `quiet`.
    pub(super) fn conclude(&self, quiet: bool) -> ExitCode {
        let [warnings, failures] = self.counts;
        if !quiet {
            say!("apitap: {failures} failed, {warnings} warnings");
        }
        if failures > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
