# What the function may do: the statements of `Role` in templates/function.yaml, by the same names.

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
  name_prefix          = "${substr(var.name, 0, 37)}-"
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
  dynamic "statement" {
    for_each = local.is_kinesis ? [1] : []

    content {
      sid = "ReadTheStream"
      actions = [
        "kinesis:DescribeStream",
        "kinesis:DescribeStreamSummary",
        "kinesis:GetRecords",
        "kinesis:GetShardIterator",
        "kinesis:ListShards",
      ]
      resources = [var.stream_arn]
    }
  }

  dynamic "statement" {
    for_each = local.has_consumer ? [1] : []

    content {
      sid = "ReadAsTheConsumer"
      actions = [
        "kinesis:DescribeStreamConsumer",
        "kinesis:SubscribeToShard",
      ]
      resources = [var.consumer_arn]
    }
  }

  dynamic "statement" {
    for_each = local.is_msk ? [1] : []

    content {
      sid = "FindTheCluster"
      actions = [
        "kafka:DescribeCluster",
        "kafka:DescribeClusterV2",
        "kafka:GetBootstrapBrokers",
        "kafka:ListScramSecrets",
      ]
      resources = [var.kafka_cluster_arn]
    }
  }

  dynamic "statement" {
    for_each = local.signs_in_with_iam ? [1] : []

    content {
      sid = "ReadTheTopics"
      actions = [
        "kafka-cluster:AlterGroup",
        "kafka-cluster:Connect",
        "kafka-cluster:DescribeClusterDynamicConfiguration",
        "kafka-cluster:DescribeGroup",
        "kafka-cluster:DescribeTopic",
        "kafka-cluster:ReadData",
      ]
      resources = [
        var.kafka_cluster_arn,
        "${split(":cluster/", var.kafka_cluster_arn)[0]}:topic/${split(":cluster/", var.kafka_cluster_arn)[1]}/*",
        "${split(":cluster/", var.kafka_cluster_arn)[0]}:group/${split(":cluster/", var.kafka_cluster_arn)[1]}/${var.name}-*",
      ]
    }
  }

  dynamic "statement" {
    for_each = local.has_kafka_secrets ? [1] : []

    content {
      sid     = "SignInToKafka"
      actions = ["secretsmanager:GetSecretValue"]
      resources = compact([
        local.has_kafka_secret ? var.kafka_secret_arn : null,
        local.has_kafka_root_ca ? var.kafka_root_ca_secret_arn : null,
        local.has_registry_secret ? var.kafka_schema_registry_secret_arn : null,
      ])
    }
  }

  dynamic "statement" {
    for_each = local.has_glue_registry ? [1] : []

    content {
      sid = "ReadTheSchemas"
      actions = [
        "glue:GetRegistry",
        "glue:GetSchemaVersion",
      ]
      resources = [
        var.kafka_schema_registry,
        "${split(":registry/", var.kafka_schema_registry)[0]}:schema/${split(":registry/", var.kafka_schema_registry)[1]}/*",
      ]
    }
  }

  dynamic "statement" {
    for_each = local.is_kafka ? [1] : []

    content {
      sid = "AttachPollersToTheVpc"
      actions = [
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
        "ec2:DescribeVpcs",
      ]
      resources = ["*"]
    }
  }

  statement {
    sid = "WriteItsLogs"
    actions = [
      "logs:CreateLogStream",
      "logs:PutLogEvents",
    ]
    resources = ["arn:${data.aws_partition.current.partition}:logs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:log-group:${var.log_group}:*"]
  }

  statement {
    sid     = "ReadTheSecrets"
    actions = ["secretsmanager:GetSecretValue"]
    resources = compact([
      local.serves_salesforce ? var.salesforce_secret_arn : null,
      local.serves_hubspot ? var.hubspot_secret_arn : null,
    ])
  }

  statement {
    sid       = "AskForTheSecretsTogether"
    actions   = ["secretsmanager:BatchGetSecretValue"]
    resources = ["*"]
  }

  statement {
    sid       = "ReadTheSettings"
    actions   = ["ssm:GetParameter"]
    resources = ["arn:${data.aws_partition.current.partition}:ssm:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:parameter${var.settings_name}"]
  }

  statement {
    sid = "KeepState"
    actions = [
      "dynamodb:PutItem",
      "dynamodb:Query",
      "dynamodb:UpdateItem",
    ]
    resources = ["arn:${data.aws_partition.current.partition}:dynamodb:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:table/${var.state_table}"]
  }

  statement {
    sid = "StoreDeadLetters"
    actions = [
      "sqs:GetQueueAttributes",
      "sqs:SendMessage",
    ]
    resources = [aws_sqs_queue.dead_letter_queue.arn]
  }

  statement {
    sid       = "StoreFailedEvents"
    actions   = ["s3:PutObject"]
    resources = ["${var.failed_events_arn}/aws/lambda/*"]
  }

  statement {
    sid       = "FindTheBucketOfFailedEvents"
    actions   = ["s3:ListBucket"]
    resources = [var.failed_events_arn]
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
    for_each = local.has_interfaces ? [1] : []

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
