"""List the kinds of faults that gave wrong numbers without a word, for docs/faults.md: what the library does now, and the tests.

Tests: tests/benchmarks/test_faults_page.py
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["KINDS", "Kind", "kinds_table"]


class Kind(NamedTuple):
    """One kind of fault that gave wrong numbers without a word.

    Attributes:
        fault: The fault, as a user meets it.
        answer: What the library does now.
        tests: The files that test it, relative to the folder ``tests``.
    """

    fault: str
    answer: str
    tests: tuple[str, ...]


KINDS = (
    Kind(
        "a number of a layer changes where a cache does not see it: `.data`, a fused optimizer, another thread",
        "evaluation compares with a copy and computes again; only `nes_lab.for_inference` keeps weights without looking",
        ("nn/test_inference_cache.py",),
    ),
    Kind(
        "a change of `layer.weight` in place, which is computed and not stored",
        "refused, as an assignment is",
        ("nn/test_sampled_weight.py",),
    ),
    Kind(
        "products that are not seen are counted as 0 (LSTM in float32 on a CPU, bilinear layers, matrix times vector)",
        "counted by formula; modules that cannot be counted are named, and a budget that needs their count is refused",
        ("cost/test_products.py",),
    ),
    Kind(
        "a network whose `forward` was replaced on the instance, or a TorchScript program: a copy runs the old layers",
        "refused by name before anything is planned or copied",
        ("nn/test_model_checks.py",),
    ),
    Kind(
        "a forward that does not do what the plan says: layers that are skipped, called more often, or read by their weight alone",
        "`compress`, `fit` and `save_pretrained` run the network once and compare calls, params and multiply-adds with the plan; a "
        "difference names the layers",
        ("surgery/test_verify.py", "cost/test_example_input.py"),
    ),
    Kind(
        "flags, hooks, buffers and attributes that users put on layers and parameters are lost in surgery",
        "carried over; what cannot be carried keeps the layer dense, and the plan says why; a lock or a file is named",
        ("surgery/test_carry_over.py", "nn/test_copy_network.py"),
    ),
    Kind(
        "layers that are not what they seem: quantized, compressed already, made to be re-parameterized",
        "the plan names them, and what to do first; folding a compressed network back is refused",
        ("nn/test_reparameterize.py", "cost/test_products.py", "planning/test_dense_rules.py"),
    ),
    Kind(
        "batch norms are folded into layers whose outputs are used elsewhere too",
        "`fuse` compares the outputs for an example; without one it leaves alone what it cannot trace, and says so",
        ("surgery/test_fuse.py",),
    ),
    Kind(
        "a saved network would load as another one: a replaced classifier, a swapped module, a changed attribute",
        "rebuilt before it is written, and refused by name if it differs",
        ("export/test_loadable.py",),
    ),
    Kind(
        "pruning masks and parametrizations of an epitome are saved in part",
        "baked into the tensors where that is exact, otherwise refused by name",
        ("nn/test_bake.py",),
    ),
    Kind(
        "a state dict of another rule, seed, boundary or patch matches all keys",
        "each layer stores how it reads its epitome; all layers that differ are named in one error; older files load",
        ("nn/test_reading_record.py",),
    ),
    Kind(
        "transformers' own `save_pretrained` writes a compressed network that its `from_pretrained` loads as a dense one with new weights",
        "loads with the same outputs after `import nes_lab`; what it could not load is refused by name",
        ("export/test_hugging_face.py",),
    ),
    Kind(
        "transformers' own `save_pretrained` writes a shared epitome once per layer, and its `from_pretrained` gives each layer "
        "a copy of its own",
        "written once, tied again, and a missing tensor is refused by name",
        ("export/test_hugging_face.py",),
    ),
    Kind(
        "looking changes the network: buffers, counters, modes, hooks, gradients, random states",
        "put back bit for bit; one test walks all public functions that take a network, and a new one fails until it is listed",
        ("cost/test_looking.py", "cost/test_left_as_it_was.py"),
    ),
    Kind(
        "starts that are rounded after planning leave a part of the budget unused",
        "`plan_for_budget(snap=True)` counts integer starts, and `compress` and `fit` follow the plan",
        ("planning/test_snap.py",),
    ),
    Kind(
        "tuning for time puts back the multiply-adds that a budget took away",
        "`tune` keeps them for a network that was planned for them (`keep_madds`), and reports them before and after",
        ("tuning/test_tune.py",),
    ),
    Kind(
        "an epitome larger than its weight",
        "a warning and a note of the plan, with both numbers",
        ("nn/test_larger_epitome.py",),
    ),
    Kind(
        "a fitted network that knows nothing looks like any other",
        "the report compares its answers with the dense network's, and says when it must be trained before use",
        ("fitting/test_agreement.py",),
    ),
    Kind(
        "a second input in calibration batches is taken for labels",
        "refused where the network needs it, and a warning where it may be meant so",
        ("cost/test_batch_pair.py", "fitting/test_calibration_batches.py"),
    ),
    Kind(
        "a run is resumed with an edited configuration, and its record is false",
        "compared by field: what decides the training is refused by path, the rest is allowed with an event; a test walks all fields",
        ("experiment/test_same_settings.py", "config/test_on_resume.py"),
    ),
    Kind(
        "a run is resumed on other files of the same names, or images prepared in another way",
        "paths and sizes of files, the labels and the preparation are compared; a difference is refused and changes nothing",
        ("datasets/test_contents.py", "experiment/test_same_settings.py", "backbones/test_class_names.py"),
    ),
    Kind(
        "a network has other outputs than the data has classes; a run diverged, or its data has one class",
        "compared before the first step on every way into a training; a run whose numbers say nothing has a note",
        ("training/test_head.py", "training/test_result_notes.py"),
    ),
    Kind(
        "classes in another order than that of the weights (1, 10, 2 and 1, 2, 10): labels are permuted",
        "`data.class_order`; `data check`, runs and `evaluate` say where orders differ; runs and saved folders keep class names",
        ("datasets/test_class_order.py", "backbones/test_class_names.py"),
    ),
    Kind(
        "images are resized, cropped or normalized in another way than for the pretrained weights",
        "`nes-lab fit` and `data.preprocess: backbone` take timm's data configuration; runs, `data check` and `evaluate` say where "
        "images differ",
        ("backbones/test_preprocessing.py", "cli/test_data.py"),
    ),
    Kind(
        "an export that differs, or that other tools cannot quantize",
        "compared with PyTorch at a tolerance of its dtype before it gets its name; int8 afterwards is tested",
        ("export/test_onnx.py", "export/test_outputs.py"),
    ),
    Kind(
        "a target of a write that is a device, a pipe or a link",
        "a device is refused, and the file behind a link is replaced",
        ("runs/test_replace.py", "house/test_writes.py"),
    ),
    Kind(
        "a tracker shows the steps after a checkpoint twice when a run was resumed",
        "TensorBoard shows the repeated steps once; the other trackers continue the same run",
        ("experiment/test_trackers.py",),
    ),
    Kind(
        "an empty configuration file; settings that have no effect; image types that are not read",
        "an error, or a sentence that says what is not used or not read, and what would be right",
        ("config/test_config.py", "experiment/test_void_settings.py", "datasets/test_image_folder.py"),
    ),
)
"""The kinds, in the order of what is computed first: layers, networks, plans, runs, data, files."""


def kinds_table() -> str:
    """Return the kinds as a Markdown table, one per row."""
    head = ("kind", "what happens now", "tests")
    rows = [(kind.fault, kind.answer, ", ".join(f"`{name}`" for name in kind.tests)) for kind in KINDS]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * 3, *rows)).replace("| --- |", "|---|")
