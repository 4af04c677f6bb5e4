//! `dead-letters`: what was rejected, and why. Messages are looked at and put back.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::Outcome;
use super::deployment::Target;
use super::failed_message::{self, FailedMessage};
use super::failure::Failure;
use super::filter::Filter;
use super::output::{Output, table};
use super::queue::{Depth, Held, Message, Queue};
use super::time_arg;

/// How long a message that is looked at may stay hidden from others if the tool dies.
const HIDDEN_SECS: i32 = 60;

/// Look into the dead-letter queue: what was rejected, and why
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  contact-sync-admin dead-letters summary --function contact-sync
  contact-sync-admin dead-letters list --function contact-sync --code INVALID_EMAIL_ADDRESS --since 1d
  contact-sync-admin dead-letters show e-4711 --function contact-sync --reveal

A message is hidden from others for a moment while it is looked at, and is never deleted. Names, addresses and other
data of contacts are shown by `show --reveal` only, the record's data byte for byte: treat what it prints as such.
Without it, `show` shows the messages of contact-sync itself, which quote no value, and hides those of the systems.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// Look into this queue instead of the one in the settings; one of the mapping's on-failure
    /// messages, too
    #[arg(long, global = true, value_name = "URL")]
    queue_url: Option<String>,
    /// Look at so many messages at most
    #[arg(long, global = true, value_name = "N", default_value_t = 10_000)]
    most: usize,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One line for each dead letter, the newest first
    List {
        /// Show so many at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        filter: Filter,
    },
    /// One dead letter whole
    Show {
        /// The message's id, the event's id, or the record's sequence number
        id: String,
        /// Show the contact's data, and messages that may quote it
        #[arg(long)]
        reveal: bool,
    },
    /// How many, by stage, destination, code and age
    Summary {
        #[command(flatten)]
        filter: Filter,
    },
}

/// A dead letter, and the message that holds it.
struct Entry {
    id: String,
    letter: FailedMessage,
}

/// Runs the command.
pub(crate) async fn run(args: &Args, target: &Target, output: Output) -> Outcome {
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
        0 => depth.emptiness(),
        _ => format!("none of {looked_at} match"),
    };
    match &args.command {
        Command::List { filter, limit } => {
            entries.retain(|entry| filter.takes(&entry.letter));
            list(&entries, *limit, looked_at, &none, output);
        }
        Command::Show { id, reveal } => show(&entries, id, *reveal, output)?,
        Command::Summary { filter } => {
            entries.retain(|entry| filter.takes(&entry.letter));
            summary(&entries, now, looked_at, &none, output);
        }
    }
    Ok(true)
}

/// Reads the queue: its letters, the newest first, and how many messages it held before.
async fn read(queue: &Queue, most: usize, output: Output) -> Result<(Vec<Entry>, Depth), Failure> {
    let depth = queue.depth().await?;
    let progress = output.progress("messages looked at", Some(depth.visible));
    let mut held = Held::new();
    let received = queue.receive(most, &mut held, &progress).await;
    queue.release(&held).await;
    let received = received?;
    drop(progress);
    if !received.is_all {
        output.note(&format!(
            "only {} messages were looked at: --most N looks at more",
            received.messages.len()
        ));
    }
    let mut entries: Vec<Entry> = received.messages.into_iter().map(Entry::read).collect();
    entries.sort_by(|a, b| {
        b.letter
            .at()
            .cmp(&a.letter.at())
            .then_with(|| a.id.cmp(&b.id))
    });
    Ok((entries, depth))
}

impl Entry {
    fn read(message: Message) -> Self {
        Self {
            letter: FailedMessage::read(&message.body),
            id: message.id,
        }
    }

    /// Whether it is called so.
    fn is_called(&self, id: &str) -> bool {
        let rejected = match &self.letter {
            FailedMessage::Rejected(rejected) => Some(rejected),
            FailedMessage::Discarded(_) | FailedMessage::Unknown(_) => None,
        };
        let names = rejected.map(|rejected| [&rejected.event_id, &rejected.record.sequence_number]);
        self.id == id
            || names
                .into_iter()
                .flatten()
                .any(|name| name.as_deref() == Some(id))
    }

    fn json(&self) -> Value {
        let Self { id, letter } = self;
        json!({
            "message_id": id, "at": letter.at().map(time_arg::show), "stage": letter.stage(), "code": letter.code(),
            "destination": letter.destination(), "contact_id": letter.contact(), "records": letter.records(),
        })
    }

    fn row(&self) -> [String; 7] {
        let Self { id, letter } = self;
        let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
        [
            or_dash(letter.at().map(time_arg::show).as_deref()),
            letter.stage().to_owned(),
            or_dash(letter.destination()),
            letter.code().to_owned(),
            or_dash(letter.contact()),
            letter.records().to_string(),
            id.clone(),
        ]
    }
}

fn list(entries: &[Entry], limit: usize, looked_at: usize, none: &str, output: Output) {
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
    output.answer(
        &json!({"dead_letters": json, "shown": shown, "found": found, "looked_at": looked_at}),
        &text,
    );
}

fn show(entries: &[Entry], id: &str, reveal: bool, output: Output) -> Result<(), Failure> {
    let found: Vec<&Entry> = entries.iter().filter(|entry| entry.is_called(id)).collect();
    if found.is_empty() {
        let remedy = "take the id from `dead-letters list`; a message that another reader holds comes back in a while";
        return Err(Failure::new(
            format!("no dead letter is called `{id}`"),
            remedy,
        ));
    }
    let whole = |entry: &&Entry| {
        let mut whole = entry.letter.whole(reveal);
        whole["message_id"] = entry.id.as_str().into();
        whole
    };
    let whole: Vec<Value> = found.iter().map(whole).collect();
    let text: Vec<String> = whole.iter().map(failed_message::text).collect();
    output.answer(&json!({"dead_letters": whole}), &text.join("\n"));
    Ok(())
}

/// The ages that are told apart, by their upper ends. SQS keeps a message for 14 days at most.
const AGES: [(&str, i64); 4] = [
    ("under 1h", 1),
    ("1h-1d", 24),
    ("1d-7d", 7 * 24),
    ("over 7d", i64::MAX),
];

/// Stage, destination and code.
type Key<'a> = (&'a str, Option<&'a str>, &'a str);

#[derive(Default)]
struct Group {
    letters: u64,
    records: u64,
    by_age: [u64; 4],
    oldest: Option<OffsetDateTime>,
}

fn summary(entries: &[Entry], now: OffsetDateTime, looked_at: usize, none: &str, output: Output) {
    let mut groups: BTreeMap<Key<'_>, Group> = BTreeMap::new();
    for Entry { letter, .. } in entries {
        let key = (letter.stage(), letter.destination(), letter.code());
        let group = groups.entry(key).or_default();
        group.letters += 1;
        group.records += letter.records();
        let Some(at) = letter.at() else { continue };
        let hours = (now - at).whole_hours();
        let age = AGES
            .iter()
            .position(|(_, end)| hours < *end)
            .unwrap_or(AGES.len() - 1);
        group.by_age[age] += 1;
        group.oldest = Some(group.oldest.map_or(at, |oldest| oldest.min(at)));
    }
    let mut groups: Vec<(Key<'_>, Group)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.letters));
    let row = |((stage, destination, code), group): &(Key<'_>, Group)| {
        let [stage, destination, code] =
            [*stage, destination.unwrap_or("-"), *code].map(str::to_owned);
        let oldest = group
            .oldest
            .map_or_else(|| "-".to_owned(), |oldest| time_arg::show_age(now - oldest));
        let [a, b, c, d] = group.by_age.map(|count| count.to_string());
        [
            group.letters.to_string(),
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
        "letters",
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
        json!({"stage": stage, "destination": destination, "code": code, "letters": group.letters,
            "records": group.records, "by_age": ages, "oldest": group.oldest.map(time_arg::show)})
    };
    let json: Vec<Value> = groups.iter().map(json).collect();
    output.answer(
        &json!({"groups": json, "letters": entries.len(), "looked_at": looked_at}),
        &text,
    );
}
