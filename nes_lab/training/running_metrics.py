"""Compute the mean loss and accuracy over many batches.

The sums of losses and of correct predictions stay on the GPU until the means are read. Therefore the CPU need not wait
for the GPU after each batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nes_lab.training.distributed import sum_on_cpu, world_size

__all__ = ["RunningMetrics"]

_TOP = 5


class RunningMetrics:
    """Means of the loss, and of the top-1 and top-5 accuracy in percent, over all batches added so far.

    Args:
        device: Device of the losses and logits. The sums are kept there.

    Examples:
        >>> metrics = RunningMetrics("cpu")
        >>> metrics.update(torch.tensor(0.5), torch.tensor([[3.0, 1.0], [0.0, 2.0]]), torch.tensor([0, 0]))
        >>> metrics.means()
        {'loss': 0.5, 'top1': 50.0, 'top5': 100.0}
    """

    def __init__(self, device: torch.device | str) -> None:
        dtype = torch.float32 if torch.device(device).type == "mps" else torch.float64  # MPS has no float64
        self._sums = torch.zeros(3, dtype=dtype, device=device)  # loss times images, top-1 hits, top-5 hits
        self.images = 0

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add the loss and accuracy of a batch to the means.

        Args:
            loss: Mean loss of the batch.
            logits: Outputs of the network, ``(N, classes)``.
            labels: Class numbers ``(N,)``, or a probability for every class ``(N, classes)``. With probabilities, the most
                probable class counts as the right one.
        """
        if labels.ndim > 1:
            labels = labels.argmax(1)
        hits = logits.detach().topk(min(_TOP, logits.shape[1])).indices == labels[:, None]
        count = len(labels)
        self._sums += torch.stack((loss.detach().to(self._sums.dtype) * count, hits[:, 0].sum(), hits.sum()))
        self.images += count

    def means(self, all_ranks: bool = False) -> dict[str, float]:
        """Return the means of ``loss``, ``top1`` and ``top5`` over all batches added so far, as a dict.

        Without batches the means are NaN.

        Args:
            all_ranks: True: include the batches of all processes of the training. Every process must then call this
                method.
        """
        images, sums = self.images, self._sums
        if all_ranks and world_size() > 1:
            everything = torch.cat((sums.cpu(), torch.tensor([images], dtype=sums.dtype)))
            sums, images = (parts := sum_on_cpu(everything))[:3], int(parts[3])
        if images == 0:
            return {"loss": float("nan"), "top1": float("nan"), "top5": float("nan")}
        loss, top1, top5 = sums.tolist()
        return {"loss": loss / images, "top1": 100 * top1 / images, "top5": 100 * top5 / images}

    def reset(self) -> None:
        """Forget all batches: set the sums of losses and of correct predictions to zero."""
        self._sums.zero_()
        self.images = 0

    def state_dict(self) -> dict[str, Tensor | int]:
        """Return the sums of losses and of correct predictions, and the number of images, as a dict for :meth:`load_state_dict`."""
        return {"sums": self._sums.cpu().clone(), "images": self.images}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Load the sums and the number of images that :meth:`state_dict` returned. The means then continue from them."""
        self._sums.copy_(torch.as_tensor(state["sums"]))
        self.images = int(state["images"])
