"""How many calls may begin, and when: Truto's tiers, what providers say is left, and what a 429 stops."""

from __future__ import annotations

import heapq
import itertools
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_truto.client.rate_limiter import LONGEST_PAUSE, MARGIN, RateLimiter, Window
from airflow_provider_truto.client.response import Response
from airflow_provider_truto.client.shared import get_rate_limiter

SPAN = 10 * MARGIN
EPOCH = 1_700_000_000


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self):
        self.at = 1000.0

    def __call__(self):
        return self.at

    def advance(self, seconds):
        self.at += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def new_limiter(clock):
    def new(requests_per_second=None):
        return RateLimiter(requests_per_second=requests_per_second, clock=clock, now=lambda: EPOCH)

    return new


@pytest.fixture
def limiter(new_limiter):
    return new_limiter()


def grants(limiter, account="acme", at_most=1000):
    """How many calls may begin at this moment."""
    return next((count for count in range(at_most) if limiter.acquire_delay(account) > 0), at_most)


def left(remaining, reset, limit=None):
    headers = {"ratelimit-remaining": str(remaining), "ratelimit-reset": str(reset)}
    return headers if limit is None else {**headers, "ratelimit-limit": limit}


def answer(limiter, account="acme", headers=None, status=200, is_remote=False, **times):
    told = Response(status=status, headers=headers or {}, **times)
    limiter.on_response(account, response=told, is_remote=is_remote)


def call(limiter, account="acme", **said):
    """Take a place and be answered at once."""
    assert limiter.acquire_delay(account) == 0
    answer(limiter, account, **said)


def waits(limiter, account="acme"):
    """What ``acquire_delay`` tells somebody who is to wait."""
    seconds = limiter.acquire_delay(account)
    assert seconds > 0
    return seconds


# ------------------------------------------------------------------------------------------------- Truto's tiers


def test_an_account_may_begin_fifty_calls_at_once_and_then_waits_for_the_window(limiter, clock):
    assert grants(limiter) == 50
    assert waits(limiter) == pytest.approx(SPAN)
    clock.advance(SPAN - 0.1)
    assert waits(limiter) == pytest.approx(0.1)
    clock.advance(0.1)
    assert grants(limiter) == 50


def test_a_token_may_begin_five_hundred_calls_whatever_the_accounts(limiter, clock):
    assert [grants(limiter, f"account-{number}") for number in range(11)] == [50] * 10 + [0]
    assert waits(limiter, "account-0") == waits(limiter, None) == pytest.approx(SPAN)
    clock.advance(SPAN)
    assert grants(limiter, None) == 500


def test_a_call_without_an_account_counts_for_the_token_only(limiter):
    assert grants(limiter, None, at_most=460) == 460
    assert grants(limiter) == 40


def test_a_full_account_does_not_hold_back_another(limiter):
    assert grants(limiter) == 50
    assert grants(limiter, "hooli") == 50


def test_asking_in_vain_costs_nothing(limiter, clock):
    assert grants(limiter) == 50
    for _ in range(1000):
        limiter.acquire_delay("acme")
    assert grants(limiter, None) == 450
    clock.advance(SPAN)
    assert grants(limiter) == 50


def test_places_come_back_one_by_one_as_they_were_taken(limiter, clock):
    for _ in range(50):
        assert limiter.acquire_delay("acme") == 0
        clock.advance(0.1)
    clock.advance(SPAN - 5)
    assert grants(limiter) == 1
    clock.advance(0.3)
    assert grants(limiter) == 3


@pytest.mark.parametrize(("rate", "account"), [(None, "acme"), (5, None)], ids=["an account's", "a token's"])
def test_those_who_wait_are_told_a_place_each_and_nobody_more_than_a_window(rate, account, new_limiter, clock):
    limiter = new_limiter(rate)
    for _ in range(50):
        assert limiter.acquire_delay(account) == 0
        clock.advance(0.1)
    told = [waits(limiter, account) for _ in range(120)]
    once_round = [SPAN - 5 + 0.1 * place for place in range(50)]
    assert told == pytest.approx([*once_round, *once_round, *once_round[:20]])


def test_who_comes_back_as_told_finds_a_place(limiter, clock):
    for _ in range(50):
        assert limiter.acquire_delay("acme") == 0
        clock.advance(0.1)
    moments = [clock.at + waits(limiter) for _ in range(49)]
    for moment in moments:
        clock.at = moment + 1e-6
        assert limiter.acquire_delay("acme") == 0


def test_a_place_whose_waiter_never_comes_back_goes_to_whoever_asks(limiter, clock):
    assert grants(limiter) == 50
    for _ in range(30):
        waits(limiter)
    clock.advance(SPAN)
    assert grants(limiter) == 50
    assert waits(limiter) == pytest.approx(SPAN)


def test_an_account_that_waits_for_itself_keeps_no_place_of_the_token(limiter, clock):
    for number in range(10):
        assert grants(limiter, f"account-{number}") == 50
        clock.advance(0.5)
    for _ in range(100):
        assert waits(limiter, "account-9") == pytest.approx(SPAN - 0.5)
    assert waits(limiter, None) == pytest.approx(SPAN - 5)


def test_a_window_lets_no_more_through_while_it_fills_again():
    # A bucket with a burst of 50 and 5 per second would let 100 through in these ten seconds.
    window = Window(requests=50, seconds=10)
    taken = 0
    for tenth in range(100):
        while window.wait(tenth / 10) <= 0:
            window.add(tenth / 10)
            taken += 1
    assert taken == 50


def test_who_is_woken_a_little_early_waits_a_little_more(limiter, clock):
    # Sums of doubles, and timers, arrive too early; a wait of nothing would have them ask in a circle.
    for _ in range(50):
        assert limiter.acquire_delay("acme") == 0
        clock.advance(0.1)
    clock.advance(waits(limiter) - 1e-6)
    for _ in range(3):
        assert waits(limiter) == 0.001, "neither nothing, nor the end of the queue"
    clock.advance(0.001)
    assert grants(limiter) == 1


# ------------------------------------------------------------------------------------------- requests_per_second


@pytest.mark.parametrize(
    ("rate", "of_token", "of_account", "seconds"),
    [
        (None, 500, 50, SPAN),
        (50, 500, 50, SPAN),
        (100, 1000, 50, SPAN),
        (7.5, 75, 50, SPAN),
        (5, 50, 50, SPAN),
        (2, 20, 20, SPAN),
        (100 / 60, 16, 16, SPAN),
        (0.1, 1, 1, SPAN),
        (0.05, 1, 1, 20 * MARGIN),
        (1 / 3600, 1, 1, 3600 * MARGIN),
    ],
)
def test_a_rate_replaces_the_tiers(rate, of_token, of_account, seconds, new_limiter, clock):
    assert grants(new_limiter(rate), at_most=2000) == of_account
    limiter = new_limiter(rate)
    assert grants(limiter, None, at_most=2000) == of_token
    assert waits(limiter, None) == pytest.approx(seconds)
    clock.advance(seconds)
    assert grants(limiter, None, at_most=2000) == of_token


def test_a_rate_of_zero_switches_everything_off(new_limiter):
    limiter = new_limiter(0)
    answer(limiter, status=429, headers={"retry-after": "30"})
    answer(limiter, None, status=429)
    answer(limiter, headers=left(0, 30))
    limiter.on_failure("acme")
    assert grants(limiter, at_most=5000) == 5000


@pytest.mark.parametrize("rate", [-1, -0.001, float("nan"), float("inf"), float("-inf"), 1e7])
def test_what_is_not_a_rate_is_refused(rate):
    with pytest.raises(ValueError, match="requests_per_second"):
        RateLimiter(requests_per_second=rate)


# ------------------------------------------------------------------------------------ what a provider says is left


def test_an_account_of_which_nothing_is_left_waits_until_the_reset(limiter, clock):
    call(limiter, headers=left(0, 7))
    assert waits(limiter) == pytest.approx(7)
    assert limiter.acquire_delay("hooli") == 0
    assert limiter.acquire_delay(None) == 0
    clock.advance(6.9)
    assert waits(limiter) == pytest.approx(0.1)
    clock.advance(0.2)
    assert grants(limiter) == 49


@pytest.mark.parametrize(("remaining", "limit"), [(21, "110;w=10"), (19, "100"), (4, None)])
def test_the_few_that_are_left_are_spread_over_the_time_to_the_reset(remaining, limit, limiter, clock):
    begin = clock.at
    call(limiter, headers=left(remaining, 30, limit))
    moments = []
    while clock.at < begin + 29.99:
        seconds = limiter.acquire_delay("acme")
        if seconds == 0:
            moments.append(clock.at)
            answer(limiter, headers=left(remaining - len(moments), begin + 30 - clock.at, limit))
        else:
            clock.advance(seconds)
    assert len(moments) == remaining
    gaps = [later - earlier for earlier, later in itertools.pairwise([begin, *moments])]
    assert gaps == pytest.approx([30 / (remaining + 1)] * remaining, rel=0.01)
    assert moments[-1] < begin + 30


@pytest.mark.parametrize(
    ("remaining", "limit"), [(30, "110;w=10"), (22, "110"), (5, None), (6, "nonsense"), (6, "0"), (6, "-3"), (6, "")]
)
def test_enough_that_is_left_is_not_spread(remaining, limit, limiter):
    call(limiter, headers=left(remaining, 30, limit))
    assert limiter.acquire_delay("acme") == 0


def test_calls_in_flight_are_taken_off_what_is_left(limiter):
    for _ in range(5):
        assert limiter.acquire_delay("acme") == 0
    answer(limiter, headers=left(3, 30))  # four more are on their way
    assert waits(limiter) == 1, "asked again soon, since the other answers tell how it is"
    answer(limiter, headers=left(0, 30))
    assert waits(limiter) == pytest.approx(30)


def test_a_call_that_was_lost_takes_one_off_what_is_left(limiter):
    for _ in range(2):
        assert limiter.acquire_delay("acme") == 0
    answer(limiter, headers=left(1, 30))
    limiter.on_failure("acme")
    assert waits(limiter) == pytest.approx(30)


def test_an_answer_that_says_nothing_takes_one_off_what_is_left(limiter, clock):
    for _ in range(3):
        assert limiter.acquire_delay("acme") == 0
    answer(limiter, headers=left(2, 30))
    answer(limiter, status=502)
    answer(limiter)
    assert waits(limiter) == pytest.approx(30)


def test_a_refusal_of_trutos_own_takes_nothing_off_what_the_provider_leaves(limiter, clock):
    for _ in range(2):
        assert limiter.acquire_delay("acme") == 0
    answer(limiter, headers=left(1, 30))
    answer(limiter, status=429, headers={"retry-after": "10"})
    clock.advance(10)
    assert waits(limiter) == pytest.approx(5), "one is left, half-way"
    clock.advance(5)
    assert limiter.acquire_delay("acme") == 0


def test_a_later_answer_with_more_left_lifts_the_wait(limiter):
    call(limiter, headers=left(0, 50))
    assert limiter.acquire_delay("acme") > 0
    answer(limiter, headers=left(90, 50, "110"))
    assert grants(limiter) == 49


def test_a_later_answer_with_less_left_tightens_it(limiter):
    call(limiter, headers=left(50, 30, "110"))
    call(limiter, headers=left(0, 30, "110"))
    assert waits(limiter) == pytest.approx(30)


def test_an_answer_that_was_overtaken_does_not_lift_the_wait(limiter):
    for _ in range(4):
        assert limiter.acquire_delay("acme") == 0
    for remaining in [0, 3, 1, 2]:
        answer(limiter, headers=left(remaining, 30))
        assert waits(limiter) > 0
    assert waits(limiter) == pytest.approx(30)
    answer(limiter, headers=left(100, 30))  # of a call that began afterwards
    assert limiter.acquire_delay("acme") == 0


def test_after_the_reset_an_answer_is_believed_whatever_overtook_it(limiter, clock):
    for _ in range(2):
        assert limiter.acquire_delay("acme") == 0
    answer(limiter, headers=left(0, 5))
    clock.advance(6)
    answer(limiter, headers=left(3, 30))
    assert waits(limiter) == pytest.approx((30 + 6) / 4 - 6)


def test_a_reset_that_is_over_lifts_the_wait(limiter, clock):
    call(limiter, headers=left(0, 30))
    answer(limiter, headers=left(0, 0))
    assert limiter.acquire_delay("acme") == 0
    answer(limiter, headers=left(0, 30))
    clock.advance(30)
    assert limiter.acquire_delay("acme") == 0


@pytest.mark.parametrize(
    "headers",
    [
        left(0, LONGEST_PAUSE + 1),
        left(0, EPOCH),
        left(0, (EPOCH + 5) * 1000),
        left(0, -5),
        left(-1, 5),
        left(0, "soon"),
        left(0, "nan"),
        left(0, "inf"),
        left("none", 5),
        left("nan", 5),
        left("", ""),
        {"ratelimit-remaining": "0"},
        {"ratelimit-reset": "5"},
        {"ratelimit-limit": "0;w=10"},
    ],
    ids=repr,
)
def test_nonsense_does_not_stop_an_account(headers, limiter):
    call(limiter, headers=headers)
    assert grants(limiter) == 49


def test_what_a_call_without_an_account_is_told_holds_for_the_token(limiter):
    call(limiter, None, headers=left(0, 20))
    assert waits(limiter, "acme") == waits(limiter, None) == pytest.approx(20)


@given(
    said=st.lists(
        st.tuples(
            st.sampled_from(["acme", None]),
            st.fixed_dictionaries(
                {},
                optional=dict.fromkeys(
                    ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "retry-after"],
                    st.text(max_size=12)
                    | st.integers(-5, 70).map(str)
                    | st.integers().map(str)
                    | st.floats().map(str),
                ),
            ),
            st.sampled_from([200, 429, 500]),
            st.booleans(),
        ),
        max_size=12,
    )
)
@example(said=[("acme", {"ratelimit-remaining": "1" * 400, "ratelimit-reset": "٣"}, 200, False)])
@example(said=[(None, {"ratelimit-limit": "1e-320;w=", **left("1e-320", "60")}, 200, False)])
def test_no_headers_stop_anything_for_longer_than_the_longest_pause(said):
    clock = Clock()
    limiter = RateLimiter(requests_per_second=None, clock=clock, now=lambda: EPOCH)
    for account, headers, status, is_remote in said:
        began = limiter.acquire_delay(account) == 0
        if began:
            answer(limiter, account, headers, status, is_remote)
        assert 0 <= limiter.acquire_delay("hooli") <= LONGEST_PAUSE
        limiter.on_failure("hooli")
    stop = clock.at + LONGEST_PAUSE
    for _ in range(100):
        seconds = limiter.acquire_delay("acme")
        assert 0 <= seconds <= LONGEST_PAUSE
        if seconds == 0:
            break
        clock.advance(seconds)
    assert seconds == 0
    assert clock.at <= stop + 0.1


# ------------------------------------------------------------------------------------------------------- after a 429

STOPS = {
    "Retry-After": ({"retry-after": "7"}, 7),
    "Retry-After as a date": (
        {"retry-after": format_datetime(datetime.fromtimestamp(EPOCH + 12, timezone.utc), usegmt=True)},
        12,
    ),
    "Retry-After before the reset": ({"retry-after": "7", **left(0, 30)}, 7),
    "the reset": (left(0, 30), 30),
    "nothing": ({}, 10),
    "an epoch": (left(0, EPOCH), 10),
    "less than a second": ({"retry-after": "0.2"}, 1),
    "an hour": ({"retry-after": "3600"}, LONGEST_PAUSE),
}


@pytest.mark.parametrize(("headers", "seconds"), STOPS.values(), ids=STOPS)
def test_a_429_of_the_crm_stops_the_other_calls_of_its_account(headers, seconds, limiter, clock):
    call(limiter, status=429, headers=headers, is_remote=True)
    assert waits(limiter) == pytest.approx(seconds)
    assert limiter.acquire_delay("hooli") == limiter.acquire_delay(None) == 0
    clock.advance(seconds)
    assert grants(limiter) >= 49


@pytest.mark.parametrize(("headers", "seconds"), [({"retry-after": "10"}, 10), ({}, 10)], ids=["10", "nothing"])
def test_a_429_of_truto_stops_the_other_calls_of_its_account(headers, seconds, limiter, clock):
    call(limiter, status=429, headers=headers)
    assert waits(limiter) == pytest.approx(seconds)
    assert limiter.acquire_delay("hooli") == limiter.acquire_delay(None) == 0
    clock.advance(seconds)
    assert grants(limiter) == 49


def test_a_429_without_an_account_stops_the_token(limiter, clock):
    call(limiter, None, status=429, headers={"retry-after": "10"})
    assert waits(limiter, None) == waits(limiter, "acme") == pytest.approx(10)
    clock.advance(10)
    assert limiter.acquire_delay("acme") == 0


def test_a_shorter_stop_does_not_end_a_longer_one(limiter):
    for _ in range(3):
        assert limiter.acquire_delay("acme") == 0
    answer(limiter, status=429, headers={"retry-after": "30"})
    answer(limiter, status=429, headers={"retry-after": "5"})
    answer(limiter, headers=left(100, 1))
    assert waits(limiter) == pytest.approx(30)


def test_after_a_stop_no_more_come_than_the_window_holds(limiter, clock):
    call(limiter, status=429, headers={"retry-after": "10"})
    clock.advance(SPAN)
    assert grants(limiter) == 50


# ------------------------------------------------------------------------------------------------------------ memory


def test_accounts_that_are_no_longer_used_are_forgotten(limiter, clock):
    most = 0
    for number in range(100_000):
        account = f"account-{number}"
        while seconds := limiter.acquire_delay(account):
            clock.advance(seconds)
        limiter.acquire_delay("in use")
        if number % 2:  # what is never answered must not be kept without end
            answer(limiter, account, headers=left(100, 5))
        most = max(most, len(limiter._accounts))
    assert most <= 50 * (LONGEST_PAUSE + SPAN)
    clock.advance(2 * LONGEST_PAUSE)
    for _ in range(most):
        while seconds := limiter.acquire_delay("acme"):
            clock.advance(seconds)
    assert len(limiter._accounts) == 1


def test_an_account_is_not_forgotten_while_it_has_to_wait(limiter, clock):
    call(limiter, status=429, headers={"retry-after": "3600"})
    clock.advance(LONGEST_PAUSE - 1)
    for number in range(3):
        assert limiter.acquire_delay(f"account-{number}") == 0
    assert waits(limiter) == pytest.approx(1)


def test_an_answer_for_an_account_that_was_forgotten_is_heard(limiter, clock):
    assert limiter.acquire_delay("acme") == 0
    clock.advance(2 * LONGEST_PAUSE)
    assert limiter.acquire_delay("hooli") == 0
    assert list(limiter._accounts) == ["hooli"]
    answer(limiter, headers=left(3, 30))
    assert waits(limiter) == pytest.approx(30 / 4)


# ---------------------------------------------------------------------------------------------------- the registry


def test_clients_of_one_token_share_a_limiter():
    def of(**changed):
        return get_rate_limiter(
            **{"origin": "https://api.truto.one", "token_digest": "d", "requests_per_second": 5, **changed}
        )

    assert of() is of(requests_per_second=5.0)
    assert of() is not of(token_digest="other")
    assert of() is not of(origin="http://127.0.0.1")
    assert of() is not of(requests_per_second=None), "separate paces, as documented"
    assert of(requests_per_second=0) is not of(requests_per_second=None)


def test_the_registry_keeps_only_the_paces_used_last():
    kept = get_rate_limiter(origin="kept", token_digest="d", requests_per_second=None)
    dropped = get_rate_limiter(origin="dropped", token_digest="d", requests_per_second=None)
    for number in range(200):
        get_rate_limiter(origin=number, token_digest="d", requests_per_second=None)
        assert get_rate_limiter(origin="kept", token_digest="d", requests_per_second=None) is kept
    assert get_rate_limiter(origin="dropped", token_digest="d", requests_per_second=None) is not dropped


def test_threads_that_ask_for_a_pace_at_once_get_the_same(eager_threads):
    with ThreadPoolExecutor(16) as pool:
        for number in range(100):
            barrier = threading.Barrier(16)

            def ask(_, barrier=barrier, number=number):
                barrier.wait()
                return get_rate_limiter(origin=("threads", number), token_digest="d", requests_per_second=None)

            assert len(set(pool.map(ask, range(16)))) == 1


# ------------------------------------------------------------------------------------------------------------ threads


@pytest.fixture
def eager_threads():
    """Threads that give way to each other as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_sixteen_threads_never_book_more_than_there_is(limiter, clock, eager_threads):
    accounts = [f"account-{number}" for number in range(12)]

    def hammer(seed):
        taken = []
        for account in random.Random(seed).choices([*accounts, None], k=1500):
            if limiter.acquire_delay(account) == 0:
                taken.append(account)
                limiter.on_failure(account)
        return taken

    with ThreadPoolExecutor(16) as pool:
        for turn in range(5):
            taken = list(itertools.chain.from_iterable(pool.map(hammer, range(16 * turn, 16 * turn + 16))))
            assert len(taken) == 500, "exactly: none twice, none lost"
            assert all(taken.count(account) <= 50 for account in accounts)
            clock.advance(SPAN)
    assert limiter._token._in_flight == 0


# --------------------------------------------------------------------------------------------------- a million calls


def simulated(*, accounts, calls, callers=4, seed=7, opening=0.0, opened=0.0):
    """Run callers against a fake clock: each asks, waits as told, calls for some tenths of a second, asks again.

    The first call of each caller, and then a share of ``opened``, waits up to ``opening`` seconds for a connection.
    Returns for every call its account, the moment it was sent, and the moment it reached Truto.
    """
    rng = random.Random(seed)
    clock = Clock()
    limiter = RateLimiter(requests_per_second=None, clock=clock)
    order = itertools.count()
    # When, in which order, whose, and what the answer tells of its request; nothing where it is a question.
    events = [(clock.at + rng.random(), next(order), account, None) for account in range(accounts)] * callers
    heapq.heapify(events)
    sent = []
    while len(sent) < calls:
        clock.at, _, account, told = heapq.heappop(events)
        name = f"account-{account}"
        if told is not None:
            answer(limiter, name, **told)
        seconds = limiter.acquire_delay(name)
        if seconds == 0:
            is_opened = opening and (len(sent) < callers * accounts or rng.random() < opened)
            late = opening * rng.random() if is_opened else 0.0
            sent.append((account, clock.at, clock.at + late + 0.1 * rng.random()))
            seconds = 0.1 + 0.2 * rng.random()
            told = {"seconds": late + seconds, "sent_after": late}
            heapq.heappush(events, (clock.at + late + seconds, next(order), account, told))
        else:
            heapq.heappush(events, (clock.at + seconds, next(order), account, None))
    return sent


def most_within(moments, seconds, limit):
    """Whether some span of so many seconds holds more than ``limit`` of the moments."""
    moments = sorted(moments)
    return any(later - earlier < seconds for earlier, later in zip(moments, moments[limit:], strict=False))


@pytest.mark.slow
@pytest.mark.parametrize(("accounts", "calls"), [(1, 100_000), (5, 200_000), (10, 300_000), (40, 400_000)])
def test_a_million_calls_use_the_tiers_and_never_exceed_them(accounts, calls):
    sent = simulated(accounts=accounts, calls=calls)
    assert len(sent) == calls
    for when in (1, 2):  # as they were sent, and as Truto counts them
        assert not most_within([call[when] for call in sent], 10, 500)
        for account in range(accounts):
            assert not most_within([call[when] for call in sent if call[0] == account], 10, 50)
    # The first burst is more than the steady rate, so it is left out.
    burst = min(50 * accounts, 500)
    rate = (calls - burst) / (sent[-1][1] - sent[0][1])
    assert rate >= 0.97 * min(5 * accounts, 50)


@pytest.mark.parametrize("accounts", [1, 10, 40])
def test_calls_that_wait_for_a_connection_do_not_lead_to_more_than_the_tiers(accounts):
    sent = simulated(accounts=accounts, calls=20_000, callers=50 if accounts == 1 else 8, opening=2.0, opened=0.02)
    arrivals = [(account, arrived) for account, _, arrived in sent]
    assert not most_within([arrived for _, arrived in arrivals], 10, 500)
    for number in range(accounts):
        assert not most_within([arrived for account, arrived in arrivals if account == number], 10, 50)
    burst = min(50 * accounts, 500)
    assert (len(sent) - burst) / (sent[-1][1] - sent[0][1]) >= 0.95 * min(5 * accounts, 50)


def test_a_call_that_went_out_late_frees_its_place_late(limiter, clock):
    assert grants(limiter, at_most=25) == 25
    clock.advance(1)
    assert grants(limiter, at_most=25) == 25
    clock.advance(2)
    answer(limiter, seconds=3, sent_after=2.5)
    clock.advance(SPAN - 3)
    assert grants(limiter) == 24
    clock.advance(1)
    assert grants(limiter) == 25
    clock.advance(1.5)
    assert grants(limiter) == 1


def test_calls_that_all_go_out_late_use_the_whole_rate(limiter, clock):
    for _ in range(10):
        assert grants(limiter) == 50
        clock.advance(1)
        for _ in range(50):
            answer(limiter, seconds=1, sent_after=0.5)
        clock.advance(SPAN - 0.5)


def test_what_is_told_of_a_call_that_was_counted_out_long_ago_changes_nothing(limiter, clock):
    assert grants(limiter, at_most=50) == 50
    clock.advance(2 * SPAN)
    assert grants(limiter, at_most=50) == 50
    answer(limiter, seconds=2 * SPAN, sent_after=1)
    assert grants(limiter) == 0
    clock.advance(SPAN)
    assert grants(limiter) == 50
