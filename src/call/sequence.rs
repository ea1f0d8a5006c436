//! Fresh, redelivered or after a gap: what an event's place in its call tells.

use serde::{Deserialize, Serialize};

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
/// `seq`s are told apart up to this far behind the highest.
const WINDOW: u64 = 64;

/// What has been seen of a call's numbering. Fixed size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    /// Highest `seq`, and which of the 64 up to it were seen (bit 0 is the highest).
    highest: Option<(u64, u64)>,
    /// Hashes of the last ids, newest last.
    ids: Vec<u32>,
    /// Events applied.
    pub applied: u32,
    /// Running hash of their `seq`s: lets an outside checker prove that none was lost or applied twice.
    pub applied_hash: u64,
    /// `seq` of the last event, the source's or ours.
    pub last: u64,
}

impl Sequence {
    pub fn place(&self, seq: Option<u64>, event_id: Option<&str>) -> Place {
        if event_id.is_some_and(|id| self.ids.contains(&hash32(id))) {
            return Place::Duplicate;
        }
        let (Some(seq), Some((highest, seen))) = (seq, self.highest) else {
            return Place::Fresh { lost: 0 };
        };
        if seq > highest {
            return Place::Fresh {
                lost: seq - highest - 1,
            };
        }
        let behind = highest - seq;
        if behind >= WINDOW || seen >> behind & 1 == 1 {
            Place::Duplicate
        } else {
            Place::Fresh { lost: 0 }
        }
    }

    /// Takes a fresh event in and returns its number in the call.
    pub fn take(&mut self, seq: Option<u64>, event_id: Option<&str>) -> u64 {
        self.skip(seq, event_id);
        let number = seq.unwrap_or(if self.applied == 0 { 0 } else { self.last + 1 });
        self.last = number;
        self.applied += 1;
        self.applied_hash = mix(self.applied_hash, number);
        number
    }

    /// Remembers a fresh event that is not applied.
    pub fn skip(&mut self, seq: Option<u64>, event_id: Option<&str>) {
        if let Some(id) = event_id {
            if self.ids.len() == REMEMBERED_IDS {
                self.ids.remove(0);
            }
            self.ids.push(hash32(id));
        }
        if let Some(seq) = seq {
            self.highest = Some(match self.highest {
                Some((highest, seen)) if seq <= highest => (highest, seen | 1 << (highest - seq).min(WINDOW - 1)),
                Some((highest, seen)) => (seq, seen.checked_shl((seq - highest) as u32).unwrap_or(0) | 1),
                None => (seq, 1),
            });
        }
    }
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
    fn without_seq_an_event_is_numbered_by_its_arrival() {
        let mut sequence = Sequence::default();
        let numbers: Vec<u64> = (0..3).map(|_| sequence.take(None, Some("x"))).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(sequence.place(None, Some("x")), Place::Duplicate);
        assert_eq!(sequence.place(None, None), Place::Fresh { lost: 0 });
    }
}
