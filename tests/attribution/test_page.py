"""The snippets of docs/attribution.md run when each is pasted alone."""

import re

from tests.house.tree import ROOT

SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/attribution.md").read_text(encoding="utf-8"), re.DOTALL)


def test_attribution_page_runs(capsys):
    for snippet in SNIPPETS:
        exec(compile(snippet, "docs/attribution.md", "exec"), {"__name__": "page"})
    assert len(SNIPPETS) == 4 and "integrated_gradients on 4 inputs" in capsys.readouterr().out
