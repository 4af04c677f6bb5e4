//! `replay`: puts changes back into the stream, and deletes the messages or objects that contained
//! them afterwards. A replay that is stopped at any point loses nothing: at worst a change is in
//! the stream and in the queue, and is put back a second time.

mod invoke;
mod pick;
mod policy;
mod report;
mod republish;
mod source;

use clap::Args as ClapArgs;
use time::OffsetDateTime;

use self::policy::ReplayPolicy;
use self::report::Report;
use self::republish::Store;
use self::source::{Finder, Origin, Record, Source};
use super::CommandResult;
use super::bucket::{Bucket, Location};
use super::deployment::Target;
use super::failed_message::FailedMessage;
use super::failure::Failure;
use super::filter::Filter;
use super::output::Output;
use super::queue::Queue;
use super::stream::Stream;
use super::time_arg;

/// Smallest number of messages of a round: those of one call. A low limit keeps the other messages
/// visible to other readers.
const MIN_MESSAGES: u64 = 10;

/// Limit of the data in memory, in bytes. The records to which messages refer can be a hundred
/// times as large as the messages.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Put rejected changes back into the stream, each under its own key, flagged with "replay": true
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each switch of the command line"
)]
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  # print the changes that would be put back
  contact-sync-admin replay --function contact-sync-hubspot:live --dry-run
  # put back the changes of one contact, without a question on a terminal
  contact-sync-admin replay --contact c-1 --yes \\
    --function contact-sync-hubspot:live
  # put back the changes that Salesforce rejected before a field was corrected
  contact-sync-admin replay --function contact-sync-salesforce:live \\
    --code INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST
  # put back batches that the event source mapping discarded
  contact-sync-admin replay --function contact-sync-hubspot:live \\
    --s3 s3://failed-events/aws/lambda/
  contact-sync-admin replay --function contact-sync-hubspot:live \\
    --queue-url https://sqs.eu-west-1.amazonaws.com/1/on-failure
  # put back an hour of the stream itself, for one contact
  contact-sync-admin replay --function contact-sync-hubspot:live --contact c-1 \\
    --from 2026-11-20T10:00:00Z --to 2026-11-20T11:00:00Z

On a terminal the tool asks once before it puts changes back.
A message is deleted after all its changes are in the stream: an interrupted
replay loses nothing. Records that the function filters need no return. A
message of such records alone is deleted only with --force, because wrong
settings filter all records.
A dead letter that the function would reject again (every one of the stages
decode and validate) is put back only with --force, or after confirmation on
a terminal. It has to be corrected at its source.
With its version field configured, a destination skips a change that is older
than its record (STALE). A change that could overwrite newer data, and data
that cannot be flagged, are put back only with --force.
A record of Kafka is put back by invoking the function of --function with it,
marked as put back.
Two changes are not recognized as older: the change of a contact that has
been deleted since (the contact is written again), and the change of a record
whose version field is still empty.
Exit code 1: a selected change was not put back; the output names it and the
reason.")]
pub(crate) struct Args {
    /// Read messages from this queue instead of the dead-letter queue in the settings
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "s3",
        help_heading = "Sources"
    )]
    queue_url: Option<String>,
    /// Read whole events from this bucket, which receives the batches that the mapping discards
    #[arg(long, value_name = "s3://BUCKET/PREFIX", help_heading = "Sources")]
    s3: Option<Location>,
    /// Read the records that arrived in the stream itself at this time or later:
    /// 2026-11-20T10:15:00Z, 2026-11-20, or an age (12h)
    #[arg(
        long,
        value_name = "TIME",
        value_parser = time_arg::parse,
        conflicts_with_all = ["queue_url", "s3"],
        help_heading = "Sources"
    )]
    from: Option<OffsetDateTime>,
    /// Read the records up to this time [default: the current time]
    #[arg(
        long,
        value_name = "TIME",
        value_parser = time_arg::parse,
        requires = "from",
        help_heading = "Sources"
    )]
    to: Option<OffsetDateTime>,
    /// Put changes into this stream (name or ARN) instead of their own stream; with --from, read
    /// this stream as well
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// Print the number of changes that would be put back, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Also put back changes that the function rejects again, changes that could overwrite newer
    /// data, and, unmodified, data that cannot be flagged
    #[arg(long)]
    force: bool,
    /// Do not ask for a confirmation on a terminal
    #[arg(long, short)]
    yes: bool,
    /// Delete no message or object
    #[arg(long)]
    keep: bool,
    /// Put back at most N messages, objects or, with --from, changes; those that are not put back
    /// do not count
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Hold N messages at a time, and put them back in the order of the stream
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    round: u32,
    /// Visibility timeout of received messages: the time in seconds for which other readers do not
    /// see them if the tool dies
    #[arg(
        long,
        value_name = "SECS",
        default_value_t = 900,
        value_parser = clap::value_parser!(i32).range(1..=43_200)
    )]
    hide: i32,
    #[command(flatten)]
    filter: Filter,
}

impl Args {
    /// Returns the noun for the containers of records; the stream itself has none.
    fn container(&self) -> Option<&'static str> {
        match (self.from, &self.s3) {
            (Some(_), _) => None,
            (None, Some(_)) => Some("object"),
            (None, None) => Some("message"),
        }
    }
}

/// State of a replay.
struct Replay<'a> {
    args: &'a Args,
    policy: ReplayPolicy,
    finder: Finder,
    /// Client that invokes functions with records of Kafka.
    lambda: aws_sdk_lambda::Client,
    store: Store,
    report: Report,
    output: &'a Output,
    /// Number of messages, objects or, with `--from`, changes that may still be put back.
    remaining: u64,
    /// Whether the tool may ask about changes that the function rejects again. It asks once.
    may_ask: bool,
    /// Whether the operator has confirmed the replay, or is not asked.
    is_confirmed: bool,
}

/// Runs the command.
pub(crate) async fn run(args: &Args, target: &Target, output: &Output) -> CommandResult {
    if let (Some(option), Some(_)) = (args.filter.dead_letter_option(), args.from) {
        let remedy = "filter records of the stream by --from, --to, --contact and --destination";
        return Err(Failure::usage(
            format!("{option} applies to dead letters only"),
            remedy,
        ));
    }
    args.filter.check()?;
    time_arg::check_order(("--from", args.from), ("--to", args.to))?;
    let mut deployment = target.deployment().await?;
    if let Some(url) = &args.queue_url {
        deployment.set_queue(url)?;
    }
    let settings = deployment.settings().await?;
    let client = aws_sdk_kinesis::Client::new(&deployment.aws);
    let may_ask = output.may_ask() && !args.dry_run && !args.yes;
    let mut replay = Replay {
        args,
        policy: ReplayPolicy::new(target.registry, &settings, &args.filter, args.force),
        finder: Finder {
            stream: args
                .stream
                .as_ref()
                .map(|name| Stream::new(client.clone(), name)),
            client,
            function: target.function.clone(),
        },
        lambda: aws_sdk_lambda::Client::new(&deployment.aws),
        store: Store::new(args.keep, args.dry_run),
        report: Report::new(args.dry_run, args.container()),
        output,
        remaining: args.limit.unwrap_or(u64::MAX),
        may_ask,
        is_confirmed: !may_ask,
    };
    let result = match (args.from, &args.s3) {
        (Some(from), _) => {
            let stream = match &replay.finder.stream {
                Some(stream) => stream.clone(),
                None => Stream::new(
                    replay.finder.client.clone(),
                    &deployment.stream(target).await?,
                ),
            };
            replay.replay_stream(&stream, from).await
        }
        (None, Some(location)) => {
            replay
                .replay_bucket(Bucket::new(&deployment.aws, location))
                .await
        }
        (None, None) => {
            let url = deployment.queue_url().await?;
            replay
                .replay_queue(Queue::new(&deployment.aws, &url, args.hide))
                .await
        }
    };
    // The report covers the work before a failure too.
    output.result(&replay.report.json(), &replay.report.text());
    result?;
    Ok(replay.report.is_clean())
}

impl Replay<'_> {
    /// Replays the messages of a queue. Releases the messages that are not deleted.
    async fn replay_queue(&mut self, queue: Queue) -> Result<(), Failure> {
        let depth = queue.depth().await?;
        self.store.queue = Some(queue);
        self.report.nothing = depth.describe_empty();
        let result = self.replay_rounds(depth.visible).await;
        self.store.release().await;
        result
    }

    /// Replays the messages in rounds of `--round` messages.
    async fn replay_rounds(&mut self, depth: u64) -> Result<(), Failure> {
        loop {
            let progress = self.output.progress("messages received", Some(depth));
            let most = u64::from(self.args.round).min(self.remaining.max(MIN_MESSAGES));
            let received = self.store.receive(most, &progress).await?;
            drop(progress);
            let (mut sources, mut bytes) = (Vec::new(), 0);
            for message in received.messages {
                let failed = FailedMessage::read(&message.body);
                if !self.args.filter.matches(&failed) {
                    self.report.filtered += 1;
                    continue;
                }
                let source = self
                    .finder
                    .source(message.id, Origin::Message, failed)
                    .await?;
                bytes += source
                    .records
                    .iter()
                    .map(|record| record.data.len())
                    .sum::<usize>();
                sources.push(source);
                if bytes > MAX_BYTES {
                    self.put_back(std::mem::take(&mut sources)).await?;
                    bytes = 0;
                }
                if self.report.limit.is_some() {
                    break;
                }
            }
            self.put_back(sources).await?;
            if received.is_all || self.report.limit.is_some() {
                return Ok(());
            }
        }
    }

    /// Replays the objects of a bucket in order.
    async fn replay_bucket(&mut self, bucket: Bucket) -> Result<(), Failure> {
        let keys = bucket.keys().await?;
        "the bucket has no object with this prefix".clone_into(&mut self.report.nothing);
        self.store.bucket = Some(bucket);
        let progress = self.output.progress("objects", Some(keys.len() as u64));
        for key in keys {
            let Some(bucket) = &self.store.bucket else {
                break;
            };
            let failed = FailedMessage::read(&bucket.read(&key).await?);
            progress.inc(1);
            if !self.args.filter.matches(&failed) {
                self.report.filtered += 1;
                continue;
            }
            let source = self.finder.source(key, Origin::Object, failed).await?;
            self.put_back(vec![source]).await?;
            if self.report.limit.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Replays the records of the stream itself that arrived from `from` to `--to`, shard by shard,
    /// parents before their children.
    async fn replay_stream(
        &mut self,
        stream: &Stream,
        from: OffsetDateTime,
    ) -> Result<(), Failure> {
        "no record arrived in that time".clone_into(&mut self.report.nothing);
        // The records that this replay puts back arrive after this time: it does not read them.
        let now = OffsetDateTime::now_utc();
        let to = self.args.to.unwrap_or(now).min(now);
        let progress = self.output.progress("records read", None);
        for shard in stream.shards().await? {
            let mut reader = stream.since(&shard, from).await?;
            while let Some(page) = reader.next().await? {
                progress.inc(page.records.len() as u64);
                let is_last = page.is_last
                    || page
                        .records
                        .iter()
                        .any(|raw| raw.arrival.is_some_and(|at| at > to));
                let mut source = Source::new(shard.clone(), Origin::Stream);
                for raw in page.records {
                    if raw.arrival.is_some_and(|at| from <= at && at <= to) {
                        source
                            .records
                            .extend(Record::of_stream(raw, &shard, stream));
                    }
                }
                self.put_back(vec![source]).await?;
                if self.report.limit.is_some() {
                    return Ok(());
                }
                if is_last {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Counts one more message, object or change against the limit. Returns `false`, and notes it
    /// in the report, if the limit is reached.
    fn consume_limit(&mut self) -> bool {
        if self.remaining == 0 {
            self.report.limit = self.args.limit;
            return false;
        }
        self.remaining -= 1;
        true
    }
}
