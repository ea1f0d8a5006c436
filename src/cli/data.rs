//! Calls and labels from files: NDJSON, one event or label a line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::evaluation::{Corpus, Label, LabelledCall, Phrase, is_unread};
use crate::record::{Event, Limits, decode};
use crate::registry::{DataSource, Version};
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
    let others: Vec<&PathBuf> = candidates.iter().filter(|path| *path != calls).collect();
    if let Some(path) = others.iter().find(|path| path.is_file()) {
        return Ok(path.to_path_buf());
    }
    if !calls.is_file() {
        bail!("there is no file {}", calls.display());
    }
    match others.as_slice() {
        [] => bail!("{}: calls with labels stand in a file named *.ndjson", calls.display()),
        _ => {
            let expected: Vec<String> = others.iter().map(|path| path.display().to_string()).collect();
            bail!(
                "no labels beside {}: expected {}",
                calls.display(),
                expected.join(" or ")
            )
        }
    }
}

pub fn read_labelled(path: &Path) -> Result<(Vec<LabelledCall>, DataSource)> {
    let (calls, mut source) = read_calls(path)?;
    let labels_path = labels_beside(path)?;
    let bytes = std::fs::read(&labels_path).with_context(|| format!("cannot read {}", labels_path.display()))?;
    source.labels_sha256 = Some(crate::signals::hex(&Sha256::digest(&bytes)));
    let mut labels: HashMap<String, Label> = HashMap::new();
    for (number, line) in lines(&bytes) {
        let label: Label =
            serde_json::from_slice(line).with_context(|| format!("{} line {number}", labels_path.display()))?;
        labels.insert(label.call_id.clone(), label);
    }
    let all = calls.len();
    let mut labelled = Vec::with_capacity(all);
    for events in calls {
        let id = events[0].call_id.as_str();
        if let Some(label) = labels.remove(id) {
            labelled.push(LabelledCall { events, label });
        }
    }
    if labelled.is_empty() {
        bail!("no call of {} has a label in {}", path.display(), labels_path.display());
    }
    if labelled.len() < all {
        eprintln!(
            "{}: {} of {all} calls have no label and are left out",
            path.display(),
            all - labelled.len()
        );
    }
    source.calls = labelled.len();
    Ok((labelled, source))
}

/// Figures on what a version learned from tell little, and nobody should take them for more.
pub fn warn_if_learned_from(version: &Version, source: &DataSource) {
    let Some(learned) = version.learned_from(source) else {
        return;
    };
    let apart = match learned.kept_apart {
        0 => "",
        _ => ", but for the third that was kept apart (evaluate --split-unread)",
    };
    let (label, name) = (version.model.label(), &source.name);
    eprintln!("warning: {label} was trained on {name}{apart}: figures on it flatter");
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
        labels_sha256: None,
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

/// Places among the files of calls of those that an option names. One that it names in vain would be trained on in full.
fn named(option: &str, paths: &[PathBuf], calls: &[PathBuf]) -> Result<Vec<usize>> {
    let real = |path: &PathBuf| {
        path.canonicalize()
            .with_context(|| format!("cannot read {}", path.display()))
    };
    let calls: Vec<PathBuf> = calls.iter().map(real).collect::<Result<_>>()?;
    paths
        .iter()
        .map(|path| {
            let found = calls.iter().position(|call| real(path).is_ok_and(|path| path == *call));
            found.with_context(|| format!("{option} {} is none of the files of calls to train on", path.display()))
        })
        .collect()
}

/// What they hold.
pub struct Read {
    pub corpora: Vec<Corpus>,
    pub phrases: Vec<Vec<Phrase>>,
    pub sources: Vec<DataSource>,
}

/// A file that holds more than this share of all calls is taken for the work of many.
const OF_ONE_WRITER: f64 = 0.2;

impl Learnable {
    pub fn read(&self) -> Result<Read> {
        let (mut corpora, mut phrases, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        let kept = named("--keep-third", &self.keep_third, &self.calls)?;
        let made_up = named("--made-up-endings", &self.made_up_endings, &self.calls)?;
        let mut files = Vec::new();
        for (place, path) in self.calls.iter().enumerate() {
            let (mut calls, mut source) = read_labelled(path)?;
            if kept.contains(&place) {
                calls.retain(|call| !is_unread(call.label.case()));
                source.kept_apart = source.calls - calls.len();
            }
            source.made_up_endings = made_up.contains(&place);
            sources.push(source);
            files.push((calls, made_up.contains(&place)));
        }
        let all: usize = files.iter().map(|(calls, _)| calls.len()).sum();
        for (calls, made_up_endings) in files {
            // Each writer's calls are judged by what the others taught. Where many people's talks stand in one file, or
            // there are hardly any others, a fifth of the cases is what a writer is elsewhere: without others nothing
            // could be learned of wordings.
            let of_many = made_up_endings || calls.len() as f64 > all as f64 * OF_ONE_WRITER;
            let mut parts = vec![Vec::new(); if of_many { FOLDS } else { 1 }];
            for call in calls {
                let part = if of_many { folds_of(call.label.case()) } else { 0 };
                parts[part].push(call);
            }
            corpora.extend(parts.into_iter().map(|calls| Corpus { calls, made_up_endings }));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn learnable(calls: &[&str]) -> Learnable {
        Learnable {
            calls: calls.iter().map(PathBuf::from).collect(),
            phrases: Vec::new(),
            made_up_endings: Vec::new(),
            keep_third: Vec::new(),
            lexicon: "models/lexicon".into(),
        }
    }

    #[test]
    fn one_file_of_all_calls_is_parted_so_that_wordings_can_be_learned() {
        let read = learnable(&["models/data/authored/calls-c.ndjson"]).read().unwrap();
        assert_eq!(read.corpora.len(), FOLDS);
        let calls: usize = read.corpora.iter().map(|corpus| corpus.calls.len()).sum();
        assert_eq!((calls, read.sources.len()), (read.sources[0].calls, 1));
    }

    #[test]
    fn an_option_that_names_another_file_is_refused() {
        let mut from = learnable(&["models/data/authored/calls-c.ndjson"]);
        from.keep_third = vec!["models/../models/data/authored/calls-c.ndjson".into()];
        assert!(
            from.read().unwrap().sources[0].kept_apart > 0,
            "the same file by another way"
        );
        for wrong in ["models/data/authored/calls-d.ndjson", "nowhere.ndjson"] {
            from.keep_third = vec![wrong.into()];
            let error = from.read().err().expect("it is refused").to_string();
            assert!(error.contains("--keep-third") && error.contains(wrong), "{error}");
        }
    }
}
