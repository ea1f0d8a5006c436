//! Two judges on the same calls: what would change if one took the other's place.
//!
//! Paired: an interval of a difference rests on calls with both verdicts, so that what is hard about a call is the same
//! for both, and a difference shows that two tables side by side would hide in their intervals.

use serde::Serialize;

use super::report::{MEASURES, Value};
use super::{CallResult, Interval, NeededLabel, bootstrap, difference_of_shares};

/// One measure of both.
#[derive(Clone, Debug, Serialize)]
pub struct Paired {
    pub measure: &'static str,
    pub champion: f64,
    pub challenger: f64,
    /// Challenger less champion.
    pub difference: Interval,
}

/// A call of which the two say different things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disagreement {
    pub call_id: String,
    pub needed: NeededLabel,
    pub handed_over: bool,
    pub champion: Verdict,
    pub challenger: Verdict,
    /// The challenger's is: for a caller with need a page in time, or else late, is better than none; for others silence.
    pub better: bool,
}

/// From the best to the worst where a page is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Paged where no page was wanted.
    Paged,
    /// Paged by the time the matter was closed.
    InTime,
    /// Paged after it.
    Late,
    Silent,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paged => "paged",
            Self::InTime => "in time",
            Self::Late => "late",
            Self::Silent => "silent",
        }
    }
}

/// A call as champion and challenger judged it.
type Pair<'c> = (&'c CallResult, &'c CallResult);

/// Both sets hold the same calls in the same order. Measures that rest on no call are left out; one that rests on what
/// was judged, as the wait does, rests on calls where both have it.
pub fn compare(champion: &[CallResult], challenger: &[CallResult]) -> (Vec<Paired>, Vec<Disagreement>) {
    let all: Vec<Pair<'_>> = champion.iter().zip(challenger).collect();
    let paired = MEASURES.iter().map(|measure| {
        let pairs = all.iter().filter(|pair| (measure.of)(pair.0) && (measure.of)(pair.1));
        let pairs: Vec<Pair<'_>> = pairs.copied().collect();
        let champion = |drawn: &[&Pair<'_>]| measure.value.of(&drawn.iter().map(|pair| pair.0).collect::<Vec<_>>());
        let challenger = |drawn: &[&Pair<'_>]| measure.value.of(&drawn.iter().map(|pair| pair.1).collect::<Vec<_>>());
        let whole: Vec<&Pair<'_>> = pairs.iter().collect();
        Paired {
            measure: measure.name,
            champion: champion(&whole),
            challenger: challenger(&whole),
            difference: match measure.value {
                Value::Share(does) => {
                    let both: Vec<_> = pairs.iter().map(|pair| (does(pair.1), does(pair.0))).collect();
                    difference_of_shares(&both)
                }
                Value::Of(_) => bootstrap(&pairs, |drawn| challenger(drawn) - champion(drawn)),
            },
        }
    });
    (
        paired.filter(|row| !row.difference.value.is_nan()).collect(),
        all.iter().filter_map(|(one, other)| disagreement(one, other)).collect(),
    )
}

fn disagreement(champion: &CallResult, challenger: &CallResult) -> Option<Disagreement> {
    let wanted = champion.is_need() && !champion.handed_over;
    // Where no page is wanted it does not matter when one came.
    let verdict = |call: &CallResult| match call.page {
        None => Verdict::Silent,
        Some(_) if !wanted => Verdict::Paged,
        Some(_) if call.paged_in_time() => Verdict::InTime,
        Some(_) => Verdict::Late,
    };
    let (before, after) = (verdict(champion), verdict(challenger));
    (before != after).then(|| Disagreement {
        call_id: champion.call_id.clone(),
        needed: champion.needed,
        handed_over: champion.handed_over,
        champion: before,
        challenger: after,
        better: wanted == (after < before),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str, needed: NeededLabel, need: f64, page: Option<u64>) -> CallResult {
        CallResult {
            need,
            ..CallResult::made(id, needed, page)
        }
    }

    #[test]
    fn what_one_pages_and_the_other_does_not_is_told_with_whether_it_is_better() {
        use NeededLabel::{Emergency, Routine, Urgent};
        let champion = [
            call("found", Urgent, 0.3, None),
            call("lost", Emergency, 0.9, Some(6)),
            call("later", Emergency, 0.9, Some(6)),
            call("quiet", Routine, 0.6, Some(12)),
            call("same", Routine, 0.1, Some(12)),
        ];
        let challenger = [
            call("found", Urgent, 0.8, Some(5)),
            call("lost", Emergency, 0.2, None),
            call("later", Emergency, 0.9, Some(11)),
            call("quiet", Routine, 0.1, None),
            call("same", Routine, 0.1, Some(3)),
        ];
        let (paired, disagreements) = compare(&champion, &challenger);
        let told: Vec<(&str, bool)> = disagreements
            .iter()
            .map(|call| (call.call_id.as_str(), call.better))
            .collect();
        assert_eq!(
            told,
            [("found", true), ("lost", false), ("later", false), ("quiet", true)]
        );
        let of = |name: &str| paired.iter().find(|row| row.measure == name).expect("it is measured");
        let emergency = of("emergency, paged by the closing");
        assert_eq!((emergency.champion, emergency.challenger), (1.0, 0.0));
        assert_eq!((emergency.difference.value, emergency.difference.n), (-1.0, 2));
        let quiet = of("no need, paged");
        assert_eq!(
            (quiet.champion, quiet.challenger, quiet.difference.value),
            (1.0, 0.5, -0.5)
        );
        assert!(
            paired
                .iter()
                .all(|row| row.measure != "handed over, paged all the same")
        );
        // Only where both paged: the emergency that came later.
        assert_eq!(of("events from red flag to page, median").difference.n, 1);
    }
}
