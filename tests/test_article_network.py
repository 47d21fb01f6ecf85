"""The article's network: it does what the listing says, and each repair changes what it names."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from rnnbook.article import ARTICLE_VOCAB, REPAIRS, ArticleNetwork, text_logits, token_loss
from rnnbook.batches import pad_sequences
from rnnbook.repro import seed_everything

VOCAB, LONGEST = 200, 12


def network(repairs: int) -> ArticleNetwork:
    seed_everything(repairs)
    return ArticleNetwork(repairs, VOCAB, LONGEST).eval()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(2, VOCAB, (length,), generator=generator) for length in (3, 7, 5, 12)]
    return pad_sequences(rows)


def test_as_written_all_texts_look_alike_and_the_first_embedding_learns_nothing(batch):
    model = network(0)
    vectors = model.embed(batch[0])
    assert torch.equal(vectors, vectors[:1, :1].expand_as(vectors))
    token_loss(model(*batch), torch.tensor([0, 1, 0, 1])).backward()
    assert model.embedding.weight.grad is None
    assert model.embedding.num_embeddings == ARTICLE_VOCAB


@pytest.mark.parametrize("repairs", range(len(REPAIRS) + 1))
def test_shapes_and_what_reads_the_padding(batch, repairs):
    model, (tokens, lengths) = network(repairs), batch
    logits = model(tokens, lengths)
    assert logits.shape == ((4, LONGEST, 2) if repairs < 2 else (4, 2))
    assert text_logits(logits).shape == (4, 2)
    assert (logits[..., 0] == 0).all()
    other = tokens.clone()
    other[0, 3:] = 5  # what stands behind the first text's end
    changed = not torch.equal(text_logits(model(other, lengths))[0], text_logits(logits)[0])
    assert changed == (repairs in (1, 2))  # as written, nothing that is read changes anything


def test_after_the_first_repair_texts_differ(batch):
    for repairs in range(1, len(REPAIRS) + 1):
        answers = text_logits(network(repairs)(*batch))[:, 1]
        assert len(answers.unique()) == 4


def test_the_answers_of_the_padded_text_are_those_of_the_text_alone_once_padding_is_not_read(batch):
    tokens, lengths = batch
    for repairs in (3, 4, 5):
        model = network(repairs)
        alone = torch.cat([model(tokens[i : i + 1, :n], lengths[i : i + 1]) for i, n in enumerate(lengths)])
        assert torch.allclose(alone, model(tokens, lengths), atol=1e-6)


def test_the_loss_is_the_sigmoid_loss_of_each_token():
    logits = torch.tensor([[[0.0, 1.0], [0.0, -2.0]], [[0.0, 0.5], [0.0, 3.0]]])
    expected = binary_cross_entropy_with_logits(logits[..., 1], torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    assert token_loss(logits, torch.tensor([1, 0])).item() == pytest.approx(expected.item())


def test_bad_input_is_refused(batch):
    with pytest.raises(ValueError, match="repairs from 0 to 5"):
        ArticleNetwork(6, VOCAB, LONGEST)
    with pytest.raises(ValueError, match="seq_len"):
        ArticleNetwork(0, VOCAB, 0)
    with pytest.raises(ValueError, match="at most 4 tokens, got 12"):
        ArticleNetwork(0, VOCAB, 4)(*batch)
    with pytest.raises(ValueError, match="from 0 to 199"):
        network(3)(batch[0] + 500, batch[1])
