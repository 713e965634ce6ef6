//! Paths of operations held against templates: where a parameter was learned, what its values look like; where a word was
//! seen, whether the parameter that is specified there takes it.
//!
//! A template whose parameter takes numbers does not stand for `/users/me`, and `/users/export` is no user where users have
//! numbers. Where nothing contradicts, it fits.

use std::sync::Arc;

use serde_json::Value;

use super::super::report::{Endpoint, Parameter};
use super::document::{self, Operation, Segment, Specification};
use super::formats;
use super::schema::Comparison;
use crate::inspect::shape::format;

/// What stands for a parameter in a template, and for all that follows.
const PARAMETER: &str = "{id}";
pub(super) const REST: &str = "{rest}";

/// A segment of a template, with what is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'e> {
    pub(super) text: &'e str,
    /// Of a parameter, the kinds of its values ([`Kind`](crate::endpoint::Kind)); none where they are not known.
    kinds: &'e [String],
}

/// The segments of an endpoint's template.
pub(super) fn steps(endpoint: &Endpoint) -> Vec<Step<'_>> {
    let mut parameters = endpoint.parameters.iter().filter(|parameter| parameter.place == "path");
    let segments = endpoint.template.split('/').filter(|segment| !segment.is_empty());
    segments
        .map(|text| match text {
            PARAMETER => Step { text, kinds: parameters.next().map_or(&[], |parameter| &parameter.types) },
            _ => Step { text, kinds: &[] },
        })
        .collect()
}

impl Step<'_> {
    /// Whether it is a parameter.
    pub(super) fn is_parameter(&self) -> bool {
        self.text == PARAMETER
    }

    /// Whether a word of a specification may be among the values of this parameter.
    pub(super) fn may_be(&self, word: &str) -> bool {
        let format = format::of(word.as_bytes());
        self.kinds.is_empty() || self.kinds.iter().any(|kind| formats::is_of_kind(format, kind))
    }
}

/// Whether a path of an operation has this template, and its parameters take the words that stand in their places.
pub(super) fn takes(specification: &Specification, operation: &Operation, steps: &[Step<'_>]) -> bool {
    let mut aligned = operation.paths.iter().filter(|path| is_aligned(path, steps)).peekable();
    let takes = |(segment, step): (&Segment, &Step<'_>)| match segment {
        Segment::Parameter { before, behind, name } if !step.is_parameter() && step.text != REST => {
            let Some(schema) = operation.path_parameters.get(name) else { return true };
            let inner = step.text.strip_prefix(before.as_str()).and_then(|text| text.strip_suffix(behind.as_str()));
            inner.is_none_or(|word| takes_word(specification, schema, word))
        }
        _ => true,
    };
    aligned.peek().is_none() || aligned.any(|path| path.iter().zip(steps).all(takes))
}

fn takes_word(specification: &Specification, schema: &Arc<Value>, word: &str) -> bool {
    // What is escaped is not known as it is meant.
    if word.contains('%') {
        return true;
    }
    let types = vec![format::of(word.as_bytes()).name().to_owned()];
    let seen = Parameter { types, enumeration: vec![word.to_owned()], ..Parameter::default() };
    Comparison::of_parameter(specification, &specified(schema), &seen).is_empty()
}

/// A parameter of a path, which is always there.
fn specified(schema: &Arc<Value>) -> document::Parameter {
    document::Parameter { required: true, schema: schema.clone(), one_by_one: false }
}

/// Whether a path has as many segments as a template, or as many as there are before the rest, and the same words.
fn is_aligned(path: &[Segment], steps: &[Step<'_>]) -> bool {
    let rest = steps.last().is_some_and(|step| step.text == REST);
    let long = if rest { path.len() + 1 >= steps.len() } else { path.len() == steps.len() };
    long && path.iter().zip(steps).all(|(segment, step)| match segment {
        Segment::Word(word) => step.text == word || step.text == REST || (step.is_parameter() && step.may_be(word)),
        Segment::Parameter { before, behind, .. } => {
            step.is_parameter() || step.text == REST || is_between(step.text, before, behind)
        }
    })
}

/// Whether a word has something between what is to be before and behind it.
pub(super) fn is_between(word: &str, before: &str, behind: &str) -> bool {
    word.len() > before.len() + behind.len() && word.starts_with(before) && word.ends_with(behind)
}

/// Parameters whose values do not fit what is specified of them: the name, what does not fit, and how. `words` says that some of
/// the words that were seen there may be specified by themselves.
pub(super) fn misfits(
    specification: &Specification,
    operation: &Operation,
    steps: &[Step<'_>],
    words: bool,
) -> Vec<(String, &'static str, String)> {
    let Some(path) = operation.paths.iter().find(|path| is_aligned(path, steps)) else { return Vec::new() };
    let mut misfits = Vec::new();
    for (place, (segment, step)) in path.iter().zip(steps).enumerate() {
        let Segment::Parameter { before, behind, name } = segment else { continue };
        let whole = before.is_empty() && behind.is_empty() && step.is_parameter();
        let Some(schema) = operation.path_parameters.get(name).filter(|_| whole) else { continue };
        for kind in step.kinds {
            // A small number in the first place is taken for a word.
            if kind == "slug" && (words || place == 0) {
                continue;
            }
            let mut found = None;
            let all = formats::of_kind(kind);
            let wrong = all.iter().all(|one| {
                let seen = Parameter { types: vec![one.name().to_owned()], ..Parameter::default() };
                let misfit = Comparison::of_parameter(specification, &specified(schema), &seen).into_iter().next();
                let is_there = misfit.is_some();
                found = found.take().or(misfit);
                is_there
            });
            if let Some((what, detail)) = found.filter(|_| wrong && !all.is_empty()) {
                misfits.push((name.clone(), what, detail));
            }
        }
    }
    misfits
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::report::Parameter;
    use super::super::tests::found;
    use super::*;

    fn endpoint(template: &str, kinds: &[&str]) -> Endpoint {
        let types = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        Endpoint {
            host: "shop.example".into(),
            method: "GET".into(),
            template: template.into(),
            parameters: vec![Parameter { place: "path".into(), name: "user_id".into(), types, ..Parameter::default() }],
            statuses: [(200, 1)].into(),
            calls: 1,
            ..Endpoint::default()
        }
    }

    fn specification(paths: &[(&str, Value)]) -> String {
        let mut all = serde_json::Map::new();
        for (path, schema) in paths {
            let parameters = json!([{"name": "uid", "in": "path", "required": true, "schema": schema}]);
            all.insert((*path).to_owned(), json!({"get": {"parameters": parameters, "responses": {"200": {}}}}));
        }
        json!({"openapi": "3.1.0", "paths": all}).to_string()
    }

    #[test]
    fn a_parameter_of_numbers_is_no_word() {
        let text = specification(&[("/users/me", json!({}))]);
        let shadow = ["shadow GET shop.example/users/{id}", "unused GET /users/me"];
        for kind in ["int", "uuid", "hash", "date", "email", "token"] {
            assert_eq!(found(&text, &[endpoint("/users/{id}", &[kind])]), shadow, "{kind}");
        }
        // Words may well be among words, or nothing is known.
        for kinds in [&["slug"][..], &["int", "slug"], &["text"], &[]] {
            assert_eq!(found(&text, &[endpoint("/users/{id}", kinds)]), [""; 0], "{kinds:?}");
        }
        // A number that is written down is among numbers.
        let text = specification(&[("/years/2026", json!({})), ("/days/2026-03-02", json!({}))]);
        let all = [endpoint("/days/{id}", &["date"]), endpoint("/years/{id}", &["int"])];
        assert_eq!(found(&text, &all), [""; 0]);
    }

    #[test]
    fn a_word_beside_a_parameter_was_not_called_because_the_parameter_was() {
        let text = specification(&[("/users/me", json!({})), ("/users/{uid}", json!({"type": "string"}))]);
        assert_eq!(found(&text, &[endpoint("/users/{id}", &["slug"])]), ["unused GET /users/me"]);
        let both = [endpoint("/users/{id}", &["slug"]), endpoint("/users/me", &[])];
        assert_eq!(found(&text, &both), [""; 0]);
    }

    #[test]
    fn a_word_that_a_parameter_does_not_take_is_a_shadow() {
        let shadow = ["shadow GET shop.example/users/export", "unused GET /users/{uid}"];
        let seen = [endpoint("/users/export", &[])];
        for schema in [
            json!({"type": "integer"}),
            json!({"type": "number"}),
            json!({"type": "boolean"}),
            json!({"type": "string", "format": "uuid"}),
            json!({"type": "string", "format": "date"}),
            json!({"type": "string", "enum": ["import", "list"]}),
        ] {
            assert_eq!(found(&specification(&[("/users/{uid}", schema.clone())]), &seen), shadow, "{schema}");
        }
        for schema in [
            json!({}),
            json!({"type": "string"}),
            json!({"type": ["integer", "string"]}),
            json!({"type": "string", "format": "slug"}),
            json!({"type": "string", "enum": ["export", "list"]}),
            json!({"type": "array", "items": {"type": "integer"}}),
            json!({"oneOf": [{"type": "integer"}, {"type": "string"}]}),
        ] {
            assert_eq!(found(&specification(&[("/users/{uid}", schema.clone())]), &seen), [""; 0], "{schema}");
        }
        // In Swagger 2, and around the parameter.
        let text = |kind: &str| {
            json!({"swagger": "2.0", "paths": {"/users/{uid}:cancel": {"parameters": [
                {"name": "uid", "in": "path", "required": true, "type": kind}],
                "get": {"responses": {"200": {"description": ""}}}}}})
            .to_string()
        };
        let seen = [endpoint("/users/all:cancel", &[])];
        assert_eq!(found(&text("integer"), &seen).len(), 2);
        assert_eq!(found(&text("string"), &seen), [""; 0]);
    }

    #[test]
    fn values_of_a_parameter_of_a_path_are_held_against_its_schema() {
        let told = |schema: Value, kinds: &[&str]| {
            let text = specification(&[("/a/{uid}", schema)]);
            let all = found(&text, &[endpoint("/a/{id}", kinds)]);
            all.iter().map(|one| one.split(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>().join(" ")
        };
        let (number, uuid) = (json!({"type": "integer"}), json!({"type": "string", "format": "uuid"}));
        for (schema, kinds, expected) in [
            (&number, &["int"][..], ""),
            (&number, &["uuid"], "parameter_types"),
            (&number, &["int", "slug"], "parameter_types"),
            (&uuid, &["uuid"], ""),
            (&uuid, &["int"], "parameter_formats"),
            (&uuid, &["hash"], "parameter_formats"),
            (&json!({"type": "string"}), &["int", "uuid", "slug", "text"], ""),
            (&json!({"type": "string", "format": "date-time"}), &["date"], ""),
            (&json!({"type": "string", "format": "date"}), &["date"], ""),
            // It is not known what these are.
            (&number, &["token", "text", "file"], ""),
        ] {
            assert_eq!(told(schema.clone(), kinds), expected, "{schema} {kinds:?}");
        }
        // The words among them may be those that are specified by themselves.
        let text = specification(&[("/a/{uid}", json!({"type": "integer"})), ("/a/me", json!({}))]);
        assert_eq!(found(&text, &[endpoint("/a/{id}", &["int", "slug"])]), ["unused GET /a/me"]);
    }
}
