//! Quotas as they are written in the configuration file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::settings::Network;
use crate::model::Window;

/// By what uses of a quota are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// The client's address.
    Client,
    /// The credential; of calls without one the client's address.
    Credential,
    /// Method and path template.
    Endpoint,
    /// The host.
    Service,
}

/// One quota, `[[quota]]`. At least one of `calls`, `bytes`, `seconds` and `objects` is to be given.
///
/// ```toml
/// [[quota]]
/// name = "orders of partners"
/// clients = ["198.51.100.0/24"]
/// endpoints = ["GET /v1/orders/{id}"]
/// per = ["client"]
/// window = "hour"
/// calls = 1000
/// objects = 200
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Names it in findings.
    pub name: String,
    /// By what its uses are told apart; none: all that it covers is one use.
    #[serde(default = "by_client")]
    pub per: Vec<Dimension>,
    /// The group of clients that it covers; empty: all.
    #[serde(default)]
    pub clients: Vec<Network>,
    /// Hosts that it covers, in any case; empty: all.
    #[serde(default)]
    pub services: Vec<String>,
    /// Methods and templates that it covers, as `apitap apis` prints them; empty: all.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// `minute`, `ten_minutes`, `hour`, `day` or `week`: fixed windows, the first of which begins at the epoch.
    #[schemars(with = "String")]
    pub window: Window,
    /// From this share on a quota is nearly used up: a number above 0 and below 1.
    #[serde(default = "near")]
    pub near: f64,
    /// Calls in a window; those answered with 429 do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// Bytes of bodies in a window, both ways.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What it costs the server: seconds from request to answer in a window, all calls together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Distinct objects (paths of templates with a parameter) in a window; beyond 64 they are estimated, with a standard error of
    /// 6.5 percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
}

impl Quota {
    /// Checks that it can limit anything.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if self.calls.is_none() && self.bytes.is_none() && self.seconds.is_none() && self.objects.is_none() {
            return Err(format!(
                "quota {}: it limits nothing; give `calls`, `bytes`, `seconds` or `objects`",
                self.name
            ));
        }
        let counts = [("calls", self.calls), ("bytes", self.bytes), ("objects", self.objects)];
        let of_counts = counts.iter().find(|(_, limit)| *limit == Some(0)).map(|(measure, _)| *measure);
        let of_seconds = self.seconds.filter(|seconds| !(*seconds > 0.0 && seconds.is_finite())).map(|_| "seconds");
        if let Some(measure) = of_counts.or(of_seconds) {
            return Err(format!("quota {}: `{measure}` has to be more than 0", self.name));
        }
        if !(self.near > 0.0 && self.near < 1.0) {
            return Err(format!("quota {}: `near` has to be above 0 and below 1", self.name));
        }
        if let Some(one) = self.endpoints.iter().find(|one| !one.contains(' ')) {
            return Err(format!(
                "quota {}: endpoint {one} has no method; write it as in \"GET /v1/orders/{{id}}\"",
                self.name
            ));
        }
        if let Some(one) = self.endpoints.iter().find(|one| one.contains('*')) {
            return Err(format!(
                "quota {}: endpoint {one} is a pattern, which is not understood here; name endpoints one by one, as \
                 `apitap apis` prints them",
                self.name
            ));
        }
        Ok(())
    }

    /// An endpoint as apitap has it: methods in capitals, and parameters that a specification calls by names of its own as `{id}`.
    pub(super) fn endpoint(text: &str) -> String {
        let (method, path) = text.split_once(' ').unwrap_or_default();
        let plain = |segment: &str| match segment.starts_with('{') && segment.ends_with('}') && segment != "{rest}" {
            true => "{id}".to_owned(),
            false => segment.to_owned(),
        };
        let path: Vec<String> = path.trim().split('/').map(plain).collect();
        format!("{} {}", method.to_ascii_uppercase(), path.join("/"))
    }
}

fn near() -> f64 {
    0.9
}

fn by_client() -> Vec<Dimension> {
    vec![Dimension::Client]
}
