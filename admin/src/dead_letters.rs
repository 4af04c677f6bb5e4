//! `dead-letters`: lists, shows and counts the dead letters of a queue. Every message that is
//! received is released again.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::CommandResult;
use super::deployment::Target;
use super::failed_message::{self, FailedMessage};
use super::failure::Failure;
use super::filter::Filter;
use super::output::{Output, table};
use super::queue::{Depth, Held, Message, Queue};
use super::time_arg;

/// Visibility timeout of received messages, in seconds: for this long other readers do not see
/// them if the tool dies before it releases them.
const HIDDEN_SECS: i32 = 60;

/// Inspect the dead-letter queue: rejected changes and the reasons
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  contact-sync-admin dead-letters summary --function contact-sync-hubspot:live
  contact-sync-admin dead-letters list --since 1d \\
    --function contact-sync-hubspot:live
  contact-sync-admin dead-letters show e-4711 \\
    --function contact-sync-hubspot:live

Other readers do not see a message for a moment while the tool reads it. The
tool deletes no message. Only `show --reveal` prints names, addresses and other
data of contacts, the record's data byte for byte: treat its output as contact
data. Without --reveal, `show` prints the messages of contact-sync itself,
which quote no value, and hides the messages of the destinations.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// Read this queue instead of the one in the settings; a queue of the mapping's on-failure
    /// messages is allowed too
    #[arg(long, global = true, value_name = "URL")]
    queue_url: Option<String>,
    /// Read at most N messages
    #[arg(long, global = true, value_name = "N", default_value_t = 10_000)]
    most: usize,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print one line for each dead letter, the newest first
    #[command(after_help = "\
Examples:
  contact-sync-admin dead-letters list --function contact-sync-hubspot:live
  contact-sync-admin dead-letters list --function contact-sync-hubspot:live \\
    --code TOO_LONG --since 1d
  contact-sync-admin dead-letters list --json \\
    --function contact-sync-hubspot:live")]
    List {
        /// Print at most N dead letters
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        filter: Filter,
    },
    /// Print one dead letter with all its fields
    #[command(after_help = "\
Examples:
  contact-sync-admin dead-letters show e-4711 \\
    --function contact-sync-hubspot:live
  contact-sync-admin dead-letters show e-4711 --reveal \\
    --function contact-sync-hubspot:live")]
    Show {
        /// The message's id, the event's id, or the record's sequence number
        id: String,
        /// Print the contact's data, and messages that may quote it
        #[arg(long)]
        reveal: bool,
    },
    /// Count dead letters by stage, destination, code and age
    #[command(after_help = "\
Examples:
  contact-sync-admin dead-letters summary --function contact-sync-hubspot:live
  contact-sync-admin dead-letters summary --function contact-sync-hubspot:live \\
    --since 1d")]
    Summary {
        #[command(flatten)]
        filter: Filter,
    },
}

/// Content of a message of the queue, with the message's id.
struct Entry {
    id: String,
    message: FailedMessage,
}

/// Runs the command.
pub(crate) async fn run(args: &Args, target: &Target, output: &Output) -> CommandResult {
    if let Command::List { filter, .. } | Command::Summary { filter } = &args.command {
        filter.check()?;
    }
    let deployment = target.deployment().await?;
    let url = match &args.queue_url {
        Some(url) => url.clone(),
        None => deployment.queue_url().await?,
    };
    let queue = Queue::new(&deployment.aws, &url, HIDDEN_SECS);
    let (mut entries, depth) = read(&queue, args.most, output).await?;
    let (looked_at, now) = (entries.len(), OffsetDateTime::now_utc());
    let none = match looked_at {
        0 => depth.describe_empty(),
        _ => format!("none of {looked_at} match"),
    };
    match &args.command {
        Command::List { filter, limit } => {
            entries.retain(|entry| filter.matches(&entry.message));
            list(&entries, *limit, looked_at, &none, output);
        }
        Command::Show { id, reveal } => show(&entries, id, *reveal, output)?,
        Command::Summary { filter } => {
            entries.retain(|entry| filter.matches(&entry.message));
            summary(&entries, now, looked_at, &none, output);
        }
    }
    Ok(true)
}

/// Reads the dead letters of the queue, the newest first, and the queue's depth before the read.
async fn read(queue: &Queue, most: usize, output: &Output) -> Result<(Vec<Entry>, Depth), Failure> {
    let depth = queue.depth().await?;
    let progress = output.progress("messages read", Some(depth.visible));
    let mut held = Held::new();
    let received = queue.receive(most, &mut held, &progress).await;
    queue.release(&held).await;
    let received = received?;
    drop(progress);
    if !received.is_all {
        output.note(&format!(
            "only {} messages were read: --most N reads more",
            received.messages.len()
        ));
    }
    let mut entries: Vec<Entry> = received.messages.into_iter().map(Entry::read).collect();
    entries.sort_by(|a, b| {
        b.message
            .at()
            .cmp(&a.message.at())
            .then_with(|| a.id.cmp(&b.id))
    });
    Ok((entries, depth))
}

impl Entry {
    fn read(message: Message) -> Self {
        Self {
            message: FailedMessage::read(&message.body),
            id: message.id,
        }
    }

    /// Returns whether `id` is the id of the message or of the event, or the sequence number of the
    /// record.
    fn has_id(&self, id: &str) -> bool {
        if self.id == id {
            return true;
        }
        match &self.message {
            FailedMessage::Rejected(rejected) => {
                rejected.event_id.as_deref() == Some(id)
                    || rejected.record.sequence_number.as_deref() == Some(id)
            }
            FailedMessage::Discarded(_) | FailedMessage::Unknown(_) => false,
        }
    }

    fn json(&self) -> Value {
        let Self { id, message } = self;
        json!({
            "message_id": id,
            "at": message.at().map(time_arg::format),
            "stage": message.stage(),
            "code": message.code(),
            "destination": message.destination(),
            "contact_id": message.contact(),
            "records": message.records(),
        })
    }

    fn row(&self) -> [String; 7] {
        let Self { id, message } = self;
        let at = message.at().map(time_arg::format);
        [
            at.as_deref().unwrap_or("-").to_owned(),
            message.stage().to_owned(),
            message.destination().unwrap_or("-").to_owned(),
            message.code().to_owned(),
            message.contact().unwrap_or("-").to_owned(),
            message.records().to_string(),
            id.clone(),
        ]
    }
}

/// Prints one line for each dead letter, `limit` at most.
fn list(entries: &[Entry], limit: usize, looked_at: usize, none: &str, output: &Output) {
    let shown = &entries[..limit.min(entries.len())];
    let header = [
        "at",
        "stage",
        "destination",
        "code",
        "contact",
        "records",
        "message",
    ];
    let mut text = match entries {
        [] => none.to_owned(),
        _ => table(header, shown.iter().map(Entry::row)),
    };
    if shown.len() < entries.len() {
        let _ = write!(
            text,
            "\n{} of {} shown: --limit N shows more",
            shown.len(),
            entries.len()
        );
    }
    let json: Vec<Value> = shown.iter().map(Entry::json).collect();
    let (shown, found) = (shown.len(), entries.len());
    output.result(
        &json!({"dead_letters": json, "shown": shown, "found": found, "looked_at": looked_at}),
        &text,
    );
}

/// Prints all fields of the dead letters with this id.
fn show(entries: &[Entry], id: &str, reveal: bool, output: &Output) -> Result<(), Failure> {
    let mut documents = Vec::new();
    for entry in entries.iter().filter(|entry| entry.has_id(id)) {
        let mut document = entry.message.document(reveal);
        document["message_id"] = entry.id.as_str().into();
        documents.push(document);
    }
    if documents.is_empty() {
        let remedy = "take the id from `dead-letters list`; a message that another reader holds \
                      comes back in a while";
        return Err(Failure::new(
            format!("no dead letter has the id `{id}`"),
            remedy,
        ));
    }
    let text: Vec<String> = documents.iter().map(failed_message::text).collect();
    output.result(&json!({"dead_letters": documents}), &text.join("\n"));
    Ok(())
}

/// Age groups of the summary: name and upper bound in hours. SQS keeps a message for 14 days at
/// most.
const AGES: [(&str, i64); 4] = [
    ("under 1h", 1),
    ("1h-1d", 24),
    ("1d-7d", 7 * 24),
    ("over 7d", i64::MAX),
];

/// Stage, destination and code of a group.
type Key<'a> = (&'a str, Option<&'a str>, &'a str);

#[derive(Default)]
struct Group {
    dead_letters: u64,
    records: u64,
    by_age: [u64; 4],
    oldest: Option<OffsetDateTime>,
}

/// Prints the number of dead letters of each stage, destination, code and age.
fn summary(entries: &[Entry], now: OffsetDateTime, looked_at: usize, none: &str, output: &Output) {
    let mut groups: BTreeMap<Key<'_>, Group> = BTreeMap::new();
    for Entry { message, .. } in entries {
        let key = (message.stage(), message.destination(), message.code());
        let group = groups.entry(key).or_default();
        group.dead_letters += 1;
        group.records += message.records();
        let Some(at) = message.at() else { continue };
        let hours = (now - at).whole_hours();
        let age = AGES
            .iter()
            .position(|(_, end)| hours < *end)
            .unwrap_or(AGES.len() - 1);
        group.by_age[age] += 1;
        group.oldest = Some(group.oldest.map_or(at, |oldest| oldest.min(at)));
    }
    let mut groups: Vec<(Key<'_>, Group)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.dead_letters));
    let row = |((stage, destination, code), group): &(Key<'_>, Group)| {
        let [stage, destination, code] =
            [*stage, destination.unwrap_or("-"), *code].map(str::to_owned);
        let oldest = match group.oldest {
            Some(oldest) => time_arg::format_age(now - oldest),
            None => "-".to_owned(),
        };
        let [a, b, c, d] = group.by_age.map(|count| count.to_string());
        [
            group.dead_letters.to_string(),
            stage,
            destination,
            code,
            a,
            b,
            c,
            d,
            oldest,
        ]
    };
    let [a, b, c, d] = AGES.map(|(name, _)| name);
    let header = [
        "dead letters",
        "stage",
        "destination",
        "code",
        a,
        b,
        c,
        d,
        "oldest",
    ];
    let text = match groups.as_slice() {
        [] => none.to_owned(),
        groups => format!(
            "{}\n{} in all",
            table(header, groups.iter().map(row)),
            entries.len()
        ),
    };
    let json = |((stage, destination, code), group): &(Key<'_>, Group)| {
        let ages: BTreeMap<&str, u64> = AGES
            .iter()
            .map(|(name, _)| *name)
            .zip(group.by_age)
            .collect();
        json!({
            "stage": stage,
            "destination": destination,
            "code": code,
            "letters": group.dead_letters,
            "records": group.records,
            "by_age": ages,
            "oldest": group.oldest.map(time_arg::format),
        })
    };
    let json: Vec<Value> = groups.iter().map(json).collect();
    output.result(
        &json!({"groups": json, "letters": entries.len(), "looked_at": looked_at}),
        &text,
    );
}
