"""What a subscriber outside of the machine receives, checked against the published schema."""

import json
import subprocess
import threading
import time
from pathlib import Path

from jsonschema import Draft202012Validator
from machine import Failed

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "config/event-v1.schema.json").read_text())
# Its name is no address that references could be fetched from.
del SCHEMA["$id"]
VALIDATOR = Draft202012Validator(SCHEMA)

# Seconds of the host.
PATIENCE = 1200


class Subscriber:
    """Keeps every event; the broker holds them while the connection is away."""

    def __init__(self, port: int):
        self.events, self.states = [], []
        self._news = threading.Condition()
        # fmt: off
        self._client = subprocess.Popen(
            ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-V", "mqttv5", "-i", "outside",
             "-c", "-x", "4294967295", "-q", "1", "-k", "600", "-t", "doorward/#", "-F", "%t %p"],
            stdout=subprocess.PIPE, text=True,
        )
        # fmt: on
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._client.stdout:
            topic, _, payload = line.rstrip("\n").partition(" ")
            with self._news:
                if topic.endswith(("/event", "/audit")):
                    self.events.append(json.loads(payload))
                else:
                    self.states.append((topic, payload))
                self._news.notify_all()

    def mark(self) -> int:
        """How many events have come so far."""
        with self._news:
            return len(self.events)

    def mark_state(self) -> int:
        """How many states and other words have come so far."""
        with self._news:
            return len(self.states)

    def wait(self, what: str, matches, since=0, patience=PATIENCE) -> dict:
        """The first event from `since` on that matches."""
        until = time.monotonic() + patience
        with self._news:
            while True:
                for event in self.events[since:]:
                    if matches(event):
                        valid(event)
                        return event
                left = until - time.monotonic()
                if left <= 0 or not self._news.wait(left):
                    seen = [(e["event_type"], e["reason"]) for e in self.events[since:]]
                    raise Failed(f"no {what} in {patience} s; came: {seen}")

    def wait_state(self, what: str, matches, since: int, patience=PATIENCE) -> dict:
        """Waits until the last retained state of those from `since` on matches."""
        until = time.monotonic() + patience
        with self._news:
            while True:
                told = [json.loads(payload) for topic, payload in self.states[since:] if topic.endswith("/state")]
                if told and matches(told[-1]):
                    return told[-1]
                left = until - time.monotonic()
                if left <= 0 or not self._news.wait(left):
                    raise Failed(f"no state with {what} in {patience} s; came: {self.states[since:][-3:]}")

    def kinds(self, since=0) -> list:
        with self._news:
            return [event["event_type"] for event in self.events[since:]]

    def close(self):
        self._client.kill()
        self._client.wait()


def valid(event: dict):
    errors = [error.message for error in VALIDATOR.iter_errors(event)]
    if errors:
        raise Failed(f"event {event.get('event_id')} breaks the schema: {errors}")
