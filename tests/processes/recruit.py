"""A program: a worker that knows no mail, and behaves as the text of its configuration says.

The text is of words.  `ready`, `beat` and `fail:COMPLAINT` tell the supervisor that; `exit:STATUS`
and `crash` end it.  `wait` waits until it is told to end, `talk` gives signs of life meanwhile, and
`deaf` never ends by itself.  `leave` has a child behind that keeps what it has inherited;
`once:WORD` does WORD the first time alone.
"""

import json
import os
import select
import signal
import socket
import sys
import time

#: Seconds after which it ends, whatever becomes of who has started it.
LONGEST = 60

orders = json.loads(os.environ["GATEPOST_WORKER"])
with open(orders["text"]) as file:
    file.seek(0)
    words = file.read().split()
channel = socket.socket(fileno=orders["channel"])
lines = channel.makefile("r")


def tell(say: str, **more: object) -> None:
    channel.sendall(json.dumps({"say": say, **more}).encode() + b"\n")


def beat() -> None:
    tell("beat", sessions=1, taken=2, figures={})


def wait() -> None:
    """Go on when told to end; `retire` is as good as `stop`, for there are no clients."""
    lines.readline()


def talk() -> None:
    while not select.select((channel,), (), (), 0.02)[0]:
        beat()


def deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)


def leave() -> None:
    if not os.fork():
        time.sleep(10)
        os._exit(0)


def once(word: str) -> None:
    try:
        os.close(os.open("once", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    act(word)


def act(word: str) -> None:
    name, _, argument = word.partition(":")
    match name:
        case "ready" | "beat":
            tell("ready") if name == "ready" else beat()
        case "fail":
            tell("failed", complaints=[argument])
            sys.exit(1)
        case "exit":
            sys.exit(int(argument))
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "once":
            once(argument)
        case _:
            {"wait": wait, "talk": talk, "deaf": deaf, "leave": leave}[name]()


signal.alarm(LONGEST)
for word in words:
    act(word)
