"""Each preset, played in simulated time: what its clock does by the rules of its game or format."""

from collections.abc import Callable

import pytest

from synckairos.presets.catalogue import load_presets
from tests.unit.presets.play import Move, Played, play, presses

MINUTE, HOUR, DAY = 60, 3_600, 86_400

RULES: dict[str, Callable[[], None]] = {}


def rule(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Return a decorator that makes a function the check of a preset."""

    def add(check: Callable[[], None]) -> Callable[[], None]:
        RULES[name] = check
        return check

    return add


@pytest.mark.parametrize("name", load_presets())
def test_preset_follows_its_rules(name: str) -> None:
    RULES[name]()


def every(seconds: float, count: int) -> list[Move]:
    return presses(*(seconds * number for number in range(1, count + 1)))


# -- games ------------------------------------------------------------------------------------------------------------


@rule("chess/fide-classical")
def fide_classical() -> None:
    before = play("chess/fide-classical", every(10, 79), 795)
    assert before.seconds("white") == 5_430 + 40 * 20 + 1_800
    assert before.seconds("black") == 5_430 + 39 * 20
    after = play("chess/fide-classical", every(10, 82), 825)
    assert (after.seconds("white"), after.seconds("black")) == (8_050, 8_050)


@rule("chess/fide-rapid")
def fide_rapid() -> None:
    assert play("chess/fide-rapid", presses(20), 30).seconds("white") == 15 * MINUTE


@rule("chess/fide-blitz")
def fide_blitz() -> None:
    game = play("chess/fide-blitz", presses(5), 200)
    assert (game.seconds("white"), game.seconds("black")) == (179, 0)
    assert game.at("session_expired") == [5 + 182]


def lichess(name: str, minutes: int, increment_s: int, first_move_s: int) -> None:
    """Check that the first moves are free, that each later move gets the increment, and the limit of a first move."""
    game = play(name, presses(5, 9, 14, 20), 25)
    assert game.seconds("white") == minutes * MINUTE - 5 + increment_s
    assert game.seconds("black") == minutes * MINUTE - 6 + increment_s
    assert play(name, presses(), 60).at("session_cancelled") == [first_move_s]
    assert play(name, presses(5), 60).at("session_cancelled") == [5 + first_move_s]


@rule("chess/lichess-bullet")
def lichess_bullet() -> None:
    lichess("chess/lichess-bullet", 1, 0, 20)


@rule("chess/lichess-blitz")
def lichess_blitz() -> None:
    lichess("chess/lichess-blitz", 3, 2, 25)


@rule("chess/lichess-rapid")
def lichess_rapid() -> None:
    lichess("chess/lichess-rapid", 10, 0, 30)


@rule("chess/lichess-classical")
def lichess_classical() -> None:
    lichess("chess/lichess-classical", 30, 20, 35)


@rule("chess/us-delay")
def us_delay() -> None:
    game = play("chess/us-delay", presses(3, 13), 14)
    assert (game.seconds("white"), game.seconds("black")) == (HOUR, HOUR - 5)


@rule("chess/armageddon")
def armageddon() -> None:
    game = play("chess/armageddon", every(1, 120), 120)
    assert (game.seconds("white"), game.seconds("black")) == (300 - 60, 240 - 60)
    later = play("chess/armageddon", every(1, 122), 122)
    assert (later.seconds("white"), later.seconds("black")) == (240 + 2, 180 + 2)


@rule("chess/correspondence")
def correspondence() -> None:
    game = play("chess/correspondence", presses(2 * DAY), 6 * DAY)
    assert game.at("session_expired") == [5 * DAY]
    assert game.at("time_warning") == [5 * DAY - 12 * HOUR]


@rule("chess/hourglass")
def hourglass() -> None:
    game = play("chess/hourglass", presses(10, 30), 31)
    assert (game.seconds("white"), game.seconds("black")) == (50 + 20, 70 - 20)


@rule("go/byoyomi")
def byoyomi() -> None:
    assert play("go/byoyomi", presses(), 2 * HOUR).at("session_expired") == [HOUR + 3 * 30]
    reading = play("go/byoyomi", presses(HOUR + 50), HOUR + 60).reading("black")
    assert (reading["periods_left"], reading["period_ms"]) == (2, 30_000)


@rule("go/canadian")
def canadian() -> None:
    game = play("go/canadian", presses(HOUR + 10), HOUR + 20)
    assert (game.seconds("black"), game.reading("black")["moves_left"]) == (5 * MINUTE - 10, 11)
    # 12 stones in one period begin the next period.
    turns = [HOUR + 10, *(HOUR + 10 + number for number in range(1, 23))]
    game = play("go/canadian", presses(*turns), turns[-1] + 1)
    assert (game.seconds("black"), game.reading("black")["moves_left"]) == (5 * MINUTE, 12)


@rule("shogi/byoyomi")
def shogi() -> None:
    assert play("shogi/byoyomi", presses(), HOUR).at("session_expired") == [10 * MINUTE + 30]
    assert play("shogi/byoyomi", presses(10 * MINUTE + 20), 11 * MINUTE).seconds("sente") == 30


@rule("games/scrabble")
def scrabble() -> None:
    game = play("games/scrabble", presses(26 * MINUTE), 27 * MINUTE)
    assert (game.status, game.seconds("first"), game.at("overtime_started")) == ("running", -60, [25 * MINUTE])


@rule("games/board-game")
def board_game() -> None:
    game = play("games/board-game", [], 0)
    assert len(game.ids) == 4
    game = play("games/board-game", presses(20, 30), 30 + 10 * MINUTE)
    assert (game.seconds("player-1"), game.seconds("player-2")) == (10 * MINUTE + 10, 10 * MINUTE + 20)
    assert (game.status, game.active, game.at("participant_expired")) == ("running", "player-4", [30 + 10 * MINUTE])


@rule("games/cube-inspection")
def cube_inspection() -> None:
    attempt = play("games/cube-inspection", presses(), 30)
    assert (attempt.status, attempt.at("time_warning")) == ("running", [8, 12, 15, 17])


@rule("games/speedrun")
def speedrun() -> None:
    run = play("games/speedrun", [*presses(60, 100), (130, "complete")], 200)
    assert (run.status, run.used("runner"), run.at("cycle_switched")) == ("completed", 130, [60, 100])


# -- quizzes, auctions and exams --------------------------------------------------------------------------------------


def quiz(seconds: int, *, has_warning: bool = True) -> None:
    """Check that a question ends by itself and by the host, and that the host opens the next one."""
    name = f"quiz/{seconds}-seconds"
    first = play(name, presses(), seconds + HOUR)
    assert (first.status, first.at("cycle_expired")) == ("paused", [seconds])
    assert first.at("time_warning") == ([seconds - 5] if has_warning else [])
    moves: list[Move] = [(0, "start")]
    for number in range(10):
        moves.append((number * 10 + 3, "switch"))
        if number < 9:
            moves.append((number * 10 + 10, "resume"))
    whole = play(name, moves, HOUR)
    assert (whole.status, whole.used("host"), whole.refusals()) == ("completed", 30, [])


@rule("quiz/5-seconds")
def quiz_5() -> None:
    quiz(5, has_warning=False)


@rule("quiz/20-seconds")
def quiz_20() -> None:
    quiz(20)


@rule("quiz/60-seconds")
def quiz_60() -> None:
    quiz(60)


@rule("quiz/240-seconds")
def quiz_240() -> None:
    quiz(240)


def bids(*instants_s: float) -> list[Move]:
    bidders = ("bidder-1", "bidder-2")
    return [
        (0, "start"),
        *((at, "switch", {"next_participant_id": bidders[number % 2]}) for number, at in enumerate(instants_s)),
    ]


def winner(auction: Played) -> str:
    """Return the role that the last event names."""
    roles = {value: role for role, value in auction.ids.items()}
    return roles[auction.timeline[-1]["participant_id"]]


@rule("auction/soft-close")
def soft_close() -> None:
    auction = play("auction/soft-close", bids(30, 590), HOUR)
    assert (auction.at("session_expired"), winner(auction)) == ([590 + 120], "bidder-2")
    assert play("auction/soft-close", bids(30), HOUR).at("session_expired") == [600]


@rule("auction/soft-close-capped")
def soft_close_capped() -> None:
    auction = play("auction/soft-close-capped", bids(100, 1_700, 2_000, 2_300, 2_600, 2_900, 3_200, 3_500), 2 * HOUR)
    assert (auction.at("session_expired"), auction.final["extensions"]["added_ms"]) == ([3_600], 1_800_000)
    assert play("auction/soft-close-capped", bids(1_700), 2 * HOUR).at("session_expired") == [2_100]


@rule("auction/rounds")
def auction_rounds() -> None:
    auction = play("auction/rounds", bids(10, 35), HOUR)
    assert (auction.at("session_expired"), winner(auction)) == ([65], "bidder-2")
    assert auction.at("time_warning")[-2:] == [45, 55]


@rule("exam/common-end")
def common_end() -> None:
    exam = play("exam/common-end", presses(), 2 * HOUR)
    assert (exam.at("time_warning"), exam.at("session_expired")) == ([30 * MINUTE, 55 * MINUTE], [HOUR])


@rule("exam/extra-time")
def extra_time() -> None:
    exam = play("exam/extra-time", presses(), 2 * HOUR)
    ends = [60 * MINUTE, 75 * MINUTE, 90 * MINUTE]
    assert [exam.used(f"candidate-{number}") for number in (1, 2, 3)] == ends
    assert exam.at("session_expired") == ends[-1:]


@rule("exam/digital-sat")
def digital_sat() -> None:
    exam = play("exam/digital-sat", presses(), 3 * HOUR)
    assert exam.status == "completed"
    assert exam.at("cycle_expired") == [32 * MINUTE, 64 * MINUTE, 74 * MINUTE, 109 * MINUTE]
    assert exam.at("session_completed") == [144 * MINUTE]


# -- debates ----------------------------------------------------------------------------------------------------------


def debate(name: str, speeches: list[tuple[float, str | None]], pause_s: float = 5) -> Played:
    """Check the minutes and the speakers of all speeches, each of which takes its time and is followed by a pause."""
    moves: list[Move] = [(0, "start")]
    at = 0.0
    for number, (minutes, _) in enumerate(speeches):
        at += minutes * MINUTE
        moves.append((at, "switch"))
        if number < len(speeches) - 1:
            at += pause_s
            moves.append((at, "resume"))
    played = play(name, moves, at + 1)
    assert (played.status, played.refusals()) == ("completed", [])
    roles = {value: role for role, value in played.ids.items()}
    shown = [(item["time_used_ms"] / 60_000, roles.get(item.get("participant_id"))) for item in played.final["plan"]]
    assert shown == speeches
    assert [item["time_ms"] for item in played.final["plan"]] == [minutes * 60_000 for minutes, _ in speeches]
    return played


def signs(name: str, moves: list[Move], until_s: float, began_s: float) -> list[float]:
    """Return the seconds of all signs after the instant `began_s`."""
    return [at - began_s for at in play(name, moves, until_s).at("time_warning") if at > began_s]


@rule("debate/british-parliamentary")
def british_parliamentary() -> None:
    order = [each["participant_id"] for each in load_presets()["debate/british-parliamentary"].session["participants"]]
    debate("debate/british-parliamentary", [(15, None), *((7, role) for role in order)])
    moves: list[Move] = [(0, "start"), (900, "switch"), (910, "resume")]
    assert signs("debate/british-parliamentary", moves, 2_000, 910) == [60, 360, 420, 435]
    assert [order[0], order[1], order[-2], order[-1]] == [
        "prime-minister", "leader-of-opposition", "government-whip", "opposition-whip",
    ]  # fmt: skip


@rule("debate/wsdc")
def wsdc() -> None:
    order = ["proposition-1", "opposition-1", "proposition-2", "opposition-2", "proposition-3", "opposition-3"]
    replies: list[tuple[float, str | None]] = [(4, "opposition-1"), (4, "proposition-1")]
    played = debate("debate/wsdc", [*((8, role) for role in order), *replies])
    assert played.at("time_warning")[:3] == [60, 420, 480]
    reply_s = 6 * (480 + 5)
    assert [at - reply_s for at in played.at("time_warning") if at > reply_s][:2] == [180, 240]


@rule("debate/lincoln-douglas")
def lincoln_douglas() -> None:
    a, n = "affirmative", "negative"
    debate("debate/lincoln-douglas", [(6, a), (3, n), (7, n), (3, a), (4, a), (6, n), (3, a)])


@rule("debate/public-forum")
def public_forum() -> None:
    first: list[tuple[float, str | None]] = [(4, "a1"), (4, "b1"), (3, None), (4, "a2"), (4, "b2"), (3, None)]
    debate("debate/public-forum", [*first, (3, "a1"), (3, "b1"), (3, None), (2, "a2"), (2, "b2")])


@rule("debate/policy")
def policy() -> None:
    constructives = [("1a", "2n"), ("1n", "1a"), ("2a", "1n"), ("2n", "2a")]
    first: list[tuple[float, str | None]] = []
    for speaker, questioner in constructives:
        first += [(8, speaker), (3, questioner)]
    debate("debate/policy", [*first, *((5, role) for role in ("1n", "1a", "2n", "2a"))])


@rule("debate/karl-popper")
def karl_popper() -> None:
    first: list[tuple[float, str | None]] = [(6, "a1"), (3, "n3"), (6, "n1"), (3, "a3"), (5, "a2"), (3, "n1")]
    debate("debate/karl-popper", [*first, (5, "n2"), (3, "a1"), (5, "a3"), (5, "n3")])


@rule("debate/speakers-list")
def speakers_list() -> None:
    moves: list[Move] = [(0, "start"), (100, "switch", {"next_participant_id": "speaker-3"}), (110, "resume")]
    played = play("debate/speakers-list", moves, 115)
    assert (played.used("speaker-1"), played.active, played.at("time_warning")) == (100, "speaker-3", [80, 90])


# -- meetings, talks, training and work -------------------------------------------------------------------------------


@rule("meeting/agenda")
def agenda() -> None:
    meeting = play("meeting/agenda", presses(400), 500)
    assert (meeting.status, meeting.final["schedule_offset_ms"]) == ("running", 100_000)
    assert sum(item["time_ms"] for item in meeting.final["plan"]) == 3_600_000


@rule("meeting/stand-up")
def stand_up() -> None:
    meeting = play("meeting/stand-up", presses(), 20 * MINUTE)
    assert (meeting.status, meeting.at("time_warning")) == ("running", [10 * MINUTE, 14 * MINUTE])
    assert meeting.at("overtime_started") == [15 * MINUTE]


@rule("meeting/lean-coffee")
def lean_coffee() -> None:
    meeting = play("meeting/lean-coffee", [(0, "start"), (500, "resume")], 8 * MINUTE + 500)
    assert (meeting.status, meeting.at("cycle_expired")) == ("paused", [8 * MINUTE, 500 + 8 * MINUTE])


@rule("talk/pechakucha")
def pechakucha() -> None:
    talk = play("talk/pechakucha", presses(), HOUR)
    assert (len(talk.at("cycle_expired")), talk.at("session_expired")) == (19, [6 * MINUTE + 40])


@rule("talk/ignite")
def ignite() -> None:
    talk = play("talk/ignite", presses(), HOUR)
    assert (len(talk.at("cycle_expired")), talk.at("session_expired")) == (19, [5 * MINUTE])


@rule("talk/ted")
def ted() -> None:
    talk = play("talk/ted", presses(), HOUR)
    assert (talk.status, talk.at("time_warning")) == ("running", [13 * MINUTE, 17 * MINUTE, 18 * MINUTE])


@rule("focus/pomodoro")
def pomodoro() -> None:
    day = play("focus/pomodoro", presses(), 3 * HOUR)
    minutes = [25, 30, 55, 60, 85, 90, 115]
    assert day.at("cycle_expired") == [each * MINUTE for each in minutes]
    assert day.at("session_completed") == [130 * MINUTE]


@rule("interval/tabata")
def tabata() -> None:
    training = play("interval/tabata", presses(), HOUR)
    assert training.at("cycle_expired")[:4] == [20, 30, 50, 60]
    assert training.at("session_completed") == [4 * MINUTE]


@rule("interval/emom")
def emom() -> None:
    training = play("interval/emom", presses(), HOUR)
    assert training.at("cycle_expired") == [MINUTE * number for number in range(1, 10)]
    assert training.at("session_expired") == [10 * MINUTE]


@rule("interval/boxing")
def boxing() -> None:
    fight = play("interval/boxing", presses(), 2 * HOUR)
    assert fight.at("session_completed") == [(12 * 3 + 11) * MINUTE]
    assert fight.at("time_warning")[:3] == [170, 230, 410]


@rule("work/timesheet")
def timesheet() -> None:
    work = play("work/timesheet", [(0, "start"), (HOUR, "pause"), (2 * HOUR, "resume"), (9 * HOUR, "complete")], DAY)
    assert (work.status, work.used("worker")) == ("completed", 8 * HOUR)
    assert play("work/timesheet", presses(), DAY).at("session_expired") == [12 * HOUR]
