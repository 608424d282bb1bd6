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
