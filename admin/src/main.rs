//! contact-sync-admin, the operator's tool: one file for each command.
//!
//! It reads the deployed settings as the function does, and leaves as soon as its answer is
//! written. Exit codes: 0, everything is as it should be; 1, something is wrong or left undone, and
//! the output says what; 2, wrong usage.

mod bucket;
mod change_schema;
mod confirm;
mod dead_letters;
mod deployment;
mod doctor;
mod failed_message;
mod failure;
mod filter;
mod guard;
mod kinesis_producer;
mod output;
mod preview;
mod queue;
mod replay;
mod replay_flag;
mod settings;
mod stream;
mod time_arg;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::deployment::Target;
use self::failure::Failure;
use self::output::Output;

/// Looks into contact-sync's queues, settings and streams, and puts back what was rejected.
#[derive(Debug, Parser)]
#[command(name = "contact-sync-admin", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    target: Target,
    /// Print JSON to standard output, for programs
    #[arg(long, global = true)]
    json: bool,
}

const AFTER_HELP: &str = "\
Settings come from where the function has them: the variables CONTACT_SYNC_PRESET, CONTACT_SYNC_CONFIG and
CONTACT_SYNC__SECTION__KEY of this shell, or, with --function, of a deployed function, those of this shell over them.
Credentials and region come from the variables of the AWS SDK (AWS_PROFILE, AWS_REGION, …).

Exit codes: 0 all is well; 1 something is wrong or left undone; 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    DeadLetters(dead_letters::Args),
    Replay(replay::Args),
    Doctor(doctor::Args),
    Settings(settings::Args),
    Preview(preview::Args),
    ChangeSchema(change_schema::Args),
}

/// The exit code of wrong usage, as clap has it.
const WRONG_USAGE: u8 = 2;

/// Whether everything is as it should be; `false` becomes the exit code 1.
type Outcome = Result<bool, Failure>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Cli {
        command,
        target,
        json,
    } = Cli::parse();
    let output = Output::new(json);
    let outcome = match command {
        Command::DeadLetters(args) => dead_letters::run(&args, &target, output).await,
        Command::Replay(args) => replay::run(&args, &target, output).await,
        Command::Doctor(args) => doctor::run(&args, &target, output).await,
        Command::Settings(args) => settings::run(&args, &target, output).await,
        Command::Preview(args) => preview::run(&args, &target, output).await,
        Command::ChangeSchema(_) => {
            change_schema::run(output);
            Ok(true)
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            output.failure(&failure);
            if failure.is_usage {
                ExitCode::from(WRONG_USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
