//! The shape of `rules/sensitive.toml`, and its compiled form.
//!
//! Rules are data: how candidates are found, how one is confirmed, and texts that prove both. The file explains its
//! own keys; this module turns them into tables that the passes in [`super::find`] walk.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::Side;
use super::context::Words;
use super::credential::CredentialRules;
use super::literals::{self, Literals};
use super::pattern::Pattern;
use super::sieve::{Nibbles, SINGLES, Sieve};
use super::validate::Validator;
use crate::rules::{Listed, ObjectRules, ProbeRule, RuleError, RuleFile};

/// Bytes that a literal's pattern reads from where the literal begins.
pub(super) const PATTERN_REACH: usize = 512;
/// Bytes before a literal that `before` reads.
pub(super) const BEFORE_REACH: usize = 96;
/// Bytes of a run of digits and separators beyond which it is no number of interest.
pub(super) const RUN_LIMIT: usize = 64;
/// The text of the rules that are compiled in.
pub(crate) const COMPILED_IN: &str = include_str!("../../rules/sensitive.toml");
/// The file's name.
pub(crate) const FILE: &str = "sensitive.toml";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "rule")]
    rules: Vec<RuleText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    name: Spanned<String>,
    class: Option<String>,
    description: String,
    leak: bool,
    #[serde(default)]
    sides: Sides,
    find: Spanned<Find>,
    pattern: Option<Spanned<String>>,
    before: Option<Spanned<String>>,
    validator: Option<Spanned<String>>,
    #[serde(default)]
    context: Vec<String>,
    #[serde(default)]
    nearby: Vec<String>,
    #[serde(default)]
    not_context: Vec<String>,
    allow: Option<Spanned<Allow>>,
    #[serde(default = "yes")]
    boundary: bool,
    #[serde(default)]
    merge: u32,
    #[serde(default)]
    credential: bool,
    #[serde(default)]
    matches: Vec<Spanned<String>>,
    #[serde(default)]
    rejects: Vec<Spanned<String>>,
}

fn yes() -> bool {
    true
}

/// Which messages a rule looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sides {
    #[default]
    Both,
    Request,
    Response,
}

impl Sides {
    pub(super) fn has(self, side: Side) -> bool {
        matches!((self, side), (Sides::Both, _) | (Sides::Request, Side::Request) | (Sides::Response, Side::Response))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Find {
    Digits([usize; 2]),
    Identifier([usize; 2]),
    Byte(String),
    Literals(Vec<String>),
    Fields(Vec<String>),
}

impl Find {
    /// The texts with which a value begins, or the name of its field, or what stands right before the name. What is nothing
    /// but small letters is looked for together with what ends or begins a name: else each word of the language would have
    /// to be looked at closely.
    fn texts(&self) -> Option<Vec<String>> {
        let named = |name: &String| -> Vec<String> {
            if !name.bytes().all(|byte| byte.is_ascii_lowercase()) {
                return vec![name.clone()];
            }
            let before = ['"', '<', '_', ':'].map(|mark| format!("{mark}{name}"));
            let behind = ['"', ':', '=', '_'].map(|mark| format!("{name}{mark}"));
            before.into_iter().chain(behind).collect()
        };
        match self {
            Find::Literals(texts) => Some(texts.clone()),
            Find::Fields(names) => Some(names.iter().flat_map(named).collect()),
            Find::Digits(_) | Find::Identifier(_) | Find::Byte(_) => None,
        }
    }

    /// The regular expression that is read where such a text begins, or that a value has to match.
    fn expression(&self, pattern: &str) -> String {
        match self {
            Find::Literals(_) => format!(r"\A(?:{pattern})"),
            Find::Fields(names) => {
                let names: Vec<String> = names.iter().map(|name| regex::escape(name)).collect();
                // The rest of the name; then a colon or an equals sign, with quotes, which a text in a text has escaped, the
                // end of an element's name and of its attributes, or that of the head of a part of a form. Name and value
                // may be said side by side, or the value within. Behind a date there may be a time.
                let rest = r#"[A-Za-z0-9_ .-]{0,24}(?:\\{0,2}["'])?"#;
                let (blank, quote) = (r"[ \t\r\n]{0,4}", r#"(?:\\{0,2}["'])?"#);
                let value = format!("{quote}[Vv]alue{quote}");
                let assigned = format!(
                    r"(?:{blank},?{blank}{value})?{blank}[:=]{blank}(?:\{{{blank}{value}{blank}:{blank})?{quote}"
                );
                let element = format!(r"(?: [^<>]{{0,64}})?>{blank}(?:<!\[CDATA\[{blank})?");
                let part = r"\r\n(?:[A-Za-z-]{4,32}: [^\r\n]{0,80}\r\n){0,2}\r\n";
                format!(
                    r#"\A["<_:]?(?:{}){rest}(?:{assigned}|{element}|{part})(?P<value>{pattern})(?:[^A-Za-z0-9]|T[0-9]|\z)"#,
                    names.join("|")
                )
            }
            Find::Digits(_) | Find::Identifier(_) | Find::Byte(_) => format!(r"\A(?:{pattern})\z"),
        }
    }
}

/// Well-known values, or the name of an earlier rule whose list is taken.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Allow {
    SameAs(String),
    Values(Vec<String>),
}

/// A class of sensitive values.
#[derive(Clone, Debug)]
pub struct Class {
    /// Its name in calls and alerts.
    pub name: Arc<str>,
    /// True when its mere appearance in a response is grave (a private key), false when only amounts tell (e-mail).
    pub leak: bool,
}

/// A compiled rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Box<str>,
    pub(super) class: u16,
    pub(super) sides: Sides,
    pub(super) pattern: Option<Pattern>,
    /// What has to stand right before a literal.
    pub(super) before: Option<Pattern>,
    pub(super) validator: Validator,
    pub(super) context: Words,
    pub(super) nearby: Words,
    pub(super) not_context: Words,
    /// Sorted, in normalised form.
    pub(super) allow: Vec<Box<[u8]>>,
    pub(super) boundary: bool,
    pub(super) merge: u64,
    /// Whoever has it may call: in the path of a target it is a credential in a URL.
    pub(super) credential: bool,
    /// Least and most bytes of an identifier without its spaces.
    pub(super) bounds: [usize; 2],
    matches: Vec<Spanned<String>>,
    rejects: Vec<Spanned<String>>,
}

/// All rules, sorted by how their candidates are found.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    pub(super) rules: Vec<Rule>,
    pub(super) classes: Vec<Class>,
    /// Rules by number of digits in a run.
    pub(super) by_digits: Vec<Vec<u16>>,
    /// Every word of a context of a rule for digits that has nothing nearby: where there is none of them, none of those fits.
    pub(super) number_words: Words,
    /// Rules for identifiers.
    pub(super) identifiers: Vec<u16>,
    /// Bytes that begin a search, with their rules.
    pub(super) bytes: Vec<(u8, Vec<u16>)>,
    /// Literals, and for each the rules that it is a candidate of.
    pub(super) literals: Option<Literals>,
    pub(super) sieve: Sieve,
    pub(super) credentials: CredentialRules,
    /// What values of request bodies are held against.
    pub(super) probes: Arc<[ProbeRule]>,
    /// What of them says which object is asked for.
    pub(super) objects: Arc<ObjectRules>,
}

/// The rules for sensitive values and credentials, compiled. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(super) compiled: Arc<Compiled>,
}

impl Rules {
    /// The rules of `folder`, file by file, and those compiled in where it has none.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the files. Examples are not run: that is [`crate::rules::check`]'s.
    pub fn load(folder: Option<&Path>) -> Result<Rules, Vec<RuleError>> {
        let sensitive = RuleFile::find(folder, FILE, COMPILED_IN).map_err(|error| vec![error])?;
        let credentials = RuleFile::find(folder, super::credential::FILE, super::credential::COMPILED_IN)
            .map_err(|error| vec![error])?;
        let probes = crate::rules::probe::load(folder).map_err(|error| vec![error])?;
        let objects = ObjectRules::load(folder).map_err(|error| vec![error])?;
        Rules::parse(&sensitive, &credentials, (probes, objects))
    }

    /// The rules of these two files, and those for values and names in request bodies.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them, with lines.
    pub fn parse(
        sensitive: &RuleFile,
        credentials: &RuleFile,
        (probes, objects): (Arc<[ProbeRule]>, Arc<ObjectRules>),
    ) -> Result<Rules, Vec<RuleError>> {
        let mut errors = Vec::new();
        let compiled = compile(sensitive, &mut errors);
        let credential_rules = CredentialRules::parse(credentials);
        match (compiled, credential_rules) {
            (Some(mut compiled), Ok(credential_rules)) if errors.is_empty() => {
                let class: Arc<str> = credential_rules.parameter_class.as_str().into();
                if !compiled.classes.iter().any(|known| known.name == class) {
                    compiled.classes.push(Class { name: class, leak: true });
                }
                compiled.credentials = credential_rules;
                (compiled.probes, compiled.objects) = (probes, objects);
                Ok(Rules { compiled: Arc::new(compiled) })
            }
            (_, Err(error)) => {
                errors.push(error);
                Err(errors)
            }
            _ => Err(errors),
        }
    }

    /// The classes that can be found, in the order of the file.
    pub fn classes(&self) -> &[Class] {
        &self.compiled.classes
    }

    /// The class of that name.
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.compiled.classes.iter().find(|class| &*class.name == name)
    }

    /// By rule: name, its `matches` and `rejects` with their place in the file.
    pub(super) fn examples(&self) -> impl Iterator<Item = (&str, &[Spanned<String>], &[Spanned<String>])> {
        self.compiled.rules.iter().map(|rule| (&*rule.name, &rule.matches[..], &rule.rejects[..]))
    }
}

/// The rules that nothing proves: without texts in which they have to find something, or must not.
pub(crate) fn without_examples(file: &RuleFile) -> Vec<RuleError> {
    let text: File = file.parse().unwrap_or_default();
    let warning = |rule: RuleText| {
        let missing = match (rule.matches.is_empty(), rule.rejects.is_empty()) {
            (true, true) => "`matches` and `rejects`",
            (true, false) => "`matches`",
            (false, true) => "`rejects`",
            (false, false) => return None,
        };
        let reason = format!("rule {:?} has no examples in {missing}", rule.name.get_ref());
        Some(file.error_at(rule.name.span().start, reason))
    };
    text.rules.into_iter().filter_map(warning).collect()
}

/// What the file holds, for `apitap rules list`.
pub(crate) fn list(file: &RuleFile) -> Result<Vec<Listed>, Vec<RuleError>> {
    let text: File = file.parse().map_err(|error| vec![error])?;
    Ok(text
        .rules
        .into_iter()
        .map(|rule| Listed {
            file: file.path_of(rule.name.span().start),
            class: rule.class.unwrap_or_else(|| rule.name.get_ref().clone()),
            name: rule.name.into_inner(),
            description: rule.description,
        })
        .collect())
}

/// Parses, compiles and checks every rule; None when the file is no TOML of this shape.
fn compile(file: &RuleFile, errors: &mut Vec<RuleError>) -> Option<Compiled> {
    let text: File = match file.parse() {
        Ok(text) => text,
        Err(error) => {
            errors.push(error);
            return None;
        }
    };
    let mut compiled = Compiled { by_digits: vec![Vec::new(); RUN_LIMIT + 1], ..Compiled::default() };
    let mut literals: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    let mut number_words = Vec::new();
    if text.rules.len() > usize::from(u16::MAX) {
        errors.push(RuleError { file: file.path.clone(), line: None, reason: "more than 65,535 rules".into() });
        return None;
    }
    for (number, rule) in (0u16..).zip(text.rules) {
        if compiled.rules.iter().any(|other| *other.name == **rule.name.get_ref()) {
            let reason = format!("a second rule is called {:?}; names are unique", rule.name.get_ref());
            errors.push(file.error_at(rule.name.span().start, reason));
        }
        if matches!(rule.find.get_ref(), Find::Digits(_)) && rule.nearby.is_empty() {
            number_words.extend(rule.context.iter().cloned());
        }
        let bounds = match register(file, &rule.find, number, &mut compiled, &mut literals) {
            Ok(bounds) => bounds,
            Err(error) => {
                errors.push(error);
                [0, 0]
            }
        };
        match compile_rule(file, rule, bounds, &mut compiled) {
            Ok(rule) => compiled.rules.push(rule),
            // The numbers of the rules behind it no longer fit, but with an error nothing is used.
            Err(error) => errors.push(error),
        }
    }
    if literals.len() > usize::from(u16::MAX) {
        errors.push(RuleError { file: file.path.clone(), line: None, reason: "more than 65,535 literals".into() });
        return None;
    }
    number_words.sort_unstable();
    number_words.dedup();
    // What is wrong with a word was said with its rule.
    compiled.number_words = Words::new(&number_words).unwrap_or_default();
    compiled.literals = (!literals.is_empty()).then(|| Literals::new(literals));
    let nibbles = compiled.literals.as_ref().map_or_else(Nibbles::default, |literals| literals.nibbles);
    compiled.sieve = Sieve::new(compiled.bytes.iter().map(|(byte, _)| *byte), nibbles);
    Some(compiled)
}

/// Notes where candidates of the rule come from; the bounds of an identifier.
fn register(
    file: &RuleFile,
    find: &Spanned<Find>,
    number: u16,
    compiled: &mut Compiled,
    by_literal: &mut BTreeMap<String, Vec<u16>>,
) -> Result<[usize; 2], RuleError> {
    let error = |reason: &str| file.error_at(find.span().start, reason);
    match find.get_ref() {
        Find::Digits([least, most]) => {
            if *least < 7 || most < least || *most > 40 {
                return Err(error("digits are [least, most] with 7 <= least <= most <= 40"));
            }
            for rules in compiled.by_digits.iter_mut().take(most + 1).skip(*least) {
                rules.push(number);
            }
        }
        Find::Identifier([least, most]) => {
            if *least < 8 || most < least || *most > 40 {
                return Err(error("an identifier is [least, most] with 8 <= least <= most <= 40"));
            }
            compiled.identifiers.push(number);
            return Ok([*least, *most]);
        }
        Find::Byte(text) => {
            let [byte] = text.as_bytes() else { return Err(error("byte is a text of one ASCII character")) };
            let count = compiled.bytes.len();
            match compiled.bytes.iter_mut().find(|(known, _)| known == byte) {
                Some((_, rules)) => rules.push(number),
                None if count >= SINGLES => {
                    return Err(error("more than eight different bytes are looked for by all rules together"));
                }
                None => compiled.bytes.push((*byte, vec![number])),
            }
        }
        Find::Literals(_) | Find::Fields(_) => {
            let texts = find.get_ref().texts().unwrap_or_default();
            if texts.is_empty()
                || texts.iter().any(|text| !(literals::SHORTEST..=literals::LONGEST).contains(&text.len()))
            {
                return Err(error("literals and fields are texts of 3 to 64 bytes, at least one"));
            }
            for text in texts {
                let rules = by_literal.entry(text).or_default();
                if rules.last() != Some(&number) {
                    rules.push(number);
                }
            }
        }
    }
    Ok([0, 0])
}

fn compile_rule(
    file: &RuleFile,
    rule: RuleText,
    bounds: [usize; 2],
    compiled: &mut Compiled,
) -> Result<Rule, RuleError> {
    let find = rule.find.get_ref();
    let built = |key: &str, expression: String, place: usize| {
        // Those that are compiled in were built by the tests.
        if file.text == COMPILED_IN {
            return Ok(Pattern::trusted(expression));
        }
        Pattern::new(expression).map_err(|error| file.error_at(place, format!("{key}: {error}")))
    };
    let before = match &rule.before {
        Some(before) if matches!(find, Find::Literals(_)) => {
            Some(built("before", format!(r"(?:{})\z", before.get_ref()), before.span().start)?)
        }
        Some(before) => return Err(file.error_at(before.span().start, "before is for literals")),
        None => None,
    };
    let pattern = match &rule.pattern {
        Some(pattern) => Some(built("pattern", find.expression(pattern.get_ref()), pattern.span().start)?),
        None if find.texts().is_some() => {
            return Err(file.error_at(rule.find.span().start, "literals and fields need a pattern that confirms them"));
        }
        None => None,
    };
    let validator = match &rule.validator {
        Some(name) => Validator::by_name(name.get_ref()).ok_or_else(|| {
            let known: Vec<_> = Validator::ALL.iter().map(|known| known.name()).collect();
            let reason = format!("unknown validator {:?}; there are {}", name.get_ref(), known.join(", "));
            file.error_at(name.span().start, reason)
        })?,
        None => Validator::None,
    };
    let mut allow = match &rule.allow {
        None => Vec::new(),
        Some(spanned) => match spanned.get_ref() {
            Allow::Values(values) => values.iter().map(|value| value.as_bytes().into()).collect(),
            Allow::SameAs(name) => compiled
                .rules
                .iter()
                .find(|other| *other.name == **name)
                .map(|other| other.allow.clone())
                .ok_or_else(|| file.error_at(spanned.span().start, format!("no earlier rule is called {name:?}")))?,
        },
    };
    allow.sort_unstable();
    let words = |words: &[String]| {
        Words::new(words).map_err(|reason| file.error_at(rule.name.span().start, format!("words: {reason}")))
    };
    let (context, nearby, not_context) = (words(&rule.context)?, words(&rule.nearby)?, words(&rule.not_context)?);
    Ok(Rule {
        class: class_number(file, &rule, &mut compiled.classes)?,
        name: rule.name.into_inner().into(),
        sides: rule.sides,
        pattern,
        before,
        validator,
        context,
        nearby,
        not_context,
        allow,
        // The name of a field may have other words before the one that counts.
        boundary: rule.boundary && !matches!(find, Find::Fields(_)),
        merge: rule.merge.into(),
        credential: rule.credential,
        bounds,
        matches: rule.matches,
        rejects: rule.rejects,
    })
}

fn class_number(file: &RuleFile, rule: &RuleText, classes: &mut Vec<Class>) -> Result<u16, RuleError> {
    let name = rule.class.as_ref().unwrap_or(rule.name.get_ref());
    if let Some((number, class)) = (0u16..).zip(classes.iter()).find(|(_, class)| *class.name == **name) {
        if class.leak != rule.leak {
            let reason = format!("leak differs from that of an earlier rule of class {name:?}");
            return Err(file.error_at(rule.name.span().start, reason));
        }
        return Ok(number);
    }
    classes.push(Class { name: name.as_str().into(), leak: rule.leak });
    // There are at most as many classes as rules, whose number was checked.
    Ok((classes.len() - 1) as u16)
}
