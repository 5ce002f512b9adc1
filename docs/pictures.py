"""Takes the pictures of every page: in both themes, wide and on a phone, of a demo of its own.

python docs/pictures.py [CONVERSATIONS]        # `make pictures` does it with the 20,000 of the demo
"""

import base64
import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from dropoff.dashboard.frame.navigation import NAVIGATION

CHROMIUM = "/usr/bin/chromium"
FOLDER = Path(__file__).with_name("images")
GALLERY = Path(__file__).with_name("gallery.md")
SIZES: dict[str, dict[str, Any]] = {
    "wide": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
THEMES = ("light", "dark")
MOST = 1800
"""Pixels of a page that are shown: what is below is more of the same."""
WORK_MILLISECONDS = 120_000
"""So long a page is waited for that works something out while it is open."""
QUALITY = 72
MOST_BYTES = 6_000_000
ASKED = {"/experiments": "/experiments?name=first_message", "/patterns": "/patterns?success=booked"}
"""Pages that say more when they are asked for one thing."""


def main() -> None:
    """Every picture anew."""
    many = sys.argv[1] if len(sys.argv) > 1 else "20000"
    with demo(many) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        pages = addresses(url)
        for picture in pictures(browser, url, pages):
            print(picture.name, f"{picture.stat().st_size / 1000:.0f} kB")
    GALLERY.write_text(gallery(pages))
    size = sum(picture.stat().st_size for picture in FOLDER.iterdir())
    print(f"all: {size / 1e6:.1f} MB")
    if size > MOST_BYTES:
        sys.exit(f"docs/images == {size} bytes, must be at most {MOST_BYTES}")


@contextmanager
def demo(conversations: str) -> Iterator[str]:
    """The address of a server on fresh demo data."""
    program = Path(sys.executable).with_name("dropoff")
    with tempfile.TemporaryDirectory() as data:
        command = [program, "demo", "--data", data, "--port", "0", "--no-browser", "--conversations", conversations]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
            assert server.stdout
            found = next((line for line in server.stdout if "The funnel:" in line), None)
            try:
                if found is None:
                    sys.exit("the demo did not start")
                yield found.split()[-1].rstrip("/")
            finally:
                server.terminate()


def addresses(url: str) -> dict[str, str]:
    """By the name of its picture where each page is: those of the navigation, and one conversation."""
    with urllib.request.urlopen(f"{url}/api/v1/conversations?stage=booked&limit=1") as answer:
        one = json.load(answer)["conversations"][0]["id"]
    pages = [page.path for group in NAVIGATION for page in group.pages if page.path != "/api/docs"]
    named = {path.strip("/") or "funnel": ASKED.get(path, path) for path in pages}
    return {**named, "conversation": f"/conversations/{one}"}


def pictures(browser: Browser, url: str, pages: dict[str, str]) -> Iterator[Path]:
    """The pages one after the other, in each size and theme."""
    for size, options in SIZES.items():
        for theme in THEMES:
            page = browser.new_context(color_scheme=theme, reduced_motion="reduce", **options).new_page()
            for name, path in pages.items():
                answer = page.goto(url + path)
                if answer and answer.ok:
                    page.locator("[data-work]").wait_for(state="detached", timeout=WORK_MILLISECONDS)
                    yield take(page, FOLDER / f"{name}-{size}-{theme}.webp")
            page.context.close()


def take(page: Page, file: Path) -> Path:
    """The top of a page as WebP."""
    width = page.evaluate("document.documentElement.clientWidth")
    height = min(page.evaluate("document.documentElement.scrollHeight"), MOST)
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    asked = {"format": "webp", "quality": QUALITY, "captureBeyondViewport": True, "clip": clip}
    shot = page.context.new_cdp_session(page).send("Page.captureScreenshot", asked)
    file.write_bytes(base64.b64decode(shot["data"]))
    return file


def gallery(pages: dict[str, str]) -> str:
    """The page that shows them: each in light and wide, with links to the others."""
    parts = ["# Every page\n\nOf the demo data; `make pictures` takes them.\n"]
    for name in pages:
        title = name.replace("_", " ").capitalize()
        others = " · ".join(
            f"[{size}, {theme}](images/{name}-{size}-{theme}.webp)" for size in SIZES for theme in THEMES
        )
        parts.append(f"## {title}\n\n{others}\n\n![{title}](images/{name}-wide-light.webp)\n")
    return "\n".join(parts)


if __name__ == "__main__":
    main()
