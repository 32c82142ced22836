"""The example of the Start page computes in the browser what the library computes, and follows pointer and keys."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import torch

import nes_lab
from nes_lab.figures.small_example import EPITOME, PATCH_LENGTH, STARTS, small_example, small_example_js
from tests.app.browser import browse

GOLDEN = [0.8, -0.5, 0.3, 0.9, -0.18, 0.54, 0.26, -0.34, 0.3, 0.9, -0.7, 0.2]


def test_the_library_writes_the_golden_numbers():
    layer = nes_lab.EpitomeLinear(
        12, 1, epitome_shape=(1, len(EPITOME)), patch_channels=(1, PATCH_LENGTH), routing="free", bias=False
    )
    with torch.no_grad():
        layer.epitome.copy_(torch.tensor([EPITOME]))
    layer.routing.set_starts_(1, torch.tensor(STARTS))
    assert np.allclose(layer.materialize().detach().numpy(), [GOLDEN], atol=1e-6)


@pytest.fixture(scope="module")
def drawn():
    code = base64.b64encode(small_example_js().encode()).decode()
    with browse(700, 500) as (page, faults):
        page.emulate_media(reduced_motion="reduce")
        page.set_content("<div id=a></div>")
        draw = "async ([code, layer]) => { const core = await import('data:text/javascript;base64,' + code); "
        draw += "core.drawSmallExample(document.querySelector('#a'), layer); }"
        page.evaluate(draw, [code, small_example()])
        page.wait_for_selector("svg text")
        yield page
        assert not faults


@pytest.mark.browser
def test_pointer_and_keys_drive_the_sum(drawn):
    svg, total = drawn.locator("svg"), drawn.locator(".sum")
    assert total.inner_text() == "W[4] = 0.60 · E[1] + 0.40 · E[2] = 0.60 · (−0.50) + 0.40 · 0.30 = −0.18"
    box = svg.bounding_box()
    drawn.mouse.move(box["x"] + box["width"] / 2 + 48 * 2.5, box["y"] + 100)
    assert total.inner_text() == "W[8] = E[2] = 0.30"
    svg.focus()
    found = []
    for key in ["Home"] + ["ArrowRight"] * 11:
        drawn.keyboard.press(key)
        found.append(float(total.locator("b").inner_text().replace("−", "-")))
    assert found == GOLDEN
    assert svg.get_attribute("aria-valuenow") == "11" and "6 numbers" in svg.get_attribute("aria-label")


@pytest.mark.browser
def test_nothing_moves_by_itself_with_reduced_motion(drawn):
    before = drawn.locator(".sum").inner_text()
    drawn.wait_for_timeout(1500)
    assert drawn.locator(".sum").inner_text() == before
