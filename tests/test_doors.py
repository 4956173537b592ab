"""What comes in at every door: wrong types work as obviously meant, or are refused in one line.

Each row is a call with a wrong argument: None, a text, a list, a dict, a bool or a fraction for a
count, NaN, infinity, a negative or an empty one, a class for an instance, an instance for a class.
"""

import enum
import re
from types import FunctionType, ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax import theory

LONGEST = 260
"""Characters of a message: a line or two of a terminal, not a printed array."""


def plain(gram, structure):
    return jnp.mean(gram)


@sx.gram_loss(convex=True)
def own(gram, structure, *, scale, flavour="a"):
    return scale * jnp.mean(gram**2)


@pytest.fixture(scope="module")
def names():
    """What the calls below are made of."""
    S = sx.ClassStructure((2, 2))
    L = sx.SupCL(0.5, 0.5)
    P = sx.Problem(S, 3, L)
    K = jax.random.key(0)
    SOL = sx.solve(P, K)
    CERT = sx.certify(SOL)
    U = np.asarray(SOL.embeddings)
    G = U @ U.T
    T = sx.sweep([P])
    SP = sx.Space(num_classes=2, num_instances=2, alpha=0.5, temperature=0.5)

    def M(cell):
        return 1 - cell.delta2

    C = sx.Claim("c", "s", M, SP)
    labels = np.array([0, 0, 1, 1])
    modules = {"sx": sx, "np": np, "jnp": jnp, "jax": jax, "theory": theory}
    return modules | {"plain": plain, "own": own} | locals()


REFUSED = {
    "sizes must be integers, one for each class, as (8, 4, 2)": [
        "sx.ClassStructure(None)",
        "sx.ClassStructure(3)",
        'sx.ClassStructure("")',
        'sx.ClassStructure("a,b")',
        "sx.ClassStructure({})",
    ],
    "every class size must be an integer of at least 1": [
        "sx.theory.squared_ridge((3, 0), .1, .1)",
        "sx.ClassStructure((2.5, 2))",
        "sx.ClassStructure((True, 2))",
        "sx.ClassStructure((np.nan, 2))",
        "sx.ClassStructure((np.inf, 2))",
        "sx.ClassStructure((2, -1))",
        "sx.ClassStructure(((2, 2), (3, 3)))",
        "sx.ClassStructure.balanced(2, None)",
    ],
    "there must be at least 2 classes": [
        "sx.ClassStructure(())",
        "sx.Space(sizes=3)",
    ],
    "num_views must be an integer of at least 1": [
        'sx.ClassStructure((2, 2), "1")',
        "sx.ClassStructure((2, 2), None)",
        "sx.ClassStructure((2, 2), True)",
        "sx.ClassStructure((2, 2), np.complex64(1))",
        'sx.audit(U, labels, L, num_views="1")',
        'sx.training.predict_batch(labels, "2", alpha=.5, temperature=.5)',
    ],
    "num_classes must be an integer of at least 2": [
        'sx.advice.guide_random_batches("10", 8, temperature=.5)',
        "theory.excluded_guideline(1, 2, 1, .5, .5)",
        "sx.balls.refute_summary_guideline(None, 2)",
        'sx.ClassStructure.balanced("2", 3)',
        'sx.Space(num_classes="3")',
        "sx.Space(num_classes=2.5)",
    ],
    "labels must be one for each embedding, as [0, 0, 1, 1]": [
        "sx.ClassStructure.from_labels(None)",
        "sx.ClassStructure.from_labels(3)",
        "sx.ClassStructure.from_labels([[1, 2], [3]])",
        "sx.audit(U, None, L)",
        "sx.training.predict_batch(None, alpha=.5, temperature=.5)",
        "sx.supcl_loss(U, None, alpha=.5, temperature=.5)",
        "sx.training.sincere_loss(U, None, temperature=.5)",
        'sx.supcl_loss(U, "aabb", alpha=.5, temperature=.5)',
    ],
    "labels must be one-dimensional and not empty": [
        "sx.ClassStructure.from_labels([])",
    ],
    "labels must not be missing, as row 1 is; give unlabelled rows a class of their own": [
        "sx.ClassStructure.from_labels([1, None, 2])",
    ],
    "labels must not be NaN, as row 0 is; give unlabelled rows a class of their own": [
        "sx.ClassStructure.from_labels([np.nan, np.nan, 1.0])",
    ],
    "view_order must be one of 'instance', 'view'": [
        'sx.audit(U, labels, L, view_order="rows")',
    ],
    "instance_ids must be one for each embedding": [
        "sx.audit(U, labels, L, instance_ids=[0, 1])",
    ],
    "unlabeled must be one of 'drop', 'keep'": [
        "sx.audit(U, labels, L, unlabeled=True)",
    ],
    "the loss must be one of supcl, supcon, simclr, nt-xent, infonce, dcl, sincere": [
        'sx.losses.named_loss("triplet", .1)',
        "sx.losses.named_loss(None, .1)",
    ],
    "cannot read the embeddings in no.npy": [
        'sx.advice.read_embeddings("no.npy")',
    ],
    "cannot read the labels in no.txt": [
        'sx.advice.read_labels("no.txt")',
    ],
    "structure must be a ClassStructure, as ClassStructure((5, 5, 5))": [
        "theory.orthogonal_thresholds((3, 2), .5)",
        "theory.collapse_margins((2, 2), [], .5)",
        "theory.collapse_criterion(L, None)",
        "theory.dataset_optimum(None, 5, .5, .5)",
        "sx.balls.enclose_minimum(U, None, L)",
        "sx.balls.enclose_loss(U, None, L)",
        "sx.balls.enclose_local_minimum(U, None, L)",
        "sx.Problem((2, 2), 3, L)",
        "sx.Problem(sx.ClassStructure, 3, L)",
        "sx.losses.check_convex(L, (2, 2), K)",
        "sx.geometry.block_gram((2, 2), 1, 1, 0)",
        "sx.geometry.ssem_gram((2, 2), .1)",
        "sx.geometry.ssem_embeddings(None, .1, 3)",
        "sx.geometry.variances(U, (2, 2))",
        "sx.geometry.variances_from_gram(U @ U.T, None)",
        "sx.geometry.class_means(U, None)",
        "sx.geometry.class_similarities(U @ U.T, 3)",
        "sx.geometry.distance_to_ssem(U, (2, 2))",
        "sx.geometry.full_dimension((2, 2))",
        "sx.certify_embeddings(U, None, L)",
        "sx.certificate.negative_direction(U, None, L)",
        "sx.certificate.dual_of_gram(G, None, L)",
        "sx.advice.collapse_thresholds(None, .5)",
        "sx.advice.collapse_thresholds((3, 2), .5)",
        'sx.Grid([(2, 2)], ["full"], [.5], [.5])',
        "sx.advice.guide_data_batches((2, 2), 4)",
        "sx.guide((2, 2))",
        "sx.guide(None)",
    ],
    "loss must be a GramLoss, as SupCL(0.5, 0.1)": [
        "sx.Problem(S, 3, plain)",
        "sx.Problem(S, 3, None)",
        'sx.Problem(S, 3, "SupCL")',
        "sx.losses.check_symmetric(None, S, K)",
        "sx.certificate.negative_direction(U, S, None)",
        "sx.certificate.dual_of_gram(G, S, None)",
        "sx.audit(U, labels, None)",
    ],
    "loss must be given its hyper-parameters, as SupCL(...)": [
        "sx.Problem(S, 3, sx.SupCL)",
        "sx.losses.check_convex(sx.SupCL, S, K)",
        "sx.certify_embeddings(U, S, sx.SupCL)",
        "sx.audit(U, labels, sx.SupCL)",
    ],
    "dim must be an integer of at least 1": [
        'sx.Problem(S, "full", L)',
        "sx.Problem(S, 2.5, L)",
        "sx.Problem(S, True, L)",
        "sx.geometry.simplex_etf(3, None)",
        'sx.geometry.ssem_embeddings(S, .1, "3")',
        'sx.Grid([S], ["fulll"], [.5], [.5]).problems()',
    ],
    "hyper-parameters may carry one common batch axis": [
        "sx.Problem(S, 3, sx.SupCL([.1, .2], [.1, .2, .3]))",
        "sx.Problem(S, 3, sx.SupCL(np.ones((2, 2)), .5))",
    ],
    "alpha must be a number or an array of numbers": [
        "theory.random_tau_c(2, 2, 1, 4, None)",
        "sx.losses.CrossModal(None, .5)",
        'sx.losses.ListedBatches("x", .5, [[0, 1]])',
        "theory.nonnegative_within(2, 2, 1, None, .5)",
        "theory.alpha_c_all(None, .5)",
        "theory.view_variance(2, 2, 1, None, .5)",
        "sx.SupCL(None, .5)",
        'sx.SupCL("0.5", .5)',
        "sx.SupCL(True, .5)",
        "sx.SupCL({}, .5)",
        "sx.SupCL([], .5)",
        "sx.SupCL([[.1], [.2, .3]], .5)",
        "sx.SupCL(K, .5)",
        'theory.delta2(2, 2, 1, "a", .5)',
        "theory.tau_c(2, 2, 1, None)",
        'sx.guide(S, "x")',
        "sx.supcl_loss(U, labels, alpha=None, temperature=.5)",
        'sx.supcl_loss(U, labels, alpha="x", temperature=.5)',
        'sx.training.predict_batch(labels, alpha="x", temperature=.5)',
        "sx.training.predict_batch(labels, alpha=None, temperature=.5)",
        "sx.supcl_loss(U, labels, alpha=None, temperature=.5)",
    ],
    "alpha must lie in [0, 1]": [
        "theory.random_delta2(2, 2, 1, 4, 2, .5)",
        "theory.random_loss(2, 2, 1, 4, 2, .5, None)",
        "theory.tau_v(2, 2, 1, 2)",
        "theory.majority_guideline(2, 2, 1, 2, .5)",
        "sx.SupCL(np.nan, .5)",
        "sx.Grid([S], [3], [None], [.5]).problems()",
    ],
    "temperature must be positive and finite": [
        "sx.SupCL(.5, -1)",
        "sx.SupCL(.5, np.inf)",
        "sx.losses.decoupled_contrast(0)",
        "sx.losses.NormFace(-1)",
        "sx.losses.TowerBatches(0, [[0, 1]])",
        "sx.losses.Spread(.5, np.nan)",
    ],
    "temperature must be a number or an array of numbers": [
        "theory.stratified_alpha_c(2, 2, 1, (2, 2), None)",
        'theory.stratified_alpha_v(2, 2, 2, (2, 2), "x")',
        "theory.nonnegative_alpha_c(2, 2, 1, None)",
        'theory.nonnegative_alpha_v(2, 2, 2, "x")',
        "theory.spread_alpha_c(2, 2, None)",
        "theory.summary_guideline(2, 2, 1, .5, None)",
        "theory.alpha_local(2, 2, 1, None)",
        'theory.loss(2, 2, 1, .5, "x")',
        "theory.alpha_v(2, 2, 1, None)",
        'sx.SupCL(.5, "x")',
        "sx.SupCL(.5, 1j)",
        "sx.losses.SupCon(None)",
        'sx.losses.SupCon("1")',
        'sx.losses.info_nce("x")',
        "sx.losses.info_nce(None)",
        "sx.losses.decoupled_contrast(True)",
        'sx.losses.Sincere("t")',
        "sx.losses.Sincere(None)",
        "sx.losses.SupConIn([])",
        "theory.alpha_c(2, 2, 1, None)",
        "theory.phase(2, 2, 1, .5, {})",
        'theory.power_guideline(2, 2, 1, .5, "x")',
        'sx.advice.collapse_thresholds(S, "x")',
        "sx.theory.two_class_threshold((3, 2), None)",
        "sx.theory.minority_collapse_ratio(2, None)",
        'sx.theory.minorities_can_merge(1, "x")',
        'sx.guide(S, None, "x")',
        "sx.guide(S, .5, True)",
    ],
    "self_pairs must be one of 'include', 'exclude', 'decouple'": [
        "sx.SupCL(.5, .5, None)",
        'sx.SupCL(.5, .5, ["include"])',
        "theory.delta2(2, 2, 1, .5, .5, self_pairs=None)",
        'sx.geometry.full_dimension(S, "maybe")',
        "sx.geometry.full_dimension(S, None)",
        "sx.supcl_loss(U, labels, alpha=.5, temperature=.5, self_pairs=None)",
    ],
    "mean must be one of 'pairs', 'anchors'": [
        "sx.SupCL(.5, .5, mean=3)",
        'sx.guide(S, delta2=None, mean="x")',
    ],
    "class_weights must be a number or an array of numbers": [
        "sx.losses.WeightedSupCL(.5, .5, None)",
        'sx.losses.WeightedSupCL(.5, .5, "12")',
    ],
    "class_weights must be nonnegative and finite": [
        "sx.losses.WeightedSupCL(.5, .5, (1, -1))",
    ],
    "pair weights must be a number or an array of numbers": [
        "sx.losses.SoftSupCon(.5, None)",
        'sx.losses.SoftSupCon(.5, "w")',
        "sx.losses.PairWeights([[1, 2], [3]])",
    ],
    "pair weights must be a square matrix (N, N)": [
        "sx.losses.SoftSupCon(.5, [[1, 2]])",
        "sx.losses.PairWeights(3)",
    ],
    "pair weights must be nonnegative and finite, or the loss is not convex": [
        "sx.losses.PairWeights([[np.nan]])",
    ],
    "bias must be a number or an array of numbers": [
        "sx.losses.Sigmoid(1, None)",
        'sx.losses.Sigmoid(1, "b")',
    ],
    "scale must be a number or an array of numbers": [
        "theory.sigmoid_optimum(3, None, 0)",
        "theory.spectral_optimum(2, 2, 1, .5, None)",
        "sx.losses.Spectral(.5, {})",
        'sx.losses.AlignUniform(1, "x")',
        "own(scale=None)",
        "own(scale=True)",
    ],
    "weight must be a number or an array of numbers": [
        "sx.losses.AlignUniform(None, 1)",
    ],
    "gram_loss makes a loss of a function": [
        "sx.gram_loss(3)",
        'sx.gram_loss("f")',
        "sx.gram_loss(sx.SupCL)",
    ],
    "convex must be True or False": [
        'sx.gram_loss(plain, convex="yes")',
    ],
    "symmetric must be True or False": [
        "sx.gram_loss(plain, symmetric=1)",
    ],
    "check must be a function of a ClassStructure": [
        "sx.gram_loss(plain, check=3)",
    ],
    "<lambda> must take (gram, structure, *, parameters...), each parameter": [
        "sx.gram_loss(lambda x: x, convex=True)",
    ],
    "key must be one JAX random key, as jax.random.key(0), or a seed": [
        "sx.losses.check_convex(L, S, None)",
        'sx.losses.check_symmetric(L, S, "key")',
        'sx.geometry.simplex_etf(3, 2, "key")',
        "sx.solve(P, None)",
        'sx.solve(P, "0")',
        "sx.solve(P, 1.5)",
        "sx.solve(P, -1)",
        "sx.solve(P, True)",
        "sx.solve(P, jax.random.split(K))",
        'sx.certify(SOL, "key")',
        'sx.audit(U, labels, L, key="k")',
    ],
    "num_pairs must be an integer of at least 1": [
        "sx.losses.check_convex(L, S, K, 0)",
        'sx.losses.check_convex(L, S, K, "2")',
    ],
    "num_points must be an integer of at least 2": [
        'sx.geometry.simplex_etf("3", 2)',
        "sx.geometry.simplex_etf(3.5, 3)",
    ],
    "view must be a number or an array of numbers": [
        "sx.geometry.block_gram(S, None, 1, 0)",
    ],
    "within must be a number or an array of numbers": [
        'sx.geometry.block_gram(S, 1, "x", 0)',
    ],
    "within must be one number or of shape (2,)": [
        "sx.geometry.block_gram(S, 1, [1, 1, 1], 0)",
    ],
    "delta2 must be a number or an array of numbers": [
        'theory.random_alpha_for_delta2(2, 2, 1, 4, "x", .5)',
        "sx.geometry.ssem_gram(S, None)",
        'sx.geometry.ssem_gram(S, "0")',
        "theory.alpha_for_delta2(2, 2, 1, None, .5)",
        'theory.alpha_for_delta2(2, 2, 1, "x", .5)',
        'sx.guide(S, delta2="x")',
    ],
    "delta2 must lie in [0, 1] for 2 classes × 2": [
        "sx.geometry.ssem_gram(S, -1)",
    ],
    "delta2 must be one number": [
        "sx.geometry.ssem_gram(S, [0.1, 0.2])",
    ],
    "embeddings must be a number or an array of numbers": [
        "sx.geometry.variances(None, S)",
        'sx.geometry.variances("u", S)',
        "sx.geometry.class_variances(None, S)",
        'sx.certify_embeddings("u", S, L)',
        "sx.certify_embeddings(None, S, L)",
        'sx.audit("u", labels, L)',
        "sx.audit(None, labels, L)",
        "sx.supcl_loss(None, labels, alpha=.5, temperature=.5)",
        'sx.supcl_loss("x", labels, alpha=.5, temperature=.5)',
        "sx.training.batch_variances(None, labels)",
    ],
    "has 4 embeddings, one per row": [
        "sx.geometry.variances(U[:3], S)",
        "sx.geometry.class_mean_cosines(3, S)",
    ],
    "the Gram matrix must be a number or an array of numbers": [
        "sx.geometry.block_similarities(None, S)",
        "sx.geometry.fit_delta2(None, S)",
    ],
    "num_classes must be a number or an array of numbers": [
        'theory.alpha_c_limit("2", 2, 1)',
        'theory.alpha_c("2", 2, 1, .5)',
    ],
    "num_instances must be an integer of at least 1": [
        'theory.cross_modal_window(2, "2", .5)',
        "theory.similarities(2, 2.5, 1, .5, .5)",
        "theory.alpha_c(2, 2.5, 1, .5)",
    ],
    "num_views must be a number or an array of numbers": [
        "theory.alpha_c(2, 2, True, .5)",
    ],
    "problem must be a Problem(structure, dim, loss)": [
        "sx.balls.least_in_dimension(None)",
        "sx.landscape([None], K)",
        "sx.certificate.certify_program(L)",
        "sx.solve(L, K)",
        "sx.solve([P], K)",
        "sx.solve(None, K)",
        "sx.certificate.certify_blocks(S, None)",
        "sx.certificate.solve_reduced(None)",
        "sx.certificate.solve_reduced(S)",
        "sx.sweep(None)",
        "sx.sweep([S])",
        'sx.sweep("P")',
    ],
    "num_starts must be an integer of at least 1": [
        "sx.solve(P, K, num_starts=0)",
        'sx.solve(P, K, num_starts="2")',
        "sx.sweep([P], num_starts=0)",
    ],
    "progress must be a function of a number": [
        "sx.solve(P, K, progress=3)",
        "sx.sweep([P], progress=3)",
    ],
    "a problem has no embeddings yet; solve first: certify(solve(problem,": [
        "sx.certify(P)",
    ],
    "certificate must be": [
        'sx.export(P, "cell.json")',
        "sx.export(None, 3)",
    ],
    "path must be the name of a file": [
        "sx.export(CERT, 3)",
    ],
    "solution must be what solve(problem, key) returns": [
        "sx.certify(None)",
        "sx.certify([SOL])",
        "sx.certify(CERT)",
    ],
    "reference must be a Certificate of the same problem": [
        "sx.certify_embeddings(U, S, L, SOL)",
    ],
    "every embedding must be finite and not zero; row 0 is not finite": [
        "sx.certify_embeddings(U * np.nan, S, L)",
    ],
    "similarities must be a Similarities(view, within, between)": [
        "sx.geometry.variances_of((1, 1, 0), 2, 2, 1)",
        "sx.certificate.certify_blocks(P, None)",
        "sx.certificate.certify_blocks(P, (1, 1, 0))",
    ],
    "temperature must be one number; got [0.5, 0.6]": [
        "sx.advice.collapse_thresholds(S, [.5, .6])",
    ],
    "object of type 'int' has no len()": [
        "sx.theory.two_class_threshold(3, .5)",
    ],
    "every class size must be an integer of at least 2": [
        'sx.theory.two_class_threshold((3, "2"), .5)',
    ],
    "unsupported operand type(s) for /: 'int' and 'list'": [
        "sx.theory.two_class_threshold((3, 2), [.1, .2])",
    ],
    "num_minorities must be an integer of at least 2": [
        'theory.majority_cosine("2", 2, .5)',
        'sx.theory.minority_collapse_ratio("2", .5)',
    ],
    "num_majorities must be an integer of at least 1": [
        "sx.theory.minorities_can_merge(None, .5)",
    ],
    "structures must be a list of values": [
        'sx.Grid(None, ["full"])',
    ],
    "dims must be a list of values": [
        "sx.Grid([S], None, [.5], [.5])",
    ],
    "could not convert string to float: 'a'": [
        'sx.Grid([S], [3], ["a"], [.5]).problems()',
    ],
    "alphas must not be empty; give at least one value.": [
        "sx.Grid([S], [3], [], [.5]).problems()",
    ],
    "the loss of a grid must be a class of losses, as SupCL": [
        "sx.Grid([S], [3], [.5], [.5], loss=L)",
        'sx.Grid([S], [3], [.5], [.5], loss="SupCL")',
    ],
    "hyper must be a dict of lists, as {'scale': [1, 10]}": [
        "sx.Grid([S], [3], hyper=3)",
    ],
    "temperatures must be a list of values": [
        "sx.Grid([S], [3], [.5], {})",
    ],
    "executor must be one of 'threads', 'processes', 'dask'": [
        'sx.sweep([P], executor="fibers")',
    ],
    "executor must have the interface of concurrent.futures.Executor, or be": [
        "sx.sweep([P], executor=3)",
        "sx.sweep([P], executor=sx.compute.Processes)",
    ],
    "seed must be an integer of at least 0": [
        'sx.sweep([P], seed="0")',
        "sx.sweep([P], seed=-1)",
        "sx.sweep([P], seed=1.5)",
        "sx.sweep([P], seed=None)",
        'sx.verify([C], seed="0")',
        'sx.claims.excess(sx.claims.Cells(T), seed="x")',
    ],
    "witness must be one of 'solve', 'certificate'": [
        "sx.sweep([P], witness=None)",
    ],
    "a run needs the name of a folder, as 'runs/first'": [
        'sx.sweep([P], out="")',
        "sx.sweep([P], out=3)",
        'sx.read_run("")',
        "sx.read_run(None)",
        "sx.read_run(3)",
        'sx.verify([C], out="")',
    ],
    "num_workers must be an integer of at least 1": [
        'sx.compute.Processes("2")',
        "sx.compute.Processes(0)",
        "sx.compute.Processes(True)",
    ],
    "alpha must be one number": [
        "sx.guide(S, [.1, .2])",
    ],
    "names must be one for each of the 2 classes": [
        'sx.guide(sx.ClassStructure((3, 2)), names=("a",))',
        "sx.guide(sx.ClassStructure((3, 2)), names=3)",
    ],
    "labels must be one integer for each of the 4 embeddings": [
        "sx.supcl_loss(U, [0, 1], alpha=.5, temperature=.5)",
        "sx.training.batch_variances(U, jnp.ones(4))",
    ],
    "alpha and temperature must be numbers here": [
        "sx.supcl_loss(U, labels, alpha=[.1, .2], temperature=.5)",
    ],
    "block_size must be an integer of at least 1": [
        "sx.supcl_loss(U, labels, alpha=.5, temperature=.5, block_size=0)",
    ],
    "decay must be a number or an array of numbers": [
        'sx.training.BatchMonitor("x")',
        "sx.training.BatchMonitor(None)",
    ],
    "decay must lie in [0, 1)": [
        "sx.training.BatchMonitor(1.0)",
    ],
    "variances must be what batch_variances returns": [
        "sx.training.BatchMonitor().update(None)",
    ],
    "alpha must be one number on the host": [
        "sx.training.predict_batch(labels, alpha=[.1, .2], temperature=.5)",
    ],
    "instance_ids must be one integer for each of the 4 embeddings": [],
    "class_ids must be one integer for each of the 4 embeddings": [],
    "low of a range must be a number or an array of numbers": [
        "sx.Range(None, 1)",
        "sx.Range(True, 2)",
    ],
    "high of a range must be a number or an array of numbers": [
        'sx.Range(0, "1")',
    ],
    "a range needs finite ends low < high": [
        "sx.Range(1, 0)",
        "sx.Range(0, np.inf)",
    ],
    "low of a range must be one number": [
        "sx.Range([0, 1], 2)",
    ],
    "a logarithmic range needs positive ends": [
        "sx.Range(0, 1, log=True)",
    ],
    "log of a range must be True or False": [
        'sx.Range(.1, 1, log="yes")',
    ],
    "the loss of a space must be a loss class, or a function that makes a": [
        "sx.Space(loss=None)",
        "sx.Space(loss=L)",
        'sx.Space(loss="SupCL")',
    ],
    "num_classes must be a value or a list of values": [
        "sx.Space(num_classes={})",
    ],
    "num_classes must not be empty; give at least one value.": [
        "sx.Space(num_classes=[])",
    ],
    'dim, where it is not "full" or a function, must be an integer of at': [
        'sx.Space(dim="half")',
        "sx.Space(dim=0)",
    ],
    "where must be a function of cells": [
        "sx.Space(where=3)",
    ],
    "SupCL has no hyper-parameter 'beta'; it has alpha, temperature,": [
        "sx.Space(beta=1)",
    ],
    "size must be one of 'quick', 'default', 'full'": [
        'sx.Space().problems("huge")',
        'sx.claims.Domain((sx.Grid([S], [3], [.5], [.5]),)).problems("huge")',
        'sx.verify([C], size="huge")',
    ],
    "SupCL refuses a value of the space: ": [
        "sx.Space(alpha=None)",
        'sx.Space(alpha="x")',
        'sx.Space(alpha=[.5, "x"])',
        "sx.Space(alpha=2)",
        "sx.Space(alpha=(0, 2))",
        "sx.Space(alpha=sx.Range(0, 2))",
        "sx.Space(temperature=0)",
        'sx.Space(self_pairs="maybe")',
        "sx.Space(self_pairs=True)",
    ],
    "every grid must be a Grid": [
        "sx.claims.Domain(None)",
        'sx.claims.Domain("grid")',
    ],
    "the cells of a budget must be an integer of at least 1": [
        "sx.claims.Budget(0)",
        'sx.claims.Budget("x")',
        "sx.claims.Budget(None)",
        "sx.claims.Budget(2.5)",
        "sx.search(C, budget=None)",
        "sx.search(C, budget=-1)",
    ],
    "the seconds of a budget must be positive": [
        "sx.claims.Budget(10, 0)",
        "sx.claims.Budget(10, np.nan)",
    ],
    "the seconds of a budget must be a number or an array of numbers": [
        'sx.claims.Budget(10, "60s")',
    ],
    "a budget is a number of cells, of seconds, or both: 2000 or 60s or": [
        'sx.claims.Budget.parse("infs")',
        'sx.claims.Budget.parse("10,10,10")',
        'sx.claims.Budget.parse("")',
        'sx.claims.Budget.parse("-3")',
        'sx.claims.Budget.parse("nans")',
    ],
    "a budget must be a text, as '2000,60s'": [
        "sx.claims.Budget.parse(3)",
    ],
    "a claim's name must be up to 100 letters, digits, underscores or": [
        'sx.Claim("", "s", M, SP)',
        'sx.Claim("../../evil", "s", M, SP)',
        'sx.Claim("a/b", "s", M, SP)',
        'sx.Claim("a\\nb", "s", M, SP)',
        'sx.Claim("x" * 300, "s", M, SP)',
        'sx.Claim(None, "s", M, SP)',
        'sx.Claim("..", "s", M, SP)',
    ],
    "the statement of a must be a text": [
        'sx.Claim("a", None, M, SP)',
    ],
    "a: its margin must be a function": [
        'sx.Claim("a", "s", None, SP)',
        'sx.Claim("a", "s", 3, SP)',
    ],
    "a: its domain must be a Space or a Domain": [
        'sx.Claim("a", "s", M, None)',
        'sx.Claim("a", "s", M, sx.Space)',
        'sx.Claim("a", "s", M, P)',
        'sx.Claim("a", "s", M, sx.Grid([S], [3], [0], [1]))',
    ],
    "the expected verdict of a must be one of 'HOLDS', 'PROVEN', 'REFUTED',": [
        'sx.Claim("a", "s", M, SP, expected="maybe")',
        'sx.Claim("a", "s", M, SP, expected=True)',
    ],
    "a: its where must be a function": [
        'sx.Claim("a", "s", M, SP, where=3)',
    ],
    "a: its exclude must be a function": [
        'sx.Claim("a", "s", M, SP, exclude="x")',
    ],
    "a: along must be a text": [
        'sx.Claim("a", "s", M, SP, along=3)',
    ],
    "a: window must be an integer of at least 1": [
        'sx.Claim("a", "s", M, SP, window="2")',
        'sx.Claim("a", "s", M, SP, window=0)',
    ],
    "a: quantity must be a text": [
        'sx.Claim("a", "s", M, SP, quantity=None)',
    ],
    "a: source must be a text": [
        'sx.Claim("a", "s", M, SP, source=None)',
    ],
    "claim must be a Claim or a Theorem": [
        "sx.search(None)",
        "sx.search([C])",
    ],
    "source must be a search.Source": [
        "sx.search(C, 20, source=3)",
    ],
    "two claims are called c; rename one.": [
        "sx.verify([C, C])",
    ],
    "every claim must be a Claim": [
        "sx.verify(None)",
    ],
    "every theorem must be a Theorem": [
        "sx.verify([], theorems=[C])",
    ],
    "table must be a table of ssem_jax.sweep": [
        "sx.claims.propose(None)",
        "sx.claims.as_claims([], None)",
        "sx.claims.outcomes(C, None)",
        "sx.claims.weigh(C, None)",
        "sx.sweeps.summarize(None)",
        'sx.sweeps.filtered(None, "n == 2")',
        "sx.sweeps.joined([None])",
        'sx.show.draw_run(None, "phase", "x.png")',
        "sx.show.phase_diagram(None, None)",
        "sx.show.draw_phases(None)",
        "sx.show.draw_slices(None)",
        "sx.show.panels(None)",
        "sx.claims.judge(C, None)",
        "sx.claims.Cells(None)",
    ],
    "first must be a table of ssem_jax.sweep": [
        "sx.sweeps.compare(None, T)",
    ],
    "second must be a table of ssem_jax.sweep": [
        "sx.sweeps.compare(T, None)",
    ],
    "where must be a condition such as": [
        "sx.sweeps.filtered(T, None)",
        "sx.sweeps.filtered(T, 3)",
    ],
    "is no condition on cells": [
        'sx.sweeps.filtered(T, "")',
        'sx.sweeps.filtered(T, "n = 2")',
    ],
    "give at least one table to join": [
        "sx.sweeps.joined([])",
    ],
    "claim must be a Claim": [
        "sx.claims.predict(None, T)",
        "sx.claims.judge(None, T)",
    ],
    "cells must be Cells of a table": [
        "sx.claims.attained(None)",
        "sx.claims.attainment(T)",
        "sx.claims.excess(T)",
        "sx.claims.excess_in_dimension(T)",
        "sx.claims.standings(T)",
    ],
    "claimed must be a boolean for each of 1 cells": [
        'sx.claims.attained(sx.claims.Cells(T), "x")',
    ],
    "loss must be a loss, as SupCL(0.5, 0.1)": [
        "theory.delta2(S, None)",
        "theory.delta2(S, sx.SupCL)",
        "theory.view_variance(S, 0.5)",
    ],
    "a stratified batch must be (classes, instances of each), as (10, 4); got 4": [
        "theory.stratified_alpha_c(2, 2, 1, 4, .5)",
    ],
    "a batch holds at most the classes and instances that there are; got 3 × 3 of 2 × 2": [
        "theory.stratified_alpha_v(2, 2, 2, (3, 3), .5)",
    ],
    "a batch must be an integer of at least 2": [
        "theory.random_alpha_c(2, 2, 1, 1, .5)",
        'theory.random_alpha_c(2, 2, 1, "4", .5)',
        'sx.losses.RandomBatches(.5, .5, "4")',
        "sx.balls.prove_random(None)",
    ],
    "contrasts must be a list of terms of ssem_jax.losses.kinds.Contrast": [
        "theory.collapse_margins(S, None, .5)",
    ],
    "batches must be a list of batches, as [[0, 1, 2], [0, 3, 4]]": [
        "theory.coverage_imbalance(3, None, .5)",
    ],
    "batch must be (classes, instances of each), as (10, 5)": [
        "sx.losses.StratifiedBatches(.5, .5, 6)",
    ],
    "contrasts must be a list of ssem_jax.losses.Contrast(share, against, positives)": [
        "sx.losses.KindContrast(.5, None)",
    ],
    "a batch must be two or more different indices below 3": [
        "theory.coverage_imbalance(3, [[0, 0]], .5)",
        "theory.coverage_imbalance(3, [[0, 7]], .5)",
        "theory.coverage_imbalance(3, [3], .5)",
    ],
    "theory.delta2 takes numbers, or a structure and a loss and more by its": [
        "theory.delta2(S)",
        "theory.delta2(S, L, 3)",
    ],
    "theory.alpha_c is of SupCL; got Sigmoid. Use solve and certify.": [
        "theory.alpha_c(S, sx.losses.Sigmoid(1, 0))",
    ],
    "theory.phase is of classes of equal size; got sizes (2, 3). Use": [
        "theory.phase(sx.ClassStructure((2, 3)), L)",
    ],
    "ratio must be a number or an array of numbers": [
        "theory.majority_cosine(2, None, .5)",
    ],
    "the expectation needs num_views of at least 2": [
        "theory.dataset_optimum(S, 5, .5, .5)",
    ],
    "SupConIn is not declared convex and symmetric": [
        "theory.collapse_criterion(sx.losses.SupConIn(.5), S)",
    ],
    "num_pairs must be an integer of at least 3": [
        "theory.sigmoid_optimum(2, 1, 0)",
    ],
    'a ball is made of a number, a fraction or a decimal as "0.1"': [
        'sx.balls.to_ball("x")',
        'sx.balls.code_bound(3, 2, "x")',
        "sx.balls.to_ball(None)",
        "sx.balls.enclose_closed_form(2, 2, 1, None, .5)",
        'sx.balls.enclose_delta2(2, 2, 1, .5, "x")',
        "sx.balls.enclose_peak(2, 2, 1, None)",
        "sx.balls.prove_phase(2, 2, 1, None, .5)",
        "sx.balls.prove_guideline_on_box(None, 2)",
    ],
    "ball enclosures are written for SupCL": [
        "sx.balls.enclose_minimum(U, S, None)",
    ],
    "phase must be COLLAPSE, SPREAD or VIEW_SPREAD": [
        'sx.balls.prove_boundary("collapse", 3, 4)',
    ],
    "num_classes must range from 2": [
        "sx.balls.prove_boundary(sx.Phase.COLLAPSE, 1, 4)",
        "sx.balls.prove_monotone_in_alpha(1, 2)",
        "sx.balls.prove_not_monotone_in_temperature(1, 2)",
        "sx.balls.prove_unimodal_in_temperature(1, 2, 1, (0, .5))",
        "sx.balls.prove_unique_optimum(1, 2, 1)",
    ],
    "self_pairs must be one of 'include', 'exclude'; got ": [
        'sx.balls.prove_guideline("maybe")',
        "sx.balls.prove_small_mixing_collapses(None)",
    ],
    "a box needs at least one variable; got none.": [
        "sx.balls.prove_on_box(None, None)",
    ],
    "a: its proof must be a function": [
        'sx.claims.Theorem("a", "s", None)',
    ],
    "the claim of a statement must be a Claim or a Theorem": [
        'sx.claims.Statement(None, "abstract")',
    ],
    "a picture's across must be a text": [
        'sx.claims.Picture(None, "y", "c", lambda places: [])',
    ],
    "what was read of a2020 must be one of": [
        'sx.claims.Paper("a2020", "t", ("A",), 2020, "i", "v", "all", "r", (), ())',
    ],
    "every module must be a module": [
        "sx.claims.collect_papers(None)",
        "sx.claims.collect_papers([3])",
    ],
    "theorem must be a Theorem": [
        "sx.claims.judge_theorem(C)",
    ],
    "phases are compared as codes, such as cell.phase and sx.Phase.COLLAPSE": [
        "sx.claims.same_phase(None, None)",
    ],
    "the ends of an interval are numbers low <= high": [
        "sx.claims.decided(None, None)",
    ],
    "an interval has real numbers as ends": [
        'sx.claims.Interval("a")',
    ],
    "nowhere.py is no Python file; give a file that defines conjectures.": [
        'sx.claims.run_file("nowhere.py")',
    ],
    "variances must be a Variances(view, delta2, between, mean_squared)": [
        "sx.geometry.similarities_of(None, 2, 2, 1)",
    ],
    "a run can be drawn as phase, gap, slices": [
        'sx.show.draw_run(T, "maybe", "x.png")',
    ],
    "a figure is saved as .png, .svg, .pdf": [
        'sx.show.save(None, "x.txt")',
    ],
    "weights of Ridge must be one number; got [1, 2]": ["sx.losses.Ridge([1, 2], 1)"],
    "weights of Budget must be positive and finite; got 0": ["sx.losses.Budget(0, 1)"],
    "features of Balls must be positive and finite; got -1": ["sx.losses.Balls(1, -1)"],
    "temperature of Unit must be positive and finite; got 0": ["sx.losses.Unit(0)"],
    "norms must be Ridge(λ_W, λ_H), Budget, Balls or Unit(τ); got 1": [
        "sx.losses.CrossEntropy(1)",
        "sx.losses.SquaredError(1)",
    ],
    "smoothing must lie in [0, 1); got 1": [
        "sx.losses.CrossEntropy(sx.losses.Unit(.5), smoothing=1)",
        "sx.theory.balanced_ridge(3, 4, .1, .1, 1)",
    ],
    "scale must be positive and finite; got 0": ["sx.theory.simplex_cross_entropy(3, 0)"],
    "num_samples must be an integer of at least 1; got 0": ["sx.theory.merged_size(0, .1, .1)"],
    "size must be an integer of at least 1; got 0": ["sx.theory.ridge_margin(0, 12, .1, .1)"],
    "loss must be a CrossEntropy or SquaredError(norms=Ridge(λ_W, λ_H)); got 1": [
        "sx.solver.minimise_features(1, (4, 4), 3, 0)",
        "sx.certificate.solve_features(1, (4, 4))",
        "sx.training.LastLayerMonitor(1, (4, 4))",
    ],
    "there must be at least 2 classes; got 1": [
        "sx.certificate.solve_features(sx.losses.CrossEntropy(sx.losses.Unit(.5)), (4,))",
    ],
    "with a ridge classes of n samples merge iff": [
        "sx.certificate.minority_threshold(sx.losses.CrossEntropy(sx.losses.Ridge(.1, .1)), 2, 2)",
    ],
    "weights must be (K, d) and features (N, d); got shapes (3, 3) and (2, 2)": [
        "sx.advice.audit_classifier(np.eye(3), np.eye(2), [0, 1])",
    ],
}
"""What a message says → the calls that it answers."""


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_no_argument_is_refused_in_one_line(message, names):
    for call in REFUSED[message]:
        with pytest.raises((ValueError, TypeError)) as refused:
            eval(call, dict(names))
        told = str(refused.value)
        assert message in told, call
        assert "\n" not in told, call
        assert len(told) < LONGEST, call


MEANT = {
    'sx.ClassStructure("10,10,10")': "sx.ClassStructure((10, 10, 10))",
    'sx.ClassStructure("8, 4,2", 2)': "sx.ClassStructure((8, 4, 2), 2)",
    "sx.ClassStructure(jnp.array([2, 3]))": "sx.ClassStructure((2, 3))",
    "sx.ClassStructure(np.array([2, 3]), np.array(2))": "sx.ClassStructure((2, 3), 2)",
    "sx.ClassStructure.balanced(2.0, 3)": "sx.ClassStructure((3, 3))",
    "sx.SupCL([.1, .2], .5)": "sx.SupCL(np.array([.1, .2]), .5)",
    "sx.SupCL((.1, .2), [.5, 1])": "sx.SupCL(np.array([.1, .2]), np.array([.5, 1]))",
    "sx.losses.SupCon([.1, .2])": "sx.losses.SupCon(np.array([.1, .2]))",
    "sx.losses.WeightedSupCL([0, .5], .5, [1, 2])": (
        "sx.losses.WeightedSupCL(np.array([0, .5]), .5, (1.0, 2.0))"
    ),
    "sx.losses.Sigmoid([1, 2], 0)": "sx.losses.Sigmoid(np.array([1, 2]), 0)",
    "sx.losses.info_nce([.1, .2])": "sx.losses.info_nce(np.array([.1, .2]))",
    "own(scale=[1, 2])": "own(scale=np.array([1, 2]))",
    "sx.Problem(S, 3, sx.SupCL([.1, .2], .5)).batch_size": "2",
    "sx.Problem(S, 3.0, L)": "P",
    "sx.solve(P, 0).embeddings": "SOL.embeddings",
    "sx.solve(P, jax.random.PRNGKey(0)).embeddings": "SOL.embeddings",
    "sx.certify(SOL, 7).gap": "CERT.gap",
    "sx.geometry.simplex_etf(3, 2, 0)": "sx.geometry.simplex_etf(3, 2, K)",
    "sx.certify_embeddings(U.tolist(), S, L).value": "sx.certify_embeddings(U, S, L).value",
    "sx.geometry.variances(U.tolist(), S)": "sx.geometry.variances(U, S)",
    "sx.geometry.variances_from_gram(G.tolist(), S)": "sx.geometry.variances_from_gram(G, S)",
    "sx.geometry.class_mean_cosines(U.tolist(), S)": "sx.geometry.class_mean_cosines(U, S)",
    "sx.geometry.fit_delta2(G.tolist(), S)": "sx.geometry.fit_delta2(G, S)",
    "sx.supcl_loss(U.tolist(), labels.tolist(), alpha=.5, temperature=.5)": (
        "sx.supcl_loss(U, labels, alpha=.5, temperature=.5)"
    ),
    "sx.training.batch_variances(U.tolist(), labels.tolist())": (
        "sx.training.batch_variances(U, labels)"
    ),
    'sx.training.batch_variances(U, ["a", "a", "b", "b"])': (
        "sx.training.batch_variances(U, labels)"
    ),
    'sx.audit(U.tolist(), list("aabb"), L, key=0).optimal': "True",
    'len(sx.Grid(S, "full", .5, [.5, 1]).problems())': "1",
    'sx.Grid(S, 3, .5, .5, "exclude").self_pairs': '("exclude",)',
    "sx.sweep(P).equals(T)": "True",
    "sx.sweep(sx.Grid(S, 3, .5, .5)).equals(T)": "True",
    'sx.sweep([P], executor="threads").equals(T)': "True",
    'sx.Space(sizes="8,4,2").structures': "[sx.ClassStructure((8, 4, 2))]",
    'sx.Space(sizes=["3,2", (4, 2)]).structures': (
        "[sx.ClassStructure((3, 2)), sx.ClassStructure((4, 2))]"
    ),
    'sx.claims.Domain(sx.Grid(S, 3, .5, .5)).problems("full")[0].structure': "S",
    "sx.claims.Budget(200.0)": "sx.claims.Budget(200)",
    'sx.claims.Budget.parse("1e3, 60s")': "sx.claims.Budget(1000, 60)",
    "sx.search(C, budget=200).judgement.verdict": (
        "sx.search(C, sx.claims.Budget(200)).judgement.verdict"
    ),
    'sx.search(C, budget="60s").judgement.verdict': "sx.Verdict.HOLDS",
    'sx.Claim("a", "s", M, SP, expected="HOLDS").expected': "sx.Verdict.HOLDS",
    "sx.verify(C).judgements[0].verdict": "sx.Verdict.HOLDS",
}
"""Calls that are understood → what they mean."""


@pytest.mark.parametrize("call", MEANT)
def test_what_is_obviously_meant_works(call, names):
    found, meant = (eval(text, dict(names)) for text in (call, MEANT[call]))
    assert type(found) is type(meant)
    for one, other in zip(*map(jax.tree.leaves, (found, meant)), strict=True):
        assert np.array_equal(one, other)
    assert str(jax.tree.structure(found)) == str(jax.tree.structure(meant))


ROOMS = [
    room
    for room in dir(sx)
    if isinstance(module := getattr(sx, room), ModuleType) and module.__name__ == f"ssem_jax.{room}"
]
TOOLS = {
    "problem": "every check of input itself; the other rooms trust what passed",
    "compute": "schedulers of kernels, which get what was checked",
    "later": "how packages wait for their names",
    "cli": "the command line, whose doors are options; imported by whoever runs it",
    "geometry": {"inner", "largest_delta2", "multiplicities", "normalize", "product", "project"}
    | {"random_points", "rank_in", "rescaled", "retract"},  # plain arithmetic
    "losses": {"ClassContrast", "GramLoss", "PreparedLoss"},  # to derive from
    "certificate": {"decide_phase"},  # of brackets
    "claims": {"Plane", "Proof", "collect", "collect_theorems", "equal"},  # tested with the claims
    "sweeps": {"num_cells"},
    "balls": {"float_above", "float_below", "instance_margin", "is_positive_definite"}
    | {"prove_temperature_slope", "view_margin", "working_precision"}  # of balls
    | {"prove_nonnegative", "prove_spread", "prove_stratified", "prove_window"}  # of nothing
    | {"prove_merging", "prove_simplex_features", "prove_squared_error"}  # likewise
    | {"prove_zero"},  # of a function
    "show": {"animate", "axis", "bracket_widths", "cell_edges", "color_bar", "draw_gaps", "gap_map"}
    | {
        "draw_guide",
        "draw_margins",
        "draw_outcomes",
        "draw_paper",
        "gram",
        "house_style",
        "inline_svg",
    }
    | {"new_figure", "outcome_map", "phase_legend", "plain", "plain_log_ticks", "series", "short"}
    | {"slice_panel", "slice_table", "slice_values", "sphere", "with_parts", "write_numbers"}
    | {"boundary_table", "draw_landscape"},  # parts of pictures, which draw what a table says
}
"""Room → what of it is no door, and why not: a reason for all of it, or the names."""


def offered(room):
    """The functions and classes that a room offers; those that are results and errors left out."""
    module = getattr(sx, room)
    names = [name for names in getattr(module, "FILES", {}).values() for name in names]
    values = {name: getattr(module, name) for name in {*names, *dir(module)}}
    for name, value in values.items():
        known = getattr(value, "__module__", "").startswith("ssem_jax")
        if name.startswith("_") or not (isinstance(value, type | FunctionType) and known):
            continue
        result = isinstance(value, type) and issubclass(value, Exception | tuple | enum.Enum)
        if not result and name not in RESULTS:
            yield name


RESULTS = {"Audit", "BoxProof", "Certificate", "Enclosure", "Equality", "Guide", "Judgement"}
RESULTS |= {"Peak", "PhaseProof", "ReducedSolution", "Report", "Slice", "Solution", "Trial"}
RESULTS |= {"CodeBound", "DataGuide", "Interval", "Landscape", "Proposal", "RandomGuide"}
RESULTS |= {"FeatureBrackets", "LocalMinimum"}
RESULTS |= {"ClassifierAudit", "FeatureOptimum", "UnbalancedGuide"}
"""Classes that functions return, and that nobody makes."""


def test_there_are_many_doors():
    assert sum(map(len, REFUSED.values())) + len(MEANT) > 300
    doors = " ".join(call for calls in REFUSED.values() for call in calls)
    assert {"theory", "claims", "show", "balls"} <= set(ROOMS)
    for room in ROOMS:
        if isinstance(TOOLS.get(room), str):
            continue
        untried = {name for name in offered(room) if not re.search(rf"\b{name}\(", doors)}
        assert untried == TOOLS.get(room, set()), room
    faces = {name for name in sx.__all__ if not re.search(rf"\b{name}\(", doors)}
    # Values of a margin are tested with the claims; the others are enumerations and results.
    assert faces - RESULTS == {"GramLoss", "Phase", "Status", "Verdict", "equal"}
