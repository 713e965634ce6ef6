//! How an alert is written: apitap's own form, and those of others.
//!
//! | format | what | by |
//! | --- | --- | --- |
//! | `native` | JSON, `apitap.alert.v1` | `apitap schema alert` |
//! | `ecs` | Elastic Common Schema 8.17, with what it has no place for below `apitap` | elastic.co/guide/en/ecs |
//! | `ocsf` | OCSF 1.5, Detection Finding (2004): create, update, close | schema.ocsf.io |
//! | `eve` | an alert event of Suricata's EVE, with the rest below `apitap` | docs.suricata.io |
//! | `cef` | ArcSight Common Event Format, version 0 | Micro Focus, CEF Implementation Standard |

mod cef;
mod ecs;
mod eve;
mod ocsf;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::alert::Alert;

/// How an alert is written.
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

    /// Writes an alert as one line without its end. `native` is its native form, and `sensor` the name of this machine.
    pub fn write(self, alert: &Alert, native: &[u8], sensor: &str) -> Vec<u8> {
        let value = match self {
            Format::Native => return native.to_vec(),
            Format::Cef => return cef::line(alert, sensor).into_bytes(),
            Format::Ecs => ecs::event(alert, sensor),
            Format::Ocsf => ocsf::finding(alert, sensor),
            Format::Eve => eve::event(alert, sensor),
        };
        value.to_string().into_bytes()
    }
}

/// All addresses that an alert accuses, in its order.
fn accused(alert: &Alert) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    for suspect in alert.client.iter().chain(&alert.clients) {
        if !all.contains(&suspect.ip) {
            all.push(suspect.ip);
        }
    }
    all
}

/// What apitap says and other schemas have no place for.
fn remainder(alert: &Alert) -> Value {
    let mut rest = Map::new();
    if let Ok(Value::Object(native)) = serde_json::to_value(alert) {
        const TOLD: [&str; 3] = ["ts", "summary", "first"];
        rest.extend(native.into_iter().filter(|(key, _)| !TOLD.contains(&key.as_str())));
    }
    Value::Object(rest)
}

/// The path of an endpoint such as `GET /users/{id}`, and its method.
fn endpoint(alert: &Alert) -> Option<(&str, &str)> {
    alert.endpoint.as_deref()?.split_once(' ')
}
