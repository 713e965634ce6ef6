//! Whether what was observed fits a schema that was written.
//!
//! What was observed is a schema too, so no value is tested but sets of types and formats, names of fields and enumerations. Of what
//! is put together by `oneOf` and `anyOf` it is enough to fit all of them together; what cannot be told from shapes
//! (patterns, ranges, conditions) is taken to hold.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::report::{Parameter, Schema};
use super::document::{self, Specification};
use super::formats;
use crate::call::{Format, Formats, Type, Types};

/// Schemas that are looked at for one body: they may refer to one another without end.
const LOOKS: usize = 20_000;

/// Parts of a schema that are asked whether it is only read or written.
const PARTS: usize = 16;

/// Schemas within each other that are put together to one.
const DEEPEST: usize = 32;

/// How something does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// `unspecified`, `missing`, `types`, `values`, `formats`: of a field, or of a parameter.
    pub(super) kind: &'static str,
    /// The path of the field.
    pub(super) path: String,
    pub(super) detail: String,
    /// Classes of sensitive data in it.
    pub(super) sensitive: BTreeSet<String>,
}

/// What a schema allows.
#[derive(Clone, Debug, Default)]
struct Allowed<'s> {
    /// None for all of them.
    types: Option<Types>,
    fields: BTreeMap<&'s str, Vec<&'s Value>>,
    required: BTreeSet<&'s str>,
    /// Fields beyond those named: not mentioned, forbidden, allowed as these.
    others: Others<'s>,
    items: Vec<&'s Value>,
    values: Option<BTreeSet<&'s str>>,
    /// Formats of texts of which one is to be there, and bits of integers.
    formats: Option<BTreeSet<&'s str>>,
    bits: Option<u8>,
    /// Nothing is known of it.
    any: bool,
}

#[derive(Clone, Debug, Default)]
enum Others<'s> {
    #[default]
    Unsaid,
    Forbidden,
    As(Vec<&'s Value>),
}

/// Where what is compared was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    /// All values are texts, as forms have them.
    Form,
    Response,
}

/// Holds what was observed against schemas of which it must fit one.
pub(super) struct Comparison<'s> {
    specification: &'s Specification,
    side: Side,
    looks: Cell<usize>,
    misfits: Vec<Misfit>,
}

impl<'s> Comparison<'s> {
    /// Where `observed` does not fit any of `schemas`.
    pub(super) fn of(
        specification: &'s Specification,
        schemas: &[&'s Value],
        observed: &Schema,
        side: Side,
    ) -> Vec<Misfit> {
        let mut comparison = Comparison { specification, side, looks: Cell::new(LOOKS), misfits: Vec::new() };
        comparison.compare(schemas, observed, &mut String::new());
        comparison.misfits
    }

    /// Where the values of a parameter do not fit its schema: what does not, and how.
    pub(super) fn of_parameter(
        specification: &'s Specification,
        specified: &'s document::Parameter,
        observed: &Parameter,
    ) -> Vec<(&'static str, String)> {
        let comparison = Comparison { specification, side: Side::Form, looks: Cell::new(LOOKS), misfits: Vec::new() };
        let mut allowed = comparison.allowed(&specified.schema, 0);
        // Lists and objects are written in several ways, and only the parts of a list that come one by one are told apart. One that
        // comes once may be the list of one, or a list that is written as one.
        let compound = |allowed: &Allowed<'_>| {
            allowed.types.is_some_and(|types| types.contains(Type::Array) || types.contains(Type::Object))
        };
        if compound(&allowed) && observed.many && specified.one_by_one {
            let list = |types: Types| types.iter().all(|one| matches!(one, Type::Array | Type::Null));
            if allowed.types.is_some_and(list) {
                allowed = comparison.alternatives(&allowed.items, 0);
            }
        } else if observed.many && !allowed.any && allowed.types.is_some_and(|_| !compound(&allowed)) {
            let types = allowed.types.map(names).unwrap_or_default();
            return vec![("types", format!("array where {types} is specified"))];
        }
        if allowed.any || compound(&allowed) {
            return Vec::new();
        }
        let seen = |format: &Format| observed.types.iter().any(|name| name == format.name());
        let seen: Formats = Format::ALL.iter().copied().filter(seen).collect();
        let mut misfits = Vec::new();
        if let Some(types) = allowed.types.filter(|types| types.iter().any(|one| one != Type::Null)) {
            let wrong = formats::names(seen, |format| !formats::writes(types, format));
            if !wrong.is_empty() {
                misfits.push(("types", format!("{wrong} where {} is specified", names(types))));
                return misfits;
            }
        }
        misfits.extend(allowed.texts(seen, &observed.enumeration));
        misfits
    }

    fn compare(&mut self, schemas: &[&'s Value], observed: &Schema, path: &mut String) {
        let allowed = self.alternatives(schemas, 0);
        if allowed.any {
            return;
        }
        let mut tell = |kind, path: &str, detail: String, schema: &Schema| {
            self.misfits.push(Misfit { kind, path: path.to_owned(), detail, sensitive: all_classes(schema) });
        };
        if let Some(types) = allowed.types {
            let fits = |one: &Type| types.contains(*one) || (*one == Type::Integer && types.contains(Type::Number));
            let written = self.side == Side::Form && observed.formats.iter().all(|one| formats::writes(types, one));
            let wrong: Types =
                observed.types.iter().filter(|one| !(fits(one) || written && *one == Type::String)).collect();
            if !wrong.is_empty() {
                tell("types", path, format!("{} where {} is specified", names(wrong), names(types)), observed);
            }
        }
        if observed.types.contains(Type::String) {
            for (kind, detail) in allowed.texts(observed.formats, &observed.values) {
                tell(kind, path, detail, observed);
            }
        }
        let beyond = match allowed.bits {
            Some(32) => formats::names(observed.formats, Format::is_of_numbers),
            Some(_) => formats::names(observed.formats, |format| format == Format::Large),
            None => String::new(),
        };
        if let Some(bits) = allowed.bits.filter(|_| !beyond.is_empty()) {
            tell("formats", path, format!("{beyond} where int{bits} is specified"), observed);
        }
        let length = path.len();
        let down = |path: &mut String, name: &str, point: bool| {
            if point && length > 0 {
                path.push('.');
            }
            path.push_str(name);
        };
        // Of an object that was never there nothing is missing.
        if observed.types.contains(Type::Object) {
            for name in &allowed.required {
                let field = observed.fields.get(*name);
                // What is only read is in no request, and what is only written in no answer.
                let other = if self.side == Side::Response { "writeOnly" } else { "readOnly" };
                let schemas = allowed.fields.get(*name).into_iter().flatten();
                if schemas.clone().any(|schema| marked(self.specification, schema, other)) {
                    continue;
                }
                if field.is_none_or(|field| field.optional) && !(field.is_none() && observed.entries.is_some()) {
                    let detail = if field.is_some() { "at times" } else { "always" };
                    down(path, name, true);
                    tell("missing", path, detail.to_owned(), &Schema::default());
                    path.truncate(length);
                }
            }
        }
        let named = !allowed.fields.is_empty();
        for (name, field) in &observed.fields {
            down(path, name, true);
            match (allowed.fields.get(name.as_str()), &allowed.others) {
                (Some(schemas), _) if self.is_only_written(schemas, field) => {
                    self.unspecified(path, field, " where it is only written (writeOnly)");
                }
                (Some(schemas), _) => self.compare(schemas, field, path),
                (None, Others::As(schemas)) => self.compare(schemas, field, path),
                (None, Others::Forbidden) => self.unspecified(path, field, ""),
                // Nothing is promised of other fields; where some are named, that is a field that nobody wrote down.
                (None, Others::Unsaid) if named => self.unspecified(path, field, ""),
                (None, Others::Unsaid) => {}
            }
            path.truncate(length);
        }
        if let (Some(entries), Others::As(schemas)) = (&observed.entries, &allowed.others) {
            down(path, "*", true);
            self.compare(schemas, entries, path);
            path.truncate(length);
        }
        if let Some(items) = observed.items.as_ref().filter(|_| !allowed.items.is_empty()) {
            down(path, "[]", false);
            self.compare(&allowed.items, items, path);
            path.truncate(length);
        }
    }

    /// A field of an answer that carries data, though it is to be in requests only.
    fn is_only_written(&self, schemas: &[&Value], field: &Schema) -> bool {
        self.side == Side::Response
            && field.types.iter().any(|kind| kind != Type::Null)
            && schemas.iter().all(|schema| marked(self.specification, schema, "writeOnly"))
    }

    fn unspecified(&mut self, path: &str, field: &Schema, why: &str) {
        let detail = format!("{}{why}", names(field.types));
        let sensitive = all_classes(field);
        self.misfits.push(Misfit { kind: "unspecified", path: path.to_owned(), detail, sensitive });
    }

    /// What at least one of the schemas allows.
    fn alternatives(&self, schemas: &[&'s Value], depth: usize) -> Allowed<'s> {
        let mut all = schemas.iter().map(|schema| self.allowed(schema, depth));
        let Some(first) = all.next() else { return Allowed { any: true, ..Allowed::default() } };
        all.fold(first, either)
    }

    fn allowed(&self, schema: &'s Value, depth: usize) -> Allowed<'s> {
        let unknown = || Allowed { any: true, ..Allowed::default() };
        let Some(left) = self.looks.get().checked_sub(1).filter(|_| depth < DEEPEST) else { return unknown() };
        self.looks.set(left);
        let Some(resolved) = self.specification.resolve(schema) else { return unknown() };
        let Some(map) = resolved.as_object() else { return unknown() };
        if map.is_empty() {
            return unknown();
        }
        let mut allowed = Allowed { types: types(map), ..Allowed::default() };
        for (name, field) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
            allowed.fields.insert(name, vec![field]);
        }
        let required = map.get("required").and_then(Value::as_array);
        allowed.required.extend(required.into_iter().flatten().filter_map(Value::as_str));
        allowed.others = match (map.get("additionalProperties"), map.get("patternProperties")) {
            (_, Some(Value::Object(patterns))) => Others::As(patterns.values().collect()),
            (Some(Value::Bool(false)), _) => Others::Forbidden,
            (Some(other), _) => Others::As(vec![other]),
            (None, _) => Others::Unsaid,
        };
        allowed.items.extend(map.get("items"));
        allowed.items.extend(map.get("prefixItems").and_then(Value::as_array).into_iter().flatten());
        let values = map.get("enum").and_then(Value::as_array);
        allowed.values = values.map(|values| values.iter().filter_map(Value::as_str).collect());
        if let Some(value) = map.get("const") {
            allowed.values = Some(value.as_str().into_iter().collect());
        }
        match map.get("format").and_then(Value::as_str) {
            Some("int32") => allowed.bits = Some(32),
            Some("int64") => allowed.bits = Some(64),
            Some(format) => allowed.formats = Some(BTreeSet::from([format])),
            None => {}
        }
        let all_of = map.get("allOf").and_then(Value::as_array);
        for part in all_of.into_iter().flatten() {
            allowed = both(allowed, self.allowed(part, depth + 1));
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(parts) = map.get(key).and_then(Value::as_array) {
                let parts: Vec<_> = parts.iter().collect();
                allowed = both(allowed, self.alternatives(&parts, depth + 1));
            }
        }
        allowed
    }
}

impl Allowed<'_> {
    /// Which texts do not fit: of their formats, and of all of them where they are few words.
    fn texts(&self, seen: Formats, words: &[String]) -> Vec<(&'static str, String)> {
        let mut misfits = Vec::new();
        let texts = self.types.is_none_or(|types| types.contains(Type::String));
        if let Some(values) = self.values.as_ref().filter(|_| texts) {
            let others: Vec<_> =
                words.iter().filter(|word| !values.contains(word.as_str())).map(String::as_str).collect();
            // Texts that look like none of the values are others, whatever they are.
            let unlike = formats::names(seen, |format| formats::is_unlike(values, format));
            match (others.is_empty(), unlike.is_empty()) {
                (false, _) => misfits.push(("values", others.join(", "))),
                (true, false) => misfits.push(("values", unlike)),
                (true, true) => {}
            }
        }
        if let Some(allowed) = self.formats.as_ref().filter(|_| texts) {
            let wrong = formats::names(seen, |one| allowed.iter().all(|format| formats::contradicts(format, one)));
            if !wrong.is_empty() {
                let named: Vec<_> = allowed.iter().copied().collect();
                misfits.push(("formats", format!("{wrong} where {} is specified", named.join("|"))));
            }
        }
        misfits
    }
}

/// Whether a schema says `readOnly` or `writeOnly` of what it describes: by itself, by what it refers to, or by a part.
fn marked(specification: &Specification, schema: &Value, mark: &str) -> bool {
    let says = |of: &Value| of.get(mark).and_then(Value::as_bool).unwrap_or_default();
    let Some(resolved) = specification.resolve(schema) else { return says(schema) };
    let parts = resolved.get("allOf").and_then(Value::as_array);
    says(schema)
        || says(resolved)
        || parts.into_iter().flatten().take(PARTS).filter_map(|part| specification.resolve(part)).any(says)
}

/// Names of types, in one text.
fn names(types: Types) -> String {
    types.iter().map(Type::name).collect::<Vec<_>>().join("|")
}

/// Classes of sensitive data in a field and all in it.
fn all_classes(schema: &Schema) -> BTreeSet<String> {
    let mut classes = BTreeSet::new();
    schema.walk(&mut |_, inner| classes.extend(inner.sensitive.iter().cloned()));
    classes
}

fn types(map: &serde_json::Map<String, Value>) -> Option<Types> {
    let names: Vec<&str> = match map.get("type")? {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let mut types: Types = names
        .iter()
        .map(|name| if *name == "file" { "string" } else { name })
        .filter_map(|name| Type::ALL.iter().copied().find(|one| one.name() == name))
        .collect();
    // Versions 3.0 and 2.0 have no type for it.
    if ["nullable", "x-nullable"].iter().any(|key| map.get(*key).and_then(Value::as_bool) == Some(true)) {
        types.insert(Type::Null);
    }
    Some(types)
}

/// What fits the one or the other.
fn either<'s>(mut one: Allowed<'s>, other: Allowed<'s>) -> Allowed<'s> {
    if one.any || other.any {
        return Allowed { any: true, ..Allowed::default() };
    }
    // `null` has no fields and promises none, and a list of words says nothing of objects.
    let allows = |types: Option<Types>, kind| types.is_none_or(|types| types.contains(kind));
    let of_objects = [one.types, other.types].map(|types| allows(types, Type::Object));
    let of_texts = [one.types, other.types].map(|types| allows(types, Type::String));
    let integers = |types| allows(types, Type::Integer) || allows(types, Type::Number);
    let of_integers = [one.types, other.types].map(integers);
    one.types = match (one.types, other.types) {
        (Some(mut mine), Some(theirs)) => {
            mine.extend(theirs);
            Some(mine)
        }
        _ => None,
    };
    for (name, schemas) in other.fields {
        one.fields.entry(name).or_default().extend(schemas);
    }
    (one.required, one.others) = match of_objects {
        [true, false] => (one.required, one.others),
        [false, true] => (other.required, other.others),
        _ => {
            let required = one.required.intersection(&other.required).copied().collect();
            let others = match (one.others, other.others) {
                (Others::As(mut mine), Others::As(theirs)) => {
                    mine.extend(theirs);
                    Others::As(mine)
                }
                (Others::As(mine), _) | (_, Others::As(mine)) => Others::As(mine),
                (Others::Forbidden, Others::Forbidden) => Others::Forbidden,
                _ => Others::Unsaid,
            };
            (required, others)
        }
    };
    one.items.extend(other.items);
    one.values = match (of_texts, one.values, other.values) {
        ([true, false], mine, _) => mine,
        ([false, true], _, theirs) => theirs,
        (_, Some(mut mine), Some(theirs)) => {
            mine.extend(theirs);
            Some(mine)
        }
        _ => None,
    };
    one.formats = match (of_texts, one.formats, other.formats) {
        ([true, false], mine, _) => mine,
        ([false, true], _, theirs) => theirs,
        (_, Some(mut mine), Some(theirs)) => {
            mine.extend(theirs);
            Some(mine)
        }
        _ => None,
    };
    one.bits = match (of_integers, one.bits, other.bits) {
        ([true, false], mine, _) => mine,
        ([false, true], _, theirs) => theirs,
        (_, mine, theirs) => mine.zip(theirs).map(|(mine, theirs)| mine.max(theirs)),
    };
    one
}

/// What fits both.
fn both<'s>(mut one: Allowed<'s>, other: Allowed<'s>) -> Allowed<'s> {
    if one.any {
        return other;
    }
    if other.any {
        // One that says nothing leaves what the other says of types and fields, but there may be more of them.
        one.others = Others::As(Vec::new());
        return one;
    }
    one.types = match (one.types, other.types) {
        (Some(mine), Some(theirs)) => {
            let number = |types: Types| types.contains(Type::Number);
            let fits =
                |kind: &Type, in_types: Types| in_types.contains(*kind) || (*kind == Type::Integer && number(in_types));
            Some(
                mine.iter()
                    .filter(|kind| fits(kind, theirs))
                    .chain(theirs.iter().filter(|kind| fits(kind, mine)))
                    .collect(),
            )
        }
        (mine, theirs) => mine.or(theirs),
    };
    for (name, schemas) in other.fields {
        // Each of them says a part of it; what fits one of them is believed.
        one.fields.entry(name).or_default().extend(schemas);
    }
    one.required.extend(other.required);
    one.others = match (one.others, other.others) {
        (Others::Forbidden, _) | (_, Others::Forbidden) => Others::Forbidden,
        (Others::As(mut mine), Others::As(theirs)) => {
            mine.extend(theirs);
            Others::As(mine)
        }
        (Others::As(mine), _) | (_, Others::As(mine)) => Others::As(mine),
        _ => Others::Unsaid,
    };
    one.items.extend(other.items);
    one.values = match (one.values, other.values) {
        (Some(mine), Some(theirs)) => Some(mine.intersection(&theirs).copied().collect()),
        (mine, theirs) => mine.or(theirs),
    };
    one.formats = match (one.formats, other.formats) {
        // What fits one of them is believed, as above.
        (Some(mut mine), Some(theirs)) => {
            mine.extend(theirs);
            Some(mine)
        }
        (mine, theirs) => mine.or(theirs),
    };
    one.bits = one.bits.max(other.bits);
    one
}
