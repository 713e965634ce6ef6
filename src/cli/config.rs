//! `apitap config`: what can be set, and what is.

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory};

use super::arguments::Arguments;
use crate::settings::{Loaded, Origin};

/// Flags, the keys that they set, by their names in the program.
const FLAGS: [(&str, &str); 13] = [
    ("rules", "rules"),
    ("state", "state"),
    ("key_file", "key_file"),
    ("workers", "workers"),
    ("quiet", "output.quiet"),
    ("json_summary", "output.json_summary"),
    ("log_format", "output.log_format"),
    ("fail_on_alert", "output.fail_on_alert"),
    ("verify_checksums", "packet.verify_checksums"),
    ("vxlan_port", "packet.vxlan_ports"),
    ("keylog", "tls.keylog.files"),
    ("trusted_proxy", "client.trusted_proxies"),
    ("false_alarms_per_day", "detect.false_alarms_per_day"),
];

/// Notes which keys the flags of this process set, and their environment variables.
pub(super) fn note_flags(loaded: &mut Loaded) {
    let Ok(matches) = Arguments::command().try_get_matches() else { return };
    let Some((_, given)) = matches.subcommand() else { return };
    for (id, key) in FLAGS {
        let origin = match source(given, id) {
            Some(ValueSource::CommandLine) => Origin::Flag(format!("--{}", id.replace('_', "-"))),
            Some(ValueSource::EnvVariable) => Origin::Environment(format!("APITAP_{}", id.to_uppercase())),
            _ => continue,
        };
        loaded.origins.insert(key.to_owned(), origin);
    }
}

fn source(given: &ArgMatches, id: &str) -> Option<ValueSource> {
    given.try_contains_id(id).ok().filter(|&there| there).and_then(|_| given.value_source(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_flags_and_keys_are_keys() {
        let command = Arguments::command();
        let config = command.find_subcommand("config").expect("the command");
        let keys = crate::settings::keys();
        for (id, key) in FLAGS {
            let flag =
                config.get_arguments().find(|argument| argument.get_id() == id).unwrap_or_else(|| panic!("{id}"));
            assert_eq!(flag.get_long(), Some(id.replace('_', "-").as_str()));
            let variable = flag.get_env().expect("a variable").to_string_lossy().into_owned();
            assert_eq!(variable, format!("APITAP_{}", id.to_uppercase()));
            assert!(keys.iter().any(|known| known.dotted() == key), "{key}");
        }
    }
}
