//! Places at which a test ends the process as kill -9 would. Compiled with the feature `fail-points` alone.

/// Ends the process here where `CALLWARD_FAIL_POINT` says so: `after_drain:3` the third time that it comes by.
#[cfg(feature = "fail-points")]
pub(super) fn reach(point: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    static WANTED: OnceLock<Option<(String, AtomicI64)>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("CALLWARD_FAIL_POINT").ok()?;
        let (point, times) = text.split_once(':')?;
        Some((point.to_owned(), AtomicI64::new(times.parse().ok()?)))
    });
    if let Some((wanted, left)) = wanted
        && wanted == point
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}

#[cfg(not(feature = "fail-points"))]
pub(super) fn reach(_: &str) {}
