//! `callward evaluate`: what the model is worth on labelled calls.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::Context;

use super::{Common, Failure, Judge, data, serve};
use crate::alert::{Alert, Policy};
use crate::config::Config;
use crate::evaluation::{
    CallResult, GRID, LabelledCall, Row, Section, is_unread, judge, page, share_of, sweep, table, table_by_style,
};
use crate::pipeline::{Pipeline, outcomes_of};
use crate::record::Body;
use crate::registry::Version;
use crate::risk::Thresholds;

/// Measure a model on labelled calls, with intervals.
///
/// Of twins with the same words one is counted, and those handed over at once stand apart.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  callward evaluate models/data/authored/calls-t.ndjson\n  \
    callward evaluate ours.ndjson --model 0011\n  callward evaluate real.ndjson --split-unread --everyday talks.ndjson --html report.html"
)]
pub struct Args {
    /// Files of calls with labels beside them; each is reported apart, and all together.
    #[arg(required = true)]
    calls: Vec<PathBuf>,
    /// Files of calls in which nobody needs a clinician: how many page.
    #[arg(long, value_name = "FILE")]
    everyday: Vec<PathBuf>,
    /// Report the third of the cases that is set aside by hash apart from the rest.
    #[arg(long)]
    split_unread: bool,
    /// Leave out what the desk's own software reports: what agents do is then understood from their words alone.
    #[arg(long)]
    without_actions: bool,
    /// Write a report with plots, slices and errors by category to this file: one page of HTML.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    judge: Judge,
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    let config = args.judge.config()?;
    let version = serve::version(&config, common)?;
    let pipeline = serve::pipeline(&config, common)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut sections: Vec<Section> = Vec::new();
    let (mut everyone, mut cases): (Vec<CallResult>, HashSet<(String, bool)>) = Default::default();
    for path in &args.calls {
        let (mut calls, source) = data::read_labelled(path)?;
        if args.without_actions {
            for call in &mut calls {
                call.events.retain(|event| !matches!(event.body, Body::Action(_)));
            }
        }
        data::warn_if_learned_from(&version, &source);
        let counted = counted(&calls);
        if counted.len() < calls.len() {
            eprintln!(
                "{}: {} of {} calls count: one of each case, those handed over at once apart, and no unsure label",
                path.display(),
                counted.len(),
                calls.len()
            );
        }
        let parts: Vec<(String, Vec<&LabelledCall>)> = if args.split_unread {
            let (unread, read) = counted.into_iter().partition(|call| is_unread(call.label.case()));
            vec![
                (format!("{} read", source.name), read),
                (format!("{} unread", source.name), unread),
            ]
        } else {
            vec![(source.name.clone(), counted)]
        };
        for (name, calls) in parts {
            let results = judge(&pipeline, calls.iter().copied());
            for (call, result) in calls.iter().zip(&results) {
                if cases.insert((call.label.case().to_owned(), result.handed_over)) {
                    everyone.push(result.clone());
                }
            }
            let measured = table(&name, &results);
            if args.html.is_some() {
                sections.push(Section {
                    name,
                    sha256: Some(source.sha256.clone()),
                    sweep: sweep(by_threshold(&version, &config)?.into_iter(), &calls),
                    results,
                    rows: measured.clone(),
                });
            }
            rows.extend(measured);
        }
    }
    if args.calls.len() > 1 {
        rows.extend(table("all files", &everyone));
    }
    rows.extend(table_by_style("all", &everyone));
    if let Some(path) = &args.html {
        let html = page(pipeline.model_label(), pipeline.policy().thresholds().alert, &sections);
        std::fs::write(path, html).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("report written to {}", path.display());
    }
    for path in &args.everyday {
        let (calls, source) = data::read_calls(path)?;
        let paged: Vec<bool> = calls
            .iter()
            .map(|events| {
                outcomes_of(&pipeline, events)
                    .iter()
                    .filter_map(|o| o.alert.as_ref())
                    .any(Alert::is_page)
            })
            .collect();
        rows.push(Row {
            measure: format!("{}: paged", source.name),
            figure: share_of(paged.into_iter()),
        });
    }
    if common.output.is_json() {
        println!(
            "{}",
            serde_json::json!({ "model": pipeline.model_label(), "rows": rows })
        );
        return Ok(());
    }
    println!("{}", pipeline.model_label());
    for row in rows {
        let f = row.figure;
        println!(
            "  {:84} {:.3} [{:.3}, {:.3}]  n={}",
            row.measure, f.value, f.low, f.high, f.n
        );
    }
    Ok(())
}

/// The model at every threshold that training tries.
fn by_threshold(version: &Version, config: &Config) -> Result<Vec<(f64, Pipeline)>, Failure> {
    let at = |alert: f64| {
        let mut model = version.model.clone();
        model.thresholds = Thresholds::of_alert(alert);
        let policy = Policy::new(config.policy, model.thresholds)?;
        let pipeline = Pipeline::new(
            version.lexicon.clone(),
            version.learned.clone(),
            model,
            String::new(),
            policy,
        );
        Ok((alert, pipeline.with_bounds(config.bounds)))
    };
    GRID.into_iter().map(at).collect()
}

/// One call of each case in which the matter was closed, and those handed over at the turn after the red flag; labels
/// of low confidence are left out.
pub fn counted(calls: &[LabelledCall]) -> Vec<&LabelledCall> {
    let mut cases = HashSet::new();
    calls
        .iter()
        .filter(|call| call.label.is_sure())
        .filter(|call| {
            let label = &call.label;
            if label.is_handed_over() {
                let at_once = label
                    .closing_seq
                    .zip(label.red_flag_seq)
                    .is_some_and(|(c, flag)| c <= flag + 2);
                return at_once && cases.insert((label.case().to_owned(), true));
            }
            cases.insert((label.case().to_owned(), false))
        })
        .collect()
}
