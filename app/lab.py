"""Define the pages of the app. The server in ``app/main.py`` runs this file for each visitor.

Each page is one file in ``app/views/``. To add a page, write such a file and add it to the list of pages below.
"""

import sys
from pathlib import Path

import streamlit as st

_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:  # streamlit puts app/ on the path, not the folder that holds it
    sys.path.insert(0, _ROOT)

from app.components.errors import shown_errors  # noqa: E402
from app.components.sidebar import sidebar_demo, sidebar_run, sidebar_words  # noqa: E402
from app.listening import open_warning  # noqa: E402
from app.remembered import keep_address, restore_address  # noqa: E402
from app.workers import postpone_start  # noqa: E402

STYLE = """<style>
.stMainBlockContainer { padding: 3.9rem 2rem 3rem; max-width: 1720px; }
.stMainBlockContainer h1 { padding-top: 0; }
.st-key-binds [data-testid="stAlertContainer"] { padding: 0.6rem 0.8rem; }
[data-testid="stSidebarHeader"]::before { content: "◧ NES Lab"; font-weight: 700; font-size: 1.15rem; }
.st-key-launch-words { display: none; }
@media (max-width: 640px) {
  .st-key-launch-words { display: block; }
  .st-key-launch-bar { position: fixed; left: 0; right: 0; bottom: 0; z-index: 100; padding: 0.4rem 0.8rem 0.7rem;
    background: Canvas; border-top: 1px solid rgba(128, 128, 128, 0.4); gap: 0.3rem; }
  .stMainBlockContainer:has(.st-key-launch-bar) { padding-bottom: 7rem !important; }
}
@media (max-width: 640px) { .stMainBlockContainer { padding: 3.9rem 0.8rem 2rem; } }
.st-key-launch-card { position: sticky; top: 3.6rem; background: var(--st-background-color, inherit); }
.st-key-sidebar-run a *, .st-key-sidebar-queue a * { white-space: normal; overflow: visible; overflow-wrap: anywhere; }
@media (min-width: 641px) { .st-key-launch-card { max-height: calc(100vh - 4.5rem); overflow-y: auto; } }
.stColumn:has(.st-key-launch-card) > div, div:has(> .st-key-launch-card) { height: 100%; }
@media (max-width: 640px) {
  .stColumn:has(.st-key-sweep-form) { order: 2; }
  .stColumn:has(.st-key-trade-figure), .stColumn:has(.st-key-trade-figure) > div,
  .stColumn:has(.st-key-trade-verdict), .stColumn:has(.st-key-trade-verdict) > div { display: contents; }
  div:has(> .st-key-trade-figure) { order: 1; } div:has(> .st-key-trade-verdict) { order: 2; }
  div:has(> .st-key-trade-settings) { order: 3; } div:has(> .st-key-trade-methods) { order: 4; }
  div:has(> .st-key-trade-study) { order: 5; } div:has(> .st-key-trade-published) { order: 6; }
}
</style>"""

st.set_page_config(
    page_title="NES Lab", page_icon=str(Path(__file__).parent / "components" / "icon.svg"), layout="wide"
)
page = st.navigation(
    [
        st.Page("views/start.py", title="Start", icon=":material/home:", default=True),
        st.Page("views/compress.py", title="Compress", icon=":material/compress:"),
        st.Page("views/runs.py", title="Runs", icon=":material/list_alt:"),
        st.Page("views/run.py", title="Run", icon=":material/monitoring:"),
        st.Page("views/epitomes.py", title="Epitomes", icon=":material/grid_on:"),
        st.Page("views/trade_off.py", title="Trade-off", icon=":material/balance:"),
        st.Page("views/sweep.py", title="Sweep", icon=":material/tune:"),
        st.Page("views/data.py", title="Data", icon=":material/photo_library:"),
        st.Page("views/explain.py", title="Explain", icon=":material/visibility:"),
    ]
)
postpone_start()
st.html(STYLE)
with st.sidebar:
    st.fragment(sidebar_run, run_every=5)()
    sidebar_demo()
    sidebar_words()
restore_address(page.url_path)
warning = open_warning()
if warning is not None:
    st.warning(warning, icon=":material/public:")
with shown_errors():
    page.run()
keep_address(page.url_path)
postpone_start()
