"""Signals while a command runs its coroutine."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from synckairos.cli import command
from synckairos.cli.exit_codes import ExitCode

SIGNALS = [signal.SIGINT, signal.SIGTERM]


class SignalAtDeletion:
    """Object that sends this process a signal when it is deleted."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def __call__(self) -> None:
        raise AssertionError("the timer must not end")

    def __del__(self) -> None:
        os.kill(os.getpid(), self._number)


def run_interrupted(
    coroutine_function: Callable[[signal.Signals], Coroutine[Any, Any, None]], number: signal.Signals
) -> None:
    """Run a coroutine during which the signal arrives, and check the exception."""
    if number == signal.SIGINT:
        with pytest.raises(KeyboardInterrupt):
            command.run(coroutine_function(number))
    else:
        with pytest.raises(SystemExit) as caught:
            command.run(coroutine_function(number))
        assert caught.value.code == ExitCode.TERMINATED


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_cancels_the_coroutine_until_it_ends(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "CANCEL_AGAIN_S", 0.01)
    swallowed = []

    async def swallows_the_first_cancellation(number: signal.Signals) -> None:
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.append(number)
        await asyncio.Event().wait()

    run_interrupted(swallows_the_first_cancellation, number)
    assert swallowed == [number]


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_that_arrives_while_the_loop_is_closed_is_not_lost(number: signal.Signals) -> None:
    async def leaves_a_timer(number: signal.Signals) -> None:
        asyncio.get_running_loop().call_later(60, SignalAtDeletion(number))

    run_interrupted(leaves_a_timer, number)


@pytest.mark.parametrize("number", SIGNALS)
def test_handlers_from_before_are_restored(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    async def installs_a_handler() -> None:
        asyncio.get_running_loop().add_signal_handler(number, str)

    command.run(installs_a_handler())
    assert signal.getsignal(number) is before
