# Made by tests/terraform/generate.py from templates/function.yaml. Edit that, then run it.

variable "artifact" {
  description = "Path of the function's zip: one of a release, or the one that `make zip` builds. It is for `architecture`."
  type        = string
}

variable "name" {
  description = "The function's name, which the names of its alarms begin with."
  type        = string
}

variable "served_destinations" {
  description = "TOML list of the destinations that it serves. [] - all."
  type        = string
}

variable "settings_name" {
  description = "name of the parameter with the settings document."
  type        = string
}

variable "stream_arn" {
  description = "ARN of the stream."
  type        = string
}

variable "consumer_arn" {
  description = "ARN of the stream's consumer that the mapping reads through. Empty - none."
  type        = string
}

variable "start_at" {
  description = "Unix time in seconds from which a new mapping reads. Empty - the oldest record of the stream."
  type        = string
}

variable "maximum_record_age_seconds" {
  description = "Age at which the mapping gives records up."
  type        = string
}

variable "batch_size" {
  description = "Records in one invocation, at most."
  type        = number
}

variable "batch_window_seconds" {
  description = "How long Lambda gathers a batch."
  type        = number
}

variable "parallelization_factor" {
  description = "Batches of one shard under way at once."
  type        = number
}

variable "mapping_enabled" {
  description = "Whether the stream is read."
  type        = string
}

variable "preset" {
  description = "The set of settings to start from."
  type        = string
}

variable "architecture" {
  description = "Processor of the function."
  type        = string
}

variable "memory_megabytes" {
  description = "Memory of the function."
  type        = number
}

variable "timeout_seconds" {
  description = "Longest invocation."
  type        = number
}

variable "concurrent_invocations" {
  description = "Invocations that may run at once."
  type        = number
}

variable "reserve_concurrency" {
  description = "Whether that many are set aside for it."
  type        = string
}

variable "salesforce_secret_arn" {
  description = "ARN of Salesforce's secret. Empty - the function does not serve Salesforce."
  type        = string
}

variable "hubspot_secret_arn" {
  description = "ARN of HubSpot's secret. Empty - the function does not serve HubSpot."
  type        = string
}

variable "kms_key_arn" {
  description = "ARN of the owner's key. Empty - keys that AWS manages."
  type        = string
}

variable "foreign_key_arns" {
  description = "ARNs of the keys of an existing stream or of existing secrets."
  type        = list(string)
}

variable "permissions_boundary_arn" {
  description = "ARN of a permissions boundary of the roles. Empty - none."
  type        = string
}

variable "vpc_subnet_ids" {
  description = "Subnets of the function. Empty - no VPC."
  type        = string
}

variable "vpc_security_group_ids" {
  description = "Security groups of the function."
  type        = string
}

variable "log_level" {
  description = "The least level that is logged."
  type        = string
}

variable "tracing" {
  description = "Mode of X-Ray."
  type        = string
}

variable "collector_layer_arn" {
  description = "ARN of a layer with a collector of traces. Empty - none."
  type        = string
}

variable "log_group" {
  description = "name of the log group."
  type        = string
}

variable "state_table" {
  description = "name of the state table."
  type        = string
}

variable "failed_events_arn" {
  description = "ARN of the bucket of failed events."
  type        = string
}

variable "page_topic" {
  description = "ARN of the topic of pages."
  type        = string
}

variable "docs_base" {
  description = "Where the documentation is, without a slash at the end."
  type        = string
}

variable "docs_suffix" {
  description = "How the names of its pages end."
  type        = string
}

variable "rejected_alarm_percent" {
  description = "Threshold of the alarm rejected-share."
  type        = number
}

variable "event_source" {
  description = "kinesis, msk or kafka."
  type        = string
}

variable "kafka_cluster_arn" {
  description = "ARN of the cluster of Amazon MSK."
  type        = string
}

variable "kafka_bootstrap_servers" {
  description = "Addresses of the brokers of one's own cluster."
  type        = string
}

variable "kafka_topics" {
  description = "Topics, one to four."
  type        = string
}

variable "kafka_authentication" {
  description = "How Lambda signs in."
  type        = string
}

variable "kafka_secret_arn" {
  description = "ARN of the secret that it signs in with. Empty - none."
  type        = string
}

variable "kafka_root_ca_secret_arn" {
  description = "ARN of the secret with the brokers' private root certificate. Empty - a public one."
  type        = string
}

variable "kafka_schema_registry" {
  description = "ARN of Glue's registry of schemas, or address of Confluent's. Empty - none."
  type        = string
}

variable "kafka_schema_registry_secret_arn" {
  description = "ARN of the secret of Confluent's registry. Empty - none."
  type        = string
}

variable "kafka_subnet_ids" {
  description = "Subnets in which Lambda reaches the brokers of one's own cluster. Empty - over the internet."
  type        = string
}

variable "kafka_security_group_id" {
  description = "Security group there."
  type        = string
}

variable "kafka_minimum_pollers" {
  description = "Pollers of a topic that are always there."
  type        = number
}

variable "kafka_maximum_pollers" {
  description = "Pollers of a topic at most."
  type        = number
}

variable "offset_lag_alarm_records" {
  description = "Threshold of the alarm offset-lag."
  type        = number
}

variable "no_traffic_alarm_hours" {
  description = "Length of the silence that raises no-traffic of a topic."
  type        = number
}
