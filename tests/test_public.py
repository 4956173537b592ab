"""The public face: names that stay, and what importing does."""

import subprocess
import sys

import jax

import ssem_jax as sx

NAMES = """
    Audit Cells Certificate Claim ClassStructure Domain GramLoss Grid Interval Judgement Phase
    Problem Report Sigmoid Solution Status SupCL Verdict audit block_gram block_similarities certify
    certify_blocks certify_embeddings class_mean_cosines class_means class_similarities
    class_variances distance_to_ssem equal fit_delta2 full_dimension judge negative_direction
    read_run same_phase simplex_etf solve ssem_embeddings ssem_gram sweep theory variances
    variances_from_gram verify solve_reduced collapse_thresholds two_class_threshold
    minority_collapse_ratio minorities_can_merge ReducedSolution blockwise_loss blockwise_supcl
    gram_loss check_convex check_symmetric ConvexityViolation SymmetryViolation
    FalseDeclarationError SupCon WeightedSupCL SoftSupCon PairWeights info_nce decoupled_contrast
    Spectral Sincere SupConIn AlignUniform
    Attainment attained attainment excess Space Range Budget Trial search decided
    supcl_loss batch_variances predict_batch BatchMonitor BatchPrediction
    Processes
    guide Guide UnbalancedGuide
""".split()  # noqa: SIM905


def test_every_public_name_is_there_and_documented():
    for name in NAMES:
        assert getattr(sx, name).__doc__, name


def test_importing_changes_no_global_configuration():
    code = (
        "import jax; before = dict(jax.config.values); import ssem_jax; "
        "assert dict(jax.config.values) == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_readme_example():
    structure = sx.ClassStructure(sizes=(5, 5, 5), num_views=2)
    loss = sx.SupCL(alpha=0.5, temperature=0.1, self_pairs="include", mean="pairs")
    solution = sx.solve(sx.Problem(structure, dim=32, loss=loss), key=jax.random.key(0))
    certificate = sx.certify(solution)
    assert certificate.gap <= 1e-12
    low, high = certificate.brackets["delta2"]
    assert low <= sx.theory.delta2(3, 5, 2, 0.5, 0.1) <= high
    assert 0 < sx.theory.alpha_c(3, 5, 2, 0.1) < 1
