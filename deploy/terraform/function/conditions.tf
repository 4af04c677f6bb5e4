# Made by tests/terraform/generate.py from templates/function.yaml. Edit that, then run it.

locals {
  is_kinesis          = var.event_source == "kinesis"
  is_msk              = var.event_source == "msk"
  is_kafka            = !local.is_kinesis
  has_topic2          = local.is_kafka && split(",", "${var.kafka_topics},,,")[1] != ""
  has_topic3          = local.is_kafka && split(",", "${var.kafka_topics},,,")[2] != ""
  has_topic4          = local.is_kafka && split(",", "${var.kafka_topics},,,")[3] != ""
  signs_in_with_iam   = local.is_msk && var.kafka_authentication == "IAM"
  has_kafka_secret    = local.is_kafka && var.kafka_secret_arn != ""
  has_kafka_root_ca   = local.is_kafka && var.kafka_root_ca_secret_arn != ""
  has_registry_secret = local.is_kafka && var.kafka_schema_registry_secret_arn != ""
  has_kafka_secrets   = local.has_kafka_secret || local.has_kafka_root_ca || local.has_registry_secret
  has_glue_registry   = local.is_kafka && split(":", var.kafka_schema_registry)[0] == "arn"
  serves_salesforce   = var.salesforce_secret_arn != ""
  serves_hubspot      = var.hubspot_secret_arn != ""
  has_consumer        = local.is_kinesis && var.consumer_arn != ""
  has_start           = var.start_at != ""
  has_key             = var.kms_key_arn != ""
  has_foreign_keys    = join("", var.foreign_key_arns) != ""
  has_boundary        = var.permissions_boundary_arn != ""
  reserve             = var.reserve_concurrency == "true"
  has_collector       = var.collector_layer_arn != ""
  sends_traces        = var.tracing == "Active" || local.has_collector
  in_vpc              = var.vpc_subnet_ids != ""
  has_interfaces      = local.in_vpc || local.is_kafka
}
