"""Under which Host headers the server answers.

A web page can let its own name resolve to this machine (DNS rebinding) and then ask from within the user's browser. Its
requests carry that name, so only the names that this server is known by are answered.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence

_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|((?!\.)[^\s\[\]:/?#@,*]+))(?::[0-9]{0,5})?")


def host_check(bound: str, more: Sequence[str] = ()) -> Callable[[str], bool]:
    """trusted(header) -> whether a request with this Host header is for a server that listens on `bound`.

    Always: the names and addresses of loopback, and `bound`, with any port, since ports are forwarded. Where `bound`
    stands for all addresses: every address, which nobody else can take, and this machine's name. more: further names,
    '*.example.org' for all below one, '*' for any. Raises ValueError for one that cannot be a host.
    """
    every = bound in ("", "0.0.0.0", "::")
    own = socket.gethostname() if every else f"[{bound}]" if ":" in bound else bound
    names, suffixes = {"localhost", _name(own)}, [".localhost"]
    for text in more:
        if text == "*":
            return lambda header: True
        name = _name(text.removeprefix("*."))
        if name is None:
            raise ValueError(f"{text!r} is not the name of a host: give names such as gpubox, *.example.org or *")
        if text.startswith("*."):
            suffixes.append(f".{name}")
        else:
            names.add(name)

    def trusted(header: str) -> bool:
        name = _name(header)
        if name is None:
            return False
        address = _address(name)
        if address is not None and (every or address.is_loopback):
            return True
        return name in names or name.endswith(tuple(suffixes))

    return trusted


def _name(text: str) -> str | None:
    """The host of 'host' or 'host:port', in the one form in which it is compared; None where there is none."""
    found = _HOST.fullmatch(text.strip())
    if not found:
        return None
    name = (found[1] or found[2]).lower().removesuffix(".")
    address = _address(name)
    if found[1] and address is None:
        return None
    return name if address is None else str(address)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
