"""What tests/kafka/start asks of the network.

probe.py ports BROKERS                   free ports: a line for each broker
probe.py await BROKERS SECONDS PORT:PID… until each of these processes answers on its port and knows of so many brokers;
                                         otherwise prints which of them does not, counted from 0, and exits with
                                         3: its process is gone, or 4: out of time
"""

import random
import socket
import struct
import sys
import time

PORTS_OF_A_BROKER = 4


def choose_ports(brokers):
    """Below the ports that the kernel hands to outgoing connections: a client that retries while the broker is down
    must not be given the broker's own port, or the broker could not come back on it.
    """
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            highest = int(file.read().split()[0])
    except OSError:
        highest = 32768
    held = []
    for port in random.sample(range(20000, max(highest, 20200)), 200):
        probe = socket.socket()
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        held.append((port, probe))
        if len(held) == brokers * PORTS_OF_A_BROKER:
            break
    else:
        sys.exit("too few free ports on 127.0.0.1")
    ports = [port for port, _ in held]
    for first in range(0, len(ports), PORTS_OF_A_BROKER):
        print(*ports[first : first + PORTS_OF_A_BROKER])


def known_brokers(port):
    """Asks for the cluster's metadata, as a client would: how many brokers are in it."""
    metadata, version, correlation, no_topics = 3, 1, 1, 0
    client = b"tests/kafka/start"
    body = struct.pack(">hhih", metadata, version, correlation, len(client)) + client + struct.pack(">i", no_topics)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as broker:
            broker.sendall(struct.pack(">i", len(body)) + body)
            answer = broker.makefile("rb").read(12)
    except OSError:
        return 0
    return struct.unpack(">iii", answer)[2] if len(answer) == 12 else 0


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def await_answers(brokers, seconds, processes):
    deadline = time.monotonic() + seconds
    processes = [tuple(map(int, process.split(":"))) for process in processes]
    while True:
        for index, (_, pid) in enumerate(processes):
            if not alive(pid):
                print(index)
                return 3
        # All in one round: for a while, a broker still knows of another that was killed.
        lacking = [index for index, (port, _) in enumerate(processes) if known_brokers(port) < brokers]
        if not lacking:
            return 0
        if time.monotonic() > deadline:
            print(lacking[0])
            return 4
        time.sleep(0.05)


if sys.argv[1] == "ports":
    choose_ports(int(sys.argv[2]))
else:
    sys.exit(await_answers(int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
