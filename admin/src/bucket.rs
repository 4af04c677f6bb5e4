//! An S3 bucket into which the event source mapping puts whole events that it gave up.

use std::str::FromStr;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::failure::Failure;

/// `s3://BUCKET/PREFIX`.
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
            return Err("it names no bucket; allowed: s3://BUCKET or s3://BUCKET/PREFIX");
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
    pub(crate) fn new(aws: &SdkConfig, location: &Location) -> Self {
        Self {
            client: Client::new(aws),
            location: location.clone(),
        }
    }

    /// The objects' keys. The mapping names objects by shard and time, so that this is their order
    /// in the stream.
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

    /// An object's text; of what is no text, nothing.
    pub(crate) async fn read(&self, key: &str) -> Result<String, Failure> {
        let answer = self
            .client
            .get_object()
            .bucket(&self.location.bucket)
            .key(key)
            .send()
            .await;
        let answer =
            answer.map_err(|error| self.failure("reading from", "s3:GetObject", &error))?;
        let body = answer.body.collect().await.map_err(|error| {
            Failure::new(
                format!("reading {key}: {error}"),
                "run the command again: nothing is lost",
            )
        })?;
        Ok(String::from_utf8(body.to_vec()).unwrap_or_default())
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), Failure> {
        let answer = self
            .client
            .delete_object()
            .bucket(&self.location.bucket)
            .key(key)
            .send()
            .await;
        answer.map_err(|error| self.failure("deleting from", "s3:DeleteObject", &error))?;
        Ok(())
    }

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
    fn a_location_is_a_bucket_and_perhaps_a_prefix() {
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
