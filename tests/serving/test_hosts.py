"""Which Host headers are trusted: a page that lets its name resolve to this machine must not be answered."""

import socket

import pytest

from rrft_jax.serving.hosts import host_check

LOOPBACK = [
    "localhost", "LocalHost:8000", "localhost.", "localhost:", "app.localhost:3000", "127.0.0.1", "127.0.0.1:65535",
    "127.8.9.10", "[::1]", "[::1]:8000", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]:80", " localhost ",
]  # fmt: skip
FOREIGN = [
    "evil.example", "evil.example:8000", "localhost.evil.example", "evil-localhost", "xlocalhost", "127.0.0.1.nip.io",
    "127.0.0.1.evil.example:80", "10.0.0.7", "[2001:db8::1]:8000", "0.0.0.0:8000", "2130706433", "0x7f.0.0.1", "",
    "::1", "[localhost]", "[127.0.0.1", "localhost:80:80", "localhost:http", "user@localhost", "localhost/", "*",
    "localhost,evil.example", "localhost evil.example", "löcalhost", "[::1]evil.example", "[::1%25eth0]", ".localhost",
]  # fmt: skip


@pytest.mark.parametrize("bound", ["127.0.0.1", "::1", "localhost", "192.168.1.5", "gpubox"])
def test_loopback_is_trusted_and_what_only_looks_like_it_is_not(bound):
    trusted = host_check(bound)
    assert [host for host in LOOPBACK if not trusted(host)] == []
    assert [host for host in FOREIGN if trusted(host)] == [], "also where a name resolves to loopback"


@pytest.mark.parametrize(
    ("bound", "hosts"),
    [
        ("192.168.1.5", ["192.168.1.5", "192.168.1.5:8000"]),
        ("2001:db8::1", ["[2001:db8::1]:8000", "[2001:DB8:0::1]"]),
        ("gpubox", ["gpubox", "GPUBOX:8000", "gpubox."]),
        ("0.0.0.0", ["10.0.0.7", "192.168.1.5:8000", "[2001:db8::1]", "0.0.0.0:8000", socket.gethostname()]),
        ("::", ["10.0.0.7:1", "[2001:db8::1]:8000"]),
        ("", ["10.0.0.7"]),
    ],
)
def test_the_address_listened_on_is_trusted(bound, hosts):
    trusted = host_check(bound)
    assert [host for host in hosts if not trusted(host)] == []
    assert not trusted("evil.example") and not trusted("192.168.1.5.evil.example") and trusted("localhost")


def test_further_names():
    trusted = host_check("127.0.0.1", ["GPUbox:8000", "*.example.org", "10.0.0.7", "[2001:db8::1]"])
    for host in ("gpubox", "gpubox:9", "a.example.org:1", "a.b.example.org", "10.0.0.7:8", "[2001:db8:0::1]", "[::1]"):
        assert trusted(host), host
    for host in ("example.org", "badexample.org", "a.example.org.evil.example", "gpubox.evil.example", "10.0.0.70"):
        assert not trusted(host), host
    assert host_check("127.0.0.1", ["*"])("evil.example")
    for bad in ("http://gpubox", "gpubox/v1", "a b", "*.*", "", "a*"):
        with pytest.raises(ValueError, match="is not the name of a host"):
            host_check("127.0.0.1", [bad])
