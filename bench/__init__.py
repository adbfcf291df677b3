"""Benchmarks: one file per question, one harness. ``python -m bench`` runs all, ``--short`` what CI runs."""
