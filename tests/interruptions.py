"""Raises an exception between two instructions, as a signal handler can: Airflow ends a task that took too long so."""

from __future__ import annotations

import sys
import threading
from types import CodeType, FrameType, ModuleType
from typing import Any


class Interrupted(BaseException):
    """Like the exception that ends a task in Airflow."""


class Interruption:
    """Interrupt this thread before the n-th instruction that it executes in some modules.

    :param number: n, from 1 on.
    :param modules: instructions of other modules are not counted.
    """

    def __init__(self, number: int, *modules: ModuleType) -> None:
        self._left = number
        self._files = {module.__file__ for module in modules}
        #: The function that was interrupted; None if it had fewer instructions.
        self.function: str | None = None

    def __enter__(self) -> Interruption:
        self._thread = threading.get_ident()
        self._watch()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._leave()
        return kind is Interrupted

    def _count(self, code: CodeType) -> None:
        if self.function is None and threading.get_ident() == self._thread:
            self._left -= 1
            if not self._left:
                self.function = code.co_qualname
                raise Interrupted

    if sys.version_info >= (3, 12):
        # Since 3.12 a trace function misses instructions of functions that were not traced before.
        _TOOL = 4

        def _watch(self) -> None:
            monitoring = sys.monitoring
            monitoring.use_tool_id(self._TOOL, "interruptions")
            monitoring.register_callback(self._TOOL, monitoring.events.INSTRUCTION, self._instruction)
            monitoring.set_events(self._TOOL, monitoring.events.INSTRUCTION)
            # Code that an earlier one was not interested in.
            monitoring.restart_events()

        def _leave(self) -> None:
            sys.monitoring.set_events(self._TOOL, 0)
            sys.monitoring.free_tool_id(self._TOOL)

        def _instruction(self, code: CodeType, offset: int) -> Any:
            if code.co_filename not in self._files:
                return sys.monitoring.DISABLE
            self._count(code)
            return None

    else:

        def _watch(self) -> None:
            self._before = sys.gettrace()
            sys.settrace(self._call)

        def _leave(self) -> None:
            sys.settrace(self._before)

        def _call(self, frame: FrameType, event: str, argument: object) -> Any:
            if frame.f_code.co_filename not in self._files:
                return None
            frame.f_trace_opcodes = True
            return self._trace

        def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
            if event == "opcode":
                self._count(frame.f_code)
            return self._trace
