//! HTTP/2 (RFC 9113), by prior knowledge, by upgrade, and taken up in the middle.

pub mod hpack;
pub mod huffman;
