"""The page of access rules lists each rule with the values of the table."""

from synckairos.service.access_rules import ACCESS_RULES
from tests.unit.docs.pages import code_words, read_page, tables


def test_page_lists_each_rule_with_its_least_right_and_its_object() -> None:
    (rows,) = tables(read_page("access.md"))
    listed = [(*code_words(row["rule"]), row["least right"], row["object"]) for row in rows]
    assert listed == [
        (verb, rule.least, "–" if rule.scope == "none" else rule.scope) for verb, rule in ACCESS_RULES.items()
    ]
