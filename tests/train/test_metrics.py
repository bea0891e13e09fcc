"""What is logged is the mean over the tuples that count, whoever had them and however often the run was cut."""

import math

import torch
from torch.nn import functional

from vidssl.train.distributed import ProcessGroup
from vidssl.train.metrics import Metrics, class_accuracy

CPU = torch.device("cpu")


def filled(parts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> Metrics:
    tally = Metrics(3, CPU)
    for logits, label, kept in parts:
        tally.add(logits, label, functional.cross_entropy(logits, label, reduction="none"), kept)
        tally.step(torch.tensor(2.0 + len(label)))
    return tally


def test_means_are_over_the_tuples_that_count() -> None:
    logits = torch.tensor([[4.0, 0, 0], [0, 4, 0], [0, 0, 4], [9, 0, 0]])
    label, kept = torch.tensor([0, 1, 0, 2]), torch.tensor([True, True, True, False])
    found = filled([(logits, label, kept), (logits[:2], label[:2], kept[:2])])
    right, wrong = (float(functional.cross_entropy(logits[i : i + 1], label[i : i + 1])) for i in (0, 2))
    values = found.total(ProcessGroup(device=CPU)).values()
    assert math.isclose(values["loss"], (4 * right + wrong) / 5, rel_tol=1e-6)
    assert values["accuracy"] == 4 / 5
    assert math.isclose(values["rejected"], 1 / 6)
    assert (values["grad_norm"], values["steps"], values["shown"]) == (5.0, 2, 6)
    assert found.confusion.tolist() == [[2, 0, 1], [0, 2, 0], [0, 0, 0]]
    assert class_accuracy(found.confusion) == [2 / 3, 1.0, None]


def test_a_tuple_off_the_limits_may_have_any_loss() -> None:
    tally = Metrics(3, CPU)
    tally.add(torch.zeros(2, 3), torch.tensor([0, 1]), torch.tensor([1.0, math.nan]), torch.tensor([True, False]))
    assert tally.values()["loss"] == 1.0


def test_it_goes_on_where_it_was() -> None:
    random = torch.Generator().manual_seed(0)
    parts = [
        (torch.randn(5, 3, generator=random), torch.randint(3, (5,), generator=random), torch.ones(5, dtype=torch.bool))
        for _ in "12"
    ]
    whole, first, second = filled(parts), filled(parts[:1]), Metrics(3, CPU)
    second.load_state_dict(first.state_dict())
    logits, label, kept = parts[1]
    second.add(logits, label, functional.cross_entropy(logits, label, reduction="none"), kept)
    second.step(torch.tensor(7.0))
    assert torch.equal(whole.sums, second.sums)
    assert torch.equal(whole.confusion, second.confusion)


def test_nothing_is_no_number() -> None:
    assert math.isnan(Metrics(3, CPU).values()["loss"])
