# What outlives a deployment. Terraform refuses to delete these resources: records, secrets and given-up events exist nowhere
# else. The state table alone can be lost.

resource "aws_kinesis_stream" "stream" {
  count            = local.create_stream ? 1 : 0
  name             = "${var.name}-changes"
  retention_period = 168
  encryption_type  = "KMS"
  kms_key_id       = local.has_key ? var.kms_key_arn : "alias/aws/kinesis"

  stream_mode_details {
    stream_mode = "ON_DEMAND"
  }

  lifecycle {
    prevent_destroy = true
  }
}

# Made without a value: a value here would be readable in every copy of Terraform's state.
resource "aws_secretsmanager_secret" "salesforce_secret" {
  count       = local.create_salesforce_secret ? 1 : 0
  name_prefix = "${var.name}-salesforce-"
  description = "Salesforce: {\"login_url\": \"https://….my.salesforce.com\", \"client_id\": \"…\", \"client_secret\": \"…\"}"
  kms_key_id  = local.has_key ? var.kms_key_arn : null

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_secretsmanager_secret" "hubspot_secret" {
  count       = local.create_hubspot_secret ? 1 : 0
  name_prefix = "${var.name}-hubspot-"
  description = "HubSpot: {\"access_token\": \"…\"}"
  kms_key_id  = local.has_key ? var.kms_key_arn : null

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_dynamodb_table" "state_table" {
  name         = "${var.name}-state"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "pk"
  range_key    = "sk"

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = local.has_key ? var.kms_key_arn : null
  }
}

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

resource "aws_s3_bucket" "failed_events" {
  bucket_prefix = "${var.name}-"

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "failed_events" {
  bucket = aws_s3_bucket.failed_events.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = local.has_key ? var.kms_key_arn : null
    }
  }
}

resource "aws_s3_bucket_ownership_controls" "failed_events" {
  bucket = aws_s3_bucket.failed_events.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "failed_events" {
  bucket                  = aws_s3_bucket.failed_events.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "failed_events" {
  bucket = aws_s3_bucket.failed_events.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "failed_events" {
  bucket = aws_s3_bucket.failed_events.id

  rule {
    id     = "forget"
    status = "Enabled"

    filter {}

    expiration {
      days = var.failed_events_retention_days
    }

    noncurrent_version_expiration {
      noncurrent_days = 1
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  depends_on = [aws_s3_bucket_versioning.failed_events]
}

data "aws_iam_policy_document" "failed_events_policy" {
  statement {
    sid     = "OnlyWithTls"
    effect  = "Deny"
    actions = ["s3:*"]
    resources = [
      aws_s3_bucket.failed_events.arn,
      "${aws_s3_bucket.failed_events.arn}/*",
    ]

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

resource "aws_s3_bucket_policy" "failed_events_policy" {
  bucket = aws_s3_bucket.failed_events.id
  policy = data.aws_iam_policy_document.failed_events_policy.json
}

resource "aws_cloudwatch_log_group" "log_group" {
  name              = "/contact-sync/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.has_key ? var.kms_key_arn : null

  lifecycle {
    prevent_destroy = true
  }
}
