"""From timing rows to the seconds of a step: what is used, what is refused, and what a step of no growth costs."""

import numpy as np
import pytest

from timetrial.stages.step_fits import fit_models


def test_steps_are_fitted_to_the_medians_of_the_timed_repeats(grid_rows):
    fits = fit_models(grid_rows(), "here")
    model = fits.models["m"]
    assert fits.missing == () and model.fit.form == "affine"
    np.testing.assert_allclose(model.fit.weights, (2e-3, 1e-4, 1e-6), rtol=1e-6)
    assert model.fit.contexts == (54.5, 154.5) and model.fit.batches == (1, 2, 4, 8)
    fixed, per_token = model.prefill.at([4])
    assert fixed + 100 * per_token == pytest.approx(1e-3 + 1e-5 * 100)


def test_one_context_is_refused_with_the_cure(grid_rows):
    fits = fit_models(grid_rows(prompts=(50,)), "here")
    (missing,) = fits.missing
    assert fits.models == {} and missing.what == "m"
    assert "one context only" in missing.reason and "50 tokens" in missing.reason and "--time" in missing.reason


def test_contexts_that_are_nearly_alike_are_one(grid_rows):
    assert fit_models(grid_rows(prompts=(50, 55)), "here").models == {}


def test_a_batch_that_ran_out_of_memory_anywhere_is_not_used_nor_a_larger_one(grid_rows, timing):
    failed = timing(4, 150, status="out_of_memory", repeat=-1, prefill_s=None, seconds=1.0)
    rows = [row for row in grid_rows() if (row.batch, row.prompt_tokens) not in ((4, 150), (8, 150))]
    assert fit_models([*rows, failed], "here").models["m"].fit.batches == (1, 2)


def test_a_batch_timed_at_one_context_only_is_not_used(grid_rows, timing):
    rows = [*grid_rows(), timing(16, 50), timing(16, 50, repeat=1)]
    assert fit_models(rows, "here").models["m"].fit.batches == (1, 2, 4, 8)


def test_a_model_whose_bytes_do_not_grow_has_no_growth(grid_rows):
    rows = [row for batch in (1, 2, 4) for row in grid_rows(batches=(batch,), step_bytes=500.0 * batch)]
    model = fit_models(rows, "here").models["m"]
    assert not model.fit.grows_with_context and set(model.fit.per_token_s) == {0.0}
    assert model.fit.largest_residual > 0, "the rows grow, and the residual shows it"


def test_rows_of_other_machines_and_engines_are_not_read(grid_rows):
    rows = [*grid_rows(), *grid_rows(environment="there", seconds=9.0), *grid_rows(engine="paper-style", seconds=9.0)]
    np.testing.assert_allclose(fit_models(rows, "here").models["m"].fit.weights, (2e-3, 1e-4, 1e-6), rtol=1e-6)
    assert fit_models(rows, "nowhere") == ({}, ())


def test_a_shared_prompt_is_refused_since_it_does_not_tell_growth(grid_rows):
    (missing,) = fit_models(grid_rows(is_prompt_shared=True), "here").missing
    assert "shares" in missing.reason


def test_nothing_that_fitted_is_said(timing):
    (missing,) = fit_models([timing(1, 50, status="out_of_memory", prefill_s=None, seconds=1.0)], "here").missing
    assert missing.reason == "no batch fitted in memory"
