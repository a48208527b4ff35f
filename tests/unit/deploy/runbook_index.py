"""The page `docs/operate/runbooks/README.md`, rendered from the alerting rules.

Run `python -m tests.unit.deploy.runbook_index` to write the file.
"""

from pathlib import PurePosixPath

from tests.prometheus import load_alerting_rules
from tests.unit.docs.pages import DOCUMENTS

PAGE = DOCUMENTS / "operate" / "runbooks" / "README.md"

_HEAD = """# Runbooks

Each alert of [`rules.yml`](../../../deploy/prometheus/rules.yml) has a runbook: what it means, how to look, what to do,
and how to know that it is over. [Prometheus](../prometheus.md#alerting-rules) describes how to install the rules. An
alert with the severity `page` wakes a person now, and a `ticket` is for the next working day.

| alert | severity | meaning |
|---|---|---|
"""


def render() -> str:
    """Return the text of the page."""
    severities: dict[str, list[str]] = {}
    rules = load_alerting_rules()
    for rule in rules:
        found = severities.setdefault(rule.alert, [])
        if rule.severity not in found:
            found.append(rule.severity)
    first = {rule.alert: rule for rule in reversed(rules)}
    links = {alert: f"[`{alert}`]({PurePosixPath(rule.runbook).name})" for alert, rule in first.items()}
    rows = [
        f"| {links[alert]} | {', '.join(found)} | {first[alert].description} |\n" for alert, found in severities.items()
    ]
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(render())
