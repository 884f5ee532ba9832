"""TensorBoard: event files in the run folder."""

import shlex
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from ssl_cli.config.types import Positive
from ssl_cli.runs.loggers.base import EndState, RunInfo, Tracker

FIGURES = "figures"  # folder in the run folder
PNG_SIZE = slice(16, 24)  # the bytes of a PNG that hold its width and its height
RGBA = 4  # TensorBoard's number of the color space


class TensorBoard(Tracker):
    """Event files in the run folder itself, so that `tensorboard --logdir outputs` names runs by their folders.

    A resumed run adds a file. It makes TensorBoard forget what earlier files hold from the new file's first step on.
    """

    label: ClassVar[str] = "TensorBoard"
    packages: ClassVar[tuple[str, ...]] = ("tensorboard",)
    install: ClassVar[str] = "tensorboard"
    id_pattern: ClassVar[str] = r"\."

    def __init__(self, flush_every_s: Annotated[Positive, "seconds a number may wait before it is in the file"]):
        self.flush_every_s = flush_every_s
        self.writer: Any = None

    def begin(self, info: RunInfo) -> str:
        """Write a new run's config; a resumed run's file is opened with its first row."""
        self.folder, self.outputs = info.folder, info.outputs
        if info.resume_id is None:
            from torch.utils.tensorboard.summary import hparams

            self._open(None)
            _, session_start, _ = hparams(info.settings, {})
            self.writer.file_writer.add_summary(session_start)
            lines = "\n".join(f"    {name}: {value}" for name, value in info.settings.items())  # Markdown for code
            self.writer.add_text("config", lines, 0)
            self.writer.flush()
        return "."

    def _open(self, forget_from_step: int | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(self.folder, purge_step=forget_from_step, flush_secs=self.flush_every_s)

    def write(self, row: Mapping[str, float], step: int) -> None:
        """Add a scalar for each value."""
        if self.writer is None:
            self._open(step)
        for name, value in row.items():
            self.writer.add_scalar(name, value, step)

    def view_command(self) -> str:
        """Return the command that serves the runs of the outputs."""
        here = Path.cwd()
        place = self.outputs.relative_to(here) if self.outputs.is_relative_to(here) else self.outputs
        return f"tensorboard --logdir {shlex.quote(str(place))}"

    def finish(self, state: EndState, metrics: Mapping[str, float]) -> None:
        """Record the metrics and close the file, without forgetting anything if a resumed run took no step."""
        if self.writer is None:
            self._try(lambda: self._open(None))
        super().finish(state, metrics)

    def _add_figures(self) -> None:
        """Add the run's figures as they are in its folder."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        for path in sorted((self.folder / FIGURES).glob("*.png")):
            content = path.read_bytes()
            width, height = struct.unpack(">II", content[PNG_SIZE])
            image = Summary.Image(width=width, height=height, colorspace=RGBA, encoded_image_string=content)
            value = Summary.Value(tag=f"{FIGURES}/{path.stem}", image=image)
            self.writer.file_writer.add_summary(Summary(value=[value]), self.step)

    def end(self, state: EndState) -> None:
        """Write the figures and the session's end, as success or failure, and close the file."""
        from tensorboard.compat.proto import summary_pb2
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        if state == "finished":
            self._try(self._add_figures)
        status = api_pb2.STATUS_SUCCESS if state == "finished" else api_pb2.STATUS_FAILURE
        session_end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
        described = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=session_end))
        value = summary_pb2.Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=described)
        self.writer.file_writer.add_summary(summary_pb2.Summary(value=[value]))
        self.writer.close()
