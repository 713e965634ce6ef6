//! Answers whoever asks for metrics, health or status, by HTTP/1.1 on a thread of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::{Board, CLIENTS, Clients, Health, Status, TYPE, exposition};

/// Connections at a time. Each takes about 40 KiB while it is answered. One more takes the place of the oldest
/// that is not being answered, and waits where all are being answered.
const CONNECTIONS: usize = 16;

/// How long the head of a request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection is kept at most.
const LIFE: Duration = Duration::from_secs(60);

/// Clients of a status when the question does not say how many.
const CLIENTS_BY_DEFAULT: usize = 20;

/// How old standings may be that are told without waiting for others.
const FRESH: Duration = Duration::from_secs(5);

/// How long the detector is waited for.
const WAIT: Duration = Duration::from_secs(3);

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

/// A connection that is open.
struct Open {
    task: AbortHandle,
    /// It is being answered.
    busy: Arc<AtomicBool>,
}

async fn accept(listener: TcpListener, board: Arc<Board>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    // The oldest first.
    let mut open: Vec<Open> = Vec::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await; // no file descriptors left, perhaps for a while
            continue;
        };
        open.retain(|open| !open.task.is_finished());
        if room.available_permits() == 0
            && let Some(idle) = open.iter().position(|open| !open.busy.load(Ordering::Relaxed))
        {
            open.remove(idle).task.abort();
        }
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let (board, busy) = (board.clone(), Arc::new(AtomicBool::new(false)));
        let answered = busy.clone();
        let task = tokio::spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let (board, busy) = (board.clone(), answered.clone());
                async move {
                    busy.store(true, Ordering::Relaxed);
                    let answer = answer(request.method().clone(), request.uri().clone(), &board).await;
                    busy.store(false, Ordering::Relaxed);
                    Ok::<_, Infallible>(answer)
                }
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(16 << 10);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(LIFE, connection).await;
            drop(place);
        });
        open.push(Open { task: task.abort_handle(), busy });
    }
}

async fn answer(method: Method, uri: Uri, board: &Board) -> Response<Full<Bytes>> {
    if !matches!(method, Method::GET | Method::HEAD) {
        return response(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET or HEAD\n".into());
    }
    match uri.path() {
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
        "/status" => match limit(uri.query()) {
            Some(limit) => {
                let clients = clients(board, limit).await;
                let status = Status::of(&board.view(), clients);
                match serde_json::to_string(&status) {
                    Ok(body) => response(StatusCode::OK, "application/json", body + "\n"),
                    Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
                }
            }
            None => {
                let reason = format!("clients is a number from 0 to {CLIENTS}\n");
                response(StatusCode::BAD_REQUEST, "text/plain", reason)
            }
        },
        _ => response(StatusCode::NOT_FOUND, "text/plain", "/metrics, /health or /status\n".into()),
    }
}

/// How many clients each list of a status is to have.
fn limit(query: Option<&str>) -> Option<usize> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Some(CLIENTS_BY_DEFAULT) };
    query.strip_prefix("clients=")?.parse().ok().filter(|&limit| limit <= CLIENTS)
}

/// How clients stand, as of the last few seconds. The detector begins to look when somebody asks, and it is waited for then.
async fn clients(board: &Board, limit: usize) -> Option<Clients> {
    if limit == 0 {
        return None;
    }
    let asked = Instant::now();
    board.ask();
    loop {
        let standings = board.standings();
        let fresh = standings.as_ref().is_some_and(|(looked, _)| looked.elapsed() < FRESH);
        if fresh || asked.elapsed() >= WAIT {
            return standings.map(|standings| Clients::of(standings, limit));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
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
    fn standings_are_waited_for_and_are_told_as_they_were_when_nothing_comes() {
        let board = Arc::new(Board::default());
        let server = serve("127.0.0.1:0", board.clone()).expect("a free port");
        let address = server.address;
        let get = move || ask(address, "GET /status?clients=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        // A detector that does not come to it.
        let begin = Instant::now();
        let status = get();
        assert!(!status.contains("\"clients\"") && begin.elapsed() >= WAIT, "{status}");
        // One that does as soon as it is asked.
        let asking = std::thread::spawn(get);
        let until = Instant::now() + Duration::from_secs(10);
        while !board.is_asked() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        board.tell_standings(crate::detect::survey::Standings { known: 77, ..Default::default() });
        let status = asking.join().expect("an answer");
        assert!(status.contains("\"known\":77"), "{status}");
    }

    #[test]
    fn connections_that_ask_nothing_hold_nobody_up() {
        let server = serve("127.0.0.1:0", Arc::new(Board::default())).expect("a free port");
        let mut idle: Vec<_> =
            (0..3 * CONNECTIONS).map(|_| TcpStream::connect(server.address).expect("it listens")).collect();
        let begin = Instant::now();
        let health = ask(server.address, "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
        assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
        // Those that came last may still ask.
        let last = idle.last_mut().expect("there are some");
        last.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut text = String::new();
        last.read_to_string(&mut text).expect("it answers");
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
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
        let status = get("/status?clients=0");
        assert!(status.starts_with("HTTP/1.1 200 ") && status.contains("\"schema\":\"apitap.status.v1\""), "{status}");
        assert!(!status.contains("\"clients\""), "nobody asked for them: {status}");
        for wrong in ["clients=101", "clients=-1", "clients", "limit=1", "clients=1&clients=2"] {
            assert!(get(&format!("/status?{wrong}")).starts_with("HTTP/1.1 400 "), "{wrong}");
        }
        assert!(get("/").starts_with("HTTP/1.1 404 "));
        let post =
            ask(server.address, "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert!(post.starts_with("HTTP/1.1 405 "));
        assert!(ask(server.address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
        assert!(serve(&server.address.to_string(), Arc::new(Board::default())).is_err(), "it is taken");
    }
}
