"""State of torch that the caller may have changed: fixed while featx works, and given back."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from featx.core.process import GLOBAL_STATE, HeldSettings, mark_process, use_torch


class _Settings:
    """Settings of torch that have no attribute of their own."""

    @property
    def default_dtype(self) -> Any:
        """Dtype of new tensors."""
        import torch

        return torch.get_default_dtype()

    @default_dtype.setter
    def default_dtype(self, dtype: Any) -> None:
        import torch

        torch.set_default_dtype(dtype)

    @property
    def arithmetic(self) -> list[Any]:
        """Switches for float32 arithmetic, the two older ones first; None for one that is unknown.

        The older ones cannot be read if the newer ones were set to something else.
        """
        import torch

        values: list[Any] = []
        for read in (torch.get_float32_matmul_precision, lambda: torch.backends.cudnn.allow_tf32):
            try:
                values.append(read())
            except RuntimeError:
                values.append(None)
        return values + [getattr(part, name) for part, name in _list_switches()]

    @arithmetic.setter
    def arithmetic(self, values: list[Any]) -> None:
        import torch

        precision, allow_tf32, *rest = values
        if precision is not None:
            torch.set_float32_matmul_precision(precision)
        if allow_tf32 is not None:
            torch.backends.cudnn.allow_tf32 = allow_tf32
        for (part, name), value in zip(_list_switches(), rest, strict=True):
            setattr(part, name, value)


def _list_switches() -> list[tuple[Any, str]]:
    """List the newer switches for float32 arithmetic as pairs of object and attribute."""
    import torch

    backends: Any = torch.backends
    cuda, cudnn, mkldnn = backends.cuda, backends.cudnn, backends.mkldnn
    parts = (cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv)
    return [(cudnn, "benchmark"), *((part, "fp32_precision") for part in parts)]


def _list_default_dtype() -> Iterable[tuple[Any, str, Any]]:
    import torch

    return [(_Settings(), "default_dtype", torch.float32)]


DEFAULT_FLOAT32 = HeldSettings(_list_default_dtype)
"""Keeps torch's default dtype float32."""

FULL_FLOAT32 = HeldSettings(
    lambda: [(_Settings(), "arithmetic", ["highest", False, False, *["ieee"] * 5])]
)
"""Keeps TF32 and bfloat16 out of torch's float32 arithmetic: cuDNN would round to TF32 by default.
Keeps cuDNN from choosing its kernels by a race, which changes the last bits."""


@contextmanager
def plain_torch_thread() -> Iterator[None]:
    """Undo, for the block, what the caller has switched on in this thread of torch.

    That is inference mode, no-grad mode, autocast, another default device, and the flushing of
    denormal numbers.
    """
    import torch

    with ExitStack() as stack:
        stack.enter_context(keep_denormals())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.device("cpu"))
        for device in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


@functools.cache
def _build_float32_mode() -> Any:
    import torch
    from torch.overrides import TorchFunctionMode

    shaped = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.eye)
    steps = (torch.linspace, torch.logspace)
    by_value = (torch.tensor, torch.as_tensor, torch.full, torch.arange, torch.scalar_tensor)

    class Float32Mode(TorchFunctionMode):
        """Functions that build tensors in the default dtype build them as float32."""

        def __torch_function__(
            self, function: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if kwargs.get("dtype") is None and kwargs.get("out") is None:
                is_float = function in shaped or function in steps
                if function in by_value and not hasattr(args[0] if args else None, "dtype"):
                    is_float = function(*args, **kwargs).is_floating_point()
                if is_float:
                    kwargs = {**kwargs, "dtype": torch.float32}
            return function(*args, **kwargs)

    return Float32Mode


@contextmanager
def keep_denormals() -> Iterator[None]:
    """Keep the smallest numbers in the block, in this thread and in those that it starts.

    The caller may have asked torch to round them to 0. No other library offers that, and without it
    torch is not imported.
    """
    if float("5e-324") * float("1"):
        yield
        return
    import torch

    torch.set_flush_denormal(False)
    try:
        yield
    finally:
        torch.set_flush_denormal(True)


@contextmanager
def plain_torch() -> Iterator[None]:
    """Build, load, trace or digest a network in the block, whatever the caller has set.

    The default dtype is float32, also for tensors that this thread builds while another thread
    changes the default, and the thread is plain, see `plain_torch_thread`. Afterwards the
    random numbers of torch on the CPU, numpy and Python go on as if the block had not been there.
    No other thread is in such a block.

    Raises
    ------
    DeviceError
        If this process was forked after featx had run a network.
    RuntimeError
        If the thread is a daemon's, and Python ends.
    """
    import random

    import numpy as np
    import torch

    mark_process()
    with (
        use_torch(),
        GLOBAL_STATE,
        plain_torch_thread(),
        DEFAULT_FLOAT32,
        _build_float32_mode()(),
        torch.random.fork_rng(devices=[]),
    ):
        numbers, words = np.random.get_state(), random.getstate()  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(numbers)  # noqa: NPY002
            random.setstate(words)
