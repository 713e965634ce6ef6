//! Limits out of what was used: for each service and window, what nearly all honest clients stay below.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::{Dimension, MEASURES, Used, use_of, window_of};
use crate::call::Call;
use crate::detect::{Detector, Judged};
use crate::endpoint::{EndpointId, HashKey};
use crate::model::{Table, Window};
use crate::stats::{Counter, Counters};

use super::super::Seen;

/// The version of the JSON form.
pub const SCHEMA: &str = "apitap.quota_suggestion.v1";

/// Windows for which limits are proposed.
const WINDOWS: [Window; 3] = [Window::Minute, Window::Hour, Window::Day];

/// Honest uses below which nothing is proposed: the highest of few says little of the next.
const FEW: usize = 5;

/// How limits are found.
#[derive(Clone, Debug)]
pub struct Options {
    /// By what uses are told apart, beside the service.
    pub per: Vec<Dimension>,
    /// The share of honest uses whose highest window a limit lies above, before room is added.
    pub share: f64,
    /// Room above that: 1.5 is half as much again.
    pub headroom: f64,
    /// Uses that are remembered; beyond, of sixteen the one with the fewest calls leaves and is counted. At worst 2.4 KiB each.
    pub uses: usize,
}

/// The highest windows of one use.
#[derive(Clone)]
struct Peaks {
    client: IpAddr,
    service: Arc<str>,
    endpoint: Option<String>,
    calls: u64,
    current: [(i64, Used); 3],
    highest: [[f64; 4]; 3],
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestion {
    /// [`SCHEMA`].
    pub schema: String,
    /// The host.
    pub service: String,
    /// Method and template, where endpoints are told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// By what uses are told apart.
    pub per: Vec<Dimension>,
    /// The window.
    pub window: Window,
    /// `calls`, `bytes`, `seconds` or `objects`.
    pub measure: String,
    /// What is proposed.
    pub limit: f64,
    /// Half of the honest uses stay below this in their highest window, and all of them.
    pub half: f64,
    /// The highest window of any honest use.
    pub highest: f64,
    /// Honest uses.
    pub honest: u64,
    /// The share of them that would have exceeded the limit at least once.
    pub honest_share_over: f64,
    /// Uses of clients under suspicion, and the share of them that would have.
    pub suspects: u64,
    /// See `suspects`.
    pub suspects_share_over: f64,
}

/// Takes calls; at the end proposes.
pub struct Suggesting {
    options: Options,
    peaks: Table<u64, Peaks>,
    key: HashKey,
    counters: Counters,
}

impl std::fmt::Debug for Suggesting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Suggesting").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Suggesting {
    /// One that has seen nothing.
    pub fn new(options: Options, key: HashKey) -> Suggesting {
        Suggesting { peaks: Table::new(options.uses), options, key, counters: Counters::new() }
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes a call with what the detector made of it.
    pub fn take(&mut self, call: &Call, judged: &Judged<'_>) {
        if judged.goes_on() || call.outcome() == Some(429) {
            return;
        }
        let endpoint = EndpointId::of(&self.key, judged.place, call.verb());
        let seen = Seen::new(call, judged, judged.place, endpoint);
        let service = seen.service();
        let by = use_of(&self.options.per, &self.key, &seen);
        let hash = self.key.pair(by, self.key.hash(&[service.as_bytes()]));
        if self.peaks.get(&hash).is_none() {
            let named = self.options.per.contains(&Dimension::Endpoint);
            let new = Peaks {
                client: judged.client,
                endpoint: if named { seen.subject().endpoint } else { None },
                service,
                calls: 0,
                current: Default::default(),
                highest: Default::default(),
            };
            if self.peaks.insert(hash, new, |peaks| peaks.calls).is_some() {
                self.counters.count(Counter::PracticeForgotten);
            }
        }
        let Some(peaks) = self.peaks.get_mut(&hash) else { return };
        peaks.calls += 1;
        let object = self.key.hash(&[judged.place.host.as_bytes(), call.path.as_bytes()]);
        for ((window, (number, used)), highest) in WINDOWS.iter().zip(&mut peaks.current).zip(&mut peaks.highest) {
            let now = window_of(*window, call.end_time);
            if now != *number {
                (*number, *used) = (now, Used::default());
            }
            used.add(&seen, object);
            for (most, amount) in highest.iter_mut().zip(used.amounts()) {
                *most = most.max(amount);
            }
        }
    }

    /// What is proposed, by service, endpoint, window and measure. Uses of clients that are under suspicion in the end do not
    /// count as honest.
    pub fn suggestions(&self, detector: &Detector) -> Vec<Suggestion> {
        let mut groups: BTreeMap<(&str, Option<&str>), Vec<&Peaks>> = BTreeMap::new();
        for (_, peaks) in self.peaks.iter() {
            groups.entry((&peaks.service, peaks.endpoint.as_deref())).or_default().push(peaks);
        }
        let mut all = Vec::new();
        for ((service, endpoint), uses) in groups {
            let (suspects, honest): (Vec<&Peaks>, Vec<&Peaks>) =
                uses.into_iter().partition(|peaks| detector.suspects(peaks.client));
            if honest.len() < FEW {
                continue;
            }
            for (place, window) in WINDOWS.iter().enumerate() {
                for (column, measure) in MEASURES.iter().enumerate() {
                    let values = |uses: &[&Peaks]| {
                        let mut values: Vec<f64> = uses.iter().map(|peaks| peaks.highest[place][column]).collect();
                        values.sort_by(f64::total_cmp);
                        values
                    };
                    let (of_honest, of_suspects) = (values(&honest), values(&suspects));
                    let at = |share: f64| {
                        let rank = (share * of_honest.len() as f64).ceil() as usize;
                        of_honest.get(rank.clamp(1, of_honest.len()) - 1).copied().unwrap_or(0.0)
                    };
                    let limit = rounded_up(self.options.headroom * at(self.options.share));
                    if limit <= 0.0 {
                        continue;
                    }
                    let over = |values: &[f64]| match values.len() {
                        0 => 0.0,
                        count => values.iter().filter(|value| **value > limit).count() as f64 / count as f64,
                    };
                    all.push(Suggestion {
                        schema: SCHEMA.to_owned(),
                        service: service.to_owned(),
                        endpoint: endpoint.map(str::to_owned),
                        per: self.options.per.clone(),
                        window: *window,
                        measure: (*measure).to_owned(),
                        limit,
                        half: at(0.5),
                        highest: at(1.0),
                        honest: honest.len() as u64,
                        honest_share_over: over(&of_honest),
                        suspects: suspects.len() as u64,
                        suspects_share_over: over(&of_suspects),
                    });
                }
            }
        }
        all
    }
}

/// Up to two significant digits, and a whole number from 10 on.
fn rounded_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 0.0;
    }
    let step = 10f64.powi(value.log10().floor() as i32 - 1);
    let rounded = (value / step - 1e-9).ceil() * step;
    if step < 1.0 { (rounded / step).round() * step } else { rounded.round() }
}

/// As quotas of a configuration file, with what speaks for each as a comment.
pub fn toml(all: &[Suggestion]) -> String {
    let mut text = String::new();
    let mut last = None;
    for one in all {
        let quota = (&one.service, &one.endpoint, one.window);
        if last != Some(quota) {
            let window = format!("{:?}", one.window).to_lowercase();
            let what = one.endpoint.as_deref().map_or(String::new(), |endpoint| format!(" {endpoint}"));
            let per: Vec<_> = one.per.iter().map(|dimension| format!("\"{dimension:?}\"").to_lowercase()).collect();
            let quoted = |text: &str| toml_string(text);
            let _ = writeln!(text, "{}[[quota]]", if text.is_empty() { "" } else { "\n" });
            let _ = writeln!(text, "name = {}", quoted(&format!("{}{what} by the {window}", one.service)));
            let _ = writeln!(text, "per = [{}]", per.join(", "));
            let _ = writeln!(text, "services = [{}]", quoted(&one.service));
            if let Some(endpoint) = &one.endpoint {
                let _ = writeln!(text, "endpoints = [{}]", quoted(endpoint));
            }
            let _ = writeln!(text, "window = \"{window}\"");
            last = Some(quota);
        }
        // Those limits are whole numbers but for seconds.
        let limit = if one.measure == "seconds" {
            format!("{:?}", tidy(one.limit))
        } else {
            format!("{:.0}", one.limit.ceil())
        };
        let _ = write!(
            text,
            "{} = {limit} # {:.1} % of {} honest exceed it; half stay below {}, the highest is {}",
            one.measure,
            100.0 * one.honest_share_over,
            one.honest,
            tidy(one.half),
            tidy(one.highest),
        );
        if one.suspects > 0 {
            let _ = write!(text, "; {:.1} % of {} suspects do", 100.0 * one.suspects_share_over, one.suspects);
        }
        text.push('\n');
    }
    text
}

/// Without the digits that are noise.
fn tidy(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// A basic string of TOML.
fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control) & 0xffff);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_round_and_not_below() {
        for (value, wanted) in
            [(0.0, 0.0), (1.0, 1.0), (7.3, 7.3), (10.0, 10.0), (151.0, 160.0), (120.0, 120.0), (98_765.0, 99_000.0)]
        {
            assert!((rounded_up(value) - wanted).abs() < 1e-9, "{value}: {}", rounded_up(value));
        }
        assert!(rounded_up(0.001234) >= 0.001234);
    }

    #[test]
    fn strings_are_quoted() {
        assert_eq!(toml_string("a\"b\\c\u{1}"), r#""a\"b\\c\u0001""#);
    }
}
