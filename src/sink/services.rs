//! What services behind HTTP want to be told, and how they say whether they have it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::delivery::Trouble;
use super::format::{Format, Notice};
use super::http::{Answer, Client};
use super::probe::Probe;
use super::settings::{Body, Settings, Type};

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const TEXT: &str = "text/plain; charset=utf-8";

/// The header field of a webhook's request with one line: the line's id, by which a receiver knows one that comes again.
const ID: &str = "idempotency-key";

/// A service.
pub(super) struct Service {
    client: Client,
    r#type: Type,
    format: Format,
    body: Body,
    index: Option<String>,
    source_type: String,
    labels: BTreeMap<String, String>,
    retry: Vec<u16>,
    sensor: String,
}

/// A request's body and what goes with it.
#[derive(Debug, PartialEq)]
struct Post {
    media: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Service {
    /// From checked settings.
    ///
    /// # Errors
    ///
    /// As [`Client::new`].
    pub(super) fn new(settings: &Settings, sensor: &str) -> Result<Service, String> {
        let (path, _) = paths(settings.r#type);
        Ok(Service {
            client: Client::new(settings, path)?,
            r#type: settings.r#type,
            format: settings.format(),
            body: settings.body,
            index: settings.index.clone(),
            source_type: settings.source_type.clone(),
            labels: settings.labels.clone(),
            retry: settings.retry_statuses.clone(),
            sensor: sensor.to_owned(),
        })
    }

    /// The next delivery has a connection of its own.
    pub(super) fn reset(&mut self) {
        self.client.reset();
    }

    /// Asks the service how it is, where it has an interface for that at the usual place; otherwise a connection is opened.
    pub(super) async fn probe(&mut self) -> Probe {
        let (path, health) = paths(self.r#type);
        let before = self.client.target().strip_suffix(path).map(str::to_owned);
        let peer = self.client.peer();
        let (Some(health), Some(before)) = (health, before) else {
            return match self.client.reach().await {
                Ok(()) => Probe::Well(format!(
                    "{peer} takes connections; nothing was asked, since it might count as an alert"
                )),
                Err(reason) => Probe::Failed(format!("{peer}: {reason}")),
            };
        };
        let target = format!("{before}{health}");
        match self.client.get(&target).await {
            Ok(answer) if answer.status.is_success() => {
                Probe::Well(format!("{peer}{target} answers {}", answer.status))
            }
            // Whoever may only write may not ask for everything.
            Ok(answer) if matches!(answer.status.as_u16(), 403..=405) => Probe::Doubtful(format!(
                "{peer}{target} answers {}; whether it takes alerts did not show",
                answer.reason()
            )),
            Ok(answer) => Probe::Failed(format!("{peer}{target} answers {}", answer.reason())),
            Err(reason) => Probe::Failed(format!("{peer}: {reason}")),
        }
    }

    /// Delivers lines.
    pub(super) async fn deliver(&mut self, notices: &[Notice<'_>], native: &[Vec<u8>]) -> Result<(), Trouble> {
        let each = notices.iter().zip(native);
        let written: Vec<_> = each.map(|(notice, native)| self.format.write(notice, native, &self.sensor)).collect();
        let post = self.request(notices, &written);
        self.post(post).await
    }

    async fn post(&mut self, post: Post) -> Result<(), Trouble> {
        let answer = self.client.post(post.media, &post.headers, post.body).await.map_err(Trouble::later)?;
        judge(&answer, self.r#type, &self.retry)
    }

    /// One request with all lines.
    fn request(&self, notices: &[Notice<'_>], written: &[Vec<u8>]) -> Post {
        let mut body = Vec::new();
        let mut headers = Vec::new();
        let mut media = JSON;
        match self.r#type {
            Type::Elasticsearch => {
                media = LINES;
                let index = self.index.as_deref().unwrap_or("apitap-alerts");
                for (notice, bytes) in notices.iter().zip(written) {
                    // `create`: what is there already is left as it is, and data streams take nothing else.
                    let action = json!({ "create": { "_index": index, "_id": notice.id } });
                    line(&mut body, action.to_string().as_bytes());
                    line(&mut body, bytes);
                }
            }
            Type::Splunk => {
                for (notice, bytes) in notices.iter().zip(written) {
                    let mut event = json!({
                        "time": notice.ts.nanos().div_euclid(1_000_000) as f64 / 1e3,
                        "host": self.sensor,
                        "source": "apitap",
                        "sourcetype": self.source_type,
                        "event": self.value(bytes),
                        "fields": { format!("{}_id", notice.class().one()): notice.id, notice.subject_name(): notice.subject },
                    });
                    if let (Some(index), Some(event)) = (&self.index, event.as_object_mut()) {
                        event.insert("index".into(), json!(index));
                    }
                    line(&mut body, event.to_string().as_bytes());
                }
            }
            Type::Loki => body = self.push(notices, written).to_string().into_bytes(),
            _ if self.body == Body::Array => {
                body.push(b'[');
                for (at, bytes) in written.iter().enumerate() {
                    if at > 0 {
                        body.push(b',');
                    }
                    body.extend_from_slice(bytes);
                }
                body.push(b']');
            }
            _ if self.body == Body::Lines => {
                media = if self.format.is_json() { LINES } else { TEXT };
                written.iter().for_each(|bytes| line(&mut body, bytes));
            }
            _ => {
                // One line: a delivery has no more ([`Settings::batch`]).
                media = if self.format.is_json() { JSON } else { TEXT };
                headers.extend(notices.first().map(|notice| (ID, notice.id.clone().into_owned())));
                written.iter().for_each(|bytes| body.extend_from_slice(bytes));
            }
        }
        Post { media, headers, body }
    }

    fn value(&self, bytes: &[u8]) -> Value {
        let parsed = self.format.is_json().then(|| serde_json::from_slice(bytes).ok()).flatten();
        parsed.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned().into())
    }

    /// Loki's push: streams by their labels, each with times and lines in order.
    fn push(&self, notices: &[Notice<'_>], written: &[Vec<u8>]) -> Value {
        let mut streams: Vec<(BTreeMap<String, String>, Vec<Value>)> = Vec::new();
        for (notice, bytes) in notices.iter().zip(written) {
            let mut labels = self.labels.clone();
            for (key, value) in [
                ("job", "apitap"),
                ("family", notice.family),
                ("severity", notice.severity_name()),
                ("state", notice.state),
            ] {
                labels.entry(key.to_owned()).or_insert_with(|| value.to_owned());
            }
            let value = json!([notice.ts.nanos().to_string(), String::from_utf8_lossy(bytes)]);
            match streams.iter_mut().find(|(held, _)| *held == labels) {
                Some((_, values)) => values.push(value),
                None => streams.push((labels, vec![value])),
            }
        }
        let streams: Vec<Value> =
            streams.into_iter().map(|(labels, values)| json!({ "stream": labels, "values": values })).collect();
        json!({ "streams": streams })
    }
}

/// Where a service takes alerts unless the address says otherwise, and where it tells how it is.
const fn paths(r#type: Type) -> (&'static str, Option<&'static str>) {
    match r#type {
        Type::Elasticsearch => ("/_bulk", Some("/")),
        Type::Splunk => ("/services/collector/event", Some("/services/collector/health")),
        Type::Loki => ("/loki/api/v1/push", Some("/ready")),
        _ => ("/", None),
    }
}

fn line(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend_from_slice(bytes);
    body.push(b'\n');
}

/// What an answer means for the alerts of its request.
fn judge(answer: &Answer, r#type: Type, retry: &[u16]) -> Result<(), Trouble> {
    let status = answer.status.as_u16();
    let later = |status: u16| status >= 500 || retry.contains(&status);
    if answer.status.is_success() {
        return if r#type == Type::Elasticsearch { judge_items(answer, later) } else { Ok(()) };
    }
    if later(status) {
        return Err(Trouble::Later { reason: answer.reason(), after: answer.after });
    }
    match status {
        400..=499 => Err(Trouble::never(answer.reason())),
        // A redirection is not followed: it would send alerts, and secrets, where nobody configured them to go.
        _ => Err(Trouble::later(format!("{}; redirections are not followed", answer.reason()))),
    }
}

/// The bulk interface answers 200 and says item by item how it went. When one of them may go well later all are sent
/// again: what is there already answers 409 then, which is well.
fn judge_items(answer: &Answer, later: impl Fn(u16) -> bool) -> Result<(), Trouble> {
    let body: Value = serde_json::from_slice(&answer.body)
        .map_err(|_| Trouble::later(format!("no answer of a bulk interface: {}", answer.reason())))?;
    match body.get("errors").and_then(Value::as_bool) {
        Some(false) => return Ok(()),
        Some(true) => {}
        None => return Err(Trouble::later(format!("no answer of a bulk interface: {}", answer.reason()))),
    }
    let mut refused = Vec::new();
    let mut reason = String::new();
    for (at, item) in body.get("items").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let Some(outcome) = item.as_object().and_then(|item| item.values().next()) else { continue };
        let status = outcome.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
        let told = || -> String {
            outcome.get("error").map(|error| error.to_string().chars().take(200).collect()).unwrap_or_default()
        };
        match status.unwrap_or(500) {
            200..=299 | 409 => {}
            status if later(status) => return Err(Trouble::later(format!("item {at}: {status} {}", told()))),
            status => {
                if refused.is_empty() {
                    reason = format!("{status} {}", told());
                }
                refused.push(at);
            }
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(Trouble::Never { reason, which: Some(refused) }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;
    use crate::inventory::events::Event;
    use crate::practice::finding::Finding;
    use crate::sink::told::Told;
    use hyper::StatusCode;
    use std::time::Duration;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).expect("a status");
        Answer { status, after: Some(Duration::from_secs(7)), body: body.to_owned().into() }
    }

    fn service(text: &str) -> Service {
        Service::new(&toml::from_str(text).expect("settings"), "sensor.example").expect("a service")
    }

    fn body(text: &str) -> String {
        let alerts = [Alert::sample(), Alert { revision: 1, id: "1".into(), ..Alert::sample() }];
        body_of(text, &alerts.each_ref().map(Told::Alert))
    }

    fn body_of(text: &str, told: &[Told<'_>]) -> String {
        let service = service(text);
        let notices: Vec<Notice<'_>> = told.iter().map(|&told| told.into()).collect();
        let written: Vec<_> = notices.iter().map(|notice| service.format.write(notice, b"{\"a\":1}", "s")).collect();
        String::from_utf8(service.request(&notices, &written).body).expect("text")
    }

    #[test]
    fn statuses() {
        let judge = |status, r#type| judge(&answer(status, "why"), r#type, &Settings::default().retry_statuses);
        assert_eq!(judge(204, Type::Loki), Ok(()));
        for status in [429, 500, 503, 408, 401, 403, 404] {
            let after = Some(Duration::from_secs(7));
            assert!(matches!(judge(status, Type::Splunk), Err(Trouble::Later { after: asked, .. }) if asked == after));
        }
        for status in [400, 405, 413, 422] {
            assert!(matches!(judge(status, Type::Webhook), Err(Trouble::Never { which: None, .. })));
        }
        assert!(matches!(judge(302, Type::Webhook), Err(Trouble::Later { .. })));
        assert!(matches!(judge(200, Type::Elasticsearch), Err(Trouble::Later { .. })), "no bulk answer");
    }

    #[test]
    fn items_of_a_bulk_request() {
        let judge = |items: &str| {
            judge(&answer(200, &format!("{{\"errors\":true,\"items\":[{items}]}}")), Type::Elasticsearch, &[429])
        };
        let item = |status: u16| format!("{{\"create\":{{\"status\":{status},\"error\":{{\"type\":\"t\"}}}}}}");
        assert_eq!(judge(&format!("{},{}", item(201), item(409))), Ok(()), "it is there already");
        assert!(matches!(judge(&format!("{},{}", item(400), item(429))), Err(Trouble::Later { .. })));
        assert!(
            matches!(judge(&format!("{},{}", item(201), item(400))), Err(Trouble::Never { which: Some(which), .. }) if which == [1])
        );
        assert_eq!(super::judge(&answer(200, "{\"errors\":false}"), Type::Elasticsearch, &[]), Ok(()));
    }

    #[test]
    fn requests_of_each_service() {
        let bulk = body("type = 'elasticsearch'\nurl = 'http://a'\nformat = 'native'\nindex = 'i'");
        let lines: Vec<&str> = bulk.lines().collect();
        assert_eq!(lines.len(), 4);
        let action: Value = serde_json::from_str(lines.first().expect("an action")).expect("JSON");
        assert_eq!(action, json!({ "create": { "_index": "i", "_id": Alert::sample().id } }));
        assert!(bulk.ends_with("{\"a\":1}\n"));

        let events = body("type = 'splunk'\nurl = 'http://a'\nindex = 'main'");
        let event: Value = serde_json::from_str(events.lines().next().expect("an event")).expect("JSON");
        assert_eq!(event.get("event"), Some(&json!({ "a": 1 })));
        assert_eq!(event.get("time"), Some(&json!(1_772_460_000.0)));
        assert_eq!(event.get("index"), Some(&json!("main")));
        let sample = Alert::sample();
        assert_eq!(event.get("fields"), Some(&json!({ "alert_id": sample.id, "incident": sample.incident })));

        let push: Value =
            serde_json::from_str(&body("type = 'loki'\nurl = 'http://a'\nlabels = { site = 'x' }")).expect("JSON");
        let stream = push.pointer("/streams/0").expect("a stream");
        assert_eq!(push.pointer("/streams").and_then(Value::as_array).map(Vec::len), Some(1));
        assert_eq!(stream.pointer("/stream/family"), Some(&json!("recon")));
        assert_eq!(stream.pointer("/stream/site"), Some(&json!("x")));
        assert_eq!(stream.pointer("/values/1"), Some(&json!(["1772460000000000005", "{\"a\":1}"])));

        assert_eq!(body("type = 'webhook'\nurl = 'http://a'\nbody = 'array'"), "[{\"a\":1},{\"a\":1}]");
        assert_eq!(body("type = 'webhook'\nurl = 'http://a'\nbody = 'lines'"), "{\"a\":1}\n{\"a\":1}\n");
        assert!(body("type = 'webhook'\nurl = 'http://a'\nbody = 'lines'\nformat = 'cef'").starts_with("CEF:0|"));
    }

    #[test]
    fn findings_and_events_have_ids_of_their_lines() {
        let (finding, event) = (Finding::sample(), Event::sample());
        let both = [Told::Finding(&finding), Told::Event(&event)];
        let bulk = body_of("type = 'elasticsearch'\nurl = 'http://a'", &both);
        let ids: Vec<Value> = bulk
            .lines()
            .step_by(2)
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["create"]["_id"].clone())
            .collect();
        assert_eq!(ids, [finding.line_id(), event.line_id()]);

        let fields: Vec<Value> = body_of("type = 'splunk'\nurl = 'http://a'", &both)
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["fields"].clone())
            .collect();
        let expected = [
            json!({ "finding_id": finding.line_id(), "finding": finding.id }),
            json!({ "event_id": event.line_id(), "subject": event.subject_id() }),
        ];
        assert_eq!(fields, expected);

        let push: Value = serde_json::from_str(&body_of("type = 'loki'\nurl = 'http://a'", &both)).expect("JSON");
        let streams: Vec<Value> = (0..2).map(|at| push["streams"][at]["stream"].clone()).collect();
        let labels = |family: &str, severity: &str| json!({ "job": "apitap", "family": family, "severity": severity, "state": "new" });
        assert_eq!(streams, [labels("credential", "high"), labels("inventory", "informational")]);
    }
}
