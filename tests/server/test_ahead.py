"""What pages ask first is made before somebody asks, where it takes long."""

import asyncio
from threading import Event

import httpx

from dropoff.analyse.analytics import Analytics
from dropoff.control.access import Access
from dropoff.dashboard.pages.routes import OPENED
from dropoff.project.settings import load
from dropoff.server.ahead import Ahead
from dropoff.server.app import web
from dropoff.server.connect import connect
from dropoff.server.engine import Engine


class Asked:
    """Analytics of which only is known what they were asked."""

    def __init__(self, is_large):
        self.is_large = is_large
        self.asked, self.done = [], Event()

    def __getattr__(self, question):
        def ask(params):
            self.asked.append((question, params))
            if len(self.asked) == len(OPENED):
                self.done.set()

        return ask


def test_a_large_store_is_asked_what_every_page_asks():
    found = Asked(is_large=True)
    job = Ahead(found)  # pyright: ignore[reportArgumentType] - stands for them
    job.start()
    assert found.done.wait(30)
    job.stop()
    assert found.asked == list(OPENED)


def test_a_small_one_is_asked_nothing():
    found = Asked(is_large=False)
    job = Ahead(found)  # pyright: ignore[reportArgumentType] - stands for them
    job.start()
    job.stop()
    assert not found.asked


def test_only_a_server_makes_answers_ahead(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(Ahead, "start", lambda self: started.append(self))
    settings = load(data=tmp_path / "data")
    with connect(settings, create=True):
        assert not started, "a command waits for nothing but its own answer"
    with Engine(settings):
        assert len(started) == 1


async def status(app, path):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:8787") as client:
        return (await client.get(path)).status_code


def test_what_is_made_ahead_is_what_a_page_asks(tmp_path, monkeypatch):
    asked, kept = [], Analytics._kept

    def spy(self, question, params, *more):
        asked.append((question, dict(params)))
        return kept(self, question, params, *more)

    monkeypatch.setattr(Analytics, "_kept", spy)
    with Engine(load(data=tmp_path / "data")) as engine:
        app = web(engine, Access(engine.control, "local"))
        for question, params in OPENED:
            asked.clear()
            page = {"unusual": "executive"}.get(question, question)
            assert asyncio.run(status(app, f"/{page}")) == 200
            if question == "optimization":  # remembers its parts itself
                assert params == {"work": ["ready"]}
            else:
                assert (question, params) in asked
