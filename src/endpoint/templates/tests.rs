//! Estates of all sorts.
