"""When, where and how often the pipeline runs: a Prefect flow around DVC's stages, of which it knows only the names.

    run             the program: `python -m flows.run`; command_line, waits, supervised and flow_process belong to it
    pipeline        the flow; stage_task is a stage in it, stage_process runs that, dvc_cli and guard are below it
    folder          what is looked at before anything starts; ahead asks what the stages need
    prefect_server  whether one answers; temporary_server starts that of one run
    outcome         how the flow ended, kept beside Prefect
    run_page        the artifacts of a run on Prefect's pages; markdown escapes their texts; run_tags gives it tags
    log_lines       what Prefect's log leaves out
    unchanged       what DVC has said of the files in the folder
    dvc_lock        waits for a DVC that somebody has started in the folder
    workspace       the copy of the repository for a run with other values; profiles and overrides give the values
    mlflow_run      the flow's MLflow run
    databases       makes those of Prefect and MLflow before the first run
    publish         the results in a folder, put into MLflow later
    servers, deploy the pages of MLflow and Prefect, and the flow's deployments to a Prefect server; servers_file tells
                    other programs of the pages, form makes the fields of the deployments' form, automations what the
                    server does about runs that were killed
    runs            the table of all runs; doctor, with checks, says what is wrong with the machine and the folder
    gpus            who holds the machine's GPUs and who waits
    chat            a conversation with a trained model
    grade           answers graded by hand, to calibrate the judge; grading has its parts

Importing the package sets the environment variables that Prefect, DVC and MLflow read when they are imported.
"""

from flows.tool_settings import set_defaults
from stages.running import quick_end as quick_end  # before all that registers functions for the end of the process

set_defaults()
