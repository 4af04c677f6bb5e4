//! `replay`: puts changes back into the stream; then, and only then, deletes what held them.
//! Stopped at any point it has lost nothing: at worst a change is in the stream and in the queue,
//! and is put back a second time.

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
use super::Outcome;
use super::bucket::{Bucket, Location};
use super::deployment::Target;
use super::failed_message::FailedMessage;
use super::failure::Failure;
use super::filter::Filter;
use super::output::Output;
use super::queue::Queue;
use super::stream::Stream;
use super::time_arg;

/// Messages that one call receives: with a low limit no more are taken away from others.
const FEW_MESSAGES: u64 = 10;

/// Data that is held in memory at a time: what messages only point to may be a hundred times as
/// large as they are.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Put rejected changes back into the stream, each under its own key, marked with "replay": true
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  # what would happen
  contact-sync-admin replay --function contact-sync --dry-run
  # a picklist was corrected in Salesforce: what it had refused
  contact-sync-admin replay --function contact-sync --code INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST
  # whole batches that the event source mapping gave up, from its bucket or its queue
  contact-sync-admin replay --function contact-sync --s3 s3://failed-events/aws/lambda/
  contact-sync-admin replay --function contact-sync --queue-url https://sqs.eu-west-1.amazonaws.com/1/on-failure
  # an hour of the stream itself, for one contact
  contact-sync-admin replay --function contact-sync --from 2026-11-20T10:00:00Z --to 2026-11-20T11:00:00Z --contact c-1

A message is deleted once all its changes are in the stream, and not before: interrupted at any point nothing is lost.
A dead letter that the function would reject again, as all of the stages decode and validate, is put back with --force
only; on a terminal the tool asks. It has to be corrected where it comes from.
With salesforce.version_field and hubspot.version_property configured, a change that is older than what the system holds
is left out there (STALE). What could overwrite newer data, and what cannot be marked, is put back with --force only.
Not seen to be older: a change of a contact that was deleted since (it is written again), and one of a record that was last
written before the version field was configured (an empty one is older than all).
Exit code 1: something that was meant could not be put back; the output says what and why.")]
pub(crate) struct Args {
    /// Take messages from this queue instead of the dead-letter queue in the settings
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "s3",
        help_heading = "From where"
    )]
    queue_url: Option<String>,
    /// Take whole events from this bucket, into which the mapping puts what it gives up
    #[arg(long, value_name = "s3://BUCKET/PREFIX", help_heading = "From where")]
    s3: Option<Location>,
    /// Take what arrived in the stream itself from this time on: 2026-11-20T10:15:00Z, 2026-11-20,
    /// 12h ago
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse, conflicts_with_all = ["queue_url", "s3"],
        help_heading = "From where")]
    from: Option<OffsetDateTime>,
    /// … up to this time; now, where it is not given
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse, requires = "from", help_heading = "From where")]
    to: Option<OffsetDateTime>,
    /// Put changes into this stream (name or ARN) instead of the one that they came from; with
    /// --from, read it as well
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// Say what would be put back, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Put back also what the function rejects again, what could overwrite newer data, and, as it
    /// is, what cannot be marked
    #[arg(long)]
    force: bool,
    /// Delete nothing afterwards
    #[arg(long)]
    keep: bool,
    /// Put back so many messages, objects or, with --from, changes at most; what is left alone does
    /// not count
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Hold so many messages at a time, and put them back in the order of the stream
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    round: u32,
    /// How long messages stay hidden from others if the tool dies, in seconds
    #[arg(long, value_name = "SECS", default_value_t = 900, value_parser = clap::value_parser!(i32).range(1..=43_200))]
    hide: i32,
    #[command(flatten)]
    filter: Filter,
}

impl Args {
    /// What records come in, as people call it.
    fn container(&self) -> Option<&'static str> {
        match (self.from, &self.s3) {
            (Some(_), _) => None,
            (None, Some(_)) => Some("object"),
            (None, None) => Some("message"),
        }
    }
}

/// A replay under way.
struct Replay<'a> {
    args: &'a Args,
    judge: ReplayPolicy,
    finder: Finder,
    store: Store,
    report: Report,
    output: Output,
    /// Messages, objects or changes of a stretch that may still be put back.
    allowed: u64,
    /// A person is there, who was not asked yet.
    may_ask: bool,
}

/// Runs the command.
pub(crate) async fn run(args: &Args, target: &Target, output: Output) -> Outcome {
    if let (Some(option), Some(_)) = (args.filter.letters_only(), args.from) {
        let remedy =
            "a stretch of the stream is narrowed by --from, --to, --contact and --destination";
        return Err(Failure::usage(
            format!("{option} is about dead letters"),
            remedy,
        ));
    }
    args.filter.check()?;
    time_arg::in_order(("--from", args.from), ("--to", args.to))?;
    let mut deployment = target.deployment().await?;
    if let Some(url) = &args.queue_url {
        deployment.set_queue(url)?;
    }
    let settings = deployment.settings().await?;
    let client = aws_sdk_kinesis::Client::new(&deployment.aws);
    let mut replay = Replay {
        args,
        judge: ReplayPolicy::new(&settings, &args.filter, args.force),
        finder: Finder {
            stream: args
                .stream
                .as_ref()
                .map(|name| Stream::new(client.clone(), name)),
            client,
        },
        store: Store::new(args.keep, args.dry_run),
        report: Report::new(args.dry_run, args.container()),
        output,
        allowed: args.limit.unwrap_or(u64::MAX),
        may_ask: output.may_ask() && !args.dry_run,
    };
    let outcome = match (args.from, &args.s3) {
        (Some(from), _) => {
            let stream = match &replay.finder.stream {
                Some(stream) => stream.clone(),
                None => Stream::new(
                    replay.finder.client.clone(),
                    &deployment.stream(target).await?,
                ),
            };
            replay.stretch(&stream, from).await
        }
        (None, Some(location)) => replay.objects(Bucket::new(&deployment.aws, location)).await,
        (None, None) => {
            let url = deployment.queue_url().await?;
            replay
                .messages(Queue::new(&deployment.aws, &url, args.hide))
                .await
        }
    };
    // What was done before a failure was done all the same.
    output.answer(&replay.report.json(), &replay.report.text());
    outcome?;
    Ok(replay.report.is_clean())
}

impl Replay<'_> {
    /// The messages of a queue; those that stay are let go in the end.
    async fn messages(&mut self, queue: Queue) -> Result<(), Failure> {
        let depth = queue.depth().await?;
        self.store.queue = Some(queue);
        self.report.nothing = depth.emptiness();
        let outcome = self.rounds(depth.visible).await;
        self.store.release().await;
        outcome
    }

    async fn rounds(&mut self, depth: u64) -> Result<(), Failure> {
        loop {
            let progress = self.output.progress("messages received", Some(depth));
            let most = u64::from(self.args.round).min(self.allowed.max(FEW_MESSAGES));
            let received = self.store.receive(most, &progress).await?;
            drop(progress);
            let (mut sources, mut bytes) = (Vec::new(), 0);
            for message in received.messages {
                let letter = FailedMessage::read(&message.body);
                if !self.args.filter.takes(&letter) {
                    self.report.not_meant += 1;
                    continue;
                }
                let source = self
                    .finder
                    .source(message.id, Origin::Message, letter)
                    .await?;
                bytes += source
                    .records
                    .iter()
                    .map(|record| record.data.len())
                    .sum::<usize>();
                sources.push(source);
                if bytes > MOST_BYTES {
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

    /// The objects of a bucket, one after the other.
    async fn objects(&mut self, bucket: Bucket) -> Result<(), Failure> {
        let keys = bucket.keys().await?;
        "the bucket has no object there".clone_into(&mut self.report.nothing);
        self.store.bucket = Some(bucket);
        let progress = self.output.progress("objects", Some(keys.len() as u64));
        for key in keys {
            let Some(bucket) = &self.store.bucket else {
                break;
            };
            let letter = FailedMessage::read(&bucket.read(&key).await?);
            progress.inc(1);
            if !self.args.filter.takes(&letter) {
                self.report.not_meant += 1;
                continue;
            }
            let source = self.finder.source(key, Origin::Object, letter).await?;
            self.put_back(vec![source]).await?;
            if self.report.limit.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// A stretch of the stream itself, shard by shard, parents before their children.
    async fn stretch(&mut self, stream: &Stream, from: OffsetDateTime) -> Result<(), Failure> {
        "nothing arrived in that time".clone_into(&mut self.report.nothing);
        // What this replay puts back arrives later than that: it does not feed on itself.
        let to = self.args.to.map_or_else(OffsetDateTime::now_utc, |to| {
            to.min(OffsetDateTime::now_utc())
        });
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
                let within = |arrival: Option<OffsetDateTime>| {
                    arrival.is_some_and(|at| from <= at && at <= to)
                };
                let records = page.records.into_iter().filter(|raw| within(raw.arrival));
                let records = records
                    .map(|raw| Record::of_stream(raw, &shard, stream))
                    .collect();
                self.put_back(vec![Source {
                    name: shard.clone(),
                    origin: Origin::Stream,
                    records,
                    stays: None,
                }])
                .await?;
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

    /// Whether another one may be put back; where none may, the report says so.
    fn take_one(&mut self) -> bool {
        if self.allowed == 0 {
            self.report.limit = self.args.limit;
            return false;
        }
        self.allowed -= 1;
        true
    }
}
