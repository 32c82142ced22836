"""The worker compares what two networks look at: on the validation data of a run, and on images that a user uploads."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

import nes_lab
from nes_lab.errors import DataError, NesLabError, OptionError
from nes_lab.experiment.explanation import Pair, explain_images
from nes_lab.experiment.kept_answers import kept_answer
from nes_lab.experiment.uploaded_images import decode_uploads
from nes_lab.worker.explanations import disagreements_of, explain_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A compressed run and a dense one, both on digits."""
    root = tmp_path_factory.mktemp("runs")
    config = {"data": {"limit": 256}, "training": {"epochs": 1, "threads": 1}}
    small = nes_lab.train(config | {"compression": {"madds": "60%"}}, root=root, progress=False)
    return small, nes_lab.train(config, root=root, progress=False)


def asked(runs, **more):
    small, dense = runs
    return {
        "root": str(small.folder.parent),
        "run": small.id,
        "reference": dense.id,
        "method": "gradcam",
        "keep": True,
        **more,
    }


def file_of(pixels, kind="PNG", name="mine.png"):
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(file, kind)
    return {"name": name, "data": base64.b64encode(file.getvalue()).decode()}


def test_disagreements_are_those_of_the_networks(runs):
    seen = []
    answer = disagreements_of(asked(runs), seen.append)
    small, dense = (run.network() for run in runs)
    batches = list(Pair(*runs).batches())
    with torch.no_grad():
        first, second = (torch.cat([net(x) for x, _ in batches]).softmax(1) for net in (dense, small))
    apart = (first - second).abs().sum(1) / 2
    assert [row["disagreement"] for row in answer["worst"]] == pytest.approx(
        apart.sort(descending=True).values[:24].tolist(), abs=1e-5
    )
    assert answer["same"] == pytest.approx(float((first.argmax(1) == second.argmax(1)).float().mean()))
    worst = answer["worst"][0]
    assert worst["answers"] == [int(first[worst["index"]].argmax()), int(second[worst["index"]].argmax())]
    assert all(row["picture"].startswith("data:image/") for row in answer["worst"] + answer["spaced"])
    assert seen[-1]["done"] == answer["total"] == len(apart)
    assert kept_answer(runs[0], "disagreements")["asked"] == {"run": runs[0].id, "reference": runs[1].id}


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_explain_run_compares_chosen_examples(runs, method):
    answer = explain_run(asked(runs, method=method, indices=[7, 2]))
    assert [row["index"] for row in answer["rows"]] == [7, 2] and answer["finding"].startswith("On these 2 images")
    data = Pair(*runs).data
    images = torch.cat([x for x, _ in data.val.eval_batches(64)])[[7, 2]]
    expected = nes_lab.attribution.compare_attributions(runs[1].network(), runs[0].network(), images, method)
    assert [row["overlap"] for row in answer["rows"]] == pytest.approx(expected.overlap.tolist())
    assert np.asarray(answer["curves"][1]["deletion"]).shape == (2, 11)
    assert bool(answer["layers"][0]) == (method == "gradcam")
    assert kept_answer(runs[0], "explanation") == json.loads(json.dumps(answer))


def test_explain_run_of_itself_agrees(runs):
    rows = explain_run(asked((runs[1], runs[1]), indices=[0, 1, 2]))["rows"]
    assert [row["rank_correlation"] for row in rows] == pytest.approx([1.0] * 3)


def test_explain_run_prepares_uploads_like_the_data(runs):
    val = Pair(*runs).data.val
    pixels = (val.images[3, 0].float() * 255 / val.white).round().numpy()
    wide = np.pad(pixels, ((0, 0), (2, 2)))  # its middle square is the digit
    uploaded = decode_uploads([file_of(wide)])[0].prepared(Pair(*runs).data)
    expected = next(val.eval_batches(4))[0][3]
    torch.testing.assert_close(uploaded, expected, atol=0.01, rtol=0)  # 16 steps of gray became 255
    answer = explain_run(asked(runs, uploads=[file_of(wide)]))
    assert [(row["name"], row["label"]) for row in answer["rows"]] == [("mine.png", None)]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([{"name": "a.png", "data": base64.b64encode(b"no image").decode()}], "'a.png' cannot be read as an image"),
        ([{"name": "b.png", "data": "%%%"}], "'b.png' cannot be read"),
        ([{"name": "c.png", "data": file_of(np.zeros((64, 64)))["data"][:60]}], "'c.png' cannot be read"),
        ([file_of(np.zeros((9000, 6000)), name="d.png")], "54,000,000|9,000 pixels|50,000,000 pixels are allowed"),
        ([file_of(np.zeros((8, 8)))] * 13, "13 images were uploaded; 12 are allowed"),
    ],
)
def test_decode_uploads_refuses(files, says):
    with pytest.raises(DataError, match=says):
        decode_uploads(files)


def test_explain_says_what_is_wrong(runs):
    with pytest.raises(OptionError, match="began with random weights"):
        explain_run(asked(runs, reference="origin", indices=[0]))
    with pytest.raises(OptionError, match="no validation example 999,999"):
        explain_run(asked(runs, indices=[999_999]))
    with pytest.raises(OptionError, match="No image is chosen"):
        explain_run(asked(runs))
    with pytest.raises(NesLabError, match="nowhere"):
        explain_run(asked(runs, reference="nowhere", indices=[0]))


def test_explain_compares_with_the_network_that_a_run_began_with(runs, tmp_path):
    dense = runs[1]
    saved = dense.folder / "exports" / "dense.safetensors"
    saved.parent.mkdir(exist_ok=True)
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in dense.network().state_dict().items()}, saved)
    config = {"data": {"limit": 256}, "training": {"epochs": 1, "threads": 1}, "backbone": {"checkpoint": str(saved)}}
    small = nes_lab.train(config | {"compression": {"madds": "60%"}}, root=tmp_path, progress=False)
    pair = Pair(small, "origin")
    images = next(pair.batches())[0]
    torch.testing.assert_close(pair.networks[0](images), dense.network()(images))
    assert explain_images(pair, "gradcam", [0])["rows"][0]["index"] == 0


def test_explain_run_stops_when_it_is_cancelled(runs):
    def stop(event):
        raise KeyboardInterrupt

    for question in (disagreements_of, explain_run):
        with pytest.raises(KeyboardInterrupt):
            question(asked(runs, indices=[0]), stop)
