//! Logging in by a token (SASL OAUTHBEARER), which somebody else keeps fresh in a file: an agent beside the process, or
//! Kubernetes with a projected token.
//!
//! The client asks for a token within a poll alone, and again at four fifths of its life. Requests that wait for their
//! answer often come before the first poll, and administration polls nothing at all: so every client is given a token
//! when it is made.

use std::error::Error;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::ClientConfig;
use rdkafka::client::{Client, ClientContext, OAuthToken};
use serde::Deserialize;

use super::native;
use super::settings::{KafkaSettings, SecretError};

/// Under which the client keeps the token's file, and tells it to whoever is asked for a token.
pub(super) const FILE: &str = "sasl.oauthbearer.config";

/// What is read of a token.
#[derive(Deserialize)]
struct Claims {
    /// Seconds since 1970.
    exp: f64,
    sub: Option<String>,
}

/// The token in a file, for [`ClientContext::generate_oauth_token`].
pub fn token(file: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
    let file = file.ok_or("kafka.sasl_token_file is not set")?;
    Ok(read(file.as_ref())?)
}

/// Gives a client that was just made its first token, where it logs in by one.
pub fn log_in<C: ClientContext>(config: &ClientConfig, client: &Client<C>) -> Result<(), SecretError> {
    let Some(file) = config.get(FILE) else { return Ok(()) };
    native::set_token(client, &read(file.as_ref())?).map_err(|problem| token_error(file.as_ref(), problem))
}

/// Gives a client a new token while nobody polls it, or it would not ask for one.
pub(super) fn log_in_again<C: ClientContext>(settings: &KafkaSettings, client: &Client<C>) -> Result<(), SecretError> {
    match settings.token_file() {
        Some(file) => native::set_token(client, &read(file)?).map_err(|problem| token_error(file, problem)),
        None => Ok(()),
    }
}

fn token_error(path: &Path, problem: String) -> SecretError {
    SecretError::Token {
        path: path.display().to_string(),
        problem,
    }
}

fn read(path: &Path) -> Result<OAuthToken, SecretError> {
    let text = std::fs::read_to_string(path).map_err(|error| SecretError::Read {
        field: "kafka.sasl_token_file",
        path: path.display().to_string(),
        error,
    })?;
    let token = text.trim();
    // The signature is for the broker to verify.
    let claims = token
        .split('.')
        .nth(1)
        .and_then(|part| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok());
    let claims: Claims = claims
        .and_then(|claims| serde_json::from_slice(&claims).ok())
        .ok_or_else(|| token_error(path, "it is no JSON Web Token with a claim exp".into()))?;
    Ok(OAuthToken {
        token: token.to_owned(),
        principal_name: claims.sub.unwrap_or_else(|| "callward".into()),
        lifetime_ms: (claims.exp * 1000.0) as i64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<OAuthToken, SecretError> {
        let file = std::env::temp_dir().join(format!("callward-token-{}-{}", std::process::id(), text.len()));
        std::fs::write(&file, text).unwrap();
        let read = read(&file);
        std::fs::remove_file(&file).unwrap();
        read
    }

    #[test]
    fn a_token_tells_whose_it_is_and_how_long_it_lasts() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"clinic","exp":1777881600.5}"#);
        let token = parsed(&format!("e30.{claims}.\n")).unwrap();
        assert_eq!(
            (token.principal_name.as_str(), token.lifetime_ms),
            ("clinic", 1_777_881_600_500)
        );
        assert!(token.token.ends_with('.'));
    }

    #[test]
    fn what_is_no_token_is_told_without_a_word_of_it() {
        for secret in ["hunter2", "e30.hunter2.x", "a.e30.c"] {
            let error = parsed(secret).err().expect("it is refused").to_string();
            assert!(
                error.contains("sasl_token_file") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
