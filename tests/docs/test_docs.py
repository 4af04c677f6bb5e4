"""Tests of the scripts that make and check the documentation. Run by `make docs`. Standard library only."""

import re
import tempfile
import tomllib
import unittest
from pathlib import Path

import links
import settings_page


class SettingsPage(unittest.TestCase):
    DEFAULTS = """# The head.

# How often.
# https://example.com/often
refresh_secs = 60

[a]
# (fixed) One or { x = 1 }.
first = "1"
second = 2
third = 3

[a.table]
# Names to fields.
"""

    def test_has_each_key_with_its_comment_its_default_and_its_variable(self):
        text = settings_page.page(self.DEFAULTS, {"p": "", "q": "[a]\nsecond = 3\n"})
        for part in (
            "### refresh_secs\n\nDefault: `60`. Variable: `CONTACT_SYNC__REFRESH_SECS`.\n\nHow often. <https://example.com/often>\n",
            "### a.first\n\nDefault: `\"1\"`. Variable: `CONTACT_SYNC__A__FIRST`.\n\n**Fixed.** One or `{ x = 1 }`.\n",
            "### a.second\n\nDefault: `2`. Variable: `CONTACT_SYNC__A__SECOND`.\n\nSee `a.first`.\n",
            "### a.third\n\nDefault: `3`. Variable: `CONTACT_SYNC__A__THIRD`.\n\nSee `a.first`.\n",
            "### a.table\n\nA table, empty by default.\n\nNames to fields.\n",
            "| key | default | `q` |\n",
            "| `a.second` | `2` | `3` |\n",
            "`p` changes none of them.\n",
        ):
            self.assertIn(part, text)
        self.assertNotIn("The head", text)

    def test_refuses_lines_that_it_cannot_read_and_keys_without_a_comment(self):
        for text, word in (("# x\nlist = [\n1]\n", "1]"), ("# x\nb.c = 1\n", "b.c"), ("[a]\nb = 1\n", "no comment")):
            with self.assertRaisesRegex(ValueError, word):
                settings_page.page(text, {"p": ""})

    def test_refuses_a_preset_of_unknown_keys(self):
        with self.assertRaises(ValueError):
            settings_page.page(self.DEFAULTS, {"p": "[a]\nfourth = 4\n"})

    def test_has_every_key_of_the_defaults(self):
        text = settings_page.current()
        keys, _ = settings_page.parse(settings_page.defaults())
        self.assertGreater(len(keys), 40)
        for key in keys:
            self.assertIn(f"\n### {key.path}\n", text)


class Links(unittest.TestCase):
    def found(self, files, check):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder).resolve()
            for name, text in files.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return [sentence for path in sorted(files) for sentence in check(root, root / path)]

    def in_markdown(self, files):
        return self.found(files, lambda root, path: links.in_markdown(path, root) if path.suffix == ".md" else [])

    def test_of_markdown_that_lead_somewhere_are_accepted(self):
        self.assertEqual(self.in_markdown({
            "README.md": "# A\n\n[b](docs/b.md#the-b-of-it) [here](#a) [out](https://example.com/x) `src/lib.rs` `src/<name>`\n",
            "docs/b.md": "## The `b` of it\n\n```\n# no heading\n[x](nowhere.md)\n```\n[up](../README.md)\n",
            "src/lib.rs": "",
        }), [])

    def test_of_markdown_that_lead_nowhere_are_reported(self):
        found = self.in_markdown({
            "README.md": "[a](gone.md) [b](docs/b.md#gone) [c](#gone) [d](../outside.md) `src/gone.rs`\n",
            "docs/b.md": "```\n# gone\n```\n",
        })
        self.assertEqual(len(found), 5, found)

    def in_site(self, files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return list(links.in_site(Path(folder)))

    def test_of_a_site_that_lead_somewhere_are_accepted(self):
        self.assertEqual(self.in_site({
            "index.html": '<a href="a/b.html#x">b</a><a href="https://example.com">out</a><img src="a/i.svg">',
            "a/b.html": '<h1 id="x"></h1><link rel="canonical" href="https://example.com/"><a href="#x">x</a>',
            "a/i.svg": "",
        }), [])

    def test_of_a_site_that_lead_nowhere_or_load_from_elsewhere_are_reported(self):
        found = self.in_site({
            "index.html": '<h2 id="1-digit"></h2><a href="gone.html">a</a><a href="#gone">b</a><img src="gone.svg">'
                          '<script src="https://example.com/x.js"></script><link rel="stylesheet" href="//example.com/x.css">',
            "x.css": "@import url(https://example.com/f.css); a { background: url('//example.com/i.png') }",
        })
        self.assertEqual(len(found), 8, found)


class Reference(unittest.TestCase):
    ROOT = links.ROOT

    def page(self, name):
        return self.ROOT.joinpath("docs", "reference", name).read_text(encoding="utf-8")

    def source(self):
        """Returns the text of all sources. A string that is broken by a backslash is one line."""
        text = "".join(path.read_text(encoding="utf-8") for path in sorted(self.ROOT.joinpath("src").rglob("*.rs")))
        return re.sub(r"\\\n\s*", "", text)

    def test_names_messages_that_the_function_logs(self):
        page = self.page("log-fields.md")
        tables = re.findall(r"(?m)^\| message \|.*\n\|.*\n((?:\|.*\n)+)", page)
        messages = re.findall(r"(?m)^\| (?:``(.+?)``|`([^`]+)`)", "".join(tables))
        self.assertGreater(len(messages), 25)
        source = self.source()
        missing = [text for pair in messages if f'"{(text := (pair[0] or pair[1]).strip())}"' not in source]
        self.assertEqual(missing, [])


class Figures(unittest.TestCase):
    """Blocks that `make bench` writes into the report and into a page."""

    BLOCK = re.compile(r"(?s)<!-- (\w+): written by `make bench` -->\n(.*?)\n<!-- end of \1 -->")

    def blocks(self, path):
        return dict(self.BLOCK.findall(path.read_text(encoding="utf-8")))

    def test_of_the_pages_are_those_of_the_report(self):
        reported = self.blocks(links.ROOT / "benches" / "report.md")
        shown = {}
        for page in sorted(links.ROOT.joinpath("docs").rglob("*.md")):
            shown |= self.blocks(page)
        self.assertEqual(sorted(shown), ["cost", "figures", "lag"])
        self.assertEqual(shown, reported)

    def test_of_the_plots_are_those_of_the_report(self):
        for name in ("lag.svg", "cost.svg"):
            shown = links.ROOT.joinpath("docs", "diagrams", name).read_bytes()
            self.assertEqual(shown, links.ROOT.joinpath("benches", name).read_bytes(), name)

    def test_are_of_the_prices_that_are_listed(self):
        prices = tomllib.loads(links.ROOT.joinpath("benches", "prices.toml").read_text(encoding="utf-8"))
        cost = self.blocks(links.ROOT / "benches" / "report.md")["cost"]
        self.assertIn(prices["read"], cost)
        for name, price in prices["price"].items():
            self.assertIn(f"[{price['unit']}]({price['source']})", cost, name)


if __name__ == "__main__":
    unittest.main()
