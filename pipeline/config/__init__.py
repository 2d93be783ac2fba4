"""Configuration of a corpus, a model and a run. Depends on `core` alone.

schema           configuration of a corpus, a model and a run, validated when it is created; the values a field may have
requests         request.json of each kind of job
recipes          a table of presets (size of the model) and one of recipes (optimizer, rate, schedule, loss)
quality          rules that kept files must pass
prompts          the course's prompts
lr_schedule      learning rate at each step of a run
memory_estimate  memory that training needs
source_spec      the text that names a source: whether it reads the package index, the id of a corpus of it
parsing          text typed by people, converted to the types of the fields

A new field of a run is added to `schema.TrainingConfig`: the command line (`--set`), request.json and the trainer know it
from there. A field of the page's form is added to `ui/shared/form_values.CHANGES` as well: its
input follows from its type, its label is in `assets/texts.json`.
"""
