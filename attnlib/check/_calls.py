"""What a call does besides: to its inputs, to the next call, when the weights are asked for; and with the values."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from ._property import asked
from ._subject import Broken, Subject, Unlooked, gap


@asked("mutation", "the inputs stay as they are")
def mutation(subject: Subject) -> None:
    for mask in (None, *(subject.masks() if subject.mask_name else ())):
        parts = dict(zip(("query", "key", "value"), subject.inputs(), strict=True))
        if subject.tied:
            parts["value"] = parts["key"]
        before = {name: part.clone() for name, part in parts.items()}
        options: dict[str, Tensor] = {}
        if mask is not None and subject.mask_name:
            options[subject.mask_name] = mask
            before["mask"] = mask.clone()
        subject.case = before
        subject.raw(*parts.values(), **options)
        for name, part in {**parts, **({} if mask is None else {"mask": mask})}.items():
            if not torch.equal(part, before[name]):
                raise Broken(f"{name} is changed by the call")


@asked("repeat", "the same call gives the same result, whatever was called before", "a state carried on")
def repeat(subject: Subject) -> None:
    torch.manual_seed(1)
    first = subject.parts(*subject.inputs())
    again = subject.parts(*subject.inputs())
    subject(*subject.inputs(1))
    later = subject.parts(*subject.inputs())
    for found, when in ((again, "the second time"), (later, "after another call")):
        if off := subject.agree(found, first):
            raise Broken(f"differs by {off:.3g} {when}")


@asked("linear", "the context is linear in the values")
def linear(subject: Subject) -> None:
    subject.needs_free_values()
    if subject.linear:
        raise Broken(subject.linear)


SWITCHES = {"need_weights", "return_weights", "return_attention", "return_attention_scores", "output_attentions"}


@asked("asking", "asking for the weights changes nothing else", "weights that drop the mask", "weights that bring NaN")
def asking(subject: Subject) -> None:
    """Compared where the function has a switch by one of the usual names."""
    switch = switch_of(subject)
    masks: list[Tensor | None] = [None]
    if subject.mask_name:
        empty = subject.ones()
        empty[:, 0] = False
        masks += [*subject.masks(), *([] if subject.padding_only else [empty])]
    given = subject.inputs(1, 3.0)
    switched: list[dict[str, Any]] = [{switch: False}, {switch: True}]
    for mask in masks:
        silent, told = (subject(*given, mask, **options).context for options in switched)
        off = gap(told.nan_to_num(nan=1e9), silent.nan_to_num(nan=1e9))
        if off > subject.slack(silent):
            said = "gives NaN" if told.isnan().any() and not silent.isnan().any() else f"differs by {off:.3g}"
            raise Broken(f"{switch}=True {said} {'without a mask' if mask is None else 'under a mask'}")


def switch_of(subject: Subject) -> str:
    """The argument by which weights are asked for."""
    function = subject.function
    try:
        found = SWITCHES & set(inspect.signature(getattr(function, "forward", function)).parameters)
    except (TypeError, ValueError):
        found = set()
    if isinstance(function, nn.Module):
        found |= SWITCHES & {getattr(function, "switch", None)}
    if not found:
        raise Unlooked("no argument asks for the weights")
    return min(found)
