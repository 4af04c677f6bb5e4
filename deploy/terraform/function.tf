# The function, its alias and its event source mapping. Names are those of template.yaml, which has the reasons of the values.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  function_variables = {
    CONTACT_SYNC_PRESET                       = var.preset
    CONTACT_SYNC_CONFIG                       = "ssm:/${var.name}/settings"
    CONTACT_SYNC__PIPELINE__CONCURRENCY_SHARE = var.concurrent_invocations
    CONTACT_SYNC__SALESFORCE__SECRET_ID       = local.create_salesforce_secret ? aws_secretsmanager_secret.salesforce_secret[0].arn : var.salesforce_secret_arn
    CONTACT_SYNC__HUBSPOT__SECRET_ID          = local.create_hubspot_secret ? aws_secretsmanager_secret.hubspot_secret[0].arn : var.hubspot_secret_arn
    CONTACT_SYNC__DEAD_LETTER__QUEUE_URL      = aws_sqs_queue.dead_letter_queue.url
    CONTACT_SYNC__STATE__TABLE                = aws_dynamodb_table.state_table.name
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
    variables = merge(local.function_variables, local.has_collector ? local.collector_variables : {})
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.log_group.name
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
  function_name                      = aws_lambda_alias.function.arn
  event_source_arn                   = local.create_stream ? aws_kinesis_stream.stream[0].arn : var.stream_arn
  enabled                            = var.mapping_enabled
  starting_position                  = "TRIM_HORIZON"
  batch_size                         = var.batch_size
  maximum_batching_window_in_seconds = var.batch_window_seconds
  parallelization_factor             = var.parallelization_factor
  function_response_types            = ["ReportBatchItemFailures"]
  bisect_batch_on_function_error     = true
  maximum_retry_attempts             = -1
  maximum_record_age_in_seconds      = local.has_record_age ? var.maximum_record_age_seconds : (local.create_stream ? 518400 : 82800)

  destination_config {
    on_failure {
      destination_arn = aws_s3_bucket.failed_events.arn
    }
  }

  metrics_config {
    metrics = ["EventCount"]
  }

  depends_on = [aws_iam_role_policy.role]
}
