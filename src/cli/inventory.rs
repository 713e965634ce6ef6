//! `apitap apis`: takes the calls of captures, and prints at the end what APIs there are, or how that differs from what
//! was known before.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::Failure;
use super::consumers::standard_output;
use super::saving::draft;
use crate::call::Record;
use crate::export::selection::Selector;
use crate::inventory::report::{self, Endpoint};
use crate::inventory::review::{self, Review};
use crate::inventory::spec::{self, Specification};
use crate::inventory::{Inventory, drift, openapi};
use crate::pipeline::Consumer;
use crate::sink::Sink;
use crate::stats::Counters;
use crate::time::Timestamp;

/// How the inventory is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A row an endpoint.
    #[default]
    Table,
    /// A JSON object an endpoint, a line each.
    Json,
    /// One OpenAPI 3.1 document.
    Openapi,
}

/// How it is printed who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// One JSON object.
    Json,
    /// For Graphviz.
    Dot,
    /// For Mermaid.
    Mermaid,
}

/// What becomes of the inventory.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) format: Format,
    /// Print who calls whom instead.
    pub(super) graph: Option<GraphFormat>,
    /// Where it is written to, as JSON lines.
    pub(super) save: Option<PathBuf>,
    /// An inventory to be compared with.
    pub(super) before: Option<Vec<Endpoint>>,
    /// Specifications that it is held against.
    pub(super) specifications: Vec<Specification>,
    /// What people say of it.
    pub(super) review: Option<Review>,
    /// Print entries of a review for what none is there for.
    pub(super) template: bool,
    /// Print what does not fit the review or the specifications.
    pub(super) findings: bool,
}

/// Takes calls; at the end prints.
pub(super) struct Taking {
    inventory: Inventory,
    output: Output,
    /// Why it could not be saved.
    failed: Option<String>,
    /// There are changes that break or concern security, or it does not fit a specification.
    found: bool,
}

impl Taking {
    pub(super) fn new(inventory: Inventory, output: Output) -> Taking {
        Taking { inventory, output, failed: None, found: false }
    }

    pub(super) fn counters(&self) -> Counters {
        self.inventory.counters()
    }

    /// Takes one record.
    pub(super) fn record(&mut self, record: &Record) {
        self.inventory.record(record);
    }

    /// Whether there are changes that break or concern security, or it does not fit a specification.
    pub(super) fn found(&self) -> bool {
        self.found
    }

    /// Why the inventory could not be saved, if so.
    pub(super) fn failed(&mut self) -> Option<String> {
        self.failed.take()
    }

    /// Saves and prints.
    pub(super) fn conclude(&mut self) -> io::Result<()> {
        let mut endpoints = self.inventory.report();
        let selector = self.inventory.selector();
        // What others call, and what was called at another time, may well be there.
        let whole = self.output.review.as_ref().filter(|_| !selector.selection().is_of_calls());
        let unmatched = whole.map(|review| review.unmatched(&endpoints)).unwrap_or_default();
        endpoints.retain(|one| selector.has_service(&one.host));
        // What is not selected, or ignored, is specified all the same, so that it is no operation that was not called.
        let mut findings = match self.output.specifications.is_empty() || self.output.template {
            true => Vec::new(),
            false => spec::check(&self.output.specifications, &endpoints),
        };
        endpoints.retain(|one| is_selected(selector, one));
        let titles: BTreeSet<_> = endpoints.iter().map(Endpoint::title).collect();
        findings.retain(|finding| match finding.unused() {
            Some((method, path)) => selector.has_template(method, path) && selector.selection().statuses.is_empty(),
            None => titles.contains(&finding.endpoint),
        });
        if let Some(before) = &mut self.output.before {
            before.retain(|one| selector.has_service(&one.host) && is_selected(selector, one));
        }
        if self.output.template {
            let review = self.output.review.as_ref();
            let unknown = endpoints.iter().filter(|endpoint| !review.is_some_and(|review| review.knows(endpoint)));
            let mut out = io::stdout().lock();
            out.write_all(review::template(unknown).as_bytes())?;
            return out.flush();
        }
        if let Some(path) = &self.output.save {
            // All of it: what a review leaves out today is no news tomorrow, whoever reads this with or without it.
            if let Some(review) = &self.output.review {
                review.note(&mut endpoints);
            }
            if let Err(error) = save(path, &endpoints) {
                self.failed = Some(format!("--save {}: {error}", path.display()));
            }
        }
        if let Some(review) = &self.output.review {
            let outcome = review.apply(endpoints);
            findings.retain(|finding| !outcome.ignored.contains(&finding.endpoint));
            findings.extend(outcome.findings);
            findings.extend(unmatched);
            endpoints = outcome.endpoints;
            let before = self.output.before.take();
            self.output.before = before.map(|before| review.apply(before).endpoints);
        }
        self.found = findings.iter().any(|finding| !finding.is_harmless());
        if let Some(format) = self.output.graph {
            let graph = self.inventory.graph(&endpoints);
            let mut out = io::BufWriter::new(io::stdout().lock());
            match format {
                GraphFormat::Json => {
                    serde_json::to_writer_pretty(&mut out, &graph)?;
                    writeln!(out)?;
                }
                GraphFormat::Dot => out.write_all(graph.dot().as_bytes())?,
                GraphFormat::Mermaid => out.write_all(graph.mermaid().as_bytes())?,
            }
            return out.flush();
        }
        let listed = self.output.findings || !self.output.specifications.is_empty();
        if !listed || self.output.before.is_some() {
            findings.iter().for_each(|finding| say!("apitap: {finding}"));
        }
        if let Some(before) = &self.output.before {
            let changes = drift::changes(before, &endpoints);
            self.found |= changes.iter().any(|change| change.breaking || change.security);
            return self.list(&changes);
        }
        if listed {
            return self.list(&findings);
        }
        match self.output.format {
            Format::Table => {
                let mut out = io::BufWriter::new(io::stdout().lock());
                table(&endpoints, &mut out)?;
                out.flush()
            }
            Format::Json => {
                let mut lines = standard_output();
                endpoints.iter().try_for_each(|endpoint| lines.line(endpoint))?;
                lines.flush()
            }
            Format::Openapi => {
                let mut out = io::BufWriter::new(io::stdout().lock());
                serde_json::to_writer_pretty(&mut out, &openapi::document(&endpoints))?;
                writeln!(out)?;
                out.flush()
            }
        }
    }
}

impl Taking {
    /// Prints a list, a line each.
    fn list<T: std::fmt::Display + serde::Serialize>(&self, all: &[T]) -> io::Result<()> {
        if self.output.format == Format::Table {
            let mut out = io::BufWriter::new(io::stdout().lock());
            all.iter().try_for_each(|one| writeln!(out, "{one}"))?;
            return out.flush();
        }
        let mut lines = standard_output();
        all.iter().try_for_each(|one| lines.line(one))?;
        lines.flush()
    }
}

impl Consumer for Taking {
    fn records(&mut self, records: &mut Vec<Record>, _watermark: Timestamp) -> io::Result<()> {
        self.inventory.records(records);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.conclude()
    }
}

/// Whether an endpoint is told, of a service that is.
fn is_selected(selector: &Selector, endpoint: &Endpoint) -> bool {
    let answers = endpoint.statuses.keys().chain(endpoint.outcomes.keys());
    selector.has_template(&endpoint.method, &endpoint.template) && selector.has_status(answers.copied())
}

/// Writes an inventory to a file beside the one that is there, then puts it in its place.
fn save(path: &Path, endpoints: &[Endpoint]) -> io::Result<()> {
    let new = draft(path);
    let mut out = io::BufWriter::new(fs::File::create(&new)?);
    for endpoint in endpoints {
        serde_json::to_writer(&mut out, endpoint)?;
        writeln!(out)?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&new, path)
}

/// Reads specifications; says where one refers to what is not in it.
pub(super) fn specifications(paths: &[PathBuf]) -> Result<Vec<Specification>, Failure> {
    let read = |path: &PathBuf| {
        let specification = Specification::read(path)
            .map_err(|error| Failure::Failed(format!("--spec {}: {error}", path.display())))?;
        if specification.unresolved > 0 {
            let count = specification.unresolved;
            say!("apitap: {}: {count} reference(s) lead nowhere, and stand for anything", path.display());
            for reason in &specification.unread {
                say!("apitap: {}: $ref {reason}", path.display());
            }
        }
        Ok(specification)
    };
    paths.iter().map(read).collect()
}

/// Reads an inventory that was saved.
pub(super) fn read(path: &Path) -> Result<Vec<Endpoint>, Failure> {
    let wrong = |reason: String| Failure::Failed(format!("{}: {reason}", path.display()));
    let file = fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut endpoints = Vec::new();
    for (number, line) in io::BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|error| wrong(error.to_string()))?;
        let endpoint: Endpoint =
            serde_json::from_str(&line).map_err(|error| wrong(format!("line {}: {error}", number + 1)))?;
        if endpoint.schema != report::SCHEMA {
            let reason = format!("schema is {:?}, this version reads {:?}", endpoint.schema, report::SCHEMA);
            return Err(wrong(format!("line {}: {reason}", number + 1)));
        }
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

/// Columns that are read from the right.
const COUNTS: std::ops::Range<usize> = 6..8;

fn table(endpoints: &[Endpoint], out: &mut impl Write) -> io::Result<()> {
    let head = ["METHOD", "HOST", "TEMPLATE", "PARAMETERS", "AUTH", "SENSITIVE", "CALLS", "CLIENTS", "FIRST", "LAST"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(endpoints.iter().map(|endpoint| cells(endpoint).to_vec()));
    if endpoints.iter().any(|endpoint| endpoint.reviewed.is_some()) {
        let said = [["OWNER".to_owned(), "NOTE".to_owned()]].into_iter().chain(endpoints.iter().map(said));
        rows.iter_mut().zip(said).for_each(|(row, said)| row.extend(said));
    }
    let mut widths = vec![0; rows.first().map_or(0, Vec::len)];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows {
        let mut line = String::new();
        for (place, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let padded =
                if COUNTS.contains(&place) { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
            line.push_str(&padded);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// What people say of an endpoint: owner, and note with what is marked.
fn said(endpoint: &Endpoint) -> [String; 2] {
    let Some(reviewed) = &endpoint.reviewed else { return ["-".to_owned(), "-".to_owned()] };
    let marks = [(reviewed.internal, "internal"), (reviewed.sensitive, "sensitive")];
    let marks = marks.iter().filter(|(holds, _)| *holds).map(|(_, name)| (*name).to_owned());
    let note: Vec<_> = marks.chain(reviewed.note.clone()).collect();
    [reviewed.owner.clone().unwrap_or_default(), note.join("; ")]
        .map(|text| if text.is_empty() { "-".to_owned() } else { text.escape_debug().to_string() })
}

/// An endpoint as a row. Host and method come from the wire: control characters in them are shown, not obeyed.
fn cells(endpoint: &Endpoint) -> [String; 10] {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.escape_debug().to_string() };
    let kinds = endpoint.parameters.iter().filter(|parameter| !parameter.credential).map(|parameter| {
        match parameter.place.as_str() {
            "path" => parameter.types.join("|"),
            "header" => format!("{}:", parameter.name),
            "cookie" => format!("{}=", parameter.name),
            _ => format!("?{}", parameter.name),
        }
    });
    let parameters = match endpoint.catch_all {
        true => "catch-all".to_owned(),
        false => kinds.collect::<Vec<_>>().join(" "),
    };
    let auth: Vec<_> = endpoint.auth.keys().map(String::as_str).collect();
    let classes: BTreeSet<_> = endpoint.request.sensitive.iter().chain(&endpoint.response.sensitive).cloned().collect();
    let classes: Vec<_> = classes.into_iter().collect();
    let operation = endpoint.operation.as_ref().map(|operation| operation.name.as_str()).unwrap_or_default();
    // A gRPC method is called as its path.
    let template = match operation {
        "" => endpoint.template.clone(),
        name if endpoint.template.ends_with(name) => endpoint.template.clone(),
        name => format!("{} {name}", endpoint.template),
    };
    [
        or_dash(&endpoint.method),
        or_dash(&endpoint.host),
        or_dash(&template),
        or_dash(&parameters),
        or_dash(&auth.join("|")),
        or_dash(&classes.join(",")),
        endpoint.calls.to_string(),
        endpoint.clients.to_string(),
        second(endpoint.first),
        second(endpoint.last),
    ]
}

/// A time to the second.
fn second(time: Timestamp) -> String {
    let text = time.to_string();
    text.split_once('.').map_or(text.clone(), |(second, _)| format!("{second}Z"))
}
