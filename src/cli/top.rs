//! `apitap top`: a look at a running sensor.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::Failure;
use super::arguments::Top;
use super::commands::loaded;
use crate::sink::is_closed;
use crate::top::{self, Address, Screen};

/// Letters of a line where nobody says how wide it is.
const WIDTH: u16 = 120;

pub(super) fn run(options: Top) -> Result<ExitCode, Failure> {
    let address = match options.address {
        Some(address) => address,
        None => configured(loaded(options.config.as_deref())?.settings.metrics.listen)?,
    };
    if options.json {
        let status = top::ask(&address, options.clients.into())?;
        return print(&(top::json(&status)? + "\n"));
    }
    if options.once {
        let status = top::ask(&address, options.clients.into())?;
        let mut screen = Screen::new(address);
        screen.take(Ok(status));
        let width = options.width.or_else(|| top::width().filter(|_| io::stdout().is_terminal())).unwrap_or(WIDTH);
        return print(&top::text(&screen, width));
    }
    if !io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "standard output is no terminal; --once prints one picture, --json one object".into(),
        ));
    }
    top::run(address, options.clients.into(), Duration::from_secs(options.interval))?;
    Ok(ExitCode::SUCCESS)
}

/// Where the configuration has `watch` listen.
fn configured(listen: String) -> Result<Address, Failure> {
    if listen.is_empty() {
        let reason =
            "the configuration has `watch` listen nowhere (listen = \"\" in [metrics]): it cannot be looked into";
        return Err(Failure::Usage(reason.into()));
    }
    listen.parse().map_err(|reason| Failure::Usage(format!("listen in [metrics]: {reason}")))
}

fn print(text: &str) -> Result<ExitCode, Failure> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if !is_closed(&error) => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
