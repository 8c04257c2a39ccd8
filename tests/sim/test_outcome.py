"""The books, against a story told by hand."""

import torch

from coarsegrad.sim.outcome import Books, Recovery


def told(story, target=(True, True), recorded=()):
    """``story``: the iterates' signs of one run, as + and - of two coordinates."""
    signs = [torch.tensor([[c == "+" for c in s]]) for s in story]
    books = Books(torch.tensor([target]), recorded, len(story) - 1)
    for step, positive in enumerate(signs):
        books.see(step, positive, torch.zeros(1, dtype=torch.int64))
        if step < len(story) - 1:
            books.note(step, (positive == signs[step + 1]).all(-1), torch.zeros(1, dtype=torch.int64))
    w = torch.where(signs[-1], 1.0, -1.0)
    return books.close(torch.ones(1, 1), w, "by hand")


def test_visits_stays_and_absences():
    found = told(["+-", "++", "++", "++", "--", "++", "-+", "-+", "-+", "++"])
    assert (found.first.item(), found.visits.item(), found.at.item()) == (1, 3, 4)
    assert found.stays[0, :3].tolist() == [1, 1, 0]  # of 1 and of 3 steps; the last has not ended
    assert found.absences[0, :3].tolist() == [1, 1, 0]
    assert (found.changes.item(), found.last.item(), found.hit.item()) == (5, True, True)
    assert found.occupancy.item() == 4 / 9


def test_it_shows_itself_in_a_line():
    assert repr(told(["--", "++"])) == "<Recovery by direct: 1 runs of 1 steps; last 1, ergodic 0, hit 1>"


def test_never_there():
    found = told(["--", "-+", "+-"])
    assert (found.first.item(), found.visits.item(), found.at.item(), found.wrong.item()) == (-1, 0, 0, 1)
    assert not found.hit and not found.stays.any()


def test_the_average_is_of_the_binary_iterates_before_the_last_and_its_zero_counts_as_plus():
    assert told(["+-", "-+", "--"]).ergodic.item()
    assert told(["--", "--", "++"]).ergodic_wrong.item() == 2


def test_settled_is_where_the_last_stillness_begins():
    assert told(["--", "--", "+-", "+-", "+-"]).settled.item() == 2
    assert told(["--", "--", "+-"]).settled.item() == -1


def test_signs_are_kept_where_asked():
    assert told(["--", "-+", "++"], recorded=(0, 2)).signs.tolist() == [[[-1, -1]], [[1, 1]]]


def test_runs_computed_apart_are_joined():
    whole = Recovery.joined([told(["--", "++"], recorded=(1,)), told(["++", "++"], recorded=(1,))])
    assert whole.signs.shape == (1, 2, 2) and whole.first.tolist() == [1, 0]
    assert whole.hit_rate.isnan().tolist() == [False, True] and not whole.capped.any()
