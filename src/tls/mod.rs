//! TLS as the packets show it, and what is in it where its secrets are known.
//!
//! | file | owns |
//! | --- | --- |
//! | [`keylog`] | secrets by connection, from key logs |
//! | [`suite`] | cipher suites whose records can be opened |
//! | [`schedule`] | from secrets to keys |
//! | [`open`] | opening the records of one direction, with their numbers |
//! | `protection` | how one record is protected |
//! | `aead`, `cbc` | the ciphers |

mod aead;
mod cbc;
pub mod keylog;
pub mod open;
mod protection;
pub mod schedule;
pub mod suite;
