//! `apitap resend`: dead letters of the sinks are sent again.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::commands::{default_state, loaded};
use super::consumers::standard_output;
use crate::sink::{self, Settings, Sink, Type, is_closed};

/// `apitap resend`.
#[derive(Debug, Args)]
#[command(
    after_help = "Each dead letter is sent through its sink as it is configured now; what its receiver refuses again, or cannot take now, \
stays among the dead letters. A sensor may run meanwhile. It is to be run as the user of the sensor. What is sent may have come before: ids tell.\n\n\
A line for each sink says how many were sent, how many stay, and why. Exit codes: 0 none stays, 1 some do, 2 usage.\n\nExamples:\n  \
sudo -u apitap apitap resend --config /etc/apitap/apitap.toml\n  apitap resend --config apitap.toml --state state elasticsearch"
)]
pub struct Resend {
    /// Sinks, by their names. Default: all.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Configuration file (TOML) of the sensor.
    #[arg(long, value_name = "FILE", env = "APITAP_CONFIG", help_heading = "Configuration")]
    pub config: Option<PathBuf>,
    /// Its state folder, in which the dead letters are.
    #[arg(long, value_name = "DIR", env = "APITAP_STATE", help_heading = "Configuration")]
    pub state: Option<PathBuf>,
}

pub(super) fn run(options: Resend) -> Result<ExitCode, Failure> {
    let settings = loaded(options.config.as_deref())?.settings;
    super::log::start(settings.output.log_format);
    sink::check(&settings.sink).map_err(Failure::Usage)?;
    let sinks = chosen(&settings.sink, &options.names)?;
    let state = options.state.or(settings.state.clone()).unwrap_or_else(default_state);
    let mut lines = standard_output();
    let mut stay = false;
    for sink in sinks {
        let told = match sink::resend(sink, &state, &settings.output.sensor()) {
            Ok(resent) => {
                stay |= resent.stay > 0;
                resent.to_string()
            }
            Err(error) => {
                stay = true;
                format!("{}: {error}", sink.name())
            }
        };
        let printed = lines.line_of(|line| {
            line.extend_from_slice(told.as_bytes());
            Ok(())
        });
        // Nobody may be reading any more; what was begun is done all the same.
        match printed.and_then(|()| lines.flush()) {
            Err(error) if !is_closed(&error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(if stay { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The sinks that are named, or all that can have dead letters.
fn chosen<'a>(sinks: &'a [Settings], names: &[String]) -> Result<Vec<&'a Settings>, Failure> {
    let can = |sink: &&Settings| sink.r#type != Type::Stdout;
    if names.is_empty() {
        return Ok(sinks.iter().filter(can).collect());
    }
    let mut chosen: Vec<&Settings> = Vec::new();
    for name in names {
        match sinks.iter().find(|sink| sink.name() == name) {
            None => return Err(Failure::Usage(format!("the configuration has no sink {name}"))),
            Some(sink) if !can(&sink) => {
                return Err(Failure::Usage(format!("sink {name} is standard output, which has no dead letters")));
            }
            Some(_) if chosen.iter().any(|held| held.name() == name) => {}
            Some(sink) => chosen.push(sink),
        }
    }
    Ok(chosen)
}
