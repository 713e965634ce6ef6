//! What a call asks for by another name than its target: one URL of GraphQL, JSON-RPC or SOAP answers to many.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Who names the operation in its own way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// GraphQL over HTTP, in a body or in the query of the target.
    #[default]
    #[serde(rename = "graphql")]
    GraphQl,
    /// JSON-RPC 2.0, and what passes for 1.0.
    #[serde(rename = "jsonrpc")]
    JsonRpc,
    /// SOAP 1.1 and 1.2.
    Soap,
}

/// What an operation of GraphQL does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// It reads.
    Query,
    /// It writes.
    Mutation,
    /// It waits for events.
    Subscription,
}

impl OperationKind {
    /// Its keyword.
    pub const fn name(self) -> &'static str {
        match self {
            OperationKind::Query => "query",
            OperationKind::Mutation => "mutation",
            OperationKind::Subscription => "subscription",
        }
    }
}

/// Why not all of an operation is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unread {
    /// The body is longer than what is kept of one.
    TooLarge,
    /// Bytes of the body were not seen, could not be decoded, or were not kept because too many bodies were under way.
    Incomplete,
    /// The body is not well-formed, or does not say which of its operations is meant.
    Malformed,
}

/// What the answer says went wrong with an operation, which HTTP need not say.
///
/// Of a batch it is that of the first operation that failed; [`Operation::failed`] says how many did. GraphQL that gives some of the data has
/// not failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationError {
    /// As an HTTP status: what the code means, else 400 where the request was refused before anything was executed, else
    /// 500. Where HTTP has its own word for it, that.
    pub status: u16,
    /// What the server calls it: `code` or `classification` in the `extensions` of the first error that has one (GraphQL),
    /// `error.code` (JSON-RPC), the code of the fault without its prefix (SOAP). Only where it is a name or a number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<Arc<str>>,
}

/// What a call of GraphQL, JSON-RPC or SOAP asks for: names only, never values.
///
/// With `unread`, what is there is certain, and what is absent is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Operation {
    /// In which protocol.
    pub protocol: Protocol,
    /// What it does; GraphQL only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<OperationKind>,
    /// Name of the operation (GraphQL; where it has none and stands for a document that the server has, the beginning of
    /// that document's hash or number), of the method (JSON-RPC), of the first element of the body without its prefix (SOAP;
    /// where there is none to be read, what the action in the head names). Cut at 128 bytes. Of a batch that of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// Distinct fields of the top level, those of fragments included, in order; the first 32. GraphQL only; of a batch
    /// those of the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Arc<str>>,
    /// Fields that lie within each other, of a batch the most. GraphQL only.
    #[serde(skip_serializing_if = "is_zero")]
    pub depth: u32,
    /// Fields with an alias, counted as often as fragments bring them in, over all of a batch. GraphQL only.
    #[serde(skip_serializing_if = "is_zero")]
    pub aliases: u32,
    /// Fields of the top level that are asked for once more, under another name, over all of a batch. GraphQL only.
    #[serde(skip_serializing_if = "is_zero")]
    pub repeats: u32,
    /// Operations that are asked for at once; absent for one. With `unread` at least so many.
    #[serde(skip_serializing_if = "is_one")]
    pub count: u32,
    /// What else a batch asks for, as [`Operation::label`] writes it: distinct, in order, the first 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Arc<str>>,
    /// It asks for the schema (`__schema`, `__type`). GraphQL only.
    #[serde(skip_serializing_if = "is_false")]
    pub introspection: bool,
    /// Why not all of it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<Unread>,
    /// What went wrong. Looked for in answers of JSON and XML that came to their end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<OperationError>,
    /// Operations of a batch whose answers say that they failed; absent for none, and for what is no batch.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u32,
}

impl Operation {
    /// What it came to where that is no success: of a batch, where at least half of it failed. Less may be one stale name
    /// among what a page asks for.
    pub fn failure(&self) -> Option<&OperationError> {
        self.error.as_ref().filter(|_| self.failed == 0 || self.failed >= self.count.div_ceil(2))
    }
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn is_one(value: &u32) -> bool {
    *value == 1
}

fn is_false(value: &bool) -> bool {
    !*value
}

impl Default for Operation {
    fn default() -> Self {
        Operation {
            protocol: Protocol::default(),
            kind: None,
            name: None,
            fields: Vec::new(),
            depth: 0,
            aliases: 0,
            repeats: 0,
            count: 1,
            others: Vec::new(),
            introspection: false,
            unread: None,
            error: None,
            failed: 0,
        }
    }
}

/// Fields that a label names.
const LABEL_FIELDS: usize = 8;

impl Operation {
    /// One of this protocol of which nothing is known, and why.
    pub fn unread(protocol: Protocol, reason: Unread) -> Operation {
        Operation { protocol, unread: Some(reason), ..Operation::default() }
    }

    /// The same, where a SOAP action names what the body does not.
    pub(crate) fn or_named(mut self, announced: Option<&Operation>) -> Operation {
        if let Some(announced) = announced
            && (self.protocol, announced.protocol) == (Protocol::Soap, Protocol::Soap)
            && self.name.is_none()
        {
            self.name.clone_from(&announced.name);
        }
        self
    }

    /// Appends what it is called in an endpoint: `query Items {items}`, the name of a method, `{batch}` for several that
    /// differ (clients put together what they like). Nothing where it is not known. The fields of GraphQL, sorted, are part
    /// of it, since its names are the client's choice: who borrows the name of an innocent operation does not share its
    /// endpoint.
    pub fn label(&self, out: &mut String) {
        if !self.others.is_empty() {
            out.push_str("{batch}");
            return;
        }
        self.own_label(out);
    }

    /// The same of the first alone, whatever is beside it.
    pub(crate) fn own_label(&self, out: &mut String) {
        let mut fields: Vec<&str> = self.fields.iter().map(|field| &**field).collect();
        fields.sort_unstable();
        let more = fields.len() > LABEL_FIELDS;
        fields.truncate(LABEL_FIELDS);
        let begin = out.len();
        for part in [self.kind.map(OperationKind::name), self.name.as_deref()].into_iter().flatten() {
            if out.len() > begin {
                out.push(' ');
            }
            out.push_str(part);
        }
        if !fields.is_empty() {
            out.push_str(if out.len() > begin { " {" } else { "{" });
            for (number, field) in fields.iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                out.push_str(field);
            }
            out.push_str(if more { ",…}" } else { "}" });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(operation: &Operation) -> String {
        let mut out = String::new();
        operation.label(&mut out);
        out
    }

    #[test]
    fn labels_tell_operations_apart() {
        let mut operation = Operation {
            kind: Some(OperationKind::Query),
            name: Some("Both".into()),
            fields: vec!["items".into(), "item".into()],
            ..Operation::default()
        };
        assert_eq!(label(&operation), "query Both {item,items}");
        operation.name = None;
        assert_eq!(label(&operation), "query {item,items}");
        operation.fields = (0..20).map(|number| format!("f{number:02}").into()).collect();
        assert_eq!(label(&operation), "query {f00,f01,f02,f03,f04,f05,f06,f07,…}");
        operation.others = vec!["mutation B {rename}".into()];
        assert_eq!(label(&operation), "{batch}");
        assert_eq!(label(&Operation::unread(Protocol::Soap, Unread::TooLarge)), "");
    }

    #[test]
    fn the_json_form_is_stable() {
        let operation = Operation {
            kind: Some(OperationKind::Mutation),
            fields: vec!["rename".into()],
            depth: 2,
            count: 3,
            others: vec!["query {items}".into()],
            ..Operation::default()
        };
        let text = serde_json::to_string(&operation).expect("plain data");
        let expected = r#"{"protocol":"graphql","kind":"mutation","fields":["rename"],"depth":2,"count":3,"others":["query {items}"]}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Operation>(&text).expect("what was written"), operation);
        let text = serde_json::to_string(&Operation::unread(Protocol::JsonRpc, Unread::TooLarge)).expect("plain data");
        assert_eq!(text, r#"{"protocol":"jsonrpc","unread":"too_large"}"#);
        assert_eq!(serde_json::from_str::<Operation>(&text).expect("what was written").count, 1);
        let error = Some(OperationError { status: 404, code: Some("-32601".into()) });
        let failed = Operation { protocol: Protocol::JsonRpc, name: Some("add".into()), error, ..Operation::default() };
        let text = serde_json::to_string(&failed).expect("plain data");
        assert_eq!(text, r#"{"protocol":"jsonrpc","name":"add","error":{"status":404,"code":"-32601"}}"#);
        assert_eq!(serde_json::from_str::<Operation>(&text).expect("what was written"), failed);
    }
}
