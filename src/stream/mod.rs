//! From segments to byte runs in order and explicit gaps, per direction.
