"""The Optuna sweeper for Hydra: ``hydra/sweeper=optuna``.

Hydra imports every module here at each start, unless its name begins with an underscore; so what
needs Optuna or torch lies in modules that do.
"""
