"""Warn if the server listens for other machines: the app has no login."""

import ipaddress

import streamlit as st

__all__ = ["is_loopback", "open_warning"]


def is_loopback(address: str | None) -> bool:
    """Return True if only programs on this machine can reach a server at this address.

    Args:
        address: Streamlit's option ``server.address``; None: the server listens on all interfaces.

    Examples:
        >>> [is_loopback(address) for address in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "192.168.1.5", "my-host", None)]
        [True, True, True, False, False, False, False]
    """
    if address is None:
        return False
    if address.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False  # the name of some interface


def open_warning() -> str | None:
    """Return a warning if the server listens beyond this machine, and what to do; None if it does not."""
    address = st.get_option("server.address")
    if is_loopback(address):
        return None
    return (
        f"This app listens at {address or 'all network interfaces'}. It has no login: whoever can reach it can start and delete runs, "
        "and look at images in every folder that you can read. Start it with server.address 127.0.0.1 and use an ssh tunnel, or put "
        "an authenticating proxy in front of it."
    )
