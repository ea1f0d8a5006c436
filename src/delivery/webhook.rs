//! One signed webhook out, after Standard Webhooks 1.0.0: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
//!
//! The signature is over `id.timestamp.body` with HMAC-SHA256; the same bytes are signed and sent. Redirects are not
//! followed, and unless settings allow it only https to public addresses is used.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretBox};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::alert::Alert;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookSettings {
    /// Empty: no webhook.
    pub url: String,
    /// Holds `whsec_` and the key in base64.
    pub secret_file: Option<PathBuf>,
    pub allow_private_addresses: bool,
    pub timeout_seconds: u64,
    /// How long a page is tried again before it is given up, aloud.
    pub give_up_seconds: u64,
    /// Age of an alert, by when it was written, from which it calls nobody any more: or a webhook that is switched on, or
    /// whose group's offsets expired, would page for all alerts that the topic keeps.
    pub max_age_seconds: u64,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            secret_file: None,
            allow_private_addresses: false,
            timeout_seconds: 15,
            give_up_seconds: 300,
            max_age_seconds: 3600,
        }
    }
}

/// The signing key; it cannot print itself.
#[derive(Debug)]
pub struct Secret(SecretBox<Vec<u8>>);

#[derive(Debug, thiserror::Error)]
pub enum SecretProblem {
    #[error("webhook.secret_file is needed to sign: write whsec_ and 24 to 64 bytes in base64 into it")]
    Missing,
    #[error("cannot read webhook.secret_file {path}: {error}")]
    Read { path: String, error: std::io::Error },
    #[error("webhook.secret_file does not hold whsec_ and 24 to 64 bytes in base64")]
    Malformed,
    #[error("webhook.url {0}")]
    Url(String),
    #[error("webhook: {0}")]
    Client(reqwest::Error),
}

impl Secret {
    fn read(path: &Path) -> Result<Self, SecretProblem> {
        let text = std::fs::read_to_string(path).map_err(|error| SecretProblem::Read {
            path: path.display().to_string(),
            error,
        })?;
        Self::parse(&text)
    }

    pub fn parse(text: &str) -> Result<Self, SecretProblem> {
        let encoded = text.trim().strip_prefix("whsec_").ok_or(SecretProblem::Malformed)?;
        let key = STANDARD.decode(encoded).map_err(|_| SecretProblem::Malformed)?;
        if !(24..=64).contains(&key.len()) {
            return Err(SecretProblem::Malformed);
        }
        Ok(Self(SecretBox::new(Box::new(key))))
    }
}

/// `v1,` and the signature of one attempt.
pub fn signature(secret: &Secret, id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.0.expose_secret()).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Done,
    /// Try again.
    Retry(Obstacle),
    /// The receiver will never take it.
    Refused,
}

/// Why an attempt came to nothing, for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("no answer: no connection, no trust in its certificate, or not in time")]
    NoAnswer,
    #[error("its name does not resolve")]
    NoAddress,
    #[error("its address is private, and webhook.allow_private_addresses is not set")]
    PrivateAddress,
    #[error("webhook.secret_file cannot be read, or holds no key")]
    NoSecret,
}

impl Sent {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry(_) => "retry",
            Self::Refused => "refused",
        }
    }
}

/// Sends alerts to one receiver.
#[derive(Debug)]
pub struct Courier {
    client: reqwest::Client,
    url: reqwest::Url,
    secret_file: PathBuf,
    allow_private: bool,
}

impl Courier {
    pub fn new(settings: &WebhookSettings) -> Result<Self, SecretProblem> {
        let secret_file = settings.secret_file.clone().ok_or(SecretProblem::Missing)?;
        Secret::read(&secret_file)?;
        let url: reqwest::Url = settings
            .url
            .parse()
            .map_err(|e| SecretProblem::Url(format!("is no URL: {e}")))?;
        if url.scheme() != "https" && !settings.allow_private_addresses {
            return Err(SecretProblem::Url(
                "must be https, or allow_private_addresses set".into(),
            ));
        }
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(settings.timeout_seconds))
            .user_agent(concat!("callward/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(SecretProblem::Client)?;
        Ok(Self {
            client,
            url,
            secret_file,
            allow_private: settings.allow_private_addresses,
        })
    }

    /// One attempt, at `now` in Unix seconds.
    pub async fn send(&self, alert: &Alert, now: i64) -> Sent {
        match self.is_public().await {
            Some(true) => {}
            Some(false) if self.allow_private => {}
            // What a name resolves to may change: an alert is not given up for that at once.
            Some(false) => return Sent::Retry(Obstacle::PrivateAddress),
            None => return Sent::Retry(Obstacle::NoAddress),
        }
        // Read for each, so that a new one counts without a restart.
        let Ok(secret) = Secret::read(&self.secret_file) else {
            return Sent::Retry(Obstacle::NoSecret);
        };
        // The id is equal on every attempt; it holds no dot.
        let id = format!("msg_{}_{}", alert.alert_id.0, alert.revision);
        let body = serde_json::json!({
            "type": format!("alert.{}", alert.state.as_str()),
            "timestamp": alert.at,
            "data": alert,
        });
        let body = serde_json::to_vec(&body).expect("an alert is plain data");
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", now.to_string())
            .header("webhook-signature", signature(&secret, &id, now, &body))
            .body(body);
        match request.send().await.map(|answer| answer.status().as_u16()) {
            Ok(200..=299) => Sent::Done,
            Ok(410) => Sent::Refused,
            Ok(status) => Sent::Retry(Obstacle::Status(status)),
            Err(_) => Sent::Retry(Obstacle::NoAnswer),
        }
    }

    /// Whether every address of the host is public; `None` where its name does not resolve.
    async fn is_public(&self) -> Option<bool> {
        let (host, port) = (self.url.host_str()?, self.url.port_or_known_default()?);
        let host = host.trim_matches(['[', ']']).to_owned();
        let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await.ok()?.collect();
        (!addresses.is_empty()).then(|| addresses.iter().all(|address| is_public(address.ip())))
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && (64..128).contains(&v4.octets()[1]);
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.is_documentation()
                || shared)
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public(IpAddr::V4(v4)),
            None => {
                let local = v6.segments()[0] & 0xfe00 == 0xfc00 || v6.segments()[0] & 0xffc0 == 0xfe80;
                !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || local)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the Standard Webhooks specification.
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert!(!format!("{secret:?}").contains("MfKQ"));
        assert!(Secret::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_err());
        assert!(Secret::parse("whsec_c2hvcnQ=").is_err());
    }

    #[test]
    fn private_addresses_are_told_apart() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "2606:4700::1111"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
