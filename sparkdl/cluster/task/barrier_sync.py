"""The meeting of tasks that share the driver's host: each brings an offer and leaves with those of all.

Elsewhere the tasks meet by Spark's `allGather`, whose callers sleep a second between two looks at the answer: all but
the last one to come are late by up to that second, which on one host is a third of a fit's start.
"""

from __future__ import annotations

import select
import threading

from sparkdl.cluster.messages import Meet, Met
from sparkdl.cluster.rpc import Channel, connect


class Meeting:
    """The driver's side.

    Parameters
    ----------
    size : int
        Number of tasks.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._change = threading.Condition()
        self._offers: dict[int, dict[int, str]] = {}
        self._closed = False

    def serve(self, channel: Channel, said: Meet) -> None:
        """Take the text of one task to one of their meetings and answer when all have come."""
        with self._change:
            # Who comes to this one has seen all come to the one before, so that nobody waits for those before that.
            self._offers.pop(said.number - 2, None)
            brought = self._offers.setdefault(said.number, {})
            brought[said.task] = said.text
            self._change.notify_all()
            self._change.wait_for(lambda: self._closed or len(brought) == self._size)
            if self._closed:
                return
            texts = [brought[each] for each in range(self._size)]
        channel.try_send(Met(texts))

    def close(self) -> None:
        """Let go of everybody who still waits."""
        with self._change:
            self._closed = True
            self._change.notify_all()


def meet(driver: tuple[str, int], secret: str, index: int, offer: str, timeout: float, number: int = 0) -> list[str]:
    """Bring an offer to the meeting of that number and return those of all tasks, in their order.

    Raises
    ------
    TimeoutError
        If not all have come in `timeout` seconds.
    ConnectionError
        If the driver has ended the job meanwhile.
    """
    channel = connect(driver, secret, timeout)
    try:
        channel.send(Meet(index, offer, number))
        if not select.select([channel.fileno()], [], [], timeout)[0]:
            raise TimeoutError(f"the tasks of the barrier stage did not meet within {timeout:g} s")
        received = channel.recv()
    finally:
        channel.close()
    if not isinstance(received, Met):
        raise ConnectionError("the driver has ended the job while its tasks met")
    return [str(each) for each in received.texts]
