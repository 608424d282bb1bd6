"""Compile each kernel in Triton for a GPU of the Hopper generation; print the names of those that come out.

``test_triton.py`` runs this file in a process without the interpreter. No GPU is needed.
"""

from attnlib.fused import _triton_additive as triton_additive
from attnlib.fused import _triton_kernels as triton_kernels

POINTERS = {"safe": "*u8", "mask": "*u8", "query_fault": "*u8", "key_fault": "*u8", "value": "*bf16"}
TILE = {"Q": triton_additive.QUERIES, "K": triton_additive.KEYS}
SIDES = {"R": triton_additive.SIDE, "F": triton_additive.SIDE}
CONSTANTS = {
    "forward": {"MASKED": True, "FAULTY": True, "CAUSAL": True, "V": 128, **TILE},
    "probabilities": {"MASKED": True, "CAUSAL": True, **TILE},
    "accumulate": {"PARTIAL": True, "CAUSAL": 1, **SIDES},
}


def compiled(name, constants):
    """The kernel for numbers in float32, and values in half precision."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function = getattr(triton_kernels, name)
    signature = {}
    for argument in function.arg_names:
        is_count = argument.startswith(("n_", "all_", "first", "stride_"))
        signature[argument] = "i32" if is_count else POINTERS.get(argument, "*fp32")
    signature |= dict.fromkeys(constants, "constexpr")
    places = {(function.arg_names.index(argument),): value for argument, value in constants.items()}
    return triton.compile(ASTSource(function, signature, constexprs=places), target=GPUTarget("cuda", 90, 32))


if __name__ == "__main__":
    for name, constants in CONSTANTS.items():
        found = compiled(name, constants).asm
        assert found["cubin"]
        assert "rcp.approx.ftz.f32" in found["ptx"]
        print(name)
