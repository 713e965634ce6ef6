//! Numbers in few letters, and text from outside.

use std::borrow::Cow;
use std::fmt::Write;

/// A count or a rate in at most five letters: `0.25`, `7`, `999`, `1.2k`, `340M`.
pub(super) fn count(value: f64) -> String {
    scaled(value, 1_000.0, ["", "k", "M", "G", "T", "P", "E"])
}

/// Bytes: `999 B`, `1.2 KiB`, `340 MiB`.
pub(super) fn bytes(value: f64) -> String {
    scaled(value, 1_024.0, [" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

fn scaled(value: f64, base: f64, units: [&str; 7]) -> String {
    let mut left = if value.is_finite() { value.max(0.0) } else { 0.0 };
    let mut unit = units[0];
    for larger in &units[1..] {
        if left < base - 0.5 {
            break;
        }
        left /= base;
        unit = larger;
    }
    let whole = left.fract() == 0.0 && unit == units[0];
    match left {
        _ if whole => format!("{left:.0}{unit}"),
        _ if left < 1.0 && unit == units[0] => format!("{left:.2}{unit}"),
        _ if left < 9.95 => format!("{left:.1}{unit}"),
        _ => format!("{left:.0}{unit}"),
    }
}

/// A share as percent: `7 %`, `0.3 %`.
pub(super) fn percent(share: f64) -> String {
    let percent = 100.0 * if share.is_finite() { share } else { 0.0 };
    if percent > 0.0 && percent < 0.95 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

/// Seconds: `0.4 s`, `12 s`, `5 min`, `3 h`, `2 d`.
pub(super) fn seconds(value: f64) -> String {
    match value {
        _ if value < 1.0 && value > 0.0 => format!("{value:.1} s"),
        _ if value < 100.0 => format!("{value:.0} s"),
        _ if value < 6_000.0 => format!("{:.0} min", value / 60.0),
        _ if value < 360_000.0 => format!("{:.0} h", value / 3_600.0),
        _ => format!("{:.0} d", value / 86_400.0),
    }
}

/// Whether a terminal may take it for something else than a letter: control characters, and those that change the direction or the
/// place of others or cannot be seen (Unicode category Cf, and separators of lines).
fn is_obeyed(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text from outside as it may be shown.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return text.into();
    }
    text.chars().map(|letter| if is_obeyed(letter) { char::REPLACEMENT_CHARACTER } else { letter }).collect()
}

/// JSON in which such letters, which stand within strings only, are written as `\u` and four digits.
pub(super) fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if !is_obeyed(letter) {
            text.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let counts = [0.0, 0.25, 7.0, 7.5, 42.4, 999.0, 999.7, 1_234.0, 123_456.0, 9.4e9, f64::NAN, -3.0];
        let shown = ["0", "0.25", "7", "7.5", "42", "999", "1.0k", "1.2k", "123k", "9.4G", "0", "0"];
        assert_eq!(counts.map(count), shown);
        assert_eq!([512.0, 1_536.0, 3.0e8].map(bytes), ["512 B", "1.5 KiB", "286 MiB"]);
        assert_eq!([0.0, 0.001, 0.5, 2.0].map(percent), ["0 %", "0.1 %", "50 %", "200 %"]);
        assert_eq!(
            [0.0, 0.25, 12.0, 300.0, 7_200.0, 9e5].map(seconds),
            ["0 s", "0.2 s", "12 s", "5 min", "2 h", "10 d"]
        );
        assert!((0..2_000).all(|power| count(1.01f64.powi(power)).len() <= 5), "up to 10^8");
    }

    #[test]
    fn what_a_terminal_would_obey_is_gone() {
        let hostile = "a\u{1b}[31m\r\n\u{9b}2J\u{7f}\u{202e}b\u{e0041}é漢";
        let shown = printable(hostile);
        assert!(!shown.contains(is_obeyed) && shown.ends_with("é漢"), "{shown:?}");
        assert!(matches!(printable("GET /v1/{id}"), Cow::Borrowed(_)));
        let json = serde_json::to_string(hostile).expect("a string");
        assert!(json.contains('\u{9b}') && json.contains('\u{202e}'), "JSON alone lets them pass");
        let json = escaped(&json);
        assert!(!json.contains(is_obeyed));
        assert_eq!(serde_json::from_str::<String>(&json).expect("the same"), hostile);
    }
}
