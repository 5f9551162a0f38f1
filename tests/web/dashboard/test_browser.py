"""The dashboard in a real browser, against a real server and a real (tiny) model."""

import re

import pytest
from tests.web.dashboard.browsing import (
    BRIGHT,
    boxes,
    deploy,
    file,
    overflow,
    picture,
    png,
    served,
    slide,
    tab_to,
)
from tests.web.dashboard.scenes import minutes_ago

from andon.serving.starter import install_starter
from andon.web.dashboard import wording

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_model_goes_from_its_file_to_the_line_and_off_again(page, fresh):
    """Deploy, refuse, switch, roll back, delete: what a person does with versions."""
    page.goto(fresh.url)
    assert "Waiting for a first model" in page.inner_text("h1")
    page.click("text=Deploy a model >> nth=0")
    page.wait_for_url("**/models?model=pcb#deploy")

    assert deploy(page, fresh, "first", "The first one") == (
        "Live as v1. The next picture is answered by it."
    )
    assert served(page) == "v1"
    assert "The first one" in page.inner_text(".version.is-active")
    assert "Live as v2" in deploy(page, fresh, "second")
    assert served(page) == "v2"
    assert "is v1 already" in deploy(page, fresh, "first")
    assert served(page) == "v1"

    page.click("[data-act=activate][data-version='2']")
    page.fill("#dialog-reason", "Better on station 4")
    page.click("#dialog-go")
    page.wait_for_selector("[data-key=v2].is-active")
    assert "Better on station 4" in page.inner_text("#history")

    page.click("[data-act=delete][data-version='2']")
    assert "serves, so it stays" in page.inner_text("#dialog-title")
    assert not page.is_visible("#dialog-go")
    page.click("#dialog-cancel")

    page.click("[data-act=rollback]")
    assert page.inner_text("#dialog-title") == "Go back to v1?"
    page.fill("#dialog-reason", "False alarms")
    page.click("#dialog-go")
    page.wait_for_selector("[data-key=v1].is-active")
    assert "Rolled back from v2 to v1" in page.inner_text("#history")

    page.click("[data-act=delete][data-version='2']")
    page.click("#dialog-go")
    page.wait_for_selector("[data-key=v2]", state="detached")
    assert [one["version"] for one in fresh.client.get("/api/models").json()] == [1]


def test_a_refused_model_says_why_and_changes_nothing(page, fresh, witness):
    """The reason is the server's own, and what serves goes on."""
    fresh.upload("first")
    page.goto(f"{fresh.url}/models")
    witness.expect("400 (Bad Request)")
    page.set_input_files("#model-file", file("notes.onnx", b"these are only words"))
    page.click("#deploy-button")
    page.wait_for_selector("#deploy-said.is-bad")
    said = page.inner_text("#deploy-said")
    assert "it is plain text" in said
    assert said.endswith("v1 goes on serving.")
    assert page.get_attribute("#phase-check", "class") == "is-bad"
    assert served(page) == "v1"
    page.wait_for_selector("#head-lamp.chip-yellow")
    page.click("#head-lamp")
    assert "it is plain text" in page.inner_text(".hero")


def test_rolling_back_without_a_predecessor_is_explained(page, fresh):
    """The dialog says what to do first, and offers no button that would fail."""
    fresh.upload("first")
    page.goto(f"{fresh.url}/models")
    page.click("[data-act=rollback]")
    assert page.inner_text("#dialog-title") == "Nothing to go back to"
    assert not page.is_visible("#dialog-go")
    page.keyboard.press("Escape")
    assert not page.is_visible("#dialog")


def test_a_picture_is_inspected_and_its_boxes_lie_where_the_defects_are(page, fresh):
    """The boxes match the pixels, in the fitted view and zoomed in."""
    fresh.upload("first")
    page.goto(f"{fresh.url}/inspect")
    page.set_input_files("#pick", png())
    page.wait_for_selector("#result:visible")
    assert page.inner_text("#result h2") == "2 defects: spot 1.00, spot 0.60"
    assert boxes(page) == [[16, 24, 8, 8], [40, 8, 8, 8]]
    page.click("#zoom-in")
    page.click("#zoom-in")
    assert page.inner_text("#zoom-value") == "800 %"
    assert boxes(page) == [[16, 24, 8, 8], [40, 8, 8, 8]]
    page.focus("#stage")
    page.keyboard.press("0")
    assert page.inner_text("#zoom-value") == "Fit"
    assert "1 fainter one below 0.50" in page.inner_text("#result")

    page.reload()
    page.wait_for_selector("#result button.found-row")
    assert boxes(page) == [[16, 24, 8, 8], [40, 8, 8, 8]]


def test_the_threshold_filters_live_and_leaves_the_log_alone(page, fresh):
    """The slider shows fainter finds; what was logged is what the line would have said."""
    fresh.upload("first")
    page.goto(f"{fresh.url}/inspect")
    page.set_input_files("#pick", png())
    page.wait_for_selector("#result button.found-row")
    slide(page, 0.05)
    assert boxes(page) == [[16, 24, 8, 8], [40, 8, 8, 8], [48, 48, 8, 8]]
    assert page.inner_text("#result h2").startswith("3 defects")
    assert "The line counts from 0.50: 2 defects." in page.inner_text("#result")
    slide(page, 0.9)
    assert boxes(page) == [[16, 24, 8, 8]]
    page.click("#to-line")
    assert page.input_value("#threshold") == "0.5"
    assert len(boxes(page)) == 2
    logged = fresh.client.get("/api/predictions").json()["items"]
    assert [len(one["detections"]) for one in logged] == [2]


def test_labels_stay_apart_even_in_a_crowd(page, fresh):
    """No label covers another; where there is no room, pointing at the row shows it."""
    fresh.upload("first")
    crowd = {(x, y): BRIGHT for x in range(0, 64, 16) for y in range(0, 64, 16)}
    page.goto(f"{fresh.url}/inspect")
    page.set_input_files("#pick", png("crowd.png", picture(crowd)))
    page.wait_for_selector("#result button.found-row")
    visible = """() => [...document.querySelectorAll("#stage .label")]
      .filter((one) => getComputedStyle(one).display !== "none")
      .map((one) => { const r = one.querySelector("rect").getBoundingClientRect();
                      return [r.x, r.y, r.right, r.bottom]; })"""
    page.set_viewport_size({"width": 390, "height": 500})
    labels = page.evaluate(visible)
    for place, (left, top, right, bottom) in enumerate(labels):
        for x, y, x2, y2 in labels[:place]:
            assert right <= x or left >= x2 or bottom <= y or top >= y2
    for row in page.locator("button.found-row").all():
        row.focus()
        number = row.get_attribute("data-number")
        assert page.locator(f"#stage .label.is-on[data-number='{number}']").is_visible()


def test_a_past_inspection_opens_with_the_threshold_it_was_asked_for(page, fresh):
    """What the log says and what the page shows agree; the line's mark stays where it is."""
    fresh.upload("first")
    answer = fresh.predict(picture(), threshold="0.2").json()
    page.goto(f"{fresh.url}/inspect?id={answer['prediction_id']}")
    page.wait_for_selector("#result button.found-row")
    assert page.inner_text("#threshold-value") == "0.20"
    assert len(boxes(page)) == len(answer["detections"]) == 3
    assert page.inner_text("#line-value") == "0.50"


def test_the_list_and_the_boxes_point_at_each_other(page, fresh):
    """Hovering or focusing a row lifts its box out, and hovering a box marks its row."""
    fresh.upload("first")
    page.goto(f"{fresh.url}/inspect")
    page.set_input_files("#pick", png())
    page.wait_for_selector("#result button.found-row")
    page.hover("button.found-row[data-number='2']")
    assert page.get_attribute("#stage .box.is-on", "data-number") == "2"
    page.focus("button.found-row[data-number='1']")
    assert page.get_attribute("#stage .box.is-on", "data-number") == "1"
    page.hover("#stage .box[data-number='2']")
    assert page.get_attribute(".found-row.is-on", "data-number") == "2"


def test_one_bad_picture_does_not_sink_the_others(page, fresh, witness):
    """Each file has its own state and message; the rest goes on."""
    fresh.upload("first")
    witness.expect("400 (Bad Request)")
    page.goto(f"{fresh.url}/inspect")
    # Grey and faint: all black would be a sick camera.
    clean = picture({(16, 24): 100})
    page.set_input_files(
        "#pick",
        [png("broken.png", b"\x89PNG\r\n\x1a\nno"), png("good.png"), png("clean.png", clean)],
    )
    page.wait_for_selector(".film li:nth-child(3) .film-state:text('nothing found')")
    entries = page.locator(".film li").all_inner_texts()
    assert re.match(r"broken.png\s+Invalid image", entries[0])
    assert "2 defects" in entries[1]
    assert "Invalid image" in page.inner_text("#stage")
    page.click(".film li:nth-child(3) button")
    assert page.inner_text("#result h2") == "Nothing found above 0.50"


# Gives a file to an element the way a person drops or pastes one.
_GIVE = """([selector, kind, name, type, bytes]) => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(bytes)], name, { type }));
  const target = document.querySelector(selector);
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: given, bubbles: true })
    : new DragEvent(kind, { dataTransfer: given, bubbles: true, cancelable: true });
  target.dispatchEvent(event);
}"""


def test_files_can_be_dropped_and_pasted(page, fresh):
    """A model onto its field; pictures anywhere on Inspect; a copied picture with Ctrl+V."""
    page.goto(f"{fresh.url}/models")
    model = list(fresh.model_file("first"))
    page.evaluate(_GIVE, ["#model-drop", "drop", "first.onnx", "", model])
    assert "first.onnx" in page.inner_text("#model-drop")
    page.click("#deploy-button")
    page.wait_for_selector("#deploy-said >> text=Live as v1")

    page.goto(f"{fresh.url}/inspect")
    page.evaluate(_GIVE, ["main", "drop", "dropped.png", "image/png", list(picture())])
    page.wait_for_selector(".film >> text=2 defects")
    pasted = list(picture({(8, 8): BRIGHT}))
    page.evaluate(_GIVE, ["body", "paste", "pasted.png", "image/png", pasted])
    page.wait_for_selector(".film >> text=1 defect")
    assert page.inner_text("#result h2") == "1 defect: spot 1.00"


def test_a_busy_line_is_waited_for(page, fresh, witness):
    """503 with Retry-After is no failure: the picture is sent again by itself."""
    fresh.upload("first")
    witness.expect("503 (Service Unavailable)")
    page.goto(f"{fresh.url}/inspect")
    refusals = iter([True])

    def answer(route):
        if next(refusals, False):
            route.fulfill(status=503, headers={"Retry-After": "1"}, body='{"detail": "full"}')
        else:
            route.continue_()

    page.route("**/api/predict", answer)
    page.set_input_files("#pick", png())
    page.wait_for_selector("#result button.found-row")
    assert len(boxes(page)) == 2


def test_past_inspections_open_filter_and_page(page, fresh):
    """The gallery leads back to every inspection, and its filters work."""
    fresh.upload("first")
    for number in range(26):
        fresh.predict(picture({}), name=f"clean-{number}.png")
    fresh.predict(picture(), name="found.png")
    page.goto(f"{fresh.url}/inspect")
    assert page.locator(".shot").count() == 24
    page.click("text=Older")
    page.wait_for_selector("text=Newest")
    assert page.locator(".shot").count() == 3
    page.go_back()
    page.wait_for_selector(".shot:nth-child(24)")
    page.select_option("select[name=only]", "found")
    page.wait_for_selector(".shot:nth-child(2)", state="detached")
    assert page.locator(".shot").count() == 1
    page.click(".shot a")
    page.wait_for_selector("#result button.found-row")
    assert "id=" in page.url
    assert boxes(page) == [[16, 24, 8, 8], [40, 8, 8, 8]]
    page.reload()
    page.wait_for_selector("#result button.found-row")
    assert page.input_value("select[name=only]") == "found"


def test_two_versions_are_compared_on_a_picture(page, fresh):
    """Both pictures, both sets of boxes, and the numbers side by side."""
    fresh.upload("first")
    fresh.upload("second", options='{"threshold": 0.8}')
    page.goto(f"{fresh.url}/models")
    page.set_input_files("#compare-file", png())
    page.click("#compare-button")
    page.wait_for_selector(".compare-table")
    said = page.inner_text("#compare-result")
    assert "1 defect found by both, 1 only by B." in said
    assert boxes(page, "figure:nth-child(1)") == [[16, 24, 8, 8]]
    assert boxes(page, "figure:nth-child(2)") == [[16, 24, 8, 8], [40, 8, 8, 8]]
    assert re.search(r"Defects\s+1\s+2", said)


def test_one_version_tells_all_about_itself(page, fresh):
    """Details lead to the version's own page; an unknown one is a readable page too."""
    fresh.upload("first", notes="Night build")
    page.goto(f"{fresh.url}/models")
    page.click("text=Details")
    assert page.inner_text("h1") == "pcb v1"
    assert "Night build" in page.inner_text("main")
    assert "64 × 64 pixels" in page.inner_text("main")


def test_an_unknown_page_is_readable_and_leads_on(page, fresh, witness):
    """A person gets a page, a program problem details."""
    witness.expect("404 (Not Found)")
    page.goto(f"{fresh.url}/models/9")
    assert page.inner_text("h1") == "There is nothing here"
    assert page.get_attribute("main .button", "href") == "/models"
    page.goto(f"{fresh.url}/inspect?id=01931111-0000-7000-8000-000000000000")
    assert "not in the log" in page.inner_text("#missing")


def test_the_overview_follows_the_line(page, fresh, witness):
    """It updates by itself without reloading, and says when the server is gone."""
    fresh.upload("first")
    # The page's own clock, so that nobody waits for the seconds between two looks.
    page.clock.install()
    page.goto(fresh.url)
    assert page.inner_text("h1") == "Ready for the first board"
    page.evaluate("window.untouched = true")
    fresh.predict(picture(), name="board-7.png")
    page.clock.fast_forward(5_000)
    page.wait_for_selector(".shot >> text=2 defects: spot 1.00, spot 0.60")
    assert page.inner_text("h1") == "The line is running"
    assert page.evaluate("window.untouched") is True

    witness.expect("ERR_INTERNET_DISCONNECTED")
    page.context.set_offline(True)
    page.clock.fast_forward(5_000)
    page.wait_for_selector("#offline:visible")
    assert re.match(r"Andon cannot be reached since .* UTC", page.inner_text("#offline"))
    page.context.set_offline(False)
    page.clock.fast_forward(7_000)
    page.wait_for_selector("#offline", state="hidden")


def test_everything_works_with_the_keyboard_alone(page, fresh):
    """Deploy, inspect, move the threshold, zoom, roll back: no mouse needed."""
    # Somebody must listen before the key is pressed: the browser is told so asynchronously.
    page.on("filechooser", lambda _: None)
    page.goto(f"{fresh.url}/models")
    page.keyboard.press("Tab")
    assert page.inner_text(":focus") == "Skip to the content"
    tab_to(page, "#model-file")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(file("first.onnx", fresh.model_file("first")))
    tab_to(page, "#model-notes")
    page.keyboard.type("By keyboard")
    tab_to(page, "#deploy-button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#deploy-again:focus")
    fresh.upload("second")
    page.reload()
    tab_to(page, "[data-act=rollback]")
    page.keyboard.press("Enter")
    page.keyboard.type("Checked by hand")
    tab_to(page, "#dialog-go")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-key=v1].is-active")

    page.goto(f"{fresh.url}/inspect")
    tab_to(page, "#pick")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(png())
    page.wait_for_selector("#result button.found-row")
    tab_to(page, "#threshold")
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert page.inner_text("#threshold-value") == "0.70"
    assert len(boxes(page)) == 1
    tab_to(page, "#stage")
    page.keyboard.press("+")
    assert page.inner_text("#zoom-value") != "Fit"
    tab_to(page, "button.found-row")
    assert page.get_attribute("#stage .box.is-on", "data-number") == "1"
    tab_to(page, ".shot a")


def test_pages_stand_still_while_they_load(page, fresh):
    """Nothing moves under the reader's eyes or finger (cumulative layout shift)."""
    fresh.upload("first")
    fresh.upload("second")
    answer = fresh.predict(picture()).json()
    for path in ("/", "/inspect", f"/inspect?id={answer['prediction_id']}", "/models", "/models/1"):
        page.goto(fresh.url + path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.shifted") < 0.02, path


def test_the_theme_is_remembered(page, fresh):
    """The button goes through auto, light and dark; the next page keeps it."""
    page.goto(fresh.url)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme")
    page.click("#theme")
    assert "dark" in page.inner_text("#theme")
    dark = page.evaluate(ground)
    assert dark != light
    page.goto(f"{fresh.url}/models")
    assert page.evaluate(ground) == dark


def test_a_tablet_shows_the_head_without_scrolling_sideways(page, fresh):
    """Between a phone and a desk the pages' names get a row of their own."""
    for width in (641, 768, 900, 921, 1024):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(fresh.url)
        assert overflow(page) == [], width


def test_a_phone_shows_everything_without_scrolling_sideways(phone, fresh):
    """390 pixels are enough for every page, and fingers find every button."""
    install_starter(fresh.platform.deployments)  # v1's page has the model card: tables, code
    fresh.upload("first")
    fresh.upload("second", notes="a-very-long-word-" * 20)
    answer = fresh.predict(picture(), name="a-very-long-name-" * 10 + ".png").json()
    paths = ["/", "/inspect", f"/inspect?id={answer['prediction_id']}", "/models", "/models/1"]
    for path in paths:
        phone.goto(fresh.url + path)
        phone.wait_for_load_state("networkidle")
        assert overflow(phone) == [], path
        # A phone zooms out instead of scrolling where something is too wide.
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390, path
        small = phone.evaluate(
            """() => [...document.querySelectorAll("button, .button, select, nav a, .found-row")]
              .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 44)
              .map((one) => one.outerHTML.slice(0, 120))"""
        )
        assert small == [], path


def test_pages_say_the_same_with_and_without_scripts(page, fresh):
    """The words of `words.js` are those of `wording.py`, so nothing jumps."""
    page.goto(fresh.url)
    moments = [minutes_ago(minutes) for minutes in (0, 0.4, 3, 200, 1500, 6000, 60_000)]
    sizes = [3, 2048, 10 * 1024**2, 3 * 1024**3]
    times = [None, 8.44, 31.6, 12_000]
    finds = [{"label": "spur", "confidence": 0.9 - place / 10} for place in range(5)]
    said = page.evaluate(
        """async ([moments, sizes, times, finds]) => {
          const words = await import("/static/words.js");
          return [
            moments.map((one) => words.ago(new Date(one))),
            moments.map((one) => words.exact(new Date(one))),
            sizes.map(words.size), times.map(words.millis),
            [0, 1, 5].map((count) => words.verdict(finds.slice(0, count), 0.5)),
          ];
        }""",
        [[one.isoformat() for one in moments], sizes, times, finds],
    )
    assert said == [
        [wording.ago(one) for one in moments],
        [wording.exact(one) for one in moments],
        [wording.size(one) for one in sizes],
        [wording.millis(one) for one in times],
        [
            wording.verdict(finds[:count], 0) if count else wording.verdict([], 0.5)
            for count in (0, 1, 5)
        ],
    ]


def test_pages_can_be_read_without_scripts(chromium, fresh):
    """Overview, an inspection with its boxes, and the versions need no JavaScript."""
    fresh.upload("first")
    answer = fresh.predict(picture()).json()
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(fresh.url)
    assert "The line is running" in page.inner_text("h1")
    page.goto(f"{fresh.url}/inspect?id={answer['prediction_id']}")
    assert page.locator("#stage .edge").count() == 2
    assert "2 defects" in page.inner_text("#result h2")
    page.goto(f"{fresh.url}/models")
    assert "v1" in page.inner_text(".version")
    assert "andon models" in page.inner_text("main")
    context.close()
