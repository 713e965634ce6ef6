//! TLS as the packets show it: between the runs of `stream` and the calls of `http`.
//!
//! | file | owns |
//! | --- | --- |
//! | `codec` | numbers and vectors of the presentation language |
//! | `record` | records out of runs, and where the next one begins after a loss |
//! | `handshake` | messages out of records |
//! | [`hello`] | what the two ends propose and choose |
//! | [`fingerprint`] | which program speaks, by its hello |

mod codec;
pub mod fingerprint;
mod handshake;
pub mod hello;
mod record;
