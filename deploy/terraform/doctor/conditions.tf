# Made by tests/terraform/generate.py from templates/doctor.yaml. Edit that, then run it.

locals {
  has_key          = var.kms_key_arn != ""
  has_foreign_keys = join("", var.foreign_key_arns) != ""
  has_boundary     = var.permissions_boundary_arn != ""
  in_vpc           = var.vpc_subnet_ids != ""
}
