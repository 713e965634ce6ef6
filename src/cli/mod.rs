//! The command line: raw arguments → checked settings → run.
//!
//! Exit codes: 0 well, 1 failed (also: a part of the input was unreadable), 2 usage, 3 with `--fail-on-alert` when
//! something was found, 4 when `watch` ended because its interface was removed and made anew, and it has no right to
//! listen to that one. A closed pipe on standard output is no error.

/// Says something on standard error. That nobody reads it is no reason to end.
macro_rules! say {
    ($($what:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{}\n", format_args!($($what)*)));
    }};
}

mod arguments;
mod commands;
mod config;
mod consumers;
mod doctor;
mod explain;
mod inventory;
mod log;
mod manual;
mod notify;
mod quotas;
mod reload;
mod resend;
mod saving;
mod schema;
mod summary;
mod top;

use std::process::ExitCode;

use clap::Parser;

pub use arguments::Arguments;
pub use log::LogFormat;

/// Why a command failed, as the operator reads it.
#[derive(Debug)]
pub enum Failure {
    /// The command was given something that cannot be right: exit code 2.
    Usage(String),
    /// Something that it needs does not work: exit code 1.
    Failed(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Failed(error.to_string())
    }
}

/// Parses the process's arguments, runs the command, and says how it went.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse(); // answers --help and usage errors itself, with exit codes 0 and 2
    match commands::run(arguments) {
        Ok(code) => code,
        Err(Failure::Usage(reason)) => {
            say!("apitap: {reason}");
            ExitCode::from(2)
        }
        Err(Failure::Failed(reason)) => {
            say!("apitap: {reason}");
            ExitCode::FAILURE
        }
    }
}
