"""The function app: registers the blueprints, nothing else."""

import os

import azure.functions as func

from functions import api, decoding, mailbox, sweep
from twin_actors.settings import read_settings

read_settings(os.environ)  # a worker that is set up wrongly does not start
decoding.install()

app = func.FunctionApp()
app.register_functions(mailbox.bp)
app.register_functions(sweep.bp)
app.register_functions(api.bp)
