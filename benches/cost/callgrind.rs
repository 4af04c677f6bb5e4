//! Counts instructions: each case runs in a separate process under callgrind, the mocks in this
//! process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde::Deserialize;
use tempfile::NamedTempFile;
use testkit::harness::Mocks;
use tokio::process::Command;

use crate::cases::{COUNTED, Case};
use crate::say;

/// Allowed difference between a count and the recorded one, in percent.
const TOLERANCE: f64 = 2.0;

/// Allowed difference in any case, in instructions a record: the compiler arranges the smallest case
/// anew with the code around it.
const SLACK: u64 = 20;

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.toml");

/// Instructions per record by case, and the environment in which they were counted.
#[derive(Debug, Deserialize)]
pub(crate) struct Instructions {
    pub(crate) rustc: String,
    pub(crate) arch: String,
    /// C library, whose functions are counted too.
    pub(crate) libc: String,
    #[serde(rename = "instructions")]
    pub(crate) by_case: BTreeMap<String, u64>,
}

/// Counts every case.
pub(crate) async fn measure() -> Result<Instructions, String> {
    let found = Command::new("valgrind").arg("--version").output().await;
    found.map_err(|error| {
        format!("valgrind is missing ({error}): install it, e.g. `apt-get install valgrind`")
    })?;
    let mut counts = BTreeMap::new();
    for case in Case::ALL {
        let count = count(case).await?;
        say(&format!(
            "{:>9} instructions a record  {}",
            thousands(count),
            case.name
        ));
        counts.insert(case.name.to_owned(), count);
    }
    let rustc = output_of("rustc", &["--version"]).await?;
    let rustc = rustc
        .split_whitespace()
        .nth(1)
        .ok_or("rustc does not print its version")?
        .to_owned();
    let libc = output_of("getconf", &["GNU_LIBC_VERSION"]).await?;
    Ok(Instructions {
        rustc,
        arch: std::env::consts::ARCH.to_owned(),
        libc,
        by_case: counts,
    })
}

async fn count(case: Case) -> Result<u64, String> {
    let mocks = Mocks::start().await;
    let file = NamedTempFile::new().map_err(|error| error.to_string())?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command
        .args([
            "--tool=callgrind",
            "--quiet",
            &format!("--toggle-collect={COUNTED}"),
        ])
        .arg(format!("--callgrind-out-file={}", file.path().display()))
        .arg(program)
        .args(["--case", case.name])
        .args(
            mocks
                .variables()
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        )
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let status = command
        .status()
        .await
        .map_err(|error| format!("valgrind: {error}"))?;
    if !status.success() {
        return Err(format!("`{}` failed under callgrind: {status}", case.name));
    }
    if let Some(violation) = mocks.violations().first() {
        return Err(format!(
            "`{}` caused a protocol violation: {violation}",
            case.name
        ));
    }
    let total = total(file.path()).filter(|total| *total > 0);
    let total = total.ok_or_else(|| {
        format!(
            "`{}`: callgrind counted nothing inside {COUNTED}",
            case.name
        )
    })?;
    Ok(total / case.records as u64)
}

/// Returns the sum of all costs in callgrind's file.
fn total(path: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| {
        line.strip_prefix("summary:")
            .or_else(|| line.strip_prefix("totals:"))
    })?;
    line.trim().parse().ok()
}

/// Runs a program. Returns its standard output.
async fn output_of(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().await;
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Writes the counts to the file that [`check`] reads.
pub(crate) fn record(counted: &Instructions) -> Result<(), String> {
    let Instructions {
        rustc, arch, libc, ..
    } = counted;
    let mut text = format!(
        "# Instructions a 0.9 KB record, counted by callgrind. `make bench` writes this file, \
         `make bench-check` holds\n\
         # each count to {TOLERANCE} % of it, where it runs with the same toolchain, architecture \
         and C library.\n\
         rustc = \"{rustc}\"\narch = \"{arch}\"\nlibc = \"{libc}\"\n\n[instructions]\n",
    );
    for case in Case::ALL {
        let _ = writeln!(text, "\"{}\" = {}", case.name, counted.by_case[case.name]);
    }
    std::fs::write(RECORDED, text).map_err(|error| format!("{RECORDED}: {error}"))
}

/// Counts the instructions, and compares them with the recorded ones.
pub(crate) async fn check() -> Result<(), String> {
    let text = std::fs::read_to_string(RECORDED)
        .map_err(|error| format!("{RECORDED}: {error}; run `make bench`"))?;
    let recorded: Instructions =
        toml::from_str(&text).map_err(|error| format!("{RECORDED}: {error}"))?;
    let counted = measure().await?;
    let with = |of: &Instructions| format!("rustc {} on {} with {}", of.rustc, of.arch, of.libc);
    if with(&counted) != with(&recorded) {
        say(&format!(
            "bench: NOT HELD: recorded by {}, counted by {}",
            with(&recorded),
            with(&counted)
        ));
        return Ok(());
    }
    let mut differing = Vec::new();
    for case in Case::ALL {
        let now = counted.by_case[case.name];
        let Some(&before) = recorded.by_case.get(case.name) else {
            differing.push(format!("`{}` is not recorded", case.name));
            continue;
        };
        let percent = percent(before, now);
        if percent.abs() > TOLERANCE && now.abs_diff(before) > SLACK {
            differing.push(format!(
                "`{}` takes {now}, recorded {before}: {percent:+.1} %",
                case.name
            ));
        }
    }
    if differing.is_empty() {
        say(&format!(
            "bench: all counts are within {TOLERANCE} % of those recorded"
        ));
        return Ok(());
    }
    Err(format!(
        "instructions per record differ by more than {TOLERANCE} %:\n  {}\n\
         if that is intended, or this machine has another CPU or C library: \
         run `make bench`, which writes benches/instructions.toml, and commit it with the reason",
        differing.join("\n  ")
    ))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of instructions a record are far below 2^52"
)]
fn percent(before: u64, now: u64) -> f64 {
    (now as f64 / before as f64 - 1.0) * 100.0
}

/// Formats a number with separators: `12,345`.
pub(crate) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| str::from_utf8(group).expect("digits"))
        .collect();
    groups.join(",")
}
