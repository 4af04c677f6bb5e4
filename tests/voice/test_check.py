"""Tests of the voice check: `python3 -m unittest discover --start-directory tests/voice`."""

import unittest

import check


def measured(text: str) -> check.Measures:
    """Returns the measures of one file with this text."""
    measures = check.Measures()
    check.measure("a.rs", text, measures)
    return measures


class VoiceTest(unittest.TestCase):
    def test_a_doc_begins_with_a_verb_in_the_third_person(self):
        for doc, expected in [
            ("Returns the size.", True),
            ("Records the outcome.", True),
            ("Records of one call.", False),
            ("The size.", False),
            ("Whether it is open.", False),
            ("Always true.", False),
            ("Access to it.", False),
            ("Is open.", False),
            ("", False),
        ]:
            self.assertEqual(check.begins_with_verb(doc), expected, doc)

    def test_the_first_line_of_a_functions_doc_counts_and_no_other_items(self):
        measures = measured(
            "/// The size.\n/// Returns it.\n#[must_use]\npub(crate) const fn size() {}\n"
            "/// Returns the name.\n    async fn name() {}\n"
            "/// The place.\nstruct Place;\n"
            "fn without() {}\n"
        )
        self.assertEqual((measures.functions, measures.verb_first), (2, 1))
        self.assertEqual(measures.other_docs, ["a.rs:4"])
        self.assertEqual(len(measures.misses()), 1)

    def test_indirect_words_count_in_comments_and_not_in_code(self):
        measures = measured(
            "//! Whoever reads what `who` is told: https://example.com/what\nlet what = 1; // tell\n// Tells.\n"
        )
        words = [place.split("(")[1] for place in measures.indirect]
        self.assertEqual(words, ["Whoever)", "what)", "told)", "Tells)"])
        self.assertEqual(measures.words, 6)

    def test_a_line_has_at_most_a_hundred_columns(self):
        self.assertEqual(measured("x" * 100 + "\n" + "é" * 100).wide, [])
        self.assertEqual(measured("\n" + "x" * 101).wide, ["a.rs:2"])
        url = "https://example.com/" + "x" * 100
        self.assertEqual(measured(f"    /// <{url}>\n    /// See {url}").wide, ["a.rs:2"])

    def test_an_empty_tree_misses_nothing(self):
        self.assertEqual(check.Measures().misses(), [])


if __name__ == "__main__":
    unittest.main()
