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
    condition     = aws_lambda_event_source_mapping.function_contact_changes.maximum_record_age_in_seconds == 518400
    error_message = "a stream of the module keeps its records for a week"
  }

  assert {
    condition     = !contains(keys(aws_lambda_function.function.environment[0].variables), "OTEL_EXPORTER_OTLP_ENDPOINT")
    error_message = "without a collector the function has no variable for it"
  }
}

run "with_an_existing_stream" {
  command = plan

  variables {
    stream_arn             = "arn:aws:kinesis:eu-west-1:123456789012:stream/contact-changes"
    alarm_topic_arn        = "arn:aws:sns:eu-west-1:123456789012:pages"
    vpc_subnet_ids         = "subnet-0a,subnet-0b"
    vpc_security_group_ids = "sg-0a"
  }

  assert {
    condition     = length(aws_kinesis_stream.stream) == 0 && length(aws_sns_topic.alarm_topic) == 0
    error_message = "the module makes no stream and no topic"
  }

  assert {
    condition     = aws_lambda_event_source_mapping.function_contact_changes.maximum_record_age_in_seconds == 82800
    error_message = "an existing stream may keep its records for a day only"
  }

  assert {
    condition     = length(aws_lambda_function.function.vpc_config[0].subnet_ids) == 2
    error_message = "the function is in both subnets"
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
