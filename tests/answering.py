"""A transport that answers by itself, so that coroutines run to their end without a server."""

from __future__ import annotations

import json

from airflow_provider_truto.client.core import Client
from airflow_provider_truto.client.response import Response
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.sync import run_to_end
from airflow_provider_truto.client.tokens import ApiToken, Token, TokenCache

TOKENS = ApiToken(Token("test-token"), reread=lambda: Token("test-token"))


class AnsweringTransport:
    """``answer(call)`` gives the JSON of each answer; ``called`` are the calls so far."""

    def __init__(self, answer):
        self._answer = answer
        self.called = []

    async def send(self, call, token):
        self.called.append(call)
        body = json.dumps(self._answer(call)).encode()
        return Response(status=200, headers={"content-type": "application/json"}, body=body)


def answering_client(answer, settings=None, *, observer=None):
    """A client whose calls are answered by ``answer(call)``; nothing is paced."""
    settings = settings or ClientSettings(requests_per_second=0)
    return Client(settings, TOKENS, AnsweringTransport(answer), token_cache=TokenCache(), observer=observer)


def run(function, *args, answer, settings=None, **kwargs):
    """The result of a coroutine function of a client whose calls are answered by ``answer(call)``."""
    return run_to_end(function(answering_client(answer, settings), *args, **kwargs))
