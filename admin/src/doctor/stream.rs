//! The event source mapping, and the stream that it reads.

use std::fmt::Write;

use aws_sdk_kinesis::types::StreamDescriptionSummary;
use aws_sdk_lambda::types::{EventSourceMappingConfiguration, FunctionResponseType};
use contact_sync::settings::Settings;

use super::super::deployment::{Deployment, Target};
use super::super::failure::Failure;
use super::super::stream::without_consumer;
use super::Line;

/// Fewer tries than that turn an outage of minutes into a mass of given-up batches.
const FEW_TRIES: i32 = 1000;

pub(super) async fn look(
    deployment: &Deployment,
    target: &Target,
    settings: &Settings,
) -> Vec<Line> {
    let Some(function) = &target.function else {
        return vec![Line::skipped(
            "event source mapping",
            "not looked at: --function NAME names the function",
        )];
    };
    let mappings = match deployment.mappings(function).await {
        Ok(mappings) if mappings.is_empty() => {
            let remedy =
                format!("{function} reads no Kinesis stream: make an event source mapping");
            return vec![Line::fail("event source mapping", remedy)];
        }
        Ok(mappings) => mappings,
        Err(failure) => return vec![Line::fail("event source mapping", failure.to_string())],
    };
    let mut lines = Vec::new();
    for mapping in &mappings {
        lines.push(judge_mapping(mapping));
        lines.push(match summary(deployment, mapping).await {
            Ok(stream) => judge_stream(mapping, &stream, settings),
            Err(failure) => Line::fail("stream", failure.to_string()),
        });
    }
    lines
}

async fn summary(
    deployment: &Deployment,
    mapping: &EventSourceMappingConfiguration,
) -> Result<StreamDescriptionSummary, Failure> {
    let arn = without_consumer(mapping.event_source_arn().unwrap_or_default());
    let kinesis = aws_sdk_kinesis::Client::new(&deployment.aws);
    let answer = kinesis
        .describe_stream_summary()
        .stream_arn(arn)
        .send()
        .await;
    let answer = answer.map_err(|error| {
        Failure::aws(
            &format!("looking at the stream {arn}"),
            "kinesis:DescribeStreamSummary",
            &error,
        )
    })?;
    answer
        .stream_description_summary
        .ok_or_else(|| Failure::new("the answer describes no stream", "try again"))
}

/// What a mapping has to say so that nothing is lost, and nothing that succeeded is repeated
/// without need.
fn judge_mapping(mapping: &EventSourceMappingConfiguration) -> Line {
    let reports = mapping
        .function_response_types()
        .contains(&FunctionResponseType::ReportBatchItemFailures);
    let tries = mapping.maximum_retry_attempts().unwrap_or(-1);
    let destination = mapping
        .destination_config()
        .and_then(|config| config.on_failure()?.destination());
    let state = mapping.state().unwrap_or("unknown");
    let wrong = [
        (
            !reports,
            "a partly failed batch counts as done, and its failures are LOST: set FunctionResponseTypes to \
             ReportBatchItemFailures",
        ),
        (
            !mapping.bisect_batch_on_function_error().unwrap_or_default(),
            "a batch is given up whole: set BisectBatchOnFunctionError",
        ),
        (
            (0..FEW_TRIES).contains(&tries),
            "few tries are over within seconds of an outage: set MaximumRetryAttempts to -1, and let the age decide",
        ),
        (
            destination.is_none(),
            "what it gives up is gone: set DestinationConfig.OnFailure",
        ),
    ];
    let wrong: Vec<String> = wrong
        .into_iter()
        .filter(|(is_wrong, _)| *is_wrong)
        .map(|(_, text)| text.to_owned())
        .collect();
    let found =
        format!("{state}; reports item failures, halves failed batches, keeps what it gives up");
    let name = "event source mapping";
    if wrong.is_empty() && matches!(state, "Disabled" | "Disabling") {
        // As the template makes it: doctor is asked before anything is read.
        return Line::skipped(
            name,
            format!("{found}; it reads nothing until it is enabled"),
        );
    }
    Line::of(name, found, &wrong)
}

/// A record has to be there for as long as it is tried; each invocation has to know its share of
/// the limits.
fn judge_stream(
    mapping: &EventSourceMappingConfiguration,
    stream: &StreamDescriptionSummary,
    settings: &Settings,
) -> Line {
    let retention = i64::from(stream.retention_period_hours()) * 3600;
    let age = i64::from(mapping.maximum_record_age_in_seconds().unwrap_or(-1));
    let factor = i64::from(mapping.parallelization_factor().unwrap_or(1).max(1));
    let at_once = i64::from(stream.open_shard_count()) * factor;
    let share = i64::from(settings.pipeline.concurrency_share);
    let mut wrong = Vec::new();
    if age < 0 {
        wrong.push(
            "records are tried until the stream forgets them, and then they are gone: set MaximumRecordAgeInSeconds \
             below the retention"
                .to_owned(),
        );
    } else if age >= retention {
        wrong.push(format!(
            "it forgets records after {}h, but they are tried for {}h: lengthen its retention",
            retention / 3600,
            age / 3600
        ));
    }
    let has_table = !settings.state.table.is_empty();
    if at_once > share && !has_table {
        wrong.push(format!(
            "{at_once} invocations may run at once (shards x factor), each taking a share of {share} of the rate limits: \
             set pipeline.concurrency_share to {at_once}"
        ));
    }
    let mut found = format!(
        "keeps records for {}h, tried for {}h; {at_once} invocations at once",
        retention / 3600,
        age / 3600
    );
    if at_once > share && has_table {
        let _ = write!(
            found,
            ", which share the rate limits through the table; while it is silent each takes 1/{share}"
        );
    }
    Line::of("stream", found, &wrong)
}

#[cfg(test)]
mod tests {
    use aws_sdk_lambda::types::{DestinationConfig, OnFailure};
    use contact_sync::factory::DESTINATIONS;
    use contact_sync::settings::{Preset, load};

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
    fn a_mapping_that_loses_records_is_found_out() {
        assert_eq!(judge_mapping(&mapping().build()).state, State::Ok);
        assert_eq!(
            judge_mapping(&mapping().state("Disabled").build()).state,
            State::Skipped
        );
        let both = judge_mapping(
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
            let line = judge_mapping(&mapping.build());
            assert!(
                line.state == State::Fail && line.text.contains(part),
                "{}",
                line.text()
            );
        }
    }

    #[test]
    fn a_stream_that_forgets_too_soon_or_has_too_many_readers_is_found_out() {
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
            judge_stream(&mapping().build(), &stream(168, 4), &settings).state,
            State::Ok
        );
        for (mapping, stream, part) in [
            (
                mapping(),
                stream(24, 4),
                "after 24h, but they are tried for 144h",
            ),
            (
                mapping().maximum_record_age_in_seconds(-1),
                stream(168, 4),
                "below the retention",
            ),
            (mapping(), stream(168, 5), "concurrency_share to 10"),
        ] {
            let line = judge_stream(&mapping.build(), &stream, &settings);
            assert!(
                line.state == State::Fail && line.text.contains(part),
                "{}",
                line.text()
            );
        }
        settings.state.table = "settled".to_owned();
        let line = judge_stream(&mapping().build(), &stream(168, 5), &settings);
        assert!(
            line.state == State::Ok && line.text.contains("through the table"),
            "{}",
            line.text()
        );
    }
}
