# What the function may do: the statements of `Role` in template.yaml, by the same names.

data "aws_iam_policy_document" "role_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "role" {
  name                 = "${var.name}-${data.aws_region.current.name}"
  description          = "What contact-sync may do"
  assume_role_policy   = data.aws_iam_policy_document.role_trust.json
  permissions_boundary = local.has_boundary ? var.permissions_boundary_arn : null
}

resource "aws_iam_role_policy" "role" {
  name   = "contact-sync"
  role   = aws_iam_role.role.name
  policy = data.aws_iam_policy_document.role.json
}

data "aws_iam_policy_document" "role" {
  statement {
    sid = "ReadTheStream"
    actions = [
      "kinesis:DescribeStream",
      "kinesis:DescribeStreamSummary",
      "kinesis:GetRecords",
      "kinesis:GetShardIterator",
      "kinesis:ListShards",
    ]
    resources = [local.create_stream ? aws_kinesis_stream.stream[0].arn : var.stream_arn]
  }

  statement {
    sid = "WriteItsLogs"
    actions = [
      "logs:CreateLogStream",
      "logs:PutLogEvents",
    ]
    resources = ["arn:${data.aws_partition.current.partition}:logs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:log-group:${aws_cloudwatch_log_group.log_group.name}:*"]
  }

  statement {
    sid     = "ReadTheSecrets"
    actions = ["secretsmanager:GetSecretValue"]
    resources = [
      local.create_salesforce_secret ? aws_secretsmanager_secret.salesforce_secret[0].arn : var.salesforce_secret_arn,
      local.create_hubspot_secret ? aws_secretsmanager_secret.hubspot_secret[0].arn : var.hubspot_secret_arn,
    ]
  }

  statement {
    sid       = "AskForTheSecretsTogether"
    actions   = ["secretsmanager:BatchGetSecretValue"]
    resources = ["*"]
  }

  statement {
    sid       = "ReadTheSettings"
    actions   = ["ssm:GetParameter"]
    resources = ["arn:${data.aws_partition.current.partition}:ssm:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:parameter/${var.name}/settings"]
  }

  statement {
    sid = "KeepState"
    actions = [
      "dynamodb:PutItem",
      "dynamodb:Query",
      "dynamodb:UpdateItem",
    ]
    resources = [aws_dynamodb_table.state_table.arn]
  }

  statement {
    sid       = "StoreDeadLetters"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letter_queue.arn]
  }

  statement {
    sid       = "StoreFailedEvents"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.failed_events.arn}/aws/lambda/*"]
  }

  statement {
    sid       = "FindTheBucketOfFailedEvents"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.failed_events.arn]
  }

  dynamic "statement" {
    for_each = local.sends_traces ? [1] : []

    content {
      sid = "SendTraces"
      actions = [
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
      ]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = local.in_vpc ? [1] : []

    content {
      sid = "AttachToTheVpc"
      actions = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
      ]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = local.in_vpc ? [1] : []

    content {
      sid    = "NotFromTheCode"
      effect = "Deny"
      actions = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
      ]
      resources = ["*"]

      condition {
        test     = "ArnEquals"
        variable = "lambda:SourceFunctionArn"
        values   = ["arn:${data.aws_partition.current.partition}:lambda:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:function:${var.name}"]
      }
    }
  }

  dynamic "statement" {
    for_each = local.has_key ? [1] : []

    content {
      sid = "UseTheKey"
      actions = [
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:Encrypt",
        "kms:GenerateDataKey",
      ]
      resources = [var.kms_key_arn]
    }
  }

  dynamic "statement" {
    for_each = local.has_foreign_keys ? [1] : []

    content {
      sid       = "ReadWithForeignKeys"
      actions   = ["kms:Decrypt"]
      resources = var.foreign_key_arns
    }
  }
}
