//! The inventory held against specifications: what is there and not specified, what is specified and not there, what is
//! deprecated and still answers, and where what was observed breaks what was promised.
//!
//! | file | owns |
//! | --- | --- |
//! | `document` | OpenAPI 3.0 and 3.1 and Swagger 2 as operations with paths, servers, parameters, bodies |
//! | `files` | documents in several files as one |
//! | `security` | what is demanded of who calls |
//! | `path` | whether paths of operations take what was observed in them |
//! | `index` | which operations a template fits |
//! | `schema` | whether what was observed fits a schema |
//! | `formats` | whether what texts look like fits a format, a type or an enumeration |
//! | `findings` | what does not fit |

mod document;
mod files;
mod findings;
mod formats;
mod index;
mod path;
mod schema;
mod security;
#[cfg(test)]
mod tests;

pub use document::{Specification, SpecificationError};
pub use findings::{Finding, SCHEMA, check};
