"""Writes examples.tsv: the example numbers of libphonenumber, from its Python port `phonenumbers`.

A line is a region, a number as it is written in the region, as it is written abroad, and in E.164.
Needs the package `phonenumbers` (Apache-2.0).
"""

from pathlib import Path

import phonenumbers
from phonenumbers import PhoneNumberFormat as Form
from phonenumbers import PhoneNumberType as Type

TABLE = Path(__file__).with_name("examples.tsv")
TYPES = [Type.FIXED_LINE, Type.MOBILE, Type.TOLL_FREE, Type.UAN]
FORMS = [Form.NATIONAL, Form.INTERNATIONAL, Form.E164]


def examples():
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in TYPES:
            if number := phonenumbers.example_number_for_type(region, kind):
                yield [region, *(phonenumbers.format_number(number, form) for form in FORMS)]


def main():
    lines = dict.fromkeys("\t".join(line) for line in examples())
    head = f"# Written by make_examples.py from phonenumbers {phonenumbers.__version__}."
    TABLE.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
