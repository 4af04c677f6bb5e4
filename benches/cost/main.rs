//! Benchmark of contact-sync: instructions per record by callgrind, and whole runs of the binary
//! with a Runtime API.
//!
//! `make bench` measures everything and writes `instructions.toml`, `report.md` and `report.svg`;
//! `make bench-check` compares only the instructions with the recorded ones. `benches/README.md`
//! explains the method and the results.

mod callgrind;
mod cases;
mod first;
mod plot;
mod process;
mod record;
mod report;

use std::process::ExitCode;

use crate::cases::Case;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    // cargo itself adds `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["--case", name, ref variables @ ..] => run_case(name, variables),
        ["--check"] => callgrind::check().await,
        ["--process"] => process::measure()
            .await
            .map(|measured| say(&report::process_table(&measured))),
        ["--first"] => first::measure()
            .await
            .map(|measured| say(&report::first_table(&measured))),
        [] => measure_all().await,
        _ => Err(
            "allowed: --check, --process, --first, or nothing to measure and write everything"
                .to_owned(),
        ),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run_case(name: &str, variables: &[&str]) -> Result<(), String> {
    let case = Case::ALL
        .into_iter()
        .find(|case| case.name == name)
        .ok_or_else(|| format!("no case `{name}`"))?;
    // The case needs a runtime with one thread, as that of the binary.
    std::thread::scope(|scope| {
        scope
            .spawn(|| case.run(variables))
            .join()
            .map_err(|_| format!("`{name}` panicked"))
    })
}

async fn measure_all() -> Result<(), String> {
    let instructions = callgrind::measure().await?;
    callgrind::record(&instructions)?;
    let process = process::measure().await?;
    let first = first::measure().await?;
    report::write(&instructions, &process, &first)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its result")]
fn say(line: &str) {
    println!("{line}");
}
