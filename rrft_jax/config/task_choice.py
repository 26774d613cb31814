"""config.task=auto: which task the records of a folder are of."""

from pathlib import Path

from ml_collections import ConfigDict

from rrft_jax.data.sources.hub import is_hub
from rrft_jax.data.sources.webdataset import is_pattern
from rrft_jax.tasks.records import task_of_folder
from rrft_jax.tasks.registry import AUTO, GENERAL, get_task


def settle_task(config: ConfigDict) -> str:
    """Puts a task's name in place of auto, in stage 1 too. Returns which was taken for records and why, else "".

    Generated examples are of the first task. Records are of it too where they name it, and general questions where
    they name none. ValueError where they name another task: the recipe took its lengths and rewards from the first.
    """
    said = _settle(config.stage1) if config.stage1 else ""
    return _settle(config) or said


def _settle(config: ConfigDict) -> str:
    if config.task != AUTO:
        return ""
    config.task = first = get_task(AUTO).name
    folder = config.data.folder
    if is_hub(folder):
        config.task = GENERAL
        return f"config.task: {GENERAL}, as for any set of the hub; --config.task={first}, or another, in place of it"
    if not folder or not (is_pattern(folder) or Path(folder).expanduser().exists()):
        return ""  # whoever reads it says that it is not there
    named, why = task_of_folder(folder, first, config.data.image_root, config.data.columns)
    if named in (first, GENERAL):
        config.task = named
        return f"config.task: {named}, since {why}"
    if named:
        raise ValueError(
            f"records of {folder} are of {named}, since {why}, and this recipe is of {first}: name the task in the "
            f"config's argument, as in configs/reason_rft_zero.py:{get_task(named).alias},data={folder}"
        )
    config.task = GENERAL
    return (
        f"config.task: {GENERAL} (open questions, and choices by letter), since nothing in {folder} names a task; "
        f"--config.task={first}, or another, in place of it"
    )
