//! contact-sync-admin, the operator's tool: one file for each command.
//!
//! The tool reads the deployed settings as the function does. Exit codes: 0, success; 1, a check
//! failed or work is left, and the output names it; 2, wrong usage.

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

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use self::deployment::Target;
use self::failure::Failure;
use self::output::Output;

/// Inspects contact-sync's queues, settings and streams, and puts rejected changes back.
#[derive(Debug, Parser)]
#[command(
    name = "contact-sync-admin",
    version,
    arg_required_else_help = true,
    after_help = AFTER_HELP
)]
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
Settings have the sources of the function: the variables CONTACT_SYNC_PRESET, CONTACT_SYNC_CONFIG
and CONTACT_SYNC__SECTION__KEY of this shell; with --function those of a deployed function,
overridden by those of this shell. Credentials and region come from the variables of the AWS SDK
(AWS_PROFILE, AWS_REGION, …).

Exit codes: 0 success; 1 a check failed or work is left; 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    DeadLetters(dead_letters::Args),
    Replay(replay::Args),
    Doctor(doctor::Args),
    Settings(settings::Args),
    Preview(preview::Args),
    ChangeSchema(change_schema::Args),
}

/// Exit code of a failed check, of work that is left, and of a failure.
const WORK_LEFT: u8 = 1;

/// Exit code of wrong usage, the same as clap's.
const WRONG_USAGE: u8 = 2;

/// Result of a command: `true` for success; `false` becomes the exit code 1.
type CommandResult = Result<bool, Failure>;

/// Runs the tool with `arguments`, the first of which is the program's name. Returns the exit code.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let Cli {
        command,
        target,
        json,
    } = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(refusal) => return refuse(&refusal),
    };
    let output = Output::new(json);
    let result = match command {
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
    match result {
        Ok(true) => 0,
        Ok(false) => WORK_LEFT,
        Err(failure) => {
            output.failure(&failure);
            if failure.is_usage {
                WRONG_USAGE
            } else {
                WORK_LEFT
            }
        }
    }
}

/// Prints the help, or the reason for which clap refuses the arguments. Returns the exit code.
fn refuse(refusal: &clap::Error) -> u8 {
    // A closed pipe (`| head`) is no failure.
    let _ = refusal.print();
    u8::try_from(refusal.exit_code()).unwrap_or(WRONG_USAGE)
}
