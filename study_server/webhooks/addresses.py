"""Where a webhook may lead: https to the public internet, unless whoever runs the server allowed a private address.

The name is looked up for each delivery and the connection goes to the very address that was checked, so that a name
which answers differently the second time (DNS rebinding) reaches nothing inside.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

from study_server.errors import BadRequest

LONGEST_URL = 2_000
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# IPv6 that carries an IPv4 address to its network: what it carries is what is reached.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefused(Exception):
    """The name leads to no address, or to one that a webhook may not reach."""


def check_url(url: str, *, allow_private: bool) -> SplitResult:
    """The parts of a webhook's URL; BadRequest for one that may not be stored. Its name is not looked up yet."""
    parts = _split(url)
    if len(url) > LONGEST_URL or any(character.isspace() or not character.isprintable() for character in url):
        raise BadRequest(f"a webhook's URL has at most {LONGEST_URL} characters, without blanks")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise BadRequest(f"the URL {url!r} has a name, a password or a #; leave it out, the signature proves who sends")
    host = parts.hostname or ""
    literal = _literal(host)
    here = host == "localhost" or (literal is not None and literal.is_loopback)
    if not host or parts.scheme not in ("https", "http") or (parts.scheme == "http" and not here):
        raise BadRequest(f"the URL {url!r} does not begin with https:// (http:// only to this machine, 127.0.0.1)")
    if not allow_private and (here or (literal is not None and not is_public(literal))):
        raise BadRequest(
            f"{host} is not an address of the public internet; where the server runs, "
            "`qsched admin webhook create --allow-private` allows it"
        )
    return parts


async def resolve(parts: SplitResult, *, allow_private: bool) -> Address:
    """The address to connect to; AddressRefused if the name has none, or any that is not public."""
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AddressRefused(f"the name {host} leads nowhere: {error}") from error
    addresses = [ipaddress.ip_address(str(where[0]).partition("%")[0]) for *_, where in found]
    private = [address for address in addresses if not is_public(address)]
    if not addresses or (private and not allow_private):
        raise AddressRefused(f"the name {host} leads to {private[0] if private else 'nothing'}, which is not public")
    return addresses[0]


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, also where it is written as another kind of address."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.sixtofour is not None:
            return is_public(address.sixtofour)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.is_site_local:  # deprecated, and the ipaddress module calls it global
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for a port that is none
    except ValueError as error:
        raise BadRequest(f"the URL {url!r} cannot be read: {error}") from error
    return parts
