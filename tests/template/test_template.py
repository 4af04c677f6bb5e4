"""Tests the templates on the resources that CloudFormation would get: a template is translated first, as AWS does it, so that
the additions of the transform are tested too. The nested stacks are tested with the parameters that template.yaml passes.

Run by `make validate`, which has the translator. Needs no network and no account.
"""

import copy
import functools
import json
import logging
import re
import subprocess
import sys
import tempfile
import unittest
import warnings
from pathlib import Path

import boto3
import tomlkit
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
DAY = 24 * 60 * 60
A_STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/contact-changes"
A_CONSUMER = A_STREAM + "/consumer/contact-sync-%s:1763633700"
A_SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:kafka"
A_CLUSTER = "arn:aws:kafka:eu-west-1:123456789012:cluster/crm/0a1b2c3d-1"
OF_MSK = {"Source": "msk", "KafkaClusterArn": A_CLUSTER, "KafkaTopics": "contacts"}
OF_KAFKA = {"Source": "kafka", "KafkaBootstrapServers": "k1.example.com:9096,k2.example.com:9096", "KafkaTopics": "a,b.c,d",
            "KafkaAuthentication": "SASL_SCRAM_512_AUTH", "KafkaSecretArn": A_SECRET}


# A template that is given directly, as TemplateBody, is this long at most.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
LONGEST_TEMPLATE = 51_200


def source(path="template.yaml"):
    return yaml_parse((ROOT / path).read_text(encoding="utf-8"))


@functools.cache
def operations():
    return source("templates/operations.yaml")


def translated(**given):
    """Returns the translated template with these parameters and the others' defaults."""
    template = source()
    defaults = {name: parameter["Default"] for name, parameter in template["Parameters"].items()}
    return copy.deepcopy(translated_once("template.yaml", tuple(sorted((defaults | given).items()))))


def nested(name, parent=None, **given):
    """Returns the translated template of the nested stack `name`, for these parameters of the root. What the parent passes are
    the defaults of its parameters."""
    parent = parent or translated(**given)
    stack = parent["Resources"][name]["Properties"]
    passed = {key: resolved(parent, value, **given) for key, value in stack["Parameters"].items()}
    path = stack["TemplateURL"] if "/" in stack["TemplateURL"] else f"templates/{stack['TemplateURL']}"
    # The translator needs the values that are plain, and decides nothing by the others.
    plain = {key: value if isinstance(value, str) else "another stack's" for key, value in passed.items()}
    template = copy.deepcopy(translated_once(path, tuple(sorted(plain.items()))))
    for key, value in passed.items():
        template["Parameters"][key]["Default"] = value
    return template


@functools.cache
def translated_once(path, given):
    # The translator counts what it does for AWS's own service, and warns that nobody collects it.
    logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)
    # It asks for a switch of AWS's own, too.
    logging.getLogger("samtranslator.feature_toggle.feature_toggle").setLevel(logging.ERROR)
    template = source(path)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # `sam package` puts the place of the upload here; the translator accepts nothing local.
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    session = boto3.Session(region_name="us-east-1")
    # Without managed policies: a template that needs one does not translate here, and must list its permissions itself.
    translator = Translator({}, Parser(), boto_session=session)
    return translator.translate(template, dict(given))


def statements(policy):
    """Yields the statements of a policy, those behind a condition included."""
    for statement in policy["Statement"]:
        if "Fn::If" in statement:
            statement = statement["Fn::If"][1]
        yield statement


def strings(value):
    """Yields every string within a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def references(value, names):
    """Yields the names that a value refers to."""
    if isinstance(value, list):
        for item in value:
            yield from references(item, names)
    if not isinstance(value, dict):
        return
    for key, argument in value.items():
        if key == "Ref" and argument in names:
            yield argument
        elif key == "Fn::GetAtt":
            name = argument[0] if isinstance(argument, list) else argument.split(".")[0]
            yield from {name} & set(names)
        elif key == "Fn::Sub":
            text, given = argument if isinstance(argument, list) else (argument, {})
            yield from {name.split(".")[0] for name in re.findall(r"\$\{([^}]+)\}", text)} & set(names) - set(given)
            yield from references(given, names)
        else:
            yield from references(argument, names)


def as_list(value):
    return value if isinstance(value, list) else [value]


def resolved(template, value, **given):
    """A value as CloudFormation would see it, with these parameters and the others' defaults. Conditions, references to
    parameters and what conditions are made of; anything else stays as it is."""
    if isinstance(value, list):
        return [resolved(template, item, **given) for item in value]
    if not isinstance(value, dict) or len(value) != 1:
        return value
    (function, argument), = value.items()
    if function == "Ref" and argument in template["Parameters"]:
        value = given[argument] if argument in given else template["Parameters"][argument]["Default"]
        return value if isinstance(value, (dict, list)) else str(value)
    if function == "Condition":
        return resolved(template, template["Conditions"][argument], **given)
    if function == "Fn::If":
        holds = resolved(template, {"Condition": argument[0]}, **given)
        return resolved(template, argument[1 if holds else 2], **given)
    parts = resolved(template, argument, **given)
    if function == "Fn::Equals":
        return str(parts[0]) == str(parts[1])
    if function == "Fn::Not":
        return not parts[0]
    if function == "Fn::And":
        return all(parts)
    if function == "Fn::Or":
        return any(parts)
    if function == "Fn::Contains":
        return str(parts[1]) in parts[0]
    if function == "Fn::Split" and isinstance(parts[1], str):
        return parts[1].split(parts[0])
    if function == "Fn::Select" and isinstance(parts[1], list):
        return parts[1][int(parts[0])]
    if function == "Fn::Join" and all(isinstance(part, str) for part in parts[1]):
        return parts[0].join(parts[1])
    if function == "Fn::Sub" and isinstance(parts, str):
        names = {name: resolved(template, {"Ref": name}, **given) for name in template["Parameters"]}
        filled = re.sub(r"\$\{(\w+)\}", lambda found: str(names.get(found[1], found[0])), parts)
        return {function: filled} if "${" in filled else filled
    if function == "Fn::Sub" and isinstance(parts, list):
        text, names = argument[0], {name: resolved(template, part, **given) for name, part in argument[1].items()}
        for name in template["Parameters"]:
            names.setdefault(name, resolved(template, {"Ref": name}, **given))
        return re.sub(r"\$\{(\w+)\}", lambda found: str(names.get(found[1], found[0])), text)
    return value


def toml(path):
    return tomlkit.parse((ROOT / path).read_text(encoding="utf-8")).unwrap()


def code(path):
    """A file of ours without its tests."""
    return (ROOT / path).read_text(encoding="utf-8").split("#[cfg(test)]")[0]


def defaults():
    """The default of every setting, by section."""
    sections = toml("src/settings/defaults.toml")
    for name in destinations():
        sections |= toml(f"src/adapters/{name}/defaults.toml")
    return sections


@functools.cache
def destinations():
    """The systems that the code knows."""
    ((count, entries),) = re.findall(r"(?s)const REGISTRY: \[System; (\d+)\] = \[(.*?)\];", code("src/adapters/registry.rs"))
    found = re.findall(r"(\w+)::SYSTEM", entries)
    assert len(found) == int(count), found
    return found


@functools.cache
def emitted_metrics():
    """Returns the names of the metrics in the code that writes them: each begins a list of arguments or a pair."""
    found = set()
    for name in ("destination_metrics", "metrics"):
        found.update(re.findall(r'\(\s*"([A-Z][A-Za-z]+)",', code(f"src/telemetry/{name}.rs")))
    return found


def looks(until, wait):
    """When one environment's breaker lets a call look whether a credential is still refused, in seconds from the first
    refusal: after each pause, and then with the next batch."""
    breaker = code("src/dispatch/breaker.rs")
    unit = {"secs": 1, "mins": 60}
    first, longest = (
        int(number) * unit[name]
        for name, number in re.findall(r"const (?:FIRST|LONGEST)_PAUSE: Duration = Duration::from_(\w+)\((\d+)\)", breaker)
    )
    at, pause, found = 0, first, []
    while at < until:
        found.append(at)
        at, pause = at + pause + wait, min(2 * pause, longest)
    return found


class Template(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.source = source()
        cls.template = translated()
        cls.function_template = nested("FirstFunction")
        cls.resources = cls.template["Resources"] | cls.function_template["Resources"]
        cls.parameters = cls.template["Parameters"]
        cls.operations = operations()

    def of_type(self, kind):
        all_resources = self.resources | self.operations["Resources"]
        found = {name: r for name, r in all_resources.items() if r["Type"] == kind}
        self.assertTrue(found, f"the template has no {kind}")
        return found

    def the(self, kind):
        found = self.of_type(kind)
        self.assertEqual(len(found), 1, f"one {kind} was expected: {sorted(found)}")
        return next(iter(found.values()))["Properties"]

    def passed(self, name):
        """Returns the parameters that the root passes to the nested stack `name`."""
        return self.template["Resources"][name]["Properties"]["Parameters"]

    def default(self, reference):
        """The default of the parameter that a property refers to."""
        return self.parameters[reference["Ref"]]["Default"]


class TheMapping(Template):
    def setUp(self):
        self.mapping = self.the("AWS::Lambda::EventSourceMapping")

    def test_reports_failed_records_one_by_one(self):
        self.assertEqual(self.mapping["FunctionResponseTypes"], ["ReportBatchItemFailures"])

    def test_halves_a_batch_that_fails_as_a_whole(self):
        self.assertIs(self.mapping["BisectBatchOnFunctionError"], True)

    def test_retries_by_age_and_not_by_count(self):
        self.assertEqual(self.mapping["MaximumRetryAttempts"], -1)
        self.assertGreaterEqual(self.record_age(), 5 * DAY)

    def test_gives_up_records_before_the_stream_forgets_them(self):
        retention = self.the("AWS::Kinesis::Stream")["RetentionPeriodHours"] * 3600
        self.assertLess(self.record_age(), retention)
        self.assertNotRegex(str(retention), self.parameters["MaximumRecordAgeSeconds"]["AllowedPattern"])
        # An existing stream may have the least that there is.
        self.assertLess(self.record_age(StreamArn=A_STREAM), DAY)
        self.assertEqual(self.record_age(StreamArn=A_STREAM, MaximumRecordAgeSeconds=3600), 3600)

    def test_takes_no_age_that_lambda_refuses(self):
        # https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
        pattern = self.parameters["MaximumRecordAgeSeconds"]["AllowedPattern"]
        for age in range(0, 610_000):
            self.assertEqual(bool(re.search(pattern, str(age))), age == 0 or 60 <= age <= 601_200, age)
        for other in ("-1", "", "060", "60 ", "1e3"):
            self.assertNotRegex(other, pattern)

    def test_warns_when_half_of_that_time_is_over(self):
        alarm = self.operations["Resources"]["RecordAgeAlarm"]["Properties"]
        self.assertEqual(alarm["Metrics"][0]["Expression"], {"Fn::Sub": "100 * age / 1000 / ${MaximumRecordAgeSeconds}"})
        limit = self.passed("Operations")["MaximumRecordAgeSeconds"]
        for given in ({}, {"StreamArn": A_STREAM}, {"MaximumRecordAgeSeconds": 3600}):
            self.assertEqual(int(resolved(self.template, limit, **given)), self.record_age(**given))
        self.assertLessEqual(alarm["Threshold"], 50)

    def record_age(self, **given):
        return int(resolved(nested("FirstFunction", **given), self.mapping["MaximumRecordAgeInSeconds"]))

    def test_misses_nothing_that_is_written_before_it_starts(self):
        for given, position, timestamp in (
            ({}, "TRIM_HORIZON", {"Ref": "AWS::NoValue"}), ({"SalesforceStartAt": "1795169700"}, "AT_TIMESTAMP", "1795169700"),
            ({"HubSpotStartAt": "1795169700"}, "TRIM_HORIZON", {"Ref": "AWS::NoValue"}),
        ):
            function = nested("FirstFunction", **given)
            self.assertEqual(resolved(function, self.mapping["StartingPosition"]), position, given)
            self.assertEqual(resolved(function, self.mapping["StartingPositionTimestamp"]), timestamp, given)

    def test_reads_through_the_consumer_of_its_function(self):
        source, consumers = self.mapping["EventSourceArn"], {
            "FirstFunction": "SalesforceConsumerArn", "HubSpotFunction": "HubSpotConsumerArn",
        }
        given = {name: A_CONSUMER % stack.lower() for stack, name in consumers.items()} | {"StreamArn": A_STREAM}
        for stack, name in consumers.items():
            self.assertEqual(resolved(nested(stack, **given), source), given[name])
            self.assertEqual(resolved(nested(stack, StreamArn=A_STREAM), source), A_STREAM)
            for of_kafka in (OF_MSK, OF_KAFKA):
                self.assertFalse(resolved(nested(stack, **given | of_kafka), {"Condition": "HasConsumer"}))
            self.assertRegex(given[name], self.parameters[name]["AllowedPattern"])
            for other in (A_STREAM, given[name] + " ", given[name].rpartition(":")[0], A_STREAM + "/consumer/"):
                self.assertNotRegex(other, self.parameters[name]["AllowedPattern"])
            self.assertNotRegex(given[name], self.parameters["StreamArn"]["AllowedPattern"])
        # The alarms and the dashboard count what is written into the stream.
        for stack in ("Operations", "HubSpotOperations"):
            self.assertEqual(resolved(self.template, self.passed(stack)["StreamName"], **given), "contact-changes")

    def test_two_functions_share_no_consumer(self):
        (rule,) = (rule for name, rule in self.source["Rules"].items() if name == "ConsumerForEachFunction")
        one, other = A_CONSUMER % "salesforce", A_CONSUMER % "hubspot"
        for first, second, refused in (("", "", False), (one, "", False), ("", other, False), (one, other, False), (one, one, True)):
            given = {"SalesforceConsumerArn": first, "HubSpotConsumerArn": second}
            holds = resolved(self.template, rule["RuleCondition"], **given) and not all(
                resolved(self.template, a["Assert"], **given) for a in rule["Assertions"])
            self.assertEqual(holds, refused, given)

    def test_puts_what_it_gives_up_into_the_bucket(self):
        destination = self.mapping["DestinationConfig"]["OnFailure"]["Destination"]
        self.assertEqual(resolved(self.function_template, destination), {"Fn::GetAtt": ["FailedEvents", "Arn"]})

    def test_counts_its_events(self):
        self.assertEqual(self.mapping["MetricsConfig"], {"Metrics": ["EventCount"]})

    def test_filters_nothing(self):
        # A filter on `data` drops every record that is no JSON without a trace.
        self.assertNotIn("FilterCriteria", self.mapping)

    def test_batches_as_documented(self):
        self.assertEqual(self.default(self.mapping["BatchSize"]), 1000)
        self.assertEqual(self.default(self.mapping["MaximumBatchingWindowInSeconds"]), 1)

    def test_invokes_the_alias(self):
        self.assertEqual(self.mapping["FunctionName"], {"Ref": "FunctionAliaslive"})
        self.assertEqual(self.the("AWS::Lambda::Alias")["Name"], "live")


class Versions(Template):
    ONE, OTHER = "1" * 64, "2" * 64

    def version(self, **given):
        found = {name: r for name, r in nested("FirstFunction", **given)["Resources"].items() if r["Type"] == "AWS::Lambda::Version"}
        self.assertEqual(len(found), 1)
        return next(iter(found))

    def test_a_new_hash_publishes_a_version_and_the_same_one_does_not(self):
        self.assertEqual(self.version(DeploymentHash=self.ONE), self.version(DeploymentHash=self.ONE, LogLevel="DEBUG"))
        self.assertNotEqual(self.version(DeploymentHash=self.ONE), self.version(DeploymentHash=self.OTHER))

    def test_a_new_hash_changes_the_function_too(self):
        # Lambda publishes no version of a function that is as it was, and CloudFormation fails then.
        one, other = (nested("FirstFunction", DeploymentHash=h)["Resources"]["Function"]["Properties"] for h in (self.ONE, self.OTHER))
        self.assertIn(self.ONE, one["Description"])
        self.assertNotEqual(one["Description"], other["Description"])
        self.assertLessEqual(len(one["Description"]), 256)

    def test_the_alias_leads_to_the_version(self):
        alias = nested("FirstFunction", DeploymentHash=self.ONE)["Resources"]["FunctionAliaslive"]["Properties"]
        self.assertEqual(alias["FunctionVersion"], {"Fn::GetAtt": [self.version(DeploymentHash=self.ONE), "Version"]})
        self.assertEqual(alias["FunctionName"], {"Ref": "Function"})

    def test_a_canary_is_rolled_back_by_its_alarms(self):
        group = self.the("AWS::CodeDeploy::DeploymentGroup")
        self.assertEqual(self.default({"Ref": "Rollout"}), "Canary10Percent10Minutes")
        self.assertEqual(group["DeploymentConfigName"]["Fn::Sub"][1], {"ConfigName": "Canary10Percent10Minutes"})
        self.assertEqual(group["AutoRollbackConfiguration"]["Enabled"], True)
        self.assertIn("DEPLOYMENT_STOP_ON_ALARM", group["AutoRollbackConfiguration"]["Events"])
        alarms = [alarm["Name"]["Ref"] for alarm in group["AlarmConfiguration"]["Alarms"]]
        self.assertEqual(group["AlarmConfiguration"]["Enabled"], True)
        self.assertEqual(alarms, ["CanaryErrorsAlarm", "ConfigErrorsAlarm", "RejectedShareAlarm"])
        for alarm in alarms:
            self.assertEqual(self.resources[alarm]["Type"], "AWS::CloudWatch::Alarm")
        (trigger,) = group["TriggerConfigurations"]
        self.assertEqual(trigger["TriggerEvents"], ["DeploymentRollback"])
        self.assertEqual(trigger["TriggerTargetArn"], {"Ref": "PageTopic"})
        self.assertIn("CodeDeployLambdaAliasUpdate", self.resources["FunctionAliaslive"]["UpdatePolicy"])

    def test_the_canarys_errors_are_those_of_the_new_version(self):
        dimensions = {d["Name"]: d["Value"] for d in self.resources["CanaryErrorsAlarm"]["Properties"]["Dimensions"]}
        self.assertEqual(dimensions["ExecutedVersion"], {"Fn::GetAtt": [self.version(), "Version"]})
        self.assertEqual(dimensions["Resource"], {"Fn::Sub": "${Function}:live"})

    def test_all_at_once_looks_at_no_alarm(self):
        resources = nested("FirstFunction", Rollout="AllAtOnce")["Resources"]
        self.assertFalse([name for name, r in resources.items() if r["Type"].startswith("AWS::CodeDeploy::")])
        self.assertNotIn("UpdatePolicy", resources["FunctionAliaslive"])

    def test_each_rollout_is_one_of_codedeploys(self):
        rollouts = source("templates/function.yaml")["Mappings"]["Rollouts"]
        self.assertEqual(set(self.parameters["Rollout"]["AllowedValues"]), set(rollouts))
        for name, rollout in rollouts.items():
            self.assertEqual(rollout["IsGradual"], "false" if name == "AllAtOnce" else "true")
            resources = nested("FirstFunction", Rollout=name)["Resources"]
            self.assertEqual("FunctionDeploymentGroup" in resources, name != "AllAtOnce", name)

    def test_no_resource_waits_for_itself(self):
        for template in (translated(), nested("FirstFunction"), nested("FirstFunction", Rollout="AllAtOnce")):
            resources = template["Resources"]
            waits = {
                name: set(references([r.get("Properties", {}), r.get("UpdatePolicy", {})], resources))
                | set(as_list(r.get("DependsOn", [])))
                for name, r in resources.items()
            }
            self.assertIn("FunctionAliaslive", waits.get("FunctionContactChanges", ["FunctionAliaslive"]))
            while waits:
                ready = {name for name, others in waits.items() if not others}
                self.assertTrue(ready, f"these wait for each other: {sorted(waits)}")
                waits = {name: others - ready for name, others in waits.items() if name not in ready}


class TheFunction(Template):
    def setUp(self):
        self.function = self.the("AWS::Lambda::Function")

    def test_gets_every_variable_that_production_needs(self):
        variables = self.function["Environment"]["Variables"]
        self.assertEqual(
            set(variables),
            {
                "CONTACT_SYNC_CONFIG",
                "CONTACT_SYNC_PRESET",
                "CONTACT_SYNC__DEAD_LETTER__QUEUE_URL",
                "CONTACT_SYNC__PIPELINE__CONCURRENCY_SHARE",
                "CONTACT_SYNC__PIPELINE__DESTINATIONS",
                "CONTACT_SYNC__STATE__TABLE",
                "OTEL_EXPORTER_OTLP_ENDPOINT",
            }
            | {f"CONTACT_SYNC__{name.upper()}__SECRET_ID" for name in destinations()},
        )
        self.assertEqual(variables["CONTACT_SYNC_CONFIG"], {"Fn::Sub": "ssm:${SettingsName}"})

    def test_every_variable_names_a_setting_that_exists(self):
        settings = defaults()
        for name in self.function["Environment"]["Variables"]:
            if "__" in name:
                _, section, key = name.lower().split("__")
                self.assertIn(key, settings[section], name)

    def test_offers_only_presets_that_exist(self):
        for preset in self.parameters["Preset"]["AllowedValues"]:
            self.assertTrue((ROOT / f"src/settings/presets/{preset}.toml").is_file(), preset)

    def test_carries_no_secret(self):
        text = json.dumps(self.template)
        self.assertNotIn("{{resolve:", text)
        for secret in self.of_type("AWS::SecretsManager::Secret").values():
            self.assertNotIn("SecretString", secret["Properties"])

    def test_logs_json_into_the_group_with_retention(self):
        logging = self.function["LoggingConfig"]
        self.assertEqual(logging["LogFormat"], "JSON")
        self.assertEqual(logging["LogGroup"], {"Ref": "LogGroup"})

    def test_drops_no_line_that_alarms_wait_for(self):
        # Lambda itself drops what is below the level, also lines that are metrics.
        levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]
        (written,) = re.findall(r'insert\("level".into\(\), "(\w+)"', code("src/telemetry/metrics.rs"))
        self.assertEqual(self.function["LoggingConfig"]["ApplicationLogLevel"], {"Ref": "LogLevel"})
        allowed = self.parameters["LogLevel"]["AllowedValues"]
        self.assertEqual(allowed, levels[: levels.index(written) + 1])

    def test_is_traced_only_where_that_is_switched_on(self):
        self.assertEqual(self.function["TracingConfig"], {"Mode": {"Ref": "Tracing"}})
        self.assertEqual(self.default({"Ref": "Tracing"}), "PassThrough")
        self.assertEqual(self.parameters["Tracing"]["AllowedValues"], ["Active", "PassThrough"])
        layer = "arn:aws:lambda:eu-west-1:123456789012:layer:collector:7"
        for given, sends in (({}, False), ({"Tracing": "Active"}, True), ({"CollectorLayerArn": layer}, True)):
            self.assertIs(resolved(nested("FirstFunction", **given), {"Condition": "SendsTraces"}), sends, given)

    def test_is_in_a_vpc_only_where_one_is_named(self):
        vpc = self.function["VpcConfig"]
        self.assertEqual(resolved(self.function_template, vpc), {"Ref": "AWS::NoValue"})
        given = {"VpcSubnetIds": "subnet-0a,subnet-0b", "VpcSecurityGroupIds": "sg-0c"}
        found = resolved(nested("FirstFunction", **given), vpc)
        self.assertEqual(found["SubnetIds"], {"Fn::Split": [",", {"Ref": "VpcSubnetIds"}]})
        self.assertEqual(found["SecurityGroupIds"], {"Fn::Split": [",", {"Ref": "VpcSecurityGroupIds"}]})
        for name, value in given.items():
            self.assertRegex(value, self.parameters[name]["AllowedPattern"])
            self.assertNotRegex(value.replace(",", ", ") + " ", self.parameters[name]["AllowedPattern"])
        rules = json.dumps(self.source["Rules"])
        for one, other in (("VpcSubnetIds", "VpcSecurityGroupIds"), ("VpcSecurityGroupIds", "VpcSubnetIds")):
            self.assertIn(f"{one} needs {other}", rules)

    def test_the_pages_list_the_endpoints_of_every_service_that_the_code_calls(self):
        page = (ROOT / "docs" / "deploy" / "vpc.md").read_text(encoding="utf-8")
        services = set(re.findall(r"aws_sdk_(\w+)", "".join(
            code(path) for path in (ROOT / "src").rglob("*.rs") if "bin" not in path.parts)))
        self.assertGreaterEqual(services, {"dynamodb", "secretsmanager", "sqs", "ssm"})
        for service in services:
            self.assertIn(f"`com.amazonaws.REGION.{service}`", page)

    def test_sends_spans_where_a_layer_takes_them_and_not_elsewhere(self):
        layer = "arn:aws:lambda:eu-west-1:123456789012:layer:collector:7"
        endpoint, layers = self.function["Environment"]["Variables"]["OTEL_EXPORTER_OTLP_ENDPOINT"], self.function["Layers"]
        nothing = {"Ref": "AWS::NoValue"}
        self.assertEqual([resolved(self.function_template, value) for value in (endpoint, layers)], [nothing, nothing])
        function = nested("FirstFunction", CollectorLayerArn=layer)
        self.assertEqual(resolved(function, layers), [layer])
        self.assertEqual(resolved(function, endpoint), "http://localhost:4318")

    def test_is_the_binary_of_the_package(self):
        package = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
        binary = source("templates/function.yaml")["Resources"]["Function"]["Metadata"]["BuildProperties"]["Binary"]
        self.assertRegex(package, rf'(?m)^default-run = "{re.escape(binary)}"$')
        self.assertEqual(self.function["Handler"], "bootstrap")
        self.assertEqual(self.function["Runtime"], "provided.al2023")

    def test_shares_rate_limits_among_the_invocations_that_may_run(self):
        share = self.function["Environment"]["Variables"]["CONTACT_SYNC__PIPELINE__CONCURRENCY_SHARE"]
        self.assertEqual(share, {"Ref": "ConcurrentInvocations"})
        self.assertIn({"Ref": "ConcurrentInvocations"}, self.function["ReservedConcurrentExecutions"]["Fn::If"])


class LeastPrivilege(Template):
    # What AWS gives no resource for. Everything else names what it is for.
    WITHOUT_RESOURCE = {
        "secretsmanager:BatchGetSecretValue", "xray:PutTelemetryRecords", "xray:PutTraceSegments",
        "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
        "ec2:DescribeSecurityGroups", "ec2:DescribeVpcs",
    }

    def of_role(self, name):
        role = self.of_type("AWS::IAM::Role")[name]["Properties"]
        self.assertNotIn("ManagedPolicyArns", role, "managed policies reach further than this function")
        for policy in role["Policies"]:
            yield from statements(policy["PolicyDocument"])

    def statements(self):
        """Yields the permissions of the function."""
        for statement in self.of_role("Role"):
            if statement["Effect"] == "Allow":
                yield statement

    def test_the_interfaces_of_a_vpc_are_lambdas_and_not_the_codes(self):
        (denied,) = [statement for statement in self.of_role("Role") if statement["Effect"] == "Deny"]
        (allowed,) = [statement for statement in self.statements() if statement["Sid"] == "AttachToTheVpc"]
        self.assertEqual(denied["Action"], allowed["Action"])
        self.assertEqual(list(denied["Condition"]["ArnEquals"]), ["lambda:SourceFunctionArn"])
        behind = [s["Fn::If"] for s in self.resources["Role"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
                  if "Fn::If" in s]
        conditions = {s["Sid"]: condition for condition, s, _ in behind}
        self.assertEqual((conditions[allowed["Sid"]], conditions[denied["Sid"]]), ("InVpc", "HasInterfaces"))
        (pollers,) = [statement for statement in self.statements() if statement["Sid"] == "AttachPollersToTheVpc"]
        self.assertEqual(conditions[pollers["Sid"]], "IsKafka")
        for given, denies in (({}, False), ({"VpcSubnetIds": "subnet-0a"}, True), (OF_MSK, True)):
            self.assertIs(resolved(nested("FirstFunction", **given), {"Condition": "HasInterfaces"}), denies)

    def test_reads_the_stream_and_its_consumer_alone(self):
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonkinesisdatastreams.html
        of_consumer, consumer = {"kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"}, A_CONSUMER % "salesforce"
        for given, resources in (({}, {}), ({"SalesforceConsumerArn": consumer}, {"ReadAsTheConsumer": consumer})):
            function = nested("FirstFunction", StreamArn=A_STREAM, **given)
            document = function["Resources"]["Role"]["Properties"]["Policies"][0]["PolicyDocument"]
            granted = {s["Sid"]: s for s in (resolved(function, s) for s in document["Statement"]) if "Sid" in s}
            kinesis = {sid: s for sid, s in granted.items() if "kinesis:" in json.dumps(s["Action"])}
            found = {sid: resolved(function, s["Resource"]) for sid, s in kinesis.items()}
            self.assertEqual(found, {"ReadTheStream": A_STREAM} | resources)
            for sid, statement in kinesis.items():
                self.assertEqual(of_consumer & set(statement["Action"]), of_consumer if sid in resources else set(), sid)

    def test_codedeploy_shifts_this_alias_and_no_other(self):
        granted = {s["Sid"]: s for s in self.of_role("RolloutRole")}
        for resource in granted["ShiftTheAlias"]["Resource"]:
            self.assertRegex(resource["Fn::Sub"], r":function:\$\{Name\}(:live)?$")
        self.assertEqual(granted["WatchTheAlarms"]["Action"], "cloudwatch:DescribeAlarms")
        self.assertEqual(granted["ReportRollbacks"]["Resource"], {"Ref": "PageTopic"})
        trust = self.resources["RolloutRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        self.assertEqual([s["Principal"] for s in trust], [{"Service": "codedeploy.amazonaws.com"}])
        self.assertEqual(self.the("AWS::CodeDeploy::DeploymentGroup")["ServiceRoleArn"], {"Fn::GetAtt": ["RolloutRole", "Arn"]})

    def test_the_chat_reads_charts_and_nothing_else(self):
        for statement in self.of_role("ChatRole"):
            for action in as_list(statement["Action"]):
                self.assertRegex(action, r"^cloudwatch:(Describe|Get|List)")

    def test_each_role_is_limited_by_the_boundary(self):
        roles = self.of_type("AWS::IAM::Role")
        self.assertEqual(set(roles), {"Role", "RolloutRole", "ChatRole"})
        for name, role in roles.items():
            boundary = {"Fn::If": ["HasBoundary", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]}
            self.assertEqual(role["Properties"]["PermissionsBoundary"], boundary, name)

    def test_no_statement_reaches_every_resource(self):
        for statement in self.statements():
            if set(as_list(statement["Action"])) <= self.WITHOUT_RESOURCE:
                continue
            for resource in as_list(statement["Resource"]):
                self.assertNotEqual(resource, "*", statement["Sid"])

    def test_a_star_stands_only_behind_a_name(self):
        # Names that a service chooses below a resource of ours: log streams, and objects in the bucket.
        allowed = {
            "WriteItsLogs": r":log-group:\$\{LogGroup\}:\*$", "StoreFailedEvents": r"^\$\{FailedEventsArn\}/aws/lambda/\*$",
            "ReadTheSchemas": r"^\$\{Account\}:schema/\$\{Registry\}/\*$",
            "ReadTheTopics": r"^\$\{Account\}:(topic/\$\{Cluster\}/\*|group/\$\{Cluster\}/\$\{Name\}-\*)$",
        }
        for statement in self.statements():
            if set(as_list(statement["Action"])) <= self.WITHOUT_RESOURCE:
                continue
            for resource in as_list(statement["Resource"]):
                text = resource["Fn::Sub"] if isinstance(resource, dict) and "Fn::Sub" in resource else json.dumps(resource)
                text = text[0] if isinstance(text, list) else text
                if "*" in text:
                    self.assertRegex(text, allowed.get(statement["Sid"], "^$"), statement["Sid"])

    def test_no_statement_allows_every_action(self):
        for statement in self.statements():
            for action in as_list(statement["Action"]):
                self.assertNotIn("*", action, statement["Sid"])

    def test_nothing_may_be_deleted_or_read_that_it_only_writes(self):
        actions = {action for statement in self.statements() for action in as_list(statement["Action"])}
        for action in actions:
            if not action.startswith("ec2:"):
                self.assertNotRegex(action, r":(Delete|Purge|Update(?!Item)|Create(?!LogStream)|PutSecret|Receive|Scan)", action)

    def test_it_may_do_what_the_code_does_and_no_more(self):
        # The SDK's calls, as the code spells them. A batch of messages is sent with the right to send one.
        names = {"send_message_batch": "send_message"}
        call = r"\.(query|scan|[a-z]+_item|batch_\w+|transact_\w+|get_secret_value|send_message\w*|get_queue_attributes|get_parameters?)\(\)"
        made = set()
        for path in (ROOT / "src").rglob("*.rs"):
            text = code(path)
            if "aws_sdk_" in text and "bin" not in path.parts:
                made.update(names.get(name, name) for name in re.findall(call, text))
        allowed = {tuple(action.split(":")) for statement in self.statements() for action in as_list(statement["Action"])}
        snake = {
            re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower()
            for service, action in allowed if service in {"dynamodb", "secretsmanager", "sqs", "ssm"}
        }
        self.assertEqual(snake, made)

    def test_it_may_read_the_secrets_that_it_is_told_of_and_no_others(self):
        variables = self.the("AWS::Lambda::Function")["Environment"]["Variables"]
        told = [variables.get(f"CONTACT_SYNC__{name.upper()}__SECRET_ID") for name in destinations()]
        (readable,) = [s["Resource"] for s in self.statements() if s["Sid"] == "ReadTheSecrets"]
        self.assertCountEqual(map(json.dumps, readable), map(json.dumps, told))

    def test_only_lambda_takes_the_role(self):
        trust = self.resources["Role"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        self.assertEqual([s["Principal"] for s in trust], [{"Service": "lambda.amazonaws.com"}])

    def test_what_is_denied_is_denied_to_everybody(self):
        for kind in ("AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy"):
            for statement in self.the(kind)["PolicyDocument"]["Statement"]:
                self.assertEqual(statement["Effect"], "Deny")
                self.assertEqual(statement["Condition"], {"Bool": {"aws:SecureTransport": "false"}})


def written(before, after, tags_changed=False):
    """Yields the resources that an update of a stack writes, after CloudFormation's documentation: each that is new, each
    with a changed property, and where a tag of the stack changes, each that takes tags. Such a write brings the template's
    value of every property.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-update-behaviors.html
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-resource-tags.html
    """
    for name, resource in after.items():
        if tags_changed or resource.get("Properties") != before.get(name, {}).get("Properties"):
            yield resource


class Settings(Template):
    """The operator's document survives each deployment."""

    LIVE = "[pipeline]\ndry_run = true\n"
    NAME = "/${AWS::StackName}/settings"

    def after(self, changed, tags_changed=False, before=None):
        """Returns the live document after an update to the resources `changed`."""
        store = {self.NAME: self.LIVE}
        for resource in written(before or self.resources, changed, tags_changed):
            if resource["Type"] == "AWS::SSM::Parameter":
                store[resource["Properties"]["Name"]["Fn::Sub"]] = resource["Properties"]["Value"]
        return store[self.NAME]

    def updates(self):
        """Yields resources and whether the tags changed: a tag, each property of each resource, each parameter's use."""
        yield self.resources, True
        for name, resource in self.resources.items():
            for key in resource.get("Properties", {}):
                changed = copy.deepcopy(self.resources)
                changed[name]["Properties"][key] = "changed"
                yield changed, False
        for rollout in self.parameters["Rollout"]["AllowedValues"]:
            given = {"Rollout": rollout, "DeploymentHash": "3" * 64}
            yield translated(**given)["Resources"] | nested("FirstFunction", **given)["Resources"], False

    def test_the_model_of_an_update_finds_the_loss(self):
        parameter = {"Type": "AWS::SSM::Parameter", "Properties": {
            "Name": {"Fn::Sub": self.NAME}, "Description": "settings", "Value": "# the template's text"}}
        owned = self.resources | {"SettingsDocument": parameter}
        self.assertEqual(self.after(owned, before=owned), self.LIVE, "nothing changed, nothing is written")
        self.assertEqual(self.after(owned, tags_changed=True, before=owned), "# the template's text")
        described = copy.deepcopy(owned)
        described["SettingsDocument"]["Properties"]["Description"] = "better"
        self.assertEqual(self.after(described, before=owned), "# the template's text")

    def test_no_update_writes_the_document(self):
        updates = 0
        for changed, tags_changed in self.updates():
            updates += 1
            self.assertEqual(self.after(changed, tags_changed), self.LIVE)
        self.assertGreater(updates, 50)

    def test_no_resource_is_a_store_of_settings(self):
        others = [source(f"templates/{name}.yaml")["Resources"] for name in ("doctor", "kafka", "operations")]
        for name, resource in [item for part in (self.resources, *others) for item in part.items()]:
            self.assertNotRegex(resource["Type"], r"^AWS::(SSM|AppConfig)::|^Custom::|CustomResource", name)

    def test_no_text_of_the_template_is_a_document(self):
        sections = {name for name, value in defaults().items() if isinstance(value, dict)}
        self.assertGreater(len(sections), 5)
        heading = re.compile(r"(?m)^\s*\[(\w+)[\].]|^\s*(\w+)\.\w+ *=")
        for part in (self.template, self.function_template, self.operations, source("templates/doctor.yaml")):
            for text in strings(part):
                found = {name for match in heading.findall(text) for name in match if name}
                self.assertFalse(found & sections, text)

    def test_no_parameter_takes_a_document(self):
        for part in (self.parameters, self.operations["Parameters"]):
            for name, parameter in part.items():
                if parameter["Type"] == "Number" or "AllowedValues" in parameter or part is not self.parameters:
                    continue
                if parameter["Type"] == "CommaDelimitedList":
                    self.assertEqual(name, "ForeignKeyArns", "it goes into a policy's resources, which take ARNs alone")
                    continue
                self.assertNotRegex(self.LIVE, parameter["AllowedPattern"], name)
                self.assertNotRegex("a = 1", parameter["AllowedPattern"], name)

    def test_the_function_reads_the_one_that_the_operator_edits(self):
        variables = self.the("AWS::Lambda::Function")["Environment"]["Variables"]
        self.assertEqual(variables["CONTACT_SYNC_CONFIG"], {"Fn::Sub": "ssm:${SettingsName}"})
        for name in ("FirstFunction", "HubSpotFunction", "Doctor"):
            self.assertEqual(self.passed(name)["SettingsName"], {"Fn::Sub": self.NAME})
        self.assertEqual(self.source["Outputs"]["SettingsParameter"]["Value"], {"Fn::Sub": self.NAME})
        (read,) = [s for s in statements(self.resources["Role"]["Properties"]["Policies"][0]["PolicyDocument"])
                   if "ssm:GetParameter" in as_list(s["Action"])]
        self.assertEqual(as_list(read["Action"]), ["ssm:GetParameter"])
        self.assertTrue(read["Resource"]["Fn::Sub"].endswith(":parameter${SettingsName}"))


class Size(Template):
    NESTED = {
        "FirstFunction": "function", "HubSpotFunction": "function", "Operations": "operations",
        "HubSpotOperations": "operations", "Doctor": "doctor",
    }

    def test_each_template_can_be_given_directly(self):
        paths = [ROOT / "template.yaml", *(ROOT / "templates").glob("*.yaml")]
        self.assertGreater(len(paths), 4)
        for path in paths:
            self.assertLess(path.stat().st_size, LONGEST_TEMPLATE, path)

    def test_each_is_checked_by_make_validate(self):
        made = ROOT.joinpath("Makefile").read_text(encoding="utf-8")
        listed = re.search(r"(?m)^TEMPLATES := (.*)$", made)[1].split()
        there = ["template.yaml", *(f"templates/{path.name}" for path in (ROOT / "templates").glob("*.yaml"))]
        self.assertCountEqual(listed, there)

    def test_the_nested_ones_are_found_and_get_each_of_their_parameters(self):
        # sam builds and uploads the stacks that it finds so.
        with warnings.catch_warnings():
            # sam warns of its own parts.
            warnings.simplefilter("ignore")
            found, remote = SamLocalStackProvider.get_stacks(template_file=str(ROOT / "template.yaml"))
        expected = {"": "template.yaml"}
        for name, template in self.NESTED.items():
            expected[name] = f"{template}.yaml"
            if template == "function":
                expected |= {f"{name}/KafkaTopic{at}": "kafka.yaml" for at in range(1, 5)}
        self.assertEqual({stack.stack_path: Path(stack.location).name for stack in found}, expected)
        self.assertFalse(remote)
        for name, template in self.NESTED.items():
            self.agrees(self.template["Resources"][name], f"templates/{template}.yaml")
        for at in range(1, 5):
            self.agrees(self.function_template["Resources"][f"KafkaTopic{at}"], "templates/kafka.yaml")

    def agrees(self, stack, path):
        template = source(path)
        names = set(template["Parameters"])
        self.assertEqual(set(stack["Properties"]["Parameters"]), names, path)
        used = set(references([template["Resources"], template["Conditions"], template["Outputs"]], names))
        # A mapping is found by a parameter's value.
        used |= {"Rollout"} & names
        self.assertEqual(used, names, path)

    def test_every_function_is_built_of_the_package(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stacks, _ = SamLocalStackProvider.get_stacks(template_file=str(ROOT / "template.yaml"))
            functions = list(SamFunctionProvider(stacks).get_all())
        paths = {function.stack_path: function.codeuri for function in functions}
        self.assertEqual(set(paths), {"FirstFunction", "HubSpotFunction", "Doctor"})
        for path in paths.values():
            self.assertTrue((ROOT / path / "Cargo.toml").is_file(), path)
        self.assertEqual({function.metadata["BuildProperties"]["Binary"] for function in functions}, {"contact-sync"})


class Destinations(Template):
    """A function for each destination, or one for all."""

    def test_they_are_separate_unless_told_otherwise(self):
        self.assertEqual(self.parameters["Destinations"]["Default"], "separate")
        self.assertEqual(self.parameters["Destinations"]["AllowedValues"], ["separate", "together"])

    def function(self, name, **given):
        template = nested(name, **given)
        properties = template["Resources"]["Function"]["Properties"]
        return template, resolved(template, properties["FunctionName"]), {
            key: resolved(template, value) for key, value in properties["Environment"]["Variables"].items()}

    def test_each_function_serves_its_own_and_reads_its_secret_alone(self):
        nothing = {"Ref": "AWS::NoValue"}
        for name, destination, secret, other in (
            ("FirstFunction", "salesforce", "SALESFORCE", "HUBSPOT"), ("HubSpotFunction", "hubspot", "HUBSPOT", "SALESFORCE"),
        ):
            template, function, variables = self.function(name)
            self.assertEqual(function, {"Fn::Sub": "${AWS::StackName}-" + destination})
            self.assertEqual(json.loads(variables["CONTACT_SYNC__PIPELINE__DESTINATIONS"]), [destination])
            self.assertNotEqual(variables[f"CONTACT_SYNC__{secret}__SECRET_ID"], nothing)
            self.assertEqual(variables[f"CONTACT_SYNC__{other}__SECRET_ID"], nothing)
            statement = next(s for s in statements(template["Resources"]["Role"]["Properties"]["Policies"][0]["PolicyDocument"])
                             if s["Sid"] == "ReadTheSecrets")
            readable = [resolved(template, resource) for resource in statement["Resource"]]
            self.assertEqual([r for r in readable if r != nothing], [variables[f"CONTACT_SYNC__{secret}__SECRET_ID"]])

    def test_together_one_function_serves_all(self):
        given = {"Destinations": "together"}
        _, function, variables = self.function("FirstFunction", **given)
        self.assertEqual(function, {"Fn::Sub": "${AWS::StackName}-all"})
        self.assertEqual(json.loads(variables["CONTACT_SYNC__PIPELINE__DESTINATIONS"]), [], "all of them")
        for system in destinations():
            self.assertNotEqual(variables[f"CONTACT_SYNC__{system.upper()}__SECRET_ID"], {"Ref": "AWS::NoValue"})
        for name in ("HubSpotFunction", "HubSpotOperations"):
            self.assertEqual(self.template["Resources"][name]["Condition"], "Separate")
        self.assertIs(resolved(self.template, {"Condition": "Separate"}, **given), False)

    def test_every_destination_of_the_code_is_served_once(self):
        served = [json.loads(self.function(name)[2]["CONTACT_SYNC__PIPELINE__DESTINATIONS"])
                  for name in ("FirstFunction", "HubSpotFunction")]
        self.assertCountEqual([name for names in served for name in names], destinations())
        # It gets the records that cannot be decoded, validated or routed.
        self.assertEqual(served[0][0], destinations()[0])

    def test_a_change_of_the_mode_keeps_the_first_mapping_and_its_checkpoint(self):
        # A new value of these replaces a mapping. Its function may change.
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-lambda-eventsourcemapping.html
        separate, together = (nested("FirstFunction", Destinations=mode) for mode in ("separate", "together"))
        for key in ("EventSourceArn", "StartingPosition", "StartingPositionTimestamp"):
            found = [resolved(t, t["Resources"]["FunctionContactChanges"]["Properties"][key]) for t in (separate, together)]
            self.assertEqual(found[0], found[1], key)

    def test_they_share_the_stream_the_table_and_the_bucket_and_have_a_queue_each(self):
        first, other = self.passed("FirstFunction"), self.passed("HubSpotFunction")
        for name in ("StreamArn", "StateTable", "FailedEventsArn", "LogGroup", "SettingsName", "PageTopic", "DeploymentHash"):
            self.assertEqual(first[name], other[name])
        self.assertIn("DeadLetterQueue", self.function_template["Resources"])

    def test_the_alarms_of_a_destination_are_with_the_function_that_serves_it(self):
        for stack, holds, given in (
            ("Operations", {"salesforce": True, "hubspot": False}, {}),
            ("HubSpotOperations", {"salesforce": False, "hubspot": True}, {}),
            ("Operations", {"salesforce": True, "hubspot": True}, {"Destinations": "together"}),
        ):
            operations = nested(stack, **given)
            names = {"salesforce": "Salesforce", "hubspot": "HubSpot"}
            for system, expected in holds.items():
                # The name of the function is an output of its stack, which is the name that the stack got.
                function = stack.replace("Operations", "Function").replace("Function", "FirstFunction", stack == "Operations")
                name = resolved(translated(**given), self.passed(function)["Name"], **given)
                operations["Parameters"]["FunctionName"]["Default"] = name
                self.assertIs(resolved(operations, {"Condition": f"Serves{names[system]}"}), expected, (stack, system, given))
                for kind in ("Auth", "Breaker", "Quota", "Freshness"):
                    alarm = operations["Resources"][f"{names[system]}{kind}Alarm"]
                    self.assertEqual(alarm["Condition"], f"Serves{names[system]}")


class Kafka(Template):
    def setUp(self):
        self.kafka = source("templates/kafka.yaml")

    def mappings(self, **given):
        """Returns the properties of the mappings of topics, as CloudFormation would see them."""
        function = nested("FirstFunction", **given)
        found = {}
        for name, resource in function["Resources"].items():
            if name.startswith("KafkaTopic") and resolved(function, {"Condition": resource["Condition"]}):
                template = nested(name, parent=function)
                properties = template["Resources"]["Mapping"]["Properties"]
                found[name] = {key: self.whole(template, value) for key, value in properties.items()}
        return function, found

    def whole(self, template, value):
        """Returns a value with every function within resolved, and without what is left out."""
        nothing = {"Ref": "AWS::NoValue"}
        value = resolved(template, value)
        if isinstance(value, list):
            return [self.whole(template, item) for item in value if resolved(template, item) != nothing]
        if isinstance(value, dict) and not any(key.startswith("Fn::") or key == "Ref" for key in value):
            return {key: self.whole(template, item) for key, item in value.items()}
        return value

    def test_without_it_there_is_a_stream_and_no_topic(self):
        function, mappings = self.mappings()
        self.assertEqual(mappings, {})
        self.assertEqual(function["Resources"]["FunctionContactChanges"]["Condition"], "IsKinesis")
        self.assertIs(resolved(function, {"Condition": "IsKinesis"}), True)

    def test_with_it_no_stream_is_made_or_read(self):
        for given in (OF_MSK, OF_KAFKA):
            self.assertIs(resolved(self.template, {"Condition": "CreateStream"}, **given), False)
            function = nested("FirstFunction", **given)
            self.assertIs(resolved(function, {"Condition": "IsKinesis"}), False)

    def test_each_topic_has_a_mapping_and_a_group_of_its_own(self):
        _, mappings = self.mappings(**OF_KAFKA)
        self.assertEqual([m["Topics"] for m in mappings.values()], [["a"], ["b.c"], ["d"]])
        groups = [m["SelfManagedKafkaEventSourceConfig"]["ConsumerGroupId"] for m in mappings.values()]
        self.assertEqual(len(set(map(str, groups))), 3)
        for template in ("FunctionName", "Topic"):
            text = self.kafka["Resources"]["Mapping"]["Properties"]["SelfManagedKafkaEventSourceConfig"]["Fn::If"][2]
            self.assertIn(template, text["ConsumerGroupId"]["Fn::Sub"], "another function is another group")

    def test_of_msk_names_the_cluster_and_of_ones_own_the_brokers(self):
        _, of_msk = self.mappings(**OF_MSK)
        (mapping,) = of_msk.values()
        self.assertEqual(mapping["EventSourceArn"], A_CLUSTER)
        self.assertEqual(mapping["SelfManagedEventSource"], {"Ref": "AWS::NoValue"})
        self.assertEqual(mapping["SourceAccessConfigurations"], {"Ref": "AWS::NoValue"}, "the role signs in")
        _, of_own = self.mappings(**OF_KAFKA)
        mapping = of_own["KafkaTopic1"]
        self.assertEqual(mapping["EventSourceArn"], {"Ref": "AWS::NoValue"})
        self.assertEqual(mapping["SelfManagedEventSource"]["Endpoints"]["KafkaBootstrapServers"],
                         ["k1.example.com:9096", "k2.example.com:9096"])
        self.assertEqual(mapping["SourceAccessConfigurations"], [{"Type": "SASL_SCRAM_512_AUTH", "URI": A_SECRET}])

    def test_ones_own_cluster_is_reached_in_a_vpc(self):
        for subnets in ("subnet-0a", "subnet-0a,subnet-0b", "subnet-0a,subnet-0b,subnet-0c"):
            given = OF_KAFKA | {"KafkaSubnetIds": subnets, "KafkaSecurityGroupId": "sg-0d", "KafkaRootCaSecretArn": A_SECRET}
            _, mappings = self.mappings(**given)
            access = mappings["KafkaTopic1"]["SourceAccessConfigurations"]
            self.assertEqual(
                [(entry["Type"], entry["URI"]) for entry in access],
                [("SASL_SCRAM_512_AUTH", A_SECRET), ("SERVER_ROOT_CA_CERTIFICATE", A_SECRET)]
                + [("VPC_SUBNET", f"subnet:{subnet}") for subnet in subnets.split(",")]
                + [("VPC_SECURITY_GROUP", "security_group:sg-0d")])
            for name, value in given.items():
                if "AllowedPattern" in self.parameters[name]:
                    self.assertRegex(value, self.parameters[name]["AllowedPattern"])

    def test_reports_bisects_and_retries_by_age_which_needs_provisioned_mode(self):
        _, mappings = self.mappings(**OF_MSK)
        (mapping,) = mappings.values()
        self.assertEqual(mapping["FunctionResponseTypes"], ["ReportBatchItemFailures"])
        self.assertIs(mapping["BisectBatchOnFunctionError"], True)
        self.assertEqual(mapping["ProvisionedPollerConfig"], {"MinimumPollers": "1", "MaximumPollers": "4"})
        # -1 with a destination on failure means 10, and 10,001 is refused.
        self.assertTrue(1000 < mapping["MaximumRetryAttempts"] < 10_001)
        self.assertTrue(0 < int(mapping["MaximumRecordAgeInSeconds"]) < DAY)
        self.assertEqual(mapping["StartingPosition"], "TRIM_HORIZON")
        self.assertNotIn("FilterCriteria", mapping)
        self.assertEqual(mapping["DestinationConfig"]["OnFailure"]["Destination"], {"Fn::GetAtt": ["FailedEvents", "Arn"]})
        self.assertEqual(mapping["MetricsConfig"], {"Metrics": ["EventCount", "ErrorCount", "KafkaMetrics"]})

    def test_a_registry_decodes_the_values_of_each_topic(self):
        glue = "arn:aws:glue:eu-west-1:123456789012:registry/crm.contacts"
        confluent = "https://registry.example.com:8081/apis/v1"
        for given, access in (
            (OF_MSK | {"KafkaSchemaRegistry": glue}, {"Ref": "AWS::NoValue"}),
            (OF_KAFKA | {"KafkaSchemaRegistry": confluent}, {"Ref": "AWS::NoValue"}),
            (OF_KAFKA | {"KafkaSchemaRegistry": confluent, "KafkaSchemaRegistrySecretArn": A_SECRET},
             [{"Type": "BASIC_AUTH", "URI": A_SECRET}]),
        ):
            self.assertRegex(given["KafkaSchemaRegistry"], self.parameters["KafkaSchemaRegistry"]["AllowedPattern"])
            function, mappings = self.mappings(**given)
            configuration = "SelfManagedKafkaEventSourceConfig" if given["Source"] == "kafka" else "AmazonManagedKafkaEventSourceConfig"
            for mapping in mappings.values():
                self.assertEqual(mapping[configuration]["SchemaRegistryConfig"], {
                    "SchemaRegistryURI": given["KafkaSchemaRegistry"], "EventRecordFormat": "JSON",
                    "SchemaValidationConfigs": [{"Attribute": "VALUE"}], "AccessConfigs": access,
                })
            document = function["Resources"]["Role"]["Properties"]["Policies"][0]["PolicyDocument"]
            granted = {s["Sid"]: self.whole(function, s["Resource"])
                       for s in (resolved(function, s) for s in document["Statement"]) if "Sid" in s}
            if given["KafkaSchemaRegistry"] == glue:
                self.assertEqual(granted["ReadTheSchemas"], [glue, glue.replace(":registry/", ":schema/") + "/*"])
            else:
                self.assertNotIn("ReadTheSchemas", granted)
            if "KafkaSchemaRegistrySecretArn" in given:
                self.assertIn(A_SECRET, granted["SignInToKafka"])
        for given in (OF_MSK, OF_KAFKA):
            function, mappings = self.mappings(**given)
            for mapping in mappings.values():
                self.assertNotIn("SchemaRegistryURI", str(mapping))

    def test_no_invocation_is_longer_than_its_mappings_take(self):
        # https://docs.aws.amazon.com/lambda/latest/dg/with-msk-configure.html
        self.assertLessEqual(self.parameters["TimeoutSeconds"]["MaxValue"], 840)

    def test_the_role_reaches_the_cluster_of_the_source_alone(self):
        sids = {"FindTheCluster": (False, True, False), "ReadTheTopics": (False, True, False),
                "SignInToKafka": (False, False, True), "AttachPollersToTheVpc": (False, True, True),
                "ReadTheStream": (True, False, False)}
        for at, given in enumerate(({}, OF_MSK, OF_KAFKA)):
            function = nested("FirstFunction", **given)
            document = function["Resources"]["Role"]["Properties"]["Policies"][0]["PolicyDocument"]
            granted = {s["Sid"] for s in (resolved(function, s) for s in document["Statement"]) if "Sid" in s}
            for sid, holds in sids.items():
                self.assertEqual(sid in granted, holds[at], (sid, given))

    def test_iam_reads_the_topics_of_the_cluster_and_the_groups_of_the_function(self):
        function = nested("FirstFunction", **OF_MSK)
        document = function["Resources"]["Role"]["Properties"]["Policies"][0]["PolicyDocument"]
        statement = next(s for s in statements(document) if s["Sid"] == "ReadTheTopics")
        cluster, topics, groups = (resolved(function, resource) for resource in statement["Resource"])
        self.assertEqual(cluster, A_CLUSTER)
        self.assertEqual(topics, A_CLUSTER.replace(":cluster/", ":topic/") + "/*")
        self.assertTrue(groups.startswith(A_CLUSTER.replace(":cluster/", ":group/") + "/"), groups)
        self.assertIn("kafka-cluster:ReadData", statement["Action"])

    def test_a_choice_that_lambda_refuses_is_refused_at_once(self):
        rules = self.source["Rules"]
        for given, broken in (
            ({}, set()), (OF_MSK, set()), (OF_KAFKA, set()),
            (OF_MSK | {"KafkaClusterArn": ""}, {"ClusterOfMsk"}), (OF_MSK | {"KafkaTopics": ""}, {"ClusterOfMsk"}),
            (OF_MSK | {"KafkaAuthentication": "BASIC_AUTH", "KafkaSecretArn": A_SECRET}, {"ClusterOfMsk"}),
            (OF_KAFKA | {"KafkaBootstrapServers": ""}, {"ClusterOfOnesOwn"}),
            (OF_KAFKA | {"KafkaAuthentication": "IAM", "KafkaSecretArn": ""}, {"ClusterOfOnesOwn"}),
            (OF_KAFKA | {"KafkaAuthentication": "NONE", "KafkaSecretArn": ""}, {"ClusterOfOnesOwn"}),
            (OF_KAFKA | {"KafkaSecretArn": ""}, {"SecretWithAuthentication"}),
            (OF_MSK | {"KafkaSecretArn": A_SECRET}, {"AuthenticationWithSecret"}),
            (OF_KAFKA | {"KafkaSubnetIds": "subnet-0a"}, {"KafkaSubnetsWithSecurityGroup"}),
            (OF_KAFKA | {"KafkaSchemaRegistrySecretArn": A_SECRET}, {"RegistryWithItsSecret"}),
        ):
            found = {
                name for name, rule in rules.items() if resolved(self.template, rule["RuleCondition"], **given)
                and not all(resolved(self.template, a["Assert"], **given) for a in rule["Assertions"])
            }
            self.assertEqual(found, broken, given)

    def test_its_alarms_stand_where_those_of_a_stream_do(self):
        alarms = {name: r for name, r in self.kafka["Resources"].items() if r["Type"] == "AWS::CloudWatch::Alarm"}
        for name, alarm in alarms.items():
            other = self.operations["Resources"].get(name, {}).get("Properties")
            if other and name != "NoTrafficAlarm":
                for key in ("MetricName", "Statistic", "Period", "EvaluationPeriods", "Threshold", "ComparisonOperator"):
                    self.assertEqual(alarm["Properties"].get(key), other.get(key), (name, key))
                self.assertIn(self.operations["Resources"][name]["Condition"], ("IsKinesis", "WatchesStream"))
        lag = alarms["OffsetLagAlarm"]["Properties"]
        self.assertEqual((lag["MetricName"], lag["Dimensions"][0]["Value"]), ("MaxOffsetLag", {"Ref": "Mapping"}))
        self.assertEqual(set(alarms), {"OffsetLagAlarm", "StalledAlarm", "NoTrafficAlarm", "FailedEventsAlarm", "DroppedEventsAlarm"})
        for name in ("IteratorAgeAlarm", "RecordAgeAlarm", "VolumeDropAlarm"):
            self.assertIn(self.operations["Resources"][name]["Condition"], ("IsKinesis", "WatchesStream"))


class Doctor(Template):
    def setUp(self):
        self.doctor = nested("Doctor", DoctorSchedule="rate(1 day)")

    def test_is_off_by_default(self):
        self.assertEqual(self.parameters["DoctorSchedule"]["Default"], "")
        self.assertEqual(self.template["Resources"]["Doctor"]["Condition"], "HasDoctor")
        self.assertIs(resolved(self.template, {"Condition": "HasDoctor"}), False)
        for schedule, allowed in (("rate(1 day)", True), ("cron(0 6 * * ? *)", True), ("daily", False), ("rate()", False)):
            self.assertEqual(bool(re.search(self.parameters["DoctorSchedule"]["AllowedPattern"], schedule)), allowed, schedule)

    def test_its_event_is_the_one_that_the_code_knows(self):
        target = self.doctor["Resources"]["ScheduledRun"]["Properties"]["Target"]
        (key,) = re.findall(r'const TASK: &str = "(.+)";', code("src/lambda/scheduled.rs"))
        (name,) = re.findall(r'const NAME: &str = "(.+)";', code("src/app/doctor.rs"))
        self.assertEqual(json.loads(target["Input"]), {key: name})
        variables = self.doctor["Resources"]["Function"]["Properties"]["Environment"]["Variables"]
        self.assertEqual(variables["CONTACT_SYNC_TASK"], name)
        self.assertEqual(target["Arn"], {"Fn::GetAtt": ["Function", "Arn"]})

    def test_may_read_what_it_checks_and_write_its_logs(self):
        granted = list(statements(self.doctor["Resources"]["Role"]["Properties"]["Policies"][0]["PolicyDocument"]))
        actions = {action for s in granted for action in as_list(s["Action"]) if not action.startswith("ec2:")}
        self.assertEqual(actions, {"logs:CreateLogStream", "logs:PutLogEvents", "secretsmanager:GetSecretValue",
                                   "secretsmanager:BatchGetSecretValue", "ssm:GetParameter", "kms:Decrypt"})
        (invokes,) = statements(self.doctor["Resources"]["ScheduleRole"]["Properties"]["Policies"][0]["PolicyDocument"])
        self.assertEqual((invokes["Action"], invokes["Resource"]), ("lambda:InvokeFunction", target_arn()))
        for name in ("Role", "ScheduleRole"):
            boundary = self.doctor["Resources"][name]["Properties"]["PermissionsBoundary"]
            self.assertEqual(boundary["Fn::If"][0], "HasBoundary")

    def test_a_finding_is_a_ticket_until_a_run_finds_none(self):
        alarm = self.doctor["Resources"]["DoctorAlarm"]["Properties"]
        result, findings, errors = alarm["Metrics"]
        self.assertEqual(result["Expression"], "MAX([findings, errors])")
        self.assertEqual(findings["MetricStat"]["Metric"]["MetricName"], "DoctorFindings")
        self.assertIn("DoctorFindings", emitted_metrics())
        self.assertEqual(errors["MetricStat"]["Metric"]["MetricName"], "Errors")
        self.assertEqual((alarm["TreatMissingData"], alarm["Threshold"]), ("ignore", 1))
        self.assertEqual(alarm["AlarmActions"], [{"Ref": "TicketTopic"}])
        self.assertEqual(alarm["OKActions"], alarm["AlarmActions"])


def target_arn():
    return {"Fn::GetAtt": ["Function", "Arn"]}


class WhatIsStored(Template):
    def test_logs_are_kept_for_a_while_and_not_for_ever(self):
        days = self.default(self.the("AWS::Logs::LogGroup")["RetentionInDays"])
        self.assertGreaterEqual(days, 30)
        self.assertLessEqual(days, 731)

    def test_dead_letters_are_kept_for_as_long_as_possible(self):
        self.assertEqual(self.the("AWS::SQS::Queue")["MessageRetentionPeriod"], 14 * DAY)

    def test_everything_is_encrypted(self):
        stream = self.the("AWS::Kinesis::Stream")["StreamEncryption"]
        self.assertEqual(stream["EncryptionType"], "KMS")
        queue = self.the("AWS::SQS::Queue")
        self.assertEqual(queue["SqsManagedSseEnabled"]["Fn::If"][2], True)
        self.assertIs(self.the("AWS::DynamoDB::Table")["SSESpecification"]["SSEEnabled"], True)
        bucket = self.the("AWS::S3::Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        self.assertEqual(bucket[0]["ServerSideEncryptionByDefault"]["SSEAlgorithm"], "aws:kms")

    def test_one_key_of_the_owner_serves_everything(self):
        with_key = json.dumps({"Fn::If": ["HasKey", {"Ref": "KmsKeyArn"}]})[:-2]
        for name in ("Stream", "Function", "SalesforceSecret", "HubSpotSecret", "StateTable", "DeadLetterQueue",
                     "FailedEvents", "LogGroup", "AlarmTopic", "TicketTopic"):
            self.assertIn(with_key, json.dumps(self.resources[name]["Properties"]), name)

    def test_the_state_table_is_the_one_that_the_function_expects(self):
        table = self.the("AWS::DynamoDB::Table")
        self.assertEqual([k["AttributeName"] for k in table["KeySchema"]], ["pk", "sk"])
        self.assertEqual(table["TimeToLiveSpecification"], {"AttributeName": "expires_at", "Enabled": True})
        self.assertIs(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], True)
        self.assertEqual(table["BillingMode"], "PAY_PER_REQUEST")

    def test_nobody_outside_reads_the_bucket_and_it_forgets(self):
        bucket = self.the("AWS::S3::Bucket")
        self.assertTrue(all(bucket["PublicAccessBlockConfiguration"].values()))
        self.assertEqual(len(bucket["PublicAccessBlockConfiguration"]), 4)
        for rule in bucket["LifecycleConfiguration"]["Rules"]:
            self.assertEqual(rule["Status"], "Enabled")
            self.assertEqual(rule["ExpirationInDays"], {"Ref": "FailedEventsRetentionDays"})
            self.assertIn("NoncurrentVersionExpiration", rule)

    def test_data_outlives_the_stack(self):
        for name in ("Stream", "DeadLetterQueue", "FailedEvents", "SalesforceSecret", "HubSpotSecret", "LogGroup"):
            # A first deployment that fails leaves no orphan.
            self.assertEqual(self.resources[name].get("DeletionPolicy"), "RetainExceptOnCreate", name)
            self.assertEqual(self.resources[name].get("UpdateReplacePolicy"), "Retain", name)
        for name, resource in (self.source["Resources"] | source("templates/function.yaml")["Resources"]).items():
            self.assertNotEqual(resource.get("DeletionPolicy"), "Retain", name)


class Alarms(Template):
    TOPICS = {
        "page": ({"Ref": "PageTopic"},),
        "ticket": ({"Ref": "TicketTopic"},),
    }
    # A silence raises them, as long as the stream is read.
    RAISED_BY_SILENCE = {"stalled", "no-traffic"}

    def alarms(self):
        return {name: r["Properties"] for name, r in self.of_type("AWS::CloudWatch::Alarm").items()}

    def parts(self):
        """Returns the severity and the title of each alarm, which its name consists of."""
        form = r"\$\{(?:FunctionName|Name)\}-(page|ticket|rollback)-([a-z-]+)"
        return {name: re.fullmatch(form, alarm["AlarmName"]["Fn::Sub"]).groups() for name, alarm in self.alarms().items()}

    def names(self):
        return {name: title for name, (_, title) in self.parts().items()}

    def text(self, alarm, **given):
        """Returns the description of an alarm as CloudFormation would write it."""
        passed = self.passed("FirstFunction") | self.passed("Operations") | {"Topic": "contacts"}
        return re.sub(
            r"\$\{(\w+)\}", lambda found: str(resolved(self.template, passed[found[1]], **given)),
            alarm["AlarmDescription"]["Fn::Sub"])

    def others(self):
        """Returns the alarms of the optional stacks, with the severity and title of each."""
        found = []
        for path in ("templates/kafka.yaml", "templates/doctor.yaml"):
            for resource in source(path)["Resources"].values():
                if resource["Type"] == "AWS::CloudWatch::Alarm":
                    form = r"\$\{(?:FunctionName|Name)\}(?:-\$\{Topic\})?-(page|ticket)-([a-z-]+)"
                    parts = re.fullmatch(form, resource["Properties"]["AlarmName"]["Fn::Sub"]).groups()
                    found.append((resource["Properties"], *parts))
        return found

    def metrics(self):
        for alarm in self.alarms().values():
            for metric in alarm.get("Metrics", [alarm]):
                metric = metric.get("MetricStat", {}).get("Metric", metric)
                if "MetricName" in metric:
                    yield metric["Namespace"], metric["MetricName"]

    def test_each_notifies_the_topic_of_its_severity_once_for_a_change_of_state(self):
        for name, alarm in self.alarms().items():
            severity, _ = self.parts()[name]
            self.assertNotIn("InsufficientDataActions", alarm, name)
            if severity == "rollback":
                self.assertFalse({"AlarmActions", "OKActions"} & set(alarm), "CodeDeploy acts on it, and reports that")
                continue
            self.assertEqual(len(alarm["AlarmActions"]), 1, name)
            self.assertIn(alarm["AlarmActions"][0], self.TOPICS[severity], name)
            self.assertEqual(alarm["OKActions"], alarm["AlarmActions"], "the recovery goes to the same place")

    def test_no_two_notify_of_the_same_metric_by_the_same_rule(self):
        found = set()
        for name, alarm in self.alarms().items():
            rule = json.dumps([alarm.get(key) for key in (
                "Namespace", "MetricName", "Dimensions", "Metrics", "ComparisonOperator")], sort_keys=True)
            self.assertNotIn(rule, found, name)
            found.add(rule)

    def test_both_severities_are_used_and_what_loses_or_delays_data_is_a_page(self):
        severities = {title: severity for severity, title in self.parts().values()}
        for title in ("stalled", "no-traffic", "record-age", "lost-events", "dropped-events", "rejected-share", "errors",
                      *(f"{name}-{kind}" for name in destinations() for kind in ("freshness", "breaker"))):
            self.assertEqual(severities[title], "page", title)
        for title in ("dead-letters", "rejected-rate", "volume-drop", "throttles"):
            self.assertEqual(severities[title], "ticket", title)

    def test_tickets_go_to_a_topic_that_has_a_reader(self):
        passed = self.passed("Operations")
        pages, tickets = "arn:aws:sns:eu-west-1:123456789012:pages", "arn:aws:sns:eu-west-1:123456789012:tickets"
        for given, page, ticket in (
            ({}, {"Ref": "AlarmTopic"}, {"Ref": "TicketTopic"}),
            ({"AlarmTopicArn": pages}, pages, pages),
            ({"AlarmTopicArn": pages, "TicketTopicArn": tickets}, pages, tickets),
            ({"TicketTopicArn": tickets}, {"Ref": "AlarmTopic"}, tickets),
        ):
            found = [resolved(self.template, passed[name], **given) for name in ("PageTopic", "TicketTopic")]
            self.assertEqual(found, [page, ticket], given)
            self.assertEqual(resolved(self.template, {"Condition": "CreateTicketTopic"}, **given), ticket == {"Ref": "TicketTopic"})
        endpoint = self.resources["TicketSubscription"]["Properties"]["Endpoint"]
        for given, subscribed, reader in (
            ({}, False, None), ({"AlarmEmail": "a@example.com"}, True, "a@example.com"),
            ({"TicketEmail": "t@example.com"}, True, "t@example.com"),
            ({"AlarmEmail": "a@example.com", "TicketEmail": "t@example.com"}, True, "t@example.com"),
            ({"AlarmEmail": "a@example.com", "TicketTopicArn": tickets}, False, None),
        ):
            self.assertIs(resolved(self.template, {"Condition": "SubscribeTickets"}, **given), subscribed, given)
            if subscribed:
                self.assertEqual(resolved(self.template, endpoint, **given), reader)

    def test_the_chat_gets_both_severities_and_is_off_by_default(self):
        channel = self.of_type("AWS::Chatbot::SlackChannelConfiguration")["ChatChannel"]
        self.assertEqual(channel["Condition"], "HasChat")
        self.assertEqual(self.parameters["SlackChannelId"]["Default"], "")
        self.assertEqual(channel["Properties"]["SnsTopicArns"], [{"Ref": "PageTopic"}, {"Ref": "TicketTopic"}])
        self.assertEqual(len(channel["Properties"]["GuardrailPolicies"]), 1, "without a list it is AdministratorAccess")

    def test_each_has_a_reason_for_its_threshold(self):
        texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "templates").glob("*.yaml")}
        for path, text in texts.items():
            for name in re.findall(r"(?m)^  (\w+):\n    Type: AWS::CloudWatch::Alarm$", text):
                self.assertRegex(text, rf"(?m)^  # .*\n  {name}:$", f"{path}: a comment in front of it gives the reason")
        text = "".join(texts.values())
        for name in self.alarms():
            self.assertRegex(text, rf"(?m)^  # .*\n  {name}:$", "a comment in front of it gives the reason")

    def test_silence_raises_only_those_that_watch_for_it_and_only_while_the_stream_is_read(self):
        self.assertEqual(self.operations["Conditions"]["IsReading"], {"Fn::Equals": [{"Ref": "MappingEnabled"}, "true"]})
        for name, alarm in self.alarms().items():
            silent = self.names()[name] in self.RAISED_BY_SILENCE
            expected = {"Fn::If": ["IsReading", "breaching", "notBreaching"]} if silent else "notBreaching"
            self.assertEqual(alarm["TreatMissingData"], expected, name)

    def test_a_mapping_that_does_not_poll_raises_one_also_without_a_record(self):
        # An empty poll counts 0, so that its samples and not its sum are the sign of life.
        alarm = self.alarms()["StalledAlarm"]
        self.assertEqual((alarm["MetricName"], alarm["Statistic"]), ("PolledEventCount", "SampleCount"))
        self.assertEqual((alarm["ComparisonOperator"], alarm["Threshold"]), ("LessThanThreshold", 1))
        self.assertEqual(alarm["Period"] * alarm["EvaluationPeriods"], 1800)
        self.assertEqual(self.the("AWS::Lambda::EventSourceMapping")["MetricsConfig"], {"Metrics": ["EventCount"]})

    def test_the_heartbeat_is_the_stream(self):
        alarm = self.alarms()["NoTrafficAlarm"]
        self.assertEqual((alarm["Namespace"], alarm["MetricName"]), ("AWS/Kinesis", "IncomingRecords"))
        self.assertEqual((alarm["ComparisonOperator"], alarm["Threshold"], alarm["Statistic"]), ("LessThanThreshold", 1, "Sum"))
        self.assertEqual((alarm["Period"], alarm["EvaluationPeriods"]), (3600, {"Ref": "NoTrafficAlarmHours"}))
        # CloudWatch's limit: a week for periods of an hour and more.
        self.assertLessEqual(self.parameters["NoTrafficAlarmHours"]["MaxValue"], 7 * 24)

    def test_a_drop_of_volume_is_one_against_the_hours_and_weekdays_before(self):
        alarm = self.alarms()["VolumeDropAlarm"]
        self.assertEqual(alarm["ComparisonOperator"], "LessThanLowerThreshold")
        band, records = alarm["Metrics"]
        self.assertEqual((band["Id"], band["Expression"]), (alarm["ThresholdMetricId"], "ANOMALY_DETECTION_BAND(records, 3)"))
        self.assertEqual((records["Id"], records["MetricStat"]["Metric"]["MetricName"]), ("records", "IncomingRecords"))
        self.assertNotIn("Threshold", alarm)

    def test_the_share_of_rejected_records_needs_some_and_a_canary_reaches_it(self):
        alarm = self.alarms()["RejectedShareAlarm"]
        share, *metrics = alarm["Metrics"]
        self.assertEqual({m["Id"]: m["MetricStat"]["Metric"]["MetricName"] for m in metrics},
                         {"rejected": "RecordsRejected", "received": "RecordsReceived", "filtered": "RecordsFiltered"})
        for count, of, percent in ((9, 9, 0), (10, 1000, 1), (10, 10, 100), (100, 1000, 10)):
            # The records of another function's destination do not hide the share.
            for filtered in (0, 9 * of):
                found = self.evaluated(share["Expression"], rejected=count, received=of + filtered, filtered=filtered)
                self.assertEqual(found, percent)
        # A tenth of the batches go to a canary.
        self.assertLess(self.default(alarm["Threshold"]), 10)

    @staticmethod
    def evaluated(expression, **values):
        """Evaluates an expression of CloudWatch's that has Python's operators and IF."""
        python = re.sub(r"IF\((.*), (.*), (.*)\)", r"((\2) if (\1) else (\3))", expression)
        return eval(python, {"__builtins__": {}}, values)  # noqa: S307: the template's own text

    def test_each_destination_has_an_alarm_on_its_lag(self):
        for system in destinations():
            (alarm,) = [self.alarms()[name] for name, title in self.names().items() if title == f"{system}-freshness"]
            result, lag = alarm["Metrics"]
            self.assertEqual(result["Expression"], "lag / 60000")
            self.assertEqual(lag["MetricStat"]["Stat"], "p99")
            self.assertEqual(lag["MetricStat"]["Metric"]["MetricName"], "EndToEndLag")
            self.assertEqual(lag["MetricStat"]["Metric"]["Dimensions"], [
                {"Name": "Function", "Value": {"Ref": "FunctionName"}}, {"Name": "Destination", "Value": system}])

    def test_those_on_our_metrics_are_of_this_function(self):
        watched = 0
        for name, alarm in self.alarms().items():
            for metric in alarm.get("Metrics", [alarm]):
                metric = metric.get("MetricStat", {}).get("Metric", metric)
                if metric.get("Namespace") == "ContactSync":
                    watched += 1
                    self.assertIn(metric["Dimensions"][0], (
                        {"Name": "Function", "Value": {"Ref": "FunctionName"}},
                        {"Name": "Function", "Value": {"Ref": "Function"}}), name)
        self.assertGreater(watched, 10)

    def test_each_text_has_a_link_to_its_page(self):
        navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
        self.assertRegex(navigation, r"(?m)^use_directory_urls: false$", "or a page's address ends otherwise")
        site, forge = "https://docs.example.com/contact-sync", "https://git.example.com/x/contact-sync/blob/main/docs"
        for address in (site, forge):
            self.assertRegex(address, self.parameters["DocsUrl"]["AllowedPattern"])
        alarms = [(alarm, self.names()[name]) for name, alarm in self.alarms().items()]
        for alarm, title in alarms + [(alarm, title) for alarm, _, title in self.others()]:
            page = f"operate/alarms/{title}"
            self.assertTrue((ROOT / "docs" / f"{page}.md").is_file(), page)
            self.assertIn(f"- {page}.md\n", navigation)
            for given, link in (
                ({}, f"docs/{page}.md"), ({"DocsUrl": site}, f"{site}/{page}.html"),
                ({"DocsUrl": forge, "DocsSuffix": ".md"}, f"{forge}/{page}.md"),
            ):
                self.assertTrue(self.text(alarm, **given).endswith(f". {link}"), self.text(alarm, **given))
            self.assertLessEqual(len(self.text(alarm, DocsUrl=site)), 1024)

    def test_everything_that_breaks_has_one(self):
        for metric in (
            ("AWS/Lambda", "IteratorAge"), ("AWS/Lambda", "Errors"), ("AWS/Lambda", "Throttles"),
            ("AWS/Lambda", "DroppedEventCount"), ("AWS/Lambda", "FailedInvokeEventCount"),
            ("AWS/Lambda", "DestinationDeliveryFailures"),
            ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
            ("ContactSync", "AuthFailures"), ("ContactSync", "ConfigErrors"), ("ContactSync", "BreakerOpen"),
            ("ContactSync", "DailyQuotaUsedPercent"), ("ContactSync", "UnknownCodes"), ("ContactSync", "StateErrors"),
            ("ContactSync", "LeaseFailures"), ("ContactSync", "RecordsRejected"), ("ContactSync", "EndToEndLag"),
            ("AWS/Lambda", "PolledEventCount"), ("AWS/Kinesis", "IncomingRecords"),
        ):
            self.assertIn(metric, set(self.metrics()))

    def test_none_waits_for_a_metric_that_nobody_writes(self):
        ours = {metric for namespace, metric in self.metrics() if namespace == "ContactSync"}
        self.assertLessEqual(ours, emitted_metrics())

    def test_each_destination_has_its_own(self):
        names = set(self.names().values())
        for kind in ("authentication", "breaker", "quota", "freshness"):
            for destination in destinations():
                self.assertIn(f"{destination}-{kind}", names)

    def test_each_destinations_leases_count(self):
        dimensions = [
            metric["MetricStat"]["Metric"]["Dimensions"][-1]["Value"]
            for metric in self.alarms()["StateTableAlarm"]["Metrics"] if "MetricStat" in metric
        ]
        self.assertCountEqual(map(str, dimensions), [str({"Ref": "FunctionName"}), *destinations()])

    def test_a_refused_credential_is_told_of_even_by_a_single_environment_and_a_rotated_one_is_not(self):
        alarms = {title: self.alarms()[name] for name, title in self.names().items()}
        for destination in destinations():
            alarm = alarms[f"{destination}-authentication"]
            for phase in range(0, alarm["Period"], 7):
                for wait in (0, 1, 10, 60):
                    told = self.raised(alarm, looks(until=4 * 3600, wait=wait), phase)
                    self.assertIn(True, told[:5], f"{phase} s into a period, {wait} s between batches")
                    self.assertTrue(all(told[5:]), f"{phase} s into a period, {wait} s between batches: it flaps")
                # The environments' first calls after the change: busy ones' within seconds, an idle one's a period later.
                self.assertNotIn(True, self.raised(alarm, [0, 20, alarm["Period"]], phase))

    @staticmethod
    def raised(alarm, refusals, phase):
        """Whether the alarm is raised after each of its periods, of which the first began `phase` before the first
        refusal."""
        periods = [0] * (1 + int(phase + refusals[-1]) // alarm["Period"])
        for at in refusals:
            periods[int(phase + at) // alarm["Period"]] += 1
        breaching = [count >= alarm["Threshold"] for count in periods]
        most, least = alarm["EvaluationPeriods"], alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"])
        return [sum(breaching[max(0, end - most):end]) >= least for end in range(1, len(breaching) + 1)]

    def test_each_has_a_page_and_each_page_an_alarm(self):
        folder = Path("docs", "operate", "alarms")
        overview = (ROOT / "docs" / "operate" / "index.md").read_text(encoding="utf-8")
        alarms = set(self.parts().values()) | {(severity, title) for _, severity, title in self.others()}
        for severity, title in alarms:
            page = (folder / f"{title}.md").as_posix()
            self.assertRegex((ROOT / page).read_text(encoding="utf-8"), rf'\A# {re.escape(title)}\n', title)
            self.assertIn(f"| [{title}](alarms/{title}.md) | {severity} |", overview)
        self.assertEqual({path.stem for path in (ROOT / folder).iterdir()}, {title for _, title in alarms})


class Dashboard(Template):
    def setUp(self):
        self.text, self.names = self.the("AWS::CloudWatch::Dashboard")["DashboardBody"]["Fn::Sub"]
        self.widgets = self.rendered()

    def rendered(self, **given):
        """The widgets with these parameters. Each alarm's name begins with the letter of its function."""
        letters = {"FunctionName": "A", "SourceAlarms": "M", "SalesforceFunction": "S", "HubSpotFunction": "H"}
        parameters = {name: parameter.get("Default", "1") for name, parameter in self.operations["Parameters"].items()}
        parameters |= letters | given
        names = {}
        for name, value in self.names.items():
            value = resolved(self.operations, value, **parameters)
            names[name] = value["Fn::Sub"] if isinstance(value, dict) else value
        filled = re.sub(r"\$\{(\w+)\}", lambda found: names.get(found[1], "1"), self.text)
        return json.loads(re.sub(r"\$\{[^}]+\}", "1", filled))["widgets"]

    def alarms(self, **given):
        """The letter and the title of each alarm that the dashboard shows."""
        arns = [arn for widget in self.rendered(**given) for arn in widget["properties"].get("alarms", [])]
        return [arn.rsplit(":", 1)[1].split("-", 1) for arn in arns]

    def test_is_json_and_shows_every_metric_of_ours(self):
        self.assertGreater(len(self.widgets), 5)
        self.assertEqual(set(self.names), {"A", "M", "N", "S", "H", "AgeAlarms", "VolumeAlarm"})
        for metric in emitted_metrics():
            self.assertIn(f'"{metric}"', self.text)
        metrics = json.dumps([widget["properties"].get("metrics", []) for widget in self.widgets])
        shown = set(re.findall(r'"((?:[A-Z][a-z]+){2,})"', metrics)) - {"ContactSync"}
        amazons = {
            "IteratorAge", "PolledEventCount", "InvokedEventCount", "FailedInvokeEventCount", "FilteredOutEventCount",
            "DroppedEventCount", "OnFailureDestinationDeliveredEventCount", "ApproximateNumberOfMessagesVisible",
            "ConcurrentExecutions", "IncomingBytes", "IncomingRecords", "FunctionName", "EventSourceMappingUUID", "QueueName",
            "LogGroupName", "StreamName", "OffsetLag",
        }
        self.assertLessEqual(shown, emitted_metrics() | amazons)

    def test_shows_each_destination_wherever_it_shows_one(self):
        for widget in self.widgets:
            lines = json.dumps(widget["properties"].get("metrics", []))
            if '"Destination"' in lines:
                for name in destinations():
                    self.assertIn(f'"{name}"', lines, widget["properties"]["title"])

    def test_begins_with_a_header_and_the_state_of_every_alarm(self):
        kinds = [widget["type"] for widget in self.widgets]
        self.assertEqual(kinds[:3], ["text", "alarm", "alarm"])
        self.assertEqual(set(kinds[3:-1]), {"metric"})
        self.assertEqual(kinds[-1], "log")
        self.assertIn("${DocsBase}/operate/index${DocsSuffix}", self.text)
        for name, function in (("A", "FunctionName"), ("S", "SalesforceFunction"), ("H", "HubSpotFunction"), ("M", "SourceAlarms")):
            self.assertEqual(self.names[name]["Fn::Sub"].rsplit(":", 1)[1], f"${{{function}}}")
        pages = [arn.rsplit(":", 1)[1] for arn in self.widgets[1]["properties"]["alarms"]]
        self.assertEqual({name.split("-")[1] for name in pages}, {"page"})

    def test_shows_every_alarm_of_its_source_and_no_other(self):
        kafka = source("templates/kafka.yaml")["Resources"].values()
        for feed in ("kinesis", "msk", "kafka"):
            alarms = [
                alarm for alarm in self.of_type("AWS::CloudWatch::Alarm").values()
                if feed == "kinesis" or alarm.get("Condition") not in ("IsKinesis", "WatchesStream")
            ]
            if feed != "kinesis":
                alarms += [resource for resource in kafka if resource["Type"] == "AWS::CloudWatch::Alarm"]
            names = [alarm["Properties"]["AlarmName"]["Fn::Sub"] for alarm in alarms]
            shown = self.alarms(Source=feed)
            expected = {re.sub(r"\$\{(FunctionName|Name|Topic)\}-", "", name) for name in names}
            self.assertCountEqual([title for _, title in shown], expected)
            # A destination's alarms are those of the function that serves it, those on the stream the first one's.
            for function, title in shown:
                allowed = {"salesforce": "S", "hubspot": "H"}.get(title.split("-")[1], "AMNS")
                self.assertIn(function, allowed, title)

    def test_shows_backlog_lag_and_quota_in_front(self):
        titles = [widget["properties"].get("title", "") for widget in self.widgets]
        for word in ("Backlog", "Lag", "Quota"):
            self.assertTrue([title for title in titles if title.startswith(word)], word)
        self.assertTrue(titles[3].startswith("Backlog"))

    def test_widgets_fill_the_grid_without_an_overlap(self):
        taken = set()
        for widget in self.widgets:
            x, y, width, height = (widget[key] for key in ("x", "y", "width", "height"))
            cells = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}
            self.assertFalse(cells & taken, widget["properties"].get("title"))
            taken |= cells
        rows = 1 + max(row for _, row in taken)
        self.assertEqual(taken, {(column, row) for column in range(24) for row in range(rows)})

    def test_the_expressions_have_ids_that_exist(self):
        for widget in self.widgets:
            options = [line[-1] for line in widget["properties"].get("metrics", []) if isinstance(line[-1], dict)]
            ids = {option["id"] for option in options if "id" in option}
            for option in options:
                asked = set(re.findall(r"\b[a-z]\w*", option.get("expression", "")))
                self.assertLessEqual(asked, ids, option)

    def test_the_picture_is_of_this_dashboard(self):
        script = ROOT / "tests" / "template" / "dashboard_picture.py"
        done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_code_writes_the_contracts_metrics(self):
        self.assertLessEqual({
            "RecordsReceived", "RecordsDelivered", "RecordsFiltered", "RecordsSuperseded", "RecordsRejected",
            "RecordsFailed", "RecordsSkippedSettled", "ApiCalls", "ApiErrors", "Retries", "RateLimited", "ApiLatency",
            "AuthFailures", "ConfigErrors", "ColdStart", "EndToEndLag",
        }, emitted_metrics())


class Documentation(Template):
    def test_counts_what_costs(self):
        # Those with the dimension, by the code that writes their line, and those without.
        whole, with_dimension = code("src/telemetry/metrics.rs").split("fn of_destination")
        names = r'\(\s*"([A-Z][A-Za-z]+)",'
        fates = re.findall(names, whole.split("pub fn emit")[0])
        sums = re.findall(names, code("src/telemetry/destination_metrics.rs"))
        once = len(fates) + len(re.findall(names, whole.split("fn whole")[1]))
        each = len(fates) + len(sums) + len(re.findall(names, with_dimension))
        self.assertEqual(set(fates + sums) | set(re.findall(names, whole + with_dimension)), emitted_metrics())
        stacks = toml("benches/prices.toml")["stack"]
        self.assertEqual(sorted(stacks), sorted(self.parameters["Destinations"]["AllowedValues"]))
        for mode, counts in stacks.items():
            functions = len(destinations()) if mode == "separate" else 1
            self.assertEqual(counts, {
                "metrics": once * functions + each * len(destinations()),
                "alarm_metrics": sum(map(self.watched_metrics, self.standing("AWS::CloudWatch::Alarm", mode))),
                "dashboards": len(self.standing("AWS::CloudWatch::Dashboard", mode)),
            }, mode)

    def watched_metrics(self, alarm):
        """An alarm of anomaly detection is billed as three: the metric and both edges of its band."""
        metrics = sum("MetricStat" in metric for metric in alarm["Properties"].get("Metrics", [])) or 1
        return metrics * (3 if "ThresholdMetricId" in alarm["Properties"] else 1)

    def standing(self, kind, mode):
        """Returns the resources of a deployment with the parameters' defaults: those of each function whose condition holds."""
        found, given = [], {"Destinations": mode}
        stacks = (("FirstFunction", "Operations"), ("HubSpotFunction", "HubSpotOperations"))
        for function, stack in stacks if mode == "separate" else stacks[:1]:
            found += [r for r in nested(function, **given)["Resources"].values() if r["Type"] == kind]
            operations = nested(stack, **given)
            # The output of the function's stack.
            operations["Parameters"]["FunctionName"]["Default"] = resolved(
                self.template, self.passed(function)["Name"], **given)
            found += [r for r in operations["Resources"].values() if r["Type"] == kind
                      and ("Condition" not in r or resolved(operations, {"Condition": r["Condition"]}))]
        return found

    def test_lists_the_metrics_that_the_code_writes(self):
        page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
        rows = re.findall(r"(?m)^\| (`[^|]*`) \|", page)
        self.assertEqual({name for row in rows for name in re.findall(r"`(\w+)`", row)}, emitted_metrics())

    def test_lists_the_saved_queries(self):
        page = (ROOT / "docs" / "reference" / "log-fields.md").read_text(encoding="utf-8")
        names = [query["Properties"]["Name"]["Fn::Sub"] for query in self.of_type("AWS::Logs::QueryDefinition").values()]
        for name in names:
            self.assertIn(f"| `{name.split('/')[1]}` |", page)


class Queries(Template):
    # Of the audit trail, of every line, and of those that report trouble.
    FIELDS = {
        "audit", "event_id", "contact_id", "sequence_number", "operation", "destination", "fate", "code", "attempts",
        "level", "message", "request_id", "trace_id", "shard_id", "error", "remedy", "cause",
    }
    # What Logs Insights itself and the platform's own lines bring.
    FOREIGN = {"@timestamp", "type", "record.requestId", "record.metrics.durationMs", "record.metrics.maxMemoryUsedMB",
               "record.metrics.initDurationMs"}
    ALIASES = {"records", "contacts", "example", "times", "since", "time", "ms", "mb", "init_ms"}

    def test_ask_for_fields_that_the_log_has(self):
        queries = self.of_type("AWS::Logs::QueryDefinition")
        self.assertGreaterEqual(len(queries), 5)
        for name, query in queries.items():
            text = re.sub(r'"[^"]*"', "", query["Properties"]["QueryString"])
            text = re.sub(r"\b\w+(?=\()|\b(fields|filter|sort|limit|stats|by|as|and|or|not|in|desc|asc|bin)\b|\b\d\w*", "", text)
            asked = set(re.findall(r"[@\w][\w.]*", text))
            self.assertLessEqual(asked, self.FIELDS | self.FOREIGN | self.ALIASES, name)

    def test_those_fields_are_what_the_code_writes(self):
        text = "".join(code(path) for path in (ROOT / "src").rglob("*.rs") if "bin" not in path.parts)
        for field in self.FIELDS:
            self.assertRegex(text, rf'[\s({{%?]{field}( =|,)|\\"{field}\\"', field)

    def test_read_our_log(self):
        for name, query in self.of_type("AWS::Logs::QueryDefinition").items():
            self.assertEqual(query["Properties"]["LogGroupNames"], [{"Ref": "LogGroup"}], name)

    def test_the_query_of_problems_selects_the_cause_that_the_pages_name(self):
        self.assertRegex(self.resources["ProblemsQuery"]["Properties"]["QueryString"], r"(?m)^fields .*\bcause\b")


class Parameters(Template):
    def test_each_is_described_and_in_a_group(self):
        groups = self.source["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        grouped = [name for group in groups for name in group["Parameters"]]
        self.assertEqual(sorted(grouped), sorted(self.source["Parameters"]))
        for name, parameter in self.source["Parameters"].items():
            self.assertIn("Description", parameter, name)
            self.assertIn("Default", parameter, f"{name}: a first deployment must not need a lookup")

    def test_an_arn_is_held_to_its_form(self):
        for name, parameter in self.source["Parameters"].items():
            if name.endswith("Arn"):
                self.assertIn("AllowedPattern", parameter, name)
                self.assertRegex("", parameter["AllowedPattern"], name)
                self.assertNotRegex("not an arn", parameter["AllowedPattern"], name)


class Stages(unittest.TestCase):
    """What a person's answers to `sam deploy --guided` are saved into, too."""

    def test_each_is_built_for_the_architecture_that_it_is_deployed_to(self):
        config = toml("samconfig.toml")
        stages = {name for name, value in config.items() if isinstance(value, dict)}
        self.assertEqual(stages, {"dev", "staging", "prod"})
        for stage in stages:
            self.assertNotIn("parameter_overrides", config[stage]["global"]["parameters"], "saved answers would hide them")
            told = [str(config[stage][command]["parameters"]["parameter_overrides"]) for command in ("build", "deploy")]
            built, deployed = (re.findall(r"\bArchitecture=\W*(\w+)", text) for text in told)
            self.assertEqual(len(built), 1, stage)
            self.assertEqual(built, deployed, stage)


class Deployment(unittest.TestCase):
    """Parameters that `make deploy` gives to sam."""

    def setUp(self):
        sys.path.insert(0, str(ROOT / "templates"))
        self.addCleanup(sys.path.remove, str(ROOT / "templates"))
        import parameters

        self.script = parameters

    def test_the_hash_is_of_artifact_template_and_parameters(self):
        parameters = {"Preset": "production", "LogLevel": "INFO"}
        base = self.script.deployment_hash(b"artifact", b"template", parameters)
        self.assertRegex(base, source()["Parameters"]["DeploymentHash"]["AllowedPattern"])
        turned = dict(reversed(parameters.items()))
        self.assertEqual(base, self.script.deployment_hash(b"artifact", b"template", turned))
        for other in (
            (b"artifact2", b"template", parameters), (b"artifact", b"template2", parameters),
            (b"artifactt", b"emplate", parameters), (b"artifact", b"template", parameters | {"LogLevel": "DEBUG"}),
            (b"artifact", b"template", parameters | {"Tracing": "Active"}),
            (b"artifact", b"template", parameters, b"nonce"),
        ):
            self.assertNotEqual(base, self.script.deployment_hash(*other), other)

    def test_the_answers_of_a_guided_deployment_are_the_same_parameters(self):
        listed = {"dev": {"deploy": {"parameters": {"parameter_overrides": ["Preset=staging", "AlarmEmail=a@example.com"]}}}}
        saved = 'Preset="staging" AlarmEmail="a@example.com" DeploymentHash="' + "0" * 64 + '"'
        guided = {"dev": {"deploy": {"parameters": {"parameter_overrides": saved}}}}
        expected = {"Preset": "staging", "AlarmEmail": "a@example.com"}
        self.assertEqual(self.script.overrides(listed, "dev"), expected)
        self.assertEqual(self.script.overrides(guided, "dev"), expected, "an old hash would publish nothing")
        with self.assertRaisesRegex(ValueError, "no stage prod"):
            self.script.overrides(listed, "prod")

    def run_script(self, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            artifact, out = Path(folder, "bootstrap"), Path(folder, "parameters.yaml")
            artifact.write_bytes(b"binary")
            command = [sys.executable, self.script.__file__, "--artifact", artifact, "--out", out, *arguments]
            subprocess.run(command, check=True)
            return self.script.CfnParameterOverridesType().convert((f"file://{out}",), None, None)

    def test_sam_reads_every_parameter_of_the_stage_and_the_hash(self):
        known = source()["Parameters"]
        for stage in ("dev", "staging", "prod"):
            given = self.run_script("--stage", stage)
            self.assertEqual(given, self.run_script("--stage", stage), "without a change there is nothing to deploy")
            self.assertNotEqual(given, self.run_script("--stage", stage, "--fresh"))
            # A list, or the one line of saved answers.
            config = self.script.overrides(toml("samconfig.toml"), stage)
            self.assertEqual({name: value for name, value in given.items() if name != "DeploymentHash"}, config)
            for name, value in given.items():
                self.assertIn(name, known)
                allowed = known[name].get("AllowedValues")
                self.assertTrue(allowed is None or value in map(str, allowed), f"{name}={value}")

    def test_make_deploy_passes_them_and_asks_on_a_terminal_alone(self):
        made = ROOT.joinpath("Makefile").read_text(encoding="utf-8")
        recipe = re.search(r"(?m)^deploy: .*\n((?:\t.*\n|  .*\n)+)", made)[1]
        self.assertIn("templates/parameters.py --stage $(STAGE)", recipe)
        self.assertIn("--parameter-overrides file://.aws-sam/parameters.yaml", recipe)
        self.assertLess(recipe.index("parameters.py"), recipe.index("sam deploy"))
        shell = re.search(r"\$\$\(if .*?; fi\)", recipe)[0].replace("$$", "$")
        for environment, expected in (({}, "--no-confirm-changeset"), ({"CI": "true"}, "--no-confirm-changeset")):
            done = subprocess.run(["bash", "-c", f"echo {shell}"], env={"PATH": "/usr/bin:/bin"} | environment,
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
            self.assertEqual(done.stdout.strip(), expected)
        self.assertIn("[ -t 0 ]", shell)

    def test_a_pipeline_is_asked_nothing(self):
        for stage, commands in toml("samconfig.toml").items():
            if isinstance(commands, dict):
                parameters = commands["deploy"]["parameters"]
                # Saved answers may set it. `make deploy` overrides it.
                self.assertIsInstance(parameters["confirm_changeset"], bool, stage)
                self.assertIs(parameters["fail_on_empty_changeset"], False, stage)
                # The nested stack makes a role.
                self.assertEqual(set(parameters["capabilities"].split()), {"CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"}, stage)
                self.assertTrue(parameters["resolve_s3"], stage)


if __name__ == "__main__":
    unittest.main()
