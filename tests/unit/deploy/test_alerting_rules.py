"""The rules for Prometheus, their tests with promtool, and the runbook of each alert."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.prometheus import DEPLOY, RULES, AlertingRule, load_alerting_rules, metrics_in, rule_expressions
from tests.unit.deploy.runbook_index import PAGE, render
from tests.unit.docs.metrics_page import load_catalogue
from tests.unit.docs.pages import DOCUMENTS

ROOT = DOCUMENTS.parent
TESTS = sorted(RULES.parent.glob("*.test.yml"))
ALERTS = {rule.alert: rule for rule in load_alerting_rules()}
HEADINGS = ["What it means", "How to look", "What to do", "How to know that it is over"]


def run_promtool(*arguments: str | Path) -> str:
    """Run promtool, and return its output. Fails if promtool finds a fault."""
    program = shutil.which("promtool")
    assert program is not None, "promtool is missing: make tools"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def panels() -> dict[str, dict[int, str]]:
    """Return the titles of the panels of each dashboard, by the uid of the dashboard and the id of the panel."""
    documents = [json.loads(path.read_text()) for path in (DEPLOY / "grafana").glob("*.json")]
    return {each["uid"]: {panel["id"]: panel["title"] for panel in each["panels"]} for each in documents}


def test_rules_are_valid() -> None:
    assert "SUCCESS" in run_promtool("check", "rules", RULES)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_rules_pass_their_promtool_tests(path: Path) -> None:
    assert "SUCCESS" in run_promtool("test", "rules", path)


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    cases = re.split(r"^  - name: ", "".join(path.read_text() for path in TESTS), flags=re.MULTILINE)[1:]
    names = [re.search(r'alertname="(\w+)"', case) for case in cases]
    found = {(name[1], "exp_samples: []" in case) for name, case in zip(names, cases, strict=True) if name}
    assert found == {(alert, is_silent) for alert in ALERTS for is_silent in (False, True)}


def test_each_burn_rate_has_a_case_in_which_it_is_the_fastest() -> None:
    text = "".join(path.read_text() for path in TESTS)
    for alert in ("SyncKairosCommandsFail", "SyncKairosPressesSlow"):
        cases = [case for case in re.split(r"^  - name: ", text, flags=re.MULTILINE) if f'"{alert}: ' in case]
        fastest = {max(map(float, re.findall(r'burn_rate="([\d.]+)"', case)), default=0.0) for case in cases}
        assert fastest == {0.0, 1.0, 3.0, 6.0, 14.4}


def test_rules_use_only_metrics_of_the_catalogue() -> None:
    catalogue = load_catalogue()
    used = {re.sub(r"_(bucket|count|sum)$", "", name) for name in metrics_in(rule_expressions())}
    assert used - set(catalogue) == set()


def test_rules_combine_metrics_of_the_whole_store_with_max() -> None:
    text = re.sub(r"\s+", " ", rule_expressions())
    for info in load_catalogue().values():
        if info.scope == "store":
            uses = re.findall(rf"([\w ]*(?:\([\w, ]+\) )?\((?:increase\()?){info.name}\b", text)
            assert len(uses) == len(re.findall(rf"\b{info.name}\b", text))
            assert all("max" in use for use in uses), (info.name, uses)


@pytest.mark.parametrize("rule", load_alerting_rules(), ids=lambda rule: rule.alert)
def test_each_rule_names_a_runbook_and_a_panel(rule: AlertingRule) -> None:
    assert rule.severity in ("page", "ticket")
    assert rule.summary
    page = (ROOT / rule.runbook).read_text()
    assert f"`{rule.alert}`" in page
    link = re.fullmatch(r"/d/([\w-]+)\?viewPanel=(\d+)", rule.dashboard)
    assert link is not None
    assert int(link[2]) in panels()[link[1]]


@pytest.mark.parametrize("path", sorted(PAGE.parent.glob("*-*.md")), ids=lambda path: path.stem)
def test_each_runbook_has_its_four_parts_and_names_panels_that_exist(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert re.findall(r"`(SyncKairos\w+)`", text)[0] in ALERTS
    titles = {title for dashboard in panels().values() for title in dashboard.values()}
    named = set(re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", re.sub(r"\s+", " ", text)))
    dashboards = {"Overview", "Sessions and commands", "Realtime", "Audit and jobs", "Stores", "Targets"}
    assert named - titles - dashboards == set()


def test_index_of_the_runbooks_lists_all_rules() -> None:
    assert PAGE.read_text() == render(), "stale: python -m tests.unit.deploy.runbook_index"
