//! apitap's own lines: calls and connections.

use memchr::memmem;

use crate::call::{Connection, Record};

/// How a line begins that tells of a connection, as apitap writes it.
const CONNECTION: &[u8] = b"{\"schema\":\"apitap.connection.";

/// Reads one line.
///
/// # Errors
///
/// What is neither a call nor a connection of this version's schemas.
pub(super) fn read(line: &[u8]) -> Result<Record, String> {
    let connection = || serde_json::from_slice::<Connection>(line);
    if line.starts_with(CONNECTION) {
        return connection().map(Record::from).map_err(|error| error.to_string());
    }
    // Who wrote it anew may have put the keys into another order. Its texts prove nothing: a call may be of a host that
    // is named like the schema.
    serde_json::from_slice(line).map(Record::Call).or_else(|error| {
        let other = memmem::find(line, b"\"apitap.connection.").and_then(|_| connection().ok());
        other.map(Record::from).ok_or_else(|| error.to_string())
    })
}
