"""Writes the parameters of a stage, with the hash of the deployment, for `sam deploy --parameter-overrides file://…`.

SAM publishes a version of the function when `DeploymentHash` changes. The hash covers the artifact, the templates and every
parameter, so that a changed variable publishes a version too. A version too many does no harm; one too few would leave the
alias with old variables.

Run by `make deploy` in sam's environment: sam itself reads the forms that a parameter has in samconfig.toml.
"""

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

import tomlkit
from samcli.cli.types import CfnParameterOverridesType

ROOT = Path(__file__).resolve().parents[1]
HASH = "DeploymentHash"


def overrides(config, stage):
    """Returns the parameters that `config` gives to the deployment of `stage`."""
    if stage not in config:
        raise ValueError(f"samconfig.toml has no stage {stage}")
    given = config[stage]["deploy"]["parameters"].get("parameter_overrides", [])
    found = CfnParameterOverridesType().convert(given, None, None)
    # `sam deploy --guided` saves it with the others.
    found.pop(HASH, None)
    return found


def deployment_hash(artifact, template, parameters, nonce=b""):
    """Returns the SHA-256 over these three. A `nonce` makes it new."""
    parts = (artifact, template, json.dumps(parameters, sort_keys=True).encode(), nonce)
    digest = hashlib.sha256()
    for part in parts:
        # Each part by its own hash: bytes never move from one into the next.
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stage", required=True)
    arguments.add_argument("--artifact", type=Path, default=ROOT / ".aws-sam/build/FirstFunction/Function/bootstrap")
    arguments.add_argument("--out", type=Path, default=ROOT / ".aws-sam/parameters.yaml")
    arguments.add_argument("--fresh", action="store_true", help="publish a version in any case: the answers of --guided come later")
    given = arguments.parse_args()
    config = tomlkit.parse((ROOT / "samconfig.toml").read_text(encoding="utf-8")).unwrap()
    try:
        parameters = overrides(config, given.stage)
    except ValueError as error:
        sys.exit(f"parameters: {error}")
    paths = [ROOT / "template.yaml", *sorted((ROOT / "templates").glob("*.yaml"))]
    template = b"".join(path.read_bytes() for path in paths)
    nonce = os.urandom(16) if given.fresh else b""
    parameters[HASH] = deployment_hash(given.artifact.read_bytes(), template, parameters, nonce)
    # JSON is YAML, of which sam reads files.
    given.out.write_text(json.dumps(parameters, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
