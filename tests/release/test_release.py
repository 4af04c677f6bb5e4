"""Tests the release: its script, and its workflow. Run by `make docs`, in whose environment is a YAML parser."""

import io
import re
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy"))

import release  # noqa: E402

CARGO = '[workspace.package]\nversion = "1.2.3"\n'
CHANGELOG = """# Changelog

## [Unreleased]

- A later one.

## [1.2.3] - 2026-11-30

### Added

- One.

## [1.2.2] - 2026-10-01

- Older.
"""


class Script(unittest.TestCase):
    def test_releases_the_version_with_a_dated_section(self):
        self.assertEqual(list(release.complaints("v1.2.3", CARGO, CHANGELOG)), [])

    def test_refuses_other_tags_and_sections(self):
        for tag, changelog, words in (
            ("1.2.3", CHANGELOG, "not v1.2.3"),
            ("v1.2.4", CHANGELOG, "not v1.2.3"),
            ("v1.2.3", CHANGELOG.replace("[1.2.3]", "[1.2.9]"), "no section"),
            ("v1.2.3", CHANGELOG.replace(" - 2026-11-30", ""), "no date"),
            ("v1.2.3", CHANGELOG.replace("### Added\n\n- One.\n", ""), "is empty"),
        ):
            (complaint, *_) = release.complaints(tag, CARGO, changelog)
            self.assertIn(words, complaint)

    def test_the_notes_are_the_section(self):
        self.assertEqual(release.section(CHANGELOG, "1.2.3")[1], "### Added\n\n- One.\n")
        self.assertEqual(release.section(CHANGELOG, "1.2.2")[1], "- Older.\n")

    def test_the_repository_has_a_section_of_its_version(self):
        changelog = ROOT.joinpath("CHANGELOG.md").read_text(encoding="utf-8")
        number = release.version(ROOT.joinpath("Cargo.toml").read_text(encoding="utf-8"))
        self.assertIsNotNone(release.section(changelog, number), f"CHANGELOG.md has no section [{number}]")

    def test_a_zip_is_what_lambda_takes_and_the_same_each_time(self):
        content = release.zip_function(b"\x7fELF")
        self.assertEqual(content, release.zip_function(b"\x7fELF"))
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (entry,) = archive.infolist()
            self.assertEqual(entry.filename, "bootstrap")
            self.assertEqual(entry.external_attr >> 16, 0o100755)
            self.assertEqual(archive.read(entry), b"\x7fELF")

    def test_packs_files_and_folders_without_their_paths(self):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            root.joinpath("in/man").mkdir(parents=True)
            root.joinpath("in/tool").write_text("x", encoding="utf-8")
            root.joinpath("in/man/tool.1").write_text("y", encoding="utf-8")
            release.tar_files(root / "out.tar.gz", [root / "in/man", root / "in/tool"])
            with tarfile.open(root / "out.tar.gz") as archive:
                self.assertEqual(archive.getnames(), ["man", "man/tool.1", "tool"])

    def test_checksums_are_those_of_sha256sum(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("b.zip", "a.zip", release.SUMS):
                Path(folder, name).write_text(name, encoding="utf-8")
            Path(folder, release.SUMS).write_text(release.checksums(folder), encoding="utf-8")
            done = subprocess.run(["sha256sum", "--check", release.SUMS], cwd=folder, capture_output=True, text=True)
            self.assertEqual(done.stdout, "a.zip: OK\nb.zip: OK\n")


def workflow(name):
    # YAML reads the key `on` as true.
    return yaml.safe_load(ROOT.joinpath(".github/workflows", name).read_text(encoding="utf-8"))


def steps(jobs):
    for name, job in jobs.items():
        for step in job["steps"]:
            yield name, step


class Workflow(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.workflow = workflow("release.yml")
        cls.jobs = cls.workflow["jobs"]

    def commands(self, job):
        return "\n".join(step.get("run", "") for step in self.jobs[job]["steps"])

    def test_runs_on_tags_alone(self):
        self.assertEqual(self.workflow[True], {"push": {"tags": ["v*"]}})

    def test_each_make_target_and_file_exists(self):
        makefile = ROOT.joinpath("Makefile").read_text(encoding="utf-8")
        for name in ("ci.yml", "release.yml"):
            targets = [
                target
                for _, step in steps(workflow(name)["jobs"])
                for target in re.findall(r"\bmake ([a-z][a-z0-9-]*)", step.get("run", ""))
            ]
            self.assertGreater(len(targets), 4)
            for target in targets:
                self.assertRegex(makefile, rf"(?m)^{target}:.* ## ", f"{name} calls make {target}")

    def test_each_step_is_an_action_or_a_command(self):
        for job, step in steps(self.jobs):
            self.assertEqual(len({"uses", "run"} & set(step)), 1, (job, step))

    def test_uses_the_actions_of_ci_in_their_versions(self):
        used = {}
        for name in ("ci.yml", "release.yml"):
            for _, step in steps(workflow(name)["jobs"]):
                if "uses" in step:
                    action, version = step["uses"].split("@")
                    self.assertRegex(version, r"^v\d+$")
                    self.assertEqual(used.setdefault(action, version), version, action)

    def test_builds_each_file_that_a_release_has(self):
        self.assertEqual(self.jobs["function"]["strategy"]["matrix"]["arch"], ["arm64", "x86_64"])
        for target in ("zip", "artifact-check", "sbom"):
            self.assertIn(f'make {target} ARCH="$ARCH"', self.commands("function"))
        platforms = {entry["platform"]: entry["runner"] for entry in self.jobs["tool"]["strategy"]["matrix"]["include"]}
        self.assertEqual(set(platforms), {"linux-x86_64", "linux-arm64", "macos-arm64"})
        self.assertIn('make tool PLATFORM="$PLATFORM"', self.commands("tool"))

    def test_publishes_only_after_all_checks_and_builds(self):
        self.assertEqual(self.jobs["function"]["needs"], "check")
        self.assertEqual(self.jobs["tool"]["needs"], "check")
        self.assertEqual(self.jobs["release"]["needs"], ["function", "tool"])
        self.assertIn("make release-check", self.commands("check"))
        self.assertIn("make check", self.commands("check"))

    def test_attests_what_it_publishes(self):
        ((index, step),) = [
            (at, step) for at, step in enumerate(self.jobs["release"]["steps"]) if "attest-build-provenance" in step.get("uses", "")
        ]
        self.assertEqual(step["with"]["subject-path"], "target/dist/*")
        before = "\n".join(each.get("run", "") for each in self.jobs["release"]["steps"][:index])
        after = "\n".join(each.get("run", "") for each in self.jobs["release"]["steps"][index:])
        self.assertIn("make checksums", before)
        self.assertRegex(after, r"gh release create .* target/dist/\*")

    def test_only_the_last_job_may_write(self):
        self.assertEqual(self.workflow["permissions"], {"contents": "read"})
        for name, job in self.jobs.items():
            expected = {"contents": "write", "id-token": "write", "attestations": "write"} if name == "release" else None
            self.assertEqual(job.get("permissions"), expected, name)

    def test_no_command_contains_an_expression(self):
        # A tag's name would be a part of the command.
        for job, step in steps(self.jobs):
            self.assertNotIn("${{", step.get("run", ""), job)


class Image(unittest.TestCase):
    def test_starts_the_function_on_any_base(self):
        lines = ROOT.joinpath("deploy/Dockerfile").read_text(encoding="utf-8").splitlines()
        self.assertTrue(any(re.fullmatch(r"ARG BASE=[\w/-]+:al2023", line) for line in lines), "a short name of the base image")
        self.assertIn("FROM ${BASE}", lines)
        self.assertIn("COPY bootstrap /var/task/bootstrap", lines)
        self.assertIn('ENTRYPOINT ["/var/task/bootstrap"]', lines)


if __name__ == "__main__":
    unittest.main()
