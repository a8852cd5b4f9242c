"""finetune: the downloaded GPT-2, trained on the train rows and validated on the validation rows.

From the outside in:

- `job`: the work of the stage, in a chain of short functions. `launch`: several processes of it. `run`: one
  fine-tuning as a value. `outputs`: what it writes.
- `trainer`: the loop. `schedule`: what happens at which step. `checkpoint`, `progress`: where it goes on from.
- `optimizer_step`: forward, backward, update; `captured_steps`: the same as a CUDA graph. `soundness`: when to stop.
- `batches`, `layout`: packed rows and their padding. `passes`, `loss`: loss and gradients. `optimizer`: AdamW.
- `lora`: low-rank updates. `team`: the process group.
- `costs/`: work, time, memory and disk space; no result depends on them.
"""
