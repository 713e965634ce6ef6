//! What says which object is asked for: the table `[objects]` of `rules/detect.toml`.
//!
//! The inspection holds the names of fields in request bodies against it, of whose values nothing leaves but a fingerprint; the
//! detector those of parameters.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;

use super::{RuleError, RuleFile};
use crate::inspect::{Names, humps, leaf};

/// Bytes of the longest identifier.
const LONGEST: usize = 128;

/// What names an object in a query or a body.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectRules {
    /// Names of parameters, lower case; `-` and `_` in them count for nothing.
    pub parameters: Vec<String>,
    /// Last words of names, lower case.
    pub endings: Vec<String>,
    /// Names that are none all the same, as `parameters`.
    #[serde(default)]
    pub except: Vec<String>,
    /// First words, lower case, of the names of operations, and of the last segments of paths, that only read.
    #[serde(default)]
    pub reads: Vec<String>,
    /// `parameters` and `except`, ready for use.
    #[serde(skip)]
    known: OnceLock<[Names; 2]>,
}

impl ObjectRules {
    /// Those of `folder`, and those compiled in where it has no such file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or whose table `[objects]` has another shape.
    pub(crate) fn load(folder: Option<&Path>) -> Result<Arc<ObjectRules>, RuleError> {
        /// The other tables are the detector's.
        #[derive(Deserialize)]
        struct Tables {
            #[serde(default)]
            objects: ObjectRules,
        }
        let file = RuleFile::find(folder, crate::detect::FILE, crate::detect::COMPILED_IN)?;
        Ok(file.parse::<Tables>()?.objects.into())
    }

    /// Whether a parameter or a field of this name says what is asked for.
    pub(crate) fn name(&self, name: &[u8]) -> bool {
        let name = leaf(name);
        let [named, other] = self.known();
        let ends = || {
            let name = str::from_utf8(name).unwrap_or_default();
            let part = name.rsplit(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default();
            let word = humps(part).last().filter(|word| word.len() < name.len()).unwrap_or_default();
            self.endings.iter().any(|ending| ending.eq_ignore_ascii_case(word))
        };
        (named.has(name) || ends()) && !other.has(name)
    }

    /// Whether a field of this name says who asks, when, or from where to go on.
    pub(crate) fn excepts(&self, name: &[u8]) -> bool {
        self.known()[1].has(leaf(name))
    }

    /// `parameters` and `except`.
    fn known(&self) -> &[Names; 2] {
        self.known
            .get_or_init(|| [&self.parameters, &self.except].map(|names| Names::of(names.iter().map(String::as_str))))
    }

    /// Whether what has this name only reads: `getOrder`, `orders.list`, `find_user`.
    pub(crate) fn read(&self, name: &str) -> bool {
        let part = name.rsplit(['.', '/', ':']).next().unwrap_or_default();
        let part = part.split(|letter: char| !letter.is_ascii_alphanumeric()).find(|part| !part.is_empty());
        let word = part.and_then(|part| humps(part).next()).unwrap_or_default();
        self.reads.iter().any(|known| known.eq_ignore_ascii_case(word))
    }
}

/// Whether a value may be an identifier: words are rather what somebody is asked to do.
pub(crate) fn is_identifier(value: &[u8]) -> bool {
    let usual = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'%' | b'=');
    value.len() <= LONGEST && value.iter().any(u8::is_ascii_digit) && value.iter().all(usual)
}

/// Whether it can hardly be anything else, whatever its name is: as long as no count, and no moment.
pub(crate) fn is_surely_identifier(value: &[u8]) -> bool {
    // A day without hyphens; seconds, milli-, micro- and nanoseconds since 1970, until 2033.
    let is_moment = value.iter().all(u8::is_ascii_digit)
        && match value.len() {
            8 => value.starts_with(b"19") || value.starts_with(b"20"),
            10 | 13 | 16 | 19 => value.starts_with(b"1"),
            _ => false,
        };
    let is_date =
        matches!(value, [a, b, c, d, b'-', e, f, ..] if [a, b, c, d, e, f].iter().all(|byte| byte.is_ascii_digit()));
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    is_identifier(value)
        && value.len() >= 8
        && digits >= 4
        && !is_date
        && !is_moment
        && !value.contains(&b'.')
        && !value.contains(&b':')
}
