//! contact-sync-admin, the operator's tool: one file for each command.
//!
//! The tool reads the deployed settings as the function does. Exit codes: 0, success; 1, a check
//! failed or work is left, and the output names it; 2, wrong usage; 3, `settings --check` found no
//! mistake and could not read the fields of a system.

mod bucket;
mod change_schema;
mod completions;
mod confirm;
mod dead_letters;
mod deployment;
mod doctor;
mod failed_message;
mod failure;
mod feed;
mod filter;
mod guard;
mod kinesis_producer;
mod man_pages;
mod output;
mod preview;
mod queue;
mod replay;
mod replay_flag;
mod settings;
mod source;
mod stream;
mod time_arg;

use std::ffi::OsString;

use aws_config::SdkConfig;
use clap::builder::Styles;
use clap::builder::styling::AnsiColor;
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
    max_term_width = 100,
    styles = STYLES,
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

/// Colours of the help, which clap leaves out where it is no terminal, and with `NO_COLOR`.
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const AFTER_HELP: &str = "\
Examples:
  contact-sync-admin doctor --function contact-sync-hubspot:live
  contact-sync-admin dead-letters summary --function contact-sync-hubspot:live
  contact-sync-admin preview events/mixed.json

Settings have the sources of the function: the variables CONTACT_SYNC_PRESET,
CONTACT_SYNC_CONFIG and CONTACT_SYNC__SECTION__KEY of this shell; with
--function those of a deployed function, overridden by those of this shell.
Credentials and region come from the variables and profiles of the AWS SDK
(AWS_PROFILE, AWS_REGION, …). Profiles of `aws sso login`, of `aws login` and
with a credential_process work too.

Exit codes: 0 success; 1 a check failed or work is left; 2 wrong usage;
3 `settings --check` could not read the fields of a system.
Colours are for terminals; NO_COLOR=1 switches them off.";

#[derive(Debug, Subcommand)]
enum Command {
    DeadLetters(dead_letters::Args),
    Replay(replay::Args),
    Doctor(doctor::Args),
    Settings(settings::Args),
    Preview(preview::Args),
    ChangeSchema(change_schema::Args),
    Source(source::Args),
    Completions(completions::Args),
    ManPages(man_pages::Args),
}

/// Exit code of a failed check, of work that is left, and of a failure.
const WORK_LEFT: u8 = 1;

/// Exit code of wrong usage, the same as clap's.
const WRONG_USAGE: u8 = 2;

/// Exit code of a check without a mistake that leaves something unchecked.
const CHECKED_IN_PART: u8 = 3;

/// Result of a command: `true` for success; `false` becomes the exit code 1.
type CommandResult = Result<bool, Failure>;

/// Ending of a command without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Everything is done, and no check failed.
    Complete,
    /// A check failed, or work is left.
    WorkLeft,
    /// No check failed, and some could not be made.
    CheckedInPart,
}

impl Ending {
    /// Returns the ending of a [`CommandResult`].
    fn of(is_complete: bool) -> Self {
        if is_complete {
            Self::Complete
        } else {
            Self::WorkLeft
        }
    }
}

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
            Ok(Ending::Complete) => 0,
            Ok(Ending::WorkLeft) => WORK_LEFT,
            Ok(Ending::CheckedInPart) => CHECKED_IN_PART,
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
    async fn run(&self, target: &Target, output: &Output) -> Result<Ending, Failure> {
        let result = match self {
            Self::DeadLetters(args) => dead_letters::run(args, target, output).await,
            Self::Replay(args) => replay::run(args, target, output).await,
            Self::Doctor(args) => doctor::run(args, target, output).await,
            Self::Settings(args) => return settings::run(args, target, output).await,
            Self::Preview(args) => preview::run(args, target, output).await,
            Self::Source(args) => source::run(args, target, output).await,
            Self::ChangeSchema(_) => {
                change_schema::run(output);
                Ok(true)
            }
            Self::Completions(args) => {
                completions::run(args, definition(target.registry), output);
                Ok(true)
            }
            Self::ManPages(args) => {
                man_pages::run(args, definition(target.registry)).map(|()| true)
            }
        };
        result.map(Ending::of)
    }
}

/// Returns the definition of the commands and their options. The options that name a destination
/// accept the systems of `registry`.
fn definition(registry: Registry) -> clap::Command {
    filter::with_destinations(Cli::command(), registry)
}

/// Parses the arguments.
fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    registry: Registry,
) -> Result<Cli, clap::Error> {
    let matches = definition(registry).try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

/// Prints the help, or the reason for which clap refuses the arguments. Returns the exit code.
fn refuse(refusal: &clap::Error) -> u8 {
    // A closed pipe (`| head`) is no failure.
    let _ = refusal.print();
    u8::try_from(refusal.exit_code()).unwrap_or(WRONG_USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Width of the narrowest terminal on which the help is not torn.
    const COLUMNS: usize = 80;

    /// Collects the commands of the tool, each with the words that call it.
    fn commands(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
        let path = format!("{path}{}", command.get_name());
        for inner in command.get_subcommands() {
            if inner.get_name() != "help" {
                commands(inner, &format!("{path} "), found);
            }
        }
        found.push((path, command.clone()));
    }

    fn all_commands() -> Vec<(String, clap::Command)> {
        let mut tool = definition(&REGISTRY).term_width(COLUMNS);
        tool.build();
        let mut found = Vec::new();
        commands(&tool, "", &mut found);
        assert!(found.len() > 10, "{}", found.len());
        found
    }

    /// Returns the text below the options.
    fn after_help(command: &clap::Command) -> String {
        let text = command.get_after_help().map(ToString::to_string);
        text.unwrap_or_default()
    }

    /// Returns the calls of the tool in a text, without redirections and pipes.
    fn examples(text: &str) -> Vec<String> {
        let text = text.replace("\\\n", " ");
        let calls = text.lines().filter(|line| line.starts_with("  "));
        let calls = calls.filter_map(|line| {
            let start = line.find("contact-sync-admin ")?;
            let call = line.get(start..)?;
            let end = call.find(" > ").unwrap_or(call.len());
            call.get(..end).map(str::to_owned)
        });
        calls.filter(|call| !call.starts_with('#')).collect()
    }

    #[test]
    fn each_command_has_examples_that_it_understands() {
        for (path, command) in all_commands() {
            let text = after_help(&command);
            assert!(text.starts_with("Examples:\n"), "{path}: {text}");
            let found = examples(&text);
            let own = found.iter().filter(|call| call.starts_with(&path));
            assert!(own.count() > 0, "{path}: {text}");
            for call in found {
                let words = call.split_whitespace().map(OsString::from);
                let parsed = parse(words, &REGISTRY);
                assert!(parsed.is_ok(), "{path}: {call}: {parsed:?}");
            }
        }
    }

    #[test]
    fn the_help_of_each_command_fits_a_narrow_terminal() {
        for (path, mut command) in all_commands() {
            let text = after_help(&command);
            for help in [command.render_help(), command.render_long_help()] {
                let help = help.to_string();
                for line in help.lines() {
                    assert!(line.chars().count() <= COLUMNS, "{path}: {line}");
                }
                assert!(
                    help.contains(&text),
                    "{path}: the text below is torn:\n{help}"
                );
            }
        }
    }

    #[test]
    fn the_definition_of_the_commands_is_consistent() {
        definition(&REGISTRY).debug_assert();
    }
}
