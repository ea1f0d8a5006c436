//! Statistics of ranks and shares.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde::Serialize;

/// A figure with its 95 % interval and the number of calls that it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    pub value: f64,
    pub low: f64,
    pub high: f64,
    pub n: usize,
}

/// The chance that a positive ranks above a negative; ties count half. `NaN` without both classes.
pub fn auroc(positives: &[f64], negatives: &[f64]) -> f64 {
    if positives.is_empty() || negatives.is_empty() {
        return f64::NAN;
    }
    let mut all: Vec<(f64, bool)> = positives
        .iter()
        .map(|v| (*v, true))
        .chain(negatives.iter().map(|v| (*v, false)))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut at, mut ranks) = (0, 0.0);
    while at < all.len() {
        let end = at + all[at..].iter().take_while(|one| one.0 == all[at].0).count();
        let rank = (at + 1 + end) as f64 / 2.0;
        ranks += rank * all[at..end].iter().filter(|one| one.1).count() as f64;
        at = end;
    }
    let (p, n) = (positives.len() as f64, negatives.len() as f64);
    (ranks - p * (p + 1.0) / 2.0) / p / n
}

/// Share of positives above the threshold that this share of negatives passes.
pub fn recall_at(positives: &[f64], negatives: &[f64], false_alarms: f64) -> f64 {
    if positives.is_empty() || negatives.is_empty() {
        return f64::NAN;
    }
    let mut falling = negatives.to_vec();
    falling.sort_by(|a, b| b.total_cmp(a));
    let at = ((false_alarms * negatives.len() as f64) as usize).min(negatives.len() - 1);
    share(positives.iter().map(|v| *v > falling[at]))
}

pub fn share(all: impl Iterator<Item = bool>) -> f64 {
    let (yes, count) = all.fold((0usize, 0usize), |(yes, count), one| {
        (yes + usize::from(one), count + 1)
    });
    if count == 0 {
        f64::NAN
    } else {
        yes as f64 / count as f64
    }
}

const DRAWS: usize = 400;

/// The measure of all, with the 95 % interval of the same measure over draws with replacement.
pub fn bootstrap<T>(all: &[T], measure: impl Fn(&[&T]) -> f64) -> Interval {
    let everyone: Vec<&T> = all.iter().collect();
    let value = measure(&everyone);
    let mut random = StdRng::seed_from_u64(1);
    let mut drawn: Vec<f64> = (0..DRAWS)
        .map(|_| {
            measure(
                &(0..all.len())
                    .filter_map(|_| everyone.choose(&mut random).copied())
                    .collect::<Vec<_>>(),
            )
        })
        .filter(|value| !value.is_nan())
        .collect();
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| {
        drawn
            .get((share * drawn.len() as f64) as usize)
            .copied()
            .unwrap_or(value)
    };
    Interval {
        value,
        low: at(0.025),
        high: at(0.975),
        n: all.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_as_by_hand() {
        assert_eq!(auroc(&[3.0, 2.0], &[1.0, 0.0]), 1.0);
        assert_eq!(auroc(&[1.0], &[1.0]), 0.5);
        assert_eq!(auroc(&[2.0, 0.0], &[1.0]), 0.5);
        assert!(auroc(&[], &[1.0]).is_nan());
        assert_eq!(recall_at(&[5.0, 1.0], &[4.0, 3.0, 2.0, 0.0], 0.25), 0.5);
    }

    #[test]
    fn an_interval_holds_its_value_and_repeats() {
        let all: Vec<bool> = (0..50).map(|i| i % 5 == 0).collect();
        let measure = |drawn: &[&bool]| share(drawn.iter().map(|yes| **yes));
        let interval = bootstrap(&all, measure);
        assert!(interval.low <= 0.2 && interval.high >= 0.2 && interval.value == 0.2);
        assert_eq!(interval, bootstrap(&all, measure));
    }
}
