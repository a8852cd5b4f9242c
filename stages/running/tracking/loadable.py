"""What MLflow keeps of a registered model: how to load it, and where DVC has its weights; not the weights themselves.

It is a model of MLflow's flavor pyfunc, written here as MLflow 3.17 writes one (`mlflow.pyfunc.save_model`): that
function takes seconds.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stages.common import dvc_config, paths
from stages.common.errors import DataError
from stages.params import reading
from stages.running import code_of, dvc_cache, lock
from stages.running.lock import Output

#: The module that MLflow imports, the file with the pipeline's code beside it, and the module there that answers.
_LOADER, _CODE, _ANSWERS = "instruct_pipeline_loader", "pipeline.zip", "stages.generate.served"
_LOADER_TEXT = f'''"""Loads the model for MLflow by the pipeline's code, which {_CODE} beside this file has."""

import pkgutil
import sys
import zipfile
from pathlib import Path

import psutil
from mlflow.exceptions import MlflowException


class Model:
    """Answers instructions; what is wrong with one is MLflow's error, whose message its server shows."""

    def __init__(self, answers, refused):
        self._answers = answers
        self._refused = refused

    def predict(self, model_input):
        try:
            return self._answers.predict(model_input)
        except self._refused as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None


def _loaded(name):
    try:
        return pkgutil.get_data("stages", name.removeprefix("stages/"))
    except OSError:
        return None


def _imported(names):
    """The files, by name, of modules that this process has imported."""
    found = {{}}
    for name in names:
        module = sys.modules.get(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        file = Path(getattr(module, "__file__", None) or "")
        if file.is_file():
            found[name] = file
    return found


def _require_own_code(code):
    """Refuse to answer by other code than the model's: a process has one package of a name."""
    with zipfile.ZipFile(code) as archive:
        names = archive.namelist()
        differing = [name for name in names if _loaded(name) != archive.read(name)]
    # A module that was imported before its file was edited is still the old one. The time at which a process began is
    # known to about a second, and no project is imported within two.
    began = psutil.Process().create_time() + 2
    edited = [name for name, file in _imported(names).items() if file.stat().st_mtime > began]
    if edited and not differing:
        raise MlflowException.invalid_parameter_value(
            "this process may have old code of the pipeline: it has imported " + ", ".join(edited[:3])
            + ", edited after the process began; load the model in a new process"
        )
    if differing:
        more = f" and {{len(differing) - 3}} more" if len(differing) > 3 else ""
        raise MlflowException.invalid_parameter_value(
            "this process has other code of the pipeline than the model: "
            + ", ".join(differing[:3]) + more
            + "; load the model in a process that has imported neither the project nor a model with other code"
        )


def _load_pyfunc(path):
    # MLflow imports this module once in a process: of a second model it has the folder alone.
    code = Path(path).parent / "code" / "{_CODE}"
    if "stages" not in sys.modules:
        sys.path.insert(0, str(code))
    _require_own_code(code)
    from stages.common.errors import PipelineError
    from {_ANSWERS} import load

    return Model(load(path), PipelineError)
'''
#: The packages that the code needs, with the versions of the run.
_PACKAGES = ("dvc", "mlflow", "numpy", "pandas", "pydantic", "ruamel.yaml", "safetensors", "tiktoken", "torch")
_INPUTS = [
    {"type": "string", "name": "instruction", "required": True},
    {"type": "string", "name": "input", "required": False},
]
_OUTPUTS = [{"type": "string", "name": "answer", "required": True}]
#: What the page of the model shows as an example, and what its server can be asked with.
EXAMPLE = {"instruction": "Change this sentence to the past tense.", "input": "Anna cleans the kitchen."}
#: The date of the files in the zip file, so that equal code has equal bytes.
_DATE = (2020, 1, 1, 0, 0, 0)


def write(folder: Path, root: Path, model: Output, *, model_id: str, run_id: str) -> None:
    """Write a model of MLflow into an empty folder.

    Args:
        folder: the folder.
        root: folder with the run's params.yaml and dvc.lock.
        model: the fine-tuned model, as dvc.lock names it.
        model_id: id that MLflow has given it.
        run_id: id of its run.

    Raises:
        DataError: DVC's cache does not have the model.
        ConfigError: params.yaml is not YAML.
    """
    for name in ("code", "data"):
        (folder / name).mkdir(parents=True)
    (folder / "code" / f"{_LOADER}.py").write_text(_LOADER_TEXT, encoding="utf-8")
    _zip_code(folder / "code" / _CODE)
    generate = reading.read_values(root / paths.PARAMS)["generate"]
    _write_json(folder / "data" / "decoding.json", generate)
    _write_json(folder / "data" / "weights.json", _place(root, model))
    _write_json(folder / "input_example.json", EXAMPLE)
    _write_json(folder / "serving_input_example.json", {"dataframe_records": [EXAMPLE]})
    versions = [f"{name}=={importlib.metadata.version(name)}" for name in _PACKAGES]
    (folder / "requirements.txt").write_text("\n".join(versions) + "\n", encoding="utf-8")
    python = platform.python_version()
    built_by = {"build_dependencies": ["pip", "setuptools", "wheel"]}
    # JSON is YAML.
    _write_json(folder / "python_env.yaml", {"python": python, **built_by, "dependencies": ["-r requirements.txt"]})
    needed = [f"python={python}", "pip", {"pip": versions}]
    _write_json(folder / "conda.yaml", {"name": "mlflow-env", "channels": ["conda-forge"], "dependencies": needed})
    _write_json(folder / "MLmodel", _mlmodel(python, model_id, run_id))


def _mlmodel(python: str, model_id: str, run_id: str) -> dict[str, Any]:
    return {
        "flavors": {
            "python_function": {
                "code": "code",
                "data": "data",
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": _LOADER,
                "python_version": python,
                "streamable": False,
            }
        },
        "mlflow_version": importlib.metadata.version("mlflow"),
        "model_id": model_id,
        "run_id": run_id,
        "saved_input_example_info": {
            "artifact_path": "input_example.json",
            "serving_input_path": "serving_input_example.json",
            "type": "json_object",
        },
        "signature": {"inputs": json.dumps(_INPUTS), "outputs": json.dumps(_OUTPUTS), "params": None},
        "utc_time_created": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}",
    }


def _zip_code(path: Path) -> None:
    """The pipeline's code that answers: `_ANSWERS` and all that it imports of ours."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(code_of.closure(code_of.ROOT / f"{_ANSWERS.replace('.', '/')}.py")):
            name = file.relative_to(code_of.ROOT).as_posix()
            archive.writestr(zipfile.ZipInfo(name, _DATE), file.read_bytes(), zipfile.ZIP_DEFLATED)


def _place(root: Path, model: Output) -> dict[str, Any]:
    """Where the weights are, as `stages.generate.dvc_weights.Place` reads it."""
    project = Path(os.environ.get(paths.ROOT_VARIABLE, "")).resolve()  # the run may work in a copy of it
    settings = root / dvc_config.COMMITTED
    files = lock.files(model, name=str(lock.LOCK), fix="dvc commit finetune")
    if [path for path, _ in files] == [model.path]:
        raise DataError(f"{dvc_cache.folder()}: DVC's cache does not have {model.path}", "dvc commit finetune")
    return {
        "digest": model.digest,
        "files": {path.relative_to(model.path).as_posix(): kept.parent.name + kept.name for path, kept in files},
        "cache": str(dvc_cache.folder().resolve()),
        "project": str(project),
        "config": settings.read_text(encoding="utf-8") if settings.is_file() else "",
    }


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
