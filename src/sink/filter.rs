//! Which alerts a sink gets.

use crate::alert::{Alert, Severity, Technique};

use super::settings::Settings;

/// By kind and severity.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    severity: Severity,
    /// The kinds that it gets, sorted.
    kinds: Vec<Technique>,
}

impl Filter {
    /// From a sink's keys `kinds` and `severity`.
    ///
    /// # Errors
    ///
    /// A pattern that fits no kind that there is, or patterns that leave none.
    pub(super) fn new(settings: &Settings) -> Result<Filter, String> {
        let mut kinds: Vec<Technique> = Vec::new();
        if settings.kinds.iter().all(|pattern| pattern.starts_with('!')) {
            kinds.extend_from_slice(Technique::ALL);
        }
        for pattern in &settings.kinds {
            let (removes, glob) = match pattern.strip_prefix('!') {
                Some(glob) => (true, glob),
                None => (false, pattern.as_str()),
            };
            let fits = |kind: &Technique| fits(glob, kind.name());
            if !Technique::ALL.iter().any(fits) {
                return Err(format!("`kinds`: {pattern} fits no kind of alert"));
            }
            if removes {
                kinds.retain(|kind| !fits(kind));
            } else {
                kinds.extend(Technique::ALL.iter().filter(|kind| fits(kind)));
            }
        }
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.is_empty() {
            return Err("`kinds` leaves no kind of alert".into());
        }
        Ok(Filter { severity: settings.severity, kinds })
    }

    /// Whether the sink gets this alert.
    pub(super) fn takes(&self, alert: &Alert) -> bool {
        alert.severity >= self.severity && self.kinds.binary_search(&alert.kind).is_ok()
    }
}

/// Whether `text` is `glob`, in which `*` stands for any letters. Linear: each star is tried again from its last place only.
fn fits(glob: &str, text: &str) -> bool {
    let (glob, text) = (glob.as_bytes(), text.as_bytes());
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(letter) if Some(letter) == text.get(place) => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((held, from)) => {
                    star = Some((held, from + 1));
                    at = held + 1;
                    place = from + 1;
                }
                None => return false,
            },
        }
    }
    glob.get(at..).unwrap_or_default().iter().all(|&letter| letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (glob, text, yes) in [
            ("recon.*", "recon.campaign", true),
            ("*", "", true),
            ("*.slow*", "leak.slow_read", true),
            ("*.slow", "leak.slow_read", false),
            ("recon", "recon.campaign", false),
            ("a*b*c", "axxbxbxc", true),
            ("a*b*c", "axxbxbx", false),
        ] {
            assert_eq!(fits(glob, text), yes, "{glob} {text}");
        }
    }

    #[test]
    fn kinds_are_added_and_taken_away() {
        let takes = |kinds: &[&str], severity| {
            let kinds = kinds.iter().map(|&kind| kind.to_owned()).collect();
            let filter = Filter::new(&Settings { kinds, severity, ..Settings::default() }).expect("good patterns");
            filter.takes(&Alert::sample())
        };
        assert!(takes(&[], Severity::Low));
        assert!(takes(&["recon.*"], Severity::Medium));
        assert!(!takes(&["recon.*"], Severity::High));
        assert!(!takes(&["!recon.*"], Severity::Low));
        assert!(!takes(&["recon.*", "!*path*"], Severity::Low));
        assert!(!takes(&["leak.*"], Severity::Low));
        let nothing = Settings { kinds: vec!["recon.*".into(), "!recon.*".into()], ..Settings::default() };
        assert!(Filter::new(&nothing).is_err());
    }
}
