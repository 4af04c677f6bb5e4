"""What the template promises, held on the resources that CloudFormation would get: the template is translated first, as
AWS does it, so that what the transform adds is judged too.

Run by `make validate`, which has the translator. Needs no network and no account.
"""

import functools
import json
import logging
import re
import unittest
from pathlib import Path

import boto3
import tomlkit
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
DAY = 24 * 60 * 60
A_STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/contact-changes"


def source():
    return yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))


@functools.cache
def translated():
    # The translator counts what it does for AWS's own service, and warns that nobody collects it.
    logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)
    template = source()
    # `sam package` puts the place of the upload here; the translator accepts nothing local.
    template["Resources"]["Function"]["Properties"]["CodeUri"] = "s3://bucket/key"
    defaults = {name: parameter["Default"] for name, parameter in template["Parameters"].items()}
    session = boto3.Session(region_name="us-east-1")
    # Without managed policies: a template that needs one does not translate here, and is to say what it needs itself.
    translator = Translator({}, Parser(), boto_session=session)
    return translator.translate(template, defaults)


def statements(policy):
    """The statements of a policy, those behind a condition included."""
    for statement in policy["Statement"]:
        if "Fn::If" in statement:
            statement = statement["Fn::If"][1]
        yield statement


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
        return str(given.get(argument, template["Parameters"][argument]["Default"]))
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
    return value


def toml(path):
    return tomlkit.parse((ROOT / path).read_text(encoding="utf-8")).unwrap()


def code(path):
    """A file of ours without its tests."""
    return (ROOT / path).read_text(encoding="utf-8").split("#[cfg(test)]")[0]


@functools.cache
def destinations():
    """The systems that the code knows."""
    ((count, lines),) = re.findall(r"(?s)const SYSTEMS: \[AdapterBuilder; (\d+)\] = \[(.*?)\n\];", code("src/factory.rs"))
    found = re.findall(r'\("(\w+)", \|', lines)
    assert len(found) == int(count), found
    return found


@functools.cache
def emitted_metrics():
    """The names of the metrics in the code that writes them: whatever begins a list of arguments or a pair."""
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
        cls.resources = cls.template["Resources"]
        cls.parameters = cls.template["Parameters"]

    def of_type(self, kind):
        found = {name: r for name, r in self.resources.items() if r["Type"] == kind}
        self.assertTrue(found, f"the template has no {kind}")
        return found

    def the(self, kind):
        found = self.of_type(kind)
        self.assertEqual(len(found), 1, f"one {kind} was expected: {sorted(found)}")
        return next(iter(found.values()))["Properties"]

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
        alarm = self.resources["RecordAgeAlarm"]["Properties"]
        _, names = alarm["Metrics"][0]["Expression"]["Fn::Sub"]
        self.assertEqual(names["Limit"], self.mapping["MaximumRecordAgeInSeconds"])
        self.assertLessEqual(alarm["Threshold"], 50)

    def record_age(self, **given):
        return int(resolved(self.template, self.mapping["MaximumRecordAgeInSeconds"], **given))

    def test_misses_nothing_that_is_written_before_it_starts(self):
        self.assertEqual(self.mapping["StartingPosition"], "TRIM_HORIZON")

    def test_puts_what_it_gives_up_into_the_bucket(self):
        destination = self.mapping["DestinationConfig"]["OnFailure"]["Destination"]
        self.assertEqual(destination, {"Fn::GetAtt": ["FailedEvents", "Arn"]})

    def test_counts_its_events(self):
        self.assertEqual(self.mapping["MetricsConfig"], {"Metrics": ["EventCount"]})

    def test_filters_nothing(self):
        # A filter on `data` drops every record that is no JSON without a trace.
        self.assertNotIn("FilterCriteria", self.mapping)

    def test_batches_as_documented(self):
        self.assertEqual(self.default(self.mapping["BatchSize"]), 1000)
        self.assertEqual(self.default(self.mapping["MaximumBatchingWindowInSeconds"]), 1)

    def test_calls_the_function_as_it_was_deployed_last(self):
        # Not a version or an alias: a deployment that changes only a parameter publishes none.
        self.assertEqual(self.mapping["FunctionName"], {"Ref": "Function"})
        self.assertNotIn("AWS::Lambda::Alias", {r["Type"] for r in self.resources.values()})


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
                "CONTACT_SYNC__STATE__TABLE",
                "OTEL_EXPORTER_OTLP_ENDPOINT",
            }
            | {f"CONTACT_SYNC__{name.upper()}__SECRET_ID" for name in destinations()},
        )
        self.assertEqual(variables["CONTACT_SYNC_CONFIG"], {"Fn::Sub": "ssm:${SettingsDocument}"})

    def test_every_variable_names_a_setting_that_exists(self):
        settings = toml("src/settings/defaults.toml")
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

    def test_is_traced(self):
        self.assertEqual(self.function["TracingConfig"], {"Mode": "Active"})

    def test_sends_spans_where_a_layer_takes_them_and_not_elsewhere(self):
        layer = "arn:aws:lambda:eu-west-1:123456789012:layer:collector:7"
        endpoint, layers = self.function["Environment"]["Variables"]["OTEL_EXPORTER_OTLP_ENDPOINT"], self.function["Layers"]
        nothing = {"Ref": "AWS::NoValue"}
        self.assertEqual([resolved(self.template, value) for value in (endpoint, layers)], [nothing, nothing])
        self.assertEqual(resolved(self.template, layers, CollectorLayerArn=layer), [layer])
        self.assertEqual(resolved(self.template, endpoint, CollectorLayerArn=layer), "http://localhost:4318")

    def test_is_the_binary_of_the_package(self):
        package = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
        binary = self.source["Resources"]["Function"]["Metadata"]["BuildProperties"]["Binary"]
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
    }

    def statements(self):
        role = self.the("AWS::IAM::Role")
        self.assertNotIn("ManagedPolicyArns", role, "managed policies reach further than this function")
        for policy in role["Policies"]:
            yield from statements(policy["PolicyDocument"])

    def test_no_statement_reaches_every_resource(self):
        for statement in self.statements():
            if set(as_list(statement["Action"])) <= self.WITHOUT_RESOURCE:
                continue
            for resource in as_list(statement["Resource"]):
                self.assertNotEqual(resource, "*", statement["Sid"])

    def test_a_star_stands_only_behind_a_name(self):
        # Names that a service chooses below a resource of ours: log streams, and objects in the bucket.
        allowed = {"WriteItsLogs": r":log-group:\$\{LogGroup\}:\*$", "StoreFailedEvents": r"^\$\{FailedEvents\.Arn\}/aws/lambda/\*$"}
        for statement in self.statements():
            if set(as_list(statement["Action"])) <= self.WITHOUT_RESOURCE:
                continue
            for resource in as_list(statement["Resource"]):
                text = resource["Fn::Sub"] if isinstance(resource, dict) and "Fn::Sub" in resource else json.dumps(resource)
                if "*" in text:
                    self.assertRegex(text, allowed.get(statement["Sid"], "^$"), statement["Sid"])

    def test_no_statement_allows_every_action(self):
        for statement in self.statements():
            self.assertEqual(statement["Effect"], "Allow")
            for action in as_list(statement["Action"]):
                self.assertNotIn("*", action, statement["Sid"])

    def test_nothing_may_be_deleted_or_read_that_it_only_writes(self):
        actions = {action for statement in self.statements() for action in as_list(statement["Action"])}
        for action in actions:
            self.assertNotRegex(action, r":(Delete|Purge|Update(?!Item)|Create(?!LogStream)|PutSecret|Receive|Scan)", action)

    def test_it_may_do_what_the_code_does_and_no_more(self):
        # The SDK's calls, as the code spells them. A batch of messages is sent with the right to send one.
        names = {"send_message_batch": "send_message"}
        call = r"\.(query|scan|[a-z]+_item|batch_\w+|transact_\w+|get_secret_value|send_message\w*|get_parameters?)\(\)"
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
        trust = self.the("AWS::IAM::Role")["AssumeRolePolicyDocument"]["Statement"]
        self.assertEqual([s["Principal"] for s in trust], [{"Service": "lambda.amazonaws.com"}])

    def test_what_is_denied_is_denied_to_everybody(self):
        for kind in ("AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy"):
            for statement in self.the(kind)["PolicyDocument"]["Statement"]:
                self.assertEqual(statement["Effect"], "Deny")
                self.assertEqual(statement["Condition"], {"Bool": {"aws:SecureTransport": "false"}})


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
                     "FailedEvents", "LogGroup", "AlarmTopic"):
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
            self.assertEqual(self.resources[name].get("DeletionPolicy"), "Retain", name)
            self.assertEqual(self.resources[name].get("UpdateReplacePolicy"), "Retain", name)


class Alarms(Template):
    def alarms(self):
        return {name: r["Properties"] for name, r in self.of_type("AWS::CloudWatch::Alarm").items()}

    def names(self):
        return {name: a["AlarmName"]["Fn::Sub"].removeprefix("${AWS::StackName}-") for name, a in self.alarms().items()}

    def metrics(self):
        for alarm in self.alarms().values():
            for metric in alarm.get("Metrics", [alarm]):
                metric = metric.get("MetricStat", {}).get("Metric", metric)
                if "MetricName" in metric:
                    yield metric["Namespace"], metric["MetricName"]

    def test_each_tells_somebody(self):
        topic = {"Fn::If": ["CreateTopic", {"Ref": "AlarmTopic"}, {"Ref": "AlarmTopicArn"}]}
        for name, alarm in self.alarms().items():
            self.assertEqual(alarm["AlarmActions"], [topic], name)
            self.assertEqual(alarm["OKActions"], [topic], name)

    def test_each_has_a_reason_for_its_threshold(self):
        text = (ROOT / "template.yaml").read_text(encoding="utf-8")
        for name in self.alarms():
            self.assertRegex(text, rf"(?m)^  # .*\n  {name}:$", "a comment in front of it says why")

    def test_none_is_raised_by_silence(self):
        # A quiet stream reports nothing. The alarm `stalled` is for a silence that is not quiet.
        for name, alarm in self.alarms().items():
            self.assertEqual(alarm["TreatMissingData"], "notBreaching", name)

    def test_everything_that_breaks_has_one(self):
        for metric in (
            ("AWS/Lambda", "IteratorAge"), ("AWS/Lambda", "Errors"), ("AWS/Lambda", "Throttles"),
            ("AWS/Lambda", "DroppedEventCount"), ("AWS/Lambda", "FailedInvokeEventCount"),
            ("AWS/Lambda", "DestinationDeliveryFailures"),
            ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
            ("ContactSync", "AuthFailures"), ("ContactSync", "ConfigErrors"), ("ContactSync", "BreakerOpen"),
            ("ContactSync", "DailyQuotaUsedPercent"), ("ContactSync", "UnknownCodes"), ("ContactSync", "StateErrors"),
            ("ContactSync", "LeaseFailures"),
        ):
            self.assertIn(metric, set(self.metrics()))

    def test_none_waits_for_a_metric_that_nobody_writes(self):
        ours = {metric for namespace, metric in self.metrics() if namespace == "ContactSync"}
        self.assertLessEqual(ours, emitted_metrics())

    def test_each_destination_has_its_own(self):
        names = set(self.names().values())
        for kind in ("authentication", "breaker", "quota"):
            for destination in destinations():
                self.assertIn(f"{destination}-{kind}", names)

    def test_each_destinations_leases_count(self):
        dimensions = [
            metric["MetricStat"]["Metric"].get("Dimensions", [{}])[0].get("Value")
            for metric in self.resources["StateTableAlarm"]["Properties"]["Metrics"] if "MetricStat" in metric
        ]
        self.assertCountEqual(dimensions, [None, *destinations()])

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

    def test_each_has_a_row_in_the_runbook(self):
        runbook = (ROOT / "RUNBOOK.md").read_text(encoding="utf-8")
        for name, title in self.names().items():
            self.assertIn(f"RUNBOOK.md#{title}", self.alarms()[name]["AlarmDescription"])
            self.assertRegex(runbook, rf'(?m)^### {re.escape(title)}$', name)


class Dashboard(Template):
    def test_is_json_and_shows_every_metric_of_ours(self):
        text, names = self.the("AWS::CloudWatch::Dashboard")["DashboardBody"]["Fn::Sub"]
        body = json.loads(re.sub(r"\$\{[^}]+\}", "1", text))
        self.assertGreater(len(body["widgets"]), 5)
        self.assertEqual(set(names), {"QueueName"})
        # The sum of the fates stands for what was received.
        for metric in emitted_metrics() - {"RecordsReceived"}:
            self.assertIn(f'"{metric}"', text)
        shown = set(re.findall(r'"((?:[A-Z][a-z]+){2,})"', text)) - {"ContactSync"}
        amazons = {
            "IteratorAge", "PolledEventCount", "InvokedEventCount", "FailedInvokeEventCount", "FilteredOutEventCount",
            "DroppedEventCount", "OnFailureDestinationDeliveredEventCount", "ApproximateNumberOfMessagesVisible",
            "ConcurrentExecutions", "IncomingBytes", "FunctionName", "EventSourceMappingUUID", "QueueName", "LogGroupName",
        }
        self.assertLessEqual(shown, emitted_metrics() | amazons)

    def test_shows_each_destination_wherever_it_shows_one(self):
        text, _ = self.the("AWS::CloudWatch::Dashboard")["DashboardBody"]["Fn::Sub"]
        for widget in json.loads(re.sub(r"\$\{[^}]+\}", "1", text))["widgets"]:
            lines = json.dumps(widget["properties"]["metrics"])
            if '"Destination"' in lines:
                for name in destinations():
                    self.assertIn(f'"{name}"', lines, widget["properties"]["title"])

    def test_the_code_writes_the_contracts_metrics(self):
        self.assertLessEqual({
            "RecordsReceived", "RecordsDelivered", "RecordsFiltered", "RecordsSuperseded", "RecordsRejected",
            "RecordsFailed", "RecordsSkippedSettled", "ApiCalls", "ApiErrors", "Retries", "RateLimited", "ApiLatency",
            "AuthFailures", "ConfigErrors", "ColdStart",
        }, emitted_metrics())


class Runbook(Template):
    def test_counts_what_costs(self):
        runbook = (ROOT / "RUNBOOK.md").read_text(encoding="utf-8")
        alarms = self.of_type("AWS::CloudWatch::Alarm").values()
        waited_for = sum(
            sum("MetricStat" in metric for metric in alarm["Properties"].get("Metrics", [])) or 1 for alarm in alarms
        )
        self.assertEqual(re.findall(r"an alarm's metric \((\d+)\)", runbook), [str(waited_for)])
        # Those with the dimension, by the code that writes their line, and those without.
        whole, with_dimension = code("src/telemetry/metrics.rs").split("fn of_destination")
        names = r'\(\s*"([A-Z][A-Za-z]+)",'
        fates = re.findall(names, whole.split("pub fn emit")[0])
        sums = re.findall(names, code("src/telemetry/destination_metrics.rs"))
        once = len(fates) + len(re.findall(names, whole.split("fn whole")[1]))
        each = len(fates) + len(sums) + len(re.findall(names, with_dimension))
        self.assertEqual(set(fates + sums) | set(re.findall(names, whole + with_dimension)), emitted_metrics())
        self.assertEqual(re.findall(r"[\d.]+ a metric \((\d+)\)", runbook), [str(once + each * len(destinations()))])

    def test_links_to_what_is_there(self):
        headings = {}
        for path in ("RUNBOOK.md", "DEPLOY.md", "README.md"):
            text = re.sub(r"(?ms)^ *```.*?^ *```", "", (ROOT / path).read_text(encoding="utf-8"))
            titles = re.findall(r"(?m)^#+ (.*)$", text)
            headings[path] = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
        for path in ("RUNBOOK.md", "DEPLOY.md", "CONTRIBUTING.md", "README.md"):
            text = (ROOT / path).read_text(encoding="utf-8")
            for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
                target = target or path
                self.assertTrue((ROOT / target).exists(), f"{path} links to {target}")
                if heading and target in headings:
                    self.assertIn(heading, headings[target], f"{path} links to {target}#{heading}")


class Queries(Template):
    # Of the audit trail, of every line, and of those that report trouble.
    FIELDS = {
        "audit", "event_id", "contact_id", "sequence_number", "operation", "destination", "fate", "code", "attempts",
        "level", "message", "request_id", "trace_id", "shard_id", "error", "remedy",
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
            text = re.sub(r"\b\w+(?=\()|\b(fields|filter|sort|limit|stats|by|as|and|in|desc|asc|bin)\b|\b\d\w*", "", text)
            asked = set(re.findall(r"[@\w][\w.]*", text))
            self.assertLessEqual(asked, self.FIELDS | self.FOREIGN | self.ALIASES, name)

    def test_those_fields_are_what_the_code_writes(self):
        text = "".join(code(path) for path in (ROOT / "src").rglob("*.rs") if "bin" not in path.parts)
        for field in self.FIELDS:
            self.assertRegex(text, rf'[\s({{%?]{field}( =|,)|\\"{field}\\"', field)

    def test_read_our_log(self):
        for name, query in self.of_type("AWS::Logs::QueryDefinition").items():
            self.assertEqual(query["Properties"]["LogGroupNames"], [{"Ref": "LogGroup"}], name)


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


if __name__ == "__main__":
    unittest.main()
