"""The tests; ``python3 test/run.py`` runs them all."""
