"""The six stages of the pipeline, one program each, in the order in which DVC runs them.

    download   the dataset, a GPT-2 and its tokenizer, each checked against its SHA-256
    split      the dataset into train, val and test rows with stable ids
    tokenize   every row into prompt ids and response ids
    finetune   the GPT-2 on the train rows, validated on the val rows
    generate   an answer to every test prompt, by the base and by the tuned model
    judge      a score from 0 to 100 for every answer, and their mean with its interval

Each is run as ``python -m stages.NAME`` from the root of the repository, never as a script by
its path: a script's folder comes first on ``sys.path``, and there ``tokenize.py`` would hide the
standard library's module of that name.
"""

import importlib.util
import sys

if importlib.util.find_spec("ruamel") is None:
    # `dvc repro` starts whatever `python` is on the PATH, which need not be the one that dvc itself runs on.
    print(
        f"{sys.executable}: this Python does not have the pipeline's packages\n"
        "  to fix it: source .venv/bin/activate, then the same command, and dvc checkout for earlier results",
        file=sys.stderr,
    )
    sys.exit(78)
