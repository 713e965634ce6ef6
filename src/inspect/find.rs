//! The passes over a message's bytes that find candidates, and their confirmation.
//!
//! A general regular expression over every byte would cost more than all the rest of apitap. Candidates are found by
//! what is cheap instead: numbers are runs of at least eight bytes of digits and single separators
//! ([`super::digits`]); an e-mail address has an `@`; secrets begin with a literal ([`super::literals`]); all of
//! these come out of one pass ([`super::sieve`]). Only then a candidate is looked at closely, within a bounded window around it.
//!
//! Whether something matches depends only on the message, never on how it was cut into pieces: each candidate belongs
//! to one place (the first digit of its run, its `@`, a byte of its literal), is looked at when [`AHEAD`] bytes
//! behind that place are there or the message is over, and sees at least [`BEFORE`] bytes before it.

use std::ops::Range;

use super::allow::Allowances;
use super::context::{Conditions, Words};
use super::digits::{self, SHORTEST_RUN};
use super::rules::{BEFORE_REACH, Compiled, PATTERN_REACH, RUN_LIMIT, Rule};
use super::sieve::{BLOCK, Masks};
use super::tally::Tally;
use super::userinfo::{self, Userinfo};
use super::validate::{self, Validator};
use super::{Settings, Side};
use crate::key::Domain;

/// Bytes before a candidate's place that may decide on it: a local part or the head of an identifier, and the words
/// before that.
pub(super) const BEFORE: usize = 192;
/// Bytes behind a candidate's place that may decide on it: a pattern's reach, and the words behind that.
pub(super) const AHEAD: usize = PATTERN_REACH + 128;
/// Blocks that are classified before their candidates are looked at: the bytes stay in the first cache.
const BLOCKS: usize = 32;
/// The same for targets and other short texts.
const FEW_BLOCKS: usize = 4;
/// Longest identifier with its spaces.
const IDENTIFIER_LIMIT: usize = 48;

/// A part of a message with what is known of its surroundings.
pub(super) struct Window<'w> {
    pub(super) bytes: &'w [u8],
    /// Where it begins in the message.
    pub(super) base: u64,
    /// What was before it is lost: a value that touches the edge is no value.
    pub(super) open_left: bool,
    /// What is behind it is lost or not looked at.
    pub(super) open_right: bool,
}

impl Window<'_> {
    fn position(&self, at: usize) -> u64 {
        self.base + at as u64
    }

    fn touches_open_edge(&self, range: &Range<usize>) -> bool {
        (self.open_left && range.start == 0) || (self.open_right && range.end == self.bytes.len())
    }
}

const WORD: u8 = 1;
const LOCAL: u8 = 2;
const DOMAIN: u8 = 4;

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let character = byte as u8;
        if character.is_ascii_alphanumeric() {
            classes[byte] = WORD | LOCAL | DOMAIN;
        }
        byte += 1;
    }
    classes[b'_' as usize] = WORD | LOCAL;
    classes[b'.' as usize] = LOCAL | DOMAIN;
    classes[b'-' as usize] = LOCAL | DOMAIN;
    classes[b'+' as usize] = LOCAL;
    classes
};

#[inline]
fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// Everything that a pass needs and that does not change.
pub(super) struct Finder<'f> {
    pub(super) compiled: &'f Compiled,
    /// The fingerprints' keys, by class.
    pub(super) domains: &'f [Domain],
    pub(super) settings: &'f Settings,
    pub(super) allowances: &'f Allowances,
    pub(super) side: Side,
}

impl Finder<'_> {
    /// Looks at every candidate whose place is in `from..to` of the window.
    pub(super) fn scan(&self, tally: &mut Tally, window: &Window<'_>, from: usize, to: usize) {
        if to.saturating_sub(from) <= FEW_BLOCKS * BLOCK {
            self.scan_by(&mut [Masks::default(); FEW_BLOCKS + 1], tally, window, from, to);
        } else {
            self.scan_by(&mut [Masks::default(); BLOCKS + 1], tally, window, from, to);
        }
    }

    /// The same, as many blocks at a time as there are masks, but for one.
    #[inline]
    fn scan_by(&self, masks: &mut [Masks], tally: &mut Tally, window: &Window<'_>, from: usize, to: usize) {
        let (mut begin, mut done) = (from, from);
        while begin < to {
            let end = to.min(begin + (masks.len() - 1) * BLOCK);
            // One more, since runs of digits may go on.
            let blocks = (end - begin).div_ceil(BLOCK);
            let Some(masks) = masks.get_mut(..=blocks) else { return };
            // Behind the end there is nothing to be found, and short texts are many.
            let filled = window.bytes.len().saturating_sub(begin).div_ceil(BLOCK).min(masks.len());
            let (some, none) = masks.split_at_mut(filled);
            self.compiled.sieve.classify(window.bytes, begin, some);
            none.fill(Masks::default());
            for (block, pair) in masks.windows(2).enumerate() {
                let at = begin + block * BLOCK;
                let [here, next] = pair else { continue };
                let runs = digits::begins(here, next);
                if here.singles | here.windows | runs == 0 {
                    continue;
                }
                let inside = if to - at < BLOCK { (1 << (to - at)) - 1 } else { u64::MAX };
                self.singles(tally, window, at, here.singles & inside);
                digits::runs(window.bytes, at, runs & inside, [from, to], &mut done, RUN_LIMIT, |run| {
                    if !window.touches_open_edge(&run) {
                        self.run(tally, window, run);
                    }
                });
                self.windows(tally, window, at, here.windows & inside);
            }
            begin = end;
        }
    }

    /// The places of single bytes in the block at `at`.
    fn singles(&self, tally: &mut Tally, window: &Window<'_>, at: usize, mut places: u64) {
        while places != 0 {
            let place = at + places.trailing_zeros() as usize;
            places &= places - 1;
            for (byte, rules) in &self.compiled.bytes {
                if window.bytes.get(place) == Some(byte) {
                    self.word(tally, window, place, rules);
                }
            }
        }
    }

    /// The places of what may be windows of literals in the block at `at`.
    fn windows(&self, tally: &mut Tally, window: &Window<'_>, at: usize, mut places: u64) {
        let Some(literals) = &self.compiled.literals else { return };
        while places != 0 {
            let place = at + places.trailing_zeros() as usize;
            places &= places - 1;
            literals.at(window.bytes, place, |literal, start| {
                for &number in &literals.rules[literal] {
                    self.literal(tally, window, number, start);
                }
            });
        }
    }

    /// A byte such as `@` at `at`: the word around it.
    fn word(&self, tally: &mut Tally, window: &Window<'_>, at: usize, rules: &[u16]) {
        const LEFT: usize = 64;
        const RIGHT: usize = 254;
        let bytes = window.bytes;
        if bytes.get(at) == Some(&b'@')
            && let Some(found) = userinfo::before(bytes, at)
        {
            return self.userinfo(tally, window, &found, rules);
        }
        let left = bytes[..at].iter().rev().take(LEFT + 1).take_while(|&&byte| is(byte, LOCAL)).count();
        let right = bytes[at + 1..].iter().take(RIGHT + 1).take_while(|&&byte| is(byte, DOMAIN)).count();
        if left == 0 || left > LEFT || right == 0 || right > RIGHT {
            return;
        }
        let mut range = at - left..at + 1 + right;
        if window.touches_open_edge(&range) {
            return;
        }
        if range.start > 0 && bytes[range.start - 1] == b'\\' && matches!(bytes[range.start], b'n' | b'r' | b't') {
            range.start += 1; // the letter of an escaped line end
        }
        while range.end > at && matches!(bytes[range.end - 1], b'.' | b'-') {
            range.end -= 1;
        }
        if range.start >= at || range.end <= at + 1 {
            return;
        }
        let mut normal = [0u8; LEFT + RIGHT + 1];
        let Some(normal) = normal.get_mut(..range.len()) else { return };
        normal.copy_from_slice(&bytes[range.clone()]);
        normal.make_ascii_lowercase();
        for &number in rules {
            let rule = &self.compiled.rules[usize::from(number)];
            if !rule.sides.has(self.side) || !self.passes(rule, &bytes[range.clone()], normal, false, false) {
                continue;
            }
            if self.confirm(tally, window, number, rule, range.clone(), normal) {
                return;
            }
        }
    }

    /// A password in a URL: for the first rule whose pattern fits the scheme.
    fn userinfo(&self, tally: &mut Tally, window: &Window<'_>, found: &Userinfo, rules: &[u16]) {
        let (Some(scheme), Some(password)) =
            (window.bytes.get(found.scheme.clone()), window.bytes.get(found.password.clone()))
        else {
            return;
        };
        for &number in rules {
            let Some(rule) = self.compiled.rules.get(usize::from(number)) else { continue };
            let Some(check) = rule.validator.of_passwords().filter(|_| rule.sides.has(self.side)) else { continue };
            if rule.pattern.as_ref().is_none_or(|pattern| pattern.is_match(scheme)) {
                if check(password) {
                    self.confirm(tally, window, number, rule, found.password.clone(), password);
                }
                return;
            }
        }
    }

    /// A run of digits: the rules that its number of digits fits, and identifiers that it is part of.
    fn run(&self, tally: &mut Tally, window: &Window<'_>, run: Range<usize>) {
        let bytes = window.bytes;
        if self.identifier(tally, window, &run) {
            return;
        }
        if !is_bounded_left(bytes, run.start) || !is_bounded_right(bytes, run.end) {
            return;
        }
        if self.number(tally, window, run.clone()) {
            return;
        }
        // "2026-01-02 123-45-6789": numbers of other separators next to each other.
        let is_space = |byte: &u8| matches!(byte, b' ' | b'+');
        let text = &bytes[run.clone()];
        if !text.iter().any(is_space) || text.iter().all(|byte| byte.is_ascii_digit() || is_space(byte)) {
            return;
        }
        let mut start = run.start;
        for piece in text.split(is_space) {
            if piece.len() >= SHORTEST_RUN {
                self.number(tally, window, start..start + piece.len());
            }
            start += piece.len() + 1;
        }
    }

    /// A bounded number at `range`; true when a rule took it.
    fn number(&self, tally: &mut Tally, window: &Window<'_>, range: Range<usize>) -> bool {
        let bytes = window.bytes;
        let text = &bytes[range.clone()];
        let mut digits = [0u8; RUN_LIMIT];
        let mut count = 0;
        for &byte in text {
            if byte.is_ascii_digit() {
                // A run has at most RUN_LIMIT bytes.
                digits[count] = byte;
                count += 1;
            }
        }
        let digits = &digits[..count];
        let rules = &self.compiled.by_digits[count];
        if rules.is_empty() {
            return false;
        }
        let before = |distance: usize| range.start.checked_sub(distance).map(|at| bytes[at]);
        let plus = before(1) == Some(b'+');
        // Whether a word that any of the rules asks for is there: most numbers have none, and are done with at once.
        let mut named = None;
        let mut is_named = || {
            *named.get_or_insert_with(|| {
                let none = Words::default();
                let words = &self.compiled.number_words;
                Conditions { context: words, nearby: &none, not_context: &none }.hold(bytes, &range)
            })
        };
        // What a plus stands before is a telephone number, if it is one: its surroundings are looked at last.
        let rounds: &[Option<bool>] = if plus { &[Some(false), Some(true)] } else { &[None] };
        for (round, &number) in rounds.iter().flat_map(|round| rules.iter().map(move |number| (round, number))) {
            let rule = &self.compiled.rules[usize::from(number)];
            let asks = !rule.context.is_empty() && rule.nearby.is_empty();
            if !rule.sides.has(self.side) || round.is_some_and(|round| round != asks) || (asks && !is_named()) {
                continue;
            }
            if rule.validator == Validator::Phone
                && let Some(start) = area_code(bytes, range.start)
            {
                let mut whole = [0u8; RUN_LIMIT + 3];
                whole[..3].copy_from_slice(&bytes[start + 1..start + 4]);
                whole[3..3 + count].copy_from_slice(digits);
                let whole = &whole[..3 + count];
                if self.passes(rule, text, whole, false, true)
                    && self.confirm(tally, window, number, rule, start..range.end, whole)
                {
                    return true;
                }
            }
            if self.passes(rule, text, digits, plus, false)
                && self.confirm(tally, window, number, rule, range.clone(), digits)
            {
                return true;
            }
        }
        false
    }

    /// Identifiers of capital letters and digits that the run is part of; true when a rule took it.
    fn identifier(&self, tally: &mut Tally, window: &Window<'_>, run: &Range<usize>) -> bool {
        let bytes = window.bytes;
        let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        let letter_before = match run.start.checked_sub(1).map(|at| bytes[at]) {
            Some(b' ') => run.start.checked_sub(2).is_some_and(|at| bytes[at].is_ascii_uppercase()),
            Some(byte) => byte.is_ascii_uppercase(),
            None => false,
        };
        if self.compiled.identifiers.is_empty() || !letter_before {
            return false;
        }
        let floor = run.start.saturating_sub(IDENTIFIER_LIMIT);
        let mut start = run.start;
        let mut begins = [0usize; IDENTIFIER_LIMIT + 1];
        let mut count = 0;
        while start > floor {
            let byte = bytes[start - 1];
            if byte == b' ' && bytes[start] != b' ' {
                if let Some(begin) = begins.get_mut(count) {
                    *begin = start;
                    count += 1;
                }
            } else if !is_part(byte) {
                break;
            }
            start -= 1;
        }
        if let Some(begin) = begins.get_mut(count) {
            *begin = start;
            count += 1;
        }
        for &begin in begins[..count].iter().rev() {
            if !is_part(bytes[begin]) || (window.open_left && begin == 0) || !is_bounded_left(bytes, begin) {
                continue;
            }
            for &number in &self.compiled.identifiers {
                if self.identifier_at(tally, window, number, begin, run) {
                    return true;
                }
            }
        }
        false
    }

    fn identifier_at(
        &self,
        tally: &mut Tally,
        window: &Window<'_>,
        number: u16,
        begin: usize,
        run: &Range<usize>,
    ) -> bool {
        let rule = &self.compiled.rules[usize::from(number)];
        if !rule.sides.has(self.side) {
            return false;
        }
        let bytes = window.bytes;
        let mut normal = [0u8; IDENTIFIER_LIMIT];
        let wanted = match rule.validator {
            Validator::Iban => match compact(&bytes[begin..], 4, &mut normal) {
                Some(_) => validate::iban_length(&normal[..4]),
                None => None,
            },
            _ => Some(bytes[begin..].iter().take_while(|&&b| b.is_ascii_uppercase() || b.is_ascii_digit()).count()),
        };
        let Some(wanted) = wanted.filter(|wanted| (rule.bounds[0]..=rule.bounds[1]).contains(wanted)) else {
            return false;
        };
        let Some(used) = compact(&bytes[begin..], wanted, &mut normal) else { return false };
        let range = begin..begin + used;
        let normal = &normal[..wanted];
        range.end > run.start
            && !window.touches_open_edge(&range)
            && is_bounded_right(bytes, range.end)
            && self.passes(rule, &bytes[range.clone()], normal, false, false)
            && self.confirm(tally, window, number, rule, range, normal)
    }

    /// The validator on a value, and the pattern on its text.
    fn passes(&self, rule: &Rule, text: &[u8], normal: &[u8], plus: bool, area: bool) -> bool {
        let valid = match rule.validator {
            Validator::Phone => validate::phone(text, normal, plus, area),
            Validator::SubscriberNumber => validate::subscriber_number(text, normal),
            other => other.check().is_some_and(|check| check(normal)),
        };
        valid && rule.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
    }

    /// The conditions that need more than the value; counts it when they hold.
    fn confirm(
        &self,
        tally: &mut Tally,
        window: &Window<'_>,
        number: u16,
        rule: &Rule,
        range: Range<usize>,
        normal: &[u8],
    ) -> bool {
        if tally.is_covered(number, window.position(range.start)) {
            return true;
        }
        let conditions = Conditions { context: &rule.context, nearby: &rule.nearby, not_context: &rule.not_context };
        if rule.allow.binary_search_by(|allowed| (**allowed).cmp(normal)).is_ok() {
            return false;
        }
        // Reading all that is near is dear.
        if !rule.nearby.is_empty() && tally.is_spent(number, self.settings.candidate_limit) {
            return false;
        }
        if !conditions.hold(window.bytes, &range) {
            if !rule.nearby.is_empty() {
                tally.fail(number, self.compiled);
            }
            return false;
        }
        let counts_for = self.allowances.class_of(rule.class, window.bytes, range.start);
        self.add_as(tally, rule.class, counts_for, normal);
        if let Some(spans) = &mut tally.spans {
            spans.push((number, window.position(range.start)..window.position(range.end)));
        }
        tally.cover(number, window.position(range.end) + rule.merge, self.compiled);
        true
    }

    /// Counts a value of a class.
    pub(super) fn add(&self, tally: &mut Tally, class: u16, value: &[u8]) {
        self.add_as(tally, class, class, value);
    }

    /// The same, where it counts for another.
    fn add_as(&self, tally: &mut Tally, class: u16, counts_for: u16, value: &[u8]) {
        if let Some(domain) = self.domains.get(usize::from(class)) {
            tally.add(counts_for, domain.fingerprint(value), self.compiled, self.settings.distinct_limit);
        }
    }

    fn literal(&self, tally: &mut Tally, window: &Window<'_>, number: u16, start: usize) {
        let bytes = window.bytes;
        let rule = &self.compiled.rules[usize::from(number)];
        if !rule.sides.has(self.side)
            || tally.is_covered(number, window.position(start))
            || (rule.boundary && is(bytes[start], WORD) && !is_bounded_left(bytes, start))
            || tally.is_spent(number, self.settings.candidate_limit)
        {
            return;
        }
        let reach = &bytes[start..bytes.len().min(start + PATTERN_REACH)];
        let Some(pattern) = &rule.pattern else { return };
        let Some(value) = pattern.value(reach) else { return tally.fail(number, self.compiled) };
        let range = start + value.start..start + value.end;
        let text = &bytes[range.clone()];
        // A telephone number is told by what stands around it, which literals do not look at.
        let before = bytes.get(start.saturating_sub(BEFORE_REACH)..start).unwrap_or_default();
        let valid = rule.validator.check().is_some_and(|check| check(text))
            && rule.before.as_ref().is_none_or(|pattern| pattern.is_match(before));
        if !valid || !self.confirm(tally, window, number, rule, range, text) {
            tally.fail(number, self.compiled);
        }
    }
}

/// The start of `(ddd) ` or `(ddd)` right before `start`.
fn area_code(bytes: &[u8], start: usize) -> Option<usize> {
    let before = bytes.get(..start)?;
    let before = before.strip_suffix(b" ").unwrap_or(before).strip_suffix(b")")?;
    let open = before.len().checked_sub(4)?;
    (before[open] == b'(' && before[open + 1..].iter().all(u8::is_ascii_digit)).then_some(open)
}

/// Copies `count` bytes to `normal`, single spaces left out; how many bytes they took.
fn compact(bytes: &[u8], count: usize, normal: &mut [u8; IDENTIFIER_LIMIT]) -> Option<usize> {
    let mut written = 0;
    let mut space = false;
    for (place, &byte) in bytes.iter().enumerate() {
        if written == count {
            return Some(place);
        }
        if byte == b' ' && !space && written > 0 {
            space = true;
        } else if byte.is_ascii_uppercase() || byte.is_ascii_digit() {
            *normal.get_mut(written)? = byte;
            written += 1;
            space = false;
        } else {
            return None;
        }
    }
    (written == count).then_some(bytes.len())
}

/// True when a value may begin at `start`: not in the middle of a word or of a composed identifier.
fn is_bounded_left(bytes: &[u8], start: usize) -> bool {
    let before = |distance: usize| start.checked_sub(distance).map(|at| bytes[at]);
    let Some(previous) = before(1) else { return true };
    if is(previous, WORD) {
        // The end of an escape: \n in JSON, %20 in a form.
        return (matches!(previous, b'n' | b'r' | b't') && before(2) == Some(b'\\'))
            || (before(3) == Some(b'%')
                && previous.is_ascii_hexdigit()
                && before(2).is_some_and(|byte| byte.is_ascii_hexdigit()));
    }
    !matches!(previous, b'-' | b'.') || !before(2).is_some_and(|byte| is(byte, WORD))
}

/// True when a value may end before `end`.
fn is_bounded_right(bytes: &[u8], end: usize) -> bool {
    match bytes.get(end) {
        None => true,
        Some(b'-' | b'.') => !bytes.get(end + 1).is_some_and(|&byte| is(byte, WORD)),
        Some(b'*' | b'@') => false,
        Some(&byte) => !is(byte, WORD),
    }
}
