"""Tests templates/prebuilt.py: a stack from a zip that is built already. Run by `make validate`."""

import io
import json
import os
import re
import stat
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "templates" / "prebuilt.py"
ARM64, X86_64 = 183, 62


def elf(machine):
    return b"\x7fELF" + bytes(14) + struct.pack("<H", machine) + bytes(44)


def zipped(**files):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


class Prebuilt(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()

    def run_with(self, content):
        archive = self.folder / "function.zip"
        archive.write_bytes(content)
        command = [sys.executable, SCRIPT, "--stage", "dev", "--zip", archive, "--out", self.folder / "build"]
        return subprocess.run(command, capture_output=True, text=True)

    def test_gives_sam_the_templates_and_the_unzipped_function(self):
        done = self.run_with(zipped(bootstrap=elf(ARM64)))
        self.assertEqual(done.returncode, 0, done.stderr)
        functions = self.compared(self.folder / "build", ROOT / "template.yaml")
        self.assertGreaterEqual(functions, 1)

    def compared(self, folder, path):
        """Compares a built template with its source: places of code and of nested templates differ, and nothing else. Returns
        the number of functions."""
        built = json.loads((folder / "template.yaml").read_text(encoding="utf-8"))
        source = yaml_parse(path.read_text(encoding="utf-8"))
        functions = 0
        for name, resource in built["Resources"].items():
            original = source["Resources"][name]
            if resource["Type"] == "AWS::Serverless::Function":
                functions += 1
                code = folder / resource["Properties"]["CodeUri"] / "bootstrap"
                self.assertEqual(code.read_bytes(), elf(ARM64))
                self.assertTrue(os.stat(code).st_mode & stat.S_IXUSR)
                self.assertNotIn("BuildMethod", resource["Metadata"])
                resource["Properties"]["CodeUri"] = original["Properties"]["CodeUri"]
                resource["Metadata"] = original["Metadata"]
            elif resource["Type"] == "AWS::CloudFormation::Stack":
                nested = (folder / resource["Properties"]["TemplateURL"]).resolve()
                expected = path.parent / original["Properties"]["TemplateURL"]
                if "AWS::Serverless" in expected.read_text(encoding="utf-8"):
                    functions += self.compared(nested.parent, expected)
                else:
                    self.assertEqual(nested, expected)
                resource["Properties"]["TemplateURL"] = original["Properties"]["TemplateURL"]
        self.assertEqual(built, json.loads(json.dumps(source)))
        return functions

    def test_the_hash_of_a_deployment_covers_the_function_that_it_wrote(self):
        self.run_with(zipped(bootstrap=elf(ARM64)))
        written = {path.relative_to(self.folder / "build") for path in (self.folder / "build").rglob("bootstrap")}
        text = (ROOT / "templates" / "parameters.py").read_text(encoding="utf-8")
        read = re.search(r'ROOT / "\.aws-sam/build/([^"]+)"', text)[1]
        self.assertIn(Path(read), written)

    def test_refuses_other_zips_by_their_reason(self):
        for content, reason in (
            (zipped(bootstrap=elf(X86_64)), "is for x86_64, and samconfig.toml deploys dev to arm64"),
            (zipped(bootstrap=b"#!/bin/sh\n"), "no executable for Linux"),
            (zipped(bootstrap=elf(ARM64), other=b""), "no zip of the function: it holds bootstrap, other"),
            (b"no zip", "File is not a zip file"),
        ):
            done = self.run_with(content)
            self.assertEqual(done.returncode, 1)
            self.assertIn(reason, done.stderr)
            self.assertFalse((self.folder / "build").exists())

    def test_make_deploy_takes_a_zip(self):
        made = subprocess.run(["make", "--dry-run", "deploy", "STAGE=dev", "ZIP=x.zip"], cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertIn("prebuilt.py --stage dev --zip x.zip", made.stdout)
        self.assertNotIn("sam build", made.stdout)
        self.assertIn("sam deploy", made.stdout)


if __name__ == "__main__":
    unittest.main()
