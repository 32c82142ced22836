"""transformers saves and loads compressed networks by its own functions, with the same outputs, or refuses them by name."""

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils import prune

import nes_lab
from nes_lab.after_import import call_after
from nes_lab.errors import CheckpointError
from nes_lab.export.hugging_face import EpitomeList, EpitomeMethod
from nes_lab.export.outline import layer_record, named_epitome_layers
from nes_lab.export.rebuild import put_epitome_layers_
from tests.export.networks import MODES, Net, compressed, stirred
from tests.export.saving import NAMES
from tests.shared_epitomes import dense_net, owners

IDS = torch.arange(10).reshape(2, 5)


@pytest.fixture(scope="module")
def bert():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.BertConfig(vocab_size=50, max_position_embeddings=16, num_labels=3, **sizes)
    return transformers.BertForSequenceClassification(config).eval()


def small(bert, routing="tiled"):
    layers = [f"bert.encoder.layer.{i}.{part}.dense" for i in (0, 1) for part in ("intermediate", "output")]
    return stirred(compressed(bert, layers, routing=routing))


@pytest.mark.parametrize("routing", MODES)
@pytest.mark.parametrize("state", ["live", "frozen", "snapped"])
def test_save_and_from_pretrained_of_transformers_keep_the_outputs(bert, routing, state, tmp_path):
    model = small(bert, routing)
    for _, layer in named_epitome_layers(model):
        layer.freeze() if state == "frozen" else layer.snap() if state == "snapped" else None
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["quantization_config"]["quant_method"] == "nes_lab"
    again, info = type(bert).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert torch.equal(again(IDS).logits, model(IDS).logits)
    again.save_pretrained(tmp_path / "again")
    assert torch.equal(type(bert).from_pretrained(tmp_path / "again")(IDS).logits, model(IDS).logits)


@pytest.mark.slow
def test_from_pretrained_of_transformers_in_another_process_and_without_the_head(bert, tmp_path):
    model = small(bert, "free")
    model.save_pretrained(tmp_path)
    part: Any = model.bert
    base = type(bert.bert).from_pretrained(tmp_path)
    assert torch.equal(base(IDS)[0], part(IDS)[0])
    base.save_pretrained(tmp_path / "base")  # the part of a network knows what it holds, too
    assert torch.equal(type(bert).from_pretrained(tmp_path / "base").bert(IDS)[0], part(IDS)[0])
    code = "import sys, torch, nes_lab, transformers as t; m = t.AutoModelForSequenceClassification.from_pretrained(sys.argv[1])"
    code += "; torch.save(m(torch.arange(10).reshape(2, 5)).logits.detach(), sys.argv[2])"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path, tmp_path / "y.pt"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.load(tmp_path / "y.pt", weights_only=True), model(IDS).logits)


@pytest.mark.parametrize(("share", "stores"), [("network", 1), ("stage", 2)])
def test_transformers_writes_a_shared_epitome_once_and_ties_it_again(bert, share, stores, tmp_path):
    model = nes_lab.compress(
        bert, params=0.6, share=share, windows=2, exclude=("classifier",), example_input={"input_ids": IDS}
    )
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    readers = len(list(named_epitome_layers(model)))
    firsts = [name for name in saved if name.endswith(".epitome")]
    assert len(firsts) == stores < readers and sum(name.endswith(".alpha") for name in saved) == readers
    again, info = type(bert).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert [name for name, _ in again.named_parameters()] == [name for name, _ in model.named_parameters()]
    assert torch.equal(again(IDS).logits, model(IDS).logits)
    base: Any = type(bert.bert).from_pretrained(tmp_path)  # the names of the layers are others there
    assert torch.equal(base(IDS)[0], again.bert(IDS)[0])
    base.save_pretrained(tmp_path / "base")
    assert torch.equal(type(bert).from_pretrained(tmp_path / "base").bert(IDS)[0], base(IDS)[0])
    for lacking in (firsts[0], firsts[0].replace("epitome", "alpha")):
        save_file({name: saved[name] for name in saved if name != lacking}, tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match=f"the folder lacks '?{lacking}"):
            type(bert).from_pretrained(tmp_path)


def test_transformers_cannot_load_a_part_that_lacks_the_shared_epitome(bert, tmp_path):
    class Headed(type(bert)):
        def __init__(self, config):
            super().__init__(config)
            self.bert = self._modules.pop("bert")  # the part comes after the classifier

    torch.manual_seed(0)
    dense = Headed(bert.config).eval()
    model = nes_lab.compress(dense, params=0.6, share="network", example_input={"input_ids": IDS})
    model.save_pretrained(tmp_path)
    assert torch.equal(Headed.from_pretrained(tmp_path)(IDS).logits, model(IDS).logits)
    with pytest.raises(CheckpointError, match="reads the epitome of 'classifier', which this network does not have"):
        type(bert.bert).from_pretrained(tmp_path)


def test_save_pretrained_of_transformers_bakes_masks_and_keeps_dtypes(bert, tmp_path):
    model = small(bert, "free").bfloat16()
    prune.l1_unstructured(model.bert.encoder.layer[0].output.dense, "epitome", 0.5)
    model.save_pretrained(tmp_path)
    again = type(bert).from_pretrained(tmp_path, dtype="auto")
    assert again.dtype == torch.bfloat16 and torch.equal(again(IDS).logits, model(IDS).logits)


def test_save_pretrained_of_transformers_names_what_it_could_not_load(bert, tmp_path):
    model = small(bert)
    model.classifier = nn.Linear(32, 7)
    with pytest.raises(
        CheckpointError, match=r"classifier.weight has shape \(7, 32\), and \(3, 32\).*nes_lab.save_pretrained"
    ):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_materialize_and_from_pretrained_mark_networks_of_transformers(bert, tmp_path):
    model = small(bert)
    model.save_pretrained(tmp_path / "small")
    plain = nes_lab.materialize(model)
    plain.save_pretrained(tmp_path / "plain")
    assert "quantization_config" not in json.loads((tmp_path / "plain" / "config.json").read_text())
    assert torch.equal(type(bert).from_pretrained(tmp_path / "plain")(IDS).logits, plain(IDS).logits)
    loaded: Any = nes_lab.from_pretrained(nes_lab.save_pretrained(model, tmp_path / "own"), model=bert)
    loaded.save_pretrained(tmp_path / "loaded")
    assert torch.equal(type(bert).from_pretrained(tmp_path / "loaded")(IDS).logits, model(IDS).logits)
    assert torch.allclose(loaded.dequantize()(IDS).logits, model(IDS).logits, atol=1e-6)  # sums in another order


# ---- without transformers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("routing", MODES)
def test_put_epitome_layers_makes_the_layers_of_another_network(routing):
    model, dense = compressed(Net(), NAMES, routing=routing), Net().eval()
    put_epitome_layers_(dense, {name: layer_record(layer) for name, layer in named_epitome_layers(model)})
    dense.load_state_dict(model.state_dict())
    images = torch.ones(1, 3, 8, 8)
    assert torch.equal(dense(images), model(images))
    with pytest.raises(CheckpointError, match="has an epitome layer 'other', which is not here"):
        put_epitome_layers_(Net(), {"other": layer_record(model.conv)})
    with pytest.raises(CheckpointError, match="'stem' had a weight of"):
        put_epitome_layers_(Net(), {"stem": layer_record(model.conv)})


class Configured(nn.Sequential):
    """A network that its configuration makes, as those of transformers are."""

    def __init__(self, config):
        super().__init__(*dense_net(config.seed).children())
        self.config = config


@pytest.mark.parametrize("epitome_dtype", ["float", "int8"])
def test_layers_that_share_an_epitome_are_saved_with_it_once(epitome_dtype):
    dense, images = Configured(SimpleNamespace(seed=0)), torch.randn(2, 1, 8, 8)
    options = {"share": "network", "windows": 2, "include": ("*",), "epitome_dtype": epitome_dtype}
    model = nes_lab.compress(dense, params="60%", example_input=images, **options).eval()
    method, made = EpitomeMethod(), Configured(SimpleNamespace(seed=1)).eval()
    method.quantization_config = EpitomeList()
    tensors, _ = method.get_state_dict_and_metadata(model)
    assert [name for name in tensors if "epitome" in name] == ["0.epitome"]
    records = method.quantization_config.epitome_layers
    assert [record.get("reads") for record in records.values()] == [None, "0", "0"]
    assert method.quantization_config.schema == 2 and EpitomeList({"a": {}}).schema == 1  # older versions refuse 2
    method._process_model_before_weight_loading(made)
    assert made.state_dict().keys() == tensors.keys()  # transformers misses nothing
    method._process_model_after_weight_loading(made)
    made.load_state_dict(tensors, strict=False)
    assert owners(made) == 1 and torch.equal(made(images), model(images))


class Tied(nn.Module):
    """A network that uses one of its layers under two names: the first of all, or another one."""

    def __init__(self, config):
        super().__init__()
        self.a, self.b = nn.Linear(32, 32), nn.Linear(32, 32)
        self.again = getattr(self, config.tied)
        self.config = config

    def forward(self, x):
        return self.again(self.b(self.a(x).relu()).relu())


@pytest.mark.parametrize("share", ["network", "layer"])
@pytest.mark.parametrize("tied", ["a", "b"])
def test_a_layer_with_two_names_is_saved_if_it_shares_its_epitome(tied, share):
    dense, x = Tied(SimpleNamespace(tied=tied)).eval(), torch.randn(2, 32)
    model = nes_lab.compress(dense, params="60%", example_input=x, share=share, windows=2).eval()
    method, made = EpitomeMethod(), Tied(SimpleNamespace(tied=tied)).eval()
    method.quantization_config = EpitomeList()
    tensors, _ = method.get_state_dict_and_metadata(model)
    stores = [tensor.data_ptr() for tensor in tensors.values() if isinstance(tensor, torch.Tensor) and tensor.numel()]
    assert len(set(stores)) == len(stores)  # transformers saves no shared memory
    method._process_model_before_weight_loading(made)
    assert made.state_dict().keys() == tensors.keys()
    method._process_model_after_weight_loading(made)
    made.load_state_dict(tensors, strict=False)
    assert torch.equal(made(x), model(x))


def test_call_after_calls_a_function_once_a_module_is_imported(tmp_path, monkeypatch):
    (tmp_path / "first_module.py").write_text("VALUES = []\n")
    (tmp_path / "then_module.py").write_text("def add():\n    import first_module\n    first_module.VALUES.append(1)\n")
    (tmp_path / "broken_module.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = list(sys.meta_path)
    call_after("first_module", "then_module:add")
    call_after("first_module", "broken_module:add")  # what it needs is missing
    assert "then_module" not in sys.modules
    import first_module  # pyright: ignore[reportMissingImports]

    assert first_module.VALUES == [1] and sys.meta_path == before
    call_after("first_module", "then_module:add")
    assert first_module.VALUES == [1, 1] and sys.meta_path == before
