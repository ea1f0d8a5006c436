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

/// A share with Wilson's 95 % interval, which does not shrink to nothing where none or all do: of a thousand calls without
/// a page it is not known that none ever will. Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), 209–212.
pub fn share_of(all: impl Iterator<Item = bool>) -> Interval {
    const Z: f64 = 1.959_964;
    let (yes, n) = all.fold((0usize, 0usize), |(yes, n), one| (yes + usize::from(one), n + 1));
    let (share, count) = (yes as f64 / n as f64, n as f64);
    let middle = (share + Z * Z / (2.0 * count)) / (1.0 + Z * Z / count);
    let half = Z / (1.0 + Z * Z / count) * (share * (1.0 - share) / count + Z * Z / (4.0 * count * count)).sqrt();
    Interval {
        value: share,
        low: if yes == 0 { 0.0 } else { middle - half },
        high: if yes == n { 1.0 } else { middle + half },
        n,
    }
}

/// How much more often the first of each pair holds than the second, with a 95 % interval that does not shrink to nothing
/// where no pair differs. Source: R. G. Newcombe, Statist. Med. 17 (1998), 2635–2650, method 10.
pub fn difference_of_shares(pairs: &[(bool, bool)]) -> Interval {
    let count = |which: (bool, bool)| pairs.iter().filter(|pair| **pair == which).count() as f64;
    let (both, first, second, neither) = (
        count((true, true)),
        count((true, false)),
        count((false, true)),
        count((false, false)),
    );
    let n = pairs.len() as f64;
    let one = share_of(pairs.iter().map(|pair| pair.0));
    let other = share_of(pairs.iter().map(|pair| pair.1));
    let margins = (both + first) * (second + neither) * (both + second) * (first + neither);
    let together = both * neither - first * second;
    let correlation = match together {
        _ if margins == 0.0 => 0.0,
        much if much > n / 2.0 => (much - n / 2.0) / margins.sqrt(),
        little if little >= 0.0 => 0.0,
        against => against / margins.sqrt(),
    };
    let reach = |up: f64, down: f64| (up * up - 2.0 * correlation * up * down + down * down).sqrt();
    let value = one.value - other.value;
    Interval {
        value,
        low: value - reach(one.value - one.low, other.high - other.value),
        high: value + reach(one.high - one.value, other.value - other.low),
        n: pairs.len(),
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
    fn the_interval_of_a_share_is_wilsons() {
        // Worked by hand, and as in Newcombe, Statist. Med. 17 (1998), 857–872, table I: 81 of 263, 15 of 148, 0 of 20.
        for (yes, n, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
        ] {
            let interval = share_of((0..n).map(|i| i < yes));
            assert!(
                (interval.low - low).abs() < 1e-4 && (interval.high - high).abs() < 1e-4,
                "{interval:?}"
            );
        }
        assert_eq!(share_of([true, true].into_iter()).high, 1.0);
        assert!(share_of(std::iter::empty()).value.is_nan());
    }

    #[test]
    fn the_interval_of_a_paired_difference_is_newcombes() {
        let pairs = |both: usize, first: usize, second: usize, neither: usize| {
            let all = [
                ((true, true), both),
                ((true, false), first),
                ((false, true), second),
                ((false, false), neither),
            ];
            let pairs = all
                .into_iter()
                .flat_map(|(pair, times)| std::iter::repeat_n(pair, times));
            difference_of_shares(&pairs.collect::<Vec<_>>())
        };
        // The first example of his table II.
        let interval = pairs(36, 12, 2, 0);
        assert!(
            (interval.low - 0.0569).abs() < 1e-4 && (interval.high - 0.3404).abs() < 1e-4,
            "{interval:?}"
        );
        let same = pairs(4, 0, 0, 1);
        assert!(same.value == 0.0 && same.low < -0.1 && same.high > 0.1, "{same:?}");
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
