"""Write requirements.txt from the environment this runs in: every distribution, pinned, torch first."""

from importlib.metadata import distributions
from pathlib import Path

HEADER = """\
# Every package of the environment, pinned, transitive ones too. Made by `make pins` from a working environment.
# torch comes first, so that nothing else can ask for another one. On Linux x86-64 the wheel of the default index brings
# its own CUDA packages, which torch pins itself; they are not repeated here. For the CPU-only wheel see the README.
# triton is the version that this torch asks for: beside the CPU-only wheel its interpreter tests the kernels.
# pydata-sphinx-theme and sphinx-book-theme are a pair: a newer pydata theme draws a second header and search box.
"""
OURS = {"attnlib", "pip"}
ONLY = {"triton": ' ; platform_system == "Linux" and platform_machine == "x86_64"'}


def pins() -> list[str]:
    found = {d.metadata["Name"]: d.version.partition("+")[0] for d in distributions()}
    wanted = [n for n in found if n.lower() not in OURS and not n.lower().startswith("nvidia-")]
    wanted.sort(key=lambda name: (name != "torch", name.lower()))
    return [f"{name}=={found[name]}{ONLY.get(name, '')}" for name in wanted]


if __name__ == "__main__":
    Path("requirements.txt").write_text(HEADER + "\n".join(pins()) + "\n")
