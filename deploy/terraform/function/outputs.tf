output "function_name" {
  description = "The function"
  value       = aws_lambda_function.function.function_name
}

output "function_alias" {
  description = "The function as its mapping invokes it"
  value       = aws_lambda_alias.function.arn
}

output "mapping_id" {
  description = "The event source mapping, of the first topic where there are several"
  value       = local.is_kinesis ? aws_lambda_event_source_mapping.function_contact_changes[0].uuid : aws_cloudformation_stack.kafka_topic1[0].outputs["MappingId"]
}

output "dead_letter_queue_url" {
  description = "Changes that can never succeed as they are"
  value       = aws_sqs_queue.dead_letter_queue.url
}

output "dead_letter_queue_name" {
  description = "Name of that queue"
  value       = aws_sqs_queue.dead_letter_queue.name
}

output "source_alarms" {
  description = "Prefix of the names of the alarms on the mapping"
  value       = local.is_kinesis ? var.name : "${var.name}-${split(",", "${var.kafka_topics},,,")[0]}"
}
