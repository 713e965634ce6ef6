//! Calls for other tools: a selection of them, as they are printed anyway or as a HAR archive.
//!
//! | file | owns |
//! | --- | --- |
//! | [`selection`] | which calls: by service, endpoint, client, status, time |
//! | [`har`] | HAR 1.2, as browsers and proxies write and read it |

pub mod har;
pub mod selection;
