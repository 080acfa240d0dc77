//! What a run has done so far, for who watches it from outside: Prometheus' metrics, health, and a line of the log.

mod health;
mod lines;
mod text;

use std::convert::Infallible;
use std::future::ready;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;

pub use lines::{Lines, log_every};

use crate::config::Metrics;
use crate::error::{Error, Result};
use crate::stats::Stats;

/// Who connects must have asked by then.
const ASKED: Duration = Duration::from_secs(10);

const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Server {
    over: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.cancel();
        // The port is free for the next run once this one has ended.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves a run's numbers at `/metrics`, in Prometheus' text format, and its health at `/health/live` and
/// `/health/ready`; nothing where no port is set.
///
/// # Errors
/// When the port is in use, or there is no such host.
pub fn serve(settings: &Metrics, pipeline: &'static str, stats: &Arc<Stats>) -> Result<Option<Server>> {
    let Some(port) = settings.port else { return Ok(None) };
    let host = settings.host.as_str();
    let taken = |reason: String| {
        Error::settings(format!("Metrics cannot be served at {host}:{port}: {reason}"))
            .hint("Choose another metrics_port: each run on a machine needs its own.")
    };
    let ready_seconds = Duration::try_from_secs_f64(settings.ready_seconds)
        .map_err(|_| Error::settings("metrics_ready_seconds must be a number of seconds"))?;
    let address = (host, port).to_socket_addrs().map_err(|error| taken(error.to_string()))?.next();
    let address = address.ok_or_else(|| taken("there is no such host".to_owned()))?;
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let listener = bound.map_err(|error| taken(error.to_string()))?;
    let failed = |error| Error::io("The metrics cannot be served", error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let watched = Arc::new(Watched { pipeline, stats: stats.clone(), ready_within: ready_seconds });
    let over = CancellationToken::new();
    let end = over.clone();
    let thread = std::thread::Builder::new().name("pipeline-core-metrics".to_owned()).spawn(move || {
        runtime.block_on(end.run_until_cancelled(answer_all(listener, watched)));
        // Who is being answered need not be waited for.
        runtime.shutdown_background();
    });
    let thread = thread.map_err(failed)?;
    tracing::info!(%address, "serving metrics and health");
    Ok(Some(Server { over, thread: Some(thread) }))
}

async fn answer_all(listener: std::net::TcpListener, watched: Arc<Watched>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::warn!(%error, "the metrics cannot be served"),
    };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let watched = watched.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| ready(Ok::<_, Infallible>(watched.answer(&request))));
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(ASKED);
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a scrape was broken off");
            }
        });
    }
}

/// A run, as it is seen from outside.
#[derive(Debug)]
struct Watched {
    pipeline: &'static str,
    stats: Arc<Stats>,
    ready_within: Duration,
}

impl Watched {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "Only GET\n".to_owned());
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match request.uri().path() {
            "/metrics" => response(StatusCode::OK, text::CONTENT_TYPE, text::text(self)),
            "/health/live" => response(StatusCode::OK, JSON, health::live(self)),
            "/health/ready" => {
                let (is_ready, body) = health::ready(self);
                let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                response(status, JSON, body)
            }
            _ => response(StatusCode::NOT_FOUND, PLAIN, "/metrics\n/health/live\n/health/ready\n".to_owned()),
        }
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::error::Kind;
    use crate::stats::{Live, Timed};

    fn ask(port: u16, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn settings(ready_seconds: f64) -> Metrics {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Metrics { port: Some(port), ready_seconds, ..Metrics::default() }
    }

    #[test]
    fn a_scrape_tells_what_the_run_has_done() {
        let (stats, settings) = (Arc::new(Stats::default()), settings(60.0));
        let port = settings.port.unwrap();
        let server = serve(&settings, "cdc_to_postgres", &stats).unwrap();
        stats.rows_read.add(5);
        stats.note(Live::Lag, 7.0);
        stats.took(Timed::Transaction, Duration::from_millis(20));
        let answer = ask(port, "/metrics").unwrap();
        for line in [
            "HTTP/1.1 200 OK",
            "# TYPE pipeline_core_rows_read_total counter",
            "pipeline_core_rows_read_total{pipeline=\"cdc_to_postgres\"} 5",
            "pipeline_core_lag{pipeline=\"cdc_to_postgres\"} 7",
            "pipeline_core_transaction_seconds_bucket{pipeline=\"cdc_to_postgres\",le=\"0.01\"} 0",
            "pipeline_core_transaction_seconds_bucket{pipeline=\"cdc_to_postgres\",le=\"0.025\"} 1",
            "pipeline_core_transaction_seconds_bucket{pipeline=\"cdc_to_postgres\",le=\"+Inf\"} 1",
            "pipeline_core_transaction_seconds_count{pipeline=\"cdc_to_postgres\"} 1",
        ] {
            assert!(answer.lines().any(|found| found == line), "{line} is missing in {answer}");
        }
        let second = serve(&settings, "cdc_to_postgres", &stats).unwrap_err();
        assert_eq!(second.kind(), Kind::Settings);
        assert!(second.advice().is_some_and(|advice| advice.contains("metrics_port")));
        drop(server);
        assert!(ask(port, "/metrics").is_err());
        serve(&settings, "cdc_to_postgres", &stats).unwrap();
    }

    #[test]
    fn a_run_is_ready_while_it_is_connected_and_moves() {
        let (stats, settings) = (Arc::new(Stats::default()), settings(0.2));
        let port = settings.port.unwrap();
        let _server = serve(&settings, "csv_to_kafka", &stats).unwrap();
        let is_ready = || ask(port, "/health/ready").unwrap().starts_with("HTTP/1.1 200");
        assert!(!is_ready(), "it has nothing to read from");
        stats.connect(true);
        stats.rests(Duration::from_secs(100));
        assert!(is_ready());
        stats.connect(false);
        assert!(!is_ready());
        assert!(ask(port, "/health/live").unwrap().starts_with("HTTP/1.1 200"));
        assert!(ask(port, "/").unwrap().starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn a_run_that_does_not_move_any_more_is_not_ready() {
        let (stats, settings) = (Arc::new(Stats::default()), settings(0.1));
        let port = settings.port.unwrap();
        let _server = serve(&settings, "csv_to_kafka", &stats).unwrap();
        stats.connect(true);
        std::thread::sleep(Duration::from_millis(300));
        let answer = ask(port, "/health/ready").unwrap();
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("\"status\":\"not ready\""), "{answer}");
    }

    #[test]
    fn nothing_is_served_without_a_port() {
        assert!(serve(&Metrics::default(), "csv_to_kafka", &Arc::default()).unwrap().is_none());
    }
}
