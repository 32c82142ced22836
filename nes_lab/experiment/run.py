"""Define ``nes_lab.Run``, a training run as an object.

Nothing here imports torch until a method needs it, so the app may use all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from nes_lab.config import ExperimentConfig, load_config
from nes_lab.errors import OptionError, RunError, check_choice
from nes_lab.experiment.memory import Memory
from nes_lab.experiment.ranks import is_first, only_first
from nes_lab.experiment.same_settings import check_settings
from nes_lab.experiment.train_here import train_here
from nes_lab.progress_bar import OnProgress, check_progress, progress_reporter
from nes_lab.records.options import ExportForm, ExportFormat
from nes_lab.runs import launcher, layout
from nes_lab.runs.extend import check_extension, extend
from nes_lab.runs.files import write_bytes
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.imports import imports_of_run
from nes_lab.runs.info import RunInfo, refuse_finished
from nes_lab.runs.pack import pack_run
from nes_lab.runs.replace import write_target
from nes_lab.runs.store import RunStore

if TYPE_CHECKING:
    from torch import nn

    from nes_lab.export.report import ExportReport
    from nes_lab.training.metrics import AnyMetric
    from nes_lab.training.task import Loss

__all__ = ["Run", "Which"]

Which = Literal["last", "best", "averaged", "best averaged"]
"""Names a network of a run: of the newest checkpoint, or the best one; or one with averaged weights."""


class Run(RunHandle):
    """A training run. :func:`nes_lab.train` makes one, :func:`nes_lab.open_run` and :func:`nes_lab.list_runs` find one.

    Everything about the run is in its files. Each property reads them again, so it shows the present state, also while another
    process trains the run. A run that has ended before its last step continues with :meth:`resume`, bit for bit.

    Args:
        store: The store that holds the run.
        run_id: Id of the run.

    Raises:
        RunError: If there is no such run.

    Examples:
        >>> import nes_lab, tempfile
        >>> config = {"data": {"limit": 64}, "training": {"epochs": 1, "threads": 1}}
        >>> run = nes_lab.train(config, root=tempfile.mkdtemp(), progress=False)
        >>> run.state, run.config.training.epochs, run.metrics().rows[-1]["split"]
        ('finished', 1, 'val')
        >>> type(run.network("best")).__name__
        'SmallMobileNetV2'
    """

    def __init__(self, store: RunStore, run_id: str) -> None:
        super().__init__(store, run_id)
        self.memory = Memory()
        """What was given in memory and the run's files cannot make again."""

    @property
    def config(self) -> ExperimentConfig:
        """Configuration of the experiment, with the present names of its fields.

        Raises:
            OptionError: If a value is not valid in this version.
        """
        return load_config(self.store.get(self.id).config)

    def network(self, which: Which = "last") -> nn.Module:
        """Return the network that the run has trained, on the CPU and in evaluation mode. The run may still be training.

        Args:
            which: ``"last"``: the newest checkpoint. ``"averaged"``: the weights of this
                checkpoint averaged over training, if ``training.ema_decay`` was set. ``"best"``: the weights with the best
                validation of all, averaged or not. ``"best averaged"``: the best averaged weights. The first metric of the run
                decides, usually top-1.

        Returns:
            A new network. Its attribute ``nes_lab_plan`` is the compression plan, if it is compressed. Its attribute
            ``nes_lab_trained`` says which weights it has, such as ``averaged weights of step 40, top1 60.3``.

        Raises:
            RunError: If the run has no checkpoint yet.
            CheckpointError: If its checkpoints are damaged, or hold no averaged weights.
        """
        from nes_lab.experiment.trained import trained_network

        found = trained_network(self.store, self.id, network=self.memory.network, **_asked(which))
        found.network.nes_lab_trained = found.text  # type: ignore[assignment]
        return found.network

    def resume(
        self,
        *,
        network: nn.Module | None = None,
        data: Any = None,
        loss: Loss | None = None,
        metrics: Mapping[str, AnyMetric] | None = None,
        detach: bool = False,
        progress: bool = True,
        on_progress: OnProgress | None = None,
    ) -> Self:
        """Continue a run that was cancelled, has failed or whose process has died. It continues from its last checkpoint.

        A run that still waits in the queue starts from the beginning. What was given to this object or to
        :func:`nes_lab.train` before, in this process, need not be given again.

        Args:
            network: The network that the run was created with, or one with the same layers. None: the network is made from
                the run's files.
            data: The data set that the run was created with. None: the run's configuration names it.
            loss: The loss that the run was created with. None: cross entropy.
            metrics: The metrics that the run was created with. None: top-1 and top-5 accuracy for cross entropy, and no
                metrics for another loss.
            detach: Train in the background, after the runs that are already waiting, and return at once.
            progress: Show a bar on standard error while this process trains.
            on_progress: Function that is called with a :class:`~nes_lab.progress_bar.ProgressEvent`, at most five times a second.
                None: nothing is called.

        Returns:
            This run.

        Raises:
            RunError: If the run is finished or trains already, or the training fails.
            CheckpointError: If an object differs from the one that the run was created with, or if the run's configuration or
                data has changed since. The run does not change then.
        """
        check_progress(progress, on_progress)
        memory = self.memory.with_given(network=network, data=data, loss=loss, metrics=metrics)
        only_first(lambda: self._check_resumable(memory))
        self.memory = memory
        if detach:
            launcher.launch(self.store, self.id)
            return self
        only_first(self._requeue)
        with progress_reporter(progress and is_first(), on_progress, f"run {self.id}") as report:
            train_here(self.store, self.id, self.memory, report)
        return self

    def extend(
        self,
        epochs: int,
        *,
        network: nn.Module | None = None,
        data: Any = None,
        loss: Loss | None = None,
        metrics: Mapping[str, AnyMetric] | None = None,
        detach: bool = False,
        progress: bool = True,
        on_progress: OnProgress | None = None,
    ) -> Self:
        """Train the run for more epochs than planned. The run may be finished, cancelled, failed or lost.

        The training continues from its last checkpoint. From there on, the learning rate follows the schedule of a
        training of ``epochs`` epochs, so it may rise. The file ``config.json`` keeps the old number of epochs. The run's
        summary says at which epoch the run was extended. Tables do not average the results of this run with those of runs
        that had ``epochs`` epochs from the beginning. What was given to this object or to :func:`nes_lab.train` before, in this
        process, need not be given again.

        Args:
            epochs: Number of epochs in total, more than the run has now.
            network: The network that the run was created with, or one with the same layers. None: the network is made from
                the run's files.
            data: The data set that the run was created with. None: the run's configuration names it.
            loss: The loss that the run was created with. None: cross entropy.
            metrics: The metrics that the run was created with. None: top-1 and top-5 accuracy for cross entropy, and no
                metrics for another loss.
            detach: Train in the background, after the runs that are already waiting, and return at once.
            progress: Show a bar on standard error while this process trains.
            on_progress: Function that is called with a :class:`~nes_lab.progress_bar.ProgressEvent`, at most five times a second.
                None: nothing is called.

        Returns:
            This run.

        Raises:
            OptionError: If ``epochs`` is not more than the run has now.
            RunError: If the run trains or waits in the queue, has no checkpoint, or the training fails.
            CheckpointError: If an object differs from the one that the run was created with, or if the run's configuration or
                data has changed since. The run does not change then.

        Examples:
            >>> import nes_lab, tempfile
            >>> config = {"data": {"limit": 64}, "training": {"epochs": 1, "warmup_epochs": 0, "threads": 1}}
            >>> run = nes_lab.train(config, root=tempfile.mkdtemp(), progress=False)
            >>> run.extend(2, progress=False).summary["extended_from"]
            'epoch 1'
        """
        check_progress(progress, on_progress)
        memory = self.memory.with_given(network=network, data=data, loss=loss, metrics=metrics)
        only_first(lambda: self._extend(epochs, memory))
        self.memory = memory
        begin: dict[str, Any] = {"detach": detach, "progress": progress, "on_progress": on_progress}
        return self.resume(**begin)

    def _extend(self, epochs: int, memory: Memory) -> None:
        info = self.info
        check_extension(info, epochs)
        self._check_needs(info, memory)
        training = {**info.config["training"], "epochs": epochs}
        load_config({**info.config, "training": training})  # other fields may not allow so many epochs
        extend(self.store, self.id, epochs)

    def check_resumable(self) -> None:
        """Check that the run can be resumed, without resuming it.

        Raises:
            RunError: If the run is finished or trains already, or if something that was given in memory must be given again.
            CheckpointError: If the configuration has changed since the run was trained.
        """
        self._check_resumable(self.memory)

    def _check_resumable(self, memory: Memory) -> None:
        info = self.info
        if info.is_active:
            raise RunError(f"run {info.id} is {info.state} in process {info.pid}; nes-lab cancel {info.id} stops it")
        refuse_finished(info)
        self._check_needs(info, memory)

    def _check_needs(self, info: RunInfo, memory: Memory) -> None:
        memory.check(info)
        check_settings(self.folder)
        with imports_of_run(self.folder):  # it checks that what the run imports is found and allowed
            if memory is not self.memory:  # something was given to this call
                from nes_lab.experiment.given_again import check_given

                check_given(self.folder, info, load_config(info.config), memory)

    def _requeue(self) -> None:
        info = self.info
        if info.state != "queued":
            launcher.requeue(self.store, info)

    def remember(self, **given: Any) -> None:
        """Keep objects, such as a network in memory, that the run's files cannot make again. Later method calls use them.

        Args:
            given: The objects, as keyword arguments: ``network``, ``data``, ``loss`` and ``metrics``, as in
                :func:`nes_lab.train`. An argument that is None changes nothing.
        """
        self.memory = self.memory.with_given(**given)

    def export(
        self,
        path: str | Path,
        *,
        which: Which = "last",
        format: ExportFormat | Literal["folder"] | None = None,
        form: ExportForm = "materialized",
        opset: int | None = None,
        input_shape: tuple[int, ...] | None = None,
        verbose: bool = False,
        on_progress: OnProgress | None = None,
    ) -> ExportReport | Path:
        """Write the network that the run has trained to a file, or save it in a folder.

        A file appears only after its outputs were compared with PyTorch's.

        Args:
            path: The file or folder to write.
            which: Which network, as for :meth:`network`.
            format: ``"onnx"``, ``"torch"`` (a program of torch.export), or ``"folder"`` (for :func:`nes_lab.from_pretrained`).
                None: ``.onnx`` and ``.pt2`` at the end of ``path`` mean the first two; a path without an ending is a folder.
            form: ``"materialized"``: plain layers. ``"factored"``: the file stores the epitomes and computes with them.
            opset: Version of the ONNX operator set. None: torch's default.
            input_shape: Shape of one input without the batch axis. None: that of the run's data.
            verbose: Let torch print its messages and the traced graph on standard error.
            on_progress: Called before each phase of the work. An error that it raises ends the work.

        Returns:
            The report of the export, or the path of the folder.

        Raises:
            RunError: If the run has no checkpoint yet.
            ExportError: If the outputs differ. No file is kept then.
        """
        from nes_lab.experiment.trained import save_trained, trained_network
        from nes_lab.models.folders import export_network

        endings: dict[str, ExportFormat] = {".onnx": "onnx", ".pt2": "torch"}
        if format is not None:
            check_choice("format", format, ("onnx", "torch", "folder"))
        elif (ending := Path(path).suffix) not in endings and ending[1:].isalpha():
            raise OptionError(
                f"path={str(path)!r}: what the ending {ending} means is not known; end it with .onnx or .pt2, or give format="
            )
        chosen: ExportFormat | Literal["folder"] = format or endings.get(Path(path).suffix, "folder")
        if chosen == "folder":
            save_trained(self.store, self.id, path, network=self.memory.network, **_asked(which))
            return Path(path)
        trained = trained_network(self.store, self.id, network=self.memory.network, **_asked(which))
        example = trained.example(input_shape)
        options = {"format": chosen, "form": form, "opset": opset, "verbose": verbose}
        report = export_network(trained.network, example, path, on_progress=on_progress, **options)
        return replace(report, source=trained.text)

    def report(self, path: str | Path | None = None) -> Path:
        """Write the configuration, results, curves and layers of the run into one HTML file that needs no internet connection.

        Args:
            path: The file to write. None: ``report.html`` in the run's folder.

        Returns:
            The path of the file.
        """
        from nes_lab.figures.run_report import run_report

        page = run_report(self.store, self.id)
        if path is None:
            write_bytes(self.folder / layout.REPORT, page.encode(), durable=False)
            return self.folder / layout.REPORT
        try:
            write_target(path, page)
        except OSError as error:
            raise RunError(f"{path} cannot be written: {error.strerror or error}") from error
        return Path(path)

    def pack(self, file: str | Path | None = None) -> Path:
        """Pack the run into one file, to open it on another machine with :func:`nes_lab.import_run`.

        The file holds the run's configuration, metrics, events, log, checkpoints and snapshots, and the SHA-256 of each. It holds
        neither the data set nor code of yours. It appears complete, or not at all.

        Args:
            file: The file to write, which must not exist. None: ``<id>.run.zip`` in the present folder.

        Returns:
            The path of the file.

        Raises:
            RunError: If the run trains or waits in the queue, or the file exists or cannot be written.
        """
        return pack_run(self.store, self.id, file)

    def _repr_html_(self) -> str:
        return self.info._repr_html_()


def _asked(which: str) -> dict[str, Any]:
    check_choice("which", which, get_args(Which))
    return {"averaged": True if "averaged" in which else None, "best": "best" in which}
