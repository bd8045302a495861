"""Draw answers from an OpenAI-style endpoint, such as vLLM, SGLang or llama.cpp serve."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PREFIX = "openai:"
KEY = "OPENAI_API_KEY"  # sent as it is where the environment has it
_MOST_BYTES = 256_000_000  # of one reply
_WAIT_S = 30.0  # longest pause between two tries


class NoAnswer(Exception):
    """Tell that a question got no answer, and why."""


class BadRequest(NoAnswer):
    """Tell that the endpoint refuses a request, so that it is not tried again."""


@dataclass(frozen=True)
class Endpoint:
    """Draw from ``URL/completions``, or ``URL/chat/completions`` with ``chat``.

    Attributes
    ----------
    url : base address, such as http://127.0.0.1:8000/v1
    model : name that the server knows
    chat : send the prompt as a user's message
    timeout : seconds that one reply may take
    retries : further tries of a request that failed
    pause : seconds before the second try; doubled before each further one
    """

    url: str
    model: str
    chat: bool = False
    timeout: float = 300.0
    retries: int = 4
    pause: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(
                f"source must be openai:http://HOST:PORT/v1, got {PREFIX}{self.url}. Begin the "
                "address with http:// or https://."
            )

    def draw(self, prompt: str, n: int, seed: int, options: Mapping[str, Any]) -> list[str]:
        """Return ``n`` answers to a prompt.

        Servers that give fewer answers than ``n`` in one reply are asked again with other seeds.

        Raises
        ------
        NoAnswer
            After the last retry, or if the server refuses the request (``BadRequest``).
        """
        answers: list[str] = []
        while len(answers) < n:
            body = {
                "model": self.model,
                "n": n - len(answers),
                "seed": (seed + len(answers)) % (1 << 31),
                **options,
            }
            message = [{"role": "user", "content": prompt}]
            body |= {"messages": message} if self.chat else {"prompt": prompt}
            answers += self._ask(body)[: n - len(answers)]
        return answers

    def check(self) -> None:
        """Ask for one token, so that a wrong address or name is known before the work.

        Raises
        ------
        ValueError
            If there is no answer.
        """
        try:
            self.draw("Hello", 1, 0, {"max_tokens": 1, "temperature": 1.0})
        except NoAnswer as error:
            raise ValueError(
                f"source must be an endpoint that answers, got {PREFIX}{self.url} ({error}). Start "
                "the server, or correct the address: it usually ends in /v1."
            ) from error

    def _ask(self, body: Mapping[str, Any]) -> list[str]:
        """Send a request until it is answered."""
        trouble = ""
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(min(self.pause * 2 ** (attempt - 1), _WAIT_S))
            try:
                return _texts(self._reply(body), chat=self.chat)
            except urllib.error.HTTPError as error:
                trouble = _reason(error)
                if error.code < 500 and error.code not in (408, 409, 425, 429):
                    raise BadRequest(
                        f"{self.url} refuses the request for model {self.model!r}: {trouble}"
                    ) from error
            except (OSError, http.client.HTTPException) as error:
                trouble = f"{type(error).__name__}: {getattr(error, 'reason', error)}"
            except ValueError as error:
                trouble = f"its reply is no completion: {error}"
        raise NoAnswer(f"{trouble}, after {self.retries + 1} tries")

    def _reply(self, body: Mapping[str, Any]) -> Any:
        """Send one request and return the JSON of its reply."""
        headers = {"Content-Type": "application/json"}
        if os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {os.environ[KEY]}"
        address = self.url.rstrip("/") + ("/chat/completions" if self.chat else "/completions")
        request = urllib.request.Request(address, json.dumps(body).encode(), headers)
        # The scheme was checked: http or https.
        with urllib.request.urlopen(request, timeout=self.timeout) as reply:  # nosec B310
            content = reply.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError(f"it is longer than {_MOST_BYTES:,} bytes")
        return json.loads(content)


def _texts(body: Any, *, chat: bool) -> list[str]:
    """Return the answers of a reply."""
    choices = body.get("choices") if isinstance(body, Mapping) else None
    if not isinstance(choices, list) or not choices:
        raise ValueError(f"there are no choices in {str(body)[:120]}")
    texts = []
    for choice in choices:
        entry = choice if isinstance(choice, Mapping) else {}
        text = (entry.get("message") or {}).get("content") if chat else entry.get("text")
        if chat and text is None and "message" in entry:
            text = ""  # a model that stops at once
        if not isinstance(text, str):
            raise ValueError(f"there is no text in {str(choice)[:120]}")
        texts.append(text)
    return texts


def _reason(error: urllib.error.HTTPError) -> str:
    """Return status and message of an error reply."""
    try:
        text = error.read(2000).decode("utf-8", "replace").strip()
    except OSError:
        text = ""
    return f"status {error.code}{f' ({text[:300]})' if text else ''}"
