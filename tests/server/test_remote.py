"""What the command line makes of a server that answers oddly."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dropoff.errors import Unavailable
from dropoff.server.remote import Remote


class Odd(BaseHTTPRequestHandler):
    """A report with a name that leads elsewhere; of anything else a page of some proxy."""

    def do_GET(self) -> None:
        is_report = self.path.startswith("/api/v1/report")
        self.send_response(200 if is_report else 502)
        self.send_header("Content-Disposition", 'inline; filename="../../up.html"')
        self.end_headers()
        self.wfile.write(b"<p>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def remote() -> Iterator[Remote]:
    with HTTPServer(("127.0.0.1", 0), Odd) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Remote(f"http://127.0.0.1:{server.server_port}", "token")
        server.shutdown()
        thread.join()


def test_the_name_of_a_report_leads_nowhere(remote: Remote):
    assert remote.report({}) == ("up.html", b"<p>")


def test_what_is_no_answer_of_ours_is_unavailable(remote: Remote):
    for asked in (lambda: remote.ask("funnel", {}), lambda: list(remote.export({}))):
        with pytest.raises(Unavailable, match=r"the server at http://127\.0\.0\.1"):
            asked()
