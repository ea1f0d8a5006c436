//! Alerts reach a webhook, signed, each at least once, though the receiver fails at first, or at one of them for ever.

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

/// Answers each request, by its number and body, with a status.
fn receiver(answer: impl Fn(usize, &str) -> u16 + Send + 'static) -> (String, mpsc::Receiver<Request>) {
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
            let status = answer(number, &String::from_utf8_lossy(&body));
            let _ = write!(
                stream,
                "HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
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

/// A site whose alerts go to this address, and the calls of the demo on it.
fn site(name: &str, url: &str) -> (Site, tempfile::NamedTempFile) {
    let secret_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret_file.path(), SECRET).unwrap();
    let extra = format!(
        "[webhook]\nurl = \"{url}\"\nsecret_file = \"{}\"\nallow_private_addresses = true\n",
        secret_file.path().display()
    );
    let site = Site::new(name, 2, &extra);
    let calls = "src/simulation/calls.ndjson";
    let played = site.command(&["replay", calls, "--to", bootstrap(), "--speed", "0", "--at", "now"]);
    assert!(played.status.success());
    (site, secret_file)
}

#[test]
fn kafka_alerts_are_delivered_signed_and_at_least_once() {
    let (url, received) = receiver(|number, _| if number < 2 { 503 } else { 200 });
    let (site, _secret_file) = site("webhook", &url);
    let serve = site.serve();
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

/// A receiver that chokes on one alert, as on a character that it does not know, must not cost the other callers theirs.
#[test]
fn kafka_an_alert_that_is_never_taken_holds_up_no_other() {
    const CHOKES: &str = "demo-chest-tightness";
    let (url, received) = receiver(|_, body| if body.contains(CHOKES) { 400 } else { 200 });
    let (site, _secret_file) = site("choking", &url);
    let serve = site.serve();
    let (mut told, mut told_ids, mut choked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    super::wait_until("all others are told", Duration::from_secs(60), || {
        while let Ok(request) = received.try_recv() {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            let call = body["data"]["call_id"].as_str().unwrap();
            match call == CHOKES {
                true => drop(choked.insert(request.id)),
                false => {
                    told.insert(call.to_owned());
                    told_ids.insert(request.id);
                }
            }
        }
        let tries = serve.metric("callward_delivery_attempts_total{channel=\"webhook\",result=\"retry\"}");
        told.len() >= 11 && tries >= 3.0
    });
    assert_eq!(choked.len(), 1, "later alerts of a call wait for the earlier ones");
    // Who comes next tells what was not taken and what came after it, and not all anew.
    let (code, took, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(10));
    let _next = site.serve();
    let mut again = BTreeSet::new();
    super::wait_until("it is tried again", Duration::from_secs(60), || {
        again.extend(received.try_iter().map(|request| request.id));
        again.is_superset(&choked)
    });
    std::thread::sleep(Duration::from_secs(2));
    again.extend(received.try_iter().map(|request| request.id));
    assert!(
        again.len() < told_ids.len(),
        "{} of {} are told anew",
        again.len(),
        told_ids.len()
    );
}
