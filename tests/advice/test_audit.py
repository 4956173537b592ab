"""`ssem audit` on what another program found: pymanopt's embeddings, through a file."""

import importlib
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pymanopt
import pytest
from pymanopt.optimizers import ConjugateGradient

import ssem_jax as sx
from ssem_jax.advice.inputs import read_batch
from ssem_jax.certificate import certificates
from ssem_jax.cli import main

audits = importlib.import_module("ssem_jax.advice.audits")

EXCESS_TOLERANCE = 1e-9
"""The audit's gap is the excess over the optimum, up to the certified gap of its reference."""

LABELS = np.repeat(["ant", "bee", "cat"], 4)


def embeddings_by_pymanopt(loss, structure, dim):
    """Conjugate gradients at pymanopt's default budget, with the gradient written in NumPy."""
    same = structure.class_ids[:, None] == structure.class_ids
    eye = np.eye(len(same))
    sup = same * (1 - eye)
    positives = (1 - loss.alpha) * sup / sup.sum() + loss.alpha * eye / len(eye)
    manifold = pymanopt.manifolds.Oblique(dim, len(same))

    def softmax(columns):
        logits = (columns.T @ columns - 1) / loss.temperature
        weights = np.exp(logits)
        return logits, weights / weights.sum(1, keepdims=True), np.log(weights.sum(1))

    @pymanopt.function.numpy(manifold)
    def cost(columns):
        logits, _, log_total = softmax(columns)
        return positives.sum(1) @ log_total - np.sum(positives * logits)

    @pymanopt.function.numpy(manifold)
    def gradient(columns):
        _, share, _ = softmax(columns)
        slope = (positives.sum(1)[:, None] * share - positives) / loss.temperature
        return columns @ (slope + slope.T)

    start = np.random.default_rng(0).normal(size=(dim, len(same)))
    problem = pymanopt.Problem(manifold, cost, euclidean_gradient=gradient)
    optimizer = ConjugateGradient(verbosity=0)
    return optimizer.run(problem, initial_point=start / np.linalg.norm(start, axis=0)).point.T


@pytest.mark.parametrize(("alpha", "tau"), [(0.2, 0.1), (0.6, 0.3)])
def test_audit_gives_the_true_gap_of_foreign_embeddings(tmp_path, capsys, alpha, tau):
    structure, loss = sx.ClassStructure((4, 4, 4)), sx.SupCL(alpha, tau)
    found = embeddings_by_pymanopt(loss, structure, 16)
    np.save(tmp_path / "found.npy", found)
    np.save(tmp_path / "labels.npy", LABELS)
    arguments = ["audit", tmp_path / "found.npy", "--labels", tmp_path / "labels.npy"]
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments), "--alpha", str(alpha), "--tau", str(tau), "--json"])
    document = json.loads(capsys.readouterr().out)
    excess = float(loss(found, structure)) - float(sx.theory.loss(3, 4, 1, alpha, tau))
    assert abs(document["gap"] - excess) <= EXCESS_TOLERANCE
    assert document["optimal"] == (document["gap"] <= document["gap_tolerance"])
    assert end.value.code == (0 if document["optimal"] else 1)
    assert not (document["optimal"] and excess > EXCESS_TOLERANCE)


# ------------------------------------------------------------------------------------- references

TWO_BY_FOUR = np.repeat([0, 1], 4)


def rows_of(labels, dim=5, seed=0):
    return np.random.default_rng(seed).normal(size=(len(labels), dim))


@pytest.fixture
def frugal(monkeypatch):
    """No free minimisation: a closed form or the program of the classes must do."""

    def refuse(*_, **__):
        raise AssertionError("the embeddings were minimised freely")

    monkeypatch.setattr(audits, "solve", refuse)


@pytest.mark.parametrize(
    ("loss", "num_views"),
    [
        (sx.SupCL(0.5, 0.1), 1),
        pytest.param(sx.losses.SupCon(0.1), 1, marks=pytest.mark.slow),
        (sx.losses.Spectral(0.5, 3.0), 1),
        pytest.param(sx.losses.SupCon(0.1), 2, marks=pytest.mark.slow),
        pytest.param(sx.losses.decoupled_contrast(0.2), 2, marks=pytest.mark.slow),
        pytest.param(sx.losses.Spectral(0.8, 3.0), 2, marks=pytest.mark.slow),
    ],
)
def test_balanced_closed_forms_are_the_reference(frugal, loss, num_views):
    found = sx.audit(rows_of(TWO_BY_FOUR), TWO_BY_FOUR, loss, num_views=num_views)
    assert found.optimum.certified
    assert found.certificate.lower >= found.optimum.lower
    assert found.certificate.gap > 0.1
    expected = [
        found.prediction.view,
        found.prediction.within - found.prediction.view,
        found.prediction.between,
        1 - found.prediction.total,
    ]
    np.testing.assert_allclose(found.optimum.variances, expected, rtol=0, atol=1e-12)
    assert found.to_json()["predicted"]["view_variance"] == float(found.prediction.view)


ONE_THREE_FOUR = np.repeat([0, 1, 2], [1, 3, 4])
LIMITS = ("OWN_LIMIT", "DENSE_LIMIT", "CHOLESKY_LIMIT")
"""What is many embeddings; here four are."""
TILES = 1e-11
"""What margins of values in tiles are wider by: some hundred roundings of 2/τ."""


@pytest.mark.parametrize(
    "loss",
    [
        sx.SupCL(0.6, 0.3),
        pytest.param(sx.losses.SupCon(0.3), marks=pytest.mark.slow),
        pytest.param(sx.losses.WeightedSupCL(0.6, 0.3, (1.0, 2.0, 1.0)), marks=pytest.mark.slow),
    ],
)
def test_many_embeddings_are_bounded_by_the_minimum_alone(frugal, loss, monkeypatch):
    rows = rows_of(ONE_THREE_FOUR)
    formed = sx.audit(rows, ONE_THREE_FOUR, loss).certificate
    for name in LIMITS:
        monkeypatch.setattr(certificates, name, 4)
    monkeypatch.setattr(audits, "CHOLESKY_LIMIT", 4)
    found = sx.audit(rows, ONE_THREE_FOUR, loss)
    alone = found.certificate
    assert alone.lower == found.optimum.lower
    assert alone.eigenvalue == -np.inf
    assert alone.failure_probability == 0
    assert float(alone.value) == pytest.approx(float(formed.value), rel=1e-13)
    assert abs(float(alone.gap) - float(formed.gap)) <= TILES
    assert float(alone.gap) >= float(alone.value) - float(found.optimum.value)


@pytest.mark.parametrize(
    "labels", [pytest.param(ONE_THREE_FOUR, marks=pytest.mark.slow), TWO_BY_FOUR]
)
def test_many_embeddings_of_a_loss_that_says_its_terms(frugal, labels, monkeypatch):
    """By what symmetry leaves, and without a factorisation where they are far from the minimum."""
    for name in LIMITS[:2]:
        monkeypatch.setattr(certificates, name, 4)
    monkeypatch.setattr(audits, "DENSE_LIMIT", 4)
    loss = sx.losses.Sincere(0.3)
    found = sx.audit(rows_of(labels), labels, loss)
    alone, structure = found.certificate, found.structure
    assert found.optimum.certified
    assert alone.lower == found.optimum.lower
    assert alone.eigenvalue == -np.inf
    assert float(alone.value) == pytest.approx(
        float(loss(jnp.asarray(rows_of(labels)), structure)), rel=1e-13
    )
    if structure.is_balanced:  # the least value is that of two opposite points
        best = sx.audit(np.where(labels, 1.0, -1.0)[:, None] * [1, 0], labels, loss)
        least = float(np.log1p(4 * np.exp(-2 / 0.3)))
        assert float(found.optimum.value) == pytest.approx(least, abs=1e-9)
        assert best.optimal
        assert np.isfinite(float(best.certificate.eigenvalue))


def test_many_embeddings_near_the_minimum_have_a_bound_of_their_own(frugal, monkeypatch):
    for name in LIMITS[:2]:
        monkeypatch.setattr(certificates, name, 4)
    structure, loss = sx.ClassStructure((4, 4)), sx.SupCL(0.5, 0.1)
    rows = sx.geometry.ssem_embeddings(structure, sx.theory.delta2(structure, loss), dim=7)
    found = sx.audit(np.asarray(rows), TWO_BY_FOUR, loss)
    assert found.optimal
    assert abs(float(found.certificate.eigenvalue)) < 1e-9


@pytest.mark.parametrize(
    ("labels", "loss"),
    [
        (np.repeat([0, 1, 2], [1, 3, 4]), sx.SupCL(0.6, 0.3)),
        pytest.param(
            TWO_BY_FOUR,
            sx.losses.WeightedSupCL(0.5, 0.3, (1.0, 2.0)),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_program_of_the_classes_is_the_reference(frugal, labels, loss):
    found = sx.audit(rows_of(labels), labels, loss)
    assert found.optimum.certified
    assert found.prediction is None
    assert found.certificate.lower >= found.optimum.lower
    # The same as a certificate of embeddings that attain it.
    problem = sx.Problem(found.structure, 7, loss)
    free = sx.certify(sx.solve(problem, jax.random.key(0)))
    assert abs(float(free.value - found.optimum.value)) <= EXCESS_TOLERANCE
    np.testing.assert_allclose(found.optimum.variances, free.variances, atol=1e-6)
    np.testing.assert_allclose(found.optimum.low, free.low, atol=1e-5)
    np.testing.assert_allclose(found.optimum.high, free.high, atol=1e-5)
    assert abs(float(free.eigenvalue - found.optimum.eigenvalue)) <= 1e-8
    assert int(found.optimum.phase) == int(free.phase)


@sx.gram_loss(convex=True)
def pulled_to_zero(gram, structure, *, strength=1.0):
    """Convex, but not symmetric: the first row counts more."""
    weights = jnp.ones(len(gram)).at[0].set(2)
    return strength * jnp.mean(weights[:, None] * weights[None, :] * gram**2)


@pytest.mark.parametrize(
    ("loss", "num_views"),
    [
        (pulled_to_zero(strength=1.5), 1),
        pytest.param(sx.losses.Sigmoid(5.0, 1.0), 2, marks=pytest.mark.slow),
        pytest.param(sx.losses.Sincere(0.1), 1, marks=pytest.mark.slow),
    ],
)
def test_other_losses_are_minimised_freely(loss, num_views):
    found = sx.audit(rows_of(TWO_BY_FOUR), TWO_BY_FOUR, loss, num_views=num_views)
    assert found.optimum.certified
    assert found.certificate.lower >= found.optimum.lower
    assert found.certificate.gap > 0
    assert found.prediction is None


def test_everything_is_checked_before_anything_is_computed(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("computed before it was checked")

    for name in ("_optimum", "certify_embeddings"):
        monkeypatch.setattr(audits, name, refuse)
    labels = np.array(["b", "a", "b", "a"])  # sorting moves row 3 to place 1
    rows, loss = rows_of(labels), sx.SupCL(0.5, 0.1)
    zero, infinite = rows.copy(), rows.copy()
    zero[3], infinite[2, 1] = 0, np.inf
    for arguments, message in [
        ((zero, labels, loss), "row 3 is zero"),
        ((infinite, labels, loss), "row 2 is not finite"),
        ((rows[:3], labels, loss), r"one label for each embedding; got 4 labels .*\(3, 5\)"),
        ((rows[0], labels, loss), r"\(N, d\), .* got shape \(5,\)"),
        ((rows[:, :0], labels, loss), r"got shape \(4, 0\)"),
        ((rows + 1j, labels, loss), "an array of numbers; got array"),
        ((rows.astype(str), labels, loss), "an array of numbers"),
        ((rows, labels[:1].repeat(4), loss), "at least 2 classes"),
        ((rows, labels, sx.SupCL(np.array([0.5, 0.6]), np.array([0.1, 0.1]))), "one cell"),
        ((rows, labels, sx.losses.SupConIn(0.1)), "SupConIn is not convex"),
        ((rows, labels, sx.SupCL), "loss must be given its hyper-parameters, as SupCL"),
        ((rows, labels, sx.SupCL(0.5, 0.1, "exclude")), "num_views must be at least 2"),
        (
            (rows, labels, sx.losses.WeightedSupCL(0.5, 0.1, (1.0,))),
            "class_weights must have one number",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            sx.audit(*arguments)
    with monkeypatch.context() as limits:
        limits.setattr(certificates, "CHOLESKY_LIMIT", 3)
        with pytest.raises(ValueError, match="only SupCL is certified without its dual matrix"):
            sx.audit(rows, labels, sx.losses.Sincere(0.1))
    with jax.enable_x64(False), pytest.raises(ValueError, match="verification needs float64"):
        sx.audit(rows, labels, loss)


def test_the_key_reaches_probabilistic_certificates(monkeypatch):
    """Beyond the limit of what is factored, which is lowered here."""
    monkeypatch.setattr(certificates, "CHOLESKY_LIMIT", 7)
    monkeypatch.setattr(certificates, "DENSE_LIMIT", 3)
    keys = []
    by_products = certificates.bound_by_products

    def noted(loss, structure, points, key):
        keys.append(jax.random.key_data(key).tolist())
        return by_products(loss, structure, points, key)

    monkeypatch.setattr(certificates, "bound_by_products", noted)
    rows, loss = rows_of(TWO_BY_FOUR), sx.SupCL(0.5, 0.2)
    for key in (None, jax.random.key(0), jax.random.key(1)):
        found = sx.audit(rows, TWO_BY_FOUR, loss, key=key)
        assert found.certificate.probabilistic
        assert not found.optimum.probabilistic
    assert keys[0] == keys[1] != keys[2]


def test_what_many_embeddings_take_is_said_first(monkeypatch):
    batch = read_batch(1e-200 * rows_of(TWO_BY_FOUR), TWO_BY_FOUR)
    assert audits.expectation(batch) == ""
    monkeypatch.setattr(audits, "OWN_LIMIT", 7)
    assert audits.expectation(batch) == "28 pairs: 1 s or more"


def test_rows_of_any_length_and_type():
    rows, loss = rows_of(TWO_BY_FOUR), sx.SupCL(0.5, 0.1)
    expected = sx.audit(rows, TWO_BY_FOUR, loss).certificate
    lengths = np.array([5e-320, 1e-200, 1e-160, 1, 1, 1e160, 1e200, 1e307])
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = sx.audit(unit * lengths[:, None], TWO_BY_FOUR, loss).certificate
    assert float(found.value) == pytest.approx(float(expected.value), abs=2e-3)  # of few bits
    lengths[0] = 1e-250
    found = sx.audit(unit * lengths[:, None], TWO_BY_FOUR, loss).certificate
    direct = expected
    assert float(found.value) == pytest.approx(float(direct.value), rel=1e-13)
    audited = sx.audit(jnp.asarray(rows, jnp.bfloat16), TWO_BY_FOUR, loss)
    assert re.fullmatch(r"<Audit of 2 classes × 4: gap \d\.\d{3}e\+00>", repr(audited))
    shown = audited._repr_html_()
    assert shown.startswith(
        "<pre style='white-space: pre-wrap'>2 classes × 4\n2 classes: 0 × 4, 1 × 4\nloss "
    )
    assert "not certified as optimal (tolerance 1e-09)\nphase of the optimum: " in shown
    assert re.search(r"\ndelta2 0\.\d+, predicted \d.*\n", shown)
    assert re.search(r"\nminimal loss \d.*, of equal rows \d.*\nNC1 .*, uniformity -\d", shown)
    loose = sx.audit(rows, TWO_BY_FOUR, loss, tolerance=10)
    assert (loose.optimal, loose.verdict) == (True, "as good as optimal")
    assert loose.diagnosis.advice == ()
    with pytest.raises(ValueError, match="tolerance must be positive and finite; got 0"):
        sx.audit(rows, TWO_BY_FOUR, loss, tolerance=0)
    short = audited.certificate
    assert float(short.value) == pytest.approx(float(expected.value), abs=0.1)
