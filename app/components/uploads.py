"""Draw the upload of a zip file of class folders, and the list of uploads with buttons to delete them."""

from typing import Any

import streamlit as st

from app.cached import all_runs
from app.components.errors import plain_text, show_error
from nes_lab.datasets.uploads.limits import UploadLimits
from nes_lab.datasets.uploads.stored import Upload, delete_upload, list_uploads
from nes_lab.datasets.uploads.unpack import unpack_upload
from nes_lab.errors import DataError
from nes_lab.text import format_bytes, format_share

__all__ = ["upload_form", "upload_list"]

_SAID = "upload-said"
SHARES = (0.1, 0.2, 0.3)


def upload_form() -> None:
    """Draw the field for a zip file, how to split it, and the button that unpacks it."""
    limits = UploadLimits()
    st.file_uploader(
        "A zip file with one folder of images per class",
        type="zip",
        key="zip",
        help="With folders train and val around the class folders, these are kept. Otherwise the images are split here.",
    )
    left, right = st.columns(2, vertical_alignment="bottom")
    with left:
        st.selectbox(
            "For validation", SHARES, index=1, key="val-share", format_func=lambda share: format_share(share, digits=0)
        )
    with right:
        st.number_input("Seed of the split", 0, 2_147_483_647, 0, key="split-seed")
    given = st.session_state.get("zip") is not None
    st.button("Unpack it", icon=":material/unarchive:", on_click=take, disabled=not given)
    st.caption(
        f"At most {format_bytes(limits.zip_bytes)}, {limits.files:,} files, {format_bytes(limits.bytes)} unpacked, and "
        f"{limits.pixels:,} pixels per image. Links, encrypted files and archives inside are refused."
    )
    said: dict[str, Any] = st.session_state.get(_SAID, {})
    if said.get("error"):
        show_error(said["error"])
    for note in said.get("notes", ()):
        skipped = "skipped" in note
        (st.warning if skipped else st.success)(
            plain_text(note), icon=":material/warning:" if skipped else ":material/check:"
        )


def take() -> None:
    """Unpack the file that the user gave, and choose it on the page. Remember what to say about it."""
    file = st.session_state.get("zip")
    if file is None:
        return
    split = {"val_share": st.session_state["val-share"], "seed": st.session_state["split-seed"]}
    try:
        upload, notes = unpack_upload(file, file.name, **split)
    except DataError as error:
        st.session_state[_SAID] = {"error": f"{file.name}: {error}"}
        return
    st.session_state[_SAID] = {"notes": [f"{upload.files:,} images unpacked.", *notes]}
    st.session_state["set"] = f"upload {upload.name} ({upload.id[-6:]})"


def upload_list() -> None:
    """List the uploads on this computer with their sizes, each with a button that deletes it."""
    uploads = list_uploads()
    if not uploads:
        return
    st.subheader("Uploads")
    used = {
        (info.config.get("data") or {}).get("root") for info in all_runs() if info.is_active or info.state == "queued"
    }
    for upload in uploads:
        with st.container(horizontal=True, vertical_alignment="center", border=True):
            st.markdown(f"**{plain_text(upload.name)}**  \n{upload.files:,} images · {format_bytes(upload.bytes)}")
            with st.popover("Delete", icon=":material/delete:"):
                if str(upload.folder) in used:
                    st.markdown("A run trains on it or waits for it. Cancel the run first.")
                else:
                    st.markdown("The images are deleted from this computer. Runs that used them cannot be resumed.")
                    st.button("Delete for good", key=f"delete-{upload.id}", on_click=delete, args=(upload,))


def delete(upload: Upload) -> None:
    """Delete an upload. Remember what to say about it."""
    try:
        delete_upload(upload.id)
        st.session_state[_SAID] = {"notes": [f"{upload.name} was deleted."]}
    except DataError as error:
        st.session_state[_SAID] = {"error": str(error)}
