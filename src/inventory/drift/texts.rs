//! Whether two sets of texts differ by more than chance: what they look like, and which words there are.
//!
//! Both are learned from what came by. A format is compared only where enough was seen, and where one side has none but formats
//! that others are not taken for; an enumeration only where those who lack a word saw about as much as those who have it,
//! which five callers had to share.

use crate::call::{Format, Formats};

/// Messages from which it is believed what all of them look like.
const ENOUGH: u64 = 20;

/// The same for what is not in all of them.
const ENOUGH_AT_TIMES: u64 = 200;

/// How much was seen of an endpoint, before and now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) before: u64,
    pub(super) now: u64,
}

/// How the looks of texts changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// All messages had one of a format that can be relied on, and none has it now.
    pub(super) breaking: bool,
}

/// Texts that look otherwise altogether; none where that may be chance. `always`: all messages have them.
pub(super) fn turn(old: Formats, new: Formats, seen: Seen, always: bool) -> Option<Turn> {
    let enough = if always { ENOUGH } else { ENOUGH_AT_TIMES };
    let (old, new) = (of_texts(old), of_texts(new));
    if seen.before.min(seen.now) < enough || old.is_empty() || new.is_empty() {
        return None;
    }
    let firm = |all: &[Format]| all.iter().all(|one| passes_for(*one).is_some());
    let apart = old.iter().all(|one| new.iter().all(|other| are_apart(*one, *other)));
    // Of what is there at times it is not known how often it was.
    ((firm(&old) || firm(&new)) && apart).then(|| Turn { breaking: always && firm(&old) })
}

/// Those that say what a text looks like: what is empty says nothing.
fn of_texts(all: Formats) -> Vec<Format> {
    all.iter().filter(|one| !one.is_of_numbers() && *one != Format::Empty).collect()
}

/// Whether a value of the one format is not taken for the other.
fn are_apart(one: Format, other: Format) -> bool {
    let passes = |one, other| passes_for(one).is_some_and(|all| all.contains(&other));
    one != other
        && (passes_for(one).is_some() || passes_for(other).is_some())
        && !passes(one, other)
        && !passes(other, one)
}

/// What values of a format look like at times, where most of them look like nothing else; none of a format that says little.
fn passes_for(format: Format) -> Option<&'static [Format]> {
    use Format::{
        Boolean, Code, Date, DateTime, Decimal, Digits, Email, Hexadecimal, Ipv4, Ipv6, Jwt, Path, Text, Time, Uri,
        Uuid,
    };
    match format {
        Uuid | Ipv4 | Boolean => Some(&[]),
        // Those of other centuries.
        Date => Some(&[Code]),
        DateTime | Time => Some(&[Code, Text]),
        Email | Ipv6 | Jwt => Some(&[Text]),
        Uri => Some(&[Path, Text]),
        Digits => Some(&[Decimal, Hexadecimal, Code]),
        Decimal => Some(&[Digits, Code]),
        Hexadecimal => Some(&[Digits, Code]),
        _ => None,
    }
}

/// Words that are new in an enumeration, and whether words are gone from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) new: bool,
    pub(super) gone: bool,
}

/// How an enumeration changed; nothing where it is none on one side.
pub(super) fn words(old: &[String], new: &[String], seen: Seen) -> Words {
    if old.is_empty() || new.is_empty() {
        return Words::default();
    }
    let lacks = |these: &[String], those: &[String]| those.iter().any(|word| !these.contains(word));
    // A word that five callers had in so many messages would be among the others, too.
    let told = |lacking: u64, having: u64| lacking.saturating_mul(5) >= having.saturating_mul(4);
    Words { new: lacks(old, new) && told(seen.before, seen.now), gone: lacks(new, old) && told(seen.now, seen.before) }
}

/// Formats by their names.
pub(super) fn named(names: &[String]) -> Formats {
    Format::ALL.iter().copied().filter(|one| names.iter().any(|name| name == one.name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_told_from_chance() {
        use Format::{Code, Date, DateTime, Decimal, Digits, Email, Empty, Hexadecimal, Int64, Text, Uuid, Word};
        let (breaking, harmless) = (Some(Turn { breaking: true }), Some(Turn { breaking: false }));
        for (old, new, expected) in [
            (&[Date][..], &[Word, Text][..], breaking),
            (&[Uuid], &[Word], breaking),
            (&[Date], &[DateTime], breaking),
            (&[Digits], &[Uuid], breaking),
            (&[Digits], &[Word, Empty], breaking),
            (&[Text], &[Uuid], harmless),
            // Each of these may be chance, or says nothing.
            (&[Date], &[Date, Text], None),
            (&[Date, Word], &[Word], None),
            (&[Date], &[Code], None),
            (&[Email], &[Text], None),
            (&[Digits], &[Decimal], None),
            (&[Digits], &[Hexadecimal], None),
            (&[Word], &[Text, Code], None),
            (&[Uuid], &[Empty], None),
            (&[Uuid], &[], None),
            (&[Int64], &[Word], None),
        ] {
            let of = |all: &[Format]| all.iter().copied().collect::<Formats>();
            assert_eq!(turn(of(old), of(new), Seen { before: 20, now: 20 }, true), expected, "{old:?} {new:?}");
            let at_times = expected.and(harmless);
            assert_eq!(turn(of(old), of(new), Seen { before: 200, now: 200 }, false), at_times, "{old:?} {new:?}");
            for (before, now, always) in [(19, 1_000, true), (1_000, 19, true), (199, 1_000, false)] {
                assert_eq!(turn(of(old), of(new), Seen { before, now }, always), None, "{old:?} {new:?}");
            }
        }
    }

    #[test]
    fn words_that_others_had_no_time_to_see_are_no_change() {
        let list = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let (few, other, more) = (list(&["open", "paid"]), list(&["open", "void"]), list(&["open", "paid", "void"]));
        let told = |old: &[String], new: &[String], before, now| {
            let Words { new, gone } = words(old, new, Seen { before, now });
            (new, gone)
        };
        assert_eq!(told(&few, &other, 50, 50), (true, true));
        assert_eq!(told(&few, &more, 50, 60), (true, false));
        assert_eq!(told(&more, &few, 60, 50), (false, true));
        assert_eq!(told(&few, &more, 50, 100), (false, false), "a rare word comes with more messages");
        assert_eq!(told(&more, &few, 100, 50), (false, false), "and is not there in fewer");
        assert_eq!(told(&few, &few, 50, 50), (false, false));
        assert_eq!(told(&few, &[], 50, 50), (false, false), "an enumeration is learned with time");
    }
}
