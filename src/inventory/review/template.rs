//! Entries for endpoints that no entry fits, to be filled in and put behind the others.

use std::fmt::Write;

use super::super::report::Endpoint;
use crate::glob::escaped;

/// Entries for these endpoints, in TOML.
pub fn template<'e>(endpoints: impl IntoIterator<Item = &'e Endpoint>) -> String {
    let mut text = String::new();
    for endpoint in endpoints {
        let quoted = |value: &str| toml::Value::from(escaped(value)).to_string();
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "{key} = {}", quoted(value)); // writing to a text does not fail
        };
        line("\n[[endpoint]]\nservice", &endpoint.host);
        line("method", &endpoint.method);
        line("template", &endpoint.template);
        if let Some(operation) = &endpoint.operation {
            line("operation", &operation.name);
        }
        text.push_str("owner = \"\"\n");
        let mut seen = format!("# {} calls of {} clients", endpoint.calls, endpoint.clients);
        if endpoint.outside_calls > 0 {
            let _ = write!(seen, ", {} from outside", endpoint.outside_calls);
        }
        let mut classes: Vec<_> = endpoint.request.sensitive.union(&endpoint.response.sensitive).cloned().collect();
        classes.sort_unstable();
        if !classes.is_empty() {
            let _ = write!(seen, "; sensitive: {}", classes.join(", "));
        }
        // Classes come from rules, which a line break could have got into.
        text.push_str(&seen.replace(['\n', '\r'], " "));
        text.push('\n');
    }
    text
}
