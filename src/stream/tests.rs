//! Reassembly under a seeded bad network.
