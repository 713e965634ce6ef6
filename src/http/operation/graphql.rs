//! The structure of a GraphQL document (October 2021 edition, sections 2 and 3): which operation, which top-level fields, how
//! deep, how many aliases. Arguments, variables and literals are passed over. One pass without recursion over the text;
//! fragments are followed by memo, each once.

use ahash::{HashMap, HashMapExt};

use crate::call::OperationKind;

/// Distinct top-level fields that are kept.
const FIELDS: usize = 32;

/// Fragments that are followed one within the other; what lies deeper counts nothing. Servers refuse such documents by
/// their depth.
const CHAIN: u32 = 64;

/// The operation that a document asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found<'t> {
    pub(super) kind: OperationKind,
    pub(super) name: Option<&'t str>,
    pub(super) fields: Vec<&'t str>,
    pub(super) depth: u32,
    pub(super) aliases: u32,
    /// Fields of the top level beyond the distinct ones.
    pub(super) repeats: u32,
    pub(super) introspection: bool,
}

/// The operation of a document: the one of this name, or the only one. None where the text is no executable document or
/// does not say which of its operations is meant.
pub(super) fn find<'t>(text: &'t str, name: Option<&str>) -> Option<Found<'t>> {
    let definitions = definitions(text)?;
    let mut operations = definitions.iter().filter(|definition| definition.kind.is_some());
    // An empty name is taken for none by several servers.
    let operation = match name.filter(|name| !name.is_empty()) {
        Some(name) => operations.find(|operation| operation.name == Some(name))?,
        None => operations.next().filter(|_| operations.next().is_none())?,
    };
    let mut fragments = HashMap::with_capacity(definitions.len());
    for (place, definition) in definitions.iter().enumerate() {
        if definition.kind.is_none() {
            fragments.entry(definition.name.unwrap_or_default()).or_insert(place);
        }
    }
    let mut reach = Reach { definitions: &definitions, fragments, known: vec![State::Fresh; definitions.len()] };
    let weight = reach.weigh(operation, CHAIN);
    let (fields, repeats) = reach.fields(operation);
    Some(Found {
        kind: operation.kind?,
        name: operation.name,
        fields,
        depth: weight.depth,
        aliases: weight.aliases,
        repeats,
        introspection: weight.introspection,
    })
}

/// An operation or, without a kind, a fragment.
#[derive(Debug, Default)]
struct Definition<'t> {
    kind: Option<OperationKind>,
    name: Option<&'t str>,
    /// Fields of the top level, and where among them a fragment's stand.
    top: Vec<Top<'t>>,
    own: Weight,
    /// Fragments, and how many fields they lie within.
    spreads: Vec<(&'t str, u32)>,
}

#[derive(Clone, Copy, Debug)]
enum Top<'t> {
    Field(&'t str),
    Spread(&'t str),
}

#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    depth: u32,
    aliases: u32,
    introspection: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Fresh,
    /// It is being weighed: who comes here goes round in circles, which servers refuse.
    Open,
    Known(Weight),
}

struct Reach<'d, 't> {
    definitions: &'d [Definition<'t>],
    fragments: HashMap<&'t str, usize>,
    known: Vec<State>,
}

impl<'d, 't> Reach<'d, 't> {
    /// Of a definition with all that its fragments bring in.
    fn weigh(&mut self, definition: &'d Definition<'t>, chain: u32) -> Weight {
        let mut weight = definition.own;
        for (name, level) in &definition.spreads {
            let Some(&place) = self.fragments.get(name) else { continue };
            let below = match self.known.get(place) {
                Some(State::Known(below)) => *below,
                Some(State::Fresh) if chain > 0 => {
                    let Some(fragment) = self.definitions.get(place) else { continue };
                    self.set(place, State::Open);
                    let below = self.weigh(fragment, chain - 1);
                    self.set(place, State::Known(below));
                    below
                }
                _ => continue,
            };
            weight.depth = weight.depth.max(level.saturating_add(below.depth));
            weight.aliases = weight.aliases.saturating_add(below.aliases);
            weight.introspection |= below.introspection;
        }
        weight
    }

    fn set(&mut self, place: usize, state: State) {
        if let Some(known) = self.known.get_mut(place) {
            *known = state;
        }
    }

    /// The distinct fields of the top level, each fragment entered once, and how many there are beside these.
    fn fields(&self, operation: &'d Definition<'t>) -> (Vec<&'t str>, u32) {
        let mut fields: Vec<&str> = Vec::new();
        let mut repeats = 0u32;
        let mut entered = vec![false; self.definitions.len()];
        let mut waiting = vec![operation.top.iter()];
        while let Some(next) = waiting.last_mut() {
            match next.next() {
                None => drop(waiting.pop()),
                Some(Top::Field(field)) => {
                    if fields.contains(field) {
                        repeats = repeats.saturating_add(1);
                    } else {
                        fields.push(field);
                        if fields.len() == FIELDS {
                            return (fields, repeats);
                        }
                    }
                }
                Some(Top::Spread(name)) => {
                    let Some(&place) = self.fragments.get(name) else { continue };
                    if let (Some(entered), Some(fragment)) = (entered.get_mut(place), self.definitions.get(place))
                        && !std::mem::replace(entered, true)
                    {
                        waiting.push(fragment.top.iter());
                    }
                }
            }
        }
        (fields, repeats)
    }
}

/// The definitions of an executable document, or none where it is not one.
fn definitions(text: &str) -> Option<Vec<Definition<'_>>> {
    let mut tokens = Tokens { text, at: 0, next: None };
    tokens.advance()?;
    let mut definitions = Vec::new();
    while let Some(token) = tokens.next {
        let mut definition = Definition::default();
        match token {
            Token::Punctuator(b'{') => definition.kind = Some(OperationKind::Query),
            Token::Name("fragment") => {
                tokens.advance()?;
                definition.name = Some(tokens.name()?).filter(|name| *name != "on");
                definition.name?;
                (tokens.name()? == "on").then_some(())?;
                tokens.name()?;
                tokens.directives()?;
            }
            Token::Name(keyword) => {
                definition.kind = Some(match keyword {
                    "query" => OperationKind::Query,
                    "mutation" => OperationKind::Mutation,
                    "subscription" => OperationKind::Subscription,
                    _ => return None,
                });
                tokens.advance()?;
                if let Some(Token::Name(name)) = tokens.next {
                    definition.name = Some(name);
                    tokens.advance()?;
                }
                tokens.parentheses()?;
                tokens.directives()?;
            }
            _ => return None,
        }
        tokens.selections(&mut definition)?;
        definitions.push(definition);
    }
    Some(definitions)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'t> {
    Punctuator(u8),
    /// `...`
    Spread,
    Name(&'t str),
    /// A string or a number, whatever it says.
    Literal,
}

struct Tokens<'t> {
    text: &'t str,
    at: usize,
    /// The token that comes; none at the end.
    next: Option<Token<'t>>,
}

impl<'t> Tokens<'t> {
    /// Reads one token further; none where there is something that is no token.
    fn advance(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r' | b',') => self.at += 1,
                Some(0xef) if bytes[self.at..].starts_with("\u{feff}".as_bytes()) => self.at += 3,
                Some(b'#') => self.at = self.behind(|byte| !matches!(byte, b'\n' | b'\r')),
                _ => break,
            }
        }
        let Some(&first) = bytes.get(self.at) else {
            self.next = None;
            return Some(());
        };
        let begin = self.at;
        self.next = Some(match first {
            b'!' | b'$' | b'&' | b'(' | b')' | b':' | b'=' | b'@' | b'[' | b']' | b'{' | b'|' | b'}' => {
                self.at += 1;
                Token::Punctuator(first)
            }
            b'.' => {
                bytes[begin..].starts_with(b"...").then_some(())?;
                self.at += 3;
                Token::Spread
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.at = self.behind(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
                Token::Name(self.text.get(begin..self.at)?)
            }
            b'-' | b'0'..=b'9' => {
                self.at += 1;
                self.at = self.behind(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-'));
                Token::Literal
            }
            b'"' => {
                self.at = string_end(bytes, begin)?;
                Token::Literal
            }
            _ => return None,
        });
        Some(())
    }

    /// The place behind bytes of one sort.
    fn behind(&self, sort: impl Fn(u8) -> bool) -> usize {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at + rest.iter().position(|&byte| !sort(byte)).unwrap_or(rest.len())
    }

    fn name(&mut self) -> Option<&'t str> {
        let Some(Token::Name(name)) = self.next else { return None };
        self.advance()?;
        Some(name)
    }

    fn is(&self, punctuator: u8) -> bool {
        self.next == Some(Token::Punctuator(punctuator))
    }

    /// Passes over arguments or definitions of variables, if there are any. Their brackets nest rightly or they are none.
    fn parentheses(&mut self) -> Option<()> {
        if !self.is(b'(') {
            return Some(());
        }
        let mut open = Vec::new();
        loop {
            match self.next? {
                Token::Punctuator(b'(') => open.push(b')'),
                Token::Punctuator(b'[') => open.push(b']'),
                Token::Punctuator(b'{') => open.push(b'}'),
                Token::Punctuator(close @ (b')' | b']' | b'}')) => (open.pop()? == close).then_some(())?,
                Token::Spread => return None,
                _ => {}
            }
            self.advance()?;
            if open.is_empty() {
                return Some(());
            }
        }
    }

    fn directives(&mut self) -> Option<()> {
        while self.is(b'@') {
            self.advance()?;
            self.name()?;
            self.parentheses()?;
        }
        Some(())
    }

    /// Reads a selection set with all that it holds.
    fn selections(&mut self, into: &mut Definition<'t>) -> Option<()> {
        self.is(b'{').then_some(())?;
        // Of each set that is open: whether it is that of a field (else that of an inline fragment), and whether it
        // still is empty.
        let mut open: Vec<(bool, bool)> = vec![(false, true)];
        let mut depth = 0u32;
        self.advance()?;
        while let Some((of_field, empty)) = open.last_mut() {
            if self.is(b'}') {
                if *empty {
                    return None;
                }
                depth -= u32::from(*of_field);
                open.pop();
                self.advance()?;
                continue;
            }
            *empty = false;
            if self.next? == Token::Spread {
                self.advance()?;
                match self.next? {
                    Token::Name("on") => {
                        self.advance()?;
                        self.name()?;
                        self.inline(&mut open)?;
                    }
                    Token::Name(name) => {
                        self.advance()?;
                        self.directives()?;
                        into.spreads.push((name, depth));
                        if depth == 0 {
                            into.top.push(Top::Spread(name));
                        }
                    }
                    _ => self.inline(&mut open)?,
                }
                continue;
            }
            let mut field = self.name()?;
            if self.is(b':') {
                self.advance()?;
                field = self.name()?;
                into.own.aliases = into.own.aliases.saturating_add(1);
            }
            self.parentheses()?;
            self.directives()?;
            into.own.depth = into.own.depth.max(depth + 1);
            into.own.introspection |= matches!(field, "__schema" | "__type");
            if depth == 0 {
                into.top.push(Top::Field(field));
            }
            if self.is(b'{') {
                self.advance()?;
                open.push((true, true));
                depth += 1;
            }
        }
        Some(())
    }

    /// The rest of an inline fragment up to its first selection.
    fn inline(&mut self, open: &mut Vec<(bool, bool)>) -> Option<()> {
        self.directives()?;
        self.is(b'{').then_some(())?;
        open.push((false, true));
        self.advance()
    }
}

/// The place behind a string or block string that begins at `begin`; none where it does not end.
fn string_end(bytes: &[u8], begin: usize) -> Option<usize> {
    let block = bytes.get(begin..)?.starts_with(b"\"\"\"");
    let mut at = begin + if block { 3 } else { 1 };
    loop {
        let rest = bytes.get(at..)?;
        match *rest.first()? {
            b'\\' if block => at += if rest.starts_with(b"\\\"\"\"") { 4 } else { 1 },
            b'\\' => at += 2,
            b'"' if !block => return Some(at + 1),
            b'"' if rest.starts_with(b"\"\"\"") => return Some(at + 3),
            b'\n' | b'\r' if !block => return None,
            _ => at += 1,
        }
    }
}
