# Notices, alarms, the dashboard and the saved queries.

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

resource "aws_cloudwatch_metric_alarm" "rejected_share_alarm" {
  alarm_name          = "${var.name}-page-rejected-share"
  alarm_description   = "Within 5 minutes ${var.rejected_alarm_percent} % of the records were rejected, and at least 10. ${local.has_docs ? var.docs_url : "docs"}/operate/alarms/rejected-share${local.has_docs ? var.docs_suffix : ".md"}"
  evaluation_periods  = 1
  threshold           = var.rejected_alarm_percent
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [local.create_topic ? aws_sns_topic.alarm_topic[0].arn : var.alarm_topic_arn]
  ok_actions          = [local.create_topic ? aws_sns_topic.alarm_topic[0].arn : var.alarm_topic_arn]

  metric_query {
    id          = "result"
    label       = "rejected records in percent"
    expression  = "IF(rejected >= 10, 100 * rejected / received, 0)"
    return_data = true
  }

  metric_query {
    id          = "rejected"
    return_data = false

    metric {
      namespace   = "ContactSync"
      metric_name = "RecordsRejected"
      stat        = "Sum"
      period      = 300
    }
  }

  metric_query {
    id          = "received"
    return_data = false

    metric {
      namespace   = "ContactSync"
      metric_name = "RecordsReceived"
      stat        = "Sum"
      period      = 300
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "config_errors_alarm" {
  alarm_name          = "${var.name}-page-config-errors"
  alarm_description   = "The settings document is wrong, and the last good one stays in force; or a system refuses a name or value of the settings. ${local.has_docs ? var.docs_url : "docs"}/operate/alarms/config-errors${local.has_docs ? var.docs_suffix : ".md"}"
  namespace           = "ContactSync"
  metric_name         = "ConfigErrors"
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [local.create_topic ? aws_sns_topic.alarm_topic[0].arn : var.alarm_topic_arn]
  ok_actions          = [local.create_topic ? aws_sns_topic.alarm_topic[0].arn : var.alarm_topic_arn]
}

# All other alarms, the dashboard and the chat are the nested stack of template.yaml: one text for both.
resource "aws_cloudformation_stack" "operations" {
  name          = "${var.name}-operations"
  template_body = file("${path.module}/../../templates/operations.yaml")
  capabilities  = ["CAPABILITY_IAM"]

  parameters = {
    Name                    = var.name
    FunctionName            = aws_lambda_function.function.function_name
    MappingId               = aws_lambda_event_source_mapping.function_contact_changes.uuid
    MappingEnabled          = var.mapping_enabled
    StreamName              = local.create_stream ? aws_kinesis_stream.stream[0].name : split("/", var.stream_arn)[1]
    QueueName               = aws_sqs_queue.dead_letter_queue.name
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
  }
}

resource "aws_cloudwatch_query_definition" "contact_query" {
  name            = "${var.name}/what became of one contact"
  log_group_names = [aws_cloudwatch_log_group.log_group.name]
  query_string    = <<-EOT
    fields @timestamp, operation, destination, fate, code, attempts, event_id, sequence_number, request_id
    | filter ispresent(audit) and contact_id = "c-1001"
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
