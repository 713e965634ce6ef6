//! What is looked into, by its media type.

pub(super) fn has_prefix(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// True for tables of separated values.
pub(super) fn is_table(content_type: &str) -> bool {
    ["text/csv", "application/csv", "text/tab-separated-values"].iter().any(|kind| has_prefix(content_type, kind))
}

/// True for media types that hold no readable text.
pub(super) fn is_opaque(content_type: &str) -> bool {
    const OPAQUE: [&str; 19] = [
        "image/",
        "video/",
        "audio/",
        "font/",
        "application/font",
        "application/x-font",
        "application/vnd.ms-font",
        "application/wasm",
        "application/zip",
        "application/gzip",
        "application/x-gzip",
        "application/x-7z",
        "application/x-rar",
        "application/x-bzip",
        "application/zstd",
        "application/pdf",
        "application/vnd.openxmlformats",
        "application/java-archive",
        "application/vnd.android",
    ];
    if matches!(content_type, "application/json" | "text/html" | "text/plain") {
        return false;
    }
    !has_prefix(content_type, "image/svg") && OPAQUE.iter().any(|prefix| has_prefix(content_type, prefix))
}
