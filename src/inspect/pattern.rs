//! The regular expression of a rule, built when a candidate first asks for it.
//!
//! Building all of them takes longer than many a capture takes to read, and most rules never have a candidate.

use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

/// Bytes that a built expression may take.
const SIZE_LIMIT: usize = 4 << 20;

/// A regular expression; without Unicode classes, since bodies are bytes, and `\b`, `\s` and `\w` are meant in ASCII.
#[derive(Debug)]
pub(super) struct Pattern {
    expression: String,
    built: OnceLock<Option<Regex>>,
    /// A group called `value` is what the rule is about, and not all that matches.
    has_value: bool,
}

impl Pattern {
    /// One that has not been tried. Where it turns out to be none, nothing matches: for those that a test has built.
    pub(super) fn trusted(expression: String) -> Pattern {
        let has_value = expression.contains("(?P<value>") || expression.contains("(?<value>");
        Pattern { expression, built: OnceLock::new(), has_value }
    }

    /// One that has been built.
    ///
    /// # Errors
    ///
    /// What is wrong with the expression, in several lines.
    pub(super) fn new(expression: String) -> Result<Pattern, String> {
        let regex = build(&expression).map_err(|error| error.to_string())?;
        let pattern = Pattern::trusted(expression);
        let _ = pattern.built.set(Some(regex));
        Ok(pattern)
    }

    fn regex(&self) -> Option<&Regex> {
        self.built.get_or_init(|| build(&self.expression).ok()).as_ref()
    }

    /// Whether it matches somewhere in `text`.
    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(text))
    }

    /// Where the value lies in `text`, if it matches.
    pub(super) fn value(&self, text: &[u8]) -> Option<std::ops::Range<usize>> {
        let regex = self.regex()?;
        let whole = regex.find(text)?;
        if !self.has_value {
            return Some(whole.range());
        }
        let captures = regex.captures(text);
        Some(captures.and_then(|captures| captures.name("value")).map_or(whole.range(), |value| value.range()))
    }
}

fn build(expression: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(expression).unicode(false).size_limit(SIZE_LIMIT).build()
}
