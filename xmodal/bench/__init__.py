"""Measurements of cost: `python -m xmodal.bench --bench=NAME`, a module each. Not run by the tests."""
