output "function_name" {
  description = "The function. Its unqualified name is the code that was uploaded last, which may be rolled back"
  value       = aws_lambda_function.function.function_name
}

output "function_alias" {
  description = "The function as the mapping invokes it"
  value       = "${aws_lambda_function.function.function_name}:live"
}

output "mapping_id" {
  description = "The event source mapping; disabling it pauses everything"
  value       = aws_lambda_event_source_mapping.function_contact_changes.uuid
}

output "stream_arn" {
  description = "The stream that producers write contact changes into"
  value       = local.create_stream ? aws_kinesis_stream.stream[0].arn : var.stream_arn
}

output "salesforce_secret_arn" {
  description = "Fill in: {\"login_url\", \"client_id\", \"client_secret\"}"
  value       = local.create_salesforce_secret ? aws_secretsmanager_secret.salesforce_secret[0].arn : var.salesforce_secret_arn
}

output "hubspot_secret_arn" {
  description = "Fill in: {\"access_token\"}"
  value       = local.create_hubspot_secret ? aws_secretsmanager_secret.hubspot_secret[0].arn : var.hubspot_secret_arn
}

output "settings_parameter" {
  description = "Name of the settings document, which you create and edit"
  value       = "/${var.name}/settings"
}

output "dead_letter_queue_url" {
  description = "Changes that can never succeed as they are"
  value       = aws_sqs_queue.dead_letter_queue.url
}

output "failed_events_bucket" {
  description = "Whole events that the mapping gave up"
  value       = aws_s3_bucket.failed_events.id
}

output "state_table_name" {
  description = "What was settled, and the shared rate limits"
  value       = aws_dynamodb_table.state_table.name
}

output "log_group_name" {
  description = "Logs and the audit trail"
  value       = aws_cloudwatch_log_group.log_group.name
}

output "alarm_topic_arn" {
  description = "Where pages go"
  value       = local.create_topic ? aws_sns_topic.alarm_topic[0].arn : var.alarm_topic_arn
}

output "ticket_topic_arn" {
  description = "Where tickets go"
  value       = local.create_ticket_topic ? aws_sns_topic.ticket_topic[0].arn : (local.has_ticket_topic ? var.ticket_topic_arn : var.alarm_topic_arn)
}

output "dashboard_url" {
  description = "The dashboard"
  value       = "https://${data.aws_region.current.name}.console.aws.amazon.com/cloudwatch/home?region=${data.aws_region.current.name}#dashboards:name=${var.name}-operations"
}
