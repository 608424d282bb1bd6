"""The loop: it learns, it is the same again, it survives being killed; bad input."""

import errno
import functools
import io
import itertools
import json
import math
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import train_small
from torch import nn
from torch.testing import assert_close

import attnlib
from attnlib import training
from attnlib.training import Batched, Record, _checkpoint, _progress, _run, batches, batching, fit, seed_everything

ROOT = Path(__file__).parents[2]
TIMES = ("seconds", "tokens_per_second")


def timeless(record):
    return {name: value for name, value in vars(record).items() if name not in TIMES}


def assert_same_run(one, other):
    """Parameters and record, to the last bit."""
    for part, again in zip(one[0].state_dict().values(), other[0].state_dict().values(), strict=True):
        assert torch.equal(part, again)
    assert timeless(one[1]) == timeless(other[1])


def line(seed=0):
    seed_everything(seed)
    return nn.Linear(1, 1)


POINTS = [(x / 8, x / 4 + 1) for x in range(11)]


def squares(model, batch):
    return (model(batch[:, :1]) - batch[:, 1:]).square().sum(), len(batch)


def fit_line(model=None, loss=squares, items=POINTS, batch_size=3, collate=torch.tensor, length=None, **options):
    data = Batched(items, batch_size, collate, length)
    return fit(line() if model is None else model, loss, data, **{"epochs": 2, **options})


@functools.cache
def uninterrupted():
    return train_small.run(None)


class Interrupted(Exception):
    pass


def interrupted_after(steps, loss=train_small.loss):
    """A loss that lives in the same file as the one it stands for, and stops the run."""
    left = [steps]

    @functools.wraps(loss)
    def run(model, batch):
        if torch.is_grad_enabled():
            left[0] -= 1
            if left[0] < 0:
                raise Interrupted
        return loss(model, batch)

    return run


def run_interrupted(folder, steps, **options):
    """``train_small.run``, which gives up after so many steps."""
    training.seed_everything(options.get("seed", 0))
    settings = {"epochs": train_small.EPOCHS, "folder": folder, "evaluate": train_small.evaluate}
    settings |= {"schedule": train_small.falling, **options}
    with pytest.raises(Interrupted):
        fit(train_small.Small(), interrupted_after(steps), train_small.data(), **settings)


# --- it learns --------------------------------------------------------------------------------------------------------


def test_it_learns_a_line():
    model = line()
    record = fit_line(model, epochs=90, optimizer=lambda p: torch.optim.SGD(p, lr=0.3))
    assert_close(model.weight.detach(), torch.tensor([[2.0]]), atol=0.01, rtol=0)
    assert_close(model.bias.detach(), torch.tensor([1.0]), atol=0.01, rtol=0)
    assert record.losses[-1] < 1e-4 < record.losses[0]
    assert not model.training


def test_it_learns_the_successor_of_a_word():
    _, record = train_small.run(
        None, plain=True, epochs=10, optimizer=functools.partial(torch.optim.Adam, lr=0.05), evaluate=None
    )
    assert record.losses[0] > 1.5 > 0.2 > record.losses[-1]


def test_a_step_is_the_optimizer_s_on_the_mean_over_tokens():
    """One batch, plain gradient descent, by hand."""
    model = line()
    weight, bias = model.weight.item(), model.bias.item()
    fit_line(model, epochs=1, batch_size=11, clip=None, optimizer=lambda p: torch.optim.SGD(p, lr=0.5))
    slope_w = sum(2 * (weight * x + bias - y) * x for x, y in POINTS) / len(POINTS)
    slope_b = sum(2 * (weight * x + bias - y) for x, y in POINTS) / len(POINTS)
    assert model.weight.item() == pytest.approx(weight - 0.5 * slope_w, abs=1e-6)
    assert model.bias.item() == pytest.approx(bias - 0.5 * slope_b, abs=1e-6)


@pytest.mark.parametrize("clip", [None, 1e6, 0.25])
def test_the_gradient_is_clipped_by_its_norm(clip):
    moves = []
    for limit in (None, clip):
        model = line()
        before = torch.cat([part.detach().flatten().clone() for part in model.parameters()])
        fit_line(model, epochs=1, batch_size=11, clip=limit, optimizer=lambda p: torch.optim.SGD(p, lr=1.0))
        moves.append(torch.cat([part.detach().flatten() for part in model.parameters()]) - before)
    free, limited = moves
    assert free.norm() > 0.3
    wanted = free * (min(1.0, clip / float(free.norm())) if clip else 1.0)
    assert_close(limited, wanted, rtol=1e-4, atol=1e-6)


def test_loss_of_an_epoch_is_per_token():
    model = line()
    for part in model.parameters():
        part.requires_grad_(False).zero_()
    model.bias.requires_grad_(True)
    record = fit_line(model, epochs=1, optimizer=lambda p: torch.optim.SGD(p, lr=0.0))
    assert record.losses == pytest.approx([sum(y**2 for _, y in POINTS) / len(POINTS)])
    assert record.n_parameters == 1


def test_it_trains_on_each_device(device):
    model = line().to(device)
    fit_line(model, epochs=3)
    assert next(model.parameters()).device.type == device.type


def test_batches_may_be_nested():
    seen = []

    def loss(model, batch):
        seen.append(batch)
        return squares(model, batch["points"][0])

    fit_line(loss=loss, epochs=1, collate=lambda rows: {"points": (torch.tensor(rows), [len(rows)]), "name": "x"})
    assert seen[0]["name"] == "x"
    assert isinstance(seen[0]["points"], tuple)


# --- the same again ---------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run_and_another_another():
    one = train_small.run(None, epochs=2)
    torch.rand(7), random.random()  # what happened before is of no account
    assert_same_run(one, train_small.run(None, epochs=2))
    other = train_small.run(None, epochs=2, seed=1)
    assert one[1].losses != other[1].losses


def test_evaluating_disturbs_nothing():
    one, other = train_small.run(None, epochs=2), train_small.run(None, epochs=2, evaluate=None)
    assert one[1].losses == other[1].losses
    assert other[1].metrics == []


def test_dropout_differs_from_step_to_step():
    """A seed that does not move with the step would drop the same units for ever."""
    masks = []

    def loss(model, batch):
        masks.append(tuple(nn.functional.dropout(torch.ones(64)).tolist()))
        return squares(model, batch)

    fit_line(loss=loss, epochs=2)
    assert len(set(masks)) == len(masks) == 8


# --- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_items", "batch_size"), [(1, 1), (7, 3), (8, 4), (3, 8), (1000, 7), (163, 2)])
def test_each_item_stands_in_one_batch_of_an_epoch(n_items, batch_size):
    generator = random.Random(0)
    lengths = [generator.randrange(1, 30) for _ in range(n_items)]
    for epoch in range(3):
        cut = batches(lengths, batch_size, epoch=epoch)
        assert sorted(itertools.chain(*cut)) == list(range(n_items))
        assert sorted(map(len, cut))[1:] == [batch_size] * (len(cut) - 1)


def test_lengths_in_a_batch_are_alike_and_batches_in_no_order():
    generator = random.Random(0)
    lengths = [(generator.randrange(1, 50), generator.randrange(1, 50)) for _ in range(1600)]
    cut = batches(lengths, 80)
    spans = [max(lengths[i][0] for i in batch) - min(lengths[i][0] for i in batch) for batch in cut]
    assert max(spans) <= 6  # 49 at random
    first = [lengths[batch[0]][0] for batch in cut]
    assert first != sorted(first)


def test_the_order_depends_on_seed_and_epoch_alone():
    lengths = [1] * 100
    orders = {(seed, epoch): batches(lengths, 3, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1)}
    assert len({str(order) for order in orders.values()}) == 4
    for (seed, epoch), order in orders.items():
        assert batches(lengths, 3, seed=seed, epoch=epoch) == order


def test_every_item_is_trained_on_once_an_epoch():
    seen = []

    def collate(rows):
        seen.extend(rows)
        return torch.tensor(rows)

    fit_line(epochs=1, collate=collate, length=lambda row: int(row[0]))
    assert sorted(seen) == sorted(POINTS)


# --- killed and resumed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [5, 13, 20, 26])
def test_interrupted_and_resumed_is_uninterrupted(tmp_path, monkeypatch, steps):
    """In the middle of an epoch, at its end, and twice."""
    monkeypatch.setattr(_run, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    whole = uninterrupted()
    run_interrupted(tmp_path, steps)
    if steps == 5:
        run_interrupted(tmp_path, 3)
    assert_same_run(train_small.run(tmp_path), whole)


def test_without_checkpoints_within_an_epoch_it_starts_the_epoch_again(tmp_path):
    whole = uninterrupted()
    run_interrupted(tmp_path, 20)
    assert_same_run(train_small.run(tmp_path), whole)


def test_a_finished_run_is_only_read(tmp_path):
    whole = train_small.run(tmp_path)
    again = train_small.run(tmp_path)
    assert_same_run(whole, again)
    assert again[1] == whole[1] == Record.load(tmp_path / "record.json")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(torch.equal(state[name], part) for name, part in whole[0].state_dict().items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "model.pt", "record.json"]


def test_more_epochs_go_on_and_fewer_are_refused(tmp_path):
    train_small.run(tmp_path, epochs=1)
    assert_same_run(train_small.run(tmp_path), uninterrupted())
    with pytest.raises(ValueError, match=r"epochs is 2 but .*checkpoint.pt has already gone 3"):
        train_small.run(tmp_path, epochs=2)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"batched": {"batch_size": 7}}, "batch_size was 8, is 7"),
        ({"seed": 5}, "seed was 0, is 5"),
        ({"clip": None}, "clip was 1.0, is None"),
        ({"patience": 3}, "patience was None, is 3"),
        ({"batched": {"length": None}}, "lengths was"),
        ({"schedule": None}, "schedule was 'Cosine"),
        ({"optimizer": functools.partial(torch.optim.Adam, lr=0.1)}, "optimizer was 'Adam"),
        ({"configuration": {"dropout": 0.2}}, "configuration dropout was None, is 0.2"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused(tmp_path, options, named):
    train_small.run(tmp_path, epochs=1)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(RuntimeError, match=f"belongs to another run: .*{named}"):
        train_small.run(tmp_path, epochs=1, **options)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_checkpoint_of_another_version_of_the_code_is_refused(tmp_path, monkeypatch):
    train_small.run(tmp_path, epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(attnlib, "__version__", "0.0.0")
        with pytest.raises(RuntimeError, match=r"version of attnlib was '.*', is '0.0.0'"):
            train_small.run(tmp_path, epochs=1)
    source = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda self, *a: source(self, *a) + "\nx = 1" * (self.name == "train_small.py")
    )
    with pytest.raises(RuntimeError, match="code of train_small was"):
        train_small.run(tmp_path, epochs=1)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "other"])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    train_small.run(tmp_path, epochs=1)
    path = tmp_path / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"cut": content[:-100], "changed": content, "empty": b"", "other": b"hello\nworld"}[damage])
    with pytest.raises(RuntimeError, match=r"checkpoint.pt is damaged .*: delete it to start again"):
        train_small.run(tmp_path, epochs=1)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    train_small.run(tmp_path, epochs=1)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            train_small.run(tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))
    assert_same_run(train_small.run(tmp_path), uninterrupted())


def forget(*_, **__):
    """Stands for something that should have been done."""


def order_of_epoch_0(lengths, batch_size, *, seed, epoch):
    return batches(lengths, batch_size, seed=seed)


@pytest.mark.parametrize(
    ("place", "name", "wrong"),
    [
        (_run, "seed_everything", forget),
        (torch.optim.Adam, "load_state_dict", forget),
        (torch.optim.lr_scheduler.CosineAnnealingLR, "load_state_dict", forget),
        (nn.Module, "load_state_dict", forget),
        (nn.utils, "clip_grad_norm_", lambda *_: random.random() * 0),
        (batching, "batches", order_of_epoch_0),
    ],
    ids=[
        "no seed a step",
        "optimizer forgotten",
        "schedule forgotten",
        "parameters forgotten",
        "no clipping",
        "one order for all epochs",
    ],
)
def test_a_run_that_forgets_something_is_told(tmp_path, monkeypatch, place, name, wrong):
    """Known wrong versions of the loop, which the comparison above must see."""
    monkeypatch.setattr(_run, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    whole = train_small.run(None, clip=0.1)
    run_interrupted(tmp_path, 20, clip=0.1)
    monkeypatch.setattr(place, name, wrong)
    with pytest.raises(AssertionError):
        assert_same_run(train_small.run(tmp_path, clip=0.1), whole)


def script(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(ROOT / "tests" / "training" / "train_small.py"), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.slow
def test_killed_by_the_system_and_resumed_is_uninterrupted(tmp_path):
    """SIGKILL in the middle of an epoch, with half a checkpoint on the disk."""
    result = script(tmp_path, "--die", 20)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert (tmp_path / "checkpoint.pt.part").exists()
    assert not (tmp_path / "model.pt").exists()
    result = script(tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == result.stderr == ""
    model, record = uninterrupted()
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(torch.equal(state[name], part) for name, part in model.state_dict().items())
    assert timeless(Record.load(tmp_path / "record.json")) == timeless(record)


# --- evaluation, patience ---------------------------------------------------------------------------------------------


def scripted(losses, seen=None):
    """An evaluation that says what it was told, and keeps the parameters it saw."""
    said = iter(losses)

    def evaluate(model):
        assert not model.training
        assert not torch.is_grad_enabled()
        if seen is not None:
            seen.append(model.weight.item())
        return {"loss": next(said)}

    return evaluate


def test_patience_stops_and_keeps_the_best():
    model, seen = line(), []
    losses = [3.0, 1.0, 2.0, 1.0, 5.0, 0.0]
    record = fit_line(model, epochs=6, evaluate=scripted(losses, seen), patience=3)
    assert record.best_epoch == 2
    assert len(record.losses) == 5
    assert model.weight.item() == seen[1]


def test_the_best_is_kept_when_the_epochs_run_out(tmp_path):
    model, seen = line(), []
    record = fit_line(model, epochs=3, evaluate=scripted([2.0, 1.0, math.nan], seen), patience=9, folder=tmp_path)
    assert (record.best_epoch, len(record.losses)) == (2, 3)
    assert model.weight.item() == seen[1]
    again = line(seed=1)
    assert fit_line(again, epochs=3, evaluate=scripted([]), patience=9, folder=tmp_path).best_epoch == 2
    assert again.weight.item() == seen[1]


def test_without_patience_the_last_is_kept():
    model, seen = line(), []
    record = fit_line(model, epochs=3, evaluate=scripted([1.0, 2.0, 3.0], seen))
    assert record.best_epoch == 3
    assert model.weight.item() == seen[-1]


def test_a_loss_that_never_is_a_number_keeps_the_last():
    record = fit_line(epochs=4, evaluate=scripted([math.nan] * 4), patience=2)
    assert (record.best_epoch, len(record.losses)) == (0, 2)


# --- the record and what is shown -------------------------------------------------------------------------------------


def test_the_record_says_what_happened(tmp_path):
    _, record = train_small.run(tmp_path, configuration={"task": "successor", "layers": [7, 11]})
    content = json.loads((tmp_path / "record.json").read_text("utf-8"))
    assert content == json.loads(json.dumps(vars(record)))
    assert record.configuration["task"] == "successor"
    assert record.configuration["layers"] == [7, 11]
    assert (record.configuration["seed"], record.configuration["batch_size"]) == (0, 8)
    assert record.versions["torch"] == torch.__version__
    assert record.n_parameters == sum(p.numel() for p in train_small.Small().parameters())
    assert len(record.losses) == len(record.seconds) == len(record.tokens_per_second) == len(record.metrics) == 3
    tokens = sum(map(len, train_small.sentences()))
    assert tokens / record.tokens_per_second[1] == pytest.approx(record.seconds[1], abs=6e-4)  # stored to 0.001 s


def test_progress_is_quiet_where_there_is_no_terminal(capsys):
    fit_line(evaluate=scripted([2.0, 1.0]))
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_living_line(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(_progress, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", terminal)
    fit_line(evaluate=scripted([2.0, 1.0]))
    text = terminal.getvalue()
    assert text.count("\r") == 4 + 4 + 2
    assert "step 3/4" in text
    assert " left" in text
    assert "epoch 2/2  loss " in text
    assert "|  loss 1" in text
    assert text.endswith("\n")
    assert len({len(part.rstrip("\n")) for part in text.split("\r")[1:]}) == 1  # each hides the one before


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"items": []}, "items is empty"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"clip": -1.0}, "clip must be above 0, or None for no limit, got -1.0"),
        ({"clip": math.nan}, "clip must be above 0"),
        ({"patience": 0, "evaluate": scripted([])}, "patience must be at least 1, got 0"),
        ({"patience": 2}, "patience needs evaluate"),
        (
            {"patience": 2, "evaluate": lambda _: {"bleu": 1.0}},
            r"patience needs evaluate to give a 'loss', got \['bleu'\]",
        ),
        ({"loss": lambda m, b: (squares(m, b)[0], 0)}, "loss counted 0 tokens in step 1 of epoch 1"),
        ({"loss": lambda m, b: (m(b[:, :1]).squeeze(1), 3)}, r"loss must be one number, .* got shape \(.,\)"),
        ({"loss": lambda m, b: (b.sum(), 3)}, "loss must have a gradient"),
        ({"model": nn.Identity()}, "model has no parameter to train"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        fit_line(**options)


def test_batches_of_nothing_are_named():
    with pytest.raises(ValueError, match="lengths is empty"):
        batches([], 3)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        batches([1], 0)


def test_what_cannot_be_written_is_named(unchecked):
    with pytest.raises(TypeError, match="configuration must be JSON-able"):
        fit_line(configuration={"model": object()})
    with pytest.raises(TypeError, match="evaluate must give a mapping from names to numbers"):
        fit_line(evaluate=lambda _: {"loss": "low"})


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_with_the_parameters_of_before(tmp_path, bad):
    whole, stepped = train_small.run(tmp_path, epochs=1, evaluate=None), []
    before = (tmp_path / "checkpoint.pt").read_bytes()

    @functools.wraps(train_small.loss)
    def loss(model, batch):
        summed, count = train_small.loss(model, batch)
        stepped.append([part.detach().clone() for part in model.parameters()])
        return summed * (bad if len(stepped) == 4 else 1), count

    model, settings = train_small.Small(), {"epochs": 2, "folder": tmp_path, "schedule": train_small.falling}
    with pytest.raises(
        FloatingPointError, match=rf"loss is {bad} in step 4 of epoch 2 \(seed 0\).* Lower the learning"
    ):
        fit(model, loss, train_small.data(), **settings)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), stepped[3], strict=True))
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert_same_run(train_small.run(tmp_path, epochs=1, evaluate=None), whole)


def test_a_gradient_that_is_no_number_stops_too():
    def loss(model, batch):
        return (model(batch[:, :1]) * 0).abs().sqrt().sum(), len(batch)

    with pytest.raises(FloatingPointError, match="gradient's norm is nan in step 1 of epoch 1"):
        fit_line(loss=loss)


def test_files_are_whole_or_not_there(tmp_path):
    path = tmp_path / "new" / "file"
    _checkpoint.write(path, b"one")
    _checkpoint.write(path, b"two")
    assert path.read_bytes() == b"two"
    assert [part.name for part in path.parent.iterdir()] == ["file"]
