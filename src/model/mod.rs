//! Features over sliding windows: what is expected and what was observed.
//!
//! Everything here is plain state: it knows no calls, no clock and no policy, serialises with serde, and where it can
//! be merged, merging gives what one observer of both parts would hold.
//!
//! | type | holds |
//! | --- | --- |
//! | [`Ring`] | a sum over a sliding window of the traffic's time |
//! | [`Distinct`] | how many different values were seen |
//! | [`Moments`] | mean and variance over clients, one contribution each |
//! | [`Profile`] | counts of hours, by the time of day where it shows |
//! | [`Extreme`] | one client's own highest value of the past, which it cannot quickly teach |
//! | [`Logarithm`], [`Exponential`] | that of a number that seldom changes |
//! | [`Walk`] | evidence of a sequential test, in nats |
//! | [`Touched`] | how often a client touched each of a few hundred things |
//! | [`Table`] | a bounded map that evicts what is worth least |

mod distinct;
mod extreme;
mod logarithm;
mod moments;
mod profile;
mod step;
mod table;
pub mod tail;
mod touched;
mod walk;
mod window;

pub use distinct::{Distinct, EXACT_LIMIT};
pub use extreme::Extreme;
pub use logarithm::{Exponential, Logarithm, ln_1p};
pub use moments::Moments;
pub use profile::{Profile, Slot};
pub use step::Step;
pub use table::Table;
pub use touched::Touched;
pub use walk::{ORDINARY, Walk};
pub use window::{BUCKETS, Ring, Window};
