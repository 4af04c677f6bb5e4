"""Writes what `sam build` would write, from a zip of the function that is built already: a release has one for each
architecture.

    prebuilt.py --stage STAGE --zip contact-sync-arm64.zip

`make deploy ZIP=…` runs it in sam's environment. sam then uploads the unzipped function.
"""

import argparse
import json
import os
import struct
import sys
import zipfile
from pathlib import Path

import tomlkit
from parameters import ROOT, overrides
from samtranslator.yaml_helper import yaml_parse

# e_machine of the ELF header
MACHINES = {62: "x86_64", 183: "arm64"}
BINARY = "contact-sync"


def bootstrap(archive):
    """Returns the executable of a function's zip, and the architecture that it is for."""
    with zipfile.ZipFile(archive) as opened:
        if opened.namelist() != ["bootstrap"]:
            raise ValueError(f"{archive} is no zip of the function: it holds {', '.join(opened.namelist()) or 'nothing'}")
        content = opened.read("bootstrap")
    machine = struct.unpack_from("<H", content, 18)[0] if content[:4] == b"\x7fELF" and len(content) > 20 else None
    if machine not in MACHINES:
        raise ValueError(f"{archive} holds no executable for Linux on arm64 or x86_64")
    return content, MACHINES[machine]


def build(source, folder, content):
    """Writes the template at `source`, its nested ones and their functions' code into `folder`, as sam lays them out: each nested
    stack has a folder of its name. Templates without a function keep their place."""
    template = yaml_parse(source.read_text(encoding="utf-8"))
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            metadata = resource["Metadata"]
            if (binary := metadata["BuildProperties"]["Binary"]) != BINARY:
                raise ValueError(f"{name} is built from {binary}: a zip of {BINARY} does not serve it")
            properties["CodeUri"] = name
            del metadata["BuildMethod"], metadata["BuildProperties"]
            write_code(folder / name / "bootstrap", content)
        elif resource["Type"] == "AWS::CloudFormation::Stack":
            nested = source.parent / properties["TemplateURL"]
            if "AWS::Serverless::Function" in nested.read_text(encoding="utf-8"):
                build(nested, folder / name, content)
                nested = folder / name / "template.yaml"
            properties["TemplateURL"] = os.path.relpath(nested, folder)
    folder.mkdir(parents=True, exist_ok=True)
    # JSON is YAML, which sam reads.
    (folder / "template.yaml").write_text(json.dumps(template, indent=1) + "\n", encoding="utf-8")


def write_code(path, content):
    """Writes a function's executable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stage", required=True)
    arguments.add_argument("--zip", type=Path, required=True)
    arguments.add_argument("--out", type=Path, default=ROOT / ".aws-sam/build")
    given = arguments.parse_args()
    source = ROOT / "template.yaml"
    config = tomlkit.parse((ROOT / "samconfig.toml").read_text(encoding="utf-8")).unwrap()
    try:
        content, machine = bootstrap(given.zip)
        default = yaml_parse(source.read_text(encoding="utf-8"))["Parameters"]["Architecture"]["Default"]
        architecture = overrides(config, given.stage).get("Architecture", default)
        if machine != architecture:
            raise ValueError(f"{given.zip} is for {machine}, and samconfig.toml deploys {given.stage} to {architecture}")
        build(source, given.out, content)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        sys.exit(f"prebuilt: {error}")


if __name__ == "__main__":
    main()
