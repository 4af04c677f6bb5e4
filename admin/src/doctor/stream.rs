//! Checks of the event source mapping and of the stream that it reads.

use std::fmt::Write;

use aws_sdk_kinesis::types::{RecordDistributionStrategy, StreamDescriptionSummary};
use aws_sdk_lambda::types::{EventSourceMappingConfiguration, FunctionResponseType};
use contact_sync::settings::{Settings, missing_guards};
use contact_sync::source::RecordDecoder;
use contact_sync::transform::GuardMode;

use super::super::deployment::{Deployment, Target};
use super::super::failure::Failure;
use super::super::stream::{Stream, without_consumer};
use super::Line;
use super::sample::Sample;

/// Smallest sufficient number of retry attempts: with fewer, the mapping discards batches during an
/// outage of minutes.
const MIN_RETRY_ATTEMPTS: i32 = 1000;

/// Largest record that fits an event of 6 MB as base64 with the record's other fields, in KiB.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const LARGEST_RECORD_KIB: i32 = 4_300;

/// Checks each event source mapping of the function, and its stream.
pub(super) async fn check(
    deployment: &Deployment,
    target: &Target,
    settings: &Settings,
    sample: Option<usize>,
) -> Vec<Line> {
    let Some(function) = &target.function else {
        return vec![Line::skipped(
            "event source mapping",
            "not checked: name the function with --function NAME",
        )];
    };
    let mappings = match deployment.all_mappings(function).await {
        Ok(mappings) if mappings.is_empty() => {
            let remedy = format!(
                "{function} reads nothing: name the alias that its mapping invokes \
                 (NAME:live), or create an event source mapping"
            );
            return vec![Line::fail("event source mapping", remedy)];
        }
        Ok(mappings) => mappings,
        Err(failure) => return vec![Line::fail("event source mapping", failure.to_string())],
    };
    let mut lines = Vec::new();
    for mapping in &mappings {
        if is_of_kafka(mapping) {
            lines.extend(kafka_lines(mapping, sample));
            continue;
        }
        lines.push(check_mapping(mapping));
        lines.push(match describe_stream(deployment, mapping).await {
            Ok(stream) => check_stream(mapping, &stream, settings),
            Err(failure) => Line::fail("stream", failure.to_string()),
        });
        if let Some(records) = sample {
            lines.extend(sampled(deployment, mapping, records, settings).await);
        }
    }
    lines
}

/// Checks the mapping of a topic. Where a sample is asked for, reports that none is read.
fn kafka_lines(mapping: &EventSourceMappingConfiguration, sample: Option<usize>) -> Vec<Line> {
    let mut lines = vec![check_kafka_mapping(mapping)];
    if let Some(records) = sample {
        let text = format!(
            "not read: the tool has no client of Kafka; save records of the topic with a consumer \
             of your own, one per line (kafka-console-consumer --max-messages {records}), and run \
             `source guess FILE` or `preview FILE`"
        );
        lines.push(Line::skipped("sample", text));
    }
    lines
}

/// Reads records of the stream, and reports them.
async fn sampled(
    deployment: &Deployment,
    mapping: &EventSourceMappingConfiguration,
    records: usize,
    settings: &Settings,
) -> Vec<Line> {
    let arn = mapping.event_source_arn().unwrap_or_default();
    let stream = Stream::new(aws_sdk_kinesis::Client::new(&deployment.aws), arn);
    let decoder = RecordDecoder::new(&settings.source);
    match Sample::read(&stream, records, &decoder).await {
        Ok(sample) => sample.lines(&settings.source, mapping.batch_size()),
        Err(failure) => vec![Line::fail("sample", failure.to_string())],
    }
}

/// Describes the stream that the mapping reads.
async fn describe_stream(
    deployment: &Deployment,
    mapping: &EventSourceMappingConfiguration,
) -> Result<StreamDescriptionSummary, Failure> {
    let arn = without_consumer(mapping.event_source_arn().unwrap_or_default());
    let kinesis = aws_sdk_kinesis::Client::new(&deployment.aws);
    let response = kinesis
        .describe_stream_summary()
        .stream_arn(arn)
        .send()
        .await;
    let response = response.map_err(|error| {
        Failure::aws(
            &format!("describing the stream {arn}"),
            "kinesis:DescribeStreamSummary",
            &error,
        )
    })?;
    response
        .stream_description_summary
        .ok_or_else(|| Failure::new("the response describes no stream", "run the command again"))
}

/// Returns whether the mapping reads topics.
fn is_of_kafka(mapping: &EventSourceMappingConfiguration) -> bool {
    mapping.self_managed_event_source().is_some() || !mapping.topics().is_empty()
}

/// Checks that the mapping of a Kinesis stream loses no record, and that it repeats no successful
/// record without need.
fn check_mapping(mapping: &EventSourceMappingConfiguration) -> Line {
    let mut errors = losses(mapping);
    let attempts = mapping.maximum_retry_attempts().unwrap_or(-1);
    if (0..MIN_RETRY_ATTEMPTS).contains(&attempts) {
        let text = "few attempts are used up within seconds of an outage: \
                    set MaximumRetryAttempts to -1, so that the age alone limits retries";
        errors.push(text.to_owned());
    }
    line(mapping, "", &errors)
}

/// Checks the mapping of a Kafka topic. Reports, bisection, retry limits and an age need
/// provisioned mode. -1 retries with a destination for discarded batches are 10 retries.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
fn check_kafka_mapping(mapping: &EventSourceMappingConfiguration) -> Line {
    let mut errors = losses(mapping);
    let attempts = mapping.maximum_retry_attempts().unwrap_or(-1);
    if attempts < MIN_RETRY_ATTEMPTS {
        let text = "few attempts are used up within minutes of an outage, and -1 means 10: \
                    set MaximumRetryAttempts to 10000, so that the age limits retries";
        errors.push(text.to_owned());
    }
    if mapping.maximum_record_age_in_seconds().unwrap_or(-1) < 0 {
        let text = "records are retried until the topic deletes them, and are then lost: \
                    set MaximumRecordAgeInSeconds below the topic's retention";
        errors.push(text.to_owned());
    }
    if mapping.provisioned_poller_config().is_none() {
        let text = "it ignores reports, bisection and ages: set ProvisionedPollerConfig";
        errors.push(text.to_owned());
    }
    line(
        mapping,
        &format!("topic {}: ", mapping.topics().join(", ")),
        &errors,
    )
}

/// Returns the properties of the mapping that lose records of a failed batch.
fn losses(mapping: &EventSourceMappingConfiguration) -> Vec<String> {
    let reports = mapping
        .function_response_types()
        .contains(&FunctionResponseType::ReportBatchItemFailures);
    let destination = mapping
        .destination_config()
        .and_then(|config| config.on_failure()?.destination());
    let mut errors = Vec::new();
    if !reports {
        let text = "a partly failed batch counts as done, and its failures are LOST: \
                    set FunctionResponseTypes to ReportBatchItemFailures";
        errors.push(text.to_owned());
    }
    if !mapping.bisect_batch_on_function_error().unwrap_or_default() {
        let text = "it discards a failed batch as a whole: set BisectBatchOnFunctionError";
        errors.push(text.to_owned());
    }
    if destination.is_none() {
        let text = "discarded batches are lost: set DestinationConfig.OnFailure";
        errors.push(text.to_owned());
    }
    errors
}

/// Builds the line of a mapping. Warns of a last result that is a problem: it may have passed.
fn line(mapping: &EventSourceMappingConfiguration, source: &str, errors: &[String]) -> Line {
    let state = mapping.state().unwrap_or("unknown");
    let mut text = format!(
        "{source}{state}; reports item failures, bisects failed batches, keeps discarded batches"
    );
    // A deleted consumer, a missing permission, an unreachable broker: the mapping stays enabled.
    if let Some(result) = mapping.last_processing_result() {
        let _ = write!(text, "; last result: {result}");
    }
    let name = "event source mapping";
    if errors.is_empty() && matches!(state, "Disabled" | "Disabling") {
        // The template creates the mapping disabled, so that doctor can run before it is enabled.
        return Line::skipped(
            name,
            format!("{text}; it reads nothing until it is enabled"),
        );
    }
    let result = mapping.last_processing_result().unwrap_or_default();
    if errors.is_empty() && result.starts_with("PROBLEM") {
        return Line::warn(name, text);
    }
    Line::from_errors(name, text, errors)
}

/// Checks that the stream keeps a record for as long as it is retried, and that the setting
/// `pipeline.concurrency_share` covers the concurrent invocations.
fn check_stream(
    mapping: &EventSourceMappingConfiguration,
    stream: &StreamDescriptionSummary,
    settings: &Settings,
) -> Line {
    let retention = i64::from(stream.retention_period_hours()) * 3600;
    let age = i64::from(mapping.maximum_record_age_in_seconds().unwrap_or(-1));
    let factor = i64::from(mapping.parallelization_factor().unwrap_or(1).max(1));
    let concurrency = i64::from(stream.open_shard_count()) * factor;
    let share = i64::from(settings.pipeline.concurrency_share);
    let mut errors = Vec::new();
    if age < 0 {
        let text = "records are retried until their retention ends, and are then lost: \
                    set MaximumRecordAgeInSeconds below the retention";
        errors.push(text.to_owned());
    } else if age >= retention {
        errors.push(format!(
            "it deletes records after {}h, but they are retried for {}h: lengthen its retention",
            retention / 3600,
            age / 3600
        ));
    }
    errors.extend(lost_order(stream, settings));
    errors.extend(too_large_records(stream));
    let has_table = !settings.state.table.is_empty();
    if concurrency > share && !has_table {
        errors.push(format!(
            "{concurrency} invocations can run at once (shards x factor), \
             and each uses 1/{share} of the rate limits: \
             set pipeline.concurrency_share to {concurrency}"
        ));
    }
    let mut text = format!(
        "keeps records for {}h, retried for {}h; {concurrency} invocations at once",
        retention / 3600,
        age / 3600
    );
    if concurrency > share && has_table {
        let _ = write!(
            text,
            ", which share the rate limits through the table; \
             without a response of the table each uses 1/{share}"
        );
    }
    Line::from_errors("stream", text, &errors)
}

/// Returns the error of a stream that spreads the changes of a contact over its shards. The changes
/// are then compared by their versions, or an older one may win.
fn lost_order(stream: &StreamDescriptionSummary, settings: &Settings) -> Option<String> {
    let is_spread =
        stream.record_distribution_strategy() == Some(&RecordDistributionStrategy::Auto);
    let is_guarded =
        settings.guard.mode == GuardMode::Always && missing_guards(settings).is_empty();
    (is_spread && !is_guarded).then(|| {
        "RecordDistributionStrategy is AUTO, which ignores partition keys: the changes of a \
         contact arrive in any order. Set it to USER_PARTITION_KEY, or guard.mode to always with \
         a version field in each system"
            .to_owned()
    })
}

/// Returns the error of a stream that takes records which no invocation can get.
fn too_large_records(stream: &StreamDescriptionSummary) -> Option<String> {
    let largest = stream.max_record_size_in_kib()?;
    (largest > LARGEST_RECORD_KIB).then(|| {
        format!(
            "it takes records of {largest} KiB, and an invocation gets none above \
             {LARGEST_RECORD_KIB} KiB: the mapping gives them up. Lower MaxRecordSizeInKiB"
        )
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_lambda::types::{DestinationConfig, OnFailure, ProvisionedPollerConfig};
    use contact_sync::adapters::DESTINATIONS;
    use contact_sync::settings::{Layer, Preset, load};

    use super::super::State;
    use super::*;

    fn mapping() -> aws_sdk_lambda::types::builders::EventSourceMappingConfigurationBuilder {
        let destination = DestinationConfig::builder()
            .on_failure(OnFailure::builder().destination("arn:bucket").build());
        EventSourceMappingConfiguration::builder()
            .state("Enabled")
            .function_response_types(FunctionResponseType::ReportBatchItemFailures)
            .bisect_batch_on_function_error(true)
            .maximum_retry_attempts(-1)
            .maximum_record_age_in_seconds(6 * 86_400)
            .parallelization_factor(2)
            .destination_config(destination.build())
    }

    #[test]
    fn a_mapping_that_loses_records_fails_its_check() {
        assert_eq!(check_mapping(&mapping().build()).state, State::Ok);
        assert_eq!(
            check_mapping(&mapping().state("Disabled").build()).state,
            State::Skipped
        );
        let both = check_mapping(
            &mapping()
                .state("Disabled")
                .maximum_retry_attempts(3)
                .build(),
        );
        assert_eq!(both.state, State::Fail, "{}", both.text());
        for (mapping, part) in [
            (mapping().set_function_response_types(None), "LOST"),
            (
                mapping().bisect_batch_on_function_error(false),
                "BisectBatchOnFunctionError",
            ),
            (mapping().maximum_retry_attempts(3), "MaximumRetryAttempts"),
            (mapping().set_destination_config(None), "OnFailure"),
        ] {
            let line = check_mapping(&mapping.build());
            assert!(
                line.state == State::Fail && line.text.contains(part),
                "{}",
                line.text()
            );
        }
    }

    #[test]
    fn the_last_result_of_a_mapping_is_shown_and_a_problem_is_a_warning() {
        let result = "PROBLEM: the consumer was deleted";
        let shown = mapping().last_processing_result(result).build();
        let topic = mapping()
            .last_processing_result(result)
            .topics("contacts")
            .maximum_retry_attempts(10_000)
            .provisioned_poller_config(ProvisionedPollerConfig::builder().build());
        for line in [check_mapping(&shown), check_kafka_mapping(&topic.build())] {
            assert!(line.text.contains(result), "{}", line.text());
            assert_eq!(line.state, State::Warn, "{}", line.text());
        }
        for result in ["OK", "No records processed"] {
            let line = check_mapping(&mapping().last_processing_result(result).build());
            assert_eq!(line.state, State::Ok, "{}", line.text());
        }
    }

    #[test]
    fn no_record_of_a_topic_is_sampled_and_the_line_names_the_way_to_a_sample() {
        let mapping = mapping().topics("contacts").build();
        assert_eq!(kafka_lines(&mapping, None).len(), 1);
        let lines = kafka_lines(&mapping, Some(70));
        assert_eq!((lines.len(), lines[1].state), (2, State::Skipped));
        for part in ["--max-messages 70", "source guess FILE"] {
            assert!(lines[1].text.contains(part), "{}", lines[1].text());
        }
    }

    #[test]
    fn a_mapping_of_kafka_needs_provisioned_mode_and_a_number_of_retries() {
        let good = || {
            mapping()
                .topics("contacts")
                .maximum_retry_attempts(10_000)
                .provisioned_poller_config(ProvisionedPollerConfig::builder().build())
        };
        assert!(is_of_kafka(&good().build()) && !is_of_kafka(&mapping().build()));
        let line = check_kafka_mapping(&good().build());
        assert!(
            line.state == State::Ok && line.text.contains("topic contacts"),
            "{}",
            line.text()
        );
        for (mapping, part) in [
            (good().maximum_retry_attempts(-1), "-1 means 10"),
            (
                good().maximum_record_age_in_seconds(-1),
                "MaximumRecordAgeInSeconds",
            ),
            (
                good().set_provisioned_poller_config(None),
                "ProvisionedPollerConfig",
            ),
            (good().set_function_response_types(None), "LOST"),
        ] {
            let line = check_kafka_mapping(&mapping.build());
            assert!(
                line.state == State::Fail && line.text.contains(part),
                "{}",
                line.text()
            );
        }
    }

    #[test]
    fn a_stream_that_ignores_keys_or_takes_too_large_records_fails_its_check() {
        let with = |document: &str| {
            let layer = Layer::from_toml("the test", document).expect("TOML");
            load(Preset::Test, &[layer], &DESTINATIONS).expect("good settings")
        };
        let settings = with("");
        let stream = |strategy: RecordDistributionStrategy, kib| {
            let stream = StreamDescriptionSummary::builder()
                .record_distribution_strategy(strategy)
                .max_record_size_in_kib(kib);
            // The builder wants every required field.
            let stream = stream.stream_name("s").stream_arn("arn");
            let stream = stream
                .stream_status(aws_sdk_kinesis::types::StreamStatus::Active)
                .retention_period_hours(168)
                .stream_creation_timestamp(aws_sdk_kinesis::primitives::DateTime::from_secs(0))
                .set_enhanced_monitoring(Some(Vec::new()))
                .open_shard_count(1);
            stream.build().expect("all fields")
        };
        let by_key = || RecordDistributionStrategy::UserPartitionKey;
        let auto = || RecordDistributionStrategy::Auto;
        assert_eq!(lost_order(&stream(by_key(), 1024), &settings), None);
        assert!(lost_order(&stream(auto(), 1024), &settings).is_some());
        let guarded = with(
            "[guard]\nmode = \"always\"\n[salesforce]\nversion_field = \"Version__c\"\n\
             [hubspot]\nversion_property = \"version\"",
        );
        assert_eq!(lost_order(&stream(auto(), 1024), &guarded), None);
        assert_eq!(too_large_records(&stream(by_key(), 1024)), None);
        assert!(too_large_records(&stream(by_key(), 10_240)).is_some());
    }

    #[test]
    fn a_stream_with_a_short_retention_or_too_many_invocations_fails_its_check() {
        let mut settings = load(Preset::Test, &[], &DESTINATIONS).expect("good settings");
        settings.pipeline.concurrency_share = 8;
        let stream = |hours: i32, shards: i32| {
            let stream = StreamDescriptionSummary::builder()
                .retention_period_hours(hours)
                .open_shard_count(shards);
            let stream = stream
                .stream_name("s")
                .stream_arn("arn")
                .stream_status("ACTIVE".into());
            let stream = stream
                .stream_creation_timestamp(aws_sdk_kinesis::primitives::DateTime::from_secs(0));
            stream
                .set_enhanced_monitoring(Some(Vec::new()))
                .build()
                .expect("a stream")
        };
        assert_eq!(
            check_stream(&mapping().build(), &stream(168, 4), &settings).state,
            State::Ok
        );
        for (mapping, stream, part) in [
            (
                mapping(),
                stream(24, 4),
                "after 24h, but they are retried for 144h",
            ),
            (
                mapping().maximum_record_age_in_seconds(-1),
                stream(168, 4),
                "below the retention",
            ),
            (mapping(), stream(168, 5), "concurrency_share to 10"),
        ] {
            let line = check_stream(&mapping.build(), &stream, &settings);
            assert!(
                line.state == State::Fail && line.text.contains(part),
                "{}",
                line.text()
            );
        }
        settings.state.table = "settled".to_owned();
        let line = check_stream(&mapping().build(), &stream(168, 5), &settings);
        assert!(
            line.state == State::Ok && line.text.contains("through the table"),
            "{}",
            line.text()
        );
    }
}
