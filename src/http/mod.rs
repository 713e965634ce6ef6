//! From byte runs to calls.
