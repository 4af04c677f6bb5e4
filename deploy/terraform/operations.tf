# Notices, alarms, dashboards and the saved queries.

resource "aws_sns_topic" "alarm_topic" {
  count             = local.create_topic ? 1 : 0
  name              = "${var.name}-pages"
  display_name      = var.name
  kms_master_key_id = local.has_key ? var.kms_key_arn : null
}

resource "aws_sns_topic_subscription" "alarm_subscription" {
  count     = local.subscribe_email ? 1 : 0
  topic_arn = aws_sns_topic.alarm_topic[0].arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_sns_topic" "ticket_topic" {
  count             = local.create_ticket_topic ? 1 : 0
  name              = "${var.name}-tickets"
  display_name      = "${var.name} tickets"
  kms_master_key_id = local.has_key ? var.kms_key_arn : null
}

resource "aws_sns_topic_subscription" "ticket_subscription" {
  count     = local.subscribe_tickets ? 1 : 0
  topic_arn = aws_sns_topic.ticket_topic[0].arn
  protocol  = "email"
  endpoint  = local.has_ticket_email ? var.ticket_email : var.alarm_email
}

# The other alarms, the dashboards and the chat are the nested stacks of template.yaml: one text for both.
resource "aws_cloudformation_stack" "operations" {
  name          = "${var.name}-operations"
  template_body = file("${path.module}/../../templates/operations.yaml")
  capabilities  = ["CAPABILITY_IAM"]

  parameters = {
    FunctionName            = module.first_function.function_name
    SalesforceFunction      = local.separate ? "${var.name}-salesforce" : "${var.name}-all"
    HubSpotFunction         = local.separate ? "${var.name}-hubspot" : "${var.name}-all"
    MappingId               = module.first_function.mapping_id
    MappingEnabled          = var.mapping_enabled
    StreamName              = local.create_stream ? aws_kinesis_stream.stream[0].name : (local.is_kinesis ? split("/", var.stream_arn)[1] : var.kafka_topics)
    QueueName               = module.first_function.dead_letter_queue_name
    LogGroup                = aws_cloudwatch_log_group.log_group.name
    PageTopic               = local.create_topic ? aws_sns_topic.alarm_topic[0].arn : var.alarm_topic_arn
    TicketTopic             = local.create_ticket_topic ? aws_sns_topic.ticket_topic[0].arn : (local.has_ticket_topic ? var.ticket_topic_arn : var.alarm_topic_arn)
    DocsBase                = local.has_docs ? var.docs_url : "docs"
    DocsSuffix              = local.has_docs ? var.docs_suffix : ".md"
    MaximumRecordAgeSeconds = local.has_record_age ? var.maximum_record_age_seconds : (local.create_stream ? "518400" : "82800")
    IteratorAgeAlarmMinutes = var.iterator_age_alarm_minutes
    FreshnessAlarmMinutes   = var.freshness_alarm_minutes
    RejectedAlarmRecords    = var.rejected_alarm_records
    RejectedAlarmPercent    = var.rejected_alarm_percent
    NoTrafficAlarmHours     = var.no_traffic_alarm_hours
    MemoryMegabytes         = var.memory_megabytes
    SlackWorkspaceId        = var.slack_workspace_id
    SlackChannelId          = var.slack_channel_id
    PermissionsBoundaryArn  = var.permissions_boundary_arn
    Doctor                  = "${var.name}-doctor"
    Source                  = var.event_source
    SourceAlarms            = module.first_function.source_alarms
  }
}

resource "aws_cloudformation_stack" "hubspot_operations" {
  count         = local.separate ? 1 : 0
  name          = "${var.name}-hubspot-operations"
  template_body = file("${path.module}/../../templates/operations.yaml")
  capabilities  = ["CAPABILITY_IAM"]

  parameters = {
    FunctionName            = module.hubspot_function[0].function_name
    SalesforceFunction      = "${var.name}-salesforce"
    HubSpotFunction         = "${var.name}-hubspot"
    MappingId               = module.hubspot_function[0].mapping_id
    MappingEnabled          = var.mapping_enabled
    StreamName              = local.create_stream ? aws_kinesis_stream.stream[0].name : (local.is_kinesis ? split("/", var.stream_arn)[1] : var.kafka_topics)
    QueueName               = module.hubspot_function[0].dead_letter_queue_name
    LogGroup                = aws_cloudwatch_log_group.log_group.name
    PageTopic               = local.create_topic ? aws_sns_topic.alarm_topic[0].arn : var.alarm_topic_arn
    TicketTopic             = local.create_ticket_topic ? aws_sns_topic.ticket_topic[0].arn : (local.has_ticket_topic ? var.ticket_topic_arn : var.alarm_topic_arn)
    DocsBase                = local.has_docs ? var.docs_url : "docs"
    DocsSuffix              = local.has_docs ? var.docs_suffix : ".md"
    MaximumRecordAgeSeconds = local.has_record_age ? var.maximum_record_age_seconds : (local.create_stream ? "518400" : "82800")
    IteratorAgeAlarmMinutes = var.iterator_age_alarm_minutes
    FreshnessAlarmMinutes   = var.freshness_alarm_minutes
    RejectedAlarmRecords    = var.rejected_alarm_records
    RejectedAlarmPercent    = var.rejected_alarm_percent
    NoTrafficAlarmHours     = var.no_traffic_alarm_hours
    MemoryMegabytes         = var.memory_megabytes
    SlackWorkspaceId        = var.slack_workspace_id
    SlackChannelId          = var.slack_channel_id
    PermissionsBoundaryArn  = var.permissions_boundary_arn
    Doctor                  = "${var.name}-doctor"
    Source                  = var.event_source
    SourceAlarms            = module.hubspot_function[0].source_alarms
  }
}

resource "aws_cloudwatch_query_definition" "contact_query" {
  name            = "${var.name}/what became of one contact"
  log_group_names = [aws_cloudwatch_log_group.log_group.name]
  query_string    = <<-EOT
    fields @timestamp, operation, destination, fate, code, attempts, event_id, sequence_number, request_id
    | filter ispresent(audit) and contact_id = "c-1001" and (not ispresent(code) or code != "OTHER_DESTINATION")
    | sort @timestamp desc
    | limit 200
  EOT
}

resource "aws_cloudwatch_query_definition" "rejected_query" {
  name            = "${var.name}/rejected by code"
  log_group_names = [aws_cloudwatch_log_group.log_group.name]
  query_string    = <<-EOT
    filter ispresent(audit) and fate = "rejected"
    | stats count(*) as records, count_distinct(contact_id) as contacts, latest(contact_id) as example by destination, code
    | sort records desc
  EOT
}

resource "aws_cloudwatch_query_definition" "failed_query" {
  name            = "${var.name}/failed and retried over time"
  log_group_names = [aws_cloudwatch_log_group.log_group.name]
  query_string    = <<-EOT
    filter ispresent(audit) and fate = "failed"
    | stats count(*) as records by bin(5m) as time, destination, code
    | sort time desc
  EOT
}

resource "aws_cloudwatch_query_definition" "blocking_query" {
  name            = "${var.name}/which record holds a shard up"
  log_group_names = [aws_cloudwatch_log_group.log_group.name]
  query_string    = <<-EOT
    filter ispresent(audit) and fate = "failed"
    | stats count(*) as times, earliest(@timestamp) as since by shard_id, sequence_number, contact_id, event_id, destination, code
    | sort times desc
    | limit 20
  EOT
}

resource "aws_cloudwatch_query_definition" "problems_query" {
  name            = "${var.name}/warnings and errors"
  log_group_names = [aws_cloudwatch_log_group.log_group.name]
  query_string    = <<-EOT
    fields @timestamp, level, message, destination, code, cause, error, remedy, shard_id, request_id, trace_id
    | filter level in ["WARN", "ERROR"]
    | sort @timestamp desc
    | limit 200
  EOT
}

resource "aws_cloudwatch_query_definition" "invocations_query" {
  name            = "${var.name}/slowest invocations and memory"
  log_group_names = [aws_cloudwatch_log_group.log_group.name]
  query_string    = <<-EOT
    filter type = "platform.report"
    | fields @timestamp, record.requestId, record.metrics.durationMs as ms, record.metrics.maxMemoryUsedMB as mb, record.metrics.initDurationMs as init_ms
    | sort ms desc
    | limit 50
  EOT
}
