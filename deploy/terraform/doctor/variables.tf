# Made by tests/terraform/generate.py from templates/doctor.yaml. Edit that, then run it.

variable "artifact" {
  description = "Path of the function's zip: one of a release, or the one that `make zip` builds. It is for `architecture`."
  type        = string
}

variable "name" {
  description = "The function's name."
  type        = string
}

variable "schedule" {
  description = "Expression of EventBridge Scheduler."
  type        = string
}

variable "settings_name" {
  description = "name of the parameter with the settings document."
  type        = string
}

variable "preset" {
  description = "The set of settings to start from."
  type        = string
}

variable "architecture" {
  description = "Processor of the function."
  type        = string
}

variable "salesforce_secret_arn" {
  description = "ARN of Salesforce's secret."
  type        = string
}

variable "hubspot_secret_arn" {
  description = "ARN of HubSpot's secret."
  type        = string
}

variable "kms_key_arn" {
  description = "ARN of the owner's key. Empty - keys that AWS manages."
  type        = string
}

variable "foreign_key_arns" {
  description = "ARNs of the keys of existing secrets."
  type        = list(string)
}

variable "permissions_boundary_arn" {
  description = "ARN of a permissions boundary of the roles. Empty - none."
  type        = string
}

variable "vpc_subnet_ids" {
  description = "Subnets of the function. Empty - no VPC."
  type        = string
}

variable "vpc_security_group_ids" {
  description = "Security groups of the function."
  type        = string
}

variable "log_group" {
  description = "name of the log group."
  type        = string
}

variable "ticket_topic" {
  description = "ARN of the topic of tickets."
  type        = string
}

variable "docs_base" {
  description = "Where the documentation is, without a slash at the end."
  type        = string
}

variable "docs_suffix" {
  description = "How the names of its pages end."
  type        = string
}
