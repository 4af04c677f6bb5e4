# What the scheduled function and its schedule may do: the statements of templates/doctor.yaml, by the same names.

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
  description          = "Permissions of the doctor of contact-sync"
  assume_role_policy   = data.aws_iam_policy_document.role_trust.json
  permissions_boundary = local.has_boundary ? var.permissions_boundary_arn : null
}

resource "aws_iam_role_policy" "role" {
  name   = "contact-sync-doctor"
  role   = aws_iam_role.role.name
  policy = data.aws_iam_policy_document.role.json
}

data "aws_iam_policy_document" "role" {
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
    resources = [
      var.salesforce_secret_arn,
      var.hubspot_secret_arn,
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
    resources = ["arn:${data.aws_partition.current.partition}:ssm:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:parameter${var.settings_name}"]
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
    for_each = local.has_key ? [1] : []

    content {
      sid       = "UseTheKey"
      actions   = ["kms:Decrypt"]
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

data "aws_iam_policy_document" "schedule_role_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "schedule_role" {
  name_prefix          = "${substr(var.name, 0, 37)}-"
  description          = "Permissions of the schedule of the doctor of contact-sync"
  assume_role_policy   = data.aws_iam_policy_document.schedule_role_trust.json
  permissions_boundary = local.has_boundary ? var.permissions_boundary_arn : null
}

resource "aws_iam_role_policy" "schedule_role" {
  name   = "invoke-the-doctor"
  role   = aws_iam_role.schedule_role.name
  policy = data.aws_iam_policy_document.schedule_role.json
}

data "aws_iam_policy_document" "schedule_role" {
  statement {
    sid       = "InvokeTheDoctor"
    actions   = ["lambda:InvokeFunction"]
    resources = [aws_lambda_function.function.arn]
  }
}
