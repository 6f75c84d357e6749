"""Lists, through both drivers: page by page, to their end, and no further."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import tracemalloc
from urllib.parse import parse_qs

import pytest
from answering import answering_client
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_truto.client.aio import AsyncClient
from airflow_provider_truto.client.core import Observer
from airflow_provider_truto.client.errors import TrutoBadRequestError, TrutoTransportError
from airflow_provider_truto.client.pages import Pages
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.sync import SyncClient, run_to_end
from airflow_provider_truto.client.tokens import ApiToken, Token
from airflow_provider_truto.emulator import ACME

FOR_ACME = {"integrated_account_id": ACME}
TOKENS = ApiToken(Token("t"), reread=lambda: Token("t"))


def cursor_of(conversation):
    return parse_qs(conversation.target.partition("?")[2]).get("next_cursor", [None])[0]


def listed(pages):
    """A server's answers: a page for each cursor, the first one's is ``None``."""

    def answer(conversation):
        if len(conversation.server.requests) > 50:
            conversation.stay_mute()  # a client that goes round in a circle fails, and does not hang
        conversation.answer(pages[cursor_of(conversation)])

    return lambda: answer


def page(*records, cursor=None, **more):
    return {"result": list(records), "next_cursor": cursor, **more}


def everything(api):
    return api.unified("crm", "accounts").list(limit=2)


# -------------------------------------------------------------------------------------------------------- all pages

PAGES = {
    "one": ({None: page(1, 2)}, [1, 2]),
    "none": ({None: page()}, []),
    "three": ({None: page(1, cursor="a"), "a": page(2, cursor="b"), "b": page(3)}, [1, 2, 3]),
    "empty ones between": (
        {
            None: page(cursor="a"),
            "a": page(1, cursor="b"),
            "b": page(cursor="c"),
            "c": page(cursor="d"),
            "d": page(2),
        },
        [1, 2],
    ),
    "an empty one at the end": ({None: page(1, cursor="a"), "a": page()}, [1]),
    "an empty cursor": ({None: page(1, cursor="")}, [1]),
    "no cursor": ({None: {"result": [1]}}, [1]),
    "results": ({None: {"results": [1], "next_cursor": "a"}, "a": {"results": [2]}}, [1, 2]),
    "both names": ({None: {"result": [1], "results": [9]}}, [1]),
    "by key": ({None: {"result": {"x": 1, "y": 2}, "next_cursor": "a"}, "a": {"result": {}}}, [1, 2]),
    "a number as cursor": ({None: page(1, cursor=7), "7": page(2)}, [1, 2]),
    "a cursor of signs": ({None: page(1, cursor="a/b+c=&d é%2F?#"), "a/b+c=&d é%2F?#": page(2)}, [1, 2]),
    "a long cursor": ({None: page(1, cursor="x" * 5000), "x" * 5000: page(2)}, [1, 2]),
    "records of any kind": ({None: page(None, [], "x", {"id": "1"})}, [None, [], "x", {"id": "1"}]),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_list_is_followed_to_its_end(name, both_at):
    pages, records = PAGES[name]
    result = both_at(listed(pages), everything, **FOR_ACME)
    assert result.error is None
    assert result.value == records
    assert len(result.requests) == len(pages)
    assert result.warned == []
    assert result.connections == 1
    first, *rest = result.requests
    assert first.target == f"/unified/crm/accounts?integrated_account_id={ACME}&limit=2"
    assert all(request.target.startswith(first.target + "&next_cursor=") for request in rest)


@pytest.mark.parametrize("case", [lambda api: api.integrated_accounts(limit=2), lambda api: api.logs("mcp", limit=2)])
def test_lists_of_the_platform_are_followed_too(case, both_at):
    pages, records = PAGES["three"]
    assert both_at(listed(pages), case).value == records


REPEATS = {
    "itself": ({None: page(1, cursor="a"), "a": page(2, cursor="a")}, [1, 2], 2),
    "a circle": (
        {None: page(1, cursor="a"), "a": page(2, cursor="b"), "b": page(3, cursor="a")},
        [1, 2, 3],
        3,
    ),
    "empty pages without end": ({None: page(cursor="a"), "a": page(cursor="a")}, [], 2),
}


@pytest.mark.parametrize("name", REPEATS)
def test_a_cursor_that_comes_again_ends_the_list_with_a_warning(name, both_at):
    pages, records, count = REPEATS[name]
    result = both_at(listed(pages), everything, **FOR_ACME)
    assert result.value == records
    assert len(result.requests) == count
    [warning] = result.warned
    assert "a cursor that it had given before" in warning
    assert f"for integrated account {ACME}" in warning


def test_pages_without_a_record_that_name_ever_new_ones_are_a_failure(both_at, monkeypatch):
    monkeypatch.setattr("airflow_provider_truto.client.pages._MOST_EMPTY", 20)

    def answers():
        """Nineteen empty pages and a record, again and again; in the end only empty ones."""
        numbers = iter(range(1000))

        def answer(conversation):
            number = next(numbers)
            conversation.answer(page(*[number] * (number in {19, 39}), cursor=f"c{number}"))

        return answer

    result = both_at(answers, everything, **FOR_ACME)
    assert type(result.error) is TrutoTransportError
    assert not result.error.transient
    assert len(result.requests) == 60
    assert "20 pages in a row held no record" in str(result.error)
    assert "next_cursor='c59'" in str(result.error)


def test_many_pages_without_a_record_are_a_list_like_any_other_where_it_ends():
    numbers = iter(range(1_000))

    def answer(_call):
        number = next(numbers)
        return {"result": [], "next_cursor": f"c{number}" if number < 999 else None}

    pages = Pages(answering_client(answer), Request(method="GET", path="/x"))
    for _ in range(1_000):
        assert run_to_end(pages.next()).items == []
    assert run_to_end(pages.next()) is None


def test_a_list_that_is_resumed_knows_the_cursor_it_was_resumed_at(both_at):
    pages = {"a": page(1, cursor="b"), "b": page(2, cursor="a")}
    result = both_at(listed(pages), lambda api: api.proxy("x").list(next_cursor="a"), **FOR_ACME)
    assert result.value == [1, 2]
    assert len(result.warned) == 1


@pytest.mark.parametrize("partial", [True, False, None, "true", 1])
def test_a_partial_response_is_told_once(partial, both_at):
    pages = {None: page(1, cursor="a", is_partial_response=partial), "a": page(2, is_partial_response=partial)}
    result = both_at(listed(pages), everything, **FOR_ACME)
    assert result.value == [1, 2]
    assert len(result.warned) == (partial is True)


NO_LISTS = {
    "neither": {},
    "null": {"result": None},
    "text": {"result": "x"},
    "a number": {"results": 5},
    "a list": [1],
    "a bare record": {"id": "1"},
    "nothing": None,
}


@pytest.mark.parametrize("name", NO_LISTS)
def test_what_is_not_a_list_is_an_error(name, both_at):
    result = both_at(lambda: lambda c: c.answer(json.dumps(NO_LISTS[name])), everything, **FOR_ACME)
    assert type(result.error) is TrutoTransportError
    assert "neither `result` nor `results`" in str(result.error)
    assert len(result.requests) == 1


def test_an_empty_success_is_not_a_list(both_at):
    result = both_at(lambda: lambda c: c.answer(b"", status=204), everything, **FOR_ACME)
    assert type(result.error) is TrutoTransportError


def test_each_page_is_tried_again_by_itself(both):
    result = both(
        everything,
        prepare=lambda emulator: (emulator.fault(status=502, skip=1, times=2), emulator.fault(status=500, skip=1)),
        **FOR_ACME,
    )
    assert len(result.value) == 3
    assert [attempts for _, _, attempts, _, _ in result.called] == [1, 4]


def test_arguments_are_left_as_they_were_and_later_changes_change_nothing(both):
    query = {"updated_at": {"gt": "2020-01-01T00:00:00Z"}, "tags": ["a"], "remote_query": {"a": {"b": ["c"]}}}
    before = copy.deepcopy(query)

    def case(api):
        given = copy.deepcopy(before)
        listing = api.unified("crm", "accounts").list(limit=1, **given)
        given["updated_at"]["gt"] = "2999-01-01T00:00:00Z"
        given["tags"].append("b")
        return listing

    result = both(case, **FOR_ACME)
    assert both(lambda api: api.unified("crm", "accounts").list(limit=1, **query), **FOR_ACME).value == result.value
    assert query == before
    assert len(result.value) == 3
    assert all("2999" not in request.target and "=b" not in request.target for request in result.requests)


# ----------------------------------------------------------------------------------------------- by and by, and stops


@contextlib.contextmanager
def sync_client(url, **given):
    with contextlib.closing(
        SyncClient(ClientSettings(base_url=url, requests_per_second=0, **FOR_ACME), TOKENS, **given)
    ) as client:
        yield client


def async_client(url, **given):
    return AsyncClient(ClientSettings(base_url=url, requests_per_second=0, **FOR_ACME), TOKENS, **given)


NUMBERS = {
    None: page(1, 2, cursor="a"),
    "a": page(cursor="b"),
    "b": page(3, cursor="c", is_partial_response=True),
    "c": page(4, 5, cursor="d"),
    "d": page(6),
}
#: After so many records: the requests so far, the listing's cursor, count and whether it is partial.
STEPS = [
    (0, None, 0, False),
    (1, "a", 2, False),
    (1, "a", 2, False),
    (3, "c", 3, True),
    (4, "d", 5, True),
    (4, "d", 5, True),
    (5, None, 6, True),
]


def seen(server, listing):
    return len(server.requests), listing.cursor, listing.count, listing.is_partial_response


def test_pages_are_fetched_as_their_records_are_taken(raw_server):
    server = raw_server(listed(NUMBERS)())
    with sync_client(server.url) as client:
        listing = everything(client)
        steps = [seen(server, listing)]
        for number, record in enumerate(listing, start=1):
            assert record == number
            steps.append(seen(server, listing))
        assert steps == STEPS
        assert list(listing) == [], "it is iterated once"
    assert len(server.requests) == 5


def test_pages_are_fetched_as_their_records_are_taken_by_a_coroutine(raw_server):
    server = raw_server(listed(NUMBERS)())

    async def main():
        async with async_client(server.url) as client:
            listing = everything(client)
            steps = [seen(server, listing)]
            number = 0
            async for record in listing:
                number += 1
                assert record == number
                steps.append(seen(server, listing))
            assert [record async for record in listing] == []
            return steps

    assert asyncio.run(main()) == STEPS
    assert len(server.requests) == 5


@pytest.mark.parametrize("taken", [0, 1, 2, 3, 4, 5])
def test_who_stops_early_asks_for_nothing_more_and_resumes_at_the_cursor(taken, raw_server):
    """What was left of the page that is being read is lost: a cursor leads to a page, not into it."""
    server = raw_server(listed(NUMBERS)())
    rest = {None: [], "a": [3, 4, 5, 6], "c": [4, 5, 6], "d": [6]}
    with sync_client(server.url) as client:
        listing = everything(client)
        for _ in range(taken):
            next(listing)
        requests, cursor = STEPS[taken][:2]
        assert (len(server.requests), listing.cursor) == (requests, cursor)
        if cursor:
            assert list(client.unified("crm", "accounts").list(limit=2, next_cursor=cursor)) == rest[cursor]

    async def main():
        async with async_client(server.url) as client:
            listing = everything(client)
            for _ in range(taken):
                await listing.__anext__()
            assert listing.cursor == cursor
            before = len(server.requests)
            if cursor:
                resumed = client.unified("crm", "accounts").list(limit=2, next_cursor=cursor)
                assert [record async for record in resumed] == rest[cursor]
            return len(server.requests) - before

    assert asyncio.run(main()) == (0 if not cursor else {"a": 4, "c": 2, "d": 1}[cursor])


def test_a_list_of_pages(raw_server):
    server = raw_server(listed(NUMBERS)())
    with sync_client(server.url) as client:
        pages = list(everything(client).pages())

    async def main():
        async with async_client(server.url) as client:
            return [page async for page in everything(client).pages()]

    assert asyncio.run(main()) == pages
    assert [page.items for page in pages] == [[1, 2], [], [3], [4, 5], [6]]
    assert [page.cursor for page in pages] == ["a", "b", "c", "d", None]
    assert [page.is_partial for page in pages] == [False, False, True, False, False]


def test_a_list_that_is_begun_within_a_running_event_loop_is_whole(raw_server):
    """A loop adopts async generators: it would end one that a synchronous list had begun in it, without an error."""
    server = raw_server(listed(NUMBERS)())
    with sync_client(server.url) as client:
        listing = everything(client)

        async def begin():
            return [next(listing), next(listing)]

        assert asyncio.run(begin()) + list(listing) == [1, 2, 3, 4, 5, 6]
        pages = everything(client).pages()

        async def first_page():
            return next(pages)

        assert [page.items for page in [asyncio.run(first_page()), *pages]] == [[1, 2], [], [3], [4, 5], [6]]


def test_a_page_that_fails_ends_the_list_which_is_resumed_where_it_failed(raw_server):
    failing = {"on": True}

    def answer(conversation):
        if cursor_of(conversation) == "c" and failing["on"]:
            conversation.answer({"message": "no"}, status=400)
        else:
            conversation.answer(NUMBERS[cursor_of(conversation)])

    server = raw_server(answer)
    with sync_client(server.url) as client:
        listing = everything(client)
        taken = []
        with pytest.raises(TrutoBadRequestError):
            taken.extend(listing)
        assert list(listing) == []
        assert listing.cursor == "c"
        failing["on"] = False
        assert list(client.unified("crm", "accounts").list(next_cursor=listing.cursor)) == [4, 5, 6]

    async def main():
        failing["on"] = True
        async with async_client(server.url) as client:
            listing = everything(client)
            with pytest.raises(TrutoBadRequestError):
                [record async for record in listing]
            assert [record async for record in listing] == []
            return listing.cursor

    assert asyncio.run(main()) == "c"


def test_warnings_come_before_the_records_of_their_page(raw_server):
    events = []
    server = raw_server(listed({None: page(1, is_partial_response=True)})())
    with sync_client(server.url, observer=Observer(on_warning=events.append)) as client:
        events.extend(everything(client))
    assert len(events) == 2
    assert events[1] == 1


# ---------------------------------------------------------------------------------------------------------- at large

#: Sizes of pages, in the order in which they come.
SIZES = st.lists(st.integers(0, 3), max_size=8)


@given(sizes=SIZES, end=st.sampled_from([None, "", "absent"]), name=st.sampled_from(["result", "results"]))
def test_whatever_the_sizes_of_its_pages_a_list_is_whole(sizes, end, name, both_at):
    sizes = sizes or [0]
    pages, records = {}, []
    for number, size in enumerate(sizes):
        items = [f"{number}-{place}" for place in range(size)]
        records += items
        cursor = f"c{number + 1}" if number + 1 < len(sizes) else end
        answer = {name: items, "next_cursor": cursor}
        if cursor == "absent":
            del answer["next_cursor"]
        pages[f"c{number}" if number else None] = answer
    result = both_at(listed(pages), everything, **FOR_ACME)
    assert result.value == records
    assert len(result.requests) == len(sizes)
    assert result.warned == []


PAGE_SIZE = 100


def endless(count):
    """A server of so many records, a kilobyte each."""
    filling = "x" * 1000

    def answer(conversation):
        start = int(cursor_of(conversation) or 0)
        end = min(start + PAGE_SIZE, count)
        records = [{"id": str(number), "filling": f"{number}{filling}"} for number in range(start, end)]
        conversation.answer(page(*records, cursor=str(end) if end < count else None))
        # The conversations are kept by the server, which is in this process.
        conversation.server.requests.clear()

    return answer


def peak_of(driver, count, raw_server):
    server = raw_server(endless(count))

    async def main():
        async with async_client(server.url) as client:
            number = 0
            async for record in everything(client):
                assert record["id"] == str(number)
                number += 1
            return number

    tracemalloc.start()
    try:
        if driver == "async":
            number = asyncio.run(main())
        else:
            with sync_client(server.url) as client:
                number = sum(1 for _ in everything(client))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert number == count
    return peak


@pytest.mark.parametrize("driver", ["sync", "async"])
def test_ten_thousand_records_take_no_more_memory_than_a_thousand(driver, raw_server):
    peak_of(driver, PAGE_SIZE, raw_server)  # what is imported and cached on the way is not a list's
    small, large = peak_of(driver, 1_000, raw_server), peak_of(driver, 10_000, raw_server)
    # A page takes 100 KiB as bytes and as much as records; ten thousand would take ten MiB and more.
    assert large < small + 1024 * 1024
    assert large < 4 * 1024 * 1024
