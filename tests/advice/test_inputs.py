"""Embeddings and labels as they come: a table of inputs, before there was one reader and now."""

import io
import json
import re
import struct
import zipfile
from typing import Any

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import ssem_jax as sx
from ssem_jax.advice.files import embeddings_in, labels_in
from ssem_jax.advice.inputs import classify, read_batch
from ssem_jax.cli import main
from ssem_jax.problem.labels import as_labels

ROWS = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
PAIRS = ROWS.reshape(4, 2, 3)
NAMES = ["cat", "dog", "cat", "dog", "cat", "dog", "cat", "cat"]
HALVES = [0, 0, 0, 0, 1, 1, 1, 1]


def lines(labels, end="\n"):
    return end.join(map(str, labels)) + end


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def parquet(**columns):
    stream = io.BytesIO()
    pl.DataFrame(columns).write_parquet(stream)
    return stream.getvalue()


def safetensors(dtype, shape, data, claimed=None):
    entry = {"dtype": dtype, "shape": claimed or shape, "data_offsets": [0, len(data)]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "e": entry}).encode()
    return struct.pack("<Q", len(header)) + header + data


def torch_archive():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    return stream.getvalue()


def promising(rows):
    """An array whose header promises more than follows."""
    stream = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, 128)}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + bytes(512)


CAT_AND_DOG = "2 classes: 'cat' × 5, 'dog' × 3"
ZERO_AND_ONE = "2 classes: 0 × 4, 1 × 4"

LABEL_FILES = [
    # ending, what is in the file, what was made of it before, what is now
    ("txt", lines(NAMES), "the same", CAT_AND_DOG),
    ("txt", lines(NAMES, "\r\n"), "the same", CAT_AND_DOG),
    ("txt", "\ufeff" + lines(NAMES), "'\\ufeffcat', a third class", CAT_AND_DOG),
    ("txt", lines(NAMES).encode("utf-16"), "cannot be decoded", CAT_AND_DOG),
    ("txt", lines(f'"{name}"' for name in NAMES), "the quotes in the names", CAT_AND_DOG),
    ("txt", lines(f"{name} " for name in NAMES), "the same", CAT_AND_DOG),
    (
        "txt",
        lines(f"big {name}" for name in NAMES),
        "16 labels: every word one",
        "2 classes: 'big cat' × 5, 'big dog' × 3",
    ),
    ("txt", lines(HALVES), "texts", ZERO_AND_ONE),
    ("txt", lines(f"{label:.18e}" for label in HALVES), "texts in this form", ZERO_AND_ONE),
    ("txt", lines(["01", "1", "01", "1"]), "the same", "2 classes: '01' × 2, '1' × 2"),
    ("txt", lines(["1_0", "10"]), "the same", "2 classes: '10' × 1, '1_0' × 1"),
    ("txt", "cat\n\ndog\n", "2 labels", "of 3 labels row 1 is empty; give unlabeled"),
    ("txt", "cat dog cat dog", "4 labels", "1 class: 'cat dog cat dog' × 1"),
    ("txt", b"caf\xe9\nthe\n", "cannot be decoded", "line 1 is not UTF-8 .byte 0xe9."),
    ("txt", "", "holds no labels", "holds no labels; write one a line"),
    ("csv", "label\n" + lines(NAMES), "'label', a third class", f"{CAT_AND_DOG}, column 'label'"),
    ("csv", "kind\n" + lines(HALVES), "'kind', a third class", f"{ZERO_AND_ONE}, column 'kind'"),
    ("csv", lines(NAMES), "the same", CAT_AND_DOG),
    (
        "csv",
        ",label\n" + lines(f"{k},{name}" for k, name in enumerate(NAMES)),
        "9 classes of one",
        f"{CAT_AND_DOG}, column 'label'",
    ),
    (
        "csv",
        '"file";"class"\n' + lines(f'"{k}.png";"{name}"' for k, name in enumerate(NAMES)),
        "9 classes of one",
        f"{CAT_AND_DOG}, column 'class'",
    ),
    (
        "csv",
        lines(f'"{name}, tame"' for name in NAMES),
        "16 labels",
        "2 classes: 'cat, tame' × 5, 'dog, tame' × 3",
    ),
    (
        "csv",
        "file,split\na,x\nb,y\n",
        "3 classes of one",
        "columns 0 .'file', ….*; name the one .*:1",
    ),
    ("csv", "a,b\na\n", "2 classes of one", "line 2 has 1 columns and line 1 has 2"),
    ("csv", 'a,"b\n', "1 class", "cannot read the labels .*: unexpected end of data"),
    ("csv:split", "file,split\na,x\nb,y\n", "no such file", "'x' × 1, 'y' × 1, column 'split'"),
    ("csv:fold", "file,split\na,x\nb,y\n", "no such file", "columns 0 .*, 1 .'split', …. and no"),
    ("csv:1", "a,x\nb,y\n", "no such file", "2 classes: 'x' × 1, 'y' × 1"),
    ("tsv", "id\tlabel\n0\ta\n1\tb\n", "6 labels", "'a' × 1, 'b' × 1, column 'label'"),
    ("npy", npy(np.array(HALVES)), "the same", ZERO_AND_ONE),
    ("npy", npy(np.array(HALVES)[:, None]), "the same", ZERO_AND_ONE),
    ("npy", npy(np.array(HALVES, np.float32)), "classes 0.0 and 1.0", ZERO_AND_ONE),
    ("npy", npy(np.array(HALVES, bool)), "the same", "2 classes: False × 4, True × 4"),
    ("npy", npy(np.array(NAMES, "S3")), "classes b'cat' and b'dog'", CAT_AND_DOG),
    ("npy", npy(np.asarray(HALVES, jnp.bfloat16)), "2 classes of two bytes", ZERO_AND_ONE),
    (
        "npy",
        npy(np.eye(3)[[0, 1, 2, 0]]),
        "12 labels, 0.0 and 1.0",
        r"give labels.argmax\(axis=1\)",
    ),
    (
        "npy",
        npy(np.ones((2, 3))),
        "6 labels",
        r"must be one-dimensional and not empty; got \(2, 3\)",
    ),
    ("npy", npy(np.array(NAMES, object)), "Object arrays cannot be loaded", "holds Python objects"),
    ("npy", npy(np.array([0, 1, -1, 1])), "-1, a class", "row 2 is -1, which often means unlab"),
    ("npy", npy(np.array([1, -1, -1, 1])), "the same", "2 classes: -1 × 2, 1 × 2"),
    ("npy", npy(np.array([0, np.nan, 1])), "NaN, no row named", "of 3 labels row 1 is NaN; give"),
    ("npy", npy(np.array([0, np.inf])), "inf, a class", "labels must be finite; row 1 is not"),
    ("npz", npz(y=np.array(HALVES)), "cannot be decoded", f"{ZERO_AND_ONE}, 'y' of"),
    (
        "npz",
        npz(x=ROWS, y=np.array(HALVES)),
        "cannot be decoded",
        "arrays 'x', 'y'; name one, as .*npz:x",
    ),
    ("npz:y", npz(x=ROWS, y=np.array(HALVES)), "no such file", ZERO_AND_ONE),
    ("parquet", parquet(y=NAMES, split=NAMES), "cannot be decoded", f"{CAT_AND_DOG}, column 'y'"),
    ("parquet", b"PAR1", "a class 'PAR1'", "cannot read the labels in"),
    (
        "pt",
        torch_archive(),
        "cannot be decoded",
        r"pickle, which runs code .* np.save\(\"labels.npy\"",
    ),
    (
        "pkl",
        b"\x80\x04N.",
        "cannot be decoded",
        "pickle, which runs code when it is opened, so it is not",
    ),
    ("mat", "MATLAB", "1 class", "the format must be .npy, .npz"),
    ("txt", "a\0b\n", "1 class", "holds no text; the format must be .npy"),
]


def write(tmp_path, name, ending, content):
    """The argument that names the file."""
    ending, _, part = ending.partition(":")
    file = tmp_path / f"{name}.{ending}"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return f"{file}:{part}" if part else file


def outcome(call):
    """What comes out, in words."""
    try:
        return call()
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize(("ending", "content", "before", "now"), LABEL_FILES)
def test_labels_of_files(tmp_path, ending, content, before, now):
    file = write(tmp_path, "labels", ending, content)

    def described():
        found = labels_in(file)
        return classify(found.values).words[0] + found.words

    found = outcome(described)
    assert "\n" not in found
    assert re.search(now, found), found


EMBEDDING_FILES = [
    ("npy", npy(ROWS), "the same", "^8 × 3 numbers of float32$"),
    ("npy", npy(PAIRS), "must hold a two-dimensional array", "^4 × 2 × 3 numbers of float32$"),
    (
        "npy",
        npy(np.asarray(ROWS, jnp.bfloat16)),
        "got shape (8, 3) of |V2",
        "^8 × 3 numbers of bfloat16$",
    ),
    ("npy", npy(ROWS[0]), "must hold a two-dimensional array", r"\(B, p, d\); got shape \(3,\)"),
    ("npy", npy(ROWS + 1j), "of complex64", "must hold numbers, .* of complex64"),
    ("npy", npy(np.array([ROWS, None], object)), "Object arrays cannot", r"np.stack\(rows\)\)"),
    ("npy:e", npy(ROWS), "the name ignored", "holds one array and no 'e'; give embeddings.npy"),
    ("npy", promising(10**12), "MemoryError", r"header promises shape \(10{12}, 128\), 5.12e\+14"),
    (
        "npy",
        npy(ROWS)[:150],
        "Failed to read all data",
        r"promises shape \(8, 3\), 96 bytes, and 22 follow",
    ),
    ("npy", b"", "No data left in file", "cannot read the embeddings in .*: the file is empty"),
    ("npy", b"\x93NUMPY\x09\x00", "cannot read", r"cannot read the .*: an .npy file of version 9"),
    ("npz", npz(features=ROWS), "AttributeError", "^8 × 3 numbers of float32, 'features' of"),
    (
        "npz",
        npz(a=ROWS, b=ROWS),
        "AttributeError",
        "holds the arrays 'a', 'b'; name one, as .*npz:a",
    ),
    ("npz:c", npz(a=ROWS, b=ROWS), "no such file", "holds the arrays 'a', 'b' and no 'c'"),
    (
        "npz",
        b"PK\x03\x04",
        "BadZipFile",
        "cannot read the embeddings in .*: File is not a zip file",
    ),
    (
        "safetensors",
        safetensors("F32", (8, 3), ROWS.tobytes()),
        "said to be a pickle",
        "float32, 'e' of",
    ),
    (
        "safetensors",
        safetensors("BF16", (8, 3), np.asarray(ROWS, jnp.bfloat16).tobytes()),
        "said to be a pickle",
        "8 × 3 numbers of bfloat16",
    ),
    (
        "safetensors",
        safetensors("F32", (8, 3), ROWS.tobytes(), (10**12, 3)),
        "said to be a pickle",
        "header promises shape .*, 1.2e.13 bytes, and 96 follow",
    ),
    (
        "safetensors",
        safetensors("F8_E4M3", (1, 1), b"a"),
        "said to be a pickle",
        "type F8_E4M3 are not known",
    ),
    (
        "safetensors",
        struct.pack("<Q", 10**15),
        "said to be a pickle",
        "header is longer than the file",
    ),
    ("safetensors", struct.pack("<Q", 2) + b"[]", "said to be a pickle", "its header is damaged"),
    ("parquet", parquet(e=PAIRS[:, 0].tolist()), "said to be a pickle", "4 × 3 numbers of float64"),
    ("parquet", parquet(x=[1.0, 2], y=[3.0, 4]), "said to be a pickle", "2 × 2 numbers of float64"),
    (
        "parquet",
        parquet(x=[1.0, 2], y=["a", "b"]),
        "said to be a pickle",
        "column 'y' of .* no numbers; leave",
    ),
    ("csv", "0.5,1\n2,3\n", "said to be a pickle", "2 × 2 numbers of float64$"),
    ("csv", "x;y\n0.5;1\n", "said to be a pickle", "1 × 2 numbers of float64$"),
    (
        "csv",
        ",x,y\n0,.5,1\n1,2,3\n",
        "said to be a pickle",
        "2 × 2 .*, the first column left out, which count",
    ),
    (
        "csv",
        "x,y\n1,2\n3,cat\n",
        "said to be a pickle",
        "column 'y' of .* holds 'cat' in line 3, which is no",
    ),
    ("txt", "# a comment\n1.0 2.0\n3 4\n", "said to be a pickle", "2 × 2 numbers of float64"),
    ("txt", "", "No data left in file", "holds no embeddings"),
    (
        "pt",
        torch_archive(),
        "AttributeError",
        r"tensor embeddings.detach\(\).float\(\).cpu\(\).numpy",
    ),
]


@pytest.mark.parametrize(("ending", "content", "before", "now"), EMBEDDING_FILES)
def test_embeddings_of_files(tmp_path, ending, content, before, now):
    file = write(tmp_path, "embeddings", ending, content)
    found = outcome(lambda: embeddings_in(file).words)
    assert "\n" not in found
    assert re.search(now, found), found


def test_numbers_of_files_are_those_that_were_written(tmp_path):
    files = {
        "npz": npz(features=ROWS),
        "safetensors": safetensors("F32", ROWS.shape, ROWS.tobytes()),
        "parquet": parquet(e=ROWS.tolist()),
        "csv": "index,a,b,c\n" + "".join(f"{k},{a},{b},{c}\n" for k, (a, b, c) in enumerate(ROWS)),
        "txt": "\n".join(" ".join(f"{x:.9g}" for x in row) for row in ROWS),
    }
    for ending, content in files.items():
        found = sx.advice.read_embeddings(write(tmp_path, "e", ending, content))
        np.testing.assert_array_equal(found.astype(np.float32), ROWS)
    assert sx.advice.read_labels(write(tmp_path, "y", "csv", "y\n3\n1\n")).tolist() == [3, 1]
    with pytest.raises(ValueError, match=r"cannot read the labels in .*no.txt: No such file"):
        sx.advice.read_labels(tmp_path / "no.txt")


# ------------------------------------------------------------------------------------- Python


class Tensor:
    """What a tensor of torch can do, which is not installed here."""

    def __init__(self, array, dtype="torch.float32", device="cuda"):
        self.array, self.dtype, self.device = array, dtype, device

    def detach(self):
        return Tensor(self.array, self.dtype, self.device)

    def cpu(self):
        return Tensor(self.array, self.dtype, "cpu")

    def float(self):
        return Tensor(self.array, "torch.float32", self.device)

    def numpy(self):
        if self.device != "cpu" or self.dtype == "torch.bfloat16":
            raise TypeError("can't convert")
        return self.array


LABELS = [
    ([0, 1, 1], [0, 1, 1]),
    ((0.0, 1.0), [0, 1]),
    ([True, False], [True, False]),
    ([0, 1.0, np.int8(1)], [0, 1, 1]),
    (range(3), [0, 1, 2]),
    (iter("ab"), ["a", "b"]),
    (["a", "b"], ["a", "b"]),
    ([np.str_("a"), "b"], ["a", "b"]),
    (np.array(["a", "b"], object), ["a", "b"]),
    (np.array([[1], [2]]), [1, 2]),
    (jnp.array([1, 2]), [1, 2]),
    (jnp.array([1, 2], jnp.bfloat16), [1, 2]),
    ([jnp.array(1), jnp.array(2)], [1, 2]),
    (pl.Series(["a", "b"]), ["a", "b"]),
    (pl.Series([1, 2]), [1, 2]),
    (Tensor(np.array([1, 2])), [1, 2]),
]


@pytest.mark.parametrize(("given", "meant"), LABELS)
def test_labels_of_python(given, meant):
    found = as_labels(given)
    assert found.tolist() == meant
    assert [type(label) for label in found.tolist()] == [type(label) for label in meant]


REFUSED = [
    (
        [1, "a"],
        "must be of one kind, to be sorted; row 0 is 1 and row 1 is 'a'. Write all as texts",
    ),
    ([True, 2], "row 0 is True and row 1 is 2"),
    ([0, None, 1], "labels must not be missing, as row 1 is; give unlabelled rows a class"),
    (["a", ""], "labels must not be empty, as row 1 is"),
    ([0.0, 1.0, np.nan], "labels must not be NaN, as row 2 is"),
    (pl.Series(["a", None]), "labels must not be missing, as row 1 is"),
    ("labels.txt", "Read a file with ssem_jax.advice.read_labels"),
    ({"a": 1}, "labels must be one for each embedding"),
    ({0, 1}, "labels must be one for each embedding"),
    (np.array(3), "labels must be one for each embedding"),
    ([[1, 2], [3]], "labels must be one for each embedding"),
    ([1, [2]], "labels must be one for each embedding"),
    (np.eye(2, dtype=int), r"of shape \(2, 2\) are one-hot; give labels.argmax\(axis=1\)"),
    (np.array([1j, 2]), "labels must be integers or texts; got complex128"),
    ([1.0, 0.5], "labels must be integers or texts; row 1 is 0.5. Write classes that are called"),
    ([object(), object()], "labels must be of one kind, to be sorted; '<' not supported"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_labels_that_are_none(given, message):
    with pytest.raises(ValueError, match=message):
        sx.ClassStructure.from_labels(given)


# ------------------------------------------------------------------------ views, ids, unlabelled

ORDER = np.array([0, 2, 4, 6, 1, 3, 5, 7])  # of rows by view, those by instance
BATCHES = [
    # embeddings, labels, options, rows in the order of the structure, words
    (ROWS, list("abababab"), {}, [0, 2, 4, 6, 1, 3, 5, 7], ""),
    (PAIRS, [1, 0, 1, 0], {}, [2, 3, 6, 7, 0, 1, 4, 5], "2 views, along the second axis"),
    (PAIRS, np.repeat([1, 0, 1, 0], 2), {"num_views": 2}, [2, 3, 6, 7, 0, 1, 4, 5], "second axis"),
    (PAIRS.tolist(), [1, 0, 1, 0], {}, [2, 3, 6, 7, 0, 1, 4, 5], "2 views"),
    (
        ROWS,
        [1, 0, 1, 0],
        {"num_views": 2, "view_order": "instance"},
        [2, 3, 6, 7, 0, 1, 4, 5],
        "2 views, rows ordered by instance$",
    ),
    (
        ROWS,
        [1, 0, 1, 0],
        {"num_views": 2, "view_order": "view"},
        [1, 5, 3, 7, 0, 4, 2, 6],
        "2 views, rows ordered by view$",
    ),
    (
        ROWS,
        [1, 0, 1, 0] * 2,
        {"num_views": 2, "view_order": "view"},
        [1, 5, 3, 7, 0, 4, 2, 6],
        "view",
    ),
    (ROWS, np.repeat([1, 0, 0, 0], 2), {"num_views": 2}, [2, 3, 4, 5, 6, 7, 0, 1], "instance$"),
    (
        ROWS,
        [0, 0, 1, 1] * 2,
        {"num_views": 2},
        [0, 1, 4, 5, 2, 3, 6, 7],
        r"by instance \(the labels admit view_order view, too\)$",
    ),
    (
        ROWS,
        [0, 0, 1, 1] * 2,
        {"instance_ids": [7, 9, 7, 9, 9, 7, 9, 7]},
        [0, 5, 1, 4, 2, 7, 3, 6],
        "2 views, 4 instances by their ids; ids come again in other classes",
    ),
    (ROWS, HALVES, {"instance_ids": list("abbacddc")}, [0, 3, 1, 2, 4, 7, 5, 6], "by their ids$"),
    (ROWS, [0, 0, 1, 1, -1, -1, 0, 1], {"unlabeled": "drop"}, [0, 1, 6, 2, 3, 7], "2 of 8 without"),
    (ROWS, [0, 0, 1, 1, -1, -1, 0, 1], {"unlabeled": "keep"}, [4, 5, 0, 1, 6, 2, 3, 7], "-1 × 2"),
    (ROWS, ["a", "b", None, "a"] * 2, {"unlabeled": "drop"}, [0, 3, 4, 7, 1, 5], "2 of 8 without"),
    (ROWS, ["a", "b", None, "a"] * 2, {"unlabeled": "keep"}, [0, 3, 4, 7, 1, 5, 2, 6], "None × 2"),
    (PAIRS, [3, -1, 4, 4], {"unlabeled": "drop"}, [0, 1, 4, 5, 6, 7], "2 classes: 3 × 1, 4 × 2"),
    (
        ROWS,
        [5, 5, 9, 9, 9, 7, 7, 7],
        {"unlabeled": "drop", "unlabeled_label": "9"},
        [0, 1, 5, 6, 7],
        "3 of 8 without a label are left out",
    ),
]


@pytest.mark.parametrize(("embeddings", "labels", "options", "rows", "words"), BATCHES)
def test_batches(embeddings, labels, options, rows, words):
    found = read_batch(embeddings, labels, **options)
    assert found.rows.tolist() == rows
    np.testing.assert_array_equal(found.points, ROWS.astype(np.float64)[rows])
    assert found.structure.num_embeddings == len(rows)
    assert re.search(words, "; ".join(found.words)), found.words


def spoiled(row, value, array=ROWS):
    rows = array.copy()
    rows[row] = value
    return rows


REFUSED_BATCHES = [
    (ROWS, [0, 1, 0, 1], {}, "got 4 labels .* If these are 2 views of each .*, give num_views=2"),
    (ROWS, [0, 1, 0, 1], {"num_views": 2}, 'say how rows are ordered: view_order "instance" where'),
    (ROWS, [0, 1, 0], {"num_views": 2}, "embedding or each of the 4 instances; got 3 labels"),
    (ROWS, [0, 1] * 4, {"num_views": 2}, 'they fit rows ordered by view: give view_order "view"'),
    (ROWS, [0, 1, 1, 1, 0, 0, 0, 0], {"num_views": 2}, "row 0 and row 1 are views of one instance"),
    (ROWS, [0, 1, 1, 1, 0, 0, 0, 0], {"num_views": 4}, "row 0 to row 3 are views of one instance"),
    (PAIRS, [*HALVES[:3], 1, *HALVES[:4]], {}, "view 0 of instance 1 and view 1 of instance 1"),
    (PAIRS, [0, 1, 0, 1], {"num_views": 4}, r"num_views is 4 and .* have 2 views; .*swapaxes"),
    (ROWS[:7], [0, 1, 0], {"num_views": 2}, "7 rows cannot be split into instances of 2 views"),
    (
        ROWS,
        HALVES,
        {"view_order": "row"},
        "view_order must be one of 'instance', 'view'; got 'row'",
    ),
    (ROWS, HALVES, {"unlabeled": "no"}, "unlabeled must be one of 'drop', 'keep'; got 'no'"),
    (ROWS, HALVES, {"instance_ids": [0, 1]}, "instance_ids must be one for each embedding; got 2"),
    (ROWS, HALVES[::2], {"instance_ids": HALVES}, "one label for each embedding; got 4 labels"),
    (
        ROWS,
        HALVES,
        {"instance_ids": [0, 0, 0, 1, 2, 2, 3, 3]},
        "0 of instance_ids has 3 rows in its",
    ),
    (ROWS, HALVES, {"instance_ids": HALVES, "num_views": 2}, "has 4 rows .*, and others have 2"),
    (ROWS, [-1] * 8, {"unlabeled": "drop"}, "no row carries a label"),
    (ROWS, [None] * 8, {"unlabeled": "drop"}, "no row carries a label"),
    (ROWS, [0, 1, 2, -1] * 2, {}, "of 8 labels rows 3, 7 are -1, which often means unlabelled"),
    (ROWS, [0, None, 2, 1] * 2, {}, 'of 8 labels rows 1, 5 are missing; give unlabeled "drop"'),
    (spoiled(5, 0), list("badcbadc"), {}, "finite and not zero; row 5 is zero"),
    (spoiled((2, 1), np.inf, PAIRS), [0, 1, 1, 0], {}, "view 1 of instance 2 is not finite"),
    (ROWS[None, None], HALVES, {}, r"\(B, p, d\); got shape \(1, 1, 8, 3\)"),
]


@pytest.mark.parametrize(("embeddings", "labels", "options", "message"), REFUSED_BATCHES)
def test_what_is_no_batch(embeddings, labels, options, message):
    with pytest.raises(ValueError, match=message):
        read_batch(embeddings, labels, **options)


def test_rows_without_a_label_may_be_anything():
    found = read_batch(spoiled(2, np.nan), [0, 1, -1, 1, 0, 1, 0, 1], unlabeled="drop")
    assert 2 not in found.rows


def test_tensors_are_embeddings():
    for dtype in ("torch.float32", "torch.bfloat16"):
        found = read_batch(Tensor(PAIRS, dtype), Tensor(np.array([0, 1, 0, 1]), "torch.int64"))
        assert found.structure == sx.ClassStructure((2, 2), 2)
    assert read_batch(pl.DataFrame(ROWS), pl.Series(NAMES)).points.shape == (8, 3)


def test_many_classes_are_described_in_a_line():
    (words,) = classify(np.arange(300) // 3).words
    assert words == "100 classes, 3 each: 0, 1, 2, 3, 4, …, 99"
    (words,) = classify(np.repeat(np.arange(20), np.arange(20) + 1)).words
    assert words.startswith("20 classes, 1 to 20 of a class: 0, 1")


def test_training_takes_labels_of_any_kind():
    names = ["b", "a", "b", "a"]
    options: Any = {"alpha": 0.5, "temperature": 0.3}
    expected = sx.supcl_loss(PAIRS, np.array([1, 0, 1, 0]), **options)
    for labels in (
        names,
        np.array(names),
        np.array([1.0, 0, 1, 0]),
        Tensor(np.array([1, 0, 1, 0])),
    ):
        assert sx.supcl_loss(PAIRS, labels, **options) == expected
    assert sx.training.predict_batch(names, 2, **options).structure.sizes == (2, 2)
    for ids, message in [
        (None, "instance_ids must not be missing, as row 1 is"),
        ("x", "instance_ids must be one for each embedding, as"),
    ]:
        ids = ids or [1, None, 2, 3]
        with pytest.raises(ValueError, match=message):
            sx.supcl_loss(PAIRS, names, instance_ids=ids, **options)


def test_what_was_understood_is_said_first(tmp_path, capsys, monkeypatch):
    """Before anything is computed, on stderr; and in the document."""
    monkeypatch.setenv("SSEM_CACHE", "off")

    def refuse(*_):
        raise ValueError("computed")

    monkeypatch.setattr("ssem_jax.advice.audits._optimum", refuse)
    embeddings = write(tmp_path, "e", "npz", npz(features=PAIRS))
    labels = write(tmp_path, "y", "csv", "label\n" + lines(["cat", "dog", "?", "cat"]))
    arguments = ["audit", embeddings, "--labels", labels, "--alpha", ".5", "--tau", ".3"]
    with pytest.raises(SystemExit, match="2"):
        main([*map(str, arguments), "--unlabeled", "drop", "--unlabeled-label", "?"])
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "ssem: embeddings: 4 × 2 × 3 numbers of float32, 'features' of e.npz",
        "ssem: labels: 2 classes: 'cat' × 2, 'dog' × 1, column 'label'",
        "ssem: 1 of 4 without a label are left out",
        "ssem: 2 views, along the second axis",
        "ssem: loss: SupCL(alpha=0.5, temperature=0.3, self_pairs='include', mean='pairs')",
        "ssem: error: computed",
    ]


def test_the_loss_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SSEM_CACHE", "off")
    audited = []

    def noted(batch, loss, key, tolerance):
        audited.append(loss)
        raise ValueError("computed")

    monkeypatch.setattr("ssem_jax.advice.audits.audit_batch", noted)
    embeddings = write(tmp_path, "e", "npy", npy(PAIRS))
    labels = write(tmp_path, "y", "txt", lines([0, 1, 0, 1]))
    common = ["audit", str(embeddings), "--labels", str(labels), "--tau", ".3"]
    for options, loss in [
        (["--alpha", ".5"], sx.SupCL(0.5, 0.3)),
        (["--loss", "SupCon"], sx.losses.SupCon(0.3)),
        (["--loss", "nt-xent"], sx.losses.info_nce(0.3)),
        (["--loss", "sincere"], sx.losses.Sincere(0.3)),
    ]:
        with pytest.raises(SystemExit, match="2"):
            main([*common, *options])
        assert str(audited.pop()) == str(loss)
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main(common)
    assert capsys.readouterr().err.startswith("ssem: error: supcl needs alpha")


def test_what_to_give_is_said_as_it_is_typed(tmp_path, capsys):
    embeddings = write(tmp_path, "e", "npy", npy(ROWS))
    labels = write(tmp_path, "y", "txt", lines([0, 1, 0, 1]))
    common = ["audit", str(embeddings), "--labels", str(labels), "--loss", "supcon", "--tau", ".3"]
    for options, words in [
        ([], "give --views 2"),
        (["--views", "2"], "say how rows are ordered: --view-order instance where"),
    ]:
        with pytest.raises(SystemExit, match="2"):
            main([*common, *options])
        assert words in capsys.readouterr().err
