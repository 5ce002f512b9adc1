"""What the forms of pages do: they act, and a page is shown again."""

from collections.abc import Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dropoff.dashboard.frame.frame import error_page
from dropoff.dashboard.frame.rendering import SECURITY_HEADERS, followed
from dropoff.errors import DropoffError, InvalidInput, NotFound
from dropoff.phrases.addresses import url

Given = Mapping[str, str]
"""The fields of a form as they were sent, without space around them."""


def form(
    path: str, home: str, act: Callable[[Given], object], refused: Callable[[Request, Given, InvalidInput], Response],
    again: Callable[[Given], str] | None = None,
) -> Route:  # fmt: skip
    """`POST path`: `act` is told what was given, and the page is shown `again`, by default that of `home`.

    A mistake is `refused`. `GET` leads home: so asks who has just logged in, or keeps the address of a mistake.
    """

    async def answer(request: Request) -> Response:
        back = url(home, followed(request))
        if request.method == "GET":
            return to(back)
        given = {key: text.strip() for key, text in (await request.form()).items() if isinstance(text, str)}
        try:
            await run_in_threadpool(act, given)
        except NotFound:
            pass  # somebody else was faster
        except InvalidInput as error:
            return await run_in_threadpool(refused, request, given, error)
        except DropoffError as error:
            return error_page(request, error)
        return to(again(given) if again else back)

    return Route(path, answer, methods=["GET", "POST"])


def to(address: str) -> Response:
    """Where to look now."""
    return RedirectResponse(address, 303, SECURITY_HEADERS)
