import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report import main, page, table
from dkse_jax.errors import UserError

ROOT = Path(__file__).parents[2]
RESULTS = {
    "date": "2026-01-31T23:59+00:00",
    "dtype": "float32",
    "machine": {
        "cpu": "A processor",
        "cores": 2,
        "memory_gib": 23.5,
        "bfloat16": ["amx_bf16", "avx512_bf16"],
        "system": "Linux x86_64",
        "python": "3.12.1",
        "jax": "0.12",
        "flax": "0.12.12",
        "numpy": "2.5",
        "torch": "2.13 (Python 3.11)",
        "torchvision": "0.28",
        "load_before": 0.1,
    },
    "roofline": {
        "backend": "cpu",
        "device": "cpu",
        "ours_flops_per_s": 60e9,
        "other_flops_per_s": 80e9,
        "flops_per_s": 80e9,
        "bytes_per_s": 12.5e9,
    },
    "rows": [
        {
            "case": "train step",
            "other": "torch eager",
            "ours_ms": 2500.0,
            "other_ms": 5000.0,
            "ratio": 2.01,
            "ratio_low": 1.9,
            "ratio_high": 2.123,
            "rounds": 7,
            "gflop": 100.0,
        },
        {
            "case": "memory",
            "other": "torch eager",
            "unit": "MiB",
            "ours": 1000.4,
            "other_value": 1500.2,
            "ratio": 1.4996,
        },
        {"case": "start", "ours_ms": 12345.0},
        {"case": "input", "unit": "images/s", "ours": 212.34},
    ],
}


def test_the_table():
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table(RESULTS).split("\n")
    ]
    assert rows[2:] == [
        ["train step", "2,500 ms", "torch eager", "5,000 ms", "2.01 (1.90–2.12)", "50 %", "25 %"],
        ["memory", "1,000 MiB", "torch eager", "1,500 MiB", "1.50", "", ""],
        ["start", "12.3 s", "", "", "", "", ""],
        ["input", "212.3 images/s", "", "", "", "", ""],
    ]
    assert len({len(line) for line in table(RESULTS).split("\n")}) == 1


def test_the_page_names_the_machine_and_the_date():
    text = page([RESULTS])
    assert "2026-01-31: 299 pixels" in text
    assert "products of bfloat16: amx_bf16, avx512_bf16\n" in text
    assert "## float32" in text
    assert "A processor, 2 cores, 23.5 GiB, Linux x86_64; cpu (cpu)" in text
    assert (
        "python 3.12.1, jax 0.12, flax 0.12.12, torch 2.13 (Python 3.11), torchvision 0.28" in text
    )
    assert "60 (JAX), 80 (PyTorch) GFLOP/s" in text
    assert "12.5 GB/s" in text
    assert table(RESULTS) in text


def test_the_strongest_backend_of_a_case_comes_first():
    train, *others = RESULTS["rows"]
    weaker = train | {"other": "torch.compile", "ratio": 3.0}
    stronger = train | {"other": "torch eager, memory kept", "ratio": 1.1}
    lines = table(RESULTS | {"rows": [weaker, train, stronger, *others]}).splitlines()[2:]
    found = [line.split("|")[3].strip() for line in lines]
    assert found[:3] == ["torch eager, memory kept", "torch eager", "torch.compile"]
    assert [line.split("|")[1].strip() for line in lines[3:]] == ["memory", "start", "input"]


def test_a_page_of_both_dtypes():
    narrow = RESULTS | {"dtype": "bfloat16", "machine": RESULTS["machine"] | {"bfloat16": []}}
    text = page([RESULTS, narrow])
    assert text.index("## float32") < text.index("## bfloat16")
    assert text.count(table(RESULTS)) == 2
    assert "none: model.dtype=bfloat16 is float32 here" in page([narrow])


def test_the_command(tmp_path, capsys):
    file = tmp_path / "results.json"
    file.write_text(json.dumps(RESULTS))
    main([str(file)])
    assert capsys.readouterr().out == page([RESULTS]) + "\n"
    file.write_text("{}")
    with pytest.raises(UserError, match=r"is not the results\.json of a benchmark"):
        main([str(file)])
    with pytest.raises(UserError, match="cannot be read: No such file"):
        main([str(tmp_path / "none")])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["benchmarks", "--cases=train,inferense"], '"inferense"; did you mean "inference"?'),
        (["benchmarks", "--torch_python=x"], '--torch_python is not a flag; did you mean "torch-'),
        (["benchmarks", "--rounds=0"], "--rounds is 0, but must be at least 1"),
        (["benchmarks", "--dtype=float16"], '--dtype has no "float16"; did you mean "bfloat16"?'),
        (["benchmarks", "--torch-python=/none"], "which cannot be run: No such file or directory"),
        (["benchmarks", "--data-root=/none"], 'the folder "/none" does not exist'),
        (["benchmarks.report"], "name a results.json"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(arguments, sentence):
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
