"""Define ``nes_lab.open_data``: load a data set by its name, as a run does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nes_lab.config import load_config

if TYPE_CHECKING:
    from torch import nn

    from nes_lab.datasets.spec import DatasetSpec

__all__ = ["open_data"]


def open_data(name: str, *, network: nn.Module | None = None, seed: int = 0, **options: Any) -> DatasetSpec:
    """Load and check a data set by its name, as a run does.

    :func:`nes_lab.evaluate` measures a network on its validation split, and :func:`nes_lab.train` takes it as ``data=``.

    Args:
        name: Name of the data set, such as ``digits`` or ``imagenet``, or a function of your own as ``"package.module:function"``.
        network: The network for whose weights ``preprocess="backbone"`` prepares the images. None: not needed.
        seed: Seed for random splits, and for choosing the images that ``limit`` keeps. Runs use the seed of their configuration.
        **options: The fields of the section ``data`` of a configuration, such as ``root``, ``image_size``, ``limit``,
            ``normalize`` and ``workers``. ``nes-lab train --help`` lists them.

    Returns:
        The data set. It has ``classes``, ``input_shape``, the splits ``train`` and ``val``, and
        ``example_input()``, one input of zeros. ``train.train_batches(batch_size, seed, epoch)`` yields training batches
        (images, labels), and ``val.eval_batches(batch_size)`` yields each validation image once.

    Raises:
        OptionError: If the name or an option is unknown or wrong, or the data set does not use an option.
        DataError: If the data is missing, incomplete or damaged; the message says what to do.

    Examples:
        >>> import nes_lab
        >>> data = nes_lab.open_data("digits", image_size=16)
        >>> data.input_shape, len(data.train), len(data.val), data.classes[:3]
        ((1, 16, 16), 1437, 360, ('0', '1', '2'))
        >>> network = nes_lab.create_backbone("small_mobilenetv2", in_channels=1)
        >>> sorted(nes_lab.evaluate(network, data))
        ['loss', 'top1', 'top5']
    """
    config = load_config({"seed": seed, "data": {"name": name, **options}})
    from nes_lab.experiment.load_data import load_data  # not at the top: it imports torch

    return load_data(config, network)
