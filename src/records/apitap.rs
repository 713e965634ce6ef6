//! apitap's own call lines.

use crate::call::Call;

/// Reads one line.
///
/// # Errors
///
/// What is no call of this version's schema.
pub(super) fn read(line: &[u8]) -> Result<Call, String> {
    serde_json::from_slice(line).map_err(|error| error.to_string())
}
