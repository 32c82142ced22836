"""Define ``nes_lab.Run``, a training run as an object; open a run, and list runs.

Nothing here imports torch until a method needs it, so the app may use all of it.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from nes_lab.config import ExperimentConfig, load_config
from nes_lab.errors import NesLabError, RunError, check_choice, check_int
from nes_lab.experiment.ranks import is_first, is_rank, only_first, processes_of, train_as_rank, train_in_ranks
from nes_lab.progress_bar import OnProgress, progress_reporter
from nes_lab.runs import launcher, layout
from nes_lab.runs.extend import check_extension, extend
from nes_lab.runs.files import write_bytes
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.imports import imports_of_run
from nes_lab.runs.info import RunInfo, refuse_finished
from nes_lab.runs.pack import pack_run
from nes_lab.runs.states import STATES
from nes_lab.runs.store import RunStore
from nes_lab.runs.unpack import unpack_run

if TYPE_CHECKING:
    from torch import nn

    from nes_lab.datasets.spec import DatasetSpec
    from nes_lab.export.report import ExportReport

__all__ = ["Run", "Which", "import_run", "list_runs", "open_run"]

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
        self._network: nn.Module | None = None  # given in memory; what the run's files alone cannot make again
        self._data: DatasetSpec | None = None

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

        found = trained_network(self.store, self.id, network=self._network, **_asked(which))
        found.network.nes_lab_trained = found.text  # type: ignore[assignment]
        return found.network

    def resume(
        self,
        *,
        network: nn.Module | None = None,
        data: Any = None,
        detach: bool = False,
        progress: bool = True,
        on_progress: OnProgress | None = None,
    ) -> Self:
        """Continue the run from its last checkpoint, after it was cancelled, it failed or its process died.

        A run that still waits in the queue starts from the beginning.

        Args:
            network: The network that the run was created with, or one of the same layers. None: the run's files make it.
            data: The data set that the run was created with. None: the run's configuration names it.
            detach: Train in the background, after the runs that are already waiting, and return at once.
            progress: Show a bar on standard error while this process trains.
            on_progress: Function that is called at most five times a second with a progress event. None: nothing is called.

        Returns:
            This run.

        Raises:
            RunError: If the run is finished or trains already, or the training fails.
        """
        self.remember(network, data)
        only_first(self.check_resumable)
        if detach:
            launcher.launch(self.store, self.id)
            return self
        only_first(self._requeue)
        with progress_reporter(progress and is_first(), on_progress, f"run {self.id}") as report:
            self._train_here(report)
        return self

    def extend(
        self,
        epochs: int,
        *,
        network: nn.Module | None = None,
        data: Any = None,
        detach: bool = False,
        progress: bool = True,
        on_progress: OnProgress | None = None,
    ) -> Self:
        """Train the run further, with more epochs than it was planned with. It may be finished, cancelled, failed or lost.

        The training goes on at its last checkpoint. From there on, the learning rate follows the schedule of ``epochs``
        epochs, so it may rise. ``config.json`` keeps the old number of epochs, and the summary says where the run was
        extended. Tables do not average the results of this run with those of runs that had ``epochs`` epochs from the
        beginning.

        Args:
            epochs: Number of epochs in total, more than the run has now.
            network: The network that the run was created with, as for :meth:`resume`.
            data: The data set that the run was created with, as for :meth:`resume`.
            detach: Train in the background, after the runs that are already waiting, and return at once.
            progress: Show a bar on standard error while this process trains.
            on_progress: Function that is called at most five times a second with a progress event. None: nothing is called.

        Returns:
            This run.

        Raises:
            OptionError: If ``epochs`` is not more than the run has now.
            RunError: If the run trains or waits in the queue, has no checkpoint, or the training fails.

        Examples:
            >>> import nes_lab, tempfile
            >>> config = {"data": {"limit": 64}, "training": {"epochs": 1, "warmup_epochs": 0, "threads": 1}}
            >>> run = nes_lab.train(config, root=tempfile.mkdtemp(), progress=False)
            >>> run.extend(2, progress=False).summary["extended_from"]
            'epoch 1'
        """
        self.remember(network, data)
        only_first(lambda: self._extend(epochs))
        begin: dict[str, Any] = {"detach": detach, "progress": progress, "on_progress": on_progress}
        return self.resume(**begin)

    def _extend(self, epochs: int) -> None:
        info = self.info
        self._check_given(info)
        check_extension(info, epochs)
        training = {**info.config["training"], "epochs": epochs}
        load_config({**info.config, "training": training})  # other fields may not allow so many epochs
        extend(self.store, self.id, epochs)

    def check_resumable(self) -> None:
        """Check that the run can be resumed, without resuming it.

        Raises:
            RunError: If the run is finished or trains already, or if something that was given in memory must be given again.
        """
        info = self.info
        if info.is_active:
            raise RunError(f"run {info.id} is {info.state} in process {info.pid}; nes-lab cancel {info.id} stops it")
        refuse_finished(info)
        self._check_given(info)

    def _check_given(self, info: RunInfo) -> None:
        if any(have is None for what, have in (("network", self._network), ("data", self._data)) if what in info.given):
            raise RunError(f"run {info.id} continues only when {info.given_again()}")
        with imports_of_run(self.folder):
            pass  # it only checks here that what the run imports is found and allowed

    def _requeue(self) -> None:
        info = self.info
        if info.state != "queued":
            launcher.requeue(self.store, info)

    def remember(self, network: nn.Module | None, data: Any) -> None:
        """Remember a network and a data set for the next training of this run in this process.

        Args:
            network: The network in memory with which the run was created. None changes nothing.
            data: The data of the run, as :func:`nes_lab.train` takes it. None changes nothing.
        """
        if data is not None:
            from nes_lab.datasets.as_dataset import as_dataset

            data = as_dataset(data)
        self._network = self._network if network is None else network
        self._data = self._data if data is None else data

    @property
    def network_in_memory(self) -> nn.Module | None:
        """The network in memory with which the run was created, if it was given to this object."""
        return self._network

    def _train_here(self, on_progress: OnProgress) -> None:
        """Train the run in this process, or in as many processes as its configuration asks for, and write how it ended."""
        try:
            if is_rank():
                train_as_rank(self.store, self.id, on_progress)
            elif (processes := processes_of(self.store, self.id)) > 1:
                train_in_ranks(self.store, self.id, processes)
            else:
                from nes_lab.experiment.run_experiment import run_experiment

                given: dict[str, Any] = {} if self._network is None else {"network": self._network}
                run_experiment(self.store, self.id, on_progress=on_progress, data=self._data, **given)
        except KeyboardInterrupt:
            if is_rank():
                raise
            launcher.settle(self.store, self.id, "cancelled", "interrupted before training began")
        except (NesLabError, OSError, ImportError, RuntimeError) as error:
            if is_first():
                launcher.settle(self.store, self.id, "failed", f"{type(error).__name__}: {error}"[:2000])
            raise

    def export(
        self,
        path: str | Path,
        *,
        which: Which = "last",
        format: Literal["onnx", "torch", "folder"] | None = None,
        form: Literal["materialized", "factored"] = "materialized",
        opset: int | None = None,
        input_shape: tuple[int, ...] | None = None,
    ) -> ExportReport | Path:
        """Write the network that the run has trained to a file, or save it in a folder.

        A file appears only after its outputs were compared with PyTorch's.

        Args:
            path: The file or folder to write.
            which: Which network, as for :meth:`network`.
            format: ``"onnx"``, ``"torch"`` (a program of torch.export), or ``"folder"`` (for :func:`nes_lab.from_pretrained`).
                None: ``.onnx`` and ``.pt2`` at the end of ``path`` mean the first two; any other path is a folder.
            form: ``"materialized"``: plain layers. ``"factored"``: the file stores the epitomes and computes with them.
            opset: Version of the ONNX operator set. None: torch's default.
            input_shape: Shape of one input without the batch axis. None: that of the run's data.

        Returns:
            The report of the export, or the path of the folder.

        Raises:
            RunError: If the run has no checkpoint yet.
            ExportError: If the outputs differ. No file is kept then.
        """
        from nes_lab.experiment.trained import save_trained, trained_network
        from nes_lab.models.folders import export_network

        chosen = format or {".onnx": "onnx", ".pt2": "torch"}.get(Path(path).suffix, "folder")
        if chosen == "folder":
            save_trained(self.store, self.id, path, network=self._network, **_asked(which))
            return Path(path)
        trained = trained_network(self.store, self.id, network=self._network, **_asked(which))
        example = trained.example(input_shape)
        report = export_network(trained.network, example, path, format=chosen, form=form, opset=opset)
        return replace(report, source=trained.text)

    def report(self, path: str | Path | None = None) -> Path:
        """Write the configuration, results, curves and layers of the run into one HTML file that needs no internet connection.

        Args:
            path: The file to write. None: ``report.html`` in the run's folder.

        Returns:
            The path of the file.
        """
        from nes_lab.figures.run_report import run_report

        file = self.folder / layout.REPORT if path is None else Path(path)
        write_bytes(file, run_report(self.store, self.id).encode(), durable=False)
        return file

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


def open_run(name: str, *, root: str | Path | None = None) -> Run:
    """Open a run by its id.

    Args:
        name: Id of the run; its beginning or end is enough if no other run has it. Or the path of the run's folder.
        root: Folder of all runs. None: ``$NES_LAB_HOME/runs``, or ``data/runs`` if that variable is not set.

    Raises:
        RunError: If no run matches, or several do.

    Examples:
        >>> import nes_lab, tempfile
        >>> place = tempfile.mkdtemp()
        >>> run = nes_lab.train({"data": {"limit": 64}, "training": {"epochs": 1}}, root=place, progress=False)
        >>> nes_lab.open_run(run.id[-6:], root=place) == run
        True
    """
    if root is None and (Path(name) / layout.RUN).is_file():
        folder = Path(name).absolute()
        return Run(RunStore(folder.parent), folder.name)
    store = RunStore(root)
    return Run(store, store.find_id(str(name)))


def import_run(
    file: str | Path, *, new_id: bool = False, allow_import: bool = False, root: str | Path | None = None
) -> Run:
    """Import a run that :meth:`Run.pack` has written on another machine. The run appears complete, or not at all.

    Each file is checked against its SHA-256, which finds damage. Nothing in the file is run.

    Args:
        file: The packed run.
        new_id: Give the run a new id. False: it keeps its id, which must not exist here.
        allow_import: Let the run import the functions ``package.module:function`` that its configuration names, when it is resumed
            or its network is loaded. Give True only for a run that you trust. False: such a run can only be read.
        root: Folder of all runs. None: ``$NES_LAB_HOME/runs``, or ``data/runs`` if that variable is not set.

    Raises:
        RunError: If the file is not a packed run or is damaged, or a run with its id exists already.

    Examples:
        >>> import nes_lab, tempfile
        >>> place = tempfile.mkdtemp()
        >>> run = nes_lab.train({"data": {"limit": 64}, "training": {"epochs": 1}}, root=f"{place}/here", progress=False)
        >>> nes_lab.import_run(run.pack(f"{place}/run.zip"), root=f"{place}/there").summary == run.summary
        True
    """
    store = RunStore(root)
    return Run(store, unpack_run(store, file, new_id=new_id, allow_import=allow_import))


def list_runs(
    *, group: str | None = None, state: str | None = None, limit: int | None = None, root: str | Path | None = None
) -> list[Run]:
    """List training runs, newest first.

    Args:
        group: Only the runs of this group, such as a sweep. None: of all groups.
        state: Only the runs in this state, such as ``"finished"``. None: in all states.
        limit: At most this many runs. None: all.
        root: Folder of all runs. None: ``$NES_LAB_HOME/runs``, or ``data/runs`` if that variable is not set.

    Raises:
        OptionError: If ``state`` is not a state of runs, or ``limit`` is negative.
        RunError: If the folder cannot be read.

    Examples:
        >>> import nes_lab, tempfile
        >>> nes_lab.list_runs(root=tempfile.mkdtemp())
        []
    """
    if state is not None:
        check_choice("state", state, STATES)
    if limit is not None:
        check_int("limit", limit, 0)
    store = RunStore(root)
    chosen = (info for info in store.list() if group in (None, info.group) and state in (None, info.state))
    runs = []
    for info in chosen:
        with contextlib.suppress(RunError):  # it was deleted a moment ago
            runs.append(Run(store, info.id))
    return runs[:limit]
