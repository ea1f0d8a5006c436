//! All settings in one value: defaults compiled in, then a file, then the environment, then flags. Only this module
//! reads the environment; each section belongs to the module that uses it.

use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use serde::{Deserialize, Serialize};

use crate::alert::Quotes;
use crate::call::Bounds;
use crate::delivery::WebhookSettings;
use crate::http::HttpSettings;
use crate::record::Limits;
use crate::stream::{DeadLetterSettings, KafkaSettings, StreamSettings, TopicSettings};
use crate::telemetry::LogSettings;

/// The defaults with their comments.
pub const DEFAULT: &str = include_str!("default.toml");

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub kafka: KafkaSettings,
    pub topics: TopicSettings,
    pub stream: StreamSettings,
    pub model: ModelSettings,
    pub alerts: AlertSettings,
    pub policy: crate::alert::Settings,
    pub limits: Limits,
    pub bounds: Bounds,
    pub dead_letter: DeadLetterSettings,
    pub http: HttpSettings,
    pub webhook: WebhookSettings,
    pub log: LogSettings,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    pub folder: PathBuf,
    pub version: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertSettings {
    pub quotes: Quotes,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {error}")]
    Read { path: String, error: std::io::Error },
    #[error("{place}: {problem}")]
    Wrong { place: String, problem: String },
    #[error("the variable {0} is no setting: two underscores part section and key, as in CALLWARD_KAFKA__BROKERS")]
    Variable(String),
    #[error(transparent)]
    Policy(#[from] crate::alert::PolicyError),
    #[error("{section}.{key}: {problem}")]
    Senseless {
        section: &'static str,
        key: &'static str,
        problem: String,
    },
}

impl Config {
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut layers = Figment::from(Toml::string(DEFAULT));
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
                path: path.display().to_string(),
                error,
            })?;
            layers = layers.merge(Toml::string(&text));
        }
        let section = |key: &figment::value::UncasedStr| key.as_str().contains("__");
        layers = layers.merge(Env::prefixed("CALLWARD_").filter(section).split("__"));
        let config: Self = layers.extract().map_err(|error| wrong(&error, file))?;
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        if let Some(slip) = names.into_iter().find(|name| config.is_slip(name)) {
            return Err(ConfigError::Variable(slip));
        }
        config.check()?;
        Ok(config)
    }

    /// Whether a variable of the environment is a setting but for one underscore, and would be ignored.
    fn is_slip(&self, variable: &str) -> bool {
        let Some(name) = variable.strip_prefix("CALLWARD_").map(str::to_lowercase) else {
            return false;
        };
        let all = serde_json::to_value(self).expect("settings are plain data");
        all.as_object().into_iter().flatten().any(|(section, keys)| {
            let key = name
                .strip_prefix(section.as_str())
                .and_then(|rest| rest.strip_prefix('_'));
            key.is_some_and(|key| keys.get(key).is_some())
        })
    }

    /// What types alone cannot tell.
    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |section, key, problem: String| Err(ConfigError::Senseless { section, key, problem });
        let stream = &self.stream;
        if stream.transaction_timeout_ms >= stream.session_timeout_ms {
            return wrong(
                "stream",
                "transaction_timeout_ms",
                format!(
                    "{} must be below session_timeout_ms ({}), or a successor starts while the transaction lives",
                    stream.transaction_timeout_ms, stream.session_timeout_ms
                ),
            );
        }
        if stream.transaction_timeout_ms < 4_000 {
            return wrong(
                "stream",
                "transaction_timeout_ms",
                format!(
                    "{} is below 4000, which a request may take",
                    stream.transaction_timeout_ms
                ),
            );
        }
        if stream.commit_interval_ms == 0 || stream.commit_interval_ms > 2_000 {
            return wrong(
                "stream",
                "commit_interval_ms",
                format!("{} is not in 1 to 2000", stream.commit_interval_ms),
            );
        }
        if self.kafka.sasl_mechanism == "OAUTHBEARER" && self.kafka.sasl_token_file.is_none() {
            return wrong(
                "kafka",
                "sasl_token_file",
                "OAUTHBEARER needs a file that holds a token".into(),
            );
        }
        if self.kafka.sasl_token_file.is_some() && self.kafka.token_file().is_none() {
            return wrong(
                "kafka",
                "sasl_token_file",
                "nobody would log in by it: set sasl_mechanism = \"OAUTHBEARER\" and security_protocol = \"sasl_ssl\""
                    .into(),
            );
        }
        if self.stream.capacity_calls < 1_000 {
            return wrong(
                "stream",
                "capacity_calls",
                format!(
                    "{} is below 1000: calls would be given up that there is room for",
                    self.stream.capacity_calls
                ),
            );
        }
        if self.stream.drain_seconds < 5 {
            return wrong(
                "stream",
                "drain_seconds",
                format!(
                    "{} is below 5, which committing and leaving the group may take",
                    self.stream.drain_seconds
                ),
            );
        }
        if self.policy.ended_seconds < self.bounds.transfer_leg_seconds {
            return wrong(
                "policy",
                "ended_seconds",
                format!(
                    "{} is below bounds.transfer_leg_seconds ({}): a leg would find no call",
                    self.policy.ended_seconds, self.bounds.transfer_leg_seconds
                ),
            );
        }
        if self.kafka.static_membership && self.kafka.instance.is_empty() {
            return wrong(
                "kafka",
                "instance",
                "static membership needs a name that survives a restart".into(),
            );
        }
        if self.limits.max_event_bytes < 1_024 || self.limits.max_text_chars < 100 {
            return wrong(
                "limits",
                "max_event_bytes",
                "below 1024 bytes or 100 characters no call can be judged".into(),
            );
        }
        // Nothing would mean that every page is too old.
        if self.webhook.max_age_seconds < 60 {
            return wrong(
                "webhook",
                "max_age_seconds",
                format!(
                    "{} is below 60, which a receiver may be away",
                    self.webhook.max_age_seconds
                ),
            );
        }
        if self.kafka.brokers.trim().is_empty() {
            return wrong("kafka", "brokers", "name at least one, as host:port".into());
        }
        let topics = &self.topics;
        let mut names = [
            ("events", &topics.events),
            ("state", &topics.state),
            ("scores", &topics.scores),
            ("alerts", &topics.alerts),
            ("dead_letter", &topics.dead_letter),
        ];
        names.sort_by_key(|(_, name)| *name);
        if let Some(pair) = names.windows(2).find(|pair| pair[0].1 == pair[1].1) {
            let (other, (key, name)) = (pair[0].0, pair[1]);
            return wrong(
                "topics",
                key,
                format!("{name} is topics.{other} as well: each needs its own"),
            );
        }
        if let Err(error) = self.log.check() {
            return wrong("log", "filter", error);
        }
        crate::alert::Policy::new(
            self.policy,
            crate::risk::Thresholds {
                watch: 0.25,
                alert: 0.5,
            },
        )
        .map(drop)
        .map_err(ConfigError::from)
    }

    /// What holds on the host of `serve` alone: calls may be judged elsewhere by the same configuration.
    pub fn check_host(&self) -> Result<(), ConfigError> {
        let wrong = |section, key, problem: String| Err(ConfigError::Senseless { section, key, problem });
        let files = [
            ("sasl_password_file", &self.kafka.sasl_password_file),
            ("sasl_token_file", &self.kafka.sasl_token_file),
            ("ssl_ca_file", &self.kafka.ssl_ca_file),
            ("ssl_certificate_file", &self.kafka.ssl_certificate_file),
            ("ssl_key_file", &self.kafka.ssl_key_file),
        ];
        for (key, path) in files {
            if let Some(path) = path
                && let Err(error) = std::fs::File::open(path)
            {
                return wrong("kafka", key, format!("cannot read {}: {error}", path.display()));
            }
        }
        if self.http.listen.to_socket_addrs().is_err() {
            let problem = format!("{:?} is no address: write host:port", self.http.listen);
            return wrong("http", "listen", problem);
        }
        Ok(())
    }

    /// The effective configuration as TOML. Secrets stand in files and never in here.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("settings are plain data")
    }
}

/// What cannot be read, with where it stands.
fn wrong(error: &figment::Error, file: Option<&Path>) -> ConfigError {
    let from = error.metadata.as_ref().map_or("", |metadata| metadata.name.as_ref());
    let place = match file {
        _ if from.contains("environment") => "the environment".to_owned(),
        Some(file) => file.display().to_string(),
        None => "the configuration".to_owned(),
    };
    let key = if error.path.is_empty() {
        String::new()
    } else {
        format!("{}: ", error.path.join("."))
    };
    ConfigError::Wrong {
        place,
        problem: format!("{key}{}", error.kind),
    }
}

/// All settings as a JSON Schema, made of the defaults and of what their file says of each.
pub fn schema() -> serde_json::Value {
    let defaults = Config::load(None).expect("the defaults make sense");
    let defaults = serde_json::to_value(&defaults).expect("settings are plain data");
    let mut sections = serde_json::Map::new();
    for (section, keys) in defaults.as_object().into_iter().flatten() {
        let mut properties = serde_json::Map::new();
        for (key, default) in keys.as_object().into_iter().flatten() {
            let mut property = serde_json::json!({ "type": type_of(default), "default": default });
            if let Some(meaning) = meaning(section, key) {
                property["description"] = meaning.into();
            }
            properties.insert(key.clone(), property);
        }
        sections.insert(section.clone(), object_of(properties));
    }
    let mut schema = object_of(sections);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Callward".into();
    schema
}

fn object_of(properties: serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
    serde_json::json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn type_of(default: &serde_json::Value) -> &'static str {
    match default {
        serde_json::Value::Bool(_) => "boolean",
        serde_json::Value::Number(number) if number.is_f64() => "number",
        serde_json::Value::Number(_) => "integer",
        // A file that is not named by default.
        _ => "string",
    }
}

/// The comment behind a key in the file of defaults, where it may stand as a comment itself.
fn meaning(section: &str, key: &str) -> Option<&'static str> {
    let head = format!("[{section}]");
    let own = DEFAULT.lines().skip_while(|line| !line.starts_with(&head)).skip(1);
    let mut own = own.take_while(|line| !line.starts_with('['));
    let line = own.find(|line| {
        let line = line.trim_start_matches("# ");
        line.split_once(" = ").is_some_and(|(name, _)| name == key)
    })?;
    let (_, meaning) = line.trim_start_matches("# ").split_once('#')?;
    Some(meaning.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_defaults_is_what_the_types_say() {
        let config = Config::load(None).unwrap();
        let types = Config {
            kafka: KafkaSettings::default(),
            topics: TopicSettings::default(),
            stream: StreamSettings::default(),
            model: ModelSettings::default(),
            alerts: AlertSettings::default(),
            policy: crate::alert::Settings::default(),
            limits: Limits::default(),
            bounds: Bounds::default(),
            dead_letter: DeadLetterSettings::default(),
            http: HttpSettings::default(),
            webhook: WebhookSettings::default(),
            log: LogSettings::default(),
        };
        assert_eq!(config, types);
    }

    #[test]
    fn the_schema_tells_type_default_and_meaning() {
        let schema = schema();
        let timeout = &schema["properties"]["stream"]["properties"]["session_timeout_ms"];
        assert_eq!(
            (&timeout["type"], &timeout["default"]),
            (&"integer".into(), &8000.into())
        );
        assert!(timeout["description"].as_str().unwrap().starts_with("clinical"));
        let token = &schema["properties"]["kafka"]["properties"]["sasl_token_file"];
        assert_eq!(token["type"], "string");
        assert!(token["description"].as_str().unwrap().contains("JSON Web Token"));
    }

    /// The chart's own schema says more of each key, and must say it of the same keys.
    #[test]
    fn the_chart_knows_these_settings_and_no_others() {
        let chart = std::fs::read_to_string("helm/callward/values.schema.json").unwrap();
        let chart: serde_json::Value = serde_json::from_str(&chart).unwrap();
        let chart = &chart["definitions"]["config"]["properties"];
        let own = schema();
        let rows = |sections: &serde_json::Value| -> Vec<String> {
            let mut rows = Vec::new();
            for (section, content) in sections.as_object().unwrap() {
                for (key, property) in content["properties"].as_object().unwrap() {
                    // What a file is left out by, and numbers of other kinds, are written otherwise there.
                    let default = match &property["default"] {
                        serde_json::Value::Null => "\"\"".to_owned(),
                        serde_json::Value::Number(number) => format!("{:.4}", number.as_f64().unwrap()),
                        other => other.to_string(),
                    };
                    rows.push(format!("{section}.{key} = {default}"));
                }
            }
            rows.sort();
            rows
        };
        let written = ["kafka.brokers", "http.listen"];
        let all = |sections: &serde_json::Value| -> Vec<String> {
            let rows = rows(sections).into_iter();
            rows.filter(|row| !written.iter().any(|key| row.starts_with(&format!("{key} ="))))
                .collect()
        };
        assert_eq!(all(chart), all(&own["properties"]));
    }

    #[test]
    fn a_variable_with_one_underscore_is_a_slip() {
        let config = Config::load(None).unwrap();
        for slip in [
            "CALLWARD_KAFKA_BROKERS",
            "CALLWARD_DEAD_LETTER_PAYLOAD",
            "CALLWARD_STREAM_COMMIT_INTERVAL_MS",
        ] {
            assert!(config.is_slip(slip), "{slip}");
        }
        for other in [
            "CALLWARD_KAFKA__BROKERS",
            "CALLWARD_CONFIG",
            "CALLWARD_HTTP_PORT",
            "KAFKA_BROKERS",
        ] {
            assert!(!config.is_slip(other), "{other}");
        }
    }

    #[test]
    fn a_slip_names_the_key() {
        let folder = std::env::temp_dir().join(format!("callward-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("callward.toml");
        for (text, part) in [
            ("[kafka]\nbroker = \"a:1\"", "broker"),
            ("[stream]\nworkers = \"two\"", "workers"),
            ("[stream]\ntransaction_timeout_ms = 9000", "session_timeout_ms"),
            ("[kafka]\nbrokers = 7", "callward.toml: kafka.brokers: "),
            ("[policy]\nclear_share = 1.5", "policy.clear_share is 1.5"),
            ("[kafka]\nsasl_mechanism = \"OAUTHBEARER\"", "sasl_token_file"),
            ("[webhook]\nmax_age_seconds = 0", "max_age_seconds"),
            ("[kafka]\nsasl_token_file = \"/a/token\"", "OAUTHBEARER"),
            ("[stream]\ndrain_seconds = 1", "drain_seconds"),
            ("[policy]\nended_seconds = 60", "transfer_leg_seconds"),
            ("[topics]\nalerts = \"calls.scores\"", "calls.scores"),
            ("[log]\nfilter = \"nonsense=[[\"", "filter"),
            ("[kafka]\nbrokers = \" \"", "brokers"),
            (
                "[policy]\nfair_seconds_emergency = 4000000000",
                "fair_seconds_emergency",
            ),
            ("[policy]\nlast_chance_share = 0.0", "last_chance_share"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = Config::load(Some(&file)).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        for (text, part) in [
            ("[http]\nlisten = \"nonsense\"", "listen"),
            ("[kafka]\nssl_ca_file = \"/nowhere/ca.pem\"", "ssl_ca_file"),
        ] {
            std::fs::write(&file, text).unwrap();
            let config = Config::load(Some(&file)).expect("calls may be judged by it elsewhere");
            let error = config.check_host().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
