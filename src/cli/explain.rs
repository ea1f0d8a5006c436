//! `callward explain`: why a call was judged as it was, or what the lexicon reads in a sentence.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Common, Failure, data};
use crate::alert::Settings;
use crate::pipeline::outcomes_of;
use crate::record::{Body, Speaker};
use crate::risk::explain;
use crate::signals::{Learned, Lexicon, Reader, Source};

/// Why a call was judged as it was: events, findings, decisions, and exact contributions at the moment of highest risk.
///
/// With --say, what the lexicon reads in one sentence, and the patterns that matched.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  callward explain call-17 --calls calls.ndjson\n  \
    callward explain --say \"my chest has been tight since breakfast\"\n  \
    callward explain --say \"…\" --lexicon models/lexicon")]
pub struct Args {
    /// The call.
    #[arg(required_unless_present = "say")]
    call: Option<String>,
    /// The file that holds it.
    #[arg(long, value_name = "FILE", required_unless_present = "say")]
    calls: Option<PathBuf>,
    /// A sentence of a caller in place of a call.
    #[arg(long, value_name = "TEXT", conflicts_with = "call")]
    say: Vec<String>,
    /// Read with the lexicon of this folder in place of the model's.
    #[arg(long, value_name = "FOLDER", requires = "say")]
    lexicon: Option<PathBuf>,
    #[arg(long = "model", value_name = "VERSION")]
    version: Option<String>,
}

/// Contributions that are shown.
const SHOWN: usize = 12;

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    if !args.say.is_empty() {
        let version = common.version(args.version.as_deref());
        let (lexicon, learned) = match (&args.lexicon, version) {
            // The record of the model's patterns says nothing of another lexicon's.
            (Some(folder), version) => (
                Arc::new(Lexicon::compile(&Source::read(folder)?)?),
                Arc::new(Learned {
                    wording: version
                        .map(|version| version.learned.wording.clone())
                        .unwrap_or_default(),
                    ..Learned::default()
                }),
            ),
            (None, version) => version.map(|version| (version.lexicon, version.learned))?,
        };
        let reader = Reader::new(lexicon, learned);
        for text in &args.say {
            println!("{text}");
            for m in reader.matched(text) {
                let status = m.status.map_or("", |status| status.as_str());
                println!(
                    "  {:40} {status:13} {:.2} trusted {:.2} {:?} by {:?}",
                    m.concept, m.strength, m.trust, m.words, m.pattern
                );
            }
            println!("  by wording: {}", loudest(&reader, text));
        }
        return Ok(());
    }
    let version = common.version(args.version.as_deref())?;
    let pipeline = version.pipeline(Settings::default())?;
    let (path, id) = (args.calls.unwrap_or_default(), args.call.unwrap_or_default());
    let (calls, _) = data::read_calls(&path)?;
    let Some(events) = calls.into_iter().find(|events| events[0].call_id.as_str() == id) else {
        return Err(anyhow::anyhow!("{} holds no call {id}", path.display()).into());
    };
    let outcomes = outcomes_of(&pipeline, &events);
    for outcome in outcomes.iter().filter(|outcome| outcome.has_line()) {
        let line = outcome.score(pipeline.lexicon(), pipeline.model_label());
        println!("{}", serde_json::to_string(&line)?);
    }
    let highest = outcomes
        .iter()
        .max_by(|a, b| a.need.unwrap_or(0.0).total_cmp(&b.need.unwrap_or(0.0)));
    if let Some((features, moved)) = highest.and_then(|outcome| outcome.features.as_ref()) {
        let lexicon = pipeline.lexicon();
        println!("triage:");
        for urgent in features.urgencies.iter().take(SHOWN) {
            let rule = &lexicon.triage[usize::from(urgent.rule)];
            let finding = &lexicon.concept(urgent.concept).id;
            println!("  {:.2} {finding}: {} ({})", urgent.value, rule.reason, rule.id);
        }
        let model = pipeline.model();
        for (name, stage, values) in [
            ("need", &model.need, &features.need[..]),
            ("risk", &model.risk, &moved[..]),
        ] {
            let (base, all) = explain(stage, values);
            println!("{name}: {base:+.2} with every feature at its mean, and");
            for c in all.iter().take(SHOWN) {
                println!("  {:+.2} {} = {:.2}", c.logit, c.feature, c.value);
            }
        }
    }
    let turns = events.iter().filter_map(|event| match &event.body {
        Body::Utterance(said) if said.speaker == Speaker::Caller => Some(&*said.text),
        Body::Answer(answer) => Some(&*answer.answer),
        _ => None,
    });
    let reader = pipeline.reader();
    if let Some(text) = turns.max_by(|a, b| {
        reader
            .caller(a)
            .wording
            .value
            .total_cmp(&reader.caller(b).wording.value)
    }) {
        println!("loudest turn by wording: {}", loudest(reader, text));
    }
    Ok(())
}

/// The evidence of a turn's wording and the terms that made it.
fn loudest(reader: &Reader, text: &str) -> String {
    let terms = reader.loudest(text);
    let shown = terms
        .iter()
        .take(SHOWN)
        .map(|(term, weight)| format!("{weight:+.1} {term:?}"));
    format!(
        "{:+.2}: {}",
        reader.caller(text).wording.value,
        shown.collect::<Vec<_>>().join(", ")
    )
}
