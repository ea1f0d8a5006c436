use std::fmt;
use std::num::NonZero;

/// Event time, in milliseconds since 1970 UTC. Never 0, so that a time that may be missing takes no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(NonZero<i64>);

const YEAR_2000: i64 = 946_684_800_000;
const YEAR_2101: i64 = 4_133_980_800_000;

impl Timestamp {
    /// 0 is taken for 1: neither can be the time of an event.
    pub const fn from_millis(millis: i64) -> Self {
        match NonZero::new(millis) {
            Some(millis) => Self(millis),
            None => Self(NonZero::new(1).expect("one is not zero")),
        }
    }

    pub const fn millis(self) -> i64 {
        self.0.get()
    }

    /// Reads RFC 3339 with any offset and up to nine decimals; `None` outside the years 2000 to 2100, so that old
    /// calls can be replayed while impossible times are refused.
    pub fn parse(text: &str) -> Option<Self> {
        let at: jiff::Timestamp = text.parse().ok()?;
        let millis = at.as_millisecond();
        (YEAR_2000..YEAR_2101)
            .contains(&millis)
            .then(|| Self::from_millis(millis))
    }

    pub const fn plus_millis(self, millis: i64) -> Self {
        Self::from_millis(self.millis().saturating_add(millis))
    }

    pub const fn plus_seconds(self, seconds: u32) -> Self {
        self.plus_millis(seconds as i64 * 1000)
    }

    /// Seconds from `earlier` to here; negative where the clock of the source ran backwards.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.millis() - earlier.millis()) as f64 / 1000.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.millis()) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{}", self.millis()),
        }
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time between 2000 and 2100"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_offset_and_up_to_nine_decimals_are_read() {
        let expected = Timestamp::parse("2026-05-04T09:12:03.529Z").unwrap();
        assert_eq!(Timestamp::parse("2026-05-04T02:12:03.529000001-07:00"), Some(expected));
        assert_eq!(expected.to_string(), "2026-05-04T09:12:03.529Z");
        assert_eq!(
            Timestamp::parse("2026-05-04T09:12:03Z").unwrap().to_string(),
            "2026-05-04T09:12:03.000Z"
        );
    }

    #[test]
    fn impossible_times_are_refused() {
        for text in [
            "",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2101-01-01T00:00:00Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
