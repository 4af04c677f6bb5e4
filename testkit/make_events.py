#!/usr/bin/env python3
"""Makes the sample events in events/ from the readable changes below.

    make_events.py            write the files
    make_events.py --check    compare the files with their sources; exit 1 where one differs

The files hold the events of a Kinesis mapping, with each change in base64 in `kinesis.data`, and those of Kafka
mappings. This script keeps the changes in readable form. Every number in them is fixed: the same sources give the same bytes. Python 3 and its
standard library only.
"""

import base64
import hashlib
import json
import sys
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path

EVENTS = Path(__file__).resolve().parents[1] / "events"

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/contact-changes"
ROLE = "arn:aws:iam::123456789012:role/contact-sync"
SHARD = "shardId-000000000006"
# Sequence numbers of a real stream have 56 digits, and ascend within a shard.
FIRST_SEQUENCE = 49590338271490256608559692538361571095921575989136588898
START = datetime(2026, 11, 20, 10, 15, tzinfo=timezone.utc)


CLUSTER = "arn:aws:kafka:eu-west-1:123456789012:cluster/crm/1a2b3c4d-5e6f-7a8b-9c0d-1e2f3a4b5c6d-1"
BROKERS = "b-1.crm.1a2b3c.c1.kafka.eu-west-1.amazonaws.com:9098,b-2.crm.1a2b3c.c1.kafka.eu-west-1.amazonaws.com:9098"
TOPIC = "contacts"

# --- constructors ------------------------------------------------------------------------------------------------


class Record:
    """One record: its partition key, and its data as bytes."""

    def __init__(self, key, data):
        self.key = key
        self.data = data


class Kafka:
    """An event of Kafka: its records by partition, and the fields that differ between MSK and a self-managed cluster."""

    def __init__(self, partitions, *, self_managed=False):
        self.partitions = partitions
        self.self_managed = self_managed


class Aggregate:
    """A KPL aggregate of changes."""

    def __init__(self, *changes):
        self.changes = changes


class Wrapped:
    """A change within a transport layer: `wrap` makes the bytes of the record of those of the change."""

    def __init__(self, change, wrap):
        self.change = change
        self.wrap = wrap


def change(operation, contact, *, event_id, version=None, replay=False, **more):
    """Returns a change as the contact database writes it. Its place in the event determines its time."""
    body = {"event_id": event_id, "operation": operation, "occurred_at": None}
    if version is not None:
        body["version"] = version
    body["contact"] = contact
    if replay:
        body["replay"] = True
    body.update(more)
    return body


def create(contact, **more):
    return change("create", contact, **more)


def update(contact, **more):
    return change("update", contact, **more)


def delete(contact, **more):
    return change("delete", contact, **more)


# --- sample contacts ---------------------------------------------------------------------------------------------

# Placeholders: no name, address or number of these is a person's.
LEAD = {
    "id": "c-1001", "type": "lead", "email": "lead-one@example.com", "first_name": "Sample", "last_name": "Lead One",
    "company": "Sample Company One", "job_title": "Engineer", "phone": "+44 20 7946 0000", "mobile_phone": None,
    "website": "https://example.com",
    "address": {"street": "1 Sample Street", "city": "Sample City", "state": None, "postal_code": "ZZ1 1ZZ",
                "country": "United Kingdom"},
    "lead_source": "Web", "status": None,
    "attributes": {"plan": "team", "seats": 25, "newsletter": True},
}
PROSPECT = {
    "id": "c-1002", "type": "prospect", "email": "prospect-two@example.com", "first_name": "Sample",
    "last_name": "Prospect Two", "company": "Sample Company Two", "job_title": "Analyst", "lead_source": "Conference",
}
CUSTOMER = {
    "id": "c-1003", "type": "customer", "email": "customer-three@example.com", "first_name": "Sample",
    "last_name": "Customer Three", "company": "Sample Company Three", "phone": "+1 202 555 0100",
    "address": {"street": "3 Sample Street", "city": "Sample City", "postal_code": "0000 ZZ", "country": "Netherlands"},
}
VENDOR = {
    "id": "c-1004", "type": "vendor", "email": "vendor-four@example.com", "first_name": "Sample",
    "last_name": "Vendor Four", "company": "Sample Company Four", "website": "https://example.com",
}


# --- the scenarios -----------------------------------------------------------------------------------------------

SCENARIOS = {}


def scenario(name, shows, fates):
    """Registers a function that lists the records of events/NAME.json."""

    def register(function):
        SCENARIOS[name] = (shows, fates, function)
        return function

    return register


@scenario("created", "one new contact of each type, the first with every field", "4 delivered")
def created():
    return [
        create(LEAD, event_id="created-1", version=1),
        create(PROSPECT, event_id="created-2", version=1),
        create(CUSTOMER, event_id="created-3", version=1),
        create(VENDOR, event_id="created-4", version=1),
    ]


@scenario("updated", "updates that name a few fields: an absent field stays, a `null` field is cleared", "4 delivered")
def updated():
    return [
        update({"id": "c-1001", "type": "lead", "job_title": "Principal engineer"}, event_id="updated-1", version=2),
        update({"id": "c-1002", "type": "prospect", "company": None, "status": "Working - Contacted"},
               event_id="updated-2", version=2),
        update({"id": "c-1003", "type": "customer", "phone": None, "address": {"city": "Other City", "state": None}},
               event_id="updated-3", version=2),
        update({"id": "c-1004", "type": "Vendor", "email": " Vendor.Four@Example.COM "},
               event_id="updated-4", version=2),
    ]


@scenario("deleted", "deletes; the last without a type, so that it goes to every destination that a passing type is routed to", "5 delivered")
def deleted():
    return [
        delete({"id": "c-1001", "type": "lead"}, event_id="deleted-1", version=3),
        delete({"id": "c-1002", "type": "prospect"}, event_id="deleted-2", version=3),
        delete({"id": "c-1003", "type": "customer"}, event_id="deleted-3", version=3),
        delete({"id": "c-1004", "type": "vendor"}, event_id="deleted-4", version=3),
        delete({"id": "c-1999"}, event_id="deleted-5"),
    ]


@scenario("mixed", "creates, updates and deletes of all types, in stream order", "8 delivered")
def mixed():
    return [
        create(LEAD, event_id="mixed-1", version=1),
        create(CUSTOMER, event_id="mixed-2", version=1),
        update({"id": "c-2001", "type": "prospect", "last_name": "Prospect Five", "company": "Sample Company Five"},
               event_id="mixed-3", version=7),
        delete({"id": "c-2002", "type": "customer"}, event_id="mixed-4", version=4),
        create(VENDOR, event_id="mixed-5", version=1),
        update({"id": "c-2003", "type": "customer", "first_name": "Sample", "mobile_phone": "+1 757 555 0101"},
               event_id="mixed-6", version=12),
        create(PROSPECT, event_id="mixed-7", version=1),
        delete({"id": "c-2004", "type": "lead"}, event_id="mixed-8", version=2),
    ]


@scenario("same-contact", "several changes of one contact in one batch, under keys that differ in letter case and blanks: "
          "they are folded, and no request carries a key twice",
          "4 delivered, 3 superseded: the change that carries a contact's result is delivered, those "
          "before it share its fate")
def same_contact():
    return [
        create(LEAD, event_id="same-1", version=1),
        update({"id": "C-1001", "type": "lead", "job_title": "Chief engineer"}, event_id="same-2", version=2),
        create(CUSTOMER, event_id="same-3", version=1),
        update({"id": " c-1001 ", "type": "lead", "phone": None}, event_id="same-4", version=3),
        delete({"id": "c-1003", "type": "customer"}, event_id="same-5", version=2),
        create({**CUSTOMER, "company": "Sample Company Three B"}, event_id="same-6", version=3),
        create(PROSPECT, event_id="same-7", version=1),
    ]


@scenario("out-of-order", "changes of one contact that arrive in the wrong order: within a batch the version decides",
          "1 delivered, 2 superseded")
def out_of_order():
    return [
        update({"id": "c-1001", "type": "lead", "job_title": "third"}, event_id="order-3", version=3),
        create({**LEAD, "job_title": "first"}, event_id="order-1", version=1),
        update({"id": "c-1001", "type": "lead", "job_title": "second", "company": "Second"},
               event_id="order-2", version=2),
    ]


@scenario("type-changed", "a lead becomes a customer: from then on its changes go to HubSpot; the lead stays as it was",
          "3 delivered")
def type_changed():
    return [
        create(LEAD, event_id="type-1", version=1),
        update({**LEAD, "type": "customer"}, event_id="type-2", version=2),
        update({"id": "c-1002", "type": "CUSTOMER", "email": "prospect-two@example.com"}, event_id="type-3", version=9),
    ]


@scenario("replay", "changes that were put back into the stream, an old one among them", "3 delivered; with a version "
          "field configured, the old one ends as superseded, STALE")
def replay():
    return [
        update({"id": "c-1001", "type": "lead", "job_title": "Engineer"}, event_id="updated-1", version=1, replay=True),
        create(CUSTOMER, event_id="created-3", version=1, replay=True),
        delete({"id": "c-1004", "type": "vendor"}, event_id="deleted-4", version=3, replay=True),
    ]


@scenario("unicode", "names and addresses of many scripts, signs outside the basic plane, combining marks, right to left",
          "5 delivered")
def unicode_text():
    return [
        create({"id": "c-3001", "type": "lead", "first_name": "Sämplë", "last_name": "Léad-Ünø Łąka",
                "company": "Größe & Beispiel <GmbH>"}, event_id="unicode-1", version=1),
        create({"id": "c-3002", "type": "customer", "first_name": "例", "last_name": "見本", "email": "customer-ja@example.com",
                "address": {"street": "見本町1-1", "city": "見本市", "country": "日本"}}, event_id="unicode-2", version=1),
        create({"id": "c-3003", "type": "prospect", "first_name": "مثال", "last_name": "عينة", "company": "شركة مثال"},
               event_id="unicode-3", version=1),
        create({"id": "c-3004", "type": "vendor", "first_name": "Samplé\u0301", "last_name": "👩🏽‍💻 \"quoted\" \\ back",
                "company": "line\nbreak\tand tab"}, event_id="unicode-4", version=1),
        create({"id": "kënnung-5", "type": "lead", "last_name": "Идентификатор", "company": "Ключ"},
               event_id="unicode-5", version=1),
    ]


@scenario("too-long", "values longer than their fields: names, companies, titles and address parts are cut, and counted",
          "2 delivered; the values are cut")
def too_long():
    return [
        create({"id": "c-4001", "type": "lead", "first_name": "F" * 41, "last_name": "é" * 81, "company": "C" * 256,
                "job_title": "T" * 129, "address": {"city": "Llanfair" * 6, "postal_code": "P" * 21}},
               event_id="long-1", version=1),
        update({"id": "c-4002", "type": "prospect", "last_name": "👍" * 81, "company": "Thumbs"},
               event_id="long-2", version=1),
    ]


@scenario("unknown-fields", "fields that this version does not know: they are ignored", "2 delivered")
def unknown_fields():
    return [
        create({**PROSPECT, "favourite_colour": "navy", "tags": ["compiler", {"deep": [1, 2]}],
                "address": {"city": "Sample City", "planet": "Earth"}, "attributes": {"unmapped": 1.5, "empty": None}},
               event_id="unknown-1", version=1, source_system="crm-import", schema=7),
        update({"id": "c-1003", "type": "customer", "last_name": "Customer Three"}, event_id="unknown-2"),
    ]


@scenario("empty", "an event without records", "no records")
def empty():
    return []


@scenario("poison", "a record of each kind that is not allowed, between valid ones. The partition key names the "
          "kind. A text of a megabyte has a test of its own",
          "19 delivered, 72 rejected: the records whose key begins with `good-` are delivered, all "
          "others have a code each")
def poison():
    return list(interleave(poisonous(), every=4))


def good(number):
    """Returns a valid record to place between invalid ones. An invalid record must not affect it."""
    contact = {**(LEAD, PROSPECT, CUSTOMER, VENDOR)[number % 4], "id": f"good-{number}", "email": f"good-{number}@example.com"}
    return Record(f"good-{number}", create(contact, event_id=f"good-{number}", version=1))


def interleave(bad, every):
    number = 0
    for place, record in enumerate(bad):
        if place % every == 0:
            yield good(number)
            number += 1
        yield record
    yield good(number)


def poisonous():
    """Returns a record of each kind that section 1 of the contract does not allow, by name."""

    def base():
        return {
            "event_id": "poison", "operation": "create", "occurred_at": "2026-11-20T10:15:00Z", "version": 1,
            "contact": {"id": "poison", "type": "lead", "last_name": "Poison", "company": "Poison"},
        }

    def bad(kind, **fields):
        return Record(f"poison-{kind}", {**base(), **fields})

    def without(kind, name):
        body = base()
        del body[name]
        return Record(f"poison-{kind}", body)

    def bad_contact(kind, operation="create", **fields):
        body = base()
        body["operation"] = operation
        body["contact"].update(fields)
        return Record(f"poison-{kind}", body)

    def contact_without(kind, name, operation="create"):
        record = bad_contact(kind, operation)
        del record.data["contact"][name]
        return record

    def raw(kind, data):
        return Record(f"poison-{kind}", data)

    text = json.dumps(base())
    return [
        # not one JSON object
        raw("no-data", b""),
        raw("blanks-only", b" \r\n\t"),
        raw("not-json", b"contact c-1001 was created"),
        raw("cut-off-json", text[: len(text) // 2].encode()),
        raw("text-after-the-object", (text + " and more").encode()),
        raw("invalid-utf-8", text.encode().replace(b"Poison", b"P\xff\xfeison")),
        raw("control-character", text.replace("Poison", "P\0ison").encode()),
        raw("utf-16", text.encode("utf-16-le")),
        raw("zero-bytes", bytes(32)),
        raw("json-null", b"null"),
        raw("json-number", b"42"),
        raw("json-text", b'"create"'),
        raw("json-list", f"[{text}]".encode()),
        raw("nothing-in-the-object", b"{}"),
        raw("nan", text.replace('"version": 1', '"version": NaN').encode()),
        raw("key-twice", text.replace('"operation": "create"', '"operation": "create", "operation": "delete"').encode()),
        raw("contact-key-twice", text.replace('"type": "lead"', '"type": "lead", "type": "vendor"').encode()),
        raw("deep-nesting", text.replace('"last_name"', '"attributes": {"deep": ' + "[" * 1000 + "]" * 1000 + '}, "last_name"')
            .encode()),
        # event_id
        without("no-event-id", "event_id"),
        bad("event-id-null", event_id=None),
        bad("event-id-empty", event_id=""),
        bad("event-id-too-long", event_id="e" * 129),
        bad("event-id-number", event_id=7),
        # operation
        without("no-operation", "operation"),
        bad("operation-null", operation=None),
        bad("operation-unknown", operation="merge"),
        bad("operation-letter-case", operation="Create"),
        bad("operation-number", operation=1),
        # occurred_at
        without("no-occurred-at", "occurred_at"),
        bad("occurred-at-empty", occurred_at=""),
        bad("occurred-at-without-offset", occurred_at="2026-11-20T10:15:00"),
        bad("occurred-at-odd-separator", occurred_at="2026-11-20x10:15:00Z"),
        bad("occurred-at-no-such-day", occurred_at="2026-02-30T10:15:00Z"),
        bad("occurred-at-number", occurred_at=1763633700),
        bad("occurred-at-in-the-future", occurred_at="9999-11-20T10:15:00Z"),
        # version
        bad("version-negative", version=-1),
        bad("version-fraction", version=1.5),
        bad("version-too-large", version=2**64),
        bad("version-text", version="one"),
        # contact
        without("no-contact", "contact"),
        bad("contact-null", contact=None),
        bad("contact-text", contact="c-1001"),
        bad("contact-list", contact=[]),
        # contact.id
        contact_without("no-contact-id", "id"),
        bad_contact("contact-id-null", id=None),
        bad_contact("contact-id-empty", id=""),
        bad_contact("contact-id-blank", id=" \t "),
        bad_contact("contact-id-too-long", id="i" * 256),
        bad_contact("contact-id-control-character", id="c\n1001"),
        bad_contact("contact-id-number", id=1001),
        # contact.type
        contact_without("no-type-on-create", "type"),
        contact_without("no-type-on-update", "type", "update"),
        bad_contact("type-null", type=None),
        bad_contact("type-empty", type=""),
        bad_contact("type-unknown", type="partner"),
        bad_contact("type-number", type=1),
        # the other contact fields
        bad_contact("email-with-a-name", email="Sample Lead <lead-one@example.com>"),
        bad_contact("email-without-domain", email="lead-one@"),
        bad_contact("email-without-at", email="lead-one.example.com"),
        bad_contact("email-two-addresses", email="lead-one@example.com, prospect-two@example.com"),
        bad_contact("email-number", email=1),
        bad_contact("first-name-number", first_name=1),
        bad_contact("last-name-list", last_name=["Lead", "One"]),
        bad_contact("company-object", company={"name": "Sample Company One"}),
        bad_contact("phone-number", phone=442079460000),
        bad_contact("website-truth-value", website=True),
        bad_contact("address-text", address="1 Sample Street, Sample City"),
        bad_contact("address-city-number", address={"city": 1}),
        bad_contact("attributes-list", attributes=["plan", "team"]),
        raw("attribute-key-twice", text.replace('"last_name"', '"attributes": {"seats": 1, "seats": 2}, "last_name"').encode()),
        bad_contact("attribute-object", attributes={"plan": {"name": "team"}}),
        bad_contact("attribute-list", attributes={"plans": ["team"]}),
    ]


@scenario("kpl", "an aggregate of the Kinesis Producer Library, and a plain record after it. Each record of the aggregate "
          "counts, and has its own partition key", "4 delivered")
def kpl():
    return [
        Aggregate(
            create(LEAD, event_id="kpl-1", version=1),
            create(CUSTOMER, event_id="kpl-2", version=1),
            create(PROSPECT, event_id="kpl-3", version=1),
        ),
        update({"id": "c-1004", "type": "vendor", "phone": None}, event_id="kpl-4", version=2),
    ]


@scenario("compressed", "one change in gzip, one in zstd", "2 delivered")
def compressed():
    return [
        Wrapped(create(LEAD, event_id="gzip-1", version=1), gzip),
        Wrapped(create(CUSTOMER, event_id="zstd-1", version=1), zstd),
    ]


@scenario("cloudevents", "changes in CloudEvents 1.0, structured JSON: with ids of their own, without `event_id` and "
          "`occurred_at`, which are then those of the CloudEvent, and as base64", "3 delivered")
def cloudevents():
    bare = create(CUSTOMER, event_id=None, version=1)
    del bare["event_id"], bare["occurred_at"]
    return [
        Wrapped(create(LEAD, event_id="cloud-1", version=1), lambda data: cloud_event("ce-1", data=json.loads(data))),
        Wrapped(bare, lambda data: cloud_event("ce-2", data=json.loads(data))),
        Wrapped(
            create(VENDOR, event_id="cloud-3", version=1),
            lambda data: cloud_event("ce-3", data_base64=base64.b64encode(data).decode()),
        ),
    ]


@scenario("msk", "an event of Amazon MSK with records of two partitions", "4 delivered")
def msk():
    return Kafka({
        0: [
            create(LEAD, event_id="msk-1", version=1),
            create(PROSPECT, event_id="msk-2", version=1),
            update({"id": "c-2003", "type": "customer", "first_name": "Sample"}, event_id="msk-3", version=12),
        ],
        1: [create(CUSTOMER, event_id="msk-4", version=1)],
    })


@scenario("self-managed-kafka", "an event of a self-managed cluster: without an ARN, with the partition as a text, and "
          "without headers", "2 delivered")
def self_managed_kafka():
    return Kafka(
        {7: [create(VENDOR, event_id="kafka-1", version=1), delete({"id": "c-1003", "type": "customer"}, event_id="kafka-2")]},
        self_managed=True,
    )


# --- rows of change feeds -------------------------------------------------------------------------------------------

# The scenarios of events/rows, each with the settings that read it: events/rows/NAME.toml.
ROW_SCENARIOS = {}


def row_scenario(name, shows, fates, settings):
    """Registers a function that lists the records of events/rows/NAME.json, and the lines of its section `[source]`."""

    def register(function):
        ROW_SCENARIOS[name] = (shows, fates, settings, function)
        return function

    return register


COLUMNS = """
[source.columns]
id = "contact_id"
type = "segment"
email = "email"
first_name = "first_name"
last_name = "last_name"
company = "company"
website = "homepage"
"address.city" = "address.city"
"attributes.plan" = "plan"
deleted = "deleted_at"

[source.types]
L = "lead"
P = "prospect"
C = "customer"
V = "vendor"
"""


def contact_row(number, segment, **more):
    """Returns a row of the table `contacts`."""
    return {
        "contact_id": f"c-{number}", "segment": segment, "email": f"contact-{number}@example.com", "first_name": "Sample",
        "last_name": f"Contact {number}", "company": "Sample Company", "homepage": "https://example.com",
        "address": json.dumps({"city": "Sample City", "zip": "ZZ1 1ZZ"}), "plan": "team", "last_login": 1,
        "deleted_at": None, **more,
    }


UNAVAILABLE = "__debezium_unavailable_value"


def debezium(op, before, after, *, lsn, table="contacts", snapshot="false"):
    return {
        "before": before, "after": after,
        "source": {
            "version": "3.6.0.Final", "connector": "postgresql", "name": "crm", "ts_ms": 1795169700123,
            "snapshot": snapshot, "db": "crm", "sequence": f'["24023119","{lsn}"]', "schema": "public", "table": table,
            "txId": 555, "lsn": lsn, "xmin": None,
        },
        "transaction": None, "op": op, "ts_ms": 1795169700200,
    }


def with_schema(payload):
    """Returns an envelope within the schema of Kafka Connect."""
    texts = [{"type": "string", "optional": True, "field": name} for name in contact_row(0, "L") if name != "last_login"]
    fields = [*texts, {"type": "int32", "optional": True, "name": "io.debezium.time.Date", "version": 1, "field": "last_login"}]
    images = [{"type": "struct", "fields": fields, "optional": True, "field": name} for name in ("before", "after")]
    return {"schema": {"type": "struct", "fields": images, "name": "crm.public.contacts.Envelope"}, "payload": payload}


def row_key(number):
    """Returns the key of a row, as Debezium Server writes it into the partition key."""
    return json.dumps({"contact_id": f"c-{number}"})


@row_scenario(
    "debezium", "envelopes of Debezium: a snapshot's read, a create, an update with the row before, an update that "
    "changes no mapped column, one without the row before and with an unavailable value, a delete and its tombstone, a "
    "create with its schema, a row of another table, a truncate", "6 delivered, 4 filtered",
    'format = "debezium"\ntables = ["public.contacts"]\nkey = "contact_id"\n' + COLUMNS,
)
def debezium_rows():
    lead, prospect, customer = contact_row(2001, "L"), contact_row(2002, "P"), contact_row(2003, "C")
    vendor = contact_row(2004, "V", homepage=UNAVAILABLE)
    return [
        Record(row_key(2001), debezium("r", None, lead, lsn=24023100, snapshot="first")),
        Record(row_key(2003), debezium("c", None, customer, lsn=24023128)),
        Record(row_key(2002), debezium("u", prospect, {**prospect, "email": "changed@example.com"}, lsn=24023136)),
        Record(row_key(2002), debezium("u", prospect, {**prospect, "last_login": 2}, lsn=24023144)),
        Record(row_key(2004), debezium("u", None, vendor, lsn=24023152)),
        Record(row_key(2005), debezium("d", contact_row(2005, "C"), None, lsn=24023160)),
        Record(row_key(2005), b""),
        Record(row_key(2006), with_schema(debezium("c", None, contact_row(2006, "L"), lsn=24023168))),
        Record(json.dumps({"id": 7}), debezium("c", None, {"id": 7, "total": 12}, lsn=24023176, table="orders")),
        Record("default", debezium("t", None, None, lsn=24023184)),
    ]


@row_scenario(
    "debezium-flattened", "rows that `ExtractNewRecordState` flattened: one without metadata, one with `__op`, a delete as a "
    "row with `__deleted`, a delete as a tombstone, a heartbeat", "4 delivered, 1 filtered",
    'format = "debezium"\nkey = "contact_id"\ntombstones = "delete"\n' + COLUMNS,
)
def flattened_rows():
    metadata = {"__op": "c", "__lsn": 24023128, "__source_ts_ms": 1795169700123, "__deleted": "false"}
    return [
        Record(row_key(2001), contact_row(2001, "L")),
        Record(row_key(2003), contact_row(2003, "C", **metadata)),
        Record(row_key(2002), contact_row(2002, "P", **{**metadata, "__op": "d", "__deleted": "true"})),
        Record(row_key(2004), b""),
        Record("default", {"ts_ms": 1795169700200}),
    ]


def dms(operation, data, before=None, *, table="contacts", record_type="data"):
    body = {
        "metadata": {
            "timestamp": "2026-11-20T10:15:00.123456Z", "record-type": record_type, "operation": operation,
            "partition-key-type": "primary-key", "schema-name": "public", "table-name": table,
        },
    }
    if record_type == "control":
        return {"control": {"table-def": {"columns": {}, "primary-key": ["contact_id"]}}, **body}
    if operation != "load":
        body["metadata"].update({
            "commit-timestamp": "2026-11-20T10:15:00.100000Z", "transaction-id": 1099, "transaction-record-id": 1,
            "stream-position": "00000002/7C007178.3.00000002/7C007178",
        })
    return {"data": data, "before-image": before or {}, **body}


@row_scenario(
    "dms", "records of AWS DMS: a control record, a row of the full load, an insert, an update with the image before, an "
    "update without it, an update that changes no mapped column, a delete, whose other columns are null, an exception of "
    "the task", "5 delivered, 3 filtered",
    'format = "dms"\ntables = ["public.contacts"]\n' + COLUMNS,
)
def dms_rows():
    prospect, customer = contact_row(2002, "P"), contact_row(2003, "C")
    nulls = {name: None for name in contact_row(2005, "C")}
    return [
        Record("task", dms("create-table", None, record_type="control")),
        Record("2001", dms("load", contact_row(2001, "L"))),
        Record("2003", dms("insert", customer)),
        Record("2002", dms("update", {**prospect, "email": "changed@example.com"}, prospect)),
        Record("2004", dms("update", contact_row(2004, "V"))),
        Record("2003", dms("update", {**customer, "last_login": 2}, customer)),
        Record("2005", dms("delete", {**nulls, "contact_id": "c-2005"}, contact_row(2005, "C"))),
        Record("task", dms("insert", {"TASK_NAME": "contacts"}, table="awsdms_apply_exceptions")),
    ]


def dynamodb(name, number, old, new, *, table="contacts"):
    item = {"ApproximateCreationDateTime": 1795169700123, "Keys": {"contact_id": {"S": f"c-{number}"}}, "SizeBytes": 26}
    for key, image in (("OldImage", old), ("NewImage", new)):
        if image is not None:
            item[key] = image
    return {
        "awsRegion": "eu-west-1", "eventID": f"9f6a1c4e-0000-4000-8000-{number:012}", "eventName": name,
        "userIdentity": None, "recordFormat": "application/json", "tableName": table, "dynamodb": item,
        "eventSource": "aws:dynamodb",
    }


def tagged(row):
    """Returns a row as an item of DynamoDB: an attribute without a value is missing."""
    item = {}
    for name, value in row.items():
        if name == "address":
            item[name] = {"M": {key: {"S": text} for key, text in json.loads(value).items()}}
        elif value is not None:
            item[name] = {"N": str(value)} if isinstance(value, int) else {"S": value}
    return item


@row_scenario(
    "dynamodb", "the stream of a DynamoDB table: an insert, a modification that removes an attribute, one that changes no "
    "mapped attribute, a removal with the item, one with its keys only, an item of another table",
    "4 delivered, 2 filtered",
    'format = "dynamodb"\ntables = ["contacts"]\n' + COLUMNS,
)
def dynamodb_items():
    prospect, customer = tagged(contact_row(2002, "P")), tagged(contact_row(2003, "C"))
    without = {name: value for name, value in prospect.items() if name != "company"}
    return [
        Record("c-2003", dynamodb("INSERT", 2003, None, customer)),
        Record("c-2002", dynamodb("MODIFY", 2002, prospect, without)),
        Record("c-2003", dynamodb("MODIFY", 2003, customer, {**customer, "last_login": {"N": "2"}})),
        Record("c-2005", dynamodb("REMOVE", 2005, tagged(contact_row(2005, "C")), None)),
        Record("c-2006", dynamodb("REMOVE", 2006, None, None)),
        Record("7", dynamodb("INSERT", 7, None, {"id": {"N": "7"}}, table="orders")),
    ]


# --- transport layers ----------------------------------------------------------------------------------------------

# The layers are built by hand, without compression: the libraries' versions differ in their bytes.


def gzip(data):
    """Returns the data as a stored block of gzip, RFC 1952."""
    size = len(data).to_bytes(2, "little")
    block = b"\x01" + size + bytes(byte ^ 0xFF for byte in size) + data
    end = zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    return bytes.fromhex("1f8b08000000000000ff") + block + end


def zstd(data):
    """Returns the data as a raw block of zstd, RFC 8878: one segment, with its size in four bytes."""
    size = len(data).to_bytes(4, "little")
    block = (len(data) << 3 | 1).to_bytes(3, "little")
    return bytes.fromhex("28b52ffd") + b"\xa0" + size + block + data


def cloud_event(event_id, **payload):
    body = {"specversion": "1.0", "id": event_id, "source": "/crm", "type": "contact.changed",
            "datacontenttype": "application/json", "time": "2026-11-20T10:15:00Z", **payload}
    return json.dumps(body, ensure_ascii=False).encode()


def aggregate(records):
    """Returns the KPL aggregate of pairs of a partition key and data."""
    keys = list(dict.fromkeys(key for key, _ in records))
    content = b"".join(protobuf(1, key.encode()) for key in keys)
    for key, data in records:
        content += protobuf(3, b"\x08" + varint(keys.index(key)) + protobuf(3, data))
    return bytes.fromhex("f3899ac2") + content + hashlib.md5(content).digest()


def protobuf(field, data):
    return bytes([field << 3 | 2]) + varint(len(data)) + data


def varint(value):
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


# --- from sources to files ---------------------------------------------------------------------------------------


def data_of(body, occurred_at):
    if isinstance(body, bytes):
        return body
    if "occurred_at" in body and body["occurred_at"] is None:
        body = {**body, "occurred_at": occurred_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    return json.dumps(body, ensure_ascii=False).encode()


def event(records):
    """Returns the event in which a mapping delivers the records."""
    if isinstance(records, Kafka):
        return kafka_event(records)
    return {"Records": [kinesis_record(place, record) for place, record in enumerate(records)]}


def count(records):
    """Returns the number of records that the function reads."""
    if isinstance(records, Kafka):
        return sum(len(records) for records in records.partitions.values())
    return sum(len(record.changes) if isinstance(record, Aggregate) else 1 for record in records)


def time_of(place):
    return START + timedelta(milliseconds=250 * place + 123)


def keyed(record, occurred_at):
    """Returns a record with its partition key, and with bytes where it has a transport layer."""
    if isinstance(record, Aggregate):
        parts = [(key_of(change), data_of(change, occurred_at)) for change in record.changes]
        return Record("aggregate", aggregate(parts))
    if isinstance(record, Wrapped):
        return Record(key_of(record.change), record.wrap(data_of(record.change, occurred_at)))
    return record if isinstance(record, Record) else Record(key_of(record), record)


def key_of(change):
    return change["contact"]["id"].strip().lower()


def kafka_event(kafka):
    """Returns the event of a Kafka mapping. The bytes of headers are signed."""
    records = {}
    for partition, changes in kafka.partitions.items():
        records[f"{TOPIC}-{partition}"] = [
            kafka_record(partition, 100 + place, keyed(record, time_of(place)), time_of(place), kafka.self_managed)
            for place, record in enumerate(changes)
        ]
    if kafka.self_managed:
        return {"eventSource": "SelfManagedKafka", "bootstrapServers": "kafka-1.example.com:9096", "records": records}
    return {"eventSource": "aws:kafka", "eventSourceArn": CLUSTER, "bootstrapServers": BROKERS, "records": records}


def kafka_record(partition, offset, record, occurred_at, self_managed):
    made = {
        "topic": TOPIC,
        "partition": str(partition) if self_managed else partition,
        "offset": offset,
        "timestamp": round(occurred_at.timestamp() * 1000),
        "timestampType": "CREATE_TIME",
        "key": base64.b64encode(record.key.encode()).decode(),
        "value": base64.b64encode(data_of(record.data, occurred_at)).decode(),
    }
    if not self_managed:
        made["headers"] = [{"origin": [99, 114, 109, -61, -87]}]
    return made


def kinesis_record(place, record):
    occurred_at = time_of(place)
    record = keyed(record, occurred_at)
    sequence = str(FIRST_SEQUENCE + place)
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record.key,
            "sequenceNumber": sequence,
            "data": base64.b64encode(data_of(record.data, occurred_at)).decode(),
            "approximateArrivalTimestamp": round((occurred_at + timedelta(milliseconds=80)).timestamp(), 3),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{SHARD}:{sequence}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": ROLE,
        "awsRegion": "eu-west-1",
        "eventSourceARN": STREAM,
    }


def readme(counts):
    rows = "\n".join(
        f"| `{name}.json` | {counts[name]} | {shows} | {fates} |" for name, (shows, fates, _) in SCENARIOS.items()
    )
    feeds = "\n".join(
        f"| `rows/{name}.json` | {counts[name]} | {shows} | {fates} |"
        for name, (shows, fates, _, _) in ROW_SCENARIOS.items()
    )
    return f"""# Sample events

Events by scenario, of Kinesis and of Kafka: input for `make invoke EVENT=events/NAME.json`, fixtures of the tests, and examples. Every
contact in them is a placeholder.

`testkit/make_events.py` holds the changes in readable form and writes these files. To change one, edit the
script and run it. The fates are those of the default settings with destinations that accept every write. The response
to each event is `{{"batchItemFailures":[]}}`: a rejected record is not delivered again. A test sends
each event to the real binary with the mocks and settings of `make watch`, and compares the counts of the
fates with the last column.

| file | records | scenario | fates |
| --- | --- | --- | --- |
{rows}

## Rows of change feeds

Each file of `rows/` needs the settings beside it, which name the columns: serve the function with
`make watch FORMAT=debezium`, then run `make invoke EVENT=events/rows/debezium.json` in another terminal.
`contact-sync-admin source guess events/rows/debezium.json` finds such settings.

| file | records | scenario | fates |
| --- | --- | --- | --- |
{feeds}
"""


def files():
    made = {}
    counts = {}
    for name, (_, _, source) in SCENARIOS.items():
        records = source()
        counts[name] = count(records)
        made[f"{name}.json"] = json.dumps(event(records), indent=2, ensure_ascii=False) + "\n"
    for name, (_, _, settings, source) in ROW_SCENARIOS.items():
        records = source()
        counts[name] = count(records)
        made[f"rows/{name}.json"] = json.dumps(event(records), indent=2, ensure_ascii=False) + "\n"
        head = f"# The settings of the sample events {name}.json. Made by testkit/make_events.py.\n"
        made[f"rows/{name}.toml"] = f"{head}[source]\n{settings}"
    made["README.md"] = readme(counts)
    return made


def main(arguments):
    if arguments not in ([], ["--check"]):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    made = files()
    present = {path.relative_to(EVENTS).as_posix() for path in EVENTS.rglob("*")} if EVENTS.is_dir() else set()
    if arguments:
        stale = sorted(
            name for name, text in made.items()
            if name not in present or (EVENTS / name).read_text(encoding="utf-8") != text
        )
        # A file without a source here cannot be edited here.
        stray = sorted(
            name for name in present - made.keys()
            if name.endswith((".json", ".toml")) and not name.endswith(".schema.json")
        )
        for name in stale:
            print(f"events/{name} is not current: run testkit/make_events.py", file=sys.stderr)
        for name in stray:
            print(f"events/{name} has no source in testkit/make_events.py", file=sys.stderr)
        return 1 if stale or stray else 0
    (EVENTS / "rows").mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        (EVENTS / name).write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
