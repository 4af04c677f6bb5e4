//! The queue, the table and the parameter.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    KeyType, ScalarAttributeType, TableDescription, TimeToLiveDescription, TimeToLiveStatus,
};
use aws_sdk_sqs::types::QueueAttributeName;
use contact_sync::settings::{DocumentSource, Settings};

use super::super::deployment::Deployment;
use super::super::failure::Failure;
use super::super::settings::SET_QUEUE;
use super::Line;

const A_DAY: u64 = 86_400;

/// As long as SQS keeps a message at most, in days; by itself it is 4.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html>
const MOST_DAYS: u64 = 14;

pub(super) async fn look(deployment: &Deployment, settings: &Settings) -> Vec<Line> {
    vec![
        parameter(deployment),
        queue(deployment, settings).await,
        table(deployment, settings).await,
    ]
}

/// The document was read with the settings; the line says from where.
fn parameter(deployment: &Deployment) -> Line {
    let name = "settings document";
    match &deployment.environment.document {
        None => Line::skipped(name, "none: CONTACT_SYNC_CONFIG is not set"),
        Some(DocumentSource::File(path)) => {
            Line::ok(name, format!("{} is readable", path.display()))
        }
        Some(DocumentSource::Parameter(parameter)) => {
            Line::ok(name, format!("parameter {parameter} is readable"))
        }
    }
}

async fn queue(deployment: &Deployment, settings: &Settings) -> Line {
    let name = "dead-letter queue";
    let url = &settings.dead_letter.queue_url;
    if url.is_empty() {
        return no_queue(name, deployment);
    }
    let sqs = aws_sdk_sqs::Client::new(&deployment.aws);
    let answer = sqs
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(QueueAttributeName::All)
        .send()
        .await;
    match answer {
        Ok(answer) => judge_queue(name, &answer.attributes.unwrap_or_default()),
        Err(error) => {
            let failure = Failure::aws(
                &format!("looking at the queue {url}"),
                "sqs:GetQueueAttributes",
                &error,
            );
            Line::fail(name, failure.to_string())
        }
    }
}

/// Without a queue developers' presets only log, and no other starts. A shell may see settings
/// without that of the deployment.
fn no_queue(name: &str, deployment: &Deployment) -> Line {
    let preset = deployment.environment.preset;
    match deployment.is_deployed {
        _ if preset.is_for_developers() => {
            Line::skipped(name, "none: rejected records are only logged")
        }
        true => {
            let what = format!(
                "none, and the preset {} does not start without one",
                preset.name()
            );
            Line::fail(
                name,
                format!(
                    "{what}: set dead_letter.queue_url, or CONTACT_SYNC__DEAD_LETTER__QUEUE_URL"
                ),
            )
        }
        false => Line::skipped(
            name,
            format!("not looked at: these settings name none; {SET_QUEUE}"),
        ),
    }
}

fn judge_queue(name: &str, attributes: &HashMap<QueueAttributeName, String>) -> Line {
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
    let short = format!(
        "it keeps messages for {}h, in which nobody may look: set MessageRetentionPeriod to {MOST_DAYS} days",
        retention / 3600
    );
    let open =
        "it is not encrypted, and holds contact data: set SqsManagedSseEnabled or KmsMasterKeyId"
            .to_owned();
    let wrong = [(retention < A_DAY, short), (!is_encrypted, open)];
    let wrong: Vec<String> = wrong
        .into_iter()
        .filter(|(is_wrong, _)| *is_wrong)
        .map(|(_, text)| text)
        .collect();
    let waiting = number(QueueAttributeName::ApproximateNumberOfMessages).unwrap_or_default();
    let days = retention / A_DAY;
    let hint = if days < MOST_DAYS {
        format!(" ({MOST_DAYS} are allowed)")
    } else {
        String::new()
    };
    Line::of(
        name,
        format!("keeps messages for {days} days{hint}, encrypted; {waiting} wait"),
        &wrong,
    )
}

async fn table(deployment: &Deployment, settings: &Settings) -> Line {
    let (name, table) = ("state table", &settings.state.table);
    if table.is_empty() {
        return Line::skipped(
            name,
            "none: settled records may be sent again after a partial failure",
        );
    }
    let client = aws_sdk_dynamodb::Client::new(&deployment.aws);
    let doing = format!("looking at the table {table}");
    let described = match client.describe_table().table_name(table).send().await {
        Ok(answer) => answer.table,
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
        Ok(answer) => answer.time_to_live_description,
        Err(error) => {
            return Line::fail(
                name,
                Failure::aws(&doing, "dynamodb:DescribeTimeToLive", &error).to_string(),
            );
        }
    };
    judge_table(name, described.as_ref(), expiry.as_ref())
}

fn judge_table(
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
    let no_keys =
        "its keys are others: make a table with the partition key pk (S) and the sort key sk (S)"
            .to_owned();
    let no_expiry =
        "its items never expire: set its time to live to the attribute expires_at".to_owned();
    let wrong = [(!has_keys, no_keys), (!expires, no_expiry)];
    let wrong: Vec<String> = wrong
        .into_iter()
        .filter(|(is_wrong, _)| *is_wrong)
        .map(|(_, text)| text)
        .collect();
    Line::of(name, "keys pk and sk, expiry at expires_at", &wrong)
}
