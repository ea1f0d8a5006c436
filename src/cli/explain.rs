//! `callward explain`: why a call was judged as it was, or what the lexicon reads in a sentence.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::{Common, Failure, Judge, data, serve};
use crate::evaluation::said_by_caller;
use crate::features::Urgent;
use crate::pipeline::{Outcome, Pipeline, outcomes_of};
use crate::record::Event;
use crate::risk::{Contribution, Stage, explain};
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
    #[arg(long, value_name = "TEXT", conflicts_with = "call", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    say: Vec<String>,
    /// Read with the lexicon of this folder in place of the model's.
    #[arg(long, value_name = "FOLDER", requires = "say")]
    lexicon: Option<PathBuf>,
    #[command(flatten)]
    judge: Judge,
}

/// Contributions that are shown.
const SHOWN: usize = 12;

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    if !args.say.is_empty() {
        let version = serve::version(&args.judge.config()?, common);
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
            if common.output.is_json() {
                println!("{}", read_in(&reader, text));
            } else {
                print_read(&reader, text);
            }
        }
        return Ok(());
    }
    let pipeline = serve::pipeline(&args.judge.config()?, common)?;
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
        .filter(|outcome| outcome.features.is_some())
        .max_by(|a, b| a.risk.unwrap_or(0.0).total_cmp(&b.risk.unwrap_or(0.0)));
    let Some(explanation) = highest.and_then(|outcome| Explanation::of(&pipeline, outcome, &events)) else {
        return Ok(());
    };
    if common.output.is_json() {
        println!("{}", serde_json::json!({ "explanation": explanation }));
    } else {
        explanation.print();
    }
    Ok(())
}

/// What the lexicon reads in a sentence; whether it would page, a whole call alone tells.
fn read_in(reader: &Reader, text: &str) -> serde_json::Value {
    let matched = reader.matched(text).into_iter().map(|m| {
        serde_json::json!({
            "names": m.concept, "status": m.status.map(|status| status.as_str()), "strength": m.strength,
            "trust": m.trust, "words": m.words, "pattern": m.pattern,
        })
    });
    serde_json::json!({ "said": text, "matched": matched.collect::<Vec<_>>(), "wording": loudest(reader, text) })
}

fn print_read(reader: &Reader, text: &str) {
    println!("{text}");
    println!("  finding or part of one                   status        says  trust  words by pattern");
    for m in reader.matched(text) {
        let status = m.status.map_or("", |status| status.as_str());
        println!(
            "  {:40} {status:13} {:.2}  {:.2}   {:?} by {:?}",
            m.concept, m.strength, m.trust, m.words, m.pattern
        );
    }
    println!("  by wording: {}", loudest(reader, text));
    println!(
        "  says: how strongly the words say it, 0.9 outright, 0.55 by a hint; trust: how often the pattern was right in training"
    );
}

/// Why the moment of highest risk was judged as it was.
#[derive(Debug, Serialize)]
struct Explanation {
    seq: u64,
    /// The most urgent first.
    triage: Vec<Triaged>,
    need: Explained,
    risk: Explained,
    /// The loudest turn of the call by its wording, and the terms that made it so.
    loudest_turn: Option<String>,
    /// The terms of all that the caller had said that count most in the whole talk, for need and against it. Against it
    /// those of findings do not count, which are shown all the same.
    loudest_in_talk: String,
}

#[derive(Debug, Serialize)]
struct Triaged {
    urgency: f32,
    finding: String,
    reason: String,
    rule: String,
}

#[derive(Debug, Serialize)]
struct Explained {
    score: Option<f64>,
    /// Log odds with every feature at its mean.
    base: f64,
    /// By size; they add up to the score, but where risk is held down to need.
    contributions: Vec<Contribution>,
    capped_at_need: bool,
}

impl Explained {
    fn of(stage: &Stage, values: &[f32], score: Option<f64>) -> Self {
        let (base, contributions) = explain(stage, values);
        Self {
            score,
            base,
            contributions,
            capped_at_need: score.is_some_and(|score| score < stage.probability(values)),
        }
    }

    fn print(&self, name: &str) {
        println!(
            "{name} {:.2}: {:+.2} with every feature at its mean, and",
            self.score.unwrap_or(0.0),
            self.base
        );
        for c in &self.contributions {
            println!("  {:+.2} {} = {:.2}", c.logit, c.feature, c.value);
        }
        if self.capped_at_need {
            println!("  held down to need, which it may not exceed");
        }
    }
}

impl Explanation {
    fn of(pipeline: &Pipeline, outcome: &Outcome, events: &[Event]) -> Option<Self> {
        let (features, moved) = outcome.features.as_ref()?;
        let (lexicon, model, reader) = (pipeline.lexicon(), pipeline.model(), pipeline.reader());
        let triaged = |urgent: &Urgent| {
            let rule = &lexicon.triage[usize::from(urgent.rule)];
            Triaged {
                urgency: urgent.value,
                finding: lexicon.concept(urgent.concept).id.clone(),
                reason: rule.reason.clone(),
                rule: rule.id.clone(),
            }
        };
        let until = |event: &&Event| event.seq.is_none_or(|seq| seq <= outcome.seq);
        let turns = events.iter().take_while(until).filter_map(said_by_caller);
        let evidence = |text: &str| reader.caller(text).wording.value;
        let loudest_turn = turns.clone().max_by(|a, b| evidence(a).total_cmp(&evidence(b)));
        let mut talk: BTreeMap<String, f32> = BTreeMap::new();
        for (term, [_, weight]) in turns.flat_map(|text| reader.spelled(text)) {
            *talk.entry(term).or_default() += weight;
        }
        Some(Self {
            seq: outcome.seq,
            triage: features.urgencies.iter().take(SHOWN).map(triaged).collect(),
            need: Explained::of(&model.need, &features.need, outcome.need),
            risk: Explained::of(&model.risk, moved, outcome.risk),
            loudest_turn: loudest_turn.map(|text| loudest(reader, text)),
            loudest_in_talk: for_and_against(talk),
        })
    }

    fn print(&self) {
        println!("highest risk at event {}; triage:", self.seq);
        for t in &self.triage {
            println!("  {:.2} {}: {} ({})", t.urgency, t.finding, t.reason, t.rule);
        }
        self.need.print("need");
        self.risk.print("risk");
        if let Some(turn) = &self.loudest_turn {
            println!("loudest turn by wording: {turn}");
        }
        println!("the whole talk by wording: {}", self.loudest_in_talk);
    }
}

/// The evidence of a turn's wording and the terms that made it.
fn loudest(reader: &Reader, text: &str) -> String {
    let terms = reader.spelled(text);
    let of_turn = terms.into_iter().map(|(term, [weight, _])| (term, weight));
    format!(
        "{:+.2}: {}",
        reader.caller(text).wording.value,
        strongest(of_turn.collect(), SHOWN)
    )
}

/// The terms with the largest weights for need, then those against it.
fn for_and_against(talk: BTreeMap<String, f32>) -> String {
    let (up, down): (Vec<_>, Vec<_>) = talk.into_iter().partition(|(_, weight)| *weight > 0.0);
    let half = |terms: Vec<(String, f32)>| strongest(terms, SHOWN / 2);
    format!("{}; against it {}", half(up), half(down))
}

/// Terms with the largest weights, either way.
fn strongest(mut terms: Vec<(String, f32)>, shown: usize) -> String {
    terms.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    terms.dedup();
    let shown = terms.iter().take(shown);
    let shown = shown.map(|(term, weight)| format!("{weight:+.1} {term:?}"));
    shown.collect::<Vec<_>>().join(", ")
}
