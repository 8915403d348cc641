"""Run as ``python -I -S forward.py PID ADDRESS PORT FILE``: a way from this network into that of process PID.

Listens on a free port of 127.0.0.1, writes its number to FILE, and hands every connection to ADDRESS:PORT as seen from
there. The node has no other connection with the machine that it runs on.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_CHUNK = 65_536


def _main() -> None:
    pid, address, port, file = sys.argv[1:]
    # A socket stays in the network that it was made in; what is opened after setns(2) is in the other.
    listening = socket.create_server(("127.0.0.1", 0))
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(network, _CLONE_NEWNET) != 0:
        sys.exit(f"setns: {os.strerror(ctypes.get_errno())}")
    asyncio.run(_serve(listening, address, int(port), Path(file)))


async def _serve(listening: socket.socket, address: str, port: int, file: Path) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            there, back = await asyncio.open_connection(address, port)
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        writer.close()

    server = await asyncio.start_server(connected, sock=listening)
    partial = file.with_name(f".{file.name}")
    partial.write_text(str(listening.getsockname()[1]), encoding="ascii")
    partial.replace(file)
    await server.serve_forever()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()
    target.close()


if __name__ == "__main__":
    _main()
