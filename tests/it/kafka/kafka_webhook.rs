//! Alerts reach a webhook, signed, each at least once, though the receiver fails at first.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use callward::delivery::{Secret, signature};

use super::{Site, bootstrap};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

struct Request {
    id: String,
    timestamp: i64,
    signature: String,
    body: Vec<u8>,
}

/// Answers 503 to the first two requests and 200 to the rest.
fn receiver() -> (String, mpsc::Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, received) = mpsc::channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            let (head, length) = loop {
                let read = stream.read(&mut buffer).unwrap_or(0);
                bytes.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                if let Some(end) = text.find("\r\n\r\n") {
                    let head = text[..end].to_lowercase();
                    let length = head
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length: "))
                        .unwrap();
                    break (text[..end].to_owned(), end + 4 + length.parse::<usize>().unwrap());
                }
            };
            while bytes.len() < length {
                let read = stream.read(&mut buffer).unwrap_or(0);
                bytes.extend_from_slice(&buffer[..read]);
            }
            let header = |name: &str| {
                let line = head
                    .lines()
                    .find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
                line.map(|line| line[name.len() + 1..].trim().to_owned())
                    .unwrap_or_default()
            };
            let body = bytes[head.len() + 4..].to_vec();
            let status = if number < 2 {
                "503 Service Unavailable"
            } else {
                "200 OK"
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let request = Request {
                id: header("webhook-id"),
                timestamp: header("webhook-timestamp").parse().unwrap(),
                signature: header("webhook-signature"),
                body,
            };
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    (url, received)
}

#[test]
fn kafka_alerts_are_delivered_signed_and_at_least_once() {
    let (url, received) = receiver();
    let secret_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret_file.path(), SECRET).unwrap();
    let extra = format!(
        "[webhook]\nurl = \"{url}\"\nsecret_file = \"{}\"\nallow_private_addresses = true\n",
        secret_file.path().display()
    );
    let site = Site::new("webhook", 2, &extra);
    let serve = site.serve();
    let played = site.command(&[
        "replay",
        "src/simulation/calls.ndjson",
        "--to",
        bootstrap(),
        "--speed",
        "0",
        "--at",
        "now",
    ]);
    assert!(played.status.success());
    let secret = Secret::parse(SECRET).unwrap();
    let mut told = BTreeSet::new();
    super::wait_until("a dozen calls were told", Duration::from_secs(60), || {
        while let Ok(request) = received.try_recv() {
            let expected = signature(&secret, &request.id, request.timestamp, &request.body);
            assert_eq!(request.signature, expected, "signed over the bytes that were sent");
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            let data = &body["data"];
            assert_eq!(
                request.id,
                format!("msg_{}_{}", data["alert_id"].as_str().unwrap(), data["revision"]),
                "the key against repeats"
            );
            assert_eq!(body["type"], format!("alert.{}", data["state"].as_str().unwrap()));
            told.insert(data["call_id"].as_str().unwrap().to_owned());
        }
        told.len() >= 12
    });
    assert!(serve.metric("callward_delivery_attempts_total{channel=\"webhook\",result=\"retry\"}") >= 2.0);
}
