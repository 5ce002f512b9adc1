"""Requests to an application in this process."""

import asyncio
from typing import Any

import httpx

ADDRESS = "http://127.0.0.1:8787"


def request(app: Any, method: str, path: str, *, raising: bool = True, **more: Any) -> httpx.Response:
    """What the ASGI application `app` answers. `raising`: what it raises is raised here, too."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=raising)
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
            return await client.request(method, path, **more)

    return asyncio.run(send())
