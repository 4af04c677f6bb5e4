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

use aws_config::SdkConfig;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use contact_sync::adapters::{REGISTRY, Registry};

use self::deployment::Target;
use self::failure::Failure;
use self::output::Output;
pub use self::output::Streams;

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

/// The tool, with everything that it takes from its surroundings.
pub struct Tool {
    /// Systems that the settings may name.
    pub registry: Registry,
    /// Variables of the environment. Those of the process replace them.
    pub variables: Vec<(OsString, OsString)>,
    /// Configuration of AWS clients; without one, that of the environment.
    pub aws: Option<SdkConfig>,
    /// Streams that the tool writes to.
    pub streams: Streams,
}

impl Tool {
    /// Returns the tool of the function's systems, in the environment of the process.
    pub fn of_process() -> Self {
        Self {
            registry: &REGISTRY,
            variables: Vec::new(),
            aws: None,
            streams: Streams::of_process(),
        }
    }

    /// Runs the tool with `arguments`, the first of which is the program's name. Returns the exit
    /// code.
    pub async fn run(self, arguments: impl IntoIterator<Item = OsString>) -> u8 {
        let Cli {
            command,
            mut target,
            json,
        } = match parse(arguments, self.registry) {
            Ok(cli) => cli,
            Err(refusal) => return refuse(&refusal),
        };
        target.registry = self.registry;
        target.variables = self.variables;
        target.aws = self.aws;
        let output = Output::new(json, self.streams);
        match Box::pin(command.run(&target, &output)).await {
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
}

impl Command {
    async fn run(&self, target: &Target, output: &Output) -> CommandResult {
        match self {
            Self::DeadLetters(args) => dead_letters::run(args, target, output).await,
            Self::Replay(args) => replay::run(args, target, output).await,
            Self::Doctor(args) => doctor::run(args, target, output).await,
            Self::Settings(args) => settings::run(args, target, output).await,
            Self::Preview(args) => preview::run(args, target, output).await,
            Self::ChangeSchema(_) => {
                change_schema::run(output);
                Ok(true)
            }
        }
    }
}

/// Parses the arguments. The options that name a destination accept the systems of `registry`.
fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    registry: Registry,
) -> Result<Cli, clap::Error> {
    let matches =
        filter::with_destinations(Cli::command(), registry).try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

/// Prints the help, or the reason for which clap refuses the arguments. Returns the exit code.
fn refuse(refusal: &clap::Error) -> u8 {
    // A closed pipe (`| head`) is no failure.
    let _ = refusal.print();
    u8::try_from(refusal.exit_code()).unwrap_or(WRONG_USAGE)
}
