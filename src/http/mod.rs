//! The listener for machines: metrics and health, nothing about patients.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::telemetry::{Heartbeat, Metrics};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    /// host:port of /metrics, /healthz and /readyz.
    pub listen: String,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9464".into(),
        }
    }
}

#[derive(Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    heartbeat: Arc<Heartbeat>,
}

/// Serves until `stop` resolves.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    heartbeat: Arc<Heartbeat>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .with_state(Shared { metrics, heartbeat });
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

async fn metrics_text(State(shared): State<Shared>) -> Response {
    shared.metrics.count("http_requests_total", &["/metrics", "200"]);
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        shared.metrics.text(),
    )
        .into_response()
}

/// The poll loop ticks; whether brokers can be reached does not matter here, restarting would not mend that.
async fn health(State(shared): State<Shared>) -> Response {
    answer(
        &shared,
        "/healthz",
        shared.heartbeat.alive(),
        "the poll loop does not tick",
    )
}

async fn ready(State(shared): State<Shared>) -> Response {
    answer(
        &shared,
        "/readyz",
        shared.heartbeat.ready(),
        "workers are not connected yet, or a partition is refused: see the log",
    )
}

fn answer(shared: &Shared, path: &str, well: bool, problem: &'static str) -> Response {
    let (status, text) = if well {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, problem)
    };
    shared.metrics.count("http_requests_total", &[path, status.as_str()]);
    (status, text).into_response()
}
