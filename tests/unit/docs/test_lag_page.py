"""The page of lag compensation: its members and its example, as the clock computes them."""

import pytest
from pydantic import BaseModel

from synckairos.clock.clock_systems import Bronstein, Delay, Fischer, PerMove, SuddenDeath
from synckairos.clock.lag_compensation import compensate_lag, limit_lag_claim, open_lag_account
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.stages import Stage, Stages
from synckairos.wire.session_view import LagView, ReceiptView
from tests.unit.docs.event_runs import A
from tests.unit.docs.pages import Row, code_words, read_page, table_after

PAGE = read_page("lag-compensation.md")


@pytest.mark.parametrize(("heading", "model"), [("## Account", LagView), ("## Receipt", ReceiptView)])
def test_page_lists_each_member(heading: str, model: type[BaseModel]) -> None:
    assert [code_words(row["member"])[0] for row in table_after(PAGE, heading)] == list(model.model_fields)


def test_page_has_the_gain_of_each_clock_system() -> None:
    examples = {
        "sudden death": {open_lag_account(SuddenDeath(), 60_000)},
        "Fischer, stages": {
            open_lag_account(system, 60_000) for system in (Fischer(2_000), Stages((Stage(None, 0, 2_000),)))
        },
        "Bronstein, delay": {open_lag_account(system, 60_000) for system in (Bronstein(1_000), Delay(1_000))},
        "per move": {open_lag_account(PerMove(1_000), 0)},
        "Canadian": {open_lag_account(Canadian(10, 30_000), 0)},
        "byo-yomi": {open_lag_account(Byoyomi(5, 30_000), 0)},
    }
    gains = {row["system"]: row["`gain_ms`"] for row in table_after(PAGE, "### Gain by clock system")}
    assert gains == {name: f"{account.gain_ms:,}" for name, (account,) in examples.items()}


@pytest.mark.parametrize("row", table_after(PAGE, "## Example"), ids=lambda row: row["measured"])
def test_example_is_what_the_clock_computes(row: Row) -> None:
    account = open_lag_account(SuddenDeath(), 180_000)
    assert (account.quota_ms, account.gain_ms) == (2_610, 870)
    measured_ms = None if row["measured"] == "nothing" else int(row["measured"].removesuffix(" ms").replace(",", ""))
    _, receipt = compensate_lag(account, A, 10_000, limit_lag_claim(3_600_000, measured_ms))
    for name in ("trusted_lag_ms", "compensated_ms", "charged_ms", "quota_left_ms"):
        assert f"{getattr(receipt, name):,}" == row[f"`{name}`"]
