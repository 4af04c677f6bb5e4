//! Cases that run under callgrind, each in a separate process.

use std::future::poll_fn;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use contact_sync::adapters::hubspot::{self, HubSpot};
use contact_sync::adapters::salesforce::{self, Salesforce};
use contact_sync::adapters::{Adapter, Call, DESTINATIONS, SystemSettings, Unlimited};
use contact_sync::app::App;
use contact_sync::fold::fold;
use contact_sync::http_client;
use contact_sync::model::{ContactChange, Outcome, Payload, Record, Transformed};
use contact_sync::secrets::{Secret, SecretSource};
use contact_sync::settings::{Layer, Preset, Settings, load};
use contact_sync::source::EventConsumer;
use contact_sync::source::layers::{Aggregates, split_aggregates};
use contact_sync::telemetry::{DestinationMetrics, JsonLogLayer, LogFormat};
use lambda_runtime::{Context, LambdaEvent};
use testkit::aws::no_aws;
use testkit::stream;
use tokio::time::Instant;
use tracing_subscriber::layer::SubscriberExt;

use crate::formats::{self, Feed, Row};
use crate::record;

/// Pattern of the function [`counted`] in callgrind's options: only its instructions are counted.
pub(crate) const COUNTED: &str = "*cases*counted*";

const LEADS: [&str; 2] = ["lead", "prospect"];
const CUSTOMERS: [&str; 2] = ["customer", "vendor"];

/// Case whose instructions are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Number of records by which the count is divided.
    pub(crate) records: usize,
    work: Work,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Consume,
    /// Search of the event for KPL aggregates, where no record is one.
    SearchAggregates,
    /// Consume, of data within a transport layer.
    ConsumeLayer(record::Layer),
    /// Split of KPL aggregates of a hundred changes, and consume.
    ConsumeAggregates,
    /// Decode of the rows of a change feed.
    ConsumeRows(Feed, Row),
    Fold,
    Transform(System),
    /// Upsert, counted until the request is passed to the HTTP client.
    Batch(System),
    /// Upsert, counted after the request is passed to the HTTP client.
    Answer(System),
    /// Handler from the event to the response, with this number of changes of each contact.
    Whole {
        changes: usize,
    },
    /// Handler, with an event of Kafka.
    WholeKafka,
}

#[derive(Clone, Copy, Debug)]
enum System {
    Salesforce,
    HubSpot,
}

impl Case {
    pub(crate) const ALL: [Self; 27] = [
        Self::new("consume", 200, Work::Consume),
        Self::new("search for aggregates", 200, Work::SearchAggregates),
        Self::new("consume gzip", 200, Work::ConsumeLayer(record::Layer::Gzip)),
        Self::new("consume zstd", 200, Work::ConsumeLayer(record::Layer::Zstd)),
        Self::new(
            "consume CloudEvents",
            200,
            Work::ConsumeLayer(record::Layer::CloudEvent),
        ),
        Self::new("consume KPL aggregates", 200, Work::ConsumeAggregates),
        Self::rows("consume debezium insert", Feed::Debezium, Row::Inserted),
        Self::rows("consume debezium update", Feed::Debezium, Row::Updated),
        Self::rows(
            "consume debezium insert with its schema",
            Feed::DebeziumWithSchema,
            Row::Inserted,
        ),
        Self::rows("consume debezium flattened", Feed::Flattened, Row::Inserted),
        Self::rows("consume dms insert", Feed::Dms, Row::Inserted),
        Self::rows("consume dms update", Feed::Dms, Row::Updated),
        Self::rows("consume dynamodb insert", Feed::Dynamodb, Row::Inserted),
        Self::rows("consume dynamodb update", Feed::Dynamodb, Row::Updated),
        Self::new("fold", 1000, Work::Fold),
        Self::new(
            "transform for Salesforce",
            200,
            Work::Transform(System::Salesforce),
        ),
        Self::new(
            "transform for HubSpot",
            100,
            Work::Transform(System::HubSpot),
        ),
        Self::new("Salesforce batch", 200, Work::Batch(System::Salesforce)),
        Self::new("HubSpot batch", 100, Work::Batch(System::HubSpot)),
        Self::new("Salesforce answer", 200, Work::Answer(System::Salesforce)),
        Self::new("HubSpot answer", 100, Work::Answer(System::HubSpot)),
        Self::new("whole, 100 records", 100, Work::Whole { changes: 1 }),
        Self::new("whole, 1000 records", 1000, Work::Whole { changes: 1 }),
        Self::new("whole, 10000 records", 10_000, Work::Whole { changes: 1 }),
        Self::new(
            "whole, 10 changes a contact",
            1000,
            Work::Whole { changes: 10 },
        ),
        Self::new(
            "whole, 100 changes a contact",
            1000,
            Work::Whole { changes: 100 },
        ),
        Self::new("whole, 1000 records of Kafka", 1000, Work::WholeKafka),
    ];

    const fn new(name: &'static str, records: usize, work: Work) -> Self {
        Self {
            name,
            records,
            work,
        }
    }

    const fn rows(name: &'static str, feed: Feed, row: Row) -> Self {
        Self::new(name, 200, Work::ConsumeRows(feed, row))
    }

    /// Runs the case; `variables` contain the addresses of the mocks.
    pub(crate) fn run(self, variables: &[&str]) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        match self.work {
            Work::Consume => {
                let data = record::data(self.records, &LEADS);
                counted(|| {
                    for data in &data {
                        let record = Record::of_data(data);
                        drop(black_box(EventConsumer.consume(&record, stream::arrival())));
                    }
                });
            }
            Work::SearchAggregates => {
                let data = record::data(self.records, &LEADS);
                let records: Vec<_> = data.iter().map(Record::of_data).collect();
                counted(|| {
                    let aggregates = Aggregates::of(&records);
                    drop(black_box(split_aggregates(records, &aggregates)));
                });
            }
            Work::ConsumeLayer(layer) => {
                let data = record::data_in(layer, self.records, &LEADS);
                counted(|| {
                    for data in &data {
                        let record = Record::of_data(data);
                        drop(black_box(EventConsumer.consume(&record, stream::arrival())));
                    }
                });
            }
            Work::ConsumeAggregates => {
                let data = record::aggregates(self.records, &LEADS);
                counted(|| {
                    let records: Vec<_> = data.iter().map(Record::of_data).collect();
                    let aggregates = Aggregates::of(&records);
                    for record in &split_aggregates(records, &aggregates) {
                        let change = EventConsumer.consume(record, stream::arrival());
                        drop(black_box(change.expect("allowed")));
                    }
                });
            }
            Work::ConsumeRows(feed, row) => {
                let (decoder, data) = (feed.decoder(), feed.data(row, self.records));
                counted(|| {
                    for data in &data {
                        let record = Record::of_data(data);
                        let read = decoder.decode(&record, stream::arrival());
                        let change = read.expect("readable").into_change();
                        drop(black_box(change.expect("a change")));
                    }
                });
            }
            Work::Fold => {
                let changes = record::changes(self.records, &LEADS);
                counted(|| drop(black_box(fold(changes.iter().enumerate()))));
            }
            Work::Transform(system) => {
                let settings = settings(variables);
                let adapter = system.adapter(&settings);
                let changes = record::changes(self.records, system.types());
                counted(|| {
                    for change in &changes {
                        drop(black_box(adapter.transform(&[change])));
                    }
                });
            }
            Work::Batch(system) => {
                runtime.block_on(upsert(system, self.records, variables, Part::UntilSent));
            }
            Work::Answer(system) => {
                runtime.block_on(upsert(system, self.records, variables, Part::AfterSent));
            }
            Work::Whole { changes } => {
                let event = record::event(self.records, self.records / changes);
                whole(&runtime, event, variables);
            }
            Work::WholeKafka => whole(&runtime, formats::kafka_event(self.records), variables),
        }
    }
}

impl System {
    fn types(self) -> &'static [&'static str] {
        match self {
            Self::Salesforce => &LEADS,
            Self::HubSpot => &CUSTOMERS,
        }
    }

    fn adapter(self, settings: &Settings) -> Box<dyn Adapter> {
        let client = http_client::client().expect("a client");
        let secret = |id: &str| {
            let path = id.strip_prefix("file:").expect("a file");
            Arc::new(Secret::new(SecretSource::File(path.into())))
        };
        match self {
            Self::Salesforce => {
                let section = section::<salesforce::Settings>(settings);
                Box::new(Salesforce::new(section, client, secret(&section.secret_id)))
            }
            Self::HubSpot => {
                let section = section::<hubspot::Settings>(settings);
                Box::new(HubSpot::new(section, client, secret(&section.secret_id)))
            }
        }
    }
}

fn section<T: SystemSettings>(settings: &Settings) -> &T {
    settings.systems.of().expect("a section")
}

/// Part of an upsert.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    UntilSent,
    AfterSent,
}

/// Runs the work whose instructions callgrind counts.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

fn settings(variables: &[&str]) -> Settings {
    let document = "\
[log]
audit = \"off\"
[salesforce]
rate_limit = { requests = 100_000, per_ms = 1000 }
[hubspot]
rate_limit = { requests = 100_000, per_ms = 1000 }
";
    let mut layers = vec![Layer::from_toml("the bench", document).expect("TOML")];
    for variable in variables {
        let (name, value) = variable.split_once('=').expect("NAME=VALUE");
        layers.push(Layer::from_variable(name, value).expect("a variable"));
    }
    load(Preset::Local, &layers, &DESTINATIONS).expect("good settings")
}

/// Upserts one full batch, on an open connection and with a cached token. The first poll of the
/// upsert builds the body and passes the request to the HTTP client; the later polls read the
/// response.
async fn upsert(system: System, records: usize, variables: &[&str], part: Part) {
    let settings = settings(variables);
    let adapter = system.adapter(&settings);
    let changes = record::changes(records, system.types());
    let payloads: Vec<Payload> = changes
        .iter()
        .map(|change| payload(&*adapter, change))
        .collect();
    let batch: Vec<&Payload> = payloads.iter().collect();
    let metrics = DestinationMetrics::default();
    for is_counted in [false, true] {
        let call = Call {
            give_up_at: Instant::now() + Duration::from_mins(5),
            metrics: &metrics,
            permits: &Unlimited,
            dry_run: false,
        };
        let mut upsert = pin!(adapter.upsert(&batch, call));
        let mut now = Part::UntilSent;
        let reply = poll_fn(|context| {
            let poll: Poll<_> = if is_counted && now == part {
                counted(|| upsert.as_mut().poll(context))
            } else {
                upsert.as_mut().poll(context)
            };
            now = Part::AfterSent;
            poll
        });
        let outcomes = reply.await.expect("an answer");
        assert!(
            outcomes
                .iter()
                .all(|outcome| matches!(outcome, Outcome::Delivered(_))),
            "{outcomes:?}"
        );
    }
}

fn payload(adapter: &dyn Adapter, change: &ContactChange) -> Payload {
    let Transformed {
        body,
        if_new,
        conditions,
        ..
    } = adapter.transform(&[change]);
    Payload {
        id: change.contact.id.clone(),
        body,
        if_new,
        conditions,
        version: change.guard_version().unwrap_or_default(),
        guarded: false,
        record: None,
        whole: None,
        is_compared: false,
    }
}

/// Runs a whole invocation, on open connections and with cached tokens.
fn whole(runtime: &tokio::runtime::Runtime, event: String, variables: &[&str]) {
    let lines = JsonLogLayer::new(
        tracing::Level::INFO,
        LogFormat::Json,
        Box::new(|line| assert!(!black_box(line).is_empty())),
    );
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines))
        .expect("the first");
    let handler = App::default()
        .build(Preset::Local, &settings(variables), &no_aws())
        .expect("a handler");
    let event_of = |event: String| {
        let mut context = Context::default();
        let deadline = SystemTime::now() + Duration::from_mins(10);
        let deadline = deadline
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_millis();
        context.deadline = u64::try_from(deadline).expect("fits");
        LambdaEvent::new(event.into(), context)
    };
    runtime
        .block_on(handler.handle(event_of(record::event(1000, 1000))))
        .expect("an answer");
    let event = event_of(event);
    let answer = counted(|| runtime.block_on(handler.handle(event))).expect("an answer");
    assert!(
        answer.batch_item_failures.is_empty(),
        "{:?}",
        answer.batch_item_failures
    );
}
