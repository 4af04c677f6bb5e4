"""Writes places.tsv, the countries and subdivisions of ISO 3166, from the npm packages in SOURCES.

    make_places.py           write the table
    make_places.py --check   exit 1 where the table differs from its sources

A line is a country (`DE`, `DEU`, name, further names) or a subdivision (`DE-BY`, name, further
names), separated by tabs. The name is the English one. Where two places have the same name, the
earlier column has precedence, then the earlier line. Needs npm and the registry; Python 3 and its
standard library only.
"""

import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

# Common names of the Unicode CLDR (Unicode-3.0), official names of ISO (MIT).
SOURCES = {
    "core": "cldr-core@48.2.0",
    "countries": "cldr-localenames-full@48.2.0",
    "subdivisions": "cldr-subdivisions-full@48.2.0",
    "iso": "iso-3166@4.4.0",
}
TABLE = Path(__file__).with_name("places.tsv")
LICENCES = Path(__file__).with_name("places.LICENSE.txt")

# Where the CLDR's name is a mistake, or one that nobody writes into an address.
NAMES = {
    "CD": "Democratic Republic of the Congo", "CG": "Republic of the Congo", "HK": "Hong Kong",
    "MM": "Myanmar", "MO": "Macao", "PS": "Palestine", "FR-IDF": "Île-de-France",
    "GB-PTE": "Peterborough", "IR-00": "Markazi",
    "MX-CMX": "Ciudad de México", "US-DC": "District of Columbia",
}
# Names and codes of everyday use that neither source has.
OTHERS = {
    "AE": ["UAE"], "CD": ["DR Congo", "DRC"], "CZ": ["Czech Republic"], "FI": ["Suomi"],
    "GB": ["Great Britain", "Britain", "England", "Scotland", "Wales", "Northern Ireland"],
    "GR": ["EL", "Hellas"], "KR": ["Republic of Korea"], "MK": ["Macedonia"], "NL": ["Holland"],
    "RU": ["Russian Federation"], "VA": ["Vatican", "Holy See"],
    "CA-QC": ["Quebec"], "MX-CMX": ["Mexico City", "Distrito Federal", "CDMX"],
    "US-DC": ["Washington DC", "Washington D.C."],
}
# Names of two countries.
AMBIGUOUS = ["Congo", "St Martin", "Virgin Islands"]
# Kosovo, which ISO 3166 does not list, has codes that the standard leaves to its users.
KOSOVO = ("XK", "XKX", "Kosovo")
ENTRY = re.compile(r"\{([^{}]*)\}")
MEMBER = re.compile(r"""(\w+): (?:'((?:[^'\\]|\\.)*)'|"([^"]*)")""")


class Sources:
    """The files of the packages."""

    def __init__(self, folder):
        self.folder = Path(folder)
        for key, package in SOURCES.items():
            command = ["npm", "pack", "--silent", package]
            packed = subprocess.check_output(command, cwd=folder, text=True)
            with tarfile.open(self.folder / packed.strip()) as archive:
                archive.extractall(self.folder / key, filter="data")

    def text(self, key, path):
        return (self.folder / key / "package" / path).read_text(encoding="utf-8")

    def json(self, key, path):
        try:
            return json.loads(self.text(key, path))
        except FileNotFoundError:
            return None

    def iso(self, path):
        """Returns the objects of a module of `iso-3166`."""
        for entry in ENTRY.finditer(self.text("iso", path).split("export const", 1)[1]):
            members = MEMBER.findall(entry.group(1))
            yield {key: (one or two).replace("\\'", "'") for key, one, two in members}

    def display_names(self, language):
        names = self.json("countries", f"main/{language}/territories.json")
        return names["main"][language]["localeDisplayNames"]["territories"] if names else {}


def plain(name):
    """Returns a name in the form in which people type it."""
    name = name.replace("’", "'").replace("–", "-").replace(" & ", " and ")
    return re.sub(r"^St\. ", "Saint ", name).strip()


def official(name):
    """Returns a name of ISO, also without the part in parentheses."""
    name = plain(name)
    return [name, re.sub(r"\s*\(.*?\)", "", name)]


def turned(name):
    """Returns `Korea, Republic of` as `Republic of Korea`."""
    first, _, rest = name.partition(", ")
    return f"{rest} {first}" if re.search(r" of( the)?$", rest) else name


def countries(sources):
    english = sources.display_names("en")
    info = sources.json("core", "supplemental/territoryInfo.json")["supplemental"]["territoryInfo"]
    listed = [(one["alpha2"], one["alpha3"], one["name"]) for one in sources.iso("1.js")] + [KOSOVO]
    for code, alpha3, iso_name in sorted(listed):
        name = NAMES.get(code) or plain(english[code])
        others = [plain(text) for key, text in english.items() if key.split("-alt-")[0] == code]
        others += [re.sub("^Saint ", "St ", name), *official(iso_name), turned(plain(iso_name))]
        others += OTHERS.get(code, [])
        for language, use in info.get(code, {}).get("languagePopulation", {}).items():
            if use.get("_officialStatus") in ("official", "de_facto_official"):
                own = sources.display_names(language.replace("_", "-")).get(code)
                others += [plain(own)] if own and own != code else []
        yield [code, alpha3, name, *without(others, [code, alpha3, name, *AMBIGUOUS])]


def subdivisions(sources):
    common = sources.json("subdivisions", "subdivisions/en/en.json")
    common = common["subdivisions"]["localeDisplayNames"]["subdivisions"]
    common = {f"{key[:2]}-{key[2:]}".upper(): value for key, value in common.items()}
    # The upper ones first: they have precedence.
    for one in sorted(sources.iso("2.js"), key=lambda one: ("-" in one["parent"], one["code"])):
        code = one["code"]
        forms = official(one["name"])
        name = NAMES.get(code) or plain(common.get(code) or forms[1])
        # `Bolzano, Bozen` are two names, of `Madrid, Comunidad de` the first part is one.
        forms += [*OTHERS.get(code, []), forms[1].split(", ")[0]]
        yield [code, name, *without(forms, [name])]


def without(names, known):
    """Returns the names that are not known, each once."""
    return [name for name in dict.fromkeys(names) if name and name not in known]


def table(sources):
    own = [f"# Written by make_places.py from {', '.join(SOURCES.values())}."]
    own.append("# Licences: places.LICENSE.txt")
    parts = list(subdivisions(sources))
    for country in countries(sources):
        own.append("\t".join(country))
        own += ["\t".join(part) for part in parts if part[0].startswith(f"{country[0]}-")]
    return "\n".join(own) + "\n"


def main():
    with tempfile.TemporaryDirectory() as folder:
        sources = Sources(folder)
        licences = [sources.text("core", "LICENSE"), sources.text("iso", "license")]
        written = {TABLE: table(sources), LICENCES: "\n".join(licences)}
    if "--check" in sys.argv[1:]:
        stale = [path.name for path in written if path.read_text(encoding="utf-8") != written[path]]
        print("\n".join(f"{name} differs from its sources" for name in stale), file=sys.stderr)
        return 1 if stale else 0
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
