# What the function cannot deliver. Terraform refuses to delete the queue: its messages exist nowhere else.

resource "aws_sqs_queue" "dead_letter_queue" {
  name                       = "${var.name}-dead-letters"
  message_retention_seconds  = 1209600
  visibility_timeout_seconds = 300
  sqs_managed_sse_enabled    = local.has_key ? null : true
  kms_master_key_id          = local.has_key ? var.kms_key_arn : null

  lifecycle {
    prevent_destroy = true
  }
}

data "aws_iam_policy_document" "dead_letter_queue_policy" {
  statement {
    sid       = "OnlyWithTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.dead_letter_queue.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "dead_letter_queue_policy" {
  queue_url = aws_sqs_queue.dead_letter_queue.url
  policy    = data.aws_iam_policy_document.dead_letter_queue_policy.json
}
