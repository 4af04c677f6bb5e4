"""Holds the voice of the Rust sources: `python3 tests/voice/check.py [ROOT]`, a part of `make lint`.

Prints three measures of the library, the operator's tool and the test kit, and exits with 1 where
one misses its goal:

- share of function docs that begin with a verb in the third person ("Returns", "Splits");
- words that stand for a thing without its name ("what", "somebody", "tells"), per 1,000 words of
  comment;
- lines over 100 columns, but for those that are one URL.
"""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

FOLDERS = ("src", "admin", "testkit")
LEAST_VERB_FIRST = 75.0
MOST_INDIRECT = 1.0
MOST_COLUMNS = 100

INDIRECT = frozenset(
    "what whatever who whom whoever whomever somebody someone anybody anyone nobody "
    "say says said tell tells told speak speaks spoke".split()
)
# They end in "s" and are no verbs.
NO_VERBS = frozenset(
    "Always Its Less Others Perhaps Sometimes This Thus Was Does Has Is Across Besides Towards".split()
)
# Nouns and verbs alike: a verb where an article or a number follows.
EITHER = frozenset(
    "Answers Calls Changes Checks Codes Counts Fields Limits Marks Names Orders Parts Places Records "
    "Reports Requests Results Rows Sorts Times Values Works Writes".split()
)
DETERMINERS = frozenset("a all an another any both each every how its no one that the these this two where whether".split())

FUNCTION = re.compile(
    r"\s*(?:pub(?:\([^)]*\))? )?(?:default )?(?:const )?(?:async )?(?:unsafe )?(?:extern \"C\" )?fn \w"
)
COMMENT = re.compile(r"\s*//[/!]?(.*)")
URL_LINE = re.compile(r"\s*//[/!]? <?https?://\S+")
CODE = re.compile(r"`[^`]*`|https?://\S+")


@dataclass
class Measures:
    """Counts of one set of files."""

    functions: int = 0
    verb_first: int = 0
    words: int = 0
    indirect: list[str] = field(default_factory=list)
    wide: list[str] = field(default_factory=list)
    other_docs: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Returns the share of function docs that begin with a verb, in percent."""
        return 100 * self.verb_first / self.functions if self.functions else 100.0

    @property
    def rate(self) -> float:
        """Returns the indirect words per 1,000 words of comment."""
        return 1000 * len(self.indirect) / self.words if self.words else 0.0

    def misses(self) -> list[str]:
        """Returns each goal that is missed, with the places."""
        found = []
        if self.share < LEAST_VERB_FIRST:
            found.append(f"function docs that do not begin with a verb: {', '.join(self.other_docs)}")
        if self.rate > MOST_INDIRECT:
            found.append(f"indirect words: {', '.join(self.indirect)}")
        if self.wide:
            found.append(f"lines over {MOST_COLUMNS} columns: {', '.join(self.wide)}")
        return found


def begins_with_verb(doc: str) -> bool:
    """Returns whether a doc comment begins with a verb in the third person."""
    first, second = (doc.split() + ["", ""])[:2]
    if not re.fullmatch(r"[A-Z][a-z]+s", first) or first in NO_VERBS or first.endswith("ss"):
        return False
    return first not in EITHER or second.strip(",.").lower() in DETERMINERS


def measure(name: str, text: str, into: Measures) -> None:
    """Adds the counts of one file."""
    doc = ""
    in_doc = False
    for number, line in enumerate(text.splitlines(), start=1):
        place = f"{name}:{number}"
        if len(line) > MOST_COLUMNS and not URL_LINE.fullmatch(line):
            into.wide.append(place)
        comment = COMMENT.match(line)
        if comment:
            words = re.findall(r"[A-Za-z][A-Za-z'-]*", CODE.sub(" ", comment[1]))
            into.words += len(words)
            into.indirect += [f"{place} ({word})" for word in words if word.lower() in INDIRECT]
        if line.lstrip().startswith("///"):
            doc = doc if in_doc else line.lstrip()[3:].strip()
            in_doc = True
        elif line.lstrip().startswith("#["):
            continue
        else:
            if doc and FUNCTION.match(line):
                into.functions += 1
                if begins_with_verb(doc):
                    into.verb_first += 1
                else:
                    into.other_docs.append(place)
            doc, in_doc = "", False


def measure_tree(root: Path) -> Measures:
    """Measures every Rust file of the folders below `root`."""
    measures = Measures()
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.rs")):
            name = path.relative_to(root).as_posix()
            measure(name, path.read_text(encoding="utf-8"), measures)
    return measures


def main() -> int:
    """Prints the measures, and the places of each goal that is missed."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2]
    measures = measure_tree(root)
    print(
        f"voice: {measures.share:.0f} % of {measures.functions} function docs begin with a verb, "
        f"{measures.rate:.2f} indirect words per 1,000 of {measures.words}, "
        f"{len(measures.wide)} lines over {MOST_COLUMNS} columns"
    )
    for miss in measures.misses():
        print(f"voice: {miss}", file=sys.stderr)
    return 1 if measures.misses() else 0


if __name__ == "__main__":
    sys.exit(main())
