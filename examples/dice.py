#!/usr/bin/env python3
"""A plugin in fifty lines: it rolls dice in the chat when somebody writes "!roll 2d6".

    ringfort join group.toml --user ana --program chat     # prints RINGFORT_SOCKET and RINGFORT_TOKEN
    RINGFORT_SOCKET=… RINGFORT_TOKEN=… python3 examples/dice.py
"""
import base64, json, os, random, re, socket, struct, urllib.parse

class Agent:
    """The agent's socket: a WebSocket with JSON lines. docs/agent.md tells the protocol."""

    def __init__(self, url, token):
        place = urllib.parse.urlparse(url)
        self.socket = socket.create_connection((place.hostname, place.port))
        self.file = self.socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Authorization: Bearer {token}\r\n\r\n").encode())
        if b" 101 " not in self.file.readline():
            raise SystemExit("the agent does not accept the token")
        while self.file.readline() != b"\r\n":
            pass
        self.write({"type": "hello", "version": 1})

    def write(self, line):
        data, mask = json.dumps(line).encode(), os.urandom(4)
        short = len(data) < 126  # and never above 64 KiB here
        size = bytes([0x81, 0x80 | len(data)]) if short else struct.pack("!BBH", 0x81, 0x80 | 126, len(data))
        self.socket.sendall(size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    def lines(self):
        while head := self.file.read(2):
            kind, size = head[0] & 15, head[1] & 127
            if size == 126: size, = struct.unpack("!H", self.file.read(2))
            elif size == 127: size, = struct.unpack("!Q", self.file.read(8))
            data = self.file.read(size)
            if kind == 1: yield json.loads(data)
            if kind == 8: return

agent = Agent(os.environ["RINGFORT_SOCKET"], os.environ["RINGFORT_TOKEN"])
head = None
for line in agent.lines():
    if line["type"] == "welcome":
        head, topic = line["head"], line["topic"]  # what has been said before is not answered
    elif line.get("kind") == "message" and line["n"] > head and line["topic"] == topic:
        asked = re.fullmatch(r"!roll (\d{1,2})d(\d{1,3})", line.get("text", ""))
        if asked and int(asked[2]) > 0:
            rolls = [random.randint(1, int(asked[2])) for _ in range(int(asked[1]))]
            agent.write({"type": "send", "id": line["n"], "topic": topic, "to": line["to"] and [line["from"]],
                         "text": f"{line['from']} rolls {rolls}: {sum(rolls)}"})
