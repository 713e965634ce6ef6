//! From evidence to alerts.
