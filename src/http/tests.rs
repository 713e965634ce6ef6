//! Conversations through the stream stage, over a seeded bad network.
