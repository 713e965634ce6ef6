//! How alerts, findings and events are written: apitap's own form, and those of others.
//!
//! | format | what | by |
//! | --- | --- | --- |
//! | `native` | JSON: `apitap.alert.v1`, `apitap.finding.v1`, `apitap.event.v1` | `apitap schema alert` |
//! | `ecs` | Elastic Common Schema 8.17, with what it has no place for below `apitap` | elastic.co/guide/en/ecs |
//! | `ocsf` | OCSF 1.5, Detection Finding (2004): create, update, close | schema.ocsf.io |
//! | `eve` | an alert event of Suricata's EVE, with the rest below `apitap` | docs.suricata.io |
//! | `cef` | ArcSight Common Event Format, version 0 | Micro Focus, CEF Implementation Standard |
//!
//! Each is written of a `notice`, which is made of any of the three.

mod cef;
mod ecs;
mod eve;
mod notice;
mod ocsf;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use notice::Notice;

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// apitap's own form.
    #[default]
    Native,
    /// Elastic Common Schema.
    Ecs,
    /// OCSF Detection Finding.
    Ocsf,
    /// Suricata EVE.
    Eve,
    /// Common Event Format.
    Cef,
}

impl Format {
    /// Whether what it gives is one JSON object.
    pub const fn is_json(self) -> bool {
        !matches!(self, Format::Cef)
    }

    /// Writes one line without its end. `native` is its native form, and `sensor` the name of this machine.
    pub fn write(self, notice: &Notice<'_>, native: &[u8], sensor: &str) -> Vec<u8> {
        let value = match self {
            Format::Native => return native.to_vec(),
            Format::Cef => return cef::line(notice, sensor).into_bytes(),
            Format::Ecs => ecs::event(notice, sensor),
            Format::Ocsf => ocsf::finding(notice, sensor),
            Format::Eve => eve::event(notice, sensor),
        };
        value.to_string().into_bytes()
    }
}
