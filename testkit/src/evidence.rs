//! Selection of random cases, and reports of their results.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[expect(
    clippy::disallowed_methods,
    reason = "the tests' own arguments, not settings"
)]
fn argument(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Returns the seeds to run: by default the first `count`; with `SEED=n` seed n alone, with
/// `SCHEDULES=n` the first n, with `SOAK_MINUTES=n` new seeds for n minutes.
pub fn seeds(count: u64) -> Box<dyn Iterator<Item = u64>> {
    if let Some(seed) = argument("SEED") {
        return Box::new(std::iter::once(seed));
    }
    let Some(minutes) = argument("SOAK_MINUTES") else {
        return Box::new(0..argument("SCHEDULES").unwrap_or(count));
    };
    let end = Instant::now() + Duration::from_mins(minutes);
    let first = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_micros();
    let first = u64::try_from(first).expect("not so late");
    Box::new((first..).take_while(move |_| Instant::now() < end))
}

/// Runs a case. If the case panics, panics again with the seed.
pub fn case<T>(seed: u64, case: impl FnOnce() -> T) -> T {
    ended(seed, catch_unwind(AssertUnwindSafe(case)))
}

/// Unwraps the result of a case, `AssertUnwindSafe(case).catch_unwind().await`. If the case
/// panicked, panics again with the seed.
pub fn ended<T>(seed: u64, ended: thread::Result<T>) -> T {
    ended.unwrap_or_else(|_| panic!("SEED={seed}: the case panicked, see the panic above"))
}

/// Writes a line that `make test` prints at its end.
pub fn write_report(name: &str, result: impl Display) {
    // cargo runs tests in the folder of the package.
    let folder = Path::new("target/tmp/evidence");
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join(name), format!("{name:<14} {result}\n")).expect("written");
}
