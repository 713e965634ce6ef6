//! Which lines a sink gets.

use crate::alert::Severity;

use super::settings::Settings;
use super::told::{Class, Told};

/// By class, kind and severity.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    severity: Severity,
    /// The kinds that it gets, sorted.
    kinds: Vec<(Class, &'static str)>,
}

impl Filter {
    /// From a sink's keys `takes`, `kinds` and `severity`.
    ///
    /// # Errors
    ///
    /// Nothing to take, a pattern that fits no kind of what is taken, or patterns that leave none.
    pub(super) fn new(settings: &Settings) -> Result<Filter, String> {
        if settings.takes.is_empty() {
            return Err("`takes` names nothing".into());
        }
        let of = |class: Class| class.kinds().into_iter().map(move |kind| (class, kind));
        let all: Vec<(Class, &'static str)> =
            Class::ALL.into_iter().filter(|class| settings.takes.contains(class)).flat_map(of).collect();
        let mut kinds = Vec::new();
        if settings.kinds.iter().all(|pattern| pattern.starts_with('!')) {
            kinds.clone_from(&all);
        }
        for pattern in &settings.kinds {
            let (removes, glob) = match pattern.strip_prefix('!') {
                Some(glob) => (true, glob),
                None => (false, pattern.as_str()),
            };
            let fits = |(_, kind): &(Class, &'static str)| matches(glob, kind);
            if !all.iter().any(fits) {
                let taken: Vec<_> = Class::ALL.into_iter().filter(|class| settings.takes.contains(class)).collect();
                let mut reason = format!("`kinds`: {pattern} fits no kind of {}", words(&taken, " or "));
                // Who writes it so has most likely forgotten what it is a kind of.
                let mut others = Class::ALL.into_iter().filter(|class| !taken.contains(class));
                if let Some(class) = others.find(|class| class.kinds().iter().any(|kind| matches(glob, kind))) {
                    reason.push_str(&format!(", but one of {}, which `takes` does not name", class.name()));
                }
                return Err(reason);
            }
            if removes {
                kinds.retain(|kind| !fits(kind));
            } else {
                kinds.extend(all.iter().filter(|kind| fits(kind)));
            }
        }
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.is_empty() {
            return Err(format!("`kinds` leaves no kind of {}", words(&settings.takes, " or ")));
        }
        Ok(Filter { severity: settings.severity, kinds })
    }

    /// Whether the sink gets this line. What is not bad at all has no severity that could be too low.
    pub(super) fn takes(&self, told: Told<'_>) -> bool {
        told.severity().is_none_or(|severity| severity >= self.severity)
            && self.kinds.binary_search(&(told.class(), told.kind())).is_ok()
    }
}

fn words(classes: &[Class], between: &str) -> String {
    classes.iter().map(|class| class.one()).collect::<Vec<_>>().join(between)
}

/// Whether `text` is `glob`, in which `*` stands for any letters. Linear: each star is tried again from its last place only.
fn matches(glob: &str, text: &str) -> bool {
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
    use crate::alert::Alert;
    use crate::inventory::events::Event;
    use crate::practice::finding::Finding;

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
            assert_eq!(matches(glob, text), yes, "{glob} {text}");
        }
    }

    fn settings(takes: &[Class], kinds: &[&str], severity: Severity) -> Settings {
        let kinds = kinds.iter().map(|&kind| kind.to_owned()).collect();
        Settings { takes: takes.to_vec(), kinds, severity, ..Settings::default() }
    }

    #[test]
    fn kinds_are_added_and_taken_away() {
        let takes = |kinds: &[&str], severity| {
            let filter = Filter::new(&settings(&[Class::Alerts], kinds, severity)).expect("good patterns");
            filter.takes(Told::Alert(&Alert::sample()))
        };
        assert!(takes(&[], Severity::Low));
        assert!(takes(&["recon.*"], Severity::Medium));
        assert!(!takes(&["recon.*"], Severity::High));
        assert!(!takes(&["!recon.*"], Severity::Low));
        assert!(!takes(&["recon.*", "!*path*"], Severity::Low));
        assert!(!takes(&["leak.*"], Severity::Low));
        let nothing = settings(&[Class::Alerts], &["recon.*", "!recon.*"], Severity::Low);
        assert!(Filter::new(&nothing).is_err());
    }

    #[test]
    fn what_is_taken_is_filtered_by_kind_and_what_has_a_severity_by_that() {
        let (alert, finding, event) = (Alert::sample(), Finding::sample(), Event::sample());
        let taken = |takes: &[Class], kinds: &[&str], severity| {
            let filter = Filter::new(&settings(takes, kinds, severity)).expect("good patterns");
            [Told::Alert(&alert), Told::Finding(&finding), Told::Event(&event)].map(|told| filter.takes(told))
        };
        assert_eq!(
            taken(&Settings::default().takes, &[], Severity::Low),
            [true, false, false],
            "as before there were others"
        );
        assert_eq!(taken(&Class::ALL, &[], Severity::Low), [true, true, true]);
        assert_eq!(taken(&Class::ALL, &[], Severity::High), [false, true, true]);
        assert_eq!(taken(&Class::ALL, &[], Severity::Critical), [false, false, true]);
        assert_eq!(taken(&[Class::Events, Class::Findings], &[], Severity::Low), [false, true, true]);
        assert_eq!(taken(&Class::ALL, &["credential.*", "sensitive_new"], Severity::Low), [false, true, true]);
        assert_eq!(taken(&Class::ALL, &["!credential.*", "!*_new"], Severity::Low), [true, false, false]);
        assert_eq!(taken(&[Class::Findings, Class::Alerts], &["quota.*"], Severity::Low), [false, false, false]);
    }

    #[test]
    fn patterns_that_fit_nothing_that_is_taken_are_told() {
        let reason = |takes: &[Class], kinds: &[&str]| {
            Filter::new(&settings(takes, kinds, Severity::Low)).expect_err("nothing fits")
        };
        assert_eq!(reason(&[Class::Alerts], &["recn.*"]), "`kinds`: recn.* fits no kind of alert");
        assert_eq!(
            reason(&[Class::Events, Class::Alerts], &["*", "!quota.*"]),
            "`kinds`: !quota.* fits no kind of alert or event, but one of findings, which `takes` does not name"
        );
        assert_eq!(reason(&[Class::Events], &["!*"]), "`kinds` leaves no kind of event");
        assert_eq!(reason(&[], &[]), "`takes` names nothing");
    }
}
