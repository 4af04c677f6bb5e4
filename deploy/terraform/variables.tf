# Made by tests/terraform/generate.py from template.yaml. Edit that, then run it.

variable "name" {
  description = "Prefix of the functions' names and of the other resources' names."
  type        = string
  default     = "contact-sync"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,31}$", var.name))
    error_message = "name is 1 to 32 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "artifact" {
  description = "Path of the function's zip: one of a release, or the one that `make zip` builds. It is for `architecture`."
  type        = string
}

variable "event_source" {
  description = "Where the contact changes come from. kinesis - a stream of Kinesis. msk - topics of Amazon MSK. kafka - topics of a cluster of your own. See docs/deploy/kafka.md."
  type        = string
  default     = "kinesis"

  validation {
    condition     = contains(["kinesis", "msk", "kafka"], var.event_source)
    error_message = "event_source is one of kinesis, msk, kafka."
  }
}

variable "stream_arn" {
  description = "ARN of the stream of contact changes. Empty - the module makes one (on-demand, encrypted, 168 hours)."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:kinesis:[a-z0-9-]+:[0-9]{12}:stream/[a-zA-Z0-9_.-]{1,128})?$", var.stream_arn))
    error_message = "stream_arn is empty or the ARN of a stream, not of its consumer."
  }
}

variable "salesforce_consumer_arn" {
  description = "ARN of a consumer of that stream (enhanced fan-out), for the function of Salesforce, or of all destinations. Empty - it shares the shards' throughput. Another value makes a new mapping, and its checkpoint is lost. See docs/deploy/destinations.md."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:kinesis:[a-z0-9-]+:[0-9]{12}:stream/[a-zA-Z0-9_.-]{1,128}/consumer/[a-zA-Z0-9_.-]{1,128}:[0-9]+)?$", var.salesforce_consumer_arn))
    error_message = "salesforce_consumer_arn is empty or the ARN of a consumer of a stream."
  }
}

variable "hubspot_consumer_arn" {
  description = "As salesforce_consumer_arn, for the function of HubSpot where the functions are separate. Each needs its own."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:kinesis:[a-z0-9-]+:[0-9]{12}:stream/[a-zA-Z0-9_.-]{1,128}/consumer/[a-zA-Z0-9_.-]{1,128}:[0-9]+)?$", var.hubspot_consumer_arn))
    error_message = "hubspot_consumer_arn is empty or the ARN of a consumer of a stream."
  }

  validation {
    condition     = var.hubspot_consumer_arn == "" || var.hubspot_consumer_arn != var.salesforce_consumer_arn
    error_message = "salesforce_consumer_arn and hubspot_consumer_arn must name two consumers."
  }
}

variable "kafka_cluster_arn" {
  description = "ARN of the cluster of Amazon MSK, for the source msk."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:kafka:[a-z0-9-]+:[0-9]{12}:cluster/[a-zA-Z0-9-]+/[a-z0-9-]+)?$", var.kafka_cluster_arn))
    error_message = "kafka_cluster_arn is empty or the ARN of a cluster."
  }

  validation {
    condition     = var.event_source != "msk" || var.kafka_cluster_arn != ""
    error_message = "The source msk needs kafka_cluster_arn."
  }
}

variable "kafka_bootstrap_servers" {
  description = "Brokers of your own cluster as host:port, separated by commas, for the source kafka."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([a-zA-Z0-9.-]+:[0-9]{1,5}(,[a-zA-Z0-9.-]+:[0-9]{1,5})*)?$", var.kafka_bootstrap_servers))
    error_message = "kafka_bootstrap_servers is empty or addresses of brokers, separated by commas and no blanks."
  }

  validation {
    condition     = var.event_source != "kafka" || var.kafka_bootstrap_servers != ""
    error_message = "The source kafka needs kafka_bootstrap_servers."
  }
}

variable "kafka_topics" {
  description = "Topics of the contact changes, one to four, separated by commas. Each has a mapping of its own for each function."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([a-zA-Z0-9._-]{1,100}(,[a-zA-Z0-9._-]{1,100}){0,3})?$", var.kafka_topics))
    error_message = "kafka_topics is empty or names of at most four topics, separated by commas and no blanks."
  }

  validation {
    condition     = var.event_source != "msk" || var.kafka_topics != ""
    error_message = "The source msk needs kafka_topics."
  }

  validation {
    condition     = var.event_source != "kafka" || var.kafka_topics != ""
    error_message = "The source kafka needs kafka_topics."
  }
}

variable "kafka_authentication" {
  description = "How Lambda signs in. IAM - with the function's role, at Amazon MSK alone. NONE - not at all. The others take kafka_secret_arn. Amazon MSK takes IAM, NONE, SASL_SCRAM_512_AUTH and CLIENT_CERTIFICATE_TLS_AUTH."
  type        = string
  default     = "IAM"

  validation {
    condition     = contains(["IAM", "NONE", "SASL_SCRAM_512_AUTH", "SASL_SCRAM_256_AUTH", "BASIC_AUTH", "CLIENT_CERTIFICATE_TLS_AUTH"], var.kafka_authentication)
    error_message = "kafka_authentication is one of IAM, NONE, SASL_SCRAM_512_AUTH, SASL_SCRAM_256_AUTH, BASIC_AUTH, CLIENT_CERTIFICATE_TLS_AUTH."
  }

  validation {
    condition     = var.event_source != "msk" || contains(["IAM", "NONE", "SASL_SCRAM_512_AUTH", "CLIENT_CERTIFICATE_TLS_AUTH"], var.kafka_authentication)
    error_message = "Amazon MSK takes IAM, NONE, SASL_SCRAM_512_AUTH or CLIENT_CERTIFICATE_TLS_AUTH."
  }

  validation {
    condition     = var.event_source != "kafka" || var.kafka_authentication != "IAM"
    error_message = "Only Amazon MSK takes IAM. Choose another kafka_authentication."
  }
}

variable "kafka_secret_arn" {
  description = "ARN of the secret that Lambda signs in with - username and password, or certificate and privateKey."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+)?$", var.kafka_secret_arn))
    error_message = "kafka_secret_arn is empty or the ARN of a secret."
  }

  validation {
    condition     = contains(["IAM", "NONE"], var.kafka_authentication) || var.kafka_secret_arn != ""
    error_message = "This kafka_authentication needs kafka_secret_arn."
  }

  validation {
    condition     = var.kafka_secret_arn == "" || !contains(["IAM", "NONE"], var.kafka_authentication)
    error_message = "kafka_secret_arn needs a kafka_authentication that takes it."
  }
}

variable "kafka_root_ca_secret_arn" {
  description = "ARN of the secret with the private root certificate of your own brokers. Empty - a public one."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+)?$", var.kafka_root_ca_secret_arn))
    error_message = "kafka_root_ca_secret_arn is empty or the ARN of a secret."
  }
}

variable "kafka_schema_registry" {
  description = "Registry with the schemas of Avro or Protobuf - the ARN of one of Glue, or the address of one of Confluent. Lambda then decodes the records' values to JSON. Empty - the values are JSON."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:glue:[a-z0-9-]+:[0-9]{12}:registry/[a-zA-Z0-9_$#.-]+|https://[a-zA-Z0-9.-]+(:[0-9]{1,5})?(/[a-zA-Z0-9._/-]*)?)?$", var.kafka_schema_registry))
    error_message = "kafka_schema_registry is empty, the ARN of a registry of Glue, or an address that begins with https://."
  }
}

variable "kafka_schema_registry_secret_arn" {
  description = "ARN of the secret that Lambda signs in to Confluent's registry with - username and password. Empty - without one."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+)?$", var.kafka_schema_registry_secret_arn))
    error_message = "kafka_schema_registry_secret_arn is empty or the ARN of a secret."
  }

  validation {
    condition     = var.kafka_schema_registry_secret_arn == "" || split(":", var.kafka_schema_registry)[0] == "https"
    error_message = "kafka_schema_registry_secret_arn needs the https address of a kafka_schema_registry."
  }
}

variable "kafka_subnet_ids" {
  description = "Subnets in which Lambda reaches your own brokers, one to three, separated by commas. Empty - over the internet. Amazon MSK knows its own."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(subnet-[0-9a-f]+(,subnet-[0-9a-f]+){0,2})?$", var.kafka_subnet_ids))
    error_message = "kafka_subnet_ids is empty or ids of at most three subnets, separated by commas and no blanks."
  }

  validation {
    condition     = var.event_source != "kafka" || (var.kafka_authentication != "NONE" || var.kafka_subnet_ids != "")
    error_message = "Lambda takes a cluster without kafka_authentication in a VPC alone. Name kafka_subnet_ids."
  }
}

variable "kafka_security_group_id" {
  description = "Security group in those subnets. The brokers must let it in."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(sg-[0-9a-f]+)?$", var.kafka_security_group_id))
    error_message = "kafka_security_group_id is empty or the id of a security group."
  }

  validation {
    condition     = var.kafka_subnet_ids == "" || var.kafka_security_group_id != ""
    error_message = "kafka_subnet_ids needs kafka_security_group_id."
  }
}

variable "kafka_minimum_pollers" {
  description = "Pollers of each topic that are always there (provisioned mode). Each reads up to 5 MB in a second."
  type        = number
  default     = 1

  validation {
    condition     = var.kafka_minimum_pollers >= 1 && var.kafka_minimum_pollers <= 200
    error_message = "kafka_minimum_pollers is 1 to 200."
  }
}

variable "kafka_maximum_pollers" {
  description = "Pollers of each topic at most. More than its partitions are of no use."
  type        = number
  default     = 4

  validation {
    condition     = var.kafka_maximum_pollers >= 1 && var.kafka_maximum_pollers <= 2000
    error_message = "kafka_maximum_pollers is 1 to 2000."
  }
}

variable "batch_size" {
  description = "Records in one invocation, at most. Large batches fill the systems' own batches of 200 and 100."
  type        = number
  default     = 1000

  validation {
    condition     = var.batch_size >= 1 && var.batch_size <= 10000
    error_message = "batch_size is 1 to 10000."
  }
}

variable "batch_window_seconds" {
  description = "How long Lambda gathers a batch. It is added to the delay of a change."
  type        = number
  default     = 1

  validation {
    condition     = var.batch_window_seconds >= 0 && var.batch_window_seconds <= 300
    error_message = "batch_window_seconds is 0 to 300."
  }
}

variable "parallelization_factor" {
  description = "Batches of one shard under way at once. Changes with one partition key stay in order."
  type        = number
  default     = 1

  validation {
    condition     = var.parallelization_factor >= 1 && var.parallelization_factor <= 10
    error_message = "parallelization_factor is 1 to 10."
  }
}

variable "maximum_record_age_seconds" {
  description = "How old a record may become, tried or not, before it goes to the bucket of failed events. Must be below the stream's retention, or it expires first and is lost. 0 - six days for a stream that the module makes, 23 hours for an existing one and for topics."
  type        = string
  default     = "0"

  validation {
    condition     = can(regex("^(0|[6-9][0-9]|[1-9][0-9]{2,4}|[1-5][0-9]{5}|600[0-9]{3}|601[01][0-9]{2}|601200)$", var.maximum_record_age_seconds))
    error_message = "maximum_record_age_seconds is 0, or 60 to 601200 (an hour less than a week)."
  }
}

variable "mapping_enabled" {
  description = "Whether the stream is read. false for the first deployment, until the secrets are filled, and to pause. Records grow old meanwhile - what is past maximum_record_age_seconds is then given up untried."
  type        = bool
  default     = true
}

variable "destinations" {
  description = "separate - a function and a mapping for each destination, so that an outage of one system delays no other. together - one for all, which reads the stream once."
  type        = string
  default     = "separate"

  validation {
    condition     = contains(["separate", "together"], var.destinations)
    error_message = "destinations is one of separate, together."
  }
}

variable "salesforce_start_at" {
  description = "Unix time in seconds from which a new mapping of Salesforce, or of all destinations, reads. Empty - the oldest record. Do not change it later: the deployment fails, or with Terraform the checkpoint is lost. See docs/deploy/destinations.md."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([0-9]{10})?$", var.salesforce_start_at))
    error_message = "salesforce_start_at is empty or a time in seconds since 1970."
  }
}

variable "hubspot_start_at" {
  description = "As salesforce_start_at, for the mapping of HubSpot where the functions are separate."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([0-9]{10})?$", var.hubspot_start_at))
    error_message = "hubspot_start_at is empty or a time in seconds since 1970."
  }
}

variable "preset" {
  description = "The set of settings to start from."
  type        = string
  default     = "production"

  validation {
    condition     = contains(["production", "staging", "high-throughput"], var.preset)
    error_message = "preset is one of production, staging, high-throughput."
  }
}

variable "architecture" {
  description = "What the function runs on. arm64 costs a fifth less."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture is one of arm64, x86_64."
  }
}

variable "memory_megabytes" {
  description = "Memory, and with it the share of a processor."
  type        = number
  default     = 512

  validation {
    condition     = var.memory_megabytes >= 128 && var.memory_megabytes <= 10240
    error_message = "memory_megabytes is 128 to 10240."
  }
}

variable "timeout_seconds" {
  description = "Longest invocation; 840 s is the longest that Kafka's mappings take. The function stops starting work shortly before, and gives back what it did not settle."
  type        = number
  default     = 120

  validation {
    condition     = var.timeout_seconds >= 30 && var.timeout_seconds <= 840
    error_message = "timeout_seconds is 30 to 840."
  }
}

variable "concurrent_invocations" {
  description = "Invocations that may run at once: shards x parallelization factor (a new on-demand stream has 4 shards). Each takes this share of the systems' rate limits where the state table does not answer."
  type        = number
  default     = 4

  validation {
    condition     = var.concurrent_invocations >= 1 && var.concurrent_invocations <= 1000
    error_message = "concurrent_invocations is 1 to 1000."
  }
}

variable "reserve_concurrency" {
  description = "Whether the account sets that many invocations aside for this function, and allows no more."
  type        = bool
  default     = false
}

variable "salesforce_secret_arn" {
  description = "ARN of the secret with login_url, client_id and client_secret. Empty - the module makes one, to be filled."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+)?$", var.salesforce_secret_arn))
    error_message = "salesforce_secret_arn is empty or the ARN of a secret."
  }
}

variable "hubspot_secret_arn" {
  description = "ARN of the secret with access_token. Empty - the module makes one, to be filled."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+)?$", var.hubspot_secret_arn))
    error_message = "hubspot_secret_arn is empty or the ARN of a secret."
  }
}

variable "kms_key_arn" {
  description = "ARN of your own key for everything that the module stores. Empty - keys that AWS manages. Its policy is in docs/deploy/own-key.md."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/.+)?$", var.kms_key_arn))
    error_message = "kms_key_arn is empty or the ARN of a key (not of an alias)."
  }
}

variable "foreign_key_arns" {
  description = "ARNs of the keys of an existing stream or of existing secrets, where those are not keys that AWS manages."
  type        = list(string)
  default     = []
}

variable "permissions_boundary_arn" {
  description = "ARN of a permissions boundary for the function's role, where your organisation asks for one."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+)?$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn is empty or the ARN of a policy."
  }
}

variable "vpc_subnet_ids" {
  description = "Subnets of the function, separated by commas. Empty - no VPC. They need a way to the internet; see docs/deploy/vpc.md."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(subnet-[0-9a-f]+(,subnet-[0-9a-f]+)*)?$", var.vpc_subnet_ids))
    error_message = "vpc_subnet_ids is empty or ids of subnets, separated by commas and no blanks."
  }
}

variable "vpc_security_group_ids" {
  description = "Security groups of the function in its VPC, separated by commas. They need port 443 outward."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(sg-[0-9a-f]+(,sg-[0-9a-f]+)*)?$", var.vpc_security_group_ids))
    error_message = "vpc_security_group_ids is empty or ids of security groups, separated by commas and no blanks."
  }

  validation {
    condition     = var.vpc_subnet_ids == "" || var.vpc_security_group_ids != ""
    error_message = "vpc_subnet_ids needs vpc_security_group_ids."
  }

  validation {
    condition     = var.vpc_security_group_ids == "" || var.vpc_subnet_ids != ""
    error_message = "vpc_security_group_ids needs vpc_subnet_ids."
  }
}

variable "log_level" {
  description = "The least level that is logged. Never above INFO: metrics and the audit trail are lines of that level, which Lambda would drop, and every alarm on our metrics would fall silent."
  type        = string
  default     = "INFO"

  validation {
    condition     = contains(["TRACE", "DEBUG", "INFO"], var.log_level)
    error_message = "log_level is one of TRACE, DEBUG, INFO."
  }
}

variable "log_retention_days" {
  description = "How long logs, and with them the audit trail, are kept."
  type        = number
  default     = 90

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days is one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

variable "failed_events_retention_days" {
  description = "How long the bucket keeps events that were given up."
  type        = number
  default     = 90

  validation {
    condition     = var.failed_events_retention_days >= 14 && var.failed_events_retention_days <= 3650
    error_message = "failed_events_retention_days is 14 to 3650."
  }
}

variable "tracing" {
  description = "PassThrough - X-Ray is off. Active - X-Ray samples invocations, at the price in docs/operate/cost.md."
  type        = string
  default     = "PassThrough"

  validation {
    condition     = contains(["Active", "PassThrough"], var.tracing)
    error_message = "tracing is one of Active, PassThrough."
  }
}

variable "collector_layer_arn" {
  description = "ARN of a layer with an OpenTelemetry collector, for an artifact built with the feature otel. Empty - X-Ray shows the function and not its calls. See docs/deploy/traces.md."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:layer:[a-zA-Z0-9_-]+:[0-9]+)?$", var.collector_layer_arn))
    error_message = "collector_layer_arn is empty or the ARN of a layer's version."
  }
}

variable "iterator_age_alarm_minutes" {
  description = "How long the oldest change may wait in the stream until an alarm is raised."
  type        = number
  default     = 15

  validation {
    condition     = var.iterator_age_alarm_minutes >= 1 && var.iterator_age_alarm_minutes <= 1440
    error_message = "iterator_age_alarm_minutes is 1 to 1440."
  }
}

variable "freshness_alarm_minutes" {
  description = "How long 99 of 100 changes may take from the database to a system until an alarm is raised."
  type        = number
  default     = 30

  validation {
    condition     = var.freshness_alarm_minutes >= 1 && var.freshness_alarm_minutes <= 1440
    error_message = "freshness_alarm_minutes is 1 to 1440."
  }
}

variable "offset_lag_alarm_records" {
  description = "Number of records of a Kafka topic that may wait until an alarm is raised."
  type        = number
  default     = 10000

  validation {
    condition     = var.offset_lag_alarm_records >= 1
    error_message = "offset_lag_alarm_records is at least 1."
  }
}

variable "rejected_alarm_percent" {
  description = "Share of rejected records, of at least 10 within 5 minutes, that raises an alarm and rolls a canary back."
  type        = number
  default     = 5

  validation {
    condition     = var.rejected_alarm_percent >= 1 && var.rejected_alarm_percent <= 100
    error_message = "rejected_alarm_percent is 1 to 100."
  }
}

variable "rejected_alarm_records" {
  description = "Number of rejected records within an hour that raises an alarm."
  type        = number
  default     = 100

  validation {
    condition     = var.rejected_alarm_records >= 1
    error_message = "rejected_alarm_records is at least 1."
  }
}

variable "no_traffic_alarm_hours" {
  description = "Hours without a record in the stream that raise an alarm."
  type        = number
  default     = 24

  validation {
    condition     = var.no_traffic_alarm_hours >= 1 && var.no_traffic_alarm_hours <= 168
    error_message = "no_traffic_alarm_hours is 1 to 168."
  }
}

variable "doctor_schedule" {
  description = "When the settings, the secrets, and the fields and permissions in both systems are checked, such as rate(1 day) or cron(0 6 * * ? *). Empty - never."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^((rate|cron)\\([^()=]+\\))?$", var.doctor_schedule))
    error_message = "doctor_schedule is empty or rate(…) or cron(…)."
  }
}

variable "alarm_topic_arn" {
  description = "ARN of the SNS topic of pages, the notices that need an action at once. Empty - the module makes one."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:.+)?$", var.alarm_topic_arn))
    error_message = "alarm_topic_arn is empty or the ARN of a topic."
  }
}

variable "alarm_email" {
  description = "An address that the module's own topic of pages writes to. Empty - none; subscribe later."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([^@\\s]+@[^@\\s]+\\.[^@\\s]+)?$", var.alarm_email))
    error_message = "alarm_email is empty or an e-mail address."
  }

  validation {
    condition     = var.alarm_email == "" || var.alarm_topic_arn == ""
    error_message = "alarm_email subscribes to the module's own topic; with alarm_topic_arn, subscribe there."
  }
}

variable "ticket_topic_arn" {
  description = "ARN of the SNS topic of tickets, the notices that can wait for days. Empty - alarm_topic_arn, or a topic that the module makes."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:.+)?$", var.ticket_topic_arn))
    error_message = "ticket_topic_arn is empty or the ARN of a topic."
  }
}

variable "ticket_email" {
  description = "An address that the module's own topic of tickets writes to. Empty - alarm_email."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([^@\\s]+@[^@\\s]+\\.[^@\\s]+)?$", var.ticket_email))
    error_message = "ticket_email is empty or an e-mail address."
  }

  validation {
    condition     = var.ticket_email == "" || (var.ticket_topic_arn == "" && var.alarm_topic_arn == "")
    error_message = "ticket_email subscribes to the module's own topic; with ticket_topic_arn or alarm_topic_arn, subscribe there."
  }
}

variable "slack_workspace_id" {
  description = "Id of a Slack workspace that Amazon Q Developer in chat applications is authorized for. Empty - no chat."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([0-9A-Z]{1,255})?$", var.slack_workspace_id))
    error_message = "slack_workspace_id is empty or an id such as T0123ABCD."
  }
}

variable "slack_channel_id" {
  description = "Id of the Slack channel that gets pages and tickets. Empty - no chat."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([A-Za-z0-9]{1,255})?$", var.slack_channel_id))
    error_message = "slack_channel_id is empty or an id such as C0123ABCD."
  }

  validation {
    condition     = var.slack_channel_id == "" || var.slack_workspace_id != ""
    error_message = "slack_channel_id needs slack_workspace_id."
  }
}

variable "docs_url" {
  description = "Address of the published documentation, without a slash at the end. Each notice links to a page of it. Empty - notices name the page's path in the repository."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(https?://\\S*[^/\\s])?$", var.docs_url))
    error_message = "docs_url is empty or an address that does not end with a slash."
  }
}

variable "docs_suffix" {
  description = "How pages end at docs_url. .html - the site of `make docs`. .md - the folder docs of a forge."
  type        = string
  default     = ".html"

  validation {
    condition     = contains([".html", ".md"], var.docs_suffix)
    error_message = "docs_suffix is one of .html, .md."
  }
}
