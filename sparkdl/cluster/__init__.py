"""Ranks in a barrier stage: `launch.launch` on the driver, one task and one process per rank behind it.

Nothing is imported here: a rank imports parts of this room, and it needs no pyspark.
"""
