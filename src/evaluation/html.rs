//! A report of one evaluation as one page of HTML that needs nothing beside it. No patient's words stand in it: errors
//! are named by call and by what was labelled and read.

use std::fmt::Write as _;

use plotters::prelude::*;

use super::report::pages_of_a_day;
use super::{Baselines, CallResult, NeededLabel, Row, share, share_of};

/// What one file of calls came to.
#[derive(Debug)]
pub struct Section {
    pub name: String,
    /// Of the file, where it is one.
    pub sha256: Option<String>,
    pub results: Vec<CallResult>,
    pub rows: Vec<Row>,
    /// Policy by alert threshold: share of calls without need that page, share of needy calls paged in time.
    pub sweep: Vec<(f64, f64, f64)>,
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;color:#222}h2{margin-top:2.5rem}\
    table{border-collapse:collapse;margin:1rem 0}td,th{border-bottom:1px solid #ddd;padding:.25rem .8rem;text-align:left}\
    td.n{text-align:right;font-variant-numeric:tabular-nums}figure{display:inline-block;margin:.5rem}.note{color:#666}";

/// The whole page.
pub fn page(model: &str, threshold: f64, sections: &[Section]) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{model}: evaluation</title><style>{STYLE}</style>\
         <h1>{model}</h1><p>Alert from a risk of {threshold}. The unit is the call; intervals are 95 %, of shares by Wilson, else by bootstrap. \
         A page is in time where it comes by the sentence that closes the matter or the action behind it. Not a medical \
         device; labels were given by reading, not by outcome.</p>"
    );
    for section in sections {
        let _ = write!(
            html,
            "<h2>{}</h2><p class=\"note\">{} calls{}</p>",
            escape(&section.name),
            section.results.len(),
            section
                .sha256
                .as_ref()
                .map(|digest| format!(", sha256 {}", &digest[..12]))
                .unwrap_or_default()
        );
        measures(&mut html, &section.rows);
        let own: Vec<&CallResult> = section.results.iter().filter(|r| !r.handed_over).collect();
        if own.iter().any(|r| r.is_need()) && own.iter().any(|r| !r.is_need()) {
            html.push_str(&roc(&own));
            html.push_str(&precision_recall(&own));
            html.push_str(&calibration(&own));
            html.push_str(&trade(&section.sweep));
            html.push_str(&waits(&own));
            baselines(&mut html, &own);
            days(&mut html, &own);
        }
        thresholds(&mut html, &section.sweep);
        slices(&mut html, &own);
        errors(&mut html, &own);
    }
    html
}

fn measures(html: &mut String, rows: &[Row]) {
    html.push_str("<table><tr><th>measure<th>value<th>95 % interval<th>calls");
    for row in rows {
        let f = row.figure;
        let _ = write!(
            html,
            "<tr><td>{}<td class=n>{:.3}<td class=n>{:.3}–{:.3}<td class=n>{}",
            escape(&row.measure),
            f.value,
            f.low,
            f.high,
            f.n
        );
    }
    html.push_str("</table>");
}

/// Shares of needy and of other calls whose need passes each value, falling.
fn passing(calls: &[&CallResult]) -> Vec<(f64, f64)> {
    let mut cuts: Vec<f64> = calls.iter().map(|call| call.need).collect();
    cuts.sort_by(|a, b| b.total_cmp(a));
    cuts.dedup();
    let of = |need: bool, cut: f64| share(calls.iter().filter(|c| c.is_need() == need).map(|c| c.need >= cut));
    std::iter::once((0.0, 0.0))
        .chain(cuts.into_iter().map(|cut| (of(false, cut), of(true, cut))))
        .collect()
}

const DRAWS: usize = 40;

fn roc(calls: &[&CallResult]) -> String {
    use rand::SeedableRng;
    use rand::seq::IndexedRandom;
    // Thin lines are the same curve over draws with replacement: how far it may be trusted.
    let mut random = rand::rngs::StdRng::seed_from_u64(1);
    let mut draws: Vec<Vec<(f64, f64)>> = (0..DRAWS)
        .map(|_| {
            let drawn: Vec<&CallResult> = (0..calls.len())
                .filter_map(|_| calls.choose(&mut random).copied())
                .collect();
            passing(&drawn)
                .into_iter()
                .filter(|(x, y)| !x.is_nan() && !y.is_nan())
                .collect()
        })
        .collect();
    draws.push(passing(calls));
    plot(
        "ROC of need",
        "calls without need above",
        "needy calls above",
        &draws,
        Shape::Diagonal,
    )
}

fn precision_recall(calls: &[&CallResult]) -> String {
    let needy = calls.iter().filter(|c| c.is_need()).count() as f64;
    let others = calls.len() as f64 - needy;
    let curve: Vec<(f64, f64)> = passing(calls)
        .into_iter()
        .skip(1)
        .map(|(of_others, of_needy)| (of_needy, of_needy * needy / (of_needy * needy + of_others * others)))
        .collect();
    plot(
        "Precision and recall of need",
        "recall",
        "precision",
        &[curve],
        Shape::Line,
    )
}

/// Mean need against the share that is needy, in fifths of the calls.
fn calibration(calls: &[&CallResult]) -> String {
    let mut rising: Vec<&&CallResult> = calls.iter().collect();
    rising.sort_by(|a, b| a.need.total_cmp(&b.need));
    let points = rising
        .chunks(rising.len().div_ceil(5).max(1))
        .map(|part| {
            let mean = part.iter().map(|call| call.need).sum::<f64>() / part.len() as f64;
            (mean, share(part.iter().map(|call| call.is_need())))
        })
        .collect();
    plot(
        "Calibration, fifths of the calls",
        "mean need",
        "share that is needy",
        &[points],
        Shape::PointsOnDiagonal,
    )
}

fn trade(sweep: &[(f64, f64, f64)]) -> String {
    let curve = sweep.iter().map(|(_, others, needy)| (*others, *needy)).collect();
    plot(
        "Pages by threshold",
        "calls without need paged",
        "needy calls paged in time",
        &[curve],
        Shape::Points,
    )
}

/// Share of the needy calls that is paged within so many events of the red flag.
fn waits(calls: &[&CallResult]) -> String {
    const MOST: u64 = 20;
    let needy: Vec<&&CallResult> = calls.iter().filter(|c| c.is_need() && c.red_flag.is_some()).collect();
    let curve = (0..=MOST)
        .map(|wait| {
            let told = needy
                .iter()
                .map(|c| c.page.zip(c.red_flag).is_some_and(|(page, flag)| page <= flag + wait) && c.paged_in_time());
            (wait as f64 / MOST as f64, share(told))
        })
        .collect();
    plot(
        "Events from red flag to page",
        "events, 0 to 20",
        "needy calls paged by then",
        &[curve],
        Shape::Line,
    )
}

/// What stands beside the curve.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Line,
    /// Its points count.
    Points,
    /// On the diagonal nothing would be known.
    Diagonal,
    /// On the diagonal all would be right.
    PointsOnDiagonal,
}

/// A square plot of curves between 0 and 1; the last is drawn strong.
fn plot(title: &str, x: &str, y: &str, curves: &[Vec<(f64, f64)>], shape: Shape) -> String {
    let mut svg = String::new();
    let drawn = (|| -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::with_string(&mut svg, (340, 340)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 15))
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(40)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        chart
            .configure_mesh()
            .x_desc(x)
            .y_desc(y)
            .x_labels(5)
            .y_labels(5)
            .light_line_style(WHITE)
            .draw()?;
        if matches!(shape, Shape::Diagonal | Shape::PointsOnDiagonal) {
            chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], RGBColor(200, 200, 200)))?;
        }
        for (number, curve) in curves.iter().enumerate() {
            let strong = number + 1 == curves.len();
            let style = if strong {
                RGBColor(20, 90, 170).stroke_width(2)
            } else {
                RGBColor(170, 200, 230).stroke_width(1)
            };
            chart.draw_series(LineSeries::new(curve.iter().copied(), style))?;
            if strong && matches!(shape, Shape::Points | Shape::PointsOnDiagonal) {
                let dots = curve
                    .iter()
                    .map(|point| Circle::new(*point, 3, RGBColor(20, 90, 170).filled()));
                chart.draw_series(dots)?;
            }
        }
        root.present()?;
        Ok(())
    })();
    match drawn {
        Ok(()) => format!("<figure>{svg}</figure>"),
        Err(error) => format!("<p class=\"note\">{title}: could not be drawn ({error})</p>"),
    }
}

fn baselines(html: &mut String, calls: &[&CallResult]) {
    html.push_str(
        "<h3>Beside simpler judges</h3><table><tr><th>judge<th>emergency in time<th>urgent in time<th>no need, paged",
    );
    let mut line = |name: &str, page: &dyn Fn(&CallResult) -> Option<u64>| {
        let in_time = |needed| {
            let part: Vec<&&CallResult> = calls.iter().filter(|c| c.needed == needed).collect();
            with_interval(&part, &|c: &CallResult| page(c).is_some_and(|page| page <= c.closing))
        };
        let others: Vec<&&CallResult> = calls.iter().filter(|c| !c.is_need()).collect();
        let _ = write!(
            html,
            "<tr><td>{name}<td class=n>{}<td class=n>{}<td class=n>{}",
            in_time(NeededLabel::Emergency),
            in_time(NeededLabel::Urgent),
            with_interval(&others, &|c: &CallResult| page(c).is_some())
        );
    };
    line("this model", &|call| call.page);
    for (number, name) in Baselines::NAMES.into_iter().enumerate() {
        line(name, &|call| call.baselines.all()[number]);
    }
    html.push_str("</table>");
}

fn with_interval(calls: &[&&CallResult], holds: &dyn Fn(&CallResult) -> bool) -> String {
    if calls.is_empty() {
        return "no calls".into();
    }
    let f = share_of(calls.iter().map(|call| holds(call)));
    format!("{:.2} [{:.2}, {:.2}] of {}", f.value, f.low, f.high, f.n)
}

fn days(html: &mut String, calls: &[&CallResult]) {
    html.push_str(
        "<h3>Pages on a day</h3><p class=\"note\">If all other calls of the day were like those of this file; on an \
         appointments line most speak of no symptom at all.</p><table><tr><th>needy calls in 100<th>pages per 100 calls<th>share that is right",
    );
    for rate in [0.01, 0.02, 0.05] {
        let (pages, right) = pages_of_a_day(calls, rate);
        let _ = write!(
            html,
            "<tr><td class=n>{:.0}<td class=n>{:.1}<td class=n>{:.2}",
            rate * 100.0,
            pages * 100.0,
            right
        );
    }
    html.push_str("</table>");
}

fn thresholds(html: &mut String, sweep: &[(f64, f64, f64)]) {
    html.push_str("<h3>Thresholds</h3><table><tr><th>alert from<th>no need, paged<th>needy, paged in time");
    for (threshold, others, needy) in sweep {
        let _ = write!(
            html,
            "<tr><td class=n>{threshold:.2}<td class=n>{others:.3}<td class=n>{needy:.3}"
        );
    }
    html.push_str("</table>");
}

/// Parts of the calls by who called and how; empty ones are shown as empty.
fn slices(html: &mut String, calls: &[&CallResult]) {
    html.push_str("<h3>Slices</h3><table><tr><th>slice<th>calls<th>needy, paged in time<th>no need, paged");
    type Belongs = fn(&CallResult) -> bool;
    let all: [(&str, Belongs); 9] = [
        ("phone", |c| c.channel == "phone"),
        ("chat", |c| c.channel == "chat"),
        ("questionnaire", |c| c.channel == "questionnaire"),
        ("65 or older", |c| c.age.is_some_and(|age| age >= 65)),
        ("18 to 64", |c| c.age.is_some_and(|age| (18..65).contains(&age))),
        ("under 18", |c| c.age.is_some_and(|age| age < 18)),
        ("age not told", |c| c.age.is_none()),
        ("women and girls", |c| c.sex == Some("female")),
        ("men and boys", |c| c.sex == Some("male")),
    ];
    for (name, belongs) in all {
        let part: Vec<&&CallResult> = calls.iter().filter(|call| belongs(call)).collect();
        let (needy, others): (Vec<&&CallResult>, Vec<&&CallResult>) = part.iter().copied().partition(|c| c.is_need());
        let _ = write!(
            html,
            "<tr><td>{name}<td class=n>{}<td class=n>{}<td class=n>{}",
            part.len(),
            with_interval(&needy, &CallResult::paged_in_time),
            with_interval(&others, &|c: &CallResult| c.page.is_some())
        );
    }
    html.push_str("</table>");
}

const ERRORS_SHOWN: usize = 20;

fn errors(html: &mut String, calls: &[&CallResult]) {
    type Wrong = fn(&CallResult) -> bool;
    let kinds: [(&str, Wrong); 5] = [
        ("Emergencies that were never paged", |c| {
            c.needed == NeededLabel::Emergency && c.page.is_none()
        }),
        ("Emergencies that were paged too late", |c| {
            c.needed == NeededLabel::Emergency && c.page.is_some() && !c.paged_in_time()
        }),
        ("Urgent calls that were not paged in time", |c| {
            c.needed == NeededLabel::Urgent && !c.paged_in_time()
        }),
        ("Same-day calls that were paged", |c| {
            c.needed == NeededLabel::SameDay && c.page.is_some()
        }),
        ("Routine calls and errands that were paged", |c| {
            matches!(c.needed, NeededLabel::Routine | NeededLabel::None) && c.page.is_some()
        }),
    ];
    html.push_str("<h3>Errors</h3>");
    for (title, wrong) in kinds {
        let mut all: Vec<&&CallResult> = calls.iter().filter(|call| wrong(call)).collect();
        all.sort_by(|a, b| {
            let off = |c: &CallResult| if c.is_need() { 1.0 - c.need } else { c.need };
            off(b).total_cmp(&off(a))
        });
        let _ = write!(html, "<p><b>{title}: {}</b></p>", all.len());
        if all.is_empty() {
            continue;
        }
        html.push_str("<table><tr><th>call<th>need<th>labelled<th>read as present");
        for call in all.into_iter().take(ERRORS_SHOWN) {
            let _ = write!(
                html,
                "<tr><td>{}<td class=n>{:.2}<td>{}<td>{}",
                escape(&call.call_id),
                call.need,
                escape(&call.labelled.join(", ")),
                escape(&call.read.join(", "))
            );
        }
        html.push_str("</table>");
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_files_cannot_break_the_page() {
        assert_eq!(escape("<b>&"), "&lt;b&gt;&amp;");
    }

    #[test]
    fn a_curve_is_drawn() {
        let svg = plot(
            "title",
            "x",
            "y",
            &[vec![(0.0, 0.0), (0.5, 0.9), (1.0, 1.0)]],
            Shape::Points,
        );
        assert!(
            svg.contains("<svg") && svg.contains("polyline") && svg.contains("circle"),
            "{svg}"
        );
    }
}
