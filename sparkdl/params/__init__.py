"""Every setting, declared once as a Spark ML Param; accessors, constructors, stubs and docs are made from that."""
