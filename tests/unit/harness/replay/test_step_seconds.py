"""Step seconds: what a fit to timed batches says of one step, and when it falls back to interpolation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timetrial.statistics.step_seconds import StepSeconds, TimedStep, fit_steps, spans_contexts

BATCHES = (1, 2, 4, 8, 16)


def affine(batch, context, w0=2e-3, w1=1e-4, w2=3e-7):
    return w0 + w1 * batch + w2 * batch * context


def points(seconds, contexts=(60.5, 900.5), batches=BATCHES):
    return [TimedStep(batch, context, seconds(batch, context)) for batch in batches for context in contexts]


@settings(max_examples=50, deadline=None)
@given(
    st.floats(1e-4, 1), st.floats(0, 1e-2), st.floats(0, 1e-5), st.sampled_from([(10.5, 90.0), (64.5, 512.0, 4096.5)])
)
def test_affine_steps_are_fitted_without_error(w0, w1, w2, contexts):
    fitted = fit_steps(points(lambda b, c: affine(b, c, w0, w1, w2), contexts), grows_with_context=True)
    assert fitted.form == "affine" and fitted.largest_residual < 1e-6
    np.testing.assert_allclose(fitted.weights, (w0, w1, w2), rtol=1e-4, atol=1e-9)


def test_the_sum_of_the_steps_of_a_timed_batch_gives_its_seconds_back():
    prompt, new = 51, 68
    summed = {
        (batch, length): sum(affine(batch, length + t) for t in range(1, new + 1))
        for batch in BATCHES
        for length in (prompt, 300)
    }
    timed = [TimedStep(b, length + (new + 1) / 2, seconds / new) for (b, length), seconds in summed.items()]
    fitted = fit_steps(timed, grows_with_context=True)
    for (batch, length), seconds in summed.items():
        assert fitted.steps.lasting_s(batch, np.array(length), np.array(new)) == pytest.approx(seconds, rel=1e-9)


def test_a_poor_affine_fit_gives_way_to_interpolation_that_meets_every_measured_batch():
    stairs = {1: 1.0, 2: 1.1, 4: 3.0, 8: 3.1, 16: 9.0}
    timed = points(lambda b, c: stairs[b] * (1 + 1e-3 * c))
    fitted = fit_steps(timed, grows_with_context=True)
    assert fitted.form == "piecewise"
    assert fitted.affine_residual > 0.2 and fitted.largest_residual < 1e-9
    for point in timed:
        seconds = fitted.steps.lasting_s(point.batch, np.array(point.context - 1), np.array(1))
        assert seconds == pytest.approx(point.seconds, rel=1e-9)
    fixed, per_token = fitted.steps.at([3])
    assert fixed == pytest.approx((1.1 + 3.0) / 2) and per_token == pytest.approx((1.1e-3 + 3e-3) / 2)


def test_the_form_in_use_is_never_further_off_than_the_affine_one():
    noise = np.random.default_rng(0)
    for _ in range(20):
        timed = points(lambda b, c: affine(b, c) * noise.uniform(0.7, 1.3))
        fitted = fit_steps(timed, grows_with_context=True)
        assert fitted.largest_residual <= max(fitted.affine_residual, 0.05)


def test_a_model_without_growth_has_none_whatever_the_noise():
    noise = np.random.default_rng(1)
    fitted = fit_steps(points(lambda b, c: 1e-3 * b**0.5 * noise.uniform(0.8, 1.2)), grows_with_context=False)
    assert set(fitted.steps.per_token_s) == {0.0} and fitted.weights[2] == 0


def test_weights_are_never_negative():
    falling = fit_steps(points(lambda b, c: 1e-3 * b / c), grows_with_context=True)
    assert min(falling.weights) >= 0 and min(falling.steps.fixed_s) >= 0 and min(falling.steps.per_token_s) >= 0


def test_one_batch_alone_has_no_affine_form():
    fitted = fit_steps(points(affine, batches=(8,)), grows_with_context=True)
    assert (fitted.form, fitted.weights, fitted.affine_residual) == ("piecewise", None, None)
    assert fitted.largest_residual < 1e-9


def test_growth_is_not_guessed_from_one_context():
    with pytest.raises(ValueError, match="batch 16 was timed at one context"):
        fit_steps([*points(affine, batches=(1, 2)), TimedStep(16, 60.5, 1.0)], grows_with_context=True)
    assert not spans_contexts([100, 110]) and spans_contexts([100, 200]) and not spans_contexts([])
    with pytest.raises(ValueError, match="no timed steps"):
        fit_steps([], grows_with_context=True)


def test_small_batches_cost_the_smallest_measured_and_nothing_is_known_above_the_largest():
    steps = StepSeconds(batches=(4, 8), fixed_s=(4.0, 6.0), per_token_s=(0.0, 1.0))
    fixed, per_token = steps.at([1, 4, 6, 8])
    assert fixed.tolist() == [4, 4, 5, 6] and per_token.tolist() == [0, 0, 0.5, 1]
    for sizes in ([9], [0, 4]):
        with pytest.raises(ValueError, match="of 1 to 8"):
            steps.at(sizes)
