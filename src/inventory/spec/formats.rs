//! Whether what texts look like fits what is specified of them.
//!
//! How a text looks is told by its [`Format`], which errs on the side of saying less: a date far off is a code, and what was
//! written with escapes is a text. So a format is held against a specification only where it cannot be what is asked for.

use std::collections::BTreeSet;

use crate::call::{Format, Formats, Type, Types};
use crate::inspect::shape::format;

/// Whether a text of this format cannot be of the format that a schema names. Of names that are not known, nothing is said.
pub(super) fn contradicts(named: &str, seen: Format) -> bool {
    use Format::{Code, Date, DateTime, Email, Ipv4, Ipv6, Text, Uri, Uuid, Word};
    if seen.is_of_numbers() {
        return false;
    }
    let possible: &[Format] = match named {
        // Those of other centuries are not told from codes.
        "date" => &[Date, Code],
        "date-time" => &[DateTime, Code, Text],
        "uuid" => &[Uuid],
        "email" => &[Email, Text],
        "ipv4" => &[Ipv4],
        "ipv6" => &[Ipv6, Text],
        // `urn:isbn:0` and `mailto:` have no host.
        "uri" => &[Uri, Email, Ipv6, Code, Word, Text],
        _ => return false,
    };
    !possible.contains(&seen)
}

/// Whether a text of this format may be how a value of one of these types is written in a query, a header, a cookie or a form.
pub(super) fn writes(types: Types, seen: Format) -> bool {
    let number = types.contains(Type::Number);
    match seen {
        _ if types.contains(Type::String) => true,
        // A name without a value.
        Format::Empty => true,
        Format::Digits | Format::Decimal => number || types.contains(Type::Integer),
        // With an exponent.
        Format::Code => number,
        Format::Boolean => types.contains(Type::Boolean),
        _ => false,
    }
}

/// What segments of a path may look like that are of this kind ([`Kind`](crate::endpoint::Kind)); none where they may look like
/// anything.
pub(super) fn of_kind(kind: &str) -> &'static [Format] {
    use Format::{Boolean, Code, Date, DateTime, Decimal, Digits, Email, Hexadecimal, Text, Uuid, Word};
    match kind {
        "int" => &[Digits, Decimal],
        "number" => &[Decimal],
        "digits" => &[Digits],
        "month" => &[Code, Text],
        "date-time" => &[DateTime, Code, Text],
        "uuid" => &[Uuid],
        "hash" => &[Hexadecimal],
        // Months are among them.
        "date" => &[Date, DateTime, Code, Text],
        "email" => &[Email, Text],
        "slug" => &[Word, Boolean, Code, Text],
        _ => &[],
    }
}

/// Whether a word of this format may be of a kind.
pub(super) fn is_of_kind(seen: Format, kind: &str) -> bool {
    match kind {
        "slug" | "text" => true,
        // They are told by their digits.
        "token" | "file" => !matches!(seen, Format::Word | Format::Boolean),
        _ => of_kind(kind).contains(&seen),
    }
}

/// Whether a text of this format can be none of these.
pub(super) fn is_unlike(values: &BTreeSet<&str>, seen: Format) -> bool {
    let plain = |value: &&str| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte));
    match seen {
        _ if seen.is_of_numbers() => false,
        // Others than those are written with escapes at times.
        Format::Text if !values.iter().all(plain) => false,
        _ => !values.iter().any(|value| format::of(value.as_bytes()) == seen),
    }
}

/// The names of those that are told, in one text.
pub(super) fn names(of: Formats, told: impl Fn(Format) -> bool) -> String {
    of.iter().filter(|format| told(*format)).map(Format::name).collect::<Vec<_>>().join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_is_told() {
        for (named, fitting, others) in [
            (
                "date",
                &["2026-03-02", "9999-12-31", "0001-01-01"][..],
                &["yesterday", "02/03/2026", "", "1772409600"][..],
            ),
            ("date-time", &["2026-03-02T10:00:00Z", "9999-12-31T23:59:59+01:00"], &["2026-03-02", "now", "1772409600"]),
            ("uuid", &["3F2504E0-4F89-11D3-9A0C-0305E82C3301"], &["4711", "none", "d41d8cd98f00b204e9800998ecf8427e"]),
            (
                "email",
                &["ana@example.com", "ana@localhost", "\"a b\"@example.com"],
                &["ana", "4711", "https://a.example"],
            ),
            ("ipv4", &["192.0.2.7"], &["::1", "192.0.2.700", "localhost"]),
            ("ipv6", &["::1", "fe80::1%eth0"], &["192.0.2.7", "localhost"]),
            (
                "uri",
                &["https://a.example/b", "urn:isbn:0451450523", "mailto:ana@example.com", "tel:+1-816"],
                &["/b", "4711"],
            ),
            ("password", &["yesterday", ""], &[]),
        ] {
            for text in fitting {
                assert!(!contradicts(named, format::of(text.as_bytes())), "{named}: {text}");
            }
            for text in others {
                assert!(contradicts(named, format::of(text.as_bytes())), "{named}: {text}");
            }
        }
    }

    #[test]
    fn numbers_are_written_as_texts() {
        let types = |one| [one].into_iter().collect::<Types>();
        for (kind, fitting, others) in [
            (Type::Integer, &["7", "-7", ""][..], &["abc", "true", "a7-b8"][..]),
            (Type::Number, &["7", "7.5", "1e5"], &["abc", "2026-03-02"]),
            (Type::Boolean, &["true", "false"], &["1", "yes"]),
            (Type::String, &["7", "abc"], &[]),
        ] {
            for text in fitting {
                assert!(writes(types(kind), format::of(text.as_bytes())), "{kind:?}: {text}");
            }
            for text in others {
                assert!(!writes(types(kind), format::of(text.as_bytes())), "{kind:?}: {text}");
            }
        }
    }
}
