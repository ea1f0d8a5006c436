//! `callward evaluate`: what the model is worth on labelled calls.

use std::collections::HashSet;
use std::path::PathBuf;

use super::{Common, Failure, data};
use crate::alert::{Alert, Settings};
use crate::evaluation::{Interval, LabelledCall, Row, bootstrap, is_unread, judge, share, table};
use crate::pipeline::outcomes_of;

/// Measure a model on labelled calls, with intervals.
///
/// Of twins with the same words one is counted, and those handed over at once stand apart.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  callward evaluate models/data/authored/calls-c.ndjson\n  \
    callward evaluate ours.ndjson --model 0002\n  callward evaluate real.ndjson --split-unread --everyday talks.ndjson"
)]
pub struct Args {
    /// Files of calls with labels beside them; each is reported apart.
    #[arg(required = true)]
    calls: Vec<PathBuf>,
    /// Files of calls in which nobody needs a clinician: how many page.
    #[arg(long, value_name = "FILE")]
    everyday: Vec<PathBuf>,
    /// Report the third of the cases that is set aside by hash apart from the rest.
    #[arg(long)]
    split_unread: bool,
    #[arg(long = "model", value_name = "VERSION")]
    version: Option<String>,
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    let version = common.version(args.version.as_deref())?;
    let pipeline = version.pipeline(Settings::default())?;
    let mut rows: Vec<Row> = Vec::new();
    for path in &args.calls {
        let (calls, source) = data::read_labelled(path)?;
        let counted = counted(&calls);
        let parts: Vec<(String, Vec<&LabelledCall>)> = if args.split_unread {
            let (unread, read) = counted.into_iter().partition(|call| is_unread(call.label.case()));
            vec![
                (format!("{} read", source.name), read),
                (format!("{} unread", source.name), unread),
            ]
        } else {
            vec![(source.name, counted)]
        };
        for (name, calls) in parts {
            rows.extend(table(&name, &judge(&pipeline, calls)));
        }
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
        let figure: Interval = bootstrap(&paged, |drawn| share(drawn.iter().map(|paged| **paged)));
        rows.push(Row {
            measure: format!("{}: paged", source.name),
            figure,
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
            "  {:72} {:.3} [{:.3}, {:.3}]  n={}",
            row.measure, f.value, f.low, f.high, f.n
        );
    }
    Ok(())
}

/// One call of each case in which the matter was closed, and those handed over at the turn after the red flag; labels
/// of low confidence are left out.
fn counted(calls: &[LabelledCall]) -> Vec<&LabelledCall> {
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
