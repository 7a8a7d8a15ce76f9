"""The socket that a job's processes report to: many of them, and more than there may be."""

from __future__ import annotations

import json
import os
import selectors
import socket
from collections.abc import Iterator

import pytest

from parallel_ml.runtime.shim import link

NAME = f"parallel-ml-test-{os.getpid()}"


@pytest.fixture
def selector(monkeypatch: pytest.MonkeyPatch) -> Iterator[selectors.BaseSelector]:
    """Return what a link of at most four peers is registered with."""
    monkeypatch.setattr(link, "MAX_PEERS", 4)
    with selectors.DefaultSelector() as made:
        link.Link(NAME, made, lambda message: {"ok": True, "heard": message["n"]})
        yield made
        for key in list(made.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()


def serve(selector: selectors.BaseSelector) -> None:
    """Do what is to be done now; fail where that has no end."""
    for _ in range(50):
        ready = selector.select(0)
        for key, _ in ready:
            key.data()
        if not ready:
            return
    pytest.fail("the link keeps the loop turning")


def connect() -> socket.socket:
    """Return a peer."""
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(5)
    peer.connect(f"\0{NAME}")
    return peer


def ask(selector: selectors.BaseSelector, peer: socket.socket, number: int) -> object:
    """Return the answer to a message; None from a link that has hung up."""
    try:
        peer.sendall(json.dumps({"n": number}).encode() + b"\n")
        serve(selector)
        answer = peer.recv(4096)
    except OSError:
        return None
    return json.loads(answer)["heard"] if answer else None


def test_too_many_peers_are_hung_up_on_and_the_others_are_answered(selector: selectors.BaseSelector) -> None:
    """A program that opens one after the other must not take away the shim's last open file."""
    peers = [connect() for _ in range(7)]
    serve(selector)
    assert [ask(selector, peer, number) for number, peer in enumerate(peers)] == [0, 1, 2, 3, None, None, None]
    for peer in peers:
        peer.close()
    serve(selector)
    late = connect()
    serve(selector)
    assert ask(selector, late, 9) == 9
    late.close()
    serve(selector)
