"""Makes the files of a release. Python 3 and its standard library only.

    release.py check TAG                 exit 1 unless TAG is the version of Cargo.toml and a dated section of CHANGELOG.md
    release.py notes TAG                 print that section
    release.py zip BOOTSTRAP ZIP         zip a built function as Lambda takes it
    release.py tar ARCHIVE FILE…         pack the operator's tool, its completions and its man pages
    release.py checksums FOLDER          write SHA256SUMS of the folder's files into it
"""

import hashlib
import io
import re
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUMS = "SHA256SUMS"
# The same input gives the same bytes: archives have no time of their own. It is the earliest that a zip holds.
EPOCH = (1980, 1, 1, 0, 0, 0)
EXECUTABLE = 0o100755


def version(cargo):
    """Returns the workspace's version."""
    return tomllib.loads(cargo)["workspace"]["package"]["version"]


def section(changelog, number):
    """Returns the heading and the text of a version's section; None without one."""
    found = re.search(rf"(?ms)^(## \[{re.escape(number)}\][^\n]*)\n(.*?)(?=^## \[|\Z)", changelog)
    return found and (found[1], found[2].strip() + "\n")


def complaints(tag, cargo, changelog):
    """Yields each reason not to release `tag`."""
    number = tag.removeprefix("v")
    if tag == number or version(cargo) != number:
        yield f"the tag {tag} is not v{version(cargo)}, the version of Cargo.toml"
    found = section(changelog, number)
    if found is None:
        yield f"CHANGELOG.md has no section [{number}]"
    elif not re.search(r" - \d{4}-\d\d-\d\d$", found[0]):
        yield f"the section [{number}] of CHANGELOG.md has no date: {found[0]}"
    elif found[1].isspace():
        yield f"the section [{number}] of CHANGELOG.md is empty"


def zip_function(content):
    """Returns the zip of a function's executable."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        entry = zipfile.ZipInfo("bootstrap", EPOCH)
        entry.external_attr = EXECUTABLE << 16
        entry.create_system = 3
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, content)
    return target.getvalue()


def tar_files(archive, files):
    """Packs files without their folders; a folder is packed under its own name."""
    def entry(info):
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(archive, "w:gz") as target:
        for path in map(Path, files):
            target.add(path, arcname=path.name, filter=entry)


def checksums(folder):
    """Returns the text of SHA256SUMS, in the form of `sha256sum`."""
    files = sorted(path for path in Path(folder).iterdir() if path.is_file() and path.name != SUMS)
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


def check(tag):
    cargo, changelog = (ROOT.joinpath(name).read_text(encoding="utf-8") for name in ("Cargo.toml", "CHANGELOG.md"))
    found = list(complaints(tag, cargo, changelog))
    for complaint in found:
        print(f"release: {complaint}", file=sys.stderr)
    return 1 if found else 0


def notes(tag):
    _, text = section(ROOT.joinpath("CHANGELOG.md").read_text(encoding="utf-8"), tag.removeprefix("v"))
    print(text, end="")
    return 0


def main(arguments):
    match arguments:
        case ["check", tag]:
            return check(tag)
        case ["notes", tag]:
            return notes(tag)
        case ["zip", bootstrap, target]:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(target).write_bytes(zip_function(Path(bootstrap).read_bytes()))
            return 0
        case ["tar", target, first, *rest]:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            tar_files(target, [first, *rest])
            return 0
        case ["checksums", folder]:
            Path(folder, SUMS).write_text(checksums(folder), encoding="utf-8", newline="\n")
            return 0
    print(__doc__.strip(), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
