"""Writes docs/reference/settings.md from the defaults and the presets: those in src/settings, and those of each system.

    settings_page.py            write the page
    settings_page.py --check    exit 1 where the page differs from its sources

A defaults.toml is the documentation of its keys: the comment in front of a key is the key's text. Its lines have one of
four forms (a section, a comment, a key with a value on one line, a blank), so that no TOML parser is needed. Python 3
and its standard library only.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "src" / "settings"
ADAPTERS = ROOT / "src" / "adapters"
# The section before which the sections of the systems are, as in src/settings/built_in.rs.
AFTER_SYSTEMS = "[dead_letter]"
PAGE = ROOT / "docs" / "reference" / "settings.md"
PRESETS = ("production", "staging", "high-throughput", "local", "test")

HEAD = """<!-- Made by tests/docs/settings_page.py from the defaults.toml and the presets of src/settings and of each system in src/adapters.
Edit those, then run it. -->

# Settings

`src/settings/defaults.toml`, and for the sections of the systems the `defaults.toml` in their folders of `src/adapters/`, are
the source of this page: their comments document every key.

## Layers

A later layer replaces keys of an earlier one:

1. the defaults on this page
2. a preset, named by `CONTACT_SYNC_PRESET`
3. a TOML document, named by `CONTACT_SYNC_CONFIG`
4. the environment

| variable | value |
| --- | --- |
| `CONTACT_SYNC_PRESET` | {presets} |
| `CONTACT_SYNC_CONFIG` | the document: `file:PATH` or `ssm:PARAMETER-NAME`. It is read again while running |
| `CONTACT_SYNC_TASK` | `sync` (default), or `doctor`: the function of the [scheduled checks](../operate/alarms/doctor.md) |
| `CONTACT_SYNC__SECTION__KEY` | one setting as a TOML value, e.g. `CONTACT_SYNC__HUBSPOT__BATCH_SIZE=50` |

Tables are merged key by key; lists are replaced. A variable's name is read in lower case. Set a key with capitals in the
document or by a table, such as `CONTACT_SYNC__SALESFORCE__ATTRIBUTES={{ Plan = "Plan__c" }}`. Blanks and line ends around a
text do not count.

A changed document takes effect as a whole, from the next invocation on. It delays no invocation, and keeps the rate
limiters, circuit breakers and tokens that it does not concern. A key marked **fixed** is read at start only: its change
is refused with a warning and takes effect with the next deployment.

A wrong key or value ends the start with one line that names each mistake, its place and the allowed values:
``the file settings.toml, line 2: `hubspot.batch_size` is 101; allowed: 1 to 100``.
[`contact-sync-admin settings --check`](../operate/operators-tool.md) reports the mistakes of a document before it is in
force, and the key that a misspelt one is nearest to. It also compares the mapping with both
systems.
"""


class Key:
    """A key of a section, with its comment."""

    def __init__(self, section, name, value, comment):
        self.section, self.name, self.value, self.comment = section, name, value, comment

    @property
    def path(self):
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def variable(self):
        return "CONTACT_SYNC__" + self.path.replace(".", "__").upper()


def parse(text):
    """Returns the keys in their order, and the comments of sections without keys by their name."""
    keys, comments, section, comment = [], {}, "", []
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.fullmatch(r"\[([\w.]+)\]", line):
            section, comment = match[1], []
        elif line.startswith("#"):
            comment.append(line[1:].strip())
            comments[section] = list(comment)
        elif match := re.fullmatch(r"(\w+) = (\S.*)", line):
            keys.append(Key(section, match[1], match[2], comment))
            comments.pop(section, None)
            comment = []
        elif not line:
            # The head of the file is about no key.
            comment = []
            comments.pop("", None)
        else:
            raise ValueError(f"line {number} has none of the forms that this page is made of: {line}")
    return keys, comments


def prose(comment):
    """Returns a comment as Markdown: its lines joined, and links of its addresses."""
    text = " ".join(comment)
    text = re.sub(r"(?<!`)\bhttps://[^\s)]+[^\s).,]", r"<\g<0>>", text)
    text = re.sub(r"\{[^{}]*\}(?=[\s.,:;)]|$)", lambda match: f"`{match[0]}`", text)
    return re.sub(r"^\(fixed\) ", "**Fixed.** ", text)


def page(defaults, presets):
    """Returns the page of these defaults and these presets, by name."""
    keys, comments = parse(defaults)
    of_presets = {name: {key.path: key.value for key in parse(text)[0]} for name, text in presets.items()}
    names = ", ".join(f"`{name}`{' (default)' if at == 0 else ''}" for at, name in enumerate(presets))
    parts = [HEAD.format(presets=names)]
    sections = {}
    for key in keys:
        sections.setdefault(key.section, []).append(key)
    tables = dict(comments)
    for section, of_section in sections.items():
        parts.append(f"\n## {section or 'Top level'}\n")
        described = None
        for key in of_section:
            described = key if key.comment else described
            parts.append(entry(key, described))
        for name in [name for name in tables if name.startswith(f"{section}.")]:
            parts.append(f"\n### {name}\n\nA table, empty by default.\n\n{prose(tables.pop(name))}\n")
    if tables:
        raise ValueError(f"sections without a place on the page: {sorted(tables)}")
    parts.append(table(keys, of_presets))
    return "".join(parts)


def entry(key, described):
    """Returns the part of a key. A key without a comment of its own shares that of `described`."""
    if described is None:
        raise ValueError(f"{key.path} has no comment")
    text = prose(key.comment) if key.comment else f"See `{described.path}`."
    return f"\n### {key.path}\n\nDefault: `{key.value}`. Variable: `{key.variable}`.\n\n{text}\n"


def table(keys, of_presets):
    """Returns the table of what each preset changes."""
    rows = ["\n## Presets\n\nEach preset replaces these defaults. The files in the folders `presets` hold the reasons.\n\n"]
    names = [name for name in of_presets if of_presets[name]]
    unchanged = [f"`{name}`" for name in of_presets if not of_presets[name]]
    rows.append(f"| key | default | {' | '.join(f'`{name}`' for name in names)} |\n")
    rows.append("| --- | --- |" + " --- |" * len(names) + "\n")
    known = {key.path for key in keys}
    for name in names:
        if unknown := of_presets[name].keys() - known:
            raise ValueError(f"the preset {name} sets what has no default: {sorted(unknown)}")
    for key in keys:
        if any(key.path in of_presets[name] for name in names):
            values = [f"`{of_presets[name][key.path]}`" if key.path in of_presets[name] else "" for name in names]
            rows.append(f"| `{key.path}` | `{key.value}` | {' | '.join(values)} |\n")
    if unchanged:
        rows.append(f"\n{', '.join(unchanged)} changes none of them.\n")
    return "".join(rows)


def systems():
    """Returns the names of the systems in the order of the registry."""
    registry = (ADAPTERS / "registry.rs").read_text(encoding="utf-8")
    return re.findall(r"(\w+)::SYSTEM\b", registry)


def text(path):
    return path.read_text(encoding="utf-8") if path.exists() else ""


def defaults():
    """Returns the defaults of all sections, as the function joins them."""
    before, header, after = text(SETTINGS / "defaults.toml").partition(AFTER_SYSTEMS)
    sections = [text(ADAPTERS / system / "defaults.toml") + "\n" for system in systems()]
    return before + "".join(sections) + header + after


def preset(name):
    """Returns the differences of a preset from the defaults, as the function joins them."""
    folders = [SETTINGS, *(ADAPTERS / system for system in systems())]
    return "\n".join(text(folder / "presets" / f"{name}.toml") for folder in folders)


def current():
    return page(defaults(), {name: preset(name) for name in PRESETS})


def main(arguments):
    if arguments not in ([], ["--check"]):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    made = current()
    if not arguments:
        PAGE.write_text(made, encoding="utf-8", newline="\n")
        return 0
    if text(PAGE) != made:
        print("docs/reference/settings.md is not current: run tests/docs/settings_page.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
