# The alarms of templates/function.yaml. All others are in templates/operations.yaml.

resource "aws_cloudwatch_metric_alarm" "rejected_share_alarm" {
  alarm_name          = "${var.name}-page-rejected-share"
  alarm_description   = "Within 5 minutes ${var.rejected_alarm_percent} % of the records were rejected, and at least 10. ${var.docs_base}/operate/alarms/rejected-share${var.docs_suffix}"
  evaluation_periods  = 1
  threshold           = var.rejected_alarm_percent
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.page_topic]
  ok_actions          = [var.page_topic]

  metric_query {
    id          = "result"
    label       = "rejected records in percent"
    expression  = "IF(rejected >= 10, 100 * rejected / (received - filtered), 0)"
    return_data = true
  }

  metric_query {
    id          = "rejected"
    return_data = false

    metric {
      namespace   = "ContactSync"
      metric_name = "RecordsRejected"
      dimensions  = { Function = aws_lambda_function.function.function_name }
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
      dimensions  = { Function = aws_lambda_function.function.function_name }
      stat        = "Sum"
      period      = 300
    }
  }

  metric_query {
    id          = "filtered"
    return_data = false

    metric {
      namespace   = "ContactSync"
      metric_name = "RecordsFiltered"
      dimensions  = { Function = aws_lambda_function.function.function_name }
      stat        = "Sum"
      period      = 300
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "config_errors_alarm" {
  alarm_name          = "${var.name}-page-config-errors"
  alarm_description   = "The settings document is wrong or cannot be read, and the last good one stays in force; or a system refuses a name or value of the settings. ${var.docs_base}/operate/alarms/config-errors${var.docs_suffix}"
  namespace           = "ContactSync"
  metric_name         = "ConfigErrors"
  dimensions          = { Function = aws_lambda_function.function.function_name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.page_topic]
  ok_actions          = [var.page_topic]
}
