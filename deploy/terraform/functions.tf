# A function for each destination, or one for all, and the scheduled checks.

data "aws_region" "current" {}

module "first_function" {
  source = "./function"

  artifact                         = var.artifact
  name                             = local.separate ? "${var.name}-salesforce" : "${var.name}-all"
  served_destinations              = local.separate ? "[\"salesforce\"]" : "[]"
  settings_name                    = "/${var.name}/settings"
  stream_arn                       = local.create_stream ? aws_kinesis_stream.stream[0].arn : var.stream_arn
  consumer_arn                     = var.salesforce_consumer_arn
  start_at                         = var.salesforce_start_at
  maximum_record_age_seconds       = local.has_record_age ? var.maximum_record_age_seconds : (local.create_stream ? "518400" : "82800")
  batch_size                       = var.batch_size
  batch_window_seconds             = var.batch_window_seconds
  parallelization_factor           = var.parallelization_factor
  mapping_enabled                  = var.mapping_enabled
  preset                           = var.preset
  architecture                     = var.architecture
  memory_megabytes                 = var.memory_megabytes
  timeout_seconds                  = var.timeout_seconds
  concurrent_invocations           = var.concurrent_invocations
  reserve_concurrency              = var.reserve_concurrency
  salesforce_secret_arn            = local.create_salesforce_secret ? aws_secretsmanager_secret.salesforce_secret[0].arn : var.salesforce_secret_arn
  hubspot_secret_arn               = local.separate ? "" : (local.create_hubspot_secret ? aws_secretsmanager_secret.hubspot_secret[0].arn : var.hubspot_secret_arn)
  kms_key_arn                      = var.kms_key_arn
  foreign_key_arns                 = var.foreign_key_arns
  permissions_boundary_arn         = var.permissions_boundary_arn
  vpc_subnet_ids                   = var.vpc_subnet_ids
  vpc_security_group_ids           = var.vpc_security_group_ids
  log_level                        = var.log_level
  tracing                          = var.tracing
  collector_layer_arn              = var.collector_layer_arn
  log_group                        = aws_cloudwatch_log_group.log_group.name
  state_table                      = aws_dynamodb_table.state_table.name
  failed_events_arn                = aws_s3_bucket.failed_events.arn
  page_topic                       = local.create_topic ? aws_sns_topic.alarm_topic[0].arn : var.alarm_topic_arn
  docs_base                        = local.has_docs ? var.docs_url : "docs"
  docs_suffix                      = local.has_docs ? var.docs_suffix : ".md"
  rejected_alarm_percent           = var.rejected_alarm_percent
  event_source                     = var.event_source
  kafka_cluster_arn                = var.kafka_cluster_arn
  kafka_bootstrap_servers          = var.kafka_bootstrap_servers
  kafka_topics                     = var.kafka_topics
  kafka_authentication             = var.kafka_authentication
  kafka_secret_arn                 = var.kafka_secret_arn
  kafka_root_ca_secret_arn         = var.kafka_root_ca_secret_arn
  kafka_schema_registry            = var.kafka_schema_registry
  kafka_schema_registry_secret_arn = var.kafka_schema_registry_secret_arn
  kafka_subnet_ids                 = var.kafka_subnet_ids
  kafka_security_group_id          = var.kafka_security_group_id
  kafka_minimum_pollers            = var.kafka_minimum_pollers
  kafka_maximum_pollers            = var.kafka_maximum_pollers
  offset_lag_alarm_records         = var.offset_lag_alarm_records
  no_traffic_alarm_hours           = var.no_traffic_alarm_hours
}

module "hubspot_function" {
  source = "./function"
  count  = local.separate ? 1 : 0

  artifact                         = var.artifact
  name                             = "${var.name}-hubspot"
  served_destinations              = "[\"hubspot\"]"
  settings_name                    = "/${var.name}/settings"
  stream_arn                       = local.create_stream ? aws_kinesis_stream.stream[0].arn : var.stream_arn
  consumer_arn                     = var.hubspot_consumer_arn
  start_at                         = var.hubspot_start_at
  maximum_record_age_seconds       = local.has_record_age ? var.maximum_record_age_seconds : (local.create_stream ? "518400" : "82800")
  batch_size                       = var.batch_size
  batch_window_seconds             = var.batch_window_seconds
  parallelization_factor           = var.parallelization_factor
  mapping_enabled                  = var.mapping_enabled
  preset                           = var.preset
  architecture                     = var.architecture
  memory_megabytes                 = var.memory_megabytes
  timeout_seconds                  = var.timeout_seconds
  concurrent_invocations           = var.concurrent_invocations
  reserve_concurrency              = var.reserve_concurrency
  salesforce_secret_arn            = ""
  hubspot_secret_arn               = local.create_hubspot_secret ? aws_secretsmanager_secret.hubspot_secret[0].arn : var.hubspot_secret_arn
  kms_key_arn                      = var.kms_key_arn
  foreign_key_arns                 = var.foreign_key_arns
  permissions_boundary_arn         = var.permissions_boundary_arn
  vpc_subnet_ids                   = var.vpc_subnet_ids
  vpc_security_group_ids           = var.vpc_security_group_ids
  log_level                        = var.log_level
  tracing                          = var.tracing
  collector_layer_arn              = var.collector_layer_arn
  log_group                        = aws_cloudwatch_log_group.log_group.name
  state_table                      = aws_dynamodb_table.state_table.name
  failed_events_arn                = aws_s3_bucket.failed_events.arn
  page_topic                       = local.create_topic ? aws_sns_topic.alarm_topic[0].arn : var.alarm_topic_arn
  docs_base                        = local.has_docs ? var.docs_url : "docs"
  docs_suffix                      = local.has_docs ? var.docs_suffix : ".md"
  rejected_alarm_percent           = var.rejected_alarm_percent
  event_source                     = var.event_source
  kafka_cluster_arn                = var.kafka_cluster_arn
  kafka_bootstrap_servers          = var.kafka_bootstrap_servers
  kafka_topics                     = var.kafka_topics
  kafka_authentication             = var.kafka_authentication
  kafka_secret_arn                 = var.kafka_secret_arn
  kafka_root_ca_secret_arn         = var.kafka_root_ca_secret_arn
  kafka_schema_registry            = var.kafka_schema_registry
  kafka_schema_registry_secret_arn = var.kafka_schema_registry_secret_arn
  kafka_subnet_ids                 = var.kafka_subnet_ids
  kafka_security_group_id          = var.kafka_security_group_id
  kafka_minimum_pollers            = var.kafka_minimum_pollers
  kafka_maximum_pollers            = var.kafka_maximum_pollers
  offset_lag_alarm_records         = var.offset_lag_alarm_records
  no_traffic_alarm_hours           = var.no_traffic_alarm_hours
}

module "doctor" {
  source = "./doctor"
  count  = local.has_doctor ? 1 : 0

  artifact                 = var.artifact
  name                     = "${var.name}-doctor"
  schedule                 = var.doctor_schedule
  settings_name            = "/${var.name}/settings"
  preset                   = var.preset
  architecture             = var.architecture
  salesforce_secret_arn    = local.create_salesforce_secret ? aws_secretsmanager_secret.salesforce_secret[0].arn : var.salesforce_secret_arn
  hubspot_secret_arn       = local.create_hubspot_secret ? aws_secretsmanager_secret.hubspot_secret[0].arn : var.hubspot_secret_arn
  kms_key_arn              = var.kms_key_arn
  foreign_key_arns         = var.foreign_key_arns
  permissions_boundary_arn = var.permissions_boundary_arn
  vpc_subnet_ids           = var.vpc_subnet_ids
  vpc_security_group_ids   = var.vpc_security_group_ids
  log_group                = aws_cloudwatch_log_group.log_group.name
  ticket_topic             = local.create_ticket_topic ? aws_sns_topic.ticket_topic[0].arn : (local.has_ticket_topic ? var.ticket_topic_arn : var.alarm_topic_arn)
  docs_base                = local.has_docs ? var.docs_url : "docs"
  docs_suffix              = local.has_docs ? var.docs_suffix : ".md"
}
