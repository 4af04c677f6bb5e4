//! Which random cases run, and where it is written down what they came to.

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

/// The seeds to run: the first `count`; `SEED=n` that one alone; `SCHEDULES=n` the first n;
/// `SOAK_MINUTES=n` new ones until the time is up.
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

/// Runs a case. Where it panics, its seed is named besides what the panic itself has said.
pub fn case<T>(seed: u64, case: impl FnOnce() -> T) -> T {
    ended(seed, catch_unwind(AssertUnwindSafe(case)))
}

/// The same of a case that has ended: `AssertUnwindSafe(case).catch_unwind().await`.
pub fn ended<T>(seed: u64, ended: thread::Result<T>) -> T {
    ended.unwrap_or_else(|_| panic!("SEED={seed}: the case panicked, as is said above"))
}

/// A line for the end of `make test`.
pub fn tell(name: &str, what: impl Display) {
    // Below the package's folder, in which cargo runs tests.
    let folder = Path::new("target/tmp/evidence");
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join(name), format!("{name:<14} {what}\n")).expect("written");
}
