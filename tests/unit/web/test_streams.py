"""The news over real sockets: to many clients from one follower, resumed by id, and never held up by a slow one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.client import connect

from parallel_ml.adapters.web import event_response, streams
from parallel_ml.adapters.web.followers import Follower, Followers
from parallel_ml.adapters.web.parts import MOST_SLOW
from parallel_ml.adapters.web.routes import events
from parallel_ml.adapters.web.streams import Dropped, Stream
from parallel_ml.runtime.client import RunClient
from parallel_ml.runtime.run_tail import BEGINNING, News
from tests.process.conftest import until
from tests.unit.web.serving import RUN, TOKEN, Script, Served

if TYPE_CHECKING:
    import httpx

MakeScript = Callable[..., Script]
MakeServer = Callable[..., Served]


def messages(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    """Yield the messages of an event stream."""
    assert answer.status_code == 200
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def listen(served: Served, path: str, last_id: str | None = None) -> Any:
    """Open an event stream."""
    return served.client.stream("GET", path, headers={"Last-Event-ID": last_id} if last_id else {})


def epochs(told: Iterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return the next epochs that are told."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        message = next(told)
        found += [message] if message["type"] == "epoch_progress" else []
    return found


def test_an_epoch_is_told_as_the_contract_has_it(served: Served, script: MakeScript) -> None:
    """`type`, `task_id`, `epoch`, `metrics`, `timestamp`."""
    run = script()
    run.begin("one")
    with listen(served, f"/api/v1/runs/{RUN}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = messages(answer)
        assert next(told)["type"] == "hello"
        run.epoch("one", 1)
        [message] = epochs(told, 1)
    assert (message["task_id"], message["epoch"], message["metrics"]) == (f"{RUN}~one", 1, {"val_loss": 1.0})
    assert message["timestamp"].endswith("+00:00")


def test_all_who_listen_share_one_follower(served: Served, script: MakeScript) -> None:
    """Twenty streams, one reader of the files; each is told the same."""
    run = script()
    run.begin("one")
    path = f"/api/v1/runs/{RUN}/events"
    open_ones = [listen(served, path) for _ in range(20)]
    told = [messages(one.__enter__()) for one in open_ones]
    assert {next(one)["type"] for one in told} == {"hello"}
    run.epoch("one", 1, 2)
    assert [[message["epoch"] for message in epochs(one, 2)] for one in told] == [[1, 2]] * 20
    assert list(served.parts.followers._followers) == [RUN]
    assert served.parts.streams == 20
    for one in open_ones:
        one.__exit__(None, None, None)


def test_whoever_comes_back_is_told_what_was_missed_by_a_new_server(serve: MakeServer, script: MakeScript) -> None:
    """The id is a place in the run's files: it holds when the server that gave it is gone."""
    run = script()
    run.begin("one")
    with listen(serve(), f"/api/v1/runs/{RUN}/events") as answer:
        told = messages(answer)
        next(told)
        run.epoch("one", 1, 2, 3)
        last = epochs(told, 2)[-1]["id"]
    run.epoch("one", 4)
    run.begin("two")
    run.epoch("two", 1)
    run.finish("one")
    with listen(serve(), f"/api/v1/runs/{RUN}/events", last) as answer:
        told = messages(answer)
        found = epochs(told, 3)
    assert [(message["job"], message["epoch"]) for message in found] == [("one", 3), ("one", 4), ("two", 1)]


def test_a_websocket_tells_the_same(served: Served, script: MakeScript) -> None:
    """Message for message, and from the same ids on."""
    run = script()
    run.begin("one")
    url = f"ws://127.0.0.1:{served.port}/ws?run={RUN}"
    token = {"Authorization": f"Bearer {TOKEN}"}
    with listen(served, f"/api/v1/runs/{RUN}/events") as answer, connect(url, additional_headers=token) as connection:
        told = messages(answer)
        hello = json.loads(connection.recv(20))
        assert {**next(told), "timestamp": hello["timestamp"]} == hello
        run.epoch("one", 1)
        run.finish("one")
        here = [next(told) for _ in range(3)]
        assert [json.loads(connection.recv(20)) for _ in range(3)] == here
    with connect(f"{url}&last_event_id={here[0]['id']}", additional_headers=token) as connection:
        assert [json.loads(connection.recv(20)) for _ in range(2)] == here[1:]


def test_all_runs_are_told_of_those_that_begin_included(
    served: Served, script: MakeScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stream for everything; a run that begins later is told from its beginning."""
    monkeypatch.setattr("parallel_ml.adapters.web.run_watch.LOOK_S", 0.02)
    first = script("one")
    first.begin("one")
    with listen(served, "/api/v1/events") as answer:
        told = messages(answer)
        assert next(told)["runs"] == [RUN]
        second = script("one", run="20260101-120001-0002")
        second.begin("one")
        second.epoch("one", 1)
        [message] = epochs(told, 1)
        first.epoch("one", 1)
        [other] = epochs(told, 1)
    assert (message["run"], other["run"]) == ("20260101-120001-0002", RUN)
    assert {part.partition(":")[0] for part in other["id"].split(",")} == {RUN, "20260101-120001-0002"}


@pytest.mark.parametrize("last_id", ["x", "x:y", f"{RUN}:99999.0", f"{RUN}:0.0-9.9", ",", f"{RUN}:0.0" * 2000])
def test_an_id_of_somewhere_else_is_refused(served: Served, script: MakeScript, last_id: str) -> None:
    """As a problem, before the stream begins."""
    script()
    answer = served.client.get(f"/api/v1/runs/{RUN}/events", headers={"Last-Event-ID": last_id})
    assert answer.status_code in {409, 422}
    assert answer.headers["content-type"] == "application/problem+json"


def test_there_is_no_stream_of_a_run_that_is_not_there(served: Served) -> None:
    """A problem like every other."""
    assert served.client.get(f"/api/v1/runs/{RUN}/events").status_code == 404


def test_too_many_streams_are_refused(served: Served, script: MakeScript) -> None:
    """Each of them costs memory."""
    script()
    served.parts.streams = 256
    assert served.client.get(f"/api/v1/runs/{RUN}/events").status_code == 503
    served.parts.streams = 0


def test_a_slow_client_is_let_go(script: MakeScript, monkeypatch: pytest.MonkeyPatch, served: Served) -> None:
    """Its messages are bounded; nobody else waits for it, and it is told to come back."""
    monkeypatch.setattr(streams, "MOST_WAITING", 5)
    script()

    async def slow() -> int:
        followers = Followers(served.parts.runs)
        stream = Stream(followers, None, RUN)
        told = stream.messages()
        assert await anext(told) is not None
        for number in range(50):
            stream.offer(RUN, News(f"{number}.0", {"type": "job_state", "job": "one"}))
        with pytest.raises(Dropped):
            await anext(told)
        await followers.close()
        return stream._queue.qsize()

    assert asyncio.run(slow()) == 5


def test_a_client_that_leaves_is_forgotten(served: Served, script: MakeScript) -> None:
    """Its place among the streams is free again, and its follower has one listener less."""
    run = script()
    with listen(served, f"/api/v1/runs/{RUN}/events") as answer:
        told = messages(answer)
        next(told)
        assert served.parts.streams == 1
    with listen(served, f"/api/v1/runs/{RUN}/events") as answer:
        told = messages(answer)
        next(told)
        run.begin("one")
        next(told)
        follower = served.parts.followers._followers[RUN].result()
        assert len(follower._listeners) == served.parts.streams == 1


def test_a_client_that_does_not_read_is_cut_off(
    served: Served, script: MakeScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be sent to it is not kept: its stream ends, while another goes on."""
    monkeypatch.setattr(event_response, "SEND_S", 0.2)
    run = script("one")
    run.begin("one")
    head = f"GET /api/v1/runs/{RUN}/events HTTP/1.1", f"Host: 127.0.0.1:{served.port}", f"Authorization: Bearer {TOKEN}"
    with socket.socket() as deaf, listen(served, f"/api/v1/runs/{RUN}/events") as answer:
        told = messages(answer)
        next(told)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", served.port))
        deaf.sendall("".join(f"{line}\r\n" for line in (*head, "")).encode())
        run.epoch("one", *range(1, 1500), text="x" * 8000)
        epochs(told, 1499)
        until(lambda: served.parts.streams == 1, "the end of the deaf one's stream")
        run.epoch("one", 1500)
        assert epochs(told, 1)[0]["epoch"] == 1500


def test_streams_that_begin_at_once_keep_to_their_bound(
    served: Served, script: MakeScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes its place before it waits for anything, and gives it back."""
    script()
    monkeypatch.setattr(events, "MOST_STREAMS", 3)
    head = f"GET /api/v1/runs/{RUN}/events HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nAuthorization: Bearer {TOKEN}"
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(socket.create_connection(("127.0.0.1", served.port), 20)) for _ in range(12)]
        for one in many:
            one.sendall(f"{head}\r\n\r\n".encode())
        statuses = [one.recv(12, socket.MSG_WAITALL)[9:] for one in many]
    assert sorted(statuses) == [b"200"] * 3 + [b"503"] * 9
    until(lambda: served.parts.streams == 0, "the streams' end")
    assert served.client.get("/api/v1/runs/20990101-120000-3fa9/events").status_code == 404
    assert served.parts.streams == 0


def test_too_many_slow_requests_are_refused(served: Served, script: MakeScript) -> None:
    """Starting takes a thread for a while; those of the others must not run out."""
    script()
    (served.settings.root / "a.yaml").write_text("command: [x]\n", encoding="utf-8")
    taken = [served.parts.slow_ones.acquire(blocking=False) for _ in range(MOST_SLOW)]
    assert all(taken)
    answer = served.client.post("/api/v1/runs", json={"configs": ["a.yaml"]})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert served.client.get(f"/api/v1/runs/{RUN}").status_code == 200


def test_whoever_catches_up_is_not_told_what_all_will_be(script: MakeScript) -> None:
    """Else it would be told it twice: once by its own reading, once with the others."""
    run = script("one")
    run.begin("one")
    run.epoch("one", 1)
    client = RunClient(run.layout.dir)

    async def caught_up() -> list[object]:
        with ThreadPoolExecutor(1) as threads:
            follower = Follower(RUN, client.follow(), threads)
            run.epoch("one", 2)
            return [news.data.get("epoch") for news in await follower.read(follower.tail.fork(BEGINNING))]

    assert asyncio.run(caught_up())[-1] == 1
