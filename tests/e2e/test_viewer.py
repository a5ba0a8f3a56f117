"""The stage: pixels as they are, both pictures moving together, the swap in place."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.person import enter, next_shown, picture_on_screen, shown, skip_practice

pytestmark = pytest.mark.browser

LEFT, RIGHT = "#pane-left .picture:not(.away)", "#pane-right .picture:not(.away)"

BOXES = """() => ["left", "right"].map(side => {
  const pane = document.querySelector(`#pane-${side}`).getBoundingClientRect();
  const picture = document.querySelector(`#pane-${side} .picture:not(.away)`).getBoundingClientRect();
  return [picture.left - pane.left, picture.top - pane.top, picture.width, picture.height, pane.width, pane.height];
})"""


def boxes(page: Page) -> np.ndarray:
    """(2, 6): each picture's place inside its pane, its size, and the pane's size."""
    return np.array(page.evaluate(BOXES))


def view_centres(page: Page) -> np.ndarray:
    """(2, 2): the picture point in the middle of each pane, as fractions of the picture."""
    left, top, width, height, pane_width, pane_height = boxes(page).T
    return np.stack([(pane_width / 2 - left) / width, (pane_height / 2 - top) / height], axis=1)


@pytest.mark.parametrize("ratio", [1.0, 1.25, 3.0])
def test_each_picture_pixel_covers_the_same_whole_number_of_screen_pixels(page_at_ratio, study, ratio):
    page = page_at_ratio(ratio)
    enter(page, study.url)
    skip_practice(page)
    assert page.evaluate("devicePixelRatio") == ratio
    for selector in (LEFT, RIGHT):
        screen, picture = picture_on_screen(page, selector)
        times = screen.shape[0] / picture.shape[0]
        assert times == int(times) >= 2
        np.testing.assert_array_equal(screen, picture.repeat(int(times), 0).repeat(int(times), 1))


def test_a_picture_larger_than_the_window_is_reduced_and_zooms_to_one_to_one(new_page, study):
    page = new_page(width=360, height=300)
    page.add_init_script("Object.defineProperty(window, 'devicePixelRatio', {get: () => 0.25});")
    enter(page, study.url)
    assert "%" in shown(page).scale
    page.keyboard.press("+")
    assert page.locator("#scale").inner_text() == "1:1"


def test_the_pictures_are_as_large_as_the_window_allows(new_page, study):
    page = new_page(width=1366, height=768)
    enter(page, study.url)
    (_, _, width, height, pane_width, pane_height), _ = boxes(page)
    step = 64  # one whole number more of the 64-pixel pictures would not fit
    assert width + step > pane_width or height + step > pane_height


@pytest.mark.parametrize(
    ("width", "height", "layout"), [(360, 740, "stacked"), (740, 360, "side"), (1366, 768, "side")]
)
def test_the_layout_is_the_one_that_shows_the_pictures_larger(new_page, study, width, height, layout):
    page = new_page(width=width, height=height, ratio=2.0)
    enter(page, study.url)
    expect(page.locator("#stage")).to_have_attribute("data-layout", layout)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"


def test_both_pictures_zoom_and_pan_together_by_wheel_drag_and_keys(new_page, study):
    page = new_page(width=1000, height=700)
    enter(page, study.url)
    start = boxes(page)
    assert start[0, 2] == start[1, 2]
    right = page.locator("#pane-right").bounding_box()
    assert right is not None
    at = (right["x"] + right["width"] * 0.3, right["y"] + right["height"] * 0.3)
    page.mouse.move(*at)
    page.mouse.wheel(0, -120)
    page.mouse.wheel(0, -120)
    zoomed = boxes(page)
    assert (zoomed[:, 2] > start[:, 2] * 1.5).all()
    np.testing.assert_array_equal(zoomed[0, 2:4], zoomed[1, 2:4])
    np.testing.assert_allclose(view_centres(page)[0], view_centres(page)[1], atol=0.01)
    assert (view_centres(page)[0] < 0.5).all(), "zooming goes to the place under the pointer"

    before = view_centres(page)
    page.mouse.down()
    page.mouse.move(at[0] - 60, at[1] - 40, steps=5)
    page.mouse.up()
    dragged = view_centres(page)
    assert (dragged[0] > before[0]).all()
    np.testing.assert_allclose(dragged[0], dragged[1], atol=0.01)

    page.keyboard.press("Shift+ArrowLeft")
    moved = view_centres(page)
    assert moved[0, 0] < dragged[0, 0]
    np.testing.assert_allclose(moved[0], moved[1], atol=0.01)

    page.keyboard.press("r")
    np.testing.assert_array_equal(boxes(page), start)
    page.keyboard.press("+")
    page.keyboard.press("-")
    np.testing.assert_array_equal(boxes(page), start)


def test_every_zoom_step_is_a_whole_number_and_stays_exact(new_page, study):
    page = new_page(width=1000, height=700, ratio=1.5)
    enter(page, study.url)
    seen = [page.locator("#scale").inner_text()]
    for _ in range(4):
        page.keyboard.press("+")
        seen.append(page.locator("#scale").inner_text())
    assert all(text.rstrip("×").isdigit() or text == "1:1" for text in seen), seen
    assert len(set(seen)) == len(seen)


def test_a_click_on_a_zoomed_picture_brings_that_place_to_the_middle(new_page, study):
    page = new_page(width=1000, height=700)
    enter(page, study.url)
    for _ in range(3):
        page.keyboard.press("+")
    before = view_centres(page)
    box = page.locator("#pane-left").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.75)
    after = view_centres(page)
    assert (after[0] > before[0] + 0.02).all()
    np.testing.assert_allclose(after[0], after[1], atol=0.01)


def test_pinching_zooms_both_pictures_on_a_phone(new_page, study):
    page = new_page(width=360, height=740, ratio=3.0, touch=True)
    enter(page, study.url)
    start = boxes(page)
    pinch(page, "#pane-left", spread=3.0)
    after = boxes(page)
    assert (after[:, 2] > start[:, 2] * 1.4).all()
    np.testing.assert_array_equal(after[0, 2:4], after[1, 2:4])
    assert page.locator("#scale").inner_text().rstrip("×").isdigit(), "a pinch comes to rest on a whole number"
    assert page.evaluate("visualViewport.scale") == 1, "the page itself is not zoomed"


def pinch(page: Page, selector: str, *, spread: float) -> None:
    """Two fingers on an element moving apart by the factor `spread`."""
    box = page.locator(selector).bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = page.context.new_cdp_session(page)

    def touch(kind: str, gap: float) -> None:
        points = [{"x": x - gap, "y": y, "id": 1}, {"x": x + gap, "y": y, "id": 2}] if gap else []
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 20)
    for part in range(1, 6):
        touch("touchMove", 20 * (1 + (spread - 1) * part / 5))
    touch("touchEnd", 0)


def test_space_swaps_the_pictures_in_place_while_it_is_held(new_page, study):
    page = new_page(width=1000, height=700)
    pair = enter(page, study.url)
    before = page.locator(LEFT).bounding_box()
    page.keyboard.down(" ")
    assert page.locator(LEFT).get_attribute("data-src") == pair.right_src
    assert page.locator(RIGHT).get_attribute("data-src") == pair.left_src
    assert page.locator(LEFT).bounding_box() == before, "the other picture is in exactly the same place"
    page.keyboard.press("ArrowLeft")  # while swapped, left and right would be ambiguous
    expect(page.locator("#hint")).to_contain_text("Swap back")
    page.keyboard.up(" ")
    assert page.locator(LEFT).get_attribute("data-src") == pair.left_src
    assert shown(page) == pair, "no answer was given"


def test_the_swap_button_holds_with_a_press_and_stays_with_a_tap(new_page, study):
    page = new_page(width=360, height=740, ratio=2.0)
    pair = enter(page, study.url)
    button = page.locator("#tool-swap")
    button.hover()
    page.mouse.down()
    page.wait_for_timeout(350)
    assert page.locator(LEFT).get_attribute("data-src") == pair.right_src
    page.mouse.up()
    assert page.locator(LEFT).get_attribute("data-src") == pair.left_src
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert page.locator(LEFT).get_attribute("data-src") == pair.right_src
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert page.locator(LEFT).get_attribute("data-src") == pair.left_src


def test_the_scale_is_the_same_for_short_and_long_prompts(new_page, study):
    page = new_page(width=1366, height=768)
    enter(page, study.url)
    short = boxes(page)
    page.locator("#prompt-text").evaluate("e => { e.textContent = 'a long description '.repeat(40) }")
    np.testing.assert_array_equal(boxes(page), short)


@pytest.mark.parametrize("width", [320, 390, 447, 600, 830])
def test_the_answers_fill_one_row_below_the_pictures_in_a_narrow_window(new_page, study, width):
    page = new_page(width=width, height=760)
    enter(page, study.url)
    boxes = [button.bounding_box() for button in page.locator("#questions .choice").all()]
    *answers, skip = boxes
    row = page.locator(".choice-buttons").bounding_box()
    assert len(answers) == 3 and len({box["y"] for box in answers}) == 1
    assert {round(box["width"]) for box in answers} == {round(answers[0]["width"])}
    assert answers[0]["x"] == pytest.approx(row["x"], abs=1)
    assert answers[-1]["x"] + answers[-1]["width"] == pytest.approx(row["x"] + row["width"], abs=1)
    assert skip["y"] >= answers[0]["y"] + answers[0]["height"]


def test_a_study_may_begin_each_pair_at_one_to_one(new_page, native):
    page = new_page(width=1366, height=768)
    enter(page, native.url)
    pair = skip_practice(page)
    assert pair.scale == "1:1", "64 pixels that would fit several times"
    page.keyboard.press("+")
    assert page.locator("#scale").inner_text() != "1:1"
    page.keyboard.press("ArrowLeft")
    assert next_shown(page, pair).scale == "1:1", "the next pair begins as the study says"


def test_pictures_larger_than_the_window_begin_at_one_to_one_too_and_can_be_seen_whole(new_page, native):
    page = new_page(width=360, height=300)
    page.add_init_script("Object.defineProperty(window, 'devicePixelRatio', {get: () => 0.25});")
    enter(page, native.url)
    assert shown(page).scale == "1:1"
    (_, _, width, _, pane_width, _), _ = boxes(page)
    assert width > pane_width
    page.keyboard.press("r")
    assert "%" in page.locator("#scale").inner_text()
    page.keyboard.press("+")
    assert page.locator("#scale").inner_text() == "1:1"
