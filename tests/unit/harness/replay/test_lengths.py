"""Tables of lengths: which problems enter them, and what is read of a greedy series."""

from timetrial.stages.lengths import collect_lengths


def test_a_problem_enters_with_all_its_samples_in_their_places(completion):
    made = [completion("b", 1, 5), completion("b", 0, 7), completion("a", 0, 3), completion("b", 2, 9)]
    (pool,) = collect_lengths([*made, completion("a", 1, 4, prompt=11)], 2)
    assert pool.problems == ("a", "b")
    assert pool.lengths.tolist() == [[3, 4], [7, 5]], "samples numbered N and above are not read"
    assert pool.prompt_tokens.tolist() == [11, 20] and pool.num_left_out == 0
    assert pool.rows_of(["b", "a", "b"]).tolist() == [1, 0, 1]


def test_a_problem_with_an_unknown_length_is_left_out(completion):
    made = [completion("a", 0), completion("b", 0, None), completion("c", 0, prompt=None), completion("d", 1)]
    (pool,) = collect_lengths(made, 1)
    assert pool.problems == ("a",) and pool.num_left_out == 3


def test_a_greedy_series_has_one_sample_and_a_pool_of_its_own(completion):
    greedy, drawn = collect_lengths(
        [completion("a", 0, 8, temperature=0), *(completion("a", sample, 3) for sample in range(4))], 4
    )
    assert greedy.lengths.tolist() == [[8]] and drawn.lengths.tolist() == [[3, 3, 3, 3]]


def test_nothing_known_is_an_empty_table(completion):
    (pool,) = collect_lengths([completion("a", 0, None)], 3)
    assert pool.lengths.shape == (0, 3) and pool.num_samples == 3
