//! The manual pages and completion scripts, written from the same definitions as the help texts, so that neither goes stale.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::Failure;
use super::arguments::Arguments;

/// Writes `man/apitap.1`, `man/apitap-watch.1` and so on, and the scripts of all shells in `completions/`.
pub(super) fn write(folder: &Path) -> Result<ExitCode, Failure> {
    let failed = |path: &Path, error: io::Error| Failure::Failed(format!("{}: {error}", path.display()));
    let [pages, scripts] = ["man", "completions"].map(|name| folder.join(name));
    for path in [&pages, &scripts] {
        std::fs::create_dir_all(path).map_err(|error| failed(path, error))?;
    }
    clap_mangen::generate_to(shown(), &pages).map_err(|error| failed(&pages, error))?;
    for &shell in Shell::value_variants() {
        clap_complete::generate_to(shell, &mut Arguments::command(), "apitap", &scripts)
            .map_err(|error| failed(&scripts, error))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The commands without what this process finds in its environment: packages are to be the same wherever they are built.
fn shown() -> Command {
    fn bare(command: Command) -> Command {
        command.mut_args(|argument| argument.hide_env_values(true)).mut_subcommands(bare)
    }
    bare(Arguments::command()).disable_help_subcommand(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_every_shell_a_script() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path()).unwrap_or_else(|failure| panic!("{failure:?}"));
        let names = |name: &str| {
            let entries = std::fs::read_dir(folder.path().join(name)).expect("a folder");
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect::<Vec<_>>()
        };
        let pages = names("man");
        for command in Arguments::command().get_subcommands() {
            let page = format!("apitap-{}.1", command.get_name());
            assert_eq!(pages.contains(&page), !command.is_hide_set(), "{page}");
        }
        let page = std::fs::read_to_string(folder.path().join("man/apitap-watch.1")).expect("a page");
        for argument in ["interface", "snap\\-length", "APITAP_STATE"] {
            assert!(page.contains(argument), "{argument}");
        }
        assert_eq!(names("completions").len(), Shell::value_variants().len());
    }
}
