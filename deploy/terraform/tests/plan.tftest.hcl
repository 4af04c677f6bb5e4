# Plans the module without an account: `terraform test`. The provider is a mock, so that no call is made.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = {
      json = "{}"
    }
  }
}

variables {
  # Any file serves: a plan reads its hash.
  artifact = "versions.tf"
}

run "with_defaults" {
  command = plan

  assert {
    condition     = length(aws_kinesis_stream.stream) == 1 && length(aws_sns_topic.ticket_topic) == 1
    error_message = "without ARNs the module makes the stream and the topics"
  }

  assert {
    condition     = length(module.hubspot_function) == 1 && length(aws_cloudformation_stack.hubspot_operations) == 1
    error_message = "each destination has a function and its alarms"
  }

  assert {
    condition     = length(module.doctor) == 0
    error_message = "without a schedule nothing is checked"
  }
}

run "with_an_existing_stream" {
  command = plan

  variables {
    stream_arn             = "arn:aws:kinesis:eu-west-1:123456789012:stream/contact-changes"
    alarm_topic_arn        = "arn:aws:sns:eu-west-1:123456789012:pages"
    destinations           = "together"
    doctor_schedule        = "rate(1 day)"
    vpc_subnet_ids         = "subnet-0a,subnet-0b"
    vpc_security_group_ids = "sg-0a"
  }

  assert {
    condition     = length(aws_kinesis_stream.stream) == 0 && length(aws_sns_topic.alarm_topic) == 0
    error_message = "the module makes no stream and no topic"
  }

  assert {
    condition     = length(module.hubspot_function) == 0 && length(module.doctor) == 1
    error_message = "one function serves all destinations, and another one checks them"
  }
}

run "with_a_consumer_for_each_function" {
  command = plan

  variables {
    stream_arn              = "arn:aws:kinesis:eu-west-1:123456789012:stream/contact-changes"
    salesforce_consumer_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/contact-changes/consumer/salesforce:1763633700"
    hubspot_consumer_arn    = "arn:aws:kinesis:eu-west-1:123456789012:stream/contact-changes/consumer/hubspot:1763633701"
  }

  assert {
    condition     = aws_cloudformation_stack.operations.parameters["StreamName"] == "contact-changes"
    error_message = "the alarms watch the stream"
  }
}

run "with_topics_of_msk" {
  command = plan

  variables {
    event_source      = "msk"
    kafka_cluster_arn = "arn:aws:kafka:eu-west-1:123456789012:cluster/contacts/0a1b2c3d-1"
    kafka_topics      = "contacts,archive"
  }

  assert {
    condition     = length(aws_kinesis_stream.stream) == 0
    error_message = "the module makes no stream"
  }
}

run "refuses_half_a_vpc" {
  command = plan

  variables {
    vpc_subnet_ids = "subnet-0a"
  }

  expect_failures = [var.vpc_security_group_ids]
}

run "refuses_an_address_for_a_foreign_topic" {
  command = plan

  variables {
    alarm_email     = "team@example.com"
    alarm_topic_arn = "arn:aws:sns:eu-west-1:123456789012:pages"
  }

  expect_failures = [var.alarm_email]
}

run "refuses_kafka_without_topics" {
  command = plan

  variables {
    event_source            = "kafka"
    kafka_bootstrap_servers = "broker.example.com:9096"
    kafka_authentication    = "SASL_SCRAM_512_AUTH"
    kafka_secret_arn        = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:kafka"
  }

  expect_failures = [var.kafka_topics]
}
