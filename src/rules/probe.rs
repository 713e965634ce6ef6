//! What values look like that are meant for somebody else than the service: the tables `[[probe]]` of `rules/detect.toml`.
//!
//! The inspection holds values of request bodies against them, which leave no other trace; the detector those of paths and
//! queries, and says what they count.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use regex::{Regex, RegexBuilder};
use serde::Deserialize;

use super::{RuleError, RuleFile};
use crate::alert::Technique;

/// Bytes without which no value is out of the ordinary.
pub(crate) const MARKS: [bool; 256] = {
    let (mut marks, mut place) = ([false; 256], 0);
    let list = b"%'\"<>{}$`|;()\\:";
    while place < list.len() {
        marks[list[place] as usize] = true;
        place += 1;
    }
    marks
};

/// Whether a text has one of [`MARKS`], or two points in a row.
#[inline]
pub(crate) fn is_marked(text: &[u8]) -> bool {
    let mut last = 0;
    text.iter().any(|&byte| MARKS[usize::from(byte)] || (std::mem::replace(&mut last, byte) == b'.' && byte == b'.'))
}

/// The probes of `folder`, and those compiled in where it has no such file. Their examples are not tried.
///
/// # Errors
///
/// A file that cannot be read, or whose `[[probe]]` tables have another shape.
pub(crate) fn load(folder: Option<&Path>) -> Result<Arc<[ProbeRule]>, RuleError> {
    /// The other tables are the detector's.
    #[derive(Deserialize)]
    struct Tables {
        #[serde(default)]
        probe: Vec<ProbeRule>,
    }
    let file = RuleFile::find(folder, crate::detect::FILE, crate::detect::COMPILED_IN)?;
    Ok(file.parse::<Tables>()?.probe.into())
}

/// What a value is meant for that no service expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// A database, a template, a shell, a browser.
    Injection,
    /// To make the server call somebody, or read its files.
    RequestForgery,
}

impl ProbeKind {
    /// The technique that it is a sign of.
    pub const fn technique(self) -> Technique {
        match self {
            ProbeKind::Injection => Technique::InjectionProbing,
            ProbeKind::RequestForgery => Technique::RequestForgeryProbing,
        }
    }
}

/// What a value looks like that is meant for somebody else than the service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeRule {
    /// Its name, which is unique.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it is meant for.
    pub kind: ProbeKind,
    /// Regular expression; without regard to case, anywhere in a decoded value.
    pub pattern: String,
    /// What it counts in the test of first contacts, 0 to 1.
    pub weight: f64,
    /// What fits it has an address, and who sends one address after another looks around: further ones count nearly as much
    /// as the first, and what stands behind the address tells no two apart.
    #[serde(default)]
    pub sweeps: bool,
    /// Values that have it.
    pub matches: Vec<String>,
    /// Values that do not.
    pub rejects: Vec<String>,
    /// The pattern, built when a value first asks for it.
    #[serde(skip)]
    built: OnceLock<Option<Regex>>,
}

impl ProbeRule {
    fn build(&self) -> Result<Regex, regex::Error> {
        RegexBuilder::new(&self.pattern).case_insensitive(true).size_limit(1 << 20).build()
    }

    /// Whether a decoded value has it. Where the pattern is none, nothing does.
    pub(crate) fn fits(&self, value: &str) -> bool {
        self.built.get_or_init(|| self.build().ok()).as_ref().is_some_and(|pattern| pattern.is_match(value))
    }

    /// The part of a value that fits by which it is told from others that do.
    pub(crate) fn told_apart<'v>(&self, value: &'v str) -> &'v str {
        if !self.sweeps {
            return value;
        }
        let pattern = self.built.get_or_init(|| self.build().ok()).as_ref();
        let fits = pattern.and_then(|pattern| pattern.find(value)).map_or(0, |fits| fits.start());
        let from = value.get(fits..).unwrap_or(value);
        let Some((_, rest)) = from.split_once("://") else { return value };
        let authority = rest.split(['/', '?', '#', '\\', '"', ' ', '&']).next().unwrap_or(rest);
        let host = authority.rsplit('@').next().unwrap_or(authority);
        // A program that listens on its own machine for an answer takes another port each time (RFC 8252, section 7.3).
        match host.rsplit_once(':') {
            Some((name, _))
                if name.eq_ignore_ascii_case("localhost") || name.starts_with("127.") || name == "[::1]" =>
            {
                name
            }
            _ => host,
        }
    }

    /// Builds the pattern and tries the examples.
    pub(crate) fn check(&self) -> Result<(), String> {
        let named = |reason: String| format!("probe {:?}: {reason}", self.name);
        self.build().map_err(|error| named(error.to_string()))?;
        if !(0.0..=1.0).contains(&self.weight) {
            return Err(named("a weight from 0 to 1 is expected".to_owned()));
        }
        for (examples, wanted, does) in [(&self.matches, true, "does not match"), (&self.rejects, false, "matches")] {
            if let Some(example) = examples.iter().find(|example| self.fits(example) != wanted) {
                return Err(named(format!("{does} {example:?}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_and_ports_of_the_own_machine_are_not() {
        let rules = load(None).expect("the compiled-in rules are well");
        let rule = rules.iter().find(|rule| rule.sweeps).expect("addresses inside sweep");
        for (value, expected) in [
            ("http://10.0.0.7/admin", "10.0.0.7"),
            ("http://10.0.0.7:8080/admin", "10.0.0.7:8080"),
            ("http://x@10.0.0.7/", "10.0.0.7"),
            ("https://shop.example/go?to=http://10.0.0.9/x", "10.0.0.9"),
            ("http://127.0.0.1:51823/callback", "127.0.0.1"),
            ("http://localhost:51824/callback", "localhost"),
        ] {
            assert!(rule.fits(value), "{value}");
            assert_eq!(rule.told_apart(value), expected, "{value}");
        }
    }
}
