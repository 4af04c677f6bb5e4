"""Reads template.yaml, and translates its expressions into those of Terraform.

The module in deploy/terraform has the template's names in snake case, for parameters (`var.`), conditions (`local.`) and
resources. With that rule, one expression of the template has exactly one translation.
"""

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]

# Terraform's type of each resource type of the template, and the attributes that `Ref` and `GetAtt` name.
TYPES = {
    "AWS::CloudFormation::Stack": ("aws_cloudformation_stack", {"Ref": "id"}),
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
    "AWS::SecretsManager::Secret": ("aws_secretsmanager_secret", {"Ref": "arn"}),
    "AWS::Serverless::Function": ("aws_lambda_function", {"Ref": "function_name", "Arn": "arn"}),
}

PSEUDO = {
    "AWS::AccountId": "data.aws_caller_identity.current.account_id",
    "AWS::NoValue": "null",
    "AWS::Partition": "data.aws_partition.current.partition",
    "AWS::Region": "data.aws_region.current.name",
    "AWS::StackName": "var.name",
}


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


def load(path="template.yaml"):
    """Returns a template, with the mappings of its functions as resources of their own, as SAM names them."""
    template = yaml.load((ROOT / path).read_text(encoding="utf-8"), Loader)
    for name, resource in list(template["Resources"].items()):
        for event, source in resource.get("Properties", {}).pop("Events", {}).items():
            found = {"Type": "AWS::Lambda::EventSourceMapping", "Properties": dict(source["Properties"], Source=source["Type"])}
            if "Condition" in resource:
                found["Condition"] = resource["Condition"]
            template["Resources"][f"{name}{event}"] = found
    return template


def snake(name):
    """Returns a name of the template as the module writes it: `HubSpotSecretArn` is `hubspot_secret_arn`."""
    name = name.replace("HubSpot", "Hubspot")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def is_switch(parameter):
    """Returns whether a parameter is true or false, which is a `bool` in the module."""
    return parameter.get("AllowedValues") == ["true", "false"]


class Translator:
    """Translates expressions of one template."""

    def __init__(self, template):
        self.template = template

    def resource(self, name, attribute):
        """Returns the expression of a resource's attribute."""
        resource = self.template["Resources"][name]
        kind, attributes = TYPES[resource["Type"]]
        index = "[0]" if "Condition" in resource else ""
        if resource["Type"] == "AWS::Serverless::Function" and attribute == "Version.Version":
            attribute = "version"
        else:
            attribute = attributes[attribute]
        return f"{kind}.{snake(name)}{index}.{attribute}"

    def ref(self, name):
        """Returns the expression of `Ref`."""
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.template["Parameters"]:
            return f"var.{snake(name)}"
        return self.resource(name, "Ref")

    def sub(self, argument):
        """Returns the text of `Fn::Sub`, with Terraform's expressions in it."""
        text, given = argument if isinstance(argument, list) else (argument, {})

        def expression(found):
            name = found[1]
            if name in given:
                return "${" + self.expression(given[name]) + "}"
            first, _, attribute = name.partition(".")
            return "${" + (self.resource(first, attribute) if attribute else self.ref(name)) + "}"

        return quoted(re.sub(r"\$\{([^}]+)\}", expression, text.strip()), is_template=True)

    def equals(self, left, right, negated=False):
        """Returns the expression of `Fn::Equals`; a switch is compared with no text."""
        name = left.get("Ref") if isinstance(left, dict) else None
        parameter = self.template["Parameters"].get(name, {})
        if is_switch(parameter):
            return f"{'!' if (right == 'true') == negated else ''}var.{snake(name)}"
        return f"{self.expression(left)} {'!=' if negated else '=='} {self.expression(right)}"

    def expression(self, value):
        """Returns the expression of a value of the template."""
        if isinstance(value, bool):
            return json.dumps(value)
        if isinstance(value, (int, float)):
            return str(value)
        if isinstance(value, str):
            return quoted(value)
        if isinstance(value, list):
            return f"[{', '.join(self.expression(item) for item in value)}]"
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
        return f"!{text}" if "Condition" in inner else f"!({text})"

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


def quoted(text, is_template=False):
    """Returns a text as a literal of Terraform, in which `${` of a plain text has no meaning."""
    if not is_template:
        text = text.replace("${", "$${").replace("%{", "%%{")
    # Quotes within an expression stay as they are.
    parts = re.split(r"((?<!\$)\$\{[^}]*\})", text)
    return '"' + "".join(part if at % 2 else json.dumps(part, ensure_ascii=False)[1:-1] for at, part in enumerate(parts)) + '"'
