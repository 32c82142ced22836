"""The script that draws the app's pages knows all of them, and its pictures show something."""

import pytest
from PIL import Image

from benchmarks.screenshots import WIDTHS, draw, page_names
from tests.house.tree import ROOT


def test_every_page_of_the_app_is_drawn():
    assert sorted(page_names()) == sorted(path.stem for path in (ROOT / "app" / "views").glob("*.py"))


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(400)
def test_pictures_have_the_right_size_and_are_not_blank(tmp_path):
    pictures = draw(["start", "runs"], tmp_path)
    assert len(pictures) == 8
    for path in pictures:
        picture = Image.open(path).convert("RGB")
        width = next(width for name, width in WIDTHS.items() if path.stem.endswith(name))
        assert picture.width == width and picture.height >= 900
        main = picture.crop((width // 2, 100, width, picture.height))
        assert len(main.getcolors(maxcolors=10**6) or range(10**6)) > 50
