//! Whether what was observed fits a schema that was written.
//!
//! What was observed is a schema too, so no value is tested but sets of types, names of fields and enumerations. Of what
//! is put together by `oneOf` and `anyOf` it is enough to fit all of them together; what cannot be told from shapes
//! (patterns, ranges, conditions) is taken to hold.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::report::Schema;
use super::document::Specification;
use crate::call::{Type, Types};

/// Schemas that are looked at for one body: they may refer to one another without end.
const LOOKS: usize = 20_000;

/// Schemas within each other that are put together to one.
const DEEPEST: usize = 32;

/// How something does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// `field_unspecified`, `field_missing`, `field_types`, `field_values`.
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

/// Holds what was observed against schemas of which it must fit one.
pub(super) struct Comparison<'s> {
    specification: &'s Specification,
    looks: Cell<usize>,
    misfits: Vec<Misfit>,
}

impl<'s> Comparison<'s> {
    /// Where `observed` does not fit any of `schemas`.
    pub(super) fn of(specification: &'s Specification, schemas: &[&'s Value], observed: &Schema) -> Vec<Misfit> {
        let mut comparison = Comparison { specification, looks: Cell::new(LOOKS), misfits: Vec::new() };
        comparison.compare(schemas, observed, &mut String::new());
        comparison.misfits
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
            let wrong: Vec<_> = observed.types.iter().filter(|one| !fits(one)).map(Type::name).collect();
            if !wrong.is_empty() {
                let named: Vec<_> = types.iter().map(Type::name).collect();
                tell(
                    "field_types",
                    path,
                    format!("{} where {} is specified", wrong.join("|"), named.join("|")),
                    observed,
                );
            }
        }
        if let Some(values) = &allowed.values {
            let others: Vec<_> =
                observed.values.iter().filter(|value| !values.contains(value.as_str())).map(String::as_str).collect();
            if !others.is_empty() {
                tell("field_values", path, others.join(", "), observed);
            }
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
                if field.is_none_or(|field| field.optional) && !(field.is_none() && observed.entries.is_some()) {
                    let detail = if field.is_some() { "at times" } else { "always" };
                    down(path, name, true);
                    tell("field_missing", path, detail.to_owned(), &Schema::default());
                    path.truncate(length);
                }
            }
        }
        let named = !allowed.fields.is_empty();
        for (name, field) in &observed.fields {
            down(path, name, true);
            match (allowed.fields.get(name.as_str()), &allowed.others) {
                (Some(schemas), _) => self.compare(schemas, field, path),
                (None, Others::As(schemas)) => self.compare(schemas, field, path),
                (None, Others::Forbidden) => self.unspecified(path, field),
                // Nothing is promised of other fields; where some are named, that is a field that nobody wrote down.
                (None, Others::Unsaid) if named => self.unspecified(path, field),
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

    fn unspecified(&mut self, path: &str, field: &Schema) {
        let types: Vec<_> = field.types.iter().map(Type::name).collect();
        self.misfits.push(Misfit {
            kind: "field_unspecified",
            path: path.to_owned(),
            detail: types.join("|"),
            sensitive: all_classes(field),
        });
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
    one
}
