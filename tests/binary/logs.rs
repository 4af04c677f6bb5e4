//! Tests of the log on standard output of the real binary, which CloudWatch receives.

use std::path::Path;

use serde_json::Value;
use testkit::harness::Mocks;
use testkit::runtime_api::Function;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{BINARY, TIME, event, variables};

/// Invokes the function once, with additional variables. Returns the lines of the invocation.
async fn lines(extra: &[(&str, &str)]) -> Vec<String> {
    let mocks = Mocks::start().await;
    let mut variables = variables(&mocks);
    variables.extend(
        extra
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    let mut function = Function::start(Path::new(BINARY), &variables).await;
    function.time_to_first_poll().await.expect("it starts");
    let before = function.lines().len();
    assert_eq!(
        function.invoke(event(), "r-1", TIME).await.failures(),
        [""; 0]
    );
    function.kill().await;
    function.exit().await;
    function.lines().split_off(before)
}

#[tokio::test]
async fn every_line_is_flat_json_with_time_level_and_ids_of_its_invocation() {
    let lines = lines(&[]).await;
    let (mut audits, mut metrics) = (0, 0);
    for line in &lines {
        let fields: serde_json::Map<String, Value> =
            serde_json::from_str(line).expect("a JSON object");
        let text = |name: &str| {
            fields
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_else(|| panic!("no {name}: {line}"))
        };
        assert!(
            OffsetDateTime::parse(text("timestamp"), &Rfc3339).is_ok(),
            "{line}"
        );
        assert!(
            ["DEBUG", "INFO", "WARN", "ERROR"].contains(&text("level")),
            "{line}"
        );
        assert_eq!(
            (text("request_id"), text("trace_id")),
            ("r-1", "1-5bef4de7-ad49b0e87f6ef6c87fc2e700"),
            "{line}"
        );
        assert_eq!(text("shard_id"), "shardId-000000000000", "{line}");
        assert!(!text("message").is_empty(), "{line}");
        assert_eq!(
            line.matches("\"request_id\"").count(),
            1,
            "no key twice: {line}"
        );
        let nested = fields
            .iter()
            .filter(|(name, value)| *name != "_aws" && value.is_object())
            .count();
        assert_eq!(nested, 0, "{line}");
        audits += usize::from(fields.get("audit") == Some(&Value::Bool(true)));
        metrics += usize::from(fields.contains_key("_aws"));
    }
    assert_eq!(
        (audits, metrics),
        (2, 3),
        "a line for each record, and metrics once: {lines:#?}"
    );
}

#[tokio::test]
async fn lambdas_log_level_and_format_apply_to_all_lines_but_metrics() {
    let quiet = lines(&[("AWS_LAMBDA_LOG_LEVEL", "ERROR")]).await;
    assert!(
        quiet.len() == 3 && quiet.iter().all(|line| line.contains("\"_aws\"")),
        "{quiet:#?}"
    );

    let text = lines(&[("AWS_LAMBDA_LOG_FORMAT", "Text")]).await;
    let (metrics, text): (Vec<_>, Vec<_>) =
        text.into_iter().partition(|line| line.starts_with('{'));
    assert_eq!(metrics.len(), 3, "{metrics:#?}");
    assert!(!text.is_empty());
    assert!(
        text.iter()
            .all(|line| line.contains(" INFO  ") && line.contains(" request_id=r-1")),
        "{text:#?}"
    );
}
