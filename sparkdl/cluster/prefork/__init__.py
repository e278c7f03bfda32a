"""Ranks forked from a server that has imported torch already."""
