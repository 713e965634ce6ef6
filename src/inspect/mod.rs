//! Looks into messages while http streams them, and leaves a small digest on the call.
//!
//! A body is walked once, in pieces as they arrive, and never held: whatever wants to look at bodies does so behind
//! [`Observer`].

/// Which message of a call is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The request.
    Request,
    /// The response.
    Response,
}
