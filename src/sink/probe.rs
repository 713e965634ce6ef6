//! Whether a sink's receiver is there, found out without giving it a line.

use std::time::Duration;

use super::settings::{Settings, Type};
use super::target::Target;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It can take lines, as far as that shows; how far.
    Well(String),
    /// It answers, and it does not show whether it would take lines.
    Doubtful(String),
    /// It cannot take lines now.
    Failed(String),
}

/// Looks for the receiver of a sink, for `timeout_seconds` at most. Files are neither made nor written, services are asked how they are
/// where there is an interface for that, and of the others a connection is opened.
pub fn probe(settings: &Settings, sensor: &str) -> Probe {
    if settings.r#type == Type::Stdout {
        return Probe::Well("what it takes is printed on standard output".into());
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Probe::Failed(error.to_string()),
    };
    let mut target = match Target::new(settings, sensor) {
        Ok(target) => target,
        Err(reason) => return Probe::Failed(reason),
    };
    let limit = Duration::from_secs(settings.timeout_seconds.into());
    let probed = runtime.block_on(async { tokio::time::timeout(limit, target.probe()).await });
    // A name that is still being resolved has a thread of its own, which is not waited for.
    runtime.shutdown_background();
    probed.unwrap_or_else(|_| Probe::Failed(format!("no answer within {} seconds", limit.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Probes a sink; `ADDRESS` in its table stands for a listener that answers each connection with `answer`. Gives what was asked for, too.
    fn found(table: &str, answer: &'static str) -> (Probe, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
                head.extend_from_slice(&byte);
            }
            let _ = stream.write_all(answer.as_bytes());
            String::from_utf8_lossy(&head).into_owned()
        });
        let settings: Settings = toml::from_str(&table.replace("ADDRESS", &address)).expect("a table");
        settings.check().expect("a sink");
        (probe(&settings, "sensor"), asked.join().expect("no panic"))
    }

    #[test]
    fn services_are_asked_how_they_are() {
        const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        const NO: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}";
        for (table, path) in [
            ("type = 'elasticsearch'\nurl = 'http://ADDRESS'\ntoken = 'secret'", "GET / "),
            ("type = 'elasticsearch'\nurl = 'http://ADDRESS/logs/_bulk'\ntoken = 'secret'", "GET /logs/ "),
            ("type = 'splunk'\nurl = 'http://ADDRESS'\ntoken = 'secret'", "GET /services/collector/health "),
            ("type = 'loki'\nurl = 'http://ADDRESS'\ntoken = 'secret'", "GET /ready "),
        ] {
            let (probe, asked) = found(table, OK);
            assert!(matches!(probe, Probe::Well(_)), "{table}: {probe:?}");
            assert!(asked.starts_with(path) && asked.contains("secret"), "{table}: {asked}");
            assert!(matches!(found(table, NO).0, Probe::Failed(reason) if reason.contains("401")), "{table}");
        }
    }

    #[test]
    fn where_a_request_could_be_an_alert_none_is_made() {
        for table in [
            "type = 'webhook'\nurl = 'http://ADDRESS/hook'",
            "type = 'splunk'\nurl = 'http://ADDRESS/elsewhere'",
            "type = 'syslog'\naddress = 'ADDRESS'",
        ] {
            let (probe, asked) = found(table, "");
            assert!(matches!(probe, Probe::Well(_)), "{table}: {probe:?}");
            assert_eq!(asked, "", "{table}");
        }
    }

    #[test]
    fn who_is_not_there_has_failed() {
        let closed = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        for table in [
            format!("type = 'webhook'\nurl = 'http://{closed}'"),
            format!("type = 'syslog'\naddress = '{closed}'"),
            "type = 'file'\npath = '/nowhere/at/all/alerts.jsonl'".to_owned(),
        ] {
            let settings: Settings = toml::from_str(&table).expect("a table");
            let probe = probe(&settings, "sensor");
            assert!(matches!(probe, Probe::Failed(_)), "{table}: {probe:?}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alerts.jsonl");
        let settings = Settings { r#type: Type::File, path: Some(path.clone()), ..Settings::default() };
        assert!(matches!(probe(&settings, "sensor"), Probe::Well(_)));
        assert!(!path.exists(), "it is not made");
        std::fs::create_dir(&path).expect("a folder in its place");
        assert!(matches!(probe(&settings, "sensor"), Probe::Failed(_)));
    }
}
