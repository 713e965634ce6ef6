//! Whether the words below a node are one parameter. The rules are told in the module above.

use std::collections::BTreeMap;

use super::super::shape;
use super::Settings;
use super::tree::{Index, Node, ROOT, Tree, Uniform};
use crate::model::Distinct;

/// Answers of this many bytes or fewer say nothing by their length: `{"ok":true}` is alike everywhere.
const TELLING: f64 = 200.0;

/// Words of one parameter's kind that are enough when they all look like languages, or their answers agree closely.
const FEW: usize = 3;

/// Distance of logarithms of lengths: within 4 %, a tenth, a factor of 1.6.
const CLOSE: f64 = 0.04;
const TENTH: f64 = 0.1;
const NEAR: f64 = 0.47;

/// How far one word's answers may spread in favour of it.
const SPREAD: f64 = 0.8;

/// Words that are looked at below one word, at two levels each.
const LABELS: usize = 64;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Verdict {
    /// These words are one parameter, with the one that is there if there is one.
    Parameter {
        words: Vec<Index>,
        /// And so are all others to come: these were many.
        open: bool,
    },
    /// These words are misses that are answered with this length.
    CatchAll(Vec<Index>, u64),
}

/// A word below the node that is judged.
struct Word<'t> {
    index: Index,
    node: &'t Node,
    /// Only GET, and nothing below.
    page: bool,
    /// Mean logarithm of the lengths of what GET gave.
    length: Option<f64>,
    /// Their standard deviation, up to [`SPREAD`]: a release that makes answers larger does so for all objects, but
    /// each has its own share of calls before it.
    spread: f64,
    /// Has words below that others have.
    related: bool,
}

impl Word<'_> {
    /// Customary names of operations and of the caller's own object.
    fn customary(&self) -> bool {
        const NAMES: [&str; 24] = [
            "all", "batch", "bulk", "count", "current", "export", "find", "health", "import", "latest", "list",
            "login", "lookup", "me", "my", "new", "query", "recent", "search", "self", "stats", "status", "suggest",
            "summary",
        ];
        self.node.word().is_some_and(|word| NAMES.binary_search(&word).is_ok())
    }
}

pub(super) fn judge(tree: &Tree, settings: &Settings, parent: Index) -> Option<Verdict> {
    let above = tree.get(parent)?;
    if let Some(verdict) = one_page(tree, settings, parent, above) {
        return Some(verdict);
    }
    if above.words.is_empty() {
        return None;
    }
    let prefix = above.parent == ROOT || above.word().is_some_and(shape::is_prefix);
    if prefix && !above.open && too_few(tree, settings, above) {
        return None;
    }
    let mut words: Vec<Word<'_>> = above.words.iter().filter_map(|&index| word(tree, index)).collect();
    words.retain(|word| !word.node.alias);
    if let Some(verdict) = catch_all(tree, settings, above, &words) {
        return Some(verdict);
    }
    if !prefix && let Some(members) = pages(tree, settings, above, &words) {
        return Some(Verdict::Parameter { words: members, open: true });
    }
    if !prefix && let Some(members) = beside(tree, above, &words) {
        return Some(Verdict::Parameter { words: members, open: false });
    }
    if !prefix && let Some(members) = few(settings, above, &words) {
        return Some(Verdict::Parameter { words: members, open: false });
    }
    let known = above.parameter.filter(|_| above.open).and_then(|index| tree.get(index));
    relate(tree, known, &mut words);
    let members = match known {
        Some(_) => Some(indices(words.iter().filter(|word| word.related))).filter(|members| !members.is_empty()),
        None => locales(&words).or_else(|| subtrees(tree, settings, &words, prefix)),
    };
    let members = members.or_else(|| many(tree, settings, &words))?;
    Some(Verdict::Parameter { words: members, open: true })
}

/// Whether there are fewer words than any of the rules for the API's own words asks for: they need not be compared.
fn too_few(tree: &Tree, settings: &Settings, above: &Node) -> bool {
    let locale = |&&index: &&Index| tree.get(index).and_then(Node::word).is_some_and(shape::is_locale);
    above.words.len() < settings.catch_all.max(2).min(settings.many)
        && (above.words.len() < FEW || above.words.iter().filter(locale).count() < FEW)
}

fn word(tree: &Tree, index: Index) -> Option<Word<'_>> {
    let node = tree.get(index)?;
    let get = node.record("GET");
    let length = get.filter(|record| record.lengths.count() > 0.0).map(|record| record.lengths.mean());
    let page = node.is_leaf() && get.is_some() && node.records.len() == 1;
    let spread = get.map_or(0.0, |record| record.lengths.variance().sqrt().min(SPREAD));
    Some(Word { index, node, page, length, spread, related: false })
}

/// How many words there are when one client counts for a third of `needed` at most, but for those that others confirmed.
fn weight<'w, 't: 'w>(words: impl Iterator<Item = &'w Word<'t>>, needed: usize) -> usize {
    let (mut confirmed, mut creators) = (0, BTreeMap::<u64, usize>::new());
    for word in words {
        if word.node.confirmed {
            confirmed += 1;
        } else {
            *creators.entry(word.node.creator).or_default() += 1;
        }
    }
    confirmed + creators.into_values().map(|count| count.min((needed / 3).max(1))).sum::<usize>()
}

/// How many good answers a word has had, by GET.
fn successes(word: &Word<'_>) -> u64 {
    word.node.record("GET").map_or(0, |record| record.successes)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn indices<'w, 't: 'w>(words: impl Iterator<Item = &'w Word<'t>>) -> Vec<Index> {
    words.map(|word| word.index).collect()
}

/// Whatever is asked for of a service is answered with one page: what has nothing else below is no endpoint.
fn one_page(tree: &Tree, settings: &Settings, parent: Index, above: &Node) -> Option<Verdict> {
    let (index, host) = tree.host(parent)?;
    let shell = host.shell.as_deref()?;
    if (shell.same as usize) < settings.catch_all.max(2) || shell.same < 4 * shell.other {
        return None;
    }
    let page = Uniform::Always(shell.length);
    // Where it is known that anything is answered, all of these are that; elsewhere several places have to say so.
    let known = host.catch_all == Some(shell.length) || above.catch_all == Some(shell.length);
    // There, what was answered without a body only, as not modified, is that as well.
    let fits = |lengths: Uniform| lengths == page || (known && lengths == Uniform::Unseen);
    let is_page = |node: &Node| fits(node.lengths) && fits(node.pages) && !node.alias;
    let words = above.words.iter().copied().chain(above.parameter);
    let members: Vec<Index> = words.filter(|&word| tree.get(word).is_some_and(is_page)).collect();
    let several = || {
        members.len() >= FEW && {
            let suffixes = Suffixes::of(tree, members.iter().copied());
            suffixes.different() >= FEW || (parent == index && suffixes.flat >= FEW)
        }
    };
    (!members.is_empty() && (known || several())).then_some(Verdict::CatchAll(members, shell.length))
}

/// What lies below some words.
#[derive(Default)]
struct Suffixes {
    /// How many of the words have it below them.
    words: BTreeMap<String, usize>,
    /// Words that are asked for themselves.
    flat: usize,
    /// Of the words and what lies below them, how many segments down, how often.
    depths: BTreeMap<usize, usize>,
}

impl Suffixes {
    /// Of each word, at most [`LABELS`] nodes are looked at.
    fn of(tree: &Tree, words: impl Iterator<Item = Index>) -> Suffixes {
        let mut suffixes = Suffixes::default();
        for word in words {
            let mut waiting = vec![(word, String::new(), 0)];
            let mut looked = 0;
            while let Some((index, suffix, depth)) = waiting.pop() {
                let Some(node) = tree.get(index) else { continue };
                if !node.records.is_empty() {
                    *suffixes.depths.entry(depth).or_default() += 1;
                    match depth {
                        0 => suffixes.flat += 1,
                        _ => *suffixes.words.entry(suffix.clone()).or_default() += 1,
                    }
                }
                looked += 1;
                let room = LABELS.saturating_sub(looked + waiting.len());
                waiting.extend(node.below().take(room).filter_map(|child| {
                    Some((child, format!("{suffix}/{}", super::written(&tree.get(child)?.label)), depth + 1))
                }));
            }
        }
        suffixes
    }

    /// How many there are.
    fn different(&self) -> usize {
        self.words.len()
    }

    /// Whether they vary from word to word, and in their depth: those of objects are the same ones.
    fn vary(&self) -> bool {
        let often = self.depths.values().filter(|count| **count >= FEW).count();
        2 * self.words.len() > self.words.values().sum::<usize>() && often >= 2
    }
}

/// Many words of one client each, all answered with the same number of bytes at whatever depth.
fn catch_all(tree: &Tree, settings: &Settings, above: &Node, words: &[Word<'_>]) -> Option<Verdict> {
    let mut lengths = BTreeMap::<u64, usize>::new();
    let mut all = 0;
    for word in words.iter().filter(|word| !word.node.confirmed) {
        all += 1;
        if let Uniform::Always(length) = word.node.lengths {
            *lengths.entry(length).or_default() += 1;
        }
    }
    let (&length, &count) = lengths.iter().max_by_key(|&(_, &count)| count)?;
    if count < settings.catch_all.max(2) || 2 * count <= all {
        return None;
    }
    let same = |word: &&Word<'_>| !word.node.confirmed && word.node.lengths == Uniform::Always(length);
    let members = indices(words.iter().filter(same));
    let suffixes = Suffixes::of(tree, members.iter().copied());
    // Right behind the host they may be words and nothing else: there they are the API's own, and no objects.
    let flat = above.parent == ROOT && 2 * suffixes.flat >= members.len() && suffixes.depths.len() == 1;
    (above.catch_all == Some(length) || flat || suffixes.vary()).then_some(Verdict::CatchAll(members, length))
}

/// Pages whose answers are of the size that a parameter beside them gives.
fn beside(tree: &Tree, above: &Node, words: &[Word<'_>]) -> Option<Vec<Index>> {
    let parameter = tree.get(above.parameter?)?;
    let record = parameter.record("GET").filter(|record| record.lengths.count() > 0.0)?;
    let (mean, deviation) = (record.lengths.mean(), record.lengths.variance().sqrt());
    let each = record.successes as f64 / parameter.values.count().max(1) as f64;
    if above.open {
        // Words that were told apart since: those that are not called more than any object go back.
        let seldom = |word: &&Word<'_>| word.page && (successes(word) as f64) < each;
        let members = indices(words.iter().filter(seldom));
        return (record.successes >= 20 && !members.is_empty()).then_some(members);
    }
    let alike = |word: &&Word<'_>| {
        word.page && !word.customary() && word.length.is_some_and(|length| (length - mean).abs() < TENTH)
    };
    let members: Vec<_> = words.iter().filter(alike).collect();
    if mean <= TELLING.ln() {
        return None;
    }
    let close: Vec<_> =
        members.iter().filter(|word| word.length.is_some_and(|length| (length - mean).abs() < CLOSE)).collect();
    // The same length to the byte is that of a stub or of an error page.
    let mut lengths = parameter.lengths;
    close.iter().for_each(|word| lengths.merge(word.node.lengths));
    let several = parameter.confirmed || close.iter().any(|word| word.node.creator != parameter.creator);
    if deviation < CLOSE && !close.is_empty() && several && lengths == Uniform::Varied {
        return Some(indices(close.into_iter().copied()));
    }
    // A second word of a parameter that has none yet; then each that two clients have called.
    let confirmed = parameter.objects > 0 && members.iter().any(|word| word.node.confirmed);
    let enough = confirmed || weight(members.iter().copied(), 2) >= 2;
    (enough && record.lengths.count() >= 2.0 && deviation < 1.5 * TENTH).then(|| indices(members.into_iter()))
}

/// Pages that are alike by the size of their answers.
fn pages(tree: &Tree, settings: &Settings, above: &Node, words: &[Word<'_>]) -> Option<Vec<Index>> {
    let pages: Vec<_> = words.iter().filter(|word| word.page && word.length.is_some()).collect();
    let parameter = above.parameter.and_then(|index| tree.get(index)).filter(|node| node.objects > 0);
    let (middle, radius) = match parameter.and_then(|node| node.record("GET")) {
        Some(record) if record.lengths.count() > 0.0 => {
            (record.lengths.mean(), NEAR.max(2.0 * record.lengths.variance().sqrt()))
        }
        _ => (median(pages.iter().filter_map(|word| word.length).collect())?, NEAR),
    };
    let usual = median(pages.iter().map(|word| successes(word) as f64).collect())?;
    let is_near = |word: &Word<'_>| word.length.is_some_and(|length| (length - middle).abs() < radius + word.spread);
    let near = pages.iter().filter(|word| is_near(word));
    let merged = parameter.map_or(0, |node| node.objects as usize);
    let needed = settings.alike.saturating_sub(merged).max(1);
    // Of twice as many words fewer have to agree: chance does not bring so many together.
    let most = if pages.len() >= 2 * settings.alike { 0.6 } else { 0.75 };
    if near.clone().count() as f64 >= most * pages.len() as f64 && weight(near.copied(), settings.alike) >= needed {
        let own = |word: &Word<'_>| !is_near(word) && successes(word) as f64 >= 3.0 * usual;
        return Some(indices(pages.into_iter().filter(|word| !own(word))));
    }
    None
}

/// A few pages whose answers agree closely in size, and yet are not the same: those around whichever length has most
/// around it. One client alone can do that once.
fn few(settings: &Settings, above: &Node, words: &[Word<'_>]) -> Option<Vec<Index>> {
    let page = |word: &&Word<'_>| word.page && !word.customary() && word.length.is_some();
    let pages: Vec<_> = words.iter().filter(page).collect();
    if pages.len() >= settings.alike {
        return None;
    }
    let near = |middle: f64| move |word: &&&Word<'_>| word.length.is_some_and(|length| (length - middle).abs() < CLOSE);
    let lengths = pages.iter().filter_map(|word| word.length);
    let middle = lengths.max_by_key(|&length| pages.iter().filter(near(length)).count())?;
    let members: Vec<&Word<'_>> = pages.iter().filter(near(middle)).copied().collect();
    let first = members.first()?.node;
    let equal = first.lengths != Uniform::Varied && members.iter().all(|word| word.node.lengths == first.lengths);
    let lone = members.iter().all(|word| !word.node.confirmed && word.node.creator == first.creator);
    let vouched = if lone { above.parameter.is_none() } else { weight(members.iter().copied(), FEW) >= 2 };
    (members.len() >= FEW && vouched && middle > TELLING.ln() && !equal).then(|| indices(members.into_iter()))
}

/// Marks the words that have words below that others have too, one or two levels down; or that the parameter has that
/// all words are by now.
fn relate(tree: &Tree, known: Option<&Node>, words: &mut [Word<'_>]) {
    let labels: Vec<[Vec<&str>; 2]> =
        words.iter().map(|word| [below(tree, word.node), beyond(tree, word.node)]).collect();
    let parents = labels.iter().filter(|levels| levels.iter().any(|level| !level.is_empty())).count();
    let shared = if known.is_some() { 1 } else { (parents / 4).max(2) };
    let mut counts = BTreeMap::<(usize, &str), usize>::new();
    let own = known.map(|node| [below(tree, node), beyond(tree, node)]);
    // Beside such a parameter it is of no account what the words have in common with each other.
    for levels in own.as_ref().map_or(labels.as_slice(), std::slice::from_ref) {
        for (level, names) in levels.iter().enumerate() {
            names.iter().for_each(|name| *counts.entry((level, name)).or_default() += 1);
        }
    }
    for (word, levels) in words.iter_mut().zip(&labels) {
        word.related = levels.iter().enumerate().any(|(level, names)| {
            let common = names.iter().filter(|name| counts.get(&(level, **name)).is_some_and(|&count| count >= shared));
            !names.is_empty() && 2 * common.count() >= names.len()
        });
    }
}

/// The words right below, sorted, each once.
fn below<'t>(tree: &'t Tree, node: &Node) -> Vec<&'t str> {
    let mut names: Vec<_> = node.words.iter().take(LABELS).filter_map(|&index| tree.get(index)?.word()).collect();
    names.sort_unstable();
    names
}

/// The words two levels below, sorted, each once.
fn beyond<'t>(tree: &'t Tree, node: &Node) -> Vec<&'t str> {
    let words = node.below().take(LABELS).filter_map(|index| tree.get(index));
    let mut names: Vec<_> =
        words.flat_map(|word| word.words.iter()).take(LABELS).filter_map(|&index| tree.get(index)?.word()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Languages with the same words below.
fn locales(words: &[Word<'_>]) -> Option<Vec<Index>> {
    let locale = |word: &&Word<'_>| word.related && word.node.word().is_some_and(shape::is_locale);
    let members: Vec<_> = words.iter().filter(locale).collect();
    (weight(members.iter().copied(), FEW) >= FEW).then(|| indices(members.into_iter()))
}

/// Words with the same words below.
fn subtrees(tree: &Tree, settings: &Settings, words: &[Word<'_>], prefix: bool) -> Option<Vec<Index>> {
    let members: Vec<_> = words.iter().filter(|word| word.related).collect();
    let parents = words.iter().filter(|word| !word.node.words.is_empty()).count();
    let (needed, share) = if prefix { (settings.many, 0.1) } else { (settings.same_subtrees, 0.25) };
    if weight(members.iter().copied(), needed) < needed || 4 * members.len() < 3 * parents {
        return None;
    }
    if !seldom(tree, &members, needed, share) {
        return None;
    }
    // Those that have nothing below yet, but answer, are of the same sort when they are called no more than these.
    let usual = median(members.iter().map(|word| successes(word) as f64).collect()).unwrap_or(0.0).max(1.0);
    let joins = |word: &&Word<'_>| word.related || (word.page && successes(word) as f64 <= 3.0 * usual);
    Some(indices(words.iter().filter(joins)))
}

/// So many words that nothing but their number needs to speak for it.
fn many(tree: &Tree, settings: &Settings, words: &[Word<'_>]) -> Option<Vec<Index>> {
    let needed = settings.many.max(2);
    // One sort of methods; other words have a behaviour of their own.
    let mut sorts = BTreeMap::<Vec<&str>, Vec<&Word<'_>>>::new();
    for word in words.iter().filter(|word| word.node.is_leaf()) {
        let mut methods: Vec<_> = word.node.records.iter().map(|record| &*record.method).collect();
        methods.sort_unstable();
        sorts.entry(methods).or_default().push(word);
    }
    let members = sorts.into_values().max_by_key(Vec::len)?;
    if weight(members.iter().copied(), needed) < needed {
        return None;
    }
    let middle = median(members.iter().filter_map(|word| word.length).collect());
    let near =
        |word: &&&Word<'_>| word.length.zip(middle).is_some_and(|(length, middle)| (length - middle).abs() < NEAR);
    let alike = 4 * members.iter().filter(near).count() >= 3 * members.len();
    (alike || seldom(tree, &members, needed, 0.1)).then(|| indices(members.into_iter()))
}

/// Whether a client of any of these words has called no more than a share of them: of 1,000 titles few, of 20
/// endpoints many. Unless there are three times as many words as `needed`, clients must have called often enough to
/// show: in their first calls all of them have called few.
fn seldom(tree: &Tree, words: &[&Word<'_>], needed: usize, share: f64) -> bool {
    let (mut all, mut pairs, mut calls) = (Distinct::default(), 0u64, 0u64);
    for word in words {
        let (mut own, mut answers) = (Distinct::default(), 0u64);
        let mut add = |node: &Node| {
            for record in &node.records {
                own.merge(&record.clients);
                answers = answers.saturating_add(record.successes);
            }
        };
        add(word.node);
        if word.node.records.is_empty() {
            // Nothing answers there itself: whoever calls what is right below.
            word.node.below().take(LABELS).filter_map(|index| tree.get(index)).for_each(add);
        }
        if own.count() == 0 {
            own.insert(word.node.creator);
        }
        calls = calls.saturating_add(answers);
        pairs = pairs.saturating_add(own.count());
        all.merge(&own);
    }
    let (clients, count) = (all.count().max(1) as f64, words.len().max(1) as f64);
    let shown = words.len() >= 3 * needed || calls as f64 / clients >= 2.0 * share * count;
    shown && pairs as f64 / (clients * count) <= share
}
