"""What is in the Lambda artifact, and what is not: neither the mocks nor the operator's tool, nor what only they need.

Reads the binary's own text: each panic's place is the path of a source file, and each client of the AWS SDK says its name.
`make artifact-check` runs it on what `make build` made; it prints the sizes too, and holds the zipped one.
"""

import argparse
import io
import re
import struct
import sys
import zipfile
from pathlib import Path

# What must be found, so that finding nothing of the others means something.
EXPECTED = [rb"src/dispatch/", rb"src/adapters/hubspot/", rb"aws-sdk-sqs", rb"/reqwest-"]
# The mocks and the harness; the operator's tool; what its feature brings.
FORBIDDEN = [
    rb"testkit/src/", rb"MockSalesforce", rb"MockHubSpot", rb"MockStreamGenerator",
    rb"contact-sync-admin", rb"/clap_builder-", rb"/comfy-table-", rb"/indicatif-",
    rb"aws-sdk-kinesis", rb"aws-sdk-lambda", rb"aws-sdk-s3", rb"aws-sdk-signin", rb"aws-sdk-sso",
]
OF_FEATURES = {"otel": [rb"/opentelemetry", rb"v1/traces"]}
# What Lambda takes at every cold start, zipped. What serves AWS alone is built for size (Cargo.toml): without that it is more.
LARGEST = 7_000_000
# e_machine of the ELF header
MACHINES = {"x86_64": 62, "arm64": 183}


def zipped_size(content):
    """As it is uploaded: one deflated file."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("bootstrap", content)
    return len(target.getvalue())


def complaints(content, arch, features):
    machine = struct.unpack_from("<H", content, 18)[0] if content[:4] == b"\x7fELF" else None
    if machine != MACHINES[arch]:
        yield f"it is no executable for {arch}"
    expected, forbidden = list(EXPECTED), list(FORBIDDEN)
    for feature, marks in OF_FEATURES.items():
        (expected if feature in features else forbidden).extend(marks)
    if (size := zipped_size(content)) > LARGEST:
        yield f"it has {size} bytes zipped; at most {LARGEST} are wanted"
    for mark in expected:
        if mark not in content:
            yield f"{mark.decode()} is not in it: this check looks for the wrong things"
    for mark in forbidden:
        found = re.search(rb"[\x20-\x7e]{0,60}" + re.escape(mark) + rb"[\x20-\x7e]{0,60}", content)
        if found:
            yield f"{mark.decode()} is in it: {found.group().decode()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    parser.add_argument("--arch", choices=MACHINES, required=True)
    parser.add_argument("--features", default="", help="the cargo features that it was built with")
    arguments = parser.parse_args()
    content = arguments.binary.read_bytes()
    print(f"{arguments.binary}: {len(content) / 1e6:.1f} MB, zipped {zipped_size(content) / 1e6:.1f} MB")
    found = list(complaints(content, arguments.arch, arguments.features.split()))
    for complaint in found:
        print(f"{arguments.binary}: {complaint}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
