//! `callward train`: labelled calls → a new version of the model.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;

use super::{Common, Failure, data};
use crate::evaluation::{BudgetRow, NeededLabel, Recipe, Row, Section, Trained, page, table, table_by_style, train};
use crate::registry::{DataSource, GoldenRow, Manifest, NAME, RELIABILITY, Registry, WORDING, replay};
use crate::signals::{Lexicon, Source};

/// Train a new version of the model on labelled calls.
///
/// Labels stand beside the calls: calls.ndjson has labels.ndjson, calls-c.ndjson has calls-c-labels.ndjson.
/// Same data, same seed, same bytes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  callward train models/data/authored/calls-[c-h].ndjson --version 0012\n  \
    callward train ours.ndjson --version 0012 --false-pages 0.05\n  \
    callward train real.ndjson --made-up-endings real.ndjson --keep-third real.ndjson --version 0012"
)]
pub struct Args {
    #[command(flatten)]
    from: data::Learnable,
    /// Number of the new version, as in 0002.
    #[arg(long)]
    version: String,
    /// Calls that may be shown to anybody, of which golden rows are made; without it those of the demo.
    #[arg(long, value_name = "FILE")]
    golden: Option<PathBuf>,
    /// Share of calls without need that may page, by which the threshold is chosen.
    #[arg(long, default_value_t = Recipe::default().false_pages)]
    false_pages: f64,
    /// The same seed and data give the same bytes.
    #[arg(long, default_value_t = Recipe::default().seed)]
    seed: u64,
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    // What can be refused is refused before the work.
    let registry = common.registry();
    registry.refuse_existing(&args.version)?;
    let golden = match &args.golden {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => crate::simulation::CALLS.to_owned(),
    };
    let bar = indicatif::ProgressBar::new_spinner();
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    let source = Source::read(&args.from.lexicon)?.frozen();
    let lexicon = Arc::new(Lexicon::compile(&source)?);
    let data::Read {
        corpora,
        phrases,
        sources,
    } = args.from.read()?;
    let recipe = Recipe {
        seed: args.seed,
        false_pages: args.false_pages,
        ..Recipe::default()
    };
    let trained = train(&lexicon, &corpora, &phrases, &recipe, NAME, &args.version, |stage| {
        bar.set_message(stage.to_owned())
    })?;
    bar.finish_and_clear();
    let folder = write(&args, &registry, &golden, &source, &lexicon, sources, &trained, &recipe)?;
    eprintln!("version {} written to {}", args.version, folder.display());
    print(&trained, common);
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the parts of a version, written in one place")]
fn write(
    args: &Args,
    registry: &Registry,
    golden: &str,
    source: &Source,
    lexicon: &Arc<Lexicon>,
    data: Vec<DataSource>,
    trained: &Trained,
    recipe: &Recipe,
) -> Result<PathBuf, Failure> {
    let model = serde_json::to_vec_pretty(&trained.model)?;
    let golden = golden_rows(golden, lexicon, trained)?;
    let rows: Vec<_> = table("out of fold", &trained.out_of_fold);
    let by_style = table_by_style("out of fold", &trained.out_of_fold);
    let metrics: BTreeMap<String, f64> = rows.iter().map(|row| (row.measure.clone(), row.figure.value)).collect();
    let manifest = Manifest {
        name: NAME.into(),
        version: args.version.clone(),
        data,
        split: "five folds by SHA-256 of the case; calls of one case never part".into(),
        seed: recipe.seed,
        program: format!("callward {}", env!("CARGO_PKG_VERSION")),
        metrics,
        thresholds_reason: format!(
            "lowest alert threshold at which at most {} of the calls without need page, out of fold",
            recipe.false_pages
        ),
        licence: "Apache-2.0; the texts that it was trained on are under their own licences".into(),
        sha256: BTreeMap::new(),
    };
    let evaluation = serde_json::json!({
        "out_of_fold": rows,
        "out_of_fold_by_style": by_style,
        "budget": trained.budget,
        "wording_turns": { "needs": trained.wording_turns[0], "others": trained.wording_turns[1] },
        "rows": { "need": trained.rows.0, "risk": trained.rows.1 },
        "alpha": { "need": trained.alphas.0, "risk": trained.alphas.1 },
        "log_loss": { "need": trained.log_losses.0, "risk": trained.log_losses.1 },
    });
    let files = BTreeMap::from([
        ("model.json".to_owned(), model),
        ("lexicon.json".to_owned(), source.to_json()),
        (WORDING.to_owned(), trained.learned.wording.to_bytes()),
        (RELIABILITY.to_owned(), trained.learned.reliability.to_bytes()),
        ("golden.jsonl".to_owned(), golden),
        ("evaluation.json".to_owned(), serde_json::to_vec_pretty(&evaluation)?),
        ("evaluation.html".to_owned(), report(trained, &rows).into_bytes()),
        (
            "MODEL_CARD.md".to_owned(),
            card(&manifest, trained, rows.iter().chain(&by_style)).into_bytes(),
        ),
    ]);
    Ok(registry.write(&args.version, &files, manifest)?)
}

/// Golden rows: the beginnings of calls that we wrote, at different lengths, and what the model makes of them.
fn golden_rows(text: &str, lexicon: &Arc<Lexicon>, trained: &Trained) -> Result<Vec<u8>, Failure> {
    const ROWS: usize = 50;
    let mut calls: Vec<Vec<serde_json::Value>> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let event: serde_json::Value = serde_json::from_str(line)?;
        match calls.last_mut().filter(|call| call[0]["call_id"] == event["call_id"]) {
            Some(call) => call.push(event),
            None => calls.push(vec![event]),
        }
    }
    if calls.is_empty() {
        return Err(anyhow::anyhow!("--golden holds no call").into());
    }
    let policy = crate::alert::Policy::new(Default::default(), trained.model.thresholds)?;
    let learned = Arc::new(trained.learned.clone());
    let pipeline =
        crate::pipeline::Pipeline::new(lexicon.clone(), learned, trained.model.clone(), String::new(), policy);
    let mut bytes = Vec::new();
    for row in 0..ROWS {
        let call = &calls[row % calls.len()];
        let length = (call.len() * (1 + row % 4) / 4).max(3).min(call.len());
        let events = call[..length].to_vec();
        let last = replay(&pipeline, &events)?;
        let features = last
            .features
            .as_ref()
            .map(|(features, _)| features.need.to_vec())
            .unwrap_or_default();
        let golden = GoldenRow {
            events,
            features,
            need: last.need.unwrap_or(0.0),
            risk: last.risk.unwrap_or(0.0),
        };
        serde_json::to_writer(&mut bytes, &golden)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// Every call as judged by the fold that had not seen it.
fn report(trained: &Trained, rows: &[Row]) -> String {
    let needy = |row: &BudgetRow| {
        let count = |needed| trained.out_of_fold.iter().filter(|r| r.needed == needed).count() as f64;
        let (emergency, urgent) = (count(NeededLabel::Emergency), count(NeededLabel::Urgent));
        (row.emergency_in_time * emergency + row.urgent_in_time * urgent) / (emergency + urgent).max(1.0)
    };
    let section = Section {
        name: "training data, out of fold".into(),
        sha256: None,
        sweep: trained
            .budget
            .iter()
            .map(|row| (row.alert, row.false_pages, needy(row)))
            .collect(),
        results: trained.out_of_fold.clone(),
        rows: rows.to_vec(),
    };
    page(&trained.model.label(), trained.model.thresholds.alert, &[section])
}

fn card<'r>(manifest: &Manifest, trained: &Trained, rows: impl Iterator<Item = &'r Row>) -> String {
    use std::fmt::Write as _;
    let mut card = format!(
        "# {}@{}\n\nTwo-stage logistic model over clinical facts: need (does the caller need a clinician now or within \
         the hour?) and risk (and will this call end without one?).\n\n\
         **Meant for** telling a clinical lead, while the caller is still on the line, which calls to listen to. \
         **Not** a medical device, not a triage protocol, not validated in a clinic; no person may be put off because \
         it was silent.\n\n## Trained on\n| file | calls or turns | of these kept apart | endings made up | sha256 |\n| --- | --- | --- | --- | --- |\n",
        manifest.name, manifest.version
    );
    for source in &manifest.data {
        let _ = writeln!(
            card,
            "| {} | {} | {} | {} | {} |",
            source.name,
            source.calls,
            source.kept_apart,
            if source.made_up_endings { "yes" } else { "" },
            &source.sha256[..12]
        );
    }
    let _ = writeln!(
        card,
        "\n{} moments for need, {} for risk; wordings from {} turns that need a clinician and {} others, every writer \
         judged by the wordings of the others; split: {}; seed {}.\n\n## Out of fold\n| measure | value | 95 % interval | calls |\n| --- | --- | --- | --- |",
        trained.rows.0,
        trained.rows.1,
        trained.wording_turns[0],
        trained.wording_turns[1],
        manifest.split,
        manifest.seed
    );
    for row in rows {
        let f = &row.figure;
        let _ = writeln!(
            card,
            "| {} | {:.3} | {:.3}–{:.3} | {} |",
            row.measure, f.value, f.low, f.high, f.n
        );
    }
    let _ = writeln!(
        card,
        "\n## Threshold\n{}: {}.\n\n| alert from | no need, paged | emergency in time | urgent in time |\n| --- | --- | --- | --- |",
        trained.model.thresholds.alert, manifest.thresholds_reason
    );
    for row in &trained.budget {
        let _ = writeln!(
            card,
            "| {:.2} | {:.3} | {:.3} | {:.3} |",
            row.alert, row.false_pages, row.emergency_in_time, row.urgent_in_time
        );
    }
    card.push_str(
        "\n## Limits\n- The lexicon was written and corrected on some of these calls, so that out-of-fold figures \
         flatter it; `callward evaluate` on calls that nobody read tells more.\n- Labels were given by reading, not by \
         outcome. Urgent against same-day is a soft border.\n- English only. Handling was learned from written calls \
         alone.\n",
    );
    card
}

fn print(trained: &Trained, common: &Common) {
    let mut rows = table("out of fold", &trained.out_of_fold);
    rows.extend(table_by_style("out of fold", &trained.out_of_fold));
    if common.output.is_json() {
        println!("{}", serde_json::json!({ "rows": rows, "budget": trained.budget }));
        return;
    }
    for row in rows {
        let f = row.figure;
        println!(
            "{:84} {:.3} [{:.3}, {:.3}]  n={}",
            row.measure, f.value, f.low, f.high, f.n
        );
    }
    for row in &trained.budget {
        println!(
            "alert from {:.2}: no need, paged {:.3}; emergency in time {:.3}, urgent {:.3}",
            row.alert, row.false_pages, row.emergency_in_time, row.urgent_in_time
        );
    }
}
