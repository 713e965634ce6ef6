//! One connection to a service behind HTTP/1.1, kept open from request to request.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;

use super::secure::{Peer, secret};
use super::settings::{Settings, Type};

/// Bytes of an answer that are read.
const ANSWER_LIMIT: usize = 4 << 20;

/// What a service answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its status.
    pub(super) status: StatusCode,
    /// How long it asks to wait.
    pub(super) after: Option<Duration>,
    /// Its body, as far as it was read.
    pub(super) body: Bytes,
}

impl Answer {
    /// The status and the beginning of the body, for a message.
    pub(super) fn reason(&self) -> String {
        let text = String::from_utf8_lossy(self.body.get(..self.body.len().min(200)).unwrap_or_default());
        let text: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        format!("{} {}", self.status, text.trim()).trim().to_owned()
    }
}

/// A service and the connection to it.
pub(super) struct Client {
    peer: Peer,
    target: String,
    headers: HeaderMap,
    gzip: bool,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// From a sink's `url` and what belongs to it; `path` is added where the address has none.
    ///
    /// # Errors
    ///
    /// What is no address or no header field; secrets that cannot be read.
    pub(super) fn new(settings: &Settings, path: &str) -> Result<Client, String> {
        let url = settings.url.as_deref().unwrap_or_default();
        let uri: Uri = url.parse().map_err(|error| format!("`url` {url}: {error}"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("`url` {url}: it begins with http:// or https://")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| format!("`url` {url}: no host"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("`url`: name and password stand in `username` and `password`".into());
        }
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let target = match uri.path_and_query().map_or("/", |target| target.as_str()) {
            "/" | "" => path.to_owned(),
            target => target.to_owned(),
        };
        let mut headers = HeaderMap::new();
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        headers.insert(header::HOST, value(authority, "url")?);
        headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("apitap/", env!("CARGO_PKG_VERSION"))));
        if let Some(token) = secret(settings.token.as_ref(), settings.token_file.as_deref())? {
            let scheme = if settings.r#type == Type::Splunk { "Splunk" } else { "Bearer" };
            headers.insert(header::AUTHORIZATION, hidden(&format!("{scheme} {token}"), "token")?);
        } else if let Some(name) = &settings.username {
            let password = secret(settings.password.as_ref(), settings.password_file.as_deref())?.unwrap_or_default();
            let pair = STANDARD.encode(format!("{name}:{password}"));
            headers.insert(header::AUTHORIZATION, hidden(&format!("Basic {pair}"), "password")?);
        }
        for (name, text) in &settings.headers {
            let parsed = HeaderName::try_from(name.as_str()).map_err(|error| format!("`headers` {name}: {error}"))?;
            headers.insert(parsed, value(text, name)?);
        }
        let peer = Peer::new(host, port, tls, &[b"http/1.1"], settings)?;
        Ok(Client { peer, target, headers, gzip: settings.gzip, connection: None })
    }

    /// The next request has a connection of its own.
    pub(super) fn reset(&mut self) {
        self.connection = None;
    }

    /// Posts a body and reads the answer. A connection that the service closed while it was idle is opened again once.
    ///
    /// # Errors
    ///
    /// What kept the answer from coming.
    pub(super) async fn post(
        &mut self,
        media: &'static str,
        extra: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Answer, String> {
        let body = if self.gzip { compressed(&body).map_err(|error| error.to_string())? } else { body };
        let body = Bytes::from(body);
        let mut held = self.connection.take();
        loop {
            let kept = held.is_some();
            let mut connection = match held.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let request = self.request(media, extra, body.clone())?;
            let sent = match connection.ready().await {
                Ok(()) => connection.send_request(request).await,
                Err(error) => Err(error),
            };
            match sent {
                Ok(answer) => {
                    let answer = read(answer).await?;
                    self.connection = Some(connection);
                    return Ok(answer);
                }
                Err(_) if kept => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Where requests go.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// Host and port of the service.
    pub(super) fn peer(&self) -> String {
        self.peer.to_string()
    }

    /// Opens a connection and closes it.
    ///
    /// # Errors
    ///
    /// What the network or the service says.
    pub(super) async fn reach(&self) -> Result<(), String> {
        self.peer.connect().await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Asks for something, with the header fields of the sink, over a connection of its own.
    ///
    /// # Errors
    ///
    /// As [`Client::post`].
    pub(super) async fn get(&self, target: &str) -> Result<Answer, String> {
        let mut connection = self.connect().await?;
        let mut request = Request::new(Full::default());
        *request.uri_mut() = target.parse().map_err(|error| format!("`url`: {error}"))?;
        request.headers_mut().clone_from(&self.headers);
        let answer = connection.send_request(request).await.map_err(|error| error.to_string())?;
        read(answer).await
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = self.peer.connect().await.map_err(|error| error.to_string())?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // It ends with its sender, or when the service closes it, which the next request finds out.
        tokio::spawn(async move { connection.await.unwrap_or_default() });
        Ok(sender)
    }

    fn request(
        &self,
        media: &'static str,
        extra: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.parse().map_err(|error| format!("`url`: {error}"))?;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        if self.gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        for (name, text) in extra {
            headers.insert(HeaderName::from_static(name), value(text, name)?);
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        Ok(request)
    }
}

/// Reads an answer to its end.
async fn read(answer: Response<Incoming>) -> Result<Answer, String> {
    let status = answer.status();
    let after = answer.headers().get(header::RETRY_AFTER).and_then(|value| wait(value.to_str().ok()?));
    let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await;
    let body = body.map_err(|error| format!("the answer broke off: {error}"))?.to_bytes();
    Ok(Answer { status, after, body })
}

fn value(text: &str, name: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|error| format!("`{name}`: {error}"))
}

fn hidden(text: &str, name: &str) -> Result<HeaderValue, String> {
    let mut value = value(text, name)?;
    value.set_sensitive(true);
    Ok(value)
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.
fn wait(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(date.duration_since(jiff::Timestamp::now()).try_into().unwrap_or(Duration::ZERO))
}

fn compressed(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, body)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Result<Client, String> {
        Client::new(&toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())?, "/_bulk")
    }

    #[test]
    fn addresses() {
        let target = |text: &str| client(text).map(|client| client.target);
        assert_eq!(target("type = 'elasticsearch'\nurl = 'http://a:9200'").as_deref(), Ok("/_bulk"));
        assert_eq!(target("type = 'elasticsearch'\nurl = 'http://a:9200/b/_bulk?c=d'").as_deref(), Ok("/b/_bulk?c=d"));
        assert!(client("type = 'webhook'\nurl = 'ftp://a'").is_err());
        assert!(client("type = 'webhook'\nurl = 'http://me:secret@a'").is_err());
        assert!(client("type = 'webhook'\nurl = 'http://a'\nheaders = { 'no name' = 'b' }").is_err());
        assert!(client("type = 'webhook'\nurl = 'http://a'\ntoken_file = '/nowhere/token'").is_err());
    }

    #[test]
    fn waits_that_are_asked_for() {
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let later = wait("Tue, 31 Dec 2199 23:59:59 GMT").expect("a date");
        assert!(later > Duration::from_secs(86_400 * 365 * 100));
        assert_eq!(wait("soon"), None);
    }
}
