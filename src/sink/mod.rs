//! Alerts to whoever reads them.
