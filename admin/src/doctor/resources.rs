//! Checks of the dead-letter queue, the state table and the settings parameter.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{
    KeyType, ScalarAttributeType, TableDescription, TimeToLiveDescription, TimeToLiveStatus,
};
use aws_sdk_sqs::types::QueueAttributeName;
use contact_sync::settings::{DocumentSource, Settings};

use super::super::deployment::Deployment;
use super::super::failure::Failure;
use super::super::settings::SET_QUEUE;
use super::Line;

const SECS_PER_DAY: u64 = 86_400;

/// Time limit of one read of the parameter.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest retention of a message in SQS, in days. The default is 4.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html>
const MAX_RETENTION_DAYS: u64 = 14;

/// Checks the settings document, the queue and the table.
pub(super) async fn check(deployment: &Deployment, settings: &Settings) -> Vec<Line> {
    vec![
        check_parameter(deployment).await,
        check_queue(deployment, settings).await,
        check_table(deployment, settings).await,
    ]
}

/// Reports the source of the settings document, which was read with the settings. A parameter is
/// read again: for the settings, one that does not exist is no error.
async fn check_parameter(deployment: &Deployment) -> Line {
    let name = "settings document";
    match &deployment.environment.document {
        None => Line::skipped(name, "none: CONTACT_SYNC_CONFIG is not set"),
        Some(DocumentSource::File(path)) => {
            Line::ok(name, format!("{} is readable", path.display()))
        }
        Some(source @ DocumentSource::Parameter(parameter)) => {
            let ssm = aws_sdk_ssm::Client::new(&deployment.aws);
            match source.read(&ssm, READ_TIMEOUT).await {
                Ok(Some(_)) => Line::ok(name, format!("parameter {parameter} is readable")),
                Ok(None) => Line::skipped(
                    name,
                    format!(
                        "the parameter {parameter} does not exist, and the preset alone is in \
                         force: store the document in it if there is to be one"
                    ),
                ),
                Err(error) => Line::fail(name, format!("{error}: try again")),
            }
        }
    }
}

async fn check_queue(deployment: &Deployment, settings: &Settings) -> Line {
    let name = "dead-letter queue";
    let url = &settings.dead_letter.queue_url;
    if url.is_empty() {
        return no_queue(name, deployment);
    }
    let sqs = aws_sdk_sqs::Client::new(&deployment.aws);
    let response = sqs
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(QueueAttributeName::All)
        .send()
        .await;
    match response {
        Ok(response) => check_queue_attributes(name, &response.attributes.unwrap_or_default()),
        Err(error) => {
            let failure = Failure::aws(
                &format!("reading the attributes of the queue {url}"),
                "sqs:GetQueueAttributes",
                &error,
            );
            Line::fail(name, failure.to_string())
        }
    }
}

/// Reports a missing queue. The developers' presets log rejected records instead, and the other
/// presets do not start. Settings of a shell may lack the queue that the deployment sets.
fn no_queue(name: &str, deployment: &Deployment) -> Line {
    let preset = deployment.environment.preset;
    match deployment.is_deployed {
        _ if preset.is_for_developers() => {
            Line::skipped(name, "none: rejected records are only logged")
        }
        true => {
            let preset = preset.name();
            let text = format!(
                "none, and the preset {preset} does not start without one: \
                 set dead_letter.queue_url, or CONTACT_SYNC__DEAD_LETTER__QUEUE_URL"
            );
            Line::fail(name, text)
        }
        false => Line::skipped(
            name,
            format!("not checked: these settings name none; {SET_QUEUE}"),
        ),
    }
}

/// Checks the retention and the encryption of the queue.
fn check_queue_attributes(name: &str, attributes: &HashMap<QueueAttributeName, String>) -> Line {
    let number = |name: QueueAttributeName| {
        attributes
            .get(&name)
            .and_then(|text| text.parse::<u64>().ok())
    };
    let retention = number(QueueAttributeName::MessageRetentionPeriod).unwrap_or_default();
    let is_encrypted = attributes
        .get(&QueueAttributeName::SqsManagedSseEnabled)
        .is_some_and(|on| on == "true")
        || attributes.contains_key(&QueueAttributeName::KmsMasterKeyId);
    let mut errors = Vec::new();
    if retention < SECS_PER_DAY {
        errors.push(format!(
            "it keeps messages for only {}h: \
             set MessageRetentionPeriod to {MAX_RETENTION_DAYS} days",
            retention / 3600
        ));
    }
    if !is_encrypted {
        let text = "it is not encrypted, and holds contact data: \
                    set SqsManagedSseEnabled or KmsMasterKeyId";
        errors.push(text.to_owned());
    }
    let messages = number(QueueAttributeName::ApproximateNumberOfMessages).unwrap_or_default();
    let days = retention / SECS_PER_DAY;
    let hint = if days < MAX_RETENTION_DAYS {
        format!(" ({MAX_RETENTION_DAYS} are allowed)")
    } else {
        String::new()
    };
    Line::from_errors(
        name,
        format!("keeps messages for {days} days{hint}, encrypted; messages: {messages}"),
        &errors,
    )
}

async fn check_table(deployment: &Deployment, settings: &Settings) -> Line {
    let (name, table) = ("state table", &settings.state.table);
    if table.is_empty() {
        return Line::warn(
            name,
            "none: settled records may be sent again after a partial failure",
        );
    }
    let client = aws_sdk_dynamodb::Client::new(&deployment.aws);
    let doing = format!("describing the table {table}");
    let described = match client.describe_table().table_name(table).send().await {
        Ok(response) => response.table,
        Err(error) => {
            return Line::fail(
                name,
                Failure::aws(&doing, "dynamodb:DescribeTable", &error).to_string(),
            );
        }
    };
    let expiry = match client
        .describe_time_to_live()
        .table_name(table)
        .send()
        .await
    {
        Ok(response) => response.time_to_live_description,
        Err(error) => {
            return Line::fail(
                name,
                Failure::aws(&doing, "dynamodb:DescribeTimeToLive", &error).to_string(),
            );
        }
    };
    check_table_schema(name, described.as_ref(), expiry.as_ref())
}

/// Checks the keys of the table and the expiry of its items.
fn check_table_schema(
    name: &str,
    table: Option<&TableDescription>,
    expiry: Option<&TimeToLiveDescription>,
) -> Line {
    let keys = table.map(TableDescription::key_schema).unwrap_or_default();
    let types = table
        .map(TableDescription::attribute_definitions)
        .unwrap_or_default();
    let has = |attribute: &str, key: &KeyType| {
        keys.iter()
            .any(|k| k.attribute_name() == attribute && k.key_type() == key)
            && types.iter().any(|t| {
                t.attribute_name() == attribute && *t.attribute_type() == ScalarAttributeType::S
            })
    };
    let has_keys = keys.len() == 2 && has("pk", &KeyType::Hash) && has("sk", &KeyType::Range);
    let expires = expiry.is_some_and(|expiry| {
        expiry.attribute_name() == Some("expires_at")
            && matches!(
                expiry.time_to_live_status(),
                Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
            )
    });
    let mut errors = Vec::new();
    if !has_keys {
        let text = "its keys differ: \
                    create a table with the partition key pk (S) and the sort key sk (S)";
        errors.push(text.to_owned());
    }
    if !expires {
        let text = "its items never expire: set its time to live to the attribute expires_at";
        errors.push(text.to_owned());
    }
    Line::from_errors(name, "keys pk and sk, expiry at expires_at", &errors)
}
