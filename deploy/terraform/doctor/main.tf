# The function that a schedule invokes to check settings, secrets, fields and permissions: templates/doctor.yaml.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

resource "aws_lambda_function" "function" {
  function_name    = var.name
  description      = "Checks that contact-sync can do its work"
  filename         = var.artifact
  source_code_hash = filebase64sha256(var.artifact)
  handler          = "bootstrap"
  runtime          = "provided.al2023"
  architectures    = [var.architecture]
  memory_size      = 256
  timeout          = 120
  role             = aws_iam_role.role.arn
  kms_key_arn      = local.has_key ? var.kms_key_arn : null

  environment {
    variables = {
      CONTACT_SYNC_TASK                   = "doctor"
      CONTACT_SYNC_PRESET                 = var.preset
      CONTACT_SYNC_CONFIG                 = "ssm:${var.settings_name}"
      CONTACT_SYNC__SALESFORCE__SECRET_ID = var.salesforce_secret_arn
      CONTACT_SYNC__HUBSPOT__SECRET_ID    = var.hubspot_secret_arn
    }
  }

  logging_config {
    log_group             = var.log_group
    log_format            = "JSON"
    application_log_level = "INFO"
    system_log_level      = "INFO"
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

resource "aws_scheduler_schedule" "scheduled_run" {
  name                = var.name
  description         = "Runs the doctor of contact-sync"
  schedule_expression = var.schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.function.arn
    role_arn = aws_iam_role.schedule_role.arn
    input    = "{\"contact-sync\": \"doctor\"}"

    retry_policy {
      maximum_retry_attempts       = 2
      maximum_event_age_in_seconds = 3600
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "doctor_alarm" {
  alarm_name          = "${var.name}-ticket-doctor"
  alarm_description   = "A scheduled check of the settings, a secret, a field or a permission failed, or could not be made. ${var.docs_base}/operate/alarms/doctor${var.docs_suffix}"
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "ignore"
  alarm_actions       = [var.ticket_topic]
  ok_actions          = [var.ticket_topic]

  metric_query {
    id          = "result"
    label       = "findings and failed runs"
    expression  = "MAX([findings, errors])"
    return_data = true
  }

  metric_query {
    id          = "findings"
    return_data = false

    metric {
      namespace   = "ContactSync"
      metric_name = "DoctorFindings"
      dimensions  = { Function = aws_lambda_function.function.function_name }
      stat        = "Maximum"
      period      = 300
    }
  }

  metric_query {
    id          = "errors"
    return_data = false

    metric {
      namespace   = "AWS/Lambda"
      metric_name = "Errors"
      dimensions  = { FunctionName = aws_lambda_function.function.function_name }
      stat        = "Sum"
      period      = 300
    }
  }
}
