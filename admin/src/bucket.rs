//! S3 bucket that receives the whole events which the event source mapping discards.

use std::str::FromStr;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::failure::Failure;

/// Location of objects: `s3://BUCKET/PREFIX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    bucket: String,
    prefix: String,
}

impl FromStr for Location {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text
            .strip_prefix("s3://")
            .ok_or("allowed: s3://BUCKET or s3://BUCKET/PREFIX")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err("the bucket is missing; allowed: s3://BUCKET or s3://BUCKET/PREFIX");
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

/// The objects at a location.
#[derive(Debug)]
pub(crate) struct Bucket {
    client: Client,
    location: Location,
}

impl Bucket {
    /// Creates a client for the objects at `location`.
    pub(crate) fn new(aws: &SdkConfig, location: &Location) -> Self {
        Self {
            client: Client::new(aws),
            location: location.clone(),
        }
    }

    /// Lists the keys of the objects. The mapping names objects by shard and time: the order of the
    /// keys is the order of the events in the stream.
    pub(crate) async fn keys(&self) -> Result<Vec<String>, Failure> {
        let call = self
            .client
            .list_objects_v2()
            .bucket(&self.location.bucket)
            .prefix(&self.location.prefix);
        let mut pages = call.into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failure("listing", "s3:ListBucket", &error))?;
            keys.extend(
                page.contents
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|object| object.key),
            );
        }
        Ok(keys)
    }

    /// Reads the text of an object. Returns an empty text for an object that is not UTF-8.
    pub(crate) async fn read(&self, key: &str) -> Result<String, Failure> {
        let response = self
            .client
            .get_object()
            .bucket(&self.location.bucket)
            .key(key)
            .send()
            .await;
        let response =
            response.map_err(|error| self.failure("reading from", "s3:GetObject", &error))?;
        let body = response.body.collect().await.map_err(|error| {
            Failure::new(
                format!("reading {key}: {error}"),
                "run the command again: nothing is lost",
            )
        })?;
        Ok(String::from_utf8(body.to_vec()).unwrap_or_default())
    }

    /// Deletes an object.
    pub(crate) async fn delete(&self, key: &str) -> Result<(), Failure> {
        let response = self
            .client
            .delete_object()
            .bucket(&self.location.bucket)
            .key(key)
            .send()
            .await;
        response.map_err(|error| self.failure("deleting from", "s3:DeleteObject", &error))?;
        Ok(())
    }

    /// Builds the failure of a call that needs `permission`, with the name of the bucket.
    fn failure<E, R>(&self, doing: &str, permission: &str, error: &SdkError<E, R>) -> Failure
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        Failure::aws(
            &format!("{doing} the bucket {}", self.location.bucket),
            permission,
            error,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_has_a_bucket_and_an_optional_prefix() {
        let location = |bucket: &str, prefix: &str| Location {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        };
        assert_eq!("s3://failed".parse(), Ok(location("failed", "")));
        assert_eq!(
            "s3://failed/aws/lambda/".parse(),
            Ok(location("failed", "aws/lambda/"))
        );
        for text in ["failed/aws", "s3://", "s3:///aws", "https://failed"] {
            assert!(
                text.parse::<Location>()
                    .is_err_and(|error| error.contains("allowed: s3://BUCKET")),
                "{text}"
            );
        }
    }
}
