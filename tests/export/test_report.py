"""The export report: plain data, there and back."""

import subprocess
import sys

import pytest

from nes_lab import ExportReport
from nes_lab.errors import PlanError

FULL = ExportReport(
    "m.onnx", "onnx", "factored", 10, 4, None, 20, (1, 2), 1e-6, 2e-6, 1e-4, 1.5, 3.0, 2, {"torch": "2.15"}
)


def test_export_report_round_trip():
    assert ExportReport.from_json(FULL.to_json()) == FULL
    assert str(FULL) in FULL.table().text() and "<table" in FULL._repr_html_()
    assert FULL.ratio == 0.5 and ExportReport("a", "onnx", "factored", 1, 1, 1).ratio is None


def test_export_report_of_0_1_0_loads_and_its_bytes_warn():
    old = FULL.to_dict()
    old["bytes"] = old.pop("file_bytes")
    assert ExportReport.from_dict(old) == FULL
    with pytest.warns(FutureWarning, match="ExportReport.file_bytes"):
        assert FULL.bytes == 10


def test_export_report_as_text():
    assert str(FULL) == (
        "m.onnx: onnx, factored, opset 20, 10 bytes, 4 params, unknown madds; differs from PyTorch by at most 1.0e-06 "
        "(batches 1, 2); 1.50 ms a call, PyTorch 3.00 ms, 2 threads"
    )


@pytest.mark.parametrize("change", [{"schema": 2}, {"more": 1}, {"remove": "params"}])
def test_export_report_refuses_foreign_data(change):
    data = FULL.to_dict() | change
    data.pop(data.pop("remove", "none"), None)
    with pytest.raises(PlanError, match=r"schema=2|lacks or misnames a field"):
        ExportReport.from_dict(data)
    with pytest.raises(PlanError, match="schema='list'"):
        ExportReport.from_dict([])


def test_export_report_needs_no_torch():
    program = "import sys, nes_lab.export.report, nes_lab.export.saved_config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
