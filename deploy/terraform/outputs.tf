output "function_name" {
  description = "The function of Salesforce, or of all destinations. Its unqualified name is the code that was uploaded last, which may be rolled back"
  value       = module.first_function.function_name
}

output "function_alias" {
  description = "That function as its mapping invokes it"
  value       = module.first_function.function_alias
}

output "mapping_id" {
  description = "Its event source mapping; disabling it pauses the function"
  value       = module.first_function.mapping_id
}

output "dead_letter_queue_url" {
  description = "Changes that can never succeed there as they are"
  value       = module.first_function.dead_letter_queue_url
}

output "hubspot_function_name" {
  description = "The function of HubSpot"
  value       = local.separate ? module.hubspot_function[0].function_name : null
}

output "hubspot_function_alias" {
  description = "That function as its mapping invokes it"
  value       = local.separate ? module.hubspot_function[0].function_alias : null
}

output "hubspot_mapping_id" {
  description = "Its event source mapping; disabling it pauses the function"
  value       = local.separate ? module.hubspot_function[0].mapping_id : null
}

output "hubspot_dead_letter_queue_url" {
  description = "Changes that can never succeed there as they are"
  value       = local.separate ? module.hubspot_function[0].dead_letter_queue_url : null
}

output "stream_arn" {
  description = "The stream that producers write contact changes into"
  value       = local.is_kinesis ? (local.create_stream ? aws_kinesis_stream.stream[0].arn : var.stream_arn) : null
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

output "hubspot_dashboard_url" {
  description = "The dashboard of HubSpot's function"
  value       = local.separate ? "https://${data.aws_region.current.name}.console.aws.amazon.com/cloudwatch/home?region=${data.aws_region.current.name}#dashboards:name=${var.name}-hubspot-operations" : null
}

output "dashboard_url" {
  description = "The dashboard of Salesforce's function, or of all destinations"
  value       = "https://${data.aws_region.current.name}.console.aws.amazon.com/cloudwatch/home?region=${data.aws_region.current.name}#dashboards:name=${module.first_function.function_name}-operations"
}
