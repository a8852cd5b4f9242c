"""The pipeline: six stages, a folder and a program each, in the order in which DVC runs them.

    download   fetch the dataset, a GPT-2 and its tokenizer, and check each against its SHA-256
    split      divide the dataset into train, val and test rows with stable ids
    tokenize   turn every row into the token ids of its prompt and of its response
    finetune   train the GPT-2 on the train rows, and evaluate it on the val rows
    generate   answer every test prompt, with the base and with the fine-tuned model
    judge      score every answer from 0 to 100, and give the mean with its interval

Beside them: common (what stages write, errors, files), params (params.yaml), running (what starts and watches a stage,
and changes no result) and gpt2 (the model). Each stage runs as ``python -m stages.NAME`` from the root of the
repository. A stage imports the folders of earlier stages, never of later ones.
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
