"""Provide epitome convolutions in one, two and three dimensions, with the arguments of torch's convolutions.

Tests: tests/nn/test_layer.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self, Unpack

import torch
from torch import Tensor, nn

from nes_lab.errors import GeometryError, OptionError
from nes_lab.execution.base import LayerOp
from nes_lab.geometry.epitome_geometry import Boundary, Scope
from nes_lab.nn.dense import fill_dense
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.records.keywords import EpitomeKeywords
from nes_lab.records.options import EpitomeDtype, EpitomeInit, ExecutionOption, LearnerKind, Routing, Squash
from nes_lab.renamed import renamed_arguments

__all__ = ["EpitomeConv1d", "EpitomeConv2d", "EpitomeConv3d"]


class _EpitomeConv(EpitomeLayer):
    """Base class of the epitome convolutions. Each public class sets ``spatial``, its number of spatial axes."""

    spatial: int
    dense: type[nn.Module]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | Literal["same", "valid"] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        epitome_shape: tuple[int, ...],
        patch_channels: int | tuple[int, int] | None = None,
        routing: Routing = "tiled",
        scope: Scope = "separable",
        boundary: Boundary = "clamp",
        execution: ExecutionOption = "auto",
        seed: int = 0,
        windows: int = 1,
        epitome_dtype: EpitomeDtype = "float",
        reach: float = 1.0,
        squash: Squash = "tanh",
        momentum: float = 0.9,
        learner: LearnerKind = "mlp",
    ) -> None:
        n = self.spatial
        kernel = _numbers("kernel_size", kernel_size, n, least=1)
        steps, spread = _numbers("stride", stride, n, least=1), _numbers("dilation", dilation, n, least=1)
        pad = padding if isinstance(padding, str) else _numbers("padding", padding, n, least=0)
        _check_conv(in_channels, out_channels, groups, padding_mode, pad, steps)
        op = self.operation(LayerOp(kernel, steps, pad, spread, groups))
        super().__init__(
            (out_channels, in_channels // groups, *kernel),
            op,
            bias,
            epitome_shape=epitome_shape,
            patch_channels=patch_channels,
            routing=routing,
            scope=scope,
            boundary=boundary,
            execution=execution,
            seed=seed,
            windows=windows,
            epitome_dtype=epitome_dtype,
            reach=reach,
            squash=squash,
            momentum=momentum,
            learner=learner,
            device=device,
            dtype=dtype,
        )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.padding, self.dilation = kernel, steps, pad, spread
        self.padding_mode = padding_mode

    transposed = False
    """As in torch's convolutions: False, because epitome layers are not transposed convolutions."""

    @property
    def output_padding(self) -> tuple[int, ...]:
        """Zeros, one per spatial axis, as in torch's convolutions; only transposed convolutions have other numbers."""
        return (0,) * self.spatial

    @property
    def _reversed_padding_repeated_twice(self) -> tuple[int, ...]:
        """Numbers of zeros at both ends of each spatial axis, last axis first, as in torch's convolutions."""
        if not isinstance(self.padding, str):
            return tuple(zeros for zeros in reversed(self.padding) for _ in range(2))
        reach = [
            d * (k - 1) if self.padding == "same" else 0 for d, k in zip(self.dilation, self.kernel_size, strict=True)
        ]
        return tuple(zeros for r in reversed(reach) for zeros in (r // 2, r - r // 2))

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve an input with a given weight, as torch's convolutions do; parents call it with ``layer.weight``."""
        return self.dense._conv_forward(self, input, weight, bias)  # type: ignore[operator, attr-defined]

    @staticmethod
    def operation(op: LayerOp) -> LayerOp:
        """Return the convolution that a layer of this class applies. Here it is ``op``, unchanged.

        A subclass may return another convolution, for example with another padding.

        Args:
            op: The convolution that the layer's arguments describe (stride, padding, dilation, groups).
        """
        return op

    @classmethod
    @renamed_arguments(weights="initial_weights")
    def from_conv(
        cls, conv: nn.modules.conv._ConvNd, initial_weights: EpitomeInit = "fit", **epitome: Unpack[EpitomeKeywords]
    ) -> Self:
        """Make the epitome layer that replaces a dense convolution.

        The new layer has the kernel size, stride, padding, dilation, groups, dtype, device and training mode of the
        dense layer. It has a bias if the dense layer has one.

        Args:
            conv: The dense layer; it is not changed.
            initial_weights: ``"fit"``: the epitome is the one whose sampled weight is nearest to the dense weight; ``"reset"``:
                each cell takes the value of one weight that reads it; ``"none"``: epitome and bias are random.
            **epitome: Keyword arguments of the new layer: ``epitome_shape``, and others such as ``patch_channels`` and
                ``routing``.

        Raises:
            GeometryError: If a patch does not fit in the epitome, or if ``conv`` does not have this class's number of spatial
                axes.

        In the example, the epitome is as large as the weight. So the layer's weight is equal to the dense weight.

        Examples:
            >>> conv = nn.Conv2d(4, 8, 3)
            >>> layer = EpitomeConv2d.from_conv(conv, epitome_shape=(8, 4, 3, 3))
            >>> torch.equal(layer.weight, conv.weight)
            True
        """
        if not isinstance(conv, cls.dense):
            raise GeometryError(
                f"conv is a {type(conv).__name__}; {cls.__name__}.from_conv takes a {cls.dense.__name__}"
            )
        layer = cls(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,
            conv.groups,
            conv.bias is not None,
            conv.padding_mode,  # type: ignore[arg-type]
            conv.weight.device,
            conv.weight.dtype,
            **epitome,
        )
        return layer.copy_dense_state_(conv, initial_weights)

    def plain(self) -> nn.Module:
        """Make a plain torch convolution with the sampled weight. Its outputs equal this layer's up to rounding."""
        conv = self.dense(
            self.in_channels,
            self.out_channels,
            self.kernel_size,  # type: ignore[arg-type]
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
            self.dilation,  # type: ignore[arg-type]
            self.groups,
            self.bias is not None,
            device=self.epitome.device,
            dtype=self.epitome.dtype,
        )
        return fill_dense(conv, self)


class EpitomeConv1d(_EpitomeConv):
    r"""One-dimensional convolution whose weight is sampled from a smaller tensor, the epitome.

    With every ``execution`` (way to compute the layer), output and gradients equal those of
    ``F.conv1d(x, layer.materialize(), ...)``.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, device, dtype: Arguments of
            :class:`torch.nn.Conv1d`.
        padding_mode: Only ``"zeros"`` is allowed.
        epitome_shape: Shape of the epitome, ``(E_out, E_in, E_k)``: its lengths along output channels, input channels and
            kernel.
        patch_channels, routing, scope, boundary, execution, seed, windows, epitome_dtype, reach, squash, momentum, learner: Arguments of
            :class:`nes_lab.EpitomeConv2d`, with the same meaning and defaults.

    Shape:
        - input ``(N, C_in, L)``, output ``(N, C_out, L_out)`` as :class:`torch.nn.Conv1d`

    Raises:
        GeometryError: If a patch does not fit in the epitome; the message names the axis and the lengths of patch and epitome.
        PlanError: If the layer cannot be computed as ``execution`` says; the message says why.
        OptionError: If another option has a value that is not allowed.

    Examples:
        >>> import torch, nes_lab
        >>> layer = nes_lab.EpitomeConv1d(16, 32, 9, epitome_shape=(16, 16, 9), padding="same")
        >>> layer(torch.randn(2, 16, 50)).shape
        torch.Size([2, 32, 50])

    Source: Zhou et al., ICLR 2020, arXiv:1907.05642.
    """

    kind, spatial = "conv1d", 1
    dense = nn.Conv1d


class EpitomeConv2d(_EpitomeConv):
    r"""Two-dimensional convolution whose weight is sampled from a smaller tensor, the epitome.

    The weight is cut into patches. Each patch is read from the epitome at real-valued starting indices, by multilinear
    interpolation. Only the epitome, the routing map (the starting indices) and the bias are stored.

    With every ``execution``, output and gradients equal those of ``F.conv2d(x, layer.materialize(), ...)``.

    Args:
        in_channels: Number of input channels.
        out_channels, kernel_size, stride, padding, dilation, groups, bias, device, dtype: Arguments of
            :class:`torch.nn.Conv2d`.
        padding_mode: Only ``"zeros"`` is allowed.
        epitome_shape: Shape of the epitome, ``(E_out, E_in, E_h, E_w)``: its lengths along output channels, input channels and
            the two kernel axes. The layer is compressed if the epitome is smaller than the weight, ``(C_out, C_in/groups, K_h,
            K_w)``.
        patch_channels: Numbers of output and input channels of a patch, ``(b_out, b_in)``, or one integer for both (at most the
            epitome's length); the last patch may be smaller. None: the lengths of the epitome's channel axes.
        routing: How the starts are set. ``"tiled"``: 0, b, 2b, ... for patches of length b, beginning again at the end of the
            epitome; ``"stride"``: evenly spaced; ``"random"``: drawn from ``seed``; ``"free"``: learned parameters;
            ``"learner"``: predicted from the input.
        scope: ``"separable"``: patches with the same index along an axis have the same start along that axis; ``"joint"``: each
            block of the weight (an output patch crossed with an input patch) has its own starts; ``"flat"``: a block is a weighted
            sum of pieces of an epitome of one axis, ``(E,)``, which other layers may share.
        boundary: ``"clamp"``: patches stay inside the epitome; ``"circular"``: a patch that passes the end of an axis continues
            at the beginning of the axis.
        execution: How the layer is computed. ``"materialize"``: with the complete sampled weight; ``"wrapped"``: after adding
            up the input channels that read the same epitome cell; ``"factored"``: with the epitome itself as the weight;
            ``"product_map"``: from the products of the input with every epitome cell; ``"auto"``: in the one of these ways
            that takes the fewest multiply-adds. For 1x1 convolutions the first three also end in ``_matmul``: the same, with a
            matrix product in place of the convolution.
        seed: Seed of ``"random"`` routing; other routings ignore it.
        windows: Number of windows (pieces of neighboring cells) whose weighted sum is a patch; more than 1 only with
            ``scope="flat"``.
        epitome_dtype: ``"float"``: cells are used as they are; ``"int8"``: cells are rounded to integers of 8 bits with one scale per
            output channel, or per 64 cells if the epitome is flat.
        reach: Largest distance of a start from its ``"tiled"`` value, in cells; only for ``"learner"`` routing with
            ``squash="tanh"``.
        squash: Only for ``"learner"`` routing. ``"tanh"``: starts stay within ``reach`` cells of their ``"tiled"`` values;
            ``"sigmoid"``: they move anywhere, as in the paper.
        momentum: Factor of the old starts in the moving average of starts, in [0, 1); only for ``"learner"`` routing.
        learner: Network that predicts the starts, ``"mlp"`` or ``"conv"``; only for ``"learner"`` routing.

    Shape:
        - input ``(N, C_in, H, W)``, output ``(N, C_out, H_out, W_out)`` as :class:`torch.nn.Conv2d`

    Raises:
        GeometryError: If a patch does not fit in the epitome; the message names the axis and the lengths of patch and epitome.
        PlanError: If the layer cannot be computed as ``execution`` says; the message says why.
        OptionError: If another option has a value that is not allowed.

    Examples:
        >>> import torch, nes_lab
        >>> layer = nes_lab.EpitomeConv2d(64, 128, 3, epitome_shape=(64, 64, 3, 3), patch_channels=(32, 32), padding=1)
        >>> layer(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 128, 8, 8])
        >>> layer.epitome.numel() / layer.weight.numel()
        0.5

    Source: Zhou et al., ICLR 2020, arXiv:1907.05642. Departs from the paper: by default learned starts begin at their
    ``"tiled"`` values; with separable scope the layer can be computed without sampling its weight.
    """

    kind, spatial = "conv2d", 2
    dense = nn.Conv2d


class EpitomeConv3d(_EpitomeConv):
    r"""Three-dimensional convolution whose weight is sampled from a smaller tensor, the epitome.

    With every ``execution`` (way to compute the layer), output and gradients equal those of
    ``F.conv3d(x, layer.materialize(), ...)``.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, device, dtype: Arguments of
            :class:`torch.nn.Conv3d`.
        padding_mode: Only ``"zeros"`` is allowed.
        epitome_shape: Shape of the epitome, ``(E_out, E_in, E_t, E_h, E_w)``: its lengths along output channels, input
            channels and the three kernel axes.
        patch_channels, routing, scope, boundary, execution, seed, windows, epitome_dtype, reach, squash, momentum, learner: Arguments of
            :class:`nes_lab.EpitomeConv2d`, with the same meaning and defaults.

    Shape:
        - input ``(N, C_in, T, H, W)``, output ``(N, C_out, T_out, H_out, W_out)`` as :class:`torch.nn.Conv3d`

    Raises:
        GeometryError: If a patch does not fit in the epitome; the message names the axis and the lengths of patch and epitome.
        PlanError: If the layer cannot be computed as ``execution`` says; the message says why.
        OptionError: If another option has a value that is not allowed.

    Examples:
        >>> import torch, nes_lab
        >>> layer = nes_lab.EpitomeConv3d(8, 16, 3, epitome_shape=(8, 8, 3, 3, 3), padding=1)
        >>> layer(torch.randn(1, 8, 4, 6, 6)).shape
        torch.Size([1, 16, 4, 6, 6])

    Source: Zhou et al., ICLR 2020, arXiv:1907.05642.
    """

    kind, spatial = "conv3d", 3
    dense = nn.Conv3d


def _numbers(name: str, value: int | tuple[int, ...], n: int, least: int) -> tuple[int, ...]:
    numbers: tuple[Any, ...] = (
        tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,) * n
    )
    if len(numbers) != n or any(isinstance(v, bool) or not isinstance(v, int) or v < least for v in numbers):
        raise OptionError(f"{name}={value!r}; give one integer or {n} of them, each at least {least}")
    return numbers


def _check_conv(
    c_in: int, c_out: int, groups: int, padding_mode: str, padding: tuple[int, ...] | str, stride: tuple[int, ...]
) -> None:
    if groups < 1 or c_in < 1 or c_out < 1 or c_in % groups or c_out % groups:
        raise GeometryError(
            f"in_channels={c_in}, out_channels={c_out}, groups={groups}: groups must be at least 1 and divide both"
        )
    if padding_mode != "zeros":
        raise OptionError(f"padding_mode={padding_mode!r}; epitome layers pad with zeros only")
    if isinstance(padding, str) and padding not in ("same", "valid"):
        raise OptionError(f"padding={padding!r}; give numbers, 'same' or 'valid'")
    if padding == "same" and any(s != 1 for s in stride):
        raise OptionError(f"padding='same' needs stride 1, as in torch; it is {stride}")
