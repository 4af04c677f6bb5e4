//! Writes metrics in CloudWatch's embedded metric format: one line for the invocation and one for
//! each destination. Each has the dimension `Function`, so that the functions of one account do not
//! share their metrics.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::DestinationMetrics;
use super::log::METRICS;
use crate::model::Destination;

const NAMESPACE: &str = "ContactSync";

/// Value of the dimension `Function` outside of Lambda. CloudWatch takes no empty value.
const NO_FUNCTION: &str = "local";

/// Bound of the values of one metric in a line.
const MAX_VALUES: usize = 100;

/// Records by fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "contract section 2 defines each fate")]
pub struct Counts {
    pub delivered: u64,
    pub filtered: u64,
    pub superseded: u64,
    pub rejected: u64,
    pub failed: u64,
    pub skipped_settled: u64,
}

impl Counts {
    /// Returns the sum. Each record counts once.
    pub fn sum(&self) -> u64 {
        self.delivered
            + self.filtered
            + self.superseded
            + self.rejected
            + self.failed
            + self.skipped_settled
    }

    fn by_name(&self) -> [(&'static str, u64); 6] {
        [
            ("RecordsDelivered", self.delivered),
            ("RecordsFiltered", self.filtered),
            ("RecordsSuperseded", self.superseded),
            ("RecordsRejected", self.rejected),
            ("RecordsFailed", self.failed),
            ("RecordsSkippedSettled", self.skipped_settled),
        ]
    }
}

/// The metrics of one invocation.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// The function's name. Empty outside of Lambda.
    pub function: &'a str,
    /// Whether this invocation is the first of its process.
    pub cold_start: bool,
    /// Number of records in the batch; the sum of `counts`.
    pub received: u64,
    /// The records by fate.
    pub counts: Counts,
    /// Number of dead letters that SQS stored.
    pub dead_letters_stored: u64,
    /// Number of failed calls of the state table.
    pub state_errors: u64,
    /// Number of settings documents that were refused or could not be read.
    pub config_errors: u64,
    /// Number of records by `<topic>-<partition>`, of an event of Kafka.
    pub partitions: BTreeMap<&'a str, u64>,
    /// The records by fate, and the calls, of each destination.
    pub destinations: Vec<(Destination, Counts, &'a DestinationMetrics)>,
}

/// Writes the metrics of one invocation. The span around it has the ids.
pub fn emit(invocation: &Invocation<'_>) {
    write(&whole(invocation));
    for (destination, counts, metrics) in &invocation.destinations {
        if counts.sum() > 0 || metrics.api_calls() > 0 {
            write(&of_destination(
                invocation.function,
                *destination,
                counts,
                metrics,
            ));
        }
    }
}

/// Writes the number of checks that failed in a run of the task `doctor`.
pub fn emit_doctor(function: &str, findings: u64) {
    let mut line = Line::new();
    line.count("DoctorFindings", findings);
    write(&line.finish(function, None));
}

fn write(line: &Value) {
    tracing::info!(target: METRICS, line = %line);
}

fn whole(invocation: &Invocation<'_>) -> Value {
    let mut line = Line::new();
    line.count("RecordsReceived", invocation.received);
    for (name, count) in invocation.counts.by_name() {
        line.count(name, count);
    }
    line.count("ColdStart", u64::from(invocation.cold_start));
    line.count("DeadLettersStored", invocation.dead_letters_stored);
    line.count("StateErrors", invocation.state_errors);
    let mut config_errors = invocation.config_errors;
    let (mut unknown_codes, mut values_cut) = (0, 0);
    for (_, _, metrics) in &invocation.destinations {
        config_errors += metrics.config_errors();
        unknown_codes += metrics.unknown_codes();
        values_cut += metrics.values_cut();
    }
    line.count("ConfigErrors", config_errors);
    line.count("UnknownCodes", unknown_codes);
    line.count("ValuesCut", values_cut);
    if !invocation.partitions.is_empty() {
        let partitions = json!(invocation.partitions);
        line.fields.insert("partitions".into(), partitions);
    }
    line.finish(invocation.function, None)
}

fn of_destination(
    function: &str,
    destination: Destination,
    counts: &Counts,
    metrics: &DestinationMetrics,
) -> Value {
    let mut line = Line::new();
    for (name, count) in counts.by_name().into_iter().chain(metrics.sums()) {
        line.count(name, count);
    }
    for (name, count) in metrics.rare_sums() {
        if count > 0 {
            line.count(name, count);
        }
    }
    line.count("BreakerOpen", u64::from(metrics.is_stopped()));
    let latencies = metrics.latencies_ms(MAX_VALUES);
    if !latencies.is_empty() {
        line.add("ApiLatency", "Milliseconds", json!(latencies));
    }
    let lags = metrics.lags_ms(MAX_VALUES);
    if !lags.is_empty() {
        line.add("EndToEndLag", "Milliseconds", json!(lags));
    }
    let quota = metrics.quota();
    if let Some(percent) = quota.daily_used_percent() {
        line.add("DailyQuotaUsedPercent", "Percent", json!(percent));
    }
    if let Some(calls) = quota.window_remaining {
        line.count("WindowCallsRemaining", calls.into());
    }
    line.finish(function, Some(destination))
}

struct Line {
    metrics: Vec<Value>,
    fields: Map<String, Value>,
}

impl Line {
    fn new() -> Self {
        let mut fields = Map::new();
        fields.insert("timestamp".into(), super::log::now().into());
        fields.insert("level".into(), "INFO".into());
        fields.insert("message".into(), "metrics".into());
        Self {
            metrics: Vec::new(),
            fields,
        }
    }

    fn count(&mut self, name: &str, count: u64) {
        self.add(name, "Count", count.into());
    }

    fn add(&mut self, name: &str, unit: &str, value: Value) {
        self.metrics.push(json!({"Name": name, "Unit": unit}));
        self.fields.insert(name.into(), value);
    }

    fn finish(mut self, function: &str, destination: Option<Destination>) -> Value {
        let function = if function.is_empty() {
            NO_FUNCTION
        } else {
            function
        };
        self.fields.insert("Function".into(), function.into());
        let dimensions = match destination {
            Some(destination) => {
                self.fields
                    .insert("Destination".into(), destination.0.into());
                json!([["Function", "Destination"]])
            }
            None => json!([["Function"]]),
        };
        let now = OffsetDateTime::now_utc();
        let millis = i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
        let directive =
            json!({"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": self.metrics});
        self.fields.insert(
            "_aws".into(),
            json!({"Timestamp": millis, "CloudWatchMetrics": [directive]}),
        );
        Value::Object(self.fields)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::limits::Quota;

    #[test]
    fn every_declared_metric_and_dimension_has_a_value() {
        let metrics = DestinationMetrics::default();
        metrics.api_call(Duration::from_millis(5), false);
        metrics.note_quota(Quota {
            window_remaining: Some(17),
            daily_used: Some(1),
            daily_max: Some(4),
            ..Quota::default()
        });
        let counts = Counts {
            delivered: 2,
            failed: 1,
            ..Counts::default()
        };
        let invocation = Invocation {
            function: "",
            cold_start: true,
            received: 3,
            counts,
            dead_letters_stored: 0,
            state_errors: 0,
            config_errors: 0,
            partitions: BTreeMap::from([("contacts-0", 3)]),
            destinations: Vec::new(),
        };
        assert_eq!(whole(&invocation)["partitions"], json!({"contacts-0": 3}));
        let destination = of_destination("sync", Destination("salesforce"), &counts, &metrics);
        assert_eq!(
            (
                &destination["DailyQuotaUsedPercent"],
                &destination["WindowCallsRemaining"]
            ),
            (&json!(25), &json!(17))
        );
        let functions = ["local", "sync"].map(|name| json!(name));
        for (line, function) in [whole(&invocation), destination].into_iter().zip(functions) {
            let directive = &line["_aws"]["CloudWatchMetrics"][0];
            assert_eq!(
                (&directive["Dimensions"][0][0], &line["Function"]),
                (&json!("Function"), &function)
            );
            assert_eq!(directive["Namespace"], NAMESPACE);
            for metric in directive["Metrics"].as_array().expect("declared") {
                assert!(
                    !line[metric["Name"].as_str().expect("named")].is_null(),
                    "{metric}"
                );
            }
            for dimension in directive["Dimensions"][0].as_array().expect("a set") {
                assert!(
                    line[dimension.as_str().expect("named")].is_string(),
                    "{dimension}"
                );
            }
        }
    }
}
