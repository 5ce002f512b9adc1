import re
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import expect

from dropoff.phrases import formats


def figure(text):
    return int(re.sub(r"\D", "", text))


def test_from_the_list_to_an_experiment_to_its_conversations(demo, page):
    page.goto(demo.url)
    page.get_by_role("navigation").get_by_role("link", name="Compare").click()
    page.get_by_role("navigation").get_by_role("link", name="Experiments").click()
    found = page.get_by_role("region", name="What to do").locator("tbody tr")
    answer = demo.get("/api/v1/experiments")["experiments"]
    expect(found).to_have_count(len(answer))
    expect(found.nth(0)).to_contain_text("Ship question")
    page.get_by_role("link", name="first_message", exact=True).click()
    assert parse_qs(urlsplit(page.url).query) == {"name": ["first_message"]}
    expect(page.get_by_role("heading", level=1)).to_have_text("first_message")
    expect(page.locator(".plot canvas")).to_be_visible()
    rate = page.get_by_role("region", name="Arms").locator("tbody tr").nth(0).get_by_role("link").nth(0)
    metric = answer[0]["arms"][0]["metrics"]["responded_per_unit"]
    assert rate.inner_text() == formats.percent(metric["value"])
    rate.click()
    expect(page.get_by_role("heading", level=2)).to_have_text(f"{metric['numerator']:,.0f} conversations")
    expect(page.get_by_role("link", name="Remove filter Experiment: First message")).to_be_visible()


def test_an_experiment_is_read_once_at_its_end_if_one_likes(demo, page):
    page.goto(f"{demo.url}/experiments?name=first_message")
    page.locator("select[name=horizon]").select_option("fixed")
    page.get_by_role("button", name="Apply").click()
    assert parse_qs(urlsplit(page.url).query)["horizon"] == ["fixed"]
    assert parse_qs(urlsplit(page.url).query)["name"] == ["first_message"]
    expect(page.get_by_role("heading", name="Keep running")).to_be_visible()


def test_a_plan_is_made_by_keyboard(demo, page):
    page.goto(f"{demo.url}/experiments")
    page.get_by_label("Share now").fill("0.2")
    page.get_by_label("Difference to find").fill("0.05")
    page.keyboard.press("Enter")
    page.wait_for_url("**/experiments?*effect=0.05*")
    units = demo.get("/api/v1/experiments/plan?base=0.2&effect=0.05")["units_per_arm"]
    assert figure(page.get_by_text("Units in each arm", exact=True).locator("xpath=..").inner_text()) == units
    page.get_by_label("Share now").fill("two")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Base")
    assert page.get_by_label("Share now").get_attribute("aria-invalid") == "true"
