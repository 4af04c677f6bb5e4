//! Benchmark of contact-sync: instructions per record by callgrind, and whole runs of the binary
//! with a Runtime API.
//!
//! `make bench` measures everything and writes `instructions.toml`, `report.md`, the plots, and the
//! blocks of the documentation that hold its figures; `make bench-check` compares only the instructions with the recorded ones. `benches/README.md`
//! explains the method and the results.

mod callgrind;
mod cases;
mod first;
mod formats;
mod lag;
mod month;
mod plot;
mod process;
mod record;
mod report;
mod roots;
mod tables;

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
        ["--lag"] => print_lag(100).await,
        ["--lag", percent] => match percent.parse() {
            Ok(percent) => print_lag(percent).await,
            Err(_) => Err("--lag takes the length of the streams in percent".to_owned()),
        },
        ["--month"] => month::measure()
            .await
            .map(|months| say(&tables::cost_tables(&months))),
        ["--client", name] => roots::build(name),
        ["--roots"] => roots::measure().map(|roots| say(&roots::table(&roots))),
        [] => measure_all().await,
        _ => Err(
            "allowed: --check, --process, --first, --lag, --month, --roots, or nothing to \
                  measure and write everything"
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

async fn print_lag(percent: u32) -> Result<(), String> {
    let lags = lag::measure(percent).await?;
    say(&tables::lag_tables(&lags));
    say(&tables::best_table(&lags));
    Ok(())
}

async fn measure_all() -> Result<(), String> {
    let instructions = callgrind::measure().await?;
    callgrind::record(&instructions)?;
    let process = process::measure().await?;
    let first = first::measure().await?;
    let roots = roots::measure()?;
    let months = month::measure().await?;
    let lags = lag::measure(100).await?;
    report::write(&report::Figures {
        counted: &instructions,
        measured: &process,
        first: &first,
        roots: &roots,
        months: &months,
        lags: &lags,
    })
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its result")]
fn say(line: &str) {
    println!("{line}");
}
