"""The objective of adversarial training, against closed forms and computations by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from rnnbook.batches import pad_sequences
from rnnbook.classifier import ClassifierConfig, TextClassifier
from rnnbook.losses import Objective, classification_loss, squared_error
from rnnbook.train import train

LENGTHS = torch.tensor([2, 5, 1, 3])
LABELS = torch.tensor([0, 1, 1, 0])


def tokens() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return pad_sequences([torch.randint(2, 9, (n,), generator=generator) for n in LENGTHS.tolist()])[0]


def classifier(**options: object) -> TextClassifier:
    torch.manual_seed(0)
    return TextClassifier(ClassifierConfig(9, 4, 3, rnn_type="gru", **options)).double()


class Scale(nn.Module):
    """Weigh tokens by a vector w and add up: two classes with the logits 0 and s."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.w = nn.Embedding(9, 4), nn.Parameter(torch.randn(4))

    def embed(self, ids: Tensor) -> Tensor:
        return self.embedding(ids)

    def from_vectors(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Add up the padding too, with the weight 3: an attack must leave it alone all the same."""
        real = torch.arange(vectors.shape[1]) < lengths[:, None]
        s = ((vectors @ self.w) * torch.where(real, 1.0, 3.0)).sum(dim=1)
        return torch.stack([torch.zeros_like(s), s], dim=1)


@pytest.mark.parametrize("epsilon", [0.1, 2.0])
def test_on_a_linear_model_the_attack_has_a_closed_form(epsilon):
    model, ids = Scale().double(), tokens()
    s = model.from_vectors(model.embed(ids), LENGTHS)[:, 1]
    # A move of norm ε over n tokens takes at most ε ‖w‖ √n from the score of the right class.
    margin = s * (2 * LABELS - 1)
    lost = epsilon * model.w.norm() * LENGTHS.double().sqrt()
    expected = torch.log1p((-margin).exp()).mean() + torch.log1p((lost - margin).exp()).mean()
    found = Objective(model, classification_loss, epsilon)(ids, LENGTHS, LABELS)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


def by_hand(model: TextClassifier, epsilon: float) -> list[Tensor]:
    """Go through the examples one at a time, without padding, and differentiate."""
    loss = torch.zeros((), dtype=torch.float64)
    for ids, length, label in zip(tokens(), LENGTHS, LABELS, strict=True):
        row, own, at = ids[None, :length], length[None], int(label)
        nats = lambda v, own=own, at=at: -model.from_vectors(v, own).log_softmax(dim=1)[0, at]
        vectors = model.embedding.weight[row].detach().requires_grad_()
        gradient = torch.autograd.grad(nats(vectors), vectors)[0]
        move = epsilon * gradient / gradient.square().sum().sqrt()
        clean = model.embedding.weight[row]
        loss = loss + (nats(clean) + nats(clean + move)) / len(LABELS)
    return [*torch.autograd.grad(loss, list(model.parameters())), loss]


def test_a_step_goes_down_the_gradient_of_both_losses():
    ours, theirs = classifier(), classifier()
    before = [p.detach().clone() for p in theirs.parameters()]
    options = {"schedule": "constant", "learning_rate": 0.1, "max_grad_norm": math.inf}
    history = train(ours, [(tokens(), LENGTHS, LABELS)], adversarial_epsilon=0.5, **options)
    *gradients, loss = by_hand(theirs, 0.5)
    assert history.step_loss == [pytest.approx(loss.item(), rel=1e-12)]
    for parameter, old, gradient in zip(ours.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-14)
        first = 0.1 * gradient / (gradient.abs() + 1e-8)  # the first step of Adam
        torch.testing.assert_close(parameter.detach(), old - first, rtol=1e-9, atol=1e-9)
    plain, *_ = by_hand(theirs, 0.0)
    assert not torch.allclose(plain, gradients[0], rtol=0.05), "this attack changes nothing"


def test_both_passes_share_their_dropout_and_chance_goes_on_as_after_one():
    model, batch = classifier(dropout=0.5, word_dropout=0.3), (tokens(), LENGTHS, LABELS)
    loss, state = {}, {}
    for epsilon in (0.0, 1e-12):
        torch.manual_seed(1)
        loss[epsilon] = Objective(model, classification_loss, epsilon)(*batch).item()
        state[epsilon] = torch.get_rng_state()
    assert loss[1e-12] == pytest.approx(2 * loss[0.0], rel=1e-9)
    assert torch.equal(state[0.0], state[1e-12])


def test_a_gradient_of_nothing_gives_no_move():
    model = Scale()
    nn.init.zeros_(model.w)
    batch = (tokens(), LENGTHS, LABELS)
    assert Objective(model, classification_loss, 1.0)(*batch).item() == pytest.approx(2 * math.log(2))


def test_models_and_sizes_that_are_refused():
    x = (torch.randn(2, 3), torch.tensor([0, 1]))
    with pytest.raises(TypeError, match=r"model with embed\(tokens\) and from_vectors.*, got Linear"):
        train(nn.Linear(3, 2), [x], adversarial_epsilon=1.0)
    for epsilon in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"adversarial_epsilon of at least 0, got"):
            train(classifier(), [(tokens(), LENGTHS, LABELS)], adversarial_epsilon=epsilon)


def test_without_an_attack_it_is_the_loss():
    x, y = torch.randn(4, 3), torch.randn(4, 2)
    model = nn.Linear(3, 2)
    assert torch.equal(Objective(model, squared_error)(x, y), squared_error(model(x), y))
