"""Petastorm: the only package that imports it."""
