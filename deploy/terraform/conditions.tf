# Made by tests/terraform/generate.py from template.yaml. Edit that, then run it.

locals {
  create_stream            = var.stream_arn == ""
  create_salesforce_secret = var.salesforce_secret_arn == ""
  create_hubspot_secret    = var.hubspot_secret_arn == ""
  create_topic             = var.alarm_topic_arn == ""
  subscribe_email          = local.create_topic && var.alarm_email != ""
  has_ticket_topic         = var.ticket_topic_arn != ""
  create_ticket_topic      = local.create_topic && !local.has_ticket_topic
  has_ticket_email         = var.ticket_email != ""
  subscribe_tickets        = local.create_ticket_topic && (local.has_ticket_email || local.subscribe_email)
  has_docs                 = var.docs_url != ""
  has_key                  = var.kms_key_arn != ""
  has_foreign_keys         = join("", var.foreign_key_arns) != ""
  has_boundary             = var.permissions_boundary_arn != ""
  reserve                  = var.reserve_concurrency
  has_record_age           = var.maximum_record_age_seconds != "0"
  has_collector            = var.collector_layer_arn != ""
  sends_traces             = var.tracing == "Active" || local.has_collector
  in_vpc                   = var.vpc_subnet_ids != ""
}
