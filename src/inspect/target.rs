//! Request targets as they may be printed.

use std::borrow::Cow;
use std::ops::Range;

use super::credential::{decoded, query_pairs, segment_pairs};
use super::find::Window;
use super::tally::Tally;
use super::{Inspector, Side};
use crate::call::SensitiveClasses;

/// What stands for the rest of a masked value.
pub(crate) const MASK: &str = "***";

/// The target with everything sensitive masked, and what that was.
pub(super) fn masked<'t>(inspector: &Inspector, target: &'t str) -> (Cow<'t, str>, SensitiveClasses) {
    let compiled = inspector.compiled();
    let finder = inspector.finder(Side::Request);
    let mut tally = Tally::default();
    let mut places: Vec<Range<usize>> = Vec::new();
    let path = target.find(['?', '#']).map_or(target, |end| &target[..end]);
    for (name, value) in segment_pairs(path).chain(query_pairs(target)) {
        if value.is_empty()
            || !(compiled.credentials.is_masked(name, value) || is_masked_encoded(inspector, name, value))
        {
            continue;
        }
        // Both are slices of the target.
        let start = value.as_ptr() as usize - target.as_ptr() as usize;
        places.push(start..start + value.len());
        let value = decoded(value);
        if compiled.credentials.is_credential(&decoded(name), &value) {
            inspector.add_parameter(&finder, &mut tally, &value);
        }
    }
    if let Some(userinfo) = userinfo(target) {
        inspector.add_parameter(&finder, &mut tally, target[userinfo.clone()].as_bytes());
        places.push(userinfo);
    }

    tally.spans = Some(Vec::new());
    let mut scan = |bytes: &[u8]| {
        let window = Window { bytes, base: 0, open_left: false, open_right: false };
        finder.scan(&mut tally, &window, 0, bytes.len());
    };
    let encoded = memchr::memchr(b'%', target.as_bytes()).is_some();
    let offsets = if encoded {
        let (bytes, offsets) = unescape(target.as_bytes());
        scan(&bytes);
        offsets
    } else {
        scan(target.as_bytes());
        Vec::new()
    };
    for (rule, span) in tally.spans.take().unwrap_or_default() {
        let raw = |at: usize| if encoded { offsets.get(at).copied().unwrap_or(target.len()) } else { at };
        let place = raw(span.start as usize)..raw(span.end as usize);
        // Under a name it is told by that; in the path nothing says so but its form.
        let credential = compiled.rules.get(usize::from(rule)).is_some_and(|rule| rule.credential);
        let told = || places.iter().any(|known| known.start <= place.start && place.end <= known.end);
        if credential && place.end <= path.len() && !told() {
            let value = target.as_bytes().get(place.clone()).unwrap_or_default();
            inspector.add_parameter(&finder, &mut tally, &decoded(value));
        }
        places.push(place);
    }
    if places.is_empty() {
        return (Cow::Borrowed(target), SensitiveClasses::default());
    }
    (
        Cow::Owned(cover(target, places)),
        tally.findings(compiled, &inspector.allowances, inspector.settings.distinct_limit).sensitive,
    )
}

fn is_masked_encoded(inspector: &Inspector, name: &[u8], value: &[u8]) -> bool {
    name.contains(&b'%') && inspector.compiled().credentials.is_masked(&decoded(name), value)
}

/// The `user:password` of an absolute target.
fn userinfo(target: &str) -> Option<Range<usize>> {
    if target.starts_with('/') {
        return None;
    }
    let start = target.find("://")? + 3;
    let end = target[start..].find(['/', '?', '#']).map_or(target.len(), |end| start + end);
    let at = start + target[start..end].rfind('@')?;
    target[start..at].contains(':').then_some(start..at)
}

/// The decoded bytes, and for each one where it is in the raw text.
fn unescape(text: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut offsets) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len()));
    let hex = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        offsets.push(at);
        match (byte, hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high << 4 | low) as u8);
                at += 3;
            }
            _ => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    (bytes, offsets)
}

/// An eighth of each value, at most four bytes, stays to be recognised by who knows it.
fn cover(target: &str, mut places: Vec<Range<usize>>) -> String {
    places.sort_by_key(|place| (place.start, place.end));
    let mut text = String::with_capacity(target.len());
    let mut done = 0;
    for place in places {
        let (start, end) = (place.start.max(done), place.end);
        if start >= end {
            continue;
        }
        let touches = done == start && done > 0;
        let mut keep = if touches { start } else { start + (place.len() / 8).min(4) };
        // Neither half an escape nor half a character.
        while keep > start
            && (!target.is_char_boundary(keep) || target.as_bytes()[keep.saturating_sub(2)..keep].contains(&b'%'))
        {
            keep -= 1;
        }
        text.push_str(&target[done..keep]);
        text.push_str(MASK);
        done = end;
        while !target.is_char_boundary(done) {
            done += 1;
        }
    }
    text.push_str(&target[done..]);
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Rules, Settings};
    use super::*;
    use crate::key::Key;

    #[test]
    fn secrets_in_paths_are_masked_and_told() {
        let rules = Rules::load(None).expect("the rules that are compiled in");
        let inspector = Inspector::new(&rules, Settings::default(), Key::from_bytes([7; 16]));
        let masked = |target: &str| {
            let (text, found) = inspector.target(target);
            let all = found.iter().map(|found| format!("{} {}", found.class, found.count));
            (text.into_owned(), all.collect::<Vec<_>>().join(", "))
        };
        let pair = |text: &str, classes: &str| (text.to_owned(), classes.to_owned());
        let session = "8F14E45FCEEA467A9A36DEDD4BEA2543";
        assert_eq!(
            masked(&format!("/x;jsessionid={session}?a=1")),
            pair("/x;jsessionid=8F14***?a=1", "url_credential 1")
        );
        assert_eq!(masked(&format!("/x;v=1;token={session}/y")), pair("/x;v=1;token=8F14***/y", "url_credential 1"));
        assert_eq!(
            masked("/x/ghp_x7Kq2mB9vLpR4tYw8sZcN1dF6gHjA3eU5iO0"),
            pair("/x/ghp_***", "source_forge_token 1, url_credential 1")
        );
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
        assert_eq!(masked(&format!("/x/{token}/y")), pair("/x/eyJh***/y", "jwt 1, url_credential 1"));
        assert_eq!(masked(&format!("/x?t={token}")), pair("/x?t=eyJh***", "jwt 1"));
        assert_eq!(masked(&format!("/x?token={token}")).1, "jwt 1, url_credential 1");
        assert_eq!(masked("/cb#access_token=8sd7f98sd7f98sdf"), pair("/cb#access_token=8s***", "url_credential 1"));
        for same in ["/v1/tokens", "/x;v=1", "/x;a=b/token", "/map;zoom=3;token=", "/a;b;c", "/v1/token/8f14e45f"] {
            assert!(matches!(inspector.target(same), (Cow::Borrowed(_), ref found) if found.is_empty()), "{same}");
        }
    }
}
