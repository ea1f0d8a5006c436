//! Models on disk: `models/NAME/VERSION/` with the files of a version, and beside the versions `aliases.json`, which
//! moves, and `history.jsonl`, which grows. Versions are immutable.
//!
//! A version is verified before it is used: checksums, schema, lexicon, finite numbers, and golden rows that the
//! program must reproduce. The program carries the version that it was built with, so that it runs from nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, include_dir};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::alert::{Policy, Settings};
use crate::pipeline::{Outcome, Pipeline, Watched};
use crate::record::{CallId, Limits, decode};
use crate::risk::Model;
use crate::signals::{Learned, Lexicon, Reliability, Source, Wording, hex};

/// The name under which the judgement of under-escalation is kept.
pub const NAME: &str = "under-escalation";

static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/models/under-escalation");

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("{path}: {error}")]
    Io { path: String, error: std::io::Error },
    #[error("{file} is missing from the model: train it again")]
    Missing { file: String },
    #[error("{file} is not as its checksum in manifest.json says: it was changed after training")]
    Checksum { file: String },
    #[error("{file}: {error}")]
    Json { file: String, error: serde_json::Error },
    #[error("ngram.bin is not of the format that this program reads: train the model again")]
    Wording,
    #[error("reliability.bin does not fit the lexicon of the model: train it again")]
    Reliability,
    #[error("the lexicon of the model: {0}")]
    Lexicon(#[from] crate::signals::LexiconError),
    #[error(transparent)]
    Model(#[from] crate::risk::ModelError),
    #[error(transparent)]
    Policy(#[from] crate::alert::PolicyError),
    #[error("golden row {row}: {what} is {found}, it was {expected} in training: this program computes otherwise")]
    Golden {
        row: usize,
        what: String,
        found: f64,
        expected: f64,
    },
    #[error("no version of the model is named champion: promote one, or name one")]
    NoChampion,
    #[error("there is no version {version} in {folder} (there are: {versions}); --models names another folder")]
    NoVersion {
        version: String,
        folder: String,
        versions: String,
    },
    #[error("there is no folder {folder} with models: run this in the clone, or name one with --models")]
    NoFolder { folder: String },
    #[error("{0}")]
    Refused(String),
}

/// `manifest.json`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    /// What it was trained on: file names, counts, and digests of their bytes.
    pub data: Vec<DataSource>,
    pub split: String,
    pub seed: u64,
    pub program: String,
    pub metrics: BTreeMap<String, f64>,
    pub thresholds_reason: String,
    pub licence: String,
    /// SHA-256 of every other file of the version.
    pub sha256: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataSource {
    pub name: String,
    pub calls: usize,
    /// Of these calls, neither read nor trained on.
    #[serde(default)]
    pub kept_apart: usize,
    /// Nothing about handling was learned from it.
    #[serde(default)]
    pub made_up_endings: bool,
    pub sha256: String,
    /// Of the labels beside the calls; versions up to 0007 do not name them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_sha256: Option<String>,
}

/// A row of `golden.jsonl`: the first events of a call that we wrote, and what the program made of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GoldenRow {
    pub events: Vec<serde_json::Value>,
    pub features: Vec<f32>,
    pub need: f64,
    pub risk: f64,
}

/// Tolerance of golden rows.
const TOLERANCE: f64 = 1e-6;

/// A verified version, ready to judge with.
#[derive(Debug)]
pub struct Version {
    pub model: Model,
    pub lexicon: Arc<Lexicon>,
    pub learned: Arc<Learned>,
    pub manifest: Manifest,
    /// SHA-256 of `model.json`.
    pub sha256: String,
}

/// Files that a version must have to be used.
const NEEDED: [&str; 5] = ["model.json", "lexicon.json", WORDING, RELIABILITY, "golden.jsonl"];

/// The file with the weights of words, and of pairs and triples of stems.
pub const WORDING: &str = "ngram.bin";
/// The file with the reliability of each pattern of the lexicon, a byte a pattern.
pub const RELIABILITY: &str = "reliability.bin";

impl Version {
    /// Reads and verifies a version from any place that can give its files.
    pub fn load(read: impl Fn(&str) -> Result<Vec<u8>, RegistryError>) -> Result<Self, RegistryError> {
        let manifest: Manifest = json("manifest.json", &read("manifest.json")?)?;
        let mut files = BTreeMap::new();
        for name in NEEDED {
            let bytes = read(name)?;
            let expected = manifest
                .sha256
                .get(name)
                .ok_or_else(|| RegistryError::Missing { file: name.into() })?;
            if *expected != hex(&Sha256::digest(&bytes)) {
                return Err(RegistryError::Checksum { file: name.into() });
            }
            files.insert(name, bytes);
        }
        let source: Source = json("lexicon.json", &files["lexicon.json"])?;
        let lexicon = Arc::new(Lexicon::compile(&source)?);
        let model: Model = json("model.json", &files["model.json"])?;
        model.check(&lexicon.sha256)?;
        let learned = Learned {
            wording: Wording::from_bytes(&files[WORDING]).ok_or(RegistryError::Wording)?,
            reliability: Reliability::from_bytes(&files[RELIABILITY], lexicon.automaton.written().len())
                .ok_or(RegistryError::Reliability)?,
        };
        let version = Self {
            model,
            lexicon,
            learned: Arc::new(learned),
            manifest,
            sha256: hex(&Sha256::digest(&files["model.json"])),
        };
        version.check_golden(&files["golden.jsonl"])?;
        Ok(version)
    }

    pub fn from_folder(folder: &Path) -> Result<Self, RegistryError> {
        Self::load(|name| read_file(&folder.join(name)))
    }

    /// The champion that the program was built with.
    pub fn embedded() -> Result<Self, RegistryError> {
        let aliases: Aliases = match EMBEDDED.get_file("aliases.json") {
            Some(file) => json("aliases.json", file.contents())?,
            None => return Err(RegistryError::NoChampion),
        };
        let version = aliases.champion.ok_or(RegistryError::NoChampion)?;
        Self::load(|name| {
            let path = format!("{version}/{name}");
            let file = EMBEDDED.get_file(&path).ok_or(RegistryError::Missing { file: path })?;
            Ok(file.contents().to_vec())
        })
    }

    pub fn pipeline(&self, settings: Settings) -> Result<Pipeline, RegistryError> {
        let policy = Policy::new(settings, self.model.thresholds)?;
        Ok(Pipeline::new(
            self.lexicon.clone(),
            self.learned.clone(),
            self.model.clone(),
            self.sha256.clone(),
            policy,
        ))
    }

    /// What the version learned from this file, if it did.
    pub fn learned_from(&self, source: &DataSource) -> Option<&DataSource> {
        self.manifest.data.iter().find(|data| data.sha256 == source.sha256)
    }

    fn check_golden(&self, bytes: &[u8]) -> Result<(), RegistryError> {
        let pipeline = self.pipeline(Settings::default())?;
        for (row, line) in bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .enumerate()
        {
            let golden: GoldenRow = json("golden.jsonl", line)?;
            let last = replay(&pipeline, &golden.events)?;
            let differs = |what: &str, found: f64, expected: f64| {
                let same = (found - expected).abs() <= TOLERANCE;
                (!same).then(|| RegistryError::Golden {
                    row,
                    what: what.to_owned(),
                    found,
                    expected,
                })
            };
            let features = last
                .features
                .as_ref()
                .map(|(features, _)| features.need.to_vec())
                .unwrap_or_default();
            for (i, (found, expected)) in features.iter().zip(&golden.features).enumerate() {
                if let Some(error) = differs(crate::features::NEED[i].name, f64::from(*found), f64::from(*expected)) {
                    return Err(error);
                }
            }
            let need = last.need.unwrap_or(0.0);
            let risk = last.risk.unwrap_or(0.0);
            if let Some(error) = differs("need", need, golden.need).or(differs("risk", risk, golden.risk)) {
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The outcome of the last of these events of one call.
pub fn replay(pipeline: &Pipeline, events: &[serde_json::Value]) -> Result<Outcome, RegistryError> {
    let mut watched = Watched::new(CallId::new("golden").expect("a valid id"));
    let mut last = None;
    for event in events {
        let bytes = serde_json::to_vec(event).map_err(|error| RegistryError::Json {
            file: "golden.jsonl".into(),
            error,
        })?;
        let decoded = decode(&bytes, None, &Limits::default())
            .map_err(|reject| RegistryError::Refused(format!("golden.jsonl: {reject}")))?;
        pipeline.step(&mut watched, &decoded.event, |outcome| last = Some(outcome));
    }
    last.ok_or_else(|| RegistryError::Refused("golden.jsonl: a row has no event".into()))
}

fn json<T: serde::de::DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(bytes).map_err(|error| RegistryError::Json {
        file: file.to_owned(),
        error,
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, RegistryError> {
    std::fs::read(path).map_err(|error| RegistryError::Io {
        path: path.display().to_string(),
        error,
    })
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
    let failed = |error| RegistryError::Io {
        path: path.display().to_string(),
        error,
    };
    // A reader sees the old file or the new one, never half of it.
    let part = path.with_extension("part");
    std::fs::write(&part, bytes).map_err(failed)?;
    std::fs::rename(&part, path).map_err(failed)
}

/// `aliases.json`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Aliases {
    pub champion: Option<String>,
    pub challenger: Option<String>,
}

/// How the champion moved.
const PROMOTED: &str = "champion";
const ROLLED_BACK: &str = "champion, rolled back";

/// A line of `history.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Move {
    pub at: String,
    pub alias: String,
    pub from: Option<String>,
    pub to: String,
    #[serde(flatten)]
    pub grounds: Grounds,
}

/// Why the champion moves, and who says so.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Grounds {
    pub reason: String,
    /// Files of the labelled calls on which it was compared with the champion before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compared_on: Vec<String>,
    /// Gates that the version failed, and why it was promoted all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub despite: Option<String>,
    pub approved_by: String,
}

/// The folder of one model with its versions.
#[derive(Clone, Debug)]
pub struct Registry {
    folder: PathBuf,
}

impl Registry {
    /// `models` is the folder that holds a folder for each model.
    pub fn open(models: &Path) -> Self {
        Self {
            folder: models.join(NAME),
        }
    }

    pub fn folder_of(&self, version: &str) -> PathBuf {
        self.folder.join(version)
    }

    fn check_folder(&self) -> Result<(), RegistryError> {
        if self.folder.is_dir() {
            return Ok(());
        }
        Err(RegistryError::NoFolder {
            folder: self.folder.display().to_string(),
        })
    }

    pub fn versions(&self) -> Result<Vec<String>, RegistryError> {
        self.check_folder()?;
        let failed = |error| RegistryError::Io {
            path: self.folder.display().to_string(),
            error,
        };
        let mut versions = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.path().join("manifest.json").is_file() {
                versions.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        versions.sort();
        Ok(versions)
    }

    pub fn aliases(&self) -> Result<Aliases, RegistryError> {
        let path = self.folder.join("aliases.json");
        if !path.is_file() {
            return Ok(Aliases::default());
        }
        json("aliases.json", &read_file(&path)?)
    }

    pub fn load(&self, version: &str) -> Result<Version, RegistryError> {
        let folder = self.folder_of(version);
        if !folder.join("manifest.json").is_file() {
            return Err(RegistryError::NoVersion {
                version: version.to_owned(),
                folder: self.folder.display().to_string(),
                versions: self.versions()?.join(", "),
            });
        }
        Version::from_folder(&folder)
    }

    pub fn champion(&self) -> Result<Version, RegistryError> {
        self.check_folder()?;
        self.load(&self.aliases()?.champion.ok_or(RegistryError::NoChampion)?)
    }

    /// Makes a verified version the champion; the move is written down with its grounds.
    pub fn promote(&self, version: &str, grounds: Grounds, at: &str) -> Result<Move, RegistryError> {
        self.make_champion(version, PROMOTED, grounds, at)
    }

    fn make_champion(&self, version: &str, how: &str, grounds: Grounds, at: &str) -> Result<Move, RegistryError> {
        if grounds.reason.trim().is_empty() || grounds.approved_by.trim().is_empty() {
            return Err(RegistryError::Refused("a promotion needs a reason and a name".into()));
        }
        self.verify(version)?;
        let mut aliases = self.aliases()?;
        let from = aliases.champion.replace(version.to_owned());
        if from.as_deref() == Some(version) {
            return Err(RegistryError::Refused(format!("{version} is the champion already")));
        }
        self.move_champion(
            aliases,
            Move {
                at: at.to_owned(),
                alias: how.to_owned(),
                from,
                to: version.to_owned(),
                grounds,
            },
        )
    }

    /// Back to the champion before this one.
    pub fn rollback(&self, grounds: Grounds, at: &str) -> Result<Move, RegistryError> {
        let now = self.aliases()?.champion;
        // The champions in force, one above the other: moving back to the one below takes the top off.
        let mut stack: Vec<String> = Vec::new();
        for moved in self.history()? {
            if stack.len() >= 2 && stack[stack.len() - 2] == moved.to && moved.alias == ROLLED_BACK {
                stack.pop();
            } else {
                stack.push(moved.to);
            }
        }
        let below = stack
            .len()
            .checked_sub(2)
            .map(|at| stack[at].clone())
            .filter(|_| stack.last() == now.as_ref());
        match below {
            Some(version) => self.make_champion(&version, ROLLED_BACK, grounds, at),
            None => Err(RegistryError::Refused("there was no champion before this one".into())),
        }
    }

    pub fn history(&self) -> Result<Vec<Move>, RegistryError> {
        let path = self.folder.join("history.jsonl");
        if !path.is_file() {
            return Ok(Vec::new());
        }
        let bytes = read_file(&path)?;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| json("history.jsonl", line)).collect()
    }

    fn move_champion(&self, aliases: Aliases, moved: Move) -> Result<Move, RegistryError> {
        use std::io::Write as _;
        let path = self.folder.join("history.jsonl");
        let failed = |error| RegistryError::Io {
            path: path.display().to_string(),
            error,
        };
        let line = serde_json::to_string(&moved).expect("a move is plain data");
        // History first: an alias never moves without a trace.
        let mut history = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(failed)?;
        writeln!(history, "{line}")
            .and_then(|()| history.sync_all())
            .map_err(failed)?;
        let bytes = serde_json::to_vec_pretty(&aliases).expect("aliases are plain data");
        write_file(&self.folder.join("aliases.json"), &bytes)?;
        Ok(moved)
    }

    pub fn verify_champion(&self) -> Result<Version, RegistryError> {
        self.verify(&self.aliases()?.champion.ok_or(RegistryError::NoChampion)?)
    }

    /// Refuses the number of a version that exists, or that was champion once: two models of one number in the history
    /// could not be told apart.
    pub fn refuse_existing(&self, version: &str) -> Result<(), RegistryError> {
        if self.history()?.iter().any(|moved| moved.to == version) {
            let message = format!("version {version} was champion before (history.jsonl): choose another number");
            return Err(RegistryError::Refused(message));
        }
        if self.folder_of(version).join("manifest.json").exists() {
            let message = format!("version {version} exists and versions are immutable: choose another number");
            return Err(RegistryError::Refused(message));
        }
        Ok(())
    }

    /// Compares all files of a version with its manifest, those too that judging does not read: card and report.
    pub fn verify(&self, version: &str) -> Result<Version, RegistryError> {
        let loaded = self.load(version)?;
        for (name, expected) in &loaded.manifest.sha256 {
            let bytes = read_file(&self.folder_of(version).join(name))?;
            if *expected != hex(&Sha256::digest(&bytes)) {
                return Err(RegistryError::Checksum { file: name.clone() });
            }
        }
        Ok(loaded)
    }

    /// Writes a new version; an existing one is never touched.
    pub fn write(
        &self,
        version: &str,
        files: &BTreeMap<String, Vec<u8>>,
        mut manifest: Manifest,
    ) -> Result<PathBuf, RegistryError> {
        self.refuse_existing(version)?;
        let folder = self.folder_of(version);
        std::fs::create_dir_all(&folder).map_err(|error| RegistryError::Io {
            path: folder.display().to_string(),
            error,
        })?;
        for (name, bytes) in files {
            manifest.sha256.insert(name.clone(), hex(&Sha256::digest(bytes)));
            write_file(&folder.join(name), bytes)?;
        }
        let bytes = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
        write_file(&folder.join("manifest.json"), &bytes)?;
        Ok(folder)
    }
}
