//! What is asked for one behind the other, in a batch or over a WebSocket, as one operation with others beside it.

use crate::call::Operation;

use super::super::intern::Interner;

/// Other operations that are named.
const OTHERS: usize = 16;

/// The first operation, and those that came behind it.
pub(crate) struct Asked {
    operation: Operation,
    /// What the first is called.
    first: String,
}

impl Asked {
    pub(crate) fn new(operation: Operation) -> Asked {
        let mut asked = Asked { operation, first: String::new() };
        asked.operation.own_label(&mut asked.first);
        asked
    }

    /// Adds the next, and what is beside it.
    pub(crate) fn add(&mut self, next: Operation, texts: &mut Interner) {
        let operation = &mut self.operation;
        operation.count = operation.count.saturating_add(next.count);
        operation.depth = operation.depth.max(next.depth);
        operation.aliases = operation.aliases.saturating_add(next.aliases);
        operation.repeats = operation.repeats.saturating_add(next.repeats);
        operation.introspection |= next.introspection;
        operation.unread = operation.unread.or(next.unread);
        let mut label = String::new();
        next.own_label(&mut label);
        let labels = std::iter::once(texts.text(label.as_bytes())).chain(next.others);
        for label in labels {
            let known = *label == *self.first || operation.others.contains(&label);
            if operation.others.len() < OTHERS && !known {
                operation.others.push(label);
            }
        }
    }
}

impl From<Asked> for Operation {
    fn from(asked: Asked) -> Operation {
        asked.operation
    }
}
