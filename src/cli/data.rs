//! Calls and labels from files: NDJSON, one event or label a line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::evaluation::{Corpus, Label, LabelledCall, Phrase, is_unread};
use crate::record::{Event, Limits, decode};
use crate::registry::DataSource;
use crate::risk::{FOLDS, folds_of};

/// Calls of one file in the order of their first events.
pub fn read_calls(path: &Path) -> Result<(Vec<Vec<Event>>, DataSource)> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read calls from {}", path.display()))?;
    let mut order: HashMap<String, usize> = HashMap::new();
    let mut calls: Vec<Vec<Event>> = Vec::new();
    for (number, line) in lines(&bytes) {
        let decoded =
            decode(line, None, &Limits::default()).with_context(|| format!("{} line {number}", path.display()))?;
        let next = calls.len();
        let at = *order.entry(decoded.event.call_id.as_str().to_owned()).or_insert(next);
        if at == next {
            calls.push(Vec::new());
        }
        calls[at].push(decoded.event);
    }
    let source = source_of(path, calls.len(), &bytes);
    Ok((calls, source))
}

/// The label file that stands beside a file of calls: `calls.ndjson` → `labels.ndjson`, `calls-c.ndjson` →
/// `calls-c-labels.ndjson`.
pub fn labels_beside(calls: &Path) -> Result<PathBuf> {
    let name = calls.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let candidates = [
        calls.with_file_name(name.replace(".ndjson", "-labels.ndjson")),
        calls.with_file_name(name.replace("calls", "labels")),
    ];
    match candidates.iter().find(|path| path.is_file() && *path != calls) {
        Some(path) => Ok(path.clone()),
        None => bail!(
            "no labels beside {}: expected {} or {}",
            calls.display(),
            candidates[0].display(),
            candidates[1].display()
        ),
    }
}

pub fn read_labelled(path: &Path) -> Result<(Vec<LabelledCall>, DataSource)> {
    let (calls, source) = read_calls(path)?;
    let labels_path = labels_beside(path)?;
    let bytes = std::fs::read(&labels_path).with_context(|| format!("cannot read {}", labels_path.display()))?;
    let mut labels: HashMap<String, Label> = HashMap::new();
    for (number, line) in lines(&bytes) {
        let label: Label =
            serde_json::from_slice(line).with_context(|| format!("{} line {number}", labels_path.display()))?;
        labels.insert(label.call_id.clone(), label);
    }
    let mut labelled = Vec::with_capacity(calls.len());
    for events in calls {
        let id = events[0].call_id.as_str();
        if let Some(label) = labels.remove(id) {
            labelled.push(LabelledCall { events, label });
        }
    }
    if labelled.is_empty() {
        bail!("no call of {} has a label in {}", path.display(), labels_path.display());
    }
    Ok((labelled, source))
}

/// Single turns of one file.
pub fn read_phrases(path: &Path) -> Result<(Vec<Phrase>, DataSource)> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read turns from {}", path.display()))?;
    let mut phrases = Vec::new();
    for (number, line) in lines(&bytes) {
        phrases.push(serde_json::from_slice(line).with_context(|| format!("{} line {number}", path.display()))?);
    }
    let source = source_of(path, phrases.len(), &bytes);
    Ok((phrases, source))
}

fn source_of(path: &Path, calls: usize, bytes: &[u8]) -> DataSource {
    DataSource {
        name: path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        calls,
        kept_apart: 0,
        made_up_endings: false,
        sha256: crate::signals::hex(&Sha256::digest(bytes)),
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    bytes
        .split(|byte| *byte == b'\n')
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(|(_, line)| !line.is_empty())
}

/// The files that `train` and `curve` learn from.
#[derive(Debug, clap::Args)]
pub struct Learnable {
    /// Files of calls with labels beside them.
    #[arg(required = true)]
    pub calls: Vec<PathBuf>,
    /// Files of single turns that state a finding or sound like one, with their kind.
    #[arg(long, value_name = "FILE")]
    pub phrases: Vec<PathBuf>,
    /// Of these files the endings were made up: nothing about handling is learned from them.
    #[arg(long, value_name = "FILE")]
    pub made_up_endings: Vec<PathBuf>,
    /// Of these files a third of the cases, chosen by hash, is set aside: not read, not trained on.
    #[arg(long, value_name = "FILE")]
    pub keep_third: Vec<PathBuf>,
    /// The lexicon to learn with.
    #[arg(long, value_name = "FOLDER", default_value = "models/lexicon")]
    pub lexicon: PathBuf,
}

/// What they hold.
pub struct Read {
    pub corpora: Vec<Corpus>,
    pub phrases: Vec<Vec<Phrase>>,
    pub sources: Vec<DataSource>,
}

impl Learnable {
    pub fn read(&self) -> Result<Read> {
        let (mut corpora, mut phrases, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        for path in &self.calls {
            let (mut calls, mut source) = read_labelled(path)?;
            if self.keep_third.contains(path) {
                calls.retain(|call| !is_unread(call.label.case()));
                source.kept_apart = source.calls - calls.len();
            }
            source.made_up_endings = self.made_up_endings.contains(path);
            if self.made_up_endings.contains(path) {
                // Many people's talks have no one writer: each fifth of the cases is judged by what the others taught.
                let mut parts = vec![Vec::new(); FOLDS];
                calls
                    .into_iter()
                    .for_each(|call| parts[folds_of(call.label.case())].push(call));
                corpora.extend(parts.into_iter().map(|calls| Corpus {
                    calls,
                    made_up_endings: true,
                }));
            } else {
                corpora.push(Corpus {
                    calls,
                    made_up_endings: false,
                });
            }
            sources.push(source);
        }
        for path in &self.phrases {
            let (read, source) = read_phrases(path)?;
            phrases.push(read);
            sources.push(source);
        }
        Ok(Read {
            corpora,
            phrases,
            sources,
        })
    }
}
