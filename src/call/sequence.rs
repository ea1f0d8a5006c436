//! Fresh, redelivered or after a gap: what an event's place in its call tells.

use std::num::NonZero;

use serde::{Deserialize, Serialize};

use crate::record::Timestamp;

/// How an event stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Applied before: a redelivery.
    Duplicate,
    /// New, with the number of events that seem to have been lost before it.
    Fresh { lost: u64 },
}

/// Events of the source with ids are remembered up to this many back.
const REMEMBERED_IDS: usize = 16;
/// The highest alone.
const ONE: NonZero<u64> = NonZero::<u64>::MIN;
/// `seq`s are told apart up to this far behind the highest.
const WINDOW: u64 = 64;

/// What has been seen of a call's numbering. Fixed size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    /// Highest `seq`, and which of the 64 up to it were seen (bit 0 is the highest).
    highest: Option<(u64, NonZero<u64>)>,
    /// Hashes of the last ids, newest last.
    ids: Vec<u32>,
    /// Events applied.
    pub applied: u32,
    /// Running hash of their `seq`s: lets an outside checker prove that none was lost or applied twice.
    pub applied_hash: u64,
    /// Number of the last event in the call.
    pub last: u64,
    /// What is added to the source's `seq`: 0, but in a later leg whose numbering began anew.
    #[serde(skip)]
    pub base: u64,
    /// A `seq` far ahead of all others, which no other has borne out.
    #[serde(skip)]
    pub leapt: Option<u64>,
    /// When the leg began in which the call is.
    #[serde(skip)]
    pub leg_began: Option<Timestamp>,
}

/// Where a `seq` stands among those that were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// The first to be believed.
    First,
    Next {
        lost: u64,
    },
    /// It was missing until now.
    Late,
    /// Or so long behind that it must have been.
    Seen,
    /// Further ahead than the window reaches: a slip of the source, by which all that follow would be redeliveries, unless
    /// another bears it out. Until then it is numbered by its arrival.
    Leap,
}

impl Sequence {
    pub fn place(&self, seq: Option<u64>, event_id: Option<&str>) -> Place {
        if event_id.is_some_and(|id| self.ids.contains(&hash32(id))) {
            return Place::Duplicate;
        }
        let Some(seq) = seq else {
            return Place::Fresh { lost: 0 };
        };
        match self.stand(seq) {
            Stand::Next { lost } => Place::Fresh { lost },
            Stand::Seen => Place::Duplicate,
            Stand::Leap if self.ids.contains(&hash_of_leap(seq)) => Place::Duplicate,
            Stand::First | Stand::Late | Stand::Leap => Place::Fresh { lost: 0 },
        }
    }

    fn stand(&self, seq: u64) -> Stand {
        let Some((highest, seen)) = self.highest else {
            return Stand::First;
        };
        if self.leapt == Some(seq) {
            return Stand::Seen;
        }
        if let Some(ahead) = seq.checked_sub(highest).filter(|ahead| *ahead > 0) {
            return match self.leapt {
                _ if ahead < WINDOW => Stand::Next { lost: ahead - 1 },
                Some(leapt) if leapt.abs_diff(seq) < WINDOW => Stand::Next {
                    lost: seq.max(leapt) - highest - 2,
                },
                _ => Stand::Leap,
            };
        }
        let behind = highest - seq;
        match behind < WINDOW {
            true if seen.get() >> behind & 1 == 1 => Stand::Seen,
            true => Stand::Late,
            // The highest stands alone: it was the slip.
            false if seen == ONE => Stand::First,
            false => Stand::Seen,
        }
    }

    /// The number in the call of an event that comes now.
    pub fn number(&self, seq: Option<u64>) -> u64 {
        match seq {
            Some(seq) if self.stand(seq) != Stand::Leap => self.base.saturating_add(seq),
            _ => self.last + u64::from(self.applied > 0),
        }
    }

    /// A new leg of the call begins with this event: where its source counts anew, the numbers go on behind all that were.
    pub fn begin_leg(&mut self, seq: Option<u64>, event_id: Option<&str>) {
        if event_id.is_some_and(|id| self.ids.contains(&hash32(id))) {
            return;
        }
        if let (Some(seq), Some((highest, _))) = (seq, self.highest)
            && seq <= highest
        {
            self.base = self.base.saturating_add(highest + 1 - seq);
            (self.highest, self.leapt) = (None, None);
        }
    }

    /// Higher than all that were seen.
    pub fn is_ahead(&self, seq: u64) -> bool {
        self.highest.is_some_and(|(highest, _)| seq > highest) && self.leapt != Some(seq)
    }

    /// Takes a fresh event in and returns its number in the call.
    pub fn take(&mut self, seq: Option<u64>, event_id: Option<&str>) -> u64 {
        let number = self.number(seq);
        self.skip(seq, event_id);
        self.last = number;
        self.applied += 1;
        self.applied_hash = mix(self.applied_hash, number);
        number
    }

    /// Remembers a fresh event that is not applied.
    pub fn skip(&mut self, seq: Option<u64>, event_id: Option<&str>) {
        if let Some(id) = event_id {
            self.remember(hash32(id));
        }
        if let Some(seq) = seq {
            self.see(seq);
        }
    }

    fn remember(&mut self, id: u32) {
        if self.ids.len() == REMEMBERED_IDS {
            self.ids.remove(0);
        }
        self.ids.push(id);
    }

    fn see(&mut self, seq: u64) {
        let (highest, seen) = self.highest.unwrap_or((seq, ONE));
        match self.stand(seq) {
            Stand::First => {
                self.leapt = self.highest.map(|(alone, _)| alone);
                self.highest = Some((seq, ONE));
            }
            Stand::Late | Stand::Seen => {
                let behind = highest.saturating_sub(seq).min(WINDOW - 1);
                self.highest = Some((highest, seen | 1 << behind));
            }
            Stand::Next { .. } => {
                // Where a leap is borne out, what was before it lies outside the window.
                let borne_out = seq - highest >= WINDOW;
                let leapt = self.leapt.filter(|_| borne_out);
                let top = leapt.map_or(seq, |leapt| leapt.max(seq));
                let before = seen.get().checked_shl((top - highest).min(WINDOW) as u32).unwrap_or(0);
                let also = leapt.map_or(0, |leapt| 1 << (top - leapt.min(seq)));
                self.highest = Some((top, ONE | before | also));
                // Counting that has come near it by itself shows that it was a slip.
                self.leapt = self.leapt.filter(|leapt| !borne_out && leapt.abs_diff(top) >= WINDOW);
            }
            Stand::Leap => {
                self.leapt = Some(seq);
                self.remember(hash_of_leap(seq));
            }
        }
    }
}

/// Leaps are remembered among the ids.
fn hash_of_leap(seq: u64) -> u32 {
    hash32(&format!("leap {seq}"))
}

/// One step of the running hash (SplitMix64's finaliser over the sum): cheap, and any change of order shows.
pub fn mix(hash: u64, seq: u64) -> u64 {
    let mut z = hash
        .rotate_left(5)
        .wrapping_add(seq)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a.
fn hash32(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_and_gaps_are_told_apart() {
        let mut sequence = Sequence::default();
        for seq in [0, 1, 4] {
            sequence.take(Some(seq), None);
        }
        assert_eq!(sequence.place(Some(1), None), Place::Duplicate);
        assert_eq!(
            sequence.place(Some(3), None),
            Place::Fresh { lost: 0 },
            "it was late, not lost"
        );
        assert_eq!(sequence.place(Some(7), None), Place::Fresh { lost: 2 });
        sequence.take(Some(3), None);
        assert_eq!(sequence.place(Some(3), None), Place::Duplicate);
    }

    #[test]
    fn a_slip_in_one_number_makes_no_redeliveries_of_the_others() {
        for slip in [u64::MAX, 5_000_000_000, 1_000, 70] {
            let mut sequence = Sequence::default();
            let numbers = [0, 1, slip, 2, 3].map(|seq| {
                assert_eq!(sequence.place(Some(seq), None), Place::Fresh { lost: 0 }, "{seq}");
                sequence.take(Some(seq), None)
            });
            assert_eq!(numbers, [0, 1, 2, 2, 3]);
            assert_eq!(sequence.place(Some(slip), None), Place::Duplicate);
            // Where counting comes by, it is a number like others.
            if slip < 2_000 {
                for seq in 4..slip + 5 {
                    assert_eq!(
                        sequence.place(Some(seq), None),
                        Place::Fresh { lost: 0 },
                        "{seq} of {slip}"
                    );
                    assert_eq!(sequence.take(Some(seq), None), seq);
                }
            }
            let mut sequence = Sequence::default();
            for seq in [slip, 0, 1] {
                assert_eq!(sequence.place(Some(seq), None), Place::Fresh { lost: 0 });
                assert_eq!(sequence.take(Some(seq), None), seq);
            }
            assert_eq!(sequence.place(Some(slip), None), Place::Duplicate);
        }
    }

    #[test]
    fn a_wide_gap_is_one_once_a_second_number_bears_it_out() {
        let mut sequence = Sequence::default();
        (0..3).for_each(|seq| assert_eq!(sequence.take(Some(seq), None), seq));
        assert_eq!(sequence.take(Some(500), None), 3);
        assert_eq!(sequence.place(Some(501), None), Place::Fresh { lost: 497 });
        assert_eq!(sequence.take(Some(501), None), 501);
        for seq in [500, 501, 2] {
            assert_eq!(sequence.place(Some(seq), None), Place::Duplicate);
        }
        assert_eq!(sequence.place(Some(502), None), Place::Fresh { lost: 0 });
    }

    #[test]
    fn a_gap_as_wide_as_the_window_repeats_nothing() {
        for wide in [63, 64, 65] {
            let mut sequence = Sequence::default();
            (0..=10).for_each(|seq| assert_eq!(sequence.take(Some(seq), None), seq));
            sequence.take(Some(10 + wide), None);
            for seq in (0..=10).chain([10 + wide]) {
                assert_eq!(
                    sequence.place(Some(seq), None),
                    Place::Duplicate,
                    "{seq} after a gap of {wide}"
                );
            }
        }
        let mut sequence = Sequence::default();
        for seq in [0, 1, 1_000, 2_000] {
            assert_eq!(sequence.place(Some(seq), None), Place::Fresh { lost: 0 });
            sequence.take(Some(seq), None);
        }
        for seq in [1_000, 2_000] {
            assert_eq!(sequence.place(Some(seq), None), Place::Duplicate);
        }
    }

    #[test]
    fn a_leg_that_counts_anew_goes_on_behind_the_one_before() {
        let mut sequence = Sequence::default();
        assert_eq!((0..5).map(|seq| sequence.take(Some(seq), Some("a"))).last(), Some(4));
        sequence.begin_leg(Some(0), Some("b"));
        assert_eq!(sequence.place(Some(0), Some("b")), Place::Fresh { lost: 0 });
        let numbers = [0, 1, 2].map(|seq| sequence.take(Some(seq), None));
        assert_eq!(numbers, [5, 6, 7]);
        assert_eq!(sequence.place(Some(1), None), Place::Duplicate);
        sequence.begin_leg(Some(3), None);
        assert_eq!(sequence.take(Some(3), None), 8, "one that counts on needs nothing");
        sequence.begin_leg(Some(2), Some("a"));
        assert_eq!(
            sequence.place(Some(2), Some("a")),
            Place::Duplicate,
            "a redelivery begins no leg"
        );
    }

    #[test]
    fn without_seq_an_event_is_numbered_by_its_arrival() {
        let mut sequence = Sequence::default();
        let numbers: Vec<u64> = (0..3).map(|_| sequence.take(None, Some("x"))).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(sequence.place(None, Some("x")), Place::Duplicate);
        assert_eq!(sequence.place(None, None), Place::Fresh { lost: 0 });
    }
}
