//! Amazon DynamoDB as the state table.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use futures_util::FutureExt;

use crate::services::{NumberUpdate, ServiceCall, StateItem, StateTable, Updated};

type Item = HashMap<String, AttributeValue>;

impl StateTable for Client {
    fn time_limit(&self) -> Option<Duration> {
        self.config()
            .timeout_config()
            .and_then(TimeoutConfig::operation_timeout)
    }

    /// Reads consistently: a batch comes again within a second.
    fn query<'a>(
        &'a self,
        table: &'a str,
        partition_key: String,
        first: String,
        most_pages: usize,
    ) -> ServiceCall<'a, (Vec<StateItem>, bool)> {
        async move {
            let query = self
                .query()
                .table_name(table)
                .consistent_read(true)
                .key_condition_expression("pk = :pk AND sk >= :first")
                .expression_attribute_values(":pk", AttributeValue::S(partition_key))
                .expression_attribute_values(":first", AttributeValue::S(first));
            let mut items = Vec::new();
            let mut page = None;
            for _ in 0..most_pages {
                let call = query.clone().set_exclusive_start_key(page);
                let answer = call.send().await.map_err(SdkError::into_service_error)?;
                items.extend(answer.items.unwrap_or_default().into_iter().map(read));
                page = answer.last_evaluated_key;
                if page.is_none() {
                    break;
                }
            }
            Ok((items, page.is_none()))
        }
        .boxed()
    }

    fn put<'a>(
        &'a self,
        table: &'a str,
        partition_key: String,
        item: StateItem,
        expires_at: u64,
    ) -> ServiceCall<'a, ()> {
        let names = item
            .destinations
            .into_iter()
            .map(AttributeValue::S)
            .collect();
        let item = [
            ("pk", AttributeValue::S(partition_key)),
            ("sk", AttributeValue::S(item.sort_key)),
            ("destinations", AttributeValue::L(names)),
            ("records", AttributeValue::B(Blob::new(item.records))),
            ("expires_at", AttributeValue::N(expires_at.to_string())),
        ];
        let item = item.map(|(name, value)| (name.to_owned(), value));
        let call = self
            .put_item()
            .table_name(table)
            .set_item(Some(Item::from(item)));
        async move {
            call.send().await.map_err(SdkError::into_service_error)?;
            Ok(())
        }
        .boxed()
    }

    fn update<'a>(&'a self, table: &'a str, update: NumberUpdate<'a>) -> ServiceCall<'a, Updated> {
        let values = update
            .values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), AttributeValue::N(value.to_string())));
        let request = self
            .update_item()
            .table_name(table)
            .key("pk", AttributeValue::S(update.partition_key.to_owned()))
            .key("sk", AttributeValue::S(update.sort_key.to_owned()))
            .update_expression(update.change)
            .condition_expression(update.condition)
            .set_expression_attribute_values(Some(values.collect()))
            .return_values(ReturnValue::UpdatedNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let once = Builder::new().retry_config(RetryConfig::disabled());
        let call = request.customize().config_override(once);
        async move {
            let number =
                |item: Option<&Item>| item?.get(update.attribute)?.as_n().ok()?.parse().ok();
            match call.send().await {
                Ok(answer) => Ok(Updated::Yes(number(answer.attributes()))),
                Err(error) => match error.into_service_error() {
                    UpdateItemError::ConditionalCheckFailedException(held) => {
                        Ok(Updated::No(number(held.item())))
                    }
                    error => Err(error.into()),
                },
            }
        }
        .boxed()
    }
}

/// Reads an item. An attribute that it lacks, or has with another type, is empty.
fn read(item: Item) -> StateItem {
    let mut read = StateItem::default();
    for (name, value) in item {
        match (name.as_str(), value) {
            ("sk", AttributeValue::S(key)) => read.sort_key = key,
            ("records", AttributeValue::B(bytes)) => read.records = bytes.into_inner(),
            ("destinations", AttributeValue::L(names)) => {
                read.destinations = names.into_iter().filter_map(text).collect();
            }
            _ => {}
        }
    }
    read
}

fn text(value: AttributeValue) -> Option<String> {
    match value {
        AttributeValue::S(text) => Some(text),
        _ => None,
    }
}
