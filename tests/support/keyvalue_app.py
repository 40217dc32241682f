"""A TCP app with a line protocol, as Redis has one, for a process of its own: state, pipelining, bulk, its own end.

`SET key value` -> `+OK`, `GET key` -> the value or `-`, `BULK n` -> n bytes, `QUIT` -> `+BYE` and the end, `ABORT` -> a
reset.
"""

import argparse
import asyncio
import socket
import struct

RESET = struct.pack("ii", 1, 0)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    store: dict[str, str] = {}
    writer.write(b"+READY\n")
    while line := (await reader.readline()).decode().split():
        match line:
            case ["SET", key, value]:
                store[key] = value
                writer.write(b"+OK\n")
            case ["GET", key]:
                writer.write(f"{store.get(key, '-')}\n".encode())
            case ["BULK", count]:
                writer.write(bytes(range(256)) * (int(count) // 256))
            case ["ABORT"]:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                writer.transport.abort()
                return
            case _:
                writer.write(b"+BYE\n")
                break
        await writer.drain()
    writer.close()


async def main() -> None:
    """Until the process is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    place = parser.parse_args()
    server = await asyncio.start_server(serve, place.host, place.port)
    print("listening on", server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
