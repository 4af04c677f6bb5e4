"""Checks the links of the documentation; exit 1 where one leads nowhere.

    links.py          the Markdown files, as a forge shows them
    links.py SITE     those, and the built site in the folder SITE

Markdown: each relative link leads to a file of the repository and to a heading of it, and each path of the repository in
`code` exists. Site: each relative link leads to a file and to an element of it, no anchor begins with a digit, and no page
loads anything from another host. Python 3 and its standard library only.
"""

import html.parser
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
# Folders whose files the pages name in `code`.
FOLDERS = ("admin", "benches", "deploy", "docs", "events", "src", "templates", "tests", ".ci", ".github")
# Elements that a browser loads by itself, with the attribute that names the source.
LOADED = {"img": "src", "script": "src", "source": "src", "iframe": "src", "link": "href", "use": "href"}
# `rel` of links that load nothing.
NOT_LOADED = {"canonical", "prev", "next", "alternate"}


def markdown_files(root=ROOT):
    """Returns the files that a reader meets: those at the top level and those in these folders."""
    found = [*root.glob("*.md")]
    for folder in ("benches", "docs", "events"):
        found += root.joinpath(folder).rglob("*.md")
    return sorted(found)


def without_code(text):
    """Returns Markdown without its fenced blocks."""
    return re.sub(r"(?ms)^( *)```.*?^\1```$", "", text)


def slugs(text):
    """Returns the anchors of the headings, as GitHub makes them and as the site makes them."""
    titles = re.findall(r"(?m)^#+ +(.*?) *$", without_code(text))
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").lower() for title in titles]
    forge = {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}
    site = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip()) for title in plain}
    return forge & site


def in_markdown(path, root=ROOT):
    """Yields a sentence for each link of a Markdown file that leads nowhere."""
    text = without_code(path.read_text(encoding="utf-8"))
    name = path.relative_to(root)
    links = re.sub(r"`[^`]*`", "", text)
    for target in re.findall(r"\]\(<?([^)\s>]+)", links):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        file = path.parent / unquote(parts.path) if parts.path else path
        if not file.exists():
            yield f"{name}: the link {target} leads to no file"
        elif root not in file.resolve().parents:
            yield f"{name}: the link {target} leaves the repository"
        elif parts.fragment and file.suffix == ".md" and parts.fragment not in slugs(file.read_text(encoding="utf-8")):
            yield f"{name}: the link {target} leads to no heading that forge and site name alike"
    for code in re.findall(r"`([^`\n]+)`", text):
        first = code.split("/")[0]
        if "/" in code and first in FOLDERS and re.fullmatch(r"[\w./-]+", code) and not (root / code).exists():
            yield f"{name}: `{code}` is no path of the repository"


class Page(html.parser.HTMLParser):
    """The anchors, links and sources of a built page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loaded = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.update(value for key in ("id", "name") if (value := attributes.get(key)))
        if tag == "a" and (target := attributes.get("href")):
            self.links.append(target)
        if (key := LOADED.get(tag)) and (target := attributes.get(key)):
            if attributes.get("rel") not in NOT_LOADED:
                self.loaded.append(target)


def in_site(site):
    """Yields a sentence for each link of the built site that leads nowhere, and for each source on another host."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        if name.name == "404.html":
            # Its addresses begin at the root of a web server.
            continue
        for anchor in sorted(page.ids):
            if anchor[0].isdigit():
                yield f"{name}: the scripts of the theme cannot select the anchor {anchor}: begin the heading with a letter"
        for target in page.loaded:
            parts = urlsplit(target)
            if parts.netloc:
                yield f"{name}: loads {target} from another host"
            elif not parts.scheme and parts.path and not (path.parent / unquote(parts.path)).exists():
                yield f"{name}: loads {target}, which is not there"
        for target in page.links:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not file.exists():
                yield f"{name}: the link {target} leads to no file"
            elif parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].ids:
                yield f"{name}: the link {target} leads to no element"
    for path in sorted(site.rglob("*.css")):
        for target in re.findall(r"url\(\s*['\"]?(?:https?:)?//[^)]*\)|@import[^;]*//[^;]*;", path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: loads {target} from another host"


def main(arguments):
    if len(arguments) > 1:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    found = [sentence for path in markdown_files() for sentence in in_markdown(path)]
    if arguments:
        found += in_site(Path(arguments[0]))
    for sentence in found:
        print(sentence, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
