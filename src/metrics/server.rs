//! Answers whoever asks for metrics or health, by HTTP/1.1 on a thread of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{Board, Health, TYPE, exposition};

/// Connections at a time; more wait. Each takes about 40 KiB while it is answered.
const CONNECTIONS: usize = 16;

/// How long the head of a request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection is kept at most.
const LIFE: Duration = Duration::from_secs(60);

/// It answers as long as this is held.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// Begins to answer at an address.
///
/// # Errors
///
/// An address that is none, or taken.
pub fn serve(listen: &str, board: Arc<Board>) -> std::io::Result<Server> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind(listen))?;
    let address = listener.local_addr()?;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("metrics".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = accept(listener, board) => {}
                _ = stopped => {}
            }
        });
    })?;
    Ok(Server { address, _stop: stop })
}

async fn accept(listener: TcpListener, board: Arc<Board>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await; // no file descriptors left, perhaps for a while
            continue;
        };
        let board = board.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&request, &board);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(16 << 10);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(LIFE, connection).await;
            drop(place);
        });
    }
}

fn answer<B>(request: &Request<B>, board: &Board) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return response(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET or HEAD\n".into());
    }
    match request.uri().path() {
        "/metrics" => response(StatusCode::OK, TYPE, exposition(&board.view())),
        "/health" => {
            let view = board.view();
            let (health, complaints) = view.health();
            // Who starts again what is not well is to do so where that helps.
            let status = if health == Health::Stuck { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            let body = serde_json::json!({
                "status": health,
                "complaints": complaints,
                "version": env!("CARGO_PKG_VERSION"),
                "traffic_time": view.detector.now,
                "sinks": view.sinks,
            });
            response(status, "application/json", format!("{body}\n"))
        }
        _ => response(StatusCode::NOT_FOUND, "text/plain", "/metrics or /health\n".into()),
    }
}

fn response(status: StatusCode, media: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        text
    }

    #[test]
    fn who_asks_is_answered() {
        let board = Arc::new(Board::default());
        let server = serve("127.0.0.1:0", board).expect("a free port");
        let get =
            |path: &str| ask(server.address, &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        let metrics = get("/metrics");
        assert!(metrics.starts_with("HTTP/1.1 200 ") && metrics.contains("\napitap_frames_total 0\n"), "{metrics}");
        let health = get("/health");
        assert!(health.starts_with("HTTP/1.1 200 ") && health.contains("\"status\":\"ok\""), "{health}");
        assert!(get("/").starts_with("HTTP/1.1 404 "));
        let post =
            ask(server.address, "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert!(post.starts_with("HTTP/1.1 405 "));
        assert!(ask(server.address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
        assert!(serve(&server.address.to_string(), Arc::new(Board::default())).is_err(), "it is taken");
    }
}
