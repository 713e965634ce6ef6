//! Fetches what the next calls will need into the processor's caches.
//!
//! Nothing here changes anything: values are read, and thrown away.

use std::hint::black_box;
use std::net::IpAddr;

use super::state::State;
use crate::call::Record;

/// Looks at what is remembered of the clients and principals of some records.
pub(super) fn look_ahead(state: &State, records: &[Record], addresses: &[Option<IpAddr>]) {
    let calls = || records.iter().filter_map(Record::call);
    // The indices first, then what they lead to: loads that do not depend on each other run side by side.
    for address in addresses.iter().take(records.len()).flatten() {
        state.clients.warm(address);
    }
    for call in calls() {
        if let Some(credential) = &call.credential {
            state.credentials.warm(&credential.fingerprint);
            state.principals.warm(credential.subject.unwrap_or(credential.fingerprint).0);
        }
    }
    for address in addresses.iter().take(records.len()).flatten() {
        if let Some(client) = state.clients.get(address) {
            black_box(client.warm());
        }
    }
    for call in calls() {
        if let Some(credential) = &call.credential {
            state.principals.warm_values(credential.subject.unwrap_or(credential.fingerprint).0);
        }
    }
}
