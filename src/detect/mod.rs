//! From calls to evidence: one file a detector.
