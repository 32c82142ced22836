"""Run an ONNX file in ONNX Runtime as if it were a network of PyTorch.

Tests: tests/models/test_optimize.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from nes_lab.errors import ExportError, OptionError
from nes_lab.export.example import ExampleInput, output_of
from nes_lab.export.trace import root_cause
from nes_lab.packages import need
from nes_lab.runs.replace import replace_bytes, target_of

__all__ = ["OnnxNetwork", "open_session"]


def open_session(file: str | bytes, advice: str = "") -> Any:
    """Load an ONNX file in ONNX Runtime on the CPU, with as many threads as torch uses.

    Its threads do not spin: by default they keep their cores busy for a while after each call, and whatever runs next in the
    process, such as torch or another session, takes up to several times as long.

    Args:
        file: Path of the file, or its bytes.
        advice: What to do if the file cannot be loaded, for the message.

    Raises:
        ExportError: If ONNX Runtime cannot load the file.
        MissingPackageError: If ONNX Runtime is not installed.
    """
    onnxruntime = need("onnxruntime", "running an ONNX file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load the file: {root_cause(error)}{advice}"
        ) from error


class OnnxNetwork(nn.Module):
    """Runs a network in ONNX Runtime, on the CPU. It takes and returns the same tensors as the network that was exported.

    Its outputs have no gradients, and it has no parameters. Copies and pickled files of it hold the ONNX file.

    Args:
        file: The bytes of the ONNX file.
        outputs: What the exported network returned for the example: tensors in tuples, lists or dicts.
        keywords: Names of the keyword arguments with a tensor, in order.

    Attributes:
        session: The ``onnxruntime.InferenceSession``.
        file: The bytes of the ONNX file.

    Raises:
        ExportError: If ONNX Runtime cannot load the file.
        MissingPackageError: If ONNX Runtime is not installed.
    """

    def __init__(self, file: bytes, outputs: Any, keywords: Sequence[str] = ()) -> None:
        super().__init__()
        self.file, self.keywords, self.session = file, tuple(keywords), open_session(file)
        leaves, self._structure = tree_flatten(outputs)
        self._outputs = outputs
        self._constants = [None if isinstance(leaf, Tensor) else (leaf,) for leaf in leaves]
        self._inputs = [value.name for value in self.session.get_inputs()]
        self.eval()

    @classmethod
    def of(cls, file: str | Path, network: nn.Module, example: ExampleInput) -> OnnxNetwork:
        """Return the network of an ONNX file that was exported from ``network`` with ``example``."""
        outputs = output_of(network, example)
        return cls(Path(file).read_bytes(), outputs, [name for name, t in example.kwargs.items() if t is not None])

    def forward(self, *args: Tensor | None, **kwargs: Tensor | None) -> Any:
        """Run the file, and return what the exported network returned: tensors in the same structure.

        Raises:
            OptionError: If the file does not take these inputs.
        """
        given = [t for t in args if t is not None] + [
            t for name in self.keywords if (t := kwargs.get(name)) is not None
        ]
        if len(given) != len(self._inputs) or set(kwargs) - set(self.keywords) - {
            k for k, t in kwargs.items() if t is None
        }:
            raise OptionError(
                f"the ONNX file takes the inputs {', '.join(self._inputs)}; {len(given)} tensors were given"
            )
        arrays = {name: t.detach().cpu().numpy() for name, t in zip(self._inputs, given, strict=True)}
        try:
            results = iter(self.session.run(None, arrays))
        except Exception as error:
            shapes = ", ".join(str(tuple(t.shape)) for t in given)
            raise OptionError(
                f"inputs of shapes {shapes}: ONNX Runtime cannot run them: {root_cause(error)}"
            ) from error
        leaves = [torch.from_numpy(next(results)) if known is None else known[0] for known in self._constants]
        return tree_unflatten(leaves, self._structure)

    def save(self, path: str | Path) -> Path:
        """Write the ONNX file to a path, replacing a file that is there, and return the path.

        Raises:
            OSError: If the file cannot be written, or its folder is missing.
        """
        replace_bytes(target_of(path), self.file, durable=False)
        return Path(path)

    def __deepcopy__(self, memo: dict) -> OnnxNetwork:
        return OnnxNetwork(self.file, self._outputs, self.keywords)

    def __reduce__(self) -> tuple:
        return (OnnxNetwork, (self.file, self._outputs, self.keywords))

    def extra_repr(self) -> str:
        """Return the size of the file and its inputs, for ``print``."""
        return f"{len(self.file):,} bytes, inputs {', '.join(self._inputs)}"
