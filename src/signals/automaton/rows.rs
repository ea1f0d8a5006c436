//! Rows of phrases, each with all that is looked at where it stands in one piece: a turn meets some twenty of thousands
//! of rows, and what it waits for is memory.

use super::{ALWAYS, Audience, ClassId};

/// Where a row begins in [`Rows`].
pub type RowId = u32;

/// A rule to look at, and the two rarest classes that it wants beside its anchor: most rules are dismissed by these alone,
/// without a look at the rule.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub rule: u32,
    pub wants: [ClassId; 2],
}

impl Look {
    fn packed(self) -> u64 {
        u64::from(self.rule) << 32 | u64::from(self.wants[0]) << 16 | u64::from(self.wants[1])
    }

    fn of(packed: u64) -> Self {
        Self {
            rule: (packed >> 32) as u32,
            wants: [(packed >> 16) as ClassId, packed as ClassId],
        }
    }
}

/// What is known of one row.
#[derive(Debug, Default)]
pub struct Row {
    /// Classes that hold one of its phrases and may stand beside an anchor, ascending.
    pub classes: Vec<ClassId>,
    /// How many of them, the first ones, are wanted.
    pub wanted: usize,
    /// Rules to look at, by [`Audience`].
    pub looks: [Vec<Look>; 2],
}

/// All rows, packed: a head, the wanted classes as parts of a [`Wanted`], the looks of callers, those of agents. The
/// classes are asked for seldom and lie apart.
#[derive(Default)]
pub struct Rows {
    packed: Vec<u64>,
    classes: Vec<ClassId>,
}

/// Words before the wanted classes: how many of these and of the looks there are, and where the classes lie.
const HEAD: usize = 3;

fn pair(high: usize, low: usize) -> u64 {
    (high as u64) << 32 | low as u64
}

fn high(word: u64) -> usize {
    (word >> 32) as usize
}

fn low(word: u64) -> usize {
    word as u32 as usize
}

impl Rows {
    pub fn push(&mut self, row: &Row) -> RowId {
        let begin = self.packed.len();
        let wanted = Wanted::parts(&row.classes[..row.wanted]);
        let [callers, agents] = &row.looks;
        self.packed.extend([
            pair(wanted.len(), callers.len()),
            pair(agents.len(), row.classes.len()),
            self.classes.len() as u64,
        ]);
        self.packed.extend(wanted);
        self.packed
            .extend(callers.iter().chain(agents).map(|look| look.packed()));
        self.classes.extend_from_slice(&row.classes);
        u32::try_from(begin).expect("no lexicon fills 32 GiB")
    }

    /// The wanted classes that hold a phrase of a row.
    fn wanted(&self, row: RowId) -> &[u64] {
        let head = row as usize;
        &self.packed[head + HEAD..][..high(self.packed[head])]
    }

    /// The rules to look at where a row stands.
    pub fn looks(&self, row: RowId, audience: Audience) -> impl ExactSizeIterator<Item = Look> + '_ {
        let head = row as usize;
        let (wanted, callers) = (high(self.packed[head]), low(self.packed[head]));
        let looks = &self.packed[head + HEAD + wanted..];
        let of_audience = match audience {
            Audience::Caller => &looks[..callers],
            Audience::Agent => &looks[callers..][..high(self.packed[head + 1])],
        };
        of_audience.iter().map(|packed| Look::of(*packed))
    }

    /// Whether a row is one of a class that may stand beside an anchor.
    pub fn is_of(&self, row: RowId, class: ClassId) -> bool {
        let head = row as usize;
        let (from, count) = (low(self.packed[head + 2]), low(self.packed[head + 1]));
        self.classes[from..from + count].binary_search(&class).is_ok()
    }
}

/// Wanted classes that hold a phrase of a text, as bits. Classes that share their commonest phrase have neighbouring
/// numbers, so the hundreds that hold "my" fill a few words.
#[derive(Debug)]
pub struct Wanted([u64; Self::WORDS]);

impl Wanted {
    /// Room for 14,336. In a lexicon with more of them some share a bit: then more rules are looked at, and none is missed.
    const WORDS: usize = 256;
    /// Of 64: the others tell which word it is, where a part of it stands in a row.
    const BITS_USED: ClassId = 56;

    /// As many classes as have numbers.
    pub const MOST_CLASSES: usize = (1 << 16) / 64 * Self::BITS_USED as usize - 1;

    /// Numbers of classes, beside [`ALWAYS`].
    pub fn numbers() -> impl Iterator<Item = ClassId> {
        (ALWAYS + 1..=ClassId::MAX).filter(|number| number % 64 < Self::BITS_USED)
    }

    const fn word_of(class: ClassId) -> usize {
        class as usize / 64 % Self::WORDS
    }

    /// Ascending classes as parts: 56 bits of a word, then its place.
    fn parts(classes: &[ClassId]) -> Vec<u64> {
        let mut parts: Vec<u64> = Vec::new();
        for class in classes {
            let (word, bit) = (Self::word_of(*class) as u64, 1u64 << (class % 64));
            match parts.last_mut() {
                Some(part) if *part >> Self::BITS_USED == word => *part |= bit,
                _ => parts.push(word << Self::BITS_USED | bit),
            }
        }
        parts
    }

    pub fn clear(&mut self) {
        self.0.fill(0);
        self.0[Self::word_of(ALWAYS)] = 1 << ALWAYS;
    }

    pub fn add(&mut self, rows: &Rows, row: RowId) {
        for part in rows.wanted(row) {
            // The place comes along as bits that no class has.
            self.0[(part >> Self::BITS_USED) as usize] |= part;
        }
    }

    pub fn has(&self, class: ClassId) -> bool {
        self.0[Self::word_of(class)] >> (class % 64) & 1 == 1
    }
}

impl Default for Wanted {
    fn default() -> Self {
        Self([0; Self::WORDS])
    }
}
