"""Reads the templates, and translates their expressions into those of Terraform.

The modules in deploy/terraform have the templates' names in snake case, for parameters (`var.`), conditions (`local.`) and
resources. With that rule, one expression of a template has exactly one translation.
"""

import json
import posixpath
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]

# The module of each template. Nested templates that need no transform are deployed as they are: one text for both.
MODULES = {
    "template.yaml": "deploy/terraform",
    "templates/function.yaml": "deploy/terraform/function",
    "templates/doctor.yaml": "deploy/terraform/doctor",
}

# Terraform's type of each resource type of the templates, and the attributes that `Ref` and `GetAtt` name.
TYPES = {
    "AWS::CloudFormation::Stack": ("aws_cloudformation_stack", {}),
    "AWS::CloudWatch::Alarm": ("aws_cloudwatch_metric_alarm", {"Ref": "alarm_name"}),
    "AWS::DynamoDB::Table": ("aws_dynamodb_table", {"Ref": "name", "Arn": "arn"}),
    "AWS::IAM::Role": ("aws_iam_role", {"Ref": "name", "Arn": "arn"}),
    "AWS::Kinesis::Stream": ("aws_kinesis_stream", {"Ref": "name", "Arn": "arn"}),
    "AWS::Lambda::EventSourceMapping": ("aws_lambda_event_source_mapping", {"Ref": "uuid"}),
    "AWS::Logs::LogGroup": ("aws_cloudwatch_log_group", {"Ref": "name", "Arn": "arn"}),
    "AWS::Logs::QueryDefinition": ("aws_cloudwatch_query_definition", {}),
    "AWS::S3::Bucket": ("aws_s3_bucket", {"Ref": "id", "Arn": "arn"}),
    "AWS::S3::BucketPolicy": ("aws_s3_bucket_policy", {}),
    "AWS::SNS::Subscription": ("aws_sns_topic_subscription", {}),
    "AWS::SNS::Topic": ("aws_sns_topic", {"Ref": "arn", "TopicName": "name"}),
    "AWS::SQS::Queue": ("aws_sqs_queue", {"Ref": "url", "Arn": "arn", "QueueName": "name"}),
    "AWS::SQS::QueuePolicy": ("aws_sqs_queue_policy", {}),
    "AWS::Scheduler::Schedule": ("aws_scheduler_schedule", {}),
    "AWS::SecretsManager::Secret": ("aws_secretsmanager_secret", {"Ref": "arn"}),
    "AWS::Serverless::Function": ("aws_lambda_function", {"Ref": "function_name", "Arn": "arn", "Version.Version": "version"}),
}

PSEUDO = {
    "AWS::AccountId": "data.aws_caller_identity.current.account_id",
    "AWS::NoValue": "null",
    "AWS::Partition": "data.aws_partition.current.partition",
    "AWS::Region": "data.aws_region.current.name",
    "AWS::StackName": "var.name",
}

# Terraform reserves the name `source`.
RENAMED = {"Source": "event_source"}


class Loader(yaml.SafeLoader):
    """Reads a template's short forms (`!Ref x`) as its long ones (`{"Ref": "x"}`)."""


def _intrinsic(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", _intrinsic)


def load(path):
    """Returns a template."""
    return yaml.load((ROOT / path).read_text(encoding="utf-8"), Loader)


def snake(name):
    """Returns a name of a template as a module writes it: `HubSpotSecretArn` is `hubspot_secret_arn`."""
    if name in RENAMED:
        return RENAMED[name]
    name = name.replace("HubSpot", "Hubspot")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def is_switch(parameter):
    """Returns whether a parameter is true or false, which is a `bool` in the module."""
    return parameter.get("AllowedValues") == ["true", "false"]


def nested(path, resource):
    """Returns the path of a nested stack's template, in the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), resource["Properties"]["TemplateURL"]))


class Translator:
    """Translates expressions of the template at a path."""

    def __init__(self, path, template):
        self.path, self.template = path, template

    def address(self, name):
        """Returns the address of a resource: of a module where a nested stack is one."""
        resource = self.template["Resources"][name]
        kind = TYPES[resource["Type"]][0]
        if resource["Type"] == "AWS::CloudFormation::Stack" and nested(self.path, resource) in MODULES:
            kind = "module"
        return f"{kind}.{snake(name)}{'[0]' if 'Condition' in resource else ''}"

    def resource(self, name, attribute):
        """Returns the expression of a resource's attribute."""
        address = self.address(name)
        if attribute.startswith("Outputs."):
            output = attribute.removeprefix("Outputs.")
            return f"{address}.{snake(output)}" if address.startswith("module.") else f'{address}.outputs["{output}"]'
        return f"{address}.{TYPES[self.template['Resources'][name]['Type']][1][attribute]}"

    def ref(self, name):
        """Returns the expression of `Ref`."""
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.template["Parameters"]:
            return f"var.{snake(name)}"
        first, _, attribute = name.partition(".")
        if attribute == "Alias":
            return f"aws_lambda_alias.{snake(first)}.arn"
        return self.resource(name, "Ref")

    def sub(self, argument):
        """Returns the text of `Fn::Sub`, with Terraform's expressions in it."""
        text, given = argument if isinstance(argument, list) else (argument, {})
        # Every second part is a name.
        parts = re.split(r"\$\{([^}]+)\}", text.strip())
        for at in range(0, len(parts), 2):
            parts[at] = literal(parts[at])
        for at in range(1, len(parts), 2):
            name = parts[at]
            first, _, attribute = name.partition(".")
            if name in given:
                found = self.expression(given[name])
            else:
                found = self.resource(first, attribute) if attribute else self.ref(name)
            parts[at] = "${" + found + "}"
        return f'"{"".join(parts)}"'

    def equals(self, left, right, negated=False):
        """Returns the expression of `Fn::Equals`; a switch is compared with no text."""
        name = left.get("Ref") if isinstance(left, dict) else None
        if is_switch(self.template["Parameters"].get(name, {})):
            return f"{'!' if (right == 'true') == negated else ''}var.{snake(name)}"
        return f"{self.expression(left)} {'!=' if negated else '=='} {self.expression(right)}"

    def expression(self, value):
        """Returns the expression of a value of the template."""
        if isinstance(value, bool):
            return json.dumps(value)
        if isinstance(value, (int, float)):
            return str(value)
        if isinstance(value, str):
            return f'"{literal(value)}"'
        if isinstance(value, list):
            text = f"[{', '.join(self.expression(item) for item in value)}]"
            # What has no value is left out.
            return f"compact({text})" if any(is_optional(item) for item in value) else text
        (function, argument), = value.items()
        if function == "Ref":
            return self.ref(argument)
        if function == "Condition":
            return f"local.{snake(argument)}"
        return getattr(self, f"_{function.removeprefix('Fn::').lower()}")(argument)

    def _getatt(self, argument):
        return self.resource(*argument)

    def _sub(self, argument):
        return self.sub(argument)

    def _equals(self, argument):
        return self.equals(*argument)

    def _not(self, argument):
        inner, = argument
        if "Fn::Equals" in inner:
            return self.equals(*inner["Fn::Equals"], negated=True)
        text = self.expression(inner)
        return f"!{text}" if "Condition" in inner or "Fn::Contains" in inner else f"!({text})"

    def _contains(self, argument):
        return f"contains({self.expression(argument[0])}, {self.expression(argument[1])})"

    def _and(self, argument):
        return " && ".join(self.operand(item) for item in argument)

    def _or(self, argument):
        return " || ".join(self.operand(item) for item in argument)

    def operand(self, value):
        """Returns the expression of an operand of `&&` or `||`: in brackets where it has an operator of its own."""
        text = self.expression(value)
        return f"({text})" if " && " in text or " || " in text else text

    def _if(self, argument):
        condition, yes, no = argument
        return f"local.{snake(condition)} ? {self.branch(yes)} : {self.branch(no)}"

    def branch(self, value):
        """Returns the expression of a branch: in brackets where it is a condition of its own."""
        text = self.expression(value)
        return f"({text})" if isinstance(value, dict) and "Fn::If" in value else text

    def _join(self, argument):
        return f"join({self.expression(argument[0])}, {self.expression(argument[1])})"

    def _split(self, argument):
        return f"split({self.expression(argument[0])}, {self.expression(argument[1])})"

    def _select(self, argument):
        return f"{self.expression(argument[1])}[{argument[0]}]"


def is_expression(value):
    """Returns whether a dictionary is a function of CloudFormation."""
    return any(key.startswith("Fn::") or key in ("Ref", "Condition") for key in value)


def is_optional(value):
    """Returns whether a value of a list has no value in one of its cases."""
    return isinstance(value, dict) and value.get("Fn::If", [None])[-1] == {"Ref": "AWS::NoValue"}


def literal(text):
    """Returns a text as the inside of a literal of Terraform, in which `${` has no meaning."""
    return json.dumps(text.replace("${", "$${").replace("%{", "%%{"), ensure_ascii=False)[1:-1]
