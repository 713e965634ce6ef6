//! Specifications as they are written: OpenAPI 3.0 and 3.1 and Swagger 2.0, in JSON or YAML.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::openapi::OTHERS;
use super::files;
use super::security::Security;

/// Bytes of the largest specification that is read.
pub(super) const LARGEST: u64 = 64 << 20;

/// Nodes of the largest specification in YAML, of which each takes a byte at least: about 2 GiB, as in JSON. What aliases stand for
/// is counted each time, and is bounded by what the reader allows for them by itself.
const NODES: usize = LARGEST as usize;

/// References that lead to references.
const REFERENCES: usize = 16;

/// Servers of one operation.
const SERVERS: usize = 64;

/// How forms are sent.
const FORMS: [&str; 2] = ["application/x-www-form-urlencoded", "multipart/form-data"];

/// Why a specification cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpecificationError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    /// It is larger than 64 MiB.
    #[error("it is larger than 64 MiB")]
    TooLarge,
    /// It is neither JSON nor YAML.
    #[error("it is neither JSON nor YAML: {0}")]
    Malformed(String),
    /// It is no OpenAPI 3.0 or 3.1 and no Swagger 2.0.
    #[error("it is no OpenAPI 3.0 or 3.1 and no Swagger 2.0 document (`openapi` or `swagger` at its top says which)")]
    Unknown,
}

/// A specification.
#[derive(Clone, Debug)]
pub struct Specification {
    document: Value,
    pub(super) operations: Vec<Operation>,
    /// Names of keys by where they stand (`query`, `header`, `cookie`), of the schemes that say who calls.
    pub(super) keys: BTreeSet<(String, String)>,
    /// References that lead nowhere; what they stand for is taken to be anything.
    pub unresolved: usize,
    /// Why files that are referred to were not read, the first few.
    pub unread: Vec<String>,
    /// The files that it was read from.
    pub files: Vec<PathBuf>,
}

/// An operation that is specified.
#[derive(Clone, Debug, Default)]
pub(super) struct Operation {
    pub(super) method: String,
    /// As written, behind the base path.
    pub(super) path: String,
    /// Segments of base path and path, for each server that differs.
    pub(super) paths: Vec<Vec<Segment>>,
    /// Hosts of the servers, where they name some.
    pub(super) hosts: BTreeSet<String>,
    pub(super) deprecated: bool,
    /// How every call is to say who calls.
    pub(super) security: Arc<Security>,
    /// Parameters of query, header (in lower case) and cookie by place and name.
    pub(super) parameters: BTreeMap<(String, String), Parameter>,
    /// Schemas of parameters of the path by name.
    pub(super) path_parameters: BTreeMap<String, Arc<Value>>,
    /// Schemas of the request's body by media type.
    pub(super) request: BTreeMap<String, Arc<Value>>,
    /// Every request is to have a body.
    pub(super) body_required: bool,
    /// Schemas of answers by status (`200`, `2XX`, `default`) and media type.
    pub(super) responses: BTreeMap<String, BTreeMap<String, Arc<Value>>>,
}

/// A parameter beyond those of the path.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub(super) required: bool,
    pub(super) schema: Arc<Value>,
    /// A list is written as often as it has items.
    pub(super) one_by_one: bool,
}

/// Schemas that operations have, each kept once: many operations may refer to one.
#[derive(Default)]
struct Shared {
    /// By where they stand in the document, which does not move while it is read.
    known: RefCell<HashMap<*const Value, Arc<Value>>>,
}

impl Shared {
    fn of(&self, value: &Value) -> Arc<Value> {
        self.known.borrow_mut().entry(std::ptr::from_ref(value)).or_insert_with(|| Arc::new(value.clone())).clone()
    }
}

/// A segment of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    Word(String),
    /// A parameter with what may be before and behind it. Where there are several in one segment, the name is none of theirs.
    Parameter {
        before: String,
        behind: String,
        name: String,
    },
}

impl Segment {
    fn of(text: &str) -> Segment {
        match (text.find('{'), text.rfind('}')) {
            (Some(begin), Some(end)) if begin < end => Segment::Parameter {
                before: text.get(..begin).unwrap_or_default().to_owned(),
                behind: text.get(end + 1..).unwrap_or_default().to_owned(),
                name: text.get(begin + 1..end).unwrap_or_default().to_owned(),
            },
            _ => Segment::Word(text.to_owned()),
        }
    }
}

impl Specification {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// What cannot be read, is too large, or is no specification.
    pub fn read(path: &Path) -> Result<Specification, SpecificationError> {
        let bytes = std::fs::metadata(path)?.len();
        if bytes > LARGEST {
            return Err(SpecificationError::TooLarge);
        }
        let document = parse_value(&std::fs::read_to_string(path)?).map_err(SpecificationError::Malformed)?;
        let (document, unread, files) = files::gather(path, document, bytes);
        Ok(Specification { unread, files, ..Specification::of(document)? })
    }

    /// From its text.
    ///
    /// # Errors
    ///
    /// What is no specification.
    pub fn parse(text: &str) -> Result<Specification, SpecificationError> {
        Specification::of(parse_value(text).map_err(SpecificationError::Malformed)?)
    }

    fn of(document: Value) -> Result<Specification, SpecificationError> {
        let swagger = match (document.get("openapi"), document.get("swagger")) {
            (Some(Value::String(version)), _) if version.starts_with("3.") => false,
            (_, Some(version)) if version.as_str() == Some("2.0") || version.as_f64() == Some(2.0) => true,
            _ => return Err(SpecificationError::Unknown),
        };
        let mut specification = Specification {
            document,
            operations: Vec::new(),
            keys: BTreeSet::new(),
            unresolved: 0,
            unread: Vec::new(),
            files: Vec::new(),
        };
        specification.read_paths(swagger);
        specification.keys = specification.read_keys();
        specification.unresolved = specification.count_unresolved();
        Ok(specification)
    }

    /// What a value stands for: itself, or what its reference leads to.
    pub(super) fn resolve<'v>(&'v self, value: &'v Value) -> Option<&'v Value> {
        let mut value = value;
        for _ in 0..REFERENCES {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Some(value) };
            let pointer = percent_encoding::percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?;
            value = self.document.pointer(&pointer)?;
        }
        None
    }

    /// All references that lead nowhere.
    fn count_unresolved(&self) -> usize {
        let (mut waiting, mut count) = (vec![&self.document], 0);
        while let Some(value) = waiting.pop() {
            match value {
                Value::Object(map) => {
                    if map.get("$ref").is_some_and(Value::is_string) && self.resolve(value).is_none() {
                        count += 1;
                    }
                    waiting.extend(map.values());
                }
                Value::Array(list) => waiting.extend(list),
                _ => {}
            }
        }
        count
    }

    fn read_paths(&mut self, swagger: bool) {
        let mut operations = Vec::new();
        let shared = Shared::default();
        let schemes = self.schemes().cloned().unwrap_or_default();
        let security = |of: Option<&Value>| of.map(|of| Security::of(self, &schemes, of));
        let usual = security(self.document.get("security")).unwrap_or_default();
        let paths = self.document.get("paths").and_then(Value::as_object);
        for (path, item) in paths.into_iter().flatten() {
            let Some(item) = self.resolve(item).and_then(Value::as_object) else { continue };
            let methods = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
            let known = item.iter().filter(|(method, _)| methods.contains(&method.as_str()));
            let others = ["additionalOperations", OTHERS].into_iter().filter_map(|key| item.get(key)?.as_object());
            for (method, written) in known.chain(others.flatten()) {
                let Some(written) = written.as_object() else { continue };
                let (hosts, bases) = self.servers(written, item, swagger);
                let paths = bases.iter().map(|base| {
                    let whole = format!("{base}/{path}");
                    whole.split('/').filter(|segment| !segment.is_empty()).map(Segment::of).collect()
                });
                let mut operation = Operation {
                    method: method.to_ascii_uppercase(),
                    path: path.clone(),
                    paths: paths.collect(),
                    hosts,
                    deprecated: written.get("deprecated").and_then(Value::as_bool).unwrap_or_default(),
                    security: security(written.get("security")).unwrap_or_else(|| usual.clone()),
                    ..Operation::default()
                };
                self.parameters((item, written), &mut operation, swagger, &shared);
                self.parameters((written, written), &mut operation, swagger, &shared);
                self.bodies(written, &mut operation, swagger, &shared);
                operations.push(operation);
            }
        }
        self.operations = operations;
    }

    /// Hosts and base paths of an operation's servers; where there are none, the root of any.
    fn servers(
        &self,
        operation: &Map<String, Value>,
        item: &Map<String, Value>,
        swagger: bool,
    ) -> (BTreeSet<String>, Vec<String>) {
        let (mut hosts, mut bases) = (BTreeSet::new(), BTreeSet::new());
        if swagger {
            let text = |name: &str| self.document.get(name).and_then(Value::as_str).unwrap_or_default();
            bases.insert(text("basePath").trim_end_matches('/').to_owned());
            hosts.extend(host(text("host")));
        } else {
            let lists = [operation.get("servers"), item.get("servers"), self.document.get("servers")];
            let all = lists.into_iter().flatten().filter_map(Value::as_array).find(|all| !all.is_empty());
            for server in all.into_iter().flatten().take(SERVERS) {
                for url in urls(server) {
                    let (authority, path) = match url.split_once("//") {
                        Some((_, rest)) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
                        None => ("", url.as_str()),
                    };
                    let path = path.split(['?', '#']).next().unwrap_or_default();
                    bases.insert(path.trim_end_matches('/').to_owned());
                    hosts.extend(host(authority));
                }
            }
        }
        if bases.is_empty() {
            bases.insert(String::new());
        }
        (hosts, bases.into_iter().take(SERVERS).collect())
    }

    /// The media types of bodies in Swagger 2 (`consumes`, `produces`): those of an operation in the place of those of the document.
    fn media(&self, written: &Map<String, Value>, key: &str) -> Vec<String> {
        let list = written.get(key).or_else(|| self.document.get(key)).and_then(Value::as_array);
        let all: Vec<_> = list.into_iter().flatten().filter_map(Value::as_str).map(media).collect();
        if all.is_empty() { vec!["*/*".to_owned()] } else { all }
    }

    fn parameters(
        &self,
        (of, written): (&Map<String, Value>, &Map<String, Value>),
        operation: &mut Operation,
        swagger: bool,
        shared: &Shared,
    ) {
        let all = of.get("parameters").and_then(Value::as_array);
        let mut form = Map::new();
        let mut required = Vec::new();
        for parameter in all.into_iter().flatten().filter_map(|parameter| self.resolve(parameter)) {
            let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default();
            let must = parameter.get("required").and_then(Value::as_bool).unwrap_or_default();
            let place = parameter.get("in").and_then(Value::as_str).unwrap_or_default();
            match place {
                "query" | "cookie" | "header" => {
                    // In version 2.0 a parameter is its own schema; what `content` describes is written as a text.
                    let schema = if swagger { Some(parameter) } else { parameter.get("schema") };
                    let schema = schema.map_or_else(Arc::default, |schema| shared.of(schema));
                    let name = if place == "header" { name.to_ascii_lowercase() } else { name.to_owned() };
                    let text = |key: &str| parameter.get(key).and_then(Value::as_str);
                    let one_by_one = match swagger {
                        true => text("collectionFormat") == Some("multi"),
                        false => {
                            let exploded = parameter.get("explode").and_then(Value::as_bool).unwrap_or(true);
                            place == "query" && exploded && text("style").is_none_or(|style| style == "form")
                        }
                    };
                    let known = Parameter { required: must, schema, one_by_one };
                    operation.parameters.insert((place.to_owned(), name), known);
                }
                "path" => {
                    let schema = if swagger { Some(parameter) } else { parameter.get("schema") };
                    let schema = schema.map_or_else(Arc::default, |schema| shared.of(schema));
                    operation.path_parameters.insert(name.to_owned(), schema);
                }
                "body" if swagger => {
                    let schema = parameter.get("schema").map_or_else(Arc::default, |schema| shared.of(schema));
                    let all = self.media(written, "consumes").into_iter().map(|name| (name, schema.clone()));
                    operation.request = all.collect();
                    operation.body_required = must;
                }
                "formData" if swagger => {
                    // A list of values is written in several ways.
                    let list = parameter.get("type").and_then(Value::as_str) == Some("array");
                    let schema = if list { Value::Object(Map::new()) } else { parameter.clone() };
                    form.insert(name.to_owned(), schema);
                    operation.body_required |= must;
                    if must {
                        required.push(Value::from(name));
                    }
                }
                _ => {}
            }
        }
        if !form.is_empty() {
            let schema = Arc::new(serde_json::json!({"type": "object", "properties": form, "required": required}));
            // There is no other way to send a form, whatever else the document says of all bodies.
            let mut names = self.media(written, "consumes");
            names.retain(|name| FORMS.contains(&name.as_str()));
            if names.is_empty() {
                names.extend(FORMS.map(str::to_owned));
            }
            operation.request = names.into_iter().map(|name| (name, schema.clone())).collect();
        }
    }

    /// Schemes that say who calls, by name.
    fn schemes(&self) -> Option<&Map<String, Value>> {
        let written = self.document.pointer("/components/securitySchemes").or(self.document.get("securityDefinitions"));
        written.and_then(Value::as_object)
    }

    /// Names of the keys that say who calls.
    fn read_keys(&self) -> BTreeSet<(String, String)> {
        let all = self.schemes().into_iter().flatten().map(|(_, scheme)| scheme);
        let key = |scheme: &Value| {
            let text = |name: &str| scheme.get(name).and_then(Value::as_str);
            let (place, name) = (text("in")?, text("name")?);
            let name = if place == "header" { name.to_ascii_lowercase() } else { name.to_owned() };
            Some((place.to_owned(), name))
        };
        all.filter_map(|scheme| key(self.resolve(scheme)?)).collect()
    }

    fn bodies(&self, written: &Map<String, Value>, operation: &mut Operation, swagger: bool, shared: &Shared) {
        let content = |of: &Value| -> BTreeMap<String, Arc<Value>> {
            let content = of.get("content").and_then(Value::as_object);
            content
                .into_iter()
                .flatten()
                .map(|(name, of)| (media(name), of.get("schema").map_or_else(Arc::default, |schema| shared.of(schema))))
                .collect()
        };
        if let Some(body) = written.get("requestBody").and_then(|body| self.resolve(body)) {
            operation.request.extend(content(body));
            operation.body_required = body.get("required").and_then(Value::as_bool).unwrap_or_default();
        }
        let responses = written.get("responses").and_then(Value::as_object);
        for (status, response) in responses.into_iter().flatten() {
            let Some(response) = self.resolve(response) else { continue };
            let bodies = match (swagger, response.get("schema")) {
                (true, Some(schema)) => {
                    let schema = shared.of(schema);
                    self.media(written, "produces").into_iter().map(|name| (name, schema.clone())).collect()
                }
                (true, None) => BTreeMap::new(),
                (false, _) => content(response),
            };
            operation.responses.insert(status.to_ascii_uppercase(), bodies);
        }
    }
}

/// A media type without its parameters.
fn media(name: &str) -> String {
    name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A file's value, in JSON or YAML.
pub(super) fn parse_value(text: &str) -> Result<Value, String> {
    match text.trim_start().starts_with(['{', '[']) {
        true => serde_json::from_str(text).map_err(|error| error.to_string()),
        false => {
            let options = serde_saphyr::options! {
                budget: serde_saphyr::budget! { max_nodes: NODES, max_events: 2 * NODES },
            };
            serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
        }
    }
}

/// The URLs of a server, its variables replaced by each of their values, or by their default.
fn urls(server: &Value) -> Vec<String> {
    let mut urls = vec![server.get("url").and_then(Value::as_str).unwrap_or_default().to_owned()];
    for (name, variable) in server.get("variables").and_then(Value::as_object).into_iter().flatten() {
        let values: Vec<&str> = match variable.get("enum").and_then(Value::as_array) {
            Some(all) => all.iter().filter_map(Value::as_str).collect(),
            None => variable.get("default").and_then(Value::as_str).into_iter().collect(),
        };
        let place = format!("{{{name}}}");
        urls =
            urls.iter().flat_map(|url| values.iter().map(|value| url.replace(&place, value))).take(SERVERS).collect();
    }
    urls
}

/// The host of an authority in lower case, without user and port; none of an empty one.
fn host(authority: &str) -> Option<String> {
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().map(|inside| format!("[{inside}]")).unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default().to_owned(),
    };
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}
