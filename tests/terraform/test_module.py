"""Compares the Terraform module in deploy/terraform with template.yaml: every parameter, resource, property, permission and
output of the template has its counterpart in the module, and the module has nothing else.

Run by `make validate`. Needs no network and no account. `terraform validate` and `terraform test` are run where
Terraform and the provider of the module are installed.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import generate
import hcl2
from cloudformation import ROOT, TYPES, Translator, load, snake

MODULE = ROOT / "deploy" / "terraform"

# Resources of the template without a counterpart, and why.
OMITTED = {
    "RolloutRole": generate.OMITTED["Rollout"],
    "CanaryErrorsAlarm": generate.OMITTED["Rollout"],
}

# Properties of the template without a counterpart, and why.
IGNORED = {
    "AWS::Serverless::Function": {
        "CodeUri": "the variable `artifact`",
        "AutoPublishAlias": "tested below",
        "AutoPublishCodeSha256": generate.OMITTED["DeploymentHash"],
        "DeploymentPreference": generate.OMITTED["Rollout"],
    },
    "AWS::Lambda::EventSourceMapping": {
        "Source": "the argument `event_source_arn` has the kind of source in it",
        "DestinationConfig.OnFailure.Type": "the ARN has the kind of destination in it",
    },
    "AWS::CloudFormation::Stack": {"TemplateURL": "tested below"},
    "AWS::IAM::Role": {"Policies": "tested below", "AssumeRolePolicyDocument": "tested below"},
    "AWS::SQS::QueuePolicy": {"PolicyDocument": "tested below"},
    "AWS::S3::BucketPolicy": {"PolicyDocument": "tested below"},
}

# The argument of each property. A bucket's arguments belong to resources of their own: their type comes first.
ARGUMENTS = {
    "AWS::CloudFormation::Stack": {r"Parameters\.": "parameters."},
    "AWS::CloudWatch::Alarm": {
        "AlarmName": "alarm_name",
        "AlarmDescription": "alarm_description",
        "Namespace": "namespace",
        "MetricName": "metric_name",
        "Statistic": "statistic",
        "Period": "period",
        "EvaluationPeriods": "evaluation_periods",
        "Threshold": "threshold",
        "ComparisonOperator": "comparison_operator",
        "TreatMissingData": "treat_missing_data",
        "AlarmActions": "alarm_actions",
        "OKActions": "ok_actions",
        r"Metrics\.(\d+)\.MetricStat\.Metric\.Namespace": r"metric_query.\1.metric.namespace",
        r"Metrics\.(\d+)\.MetricStat\.Metric\.MetricName": r"metric_query.\1.metric.metric_name",
        r"Metrics\.(\d+)\.MetricStat\.Stat": r"metric_query.\1.metric.stat",
        r"Metrics\.(\d+)\.MetricStat\.Period": r"metric_query.\1.metric.period",
        r"Metrics\.(\d+)\.Id": r"metric_query.\1.id",
        r"Metrics\.(\d+)\.Label": r"metric_query.\1.label",
        r"Metrics\.(\d+)\.Expression": r"metric_query.\1.expression",
        r"Metrics\.(\d+)\.ReturnData": r"metric_query.\1.return_data",
    },
    "AWS::DynamoDB::Table": {
        "BillingMode": "billing_mode",
        r"AttributeDefinitions\.(\d+)\.AttributeName": r"attribute.\1.name",
        r"AttributeDefinitions\.(\d+)\.AttributeType": r"attribute.\1.type",
        r"KeySchema\.0\.AttributeName": "hash_key",
        r"KeySchema\.1\.AttributeName": "range_key",
        r"TimeToLiveSpecification\.AttributeName": "ttl.attribute_name",
        r"TimeToLiveSpecification\.Enabled": "ttl.enabled",
        r"PointInTimeRecoverySpecification\.PointInTimeRecoveryEnabled": "point_in_time_recovery.enabled",
        r"SSESpecification\.SSEEnabled": "server_side_encryption.enabled",
        r"SSESpecification\.KMSMasterKeyId": "server_side_encryption.kms_key_arn",
    },
    "AWS::IAM::Role": {"Description": "description", "PermissionsBoundary": "permissions_boundary"},
    "AWS::Kinesis::Stream": {
        r"StreamModeDetails\.StreamMode": "stream_mode_details.stream_mode",
        "RetentionPeriodHours": "retention_period",
        r"StreamEncryption\.EncryptionType": "encryption_type",
        r"StreamEncryption\.KeyId": "kms_key_id",
    },
    "AWS::Lambda::EventSourceMapping": {
        "Stream": "event_source_arn",
        "Enabled": "enabled",
        "StartingPosition": "starting_position",
        "BatchSize": "batch_size",
        "MaximumBatchingWindowInSeconds": "maximum_batching_window_in_seconds",
        "ParallelizationFactor": "parallelization_factor",
        "FunctionResponseTypes": "function_response_types",
        "BisectBatchOnFunctionError": "bisect_batch_on_function_error",
        "MaximumRetryAttempts": "maximum_retry_attempts",
        "MaximumRecordAgeInSeconds": "maximum_record_age_in_seconds",
        r"DestinationConfig\.OnFailure\.Destination": "destination_config.on_failure.destination_arn",
        r"MetricsConfig\.Metrics": "metrics_config.metrics",
    },
    "AWS::Logs::LogGroup": {"RetentionInDays": "retention_in_days", "KmsKeyId": "kms_key_id"},
    "AWS::Logs::QueryDefinition": {"Name": "name", "LogGroupNames": "log_group_names", "QueryString": "query_string"},
    "AWS::S3::Bucket": {
        r"BucketEncryption\.ServerSideEncryptionConfiguration\.0\.BucketKeyEnabled":
            "server_side_encryption_configuration.rule.bucket_key_enabled",
        r"BucketEncryption\.ServerSideEncryptionConfiguration\.0\.ServerSideEncryptionByDefault\.SSEAlgorithm":
            "server_side_encryption_configuration.rule.apply_server_side_encryption_by_default.sse_algorithm",
        r"BucketEncryption\.ServerSideEncryptionConfiguration\.0\.ServerSideEncryptionByDefault\.KMSMasterKeyID":
            "server_side_encryption_configuration.rule.apply_server_side_encryption_by_default.kms_master_key_id",
        r"OwnershipControls\.Rules\.0\.ObjectOwnership": "ownership_controls.rule.object_ownership",
        r"PublicAccessBlockConfiguration\.BlockPublicAcls": "public_access_block.block_public_acls",
        r"PublicAccessBlockConfiguration\.BlockPublicPolicy": "public_access_block.block_public_policy",
        r"PublicAccessBlockConfiguration\.IgnorePublicAcls": "public_access_block.ignore_public_acls",
        r"PublicAccessBlockConfiguration\.RestrictPublicBuckets": "public_access_block.restrict_public_buckets",
        r"VersioningConfiguration\.Status": "versioning.versioning_configuration.status",
        r"LifecycleConfiguration\.Rules\.0\.Id": "lifecycle_configuration.rule.id",
        r"LifecycleConfiguration\.Rules\.0\.Status": "lifecycle_configuration.rule.status",
        r"LifecycleConfiguration\.Rules\.0\.ExpirationInDays": "lifecycle_configuration.rule.expiration.days",
        r"LifecycleConfiguration\.Rules\.0\.NoncurrentVersionExpiration\.NoncurrentDays":
            "lifecycle_configuration.rule.noncurrent_version_expiration.noncurrent_days",
        r"LifecycleConfiguration\.Rules\.0\.AbortIncompleteMultipartUpload\.DaysAfterInitiation":
            "lifecycle_configuration.rule.abort_incomplete_multipart_upload.days_after_initiation",
    },
    "AWS::S3::BucketPolicy": {"Bucket": "bucket"},
    "AWS::SNS::Subscription": {"TopicArn": "topic_arn", "Protocol": "protocol", "Endpoint": "endpoint"},
    "AWS::SNS::Topic": {"DisplayName": "display_name", "KmsMasterKeyId": "kms_master_key_id"},
    "AWS::SQS::Queue": {
        "MessageRetentionPeriod": "message_retention_seconds",
        "VisibilityTimeout": "visibility_timeout_seconds",
        "SqsManagedSseEnabled": "sqs_managed_sse_enabled",
        "KmsMasterKeyId": "kms_master_key_id",
    },
    "AWS::SQS::QueuePolicy": {"Queues": "queue_url"},
    "AWS::SecretsManager::Secret": {"Description": "description", "KmsKeyId": "kms_key_id"},
    "AWS::Serverless::Function": {
        "FunctionName": "function_name",
        "Description": "description",
        "Handler": "handler",
        "Runtime": "runtime",
        "Architectures": "architectures",
        "MemorySize": "memory_size",
        "Timeout": "timeout",
        "ReservedConcurrentExecutions": "reserved_concurrent_executions",
        "Role": "role",
        "KmsKeyArn": "kms_key_arn",
        "Tracing": "tracing_config.mode",
        "Layers": "layers",
        r"VpcConfig\.SubnetIds": "vpc_config.subnet_ids",
        r"VpcConfig\.SecurityGroupIds": "vpc_config.security_group_ids",
        r"LoggingConfig\.LogGroup": "logging_config.log_group",
        r"LoggingConfig\.LogFormat": "logging_config.log_format",
        r"LoggingConfig\.ApplicationLogLevel": "logging_config.application_log_level",
        r"LoggingConfig\.SystemLogLevel": "logging_config.system_log_level",
        r"Environment\.Variables\.": "environment.variables.",
    },
}

# Values that the provider has under another name, or not at all.
SAME = {
    ("AWS::DynamoDB::Table", "KeySchema.0.KeyType"): '"HASH"',
    ("AWS::DynamoDB::Table", "KeySchema.1.KeyType"): '"RANGE"',
    ("AWS::DynamoDB::Table", "SSESpecification.SSEType"): '"KMS"',
}

# Arguments without a property: names that CloudFormation makes up, and Terraform's own.
OWN = re.compile(
    r"name|name_prefix|bucket|bucket_prefix|(\w+\.)?(depends_on|count)|lifecycle\..*|capabilities|template_body|policy|assume_role_policy"
    r"|filename|source_code_hash|publish|function_name|(\w+\.)?bucket|lifecycle_configuration\.(rule\.filter|depends_on).*"
)

def text(value):
    """Returns a value of a parsed module as an expression."""
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(text(item) for item in value)}]"
    value = str(value)
    if value.startswith('"<<-'):
        lines = value[1:-1].split("\n")[1:-1]
        margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        return json.dumps("".join(line[margin:] + "\n" for line in lines), ensure_ascii=False)
    return value[2:-1] if value.startswith("${") and value.endswith("}") else value


def named(value):
    """Returns a dictionary without the quotes of its keys, and without the parser's marks."""
    return {key.strip('"'): item for key, item in value.items() if not key.startswith("__")}


def leaves(body, prefix="", guard=""):
    """Yields the path, the expression and the guard of each argument within a parsed block."""
    for key, value in named(body).items():
        path = f"{prefix}{key}"
        if key == "dynamic":
            for dynamic in value:
                (name, inner), = named(dynamic).items()
                (content,) = inner["content"]
                yield from leaves(content, f"{prefix}{name}.", text(inner["for_each"]).removesuffix(" ? [1] : []"))
        elif isinstance(value, dict):
            yield from leaves(value, f"{path}.", guard)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for at, item in enumerate(value):
                yield from leaves(item, f"{path}.{at}." if len(value) > 1 else f"{path}.", guard)
        else:
            yield path, text(value), guard


def is_expression(value):
    """Returns whether a dictionary is a function of CloudFormation."""
    return any(key.startswith("Fn::") or key in ("Ref", "Condition") for key in value)


def properties(value, prefix="", guard=""):
    """Yields the path, the value and the guard of each property of the template."""
    if isinstance(value, dict) and "Fn::If" in value:
        condition, yes, no = value["Fn::If"]
        if isinstance(yes, dict) and not is_expression(yes) and no == {"Ref": "AWS::NoValue"}:
            yield from properties(yes, prefix, f"local.{snake(condition)}")
            return
    if isinstance(value, dict) and not is_expression(value):
        for key, item in value.items():
            yield from properties(item, f"{prefix}.{key}" if prefix else key, guard)
    elif isinstance(value, list) and value and all(isinstance(item, dict) and not is_expression(item) for item in value):
        for at, item in enumerate(value):
            yield from properties(item, f"{prefix}.{at}", guard)
    else:
        yield prefix, value, guard


class Module:
    """The parsed module."""

    def __init__(self):
        self.blocks = {kind: {} for kind in ("resource", "data", "variable", "output", "locals")}
        for path in sorted(MODULE.glob("*.tf")):
            parsed = hcl2.loads(path.read_text(encoding="utf-8"))
            for kind in ("resource", "data"):
                for block in parsed.get(kind, []):
                    (of_type, inner), = named(block).items()
                    (name, body), = named(inner).items()
                    self.blocks[kind][of_type, name] = body
            for kind in ("variable", "output"):
                for block in parsed.get(kind, []):
                    (name, body), = named(block).items()
                    self.blocks[kind][name] = named(body)
            for block in parsed.get("locals", []):
                self.blocks["locals"].update(named(block))

    def arguments(self, of_type, name):
        """Returns the arguments of a resource by path, each with its guard; a bucket's with those of its companions."""
        found = {}
        for (other, same), body in self.blocks["resource"].items():
            if same == name and (other == of_type or (of_type == "aws_s3_bucket" and other.startswith("aws_s3_bucket_"))):
                part = "" if other == of_type else other.removeprefix("aws_s3_bucket_") + "."
                found.update({path: (value, guard) for path, value, guard in leaves(body, part)})
        return found

    def variables_of(self, found):
        """Replaces a function's map of variables by the variables of the local values that it is merged from."""
        value, _ = found.pop("environment.variables")
        for part in value.removeprefix("merge(").removesuffix(")").split(", "):
            condition, name = re.fullmatch(r"(?:(local\.\w+) \? )?local\.(\w+)(?: : \{\s*\})?", part).groups()
            for path, expression, guard in leaves(self.blocks["locals"][name], "environment.variables."):
                found[path] = f"{condition} ? {expression} : null" if condition else expression, guard

    def statements(self, name):
        """Returns the statements of a policy, in order."""
        body = named(self.blocks["data"]["aws_iam_policy_document", name])
        found = [(body_of, "") for body_of in body.get("statement", [])]
        for dynamic in body.get("dynamic", []):
            (_, inner), = named(dynamic).items()
            found.append((inner["content"][0], text(inner["for_each"]).removesuffix(" ? [1] : []")))
        return sorted((self.statement(*each) for each in found), key=str)

    def statement(self, body, guard):
        """Returns a statement in the form of `of_template`."""
        arguments = {path: value for path, value, _ in leaves(body)}
        condition = tuple(arguments.get(f"condition.{part}") for part in ("test", "variable", "values"))
        principal = tuple(arguments.get(f"principals.{part}") for part in ("type", "identifiers"))
        effect = arguments.get("effect", '"Allow"')
        return arguments.get("sid"), effect, arguments["actions"], arguments.get("resources"), condition, principal, guard


def as_list(value):
    return value if isinstance(value, list) else [value]


class TheModule(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.template = load()
        cls.translator = Translator(cls.template)
        cls.module = Module()

    def compared(self):
        """Yields the name, the resource and Terraform's type of each resource that has a counterpart."""
        for name, resource in self.template["Resources"].items():
            if name not in OMITTED:
                yield name, resource, TYPES[resource["Type"]][0]

    def test_variables_and_conditions_are_those_of_the_template(self):
        for path, expected in generate.files().items():
            self.assertEqual(path.read_text(encoding="utf-8"), expected, "run `make terraform`")
        parameters = {snake(name): p for name, p in self.template["Parameters"].items() if name not in generate.OMITTED}
        variables = self.module.blocks["variable"]
        self.assertEqual(set(variables), set(parameters) | {"name", "artifact"})
        for name, parameter in parameters.items():
            self.assertEqual(text(variables[name]["default"]), generate.default(parameter), name)
        for name, condition in self.template["Conditions"].items():
            self.assertEqual(text(self.module.blocks["locals"][snake(name)]), self.translator.expression(condition), name)

    def test_has_each_resource_of_the_template_and_no_other(self):
        expected = {(of_type, snake(name)) for name, _, of_type in self.compared()}
        found = {
            (of_type, name)
            for of_type, name in self.module.blocks["resource"]
            if not of_type.startswith("aws_s3_bucket_") and of_type not in ("aws_iam_role_policy", "aws_lambda_alias")
        }
        self.assertEqual(found, {each for each in expected if not each[0].startswith("aws_s3_bucket_")})

    def test_each_property_has_the_value_of_the_template(self):
        for name, resource, of_type in self.compared():
            kind = resource["Type"]
            found = self.module.arguments(of_type, snake(name))
            if "environment.variables" in found:
                self.module.variables_of(found)
            for path, given, guard in properties(resource.get("Properties", {})):
                with self.subTest(resource=name, property=path):
                    if any(path == each or path.startswith(f"{each}.") for each in IGNORED.get(kind, {})):
                        continue
                    expression = self.translator.expression(given)
                    if (kind, path) in SAME:
                        self.assertEqual(expression, SAME[kind, path])
                        continue
                    argument = self.argument(kind, path)
                    self.assertIn(argument, found)
                    value, found_guard = found.pop(argument)
                    if argument == "queue_url":
                        value = f"[{value}]"
                    self.assertEqual((value, found_guard), (expression, guard))
            others = [path for path in found if not OWN.fullmatch(path)]
            self.assertEqual(others, [], f"{of_type}.{snake(name)} has arguments without a property of {name}")

    def argument(self, kind, path):
        """Returns the argument of a property."""
        for pattern, argument in ARGUMENTS[kind].items():
            if pattern.endswith("."):
                if re.match(pattern, path):
                    return argument + re.sub(pattern, "", path, count=1)
            elif re.fullmatch(pattern, path):
                return re.sub(pattern, argument, path)
        self.fail(f"{kind} has a property without an argument: {path}")

    def test_conditions_and_retained_resources_are_those_of_the_template(self):
        for name, resource, of_type in self.compared():
            found = self.module.arguments(of_type, snake(name))
            condition = f"local.{snake(resource['Condition'])} ? 1 : 0" if "Condition" in resource else None
            self.assertEqual(found.get("count", (None,))[0], condition, name)
            retained = resource.get("DeletionPolicy", "Delete") != "Delete"
            self.assertEqual(found.get("lifecycle.prevent_destroy", (None,))[0], "true" if retained else None, name)

    def test_permissions_are_those_of_the_template(self):
        seen = 0
        for name, resource, _ in self.compared():
            of_resource = resource.get("Properties", {})
            documents = {snake(name): of_resource.get("PolicyDocument")}
            if resource["Type"] == "AWS::IAM::Role":
                (policy,) = of_resource["Policies"]
                documents = {snake(name): policy["PolicyDocument"], f"{snake(name)}_trust": of_resource["AssumeRolePolicyDocument"]}
                attached = self.module.arguments("aws_iam_role_policy", snake(name))
                self.assertEqual(attached["name"][0], json.dumps(policy["PolicyName"]))
                self.assertEqual(attached["role"][0], f"aws_iam_role.{snake(name)}.name")
            for document, policy in documents.items():
                if policy:
                    seen += 1
                    self.assertEqual(self.module.statements(document), self.of_template(policy), document)
        self.assertGreaterEqual(seen, 4)

    def of_template(self, policy):
        """Returns the statements of a policy of the template."""
        found = []
        for statement in policy["Statement"]:
            guard = ""
            if "Fn::If" in statement:
                condition, statement, _ = statement["Fn::If"]
                guard = f"local.{snake(condition)}"
            expression = self.translator.expression
            condition = (None, None, None)
            for test, operands in statement.get("Condition", {}).items():
                (variable, values), = operands.items()
                condition = (expression(test), expression(variable), expression(as_list(values)))
            principal = (None, None)
            if "Principal" in statement:
                given = statement["Principal"]
                (of_type, identifiers), = given.items() if isinstance(given, dict) else [("*", "*")]
                principal = (expression(of_type), expression(as_list(identifiers)))
            resources = statement.get("Resource")
            is_list = isinstance(resources, dict) and self.is_list(resources)
            resources = None if resources is None else expression(resources if is_list else as_list(resources))
            sid = expression(statement["Sid"]) if "Sid" in statement else None
            effect, actions = expression(statement["Effect"]), expression(as_list(statement["Action"]))
            found.append((sid, effect, actions, resources, condition, principal, guard))
        return sorted(found, key=str)

    def is_list(self, value):
        """Returns whether a value refers to a parameter that is a list."""
        return self.template["Parameters"].get(value.get("Ref"), {}).get("Type") == "CommaDelimitedList"

    def test_policies_are_attached(self):
        for (of_type, name), body in self.module.blocks["resource"].items():
            for argument in ("policy", "assume_role_policy"):
                if argument in body:
                    suffix = "_trust" if argument == "assume_role_policy" else ""
                    self.assertEqual(text(body[argument]), f"data.aws_iam_policy_document.{name}{suffix}.json", f"{of_type}.{name}")

    def test_the_mapping_invokes_the_alias_of_the_published_version(self):
        for name, resource in self.template["Resources"].items():
            if resource["Type"] != "AWS::Serverless::Function" or "AutoPublishAlias" not in resource["Properties"]:
                continue
            function, alias = f"aws_lambda_function.{snake(name)}", named(self.module.blocks["resource"]["aws_lambda_alias", snake(name)])
            index = "[0]" if "Condition" in resource else ""
            self.assertEqual(text(alias["name"]), json.dumps(resource["Properties"]["AutoPublishAlias"]))
            self.assertEqual(text(alias["function_version"]), f"{function}{index}.version")
            self.assertEqual(text(self.module.blocks["resource"]["aws_lambda_function", snake(name)]["publish"]), "true")
            mappings = [body for (of_type, mapping), body in self.module.blocks["resource"].items()
                        if of_type == "aws_lambda_event_source_mapping" and mapping.startswith(f"{snake(name)}_")]
            self.assertTrue(mappings)
            for mapping in mappings:
                self.assertEqual(text(mapping["function_name"]), f"aws_lambda_alias.{snake(name)}{index}.arn")

    def test_nested_stacks_have_the_templates_text(self):
        for name, resource, of_type in self.compared():
            if resource["Type"] == "AWS::CloudFormation::Stack":
                body = self.module.arguments(of_type, snake(name))["template_body"][0]
                self.assertEqual(body, f'file("${{path.module}}/../../{resource["Properties"]["TemplateURL"]}")')

    def test_outputs_are_those_of_the_template(self):
        expected = {snake(name): self.translator.expression(output["Value"]) for name, output in self.template["Outputs"].items()}
        found = {name: text(output["value"]) for name, output in self.module.blocks["output"].items()}
        self.assertEqual(found, expected)

    def test_exceptions_are_of_things_that_exist(self):
        self.assertLessEqual(set(OMITTED), set(self.template["Resources"]))
        self.assertLessEqual(set(generate.OMITTED), set(self.template["Parameters"]))
        kinds = {resource["Type"] for resource in self.template["Resources"].values()}
        self.assertLessEqual(set(IGNORED), kinds)
        self.assertLessEqual(set(ARGUMENTS), kinds)

    def test_terraform_accepts_the_module(self):
        terraform = shutil.which("terraform")
        if terraform is None:
            self.skipTest("terraform is not installed")
        self.run_terraform([terraform, "fmt", "-check", "-recursive"], MODULE)
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copytree(MODULE, f"{folder}/deploy/terraform", ignore=shutil.ignore_patterns(".terraform*"))
            shutil.copytree(ROOT / "templates", f"{folder}/templates")
            plugins = os.environ.get("TERRAFORM_PLUGINS")
            source = [f"-plugin-dir={plugins}"] if plugins else []
            init = subprocess.run([terraform, "init", "-backend=false", "-input=false", *source], cwd=copy, capture_output=True, text=True)
            if init.returncode:
                self.skipTest("the provider of the module can neither be found nor loaded: set TERRAFORM_PLUGINS to its folder")
            self.run_terraform([terraform, "validate"], copy)
            self.run_terraform([terraform, "test"], copy)

    def run_terraform(self, command, folder):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
