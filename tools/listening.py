"""What a server says while it works, message by message."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

import aiohttp

from tools.console import Trouble

Message = tuple[str, Any]  # its kind, and its data
PREVIEW = "preview"  # the name given here to binary messages that are the bytes of a picture


@contextlib.contextmanager
def listen(address: str, patience: float | None = None) -> Iterator[Iterator[Message]]:
    """The messages of a web socket from now on, up to its end; a server that says nothing for so many seconds is an error."""
    with _loop() as loop:
        try:
            session, socket = _result(loop, _connect(address))
        except aiohttp.ClientError as error:
            raise Trouble(f"ComfyUI refused the connection that reports progress: {error}") from None
        try:
            yield filter(None, map(decoded, _messages(loop, socket, patience)))
        finally:
            _result(loop, session.close())


@contextlib.contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own, as this one may have another: Playwright's."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _result(loop: asyncio.AbstractEventLoop, work: Coroutine) -> Any:
    """What comes out of some work in the loop; nobody waits for it after an interrupt."""
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


async def _connect(address: str) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    session = aiohttp.ClientSession()
    try:
        return session, await session.ws_connect(address, max_msg_size=0)
    except BaseException:
        await session.close()
        raise


def _messages(loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse, patience: float | None) -> Iterator:
    ours = (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)  # the others are about the connection's end
    while (message := _result(loop, socket.receive(patience))).type in ours:
        yield message


def decoded(message: aiohttp.WSMessage) -> Message | None:
    """A message as ComfyUI means it; None if it is of a kind that nobody here knows."""
    if message.type == aiohttp.WSMsgType.TEXT:
        said = json.loads(message.data)
        return said["type"], said.get("data") or {}
    return (PREVIEW, message.data[8:]) if int.from_bytes(message.data[:4], "big") == 1 else None
