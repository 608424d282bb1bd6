"""What a notebook's kernel finds in its environment, whoever starts it: `make notebooks` and the notebook check alike.

The same instruction set on every machine, so that the last digits agree; one thread, because notebooks run side by
side and small tensors gain nothing from two; no progress bars.
"""

KERNEL = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "TQDM_DISABLE": "1",
}

# Stand-ins for other machines (`make elsewhere`): they round differently, and a second thread adds in another order.
ELSEWHERE = "ATTNLIB_ELSEWHERE"
VARIANTS = {
    f"{capability}-{threads}": {
        "ATEN_CPU_CAPABILITY": capability,
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": onednn,
        "OMP_NUM_THREADS": str(threads),
    }
    for capability, onednn in (("default", "SSE41"), ("avx2", "AVX2"))
    for threads in (1, 2)
}


def kernel(variant: str | None = None) -> dict[str, str]:
    """The environment of a kernel, or that of another machine by its name in ``VARIANTS``."""
    return KERNEL | (VARIANTS[variant] if variant else {})
