# One function, its alias and its event source mappings: templates/function.yaml, which has the reasons of the values.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  function_variables = {
    CONTACT_SYNC_PRESET                       = var.preset
    CONTACT_SYNC_CONFIG                       = "ssm:${var.settings_name}"
    CONTACT_SYNC__PIPELINE__CONCURRENCY_SHARE = var.concurrent_invocations
    CONTACT_SYNC__PIPELINE__DESTINATIONS      = var.served_destinations
    CONTACT_SYNC__DEAD_LETTER__QUEUE_URL      = aws_sqs_queue.dead_letter_queue.url
    CONTACT_SYNC__STATE__TABLE                = var.state_table
  }

  salesforce_variables = {
    CONTACT_SYNC__SALESFORCE__SECRET_ID = var.salesforce_secret_arn
  }

  hubspot_variables = {
    CONTACT_SYNC__HUBSPOT__SECRET_ID = var.hubspot_secret_arn
  }

  collector_variables = {
    OTEL_EXPORTER_OTLP_ENDPOINT = "http://localhost:4318"
  }
}

resource "aws_lambda_function" "function" {
  function_name                  = var.name
  description                    = "Keeps Salesforce and HubSpot equal to the contact database"
  filename                       = var.artifact
  source_code_hash               = filebase64sha256(var.artifact)
  handler                        = "bootstrap"
  runtime                        = "provided.al2023"
  architectures                  = [var.architecture]
  memory_size                    = var.memory_megabytes
  timeout                        = var.timeout_seconds
  reserved_concurrent_executions = local.reserve ? var.concurrent_invocations : null
  role                           = aws_iam_role.role.arn
  kms_key_arn                    = local.has_key ? var.kms_key_arn : null
  layers                         = local.has_collector ? [var.collector_layer_arn] : null
  # A changed artifact or configuration publishes a version, which the alias follows.
  publish = true

  environment {
    variables = merge(
      local.function_variables,
      local.serves_salesforce ? local.salesforce_variables : {},
      local.serves_hubspot ? local.hubspot_variables : {},
      local.has_collector ? local.collector_variables : {},
    )
  }

  logging_config {
    log_group             = var.log_group
    log_format            = "JSON"
    application_log_level = var.log_level
    system_log_level      = "INFO"
  }

  tracing_config {
    mode = var.tracing
  }

  dynamic "vpc_config" {
    for_each = local.in_vpc ? [1] : []

    content {
      subnet_ids         = split(",", var.vpc_subnet_ids)
      security_group_ids = split(",", var.vpc_security_group_ids)
    }
  }

  # In a VPC, Lambda needs the permissions before the function exists.
  depends_on = [aws_iam_role_policy.role]
}

resource "aws_lambda_alias" "function" {
  name             = "live"
  function_name    = aws_lambda_function.function.function_name
  function_version = aws_lambda_function.function.version
}

resource "aws_lambda_event_source_mapping" "function_contact_changes" {
  count                              = local.is_kinesis ? 1 : 0
  function_name                      = aws_lambda_alias.function.arn
  event_source_arn                   = local.has_consumer ? var.consumer_arn : var.stream_arn
  enabled                            = var.mapping_enabled
  starting_position                  = local.has_start ? "AT_TIMESTAMP" : "TRIM_HORIZON"
  starting_position_timestamp        = local.has_start ? timeadd("1970-01-01T00:00:00Z", "${var.start_at}s") : null
  batch_size                         = var.batch_size
  maximum_batching_window_in_seconds = var.batch_window_seconds
  parallelization_factor             = var.parallelization_factor
  function_response_types            = ["ReportBatchItemFailures"]
  bisect_batch_on_function_error     = true
  maximum_retry_attempts             = -1
  maximum_record_age_in_seconds      = var.maximum_record_age_seconds

  destination_config {
    on_failure {
      destination_arn = var.failed_events_arn
    }
  }

  metrics_config {
    metrics = ["EventCount"]
  }

  depends_on = [aws_iam_role_policy.role]
}

resource "aws_cloudformation_stack" "kafka_topic1" {
  count         = local.is_kafka ? 1 : 0
  name          = "${var.name}-topic1"
  template_body = file("${path.module}/../../../templates/kafka.yaml")

  parameters = {
    FunctionName            = aws_lambda_function.function.function_name
    FunctionAlias           = aws_lambda_alias.function.arn
    Source                  = var.event_source
    ClusterArn              = var.kafka_cluster_arn
    BootstrapServers        = var.kafka_bootstrap_servers
    Topic                   = split(",", "${var.kafka_topics},,,")[0]
    Authentication          = var.kafka_authentication
    SecretArn               = var.kafka_secret_arn
    RootCaSecretArn         = var.kafka_root_ca_secret_arn
    SchemaRegistry          = var.kafka_schema_registry
    SchemaRegistrySecretArn = var.kafka_schema_registry_secret_arn
    SubnetIds               = var.kafka_subnet_ids
    SecurityGroupId         = var.kafka_security_group_id
    StartAt                 = var.start_at
    BatchSize               = var.batch_size
    BatchWindowSeconds      = var.batch_window_seconds
    MappingEnabled          = var.mapping_enabled
    MaximumRecordAgeSeconds = var.maximum_record_age_seconds
    MinimumPollers          = var.kafka_minimum_pollers
    MaximumPollers          = var.kafka_maximum_pollers
    FailedEventsArn         = var.failed_events_arn
    PageTopic               = var.page_topic
    DocsBase                = var.docs_base
    DocsSuffix              = var.docs_suffix
    OffsetLagAlarmRecords   = var.offset_lag_alarm_records
    NoTrafficAlarmHours     = var.no_traffic_alarm_hours
  }

  depends_on = [aws_iam_role_policy.role]
}

resource "aws_cloudformation_stack" "kafka_topic2" {
  count         = local.has_topic2 ? 1 : 0
  name          = "${var.name}-topic2"
  template_body = file("${path.module}/../../../templates/kafka.yaml")

  parameters = {
    FunctionName            = aws_lambda_function.function.function_name
    FunctionAlias           = aws_lambda_alias.function.arn
    Source                  = var.event_source
    ClusterArn              = var.kafka_cluster_arn
    BootstrapServers        = var.kafka_bootstrap_servers
    Topic                   = split(",", "${var.kafka_topics},,,")[1]
    Authentication          = var.kafka_authentication
    SecretArn               = var.kafka_secret_arn
    RootCaSecretArn         = var.kafka_root_ca_secret_arn
    SchemaRegistry          = var.kafka_schema_registry
    SchemaRegistrySecretArn = var.kafka_schema_registry_secret_arn
    SubnetIds               = var.kafka_subnet_ids
    SecurityGroupId         = var.kafka_security_group_id
    StartAt                 = var.start_at
    BatchSize               = var.batch_size
    BatchWindowSeconds      = var.batch_window_seconds
    MappingEnabled          = var.mapping_enabled
    MaximumRecordAgeSeconds = var.maximum_record_age_seconds
    MinimumPollers          = var.kafka_minimum_pollers
    MaximumPollers          = var.kafka_maximum_pollers
    FailedEventsArn         = var.failed_events_arn
    PageTopic               = var.page_topic
    DocsBase                = var.docs_base
    DocsSuffix              = var.docs_suffix
    OffsetLagAlarmRecords   = var.offset_lag_alarm_records
    NoTrafficAlarmHours     = var.no_traffic_alarm_hours
  }

  depends_on = [aws_iam_role_policy.role]
}

resource "aws_cloudformation_stack" "kafka_topic3" {
  count         = local.has_topic3 ? 1 : 0
  name          = "${var.name}-topic3"
  template_body = file("${path.module}/../../../templates/kafka.yaml")

  parameters = {
    FunctionName            = aws_lambda_function.function.function_name
    FunctionAlias           = aws_lambda_alias.function.arn
    Source                  = var.event_source
    ClusterArn              = var.kafka_cluster_arn
    BootstrapServers        = var.kafka_bootstrap_servers
    Topic                   = split(",", "${var.kafka_topics},,,")[2]
    Authentication          = var.kafka_authentication
    SecretArn               = var.kafka_secret_arn
    RootCaSecretArn         = var.kafka_root_ca_secret_arn
    SchemaRegistry          = var.kafka_schema_registry
    SchemaRegistrySecretArn = var.kafka_schema_registry_secret_arn
    SubnetIds               = var.kafka_subnet_ids
    SecurityGroupId         = var.kafka_security_group_id
    StartAt                 = var.start_at
    BatchSize               = var.batch_size
    BatchWindowSeconds      = var.batch_window_seconds
    MappingEnabled          = var.mapping_enabled
    MaximumRecordAgeSeconds = var.maximum_record_age_seconds
    MinimumPollers          = var.kafka_minimum_pollers
    MaximumPollers          = var.kafka_maximum_pollers
    FailedEventsArn         = var.failed_events_arn
    PageTopic               = var.page_topic
    DocsBase                = var.docs_base
    DocsSuffix              = var.docs_suffix
    OffsetLagAlarmRecords   = var.offset_lag_alarm_records
    NoTrafficAlarmHours     = var.no_traffic_alarm_hours
  }

  depends_on = [aws_iam_role_policy.role]
}

resource "aws_cloudformation_stack" "kafka_topic4" {
  count         = local.has_topic4 ? 1 : 0
  name          = "${var.name}-topic4"
  template_body = file("${path.module}/../../../templates/kafka.yaml")

  parameters = {
    FunctionName            = aws_lambda_function.function.function_name
    FunctionAlias           = aws_lambda_alias.function.arn
    Source                  = var.event_source
    ClusterArn              = var.kafka_cluster_arn
    BootstrapServers        = var.kafka_bootstrap_servers
    Topic                   = split(",", "${var.kafka_topics},,,")[3]
    Authentication          = var.kafka_authentication
    SecretArn               = var.kafka_secret_arn
    RootCaSecretArn         = var.kafka_root_ca_secret_arn
    SchemaRegistry          = var.kafka_schema_registry
    SchemaRegistrySecretArn = var.kafka_schema_registry_secret_arn
    SubnetIds               = var.kafka_subnet_ids
    SecurityGroupId         = var.kafka_security_group_id
    StartAt                 = var.start_at
    BatchSize               = var.batch_size
    BatchWindowSeconds      = var.batch_window_seconds
    MappingEnabled          = var.mapping_enabled
    MaximumRecordAgeSeconds = var.maximum_record_age_seconds
    MinimumPollers          = var.kafka_minimum_pollers
    MaximumPollers          = var.kafka_maximum_pollers
    FailedEventsArn         = var.failed_events_arn
    PageTopic               = var.page_topic
    DocsBase                = var.docs_base
    DocsSuffix              = var.docs_suffix
    OffsetLagAlarmRecords   = var.offset_lag_alarm_records
    NoTrafficAlarmHours     = var.no_traffic_alarm_hours
  }

  depends_on = [aws_iam_role_policy.role]
}
