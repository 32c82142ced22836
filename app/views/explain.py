"""Explain page: which parts of images a compressed network looks at, beside a dense one, and where the two differ."""

from typing import Any

import streamlit as st

from app.cached import all_runs, choose_run, demo_runs, fitting_runs, is_bundled, root_of, run_of, run_title, shows_demo
from app.components.errors import plain_text
from app.components.explain_images import ask_images, same_text
from app.components.jobs import ask_about
from app.components.plot import plot
from app.components.tables import show
from app.inputs import in_address
from nes_lab.experiment.kept_answers import kept_answer
from nes_lab.figures.attributions import attributions
from nes_lab.figures.deletion_curves import deletion_curves
from nes_lab.records.explanations import explanation_table
from nes_lab.runs.info import RunInfo
from nes_lab.runs.references import ORIGIN, can_explain, has_checkpoint, names_of_pair, origin_text, references_of

METHODS = {
    "GradCAM": "gradcam",
    "Integrated gradients": "integrated_gradients",
    "Occlusion": "occlusion",
}
HELP = (
    "**GradCAM**: how strongly the features at a place speak for the answer. Coarse and fast; it takes the last layer that still has "
    "places.  \n**Integrated gradients**: how much each pixel adds to the score. Fine, but noisy.  \n**Occlusion**: how much the "
    "score falls when a square is covered. Slow for large images."
)
LIMIT = 3600
ABOUT = (
    "A compressed network may give the same answers as the dense one and still look at other parts of the image. This page shows for both "
    "which parts speak for the answer, how far they agree, and where they differ."
)


def has_network(info: RunInfo) -> bool:
    """Return whether the network of a run can be made again. Most runs of the bundled demo come without their checkpoints."""
    return can_explain(info) and (not is_bundled(info.id) or has_checkpoint(run_of(info.id).folder))


def ask_reference(info: RunInfo) -> str | None:
    """Let the user choose what a run is compared with, and return its id or ``origin``; None if there is nothing."""
    known = demo_runs() if is_bundled(info.id) else all_runs()
    others = {each.id: each for each in references_of(info, [each for each in known if has_network(each)])}
    origin = origin_text(info.config)
    choices = [*([ORIGIN] if origin else []), *others]
    if not choices:
        return None
    named = st.query_params.get("against")
    if named is not None and named not in choices:
        text = plain_text(f"There is no run {named!r} on the same data. Another one is shown.")
        st.info(text, icon=":material/info:")
    chosen = st.selectbox(
        "Compared with",
        choices,
        index=choices.index(named) if named in choices else 0,
        format_func=lambda each: origin if each == ORIGIN else run_title(others[each]),
        help="Runs on the same data, dense networks first. Both maps explain the answer of this network.",
    )
    if named != chosen:  # the address holds the id, because titles may be equal
        st.query_params["against"] = chosen
    return chosen


def known_answer(info: RunInfo, name: str, asked: dict[str, Any]) -> dict[str, Any] | None:
    """Return the answer to a question about a run, from this visit or from the run's folder; None if there is none.

    An answer from before the run was trained further does not count.
    """
    visit = st.session_state.get(f"explain-{name}")
    kept = kept_answer(run_of(info.id), name)
    known = [each for each in (visit, kept) if each is not None and each.get("step", info.step) == info.step]
    found = [each for each in known if each["asked"] == asked]
    return found[0] if found else None


def ask(info: RunInfo, reference: str, name: str, question: str, text: str, **more: Any) -> dict[str, Any] | None:
    """Ask the worker about two networks, and remember the answer for this visit."""
    place = {} if reference == ORIGIN else {"reference_root": str(root_of(reference))}
    keep = not is_bundled(info.id)
    found = ask_about(info, question, text, limit=LIMIT, reference=reference, keep=keep, **place, **more)
    if found is not None:
        st.session_state[f"explain-{name}"] = found
    return found


def disagreements(info: RunInfo, reference: str, is_asked: bool) -> dict[str, Any] | None:
    """Return on which examples two networks disagree, if it is known or wanted now."""
    known = known_answer(info, "disagreements", {"run": info.id, "reference": reference})
    if known is None and is_asked:
        return ask(info, reference, "disagreements", "disagreements", "Predicting with both networks")
    return known


def indices_of(images: dict[str, Any], known: dict[str, Any] | None) -> list[int] | None:
    """Return the numbers of the chosen validation examples; None if they are not known yet, or images were uploaded."""
    if "worst" in images:
        return None if known is None else [row["index"] for row in known["worst"][: images["worst"]]]
    return images.get("indices")


def show_answer(found: dict[str, Any], info: RunInfo, reference: RunInfo | None) -> None:
    """Draw what was found: a sentence, the maps, the curves, and a table of the scores."""
    names = names_of_pair(info, reference)
    st.success(plain_text(found["finding"]), icon=":material/lightbulb:")
    left, right = st.columns([3, 2], gap="medium")
    with left, st.container(border=True):
        plot(attributions(found["rows"], names=names, classes=found["classes"]), key="explain-maps")
    with right:
        with st.container(border=True):
            plot(deletion_curves(dict(zip(names, found["curves"], strict=True))), key="explain-curves")
        show(explanation_table(found["rows"], found["classes"]), key="explain-table")
        if found["layers"][0]:
            first, second = found["layers"]
            layers = first if first == second else f"{first} and {second}"
            st.caption(plain_text(f"GradCAM looks at the layer {layers}."))
        st.caption(
            "Red parts speak for the answer of the reference, blue ones against it. Each map is scaled to its own largest values."
        )


def show_page(info: RunInfo, reference: str) -> None:
    """Draw the choice of method and images, and what was found for them."""
    other = None if reference == ORIGIN else run_of(reference).info
    left, right = st.columns([1, 2], gap="medium")
    with left:
        method = METHODS[st.selectbox("Method", list(METHODS), help=HELP, **in_address("method"))]
    known = disagreements(info, reference, False)
    with right:
        images = ask_images(known, lambda: disagreements(info, reference, True))
    pressed = st.button("Explain", type="primary", icon=":material/visibility:", disabled=images is None)
    known = disagreements(info, reference, pressed and images is not None and "worst" in images)
    if known is not None:
        st.caption(same_text(known))
    if images is None:
        st.info("Choose images above, and press **Explain**.", icon=":material/info:")
        return
    chosen = {"method": method, "indices": indices_of(images, known), "marks": images.get("marks")}
    found = known_answer(info, "explanation", {"run": info.id, "reference": reference} | chosen)
    if found is None and pressed and (chosen["indices"] or images.get("uploads")):
        more = chosen | {"uploads": images.get("uploads")}
        found = ask(info, reference, "explanation", "explain", "Explaining", **more)
    if found is None:
        st.info("Press **Explain** to see which parts of these images both networks look at.", icon=":material/info:")
        return
    show_answer(found, info, other)


st.title("Explain")
st.caption(ABOUT)
compressed = fitting_runs(lambda info: has_network(info) and bool(info.config.get("compression")))
if not compressed:
    st.info("This needs a compressed run that has ended. Start one on **Compress**.", icon=":material/info:")
    st.page_link("views/compress.py", label="Go to Compress", icon=":material/arrow_forward:")
else:
    if is_bundled(compressed[0].id) and not shows_demo():
        st.info(
            "None of your runs has a compressed network that is trained, so the demo is shown. Start one on **Compress**.",
            icon=":material/info:",
        )
    first, second = st.columns(2, gap="medium")
    with first:
        run = choose_run(compressed)
    with second:
        against = ask_reference(run)
    if against is None:
        st.info(
            "There is nothing to compare this run with: no other run has the same data, and it began with random weights. Train a dense "
            "network on **Compress**: switch the compression off, and leave the data as it is.",
            icon=":material/info:",
        )
    else:
        show_page(run, against)
