//! Features over sliding windows: what is expected and what was observed.
